"""The journal: a local write-ahead log of batches. What is in it is acknowledged; what it cannot take is refused.

Each worker process owns a slot: a directory with a writer id (random, 128 bits), a lock that the kernel takes away when the
process dies, and segments. A slot is never used from the beginning again: whoever takes it over goes on with its sequence.

    journal/00/lock                    flock
    journal/00/writer                  the writer id, as hex
    journal/00/0000000000000001.log    a segment, named by its first sequence

A segment begins with MAGIC and the writer id; a record is a header (length of the payload, CRC32C of sequence and payload,
sequence) and the payload. All of it is frozen, little-endian, pinned by tests/unit/test_journal.py.
"""

import fcntl
import logging
import os
import secrets
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import google_crc32c

from visitstats.core.errors import JournalDamaged, JournalFull

log = logging.getLogger(__name__)

MAGIC = b"vsjrnl1\n"
WRITER_BYTES = 16
RECORD = struct.Struct("<IIQ")
SEQUENCE = struct.Struct("<Q")
START = len(MAGIC) + WRITER_BYTES
SEGMENT_BYTES = 16 * 1024 * 1024
MOST_SLOTS = 256


class Segment:
    """One file of the journal: its records' sequences and its size."""

    def __init__(self, path: Path, first: int) -> None:
        self.path = path
        self.first = first
        self.last = first - 1
        self.size = 0

    def records(self, writer: str) -> Iterator[tuple[int, bytes]]:
        """Yield (sequence, payload) up to the end or to the first record that is torn.

        Raises JournalDamaged when the file is not a segment of this writer.
        """
        data = self.path.read_bytes()
        if len(data) < START:
            # The crash came between the file's creation and its first record; nothing in it was acknowledged.
            return
        if data[:START] != MAGIC + bytes.fromhex(writer):
            raise JournalDamaged(f"{self.path} is not a journal segment of writer {writer}")
        offset = START
        while offset + RECORD.size <= len(data):
            length, crc, sequence = RECORD.unpack_from(data, offset)
            payload = data[offset + RECORD.size : offset + RECORD.size + length]
            if len(payload) < length or google_crc32c.value(SEQUENCE.pack(sequence) + payload) != crc:
                break
            offset += RECORD.size + length
            self.last = sequence
            self.size = offset
            yield sequence, payload
        if offset < len(data):
            log.warning("journal segment %s ends with %d bytes that are no record", self.path.name, len(data) - offset)


