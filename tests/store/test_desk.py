"""What is heavy about lists is done beside the worker, in a process that comes, goes and dies without harm."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import textwrap
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from tests.store.shelf import SITE, Shelf
from tests.waiting import eventually
from visitstats.core.errors import InvalidQuery, StoreUnavailable
from visitstats.core.query import Query
from visitstats.reading.desk import Desk
from visitstats.reading.desk_process import WINDOW
from visitstats.reading.query import PIECE
from visitstats.settings import Settings
from visitstats.system.clock import wall_clock


@pytest_asyncio.fixture
async def desk(redis_url: str, tmp_path: Path) -> AsyncIterator[Desk]:
    made = desk_on(redis_url, tmp_path)
    yield made
    await made.close()


def desk_on(url: str, folder: Path) -> Desk:
    return Desk(Settings.load({"data_dir": str(folder)}), url, wall_clock)


async def filled(raw: Redis, many: int) -> Shelf:
    shelf = Shelf(raw, 1)
    await shelf.add_many(many)
    await shelf.read_many([(article, "2026-10-05", 1 + n % 7) for n, article in enumerate(shelf.articles)])
    return shelf


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


async def test_a_page_comes_from_the_desk_as_it_is(raw: Redis, desk: Desk) -> None:
    shelf = await filled(raw, 30)
    page = await desk.page(SITE, Query(period="2026-10", limit=7, sort="title"))
    expected = shelf.expected(Query(period="2026-10", sort="title"), "2026-10-01", "2026-10-31")
    assert [(row.entry.key, row.views, row.total) for row in page.rows] == expected[:7]
    assert (page.selection.articles, page.selection.views) == (30, sum(views for _, views, _ in expected))
    top = await desk.top(SITE, "2026-10", 5)
    best = shelf.expected(Query(), "2026-10-01", "2026-10-31")[:5]
    assert [(row.entry.key, row.views) for row in top] == [row[:2] for row in best]


async def test_errors_come_from_the_desk_as_they_are(raw: Redis, desk: Desk, redis_url: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidQuery, match="period 'x'"):
        await desk.page(SITE, Query(period="x"))
    away = desk_on("redis://127.0.0.1:1", tmp_path / "away")
    with pytest.raises(StoreUnavailable):
        await away.page(SITE, Query())
    await away.close()


async def test_a_desk_that_dies_is_started_again(raw: Redis, desk: Desk) -> None:
    """Also in the middle of an answer: a page is asked for again, a file says that it is not complete."""
    await filled(raw, 5)
    assert len((await desk.page(SITE, Query())).rows) == 5
    first = desk.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    asked = await asyncio.gather(*(desk.page(SITE, Query()) for _ in range(5)))
    assert [len(page.rows) for page in asked] == [5] * 5
    assert desk.pid not in (None, first)


async def test_a_file_that_nobody_reads_costs_no_memory_and_keeps_nobody_waiting(raw: Redis, desk: Desk) -> None:
    """The desk reads as many rows of the store as are taken, and some more; other answers come meanwhile."""
    many = 12 * PIECE
    await filled(raw, many)
    await desk.page(SITE, Query(limit=3))
    before = (await raw.info("commandstats"))["cmdstat_hmget"]["calls"]
    file = desk.file(SITE, Query(limit=many), "csv")
    beginning = await anext(file)
    assert beginning.startswith("\ufeffSTT;".encode())
    for _ in range(5):
        assert len((await desk.page(SITE, Query(limit=3))).rows) == 3
    pieces = WINDOW + 2
    assert (await raw.info("commandstats"))["cmdstat_hmget"]["calls"] - before <= 2 * (5 + pieces)
    rest = [part async for part in file]
    assert len(rest) == 11
    text = b"".join([beginning, *rest]).decode()
    assert text.count("\r\n") == many + 1
    async for _ in desk.file(SITE, Query(limit=many), "csv"):
        break
    assert len((await desk.page(SITE, Query(limit=3))).rows) == 3


async def test_a_workbook_is_an_archive(raw: Redis, desk: Desk, tmp_path: Path) -> None:
    await filled(raw, 5)
    data = b"".join([part async for part in desk.file(SITE, Query(), "xlsx")])
    assert data.startswith(b"PK")
    assert not [name for _, _, names in os.walk(tmp_path) for name in names if name.endswith(".xlsx")]


async def test_a_desk_ends_with_its_worker(raw: Redis, redis_url: str, tmp_path: Path) -> None:
    """However that ends: a desk that stayed would read the store for ever."""
    await filled(raw, 3)
    program = textwrap.dedent(
        f"""
        import asyncio
        from visitstats.core.query import Query
        from visitstats.core.sites import Site
        from visitstats.reading.desk import Desk
        from visitstats.settings import Settings
        from visitstats.system.clock import wall_clock

        async def main():
            desk = Desk(Settings.load({{"data_dir": {str(tmp_path)!r}}}), {redis_url!r}, wall_clock)
            await desk.page(Site(id="t", hosts=("portal.vn",)), Query())
            print(desk.pid, flush=True)
            await asyncio.sleep(600)

        asyncio.run(main())
        """
    )
    worker = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE)
    try:
        assert worker.stdout is not None
        pid = int(await worker.stdout.readline())
        assert not gone(pid)
    finally:
        worker.kill()
        await worker.wait()
    await eventually(lambda: gone(pid), "the desk is gone")


async def test_a_desk_that_is_closed_is_gone(raw: Redis, desk: Desk) -> None:
    await filled(raw, 1)
    await desk.page(SITE, Query())
    pid = desk.pid
    assert pid is not None
    await desk.close()
    assert gone(pid)
