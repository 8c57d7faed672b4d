"""The command line as its users meet it: a program of its own."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.driver import PROGRAM


class Shell:
    """Commands on a store of the test's own."""

    def __init__(self, folder: Path, redis_url: str, data_dir: Path | None = None) -> None:
        self._folder = folder
        self._environ = {"VISITSTATS_REDIS_URL": redis_url, "COLUMNS": "200", "PATH": ""}
        if data_dir is not None:
            self._environ["VISITSTATS_DATA_DIR"] = str(data_dir)

    def __call__(self, *arguments: str, fails: bool = False, typed: str = "") -> str:
        """What a command prints, with these lines typed; on stderr alone if it is to fail."""
        done = subprocess.run(
            [str(PROGRAM), *arguments],
            cwd=self._folder,
            env=self._environ,
            capture_output=True,
            text=True,
            input=typed,
            timeout=30,
        )
        assert done.returncode == (1 if fails else 0), done.stderr
        if fails:
            assert done.stdout == "" or typed
            assert done.stderr.count("\n") == 1, "one clear line"
        return done.stderr if fails else done.stdout
