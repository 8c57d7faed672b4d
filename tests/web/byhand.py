"""A connection whose time, wire and application are moved by hand."""

from __future__ import annotations

import asyncio
from typing import Any

import uvicorn
from uvicorn.server import ServerState

from visitstats.web.connections import SilentPeers
from visitstats.web.protocol import Protocol


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

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"peername": (self.address, 5000), "sockname": ("192.0.2.2", 80)}.get(name, default)

    def write(self, data: Any) -> None:
        self.written.append(bytes(data))

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = self.aborted = True

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


class App:
    """Holds what is asked of it until the test answers."""

    def __init__(self) -> None:
        self.taken: list[Any] = []
        self.silent = SilentPeers()

    def take_at_once(self, path: bytes, headers: Any, peer: str, body: bytes, answer: Any) -> bool:
        self.taken.append((path, peer, body, answer))
        return True

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})


def connected(address: str = "192.0.2.1", app: App | None = None) -> tuple[Protocol, App, Loop, Wire]:
    """Return a connection that was just made, and what is around it."""
    app, loop, wire = app or App(), Loop(), Wire(address)
    config = uvicorn.Config(app, http=Protocol, lifespan="off", ws="none", access_log=False, timeout_keep_alive=75)
    config.load()
    config.loaded_app = app
    found = Protocol(config, ServerState(), {}, _loop=loop)  # type: ignore[arg-type]
    found.connection_made(wire)
    return found, app, loop, wire
