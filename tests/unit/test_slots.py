"""Looking at a journal from outside changes nothing in it and disturbs nobody who uses it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.slots import (
    HOUR,
    NOON,
    change,
    fill,
    folder_in_memory,
    kept,
    numbered,
    opened,
    payload,
    segments,
)
from visitstats.core.batch import encode
from visitstats.journal import log as journals
from visitstats.journal import segments as segment_files
from visitstats.journal.reader import Newest, Slot, slots_of
from visitstats.journal.segments import START, frame
from visitstats.trust.survey import survey


def write(root: Path, count: int) -> None:
    with opened(root) as journal:
        fill(journal, count)


def files(root: Path) -> dict[str, tuple[bytes, int]]:
    return {str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in root.rglob("*") if path.is_file()}


def test_a_slot_tells_what_is_in_it(root: Path) -> None:
    write(root, 3)
    [slot] = slots_of(root)
    assert list(slot.fresh()) == numbered(3)
    assert (slot.number, slot.first, slot.last, slot.records, slot.held) == (0, 1, 3, 3, False)
    assert slot.since_ms == NOON + 1
    assert slot.size == sum(path.stat().st_size for path in root.glob("00/*.log"))
    assert slot.newest == {"s": Newest(3, 3)}
    assert (slot.damage, slot.torn) == ([], [])


def test_looking_leaves_everything_as_it_is(root: Path) -> None:
    write(root, 2)
    before = files(root)
    for slot in slots_of(root):
        assert len(list(slot.fresh())) == 2
        assert len(list(slot.above({"s": 0}))) == 2
        assert not slot.held
    assert files(root) == before


def test_a_worker_takes_a_slot_that_somebody_has_looked_at(root: Path) -> None:
    write(root, 1)
    looked_at = slots_of(root)
    assert not looked_at[0].held
    with opened(root) as journal:
        assert journal.number == looked_at[0].number == 0
        assert looked_at[0].held


# Again and again, while another process writes ------------------------------------------------------------------------


def test_each_look_reads_what_has_come_since_the_last_one(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many segments were begun meanwhile."""
    monkeypatch.setattr(journals, "SEGMENT_BYTES", 150)
    with opened(root) as journal:
        slot = Slot(root / "00")
        assert (list(slot.fresh()), slot.newest, slot.first) == ([], {}, 0)
        for last in (1, 2, 5, 5, 20):
            before = journal.last_sequence
            fill(journal, last - before)
            assert list(slot.fresh()) == numbered(last, before + 1)
            assert (slot.last, slot.records, slot.size) == (last, last, journal.size)
            assert slot.newest == {"s": Newest(last, last)}
        assert len(segments(root)) > 5
        assert list(slot.above({"s": 0})) == numbered(20)


@pytest.mark.parametrize("size", range(1, len(frame(2, payload(2)))))
def test_a_record_that_is_half_written_is_read_when_it_is_whole(root: Path, size: int) -> None:
    """It looks like a torn end until then, and is no damage afterwards."""
    with opened(root) as journal:
        fill(journal, 1)
        [segment] = segments(root)
        slot = Slot(root / "00")
        record = frame(2, payload(2))
        with segment.open("ab") as file:
            file.write(record[:size])
        assert list(slot.fresh()) == numbered(1)
        assert slot.torn == [f"{segment} ends with {size} bytes that are no record"]
        assert list(slot.fresh()) == []
        with segment.open("ab") as file:
            file.write(record[size:])
        assert list(slot.fresh()) == [(2, change(2))]
        assert (slot.torn, slot.damage) == ([], [])
        assert list(slot.above({"s": 1})) == [(2, change(2))]


def test_a_segment_that_was_only_just_begun_is_read_when_it_has_records(root: Path) -> None:
    """Its file is there before its header, and its header before its first record."""
    write(root, 1)
    [first] = segments(root)
    second = root / "00" / f"{2:016x}.log"
    data = first.read_bytes()[:START] + frame(2, payload(2))
    slot = Slot(root / "00")
    found = []
    for size in range(len(data) + 1):
        second.write_bytes(data[:size])
        found.append(list(slot.fresh()))
    assert found == [numbered(1), *[[]] * (len(data) - 1), [(2, change(2))]]
    assert (slot.damage, slot.torn) == ([], [])


def test_what_a_failed_write_left_behind_is_not_read_once_its_number_was_given_to_another(root: Path) -> None:
    """It was never acknowledged."""
    write(root, 1)
    with segments(root)[0].open("ab") as file:
        file.write(frame(2, payload(9)))
    (root / "00" / f"{2:016x}.log").write_bytes(segments(root)[0].read_bytes()[:START] + frame(2, payload(2)))
    assert kept(root) == numbered(2)


def test_a_look_that_was_left_off_goes_on_where_it_was(root: Path) -> None:
    for _ in range(3):
        write(root, 2)
    slot = Slot(root / "00")
    for n in range(1, 6):
        assert next(slot.fresh()) == (n, change(n))
    assert list(slot.fresh()) == [(6, change(6))]


