"""The frozen content of a closed month, as reports show it: articles, royalties, and sums by author or category."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import msgspec

from visitstats.core.closing import ClosedRow
from visitstats.core.entries import Entry
from visitstats.core.query import Query, Row, Selection, fold
from visitstats.core.ranges import Range
from visitstats.reading.groups import GROUPINGS, Group, Grouping
from visitstats.reading.query import PIECE, Page

MOST_GROUPS = 50_000
"""Groups in one file at most; all further authors share one group. A group takes some 200 bytes of memory."""
OTHERS = "(…)"


class ClosedNote(msgspec.Struct, frozen=True):
    """That a month is closed: when, by whom, and the SHA-256 of what was frozen. `late` counts came to the month `of`
    after that was closed, and are in this one."""

    at_ms: int
    who: str
    sha256: str
    late_of: str
    late_visits: int
    late_views: int
    """In a report of royalties: the views that are due for articles that were published before this month."""


class ClosedBook(NamedTuple):
    """The frozen content of a month. It includes the late counts of the month that was closed before it."""

    note: ClosedNote
    visits: int
    views: int
    rows: list[Row]
    """The articles, the most read first. Their views of all time are not frozen."""
    days: int = 0
    """In a report of royalties: within how many days of publication views count."""
    since: int = 0
    """In the royalties of the month that was closed last: views that came after closing. They are due next month."""

    def groups(self, by: Grouping) -> list[Group]:
        """Return the sums of the articles of each author or category."""
        sums = Sums(by, within=False)
        sums.add(self.rows)
        return sums.sorted()

    def pages(self, asked: Range, by: Grouping | None, limit: int) -> Iterator[Page]:
        """Yield the articles in pieces, group by group if they are grouped; at least one piece."""
        rows = self.rows
        if by:

            def place(row: Row) -> tuple[bool, str, str]:
                name: str = getattr(row.entry, by)
                return not name, fold(name), name

            rows = sorted(rows, key=place)
        rows = rows[:limit]
        selection = Selection(self.note.at_ms, len(rows), sum(row.views for row in rows))
        for start in range(0, max(len(rows), 1), PIECE):
            yield Page(asked, None, selection, rows[start : start + PIECE], "", start)


def known_of_frozen(query: Query) -> Query:
    """Return a query with only those conditions that can be answered from frozen content."""
    return Query(
        period=query.period, first=query.first, last=query.last, author=query.author, category=query.category,
        limit=query.limit, sort=query.sort if query.sort in GROUPINGS else "views",
    )  # fmt: skip


def articles_of(rows: Iterable[ClosedRow]) -> list[Row]:
    """Return the articles with views in a month, or with late views of the month before, the most read first."""
    found = [Row(_entry(row), row.views + row.late) for row in rows if row.views + row.late]
    return sorted(found, key=lambda row: (-row.views, row.entry.key))


def royalties_of(rows: Iterable[ClosedRow]) -> list[Row]:
    """Return the articles of a month's royalties, those with the most due first."""
    found = [Row(_entry(row), row.due, row.royal, row.royal - row.due, row.due, row.days) for row in rows if row.days]
    return sorted(found, key=lambda row: (-row.views, row.entry.key))


def _entry(row: ClosedRow) -> Entry:
    return Entry(row.key, row.title, "", row.author, row.category, row.published)


class Sums:
    """Adds up the articles of a file by author or category, as their rows go by; at most MOST_GROUPS."""

    def __init__(self, by: Grouping, *, within: bool = True) -> None:
        self._by = by
        self._within = within
        self._found: dict[str, tuple[int, int]] = {}

    def add(self, rows: list[Row]) -> None:
        """Add the rows of some articles."""
        for row in rows:
            name: str = getattr(row.entry, self._by)
            if name not in self._found and len(self._found) >= MOST_GROUPS:
                name = OTHERS
            articles, views = self._found.get(name, (0, 0))
            self._found[name] = articles + 1, views + ((row.within or 0) if self._within else row.views)

    def sorted(self) -> list[Group]:
        """Return the groups, that with the most views first."""
        groups = [Group(name, *counts) for name, counts in self._found.items()]
        return sorted(groups, key=lambda group: (-group.views, -group.articles, not group.name, group.name))
