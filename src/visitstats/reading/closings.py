"""Closed months for reports: what was frozen, what has come since, and how a month is frozen.

closing = await closed.find("portal", "2026-10")      None for an open month
book = await closed.book("portal", closing)           head and rows, compared with their SHA-256
since = await closed.since("portal", closing)         what the open numbers have beyond that
"""

from collections.abc import Iterator
from datetime import date
from typing import NamedTuple, Protocol

import msgspec

from visitstats.core.closing import (
    ROYALTY_DAYS,
    ClosedHead,
    ClosedRow,
    Closing,
    ClosingDamaged,
    Frozen,
    freeze,
    read_text,
)
from visitstats.core.errors import StoreUnavailable
from visitstats.core.keys import article_id
from visitstats.core.periods import Calendar
from visitstats.core.query import MOST_KEYS, Query
from visitstats.core.sites import Site
from visitstats.core.tiles import days_in
from visitstats.reading.article_history import Article, ArticleHistory
from visitstats.reading.query import Page, since
from visitstats.store.changes import Changes
from visitstats.store.closings import Closings
from visitstats.store.tiles import Tiles

ROWS = 1000
"""How many articles are read at once."""


Told = tuple[str, str, str, str, str]
"""The key of an article, and its title, author, category and publication."""
Live = dict[str, tuple[Told, int]]
"""The names of articles and their views, by key."""


class Lists(Protocol):
    """Answers questions for lists: `reading.query.Articles`, or `reading.desk.Desk` of a worker."""

    async def page(self, site: Site, query: Query) -> Page: ...

    async def refresh(self, site: Site) -> object: ...


class Book(NamedTuple):
    """What was frozen of a month."""

    head: ClosedHead
    rows: Iterator[ClosedRow]
    """The rows, sorted by key."""
    text: bytes
    """The complete text, of which the SHA-256 was taken."""


class Since(NamedTuple):
    """The counts that came to a closed month after it was frozen. The next month that is closed takes them over."""

    visits: int
    views: int


