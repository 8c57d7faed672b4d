"""The most read articles of a site, for everybody, when the site publishes them ("Xem nhiều")."""

import asyncio
from collections.abc import Callable
from typing import Annotated

import msgspec

from visitstats.core.batch import OTHER_KEY
from visitstats.core.errors import InvalidQuery, VisitstatsError
from visitstats.core.ranges import WORDS
from visitstats.reading.desk import Desk
from visitstats.reading.exports import address
from visitstats.sites.directory import LiveSite
from visitstats.web.beacons.answers import Moment
from visitstats.web.table import ANY_PAGE, Asked, Route, kept

MOST = 50
USUAL = 10
SECONDS = 30
"""How old a list may be: readers do not see the difference, and it costs the store one question in that time."""


class NotPublished(VisitstatsError):
    """A site that does not publish its list."""


class TopQuery(msgspec.Struct):
    """Which list."""

    period: Annotated[str, msgspec.Meta(description=", ".join(WORDS))] = "week"
    limit: Annotated[int, msgspec.Meta(ge=1, le=MOST)] = USUAL


class TopArticle(msgspec.Struct):
    """An article in the list. The widget reads "title", "url" and "views" in this order."""

    key: str
    title: str
    url: str
    views: int


class TopArticles(msgspec.Struct):
    """The most read articles of a period."""

    site: str
    period: str
    at: Moment
    articles: list[TopArticle]


class Top:
    """The handler, and the lists that it has read."""

    def __init__(self, desk: Desk, clock: Callable[[], int]) -> None:
        self._desk = desk
        self._clock = clock
        self._lists: dict[tuple[str, str], tuple[float, asyncio.Task[list[TopArticle]]]] = {}

    async def top(self, asked: Asked[TopQuery, None]) -> TopArticles:
        """Answer the most read articles of a period. Counts nothing."""
        live, period = asked.live, asked.query.period
        if not live.site.publish_top:
            raise NotPublished("this site does not publish what is read most (site set --publish-top)")
        if period not in WORDS:
            raise InvalidQuery(f"period {period[:40]!r}: use one of {', '.join(WORDS)}")
        articles = (await self._read(live, period))[: asked.query.limit]
        return TopArticles(live.site.id, period, live.calendar.iso(self._clock()), articles)

    async def _read(self, live: LiveSite, period: str) -> list[TopArticle]:
        """Return a list that is young enough. Many callers, one read."""
        name, now = (live.site.id, period), asyncio.get_running_loop().time()
        read_at, task = self._lists.get(name, (0.0, None))
        failed = task is not None and task.done() and (task.cancelled() or task.exception() is not None)
        if task is None or failed or now - read_at > SECONDS:
            task = asyncio.create_task(self._list(live, period))
            self._lists[name] = now, task
        return await asyncio.shield(task)

    async def _list(self, live: LiveSite, period: str) -> list[TopArticle]:
        found = await self._desk.top(live.site, period, MOST + 1)
        return [
            TopArticle(row.entry.key, row.entry.title or row.entry.key, address(live.site, row), row.views)
            for row in found
            if row.entry.key != OTHER_KEY
        ][:MOST]

    ROUTES = (
        Route("GET", "/v1/sites/{site}/top", top, "The most read articles", TopArticles, query=TopQuery,
              headers=(*ANY_PAGE, kept(SECONDS))),
    )  # fmt: skip
