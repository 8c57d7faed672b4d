"""How many files this process may have open, and has: a connection is one, and journal and store need some."""

import contextlib
import os
import resource

MOST_FILES = 65_536


def raise_file_limit() -> int:
    """Let this process have as many files as the system lets it, and return how many that are. The soft limit is often
    1,024, for programs that still use select()."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < most:
        with contextlib.suppress(OSError, ValueError):  # macOS says that more is allowed than it allows
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
            soft = most
    return MOST_FILES if soft == resource.RLIM_INFINITY else soft


def open_files() -> tuple[int, int]:
    """Return how many files this process has open, 0 where the system does not tell, and how many it may have."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    for folder in ("/proc/self/fd", "/dev/fd"):
        with contextlib.suppress(OSError):
            return len(os.listdir(folder)) - 1, soft  # one of them is the folder's
    return 0, soft
