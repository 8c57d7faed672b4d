"""Views of closed months: of tiles, and of sums that the index keeps of them.

The index has, for the end of each quarter, the views of every article in all packed months before it. So a range of any
length is the difference of two of these, with at most a month and a part of one at each end, which are read from the
tiles. What is kept was made of certain tiles; when a month was packed again, it is made again.
"""

import sqlite3
import zlib
from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from datetime import date
from hashlib import blake2b
from operator import add, sub

from visitstats.core.ranges import Range
from visitstats.core.tiles import BLOCK, Span, Tile, days_in, spans, whole_month
from visitstats.reading.index import Index, Known
from visitstats.store.register import Register, State

RANGES = 2
"""Ranges that are remembered: the one of a list, and the one before it to compare with."""
STEP = 16
"""Blocks that are summed up at once."""
MANY = 64
"""Articles of a tile from which on it is cheaper to sum up all of it, for each of the days that they are asked for."""
Sign = int


class Closed:
    """Reads packed months. Methods raise StoreUnavailable, IndexUnavailable, `index.Damaged`, and `register.Repacked`
    when a month is packed otherwise than the index knows."""

    def __init__(self, index: Index, register: Register) -> None:
        self._index = index
        self._register = register
        self._kept: dict[tuple[object, ...], list[int]] = {}

    async def views(self, site: str, known: Known, asked: Range) -> list[int]:
        """Return the views of each article (by number) in the packed months of a range, each for itself, whatever it
        was merged into. Not to be changed."""
        state = known.state
        name = (known.sid, known.whole, _version(state, asked.last[:7]), asked.first, asked.last)
        found = self._kept.get(name)
        if found is None:
            found = await self._views(site, known, asked)
            while len(self._kept) >= RANGES:
                del self._kept[next(iter(self._kept))]
            self._kept[name] = found
        return found

    async def each(self, site: str, known: Known, asked: Sequence[tuple[int, Range]]) -> list[int]:
        """Return the views of each of these articles (numbers) in the packed months of its own range."""
        found = [0] * len(asked)
        wanted: dict[str, dict[int, list[tuple[int, int, Span]]]] = {}
        parts: dict[tuple[str, str], list[Span]] = {}
        for place, (number, days) in enumerate(asked):
            ends = days.first, days.last
            if ends not in parts:
                parts[ends] = packed_spans(known.state, days)
            for span in parts[ends]:
                blocks = wanted.setdefault(span.month, {})
                blocks.setdefault(number // BLOCK, []).append((place, number % BLOCK, span))
        for month, blocks in wanted.items():
            tiles = await self._register.tiles(site, month, known.state.packed[month].nonce, list(blocks))
            for block, tile in tiles.items():
                for place, n in _views_in(tile, blocks[block]):
                    found[place] += n
        return found

    async def sum_up(self, site: str, known: Known) -> None:
        """Have sums up to the end of every quarter whose months are over and packed, made of the tiles that there are
        now. Only under `Index.lock`."""
        state = known.state
        with self._index.reading() as connection:
            good = _made(connection, known, state)
            names = connection.execute("SELECT name FROM quarter WHERE sid = ?", (known.sid,)).fetchall()
        if bad := [name for (name,) in names if name not in good]:
            with self._index.writing() as connection:
                for quarter in bad:
                    connection.execute("DELETE FROM quarter WHERE sid = ? AND name = ?", (known.sid, quarter))
                    connection.execute("DELETE FROM sums WHERE sid = ? AND quarter = ?", (known.sid, quarter))
        for quarter in quarters(state):
            if quarter in good:
                continue
            before = max((name for name in good if name < quarter), default="")
            months = [month for month in state.packed if before < month <= quarter]
            await self._sum_quarter(site, known, state, before, quarter, months)
            with self._index.writing() as connection:
                connection.execute(
                    "INSERT OR REPLACE INTO quarter VALUES (?, ?, ?)",
                    (known.sid, quarter, _version(state, quarter)),
                )
            good.append(quarter)

    async def _sum_quarter(
        self, site: str, known: Known, state: State, before: str, quarter: str, months: list[str]
    ) -> None:
        blocks = range((known.whole + BLOCK - 1) // BLOCK)
        for first in range(0, len(blocks), STEP):
            piece = list(blocks[first : first + STEP])
            with self._index.reading() as connection:
                sums = _sums(connection, known.sid, before, piece)
            for month in months:
                tiles = await self._register.tiles(site, month, state.packed[month].nonce, piece)
                for block, tile in tiles.items():
                    column = sums.setdefault(block, array("Q", bytes(8 * BLOCK)))
                    for place, n in zip(tile.places, tile.sums, strict=True):
                        column[place] += n
            with self._index.writing() as connection:
                connection.executemany(
                    "INSERT OR REPLACE INTO sums VALUES (?, ?, ?, ?)",
                    [(known.sid, quarter, block, _packed(column)) for block, column in sums.items()],
                )

    async def _views(self, site: str, known: Known, asked: Range) -> list[int]:
        state = known.state
        found = [0] * (-(-known.whole // BLOCK) * BLOCK)
        months = packed_spans(state, asked)
        if not months:
            return found
        with self._index.reading() as connection:
            plus, minus, parts = plan(_made(connection, known, state), months, state)
            for quarter, merge in ((plus, add), (minus, sub)):
                for block, column in _sums(connection, known.sid, quarter, range(len(found) // BLOCK)).items():
                    rows = slice(block * BLOCK, (block + 1) * BLOCK)
                    found[rows] = map(merge, found[rows], column)
        blocks = list(range(len(found) // BLOCK))
        for span, sign in parts:
            for first in range(0, len(blocks), STEP):
                piece = blocks[first : first + STEP]
                tiles = await self._register.tiles(site, span.month, state.packed[span.month].nonce, piece)
                for block, tile in tiles.items():
                    start = block * BLOCK
                    for place, n in zip(tile.places, tile.views(span.first, span.last), strict=True):
                        found[start + place] += sign * n
        return found


def _views_in(tile: Tile, asked: list[tuple[int, int, Span]]) -> Iterator[tuple[int, int]]:
    """Yield of each of these (whatever it is, the article's place in the block, days) the views."""
    if len(asked) < MANY:
        for it, offset, span in asked:
            days = tile.article(offset)
            yield it, sum(n for day, n in days.items() if span.first <= day <= span.last)
        return
    rows = {offset: row for row, offset in enumerate(tile.places)}
    columns: dict[tuple[int, int], Sequence[int]] = {}
    for it, offset, span in asked:
        if (row := rows.get(offset)) is not None:
            days_of = span.first, span.last
            if days_of not in columns:
                columns[days_of] = tile.sums if span.whole else tile.views(*days_of)
            yield it, columns[days_of][row]


def plan(made: list[str], asked: list[Span], state: State) -> tuple[str, str, list[tuple[Span, Sign]]]:
    """Return how the packed months of a range (`asked`) are put together with the fewest tiles: the quarter up to whose
    end all is added, the one up to whose end all is taken away, and months or parts of them, added or taken away."""
    months = list(state.packed)

    def up_to(name: str) -> tuple[str, list[tuple[Span, Sign]]]:
        """All before a month: a quarter, with what lies between it and the month."""
        ways = [("", [(whole_month(month), 1) for month in months if month < name])]
        if place := bisect_left(made, name):
            quarter = made[place - 1]
            ways.append((quarter, [(whole_month(month), 1) for month in months if quarter < month < name]))
        if place < len(made):
            quarter = made[place]
            ways.append((quarter, [(whole_month(month), -1) for month in months if name <= month <= quarter]))
        return min(ways, key=lambda way: len(way[1]))

    def edge(span: Span, *, is_end: bool) -> tuple[str, list[tuple[Span, Sign]]]:
        """All before the end of a span, or before its beginning: before its month or behind it, and a part of it."""
        first, last = span.first, span.last
        within = Span(span.month, 1, last if is_end else first - 1, whole=False)
        rest = Span(span.month, within.last + 1, days_in(span.month), whole=False)
        ways = []
        for name, part, sign in ((span.month, within, 1), (_after(span.month), rest, -1)):
            quarter, parts = up_to(name)
            ways.append((quarter, [*parts, (part, sign)] if part.first <= part.last else parts))
        return min(ways, key=lambda way: len(way[1]))

    plus, added = edge(asked[-1], is_end=True)
    minus, taken = edge(asked[0], is_end=False)
    parts = [*added, *((span, -sign) for span, sign in taken)]
    if len(parts) >= len(asked):
        return "", "", [(span, 1) for span in asked]
    return plus, minus, parts


def packed_spans(state: State, asked: Range) -> list[Span]:
    """Return the parts of a range that lie in packed months."""
    months = state.packed
    if not months or asked.is_all:
        return []
    first, last = next(iter(months)) + "-01", next(reversed(months)) + "-31"
    if asked.last < first or asked.first > last:
        return []
    start, end = max(asked.first, first), min(asked.last, f"{last[:7]}-{days_in(last[:7])}")
    return [span for span in spans(date.fromisoformat(start), date.fromisoformat(end)) if span.month in months]


def quarters(state: State) -> list[str]:
    """Return the last months of the quarters that are over, as far as months are packed."""
    if not state.packed:
        return []
    first, last = next(iter(state.packed)), next(reversed(state.packed))
    found = []
    month = first
    while month <= last:
        if month[5:] in ("03", "06", "09", "12"):
            found.append(month)
        month = _after(month)
    return found


def _after(month: str) -> str:
    year, number = int(month[:4]), int(month[5:])
    return f"{year + number // 12:04d}-{number % 12 + 1:02d}"


def _version(state: State, last: str) -> bytes:
    """Return 8 bytes that are others when a month up to one of them is packed otherwise."""
    names = "".join(f"{month}{each.nonce} " for month, each in state.packed.items() if month <= last)
    return blake2b(names.encode(), digest_size=8).digest()


def _made(connection: sqlite3.Connection, known: Known, state: State) -> list[str]:
    """Return the quarters whose sums are of the tiles that there are now."""
    rows = connection.execute("SELECT name, made FROM quarter WHERE sid = ? ORDER BY name", (known.sid,))
    return [name for name, made in rows if made == _version(state, name)]


def _sums(connection: sqlite3.Connection, sid: int, quarter: str, blocks: Sequence[int]) -> dict[int, "array[int]"]:
    """Return the sums up to the end of a quarter of these blocks."""
    if not quarter or not blocks:
        return {}
    rows = connection.execute(
        "SELECT block, cells FROM sums WHERE sid = ? AND quarter = ? AND block BETWEEN ? AND ?",
        (sid, quarter, blocks[0], blocks[-1]),
    )
    found = {}
    try:
        for block, data in rows:
            column: array[int] = array(chr(data[0]))
            planes, size = zlib.decompress(memoryview(data)[1:]), column.itemsize
            whole = bytearray(len(planes))
            for n in range(size):
                whole[n::size] = planes[n * len(planes) // size : (n + 1) * len(planes) // size]
            column.frombytes(whole)
            found[block] = column
    except (zlib.error, ValueError, IndexError) as error:
        raise sqlite3.DatabaseError(f"malformed: a sum cannot be read: {error}") from error
    return found


def _packed(column: "array[int]") -> bytes:
    """Write sums for the file of this machine: all first bytes, all second bytes, and so on. So they take a quarter
    less, and a tenth of the time."""
    narrow = array("I" if max(column) < 1 << 32 else "Q", column)
    data, size = narrow.tobytes(), narrow.itemsize
    return narrow.typecode.encode() + zlib.compress(b"".join(data[n::size] for n in range(size)), 1)
