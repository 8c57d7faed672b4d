"""The most read articles of a site, for everybody, when the site publishes them ("Xem nhiều")."""

import asyncio
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from visitstats.core.batch import OTHER_KEY
from visitstats.reading.articles import PERIODS, InvalidQuery, address
from visitstats.sites.directory import LiveSite
from visitstats.web.beacons import answers
from visitstats.web.routes.public import Public, json
from visitstats.worker import Worker

MOST = 50
USUAL = 10
SECONDS = 30
"""How old a list may be: readers do not see the difference, and it costs the store one question in that time."""


class Top:
    """The handler, and the lists that it has read."""

    def __init__(self, worker: Worker, public: Public) -> None:
        self._worker = worker
        self._public = public
        self._lists: dict[tuple[str, str], tuple[float, asyncio.Task[list[dict[str, Any]]]]] = {}

    def routes(self) -> list[Route]:
        """Return the route."""
        return [Route("/v1/sites/{site}/top", self.top)]

    async def top(self, request: Request) -> Response:
        """Answer the most read articles of a period. Counts nothing."""
        live = await self._public.site(request)
        if not live.site.publish_top:
            detail = "this site does not publish what is read most (site set --publish-top)"
            return json({"error": "not-published", "detail": detail}, answers.NUMBERS, 403)
        period = request.query_params.get("period", "week")
        limit = request.query_params.get("limit", str(USUAL))
        if period not in PERIODS:
            raise InvalidQuery(f"period {period[:40]!r}: use one of {', '.join(PERIODS)}")
        if not limit.isascii() or not limit.isdigit() or not 1 <= int(limit[:9]) <= MOST:
            raise InvalidQuery(f"limit {limit[:40]!r}: use 1 to {MOST}")
        articles = (await self._read(live, period))[: int(limit)]
        headers = [*answers.JSON, *answers.ANYBODY, (b"cache-control", b"public, max-age=%d" % SECONDS)]
        at = live.calendar.iso(self._worker.clock())
        return json({"site": live.site.id, "period": period, "at": at, "articles": articles}, headers)

    async def _read(self, live: LiveSite, period: str) -> list[dict[str, Any]]:
        """Return a list that is young enough. Many callers, one read."""
        name, now = (live.site.id, period), asyncio.get_running_loop().time()
        read_at, task = self._lists.get(name, (0.0, None))
        failed = task is not None and task.done() and (task.cancelled() or task.exception() is not None)
        if task is None or failed or now - read_at > SECONDS:
            task = asyncio.create_task(self._list(live, period))
            self._lists[name] = now, task
        return await asyncio.shield(task)

    async def _list(self, live: LiveSite, period: str) -> list[dict[str, Any]]:
        found = [row async for row in self._worker.lists.rows(live, period, MOST + 1)]
        # The widget reads "title", "url" and "views" in this order.
        return [
            {
                "key": row.entry.key,
                "title": row.entry.title or row.entry.key,
                "url": address(live, row),
                "views": row.views,
            }
            for row in found
            if row.entry.key != OTHER_KEY
        ][:MOST]
