"""Lists as files that an office opens: CSV as Excel wants it, and workbooks. Nothing in a cell is ever run."""

import csv
import io
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple

from visitstats.core.errors import InvalidQuery
from visitstats.core.query import Row
from visitstats.core.ranges import Range
from visitstats.core.sites import Site

Language = Literal["vi", "en"]
Kind = Literal["csv", "xlsx"]
DELIMITERS = {";": ";", ",": ",", "tab": "\t"}
CONTENT_TYPES: dict[Kind, str] = {
    "csv": "text/csv; charset=utf-8",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}
SHEET_ROWS = 1_048_576
"""As many rows as a sheet of Excel's has; what is more goes on in the next sheet."""
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
"""How a formula may begin (OWASP, "CSV Injection"); some spreadsheets take the full-width forms, too."""
_LONGEST_CELL = 32_767

Cell = str | int | datetime | None


class Column(NamedTuple):
    """A column of a file."""

    vi: str
    en: str
    width: int
    cell: Callable[[Site, int, Row], Cell]

    def heading(self, language: Language) -> str:
        """Return its name."""
        return self.vi if language == "vi" else self.en


def address(site: Site, row: Row) -> str:
    """Return where an article is to be found: its own address, or the site's host with the key."""
    host = site.main_host
    return row.entry.url or (f"https://{host}{row.entry.key}" if host and row.entry.key.startswith("/") else "")


def columns(asked: Range, *, within: int = 0, compare: bool = False) -> list[Column]:
    """Return the columns of a list of a range."""
    found = [
        Column("STT", "No.", 6, lambda site, number, row: number),
        Column("Lượt xem", "Views", 10, lambda site, number, row: row.views),
        Column("Tiêu đề", "Title", 60, lambda site, number, row: row.entry.title),
        Column("Tác giả", "Author", 20, lambda site, number, row: row.entry.author),
        Column("Chuyên mục", "Category", 20, lambda site, number, row: row.entry.category),
        Column("Ngày đăng", "Published", 12, lambda site, number, row: row.entry.published),
        Column("Địa chỉ", "Address", 40, lambda site, number, row: address(site, row)),
        Column("Khóa", "Key", 30, lambda site, number, row: row.entry.key),
        Column("Loại tin", "Type", 12, lambda site, number, row: row.entry.type),
    ]
    if not asked.is_all:
        found.append(Column("Từ trước đến nay", "Of all time", 16, lambda site, number, row: row.total))
    if compare:
        found.append(Column("Kỳ trước", "Period before", 12, lambda site, number, row: row.before))
    if within:
        name = f"Trong {within} ngày từ khi đăng", f"Within {within} days of publication"
        found.append(Column(*name, 16, lambda site, number, row: row.within))
    return found


def delimiter(text: str) -> str:
    """Return what separates the columns of a CSV file. Raises InvalidQuery."""
    if text not in DELIMITERS:
        raise InvalidQuery(f"delimiter {text[:10]!r}: use one of {' '.join(DELIMITERS)}")
    return DELIMITERS[text]


class CsvText:
    """Writes CSV for Excel in pieces: UTF-8 with BOM, CRLF, and no cell that a spreadsheet would run as a formula."""

    def __init__(self, site: Site, shown: list[Column], language: Language = "vi", separator: str = ";") -> None:
        self._site = site
        self._columns = shown
        self._language = language
        self._out = io.StringIO()
        self._writer = csv.writer(self._out, delimiter=separator, lineterminator="\r\n")
        self._number = 0

    def head(self) -> str:
        """Return the beginning of the file."""
        self._writer.writerow([column.heading(self._language) for column in self._columns])
        return "\ufeff" + self._taken()

    def rows(self, rows: Sequence[Row]) -> str:
        """Return further lines of it."""
        for row in rows:
            self._number += 1
            cells = [column.cell(self._site, self._number, row) for column in self._columns]
            self._writer.writerow([harmless(cell) if isinstance(cell, str) else cell for cell in cells])
        return self._taken()

    def _taken(self) -> str:
        text = self._out.getvalue()
        self._out.seek(0)
        self._out.truncate()
        return text


class Workbook:
    """Writes a workbook, row by row, in little memory: numbers are numbers, dates are dates, texts are never formulas.
    To be closed; may raise OSError."""

    def __init__(self, path: Path, site: Site, shown: list[Column], language: Language = "vi") -> None:
        import xlsxwriter  # 5 MB, for which a worker has no use

        self._site = site
        self._columns = shown
        self._language = language
        self._trouble = xlsxwriter.exceptions.XlsxWriterException
        options = {
            "constant_memory": True, "strings_to_formulas": False, "strings_to_urls": False,
            "strings_to_numbers": False, "tmpdir": str(path.parent),
        }  # fmt: skip
        self._book = xlsxwriter.Workbook(str(path), options)
        self._bold = self._book.add_format({"bold": True, "bottom": 1})
        self._whole = self._book.add_format({"num_format": "#,##0"})
        self._date = self._book.add_format({"num_format": "dd/mm/yyyy"})
        self._number = 0
        self._line = SHEET_ROWS
        self._sheet: Any = None

    def rows(self, rows: Sequence[Row]) -> None:
        """Write further rows."""
        if self._sheet is None:
            self._begin()
        for row in rows:
            if self._line >= SHEET_ROWS:
                self._begin()
            self._number += 1
            for place, column in enumerate(self._columns):
                self._write(place, column.cell(self._site, self._number, row), column)
            self._line += 1

    def close(self) -> None:
        """Finish the file."""
        try:
            if self._sheet is None:
                self._begin()
            self._book.close()
        except self._trouble as error:
            raise OSError(str(error)) from error
        finally:
            self.discard()

    def discard(self) -> None:
        """Let go of what was written beside the file: of one that was not finished the library would keep it."""
        for sheet in self._book.worksheets():
            if file := sheet.row_data_fh:
                file.close()
            with suppress(OSError):
                os.unlink(sheet.row_data_filename)
        self._book.fileclosed = 1  # else it complains that it was not closed

    def _begin(self) -> None:
        self._sheet = self._book.add_worksheet()
        for place, column in enumerate(self._columns):
            self._sheet.set_column(place, place, column.width)
            self._sheet.write_string(0, place, column.heading(self._language), self._bold)
        self._sheet.freeze_panes(1, 0)
        self._line = 1

    def _write(self, place: int, cell: Cell, column: Column) -> None:
        if isinstance(cell, int):
            self._sheet.write_number(self._line, place, cell, self._whole)
        elif isinstance(cell, str) and cell:
            if column.en == "Published" and (day := _day(cell)):
                self._sheet.write_datetime(self._line, place, day, self._date)
            else:
                self._sheet.write_string(self._line, place, cell[:_LONGEST_CELL])


def harmless(text: str) -> str:
    """Return a text that a spreadsheet shows and does not run (hostile-inputs row 15): an apostrophe before = + - @."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def file_name(site: Site, asked: Range, kind: str, language: Language = "vi") -> str:
    """Return what a file of a list is called, as bac-ha_bai-viet_2026-11-16_2026-11-22.xlsx."""
    days = "_".join(dict.fromkeys((asked.first, asked.last))) if asked.first else "all"
    return f"{site.id}_{'bai-viet' if language == 'vi' else 'articles'}_{days}.{kind}"


def _day(text: str) -> datetime | None:
    try:
        day = datetime.fromisoformat(text[:10])
    except ValueError:
        return None
    return day if day.year >= 1900 else None  # Excel knows none before
