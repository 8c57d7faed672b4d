"""Real servers for the tests: one store for the whole run, emptied before each test, and more of them on request."""

from __future__ import annotations

import inspect
import os
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Protocol

import pytest
import pytest_asyncio
import redis
from hypothesis import settings

from tests.client import Connection
from visitstats.embedded.process import EmbeddedStore
from visitstats.embedded.program import find_server

# A slow machine must not fail a property; what hangs is ended by pytest-timeout. CI tries the same examples every time;
# `make fuzz` tries thousands of others.
EXAMPLES = int(os.environ.get("VISITSTATS_EXAMPLES", "0"))
settings.register_profile(
    "visitstats",
    deadline=None,
    derandomize=os.environ.get("CI") == "true" and not EXAMPLES,
    max_examples=EXAMPLES or 25,
)
settings.load_profile("visitstats")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the tests that ask for more time than others: one that runs alone at the end keeps all waiting."""
    items.sort(key=lambda item: item.get_closest_marker("timeout") is None)


class StartStore(Protocol):
    """Starts another store: in its own fresh folder, or again in `data_dir` with what it held before."""

    def __call__(self, data_dir: Path | None = None, *, server: Path | None = None) -> EmbeddedStore: ...


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--store-server", type=Path, help="run the tests on this server program (default: as the service picks)"
    )


@pytest_asyncio.fixture
async def connections() -> AsyncIterator[None]:
    """Cut at its end the connections that a test has left open."""
    yield
    await Connection.cut_all()


@pytest.fixture(autouse=True)
def _own_failures(request: pytest.FixtureRequest) -> None:
    """A test that fails leaves no connection to be found, as a leak, in a test that comes later."""
    if inspect.iscoroutinefunction(getattr(request, "function", None)):
        request.getfixturevalue("connections")


@pytest.fixture(scope="session")
def server(request: pytest.FixtureRequest) -> Path:
    """The server program that the tests run on."""
    chosen: Path | None = request.config.getoption("--store-server")
    return chosen or find_server()


@pytest.fixture(scope="session")
def shared_store(tmp_path_factory: pytest.TempPathFactory, server: Path) -> Iterator[EmbeddedStore]:
    """The one store of this run. Tests that kill or fill a store start their own with `start_store`."""
    with EmbeddedStore.start(tmp_path_factory.mktemp("store"), server=server) as store:
        yield store


@pytest.fixture
def redis_url(shared_store: EmbeddedStore) -> str:
    """The address of a real, empty store."""
    with redis.Redis.from_url(shared_store.url) as client:
        client.flushall()
    return shared_store.url


@pytest.fixture
def start_store(tmp_path_factory: pytest.TempPathFactory, server: Path) -> Iterator[StartStore]:
    """Start more stores; whatever still runs at the end of the test is stopped."""
    started: list[EmbeddedStore] = []
    chosen = server

    def start(data_dir: Path | None = None, *, server: Path | None = None) -> EmbeddedStore:
        store = EmbeddedStore.start(data_dir or tmp_path_factory.mktemp("data"), server=server or chosen)
        started.append(store)
        return store

    yield start
    for store in started:
        store.stop()


def _installed_servers() -> dict[str, Path]:
    programs = {"default": find_server()}
    for name in ("valkey-server", "redis-server"):
        if path := shutil.which(name):
            programs[name] = Path(path)
    return programs


@pytest.fixture(params=sorted(_installed_servers()))
def every_server(request: pytest.FixtureRequest) -> Path:
    """Each server program on this machine in turn: for what must hold on Redis and on Valkey alike."""
    return _installed_servers()[request.param]