class Journal:
    """The journal of one slot. Not safe for threads: one caller at a time, whichever thread it is in."""

    def __init__(self, directory: Path, number: int, lock: int, *, max_bytes: int, keep_seconds: float, fsync: bool) -> None:
        self.number = number
        """The slot's number: small, reused, good for a label."""
        self._directory = directory
        self._lock = lock
        self._max_bytes = max_bytes
        self._keep_seconds = keep_seconds
        self._fsync = fsync
        self._file = -1
        self._segments: list[Segment] = []
        self.applied = 0
        """Up to this sequence everything is in the store; only what is may be deleted. Set by the ingest."""
        self.writer = self._read_writer()
        self._burned = 0
        for path in sorted(directory.glob("*.log")):
            segment = Segment(path, int(path.stem, 16))
            for _ in segment.records(self.writer):
                pass
            self._segments.append(segment)

    @classmethod
    def open(cls, root: Path, *, max_bytes: int, keep_seconds: float, fsync: bool = True) -> Self:
        """Take the first free slot under `root`, or make one. Raises JournalFull when the disk refuses."""
        try:
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
            for number in range(MOST_SLOTS):
                directory = root / f"{number:02d}"
                directory.mkdir(mode=0o700, exist_ok=True)
                lock = _try_lock(directory)
                if lock is not None:
                    return cls(directory, number, lock, max_bytes=max_bytes, keep_seconds=keep_seconds, fsync=fsync)
        except OSError as error:
            raise JournalFull(f"the journal in {root} cannot be opened: {error.strerror or error}") from error
        raise JournalFull(f"all {MOST_SLOTS} slots of the journal in {root} are in use")

    @classmethod
    def open_abandoned(
        cls, root: Path, done: dict[int, int], *, max_bytes: int, keep_seconds: float
    ) -> Iterator[Self]:
        """Yield, one after the other, the slots that nobody holds and that have records. The caller closes each.

        `done` maps slots to the first sequence of their newest segment when they were seen to: they are left out as long as
        that is the newest. (Whoever opens a slot to write begins a new segment.)
        """
        for directory in sorted(root.glob("[0-9][0-9]*")):
            newest = max((int(path.stem, 16) for path in directory.glob("*.log")), default=0)
            if newest == 0 or done.get(int(directory.name)) == newest:
                continue
            lock = _try_lock(directory)
            if lock is not None:
                yield cls(directory, int(directory.name), lock, max_bytes=max_bytes, keep_seconds=keep_seconds, fsync=True)

    @property
    def newest_segment(self) -> int:
        """The first sequence of the newest segment, 0 for none."""
        return self._segments[-1].first if self._segments else 0

    @property
    def last_sequence(self) -> int:
        """The highest sequence that was used, 0 for none. The next is one higher."""
        return max(self._burned, self._segments[-1].last if self._segments else 0)

    @property
    def first_sequence(self) -> int:
        """The sequence of the oldest record that is still kept."""
        return self._segments[0].first if self._segments else 1

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return sum(segment.size for segment in self._segments)

    def append(self, payloads: list[bytes]) -> None:
        """Write records, the first with sequence `last_sequence` + 1, and fsync them all at once.

        Raises JournalFull; then none of them is in the journal as far as anybody was told, and the segment is not written
        again (after a failed fsync the kernel may have dropped the pages: to try once more would only seem to work).
        """
        sequence = self.last_sequence
        chunks = []
        for payload in payloads:
            sequence += 1
            crc = google_crc32c.value(SEQUENCE.pack(sequence) + payload)
            chunks += (RECORD.pack(len(payload), crc, sequence), payload)
        data = b"".join(chunks)
        if self.size + len(data) > self._max_bytes:
            self.prune(None)
            if self.size + len(data) > self._max_bytes:
                raise JournalFull(f"the journal's budget of {self._max_bytes} bytes is used up by hits that are not applied yet")
        try:
            if self._file < 0 or self._segments[-1].size > SEGMENT_BYTES:
                self._new_segment()
            _write_all(self._file, data)
            if self._fsync:
                os.fdatasync(self._file)
        except OSError as error:
            # Whether the records reached the disk is unknown: their sequences are never used for others.
            self._burned = sequence
            self._give_up_segment()
            raise JournalFull(f"the journal cannot be written: {error.strerror or error}") from error
        segment = self._segments[-1]
        segment.size += len(data)
        segment.last = sequence

    def read(self, after: int) -> Iterator[tuple[int, bytes]]:
        """Yield (sequence, payload) of all records with a sequence above `after`, in order."""
        for segment in list(self._segments):
            if segment.last > after:
                reader = Segment(segment.path, segment.first)
                for sequence, payload in reader.records(self.writer):
                    if after < sequence <= segment.last:
                        yield sequence, payload

    def prune(self, now: float | None) -> None:
        """Delete applied segments that are older than the retention at `now` (Unix seconds); with None, the oldest
        applied ones until the budget has room again."""
        while len(self._segments) > 1:
            oldest = self._segments[0]
            if oldest.last > self.applied:
                return
            if now is None:
                if self.size <= self._max_bytes // 2:
                    return
            elif oldest.path.stat().st_mtime > now - self._keep_seconds:
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
        path = self._directory / "writer"
        if not path.exists():
            _write_file(path, secrets.token_hex(WRITER_BYTES))
        writer = path.read_text("ascii").strip()
        if len(writer) != 2 * WRITER_BYTES or not all(c in "0123456789abcdef" for c in writer):
            raise JournalDamaged(f"{path} does not hold a writer id")
        return writer

    def _new_segment(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        segment = Segment(self._directory / f"{self.last_sequence + 1:016x}.log", self.last_sequence + 1)
        # A segment of this name holds no whole record, or its sequence would be taken: O_TRUNC loses nothing.
        self._file = os.open(segment.path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        header = MAGIC + bytes.fromhex(self.writer)
        _write_all(self._file, header)
        _sync_directory(self._directory)
        segment.size = len(header)
        self._segments = [other for other in self._segments if other.path != segment.path]
        self._segments.append(segment)

    def _give_up_segment(self) -> None:
        if self._file < 0:
            return
        segment = self._segments[-1]
        try:
            os.ftruncate(self._file, segment.size)
        except OSError as error:
            log.error("journal segment %s could not be cut back: %s", segment.path.name, error)
        os.close(self._file)
        self._file = -1


def _try_lock(directory: Path) -> int | None:
    lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return lock


def _write_all(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]


def _write_file(path: Path, text: str) -> None:
    fresh = path.with_suffix(".new")
    with open(fresh, "w", encoding="ascii") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(fresh, path)
    _sync_directory(path.parent)


def _sync_directory(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
