"""A small HTTP/1.1 client for the traffic player: POSTs to our own service over a few kept-alive connections.

The service has no HTTP client among its dependencies, and the demo needs no more than this. It is bounded on every
side: connections, seconds per answer, bytes of an answer.
"""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

from visitstats.core.errors import VisitstatsError

CONNECTIONS = 8
ANSWER_WITHIN = 10.0  # seconds, the widget's own limit
LARGEST_ANSWER = 64 * 1024
_MOST_HEADERS = 100

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class NoAnswer(VisitstatsError):
    """A request without a usable answer; `name` says why: refused, timeout, closed or bad-answer."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes


class LoopbackClient:
    """Sends POSTs below one `http://host:port/prefix`. Close it when done: it keeps connections open."""

    def __init__(self, base_url: str, *, answer_within: float = ANSWER_WITHIN) -> None:
        parts = urlsplit(base_url)
        if parts.scheme != "http" or not parts.hostname:
            raise ValueError(f"{base_url!r} is not an address like http://127.0.0.1:8080")
        self._host = parts.hostname
        self._port = parts.port or 80
        self._authority = parts.netloc
        self._prefix = parts.path.rstrip("/")
        self._answer_within = answer_within
        self._places = asyncio.Semaphore(CONNECTIONS)
        self._idle: list[Connection] = []

    async def post(self, path: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """The answer, whatever its status. Raises NoAnswer.

        A request that finds its connection closed is repeated on another one; hits carry their id and heartbeats
        change nothing the second time, so a repeat never counts twice.
        """
        lines = [f"POST {self._prefix}{path} HTTP/1.1", f"Host: {self._authority}", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        request = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body
        async with self._places:
            try:
                async with asyncio.timeout(self._answer_within):
                    return await self._exchange(request)
            except TimeoutError as error:
                raise NoAnswer("timeout") from error
            except ConnectionRefusedError as error:
                raise NoAnswer("refused") from error
            except (OSError, EOFError) as error:
                raise NoAnswer("closed") from error
            except (ValueError, asyncio.LimitOverrunError) as error:
                raise NoAnswer("bad-answer") from error

    async def close(self) -> None:
        while self._idle:
            _, writer = self._idle.pop()
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def _exchange(self, request: bytes) -> Answer:
        while self._idle:
            with suppress(ConnectionError, EOFError):  # closed by the service while it was idle
                return await self._send(self._idle.pop(), request)
        connection = await asyncio.open_connection(self._host, self._port, limit=LARGEST_ANSWER)
        return await self._send(connection, request)

    async def _send(self, connection: Connection, request: bytes) -> Answer:
        reader, writer = connection
        reusable = False
        try:
            writer.write(request)
            await writer.drain()
            answer = await _read_answer(reader)
            reusable = answer.headers.get("connection", "").lower() != "close"
            return answer
        finally:
            if reusable:
                self._idle.append(connection)
            else:
                writer.close()


async def _read_answer(reader: asyncio.StreamReader) -> Answer:
    version, status, *_ = (await _read_line(reader)).split(" ", 2)
    if version != "HTTP/1.1":
        raise ValueError(f"not HTTP/1.1: {version[:20]!r}")
    headers = await _read_headers(reader)
    if headers.get("transfer-encoding", "").lower() == "chunked":
        body = await _read_chunks(reader)
    else:
        body = await reader.readexactly(_bounded(int(headers.get("content-length", "0"))))
    return Answer(int(status), headers, body)


async def _read_headers(reader: asyncio.StreamReader) -> dict[str, str]:
    headers: dict[str, str] = {}
    for _ in range(_MOST_HEADERS):
        line = await _read_line(reader)
        if not line:
            return headers
        name, colon, value = line.partition(":")
        if not colon:
            raise ValueError(f"not a header: {line[:20]!r}")
        headers[name.lower()] = value.strip()
    raise ValueError(f"more than {_MOST_HEADERS} headers")


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while size := _bounded(int((await _read_line(reader)).split(";")[0], 16)):
        _bounded(len(body) + size)
        body += await reader.readexactly(size)
        if await _read_line(reader):
            raise ValueError("a chunk longer than it says")
    await _read_headers(reader)  # trailers
    return body


async def _read_line(reader: asyncio.StreamReader) -> str:
    return (await reader.readuntil(b"\r\n"))[:-2].decode("latin-1")


def _bounded(size: int) -> int:
    if not 0 <= size <= LARGEST_ANSWER:
        raise ValueError(f"an answer of {size} bytes")
    return size
