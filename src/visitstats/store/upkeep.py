"""What scheduled jobs write. Everything is recomputed and set, so that running a job twice or late changes nothing."""

from redis.asyncio import Redis

from visitstats.core.periods import Day
from visitstats.store import keys
from visitstats.store.client import translated


class Upkeep:
    """Every method may raise StoreUnavailable."""

    def __init__(self, client: Redis) -> None:
        self._client = client

    async def lease(self, site_id: str, job: str, seconds: int) -> bool:
        """Take a job for a while; False when another worker has it. It saves work and decides nothing."""
        with translated():
            return bool(await self._client.set(keys.lease(site_id, job), "1", nx=True, ex=seconds))

    async def close_uniques(self, site_id: str, day: Day) -> None:
        """Keep the estimate of a day's unique visitors for good (rule 9), as long as the day's sketches are there."""
        names = keys.sketches(site_id, day.date)
        with translated():
            if await self._client.exists(*names):
                async with self._client.pipeline(transaction=False) as pipe:
                    for name in names:
                        pipe.pfcount(name)
                    await self._client.hset(keys.uniques(site_id), day.date, sum(await pipe.execute()))

    async def note_peak(self, site_id: str, day: Day, online: int) -> None:
        """Keep the most visitors that were online at once on a day; fewer than are known change nothing."""
        with translated():
            await self._client.zadd(keys.peaks(site_id), {day.date: online}, gt=True)
