"""Views of all articles of a site within a range of days as the index has them: for orders and the sums of lists."""

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
        """Return the views of each article by number; those of a merged one are the other's. Not to be changed."""
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
    """Return the numbers of merged articles with those of the articles that they were merged into in the end."""
    return connection.execute(
        "SELECT old.number, new.number FROM alias JOIN place AS old ON old.id = alias.id AND old.sid = alias.sid"
        " JOIN place AS new ON new.id = alias.target AND new.sid = alias.sid WHERE alias.sid = ?",
        (sid,),
    ).fetchall()
