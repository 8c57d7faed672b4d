"""Outcomes beside the journal: what was decided is found again, or is decided again; nothing in between."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.journals import MIB, fill, kept, numbered, opened, segments
from visitstats import journal as journals
from visitstats import outcomes
from visitstats.core.batch import Decision, encode_decision
from visitstats.framing import RECORD
from visitstats.journal import REDUCE_SECONDS, Journal

DAY = 24 * 3600.0
OUTCOMES = [(n, b"outcome %d" % n) for n in range(1, 4)]


def decided(root: Path, after: int = 0) -> list[tuple[int, bytes, bytes]]:
    """What a replay would find."""
    with opened(root, keep_seconds=DAY) as journal:
        return list(journal.read_decided(after))


def filled(root: Path) -> Path:
    """A journal of three records that are decided; the path of their outcomes."""
    with opened(root, keep_seconds=DAY) as journal:
        fill(journal, 3)
        journal.note_outcomes(OUTCOMES)
    return outcomes.path_of(segments(root)[0])


def moved_in(payload: bytes, outcome: bytes) -> bytes:
    """Stands for `core.batch.reduce`: the outcome goes into the record."""
    return b"reduced %s" % outcome


def age(path: Path, seconds: float, now: float) -> None:
    os.utime(path, (now - seconds, now - seconds))


# On disk --------------------------------------------------------------------------------------------------------------


def test_the_bytes_on_disk_are_frozen(tmp_path: Path) -> None:
    """A later version repeats what this one decided."""
    slot = tmp_path / "00"
    slot.mkdir()
    (slot / "writer").write_text("000102030405060708090a0b0c0d0e0f")
    with opened(tmp_path) as journal:
        journal.append([b"batch"])
        journal.note_outcomes([(1, encode_decision(Decision(b"\x05\xff", 1, (2, -3), b"\x03\x00")))])
    assert (slot / "0000000000000001.out").read_bytes() == bytes.fromhex(
        "76736f757463310a"  # vsoutc1
        "000102030405060708090a0b0c0d0e0f"
        "0d000000 1e446d25 0100000000000000"
        "94 c40205ff 01 92 02fd c4020300"
    )


def test_outcomes_are_nobody_elses_business(tmp_path: Path) -> None:
    """Readable for the service's own user alone, also after a segment was rewritten, and under any umask."""
    old = os.umask(0)
    try:
        path = filled(tmp_path)
        assert path.stat().st_mode & 0o777 == 0o600
        with opened(tmp_path, keep_seconds=DAY) as journal:
            reduce_all(journal, tmp_path)
        modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "00").iterdir()}
    finally:
        os.umask(old)
    assert set(modes.values()) == {0o600}, modes


