"""Answers queries for articles of a site. The API, the command line and the exports all use this module.

The order comes from the index, which is first brought up to date when it is too old; the numbers of each row are read
from the store when the row is shown. So the order may be some seconds old (at most a minute, and the answer states its
time), but the numbers are always current.
"""

import asyncio
import logging
from array import array
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import date, timedelta
from typing import NamedTuple, TypeVar

import msgspec

from visitstats.core.entries import Entry
from visitstats.core.errors import InvalidQuery, NoSuchArticle, StoreUnavailable, TileDamaged
from visitstats.core.periods import Calendar, Day
from visitstats.core.query import Cursor, Query, Row, Selection, cursor_of
from visitstats.core.ranges import BEGINNING, Range, before
from visitstats.core.sites import Site
from visitstats.reading.article_history import Article as HistoryOf
from visitstats.reading.article_history import ArticleHistory
from visitstats.reading.closed import Closed
from visitstats.reading.groups import Group, Grouping
from visitstats.reading.index import Damaged, Index, IndexBuilding, Known
from visitstats.reading.index_build import Updater
from visitstats.reading.orders import Order, Orders
from visitstats.reading.row_views import RowViews
from visitstats.store.reads import Reads
from visitstats.store.register import Register, Repacked

log = logging.getLogger(__name__)
T = TypeVar("T")

OLDEST_MS = 60_000
"""How old an order may be at most."""
YOUNG_MS = 1000
"""The smallest age that is demanded of an order: a younger one counts as current."""
COSTS = 20
"""Updates of the index are spaced so that they take about a twentieth of the time."""
PIECE = 500
"""How many rows are read at once."""
WAIT_SECONDS = 10.0
"""How long an answer waits for an index that is being made."""
LOOK_SECONDS = 0.05
TRIES = 4
LENGTHS = {"day": len("2026-11-24"), "month": len("2026-11"), "year": len("2026")}
"""How many characters the name of each kind of period has."""
KINDS = ("author", "category", "type")
"""The properties of articles that have a list of names (`Articles.labels`)."""
LONG = 5000
"""From this many rows of a file on, it is cheaper to read their shared data ahead."""
AHEAD = 8000
"""For how many articles the views since publication are read at once."""
SPARE = 10
"""How many articles are read in addition to the most read ones, in case some were merged."""


class Page(msgspec.Struct, frozen=True):
    """A part of a list."""

    range: Range
    compared: Range | None
    """The previous period, if a comparison was asked for."""
    selection: Selection
    rows: list[Row]
    cursor: str
    """The cursor for the rows after the last one; empty at the end."""
    first: int
    """How many articles of the order come before these."""


class History(msgspec.Struct, frozen=True):
    """The views of one article over time."""

    entry: Entry
    total: int
    """The views of all time, including the article's baseline."""
    rows: list[tuple[str, int]]
    """Views by day, month or year, from the first one asked for (or the first one with views) to the last."""


class Groups(msgspec.Struct, frozen=True):
    """Authors or categories, as they were at a moment."""

    at_ms: int
    groups: list[Group]


class Asked(NamedTuple):
    """A query, and the values derived from it."""

    site: Site
    calendar: Calendar
    today: Day
    query: Query
    cursor: Cursor | None
    range: Range
    compared: Range | None


class Ahead(NamedTuple):
    """The data that was read ahead for a long list."""

    packed: tuple[str, ...]
    """The months that were packed at the time of the read."""
    open: Mapping[bytes, int]
    """Views of articles on the other days of the range."""
    within: "array[int] | None"
    """Views since publication by article number, -1 for one without a date; None when they are not asked for."""


