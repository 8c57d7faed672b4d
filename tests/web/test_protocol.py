"""The short way of a beacon through the HTTP protocol, and where it joins the ordinary one: nobody can tell them
apart."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.client import BROWSERS, HOST, Connection, until
from tests.web.byhand import App, Loop, Wire, connected
from tests.web.inprocess import Running
from visitstats.web.beacons.protocol import LONGEST_HELD, Protocol

HEAD = f"host: {HOST}\r\nuser-agent: {BROWSERS[0]}\r\norigin: https://{HOST}\r\n"


def beacon(article: str) -> bytes:
    return json.dumps({"u": f"https://{HOST}{article}"}).encode()


def hit(article: str, more: str = "", *, version: str = "1.1", path: str = "/v1/sites/t1/hit") -> bytes:
    body = beacon(article)
    return f"POST {path} HTTP/{version}\r\n{HEAD}{more}content-length: {len(body)}\r\n\r\n".encode() + body


def heartbeat(more: str = "", *, body: bytes = b'{"v":"0123456789abcdef"}', path: str = "/v1/sites/t1/alive") -> bytes:
    return f"POST {path} HTTP/1.1\r\n{HEAD}{more}content-length: {len(body)}\r\n\r\n".encode() + body


@pytest.mark.parametrize(
    ("raw", "kept"),
    [
        (hit("/a"), True),
        (hit("/a", "Connection: close\r\n"), False),
        (hit("/a", version="1.0"), False),
        (hit("/a", "Connection: keep-alive\r\n", version="1.0"), False),
        (hit("/a", path="/v1/sites/t1/hit?x=1"), True),
    ],
    ids=["usual", "close", "1.0", "1.0 keep-alive", "query"],
)
async def test_a_hit_is_counted_and_the_connection_kept_as_it_was_asked(app: Running, raw: bytes, kept: bool) -> None:
    connection = await Connection.open(app.ports[0])
    answer = await connection.send(raw)
    assert (answer.status, answer.json["key"], answer.json["views"]) == (200, "/a", 1)
    assert (answer.headers.get("connection") == "close") is not kept
    if kept:
        assert (await connection.send(hit("/b"))).json["key"] == "/b"
    else:
        assert await connection.ended()
    connection.close()


async def test_a_body_may_come_in_any_pieces(app: Running) -> None:
    """Byte by byte, in chunks, and after the service has said that it waits for it."""
    connection = await Connection.open(app.ports[0])
    raw = hit("/slow")
    for n in range(len(raw) - 1):
        await connection.write(raw[n : n + 1])
    assert (await connection.send(raw[-1:])).json["key"] == "/slow"
    body = beacon("/chunked")
    pieces = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:7], body[7:]))
    head = f"POST /v1/sites/t1/hit HTTP/1.1\r\n{HEAD}transfer-encoding: chunked\r\n\r\n".encode()
    assert (await connection.send(head + pieces + b"0\r\n\r\n")).json["key"] == "/chunked"
    connection.close()


async def test_who_waits_for_100_continue_gets_it(app: Running) -> None:
    connection = await Connection.open(app.ports[0])
    raw = hit("/a", "expect: 100-continue\r\n")
    head, body = raw[: raw.index(b"\r\n\r\n") + 4], raw[raw.index(b"\r\n\r\n") + 4 :]
    await connection.write(head)
    assert await connection.head() == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert (await connection.send(body)).json["key"] == "/a"
    connection.close()


async def test_a_body_that_is_no_beacon_is_refused_before_it_has_ended(app: Running) -> None:
    """It is not gathered in memory first, and one that is long by its head is not even begun."""
    connection = await Connection.open(app.ports[0])
    head = f"POST /v1/sites/t1/hit HTTP/1.1\r\n{HEAD}transfer-encoding: chunked\r\n\r\n".encode()
    answer = await connection.send(head + b"%x\r\n" % (100 * LONGEST_HELD) + b"x" * (2 * LONGEST_HELD))
    assert answer.status == 413
    assert await connection.ended()
    connection.close()
    assert (await app.numbers())["today"] == 0


async def test_hits_and_other_requests_in_one_go_are_answered_in_order(app: Running) -> None:
    """A hit waits for its batch; what was sent behind it is answered behind it."""
    connection = await Connection.open(app.ports[0])
    asked = [hit(f"/p{n}") if n % 3 else f"GET /healthz HTTP/1.1\r\n{HEAD}\r\n".encode() for n in range(30)]
    answers = [await connection.send(b"".join(asked))] + [await connection.send(b"") for _ in range(29)]
    found = [answer.json.get("key") if answer.body.startswith(b"{") else None for answer in answers]
    assert found == [f"/p{n}" if n % 3 else None for n in range(30)]
    connection.close()


async def test_a_connection_changes_between_the_two_ways_as_often_as_it_likes(app: Running) -> None:
    """What the short way cannot take, after what it has taken: each request has its own answer, once."""
    connection = await Connection.open(app.ports[0])
    broken = hit("/a").replace(b'{"u"', b'["u"')
    large = hit("/" + "a" * 4200)
    for n in range(3):
        assert (await connection.send(hit(f"/short/{n}"))).json["key"] == f"/short/{n}"
        assert (await connection.send(broken)).status == 400
        assert (await connection.send(hit(f"/again/{n}"))).json["views"] == 1
        assert (await connection.send(large)).status == 400
        assert (await connection.send(large)).status == 400
        assert (await connection.send(hit("/a", path="/v1/sites/none/hit"))).status == 404
        assert (await connection.send(heartbeat())).status == 200
    await connection.write(broken + hit("/behind") + broken + hit("/last"))
    assert [(await connection.send(b"")).status for _ in range(4)] == [400, 200, 400, 200]
    connection.close()


async def test_heartbeats_are_answered_with_the_numbers_whichever_way_they_take(app: Running) -> None:
    """At once while the numbers are fresh, and after they were read anew; one that is none is refused on both ways."""
    connection = await Connection.open(app.ports[0])
    assert (await connection.send(hit("/a"))).json["today"] == 1
    usual = [await connection.send(heartbeat()) for _ in range(3)]
    unusual = await connection.send(heartbeat(path="/v1/sites/t1/alive?x=1"))
    for answer in [*usual, unusual]:
        assert (answer.status, answer.json["today"], answer.json["site"]) == (200, 1, "t1")
        assert "key" not in answer.json
        assert answer.headers.keys() == unusual.headers.keys()
    app.clock.advance(5000)
    assert (await connection.send(heartbeat())).json["today"] == 1
    refused = await connection.send(heartbeat(body=b'{"v":5}'))
    assert (refused.status, refused.json["error"]) == (400, "bad-field")
    assert (await connection.send(heartbeat("content-encoding: gzip\r\n"))).status == 415
    assert (await connection.send(heartbeat(path="/v1/sites/nobodys/alive"))).status == 404
    connection.close()


async def test_heartbeats_behind_hits_wait_for_their_answers(app: Running) -> None:
    """A hit waits for its batch; a heartbeat that could be answered at once must not overtake it."""
    connection = await Connection.open(app.ports[0])
    await connection.send(hit("/first"))
    asked = [heartbeat() if n % 2 else hit(f"/p{n}") for n in range(20)]
    answers = [await connection.send(b"".join(asked))] + [await connection.send(b"") for _ in range(19)]
    assert [answer.json.get("key") for answer in answers] == [None if n % 2 else f"/p{n}" for n in range(20)]
    connection.close()


async def test_a_hit_counts_although_its_reader_has_gone(app: Running) -> None:
    """The hit was complete: its answer is for nobody, and the next reader's is as ever."""
    for n in range(5):
        connection = await Connection.open(app.ports[0])
        await connection.write(hit(f"/gone{n}"))
        connection.cut()

    async def counted() -> bool:
        return await app.connection.views("t1", [f"/gone{n}" for n in range(5)]) == {f"/gone{n}": 1 for n in range(5)}

    await until(counted, "all five are counted")
    assert (await app.numbers())["today"] == 1


