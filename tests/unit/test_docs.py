"""The documentation cannot drift: what the program has is read from the program and looked up in `docs/`.

Each `test_every_…` here lists things of one kind and hands them to `undocumented`.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from visitstats.cli import application
from visitstats.core import boxes, counting, keys, link, numbers
from visitstats.core.box_words import WORDS
from visitstats.core.presets import PRESETS
from visitstats.settings import SETTINGS
from visitstats.web.app import ROUTES
from visitstats.web.routes import explain, openapi
from visitstats.web.routes.pages import Pages
from visitstats.web.routes.portal import Portal

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
SOURCE = ROOT / "src" / "visitstats"
LINK = re.compile(r"!?\[[^]]*\]\(([^)#\s]+)[^)]*\)|<img[^>]* src=\"([^\"]+)\"")
METRIC_KINDS = {"Counter": "_total", "Gauge": "", "Histogram": "", "Family": "", "tally": ""}


def undocumented(page: str, rows: Iterable[tuple[str, ...]]) -> list[str]:
    """Of these things those that have no line in the page with all of their words as `code` (empty words skipped)."""
    lines = (DOCS / page).read_text(encoding="utf-8").splitlines()
    return [row[0] for row in rows if not any(all(f"`{word}`" in line for word in row if word) for line in lines)]


def first_column(page: str, beginning: str) -> set[str]:
    """The things that a page's tables are about: the `code` of each row's first cell that begins like this."""
    cells = [line.split("|")[1] for line in (DOCS / page).read_text(encoding="utf-8").splitlines() if line[:3] == "| `"]
    return {word for cell in cells for word in re.findall(r"`([^`]+)`", cell) if word.startswith(beginning)}


def calls(path: Path) -> Iterator[tuple[str, str]]:
    """Name and first argument of every call in a file whose first argument is a text."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args:
            first = node.args[0]
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                yield node.func.id, first.value


def documented_routes() -> set[tuple[str, str]]:
    """Method and path of each line in the table of docs/api.md."""
    rows = re.findall(r"^\| (`/.*?) \| ([A-Z, ]+) \|", (DOCS / "api.md").read_text(encoding="utf-8"), re.MULTILINE)
    return {
        (method, path)
        for paths, methods in rows
        for path in re.findall(r"`(.+?)`", paths)
        for method in methods.split(", ")
    }


def metrics() -> set[str]:
    files = (SOURCE / "metrics.py", SOURCE / "reading" / "families.py")
    return {name + METRIC_KINDS[kind] for file in files for kind, name in calls(file) if kind in METRIC_KINDS}


def commands(command: Any, name: str = "visitstats") -> Iterator[tuple[str, set[str]]]:
    """Every command that does something, by its full name, and its options. (Typer carries a click of its own.)"""
    for child, each in getattr(command, "commands", {}).items():
        yield from commands(each, f"{name} {child}")
    if getattr(command, "invoke_without_command", True):
        options = (each for each in command.params if each.param_type_name == "option")
        yield name, {word for each in options for word in (*each.opts, *each.secondary_opts)} - {"--help"}


def sections() -> dict[str, str]:
    """The parts of docs/cli.md by what their headings name."""
    found: dict[str, str] = {}
    for part in (DOCS / "cli.md").read_text(encoding="utf-8").split("\n## ")[1:]:
        heading, _, text = part.partition("\n")
        for name in re.findall(r"`([^`]+)`", heading) or [heading]:
            found[name] = text
    return found


def test_every_setting_is_documented_with_its_variable_and_default() -> None:
    assert undocumented("settings.md", ((row.name, row.variable, row.shown_default) for row in SETTINGS.values())) == []


def test_no_setting_is_documented_that_does_not_exist() -> None:
    lines = (DOCS / "settings.md").read_text(encoding="utf-8").splitlines()
    documented = [line.split("`")[1] for line in lines if line.startswith("| `")]
    assert documented == list(SETTINGS)


def test_every_route_is_documented_and_no_other() -> None:
    routes = {(route.method, route.path) for route in ROUTES}
    assert {("POST", "/v1/sites/{site}/hit"), ("GET", "/metrics"), ("GET", "/openapi.json")} <= routes
    assert documented_routes() == routes


def test_every_route_is_described_for_machines_and_no_other() -> None:
    """But for the demo's pages and those for editors, which are no part of the API."""
    described = openapi.document(ROUTES)["paths"]
    found = {(method.upper(), path) for path, operations in described.items() for method in operations}
    pages = {(route.method, route.path) for route in (*Portal.ROUTES, *Pages.ROUTES)}
    assert found == documented_routes() - pages


def test_every_route_that_needs_a_token_says_so_in_both() -> None:
    described = openapi.document(ROUTES)["paths"]
    lines = (DOCS / "api.md").read_text(encoding="utf-8").splitlines()
    for route in ROUTES:
        bearer = "security" in described.get(route.path, {}).get(route.method.lower(), {})
        line = next(line for line in lines if line.startswith("| ") and f"`{route.path}`" in line)
        if route.path != "/v1/sites/{site}/hit":  # to count needs none, to ask for an explanation does
            assert bearer == (route.scope is not None), route.path
            assert ("needs a token" in line) == bearer, line


def test_every_rule_of_an_explanation_is_documented_in_its_order() -> None:
    """An editor reads there what a step is about."""
    told = (DOCS / "api.md").read_text(encoding="utf-8").partition("order in which a hit meets them:")[2]
    assert tuple(re.findall(r"`([a-z ]+)`", told.partition("`outcome`")[0])) == explain.RULES


