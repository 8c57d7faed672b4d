"""The journal through torn writes, flipped bytes and failing disks: only what was never acknowledged is lost."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import google_crc32c
import pytest

from tests.journals import fill, kept, numbered, opened, segments
from visitstats.core.errors import JournalFull
from visitstats.framing import RECORD, SEQUENCE
from visitstats.segments import START

# Damage ---------------------------------------------------------------------------------------------------------------


def test_a_write_that_was_torn_anywhere_loses_only_itself(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        fill(journal, 3)
    [segment] = segments(tmp_path)
    whole = segment.read_bytes()
    ends = [START]
    for _, payload in numbered(3):
        ends.append(ends[-1] + RECORD.size + len(payload))
    assert ends[-1] == len(whole)
    for size in range(len(whole)):
        for path in segments(tmp_path):
            path.unlink()
        segment.write_bytes(whole[:size])
        intact = sum(end <= size for end in ends[1:])
        assert kept(tmp_path) == numbered(intact)
        with opened(tmp_path) as journal:  # and life goes on
            journal.append([b"after"])
        assert kept(tmp_path) == [*numbered(intact), (intact + 1, b"after")]


def test_a_byte_that_flipped_loses_only_its_record_and_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with opened(tmp_path) as journal:
        fill(journal, 4)
    [segment] = segments(tmp_path)
    whole = segment.read_bytes()
    size = RECORD.size + len(b"payload 1")
    for place in range(START, len(whole)):
        segment.write_bytes(whole[:place] + bytes([whole[place] ^ 0x40]) + whole[place + 1 :])
        caplog.clear()
        damaged = 1 + (place - START) // size
        assert kept(tmp_path) == [record for record in numbered(4) if record[0] != damaged], place
        assert "no record" in caplog.text


def test_records_behind_damage_are_found_whatever_is_in_between(tmp_path: Path) -> None:
    """Bytes that look like a record do not count: neither one of the past nor one far in the future."""
    with opened(tmp_path) as journal:
        fill(journal, 5)
    [segment] = segments(tmp_path)
    whole = segment.read_bytes()
    size = RECORD.size + len(b"payload 1")
    for sequence in (1, 900):
        data = b"x" * (2 * size - RECORD.size)
        fake = RECORD.pack(len(data), google_crc32c.value(SEQUENCE.pack(sequence) + data), sequence) + data
        assert len(fake) == 2 * size
        segment.write_bytes(whole[: START + 2 * size] + fake + whole[START + 4 * size :])
        assert kept(tmp_path) == [*numbered(2), (5, b"payload 5")]


def test_a_segment_of_nothing_but_zeros_was_never_acknowledged(tmp_path: Path) -> None:
    """Some file systems keep the length, but not the bytes, of what was not fsynced at a power cut."""
    with opened(tmp_path) as journal:
        fill(journal, 2)
    (tmp_path / "00" / "0000000000000003.log").write_bytes(bytes(4096))
    assert kept(tmp_path) == numbered(2)
    with opened(tmp_path) as journal:
        fill(journal, 1)
    assert kept(tmp_path) == numbered(3)


# A disk that fails ----------------------------------------------------------------------------------------------------


def fails(*_: object) -> int:
    raise OSError(errno.EIO, "Input/output error")


@pytest.mark.parametrize("call", ["write", "fdatasync"])
@pytest.mark.parametrize("before", [0, 2])
@pytest.mark.parametrize("cut_back", [True, False])
def test_after_a_failed_write_nothing_was_taken_and_its_numbers_are_not_used_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, before: int, cut_back: bool
) -> None:
    with opened(tmp_path) as journal:
        fill(journal, before)
        with monkeypatch.context() as patch:
            patch.setattr(os, call, fails)
            if not cut_back:
                patch.setattr(os, "ftruncate", fails)
            for n in range(3):
                with pytest.raises(JournalFull, match="Input/output error"):
                    journal.append([b"refused"])
                assert journal.last_sequence == before + n + 1
        assert list(journal.read(0)) == numbered(before)
        fill(journal, 2)
        expected = [*numbered(before), *numbered(before + 5)[-2:]]
        assert list(journal.read(0)) == expected
    assert len(segments(tmp_path)) == (2 if before else 1)
    found = kept(tmp_path)
    # A refused record whose bytes could not be taken back may be found again, under its own number: never acknowledged,
    # it may be counted or not, and takes nobody's place.
    assert [record for record in found if record[1] != b"refused"] == expected
    assert len({sequence for sequence, _ in found}) == len(found)
    assert cut_back is False or found == expected


def test_a_refused_record_that_comes_back_does_not_take_the_place_of_one_that_was_taken(tmp_path: Path) -> None:
    """The cut was not on the disk yet when the power went: both segments now have a record of that number."""
    with opened(tmp_path) as journal:
        fill(journal, 3)
    with opened(tmp_path) as journal:
        fill(journal, 1)
    first = segments(tmp_path)[0]
    refused = b"refused"
    record = RECORD.pack(len(refused), google_crc32c.value(SEQUENCE.pack(4) + refused), 4) + refused
    first.write_bytes(first.read_bytes() + record)
    assert kept(tmp_path) == numbered(4)


def test_a_full_disk_refuses_and_is_used_again_when_there_is_room(tmp_path: Path) -> None:
    """With a real limit of the kernel, in a process of its own: RLIMIT_FSIZE makes short writes, then EFBIG."""
    process = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path)], check=True, capture_output=True, text=True
    )
    refused, taken = (int(word) for word in process.stdout.split())
    assert refused > 0
    found = kept(tmp_path)
    assert len(found) == taken
    assert {payload for _, payload in found} == {b"x" * 100}


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from visitstats.core.errors import JournalFull
from visitstats.journal import Journal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
journal = Journal.open(Path(sys.argv[1]), max_bytes=1 << 20, keep_seconds=3600)
taken = refused = 0
for limit in (400, 16, 40, 1000):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    for _ in range(6):
        try:
            journal.append([b"x" * 100])
            taken += 1
        except JournalFull:
            refused += 1
assert len(list(journal.read(0))) == taken
print(refused, taken)
"""


def test_a_folder_that_cannot_be_used_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(JournalFull, match="cannot be opened: File exists") as refused:
        kept(tmp_path / "file")
    assert "\n" not in str(refused.value)
