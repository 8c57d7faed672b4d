"""The turn to replay: one process of a machine at a time has it (`ingest.replay`)."""

import fcntl
import mmap
import os
from pathlib import Path

from visitstats.system.files import CREATE

FILE = "replay"
"""The name of the file in the journal's folder that the replaying process locks."""


class Turn:
    """The right to replay: a lock that the kernel takes away when the process dies, and eight bytes of shared memory
    that the others look at before each commit, for some 50 ns: 0 while no process replays, else a number that grows."""

    def __init__(self, root: Path) -> None:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._file = os.open(root / FILE, os.O_RDWR | CREATE, 0o600)
        if os.fstat(self._file).st_size < 8:
            os.ftruncate(self._file, 8)
        self._shared = mmap.mmap(self._file, 8)
        # No two processes may show the same number.
        self._steps = int.from_bytes(os.urandom(6), "little") + 1
        self.mine = False
        self.hung = 0
        """The last number of a process that makes no progress any more."""

    @property
    def steps(self) -> int:
        """The last number that the replaying process wrote; 0 when no process replays."""
        return int.from_bytes(self._shared[:8], "little")

    def taken(self) -> bool:
        """Whether a process replays just now."""
        steps = self._shared[:8]
        if steps == bytes(8) or self.steps == self.hung:
            return False
        if self.mine:
            return True
        if self._lock():
            # The replaying process was killed: the next comparison shows what it left undone.
            self._shared[:8] = bytes(8)
            fcntl.flock(self._file, fcntl.LOCK_UN)
            return False
        return True

    def take(self) -> bool:
        """Take the turn, unless another process has it."""
        if self.mine or not self._lock():
            return False
        self.mine = True
        return True

    def step(self) -> None:
        """Show the others that this process replays, and makes progress."""
        if self.mine:
            self._steps += 1
            self._shared[:8] = self._steps.to_bytes(8, "little")

    def give_up(self) -> None:
        """Give the turn back."""
        self._shared[:8] = bytes(8)
        self.mine = False
        fcntl.flock(self._file, fcntl.LOCK_UN)

    def close(self) -> None:
        """Release the file."""
        self._shared.close()
        os.close(self._file)

    def _lock(self) -> bool:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def is_replayed(root: Path) -> bool:
    """Whether a process replays the journal under `root` just now."""
    if not (root / FILE).exists():
        return False
    turn = Turn(root)
    try:
        return turn.taken()
    finally:
        turn.close()
