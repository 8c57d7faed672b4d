"""Replay: bring the store up to the journal, after a start, a failure, or a store that came back older.

The ledgers' watermarks say what the store has; the journal says what it must have. Nothing here guesses: a batch is
committed again in its order, and the scripts answer `seen` for what they have.

A watermark ends some time after a site's last batch (`keys.WATERMARK_LIFE_S`). Where there is none, what the store once
decided about and was received longer ago than that (`keys.forgotten_before`) is in the store.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import msgspec

from visitstats.core.batch import Batch, decided, decode, reduce
from visitstats.journal import Journal
from visitstats.store import keys
from visitstats.store.commit import KEPT_DECISIONS, Committed, Committer, Conflict, Gap, Numbering, Refused, Work
from visitstats.store.reads import Reads

log = logging.getLogger(__name__)

Record = tuple[int, bytes, bytes]
"""Sequence, batch, outcome."""
RunOnDisk = Callable[[Callable[[], list[Record]]], Awaitable[list[Record]]]
"""Runs a blocking read of the journal where it does not hold up the event loop."""

AGAIN_MS = 3600 * 1000
PIECE = KEPT_DECISIONS
"""Records that are read from the disk at once. What was decided of them is kept before the next are read: so a worker
that is killed in the middle leaves no more of it behind than the ledgers remember."""


class Limits(NamedTuple):
    """What a journal may take."""

    max_bytes: int
    keep_seconds: float


class Backlog:
    """What a writer's journal holds beyond the store: per site, the sequence up to which its batches are applied.
    `clock` gives the moment in milliseconds; without one no batch is ever so old that its watermark may have ended."""

    def __init__(self, journal: Journal, clock: Callable[[], int] = lambda: 0) -> None:
        self._journal = journal
        self._clock = clock
        self.newest: dict[str, int] = {}
        """The newest sequence in the journal, per site."""
        self.lagging: dict[str, int] = {}
        """Sites of which the store has less than that: the sequence up to which it has it."""
        self._decided_only = False
        self.gaps = 0
        """Batches whose predecessors were neither in the store nor in the journal any more."""
        self._received: dict[str, int] = {}
        """When the newest was received."""
        self._old: dict[str, int] = {}
        """The sequence up to which a site's batches were applied so long ago that its watermark may have ended."""
        self._forgotten: dict[str, int] = {}
        """The same, of sites without a watermark: nothing up to there is replayed."""
        self._unknown: dict[str, int] = {}
        """Sites of which the last outcomes are not in the journal (the worker was killed before it kept them): the
        sequence before the first of these batches."""
        self._compared = False
        self._read()

    def _read(self) -> None:
        before = keys.forgotten_before(self._clock())
        last: dict[str, deque[Record]] = {}
        for record in self._journal.read_decided(0):
            sequence, payload, outcome = record
            batch = _decode(sequence, payload)
            if batch is None:
                continue
            if batch.received_ms < before:
                if batch.site not in self.newest:
                    self._old[batch.site] = batch.previous  # which was applied, and then pruned
                if decided(payload, outcome):
                    self._old[batch.site] = sequence
            self.newest[batch.site] = sequence
            self._received[batch.site] = batch.received_ms
            last.setdefault(batch.site, deque(maxlen=KEPT_DECISIONS)).append(record)
        for site, records in last.items():
            undecided = (n for n, payload, outcome in records if decided(payload, outcome) is None)
            if (first := next(undecided, 0)) > 0:
                self._unknown[site] = first - 1

    def note(self, site: str, sequence: int) -> None:
        """Note a batch that was journalled just now."""
        self.newest[site] = sequence
        self._received[site] = self._clock()

    def previous(self, site: str) -> int:
        """Return the sequence that the site's next batch follows; 0 as well when its watermark may have ended since."""
        return 0 if self._grew_old(site) else self.newest.get(site, 0)

    def expected(self, site: str) -> int:
        """Return the least watermark that the store must have, as far as is known; 0 for none."""
        reached = self.lagging.get(site, self.newest.get(site, 0))
        return 0 if reached <= self._forgotten.get(site, 0) else reached

    def has_all(self, site: str, mark: int) -> bool:
        """Whether the store has everything of a site whose watermark is `mark`: none, after a long silence."""
        return self._grew_old(site) and self._reached(site, mark) >= self.newest[site]

    def _grew_old(self, site: str) -> bool:
        """Note and say whether a site's batches are applied, all of them so long ago that its watermark may have
        ended."""
        applied = self._compared and site in self.newest and site not in self.lagging
        if not applied or self._received[site] >= keys.forgotten_before(self._clock()):
            return False
        self._old[site] = self.newest[site]
        return True

    def _reached(self, site: str, mark: int) -> int:
        """Return the sequence up to which the store has a site's batches, by its watermark."""
        self._grew_old(site)
        if mark == 0 and (old := self._old.get(site)):
            self._forgotten[site] = old
            return old
        self._forgotten.pop(site, None)
        return mark

    def fall_behind(self, site: str, applied: int) -> None:
        """Note that the store has a site's batches up to `applied` only, as far as is known. If it is known to lag
        already, the replay knows better; and if the store has less than it should, the scripts say so."""
        self.lagging.setdefault(site, max(applied, self._forgotten.get(site, 0)))

    def settle(self) -> None:
        """Forget the lag of sites that have caught up; say to the journal what may be deleted."""
        for site, applied in list(self.lagging.items()):
            if applied >= self.newest.get(site, 0):
                del self.lagging[site]
        self._journal.applied = min(self.lagging.values(), default=self._journal.last_sequence)

    def keep(self, decided: list[tuple[int, bytes]]) -> list[Record]:
        """Keep outcomes beside the journal, so that a replay finds them. On the disk's thread."""
        self._journal.note_outcomes(decided)
        return []

    async def compare(self, reads: Reads) -> None:
        """Read the watermarks and note every site of which the store has less than the journal. Raises
        StoreUnavailable."""
        for site, mark in (await reads.watermarks(list(self.newest), self._journal.writer)).items():
            reached = self._reached(site, mark)
            # What the store has of the last batches it still knows how it decided: they are asked for once.
            asked = max(min(reached, self._unknown.pop(site, reached)), self._forgotten.get(site, 0))
            if asked < self.newest[site] or (site in self._forgotten and site in self.lagging):
                self.lagging[site] = asked
        self._compared = True
        self.settle()

    async def replay(
        self,
        committer: Committer,
        number: Callable[[Batch], Numbering],
        applied: Callable[[int, Batch, Committed], None],
        run_on_disk: RunOnDisk,
        *,
        decided_only: bool = False,
    ) -> None:
        """Commit what is lagging, in order, until the end of the journal. Raises StoreUnavailable when the store goes
        away.

        `number` says which counts to answer with a batch, `applied` is called after each. A site whose batch the store
        refuses is left where it is; the others go on. With `decided_only` a site is left at its first batch without an
        outcome (`visitstats.rebuild`).
        """
        refused: set[str] = set()
        self._decided_only = decided_only
        while behind := self.lagging.keys() - refused:
            end = self._journal.last_sequence
            records = self._journal.read_decided(min(self.lagging[site] for site in behind))
            if not await self._pass(committer, number, applied, run_on_disk, records, refused):
                continue
            for site in behind - refused:
                if self.lagging.get(site, end) < self.newest[site] <= end:
                    self.gaps += 1
                    log.error("site %s: batches up to %d have vanished from the journal", site, self.newest[site])
                    self.lagging[site] = self.newest[site]
            self.settle()

    async def _pass(
        self,
        committer: Committer,
        number: Callable[[Batch], Numbering],
        applied: Callable[[int, Batch, Committed], None],
        run_on_disk: RunOnDisk,
        records: Iterator[Record],
        refused: set[str],
    ) -> bool:
        """Go through the records once; False when the store turned out to be older, so that it must be begun again."""
        while piece := await run_on_disk(lambda: list(islice(records, PIECE))):
            work = []
            for sequence, payload, outcome in piece:
                batch = _decode(sequence, payload)
                if batch is None or batch.site in refused or sequence <= self.lagging.get(batch.site, sequence):
                    continue
                decision = decided(payload, outcome)
                if decision is None and self._decided_only:
                    refused.add(batch.site)
                else:
                    previous = 0 if batch.previous <= self._forgotten.get(batch.site, 0) else batch.previous
                    late = decision is None
                    work.append(Work(sequence, previous, batch, number(batch), decision, late=late))
            stopped: set[str] = set()
            failed: set[str] = set()
            again = []
            async for item, result in committer.commit_in_order(work):
                if isinstance(result, Committed) and item.batch.site not in stopped:
                    self.lagging[item.batch.site] = item.sequence
                    applied(item.sequence, item.batch, result)
                else:
                    stopped.add(item.batch.site)
                    again.append(item)
            # The audience of a batch may be refused a trip before the articles of an earlier one.
            again.sort(key=lambda item: item.sequence)
            for item in again:
                site = item.batch.site
                if site in failed:
                    continue
                result = await self._commit(committer, item)
                if isinstance(result, Conflict):
                    if self._decided_only:
                        failed.add(site)
                        continue
                    log.warning("site %s: a beacon of batch %d was counted elsewhere, too", site, item.sequence)
                    result = await self._commit(committer, item._replace(decision=None, late=True))
                if isinstance(result, Gap):
                    self.lagging[site] = self._reached(site, result.watermark)
                    self.settle()  # so that the journal keeps what is needed again
                    return False
                if isinstance(result, Committed):
                    self.lagging[site] = item.sequence
                    applied(item.sequence, item.batch, result)
                else:
                    log.error("the store refuses batch %d of site %s: %s", item.sequence, site, result.error)
                    failed.add(site)
            refused |= failed
            # A journal that is full has room again as soon as a segment is applied, not when all of them are.
            self._journal.applied = min(self.lagging.values(), default=self._journal.applied)
        return True

    async def _commit(self, committer: Committer, work: Work) -> Committed | Gap | Refused:
        site = work.batch.site
        [result] = await committer.commit([work])
        if isinstance(result, Gap) and result.watermark >= self.lagging[site]:
            # We came from the watermark itself and found nothing between: what is missing is in no journal any more.
            self.gaps += 1
            log.error(
                "site %s: batches between %d and %d of writer %s are neither in the store nor in the journal",
                site,
                result.watermark,
                work.sequence,
                self._journal.writer,
            )
            [result] = await committer.commit([work._replace(previous=0)])
        return result


