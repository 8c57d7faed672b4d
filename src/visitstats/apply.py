"""Applying: journalled batches go to the store, in their order, by one task that owns the one connection.

A batch comes straight from memory while the store keeps up. When it does not, its site lags: its batches stay in the
journal alone, memory stays flat, and they are read back and committed in order as soon as the store answers again.
Whoever waits for an answer gets it from either way, or after `answer_timeout_ms` from the journal alone
(`Outcome.committed` is None: a 202).

No command is ever cancelled, and none is sent twice on a guess: what became of it is read from the ledgers' watermarks.
"""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable
from time import perf_counter

from visitstats.core.batch import OTHER_ID, Batch
from visitstats.core.errors import JournalDamaged, StoreUnavailable
from visitstats.core.periods import Calendar, Day
from visitstats.directory import LiveSite, SiteDirectory
from visitstats.ending import end
from visitstats.heartbeats import WaitingBeats
from visitstats.metrics import Metrics
from visitstats.rebuild import Rebuild
from visitstats.replay import Backlog, RunOnDisk
from visitstats.stats import Stats
from visitstats.store.commit import Committed, Committer, Gap, Numbering, Work
from visitstats.store.reads import Reads
from visitstats.waiting import Outcome, Waiting

log = logging.getLogger(__name__)

PAUSES = (0.05, 1.0)
"""Seconds between attempts to reach a store that is away: the first, and the longest."""
GATHER_SECONDS = (0.001, 0.005, 0.05)
"""How long batches are gathered while the store is away, the same in a crowd, and while the store is being brought up
to the journal. A flood must not become more batches than can be replayed in the time that it took (measured with
`appendfsync always`); a portal's 200 hits a second need not wait for that: with 5 ms for all their median was 4.3 ms in
place of 2.7, the 99th percentile 10.4 in place of 9.0 (alternating rounds on a busy machine)."""
CROWD = 2
"""So many hits journalled at once, in a millisecond or five, make a crowd."""


