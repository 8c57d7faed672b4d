"""The text of a scrape: the counters and the current state of all workers, and the numbers of all sites.

Rule 1: a scrape is always answered. It waits for the store for SECONDS at most; without the store's answer it still
        shows the service's own metrics, and the numbers of the sites are missing, not 0.
Rule 2: a series exists before its first event, because `increase()` does not see the step from nothing to one.
Rule 3: no series names a site that was removed.
"""

import asyncio
import platform
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import msgspec

from visitstats import __version__
from visitstats.core import link
from visitstats.core.errors import StoreUnavailable
from visitstats.core.numbers import PERIODS, Numbers, sum_up
from visitstats.core.periods import Day
from visitstats.metrics import Metrics
from visitstats.reading import families as said
from visitstats.reading.families import Family
from visitstats.sites.directory import LiveSite
from visitstats.store.overview import About, Asked, Found, Overview
from visitstats.store.runs import Run, Runs
from visitstats.system.board import Board, Report

SECONDS = 1.0
"""How long a scrape waits for the store's answer. Prometheus itself waits for ten seconds."""


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """What the answering worker knows about the store, apart from the counts in it."""

    fit: bool
    lacks: Mapping[str, int]
    """Host → hits of it that the store lacks."""
    backup_made_ms: int
    backup_bytes: int
    backup_verified_ms: int


class _Stored(NamedTuple):
    """The part of a scrape that comes from the store."""

    sites: list[Found]
    runs: dict[str, Run]
    about: About


class Glance(NamedTuple):
    """The state of tasks and of the store, as the store reports it."""

    runs: dict[str, Run]
    about: About


