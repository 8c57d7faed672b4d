"""The data folder is the service's alone: what is made there nobody else reads, and it follows no link."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest

from tests.client import Hit
from tests.driver import PROGRAM
from tests.web.inprocess import running
from tests.web.test_limits import ANN
from visitstats.core.errors import FolderUnfit
from visitstats.journal.folder import claim_folder, guard_folder, keep_private
from visitstats.system.files import write_file


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o277])
async def test_files_are_600_and_folders_700_whatever_the_umask(tmp_path: Path, redis_url: str, umask: int) -> None:
    """A whole run: journal, metrics, last numbers, limits, index of articles."""
    before = os.umask(umask)
    try:
        keep_private()
        data = tmp_path / "data"
        async with running(data, redis_url) as app:
            await app.connection.hit("t1", Hit(ANN, "/a"))
            headers = {"authorization": await app.token("viewer")}
            assert (await app.connection.request("GET", "/v1/admin/sites/t1/articles", headers=headers)).status == 200
        found = {path: stat.S_IMODE(path.lstat().st_mode) for path in (data, *data.rglob("*"))}
        assert len(found) > 10
        wide = {str(path): oct(mode) for path, mode in found.items() if mode != (0o700 if path.is_dir() else 0o600)}
        assert wide == {}
    finally:
        os.umask(before)


def test_the_program_sets_its_umask_before_anything_else(tmp_path: Path, redis_url: str) -> None:
    """Any command, in a shell whose umask lets everybody write."""
    environment = {**os.environ, "VISITSTATS_DATA_DIR": str(tmp_path / "data"), "VISITSTATS_REDIS_URL": redis_url}
    command = f"umask 000; exec {PROGRAM} merge portal /a /b --yes"
    subprocess.run(
        [str(PROGRAM), "site", "add", "portal", "--host", "portal.vn"], env=environment, check=True, timeout=60
    )
    subprocess.run(["sh", "-c", command], env=environment, check=False, timeout=60, capture_output=True)
    made = list((tmp_path / "data").rglob("*"))
    assert made
    assert not [path for path in made if path.lstat().st_mode & 0o077]


def test_a_folder_that_everybody_may_write_is_refused(tmp_path: Path) -> None:
    """The folder itself, a folder in it, or a file."""
    data = tmp_path / "data"
    claim_folder(data)
    (data / "journal").mkdir()
    for path in (data, data / "journal", data / "schema"):
        mode = path.stat().st_mode
        path.chmod(0o777)
        with pytest.raises(FolderUnfit, match=f"everybody may write {path}: .*chmod o-w"):
            claim_folder(data)
        path.chmod(mode)
    claim_folder(data)
    done = subprocess.run(
        ["sh", "-c", f"chmod o+w {data}; exec {PROGRAM} serve --data-dir {data} --port 0"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("visitstats: everybody may write")
    assert done.stderr.count("\n") == 1


def test_a_link_in_the_folder_is_refused_and_not_followed(tmp_path: Path) -> None:
    """Whichever file or folder of ours it stands for; what it leads to stays as it was. The folder may be a link."""
    victim = tmp_path / "victim"
    victim.write_text("dear")
    for name in ("schema", "limits", "journal", "index.sqlite", "last/numbers.json", "metrics/x.db", "a/b/c"):
        data = tmp_path / name.replace("/", "-")
        (data / name).parent.mkdir(parents=True)
        (data / name).symlink_to(victim)
        with pytest.raises(FolderUnfit, match="is a link"):
            claim_folder(data)
        assert victim.read_text() == "dear"
    real = tmp_path / "real"
    claim_folder(real)
    (tmp_path / "elsewhere").symlink_to(real)
    claim_folder(tmp_path / "elsewhere")


def test_a_file_is_not_written_through_a_link_that_somebody_puts_there_later(tmp_path: Path) -> None:
    """Under the name that is about to be written, too."""
    victim, path = tmp_path / "victim", tmp_path / "numbers.json"
    victim.write_text("dear")
    path.symlink_to(victim)
    write_file(path, b"ours")
    assert (victim.read_text(), path.read_text(), path.is_symlink()) == ("dear", "ours", False)
    path.with_name(f"numbers.json.{os.getpid()}.new").symlink_to(victim)
    with pytest.raises(OSError, match="symbolic"):
        write_file(path, b"again")
    assert victim.read_text() == "dear"


def test_another_users_folder_and_a_writing_group_are_warned_about(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "data"
    claim_folder(data)
    assert guard_folder(data) == []
    data.chmod(0o770)
    [warning] = guard_folder(data)
    assert "group" in warning
    data.chmod(0o700)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    [warning] = guard_folder(data)
    assert "belongs to another user" in warning
    assert guard_folder(tmp_path / "not there") == []
