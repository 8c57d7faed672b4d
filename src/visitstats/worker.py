"""A worker process: all of its parts are built here, and started and stopped in order."""

import asyncio
import contextlib
import logging
import os
import secrets
import socket
import time
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from typing import NamedTuple

from visitstats.access import Access, Refusals
from visitstats.backup.nightly import Nightly
from visitstats.backup.state import State as BackupState
from visitstats.backup.state import read_state
from visitstats.changes.prunes import Places
from visitstats.core.counting import SALT_BYTES
from visitstats.core.errors import StoreUnavailable, StoreUnfit, VisitstatsError
from visitstats.core.forgetting import ForgettingClock
from visitstats.imports.finishing import Finisher
from visitstats.imports.jobs import Jobs
from visitstats.ingest.answering import Answering
from visitstats.ingest.apply import Applier
from visitstats.ingest.gather import Ingest
from visitstats.ingest.known import Known
from visitstats.ingest.positions import Positions
from visitstats.ingest.replay import Replay, numbering
from visitstats.journal.log import Limits
from visitstats.opening import Disk, open_disk
from visitstats.reading.closings import ClosedMonths
from visitstats.reading.desk import Desk
from visitstats.reading.scrape import Glance, Scrape, Service
from visitstats.reading.site_history import Histories
from visitstats.reading.snapshots import Stats
from visitstats.settings import Settings
from visitstats.sites.directory import NO_JOURNAL, LiveSite, SiteDirectory
from visitstats.store.client import START_SECONDS, open_client
from visitstats.store.closings import Closings
from visitstats.store.commit import Committer
from visitstats.store.fitness import opened
from visitstats.store.history import SiteHistory
from visitstats.store.import_records import Imports
from visitstats.store.overview import Overview
from visitstats.store.reads import Reads
from visitstats.store.records import Records
from visitstats.store.refusals import RefusalRows
from visitstats.store.runs import Runs
from visitstats.store.tiles import Tiles
from visitstats.store.upkeep import Upkeep
from visitstats.store.writers import Writers
from visitstats.system.board import MOST_SITES, Report, Seat, Supervision
from visitstats.system.clock import wall_clock
from visitstats.system.descriptors import open_files
from visitstats.system.ending import end
from visitstats.system.logs import tell_left_out
from visitstats.system.usage import cpu_seconds, disk, memory_bytes
from visitstats.tasks.closing import Closing, Presence
from visitstats.tasks.schedule import Task, Tasks
from visitstats.tasks.table import shared, verify_apart
from visitstats.trust.hosts import Hosts
from visitstats.trust.losses import LossWatch

log = logging.getLogger(__name__)

COMPARE_SECONDS = 5
"""How often the watermarks of all sites are compared with the journals: 0.1 % of a core for 200 sites."""


class Duty(NamedTuple):
    """Periodic work of a worker: what it is, the function that does it, and every how many seconds."""

    what: str
    run: Callable[[], Awaitable[None]]
    seconds: int