class Scrape:
    """Answers scrapes for all workers of a service."""

    def __init__(self, metrics: Metrics, overview: Overview, runs: Runs, board: Board) -> None:
        self._metrics = metrics
        self._overview = overview
        self._runs = runs
        self._board = board
        self._reading = asyncio.Lock()
        self._version = ""
        """The last known version of the store."""
        self._hits: dict[str, int] = {}
        """The hits that were shown last. Shown hits never fall while a store that came back older is healed, because
        Prometheus would read a fall as a reset, and the rise after it as thousands of new hits."""

    async def text(self, sites: list[LiveSite], now_ms: int, service: Service, *, ask_store: bool = True) -> bytes:
        """Return the text of a scrape."""
        found = await self._read(sites, now_ms) if ask_store else None
        out = _Text()
        self._tell_sites(out, sites, found.sites if found else [], now_ms)
        if found:
            self._tell_store(out, found)
        out.add(said.SITES, [("", len(sites))])
        programs = f'python="{platform.python_version()}",store="{_escaped(self._version)}",version="{__version__}"'
        out.add(said.BUILD, [(programs, 1)])
        self._tell_service(out, service, now_ms, up=found is not None)
        self._tell_counters(out, [live.site.id for live in sites])
        return out.finished()

    async def glance(self) -> Glance | None:
        """Return the state of tasks and of the store; None when the store does not answer in time."""
        try:
            async with asyncio.timeout(SECONDS), self._reading:
                await self._overview.read([], 0)
                return Glance(await self._runs.all(), await self._overview.about())
        except (StoreUnavailable, TimeoutError):
            return None

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
                return _Stored(
                    await self._overview.read(asked, now_ms), await self._runs.all(), await self._overview.about()
                )
        except (StoreUnavailable, TimeoutError):
            return None

    def _tell_sites(self, out: "_Text", sites: list[LiveSite], found: list[Found], now_ms: int) -> None:
        days = {live.site.id: live.calendar.day_at(now_ms) for live in sites}
        known = self._hits = {site: hits for site, hits in self._hits.items() if site in days}
        for each in found:
            known[each.site] = max(each.hits, known.get(each.site, 0))
        out.add(said.HITS, ((f'site="{site}"', hits) for site, hits in known.items()))
        out.add(said.ONLINE, ((f'site="{each.site}"', each.online) for each in found))
        visits = [(each.site, sum_up(days[each.site], each.online, each.visits)) for each in found]
        views = [(each.site, sum_up(days[each.site], each.online, each.views)) for each in found]
        out.add(said.VISITS, _by_period(visits))
        out.add(said.VIEWS, _by_period(views))
        out.add(said.ARTICLES, ((f'site="{each.site}"', each.articles) for each in found))
        out.add(said.PLACES, ((f'site="{live.site.id}"', live.site.max_articles) for live in sites))
        out.add(
            said.UNIQUES,
            (
                (f'period="{period}",site="{each.site}"', sum(n for date, n in each.uniques.items() if within(date)))
                for each in found
                for period, within in _periods_of_uniques(days[each.site])
            ),
        )

        out.add(
            said.PEAK,
            (
                (f'period="{period}",site="{each.site}"', max((each.peaks.get(date, 0) for date in dates), default=0))
                for each in found
                for period, dates in (("today", [days[each.site].date]), ("month", each.peaks))
            ),
        )

    def _tell_store(self, out: "_Text", found: _Stored) -> None:
        self._version = found.about.version
        out.add(said.STORE_MEMORY, [("", found.about.memory)])
        out.add(said.STORE_MEMORY_LIMIT, [("", found.about.memory_limit)])
        out.add(said.STORE_PERSISTENCE, [("", found.about.persistent)])
        out.add(said.STORE_WRITERS, [("", found.about.writers)])
        out.add(said.TASKS, ((f'task="{_escaped(name)}"', run.succeeded_ms / 1000) for name, run in found.runs.items()))
        problems = [0 if run.right else run.problems for name, run in found.runs.items() if name == said.VERIFIES]
        out.add(said.VERIFY, (("", n) for n in problems if n is not None))

    def _tell_service(self, out: "_Text", service: Service, now_ms: int, *, up: bool) -> None:
        reports = self._board.reports()
        out.add(said.STORE_UP, [("", up)])
        out.add(said.STORE_FIT, [("", service.fit)])
        states = [report.store for report in reports]
        out.add(said.STORE_STATE, ((f'state="{word}"', states.count(word)) for word in link.WORDS))
        out.add(said.STORE_LACKS, ((f'host="{_escaped(host)}"', hits) for host, hits in service.lacks.items()))
        out.add(said.STORE_LOST, [("", max((report.store_lost for report in reports), default=0))])
        out.add(said.BACKUP_MADE, [("", service.backup_made_ms / 1000)])
        out.add(said.BACKUP_BYTES, [("", service.backup_bytes)])
        out.add(said.BACKUP_VERIFIED, [("", service.backup_verified_ms / 1000)])
        out.add(said.JOURNAL_UP, [("", all(report.journal for report in reports))])
        out.add(said.JOURNAL_BYTES, [("", sum(report.journal_bytes for report in reports))])
        out.add(said.JOURNAL_GAPS, [("", sum(report.gaps for report in reports))])
        out.add(said.LAGGING, [("", len({site for report in reports for site in report.lagging}))])
        out.add(said.STREAMS, [("", sum(report.streams for report in reports))])
        out.add(said.CONNECTIONS, [("", sum(report.connections for report in reports))])
        out.add(said.QUEUE, [("", sum(report.waiting_hits for report in reports))])
        out.add(said.QUEUE_LIMIT, [("", sum(report.most_waiting for report in reports))])
        out.add(said.UNAPPLIED, [("", sum(report.unapplied_records for report in reports))])
        out.add(said.UNAPPLIED_BYTES, [("", sum(report.unapplied_bytes for report in reports))])
        out.add(said.UNAPPLIED_SINCE, [("", _oldest((report.unapplied_since_ms for report in reports), now_ms))])
        out.add(said.JOURNAL_LIMIT, [("", sum(report.journal_limit for report in reports))])
        out.add(said.SHOWN_SINCE, [("", _oldest((report.oldest_shown_ms for report in reports), now_ms))])
        out.add(said.DISK_FREE, [("", min((report.disk_free for report in reports), default=0))])
        out.add(said.DISK_SIZE, [("", max((report.disk_size for report in reports), default=0))])
        self._tell_workers(out, reports)
        self._tell_supervision(out, reports)

    def _tell_workers(self, out: "_Text", reports: list[Report]) -> None:
        by_slot = {f'worker="{report.slot}"': report for report in reports if report.slot >= 0}
        out.add(said.WORKER_CPU, ((name, report.cpu_seconds) for name, report in by_slot.items()))
        out.add(said.WORKER_MEMORY, ((name, report.memory_bytes) for name, report in by_slot.items()))
        out.add(said.OPEN_FILES, ((name, report.files) for name, report in by_slot.items()))
        out.add(said.MOST_FILES, ((name, report.most_files) for name, report in by_slot.items()))

    def _tell_supervision(self, out: "_Text", reports: list[Report]) -> None:
        told = self._board.supervision()
        ready = sum(report.ready for report in reports)
        if told is None:
            return
        out.add(said.WORKERS, [('state="ready"', ready), ('state="wanted"', told.workers)])
        out.add(
            said.RESTARTS, ((f'reason="{reason}"', told.restarts.get(reason, 0)) for reason in said.RESTART_REASONS)
        )
        out.add(said.STORE_RESTARTS, [("", told.store_restarts)])
        out.add(said.STARTED, [("", told.started_ms / 1000)])

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
    """The dates of this week and of this month, up to today. They are texts, because making a Day takes 60 µs."""
    month = [f"{day.month}-{n:02d}" for n in range(1, int(day.date[-2:]) + 1)]
    return tuple(dict.fromkeys([*(date for date in day.week if date <= day.date), *month]))


