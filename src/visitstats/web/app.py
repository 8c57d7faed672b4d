"""The application: everything that one process serves, built from settings. Nothing lives at import time."""

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Router

from visitstats.access import InvalidToken
from visitstats.changes.recording import (
    BelowZero,
    ChangeRefused,
    NothingChanges,
    PeriodClosed,
    UndoFirst,
)
from visitstats.core.boxes import BadBox
from visitstats.core.closing import ClosingDamaged
from visitstats.core.errors import (
    Denied,
    HitRejected,
    InvalidQuery,
    InvalidSite,
    JournalFull,
    NoSuchArticle,
    NoSuchSite,
    NotFound,
    Overloaded,
    RateExceeded,
    StoreUnavailable,
    VisitstatsError,
)
from visitstats.imports.jobs import UploadRefused
from visitstats.opening import Disk, open_disk
from visitstats.reading.index import IndexBuilding, IndexUnavailable
from visitstats.settings import Settings
from visitstats.system.board import Seat
from visitstats.system.clock import wall_clock
from visitstats.system.ending import end
from visitstats.trust.proxies import Unnamed, note_unnamed
from visitstats.web.agents_data import agent_rules
from visitstats.web.beacons import answers
from visitstats.web.beacons.address import ClientAddress, Headers
from visitstats.web.beacons.connections import Peers
from visitstats.web.beacons.edge import App, Edge, Receive, Scope, Send
from visitstats.web.beacons.hits import Hits
from visitstats.web.beacons.limits import NetworkLimits
from visitstats.web.beacons.live import LiveStreams
from visitstats.web.beacons.noting import OTHER, noted
from visitstats.web.beacons.protocol import Answer
from visitstats.web.beacons.senders import Senders
from visitstats.web.beacons.unnamed import UnnamedProxies
from visitstats.web.door import Door, TooManyTries
from visitstats.web.gate import Gate, Row, problem
from visitstats.web.routes.admin import Admin
from visitstats.web.routes.article import OneArticle
from visitstats.web.routes.boxes import Boxes
from visitstats.web.routes.changes import ChangeRoutes
from visitstats.web.routes.claims import ClaimRoutes
from visitstats.web.routes.files import Files
from visitstats.web.routes.health import HealthRoutes
from visitstats.web.routes.history import SiteHistories
from visitstats.web.routes.imports import ImportRoutes
from visitstats.web.routes.lists import ArticleLists
from visitstats.web.routes.openapi import Description
from visitstats.web.routes.operations import Operations, is_private
from visitstats.web.routes.pages import Pages
from visitstats.web.routes.portal import Portal
from visitstats.web.routes.public import Public
from visitstats.web.routes.reports import ReportRoutes
from visitstats.web.routes.site_settings import SettingsRoutes
from visitstats.web.routes.sites import Glances
from visitstats.web.routes.tokens import TokenRoutes
from visitstats.web.routes.top import NotPublished, Top
from visitstats.web.table import PRIVATE, PUBLIC, BadRequest, Route
from visitstats.worker import Worker

log = logging.getLogger(__name__)

ERRORS: dict[type[VisitstatsError], tuple[int, str]] = {
    BadRequest: (400, "bad-request"),
    InvalidQuery: (400, "bad-query"),
    InvalidSite: (400, "invalid-site"),
    UploadRefused: (400, "bad-request"),
    BadBox: (400, "bad-query"),
    NotPublished: (403, "not-published"),
    InvalidToken: (400, "bad-request"),
    BelowZero: (409, "below-zero"),
    UndoFirst: (409, "undo-first"),
    PeriodClosed: (409, "period-closed"),
    NothingChanges: (409, "nothing-changes"),
    ChangeRefused: (409, "change-refused"),
    ClosingDamaged: (503, "closing-damaged"),
    NoSuchSite: (404, "no-such-site"),
    NoSuchArticle: (404, "no-such-article"),
    NotFound: (404, "not-found"),
    RateExceeded: (429, "rate"),
    StoreUnavailable: (503, "store-away"),
    IndexBuilding: (503, "index-building"),
    IndexUnavailable: (503, "index-away"),
    JournalFull: (503, "try-again"),
    Overloaded: (503, "try-again"),
}
"""Named errors → the status and code of the answer. HitRejected and Denied carry their own status."""
DISK_SECONDS = 2.0
"""How often a worker without a journal tries to open one, in seconds."""
UNREADABLE = ("/v1/admin/", "/admin", "/metrics", "/healthz", "/readyz")
"""Routes whose answers, and errors, no page of another origin may read."""
ROUTES: tuple[Route, ...] = tuple(
    route
    for room in (
        Edge,
        Glances,
        Admin,
        ArticleLists,
        OneArticle,
        SiteHistories,
        ChangeRoutes,
        ImportRoutes,
        ClaimRoutes,
        SettingsRoutes,
        ReportRoutes,
        TokenRoutes,
        HealthRoutes,
        Boxes,
        Top,
        Public,
        Operations,
        Description,
        Pages,
        Portal,
    )
    for route in room.ROUTES
)
"""All routes; those of the Portal are served by the demo only."""


