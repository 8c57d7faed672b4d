"""Prometheus metrics: a worker's own work as counters, correct with several workers and across restarts.

Each worker writes its values into files named by its journal slot, so that there are as many files as slots and a
counter goes on after a restart; any worker answers a scrape for all of them (`reading.scrape`). The present state of a
worker is on the board (`system.board`), and the numbers of the sites are read from the store at the moment of the
scrape. Labels are bounded: site ids, reasons of a closed set, periods; never a path or an agent.
"""

import os
from bisect import bisect_left
from collections.abc import Mapping
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Histogram, values
from prometheus_client.core import Metric
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
TASK_SECONDS = (0.01, 0.1, 1, 10, 60, 600)
HITS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
CLASSES = ("2xx", "4xx", "5xx")
"""The classes of statuses for which every route has a series from the start."""
FILES = {"counter": 1 << 20, "histogram": 1 << 16}
"""The library's files of one slot, and the bytes that are reserved for each: the counters of about 500 sites."""


class Metrics:
    """The metrics of one worker process. There is one at a time: the library's files are chosen process-wide.

    A worker without a slot (None) has no files either: its counts are in its memory alone, and in no scrape. Raises
    OSError if it has a slot.
    """

    def __init__(self, directory: Path, slot: int | None) -> None:
        self._directory = directory
        self._tallies: list[_Tally] = []
        self._counted: dict[tuple[Counter, tuple[str, ...]], int] = {}
        self.live_streams = 0
        """How many streams of live numbers are open."""
        if slot is None:
            values.ValueClass = values.MutexValue
        else:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            for kind, size in FILES.items():
                _reserve(directory / f"{kind}_{slot}.db", size)
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(directory)
            values.ValueClass = values.MultiProcessValue(process_identifier=lambda: slot)  # type: ignore[no-untyped-call]
        registry = self._registry = _Registry()
        self.visits_started = Counter(
            "visitstats_visits_started", "Visits that those hits started, by site.", ["site"], registry=registry
        )
        self.ignored = Counter(
            "visitstats_beacons_ignored",
            "Beacons that were not counted, by site and reason.",
            ["site", "reason"],
            registry=registry,
        )
        self.noted = Counter(
            "visitstats_beacons_noted",
            "Beacons annotated as search engines, or as sharing a capped network; by site and note.",
            ["site", "note"],
            registry=registry,
        )
        self.capped = Counter(
            "visitstats_articles_capped",
            "Views counted for (other), by site and by what was full: its articles, those of a network, a minute's.",
            ["site", "cap"],
            registry=registry,
        )
        self.live_refused = Counter(
            "visitstats_live_refused", "Streams that were refused, because there were too many.", registry=registry
        )
        self.heartbeats = Counter("visitstats_heartbeats", "Heartbeats received.", registry=registry)
        self.heartbeats_ignored = Counter(
            "visitstats_heartbeats_ignored",
            "Heartbeats that were not taken, by site and reason.",
            ["site", "reason"],
            registry=registry,
        )
        self.pending = Counter(
            "visitstats_hits_pending",
            "Hits acknowledged from the journal alone (202), applied later.",
            registry=registry,
        )
        self.replayed = Counter(
            "visitstats_hits_replayed", "Hits applied from the journal after a start or a failure.", registry=registry
        )
        self.hits_refused = Counter(
            "visitstats_hits_refused", "Hits answered 503, by reason.", ["reason"], registry=registry
        )
        self.unknown_site = Counter(
            "visitstats_unknown_site", "Hits for a site that does not exist.", registry=registry
        )
        self.requests_refused = Counter(
            "visitstats_requests_refused",
            "Requests that were refused before they reached a route, by the error's code.",
            ["reason"],
            registry=registry,
        )
        self.store_failures = Counter(
            "visitstats_store_failures", "Times that the store stopped answering or taking writes.", registry=registry
        )
        self.refusals = Counter(
            "visitstats_store_refusals",
            "Writes that the store refused, by the first word of its answer.",
            ["reason"],
            registry=registry,
        )
        self.rewinds = Counter(
            "visitstats_journal_rewinds",
            "Times that a worker found the store older than what it had applied, and went back in its journal.",
            registry=registry,
        )
        self.failed_segments = Counter(
            "visitstats_journal_failed_segments",
            "Segments of the journal that were given up, because the disk refused a write.",
            registry=registry,
        )
        self.requests = Counter(
            "visitstats_http_requests", "Answers, by route and class of the status.", ["route", "class"],
            registry=registry,
        )  # fmt: skip
        self.connections_closed = Counter(
            "visitstats_connections_closed", "Connections that the service closed, by reason.", ["reason"],
            registry=registry,
        )  # fmt: skip
        self.internal_errors = Counter(
            "visitstats_internal_errors", "Batches or jobs that failed by a bug.", registry=registry
        )
        self.task_runs = Counter(
            "visitstats_task_runs", "Runs of scheduled tasks, by result.", ["task", "result"], registry=registry
        )
        self.task_seconds = Histogram(
            "visitstats_task_seconds", "Time that a run of a scheduled task took, in seconds.", ["task"],
            buckets=TASK_SECONDS, registry=registry,
        )  # fmt: skip
        tally = self._tally
        self._batch_hits = tally("visitstats_batch_hits", "Hits in one journal write.", HITS)
        self._journal = tally("visitstats_journal_seconds", "Time to write and fsync a batch, in seconds.")
        self.commit_took = tally(
            "visitstats_commit_seconds", "Time until the store has committed a batch, in seconds."
        ).add
        """Note one round trip to the store with batches, in seconds."""
        self.acknowledged = tally(
            "visitstats_acknowledge_seconds",
            "Time from the first hit of a batch to the answers of all its hits, in seconds.",
        ).add
        """Note how long the first hit of a batch waited, in seconds."""
        self.ping_took = tally(
            "visitstats_store_ping_seconds", "Time of a small question to the store, asked each second, in seconds."
        ).add
        """Note one small round trip to the store, in seconds."""
        self.loop_lagged = tally(
            "visitstats_loop_lag_seconds",
            "How late a worker's event loop was with something due, measured each second, in seconds.",
        ).add
        """Note how late the event loop did something, in seconds."""

    def _tally(self, name: str, about: str, buckets: tuple[float, ...] = SECONDS) -> "_Tally":
        tally = _Tally(Histogram(name, about, buckets=buckets, registry=self._registry), buckets)
        self._tallies.append(tally)
        return tally

    def batch_journalled(self, hits: int, seconds: float) -> None:
        """Note one journal write: the hits of its batches, and the time with its fsync."""
        self._batch_hits.add(hits)
        self._journal.add(seconds)

    def count(self, counter: Counter, n: int, *labels: str) -> None:
        """Add to a counter with labels; it is written down at the next `flush`."""
        name = counter, labels
        self._counted[name] = self._counted.get(name, 0) + n

    def visits_began(self, site: str, started: int) -> None:
        """Note the visits that a batch has started, one of ours or of another worker's journal."""
        if started:
            self.count(self.visits_started, started, site)

    def answered(self, route: str, status: int, n: int = 1) -> None:
        """Note answers to requests: the path of the route, as it is declared, and the status."""
        self.count(self.requests, n, route, f"{status // 100}xx")

    def know_route(self, route: str) -> None:
        """Make the series of a route before its first request."""
        for each in CLASSES:
            self.requests.labels(route, each)

    def know_task(self, task: str) -> None:
        """Make the series of a scheduled task before its first run."""
        for result in ("ok", "failed"):
            self.task_runs.labels(task, result)
        self.task_seconds.labels(task)

    def task_ran(self, task: str, right: bool, seconds: float) -> None:
        """Note a run of a scheduled task."""
        self.task_runs.labels(task, "ok" if right else "failed").inc()
        self.task_seconds.labels(task).observe(seconds)

    def flush(self) -> None:
        """Write down what was noted. It is called once a second and not for each batch, because the library takes some
        5 µs for each number."""
        for tally in self._tallies:
            tally.flush()
        counted, self._counted = self._counted, {}
        for (counter, labels), n in counted.items():
            counter.labels(*labels).inc(n)

    def views_capped(self, site: str, capped: Mapping[str, int]) -> None:
        """Note views that went to "(other)", by what was full."""
        for cap, views in capped.items():
            if views:
                self.capped.labels(site, cap).inc(views)

    def merged(self) -> list[Metric]:
        """Return every metric that is declared here, summed over all workers; the counts of the other workers are at
        most a second old. A metric with labels has no samples before its first event."""
        self.flush()
        if self._directory.is_dir():
            registry = CollectorRegistry()
            found = MultiProcessCollector(registry, str(self._directory)).collect()  # type: ignore[no-untyped-call]
        else:
            found = self._registry.collect()
        by_name = {metric.name: metric for metric in found}
        return [by_name.get(metric.name, metric) for metric in self._registry.declared]


