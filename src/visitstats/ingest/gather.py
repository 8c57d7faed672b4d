"""Ingest: beacon → batch → journal → commit → answer, by natural group commit.

While one batch is being committed the next one gathers, and it gathers for some milliseconds in any case: at a portal's
rate, the fixed cost of a batch is most of the cost of a hit. A batch is in the journal, fsynced, before anything is
acknowledged; then it is applied (`ingest.apply`). All hits of a batch wait for the same future.
"""

import asyncio
import logging
from collections.abc import Callable
from time import perf_counter
from typing import Protocol

import msgspec

from visitstats.core.batch import ChangeRecord, Record, encode
from visitstats.core.counting import QUARTER_MS
from visitstats.core.errors import JournalFull, Overloaded
from visitstats.core.periods import Day
from visitstats.ingest.apply import Applier
from visitstats.ingest.backlog import Backlog
from visitstats.ingest.disk import Disk
from visitstats.ingest.positions import Positions
from visitstats.ingest.waiting import Waiting, WaitingChange
from visitstats.journal.log import Journal
from visitstats.metrics import Metrics
from visitstats.sites.directory import LiveSite
from visitstats.store.commit import Changed
from visitstats.system.ending import end

log = logging.getLogger(__name__)

CROWD = 64
"""A batch with so many hits is closed at once: its fixed cost is spread thin enough."""
JOIN_TURNS = 32
"""Yield to the event loop at most this often while every turn brings more hits: one batch instead of two that take
turns (255 hits instead of 128 with 256 connections: 2 to 6 % less CPU for each, and as much in the store)."""
ALONE = 20
"""After a pause of so many gathering times, hits are so rare that waiting for another would save nothing."""
ROUTINE_SECONDS = 1.0
"""How long a heartbeat, or the count of an ignored beacon, may wait for a commit that takes it along."""


class Limits(Protocol):
    """The settings that matter here."""

    @property
    def gather_ms(self) -> int: ...
    @property
    def queue_max_hits(self) -> int: ...
    @property
    def shutdown_seconds(self) -> int: ...


