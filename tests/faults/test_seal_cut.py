"""An append-only file that was cut inside the sealing of a packed month: some servers execute its beginning at the
next restart but one, behind whatever was counted since."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import AsyncIterator
from datetime import date
from pathlib import Path

from redis.asyncio import Redis

from tests.faults.external import ExternalStore
from tests.faults.test_cut_transaction import file_of, start
from tests.store.archive import DAYS, Archive
from tests.store.merging import SITE
from visitstats.store import keys

WORDS = (b"COPY", b"PERSIST", b"HSET", b"UNLINK", b"DEL")
"""What the seal writes, and the end of what was put down: the file is cut in each of them."""
DAY = date(2036, 9, 3)


@contextlib.asynccontextmanager
async def archive_on(store: ExternalStore) -> AsyncIterator[Archive]:
    """An archive on the server as it runs now, without what was read before."""
    async with Redis.from_url(store.url) as raw:
        found = Archive(store.url, raw)
        try:
            yield found
        finally:
            await found.merging.close()


async def checked(store: ExternalStore, archive: Archive) -> None:
    """Every way to read the range is exact, on the server as it runs now."""
    async with archive_on(store) as again:
        again.read = archive.read
        await again.check(DAYS[0], DAYS[-1])


async def test_every_server_has_each_view_once_wherever_the_seal_was_cut(tmp_path: Path, every_server: Path) -> None:
    """After each restart, with a late hit on a day of the month in between, and after it was packed once more."""
    made = ExternalStore(tmp_path / "made", every_server)
    try:
        start(made)
        async with archive_on(made) as archive:
            await archive.hits(DAY, "/1", "/2", "/2")
            await archive.hits(date(2036, 9, 9), "/1")
            [outcome] = await archive.pack()
            assert outcome.word == "packed"
    finally:
        made.kill()
    whole = file_of(tmp_path / "made").read_bytes()
    transaction = whole.rfind(b"MULTI\r\n")
    records, read = list(archive.merging.records), archive.read.copy()
    for word in WORDS:
        at = whole.find(word + b"\r\n", transaction)
        assert at > 0, f"the seal's transaction has no {word!r}"
        folder = tmp_path / word.decode()
        shutil.copytree(tmp_path / "made", folder)
        file_of(folder).write_bytes(whole[: at + len(word) + 4])
        store = ExternalStore(folder, every_server)
        try:
            start(store)
            async with archive_on(store) as archive:
                archive.merging.records, archive.read = list(records), read.copy()
                await archive.check(DAYS[0], DAYS[-1])
                await archive.hits(DAY, "/2", "/3")
            await checked(store, archive)
            store.kill()
            start(store)
            await checked(store, archive)
            async with archive_on(store) as again:
                await again.pack()
                assert await again.is_packed() == ["2036-09"]
                assert not await again.raw.exists(keys.redo(SITE.id))
            await checked(store, archive)
        finally:
            store.kill()
