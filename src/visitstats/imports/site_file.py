"""The file that moves a site from one installation to another: lines of JSON in UTF-8, one object per line.

    {"visitstats": 1, "site": …, "settings": {…}, "exported": …, "schema": …}                       the head, first
    {"days": KEY, "month": "2026-11", "views": {"24": 3}}                                           of an article
    {"article": KEY, "views": 822, "title": …, "author": …, "category": …, "published": …, "url": …, "type": …,
     "hidden": true}
    {"period": "2026-11-24", "visits": 5, "views": 9}                    a day, month, year; "" for all of time
    {"change": ID, "kind": …, "at": …, "who": …, "why": …, …}            for the record
    {"end": {"days": 1, …}, "sums": {"visits": 5, …}, "sha256": …}       of all lines before it, last

The format is version 1 and frozen. Unknown fields of a line are ignored, so that later versions may add fields.
"""

import re
from collections.abc import Iterator
from datetime import date
from hashlib import sha256
from typing import Any

import msgspec

from visitstats.imports.numbers import MOST
from visitstats.imports.opening import Item
from visitstats.imports.places import ImportRefused, Place

VERSION = 1
KINDS = ("days", "articles", "periods", "changes")
SUMS = ("visits", "views", "articles", "article_days")
LONGEST = 1 << 20
"""The most bytes of a line."""
_DAMAGED = "it was cut off, or changed after it was written: export it again"
_PERIOD = re.compile(r"(\d{4}(-\d\d(-\d\d)?)?)?")


class Head(msgspec.Struct, frozen=True):
    """The first line of an export, which names its site."""

    visitstats: int
    site: str
    settings: dict[str, Any]
    exported: str = ""
    schema: int = 0


class Line(msgspec.Struct, frozen=True):
    """Any line but the first. The fields that it has decide its kind."""

    days: str | None = None
    month: str = ""
    article: str | None = None
    views: dict[str, int] | int = 0
    title: str = ""
    author: str = ""
    category: str = ""
    published: str = ""
    url: str = ""
    type: str = ""
    hidden: bool = False
    period: str | None = None
    visits: int = 0
    change: str | None = None
    end: dict[str, int] | None = None
    sums: dict[str, int] = {}
    sha256: str = ""

    @property
    def kind(self) -> str:
        """One of KINDS, "end", or "" for an unknown kind."""
        said = (self.days, self.article, self.period, self.change, self.end)
        return next((kind for kind, value in zip((*KINDS, "end"), said, strict=True) if value is not None), "")


_decode_head = msgspec.json.Decoder(Head).decode
_decode_line = msgspec.json.Decoder(Line).decode


class Sums:
    """The sums of a file, counted while it is written or read."""

    def __init__(self) -> None:
        self.lines = dict.fromkeys(KINDS, 0)
        self.sums = dict.fromkeys(SUMS, 0)

    def add(self, line: Line) -> None:
        """Count a line."""
        self.lines[line.kind] += 1
        if isinstance(line.views, dict):
            self.sums["article_days"] += sum(line.views.values())
        elif line.article is not None:
            self.sums["articles"] += line.views
        elif line.period == "":
            self.sums["visits"] += line.visits
            self.sums["views"] += line.views


def head_of(item: Item) -> Head:
    """Read the head of a file. Raises ImportRefused."""
    with item.open() as file:
        return _head(file.readline(LONGEST), item.place)


def _head(data: bytes, place: Place) -> Head:
    try:
        version = msgspec.json.decode(data)["visitstats"]
        if isinstance(version, int) and version != VERSION:
            raise ImportRefused(
                place.at(1), f"an export of version {version}, this program reads version {VERSION}", "",
                "update visitstats here" if version > VERSION else "",
            )  # fmt: skip
        return _decode_head(data)
    except (msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise ImportRefused(place.at(1), f"no head of an export ({error})") from error


class Reading:
    """Reads a file line by line. After the last line, the file is proven to be complete and unaltered."""

    def __init__(self, item: Item) -> None:
        self._item = item
        self.head = head_of(item)
        self.digest = b""
        """Digest of the site's numbers, independent of the time of the export; known after the last line."""

    def lines(self) -> Iterator[tuple[Place, Line]]:
        """Yield the lines between head and end, each with its place. Raises ImportRefused. A file that was altered
        is refused only after all lines were yielded."""
        whole, body, found, end = sha256(), sha256(self.head.site.encode()), Sums(), None
        with self._item.open() as file:
            number = 0
            while data := file.readline(LONGEST + 1):
                number += 1
                place = self._item.place.at(number)
                if end is not None:
                    raise ImportRefused(place, f"there is more behind its last line: {_DAMAGED}")
                if not data.endswith(b"\n"):
                    raise ImportRefused(place, f"its last line is missing: {_DAMAGED}")
                if number == 1:
                    whole.update(data)
                    continue
                line = _line(data, place)
                if line.kind == "end":
                    end = line
                    continue
                whole.update(data)
                if line.kind != "changes":
                    body.update(data)
                found.add(line)
                yield place, line
            place = self._item.place
            if end is None:
                raise ImportRefused(place, f"its last line is missing: {_DAMAGED}")
            if end.sha256 != whole.hexdigest():
                raise ImportRefused(place, f"it is not as it was written: {_DAMAGED}")
            if end.end != found.lines or end.sums != found.sums:
                raise ImportRefused(place, f"its sums are not those of its lines: {_DAMAGED}")
        self.digest = body.digest()


def _line(data: bytes, place: Place) -> Line:
    try:
        line = _decode_line(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ImportRefused(place, f"no line of an export ({error}): {_DAMAGED}") from error
    is_days = isinstance(line.views, dict)
    if not line.kind or is_days != (line.kind == "days") or (line.kind == "articles" and line.views < 0):  # type: ignore[operator]
        raise ImportRefused(place, f"no line of an export: {_DAMAGED}")
    for n in (line.visits, 0 if isinstance(line.views, dict) else line.views):
        if n > MOST:
            raise ImportRefused(place, "larger than 2^53", str(n))
    return line


def period_of(line: Line, place: Place) -> str:
    """Return the date, month or year of a line; "" for all of time. Raises ImportRefused."""
    period = line.period or ""
    try:
        if not _PERIOD.fullmatch(period):
            raise ValueError
        if period:
            date.fromisoformat(f"{period}-01-01"[: len("2026-11-24")])
    except ValueError as error:
        raise ImportRefused(place, "a date, a month or a year is expected", period) from error
    return period


def dates_of(line: Line, place: Place) -> list[tuple[str, int]]:
    """Return the views of an article by date. Raises ImportRefused."""
    found = []
    for day, n in line.views.items() if isinstance(line.views, dict) else ():
        try:
            if not (day.isascii() and day.isdigit()):
                raise ValueError
            found.append((date.fromisoformat(f"{line.month}-{int(day):02}").isoformat(), n))
        except ValueError as error:
            raise ImportRefused(place, "there is no such day", f"{line.month}-{day}") from error
    return found
