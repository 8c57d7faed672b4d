"""How the index of articles follows the store: a site is read whole once, then only what has changed.

A pass first reads the site's state (`store.register.State`). It then reads the articles with new numbers, the articles
whose entry was touched, the days whose views have changed, and the totals of the articles that changed on these days.
The state is recorded last, so that the pass after an interrupted one repeats its work. Data may be newer than the state
that was read before it; then the next pass reads it again. A store that was restored from an older copy is recognised
by other article numbers, or by fewer touches; then all of the site's articles are read again.
"""

import json
import logging
import secrets
import sqlite3
import zlib
from array import array
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import NamedTuple

import msgspec

from visitstats.core.keys import article_id
from visitstats.core.periods import Calendar
from visitstats.core.query import fold
from visitstats.reading.closed import Closed
from visitstats.reading.index import HIDDEN, INDEXES, MERGED, SHOWN, SITE_BITS, Index, Known, note, start
from visitstats.store import keys
from visitstats.store.changes import Changes
from visitstats.store.register import CORRECTED, ID, PAGE, Facts, Register, State

log = logging.getLogger(__name__)

TAIL = 4096
"""How many of the last known ids each pass compares with the store's, if it finds new ids or touches."""
CHUNK = 10 * PAGE
"""How many articles are written at once while a whole site is read."""
MANY = 50_000
"""From this many articles on, SQLite's indexes are made at the end, which is a third faster."""
ASKED = 500
"""How many parameters one SQLite statement gets."""
RECENT = 2
"""How many of the last days may still get counts while a whole site is read."""

_ROW = "INSERT OR REPLACE INTO article VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"


class Cells(NamedTuple):
    """The views of the articles of a day, by number."""

    numbers: "array[int]"
    counts: "array[int]"

    def packed(self) -> bytes:
        """Return the cells as bytes for this machine's index file."""
        return zlib.compress(self.numbers.tobytes() + self.counts.tobytes(), 1)


def cells_of(data: bytes) -> Cells:
    """Read the bytes that `Cells.packed` returned. Raises sqlite3.DatabaseError."""
    try:
        data = zlib.decompress(data)
        numbers, counts = array("I"), array("q")
        many = len(data) // (numbers.itemsize + counts.itemsize)
        numbers.frombytes(data[: many * numbers.itemsize])
        counts.frombytes(data[many * numbers.itemsize :])
        return Cells(numbers, counts)
    except (zlib.error, ValueError) as error:
        raise sqlite3.DatabaseError(f"malformed: a day cannot be read: {error}") from error


