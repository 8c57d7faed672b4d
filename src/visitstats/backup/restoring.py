"""Restores a backup into an empty store, and into a data folder, in which nothing is overwritten.

Files that the data folder still has are newer than the backup. So its journal stays, and is replayed on top of the
backup, up to the last acknowledged hit. Files that it lacks are put back from the backup: the whole folder on another
machine, or older segments of its own journal.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from visitstats.backup.manifest import DATA, Backup, BackupDamaged, copy_file
from visitstats.core.errors import VisitstatsError
from visitstats.ingest.once import Reach, Replayed, reach, replay_once
from visitstats.journal.folder import claim_folder
from visitstats.journal.log import Limits
from visitstats.journal.reader import is_held, slot_folders, slots_of, writer_of
from visitstats.store.dump import Totals
from visitstats.store.fitness import Parts
from visitstats.store.loading import check_empty, load_dump
from visitstats.system.files import sync_directory

MOST_SLOTS = 1000


class RestoreRefused(VisitstatsError):
    """A backup cannot be restored here; nothing was changed."""


class Plan(NamedTuple):
    """What a restore will do."""

    backup: Backup
    again: bool
    """Whether it continues a restore that was broken off."""
    files: list[tuple[Path, Path]]
    """The files of the backup that are put back, and their places."""
    own_journal: bool
    """Whether the data folder has a journal: then the restored numbers go up to the last acknowledged hit."""


class Restored(NamedTuple):
    """The result of a restore."""

    replayed: Replayed
    lost: dict[str, int]
    """By site, hits that are neither in the backup nor in the journal."""
    until_ms: int
    """The moment up to which the numbers go."""
    totals: dict[str, Totals]


def check_stopped(data_dir: Path) -> None:
    """Refuse a data folder that a running service uses."""
    held = [path.name for path in slot_folders(data_dir / "journal") if is_held(path)]
    if held:
        raise RestoreRefused(
            f"a service runs on {data_dir} ({len(held)} slots of its journal are in use): stop it first"
        )


async def plan_restore(backup: Backup, data_dir: Path, parts: Parts) -> Plan:
    """Work out what a restore has to do. Nothing is changed. Raises RestoreRefused, StoreNotEmpty, StoreUnfit and
    StoreUnavailable."""
    check_stopped(data_dir)
    again = await check_empty(parts.client, backup.manifest.seal)
    files, own = await asyncio.to_thread(lambda: (_files(backup, data_dir), _has_records(data_dir / "journal")))
    return Plan(backup, again, files, own)


async def restore(
    plan: Plan, data_dir: Path, parts: Parts, limits: Limits, clock: Callable[[], int],
    progress: Callable[[str, int, int], None] = lambda *_: None,
) -> Restored:  # fmt: skip
    """Carry a plan out. It can be repeated when it was broken off. Raises StoreUnavailable, StoreNotEmpty, FolderUnfit,
    DumpDamaged and OSError."""
    backup = plan.backup
    await asyncio.to_thread(claim_folder, data_dir)
    for n, (source, target) in enumerate(plan.files, 1):
        await asyncio.to_thread(_put, source, target)
        progress("files", n, len(plan.files))
    await load_dump(parts.client, backup.dumps, backup.manifest.seal, lambda n: progress("keys", n, 0))
    root = data_dir / "journal"
    sites = await parts.records.sites()
    names = sorted(sites.keys() | backup.manifest.sites.keys())
    before = await asyncio.to_thread(reach, root, await parts.reads.marks(names))
    done = 0

    def note() -> None:
        nonlocal done
        done += 1
        progress("journal", done, before.records)

    replayed = await replay_once(root, parts.url, parts.reads, sites, limits, clock, note)
    return Restored(replayed, dict(before.lost), _until(plan, before), await totals(parts, names))


async def totals(parts: Parts, sites: list[str]) -> dict[str, Totals]:
    """Return what the store has of sites now. Raises StoreUnavailable."""
    marks = await parts.reads.marks(sites)
    return {
        site: Totals(
            *await parts.inspector.totals(site), await parts.reads.article_count(site),
            sum(mark.total for mark in marks[site].values()),
        )
        for site in sites
    }  # fmt: skip


def _until(plan: Plan, found: Reach) -> int:
    if plan.own_journal:
        return found.newest_ms
    manifest = plan.backup.manifest
    return manifest.journal_ms if plan.backup.has_recent else manifest.begun_ms


def _has_records(root: Path) -> bool:
    for slot in slots_of(root):
        slot.scan()
        if slot.records:
            return True
    return False


def _files(backup: Backup, data_dir: Path) -> list[tuple[Path, Path]]:
    """Pair each file of the backup that the data folder does not have with its place there."""
    source = backup.folder / DATA
    found: list[tuple[Path, Path]] = []
    own = {writer_of(path): path for path in slot_folders(data_dir / "journal")}
    taken = {path.name for path in own.values()}
    for slot in slot_folders(source / "journal"):
        writer = writer_of(slot)
        if not writer:
            raise BackupDamaged(f"{slot} has no writer")
        place = own.get(writer)
        if place is None:
            # The folder with this number may hold another writer's records: they stay, and these get another number.
            name = next(name for n in range(MOST_SLOTS) if (name := slot.name if n == 0 else f"{n:02d}") not in taken)
            taken.add(name)
            place = data_dir / "journal" / name
        found += [(path, place / path.name) for path in sorted(slot.iterdir()) if not (place / path.name).exists()]
    for name in backup.manifest.files:
        inside = name.removeprefix(f"{DATA}/")
        if inside != name and not inside.startswith("journal/") and not (data_dir / inside).exists():
            found.append((backup.folder / name, data_dir / inside))
    return found


def _put(source: Path, target: Path) -> None:
    """Copy a file to a place where there is none, as a whole or not at all."""
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = target.with_name(f"{target.name}.restored.new")
    fresh.unlink(missing_ok=True)
    copy_file(source, fresh)
    fresh.rename(target)
    sync_directory(target.parent)
