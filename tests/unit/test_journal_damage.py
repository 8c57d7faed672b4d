"""The journal through torn writes, flipped bytes and failing disks: only what was never acknowledged is lost."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.slots import change, fill, kept, numbered, opened, payload, segments
from visitstats.core.errors import JournalFull
from visitstats.journal.reader import Slot
from visitstats.journal.segments import RECORD, START, frame

SIZE = RECORD.size + len(payload(1))
"""Of a record in the file."""

# Damage ---------------------------------------------------------------------------------------------------------------


def test_a_write_that_was_torn_anywhere_loses_only_itself_and_is_told(root: Path) -> None:
    with opened(root) as journal:
        fill(journal, 3)
    [segment] = segments(root)
    whole = segment.read_bytes()
    assert len(whole) == START + 3 * SIZE
    for size in range(len(whole)):
        for path in segments(root):
            path.unlink()
        segment.write_bytes(whole[:size])
        intact = max(0, size - START) // SIZE
        slot = Slot(root / "00")
        assert list(slot.fresh()) == numbered(intact)
        assert slot.damage == []
        torn = max(0, size - START - intact * SIZE)
        assert slot.torn == ([f"{segment} ends with {torn} bytes that are no record"] if torn else [])
        with opened(root) as journal:  # and life goes on
            assert journal.last_sequence == intact
            journal.append([payload(9)])
        assert kept(root) == [*numbered(intact), (intact + 1, change(9))]


def test_a_byte_that_flipped_loses_only_its_record_and_is_told(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    with opened(root) as journal:
        fill(journal, 4)
    [segment] = segments(root)
    whole = segment.read_bytes()
    for place in range(START, len(whole)):
        segment.write_bytes(whole[:place] + bytes([whole[place] ^ 0x40]) + whole[place + 1 :])
        caplog.clear()
        damaged = 1 + (place - START) // SIZE
        slot = Slot(root / "00")
        assert list(slot.fresh()) == [record for record in numbered(4) if record[0] != damaged], place
        if damaged < 4:
            assert slot.damage == [f"{segment}: {SIZE} bytes between its records are no record"]
            assert f"damaged: {SIZE} bytes are no record" in caplog.text
        else:  # as a write that was cut would look
            assert (slot.damage, len(slot.torn)) == ([], 1)


def test_damage_is_told_once_however_often_it_is_read(root: Path) -> None:
    with opened(root) as journal:
        fill(journal, 3)
        [segment] = segments(root)
        data = bytearray(segment.read_bytes())
        data[START + SIZE + 20] ^= 1
        segment.write_bytes(data)
        slot = Slot(root / "00")
        slot.scan()
        told = slot.damage
        fill(journal, 1)
        assert list(slot.fresh()) == [(4, change(4))]
    assert slot.damage == told == [f"{segment}: {SIZE} bytes between its records are no record"]


def test_records_behind_damage_are_found_whatever_is_in_between(root: Path) -> None:
    """Bytes that look like a record do not count: neither one of the past nor one far in the future."""
    with opened(root) as journal:
        fill(journal, 5)
    [segment] = segments(root)
    whole = segment.read_bytes()
    for sequence in (1, 900):
        fake = frame(sequence, b"x" * (2 * SIZE - RECORD.size))
        assert len(fake) == 2 * SIZE
        segment.write_bytes(whole[: START + 2 * SIZE] + fake + whole[START + 4 * SIZE :])
        assert kept(root) == [*numbered(2), (5, change(5))]


def test_a_segment_of_nothing_but_zeros_was_never_acknowledged(root: Path) -> None:
    """Some file systems keep the length, but not the bytes, of what was not fsynced at a power cut."""
    with opened(root) as journal:
        fill(journal, 2)
    (root / "00" / "0000000000000003.log").write_bytes(bytes(4096))
    assert kept(root) == numbered(2)
    with opened(root) as journal:
        fill(journal, 1)
    assert kept(root) == numbered(3)


# A disk that fails ----------------------------------------------------------------------------------------------------


def fails(*_: object) -> int:
    raise OSError(errno.EIO, "Input/output error")


@pytest.mark.parametrize("call", ["write", "fdatasync"])
@pytest.mark.parametrize("before", [0, 2])
@pytest.mark.parametrize("cut_back", [True, False])
def test_after_a_failed_write_nothing_was_taken_and_its_numbers_are_not_used_again(
    root: Path, monkeypatch: pytest.MonkeyPatch, call: str, before: int, cut_back: bool
) -> None:
    with opened(root) as journal:
        fill(journal, before)
        with monkeypatch.context() as patch:
            patch.setattr(os, call, fails)
            if not cut_back:
                patch.setattr(os, "ftruncate", fails)
            for n in range(3):
                with pytest.raises(JournalFull, match="Input/output error"):
                    journal.append([payload(99)])
                assert journal.last_sequence == before + n + 1
        fill(journal, 2)
        expected = [*numbered(before), *numbered(before + 5)[-2:]]
    assert len(segments(root)) == (2 if before else 1)
    found = kept(root)
    # A refused record whose bytes could not be taken back may be found again, under its own number: never acknowledged,
    # it may be counted or not, and takes nobody's place.
    assert [record for record in found if record[1] != change(99)] == expected
    assert len({sequence for sequence, _ in found}) == len(found)
    assert cut_back is False or found == expected


def test_a_refused_record_that_comes_back_does_not_take_the_place_of_one_that_was_taken(root: Path) -> None:
    """The cut was not on the disk yet when the power went: both segments now have a record of that number."""
    with opened(root) as journal:
        fill(journal, 3)
    with opened(root) as journal:
        fill(journal, 1)
    first = segments(root)[0]
    first.write_bytes(first.read_bytes() + frame(4, payload(99)))
    assert kept(root) == numbered(4)


def test_a_full_disk_refuses_and_is_used_again_when_there_is_room(root: Path) -> None:
    """With a real limit of the kernel, in a process of its own: RLIMIT_FSIZE makes short writes, then EFBIG."""
    process = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(root), payload(7).hex()], check=True, capture_output=True, text=True
    )
    refused, taken = (int(word) for word in process.stdout.split())
    assert refused > 0
    found = kept(root)
    assert len(found) == taken
    assert {record for _, record in found} == {change(7)}


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from visitstats.core.errors import JournalFull
from visitstats.journal.log import OpenJournal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
journal = OpenJournal.open(Path(sys.argv[1]), max_bytes=1 << 20, keep_seconds=3600)
taken = refused = 0
for limit in (400, 16, 40, 1000):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    for _ in range(6):
        try:
            journal.append([bytes.fromhex(sys.argv[2])])
            taken += 1
        except JournalFull:
            refused += 1
print(refused, taken)
"""


def test_a_folder_that_cannot_be_used_is_said_in_one_line(root: Path) -> None:
    (root / "file").touch()
    with pytest.raises(JournalFull, match="cannot be opened: File exists") as refused, opened(root / "file"):
        pass
    assert "\n" not in str(refused.value)
