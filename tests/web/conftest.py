"""One real service with two workers for the tests of this folder, and the application in-process on a clock of
theirs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.driver import Service, noon_zone
from tests.web.inprocess import Running, running


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """`visitstats serve` with two workers and a store of its own; tests make the sites that they need."""
    found = Service(tmp_path_factory.mktemp("service") / "data", workers=2)
    found.environ["VISITSTATS_ANSWER_TIMEOUT_MS"] = "5000"  # an answer that a busy machine delays is no 202 here
    try:
        found.start()
        found.add_site("t1", "--timezone", noon_zone())
        yield found
    finally:
        found.stop()


@pytest.fixture
async def app(tmp_path: Path, redis_url: str) -> AsyncIterator[Running]:
    """The application on an empty store, with one site `t1`; it is noon of a Wednesday."""
    # An answer that a busy machine delays is no 202 here.
    async with running(tmp_path / "data", redis_url, answer_timeout_ms=5000) as found:
        yield found
