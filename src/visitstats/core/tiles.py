"""Tiles: the packed views per day of 4,096 articles in one month, at little more than a byte for an article's day.

An article has a number in its site, its place in the order of registration. Numbers `BLOCK` × n and up make block n; a
closed month of a block is one tile. A tile never changes: what is counted for its month later is kept beside it.

The form (version 1; little-endian, frozen, pinned by a test):

    head      version u8 · articles u16 · cells u32 · views u64 · CRC-32 of the columns u32
    columns   of bytes, one behind the other, all together compressed by zlib:
              of each article, ascending: how far its place in the block is from the one before (the first: from 0); on
              how many days it was read; its views in the month
              of each cell, by article and day: the day of the month (1 to 31); the views
    tail      (compressed with the columns) u64 of each distance, of each article's views, and of each cell's views that
              is 255 or more, in this order; 255 stands in its column

A cell is an article on a day on which it was read; a day without views has none. What a whole month sums up to is read
from the columns of the articles alone. Everything that is done for each cell runs in C (`itertools`, whole integers).
"""

import zlib
from array import array
from bisect import bisect_left
from calendar import monthrange
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, timedelta
from itertools import accumulate, chain, compress, islice, repeat
from operator import and_, ge, lshift, or_, rshift, sub
from struct import Struct
from struct import error as StructError
from typing import NamedTuple

import msgspec

from visitstats.core.errors import TileDamaged

VERSION = 1
BLOCK = 4096
"""Articles of a block. Smaller tiles pack worse; larger ones make the history of one article dearer."""
LEVEL = 6
"""The level of zlib. For a month of a million cells, level 1 gives 1.22 bytes a cell, 4 gives 1.13, 6 gives 1.07 and 9
gives 1.05; 6 takes 0.1 s, 9 five times as long. Places and views as u16 (no distances) gave 1.90 bytes."""
MOST_DAYS = 31
DAY_BITS = 5
"""A cell's name is its article's place in the block, shifted by these, and its day."""
MOST = (1 << 64) - 1

_HEAD = Struct("<BHIQI")
_LARGE = 0xFF
_BIG_ENDIAN = array("H", [1]).tobytes() != b"\1\0"


def cell(place: int, day: int) -> int:
    """Name the cell of an article (its place in the block) on a day of the month."""
    return place << DAY_BITS | day


def encode(cells: Mapping[int, int]) -> bytes:
    """Pack the cells (name → views) of one block and month. Raises ValueError for a cell that there cannot be."""
    names = sorted(cells)
    counts = list(map(cells.__getitem__, names))
    if names and not 0 <= names[0] <= names[-1] < BLOCK << DAY_BITS:
        raise ValueError(f"a block has the places 0 to {BLOCK - 1}")
    if names and not 0 < min(counts) <= sum(counts) <= MOST:
        raise ValueError("the views of a cell are 1 and more, and of all together less than 2^64")
    days = bytes(map(and_, names, repeat(MOST_DAYS)))
    if 0 in days:
        raise ValueError("a month has no day 0")
    days_of = Counter(map(rshift, names, repeat(DAY_BITS)))  # in the order of the names
    places, many = list(days_of), bytes(days_of.values())
    distances, sums = list(map(sub, places, chain((0,), places))), _sums(many, counts)
    tail = array("Q")
    for column in (distances, sums, counts):
        if max(column, default=0) >= _LARGE:
            tail.extend([n for n in column if n >= _LARGE])
    if _BIG_ENDIAN:
        tail.byteswap()
    columns = b"".join((_column(distances), many, _column(sums), days, _column(counts), tail.tobytes()))
    head = _HEAD.pack(VERSION, len(places), len(names), sum(counts), zlib.crc32(columns))
    return head + zlib.compress(columns, LEVEL)


class Head(NamedTuple):
    """What a tile says of itself, readable without unpacking it."""

    version: int
    articles: int
    cells: int
    views: int
    crc: int


def head_of(data: bytes) -> Head:
    """Read the head of a tile. Raises TileDamaged."""
    try:
        head = Head(*_HEAD.unpack_from(data))
    except StructError as error:
        raise TileDamaged(f"a tile of {len(data)} bytes is cut off") from error
    if head.version != VERSION:
        raise TileDamaged(f"a tile has version {head.version}, this program reads version {VERSION}")
    return head


