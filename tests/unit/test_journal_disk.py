"""What a journal does when the disk fails between two hits, and how much of it its files may take."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

import pytest

from tests.journals import HOUR, MIB, fill, kept, numbered, opened, segments
from visitstats import journal as journals
from visitstats import outcomes
from visitstats.closed_journal import ClosedJournal
from visitstats.core.errors import JournalFull
from visitstats.durable import put_in_place
from visitstats.journal import Journal


def files(root: Path) -> int:
    """The bytes of all segments and outcomes."""
    return sum(path.stat().st_size for path in root.glob("00/0*"))


def test_outcomes_count_towards_the_budget(tmp_path: Path) -> None:
    """Applied records make room for them, and hits are refused before both together are more."""
    with opened(tmp_path, max_bytes=4000, fsync=False) as journal:
        for n in range(1, 60):
            fill(journal, 1)
            journal.note_outcomes([(n, b"x" * 80)])
            journal.applied = n
            assert journal.size == files(tmp_path)
            assert journal.size <= 4000 + 120  # what was decided is kept first, and room is made with the next record
        assert journal.last_sequence == 59
        refused = ""
        for n in range(60, 200):  # none of these is applied
            try:
                fill(journal, 1)
            except JournalFull as error:
                refused = str(error)
                break
            journal.note_outcomes([(n, b"x" * 80)])
        assert "budget of 4000 bytes" in refused
        assert list(journal.read(59)) == numbered(journal.last_sequence)[59:]
        assert sum(path.stat().st_size for path in segments(tmp_path)) < 2500
    with opened(tmp_path, max_bytes=4000) as journal:
        assert journal.size == files(tmp_path)


def test_outcomes_that_the_disk_takes_in_part_are_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Half an outcome is of no use to anybody, and would be told as damage."""
    with opened(tmp_path) as journal:
        fill(journal, 2)
        journal.note_outcomes([(1, b"first")])
        real, calls = os.write, []

        def half(file: int, data: bytes) -> int:
            calls.append(len(data))
            if len(calls) > 1:
                raise OSError(errno.ENOSPC, "No space left on device")
            return real(file, bytes(data)[: len(data) // 2])

        with monkeypatch.context() as patch:
            patch.setattr(os, "write", half)
            journal.note_outcomes([(2, b"second")])
        assert len(calls) == 2
        assert "No space left" in caplog.text
        found, damage = outcomes.read(segments(tmp_path)[0], journal.writer)
        assert (found, damage) == ({1: b"first"}, "")
        assert journal.size == files(tmp_path)


@pytest.mark.parametrize("call", ["write", "fsync"])
def test_a_segment_that_was_not_begun_well_is_never_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """The disk fails when pruning begins a segment, and works again at the next hit: with half a header, or without its
    name on the disk, what is acknowledged in it could never be read."""
    real = getattr(os, call)

    def fails(file: int, data: bytes = b"") -> int:
        if call == "write":
            real(file, bytes(data)[:5])
        raise OSError(errno.EIO, "Input/output error")

    with opened(tmp_path) as journal:
        fill(journal, 2)
        with monkeypatch.context() as patch:
            patch.setattr(os, call, fails)
            with pytest.raises(OSError, match="Input/output"):
                journal.prune(segments(tmp_path)[0].stat().st_mtime + HOUR)
        fill(journal, 2)
        assert list(journal.read(0)) == numbered(4)
    assert kept(tmp_path) == numbered(4)


def test_a_journal_that_cannot_be_pruned_refuses_and_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    with opened(tmp_path, max_bytes=1000) as journal:
        while journal.size < 900:
            fill(journal, 1)
            journal.applied = journal.last_sequence
        before = list(journal.read(0))
        with monkeypatch.context() as patch:
            patch.setattr(os, "unlink", fails)
            with pytest.raises(JournalFull, match="cannot be pruned: Read-only"):
                journal.append([b"x" * 200])
            with pytest.raises(JournalFull, match="Read-only"):
                journal.probe()
        assert list(journal.read(0)) == before
        journal.probe()
        journal.append([b"x" * 200])


def test_a_probe_says_whether_what_was_refused_would_be_taken_and_takes_nothing(tmp_path: Path) -> None:
    with opened(tmp_path, max_bytes=1000) as journal:
        fill(journal, 10)
        with pytest.raises(JournalFull, match="budget"):
            journal.append([b"x" * 900])
        with pytest.raises(JournalFull, match="budget"):
            journal.probe()
        fill(journal, 1)  # a smaller one has room
        journal.probe()
        assert list(journal.read(0)) == numbered(11)


def test_a_slot_that_could_not_be_opened_is_not_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that tries again until the disk is well must not find itself in its own way."""

    def fails(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    before = set(os.listdir("/proc/self/fd")) if sys.platform == "linux" else set()
    for _ in range(3):
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", fails)
            with pytest.raises(JournalFull, match="cannot be opened: Input/output error"):
                kept(tmp_path)
    assert not before or len(os.listdir("/proc/self/fd")) == len(before)
    with opened(tmp_path) as journal:
        assert journal.number == 0


def test_a_slot_that_cannot_be_read_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A bad sector under old records: hits go to the next slot, and neighbours see to the other ones."""
    with opened(tmp_path) as first, opened(tmp_path) as second:
        fill(first, 2)
        fill(second, 3)
    real = Path.read_bytes

    def fails(path: Path) -> bytes:
        if path.suffix == ".log" and path.parent.name == "00":
            raise OSError(errno.EIO, "Input/output error")
        return real(path)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", fails)
        with opened(tmp_path) as journal:
            assert journal.number == 1
        left = [journal.number for journal in Journal.open_abandoned(tmp_path, {}, max_bytes=MIB, keep_seconds=HOUR)]
        assert left == [1]
    assert caplog.text.count("slot 00 is left alone") == 2
    assert kept(tmp_path) == numbered(2)


def test_a_rewritten_segment_is_never_younger_than_its_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even when the process dies as soon as it is in its place: it is deleted by its age."""
    with opened(tmp_path, keep_seconds=24 * HOUR) as journal:
        fill(journal, 2)
        journal.note_outcomes([(1, b"one"), (2, b"two")])
        journal.applied = 2
        [segment] = segments(tmp_path)
        then = segment.stat().st_mtime - 2 * HOUR
        os.utime(segment, (then, then))
        journal.prune(then + 3 * HOUR + 1)  # ends it

        def dies(fresh: Path, path: Path) -> None:
            put_in_place(fresh, path)
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(journals, "put_in_place", dies)
            with pytest.raises(KeyboardInterrupt):
                journal.reduce(then + 2 * HOUR, lambda payload, outcome: outcome)
        assert segment.stat().st_mtime == pytest.approx(then, abs=0.001)
    assert kept(tmp_path) == [(1, b"one"), (2, b"two")]


def test_what_stands_in_for_a_journal_takes_nothing_and_says_why() -> None:
    closed = ClosedJournal("the disk is read-only")
    with pytest.raises(JournalFull, match="the disk is read-only"):
        closed.append([b"hit"])
    with pytest.raises(JournalFull, match="the disk is read-only"):
        closed.probe()
    closed.prune(0.0)
    closed.note_outcomes([(1, b"outcome")])
    assert (closed.size, closed.last_sequence, list(closed.read_decided(0)), closed.reducible(0.0)) == (0, 0, [], [])
    closed.close()
