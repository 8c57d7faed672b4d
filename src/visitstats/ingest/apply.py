"""Applying: journalled batches go to the store, in their order, by one task.

A batch comes straight from memory while the store keeps up. When it does not, or has lost something, the batches stay
in the journal alone, memory stays flat, and they are applied by the replay (`ingest.replay`) as soon as the store
answers again. A request that waits is answered after the commit, or after `answer_timeout_ms` from the journal alone
(`Outcome.committed` is None: a 202).

No command is ever cancelled, and none is sent twice on a guess: the watermarks say whether it was executed.
"""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable
from time import perf_counter

from visitstats.core.batch import Batch, Record
from visitstats.core.errors import JournalDamaged, StoreRefuses, StoreUnavailable
from visitstats.core.link import Event, State
from visitstats.ingest.answering import Answering
from visitstats.ingest.positions import Positions
from visitstats.ingest.replay import Replay, numbering
from visitstats.ingest.waiting import Waiting, WaitingChange
from visitstats.metrics import Metrics
from visitstats.sites.directory import SiteDirectory
from visitstats.store.commit import Changed, Committed, Committer, Gap, Numbering, Result, Work
from visitstats.system.ending import end

log = logging.getLogger(__name__)

PAUSES = (0.05, 1.0)
"""Seconds between attempts to bring up a store: the first, and the longest."""
REPLAYING_SECONDS = 0.05
"""How long batches gather while the store is being brought up to the journal."""
HOLD_SECONDS = 0.002
"""The mean time for which one write may hold the store, which runs all pending commands of a client before it serves
another. The size of batches and writes follows the measured time of the last ones, so that a single one may take twice
as long. With 4 ms a script took up to 5.7 ms on a site of a million, and a hit was no cheaper."""
ABOUT = {"about": "the store"}
"""Marks a line of the log that tells the state of the store (`visitstats.system.logs`, rule 3)."""
LEAST_EVENTS = 32
"""The least events of a batch. With fewer, a measurement tells more about the round trip than about the script."""

_REFUSALS = {"replica": Event.IS_REPLICA, "full": Event.IS_FULL, "refusing": Event.REFUSES}

Taken = tuple[int, Waiting | WaitingChange, Record]
"""Sequence, the requests that wait, record."""


