"""The journal: a local write-ahead log of batches. What is in it is acknowledged; what it cannot take is refused.

Each worker process owns a slot: a directory with a writer id (random, 128 bits), a lock that the kernel takes away when
the process dies, and segments. A slot is never used from the beginning again: whoever takes it over goes on with its
sequence.

    journal/00/lock                    flock
    journal/00/writer                  the writer id, as hex
    journal/00/0000000000000001.log    a segment, named by its first sequence

A segment begins with MAGIC and the writer id; a record is a header (length of the payload, CRC32C of sequence and
payload, sequence) and the payload. All of it is frozen, little-endian, pinned by tests/unit/test_journal.py.
"""

import fcntl
import logging
import os
import secrets
from bisect import bisect_right
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

import google_crc32c

from visitstats import outcomes
from visitstats.core.errors import JournalDamaged, JournalFull
from visitstats.framing import RECORD, SEQUENCE, frame, write_all

log = logging.getLogger(__name__)

MAGIC = b"vsjrnl1\n"
WRITER_BYTES = 16
START = len(MAGIC) + WRITER_BYTES
SEGMENT_BYTES = 16 * 1024 * 1024
"""A segment that is larger is written no more; with a small budget a quarter of that, so that there is always one to
drop."""
MARK_BYTES = 64 * 1024
REDUCE_SECONDS = 3600
"""After so long a record no longer says who read what: a visit that began before it is over, or soon will be."""
MOST_SLOTS = 256


class Segment:
    """One file of the journal: its records' sequences and its size.

    `end` is the first sequence of the segment after it: a record that bears it or a higher one is what a failed write
    left behind, and was never acknowledged.
    """

    def __init__(self, path: Path, first: int, end: int | None = None) -> None:
        self.path = path
        self.first = first
        self.end = end
        self.last = first - 1
        self.size = 0
        self.reduced = False
        self.damaged = 0
        """Bytes between its records that are none; what was in them is lost. Known when it has been read."""
        self.torn = 0
        """Bytes after its last record: a write that was cut, or is going on."""
        self.marks: list[tuple[int, int]] = []
        """Now and then (sequence, offset of the byte after its record), so that a reader need not begin at the
        beginning."""

    def mark(self, offset: int) -> None:
        """Note that the last record ends at an offset."""
        if offset - (self.marks[-1][1] if self.marks else 0) > MARK_BYTES:
            self.marks.append((self.last, offset))

    @property
    def empty(self) -> bool:
        """Whether it holds no record."""
        return self.last < self.first

    def records(self, writer: str, after: tuple[int, int] = (0, 0)) -> Iterator[tuple[int, bytes]]:
        """Yield (sequence, payload) of every whole record, or of those after a mark: one that is torn at the end, or
        damaged, is left out.

        Raises JournalDamaged when the file is not a segment of this writer.
        """
        data = self.path.read_bytes()
        self.size = len(data)
        if len(data) < START or not any(data):
            # The crash came between the file's creation and its first record; nothing in it was acknowledged.
            return
        if data[:START] != MAGIC + bytes.fromhex(writer):
            raise JournalDamaged(f"{self.path} is not a journal segment of writer {writer}")
        if after[1]:
            self.last = after[0]
        offset = whole = max(START, after[1])
        while offset + RECORD.size <= len(data):
            length, crc, sequence = RECORD.unpack_from(data, offset)
            payload = data[offset + RECORD.size : offset + RECORD.size + length]
            # Between two records only as many sequences are missing as the bytes between them can have held.
            fits = 0 < sequence - self.last <= 1 + (offset - whole) // RECORD.size and len(payload) == length
            if not fits or google_crc32c.value(SEQUENCE.pack(sequence) + payload) != crc:
                offset += 1
                continue
            if self.end is not None and sequence >= self.end:
                break
            if offset > whole:
                self.damaged += offset - whole
                log.error("journal segment %s is damaged: %d bytes are no record", self.path.name, offset - whole)
            offset += RECORD.size + length
            whole = offset
            self.last = sequence
            self.mark(offset)
            yield sequence, payload
        self.torn = len(data) - whole
        if self.torn:
            log.warning("journal segment %s ends with %d bytes that are no record", self.path.name, self.torn)


