"""Finds where each request on a connection begins and ends.

    head, up to its blank line → checks (`web/beacons/heads.py`) → body, by its length or in chunks
    (`web/beacons/chunks.py`) → the next

The parser (llhttp, through uvicorn's protocol) is handed one head, then exactly that head's body. It never decides by
itself where a body ends and the next request begins: with `Upgrade` it would take a body for requests. A request that
breaks the rules is answered 400, after the answers to the requests before it, and ends the connection.
"""

import asyncio
import logging
import re
from typing import Any

import httptools
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from visitstats.web.beacons import safety
from visitstats.web.beacons.chunks import Chunks
from visitstats.web.beacons.connections import LONGEST_BODY, MOST_WAITING
from visitstats.web.beacons.heads import Head, Refused, check, check_beginning, without_blank_line, without_upgrade

log = logging.getLogger(__name__)

END = b"\r\n\r\n"
_METHOD = re.compile(rb"[A-Z]+ ")
TOO_LARGE = ("the body is too long", 413, "too-large")


class Flow(FlowControl):
    """uvicorn's flow control, which does not resume reading while we hold data back."""

    held = False

    def hold(self) -> None:
        """Read nothing until `release`."""
        self.held = True
        self.pause_reading()

    def release(self) -> None:
        """Read on."""
        self.held = False
        self.resume_reading()

    def resume_reading(self) -> None:
        """Read on, unless `hold` says no."""
        if not self.held:
            super().resume_reading()


