"""Where the tests' Chromium comes from: `python -m tests.browser.install` finds one or gets one.

In this order: $CHROMIUM; one on PATH; Playwright's own; Playwright's download; the distribution's package, when root.
Without one the browser tests are skipped, loudly; under CI=true they fail. Every step has a time limit, so that a
network that swallows packets costs minutes at worst, not the run.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# The one without windows comes first: a test costs a third of the CPU in it.
NAMES = (
    "chromium-headless-shell", "chrome-headless-shell", "chromium", "chromium-browser", "google-chrome",
    "google-chrome-stable", "chrome",
)  # fmt: skip
APPLICATIONS = (
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)
CACHES = ("~/.cache/ms-playwright", "~/Library/Caches/ms-playwright")
DOWNLOAD_SECONDS = 240
PACKAGE_SECONDS = 300
APT = ("apt-get", "-qq", "-o", "Acquire::http::Timeout=20", "-o", "Acquire::Retries=1")
PACKAGES: dict[str, tuple[tuple[str, ...], ...]] = {
    "apt-get": (
        (*APT, "update"),
        (*APT, "install", "-y", "--no-install-recommends", "chromium-headless-shell"),
        (*APT, "install", "-y", "--no-install-recommends", "chromium"),
    ),
    "apk": (("apk", "add", "--no-progress", "chromium"),),
    "dnf": (("dnf", "install", "-q", "-y", "chromium-headless"),),
}
MISSING = (
    "no Chromium for the browser tests: install the package chromium (or Google Chrome), "
    "or name one in the variable CHROMIUM"
)


def find_browser() -> Path | None:
    """A Chromium that runs on this machine, without getting one; None if there is none."""
    return next((path for path in _candidates() if _runs(path)), None)


def browser_or_skip() -> Path:
    """The Chromium of the tests; without one the test is skipped, or fails under CI=true."""
    browser = find_browser()
    if browser is None:
        if os.environ.get("CI") == "true":
            pytest.fail(MISSING)
        pytest.skip(MISSING)
    return browser


def provide_browser() -> Path | None:
    """Find a Chromium, else get one (see above); None if none can be had."""
    browser = find_browser()
    if browser is None:
        _say("none here yet: trying Playwright's download")
        environ = {**os.environ, "PLAYWRIGHT_DOWNLOAD_CONNECTION_TIMEOUT": "15000"}
        download = (sys.executable, "-m", "playwright", "install", "--only-shell", "chromium")
        _run(download, DOWNLOAD_SECONDS, environ)
        browser = find_browser()
    manager = next((name for name in PACKAGES if shutil.which(name)), None)
    if browser is None and manager and os.geteuid() == 0:
        _say(f"trying the system's package with {manager}")
        environ = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for command in PACKAGES[manager]:
            _run(command, PACKAGE_SECONDS, environ)
            if (browser := find_browser()) is not None:
                break
    return browser


def _candidates() -> Iterator[Path]:
    if named := os.environ.get("CHROMIUM"):
        yield Path(named)
        return
    yield from (Path(found) for name in NAMES if (found := shutil.which(name)))
    yield from map(Path, APPLICATIONS)
    for cache in filter(None, (os.environ.get("PLAYWRIGHT_BROWSERS_PATH"), *CACHES)):
        for folder in sorted(Path(cache).expanduser().glob("chromium*-*"), reverse=True):
            yield from (path for name in (*NAMES, "headless_shell", "Chromium") for path in folder.rglob(name))


def _runs(path: Path) -> bool:
    """Whether it starts: a missing library, or a stub that only advertises another package, does not count."""
    if not path.is_file() or not os.access(path, os.X_OK):
        return False
    try:
        shown = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return shown.returncode == 0 and any(word in shown.stdout for word in ("Chrom", "HeadlessShell"))


def _run(command: tuple[str, ...], seconds: float, environ: dict[str, str]) -> None:
    """Run one step; a failure is one line here, and the caller looks whether a browser is there now."""
    try:
        done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        _say(f"{command[0]} gave up after {seconds} s")
        return
    if done.returncode:
        reason = next((line for line in done.stderr.splitlines() if "rror" in line or "E:" in line), "no reason given")
        _say(f"that failed: {reason.strip()}")


def _say(text: str) -> None:
    print(f"browser: {text}", flush=True)  # noqa: T201 - a command of its own


def main() -> int:
    browser = provide_browser()
    if browser is not None:
        _say(str(browser))
        return 0
    _say(f"!!! {MISSING}")
    return 1 if os.environ.get("CI") == "true" else 0


if __name__ == "__main__":
    sys.exit(main())
