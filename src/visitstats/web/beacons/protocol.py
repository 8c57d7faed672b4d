"""Our HTTP protocol: uvicorn's, with a shorter way in and out for the data path.

In: the request of a hit or a heartbeat goes to the application's `take_at_once` when it is complete, without a scope,
a cycle and a task of its own. Out: an answer whose headers are constants goes out in one piece; uvicorn checks, lowers
and joins every header of every answer. What they bring is in docs/performance.md. Everything unusual goes uvicorn's
way, and so does everything on a server that is not ours.

Where requests begin and end is decided before (`web/beacons/requests.py`). Whoever is slow, silent or does not read is
shut out here (`web/beacons/connections.py`).
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, cast
from weakref import ref

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from visitstats.web.beacons.address import Headers
from visitstats.web.beacons.connections import (
    LOOK_AGAIN_SECONDS,
    REQUEST_SECONDS,
    SILENT_SECONDS,
    Peers,
    Unread,
)
from visitstats.web.beacons.heads import Head
from visitstats.web.beacons.requests import Requests, lines_of

EXTENSION = "visitstats.answer"
STREAM = "visitstats.stream"
ROOT = b"/v1/sites/"
HIT = b"/hit"
ALIVE = b"/alive"
LIVE = b"/live"
TAKEN_AT_ONCE = (HIT, ALIVE)
"""The ends of the addresses that go the short way in."""
Answer = Callable[[int, bytes, bytes], None]
"""Sends a whole answer: status, header lines (each with its line break), body."""
LONGEST_HELD = 8192
"""Bytes. A body that is longer, or grows beyond this, is no beacon (`body_max_bytes`): its request starts at once, so
that it can be refused."""
_NOBODY = asyncio.Event()
"""Stands for the event that uvicorn sets for whoever waits for a request's body."""


class HeldBeacon:
    """A request of the data path: what uvicorn wants to know of the cycle at work, and how it is answered. A connection
    has one for all of them, which come one after the other: a new object for each would cost 0.4 µs."""

    __slots__ = ("_protocol", "body", "disconnected", "headers", "keep_alive", "response_complete")
    message_event = _NOBODY

    def __init__(self, protocol: "Protocol") -> None:
        self._protocol = protocol
        self.headers: Headers = {}
        self.keep_alive = False
        self.body = b""
        self.response_complete = True
        self.disconnected = False

    def answer(self, status: int, headers: bytes, body: bytes) -> None:
        """Write the whole answer and end the request."""
        protocol = self._protocol
        if self.disconnected or self.response_complete or protocol.transport.is_closing():
            return
        self.response_complete = True
        dated = lines_of(protocol.server_state.default_headers)
        if not self.keep_alive:
            dated += b"connection: close\r\n"
        protocol.transport.write(
            b"%b%b%bcontent-length: %d\r\n\r\n%b" % (STATUS_LINE[status], dated, headers, len(body), body)
        )
        if not self.keep_alive:
            protocol.transport.close()
        protocol.on_response_complete()


class Stream:
    """An answer without end that has begun: whoever has something to say writes it here, without a task."""

    __slots__ = ("_cycle", "_protocol")

    def __init__(self, protocol: "Protocol", cycle: RequestResponseCycle) -> None:
        self._protocol = protocol
        self._cycle = cycle
        protocol.streaming = True

    def write(self, data: bytes, framed: bytes) -> bool:
        """Write data (`framed` is the same as a chunk), unless the other end has not read what was written before."""
        cycle = self._cycle
        if cycle.disconnected or cycle.transport.is_closing():
            return True
        if cycle.flow.write_paused:
            return False
        cycle.transport.write(framed if cycle.chunked_encoding else data)
        return True

    def end(self) -> None:
        """The answer ends after all, in the usual way."""
        self._protocol.streaming = False

    def close(self) -> None:
        """End the connection, whatever its other end has not read."""
        self._protocol.transport.abort()