class Requests(HttpToolsProtocol):
    """One connection, as a sequence of requests."""

    flow: Flow
    _raw_head = b""
    _parsed = False
    """Whether the parser has come to the end of the head at work."""
    _rest: bytes | bytearray = b""
    """What was read and belongs to no request yet: the beginning of a head, or whole requests that have to wait."""
    _missing = 0
    """Bytes of a body that are still to come."""
    _chunks: Chunks | None = None
    """The body at work, if it comes in chunks."""
    _received = 0
    """Bytes of the body at work, with all that is around its chunks."""
    _host: bytes | None = None
    """The Host of an earlier request: most connections have one."""
    _last = False
    base = b""
    """The prefix that a proxy in front leaves before every path."""
    leaving = False
    """Whether the worker ends: then the next request is answered, and is the connection's last."""
    """Whether bytes behind the request at work are ignored."""
    _refusal = b""
    """An answer that ends the connection, and waits for its turn."""
    _broken: RequestResponseCycle | None = None
    """The request in the pipeline whose body was refused."""
    _open = False
    """Whether the head at work was taken and its request is not complete yet."""
    _working = False
    """Whether data is being taken just now."""
    _at_work: RequestResponseCycle | None = None
    """The request that is being answered. `cycle` is the newest one, which may wait behind it."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.flow = Flow(transport)
        self.head = Head()
        """What the head at work says."""

    def data_received(self, data: bytes) -> None:
        rest = self._rest
        if rest:
            known = len(rest)
            rest += data
            self._rest = rest
            if self.flow.held:
                return
            if rest.find(END, max(known - 3, 0)) < 0:
                try:
                    self._keep(rest, known)
                except Refused as refused:
                    self._refuse(refused)
                return
            data, self._rest = bytes(rest), b""
        self._take(data)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        # uvicorn tells only the newest request: the one that is being answered would go on, and write to a closed
        # connection.
        cycle = self._at_work
        if cycle is not None and not cycle.response_complete:
            cycle.disconnected = True
            cycle.message_event.set()
        self.pipeline.clear()
        self._rest, self._chunks, self._at_work = b"", None, None

    # What belongs to which request ---------------------------------------------------------------------------------

    def _take(self, data: Any) -> None:
        """Take what was read: bodies to their requests, heads to the parser."""
        self._working = True
        at, end = 0, len(data)
        try:
            while at < end:
                if self._missing:
                    piece = data[at : at + self._missing]
                    at += len(piece)
                    self._missing -= len(piece)
                    self.parser.feed_data(piece)
                    if self._open and not self._missing:
                        raise Refused(*TOO_LARGE)  # it is not complete, so there is more than was waited for
                elif self._chunks is not None:
                    at = self._take_chunks(self._chunks, data, at)
                elif self._last:
                    self.flow.hold()
                    return
                elif len(self.pipeline) >= MOST_WAITING:
                    self._rest = data[at:]
                    self.flow.hold()
                    return
                else:
                    stop = data.find(END, at) + 4
                    if stop < 4:
                        self._keep(bytearray(data[at:]), 0)
                        return
                    raw, at = data[at:stop], stop
                    if not 65 <= raw[0] <= 90:
                        raw = without_blank_line(raw)
                    self._raw_head, self._parsed, wants_upgrade = raw, False, False
                    try:
                        self.parser.feed_data(raw)
                    except httptools.HttpParserUpgrade:
                        wants_upgrade = True
                    if wants_upgrade:
                        self._take_again(raw)
                    if not self._parsed:
                        raise Refused("the head is malformed")
            if self._open:
                self.begun()
        except Refused as refused:
            self._refuse(refused)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._refuse(_reason(error, self._raw_head))
        finally:
            self._working = False

    def _take_again(self, raw: bytes) -> None:
        """Take a head without its wish for another protocol, with a parser that has not seen that."""
        self.parser = httptools.HttpRequestParser(self)
        self._raw_head = without_upgrade(raw)
        self.parser.feed_data(self._raw_head)

    def _keep(self, rest: bytes | bytearray, known: int) -> None:
        """Keep the beginning of a head until there is more of it; `known` bytes of it were here before."""
        self._raw_head = bytes(rest[:8])
        check_beginning(rest, known)
        self._rest = rest
        self.begun()

    def _take_chunks(self, chunks: Chunks, data: bytes, at: int) -> int:
        content, stop = chunks.take(data, at)
        self._received += stop - at
        if self._received > LONGEST_BODY:
            raise Refused(*TOO_LARGE)
        if content:
            self.parser.feed_data(b"%x\r\n%b\r\n" % (len(content), content))
        if chunks.is_complete:
            self._chunks = None
            self.parser.feed_data(b"0\r\n\r\n")
        return stop

    # What the parser says ------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self.url = b""
        self.headers = []

    def on_header(self, name: bytes, value: bytes) -> None:
        # The parser leaves the spaces behind a value in it.
        self.headers.append((name.lower(), value.strip()))

    def on_headers_complete(self) -> None:
        parser = self.parser
        if parser.should_upgrade():
            if parser.get_method() == b"CONNECT":
                raise Refused("this is no proxy")
            return  # the parser stops here, and the head is read again without it
        head = self.head
        check(head, self._raw_head, parser.get_method(), self.url, self.headers, self._host)
        self._parsed = True
        self._host = head.headers.get(b"host")
        if self.base:
            head.target = _below(self.base, head.target)
        self.url = head.target
        length = head.length
        self._missing = length if length <= LONGEST_BODY else LONGEST_BODY
        if head.chunked:
            self._chunks, self._received = Chunks(), 0
        if self.leaving:
            head.is_last = True
        self._last = head.is_last
        self.on_head(head)
        self._open = True

    def on_message_complete(self) -> None:
        if self._parsed:  # else the parser has only stopped at an upgrade
            self._open = False
            self.on_whole()

    def on_whole(self) -> None:
        """The request is here with all of its body."""
        super().on_message_complete()

    def on_head(self, head: Head) -> None:
        """A request begins."""
        self.start(head)

    def start(self, head: Head) -> None:
        """Let a request go uvicorn's way: do what that does before it knows the address, and then with the headers."""
        url, headers = self.url, self.headers
        super().on_message_begin()
        self.url = url
        self.headers += headers
        self.expect_100_continue = head.continues
        super().on_headers_complete()
        if head.is_last:
            self.cycle.keep_alive = False

    def begun(self) -> None:
        """A request is on its way that is not complete yet."""

    # Answers -------------------------------------------------------------------------------------------------------

    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        if self.flow.read_paused:
            self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        elif self._refusal:
            self.transport.write(self._refusal)
            self.transport.close()
            return
        else:
            self.idle()
        if self.flow.held and not self.pipeline and not self._working and not self._last:
            self._read_on()

    def idle(self) -> None:
        """All requests that are here are answered."""

    def _read_on(self) -> None:
        """Take what had to wait."""
        data, self._rest = bytes(self._rest), b""
        self.flow.release()
        self._take(data)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        if cycle is self._broken:
            self.transport.write(self._refusal)
            self.transport.close()
        else:
            self._at_work = cycle
            super()._start_asgi_task(cycle, app)

    def _refuse(self, refused: Refused) -> None:
        """Answer a refused request after the requests before it, and close the connection."""
        log.info("a request was refused and its connection closed: %s", refused.detail)
        if (note := getattr(self.app, "note_refused", None)) is not None:
            note(refused.code)
        self._last, self._missing, self._chunks, self._rest = True, 0, None, b""
        self._refusal = self.refusal(refused)
        if self.transport.is_closing():
            return
        self.flow.hold()
        cycle = self.cycle
        if self._open:
            self._end_broken(cycle)
        elif cycle is None or cycle.response_complete:  # type: ignore[redundant-expr]
            self.transport.write(self._refusal)
            self.transport.close()

    def _end_broken(self, cycle: RequestResponseCycle) -> None:
        """End the request at work, whose body was refused."""
        if self.pipeline and self.pipeline[0][0] is cycle:
            self._broken = cycle
            return
        if not cycle.response_started:
            self.transport.write(self._refusal)
            cycle.response_started = cycle.response_complete = cycle.disconnected = True
            cycle.message_event.set()
        self.transport.close()

    def refusal(self, refused: Refused) -> bytes:
        """Return the whole answer to a refused request."""
        body = b'{"error":"%b","detail":"%b"}' % (refused.code.encode(), refused.detail.encode())
        sent = b"" if self._raw_head.startswith(b"HEAD ") else body  # RFC 9110, 9.3.2
        return (
            b"%b%bcontent-type: application/json\r\n%bcache-control: no-store\r\n"
            b"cross-origin-resource-policy: cross-origin\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%b"
        ) % (STATUS_LINE[refused.status], lines_of(self.server_state.default_headers), safety.LINES, len(body), sent)


