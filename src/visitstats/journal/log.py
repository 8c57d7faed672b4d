"""A slot of the journal, as the worker that owns it writes it.

A record in it is acknowledged; a hit that it cannot take is refused. A slot is a directory with a writer id (random,
128 bits), a lock that the kernel takes away when the process dies, and segments. Its sequence never starts again: the
next owner of the slot goes on with it.

    journal/00/lock                   flock
    journal/00/writer                 the writer id, as hex
    journal/00/place                  where the slot was made, which tells a copy from the original
    journal/00/0000000000000001.log   a segment (`journal.segments`), named by its first sequence

Nothing is written to a copy of a slot: if two processes had the same writer id, the store would take the records of one
for those of the other. The records of the copy are applied (`ingest.replay`), which is harmless, because the store
knows what it has. A slot that cannot be read is left alone: the next one is taken.
"""

import logging
import os
import secrets
from pathlib import Path
from typing import NamedTuple, Protocol, Self

from visitstats.core.errors import JournalDamaged, JournalFull
from visitstats.journal.segments import MAGIC, NAME, START, WRITER_BYTES, Segment, frame
from visitstats.journal.slot import settle_in, try_lock
from visitstats.system.files import CREATE, sync, sync_directory, write_all, write_file

log = logging.getLogger(__name__)

SEGMENT_BYTES = 16 * 1024 * 1024
"""A larger segment is closed; with a small budget, one of a quarter of the budget, so that there is always one to
drop."""
SEGMENT_SECONDS = 3600
"""A segment of this age is closed, because records past the retention are deleted by whole segments."""
MOST_SLOTS = 256


class Limits(NamedTuple):
    """How much a journal may hold, and for how long."""

    max_bytes: int
    keep_seconds: float

    @classmethod
    def of(cls, max_mb: int, keep_hours: float) -> Self:
        """Return those of the settings `journal_max_mb` and `journal_keep_hours`."""
        return cls(max_mb * 1024 * 1024, keep_hours * 3600)


class Journal(Protocol):
    """Takes batches before they are acknowledged."""

    applied: int
    """The sequence up to which everything is in the store, and may be deleted. The ingest sets it."""

    @property
    def number(self) -> int:
        """The slot's number: small, reused, good for a label."""
        ...

    @property
    def writer(self) -> str:
        """The writer id, as hex."""
        ...

    @property
    def reason(self) -> str:
        """Why it takes no records; empty when it does."""
        ...

    @property
    def last_sequence(self) -> int:
        """The highest sequence that was used, 0 for none. The next is one higher."""
        ...

    @property
    def size(self) -> int:
        """Bytes on disk."""
        ...

    @property
    def failures(self) -> int:
        """Segments that were given up, because the disk refused a write."""
        ...

    def append(self, payloads: list[bytes], *, durable: bool = True) -> None:
        """Write records, the first with sequence `last_sequence` + 1. Raises JournalFull if it took none."""
        ...

    def probe(self) -> None:
        """Raise JournalFull if what was refused last would be refused again."""
        ...

    def prune(self, now: float | None) -> None:
        """Delete what is applied and past the retention. Raises OSError."""
        ...

    def close(self) -> None:
        """Release it for the next process."""
        ...


