"""An independent count of what `traffic` sends: plain Python, written from the text of docs/counting.md alone.

It shares no code with visitstats and none with the other judges of these tests. It is told one beacon after the other,
in the order of time, and keeps what was counted.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from tests.comparison.traffic import Beacon, Portal

HALF_HOUR = 30 * 60 * 1000
ONLINE_SECONDS = 300
FORGOTTEN_EVERY = 10 * 60 * 1000
OTHER = "(other)"

Visitor = tuple[str, str, str]
"""Rule 1: address, user agent, visit id."""


@dataclass(slots=True)
class _Here:
    """A visitor who was seen in the last 30 minutes."""

    last: int
    day: date | None
    """The day of the last page."""
    read: set[str]
    """What was read in this visit."""


class Count:
    """What one portal's numbers must be."""

    def __init__(self, portal: Portal, burst: int) -> None:
        self._zone = ZoneInfo(portal.zone)
        self._every_load = portal.options.get("views") == "every-load"
        self._most = int(str(portal.options.get("max_articles", 300_000)))
        self._week_start = int(str(portal.options.get("week_start", 1)))
        self._burst = burst
        self._floods: Counter[int] = Counter()
        self._here: dict[Visitor, _Here] = {}
        self._ids: tuple[set[str], set[str]] = (set(), set())
        self._ids_since = 0
        self._tidied = 0
        self._articles: set[str] = set()
        self.visits: Counter[date] = Counter()
        self.views: Counter[date] = Counter()
        self.articles: Counter[str] = Counter()
        self.ignored: defaultdict[date, Counter[str]] = defaultdict(Counter)
        self.people: defaultdict[date, set[tuple[str, str]]] = defaultdict(set)
        """Rule 9: the different pairs of address and user agent, each day."""

    def add(self, beacon: Beacon) -> None:
        """Count a beacon."""
        day = datetime.fromtimestamp(beacon.ms / 1000, self._zone).date()
        self._tidy(beacon.ms)
        visitor = (beacon.address, beacon.agent, "" if beacon.asks_not_to_be_followed else beacon.visit_id)
        here = self._here.get(visitor)
        if here is not None and beacon.ms - here.last > HALF_HOUR:
            here = None
        if beacon.kind == "alive":
            if here is not None:  # rule 4: it prolongs, and never begins
                here.last = beacon.ms
            return
        if reason := self._refusal(beacon):
            self.ignored[day][reason] += 1
            return
        if here is None or here.day != day:  # rule 3
            self.visits[day] += 1
            here = self._here[visitor] = _Here(beacon.ms, day, set())
        here.last = beacon.ms
        self.people[day].add(visitor[:2])
        if self._every_load or beacon.article not in here.read:  # rule 5
            here.read.add(beacon.article)
            self.views[day] += 1
            if beacon.article not in self._articles and len(self._articles) < self._most:
                self._articles.add(beacon.article)
            self.articles[beacon.article if beacon.article in self._articles else OTHER] += 1

    def _refusal(self, beacon: Beacon) -> str:
        """Rule 8."""
        if beacon.no_reader:
            return beacon.no_reader
        if beacon.flood:
            self._floods[beacon.ms] += 1
            return "rate" if self._floods[beacon.ms] > self._burst else ""
        if beacon.hit_id:
            if beacon.hit_id in self._ids[0] or beacon.hit_id in self._ids[1]:
                return "duplicate"
            self._ids[1].add(beacon.hit_id)
        return ""

    def _tidy(self, ms: int) -> None:
        """Who was not seen for 30 minutes begins anew; ids are known for half an hour at least."""
        if ms - self._ids_since > HALF_HOUR:
            self._ids, self._ids_since = (self._ids[1], set()), ms
        if ms - self._tidied > FORGOTTEN_EVERY:
            self._tidied = ms
            self._here = {visitor: here for visitor, here in self._here.items() if ms - here.last <= HALF_HOUR}

    # What must be shown --------------------------------------------------------------------------------------------

    def online(self, ms: int) -> int:
        """Rule 4."""
        return sum(ms // 1000 - here.last // 1000 < ONLINE_SECONDS for here in self._here.values())

    def box(self, day: date, counted: Counter[date]) -> dict[str, int]:
        """Rule 6: what the box shows on a day, of `visits` or of `views`; the whole day, week, month and year."""
        first = self.week_of(day)
        before = day.replace(day=1) - timedelta(days=1)
        return {
            "today": counted[day],
            "yesterday": counted[day - timedelta(days=1)],
            "week": sum(counted[first + timedelta(days=n)] for n in range(7)),
            "last_week": sum(counted[first - timedelta(days=n)] for n in range(1, 8)),
            "month": _sum(counted, (each for each in counted if (each.year, each.month) == (day.year, day.month))),
            "last_month": _sum(
                counted, (each for each in counted if (each.year, each.month) == (before.year, before.month))
            ),
            "year": _sum(counted, (each for each in counted if each.year == day.year)),
            "total": sum(counted.values()),
        }

    def week_of(self, day: date) -> date:
        """The first day of its week."""
        return day - timedelta(days=(day.isoweekday() - self._week_start) % 7)

    def unique(self, day: date, period: str) -> int:
        """Rule 9: of the day, of its week or of its month, up to that day: its days', added up."""
        first = self.week_of(day)
        days = {
            "day": [day],
            "week": [each for each in self.people if first <= each <= day],
            "month": [each for each in self.people if (each.year, each.month) == (day.year, day.month) and each <= day],
        }[period]
        return sum(len(self.people[each]) for each in days)


def _sum(counted: Counter[date], days: Iterable[date]) -> int:
    return sum(counted[each] for each in list(days))
