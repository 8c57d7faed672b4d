"""Reports as files: workbooks with sheets for figures, groups and articles, and CSV of the one that matters.

Leaf rows are articles and nothing else: sums of groups stand in a sheet of their own, so that whoever adds up a column
or makes a pivot table of it counts nothing twice. The sums of a file are those of its own rows.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import date
from functools import lru_cache
from pathlib import Path

import msgspec

from visitstats.core.periods import Calendar
from visitstats.core.query import Query, Row
from visitstats.core.ranges import Range
from visitstats.core.sites import Site
from visitstats.reading import exports
from visitstats.reading.closed_book import ClosedBook, ClosedNote, Sums
from visitstats.reading.exports import Cells, Column, Csv, address, columns
from visitstats.reading.groups import Group, Grouping
from visitstats.reading.report_words import Language, day, days, moment, name_of, period, word
from visitstats.reading.reports import GROUPED, WITHIN, Figure, Kind, Report, Reports, last_day
from visitstats.reading.workbook import Cell, Heading, Sheet, Workbook
from visitstats.reading.workbook import Kind as CellKind

LEAST_BASE = 20
"""A change in percent is shown only if the base is at least this large."""
Told = Callable[[int, int], None]
"""Called with the number of rows written and the number of all rows."""


class ReportFiles:
    """Writes the reports of a site in a language. A file has at most the `limit` of its query in rows."""

    def __init__(self, reports: Reports, site: Site, language: Language, now_ms: int) -> None:
        self._reports = reports
        self._site = site
        self._language = language
        self._now_ms = now_ms
        self._calendar = Calendar(site.timezone, site.week_start)

    async def workbook(self, path: Path, kind: Kind, query: Query, told: Told | None = None) -> None:
        """Write a report as a workbook. Raises what `Reports` does, and OSError."""
        made: Report | None = None
        if kind == "summary":
            made = await self._reports.summary(self._site, query)  # refused before there is a file
        book = Workbook(path)
        try:
            if made is not None:
                self._summary(book, made)
            else:
                await self._lists(book, kind, query, told)
            await asyncio.to_thread(book.close)
        finally:
            book.discard()

    async def csv(self, kind: Kind, query: Query, separator: str, told: Told | None = None) -> AsyncIterator[str]:
        """Yield a report as CSV: the figures of a summary, the sums of groups, or the articles. Raises what `Reports`
        does."""
        if kind == "summary":
            report = await self._reports.summary(self._site, query)
            table = Csv(self._figure_headings(report), separator)
            yield table.head() + table.rows(self._figures(report))
        elif by := GROUPED.get(kind):
            sums = Sums(by, within=False)
            async for page in self._reports.pieces(self._site, kind, query):
                sums.add(page.rows)
            table = Csv(self._group_headings(by), separator)
            yield table.head() + table.rows(self._groups(sums.sorted(), by))
        else:
            text: Csv | None = None
            done = 0
            async for page in self._reports.pieces(self._site, kind, query):
                head = ""
                if text is None:
                    book = await self._reports.book(self._site, query, kind)
                    query, closed = _with_days(query, book), book is not None
                    shown = self._columns(kind, query, page.range, is_closed=closed, at_ms=page.selection.at_ms)
                    cells = Cells(self._site, shown)
                    text = Csv([column.heading(self._language) for column in shown], separator)
                    head = text.head()
                done += len(page.rows)
                if told is not None:
                    told(done, page.selection.articles)
                yield head + text.rows(cells.of(page.rows))

    # Lists ------------------------------------------------------------------------------------------------------------

    async def _lists(self, book: Workbook, kind: Kind, query: Query, told: Told | None) -> None:
        by: Grouping | None = "author" if kind == "royalties" else GROUPED.get(kind)
        sums = Sums(by, within=kind == "royalties") if by else None
        groups: Sheet | None = None
        leaves: Sheet | None = None
        done, column = 0, 0
        totals: list[Cell] = []
        asked = self._reports.royalty_range(self._site, query) if kind == "royalties" else None
        book_of = await self._reports.book(self._site, query, kind)
        query = _with_days(query, book_of)
        note = book_of.note if book_of else None
        async for page in self._reports.pieces(self._site, kind, query):
            if leaves is None:
                above = self._above(kind, asked or page.range, page.selection.at_ms, note)
                if by:
                    groups = book.sheet(
                        word(f"sheet.{by}", self._language), self._group_headings(by, query, kind), above
                    )
                shown = self._columns(kind, query, page.range, is_closed=note is not None, at_ms=page.selection.at_ms)
                cells, totals = Cells(self._site, shown), [0 if each.kind == "number" else None for each in shown]
                column = next(place for place, each in enumerate(shown) if place and each.kind == "number")
                headings = [each.heading(self._language) for each in shown]
                leaves = book.sheet(word("sheet.articles", self._language), headings, above)
            lines = list(cells.of(page.rows))
            leaves.rows(lines)  # this blocks for some 10 ms, but no hits are answered in this process
            for line in lines:
                for place, cell in enumerate(line):
                    sum_so_far = totals[place]
                    if isinstance(sum_so_far, int) and isinstance(cell, int):
                        totals[place] = sum_so_far + cell
            if sums is not None:
                sums.add(page.rows)
            done += len(page.rows)
            if told is not None:
                told(done, page.selection.articles)
        if leaves is None:
            return
        if leaves.count:
            totals[0] = word("sum", self._language)
            leaves.total(totals)
        if groups is not None and by and sums is not None:
            rows = self._groups(sums.sorted(), by)
            groups.rows(rows)
            if rows:
                whole = [sum(int(str(row[place])) for row in rows) for place in (1, 2)]
                groups.total([word("sum", self._language), *whole, 1.0 if whole[1] else None])
            book.plot(word("sheet.plot", self._language), word(kind, self._language), groups, 0, [2], bars=True)
        else:
            title = next(place for place, each in enumerate(shown) if each.en == "Title")
            book.plot(word("sheet.plot", self._language), word("views", self._language), leaves, title, [column],
                      bars=True)  # fmt: skip

    def _columns(
        self, kind: Kind, query: Query, asked: Range, *, is_closed: bool = False, at_ms: int = 0
    ) -> list[Column]:
        if is_closed and kind != "royalties":  # types and views of all time are not frozen
            return [each for each in columns(asked) if each.en not in ("Type", "Of all time")]
        if kind != "royalties":
            return columns(asked, within=query.within, compare=query.compare)
        within, language = query.within or WITHIN, self._language
        over = {True: word("yes", language), False: word("not.yet", language), None: word("no.date", language)}
        today = self._calendar.day_at(at_ms or self._now_ms).date

        @lru_cache(maxsize=64)
        def until(published: str, days: int) -> str:
            return last_day(self._calendar, published, days or within)

        def is_over(row: Row) -> str:
            last = until(row.entry.published, row.days)
            return over[last < today if last else None]

        def last(row: Row) -> Cell:
            text = until(row.entry.published, row.days)
            return date.fromisoformat(text) if text else None

        frozen = [
            _column("royal", 16, lambda site, number, row: row.total, "number"),
            _column("had", 16, lambda site, number, row: row.before, "number"),
        ]  # fmt: skip

        return [
            _column("no", 6, lambda site, number, row: number, "number"),
            _column("author", 24, lambda site, number, row: row.entry.author),
            _column("title", 60, lambda site, number, row: row.entry.title),
            _column("category", 20, lambda site, number, row: row.entry.category),
            _column("published", 12, lambda site, number, row: exports.published(site, row), "date"),
            _column("due" if is_closed else "within", 16, lambda site, number, row: row.within, "number", within),
            *(frozen if is_closed else []),
            _column("until", 12, lambda site, number, row: last(row), "date"),
            _column("over", 12, lambda site, number, row: is_over(row)),
            *([] if is_closed else [_column("total", 14, lambda site, number, row: row.total, "number")]),
            _column("address", 40, lambda site, number, row: address(site, row)),
            _column("key", 30, lambda site, number, row: row.entry.key),
        ]

    def _group_headings(self, by: Grouping, query: Query | None = None, kind: Kind = "authors") -> list[Heading]:
        views = word("views", self._language)
        if query is not None and kind == "royalties":
            views = word("within", self._language).format(n=query.within or WITHIN)
        return [
            Heading(word(by, self._language), 40), Heading(word("articles.n", self._language), 10, "number"),
            Heading(views, 18, "number"), Heading(word("share", self._language), 10, "share"),
        ]  # fmt: skip

    def _groups(self, groups: Sequence[Group], by: Grouping) -> list[list[Cell]]:
        whole = sum(group.views for group in groups)
        none = word(f"none.{by}", self._language)
        return [
            [group.name or none, group.articles, group.views, group.views / whole if whole else None]
            for group in groups
        ]  # fmt: skip

    def _above(self, kind: Kind, asked: Range, at_ms: int, closed: ClosedNote | None) -> list[str]:
        return [
            f"{word(kind, self._language)} {period(asked, self._language)}",
            name_of(self._site),
            state_line(self._site, at_ms, closed, self._language, kind),
        ]

    # The summary ------------------------------------------------------------------------------------------------------

    def _summary(self, book: Workbook, report: Report) -> None:
        language = self._language
        above = self._above("summary", report.range, report.at_ms, report.closed)
        above.append(
            word("compared", language).format(
                whole=days(report.whole), before=days(report.compared), year_ago=days(report.year_ago)
            )
        )
        if unknown := report.unknown_days:
            shown = ", ".join(map(day, unknown[:3])) + (" …" if len(unknown) > 3 else "")
            above.append(word("unknown", language).format(n=len(unknown), days=shown))
        sheet = book.sheet(word("sheet.summary", language), self._figure_headings(report), above)
        sheet.rows(self._figures(report))
        daily = book.sheet(
            word("sheet.days", language),
            [Heading(word("date", language), 12, "date"), Heading(word("visits", language), 14, "number"),
             Heading(word("views", language), 14, "number")],
            above[:3],
        )  # fmt: skip
        daily.rows([date.fromisoformat(row.date), row.visits, row.views] for row in report.days)
        daily.total(
            [word("sum", language), sum(row.visits or 0 for row in report.days),
             sum(row.views or 0 for row in report.days)]
        )  # fmt: skip
        shown_columns = self._columns("articles", Query(), report.range, is_closed=report.closed is not None)
        best = book.sheet(
            word("sheet.articles", language), [column.heading(language) for column in shown_columns], above[:3]
        )
        best.rows(Cells(self._site, shown_columns).of(report.articles))
        for by, groups in (("author", report.authors), ("category", report.categories)):
            grouping: Grouping = "author" if by == "author" else "category"
            made = book.sheet(word(f"sheet.{by}", language), self._group_headings(grouping), above[:3])
            whole = report.selection.views
            none = word(f"none.{by}", language)
            made.rows(
                [group.name or none, group.articles, group.views, group.views / whole if whole else None]
                for group in groups
            )
        title = f"{word('visits', language)}, {period(report.range, language)}"
        book.plot(word("sheet.plot", language), title, daily, 0, [1], bars=False)

    def _figure_headings(self, report: Report) -> list[Heading]:
        def named(name: str, width: int = 14) -> Heading:
            return Heading(word(name, self._language), width, "number")

        change = Heading(word("change", self._language), 12, "percent")
        return [
            Heading(word("figure", self._language), 44), named("now"),
            *([named("whole", 18)] if report.running else []),
            named("before"), named("change", 12), change,
            *([named("year_ago", 20), named("change", 12), change] if report.year_ago else []),
        ]  # fmt: skip

    def _figures(self, report: Report) -> list[list[Cell]]:
        gaps = report.gaps
        no_base, no_year = gaps.whole or gaps.before, gaps.whole or gaps.year_ago
        return [
            [word(figure.name, self._language), figure.now, *([figure.whole] if report.running else []),
             figure.before, *_change(figure, figure.before, no_base),
             *([figure.year_ago, *_change(figure, figure.year_ago, no_year)] if report.year_ago else [])]
            for figure in report.figures
        ]  # fmt: skip


def _with_days(query: Query, book: ClosedBook | None) -> Query:
    """Return the query of a closed month's royalties, with the number of days for which they were frozen."""
    return msgspec.structs.replace(query, within=book.days) if book is not None and book.days else query


