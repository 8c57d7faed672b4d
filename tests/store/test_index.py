"""Lists of articles say what was counted, whatever is asked for, and whatever happens to the index."""

from __future__ import annotations

import os
import sqlite3
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from tests.store.shelf import SITE, TODAY, Article, Shelf, published_day
from visitstats.core.errors import InvalidQuery
from visitstats.core.keys import article_id
from visitstats.core.periods import Calendar
from visitstats.core.query import Query
from visitstats.reading import query as asking
from visitstats.reading.desk_process import made_of, updater_of
from visitstats.reading.index import Index, IndexBuilding, IndexUnavailable
from visitstats.store import keys
from visitstats.store.inspect import Inspector
from visitstats.trust.verify.findings import Look
from visitstats.trust.verify.listed import Listed

CALENDAR = Calendar(SITE.timezone)
MONTHS = [f"2025-{n:02}" for n in range(1, 13)] + [f"2026-{n:02}" for n in range(1, 11)]
NOON = CALENDAR.day_named(TODAY).start_ms + 12 * 3600 * 1000


class Clock:
    def __init__(self) -> None:
        self.ms = NOON

    def __call__(self) -> int:
        return self.ms

    def wait(self, seconds: int) -> None:
        self.ms += 1000 * seconds


class Desk:
    """A process that answers queries, with its clock."""

    def __init__(self, raw: Redis, folder: Path, clock: Clock) -> None:
        self.index = Index(folder)
        self.clock = clock
        self.articles = made_of(raw, self.index, clock)

    async def rows(self, **fields: Any) -> list[tuple[str, int, int]]:
        """Return the rows of a whole list, read in pages of its limit, as `Shelf.expected` has them."""
        found: list[tuple[str, int, int]] = []
        cursor = ""
        while True:
            page = await self.articles.page(SITE, Query(cursor=cursor, **fields))
            assert page.first == len(found)
            found += [(row.entry.key, row.views, row.total) for row in page.rows]
            if not page.cursor:
                assert page.selection.articles == len(found)
                assert page.selection.views == sum(views for _, views, _ in found)
                return found
            cursor = page.cursor


async def filled(raw: Redis, seed: int, many: int = 40, reads: int = 150) -> Shelf:
    shelf = Shelf(raw, seed)
    await shelf.add_many(many)
    await read_some(shelf, reads)
    return shelf


async def read_some(shelf: Shelf, many: int) -> None:
    draw = shelf.random

    def day() -> str:
        return draw.choice([TODAY, "2026-11-24", "2026-11-18", *[_day(draw.randrange(694))] * 9])

    await shelf.read_many([(draw.choice(shelf.articles), day(), draw.choice([1, 1, 1, 2, 7])) for _ in range(many)])


def _day(n: int) -> str:
    return (date(2025, 1, 1) + timedelta(days=n)).isoformat()


async def check(desk: Desk, shelf: Shelf, **fields: Any) -> None:
    query = Query(**fields)
    days = query.range(CALENDAR, CALENDAR.day_at(desk.clock()))
    assert await desk.rows(limit=shelf.random.choice([3, 7, 1000]), **fields) == shelf.expected(
        query, days.first, days.last
    ), fields


@pytest.mark.parametrize("seed", range(3))
async def test_every_list_is_what_counting_by_hand_says(raw: Redis, tmp_path: Path, seed: int) -> None:
    """Random conditions, ranges and orders, while articles are read, edited, hidden, merged and given back."""
    shelf = await filled(raw, seed)
    clock = Clock()
    desk, other = Desk(raw, tmp_path, clock), Desk(raw, tmp_path, clock)
    draw = shelf.random
    for _ in range(10):
        for _ in range(6):
            await check(draw.choice([desk, other]), shelf, **shelf.some_query())
        for _ in range(draw.randrange(4)):
            one = draw.choice(shelf.articles)
            match draw.randrange(6):
                case 0:
                    await shelf.add()
                case 1:
                    await shelf.edit(one, title=f"Sửa {draw.random()}", author="Lê Hiệu", category="Mới")
                case 2:
                    await shelf.edit(one, hidden=not one.entry.hidden)
                case 3:
                    await shelf.set_baseline(one, draw.randrange(20))
                case 4:
                    await shelf.merge(one, draw.choice(shelf.articles))
                case 5 if one.into and not one.into.into:
                    await shelf.undo(one)
            if draw.random() < 0.5:
                await shelf.pack(draw.choice(MONTHS))
        await read_some(shelf, draw.randrange(10))
        clock.wait(2)


