"""The text of a scrape: what all workers have counted and what they are just now, and the numbers of all sites.

Rule 1: a scrape is always answered. The store is asked for SECONDS at most; without its answer the service's own work
        is shown all the same, and the numbers of the sites are missing, not 0.
Rule 2: a series is there before its first event, because `increase()` does not see the step from nothing to one.
Rule 3: a site that was removed is in no series.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import msgspec

from visitstats.board import Board, Report
from visitstats.core import counting, link
from visitstats.core.errors import StoreUnavailable
from visitstats.core.numbers import PERIODS, Numbers, sum_up
from visitstats.core.periods import Day
from visitstats.metrics import Metrics
from visitstats.sites.directory import LiveSite
from visitstats.store.line import REFUSES
from visitstats.store.overview import Asked, Found, Overview
from visitstats.store.runs import Run, Runs

SECONDS = 1.0
"""For the store's answer. Prometheus itself waits for ten."""


class Family(NamedTuple):
    """A metric that is made at the scrape, its type, and what operators read of it."""

    name: str
    kind: str
    help: str


NEVER_SUM = "Never sum over period: they overlap."
HITS = Family("visitstats_hits_total", "counter", "Hits in the store, duplicates and adopted ones among them, by site.")
ONLINE = Family("visitstats_online", "gauge", "Visitors online now.")
VISITS = Family("visitstats_visits", "gauge", f"Visits, by calendar period. {NEVER_SUM}")
VIEWS = Family("visitstats_views", "gauge", f"Article views, by calendar period. {NEVER_SUM}")
ARTICLES = Family("visitstats_articles", "gauge", "Articles that a site has.")
UNIQUES = Family(
    "visitstats_unique_visitors",
    "gauge",
    f"Unique visitors of each day, added up by calendar period; estimates. {NEVER_SUM}",
)
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
OPEN_FILES = Family("visitstats_open_files", "gauge", "Files that a worker has open, of the worker that has most.")
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
}
"""The same of counters with a reason and no site."""


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """What the worker that answers knows of the store beside its counts."""

    fit: bool
    lacks: Mapping[str, int]
    """Host → hits of it that the store lacks."""
    backup_made_ms: int
    backup_bytes: int
    backup_verified_ms: int


class _Stored(NamedTuple):
    """What a scrape shows of the store."""

    sites: list[Found]
    runs: dict[str, Run]


class Scrape:
    """Answers scrapes for all workers of a service."""

    def __init__(self, metrics: Metrics, overview: Overview, runs: Runs, board: Board) -> None:
        self._metrics = metrics
        self._overview = overview
        self._runs = runs
        self._board = board
        self._reading = asyncio.Lock()
        self._hits: dict[str, int] = {}
        """What was shown last: hits do not become fewer while a store that came back older is healed, because that
        would be read as thousands of new ones."""

    async def text(self, sites: list[LiveSite], now_ms: int, service: Service, *, ask_store: bool = True) -> bytes:
        """Return the text of a scrape."""
        found = await self._read(sites, now_ms) if ask_store else None
        out = _Text()
        self._tell_sites(out, sites, found.sites if found else [], now_ms)
        if found:
            out.add(TASKS, ((f'task="{_escaped(name)}"', run.succeeded_ms / 1000) for name, run in found.runs.items()))
        self._tell_service(out, service, up=found is not None)
        self._tell_counters(out, [live.site.id for live in sites])
        return out.finished()

    async def close(self) -> None:
        """Close the connection to the store."""
        await self._overview.close()

    async def _read(self, sites: list[LiveSite], now_ms: int) -> _Stored | None:
        asked = list[Asked]()
        for live in sites:
            day = live.calendar.day_at(now_ms)
            asked.append(Asked(live.site.id, day, _dates_of_uniques(day)))
        try:
            async with asyncio.timeout(SECONDS), self._reading:
                return _Stored(await self._overview.read(asked, now_ms), await self._runs.all())
        except (StoreUnavailable, TimeoutError):
            return None

    def _tell_sites(self, out: "_Text", sites: list[LiveSite], found: list[Found], now_ms: int) -> None:
        days = {live.site.id: live.calendar.day_at(now_ms) for live in sites}
        known = self._hits = {site: hits for site, hits in self._hits.items() if site in days}
        for each in found:
            known[each.site] = max(each.hits, known.get(each.site, 0))
        out.add(HITS, ((f'site="{site}"', hits) for site, hits in known.items()))
        out.add(ONLINE, ((f'site="{each.site}"', each.online) for each in found))
        visits = [(each.site, sum_up(days[each.site], each.online, each.visits)) for each in found]
        views = [(each.site, sum_up(days[each.site], each.online, each.views)) for each in found]
        out.add(VISITS, _by_period(visits))
        out.add(VIEWS, _by_period(views))
        out.add(ARTICLES, ((f'site="{each.site}"', each.articles) for each in found))
        out.add(
            UNIQUES,
            (
                (f'period="{period}",site="{each.site}"', sum(n for date, n in each.uniques.items() if within(date)))
                for each in found
                for period, within in _periods_of_uniques(days[each.site])
            ),
        )

    def _tell_service(self, out: "_Text", service: Service, *, up: bool) -> None:
        reports = self._board.reports()
        out.add(STORE_UP, [("", up)])
        out.add(STORE_FIT, [("", service.fit)])
        states = [report.store for report in reports]
        out.add(STORE_STATE, ((f'state="{word}"', states.count(word)) for word in link.WORDS))
        out.add(STORE_LACKS, ((f'host="{_escaped(host)}"', hits) for host, hits in service.lacks.items()))
        out.add(STORE_LOST, [("", max((report.store_lost for report in reports), default=0))])
        out.add(BACKUP_MADE, [("", service.backup_made_ms / 1000)])
        out.add(BACKUP_BYTES, [("", service.backup_bytes)])
        out.add(BACKUP_VERIFIED, [("", service.backup_verified_ms / 1000)])
        out.add(JOURNAL_UP, [("", all(report.journal for report in reports))])
        out.add(JOURNAL_BYTES, [("", sum(report.journal_bytes for report in reports))])
        out.add(JOURNAL_GAPS, [("", sum(report.gaps for report in reports))])
        out.add(LAGGING, [("", len({site for report in reports for site in report.lagging}))])
        out.add(STREAMS, [("", sum(report.streams for report in reports))])
        out.add(CONNECTIONS, [("", sum(report.connections for report in reports))])
        out.add(OPEN_FILES, [("", max((report.files for report in reports), default=0))])
        out.add(MOST_FILES, [("", min((report.most_files for report in reports), default=0))])
        self._tell_supervision(out, reports)

    def _tell_supervision(self, out: "_Text", reports: list[Report]) -> None:
        told = self._board.supervision()
        ready = sum(report.ready for report in reports)
        if told is None:
            return
        out.add(WORKERS, [('state="ready"', ready), ('state="wanted"', told.workers)])
        out.add(RESTARTS, ((f'reason="{reason}"', told.restarts.get(reason, 0)) for reason in RESTART_REASONS))
        out.add(STORE_RESTARTS, [("", told.store_restarts)])
        out.add(STARTED, [("", told.started_ms / 1000)])

    def _tell_counters(self, out: "_Text", sites: list[str]) -> None:
        there = frozenset(sites)
        for metric in self._metrics.merged():
            name = metric.name + ("_total" if metric.type == "counter" else "")
            samples = {
                sample.name + _labels(sample.labels): sample.value
                for sample in metric.samples
                if sample.labels.get("site", "") in there or "site" not in sample.labels
            }
            for labels in _zeros(metric.name, sites):
                samples.setdefault(f"{name}{{{labels}}}", 0)
            out.add_samples(Family(name, metric.type, metric.documentation), samples)


