"""Scheduled work may run twice, late, or never: it changes no count."""

from __future__ import annotations

from redis.asyncio import Redis

from tests.store.writing import DAY, MINUTE, NOON, SITE, Writer
from visitstats.store import keys
from visitstats.store.upkeep import Upkeep


async def test_a_lease_is_taken_by_one_and_ends_by_itself(raw: Redis) -> None:
    jobs = Upkeep(raw)
    assert await jobs.lease("pack", 60)
    assert not await jobs.lease("pack", 60)
    assert await jobs.lease("close-days", 60)
    assert 0 < await raw.ttl(keys.lease("pack")) <= 60


async def test_closing_a_day_keeps_its_estimate_after_the_sketch_is_gone(redis_url: str, raw: Redis) -> None:
    writer, jobs = Writer(redis_url), Upkeep(raw)
    await writer.read(DAY, (NOON, "An", "/a"), (NOON, "Bình", "/a"))
    for _ in range(2):
        await jobs.close_uniques(SITE.id, DAY)
    assert await raw.hgetall(keys.uniques(SITE.id, DAY.year)) == {DAY.date.encode(): b"2"}
    await writer.read(DAY, (NOON, "Chi", "/a"))  # applied late
    await writer.close()
    await jobs.close_uniques(SITE.id, DAY)
    await raw.delete(*keys.sketches(SITE.id, DAY.date))
    await jobs.close_uniques(SITE.id, DAY)
    assert await raw.hgetall(keys.uniques(SITE.id, DAY.year)) == {DAY.date.encode(): b"3"}


async def test_a_day_that_nobody_came_is_not_written_down(raw: Redis) -> None:
    await Upkeep(raw).close_uniques(SITE.id, DAY)
    assert await raw.keys() == []


async def test_a_peak_only_rises(raw: Redis) -> None:
    """The highest stays, with its first moment, of the day and of each hour; equal ones come too late."""
    await raw.hset(keys.hours(SITE.id, DAY.date), "hits:12", 1)
    for minute, online in enumerate((3, 7, 5, 7, 6)):
        await Upkeep(raw).note_peak(SITE.id, DAY, online, NOON + minute * MINUTE)
    await Upkeep(raw).note_peak(SITE.id, DAY, 4, NOON + 60 * MINUTE)
    assert await raw.hgetall(keys.peaks(SITE.id, DAY.year)) == {DAY.date.encode(): b"7 %d" % (NOON + MINUTE)}
    assert await raw.hgetall(keys.hours(SITE.id, DAY.date)) == {
        b"hits:12": b"1", b"peak:12": b"7 %d" % (NOON + MINUTE), b"peak:13": b"4 %d" % (NOON + 60 * MINUTE),
    }  # fmt: skip