class Ingest:
    """The write side of one worker. `clock` gives the moment in milliseconds."""

    def __init__(
        self,
        limits: Limits,
        journal: Journal,
        positions: Positions,
        applier: Applier,
        metrics: Metrics,
        clock: Callable[[], int],
    ) -> None:
        self._limits = limits
        self._journal = journal
        self._positions = positions
        self._applier = applier
        self._metrics = metrics
        self._clock = clock
        self._disk = Disk()
        self._open: dict[tuple[str, str, int], Waiting] = {}
        self._full: list[Waiting] = []
        self._changes: list[WaitingChange] = []
        self._waiting = 0
        self._beating = 0
        """How many heartbeats wait."""
        self._heartbeats = 0
        """How many came since the metrics were last updated."""
        self._gather_seconds = limits.gather_ms / 1000
        self._last_hit = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._wake = asyncio.Event()
        self._taken = journal.last_sequence
        self._failures = 0
        """Segments that the disk refused, as far as the metrics have them."""
        self.backlog = Backlog(journal.last_sequence, journal.size, clock())
        """What the journal holds and the store may lack."""
        self._closing = False
        self.trouble = journal.reason
        """Why the journal takes no hits; empty while it does."""
        self._tasks: list[asyncio.Task[None]] = []

    # In ------------------------------------------------------------------------------------------------------------

    def gathering(self, live: LiveSite, day: Day, moment_ms: int) -> Waiting:
        """Return the batch that takes a hit of a site-day at a moment. Raises Overloaded when too many hits wait."""
        if self._waiting >= self._limits.queue_max_hits or self._closing:
            reason = "stopping" if self._closing else "queue"
            raise Overloaded("more hits wait than this service can take; try again", reason)
        waiting = self._with_room(live, day, moment_ms)
        if not waiting.since:
            waiting.since = perf_counter()
        self._waiting += 1
        if self._waiting == 1:
            self._gather()
        elif self._waiting == CROWD:
            self._wake.set()
        return waiting

    def _gather(self) -> None:
        """Let a batch whose first hit has just come gather for `gather_ms`; a lone hit goes at once."""
        now = asyncio.get_running_loop().time()
        if now - self._last_hit > ALONE * self._gather_seconds:
            self._wake.set()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._gather_seconds, self._gathered)
        self._last_hit = now

    def _gathered(self) -> None:
        self._timer = None
        self._wake.set()

    async def change(self, change: ChangeRecord) -> Changed | None:
        """Journal a change of a person's and apply it; None when it is journalled, and the store did not answer in
        time. `previous`, `total` and `at_ms` are filled in here. Raises JournalFull and Overloaded."""
        if self._closing:
            raise Overloaded("the service is about to end; try again", "stopping")
        waiting = WaitingChange(change, asyncio.get_running_loop().create_future())
        self._changes.append(waiting)
        self._wake.set()
        return await waiting.future

    def ignore(self, live: LiveSite, day: Day, moment_ms: int, reason: str) -> None:
        """Count a beacon that is not counted (rule 8). It travels with the next commit, at most a second later."""
        waiting = self._batch(live, day, moment_ms)
        waiting.ignored[reason] = waiting.ignored.get(reason, 0) + 1
        self._metrics.ignored.labels(live.site.id, reason).inc()

    def note(self, live: LiveSite, day: Day, moment_ms: int, note: str) -> None:
        """Count a note on beacons (`counting.NOTES`); it travels in the same way."""
        waiting = self._batch(live, day, moment_ms)
        waiting.ignored[note] = waiting.ignored.get(note, 0) + 1
        self._metrics.noted.labels(live.site.id, note).inc()

    def refuse(self, reason: str) -> None:
        """Count a hit that is answered 503 before it comes to the journal (`Overloaded.reason`, or "store-away")."""
        self._metrics.hits_refused.labels(reason).inc()

    def unknown_site(self) -> None:
        """Count a hit for a site that does not exist."""
        self._metrics.unknown_site.inc()

    def beat(self, live: LiveSite, day: Day, token: bytes, old_token: bytes, moment_ms: int) -> None:
        """Prolong a visitor's presence (rule 4) with the next commit, at most a second later. When as many wait as hits
        may, the heartbeat is dropped: the next one makes that good."""
        if self._beating < self._limits.queue_max_hits:
            self._beating += 1
            self._heartbeats += 1
            self._with_room(live, day, moment_ms).beat(moment_ms, token, old_token)

    def refused_beat(self, live: LiveSite, reason: str) -> None:
        """Note a heartbeat that was not taken, for the metrics alone."""
        self._metrics.heartbeats_ignored.labels(live.site.id, reason).inc()

    # Life ----------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Bring the store up to the journal, or begin without it when it is away; then take hits."""
        await self._applier.start()
        self._note_applied()
        self._tasks = [asyncio.create_task(self._run()), asyncio.create_task(self._routine())]

    async def stop(self) -> None:
        """Journal and apply what waits, for half of `shutdown_seconds` at most (the other half had the requests), and
        close. What is journalled is applied later."""
        self._closing = True
        self._wake.set()
        run, routine = self._tasks
        await asyncio.wait({run}, timeout=self._limits.shutdown_seconds / 4)
        await end(run, routine)
        await self._applier.stop(self._limits.shutdown_seconds / 4)
        self._metrics.flush()
        await asyncio.to_thread(self._disk.close)
        self._journal.close()

    @property
    def last_record(self) -> int:
        """The number of the last record in the journal."""
        return self._journal.last_sequence

    @property
    def journal_bytes(self) -> int:
        """The size of the journal on disk, in bytes."""
        return self._journal.size

    @property
    def waiting_hits(self) -> int:
        """How many hits wait to be journalled."""
        return self._waiting

    async def prune(self, now_ms: int) -> None:
        """Delete journal segments that are applied and past the retention."""
        await self._disk.run(lambda: self._journal.prune(now_ms / 1000))

    # Group commit --------------------------------------------------------------------------------------------------

    def _batch(self, live: LiveSite, day: Day, moment_ms: int) -> Waiting:
        name = (live.site.id, day.date, moment_ms // QUARTER_MS)
        waiting = self._open.get(name)
        if waiting is None:
            waiting = self._open[name] = Waiting(live, day, moment_ms, asyncio.get_running_loop().create_future())
        return waiting

    def _with_room(self, live: LiveSite, day: Day, moment_ms: int) -> Waiting:
        """The open batch, or a new one behind one that is full."""
        waiting = self._batch(live, day, moment_ms)
        if len(waiting) < self._applier.batch_events:
            return waiting
        self._full.append(waiting)
        del self._open[live.site.id, day.date, moment_ms // QUARTER_MS]
        return self._batch(live, day, moment_ms)

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            if self._waiting >= CROWD:
                await self._let_join()
            self._wake.clear()
            gathered: list[Waiting | WaitingChange] = [*self._changes, *self._full, *self._open.values()]
            self._full, self._open, self._changes, self._waiting, self._beating = [], {}, [], 0, 0
            if gathered:
                try:
                    await self._journal_records(gathered)
                except Exception:
                    # The loop survives its own bugs: without it, no later hit would be answered.
                    log.exception("a batch could not be journalled")
                    self._metrics.internal_errors.inc()
                    self._metrics.hits_refused.labels("internal").inc(_hits_of(gathered))
                    _refuse(gathered, Overloaded("internal error; the hit was not taken", "internal"))
            if self._closing and not (self._open or self._full or self._changes):
                return

    async def _let_join(self) -> None:
        """Let hits of a crowd join the batch when their requests are here already, or just coming in."""
        for _ in range(JOIN_TURNS):
            waiting = self._waiting
            await asyncio.sleep(0)
            if self._waiting == waiting:
                return

    async def _journal_records(self, gathered: list[Waiting | WaitingChange]) -> None:
        now = self._clock()
        started = perf_counter()
        sequence = self._journal.last_sequence
        newest: dict[str, tuple[int, int]] = {}
        work: list[tuple[int, Waiting | WaitingChange, Record]] = []
        for waiting in gathered:
            sequence += 1
            site = waiting.change.site if isinstance(waiting, WaitingChange) else waiting.site.id
            previous, total = newest[site] if site in newest else self._positions.newest_of(site)
            record = _closed(waiting, previous, total, now)
            work.append((sequence, waiting, record))
            newest[site] = sequence, record.total
        hits = _hits_of(gathered)
        # No request waits for heartbeats: they become durable with the next hit.
        durable = hits > 0 or any(isinstance(waiting, WaitingChange) for waiting in gathered)
        payloads = [encode(record) for _, _, record in work]
        try:
            await self._disk.run(lambda: self._journal.append(payloads, durable=durable))
        except JournalFull as error:
            self._note_trouble(str(error))
            self._metrics.hits_refused.labels("journal").inc(hits)
            _refuse(gathered, error)
            return
        self._note_trouble("")
        self._metrics.batch_journalled(hits, perf_counter() - started)
        self._taken = sequence
        self.backlog.add(sequence, payloads, now)
        self._applier.take(work)
        await self._applier.settled()
        self._note_applied()

    def _note_applied(self) -> None:
        """Tell the journal which records may be deleted."""
        self._journal.applied = reached = self._applier.applied_up_to(self._taken)
        self.backlog.applied(reached)

    def _note_trouble(self, trouble: str) -> None:
        if trouble and trouble != self.trouble:
            log.error("hits are refused: %s", trouble)
        elif self.trouble and not trouble:
            log.warning("the journal takes hits again")
        self.trouble = trouble

    async def _probe(self) -> None:
        """Check whether the journal takes hits again, even while none come: a balancer that asks `/readyz` sends none
        until it does."""
        try:
            await self._disk.run(self._journal.probe)
        except JournalFull as error:
            self._note_trouble(str(error))
        else:
            self._note_trouble("")

    async def _routine(self) -> None:
        while True:
            await asyncio.sleep(ROUTINE_SECONDS)
            self._metrics.heartbeats.inc(self._heartbeats)
            self._heartbeats = 0
            self._metrics.failed_segments.inc(self._journal.failures - self._failures)
            self._failures = self._journal.failures
            self._metrics.flush()
            self._note_applied()
            if self.trouble:
                await self._probe()
            if self._open:
                self._wake.set()


def _closed(waiting: Waiting | WaitingChange, previous: int, total: int, now_ms: int) -> Record:
    if isinstance(waiting, WaitingChange):
        return msgspec.structs.replace(waiting.change, previous=previous, total=total, at_ms=now_ms)
    return waiting.close(previous, total, waiting.opened_ms)


def _hits_of(gathered: list[Waiting | WaitingChange]) -> int:
    return sum(waiting.hits for waiting in gathered if isinstance(waiting, Waiting))


def _refuse(gathered: list[Waiting | WaitingChange], error: Exception) -> None:
    for waiting in gathered:
        if not waiting.future.done():
            waiting.future.set_exception(error)
            # Nothing waits for an ignored beacon; without this, asyncio would log an exception that was never
            # retrieved.
            waiting.future.exception()
