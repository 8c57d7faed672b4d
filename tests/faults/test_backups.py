"""A backup brought back after a crash: compared hit by hit with what was acknowledged."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from redis.asyncio import Redis

from tests.client import Connection, until
from tests.driver import EACH_ITS_OWN, Load, Service, alive_pids, noon_zone, under
from tests.faults.conserved import HEAL_SECONDS, Stream, conserved
from tests.faults.external import ExternalStore
from tests.faults.test_older_copy import Town
from tests.web.inprocess import Clock, Running, running
from visitstats.backup.manifest import open_backup
from visitstats.backup.restoring import Restored, plan_restore, restore
from visitstats.backup.taking import make_backup
from visitstats.journal.log import Limits
from visitstats.store.fitness import opened

LIMITS = Limits(1 << 30, 24 * 3600.0)
PATIENCE = 120.0
"""Seconds for which a hit is tried: the service is away while a backup is restored."""


class Years:
    """A town whose service is started and stopped, on a clock that the test sets, with a store that is lost."""

    def __init__(self, folder: Path, url: str, views: str) -> None:
        self.folder = folder
        self.url = url
        self._views = views
        self._town: Town | None = None
        self.clock = Clock()

    @property
    def data_dir(self) -> Path:
        return self.folder / "data"

    async def live(self, minutes: int) -> None:
        """Run the service for a while; all numbers must be right before it ends."""
        async with running(self.data_dir, self.url, clock=self.clock) as app:
            town = await self._in(app)
            await town.live(minutes)
            await town.agrees()

    async def agrees(self) -> None:
        async with running(self.data_dir, self.url, clock=self.clock) as app:
            await (await self._in(app)).agrees()

    async def _in(self, app: Running) -> Town:
        await app.put_site(views=self._views)
        if self._town is None:
            self._town = Town(app, self.data_dir, 11, views=self._views)
        self._town.app = app
        return self._town

    async def lose(self) -> None:
        async with Redis.from_url(self.url) as client:
            await client.flushall()

    async def restore(self, backup: Path, data_dir: Path) -> Restored:
        async with opened(self.url, self.clock) as parts:
            plan = await plan_restore(open_backup(backup, self.clock()), data_dir, parts)
            return await restore(plan, data_dir, parts, LIMITS, self.clock)


def test_a_backup_of_an_hour_ago_is_brought_up_to_the_last_hit(tmp_path: Path, redis_url: str) -> None:
    """By the journal that outlived the store; who was in the middle of a visit still is, and counting goes on."""
    years = Years(tmp_path, redis_url, "per-visit")
    asyncio.run(years.live(60))
    backup = make_backup(redis_url, years.data_dir, tmp_path / "backups", 1, years.clock).backup.folder
    asyncio.run(years.live(60))
    asyncio.run(years.lose())
    done = asyncio.run(years.restore(backup, years.data_dir))
    assert done.lost == {}
    assert done.replayed.hits["t1"] > 0
    assert done.until_ms == years.clock()
    asyncio.run(years.agrees())
    asyncio.run(years.live(40))


def test_a_backup_on_another_machine_has_what_was_acknowledged_before_it(tmp_path: Path, redis_url: str) -> None:
    """To the hit, and says so; what came later is not made up."""
    years = Years(tmp_path, redis_url, "per-visit")
    asyncio.run(years.live(60))
    backup = make_backup(redis_url, years.data_dir, tmp_path / "backups", 1, years.clock).backup.folder
    moment = years.clock()
    elsewhere = Years(tmp_path / "elsewhere", redis_url, "per-visit")
    elsewhere.clock = years.clock
    elsewhere._town = years._town
    asyncio.run(years.lose())
    done = asyncio.run(elsewhere.restore(backup, elsewhere.data_dir))
    assert done.until_ms == moment
    asyncio.run(elsewhere.agrees())
    asyncio.run(elsewhere.live(40))


def test_what_neither_has_is_told_to_the_hit(tmp_path: Path, redis_url: str) -> None:
    """The journal has lost a part from the middle: those hits are lost, and all others are counted."""
    years = Years(tmp_path, redis_url, "every-load")
    asyncio.run(years.live(30))
    backup = make_backup(redis_url, years.data_dir, tmp_path / "backups", 1, years.clock).backup.folder
    with redis.Redis.from_url(redis_url) as client:
        before = set((years.data_dir / "journal").glob("*/*.log"))
        counted = int(client.hget("vs:{t1}:counts", "views:all") or 0)
        asyncio.run(years.live(30))
        middle = set((years.data_dir / "journal").glob("*/*.log")) - before
        lost = int(client.hget("vs:{t1}:counts", "views:all") or 0) - counted
        asyncio.run(years.live(30))
        expected = int(client.hget("vs:{t1}:counts", "views:all") or 0) - lost
        for path in middle:
            path.unlink()
        asyncio.run(years.lose())
        done = asyncio.run(years.restore(backup, years.data_dir))
        # Beacons that came twice are records of the journal, and count once.
        assert done.lost["t1"] >= lost > 0
        assert int(client.hget("vs:{t1}:counts", "views:all") or 0) == expected


def test_hits_that_only_the_backups_journal_has_are_replayed_from_it(tmp_path: Path, redis_url: str) -> None:
    """They came while the backup was made, after the snapshot; the folder's own journal begins after them by now."""
    years = Years(tmp_path, redis_url, "every-load")
    asyncio.run(years.live(20))
    came: set[Path] = set()

    def meanwhile(what: str, *_: int) -> None:
        if what == "keys" and not came:
            thread = threading.Thread(target=lambda: asyncio.run(years.live(20)))
            thread.start()
            thread.join()
            came.update((years.data_dir / "journal").glob("*/*.log"))

    backup = make_backup(redis_url, years.data_dir, tmp_path / "backups", 1, years.clock, meanwhile).backup.folder
    asyncio.run(years.live(20))
    for path in came:
        path.unlink()
    asyncio.run(years.lose())
    done = asyncio.run(years.restore(backup, years.data_dir))
    assert done.lost == {}
    asyncio.run(years.agrees())


