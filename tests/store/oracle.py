"""An independent judge of counts: plain, slow Python, written from docs/counting.md and not from the scripts.

It keeps every hit that it was told of, in order, and counts from the beginning whenever it is asked.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

THIRTY_MINUTES = 30 * 60 * 1000
FIVE_MINUTES = 5 * 60 * 1000
OTHER, CROWD = "(other)", "(crowd)"


@dataclass(frozen=True)
class Hit:
    moment: int
    person: str
    article: str
    hit_id: str = ""
    network: str = ""
    """Who brings a new article; empty for one that is not limited."""


@dataclass(frozen=True)
class Caps:
    """What docs/security.md says of limits; 0 is none."""

    visitors: int = 0
    """Told apart on a day; further ones are one visitor."""
    places_an_hour: int = 0
    """New articles of a network in an hour."""
    reserve: int = 0
    """The last places, for articles that two networks read on one day."""


@dataclass(frozen=True)
class Beat:
    moment: int
    person: str


@dataclass
class Counted:
    """What the rules make of everything so far."""

    visits: Counter[str] = field(default_factory=Counter)
    views: Counter[str] = field(default_factory=Counter)
    hits: Counter[str] = field(default_factory=Counter)
    hours: Counter[str] = field(default_factory=Counter)
    """By date, number and hour: "2036-11-24 visits:14"."""
    top: dict[str, Counter[str]] = field(default_factory=dict)
    last_sign: dict[str, int] = field(default_factory=dict)
    people: dict[str, set[str]] = field(default_factory=dict)
    duplicates: list[bool] = field(default_factory=list)
    started: list[bool] = field(default_factory=list)
    folded: int = 0
    """Hits of visitors who were not told apart."""
    viewed: list[str] = field(default_factory=list)
    """For each hit the article that got a view by it; empty when none did."""

    def online(self, now: int) -> int:
        return sum(1 for moment in self.last_sign.values() if now // 1000 - moment // 1000 < FIVE_MINUTES // 1000)

    def box(self, names: list[str], what: Counter[str]) -> list[int]:
        return [what[name] for name in names]


class Oracle:
    """`as_told`: whoever was applied first comes first, and not whoever was received first."""

    def __init__(
        self, zone: str, week_start: int, *, every_load: bool, cap: int, as_told: bool = False, caps: Caps = Caps()
    ) -> None:
        self._caps = caps
        self._zone = ZoneInfo(zone)
        self._week_start = week_start
        self._every_load = every_load
        self._cap = cap
        self._as_told = as_told
        self._events: list[Hit | Beat] = []

    def take(self, event: Hit | Beat) -> None:
        self._events.append(event)

    def date_of(self, moment: int) -> date:
        return datetime.fromtimestamp(moment / 1000, self._zone).date()

    def count(self) -> Counted:
        counted = Counted()
        delivered: set[str] = set()
        day_of_visit: dict[str, date] = {}
        visit: dict[str, int] = {}
        viewed: set[tuple[str, int, str]] = set()
        registered: set[str] = set()
        brought: Counter[tuple[str, int]] = Counter()
        knocked: dict[tuple[str, date], str] = {}

        def may_enter(hit: Hit, today: date) -> bool:
            caps, name = self._caps, (hit.network, hit.moment // 3_600_000)
            if len(registered - {OTHER}) >= self._cap:
                return False
            if hit.network and caps.reserve and len(registered - {OTHER}) >= self._cap - caps.reserve:
                first = knocked.setdefault((hit.article, today), hit.network)
                if first == hit.network:
                    return False
            if hit.network and caps.places_an_hour:
                if brought[name] >= caps.places_an_hour:
                    return False
                brought[name] += 1
            return True

        # In the order of the moments, whatever was applied first; the same moment in the order in which it was told.
        for event in self._events if self._as_told else sorted(self._events, key=lambda each: each.moment):
            person, moment, today = event.person, event.moment, self.date_of(event.moment)
            here = counted.people.get(today.isoformat(), set())
            is_new = isinstance(event, Hit) and not (event.hit_id and event.hit_id in delivered) and person not in here
            if is_new and self._caps.visitors and len(here - {CROWD}) >= self._caps.visitors:
                person, counted.folded = CROWD, counted.folded + 1
            last = counted.last_sign.get(person)
            away = last is None or moment - last > THIRTY_MINUTES
            if isinstance(event, Beat):
                if not away:  # rule 4: it prolongs what is going on, and starts nothing
                    counted.last_sign[person] = moment
                continue
            duplicate = event.hit_id != "" and event.hit_id in delivered
            counted.duplicates.append(duplicate)
            counted.started.append(False)
            counted.viewed.append("")
            if duplicate:  # rule 5: a beacon delivered twice counts once
                continue
            delivered.add(event.hit_id)
            counted.people.setdefault(today.isoformat(), set()).add(person)
            names, hour = self._names(today), self._hour(moment, today)
            counted.hours[f"{today} hits:{hour}"] += 1
            for name in names:
                counted.hits[name] += 1
            if away or day_of_visit.get(person) != today:  # rule 3
                visit[person] = visit.get(person, 0) + 1
                day_of_visit[person] = today
                counted.started[-1] = True
                counted.hours[f"{today} visits:{hour}"] += 1
                for name in names:
                    counted.visits[name] += 1
            counted.last_sign[person] = moment
            # The pages of who is not told apart count as ever, once for each of them.
            reading = (event.person, visit[person], event.article)
            if self._every_load or reading not in viewed:  # rule 5
                viewed.add(reading)
                article = event.article
                if article not in registered and not may_enter(event, today):
                    article = OTHER
                registered.add(article)
                counted.viewed[-1] = article
                counted.hours[f"{today} views:{hour}"] += 1
                for name in names:
                    counted.views[name] += 1
                for name in ("all", today.isoformat(), self._week(today), today.isoformat()[:7]):
                    counted.top.setdefault(name, Counter())[article] += 1
        return counted

    def _names(self, today: date) -> tuple[str, ...]:
        name = today.isoformat()
        return (name, name[:7], name[:4], "all")

    def _hour(self, moment: int, today: date) -> int:
        midnight = datetime(today.year, today.month, today.day, tzinfo=self._zone).timestamp()
        return int(moment / 1000 - midnight) // 3600

    def _week(self, today: date) -> str:
        while today.isoweekday() != self._week_start:
            today -= timedelta(days=1)
        return "w" + today.isoformat()