def test_every_record_comes_with_its_outcome(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In whichever segment it is, however late it was noted; the last one that was noted counts."""
    monkeypatch.setattr(journals, "SEGMENT_BYTES", 1)
    with opened(tmp_path) as journal:
        fill(journal, 5)
        journal.note_outcomes([(4, b"four"), (1, b"wrong")])
        journal.note_outcomes([(1, b"one"), (2, b"two")])
        assert len(segments(tmp_path)) == 5
        expected = [
            (n, payload, {1: b"one", 2: b"two", 4: b"four"}.get(n, b"")) for n, payload in numbered(5)
        ]  # fmt: skip
        assert list(journal.read_decided(0)) == expected
        assert list(journal.read_decided(3)) == expected[3:]
    assert decided(tmp_path) == expected


def test_an_outcome_whose_record_is_gone_is_not_kept(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        journal.note_outcomes([(7, b"of a pruned segment")])
    assert list((tmp_path / "00").glob("*.out")) == []


def test_a_disk_that_refuses_outcomes_costs_nothing_but_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with opened(tmp_path) as journal:
        fill(journal, 2)
        monkeypatch.setattr(outcomes, "write_all", full)
        journal.note_outcomes(OUTCOMES[:2])
        assert "No space left" in caplog.text
        fill(journal, 1)
    assert decided(tmp_path) == [(n, payload, b"") for n, payload in numbered(3)]


# Damage ---------------------------------------------------------------------------------------------------------------


def test_outcomes_that_were_torn_anywhere_are_decided_again(tmp_path: Path) -> None:
    """The records themselves are all there; the outcomes before the tear are still used."""
    path = filled(tmp_path)
    whole = path.read_bytes()
    ends = [len(whole) - n * (RECORD.size + len(b"outcome 1")) for n in (2, 1, 0)]
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        found = decided(tmp_path)
        assert [record[:2] for record in found] == numbered(3)
        assert [outcome for _, _, outcome in found] == [
            outcome if end <= size else b"" for (_, outcome), end in zip(OUTCOMES, ends, strict=True)
        ]


def test_outcomes_with_a_flipped_bit_are_never_used(tmp_path: Path) -> None:
    path = filled(tmp_path)
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :])
        found = decided(tmp_path)
        assert [record[:2] for record in found] == numbered(3)
        assert all(outcome in (b"", b"outcome %d" % n) for n, _, outcome in found), place
        assert any(not outcome for _, _, outcome in found), place


@pytest.mark.parametrize("name", ["another writer's", "none", "empty", "a folder"])
def test_a_file_that_is_no_outcomes_is_not_used(tmp_path: Path, name: str) -> None:
    path = filled(tmp_path)
    whole = path.read_bytes()
    path.unlink()
    if name == "another writer's":
        path.write_bytes(whole[:8] + bytes(16) + whole[24:])
    elif name == "empty":
        path.touch()
    elif name == "a folder":
        path.mkdir()
    assert decided(tmp_path) == [(n, payload, b"") for n, payload in numbered(3)]
    with opened(tmp_path) as journal:  # and life goes on
        fill(journal, 1)


def test_outcomes_after_a_tear_are_found_again(tmp_path: Path) -> None:
    """A crash tore the file; what is noted from then on must not be lost behind the tear."""
    path = filled(tmp_path)
    path.write_bytes(path.read_bytes()[:-3])
    with opened(tmp_path) as journal:
        journal.note_outcomes([(3, b"once more")])
    assert decided(tmp_path)[2] == (3, b"payload 3", b"once more")


# With the segments ----------------------------------------------------------------------------------------------------


def test_outcomes_are_deleted_with_their_segment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journals, "SEGMENT_BYTES", 1)
    with opened(tmp_path, keep_seconds=DAY) as journal:
        fill(journal, 3)
        journal.note_outcomes(OUTCOMES)
        journal.applied = 3
        now = segments(tmp_path)[0].stat().st_mtime
        journal.prune(now + 2 * DAY)
        assert len(segments(tmp_path)) == 1
        assert list((tmp_path / "00").glob("*.out")) == []


def test_what_a_crash_left_between_two_steps_is_cleared(tmp_path: Path) -> None:
    """Between the deletion of a segment and that of its outcomes; before a rewritten segment took its place."""
    path = filled(tmp_path)
    slot = tmp_path / "00"
    shutil.copy(path, slot / "0000000000000000.out")
    (slot / "0000000000000001.log.new").write_bytes(b"half of it")
    (slot / "mine.out").touch()
    with opened(tmp_path) as journal:
        assert [outcome for _, _, outcome in journal.read_decided(0)] == [outcome for _, outcome in OUTCOMES]
    assert {path.name for path in slot.iterdir()} == {
        "0000000000000001.log", "0000000000000001.out", "lock", "mine.out", "place", "writer",
    }  # fmt: skip


# Reduced --------------------------------------------------------------------------------------------------------------


def reduce_all(journal: Journal, root: Path) -> None:
    """Everything is applied and two hours old."""
    journal.applied = journal.last_sequence
    fill(journal, 0 if len(journal._segments) > 1 else 1)
    now = 2e9
    for path in segments(root):
        age(path, 2 * REDUCE_SECONDS, now)
    journal.prune(now)  # ends the newest
    journal.reduce(now, moved_in)


def test_a_segment_of_an_hour_is_reduced_and_keeps_its_age(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not one that is younger, not one that is written, and not one that is not applied; what has no outcome stays."""
    monkeypatch.setattr(journals, "SEGMENT_BYTES", 1)
    with opened(tmp_path, keep_seconds=DAY) as journal:
        fill(journal, 5)
        journal.note_outcomes([(n, b"outcome %d" % n) for n in (1, 3, 4, 5)])
        journal.applied = 3
        now = 2e9
        for path, seconds in zip(segments(tmp_path), (7200, 7200, 60, 7200, 7200), strict=True):
            age(path, seconds, now)
        reduced = [*numbered(5)]
        reduced[0] = (1, b"reduced outcome 1")
        for _ in range(2):
            journal.reduce(now, moved_in)
            assert list(journal.read(0)) == reduced
        assert segments(tmp_path)[0].stat().st_mtime == now - 7200
        assert not outcomes.path_of(segments(tmp_path)[0]).exists()
        journal.applied = 5
        journal.reduce(now + REDUCE_SECONDS, moved_in)
        reduced[2:4] = [(3, b"reduced outcome 3"), (4, b"reduced outcome 4")]
        assert list(journal.read(0)) == reduced
        assert journal.size == sum(path.stat().st_size for path in tmp_path.glob("00/0*"))
    assert kept(tmp_path) == reduced


def test_no_record_waits_longer_than_two_hours(tmp_path: Path) -> None:
    """The segment that is being written is ended when it is an hour old, and reduced an hour later."""
    with opened(tmp_path, keep_seconds=DAY) as journal:
        fill(journal, 1)
        journal.note_outcomes(OUTCOMES[:1])
        journal.applied = 1
        begun = segments(tmp_path)[0].stat().st_mtime
        for minutes in range(125):
            journal.prune(begun + 60 * minutes)
            journal.reduce(begun + 60 * minutes, moved_in)
        assert list(journal.read(0)) == [(1, b"reduced outcome 1")]


def test_records_behind_damage_outlive_a_rewrite(tmp_path: Path) -> None:
    """Whatever a bad sector took, the records after it are still read when the segment was reduced, twice."""
    for damaged in (1, 2):
        root = tmp_path / str(damaged)
        path = filled(root)
        log = path.with_suffix(".log")
        data = bytearray(log.read_bytes())
        data[data.index(b"payload %d" % damaged)] ^= 1
        log.write_bytes(bytes(data))
        for _ in range(2):
            with opened(root, keep_seconds=DAY) as journal:
                reduce_all(journal, root)
                found = [record for record in journal.read(0) if record[0] <= 3]
                assert found == [(n, b"reduced outcome %d" % n) for n in (1, 2, 3) if n != damaged]


def test_an_outcome_of_the_past_and_a_reduced_record_are_one_file(tmp_path: Path) -> None:
    """A crash at any step of the rewriting leaves either the old record with its outcome or the new one."""
    before, after = tmp_path / "before", tmp_path / "after"
    filled(before)
    shutil.copytree(before, after, copy_function=os.link)
    with opened(before, keep_seconds=DAY) as journal:
        steps: list[str] = []

        def crash(step: str) -> None:
            steps.append(step)
            raise KeyboardInterrupt

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "replace", lambda *_: crash("replace"))
            with pytest.raises(KeyboardInterrupt):
                reduce_all(journal, before)
        assert list(journal.read_decided(0))[:3] == [(n, b"payload %d" % n, outcome) for n, outcome in OUTCOMES]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Path, "unlink", lambda *_, **__: crash("unlink"))
            with pytest.raises(KeyboardInterrupt):
                journal.reduce(2e9, moved_in)
        assert [payload for _, payload, _ in journal.read_decided(0)][:3] == [
            b"reduced outcome %d" % n for n in (1, 2, 3)
        ]
    assert steps == ["replace", "unlink"]