class Applier:
    """Applies the records of one writer. `clock` gives the moment in milliseconds. Without a replay (there is no
    journal) nothing is ever applied."""

    def __init__(
        self,
        positions: Positions,
        committer: Committer,
        replay: Replay | None,
        answering: Answering,
        metrics: Metrics,
        clock: Callable[[], int],
        sites: SiteDirectory,
        answer_timeout_ms: int,
        batch_max_hits: int,
    ) -> None:
        self.link = positions.link
        self._generation = -1
        """The number of the connection over which the store was last seen to have everything."""
        self._positions = positions
        self._committer = committer
        self._replay = replay
        self._answering = answering
        self._metrics = metrics
        self._clock = clock
        self._sites = sites
        self._timeout = answer_timeout_ms / 1000
        self._queue: deque[Taken] = deque()
        self._committing = 0
        """The first sequence that is on its way to the store, 0 for none."""
        self._idle = asyncio.Event()
        self._idle.set()
        self._refused: set[str] = set()
        """Sites whose records the store refuses, because another program wrote one of their keys."""
        self._asks = False
        """Whether to ask the store if it takes writes, because no commit has shown that for a while."""
        self._heard = True
        """Whether the store has answered a commit since that was looked at last."""
        self._told = ""
        """The `Link.word` that was logged last, since all was well; empty while it is."""
        self._most_events = batch_max_hits
        self.batch_events = batch_max_hits
        """How many events (hits, heartbeats) a batch and a write may hold, so that they hold the store for no more than
        HOLD_SECONDS."""
        self._task: asyncio.Task[None] | None = None

    # In ------------------------------------------------------------------------------------------------------------

    def take(self, journalled: list[Taken]) -> None:
        """Take records that are in the journal, in the order of their sequences."""
        behind = self._positions.behind
        for item in journalled:
            sequence, waiting, record = item
            self._positions.note_journalled(record.site, sequence, record.total)
            self._answering.expect(sequence, waiting)
            if self.link.commits and record.site not in behind:
                self._queue.append(item)
            else:
                behind.add(record.site)
                if record.site in self._refused:
                    self._answering.refused(sequence)
        last = journalled[-1][0]
        if self.link.answers_in_time:
            self._idle.clear()
            # One timer for all of them: a timer or a shield for each hit would cost a quarter of a bare request.
            asyncio.get_running_loop().call_later(self._timeout, self._late, last)
        else:
            self._answering.from_journal(last)
        self._positions.wake.set()

    async def settled(self) -> None:
        """Return when what was taken is applied, or when it is clear that this may take long."""
        if self.link.state is State.REPLAYING:
            # The replay must be faster than a flood of small batches, each of which costs the store a sync.
            await asyncio.sleep(REPLAYING_SECONDS)
        else:
            await self._idle.wait()

    # Life ----------------------------------------------------------------------------------------------------------

    def start_offline(self, error: StoreUnavailable) -> None:
        """Have `start` begin without the store: it did not answer just now, and each further call would also wait for
        the full timeout."""
        self._lose_store(error)

    async def start(self) -> None:
        """Bring the store up to the journal, or begin without it when it is away."""
        if self._replay is not None:
            await asyncio.to_thread(self._replay.read, self._positions)
        if self.link.state is State.BEHIND:
            try:
                await self._bring_up()
            except (StoreUnavailable, JournalDamaged, OSError) as error:
                self._lose_store(error)
        self._task = asyncio.create_task(self._run())
        self._positions.wake.set()

    async def stop(self, seconds: float) -> None:
        """Apply what was taken, for so long at most, and close. The rest is applied by the process that opens the
        journal next."""
        if self._task is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds / 2):
                    await self._idle.wait()
            self.link.on(Event.STOP)
            self._positions.wake.set()
            await asyncio.wait({self._task}, timeout=seconds / 2)
            await end(self._task)
        self._fall_behind()
        await self._committer.close()

    def suspend(self, reason: str) -> None:
        """Stop committing while the store must not be counted in."""
        if self.link.on(Event.UNFIT, reason):
            log.error(
                "the store is unfit: %s; hits are journalled, and counted when it is fit for that", reason,
                extra=ABOUT,
            )  # fmt: skip
            self._told = self.link.word
            self._fall_behind()

    def resume(self) -> None:
        """Go on committing."""
        if self.link.on(Event.FIT):
            self._positions.wake.set()

    def probe(self) -> None:
        """Ask the store whether it takes writes, unless it has answered a commit since the last call: without hits,
        nothing else would show that it does not."""
        if self.link.commits and not self._heard:
            self._asks = True
            self._positions.wake.set()
        self._heard = False

    def applied_up_to(self, taken: int) -> int:
        """Return the sequence up to which everything is in the store, of what was taken up to `taken`."""
        positions = self._positions
        # While the store is away, or was seen to be older, any site may lack something, and not only those with hits.
        known = positions.behind if self.link.commits and not positions.older else positions.newest
        reached = [positions.applied.get(site, 0) for site in known if positions.is_behind(site)]
        if self._committing:
            reached.append(self._committing - 1)
        elif self._queue:
            reached.append(self._queue[0][0] - 1)
        return min(reached, default=taken)

    @property
    def lagging(self) -> int:
        """For how many sites the journal holds what the store does not have."""
        return len(self.lagging_sites)

    @property
    def lagging_sites(self) -> list[str]:
        """The sites of which the journal holds what the store does not have."""
        return list(filter(self._positions.is_behind, self._positions.newest))

    @property
    def gaps(self) -> int:
        """Records that could not be applied, because the journal did not reach back far enough."""
        return self._replay.gaps if self._replay is not None else 0

    # The one task ---------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        pause, longest = PAUSES
        heal_at = 0.0
        while True:
            await self._wait(heal_at - loop.time() if self._must_bring_up else None)
            if self.link.state is State.CLOSING:
                return
            healing = self._must_bring_up and loop.time() >= heal_at
            try:
                if healing:
                    await self._bring_up()
                await self._commit_queue()
                if self._asks and self.link.commits:
                    self._asks = False
                    await self._committer.probe()
                while self._answering.announces:
                    await self._answering.announce()
            except (StoreUnavailable, JournalDamaged, OSError) as error:
                self._lose_store(error)
            except Exception as error:
                # This task must survive its own bugs: without it, every later hit would wait in vain.
                log.exception("a batch could not be applied")
                self._metrics.internal_errors.inc()
                self._lose_store(error)
            if not self._queue:
                self._idle.set()
            if not self._must_bring_up:
                pause, heal_at = PAUSES[0], 0.0
            elif healing:
                heal_at = loop.time() + pause
                pause = min(2 * pause, longest)

    @property
    def _must_bring_up(self) -> bool:
        if not self.link.trusted:
            return False
        return not self.link.commits or bool(self._positions.behind) or self._positions.older

    async def _wait(self, seconds: float | None) -> None:
        wake = self._positions.wake
        if seconds is None:
            await wake.wait()
        elif seconds > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await wake.wait()
        wake.clear()

    async def _bring_up(self) -> None:
        """Have the store brought up to the journals of this machine, and commit from then on."""
        generation = await self._committer.ready()
        only_refused = self.link.commits and not self._positions.older
        if not only_refused:
            self.link.on(Event.LACKS)
            self.link.on(Event.REPLAY)
        behind, refused = self._positions.behind, set[str]()
        while self._replay is not None:
            refused = await self._replay.bring_up(self._positions, self.note_replayed)
            # There is no await after this point: the next journalled record goes to the queue again.
            behind.clear()
            behind.update(site for site in self._positions.newest if self._positions.is_behind(site))
            if behind <= refused or not self.link.trusted:
                break
        self._refused = refused
        if not only_refused:
            # If nothing was lacking, nothing was written: then a replica could pass for a writable store.
            await self._committer.probe()
        self._generation = generation
        self.link.on(Event.CAUGHT_UP)
        self._tell_well()

    async def _commit_queue(self) -> None:
        while self._queue and self.link.commits:
            if await self._committer.ready() != self._generation or (self._replay is not None and self._replay.at_work):
                # The store behind a new connection may have lost something; and records that another process replays
                # are older than ours and come first.
                self.link.on(Event.LACKS)
                self._fall_behind()
                return
            items = self._next_write()
            work = [
                Work(self._positions.writer, sequence, record.previous, record, self._numbering(record))
                for sequence, _, record in items
            ]
            started, self._committing = perf_counter(), items[0][0]
            try:
                results = await self._committer.commit(work)
            except BaseException:
                self._positions.behind.update(record.site for _, _, record in items)
                raise
            finally:
                self._committing = 0
            self._measure(perf_counter() - started, sum(_events(waiting) for _, waiting, _ in items))
            self._store_answers()
            for item, result in zip(work, results, strict=True):
                self._take_note(item, result)

    def _next_write(self) -> list[Taken]:
        """Take from the queue what goes out in one write: one round trip for as many records as the store may be held
        for."""
        items = [self._queue.popleft()]
        events = _events(items[0][1])
        while self._queue and (events := events + _events(self._queue[0][1])) <= self.batch_events:
            items.append(self._queue.popleft())
        return items

    def _numbering(self, record: Record) -> Numbering:
        return numbering(self._sites.get(record.site), self._clock())

    def _take_note(self, item: Work, result: Result) -> None:
        site = item.record.site
        if isinstance(result, Committed | Changed):
            if (
                not result.fresh
                and item.sequence > self._positions.applied.get(site, 0)
                and isinstance(result, Committed)
            ):
                # Another process of this machine believed that this one hangs, and applied its journal; or the machine
                # was cloned while it was running.
                log.warning("site %s: another process has applied record %d of ours", site, item.sequence)
            self._note_applied(item, result)
            return
        self._positions.behind.add(site)
        if isinstance(result, Gap):
            self._positions.note_mark(site, result.watermark, 0, self._positions.applied.get(site, 0))
            self.link.on(Event.LACKS)
            self._fall_behind()
        else:
            self._refused.add(site)
            self._answering.refused(item.sequence)
            log.error("the store refuses record %d of site %s: %s", item.sequence, site, result.error)

    def _measure(self, seconds: float, events: int) -> None:
        self._metrics.commit_took(seconds)
        if events >= LEAST_EVENTS:
            # Move halfway at each measurement, so that one which was slow for another reason is soon forgotten.
            fitting = events * HOLD_SECONDS / seconds
            self.batch_events = round(max(LEAST_EVENTS, min(self._most_events, (self.batch_events + fitting) / 2)))

    def note_replayed(self, item: Work, result: Result) -> None:
        """Take note of a record that a replay has committed. Raises StoreUnavailable when it must not go on."""
        if isinstance(item.record, Batch) and isinstance(result, Committed) and result.fresh:
            self._metrics.replayed.inc(item.record.size)
            if item.writer != self._positions.writer:
                self._metrics.visits_began(item.record.site, result.started)
        if item.writer == self._positions.writer:
            self._note_applied(item, result)
        elif isinstance(result, Changed):
            self._answering.changed(item, result)
            self._positions.wake.set()
        if not self.link.trusted:
            raise StoreUnavailable(self.link.reason)

    def _note_applied(self, item: Work, result: Result) -> None:
        """Take note of what the ledger said of a record of ours."""
        self._positions.note_applied(item.record.site, item.sequence)
        self._answering.applied(item, result)
        if isinstance(result, Changed):
            self._positions.wake.set()

    # When the store does not answer ----------------------------------------------------------------------------------

    def _late(self, sequence: int) -> None:
        """Answer everything up to a sequence: its time is up."""
        if self._answering.waits(sequence):
            self.link.on(Event.NO_ANSWER)
            self._answering.from_journal(sequence)
            self._idle.set()

    def _lose_store(self, error: Exception) -> None:
        event = Event.LOST
        if isinstance(error, StoreRefuses):
            event = _REFUSALS[error.kind]
            self._metrics.refusals.labels(error.code).inc()
        self.link.on(event, str(error))
        word = self.link.word
        # Each failed attempt to bring the store up ends here again: that is the same event.
        if word not in (self._told, "closing"):
            log.warning(
                "the store is %s: %s; hits are journalled, and counted when it takes them",
                "a replica" if word == "replica" else word, error, extra={"cause": f"the store is {word}", **ABOUT},
            )  # fmt: skip
            self._metrics.store_failures.inc()
            self._told = word
        self._fall_behind()

    def _fall_behind(self) -> None:
        """Leave what is not committed to the replay."""
        self._positions.behind.update(record.site for _, _, record in self._queue)
        self._queue.clear()
        self._answering.from_journal(None)
        self._idle.set()
        self._positions.wake.set()

    def _store_answers(self) -> None:
        self._heard = True
        self.link.on(Event.ANSWERED)

    def _tell_well(self) -> None:
        if self._told:
            log.warning(
                "the store is ok: it has everything that is journalled here, and takes hits",
                extra=ABOUT,
            )
        self._told = ""


def _events(waiting: Waiting | WaitingChange) -> int:
    return len(waiting) if isinstance(waiting, Waiting) else 1
