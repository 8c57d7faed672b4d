"""Do a site's counts agree with each other, and with what is shown?

days = months = years = "all", in visits and in views
baseline + counted = what `stats` shows
"""

from collections import Counter
from collections.abc import Callable

from visitstats.core.counting import NUMBERS_BASELINE
from visitstats.core.numbers import PERIODS, SUMS, sum_up
from visitstats.core.periods import ALL_TIME, Calendar, Day
from visitstats.core.sites import Site
from visitstats.store import keys
from visitstats.store.inspect import Inspector
from visitstats.store.reads import Counts, Reads
from visitstats.trust.verify.contents import valid_date, valid_number, valid_period
from visitstats.trust.verify.findings import Look


class Sums:
    """The check of one site. `broken` are the names of its keys that cannot be read; `site` is None when it was taken
    off the list."""

    def __init__(
        self, store: Inspector, reads: Reads, name: str, site: Site | None, broken: set[str], look: Look,
        now: Callable[[], int],
    ) -> None:  # fmt: skip
        self._store = store
        self._reads = reads
        self._name = name
        self._site = site
        self._broken = broken
        self._look = look
        self._now = now
        self._legible = True
        """Whether all counts are numbers."""

    async def check(self) -> None:
        """Check everything. Raises StoreUnavailable."""
        visits = await self._periods(keys.visits(self._name))
        views = await self._periods(keys.views(self._name))
        if visits is not None and views is not None and self._legible:
            await self._shown()

    def _wrong(self, check: str, subject: str, detail: str, unmoved: object = "") -> None:
        self._look.wrong(self._name, check, subject, detail, unmoved)

    # Days, months, years -------------------------------------------------------------------------------------------

    async def _periods(self, name: str) -> dict[str, int] | None:
        """Return the counts of a hash, None when it is something else."""
        if name in self._broken:
            return None
        raw = await self._store.counts(name)
        self._legible &= all(map(valid_number, raw.values()))
        counts = {
            field: int(value)
            for field, value in raw.items()
            if valid_number(value) and (valid_period(field) or field == NUMBERS_BASELINE)
        }
        expected: Counter[str] = Counter()
        for field, n in counts.items():
            if valid_date(field):
                expected.update({field[:7]: n, field[:4]: n, ALL_TIME: n})
        for period in sorted({*expected, *counts} - {NUMBERS_BASELINE}):
            if not valid_date(period) and counts.get(period, 0) != expected[period]:
                what = "all of time" if period == ALL_TIME else period
                self._wrong(
                    "days", name, f"{what} has {counts.get(period, 0)}, its days together {expected[period]}", period
                )
        return counts

    # What is shown -------------------------------------------------------------------------------------------------

    async def _shown(self) -> None:
        """The numbers as `stats` and the box make them, against sums over all days."""
        if self._site is None or {keys.online(self._name), keys.marks(self._name)} & self._broken:
            return
        calendar = Calendar(self._site.timezone, self._site.week_start)
        now = self._now()
        day = calendar.day_at(now)
        low = [await self._store.counts(name) for name in (keys.visits(self._name), keys.views(self._name))]
        shown = await self._reads.counts(self._name, day, now)
        high = [await self._store.counts(name) for name in (keys.visits(self._name), keys.views(self._name))]
        for what, numbers, least, most in zip(("visits", "views"), _both(shown, day), low, high, strict=True):
            bounds = _by_days(least, day), _by_days(most, day)
            for period, n in numbers.items():
                if not bounds[0][period] <= n <= bounds[1][period]:
                    name = keys.visits(self._name) if what == "visits" else keys.views(self._name)
                    self._wrong("shown", name, f"{period} is shown as {n} {what}, and is {bounds[1][period]}", period)


def _both(counts: Counts, day: Day) -> list[dict[str, int]]:
    """What is shown, as visits and as views."""
    both = [sum_up(day, counts.online, each) for each in (counts.visits, counts.views)]
    return [{period: int(getattr(numbers, period)) for period in PERIODS} for numbers in both]


def _by_days(raw: dict[str, bytes], day: Day) -> dict[str, int]:
    """The same from the days alone."""
    days = {field: _number(value) for field, value in raw.items() if valid_date(field)}

    def counted(name: str) -> int:
        if name == NUMBERS_BASELINE:
            return _number(raw.get(name))
        # A month and a year are what the dates of their days begin with.
        return sum(n for when, n in days.items() if name == ALL_TIME or when.startswith(name))

    return {period: sum(map(counted, counts(day))) for period, counts in SUMS.items()}


def _number(value: bytes | None) -> int:
    return int(value) if value and valid_number(value) else 0
