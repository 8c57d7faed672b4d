"""Places in files, and the one error for a place that cannot be read."""

from typing import NamedTuple

from visitstats.core.errors import VisitstatsError

LONGEST_FOUND = 60


class Place(NamedTuple):
    """A place in a file, as people count: lines and rows from 1."""

    file: str
    line: int = 0
    """Line of a text, or row of a sheet; 0 for the whole file."""
    sheet: str = ""
    """Name of a workbook's sheet."""
    cell: str = ""
    """Name of a column, or of a cell such as F7."""

    def at(self, line: int, cell: str = "") -> "Place":
        """Return another place in the same file and sheet."""
        return Place(self.file, line, self.sheet, cell)

    @property
    def text(self) -> str:
        """The place in words."""
        parts = [self.file]
        if self.sheet:
            parts.append(f"sheet {self.sheet!r}")
        if self.line:
            parts.append(f"{'row' if self.sheet else 'line'} {self.line}")
        if self.cell:
            parts.append(f"cell {self.cell}" if self.sheet else f"column {self.cell!r}")
        return ", ".join(part for part in parts if part)


class ImportRefused(VisitstatsError):
    """The file is not imported because of the text at this place. Nothing was changed."""

    def __init__(self, place: Place, why: str, found: str = "", hint: str = "") -> None:
        """`found` is the text at the place; `hint` tells the person who imports what to do."""
        self.place = place
        self.why = one_line(why)
        self.hint = hint
        self.found = shown(found) if found else ""
        said = f"{self.found!r}: " if found else ""
        super().__init__(one_line(f"nothing was imported: {place.text}: {said}{why}{f'; {hint}' if hint else ''}"))


def one_line(text: str) -> str:
    """Return a text in one line without control characters: names of tables and sheets are untrusted input, too."""
    return " ".join("".join(each if each.isprintable() else " " for each in text).split())


def shown(text: str) -> str:
    """Return the beginning of a text in one line, for a quotation in a message."""
    line = " ".join(text.split())
    return line if len(line) <= LONGEST_FOUND else line[: LONGEST_FOUND - 1] + "…"
