"""The journal: a local write-ahead log of batches. What is in it is acknowledged; what it cannot take is refused.

Each worker process owns a slot: a directory with a writer id (random, 128 bits), a lock that the kernel takes away when
the process dies, and segments. A slot is never used from the beginning again: whoever takes it over goes on with its
sequence.

    journal/00/lock                    flock
    journal/00/writer                  the writer id, as hex
    journal/00/place                   where the slot was made, so that a copy of it is told from it
    journal/00/0000000000000001.log    a segment (`visitstats.segments`), named by its first sequence
    journal/00/0000000000000001.out    its outcomes (`visitstats.outcomes`)

A copy of a slot is not written: two processes with one writer id would take each other's sequences for their own, and
the store would take the hits of one for those of the other. What is in the copy is applied (`open_abandoned`): that is
harmless, because the store knows what it has. A slot that cannot be read is left alone: the next one is taken.
"""

import logging
import os
import secrets
from bisect import bisect_right
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, Self

from visitstats import outcomes
from visitstats.core.errors import JournalDamaged, JournalFull
from visitstats.durable import put_in_place, sync, sync_directory, write_all, write_beside, write_file
from visitstats.framing import RECORD, frame
from visitstats.places import settle_in, try_lock
from visitstats.segments import MAGIC, NAME, WRITER_BYTES, Segment

log = logging.getLogger(__name__)

SEGMENT_BYTES = 16 * 1024 * 1024
"""A segment that is larger is written no more; with a small budget a quarter of that, so that there is always one to
drop."""
REDUCE_SECONDS = 3600
"""After so long a record no longer says who read what: a visit that began before it is over, or soon will be."""
MOST_SLOTS = 256


