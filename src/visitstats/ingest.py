"""Ingest: beacon → batch → journal → commit → answer, by natural group commit.

While one batch is being committed the next one gathers; an idle service commits at once. A batch is in the journal, fsynced,
before anything is acknowledged; then it is committed to the store. Everybody in a batch waits for the same future.

When the store does not answer in time, the batch is acknowledged from the journal alone (`Outcome.committed` is None: a 202),
its site lags, and `_heal` commits the journal in order as soon as the store is back. Only one of them uses the connection at
a time; no command is ever cancelled, and none is sent twice on a guess.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import perf_counter
from typing import Any, Protocol

import msgspec

from visitstats.core.batch import Batch, Gathering, encode
from visitstats.core.errors import JournalDamaged, JournalFull, Overloaded, StoreUnavailable
from visitstats.core.periods import Calendar, Day
from visitstats.directory import LiveSite, SiteDirectory
from visitstats.journal import Journal
from visitstats.metrics import Metrics
from visitstats.replay import Backlog
from visitstats.stats import Snapshot, Stats
from visitstats.store.commit import Committed, Committer, Heartbeats, Numbering
from visitstats.store.reads import Reads

log = logging.getLogger(__name__)

HEAL_SECONDS = (0.05, 1.0)
"""Pauses between attempts to reach a store that is away: the first, and the longest."""
ROUTINE_SECONDS = 1.0
"""How long a heartbeat or the count of an ignored beacon may wait for a commit to travel with."""


class Limits(Protocol):
    """The settings that matter here."""

    answer_timeout_ms: int
    batch_max_hits: int
    queue_max_hits: int
    shutdown_seconds: float


class Outcome(msgspec.Struct, frozen=True):
    """What became of a batch: committed with a fresh snapshot, or journalled (None) with the last one."""

    committed: Committed | None
    snapshot: Snapshot


class Waiting(Gathering):
    """A gathering batch with the future that all of its hits wait for."""

    __slots__ = ("future", "live")

    def __init__(self, live: LiveSite, day: Day, future: "asyncio.Future[Outcome]") -> None:
        super().__init__(live.site, day)
        self.live = live
        self.future = future


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
    ) -> None:
        self._limits = limits
        self._journal = journal
        self._committer = committer
        self._reads = reads
        self._stats = stats
        self._sites = sites
        self._metrics = metrics
        self._clock = clock
        self._backlog = Backlog(journal)
        self._applied: dict[str, int] = {}
        self._open: dict[tuple[str, str], Waiting] = {}
        self._full: list[Waiting] = []
        self._beats: dict[tuple[str, str], tuple[LiveSite, Day, dict[bytes, tuple[bytes, int]]]] = {}
        self._heartbeats = 0
        self._waiting = 0
        self._wake = asyncio.Event()
        self._line_free = asyncio.Event()
        self._line_free.set()
        self._closing = False
        self._disk = ThreadPoolExecutor(1, thread_name_prefix="journal")
        self._tasks: list[asyncio.Task[None]] = []
        self._healing: asyncio.Task[None] | None = None
        self._adopted: dict[int, int] = {}
        self._in_flight: set[asyncio.Task[None]] = set()

    # In ------------------------------------------------------------------------------------------------------------

    def gathering(self, live: LiveSite, day: Day) -> Waiting:
        """Return the batch that takes the next hit of a site-day. Raises Overloaded when too many hits wait."""
        if self._waiting >= self._limits.queue_max_hits or self._closing:
            raise Overloaded("more hits wait than this service can take; try again")
        name = (live.site.id, day.date)
        waiting = self._open.get(name)
        if waiting is None:
            waiting = self._open[name] = Waiting(live, day, asyncio.get_running_loop().create_future())
        elif len(waiting) >= self._limits.batch_max_hits:
            self._full.append(waiting)
            waiting = self._open[name] = Waiting(live, day, asyncio.get_running_loop().create_future())
        self._waiting += 1
        self._wake.set()
        return waiting

    def ignore(self, live: LiveSite, day: Day, reason: str) -> None:
        """Count a beacon that is not counted (rule 8). It travels with the next commit, at most a second later."""
        name = (live.site.id, day.date)
        waiting = self._open.get(name)
        if waiting is None:
            waiting = self._open[name] = Waiting(live, day, asyncio.get_running_loop().create_future())
        waiting.ignored[reason] = waiting.ignored.get(reason, 0) + 1
        self._metrics.ignored.labels(live.site.id, reason).inc()

    def beat(self, live: LiveSite, day: Day, token: bytes, old_token: bytes, moment_ms: int) -> None:
        """Prolong a visitor's presence (rule 4) with the next commit, at most a second later."""
        name = (live.site.id, day.date)
        entry = self._beats.get(name)
        if entry is None:
            entry = self._beats[name] = (live, day, {})
        beats = entry[2]
        self._heartbeats += 1
        if token in beats or len(beats) < self._limits.queue_max_hits:
            beats[token] = (old_token, moment_ms)

    # Life ----------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Bring the store up to the journal, or begin without it when it is away; then take hits."""
        try:
            await self._backlog.compare(self._reads)
            await self._replay()
        except StoreUnavailable as error:
            log.warning("the store is away at the start: %s", error)
            for site in self._backlog.newest:
                self._backlog.fall_behind(site, 0)
        self._applied = dict(self._backlog.newest)
        self._tasks = [asyncio.create_task(self._run()), asyncio.create_task(self._routine())]
        if self._backlog.lagging:
            self._heal_soon()

    async def stop(self) -> None:
        """Commit what waits, for `shutdown_seconds` at most, and close. What is in the journal by then is applied later."""
        self._closing = True
        self._wake.set()
        run, routine = self._tasks
        routine.cancel()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(run), self._limits.shutdown_seconds)
        for task in (run, self._healing):
            if task is not None and not task.done():
                task.cancel()
        await asyncio.gather(run, routine, *filter(None, (self._healing,)), return_exceptions=True)
        await self._committer.close()
        self._disk.shutdown(wait=True)
        self._journal.close()

    @property
    def lagging(self) -> int:
        """How many sites the store is behind for."""
        return len(self._backlog.lagging)

    @property
    def gaps(self) -> int:
        """Batches that could not be healed, because the journal did not reach back far enough."""
        return self._backlog.gaps

    @property
    def journal(self) -> Journal:
        """The journal, to look at."""
        return self._journal

    def notice(self, site: str, watermark: int) -> None:
        """Heal when a watermark that was read is below what was applied: the store came back older."""
        if watermark < self._applied.get(site, 0) and site not in self._backlog.lagging:
            log.warning("site %s: the store is at %d of our batches, not at %d", site, watermark, self._applied[site])
            self._backlog.fall_behind(site, watermark)
            self._heal_soon()

    async def adopt(self, root: Path, url: str, *, max_bytes: int, keep_seconds: float) -> None:
        """Apply the records of slots whose process is gone, each slot once until it was used again."""
        for journal in Journal.open_abandoned(root, self._adopted, max_bytes=max_bytes, keep_seconds=keep_seconds):
            committer = Committer(url, journal.writer)
            try:
                backlog = Backlog(journal)
                await backlog.compare(self._reads)
                if backlog.lagging:
                    log.info("slot %d was left with batches that are not applied; applying them", journal.number)
                    await backlog.replay(committer, self._numbering_of, self._replayed, self._read_disk)
                if not backlog.lagging:
                    self._adopted[journal.number] = journal.newest_segment
                    journal.prune(self._clock() / 1000)
            finally:
                await committer.close()
                journal.close()

    # Group commit --------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            gathered = [*self._full, *self._open.values()]
            self._full, self._open = [], {}
            try:
                await self._journal_and_commit(gathered)
                await self._prolong()
            except Exception:
                # The one place that outlives its own bugs: a dead loop would leave every later hit without an answer.
                log.exception("a batch could not be handled")
                self._metrics.internal_errors.inc()
                for waiting in gathered:
                    if not waiting.future.done():
                        waiting.future.set_exception(Overloaded("internal error; the hit was not taken"))
            if self._closing and not (self._open or self._full):
                return

    async def _journal_and_commit(self, gathered: list[Waiting]) -> None:
        gathered = [waiting for waiting in gathered if len(waiting) or waiting.ignored]
        if not gathered:
            return
        now = self._clock()
        started = perf_counter()
        sequence = self._journal.last_sequence
        newest = dict[str, int]()
        work: list[tuple[int, Waiting, Batch]] = []
        for waiting in gathered:
            self._waiting -= len(waiting)
            sequence += 1
            site = waiting.site.id
            batch = waiting.close(newest.get(site, self._backlog.newest.get(site, 0)), now)
            newest[site] = sequence
            work.append((sequence, waiting, batch))
        try:
            await self._on_disk(lambda: self._journal.append([encode(batch) for _, _, batch in work]))
        except JournalFull as error:
            self._metrics.journal_refused.inc(sum(len(waiting) for waiting in gathered))
            log.error("%s", error)
            for waiting in gathered:
                _fail(waiting.future, error)
            return
        self._metrics.batch_journalled(sum(map(len, gathered)), perf_counter() - started)
        for number, waiting, _ in work:
            self._backlog.note(waiting.site.id, number)
        while work:
            # One batch of a site at a time: the articles of a batch follow its audience, before the next batch's.
            sites: set[str] = set()
            turn, later = [], []
            for item in work:
                (later if item[1].site.id in sites else turn).append(item)
                sites.add(item[1].site.id)
            await self._commit(turn)
            work = later

    async def _commit(self, turn: list[tuple[int, Waiting, Batch]]) -> None:
        ready = []
        for sequence, waiting, batch in turn:
            site = waiting.site.id
            if site in self._backlog.lagging or not self._line_free.is_set():
                self._backlog.fall_behind(site, self._applied.get(site, 0))
                self._pend(waiting)
                self._heal_soon()
            else:
                ready.append((sequence, waiting, batch))
        if not ready:
            return
        if not await self._on_line(self._commit_ready(ready)):
            for _, waiting, _ in ready:
                self._backlog.fall_behind(waiting.site.id, self._applied.get(waiting.site.id, 0))
                self._pend(waiting)
            self._heal_soon()

    async def _commit_ready(self, ready: list[tuple[int, Waiting, Batch]]) -> None:
        now = self._clock()
        started = perf_counter()
        try:
            results = await self._committer.commit(
                [
                    (sequence, batch.previous, batch, Numbering(waiting.live.calendar.day_at(now), now))
                    for sequence, waiting, batch in ready
                ]
            )
        except StoreUnavailable as error:
            log.warning("%s", error)
            self._metrics.store_failures.inc()
            results = []
        finally:
            self._line_free.set()
        self._metrics.commit_seconds.observe(perf_counter() - started)
        for n, (sequence, waiting, _) in enumerate(ready):
            result = results[n] if results else None
            if isinstance(result, Committed):
                if waiting.site.id not in self._backlog.lagging:
                    self._applied[waiting.site.id] = sequence
                self._finish(waiting, result, now)
            else:
                self._backlog.fall_behind(waiting.site.id, self._applied.get(waiting.site.id, 0))
                self._pend(waiting)
                self._heal_soon()
        self._backlog.settle()

    def _finish(self, waiting: Waiting, result: Committed, now: int) -> None:
        live = waiting.live
        snapshot = self._stats.publish(live, result.online, result.visits, result.views, now)
        self._metrics.batch_committed(live.site.id, len(waiting), result.started)
        for article, views in zip(waiting.article_ids, result.articles, strict=True):
            if views >= 0:
                self._stats.remember_views(live.site.id, article, views)
        for place in result.nameless:
            self._sites.entries.forget((live.site.id, waiting.article_ids[place]))
        if not waiting.future.done():
            waiting.future.set_result(Outcome(result, snapshot))

    def _pend(self, waiting: Waiting) -> None:
        if not waiting.future.done():
            self._metrics.pending.inc(len(waiting))
            waiting.future.set_result(Outcome(None, self._stats.last(waiting.live)))

    async def _prolong(self) -> None:
        if self._beats and self._line_free.is_set():
            beats, self._beats = self._beats, {}
            await self._on_line(self._beat(list(beats.values())))

    async def _beat(self, beats: list[tuple[LiveSite, Day, dict[bytes, tuple[bytes, int]]]]) -> None:
        try:
            for live, day, tokens in beats:
                items = list(tokens.items())
                for start in range(0, len(items), 1000):
                    piece = items[start : start + 1000]
                    await self._committer.beat(
                        [
                            Heartbeats(
                                live.site.id,
                                day,
                                [token for token, _ in piece],
                                [old for _, (old, _) in piece],
                                [moment for _, (_, moment) in piece],
                            )
                        ]
                    )
        except StoreUnavailable as error:
            log.warning("heartbeats are lost: %s", error)
        finally:
            self._line_free.set()

    async def _on_line(self, work: Coroutine[Any, Any, None]) -> bool:
        """Let work use the connection; False when it has not ended in time. It goes on and frees the line when it ends."""
        self._line_free.clear()
        task = asyncio.create_task(work)
        self._in_flight.add(task)
        task.add_done_callback(self._in_flight.discard)
        await asyncio.wait({task}, timeout=self._limits.answer_timeout_ms / 1000)
        return task.done()

    async def _routine(self) -> None:
        while True:
            await asyncio.sleep(ROUTINE_SECONDS)
            self._metrics.heartbeats.inc(self._heartbeats)
            self._heartbeats = 0
            if self._open or self._beats:
                self._wake.set()

    # Healing -------------------------------------------------------------------------------------------------------

    def _heal_soon(self) -> None:
        if self._healing is None or self._healing.done():
            self._healing = asyncio.create_task(self._heal())

    async def _heal(self) -> None:
        pause, longest = HEAL_SECONDS
        while self._backlog.lagging:
            await self._line_free.wait()
            self._line_free.clear()
            try:
                await self._backlog.compare(self._reads)
                await self._replay()
                pause = HEAL_SECONDS[0]
            except (StoreUnavailable, JournalDamaged) as error:
                log.debug("healing waits: %s", error)
            finally:
                self._line_free.set()
            if self._backlog.lagging:
                await asyncio.sleep(pause)
                pause = min(2 * pause, longest)
        log.info("the store has everything that is in the journal")

    async def _replay(self) -> None:
        await self._backlog.replay(self._committer, self._numbering_of, self._replayed, self._read_disk)
        for site, newest in self._backlog.newest.items():
            self._applied[site] = self._backlog.lagging.get(site, newest)

    def _numbering_of(self, batch: Batch) -> Numbering:
        now = self._clock()
        live = self._sites.get(batch.site)
        calendar = live.calendar if live else Calendar("UTC")
        return Numbering(calendar.day_at(now), now)

    def _replayed(self, batch: Batch, result: Committed) -> None:
        self._metrics.replayed.inc(batch.size if result.fresh else 0)
        if live := self._sites.get(batch.site):
            self._stats.publish(live, result.online, result.visits, result.views, self._clock())

    # The disk ------------------------------------------------------------------------------------------------------

    async def _on_disk(self, work: Callable[[], None]) -> None:
        await asyncio.get_running_loop().run_in_executor(self._disk, work)

    async def _read_disk(self, read: Callable[[], list[tuple[int, bytes]]]) -> list[tuple[int, bytes]]:
        return await asyncio.get_running_loop().run_in_executor(self._disk, read)

    async def prune(self) -> None:
        """Delete journal segments that are applied and past the retention."""
        await self._on_disk(lambda: self._journal.prune(self._clock() / 1000))


def _fail(future: "asyncio.Future[Outcome]", error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
        # An ignored beacon waits for nobody; without this the loop would complain that the error was never looked at.
        future.exception()
