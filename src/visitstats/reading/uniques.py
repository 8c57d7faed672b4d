"""Unique visitors of a day, a week or a month: estimates (rule 9), and labelled so wherever they are shown.

A day has sketches (HyperLogLog) of its visitors' tokens without the visit id, each of an eighth of them. Tokens change
with the day's salt, so that nobody can be followed from one day to the next: a visitor who comes on two days counts
twice. The estimate of a week or a month is therefore the sum of the estimates of its days (the union of disjoint
sketches). It stays right when the sketches are gone and only the estimates of the days are kept.
"""

from datetime import date, timedelta

from visitstats.core.counting import Uniques
from visitstats.core.errors import InvalidQuery
from visitstats.core.periods import Day
from visitstats.sites.directory import LiveSite
from visitstats.store.reads import Reads

PERIODS = ("day", "week", "month")
STANDARD_ERROR_PERCENT = 0.29
"""The standard error of a day: 1.04 / sqrt(16,384) for each of Redis's HyperLogLogs, divided by sqrt(8) because the
errors of eight of them partly cancel out. The errors of the days of a period do so, too."""


async def present(reads: Reads, live: LiveSite, today: Day) -> Uniques:
    """Return the estimates of the periods that hold a day, up to it. Raises StoreUnavailable."""
    week, month = days_of(live, "week", today, today), days_of(live, "month", today, today)
    found = await reads.uniques_of(live.site.id, list({day.date: day for day in (*week, *month)}.values()))
    return Uniques(found[today.date], sum(found[day.date] for day in week), sum(found[day.date] for day in month))


def days_of(live: LiveSite, period: str, day: Day, today: Day) -> list[Day]:
    """Return the days of the period that holds a day, up to today. Raises InvalidQuery."""
    if period == "day":
        dates: tuple[str, ...] = (day.date,)
    elif period == "week":
        dates = day.week
    elif period == "month":
        first = date.fromisoformat(f"{day.month}-01")
        month = (first + timedelta(days=n) for n in range(31))
        dates = tuple(each.isoformat() for each in month if each.month == first.month)
    else:
        raise InvalidQuery(f"period {period[:40]!r}: use one of {', '.join(PERIODS)}")
    return [live.calendar.day_named(each) for each in dates if each <= today.date]


async def estimated(reads: Reads, live: LiveSite, period: str, day: Day, today: Day) -> dict[str, int]:
    """Return the estimates of the days of a period, by date. Raises InvalidQuery and StoreUnavailable."""
    days = days_of(live, period, day, today)
    return await reads.uniques_of(live.site.id, days) if days else {}


def named_day(live: LiveSite, text: str) -> Day:
    """Return the day that a text names, such as 2026-11-24. Raises InvalidQuery."""
    try:
        day = live.calendar.day_named(text)
        if day.date != text:
            raise ValueError(text)
        return day
    except (ValueError, OverflowError) as error:
        raise InvalidQuery(f"day {text[:40]!r}: write it as 2026-11-24") from error
