"""The numbers of the box, as one table: their names, what each means, and of which dated counts each is the sum.

The answers, their description (OpenAPI), the metrics, `visitstats stats`, `visitstats verify` and the lines of a box
take their lists from `Numbers`. A further number is a further field of it, a label in each language of
`core.box_words`, and a row in docs/api.md; tests ask for these.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import date
from typing import Annotated, Any, NamedTuple, get_type_hints

import msgspec

from visitstats.core.counting import NUMBERS_BASELINE
from visitstats.core.periods import ALL_TIME, Calendar, Day


class About(NamedTuple):
    """What a number is."""

    text: str
    counts: Callable[[Day], tuple[str, ...]] | None = None
    """Returns the names of the dated counts whose sum it is, equally many on every day; None for a number that is no
    such sum."""


class Numbers(msgspec.Struct, frozen=True):
    """The numbers of a site at one moment. A number that is not known is None (rule 10)."""

    online: Annotated[int | None, About("visitors online now")] = None
    search_engines: Annotated[
        int | None, About("pages that search engines have asked for today; of sites with show_search_engines")
    ] = None
    today: Annotated[int | None, About("today", lambda day: (day.date,))] = None
    yesterday: Annotated[int | None, About("yesterday", lambda day: (day.yesterday,))] = None
    week: Annotated[int | None, About("the calendar week", lambda day: day.week)] = None
    last_week: Annotated[int | None, About("the calendar week before", lambda day: day.last_week)] = None
    month: Annotated[int | None, About("the calendar month", lambda day: (day.month,))] = None
    last_month: Annotated[int | None, About("the calendar month before", lambda day: (day.last_month,))] = None
    year: Annotated[int | None, About("the calendar year", lambda day: (day.year,))] = None
    total: Annotated[
        int | None, About("all that was counted, and the baseline", lambda _: (ALL_TIME, NUMBERS_BASELINE))
    ] = None
    average: Annotated[int | None, About("per day since the first counted day, without the baseline")] = None
    record: Annotated[int | None, About("the most on one day")] = None
    record_date: Annotated[str | None, About("the day of the record")] = None


UNKNOWN = Numbers()
_HINTS: dict[str, Any] = get_type_hints(Numbers, include_extras=True)
TABLE: Mapping[str, About] = {name: hint.__metadata__[0] for name, hint in _HINTS.items()}
"""The numbers in the order in which answers name them."""
COUNTS = tuple(name for name, hint in _HINTS.items() if hint.__origin__ == int | None)
"""Those that are whole numbers: all but dates."""
SUMS = {name: about.counts for name, about in TABLE.items() if about.counts}
"""Those that are sums of dated counts, each with what names these."""
PERIODS = tuple(SUMS)


def counters_of(day: Day) -> tuple[str, ...]:
    """Return the names of the dated counts that `sum_up` needs, in its order."""
    return tuple(name for counts in SUMS.values() for name in counts(day))


def _places() -> dict[str, slice]:
    day, places, start = Calendar("UTC").day_named("2000-01-01"), dict[str, slice](), 0
    for name, counts in SUMS.items():
        end = start + len(counts(day))
        places[name] = slice(start, end)
        start = end
    return places


_PLACES = _places()
"""Where the counts of each of these are among those of `counters_of`; the same on every day."""


class History(msgspec.Struct, frozen=True):
    """What `average` and `record` need to know of a site's past days."""

    first: str = ""
    """The first day on which something was counted; empty when there is none."""
    record: int = 0
    record_date: str = ""
    by_hand: dict[str, int] = {}
    """The part that people have added or taken away, by date and under ALL_TIME: it is in no average and no record."""

    def with_days(self, days: Iterable[tuple[str, int]]) -> "History":
        """Take counts of days into account, in any order and as often as one likes. A day that equals the record does
        not break it: the earlier one stays."""
        first, record, record_date = self.first, self.record, self.record_date
        for day, n in days:
            if n > 0:
                if n > record or (n == record and day < record_date):
                    record, record_date = n, day
                if day < first or not first:
                    first = day
        return History(first, record, record_date, self.by_hand)

    def average(self, counted: int, today: str) -> int | None:
        """Return what was counted per day, from the first counted day up to today, as a whole number."""
        if not self.first:
            return None
        # A clock that was wrong may have made the first day one that is still to come.
        days = max(1, date.fromisoformat(today).toordinal() - date.fromisoformat(self.first).toordinal() + 1)
        return (2 * counted + days) // (2 * days)


def sum_up(
    day: Day, online: int, counts: list[int], history: History | None = None, search_engines: int | None = None
) -> Numbers:
    """Sum the dated counts of a day, read in the order of `counters_of`, into the numbers of the box (rules 6 and 7).

    The history may be some days old: the days of this week and of the last one are among the counts. Raises ValueError
    for counts that are not as many: a sum over what is missing would show 0.
    """
    if len(counts) != _PLACES["total"].stop:
        raise ValueError(f"{len(counts)} counts are not those of the numbers")
    sums: dict[str, Any] = {name: sum(counts[place]) for name, place in _PLACES.items()}
    if history is None:
        return Numbers(online=online, search_engines=search_engines, **sums)
    days = day.last_week + day.week
    recent = [
        n - history.by_hand.get(name, 0)
        for name, n in zip(days, counts[_PLACES["last_week"]] + counts[_PLACES["week"]], strict=True)
    ]
    if max(recent) >= history.record or not history.first or history.first > day.last_week[0]:  # else nothing is new
        history = history.with_days(zip(days, recent, strict=True))
    return Numbers(
        online=online,
        search_engines=search_engines,
        **sums,
        average=history.average(counts[_PLACES["total"].start] - history.by_hand.get(ALL_TIME, 0), day.date),
        record=history.record or None,
        record_date=history.record_date or None,
    )
