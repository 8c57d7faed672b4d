"""Reads slots, for a replay and for commands beside a running service. It writes, locks and waits for nothing, because
a slot may belong to another process.

Its newest records may be missing here, and a record that is being written looks like a torn end.
"""

import errno
import fcntl
import os
import re
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from visitstats.core.batch import ChangeRecord, Record, decode
from visitstats.core.errors import JournalDamaged
from visitstats.journal.segments import NAME, WRITER_BYTES, Segment

_WRITER = re.compile(rf"[0-9a-f]{{{2 * WRITER_BYTES}}}")
_SEGMENT = f"{NAME}.log"
_PASSING = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
"""Errors that the process has caused, and not the file. Reading must not go on after them, or the file's records would
be taken for lost."""


class Newest(NamedTuple):
    """The newest record of a site in a slot."""

    sequence: int
    total: int
    """The writer's hits for the site up to and including that record."""


class Slot:
    """One slot, and what has been read of it. `scan` reads what has come since the last time. Methods that read raise
    OSError when the process lacks files or memory; the next call goes on from there."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.number = int(directory.name)
        self.writer = writer_of(directory)
        """The writer id; empty when it cannot be read."""
        self.newest: dict[str, Newest] = {}
        """The newest record of each site."""
        self.first = 0
        """The lowest sequence that may still be found in it, 0 for none."""
        self.last = 0
        """The highest sequence that was found."""
        self.records = 0
        """How many records were read."""
        self.size = 0
        """Bytes on disk."""
        self.changed: dict[str, tuple[int, ChangeRecord]] = {}
        """The newest change by a person that was read for a site, until it is noted."""
        self.since_ms = 0
        """When its oldest record was received, in milliseconds since the epoch; 0 for no record."""
        self._segments: list[Segment] = []
        self._done: set[Path] = set()
        """Segments that were read to their end after the next one had begun, so that they do not grow any more."""
        self._unreadable: dict[Path, str] = {}
        self._no_records: list[str] = []

    @property
    def held(self) -> bool:
        """Whether a process owns the slot now. A free slot's lock is tried for an instant (shared), so that a worker
        that starts in that very instant takes the next slot instead."""
        return is_held(self.directory)

    @property
    def damage(self) -> list[str]:
        """The damage that was found, one line each."""
        writer = [] if self.writer else [f"{self.directory / 'writer'} does not hold a writer id"]
        between = [
            f"{segment.path}: {segment.damaged} bytes between its records are no record"
            for segment in self._segments
            if segment.damaged
        ]
        return [*writer, *self._unreadable.values(), *self._no_records, *between]

    @property
    def torn(self) -> list[str]:
        """Ends of segments that are no record: what a crash leaves, and was never acknowledged."""
        return [
            f"{segment.path} ends with {segment.torn} bytes that are no record"
            for segment in self._segments
            if segment.torn
        ]

    def scan(self) -> None:
        """Read what has come since the last time. Blocks."""
        for _ in self.fresh():
            pass

    def fresh(self) -> Iterator[tuple[int, Record]]:
        """Read what has come since the last time, and yield it as (sequence, record). Blocks."""
        for segment in self._look():
            for sequence, payload in self._payloads(segment, (segment.last, segment.whole)):
                self.records += 1
                self.last = sequence
                record = self._decode(segment, sequence, payload)
                if record is not None:
                    self.since_ms = self.since_ms or record.at_ms
                    self.newest[record.site] = Newest(sequence, record.total)
                    if isinstance(record, ChangeRecord):
                        self.changed[record.site] = sequence, record
                    yield sequence, record
            if segment.end is not None:
                self._done.add(segment.path)

    def above(self, marks: dict[str, int]) -> Iterator[tuple[int, Record]]:
        """Yield the records of sites above their watermarks, as (sequence, record), of those that were read. Blocks."""
        least = min(marks.values(), default=0)
        for segment in self._segments:
            if segment.last <= least:
                continue
            nearest = bisect_right(segment.places, least, key=lambda place: place[0])
            known = segment.places[nearest - 1] if nearest else (segment.first - 1, 0)
            reader = Segment(segment.path, segment.first, segment.end)
            for sequence, payload in self._payloads(reader, known):
                if sequence > segment.last:
                    break
                record = self._decode(None, sequence, payload)
                if record is not None and record.site in marks and sequence > marks[record.site]:
                    yield sequence, record

    def _look(self) -> list[Segment]:
        """Find the segments that there are now, and return those of which something may not be read yet."""
        paths = sorted(self.directory.glob(_SEGMENT)) if self.writer else []
        known = {segment.path: segment for segment in self._segments}
        found: list[Segment] = []
        for path in paths:
            first = int(path.stem, 16)
            if found:
                found[-1].end = first
            found.append(known.get(path) or Segment(path, first))
        self._done.intersection_update(paths)
        self._segments = found
        self.first = found[0].first if found else 0
        self.size = sum(_size_of(path) for path in paths)
        return [segment for segment in found if segment.path not in self._done]

    def _payloads(self, segment: Segment, after: tuple[int, int]) -> Iterator[tuple[int, bytes]]:
        try:
            yield from segment.records(self.writer, after)
        except FileNotFoundError:
            return  # deleted since the listing, and so it was applied
        except (OSError, JournalDamaged) as error:
            if isinstance(error, OSError) and error.errno in _PASSING:
                raise
            self._unreadable[segment.path] = str(error)

    def _decode(self, segment: Segment | None, sequence: int, payload: bytes) -> Record | None:
        try:
            return decode(payload)
        except msgspec.DecodeError as error:
            if segment is not None:
                self._no_records.append(f"{segment.path}: record {sequence} is not a batch: {error}")
            return None


def slots_of(root: Path) -> list[Slot]:
    """Return the slots of a journal that were ever used, in the order of their numbers."""
    return [Slot(path) for path in slot_folders(root)]


def slot_folders(root: Path) -> list[Path]:
    """Return the folders of the slots that were ever used, in the order of their numbers."""
    found = [path for path in root.glob("[0-9][0-9]*") if path.name.isdigit() and (path / "writer").exists()]
    return sorted(found, key=lambda path: int(path.name))


def is_held(directory: Path) -> bool:
    """Whether a process owns a slot."""
    try:
        handle = os.open(directory / "lock", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def writer_of(directory: Path) -> str:
    """Return the writer id of a slot; empty when it cannot be read. A slot without records may get another one (a copy
    that a process settles in)."""
    try:
        writer = (directory / "writer").read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        if isinstance(error, OSError) and error.errno in _PASSING:
            raise
        return ""
    return writer if _WRITER.fullmatch(writer) else ""


def _size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
