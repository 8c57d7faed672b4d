"""Pages that only one network ever read: which of them may give their places back, and the records by which they do.

People may undo such a change for PRUNED_LIFE_MS (`store.keys`), and only while none of the days is packed: what went to
"(other)" cannot be taken out of a tile. `lua/prune.lua` decides by itself whether each page is still as it was found
here.
"""

from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import msgspec
from redis.asyncio import Redis

from visitstats.core import limits
from visitstats.core.batch import OTHER_ID, ChangeRecord
from visitstats.core.entries import Entry, Standing
from visitstats.core.entries import decode as decode_entry
from visitstats.core.errors import StoreUnavailable
from visitstats.core.periods import Calendar
from visitstats.core.wire import text
from visitstats.store import keys
from visitstats.store.client import translated

PRUNING = ("prune", "restore")
"""Kinds of records that `lua/prune.lua` takes."""
VOUCHED = "ise"
"""Standings of what is imported, signed or set by an editor (`core.entries.Standing`): such a page is real."""
PAGES_A_RECORD = 200
"""How many pages one record has: the script holds the store for some 2 ms."""
DATES_A_RECORD = 40
SCAN = 1000

_pack = msgspec.msgpack.Encoder().encode
_decode_saved = msgspec.msgpack.Decoder(tuple[msgspec.Raw, list[str | int]]).decode
Head = tuple[str | int | msgspec.Raw, ...]
"""The head of a change (`store.change_records.Change.head`)."""


class Lone(NamedTuple):
    """A page that may give its place back."""

    id: bytes
    key: str
    days: dict[str, int]
    """Its views by date."""

    @property
    def views(self) -> int:
        return sum(self.days.values())


class Register(msgspec.Struct):
    """What a look at a site's articles has found."""

    articles: int = 0
    """Articles in the dictionary, without "(other)"."""
    agreed: int = 0
    """Articles about which three networks have said the same. When there is none, all readers may look like one network
    (behind a proxy that hides their addresses), and no page can be called lone."""
    kept: int = 0
    """Pages that only one network has read, and that keep their places all the same: one of their days is packed or
    closed, they have a baseline or amounts, or an alias stands for them."""


