"""Orders of articles: the articles that a query selects, sorted, as the index had them at one moment.

An order is a small file (4 bytes for each article) that is kept for KEPT_SECONDS after its last page, so that all
workers of a machine read the pages of one list from it, at any depth, while counts move. Its name follows from the
query and from the state of the index, so that the same query gets the same order until something changes.
"""

import os
import secrets
import sqlite3
import struct
import sys
import time
from array import array
from collections.abc import Iterable
from contextlib import suppress
from hashlib import blake2b
from itertools import chain, compress
from pathlib import Path
from typing import NamedTuple

from visitstats.core.keys import article_id
from visitstats.core.periods import Calendar
from visitstats.core.query import Query, Selection, fold
from visitstats.core.ranges import Range
from visitstats.reading.closed import Closed
from visitstats.reading.groups import Group, Grouping, Where, grouped, in_groups
from visitstats.reading.index import SITE_BITS, Index, IndexUnavailable, Known
from visitstats.reading.range_sums import Sums
from visitstats.system.files import CREATE

KEPT_SECONDS = 900
MOST_FILES = 64
"""How many orders are kept at most. With a million articles each, they take 256 MB."""
NAME = 8
_HEAD = struct.Struct("<4sQQQ")
_MAGIC = b"vso1"
_NUMBER = (1 << SITE_BITS) - 1
_SORTED = {"total": "total", "title": "title", "published": "published"}


