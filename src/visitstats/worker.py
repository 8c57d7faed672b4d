"""A worker process: everything that one needs, built in one place, started and stopped in order."""

import asyncio
import logging
import secrets
import time
from collections.abc import Callable
from typing import NamedTuple

from apscheduler.schedulers.asyncio import AsyncIOScheduler

from visitstats.access import Access
from visitstats.closed_journal import ClosedJournal
from visitstats.core.batch import Batch
from visitstats.core.counting import SALT_BYTES
from visitstats.core.errors import JournalDamaged, JournalFull, StoreUnavailable, StoreUnfit
from visitstats.core.forgetting import ForgettingClock
from visitstats.directory import SiteDirectory
from visitstats.ending import end
from visitstats.ingest import Ingest
from visitstats.journal import Journal
from visitstats.losses import LossWatch
from visitstats.metrics import Metrics, SiteNumbers
from visitstats.rebuild import Rebuild
from visitstats.replay import Adoption, Limits
from visitstats.rollups import Job, Rollups, follow_the_clock, schedule
from visitstats.settings import Settings
from visitstats.stats import Stats
from visitstats.store.client import START_SECONDS, open_client
from visitstats.store.commit import Committed, Committer
from visitstats.store.fitness import opened
from visitstats.store.reads import Reads
from visitstats.store.rebuilds import Rebuilds
from visitstats.store.records import Records
from visitstats.store.upkeep import Upkeep
from visitstats.uniques import present

log = logging.getLogger(__name__)

MIB = 1024 * 1024


def wall_clock() -> int:
    """The moment, in milliseconds since the epoch. The only place that asks the machine for it."""
    return time.time_ns() // 1_000_000


class Disk(NamedTuple):
    """What a worker has on its disk."""

    journal: Journal
    metrics: Metrics


def open_disk(settings: Settings, clock: Callable[[], int]) -> Disk:
    """Take a slot of the journal, and the files of its metrics. A disk that refuses them is no reason not to answer
    reads: the journal that is returned then has a `reason`, and takes no hits. Blocks."""
    root, metrics = settings.data_dir / "journal", settings.data_dir / "metrics"
    limits = _limits(settings)
    try:
        # Sequences go on from the clock: a journal that was restored from a copy never uses one that the store knows.
        journal = Journal.open(
            root, max_bytes=limits.max_bytes, keep_seconds=limits.keep_seconds, fsync=settings.durability == "fsync",
            above=clock(),
        )  # fmt: skip
        try:
            return Disk(journal, Metrics(metrics, journal.number))
        except BaseException:
            journal.close()
            raise
    except (JournalFull, JournalDamaged, OSError) as error:
        return Disk(ClosedJournal(str(error)), Metrics(metrics, None))


