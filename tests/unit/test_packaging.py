"""What is installed is the same on every machine, and nothing that runs is left out of the package."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import requires
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
# The oldest Python that is supported asks for the most packages.
OLDEST_PYTHON = {"python_version": "3.11", "python_full_version": "3.11.0"}


def pinned() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    # A name and a version: no address of an index, no path, no range.
    assert [pin for pin in pins if not re.fullmatch(r"[\w.-]+==[\w.]+", pin)] == []
    return {canonicalize_name(name): version for name, _, version in (pin.partition("==") for pin in pins)}


def asked_for(requirements: list[str], extras: frozenset[str] = frozenset({""})) -> list[Requirement]:
    found = [Requirement(text) for text in requirements]
    return [
        each
        for each in found
        if each.marker is None or any(each.marker.evaluate({**OLDEST_PYTHON, "extra": extra}) for extra in extras)
    ]


def test_every_package_that_is_installed_has_one_exact_version() -> None:
    pins = pinned()
    todo = asked_for([*PROJECT["project"]["dependencies"], *PROJECT["project"]["optional-dependencies"]["dev"]])
    seen: set[str] = set()
    while todo:
        requirement = todo.pop()
        name = canonicalize_name(requirement.name)
        assert name in pins, f"{requirement} is not in constraints.txt: run make lock"
        assert requirement.specifier.contains(pins[name]), f"{requirement} does not allow {pins[name]}"
        if name not in seen and name != "async-timeout":  # which this Python may not need, so it may not be here
            seen.add(name)
            todo.extend(asked_for(requires(name) or [], frozenset({"", *requirement.extras})))
    assert {"redis", "hiredis", "pytest"} <= seen


def test_a_data_file_that_the_program_reads_is_in_the_package() -> None:
    package = ROOT / "src" / "visitstats"
    patterns = PROJECT["tool"]["setuptools"]["package-data"]["visitstats"]
    shipped = {path for pattern in patterns for path in package.glob(pattern)}
    shipped |= {path for folder in list(shipped) if folder.is_dir() for path in folder.rglob("*")}
    files = {path for path in package.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")}
    assert sorted(str(path.relative_to(package)) for path in files - shipped) == []