async def kill(service: Service) -> None:
    family = service.children()
    os.kill(service.pid, signal.SIGKILL)
    await asyncio.to_thread(service.wait)

    async def gone() -> bool:
        return not alive_pids(family)

    await until(gone, "the service's processes have ended", 20)


def the_backup(target: Path) -> str:
    [folder] = [path for path in target.iterdir() if not path.name.startswith(".")]
    return str(folder)


@pytest.fixture
def hosts(tmp_path: Path, store: ExternalStore) -> Iterator[list[Service]]:
    """Two hosts on one store, with a site that counts every load."""
    services = [Service(tmp_path / name / "data", workers=1, redis_url=store.url) for name in ("a", "b")]
    try:
        for service in services:
            service.data_dir.parent.mkdir()
        services[0].add_site("t1", "--timezone", noon_zone(), *EACH_ITS_OWN)
        for service in services:
            service.start()
        yield services
    finally:
        for service in services:
            service.stop()


@pytest.mark.long
@pytest.mark.timeout(180)
async def test_two_hosts_lose_their_store_and_lose_no_hit(
    hosts: list[Service], store: ExternalStore, tmp_path: Path
) -> None:
    """A backup is made under load on one of them; both are killed (-9) in the middle of more load, and the store's data
    is deleted. Each host brings back what its own journal has."""
    target = tmp_path / "backups"
    loads = [(Load(service, "t1", PATIENCE), Stream(name)) for service, name in zip(hosts, "ab", strict=True)]
    async with under(loads[0][0].run(loads[0][1], readers=4)), under(loads[1][0].run(loads[1][1], readers=4)):
        for load, _ in loads:
            await load.more(300)
        await asyncio.to_thread(hosts[0].cli, "backup", "--to", str(target))
        for load, _ in loads:
            await load.more(300)
        for service in hosts:
            await kill(service)
        store.kill()
        shutil.rmtree(store.folder)
        await asyncio.to_thread(store.start)
        said = await asyncio.to_thread(hosts[0].cli, "restore", "--yes", the_backup(target))
        assert "up to the last hit" in said
        for service in hosts:
            await asyncio.to_thread(service.start)
        for load, _ in loads:
            await load.more(100, 60)
        for _, stream in loads:
            stream.over = True
    connection = await Connection.open(hosts[0].port)
    sent = [hit.article for _, stream in loads for hit in stream.sent]
    acknowledged = {hit.article for load, _ in loads for hit in load.acknowledged}

    async def counted() -> bool:
        views = await connection.views("t1", sent)
        assert max(views.values()) == 1, "a hit is counted twice"
        total = (await connection.numbers("t1"))["total"]
        return all(views[article] for article in acknowledged) and total is not None

    await until(counted, "every acknowledged hit is counted", HEAL_SECONDS)
    connection.close()


@pytest.mark.timeout(180)
async def test_the_drill(tmp_path: Path) -> None:
    """As docs/operations.md has it, with the embedded store: a backup under load, checked; kill -9; the store's folder
    deleted; restored; and nothing that was acknowledged is missing or there twice."""
    service, target = Service(tmp_path / "data", workers=2), tmp_path / "backups"
    service.add_site("t1", "--timezone", noon_zone(), *EACH_ITS_OWN)
    try:
        await asyncio.to_thread(service.start)
        load, stream = Load(service, "t1", PATIENCE), Stream("drill")
        async with under(load.run(stream, readers=8)):
            await load.more(400)
            before = len(load.acknowledged)
            await asyncio.to_thread(service.cli, "backup", "--to", str(target))
            said = await asyncio.to_thread(service.cli, "backup", "check", the_backup(target))
            assert "nothing is wrong" in said
            assert before <= _views(said)
            await load.more(400)
            await kill(service)
            shutil.rmtree(service.data_dir / "valkey")
            await asyncio.to_thread(service.cli, "restore", "--yes", the_backup(target))
            await asyncio.to_thread(service.start)
            await load.more(400, 60)
            stream.over = True
        await conserved(load, stream)
    finally:
        service.stop()


def _views(said: str) -> int:
    """The views of the site with what its journal adds."""
    line = next(line for line in said.splitlines() if line.startswith("t1:"))
    words = line.replace(".", "").replace(",", "").split()
    return int(words[-1]) if "hits" in words else int(words[words.index("views") - 1])
