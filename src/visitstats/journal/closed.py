"""Stands in for a journal that cannot be opened, so that a worker can answer reads meanwhile."""

import secrets

from visitstats.core.errors import JournalFull
from visitstats.journal.segments import WRITER_BYTES


class ClosedJournal:
    """Stand-in for a journal that could not be opened: it has no records, and refuses every write with the reason."""

    number = -1
    last_sequence = 0
    size = 0
    failures = 0

    def __init__(self, reason: str) -> None:
        self.reason = reason
        self.writer = secrets.token_hex(WRITER_BYTES)
        self.applied = 0

    def append(self, payloads: list[bytes], *, durable: bool = True) -> None:
        """Raise JournalFull."""
        raise JournalFull(self.reason)

    def probe(self) -> None:
        """Raise JournalFull."""
        raise JournalFull(self.reason)

    def prune(self, now: float | None) -> None:
        """Do nothing: there is nothing to delete."""

    def close(self) -> None:
        """Do nothing: nothing is held."""
