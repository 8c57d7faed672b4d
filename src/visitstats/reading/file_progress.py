"""The progress of files that take a while. It is written beside the orders of lists, so that every worker of a machine
can show it to the person who waits. Progress is optional: if it cannot be written or read, it is simply not known.
"""

import time
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

PAUSE_SECONDS = 0.2
"""The shortest time between two writes of the progress."""
LETTERS = 16
"""Length of the random name that the client has drawn for its file, in hexadecimal digits."""


class Progress(NamedTuple):
    """How many rows of how many are written."""

    done: int
    whole: int


def place_of(folder: Path, site: str, name: str) -> Path:
    """Return the path of the progress of a site's file, which a client has asked for under a name."""
    return folder / f"{blake2b(f'{site}:{name}'.encode(), digest_size=12).hexdigest()}.told"


def read_progress(path: Path) -> Progress | None:
    """Return the progress of a file; None when it is not known: the file has not begun, or is complete."""
    try:
        done, whole = path.read_text("ascii").split()
        return Progress(int(done), int(whole))
    except (OSError, ValueError):
        return None


class Told:
    """Writes down the progress of a file. The caller must call `end`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._next = 0.0

    def __call__(self, done: int, whole: int) -> None:
        """Note that `done` of `whole` rows are written."""
        if time.monotonic() < self._next and done < whole:
            return
        self._next = time.monotonic() + PAUSE_SECONDS
        fresh = self._path.with_suffix(".new")
        with suppress(OSError):
            fresh.write_text(f"{done} {whole}", "ascii")
            fresh.replace(self._path)

    def end(self) -> None:
        """Remove the progress."""
        with suppress(OSError):
            self._path.unlink()
