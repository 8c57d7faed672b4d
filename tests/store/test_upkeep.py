"""Scheduled work may run twice, late, or never: it changes no count."""

from __future__ import annotations

from redis.asyncio import Redis

from tests.store.writing import DAY, NOON, SITE, Writer
from visitstats.store import keys
from visitstats.store.upkeep import Upkeep


async def test_a_lease_is_taken_by_one_and_ends_by_itself(raw: Redis) -> None:
    jobs = Upkeep(raw)
    assert await jobs.lease("s", "prune", 60)
    assert not await jobs.lease("s", "prune", 60)
    assert await jobs.lease("s", "close-days", 60)
    assert await jobs.lease("t", "prune", 60)
    assert 0 < await raw.ttl(keys.lease("s", "prune")) <= 60


async def test_closing_a_day_keeps_its_estimate_after_the_sketch_is_gone(redis_url: str, raw: Redis) -> None:
    writer, jobs = Writer(redis_url), Upkeep(raw)
    await writer.read(DAY, (NOON, "An", "/a"), (NOON, "Bình", "/a"))
    for _ in range(2):
        await jobs.close_uniques(SITE.id, DAY)
    assert await raw.hgetall(keys.uniques(SITE.id)) == {DAY.date.encode(): b"2"}
    await writer.read(DAY, (NOON, "Chi", "/a"))  # applied late
    await writer.close()
    await jobs.close_uniques(SITE.id, DAY)
    await raw.delete(*keys.sketches(SITE.id, DAY.date))
    await jobs.close_uniques(SITE.id, DAY)
    assert await raw.hgetall(keys.uniques(SITE.id)) == {DAY.date.encode(): b"3"}


async def test_a_day_that_nobody_came_is_not_written_down(raw: Redis) -> None:
    await Upkeep(raw).close_uniques(SITE.id, DAY)
    assert await raw.keys() == []


async def test_a_peak_only_rises(raw: Redis) -> None:
    for online in (3, 7, 5):
        await Upkeep(raw).note_peak(SITE.id, DAY, online)
    assert await raw.zrange(keys.peaks(SITE.id), 0, -1, withscores=True) == [(DAY.date.encode(), 7.0)]