class Prunes:
    """Reads. Every method may raise StoreUnavailable."""

    def __init__(self, client: Redis) -> None:
        self._client = client

    async def taken(self, site: str) -> int:
        """Return how many of a site's places are taken."""
        with translated():
            async with self._client.pipeline(transaction=False) as pipe:
                pipe.hlen(keys.articles(site))
                pipe.hexists(keys.articles(site), OTHER_ID)
                many, other = await pipe.execute()
        return int(many) - int(other)

    async def lone(
        self, site: str, calendar: Calendar, now_ms: int, targets: frozenset[bytes], found: Register
    ) -> AsyncIterator[list[Lone]]:
        """Yield the pages that may give their places back, in pieces of one record each. `targets` are the articles for
        which aliases stand; `found` is filled in."""
        today, newest = calendar.day_at(now_ms), newest_day(calendar, now_ms)
        months = await self._fixed(site)
        waiting: list[Lone] = []
        dates: set[str] = set()
        cursor = 0
        while True:
            with translated():
                page: Any
                cursor, page = await self._client.hscan(keys.names(site), cursor, count=SCAN)
            first: dict[bytes, tuple[Entry, str]] = {}
            for article, data in page.items():
                entry = _entry(data)
                if entry is None or article == OTHER_ID:
                    continue
                found.articles += 1
                found.agreed += Standing.AGREED in entry.standings
                if entry.origin >= 256 and entry.origin // 256 <= newest and not {*VOUCHED} & {*entry.standings}:
                    first[article] = (entry, calendar.day_at((entry.origin // 256 + 1) * keys.DAY_MS - 1).date)
            pages = await self._days(site, calendar, first, targets, months, today.date)
            found.kept += len(first) - len(pages)
            for each in pages:
                if len(waiting) == PAGES_A_RECORD or len(dates | each.days.keys()) > DATES_A_RECORD:
                    yield waiting
                    waiting, dates = [], set()
                waiting.append(each)
                dates |= each.days.keys()
            if not cursor:
                break
        if waiting:
            yield waiting

    async def _days(
        self,
        site: str,
        calendar: Calendar,
        first: dict[bytes, tuple[Entry, str]],
        targets: frozenset[bytes],
        fixed: frozenset[str],
        today: str,
    ) -> list[Lone]:
        """Find out on which days pages were read; without those that keep their places."""
        ids: Any = [article for article, (_, date) in first.items() if date[:7] not in fixed]
        if not ids:
            return []
        views, bases, amounts = await self._values(
            [(kind(site), ids) for kind in (keys.articles, keys.base, keys.amounts)]
        )
        left = {
            article: number(n)
            for article, n, base, amount in zip(ids, views, bases, amounts, strict=True)
            if n is not None and base is None and amount is None and article not in targets
        }
        days: dict[bytes, dict[str, int]] = {article: {} for article in left}
        date = min((first[article][1] for article in left), default="")
        while date and date <= today:
            # Most pages were read on their first day alone.
            asked: Any = [article for article, n in left.items() if n and first[article][1] <= date]
            if asked:
                [counts] = await self._values([(keys.articles_of_day(site, date), asked)])
                for article, n in zip(asked, counts, strict=True):
                    if n is not None:
                        days[article][date] = number(n)
                        left[article] -= number(n)
            if not any(left.values()):
                break
            date = calendar.day_at(calendar.day_named(date).end_ms).date
        return [Lone(article, first[article][0].key, days[article]) for article, n in left.items() if n == 0]

    async def saved(self, site: str, change: str) -> AsyncIterator[dict[bytes, list[str]]]:
        """Yield the pages that gave their places back by a change and can get them again, with their dates, in pieces
        of one record each: what went to "(other)" on a packed day stays there."""
        packed = await self._fixed(site)
        waiting: dict[bytes, list[str]] = {}
        cursor = 0
        while True:
            with translated():
                page: Any
                cursor, page = await self._client.hscan(keys.pruned(site, change), cursor, count=SCAN)
            for article, data in page.items():
                try:
                    dates = [str(date) for date in _decode_saved(data)[1][::2]]
                except (msgspec.DecodeError, UnicodeDecodeError) as error:
                    raise StoreUnavailable(f"a page of change {change} of site {site} is damaged: {error}") from error
                if packed & {date[:7] for date in dates}:
                    continue
                together = {date for known in waiting.values() for date in known} | {*dates}
                if len(waiting) == PAGES_A_RECORD or len(together) > DATES_A_RECORD:
                    yield waiting
                    waiting = {}
                waiting[article] = dates
            if not cursor:
                break
        if waiting:
            yield waiting

    async def _fixed(self, site: str) -> frozenset[str]:
        """The months that are packed or closed: their views stay where they are."""
        with translated():
            packed: Any = await self._client.hkeys(keys.packed(site))
            closed: Any = await self._client.hkeys(keys.closed(site))
        return frozenset(month.decode("utf-8", "replace") for month in (*packed, *closed))

    async def _values(self, asked: list[tuple[str, Any]]) -> list[list[Any]]:
        with translated():
            async with self._client.pipeline(transaction=False) as pipe:
                for name, fields in asked:
                    pipe.hmget(name, fields)
                return [*await pipe.execute()] if all(fields for _, fields in asked) else [[] for _ in asked]


def newest_day(calendar: Calendar, now_ms: int) -> int:
    """Return the last day (since the epoch, as an entry's origin has it) that is a week ago."""
    return calendar.day_at(now_ms).start_ms // keys.DAY_MS - limits.LONE_DAYS


def pruning(
    site: str, change: str, head: Head, pages: list[Lone], changes: int, newest: int, now_ms: int
) -> ChangeRecord:
    """Write for the journal that pages give their places back. `changes` is what `Changes.many` said before, `newest`
    the last day on which one of them may have been read first."""
    dates = _dates(pages)
    place = {date: n for n, date in enumerate(dates, 1)}
    listed = [(text(each.id), [part for date, n in each.days.items() for part in (place[date], n)]) for each in pages]
    body = (change, "", dates, head, changes, newest, (now_ms + keys.PRUNED_LIFE_MS) // 1000, listed)
    return ChangeRecord(site, 0, 0, 0, "prune", _pack(body))


def restoring(site: str, change: str, undoes: str, head: Head, pages: dict[bytes, list[str]]) -> ChangeRecord:
    """Write for the journal that pages get their places again."""
    dates = sorted({date for known in pages.values() for date in known})
    body = (change, undoes, dates, head, [text(each) for each in pages])
    return ChangeRecord(site, 0, 0, 0, "restore", _pack(body))


def pages_of(record: ChangeRecord) -> tuple[str, list[str]]:
    """Return under which change the pages of a record are kept, and the dates that it is about."""
    change, undoes, dates, *_ = msgspec.msgpack.decode(record.body, type=list[msgspec.Raw])
    kept = msgspec.msgpack.decode(undoes, type=str) or msgspec.msgpack.decode(change, type=str)
    return kept, msgspec.msgpack.decode(dates, type=list[str])


def number(value: bytes) -> int:
    """Read a stored count. Raises StoreUnavailable."""
    try:
        return int(value)
    except ValueError as error:
        raise StoreUnavailable(f"a count in the store is no number: {value[:40]!r}") from error


def _dates(pages: list[Lone]) -> list[str]:
    return sorted({date for each in pages for date in each.days})


def _entry(data: bytes) -> Entry | None:
    try:
        return decode_entry(data)
    except msgspec.DecodeError:
        return None
