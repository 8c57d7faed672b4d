"""Lists as files that an office opens: CSV as Excel wants it, and workbooks. Nothing in a cell is ever run."""

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Literal, NamedTuple

from visitstats.core.errors import InvalidQuery
from visitstats.core.periods import Calendar
from visitstats.core.query import Row
from visitstats.core.ranges import Range
from visitstats.core.sites import Site
from visitstats.reading import workbook
from visitstats.reading.report_words import Language as Language
from visitstats.reading.workbook import Cell, Heading

Kind = Literal["csv", "xlsx"]
DELIMITERS = {";": ";", ",": ",", "tab": "\t"}
CONTENT_TYPES: dict[Kind, str] = {
    "csv": "text/csv; charset=utf-8",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
"""How a formula may begin (OWASP, "CSV Injection"); some spreadsheets take the full-width forms, too."""


class Column(NamedTuple):
    """A column of a list's file."""

    vi: str
    en: str
    width: int
    cell: Callable[[Site, int, Row], Cell]
    kind: workbook.Kind = "text"

    def heading(self, language: Language) -> Heading:
        """Return the heading of the column."""
        return Heading(self.vi if language == "vi" else self.en, self.width, self.kind)


def address(site: Site, row: Row) -> str:
    """Return the address of an article: its own address, or the site's host with the key."""
    host = site.main_host
    return row.entry.url or (f"https://{host}{row.entry.key}" if host and row.entry.key.startswith("/") else "")


def columns(asked: Range, *, within: int = 0, compare: bool = False) -> list[Column]:
    """Return the columns of a list of a range."""
    found = [
        Column("STT", "No.", 6, lambda site, number, row: number, "number"),
        Column("Lượt xem", "Views", 10, lambda site, number, row: row.views, "number"),
        Column("Tiêu đề", "Title", 60, lambda site, number, row: row.entry.title),
        Column("Tác giả", "Author", 20, lambda site, number, row: row.entry.author),
        Column("Chuyên mục", "Category", 20, lambda site, number, row: row.entry.category),
        Column("Ngày đăng", "Published", 12, lambda site, number, row: published(site, row), "date"),
        Column("Địa chỉ", "Address", 40, lambda site, number, row: address(site, row)),
        Column("Khóa", "Key", 30, lambda site, number, row: row.entry.key),
        Column("Loại tin", "Type", 12, lambda site, number, row: row.entry.type),
    ]
    if not asked.is_all:
        found.append(Column("Từ trước đến nay", "Of all time", 16, lambda site, number, row: row.total, "number"))
    if compare:
        found.append(Column("Kỳ trước", "Period before", 12, lambda site, number, row: row.before, "number"))
    if within:
        name = f"Trong {within} ngày từ khi đăng", f"Within {within} days of publication"
        found.append(Column(*name, 16, lambda site, number, row: row.within, "number"))
    return found


def delimiter(text: str) -> str:
    """Return what separates the columns of a CSV file. Raises InvalidQuery."""
    if text not in DELIMITERS:
        raise InvalidQuery(f"delimiter {text[:10]!r}: use one of {' '.join(DELIMITERS)}")
    return DELIMITERS[text]


class Csv:
    """Writes CSV for Excel in pieces: UTF-8 with BOM, CRLF, and no cell that a spreadsheet would run as a formula."""

    def __init__(self, headings: Iterable[Heading], separator: str = ";") -> None:
        self._headings = [each.text for each in headings]
        self._out = io.StringIO()
        self._writer = csv.writer(self._out, delimiter=separator, lineterminator="\r\n")

    def head(self) -> str:
        """Return the beginning of the file."""
        self._writer.writerow(self._headings)
        return "\ufeff" + self._taken()

    def rows(self, rows: Iterable[Sequence[Cell]]) -> str:
        """Return further lines of it."""
        for cells in rows:
            self._writer.writerow([harmless(cell) if isinstance(cell, str) else cell for cell in cells])
        return self._taken()

    def _taken(self) -> str:
        text = self._out.getvalue()
        self._out.seek(0)
        self._out.truncate()
        return text


class CsvText:
    """Writes a list as CSV, in pieces."""

    def __init__(self, site: Site, shown: list[Column], language: Language = "vi", separator: str = ";") -> None:
        self._csv = Csv([column.heading(language) for column in shown], separator)
        self._cells = Cells(site, shown)
        self.head = self._csv.head

    def rows(self, rows: Sequence[Row]) -> str:
        """Return further lines of it."""
        return self._csv.rows(self._cells.of(rows))


class Cells:
    """Makes the cells of rows, which it numbers."""

    def __init__(self, site: Site, shown: list[Column]) -> None:
        self._site = site
        self._columns = [column.cell for column in shown]
        self.number = 0

    def of(self, rows: Iterable[Row]) -> Iterable[list[Cell]]:
        """Yield the cells of each row."""
        for row in rows:
            self.number += 1
            yield [cell(self._site, self.number, row) for cell in self._columns]


class Workbook:
    """Writes a list as a workbook, row by row, with the sums of its numbers below and a plot of its first articles. The
    caller must close or discard it. Methods may raise OSError."""

    def __init__(self, path: Path, site: Site, shown: list[Column], language: Language = "vi") -> None:
        self._language = language
        self._columns = shown
        self._cells = Cells(site, shown)
        self._book = workbook.Workbook(path)
        name = "Bài viết" if language == "vi" else "Articles"
        self._sheet = self._book.sheet(name, [column.heading(language) for column in shown])
        self._sums: list[int] = [0] * len(shown)
        self.discard = self._book.discard

    def rows(self, rows: Sequence[Row]) -> None:
        """Write further rows."""
        cells = list(self._cells.of(rows))
        self._sheet.rows(cells)
        for place, column in enumerate(self._columns):
            if column.kind == "number" and place:
                self._sums[place] += sum(each for line in cells if isinstance(each := line[place], int))

    def close(self) -> None:
        """Finish the file."""
        if self._sheet.count:
            summed: list[Cell] = [
                self._sums[place] if column.kind == "number" and place else None
                for place, column in enumerate(self._columns)
            ]
            summed[0] = "Tổng" if self._language == "vi" else "Sum"
            self._sheet.total(summed)
            plot, views = ("Biểu đồ", "Lượt xem") if self._language == "vi" else ("Plot", "Views")
            self._book.plot(plot, views, self._sheet, 2, [1], bars=True)
        self._book.close()


def harmless(text: str) -> str:
    """Return a text that a spreadsheet shows and does not run (hostile-inputs row 15): an apostrophe before = + - @."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def file_name(site: Site, asked: Range, kind: str, language: Language = "vi") -> str:
    """Return the file name of a list, such as bac-ha_bai-viet_2026-11-16_2026-11-22.xlsx."""
    return f"{site.id}_{'bai-viet' if language == 'vi' else 'articles'}_{_named_days(asked)}.{kind}"


REPORT_NAMES = {
    "summary": ("tong-hop", "summary"),
    "articles": ("bai-viet", "articles"),
    "authors": ("tac-gia", "authors"),
    "categories": ("chuyen-muc", "categories"),
    "royalties": ("nhuan-but", "royalties"),
}


def report_name(site_id: str, report: str, asked: Range, kind: str, language: Language = "vi") -> str:
    """Return the file name of a report, such as bac-ha_nhuan-but_2026-10-01_2026-10-31.xlsx."""
    return f"{site_id}_{REPORT_NAMES[report][language == 'en']}_{_named_days(asked)}.{kind}"


def _named_days(asked: Range) -> str:
    return "_".join(dict.fromkeys((asked.first, asked.last))) if asked.first else "all"


@lru_cache(maxsize=64)
def calendar_of(timezone: str) -> Calendar:
    """Return the calendar of a zone."""
    return Calendar(timezone)


def published(site: Site, row: Row) -> Cell:
    """Return the day on which an article was published, in the site's zone; a value that is no date stays a text."""
    text = row.entry.published
    try:
        if len(text) == len("2026-11-24"):
            return date.fromisoformat(text)
        calendar = calendar_of(site.timezone)
        moment = calendar.moment(text)
        return text if moment is None else date.fromisoformat(calendar.date_at(moment))
    except (ValueError, OverflowError):
        return text