class Tile:
    """A tile that was read. Raises TileDamaged for data that is no tile."""

    __slots__ = ("_counts", "_days", "_distances", "_large", "_many", "head", "sums")

    def __init__(self, data: bytes) -> None:
        self.head = head_of(data)
        articles, cells = self.head.articles, self.head.cells
        try:
            columns = zlib.decompress(memoryview(data)[_HEAD.size :])
        except zlib.error as error:
            raise TileDamaged(f"a tile cannot be unpacked: {error}") from error
        if zlib.crc32(columns) != self.head.crc:
            raise TileDamaged("the columns of a tile do not have the checksum that its head says")
        size = 3 * articles + 2 * cells
        distances, self._many, sums = (columns[n * articles : (n + 1) * articles] for n in range(3))
        self._days, self._counts = columns[3 * articles : size - cells], columns[size - cells : size]
        large = [each.count(_LARGE) for each in (distances, sums, self._counts)]
        if len(columns) != size + 8 * sum(large):
            raise TileDamaged(f"a tile of {articles} articles and {cells} cells has {len(columns)} bytes of columns")
        tail = array("Q", columns[size:])
        if _BIG_ENDIAN:
            tail.byteswap()
        rest = iter(tail)
        self._distances: Sequence[int] = _numbers(distances, rest)
        self.sums: Sequence[int] = _numbers(sums, rest)
        """The views of each article in the month."""
        self._large = tail[len(tail) - large[2] :]

    @property
    def places(self) -> list[int]:
        """The place of each article in the block, ascending."""
        return list(accumulate(self._distances))

    def views(self, first: int, last: int) -> Sequence[int]:
        """Return the views of each article on the days of the month from `first` to `last`, in the order of `places`; 0
        for one that was not read on them. For a whole month `sums` has them."""
        # 0xFF for the days that are asked for, and all cells in one integer: what is not asked for becomes 0.
        wanted = self._days.translate(bytes(0xFF if first <= day <= last else 0 for day in range(256)))
        masked = int.from_bytes(self._counts, "little") & int.from_bytes(wanted, "little")
        found = _sums(self._many, masked.to_bytes(len(wanted), "little"))
        if self._large:
            ends = list(accumulate(self._many))
            for at, n in zip(_all_large(self._counts), self._large, strict=True):
                if wanted[at]:
                    found[bisect_left(ends, at + 1)] += n - _LARGE
        return found

    def article(self, place: int) -> dict[int, int]:
        """Return the views of one article (its place in the block) by the day of the month; nothing if it was not
        read."""
        places = self.places
        row = bisect_left(places, place)
        if row == len(places) or places[row] != place:
            return {}
        start = sum(self._many[:row])
        end = start + self._many[row]
        rest = islice(self._large, self._counts.count(_LARGE, 0, start), None)
        return dict(zip(self._days[start:end], _numbers(self._counts[start:end], rest), strict=True))

    def cells(self) -> dict[int, int]:
        """Return all cells by their names, ascending: what `encode` was given."""
        places = chain.from_iterable(map(repeat, self.places, self._many))
        names = map(or_, map(lshift, places, repeat(DAY_BITS)), self._days)
        return dict(zip(names, _numbers(self._counts, iter(self._large)), strict=True))

    def trouble(self) -> str:
        """Say what is wrong within the tile: articles and days ascend, and its sums are those of its cells. Empty if it
        is right."""
        places, days, many = self.places, self._days, self._many
        if 0 in self._distances[1:] or max(places, default=0) >= BLOCK:
            return "its articles are not in order"
        if sum(many) != self.head.cells or 0 in many:
            return "its articles have other numbers of days than it has cells"
        # A day may only be followed by an earlier one where another article begins.
        steps_back = compress(range(1, len(days)), map(ge, days, islice(days, 1, None)))
        if not {*accumulate(many)}.issuperset(steps_back) or {*days} - {*range(1, MOST_DAYS + 1)}:
            return "its days are not in order"
        counts = _numbers(self._counts, iter(self._large))
        if 0 in counts or list(self.sums) != _sums(many, counts):
            return "the views of its articles are not those of their days"
        return "" if sum(self.sums) == self.head.views else "its views are not those of its articles"


def _sums(many: Iterable[int], counts: Iterable[int]) -> list[int]:
    """Sum up the counts of each article; `many` says how many counts each has."""
    running = list(accumulate(counts, initial=0))
    ends = list(map(running.__getitem__, accumulate(many, initial=0)))
    return list(map(sub, ends[1:], ends))


def _column(numbers: list[int]) -> bytes:
    if max(numbers, default=0) < _LARGE:
        return bytes(numbers)
    return bytes(map(min, numbers, repeat(_LARGE)))


def _numbers(column: bytes, tail: Iterator[int]) -> Sequence[int]:
    """Return the numbers of a column; the large ones are taken off the tail."""
    if _LARGE not in column:
        return column
    found = list(column)
    for at, n in zip(_all_large(column), tail, strict=False):
        found[at] = n
    return found


def _all_large(column: bytes) -> Iterator[int]:
    at = column.find(_LARGE)
    while at >= 0:
        yield at
        at = column.find(_LARGE, at + 1)


# A month as a whole ---------------------------------------------------------------------------------------------------


class Packed(msgspec.Struct, frozen=True, array_like=True):
    """The record of a packed month of a site. The layout is frozen: records are read back by later versions."""

    made_ms: int
    nonce: str
    """A random text; a month that is packed again gets another one."""
    tiles: int
    articles: int
    """Articles that were read in the month."""
    cells: int
    views: int
    days: tuple[int, ...]
    """The views of each day of the month, of all articles together."""
    crc: int
    """CRC-32 of all tiles, one behind the other in the order of their blocks."""


_decode_packed = msgspec.msgpack.Decoder(Packed).decode
encode_packed = msgspec.msgpack.Encoder().encode


def decode_packed(record: bytes) -> Packed:
    """Read the record of a packed month. Raises TileDamaged."""
    try:
        return _decode_packed(record)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise TileDamaged(f"the record of a packed month is damaged: {error}") from error


class Span(NamedTuple):
    """The part of a range of days that lies in one month."""

    month: str
    """As 2026-10."""
    first: int
    """Day of the month."""
    last: int
    whole: bool
    """Whether it is the whole month."""

    @property
    def dates(self) -> list[str]:
        """The dates of its days."""
        return [f"{self.month}-{day:02d}" for day in range(self.first, self.last + 1)]


def days_in(month: str) -> int:
    """Return how many days a month (2026-10) has."""
    return monthrange(int(month[:4]), int(month[5:7]))[1]


def whole_month(month: str) -> Span:
    """Return a month (2026-10) as a span."""
    return Span(month, 1, days_in(month), whole=True)


def spans(first: date, last: date) -> list[Span]:
    """Cut a range of days (both are in it) into months. Nothing when it ends before it begins."""
    found: list[Span] = []
    while first <= last:
        end = min(last, first.replace(day=monthrange(first.year, first.month)[1]))
        month = first.isoformat()[:7]
        found.append(Span(month, first.day, end.day, first.day == 1 and end.day == days_in(month)))
        if end == date.max:
            break
        first = end + timedelta(days=1)
    return found
