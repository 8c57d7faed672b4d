"""A note in the data folder about its backups, for metrics: when the last one was made, how large it is, and when one
was checked."""

from pathlib import Path

import msgspec

from visitstats.system.files import write_file

FILE = "backup.json"


class State(msgspec.Struct, frozen=True, kw_only=True):
    """The note. Moments are milliseconds since the epoch; 0 for never."""

    path: str = ""
    made_ms: int = 0
    bytes: int = 0
    verified_ms: int = 0


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(State).decode


def read_state(data_dir: Path) -> State:
    """Return the note; an empty one if it cannot be read."""
    try:
        return _decode((data_dir / FILE).read_bytes())
    except (OSError, UnicodeDecodeError, msgspec.MsgspecError):
        return State()


def note_state(data_dir: Path, state: State) -> None:
    """Write down that a backup was made, or (`verified_ms`) that one was checked. Raises OSError."""
    known = read_state(data_dir)
    if state.verified_ms:
        state = msgspec.structs.replace(known, verified_ms=state.verified_ms)
    else:
        state = msgspec.structs.replace(state, verified_ms=known.verified_ms)
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_file(data_dir / FILE, _encode(state))
