"""Views of packed months, from their tiles and from sums of tiles that the index keeps.

The index has, for the end of each quarter, the views of every article in all packed months before it. So a range of any
length is the difference of two of these sums, corrected at each end by at most a month and a part of one, which are
read from the tiles. Each sum records the tiles that it was made from; when a month is packed again, it is made again.
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
"""How many ranges are remembered: the range of a list, and the range before it to compare with."""
STEP = 16
"""How many blocks are summed up at once."""
MANY = 64
"""From this many requested articles on, it is cheaper to sum up the whole tile, once for each distinct span of days."""
Sign = int


class Closed:
    """Reads packed months. Methods raise StoreUnavailable, IndexUnavailable, `index.Damaged`, and `register.Repacked`
    when a month was packed again since the index read it."""

    def __init__(self, index: Index, register: Register) -> None:
        self._index = index
        self._register = register
        self._kept: dict[tuple[object, ...], list[int]] = {}

    async def views(self, site: str, known: Known, asked: Range) -> list[int]:
        """Return the views of each article (by number) in the packed months of a range. Views of a merged article are
        not added to the other one. Callers must not change the list."""
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
        """Make the sums up to the end of every quarter whose months are over and packed, from the current tiles. Call
        it only under `Index.lock`."""
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
    """Yield the views of each request. A request is a caller's own number, which is yielded with the views, the
    article's place in the block, and the days."""
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
    """Return how to compute the packed months of a range (`asked`) from the fewest tiles: the quarter whose sums are
    added, the quarter whose sums are subtracted, and months or parts of months to add or subtract."""
    months = list(state.packed)

    def up_to(name: str) -> tuple[str, list[tuple[Span, Sign]]]:
        """Cover everything before a month: a quarter's sums, and the months between its end and the month."""
        ways = [("", [(whole_month(month), 1) for month in months if month < name])]
        if place := bisect_left(made, name):
            quarter = made[place - 1]
            ways.append((quarter, [(whole_month(month), 1) for month in months if quarter < month < name]))
        if place < len(made):
            quarter = made[place]
            ways.append((quarter, [(whole_month(month), -1) for month in months if name <= month <= quarter]))
        return min(ways, key=lambda way: len(way[1]))

    def edge(span: Span, *, is_end: bool) -> tuple[str, list[tuple[Span, Sign]]]:
        """Cover everything up to the end of a span, or before its beginning: start from the sums before its month and
        add a part of the month, or from the sums after its month and subtract the rest of it."""
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
    """Return the last month of each quarter that is over and packed."""
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
    """Return 8 bytes that change whenever a month up to `last` is packed again."""
    names = "".join(f"{month}{each.nonce} " for month, each in state.packed.items() if month <= last)
    return blake2b(names.encode(), digest_size=8).digest()


def _made(connection: sqlite3.Connection, known: Known, state: State) -> list[str]:
    """Return the quarters whose sums were made from the current tiles."""
    rows = connection.execute("SELECT name, made FROM quarter WHERE sid = ? ORDER BY name", (known.sid,))
    return [name for name, made in rows if made == _version(state, name)]


def _sums(connection: sqlite3.Connection, sid: int, quarter: str, blocks: Sequence[int]) -> dict[int, "array[int]"]:
    """Return the sums of these blocks up to the end of a quarter."""
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
    """Compress sums for this machine's index file: all first bytes, then all second bytes, and so on. In this order
    they take a quarter less space, and a tenth of the time."""
    narrow = array("I" if max(column) < 1 << 32 else "Q", column)
    data, size = narrow.tobytes(), narrow.itemsize
    return narrow.typecode.encode() + zlib.compress(b"".join(data[n::size] for n in range(size)), 1)