class Updater:
    """Brings sites up to date, under `Index.lock`. `clock` gives the moment in milliseconds. Methods raise
    StoreUnavailable, IndexUnavailable and `index.Damaged`."""

    def __init__(self, index: Index, register: Register, changes: Changes, clock: Callable[[], int]) -> None:
        self._index = index
        self._closed = Closed(index, register)
        self._register = register
        self._changes = changes
        self._clock = clock

    async def update(self, site: str, calendar: Calendar) -> Known:
        """Bring a site up to date, reading it whole if need be."""
        began = self._clock()
        state = await self._register.state(site)
        known = self._index.known(site)
        if known is None or not known.ready or not await self._is_same(site, known, state):
            known = await self._read_whole(site, calendar, state)
        elif known.state != state:
            known = await self._follow(site, calendar, known, state)
        after = self._clock()
        known = msgspec.structs.replace(known, passed_ms=began, cost_ms=max(after - began, 0))
        with self._index.writing() as connection:
            note(connection, known)
        # Lists are already answered meanwhile; lists of long ranges are slower until the sums are made.
        await self._closed.sum_up(site, known)
        return known

    # A whole site -----------------------------------------------------------------------------------------------------

    async def _read_whole(self, site: str, calendar: Calendar, state: State) -> Known:
        with self._index.writing() as connection:
            sid = start(connection, site, state.ids)
            is_first = connection.execute("SELECT 1 FROM article LIMIT 1").fetchone() is None
            if bare := is_first and state.ids >= MANY:
                for name in INDEXES:
                    connection.execute(f"DROP INDEX IF EXISTS {name}")
        try:
            tail = await self._read_numbers(site, sid, calendar, 0, state.ids, b"", frozenset())
        finally:
            if bare:
                with self._index.writing() as connection:
                    for name, what in INDEXES.items():
                        connection.execute(f"CREATE INDEX {name} ON {what}")
        known = Known(sid, False, state.ids, state.ids, 0, 0, 0, State(), tail, {})
        await self._read_aliases(site, known)
        months = await self._read_days(site, known, state)
        return msgspec.structs.replace(known, ready=True, version=secrets.randbits(62), state=state, months=months)

    async def _read_numbers(
        self, site: str, sid: int, calendar: Calendar, first: int, end: int, tail: bytes, merged: Collection[int]
    ) -> bytes:
        """Add the articles with these numbers to the index; return the last ids before `end`."""
        while first < end:
            ids = await self._register.ids(site, first, min(first + CHUNK, end))
            if not ids:
                break  # the list has become shorter; the next pass handles that
            articles = [ids[n : n + ID] for n in range(0, len(ids), ID)]
            facts = await self._register.facts(site, articles)
            with self._index.writing() as connection:
                words = _Words(connection, sid)
                places = [(_signed(article), sid, number) for number, article in enumerate(articles, first)]
                # If an id occurs twice, its first place is its number.
                connection.executemany("INSERT OR IGNORE INTO place VALUES (?, ?, ?)", sorted(places))
                taken = connection.execute(
                    "SELECT number FROM place WHERE sid = ? AND number >= ? AND id IN (SELECT value FROM json_each(?))",
                    (sid, first, json.dumps([article for article, _, _ in places])),
                )
                known = {number for (number,) in taken}
                back = [article for number, article in enumerate(articles, first) if number not in known]
                rows = [
                    _row(sid, number, fact, words, calendar, is_merged=article in merged)
                    for (article, _, number), fact in zip(places, facts, strict=True)
                    if number in known
                ]
                connection.executemany(_ROW, rows)
                connection.execute("UPDATE site SET done = ? WHERE sid = ?", (first + len(articles), sid))
            if back:
                # These articles had given their places back, and now have views again.
                await self._read_again(site, sid, calendar, self._numbers(sid, back), merged)
            tail = (tail + ids)[-TAIL * ID :]
            first += len(articles)
        return tail

    # What has changed -------------------------------------------------------------------------------------------------

    async def _is_same(self, site: str, known: Known, state: State) -> bool:
        """Return whether the store still has the articles that were read, under the same numbers."""
        if state.ids < known.whole:
            return False
        if state == known.state:
            return True
        end = known.whole
        return await self._register.ids(site, max(end - TAIL, 0), end) == known.tail

    async def _follow(self, site: str, calendar: Calendar, known: Known, state: State) -> Known:
        before = known.state
        if state.changes != before.changes:
            await self._read_aliases(site, known)
        with self._index.reading() as connection:
            merged = _merged(connection, known.sid)
        tail = await self._read_numbers(site, known.sid, calendar, known.whole, state.ids, known.tail, merged)
        known = msgspec.structs.replace(known, done=state.ids, whole=state.ids, tail=tail)
        if 0 <= state.touched - before.touched <= keys.MOST_TOUCHED:
            touched = await self._register.touched(site, before.touched, state.touched)
            numbers = self._numbers(known.sid, touched)
        else:
            with self._index.reading() as connection:
                found = connection.execute("SELECT id, number FROM place WHERE sid = ?", (known.sid,)).fetchall()
            numbers = {_bytes(article): number for article, number in found}
        await self._read_again(site, known.sid, calendar, numbers, merged)
        months = await self._read_days(site, known, state)
        return msgspec.structs.replace(known, version=secrets.randbits(62), state=state, months=months)

    async def _read_again(
        self, site: str, sid: int, calendar: Calendar, numbers: dict[bytes, int], merged: Collection[int]
    ) -> None:
        articles = list(numbers)
        for first in range(0, len(articles), CHUNK):
            piece = articles[first : first + CHUNK]
            facts = await self._register.facts(site, piece)
            with self._index.writing() as connection:
                words = _Words(connection, sid)
                rows = [
                    _row(sid, numbers[article], fact, words, calendar, is_merged=_signed(article) in merged)
                    for article, fact in zip(piece, facts, strict=True)
                ]
                connection.executemany(_ROW, rows)

    async def _read_aliases(self, site: str, known: Known) -> None:
        # Chains of merges are followed to their ends.
        wanted = {
            _signed(alias): _signed(article_id(key)) for alias, key in (await self._changes.aliases(site)).items()
        }
        with self._index.reading() as connection:
            had = dict(connection.execute("SELECT id, target FROM alias WHERE sid = ?", (known.sid,)).fetchall())
        others = {article for article in had.keys() | wanted.keys() if had.get(article) != wanted.get(article)}
        touched = (
            others | {had[each] for each in others & had.keys()} | {wanted[each] for each in others & wanted.keys()}
        )
        if not touched:
            return
        with self._index.writing() as connection:
            connection.execute("DELETE FROM alias WHERE sid = ?", (known.sid,))
            connection.executemany(
                "INSERT INTO alias VALUES (?, ?, ?)", [(known.sid, *pair) for pair in wanted.items()]
            )
            states = [(MERGED if each in wanted else SHOWN, each, known.sid) for each in others]
            connection.executemany(
                "UPDATE article SET state = ?"
                " WHERE at = (SELECT sid << 32 | number FROM place WHERE id = ? AND sid = ?)",
                states,
            )
        numbers = self._numbers(known.sid, map(_bytes, touched))
        totals = await self._register.totals(site, list(numbers))
        with self._index.writing() as connection:
            _set_totals(connection, known.sid, numbers.values(), totals)

    async def _read_days(self, site: str, known: Known, state: State) -> dict[str, dict[str, int]]:
        """Read the days whose views have changed, with the totals of the articles that have changed on them; return the
        views of all days by month."""
        had, have = known.state.years, state.years
        years = sorted({year.rstrip(CORRECTED) for year in {*had, *have} if had.get(year) != have.get(year)})
        found = await self._register.days(site, [f"{year}-{month:02d}" for year in years for month in range(1, 13)])
        months = {month: days for month, days in known.months.items() if month[:4] not in years}
        months |= {month: days for month, days in found.items() if days}
        was, now = _of_days(known.months), _of_days(months)
        changed = {date.rstrip(CORRECTED) for date in was.keys() | now.keys() if was.get(date) != now.get(date)}
        # Packed views are no longer in the hash of their day; counts that came later are in it.
        packed = {f"{month}-{day:02d}": n for month, each in state.packed.items() for day, n in enumerate(each.days, 1)}
        others = {
            month
            for month in {*known.state.packed, *state.packed}
            if _nonce(known.state, month) != _nonce(state, month)
        }
        wanted = changed | {date.rstrip(CORRECTED) for date in was.keys() | now.keys() if date[:7] in others}
        # Pruning can move views between articles without changing the sum of a day, so every open day is read again.
        is_pruned = state.pruned != known.state.pruned
        if is_pruned:
            wanted |= {date.rstrip(CORRECTED) for date in now if date[:7] not in state.packed}
        for number, date in enumerate(sorted(wanted), 1):
            # After reading a whole site, its totals are known except for counts that came during the read.
            with_totals = (date in changed or is_pruned) and (known.ready or number > len(wanted) - RECENT)
            is_there = now.get(date, 0) != packed.get(date, 0) or date + CORRECTED in now
            await self._read_day(site, known.sid, date, is_there=is_there, with_totals=with_totals)
        return months

    async def _read_day(self, site: str, sid: int, date: str, *, is_there: bool, with_totals: bool) -> None:
        counts = await self._register.day(site, date) if is_there else {}
        numbers = self._numbers(sid, counts)
        if lacking := counts.keys() - numbers.keys():
            counts = self._moved(sid, counts, lacking)
            numbers = self._numbers(sid, counts)
        with self._index.reading() as connection:
            row = connection.execute("SELECT cells FROM day WHERE sid = ? AND date = ?", (sid, date)).fetchone()
            before: dict[int, int] = dict(zip(*cells_of(row[0]), strict=True)) if row else {}
            changed = {article: number for article, number in numbers.items() if before.get(number) != counts[article]}
            if gone := before.keys() - set(numbers.values()):
                places = connection.execute("SELECT id, number FROM place WHERE sid = ?", (sid,))
                changed |= {_bytes(article): number for article, number in places if number in gone}
        totals = await self._register.totals(site, list(changed)) if with_totals else []
        ordered = sorted((number, counts[article]) for article, number in numbers.items())
        cells = Cells(array("I", [number for number, _ in ordered]), array("q", [n for _, n in ordered]))
        with self._index.writing() as connection:
            # Days and totals are written at once: changes are found by comparison with the old views of the day.
            if ordered:
                connection.execute(
                    "INSERT OR REPLACE INTO day VALUES (?, ?, ?, ?)", (sid, date, sum(cells.counts), cells.packed())
                )
            else:
                connection.execute("DELETE FROM day WHERE sid = ? AND date = ?", (sid, date))
            if with_totals:
                _set_totals(connection, sid, changed.values(), totals)

    def _moved(self, sid: int, counts: dict[bytes, int], lacking: Collection[bytes]) -> dict[bytes, int]:
        """Move the views of articles without a number to the articles that they were merged into."""
        with self._index.reading() as connection:
            targets = dict(connection.execute("SELECT id, target FROM alias WHERE sid = ?", (sid,)).fetchall())
        found = dict(counts)
        for article in lacking:
            if target := targets.get(_signed(article)):
                found[_bytes(target)] = found.get(_bytes(target), 0) + found.pop(article)
        return found

    def _numbers(self, sid: int, articles: Iterable[bytes]) -> dict[bytes, int]:
        """Return the numbers of these articles (ids), leaving out articles without one."""
        found: dict[bytes, int] = {}
        with self._index.reading() as connection:
            for piece in _pieces(list(map(_signed, articles))):
                found |= {
                    _bytes(article): number
                    for article, number in connection.execute(
                        f"SELECT id, number FROM place WHERE sid = ? AND id IN ({','.join('?' * len(piece))})",  # noqa: S608
                        (sid, *piece),
                    )
                }
        return found