@pytest.fixture
def protocol() -> tuple[Protocol, App, Loop, Wire]:
    return connected()


def test_a_quiet_connection_is_closed_when_its_time_is_over_and_not_before(
    protocol: tuple[Protocol, App, Loop, Wire],
) -> None:
    """75 seconds after the last answer; one timer serves all requests of the connection."""
    connection, app, loop, wire = protocol
    for _ in range(3):
        connection.data_received(hit("/a"))
        app.taken[-1][3](200, b"", b"{}")
        loop.advance(50)
        assert not wire.closed
        assert len(loop.timers) == 1
    loop.advance(24)
    assert not wire.closed
    loop.advance(2)
    assert wire.closed


def test_a_connection_that_waits_for_its_answer_is_not_quiet(protocol: tuple[Protocol, App, Loop, Wire]) -> None:
    connection, app, loop, wire = protocol
    connection.data_received(hit("/a"))
    app.taken[-1][3](200, b"", b"{}")
    connection.data_received(hit("/b"))
    loop.advance(500)
    assert not wire.closed
    app.taken[-1][3](200, b"", b"{}")
    loop.advance(76)
    assert wire.closed


def test_an_answer_for_a_connection_that_was_lost_is_dropped(protocol: tuple[Protocol, App, Loop, Wire]) -> None:
    connection, app, loop, wire = protocol
    connection.data_received(hit("/a"))
    wire.close()
    connection.connection_lost(None)
    app.taken[-1][3](200, b"", b"{}")
    assert wire.written == []
    assert loop.timers == []


def test_an_answer_is_given_once(protocol: tuple[Protocol, App, Loop, Wire]) -> None:
    connection, app, _, wire = protocol
    connection.data_received(hit("/a"))
    for _ in range(2):
        app.taken[-1][3](200, b"x: y\r\n", b"{}")
    assert wire.written == [b"HTTP/1.1 200 OK\r\nx: y\r\ncontent-length: 2\r\n\r\n{}"]


def test_a_shutdown_lets_a_hit_be_answered_and_closes_then(protocol: tuple[Protocol, App, Loop, Wire]) -> None:
    connection, app, _, wire = protocol
    connection.data_received(hit("/a"))
    connection.shutdown()
    before = wire.closed
    app.taken[-1][3](200, b"", b"{}")
    assert (before, wire.closed) == (False, True)
    assert b"connection: close\r\n" in wire.written[0]


async def test_a_client_that_does_not_read_its_answers_goes_the_way_that_waits(
    protocol: tuple[Protocol, App, Loop, Wire],
) -> None:
    """Answers that nobody reads would pile up in memory: uvicorn's way writes no more until they are read."""
    connection, app, _, _ = protocol
    connection.loop = asyncio.get_running_loop()
    connection.pause_writing()
    connection.data_received(hit("/a"))
    assert app.taken == []
    assert len(connection.tasks) == 1
    connection.resume_writing()
    await asyncio.gather(*connection.tasks)
    connection.data_received(hit("/b"))
    assert len(app.taken) == 1
