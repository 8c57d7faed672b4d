"""Ingest: beacon → batch → journal → commit → answer, by natural group commit.

While one batch is being committed the next one gathers; an idle service commits at once, and whoever comes in at the
same moment joins. A batch is in the journal, fsynced, before anything is acknowledged; then it is applied
(`visitstats.apply`). Everybody in a batch waits for the same future.
"""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter
from typing import Protocol

from visitstats.apply import Applier
from visitstats.core.batch import Batch, encode, reduce
from visitstats.core.errors import JournalFull, Overloaded
from visitstats.core.periods import Day
from visitstats.directory import LiveSite, SiteDirectory
from visitstats.ending import end
from visitstats.journal import Journal
from visitstats.metrics import Metrics
from visitstats.rebuild import Rebuild
from visitstats.replay import Backlog, Record
from visitstats.stats import Stats
from visitstats.store.commit import Committer
from visitstats.store.reads import Reads
from visitstats.waiting import Waiting

log = logging.getLogger(__name__)

JOIN_TURNS = 32
"""Of the event loop, at most, while more hits come in with each. A crowd becomes one batch instead of two that take
turns (255 hits instead of 128 with 256 connections: 2 to 6 % less CPU for each, and as much in the store); a lone hit
waits for one more turn, some microseconds."""
ROUTINE_SECONDS = 1.0
"""How long a heartbeat or the count of an ignored beacon may wait for a commit to travel with."""


