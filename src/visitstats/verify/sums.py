"""Do a site's counts agree with each other, and with what is shown?

days = months = years = "all", in visits and in views
each list (day, week, month) = views of its days, as long as it is kept
articles of all time minus baselines = views of all time, and for each article = its months
baseline + counted = what `stats` shows
"""

from collections import Counter
from collections.abc import Callable
from datetime import date, timedelta

from visitstats.core import counting
from visitstats.core.batch import OTHER_ID
from visitstats.core.counting import NUMBERS_BASELINE
from visitstats.core.periods import ALL_TIME, Calendar, Day
from visitstats.core.sites import Site
from visitstats.store import keys
from visitstats.store.inspect import Article, Inspector
from visitstats.store.keys import Named
from visitstats.store.reads import Counts, Reads
from visitstats.verify.contents import entry_trouble, valid_date, valid_number, valid_period
from visitstats.verify.findings import Look

SOON_S = 2 * 3600
"""A list that ends so soon may be gone by the time that it is looked for."""


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
        self._found = found
        self._broken = broken
        self._look = look
        self._now = now
        self._legible = True
        """Whether all counts are numbers."""
        self.articles = 0

    async def check(self) -> None:
        """Check everything. Raises StoreUnavailable."""
        visits = await self._periods(keys.visits(self._name))
        views = await self._periods(keys.views(self._name))
        if visits is not None and views is not None and self._legible:
            await self._shown()
        if views is not None:
            await self._lists(views)
        await self._articles()

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
        if self._site is None or any(":seen:" in name or ":writer:" in name for name in self._broken):
            return
        calendar = Calendar(self._site.timezone, self._site.week_start)
        now = self._now()
        day = calendar.day_at(now)
        low = [await self._store.counts(name) for name in (keys.visits(self._name), keys.views(self._name))]
        shown = await self._reads.counts(self._name, day, now)
        high = [await self._store.counts(name) for name in (keys.visits(self._name), keys.views(self._name))]
        for what, numbers, least, most in zip(("visits", "views"), _both(shown), low, high, strict=True):
            bounds = _by_days(least, day), _by_days(most, day)
            for period, n in numbers.items():
                if not bounds[0][period] <= n <= bounds[1][period]:
                    name = keys.visits(self._name) if what == "visits" else keys.views(self._name)
                    self._wrong("shown", name, f"{period} is shown as {n} {what}, and is {bounds[1][period]}", period)

    # Lists of articles ---------------------------------------------------------------------------------------------

    def _of_kind(self, word: str) -> dict[str, str]:
        """Keys of a kind by what their names say."""
        return {named.words[0]: name for name, named in self._found.items() if named.kind.word == word}

    async def _lists(self, views: dict[str, int]) -> None:
        counter, now_s = keys.views(self._name), self._now() // 1000
        months, days = self._of_kind("top:month"), self._of_kind("top:day")
        for month in sorted({field for field in views if len(field) == 7} | set(months)):
            await self._list(keys.top_month(self._name, month), counter, [month])
        calendar = Calendar(self._site.timezone, self._site.week_start) if self._site else Calendar("UTC")
        for when in sorted({field for field in views if valid_date(field)} | set(days)):
            key = keys.top_day(self._name, when, calendar.day_named(when).end_ms)
            # Of a site that was taken off the list nobody knows the zone: its days end a day sooner or later.
            if when in days or key.expires_at - (0 if self._site else 86_400) > now_s + SOON_S:
                await self._list(key.name, counter, [when])
        await self._weeks(views, calendar, now_s)

    async def _list(self, name: str, counter: str, fields: list[str], *, or_less: bool = False) -> None:
        if name in self._broken:
            return
        found = await self._store.sum_of(name, counter, fields)
        if not (found.right or (or_less and found.total <= found.high)):
            span = fields[0] if len(fields) == 1 else f"{fields[0]} to {fields[-1]}"
            self._wrong("list", name, f"its articles together have {found.total:.0f} views, {span} has {found.high}")

    async def _weeks(self, views: dict[str, int], calendar: Calendar, now_s: int) -> None:
        """A list of a week has the views of its days; those that were counted while the site's weeks began on another
        weekday are in a list that overlaps it, so that neither has more than its days together."""
        weeks = self._of_kind("top:week")
        if self._site:
            wanted = {calendar.day_named(when).week[0] for when in views if valid_date(when) and views[when]}
            weeks |= {
                first: key.name
                for first in wanted
                if (key := self._week(calendar.day_named(first))).expires_at > now_s + SOON_S
            }
        for first, name in sorted(weeks.items()):
            begin = date.fromisoformat(first)
            around = {(begin + timedelta(days=n)).isoformat() for n in range(-6, 7)} - {first}
            # Of a list that would overlap this one and is past its life already nobody knows whether there was one.
            gone = self._week(calendar.day_named((begin - timedelta(days=6)).isoformat())).expires_at <= now_s + SOON_S
            other = self._site is not None and begin.isoweekday() != self._site.week_start
            days = [(begin + timedelta(days=n)).isoformat() for n in range(7)]
            await self._list(
                name,
                keys.views(self._name),
                days,
                or_less=bool(gone or other or around & self._of_kind("top:week").keys()),
            )

    def _week(self, day: Day) -> keys.Expiring:
        return keys.top_week(self._name, day.date, day.end_ms)

    # Articles ------------------------------------------------------------------------------------------------------

    async def _articles(self) -> None:
        site = self._name
        names = {name: named.kind.word for name, named in self._found.items()}
        if self._broken & {keys.top_all(site), keys.names(site), keys.base(site)}:
            return
        months = sorted(month for month in self._of_kind("top:month"))
        low = await self._store.counts(keys.views(site)) if keys.views(site) not in self._broken else {}
        seen: set[bytes] = set()
        views = bases = 0.0
        known = {"base": 0, "names": 0}
        async for page in self._store.articles(site, months):
            for article in page:
                if article.id in seen:
                    continue
                seen.add(article.id)
                views += article.views
                bases += _base(article)
                known["base"] += article.base is not None
                known["names"] += article.name is not None
                if _trouble(article):
                    # Hits may have come in between: all of it at one moment decides.
                    for check, detail in _trouble(await self._store.article(site, article.id, months)):
                        self._wrong(check, keys.top_all(site), detail, article.id.hex())
        self.articles = len(seen)
        high = await self._store.counts(keys.views(site)) if keys.views(site) not in self._broken else {}
        if keys.views(site) not in self._broken:
            self._compare("articles", views - bases, low, high, ALL_TIME, "all articles without their baselines have")
            self._compare("baseline", bases, low, high, NUMBERS_BASELINE, "the baselines of all articles are")
        for name, word in sorted(names.items()):
            if word in ("top:day", "top:week", "top:month"):
                async for members in self._store.scores(name):
                    for member in await self._store.unregistered(site, [member for member, _ in members]):
                        self._wrong("register", name, f"article {member.hex()} is in no list of all time", member.hex())
        for name, word in ((keys.base(site), "base"), (keys.names(site), "names")):
            if await self._store.size(name, "hash") != known[word]:
                async for fields in self._store.fields(name):
                    for member in await self._store.unregistered(site, [field for field, _ in fields]):
                        if member != OTHER_ID:  # named before anything is counted for it
                            self._wrong("register", name, f"there is no article {member.hex()}", member.hex())

    def _compare(
        self, check: str, found: float, low: dict[str, bytes], high: dict[str, bytes], field: str, text: str
    ) -> None:
        least, most = _number(low.get(field)), _number(high.get(field))
        if not least <= found <= most:
            self._wrong(check, keys.views(self._name), f"{text} {found:.0f} views, {field} has {most}", field)


