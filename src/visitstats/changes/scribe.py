"""How a command writes changes beside a running service: into a slot of the journal of its own."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, Self

import msgspec

from visitstats.core.batch import ChangeRecord, encode
from visitstats.core.errors import StoreUnavailable
from visitstats.core.periods import Calendar
from visitstats.journal.log import OpenJournal
from visitstats.journal.reader import Slot
from visitstats.store.commit import Changed, Committer, Gap, Numbering, Refused, Work
from visitstats.store.reads import Reads

MAX_BYTES = 64 * 1024 * 1024
KEEP_SECONDS = 24 * 3600.0


class Recorder(Protocol):
    """What takes a change: it is journalled, and then applied."""

    async def change(self, change: ChangeRecord) -> Changed | None:
        """Return what the ledger said; None when the store did not answer in time, and the change is applied later.
        Raises JournalFull."""
        ...


class Scribe:
    """A writer of changes. Not for hits: each record is committed before the next. What could not be committed is in
    the slot, and is applied by a worker within seconds."""

    def __init__(self, journal: OpenJournal, url: str, reads: Reads) -> None:
        self._journal = journal
        self._committer = Committer(url)
        self._reads = reads
        self._newest = Slot(journal.directory)
        self._newest.scan()

    @classmethod
    def open(cls, root: Path, url: str, reads: Reads, clock: Callable[[], int]) -> Self:
        """Take a slot of the journal under `root`. Raises JournalFull. Blocks."""
        journal = OpenJournal.open(root, max_bytes=MAX_BYTES, keep_seconds=KEEP_SECONDS, above=clock())
        return cls(journal, url, reads)

    async def close(self) -> None:
        """Release the slot."""
        await self._committer.close()
        self._journal.close()

    async def change(self, change: ChangeRecord) -> Changed | None:
        """Journal a change and apply it."""
        site = change.site
        newest = self._newest.newest.get(site)
        mark = (await self._reads.marks([site]))[site].get(self._journal.writer)
        if newest is not None and (mark is None or mark.sequence < newest.sequence):
            raise StoreUnavailable("an earlier change of this slot is not applied yet; a running service does that")
        previous = newest.sequence if newest else 0
        record = msgspec.structs.replace(change, previous=previous, total=newest.total if newest else 0)
        sequence = self._journal.last_sequence + 1
        await asyncio.to_thread(self._journal.append, [encode(record)])
        await asyncio.to_thread(self._newest.scan)
        work = Work(
            self._journal.writer, sequence, previous, record, Numbering(Calendar("UTC").day_at(change.at_ms), 0)
        )
        try:
            [result] = await self._committer.commit([work])
        except StoreUnavailable:
            return None
        if isinstance(result, Changed):
            return result
        if isinstance(result, Gap | Refused):
            raise StoreUnavailable(f"the store does not take the change: {result}")
        raise TypeError(result)
