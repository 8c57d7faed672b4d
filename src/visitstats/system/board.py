"""The board: shared memory with a row for each process of a service, in which it reports its state to the others.

The supervisor makes it and hands it to its workers. It is not on a disk, so that it also works when the disk is full,
and it ends with the service. A row is written by one process and read by any.
"""

import fcntl
import mmap
import os
import struct
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Self, TypeVar

import msgspec

ROWS = 160
"""The number of rows: one for the supervisor, and twice as many as there may be workers, because old and new workers
run side by side during a reload."""
ROW_BYTES = 64 * 1024
CAUSES = 512
"""How many causes of log lines are known at a time (`visitstats.system.logs`)."""
_HEAD = struct.Struct("=II")
_CAUSE = struct.Struct("=QdI4x")
_SIZE = ROWS * ROW_BYTES + CAUSES * _CAUSE.size
MOST_SITES = 2000
"""How many lagging sites a worker names."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The state of a worker, which it writes once a second."""

    pid: int
    slot: int
    """Its slot of the journal, -1 for none."""
    record: int = 0
    """The last record in that slot."""
    ready: bool = False
    store: str = ""
    """The word for its link to the store (`core.link`)."""
    journal: bool = True
    """Whether it takes hits."""
    lagging: tuple[str, ...] = ()
    """Sites of which its journal has records that the store lacks."""
    gaps: int = 0
    journal_bytes: int = 0
    store_lost: int = 0
    connections: int = 0
    streams: int = 0
    files: int = 0
    """How many files it has open."""
    most_files: int = 0
    waiting_hits: int = 0
    """How many hits wait to be journalled; at most `most_waiting` may."""
    most_waiting: int = 0
    unapplied_records: int = 0
    """How many records are in its journal and not known to be in the store."""
    unapplied_bytes: int = 0
    unapplied_since_ms: int = 0
    """When the oldest of them was journalled; 0 for none."""
    journal_limit: int = 0
    """How many bytes its journal may hold."""
    oldest_shown_ms: int = 0
    """The moment of the oldest numbers that it has shown lately, because the store did not answer; 0 for none."""
    cpu_seconds: float = 0.0
    memory_bytes: int = 0
    disk_free: int = 0
    """How many bytes the service may still write to the disk of its data folder, and the size of that disk."""
    disk_size: int = 0


class Supervision(msgspec.Struct, frozen=True, kw_only=True):
    """The state of the supervisor."""

    workers: int
    """How many workers there should be."""
    started_ms: int
    restarts: dict[str, int]
    """How many workers were started in place of others, by reason."""
    store_restarts: int = 0


T = TypeVar("T")
_encode = msgspec.msgpack.Encoder().encode
_decode_report = msgspec.msgpack.Decoder(Report).decode
_decode_supervision = msgspec.msgpack.Decoder(Supervision).decode


class Board:
    """The shared memory. A process that is forked later has the same. Raises OSError."""

    def __init__(self) -> None:
        self._file = _new_file()
        os.ftruncate(self._file, _SIZE)
        self._memory = mmap.mmap(self._file, _SIZE)

    def fileno(self) -> int:
        """Return the descriptor of its file."""
        return self._file

    # Rows ----------------------------------------------------------------------------------------------------------

    def supervise(self, told: Supervision) -> None:
        """Write the supervisor's row."""
        self._write(0, _encode(told))

    def supervision(self) -> Supervision | None:
        """Read the supervisor's row; None while there is no supervisor."""
        return self._read(0, _decode_supervision)

    def tell(self, row: int, told: Report) -> None:
        """Write a worker's row, from 1 on."""
        self._write(row, _encode(told))

    def report(self, row: int) -> Report | None:
        """Read a worker's row; None when no worker has it."""
        return self._read(row, _decode_report)

    def reports(self) -> list[Report]:
        """Read the rows of all workers."""
        return [found for row in range(1, ROWS) if (found := self.report(row)) is not None]

    def clear(self, row: int) -> None:
        """Empty a row."""
        self._write(row, b"")

    def _write(self, row: int, data: bytes) -> None:
        if len(data) > ROW_BYTES - _HEAD.size:
            raise ValueError("the report is too long for its row")
        start = row * ROW_BYTES
        turn = _HEAD.unpack_from(self._memory, start)[0] | 1  # odd while it is being written
        _HEAD.pack_into(self._memory, start, turn, 0)
        self._memory[start + _HEAD.size : start + _HEAD.size + len(data)] = data
        _HEAD.pack_into(self._memory, start, (turn + 1) & 0xFFFFFFFF, len(data))

    def _read(self, row: int, decode: Callable[[bytes], T]) -> T | None:
        start = row * ROW_BYTES
        for _ in range(10):
            turn, length = _HEAD.unpack_from(self._memory, start)
            data = self._memory[start + _HEAD.size : start + _HEAD.size + length]
            if not turn & 1 and _HEAD.unpack_from(self._memory, start) == (turn, length):
                try:
                    return decode(data) if data else None
                except msgspec.MsgspecError:
                    return None
        return None  # its writer was killed in the middle of writing

    # Causes --------------------------------------------------------------------------------------------------------

    def claim(self, cause: int, now: float, seconds: float, more: int, least: int = 0) -> int | None:
        """Take the right to log a line of a cause, and return how many lines were left out since the last one, `more`
        included. Returns None when any process has written one in the last `seconds`: then `more` is remembered. With
        fewer than `least` lines left out, the right is not taken."""
        with self._locked():
            place = self._place(cause)
            known: int
            at: float
            left_out: int
            known, at, left_out = _CAUSE.unpack_from(self._memory, place)
            if known != cause:
                at, left_out = -seconds - 1, 0
            left_out += more
            if known == cause and 0 <= now - at < seconds:
                _CAUSE.pack_into(self._memory, place, cause, at, left_out)
                return None
            if left_out >= least:
                _CAUSE.pack_into(self._memory, place, cause, now, 0)
            return left_out

    def says(self, about: int, word: int) -> bool:
        """Whether the last line about a subject said `word` (of both numbers, 32 bits are kept)."""
        with self._locked():
            known, _, said = _CAUSE.unpack_from(self._memory, self._place(about))
            return bool(known == about and said == word & 0xFFFFFFFF)

    def say(self, about: int, word: int, now: float) -> None:
        """Remember what the last line about a subject said."""
        with self._locked():
            _CAUSE.pack_into(self._memory, self._place(about), about, now, word & 0xFFFFFFFF)

    def _place(self, cause: int) -> int:
        """Return the place of a cause; a new cause replaces the one of four that was logged longest ago."""
        best, oldest = 0, float("inf")
        for step in range(4):
            place = ROWS * ROW_BYTES + (cause + step) % CAUSES * _CAUSE.size
            known, at, _ = _CAUSE.unpack_from(self._memory, place)
            if known == cause:
                return place
            if at < oldest:
                best, oldest = place, at
        return best

    @contextmanager
    def _locked(self) -> Iterator[None]:
        # A record lock belongs to a process; a lock of the open file would be shared by all forked processes.
        fcntl.lockf(self._file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN)


class Seat:
    """A worker's place at a board."""

    def __init__(self, board: Board, row: int) -> None:
        self.board = board
        self.row = row

    @classmethod
    def alone(cls) -> Self:
        """The place of a process without a supervisor."""
        return cls(Board(), 1)

    def tell(self, told: Report) -> None:
        """Write the worker's report."""
        self.board.tell(self.row, told)


def _new_file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("visitstats", os.MFD_CLOEXEC)
    file, name = tempfile.mkstemp(prefix="visitstats-")
    os.unlink(name)
    return file
