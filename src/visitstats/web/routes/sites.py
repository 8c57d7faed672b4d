"""The overview for a token: its owner, its sites with their numbers, and the numbers of one site compared with the same
moment of the period before."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import date, timedelta
from typing import Annotated, Literal, NamedTuple

import msgspec
from msgspec import Meta

from visitstats.core.bounded import Bounded
from visitstats.core.comparing import Compared
from visitstats.core.errors import StoreUnavailable
from visitstats.core.history import Known
from visitstats.core.numbers import Numbers
from visitstats.core.sites import Site
from visitstats.reading.site_history import Histories
from visitstats.reading.snapshots import Stats
from visitstats.sites.directory import LiveSite, SiteDirectory
from visitstats.store.records import AccessToken
from visitstats.web.beacons.answers import Moment
from visitstats.web.table import Asked, Route

DAYS = 14
"""How many of the last days the list of sites shows."""
AT_ONCE = 8
"""How many sites are read at the same time, so that a list of hundreds does not hold up the hits."""

KEPT_MS = 30_000
"""How long the details of a site are kept: reading them takes some 20 commands."""
MOST_KEPT = 1000

State = Literal["counting", "quiet", "empty", "archived"]


class Me(msgspec.Struct):
    """Whose a token is, and what it is good for."""

    name: str
    scope: str
    sites: list[str] | None
    """Null: all sites."""
    expires: Moment | None
    """Null: never."""


class SitesQuery(msgspec.Struct):
    """How much is told of each site."""

    details: Annotated[int, Meta(ge=0, le=1, description="1: also its state, its last days, and yesterday by now")] = 0


class Before(msgspec.Struct):
    """What a number was at the same moment of the period before; null when that is not known, or there was none."""

    visits: int | None
    views: int | None
    known: Known
    """Whether the service ran all that time, and the site was counted already: yes, partly, no."""
    estimate: bool
    """A part of an hour was taken: counts are kept by hour."""


class SiteRow(msgspec.Struct, omit_defaults=True):
    """A site in the list. Its numbers are those of its box."""

    id: str
    name: str
    host: str
    box: str
    at: Moment
    online: int | None
    today: int | None
    total: int | None
    state: State | None = None
    """Counting; quiet: nothing came since yesterday at this hour; empty: nothing was ever counted; archived. Without
    it the store does not answer."""
    before: Before | None = None
    days: list[int | None] | None = None
    """The days before today, the oldest first; null for what is not known."""


class SiteRows(msgspec.Struct):
    """The sites that a token is good for, by name."""

    sites: list[SiteRow]


class SiteNow(msgspec.Struct):
    """The numbers of a site's box now, and what they were at the same moment of the period before."""

    site: str
    name: str
    timezone: str
    week_start: int
    box: str
    """What the box counts: visits or views."""
    at: Moment
    numbers: Numbers
    baseline: int
    """What of the total an older counter has counted."""
    before: dict[str, Before]
    """By number: today, week, month, year; and weekday, the same day of the week before."""


class _Details(NamedTuple):
    """What is told of a site beside its numbers, and when it was read."""

    site: Site
    at_ms: int
    state: State
    before: Before
    days: list[int | None]


class Glances:
    """The handlers. `clock` gives the moment in milliseconds."""

    def __init__(self, sites: SiteDirectory, stats: Stats, histories: Histories, clock: Callable[[], int]) -> None:
        self._sites = sites
        self._stats = stats
        self._histories = histories
        self._clock = clock
        self._kept: Bounded[str, _Details] = Bounded(MOST_KEPT)

    async def me(self, asked: Asked[None, None]) -> Me:
        """Answer whose the token is."""
        token = asked.token
        return Me(token.name, token.scope, list(token.sites) or None, token.expires or None)

    async def sites(self, asked: Asked[SitesQuery, None]) -> SiteRows:
        """Answer the sites of a token."""
        places = asyncio.Semaphore(AT_ONCE)

        async def row(live: LiveSite) -> SiteRow:
            async with places:
                return await self._row(live, asked.query.details == 1)

        rows = await asyncio.gather(*map(row, self._of(asked.token)))
        return SiteRows(sorted(rows, key=lambda each: (each.name or each.id).casefold()))

    async def now(self, asked: Asked[None, None]) -> SiteNow:
        """Answer the numbers of a site beside those of the period before."""
        live = asked.live
        snapshot = await self._stats.current(live)
        found = await self._histories.before(live, self._clock())
        site = live.site
        return SiteNow(
            site.id, site.name, site.timezone, site.week_start, site.box, live.calendar.iso(snapshot.at_ms),
            snapshot.numbers, await self._histories.baseline(live),
            {name: _before(each) for name, each in found.items()},
        )  # fmt: skip

    def _of(self, token: AccessToken) -> list[LiveSite]:
        return [live for live in self._sites.all() if not token.site or live.site.id in token.sites]

    async def _row(self, live: LiveSite, details: bool) -> SiteRow:
        snapshot, site = await self._stats.current(live), live.site
        numbers = snapshot.numbers
        row = SiteRow(
            site.id, site.name, site.hosts[0], site.box, live.calendar.iso(snapshot.at_ms),
            numbers.online, numbers.today, numbers.total,
        )  # fmt: skip
        if not details:
            return row
        # What cannot be read just now is left out: the last numbers are there all the same.
        with suppress(StoreUnavailable):
            found = await self._details_of(live)
            row.state, row.before, row.days = found.state, found.before, found.days
        return row

    async def _details_of(self, live: LiveSite) -> "_Details":
        now, site = self._clock(), live.site
        kept = self._kept.get(site.id)
        if kept is not None and kept.site is site and 0 <= now - kept.at_ms < KEPT_MS:
            return kept
        today = date.fromisoformat(live.calendar.day_at(now).date)
        first, last = (today - timedelta(days=n) for n in (DAYS, 0))
        rows = await self._histories.recent(live, first.isoformat(), last.isoformat(), now)
        state: State = (
            "archived" if site.archived
            else "empty" if not rows.began
            else "counting" if rows.heard
            else "quiet"
        )  # fmt: skip
        days = [getattr(each, site.box) for each in rows.days[:-1]]
        found = _Details(site, now, state, _before(rows.before), days)
        if state == "counting":  # what is wrong is not told for longer than it is
            self._kept.put(site.id, found)
        return found

    ROUTES = (
        Route("GET", "/v1/admin/me", me, "Whose a token is, and what it is good for", Me, scope="viewer",
              own_sites=True),
        Route("GET", "/v1/admin/sites", sites, "The sites of a token, with their numbers", SiteRows, scope="viewer",
              own_sites=True, query=SitesQuery),
        Route("GET", "/v1/admin/sites/{site}/now", now, "The numbers, and those of the period before by now", SiteNow,
              scope="viewer"),
    )  # fmt: skip


def _before(found: Compared) -> Before:
    return Before(found.visits, found.views, found.known, found.estimate)
