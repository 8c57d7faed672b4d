"""Files of one token are made one after the other, streamed, and not in the process that answers readers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from starlette.requests import ClientDisconnect

from visitstats.core.errors import RateExceeded
from visitstats.core.sites import Site
from visitstats.sites.directory import LiveSite
from visitstats.store.records import AccessToken
from visitstats.web.routes import files
from visitstats.web.routes.files import Files
from visitstats.web.routes.lists import ArticleLists, FileQuery
from visitstats.web.table import Asked

LIVE = LiveSite(Site(id="portal", hosts=("portal.vn",)))
ROWS = 35
"""A file's pieces: of a thousand rows each."""


class Desk:
    """Makes files piece by piece, and counts how many are made at once, and how many pieces wait to be taken."""

    def __init__(self) -> None:
        self.now = self.most = self.made = self.taken = self.most_ahead = 0

    async def file(self, *_: object, told: str = "") -> AsyncIterator[bytes]:
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            for n in range(ROWS):
                self.made += 1
                self.most_ahead = max(self.most_ahead, self.made - self.taken)
                yield b"%d;" % n * 1000
        finally:
            self.now -= 1


async def take(desk: Desk, rooms: ArticleLists, token: AccessToken, pieces: int = ROWS) -> int:
    """Ask for a file and take so many pieces of it, then leave; return the bytes."""
    found = 0

    async def send(message: Any) -> None:
        nonlocal found
        await asyncio.sleep(0)
        if body := message.get("body"):
            found += len(body)
            desk.taken += 1
            if found and desk.taken % ROWS == pieces % ROWS and pieces < ROWS:
                raise OSError("the reader is gone")

    async def receive() -> Any:
        await asyncio.Event().wait()

    response = await rooms.csv(Asked(None, LIVE, token, FileQuery(), None))  # type: ignore[arg-type]
    await response({"type": "http", "asgi": {"spec_version": "2.4"}}, receive, send)
    return found


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def rooms(desk: Desk) -> ArticleLists:
    return ArticleLists(desk, Files(), lambda: 1_700_000_000_000)  # type: ignore[arg-type]


async def test_six_files_of_a_token_are_made_one_after_the_other(desk: Desk, rooms: ArticleLists) -> None:
    """All six are whole; never more than one is made, nor more than one piece ahead of its reader."""
    token = AccessToken(name="an", scope="viewer")
    sizes = await asyncio.gather(*(take(desk, rooms, token) for _ in range(6)))
    assert len(set(sizes)) == 1
    assert sizes[0] > 35_000
    assert (desk.most, desk.most_ahead) == (1, 1)


async def test_files_of_others_do_not_wait(desk: Desk, rooms: ArticleLists) -> None:
    await asyncio.gather(*(take(desk, rooms, AccessToken(name=f"n{n}", scope="viewer")) for n in range(3)))
    assert desk.most == 3


async def test_too_many_that_wait_are_refused(desk: Desk, rooms: ArticleLists) -> None:
    token = AccessToken(name="an", scope="viewer")
    found = await asyncio.gather(*(take(desk, rooms, token) for _ in range(12)), return_exceptions=True)
    assert [type(each) for each in found].count(RateExceeded) == 12 - files.MOST_FILES
    assert await take(desk, rooms, token)


async def test_a_reader_who_leaves_gives_the_turn_to_the_next(desk: Desk, rooms: ArticleLists) -> None:
    """In the middle of a file, before its first byte, and while it waits."""
    token = AccessToken(name="an", scope="viewer")
    with pytest.raises(ClientDisconnect):
        await take(desk, rooms, token, 3)
    first = asyncio.create_task(take(desk, rooms, token))
    second = asyncio.create_task(take(desk, rooms, token))
    await asyncio.sleep(0)
    second.cancel()
    await asyncio.wait({second})
    assert await first > 35_000
    assert await take(desk, rooms, token) > 35_000
    assert rooms._files._turns._lines == {}
