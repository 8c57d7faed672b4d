"""Where a writer stands: its link to the store, and per site the newest record that it has journalled, and up to which
the store has them."""

import asyncio
import logging

from visitstats.core.link import Link
from visitstats.journal.reader import Newest

log = logging.getLogger(__name__)

_NONE = Newest(0, 0)


class Positions:
    """The positions of one writer. `wake` is set when the applier has something to do."""

    def __init__(self, writer: str) -> None:
        self.writer = writer
        self.link = Link()
        self.wake = asyncio.Event()
        self.newest: dict[str, Newest] = {}
        self.applied: dict[str, int] = {}
        self.vanished: dict[str, int] = {}
        """The sequence up to which a site's records are neither in the store nor in the journal any more."""
        self.behind: set[str] = set()
        """Sites whose batches are in the journal alone, until a replay has applied them."""
        self.older = False
        """Whether the store was seen to have less than was applied."""
        self.rewinds = 0
        """How often that was seen anew."""

    @property
    def has_all(self) -> bool:
        """Whether the store has everything that is journalled here, as far as is known."""
        return self.link.commits and not self.older and not self.behind

    def recheck(self) -> None:
        """Have the store compared with the journals before anything more is committed."""
        if not self.older:
            self.rewinds += 1
        self.older = True
        self.wake.set()

    def newest_of(self, site: str) -> Newest:
        """Return the newest record of a site, zeros for none."""
        return self.newest.get(site, _NONE)

    def note_newest(self, found: dict[str, Newest]) -> None:
        """Note the newest record of each site that was read in the journal."""
        for site, newest in found.items():
            if newest.sequence > self.newest_of(site).sequence:
                self.newest[site] = newest

    def note_journalled(self, site: str, sequence: int, total: int) -> None:
        """Note a record that is in the journal."""
        self.newest[site] = Newest(sequence, total)

    def note_applied(self, site: str, sequence: int) -> None:
        """Note that the store has a site's records up to one."""
        self.applied[site] = max(sequence, self.applied.get(site, 0))

    def note_mark(self, site: str, sequence: int, total: int, expected: int) -> None:
        """Take note of a watermark that was read from the store; `expected` was applied before it was asked."""
        known = self.newest_of(site)
        if sequence < expected:
            log.warning("site %s: the store came back with our record %d, not %d", site, sequence, expected)
            self.applied[site] = sequence
            self.recheck()
        elif sequence > self.applied.get(site, 0):
            self.applied[site] = sequence
        if total > known.total:
            # The journal has lost its end, or was pruned: the number of hits goes on from what the store knows.
            self.newest[site] = Newest(known.sequence, total)

    def is_behind(self, site: str) -> bool:
        """Whether the store lacks something of a site."""
        return self.newest_of(site).sequence > max(self.applied.get(site, 0), self.vanished.get(site, 0))
