"""The folders of a journal's slots: which process owns them, and whether they are where they were made."""

import fcntl
import logging
import os
from hashlib import blake2b
from pathlib import Path

from visitstats.journal.segments import NAME, START
from visitstats.system.files import CREATE, sync_directory, write_file

log = logging.getLogger(__name__)


def try_lock(directory: Path) -> int | None:
    """Take a slot for this process, and return the file descriptor to close afterwards; None when another process has
    it. Raises OSError."""
    lock = os.open(directory / "lock", os.O_RDWR | CREATE, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    except BaseException:
        os.close(lock)
        raise
    return lock


def settle_in(directory: Path) -> bool:
    """Take a locked slot for writing; False for a copy of a slot that still has records. A copy without records gets
    its own writer id. Raises OSError."""
    path = directory / "place"
    try:
        machine = Path("/etc/machine-id").read_bytes()
    except OSError:
        machine = b""
    # A copy has another lock file, and may be on another machine. The machine id is hashed, because it is confidential.
    name = b"%d %s" % ((directory / "lock").stat().st_ino, machine)
    place = blake2b(name, digest_size=16, person=b"vs-place").hexdigest()
    if path.exists() and path.read_text("ascii", errors="replace") != place:
        if any(segment.stat().st_size > START for segment in directory.glob(f"{NAME}.log")):
            log.warning("%s is a copy of a slot: what is in it is applied, but nothing is written to it", directory)
            return False
        for old in (*directory.glob(f"{NAME}.*"), directory / "writer", path):
            old.unlink(missing_ok=True)
    if not path.exists():
        # The slot may have been made just now, and the journal with it: their names must be on the disk before the
        # file says that they are.
        for made in (directory.parent, directory.parent.parent):
            sync_directory(made)
        write_file(path, place.encode())
    return True