async def test_packed_months_are_in_every_range(raw: Redis, tmp_path: Path) -> None:
    """Sums of quarters, months, parts of months, open days and late hits are put together rightly, for whatever days
    are asked; also when a month was packed anew, or is not packed any more after a loss."""
    shelf = await filled(raw, 20, many=30, reads=400)
    clock = Clock()
    desk = Desk(raw, tmp_path, clock)
    draw = shelf.random
    for round_ in range(4):
        for month in draw.sample(MONTHS, 14) if round_ else MONTHS[:15]:
            await shelf.pack(month)
        if round_ == 2:
            for month in draw.sample(MONTHS, 4):
                await shelf.unpack(month)
        await read_some(shelf, 30)
        clock.wait(2)
        for _ in range(25):
            first, last = sorted(draw.choices([_day(n) for n in range(700)] + [f"{each}-01" for each in MONTHS], k=2))
            await check(desk, shelf, first=first, last=last)
        for month in MONTHS[:3]:
            await check(desk, shelf, period=month)
        one = draw.choice(shelf.articles)
        history = await desk.articles.history(SITE, one.entry.key, "month")
        assert sum(n for _, n in history.rows) == shelf.views(one)
        assert dict(history.rows)["2026-11"] == shelf.views(one, "2026-11-01", "2026-11-30")
        page = await desk.articles.page(SITE, Query(within=45, limit=100))
        for row in page.rows:
            [article] = [each for each in shelf.articles if each.entry.key == row.entry.key]
            start = published_day(article.entry)
            end = start and (date.fromisoformat(start) + timedelta(days=44)).isoformat()
            assert row.within == (shelf.views(article, start, end) if start and end else None)


async def test_pages_agree_while_counts_move(raw: Redis, tmp_path: Path) -> None:
    """Each article once, in the order of the first page, from whichever process the pages come; the numbers are those
    of the moment."""
    shelf = await filled(raw, 1)
    clock = Clock()
    desks = [Desk(raw, tmp_path, clock), Desk(raw, tmp_path, clock)]
    expected = [key for key, _, _ in shelf.expected(Query(period="month"), "2026-11-01", TODAY)]
    found: list[str] = []
    cursor = ""
    while True:
        page = await desks[len(found) % 2].articles.page(SITE, Query(period="month", limit=3, cursor=cursor))
        assert page.selection.at_ms == NOON
        for row in page.rows:
            [article] = [each for each in shelf.articles if each.entry.key == row.entry.key]
            assert row.views == shelf.views(article, "2026-11-01", TODAY)
        found += [row.entry.key for row in page.rows]
        if not page.cursor:
            break
        cursor = page.cursor
        await shelf.read(shelf.random.choice(shelf.articles), TODAY, 50)
        clock.wait(70)
    assert found == expected


async def test_a_list_goes_on_behind_the_last_row_when_its_order_is_gone(raw: Redis, tmp_path: Path) -> None:
    shelf = await filled(raw, 2)
    desk = Desk(raw, tmp_path, Clock())
    whole = await desk.rows(limit=1000)
    page = await desk.articles.page(SITE, Query(limit=10))
    for path in desk.index.orders.iterdir():
        path.unlink()
    rest = await desk.articles.page(SITE, Query(limit=1000, cursor=page.cursor))
    assert [row.entry.key for row in page.rows + rest.rows] == [key for key, _, _ in whole]
    assert shelf.articles


async def test_a_cursor_is_good_for_its_own_list_alone(raw: Redis, tmp_path: Path) -> None:
    await filled(raw, 3)
    desk = Desk(raw, tmp_path, Clock())
    page = await desk.articles.page(SITE, Query(limit=1))
    for other in ({"author": "Lê Hiếu"}, {"period": "day"}, {"sort": "title"}):
        with pytest.raises(InvalidQuery, match="another list"):
            await desk.articles.page(SITE, Query(cursor=page.cursor, **other))  # type: ignore[arg-type]


async def test_the_range_of_a_list_stays_over_midnight(raw: Redis, tmp_path: Path) -> None:
    shelf = await filled(raw, 4)
    clock = Clock()
    desk = Desk(raw, tmp_path, clock)
    page = await desk.articles.page(SITE, Query(period="day", limit=2))
    clock.wait(13 * 3600)
    await shelf.read(shelf.articles[0], "2026-11-26", 100)
    rest = await desk.articles.page(SITE, Query(period="day", limit=1000, cursor=page.cursor))
    assert rest.range.last == TODAY
    expected = shelf.expected(Query(period="day"), TODAY, TODAY)
    assert [(row.entry.key, row.views) for row in page.rows + rest.rows] == [row[:2] for row in expected]


