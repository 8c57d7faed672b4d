"""Headings: the row of a sheet that names its columns, and access to cells by these names."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from visitstats.imports.places import ImportRefused, Place
from visitstats.imports.sheets import Cell, Row, Sheet, fold, text_of


class Head(NamedTuple):
    """A sheet whose columns are known."""

    sheet: Sheet
    columns: Mapping[str, int]
    """Folded name → index; the first of two columns with the same name."""
    names: tuple[str, ...]
    """The names of the columns as the file spells them."""
    line: int
    """The line of the heading; 0 where the rows have no heading."""

    def rows(self, *, checked: bool = True) -> Iterator[Row]:
        """Yield the rows below the heading that are not empty. With `checked`, a row of a text with fewer
        cells than the heading is refused, because a part of it is missing."""
        width = len(self.names)
        for row in self.sheet.rows():
            if row.line <= self.line or not (any(row.cells) or any(each not in (None, "") for each in row.cells)):
                continue
            if checked and len(row.cells) < width:
                if self.sheet.form in ("text", "sql"):
                    raise ImportRefused(
                        self.sheet.place.at(row.line), f"{_many(len(row.cells))} instead of {_count(width)}"
                    )
                row.cells.extend([None] * (width - len(row.cells)))
            yield row

    def cell(self, row: Row, name: str) -> Cell:
        """Return a cell by the folded name of its column; None where the row has no such cell."""
        place = self.columns.get(name)
        return row.cells[place] if place is not None and place < len(row.cells) else None

    def text(self, row: Row, name: str) -> str:
        """Return a cell as a text in one line; empty for NULL."""
        found = text_of(self.cell(row, name))
        return "" if found in ("NULL", "\\N") else found

    def place(self, row: Row, name: str = "") -> Place:
        """Return the place of a cell."""
        number = self.columns.get(name)
        if number is None:
            return self.sheet.place.at(row.line)
        if self.sheet.form == "book":
            return self.sheet.place.at(row.line, f"{column_letters(number)}{row.line}")
        return self.sheet.place.at(row.line, self.names[number])


def column_letters(number: int) -> str:
    """Return the letters of a workbook's column, counted from 0: A, B, …, AA."""
    text = ""
    number += 1
    while number:
        number, rest = divmod(number - 1, 26)
        text = chr(65 + rest) + text
    return text


def _many(n: int) -> str:
    return "one column" if n == 1 else f"{_count(n)} columns"


def _count(n: int) -> str:
    words = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
    return words[n] if n < len(words) else str(n)


def head_of(sheet: Sheet, *needed: str) -> Head | None:
    """Return the sheet with its heading if the heading has all of these columns (folded names)."""
    if sheet.columns is not None:
        return made(sheet, sheet.columns, 0, needed)
    for row in sheet.first:
        if (found := made(sheet, tuple(text_of(cell) for cell in row.cells), row.line, needed)) is not None:
            return found
    return None


def made(sheet: Sheet, names: tuple[str, ...], line: int, needed: tuple[str, ...] = ()) -> Head | None:
    """Return a sheet with these columns if they include all that are needed."""
    columns: dict[str, int] = {}
    for place, name in enumerate(names):
        columns.setdefault(fold(name), place)
    return Head(sheet, columns, names, line) if set(needed) <= set(columns) else None


def first_head(sheets: list[Sheet], *needed: str, ending: str = "") -> Head | None:
    """Return the first sheet whose heading has these columns. The name of a table of a dump must end with `ending`."""
    for sheet in sheets:
        if ending and sheet.form in ("sql", "database") and not sheet.name.endswith(ending):
            continue
        if (found := head_of(sheet, *needed)) is not None:
            return found
    return None
