"""How far a file is that takes a while: written down beside the orders of lists, so that every worker of a machine can
tell it to whoever waits. It is a courtesy: what cannot be written or read is not known.
"""

import time
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

PAUSE_SECONDS = 0.2
"""No more often is it written down."""
LETTERS = 16
"""Of the name that whoever asks for a file has drawn: hexadecimal digits."""


class Progress(NamedTuple):
    """How many rows of how many are written."""

    done: int
    whole: int


def place_of(folder: Path, site: str, name: str) -> Path:
    """Return where the progress of a file of a site is, which somebody has asked for under a name."""
    return folder / f"{blake2b(f'{site}:{name}'.encode(), digest_size=12).hexdigest()}.told"


def read_progress(path: Path) -> Progress | None:
    """Return how far a file is; None when that is not known: it has not begun, or is complete."""
    try:
        done, whole = path.read_text("ascii").split()
        return Progress(int(done), int(whole))
    except (OSError, ValueError):
        return None


class Told:
    """Writes down how far a file is. To be ended."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._next = 0.0

    def __call__(self, done: int, whole: int) -> None:
        """Say that so many rows of so many are written."""
        if time.monotonic() < self._next and done < whole:
            return
        self._next = time.monotonic() + PAUSE_SECONDS
        fresh = self._path.with_suffix(".new")
        with suppress(OSError):
            fresh.write_text(f"{done} {whole}", "ascii")
            fresh.replace(self._path)

    def end(self) -> None:
        """Forget it."""
        with suppress(OSError):
            self._path.unlink()
