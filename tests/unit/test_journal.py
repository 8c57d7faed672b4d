"""The journal keeps what it has taken, in slots that are one process's at a time; no number is used twice."""

from __future__ import annotations

import os
import shutil
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

from tests.unit.slots import HOUR, MIB, change, fill, folder_in_memory, kept, numbered, opened, payload, segments
from visitstats.core.errors import JournalFull
from visitstats.core.schema import OLDEST_SCHEMA
from visitstats.journal import log as journals
from visitstats.journal import segments as segment_files
from visitstats.journal.log import OpenJournal
from visitstats.journal.reader import Slot

# The files ------------------------------------------------------------------------------------------------------------


def test_the_bytes_on_disk_are_frozen(root: Path) -> None:
    """A later version replays what this one wrote."""
    slot = root / "00"
    slot.mkdir()
    (slot / "writer").write_text("000102030405060708090a0b0c0d0e0f")
    with opened(root) as journal:
        assert journal.writer == "000102030405060708090a0b0c0d0e0f"
        journal.append([b"first", b""])
        journal.append([b"third"])
    assert {path.name for path in slot.iterdir()} == {"lock", "place", "writer", "0000000000000001.log"}
    assert (slot / "0000000000000001.log").read_bytes().hex() == (
        "76736a726e6c320a000102030405060708090a0b0c0d0e0f"  # vsjrnl2, the writer
        "05000000" + crc(1, b"first") + "0100000000000000" + b"first".hex() +
        "00000000" + crc(2, b"") + "0200000000000000"
        "05000000" + crc(3, b"third") + "0300000000000000" + b"third".hex()
    )  # fmt: skip
    assert crc(1, b"first") == "e44ac543"
    assert google_crc32c.value(b"123456789") == 0xE3069283  # the check value of CRC-32C (RFC 3720)


def crc(sequence: int, data: bytes) -> str:
    value: int = google_crc32c.value(sequence.to_bytes(8, "little") + data)
    return value.to_bytes(4, "little").hex()


def test_the_first_bytes_of_a_file_bear_the_number_of_the_oldest_schema_that_is_read() -> None:
    """A program that cannot read the file refuses it, and guesses nothing."""
    assert segment_files.MAGIC == b"vsjrnl%d\n" % OLDEST_SCHEMA


def test_nobody_else_on_the_machine_can_read_it(root: Path) -> None:
    with opened(root / "journal") as journal:
        fill(journal, 1)
    for path, mode in ((root / "journal", 0o700), (root / "journal" / "00", 0o700)):
        assert path.stat().st_mode & 0o777 == mode
    assert segments(root / "journal")[0].stat().st_mode & 0o777 == 0o600


def test_a_new_slot_has_a_writer_of_its_own_for_ever(root: Path) -> None:
    with opened(root) as first, opened(root) as second:
        writers = [first.writer, second.writer]
        assert [first.number, second.number] == [0, 1]
    assert len(set(writers)) == 2
    assert all(len(bytes.fromhex(writer)) == 16 for writer in writers)
    with opened(root) as again:
        assert again.writer == writers[0]


