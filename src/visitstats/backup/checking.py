"""Tries a backup: restores it into a throw-away store and a throw-away folder, replays, verifies and compares it."""

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from visitstats.backup.manifest import DATA, Backup, open_backup
from visitstats.backup.restoring import totals
from visitstats.backup.throwaway import temporary_folder, throwaway_store
from visitstats.ingest.once import replay_once
from visitstats.journal.log import Limits
from visitstats.store.dump import Totals
from visitstats.store.fitness import Parts, opened
from visitstats.store.loading import load_dump
from visitstats.trust.verify.findings import Problem
from visitstats.trust.verify.verifier import Verifier

LIMITS = Limits(1 << 40, 24 * 3600.0)
"""Limits that are never reached, so that nothing of the copied journal is pruned."""


class SiteRow(NamedTuple):
    """A site: what the manifest says, and what the store has after everything was replayed."""

    site: str
    backup: Totals
    replayed: Totals


class Checked(NamedTuple):
    """The result of trying a backup."""

    backup: Backup
    sites: list[SiteRow]
    problems: list[Problem]

    @property
    def right(self) -> bool:
        """Whether the backup can be relied on."""
        return not self.problems


def check_backup(
    folder: Path, clock: Callable[[], int], progress: Callable[[str, int, int], None] = lambda *_: None
) -> Checked:
    """Try a backup. Call it from the main thread. Raises BackupDamaged, DumpDamaged, StoreUnavailable, NoServerFound,
    StoreNotStarted and OSError."""
    backup = open_backup(folder, clock(), lambda done, total: progress("checksums", done, total))
    with temporary_folder() as place:
        journal = folder / DATA / "journal"
        if journal.is_dir():
            shutil.copytree(journal, place / "journal")
        with throwaway_store(place) as url:
            return asyncio.run(_try(backup, url, place / "journal", clock, progress))


async def _try(
    backup: Backup, url: str, root: Path, clock: Callable[[], int], progress: Callable[[str, int, int], None]
) -> Checked:
    async with opened(url, clock) as parts:
        await load_dump(parts.client, backup.dumps, backup.manifest.seal, lambda n: progress("keys", n, 0))
        names = sorted(backup.manifest.sites)
        loaded = await totals(parts, names)
        problems = [
            Problem(site, "backup", "totals", f"{loaded[site]} was restored, {expected} was backed up")
            for site, expected in sorted(backup.manifest.sites.items())
            if loaded[site] != expected
        ]
        await replay_once(root, url, parts.reads, await parts.records.sites(), LIMITS, clock)
        progress("verify", 0, 0)
        problems += await _verify(parts, root, clock, progress)
        after = await totals(parts, names)
    return Checked(backup, [SiteRow(site, backup.manifest.sites[site], after[site]) for site in names], problems)


async def _verify(
    parts: Parts, root: Path, clock: Callable[[], int], progress: Callable[[str, int, int], None]
) -> list[Problem]:
    verifier = Verifier(
        parts.inspector, parts.records, parts.reads, root, clock, lambda what: progress(f"verify: {what}", 0, 0)
    )
    return (await verifier.run()).problems
