"""One answer: the usual way of a request and the unusual ones give the same status, body and headers.

A hit or a heartbeat that is complete goes a shorter way through the protocol (`web/beacons/protocol.py`); a query, an
expectation, HTTP/1.0 or a body that is too large do not. Nobody can tell from the answer.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.client import BROWSERS, HOST, Answer, Connection
from tests.web.inprocess import DATE, Running, running


class Beacon(NamedTuple):
    """A request of the data path, before it is written in one way or another."""

    action: str
    body: bytes
    headers: dict[str, str]
    site: str


def hit(path: str = "/a", hit_id: str = "", **headers: str) -> Callable[[str], Beacon]:
    body: dict[str, Any] = {"u": f"https://{HOST}{path}", "v": "0123456789abcdef"}
    if hit_id:
        body["h"] = hit_id
    return raw("hit", json.dumps(body).encode(), **headers)


def raw(action: str, body: bytes, site: str = "", **headers: str) -> Callable[[str], Beacon]:
    named = {"user-agent": BROWSERS[0], "origin": f"https://{HOST}", "content-type": "text/plain;charset=UTF-8"}
    named |= {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda own: Beacon(action, body, named, site or own)


BEACON = b'{"u":"https://%b/a"}' % HOST.encode()
KINDS: dict[str, Callable[[str], Beacon]] = {
    "a hit": hit(),
    "another article": hit("/b", "0123456789abcdef01"),
    "the same beacon again": hit("/b", "0123456789abcdef01"),
    "as JSON": hit("/c", content_type="application/json"),
    "a bot": hit(user_agent="Googlebot/2.1 (+http://www.google.com/bot.html)"),
    "no agent": hit(user_agent=""),
    "a prefetch": hit(sec_purpose="prefetch"),
    "a foreign origin": hit(origin="https://elsewhere.example"),
    "a foreign page": raw("hit", b'{"u":"https://elsewhere.example/a"}'),
    "an article that is too long": raw("hit", b'{"u":"https://%b/%b"}' % (HOST.encode(), b"x" * 5000)),
    "bad JSON": raw("hit", b'{"u"'),
    "bad UTF-8": raw("hit", b'{"u":"\xff"}'),
    "an empty body": raw("hit", b""),
    "a body too long": raw("hit", b'{"u":"%b"}' % (b"x" * 9000)),
    "a body much too long": raw("hit", b'{"u":"%b"}' % (b"x" * 90_000)),
    "a compressed body": raw("hit", BEACON, content_encoding="gzip"),
    "a form": raw("hit", b"u=x", content_type="application/x-www-form-urlencoded"),
    "a heartbeat": raw("alive", b'{"v":"0123456789abcdef"}'),
    "a heartbeat of nobody": raw("alive", b"{}"),
    "a bad heartbeat": raw("alive", b'{"v":5}'),
    "a heartbeat too long": raw("alive", b'{"v":"%b"}' % (b"x" * 9000)),
    "a hit for no site": raw("hit", BEACON, "nosuch"),
    "a heartbeat for no site": raw("alive", BEACON, "nosuch"),
}

Way = Callable[[Beacon], tuple[bytes, bytes]]
"""Writes a beacon as a head and a body."""


def plain(beacon: Beacon, *more: str, query: str = "", version: str = "1.1", prefix: str = "") -> tuple[bytes, bytes]:
    lines = [
        f"POST {prefix}/v1/sites/{beacon.site}/{beacon.action}{query} HTTP/{version}",
        f"Host: {HOST}",
        *(f"{name}: {value}" for name, value in beacon.headers.items()),
        *(more or [f"Content-Length: {len(beacon.body)}"]),
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n", beacon.body


def in_chunks(beacon: Beacon, *more: str, query: str = "") -> tuple[bytes, bytes]:
    parts = [beacon.body[n : n + 1000] for n in range(0, len(beacon.body), 1000)]
    body = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
    return plain(beacon, "Transfer-Encoding: chunked", *more, query=query)[0], body


def with_length(beacon: Beacon, *more: str) -> tuple[bytes, bytes]:
    return plain(beacon, f"Content-Length: {len(beacon.body)}", *more)


WAYS: dict[str, Way] = {
    "chunks": in_chunks,
    "a query": lambda beacon: plain(beacon, query="?x=1"),
    "a query, in chunks": lambda beacon: in_chunks(beacon, query="?x=1"),
    "HTTP/1.0": lambda beacon: plain(beacon, version="1.0"),
    "an expectation": lambda beacon: with_length(beacon, "Expect: 100-continue"),
    "an expectation, in chunks": lambda beacon: in_chunks(beacon, "Expect: 100-continue"),
    "absolute form": lambda beacon: plain(beacon, prefix=f"http://{HOST}"),
    "the wish for another protocol": lambda beacon: with_length(beacon, "Connection: Upgrade", "Upgrade: h2c"),
    "the last of its connection": lambda beacon: with_length(beacon, "Connection: close"),
}


async def asked(app: Running, site: str, way: Way, *, pieces: bool = False) -> dict[str, Answer]:
    """Send each kind of request in this way to a site of its own; an answer without what is the way's own affair."""
    await app.put_site(id=site)
    found = {}
    for name, kind in KINDS.items():
        head, body = way(kind(site))
        connection = await Connection.open(app.ports[0])
        if pieces:
            await connection.write(head)
            answer = await connection.send(body)
        else:
            answer = await connection.send(head + body)
        if answer.status == 100:
            answer = await connection.send(b"")
        connection.close()
        headers = {field: value for field, value in answer.headers.items() if field != "connection"}
        assert int(headers.pop("content-length")) == len(answer.body), name
        # A hit does not wait for these: they are read beside, and are null until then.
        body = re.sub(rb'"average":.*?,"record_date":[^,]*', b"", answer.body)
        found[name] = Answer(answer.status, headers, body.replace(site.encode(), b"SITE"))
    return found