class OpenJournal:
    """The journal of one slot. Not safe for threads: one caller at a time, whichever thread it is in."""

    def __init__(
        self, directory: Path, number: int, lock: int, *, max_bytes: int, keep_seconds: float, fsync: bool
    ) -> None:
        self.number = number
        self.reason = ""
        self.directory = directory
        self._lock = lock
        self._max_bytes = max_bytes
        self._keep_seconds = keep_seconds
        self._fsync = fsync
        self._file = -1
        self._segments: list[Segment] = []
        self.applied = 0
        self._burned = 0
        self._refused = 0
        self.failures = 0
        self._begun = 0.0
        try:
            self.writer = self._read_writer()
            self._read_segments()
        except BaseException:
            self.close()
            raise

    @classmethod
    def open(cls, root: Path, *, max_bytes: int, keep_seconds: float, fsync: bool = True, above: int = 0) -> Self:
        """Take the first free slot under `root` that can be read, or make one. Raises JournalFull if the disk refuses.

        Sequences go on above `above`. A caller that takes `above` from the clock is safe from a journal that has lost
        its end (a restored copy, a disk that lied): sequences that the store has seen are then never used for new
        batches.
        """
        try:
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
            for number in range(MOST_SLOTS):
                directory = root / f"{number:02d}"
                used = (directory / "writer").exists()
                try:
                    journal = cls._take(directory, number, max_bytes, keep_seconds, fsync)
                except (JournalDamaged, OSError) as error:
                    if not used:
                        raise
                    # Its records wait until an operator looks at it; new hits must not wait.
                    log.error("slot %s is left alone: %s", directory.name, error)
                    continue
                if journal is not None:
                    journal._burned = above
                    return journal
        except OSError as error:
            raise JournalFull(f"the journal in {root} cannot be opened: {error.strerror or error}") from error
        raise JournalFull(f"all {MOST_SLOTS} slots of the journal in {root} are in use")

    @classmethod
    def _take(cls, directory: Path, number: int, max_bytes: int, keep_seconds: float, fsync: bool) -> Self | None:
        directory.mkdir(mode=0o700, exist_ok=True)
        lock = try_lock(directory)
        if lock is None:
            return None
        try:
            ours = settle_in(directory)
        except BaseException:
            os.close(lock)
            raise
        if not ours:
            os.close(lock)
            return None
        return cls(directory, number, lock, max_bytes=max_bytes, keep_seconds=keep_seconds, fsync=fsync)

    @classmethod
    def take_over(cls, directory: Path, *, max_bytes: int, keep_seconds: float) -> Self | None:
        """Take a slot that nobody holds, only to prune it; None when somebody does, or when it cannot be read. Raises
        OSError."""
        lock = try_lock(directory)
        if lock is None:
            return None
        try:
            return cls(directory, int(directory.name), lock, max_bytes=max_bytes, keep_seconds=keep_seconds, fsync=True)
        except JournalDamaged as error:
            log.error("slot %s is left alone: %s", directory.name, error)
            return None

    @property
    def last_sequence(self) -> int:
        """The highest sequence that was used, 0 for none. The next is one higher."""
        return max(self._burned, self._segments[-1].last if self._segments else 0)

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return sum(segment.size for segment in self._segments)

    def append(self, payloads: list[bytes], *, durable: bool = True) -> None:
        """Write records, the first with sequence `last_sequence` + 1, and fsync them all at once (unless they need not
        be `durable`, like heartbeats).

        Raises JournalFull; then none of them was acknowledged, and the segment is not written again (after a failed
        fsync the kernel may have dropped the pages: a second try would only seem to succeed).
        """
        sequence = self.last_sequence
        chunks: list[bytes] = []
        for payload in payloads:
            sequence += 1
            chunks.append(frame(sequence, payload))
        data = b"".join(chunks)
        self._make_room(len(data))
        try:
            if self._file < 0 or self._segments[-1].size > min(SEGMENT_BYTES, self._max_bytes // 4):
                self._new_segment()
            write_all(self._file, data)
            if self._fsync and durable:
                sync(self._file)
        except OSError as error:
            # Whether the records reached the disk is unknown: their sequences are never used for others.
            self._burned = sequence
            self._give_up_segment()
            raise JournalFull(f"the journal cannot be written: {error.strerror or error}") from error
        segment = self._segments[-1]
        segment.size += len(data)
        segment.last = sequence

    def probe(self) -> None:
        """Raise JournalFull if what was refused last would be refused again."""
        self._make_room(self._refused)
        self.append([])

    def _make_room(self, size: int) -> None:
        self._refused = size
        try:
            if self.size + size > self._max_bytes:
                self.prune(None)
        except OSError as error:
            raise JournalFull(f"the journal cannot be pruned: {error.strerror or error}") from error
        if self.size + size > self._max_bytes:
            raise JournalFull(
                f"the journal's budget of {self._max_bytes} bytes is used up by hits that are not applied yet"
            )
        self._refused = 0

    def prune(self, now: float | None) -> None:
        """Delete applied segments that are past the retention at `now` (Unix seconds); with None, the oldest applied
        ones until the budget has room again. Raises OSError.

        No applied record outlives the retention: a segment is ended when it is an hour old (or an eighth of the
        retention, if that is less), and deleted when nothing was written to it for the rest.
        """
        turn = min(self._keep_seconds / 8, SEGMENT_SECONDS)
        if now is not None and self._segments and not self._segments[-1].empty:
            begun = self._begun if self._file >= 0 else self._segments[-1].path.stat().st_mtime
            if begun <= now - turn:
                # When it is empty, its name keeps the sequence for the next owner of the slot.
                self._new_segment()
        while len(self._segments) > 1:
            oldest = self._segments[0]
            if oldest.last > self.applied:
                return
            if now is None:
                if self.size <= self._max_bytes // 2:
                    return
            elif oldest.path.stat().st_mtime > now - self._keep_seconds + turn:
                return
            oldest.path.unlink()
            del self._segments[0]

    def close(self) -> None:
        """Release the slot for the next process."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _read_writer(self) -> str:
        path = self.directory / "writer"
        if not path.exists():
            write_file(path, secrets.token_hex(WRITER_BYTES).encode())
        writer = path.read_text("ascii").strip()
        if len(writer) != 2 * WRITER_BYTES or not all(c in "0123456789abcdef" for c in writer):
            raise JournalDamaged(f"{path} does not hold a writer id")
        return writer

    def _read_segments(self) -> None:
        paths = sorted(self.directory.glob(f"{NAME}.log"))
        firsts = [int(path.stem, 16) for path in paths]
        for path, first, end in zip(paths, firsts, [*firsts[1:], None], strict=False):
            segment = Segment(path, first, end)
            if end is None or self._is_empty(path):
                for _ in segment.records(self.writer):
                    pass
                if segment.torn:
                    log.warning("journal segment %s ends with %d bytes that are no record", path.name, segment.torn)
            else:
                # The exact end of an older segment does not matter.
                segment.last, segment.size = end - 1, path.stat().st_size
            self._segments.append(segment)

    @staticmethod
    def _is_empty(path: Path) -> bool:
        return path.stat().st_size <= START

    def _new_segment(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        segment = Segment(self.directory / f"{self.last_sequence + 1:016x}.log", self.last_sequence + 1)
        # A segment of this name holds no whole record, or its sequence would be taken: O_TRUNC loses nothing.
        self._file = os.open(segment.path, os.O_WRONLY | os.O_TRUNC | CREATE, 0o600)
        self._segments = [other for other in self._segments if other.path != segment.path]
        self._segments.append(segment)
        header = MAGIC + bytes.fromhex(self.writer)
        try:
            write_all(self._file, header)
            segment.size = len(header)
            self._begun = os.fstat(self._file).st_mtime
            sync_directory(self.directory)
        except OSError:
            # Nothing may be appended to a half header, or to a file whose name may not be on the disk.
            self._give_up_segment()
            raise

    def _give_up_segment(self) -> None:
        if self._file < 0:
            return
        self.failures += 1
        segment = self._segments[-1]
        try:
            if segment.empty:
                segment.path.unlink()  # else a full disk would fill up with such files
                del self._segments[-1]
            else:
                os.ftruncate(self._file, segment.size)
        except OSError as error:
            log.error("journal segment %s could not be cut back: %s", segment.path.name, error)
        os.close(self._file)
        self._file = -1