class Worker:
    """The parts of one process. `url` is the store's address, `clock` gives the moment in milliseconds.

    Without a journal (`disk.journal.reason`) it answers reads, refuses hits, and writes nothing to the disk.
    """

    def __init__(
        self, settings: Settings, url: str, clock: Callable[[], int] = wall_clock, disk: Disk | None = None
    ) -> None:
        self.settings = settings
        self.clock = clock
        self._url = url
        self._client = open_client(url)
        self.store = "ok"
        """How it was when it was looked at last: ok, away, or unfit to be counted in."""
        root = settings.data_dir / "journal"
        limits = _limits(settings)
        journal, self.metrics = disk or open_disk(settings, clock)
        self.journalled = not journal.reason
        """Whether it has a journal."""
        kept = settings.data_dir / "last"
        self.records = Records(self._client)
        self.reads = Reads(self._client)
        self.access = Access(self.records)
        self.sites = SiteDirectory(self.records, kept, lambda: secrets.token_bytes(SALT_BYTES))
        self.stats = Stats(self.reads, clock, kept, journal.number, journal.writer)
        rebuilds = Rebuilds(self._client)
        self._rebuilds = rebuilds
        rebuild = Rebuild(rebuilds, root, journal.writer, self._put_back) if self.journalled else None
        self.ingest = Ingest(
            settings,
            journal,
            Committer(url, journal.writer),
            self.reads,
            self.stats,
            self.sites,
            self.metrics,
            clock,
            rebuild,
        )
        self.stats.watch = self.ingest.applier
        self._forget_by = ForgettingClock(clock, time.monotonic)
        self._adoption = Adoption(root, url, self.reads, self.ingest.applier.numbering, limits)
        self.losses = LossWatch(kept, self.sites, self.stats, clock)
        self.rollups = Rollups(
            Upkeep(self._client),
            self.sites,
            self.stats,
            clock,
            lambda: bool(self.ingest.applier.lagging or self.ingest.applier.unfit),
            self._forget_by,
        )
        self._scheduler: AsyncIOScheduler | None = None
        self._watching: list[asyncio.Task[None]] = []
        self.ready = False

    async def start(self) -> None:
        """Read what was kept, bring the store up to the journal, then be ready. A store that is away is no reason not
        to start, and neither is one that must not be counted in: who starts the service is told that (`visitstats
        serve`), a worker that takes the place of a dead one has nobody to tell."""
        self.sites.load(self.clock())
        self.stats.load()
        self.losses.load()
        try:
            async with opened(self._url, self.clock, START_SECONDS) as parts:
                for warning in await self._check_fit(parts.reads):
                    log.warning("%s", warning)
            await self.sites.refresh()
            await self.sites.prepare_salts(self.clock())
        except StoreUnavailable as error:
            # Each further question would take its time, too, while readers wait for the first worker.
            self.ingest.applier.begin_without(error)
        await self.ingest.start()
        if self.journalled and not self.ingest.applier.lost:
            await self._adopt()
        self._scheduler = schedule([*self.rollups.jobs(), *self._jobs()], self.metrics)
        self._scheduler.start()
        self._watching = [
            asyncio.create_task(self.sites.watch()),
            asyncio.create_task(follow_the_clock(self._scheduler)),
        ]
        self.ready = True

    async def stop(self) -> None:
        """Finish what was accepted and release everything."""
        self.ready = False
        if self._scheduler is not None:
            self._scheduler.shutdown(wait=False)
        await end(*self._watching)
        await self.ingest.stop()
        if self.journalled:
            try:
                await self._keep()
            except OSError as error:
                log.warning("the last numbers could not be kept: %s", error)
        await self._client.aclose()
        await self._client.connection_pool.disconnect()

    async def site_numbers(self) -> list[SiteNumbers]:
        """Return what a scrape shows of every site. Raises StoreUnavailable."""
        now = self.clock()
        found = []
        for live in self.sites.all():
            day = live.calendar.day_at(now)
            visits, views = await self.stats.read_both(live)
            found.append(
                SiteNumbers(
                    live.site.id,
                    visits,
                    views,
                    await self.reads.article_count(live.site.id),
                    await present(self.reads, live, day),
                )
            )
        return found

    def _jobs(self) -> list[Job]:
        jobs = [
            Job("look whether the store came back older, or may evict", self._look, 1),
            Job("look whether counts that the store has lost are back", self._look_for_losses, 2),
        ]
        if self.journalled:
            jobs += [
                Job("keep the last numbers on disk", self._keep, 1),
                Job("apply what a dead worker left in its slot", self._adopt, 2),
                Job("delete journal segments past the retention", self._prune, 60),
            ]
        return jobs

    async def _prune(self) -> None:
        await self.ingest.prune(self._forget_by())

    async def _keep(self) -> None:
        await asyncio.to_thread(self.stats.keep)
        if self.ingest.applier.away:
            self.stats.borrow()
        self.metrics.lagging_sites.set(self.ingest.applier.lagging)
        self.metrics.journal_bytes.set(self.ingest.journal.size)
        self.metrics.journal_gaps.set(self.ingest.applier.gaps)

    async def _adopt(self) -> None:
        if self.ingest.applier.unfit:
            return
        try:
            for slot in await self._adoption.run(self._note_adopted, self._forget_by()):
                self.metrics.forget_lag(slot)
        except StoreUnavailable as error:
            log.debug("abandoned slots wait for the store: %s", error)
        except OSError as error:
            log.warning("abandoned slots wait for the disk: %s", error)

    async def _look_for_losses(self) -> None:
        await self.losses.check()
        self.metrics.store_lost.set(self.losses.sites)

    def _note_adopted(self, sequence: int, batch: Batch, result: Committed) -> None:
        self.metrics.replayed.inc(batch.size if result.fresh else 0)
        if reason := self.ingest.applier.unfit:
            raise StoreUnavailable(reason)

    async def _put_back(self, rebuild: str) -> None:
        """Put back what the slots without a process had decided, and note them in a rebuild."""

        async def healed(writer: str) -> None:
            await self._rebuilds.note(rebuild, writer)

        await self._adoption.put_back(self._note_adopted, healed, self._forget_by())

    async def _check_fit(self, reads: Reads) -> list[str]:
        """Look whether the store may be counted in, and commit nothing while it may not; return warnings. Raises
        StoreUnavailable."""
        try:
            warnings, reason = await reads.check_fit(), ""
        except StoreUnfit as error:
            warnings, reason = [], str(error)
        except StoreUnavailable:
            self.store = "away"
            raise
        self.store = "unfit" if reason else "ok"
        self.ingest.applier.doubt(reason)
        return warnings

    async def _look(self) -> None:
        try:
            await self._check_fit(self.reads)
            await self.ingest.applier.look()
        except StoreUnavailable as error:
            log.debug("the store cannot be looked at: %s", error)
        # An idle service would not find out: reading a snapshot compares the watermark with what was applied.
        for live in self.sites.all():
            await self.stats.current(live)


def _limits(settings: Settings) -> Limits:
    return Limits(settings.journal_max_mb * MIB, settings.journal_keep_hours * 3600)
