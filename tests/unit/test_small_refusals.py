"""What is refused helps on: a name that is nearly right, and a command that root must not run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from visitstats.access import InvalidToken
from visitstats.cli.session import WrongUser, check_user
from visitstats.cli.tokens import secret_in
from visitstats.core.errors import InvalidSite
from visitstats.core.sites import Site


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        *((each, "Asia/Ho_Chi_Minh") for each in ("Asia/Hanoi", "Ha Noi", "Vietnam", "UTC+7", "GMT+07:00", "+07:00")),
        ("asia/ho_chi_minh ", "Asia/Ho_Chi_Minh"),
        ("Asia/Ho-Chi-Min", "Asia/Ho_Chi_Minh"),
        ("Bangkok", "Asia/Bangkok"),
        ("Europe/Pari", "Europe/Paris"),
    ],
)
def test_a_time_zone_that_is_misspelt_gets_a_suggestion(written: str, meant: str) -> None:
    with pytest.raises(InvalidSite, match=f"did you mean {meant}\\?"):
        Site(id="a", hosts=("a.vn",), timezone=written)


@pytest.mark.parametrize("written", ["", "x" * 5000, "Zzzz/Qqqq", "../../etc/passwd"])
def test_one_that_is_like_none_gets_an_example(written: str) -> None:
    with pytest.raises(InvalidSite, match="names are such as Asia/Ho_Chi_Minh"):
        Site(id="a", hosts=("a.vn",), timezone=written)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a folder of another user")
def test_root_does_not_work_on_the_services_folder(tmp_path: Path) -> None:
    """The first command that is run as root would leave files that the service cannot read, and it would not start."""
    check_user(tmp_path)
    check_user(tmp_path / "missing")
    os.chown(tmp_path, 65534, 65534)
    with pytest.raises(WrongUser, match=r"belongs to (nobody|#65534), .*sudo -u"):
        check_user(tmp_path)


def test_a_tokens_file_that_cannot_be_used_is_refused_without_what_is_in_it(tmp_path: Path) -> None:
    file = tmp_path / "token"
    with pytest.raises(InvalidToken, match="No such file"):
        secret_in(file)
    file.write_bytes(b"\n")
    with pytest.raises(InvalidToken, match="is empty"):
        secret_in(file)
    file.write_bytes(b"hush\xff")
    with pytest.raises(InvalidToken, match="not a text file") as refused:
        secret_in(file)
    assert "hush" not in str(refused.value)
    file.write_bytes(b"hush\r\n")
    assert secret_in(file) == "hush"
