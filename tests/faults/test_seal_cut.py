"""An append-only file that was cut inside the sealing of a packed month: some servers execute its beginning at the
next restart but one, behind whatever was counted since."""

from __future__ import annotations

import shutil
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


async def checked(store: ExternalStore, archive: Archive) -> None:
    """Every way to read the range is exact, on the server as it runs now."""
    async with Redis.from_url(store.url) as raw:
        again = Archive(store.url, raw)
        again.read = archive.read
        await again.check(DAYS[0], DAYS[-1])


async def test_every_server_has_each_view_once_wherever_the_seal_was_cut(tmp_path: Path, every_server: Path) -> None:
    """After each restart, with a late hit on a day of the month in between, and after it was packed once more."""
    made = ExternalStore(tmp_path / "made", every_server)
    start(made)
    async with Redis.from_url(made.url) as raw:
        archive = Archive(made.url, raw)
        await archive.hits(DAY, "/1", "/2", "/2")
        await archive.hits(date(2036, 9, 9), "/1")
        [outcome] = await archive.pack()
        assert outcome.word == "packed"
        await archive.merging.close()
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
        start(store)
        try:
            async with Redis.from_url(store.url) as raw:
                archive = Archive(store.url, raw)
                archive.merging.records, archive.read = list(records), read.copy()
                await archive.check(DAYS[0], DAYS[-1])
                await archive.hits(DAY, "/2", "/3")
                await archive.merging.close()
            await checked(store, archive)
            store.kill()
            start(store)
            await checked(store, archive)
            async with Redis.from_url(store.url) as raw:
                again = Archive(store.url, raw)
                await again.pack()
                assert await again.is_packed() == ["2036-09"]
                assert not await raw.exists(keys.redo(SITE.id))
            await checked(store, archive)
        finally:
            store.kill()