def test_every_number_is_documented_and_no_other() -> None:
    """In the order in which the answers have them."""
    table = (DOCS / "api.md").read_text(encoding="utf-8").partition("\n| number | is |\n")[2].partition("\n\n")[0]
    assert re.findall(r"^\| `([a-z_]+)` \|", table, re.MULTILINE) == list(numbers.TABLE)


def test_the_examples_of_answers_have_every_number() -> None:
    """A developer writes a box from them."""
    examples = re.findall(
        r'^\{"site":"laocai","online":.*?\}', (DOCS / "api.md").read_text("utf-8"), re.MULTILINE | re.DOTALL
    )
    expected = [name for name in numbers.TABLE if name != "search_engines"]
    assert len(examples) >= 3
    for example in examples:
        assert [name for name in json.loads(example) if name in numbers.TABLE] == expected


def test_every_period_of_the_metrics_is_documented_and_no_other() -> None:
    listed = (DOCS / "metrics.md").read_text("utf-8").partition("`period` one of")[2].partition(", and")[0]
    assert tuple(re.findall(r"`(\w+)`", listed)) == numbers.PERIODS


def test_every_metric_is_documented_and_no_other() -> None:
    assert {"visitstats_hits_total", "visitstats_visits", "visitstats_batch_hits"} <= metrics()
    assert first_column("metrics.md", "visitstats_") == metrics()


def test_every_word_for_the_store_is_documented_and_no_other() -> None:
    """What `/readyz` says when something is wrong must be found in the documentation by whoever is woken by it."""
    table = (
        (DOCS / "api.md").read_text(encoding="utf-8").partition("\n| `store` | the store |\n")[2].partition("\n\n")[0]
    )
    assert re.findall(r"^\| `([a-z]+)` \|", table, re.MULTILINE) == list(link.WORDS)


def test_every_reason_not_to_count_is_documented() -> None:
    assert undocumented("counting.md", ((reason,) for reason in counting.IGNORED_REASONS)) == []


def test_the_rules_of_counting_have_the_same_numbers_for_readers() -> None:
    for number in range(1, 11):
        assert f"\n**{number}. " in (DOCS / "counting.md").read_text(encoding="utf-8")
        assert re.search(rf"^ ?{number}\. ", counting.__doc__ or "", re.MULTILINE)


def test_every_preset_is_documented_with_its_examples() -> None:
    examples = [(name, *example) for name, preset in PRESETS.items() for example in preset.examples]
    assert undocumented("keys.md", ((name,) for name in PRESETS)) == []
    assert undocumented("keys.md", ((address, key) for _, address, key in examples)) == []


def test_every_box_is_documented() -> None:
    """The tables of docs/boxes.md are those of the program."""
    assert undocumented("boxes.md", ((name, box.theme) for name, box in boxes.PRESETS.items())) == []
    assert undocumented("boxes.md", boxes.THEMES.items()) == []
    looks = [(name,) for row in boxes.LOOKS.values() for name in row]
    words = [(name,) for name in (*boxes.LINES, *boxes.FORMATS, *boxes.STRUCTURES, *WORDS)]
    assert undocumented("boxes.md", looks + words) == []


def test_the_rules_of_keys_have_the_same_numbers_for_readers() -> None:
    for number in range(1, 9):
        assert f"\n**{number}. " in (DOCS / "keys.md").read_text(encoding="utf-8")
        assert re.search(rf"^{number}\. ", keys.__doc__ or "", re.MULTILINE)


def test_every_command_and_option_is_documented_and_no_other() -> None:
    documented = sections()
    common = documented.pop("Options of every command")
    found = dict(commands(typer.main.get_command(application())))
    assert sorted(documented) == sorted(found)
    for name, options in found.items():
        text = documented[name]
        missing = [word for word in options if f"`{word}" not in text and f"`{word} " not in common]
        assert missing == [], f"{name} in docs/cli.md"
        extra = set(re.findall(r"^\| `(--[a-z0-9-]+)", text, re.MULTILINE)) - options
        assert extra == set(), f"{name} has no such option"


@pytest.mark.parametrize("page", sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob("*.md")))
def test_a_page_leads_only_to_files_that_are_there(page: str) -> None:
    _check_links(ROOT / page)


@pytest.mark.parametrize("page", sorted(path.name for path in DOCS.glob("*.md")))
def test_so_does_a_page_of_the_documentation(page: str) -> None:
    _check_links(DOCS / page)


def test_pictures_are_small() -> None:
    """A README is read on slow lines too."""
    large = {path.name: path.stat().st_size for path in (DOCS / "images").iterdir() if path.stat().st_size > 150_000}
    assert large == {}


def test_the_check_finds_what_is_missing() -> None:
    assert undocumented(
        "settings.md", [("port", "VISITSTATS_PORT", "8080"), ("port", "VISITSTATS_PORT", "1"), ("zzz",)]
    ) == [
        "port",
        "zzz",
    ]


def _check_links(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    targets = [first or second for first, second in LINK.findall(text)]
    # A file that is only named, as `docs/api.md`, must be there as well.
    named = re.findall(r"`((?:docs|src|deploy|tests|widget|benchmarks)/[\w./-]+)`", text)
    local = [page.parent / target for target in targets if not re.match(r"[a-z]+:", target)]
    assert [str(path) for path in (*local, *(ROOT / name for name in named)) if not path.exists()] == []
