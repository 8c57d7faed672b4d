"""Open files of this process, and their limit. Each connection is an open file; the journal and the store need some."""

import contextlib
import os
import resource
from collections.abc import Iterable

MOST_FILES = 65_536


def raise_file_limit() -> int:
    """Let this process have as many files as the system lets it, and return how many that are. The soft limit is often
    1,024, for programs that still use select()."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < most:
        with contextlib.suppress(OSError, ValueError):  # macOS reports a higher limit than it allows
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
            soft = most
    return MOST_FILES if soft == resource.RLIM_INFINITY else soft


def open_files() -> tuple[int, int]:
    """Return how many files this process has open, 0 where the system does not tell, and how many it may have."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return len(descriptors()), soft


def descriptors() -> set[int]:
    """Return the descriptors of the files that this process has open; none where the system does not tell."""
    for folder in ("/proc/self/fd", "/dev/fd"):
        with contextlib.suppress(OSError):
            # The folder's own is among them, and is closed by now.
            return {file for file in map(int, os.listdir(folder)) if _is_open(file)}
    return set()


def _is_open(file: int) -> bool:
    with contextlib.suppress(OSError):
        return bool(os.fstat(file))
    return False


def let_go(files: Iterable[int]) -> None:
    """Close files that a forked process has inherited, and open /dev/null under their numbers: an object of the parent
    that is destroyed later would otherwise close a new file with the same number."""
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for file in files:
        os.dup2(null, file, inheritable=False)
    os.close(null)