@pytest.mark.parametrize("fault", ["deleted", "text", "cut", "zeros", "form", "table"])
async def test_an_index_that_is_lost_is_made_anew(raw: Redis, tmp_path: Path, fault: str) -> None:
    """Whatever happens to the file, lists are right; also in a process that had it open."""
    shelf = await filled(raw, 5)
    clock = Clock()
    desk, other = Desk(raw, tmp_path, clock), Desk(raw, tmp_path, clock)
    await check(desk, shelf)
    await check(other, shelf)
    other.index.close()
    path = tmp_path / "index.sqlite"
    match fault:
        case "deleted":
            path.unlink()
        case "text":
            desk.index.close()
            path.write_text("Đây không phải là SQLite " * 1000)
        case "cut":
            desk.index.close()
            os.truncate(path, 8192)
        case "zeros":
            desk.index.close()
            with path.open("r+b") as file:
                file.seek(4096)
                file.write(bytes(path.stat().st_size - 4096))
        case _:
            with sqlite3.connect(path) as connection:
                connection.execute("PRAGMA user_version = 999" if fault == "form" else "DROP TABLE day")
            desk.index.close()
    for each in (other, desk):
        clock.wait(2)
        await read_some(shelf, 2)
        await check(each, shelf)
        await check(each, shelf, period="month", author="Lê Hiếu")


async def test_a_store_that_came_back_older_is_read_again(raw: Redis, tmp_path: Path) -> None:
    """Its numbers may be given to other articles by then."""
    shelf = await filled(raw, 6)
    clock = Clock()
    desk = Desk(raw, tmp_path, clock)
    saved = {name: await raw.dump(name) or b"" for name in await raw.keys()}
    articles = [_copy(each) for each in shelf.articles]
    touches = shelf.touches
    for _ in range(5):
        await shelf.add()
        await shelf.edit(shelf.articles[3], title="Mới")
    await read_some(shelf, 30)
    await check(desk, shelf)
    await raw.flushall()
    for name, data in saved.items():
        await raw.restore(name, 0, data)
    shelf.articles, shelf.touches = articles, touches
    for _ in range(5):
        await shelf.add(key=f"/khac/{len(shelf.articles)}")
        await shelf.edit(shelf.articles[4], title="Khác")
    await read_some(shelf, 30)
    clock.wait(2)
    await check(desk, shelf)
    await check(desk, shelf, period="month", sort="title")


def _copy(article: Article) -> Article:
    found = Article(article.number, article.entry)
    found.days = dict(article.days)
    found.baseline = article.baseline
    return found


async def test_more_touches_than_the_ring_has_are_all_seen(raw: Redis, tmp_path: Path) -> None:
    shelf = await filled(raw, 7)
    clock = Clock()
    desk = Desk(raw, tmp_path, clock)
    await check(desk, shelf)
    for article in shelf.articles:
        await shelf.edit(article, author="Người mới", title=f"Đổi {article.number}")
    shelf.touches += keys.MOST_TOUCHED
    await shelf.touch(shelf.articles[0])
    clock.wait(2)
    await check(desk, shelf, author="nguoi moi", sort="title")


async def test_an_article_that_was_forgotten_and_read_again_keeps_its_number(raw: Redis, tmp_path: Path) -> None:
    shelf = await filled(raw, 8, many=5)
    await shelf.raw.append(keys.ids(SITE.id), article_id(shelf.path(0)))
    shelf.articles.append(Article(5, shelf.articles[0].entry))
    shelf.articles[5].into = shelf.articles[0]
    await shelf.add()
    await shelf.read(shelf.articles[0], TODAY, 3)
    await check(Desk(raw, tmp_path, Clock()), shelf, period="day")


async def test_an_article_whose_name_is_lost_is_listed_by_its_id(raw: Redis, tmp_path: Path) -> None:
    shelf = await filled(raw, 9, many=3)
    lost = article_id(shelf.path(1))
    await shelf.raw.hdel(keys.names(SITE.id), lost)
    found = await Desk(raw, tmp_path, Clock()).rows(limit=2)
    assert sorted(key for key, _, _ in found) == sorted([shelf.path(0), f"?{lost.hex()}", shelf.path(2)])


