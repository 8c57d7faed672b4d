"""The journal keeps what it has taken, in slots that are one process's at a time; no number is used twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import google_crc32c
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.journals import HOUR, MIB, fill, kept, numbered, opened, segments
from visitstats import journal as journals
from visitstats import segments as segment_files
from visitstats.core.errors import JournalFull
from visitstats.journal import Journal

# The files ------------------------------------------------------------------------------------------------------------


def test_the_bytes_on_disk_are_frozen(tmp_path: Path) -> None:
    """A later version replays what this one wrote."""
    slot = tmp_path / "00"
    slot.mkdir()
    (slot / "writer").write_text("000102030405060708090a0b0c0d0e0f")
    with opened(tmp_path) as journal:
        assert journal.writer == "000102030405060708090a0b0c0d0e0f"
        journal.append([b"first", b""])
        journal.append([b"third"])
    assert {path.name for path in slot.iterdir()} == {"lock", "place", "writer", "0000000000000001.log"}
    assert (slot / "0000000000000001.log").read_bytes().hex() == (
        "76736a726e6c310a000102030405060708090a0b0c0d0e0f"  # vsjrnl1, the writer
        "05000000" + crc(1, b"first") + "0100000000000000" + b"first".hex() +
        "00000000" + crc(2, b"") + "0200000000000000"
        "05000000" + crc(3, b"third") + "0300000000000000" + b"third".hex()
    )  # fmt: skip
    assert crc(1, b"first") == "e44ac543"
    assert google_crc32c.value(b"123456789") == 0xE3069283  # the check value of CRC-32C (RFC 3720)


def crc(sequence: int, payload: bytes) -> str:
    value: int = google_crc32c.value(sequence.to_bytes(8, "little") + payload)
    return value.to_bytes(4, "little").hex()


def test_nobody_else_on_the_machine_can_read_it(tmp_path: Path) -> None:
    with opened(tmp_path / "journal") as journal:
        fill(journal, 1)
    for path, mode in ((tmp_path / "journal", 0o700), (tmp_path / "journal" / "00", 0o700)):
        assert path.stat().st_mode & 0o777 == mode
    assert segments(tmp_path / "journal")[0].stat().st_mode & 0o777 == 0o600


def test_a_new_slot_has_a_writer_of_its_own_for_ever(tmp_path: Path) -> None:
    with opened(tmp_path) as first, opened(tmp_path) as second:
        writers = [first.writer, second.writer]
        assert [first.number, second.number] == [0, 1]
    assert len(set(writers)) == 2
    assert all(len(bytes.fromhex(writer)) == 16 for writer in writers)
    with opened(tmp_path) as again:
        assert again.writer == writers[0]


@pytest.mark.parametrize("text", ["", "00", "g" * 32, "A" * 32, "0" * 33])
def test_a_damaged_writer_id_is_left_alone_and_hits_are_taken(
    tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    """With a new id everything in the slot would be counted a second time; and one damaged file is no reason to refuse
    hits, for which there are other slots."""
    with opened(tmp_path) as journal:
        fill(journal, 1)
    (tmp_path / "00" / "writer").write_text(text)
    for _ in range(2):
        with opened(tmp_path) as journal:
            assert journal.number == 1
            fill(journal, 1)
    assert "slot 00 is left alone" in caplog.text
    assert (tmp_path / "00" / "writer").read_text() == text


def test_a_segment_of_another_writer_is_not_read(tmp_path: Path) -> None:
    with opened(tmp_path) as journal, opened(tmp_path) as other:
        fill(journal, 2)
        fill(other, 5)
        (tmp_path / "00" / "0000000000000003.log").write_bytes((tmp_path / "01" / "0000000000000001.log").read_bytes())
    with opened(tmp_path) as journal:
        assert journal.number == 1  # the slot is left alone
        (tmp_path / "00" / "0000000000000003.log").unlink()
        assert kept(tmp_path) == numbered(2)  # and free


def test_files_that_are_no_segments_are_left_alone(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        fill(journal, 2)
    (tmp_path / "00" / "notes.log").write_text("mine")
    (tmp_path / "00" / "0000000000000001.log.bak").write_text("mine")
    assert kept(tmp_path) == numbered(2)


# Sequences ------------------------------------------------------------------------------------------------------------


def test_what_was_taken_is_read_back_in_order(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        assert (journal.last_sequence, list(journal.read(0))) == (0, [])
        journal.append([b"payload 1", b"payload 2"])
        journal.append([b"payload 3"])
        assert journal.last_sequence == 3
        for after in range(5):
            assert list(journal.read(after)) == numbered(3)[after:]
    assert kept(tmp_path) == numbered(3)
    assert kept(tmp_path, 2) == numbered(3)[2:]


def test_whoever_takes_a_slot_over_goes_on_with_its_sequence(tmp_path: Path) -> None:
    for count in (3, 5, 6):
        with opened(tmp_path) as journal:
            fill(journal, count - journal.last_sequence)
    assert kept(tmp_path) == numbered(6)
    assert [path.name for path in segments(tmp_path)] == [f"{n:016x}.log" for n in (1, 4, 6)]


def test_opening_a_slot_without_writing_leaves_nothing_behind(tmp_path: Path) -> None:
    for _ in range(3):
        assert kept(tmp_path) == []
    assert segments(tmp_path) == []


def test_sequences_can_be_kept_above_a_number(tmp_path: Path) -> None:
    """A journal from a backup is behind the store's watermark: its next numbers would be taken for known batches."""
    with opened(tmp_path, above=1000) as journal:
        journal.append([b"first"])
    with opened(tmp_path, above=500) as journal:
        journal.append([b"second"])
    with opened(tmp_path, above=2**50) as journal:
        journal.append([b"third"])
    assert kept(tmp_path) == [(1001, b"first"), (1002, b"second"), (2**50 + 1, b"third")]


