"""The question behind every list of articles (API, command line, exports): which articles, in which order, how many,
and where the page begins.

An order is made once and kept for some minutes, so that the pages of one list agree while counts move. A cursor names
the order, and how far it was read; should the order be gone by then, reading goes on behind the same article in a new
one.
"""

import re
import unicodedata
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from hashlib import blake2b
from typing import Any, Literal, get_args

import msgspec

from visitstats.core.entries import Entry
from visitstats.core.errors import InvalidQuery
from visitstats.core.periods import Calendar, Day
from visitstats.core.ranges import Range, range_of

Sort = Literal["views", "total", "title", "published", "author", "category"]
SORTS: tuple[str, ...] = get_args(Sort)
MOST_ROWS = 10_000_000
"""As many as a site can have articles."""
MOST_KEYS = 500
LONGEST = 500
"""The most characters of a text to search for."""
MOST_WITHIN = 3660
"""The largest N of "views within N days of publication"."""

_TEXTS = frozenset({"title", "author", "category"})
_DIRECTIONS = {"": "", "asc": "asc", "desc": "desc"}
_MARKS = re.compile("[\u0300-\u036f]+")
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


class Query(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is asked of a site's articles; valid by construction (InvalidQuery). Conditions are joined by "and"; an
    empty one is none."""

    period: str = ""
    """As `core.ranges` has it; empty for all time, unless there is a `first` or `last`."""
    first: str = ""
    last: str = ""
    text: str = ""
    """The title or the key contains it."""
    title: str = ""
    """The title contains it. Case and tone marks do not matter."""
    key_contains: str = ""
    prefix: str = ""
    """The key begins with it."""
    author: str = ""
    category: str = ""
    type: str = ""
    published_first: str = ""
    published_last: str = ""
    min_views: int | None = None
    """The fewest views in the period. None means 1, or 0 when articles are named by their keys."""
    hidden: bool = False
    """Whether articles that an editor has hidden are among them."""
    keys: tuple[str, ...] = ()
    """When given, only these articles; at most MOST_KEYS."""
    sort: Sort = "views"
    direction: str = ""
    """asc or desc. Empty: texts from A to Z, everything else with the most or the newest first. Sorted by author or
    category, the groups are in this order, and within each group the most read article comes first."""
    limit: int = 50
    cursor: str = ""
    within: int = 0
    """Rows also say the views within so many days of publication, the day of publication among them."""
    compare: bool = False
    """Rows also say the views in the period before."""

    def __post_init__(self) -> None:
        if self.sort not in SORTS:
            raise InvalidQuery(f"sort {str(self.sort)[:40]!r}: use one of {', '.join(SORTS)}")
        if self.direction not in _DIRECTIONS:
            raise InvalidQuery(f"direction {self.direction[:40]!r}: use asc or desc")
        if not 1 <= self.limit <= MOST_ROWS:
            raise InvalidQuery(f"limit {self.limit}: use 1 to {MOST_ROWS}")
        if self.min_views is not None and not 0 <= self.min_views < 1 << 53:
            raise InvalidQuery(f"min_views {self.min_views}: use 0 or more")
        if not 0 <= self.within <= MOST_WITHIN:
            raise InvalidQuery(f"within {self.within}: use 0 to {MOST_WITHIN} days")
        if len(self.keys) > MOST_KEYS:
            raise InvalidQuery(f"at most {MOST_KEYS} keys at once, not {len(self.keys)}")
        for name in ("text", "title", "key_contains", "prefix", "author", "category", "type"):
            text = getattr(self, name)
            if len(text) > LONGEST or not _encodable(text):
                raise InvalidQuery(f"{name}: at most {LONGEST} characters of text")
        for name in ("published_first", "published_last"):
            if text := getattr(self, name):
                _check_date(name.replace("first", "from").replace("last", "to"), text)
        if self.published_first and self.published_last and self.published_first > self.published_last:
            raise InvalidQuery(f"published from {self.published_first} is after {self.published_last}")

    @property
    def descends(self) -> bool:
        """Whether the largest come first."""
        return (self.direction or ("asc" if self.sort in _TEXTS else "desc")) == "desc"

    @property
    def least(self) -> int:
        """The fewest views in the period of an article that is in the list."""
        return (0 if self.keys else 1) if self.min_views is None else self.min_views

    def range(self, calendar: Calendar, today: Day) -> Range:
        """Return the days that are asked for. Raises InvalidQuery."""
        period = self.period or ("" if self.first or self.last else "all")
        return range_of(calendar, today, period, self.first, self.last)

    def digest(self, site: str, asked: Range | None = None) -> bytes:
        """Return 8 bytes that are the same for all pages of a list; with its range, for all queries with one order."""
        same: dict[str, Any] = {
            name: value for name, value in msgspec.to_builtins(self).items() if name not in _OF_A_PAGE
        }
        days = (asked.first, asked.last) if asked else (self.period, self.first, self.last)
        same |= {"site": site, "days": days, "descends": self.descends, "least": self.least}
        return blake2b(msgspec.json.encode(same, order="sorted"), digest_size=8).digest()


_OF_A_PAGE = frozenset({"limit", "cursor", "within", "compare", "period", "first", "last", "direction", "min_views"})


class Cursor(msgspec.Struct, frozen=True, array_like=True):
    """How far a list was read. Its range is that of the first page, even if the day has changed since."""

    query: bytes
    """The digest of the query, without its range."""
    order: bytes
    """The name under which the order is kept for some minutes."""
    place: int
    """How many rows of the order were read."""
    number: int
    """The number of the last article among them."""
    first: str = ""
    last: str = ""

    def __str__(self) -> str:
        return urlsafe_b64encode(_encode(self)).rstrip(b"=").decode()


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Cursor).decode


def cursor_of(text: str) -> Cursor:
    """Read a cursor. Raises InvalidQuery for what is none."""
    try:
        found = _decode(urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4)))
        if len(found.query) != 8 or len(found.order) != 8 or not 0 <= found.place < 1 << 32:
            raise ValueError(text)
        for day in filter(None, (found.first, found.last)):
            _check_date("cursor", day)
        if bool(found.first) != bool(found.last) or found.first > found.last:
            raise ValueError(text)
        return found
    except (ValueError, Base64Error, msgspec.MsgspecError) as error:
        raise InvalidQuery("cursor: use one that an answer of this list has given") from error


class Row(msgspec.Struct, frozen=True):
    """One article in a list. The numbers are those of the moment at which it was read."""

    entry: Entry
    views: int
    """Views in the period that was asked for."""
    total: int = 0
    """Views of all time, with its baseline."""
    before: int | None = None
    """Views in the period before, if that was asked for."""
    within: int | None = None
    """Views within the days after its publication that were asked for; None when it has no date."""
    days: int = 0
    """For frozen royalties, within how many days of publication views are paid. Then `views` and `within` are what is
    due, `before` what closed months had before, and `total` both."""


class Selection(msgspec.Struct, frozen=True):
    """All that a query selects, at the moment of its order."""

    at_ms: int
    articles: int
    views: int
    """Views of all of them together, in the period."""


def fold(text: str) -> str:
    """Return a text as it is searched and sorted: without case, without the marks of Latin letters, đ as d."""
    if text.isascii():
        return text.lower()
    plain = _MARKS.sub("", unicodedata.normalize("NFD", text.casefold()))
    return plain.replace("đ", "d")


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _check_date(name: str, text: str) -> None:
    try:
        if not _DATE.fullmatch(text):
            raise ValueError(text)
        Calendar("UTC").day_named(text)
    except (ValueError, OverflowError) as error:
        raise InvalidQuery(f"{name} {text[:40]!r}: write a date as 2026-11-24") from error