def _reason(error: Exception, head: bytes) -> Refused:
    """Return why the parser failed: the bytes are malformed, or one of our methods has refused them."""
    cause = error.__context__
    if isinstance(error, httptools.HttpParserInvalidMethodError) and _METHOD.match(head):
        try:
            check_beginning(head, 0)  # the same refusal, in whatever pieces the bytes come
        except Refused as refused:
            return refused
        return Refused("this method is not known", 501, "not-implemented")
    if cause is None or isinstance(cause, (httptools.HttpParserError, httptools.HttpParserUpgrade)):
        return Refused("this is no request of HTTP/1.1")
    if isinstance(cause, Refused):
        return cause
    log.error("a request met a bug", exc_info=cause)
    return Refused("this is a bug; the service has logged it", 500, "internal-error")


def _below(base: bytes, target: bytes) -> bytes:
    """Return a target without the path under which a proxy serves us. A target that is not below that path stays as it
    is, because clients that ask us directly do not use it."""
    rest = target[len(base) :]
    if not target.startswith(base) or rest[:1] not in (b"/", b"?", b""):
        return target
    return rest if rest.startswith(b"/") else b"/" + rest


_written: tuple[list[tuple[bytes, bytes]], bytes] = ([], b"")
"""The server's own headers, and their lines."""


def lines_of(headers: list[tuple[bytes, bytes]]) -> bytes:
    """Write the server's own headers (the date); uvicorn makes a new list of them once a second."""
    global _written
    known, lines = _written
    if headers is not known:
        lines = b"".join([b"%b: %b\r\n" % each for each in headers])
        _written = headers, lines
    return lines