class ClosedMonths:
    """Reads the closed months of sites. Every method may raise StoreUnavailable, and ClosingDamaged when the stored
    text is not the one that was frozen."""

    def __init__(self, closings: Closings, changes: Changes, tiles: Tiles) -> None:
        self._closings = closings
        self._changes = changes
        self._history = ArticleHistory(tiles)
        self._tiles = tiles

    async def all(self, site: str) -> dict[str, Closing]:
        """Return the closings that are in force, by month, in the order of the months."""
        return await self._closings.all(site)

    async def find(self, site: str, month: str) -> Closing | None:
        """Return the closing of a month; None for one that is open."""
        return await self._closings.find(site, month)

    async def book(self, site: str, closing: Closing) -> Book:
        """Return what was frozen of a month."""
        text = await self._closings.text(site, closing)
        try:
            head, rows = read_text(text)
        except (msgspec.MsgspecError, ValueError) as error:
            raise ClosingDamaged(f"what was frozen of {closing.period} cannot be read: {error}") from error
        return Book(head, rows, text)

    async def since(self, site: str, closing: Closing) -> Since:
        """Return what has come to a closed month after it was closed."""
        visits, views = [await self._changes.on(site, kind, closing.period) for kind in ("visits", "views")]
        return Since(visits - closing.visits, views - closing.views)

    async def day_views(self, site: str, articles: list[bytes], day: str) -> int:
        """Return the views of some articles (ids) together on a date."""
        numbers = {each.id: each for each in await self._history.numbers(site, articles)}
        # An article without a number has no packed views.
        asked = [numbers.get(each, Article(each, 0)) for each in articles]
        when = date.fromisoformat(day)
        known = [each for each in asked if each.id in numbers]
        found = sum((await self._history.by_day(site, known, when, when)).values())
        without = [each.id for each in asked if each.id not in numbers]
        if without:
            async for _, counts in self._tiles.in_days(site, [day], without):
                found += sum(counts)
        return found

    # Freezing --------------------------------------------------------------------------------------------------------

    async def freeze(self, lists: Lists, site: Site, month: str, days: int = ROYALTY_DAYS) -> Frozen:
        """Read what will be frozen of a month, including royalties within `days` days of publication. Raises what
        lists do, and StoreUnavailable when the views of the articles do not add up to those of the site."""
        closed = await self._closings.all(site.id)
        before = closed[max(closed)] if closed else None
        earlier = [] if before is None else list((await self.book(site.id, before)).rows)
        await lists.refresh(site)
        now = await self._live(lists, site, month)
        visits, views = [await self._changes.on(site.id, kind, month) for kind in ("visits", "views")]
        [alone] = await self._alone(site.id, [month])
        if sum(now_views for _, now_views in now.values()) != views - alone:
            raise StoreUnavailable(f"the articles of {month} together are not what the site has; try again")
        late: dict[str, int] = {}
        late_visits = late_views = 0
        if before is not None:
            late = await self._late(lists, site, before, earlier, now)
            late_visits, late_views = await self.since(site.id, before)
        found = {key: ClosedRow(*told, n, late.get(key, 0)) for key, (told, n) in now.items() if n or late.get(key)}
        many = len(found)
        for key, (told, *royalties) in (await self._royalties(lists, site, month, days, earlier)).items():
            row = found.get(key) or ClosedRow(*told, 0, 0)
            found[key] = msgspec.structs.replace(row, **dict(zip(("days", "royal", "due"), royalties, strict=True)))
        head = ClosedHead(
            site.id, month, visits, views, many, before.period if before else "", late_visits, late_views, days,
            sum(row.due for row in found.values()),
        )  # fmt: skip
        return freeze(head, found.values())

    async def royalties_since(self, lists: Lists, site: Site, rows: list[ClosedRow]) -> int:
        """Return how many views have come to the royalties of a closed month after it was closed."""
        had, days = await self._had(site, rows)
        now = await self._now_within(lists, site, days)
        return sum(views for _, views in now.values()) - sum(had.values())

    async def _royalties(
        self, lists: Lists, site: Site, month: str, days: int, earlier: list[ClosedRow]
    ) -> dict[str, tuple[Told, int, int, int]]:
        """Return, by key, of the articles that were published in a month, and of those whose royalties the month that
        was closed before had: names, days, views within them, and how many of these that month did not have."""
        had, days_of = await self._had(site, earlier)
        published = Query(
            published_first=f"{month}-01", published_last=f"{month}-{days_in(month)}", within=days, min_views=0,
            hidden=True, limit=ROWS,
        )  # fmt: skip
        found = {
            key: (told, days, n, n - had.get(key, 0))
            for key, (told, n) in (await self._within(lists, site, published)).items()
        }
        carried = {key: n for key, n in days_of.items() if key not in found}
        now = await self._now_within(lists, site, carried)
        calendar, end = Calendar(site.timezone), f"{month}-{days_in(month)}"
        for key, within in carried.items():
            told, n = now.get(key, (None, 0))
            due = n - had[key]
            told = told or _told(next(row for row in earlier if row.key == key))
            span = since(calendar, told[-1], within)
            if due or (span is not None and span.last > end):  # otherwise its royalties are complete
                found[key] = told, within, n, due
        return found

    async def _had(self, site: Site, rows: list[ClosedRow]) -> tuple[dict[str, int], dict[str, int]]:
        """Return what articles had within the days of their royalties when these were frozen, and how many days these
        are, under the keys for which they stand now."""
        aliases = await self._changes.aliases(site.id)
        had: dict[str, int] = {}
        days: dict[str, int] = {}
        for row in rows:
            if row.days:
                key = aliases.get(article_id(row.key), row.key)
                had[key] = had.get(key, 0) + row.royal
                days[key] = max(days.get(key, 0), row.days)
        return had, days

    async def _now_within(self, lists: Lists, site: Site, days: dict[str, int]) -> Live:
        """Return the names of articles, and their views within a number of days (by key) of publication."""
        found: Live = {}
        for within in sorted(set(days.values())):
            wanted = [key for key, n in days.items() if n == within]
            for start in range(0, len(wanted), MOST_KEYS):
                query = Query(
                    keys=tuple(wanted[start : start + MOST_KEYS]), within=within, hidden=True, limit=MOST_KEYS
                )
                found |= await self._within(lists, site, query)
        return found

    async def _within(self, lists: Lists, site: Site, query: Query) -> Live:
        found: Live = {}
        while True:
            page = await lists.page(site, query)
            for row in page.rows:
                entry = row.entry
                told = (entry.key, entry.title, entry.author, entry.category, entry.published)
                found[entry.key] = (told, row.within or 0)
            if not page.cursor:
                return found
            query = msgspec.structs.replace(query, cursor=page.cursor)

    async def _live(self, lists: Lists, site: Site, month: str) -> Live:
        """Return the names of articles and their views in a month, by key, hidden articles included."""
        found: Live = {}
        cursor = ""
        while True:
            query = Query(
                first=f"{month}-01", last=f"{month}-{days_in(month)}", hidden=True, limit=ROWS,
                cursor=cursor,
            )  # fmt: skip
            page = await lists.page(site, query)
            for row in page.rows:
                entry = row.entry
                told = (entry.key, entry.title, entry.author, entry.category, entry.published)
                found[entry.key] = (told, row.views)
            cursor = page.cursor
            if not cursor:
                return found

    async def _late(
        self, lists: Lists, site: Site, before: Closing, earlier: list[ClosedRow], now: Live
    ) -> dict[str, int]:
        """Return by how much articles have more views in the month that was closed before than when it was, under
        the keys for which they stand now. Those of them that were not read in this month are added to `now`."""
        aliases = await self._changes.aliases(site.id)
        found: dict[str, int] = {}
        told: dict[str, Told] = {}
        for row in earlier:
            key = aliases.get(article_id(row.key), row.key)
            found[key] = found.get(key, 0) - row.views
            told.setdefault(key, (key, *_told(row)[1:]))
        for key, (names, views) in (await self._live(lists, site, before.period)).items():
            found[key] = found.get(key, 0) + views
            told[key] = names
        late = {key: n for key, n in found.items() if n}
        for key in late:
            now.setdefault(key, (told[key], 0))
        return late

    async def _alone(self, site: str, months: list[str]) -> list[int]:
        return await self._tiles.site_alone(site, months)


def _told(row: ClosedRow) -> Told:
    return row.key, row.title, row.author, row.category, row.published
