"""The form of a backup on the disk: a folder, and a manifest that says what must be in it.

    visitstats-20261129T181500Z/
      manifest.json     versions, moments, totals of the sites, size and SHA-256 of each file; a seal on all of it
      store.dump        the keys of the store that last (`store.dump`)
      recent.dump       the keys that the store forgets within two days
      data/…            the data folder, without derived files

Rule 1: a folder with such a name is complete. It is written under another name, synced, and renamed.
Rule 2: data that tells who was here is not kept longer than the store keeps it: `recent.dump`, `data/journal/` and the
        salts are deleted from a backup when the salts in it are past their life. The rest still has all counts.
Rule 3: every byte counts: a backup with a changed byte, a missing file or an added one is refused.
"""

import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from visitstats.core.counting import SALT_LIFE_MS
from visitstats.core.errors import VisitstatsError
from visitstats.core.schema import SCHEMA_NUMBER
from visitstats.store.dump import Totals
from visitstats.system.files import CREATE, sync_directory, write_file

FORMAT = 1
MANIFEST = "manifest.json"
LASTING, RECENT = "store.dump", "recent.dump"
DATA = "data"
NAME = re.compile(r"visitstats-\d{8}T\d{6}Z(-\d+)?")
PARTIAL = ".partial"
PIECE = 1 << 20


class BackupDamaged(VisitstatsError):
    """A backup that is not what its manifest says, or none at all; the text says what is wrong."""


class BackupFailed(VisitstatsError):
    """A backup could not be made. Nothing is left of it."""


class File(msgspec.Struct, frozen=True):
    """A file of a backup."""

    size: int
    sha256: str
    recent: bool = False
    """Whether rule 2 applies to it."""


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a backup holds. Moments are milliseconds since the epoch."""

    format: int
    schema: int
    program: str
    """Version of visitstats."""
    store: str
    """Maker and version of the server."""
    host: str
    method: str
    """snapshot: all keys are of one moment. read: the keys of each site are of one moment."""
    begun_ms: int
    journal_ms: int
    """When copying the journal began: all hits that this host had acknowledged by then are in the backup."""
    sites: dict[str, Totals]
    """The totals in `store.dump`; the journal may have more hits."""
    notes: list[str]
    files: dict[str, File]
    seal: str = ""
    """The SHA-256 of the manifest with an empty seal."""

    @property
    def bytes(self) -> int:
        """The size of all files."""
        return sum(file.size for file in self.files.values())


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Manifest, strict=True).decode


class Backup:
    """A backup that was found: its folder, and its manifest."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder = folder
        self.manifest = manifest

    @property
    def has_recent(self) -> bool:
        """Whether it still has the files that rule 2 deletes."""
        return (self.folder / RECENT).exists()

    @property
    def dumps(self) -> list[Path]:
        """The files of the store's dump that are there."""
        return [path for name in (LASTING, RECENT) if (path := self.folder / name).exists()]


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Seal a manifest and write it. Raises OSError."""
    write_file(folder / MANIFEST, _encode(_sealed(manifest)))


def open_backup(folder: Path, now_ms: int, progress: Callable[[int, int], None] = lambda *_: None) -> Backup:
    """Read a backup, and check every byte of it (rule 3). Raises BackupDamaged and OSError."""
    found = Backup(folder, _read_manifest(folder))
    manifest = found.manifest
    if manifest.format != FORMAT:
        raise BackupDamaged(f"{folder} has format {manifest.format}, this program {FORMAT}: use its own version")
    if manifest.schema != SCHEMA_NUMBER:
        raise BackupDamaged(f"{folder} has schema {manifest.schema}, this program {SCHEMA_NUMBER}: use its own version")
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()} - {MANIFEST}
    if strange := sorted(names - manifest.files.keys()):
        raise BackupDamaged(f"{folder} has a file that is none of its own: {strange[0]}")
    recent = {name for name, file in manifest.files.items() if file.recent}
    forgotten = not recent & names and now_ms - manifest.begun_ms >= SALT_LIFE_MS
    done = 0
    for name, file in manifest.files.items():
        if name not in names:
            if file.recent and forgotten:
                continue
            raise BackupDamaged(f"{folder} is not whole: {name} is missing")
        size, digest = digest_of(folder / name)
        if (size, digest) != (file.size, file.sha256):
            what = f"{size} bytes, not {file.size}" if size != file.size else "other bytes than were written"
            raise BackupDamaged(f"{folder} is damaged: {name} has {what}")
        done += size
        progress(done, manifest.bytes)
    return found


def backups_in(target: Path) -> list[Path]:
    """Return the backups in a folder, the oldest first."""
    if not target.is_dir():
        return []
    return sorted(path for path in target.iterdir() if NAME.fullmatch(path.name) and (path / MANIFEST).is_file())


def rotate(target: Path, keep: int, now_ms: int) -> list[Path]:
    """Delete all but the newest `keep` backups of a folder, and from the kept ones what rule 2 demands. Return the
    deleted ones. Raises OSError."""
    found = backups_in(target)
    gone = found[: max(len(found) - keep, 0)]
    for path in gone:
        drop = path.with_name(f".{path.name}{PARTIAL}")
        path.rename(drop)  # a folder that is half deleted must not have the name of a backup
        shutil.rmtree(drop)
    for path in found[len(gone) :]:
        forget(path, now_ms)
    sync_directory(target)
    return gone


def forget(folder: Path, now_ms: int) -> None:
    """Delete from a backup what may not be kept for longer. Raises OSError."""
    try:
        manifest = _read_manifest(folder)
    except BackupDamaged:
        return  # `open_backup` reports the damage when it is checked or restored
    if now_ms - manifest.begun_ms < SALT_LIFE_MS:
        return
    for name, file in manifest.files.items():
        if file.recent:
            (folder / name).unlink(missing_ok=True)


def digest_of(path: Path) -> tuple[int, str]:
    """Return a file's size and its SHA-256. Raises OSError."""
    found, size = hashlib.sha256(), 0
    for piece in _pieces(path):
        found.update(piece)
        size += len(piece)
    return size, found.hexdigest()


def copy_file(source: Path, target: Path) -> tuple[int, str]:
    """Copy the present content of a file, sync the copy, and return its size and SHA-256. Raises OSError."""
    found, size = hashlib.sha256(), 0
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with open(os.open(target, os.O_WRONLY | os.O_EXCL | CREATE, 0o600), "wb") as file:
        for piece in _pieces(source):
            file.write(piece)
            found.update(piece)
            size += len(piece)
        file.flush()
        os.fsync(file.fileno())
    return size, found.hexdigest()


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            yield piece


def _read_manifest(folder: Path) -> Manifest:
    try:
        data = (folder / MANIFEST).read_bytes()
        manifest = _decode(data)
    except FileNotFoundError:
        raise BackupDamaged(f"{folder} is no backup: it has no {MANIFEST}") from None
    except NotADirectoryError:
        raise BackupDamaged(f"{folder} is no backup: it is no folder") from None
    except (UnicodeDecodeError, msgspec.MsgspecError) as error:
        raise BackupDamaged(f"{folder} is damaged: its {MANIFEST} cannot be read: {error}") from error
    if _encode(_sealed(manifest)) != data:
        raise BackupDamaged(f"{folder} is damaged: its {MANIFEST} is not what was written")
    return manifest


def _sealed(manifest: Manifest) -> Manifest:
    bare = msgspec.structs.replace(manifest, seal="")
    return msgspec.structs.replace(bare, seal=hashlib.sha256(_encode(bare)).hexdigest())
