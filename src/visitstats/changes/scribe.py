"""Lets a command write changes beside a running service: into its own slot of the journal."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol, Self

import msgspec

from visitstats.core.batch import ChangeRecord, Record, encode
from visitstats.core.errors import JournalFull, StoreUnavailable
from visitstats.core.periods import Calendar
from visitstats.journal.log import OpenJournal
from visitstats.journal.reader import Newest, Slot
from visitstats.store.changes import Changes
from visitstats.store.commit import Changed, Committer, Gap, Numbering, Refused, Result, Work

log = logging.getLogger(__name__)

MAX_BYTES = 512 * 1024 * 1024
"""The budget of the slot. An import of half a million articles takes 140 MB there; it is kept for the retention,
because after a loss of the store it is made anew from them."""
SILENT = frozenset({"stage", "part"})
"""Kinds of records of which workers are not told: no alias is changed by a part of an import, of which there may be
thousands."""
KEEP_SECONDS = 24 * 3600.0


class Recorder(Protocol):
    """Takes changes: each is journalled and then applied."""

    async def change(self, change: ChangeRecord) -> Changed | None:
        """Return what the ledger said, when all workers have been told that something has changed; None when the store
        did not answer in time, and the change is applied later. `previous`, `total` and `at_ms` are filled in here.
        Raises JournalFull and Overloaded."""
        ...


class Scribe:
    """A writer of changes. It is too slow for hits, because each record is committed before the next. A change that
    could not be committed stays in the slot; a worker applies it within seconds, or when the service starts. `clock`
    returns the moment in milliseconds; `replaying` says whether a worker is replaying the journals: then older records
    come first."""

    def __init__(
        self,
        journal: OpenJournal,
        url: str,
        changes: Changes,
        clock: Callable[[], int],
        replaying: Callable[[], bool] = lambda: False,
    ) -> None:
        self._journal = journal
        self._committer = Committer(url)
        self._changes = changes
        self._clock = clock
        self._replaying = replaying
        self._newest: dict[str, Newest] = {}
        """The newest record of each site in the slot."""

    @classmethod
    def open(
        cls, root: Path, url: str, changes: Changes, clock: Callable[[], int], replaying: Callable[[], bool]
    ) -> Self:
        """Take a slot of the journal under `root`. Raises JournalFull. Blocks."""
        journal = OpenJournal.open(root, max_bytes=MAX_BYTES, keep_seconds=KEEP_SECONDS, above=clock())
        found = cls(journal, url, changes, clock, replaying)
        slot = Slot(journal.directory)
        slot.scan()
        found._newest = slot.newest
        return found

    async def close(self) -> None:
        """Release the slot."""
        await self._committer.close()
        self._journal.close()

    async def catch_up(self) -> None:
        """Apply what an earlier command has left in the slot, because it was killed: what is done next begins with
        that. Without a store it is left to the workers."""
        if self._replaying():
            return
        now = self._clock()
        with suppress(StoreUnavailable):
            for site, newest in self._newest.items():
                if (watermark := await self._changes.watermark(site, self._journal.writer)) < newest.sequence:
                    await self._catch_up(site, watermark, newest.sequence + 1, now)

    async def change(self, change: ChangeRecord) -> Changed | None:
        """Journal a change and apply it (`Recorder`)."""
        site = change.site
        now = self._clock()
        previous, total = self._newest.get(site, Newest(0, 0))
        record = msgspec.structs.replace(change, previous=previous, total=total, at_ms=now)
        sequence = await self._append(encode(record))
        self._newest[site] = Newest(sequence, total)
        if self._replaying():
            return None
        try:
            made = await self._commit(sequence, record, now)
            if isinstance(made, Gap) and await self._catch_up(site, made.watermark, sequence, now):
                made = await self._commit(sequence, record, now)
            if isinstance(made, Changed):
                if change.kind not in SILENT:
                    await self._changes.tell(site)
                return made
        except StoreUnavailable as error:
            log.debug("the change waits in the journal: %s", error)
            return None
        if isinstance(made, Refused):
            log.error("the store refuses the change: %s", made.error)
        # Else an earlier record in this slot, of a worker that is gone, is not applied yet: this one is applied with
        # it.
        return None

    async def _commit(self, sequence: int, record: Record, now: int) -> Result:
        numbering = Numbering(Calendar("UTC").day_at(now), now)
        work = Work(self._journal.writer, sequence, record.previous, record, numbering)
        [made] = await self._committer.commit([work])
        return made

    async def _catch_up(self, site: str, watermark: int, sequence: int, now: int) -> bool:
        """Apply the changes of a site that are in this slot; whether all before `sequence` are in the store. Hits are
        left to the workers."""
        slot = Slot(self._journal.directory)
        await asyncio.to_thread(slot.scan)
        older = slot.above({site: watermark})
        while (found := await asyncio.to_thread(next, older, None)) is not None and found[0] < sequence:
            if not isinstance(found[1], ChangeRecord) or not isinstance(await self._commit(*found, now), Changed):
                return False
        return True

    async def _append(self, payload: bytes) -> int:
        """Journal a record; return its sequence. Raises JournalFull."""
        for is_second in (False, True):
            sequence = self._journal.last_sequence + 1
            try:
                await asyncio.to_thread(self._journal.append, [payload])
                break
            except JournalFull:
                # It may be full of records that are in the store, of a longer import than it has room for.
                if is_second or not await self._is_applied():
                    raise
                self._journal.applied = sequence - 1
        return sequence

    async def _is_applied(self) -> bool:
        """Whether all records of the slot are in the store."""
        try:
            for site, newest in self._newest.items():
                if await self._changes.watermark(site, self._journal.writer) < newest.sequence:
                    return False
        except StoreUnavailable:
            return False
        return True
