"""The doctor says what is wrong with the data folder and the machine, and what to change; it leaves nothing behind."""

from __future__ import annotations

import os
import resource
import socket
from pathlib import Path

import msgspec
import pytest

from tests.ports import free_port
from tests.unit.slots import opened
from visitstats.settings import Settings
from visitstats.store.fitness import Condition
from visitstats.trust.doctor import Machine, Row, check_folder, check_machine, mount_type, versions
from visitstats.trust.losses import note_loss
from visitstats.trust.store_checks import check_store

WELL = Condition(
    server="valkey", version="9.1.2", role="master", mode="standalone", append_only=True, append_fsync="everysec",
    append_error="", snapshot_error="", snapshots=False, policy="noeviction", used_bytes=1 << 20, most_bytes=0,
    machine_bytes=1 << 33, clock_ahead=0.01, ping=0.0002,
)  # fmt: skip


def changed(**values: object) -> Condition:
    return msgspec.structs.replace(WELL, **values)


def troubles(condition: Condition, *, embedded: bool = False) -> dict[str, str]:
    rows = list(check_store(condition, embedded=embedded))
    assert all(row.advice for row in rows if row.status != "ok")
    assert not any(row.advice for row in rows if row.status == "ok")
    return {row.check: row.status for row in rows if row.status != "ok"}


def test_a_store_that_is_well_has_no_advice() -> None:
    assert troubles(WELL) == {}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"server": "redis", "version": "7.0.15"}, {}),
        ({"server": "redis", "version": "6.2.14"}, {"store version": "fail"}),
        ({"server": "valkey", "version": "7.2.5"}, {}),
        ({"server": "valkey", "version": "7.0.0"}, {"store version": "fail"}),
        ({"version": ""}, {"store version": "fail"}),
        ({"policy": "allkeys-lru"}, {"eviction": "fail"}),
        ({"policy": ""}, {"eviction": "fail"}),
        ({"append_only": False, "snapshots": True}, {"persistence": "warn"}),
        ({"append_only": False}, {"persistence": "fail"}),
        ({"append_fsync": "no"}, {"persistence": "warn"}),
        ({"append_fsync": "always"}, {}),
        ({"append_fsync": ""}, {}),
        ({"append_error": "aof_last_write_status is err"}, {"store's disk": "fail"}),
        ({"snapshot_error": "rdb_last_bgsave_status is err"}, {"store's disk": "warn"}),
        ({"most_bytes": 1 << 20}, {"store memory": "warn"}),
        ({"most_bytes": 2 << 20}, {}),
        ({"machine_bytes": -1}, {}),
        ({"role": "slave"}, {"role": "fail"}),
        ({"mode": "cluster"}, {"role": "fail"}),
        ({"mode": "sentinel"}, {}),
        ({"clock_ahead": 1.5}, {"clock": "warn"}),
        ({"clock_ahead": -1.5}, {"clock": "warn"}),
        ({"ping": 0.02}, {"latency": "warn"}),
    ],
)
def test_what_is_wrong_with_a_store(values: dict[str, object], expected: dict[str, str]) -> None:
    assert troubles(changed(**values)) == expected


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    folder = tmp_path / "data"
    folder.mkdir()
    port = free_port()
    return Settings.load({"data_dir": folder, "port": port})


def machine(tmp_path: Path, mounts: str = "") -> Machine:
    file = tmp_path / "mounts"
    file.write_text(mounts, "utf-8")
    return Machine(mounts=file)


def folder_rows(settings: Settings, where: Machine) -> dict[str, Row]:
    return {row.check: row for row in check_folder(settings, where)}


def test_a_folder_that_is_well_has_no_advice_and_nothing_in_it_afterwards(settings: Settings, tmp_path: Path) -> None:
    rows = folder_rows(settings, machine(tmp_path))
    assert rows["data folder"].status in ("ok", "warn")  # a slow disk is a warning
    assert "takes a write and an fsync in" in rows["data folder"].found
    assert {rows[check].status for check in ("file system", "losses")} == {"ok"}
    assert list(settings.data_dir.iterdir()) == []


def test_a_folder_that_is_not_there_is_not_made(settings: Settings, tmp_path: Path) -> None:
    settings.data_dir.rmdir()
    rows = folder_rows(settings, machine(tmp_path))
    assert [(row.check, row.status) for row in rows.values()] == [("data folder", "fail")]
    assert not settings.data_dir.exists()


