"""Resources of the machine that this process uses: processor, memory, space on the disk."""

import contextlib
import os
import resource
import time
from pathlib import Path


def cpu_seconds() -> float:
    """Return the processor time of this process since it began, in seconds."""
    return time.process_time()


def memory_bytes() -> int:
    """Return the memory of this process in bytes, with shared pages. Where the system does not tell, this is the most
    that it ever had."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * resource.getpagesize()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def disk(folder: Path) -> tuple[int, int]:
    """Return how many bytes may still be written to the disk of a folder, and the size of that disk. Blocks; raises
    OSError."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize
