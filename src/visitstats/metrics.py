"""Prometheus metrics: a worker's own work as counters, right with several workers and across restarts.

Each worker writes its values into files named by its journal slot, so that there are as many files as slots and a
counter goes on after a restart; any worker answers a scrape for all. The numbers of the sites are not counted here:
they come from the store at the moment of the scrape. Labels are bounded: site ids, reasons of a closed set, periods;
never a path or an agent.
"""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, values
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

from visitstats.core.counting import Uniques
from visitstats.core.numbers import PERIODS, Numbers

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
HITS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
FILES = {"counter": 1 << 20, "histogram": 1 << 16, "gauge_sum": 1 << 16, "gauge_livesum": 1 << 16}
"""The library's files of one slot, and the bytes that are reserved for each: the counters of about 500 sites."""


class SiteNumbers(msgspec.Struct, frozen=True):
    """What a scrape shows of one site."""

    site: str
    visits: Numbers
    views: Numbers
    articles: int
    uniques: Uniques
    """Estimates (rule 9)."""


class Metrics:
    """The metrics of one worker process. There is one at a time: the library's files are chosen process-wide.

    A worker without a slot (None) has no files either: what it counts is in memory alone, and nobody sees it. Raises
    OSError, for a slot.
    """

    def __init__(self, directory: Path, slot: int | None) -> None:
        self._directory = directory
        self._noted: list[tuple[Histogram, float]] = []
        self._committed: dict[str, tuple[int, int]] = {}
        if slot is None:
            values.ValueClass = values.MutexValue
        else:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            for kind, size in FILES.items():
                _reserve(directory / f"{kind}_{slot}.db", size)
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(directory)
            values.ValueClass = values.MultiProcessValue(process_identifier=lambda: slot)  # type: ignore[no-untyped-call]
        registry = CollectorRegistry()
        self.hits = Counter("visitstats_hits", "Hits committed to the store, by site.", ["site"], registry=registry)
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
            "Views counted for (other), by site and by what was full: its articles, or its new ones in a minute.",
            ["site", "cap"],
            registry=registry,
        )
        self.live_streams = Gauge(
            "visitstats_live_streams",
            "Streams of numbers as they change (/live) that are open.",
            multiprocess_mode="livesum",
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
        self.journal_refused = Counter(
            "visitstats_hits_refused", "Hits answered 503 because the journal could not take them.", registry=registry
        )
        self.store_failures = Counter(
            "visitstats_store_failures", "Times that the store stopped answering or taking writes.", registry=registry
        )
        self.internal_errors = Counter(
            "visitstats_internal_errors", "Batches or jobs that failed by a bug.", registry=registry
        )
        self.batch_hits = Histogram(
            "visitstats_batch_hits", "Hits in one journal write.", buckets=HITS, registry=registry
        )
        self.journal_seconds = Histogram(
            "visitstats_journal_seconds",
            "Time to write and fsync a batch, in seconds.",
            buckets=SECONDS,
            registry=registry,
        )
        self.commit_seconds = Histogram(
            "visitstats_commit_seconds", "Time until the store has committed a batch, in seconds.", buckets=SECONDS,
            registry=registry,
        )  # fmt: skip
        self.lagging_sites = Gauge(
            "visitstats_lagging_sites",
            "Sites of which the journal holds records that are not in the store yet.",
            multiprocess_mode="livesum",
            registry=registry,
        )
        self.journal_bytes = Gauge(
            "visitstats_journal_bytes",
            "Size of the journals on disk, in bytes.",
            multiprocess_mode="sum",
            registry=registry,
        )
        self.journal_gaps = Gauge(
            "visitstats_journal_gaps",
            "Records whose predecessors are neither in the store nor in the journal: counts that may be missing.",
            multiprocess_mode="sum",
            registry=registry,
        )

        self.store_lost = Gauge(
            "visitstats_store_lost",
            "Sites of which the store has lost counts that were shown before.",
            multiprocess_mode="livemax",
            registry=registry,
        )

    def batch_journalled(self, hits: int, seconds: float) -> None:
        """Note one journal write: the hits of its batches, and the time with its fsync."""
        self._noted.append((self.batch_hits, hits))
        self._noted.append((self.journal_seconds, seconds))

    def commit_took(self, seconds: float) -> None:
        """Note one round trip to the store with batches."""
        self._noted.append((self.commit_seconds, seconds))

    def batch_committed(self, site: str, hits: int, started: int) -> None:
        """Note a batch that is in the store: its hits and the visits they started."""
        known = self._committed.get(site, (0, 0))
        self._committed[site] = known[0] + hits, known[1] + started

    def flush(self) -> None:
        """Write down what was noted. Once a second, not for each batch: the library takes some 5 µs for each number."""
        noted, self._noted = self._noted, []
        for histogram, value in noted:
            histogram.observe(value)
        committed, self._committed = self._committed, {}
        for site, (hits, started) in committed.items():
            self.hits.labels(site).inc(hits)
            if started:
                self.visits_started.labels(site).inc(started)

    def views_capped(self, site: str, by_site: int, by_minute: int) -> None:
        """Note views that went to "(other)": beyond the site's articles, and beyond its new articles in a minute."""
        for cap, views in (("site", by_site), ("minute", by_minute)):
            if views:
                self.capped.labels(site, cap).inc(views)

    def forget_lag(self, slot: int) -> None:
        """Drop the lag that a process left behind who is gone, when others have applied what was in its slot."""
        mark_process_dead(slot, str(self._directory))  # type: ignore[no-untyped-call]

    def expose(
        self,
        sites: Iterable[SiteNumbers],
        *,
        store_up: bool,
        store_fit: bool,
        journal_up: bool,
        lacks: Mapping[str, int],
    ) -> bytes:
        """Return the text of a scrape: all workers' metrics (others' at most a second old), the sites' numbers, and how
        many hits of which host the store lacks."""
        self.flush()
        registry = CollectorRegistry()
        if self._directory.is_dir():
            MultiProcessCollector(registry, str(self._directory))  # type: ignore[no-untyped-call]
        registry.register(_Sites(list(sites), store_up, store_fit, journal_up, lacks))
        return generate_latest(registry)


class _Sites(Collector):
    def __init__(
        self, sites: list[SiteNumbers], store_up: bool, store_fit: bool, journal_up: bool, lacks: Mapping[str, int]
    ) -> None:
        self._sites = sites
        self._store_up = store_up
        self._store_fit = store_fit
        self._journal_up = journal_up
        self._lacks = lacks

    def collect(self) -> Iterable[Metric]:
        up = GaugeMetricFamily("visitstats_store_up", "1 when the store answered this scrape, else 0.")
        up.add_metric([], float(self._store_up))
        yield up
        fit = GaugeMetricFamily(
            "visitstats_store_fit",
            "1 when hits may be counted in the store, 0 when they are only journalled because it may evict.",
        )
        fit.add_metric([], float(self._store_fit))
        yield fit
        takes = GaugeMetricFamily(
            "visitstats_journal_up",
            "1 when the worker that answered this scrape journals hits, 0 when it refuses them.",
        )
        takes.add_metric([], float(self._journal_up))
        yield takes
        lacks = GaugeMetricFamily(
            "visitstats_store_lacks_hits", "Hits of other hosts that the store had, and lacks now.", labels=["host"]
        )
        for host, hits in self._lacks.items():
            lacks.add_metric([host], hits)
        yield lacks
        online = GaugeMetricFamily("visitstats_online", "Visitors online now.", labels=["site"])
        visits = GaugeMetricFamily("visitstats_visits", "Visits, by calendar period.", labels=["site", "period"])
        views = GaugeMetricFamily("visitstats_views", "Article views, by calendar period.", labels=["site", "period"])
        articles = GaugeMetricFamily("visitstats_articles", "Articles that a site has.", labels=["site"])
        uniques = GaugeMetricFamily(
            "visitstats_unique_visitors",
            "Unique visitors of each day, summed by calendar period; estimates.",
            labels=["site", "period"],
        )
        uniques_today = GaugeMetricFamily(
            "visitstats_unique_visitors_today", "Unique visitors today, an estimate.", labels=["site"]
        )
        for site in self._sites:
            if site.visits.online is not None:
                online.add_metric([site.site], site.visits.online)
            for family, numbers in ((visits, site.visits), (views, site.views)):
                for period in PERIODS:
                    if (n := getattr(numbers, period)) is not None:
                        family.add_metric([site.site, period], n)
            articles.add_metric([site.site], site.articles)
            for period, n in msgspec.structs.asdict(site.uniques).items():
                uniques.add_metric([site.site, period], n)
            uniques_today.add_metric([site.site], site.uniques.today)
        yield from (online, visits, views, articles, uniques, uniques_today)


def _reserve(path: Path, size: int) -> None:
    """Take the disk's blocks for a file that is written through memory. Without them the first write to a new page
    ends the process (SIGBUS) when the disk is full, as it did on a full tmpfs."""
    if hasattr(os, "posix_fallocate"):
        with path.open("ab") as file:
            os.posix_fallocate(file.fileno(), 0, size)