async def test_rows_say_what_an_article_had_at_first_and_in_the_period_before(raw: Redis, tmp_path: Path) -> None:
    shelf = Shelf(raw, 10)
    one, other = await shelf.add(published="2026-11-20"), await shelf.add(published="")
    for day, n in {"2026-11-19": 1, "2026-11-20": 2, "2026-11-22": 4, "2026-11-23": 8, TODAY: 16}.items():
        await shelf.read(one, day, n)
        await shelf.read(other, day, n)
    merged = await shelf.add(published="2020-01-01")
    await shelf.read(merged, "2026-11-22", 32)
    await shelf.merge(merged, one)
    page = await Desk(raw, tmp_path, Clock()).articles.page(SITE, Query(period="week", within=3, compare=True))
    assert {row.entry.key: (row.views, row.before, row.within) for row in page.rows} == {
        one.entry.key: (24, 0, 38),
        other.entry.key: (24, 0, None),
    }
    assert page.compared is not None
    assert (page.compared.first, page.compared.last) == ("2026-11-16", "2026-11-18")


async def test_a_list_that_is_being_made_says_how_far_it_is(
    raw: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A list waits for another process that makes it, and then says so; the old one goes on being answered."""
    shelf = await filled(raw, 11)
    clock = Clock()
    desk, other = Desk(raw, tmp_path, clock), Desk(raw, tmp_path, clock)
    with other.index.lock() as is_mine, monkeypatch.context() as impatient:
        assert is_mine
        impatient.setattr(asking, "WAIT_SECONDS", 0.2)
        with pytest.raises(IndexBuilding):
            await desk.rows()
    with other.index.lock(), pytest.raises(IndexBuilding):
        await desk.articles.ready(SITE, 0.1)
    await check(desk, shelf)
    before = await desk.rows(limit=1000)
    await read_some(shelf, 20)
    clock.wait(30)
    with other.index.lock(), monkeypatch.context() as impatient:
        impatient.setattr(asking, "WAIT_SECONDS", 0.2)
        assert [key for key, _, _ in await _unchecked(desk)] == [key for key, _, _ in before]
    clock.wait(2)
    await check(desk, shelf)


async def _unchecked(desk: Desk) -> list[tuple[str, int, int]]:
    page = await desk.articles.page(SITE, Query(limit=1000))
    return [(row.entry.key, row.views, row.total) for row in page.rows]


async def test_a_folder_that_takes_no_file_is_said_in_one_line(raw: Redis, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(IndexUnavailable, match="index of articles"):
        await Desk(raw, tmp_path / "file", Clock()).rows()


async def test_a_site_on_which_nothing_changes_costs_one_round_trip(raw: Redis, tmp_path: Path) -> None:
    await filled(raw, 12)
    clock = Clock()
    desk = Desk(raw, tmp_path, clock)
    await desk.articles.refresh(SITE)
    before = (await raw.info("stats"))["total_commands_processed"]
    await desk.articles.refresh(SITE)
    assert (await raw.info("stats"))["total_commands_processed"] - before <= 1 + 4


async def _compared(raw: Redis, desk: Desk) -> list[str]:
    """What `visitstats verify` finds between the index and the store."""
    inspector, look = Inspector(raw), Look()
    await Listed(desk.index, updater_of(raw, desk.index, desk.clock), inspector).check(SITE, look)
    return [problem.detail for problem in look.problems.values()]


async def test_verify_finds_an_index_that_says_something_else_than_the_store(raw: Redis, tmp_path: Path) -> None:
    """Whatever was read, merged and undone since it was made, it agrees; a total that was changed in either does not.
    A site that nobody has asked for has no index that could be wrong."""
    shelf, desk = await filled(raw, 5), Desk(raw, tmp_path, Clock())
    assert await _compared(raw, desk) == []
    await desk.rows()
    await read_some(shelf, 60)
    desk.clock.wait(120)
    assert await _compared(raw, desk) == []
    article = shelf.articles[0].entry.key
    await raw.hincrby(keys.articles(SITE.id), article_id(article), 5)  # behind the back of all that tells of changes
    [detail] = await _compared(raw, desk)
    views = int(await raw.hget(keys.articles(SITE.id), article_id(article)) or 0)
    assert detail == f"the index of articles has {views - 5} views for it, the store {views}"
