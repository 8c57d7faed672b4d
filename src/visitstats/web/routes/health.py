"""The state of the installation, for administrators: names of what is wrong, and the state of each part."""

from collections.abc import Iterable
from datetime import UTC, datetime

import msgspec

from visitstats import __version__
from visitstats.system.board import Report
from visitstats.web.beacons.answers import Moment
from visitstats.web.table import Asked, Route
from visitstats.worker import Worker

DAY_MS = 86_400_000
OLDEST_BACKUP_MS = 2 * DAY_MS
"""Backups are made every night."""
LONG_WAIT_MS = 60_000
LITTLE_ROOM = 0.05
"""The part of the disk that should be free: below it, the journal will soon not fit."""

TROUBLES = (
    "journal-refuses", "store-away", "store-unfit", "store-lost", "workers", "waiting", "other-host", "disk", "memory",
    "not-persistent", "task-failed", "contradictions", "backup-old", "backup-never",
)  # fmt: skip
"""What can be wrong, the worst first."""


class StoreState(msgspec.Struct):
    """The store. `state` is how the workers are linked to it; `version` and what follows is null while it does not
    answer."""

    answers: bool
    state: str
    version: str | None
    memory: int | None
    memory_limit: int | None
    """0 for no limit."""
    persistent: bool | None


class JournalState(msgspec.Struct):
    """The journal on this machine's disk: what of it the store lacks, since when, and how much it may hold."""

    takes_hits: bool
    bytes: int
    limit: int
    unapplied_records: int
    unapplied_since: Moment | None


class DiskState(msgspec.Struct):
    """The disk of the data folder, in bytes."""

    free: int
    size: int


class BackupState(msgspec.Struct):
    """The last backup of this machine, and when one was tried last."""

    made: Moment | None
    verified: Moment | None
    bytes: int


class TaskRun(msgspec.Struct):
    """How a scheduled task went the last time."""

    name: str
    at: Moment
    right: bool
    said: str
    host: str
    succeeded: Moment | None


class Condition(msgspec.Struct):
    """How the installation is. `troubles` is empty when all is well; moments are in UTC."""

    at: Moment
    version: str
    troubles: list[str]
    workers_ready: int
    workers_wanted: int
    store: StoreState
    journal: JournalState
    disk: DiskState
    backup: BackupState
    tasks: list[TaskRun]
    lacks: dict[str, int]
    """Host → hits that are in its journal and not in the store."""
    sites_with_losses: int


class HealthRoutes:
    """The handler."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    async def health(self, asked: Asked[None, None]) -> Condition:
        """Answer how the installation is; also while the store is away."""
        worker = self._worker
        now_ms, reports = worker.clock(), worker.told
        glance = await worker.glance()
        about = glance.about if glance else None
        supervision = worker.supervision
        backup = worker.backup
        found = Condition(
            at=_moment(now_ms) or "",
            version=__version__,
            troubles=[],
            workers_ready=sum(report.ready for report in reports),
            workers_wanted=supervision.workers if supervision else len(reports),
            store=StoreState(
                about is not None, worker.applier.link.word, about.version if about else None,
                about.memory if about else None, about.memory_limit if about else None,
                about.persistent if about else None,
            ),
            journal=JournalState(
                all(report.journal for report in reports), sum(report.journal_bytes for report in reports),
                sum(report.journal_limit for report in reports), sum(report.unapplied_records for report in reports),
                _moment(min((report.unapplied_since_ms for report in reports if report.unapplied_since_ms), default=0)),
            ),
            disk=_disk(reports),
            backup=BackupState(_moment(backup.made_ms), _moment(backup.verified_ms), backup.bytes),
            tasks=[
                TaskRun(name, _moment(run.at_ms) or "", run.right, run.said, run.host, _moment(run.succeeded_ms))
                for name, run in sorted((glance.runs if glance else {}).items())
            ],
            lacks={host: hits for host, hits in worker.hosts.lacks.items() if hits},
            sites_with_losses=max((report.store_lost for report in reports), default=0),
        )  # fmt: skip
        wrong = set(_wrong(found, worker.applier.link.trusted, backup.made_ms, now_ms))
        wrong |= {"contradictions"} if any(run.problems for run in (glance.runs.values() if glance else ())) else set()
        found.troubles = [each for each in TROUBLES if each in wrong]
        return found

    ROUTES = (
        Route("GET", "/v1/admin/health", health, "How the installation is, and what is wrong", Condition,
              scope="admin"),
    )  # fmt: skip


def _wrong(found: Condition, trusted: bool, backup_ms: int, now_ms: int) -> Iterable[str]:
    store, journal, disk = found.store, found.journal, found.disk
    since = journal.unapplied_since
    yield from (
        word
        for word, is_so in (
            ("journal-refuses", not journal.takes_hits),
            ("store-away", not store.answers),
            ("store-unfit", store.answers and not trusted),
            ("store-lost", found.sites_with_losses > 0),
            ("workers", found.workers_ready < found.workers_wanted),
            ("waiting", since is not None and now_ms - _ms(since) > LONG_WAIT_MS),
            ("other-host", bool(found.lacks)),
            ("disk", disk.size > 0 and disk.free < LITTLE_ROOM * disk.size),
            ("memory", bool(store.memory and store.memory_limit and store.memory > 0.9 * store.memory_limit)),
            ("not-persistent", store.persistent is False),
            ("task-failed", any(not task.right for task in found.tasks)),
            ("backup-never", not backup_ms),
            ("backup-old", bool(backup_ms) and now_ms - backup_ms > OLDEST_BACKUP_MS),
        )
        if is_so
    )


def _disk(reports: list[Report]) -> DiskState:
    return DiskState(
        min((report.disk_free for report in reports), default=0),
        max((report.disk_size for report in reports), default=0),
    )


def _moment(at_ms: int) -> str | None:
    return datetime.fromtimestamp(at_ms // 1000, UTC).isoformat() if at_ms else None


def _ms(moment: str) -> int:
    return int(datetime.fromisoformat(moment).timestamp() * 1000)
