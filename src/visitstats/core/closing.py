"""A closed period: what is frozen of it, and how it is written down, byte for byte.

What is frozen is a text of JSON lines in UTF-8: the head (`ClosedHead`), then a line for each article that was read in
the month, or of which royalties are counted (`ClosedRow`), in the order of their keys. Its SHA-256 is that of the file
which `visitstats closed` writes. The layout is frozen: fields may be added that are left out when they are 0.

Royalties of a closed month are those of the articles that were published in it: their views within `days` days of
publication, as far as they had come when it was closed. What comes later within these days is due in the next month
that is closed, so that all closed months together have each of these views once.
"""

import re
import zlib
from collections.abc import Iterable, Iterator
from hashlib import sha256
from typing import NamedTuple

import msgspec

from visitstats.core.errors import InvalidQuery, VisitstatsError
from visitstats.core.periods import Day

ROYALTY_DAYS = 30
"""Days of royalties, unless said otherwise."""
MOST_ROYALTY_DAYS = 366
PIECE = 48 * 1024
"""Bytes of a stored piece: few enough that a script which writes one does not hold the store for long."""
_MONTH = re.compile(r"([1-8]\d{3})-(0[1-9]|1[0-2])", re.ASCII)


class ClosedHead(msgspec.Struct, frozen=True, omit_defaults=True):
    """The first line of a frozen month: the site's own numbers in it."""

    site: str
    period: str
    visits: int
    views: int
    articles: int
    """How many articles were read."""
    late_of: str
    """The month that was closed before this one, if counts came for it after that: they are `late_visits` and
    `late_views` of this month. Else empty."""
    late_visits: int
    late_views: int
    days: int = 0
    """Within how many days of publication royalties are counted; 0 for a month of which they are not frozen."""
    due: int = 0
    """Views for which royalties are due, of all articles together."""


class ClosedRow(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an article had in a closed month, and what it was called then."""

    key: str
    title: str
    author: str
    category: str
    published: str
    views: int
    late: int
    """Views of `late_of` that were counted, corrected or moved after that was closed; below zero when it has less now.
    They are in no other period."""
    days: int = 0
    """Within how many days of its publication its royalties are counted; 0 when none are, in this month."""
    royal: int = 0
    """Its views within these days, when the month was closed."""
    due: int = 0
    """Those of them that no month had that was closed before; below zero when it has less now."""


class Closing(msgspec.Struct, frozen=True, array_like=True):
    """The closing of a month, as the store keeps it."""

    id: str
    """The id of the change that froze it."""
    period: str
    at_ms: int
    who: str
    sha256: str
    size: int
    """Bytes of the text."""
    pieces: int
    articles: int
    visits: int
    views: int
    late_of: str
    late_visits: int
    late_views: int
    days: int = 0
    """As `ClosedHead` has it."""
    due: int = 0


class ClosingDamaged(VisitstatsError):
    """What is stored of a closed period is not what was frozen."""


class Frozen(NamedTuple):
    """A month that is about to be closed."""

    head: ClosedHead
    sha256: str
    size: int
    pieces: list[bytes]


_line = msgspec.json.Encoder().encode
_decode_head = msgspec.json.Decoder(ClosedHead).decode
_decode_row = msgspec.json.Decoder(ClosedRow).decode
encode_closing = msgspec.msgpack.Encoder().encode
_decode_closing = msgspec.msgpack.Decoder(Closing).decode


def decode_closing(data: bytes) -> Closing:
    """Read the closing of a month. Raises msgspec.DecodeError."""
    try:
        return _decode_closing(data)
    except UnicodeDecodeError as error:
        raise msgspec.DecodeError(str(error)) from error


def month_named(text: str, today: Day) -> str:
    """Return the month that a text names, if it is over. Raises InvalidQuery."""
    if not _MONTH.fullmatch(text):
        raise InvalidQuery(f"{text[:20]!r} is no month: write it as 2026-10")
    if text >= today.month:
        raise InvalidQuery(f"{text} is not over: it can be closed from the first day of the next month on")
    return text


def freeze(head: ClosedHead, rows: Iterable[ClosedRow]) -> Frozen:
    """Write down what is frozen of a month."""
    lines = [_line(head), *map(_line, sorted(rows, key=lambda row: row.key)), b""]
    whole = b"\n".join(lines)
    packed = zlib.compress(whole, 6)
    pieces = [packed[start : start + PIECE] for start in range(0, len(packed), PIECE)]
    return Frozen(head, sha256(whole).hexdigest(), len(whole), pieces)


def thaw(closing: Closing, pieces: Iterable[bytes | None]) -> bytes:
    """Return the text that was frozen. Raises ClosingDamaged for one that is not what it was."""
    what = f"what was frozen of {closing.period} (change {closing.id})"
    found = list(pieces)
    if None in found:
        raise ClosingDamaged(f"{what} is not whole: {found.count(None)} of its {closing.pieces} pieces are missing")
    unpacker = zlib.decompressobj()
    try:
        # No more than it had: a damaged piece must not fill the memory.
        whole = unpacker.decompress(b"".join(each or b"" for each in found), closing.size + 1)
    except zlib.error as error:
        raise ClosingDamaged(f"{what} cannot be read: {error}") from error
    if len(whole) != closing.size or sha256(whole).hexdigest() != closing.sha256:
        raise ClosingDamaged(f"{what} is not what it was: its SHA-256 is another than {closing.sha256}")
    return whole


def read_text(whole: bytes) -> tuple[ClosedHead, Iterator[ClosedRow]]:
    """Read a text that was frozen: its head, and its articles one by one."""
    first, *rows = whole.split(b"\n")[:-1]
    return _decode_head(first), map(_decode_row, rows)