class Application:
    """An ASGI application: the edge in front of the router, from the lifespan's start to its end."""

    def __init__(
        self, settings: Settings, *, clock: Callable[[], int] = wall_clock, demo: bool = False, seat: Seat | None = None
    ) -> None:
        self._settings = settings
        self._seat = seat or Seat.alone()
        self._clock = clock
        self._demo = demo
        self._streams: LiveStreams | None = None
        self.take_at_once: Callable[[bytes, Headers, str, bytes, Answer], bool] | None = None
        """The short way of a hit or heartbeat, for our own protocol (`web/beacons/protocol.py`)."""
        self._limits = NetworkLimits(settings.data_dir, settings.network_hits_per_second, settings.network_burst)
        self._addresses = ClientAddress(
            settings.trusted_proxies, settings.proxy_hops, settings.proxy_header, self._limits.secret
        )
        self.peers = Peers(settings.connections_per_address, self._addresses.is_proxy)
        """The number of connections of each address, for our own protocol."""
        self.peers.closed = self._note_closed
        self.worker: Worker | None = None
        self._life = Router(lifespan=self._lifespan)
        self._answering: App = Starlette(exception_handlers=_HANDLERS)
        """The application that answers requests. Before the start it finds nothing."""
        self._private: App = self._answering
        """The application that answers requests of operators, on a listener of their own."""
        self.base_path = settings.base_path.encode()
        """The prefix that a proxy leaves before the path of a request, for our own protocol."""

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Serve one connection or request."""
        if scope["type"] == "lifespan":
            return self._life(scope, receive, send)
        if b"%" in scope.get("raw_path", b"") and not (self._demo and scope["path"].startswith("/demo/")):
            # Our routes need no escapes, and an escaped path must not pass for a route (hostile-inputs row 7).
            self._note_answered(OTHER, 404)
            return answers.send_error(send, 404, "not-found", "there is nothing here")
        if self.is_private(scope.get("server")):
            return self._private(scope, receive, send)
        return self._answering(scope, receive, send)

    def is_private(self, server: tuple[str, int | None] | None) -> bool:
        """Whether a connection to this address of ours is for operators alone."""
        return is_private(self._settings, server)

    def _note_proxy(self, peer: str) -> None:
        """Note for the doctor that hits come through a proxy that is not in `trusted_proxies`."""
        found = Unnamed(peer, self._clock())
        asyncio.get_running_loop().run_in_executor(None, note_unnamed, self._settings.data_dir / "last", found)

    def note_refused(self, code: str) -> None:
        """Count a request that was refused before it reached a route."""
        if self.worker is not None:
            self.worker.metrics.requests_refused.labels(code).inc()

    def _note_closed(self, reason: str) -> None:
        if self.worker is not None:
            self.worker.metrics.count(self.worker.metrics.connections_closed, 1, reason)

    def _note_answered(self, route: str, status: int, n: int = 1) -> None:
        if self.worker is not None:
            self.worker.metrics.answered(route, status, n)

    @asynccontextmanager
    async def _lifespan(self, app: Any) -> AsyncIterator[None]:
        worker = self.worker = self._worker(None)
        await worker.start()
        self._present(worker)
        trying = None
        if not worker.journalled:
            log.error("hits are refused until the journal can be opened: %s", worker.ingest.trouble)
            trying = asyncio.create_task(self._try_the_disk(worker))
        try:
            yield
        finally:
            if trying is not None:
                await end(trying)
            if self._streams is not None:
                await self._streams.stop()
            await self.worker.stop()

    def _worker(self, disk: Disk | None) -> Worker:
        settings = self._settings
        return Worker(settings, settings.redis_url, self._clock, disk, self._seat, lambda: self.peers.count)

    def _present(self, worker: Worker) -> None:
        """Let a worker answer from now on."""
        settings, clock, sites, stats = self._settings, self._clock, worker.sites, worker.stats
        senders = Senders(self._addresses, agent_rules(), self._limits)
        hits = Hits(sites, worker.ingest, worker.known, stats, senders, clock, UnnamedProxies(self._note_proxy))
        streams = LiveStreams(sites, stats, self._addresses, worker.metrics, settings.live_streams)
        operations = Operations(worker)
        exported = Files()
        rooms = (
            Admin(worker.reads, senders, worker.known, clock, settings.body_max_bytes),
            ChangeRoutes(
                worker.records.changes,
                worker.imports,
                worker.closings,
                worker.closed,
                worker.desk,
                worker.reads,
                worker.ingest,
                sites,
                clock,
            ),
            ImportRoutes(worker.jobs),
            ClaimRoutes(worker.reads, clock),
            SettingsRoutes(worker.records, worker.reads, stats, sites, worker.ingest, clock),
            TokenRoutes(worker.access, worker.refusals, sites),
            HealthRoutes(worker),
            Boxes(stats, clock),
            ArticleLists(worker.desk, exported, clock),
            ReportRoutes(worker.desk, exported, clock),
            OneArticle(worker.reads, worker.records.changes, clock),
            SiteHistories(worker.histories, clock),
            Glances(sites, stats, worker.histories, clock),
            Top(worker.desk, clock),
            Public(worker.reads, senders, clock),
            operations,
            Pages(sites, settings.admin_hosts, settings.port),
            *((Portal(),) if self._demo else ()),
        )
        rows = [
            *(Row(route, None) for route in Edge.ROUTES),
            *(Row(route, room) for room in rooms for route in room.ROUTES),
        ]
        description = Description(row.route for row in rows)
        rows += [Row(route, description) for route in description.ROUTES]
        door = Door(worker.access, sites, self._addresses, self._limits.tries, worker.refusals, clock)
        gate = Gate(sites, door, senders, clock)
        for row in rows:
            worker.metrics.know_route(row.route.path)
        router = Starlette(routes=gate.routes(rows), exception_handlers=_HANDLERS)
        # Starlette would build the address of its redirect from the Host header.
        router.router.redirect_slashes = False
        self._private = noted(
            Starlette(
                routes=gate.routes(Row(route, operations) for route in operations.ROUTES), exception_handlers=_HANDLERS
            ),
            self._note_answered,
        )
        edge = Edge(
            noted(router, self._note_answered), sites, stats, hits, streams, settings.body_max_bytes,
            self._note_answered,
        )  # fmt: skip
        self._answering, self.take_at_once = edge, edge.take_at_once
        self._streams, self.worker = streams, worker

    async def _try_the_disk(self, former: Worker) -> None:
        """Replace a worker without a journal by one that has it, as soon as the disk allows it."""
        settings, clock = self._settings, self._clock
        while True:
            await asyncio.sleep(DISK_SECONDS)
            # A full journal takes seconds to open; meanwhile reads are answered.
            disk = await asyncio.to_thread(open_disk, settings, clock)
            if disk.journal.reason:
                continue
            try:
                worker = await asyncio.to_thread(self._worker, disk)
                await worker.start()
            except (VisitstatsError, OSError) as error:
                log.error("hits are still refused: %s", error)
                disk.journal.close()
                continue
            self._present(worker)
            log.warning("the journal is open, and hits are taken")
            await former.stop()
            return


def create_app(
    settings: Settings, *, clock: Callable[[], int] = wall_clock, demo: bool = False, seat: Seat | None = None
) -> Application:
    """Build the application. `settings.redis_url` names the store; `clock` returns the moment in milliseconds; `demo`
    adds the demo portal at /demo/; `seat` is the worker's row on the board."""
    return Application(settings, clock=clock, demo=demo, seat=seat)


