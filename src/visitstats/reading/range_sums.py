"""Views of all articles of a site within a range of days, from the index. Orders and the sums of lists use them."""

import sqlite3

from visitstats.core.ranges import Range
from visitstats.reading.closed import Closed
from visitstats.reading.index import Index, Known
from visitstats.reading.index_build import cells_of


class Sums:
    """Sums up ranges, and keeps the last one: a list is filtered and sorted in several ways one after the other.
    Methods raise what `Closed` does."""

    def __init__(self, index: Index, closed: Closed) -> None:
        self._index = index
        self._closed = closed
        self._name: tuple[object, ...] = ()
        self._found: list[int] = []

    async def views(self, site: str, known: Known, asked: Range) -> list[int]:
        """Return the views by article number. Views of a merged article count for the article that it was merged into.
        Callers must not change the list."""
        name = (known.sid, known.version, asked.first, asked.last)
        if self._name != name:
            found = list(await self._closed.views(site, known, asked))
            with self._index.reading() as connection:
                days = connection.execute(
                    "SELECT cells FROM day WHERE sid = ? AND date BETWEEN ? AND ?",
                    (known.sid, asked.first, asked.last),
                )
                for (data,) in days:
                    numbers, counts = cells_of(data)
                    for number, n in zip(numbers, counts, strict=True):
                        found[number] += n
                for alias, target in _targets(connection, known.sid):
                    found[target] += found[alias]
                    found[alias] = 0
            self._name, self._found = name, found
        return self._found


def _targets(connection: sqlite3.Connection, sid: int) -> list[tuple[int, int]]:
    """Return the numbers of merged articles, each with the number of the article that it was finally merged into."""
    return connection.execute(
        "SELECT old.number, new.number FROM alias JOIN place AS old ON old.id = alias.id AND old.sid = alias.sid"
        " JOIN place AS new ON new.id = alias.target AND new.sid = alias.sid WHERE alias.sid = ?",
        (sid,),
    ).fetchall()
