"""Slow, silent and endless connections (hostile-inputs rows 2 to 6): closed in time, nothing counted, others served."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from tests.client import BROWSERS, HOST, Connection, until
from tests.web.byhand import App, connected
from tests.web.inprocess import Running
from visitstats.web.connections import (
    LONGEST_BODY,
    LONGEST_HEAD,
    LOOK_AGAIN_SECONDS,
    MOST_HEADERS,
    MOST_SILENT,
    REQUEST_SECONDS,
    SILENT_SECONDS,
    SilentPeers,
)

HEAD = f"POST /v1/sites/t1/hit HTTP/1.1\r\nhost: {HOST}\r\nuser-agent: {BROWSERS[0]}\r\norigin: https://{HOST}\r\n"
BODY = b'{"u":"https://%b/slow"}' % HOST.encode()
REQUEST = f"{HEAD}content-length: {len(BODY)}\r\n\r\n".encode() + BODY


# Row 2 ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "pieces",
    [
        [REQUEST[n : n + 1] for n in range(len(REQUEST) - 1)],
        [b"POST / HTTP/1.1\r\n", *[b"a: b\r\n"] * 60],
        [f"{HEAD}content-length: 500\r\n\r\n".encode() + BODY],
        [b"\r\n"] * 60,
        [],
    ],
    ids=["a byte every second", "headers that never end", "Content-Length that lies", "empty lines", "a silent socket"],
)
def test_who_is_slow_is_shut_out_at_the_deadline(pieces: list[bytes]) -> None:
    """2: however it is slow. Nothing is taken from it."""
    protocol, app, loop, wire = connected()
    seconds = 0
    while not wire.is_closing() and seconds < 60:
        if pieces:
            protocol.data_received(pieces.pop(0))
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


def test_a_request_in_pieces_is_taken_while_its_time_lasts() -> None:
    """A slow line is no attack."""
    protocol, app, loop, wire = connected()
    for start in range(0, len(REQUEST), 40):
        protocol.data_received(REQUEST[start : start + 40])
        loop.advance(1)
    assert len(app.taken) == 1
    loop.advance(200)
    assert not wire.is_closing(), "it waits for its answer, and not we for it"


def test_a_worker_that_was_held_up_closes_nobody_whose_request_is_here() -> None:
    """It sees that time has passed before it reads what came meanwhile."""
    app = App()
    crowd = [connected("192.0.2.66", app) for _ in range(2 * MOST_SILENT)]
    for protocol, _, loop, _ in crowd:
        loop.advance(REQUEST_SECONDS + 5)
        protocol.data_received(REQUEST)
        loop.advance(LOOK_AGAIN_SECONDS)
    assert not [wire for *_, wire in crowd if wire.closed]
    assert len(app.taken) == len(crowd)


def test_who_reads_no_answers_is_cut_off() -> None:
    """A closed connection whose last answer is never read does not stay in memory."""
    _, _, loop, wire = connected()
    loop.advance(REQUEST_SECONDS)
    loop.advance(LOOK_AGAIN_SECONDS)
    before = (wire.closed, wire.aborted)
    loop.advance(REQUEST_SECONDS)
    assert (before, (wire.closed, wire.aborted)) == ((True, False), (True, True))
    assert loop.timers == []


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
    assert len(protocol.pipeline) == 299


def test_what_follows_the_headers_is_bounded_too() -> None:
    """3: a chunked body is refused at its limit by the route; trailers without end by the connection."""
    protocol, _, _, wire = connected()
    protocol._start_asgi_task = lambda cycle, app: None  # type: ignore[method-assign]
    protocol.data_received(f"{HEAD}expect: x\r\ntransfer-encoding: chunked\r\n\r\n0\r\n".encode())
    sent = 0
    while not wire.closed and sent < 2 * LONGEST_BODY:
        protocol.data_received(b"trailer: %b\r\n" % (b"a" * 1000))
        sent += 1011
    assert wire.is_closing()
    assert sent <= LONGEST_BODY + 2000
    assert wire.written[-1].startswith(b"HTTP/1.1 413 ")


# Row 4 ---------------------------------------------------------------------------------------------------------------


def test_only_so_many_of_one_address_may_be_silent() -> None:
    """4: of 500, the rest is closed after two seconds; another address is served, and so is one that speaks."""
    app = App()
    silent = [connected("192.0.2.66", app) for _ in range(500)]
    other, well = connected("192.0.2.1", app), connected("192.0.2.66", app)
    well[0].data_received(REQUEST)
    for _, _, loop, _ in (*silent, other, well):
        loop.advance(SILENT_SECONDS)
    for _, _, loop, _ in (*silent, other, well):
        loop.advance(LOOK_AGAIN_SECONDS)
    assert sum(not wire.closed for _, _, _, wire in silent) == MOST_SILENT
    assert not other[3].closed
    assert not well[3].closed
    for protocol, _, _, wire in silent:
        if not wire.closed:
            protocol.data_received(REQUEST)
        else:
            protocol.connection_lost(None)
    assert len(app.taken) == MOST_SILENT + 1
    other[0].connection_lost(None)
    assert app.silent._open == {}, "nothing of them is kept"


def test_an_address_may_be_silent_again_when_others_of_it_have_spoken() -> None:
    peers = SilentPeers()
    assert [peers.admit("192.0.2.66") for _ in range(MOST_SILENT + 1)] == [True] * MOST_SILENT + [False]
    assert peers.admit("192.0.2.67")
    peers.leave("192.0.2.66")
    assert peers.admit("192.0.2.66")
    assert not peers.admit("192.0.2.66")


async def test_others_are_served_beside_500_silent_sockets(app: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """4: with real sockets; only the time is shorter."""
    monkeypatch.setattr("visitstats.web.protocol.SILENT_SECONDS", 0.2)
    async with contextlib.AsyncExitStack() as stack:
        readers = []
        for _ in range(500):
            reader, writer = await asyncio.open_connection("127.0.0.1", app.ports[0])
            stack.callback(writer.close)
            readers.append(reader)
        assert (await app.connection.send(REQUEST)).json["views"] == 1

        async def the_rest_is_closed() -> bool:
            return sum(reader.at_eof() for reader in readers) == 500 - MOST_SILENT

        await until(the_rest_is_closed, "only those that are allowed are open", 10)
        connection = await Connection.open(app.ports[0])
        assert (await connection.send(REQUEST)).status == 200
        connection.close()


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
        connection._writer.write(asked)
        await connection._writer.drain()

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
