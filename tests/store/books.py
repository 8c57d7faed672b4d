"""Books: what merges, undos, baselines and hits must come to, in plain Python, written from the rules and not from the
script. They begin at the beginning whenever they are asked, so that the same events may be taken in another order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from tests.store.merging import CALENDAR, Lists


@dataclass(frozen=True)
class Event:
    """A record of a writer. `what` is: of a hit its date and articles; of a merge or alias its id and the two articles;
    of an undo its id and the merge's; of a baseline how many changes there were, and each article's."""

    moment: int
    writer: str
    sequence: int
    kind: str
    what: tuple[Any, ...]


@dataclass
class Merge:
    source: str
    target: str
    views: int | None
    base: int | None
    target_known: bool
    target_had_base: bool
    undone: bool = False


@dataclass
class Books:
    """The counts of one site."""

    all: dict[str, int] = field(default_factory=dict)
    base: dict[str, int] = field(default_factory=dict)
    days: dict[str, Counter[str]] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)
    merges: dict[str, Merge] = field(default_factory=dict)
    undos: set[str] = field(default_factory=set)
    noted: int = 0
    hits: int = 0
    said: dict[Event, str] = field(default_factory=dict)
    """Why an event was refused; empty when it was taken."""

    @classmethod
    def of(cls, events: Iterable[Event]) -> Books:
        books = cls()
        for event in events:
            books.said[event] = getattr(books, event.kind)(*event.what)
        return books

    def end(self, article: str) -> str:
        while article in self.aliases:
            article = self.aliases[article]
        return article

    def hit(self, date: str, articles: tuple[str, ...]) -> str:
        for article in map(self.end, articles):
            self.hits += 1
            self.all[article] = self.all.get(article, 0) + 1
            self.days.setdefault(date, Counter())[article] += 1
        return ""

    def merge(self, change_id: str, source: str, target: str) -> str:
        if source in self.aliases or target in self.aliases:
            return "alias"
        views, base = self.all.pop(source, None), self.base.pop(source, None)
        self.merges[change_id] = Merge(source, target, views, base, target in self.all, target in self.base)
        if views is not None:
            self.all[target] = self.all.get(target, 0) + views
        if base is not None:
            self.base[target] = self.base.get(target, 0) + base
        self.aliases[source] = target
        self.noted += 1
        return ""

    alias = merge

    def undo(self, change_id: str, merged: str) -> str:
        merge = self.merges.get(merged)
        if merge is None:
            return "unknown"
        if merge.undone:
            return "undone"
        if merge.target in self.aliases:
            return "later"
        views, base = merge.views or 0, merge.base or 0
        if self.all.get(merge.target, 0) < views or self.base.get(merge.target, 0) < base:
            return "short"
        if merge.views is not None:
            self.all[merge.source] = views
            self.all[merge.target] -= views
            if not merge.target_known and not self.all[merge.target]:
                del self.all[merge.target]
        if merge.base is not None:
            self.base[merge.source] = base
            self.base[merge.target] -= base
            if not merge.target_had_base and not self.base[merge.target]:
                del self.base[merge.target]
        del self.aliases[merge.source]
        merge.undone = True
        self.undos.add(change_id)
        self.noted += 2
        return ""

    def baseline(self, noted: int, totals: tuple[tuple[str, int], ...]) -> str:
        if noted != self.noted:
            return "moved"
        for article, n in totals:
            self.all[article] = self.all.get(article, 0) - self.base.get(article, 0) + n
            self.base[article] = n
        return ""

    def least(self, article: str) -> int:
        """What undoing the merges into an article takes away from its baseline."""
        return sum(merge.base or 0 for merge in self.merges.values() if merge.target == article and not merge.undone)

    def shown(self) -> Lists:
        """What people must be shown."""
        found: dict[str, Counter[str]] = {"all": Counter(self.all), "base": Counter(self.base)}
        for date in sorted(self.days):
            day = CALENDAR.day_named(date)
            for name in (date, day.month, "w" + day.week[0]):
                row = found.setdefault(name, Counter())
                for article, n in self.days[date].items():
                    row[self.end(article)] += n
        return {name: {article: n for article, n in row.items() if n} for name, row in found.items()}
