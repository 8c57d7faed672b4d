"""Find the heading of a table that people made, and the meaning of each column."""

import re
from itertools import pairwise
from typing import NamedTuple

from visitstats.imports.draft import Count
from visitstats.imports.options import Options
from visitstats.imports.readers.heads import Head, made
from visitstats.imports.readers.words import meaning
from visitstats.imports.sheets import Sheet, fold, text_of

COUNTS: tuple[Count, ...] = ("visits", "views")


class Table(NamedTuple):
    """A sheet with the meanings of its columns."""

    head: Head
    meanings: dict[str, str]
    """Meaning → folded name of the column. "day", "month" and "year" are separate meanings if each has a column."""

    @property
    def has_articles(self) -> bool:
        """Whether its rows are articles, not periods of the site."""
        if {"address", "title"} & set(self.meanings):
            return True
        return "id" in self.meanings and "views" in self.meanings and "date" not in self.meanings


def find(sheet: Sheet, options: Options) -> Table | None:
    """Return the table of a sheet; None when no row names a count and a date or an article."""
    if sheet.columns is not None:
        return _table(sheet, sheet.columns, 0, options)
    if options.columns:
        return _table(sheet, options.columns, 0, options)
    rows = [(row.line, tuple(text_of(cell) for cell in row.cells)) for row in sheet.first]
    for line, names in rows:
        if (found := _table(sheet, names, line, options)) is not None:
            return found
    # In a heading of two rows, cells of the upper row are merged across several columns, or with the cell below.
    for (_, upper), (line, lower) in pairwise(rows):
        width = max(len(upper), len(lower))
        both = tuple(
            (lower[n] if n < len(lower) and lower[n] else upper[n] if n < len(upper) else "") for n in range(width)
        )
        if any(meaning(name) for name in upper) and (found := _table(sheet, both, line, options)) is not None:
            return found
    return None


def _table(sheet: Sheet, names: tuple[str, ...], line: int, options: Options) -> Table | None:
    head = made(sheet, names, line)
    if head is None:
        return None
    meanings: dict[str, str] = {}
    for what, name in options.column:
        if fold(name) not in head.columns:
            return None
        meanings[what] = fold(name)
    said = set(meanings.values())
    for name in names:
        what, folded = meaning(name), fold(name)
        if folded in said or not what:
            continue
        if what == "date" and folded in ("ngay", "thang", "nam", "day", "month", "year"):
            part = {"ngay": "day", "thang": "month", "nam": "year"}.get(folded, folded)
            meanings.setdefault(part, folded)
        meanings.setdefault(what, folded)
    # Some systems list articles with a column "date"; a number and a title are enough there. The number of an
    # article goes with its views: visits belong to a date.
    has_count = any(kind in meanings for kind in COUNTS)
    has_rows = any(what in meanings for what in ("date", "address", "title")) or {"id", "views"} <= meanings.keys()
    return (
        Table(
            head,
            meanings,
        )
        if has_count and has_rows
        else None
    )


def year_of_titles(table: Table) -> int:
    """Return the year that the rows above the heading name, if they name exactly one."""
    found = set()
    for row in table.head.sheet.first:
        if row.line >= table.head.line:
            break
        for cell in row.cells:
            found |= {int(year) for year in re.findall(r"\b(?:nam|year)\s+((?:19|20)\d\d)\b", fold(text_of(cell)))}
    return found.pop() if len(found) == 1 else 0
