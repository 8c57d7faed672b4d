"""A service that was stopped for long, or a site that nobody read: whoever comes back has lost nothing, and counts
nothing twice."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from tests.client import HOST, Hit, crowd
from tests.store.writing import batch_of, names_in
from tests.web.inprocess import Clock, Running, running
from visitstats.core.batch import encode
from visitstats.core.periods import Calendar
from visitstats.core.sites import Site
from visitstats.journal.log import OpenJournal
from visitstats.store import keys
from visitstats.store.client import open_client
from visitstats.store.inspect import Inspector
from visitstats.trust.verify.verifier import Verifier

DAY_S = 24 * 3600
READERS = crowd(6, "silence")
SITE = Site(id="t1", hosts=(HOST,))


@pytest.fixture
async def raw(redis_url: str) -> AsyncIterator[Redis]:
    client = open_client(redis_url)
    yield client
    await client.aclose()


async def days_pass(clock: Clock, raw: Redis, days: float) -> None:
    """What so many days do to a store to which nobody writes."""
    clock.advance(days * DAY_S)
    for name in await names_in(raw):
        if 0 < await raw.expiretime(name) <= clock.ms / 1000:
            await raw.delete(name)


async def alright(app: Running, raw: Redis, log: pytest.LogCaptureFixture) -> None:
    """Nothing is wrong, nothing is waited for, and nobody was alarmed."""
    worker = app.app.worker
    assert worker is not None
    assert (worker.applier.gaps, worker.applier.lagging) == (0, 0)
    assert not [record for record in log.records if record.name.startswith("visitstats") and record.levelno > 30]
    assert "came back" not in log.text
    root = worker.settings.data_dir / "journal"
    verifier = Verifier(Inspector(raw), worker.records, worker.reads, root, app.clock)

    assert (await verifier.run(again_seconds=0)).right


async def read(app: Running, *articles: str) -> None:
    for reader, article in zip(READERS, articles, strict=False):
        assert (await app.connection.hit("t1", Hit(reader, article))).status == 200


async def totals(app: Running) -> tuple[int, dict[str, int]]:
    return (await app.numbers())["total"], await app.connection.views("t1", ["/a", "/b", "/late"])


@pytest.mark.parametrize("days", [3, 200])
async def test_a_service_that_was_stopped_for_long_counts_nothing_again(
    tmp_path: Path, redis_url: str, raw: Redis, caplog: pytest.LogCaptureFixture, days: int
) -> None:
    clock = Clock()
    async with running(tmp_path / "data", redis_url, clock=clock) as app:
        await read(app, "/a", "/b", "/a", "/a")
    await days_pass(clock, raw, days)
    async with running(tmp_path / "data", redis_url, clock=clock, site=False) as app:
        assert await totals(app) == (4, {"/a": 3, "/b": 1, "/late": 0})
        await alright(app, raw, caplog)
        await read(app, "/a", "/b")
        assert await totals(app) == (6, {"/a": 4, "/b": 2, "/late": 0})
        await alright(app, raw, caplog)
    async with running(tmp_path / "data", redis_url, clock=clock, site=False) as app:
        assert await totals(app) == (6, {"/a": 4, "/b": 2, "/late": 0})
        await alright(app, raw, caplog)


@pytest.mark.parametrize("before", [0, 3])
async def test_what_was_not_applied_when_it_was_stopped_counts_once_on_its_own_day(
    tmp_path: Path, redis_url: str, raw: Redis, caplog: pytest.LogCaptureFixture, before: int
) -> None:
    """Also when it is the first that the site ever had."""
    clock = Clock()
    then = Calendar("Asia/Ho_Chi_Minh").day_at(clock.ms)
    async with running(tmp_path / "data", redis_url, clock=clock) as app:
        await read(app, *["/a"] * before)
    journal = OpenJournal.open(tmp_path / "data" / "journal", max_bytes=1 << 30, keep_seconds=DAY_S)
    late = batch_of(
        (clock.ms, "late", "/late"), site=SITE, day=then, previous=journal.last_sequence if before else 0, total=before
    )
    journal.append([encode(late)])
    journal.close()
    await days_pass(clock, raw, 61)
    for _ in range(2):
        async with running(tmp_path / "data", redis_url, clock=clock, site=False) as app:
            assert await totals(app) == (before + 1, {"/a": before, "/b": 0, "/late": 1})
            assert (await app.numbers())["today"] == 0
            assert await raw.hget(*keys.count_at("t1", "visits", then.date)) == b"%d" % (before + 1)
            await alright(app, raw, caplog)


async def test_a_site_that_was_silent_for_long_goes_on_without_an_alarm(
    app: Running, raw: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    worker: Any = app.app.worker
    await read(app, "/a", "/b", "/a")
    await days_pass(app.clock, raw, 61)
    await worker.tasks.run("salts")
    for _ in range(3):  # it is looked at each second
        assert await totals(app) == (3, {"/a": 2, "/b": 1, "/late": 0})
    await alright(app, raw, caplog)
    await read(app, "/a", "/b")
    assert await totals(app) == (5, {"/a": 3, "/b": 2, "/late": 0})
    await alright(app, raw, caplog)
