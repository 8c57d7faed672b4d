"""The data folder: its schema number (`core.schema`), and who may write in it.

Whoever can write there can have the service write anywhere, by a link. So a folder that others may write is refused,
and so is one with a link in it: this program makes none. (The folder itself may be reached by one.) Files are made for
the service's user alone, whatever the umask: `keep_private`.
"""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from visitstats.core.errors import FolderUnfit
from visitstats.core.schema import OLDEST_SCHEMA, SCHEMA_NUMBER
from visitstats.journal.segments import MAGIC
from visitstats.system.files import write_file

FILE = "schema"
DEPTH = 3
"""Folders of ours lie at most so deep."""


def keep_private() -> None:
    """Have this process, and those that it starts, make files that its user alone reads: 600, folders 700."""
    os.umask(0o077)


def guard_folder(data_dir: Path) -> list[str]:
    """Refuse (FolderUnfit) a data folder that others may write, or that has a link in it; return what is only odd. One
    that is not there yet has no rights."""
    try:
        found = data_dir.stat()
    except OSError:
        return []
    warnings = []
    if found.st_uid != os.geteuid():
        warnings.append(f"{data_dir} belongs to another user ({found.st_uid}), who may change everything in it")
    if found.st_mode & stat.S_IWGRP:
        warnings.append(f"the group of {data_dir} may write there; chmod g-w {data_dir}, unless it is meant")
    for path, status in ((data_dir, found), *_below(data_dir, DEPTH)):
        if stat.S_ISLNK(status.st_mode):
            raise FolderUnfit(f"{path} is a link, and visitstats follows none: put what it leads to in its place")
        if status.st_mode & stat.S_IWOTH and not stat.S_ISSOCK(status.st_mode):
            raise FolderUnfit(f"everybody may write {path}: take that right away (chmod o-w {path})")
    return warnings


def _below(folder: Path, depth: int) -> Iterator[tuple[Path, os.stat_result]]:
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                try:
                    status = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue  # another process has just removed it
                path = folder / entry.name
                yield path, status
                if depth > 1 and stat.S_ISDIR(status.st_mode):
                    yield from _below(path, depth - 1)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        pass  # whoever needs it says so


def claim_folder(data_dir: Path) -> None:
    """Refuse (FolderUnfit) a data folder of another schema, and what `guard_folder` refuses; write the number into one
    that is new, or of a schema that is brought forward: its journal is read as it is, and what else is in it is made
    anew. Raises OSError."""
    guard_folder(data_dir)
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