async def _named(request: Request, error: Exception) -> Response:
    if isinstance(error, HitRejected):
        return _problem(error.status if error.status >= 400 else 400, error.reason, error.detail)
    if isinstance(error, Denied):
        if isinstance(error, TooManyTries):
            wait = (b"retry-after", b"%d" % error.seconds)
            return _problem(429, "too-many-tries", str(error), wait, public=False)
        return _problem(error.status, "denied", str(error), public=False)
    for kind in type(error).__mro__:
        if kind in ERRORS:
            status, code = ERRORS[kind]
            # Details about this machine belong in its log, and not in a public answer.
            is_secret = status == 503 and kind is not IndexBuilding
            detail = "the service cannot answer just now; try again" if is_secret else str(error)
            if is_secret:
                log.warning("%s", error)
            return _problem(status, code, detail, public=not request.scope["path"].startswith(UNREADABLE))
    raise error


async def _http(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    public = not request.scope["path"].startswith(UNREADABLE)
    if status == 405:
        allow = (error.headers or {}).get("Allow", "") if isinstance(error, HTTPException) else ""
        detail = "this route does not take that method"
        return _problem(405, "method-not-allowed", detail, (b"allow", allow.encode()), public=public)
    code, detail = ("not-found", "there is nothing here") if status == 404 else ("refused", "")
    return _problem(status, code, detail, public=public)


async def _gone(request: Request, error: Exception) -> Response:
    # The client broke off its own request, so no one will read the answer.
    return _problem(400, "bad-request", "the request ends too early", public=False)


async def _broken(request: Request, error: Exception) -> Response:
    code = secrets.token_hex(3)
    log.error("code %s: %s %s failed", code, request.method, request.scope["path"])
    return _problem(
        500, "internal-error", f"this is a bug; the service has logged it with the code {code}", public=False
    )


def _problem(status: int, code: str, detail: str, *headers: answers.Header, public: bool = True) -> Response:
    more: list[answers.Header] = [*headers]
    if status in (429, 503) and not any(name == b"retry-after" for name, _ in more):
        more.append(answers.RETRY_AFTER)
    if status == 401:
        more.append((b"www-authenticate", b"Bearer"))
    return problem(status, code, detail, [*(PUBLIC if public else PRIVATE), *more])


_HANDLERS: dict[Any, Any] = {VisitstatsError: _named, HTTPException: _http, ClientDisconnect: _gone, Exception: _broken}
