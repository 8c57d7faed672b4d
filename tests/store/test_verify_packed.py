"""`visitstats verify` sees what is wrong in packed history, and finds nothing where all is right."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import date
from pathlib import Path

import pytest
import pytest_asyncio
from msgspec.structs import replace
from redis.asyncio import Redis

from tests.store.archive import IDS, NOW, Archive
from tests.store.merging import SITE
from visitstats.core.tiles import Tile, cell, decode_packed, encode, encode_packed
from visitstats.store import keys
from visitstats.store.fitness import opened
from visitstats.store.tiles import views_at
from visitstats.trust.verify.verifier import Report, Verifier

TILES, PACKED, DAY = keys.tiles(SITE.id, "2036-09"), keys.packed(SITE.id), date(2036, 9, 3)


@pytest_asyncio.fixture
async def archive(redis_url: str, raw: Redis, tmp_path: Path) -> AsyncIterator[Archive]:
    found = Archive(redis_url, raw)
    yield found
    await found.merging.close()


async def verified(archive: Archive, folder: Path) -> Report:
    async with opened(archive.url, lambda: NOW) as parts:
        await parts.records.put_site(SITE)
        return await Verifier(parts.inspector, parts.records, parts.reads, folder, lambda: NOW).run(again_seconds=0)


async def test_packed_months_are_right(archive: Archive, tmp_path: Path) -> None:
    """With merges before and after, and hits that came late."""
    await archive.some_readers(random.Random(7), 20)
    await archive.merge("/1", "/2")
    await archive.pack()
    await archive.merge("/3", "/2")
    await archive.some_readers(random.Random(8), 8)
    report = await verified(archive, tmp_path)
    assert report.problems == []
    await archive.undo()
    assert (await verified(archive, tmp_path)).problems == []


async def alter(archive: Archive, change: Callable[[dict[int, int]], None]) -> None:
    """Change the cells of the tile."""
    cells = Tile(await archive.stored(TILES, "0")).cells()
    change(cells)
    await archive.raw.hset(TILES, "0", encode(cells))


async def another_view(archive: Archive) -> None:
    await alter(archive, lambda cells: cells.update({cell(0, 3): cells[cell(0, 3)] + 1}))


async def another_article(archive: Archive) -> None:
    def moved(cells: dict[int, int]) -> None:
        cells[cell(0, 3)], cells[cell(1, 3)] = cells[cell(1, 3)], cells[cell(0, 3)]

    await alter(archive, moved)


async def cut(archive: Archive) -> None:
    await archive.raw.hset(TILES, "0", (await archive.stored(TILES, "0"))[:-3])


async def of_nobody(archive: Archive) -> None:
    ids = await archive.raw.getrange(keys.ids(SITE.id), 0, 7)
    await archive.raw.set(keys.ids(SITE.id), ids)


async def record(archive: Archive, **fields: object) -> None:
    before = decode_packed(await archive.stored(keys.packed(SITE.id), "2036-09"))
    await archive.raw.hset(keys.packed(SITE.id), "2036-09", encode_packed(replace(before, **fields)))


async def second_number(archive: Archive) -> None:
    """The first article again, and views under its second number."""
    await archive.raw.append(keys.ids(SITE.id), IDS["/1"])
    await alter(archive, lambda cells: cells.update({cell(2, 3): 1}))


async def other_day(archive: Archive) -> None:
    days = [0] * 30
    days[3] = 3
    await record(archive, days=tuple(days))


BREAKS: dict[str, tuple[Callable[[Archive], Awaitable[object]], str, str]] = {
    "a tile has another view": (another_view, "tiles", "4 views of 2 articles on 2 days; 3 of 2 on 2 in 1 were packed"),
    "views of two articles are exchanged": (another_article, "tiles", "checksum"),
    "… and the article's views of all time are not its days'": (another_article, "article", "its days have"),
    "a tile is cut off": (cut, "tiles", "block 0 of 2036-09"),
    "a tile is gone": (lambda archive: archive.raw.delete(TILES), "tiles", "0 tiles of 2036-09"),
    "there are tiles without a record": (
        lambda archive: archive.raw.rename(TILES, keys.tiles(SITE.id, "2036-07")), "tiles", "no record"),
    "a field is no block": (lambda archive: archive.raw.hset(TILES, "x", "y"), "tiles", "no block"),
    "an article has no number": (of_nobody, "tiles", "number 1, which there is not"),
    "views are under a second number": (second_number, "tiles", "views under number 2; its number is 0"),
    "the record is damaged": (lambda archive: archive.raw.hset(PACKED, "2036-09", "?"), "packed", "cannot be read"),
    "the record's name is no month": (lambda archive: archive.raw.hset(PACKED, "2036-13", "?"), "packed", "no month"),
    "the record contradicts itself": (lambda archive: record(archive, days=(5,) * 30), "packed", "have 150 views"),
    "the record has other days": (other_day, "day", "have 0 views, 2036-09-03 has 3"),
    "the site has another view on a packed day": (
        lambda archive: archive.raw.hset(*views_at(SITE.id, DAY.isoformat()), 4),
        "day", "have 3 views, 2036-09-03 has 4"),
    "a day is there again": (
        lambda archive: archive.raw.hset(keys.articles_of_day(SITE.id, DAY.isoformat()), IDS["/1"], 1),
        "day", "have 4 views, 2036-09-03 has 3"),
    "ids are cut off": (lambda archive: archive.raw.append(keys.ids(SITE.id), "abc"), "value", "whole ids"),
    "tiles will be forgotten": (lambda archive: archive.raw.expire(TILES, 900), "life", "forget"),
    "tiles that were never sealed stay for ever": (
        lambda archive: archive.raw.hset(keys.packing(SITE.id, "2036-09", "0" * 16), "0", "tile"),
        "life", "never forget"),
    "ids are something else": (lambda archive: archive.raw.rename(TILES, keys.ids(SITE.id)), "type", "hash"),
}  # fmt: skip


@pytest.mark.parametrize("broken", BREAKS)
async def test_what_was_broken_in_packed_history_is_found(archive: Archive, tmp_path: Path, broken: str) -> None:
    await archive.hits(DAY, "/1", "/1", "/2")
    await archive.pack()
    assert (await verified(archive, tmp_path)).problems == []
    how, check, detail = BREAKS[broken]
    await how(archive)
    found = [(problem.check, problem.detail) for problem in (await verified(archive, tmp_path)).problems]
    assert any(each == check and detail in text for each, text in found), found
