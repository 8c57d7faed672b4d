"""Files of lists and reports: answered in pieces as fast as they are taken, and one at a time for each token."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

from starlette.responses import StreamingResponse

from visitstats.core.errors import RateExceeded
from visitstats.store.records import AccessToken
from visitstats.web.beacons.edge import Receive, Scope, Send
from visitstats.web.beacons.safety import SAFE, Header
from visitstats.web.table import PRIVATE

MOST_FILES = 8
"""The most files of one token that are being made or wait in a worker."""


class Files:
    """Answers files, those of a token one after the other."""

    def __init__(self) -> None:
        self._turns = _Turns()

    async def answer(
        self, token: AccessToken, pieces: AsyncIterator[bytes], content_type: str, name: str
    ) -> StreamingResponse:
        """Answer a file. Its first piece comes before the head: what is refused is refused with its own status. Raises
        RateExceeded, too."""
        turn = await self._turns.take(token)
        try:
            first = await anext(pieces)
        except BaseException:
            turn.release()
            raise
        response = _File(_behind(first, pieces), turn)
        headers: list[Header] = [
            (b"content-type", content_type.encode()),
            (b"content-disposition", f'attachment; filename="{name}"'.encode()),
            *SAFE,
            *PRIVATE,
        ]
        response.raw_headers = headers
        return response


class _Turns:
    """Makes sure that the files of a token are made one after the other, because each may have all articles of a
    site."""

    def __init__(self) -> None:
        self._lines: dict[AccessToken, tuple[asyncio.Lock, int]] = {}
        """Token → the lock of its turn, and how many of its files are being made or wait."""

    async def take(self, token: AccessToken) -> "_Turn":
        """Wait until no other file of a token is made. Raises RateExceeded when too many wait."""
        lock, many = self._lines.get(token, (asyncio.Lock(), 0))
        if many >= MOST_FILES:
            raise RateExceeded(f"{MOST_FILES} files of this token are asked for already; wait for one of them")
        self._lines[token] = lock, many + 1
        try:
            await lock.acquire()
        except BaseException:
            self.leave(token)
            raise
        return _Turn(self, token, lock)

    def leave(self, token: AccessToken) -> None:
        """Count one file of a token less."""
        lock, many = self._lines.pop(token)
        if many > 1:
            self._lines[token] = lock, many - 1


class _Turn:
    """The turn of one file."""

    def __init__(self, turns: _Turns, token: AccessToken, lock: asyncio.Lock) -> None:
        self._turns = turns
        self._token = token
        self._lock = lock

    def release(self) -> None:
        """Let the next one begin."""
        self._lock.release()
        self._turns.leave(self._token)


class _File(StreamingResponse):
    """A file whose turn ends with it, also when its reader is gone before it has begun."""

    def __init__(self, pieces: AsyncIterator[bytes], turn: _Turn) -> None:
        super().__init__(pieces)
        self._turn = turn

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._turn.release()


async def _behind(first: bytes, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    async with aclosing(pieces):  # type: ignore[type-var]
        yield first
        async for piece in pieces:
            yield piece
