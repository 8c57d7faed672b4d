"""Workbooks: sheets written row by row, in little memory and fast enough for half a million rows.

XlsxWriter makes the file: styles, widths, frozen heads, plots, the archive. The rows themselves are written here into
the file that XlsxWriter keeps of a sheet's rows in its constant-memory mode: a row of 12 cells takes a fifth of what it
takes by its own methods (126 and 23 µs, CPython 3.11, one core of a shared machine). Numbers are numbers, dates are
dates, and a text is never a formula: each is an inline string, which no spreadsheet runs.
"""

import os
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Any, Literal, NamedTuple

SHEET_ROWS = 1_048_576
"""As many rows as a sheet of Excel's has; what is more goes on in the next sheet."""
LONGEST_CELL = 32_767
LONGEST_NAME = 31
_ZERO, _FIRST_DAY = date(1899, 12, 30), date(1900, 3, 1)
"""Excel counts days from the first on, and took 1900 for a leap year."""
_ODD = re.compile(r"[&<>\x00-\x08\x0b-\x1f\ufffe\uffff\ud800-\udfff]|_x[0-9A-Fa-f]{4}_")
_ESCAPED = re.compile(r"[\x00-\x08\x0b-\x1f]|_(?=x[0-9A-Fa-f]{4}_)")
_NOT_XML = re.compile(r"[\ufffe\uffff\ud800-\udfff]")
_NOT_IN_NAMES = re.compile(r"[\[\]:*?/\\']")

Kind = Literal["text", "number", "date", "percent", "share"]
Cell = str | int | float | date | None
FORMATS: dict[Kind, dict[str, Any]] = {
    "text": {},
    "number": {"num_format": "#,##0"},
    "date": {"num_format": "dd/mm/yyyy", "align": "left"},
    "percent": {"num_format": "+0.0%;-0.0%;0.0%"},
    "share": {"num_format": "0.0%"},
}


class Heading(NamedTuple):
    """What stands above a column, how wide it is (characters), and what is in it."""

    text: str
    width: int
    kind: Kind = "text"


class _Place(NamedTuple):
    """What a cell of a column begins with: before the number of its row, and behind it for a text or a number."""

    start: str
    text: str
    number: str

    @classmethod
    def of(cls, place: int, style: int) -> "_Place":
        styled = f' s="{style}"' if style else ""
        return cls(f'<c r="{_letters(place)}', f'"{styled} t="inlineStr"><is>', f'"{styled}><v>')


class Workbook:
    """A workbook that is written to a path. To be closed, or to be discarded."""

    def __init__(self, path: Path) -> None:
        import xlsxwriter  # 5 MB, for which a worker has no use

        self._trouble = xlsxwriter.exceptions.XlsxWriterException
        options = {"constant_memory": True, "tmpdir": str(path.parent)}
        self._book = xlsxwriter.Workbook(str(path), options)
        self.head = self._book.add_format({"bold": True, "bottom": 1, "text_wrap": True, "valign": "top"})
        self.title = self._book.add_format({"bold": True, "font_size": 14})
        self.styles = {kind: self._style(form) for kind, form in FORMATS.items()}
        self.totals = {kind: self._style({"bold": True, "top": 1, **form}) for kind, form in FORMATS.items()}
        self._sheets: list[Sheet] = []

    def sheet(self, name: str, headings: Sequence[Heading], above: Sequence[str] = ()) -> "Sheet":
        """Add a sheet: a title and further lines above, then the head of a table. May raise OSError."""
        made = Sheet(self, name, headings, above)
        self._sheets.append(made)
        return made

    def add(self, name: str) -> Any:
        """Add a worksheet of XlsxWriter's."""
        return self._book.add_worksheet(self._free(name))

    def plot(self, name: str, title: str, sheet: "Sheet", names: int, values: Sequence[int], *, bars: bool) -> None:
        """Add a sheet with a plot of columns of another one: lying bars for articles, upright ones for days."""
        if not sheet.count:
            return
        chart = self._book.add_chart({"type": "bar" if bars else "column"})
        first, last = sheet.first_row, min(sheet.first_row + sheet.count - 1, sheet.first_row + (19 if bars else 399))
        for place in values:
            chart.add_series(
                {
                    "name": [sheet.name, sheet.first_row - 1, place],
                    "categories": [sheet.name, first, names, last, names],
                    "values": [sheet.name, first, place, last, place],
                }
            )
        chart.set_title({"name": title, "overlay": False})
        chart.set_legend({"none": True} if len(values) == 1 else {"position": "bottom"})
        axis = {"reverse": True} if bars else {"num_font": {"rotation": -45}}
        chart.set_x_axis(axis)
        chart.set_y_axis({"min": 0, "num_format": "#,##0", "major_gridlines": {"visible": True}})
        chart.set_size({"width": 1000, "height": 560})
        self.add(name).insert_chart(0, 0, chart)

    def close(self) -> None:
        """Finish the file. May raise OSError."""
        try:
            for sheet in self._sheets:
                sheet.finish()
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

    def _style(self, form: dict[str, Any]) -> int:
        number: int = self._book.add_format(form)._get_xf_index() if form else 0
        return number

    def _free(self, name: str) -> str:
        plain = _NOT_IN_NAMES.sub(" ", name)[:LONGEST_NAME].strip() or "Sheet"
        taken = {each.get_name().casefold() for each in self._book.worksheets()}
        found, number = plain, 1
        while found.casefold() in taken:
            number += 1
            found = f"{plain[: LONGEST_NAME - 6]} ({number})"
        return found


