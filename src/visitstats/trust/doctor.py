"""Doctor: checks the data folder and the machine on which the service runs; `trust.store_checks` checks the store. Each
check is one row of a table: what was found, and what to change.

`fail` means that counts may get lost or hits are refused; `warn` that it may come to that, or that it could be better.
Nothing is changed, but for one small file that is written, synced and removed again in the data folder.
"""

import errno
import os
import platform
import resource
import secrets
import socket
import sys
import time
import zoneinfo
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

import msgspec

from visitstats.core.errors import FolderUnfit
from visitstats.journal.folder import guard_folder
from visitstats.journal.reader import slots_of
from visitstats.settings import Settings
from visitstats.system.networks import Networks, parse
from visitstats.trust.losses import FILE as LOSS_FILE
from visitstats.trust.losses import read_loss
from visitstats.trust.proxies import read_unnamed

MIB = 1024 * 1024
SYNC_SECONDS = 0.05
HEADROOM = 0.2
"""The part of a memory limit, and of a disk's inodes, that should be free."""
FREE_MIB = 256
"""The embedded store rewrites its file beside the old one."""
INODES = 1000
FILES = 4096
"""The fewest open files that a worker should be allowed: for its connections, the store's, its own."""
NETWORK_MOUNTS = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "fuse.sshfs", "glusterfs", "ceph"})
VOLATILE_MOUNTS = frozenset({"tmpfs", "ramfs", "devtmpfs"})
LIBRARIES = ("redis", "uvicorn", "starlette", "msgspec", "uvloop", "httptools", "APScheduler", "prometheus-client")

Status = Literal["ok", "warn", "fail"]


class Row(msgspec.Struct, frozen=True):
    """One check."""

    check: str
    status: Status
    found: str
    advice: str = ""
    """What to change; empty when nothing is."""


class Machine(msgspec.Struct, frozen=True):
    """The folders that describe the machine; tests give others."""

    mounts: Path = Path("/proc/self/mounts")
    zones: Callable[[], set[str]] = zoneinfo.available_timezones


# The data folder ------------------------------------------------------------------------------------------------------


def check_folder(settings: Settings, machine: Machine) -> Iterator[Row]:
    """Check the data folder."""
    folder = settings.data_dir
    if not folder.is_dir():
        yield Row("data folder", "fail", f"{folder} is not there", "make it, or name another with data_dir")
        return
    yield _rights(folder)
    yield _writes(folder)
    yield _durability(settings)
    yield _mount(folder, machine)
    yield from _space(settings)
    yield _loss(folder / "last")
    yield _proxy(settings)


def _proxy(settings: Settings) -> Row:
    """Whether hits come through a proxy that is not named."""
    found = read_unnamed(settings.data_dir / "last")
    packed = None if found is None else parse(found.peer)
    if found is None or settings.proxy_hops or packed in Networks(settings.trusted_proxies):
        return Row("proxy", "ok", "no hits of many readers from one peer that is not in trusted_proxies")
    when = datetime.fromtimestamp(found.seen_ms / 1000, UTC).isoformat(" ", "minutes")
    return Row(
        "proxy", "warn", f"hits of many readers came from {found.peer} ({when}): all of them are one network",
        f'name your proxy: trusted_proxies = ["{found.peer}"] (docs/settings.md); else the hits are forged',
    )  # fmt: skip


def _rights(folder: Path) -> Row:
    """Who else may write in the folder."""
    try:
        warnings = guard_folder(folder)
    except FolderUnfit as error:
        return Row("folder's rights", "fail", str(error), "the service does not start on such a folder")
    if warnings:
        return Row("folder's rights", "warn", "; ".join(warnings), "let it be the service's alone (chown, chmod 700)")
    return Row("folder's rights", "ok", "nobody else may write there")


def _writes(folder: Path) -> Row:
    """Write and fsync, as an acknowledgement does."""
    probe = folder / f".doctor-{secrets.token_hex(4)}"
    began = time.perf_counter()
    try:
        handle = os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.write(handle, bytes(4096))
            os.fsync(handle)
        finally:
            os.close(handle)
            probe.unlink()
    except OSError as error:
        who = f"process user {os.geteuid()}"
        return Row(
            "data folder",
            "fail",
            f"{folder}: {error.strerror}",
            f"let the service's user write there ({who}), or free it",
        )
    took = time.perf_counter() - began
    found = f"{folder} takes a write and an fsync in {took * 1000:.1f} ms"
    if took > SYNC_SECONDS:
        return Row("data folder", "warn", found, "a faster disk makes each hit's answer faster")
    return Row("data folder", "ok", found)


def _durability(settings: Settings) -> Row:
    if settings.durability == "os":
        return Row(
            "durability", "warn", "os: hits are acknowledged before they are on the disk",
            "set durability to fsync, unless a power cut may take the hits of the last half minute",
        )  # fmt: skip
    return Row("durability", "ok", "fsync: hits are on the disk before they are acknowledged")


