"""Outcomes: what the store decided about a batch, kept beside the journal so that it is never decided again.

A batch in the journal says who read what; its outcome says what that counted for (`core.batch.Decision`). When a store
comes back older, a replay repeats the outcomes: the numbers are the same as before, even when the sets that decided
them have expired since. Nothing of it is needed to be exact after an ordinary crash, so that it is not fsynced.

    journal/00/0000000000000001.out    the outcomes of 0000000000000001.log

The file begins with MAGIC and the writer id; its records are framed like the journal's, in any order, the last one of a
sequence wins. What is torn or damaged is left out: then the batch is decided again. When a segment is reduced, the
outcomes move into its records, and the file goes.
"""

import contextlib
import logging
import os
from pathlib import Path

import google_crc32c

from visitstats.durable import write_all
from visitstats.framing import RECORD, SEQUENCE, frame

log = logging.getLogger(__name__)

MAGIC = b"vsoutc1\n"
SUFFIX = ".out"


def path_of(segment: Path) -> Path:
    """Return where the outcomes of a segment are."""
    return segment.with_suffix(SUFFIX)


def size_of(segment: Path) -> int:
    """Return how many bytes of outcomes a segment has. Raises OSError."""
    try:
        return path_of(segment).stat().st_size
    except FileNotFoundError:
        return 0


def add(segment: Path, writer: str, outcomes: list[tuple[int, bytes]]) -> int:
    """Add outcomes, as (sequence, payload), to those of a segment, and return how many bytes it has of them now. Raises
    OSError; then none of them was added, if the disk lets that be taken back."""
    file = os.open(path_of(segment), os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        before = os.fstat(file).st_size
        head = b"" if before else MAGIC + bytes.fromhex(writer)
        data = head + b"".join(frame(sequence, payload) for sequence, payload in outcomes)
        try:
            write_all(file, data)
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(file, before)
            raise
        return before + len(data)
    finally:
        os.close(file)


def load(segment: Path, writer: str) -> dict[int, bytes]:
    """Return the outcomes of a segment by sequence; what cannot be read is left out, and logged."""
    found, damage = read(segment, writer)
    if damage:
        log.warning("the outcomes of %s are damaged: %s; those batches are decided again", segment.name, damage)
    return found


def read(segment: Path, writer: str) -> tuple[dict[int, bytes], str]:
    """Return the outcomes of a segment by sequence, and what is wrong with their file, empty for nothing."""
    try:
        data = path_of(segment).read_bytes()
    except FileNotFoundError:
        return {}, ""
    except OSError as error:
        return {}, f"they cannot be read: {error.strerror or error}"
    if not data:
        return {}, ""  # made, and not written yet
    head = MAGIC + bytes.fromhex(writer)
    if not data.startswith(head):
        return {}, f"they do not begin as those of writer {writer} do"
    found: dict[int, bytes] = {}
    offset = whole = len(head)
    while offset + RECORD.size <= len(data):
        length, crc, sequence = RECORD.unpack_from(data, offset)
        payload = data[offset + RECORD.size : offset + RECORD.size + length]
        if len(payload) < length or google_crc32c.value(SEQUENCE.pack(sequence) + payload) != crc:
            offset += 1  # behind a torn one there may be others, of a later process
            continue
        found[sequence] = payload
        offset += RECORD.size + length
        whole += RECORD.size + length
    return found, f"{len(data) - whole} bytes are no record" if whole < len(data) else ""
