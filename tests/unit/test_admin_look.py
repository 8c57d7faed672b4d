"""The colours of the pages for editors, computed from their style sheet: what is read can be read, in both schemes."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

SHEET = (files("visitstats.web") / "admin" / "look.css").read_text("utf-8")
TEXT, SHAPE = 4.5, 3.0
PAIRS = [
    ("text", "page", TEXT), ("text", "sheet", TEXT), ("text", "accent-soft", TEXT), ("text", "warn-soft", TEXT),
    ("muted", "page", TEXT), ("muted", "sheet", TEXT), ("accent", "page", TEXT), ("accent", "sheet", TEXT),
    ("accent", "accent-soft", TEXT), ("on-accent", "accent", TEXT), ("warn", "sheet", TEXT),
    ("warn", "warn-soft", TEXT), ("bad", "sheet", TEXT), ("bad", "bad-soft", TEXT), ("good", "page", TEXT),
    ("edge", "sheet", SHAPE), ("imported", "sheet", SHAPE), ("ghost", "sheet", SHAPE), ("accent", "unknown", SHAPE),
    ("text", "focus", SHAPE),
]  # fmt: skip
"""Foreground, background, the least contrast (WCAG 2.1, 1.4.3 and 1.4.11)."""


def tokens(scheme: str) -> dict[str, str]:
    """The colours of a scheme by their names."""
    blocks = re.findall(r":root \{(.*?)\}", SHEET, re.DOTALL)
    light, dark = (dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{3,6})", block)) for block in blocks[:2])
    return light if scheme == "light" else {**light, **dark}


def luminance(colour: str) -> float:
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    parts = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("front", "back", "least"), PAIRS)
def test_a_pair_of_colours_can_be_told_apart(scheme: str, front: str, back: str, least: float) -> None:
    found = tokens(scheme)
    if (front, back) == ("text", "focus"):  # the ring is of both: one of them is seen on any ground
        assert max(contrast(found["text"], found["sheet"]), contrast(found["focus"], found["sheet"])) >= least
        return
    assert contrast(found[front], found[back]) >= least


def test_contrast_is_computed_as_it_is_defined() -> None:
    assert contrast("#000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#fff") == pytest.approx(4.48, abs=0.01)


def test_no_colour_stands_outside_of_the_tokens() -> None:
    """Dark mode would miss it; print has its own."""
    rest = re.sub(r":root \{.*?\}", "", SHEET, flags=re.DOTALL)
    assert re.findall(r"#[0-9a-f]{3,8}\b(?![^{]*\{)", rest.partition("@media print")[0]) == []
    assert "url(" not in SHEET.replace("url(#hatch)", "").replace("url(#missing)", "")
    assert "!important" not in SHEET.replace("[hidden] { display: none !important; }", "")


def test_every_task_has_a_name_that_people_read() -> None:
    """On the page of health, in both languages."""
    source = files("visitstats")
    code = [(source / name).read_text("utf-8") for name in ("worker.py", "tasks/table.py")]
    tasks = {name for text in code for name in re.findall(r'Task\("([a-z-]+)"', text)}
    assert len(tasks) > 8
    for language in ("vi", "en"):
        words = (source / "web" / "admin" / "words" / language / "health.js").read_text("utf-8")
        assert sorted(name for name in tasks if f"'task.{name}'" not in words) == [], language