def _periods_of_uniques(day: Day) -> tuple[tuple[str, Callable[[str], bool]], ...]:
    return (
        ("today", lambda date: date == day.date),
        ("week", lambda date: date in day.week),
        ("month", lambda date: date.startswith(day.month)),
    )


def _oldest(moments_ms: Iterable[int], now_ms: int) -> float:
    """The earliest moment, in seconds; now when there is none."""
    return min((moment for moment in moments_ms if moment), default=now_ms) / 1000


def _by_period(found: list[tuple[str, Numbers]]) -> Iterable[tuple[str, float]]:
    for site, numbers in found:
        for period in PERIODS:
            yield f'period="{period}",site="{site}"', getattr(numbers, period)


def _zeros(name: str, sites: list[str]) -> Iterable[str]:
    """The labels of a counter whose series are there before its first event."""
    for reason in said.FIXED.get(name, ()):
        yield f'reason="{reason}"'
    if name in said.ZEROS:
        others = [f'{label}="{value}"' for label, values in said.ZEROS[name].items() for value in values]
        for site in sites:
            if not others:
                yield f'site="{site}"'
            for other in others:
                # Labels are sorted by name, as in all other series.
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
        """Add a metric: pairs of labels, already in the text format, and a value."""
        self._head(family)
        name = family.name
        self._lines += [f"{name}{{{labels}}} {float(n)}" if labels else f"{name} {float(n)}" for labels, n in values]

    def add_samples(self, family: Family, samples: Mapping[str, float]) -> None:
        """Add a metric: samples by their names, which include the labels."""
        self._head(family)
        self._lines += [f"{name} {float(n)}" for name, n in samples.items()]

    def finished(self) -> bytes:
        """Return the complete text."""
        return ("\n".join(self._lines) + "\n").encode()

    def _head(self, family: Family) -> None:
        self._lines += (f"# HELP {family.name} {family.help}", f"# TYPE {family.name} {family.kind}")