def test_a_large_segment_is_followed_by_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journals, "SEGMENT_BYTES", 200)
    monkeypatch.setattr(segment_files, "MARK_BYTES", 40)
    with opened(tmp_path) as journal:
        fill(journal, 50)
        assert len(segments(tmp_path)) > 5
        assert journal.size == sum(path.stat().st_size for path in segments(tmp_path))
        for after in range(50):
            assert list(journal.read(after)) == numbered(50)[after:]
    with opened(tmp_path) as journal:
        for after in range(50):
            assert list(journal.read(after)) == numbered(50)[after:]


record_lists = st.lists(st.lists(st.binary(max_size=60), min_size=1, max_size=4), max_size=8)


@settings(max_examples=40)
@given(st.lists(st.tuples(record_lists, st.booleans()), max_size=5), st.integers(0, 30))
def test_whatever_is_appended_is_there_after_any_number_of_restarts(
    tmp_path_factory: pytest.TempPathFactory, sessions: list[tuple[list[list[bytes]], bool]], after: int
) -> None:
    root = tmp_path_factory.mktemp("journal")
    expected: list[bytes] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(journals, "SEGMENT_BYTES", 150)
        patch.setattr(segment_files, "MARK_BYTES", 30)
        for groups, torn in sessions:
            with opened(root, fsync=False) as journal:
                for group in groups:
                    journal.append(group)
                    expected += group
                    assert journal.last_sequence == len(expected)
            if torn and segments(root):
                with segments(root)[-1].open("ab") as file:
                    file.write(b"\1\0")
        found = list(enumerate(expected, 1))
        with opened(root) as journal:
            assert list(journal.read(after)) == found[after:]


# Budget and retention -------------------------------------------------------------------------------------------------