def test_a_reader_goes_on_when_what_it_has_not_read_yet_is_pruned(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is deleted was applied."""
    monkeypatch.setattr(journals, "SEGMENT_BYTES", 1)
    with opened(root, max_bytes=4000) as journal:
        fill(journal, 5)
        slot, all_read = Slot(root / "00"), Slot(root / "00")
        all_read.scan()
        reader, again = slot.fresh(), all_read.above({"s": 0})
        assert next(reader) == next(again) == (1, change(1))
        for path in segments(root):
            os.utime(path, (0, 0))
        journal.applied = 3
        journal.prune(3 * HOUR)
        assert len(segments(root)) == 2
        assert list(reader) == list(again) == numbered(5, 4)
        slot.scan()
        assert (slot.first, slot.damage) == (4, [])


# Above watermarks -----------------------------------------------------------------------------------------------------


def test_only_what_was_read_is_above_a_watermark(root: Path) -> None:
    """What comes meanwhile has its turn later: it may be on its way to the store already."""
    with opened(root) as journal:
        fill(journal, 2)
        slot = Slot(root / "00")
        assert list(slot.above({"s": 0})) == []
        slot.scan()
        fill(journal, 2)
        assert list(slot.above({"s": 1})) == [(2, change(2))]


written = st.lists(st.lists(st.sampled_from("abc"), min_size=1, max_size=4), max_size=12)


@settings(max_examples=40)
@given(written, st.dictionaries(st.sampled_from("abcd"), st.integers(0, 40), max_size=4), st.integers(0, 3))
def test_above_watermarks_is_what_is_above_each_sites_own(
    groups: list[list[str]], marks: dict[str, int], skipped: int
) -> None:
    """With any segments and any places to begin at: the same as reading everything and leaving out the rest."""
    with folder_in_memory() as root, pytest.MonkeyPatch.context() as patch:
        patch.setattr(journals, "SEGMENT_BYTES", 150)
        patch.setattr(segment_files, "PLACE_BYTES", 60)
        everything = []
        with opened(root, above=skipped) as journal:
            slot = Slot(root / "00")
            for group in groups:
                first = journal.last_sequence + 1
                records = [change(n, site) for n, site in enumerate(group, first)]
                journal.append([encode(record) for record in records])
                everything += list(enumerate(records, first))
                if len(group) % 2:
                    slot.scan()
            slot.scan()
        assert list(slot.above(marks)) == [
            (sequence, record)
            for sequence, record in everything
            if record.site in marks and sequence > marks[record.site]
        ]
        assert slot.newest == {record.site: Newest(sequence, record.total) for sequence, record in everything}


# What is wrong --------------------------------------------------------------------------------------------------------


def test_what_cannot_be_read_is_told_and_the_rest_is_read(root: Path) -> None:
    write(root, 3)
    [segment] = root.glob("00/*.log")
    data = bytearray(segment.read_bytes())
    data[len(data) // 2] ^= 1
    segment.write_bytes(data)
    [slot] = slots_of(root)
    assert [sequence for sequence, _ in slot.fresh()] == [1, 3]
    [damage] = slot.damage
    assert "bytes between its records are no record" in damage


def test_a_record_that_is_no_batch_is_damage(root: Path) -> None:
    with opened(root) as journal:
        journal.append([b"no batch", payload(2)])
    [slot] = slots_of(root)
    assert list(slot.fresh()) == [(2, change(2))]
    assert slot.records == 2
    assert "record 1 is not a batch" in slot.damage[0]
    assert list(slot.above({"s": 0})) == [(2, change(2))]
    assert len(slot.damage) == 1


@pytest.mark.parametrize("text", [b"", b"0" * 31, b"A" * 32, b"\xff" * 32])
def test_a_slot_whose_writer_is_not_known_is_told_and_not_read(root: Path, text: bytes) -> None:
    """Nobody could say which of its records the store has."""
    write(root, 2)
    (root / "00" / "writer").write_bytes(text)
    [slot] = slots_of(root)
    assert list(slot.fresh()) == []
    assert slot.damage == [f"{root / '00' / 'writer'} does not hold a writer id"]


def test_a_segment_of_another_writer_is_damage_and_the_others_are_read(root: Path) -> None:
    for _ in range(3):
        write(root, 1)
    second = segments(root)[1]
    data = second.read_bytes()
    second.write_bytes(data[:10] + bytes(14) + data[24:])
    [slot] = slots_of(root)
    assert [sequence for sequence, _ in slot.fresh()] == [1, 3]
    assert [str(second) in line and "is not a journal segment of writer" in line for line in slot.damage] == [True]


def test_there_is_nothing_in_a_folder_that_was_never_used(root: Path) -> None:
    assert slots_of(root / "journal") == []
    (root / "00").mkdir()
    assert slots_of(root) == []


def test_slots_come_in_the_order_of_their_numbers(root: Path) -> None:
    for name in ("100", "00", "20", "09"):
        (root / name).mkdir()
        (root / name / "writer").write_text("0" * 32)
    assert [slot.number for slot in slots_of(root)] == [0, 9, 20, 100]


@pytest.mark.parametrize("name", ["notes", "0x"])
def test_other_peoples_folders_are_not_looked_at(root: Path, name: str) -> None:
    (root / name).mkdir()
    (root / name / "writer").write_text("0" * 32)
    assert slots_of(root) == []


async def test_without_the_store_it_is_not_known_what_is_applied(root: Path) -> None:
    write(root, 2)
    [status] = await survey(root, None)
    assert (status.records, status.waiting, status.since_ms) == (2, None, NOON + 1)
