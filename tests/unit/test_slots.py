"""Looking at a journal from outside changes nothing in it and disturbs nobody who uses it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.journals import opened
from tests.store.writing import DAY, NOON, batch_of
from visitstats.core.batch import encode
from visitstats.core.counting import SLOT_MS
from visitstats.slots import slots_of, survey


def write(root: Path, count: int) -> None:
    with opened(root) as journal:
        for n in range(count):
            journal.append([encode(batch_of((NOON + n, "An", "/a"), previous=n))])


def files(root: Path) -> dict[str, tuple[bytes, int]]:
    return {str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in root.rglob("*") if path.is_file()}


def test_a_slot_tells_what_is_in_it(tmp_path: Path) -> None:
    write(tmp_path, 3)
    [slot] = slots_of(tmp_path)
    assert [(sequence, batch.previous, batch.day) for sequence, batch in slot.batches()] == [
        (1, 0, DAY.date),
        (2, 1, DAY.date),
        (3, 2, DAY.date),
    ]
    assert (slot.number, slot.first, slot.last, slot.records, slot.held) == (0, 1, 3, 3, False)
    assert slot.since_ms <= NOON < slot.since_ms + SLOT_MS
    assert slot.size == sum(path.stat().st_size for path in tmp_path.glob("00/*.log"))
    assert (slot.damage, slot.torn) == ([], [])


def test_looking_leaves_everything_as_it_is(tmp_path: Path) -> None:
    write(tmp_path, 2)
    before = files(tmp_path)
    for slot in slots_of(tmp_path):
        assert len(list(slot.batches())) == 2
    assert files(tmp_path) == before


def test_a_slot_in_use_is_seen_to_be_and_goes_on(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        journal.append([encode(batch_of((NOON, "An", "/a")))])
        [slot] = slots_of(tmp_path)
        assert slot.held
        assert len(list(slot.batches())) == 1
        journal.append([encode(batch_of((NOON, "An", "/a"), previous=1))])
        assert [sequence for sequence, _ in slot.batches()] == [1, 2]
    [slot] = slots_of(tmp_path)
    assert not slot.held


def test_a_worker_takes_a_slot_that_somebody_has_looked_at(tmp_path: Path) -> None:
    write(tmp_path, 1)
    looked_at = slots_of(tmp_path)
    with opened(tmp_path) as journal:
        assert journal.number == looked_at[0].number == 0


def test_what_cannot_be_read_is_told_and_the_rest_is_read(tmp_path: Path) -> None:
    write(tmp_path, 3)
    [segment] = tmp_path.glob("00/*.log")
    data = bytearray(segment.read_bytes())
    data[len(data) // 2] ^= 1
    segment.write_bytes(data)
    [slot] = slots_of(tmp_path)
    assert [sequence for sequence, _ in slot.batches()] == [1, 3]
    [damage] = slot.damage
    assert "bytes between its records are no record" in damage


def test_a_record_that_is_no_batch_is_damage(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        journal.append([b"no batch"])
        journal.append([encode(batch_of((NOON, "An", "/a")))])
    [slot] = slots_of(tmp_path)
    assert [sequence for sequence, _ in slot.batches()] == [2]
    assert slot.records == 2
    assert "record 1 is not a batch" in slot.damage[0]


def test_there_is_nothing_in_a_folder_that_was_never_used(tmp_path: Path) -> None:
    assert slots_of(tmp_path / "journal") == []
    (tmp_path / "00").mkdir()
    assert slots_of(tmp_path) == []


@pytest.mark.parametrize("name", ["notes", "0x"])
def test_other_peoples_folders_are_not_looked_at(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "writer").write_text("0" * 32)
    assert slots_of(tmp_path) == []


async def test_without_the_store_nobody_knows_what_is_applied(tmp_path: Path) -> None:
    write(tmp_path, 2)
    [status] = await survey(tmp_path, None, NOON)
    assert (status.records, status.waiting) == (2, None)
