"""The documentation cannot drift: what the program has is read from the program and looked up in `docs/`.

Each `test_every_…` here lists things of one kind and hands them to `undocumented`.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from visitstats.settings import Settings

DOCS = Path(__file__).parents[2] / "docs"


def undocumented(page: str, rows: Iterable[tuple[str, ...]]) -> list[str]:
    """Of these things those that have no line in the page with all of their words as `code` (empty words skipped)."""
    lines = (DOCS / page).read_text(encoding="utf-8").splitlines()
    return [row[0] for row in rows if not any(all(f"`{word}`" in line for word in row if word) for line in lines)]


def test_every_setting_is_documented_with_its_variable_and_default() -> None:
    assert undocumented("settings.md", ((row.name, row.env, row.default) for row in Settings.document())) == []


def test_no_setting_is_documented_that_does_not_exist() -> None:
    lines = (DOCS / "settings.md").read_text(encoding="utf-8").splitlines()
    documented = [line.split("`")[1] for line in lines if line.startswith("| `")]
    assert documented == [row.name for row in Settings.document()]


def test_the_check_finds_what_is_missing() -> None:
    assert undocumented(
        "settings.md", [("port", "VISITSTATS_PORT", "8080"), ("port", "VISITSTATS_PORT", "1"), ("zzz",)]
    ) == [
        "port",
        "zzz",
    ]