def test_a_journal_that_is_full_of_unapplied_hits_refuses_more(tmp_path: Path) -> None:
    with opened(tmp_path, max_bytes=1000) as journal:
        with pytest.raises(JournalFull, match="budget of 1000 bytes"):
            fill(journal, 100)
        count = journal.last_sequence
        assert list(journal.read(0)) == numbered(count)
        assert sum(path.stat().st_size for path in segments(tmp_path)) <= 1000


def test_applied_records_make_room_and_unapplied_ones_do_not(tmp_path: Path) -> None:
    with opened(tmp_path, max_bytes=2000) as journal:
        for _ in range(300):
            fill(journal, 1)
            journal.applied = max(0, journal.last_sequence - 10)
            assert [sequence for sequence, _ in journal.read(journal.applied)] == list(
                range(journal.applied + 1, journal.last_sequence + 1)
            )
            assert journal.size <= 2000
        assert journal.first_sequence > 100
        assert journal.last_sequence == 300


def test_a_budget_below_the_size_of_a_segment_still_turns_over(tmp_path: Path) -> None:
    """One segment alone can never be dropped: it must end before it fills the budget."""
    with opened(tmp_path, max_bytes=MIB, fsync=False) as journal:
        for _ in range(40):
            journal.append([b"x" * 100_000])
            journal.applied = journal.last_sequence
        assert journal.last_sequence == 40


def test_applied_segments_go_when_they_are_past_the_retention_and_not_before(tmp_path: Path) -> None:
    for _ in range(3):
        with opened(tmp_path) as journal:
            fill(journal, 2)
    with opened(tmp_path) as journal:
        fill(journal, 2)
        old, middle, recent, newest = segments(tmp_path)
        now = newest.stat().st_mtime
        for path, age in ((old, 2 * HOUR), (middle, HOUR * 7 / 8 + 1), (recent, HOUR * 7 / 8 - 1)):
            os.utime(path, (now - age, now - age))
        journal.prune(now)
        assert segments(tmp_path) == [old, middle, recent, newest]  # nothing is applied
        journal.applied = 3
        journal.prune(now)
        assert segments(tmp_path) == [middle, recent, newest]  # the second has a record that is not
        journal.applied = 8
        journal.prune(now)
        assert segments(tmp_path) == [recent, newest]
        assert list(journal.read(0)) == numbered(8)[4:]
        assert journal.first_sequence == 5


def test_no_record_outlives_its_retention_in_a_quiet_slot_and_the_sequence_goes_on(tmp_path: Path) -> None:
    """Rule 2: what belongs to a visitor is not kept beyond the salt, even by a portal that a few people read."""
    with opened(tmp_path) as journal:
        fill(journal, 3)
        journal.applied = 3
        now = segments(tmp_path)[0].stat().st_mtime
        journal.prune(now + HOUR / 8 - 1)
        assert len(segments(tmp_path)) == 1
        journal.prune(now + HOUR / 8 + 1)
        fill(journal, 1)
        assert [path.name for path in segments(tmp_path)] == ["0000000000000001.log", "0000000000000004.log"]
        journal.applied = 4
        journal.prune(now + HOUR * 7 / 8 - 1)
        assert list(journal.read(0)) == numbered(4)
        journal.prune(now + HOUR)
        assert list(journal.read(0)) == []
    assert b"payload" not in b"".join(path.read_bytes() for path in segments(tmp_path))
    with opened(tmp_path) as journal:
        assert journal.last_sequence == 4
        fill(journal, 1)
    assert kept(tmp_path) == [(5, b"payload 5")]


def test_an_abandoned_slot_is_emptied_too(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        fill(journal, 3)
    now = segments(tmp_path)[0].stat().st_mtime
    for later in (0.0, 0.6, 1.7):
        for journal in Journal.open_abandoned(tmp_path, {}, max_bytes=MIB, keep_seconds=HOUR):
            journal.applied = journal.last_sequence
            journal.prune(now + later * HOUR)
            journal.close()
    assert b"payload" not in b"".join(path.read_bytes() for path in segments(tmp_path))
    with opened(tmp_path) as journal:
        assert journal.last_sequence == 3


def test_a_reader_goes_on_when_what_it_has_not_read_yet_is_pruned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journals, "SEGMENT_BYTES", 1)
    with opened(tmp_path, max_bytes=4000) as journal:
        fill(journal, 5)
        reader = journal.read(0)
        assert next(reader) == (1, b"payload 1")
        journal.applied = 3
        journal.prune(segments(tmp_path)[-1].stat().st_mtime + 2 * HOUR)
        assert list(reader) == numbered(5)[3:]


