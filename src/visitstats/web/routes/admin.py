"""The routes for administrators and operations: bearer tokens only, no cookies, no cross-origin answers."""

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from visitstats.core.beacon import decode_hit
from visitstats.core.bounded import Bounded
from visitstats.core.counting import CAPPED, SEARCH_ENGINE
from visitstats.core.errors import Denied, HitRejected, StoreUnavailable
from visitstats.core.periods import Day
from visitstats.reading.articles import MOST_ROWS, InvalidQuery, address, csv_text
from visitstats.reading.uniques import STANDARD_ERROR_PERCENT, estimated, named_day
from visitstats.sites.directory import LiveSite
from visitstats.store.records import AccessToken
from visitstats.web.beacons import answers
from visitstats.web.beacons.address import headers_of
from visitstats.web.beacons.edge import peer_of, read_body
from visitstats.web.beacons.senders import Senders
from visitstats.web.routes.explain import Explanation, as_json, malformed
from visitstats.web.routes.public import Public, json, raw
from visitstats.worker import Worker

TRIES_PER_MINUTE = 5
"""Wrong tokens that one address may try in a minute (hostile-inputs row 28)."""
JSON_ROWS = 10_000


class TooManyTries(Denied):
    """An address tried too many wrong tokens."""

    def __init__(self) -> None:
        super().__init__("too many wrong access tokens from your address; wait a minute", status=429)


