"""What readers and their browsers do: visitors who are known, their beacons, and HTTP on one connection."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar
from weakref import WeakSet

from tests.waiting import POLL_SECONDS

HOST = "portal.example.vn"
BROWSERS = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 "
    "Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (X11; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0",
    "Mozilla/5.0 (Linux; Android 14; SM-A546E) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/126.0.0.0 "
    "Mobile Safari/537.36 Zalo android/24060001 ZaloTheme/light",
)


class StoreAway(Exception):
    """The service says that it cannot read just now."""


@dataclass(frozen=True)
class Visitor:
    """Who rule 1 of counting tells apart: by address, browser and visit id."""

    address: str
    agent: str
    visit_id: str

    @property
    def headers(self) -> dict[str, str]:
        return {"x-forwarded-for": self.address, "user-agent": self.agent}


def crowd(many: int, name: str = "v") -> list[Visitor]:
    """Different visitors. Many share an address, many a browser, and some a visit id, but no two all three."""
    return [
        Visitor(f"203.0.{n // 200 % 200}.{n // 4 % 50 + 1}", BROWSERS[n % 4], f"{name}{n // 2:08d}xyz")
        for n in range(many)
    ]


@dataclass(frozen=True)
class Hit:
    """One page load. Without a hit id it is sent once; with one, again until it is acknowledged."""

    visitor: Visitor
    article: str
    hit_id: str = ""

    def body(self, host: str = HOST) -> dict[str, str]:
        beacon = {"u": f"https://{host}{self.article}", "v": self.visitor.visit_id, "h": self.hit_id}
        return {name: text for name, text in beacon.items() if text}


@dataclass(frozen=True)
class Answer:
    """An HTTP answer; names of headers in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def ignored(self) -> str:
        """Why the beacon was not counted; "" if it was."""
        return self.headers.get("x-visitstats", "").removeprefix("ignored; reason=")