class Worker:
    """The parts of one process. `url` is the store's address, `clock` returns the moment in milliseconds, `connections`
    the number of connections that the server has.

    Without a journal (`disk.journal.reason`) it answers reads, refuses hits, and writes nothing to the disk.
    """

    def __init__(
        self,
        settings: Settings,
        url: str,
        clock: Callable[[], int] = wall_clock,
        disk: Disk | None = None,
        seat: Seat | None = None,
        connections: Callable[[], int] = lambda: 0,
    ) -> None:
        self.settings = settings
        self._limits = Limits.of(settings.journal_max_mb, settings.journal_keep_hours)
        self.clock = clock
        self._url = url
        self._client = open_client(url)
        root, kept = settings.data_dir / "journal", settings.data_dir / "last"
        journal, self.metrics = disk or open_disk(settings, clock)
        self.journalled = not journal.reason
        """Whether it has a journal."""
        self.records = Records(self._client)
        self.reads = Reads(self._client)
        self.imports = Imports(self._client)
        self.closings = Closings(self._client)
        self.closed = ClosedMonths(self.closings, self.records.changes, Tiles(self._client))
        self.access = Access(self.records, clock, kept)
        self.refusals = Refusals(RefusalRows(self._client), clock)
        self._seat = seat or Seat.alone()
        self._slot = journal.number
        self._scrape = Scrape(self.metrics, Overview(url), Runs(self._client), self._seat.board)
        self._connections = connections
        self._disk = 0, 0  # bytes that are free, and all
        self._rewinds = 0
        self._oldest_shown_ms = 0
        positions = Positions(journal.writer)
        self.stats = Stats(self.reads, clock, kept, journal.number, positions)
        self.losses = LossWatch(kept, self.stats, clock)
        self.sites = SiteDirectory(
            self.records,
            kept,
            lambda: secrets.token_bytes(SALT_BYTES),
            positions if self.journalled else NO_JOURNAL,
            self._note_loss,
        )
        self.desk = Desk(settings, url, clock)
        self.jobs = Jobs(settings, url, clock)
        """Imports that editors look at."""
        self.histories = Histories(SiteHistory(self._client), self.reads)
        self.known = Known(self.records.registered, self.stats)
        self._positions = positions
        self._replay = (
            Replay(
                root,
                Committer(url),
                self.reads,
                lambda site: numbering(self.sites.get(site), clock()),
                self._limits,
            )
            if self.journalled
            else None
        )
        self.applier = Applier(
            positions,
            Committer(url),
            self._replay,
            Answering(self.stats, self.known, self.metrics, self.sites, clock, self.records.changes.tell),
            self.metrics,
            clock,
            self.sites,
            settings.answer_timeout_ms,
            settings.batch_max_hits,
        )
        self.ingest = Ingest(settings, journal, positions, self.applier, self.metrics, clock)
        self._forget_by = ForgettingClock(clock, time.monotonic)
        self.hosts = Hosts(
            settings.data_dir,
            Writers(url, self._client),
            journal.writer,
            socket.gethostname(),
            lambda: (live.site.id for live in self.sites.all()),
        )
        upkeep = Upkeep(self._client)
        self._presence = Presence(upkeep, self.sites, self.stats, clock)
        self._nightly = Nightly(settings, clock)
        self.tasks = Tasks(
            [*self._own_tasks(), *shared(
                Closing(upkeep, self.sites, clock), self.sites, self.desk, lambda: verify_apart(settings, url),
                lambda site: Places(self.records.changes, self.ingest, site, clock).give_back_and_tell(),
                Finisher(
                    self.records.changes, self.imports, self.closings, lambda: nullcontext(self.ingest), clock
                ),
                lambda: self.records.forget_removed(clock()),
            )],
            upkeep, Runs(self._client), socket.gethostname(), clock, self.metrics,
        )  # fmt: skip
        self._watching: list[asyncio.Task[None]] = []
        self.ready = False

    async def start(self) -> None:
        """Read what was kept on disk, bring the store up to the journal, then be ready. The worker also starts while
        the store is away or must not be counted in: `visitstats serve` tells that to whoever starts the service, but a
        worker that replaces a dead one has nobody to tell."""
        self.sites.load(self.clock())
        self.stats.load()
        self.losses.load()
        self.access.load()
        try:
            async with opened(self._url, self.clock, START_SECONDS) as parts:
                for warning in await self._check_fit(parts.reads):
                    log.warning("%s", warning)
            await self.sites.refresh()
            await self.sites.prepare_salts(self.clock())
            await self._remember_scrapers()
        except StoreUnavailable as error:
            # Each further call would also wait for the full timeout, and readers for the first worker.
            self.applier.start_offline(error)
        await self._look_at_disk()
        await self.ingest.start()
        self.tasks.start()
        self._watching = [
            asyncio.create_task(self._do_duties(self.duties)),
            asyncio.create_task(self._do_duties(self.chores)),
        ]
        self.ready = True
        self._tell()

    async def stop(self) -> None:
        """Finish what was accepted and release everything."""
        self.ready = False
        await self.tasks.stop()
        await end(*self._watching)
        await self.ingest.stop()
        try:
            await self._presence.note_peaks()
        except StoreUnavailable as error:
            log.debug("the last peaks are not kept: %s", error)
        await self.access.close()
        await self._keep_refusals()
        await self.hosts.close()
        await self._scrape.close()
        await self.desk.close()
        await self.jobs.close()
        if self._replay is not None:
            await self._replay.close()
        if self.journalled:
            try:
                await self._keep()
            except OSError as error:
                log.warning("the last numbers could not be kept: %s", error)
        await self._client.aclose()
        await self._client.connection_pool.disconnect()

    async def scrape(self, *, ask_store: bool = True) -> bytes:
        """Return the text of a scrape: the metrics of all workers, and of all sites if the store answers."""
        self._tell()
        backup = self.backup
        service = Service(
            fit=self.applier.link.trusted, lacks=self.hosts.lacks, backup_made_ms=backup.made_ms,
            backup_bytes=backup.bytes, backup_verified_ms=backup.verified_ms,
        )  # fmt: skip
        return await self._scrape.text(self.sites.all(), self.clock(), service, ask_store=ask_store)

    @property
    def told(self) -> list[Report]:
        """Return the reports of all workers of the service; that of this worker is made now."""
        self._tell()
        return self._seat.board.reports()

    @property
    def backup(self) -> BackupState:
        """Return the note about the backups of this host."""
        return read_state(self.settings.data_dir)

    @property
    def supervision(self) -> Supervision | None:
        """Return the report of the supervisor; None without one."""
        return self._seat.board.supervision()

    async def glance(self) -> Glance | None:
        """Return how the tasks went, and what the store says about itself; None when it does not answer."""
        return await self._scrape.glance()

    @property
    def duties(self) -> list[Duty]:
        """Return the questions that a worker asks the store every few seconds. They are not run by the scheduler, which
        costs some 0.5 ms each time: together they would be half of the work of an idle worker."""
        found = [
            Duty("check whether the store may evict, and whether sites have changed", self._look, 1),
            Duty("check whether counts that the store has lost are back", self._look_for_losses, 2),
            Duty("remember which tokens may read the metrics", self._remember_scrapers, 5),
            Duty("keep the refusals of requests", self._keep_refusals, 5),
        ]
        if self.journalled:
            found += [
                Duty("note what the store has of other hosts", self.hosts.look, 1),
                Duty("check whether the store came back older", self._compare, COMPARE_SECONDS),
                Duty("apply the records that a dead worker left in its slot", self._adopt, 2),
            ]
        return found

    def _own_tasks(self) -> list[Task]:
        """Return the tasks that each worker has to run for itself."""
        found = [
            Task("salts", "have the salts of today and tomorrow ready, drop old ones", 600, self._salts, True, 600),
            Task("running", "note that the service runs", 60, self._presence.note_running, True),
            Task("peaks", "keep the most visitors online at once", 15, self._presence.note_peaks, True),
        ]
        if self.journalled:
            what = "delete journal segments past the retention"
            found.append(Task("prune", what, 60, self._prune, everywhere=True, first_seconds=60))
            # Each host has to back its own journal up; a lock decides which of its workers does it.
            found.append(Task("backup", "make the nightly backup", 600, self._nightly.run, True, first_seconds=300))
        return found

    @property
    def chores(self) -> list[Duty]:
        """Return the periodic work that does not need the store, so that a store that hangs does not delay it."""
        found = [
            Duty("report the state of this process to the others", self._report, 1),
            Duty("ask the store whether it takes writes, also without hits", self._probe, 5),
            Duty("measure the free space of the disk", self._look_at_disk, 5),
        ]
        return [*found, Duty("keep the last numbers on disk", self._keep, 1)] if self.journalled else found

    async def _do_duties(self, duties: list[Duty]) -> None:
        seconds = 0
        while True:
            due = time.monotonic() + 1
            await asyncio.sleep(1)
            self.metrics.loop_lagged(max(time.monotonic() - due, 0))
            seconds += 1
            for duty in duties:
                if seconds % duty.seconds == 0:
                    await self._do(duty)

    async def _do(self, duty: Duty) -> None:
        """Do periodic work until the worker stops; an error is logged, and does not end it."""
        try:
            await duty.run()
        except (VisitstatsError, OSError) as error:
            log.warning("%r failed and is tried again: %s", duty.what, error)
        except Exception:
            log.exception("%r failed by a bug", duty.what)
            self.metrics.internal_errors.inc()

    async def _salts(self, date: str) -> str:
        """Rule 2: a salt must be here before its day begins, even if the store is away at midnight."""
        await self.sites.prepare_salts(self.clock())
        return ""

    async def _prune(self, date: str) -> str:
        await self.ingest.prune(self._forget_by())
        return ""

    async def _keep(self) -> None:
        if self.stats.changed:
            await asyncio.to_thread(self.stats.keep)
        if not self.applier.link.answers_in_time:
            self.stats.borrow()

    async def _report(self) -> None:
        self.metrics.rewinds.inc(self._positions.rewinds - self._rewinds)
        self._rewinds = self._positions.rewinds
        self._oldest_shown_ms = self.stats.take_oldest()
        self._tell()
        tell_left_out()

    def _tell(self) -> None:
        files, most_files = open_files()
        self._seat.tell(
            Report(
                pid=os.getpid(),
                slot=self._slot,
                record=self.ingest.last_record,
                ready=self.ready,
                store=self.applier.link.word,
                journal=not self.ingest.trouble,
                lagging=tuple(self.applier.lagging_sites[:MOST_SITES]),
                gaps=self.applier.gaps,
                journal_bytes=self.ingest.journal_bytes,
                store_lost=self.losses.sites,
                connections=self._connections(),
                streams=self.metrics.live_streams,
                files=files,
                most_files=most_files,
                waiting_hits=self.ingest.waiting_hits,
                most_waiting=self.settings.queue_max_hits,
                unapplied_records=self.ingest.backlog.records,
                unapplied_bytes=self.ingest.backlog.bytes,
                unapplied_since_ms=self.ingest.backlog.oldest_ms,
                journal_limit=self._limits.max_bytes if self.journalled else 0,
                oldest_shown_ms=self._oldest_shown_ms,
                cpu_seconds=cpu_seconds(),
                memory_bytes=memory_bytes(),
                disk_free=self._disk[0],
                disk_size=self._disk[1],
            )
        )

    async def _look_at_disk(self) -> None:
        with contextlib.suppress(OSError):  # the journal reports errors of the disk
            self._disk = await asyncio.to_thread(disk, self.settings.data_dir)

    async def _probe(self) -> None:
        self.applier.probe()

    async def _remember_scrapers(self) -> None:
        try:
            await self.access.remember()
        except StoreUnavailable as error:
            log.debug("tokens cannot be looked up: %s", error)

    async def _keep_refusals(self) -> None:
        try:
            await self.refusals.keep()
        except StoreUnavailable as error:
            log.debug("what was refused cannot be kept: %s", error)

    async def _adopt(self) -> None:
        if self._replay is None or not self.applier.link.commits:
            return
        try:
            await self._replay.adopt(self._positions, self.applier.note_replayed, self._forget_by())
        except StoreUnavailable as error:
            log.debug("abandoned slots wait for the store: %s", error)
        except OSError as error:
            log.warning("abandoned slots wait for the disk: %s", error)

    async def _compare(self) -> None:
        # Without hits, nothing else would notice that the store came back older.
        if self._replay is None or not self.applier.link.commits:
            return
        try:
            await self._replay.check(self._positions)
        except StoreUnavailable as error:
            log.debug("the store cannot be compared: %s", error)

    def _note_loss(self, sites: list[LiveSite]) -> None:
        self.access.note_loss()
        self.losses.note(sites)

    async def _look_for_losses(self) -> None:
        await self.losses.check(self.sites)

    async def _check_fit(self, reads: Reads) -> list[str]:
        """Check whether the store may be counted in, and commit nothing while it may not; return warnings. Raises
        StoreUnavailable."""
        try:
            warnings = await reads.check_fit()
        except StoreUnfit as error:
            self.applier.suspend(str(error))
            return []
        self.applier.resume()
        return warnings

    async def _look(self) -> None:
        version = None
        try:
            if self.applier.link.trusted:
                asked = time.perf_counter()
                version = await self.reads.glance()
                self.metrics.ping_took(time.perf_counter() - asked)
            else:
                await self._check_fit(self.reads)
        except StoreUnfit as error:
            self.applier.suspend(str(error))
        except StoreUnavailable as error:
            log.debug("the store cannot be looked at: %s", error)
        await self.sites.refresh(version)
