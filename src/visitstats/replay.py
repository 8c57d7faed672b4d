"""Replay: bring the store up to the journal, after a start, a failure, or a store that came back older.

The ledgers' watermarks say what the store has; the journal says what it must have. Nothing here guesses: a batch is committed
again in its order, and the scripts answer `seen` for what they have.
"""

import logging
from collections.abc import Awaitable, Callable, Iterator
from itertools import islice

import msgspec

from visitstats.core.batch import Batch, decode
from visitstats.journal import Journal
from visitstats.store.commit import Committed, Committer, Gap, Numbering, Refused
from visitstats.store.reads import Reads

log = logging.getLogger(__name__)

RunOnDisk = Callable[[Callable[[], list[tuple[int, bytes]]]], Awaitable[list[tuple[int, bytes]]]]
"""Runs a blocking read of the journal where it does not hold up the event loop."""

PIECE = 64
"""Records that are read from the disk at once."""


class Backlog:
    """What a writer's journal holds beyond the store: per site, the sequence up to which its batches are applied."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self.newest: dict[str, int] = {}
        """The newest sequence in the journal, per site."""
        self.lagging: dict[str, int] = {}
        """Sites of which the store has less than that: the sequence up to which it has it."""
        self.gaps = 0
        """Batches whose predecessors were neither in the store nor in the journal any more."""
        for sequence, payload in journal.read(0):
            try:
                self.newest[decode(payload).site] = sequence
            except msgspec.DecodeError:
                log.error("journal record %d is not a batch; it is left alone", sequence)

    def note(self, site: str, sequence: int) -> None:
        """Note a batch that was journalled just now."""
        self.newest[site] = sequence

    def fall_behind(self, site: str, applied: int) -> None:
        """Note that the store has a site's batches up to `applied` only, as far as is known."""
        self.lagging[site] = min(applied, self.lagging.get(site, applied))

    def settle(self) -> None:
        """Forget the lag of sites that have caught up; say to the journal what may be deleted."""
        for site, applied in list(self.lagging.items()):
            if applied >= self.newest.get(site, 0):
                del self.lagging[site]
        self._journal.applied = min(self.lagging.values(), default=self._journal.last_sequence)

    async def compare(self, reads: Reads) -> None:
        """Read the watermarks and note every site of which the store has less than the journal. Raises StoreUnavailable."""
        for site, mark in (await reads.watermarks(list(self.newest), self._journal.writer)).items():
            if mark < self.newest[site]:
                self.lagging[site] = mark
        self.settle()

    async def replay(
        self,
        committer: Committer,
        number: Callable[[Batch], Numbering],
        applied: Callable[[Batch, Committed], None],
        run_on_disk: RunOnDisk,
    ) -> None:
        """Commit what is lagging, in order, until the end of the journal. Raises StoreUnavailable when the store goes away.

        `number` says which counts to answer with a batch, `applied` is called after each. A site whose batch the store
        refuses is left where it is; the others go on.
        """
        refused: set[str] = set()
        while behind := self.lagging.keys() - refused:
            end = self._journal.last_sequence
            records = self._journal.read(min(self.lagging[site] for site in behind))
            if not await self._pass(committer, number, applied, run_on_disk, records, refused):
                continue
            for site in behind - refused:
                if self.newest[site] <= end and self.lagging[site] < self.newest[site]:
                    log.error("site %s: batches up to %d have vanished from the journal", site, self.newest[site])
                    self.lagging[site] = self.newest[site]
            self.settle()

    async def _pass(
        self,
        committer: Committer,
        number: Callable[[Batch], Numbering],
        applied: Callable[[Batch, Committed], None],
        run_on_disk: RunOnDisk,
        records: Iterator[tuple[int, bytes]],
        refused: set[str],
    ) -> bool:
        """Go through the records once; False when the store turned out to be older, so that it must be begun again."""
        while piece := await run_on_disk(lambda: list(islice(records, PIECE))):
            for sequence, payload in piece:
                batch = decode(payload)
                if batch.site in refused or sequence <= self.lagging.get(batch.site, sequence):
                    continue
                result = await self._commit(committer, sequence, batch, number(batch))
                if isinstance(result, Gap):
                    self.lagging[batch.site] = result.watermark
                    return False
                if isinstance(result, Committed):
                    self.lagging[batch.site] = sequence
                    applied(batch, result)
                else:
                    log.error("the store refuses batch %d of site %s: %s", sequence, batch.site, result.error)
                    refused.add(batch.site)
        return True

    async def _commit(
        self, committer: Committer, sequence: int, batch: Batch, numbering: Numbering
    ) -> Committed | Gap | Refused:
        [result] = await committer.commit([(sequence, batch.previous, batch, numbering)])
        if isinstance(result, Gap) and result.watermark >= self.lagging[batch.site]:
            # We came from the watermark itself and found nothing between: what is missing is in no journal any more.
            self.gaps += 1
            log.error(
                "site %s: batches between %d and %d of writer %s are neither in the store nor in the journal",
                batch.site,
                result.watermark,
                sequence,
                self._journal.writer,
            )
            [result] = await committer.commit([(sequence, result.watermark, batch, numbering)])
        return result
