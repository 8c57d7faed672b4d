"""The common form of all files: sheets of rows, each with its line."""

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
    """A table of a file. `rows` reads it from its beginning, as often as it is called."""

    place: Place
    name: str
    """Of a table in a dump or a database its own, in lower case; of a file its name."""
    columns: tuple[str, ...] | None
    """Names of the columns; None where a row of the sheet has them."""
    rows: Callable[[], Iterator[Row]]
    form: str
    """text, book, sql, database or json."""
    first: tuple[Row, ...] = ()
    """The first rows, where the columns are to be found in them."""
    note: str = ""
    """How it was read, for people: encoding and separator."""
    hidden: Callable[[], list[int]] | None = None
    """Tells the rows that a workbook hides."""

    def has(self, *names: str) -> bool:
        """Whether it has all of these columns, by their folded names."""
        return self.columns is not None and set(names) <= {fold(name) for name in self.columns}


_FOLDING = str.maketrans({"đ": "d", "_": " ", "\u00a0": " ", "ð": "d"})


def fold(text: str) -> str:
    """Return a heading without tone marks, case and extra spaces: what makes no difference between headings."""
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
