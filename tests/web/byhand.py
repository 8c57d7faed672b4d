"""A connection whose time, wire and application are moved by hand."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable
from typing import Any, NamedTuple

import uvicorn
from uvicorn.server import ServerState

from tests.client import BROWSERS, HOST
from visitstats.web.beacons.connections import Peers
from visitstats.web.beacons.protocol import Protocol

HEAD = f"POST /v1/sites/t1/hit HTTP/1.1\r\nhost: {HOST}\r\nuser-agent: {BROWSERS[0]}\r\norigin: https://{HOST}\r\n"
BODY = b'{"u":"https://%b/slow"}' % HOST.encode()
REQUEST = f"{HEAD}content-length: {len(BODY)}\r\n\r\n".encode() + BODY
"""A whole hit, as a browser sends it."""


class Loop:
    """Time and timers, moved by hand."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.timers: list[tuple[float, Any]] = []

    def time(self) -> float:
        return self.now

    def call_later(self, seconds: float, call: Any) -> Any:
        self.timers.append((self.now + seconds, call))
        return self

    def cancel(self) -> None:
        self.timers.clear()

    def advance(self, seconds: float) -> None:
        self.now += seconds
        due = [call for moment, call in self.timers if moment <= self.now]
        self.timers = [timer for timer in self.timers if timer[0] > self.now]
        for call in due:
            call()


class Wire(asyncio.Transport):
    """The other end: it notes what is written, and whether the connection was closed."""

    def __init__(self, address: str) -> None:
        super().__init__()
        self.address = address
        self.written: list[bytes] = []
        self.closed = False
        self.aborted = False
        self.paused = False
        self.unread = 0
        """Bytes of our answers that the other end has not taken."""

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"peername": (self.address, 5000), "sockname": ("192.0.2.2", 80)}.get(name, default)

    def write(self, data: Any) -> None:
        self.written.append(bytes(data))

    def get_write_buffer_size(self) -> int:
        return self.unread

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = self.aborted = True

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False


class App:
    """Holds what is asked of it until the test answers."""

    def __init__(self) -> None:
        self.taken: list[Any] = []
        self.peers = Peers()

    def take_at_once(self, path: bytes, headers: Any, peer: str, body: bytes, answer: Any) -> bool:
        self.taken.append((path, peer, body, answer))
        return True

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})


class Recorder(App):
    """Answers everything at once, and notes what it was: method, path, body, and the address in X-Forwarded-For."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, str, bytes, str]] = []

    def take_at_once(self, path: bytes, headers: Any, peer: str, body: bytes, answer: Any) -> bool:
        self._note("POST", path.decode(), body, headers.items())
        answer(200, b"", b"")
        return True

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] != "http.request":
                return
            body += message["body"]
            more = message["more_body"]
        self._note(scope["method"], scope["raw_path"].decode(), body, scope["headers"])
        await super().__call__(scope, receive, send)

    def _note(self, method: str, path: str, body: bytes, headers: Any) -> None:
        forwarded = b",".join(value for name, value in headers if name == b"x-forwarded-for")
        self.seen.append((method, path, body, forwarded.decode()))


async def _turns(protocol: Protocol, most: int) -> None:
    """Let the requests at work go on, until they are answered or wait for more."""
    for _ in range(most):
        if not protocol.tasks:
            break
        await asyncio.sleep(0)


class Said(NamedTuple):
    """What became of what was sent on one connection."""

    seen: list[tuple[str, str, bytes, str]]
    statuses: list[int]
    closed: bool


async def sent(pieces: Iterable[bytes]) -> Said:
    """Send bytes on a connection of their own, in these pieces, and wait until everything is answered."""
    app = Recorder()
    protocol, _, loop, wire = connected(app=app)
    loop.create_task = asyncio.get_running_loop().create_task  # type: ignore[attr-defined]
    for piece in pieces:
        if not wire.closed:
            protocol.data_received(piece)
        await _turns(protocol, 5)
    await _turns(protocol, 500)
    closed = wire.closed
    protocol.connection_lost(None)
    if protocol.tasks:
        await asyncio.wait(protocol.tasks)
    statuses = [int(found) for found in re.findall(rb"HTTP/1\.1 (\d\d\d) ", b"".join(wire.written))]
    return Said(app.seen, [status for status in statuses if status != 100], closed)


def connected(
    address: str = "192.0.2.1", app: App | None = None, state: ServerState | None = None
) -> tuple[Protocol, App, Loop, Wire]:
    """Return a connection that was just made, and what is around it."""
    app, loop, wire = app or App(), Loop(), Wire(address)
    config = uvicorn.Config(app, http=Protocol, lifespan="off", ws="none", access_log=False, timeout_keep_alive=75)
    config.load()
    config.loaded_app = app
    found = Protocol(config, state or ServerState(), {}, _loop=loop)  # type: ignore[arg-type]
    found.connection_made(wire)
    return found, app, loop, wire
