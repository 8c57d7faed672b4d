"""Reports: the figures that an office gives its leadership each month, and the basis of its authors' royalties.

    summary      a site's month, quarter or year, compared with the previous one and with last year's; best articles
    articles     the articles of a period
    authors      the views of each author's articles in a period; and the articles, group by group
    categories   the same by category
    royalties    the views of the articles published in a period within some days of publication, by author

A closed month (`core.closing`) is shown as it was frozen: its articles, groups and sums are the frozen ones. They
include the late counts of the month that was closed before it, because no other period has them. Its royalties are the
frozen ones, too, if they are asked for with the number of days with which the month was closed: the views up to that
time, and the views that had come meanwhile for articles of earlier months.

A period that is not over is compared on its complete days only, because the part of today would look small beside whole
days. The numbers of lists and groups are as of one moment, which the report names.
"""

from collections.abc import AsyncIterator, Callable
from datetime import date, timedelta
from typing import Literal, get_args

import msgspec

from visitstats.core.closing import ROYALTY_DAYS, ClosedRow, Closing
from visitstats.core.errors import InvalidQuery
from visitstats.core.history import Row as HistoryRow
from visitstats.core.history import joined
from visitstats.core.periods import Calendar
from visitstats.core.query import MOST_ROWS, Query, Row, Selection, fold
from visitstats.core.ranges import Range, before, range_of
from visitstats.core.sites import Site
from visitstats.reading.closed_book import (
    ClosedBook,
    ClosedNote,
    Sums,
    articles_of,
    known_of_frozen,
    royalties_of,
)
from visitstats.reading.closings import Book, ClosedMonths
from visitstats.reading.groups import Group, Grouping
from visitstats.reading.query import Articles, Page, since
from visitstats.reading.site_history import OPEN_DAYS
from visitstats.store.history import SiteHistory
from visitstats.store.reads import Reads

Kind = Literal["summary", "articles", "authors", "categories", "royalties"]
KINDS: tuple[str, ...] = get_args(Kind)
GROUPED: dict[str, Grouping] = {"authors": "author", "categories": "category"}
BEST = 10
"""How many articles, authors and categories a summary shows."""
UNITS = ("month", "quarter", "year")
WITHIN = ROYALTY_DAYS
"""Within how many days of publication views count for royalties, unless the query says otherwise."""


class Figure(msgspec.Struct, frozen=True):
    """One number of a site's summary. None stands for an unknown value."""

    name: str
    """visits, views, uniques (the sum of the days' estimates), ignored, best (visits of the best day), peak."""
    now: int | None
    """The value of the period up to now."""
    whole: int | None
    """The value of the days that are over, which is the one to compare."""
    before: int | None
    """The value of as many days of the previous period."""
    year_ago: int | None
    """The value of the same days of the previous year."""


class Gaps(msgspec.Struct, frozen=True):
    """For each of the compared periods, the number of days without counts because no service ran. Numbers with such
    days are shown, but not compared."""

    whole: int = 0
    before: int = 0
    year_ago: int = 0


class DayRow(msgspec.Struct, frozen=True):
    """A day of a summary."""

    date: str
    visits: int | None
    views: int | None


class Report(msgspec.Struct, frozen=True):
    """A report, or the part of it that a page shows."""

    kind: Kind
    range: Range
    at_ms: int
    """The time of the numbers."""
    running: bool
    """Whether the period is not over yet."""
    selection: Selection
    """All articles of the report, however many are shown."""
    articles: list[Row]
    closed: ClosedNote | None = None
    groups: list[Group] = []
    groups_in_all: int = 0
    within: int = 0
    closed_days: int = 0
    """For royalties of a closed month: the number of days for which they are frozen. Other numbers are not frozen."""
    since: int = 0
    """Views that came after the royalties were frozen. They are due in the next month that is closed."""
    figures: list[Figure] = []
    whole: Range | None = None
    """The days that are compared; `compared` and `year_ago` are the days that they are compared with."""
    compared: Range | None = None
    year_ago: Range | None = None
    gaps: Gaps = Gaps()
    best_day: DayRow | None = None
    days: list[DayRow] = []
    unknown_days: list[str] = []
    """Days on which nothing was counted because no service ran."""
    authors: list[Group] = []
    categories: list[Group] = []