class Protocol(Requests):
    """One connection."""

    streaming = False
    """Its answer has no end."""

    _beacon: HeldBeacon | None = None
    """The connection's requests of the data path, one at a time."""
    _held: HeldBeacon | None = None
    """The same while such a request is not complete yet."""
    _before: Any = None
    """The cycle before it."""
    _quiet_since: float | None = None
    """Since when the connection is idle."""
    _begun: float | None = None
    """Since when a request is on its way that is not complete yet."""
    _first = True
    """It has not sent a whole request yet."""
    _looked = False
    """It was late when it was looked at last."""
    _counted = False
    """It is one of its address's connections."""
    _silent = False
    """It is one of its address's silent connections."""
    _unread: Unread | None = None
    """Answers that its other end does not take."""

    # In ------------------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._address = self.client[0] if self.client else ""
        peers: Peers | None = getattr(self.app, "peers", None)
        if peers is not None:
            self._counted = peers.open(self._address)
            if not self._counted:
                transport.abort()
                return
        self._begun = self.loop.time()
        self.timeout_keep_alive_task = self.loop.call_later(SILENT_SECONDS, self.timeout_keep_alive_handler)

    def begun(self) -> None:
        self._quiet_since = None
        if self._begun is None:
            self._begun = self.loop.time()

    def on_head(self, head: Head) -> None:
        url, cycle = self.url, self.cycle
        self._quiet_since = None
        if (
            url.endswith(TAKEN_AT_ONCE)
            and url.startswith(ROOT)
            and b"%" not in url
            and b"?" not in url
            and (cycle is None or cycle.response_complete)  # type: ignore[redundant-expr]
            and not self.flow.write_paused
            and not head.continues
            and head.length <= LONGEST_HELD
            and self.parser.get_method() == b"POST"
        ):
            self._before = cycle
            held = self._beacon
            if held is None:
                held = self._beacon = HeldBeacon(self)
            held.headers, held.keep_alive, held.body = head.headers, not head.is_last, b""
            held.response_complete = False
            self._held = self.cycle = held  # type: ignore[assignment]
            return
        self.start(head)

    def on_body(self, body: bytes) -> None:
        held = self._held
        if held is None:
            super().on_body(body)
            return
        held.body = held.body + body if held.body else body
        if len(held.body) > LONGEST_HELD:
            self._release()

    def on_whole(self) -> None:
        self._begun = None
        if self._first:
            self._first = False
            self._no_more_silent()
        held = self._held
        if held is None:
            super().on_whole()
            if self.cycle.response_complete and not self.pipeline:
                self.idle()  # it was answered before all of it was here
            return
        take_at_once = getattr(self.app, "take_at_once", None)
        if take_at_once is not None and take_at_once(self.url, held.headers, self._address, held.body, held.answer):
            self._held = None
            self._before = None
        else:
            self._release()
            super().on_whole()

    def _release(self) -> None:
        """Let a held request go uvicorn's way."""
        held = self._held
        if held is not None:
            self._drop()
            self.start(self.head)
            super().on_body(held.body)

    def _drop(self) -> None:
        """Hold a request no longer: it is nobody's any more, and it may be the cycle before, too."""
        held = self._held
        if held is not None:
            self._held = None
            held.response_complete = True
            self.cycle, self._before = self._before, None

    def _end_broken(self, cycle: RequestResponseCycle) -> None:
        if self._held is None:
            super()._end_broken(cycle)
            return
        self._drop()
        self.transport.write(self._refusal)
        self.transport.close()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        if cycle.scope["raw_path"].startswith(ROOT) and not self.flow.write_paused:
            extensions: dict[str, Any] = {EXTENSION: partial(_answer, ref(cycle))}
            if cycle.scope["raw_path"].endswith(LIVE):
                extensions[STREAM] = partial(Stream, self, cycle)
            cast(dict[str, Any], cycle.scope)["extensions"] = extensions
        super()._start_asgi_task(cycle, app)

    # Deadlines -----------------------------------------------------------------------------------------------------

    def _unset_keepalive_if_required(self) -> None:
        """A timer for each request would cost 1 µs: there is one for the connection, which looks when it rings."""

    def idle(self) -> None:
        self._quiet_since = self.loop.time()

    def timeout_keep_alive_handler(self) -> None:
        """Look whether the connection is to be closed, now and from time to time."""
        self.timeout_keep_alive_task = None
        now, left = self.loop.time(), REQUEST_SECONDS
        unread = self._unread or Unread(self.transport, now)
        left = min(left, unread.seconds_left(now))
        self._unread = unread if unread.is_any else None
        if self._unread is None and self.transport.is_closing():
            return  # its end is on the way
        if left <= 0:
            self.transport.abort()  # its other end does not read
            return
        if self.transport.is_closing():
            pass
        elif self._begun is not None:
            left = min(left, self._begun + REQUEST_SECONDS - now)
            late = self._begun + REQUEST_SECONDS <= now or (self._first and not self._may_be_silent())
            if late and self._looked:
                self.transport.close()
                left = REQUEST_SECONDS
            elif late:
                # The rest of it may be here, unread: a worker that was held up sees the time before the bytes.
                left = LOOK_AGAIN_SECONDS
            self._looked = late
        elif self._quiet_since is not None:
            quiet = self._quiet_since + self.timeout_keep_alive - now
            left = min(left, quiet)
            if quiet <= 0:
                super().timeout_keep_alive_handler()
                left = REQUEST_SECONDS
        self.timeout_keep_alive_task = self.loop.call_later(left, self.timeout_keep_alive_handler)

    def shutdown(self) -> None:
        """End the connection as soon as its answer is sent; a stream never would be."""
        if self.streaming:
            self.transport.close()
        else:
            super().shutdown()

    def _may_be_silent(self) -> bool:
        if not self._silent:
            peers: Peers | None = getattr(self.app, "peers", None)
            if peers is not None:
                self._silent = peers.admit_silent(self._address)
                return self._silent
        return True

    def _no_more_silent(self) -> None:
        if self._silent:
            self._silent = False
            self.app.peers.leave_silent(self._address)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._no_more_silent()
        if self._counted:
            self._counted = False
            self.app.peers.close(self._address)
        if self.timeout_keep_alive_task is not None:
            self.timeout_keep_alive_task.cancel()
            self.timeout_keep_alive_task = None
        self._held = self._before = self._beacon = None


def _answer(holder: "ref[RequestResponseCycle]", status: int, headers: bytes, body: bytes) -> None:
    """Write a whole answer and end the cycle, as RequestResponseCycle.send does in two steps.

    A cycle holds its scope, and that holds this function: by a weak reference, or each request would be garbage that
    only a collection finds (in a profile 18 % of a hit were collections).
    """
    cycle = holder()
    if cycle is None or cycle.disconnected or cycle.response_started:
        return
    cycle.response_started = cycle.response_complete = True
    cycle.waiting_for_100_continue = False
    dated = lines_of(cycle.default_headers)
    if not cycle.keep_alive:
        dated += b"connection: close\r\n"
    cycle.transport.write(
        b"%b%b%bcontent-length: %d\r\n\r\n%b" % (STATUS_LINE[status], dated, headers, len(body), body)
    )
    cycle.message_event.set()
    if not cycle.keep_alive:
        cycle.transport.close()
    cycle.on_response()
