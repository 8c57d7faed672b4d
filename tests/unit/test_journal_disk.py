"""What a journal does when the disk fails between two hits, and how much of it its files may take."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.unit.slots import HOUR, MIB, fill, kept, numbered, opened, payload, segments
from visitstats.core.errors import JournalFull
from visitstats.journal.closed import ClosedJournal
from visitstats.journal.log import Journal, OpenJournal
from visitstats.journal.reader import Slot


@pytest.mark.parametrize("call", ["write", "fsync"])
def test_a_segment_that_was_not_begun_well_is_never_written(
    root: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """The disk fails when pruning begins a segment, and works again at the next hit: with half a header, or without its
    name on the disk, what is acknowledged in it could never be read."""
    real = getattr(os, call)

    def fails(file: int, data: bytes = b"") -> int:
        if call == "write":
            real(file, bytes(data)[:5])
        raise OSError(errno.EIO, "Input/output error")

    with opened(root) as journal:
        fill(journal, 2)
        with monkeypatch.context() as patch:
            patch.setattr(os, call, fails)
            with pytest.raises(OSError, match="Input/output"):
                journal.prune(segments(root)[0].stat().st_mtime + HOUR)
        fill(journal, 2)
        assert kept(root) == numbered(4)
    assert kept(root) == numbered(4)


def test_a_journal_that_cannot_be_pruned_refuses_and_says_why(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    with opened(root, max_bytes=1000) as journal:
        while journal.size < 900:
            fill(journal, 1)
            journal.applied = journal.last_sequence
        before = kept(root)
        with monkeypatch.context() as patch:
            patch.setattr(os, "unlink", fails)
            with pytest.raises(JournalFull, match="cannot be pruned: Read-only"):
                journal.append([b"x" * 200])
            with pytest.raises(JournalFull, match="Read-only"):
                journal.probe()
        assert kept(root) == before
        journal.probe()
        journal.append([b"x" * 200])


def test_a_probe_says_whether_what_was_refused_would_be_taken_and_takes_nothing(root: Path) -> None:
    with opened(root, max_bytes=1000) as journal:
        fill(journal, 10)
        with pytest.raises(JournalFull, match="budget"):
            journal.append([b"x" * 900])
        with pytest.raises(JournalFull, match="budget"):
            journal.probe()
        fill(journal, 1)  # a smaller one has room
        journal.probe()
        assert kept(root) == numbered(11)


def test_a_slot_that_could_not_be_opened_is_not_held(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that tries again until the disk is well must not find itself in its own way."""

    def fails(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    before = set(os.listdir("/proc/self/fd")) if sys.platform == "linux" else set()
    for _ in range(3):
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", fails)
            with pytest.raises(JournalFull, match="cannot be opened: Input/output error"), opened(root):
                pass
    assert not before or len(os.listdir("/proc/self/fd")) == len(before)
    with opened(root) as journal:
        assert journal.number == 0


@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES])
def test_a_slot_that_cannot_be_read_is_left_alone(
    root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, number: int
) -> None:
    """A bad sector under old records, files that belong to another user: hits go to the next slot."""
    with opened(root) as first, opened(root) as second:
        fill(first, 2)
        fill(second, 3)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", failing_at(root / "00", number))
        with opened(root) as journal:
            assert journal.number == 1
        with pytest.raises(OSError, match=os.strerror(number)):
            OpenJournal.take_over(root / "00", max_bytes=MIB, keep_seconds=HOUR)
    assert "slot 00 is left alone" in caplog.text
    with opened(root) as journal:
        assert journal.number == 0
    assert kept(root) == numbered(2)


def failing_at(folder: Path, number: int) -> Any:
    """What opens files, but not the segments in a folder."""
    real = Path.open

    def open_or_fail(path: Path, *arguments: Any, **named: Any) -> Any:
        if path.suffix == ".log" and path.parent == folder:
            raise OSError(number, os.strerror(number), str(path))
        return real(path, *arguments, **named)

    return open_or_fail


def test_a_segment_that_the_disk_has_lost_is_told_as_damage(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is in the other ones is read all the same."""
    for _ in range(2):
        with opened(root) as journal:
            fill(journal, 2)
    old, newest = segments(root)
    newest.rename(root / "newest.log")
    slot = Slot(root / "00")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", failing_at(root / "00", errno.EIO))
        slot.scan()
        (root / "newest.log").rename(newest)
    assert slot.damage == [f"[Errno 5] Input/output error: '{old}'"]
    assert [sequence for sequence, _ in slot.fresh()][-2:] == [3, 4]


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
def test_records_that_cannot_be_read_just_now_are_not_taken_for_lost(
    root: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """A process that is short of files or memory for a moment says so and tries again. A replay that went on would take
    the records for records that have vanished, and leave them behind for ever."""
    for _ in range(3):
        with opened(root) as journal:
            fill(journal, 2)
    fresh, known = Slot(root / "00"), Slot(root / "00")
    known.scan()
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", failing_at(root / "00", number))
        for _ in range(2):
            with pytest.raises(OSError, match=os.strerror(number)):
                fresh.scan()
        with pytest.raises(OSError, match=os.strerror(number)):
            list(known.above({"s": 0}))
    assert list(fresh.fresh()) == numbered(6)
    assert list(known.above({"s": 0})) == numbered(6)
    assert (fresh.damage, known.damage) == ([], [])


def test_what_stands_in_for_a_journal_takes_nothing_and_says_why() -> None:
    closed: Journal = ClosedJournal("the disk is read-only")
    for durable in (True, False):
        with pytest.raises(JournalFull, match="the disk is read-only"):
            closed.append([payload(1)], durable=durable)
    with pytest.raises(JournalFull, match="the disk is read-only"):
        closed.probe()
    closed.prune(0.0)
    closed.prune(None)
    assert (closed.size, closed.last_sequence, closed.number) == (0, 0, -1)
    assert closed.reason == "the disk is read-only"
    closed.close()


def test_two_that_stand_in_for_a_journal_are_two_writers() -> None:
    """Their watermarks are never asked for as one."""
    assert ClosedJournal("a").writer != ClosedJournal("a").writer


def test_an_open_journal_has_no_reason_not_to_take_hits(root: Path) -> None:
    with opened(root) as journal:
        taken: Journal = journal
        assert taken.reason == ""