class Reports:
    """Makes reports. `clock` gives the moment in milliseconds. Methods raise what `Articles` does."""

    def __init__(
        self,
        articles: Articles,
        history: SiteHistory,
        reads: Reads,
        closed: ClosedMonths,
        clock: Callable[[], int],
    ) -> None:
        self.articles = articles
        self._closed = closed
        self._history = history
        self._reads = reads
        self._clock = clock

    async def preview(self, site: Site, kind: Kind, query: Query) -> Report:
        """Return a report with at most `query.limit` articles and groups."""
        check(kind, query)
        if kind == "summary":
            return await self.summary(site, query)
        if kind == "royalties":
            return await self._royalties(site, query)
        asked, running = self._range(site, query)
        if book := await self.book(site, query):
            return _frozen(kind, asked, book, query)
        page = await self.articles.page(site, query)
        groups, at_ms = list[Group](), page.selection.at_ms
        if kind in GROUPED:
            found = await self.articles.groups(site, query, GROUPED[kind])
            groups, at_ms = found.groups, found.at_ms
        return Report(
            kind, asked, at_ms, running, page.selection, page.rows, None, groups[: query.limit], len(groups),
            within=query.within,
        )  # fmt: skip

    async def summary(self, site: Site, query: Query) -> Report:
        """Return the summary of a month, a quarter or a year. Raises InvalidQuery for any other period."""
        check("summary", query)
        asked, running = self._range(site, query)
        if asked.unit not in UNITS:
            raise InvalidQuery("a summary is of a month, a quarter or a year: 2026-10, last-month, quarter, 2026")
        calendar, now_ms = Calendar(site.timezone, site.week_start), self._clock()
        today = calendar.day_at(now_ms)
        whole: Range | None = asked
        if running:
            ended = min(asked.last, today.yesterday)
            whole = msgspec.structs.replace(asked, last=ended) if ended >= asked.first else None
        compared = before(calendar, whole) if whole else None
        year_ago = _a_year_before(whole) if whole and asked.unit != "year" else None
        rows = await self._days(site, calendar, asked, now_ms)
        over = [row for row in rows if whole and row.name <= whole.last]
        earlier = [await self._days(site, calendar, each, now_ms) if each else [] for each in (compared, year_ago)]
        book = await self.book(site, query)
        if book:
            frozen = _frozen("articles", asked, book, _only(query, limit=BEST))
            rows_shown, selection = frozen.articles, frozen.selection
            authors, categories = (book.groups(by)[:BEST] for by in GROUPED.values())
        else:
            best = await self.articles.page(site, _only(query, limit=BEST))
            rows_shown, selection = best.rows, best.selection
            authors, categories = [
                (await self.articles.groups(site, _only(query), by)).groups[:BEST] for by in GROUPED.values()
            ]
        best_day = max((row for row in rows if row.visits), key=lambda row: row.visits or 0, default=None)
        return Report(
            "summary", asked, now_ms, running, selection, rows_shown, book.note if book else None,
            figures=_closed_figures(_figures(rows, over, *earlier), book), gaps=Gaps(*map(_gaps, (over, *earlier))),
            whole=whole, compared=compared, year_ago=year_ago,
            best_day=_day(best_day) if best_day else None, days=[_day(row) for row in rows],
            unknown_days=[row.name for row in rows if row.known == "no"],
            authors=authors, categories=categories,
        )  # fmt: skip

    async def book(self, site: Site, query: Query, kind: Kind = "articles") -> ClosedBook | None:
        """Return the frozen content of the month that is asked for. Return None when the month is open, when the period
        is not a month, or when frozen content cannot answer the conditions. Also raises ClosingDamaged."""
        closing = await self._closing(site, query)
        if closing is None:
            return None
        if query.within not in ((0, closing.days) if kind == "royalties" else (0,)):
            return None
        if kind == "royalties" and not closing.days:
            return None  # the month was closed by a version that did not freeze royalties
        found = await self._closed.book(site.id, closing)
        chosen = [
            row
            for row in found.rows
            if (not query.author or fold(row.author) == fold(query.author))
            and (not query.category or fold(row.category) == fold(query.category))
        ]
        if kind == "royalties":
            return await self._royalty_book(site, closing, found, chosen)
        head = found.head
        note = ClosedNote(closing.at_ms, closing.who, closing.sha256, head.late_of, head.late_visits, head.late_views)
        return ClosedBook(note, head.visits + head.late_visits, head.views + head.late_views, articles_of(chosen))

    async def _royalty_book(self, site: Site, closing: Closing, found: Book, chosen: list[ClosedRow]) -> ClosedBook:
        calendar = Calendar(site.timezone)
        rows = [row for row in chosen if row.days]
        earlier = sum(row.due for row in rows if last_day(calendar, row.published, 1)[:7] != closing.period)
        note = ClosedNote(closing.at_ms, closing.who, closing.sha256, found.head.late_of, 0, earlier)
        last = max(await self._closed.all(site.id))
        since = await self._closed.royalties_since(self.articles, site, rows) if closing.period == last else 0
        due = sum(row.due for row in rows)
        return ClosedBook(note, 0, due, royalties_of(rows), closing.days, since)

    async def _closing(self, site: Site, query: Query) -> Closing | None:
        """Return the closing of the month that is asked for, if there is one and it can answer the conditions."""
        asked, running = self._range(site, query)
        plain = msgspec.structs.replace(query, within=0)
        if asked.unit != "month" or running or plain != known_of_frozen(plain):
            return None
        return await self._closed.find(site.id, asked.first[:7])

    async def pieces(self, site: Site, kind: Kind, query: Query) -> AsyncIterator[Page]:
        """Yield at most `query.limit` articles of a report, group by group if it has groups."""
        check(kind, query)
        if book := await self.book(site, query, kind):
            by: Grouping | None = "author" if kind == "royalties" else GROUPED.get(kind)
            for page in book.pages(self._range(site, query)[0], by, query.limit):
                yield page
            return
        if kind == "royalties":
            query, _ = self._published(site, query)
        elif kind in GROUPED:
            query = msgspec.structs.replace(query, sort=GROUPED[kind], direction="")
        async for page in self.articles.pieces(site, query):
            yield page

    def royalty_range(self, site: Site, query: Query) -> Range:
        """Return the days of publication that royalties cover. Raises InvalidQuery."""
        return self._published(site, query)[1]

    async def _royalties(self, site: Site, query: Query) -> Report:
        wanted, asked = self._published(site, query)
        if book := await self.book(site, query, "royalties"):
            frozen = _frozen("royalties", asked, book, query)
            return msgspec.structs.replace(frozen, within=book.days, closed_days=book.days, since=book.since)
        closing = await self._closing(site, query)
        groups, shown, count, views = Sums("author"), list[Row](), 0, 0
        async for page in self.articles.pieces(site, wanted):
            groups.add(page.rows)
            shown += page.rows[: max(query.limit - len(shown), 0)]
            count += len(page.rows)
            views += sum(row.within or 0 for row in page.rows)
        now_ms = self._clock()
        found = groups.sorted()
        return Report(
            "royalties", asked, now_ms, self._runs(site, asked), Selection(now_ms, count, views), shown, None,
            found[: query.limit], len(found), within=wanted.within, closed_days=closing.days if closing else 0,
        )  # fmt: skip

    def _published(self, site: Site, query: Query) -> tuple[Query, Range]:
        """Return the query for articles that were published in a period, and its days."""
        asked, _ = self._range(site, query)
        if asked.is_all:
            raise InvalidQuery("royalties are of articles that were published in a period: name it, as 2026-10")
        return msgspec.structs.replace(
            query, period="all", first="", last="", published_first=asked.first, published_last=asked.last,
            within=query.within or WITHIN, min_views=0, sort="author", direction="", limit=MOST_ROWS,
        ), asked  # fmt: skip

    def _range(self, site: Site, query: Query) -> tuple[Range, bool]:
        calendar = Calendar(site.timezone, site.week_start)
        asked = range_of(calendar, calendar.day_at(self._clock()), query.period or ("" if query.first or query.last
                         else "all"), query.first, query.last)  # fmt: skip
        return asked, self._runs(site, asked)

    def _runs(self, site: Site, asked: Range) -> bool:
        today = Calendar(site.timezone, site.week_start).day_at(self._clock()).date
        return asked.is_all or asked.last >= today

    async def _days(self, site: Site, calendar: Calendar, asked: Range, now_ms: int) -> list[HistoryRow]:
        rows = await self._history.days(site.id, calendar, asked.first, asked.last, now_ms)
        lacking = [row.name for row in rows[-OPEN_DAYS:] if row.uniques is None and row.visits]
        if lacking:
            found = await self._reads.uniques_of(site.id, [calendar.day_named(name) for name in lacking])
            rows = [
                msgspec.structs.replace(row, uniques=found[row.name]) if found.get(row.name) else row for row in rows
            ]
        return rows


