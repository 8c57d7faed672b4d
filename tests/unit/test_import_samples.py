"""The made-up files of old counters, with mistakes in them: each comes to what is right, or is refused where it is wrong."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.importing import OUTCOMES, SAMPLES, outcome_of

COMPARED = ("reader", "site", "years", "months", "days", "articles", "article_days", "warnings")
WHERE_TOLD = ("undated", "ignored", "range")
"""Compared where the right outcome names them."""


def options_of(said: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {name: said[name] for name in ("views", "table", "prefix", "timezone") if name in said}
    found["column"] = tuple((name, said[name]) for name in ("date", "visits") if name in said)
    if "pages" in said:
        found["pages"] = tuple((SAMPLES / said["pages"]).read_text(encoding="utf-8").split())
    return found


@pytest.mark.parametrize("name", OUTCOMES)
def test_a_sample_comes_to_what_is_right(name: str, tmp_path: Path) -> None:
    """Every number, period, article, warning and refusal is equal; what is not named must be empty."""
    right = OUTCOMES[name]
    said = right.get("options", {})
    preset = (said["preset"],) if "preset" in said else ()
    found = outcome_of([SAMPLES / name], tmp_path, *preset, **options_of(said))
    if "refused" in right:
        assert {key: found["refused"][key] for key in ("line", "why")} == right["refused"]
        assert not (tmp_path / "draft.sqlite").exists()
        return
    for part in COMPARED:
        assert found[part] == right.get(part, [] if part == "warnings" else {}), part
    for part in WHERE_TOLD:
        if part in right:
            assert found[part] == right[part], part


def test_every_load_counts_what_was_not_first_in_its_session(tmp_path: Path) -> None:
    """A site that counts every load takes every load of GoatCounter, too."""
    right = OUTCOMES["goatcounter-export.csv"]["every-load"]
    found = outcome_of([SAMPLES / "goatcounter-export.csv"], tmp_path, views="every-load")
    assert found["site"]["views_total"] == right["views_total"]
    assert found["articles"]["/tin/a.html"]["views"] == right["/tin/a.html"]


def test_no_sample_is_forgotten() -> None:
    """Each file of the folder has an outcome, or belongs to one that has."""
    there = {path.name for path in SAMPLES.iterdir()} - {"outcomes.json"}
    assert there - set(OUTCOMES) == {"busuanzi-pages.txt"}
    assert json.loads((SAMPLES / "outcomes.json").read_text(encoding="utf-8")) == OUTCOMES
