"""Tasks that keep for ever what hours and days leave: unique visitors, peaks, and when the service ran."""

from collections.abc import Callable, Iterable
from typing import Protocol

from visitstats.core.errors import VisitstatsError
from visitstats.core.periods import Day
from visitstats.reading.snapshots import Stats
from visitstats.sites.directory import LiveSite
from visitstats.store import keys
from visitstats.store.upkeep import Upkeep

LATE_DAYS = 3
"""How many days back each run closes again, for hits that were applied late: the journal reaches back a day."""
SKETCHED_DAYS = keys.UNIQUES_LIFE_MS // keys.DAY_MS
"""For how many days back the store may still have sketches: the first run after a stop closes all of these days."""
MOST_QUARTERS = 4 * 24 * 7
"""How many moments are remembered while the store is away: a week of quarter hours."""


class NoSuchDay(VisitstatsError):
    """A date that a task cannot be run for."""


class Sites(Protocol):
    """The sites that there are."""

    def all(self) -> Iterable[LiveSite]: ...


class Closing:
    """Closes hours and days. `clock` gives the moment in milliseconds. The methods that are tasks take a date, "" for
    all that is due, and may raise StoreUnavailable and NoSuchDay."""

    def __init__(self, upkeep: Upkeep, sites: Sites, clock: Callable[[], int]) -> None:
        self._upkeep = upkeep
        self._sites = sites
        self._clock = clock
        self._caught_up: set[str] = set()
        """Sites of which this process has closed all days that have sketches."""
        self._hours_caught_up: set[str] = set()
        """Sites of which this process has closed all hours that have sketches."""

    async def close_hours(self, date: str) -> str:
        """Keep the estimates of unique visitors of every hour that has sketches; forget those of days past."""
        closed = 0
        for live in self._sites.all():
            back = LATE_DAYS + 1 if live.site.id in self._hours_caught_up else SKETCHED_DAYS
            for age, day in enumerate(self._days(live, date, back, today=True)):
                closed += await self._upkeep.close_hours(live.site.id, day)
                if age > LATE_DAYS:
                    await self._upkeep.forget_hours(live.site.id, day)
            if not date:
                self._hours_caught_up.add(live.site.id)
        return f"{closed} hours closed"

    async def close_days(self, date: str) -> str:
        """Keep the estimates of unique visitors of every day that has sketches and is over."""
        closed = 0
        for live in self._sites.all():
            back = LATE_DAYS if live.site.id in self._caught_up else SKETCHED_DAYS
            for day in self._days(live, date, back):
                closed += await self._upkeep.close_uniques(live.site.id, day)
            if not date:
                self._caught_up.add(live.site.id)
        return f"{closed} days closed"

    def _days(self, live: LiveSite, date: str, back: int, *, today: bool = False) -> list[Day]:
        """The days of a run, the last first: one that is named, or those of so many days back."""
        if date:
            try:
                return [live.calendar.day_named(date)]
            except ValueError as error:
                raise NoSuchDay(f"{date[:40]!r} is no date such as 2026-11-24") from error
        day = live.calendar.day_at(self._clock())
        found = [day] if today else []
        for _ in range(back):
            day = live.calendar.day_named(day.yesterday)
            found.append(day)
        return found


class Presence:
    """Notes that each process makes of itself: that it runs, and the peaks that it has seen. A note that the store does
    not take is made later."""

    def __init__(self, upkeep: Upkeep, sites: Sites, stats: Stats, clock: Callable[[], int]) -> None:
        self._upkeep = upkeep
        self._sites = sites
        self._stats = stats
        self._clock = clock
        self._ran: dict[tuple[int, int], int] = {}
        """Quarter hours that are not noted yet, each with a moment in it."""
        self._noted = (0, -1)

    async def note_running(self, date: str = "") -> str:
        """Note that the service runs in this quarter hour."""
        now = self._clock()
        if (quarter := keys.quarter_of(now)) != self._noted and len(self._ran) < MOST_QUARTERS:
            self._ran[quarter] = now
        if self._ran:
            await self._upkeep.note_running(list(self._ran.values()))
            self._noted = quarter
            self._ran.clear()
        return ""

    async def note_peaks(self, date: str = "") -> str:
        """Keep the most visitors that were online at once in an hour and on a day, as commits have shown them."""
        for live in self._sites.all():
            peaks = self._stats.take_peaks(live.site.id)
            try:
                while peaks:
                    day = live.calendar.day_at(peaks[-1].at_ms)
                    await self._upkeep.note_peak(live.site.id, day, *peaks[-1])
                    peaks.pop()
            finally:
                for peak in peaks:
                    self._stats.note_peak(live.site.id, *peak)
        return ""
