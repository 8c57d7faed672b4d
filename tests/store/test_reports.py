"""Reports say what counting by hand says: groups, royalties and summaries, on a page and in files."""

from __future__ import annotations

import csv
import io
import random
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from tests.store import dated
from tests.store.shelf import AUTHORS, CATEGORIES, SITE, TODAY, Article, Shelf, plain, published_day
from tests.store.test_index import CALENDAR, MONTHS, NOON, Clock, Desk, filled, read_some
from tests.workbooks import Cell, Read
from visitstats.core.errors import InvalidQuery
from visitstats.core.query import MOST_ROWS, Query
from visitstats.reading import closed
from visitstats.reading import query as lists
from visitstats.reading import workbook as workbooks
from visitstats.reading.desk_process import Ask, Clerk, reports_of
from visitstats.reading.file_progress import Progress, place_of, read_progress
from visitstats.reading.report_files import ReportFiles
from visitstats.reading.reports import Kind
from visitstats.store import keys
from visitstats.store.upkeep import Upkeep

Groups = list[tuple[str, int, int]]


class Office:
    """Whoever asks for reports."""

    def __init__(self, raw: Redis, folder: Path) -> None:
        self.clock = Clock()
        self.folder = folder
        self.articles = Desk(raw, folder / "data", self.clock).articles
        self.reports = reports_of(raw, self.articles, self.clock)

    def files(self, language: Any = "vi") -> ReportFiles:
        return ReportFiles(self.reports, SITE, language, self.clock())

    async def book(self, kind: Kind, language: Any = "vi", **fields: Any) -> Read:
        path = self.folder / "report.xlsx"
        await self.files(language).workbook(path, kind, Query(limit=MOST_ROWS, **fields))
        return Read(path)

    async def csv(self, kind: Kind, language: Any = "vi", separator: str = ";", **fields: Any) -> list[list[str]]:
        pieces = self.files(language).csv(kind, Query(limit=MOST_ROWS, **fields), separator)
        text = "".join([piece async for piece in pieces])
        assert text.startswith("\ufeff")
        assert text.count("\n") == text.count("\r\n")
        return list(csv.reader(io.StringIO(text[1:], newline=""), delimiter=separator))


@pytest.fixture
def office(raw: Redis, tmp_path: Path) -> Office:
    return Office(raw, tmp_path)


async def shelved(raw: Redis, seed: int, many: int = 60) -> Shelf:
    """A shelf with merged, hidden and packed articles, some of them read today."""
    shelf = await filled(raw, seed, many, 400)
    for n in range(0, many, 9):
        await shelf.merge(shelf.articles[n], shelf.articles[(n + 4) % many])
    for n in range(5, many, 17):
        await shelf.edit(shelf.articles[n], hidden=True)
    for month in MONTHS[::2]:
        await shelf.pack(month)
    return shelf


def shown(shelf: Shelf) -> list[Article]:
    return [each for each in shelf.articles if each.into is None and not each.entry.hidden]


def by_hand(rows: list[tuple[str, int]]) -> Groups:
    """Name and views of articles → the groups: the most viewed first, then those with more articles, then by name."""
    found: dict[str, list[int]] = {}
    for name, n in rows:
        found.setdefault(name, []).append(n)
    groups = [(name, len(each), sum(each)) for name, each in found.items()]
    return sorted(groups, key=lambda group: (-group[2], -group[1], group[0] == "", group[0]))