def _both(counts: Counts) -> tuple[dict[str, int], dict[str, int]]:
    """What is shown, as visits and as views."""
    periods = ("today", "yesterday", "week", "month", "year", "total")
    both = [counting.numbers(counts.online, each) for each in (counts.visits, counts.views)]
    visits, views = ({period: int(getattr(numbers, period)) for period in periods} for numbers in both)
    return visits, views


def _by_days(raw: dict[str, bytes], day: Day) -> dict[str, int]:
    """The same from the days alone."""
    days = {field: _number(value) for field, value in raw.items() if valid_date(field)}
    return {
        "today": days.get(day.date, 0),
        "yesterday": days.get(day.yesterday, 0),
        "week": sum(days.get(when, 0) for when in day.week),
        "month": sum(n for when, n in days.items() if when[:7] == day.month),
        "year": sum(n for when, n in days.items() if when[:4] == day.year),
        "total": sum(days.values()) + _number(raw.get(NUMBERS_BASELINE)),
    }


def _trouble(article: Article) -> list[tuple[str, str]]:
    """What is wrong with an article, as (check, text)."""
    found = []
    shown = article.id.hex()
    base = _base(article)
    if article.views - base != article.months:
        found.append(
            ("article", f"article {shown} has {article.views:.0f} views with a baseline of {base}; its months have "
             f"{article.months:.0f}")
        )  # fmt: skip
    if article.name is None:
        found.append(("dictionary", f"article {shown} has no name"))
    elif entry_trouble(article.id, article.name):
        found.append(("dictionary", entry_trouble(article.id, article.name)))
    return found


def _base(article: Article) -> int:
    return _number(article.base)


def _number(value: bytes | None) -> int:
    return int(value) if value and valid_number(value) else 0
