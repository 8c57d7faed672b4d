"""Workbooks: sheets written row by row, in little memory and fast enough for half a million rows.

XlsxWriter makes a shell of the workbook: styles, widths, frozen heads, plots. The rows are written here as XML text,
and put into the shell while it is packed (`python -m benchmarks.reports` measures it).
Numbers are numbers, dates are dates, and a text is never a formula: each is an inline string, which no spreadsheet
runs.
"""

import re
import shutil
import zipfile
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import date
from operator import itemgetter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any, Literal, NamedTuple

SHEET_ROWS = 1_048_576
"""The most rows that a sheet of Excel can have; further rows go to the next sheet."""
LONGEST_CELL = 32_767
LONGEST_NAME = 31
LEVEL = 2
"""The compression level: half a million rows take 3 s less than at zlib's default, and a sixth more disk space."""
COPIED = 256 * 1024
"""How many bytes are packed at once."""
_ZERO, _FIRST_DAY = date(1899, 12, 30), date(1900, 3, 1)
"""Excel counts days from the first date on. Dates before the second are unusable: Excel takes 1900 for a leap year."""
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
    """The heading of a column, its width in characters, and the kind of its content."""

    text: str
    width: int
    kind: Kind = "text"


class _Place(NamedTuple):
    """The beginning of a column's cells in XML: before the row number, and after it for a text or for a number."""

    start: str
    text: str
    number: str

    @classmethod
    def of(cls, place: int, style: int) -> "_Place":
        styled = f' s="{style}"' if style else ""
        return cls(f'<c r="{_letters(place)}', f'"{styled} t="inlineStr"><is>', f'"{styled}><v>')


class _Plan(NamedTuple):
    """How to write rows that have the same kinds of cells in the same places, as most rows do."""

    template: str
    """The row in XML; NUL stands for its number, %s for the content of a cell."""
    values: Callable[[Sequence[Cell]], tuple[Any, ...]]
    texts: Callable[[Sequence[Cell]], tuple[Any, ...]]
    dates: list[int]
    """The places of dates."""

    @classmethod
    def of(cls, kinds: tuple[type | None, ...], styled: Sequence[_Place]) -> "_Plan":
        parts, places, texts, dates = ['<row r="\0">'], list[int](), list[int](), list[int]()
        for place, (kind, (start, text, number)) in enumerate(zip(kinds, styled, strict=True)):
            if kind is str:
                texts.append(place)
                parts.append(f"{start}\0{text}<t>%s</t></is></c>")
            elif kind is int or kind is float or kind is date:
                if kind is date:
                    dates.append(place)
                parts.append(f"{start}\0{number}%s</v></c>")
            else:
                continue
            places.append(place)
        return cls("".join([*parts, "</row>"]), _getter(places), _getter(texts), dates)


def _getter(places: list[int]) -> Callable[[Sequence[Cell]], tuple[Any, ...]]:
    if len(places) > 1:
        return itemgetter(*places)
    return lambda cells: tuple([cells[place] for place in places])


