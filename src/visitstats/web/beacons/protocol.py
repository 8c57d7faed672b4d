"""Our HTTP protocol: uvicorn's, with a shorter way in and out for the data path.

In: the request of a hit or a heartbeat goes to the application's `take_at_once` when it is complete, without a scope, a
cycle and a task of its own. Out: an answer whose headers are constants goes out in one piece; uvicorn checks, lowers
and joins every header of every answer. docs/performance.md has what both save. Everything unusual goes uvicorn's way,
and so does every request on another server.

Where requests begin and end is decided before (`web/beacons/requests.py`). Clients that are slow, silent or do not read
are disconnected here (`web/beacons/connections.py`).
"""

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import Any, cast
from weakref import ref

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from visitstats.web.beacons.address import Headers
from visitstats.web.beacons.connections import (
    LOOK_AGAIN_SECONDS,
    REQUEST_SECONDS,
    SHARE_CLOSED,
    SILENT_SECONDS,
    Peers,
    Unread,
)
from visitstats.web.beacons.heads import Head
from visitstats.web.beacons.requests import Requests, lines_of

EXTENSION = "visitstats.answer"
STREAM = "visitstats.stream"
ROOT = b"/v1/sites/"
log = logging.getLogger(__name__)

HIT = b"/hit"
ALIVE = b"/alive"
LIVE = b"/live"
TAKEN_AT_ONCE = (HIT, ALIVE)
"""The ends of the paths that go the short way in."""
Answer = Callable[[int, bytes, bytes], None]
"""Sends a whole answer: status, header lines (each with its line break), body."""
LONGEST_HELD = 8192
"""The most bytes of a body that is held until it is complete. A longer body is no beacon (`body_max_bytes`): its
request starts at once, so that it can be refused."""
_NOBODY = asyncio.Event()
"""Takes the place of the event with which uvicorn wakes a reader of the request's body."""


LEAVE_SECONDS = 0.5
"""How long an idle connection stays open when the worker ends."""


class HeldBeacon:
    """A request of the data path: it takes the place of uvicorn's cycle, and answers. A connection has one object for
    all of its requests, which come one after the other: a new object for each would cost 0.4 µs."""

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
    """A streamed answer that has begun: it needs no task, any code may write to it."""

    __slots__ = ("_cycle", "_protocol")

    def __init__(self, protocol: "Protocol", cycle: RequestResponseCycle) -> None:
        self._protocol = protocol
        self._cycle = cycle
        protocol.streaming = True

    def write(self, data: bytes, framed: bytes) -> bool:
        """Write data (`framed` is the same as a chunk), unless the client has not read the earlier data yet."""
        cycle = self._cycle
        if cycle.disconnected or cycle.transport.is_closing():
            return True
        if cycle.flow.write_paused:
            return False
        cycle.transport.write(framed if cycle.chunked_encoding else data)
        return True

    def end(self) -> None:
        """End the answer in the usual way."""
        self._protocol.streaming = False

    def close(self) -> None:
        """Cut the connection, even if the client has not read everything."""
        self._protocol.transport.abort()


