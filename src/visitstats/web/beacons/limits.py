"""The limits of networks, in memory that all workers of a machine share: a network has one bucket and one number of
visitors, over however many workers its connections are spread."""

import fcntl
import logging
import mmap
import os
from itertools import pairwise
from pathlib import Path

from visitstats.core.limits import KNOWN_VISITORS, PLACES, NetworkRate, TokenTries, VisitorCap
from visitstats.web.beacons.address import SECRET_BYTES

log = logging.getLogger(__name__)

FILE = "limits"
"""The file in the data folder. Its content matters for half an hour only; it may be removed while the service is
down."""
_MAGIC = b"visitstats-limits-2\n"
_HEAD = 64
_WORD = 8
_TABLES = (PLACES, KNOWN_VISITORS, PLACES, PLACES, PLACES)
_SIZE = _HEAD + _WORD * sum(_TABLES)


class NetworkLimits:
    """The tables of a machine: 3.1 MiB. `per_second` and `burst` are what a network may send (`NetworkRate`).

    Without the file (a disk that refuses it) this process has tables of its own.
    """

    def __init__(self, folder: Path | None, per_second: int, burst: int) -> None:
        self._memory = _opened(folder)
        view = memoryview(self._memory)
        starts = [_HEAD + _WORD * sum(_TABLES[:n]) for n in range(len(_TABLES) + 1)]
        parts = [view[start:end] for start, end in pairwise(starts)]
        self.secret = bytes(view[len(_MAGIC) : len(_MAGIC) + SECRET_BYTES])
        """The secret from which the numbers of networks are made."""
        self.rate = NetworkRate(per_second, burst, parts[0].cast("d"))
        self.visitors = VisitorCap(*(part.cast("q") for part in parts[1:4]))
        self.tries = TokenTries(parts[4].cast("q"))


def _opened(folder: Path | None) -> mmap.mmap:
    if folder is not None:
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            return _shared(folder / FILE)
        except OSError as error:
            log.warning("the limits of networks are this worker's own: %s cannot be shared: %s", FILE, error.strerror)
    memory = mmap.mmap(-1, _SIZE)
    memory[:_HEAD] = _head()
    return memory


def _shared(path: Path) -> mmap.mmap:
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)  # so that only one process creates it
        if os.fstat(file).st_size != _SIZE or os.pread(file, len(_MAGIC), 0) != _MAGIC:
            os.ftruncate(file, 0)
            os.posix_fallocate(file, 0, _SIZE)  # so that a full disk is an error now, and not a signal later
            os.pwrite(file, _head(), 0)
        return mmap.mmap(file, _SIZE)
    finally:
        fcntl.flock(file, fcntl.LOCK_UN)  # the memory keeps a copy of the file, and the lock with it
        os.close(file)


def _head() -> bytes:
    return (_MAGIC + os.urandom(SECRET_BYTES)).ljust(_HEAD, b"\0")