class Rewritten(NamedTuple):
    """A segment that was written anew, in which file (None: it can stay as it is), and the outcomes that it had."""

    segment: Segment
    fresh: Path | None
    noted: int


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
        self.reason = ""
        """Why it could not be opened; empty, because it is."""
        self._burned = 0
        self._refused = 0
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

        Sequences go on above `above`. A caller who takes it from the clock is safe from a journal that has lost its end
        (a restored copy, a disk that lied): the store would take sequences that it knows for batches that it has.
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
                    # Its records wait for somebody to look at it; hits must not.
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
    def open_abandoned(cls, root: Path, done: dict[int, int], *, max_bytes: int, keep_seconds: float) -> Iterator[Self]:
        """Yield, one after the other, the slots that nobody holds and that have records. The caller closes each.

        `done` maps slots to the first sequence of their newest segment when they were seen to: they are left out as
        long as that is the newest. (Whoever opens a slot to write begins a new segment.)
        """
        for directory in sorted(path for path in root.glob("[0-9][0-9]*") if path.name.isdigit()):
            newest = max((int(path.stem, 16) for path in directory.glob(f"{NAME}.log")), default=0)
            if newest == 0 or done.get(int(directory.name)) == newest:
                continue
            try:
                lock = try_lock(directory)
                if lock is None:
                    continue
                journal = cls(
                    directory, int(directory.name), lock, max_bytes=max_bytes, keep_seconds=keep_seconds, fsync=True
                )
            except (JournalDamaged, OSError) as error:
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
        """Bytes on disk, with the outcomes."""
        return sum(segment.total for segment in self._segments)

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
        self._make_room(len(data))
        try:
            if self._file < 0 or self._segments[-1].total > min(SEGMENT_BYTES, self._max_bytes // 4):
                self._new_segment()
            write_all(self._file, data)
            if self._fsync:
                sync(self._file)
        except OSError as error:
            # Whether the records reached the disk is unknown: their sequences are never used for others.
            self._burned = sequence
            self._give_up_segment()
            raise JournalFull(f"the journal cannot be written: {error.strerror or error}") from error
        segment = self._segments[-1]
        segment.size += len(data)
        segment.last = sequence
        segment.mark(segment.size)

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
        places: dict[Segment, list[tuple[int, bytes]]] = {}
        for sequence, outcome in decided:
            place = bisect_right(self._segments, sequence, key=lambda segment: segment.first)
            if place:
                places.setdefault(self._segments[place - 1], []).append((sequence, outcome))
        for segment, items in places.items():
            segment.reduced = False
            segment.noted += 1
            try:
                segment.noted_bytes = outcomes.add(segment.path, self.writer, items)
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

    def reduce(self, now: float, rewrite: Callable[[bytes, bytes], bytes]) -> None:
        """Rewrite segments that are ended and REDUCE_SECONDS old: `rewrite` turns a decided record and its outcome into
        a record that no longer says who read what. Raises OSError."""
        for segment in self.reducible(now):
            self.replace(self.rewrite(segment, rewrite))

    def reducible(self, now: float) -> list[Segment]:
        """Return the segments that `reduce` would rewrite. Raises OSError."""
        return [
            segment
            for segment in self._segments[:-1]
            if not segment.reduced
            and segment.last <= self.applied
            and segment.path.stat().st_mtime <= now - REDUCE_SECONDS
        ]

    def rewrite(self, segment: Segment, rewrite: Callable[[bytes, bytes], bytes]) -> Rewritten:
        """Write a segment anew beside itself. Takes a second for a full one: the only method that may run in another
        thread meanwhile. Raises OSError."""
        noted = segment.noted
        parts = [MAGIC + bytes.fromhex(self.writer)]
        known = outcomes.load(segment.path, self.writer)
        if not known:
            return Rewritten(segment, None, noted)
        expected = segment.first
        for sequence, payload in Segment(segment.path, segment.first, segment.end).records(self.writer):
            if outcome := known.get(sequence):
                payload = rewrite(payload, outcome)
            # Where records were damaged, as many bytes stay as are needed to find those behind them.
            parts += [bytes(RECORD.size * (sequence - expected)), frame(sequence, payload)]
            expected = sequence + 1
        return Rewritten(segment, write_beside(segment.path, b"".join(parts)), noted)

    def replace(self, rewritten: Rewritten) -> None:
        """Put a rewritten segment in its place, unless it has got more outcomes or was deleted meanwhile. Raises
        OSError."""
        segment, fresh, noted = rewritten
        if segment not in self._segments or segment.noted != noted:
            if fresh is not None:
                fresh.unlink()
            return
        if fresh is not None:
            stamp = segment.path.stat()
            # First, so that no crash makes it younger than it is: its age is what it is deleted by.
            os.utime(fresh, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
            put_in_place(fresh, segment.path)
            segment.size = segment.path.stat().st_size
            segment.marks = []
        outcomes.path_of(segment.path).unlink(missing_ok=True)
        segment.noted_bytes = 0
        segment.reduced = True

    def prune(self, now: float | None) -> None:
        """Delete applied segments that are past the retention at `now` (Unix seconds); with None, the oldest applied
        ones until the budget has room again. Raises OSError.

        No applied record outlives the retention: a segment is ended when it is an hour old (or an eighth of the
        retention, if that is less), and deleted when nothing was written to it for the rest.
        """
        turn = min(self._keep_seconds / 8, REDUCE_SECONDS)
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
            write_file(path, secrets.token_hex(WRITER_BYTES).encode())
        writer = path.read_text("ascii").strip()
        if len(writer) != 2 * WRITER_BYTES or not all(c in "0123456789abcdef" for c in writer):
            raise JournalDamaged(f"{path} does not hold a writer id")
        return writer

    def _read_segments(self) -> None:
        # What a crash left between two steps of deleting or rewriting a segment.
        for path in self._directory.glob(f"{NAME}.log.new"):
            path.unlink()
        for path in self._directory.glob(f"{NAME}.out"):
            if not path.with_suffix(".log").exists():
                path.unlink()
        paths = sorted(self._directory.glob(f"{NAME}.log"))
        firsts = [int(path.stem, 16) for path in paths]
        for path, first, end in zip(paths, firsts, [*firsts[1:], None], strict=False):
            segment = Segment(path, first, end)
            for _ in segment.records(self.writer):
                pass
            segment.noted_bytes = outcomes.size_of(path)
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
        try:
            write_all(self._file, header)
            segment.size = len(header)
            self._begun = os.fstat(self._file).st_mtime
            sync_directory(self._directory)
        except OSError:
            # Nothing may be appended to a half header, or to a file whose name may not be on the disk.
            self._give_up_segment()
            raise

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