class Admin:
    """Handlers for people and machines with a token."""

    def __init__(self, worker: Worker, public: Public, senders: Senders, clock: Callable[[], int]) -> None:
        self._worker = worker
        self._public = public
        self._senders = senders
        self._clock = clock
        self._tries: Bounded[tuple[str, int], int] = Bounded(8192)

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/v1/admin/sites/{site}/articles", self.articles),
            Route("/v1/admin/sites/{site}/key", self.key),
            Route("/v1/admin/sites/{site}/ignored", self.ignored),
            Route("/v1/admin/sites/{site}/uniques", self.uniques),
            # The edge counts hits; only those that ask for an explanation come here.
            Route("/v1/sites/{site}/hit", self.explain, methods=["POST"]),
            Route("/metrics", self.metrics),
        ]

    async def articles(self, request: Request) -> Response:
        """Answer the articles of a period, the most read first, as JSON or CSV."""
        same_origin(request)
        await self.allow(
            request, lambda authorization: self._worker.access.reader(authorization, request.path_params["site"])
        )
        live = await self._public.site(request)
        query = request.query_params
        period, as_csv = query.get("period", "all"), query.get("format", "json") == "csv"
        asked = query.get("limit", "100")
        # Not int() alone: it takes signs, underscores, spaces and the digits of every script (hostile-inputs row 26).
        limit = int(asked) if asked.isascii() and asked.isdigit() and len(asked) <= 9 else 0
        if not 1 <= limit <= (MOST_ROWS if as_csv else JSON_ROWS):
            raise InvalidQuery(f"limit is 1 to {JSON_ROWS} as JSON, to {MOST_ROWS} as CSV")
        now = self._clock()
        order = await self._worker.lists.order(live, period)
        found = [row async for row in self._worker.lists.rows(live, period, limit)]
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
                "order_at": live.calendar.iso(order.at_ms),
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
        same_origin(request)
        await self.allow(
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

    async def ignored(self, request: Request) -> Response:
        """Answer the beacons of a day that were not counted, by reason."""
        live, day = await self._day(request)
        found = await self._worker.reads.ignored(live.site.id, day)
        noted = await self._worker.reads.noted(live.site.id, day)
        return json(
            {
                "site": live.site.id,
                "day": day.date,
                "at": live.calendar.iso(self._clock()),
                "ignored": dict(sorted(found.items())),
                "search_engines": noted[SEARCH_ENGINE],
                "visitors_capped": noted[CAPPED],
            },
            [*answers.JSON, answers.NEVER_STORED],
        )

    async def uniques(self, request: Request) -> Response:
        """Answer the estimated unique visitors of a day, a week or a month, and of each of its days."""
        live, day = await self._day(request)
        period = request.query_params.get("period", "day")
        today = live.calendar.day_at(self._clock())
        found = await estimated(self._worker.reads, live, period, day, today)
        return json(
            {
                "site": live.site.id,
                "period": period,
                "at": live.calendar.iso(self._clock()),
                "uniques": sum(found.values()),
                "estimate": True,
                "standard_error_percent": STANDARD_ERROR_PERCENT,
                "days": found,
            },
            [*answers.JSON, answers.NEVER_STORED],
        )

    async def explain(self, request: Request) -> Response:
        """Answer why a beacon is counted or not, rule by rule; nothing is counted. The request is the beacon, with its
        own headers: also those of another origin, which without a token gets nowhere here."""
        await self.allow(
            request, lambda authorization: self._worker.access.editor(authorization, request.path_params["site"])
        )
        live = await self._public.site(request)
        headers = headers_of(request.scope["headers"])
        try:
            beacon = decode_hit(await read_body(headers, request.receive, self._worker.settings.body_max_bytes))
        except HitRejected as refused:
            found = malformed(refused)
        else:
            explanation = Explanation(self._senders, self._worker.reads, live, self._clock(), self._worker.known)
            found = await explanation.of(headers, peer_of(request.scope), beacon)
        return json(as_json(live.site.id, found), [*answers.JSON, answers.NEVER_STORED])

    async def _day(self, request: Request) -> tuple[LiveSite, Day]:
        """The site and the day of a request that may read them."""
        same_origin(request)
        await self.allow(
            request, lambda authorization: self._worker.access.reader(authorization, request.path_params["site"])
        )
        live = await self._public.site(request)
        asked = request.query_params.get("day")
        return live, named_day(live, asked) if asked else live.calendar.day_at(self._clock())

    async def metrics(self, request: Request) -> Response:
        """Answer the metrics of all workers: to this machine itself, on the metrics port, or to a bearer of a token."""
        port = self._worker.settings.metrics_port
        arrived = request.scope.get("server") or ("", 0)
        peer = request.client.host if request.client else ""
        near = (
            self._senders.addresses.here(peer)
            and "x-forwarded-for" not in request.headers
            and "forwarded" not in request.headers
        )
        if not near and not (port and arrived[1] == port):
            same_origin(request)
            await self.allow(request, self._worker.access.scraper)
        try:
            found, up = await self._worker.site_numbers(), True
        except StoreUnavailable:
            found, up = [], False
        text = self._worker.metrics.expose(
            found,
            store_up=up,
            store_fit=self._worker.applier.link.word != "unfit",
            journal_up=not self._worker.ingest.trouble,
            lacks=self._worker.hosts.lacks,
        )
        return raw(200, [(b"content-type", b"text/plain; version=0.0.4; charset=utf-8"), answers.NEVER_STORED], text)

    async def allow(self, request: Request, check: Callable[[str], Awaitable[AccessToken]]) -> AccessToken:
        """Let a request pass that has the right token, which is returned, and slow down who guesses."""
        address, _ = self._senders.addresses.of(peer_of(request.scope), headers_of(request.scope["headers"]))
        name = (address, self._clock() // 60_000)
        tried = self._tries.get(name) or 0
        if tried >= TRIES_PER_MINUTE:
            raise TooManyTries
        try:
            return await check(request.headers.get("authorization", ""))
        except Denied as denied:
            if denied.status == 401:
                self._tries.put(name, tried + 1)
            raise


def same_origin(request: Request) -> None:
    """Refuse what another site's page sends (hostile-inputs row 27)."""
    site = request.headers.get("sec-fetch-site", "none")
    origin = request.headers.get("origin")
    host = request.headers.get("host", "")
    if site in ("cross-site", "same-site") or (origin is not None and origin.partition("://")[2] != host):
        raise Denied("this is not for pages of other sites", status=403)