class Limits(Protocol):
    """The settings that matter here."""

    @property
    def answer_timeout_ms(self) -> int: ...
    @property
    def batch_max_hits(self) -> int: ...
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
        committer: Committer,
        reads: Reads,
        stats: Stats,
        sites: SiteDirectory,
        metrics: Metrics,
        clock: Callable[[], int],
        rebuild: Rebuild | None = None,
    ) -> None:
        self._limits = limits
        self._journal = journal
        self._metrics = metrics
        self._clock = clock
        self._disk = ThreadPoolExecutor(1, thread_name_prefix="journal")
        self._backlog = Backlog(journal, clock)
        self.applier = Applier(
            self._backlog,
            committer,
            reads,
            stats,
            sites,
            metrics,
            clock,
            self._read_disk,
            limits.answer_timeout_ms,
            rebuild,
        )
        self._open: dict[tuple[str, str], Waiting] = {}
        self._full: list[Waiting] = []
        self._waiting = 0
        self._heartbeats = 0
        self._wake = asyncio.Event()
        self._closing = False
        self.trouble = journal.reason
        """Why the journal takes no hits; empty while it does."""
        self._tasks: list[asyncio.Task[None]] = []

    # In ------------------------------------------------------------------------------------------------------------

    def gathering(self, live: LiveSite, day: Day) -> Waiting:
        """Return the batch that takes the next hit of a site-day. Raises Overloaded when too many hits wait."""
        if self._waiting >= self._limits.queue_max_hits or self._closing:
            raise Overloaded("more hits wait than this service can take; try again")
        waiting = self._batch(live, day)
        if len(waiting) >= self._limits.batch_max_hits:
            self._full.append(waiting)
            del self._open[live.site.id, day.date]
            waiting = self._batch(live, day)
        self._waiting += 1
        self._wake.set()
        return waiting

    def ignore(self, live: LiveSite, day: Day, reason: str) -> None:
        """Count a beacon that is not counted (rule 8). It travels with the next commit, at most a second later."""
        waiting = self._batch(live, day)
        waiting.ignored[reason] = waiting.ignored.get(reason, 0) + 1
        self._metrics.ignored.labels(live.site.id, reason).inc()

    def note(self, live: LiveSite, day: Day, note: str) -> None:
        """Count what is told beside the reasons (`counting.NOTES`); it travels in the same way."""
        waiting = self._batch(live, day)
        waiting.ignored[note] = waiting.ignored.get(note, 0) + 1
        self._metrics.noted.labels(live.site.id, note).inc()

    def beat(self, live: LiveSite, day: Day, token: bytes, old_token: bytes, moment_ms: int) -> None:
        """Prolong a visitor's presence (rule 4) with the next commit, at most a second later."""
        self._heartbeats += 1
        self.applier.beat(live, day, token, old_token, moment_ms, self._limits.queue_max_hits)

    # Life ----------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Bring the store up to the journal, or begin without it when it is away; then take hits."""
        await self.applier.start()
        self._tasks = [asyncio.create_task(self._run()), asyncio.create_task(self._routine())]

    async def stop(self) -> None:
        """Journal and apply what waits, for half of `shutdown_seconds` at most (the other half had the requests), and
        close. What is journalled is applied later."""
        self._closing = True
        self._wake.set()
        run, routine = self._tasks
        await asyncio.wait({run}, timeout=self._limits.shutdown_seconds / 4)
        await end(run, routine)
        await self.applier.stop(self._limits.shutdown_seconds / 4)
        await self._on_disk(lambda: self._journal.note_outcomes(self.applier.decided()))
        self._disk.shutdown(wait=True)
        self._journal.close()

    @property
    def journal(self) -> Journal:
        """The journal, to look at."""
        return self._journal

    async def prune(self, now_ms: int) -> None:
        """Delete journal segments that are applied and past the retention, and make those that are an hour old forget
        who read what."""
        now = now_ms / 1000
        await self._on_disk(lambda: self._journal.prune(now))
        for segment in self._journal.reducible(now):
            # A full one takes a second: not in the thread that every hit waits for.
            rewritten = await asyncio.to_thread(self._journal.rewrite, segment, reduce)
            await self._on_disk(lambda rewritten=rewritten: self._journal.replace(rewritten))  # type: ignore[misc]

    # Group commit --------------------------------------------------------------------------------------------------

    def _batch(self, live: LiveSite, day: Day) -> Waiting:
        name = (live.site.id, day.date)
        waiting = self._open.get(name)
        if waiting is None:
            waiting = self._open[name] = Waiting(live, day, asyncio.get_running_loop().create_future())
        return waiting

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            await self._let_join()
            self._wake.clear()
            gathered = [*self._full, *self._open.values()]
            self._full, self._open = [], {}
            if gathered:
                try:
                    await self._journal_batches(gathered)
                except Exception:
                    # Outlives its own bugs: a dead loop would leave every later hit without an answer.
                    log.exception("a batch could not be journalled")
                    self._metrics.internal_errors.inc()
                    _refuse(gathered, Overloaded("internal error; the hit was not taken"))
            if self._closing and not (self._open or self._full):
                return

    async def _let_join(self) -> None:
        """Let those join a batch whose requests are here already, or just coming in."""
        for _ in range(JOIN_TURNS):
            waiting = self._waiting
            await asyncio.sleep(0)
            if self._waiting == waiting:
                return

    async def _journal_batches(self, gathered: list[Waiting]) -> None:
        now = self._clock()
        started = perf_counter()
        sequence = self._journal.last_sequence
        newest: dict[str, int] = {}
        work: list[tuple[int, Waiting, Batch]] = []
        for waiting in gathered:
            self._waiting -= len(waiting)
            sequence += 1
            site = waiting.site.id
            previous = newest[site] if site in newest else self._backlog.previous(site)
            work.append((sequence, waiting, waiting.close(previous, now)))
            newest[site] = sequence
        hits = sum(map(len, gathered))
        decided = self.applier.decided()
        try:
            await self._on_disk(lambda: self._write([encode(batch) for _, _, batch in work], decided))
        except JournalFull as error:
            self._note_trouble(str(error))
            self._metrics.journal_refused.inc(hits)
            _refuse(gathered, error)
            return
        self._note_trouble("")
        self._metrics.batch_journalled(hits, perf_counter() - started)
        self.applier.take(work)
        await self.applier.settled()

    def _note_trouble(self, trouble: str) -> None:
        if trouble and trouble != self.trouble:
            log.error("hits are refused: %s", trouble)
        elif self.trouble and not trouble:
            log.warning("the journal takes hits again")
        self.trouble = trouble

    async def _probe(self) -> None:
        """Find out whether the journal would take hits again, also when nobody sends any: whoever asks `/readyz` first
        may send none until then."""
        try:
            await self._on_disk(self._journal.probe)
        except JournalFull as error:
            self._note_trouble(str(error))
        else:
            self._note_trouble("")

    def _write(self, batches: list[bytes], decided: list[tuple[int, bytes]]) -> None:
        if decided:
            self._journal.note_outcomes(decided)
        self._journal.append(batches)

    async def _routine(self) -> None:
        while True:
            await asyncio.sleep(ROUTINE_SECONDS)
            self._metrics.heartbeats.inc(self._heartbeats)
            self._heartbeats = 0
            self.applier.nudge()
            if self.trouble:
                await self._probe()
            if not self._open and (decided := self.applier.decided()):
                await self._on_disk(lambda decided=decided: self._journal.note_outcomes(decided))  # type: ignore[misc]
            if self._open:
                self._wake.set()

    async def _on_disk(self, work: Callable[[], None]) -> None:
        await asyncio.get_running_loop().run_in_executor(self._disk, work)

    async def _read_disk(self, read: Callable[[], list[Record]]) -> list[Record]:
        # A replay must find what was decided until now; and what it decides itself must not pile up in memory.
        decided = self.applier.decided()

        def note_and_read() -> list[Record]:
            self._journal.note_outcomes(decided)
            return read()

        return await asyncio.get_running_loop().run_in_executor(self._disk, note_and_read)


def _refuse(gathered: list[Waiting], error: Exception) -> None:
    for waiting in gathered:
        if not waiting.future.done():
            waiting.future.set_exception(error)
            # An ignored beacon waits for nobody; without this the loop would complain that nobody looked at the error.
            waiting.future.exception()