class _Tally:
    """Collects the values of a histogram in plain memory until they are written down: 0.2 µs for each value."""

    def __init__(self, histogram: Histogram, bounds: tuple[float, ...]) -> None:
        self._histogram = histogram
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def add(self, value: float) -> None:
        """Note a value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def flush(self) -> None:
        """Write down what was noted, with the same result as one call of `observe` for each value."""
        # The library has no way to say "so many values in this bucket".
        for place, n in enumerate(self._counts):
            if n:
                self._histogram._buckets[place].inc(n)
                self._counts[place] = 0
        if self._sum:
            self._histogram._sum.inc(self._sum)
            self._sum = 0.0


class _Registry(CollectorRegistry):
    """Remembers all declared metrics, because the files of the processes have only those that had an event."""

    def __init__(self) -> None:
        super().__init__()
        self.declared: list[Metric] = []

    def register(self, collector: Collector) -> None:
        super().register(collector)
        if isinstance(collector, MetricWrapperBase):
            self.declared += collector.describe()


def _reserve(path: Path, size: int) -> None:
    """Take the disk's blocks for a file that is written through memory. Without them the first write to a new page
    ends the process (SIGBUS) when the disk is full, as it did on a full tmpfs."""
    if hasattr(os, "posix_fallocate"):
        with path.open("ab") as file:
            os.posix_fallocate(file.fileno(), 0, size)
