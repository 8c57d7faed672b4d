"""Segments: the files of a journal, read record by record.

A segment begins with MAGIC and the writer id; a record is a header (length of the payload, CRC32C of sequence and
payload, sequence) and the payload. All of it is frozen, little-endian, pinned by tests/unit/test_journal.py.
"""

import logging
import struct
from collections.abc import Iterator
from pathlib import Path

import google_crc32c

from visitstats.core.errors import JournalDamaged

log = logging.getLogger(__name__)

RECORD = struct.Struct("<IIQ")
SEQUENCE = struct.Struct("<Q")
MAGIC = b"vsjrnl2\n"
"""The number is that of the first schema (`core.schema`) whose journals look like this."""
WRITER_BYTES = 16
START = len(MAGIC) + WRITER_BYTES
PLACE_BYTES = 64 * 1024
NAME = "[0-9a-f]" * 16
"""A glob pattern for the names of segments."""


def frame(sequence: int, payload: bytes) -> bytes:
    """Return a payload with its header."""
    return RECORD.pack(len(payload), google_crc32c.value(SEQUENCE.pack(sequence) + payload), sequence) + payload


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
        self.whole = START
        """The offset of the byte after the last whole record that was read."""
        self.damaged = 0
        """Bytes between its records that are not a record, and are lost. Known when the segment has been read."""
        self.torn = 0
        """Bytes after its last record: from a write that was cut, or is going on."""
        self.places: list[tuple[int, int]] = []
        """Some records as (sequence, offset of the byte after it), so that a reader need not start at the beginning."""

    def note_place(self, offset: int) -> None:
        """Note that the last record ends at an offset."""
        if offset - (self.places[-1][1] if self.places else 0) > PLACE_BYTES:
            self.places.append((self.last, offset))

    @property
    def empty(self) -> bool:
        """Whether it holds no record."""
        return self.last < self.first

    def records(self, writer: str, after: tuple[int, int] = (0, 0)) -> Iterator[tuple[int, bytes]]:
        """Yield (sequence, payload) of every whole record, or of those after a mark: one that is torn at the end, or
        damaged, is left out.

        Raises JournalDamaged when the file is not a segment of this writer.
        """
        with self.path.open("rb") as file:
            head = file.read(START)
            begin = max(START, after[1])
            file.seek(begin)
            data = file.read()
        self.size = begin + len(data) if len(head) == START else len(head)
        if len(head) < START or not any(head):
            # The crash came between the file's creation and its first record; nothing in it was acknowledged.
            return
        if head != MAGIC + bytes.fromhex(writer):
            raise JournalDamaged(f"{self.path} is not a journal segment of writer {writer}")
        if after[1]:
            self.last = after[0]
        offset = whole = 0
        while offset + RECORD.size <= len(data):
            length, crc, sequence = RECORD.unpack_from(data, offset)
            payload = data[offset + RECORD.size : offset + RECORD.size + length]
            # No more sequences are missing between two records than their bytes can have held.
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
            self.whole = begin + offset
            self.note_place(self.whole)
            yield sequence, payload
        self.torn = len(data) - whole
