"""Scheduled work: closing days, peaks, pruning, salts. None of it decides a count; each job may run twice, late, or not
at all.

The jobs are a table. APScheduler runs them; each can be run and awaited by hand.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import NamedTuple

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.interval import IntervalTrigger

from visitstats.core.errors import VisitstatsError
from visitstats.metrics import Metrics
from visitstats.reading.snapshots import Stats
from visitstats.sites.directory import SiteDirectory
from visitstats.store.upkeep import Upkeep

log = logging.getLogger(__name__)

PEAK_MS = 60_000
"""A snapshot that is older says nothing of now."""
CLOSE_DAYS = 3
"""Days back that are closed again, for hits that were applied late."""
FOLLOW_SECONDS = 5.0
"""How often it is looked whether the clock was set back."""


class Job(NamedTuple):
    """A row of the table: what it is for, what it does, and how often."""

    description: str
    run: Callable[[], Awaitable[None]]
    seconds: int


class Rollups:
    """The scheduled work on the counts. `clock` gives the moment in milliseconds."""

    def __init__(
        self,
        upkeep: Upkeep,
        sites: SiteDirectory,
        stats: Stats,
        clock: Callable[[], int],
    ) -> None:
        self._upkeep = upkeep
        self._sites = sites
        self._stats = stats
        self._clock = clock

    def jobs(self) -> list[Job]:
        """Return the table."""
        return [
            Job("have the salts of today and tomorrow ready, drop old ones", self.prepare_salts, 600),
            Job("keep the estimates of unique visitors of past days", self.close_days, 300),
            Job("note the most visitors online at once", self.note_peaks, 15),
        ]

    async def prepare_salts(self) -> None:
        """Rule 2: a salt must be here before its day begins, even if the store is away at midnight."""
        await self._sites.prepare_salts(self._clock())

    async def close_days(self) -> None:
        """Close the last days of every site."""
        for live in self._sites.all():
            if not await self._upkeep.lease(live.site.id, "close-days", 240):
                continue
            day = live.calendar.day_at(self._clock())
            for _ in range(CLOSE_DAYS):
                day = live.calendar.day_named(day.yesterday)
                await self._upkeep.close_uniques(live.site.id, day)

    async def note_peaks(self) -> None:
        """Note the number of visitors online now, if it is the day's highest."""
        for live in self._sites.all():
            # Of a site that nobody asks for, and nobody reads, there is nothing to note: it costs nothing.
            snapshot = self._stats.last(live)
            if snapshot.numbers.online and self._clock() - snapshot.at_ms < PEAK_MS:
                await self._upkeep.note_peak(
                    live.site.id, live.calendar.day_at(snapshot.at_ms), snapshot.numbers.online
                )


def schedule(jobs: list[Job], metrics: Metrics) -> AsyncIOScheduler:
    """Make a scheduler of the jobs; start() needs a running event loop.

    A job that comes late is run, not skipped: APScheduler's own grace of one second drops a job whenever the loop
    stalls.
    """
    scheduler = AsyncIOScheduler(timezone="UTC")
    for job in jobs:
        scheduler.add_job(
            guarded(job, metrics),
            IntervalTrigger(seconds=job.seconds, timezone="UTC"),
            name=job.description,
            misfire_grace_time=None,
            coalesce=True,
            max_instances=1,
        )
    return scheduler


async def follow_the_clock(scheduler: AsyncIOScheduler) -> None:
    """Have the jobs go on when the clock is set back, for ever: APScheduler would wait until it has caught up."""
    while True:
        await asyncio.sleep(FOLLOW_SECONDS)
        now = datetime.now(scheduler.timezone)  # the scheduler's own clock
        for job in scheduler.get_jobs():
            if job.next_run_time - now > job.trigger.interval:
                job.modify(next_run_time=now)


def guarded(job: Job, metrics: Metrics) -> Callable[[], Awaitable[None]]:
    """Return what runs a job and outlives what goes wrong: it is run again later."""

    async def run() -> None:
        try:
            await job.run()
        except (VisitstatsError, OSError) as error:
            log.warning("the job %r failed and is run again later: %s", job.description, error)
        except Exception:
            log.exception("the job %r failed by a bug", job.description)
            metrics.internal_errors.inc()

    return run
