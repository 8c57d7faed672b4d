"""Opens the parts of a worker that are on the disk: a slot of the journal, and the files of its metrics."""

from collections.abc import Callable
from typing import NamedTuple

from visitstats.core.errors import JournalDamaged, JournalFull
from visitstats.journal.closed import ClosedJournal
from visitstats.journal.folder import claim_folder
from visitstats.journal.log import Journal, Limits, OpenJournal
from visitstats.metrics import Metrics
from visitstats.settings import Settings


class Disk(NamedTuple):
    """The parts of a worker that are on the disk."""

    journal: Journal
    metrics: Metrics


def open_disk(settings: Settings, clock: Callable[[], int]) -> Disk:
    """Take a slot of the journal, and the files of its metrics. When the disk refuses them, the worker can still answer
    reads: then the returned journal has a `reason`, and takes no hits. Raises FolderUnfit. Blocks."""
    root, metrics = settings.data_dir / "journal", settings.data_dir / "metrics"
    limits = Limits.of(settings.journal_max_mb, settings.journal_keep_hours)
    try:
        claim_folder(settings.data_dir)
        # Sequences go on from the clock: a journal that was restored from a copy never uses one that the store knows.
        journal = OpenJournal.open(
            root, max_bytes=limits.max_bytes, keep_seconds=limits.keep_seconds, fsync=settings.durability == "fsync",
            above=clock(),
        )  # fmt: skip
        try:
            return Disk(journal, Metrics(metrics, journal.number))
        except BaseException:
            journal.close()
            raise
    except (JournalFull, JournalDamaged, OSError) as error:
        return Disk(ClosedJournal(str(error)), Metrics(metrics, None))