def _mount(folder: Path, machine: Machine) -> Row:
    kind = mount_type(folder, machine.mounts)
    if kind in NETWORK_MOUNTS:
        return Row(
            "file system", "warn", kind, "keep the data folder on a local disk: locks and fsync over a network may lie"
        )
    if kind in VOLATILE_MOUNTS:
        return Row("file system", "fail", kind, "keep the data folder on a disk: this one is gone after a restart")
    return Row("file system", "ok", kind or "not told")


def mount_type(folder: Path, mounts: Path) -> str:
    """Return the type of the file system that holds a folder, as Linux tells it; empty when it does not."""
    try:
        lines = mounts.read_text("utf-8", "replace").splitlines()
    except OSError:
        return ""
    best, kind = -1, ""
    real = folder.resolve()
    for line in lines:
        fields = line.split()
        if len(fields) < 3:
            continue
        place = Path(fields[1].encode().decode("unicode_escape"))
        if real.is_relative_to(place) and len(place.parts) >= best:
            best, kind = len(place.parts), fields[2]
    return kind


def _space(settings: Settings) -> Iterator[Row]:
    disk = os.statvfs(settings.data_dir)
    free = disk.f_bavail * disk.f_frsize // MIB
    used = 0
    for path in settings.data_dir.glob("journal/*/*"):
        with suppress(FileNotFoundError):  # deleted at this moment
            used += path.stat().st_size
    used //= MIB
    needed = settings.journal_max_mb * settings.workers - used
    found = f"{free} MiB free; the journals may still grow by {max(needed, 0)} MiB"
    if free < FREE_MIB:
        yield Row("disk space", "fail", found, "free some: when the disk is full hits are refused")
    elif free < needed + FREE_MIB:
        yield Row("disk space", "warn", found, "free some, or lower journal_max_mb")
    else:
        yield Row("disk space", "ok", found)
    if disk.f_files and disk.f_favail < INODES:
        yield Row("inodes", "fail", f"{disk.f_favail} free", "remove files: a new journal segment needs one")
    elif disk.f_files and disk.f_favail < (HEADROOM / 4) * disk.f_files:
        yield Row("inodes", "warn", f"{disk.f_favail} of {disk.f_files} free", "remove files")
    else:
        yield Row("inodes", "ok", f"{disk.f_favail} free" if disk.f_files else "not counted by this file system")


def _loss(folder: Path) -> Row:
    loss = read_loss(folder)
    if loss is None:
        return Row("losses", "ok", "nothing that was shown is missing")
    when = datetime.fromtimestamp(loss.at_ms / 1000, UTC).isoformat(timespec="minutes") if loss.at_ms else "some day"
    missing = ", ".join(f"{site} had {total}" for site, total in sorted(loss.totals.items())[:10])
    return Row(
        "losses", "fail", f"the store was found empty at {when}: {missing or 'the note about it is damaged'}",
        f"restore a backup of the store; or remove {folder / LOSS_FILE} to go on counting from what is there",
    )  # fmt: skip


# The machine ----------------------------------------------------------------------------------------------------------


def check_machine(settings: Settings, machine: Machine) -> Iterator[Row]:
    """Check the machine."""
    # Workers raise the soft limit to this one.
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = hard == resource.RLIM_INFINITY
    if not unlimited and hard < FILES:
        yield Row(
            "open files", "warn", f"{hard} for each of {settings.workers} workers, as for this command",
            f"raise the hard limit to {FILES} or more (LimitNOFILE= in the unit, ulimit -Hn): each reader is one",
        )  # fmt: skip
    else:
        yield Row("open files", "ok", f"{'unlimited' if unlimited else hard} for each worker, as for this command")
    zones = machine.zones()
    if "Asia/Ho_Chi_Minh" in zones:
        yield Row("time zones", "ok", f"{len(zones)} are known")
    else:
        yield Row("time zones", "fail", "there is no time zone data", "install the package tzdata")
    yield _port(settings)
    yield Row("versions", "ok", versions())


def _port(settings: Settings) -> Row:
    place = f"{settings.host} port {settings.port}"
    if settings.port == 0:
        return Row("port", "ok", "any free one")
    held = [slot.number for slot in slots_of(settings.data_dir / "journal") if slot.held]
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with closing(socket.socket(family, kind, protocol)) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        if error.errno == errno.EADDRINUSE and held:
            return Row("port", "ok", f"{place} is taken, and the service runs ({len(held)} workers)")
        return Row("port", "fail", f"{place}: {error.strerror or error}", "stop the other program, or set port or host")
    return Row("port", "ok", f"{place} is free" + (f"; {len(held)} workers run elsewhere" if held else ""))


def versions() -> str:
    """Return the versions that a bug report needs, in one line."""
    found = [f"Python {platform.python_version()} on {sys.platform}"]
    for name in ("visitstats", *LIBRARIES):
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"{name} (not installed)")
    return ", ".join(found)