class Order(NamedTuple):
    """An order that is kept."""

    name: bytes
    selection: Selection
    path: Path

    def numbers(self, first: int, many: int) -> list[int]:
        """Return the numbers of `many` articles from the place `first` on; fewer at the end."""
        try:
            with self.path.open("rb") as file:
                file.seek(_HEAD.size + 4 * first)
                data = file.read(4 * many)
        except OSError as error:
            raise IndexUnavailable(f"the order of a list cannot be read: {error}") from error
        return list(array("I", data[: len(data) // 4 * 4]))

    def place_behind(self, number: int, otherwise: int) -> int:
        """Return the place behind an article, or `otherwise` if the article is not in the order."""
        try:
            return array("I", self.numbers(0, self.selection.articles)).index(number) + 1
        except ValueError:
            return min(otherwise, self.selection.articles)


class Orders:
    """Makes orders, and finds them again. Methods raise IndexUnavailable and `index.Damaged`."""

    def __init__(self, index: Index, closed: Closed) -> None:
        self._index = index
        self._sums = Sums(index, closed)

    def find(self, name: bytes) -> Order | None:
        """Return an order that is still kept."""
        path = self._index.orders / name.hex()
        try:
            with path.open("rb") as file:
                magic, at_ms, articles, views = _HEAD.unpack(file.read(_HEAD.size))
                if magic != _MAGIC or os.fstat(file.fileno()).st_size != _HEAD.size + 4 * articles:
                    return None
            os.utime(path)
        except (OSError, struct.error):
            return None
        return Order(name, Selection(at_ms, articles, views), path)

    async def order(self, site: str, known: Known, calendar: Calendar, query: Query, asked: Range) -> Order:
        """Return the order of a query as the index has it now."""
        name = blake2b(query.digest(site, asked) + b"%d:%d" % (known.sid, known.version), digest_size=NAME).digest()
        if found := self.find(name):
            # Nothing has changed since this order was made, so it is still current.
            return found._replace(selection=Selection(known.passed_ms, found.selection.articles, found.selection.views))
        sums = [] if asked.is_all else await self._sums.views(site, known, asked)
        with self._index.reading() as connection:
            numbers, views = self._select(connection, known, calendar, query, asked, sums)
        selection = Selection(known.passed_ms, len(numbers), views)
        return Order(name, selection, self._keep(name, selection, numbers))

    async def top(self, site: str, known: Known, asked: Range, limit: int) -> list[int]:
        """Return the numbers of the most read articles of a range, without keeping an order."""
        sums = [] if asked.is_all else await self._sums.views(site, known, asked)
        with self._index.reading() as connection:
            if asked.is_all:
                rows = connection.execute(
                    "SELECT at FROM article WHERE sid = ? AND state = 0 AND total > 0"
                    " ORDER BY total DESC, at DESC LIMIT ?",
                    (known.sid, limit),
                ).fetchall()
                return [at & _NUMBER for (at,) in rows]
            query = Query(limit=limit)
            numbers, _ = _in_range(connection, known, query, sums, *_conditions(connection, known, None, query))
        return numbers[:limit]

    async def groups(
        self, site: str, known: Known, calendar: Calendar, query: Query, asked: Range, by: Grouping
    ) -> list[Group]:
        """Return the sums of the articles of each author or category."""
        sums = None if asked.is_all else await self._sums.views(site, known, asked)
        with self._index.reading() as connection:
            return grouped(connection, known, by, query, Where(*_conditions(connection, known, calendar, query)), sums)

    def labels(self, known: Known, kind: str, text: str, limit: int) -> list[str]:
        """Return the names of the authors, categories or types (`kind`) of listed articles, from A to Z. Only names
        that contain a text are returned; case and tone marks are ignored."""
        # There is no index of types, and there are few of them.
        used = "" if kind == "type" else f"AND EXISTS (SELECT 1 FROM article WHERE {kind} = word.id AND state = 0)"  # noqa: S608
        query = "SELECT text FROM word WHERE sid = ? AND kind = ? AND (? = '' OR instr(folded, ?)) "
        with self._index.reading() as connection:
            rows = connection.execute(
                f"{query} {used} ORDER BY folded, text LIMIT ?", (known.sid, kind, fold(text), fold(text), limit)
            )
            return [label for (label,) in rows]

    def numbered(self, known: Known, key: str) -> int | None:
        """Return the number of an article by its key. A merged article has the number of the one it was merged into."""
        with self._index.reading() as connection:
            return next(iter(_named(connection, known.sid, (key,))), None)

    def published(self, known: Known, numbers: list[int]) -> dict[int, int]:
        """Return the times of publication (in ms) of those articles whose time can be parsed."""
        places = ",".join(str(known.sid << SITE_BITS | number) for number in numbers)
        with self._index.reading() as connection:
            rows = connection.execute(
                f"SELECT at, published FROM article WHERE at IN ({places}) AND published IS NOT NULL"  # noqa: S608
            )
            return {at & _NUMBER: published * 1000 for at, published in rows}

    def _select(
        self,
        connection: sqlite3.Connection,
        known: Known,
        calendar: Calendar,
        query: Query,
        asked: Range,
        sums: list[int],
    ) -> tuple[list[int], int]:
        """Return the numbers in their order, and the views of all of them together."""
        where, values = _conditions(connection, known, calendar, query)
        if query.sort == "author" or query.sort == "category":
            found = None if asked.is_all else sums
            return in_groups(connection, known, query.sort, query, Where(where, values), found)
        if not asked.is_all:
            return _in_range(connection, known, query, sums, where, values)
        direction = "DESC" if query.descends else "ASC"
        by = _SORTED.get(query.sort, "total")
        values.append(query.least)
        [views] = connection.execute(f"SELECT sum(total) FROM article WHERE {where} AND total >= ?", values).fetchone()  # noqa: S608
        rows = connection.execute(
            f"SELECT at FROM article WHERE {where} AND total >= ? ORDER BY {by} {direction}, at {direction}",  # noqa: S608
            values,
        )
        return _numbers(rows), views or 0

    def _keep(self, name: bytes, selection: Selection, numbers: list[int]) -> Path:
        folder = self._index.orders
        path, fresh = folder / name.hex(), folder / f"{secrets.token_hex(8)}.new"
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._forget(folder)
            with open(os.open(fresh, os.O_WRONLY | os.O_EXCL | CREATE, 0o600), "wb") as file:
                file.write(_HEAD.pack(_MAGIC, selection.at_ms, selection.articles, selection.views))
                file.write(array("I", numbers).tobytes())
            fresh.replace(path)
        except OSError as error:
            with suppress(OSError):
                fresh.unlink()
            raise IndexUnavailable(f"the order of a list cannot be kept: {error}") from error
        return path

    def _forget(self, folder: Path) -> None:
        found = []
        for path in folder.iterdir():
            with suppress(OSError):  # another worker was faster
                found.append((path.stat().st_mtime, path))
        found.sort()
        # The ages of files follow the clock of the file system, so this is not the service's clock.
        limit = time.time() - KEPT_SECONDS
        for number, (moment, path) in enumerate(found):
            if moment < limit or number <= len(found) - MOST_FILES:
                with suppress(OSError):
                    path.unlink()


_PLAIN = "sid = ? AND state = 0"


def _in_range(
    connection: sqlite3.Connection, known: Known, query: Query, views: list[int], where: str,
    values: list[object],
) -> tuple[list[int], int]:  # fmt: skip
    direction = "DESC" if query.descends else "ASC"
    numbers: list[int]
    if query.sort == "views" and query.least and where == _PLAIN:
        # Most articles have no views in a range. Those that do are found without reading the table of articles.
        away = connection.execute("SELECT at FROM article WHERE sid = ? AND state <> 0", (known.sid,))
        hidden = {at & _NUMBER for (at,) in away}
        numbers = list(compress(range(len(views)), views))
        if hidden:
            numbers = [number for number in numbers if number not in hidden]
    else:
        by = f"{_SORTED[query.sort]} {direction}, at {direction}" if query.sort != "views" else "at"
        numbers = _numbers(connection.execute(f"SELECT at FROM article WHERE {where} ORDER BY {by}", values))  # noqa: S608
    if query.least > 1 or (query.least and where != _PLAIN) or query.sort != "views":
        numbers = [number for number in numbers if views[number] >= query.least]
    if query.sort == "views":
        numbers.sort(key=views.__getitem__)
        if query.descends:
            numbers.reverse()
    return numbers, sum(map(views.__getitem__, numbers))


def _numbers(rows: Iterable[tuple[int]]) -> list[int]:
    """Return the article numbers of rows: the lower 32 bits of `at`. Takes 0.3 µs each, most of it in SQLite."""
    places = array("I", array("q", chain.from_iterable(rows)).tobytes())
    return places[sys.byteorder != "little" :: 2].tolist()


def _conditions(
    connection: sqlite3.Connection, known: Known, calendar: Calendar | None, query: Query
) -> tuple[str, list[object]]:
    """Return the conditions of a query, except those on views, with their values."""
    by_word = [(kind, getattr(query, kind)) for kind in ("author", "category", "type") if getattr(query, kind)]
    # A word's number belongs to one site, so SQLite should use the index on words ("+" keeps it from the site's).
    parts = ["+sid = ?" if by_word else "sid = ?", "state < 2" if query.hidden else "state = 0"]
    values: list[object] = [known.sid]
    for kind, text in by_word:
        words = _words(connection, known.sid, kind, text)
        parts.append(f"{kind} IN ({','.join(map(str, words)) or 'NULL'})")
    if query.title:
        parts.append("instr(title, ?)")
        values.append(fold(query.title))
    if query.key_contains:
        parts.append("key LIKE ? ESCAPE '\\'")
        values.append(_like(query.key_contains))
    if query.text:
        parts.append("(instr(title, ?) OR key LIKE ? ESCAPE '\\')")
        values += [fold(query.text), _like(query.text)]
    if query.prefix:
        parts.append("substr(key, 1, ?) = ?")
        values += [len(query.prefix), query.prefix]
    if calendar is not None and query.published_first:
        parts.append("published >= ?")
        values.append(calendar.day_named(query.published_first).start_ms // 1000)
    if calendar is not None and query.published_last:
        parts.append("published < ?")
        values.append(calendar.day_named(query.published_last).end_ms // 1000)
    if query.keys:
        numbers = _named(connection, known.sid, query.keys)
        parts.append(f"at IN ({','.join(str(known.sid << SITE_BITS | number) for number in numbers) or 'NULL'})")
    return " AND ".join(parts), values


def _words(connection: sqlite3.Connection, sid: int, kind: str, text: str) -> list[int]:
    """Return the numbers of the words that equal a text; if there are none, of those that equal it when case and tone
    marks are ignored."""
    for column, value in (("text", text), ("folded", fold(text))):
        rows = connection.execute(
            f"SELECT id FROM word WHERE sid = ? AND kind = ? AND {column} = ?",  # noqa: S608
            (sid, kind, value),
        ).fetchall()
        if rows:
            return [number for (number,) in rows]
    return []


def _named(connection: sqlite3.Connection, sid: int, keys: tuple[str, ...]) -> list[int]:
    """Return the numbers of articles by their keys. A merged article has the number of the one it was merged into."""
    found = set()
    for key in keys:
        article = int.from_bytes(article_id(key), "big", signed=True)
        row = connection.execute("SELECT target FROM alias WHERE sid = ? AND id = ?", (sid, article)).fetchone()
        row = connection.execute(
            "SELECT number FROM place WHERE sid = ? AND id = ?", (sid, row[0] if row else article)
        ).fetchone()
        if row:
            found.add(row[0])
    return sorted(found)


def _like(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"
