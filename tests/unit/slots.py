"""Slots of a journal for the tests of this folder: written by one process, and read as another would."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from visitstats.core.batch import ChangeRecord, Record, encode
from visitstats.journal.log import OpenJournal
from visitstats.journal.reader import Slot

MIB = 1 << 20
HOUR = 3600.0
NOON = 1_795_500_000_000
MEMORY = Path("/dev/shm")


@contextmanager
def folder_in_memory() -> Iterator[Path]:
    """A fresh folder, on a tmpfs where there is one: an fsync costs nothing there."""
    path = Path(tempfile.mkdtemp(prefix="visitstats-", dir=MEMORY if MEMORY.is_dir() else None))
    try:
        yield path
    finally:
        shutil.rmtree(path)


@contextmanager
def opened(
    root: Path, *, max_bytes: int = MIB, keep_seconds: float = HOUR, fsync: bool = True, above: int = 0
) -> Iterator[OpenJournal]:
    journal = OpenJournal.open(root, max_bytes=max_bytes, keep_seconds=keep_seconds, fsync=fsync, above=above)
    try:
        yield journal
    finally:
        journal.close()


def change(n: int, site: str = "s", *, previous: int | None = None, at_ms: int | None = None) -> ChangeRecord:
    """The smallest record that there is, with a number by which it is known again."""
    return ChangeRecord(
        site, n - 1 if previous is None else previous, n, NOON + n if at_ms is None else at_ms, "note", b"%06d" % n
    )


def payload(n: int) -> bytes:
    return encode(change(n))


def numbered(count: int, first: int = 1) -> list[tuple[int, Record]]:
    return [(n, change(n)) for n in range(first, count + 1)]


def fill(journal: OpenJournal, count: int) -> None:
    for _ in range(count):
        journal.append([payload(journal.last_sequence + 1)])


def kept(root: Path, number: int = 0) -> list[tuple[int, Record]]:
    """What another process finds in a slot."""
    return list(Slot(root / f"{number:02d}").fresh())


def segments(root: Path, number: int = 0) -> list[Path]:
    return sorted((root / f"{number:02d}").glob("*.log"))
