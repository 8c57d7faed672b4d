"""An older copy of the store's data comes back under a running worker, on a clock that the test sets."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from tests.client import Hit, crowd, until
from tests.faults.copies import copy_of, put_back
from tests.judge import Judge
from tests.web.inprocess import Running, running
from visitstats.core.link import State

PATIENT: Any = {"answer_timeout_ms": 5000}
"""That a machine is busy is not the matter here: the store has time to answer each hit."""
READERS = crowd(12, "older")
ARTICLES = [f"/{n}" for n in range(5)]


class Town:
    """Readers who come and go. What they did is known, and everything that was acknowledged can be compared."""

    def __init__(self, app: Running, data_dir: Path, seed: int, *, views: str) -> None:
        self.app = app
        self.judge = Judge(views=views)
        self._segments = data_dir / "journal"
        self._chance = random.Random(seed)
        self._sent: list[Hit] = []

    async def live(self, minutes: int) -> None:
        """Read for a while."""
        chance, clock = self._chance, self.app.clock
        end = clock.ms + minutes * 60_000
        while clock.ms < end:
            clock.advance(chance.choice((1, 60, 240)))
            hit = Hit(chance.choice(READERS), chance.choice(ARTICLES), f"hit-{len(self._sent):08d}")
            if self._sent and chance.random() < 0.2:
                hit = self._sent[-1]  # a beacon that is delivered twice
            answer = await self.app.connection.hit("t1", hit)
            assert answer.status == 200, answer
            self._sent.append(hit)
            self.judge.hit(clock.ms, hit)

    async def agrees(self) -> None:
        """Wait until the box and every article show what they must: within ten seconds of the world outside."""
        now, numbers, views = self.app.clock.ms, {}, {}
        wanted = (self.judge.box(now), dict.fromkeys(ARTICLES, 0) | self.judge.views(now))

        async def healed() -> bool:
            nonlocal numbers, views
            numbers, views = await self.app.numbers(), await self.app.connection.views("t1", ARTICLES)
            # They may be right while the replay is not yet at its end, and a hit is answered 202.
            worker = self.app.app.worker
            return (numbers, views) == wanted and worker is not None and worker.applier.link.state is State.CONNECTED

        try:
            await until(healed, "the store is healed")
        except AssertionError as error:
            raise AssertionError(f"{(numbers, views)} is not {wanted}") from error


@pytest.mark.parametrize("views", ["per-visit", "every-load"])
async def test_a_copy_of_two_hours_ago_is_healed_to_every_number(tmp_path: Path, redis_url: str, views: str) -> None:
    """All numbers are those of before, and counting goes on from them."""
    async with running(tmp_path / "data", redis_url, **PATIENT) as app, Redis.from_url(redis_url) as client:
        await app.put_site(views=views)
        town = Town(app, tmp_path / "data", 7, views=views)
        await town.live(60)
        copy = await copy_of(client)
        await town.live(120)
        await town.agrees()
        await put_back(client, copy, app.clock.ms)
        await town.agrees()
        await town.live(30)  # and these are read by whoever was there before
        app.clock.advance(31 * 60)
        await town.live(60)
        await town.agrees()
        assert app.app.worker is not None
        assert app.app.worker.applier.gaps == 0
        await put_back(client, copy, app.clock.ms)
        await town.agrees()


@pytest.mark.parametrize("seconds", [86_400, -86_400])
async def test_the_clock_jumps_by_a_day(tmp_path: Path, redis_url: str, seconds: int) -> None:
    """Hits count for the day that the clock said; none is lost or doubled, and a restart goes on."""
    sent: list[Hit] = []
    async with running(tmp_path / "data", redis_url, **PATIENT) as app:
        for n in range(30):
            if n in (10, 20):
                app.clock.advance(seconds if n == 10 else -seconds)
            hit = Hit(READERS[n % 12], f"/jump/{n}", f"jump-{n:07d}")
            assert (await app.connection.hit("t1", hit)).status == 200
            sent.append(hit)
        assert await app.connection.views("t1", [hit.article for hit in sent]) == {hit.article: 1 for hit in sent}
    async with running(tmp_path / "data", redis_url, **PATIENT) as app:
        app.clock.advance(seconds)
        for n in range(30, 40):
            hit = Hit(READERS[n % 12], f"/jump/{n}", f"jump-{n:07d}")
            assert (await app.connection.hit("t1", hit)).status == 200
            sent.append(hit)
        assert await app.connection.views("t1", [hit.article for hit in sent]) == {hit.article: 1 for hit in sent}
        async with Redis.from_url(redis_url) as client:
            await client.flushdb()
        await app.put_site()

        async def healed() -> bool:
            await app.numbers()  # a second later, so that the store is looked at
            views = await app.connection.views("t1", [hit.article for hit in sent])
            return views == {hit.article: 1 for hit in sent}

        await until(healed, "the emptied store is filled again")


async def test_a_ledger_is_lost_while_nobody_reads(tmp_path: Path, redis_url: str) -> None:
    """It is found out without another hit, and brought back from the journal."""
    async with running(tmp_path / "data", redis_url, **PATIENT) as app, Redis.from_url(redis_url) as client:
        town = Town(app, tmp_path / "data", 3, views="per-visit")
        await town.live(20)
        await town.agrees()
        await client.delete(*await client.keys("vs:{t1}:*"))
        await town.agrees()


async def test_a_clone_that_counts_with_our_writer_id_is_said(
    tmp_path: Path, redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A machine that was cloned while it ran cannot be told from its twin on the disk; its sequences give it away."""
    async with running(tmp_path / "data", redis_url, **PATIENT) as app, Redis.from_url(redis_url) as client:
        assert (await app.connection.hit("t1", Hit(READERS[0], "/a"))).status == 200
        marks: Any = await client.hgetall("vs:{t1}:marks")
        for writer, mark in marks.items():
            sequence, total = mark.split(b":")
            await client.hset("vs:{t1}:marks", writer, b"%d:%s" % (int(sequence) + 1, total))
        assert (await app.connection.hit("t1", Hit(READERS[1], "/a"))).status == 200
        assert "another process has applied record" in caplog.text
