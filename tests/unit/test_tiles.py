"""A tile gives back exactly what was packed, and whatever is no tile is refused with one clear error."""

from __future__ import annotations

import struct
import zlib
from collections import Counter
from datetime import date, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from visitstats.core import tiles
from visitstats.core.errors import TileDamaged
from visitstats.core.tiles import BLOCK, Packed, Span, Tile, cell, days_in, encode, spans, whole_month

views = st.one_of(
    st.integers(1, 3), st.sampled_from([1, 254, 255, 256, 65_534, 65_535, 65_536, 2**32, 2**53]), st.integers(1, 300)
)
places = st.one_of(st.integers(0, BLOCK - 1), st.integers(0, 12), st.sampled_from([0, 254, 255, 256, BLOCK - 1]))
histories = st.dictionaries(places, st.dictionaries(st.integers(1, 31), views, min_size=1, max_size=31), max_size=30)
"""Place → day of the month → views: what a tile is a packed form of."""
ALL_DAYS = {0: dict.fromkeys(range(1, 32), 255), 4095: {31: 65_535}}


def packed(history: dict[int, dict[int, int]]) -> bytes:
    """Pack a history, its cells in no particular order."""
    return encode({cell(place, day): n for place, days in reversed(history.items()) for day, n in days.items()})


@given(histories, st.integers(1, 31), st.integers(1, 31))
@example({}, 1, 31)
@example({7: {1: 1}}, 1, 1)
@example(ALL_DAYS, 2, 31)
@example({n: {1 + n % 31: 1 + n} for n in range(BLOCK)}, 5, 25)
def test_a_tile_gives_back_what_was_packed(history: dict[int, dict[int, int]], first: int, last: int) -> None:
    """All cells, each article's days, and the views of any days, as plain sums over the history say."""
    tile = Tile(packed(history))
    assert tile.places == sorted(history)
    assert tile.cells() == {cell(place, day): n for place, days in history.items() for day, n in days.items()}
    assert list(tile.sums) == [sum(history[place].values()) for place in sorted(history)]
    expected = [sum(n for day, n in history[place].items() if first <= day <= last) for place in sorted(history)]
    assert list(tile.views(first, last)) == expected
    assert all(tile.article(place) == days for place, days in history.items())
    assert all(tile.article(place) == {} for place in (0, 1, 13, 2000, BLOCK - 1) if place not in history)
    assert tile.trouble() == ""
    head = tile.head
    assert (head.articles, head.cells) == (len(history), sum(map(len, history.values())))
    assert head.views == sum(sum(days.values()) for days in history.values())


def test_the_form_is_frozen() -> None:
    """Later versions read the tiles of this one: head, columns and tail by hand."""
    data = encode({cell(3, 1): 1, cell(3, 31): 2, cell(300, 5): 70_000, cell(301, 5): 255})
    columns = bytes([3, 255, 1, 2, 1, 1, 3, 255, 255, 1, 31, 5, 5, 1, 2, 255, 255])
    columns += struct.pack("<5Q", 297, 70_000, 255, 70_000, 255)
    assert data[:19] == struct.pack("<BHIQI", 1, 3, 4, 70_258, zlib.crc32(columns))
    assert zlib.decompress(data[19:]) == columns
    assert encode({}) == struct.pack("<BHIQI", 1, 0, 0, 0, 0) + zlib.compress(b"", tiles.LEVEL)


def test_the_record_of_a_packed_month_is_frozen() -> None:
    record = Packed(5, "ab", 2, 3, 4, 70_258, (1, 2), 0xFFFFFFFF)
    assert tiles.encode_packed(record).hex() == "9805a2616202030" + "4ce00011272920102ceffffffff"
    assert tiles.decode_packed(tiles.encode_packed(record)) == record
    with pytest.raises(TileDamaged, match="record of a packed month"):
        tiles.decode_packed(b"\x98\x05")


