"""The common form of all files: sheets of rows, each row with its line number."""

import unicodedata
from collections.abc import Callable, Iterator
from datetime import date, datetime, time, timedelta
from typing import NamedTuple, TypeAlias

from visitstats.imports.places import Place


class Lost(NamedTuple):
    """A cell whose value is not in the file, and why."""

    why: str


Cell: TypeAlias = str | int | float | bool | date | datetime | time | timedelta | Lost | None


class Row(NamedTuple):
    """A row: the line on which it begins, and its cells."""

    line: int
    cells: list[Cell]


class Sheet(NamedTuple):
    """A table of a file. Each call of `rows` reads it from its beginning."""

    place: Place
    name: str
    """The name of the table in a dump or database, in lower case; otherwise the name of the file."""
    columns: tuple[str, ...] | None
    """The names of the columns; None where a row of the sheet names them."""
    rows: Callable[[], Iterator[Row]]
    form: str
    """text, book, sql, database or json."""
    first: tuple[Row, ...] = ()
    """The first rows, if they may name the columns."""
    note: str = ""
    """A note for people on how the sheet was read: encoding and separator."""
    hidden: Callable[[], list[int]] | None = None
    """Returns the rows that a workbook hides."""

    def has(self, *names: str) -> bool:
        """Return whether the sheet has all of these columns, by their folded names."""
        return self.columns is not None and set(names) <= {fold(name) for name in self.columns}


_FOLDING = str.maketrans({"đ": "d", "_": " ", "\u00a0": " ", "ð": "d"})


def fold(text: str) -> str:
    """Return a heading without tone marks, case and extra spaces, so that spellings of one heading are equal."""
    if text.isascii():
        bare = text.lower().replace("_", " ")
    else:
        marks = unicodedata.normalize("NFD", text.lower().translate(_FOLDING))
        bare = "".join([each for each in marks if not unicodedata.combining(each)])
    return " ".join(bare.split()).strip(" :*.")


def text_of(cell: Cell) -> str:
    """Return a cell as a text in one line, in NFC."""
    if isinstance(cell, str):
        return " ".join((cell if cell.isascii() else unicodedata.normalize("NFC", cell)).split())
    if cell is None:
        return ""
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return " ".join(str(cell).split())
