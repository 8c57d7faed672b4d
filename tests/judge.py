"""The arithmetic that answers are compared with: plain Python, written from the rules of docs/counting.md.

It keeps what was acknowledged, in any order, and counts from the beginning whenever it is asked.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from fractions import Fraction
from itertools import count
from typing import Any
from zoneinfo import ZoneInfo

from tests.client import Hit, Visitor

VISIT_GAP_MS = 30 * 60 * 1000
ONLINE_S = 300


@dataclass(order=True, frozen=True)
class _Event:
    moment: int
    order: int
    hit: Hit | None = field(compare=False)
    visitor: Visitor | None = field(compare=False)
    merge: tuple[str, str, bool] | None = field(compare=False, default=None)
    """One article, the other, and whether the one is an article of its own again."""


class Judge:
    """Knows what a site's numbers must be. Moments are milliseconds since the epoch."""

    def __init__(
        self, zone: str = "Asia/Ho_Chi_Minh", week_start: int = 1, *, box: str = "visits", views: str = "per-visit"
    ) -> None:
        self._zone = ZoneInfo(zone)
        self._week_start = week_start
        self._box = box
        self._every_load = views == "every-load"
        self._events: list[_Event] = []
        self._number = count()

    def hit(self, moment: int, hit: Hit) -> None:
        self._events.append(_Event(moment, next(self._number), hit, hit.visitor))

    def hits(self, moment: int, hits: Iterable[Hit]) -> None:
        for hit in hits:
            self.hit(moment, hit)

    def alive(self, moment: int, visitor: Visitor) -> None:
        self._events.append(_Event(moment, next(self._number), None, visitor))

    def merge(self, moment: int, source: str, target: str) -> None:
        """From now on `source` stands for `target`, which gets its views of each day."""
        self._events.append(_Event(moment, next(self._number), None, None, (source, target, False)))

    def undo(self, moment: int, source: str, target: str) -> None:
        """`source` gets back what it had at the merge; what was counted since stays."""
        self._events.append(_Event(moment, next(self._number), None, None, (source, target, True)))

    def box(self, now: int) -> dict[str, Any]:
        """What the box must show at a moment."""
        dated = {day: n for day, n in self._dated(now).items() if n}
        record = max(dated.values(), default=None)
        days = (self._date(now) - min(dated)).days + 1 if dated else 1
        return self.numbers(now) | {
            "average": math.floor(Fraction(sum(dated.values()), days) + Fraction(1, 2)) if dated else None,
            "record": record,
            "record_date": min(day for day, n in dated.items() if n == record).isoformat() if dated else None,
        }

    def numbers(self, now: int) -> dict[str, int]:
        """The part of it that also the answer to a hit has at once."""
        dated, today = self._dated(now), self._date(now)
        monday = today - timedelta(days=(today.isoweekday() - self._week_start) % 7)
        month = today.replace(day=1) - timedelta(days=1)
        return {
            "online": self._count(now)[2],
            "today": dated[today],
            "yesterday": dated[today - timedelta(days=1)],
            "week": sum(n for day, n in dated.items() if monday <= day < monday + timedelta(days=7)),
            "last_week": sum(n for day, n in dated.items() if monday - timedelta(days=7) <= day < monday),
            "month": sum(n for day, n in dated.items() if (day.year, day.month) == (today.year, today.month)),
            "last_month": sum(n for day, n in dated.items() if (day.year, day.month) == (month.year, month.month)),
            "year": sum(n for day, n in dated.items() if day.year == today.year),
            "total": sum(dated.values()),
        }

    def views(self, now: int) -> dict[str, int]:
        """The views of every article."""
        found: Counter[str] = Counter()
        for (_, article), n in self._count(now)[1].items():
            found[article] += n
        return dict(found)

    def stands_for(self, article: str, now: int) -> str:
        """The article that a key stands for at a moment."""
        return _end(article, self._count(now)[3])

    def _dated(self, now: int) -> Counter[date]:
        """What the box counts, by day."""
        visits, views, _, _ = self._count(now)
        if self._box == "visits":
            return visits
        dated: Counter[date] = Counter()
        for (day, _), n in views.items():
            dated[day] += n
        return dated

    def _date(self, moment: int) -> date:
        return datetime.fromtimestamp(moment / 1000, self._zone).date()

    def _count(self, now: int) -> tuple[Counter[date], Counter[tuple[date, str]], int, dict[str, str]]:
        visits: Counter[date] = Counter()
        views: Counter[tuple[date, str]] = Counter()
        seen: dict[Visitor, int] = {}
        last_hit_day: dict[Visitor, date] = {}
        visit: Counter[Visitor] = Counter()
        read: set[tuple[Visitor, int, str]] = set()
        delivered: set[str] = set()
        aliases: dict[str, str] = {}
        moved: dict[str, dict[date, int]] = {}
        for event in sorted(self._events):
            if event.moment > now:
                break
            visitor, moment, day = event.visitor, event.moment, self._date(event.moment)
            if event.merge is not None:
                source, target, undone = event.merge
                if undone:
                    del aliases[source]
                else:
                    aliases[source] = target
                    moved[source] = {when: n for (when, article), n in views.items() if article == source}
                for when, n in moved[source].items():
                    views[when, source] += n if undone else -n
                    views[when, target] -= n if undone else -n
            if visitor is None:
                continue
            gone = visitor not in seen or moment - seen[visitor] > VISIT_GAP_MS
            if event.hit is None:
                if not gone:  # rule 4: it prolongs a visit, and starts none
                    seen[visitor] = moment
                continue
            if event.hit.hit_id and event.hit.hit_id in delivered:
                continue  # rule 5: delivered twice
            delivered.add(event.hit.hit_id)
            if gone or last_hit_day.get(visitor) != day:  # rule 3
                visits[day] += 1
                visit[visitor] += 1
            seen[visitor], last_hit_day[visitor] = moment, day
            reading = (visitor, visit[visitor], _end(event.hit.article, aliases))
            if self._every_load or reading not in read:  # rule 5
                read.add(reading)
                views[day, reading[2]] += 1
        online = sum(1 for moment in seen.values() if now // 1000 - moment // 1000 < ONLINE_S)
        return visits, views, online, aliases


def _end(article: str, aliases: dict[str, str]) -> str:
    while article in aliases:
        article = aliases[article]
    return article