class Applier:
    """Applies the batches of one writer. `clock` gives the moment in milliseconds."""

    def __init__(
        self,
        backlog: Backlog,
        committer: Committer,
        reads: Reads,
        stats: Stats,
        sites: SiteDirectory,
        metrics: Metrics,
        clock: Callable[[], int],
        run_on_disk: RunOnDisk,
        answer_timeout_ms: int,
        rebuild: Rebuild | None = None,
    ) -> None:
        self._rebuild = rebuild
        self._generation = -1
        """Of the connection behind which the store is known to have everything."""
        self._unsettled = False
        """The store may have lost something, or somebody says so."""
        self._announcing = False
        self._backlog = backlog
        self._committer = committer
        self._reads = reads
        self._stats = stats
        self._sites = sites
        self._metrics = metrics
        self._clock = clock
        self._run_on_disk = run_on_disk
        self._timeout = answer_timeout_ms / 1000
        self._queue: deque[tuple[int, Waiting, Batch]] = deque()
        self._unanswered: dict[int, Waiting] = {}
        self._applied: dict[str, int] = {}
        self._noticed: dict[str, int] = {}
        """Watermarks of a store that was seen to have less than was applied."""
        self._beats = WaitingBeats()
        self._decided: list[tuple[int, bytes]] = []
        self._work = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self.away = False
        """No answer is to be expected in time: hits are answered from the journal."""
        self.lost = False
        """The connection failed, and no command has succeeded since."""
        self.unfit = ""
        """Why nothing may be committed just now, although the store answers; empty when it may."""
        self._closing = False
        self._replaying = False
        self._crowd = False
        self._task: asyncio.Task[None] | None = None

    # In ------------------------------------------------------------------------------------------------------------

    def take(self, journalled: list[tuple[int, Waiting, Batch]]) -> None:
        """Take batches that are in the journal, in the order of their sequences."""
        for sequence, waiting, batch in journalled:
            site = batch.site
            self._backlog.note(site, sequence)
            self._unanswered[sequence] = waiting
            if self.away or site in self._backlog.lagging:
                self._backlog.fall_behind(site, self._applied.get(site, 0))
            else:
                self._queue.append((sequence, waiting, batch))
        last = journalled[-1][0]
        self._crowd = sum(len(waiting) for _, waiting, _ in journalled) >= CROWD
        if self.away:
            self._answer_from_journal(last)
        else:
            self._idle.clear()
            # One timer for all of them: a timer or a shield for each hit would cost a quarter of a bare request.
            asyncio.get_running_loop().call_later(self._timeout, self._late, last)
        self._work.set()

    def beat(self, live: LiveSite, day: Day, token: bytes, old_token: bytes, moment_ms: int, most: int) -> None:
        """Prolong a visitor's presence (rule 4) with the next commit; at most `most` visitors a site wait for that."""
        self._beats.add(live, day, token, old_token, moment_ms, most)

    def decided(self) -> list[tuple[int, bytes]]:
        """Return what was decided since this was asked last, as (sequence, outcome), to be kept beside the journal."""
        found, self._decided = self._decided, []
        return found

    def nudge(self) -> None:
        """Do now what may wait for the next commit."""
        if self._beats:
            self._work.set()

    async def settled(self) -> None:
        """Return when what was taken is applied, or when it is clear that this may take long."""
        if not self._backlog.lagging:
            await self._idle.wait()
        else:
            # Gather for a moment: a replay must gain on a flood of small batches, of which each costs the store a sync.
            await asyncio.sleep(GATHER_SECONDS[2 if self._replaying else self._crowd])

    # Life ----------------------------------------------------------------------------------------------------------

    def begin_without(self, error: StoreUnavailable) -> None:
        """Have `start` begin without the store: it did not answer just now, and nobody should wait for it again."""
        self._lose_store(error)
        self._unsettled = True

    async def start(self) -> None:
        """Bring the store up to the journal, or begin without it when it is away."""
        if not self.lost:
            try:
                await self._heal()
            except (StoreUnavailable, JournalDamaged, OSError) as error:
                self._lose_store(error)
        self._applied = {site: self._backlog.expected(site) for site in self._backlog.newest}
        self._task = asyncio.create_task(self._run())
        if self._backlog.lagging or self._unsettled:
            self._work.set()

    async def stop(self, seconds: float) -> None:
        """Apply what was taken, for so long at most, and close. The rest is applied by whoever opens the journal
        next."""
        self._closing = True
        self._work.set()
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=seconds)
            await end(self._task)
        self._answer_from_journal(None)
        await self._committer.close()

    def doubt(self, reason: str) -> None:
        """Commit nothing from now on, because the store must not be counted in; with an empty reason, do so again."""
        if reason == self.unfit:
            return
        if reason:
            log.error("hits are journalled, and not counted until the store is fit for it: %s", reason)
        self.unfit = reason
        # Either way the one task looks again: it finds that it may not commit, or what is to be healed.
        self._unsettled = True
        self._work.set()

    @property
    def lagging(self) -> int:
        """How many sites the store is behind for."""
        return len(self._backlog.lagging)

    @property
    def gaps(self) -> int:
        """Batches that could not be healed, because the journal did not reach back far enough."""
        return self._backlog.gaps

    def applied(self, site: str) -> int:
        """The sequence up to which a site's batches are known to be in the store."""
        return self._applied.get(site, 0)

    def notice(self, site: str, watermark: int) -> None:
        """Heal a site of which the store was seen to have less than was applied: it came back older."""
        if site in self._backlog.lagging:
            return
        if self._backlog.has_all(site, watermark):
            self._applied[site] = 0  # as much as the store says
        elif self._noticed.get(site) == watermark:
            # We healed since, and it is still there: what is missing is in no journal any more, as the log has said.
            self._applied[site] = watermark
        else:
            self._noticed[site] = watermark
            log.warning(
                "site %s: the store came back with %d of our batches, not %d", site, watermark, self.applied(site)
            )
            self._backlog.fall_behind(site, watermark)
            self._announcing = True
            self._work.set()

    # The one task ---------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        pause, longest = PAUSES
        heal_at = 0.0
        while True:
            await self._wait_for_work(heal_at - loop.time() if self._backlog.lagging else None)
            healing = (bool(self._backlog.lagging) or self._unsettled) and loop.time() >= heal_at
            try:
                if healing:
                    await self._heal()
                    self._store_answers()
                await self._commit_queue()
                await self._prolong()
            except (StoreUnavailable, JournalDamaged) as error:
                self._lose_store(error)
            except Exception as error:
                # The one task that must outlive its own bugs: without it every later hit would wait for nothing.
                log.exception("a batch could not be applied")
                self._metrics.internal_errors.inc()
                self._lose_store(error)
            if not self._backlog.lagging:
                pause, heal_at = PAUSES[0], 0.0
                if not self._queue:
                    self._idle.set()
            else:
                self._idle.set()
                if healing:
                    heal_at = loop.time() + pause
                    pause = min(2 * pause, longest)
            if self._closing and not self._queue and (healing or not self._backlog.lagging):
                return

    async def _wait_for_work(self, seconds: float | None) -> None:
        if seconds is None:
            await self._work.wait()
        elif seconds > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._work.wait()
        self._work.clear()

    async def _heal(self) -> None:
        """Bring the store up to the journal; first of all, what was decided before it lost anything, and with the other
        writers (`visitstats.rebuild`)."""
        self._trust()
        generation = await self._committer.ready()
        if self._announcing:
            await self._say_lost()
            self._announcing = False
        await self._backlog.compare(self._reads)
        if self._rebuild is not None and (rebuild := await self._rebuild.asked()):
            decided = self.decided()
            await self._run_on_disk(lambda: self._backlog.keep(decided))
            await self._replay(decided_only=True)
            await self._rebuild.join(rebuild)
            await self._backlog.compare(self._reads)
        await self._replay()
        self._generation = generation
        self._unsettled = False

    def _trust(self) -> None:
        """Raise StoreUnavailable while the store must not be counted in."""
        if self.unfit:
            raise StoreUnavailable(self.unfit)

    async def look(self) -> None:
        """Join a rebuild that the store asks for, even when there is nothing to do. Raises StoreUnavailable."""
        if self._rebuild is not None and not self._unsettled and await self._rebuild.asked():
            self._unsettled = True
            self._work.set()

    async def _commit_queue(self) -> None:
        if self._queue and await self._committer.ready() != self._generation:
            # Behind a new connection may be a store that has lost something.
            self._unsettled = True
            for _, _, batch in self._queue:
                self._backlog.fall_behind(batch.site, self._applied.get(batch.site, 0))
            self._queue.clear()
            self._work.set()
        while self._queue:
            self._trust()
            # One batch of a site at a time: a batch's articles follow its audience before the next batch's audience.
            turn: dict[str, tuple[int, Waiting, Batch]] = {}
            while self._queue and self._queue[0][2].site not in turn:
                item = self._queue.popleft()
                # A replay may have been here first.
                if item[2].site not in self._backlog.lagging and item[0] > self.applied(item[2].site):
                    turn[item[2].site] = item
            if not turn:
                continue
            now = self._clock()
            started = perf_counter()
            results = await self._committer.commit(
                [
                    Work(sequence, batch.previous, batch, Numbering(waiting.live.calendar.day_at(now), now))
                    for sequence, waiting, batch in turn.values()
                ]
            )
            self._metrics.commit_seconds.observe(perf_counter() - started)
            self._store_answers()
            for (sequence, _, batch), result in zip(turn.values(), results, strict=True):
                if isinstance(result, Committed):
                    if not result.fresh and sequence > self.applied(batch.site):
                        # Nobody but us may use our sequences: the machine was cloned while it ran.
                        log.error("site %s: another process counts as writer %s", batch.site, self._committer.writer)
                        self._metrics.internal_errors.inc()
                    self._note_applied(sequence, batch, result)
                    continue
                if isinstance(result, Gap):
                    self._backlog.fall_behind(batch.site, result.watermark)
                    await self._say_lost()
                else:
                    log.error("the store refuses batch %d of site %s: %s", sequence, batch.site, result.error)
                    self._backlog.fall_behind(batch.site, self.applied(batch.site))
            self._backlog.settle()

    async def _say_lost(self) -> None:
        self._unsettled = True
        if self._rebuild is not None:
            await self._rebuild.announce()

    async def _replay(self, *, decided_only: bool = False) -> None:
        self._replaying = True
        try:
            await self._backlog.replay(
                self._committer, self.numbering, self._note_replayed, self._run_on_disk, decided_only=decided_only
            )
        finally:
            self._replaying = False

    def _note_replayed(self, sequence: int, batch: Batch, result: Committed) -> None:
        self._store_is_back()
        self._metrics.replayed.inc(batch.size if result.fresh else 0)
        self._note_applied(sequence, batch, result)
        self._trust()

    def _note_applied(self, sequence: int, batch: Batch, result: Committed) -> None:
        self._applied[batch.site] = sequence
        self._noticed.pop(batch.site, None)
        if outcome := result.outcome:
            self._decided.append((sequence, outcome))
        waiting = self._unanswered.pop(sequence, None)
        live = waiting.live if waiting else self._sites.get(batch.site)
        if result.fresh:
            self._metrics.batch_committed(batch.site, batch.size, result.started)
        if live is None:
            return
        snapshot = self._stats.publish(live, result.online, result.visits, result.views, self._clock())
        if waiting is None:
            if result.nameless:
                # Which articles they are is in the batch, in a form for the scripts: send all entries once more.
                self._sites.entries.clear()
            return
        self._stats.remember_views(batch.site, zip(waiting.article_ids, result.articles, strict=True))
        self._sites.newcomers.settle(batch.site, waiting.article_ids, result.articles, result.added)
        self._note_capped(waiting, result)
        for place in result.nameless:
            self._sites.entries.forget((batch.site, waiting.article_ids[place]))
        if not waiting.future.done():
            waiting.future.set_result(Outcome(result, snapshot))

    def _note_capped(self, waiting: Waiting, result: Committed) -> None:
        other = waiting.number_of(OTHER_ID)
        by_minute = 0 if other is None else result.added[other]
        if by_minute or min(result.added, default=0) < 0:
            by_site = -sum(views for views in result.added if views < 0)
            self._metrics.views_capped(waiting.site.id, by_site, by_minute)

    def numbering(self, batch: Batch) -> Numbering:
        """Say which counts to answer with a batch of the journal: those of its site's present day."""
        now = self._clock()
        live = self._sites.get(batch.site)
        return Numbering((live.calendar if live else Calendar("UTC")).day_at(now), now)

    # When the store does not answer ----------------------------------------------------------------------------------

    def _late(self, sequence: int) -> None:
        """The time to answer has come for everything up to a sequence."""
        if self._unanswered and next(iter(self._unanswered)) <= sequence:
            self.away = True
            self._answer_from_journal(sequence)
            self._idle.set()

    def _lose_store(self, error: Exception) -> None:
        if not self.lost:
            if not self.unfit:
                log.warning("hits are journalled until the store is back: %s", error)
            self._metrics.store_failures.inc()
        self.lost = self.away = True
        self._queue.clear()
        for site, newest in self._backlog.newest.items():
            if self.applied(site) < newest:
                self._backlog.fall_behind(site, self.applied(site))
        self._answer_from_journal(None)
        self._idle.set()

    def _store_answers(self) -> None:
        self._store_is_back()
        self.away = False

    def _store_is_back(self) -> None:
        # Still away for who waits: the replay of an hour takes minutes, and each hit would wait for all of it, in vain.
        if self.lost:
            log.info("the store answers again")
        self.lost = False

    def _answer_from_journal(self, up_to: int | None) -> None:
        for sequence in list(self._unanswered):
            if up_to is not None and sequence > up_to:
                return
            waiting = self._unanswered.pop(sequence)
            if not waiting.future.done():
                self._metrics.pending.inc(len(waiting))
                waiting.future.set_result(Outcome(None, self._stats.last(waiting.live)))

    # Heartbeats -----------------------------------------------------------------------------------------------------

    async def _prolong(self) -> None:
        if self.lost or self.unfit:
            return
        for piece in self._beats.take():
            await self._committer.beat([piece])