# Copies ---------------------------------------------------------------------------------------------------------------


def test_a_copy_of_a_slot_is_not_written(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Two processes with one writer id would use the same numbers for different hits, and the store would keep one."""
    filled(tmp_path / "first")
    shutil.copytree(tmp_path / "first", tmp_path / "second")
    with opened(tmp_path / "first") as first, opened(tmp_path / "second") as second:
        assert second.writer != first.writer
        assert (first.number, second.number) == (0, 1)
        assert "is a copy of a slot" in caplog.text
        fill(second, 1)
    found = []
    for journal in Journal.open_abandoned(tmp_path / "second", {}, max_bytes=MIB, keep_seconds=DAY):
        found.append((journal.writer, list(journal.read(0))))
        journal.close()
    assert found == [(first.writer, numbered(3)), (second.writer, numbered(1))]


def test_a_copy_without_records_becomes_a_slot_of_its_own(tmp_path: Path) -> None:
    filled(tmp_path / "first")
    shutil.copytree(tmp_path / "first", tmp_path / "second")
    for path in segments(tmp_path / "second"):
        path.write_bytes(path.read_bytes()[:24])  # all that was in it is past the retention
    with opened(tmp_path / "first") as first, opened(tmp_path / "second") as second:
        assert (second.number, second.last_sequence) == (0, 0)
        assert second.writer != first.writer
        fill(second, 2)
    assert kept(tmp_path / "second") == numbered(2)


def test_a_folder_that_was_moved_is_the_same(tmp_path: Path) -> None:
    filled(tmp_path / "first")
    os.rename(tmp_path / "first", tmp_path / "second")
    with opened(tmp_path / "second") as journal:
        assert (journal.number, journal.last_sequence) == (0, 3)


@pytest.mark.parametrize("meanwhile", ["an outcome is noted", "the segment is deleted"])
def test_a_rewrite_that_was_overtaken_is_thrown_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, meanwhile: str
) -> None:
    """It is made beside the thread that writes hits, which goes on meanwhile."""
    monkeypatch.setattr(journals, "SEGMENT_BYTES", 1)
    with opened(tmp_path, keep_seconds=DAY) as journal:
        fill(journal, 2)
        journal.note_outcomes(OUTCOMES[:1])
        journal.applied = 2
        now = segments(tmp_path)[0].stat().st_mtime + 2 * REDUCE_SECONDS
        [segment] = journal.reducible(now)
        rewritten = journal.rewrite(segment, moved_in)
        if meanwhile == "an outcome is noted":
            journal.note_outcomes([(1, b"of a replay")])
        else:
            journal.prune(now + 2 * DAY)
        journal.replace(rewritten)
        expected = [(1, b"payload 1", b"of a replay"), (2, b"payload 2", b"")]
        assert list(journal.read_decided(0)) == (expected if meanwhile == "an outcome is noted" else [])
        assert list((tmp_path / "00").glob("*.new")) == []
        journal.reduce(now, moved_in)
        assert [payload for _, payload in journal.read(0)][:1] == (
            [b"reduced of a replay"] if meanwhile == "an outcome is noted" else []
        )
