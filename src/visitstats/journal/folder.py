"""The data folder's schema number (`core.schema`)."""

from pathlib import Path

from visitstats.core.errors import FolderUnfit
from visitstats.core.schema import OLDEST_SCHEMA, SCHEMA_NUMBER
from visitstats.files import write_file
from visitstats.journal.segments import MAGIC

FILE = "schema"


def claim_folder(data_dir: Path) -> None:
    """Refuse (FolderUnfit) a data folder of another schema; write the number into one that is new, or of a schema that
    is brought forward: its journal is read as it is, and what else is in it is made anew. Raises OSError."""
    path = data_dir / FILE
    try:
        found = path.read_text("ascii", "replace").strip()
    except FileNotFoundError:
        # The folder is new, or holds a journal that was copied here, whose files have the number as well.
        if any(not _is_ours(segment) for segment in data_dir.glob("journal/[0-9]*/*.log")):
            raise FolderUnfit(
                f"{data_dir} was written by a version before schema {OLDEST_SCHEMA}; use an empty folder"
            ) from None
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_file(path, b"%d\n" % SCHEMA_NUMBER)
        return
    if found == str(SCHEMA_NUMBER):
        return
    if found.isdigit() and OLDEST_SCHEMA <= int(found) < SCHEMA_NUMBER:
        write_file(path, b"%d\n" % SCHEMA_NUMBER)
    else:
        raise FolderUnfit(
            f"{data_dir} has schema {found[:20]}, this program schema {SCHEMA_NUMBER}: use its own version"
        )


def _is_ours(segment: Path) -> bool:
    with segment.open("rb") as file:
        head = file.read(len(MAGIC))
    return head in (MAGIC, b"")
