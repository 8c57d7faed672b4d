"""Do a site's counts agree with each other, and with the numbers that are shown?

days = months = years = "all", in visits, views and hits, without what was corrected (`verify.layers`)
hours = days, also in what was ignored
baseline + counted = what `stats` shows
"""

from collections import Counter
from collections.abc import Callable

from visitstats.core.counting import NUMBERS_BASELINE
from visitstats.core.numbers import PERIODS, SUMS, sum_up
from visitstats.core.periods import ALL_TIME, Calendar, Day
from visitstats.core.sites import Site
from visitstats.store import keys
from visitstats.store.inspect import KINDS_OF_COUNTS, Inspector
from visitstats.store.keys import Named
from visitstats.store.reads import Counts, Reads
from visitstats.trust.verify.contents import valid_date, valid_sum
from visitstats.trust.verify.findings import Look


class Sums:
    """The check of one site. `found` are its keys that are what they should be, `broken` the names of the others;
    `site` is None when it was taken off the list."""

    def __init__(
        self, store: Inspector, reads: Reads, name: str, site: Site | None, found: dict[str, Named], broken: set[str],
        look: Look, now: Callable[[], int],
    ) -> None:  # fmt: skip
        self._store = store
        self._reads = reads
        self._name = name
        self._site = site
        self._broken = broken
        self._look = look
        self._now = now
        self._months = sorted(named.words[0] for named in found.values() if named.kind.word == "days")
        self._hours = sorted(named.words[0] for named in found.values() if named.kind.word == "hours")

    async def check(self) -> None:
        """Check everything. Raises StoreUnavailable."""
        if any(":days:" in name for name in self._broken) or keys.counts(self._name) in self._broken:
            return
        legible = True
        years = {month[:4] for month in self._months}
        for kind, (counts, by_hand) in (await self._both([])).items():
            years |= {when for when in counts if when.isdigit()}
            legible &= all(map(valid_sum, counts.values()))
            self._compare(kind, counts, by_hand, ALL_TIME, Counter({ALL_TIME: _sum(counts, by_hand, str.isdigit)}))
        for year in sorted(years):
            months = [month for month in self._months if month.startswith(year)]
            for kind, (counts, by_hand) in (await self._both(months)).items():
                legible &= all(map(valid_sum, counts.values()))
                expected: Counter[str] = Counter()
                for when, value in counts.items():
                    if valid_date(when) and valid_sum(value):
                        n = int(value) - by_hand[when]
                        expected.update({when[:7]: n, when[:4]: n})
                for when in sorted({*expected, *months, year}):
                    self._compare(kind, counts, by_hand, when, expected)
        for date in self._hours:
            await self._check_hours(date)
        if legible:
            await self._shown()

    def _wrong(self, check: str, subject: str, detail: str, unmoved: object = "") -> None:
        self._look.wrong(self._name, check, subject, detail, unmoved)

    async def _both(self, months: list[str]) -> dict[str, tuple[dict[str, bytes], Counter[str]]]:
        """Return the dated counts by kind, with the part of them that was corrected."""
        by_hand = await self._by_hand(months)
        counts = await self._store.dated(self._name, months)
        return {kind: (found, by_hand.get(kind, Counter())) for kind, found in counts.items()}

    async def _by_hand(self, months: list[str]) -> dict[str, Counter[str]]:
        if any(":layer:" in name for name in self._broken):
            return {}
        found = await self._store.beside(self._name, months)
        return {kind: Counter(sums) for kind, sums in found.items() if kind != "articles"}

    def _compare(
        self, kind: str, counts: dict[str, bytes], by_hand: Counter[str], when: str, expected: Counter[str]
    ) -> None:
        has = _number(counts.get(when)) - by_hand[when]
        if has != expected[when]:
            name, field = keys.count_at(self._name, kind, when)
            parts = {4: "its days", 7: "its days", 3: "its years"}[len(when)]
            what = "all of time" if when == ALL_TIME else when
            self._wrong("days", name, f"{what} has {has} {kind}, {parts} together {expected[when]}", field)

    # Hours ---------------------------------------------------------------------------------------------------------

    async def _check_hours(self, date: str) -> None:
        if keys.ignored(self._name, date[:7]) in self._broken:
            return
        by_hand = await self._by_hand([date[:7]])
        hours, days, ignored = await self._store.hours(self._name, date)
        expected = {
            f"{kind}:{date[8:]}": b"%d"
            % (_number(days.get(f"{kind}:{date[8:]}")) - by_hand.get(kind, Counter[str]())[date])
            for kind in KINDS_OF_COUNTS
        }
        expected |= {field: n for field, n in ignored.items() if field.startswith(f"{date[8:]}:")}
        found: Counter[str] = Counter()
        for field, value in hours.items():
            what, _, rest = field.partition(":")
            if what in KINDS_OF_COUNTS:
                found[f"{what}:{date[8:]}"] += _number(value)
            elif what == "ignored":
                found[f"{date[8:]}:{rest.partition(':')[2]}"] += _number(value)
        for field in sorted({*expected, *found}):
            if found[field] != _number(expected.get(field)):
                self._wrong(
                    "hours", keys.hours(self._name, date),
                    f"its hours together have {found[field]} for {field}, the day has {_number(expected.get(field))}",
                    field,
                )  # fmt: skip

    # What is shown -------------------------------------------------------------------------------------------------

    async def _shown(self) -> None:
        """Compare the numbers that `stats` and the box show with sums over all days."""
        if self._site is None or {keys.online(self._name), keys.marks(self._name)} & self._broken:
            return
        calendar = Calendar(self._site.timezone, self._site.week_start)
        now = self._now()
        day = calendar.day_at(now)
        by_hand = await self._by_hand(self._months)
        low = await self._store.dated(self._name, self._months)
        shown = await self._reads.counts(self._name, day, now)
        high = await self._store.dated(self._name, self._months)
        for what, numbers in zip(("visits", "views"), _both(shown, day), strict=True):
            mine = by_hand.get(what, Counter[str]())
            bounds = _by_days(low[what], mine, day), _by_days(high[what], mine, day)
            for period, n in numbers.items():
                if not bounds[0][period] <= n <= bounds[1][period]:
                    name = keys.counts(self._name)
                    self._wrong(
                        "shown",
                        name,
                        f"{period} is shown as {n} {what}, and is {bounds[1][period]}",
                        f"{what} {period}",
                    )


def _sum(counts: dict[str, bytes], by_hand: Counter[str], of: Callable[[str], bool]) -> int:
    return sum(_number(value) - by_hand[when] for when, value in counts.items() if of(when))


def _both(counts: Counts, day: Day) -> list[dict[str, int]]:
    """The shown numbers, as visits and as views."""
    both = [sum_up(day, counts.online, each) for each in (counts.visits, counts.views)]
    return [{period: int(getattr(numbers, period)) for period in PERIODS} for numbers in both]


def _by_days(raw: dict[str, bytes], by_hand: Counter[str], day: Day) -> dict[str, int]:
    """The same numbers from the days alone, with corrections."""
    days = {field: _number(value) - by_hand[field] for field, value in raw.items() if valid_date(field)}

    def counted(name: str) -> int:
        if name == NUMBERS_BASELINE:
            return _number(raw.get(name))
        # A month and a year are what the dates of their days begin with.
        return sum(n for when, n in days.items() if name == ALL_TIME or when.startswith(name)) + by_hand[name]

    return {period: sum(map(counted, counts(day))) for period, counts in SUMS.items()}


def _number(value: bytes | None) -> int:
    return int(value) if value and valid_sum(value) else 0
