"""The views of an article on any days are exact, wherever they are kept: in tiles, in hashes, beside each other."""

from __future__ import annotations

import itertools
import random
from collections.abc import AsyncIterator
from datetime import date

import pytest
import pytest_asyncio
from msgspec.structs import replace
from redis.asyncio import Redis

from tests.store.archive import ARTICLES, DAYS, IDS, MONTHS, Archive
from tests.store.merging import SITE
from visitstats.core.errors import StoreUnavailable, TileDamaged
from visitstats.core.tiles import Packed, cell, encode
from visitstats.reading.article_history import Article, most
from visitstats.store import keys
from visitstats.store.tiles import Tiles


@pytest_asyncio.fixture
async def archive(redis_url: str, raw: Redis) -> AsyncIterator[Archive]:
    found = Archive(redis_url, raw)
    yield found
    await found.merging.close()


@pytest.mark.parametrize("seed", range(3))
async def test_any_range_is_exact_whatever_was_packed_merged_undone_or_came_late(archive: Archive, seed: int) -> None:
    """Of each article, of many and of all, by day and by month, after each of many steps."""
    chance = random.Random(seed)
    await archive.some_readers(chance, 20)
    for _ in range(12):
        step = chance.choice(["readers", "readers", "late", "pack", "merge", "merge", "undo"])
        if step == "readers":
            await archive.some_readers(chance, 5)
        elif step == "late":
            await archive.some_readers(chance, 3, [day for day in DAYS if day.isoformat()[:7] in MONTHS])
        elif step == "pack":
            assert {each.word for each in await archive.pack()} <= {"packed"}
        elif step == "merge":
            read = [article for article in ARTICLES if any(counted == article for counted, _ in archive.read)]
            single = [article for article in read if article not in archive.stands_for]
            if len(single) > 2:
                await archive.merge(*chance.sample(single, k=2))
        elif archive.merges:
            await archive.undo()
        await archive.check_ranges(chance, 1)
    await archive.pack()
    assert await archive.is_packed() == list(MONTHS)
    await archive.check_ranges(chance)


async def test_a_late_hit_is_a_layer_beside_the_tile(archive: Archive) -> None:
    """The tile is as it was; what came late is in the day's hash, alone."""
    day = date(2036, 9, 3)
    await archive.hits(day, "/1", "/1", "/2")
    await archive.pack()
    tiles: object = await archive.raw.hgetall(keys.tiles(SITE.id, "2036-09"))
    assert not await archive.raw.exists(keys.articles_of_day(SITE.id, day.isoformat()))
    await archive.hits(day, "/1", "/3")
    assert await archive.raw.hgetall(keys.articles_of_day(SITE.id, day.isoformat())) == {
        IDS["/1"]: b"1",
        IDS["/3"]: b"1",
    }
    assert await archive.raw.hgetall(keys.tiles(SITE.id, "2036-09")) == tiles
    await archive.check(day, day)
    assert await archive.pack() == []
    await archive.check(day, day)


async def test_articles_without_a_single_view_are_zero(archive: Archive) -> None:
    await archive.hits(date(2036, 9, 3), "/1")
    await archive.pack()
    [one] = await archive.history.numbers(SITE.id, [IDS["/1"], IDS["/2"]])
    assert one == Article(IDS["/1"], 0)
    nobody = Article(IDS["/2"], 4096 * 7)
    assert await archive.history.many(SITE.id, [one, nobody], DAYS[0], DAYS[-1]) == {IDS["/1"]: 1, IDS["/2"]: 0}
    assert await archive.history.by_day(SITE.id, [nobody], DAYS[0], DAYS[-1]) == {}
    assert await archive.history.many(SITE.id, [], DAYS[0], DAYS[-1]) == {}
    assert await archive.history.by_day(SITE.id, [one], DAYS[-1], DAYS[0]) == {}


async def test_a_month_that_is_packed_while_it_is_read_is_read_again(archive: Archive) -> None:
    """Its days go from the hashes to the tiles between two commands: neither twice nor not at all."""
    await archive.hits(date(2036, 9, 3), "/1", "/1")
    [article] = await archive.history.numbers(SITE.id, [IDS["/1"]])
    tiles, times = Tiles(archive.raw), 0

    async def packed_between(site: str, periods: list[str]) -> list[int]:
        nonlocal times
        times += 1
        found = await Tiles.site_views(tiles, site, periods)
        if times == 2:
            await archive.pack()
        return found

    tiles.site_views = packed_between  # type: ignore[method-assign]
    archive.history._tiles = tiles
    assert await archive.history.by_day(SITE.id, [article], DAYS[0], DAYS[-1]) == {"2036-09-03": 2}
    assert times > 2


async def test_history_that_always_changes_is_an_error_and_no_number(archive: Archive) -> None:
    await archive.hits(date(2036, 9, 3), "/1")
    await archive.pack()
    tiles = Tiles(archive.raw)
    records = await tiles.packed(SITE.id)
    times = itertools.count()

    async def another(site: str) -> dict[str, Packed]:
        return {month: replace(record, nonce=str(next(times))) for month, record in records.items()}

    tiles.packed = another  # type: ignore[method-assign]
    archive.history._tiles = tiles
    with pytest.raises(StoreUnavailable, match="change while they are read"):
        await archive.history.by_day(SITE.id, [Article(IDS["/1"], 0)], DAYS[0], DAYS[-1])


async def test_damaged_history_is_an_error_and_no_number(archive: Archive) -> None:
    """A tile that was altered, one of articles that there are not, a record that cannot be read."""
    await archive.hits(date(2036, 9, 3), "/1")
    await archive.pack()
    name, article = keys.tiles(SITE.id, "2036-09"), Article(IDS["/1"], 0)
    good = await archive.stored(name, "0")
    for bad in (good[:-1], b"\2" + good[1:]):
        await archive.raw.hset(name, "0", bad)
        with pytest.raises(TileDamaged):
            await archive.history.by_day(SITE.id, [article], DAYS[0], DAYS[-1])
    await archive.raw.hset(name, "0", good)
    for ids in (b"", IDS["/1"][:7]):
        await archive.raw.set(keys.ids(SITE.id), ids)
        with pytest.raises(TileDamaged, match="2036-09 are missing"):
            await archive.history.all_of(SITE.id, DAYS[0], DAYS[-1], {})
    await archive.raw.hset(name, "0", encode({cell(5, 3): 1}))
    await archive.raw.set(keys.ids(SITE.id), IDS["/1"])
    with pytest.raises(TileDamaged, match="article number 5, which there is not"):
        await archive.history.all_of(SITE.id, DAYS[0], DAYS[-1], {})
    await archive.raw.hset(keys.packed(SITE.id), "2036-09", b"?")
    with pytest.raises(TileDamaged, match="record of a packed month"):
        await archive.history.many(SITE.id, [article], DAYS[0], DAYS[-1])


def test_the_most_read_of_many_are_those_that_sorting_gives() -> None:
    """Of equal ones the lower number, none without views; as many as there are."""
    chance = random.Random(5)
    for many, high in ((0, 1), (3, 2), (5000, 3), (20_000, 10), (20_000, 100_000)):
        views = [chance.choice([0, chance.randrange(high)]) for _ in range(many)]
        ranked = sorted(((n, -number) for number, n in enumerate(views) if n), reverse=True)
        for limit in (1, 5, 50, 30_000):
            assert most(views, limit) == [(-number, n) for n, number in ranked[:limit]]