class _Words:
    """Looks up the numbers of words, and numbers new words when they are first used."""

    def __init__(self, connection: sqlite3.Connection, sid: int) -> None:
        self._connection = connection
        self._sid = sid
        self._known: dict[tuple[str, str], int] = {}

    def number(self, kind: str, text: str) -> int | None:
        if not text:
            return None
        found = self._known.get((kind, text))
        if found is None:
            connection, place = self._connection, (self._sid, kind, text)
            connection.execute(
                "INSERT OR IGNORE INTO word (sid, kind, text, folded) VALUES (?, ?, ?, ?)", (*place, fold(text))
            )
            [found] = connection.execute(
                "SELECT id FROM word WHERE sid = ? AND kind = ? AND text = ?", place
            ).fetchone()
            self._known[kind, text] = found
        return found


def _row(
    sid: int, number: int, facts: Facts, words: _Words, calendar: Calendar, *, is_merged: bool = False
) -> tuple[int | str | None, ...]:
    entry, total = facts.entry, facts.total or 0
    at = sid << SITE_BITS | number
    if entry is None:
        is_gone = is_merged or facts.total is None  # it has given its place back
        return (at, sid, MERGED if is_gone else SHOWN, total, None, None, None, None, "", None)
    moment = calendar.moment(entry.published) if entry.published else None
    return (
        at,
        sid,
        MERGED if is_merged else HIDDEN if entry.hidden else SHOWN,
        total,
        words.number("author", entry.author),
        words.number("category", entry.category),
        words.number("type", entry.type),
        None if moment is None else moment // 1000,
        fold(entry.title),
        entry.key,
    )


def _set_totals(connection: sqlite3.Connection, sid: int, numbers: Iterable[int], totals: Iterable[int | None]) -> None:
    connection.executemany(
        "UPDATE article SET total = ? WHERE at = ? AND total <> ?",
        [(total or 0, sid << SITE_BITS | number, total or 0) for number, total in zip(numbers, totals, strict=True)],
    )


def _of_days(months: dict[str, dict[str, int]]) -> dict[str, int]:
    return {date: n for days in months.values() for date, n in days.items()}


def _nonce(state: State, month: str) -> str:
    return state.packed[month].nonce if month in state.packed else ""


def _merged(connection: sqlite3.Connection, sid: int) -> set[int]:
    return {article for (article,) in connection.execute("SELECT id FROM alias WHERE sid = ?", (sid,))}


def _pieces(items: list[int]) -> Iterator[list[int]]:
    return (items[start : start + ASKED] for start in range(0, len(items), ASKED))


def _signed(article: bytes) -> int:
    return int.from_bytes(article, "big", signed=True)


def _bytes(article: int) -> bytes:
    return article.to_bytes(8, "big", signed=True)
