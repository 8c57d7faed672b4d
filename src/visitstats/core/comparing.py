"""Compares a number of the box with the same number at the same moment of the period before.

At 9:00 a day always "loses" against a whole yesterday, and a month on its third day against a whole month. So the
period before is summed up to the day and the time of day that the present one has reached; where it is shorter (31
March and February), it is taken whole. Counts are kept by hour: the hour that holds the moment is taken in proportion,
and then the sum is an estimate.
"""

from calendar import monthrange
from collections.abc import Iterable, Mapping
from datetime import date
from typing import NamedTuple

import msgspec

from visitstats.core.counting import HOUR_MS
from visitstats.core.history import Known, Row
from visitstats.core.periods import Day


class Stretch(NamedTuple):
    """From the beginning of a day up to a moment of another, or of the same."""

    first: str
    last: str
    passed_ms: int | None
    """How many milliseconds of the last day are in it, from its midnight on; None for the whole day."""


def stretches(day: Day, now_ms: int) -> dict[str, Stretch]:
    """Return what each number (today, week, month, year) is compared with. "weekday" is the same day of the week
    before, with which today may be compared as well."""
    passed = now_ms - day.start_ms
    same = day.last_week[day.week.index(day.date)]
    when = date.fromisoformat(day.date)
    month = date.fromisoformat(day.last_month + "-01")
    found = {
        "today": Stretch(day.yesterday, day.yesterday, passed),
        "weekday": Stretch(same, same, passed),
        "week": Stretch(day.last_week[0], same, passed),
        "month": _same_date(month, month.year, month.month, when.day, passed),
    }
    if when.year > 1:
        found["year"] = _same_date(date(when.year - 1, 1, 1), when.year - 1, when.month, when.day, passed)
    return found


def _same_date(first: date, year: int, month: int, number: int, passed: int) -> Stretch:
    longest = monthrange(year, month)[1]
    last = date(year, month, min(number, longest))
    return Stretch(first.isoformat(), last.isoformat(), passed if number <= longest else None)


class Compared(msgspec.Struct, frozen=True):
    """What was counted in a stretch."""

    visits: int | None
    """None when it is not known, or when there is no period before."""
    views: int | None
    known: Known
    """Whether the service ran all that time, and the site existed."""
    estimate: bool
    """Whether a part of an hour (or of a day whose hours are not kept) was taken."""


NOTHING = Compared(None, None, "no", False)


def compared(stretch: Stretch, began: str, days: Iterable[Row], hours: Iterable[Row], length_ms: int) -> Compared:
    """Sum up a stretch of a site that began on a date ("" for one at which nothing was counted yet). `days` are the
    rows of its days, `hours` those of its last day, which is `length_ms` long."""
    if not began or began > stretch.last:
        return NOTHING
    rows = {row.name: row for row in days}
    whole = [row for name, row in rows.items() if stretch.first <= name < stretch.last]
    last, estimate = rows.get(stretch.last), False
    parts: list[tuple[Row, int, int]] = [(row, 1, 1) for row in whole]
    if last is not None:
        passed = length_ms if stretch.passed_ms is None else min(stretch.passed_ms, length_ms)
        of_day = _hours(hours, passed) if 0 < passed < length_ms else None
        if passed >= length_ms:
            parts.append((last, 1, 1))
        elif of_day is not None:
            parts += of_day
        else:
            parts.append((last, passed, length_ms))
        estimate = any(0 < part < of for _, part, of in parts)
    known: set[Known] = {row.known for row, _, _ in parts}
    if stretch.first < began:
        known.add("partly")
    visits, views = (_sum((getattr(row, kind), part, of) for row, part, of in parts) for kind in ("visits", "views"))
    if visits is None:
        return NOTHING
    return Compared(visits, views, "yes" if known <= {"yes"} else "partly", estimate)


def _hours(hours: Iterable[Row], passed: int) -> list[tuple[Row, int, int]] | None:
    """The parts of a day's hours; None when they are not kept, or not of all that was counted."""
    by_name: Mapping[str, Row] = {row.name.rpartition("T")[2]: row for row in hours}
    if not by_name or not all(map(str.isdigit, by_name)):
        return None
    parts = []
    for name, row in by_name.items():
        part = min(max(passed - int(name) * HOUR_MS, 0), HOUR_MS)
        if part:
            parts.append((row, part, HOUR_MS))
    return parts


def _sum(parts: Iterable[tuple[int | None, int, int]]) -> int | None:
    found = [(n, part, of) for n, part, of in parts if n is not None]
    if not found:
        return None
    # Rounded once, half up, in whole numbers: no float can be off by one at large counts.
    scale = max(of for _, _, of in found)
    whole = sum(n for n, part, of in found if part == of)
    rest = sum(n * part * (scale // of) for n, part, of in found if part != of)
    return whole + (2 * rest + scale) // (2 * scale)
