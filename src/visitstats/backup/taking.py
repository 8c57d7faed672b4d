"""Makes a backup beside a running service.

The store is copied first, then the data folder, so that the journal in the backup has everything that the copy of the
store may lack. The store gives a snapshot of one moment (`store.snapshot`), which a throw-away server of our own loads:
so the dump is written without holding up the store. A store that gives no snapshot is read site by site.
"""

import asyncio
import fcntl
import fnmatch
import os
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

from visitstats import __version__
from visitstats.backup.manifest import (
    DATA,
    FORMAT,
    LASTING,
    NAME,
    PARTIAL,
    RECENT,
    Backup,
    BackupFailed,
    File,
    Manifest,
    copy_file,
    digest_of,
    open_backup,
    rotate,
    write_manifest,
)
from visitstats.backup.state import State, note_state
from visitstats.backup.throwaway import TEMPORARY, temporary_folder, throwaway_store
from visitstats.core.schema import SCHEMA_NUMBER
from visitstats.core.storeaddress import parse_address
from visitstats.embedded.process import NoServerFound, StoreNotStarted
from visitstats.store.client import open_client
from visitstats.store.dump import DumpWriter, dump_all, dump_beside
from visitstats.store.fitness import opened
from visitstats.store.schema import check_schema
from visitstats.store.snapshot import SnapshotRefused, receive_snapshot
from visitstats.system.files import CREATE, sync_directory

Progress = Callable[[str, int, int], None]
"""Is called with what is being done, how much of it is done, and how much there is (0: not known)."""

DERIVED = (
    "valkey",
    "metrics",
    "limits",
    "backups",
    "index.*",
    "backup.json",
    "salts.json",
    "*.new",
    ".*",
    "lock",
    "*.lock",
    "replay",
)
"""Names of files and folders of the data folder that are in no backup: the embedded store's files and the salts (they
are in the dump), files that are derived from the rest, and files of running processes."""
OF_PERSONS = "journal/*"
"""Folders that, with the salts, tell who was here (`manifest`, rule 2)."""


class Made(NamedTuple):
    """The result of making a backup."""

    backup: Backup
    gone: list[Path]
    """Older ones that were deleted."""


def make_backup(
    url: str, data_dir: Path, target: Path, keep: int, clock: Callable[[], int],
    progress: Progress = lambda *_: None, snapshots: bool = True,
) -> Made:  # fmt: skip
    """Make a backup of the store at an address and of a data folder, in a folder below `target`; keep the newest
    `keep`. Without `snapshots`, the store is read site by site.

    Call it from the main thread. Raises BackupFailed, StoreUnavailable and StoreUnfit; nothing is left behind then.
    """
    try:
        target.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _alone(target):
            begun = clock()
            folder = _name(target, begun)
            partial = folder.with_name(f".{folder.name}{PARTIAL}")
            partial.mkdir(mode=0o700)
            try:
                store, method, notes, writer = _dump(url, partial, begun, progress, snapshots)
                files = {name: File(*digest_of(partial / name), name == RECENT) for name in (LASTING, RECENT)}
                journal_ms = clock()
                files |= _copy_folder(data_dir, target, partial, progress)
                manifest = Manifest(
                    format=FORMAT, schema=SCHEMA_NUMBER, program=__version__, store=store, host=socket.gethostname(),
                    method=method, begun_ms=begun, journal_ms=journal_ms, sites=writer.totals, notes=notes, files=files,
                )  # fmt: skip
                write_manifest(partial, manifest)
                for directory in (path for path in partial.rglob("*") if path.is_dir()):
                    sync_directory(directory)
                sync_directory(partial)
                partial.rename(folder)
                sync_directory(target)
            except BaseException:
                shutil.rmtree(partial, ignore_errors=True)
                raise
            gone = rotate(target, keep, clock())
            made = Made(open_backup(folder, clock()), gone)
            note_state(data_dir, State(path=str(folder), made_ms=begun, bytes=manifest.bytes))
            return made
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        raise BackupFailed(f"the backup in {target} could not be made: {error.strerror or error}{where}") from error