def state_line(site: Site, at_ms: int, closed: ClosedNote | None, language: Language, kind: Kind = "summary") -> str:
    """Return a line that states the time of the numbers and whether they are closed: when, by whom, and the beginning
    of the hash."""
    if closed is None:
        return word("open", language).format(at=moment(site, at_ms))
    said = word("closed", language).format(at=moment(site, closed.at_ms), who=closed.who, code=closed.sha256[:6])
    if kind == "royalties":
        earlier = word("earlier", language).format(n=closed.late_views) if closed.late_views else ""
        return f"{said} {word('royalties.closed', language)} {earlier}".strip()
    if closed.late_visits or closed.late_views:
        late = word("late", language).format(of=closed.late_of, visits=closed.late_visits, views=closed.late_views)
        return f"{said} {late}"
    return said


def _change(figure: Figure, base: int | None, gaps: int) -> list[Cell]:
    """Return the change of a figure against a base, absolute and as a part of the base; empty if days are unknown."""
    if figure.whole is None or base is None or gaps:
        return [None, None]
    return [figure.whole - base, (figure.whole - base) / base if base >= LEAST_BASE else None]


def _column(
    name: str, width: int, cell: Callable[[Site, int, Row], Cell], kind: CellKind = "text", within: int = 0
) -> Column:
    vi, en = (text.format(n=within) for text in (word(name, "vi"), word(name, "en")))
    return Column(vi, en, width, cell, kind)
