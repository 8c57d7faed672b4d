"""The widget in the package is the one that its source says, small enough, and ES5. No Node.js is needed to see that.

After a change of widget/src: `make widget`, which writes both files anew.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
from calmjs.parse import es5  # type: ignore[import-untyped] # it ships no types
from calmjs.parse.exceptions import ECMASyntaxError  # type: ignore[import-untyped] # it ships no types

import visitstats

ROOT = Path(__file__).parents[2]
STATIC = ROOT / "src" / "visitstats" / "web" / "static"
SOURCE = ROOT / "widget" / "src"
LIMITS = {"widget.js": 3_000, "more.js": 5_000}
"""Bytes after gzip: goal 1 of widget/ARCHITECTURE.md."""


@pytest.fixture(scope="module", params=LIMITS)
def name(request: pytest.FixtureRequest) -> str:
    """Each of the widget's two files."""
    return str(request.param)


@pytest.fixture(scope="module")
def built(name: str) -> bytes:
    return (STATIC / name).read_bytes()


@pytest.fixture(scope="module")
def manifest(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((STATIC / "widget.json").read_text(encoding="utf-8"))
    return {"version": found["version"], **found["more"]} if name == "more.js" else found


def test_the_build_belongs_to_the_source(name: str, manifest: dict[str, Any]) -> None:
    words = [path.read_bytes() for path in sorted((SOURCE / "words").iterdir())]
    source = b"".join([(SOURCE / name).read_bytes(), *words])
    assert manifest["source_sha256"] == hashlib.sha256(source).hexdigest(), "run make widget"


def test_the_labels_are_those_of_the_source() -> None:
    source = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in (SOURCE / "words").iterdir()}
    assert json.loads((STATIC / "words.json").read_text(encoding="utf-8")) == source


def test_the_manifest_describes_the_file_beside_it(built: bytes, manifest: dict[str, Any]) -> None:
    assert manifest["sha"] == hashlib.sha256(built).hexdigest()[:16]
    assert manifest["integrity"] == "sha384-" + base64.b64encode(hashlib.sha384(built).digest()).decode()
    assert manifest["bytes"] == len(built)
    # Another zlib packs a little differently.
    assert abs(manifest["gzip_bytes"] - len(gzip.compress(built, 9))) < 60


def test_the_widget_has_the_version_of_the_program(manifest: dict[str, Any]) -> None:
    package = json.loads((ROOT / "widget" / "package.json").read_text(encoding="utf-8"))
    assert manifest["version"] == package["version"] == visitstats.__version__


def test_a_reader_loads_at_most_three_thousand_bytes_on_every_page(name: str, built: bytes) -> None:
    assert len(gzip.compress(built, 9)) <= LIMITS[name]
    assert len(gzip.compress(built, 6)) <= LIMITS[name]  # as a proxy packs it


def test_the_widget_is_es5_and_its_labels_survive_any_charset(built: bytes) -> None:
    es5(built.decode("ascii"))


@pytest.mark.parametrize("newer", ["let a = 1;", "var f = () => 1;", "a?.b;", "`text`;", "class A {}", "f(...a);"])
def test_that_parser_refuses_what_is_newer(newer: str) -> None:
    with pytest.raises(ECMASyntaxError):
        es5(newer)


def test_nothing_in_it_is_forbidden_by_a_strict_policy_or_harms_the_page(built: bytes) -> None:
    forbidden = rb"innerHTML|outerHTML *=|insertAdjacentHTML|\.write|\beval\b|\bFunction\b|cookie|sendBeacon|https?:"
    assert re.findall(forbidden, built) == []
    assert re.findall(rb"setAttribute\(\"(?!data-vs)", built) == []


def test_the_lock_file_names_exact_versions_and_no_registry() -> None:
    lock = (ROOT / "widget" / "package-lock.json").read_text(encoding="utf-8")
    assert "://" not in lock
    packages = json.loads(lock)["packages"]
    assert all(entry["integrity"].startswith("sha512-") for name, entry in packages.items() if name)
    wanted = json.loads((ROOT / "widget" / "package.json").read_text(encoding="utf-8"))
    assert "dependencies" not in wanted
    assert all(re.fullmatch(r"[\d.]+", version) for version in wanted["devDependencies"].values())