def check(kind: Kind, query: Query) -> None:
    """Refuse (InvalidQuery) conditions that would have no effect on a report."""
    if kind == "summary" and query != _only(query, query.limit):
        raise InvalidQuery("a summary is of the whole site: leave the conditions out")
    if kind in GROUPED and query.sort != "views":
        raise InvalidQuery("sort: this report goes group by group")
    if kind == "royalties" and (query.sort != "views" or query.published_first or query.published_last):
        raise InvalidQuery("royalties are of articles published in the period, author by author: name it, and no order")


def _frozen(kind: Kind, asked: Range, book: ClosedBook, query: Query) -> Report:
    views = sum(row.views for row in book.rows)
    by: Grouping | None = "author" if kind == "royalties" else GROUPED.get(kind)
    groups = book.groups(by) if by else []
    return Report(
        kind, asked, book.note.at_ms, False, Selection(book.note.at_ms, len(book.rows), views),
        book.rows[: query.limit], book.note, groups[: query.limit], len(groups),
    )  # fmt: skip


def _closed_figures(figures: list[Figure], book: ClosedBook | None) -> list[Figure]:
    """Replace the current sums by the frozen sums of a closed month."""
    if book is None:
        return figures
    frozen = {"visits": book.visits, "views": book.views}
    return [
        msgspec.structs.replace(each, now=frozen[each.name], whole=frozen[each.name]) if each.name in frozen else each
        for each in figures
    ]


