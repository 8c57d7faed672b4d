"""A site's history: what one row of it says, and how rows of days become months, years, records and averages.

A number that is not known is None, and never 0 (rule 10): of a day before the service ran, of a day on which it did not
run and nothing was counted, of hits before they were kept.
"""

from calendar import isleap, monthrange
from collections.abc import Callable, Iterable, Iterator
from datetime import date
from typing import Literal, NamedTuple

import msgspec

Known = Literal["yes", "partly", "no"]
"""Whether the service ran all the time, a part of it, or not at all."""


class Peak(NamedTuple):
    """The most visitors that were online at once, and the first moment (ms) at which they were."""

    online: int
    at_ms: int


class Corrected(msgspec.Struct, frozen=True):
    """The part of visits and views that people have added; below zero when they have taken away."""

    visits: int
    views: int


NOT_CORRECTED = Corrected(0, 0)


class Row(msgspec.Struct, frozen=True):
    """One hour, day, month or year of a site."""

    name: str
    """A date, a month, a year; "2026-11-24T14" for the hour that begins 14 hours after midnight."""
    known: Known
    visits: int | None = None
    views: int | None = None
    hits: int | None = None
    uniques: int | None = None
    """Unique visitors, estimated (rule 9)."""
    peak: Peak | None = None
    ignored: dict[str, int] = {}
    """Beacons that were not counted, by reason (rule 8)."""
    corrected: Corrected = NOT_CORRECTED
    """What people have added to the visits and views, or taken away. It is not known of hours."""
    imported: Corrected = NOT_CORRECTED
    """What an older counter had: a part of the visits and views, too."""

    @property
    def imported_any(self) -> bool:
        """Whether there is anything in it that an older counter counted."""
        return self.imported != NOT_CORRECTED


def joined(name: str, rows: list[Row]) -> Row:
    """Add several rows up. A number is known when it is known of any of them; unique visitors are the sum of the days'
    (`reading.uniques` says why)."""
    ignored: dict[str, int] = {}
    for row in rows:
        for reason, n in row.ignored.items():
            ignored[reason] = ignored.get(reason, 0) + n
    return Row(
        name,
        _together([row.known for row in rows]),
        _sum(row.visits for row in rows),
        _sum(row.views for row in rows),
        _sum(row.hits for row in rows),
        _sum(row.uniques for row in rows),
        highest(row.peak for row in rows),
        ignored,
        Corrected(sum(row.corrected.visits for row in rows), sum(row.corrected.views for row in rows)),
        Corrected(sum(row.imported.visits for row in rows), sum(row.imported.views for row in rows)),
    )


def with_undated(rows: Iterable[Row], undated: dict[str, Corrected]) -> list[Row]:
    """Add what was imported of months or years alone, by their names, to rows of these."""
    found = {row.name: row for row in rows}
    for name, each in undated.items():
        row = found.get(name) or Row(name, "no")
        found[name] = msgspec.structs.replace(
            row,
            visits=(row.visits or 0) + each.visits if each.visits or row.visits is not None else None,
            views=(row.views or 0) + each.views if each.views or row.views is not None else None,
            imported=Corrected(row.imported.visits + each.visits, row.imported.views + each.views),
        )
    return [found[name] for name in sorted(found)]


def by_month(days: Iterable[Row]) -> Iterator[Row]:
    """Join days, in order, to months."""
    return _by(days, len("2026-11"))


def by_year(days: Iterable[Row]) -> Iterator[Row]:
    """Join days, in order, to years."""
    return _by(days, len("2026"))


def _by(days: Iterable[Row], length: int) -> Iterator[Row]:
    name, rows = "", list[Row]()
    for day in days:
        if day.name[:length] != name:
            if rows:
                yield joined(name, rows)
            name, rows = day.name[:length], []
        rows.append(day)
    if rows:
        yield joined(name, rows)


def highest(peaks: Iterable[Peak | None]) -> Peak | None:
    """Return the highest peak, the first of equal ones; None when there is none."""
    return max(filter(None, peaks), key=lambda peak: (peak.online, -peak.at_ms), default=None)


def _together(known: list[Known]) -> Known:
    found = set(known)
    return found.pop() if len(found) == 1 else "partly"


def _sum(numbers: Iterable[int | None]) -> int | None:
    known = [n for n in numbers if n is not None]
    return sum(known) if known else None


class Best(NamedTuple):
    """The day on which most was counted."""

    date: str
    n: int


class Summary(msgspec.Struct, frozen=True):
    """Records and averages of a site's visits. Averages are taken over the days, months and years that are over and in
    which the service ran all the time; records over everything that was counted. Neither includes the baseline,
    imported numbers or corrections."""

    best: Best | None
    """The day with the most visits, the first of equal ones."""
    peak: Peak | None
    per_day: float | None
    by_weekday: tuple[float | None, ...]
    """Per day, of each weekday: Monday first."""
    per_month: float | None
    per_year: float | None


def summary(days: list[Row], today: str) -> Summary:
    """Sum up a site's days, in their order."""
    own = [(row, row.visits - row.corrected.visits - row.imported.visits) for row in days if row.visits is not None]
    whole = [(row.name, n) for row, n in own if row.known == "yes" and row.name < today]
    counted = [Best(row.name, n) for row, n in own if n > 0]
    weekdays = [[n for name, n in whole if date.fromisoformat(name).weekday() == weekday] for weekday in range(7)]
    return Summary(
        max(counted, key=lambda day: day.n, default=None),
        highest(row.peak for row in days),
        _mean([n for _, n in whole]),
        tuple(map(_mean, weekdays)),
        _mean(_whole(whole, len("2026-11"), lambda month: monthrange(int(month[:4]), int(month[5:]))[1])),
        _mean(_whole(whole, len("2026"), lambda year: 365 + isleap(int(year)))),
    )


def _whole(days: list[tuple[str, int]], length: int, size: Callable[[str], int]) -> list[int]:
    """The sums of months or years of which every day is there."""
    parts: dict[str, list[int]] = {}
    for name, n in days:
        parts.setdefault(name[:length], []).append(n)
    return [sum(found) for name, found in parts.items() if len(found) == size(name)]


def _mean(numbers: list[int]) -> float | None:
    return sum(numbers) / len(numbers) if numbers else None
