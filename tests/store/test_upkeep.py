"""Scheduled work may run twice, late, or never: it changes no count."""

from __future__ import annotations

import pytest
from redis.asyncio import Redis

from tests.store.writing import DAY, MINUTE, NOON, SITE, WRITER, batch_of, commit, gather
from visitstats.core.batch import Gathering
from visitstats.store import keys, upkeep
from visitstats.store.commit import Committer
from visitstats.store.reads import Reads
from visitstats.store.upkeep import Upkeep


async def test_a_lease_is_taken_by_one_and_ends_by_itself(raw: Redis) -> None:
    jobs = Upkeep(raw)
    assert await jobs.lease("s", "prune", 60)
    assert not await jobs.lease("s", "prune", 60)
    assert await jobs.lease("s", "close-days", 60)
    assert await jobs.lease("t", "prune", 60)
    assert 0 < await raw.ttl(keys.lease("s", "prune")) <= 60


async def test_closing_a_day_keeps_its_estimate_after_the_sketch_is_gone(redis_url: str, raw: Redis) -> None:
    committer, jobs = Committer(redis_url, WRITER), Upkeep(raw)
    await commit(committer, 1, batch_of((NOON, "An", "/a"), (NOON, "Bình", "/a")))
    for _ in range(2):
        await jobs.close_uniques(SITE.id, DAY)
    assert await raw.hgetall(keys.uniques(SITE.id)) == {DAY.date.encode(): b"2"}
    await commit(committer, 2, batch_of((NOON, "Chi", "/a"), previous=1))  # applied late
    await committer.close()
    await jobs.close_uniques(SITE.id, DAY)
    await raw.delete(*(sketch.name for sketch in keys.sketches(SITE.id, DAY.date, DAY.end_ms)))
    await jobs.close_uniques(SITE.id, DAY)
    assert await raw.hgetall(keys.uniques(SITE.id)) == {DAY.date.encode(): b"3"}


async def test_a_day_that_nobody_came_is_not_written_down(raw: Redis) -> None:
    await Upkeep(raw).close_uniques(SITE.id, DAY)
    assert await raw.keys() == []


async def test_a_peak_only_rises(raw: Redis) -> None:
    for online in (3, 7, 5):
        await Upkeep(raw).note_peak(SITE.id, DAY, online)
    assert await raw.zrange(keys.peaks(SITE.id), 0, -1, withscores=True) == [(DAY.date.encode(), 7.0)]


async def test_pruning_forgets_only_who_was_last_seen_before(
    redis_url: str, raw: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "PIECE", 7)
    committer, jobs = Committer(redis_url, WRITER), Upkeep(raw)
    waiting = Gathering(SITE, DAY)
    for n in range(30):
        gather(waiting, NOON + n, f"person {n}")
    await commit(committer, 1, waiting.close(0, NOON))
    await committer.close()
    assert await jobs.prune_seen(SITE.id, DAY, NOON) == 0
    assert await jobs.prune_seen(SITE.id, DAY, NOON + 20) == 20
    assert await jobs.prune_seen(SITE.id, DAY, NOON + 20) == 0
    found = await Reads(raw).counts(SITE.id, DAY, NOON + MINUTE)
    assert (found.online, found.visits[-2], found.views[-2]) == (10, 30, 30)