@pytest.mark.parametrize("way", [*WAYS, "a body that comes later"])
async def test_the_answer_is_the_same_whichever_way_a_request_takes(tmp_path: Path, redis_url: str, way: str) -> None:
    async with running(tmp_path / "data", redis_url, answer_timeout_ms=5000) as app:
        usual = await asked(app, "usual-way", plain)
        unusual = await asked(app, "other-way", WAYS.get(way, plain), pieces=way not in WAYS)
        assert unusual == usual
        assert {answer.status for answer in usual.values()} == {200, 400, 404, 413, 415}
        for name, answer in usual.items():
            assert answer.headers["date"] == DATE.decode(), name
            assert answer.headers["cache-control"] == "no-store", name
            assert answer.headers["x-content-type-options"] == "nosniff", name
            assert answer.headers["content-type"] == "application/json", name


@pytest.mark.parametrize("query", ["", "?x=1"], ids=["usual", "unusual"])
async def test_a_length_that_is_too_long_is_refused_before_the_body(app: Running, query: str) -> None:
    """On both ways: a client that announces a gigabyte is refused before it sends it."""
    for length in (9_000, 1_000_000_000):
        connection = await Connection.open(app.ports[0])
        head = f"POST /v1/sites/t1/hit{query} HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {length}\r\n\r\n"
        answer = await connection.send(head.encode())
        assert (answer.status, answer.json["error"]) == (413, "too-large"), length
        connection.close()


async def test_the_numbers_are_shown_with_the_same_headers_by_get_and_head(app: Running) -> None:
    """GET goes out in one piece, HEAD and 304 as uvicorn writes them."""
    path = "/v1/sites/t1/stats"
    get = await app.connection.request("GET", path)
    head = await app.connection.request("HEAD", path)
    assert (get.status, head.status) == (200, 200)
    assert head.headers == get.headers
    same = await app.connection.request("GET", path, headers={"if-none-match": get.headers["etag"]})
    assert same.status == 304
    assert same.headers.items() <= get.headers.items()


async def test_a_refusal_of_the_connection_is_an_error_of_the_contract(app: Running) -> None:
    """With a code and a detail, as from any route; it says that the connection ends, and no cache keeps it."""
    connection = await Connection.open(app.ports[0])
    answer = await connection.send(b"POST / HTTP/1.1\r\n\r\n")
    assert (answer.status, set(answer.json)) == (400, {"error", "detail"})
    assert answer.headers["date"] == DATE.decode()
    assert answer.headers["connection"] == "close"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    connection.close()


@pytest.mark.parametrize(
    "head",
    [
        b"HEAD /v1/sites/t1/stats HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: x\r\n\r\n",
        b"HEAD / HTTP/1.1\r\n\r\n",
        b"HEAD / HTTP/1.1\r\nHost: x\n",
        b"HEAD / HTTP/1.1\r\nHost: x\r\n" + b"a: b\r\n" * 200 + b"\r\n",
    ],
    ids=["a coding", "no host", "a loose line end", "too many lines"],
)
async def test_a_refusal_of_head_has_no_body(app: Running, head: bytes) -> None:
    """RFC 9110, 9.3.2: whoever asked for the head takes what comes behind it for the next answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", app.ports[0])
    writer.write(head)
    answer = await asyncio.wait_for(reader.read(), 10)
    assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 431 "))
    assert answer.endswith(b"\r\n\r\n")
    assert answer.count(b"\r\n\r\n") == 1
    writer.close()
