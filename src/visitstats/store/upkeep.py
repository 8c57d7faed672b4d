"""Writes for scheduled tasks. Everything is recomputed and set, so that running a task twice, late, or on several hosts
at once changes nothing."""

from typing import Any

from redis.asyncio import Redis

from visitstats.core.counting import HOUR_MS
from visitstats.core.periods import Day
from visitstats.store import keys
from visitstats.store.client import translated

_RAISE = b"""#!lua
-- Of a hash KEYS[i], raise the field ARGV[3i-2] to ARGV[3i-1], written as ARGV[3i]; less than is there changes nothing.
local raised = 0
for i, key in ipairs(KEYS) do
  local field, n, text = ARGV[3 * i - 2], tonumber(ARGV[3 * i - 1]), ARGV[3 * i]
  local known = redis.call('HGET', key, field)
  if not known or n > (tonumber(string.match(known, '^%d+')) or -1) then
    redis.call('HSET', key, field, text)
    raised = raised + 1
  end
end
return raised
"""


class Upkeep:
    """Every method may raise StoreUnavailable."""

    def __init__(self, client: Redis) -> None:
        self._client = client
        self._raise = client.register_script(_RAISE)

    async def lease(self, task: str, seconds: int) -> bool:
        """Claim a task for a while; False when another worker has it. The lease only saves work: a task that runs twice
        does no harm."""
        with translated():
            return bool(await self._client.set(keys.lease(task), "1", nx=True, ex=seconds))

    async def close_uniques(self, site_id: str, day: Day) -> bool:
        """Keep the estimate of a day's unique visitors for good (rule 9), as long as the day's sketches are there;
        False when they are not. Less than is known changes nothing: a late hit may have begun a sketch anew."""
        names = keys.sketches(site_id, day.date)
        with translated():
            async with self._client.pipeline(transaction=False) as pipe:
                pipe.exists(*names)
                for name in names:
                    pipe.pfcount(name)
                there, *counts = await pipe.execute()
        if there:
            await self._raised([(keys.uniques(site_id, day.year), day.date, sum(counts), "")])
        return bool(there)

    async def close_hours(self, site_id: str, day: Day) -> int:
        """Keep the estimates of the unique visitors of a day's hours, as far as their sketches are there; returns how
        many are."""
        hours = range(day.hours)
        with translated():
            async with self._client.pipeline(transaction=False) as pipe:
                pipe.exists(keys.hours(site_id, day.date))
                for hour in hours:
                    pipe.pfcount(keys.hour_sketch(site_id, day.date, hour))
                there, *counts = await pipe.execute()
        name = keys.hours(site_id, day.date)
        wanted = [(name, f"uniques:{hour}", n, "") for hour, n in zip(hours, counts, strict=True) if n and there]
        await self._raised(wanted)
        return len(wanted)

    async def forget_hours(self, site_id: str, day: Day) -> None:
        """Delete the sketches of a day's hours once their estimates are kept and no hit for them can come any more: the
        store would keep them for weeks."""
        hours = range(day.hours)
        with translated():
            await self._client.unlink(*(keys.hour_sketch(site_id, day.date, hour) for hour in hours))

    async def note_peak(self, site_id: str, day: Day, online: int, moment_ms: int) -> None:
        """Keep the most visitors that were online at once in an hour and on a day, with the first moment; fewer than
        are known change nothing."""
        told, hour = f"{online} {moment_ms}", (moment_ms - day.start_ms) // HOUR_MS
        wanted = [(keys.peaks(site_id, day.year), day.date, online, told)]
        with translated():
            if await self._client.exists(keys.hours(site_id, day.date)):  # else it would never end
                wanted.append((keys.hours(site_id, day.date), f"peak:{hour}", online, told))
        await self._raised(wanted)

    async def note_running(self, moments_ms: list[int]) -> None:
        """Note that a service ran in the quarter hours of these moments (`keys.ran`)."""
        with translated():
            async with self._client.pipeline(transaction=False) as pipe:
                for year, quarter in sorted({keys.quarter_of(moment) for moment in moments_ms}):
                    pipe.setbit(keys.ran(year), quarter, 1)
                await pipe.execute()

    async def _raised(self, wanted: list[tuple[str, str, int, str]]) -> None:
        names = [key for key, _, _, _ in wanted]
        values: list[Any] = [each for _, field, n, text in wanted for each in (field, n, text or n)]
        if names:
            with translated():
                await self._raise(keys=names, args=values)