class Adoption:
    """Applies the records of slots whose process is gone, each slot once until it was used again."""

    def __init__(
        self, root: Path, url: str, reads: Reads, number: Callable[[Batch], Numbering], limits: Limits
    ) -> None:
        self._root = root
        self._url = url
        self._reads = reads
        self._number = number
        self._limits = limits
        self._done: dict[int, int] = {}
        self._held: dict[int, tuple[str, dict[str, int]]] = {}
        """Of each slot that is done: its writer, and what the store must have of it."""
        self._forget_at = 0

    async def put_back(
        self, applied: Callable[[int, Batch, Committed], None], healed: Callable[[str], Awaitable[None]], now_ms: int
    ) -> None:
        """Put back what the slots that nobody holds had decided; `healed` is told the writer of each. Raises
        StoreUnavailable."""
        found = Journal.open_abandoned(
            self._root, {}, max_bytes=self._limits.max_bytes, keep_seconds=self._limits.keep_seconds
        )
        while journal := await asyncio.to_thread(next, found, None):
            try:
                await self._settle(journal, applied, now_ms, decided_only=True)
                await healed(journal.writer)
            finally:
                journal.close()

    async def run(self, applied: Callable[[int, Batch, Committed], None], now_ms: int) -> list[int]:
        """Look at the slots that nobody holds, and return those of which the store now has everything; `applied` is
        called after each batch. Raises StoreUnavailable."""
        if not 0 < self._forget_at - now_ms <= AGAIN_MS:
            # Look at all of them again, so that what is past the retention goes from a slot that is never used again.
            self._done.clear()
            self._forget_at = now_ms + AGAIN_MS
        for number in list(self._done):
            # A store that came back older has lost theirs, too, and nobody else would find out.
            writer, newest = self._held[number]
            marks = await self._reads.watermarks(list(newest), writer)
            if any(marks[site] < sequence for site, sequence in newest.items()):
                del self._done[number]
        settled = []
        found = Journal.open_abandoned(
            self._root, self._done, max_bytes=self._limits.max_bytes, keep_seconds=self._limits.keep_seconds
        )
        # A full journal takes seconds to read: elsewhere than in the thread that answers hits.
        while journal := await asyncio.to_thread(next, found, None):
            try:
                if await self._settle(journal, applied, now_ms):
                    settled.append(journal.number)
                    await asyncio.to_thread(journal.prune, now_ms / 1000)
                    await asyncio.to_thread(journal.reduce, now_ms / 1000, reduce)
            finally:
                journal.close()
        return settled

    async def _settle(
        self,
        journal: Journal,
        applied: Callable[[int, Batch, Committed], None],
        now_ms: int,
        *,
        decided_only: bool = False,
    ) -> bool:
        committer = Committer(self._url, journal.writer)
        outcomes: list[tuple[int, bytes]] = []

        async def keep_and_read(read: Callable[[], list[Record]]) -> list[Record]:
            journal.note_outcomes(outcomes)
            outcomes.clear()
            return await asyncio.to_thread(read)

        def note(sequence: int, batch: Batch, result: Committed) -> None:
            if outcome := result.outcome:
                outcomes.append((sequence, outcome))
            applied(sequence, batch, result)

        try:
            backlog = await asyncio.to_thread(Backlog, journal, lambda: now_ms)
            await backlog.compare(self._reads)
            if backlog.lagging:
                log.warning("slot %d was left with batches that are not applied; applying them", journal.number)
                await backlog.replay(committer, self._number, note, keep_and_read, decided_only=decided_only)
        finally:
            await committer.close()
            journal.note_outcomes(outcomes)
        if backlog.lagging:
            return False
        self._done[journal.number] = journal.newest_segment
        self._held[journal.number] = (journal.writer, {site: backlog.expected(site) for site in backlog.newest})
        return True


def _decode(sequence: int, payload: bytes) -> Batch | None:
    try:
        return decode(payload)
    except msgspec.DecodeError:
        log.error("journal record %d is not a batch; it is left alone", sequence)
        return None
