"""Backups of real stores: what is in them, what a kill leaves, and what may be restored where."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.conftest import StartStore
from tests.driver import PROGRAM
from tests.store.test_keys import busy
from tests.store.writing import CALENDAR, DAY, NOON, SITE, Writer, gather, numbering
from visitstats.backup.checking import check_backup
from visitstats.backup.manifest import Backup, BackupFailed, backups_in, open_backup
from visitstats.backup.restoring import Restored, RestoreRefused, plan_restore, restore
from visitstats.backup.taking import make_backup
from visitstats.core.batch import Gathering
from visitstats.core.counting import SALT_LIFE_MS
from visitstats.core.errors import StoreUnfit
from visitstats.journal.log import Limits, OpenJournal
from visitstats.store import dump, keys
from visitstats.store.fitness import opened
from visitstats.store.loading import StoreNotEmpty
from visitstats.store.records import Records
from visitstats.store.schema import check_schema, claim_store

LIMITS = Limits(1 << 30, 3600.0)


def clock() -> int:
    return NOON


def contents(url: str) -> dict[bytes, Any]:
    """Everything in a store, in words that do not depend on the server."""
    found = {}
    with redis.Redis.from_url(url) as client:
        for name in client.keys("*"):
            kind = client.type(name).decode()
            value: Any = {
                "string": lambda n: client.get(n), "hash": lambda n: client.hgetall(n),
                "set": lambda n: client.smembers(n), "zset": lambda n: client.zrange(n, 0, -1, withscores=True),
            }[kind](name)  # fmt: skip
            found[name] = (kind, client.pexpiretime(name), value)
    return found


def used(url: str) -> None:
    """Fill a store with every kind of key, one of them larger than a page, and with one that is none of ours."""

    async def fill() -> None:
        writer = Writer(url)
        try:
            await busy(url, writer)
        finally:
            await writer.close()
        async with opened(url, clock) as parts:
            await Records(parts.client).salt(SITE.id, CALENDAR.day_named(DAY.yesterday), bytes(32))

    asyncio.run(fill())
    with redis.Redis.from_url(url) as client:
        client.hset(keys.names("large"), mapping={os.urandom(8): os.urandom(20) for _ in range(3 * dump.PAGE)})
        client.hset(keys.marks("large"), mapping={"w1": "7:40", "w2": "9:2"})
        client.set("vs:foreign", "x")
        client.set("another program's", "x")


def put_back(folder: Path, url: str, data_dir: Path, progress: Callable[[str, int, int], None]) -> Restored:
    async def run() -> Restored:
        async with opened(url, clock) as parts:
            plan = await plan_restore(open_backup(folder, NOON), data_dir, parts)
            return await restore(plan, data_dir, parts, LIMITS, clock, progress)

    return asyncio.run(run())


def quiet(*_: object) -> None:
    pass


def killed(work: Callable[[Callable[[str, int, int], None]], object], what: str, done: int) -> bool:
    """Do something in a process that is killed (-9) when it has come so far; False when it never came so far."""
    child = os.fork()
    if child == 0:

        def progress(which: str, far: int, _: int) -> None:
            if which == what and far >= done:
                os.kill(os.getpid(), signal.SIGKILL)

        try:
            work(progress)
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def test_what_identifies_people_is_apart_in_a_backup_by_the_life_of_its_key() -> None:
    """A new kind of key that is forgotten within two days is not to be kept in backups for ever."""
    short = {kind.word for kind in keys.KINDS if kind.life_ms is not None and kind.life_ms <= SALT_LIFE_MS}
    assert short == dump.RECENT | dump.LEFT_OUT


@pytest.mark.parametrize("snapshots", [True, False])
def test_every_key_comes_back_on_another_makers_server(
    every_server: Path, start_store: StartStore, tmp_path: Path, snapshots: bool
) -> None:
    """With its end of life; by a snapshot and by reading alike. Only leases, the salts of past days, and what is none
    of ours are left out."""
    source, other = start_store(server=every_server), start_store()
    used(source.url)
    made = make_backup(source.url, tmp_path / "data", tmp_path / "backups", 2, clock, snapshots=snapshots)
    manifest = made.backup.manifest
    assert manifest.method == ("snapshot" if snapshots else "read"), manifest.notes
    assert any("vs:foreign" in note for note in manifest.notes)
    assert (manifest.sites["large"].hits, manifest.sites[SITE.id].articles) == (42, 6)
    put_back(made.backup.folder, other.url, tmp_path / "data", quiet)
    past = keys.salt(SITE.id, DAY.yesterday, DAY.start_ms).name.encode()
    left_out = {past, keys.lease("close-days").encode(), b"vs:foreign", b"another program's"}
    expected = {name: found for name, found in contents(source.url).items() if name not in left_out}
    assert contents(other.url) == expected


def test_a_backup_that_is_killed_leaves_none_under_a_final_name(redis_url: str, tmp_path: Path) -> None:
    """The next one removes what is left of it."""
    used(redis_url)
    target, data = tmp_path / "backups", tmp_path / "data"
    (data / "last").mkdir(parents=True)
    (data / "last" / "sites.json").write_text("[]")
    for what in ("snapshot of the store", "keys", "files"):
        assert killed(lambda progress: make_backup(redis_url, data, target, 1, clock, progress), what, 1)
        assert backups_in(target) == []
    made = make_backup(redis_url, data, target, 1, clock)
    assert {path.name for path in target.iterdir()} == {".lock", made.backup.folder.name}
    assert (made.backup.folder / "data" / "last" / "sites.json").read_text() == "[]"


def test_a_backup_that_fails_says_why_and_leaves_nothing(redis_url: str, tmp_path: Path) -> None:
    with pytest.raises(BackupFailed, match="the store is empty"):
        make_backup(redis_url, tmp_path / "data", tmp_path / "backups", 1, clock)
    used(redis_url)
    (tmp_path / "file").touch()
    with pytest.raises(BackupFailed, match="could not be made: File exists"):
        make_backup(redis_url, tmp_path / "data", tmp_path / "file", 1, clock)
    assert backups_in(tmp_path / "backups") == []


def test_nobody_counts_in_a_store_into_which_a_restore_was_broken_off(redis_url: str, tmp_path: Path) -> None:
    """It is done again from the same backup, and is whole then; any other is refused there."""
    used(redis_url)
    data, target = tmp_path / "data", tmp_path / "backups"
    folder = make_backup(redis_url, data, target, 2, clock).backup.folder
    other = make_backup(redis_url, data, target, 2, clock).backup.folder
    expected = contents(redis_url)
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
    broken = 0
    for done in (1, 2, 30):
        broken += killed(lambda progress: put_back(folder, redis_url, data, progress), "keys", done)

        async def refused() -> None:
            async with opened(redis_url, clock) as parts:
                with pytest.raises(StoreUnfit, match="a backup is being restored"):
                    await claim_store(parts.client)

        asyncio.run(refused())
        with pytest.raises(StoreNotEmpty):
            put_back(other, redis_url, data, quiet)
    assert broken == 3
    put_back(folder, redis_url, data, quiet)
    restored = contents(redis_url)
    assert all(expected[name] == found for name, found in restored.items())
    assert b"vs:{portal}:counts" in restored
    assert asyncio.run(_claimed(redis_url))


async def _claimed(url: str) -> bool:
    async with opened(url, clock) as parts:
        return await check_schema(parts.client)


def test_a_store_with_anything_of_ours_and_a_folder_that_is_in_use_are_refused(redis_url: str, tmp_path: Path) -> None:
    """Nothing is changed then."""
    used(redis_url)
    data = tmp_path / "data"
    folder = make_backup(redis_url, data, tmp_path / "backups", 1, clock).backup.folder
    before = contents(redis_url)
    with pytest.raises(StoreNotEmpty, match="the store is not empty"):
        put_back(folder, redis_url, data, quiet)
    assert contents(redis_url) == before
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
    journal = OpenJournal.open(data / "journal", max_bytes=1 << 20, keep_seconds=60)
    try:
        with pytest.raises(RestoreRefused, match="a service runs"):
            put_back(folder, redis_url, data, quiet)
    finally:
        journal.close()
    assert contents(redis_url) == {}


def test_a_store_that_gives_no_snapshot_is_read_and_the_backup_says_so(redis_url: str, tmp_path: Path) -> None:
    """Hosted servers refuse SYNC."""
    used(redis_url)
    with redis.Redis.from_url(redis_url) as client:
        path = client.connection_pool.connection_kwargs["path"]
        client.acl_setuser("hosted", enabled=True, passwords=["+secret"], keys=["*"], categories=["+@all"],
                           commands=["-sync", "-psync"])  # fmt: skip
        try:
            url = f"unix://hosted:secret@{path}"
            found = make_backup(url, tmp_path / "data", tmp_path / "backups", 1, clock).backup
        finally:
            client.acl_deluser("hosted")
    assert found.manifest.method == "read"
    assert "no permissions" in found.manifest.notes[0].lower()
    assert _tried(found) == []


def _tried(found: Backup) -> list[Any]:
    return [each for each in check_backup(found.folder, clock).problems if each.site != "large"]


@pytest.mark.parametrize("at_once", [dump.AT_ONCE, 10])
async def test_a_site_is_read_at_one_moment_while_hits_come(
    redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    """A small one, and one that is read in pieces until nothing has moved: its watermarks, its sums and its articles
    are of the same number of hits."""
    monkeypatch.setattr(dump, "AT_ONCE", at_once)
    writer, read = Writer(redis_url), 0

    async def hits() -> None:
        n = 0
        while read < 3:
            waiting = Gathering(SITE, DAY)
            gather(waiting, NOON + n, f"person {n}", f"/{n}")
            await writer.count(waiting, numbering(NOON + n))
            n += 1

    async with opened(redis_url, clock) as parts:
        await claim_store(parts.client)
        await Records(parts.client).put_site(SITE)
        task = asyncio.create_task(hits())
        while not task.done():
            path = tmp_path / "dump"
            with path.open("wb") as lasting, (tmp_path / "recent").open("wb") as recent:
                found = dump.DumpWriter(lasting, recent, NOON)
                assert await dump.dump_beside(parts.client, found, quiet) == []
                found.close()
            totals = found.totals.get(SITE.id, dump.Totals())
            assert totals.hits == totals.visits == totals.views == totals.articles
            read += totals.hits > 0
        await task
    await writer.close()


@pytest.mark.parametrize("command", [("backup", "check"), ("restore", "--yes")])
def test_a_backup_that_cannot_be_read_is_one_line(tmp_path: Path, command: tuple[str, ...]) -> None:
    """A name that is too long for the disk stands for whatever the disk may say."""
    folder = tmp_path / ("x" * 300)
    done = subprocess.run(
        [str(PROGRAM), *command, str(folder), "--data-dir", str(tmp_path / "data")], capture_output=True, text=True,
        timeout=30, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("visitstats: ")
    assert done.stderr.count("\n") == 1