class Articles:
    """Answers queries. `clock` gives the moment in milliseconds. Methods raise InvalidQuery, StoreUnavailable,
    IndexUnavailable, and IndexBuilding when a list is not there yet."""

    def __init__(
        self, index: Index, updater: Updater, register: Register, reads: Reads, history: ArticleHistory,
        clock: Callable[[], int],
    ) -> None:  # fmt: skip
        self._index = index
        self._updater = updater
        self._register = register
        self._reads = reads
        self._clock = clock
        closed = Closed(index, register)
        self._orders = Orders(index, closed)
        self._rows_of = RowViews(index, register, closed)
        self._history = history
        self._updating: dict[str, asyncio.Task[Known | None]] = {}

    async def page(self, site: Site, query: Query) -> Page:
        """Return the part of a list that a query asks for."""
        asked = self._asked(site, query)
        order, first = await self._order(asked)
        rows: list[Row] = []
        place, last = first, 0
        while len(rows) < query.limit:
            numbers = order.numbers(place, min(PIECE, query.limit - len(rows)))
            if not numbers:
                break
            rows += await self._rows(asked, numbers)
            place, last = place + len(numbers), numbers[-1]
        cursor = ""
        if first < place < order.selection.articles:
            days = asked.range.first, asked.range.last
            cursor = str(Cursor(query.digest(site.id), order.name, place, last, *days))
        return Page(asked.range, asked.compared, order.selection, rows, cursor, first)

    async def pieces(self, site: Site, query: Query) -> AsyncIterator[Page]:
        """Yield a list from the cursor on in pieces of at most PIECE rows, `limit` of them in all. The first piece
        comes even if there are no rows."""
        asked = self._asked(site, query)
        order, first = await self._order(asked)
        place, left = first, query.limit
        ahead = await self._ahead(asked, order)
        while numbers := order.numbers(place, min(PIECE, left)) if left else []:
            rows = await self._rows(asked, numbers, ahead)
            if rows or place == first:
                yield Page(asked.range, asked.compared, order.selection, rows, "", place)
            place += len(numbers)
            left -= len(rows)
        if place == first:
            yield Page(asked.range, asked.compared, order.selection, [], "", place)

    async def top(self, site: Site, period: str, limit: int) -> list[Row]:
        """Return the most read articles of a period. This is cheap: the order may be OLDEST_MS old, and is not kept."""
        asked = self._asked(site, Query(period=period, limit=limit))
        # Some of the articles may have been merged since the index was updated.
        more = limit + SPARE
        numbers = await self._read(site, lambda known: self._orders.top(site.id, known, asked.range, more), OLDEST_MS)
        return (await self._rows(asked, numbers))[:limit]

    async def groups(self, site: Site, query: Query, by: Grouping) -> Groups:
        """Return the sums of the articles of each author or category, all as of one moment."""
        asked = self._asked(site, query)

        async def read(known: Known) -> Groups:
            found = await self._orders.groups(site.id, known, asked.calendar, query, asked.range, by)
            return Groups(known.passed_ms, found)

        return await self._read(site, read)

    async def labels(self, site: Site, kind: str, text: str, limit: int) -> list[str]:
        """Return the names of authors, categories or types (`Orders.labels`)."""
        if kind not in KINDS:
            raise InvalidQuery(f"of {kind[:40]!r}: use one of {', '.join(KINDS)}")

        async def read(known: Known) -> list[str]:
            return self._orders.labels(known, kind, text, limit)

        return await self._read(site, read, OLDEST_MS)

    async def history(self, site: Site, key: str, by: str = "day", first: str = "", last: str = "") -> History:
        """Return the views of an article on each day, month or year (`by`) of a range. Raises NoSuchArticle."""
        if by not in LENGTHS:
            raise InvalidQuery(f"by {by[:40]!r}: use one of {', '.join(LENGTHS)}")
        asked = self._asked(site, Query(keys=(key,), first=first or BEGINNING, last=last))
        entry, total, days = await self._read(site, lambda known: self._days(asked, known))
        start = first or min(days, default=asked.range.last)
        names = dict.fromkeys((day[: LENGTHS[by]] for day in Range("", start, asked.range.last).dates()), 0)
        for day, n in days.items():
            names[day[: LENGTHS[by]]] += n
        return History(entry, total, list(names.items()))

    async def _days(self, asked: Asked, known: Known) -> tuple[Entry, int, dict[str, int]]:
        site, [key] = asked.site, asked.query.keys
        known = await self._as_merged(site, known)
        number = self._orders.numbered(known, key)
        articles = await self._rows_of.articles(site.id, known, [] if number is None else [number])
        if not articles:
            raise NoSuchArticle(f"{key[:200]!r} was never counted")
        [entry] = await self._reads.entries(site.id, [articles[0].id])
        [total] = await self._reads.views_of(site.id, [articles[0].id], [])
        own = [HistoryOf(id, number) for id, number in zip(articles[0].own, articles[0].numbers, strict=False)]
        first, last = (date.fromisoformat(each) for each in (asked.range.first, asked.range.last))
        try:
            return entry, total, await self._history.by_day(site.id, own, first, last)
        except TileDamaged as error:
            raise StoreUnavailable(f"the history of {key[:200]} cannot be read: {error}") from error

    async def ready(self, site: Site, seconds: float) -> None:
        """Wait until the index of a site is recent enough. Raises IndexBuilding after `seconds`; the update then
        continues in the background."""
        await self._fresh(site, seconds=seconds)

    async def refresh(self, site: Site) -> Known | None:
        """Bring the index of a site up to date now; None when another process does."""
        return await self._update(site)

    def _asked(self, site: Site, query: Query) -> Asked:
        calendar = Calendar(site.timezone, site.week_start)
        today = calendar.day_at(self._clock())
        found, cursor = query.range(calendar, today), None
        if query.cursor:
            cursor = cursor_of(query.cursor)
            if cursor.query != query.digest(site.id):
                raise InvalidQuery("cursor: it belongs to another list; leave it out to begin this one")
            found = msgspec.structs.replace(found, first=cursor.first, last=cursor.last)
        return Asked(site, calendar, today, query, cursor, found, before(calendar, found) if query.compare else None)

    # The order --------------------------------------------------------------------------------------------------------

    async def _order(self, asked: Asked) -> tuple[Order, int]:
        """Return the order of a query, and the place in it at which the asked page begins."""
        cursor = asked.cursor
        if cursor is not None and (order := self._orders.find(cursor.order)):
            return order, min(cursor.place, order.selection.articles)
        order = await self._read(
            asked.site,
            lambda known: self._orders.order(asked.site.id, known, asked.calendar, asked.query, asked.range),
        )
        return order, 0 if cursor is None else order.place_behind(cursor.number, cursor.place)

    async def _read(self, site: Site, work: Callable[[Known], Awaitable[T]], oldest_ms: int = 0) -> T:
        """Run `work` on an index that is recent enough and knows all merges. Repeat it if the index turns out to be
        damaged, or if a month was packed again meanwhile."""
        anew = False
        for _ in range(TRIES):
            known = await self._fresh(site, oldest_ms, anew=anew)
            try:
                return await work(known)
            except Damaged as error:
                log.warning("the index of articles is damaged, and is made anew: %s", error)
            except Repacked:
                anew = True
        raise IndexBuilding(0, 0)

    # Rows -------------------------------------------------------------------------------------------------------------

    async def _rows(self, asked: Asked, numbers: list[int], ahead: "Ahead | None" = None) -> list[Row]:
        """Read articles from the store. Articles that were merged since the order was made are left out; so are
        articles without views, unless the query includes them."""
        return await self._read(asked.site, lambda known: self._rows_now(asked, known, numbers, ahead), OLDEST_MS)

    async def _rows_now(self, asked: Asked, known: Known, numbers: list[int], ahead: "Ahead | None") -> list[Row]:
        site, query = asked.site.id, asked.query
        known = await self._as_merged(asked.site, known)
        found = await self._rows_of.articles(site, known, numbers)
        entries = await self._reads.entries(site, [each.id for each in found])
        totals = await self._reads.views_of(site, [each.id for each in found], [])
        views: Sequence[int] = totals
        if not asked.range.is_all:
            of_range = [(each, asked.range) for each in found]
            opened = ahead.open if ahead is not None and ahead.packed == tuple(known.state.packed) else None
            views = await self._rows_of.views(site, known, asked.today, of_range, opened)
        compared: Sequence[int | None] = [None] * len(found)
        if asked.compared is not None:
            compared = await self._rows_of.views(site, known, asked.today, [(each, asked.compared) for each in found])
        within: list[int | None] = [None] * len(found)
        if ahead is not None and ahead.within is not None:
            within = [None if (n := ahead.within[each.numbers[0]]) < 0 else n for each in found]
        elif query.within:
            spans = [since(asked.calendar, entry.published, query.within) for entry in entries]
            dated = [(each, days) for each, days in zip(found, spans, strict=True) if days]
            counts = iter(await self._rows_of.views(site, known, asked.today, dated))
            within = [next(counts) if days else None for days in spans]
        return [
            Row(*each)
            for each in zip(entries, views, totals, compared, within, strict=True)
            if each[1] or not query.least
        ]

    async def _ahead(self, asked: Asked, order: Order) -> "Ahead | None":
        """Read the data that all rows of a long list need, in an order in which reading is cheap. Counts that come
        until the last row is written are not included."""
        many = order.selection.articles
        if many < LONG:
            return None
        site, days = asked.site, asked.query.within
        packed: tuple[str, ...] = ()
        views: Mapping[bytes, int] = {}
        if not asked.range.is_all:
            packed, views = await self._read(site, lambda known: self._open_views(asked, known), OLDEST_MS)
        if not days:
            return Ahead(packed, views, None)
        # Tiles hold blocks of consecutive numbers, so the articles of a sorted piece share tiles.
        numbers = sorted(order.numbers(0, many))
        within = array("q", [-1]) * (numbers[-1] + 1)
        for start in range(0, many, AHEAD):
            piece = numbers[start : start + AHEAD]

            def read(known: Known, piece: list[int] = piece) -> Awaitable[list[tuple[int, int]]]:
                return self._within(asked, known, piece)

            for number, n in await self._read(site, read, OLDEST_MS):
                within[number] = n
        return Ahead(packed, views, within)

    async def _open_views(self, asked: Asked, known: Known) -> tuple[tuple[str, ...], Mapping[bytes, int]]:
        site = asked.site
        known = await self._as_merged(site, known)
        views = await self._rows_of.open_views(site.id, known, asked.today, asked.range)
        packed = tuple(known.state.packed)
        if tuple((await self._register.state(site.id)).packed) != packed:
            raise Repacked(site.id)  # some of these days may have been packed while they were read
        return packed, views

    async def _within(self, asked: Asked, known: Known, numbers: list[int]) -> list[tuple[int, int]]:
        """Return the views since publication of these articles, leaving out articles without a date."""
        known = await self._as_merged(asked.site, known)
        published = self._orders.published(known, numbers)
        # Most articles have a date without a time, and share it with others.
        spans = {moment: days_from(asked.calendar, moment, asked.query.within) for moment in set(published.values())}
        good = [
            (each, days)
            for each in await self._rows_of.articles(asked.site.id, known, numbers)
            if (moment := published.get(each.numbers[0])) is not None and (days := spans[moment]) is not None
        ]
        counts = await self._rows_of.views(asked.site.id, known, asked.today, good)
        return [(each.numbers[0], n) for (each, _), n in zip(good, counts, strict=True)]

    async def _as_merged(self, site: Site, known: Known) -> Known:
        """Return how far the index has read a site, after making sure that it knows all merges."""
        if await self._register.changes(site.id) != known.state.changes:
            known = await self._fresh(site, 0, anew=True)
        return known

    # Up to date -------------------------------------------------------------------------------------------------------

    async def _fresh(
        self, site: Site, oldest_ms: int = 0, *, anew: bool = False, seconds: float | None = None
    ) -> Known:
        """Return how far the index has read a site, once it is recent enough; with `anew`, once it was read again."""
        loop = asyncio.get_running_loop()
        until = loop.time() + (WAIT_SECONDS if seconds is None else seconds)
        while True:
            known = self._known(site)
            if known is not None and known.ready and not anew:
                age = self._clock() - known.passed_ms
                if -YOUNG_MS < age < max(oldest_ms, min(max(YOUNG_MS, COSTS * known.cost_ms), OLDEST_MS)):
                    return known
            task = self._updating.get(site.id) or self._begin(site)
            done, _ = await asyncio.wait((task,), timeout=max(until - loop.time(), 0))
            if done:
                updated = task.result()
                if updated is not None:
                    return updated
                # Another process is writing. The current content will do until it reaches the highest age allowed.
                if known is not None and known.ready and 0 <= self._clock() - known.passed_ms < OLDEST_MS:
                    return known
                await asyncio.sleep(LOOK_SECONDS)
            if loop.time() >= until:
                known = self._known(site)
                if known is not None and known.ready:
                    return known  # it is too old, but the answer states its time
                raise IndexBuilding(known.done, known.whole) if known else IndexBuilding(0, 0)

    def _begin(self, site: Site) -> "asyncio.Task[Known | None]":
        task = self._updating[site.id] = asyncio.create_task(self._update(site))
        task.add_done_callback(lambda done: self._ended(site, done))
        return task

    def _ended(self, site: Site, task: "asyncio.Task[Known | None]") -> None:
        self._updating.pop(site.id, None)
        # The caller may have left with IndexBuilding meanwhile, so the error is handled here.
        if not task.cancelled() and (error := task.exception()) is not None:
            log.warning("the index of the articles of site %s is not up to date: %s", site.id, error)

    async def _update(self, site: Site) -> Known | None:
        with self._index.lock() as is_mine:
            if not is_mine:
                return None
            for _ in range(2):
                try:
                    return await self._updater.update(site.id, Calendar(site.timezone, site.week_start))
                except (Damaged, Repacked):
                    continue  # a damaged file has been removed by now, or a month was packed just now
            return None

    def _known(self, site: Site) -> Known | None:
        try:
            return self._index.known(site.id)
        except Damaged:
            return None


def since(calendar: Calendar, published: str, days: int) -> Range | None:
    """Return the first `days` days from the day of publication on; None if its time cannot be parsed."""
    moment = calendar.moment(published) if published else None
    return None if moment is None else days_from(calendar, moment, days)


def days_from(calendar: Calendar, moment: int, days: int) -> Range | None:
    """Return the first `days` days from the day of a moment on; None for a moment outside the calendar."""
    try:
        first = date.fromisoformat(calendar.date_at(moment))
        return Range("custom", first.isoformat(), (first + timedelta(days=days - 1)).isoformat())
    except (ValueError, OverflowError):
        return None
