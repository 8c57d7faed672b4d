"""What a worker has in the place of a journal that cannot be opened, so that it can answer reads meanwhile."""

import secrets

from visitstats.core.errors import JournalFull
from visitstats.journal import Journal
from visitstats.segments import WRITER_BYTES


class ClosedJournal(Journal):
    """In the place of a journal that cannot be opened: it has nothing, takes nothing, and says why."""

    def __init__(self, reason: str) -> None:
        self.number = -1
        self.writer = secrets.token_hex(WRITER_BYTES)
        self.reason = reason
        self.applied = 0
        self._file = self._lock = -1
        self._segments = []
        self._burned = self._refused = 0
        self._max_bytes, self._keep_seconds = 0, 0.0

    def append(self, payloads: list[bytes]) -> None:
        """Raise JournalFull."""
        raise JournalFull(self.reason)
