"""The application in the test's own process, on a clock that the test sets, behind the real HTTP protocol."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import uvicorn
from uvicorn.server import ServerState

from tests.client import HOST, Connection, Hit, crowd, until
from tests.judge import Judge
from visitstats.core.sites import Site
from visitstats.settings import Settings
from visitstats.web.app import Application, create_app
from visitstats.web.beacons.protocol import Protocol
from visitstats.web.server import KEEP_ALIVE_SECONDS

DATE = b"Wed, 16 May 2040 05:00:00 GMT"
NOON = "2040-05-16T12:00:00+07:00"
"""A Wednesday. In the future, because the store forgets by its own clock what is past its time."""


class Clock:
    """Tells the moment (ms since the epoch) that the test wants it to be."""

    def __init__(self, text: str = NOON) -> None:
        self.ms = 0
        self.set(text)

    def __call__(self) -> int:
        return self.ms

    def set(self, text: str) -> None:
        self.ms = int(datetime.fromisoformat(text).timestamp() * 1000)

    def advance(self, seconds: float) -> None:
        self.ms += round(seconds * 1000)


class Running:
    """A running application with one site `t1`, a connection to it, and a judge for what it should show."""

    def __init__(self, app: Application, clock: Clock, ports: list[int], connection: Connection) -> None:
        self.app = app
        self.clock = clock
        self.ports = ports
        self.connection = connection
        self._after = Hit(crowd(1, "after")[0], "/after")

    async def put_site(self, **changes: Any) -> None:
        """Make or change a site, and have the application see it."""
        assert self.app.worker is not None
        record = {"id": "t1", "hosts": (HOST,)} | changes
        await self.app.worker.records.put_site(msgspec.convert(record, Site))
        await self.app.worker.sites.refresh()

    async def token(self, scope: str, site: str = "", name: str = "") -> str:
        """Make an access token for a site, for several ("a b") or for all, and return its header."""
        assert self.app.worker is not None
        made = await self.app.worker.access.add(name or f"{scope}-{site}", scope, site.split())
        return "Bearer " + made.text

    async def numbers(self, site: str = "t1") -> dict[str, Any]:
        """What the box shows now, not a second ago."""
        self.clock.advance(1.001)
        found = await self.connection.numbers(site)
        self.clock.advance(-1.001)
        return found

    async def ignored(self, expected: dict[str, int]) -> None:
        """Check the beacons of site t1 that were not counted today, by reason; they reach the store within a second."""
        worker = self.app.worker
        assert worker is not None
        live = worker.sites.get("t1")
        assert live is not None
        reads, day = worker.reads, live.calendar.day_at(self.clock.ms)

        async def there() -> bool:
            return await reads.ignored("t1", day) == expected

        await until(there, f"{expected} are told", 3)

    async def settle_heartbeats(self) -> None:
        """Have the heartbeats that were sent so far reach the store now: they travel with the next hit of anybody, or
        after a second."""
        assert (await self.connection.hit("beats", self._after)).status == 200

    async def agrees(self, judge: Judge, site: str = "t1") -> None:
        """Check the numbers, and the views of every article, against a judge's."""
        assert await self.numbers(site) == judge.box(self.clock.ms)
        views = judge.views(self.clock.ms)
        assert await self.connection.views(site, views or ["/nothing"]) == (views or {"/nothing": 0})


@contextlib.asynccontextmanager
async def running(
    data_dir: Path,
    redis_url: str,
    *,
    site: bool = True,
    clock: Clock | None = None,
    **settings: object,
) -> AsyncIterator[Running]:
    """Run the application with site `t1`; the second port is that for operators."""
    clock = clock or Clock()
    opened = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    for each in opened:
        # As uvloop does for the service. asyncio does not for such a socket, and each answer in two parts took 40 ms.
        each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    ports = [each.getsockname()[1] for each in opened]
    Connection.operators(ports[0], ports[1])
    app = create_app(
        # Hits of a test come one after the other: none of them is to wait for another.
        Settings.load(
            {"data_dir": data_dir, "redis_url": redis_url, "port": ports[0], "metrics_port": ports[1], "gather_ms": 0}
            | settings
        ),
        clock=clock,
    )
    config = uvicorn.Config(
        app,
        http=Protocol,
        interface="asgi3",
        ws="none",
        lifespan="off",
        proxy_headers=False,
        server_header=False,
        access_log=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,  # uvicorn's own 5 s pass between two requests on a busy machine
    )
    config.load()
    state, loop = ServerState(), asyncio.get_running_loop()
    state.default_headers = [(b"date", DATE)]  # as uvicorn's server does it once a second
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(_lifespan(app))
        # Whoever gets this port next is not asked here.
        stack.callback(Connection.private.pop, ports[0], None)
        for each in opened:
            server = await loop.create_server(
                lambda: Protocol(config=config, server_state=state, app_state={}, _loop=loop), sock=each
            )
            stack.callback(server.close)
        connection = await Connection.open(ports[0])
        stack.callback(_hang_up, state)
        stack.callback(connection.close)
        found = Running(app, clock, ports, connection)
        if site:
            await found.put_site()
            await found.put_site(id="beats")
        yield found


def _hang_up(state: ServerState) -> None:
    for connection in list(state.connections):
        connection.shutdown()


@contextlib.asynccontextmanager
async def _lifespan(app: Application) -> AsyncIterator[None]:
    received: asyncio.Queue[Any] = asyncio.Queue()
    sent: asyncio.Queue[Any] = asyncio.Queue()

    async def serve() -> None:
        await app({"type": "lifespan", "asgi": {"version": "3.0"}}, received.get, sent.put)

    task = asyncio.create_task(serve())
    await received.put({"type": "lifespan.startup"})
    answer = await sent.get()
    assert answer["type"] == "lifespan.startup.complete", answer
    try:
        yield
    finally:
        await received.put({"type": "lifespan.shutdown"})
        answer = await sent.get()
        assert answer["type"] == "lifespan.shutdown.complete", answer
        await task