@pytest.mark.parametrize("text", ["", "00", "g" * 32, "A" * 32, "0" * 33])
def test_a_damaged_writer_id_is_left_alone_and_hits_are_taken(
    root: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    """With a new id everything in the slot would be counted a second time; and one damaged file is no reason to refuse
    hits, for which there are other slots."""
    with opened(root) as journal:
        fill(journal, 1)
    (root / "00" / "writer").write_text(text)
    for _ in range(2):
        with opened(root) as journal:
            assert journal.number == 1
            fill(journal, 1)
    assert "slot 00 is left alone" in caplog.text
    assert (root / "00" / "writer").read_text() == text


def test_a_segment_of_another_writer_is_not_read(root: Path) -> None:
    with opened(root) as journal, opened(root) as other:
        fill(journal, 2)
        fill(other, 5)
        (root / "00" / "0000000000000003.log").write_bytes((root / "01" / "0000000000000001.log").read_bytes())
    assert kept(root) == numbered(2)
    with opened(root) as journal:
        assert journal.number == 1  # the slot is left alone
        (root / "00" / "0000000000000003.log").unlink()
        with opened(root) as free:
            assert free.number == 0


def test_files_that_are_no_segments_are_left_alone(root: Path) -> None:
    with opened(root) as journal:
        fill(journal, 2)
    (root / "00" / "notes.log").write_text("mine")
    (root / "00" / "0000000000000001.log.bak").write_text("mine")
    with opened(root) as journal:
        assert (journal.number, journal.last_sequence) == (0, 2)
    assert kept(root) == numbered(2)


# Sequences ------------------------------------------------------------------------------------------------------------


def test_what_was_taken_is_read_back_in_order(root: Path) -> None:
    with opened(root) as journal:
        assert (journal.last_sequence, kept(root)) == (0, [])
        journal.append([payload(1), payload(2)])
        assert kept(root) == numbered(2)
        journal.append([payload(3)])
        assert journal.last_sequence == 3
        assert kept(root) == numbered(3)
    assert kept(root) == numbered(3)


def test_whoever_takes_a_slot_over_goes_on_with_its_sequence(root: Path) -> None:
    for count in (3, 5, 6):
        with opened(root) as journal:
            fill(journal, count - journal.last_sequence)
    assert kept(root) == numbered(6)
    assert [path.name for path in segments(root)] == [f"{n:016x}.log" for n in (1, 4, 6)]


def test_opening_a_slot_without_writing_leaves_nothing_behind(root: Path) -> None:
    for _ in range(3):
        with opened(root):
            pass
    assert segments(root) == []


def test_sequences_can_be_kept_above_a_number(root: Path) -> None:
    """A journal from a backup is behind the store's watermark: its next numbers would be taken for known batches."""
    for above, n in ((1000, 1001), (500, 1002), (2**50, 2**50 + 1)):
        with opened(root, above=above) as journal:
            journal.append([payload(1)])
            assert journal.last_sequence == n
    assert [sequence for sequence, _ in kept(root)] == [1001, 1002, 2**50 + 1]


def test_a_large_segment_is_followed_by_another(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journals, "SEGMENT_BYTES", 200)
    with opened(root) as journal:
        fill(journal, 50)
        assert len(segments(root)) > 5
        assert journal.size == sum(path.stat().st_size for path in segments(root))
        assert kept(root) == numbered(50)
    with opened(root) as journal:
        assert journal.last_sequence == 50
        assert journal.size == sum(path.stat().st_size for path in segments(root))


@settings(max_examples=30)
@given(st.lists(st.tuples(st.lists(st.integers(1, 4), max_size=8), st.booleans(), st.integers(0, 3)), max_size=5))
def test_whatever_is_appended_is_there_after_any_number_of_restarts(
    sessions: list[tuple[list[int], bool, int]],
) -> None:
    """Torn ends, heartbeats that nobody waited for, and sequences that were left out between two sessions included."""
    expected: list[tuple[int, object]] = []
    with folder_in_memory() as root, pytest.MonkeyPatch.context() as patch:
        patch.setattr(journals, "SEGMENT_BYTES", 150)
        last = 0
        for groups, torn, skipped in sessions:
            last += skipped
            with opened(root, above=last) as journal:
                for count in groups:
                    journal.append([payload(last + n) for n in range(1, count + 1)], durable=count > 1)
                    expected += [(last + n, change(last + n)) for n in range(1, count + 1)]
                    last += count
                    assert journal.last_sequence == last
            if torn and segments(root):
                with segments(root)[-1].open("ab") as file:
                    file.write(b"\1\0")
        assert (kept(root) if segments(root) else []) == expected


# Durability -----------------------------------------------------------------------------------------------------------


def test_heartbeats_are_not_synced_until_the_next_hit(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody waits for is in the file at once, for every other process, and on the disk with the next hit."""
    synced: list[int] = []
    monkeypatch.setattr(journals, "sync", lambda file: synced.append(os.fstat(file).st_size))
    with opened(root) as journal:
        journal.append([payload(1)], durable=False)
        assert kept(root) == numbered(1)
        assert synced == []
        journal.append([payload(2)])
        assert kept(root) == numbered(2)
        assert synced == [segments(root)[0].stat().st_size] == [journal.size]
        journal.append([payload(3)], durable=False)
        assert (journal.last_sequence, len(synced)) == (3, 1)


def test_without_fsync_the_kernel_has_the_records(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The setting `durability` is `os`."""

    def never(file: int) -> None:
        raise AssertionError("nobody is to wait for the disk")

    monkeypatch.setattr(journals, "sync", never)
    with opened(root, fsync=False) as journal:
        fill(journal, 2)
        assert kept(root) == numbered(2)


# Budget and retention -------------------------------------------------------------------------------------------------


def test_a_journal_that_is_full_of_unapplied_hits_refuses_more(root: Path) -> None:
    with opened(root, max_bytes=1000) as journal:
        with pytest.raises(JournalFull, match="budget of 1000 bytes"):
            fill(journal, 100)
        assert kept(root) == numbered(journal.last_sequence)
        assert 900 < sum(path.stat().st_size for path in segments(root)) <= 1000


def test_applied_records_make_room_and_unapplied_ones_do_not(root: Path) -> None:
    with opened(root, max_bytes=2000) as journal:
        for _ in range(120):
            fill(journal, 1)
            journal.applied = max(0, journal.last_sequence - 10)
            found = [sequence for sequence, _ in kept(root)]
            assert found[-10:] == list(range(journal.applied + 1, journal.last_sequence + 1))[-10:]
            assert journal.size <= 2000
        assert found[0] > 50
        assert journal.last_sequence == 120


def test_a_budget_below_the_size_of_a_segment_still_turns_over(root: Path) -> None:
    """One segment alone can never be dropped: it must end before it fills the budget."""
    with opened(root, max_bytes=MIB, fsync=False) as journal:
        for _ in range(40):
            journal.append([b"x" * 100_000])
            journal.applied = journal.last_sequence
        assert journal.last_sequence == 40


def test_applied_segments_go_when_they_are_past_the_retention_and_not_before(root: Path) -> None:
    for _ in range(3):
        with opened(root) as journal:
            fill(journal, 2)
    with opened(root) as journal:
        fill(journal, 2)
        old, middle, recent, newest = segments(root)
        now = newest.stat().st_mtime
        for path, age in ((old, 2 * HOUR), (middle, HOUR * 7 / 8 + 1), (recent, HOUR * 7 / 8 - 1)):
            os.utime(path, (now - age, now - age))
        journal.prune(now)
        assert segments(root) == [old, middle, recent, newest]  # nothing is applied
        journal.applied = 3
        journal.prune(now)
        assert segments(root) == [middle, recent, newest]  # the second has a record that is not
        journal.applied = 8
        journal.prune(now)
        assert segments(root) == [recent, newest]
        assert kept(root) == numbered(8, 5)
        assert Slot(root / "00").first == 0  # nothing is known of it before it is read


def test_no_record_outlives_its_retention_in_a_quiet_slot_and_the_sequence_goes_on(root: Path) -> None:
    """Rule 2: what belongs to a visitor is not kept beyond the salt, even by a portal that a few people read."""
    with opened(root) as journal:
        fill(journal, 3)
        journal.applied = 3
        now = segments(root)[0].stat().st_mtime
        journal.prune(now + HOUR / 8 - 1)
        assert len(segments(root)) == 1
        journal.prune(now + HOUR / 8 + 1)
        fill(journal, 1)
        assert [path.name for path in segments(root)] == ["0000000000000001.log", "0000000000000004.log"]
        journal.applied = 4
        journal.prune(now + HOUR * 7 / 8 - 1)
        assert kept(root) == numbered(4)
        journal.prune(now + HOUR)
        assert kept(root) == []
    assert b"note" not in b"".join(path.read_bytes() for path in segments(root))
    with opened(root) as journal:
        assert journal.last_sequence == 4
        fill(journal, 1)
    assert kept(root) == [(5, change(5))]


# Slots of others ------------------------------------------------------------------------------------------------------


def taken_over(root: Path, number: int = 0) -> OpenJournal | None:
    return OpenJournal.take_over(root / f"{number:02d}", max_bytes=MIB, keep_seconds=HOUR)


def test_an_abandoned_slot_is_emptied_too(root: Path) -> None:
    """Rule 2 also holds for a worker that was taken away and never came back."""
    with opened(root) as journal:
        fill(journal, 3)
        writer = journal.writer
    now = segments(root)[0].stat().st_mtime
    for later in (0.0, 0.6, 1.7):
        freed = taken_over(root)
        assert freed is not None
        assert (freed.number, freed.writer, freed.last_sequence) == (0, writer, 3)
        freed.applied = freed.last_sequence
        freed.prune(now + later * HOUR)
        freed.close()
    assert b"note" not in b"".join(path.read_bytes() for path in segments(root))
    with opened(root) as journal:
        assert (journal.number, journal.last_sequence) == (0, 3)


def test_an_abandoned_slot_loses_nothing_that_is_not_applied(root: Path) -> None:
    with opened(root) as journal:
        fill(journal, 3)
    freed = taken_over(root)
    assert freed is not None
    freed.prune(segments(root)[0].stat().st_mtime + 100 * HOUR)
    freed.close()
    assert kept(root) == numbered(3)


def test_a_slot_that_cannot_be_read_is_not_taken_over_and_not_held(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with opened(root) as journal:
        fill(journal, 1)
    segments(root)[0].write_bytes(b"this is no segment, but it is long enough")
    before = open_files()
    assert taken_over(root) is None
    assert "slot 00 is left alone" in caplog.text
    assert open_files() == before
    assert not Slot(root / "00").held


def open_files() -> int:
    return len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0


def test_a_copy_of_a_slot_is_never_written(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Two processes with one writer id would take each other's sequences for their own. What is in the copy can be
    read, and applied: the store knows what it has."""
    with opened(root / "journal") as journal:
        fill(journal, 2)
        writer = journal.writer
    shutil.copytree(root / "journal", root / "copy")
    with opened(root / "copy") as other:
        assert other.number == 1
        assert other.writer != writer
        fill(other, 1)
    assert "is a copy of a slot" in caplog.text
    assert kept(root / "copy") == numbered(2)
    assert Slot(root / "copy" / "00").writer == writer
    with opened(root / "journal") as journal:  # the original goes on
        assert (journal.number, journal.writer) == (0, writer)


def test_a_copy_without_records_begins_anew_as_another_writer(root: Path) -> None:
    """A machine that was cloned before it had a visitor does not leave slots behind that nobody uses."""
    with opened(root / "journal") as journal:
        fill(journal, 2)
        journal.applied = 2
        for later in (1, 2):
            journal.prune(segments(root / "journal")[0].stat().st_mtime + later * HOUR)
        writer = journal.writer
    assert kept(root / "journal") == []
    shutil.copytree(root / "journal", root / "copy")
    with opened(root / "copy") as other:
        assert other.number == 0
        assert other.writer != writer
        fill(other, 1)
    assert kept(root / "copy") == numbered(1)
    with opened(root / "copy") as again:
        assert again.writer == other.writer


HOLDER = """
import sys, time
from pathlib import Path
from visitstats.journal.log import OpenJournal
journal = OpenJournal.open(Path(sys.argv[1]), max_bytes=1 << 20, keep_seconds=3600)
journal.append([bytes.fromhex(sys.argv[2])])
print(journal.number, journal.writer, flush=True)
time.sleep(60)
"""


@contextmanager
def holder(root: Path) -> Iterator[tuple[subprocess.Popen[str], int, str]]:
    """Another process with a slot: the process, the slot's number and its writer."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(root), payload(1).hex()], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        number, writer = process.stdout.readline().split()
        yield process, int(number), writer
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_two_processes_never_share_a_slot_and_kill_9_frees_it(root: Path) -> None:
    with holder(root) as (process, number, writer):
        with opened(root) as mine:
            assert (number, mine.number) == (0, 1)
            assert mine.writer != writer
            assert taken_over(root) is None
            assert kept(root) == numbered(1)  # anybody may read
            process.send_signal(signal.SIGKILL)
            process.wait()
            freed = taken_over(root)
            assert freed is not None
            assert (freed.number, freed.writer, freed.last_sequence) == (0, writer, 1)
            freed.close()
        with opened(root) as next_one:
            assert (next_one.number, next_one.writer, next_one.last_sequence) == (0, writer, 1)


def test_when_all_slots_are_in_use_it_is_said(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journals, "MOST_SLOTS", 2)
    with opened(root), opened(root), pytest.raises(JournalFull, match="all 2 slots"):
        OpenJournal.open(root, max_bytes=MIB, keep_seconds=HOUR)


def test_a_slot_may_be_released_twice(root: Path) -> None:
    with opened(root) as journal:
        journal.close()
