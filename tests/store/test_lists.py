"""Lists of articles, as editors ask for them, read from a real store."""

from __future__ import annotations

import random
from typing import Any

import pytest
from redis.asyncio import Redis

from visitstats.core.entries import Entry
from visitstats.core.entries import encode as encode_entry
from visitstats.core.keys import article_id
from visitstats.core.sites import Site
from visitstats.reading import articles
from visitstats.reading.articles import Lists, Row
from visitstats.sites.directory import LiveSite
from visitstats.store import keys
from visitstats.store.reads import Reads

SITE = Site(id="t", hosts=("portal.vn",))
LIVE = LiveSite(SITE)
NOON = LIVE.calendar.day_named("2026-11-25").start_ms + 12 * 3600 * 1000
TODAY = LIVE.calendar.day_at(NOON)
MANY = 2 * articles.RUN + articles.PAGE + 7
"""Articles: several runs that are sorted one by one, and more pages than one."""


def path(n: int) -> str:
    return f"/tin-tuc/bai-{n}.html"


async def put(raw: Redis, name: str, views: dict[int, int]) -> None:
    """Write views as the ledger keeps them, and the articles' names."""
    counts: Any = {article_id(path(n)): count for n, count in views.items()}
    entries: Any = {article_id(path(n)): encode_entry(Entry(path(n), f"Bài {n}")) for n in views}
    await raw.hset(name, mapping=counts)
    await raw.hset(keys.names(SITE.id), mapping=entries)


def lists_of(raw: Redis) -> Lists:
    return Lists(Reads(raw), lambda: NOON)


async def listed(lists: Lists, period: str, limit: int = articles.MOST_ROWS, live: LiveSite = LIVE) -> list[Row]:
    return [row async for row in lists.rows(live, period, limit)]


@pytest.mark.parametrize("period", ["day", "all"])
async def test_a_large_site_is_listed_from_its_first_article_to_its_last(raw: Redis, period: str) -> None:
    """Each once, the most read first, with its title; the file that an editor downloads has all rows."""
    views = dict(zip(range(MANY), random.Random(1).choices(range(1, 3000), k=MANY), strict=True))
    await put(raw, keys.articles_of_day(SITE.id, TODAY.date) if period == "day" else keys.articles(SITE.id), views)
    found = await listed(lists_of(raw), period)
    assert [row.views for row in found] == sorted(views.values(), reverse=True)
    assert {row.entry.key: row.views for row in found} == {path(n): count for n, count in views.items()}
    assert {row.entry.title for row in found} == {f"Bài {n}" for n in views}
    for limit in (1, articles.PAGE, articles.PAGE + 1):
        assert await listed(lists_of(raw), period, limit) == found[:limit]


async def test_each_period_has_the_views_of_its_days(raw: Redis) -> None:
    """The week begins on Monday the 23rd, the month on the 1st; tomorrow, last Sunday and October are in none."""
    for day, views in {
        "2026-11-25": {1: 1},
        "2026-11-24": {1: 2, 2: 7},
        "2026-11-23": {2: 3},
        "2026-11-22": {3: 100},
        "2026-11-01": {3: 1, 1: 200},
        "2026-10-31": {4: 9000},
        "2026-11-26": {5: 9000},
    }.items():
        await put(raw, keys.articles_of_day(SITE.id, day), views)
    await put(raw, keys.articles(SITE.id), {1: 203, 2: 10, 3: 101, 4: 9000, 5: 9000, 6: 0})
    found = {period: await listed(lists_of(raw), period) for period in articles.PERIODS}
    assert {period: [(row.entry.key, row.views) for row in rows] for period, rows in found.items()} == {
        "day": [(path(1), 1)],
        "week": [(path(2), 10), (path(1), 3)],
        "month": [(path(1), 203), (path(3), 101), (path(2), 10)],
        "all": [*sorted([(path(4), 9000), (path(5), 9000)], key=lambda row: article_id(row[0])), (path(1), 203),
                (path(3), 101), (path(2), 10)],
    }  # fmt: skip


async def test_numbers_are_read_when_they_are_asked_for(raw: Redis) -> None:
    """An editor who looks again sees the last hit, though the order is from before."""
    await put(raw, keys.articles(SITE.id), {1: 5, 2: 3})
    lists = lists_of(raw)
    assert [row.views for row in await listed(lists, "all")] == [5, 3]
    await put(raw, keys.articles(SITE.id), {1: 5, 2: 9})
    assert [row.views for row in await listed(lists, "all")] == [5, 9]
    assert [row.views for row in await listed(lists_of(raw), "all")] == [9, 5]


async def test_merged_articles_are_added_up_on_pages_of_any_number(raw: Redis) -> None:
    """Every second article of a large site was merged into the one before it."""
    many = articles.PAGE * 2
    await put(raw, keys.articles_of_day(SITE.id, TODAY.date), {n: n // 2 + 1 for n in range(many)})
    live = LiveSite(SITE, {article_id(path(n)): path(n - 1) for n in range(1, many, 2)})
    found = await listed(lists_of(raw), "day", live=live)
    assert [(row.entry.key, row.views) for row in found] == [
        (path(n), 2 * (n // 2 + 1)) for n in range(many - 2, -1, -2)
    ]


async def test_an_article_without_a_name_is_listed_by_its_id(raw: Redis) -> None:
    """A name that the store has lost must not hide the counts."""
    counts: Any = {article_id("/a"): 4}
    await raw.hset(keys.articles(SITE.id), mapping=counts)
    assert await listed(lists_of(raw), "all") == [Row(Entry(f"?{article_id('/a').hex()}"), 4)]