@pytest.mark.parametrize(
    "cells",
    [{cell(0, 0): 1}, {cell(BLOCK, 1): 1}, {-1: 1}, {cell(0, 1): 0}, {cell(0, 1): -1}, {33: 2**63, 34: 2**63}],
    ids=["day 0", "place", "below 0", "no views", "fewer than none", "too many views"],
)
def test_cells_that_there_cannot_be_are_refused(cells: dict[int, int]) -> None:
    with pytest.raises(ValueError, match=r"block|day|views"):
        encode(cells)


@given(histories, st.data())
def test_a_tile_that_was_altered_anywhere_is_refused_or_says_so(
    history: dict[int, dict[int, int]], data: st.DataObject
) -> None:
    """One byte that is another, or some that are missing: the tile is refused, or disagrees with itself, or the byte
    does not matter, as some of zlib's do not."""
    whole = packed(history)
    at = data.draw(st.integers(0, len(whole) - 1))
    for damaged in (whole[:at], whole[:at] + bytes([whole[at] ^ data.draw(st.integers(1, 255))]) + whole[at + 1 :]):
        try:
            tile = Tile(damaged)
        except TileDamaged:
            continue
        assert tile.trouble() or tile.cells() == Tile(whole).cells()


@pytest.mark.parametrize(
    ("columns", "articles", "cells", "what"),
    [
        (bytes([1, 0, 1, 1, 1, 1, 1, 1, 1, 1]), 2, 2, "articles are not in order"),
        (bytes([1, 2, 1, 1, 1]), 1, 1, "numbers of days"),
        (bytes([1, 2, 3, 5, 5, 1, 2]), 1, 2, "days are not in order"),
        (bytes([1, 1, 1, 32, 1]), 1, 1, "days are not in order"),
        (bytes([1, 2, 4, 5, 6, 1, 2]), 1, 2, "those of their days"),
        (bytes([1, 2, 2, 5, 6, 0, 2]), 1, 2, "those of their days"),
    ],
)
def test_a_tile_that_does_not_agree_with_itself_says_so(columns: bytes, articles: int, cells: int, what: str) -> None:
    """With a right checksum: what a program with a mistake would have written."""
    head = struct.pack("<BHIQI", 1, articles, cells, 3, zlib.crc32(columns))
    assert what in Tile(head + zlib.compress(columns)).trouble()


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "0 bytes is cut off"),
        (b"\x02" + bytes(18), "version 2"),
        (struct.pack("<BHIQI", 1, 0, 0, 0, 0) + b"no zlib", "cannot be unpacked"),
        (struct.pack("<BHIQI", 1, 0, 0, 0, 5) + zlib.compress(b""), "checksum"),
        (struct.pack("<BHIQI", 1, 1, 1, 1, zlib.crc32(b"1")) + zlib.compress(b"1"), "1 bytes of columns"),
    ],
)
def test_what_is_no_tile_is_refused(data: bytes, what: str) -> None:
    with pytest.raises(TileDamaged, match=what):
        Tile(data)


@given(st.dates(date(1999, 12, 1), date(2031, 1, 31)), st.integers(0, 800))
def test_a_range_of_days_is_cut_into_months(first: date, many: int) -> None:
    """Each day is in one of them, in order, and whole months are known as such."""
    days = [(first + timedelta(days=n)).isoformat() for n in range(many)]
    found = spans(first, first + timedelta(days=many - 1))
    assert [day for span in found for day in span.dates] == days
    months = Counter(day[:7] for day in days)
    assert [(span.month, span.whole) for span in found] == [(month, n == days_in(month)) for month, n in months.items()]


def test_a_range_may_end_where_dates_end() -> None:
    assert spans(date(9999, 12, 31), date.max) == [Span("9999-12", 31, 31, whole=False)]
    assert spans(date(2026, 2, 2), date(2026, 2, 1)) == []
    assert whole_month("2024-02") == Span("2024-02", 1, 29, whole=True)