def test_a_folder_that_takes_no_write_fails(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(handle: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", refuses)
    row = folder_rows(settings, machine(tmp_path))["data folder"]
    assert (row.status, "Input/output error" in row.found) == ("fail", True)
    assert list(settings.data_dir.iterdir()) == []


@pytest.mark.parametrize(
    ("kind", "status"), [("ext4", "ok"), ("nfs4", "warn"), ("tmpfs", "fail"), ("fuse.sshfs", "warn"), ("overlay", "ok")]
)
def test_the_kind_of_file_system_matters(settings: Settings, tmp_path: Path, kind: str, status: str) -> None:
    where = machine(tmp_path, f"/dev/x / ext4 rw 0 0\nserver:/x {tmp_path.resolve()} {kind} rw 0 0\n")
    row = folder_rows(settings, where)["file system"]
    assert (row.found, row.status) == (kind, status)


def test_the_nearest_mount_is_the_one_that_counts(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text("a / ext4 0\nb /srv xfs 0\nc /srv/a\\040b nfs 0\nd /srv/ab tmpfs 0\nbroken\n", "utf-8")
    assert [mount_type(Path(name), mounts) for name in ("/opt", "/srv/x", "/srv/a b/x", "/srv/abc")] == [
        "ext4",
        "xfs",
        "nfs",
        "xfs",
    ]
    assert mount_type(Path("/"), tmp_path / "none") == ""


def test_a_journal_that_is_not_synced_is_told(settings: Settings, tmp_path: Path) -> None:
    assert folder_rows(settings, machine(tmp_path))["durability"].status == "ok"
    row = folder_rows(msgspec.structs.replace(settings, durability="os"), machine(tmp_path))["durability"]
    assert (row.status, "before they are on the disk" in row.found) == ("warn", True)


def test_a_journal_that_may_outgrow_the_disk_is_told(settings: Settings, tmp_path: Path) -> None:
    greedy = msgspec.structs.replace(settings, journal_max_mb=1 << 20, workers=64)
    row = folder_rows(greedy, machine(tmp_path))["disk space"]
    assert row.status in ("warn", "fail")
    assert "may still grow by 67108864 MiB" in row.found


def test_a_loss_is_told_until_it_is_settled(settings: Settings, tmp_path: Path) -> None:
    note_loss(settings.data_dir / "last", {"portal": 152_400}, 1_800_000_000_000)
    row = folder_rows(settings, machine(tmp_path))["losses"]
    assert row.status == "fail"
    assert row.found == "the store was found empty at 2027-01-15T08:00+00:00: portal had 152400"
    assert "store-lost.json" in row.advice


def rows_of(settings: Settings, where: Machine) -> dict[str, Row]:
    return {row.check: row for row in check_machine(settings, where)}


def test_a_free_port_and_time_zones_are_well(settings: Settings, tmp_path: Path) -> None:
    rows = rows_of(settings, machine(tmp_path))
    assert rows["port"].status == rows["time zones"].status == "ok"
    assert rows["port"].found.endswith("is free")


def test_a_port_that_another_program_has_fails_and_the_services_own_does_not(
    settings: Settings, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", settings.port)):
        assert rows_of(settings, machine(tmp_path))["port"].status == "fail"
        with opened(settings.data_dir / "journal"):
            row = rows_of(settings, machine(tmp_path))["port"]
    assert (row.status, "the service runs" in row.found) == ("ok", True)


def test_a_machine_without_time_zones_fails(settings: Settings, tmp_path: Path) -> None:
    row = rows_of(settings, Machine(mounts=tmp_path, zones=lambda: {"UTC"}))["time zones"]
    assert (row.status, row.advice) == ("fail", "install the package tzdata")


def test_few_open_files_are_a_warning(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda which: (256, 4095))
    row = rows_of(settings, machine(tmp_path))["open files"]
    assert (row.status, "LimitNOFILE" in row.advice) == ("warn", True)
    monkeypatch.setattr(resource, "getrlimit", lambda which: (256, 4096))
    assert rows_of(settings, machine(tmp_path))["open files"].status == "ok", "workers raise the soft limit"


def test_the_versions_are_those_of_a_bug_report() -> None:
    assert "Python 3." in versions()
    assert "redis 8" in versions()
    assert "not installed" not in versions()
