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
    of an undo its id and the change's; of a baseline how many changes there were, and each article's; of an adjustment
    its id, the article (or ""), the kind, how much, and the date (or ""); of a name its id, the article and the title;
    of a closing or opening its id."""

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
class Amount:
    article: str
    kind: str
    by: int
    date: str
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
    amounts: dict[str, Amount] = field(default_factory=dict)
    """They are in no count: whoever is shown something is shown it with those that are in force."""
    names: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    """Of each article the changes that have set its title and are not undone, the newest last, and what they set."""
    named: dict[str, str] = field(default_factory=dict)
    """Change → article."""
    closed: str = ""
    """The change that has closed October; empty when it is open."""
    openings: dict[str, str] = field(default_factory=dict)
    """A change that has opened October → the closing that it took away."""
    closings: set[str] = field(default_factory=set)
    undone: set[str] = field(default_factory=set)
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

    def piece(self) -> str:
        return ""

    def undo(self, change_id: str, merged: str) -> str:
        merge = self.merges.get(merged)
        if merge is None:
            return "unknown"
        if merge.undone:
            return "undone"
        if merge.target in self.aliases:
            return "later"
        views, base = merge.views or 0, merge.base or 0
        back = views + self.within(merge.source)
        has = self.all.get(merge.target, 0) + self.within(merge.target)
        if has < max(back, 0) or self.base.get(merge.target, 0) < base:
            return "short"
        if merge.views is not None:
            self.all[merge.source] = views
            self.all[merge.target] -= views
            if not merge.target_known and has == back:
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

    # Amounts, names, closed months ----------------------------------------------------------------------------------

    def adjust(self, change_id: str, article: str, kind: str, by: int, date: str) -> str:
        self.amounts[change_id] = Amount(article, kind, by, date)
        self.noted += 1
        return ""

    def undo_adjust(self, change_id: str, which: str) -> str:
        self.amounts[which].undone = True
        return self._undid(change_id, which)

    def name(self, change_id: str, article: str, title: str) -> str:
        self.names.setdefault(article, []).append((change_id, title))
        self.named[change_id] = article
        self.noted += 1
        return ""

    def undo_name(self, change_id: str, which: str) -> str:
        assert self.names[self.named[which]].pop()[0] == which
        return self._undid(change_id, which)

    def close(self, change_id: str) -> str:
        self.closed = change_id
        self.closings.add(change_id)
        self.noted += 1
        return ""

    def reopen(self, change_id: str) -> str:
        self.openings[change_id], self.closed = self.closed, ""
        self.noted += 1
        return ""

    def undo_close(self, change_id: str, which: str) -> str:
        self.closed = ""
        return self._undid(change_id, which)

    def undo_reopen(self, change_id: str, which: str) -> str:
        self.closed = self.openings[which]
        return self._undid(change_id, which)

    def _undid(self, change_id: str, which: str) -> str:
        self.undone.add(which)
        self.undos.add(change_id)
        self.noted += 2
        return ""

    def in_force(self, article: str | None = None, date: str = "") -> list[Amount]:
        """The amounts that are in force, of an article with what was merged into it (or of all), on a date (or all)."""
        return [
            each for each in self.amounts.values()
            if not each.undone
            and (article is None or (each.article and article in self.path(each.article)))
            and (not date or each.date == date)
        ]  # fmt: skip

    def path(self, article: str) -> list[str]:
        found = [article]
        while found[-1] in self.aliases:
            found.append(self.aliases[found[-1]])
        return found

    def within(self, article: str, date: str = "") -> int:
        return sum(each.by for each in self.in_force(article, date))

    def of_site(self, kind: str, date: str = "") -> int:
        """What the site was corrected by, also by its articles."""
        return sum(each.by for each in self.in_force(None, date) if each.kind == kind)

    def views(self, article: str) -> int:
        """What an article is shown with, of all time."""
        return self.all.get(article, 0) + self.within(article)

    def views_on(self, article: str, date: str) -> int:
        counted = sum(n for each, n in self.days.get(date, Counter()).items() if self.end(each) == article)
        return counted + self.within(article, date)

    # ----------------------------------------------------------------------------------------------------------------

    def baseline(self, noted: int, totals: tuple[tuple[str, int], ...]) -> str:
        if noted != self.noted:
            return "moved"
        if any(self.views(article) - self.base.get(article, 0) + n < 0 for article, n in totals):
            return "short"
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
        for each in self.in_force():
            if not each.article:
                continue
            names = ["all"]
            if each.date:
                day = CALENDAR.day_named(each.date)
                names += [each.date, day.month, "w" + day.week[0]]
            for name in names:
                found.setdefault(name, Counter())[self.end(each.article)] += each.by
        return {name: {article: n for article, n in row.items() if n} for name, row in found.items()}