class Connection:
    """One keep-alive HTTP/1.1 connection, one request at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._loop = asyncio.get_running_loop()
        self._known.add(self)

    _known: ClassVar[WeakSet[Connection]] = WeakSet()

    private: ClassVar[dict[int, int]] = {}
    """Port of a service → its port for operators: where a scrape without a token goes, whoever asks for it."""

    @classmethod
    def operators(cls, port: int, private: int) -> None:
        """Note the ports of a service. Ports are used again: none is another service's any more."""
        cls.private[port] = private
        cls.private.pop(private, None)

    @classmethod
    async def open(cls, port: int) -> Connection:
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    @property
    def remote_port(self) -> int:
        found = self._writer.get_extra_info("peername")
        return int(found[1]) if isinstance(found, tuple) else 0

    @property
    def local_port(self) -> int:
        return int(self._writer.get_extra_info("sockname")[1])

    async def request(
        self,
        method: str,
        path: str,
        body: bytes | str | dict[str, Any] | list[Any] | None = None,
        headers: dict[str, str] | None = None,
        *,
        seconds: float = 15.0,
    ) -> Answer:
        """Send a request and return its answer. Raises ConnectionError when the other end goes away; TimeoutError."""
        asked = set(headers or {}) - {"accept-encoding"}
        if path == "/metrics" and not asked and (private := self.private.get(self.remote_port)):
            other = await Connection.open(private)
            try:
                return await other.request(method, path, headers=headers, seconds=seconds)
            finally:
                other.close()
        if isinstance(body, dict | list):
            body = json.dumps(body)
        data = body.encode() if isinstance(body, str) else body
        named = {"host": HOST, **({} if data is None else {"content-length": str(len(data))}), **(headers or {})}
        head = "".join(f"{name}: {value}\r\n" for name, value in named.items())
        return await self.send(
            f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + (data or b""), method, seconds=seconds
        )

    async def send(self, raw: bytes, method: str = "POST", *, seconds: float = 15.0) -> Answer:
        """Send bytes as they are and read one answer."""
        async with asyncio.timeout(seconds):
            with contextlib.suppress(ConnectionError):  # the answer may have come before the end of what we sent
                await self.write(raw)
            return await self._read(method)

    async def write(self, raw: bytes) -> None:
        """Send bytes as they are, and read nothing."""
        self._writer.write(raw)
        await self._writer.drain()

    async def head(self) -> bytes:
        """Read the head of an answer, such as 100, that no body follows."""
        return await self._reader.readuntil(b"\r\n\r\n")

    async def _read(self, method: str) -> Answer:
        try:
            head = await self.head()
            first, *lines = head[:-4].decode("latin-1").split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            status = int(first.split(" ")[1])
            bare = method == "HEAD" or status in (100, 204, 304)
            if bare:
                body = b""
            elif headers.get("transfer-encoding") == "chunked":
                body = await self._chunks()
            else:
                body = await self._reader.readexactly(int(headers["content-length"]))
        except asyncio.IncompleteReadError as error:
            raise ConnectionResetError("the service closed the connection") from error
        return Answer(status, headers, body)

    async def _chunks(self) -> bytes:
        found = b""
        while size := int(await self._reader.readuntil(b"\r\n"), 16):
            found += (await self._reader.readexactly(size + 2))[:-2]
        await self._reader.readexactly(2)
        return found

    async def ended(self, seconds: float = 5.0) -> bool:
        """Whether the other end closes the connection within so long."""
        try:
            async with asyncio.timeout(seconds):
                return await self._reader.read(1) == b""
        except ConnectionError:
            return True
        except TimeoutError:
            return False

    @classmethod
    async def cut_all(cls) -> None:
        """Let go of what is still open on this loop, as the end of a test does that failed before it closed them."""
        for each in [each for each in cls._known if each._loop is asyncio.get_running_loop()]:
            each.cut()
        await asyncio.sleep(0)  # a socket is closed in the loop's next round

    def close(self) -> None:
        self._writer.close()

    def cut(self) -> None:
        """Let go of the connection as a program does that is killed, without a word."""
        self._writer.transport.abort()

    async def hit(self, site: str, hit: Hit, headers: dict[str, str] | None = None, *, seconds: float = 15.0) -> Answer:
        """Post a hit as the widget does."""
        sent = {**hit.visitor.headers, "content-type": "text/plain;charset=UTF-8", "origin": f"https://{HOST}"}
        return await self.request("POST", f"/v1/sites/{site}/hit", hit.body(), sent | (headers or {}), seconds=seconds)

    async def alive(self, site: str, visitor: Visitor, headers: dict[str, str] | None = None) -> Answer:
        """Post a heartbeat."""
        path, body = f"/v1/sites/{site}/alive", {"v": visitor.visit_id} if visitor.visit_id else {}
        return await self.request("POST", path, body, visitor.headers | (headers or {}))

    async def numbers(self, site: str) -> dict[str, Any]:
        """What the box shows, without its moment."""
        answer = await self.request("GET", f"/v1/sites/{site}/stats")
        assert answer.status == 200, answer
        return {name: n for name, n in answer.json.items() if name not in ("site", "at")}

    async def views(self, site: str, keys: Iterable[str]) -> dict[str, int]:
        """The views of articles, as many as are asked for."""
        asked, found = list(keys), dict[str, int]()
        for start in range(0, len(asked), 500):
            piece = {"keys": asked[start : start + 500]}
            answer = await self.request("POST", f"/v1/sites/{site}/views", piece)
            if answer.status == 503:
                raise StoreAway
            assert answer.status == 200, answer
            found |= answer.json["views"]
        return found


async def until(true: Callable[[], Awaitable[Any]], what: str, seconds: float = 10.0) -> Any:
    """Ask again until the answer is true (or anything like it), and return it; fail with `what` after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (found := await true()):
        assert time.monotonic() < deadline, f"waited {seconds} s in vain until {what}"
        await asyncio.sleep(POLL_SECONDS)
    return found