def read_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have files made as if they were long."""
    monkeypatch.setattr(lists, "LONG", 1)
    monkeypatch.setattr(lists, "AHEAD", 7)
    monkeypatch.setattr(closed, "MANY", 2)


@pytest.mark.parametrize("kind", ["authors", "categories"])
@pytest.mark.parametrize("period", ["2026-10", "2026-11", "all", "2026-11-24"])
async def test_groups_are_sums_of_their_articles_and_stand_apart_from_them(
    raw: Redis, office: Office, monkeypatch: pytest.MonkeyPatch, kind: Kind, period: str
) -> None:
    """On the page, in CSV, and in a workbook, where leaf rows are articles alone and add up to the sums."""
    if kind == "categories":
        read_ahead(monkeypatch)
    shelf = await shelved(raw, 1)
    days = Query(period=period).range(CALENDAR, CALENDAR.day_named(TODAY))
    by, names = ("author", AUTHORS) if kind == "authors" else ("category", CATEGORIES)
    views = {each.entry.key: shelf.views(each, days.first or "", days.last or "9999") for each in shown(shelf)}
    read = [each for each in shown(shelf) if views[each.entry.key]]
    expected = by_hand([(getattr(each.entry, by), views[each.entry.key]) for each in read])
    assert {name for name, _, _ in expected} <= set(names)

    found = await office.reports.preview(SITE, kind, Query(period=period, limit=2))
    assert [(group.name, group.articles, group.views) for group in found.groups] == expected[:2]
    assert (found.groups_in_all, len(found.articles)) == (len(expected), min(2, len(read)))
    assert (found.selection.articles, found.selection.views) == (len(read), sum(views.values()))
    assert found.running == (period in ("2026-11", "all"))

    table = await office.csv(kind, period=period)
    none = {"author": "(không ghi tác giả)", "category": "(không ghi chuyên mục)"}[by]
    assert [(row[0], int(row[1]), int(row[2])) for row in table[1:]] == [(name or none, *n) for name, *n in expected]

    book = await office.book(kind, period=period)
    first, last, *more = book.sheets
    head, rows = book.table(first, "Số bài")
    assert [tuple(row[:3]) for row in rows[:-1]] == [(name or none, *n) for name, *n in expected]
    whole = sum(views.values())
    assert [row[3] for row in rows[:-1]] == [pytest.approx(n / whole) for _, _, n in expected]
    assert rows[-1][:3] == ["Tổng", len(read), whole]
    head, rows = book.table(last, "Lượt xem")
    leaves = [(str(row[head.index("Khóa")]), row[head.index("Lượt xem")]) for row in rows[:-1]]
    assert sorted(leaves) == sorted((each.entry.key, views[each.entry.key]) for each in read)
    assert (rows[-1][0], rows[-1][head.index("Lượt xem")]) == ("Tổng", whole)
    # Group by group: each author's articles stand together, the most read first.
    place = {each.entry.key: plain(getattr(each.entry, by)) for each in read}
    order = [place[key] for key, _ in leaves]
    assert order == sorted(order, key=lambda name: (not name, name))
    assert more == ["Biểu đồ"]
    assert book.plots


@pytest.mark.parametrize(("seed", "within", "long"), [(1, 1, False), (2, 30, False), (1, 30, True), (2, 1, True)])
async def test_royalties_are_views_of_the_days_after_publication(
    raw: Redis, office: Office, monkeypatch: pytest.MonkeyPatch, seed: int, within: int, *, long: bool
) -> None:
    """Of the articles that were published in the month on the site's clocks, those that nobody read among them; the
    same when there are so many that what they have in common is read ahead."""
    if long:
        read_ahead(monkeypatch)
    shelf = await shelved(raw, seed)
    shelf.random.seed(seed)
    await read_some(shelf, 300)
    published = {each.entry.key: published_day(each.entry) for each in shown(shelf)}
    of_month = [each for each in shown(shelf) if published[each.entry.key].startswith("2026-10")]
    assert of_month

    def until(day: str) -> str:
        return (date.fromisoformat(day) + timedelta(days=within - 1)).isoformat()

    n = {
        each.entry.key: shelf.views(each, published[each.entry.key], until(published[each.entry.key]))
        for each in of_month
    }
    expected = by_hand([(each.entry.author, n[each.entry.key]) for each in of_month])
    found = await office.reports.preview(SITE, "royalties", Query(period="2026-10", within=within, limit=50))
    assert [(group.name, group.articles, group.views) for group in found.groups] == expected
    assert {row.entry.key: row.within for row in found.articles} == n
    assert (found.selection.articles, found.selection.views) == (len(n), sum(n.values()))

    book = await office.book("royalties", period="2026-10", within=within)
    first, last, *_ = book.sheets
    head, rows = book.table(last, "Tiêu đề")
    views = f"Lượt xem trong {within} ngày từ khi đăng"
    cells = {str(row[head.index("Khóa")]): row for row in rows[:-1]}
    assert {key: row[head.index(views)] for key, row in cells.items()} == n
    for key, row in cells.items():
        day = published[key]
        assert (row[head.index("Ngày đăng")], row[head.index("Tính đến hết ngày")]) == (
            date.fromisoformat(day), date.fromisoformat(until(day)),
        )  # fmt: skip
        assert row[head.index("Đã đủ ngày")] == ("có" if until(day) < TODAY else "chưa")
    assert rows[-1][head.index(views)] == sum(n.values())
    assert [tuple(row[1:3]) for row in book.table(first, "Số bài")[1][:-1]] == [group[1:] for group in expected]
    table = await office.csv("royalties", "en", ",", period="2026-10", within=within)
    column = table[0].index(f"Views within {within} days of publication")
    assert {row[table[0].index("Key")]: int(row[column]) for row in table[1:]} == n


# Summaries ------------------------------------------------------------------------------------------------------------


async def lived(raw: Redis, first: str, last: str, seed: int) -> dict[str, tuple[int, int]]:
    """A site that ran on these days: visits and views of each, as written."""
    draw, found = random.Random(seed), dict[str, tuple[int, int]]()
    day = date.fromisoformat(first)
    while day <= date.fromisoformat(last):
        visits = draw.randrange(50, 900)
        found[day.isoformat()] = visits, visits * 2 + draw.randrange(50)
        day += timedelta(days=1)
    for kind in (0, 1):
        counts: dict[str, int | str] = {name: numbers[kind] for name, numbers in found.items()}
        await dated.put(raw, SITE.id, ("visits", "views")[kind], counts)
    quarters: list[int] = []
    moment, end = CALENDAR.day_named(first).start_ms, min(CALENDAR.day_named(last).end_ms, NOON + 1)
    while moment < end:
        quarters.append(moment)
        moment += 15 * 60 * 1000
    await Upkeep(raw).note_running(quarters)
    return found


def total(days: dict[str, tuple[int, int]], kind: int, first: str, last: str) -> int:
    return sum(n[kind] for day, n in days.items() if first <= day <= last)


async def test_a_month_is_compared_with_the_one_before_and_that_of_the_year_before(raw: Redis, office: Office) -> None:
    shelf = await shelved(raw, 3)
    days = await lived(raw, "2025-09-20", TODAY, 3)
    await raw.hset(keys.peaks(SITE.id, "2026"), "2026-10-07", f"31 {NOON}")
    await raw.hset(keys.ignored(SITE.id, "2026-10"), mapping={"07:bot": 5, "08:prefetch": 2})
    report = await office.reports.preview(SITE, "summary", Query(period="2026-10"))
    october = ("2026-10-01", "2026-10-31"), ("2026-09-01", "2026-09-30"), ("2025-10-01", "2025-10-31")
    for kind, name in enumerate(("visits", "views")):
        [figure] = [each for each in report.figures if each.name == name]
        now, before, year_ago = (total(days, kind, *each) for each in october)
        assert (figure.now, figure.whole, figure.before, figure.year_ago) == (now, now, before, year_ago)
    figures = {each.name: each for each in report.figures}
    assert (figures["peak"].now, figures["ignored"].now, figures["ignored"].before) == (31, 7, 0)
    best = max((day for day in days if day.startswith("2026-10")), key=lambda day: days[day][0])
    assert report.best_day is not None
    assert (report.best_day.date, report.best_day.visits) == (best, days[best][0])
    assert [(row.date, row.visits, row.views) for row in report.days] == [
        (day, *n) for day, n in days.items() if day.startswith("2026-10")
    ]
    assert (report.running, report.unknown_days) == (False, [])
    expected = shelf.expected(Query(), *october[0])
    assert [(row.entry.key, row.views) for row in report.articles] == [row[:2] for row in expected[:10]]
    for found, by in ((report.authors, "author"), (report.categories, "category")):
        named = {each.entry.key: getattr(each.entry, by) for each in shelf.articles}
        hand = by_hand([(named[key], views) for key, views, _ in expected])
        assert [(group.name, group.articles, group.views) for group in found] == hand[:10]

    book = await office.book("summary", period="2026-10")
    assert list(book.sheets) == ["Tổng hợp", "Theo ngày", "Bài viết", "Tác giả", "Chuyên mục", "Biểu đồ"]
    assert book.sheets["Tổng hợp"][0][0] == "Báo cáo truy cập tháng 10/2026"
    _, rows = book.table("Tổng hợp", "Chỉ tiêu")
    now, before = total(days, 0, *october[0]), total(days, 0, *october[1])
    assert rows[0][:5] == ["Lượt truy cập", now, before, now - before, pytest.approx((now - before) / before)]
    _, rows = book.table("Theo ngày", "Ngày")
    assert rows[0] == [date(2026, 10, 1), *days["2026-10-01"]]
    assert rows[-1] == ["Tổng", now, total(days, 1, *october[0])]
    assert book.plots
    table = await office.csv("summary", period="2026-10")
    assert table[1][:3] == ["Lượt truy cập", str(now), str(before)]


async def test_a_month_that_runs_is_compared_on_its_whole_days(raw: Redis, office: Office) -> None:
    """It is noon of the 25th: 24 days are over. A year before the site was not there: that is not known, not 0. On a
    day of the month before no service ran: its sum is shown, and not compared."""
    days = await lived(raw, "2026-10-01", TODAY, 4)
    start = CALENDAR.day_named("2026-10-03").start_ms
    for moment in range(start, start + 24 * 3600 * 1000, 15 * 60 * 1000):
        year, place = keys.quarter_of(moment)
        await raw.setbit(keys.ran(year), place, 0)
    await raw.hdel(keys.days(SITE.id, "2026-10"), "visits:03", "views:03")
    days["2026-10-03"] = 0, 0
    report = await office.reports.preview(SITE, "summary", Query(period="month"))
    assert report.running
    [visits] = [each for each in report.figures if each.name == "visits"]
    assert visits.now == total(days, 0, "2026-11-01", TODAY)
    assert visits.whole == total(days, 0, "2026-11-01", "2026-11-24")
    assert visits.before == total(days, 0, "2026-10-01", "2026-10-24")
    assert visits.year_ago is None
    assert (report.gaps.whole, report.gaps.before, report.gaps.year_ago) == (0, 1, 24)
    head, rows = (await office.book("summary", period="month")).table("Tổng hợp", "Chỉ tiêu")
    assert rows[0][head.index("Các ngày trọn vẹn")] == visits.whole
    assert rows[0][head.index("Cùng kỳ năm trước")] is None
    assert rows[0][head.index("Kỳ trước") : head.index("Kỳ trước") + 3] == [visits.before, None, None]


@pytest.mark.parametrize(
    ("period", "expected"),
    [("2026-02", ("2025-02-01", "2025-02-28")), ("2024-02", ("2023-02-01", "2023-02-28")),
     ("2025-02", ("2024-02-01", "2024-02-29")), ("2026", None)],
)  # fmt: skip
async def test_the_year_before_has_the_whole_month(
    raw: Redis, office: Office, period: str, expected: tuple[str, str] | None
) -> None:
    await filled(raw, 5, 3, 3)
    found = (await office.reports.preview(SITE, "summary", Query(period=period))).year_ago
    assert (found and (found.first, found.last)) == expected


async def test_the_first_days_of_a_month_have_nothing_to_compare_yet(raw: Redis, office: Office) -> None:
    await filled(raw, 6, 3, 3)
    office.clock.ms = CALENDAR.day_named("2026-12-01").start_ms + 5 * 60 * 1000
    report = await office.reports.preview(SITE, "summary", Query(period="month"))
    assert (report.whole, report.compared, report.year_ago) == (None, None, None)
    assert all(each.whole is None and each.before is None for each in report.figures)
    assert (await office.csv("summary", period="month"))[1][0] == "Lượt truy cập"


@pytest.mark.parametrize(
    ("kind", "fields", "word"),
    [
        ("summary", {"period": "last-week"}, "month, a quarter or a year"),
        ("summary", {"period": "2026-10", "author": "Lê Hiếu"}, "conditions"),
        ("summary", {"period": "2026-13"}, "period"),
        ("royalties", {"period": "all"}, "name it"),
        ("royalties", {}, "name it"),
        ("royalties", {"period": "2026-10", "published_first": "2026-10-01"}, "published in the period"),
        ("authors", {"period": "2026-10", "sort": "title"}, "group by group"),
    ],
)
async def test_a_report_that_cannot_be_made_as_asked_is_refused(
    raw: Redis, office: Office, kind: Kind, fields: dict[str, Any], word: str
) -> None:
    """On the page and as a file, of which nothing is left behind."""
    await filled(raw, 7, 3, 3)
    with pytest.raises(InvalidQuery, match=word):
        await office.reports.preview(SITE, kind, Query(**fields))
    with pytest.raises(InvalidQuery, match=word):
        await office.book(kind, **fields)
    with pytest.raises(InvalidQuery, match=word):
        await office.csv(kind, **fields)
    assert not list(office.folder.glob("*.xlsx"))


async def test_nothing_in_a_report_is_run_and_every_text_stays_as_it_is(raw: Redis, office: Office) -> None:
    """Authors and titles that are formulas, markup, control characters, or longer than a cell."""
    shelf = Shelf(raw, 8)
    texts = ['=HYPERLINK("http://x.vn")', "+1", "@SUM(A1)", "<b>&amp;", "_x0041_", "tab\there", " hai đầu ", "Ế" * 40]
    for n, text in enumerate(texts):
        article = await shelf.add(key=f"/{n}", title=text, author=text, category=text, published="2026-10-05")
        await shelf.read(article, "2026-10-06", 1)
    book = await office.book("authors", period="2026-10")
    head, rows = book.table("Bài viết", "Tiêu đề")
    assert {str(row[head.index("Tiêu đề")]) for row in rows[:-1]} == set(_unescaped(texts))
    assert {str(row[0]) for row in book.table("Tác giả", "Số bài")[1][:-1]} == set(_unescaped(texts))
    table = await office.csv("articles", period="2026-10")
    titles = {row[2] for row in table[1:]}
    assert titles == {f"'{text}" if text[0] in "=+@" else text for text in texts}
    assert 'state="frozen"' in book.text("Bài viết")


def _unescaped(texts: list[str]) -> list[str]:
    """As the file writes them: OOXML spells a text that looks like one of its own escapes with one."""
    return [text.replace("_x0041_", "_x005F_x0041_") for text in texts]


async def test_a_report_without_articles_is_a_file_with_its_headings(raw: Redis, office: Office) -> None:
    await filled(raw, 9, 3, 3)
    for kind in ("articles", "authors", "categories", "royalties"):
        book = await office.book(kind, period="2020-01")
        _, rows = book.table("Bài viết", "Tiêu đề")
        assert rows == []
    assert len(await office.csv("royalties", period="2020-01")) == 1


async def test_a_long_report_goes_on_in_further_sheets(
    raw: Redis, office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its progress is told, and its sums are those of all sheets."""
    monkeypatch.setattr(workbooks, "SHEET_ROWS", 30)
    shelf = Shelf(raw, 10)
    await shelf.add_many(70)
    await shelf.read_many([(article, "2026-10-05", n + 1) for n, article in enumerate(shelf.articles)])
    told: list[tuple[int, int]] = []
    path = office.folder / "long.xlsx"
    query = Query(period="2026-10", limit=MOST_ROWS)
    await office.files("en").workbook(path, "categories", query, lambda *each: told.append(each))
    assert told[-1] == (70, 70)
    book = Read(path)
    names = [name for name in book.sheets if name.startswith("Articles")]
    assert names == ["Articles", "Articles (2)", "Articles (3)"]
    keys_seen: list[Cell] = []
    for name in names:
        head, rows = book.table(name, "Title")
        assert len(book.sheets[name]) <= 30
        keys_seen += [row[head.index("Key")] for row in rows if row[head.index("Key")]]
    assert sorted(map(str, keys_seen)) == sorted(each.entry.key for each in shelf.articles)
    assert book.sheets[names[-1]][-1][1] == sum(range(1, 71))


async def test_how_far_a_workbook_is_is_known_while_it_is_made(raw: Redis, office: Office, tmp_path: Path) -> None:
    """To every worker of the machine, under the name that was sent with the request, and to nobody afterwards."""
    shelf = Shelf(raw, 11)
    await shelf.add_many(5)
    await shelf.read_many([(article, "2026-10-05", 1) for article in shelf.articles])
    clerk = Clerk(office.articles, office.reports, tmp_path / "orders", lambda _: NotImplemented)
    name, seen = 16 * "a", list[Progress | None]()

    async def send(_: bytes) -> None:
        seen.append(read_progress(place_of(tmp_path / "orders", SITE.id, name)))

    for report in (None, "authors"):
        query = Query(period="2026-10")
        await clerk.answer(Ask(1, SITE, "file", 0, NOON, query, kind="xlsx", told=name, report=report), send)
    assert set(seen) == {Progress(5, 5)}
    assert read_progress(place_of(tmp_path / "orders", SITE.id, name)) is None
    assert not list((tmp_path / "orders").iterdir())
