"""Backups as files: what is refused, what is kept, and for how long."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from visitstats.backup.manifest import (
    FORMAT,
    LASTING,
    MANIFEST,
    RECENT,
    BackupDamaged,
    File,
    Manifest,
    backups_in,
    digest_of,
    forget,
    open_backup,
    rotate,
    write_manifest,
)
from visitstats.backup.state import State, note_state, read_state
from visitstats.core.counting import SALT_LIFE_MS
from visitstats.core.schema import SCHEMA_NUMBER
from visitstats.store.dump import Totals

NOON = 1_800_000_000_000
JOURNAL = "data/journal/00/0000000000000001.log"


def made(
    target: Path, name: str = "visitstats-20270115T080000Z", *, form: int = FORMAT, schema: int = SCHEMA_NUMBER
) -> Path:
    """A backup with files of each sort."""
    folder = target / name
    for inside in (LASTING, RECENT, JOURNAL, "data/schema"):
        path = folder / inside
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(inside.encode() * 3)
    recent = (RECENT, JOURNAL)
    files = {
        inside: File(*digest_of(folder / inside), inside in recent)
        for inside in (LASTING, RECENT, JOURNAL, "data/schema")
    }
    write_manifest(
        folder,
        Manifest(
            format=form, schema=schema, program="0", store="valkey 9", host="here", method="snapshot", begun_ms=NOON,
            journal_ms=NOON,
            sites={"t1": Totals(1, 2, 3, 4)}, notes=["Thống kê"], files=files,
        ),
    )  # fmt: skip
    return folder


def refusal(folder: Path, now_ms: int = NOON) -> str:
    with pytest.raises(BackupDamaged) as refused:
        open_backup(folder, now_ms)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_a_whole_backup_is_taken(tmp_path: Path) -> None:
    found = open_backup(made(tmp_path), NOON)
    assert found.has_recent
    assert found.manifest.sites == {"t1": Totals(1, 2, 3, 4)}


@pytest.mark.parametrize("inside", [LASTING, RECENT, JOURNAL, "data/schema"])
def test_a_byte_that_is_changed_cut_or_added_makes_it_be_refused(tmp_path: Path, inside: str) -> None:
    path = made(tmp_path) / inside
    whole = path.read_bytes()
    for n in range(len(whole)):
        path.write_bytes(whole[:n] + bytes([whole[n] ^ 1]) + whole[n + 1 :])
        assert inside in refusal(tmp_path / "visitstats-20270115T080000Z")
    for damaged in (whole[:-1], whole + b"x", b""):
        path.write_bytes(damaged)
        assert f"{len(damaged)} bytes" in refusal(tmp_path / "visitstats-20270115T080000Z")
    path.unlink()
    assert f"{inside} is missing" in refusal(tmp_path / "visitstats-20270115T080000Z")


def test_a_changed_byte_of_the_manifest_is_found(tmp_path: Path) -> None:
    """No total and no name of a host may differ from what was written."""
    folder = made(tmp_path)
    whole = (folder / MANIFEST).read_bytes()
    for n in range(len(whole)):
        (folder / MANIFEST).write_bytes(whole[:n] + bytes([whole[n] ^ 1]) + whole[n + 1 :])
        refusal(folder)
    for damaged in (whole[:-1], whole + b" ", b""):
        (folder / MANIFEST).write_bytes(damaged)
        refusal(folder)


def test_what_is_no_backup_is_refused(tmp_path: Path) -> None:
    assert "no backup" in refusal(tmp_path)
    assert "no backup" in refusal(tmp_path / "nothing")
    (tmp_path / "file").touch()
    assert "no backup" in refusal(tmp_path / "file")
    folder = made(tmp_path)
    (folder / "data" / "more").touch()
    assert "none of its own: data/more" in refusal(folder)


def test_one_of_another_version_is_refused(tmp_path: Path) -> None:
    assert "use its own version" in refusal(made(tmp_path, form=FORMAT + 1))
    assert "use its own version" in refusal(made(tmp_path, schema=SCHEMA_NUMBER + 1))


def test_the_newest_are_kept_and_nothing_else_in_the_folder_is_touched(tmp_path: Path) -> None:
    names = [f"visitstats-202701{day:02d}T080000Z" for day in range(10, 15)]
    for name in names:
        made(tmp_path, name)
    for other in ("photos", "visitstats-old", ".visitstats-tmp-1"):
        (tmp_path / other).mkdir()
    assert [path.name for path in rotate(tmp_path, 2, NOON)] == names[:3]
    assert [path.name for path in backups_in(tmp_path)] == names[3:]
    assert {path.name for path in tmp_path.iterdir()} == {*names[3:], "photos", "visitstats-old", ".visitstats-tmp-1"}


def test_who_was_here_is_deleted_when_the_days_salts_are_past_their_life(tmp_path: Path) -> None:
    """The counts stay, and it is still a backup. Before that time, the same files missing is damage."""
    folder = made(tmp_path)
    rotate(tmp_path, 1, NOON + SALT_LIFE_MS - 1)
    assert open_backup(folder, NOON + SALT_LIFE_MS - 1).has_recent
    rotate(tmp_path, 1, NOON + SALT_LIFE_MS)
    assert not (folder / RECENT).exists()
    assert not (folder / JOURNAL).exists()
    assert open_backup(folder, NOON + SALT_LIFE_MS).dumps == [folder / LASTING]
    assert "is missing" in refusal(folder, NOON + SALT_LIFE_MS - 1)
    shutil.rmtree(folder)
    folder = made(tmp_path)
    (folder / RECENT).unlink()
    assert f"{RECENT} is missing" in refusal(folder, NOON + SALT_LIFE_MS)


def test_a_damaged_backup_does_not_stop_the_rotation(tmp_path: Path) -> None:
    folder = made(tmp_path)
    (folder / MANIFEST).write_bytes(b"{}")
    forget(folder, NOON + SALT_LIFE_MS)
    assert (folder / RECENT).exists()


def test_the_data_folder_knows_the_last_backup_and_the_last_check(tmp_path: Path) -> None:
    """They are of different moments, and neither forgets the other."""
    assert read_state(tmp_path) == State()
    note_state(tmp_path, State(path="/b/1", made_ms=1, bytes=10))
    note_state(tmp_path, State(verified_ms=2))
    note_state(tmp_path, State(path="/b/2", made_ms=3, bytes=30))
    assert read_state(tmp_path) == State(path="/b/2", made_ms=3, bytes=30, verified_ms=2)
    (tmp_path / "backup.json").write_bytes(b"\xff")
    assert read_state(tmp_path) == State()
