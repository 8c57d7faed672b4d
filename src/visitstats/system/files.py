"""Writes files durably (on the disk when the call returns) and atomically (as a whole or not at all). Everything may
raise OSError."""

import os
from pathlib import Path

CREATE = os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
"""The flags with which our files are made or opened: never through a link."""


def write_all(file: int, data: bytes) -> None:
    """Write everything to a file descriptor, in as many parts as the kernel takes."""
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]


def sync(file: int) -> None:
    """Wait until what was written is on the disk, and its length; the times of the file don't matter."""
    getattr(os, "fdatasync", os.fsync)(file)  # macOS has no fdatasync


def write_file(path: Path, data: bytes) -> None:
    """Write a private file, or replace it."""
    put_in_place(write_beside(path, data), path)


def write_beside(path: Path, data: bytes) -> Path:
    """Write the content that is to replace a file beside it, and return its path."""
    fresh = path.with_name(f"{path.name}.{os.getpid()}.new")  # several workers may write the same file
    with open(os.open(fresh, os.O_WRONLY | os.O_TRUNC | CREATE, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    return fresh


def put_in_place(fresh: Path, path: Path) -> None:
    """Replace a file by one that was written beside it."""
    os.replace(fresh, path)
    sync_directory(path.parent)


def sync_directory(directory: Path) -> None:
    """Wait until the names in a directory are on the disk."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
