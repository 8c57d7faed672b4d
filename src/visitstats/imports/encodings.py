"""Detect the encoding of a text file, without guessing by statistics.

The first rule that holds decides: a byte order mark; every other byte is zero (UTF-16 without a mark); valid UTF-8;
Windows-1258, if the decoded text is Vietnamese. TCVN3 and VNI are refused, because their bytes look like noise.
"""

import codecs
import io
import unicodedata
from collections.abc import Iterator
from typing import cast

from visitstats.imports.opening import Item, pieces
from visitstats.imports.places import ImportRefused

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_LETTERS = frozenset(
    unicodedata.normalize("NFC", letter + mark)
    for letter in "aăâeêioôơuưyAĂÂEÊIOÔƠUƯY"
    for mark in ("", "\u0300", "\u0301", "\u0303", "\u0309", "\u0323")
) | frozenset("đĐ")
_LOOKS_LIKE_TCVN3 = frozenset("µ¸¶·¹®¨©ª«¬­§¾¼½Æ×ÖÞßþ÷øÐ")
ENCODINGS = ("utf-8", "utf-16", "utf-16-le", "utf-16-be", "cp1258", "cp1252", "latin-1")
"""The encodings that an option may name."""
SAMPLE = 1 << 20


def encoding_of(item: Item, wanted: str = "") -> str:
    """Return the encoding of a text. Raises ImportRefused for a file that is no text."""
    stream = pieces(item)
    first = next(stream, b"")
    for mark, name in _MARKS:
        if first.startswith(mark):
            return name
    if wanted:
        return wanted
    if (found := _without_mark(first)) is not None:
        return found
    decoder = codecs.getincrementaldecoder("utf-8")()
    line, has_null = 1, False
    try:
        for data in (first, *stream) if len(first) < SAMPLE else _chain(first, stream):
            has_null = has_null or b"\0" in data
            decoder.decode(data)
            line += data.count(b"\n")
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return _windows_1258(item, first)
    if has_null and b"\0" in first[:4096]:
        raise ImportRefused(item.place, "a binary file, not a table")
    return "utf-8"


def _chain(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


def _without_mark(data: bytes) -> str | None:
    sample = data[:4096]
    if len(sample) < 4:
        return None
    even, odd = sample[0::2].count(0), sample[1::2].count(0)
    if odd > len(sample) * 0.3 and even < len(sample) * 0.05:
        return "utf-16-le"
    if even > len(sample) * 0.3 and odd < len(sample) * 0.05:
        return "utf-16-be"
    return None


def _windows_1258(item: Item, data: bytes) -> str:
    """Return cp1258 if the first megabyte, decoded with it, is Vietnamese. Raises ImportRefused otherwise."""
    if b"\0" in data:
        raise ImportRefused(item.place, "a binary file, not a table")
    hint = "name it with --encoding, or save the file as UTF-8 (TCVN3 and VNI texts must be converted first)"
    try:
        text = unicodedata.normalize("NFC", data.decode("cp1258"))
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise ImportRefused(item.place.at(line), f"neither UTF-8 nor Windows-1258: {hint}") from error
    strange = good = 0
    for before, letter, after in zip(" " + text, text, text[1:] + " ", strict=False):
        if letter <= "\x7f":
            continue
        if letter in _LETTERS:
            good += 1
        elif letter.isalpha() or unicodedata.combining(letter):
            strange += 1
        elif letter in _LOOKS_LIKE_TCVN3:
            strange += before.isalpha() or after.isalpha()
    if strange > good * 0.02:
        raise ImportRefused(item.place, f"its letters are neither UTF-8 nor Windows-1258: {hint}")
    return "cp1258"


class Lines(io.TextIOWrapper):
    """A text stream that keeps line endings unchanged."""

    def __init__(self, item: Item, encoding: str) -> None:
        buffered = io.BufferedReader(cast(io.RawIOBase, item.open()), 1 << 20)
        super().__init__(buffered, encoding=encoding, errors="strict", newline="")
