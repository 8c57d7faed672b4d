"""The routes for administrators and operations: bearer tokens only, no cookies, no cross-origin answers."""

from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from visitstats.articles import MOST_ROWS, InvalidQuery, address, csv_text, rows
from visitstats.core.bounded import Bounded
from visitstats.core.errors import Denied, StoreUnavailable
from visitstats.web import answers
from visitstats.web.address import ClientAddress
from visitstats.web.public import Public, json, raw
from visitstats.worker import Worker

TRIES_PER_MINUTE = 5
"""Wrong tokens that one address may try in a minute (bad-inputs row 28)."""
JSON_ROWS = 10_000
LOOPBACK = ("127.", "::1")


class TooManyTries(Denied):
    """An address tried too many wrong tokens."""

    def __init__(self) -> None:
        super().__init__("too many wrong access tokens from your address; wait a minute", status=429)


class Admin:
    """Handlers for people and machines with a token."""

    def __init__(self, worker: Worker, public: Public, addresses: ClientAddress, clock: Callable[[], int]) -> None:
        self._worker = worker
        self._public = public
        self._addresses = addresses
        self._clock = clock
        self._tries: Bounded[tuple[str, int], int] = Bounded(8192)

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/v1/admin/sites/{site}/articles", self.articles),
            Route("/v1/admin/sites/{site}/key", self.key),
            Route("/metrics", self.metrics),
        ]

    async def articles(self, request: Request) -> Response:
        """Answer the articles of a period, the most read first, as JSON or CSV."""
        _same_origin(request)
        await self._allow(
            request, lambda authorization: self._worker.access.reader(authorization, request.path_params["site"])
        )
        live = await self._public.site(request)
        query = request.query_params
        period, as_csv = query.get("period", "all"), query.get("format", "json") == "csv"
        asked = query.get("limit", "100")
        # Not int() alone: it takes signs, underscores, spaces and the digits of every script (bad-inputs row 26).
        limit = int(asked) if asked.isascii() and asked.isdigit() and len(asked) <= 9 else 0
        if not 1 <= limit <= (MOST_ROWS if as_csv else JSON_ROWS):
            raise InvalidQuery(f"limit is 1 to {JSON_ROWS} as JSON, to {MOST_ROWS} as CSV")
        now = self._clock()
        found = [row async for row in rows(self._worker.reads, live, period, limit, now)]
        if as_csv:
            name = f"{live.site.id}-{period}.csv".encode()
            return raw(
                200,
                [
                    (b"content-type", b"text/csv; charset=utf-8"),
                    (b"content-disposition", b'attachment; filename="' + name + b'"'),
                    (b"x-content-type-options", b"nosniff"),
                    answers.NEVER_STORED,
                ],
                csv_text(live, found, "en" if query.get("lang") == "en" else "vi").encode(),
            )
        return json(
            {
                "site": live.site.id,
                "period": period,
                "at": live.calendar.iso(now),
                "articles": [
                    {
                        "rank": rank,
                        "views": row.views,
                        "key": row.entry.key,
                        "title": row.entry.title,
                        "url": address(live, row),
                        "author": row.entry.author,
                        "category": row.entry.category,
                        "published": row.entry.published,
                    }
                    for rank, row in enumerate(found, 1)
                ],
            },
            [*answers.JSON, answers.NEVER_STORED],
        )

    async def key(self, request: Request) -> Response:
        """Answer how an address becomes its key, step by step."""
        _same_origin(request)
        await self._allow(
            request, lambda authorization: self._worker.access.reader(authorization, request.path_params["site"])
        )
        live = await self._public.site(request)
        query = request.query_params
        if not query.get("url"):
            raise InvalidQuery("name an address, as in ?url=https%3A%2F%2Fportal.example.vn%2Fa")
        explained = live.key_rules.explain(
            query["url"], explicit=query.get("key", ""), canonical=query.get("canonical", "")
        )
        refused = None if explained.key else {"reason": explained.reason, "detail": explained.detail}
        return json(
            {
                "site": live.site.id,
                "url": explained.url,
                "key": explained.key,
                "refused": refused,
                "steps": [
                    {
                        "rule": step.rule,
                        "before": step.before,
                        "after": step.after,
                        "changed": step.changed,
                        "note": step.note,
                    }
                    for step in explained.steps
                ],
            },
            [*answers.JSON, answers.NEVER_STORED],
        )

    async def metrics(self, request: Request) -> Response:
        """Answer the metrics of all workers: to this machine itself, on the metrics port, or to a bearer of a token."""
        port = self._worker.settings.metrics_port
        arrived = request.scope.get("server") or ("", 0)
        peer = request.client.host if request.client else ""
        near = (
            peer.startswith(LOOPBACK)
            and "x-forwarded-for" not in request.headers
            and "forwarded" not in request.headers
        )
        if not near and not (port and arrived[1] == port):
            _same_origin(request)
            await self._allow(request, self._worker.access.scraper)
        try:
            found, up = await self._worker.site_numbers(), True
        except StoreUnavailable:
            found, up = [], False
        text = self._worker.metrics.expose(found, store_up=up)
        return raw(200, [(b"content-type", b"text/plain; version=0.0.4; charset=utf-8"), answers.NEVER_STORED], text)

    async def _allow(self, request: Request, check: Callable[..., object]) -> None:
        """Let a request pass that has the right token, and slow down who guesses."""
        peer = request.client.host if request.client else ""
        name = (
            self._addresses.of(peer, request.headers.get("x-forwarded-for", "").encode("latin-1")),
            self._clock() // 60_000,
        )
        tried = self._tries.get(name) or 0
        if tried >= TRIES_PER_MINUTE:
            raise TooManyTries
        try:
            await check(request.headers.get("authorization", ""))  # type: ignore[misc]
        except Denied as denied:
            if denied.status == 401:
                self._tries.put(name, tried + 1)
            raise


def _same_origin(request: Request) -> None:
    """Refuse what another site's page sends (bad-inputs row 27)."""
    site = request.headers.get("sec-fetch-site", "none")
    origin = request.headers.get("origin")
    host = request.headers.get("host", "")
    if site in ("cross-site", "same-site") or (origin is not None and origin.partition("://")[2] != host):
        raise Denied("this is not for pages of other sites", status=403)