class Sheet:
    """A table in a workbook. What does not fit into one worksheet goes on in the next."""

    def __init__(self, book: Workbook, name: str, headings: Sequence[Heading], above: Sequence[str]) -> None:
        self._book = book
        self._wanted = name
        self._headings = headings
        self._above = above
        self._styled = [_Place.of(place, book.styles[each.kind]) for place, each in enumerate(headings)]
        self.count = 0
        """Rows of the table, in all of its worksheets."""
        self._begin()
        self.name: str = self._sheet.get_name()
        self.first_row = self._line
        """Where its first row is, counted from 0."""

    def rows(self, rows: Iterable[Sequence[Cell]]) -> None:
        """Write further rows. May raise OSError."""
        for cells in rows:
            if self._line >= SHEET_ROWS:
                self._begin()
            self._put(cells, self._styled)
            self.count += 1
        self._flush()

    def total(self, cells: Sequence[Cell]) -> None:
        """Write a last row, which stands apart by its style. May raise OSError."""
        if self._line >= SHEET_ROWS:
            self._begin()
        self._put(
            cells,
            [_Place.of(place, self._book.totals[each.kind]) for place, each in enumerate(self._headings)],
        )
        self._flush()

    def finish(self) -> None:
        """Say how large it is."""
        self._sheet._check_dimensions(max(self._line - 1, 0), len(self._headings) - 1)

    def _begin(self) -> None:
        if hasattr(self, "_sheet"):
            self.finish()
            self._flush()
        self._sheet = self._book.add(self._wanted)
        for place, heading in enumerate(self._headings):
            self._sheet.set_column(place, place, heading.width)
        for line, text in enumerate(self._above):
            self._sheet.write_string(line, 0, text[:LONGEST_CELL], self._book.title if line == 0 else None)
        row = len(self._above) + bool(self._above)
        for place, heading in enumerate(self._headings):
            self._sheet.write_string(row, place, heading.text, self._book.head)
        self._sheet.freeze_panes(row + 1, 0)
        self._sheet.repeat_rows(row)
        self._sheet.set_landscape()
        self._sheet.set_paper(9)
        self._sheet.fit_to_pages(1, 0)
        self._line = row + 1
        # The library writes a row when the next one begins: from here on there are none of its own.
        self._sheet._write_single_row(self._line)
        self._out: list[str] = []

    def _put(self, cells: Sequence[Cell], styled: Sequence[_Place]) -> None:
        self._line += 1
        line, out = self._line, self._out
        # One search for all texts of a row: nearly none has anything to be escaped.
        plain = _ODD.search("".join([cell for cell in cells if type(cell) is str])) is None
        out.append(f'<row r="{line}">')
        for (start, text, number), cell in zip(styled, cells, strict=True):
            kind = type(cell)
            if kind is str:
                if cell:
                    is_plain = plain and cell.strip() is cell and len(cell) <= LONGEST_CELL  # type: ignore[union-attr]
                    inner = f"<t>{cell}</t>" if is_plain else _text(str(cell))
                    out.append(f"{start}{line}{text}{inner}</is></c>")
            elif kind is int or kind is float:
                out.append(f"{start}{line}{number}{cell}</v></c>")
            elif isinstance(cell, date):
                if cell >= _FIRST_DAY:
                    out.append(f"{start}{line}{number}{(cell - _ZERO).days}</v></c>")
                else:  # a spreadsheet knows no such day
                    out.append(f"{start}{line}{text}<t>{cell.isoformat()}</t></is></c>")
        out.append("</row>")

    def _flush(self) -> None:
        self._sheet.row_data_fh.write("".join(self._out))
        self._out.clear()


def _text(text: str) -> str:
    text = text[:LONGEST_CELL]
    if _ODD.search(text):
        text = _ESCAPED.sub(lambda found: f"_x{ord(found[0]):04X}_", _NOT_XML.sub("\ufffd", text))
        text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return f'<t xml:space="preserve">{text}</t>' if text[0].isspace() or text[-1].isspace() else f"<t>{text}</t>"


def _letters(place: int) -> str:
    found = ""
    place += 1
    while place:
        place, rest = divmod(place - 1, 26)
        found = chr(65 + rest) + found
    return found