def last_day(calendar: Calendar, published: str, within: int) -> str:
    """Return the last of `within` days, of which the day of publication is the first; empty without a date."""
    days = since(calendar, published, within)
    return days.last if days else ""


def _figures(
    rows: list[HistoryRow], over: list[HistoryRow], earlier: list[HistoryRow], year_ago: list[HistoryRow]
) -> list[Figure]:
    columns = [_numbers(each) for each in (rows, over, earlier, year_ago)]
    return [Figure(name, *(column.get(name) for column in columns)) for name in FIGURES]


def _gaps(rows: list[HistoryRow]) -> int:
    return sum(row.known == "no" for row in rows)


FIGURES = ("visits", "views", "uniques", "ignored", "best", "peak")


def _numbers(rows: list[HistoryRow]) -> dict[str, int | None]:
    if not rows or all(row.known == "no" for row in rows):
        return {}
    found = joined("", rows)
    best = max((row.visits for row in rows if row.visits is not None), default=None)
    return {
        "visits": found.visits, "views": found.views, "uniques": found.uniques, "ignored": sum(found.ignored.values()),
        "best": best, "peak": found.peak.online if found.peak else None,
    }  # fmt: skip


def _day(row: HistoryRow) -> DayRow:
    return DayRow(row.name, row.visits, row.views)


def _only(query: Query, limit: int = 1) -> Query:
    """Return the query for all articles of the same days."""
    return Query(period=query.period, first=query.first, last=query.last, limit=limit)


def _a_year_before(asked: Range) -> Range:
    """Return the same days of the previous year. 29 February becomes the 28th; a whole February stays whole."""
    first, last = date.fromisoformat(asked.first), date.fromisoformat(asked.last)
    whole = (last + timedelta(days=1)).day == 1
    end = _same(last)
    if whole:
        end = _same(last + timedelta(days=1)) - timedelta(days=1)
    return Range("custom", _same(first).isoformat(), end.isoformat(), asked.unit)


def _same(day: date) -> date:
    try:
        return day.replace(year=day.year - 1)
    except ValueError:
        return date(day.year - 1, 2, 28)