class Protocol(Requests):
    """One connection."""

    _private = False
    """Whether it is for operators: no beacon is taken on it."""
    streaming = False
    """Whether its answer is a stream."""

    _beacon: HeldBeacon | None = None
    """The object for the connection's data-path requests, one at a time."""
    _held: HeldBeacon | None = None
    """The same object while such a request is not complete yet."""
    _before: Any = None
    """The cycle before it."""
    _quiet_since: float | None = None
    """Since when the connection is idle."""
    _begun: float | None = None
    """Since when an incomplete request is on its way."""
    _first = True
    """Whether it has sent no whole request yet."""
    _looked = False
    """Whether it was late at the last check."""
    _counted = False
    """Whether it is counted among its address's connections."""
    _silent = False
    """Whether it is counted among its address's silent connections."""
    _unread: Unread | None = None
    """The answers that its other end does not take."""

    # In ------------------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._address = self.client[0] if self.client else ""
        is_private = getattr(self.app, "is_private", None)
        self._private = is_private is not None and is_private(self.server)
        self.base = getattr(self.app, "base_path", b"")
        peers: Peers | None = getattr(self.app, "peers", None)
        if peers is not None:
            room = not peers.full or self._close_silent(peers)
            self._counted = room and peers.open(self._address)
            if not self._counted:
                peers.closed("address" if room else "files")
                transport.abort()
                return
        self._begun = self.loop.time()
        self.timeout_keep_alive_task = self.loop.call_later(SILENT_SECONDS, self.timeout_keep_alive_handler)

    def _close_silent(self, peers: Peers) -> bool:
        """Close the connections that have been idle for the longest time, in favour of new clients. Return whether
        there were any."""
        quiet = sorted(
            (since, id(each), each)
            for each in self.connections
            if isinstance(each, Protocol) and (since := each.quiet_since) is not None
        )
        closed = quiet[: max(1, peers.count // SHARE_CLOSED)]
        for _, _, each in closed:
            peers.closed("files")
            each.transport.close()
        if closed:
            log.warning(
                "there are no files for more connections (visitstats_most_files): those on which nothing is asked are "
                "closed; raise the limit (LimitNOFILE)"
            )
        return bool(closed)

    @property
    def quiet_since(self) -> float | None:
        """Since when nothing has been asked on the connection; None while something is, or when it is closing."""
        if self.transport.is_closing() or self.streaming:
            return None
        if self._quiet_since is not None:
            return self._quiet_since
        return self._begun if self._first else None

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
            and not self._private
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
                self.idle()  # the request was answered before all of it had come
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
        """Let go of a held request, and restore the cycle before it."""
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
        """Do nothing: uvicorn's timer for each request would cost 1 µs. One timer for each connection checks all
        deadlines instead."""

    def idle(self) -> None:
        self._quiet_since = self.loop.time()

    def timeout_keep_alive_handler(self) -> None:
        """Check the deadlines, now and from time to time, and close the connection if one has passed."""
        self.timeout_keep_alive_task = None
        now, left = self.loop.time(), REQUEST_SECONDS
        unread = self._unread or Unread(self.transport, now)
        left = min(left, unread.seconds_left(now))
        self._unread = unread if unread.is_any else None
        if self._unread is None and self.transport.is_closing():
            return  # the connection is being closed already
        if left <= 0:
            self._note_closed("not-read")
            self.transport.abort()  # the client does not read
            return
        if self.transport.is_closing():
            pass
        elif self._begun is not None:
            left = min(left, self._begun + REQUEST_SECONDS - now)
            late = self._begun + REQUEST_SECONDS <= now or (self._first and not self._may_be_silent())
            if late and self._looked:
                self._note_closed("incomplete")
                self.transport.close()
                left = REQUEST_SECONDS
            elif late:
                # The rest may have arrived unread: after a stall, timers fire before pending reads.
                left = LOOK_AGAIN_SECONDS
            self._looked = late
        elif self._quiet_since is not None:
            quiet = self._quiet_since + self.timeout_keep_alive - now
            left = min(left, quiet)
            if quiet <= 0:
                self._note_closed("idle")
                super().timeout_keep_alive_handler()
                left = REQUEST_SECONDS
        self.timeout_keep_alive_task = self.loop.call_later(left, self.timeout_keep_alive_handler)

    def shutdown(self) -> None:
        """End the connection as soon as its answer is sent; a stream is ended at once. An idle connection is left open
        for a moment: a request that is already on its way to us would be lost with it, and its sender might not send it
        again."""
        if self.streaming:
            self.transport.close()
        elif self.cycle is None or self.cycle.response_complete:  # type: ignore[redundant-expr]
            self.leaving = True
            self.loop.call_later(LEAVE_SECONDS, self._leave)
        else:
            super().shutdown()

    def _leave(self) -> None:
        if self.transport.is_closing():
            return
        if self._begun is not None:
            self.loop.call_later(LEAVE_SECONDS, self._leave)  # a request is coming in
        elif self.cycle is None or self.cycle.response_complete:  # type: ignore[redundant-expr]
            self.transport.close()

    def _may_be_silent(self) -> bool:
        if not self._silent:
            peers: Peers | None = getattr(self.app, "peers", None)
            if peers is not None:
                self._silent = peers.admit_silent(self._address)
                return self._silent
        return True

    def _note_closed(self, reason: str) -> None:
        peers: Peers | None = getattr(self.app, "peers", None)
        if peers is not None:
            peers.closed(reason)

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