class Journal:
    """The journal of one slot. Not safe for threads: one caller at a time, whichever thread it is in."""

    def __init__(
        self, directory: Path, number: int, lock: int, *, max_bytes: int, keep_seconds: float, fsync: bool
    ) -> None:
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
        self._burned = 0
        self._begun = 0.0
        try:
            self.writer = self._read_writer()
            self._read_segments()
        except BaseException:
            self.close()
            raise

    @classmethod
    def open(cls, root: Path, *, max_bytes: int, keep_seconds: float, fsync: bool = True, above: int = 0) -> Self:
        """Take the first free slot under `root`, or make one. Raises JournalFull when the disk refuses.

        Sequences go on above `above`. A caller who takes it from the clock is safe from a journal that has lost its end
        (a restored copy, a disk that lied): the store would take sequences that it knows for batches that it has.
        """
        try:
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
            for number in range(MOST_SLOTS):
                directory = root / f"{number:02d}"
                directory.mkdir(mode=0o700, exist_ok=True)
                lock = _try_lock(directory)
                if lock is not None:
                    journal = cls(directory, number, lock, max_bytes=max_bytes, keep_seconds=keep_seconds, fsync=fsync)
                    journal._burned = above
                    return journal
        except OSError as error:
            raise JournalFull(f"the journal in {root} cannot be opened: {error.strerror or error}") from error
        raise JournalFull(f"all {MOST_SLOTS} slots of the journal in {root} are in use")

    @classmethod
    def open_abandoned(cls, root: Path, done: dict[int, int], *, max_bytes: int, keep_seconds: float) -> Iterator[Self]:
        """Yield, one after the other, the slots that nobody holds and that have records. The caller closes each.

        `done` maps slots to the first sequence of their newest segment when they were seen to: they are left out as
        long as that is the newest. (Whoever opens a slot to write begins a new segment.)
        """
        for directory in sorted(root.glob("[0-9][0-9]*")):
            newest = max((int(path.stem, 16) for path in directory.glob("*.log")), default=0)
            if newest == 0 or done.get(int(directory.name)) == newest:
                continue
            lock = _try_lock(directory)
            if lock is None:
                continue
            try:
                journal = cls(
                    directory, int(directory.name), lock, max_bytes=max_bytes, keep_seconds=keep_seconds, fsync=True
                )
            except JournalDamaged as error:
                log.error("slot %s is left alone: %s", directory.name, error)
            else:
                yield journal

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

        Raises JournalFull; then none of them is in the journal as far as anybody was told, and the segment is not
        written again (after a failed fsync the kernel may have dropped the pages: to try once more would only seem to
        work).
        """
        sequence = self.last_sequence
        chunks: list[bytes] = []
        for payload in payloads:
            sequence += 1
            chunks.append(frame(sequence, payload))
        data = b"".join(chunks)
        if self.size + len(data) > self._max_bytes:
            self.prune(None)
            if self.size + len(data) > self._max_bytes:
                raise JournalFull(
                    f"the journal's budget of {self._max_bytes} bytes is used up by hits that are not applied yet"
                )
        try:
            if self._file < 0 or self._segments[-1].size > min(SEGMENT_BYTES, self._max_bytes // 4):
                self._new_segment()
            write_all(self._file, data)
            if self._fsync:
                _sync(self._file)
        except OSError as error:
            # Whether the records reached the disk is unknown: their sequences are never used for others.
            self._burned = sequence
            self._give_up_segment()
            raise JournalFull(f"the journal cannot be written: {error.strerror or error}") from error
        segment = self._segments[-1]
        segment.size += len(data)
        segment.last = sequence
        segment.mark(segment.size)

    def read(self, after: int) -> Iterator[tuple[int, bytes]]:
        """Yield (sequence, payload) of all records with a sequence above `after`, in order."""
        for segment in list(self._segments):
            # One that was pruned in the meantime was applied.
            if segment.last > after and segment in self._segments:
                reader = Segment(segment.path, segment.first)
                place = bisect_right(segment.marks, after, key=lambda mark: mark[0])
                mark = segment.marks[place - 1] if place else (0, 0)
                for sequence, payload in reader.records(self.writer, mark):
                    if after < sequence <= segment.last:
                        yield sequence, payload

    def note_outcomes(self, decided: list[tuple[int, bytes]]) -> None:
        """Keep what the store decided, as (sequence, outcome). What the disk refuses is decided again one day."""
        places: dict[Path, list[tuple[int, bytes]]] = {}
        for sequence, outcome in decided:
            place = bisect_right(self._segments, sequence, key=lambda segment: segment.first)
            if place:
                places.setdefault(self._segments[place - 1].path, []).append((sequence, outcome))
        for path, items in places.items():
            try:
                outcomes.add(path, self.writer, items)
            except OSError as error:
                log.warning("outcomes could not be kept: %s", error.strerror or error)

    def read_decided(self, after: int) -> Iterator[tuple[int, bytes, bytes]]:
        """Yield what `read` yields, each with its outcome (empty for none)."""
        known: dict[int, bytes] = {}
        within: Segment | None = None
        for sequence, payload in self.read(after):
            place = bisect_right(self._segments, sequence, key=lambda segment: segment.first)
            segment = self._segments[place - 1] if place else None
            if segment is not within and segment is not None:
                within, known = segment, outcomes.load(segment.path, self.writer)
            yield sequence, payload, known.get(sequence, b"")

    def reduce(self, now: float, rewrite: Callable[[bytes, bytes], tuple[bytes, bytes]]) -> None:
        """Rewrite segments that are ended and REDUCE_SECONDS old: `rewrite` turns a decided record and its outcome into
        ones that no longer say who read what. Raises OSError."""
        for segment in self._segments[:-1]:
            if segment.reduced or segment.last > self.applied or segment.path.stat().st_mtime > now - REDUCE_SECONDS:
                continue
            known = outcomes.load(segment.path, self.writer)
            if known:
                self._rewrite(segment, known, rewrite)
            segment.reduced = True

    def _rewrite(
        self, segment: Segment, known: dict[int, bytes], rewrite: Callable[[bytes, bytes], tuple[bytes, bytes]]
    ) -> None:
        log_file, out_file = [MAGIC + bytes.fromhex(self.writer)], [outcomes.MAGIC + bytes.fromhex(self.writer)]
        for sequence, payload in Segment(segment.path, segment.first, segment.end).records(self.writer):
            outcome = known.get(sequence, b"")
            if outcome:
                payload, outcome = rewrite(payload, outcome)
                out_file.append(frame(sequence, outcome))
            log_file.append(frame(sequence, payload))
        stamp = segment.path.stat()
        # Either order of the two replacements is safe: an outcome that does not fit its batch is not used.
        for path, data in ((outcomes.path_of(segment.path), b"".join(out_file)), (segment.path, b"".join(log_file))):
            _write_file(path, data)
            os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
        segment.size = segment.path.stat().st_size
        segment.marks = []

    def prune(self, now: float | None) -> None:
        """Delete applied segments that are past the retention at `now` (Unix seconds); with None, the oldest applied
        ones until the budget has room again. Raises OSError.

        No applied record outlives the retention: a segment is ended when it is an eighth of it old, and deleted when
        nothing was written to it for the other seven.
        """
        turn = self._keep_seconds / 8
        if now is not None and self._segments and not self._segments[-1].empty:
            begun = self._begun if self._file >= 0 else self._segments[-1].path.stat().st_mtime
            if begun <= now - turn:
                # Empty, its name keeps the sequence for whoever opens the slot next.
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
            outcomes.path_of(oldest.path).unlink(missing_ok=True)
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
            _write_file(path, secrets.token_hex(WRITER_BYTES).encode())
        writer = path.read_text("ascii").strip()
        if len(writer) != 2 * WRITER_BYTES or not all(c in "0123456789abcdef" for c in writer):
            raise JournalDamaged(f"{path} does not hold a writer id")
        return writer

    def _read_segments(self) -> None:
        paths = sorted(self._directory.glob("[0-9a-f]" * 16 + ".log"))
        firsts = [int(path.stem, 16) for path in paths]
        for path, first, end in zip(paths, firsts, [*firsts[1:], None], strict=False):
            segment = Segment(path, first, end)
            for _ in segment.records(self.writer):
                pass
            self._segments.append(segment)

    def _new_segment(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        segment = Segment(self._directory / f"{self.last_sequence + 1:016x}.log", self.last_sequence + 1)
        # A segment of this name holds no whole record, or its sequence would be taken: O_TRUNC loses nothing.
        self._file = os.open(segment.path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        self._segments = [other for other in self._segments if other.path != segment.path]
        self._segments.append(segment)
        header = MAGIC + bytes.fromhex(self.writer)
        write_all(self._file, header)
        segment.size = len(header)
        self._begun = os.fstat(self._file).st_mtime
        _sync_directory(self._directory)

    def _give_up_segment(self) -> None:
        if self._file < 0:
            return
        segment = self._segments[-1]
        try:
            if segment.empty:
                segment.path.unlink()  # or a full disk would soon be full of these
                outcomes.path_of(segment.path).unlink(missing_ok=True)
                del self._segments[-1]
            else:
                os.ftruncate(self._file, segment.size)
        except OSError as error:
            log.error("journal segment %s could not be cut back: %s", segment.path.name, error)
        os.close(self._file)
        self._file = -1


def _sync(file: int) -> None:
    """Wait until what was written is on the disk, and its length; the times of the file don't matter."""
    getattr(os, "fdatasync", os.fsync)(file)  # macOS has no fdatasync


def _try_lock(directory: Path) -> int | None:
    lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return lock


def _write_file(path: Path, data: bytes) -> None:
    """Put a file in the place of another, or of none, at once or not at all."""
    fresh = path.with_name(path.name + ".new")
    with open(fresh, "wb") as file:
        file.write(data)
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
