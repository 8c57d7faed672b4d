"""What a worker's journal holds that the store may lack: how much, and since when. For the metrics alone."""

from collections import deque

from visitstats.journal.segments import RECORD

MOST = 1024
"""Writes that are told apart. When there are more, two that follow one another become one: a store that is away for a
day must not fill the memory."""


class _Write:
    __slots__ = ("at_ms", "last", "records", "size")

    def __init__(self, last: int, records: int, size: int, at_ms: int) -> None:
        self.last = last
        self.records = records
        self.size = size
        self.at_ms = at_ms


class Backlog:
    """The writes of one journal that are not applied. `last` and `size` are what it held at its opening, at `now_ms`:
    how much of that the store has is known when all of it is applied, so until then all of it counts, as one record."""

    def __init__(self, last: int, size: int, now_ms: int) -> None:
        self.records = 0
        self.bytes = 0
        self._writes: deque[_Write] = deque()
        if size:
            self._add(_Write(last, 1, size, now_ms))

    def add(self, last: int, payloads: list[bytes], now_ms: int) -> None:
        """Note a write of records, of which `last` is the last one's sequence."""
        self._add(_Write(last, len(payloads), sum(map(len, payloads)) + RECORD.size * len(payloads), now_ms))

    def applied(self, up_to: int) -> None:
        """Note that the store has everything up to a sequence."""
        writes = self._writes
        while writes and writes[0].last <= up_to:
            write = writes.popleft()
            self.records -= write.records
            self.bytes -= write.size

    @property
    def oldest_ms(self) -> int:
        """When the oldest of them was written, in milliseconds since the epoch; 0 when there is none."""
        return self._writes[0].at_ms if self._writes else 0

    def _add(self, write: _Write) -> None:
        self.records += write.records
        self.bytes += write.size
        self._writes.append(write)
        if len(self._writes) > MOST:
            self._fold()

    def _fold(self) -> None:
        folded: deque[_Write] = deque()
        writes = iter(self._writes)
        for first in writes:
            second = next(writes, None)
            if second is not None:
                first.last = second.last
                first.records += second.records
                first.size += second.size
            folded.append(first)
        self._writes = folded
