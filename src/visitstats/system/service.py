"""The file by which commands find the service that runs on a data folder: its supervisor holds it locked."""

import fcntl
import os
from pathlib import Path

import msgspec

from visitstats.system.files import CREATE, write_all

FILE = "service"


class State(msgspec.Struct, frozen=True):
    """The state that the supervisor writes into the file."""

    pid: int
    reloads: int = 0
    """How often the settings were read again since the start."""
    trouble: str = ""
    """Why reading them again failed the last time; empty when it did not."""


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(State).decode


class ServiceFile:
    """The file of one folder. When two services run on one folder (with a store of the operator's), the second has no
    file, and is known by its process id alone."""

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
            data = _encode(state).ljust(512)  # one write that covers a longer state before
            os.lseek(self._file, 0, os.SEEK_SET)
            write_all(self._file, data)

    def close(self) -> None:
        """Release the file."""
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
