"""Thirty readers of one page at once do not wait for each other in a proxy: what no cache may keep goes through for all
of them together, on every public route, with the examples of deploy/.

The service is a stand-in, which answers nobody before all thirty are there: whoever has to wait in the proxy waits for
ever. Its answers say of caching what the program's route says.
"""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from tests.ports import free_port
from tests.shipped import SHIPPED, portal
from tests.web import proxies
from visitstats.web.app import ROUTES
from visitstats.web.beacons import answers
from visitstats.web.table import PUBLIC, Route

READERS = 30
SECONDS = 4
"""Less than the five seconds after which nginx lets those through that wait for a cache's lock."""
OF_READERS = [
    route
    for route in ROUTES
    if route.scope is None and route.path.startswith("/v1/sites/") and not route.path.endswith("/live")
]


def is_kept(route: Route) -> bool:
    """Whether a cache may keep the route's answers."""
    return bool(dict(route.headers).get(b"cache-control", b"public") != b"no-store")


def test_the_routes_are_all_there() -> None:
    assert {route.path.rpartition("/")[2] for route in OF_READERS} >= {
        "hit", "hit.gif", "alive", "stats", "views", "top", "box", "box.svg", "badge.json",
    }  # fmt: skip
    assert {route.path.rpartition("/")[2] for route in OF_READERS if not is_kept(route)} == {
        "hit", "hit.gif", "alive", "views",
    }  # fmt: skip
    assert dict(PUBLIC)[b"cache-control"] == answers.NEVER_STORED[1]


class StandIn:
    """A service that answers when so many requests are there, and counts them. Proxies keep their connections to it."""

    def __init__(self) -> None:
        self.expect(0, b"")

    def expect(self, together: int, cache_control: bytes) -> None:
        """Begin anew, with another route."""
        self._together = together
        self._cache_control = cache_control
        self.asked = 0
        self._all = asyncio.Event()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                if length := re.search(rb"(?i)content-length: (\d+)", head):
                    await reader.readexactly(int(length[1]))
                if head.startswith(b"GET /healthz"):  # the proxy itself
                    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
                    continue
                self.asked += 1
                if self.asked >= self._together:
                    self._all.set()
                await self._all.wait()
                writer.write(
                    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncache-control: %b\r\n"
                    b"content-length: 2\r\n\r\n{}" % self._cache_control
                )
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


async def burst(port: int, method: str, path: str) -> list[int]:
    """So many readers at once, each on a connection of its own; the statuses of their answers."""

    async def one() -> int:
        reader, writer = await proxies.opened(port)
        body = b"{}" if method == "POST" else b""
        writer.write(
            b"%b %b HTTP/1.1\r\nhost: portal.vn\r\nuser-agent: Mozilla/5.0\r\ncontent-type: text/plain\r\n"
            b"connection: close\r\ncontent-length: %d\r\n\r\n%b" % (method.encode(), path.encode(), len(body), body)
        )
        try:
            return int((await reader.readline()).split()[1])
        finally:
            writer.close()

    async with asyncio.timeout(SECONDS):
        return await asyncio.gather(*(one() for _ in range(READERS)))


async def try_all(port: int, answering: StandIn, *, caches: bool) -> None:
    for number, route in enumerate(OF_READERS):
        shares = caches and is_kept(route) and route.method == "GET"
        path = f"/vs{route.path.replace('{site}', 'open')}?n={number}"
        kept = b"public, max-age=60" if is_kept(route) else answers.NEVER_STORED[1]
        answering.expect(1 if shares else READERS, kept)
        try:
            assert await burst(port, route.method, path) == [200] * READERS, path
        except TimeoutError:
            pytest.fail(f"{route.method} {path}: only {answering.asked} of {READERS} readers came through at once")
        if not shares:
            assert answering.asked == READERS, path


@pytest.mark.parametrize("name", SHIPPED)
async def test_readers_do_not_wait_for_each_other(tmp_path: Path, name: str) -> None:
    """What may be kept is asked for once, or by those who would have to wait; hits by all at once."""
    answering, service = StandIn(), free_port()
    server = await asyncio.start_server(answering, "127.0.0.1", service)
    try:
        with portal(name, tmp_path / "here", service) as ports:
            await try_all(ports.portal, answering, caches=name == "nginx")
    finally:
        server.close()
