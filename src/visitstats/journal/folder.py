"""The data folder: its schema number (`core.schema`), and the users who may write in it.

A user who can write there can make the service write anywhere, by a symbolic link. So a folder that others may write is
refused, and so is one that contains a link: this program makes none. (The path of the folder itself may be a link.)
Files are readable for the service's user alone, whatever the umask (`keep_private`).
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
"""How deep our folders lie at most."""


def keep_private() -> None:
    """Make this process and those that it starts create files with mode 600, and folders with 700."""
    os.umask(0o077)


def guard_folder(data_dir: Path) -> list[str]:
    """Refuse (FolderUnfit) a data folder that others may write, or that contains a link; return warnings about what is
    only unusual. A folder that does not exist yet passes."""
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
        pass  # the part that reads the folder reports the error


def claim_folder(data_dir: Path) -> None:
    """Refuse (FolderUnfit) a data folder of another schema, and what `guard_folder` refuses. Write the number into a
    folder that is new, or of a schema that is brought forward: its journal is read as it is, and everything else in it
    is made anew. Raises OSError."""
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
