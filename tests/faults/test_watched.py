"""200 sites under load, watched by a real Prometheus: the alerts that fire are those that ought to, and its figures are
those of the load, while workers are killed and the store is full, gone, and a replica."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.client import Connection, Hit, crowd, until
from tests.collector import Collector
from tests.driver import Service
from tests.faults.conftest import Serve
from tests.faults.external import ExternalStore
from tests.faults.test_supervision import put_sites
from tests.waiting import POLL_SECONDS

pytestmark = [pytest.mark.long, pytest.mark.timeout(400)]

SITES = 200
FASTER = 20
"""Five minutes of a rule are a quarter of one here."""
SECONDS = 3
"""Between scrapes: what takes longer than that is none."""
READERS = 8
PEOPLE = 4000
"""Of 20 networks: none of them reads more than a school."""
UNTOUCHED = {"VisitstatsBackupStale", "VisitstatsBackupUntested"}
"""These ought to fire all the time: this service has no backup."""
MACHINE = {"VisitstatsFsyncSlow", "VisitstatsCommitSlow", "VisitstatsOverloaded"}
"""These tell of the machine, which others use."""


class Portals:
    """Readers of all sites, one hit after the other; each is sent again until it is acknowledged."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._people = crowd(PEOPLE, "watched")
        self._number = 0
        self.over = False
        self.acknowledged: Counter[str] = Counter()
        """Of each site the hits, each of a visitor of its own."""

    async def read(self) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(READERS):
                group.create_task(self._reader())

    async def _reader(self) -> None:
        connection: Connection | None = None
        while not self.over:
            self._number += 1
            turn, portal = divmod(self._number, SITES)
            site, person = f"p{portal}", self._people[(37 * turn + 20 * portal) % PEOPLE]
            hit = Hit(person, "/tin-tuc", f"watched{self._number:09d}")
            while not await self._taken(connection := connection or await self._connected(), site, hit):
                connection = None
            self.acknowledged[site] += 1
        if connection is not None:
            connection.close()

    async def _connected(self) -> Connection:
        while True:
            try:
                return await Connection.open(self._service.port)
            except OSError:
                await asyncio.sleep(POLL_SECONDS)

    async def _taken(self, connection: Connection, site: str, hit: Hit) -> bool:
        headers = hit.visitor.headers | {"content-type": "text/plain"}
        body = hit.body(f"{site}.example.vn")
        try:
            answer = await connection.request("POST", f"/v1/sites/{site}/hit", body, headers)
        except ConnectionError:
            connection.close()
            return False
        assert answer.status in (200, 202), answer
        assert answer.ignored in ("", "duplicate"), answer  # the answer to the first try was lost
        return True


@asynccontextmanager
async def reading(portals: Portals) -> AsyncIterator[None]:
    """Have them read beside the block; what ends them before their time ends the test."""
    async with asyncio.TaskGroup() as group:
        group.create_task(portals.read())
        yield
        portals.over = True


async def watch(collector: Collector, expected: set[str], calm: Callable[[], Awaitable[None]]) -> None:
    """See the expected alerts fire, and no other; then have `calm` mend what is broken, and see them end."""
    seen, before = set[str](), await asyncio.to_thread(collector.firing)

    async def all_fire() -> bool:
        seen.update(await asyncio.to_thread(collector.firing))
        return expected <= seen

    try:
        await until(all_fire, f"{expected} fire", 120)
    except AssertionError as error:
        raise AssertionError(f"{error}; seen were {seen}") from error
    took = await asyncio.to_thread(collector.ask, "max_over_time(scrape_duration_seconds[1m])")
    assert seen - (before - expected) - UNTOUCHED - MACHINE == expected, f"scrapes took {took}"
    await calm()

    async def all_end() -> bool:
        return not await asyncio.to_thread(collector.firing) - UNTOUCHED - MACHINE

    await until(all_end, f"{expected} end", 120)


async def test_prometheus_tells_of_each_fault_and_has_the_figures_of_the_load(
    serve: Serve, store: ExternalStore, tmp_path: Path
) -> None:
    service = serve(store.url)
    await put_sites(store, SITES)
    await service.known(f"p{SITES - 1}")
    folder = tmp_path / "prometheus"
    folder.mkdir()
    collector = Collector(folder, service, seconds=SECONDS, faster=FASTER)
    portals = Portals(service)

    async def nothing() -> None:
        """What was broken is whole by itself."""

    async def quiet() -> bool:
        return bool(await asyncio.to_thread(collector.ask, "sum(increase(visitstats_hits_total[20s])) > 400"))

    try:
        with store.client() as raw:
            async with reading(portals):
                await until(quiet, "Prometheus sees the load", 60)
                await watch(collector, set(), nothing)  # a target that was never seen is down
                await watch(collector, set(), nothing)

                for _ in range(4):
                    before = service.workers
                    os.kill(before[0], signal.SIGKILL)

                    async def replaced() -> bool:
                        return len(set(service.workers) - {before[0]}) == 2  # noqa: B023

                    await until(replaced, "it is replaced", 20)
                await watch(collector, {"VisitstatsWorkerRestarts"}, nothing)

                raw.config_set("maxmemory", 1)

                async def emptied() -> None:
                    raw.config_set("maxmemory", 0)

                full = {"VisitstatsStoreRefuses", "VisitstatsStoreMemory", "VisitstatsLagging"}
                await watch(collector, full, emptied)

                store.kill()

                async def started() -> None:
                    await asyncio.to_thread(store.start)

                await watch(collector, {"VisitstatsStoreAway", "VisitstatsLagging"}, started)

                raw.execute_command("REPLICAOF", "127.0.0.1", "1")

                async def promoted() -> None:
                    raw.execute_command("REPLICAOF", "NO", "ONE")

                await watch(collector, {"VisitstatsStoreRefuses", "VisitstatsLagging"}, promoted)
        assert max(portals.acknowledged.values()) < PEOPLE, "each of a site's hits is somebody else's"

        async def same() -> bool:
            return [await totals(collector, kind) for kind in ("visits", "views")] == 2 * [portals.acknowledged]

        await until(same, "the figures are those of the load", 30)
    finally:
        collector.stop()


async def totals(collector: Collector, kind: str) -> Counter[str]:
    """Of each site what Prometheus has last seen."""
    found = await asyncio.to_thread(collector.ask, f'max by (site) (visitstats_{kind}{{period="total",site=~"p.+"}})')
    return Counter({each["metric"]["site"]: int(each["value"][1]) for each in found})
