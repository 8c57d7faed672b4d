"""A proxy that is missing in `trusted_proxies`: a worker notes it here for `visitstats doctor`."""

import logging
from pathlib import Path

import msgspec

from visitstats.system.files import write_file

FILE = "unnamed-proxy.json"
log = logging.getLogger(__name__)


class Unnamed(msgspec.Struct, frozen=True):
    """A peer through which the hits of many readers come, and which is not in `trusted_proxies`."""

    peer: str
    seen_ms: int


def note_unnamed(folder: Path, found: Unnamed) -> None:
    """Keep the note. An error of the disk is ignored, because the log has the same warning."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_file(folder / FILE, msgspec.json.encode(found))
    except OSError as error:
        log.debug("what was seen of a proxy cannot be kept: %s", error)


def read_unnamed(folder: Path) -> Unnamed | None:
    """Return what was seen last, None for nothing."""
    try:
        return msgspec.json.decode((folder / FILE).read_bytes(), type=Unnamed)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None