# Slots ----------------------------------------------------------------------------------------------------------------

HOLDER = """
import sys, time
from pathlib import Path
from visitstats.journal import Journal
journal = Journal.open(Path(sys.argv[1]), max_bytes=1 << 20, keep_seconds=3600)
journal.append([b"from another process"])
print(journal.number, journal.writer, flush=True)
time.sleep(60)
"""


@contextmanager
def holder(root: Path) -> Iterator[tuple[subprocess.Popen[str], int, str]]:
    """Another process with a slot: the process, the slot's number and its writer."""
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(root)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        number, writer = process.stdout.readline().split()
        yield process, int(number), writer
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_two_processes_never_share_a_slot_and_kill_9_frees_it(tmp_path: Path) -> None:
    with holder(tmp_path) as (process, number, writer):
        with opened(tmp_path) as mine:
            assert (number, mine.number) == (0, 1)
            assert mine.writer != writer
            assert list(Journal.open_abandoned(tmp_path, {}, max_bytes=MIB, keep_seconds=HOUR)) == []
            process.send_signal(signal.SIGKILL)
            process.wait()
            [freed] = Journal.open_abandoned(tmp_path, {}, max_bytes=MIB, keep_seconds=HOUR)
            assert (freed.number, freed.writer) == (0, writer)
            assert list(freed.read(0)) == [(1, b"from another process")]
            freed.close()
        with opened(tmp_path) as next_one:
            assert (next_one.number, next_one.writer, next_one.last_sequence) == (0, writer, 1)


def test_an_abandoned_slot_is_seen_to_once_until_it_was_used_again(tmp_path: Path) -> None:
    def seen_to(done: dict[int, int]) -> list[int]:
        found = []
        for journal in Journal.open_abandoned(tmp_path, done, max_bytes=MIB, keep_seconds=HOUR):
            found.append(journal.number)
            done[journal.number] = journal.newest_segment
            journal.close()
        return found

    done: dict[int, int] = {}
    with opened(tmp_path) as first, opened(tmp_path) as second, opened(tmp_path):
        fill(first, 1)
        fill(second, 2)
        assert seen_to(done) == []
    assert seen_to(done) == [0, 1]  # the third has no records
    assert seen_to(done) == []
    with opened(tmp_path) as again:
        assert again.number == 0
        assert seen_to(done) == []
        fill(again, 1)
    assert seen_to(done) == [0]


def test_a_damaged_slot_does_not_keep_the_others_from_being_seen_to(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with opened(tmp_path) as first, opened(tmp_path) as second:
        fill(first, 1)
        fill(second, 1)
    segments(tmp_path)[0].write_bytes(b"this is no segment, but it is long enough")
    before = set(os.listdir("/proc/self/fd")) if sys.platform == "linux" else set()
    found = []
    for journal in Journal.open_abandoned(tmp_path, {}, max_bytes=MIB, keep_seconds=HOUR):
        found.append(journal.number)
        journal.close()
    assert found == [1]
    assert "slot 00 is left alone" in caplog.text
    assert not before or len(os.listdir("/proc/self/fd")) == len(before)  # no lock is left open


def test_when_all_slots_are_in_use_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journals, "MOST_SLOTS", 2)
    with opened(tmp_path), opened(tmp_path), pytest.raises(JournalFull, match="all 2 slots"):
        kept(tmp_path)


def test_a_slot_may_be_released_twice(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        journal.close()
