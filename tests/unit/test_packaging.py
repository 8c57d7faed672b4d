"""What is installed is the same on every machine, and nothing that runs is left out of the package."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import metadata, requires
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from visitstats import __version__

ROOT = Path(__file__).parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
# The oldest Python that is supported asks for the most packages.
OLDEST_PYTHON = {"python_version": "3.11", "python_full_version": "3.11.0"}


LOCKS = ("build", "runtime", "dev")
LICENCES = (ROOT / "docs" / "licences.md").read_text(encoding="utf-8")


def pinned(lock: str = "dev") -> dict[str, str]:
    """The packages of a lock file with their versions."""
    text = (ROOT / "requirements" / f"{lock}.txt").read_text(encoding="utf-8")
    lines = [line for line in text.replace("\\\n", " ").splitlines() if line and not line.startswith("#")]
    # A name, a version, a marker and the hashes of all files: no address of an index, no path, no range.
    entry = re.compile(r"([\w.-]+)==([\w.]+) (; [^#]+?)?( +--hash=sha256:[0-9a-f]{64})+ *")
    found = [entry.fullmatch(line) for line in lines]
    assert [line for line, match in zip(lines, found, strict=True) if match is None] == []
    return {canonicalize_name(match[1]): match[2] for match in found if match}


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
        assert name in pins, f"{requirement} is not in requirements/dev.txt: run make lock"
        assert requirement.specifier.contains(pins[name]), f"{requirement} does not allow {pins[name]}"
        if name not in seen and name != "async-timeout":  # which this Python may not need, so it may not be here
            seen.add(name)
            todo.extend(asked_for(requires(name) or [], frozenset({"", *requirement.extras})))
    assert {"redis", "hiredis", "pytest"} <= seen


def test_the_program_runs_with_what_it_is_tested_with() -> None:
    runtime, dev = pinned("runtime"), pinned("dev")
    assert runtime.items() <= dev.items()
    assert pinned("build").keys() == {"setuptools"}
    wanted = {canonicalize_name(each.name) for each in asked_for(PROJECT["project"]["dependencies"])}
    assert wanted <= runtime.keys()
    assert not {"pytest", "playwright"} & runtime.keys()


def test_nothing_is_installed_without_its_hash() -> None:
    """Everywhere: the environment for development, the image, what the documents tell operators to run."""
    texts = [
        *(ROOT / name for name in ("scripts/venv.sh", "deploy/Dockerfile", "deploy/systemd/visitstats.service")),
        *ROOT.glob("README*.md"), *(ROOT / "docs").glob("*.md"),
    ]  # fmt: skip
    for path in texts:
        for line in path.read_text(encoding="utf-8").splitlines():
            if re.search(r"\bpip\b", line) and " install " in line:
                assert "--require-hashes" in line or "--no-deps" in line, (path.name, line)


def test_every_licence_of_what_is_shipped_is_listed() -> None:
    """By what the installed packages say of themselves: a new one, or one with another licence, is seen."""
    listed = dict(re.findall(r"^\| `([\w.-]+)` \| ([^|]+?) \|", LICENCES, re.MULTILINE))
    elsewhere = {"colorama", "async-timeout"}  # of Windows, and of Pythons before 3.11.3
    assert listed.keys() == pinned("runtime").keys()
    assert listed.pop("crawler-user-agents") == "MIT"  # its package says nothing; its repository has the licence
    for name in pinned("runtime").keys() - elsewhere - {"crawler-user-agents"}:
        assert listed[name] == licence_of(name), name
    assert {words for text in listed.values() for words in re.split(r" AND | OR ", text)} <= FREE


FREE = {
    "MIT", "BSD-2-Clause", "BSD-3-Clause", "Apache-2.0", "PSF-2.0", "ISC", "MPL-2.0",
}  # fmt: skip
"""Licences under which everybody may run and pass on the program with its parts."""
CLASSIFIED = {
    "MIT License": "MIT", "BSD License": "BSD-3-Clause", "Apache Software License": "Apache-2.0",
    "Python Software Foundation License": "PSF-2.0", "ISC License (ISCL)": "ISC",
}  # fmt: skip


def licence_of(name: str) -> str:
    """What an installed package says: an SPDX expression, or a classifier of its index."""
    about = metadata(name).json
    if expression := about.get("license_expression"):
        return str(expression)
    named = [line.rpartition(" :: ")[2] for line in about.get("classifier", []) if line.startswith("License ::")]
    return " AND ".join(CLASSIFIED.get(each, each) for each in named) or str(about.get("license", "unknown")).strip()


def test_a_data_file_that_the_program_reads_is_in_the_package() -> None:
    package = ROOT / "src" / "visitstats"
    patterns = PROJECT["tool"]["setuptools"]["package-data"]["visitstats"]
    shipped = {path for pattern in patterns for path in package.glob(pattern)}
    shipped |= {path for folder in list(shipped) if folder.is_dir() for path in folder.rglob("*")}
    files = {path for path in package.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")}
    assert sorted(str(path.relative_to(package)) for path in files - shipped) == []


VERSIONED = {
    "deploy/Dockerfile": r"ARG VERSION=(\S+)",
    "widget/integrations/dnn/visitstats.dnn": r'<package name="Visitstats" type="SkinObject" version="(.+?)"',
    "widget/integrations/joomla/mod_visitstats/mod_visitstats.xml": r"<version>(.+?)</version>",
    "widget/integrations/wordpress/visitstats.php": r"\* Version: (\S+)",
}


@pytest.mark.parametrize("name", VERSIONED)
def test_what_is_installed_beside_the_program_says_its_version(name: str) -> None:
    """Whoever reports a fault says one number."""
    assert re.findall(VERSIONED[name], (ROOT / name).read_text(encoding="utf-8")) == [__version__]


def test_the_changelog_tells_of_this_version() -> None:
    assert f"\n## [{__version__}] - 20" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
