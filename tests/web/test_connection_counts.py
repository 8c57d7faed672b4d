"""How many connections an address and a worker may have, and how many of them silent (hostile-inputs row 4)."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from uvicorn.server import ServerState

from tests.client import Connection, Hit, crowd, until
from tests.driver import PROGRAM, Service
from tests.waiting import wait_until
from tests.web.byhand import REQUEST, App, connected
from tests.web.inprocess import Running
from visitstats.web.beacons.connections import (
    BEYOND,
    LOOK_AGAIN_SECONDS,
    MOST_SILENT,
    SILENT_SECONDS,
    Peers,
)


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
    assert len(app.taken) == MOST_SILENT + 1
    for protocol, *_ in silent:
        protocol.connection_lost(None)
    other[0].connection_lost(None)
    well[0].connection_lost(None)
    assert (app.peers._silent, app.peers.count) == ({}, 0), "nothing of them is kept"


def test_an_address_may_be_silent_again_when_others_of_it_have_spoken() -> None:
    peers = Peers()
    assert [peers.admit_silent("192.0.2.66") for _ in range(MOST_SILENT + 1)] == [True] * MOST_SILENT + [False]
    assert peers.admit_silent("192.0.2.67")
    peers.leave_silent("192.0.2.66")
    assert peers.admit_silent("192.0.2.66")
    assert not peers.admit_silent("192.0.2.66")


def test_only_so_many_connections_of_one_address_are_open() -> None:
    """4: whatever they do. An IPv6 address stands for its /64; a trusted proxy speaks for many, and may have any."""
    peers = Peers(3, lambda address: address == "192.0.2.10")
    assert [peers.open("192.0.2.66") for _ in range(4)] == [True, True, True, False]
    assert [peers.open("::ffff:192.0.2.66"), peers.open("192.0.2.67")] == [False, True]
    assert [peers.open(f"2001:db8:0:7::{n:x}") for n in range(4)] == [True, True, True, False]
    assert [peers.open("2001:db8:0:8::1"), peers.open("fe80::1%eth0"), peers.open("")] == [True, True, True]
    assert all(peers.open("192.0.2.10") for _ in range(20))
    peers.close("192.0.2.66")
    assert [peers.open("192.0.2.66") for _ in range(2)] == [True, False]


def test_files_are_left_for_the_journal_and_the_store() -> None:
    """4: however many addresses there are, and a proxy's connections are files, too."""
    peers = Peers(0, lambda address: True)
    peers.limit(10)
    assert all(peers.open(f"192.0.2.{n}") for n in range(10))
    assert [peers.full] == [True]
    # Those that come in the place of others, whose files are not free yet, are so many at most.
    assert [peers.open(f"192.0.2.{n}") for n in range(BEYOND + 1)] == [True] * BEYOND + [False]
    for n in range(BEYOND):
        peers.close(f"192.0.2.{n}")
    peers.close("192.0.2.1")
    assert [peers.full] == [False]
    # Where files are few, one address may not take them all.
    peers = Peers(512)
    peers.limit(896)
    assert sum(peers.open("192.0.2.66") for _ in range(600)) == 224


def test_a_worker_takes_as_many_files_as_it_may_have() -> None:
    """The soft limit is 1,024 on most systems, and one address has taken them all in half a second."""
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (100, 300));"
        "from visitstats.system.descriptors import raise_file_limit;"
        "print(raise_file_limit(), resource.getrlimit(resource.RLIMIT_NOFILE)[0])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout.split() == ["300", "300"]


def test_one_address_cannot_take_the_connections_of_a_real_service(tmp_path: Path) -> None:
    """4: idle ones, too. Its own connections beyond the cap are closed; another address is served."""
    service = Service(tmp_path / "data", workers=1)
    service.environ |= {"VISITSTATS_CONNECTIONS_PER_ADDRESS": "20", "VISITSTATS_TRUSTED_PROXIES": "127.0.0.9/32"}
    service.start()
    try:
        many = [socket.create_connection(("127.0.0.1", service.port)) for _ in range(100)]
        trusted = [_from("127.0.0.9", service.port) for _ in range(40)]
        for each in (*many, *trusted):
            each.setblocking(False)
        wait_until(lambda: sum(map(_is_open, many)) == 20, "those beyond the cap are closed", 10)
        assert all(map(_is_open, trusted))
        with _from("127.0.0.2", service.port) as other:
            other.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
            assert other.recv(100).startswith(b"HTTP/1.1 200 ")
        for each in (*many, *trusted):
            each.close()
    finally:
        service.stop()


def _from(address: str, port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), source_address=(address, 0))


def _is_open(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False


def test_the_most_silent_connection_is_closed_for_a_new_one_where_files_are_few() -> None:
    """Not one that asks something, and not the new one: its first hit is worth more than a connection kept alive."""
    app, state = App(), ServerState()
    app.peers = Peers()
    app.peers.limit(3)
    served, silent, asking = (connected(f"192.0.2.{n}", app, state) for n in range(3))
    for (protocol, *_), since in ((served, 2.0), (silent, 1.0), (asking, None)):
        protocol._first, protocol._begun, protocol._quiet_since = False, None, since
    new = connected("192.0.2.9", app, state)
    assert [wire.is_closing() for *_, wire in (served, silent, asking, new)] == [False, True, False, False]


def test_where_no_connection_is_silent_a_further_one_is_refused() -> None:
    app, state = App(), ServerState()
    app.peers = Peers()
    app.peers.limit(1)
    busy = connected("192.0.2.1", app, state)
    busy[0]._first = False
    assert connected("192.0.2.9", app, state)[3].aborted
    assert not busy[3].is_closing()


def test_few_files_refuse_no_hit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With 256 files and 400 readers on connections that they keep open: the journal has its files, and a reader whose
    connection was closed comes again."""
    limited = tmp_path / "limited"
    limited.write_text(f'#!/bin/sh\nulimit -n 256\nexec {PROGRAM} "$@"\n', "utf-8")
    limited.chmod(0o700)
    monkeypatch.setattr("tests.driver.PROGRAM", limited)
    service = Service(tmp_path / "data", workers=1)
    service.environ["VISITSTATS_GATHER_MS"] = "0"
    try:
        service.start()
        service.add_site("t1")

        async def read() -> set[int]:
            await service.known("t1")
            statuses, connections = set[int](), list[Connection]()
            for n, person in enumerate(crowd(400, "files")):
                connection = await Connection.open(service.port)
                statuses.add((await connection.hit("t1", Hit(person, f"/{n % 7}"))).status)
                connections.append(connection)
            for connection in connections:
                connection.close()
            return statuses

        assert asyncio.run(read()) == {200}
    finally:
        service.stop()


def test_a_connection_too_many_is_closed_before_it_is_read() -> None:
    app = App()
    app.peers = Peers(2)
    three = [connected("192.0.2.66", app) for _ in range(3)]
    assert [wire.aborted for *_, wire in three] == [False, False, True]
    three[2][0].connection_lost(None)
    three[0][0].connection_lost(None)
    assert not connected("192.0.2.66", app)[3].aborted
    assert connected("192.0.2.66", app)[3].aborted


async def test_others_are_served_beside_500_silent_sockets(app: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """4: with real sockets; only the time is shorter."""
    monkeypatch.setattr("visitstats.web.beacons.protocol.SILENT_SECONDS", 0.2)
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
