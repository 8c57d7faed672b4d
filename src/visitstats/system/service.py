"""Which service runs on a data folder: a file that its supervisor holds locked, so that other commands find it."""

import fcntl
import os
from pathlib import Path

import msgspec

from visitstats.system.files import CREATE, write_all

FILE = "service"


class State(msgspec.Struct, frozen=True):
    """What the supervisor says of itself."""

    pid: int
    reloads: int = 0
    """How often the settings were read again since the start."""
    trouble: str = ""
    """What was wrong with that the last time."""


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(State).decode


class ServiceFile:
    """The file of one folder. Of two services on one folder, which may share a store of the operator's, the second has
    none: it is told by its process id alone."""

    def __init__(self, data_dir: Path) -> None:
        """Raises OSError."""
        self._file = os.open(data_dir / FILE, os.O_RDWR | CREATE, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.mine = True
        except BlockingIOError:
            self.mine = False

    def tell(self, state: State) -> None:
        """Write the state, if the file is ours. Raises OSError."""
        if self.mine:
            data = _encode(state).ljust(512)  # over a longer one, in one write
            os.lseek(self._file, 0, os.SEEK_SET)
            write_all(self._file, data)

    def close(self) -> None:
        """Let go of it."""
        os.close(self._file)


def running(data_dir: Path) -> State | None:
    """Return the state of the service that runs on a folder; None when none does. Raises OSError."""
    try:
        file = os.open(data_dir / FILE, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        try:
            return _decode(os.pread(file, 65_536, 0))
        except msgspec.MsgspecError:
            return None  # it has begun just now
    else:
        return None
    finally:
        os.close(file)
