"""Ranges of days as people name them, in the site's calendar.

    day yesterday week last-week month last-month quarter last-quarter year last-year all
    2026-11-24 (a day)   2026-10 (a month)   2026 (a year)   or two dates

A present period ends today: what is still to come has no numbers.
"""

import re
from collections.abc import Iterator
from datetime import date, timedelta

import msgspec

from visitstats.core.errors import InvalidQuery
from visitstats.core.periods import ALL_TIME, Calendar, Day

WORDS = (
    "day", "yesterday", "week", "last-week", "month", "last-month", "quarter", "last-quarter", "year", "last-year",
    ALL_TIME,
)  # fmt: skip
"""The periods that have a name of their own."""
BEGINNING = "1970-01-01"
"""The first day of a range for which only the last day is given."""
_FORMS = "a day as 2026-11-24, a month as 2026-10, a year as 2026"
_MONTH, _YEAR, _DATE = (re.compile(form, re.ASCII) for form in (r"\d{4}-\d\d", r"\d{4}", r"\d{4}-\d\d-\d\d"))


class Range(msgspec.Struct, frozen=True):
    """Whole days, both ends among them; or all time."""

    name: str
    """How it was asked for: a word, a date, a month, a year, or "custom" for two dates."""
    first: str = ""
    """ISO date; empty for all time."""
    last: str = ""
    unit: str = ""
    """Its unit: day, week, month, quarter or year; empty for two dates and for all time."""

    @property
    def is_all(self) -> bool:
        """Whether it is all time, baselines included."""
        return not self.first

    def dates(self) -> Iterator[str]:
        """Yield the dates in order; none of all time."""
        if self.first:
            first, last = date.fromisoformat(self.first), date.fromisoformat(self.last)
            for n in range((last - first).days + 1):
                yield (first + timedelta(days=n)).isoformat()


def range_of(calendar: Calendar, today: Day, period: str = "", first: str = "", last: str = "") -> Range:
    """Return the range that is meant by a period, or by one or two dates. Raises InvalidQuery."""
    if first or last:
        if period:
            raise InvalidQuery(f"period {period[:40]!r} and a range of dates: use one of them")
        start, end = _date("from", first or BEGINNING), _date("to", last) if last else date.fromisoformat(today.date)
        if not last and start > end:
            raise InvalidQuery(f"from {first} is after today, {today.date}")
        if start > end:
            raise InvalidQuery(f"from {first} is after to {last}")
        return Range("custom", start.isoformat(), end.isoformat())
    found = _named(calendar, today, period)
    if found is None:
        raise InvalidQuery(f"period {period[:40]!r}: use one of {', '.join(WORDS)}; or {_FORMS}")
    # Not before its own beginning: a month to come is a range of days that have no numbers.
    if found.first <= today.date < found.last:
        return msgspec.structs.replace(found, last=today.date)
    return found


def before(calendar: Calendar, asked: Range) -> Range | None:
    """Return the period before one, to compare with: for the present week, month, quarter or year, as many days as it
    has by now. None for all time."""
    if asked.is_all:
        return None
    first, last = date.fromisoformat(asked.first), date.fromisoformat(asked.last)
    days = (last - first).days
    try:
        end = first - timedelta(days=1)
        if not asked.unit:
            return Range("custom", (end - timedelta(days=days)).isoformat(), end.isoformat())
        whole = _unit(calendar, asked.unit, end)
        if (last + timedelta(days=1)).isoformat() == _unit(calendar, asked.unit, last + timedelta(days=1)).first:
            return whole  # a period that is over is compared with the whole one before it
        start = date.fromisoformat(whole.first)
        return msgspec.structs.replace(whole, last=min(start + timedelta(days=days), end).isoformat())
    except OverflowError:
        return None


def _named(calendar: Calendar, today: Day, period: str) -> Range | None:
    if period == ALL_TIME:
        return Range(ALL_TIME)
    if period in WORDS:
        unit = period.removeprefix("last-").replace("yesterday", "day")
        found = _unit(calendar, unit, date.fromisoformat(today.date))
        if unit != period:
            found = _unit(calendar, unit, date.fromisoformat(found.first) - timedelta(days=1))
        return msgspec.structs.replace(found, name=period)
    for form, unit, rest in ((_DATE, "day", ""), (_MONTH, "month", "-01"), (_YEAR, "year", "-01-01")):
        if form.fullmatch(period):
            try:
                return msgspec.structs.replace(_unit(calendar, unit, date.fromisoformat(period + rest)), name=period)
            except (ValueError, OverflowError):
                return None
    return None


def _unit(calendar: Calendar, unit: str, day: date) -> Range:
    """Return the day, week, month, quarter or year that holds a day. Raises OverflowError at the ends of time."""
    if unit == "day":
        first = last = day
    elif unit == "week":
        try:
            week = calendar.day_named(day.isoformat()).week
        except ValueError as error:
            raise OverflowError(str(error)) from error
        first, last = date.fromisoformat(week[0]), date.fromisoformat(week[-1])
    else:
        months = {"month": 1, "quarter": 3, "year": 12}[unit]
        number = (day.month - 1) // months * months
        first = date(day.year, number + 1, 1)
        last = date(day.year, number + months, 31 if months == 12 else 1)
        if months < 12:
            last = (last.replace(day=28) + timedelta(days=4)).replace(day=1) - timedelta(days=1)
    return Range(day.isoformat(), first.isoformat(), last.isoformat(), unit)


def _date(name: str, text: str) -> date:
    try:
        if not _DATE.fullmatch(text):
            raise ValueError(text)
        return date.fromisoformat(text)
    except ValueError as error:
        raise InvalidQuery(f"{name} {text[:40]!r}: write a date as 2026-11-24") from error
