"""The edge of the data path: a raw ASGI endpoint in front of the router. A hit's way begins here.

    read at most 8 KiB → decode → find the site → decide (`web/beacons/hits.py`) → wait for the batch → answer

A beacon that is not counted still gets the numbers, with the reason in a header.
"""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qsl

from visitstats.core.beacon import (
    AliveBody,
    HitBeacon,
    HitBody,
    HitQuery,
    decode_alive,
    decode_hit,
    hit_from_query,
)
from visitstats.core.errors import HitRejected, JournalFull, Overloaded, RateExceeded, StoreUnavailable
from visitstats.core.numbers import UNKNOWN
from visitstats.ingest.waiting import Outcome, Waiting
from visitstats.reading.snapshots import Stats
from visitstats.sites.directory import LiveSite, SiteDirectory
from visitstats.web.beacons import answers
from visitstats.web.beacons.address import Headers, headers_of
from visitstats.web.beacons.hits import Hits
from visitstats.web.beacons.live import LiveStreams
from visitstats.web.beacons.noting import answering, sending
from visitstats.web.beacons.protocol import ALIVE, EXTENSION, HIT, Answer
from visitstats.web.beacons.safety import SAFE
from visitstats.web.table import PUBLIC, Route

log = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

ROOT = "/v1/sites/"
KINDS = frozenset({b"text/plain;charset=UTF-8", b"text/plain", b"application/json", b""})
"""The content types of beacons; fetch() and XMLHttpRequest send the first one for a text."""
COUNTED = frozenset({"hit", "hit.gif"})
LONGEST_QUERY = 8192
HIT_PATH, ALIVE_PATH = "/v1/sites/{site}/hit", "/v1/sites/{site}/alive"
_EXPLAIN = re.compile(rb"(?:^|&)explain(?:=|&|$)")


