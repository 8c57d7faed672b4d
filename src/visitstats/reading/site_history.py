"""The history of a site for display: rows of hours, days, months and years, records and averages.

Hours are kept for 90 days after their day, days for ever. While the estimate of a day's unique visitors is not kept
yet, it is read from the day's sketches.
"""

from typing import Literal, NamedTuple, get_args

import msgspec

from visitstats.core.comparing import NOTHING, Compared, compared, stretches
from visitstats.core.counting import HOUR_MS
from visitstats.core.errors import InvalidQuery
from visitstats.core.history import NOT_CORRECTED, Corrected, Row, Summary, by_month, by_year, summary, with_undated
from visitstats.core.periods import Calendar
from visitstats.core.ranges import Range
from visitstats.sites.directory import LiveSite
from visitstats.store.history import SiteHistory
from visitstats.store.reads import Reads

By = Literal["hour", "day", "month", "year"]
EACH: tuple[str, ...] = get_args(By)
MOST_HOURS_DAYS = 92
"""The most days whose hours are shown at once; hours are not kept for longer."""
OPEN_DAYS = 40
"""How many days back the estimate of a day may not be kept yet."""


class Recent(NamedTuple):
    """A site in the list of sites."""

    began: str
    """The first day on which something was counted; empty when nothing was."""
    days: list[Row]
    before: Compared
    """The numbers of yesterday, up to this time of day."""
    heard: bool
    """Whether something was counted since yesterday at this hour."""


class Histories:
    """Reads the history of sites. Every method may raise StoreUnavailable."""

    def __init__(self, history: SiteHistory, reads: Reads) -> None:
        self._history = history
        self._reads = reads

    async def rows(self, live: LiveSite, by: str, asked: Range, now_ms: int) -> list[Row]:
        """Return the rows of a range, without rows before the first day with counts and without rows in the future.
        Raises InvalidQuery."""
        if by not in EACH:
            raise InvalidQuery(f"by {by[:20]!r}: use one of {', '.join(EACH)}")
        today = live.calendar.day_at(now_ms).date
        first = max(asked.first, await self._history.first_day(live.site.id) or today)
        last = min(asked.last or today, today)
        if first > last:
            return []
        if by == "hour":
            return await self._hours(live, first, last, now_ms)
        days = await self.days(live, first, last, now_ms)
        if by == "day":
            return days
        undated = {
            name: each
            for name, each in (await self._history.undated(live.site.id)).items()
            if asked.first <= f"{name}-01-01"[: len("2026-11-24")] and name <= last[: len(name)]
        }
        if by == "month":
            return with_undated(by_month(days), {name: each for name, each in undated.items() if len(name) > 4})
        whole: dict[str, Corrected] = {}
        for name, each in undated.items():
            before = whole.get(name[:4], NOT_CORRECTED)
            whole[name[:4]] = Corrected(before.visits + each.visits, before.views + each.views)
        return with_undated(by_year(days), whole)

    async def days(self, live: LiveSite, first: str, last: str, now_ms: int) -> list[Row]:
        """Return the rows of days, with estimates of unique visitors as far as there are any."""
        rows = await self._history.days(live.site.id, live.calendar, first, last, now_ms)
        lacking = [row.name for row in rows[-OPEN_DAYS:] if row.uniques is None and row.visits]
        if not lacking:
            return rows
        found = await self._reads.uniques_of(live.site.id, [live.calendar.day_named(name) for name in lacking])
        return [msgspec.structs.replace(row, uniques=found[row.name]) if found.get(row.name) else row for row in rows]

    async def summary(self, live: LiveSite, now_ms: int) -> Summary:
        """Return records and averages over all days."""
        today = live.calendar.day_at(now_ms).date
        first = await self._history.first_day(live.site.id) or today
        return summary(await self._history.days(live.site.id, live.calendar, first, today, now_ms), today)

    async def before(self, live: LiveSite, now_ms: int) -> dict[str, Compared]:
        """Return the numbers at the same moment of the previous period, by their names in `stretches`."""
        found, began = dict[str, Compared](), await self._history.first_counted(live.site.id)
        for name, stretch in stretches(live.calendar.day_at(now_ms), now_ms).items():
            if not began or began > stretch.last:
                found[name] = NOTHING
                continue
            days = await self._history.days(live.site.id, live.calendar, stretch.first, stretch.last, now_ms)
            last = live.calendar.day_named(stretch.last)
            hours = await self._history.hours(live.site.id, last, now_ms)
            found[name] = compared(stretch, began, days, hours, last.end_ms - last.start_ms)
        return found

    async def recent(self, live: LiveSite, first: str, today: str, now_ms: int) -> "Recent":
        """Return a site's entry in the list of sites: its days from `first` up to today, and yesterday up to now."""
        site, calendar = live.site.id, live.calendar
        began = await self._history.first_counted(site)
        if not began and not await self._history.first_day(site):
            return Recent("", [], NOTHING, False)
        days = await self._history.days(site, calendar, first, today, now_ms)
        yesterday = calendar.day_named(calendar.day_named(today).yesterday)
        hours = await self._history.hours(site, yesterday, now_ms)
        stretch = stretches(calendar.day_at(now_ms), now_ms)["today"]
        length = yesterday.end_ms - yesterday.start_ms
        since = f"{yesterday.date}T{min((stretch.passed_ms or 0) // HOUR_MS, yesterday.hours - 1):02}"
        heard = any(row.hits or row.visits for row in (days[-1:] + [each for each in hours if each.name >= since]))
        return Recent(began, days, compared(stretch, began, days, hours, length), heard)

    async def began(self, site_id: str) -> str:
        """Return the first day that was counted here and not imported; empty when there is none."""
        return await self._history.first_counted(site_id)

    async def baseline(self, live: LiveSite) -> int:
        """Return the part of the box's total that was counted before this service."""
        visits, views = await self._history.baseline(live.site.id)
        return views if live.site.box == "views" else visits

    async def _hours(self, live: LiveSite, first: str, last: str, now_ms: int) -> list[Row]:
        days = _between(live.calendar, first, last)
        if len(days) > MOST_HOURS_DAYS:
            raise InvalidQuery(f"hours of {len(days)} days: ask for at most {MOST_HOURS_DAYS}")
        return [
            row
            for name in days
            for row in await self._history.hours(live.site.id, live.calendar.day_named(name), now_ms)
        ]


def _between(calendar: Calendar, first: str, last: str) -> list[str]:
    found = [first]
    while found[-1] < last and len(found) <= MOST_HOURS_DAYS:
        found.append(calendar.day_named(found[-1]).tomorrow)
    return found
