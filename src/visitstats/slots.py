"""The slots of a journal as they are seen from outside, by commands beside a running service. Read only.

A slot that a process holds is not locked, not waited for and not written: its newest records may be missing here, and a
record that is being written looks like a torn end. A free slot's lock is tried for an instant (shared), so that a
worker that starts in that very instant takes the next slot instead.
"""

import fcntl
import os
import re
from collections.abc import Iterator
from pathlib import Path

import msgspec

from visitstats import outcomes
from visitstats.core.batch import Batch, decided, decode
from visitstats.core.errors import JournalDamaged
from visitstats.segments import NAME, WRITER_BYTES, Segment
from visitstats.store import keys
from visitstats.store.reads import Reads

_WRITER = re.compile(rf"[0-9a-f]{{{2 * WRITER_BYTES}}}")
_SEGMENT = f"{NAME}.log"


class Slot:
    """One slot. What reading it brought up is in `damage` and `torn` when `batches` has come to its end."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.number = int(directory.name)
        self.writer = _writer_of(directory)
        """The writer id; empty when it cannot be read."""
        self.held = _held(directory / "lock")
        """Whether a process has it now."""
        self.first = 0
        """The lowest sequence that may still be found in it, 0 for none."""
        self.last = 0
        """The highest that was found."""
        self.records = 0
        self.size = 0
        """Bytes on disk."""
        self.since_ms = 0
        """When its oldest record was received, to the half hour, in milliseconds since the epoch; 0 for no record."""
        self.damage: list[str] = []
        """What cannot be read, one line each."""
        self.torn: list[str] = []
        """Ends of segments that are no record: what a crash leaves, and was never acknowledged."""
        self.outcomes: list[str] = []
        """What is wrong with outcomes, one line for each file; the batches are decided again when that is needed."""
        self.old: dict[str, int] = {}
        """Site → the newest record that the store decided about, of those that `batches` was told are old."""

    def batches(self, old_before_ms: int = 0) -> Iterator[tuple[int, Batch]]:
        """Yield (sequence, batch) of every record, in order. Old are those that were received before a moment."""
        self.damage = [] if self.writer else [f"{self.directory / 'writer'} does not hold a writer id"]
        self.torn = []
        self.outcomes = []
        self.old = {}
        self.records = self.size = self.last = self.since_ms = 0
        paths = sorted(self.directory.glob(_SEGMENT)) if self.writer else []
        firsts = [int(path.stem, 16) for path in paths]
        self.first = firsts[0] if firsts else 0
        for path, first, end in zip(paths, firsts, [*firsts[1:], None], strict=False):
            segment = Segment(path, first, end)
            sequences = set()
            # Before the segment: what is decided is in it by then.
            known, wrong = outcomes.read(path, self.writer)
            try:
                for sequence, payload in segment.records(self.writer):
                    self.records += 1
                    self.last = sequence
                    sequences.add(sequence)
                    if batch := self._decode(path, sequence, payload):
                        if batch.received_ms < old_before_ms and decided(payload, known.get(sequence, b"")):
                            self.old[batch.site] = sequence
                        yield sequence, batch
            except FileNotFoundError:
                continue  # pruned since we looked: it was applied
            except (OSError, JournalDamaged) as error:
                self.damage.append(str(error))
            self.size += segment.size + outcomes.size_of(path)
            if foreign := sorted(known.keys() - sequences):
                wrong = wrong or f"{len(foreign)} are of records that it does not have, the first of {foreign[0]}"
            if wrong:
                self.outcomes.append(f"the outcomes of {path}: {wrong}")
            if segment.damaged:
                self.damage.append(f"{path}: {segment.damaged} bytes between its records are no record")
            if segment.torn:
                self.torn.append(f"{path} ends with {segment.torn} bytes that are no record")

    def _decode(self, path: Path, sequence: int, payload: bytes) -> Batch | None:
        try:
            batch = decode(payload)
        except msgspec.DecodeError as error:
            self.damage.append(f"{path}: record {sequence} is not a batch: {error}")
            return None
        if not self.since_ms:
            self.since_ms = batch.received_ms
        return batch

    def reached(self, site: str, mark: int) -> int:
        """Return the sequence up to which the store has a site's batches, by its watermark (as `visitstats.replay` has
        it)."""
        return mark or self.old.get(site, 0)


class Status(msgspec.Struct, frozen=True):
    """A slot and what of it is not in the store yet."""

    slot: int
    writer: str
    held: bool
    first: int
    last: int
    records: int
    bytes: int
    since_ms: int
    waiting: dict[str, int] | None
    """Site → records that the store does not have; None when it does not answer."""
    damage: list[str]
    torn: list[str]


async def survey(root: Path, reads: Reads | None, now_ms: int) -> list[Status]:
    """Look at all slots, and with `reads` at what the store has of them. Raises StoreUnavailable."""
    found = []
    for slot in slots_of(root):
        sequences: dict[str, list[int]] = {}
        for sequence, batch in slot.batches(keys.forgotten_before(now_ms)):
            sequences.setdefault(batch.site, []).append(sequence)
        waiting = None
        if reads is not None:
            marks = await reads.watermarks(list(sequences), slot.writer)
            reached = {site: slot.reached(site, marks[site]) for site in sequences}
            counts = {site: sum(n > reached[site] for n in numbers) for site, numbers in sequences.items()}
            waiting = {site: n for site, n in sorted(counts.items()) if n}
        found.append(
            Status(
                slot.number, slot.writer, slot.held, slot.first, slot.last, slot.records, slot.size, slot.since_ms,
                waiting, slot.damage, slot.torn,
            )
        )  # fmt: skip
    return found


def slots_of(root: Path) -> list[Slot]:
    """Return the slots of a journal that were ever used, in the order of their numbers."""
    found = [path for path in root.glob("[0-9][0-9]*") if path.name.isdigit() and (path / "writer").exists()]
    return [Slot(path) for path in sorted(found, key=lambda path: int(path.name))]


def _writer_of(directory: Path) -> str:
    try:
        writer = (directory / "writer").read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""
    return writer if _WRITER.fullmatch(writer) else ""


def _held(lock: Path) -> bool:
    try:
        handle = os.open(lock, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False