@contextmanager
def _alone(target: Path) -> Iterator[None]:
    """Make sure that this is the only backup under way, and remove what a killed one has left."""
    handle = os.open(target / ".lock", os.O_RDWR | CREATE, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BackupFailed(f"another backup is being made in {target}") from None
        for left in (*target.glob(f".visitstats-*{PARTIAL}"), *target.glob(f"{TEMPORARY}*")):
            shutil.rmtree(left)
        yield
    finally:
        os.close(handle)


def _name(target: Path, begun_ms: int) -> Path:
    moment = datetime.fromtimestamp(begun_ms / 1000, UTC)
    name, n = f"visitstats-{moment:%Y%m%dT%H%M%SZ}", 1
    while (target / (full := name if n == 1 else f"{name}-{n}")).exists():
        n += 1
    return target / full


# The store ------------------------------------------------------------------------------------------------------------


def _dump(
    url: str, folder: Path, now_ms: int, progress: Progress, snapshots: bool
) -> tuple[str, str, list[str], DumpWriter]:
    """Write the dumps; return which server it was, the method, notes, and what was written."""
    server = asyncio.run(_server(url))
    refused = "snapshots were not wanted"
    with temporary_folder(folder.parent) as place:
        snapshot = place / "snapshot.rdb"
        try:
            if snapshots:
                asyncio.run(receive_snapshot(url, snapshot, lambda n: progress("snapshot of the store", n, 0)))
                with throwaway_store(place / "store", snapshot) as copy:
                    source = _same_database(url, copy)
                    writer, _ = asyncio.run(_write(source, folder, now_ms, progress, beside=False))
                return server, "snapshot", _notes(writer, []), writer
        except (SnapshotRefused, NoServerFound, StoreNotStarted) as error:
            refused = str(error)
    writer, inexact = asyncio.run(_write(url, folder, now_ms, progress, beside=True))
    notes = [f"no snapshot ({refused}): each site is of a moment of its own"]
    notes += [f"site {site} is large, and hits kept coming: its keys are of several moments" for site in inexact]
    return server, "read", _notes(writer, notes), writer


async def _server(url: str) -> str:
    async with opened(url, lambda: 0) as parts:
        if not await check_schema(parts.client):
            raise BackupFailed("the store is empty: there is nothing to back up")
        condition = await parts.fitness.condition()
    return f"{condition.server} {condition.version}"


async def _write(
    url: str, folder: Path, now_ms: int, progress: Progress, *, beside: bool
) -> tuple[DumpWriter, list[str]]:
    client = open_client(url)
    inexact: list[str] = []
    try:
        with _created(folder / LASTING) as lasting, _created(folder / RECENT) as recent:
            writer = DumpWriter(lasting, recent, now_ms)
            if beside:
                inexact = await dump_beside(client, writer, lambda done, total: progress("sites", done, total))
            else:
                await dump_all(client, writer, lambda done, total: progress("keys", done, total))
            writer.close()
            for file in (lasting, recent):
                file.flush()
                await asyncio.to_thread(os.fsync, file.fileno())
    finally:
        await client.aclose()
        await client.connection_pool.disconnect()
    return writer, inexact


def _created(path: Path) -> Any:
    return open(os.open(path, os.O_WRONLY | os.O_TRUNC | CREATE, 0o600), "wb")


def _same_database(url: str, copy: str) -> str:
    """The copy's address, with the number of the database that the store's own address names."""
    parts = urlsplit(parse_address(url).url)
    named = parse_qs(parts.query).get("db") or [parts.path.strip("/") if parts.scheme != "unix" else ""]
    return f"{copy}?db={named[0]}" if named[0].isdigit() else copy


def _notes(writer: DumpWriter, notes: list[str]) -> list[str]:
    return notes + [f"the key {name} was written by another program and is left out" for name in writer.strange[:20]]


# The data folder ------------------------------------------------------------------------------------------------------


def _copy_folder(data_dir: Path, target: Path, partial: Path, progress: Progress) -> dict[str, File]:
    found: dict[str, File] = {}
    paths = list(_kept(data_dir, target.resolve()))
    for n, path in enumerate(paths, 1):
        inside = path.relative_to(data_dir).as_posix()
        name = f"{DATA}/{inside}"
        try:
            size, digest = copy_file(path, partial / name)
        except FileNotFoundError:
            continue  # pruned, or replaced, since we looked
        found[name] = File(size, digest, fnmatch.fnmatch(inside, OF_PERSONS))
        progress("files", n, len(paths))
    return found


def _kept(folder: Path, target: Path) -> Iterator[Path]:
    """Yield the files of a folder that go into a backup; nothing below the place of the backups."""
    try:
        paths = sorted(folder.iterdir())
    except FileNotFoundError:
        return
    for path in paths:
        if any(fnmatch.fnmatch(path.name, pattern) for pattern in DERIVED) or path.is_symlink():
            continue
        if NAME.fullmatch(path.name):
            continue  # a backup that was made here before
        if path.is_dir():
            if path.resolve() != target:
                yield from _kept(path, target)
        elif path.is_file():
            yield path
