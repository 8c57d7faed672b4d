"""`visitstats explain` and `visitstats stats`: the same rules at the command line, on a store that nobody serves."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.shell import Shell


@pytest.fixture
def shell(tmp_path: Path, redis_url: str) -> Shell:
    found = Shell(tmp_path, redis_url)
    found("site", "add", "s", "--host", "portal.vn")
    return found


def test_a_page_load_is_explained_and_not_counted(shell: Shell) -> None:
    said = shell("explain", "s", "https://www.portal.vn/tin/5?fbclid=x", "--visit-id", "abc")
    assert "Counted for the article /tin/5" in said
    assert "with the visit id" in said
    assert "each worker lets in 60000 in a minute: ask the service" in " ".join(said.split())
    assert "it starts one" in said
    assert re.search(r"today +│ +0 │ +0 ", shell("stats", "s"))


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("https://evil.example/a",), "host"),
        (("https://portal.vn/a", "--agent", "curl/8.5.0"), "bot"),
        (("https://portal.vn/a", "--agent", ""), "empty-agent"),
        (("https://portal.vn/a", "--origin", "https://evil.example"), "origin"),
        (("not an address",), "bad-url"),
        (("https://portal.vn/a", "--visit-id", "x" * 65), "bad-field"),
        (("http://[::1/a",), "host"),
    ],
)
def test_a_refusal_is_explained(shell: Shell, arguments: tuple[str, ...], reason: str) -> None:
    said = shell("explain", "s", *arguments)
    assert f"refused: {reason}" in said
    assert f"Not counted: {reason}" in said


def test_no_origin_is_as_the_site_says(shell: Shell) -> None:
    assert "Counted for" in shell("explain", "s", "https://portal.vn/a", "--origin", "")
    shell("site", "set", "s", "--missing-origin", "refuse")
    assert "Not counted: origin" in shell("explain", "s", "https://portal.vn/a", "--origin", "")


def test_a_site_that_is_not_there_and_a_day_that_is_none(shell: Shell) -> None:
    assert "there is no site" in shell("explain", "nix", "https://portal.vn/a", fails=True)
    assert "write it as 2026-11-24" in shell("stats", "s", "--day", "24.11.2026", fails=True)
    assert "nothing, or it is too long ago" in shell("stats", "s", "--day", "2020-01-01")


def test_office_networks_and_the_cap_of_visitors_are_set_and_shown(shell: Shell) -> None:
    shell("site", "set", "s", "--office", "10.20.0.0/16", "--office", "203.0.113.7", "--visitors-per-network", "50")
    shown = shell("site", "show", "s")
    assert "10.20.0.0/16 203.0.113.7/32" in shown
    assert "did you mean" not in shown
    assert "is written '10.20.0.0/16'" in shell("site", "set", "s", "--office", "10.20.3.4/16", fails=True)
    assert "is no network" in shell("site", "set", "s", "--office", "office", fails=True)
    assert "visitors_per_network is" in shell("site", "set", "s", "--visitors-per-network", "-1", fails=True)
    shell("site", "set", "s", "--office", "")
    assert "10.20" not in shell("site", "show", "s")
