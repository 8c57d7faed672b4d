"""How a command writes changes beside a running service: into its own slot of the journal."""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, Self

import msgspec

from visitstats.core.batch import ChangeRecord, encode
from visitstats.core.errors import StoreUnavailable
from visitstats.core.periods import Calendar
from visitstats.journal.log import OpenJournal
from visitstats.journal.reader import Slot
from visitstats.store.changes import Changes
from visitstats.store.commit import Changed, Committer, Numbering, Refused, Work

log = logging.getLogger(__name__)

MAX_BYTES = 64 * 1024 * 1024
KEEP_SECONDS = 24 * 3600.0


class Recorder(Protocol):
    """Takes changes: each is journalled and then applied."""

    async def change(self, change: ChangeRecord) -> Changed | None:
        """Return what the ledger said, when all workers have been told that something has changed; None when the store
        did not answer in time, and the change is applied later. `previous`, `total` and `at_ms` are filled in here.
        Raises JournalFull and Overloaded."""
        ...


class Scribe:
    """A writer of changes. It is not made for hits, because each record is committed before the next. What could not
    be committed is in the slot, and is applied by a worker within seconds, or when the service starts. `clock` gives
    the moment in milliseconds; `replaying` says whether a worker replays the journals just now: what is older comes
    first."""

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
        self._newest = Slot(journal.directory)

    @classmethod
    def open(
        cls, root: Path, url: str, changes: Changes, clock: Callable[[], int], replaying: Callable[[], bool]
    ) -> Self:
        """Take a slot of the journal under `root`. Raises JournalFull. Blocks."""
        journal = OpenJournal.open(root, max_bytes=MAX_BYTES, keep_seconds=KEEP_SECONDS, above=clock())
        found = cls(journal, url, changes, clock, replaying)
        found._newest.scan()
        return found

    async def close(self) -> None:
        """Release the slot."""
        await self._committer.close()
        self._journal.close()

    async def change(self, change: ChangeRecord) -> Changed | None:
        """Journal a change and apply it (`Recorder`)."""
        site = change.site
        newest = self._newest.newest.get(site)
        now = self._clock()
        previous, total = newest or (0, 0)
        record = msgspec.structs.replace(change, previous=previous, total=total, at_ms=now)
        sequence = self._journal.last_sequence + 1
        await asyncio.to_thread(self._journal.append, [encode(record)])
        await asyncio.to_thread(self._newest.scan)
        if self._replaying():
            return None
        numbering = Numbering(Calendar("UTC").day_at(now), now)
        try:
            [made] = await self._committer.commit([Work(self._journal.writer, sequence, previous, record, numbering)])
            if isinstance(made, Changed):
                await self._changes.tell(site)
                return made
        except StoreUnavailable as error:
            log.debug("the change waits in the journal: %s", error)
            return None
        if isinstance(made, Refused):
            log.error("the store refuses the change: %s", made.error)
        # Or an earlier record in this slot, of a worker that is gone, is not applied yet: this one is applied with it.
        return None
