"""Real services and real stores that are killed and stopped on purpose."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.driver import EACH_ITS_OWN, Service, alive_pids, noon_zone
from tests.faults.external import ExternalStore
from tests.waiting import wait_until

Serve = Callable[..., Service]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.faults)
            item.add_marker(pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc"))


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Start a service with a site `t1` that counts every load; nothing of it is left behind."""
    started: list[Service] = []

    def start(redis_url: str = "", workers: int = 2, **settings: str) -> Service:
        service = Service(tmp_path / "data", workers=workers, redis_url=redis_url)
        service.environ |= {f"VISITSTATS_{name.upper()}": value for name, value in settings.items()}
        started.append(service)
        # Every hit of the tests reads an article of its own: far more new ones than a portal writes in a minute.
        service.add_site("t1", "--timezone", noon_zone(), *EACH_ITS_OWN)
        service.start()
        return service

    yield start
    for service in started:
        children = service.children() if service.running else {}
        service.stop()
        wait_until(lambda: not alive_pids(children), "its processes are gone")  # noqa: B023


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ExternalStore]:
    """A store that the service does not own: redis-server where there is one, with an append-only file, everysec."""
    found = ExternalStore(tmp_path / "store")
    try:
        found.start()
        yield found
    finally:
        found.kill()
