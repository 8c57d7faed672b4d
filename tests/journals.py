"""Journals for the tests: opened and closed, filled, and read as another process would."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from visitstats.journal.log import OpenJournal
from visitstats.journal.segments import Segment

MIB = 1 << 20
HOUR = 3600.0


@contextmanager
def opened(
    root: Path, *, max_bytes: int = MIB, keep_seconds: float = HOUR, fsync: bool = True, above: int = 0
) -> Iterator[OpenJournal]:
    journal = OpenJournal.open(root, max_bytes=max_bytes, keep_seconds=keep_seconds, fsync=fsync, above=above)
    try:
        yield journal
    finally:
        journal.close()


def kept(root: Path, after: int = 0) -> list[tuple[int, bytes]]:
    """What another process would find in the journal."""
    with opened(root) as journal:
        firsts = [int(path.stem, 16) for path in segments(root)]
        return [
            record
            for path, first, end in zip(segments(root), firsts, [*firsts[1:], None], strict=True)
            for record in Segment(path, first, end).records(journal.writer)
            if record[0] > after
        ]


def segments(root: Path) -> list[Path]:
    return sorted(root.glob("00/*.log"))


def numbered(count: int) -> list[tuple[int, bytes]]:
    return [(n, b"payload %d" % n) for n in range(1, count + 1)]


def fill(journal: OpenJournal, count: int) -> None:
    for _ in range(count):
        journal.append([b"payload %d" % (journal.last_sequence + 1)])
