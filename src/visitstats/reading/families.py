"""The metrics that are made at the scrape (`reading.scrape`): name, type, and what operators read of each; and labels
that are known before their first event."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from visitstats.core import counting
from visitstats.store.line import REFUSES


class Family(NamedTuple):
    """A metric that is made at the scrape, its type, and what operators read of it."""

    name: str
    kind: str
    help: str


VERIFIES = "verify"
"""The task whose last run says how many contradictions there are."""
NEVER_SUM = "Never sum over period: they overlap."
HITS = Family("visitstats_hits_total", "counter", "Hits in the store, duplicates and adopted ones among them, by site.")
ONLINE = Family("visitstats_online", "gauge", "Visitors online now.")
VISITS = Family("visitstats_visits", "gauge", f"Visits, by calendar period. {NEVER_SUM}")
VIEWS = Family("visitstats_views", "gauge", f"Article views, by calendar period. {NEVER_SUM}")
ARTICLES = Family("visitstats_articles", "gauge", "Articles that a site has.")
PLACES = Family("visitstats_places", "gauge", "Articles that a site may have: its max_articles.")
UNIQUES = Family(
    "visitstats_unique_visitors",
    "gauge",
    f"Unique visitors of each day, added up by calendar period; estimates. {NEVER_SUM}",
)
PEAK = Family("visitstats_peak_online", "gauge", f"The most visitors that were online at once. {NEVER_SUM}")
SITES = Family("visitstats_sites", "gauge", "Sites that there are.")
BUILD = Family("visitstats_build_info", "gauge", "1; the labels say which programs run.")
STORE_MEMORY = Family("visitstats_store_memory_bytes", "gauge", "Memory that the store uses, in bytes.")
STORE_MEMORY_LIMIT = Family(
    "visitstats_store_memory_limit_bytes",
    "gauge",
    "Memory that the store may use (maxmemory), in bytes; 0 for no limit.",
)
STORE_PERSISTENCE = Family(
    "visitstats_store_persistence_ok",
    "gauge",
    "1 when the store keeps an append-only file and its last writes to the disk went right, else 0.",
)
STORE_WRITERS = Family("visitstats_store_writers", "gauge", "Slots of journals, of all hosts, that the store knows.")
VERIFY = Family(
    "visitstats_verify_problems", "gauge", "Contradictions that the last scheduled look at all numbers has found."
)
QUEUE = Family("visitstats_queue_hits", "gauge", "Hits that wait to be journalled.")
QUEUE_LIMIT = Family("visitstats_queue_limit_hits", "gauge", "Hits that may wait to be journalled.")
UNAPPLIED = Family(
    "visitstats_journal_unapplied_records", "gauge", "Records in the journals that are not known to be in the store."
)
UNAPPLIED_BYTES = Family("visitstats_journal_unapplied_bytes", "gauge", "The size of these records, in bytes.")
UNAPPLIED_SINCE = Family(
    "visitstats_journal_oldest_unapplied_timestamp_seconds",
    "gauge",
    "When the oldest of these records was journalled, in seconds since the epoch; the moment of the scrape for none.",
)
JOURNAL_LIMIT = Family("visitstats_journal_limit_bytes", "gauge", "Bytes that the journals may hold (journal_max_mb).")
SHOWN_SINCE = Family(
    "visitstats_snapshot_oldest_timestamp_seconds",
    "gauge",
    "The moment of the oldest numbers that are shown because the store does not answer, in seconds since the epoch; "
    "the moment of the scrape for none.",
)
DISK_FREE = Family("visitstats_data_disk_free_bytes", "gauge", "Bytes that are free on the disk of the data folder.")
DISK_SIZE = Family("visitstats_data_disk_size_bytes", "gauge", "Size of the disk of the data folder, in bytes.")
WORKER_CPU = Family(
    "visitstats_worker_cpu_seconds_total", "counter", "Processor time of a worker, by its slot of the journal."
)
WORKER_MEMORY = Family("visitstats_worker_memory_bytes", "gauge", "Memory of a worker (RSS), in bytes.")
STORE_UP = Family("visitstats_store_up", "gauge", "1 when the store answered this scrape, else 0.")
STORE_STATE = Family("visitstats_store_state", "gauge", "Workers whose link to the store is in this state.")
STORE_FIT = Family(
    "visitstats_store_fit",
    "gauge",
    "1 when hits may be counted in the store, 0 when they are only journalled because it may evict.",
)
STORE_LACKS = Family("visitstats_store_lacks_hits", "gauge", "Hits of other hosts that the store had, and lacks now.")
STORE_LOST = Family(
    "visitstats_store_lost", "gauge", "Sites of which the store has lost counts that were shown before."
)
JOURNAL_UP = Family("visitstats_journal_up", "gauge", "1 when all workers journal hits, 0 when one refuses them.")
JOURNAL_BYTES = Family("visitstats_journal_bytes", "gauge", "Size of the workers' journals on disk, in bytes.")
JOURNAL_GAPS = Family(
    "visitstats_journal_gaps",
    "gauge",
    "Records whose predecessors are neither in the store nor in the journal: counts that may be missing.",
)
LAGGING = Family(
    "visitstats_lagging_sites", "gauge", "Sites of which a journal holds records that are not in the store yet."
)
STREAMS = Family("visitstats_live_streams", "gauge", "Streams of numbers as they change (/live) that are open.")
CONNECTIONS = Family("visitstats_connections", "gauge", "Connections that are open, of all workers.")
OPEN_FILES = Family("visitstats_open_files", "gauge", "Files that a worker has open.")
MOST_FILES = Family("visitstats_most_files", "gauge", "Files that a worker may have open.")
WORKERS = Family("visitstats_workers", "gauge", "Workers that there are to be, and that are ready.")
RESTARTS = Family(
    "visitstats_worker_restarts_total", "counter", "Workers that were started in the place of others, by why."
)
STORE_RESTARTS = Family(
    "visitstats_store_restarts_total", "counter", "Times that the embedded store had died and was started again."
)
TASKS = Family(
    "visitstats_task_last_success_timestamp_seconds",
    "gauge",
    "When the last run of a scheduled task that went right began, in seconds since the epoch.",
)
STARTED = Family("visitstats_start_time_seconds", "gauge", "When the service was started, in seconds since the epoch.")
BACKUP_MADE = Family(
    "visitstats_backup_last_success_timestamp_seconds",
    "gauge",
    "When the last backup was begun that was made, in seconds since the epoch; 0 for never.",
)
BACKUP_BYTES = Family("visitstats_backup_bytes", "gauge", "Size of the last backup, in bytes.")
BACKUP_VERIFIED = Family(
    "visitstats_backup_verified_timestamp_seconds",
    "gauge",
    "When a backup was last tried and found right, in seconds since the epoch; 0 for never.",
)
RESTART_REASONS = ("died", "hung", "not-started", "reload")
REFUSED_REASONS = ("journal", "queue", "stopping", "store-away", "internal")
REQUEST_REASONS = (
    "bad-request",
    "expectation-failed",
    "head-too-large",
    "internal-error",
    "not-implemented",
    "target-too-long",
    "too-large",
)
"""The codes of `web.beacons.heads.Refused`."""
CLOSED_REASONS = ("address", "files", "idle", "incomplete", "not-read")
"""The reasons of `web.beacons.connections.CLOSED`."""
ZEROS: Mapping[str, Mapping[str, Iterable[str]]] = {
    "visitstats_visits_started": {},
    "visitstats_beacons_ignored": {"reason": sorted(counting.IGNORED_REASONS)},
    "visitstats_heartbeats_ignored": {"reason": sorted(counting.IGNORED_REASONS)},
    "visitstats_beacons_noted": {"note": sorted(counting.NOTES)},
    "visitstats_articles_capped": {"cap": ("minute", "site")},
}
"""Counters by site: the values of their other label that are known before any of them happens."""
FIXED: Mapping[str, Iterable[str]] = {
    "visitstats_hits_refused": REFUSED_REASONS,
    "visitstats_requests_refused": REQUEST_REASONS,
    "visitstats_store_refusals": sorted(word.lower() for word in REFUSES),
    "visitstats_connections_closed": CLOSED_REASONS,
}
"""Counters with a reason and no site: the reasons that are known before any of them happens."""
