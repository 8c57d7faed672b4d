"""Slow, silent and endless connections (hostile-inputs rows 2 to 6): closed in time, nothing counted, others served."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import pytest

from tests.client import HOST, Connection, until
from tests.web.byhand import BODY, HEAD, REQUEST, App, Loop, connected
from tests.web.inprocess import Running
from visitstats.web.beacons.connections import (
    ANSWER_SECONDS,
    LONGEST_BODY,
    LOOK_AGAIN_SECONDS,
    MOST_SILENT,
    MOST_WAITING,
    REQUEST_SECONDS,
)
from visitstats.web.beacons.heads import LONGEST_HEAD, MOST_HEADERS

# Row 2 ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "pieces",
    [
        [REQUEST[:30], *(REQUEST[n : n + 1] for n in range(30, len(REQUEST) - 1))],
        [b"POST / HTTP/1.1\r\n", *[b"a: b\r\n"] * 60],
        [f"{HEAD}content-length: 500\r\n\r\n".encode() + BODY],
        [f"{HEAD}transfer-encoding: chunked\r\n\r\n".encode(), *[b"1\r\nx\r\n"] * 60],
        [f"{HEAD}transfer-encoding: chunked\r\n\r\n".encode(), *[b"0"] * 7],
        [b"\r\n"],
        [],
    ],
    ids=[
        "a byte every second",
        "headers that never end",
        "Content-Length that lies",
        "chunks that never end",
        "a chunk that never begins",
        "an empty line",
        "a silent socket",
    ],
)
@pytest.mark.parametrize("path", ["/v1/sites/t1/hit", "/v1/sites/t1/hit?x=1", "/v1/sites/t1/views"])
def test_who_is_slow_is_shut_out_at_the_deadline(pieces: list[bytes], path: str) -> None:
    """2: however it is slow, and whichever way its request takes. Nothing is taken from it."""
    protocol, app, loop, wire = connected()
    protocol._start_asgi_task = lambda cycle, app: None  # type: ignore[method-assign]
    left = [piece.replace(b"/v1/sites/t1/hit", path.encode()) for piece in pieces]
    seconds = 0
    while not wire.is_closing() and seconds < 60:
        if left:
            protocol.data_received(left.pop(0))
        loop.advance(1)
        seconds += 1
    assert seconds == REQUEST_SECONDS + 1
    assert app.taken == []


def test_a_later_request_has_its_time_too() -> None:
    """2: a connection that has behaved well may not be kept open by a request that does not end."""
    protocol, app, loop, wire = connected()
    protocol.data_received(REQUEST)
    app.taken[-1][3](200, b"", b"{}")
    loop.advance(60)
    protocol.data_received(REQUEST[:-1])
    loop.advance(REQUEST_SECONDS - 1)
    assert not wire.is_closing()
    loop.advance(REQUEST_SECONDS)
    loop.advance(LOOK_AGAIN_SECONDS)
    assert wire.is_closing()
    assert len(app.taken) == 1


@pytest.mark.parametrize(
    "pieces",
    [
        [b"content-length: 10\r\n\r\n", b"012", b"3456789"],
        [b"content-length: 10\r\n\r\n", b"0", b"123456789"],
        [b"transfer-encoding: chunked\r\n\r\n", b"3\r\nabc\r\n", b"0\r\n\r\n"],
        [b"content-length: 3\r\n\r\nabc"],
        [b"\r\n"],
    ],
    ids=["a length", "a length, first byte alone", "chunks", "all at once", "no body"],
)
async def test_a_connection_that_was_answered_before_its_body_is_not_open_for_ever(pieces: list[bytes]) -> None:
    """A route may answer (404, 405, 413) before all of the request is here: then it is idle when the rest has come."""
    protocol, _, loop, wire = connected()
    loop.create_task = asyncio.get_running_loop().create_task  # type: ignore[attr-defined]
    protocol.data_received(b"POST /v1/sites/s/nothing HTTP/1.1\r\nhost: x\r\n" + pieces[0])
    await asyncio.wait_for(asyncio.gather(*protocol.tasks), 5)
    assert wire.written, "it is answered"
    for piece in pieces[1:]:
        loop.advance(1)
        protocol.data_received(piece)
    assert seconds_until(loop, wire.is_closing) <= 75 + REQUEST_SECONDS
    protocol.connection_lost(None)


@pytest.mark.parametrize("behind", [0, 1, 3])
async def test_the_request_at_work_is_told_that_its_reader_has_gone(behind: int) -> None:
    """Also where others wait behind it: or its stream would go on for nobody, and keep others from having one."""
    told: list[str] = []

    class Endless(App):
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            while (message := await receive())["type"] == "http.request":
                pass
            told.append(f"{scope['path']} {message['type']}")
            await send({"type": "http.response.body", "body": b"x"})

    protocol, _, loop, _ = connected(app=Endless())
    loop.create_task = asyncio.get_running_loop().create_task  # type: ignore[attr-defined]
    waiting = b"".join(b"GET /waits-%d HTTP/1.1\r\nhost: x\r\n\r\n" % n for n in range(behind))
    protocol.data_received(b"GET /live HTTP/1.1\r\nhost: x\r\n\r\n" + waiting)
    await asyncio.sleep(0)
    tasks = set(protocol.tasks)
    protocol.connection_lost(None)
    await asyncio.wait_for(asyncio.gather(*tasks), 5)
    assert told == ["/live http.disconnect"]
    assert (set(protocol.tasks), len(protocol.pipeline)) == (set(), 0)


def test_a_request_in_pieces_is_taken_while_its_time_lasts() -> None:
    """A slow line is no attack."""
    protocol, app, loop, wire = connected()
    for start in range(0, len(REQUEST), 40):
        protocol.data_received(REQUEST[start : start + 40])
        loop.advance(1)
    assert len(app.taken) == 1
    loop.advance(200)
    assert not wire.is_closing(), "it waits for its answer, and not we for it"


def test_a_worker_that_was_held_up_closes_no_connection_with_a_request() -> None:
    """Its timers fire before it reads the bytes that came meanwhile."""
    app = App()
    crowd = [connected("192.0.2.66", app) for _ in range(2 * MOST_SILENT)]
    for protocol, _, loop, _ in crowd:
        loop.advance(REQUEST_SECONDS + 5)
        protocol.data_received(REQUEST)
        loop.advance(LOOK_AGAIN_SECONDS)
    assert not [wire for *_, wire in crowd if wire.closed]
    assert len(app.taken) == len(crowd)


def seconds_until(loop: Loop, true: Callable[[], bool], most: int = 200) -> int:
    """Let the time go by until it is true."""
    for seconds in range(most):
        if true():
            return seconds
        loop.advance(1)
    return most


@pytest.mark.parametrize("closing", [False, True], ids=["open", "closed by us"])
def test_who_takes_nothing_of_its_answers_for_30_seconds_is_cut_off(closing: bool) -> None:
    """They would stay in our memory for ever, on a connection that was closed, too."""
    protocol, app, loop, wire = connected()
    protocol.data_received(REQUEST)
    app.taken[-1][3](200, b"", b"{}")
    wire.unread = 5000
    if closing:
        wire.close()
    assert ANSWER_SECONDS <= seconds_until(loop, lambda: wire.aborted) <= ANSWER_SECONDS + REQUEST_SECONDS
    assert loop.timers == []


def test_who_takes_its_answers_slowly_is_left_alone_while_it_takes_anything() -> None:
    """A slow line is no attack; the time begins anew with everything that is taken."""
    protocol, app, loop, wire = connected()
    protocol.data_received(REQUEST)
    app.taken[-1][3](200, b"", b"{}")
    protocol.data_received(REQUEST)  # it waits for this one, so that it is not quiet
    wire.unread = 5000
    for _ in range(100):
        loop.advance(2)
        wire.unread -= 10
    assert not wire.closed
    assert ANSWER_SECONDS <= seconds_until(loop, lambda: wire.aborted) <= ANSWER_SECONDS + 2 * REQUEST_SECONDS


async def test_a_reader_that_never_reads_is_cut_off(app: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """With real sockets, whose other end says what it has taken; only the times are shorter. It holds no more in memory
    than what one read brings, and the answers to the few requests that are taken of that."""
    monkeypatch.setattr("visitstats.web.beacons.connections.ANSWER_SECONDS", 0.5)
    monkeypatch.setattr("visitstats.web.beacons.protocol.SILENT_SECONDS", 0.1)
    monkeypatch.setattr("visitstats.web.beacons.protocol.REQUEST_SECONDS", 0.3)
    reading = socket.create_connection(("127.0.0.1", app.ports[0]))
    reading.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    reading.setblocking(False)
    asked = f"GET /widget.js HTTP/1.1\r\nhost: {HOST}\r\n\r\n".encode() * 2000
    gone = False

    async def is_cut_off() -> bool:
        nonlocal gone
        try:
            while True:
                reading.send(asked)
        except BlockingIOError:
            pass
        except ConnectionError:
            gone = True
        return gone

    await until(is_cut_off, "the connection is cut", 10)
    reading.close()
    assert (await app.connection.send(REQUEST)).status == 200


# Row 3 ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "head",
    [
        b"x: " + b"a" * LONGEST_HEAD,
        b"a: b\r\n" * (MOST_HEADERS + 1),
        b"x-%b: y\r\n" % (b"a" * LONGEST_HEAD),
    ],
    ids=["a long one", "many", "a long name"],
)
@pytest.mark.parametrize("piece", [1 << 20, 1000], ids=["at once", "in pieces"])
def test_headers_without_end_are_refused(head: bytes, piece: int) -> None:
    """3: 431, once, and closed; the way of a request that is complete in one piece, too."""
    protocol, app, _, wire = connected()
    raw = HEAD.encode() + head + b"\r\ncontent-length: %d\r\n\r\n" % len(BODY) + BODY
    for start in range(0, len(raw), piece):
        if not wire.closed:
            protocol.data_received(raw[start : start + piece])
    assert wire.is_closing()
    assert [answer.partition(b"\r\n")[0] for answer in wire.written] == [
        b"HTTP/1.1 431 Request Header Fields Too Large"
    ]
    assert app.taken == []


def test_many_requests_in_one_piece_are_not_taken_for_one_long_head() -> None:
    """6: what a proxy sends in one go is more than the headers of one request may be."""
    protocol, app, _, wire = connected()
    several = b"".join(b"GET /healthz HTTP/1.1\r\nhost: x\r\nuser-agent: %b\r\n\r\n" % (b"a" * 500) for _ in range(300))
    assert len(several) > LONGEST_HEAD
    protocol.app = app
    protocol._start_asgi_task = lambda cycle, app: None  # type: ignore[method-assign]
    protocol.data_received(several)
    assert not wire.is_closing()
    # 6: what is beyond a few is not looked at, and no more is read.
    assert len(protocol.pipeline) == MOST_WAITING
    assert wire.paused
    protocol.flow.resume_reading()
    assert wire.paused


@pytest.mark.parametrize("path", ["/v1/sites/t1/hit", "/v1/sites/t1/views"])
@pytest.mark.parametrize(
    ("framing", "pieces", "status"),
    [
        ("transfer-encoding: chunked", [b"0\r\n", *[b"trailer: %b\r\n" % (b"a" * 1000)] * 2000], 431),
        ("transfer-encoding: chunked", [b"1;%b\r\nx\r\n" % (b"a" * 900)] * 2000, 413),
        ("transfer-encoding: chunked", [b"400\r\n%b\r\n" % (b"x" * 1024)] * 2000, 413),
        (f"content-length: {LONGEST_BODY + 1}", [b"x" * 1000] * 2000, 413),
        (f"content-length: {10**17}", [b"x" * 1000] * 2000, 413),
    ],
    ids=["trailers", "extensions of chunks", "chunks", "a body", "a body without end"],
)
def test_what_follows_the_head_is_bounded_too(path: str, framing: str, pieces: list[bytes], status: int) -> None:
    """3: whatever form it has, and whether or not the route reads it."""
    protocol, _, _, wire = connected()
    protocol._start_asgi_task = lambda cycle, app: None  # type: ignore[method-assign]
    protocol.data_received(f"{HEAD}{framing}\r\n\r\n".replace("/v1/sites/t1/hit", path).encode())
    sent = 0
    for piece in pieces:
        if not wire.closed:
            protocol.data_received(piece)
            sent += len(piece)
    assert wire.is_closing()
    assert sent <= LONGEST_BODY + 2000
    assert wire.written[-1].startswith(b"HTTP/1.1 %d " % status)


# Rows 5 and 6 --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "raw",
    [
        f"{HEAD}content-length: {len(BODY)}\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n".encode() + BODY,
        f"{HEAD}content-length: 3\r\ncontent-length: {len(BODY)}\r\n\r\n".encode() + BODY,
        f"{HEAD}transfer-encoding: chunked\r\n\r\nzz\r\n".encode() + BODY,
        f"{HEAD}content-length: +{len(BODY)}\r\n\r\n".encode() + BODY,
        f"{HEAD}content-length : {len(BODY)}\r\n\r\n".encode() + BODY,
        REQUEST.replace(b"\r\n", b"\n"),
    ],
    ids=["length and chunked", "two lengths", "a bad chunk", "a signed length", "a space before the colon", "bare \\n"],
)
async def test_what_two_readers_could_take_for_different_requests_is_refused(app: Running, raw: bytes) -> None:
    """5: 400 and closed, so that nothing hides behind it."""
    connection = await Connection.open(app.ports[0])
    assert (await connection.send(raw)).status == 400
    assert await connection.ended()
    connection.close()
    assert (await app.numbers())["total"] == 0


async def test_a_thousand_requests_in_one_go_are_answered_in_order(app: Running) -> None:
    """6: each once, and no more of them are read at a time than are answered."""
    connection = await Connection.open(app.ports[0])
    asked = b"".join(REQUEST.replace(b"/slow", b"/%04d" % n) for n in range(1000))

    async def send() -> None:
        await connection.write(asked)

    sending = asyncio.create_task(send())
    keys = [(await connection.send(b"")).json["key"] for _ in range(1000)]
    await sending
    assert keys == [f"/{n:04}" for n in range(1000)]
    connection.close()


# Row 33 --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "statuses"),
    [
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", {400}),
        (bytes.fromhex("16030100c8010000c40303") + bytes(190), {400}),
        (f"CONNECT {HOST}:443 HTTP/1.1\r\nhost: {HOST}\r\n\r\n".encode(), {400, 405}),
        (HEAD.replace("POST", "TRACE").encode() + b"\r\n", {405}),
        (
            HEAD.replace("POST", "GET").encode()
            + b"connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n"
            + b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            {400, 405},
        ),
    ],
    ids=["HTTP/2 preface", "TLS hello", "CONNECT", "TRACE", "WebSocket upgrade"],
)
async def test_what_is_no_request_of_ours_is_refused(app: Running, raw: bytes, statuses: set[int]) -> None:
    """33: and the next reader is served."""
    connection = await Connection.open(app.ports[0])
    assert (await connection.send(raw)).status in statuses
    connection.close()
    assert (await app.connection.send(REQUEST)).json["views"] == 1
