"""The log is not a stranger's to fill: no request, however broken, writes more than a counted line a minute."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct

import pytest

from tests.client import HOST, Connection
from tests.driver import Service
from tests.web.inprocess import Running

HEAD = f"HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/json\r\n"
BROKEN_OFF = {
    "views": f"POST /v1/sites/t1/views {HEAD}Content-Length: 75\r\n\r\n{{",
    "views in chunks": f"POST /v1/sites/t1/views {HEAD}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    "a bad chunk of views": f"POST /v1/sites/t1/views {HEAD}Transfer-Encoding: chunked\r\n\r\n5\r\nhello!",
    "a hit": f"POST /v1/sites/t1/hit {HEAD}Content-Length: 75\r\n\r\n{{",
    "a hit the other way": f"POST /v1/sites/t1/hit?x=1 {HEAD}Content-Length: 75\r\n\r\n{{",
    "an explanation": f"POST /v1/sites/t1/hit?explain=1 {HEAD}Content-Length: 75\r\n\r\n{{",
    "a heartbeat": f"POST /v1/sites/t1/alive?x=1 {HEAD}Transfer-Encoding: chunked\r\n\r\n",
    "a merge": f"POST /v1/admin/sites/t1/merge {HEAD}Content-Length: 75\r\n\r\n{{",
    "a head": f"GET /v1/sites/t1/stats {HEAD}",
    "a request that is none": "\x16\x03\x01\0\0\r\n\r\n",
    "a request without a host": "GET / HTTP/1.1\r\n\r\n",
    "an answer that nobody waits for": f"GET /widget.js {HEAD}\r\n" * 10,
}


@pytest.mark.parametrize("kind", BROKEN_OFF)
@pytest.mark.parametrize("scope", ["", "admin"], ids=["stranger", "administrator"])
async def test_a_request_that_breaks_off_is_no_error(
    app: Running, caplog: pytest.LogCaptureFixture, kind: str, scope: str
) -> None:
    """Nothing of it is told as an error, whoever it was: readers close pages, and phones lose their net."""
    raw = BROKEN_OFF[kind]
    if scope:
        raw = raw.replace(HEAD, f"{HEAD}Authorization: {await app.token(scope)}\r\n")
    for abrupt in (False, True):
        connection = await Connection.open(app.ports[0])
        await connection.write(raw.encode("latin-1"))
        for _ in range(10):
            await asyncio.sleep(0)  # so far it goes on
        if abrupt:
            connection.cut()
        connection.close()
    # What was begun ends before this is answered, a connection later.
    for _ in range(3):
        assert (await app.connection.request("GET", "/healthz")).status == 200
    assert [line for line in caplog.records if line.levelno > logging.INFO] == []


async def test_a_reader_who_goes_while_others_wait_behind_is_no_error(service: Service) -> None:
    """What is answered just then has nobody to be written to; uvloop would call that an error."""
    before = len(service.log)
    other = await Connection.open(service.port)
    for _ in range(10):
        reading = socket.socket()
        reading.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        reading.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # close() resets
        reading.connect(("127.0.0.1", service.port))
        reading.setblocking(False)
        # Until nothing is taken for a while: the answers before it stand in the way of the one at work.
        asked, blocked = f"GET /widget.js HTTP/1.1\r\nhost: {HOST}\r\n\r\n".encode() * 2000, 0
        while blocked < 400:
            try:
                reading.send(asked)
                blocked = 0
            except BlockingIOError:
                blocked += 1
                await other.request("GET", "/healthz")
        reading.close()
    assert (await other.request("GET", "/healthz")).status == 200
    other.close()
    assert service.log[before:] == ""


async def test_broken_requests_write_next_to_nothing(service: Service) -> None:
    before = len(service.log)
    for raw in BROKEN_OFF.values():
        for _ in range(25):
            connection = await Connection.open(service.port)
            await connection.write(raw.encode("latin-1"))
            connection.close()
    connection = await Connection.open(service.port)
    assert (await connection.request("GET", "/healthz")).status == 200
    connection.close()
    # 300 requests, two workers, a line each for what no program should send.
    assert len(service.log) - before < 1500, service.log[before:]