class Workbook:
    """A workbook that is written to a path. The caller must close or discard it."""

    def __init__(self, path: Path) -> None:
        import xlsxwriter  # it takes 5 MB of memory, and a worker has no use for it

        self._trouble = xlsxwriter.exceptions.XlsxWriterException
        self._path = path
        self._room = TemporaryDirectory(dir=path.parent)
        self._shell = Path(self._room.name) / "shell.xlsx"
        # In constant-memory mode XlsxWriter writes inline texts, as this module does.
        options = {"constant_memory": True, "tmpdir": self._room.name}
        self._book = xlsxwriter.Workbook(str(self._shell), options)
        self.head = self._book.add_format({"bold": True, "bottom": 1, "text_wrap": True, "valign": "top"})
        self.title = self._book.add_format({"bold": True, "font_size": 14})
        self.styles = {kind: self._style(form) for kind, form in FORMATS.items()}
        self.totals = {kind: self._style({"bold": True, "top": 1, **form}) for kind, form in FORMATS.items()}
        self._sheets: list[Sheet] = []
        self._rows: dict[str, IO[bytes]] = {}

    def sheet(self, name: str, headings: Sequence[Heading], above: Sequence[str] = ()) -> "Sheet":
        """Add a sheet: a title and further lines above, then the head of a table. May raise OSError."""
        made = Sheet(self, name, headings, above)
        self._sheets.append(made)
        return made

    def add(self, name: str) -> Any:
        """Add a worksheet to the shell and return XlsxWriter's object for it."""
        return self._book.add_worksheet(self._free(name))

    def rows_of(self, sheet: Any) -> IO[bytes]:
        """Return the file that takes the rows of one of XlsxWriter's worksheets. May raise OSError."""
        name = f"sheet{sheet.index + 1}.xml"
        file = self._rows[f"xl/worksheets/{name}"] = (Path(self._room.name) / name).open("w+b")
        return file

    def plot(self, name: str, title: str, sheet: "Sheet", names: int, values: Sequence[int], *, bars: bool) -> None:
        """Add a sheet with a plot of another sheet's columns: horizontal bars for articles, vertical ones for days."""
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
            self._pack()
        except self._trouble as error:
            raise OSError(str(error)) from error
        finally:
            self.discard()

    def discard(self) -> None:
        """Remove the temporary files."""
        for sheet in self._book.worksheets():
            if file := sheet.row_data_fh:
                file.close()
        for rows in self._rows.values():
            rows.close()
        with suppress(OSError):
            self._room.cleanup()
        self._book.fileclosed = 1  # otherwise XlsxWriter warns that the workbook was not closed

    def _pack(self) -> None:
        """Put the rows into the shell, behind the heads of their sheets."""
        with (
            zipfile.ZipFile(self._shell) as shell,
            zipfile.ZipFile(self._path, "w", zipfile.ZIP_DEFLATED, compresslevel=LEVEL) as archive,
        ):
            for each in shell.infolist():
                data = shell.read(each)
                rows = self._rows.get(each.filename)
                if rows is None:
                    archive.writestr(each.filename, data)
                    continue
                head, end, tail = data.rpartition(b"</sheetData>")
                rows.seek(0)
                with archive.open(each.filename, "w", force_zip64=rows.seek(0, 2) > zipfile.ZIP64_LIMIT // 2) as file:
                    file.write(head)
                    rows.seek(0)
                    shutil.copyfileobj(rows, file, COPIED)
                    file.write(end + tail)

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
    """A table in a workbook. Rows that do not fit into one worksheet go to the next."""

    def __init__(self, book: Workbook, name: str, headings: Sequence[Heading], above: Sequence[str]) -> None:
        self._book = book
        self._wanted = name
        self._headings = headings
        self._above = above
        self._styled = [_Place.of(place, book.styles[each.kind]) for place, each in enumerate(headings)]
        self._plans: dict[tuple[type | None, ...], _Plan] = {}
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
            self._put(cells)
            self.count += 1
        self._flush()

    def total(self, cells: Sequence[Cell]) -> None:
        """Write a last row, in a style of its own. May raise OSError."""
        if self._line >= SHEET_ROWS:
            self._begin()
        self._line += 1
        places = [_Place.of(place, self._book.totals[each.kind]) for place, each in enumerate(self._headings)]
        self._put_odd(cells, places)
        self._flush()

    def finish(self) -> None:
        """Tell XlsxWriter the size of the table."""
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
        self._file = self._book.rows_of(self._sheet)
        self._out: list[str] = []

    def _put(self, cells: Sequence[Cell]) -> None:
        self._line += 1
        kinds = tuple([None if cell == "" else cell.__class__ for cell in cells])
        plan = self._plans.get(kinds)
        if plan is None:
            plan = self._plans[kinds] = _Plan.of(kinds, self._styled)
        # All texts of a row are checked at once, because hardly any text needs escaping.
        text = " ".join(plan.texts(cells))
        if not _is_plain(text):
            self._put_odd(cells, self._styled)
            return
        if plan.dates:
            cells = [*cells]
            for place in plan.dates:
                days = _days(cells[place])
                if days is None:
                    self._put_odd(cells, self._styled)
                    return
                cells[place] = days
        self._out.append(plan.template.replace("\0", str(self._line)) % plan.values(cells))

    def _put_odd(self, cells: Sequence[Cell], styled: Sequence[_Place]) -> None:
        """Write a row cell by cell."""
        line, out = self._line, self._out
        out.append(f'<row r="{line}">')
        for (start, text, number), cell in zip(styled, cells, strict=True):
            if isinstance(cell, str):
                if cell:
                    out.append(f"{start}{line}{text}{_text(cell)}</is></c>")
            elif isinstance(cell, date):
                days = _days(cell)
                if days is None:  # a spreadsheet cannot express this date
                    out.append(f"{start}{line}{text}<t>{cell.isoformat()}</t></is></c>")
                else:
                    out.append(f"{start}{line}{number}{days}</v></c>")
            elif cell is not None:
                out.append(f"{start}{line}{number}{cell}</v></c>")
        out.append("</row>")

    def _flush(self) -> None:
        self._file.write("".join(self._out).encode())
        self._out.clear()


def _days(cell: Any) -> int | None:
    """Return a spreadsheet's number for a date; None for a date before its first day."""
    return (cell - _ZERO).days if cell >= _FIRST_DAY else None


def _is_plain(text: str) -> bool:
    """Return whether the texts of a row, joined by spaces, need no escaping. False may be returned for texts that need
    none, too."""
    return (
        text.isprintable()
        and "&" not in text
        and "<" not in text
        and ">" not in text
        and "_x" not in text
        and "  " not in text
        and text[:1] != " "
        and text[-1:] != " "
        and len(text) <= LONGEST_CELL
    )


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