def _dates_of_uniques(day: Day) -> tuple[str, ...]:
    """The days of this week and of this month, up to today. Not as days: to make one takes 60 µs."""
    month = [f"{day.month}-{n:02d}" for n in range(1, int(day.date[-2:]) + 1)]
    return tuple(dict.fromkeys([*(date for date in day.week if date <= day.date), *month]))


def _periods_of_uniques(day: Day) -> tuple[tuple[str, Callable[[str], bool]], ...]:
    return (
        ("today", lambda date: date == day.date),
        ("week", lambda date: date in day.week),
        ("month", lambda date: date.startswith(day.month)),
    )


def _by_period(found: list[tuple[str, Numbers]]) -> Iterable[tuple[str, float]]:
    for site, numbers in found:
        for period in PERIODS:
            yield f'period="{period}",site="{site}"', getattr(numbers, period)


def _zeros(name: str, sites: list[str]) -> Iterable[str]:
    """The labels of a counter whose series are there before its first event."""
    for reason in FIXED.get(name, ()):
        yield f'reason="{reason}"'
    if name in ZEROS:
        others = [f'{label}="{value}"' for label, values in ZEROS[name].items() for value in values]
        for site in sites:
            if not others:
                yield f'site="{site}"'
            for other in others:
                # In the order of the names, as everywhere.
                yield f'{other},site="{site}"' if other < "site" else f'site="{site}",{other}'


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    return "{" + ",".join([f'{name}="{_escaped(labels[name])}"' for name in sorted(labels)]) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


class _Text:
    """Prometheus's text format 0.0.4. The library's own writer takes 4 µs for each of some thousands of lines."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def add(self, family: Family, values: Iterable[tuple[str, float]]) -> None:
        """Add a metric by its labels, written as they are shown."""
        self._head(family)
        name = family.name
        self._lines += [f"{name}{{{labels}}} {float(n)}" if labels else f"{name} {float(n)}" for labels, n in values]

    def add_samples(self, family: Family, samples: Mapping[str, float]) -> None:
        """Add a metric by its samples' names with their labels."""
        self._head(family)
        self._lines += [f"{name} {float(n)}" for name, n in samples.items()]

    def finished(self) -> bytes:
        """Return all of it."""
        return ("\n".join(self._lines) + "\n").encode()

    def _head(self, family: Family) -> None:
        self._lines += (f"# HELP {family.name} {family.help}", f"# TYPE {family.name} {family.kind}")
