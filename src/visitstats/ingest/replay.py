"""Replay: bring the store up to the journals of this machine, after a start, a failure, or a store that came back
older.

The ledgers' watermarks say what the store has, the journals what it must have. Every record above a watermark is
decided again, in the order of the hits' moments: the records of all slots, of living processes, too, are merged by time
and committed by one process at a time, while the others only journal (`ingest.turn`). So the numbers are those that the
same hits would have made without the loss: what decides about a hit is kept in the store as long as the journal
(`store.keys.DECIDING_MS`). Nothing here is a guess: a record is committed in its writer's order, and the script answers
`seen` for what the ledger has.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator
from heapq import merge
from itertools import islice
from operator import itemgetter
from pathlib import Path

from visitstats.core.batch import Record
from visitstats.core.periods import Calendar
from visitstats.ingest.positions import Positions
from visitstats.ingest.turn import Turn
from visitstats.journal.log import Limits, OpenJournal
from visitstats.journal.reader import Slot, is_held, slot_folders, writer_of
from visitstats.journal.segments import NAME
from visitstats.sites.directory import LiveSite
from visitstats.store.commit import Changed, Committer, Gap, Numbering, Refused, Result, Work
from visitstats.store.reads import Marks, Reads

log = logging.getLogger(__name__)

PIECE = 32
"""How many records are read from the disk and committed at once."""
PATIENCE_SECONDS = 5.0
"""A replaying process without progress for so long is considered hung: the others then apply their own slots."""
LOOK_SECONDS = 0.02
PRUNE_MS = 3600 * 1000

Applied = Callable[[Work, Result], None]


class _Older(Exception):
    """The store came back older while it was brought up: begin again."""


class Replay:
    """Replays the slots under `root` to a store. `numbering` says which counts to answer with a site's batches."""

    def __init__(
        self,
        root: Path,
        committer: Committer,
        reads: Reads,
        numbering: Callable[[str], Numbering],
        limits: Limits,
    ) -> None:
        self._root = root
        self._committer = committer
        self._reads = reads
        self._numbering = numbering
        self._limits = limits
        self._turn = Turn(root)
        self._slots: dict[Path, Slot] = {}
        self._looked: dict[Path, tuple[str, int]] = {}
        self._settled: dict[Path, tuple[str, int]] = {}
        self._vanished: dict[tuple[str, str], int] = {}
        """(writer, site) → the sequence up to which the journal has lost records."""
        self._pruned: dict[Path, int] = {}
        self._refusals: dict[str, tuple[str, int, str]] = {}
        self.gaps = 0
        """Records whose predecessors were neither in the store nor in a journal any more."""

    @property
    def at_work(self) -> bool:
        """Whether a process of this machine replays; meanwhile no other commits anything newer."""
        return self._turn.taken()

    async def close(self) -> None:
        """Release what it holds."""
        await self._committer.close()
        self._turn.close()

    def read(self, mine: Positions) -> None:
        """Read what a writer has in its journal. Blocks."""
        for slot in self._scan(mine.writer, None):
            mine.note_newest(slot.newest)

    async def bring_up(self, mine: Positions, applied: Applied) -> set[str]:
        """Return when the store has everything that the slots of this machine hold, by this process or by another that
        has the turn; `applied` is called after each record that this one has committed. Returns the sites whose records
        the store refuses. Raises StoreUnavailable."""
        loop = asyncio.get_running_loop()
        steps, since = -1, loop.time()
        while not self._turn.take():
            if self._turn.steps != steps:
                steps, since = self._turn.steps, loop.time()
            hangs = steps == self._turn.hung != 0 or loop.time() - since > PATIENCE_SECONDS
            if hangs and not self._turn.mine:
                log.warning("the process that replays the journals hangs; going on with our own")
                self._turn.hung = steps
                return await self._merge(applied, mine, only=mine.writer)
            await asyncio.sleep(LOOK_SECONDS)
        try:
            return await self._merge(applied, mine)
        finally:
            self._turn.give_up()

    async def check(self, mine: Positions, apart: Iterable[Path] = ()) -> None:
        """Check whether the store still has what was read of this machine's slots, apart from some of them; `mine` is
        woken when it does not. Raises StoreUnavailable."""
        slots = [slot for path, slot in self._slots.items() if slot.newest and path not in apart]
        marks = await self._marks(mine, {site for slot in slots for site in slot.newest})
        if any(slot.writer != mine.writer and self._lacking(slot, marks, set()) for slot in slots):
            mine.recheck()

    async def adopt(self, mine: Positions, applied: Applied, now_ms: int) -> list[int]:
        """Apply what slots hold whose processes are gone, or hang. Return the numbers of those without a process of
        which the store has everything. Raises StoreUnavailable and OSError."""
        if not self._turn.take():
            return []
        try:
            stale = await asyncio.to_thread(self._stale, mine.writer)
            if stale:
                await self.check(mine, stale)
            if mine.older:
                # The store has lost something, and more than these slots has to be decided again: all slots together,
                # in the order of the moments.
                return []
            if stale and not await self._merge(applied, mine, within=set(stale)):
                self._settled |= stale
            free = [path for path in self._slots if path in self._settled and not is_held(path)]
            await asyncio.to_thread(self._prune, free, now_ms)
            return [self._slots[path].number for path in free]
        finally:
            self._turn.give_up()

    # Slots -----------------------------------------------------------------------------------------------------------

    def _stale(self, writer: str) -> dict[Path, tuple[str, int]]:
        """Return other slots with records that no process may be applying: slots that have grown since they were
        settled, but not since the last look."""
        found, looked = {}, {}
        for path in slot_folders(self._root):
            newest = max(path.glob(f"{NAME}.log"), default=None)
            size = newest.stat().st_size if newest is not None and newest.exists() else 0
            looked[path] = (newest.name if newest is not None else "", size)
            quiet = self._looked.get(path) == looked[path] or not is_held(path)
            if quiet and self._settled.get(path) != looked[path] and self._slot(path).writer != writer:
                found[path] = looked[path]
        self._looked = looked
        return found

    def _slot(self, path: Path) -> Slot:
        slot = self._slots.get(path)
        if slot is None or slot.writer != writer_of(path):
            slot = self._slots[path] = Slot(path)
        return slot

    def _scan(self, only: str, within: set[Path] | None) -> list[Slot]:
        found = []
        for path in slot_folders(self._root):
            slot = self._slot(path)
            if slot.writer and (not only or slot.writer == only) and (within is None or path in within):
                slot.scan()
                found.append(slot)
        return found

    def _prune(self, free: list[Path], now_ms: int) -> None:
        for path in free:
            if 0 <= now_ms - self._pruned.get(path, -PRUNE_MS) < PRUNE_MS:
                continue
            journal = OpenJournal.take_over(
                path, max_bytes=self._limits.max_bytes, keep_seconds=self._limits.keep_seconds
            )
            if journal is not None:
                try:
                    journal.applied = journal.last_sequence
                    journal.prune(now_ms / 1000)
                finally:
                    journal.close()
                # It may have begun an empty segment.
                self._settled.pop(path, None)
            self._pruned[path] = now_ms

    # Merging ---------------------------------------------------------------------------------------------------------

    async def _merge(
        self, applied: Applied, mine: Positions, *, only: str = "", within: set[Path] | None = None
    ) -> set[str]:
        refused: set[str] = set()
        told: set[tuple[str, int]] = set()
        while True:
            slots = await asyncio.to_thread(self._scan, only, within)
            for slot in slots:
                if slot.writer == mine.writer:
                    mine.note_newest(slot.newest)
            sites = {site for slot in slots for site in slot.newest}
            marks = await self._marks(mine, sites)
            refused |= sites - marks.keys()
            lacking = [(slot, each) for slot in slots if (each := self._lacking(slot, marks, refused))]
            if not lacking:
                self._note_changes(slots, marks, applied, told)
                mine.older = False
                return refused
            log.debug("replaying %d slots", len(lacking))
            try:
                await self._pass(lacking, refused, applied, mine, told)
            except _Older:
                continue

    def _note_changes(self, slots: list[Slot], marks: Marks, applied: Applied, told: set[tuple[str, int]]) -> None:
        """Take note of changes that the store has by now: their process may have been killed before it announced
        them."""
        for slot in slots:
            for site, (sequence, record) in slot.changed.items():
                mark = marks.get(site, {}).get(slot.writer)
                if mark is not None and mark.sequence >= sequence and (slot.writer, sequence) not in told:
                    work = Work(slot.writer, sequence, record.previous, record, self._numbering(site))
                    applied(work, Changed(""))
            slot.changed.clear()

    async def _marks(self, mine: Positions, sites: set[str]) -> Marks:
        """Read the watermarks of sites, and of ours; tell our own to `mine`. Raises StoreUnavailable."""
        before = dict(mine.applied)
        marks = await self._reads.marks(sorted(sites | mine.newest.keys()))
        for site, found in marks.items():
            sequence, total = found.get(mine.writer, (0, 0))
            mine.note_mark(site, sequence, total, before.get(site, 0))
        return marks

    def _lacking(self, slot: Slot, marks: Marks, refused: set[str]) -> dict[str, int]:
        """Of the given sites, return those of which the store has less than a slot, with the watermark. (A replay may
        find the first record of a site while the marks are read.)"""
        found = {}
        for site, newest in slot.newest.items():
            if site not in marks:
                continue
            mark = marks[site].get(slot.writer)
            reached = mark.sequence if mark else 0
            if site not in refused and max(reached, self._vanished.get((slot.writer, site), 0)) < newest.sequence:
                found[site] = reached
        return found

    async def _pass(
        self,
        lacking: list[tuple[Slot, dict[str, int]]],
        refused: set[str],
        applied: Applied,
        mine: Positions,
        told: set[tuple[str, int]],
    ) -> None:
        """Commit what is lacking, in the order of the moments. Raises _Older."""
        reached = {(slot.writer, site): mark for slot, marks in lacking for site, mark in marks.items()}
        wanted = {(slot.writer, site): slot.newest[site].sequence for slot, marks in lacking for site in marks}
        records = merge(*(_in_order(slot, marks) for slot, marks in lacking), key=itemgetter(0))
        while piece := await asyncio.to_thread(lambda: list(islice(records, PIECE))):
            work = [
                Work(writer, sequence, record.previous, record, self._numbering(record.site))
                for _, writer, sequence, record in piece
                if record.site not in refused
            ]
            if not work:
                continue  # all of it is of sites that the store refuses
            if not all(item.record.site in self._refusals for item in work):
                # Sites that the store has refused before are tried once; the others do not wait for them.
                self._turn.step()
            results = await self._committer.commit(work)
            for item, first in zip(work, results, strict=True):
                site = item.record.site
                if site in refused:
                    continue
                result = await self._again(item, reached) if isinstance(first, Gap) else first
                if isinstance(result, Refused):
                    self._tell(item, result.error)
                    refused.add(site)
                    continue
                reached[item.writer, site] = item.sequence
                self._refusals.pop(site, None)
                applied(item, result)
                if isinstance(result, Changed):
                    told.add((item.writer, item.sequence))
        for (writer, site), sequence in wanted.items():
            if reached[writer, site] < sequence and site not in refused:
                self.gaps += 1
                log.error(
                    "site %s: records up to %d of writer %s have vanished from the journal", site, sequence, writer
                )
                self._vanished[writer, site] = sequence
                if writer == mine.writer:
                    mine.vanished[site] = sequence

    def _tell(self, item: Work, error: str) -> None:
        """Log a refusal, once until it is another one."""
        site = item.record.site
        if self._refusals.get(site) != (item.writer, item.sequence, error):
            log.error("the store refuses record %d of site %s: %s", item.sequence, site, error)
            self._refusals[site] = (item.writer, item.sequence, error)

    async def _again(self, item: Work, reached: dict[tuple[str, str], int]) -> Result:
        """Commit a record once more after the script has answered that an earlier one is missing. Raises _Older when
        the earlier one is in the journal: then the store has lost it since."""
        before = reached[item.writer, item.record.site]
        if item.previous > before:
            # The search began at the watermark itself and found nothing in between.
            self.gaps += 1
            log.error(
                "site %s: records between %d and %d of writer %s are neither in the store nor in the journal",
                item.record.site,
                before,
                item.sequence,
                item.writer,
            )
            item = item._replace(previous=before)
        [result] = await self._committer.commit([item])
        if isinstance(result, Gap):
            raise _Older
        return result


def numbering(live: LiveSite | None, now_ms: int) -> Numbering:
    """Say which counts to answer with a record of a site: those of its present day, of what its box shows."""
    calendar = live.calendar if live else Calendar("UTC")
    return Numbering(calendar.day_at(now_ms), now_ms, live is not None and live.site.box == "views")


def _in_order(slot: Slot, marks: dict[str, int]) -> Iterator[tuple[int, str, int, Record]]:
    """Yield a slot's records above watermarks, each with a moment that never falls: a clock that was set back does not
    bring the records of a writer out of their order."""
    moment = 0
    for sequence, record in slot.above(marks):
        moment = max(moment, record.at_ms)
        yield moment, slot.writer, sequence, record