class Edge:
    """The public data routes: hit, hit.gif, alive, stats and live. Everything else goes to `router`."""

    def __init__(
        self,
        router: App,
        sites: SiteDirectory,
        stats: Stats,
        hits: Hits,
        streams: LiveStreams,
        body_max_bytes: int,
        note: Callable[[str, int, int], None],
    ) -> None:
        self._router = router
        self._sites = sites
        self._stats = stats
        self._hits = hits
        self._body_max_bytes = body_max_bytes
        self._streams = streams
        self._note = note
        """Is called with the route, the status and the number of answers."""
        self._routes = {
            (method, route.path.rpartition("/")[2]): route for route in self.ROUTES for method in route.methods
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        path = scope.get("path", "")
        if scope["type"] != "http" or not path.startswith(ROOT):
            await self._router(scope, receive, send)
            return
        site_id, _, action = path[len(ROOT) :].partition("/")
        if scope["query_string"] and is_explained(scope):
            await self._router(scope, receive, send)
            return
        route = self._routes.get((scope["method"], action))
        if route is None:
            await self._router(scope, receive, send)
            return
        send = sending(send, route.path, self._note_one)
        short = answers.short_way(scope)
        if short is not None:
            scope["extensions"][EXTENSION] = answering(short, route.path, self._note_one)
        try:
            live = self._sites.get(site_id) or await self._sites.find(site_id)
        except StoreUnavailable as error:
            if action in COUNTED:
                self._hits.refuse(error)
            await _busy(send, error)
            return
        if live is None:
            if action in COUNTED:
                self._hits.unknown_site(site_id)
            await answers.send_error(send, 404, "no-such-site", "there is no such site")
            return
        if route.price:
            try:
                self._hits.charge(live, peer_of(scope), headers_of(scope["headers"]), route.price)
            except RateExceeded as error:
                await answers.send_error(send, 429, "rate", str(error), [answers.RETRY_AFTER])
                return
        await route.handler(self, scope, receive, send, live)

    def take_at_once(self, path: bytes, headers: Headers, peer: str, body: bytes, answer: Answer) -> bool:
        """Take a hit or a heartbeat (`POST path`) whose request is complete, without a task of its own: the usual way.

        When True, `answer` is called as soon as the batch is decided, for a heartbeat now. When False nothing has
        happened, and the request goes the ordinary way, which answers everything unusual.
        """
        kind = ALIVE if path.endswith(ALIVE) else HIT
        if len(body) > self._body_max_bytes:
            return False
        live = self._sites.get(path[len(ROOT) : -len(kind)].decode("latin-1"))
        if live is None or not _is_text(headers):
            return False
        try:
            if kind is ALIVE:
                return self._beat_at_once(headers, peer, live, body, answer)
            taken = self._hits.take(headers, peer, live, decode_hit(body))
        except (HitRejected, Overloaded):
            return False
        if taken is None:
            return False
        waiting = taken.waiting
        if not waiting.at_once:
            waiting.future.add_done_callback(lambda future: self._answer_at_once(waiting, future))
        waiting.at_once.append((taken, answer))
        return True

    def _beat_at_once(self, headers: Headers, peer: str, live: LiveSite, body: bytes, answer: Answer) -> bool:
        snapshot = self._stats.fresh(live)
        if snapshot is None:
            return False  # the numbers have to be read first
        if not self._hits.beat(headers, peer, live, decode_alive(body).visit_id):
            return False
        self._note(ALIVE_PATH, 200, 1)
        answer(200, answers.COUNTED_LINES, answers.numbers_body(snapshot))
        return True

    def _answer_at_once(self, waiting: Waiting, future: "asyncio.Future[Outcome]") -> None:
        """Answer all requests that wait for a batch in one call."""
        # Emptied to break a reference cycle of thousands of objects, which only the garbage collector would find.
        asking, waiting.at_once = waiting.at_once, []
        if future.cancelled() or future.exception() is not None:
            self._note(HIT_PATH, 503, len(asking))
            for _, answer in asking:
                answer(503, answers.BUSY_LINES, answers.BUSY)
            return
        outcome, say = future.result(), self._hits.answer
        self._note(HIT_PATH, 200, len(asking))  # or 202: the class is the same
        for taken, answer in asking:
            status, body, reason = say(taken, outcome)
            answer(status, answers.lines_ignored(reason) if reason else answers.COUNTED_LINES, body)

    # Hits ----------------------------------------------------------------------------------------------------------

    async def _hit(self, scope: Scope, receive: Receive, send: Send, live: LiveSite) -> None:
        headers = headers_of(scope["headers"])
        try:
            beacon = decode_hit(await read_body(headers, receive, self._body_max_bytes))
            status, body, reason = await self._count(scope, headers, live, beacon)
        except HitRejected as rejected:
            await self._refuse(send, live, rejected)
        except (JournalFull, Overloaded, StoreUnavailable) as error:
            self._hits.refuse(error)
            await _busy(send, error)
        else:
            extra = [answers.ignored_header(reason)] if reason else []
            await answers.send_bytes(send, status, [*answers.NUMBERS, *extra], body)

    async def _pixel(self, scope: Scope, receive: Receive, send: Send, live: LiveSite) -> None:
        status, reason = 200, ""
        try:
            beacon = hit_from_query(_query(scope["query_string"]))
            status, _, reason = await self._count(scope, headers_of(scope["headers"]), live, beacon)
        except HitRejected as rejected:
            # An error would show as a broken picture on the portal's page.
            reason = rejected.reason
            self._hits.ignore(live, rejected)
        except (JournalFull, Overloaded, StoreUnavailable) as error:
            self._hits.refuse(error)
            await _busy(send, error)
            return
        extra = [answers.ignored_header(reason)] if reason else []
        picture = [(b"content-type", b"image/gif"), answers.NEVER_STORED, *SAFE, *answers.ANYBODY]
        await answers.send_bytes(send, status, [*picture, *extra], answers.GIF)

    async def _count(self, scope: Scope, headers: Headers, live: LiveSite, beacon: HitBeacon) -> tuple[int, bytes, str]:
        """Decide about a beacon and count it if the rules allow; return the answer's status and body, and why it was
        not counted ("" if it was). Raises HitRejected when it is malformed."""
        try:
            taken = await self._hits.decide(headers, peer_of(scope), live, beacon)
        except HitRejected as rejected:
            if rejected.status != 200:
                raise
            self._hits.ignore(live, rejected)
            return 200, answers.numbers_body(await self._stats.current(live)), rejected.reason
        return self._hits.answer(taken, await taken.waiting.future)

    # Heartbeats and numbers ----------------------------------------------------------------------------------------

    async def _alive(self, scope: Scope, receive: Receive, send: Send, live: LiveSite) -> None:
        headers = headers_of(scope["headers"])
        try:
            visit_id = decode_alive(await read_body(headers, receive, self._body_max_bytes)).visit_id
        except HitRejected as rejected:
            await self._refuse(send, live, rejected)
            return
        reason = ""
        try:
            if not self._hits.beat(headers, peer_of(scope), live, visit_id):
                await self._hits.fetch_salts(live)
                self._hits.beat(headers, peer_of(scope), live, visit_id)
        except HitRejected as rejected:
            # The page load of this visitor was counted among the ignored beacons already.
            reason = rejected.reason
            self._hits.refused_beat(live, reason)
        except StoreUnavailable as error:
            # The next heartbeat makes up for a lost one; the reader gets the last numbers.
            log.debug("a heartbeat is lost: %s", error)
        snapshot = self._stats.fresh(live) or await self._stats.current(live)
        await answers.send_counted(scope, send, 200, answers.numbers_body(snapshot), reason)

    async def _show(self, scope: Scope, receive: Receive, send: Send, live: LiveSite) -> None:
        snapshot = self._stats.fresh(live) or await self._stats.current(live)
        if snapshot.numbers == UNKNOWN:
            detail = "the numbers are not known yet; try again"
            await answers.send_error(send, 503, "not-known-yet", detail, [answers.RETRY_AFTER])
            return
        await answers.send_shown(scope, send, snapshot)

    async def _live(self, scope: Scope, receive: Receive, send: Send, live: LiveSite) -> None:
        await self._streams.serve(scope, receive, send, live)

    ROUTES = (
        Route("POST", HIT_PATH, _hit, "Count a page load", answers.HitNumbers, body=HitBody,
              statuses=(200, 202), headers=PUBLIC, price=0),
        Route("GET", "/v1/sites/{site}/hit.gif", _pixel, "Count a page load without JavaScript", "image/gif",
              query=HitQuery, statuses=(200, 202), headers=PUBLIC, head=False, price=0),
        Route("POST", ALIVE_PATH, _alive, "Say that the page is still read", answers.BoxNumbers,
              body=AliveBody, headers=PUBLIC, price=0),
        Route("GET", "/v1/sites/{site}/stats", _show, "The numbers of a site", answers.BoxNumbers,
              headers=tuple(answers.SHOWN)),
        Route("GET", "/v1/sites/{site}/live", _live, "The numbers as they change, each event those of /stats",
              "text/event-stream", headers=PUBLIC, head=False),
    )  # fmt: skip

    def _note_one(self, route: str, status: int) -> None:
        self._note(route, status, 1)

    # Shared --------------------------------------------------------------------------------------------------------

    async def _refuse(self, send: Send, live: LiveSite, rejected: HitRejected) -> None:
        self._hits.ignore(live, rejected)
        headers = [answers.ignored_header(rejected.reason)]
        if rejected.status == 413:
            headers.append((b"connection", b"close"))  # else the rest of the body would have to be read
        await answers.send_error(send, rejected.status, rejected.reason, rejected.detail, headers)


async def read_body(headers: Headers, receive: Receive, most: int) -> bytes:
    """Read a beacon's body; raises HitRejected for what is too large or of another kind (hostile-inputs rows 1, 10 and
    11)."""
    if not _is_text(headers):
        raise HitRejected("content-type", "send text/plain or application/json, not compressed", status=415)
    length = headers.get(b"content-length", b"0")
    if not length.isdigit() or len(length) > 10 or int(length) > most:
        raise HitRejected("too-large", f"a beacon is at most {most} bytes", status=413)
    body: bytes = b""
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise HitRejected("bad-json", "the beacon ends too early", status=400)
        body += message.get("body", b"")
        if len(body) > most:
            raise HitRejected("too-large", f"a beacon is at most {most} bytes", status=413)
        if not message.get("more_body", False):
            return body


def is_explained(scope: Scope) -> bool:
    """Whether a request asks why a beacon is or is not counted (`web/routes/explain.py`). It is never counted then,
    with or without a token."""
    return (
        scope["method"] == "POST"
        and scope["path"].endswith("/hit")
        and _EXPLAIN.search(scope["query_string"]) is not None
    )


def _is_text(headers: Headers) -> bool:
    kind = headers.get(b"content-type", b"text/plain")
    known = kind in KINDS or kind.partition(b";")[0].strip().lower() in KINDS
    return known and b"content-encoding" not in headers


def peer_of(scope: Scope) -> str:
    """Return the address of the other end of the connection, "" for a unix socket."""
    client = scope.get("client")
    return client[0] if client else ""


async def _busy(send: Send, error: Exception) -> None:
    # The error's own text may name paths or addresses of this machine; it is for the log.
    log.debug("answered 503: %s", error)
    await answers.send_bytes(send, 503, [*answers.NUMBERS, answers.RETRY_AFTER], answers.BUSY)


def _query(text: bytes) -> HitQuery:
    """Read the parameters of a pixel; unknown and repeated ones are left out. Raises HitRejected."""
    if len(text) > LONGEST_QUERY:
        raise HitRejected("too-large", "the address is too long", status=413)
    try:
        pairs = parse_qsl(text.decode("ascii"), max_num_fields=50, errors="strict")
    except (UnicodeDecodeError, ValueError) as error:
        raise HitRejected("bad-text", "the address is not UTF-8", status=400) from error
    found: dict[str, str] = {"u": ""}
    for name, value in pairs:
        if name in HitQuery.__struct_fields__ and not found.get(name):
            found[name] = value
    return HitQuery(**found)
