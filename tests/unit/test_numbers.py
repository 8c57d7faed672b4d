"""The numbers of the box: sums over the calendar, the average and the record, against plain sums over all days."""

from __future__ import annotations

from collections import Counter
from datetime import date, timedelta
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from visitstats.core.box_words import WORDS
from visitstats.core.boxes import LINES
from visitstats.core.numbers import PERIODS, TABLE, UNKNOWN, History, Numbers, counters_of, sum_up
from visitstats.core.periods import Calendar
from visitstats.web.app import ROUTES
from visitstats.web.routes import openapi

CALENDAR = Calendar("Asia/Ho_Chi_Minh")
DAY = CALENDAR.day_named("2026-11-24")
ZONES = ("Asia/Ho_Chi_Minh", "America/New_York", "Asia/Kathmandu", "Pacific/Kiritimati", "Africa/Casablanca")

days_around = st.dates(date(2019, 12, 1), date(2021, 2, 28))


def shown(days: dict[date, int], today: date, zone: str = "UTC", week_start: int = 1, base: int = 0) -> Numbers:
    """The numbers of a site that counted so much on these days, from the dated counts that the store keeps."""
    dated: Counter[str] = Counter({"base": base})
    for when, n in days.items():
        for name in (when.isoformat(), f"{when:%Y-%m}", f"{when:%Y}", "all"):
            dated[name] += n
    day = Calendar(zone, week_start).day_named(today.isoformat())
    history = History().with_days((when.isoformat(), n) for when, n in days.items())
    return sum_up(day, 0, [dated[name] for name in counters_of(day)], history)


@given(
    st.dictionaries(days_around, st.integers(1, 9), max_size=60),
    days_around,
    st.sampled_from(ZONES),
    st.integers(1, 7),
    st.integers(0, 10**9),
)
@example({date(2020, 12, 31): 7, date(2021, 1, 1): 1}, date(2021, 1, 1), "UTC", 1, 0)  # a week over two years
@example({date(2020, 2, 29): 3}, date(2020, 3, 31), "UTC", 7, 0)
@example({date(2020, 12, 1): 3}, date(2021, 1, 31), "UTC", 7, 5)
def test_rules_6_and_7_the_periods_are_sums_over_days(
    days: dict[date, int], today: date, zone: str, week_start: int, base: int
) -> None:
    """Whatever the zone and the first weekday: a week has seven days, the last one is the seven before."""
    found = shown(days, today, zone, week_start, base)
    first = today
    while first.isoweekday() != week_start:
        first -= timedelta(days=1)
    month_before = date(today.year - (today.month == 1), (today.month - 2) % 12 + 1, 1)

    def between(start: date, end: date) -> int:
        return sum(n for when, n in days.items() if start <= when < end)

    week = timedelta(days=7)
    assert (found.week, found.last_week) == (between(first, first + week), between(first - week, first))
    assert found.month == sum(n for when, n in days.items() if f"{when:%Y%m}" == f"{today:%Y%m}")
    assert found.last_month == between(month_before, today.replace(day=1))
    assert found.year == sum(n for when, n in days.items() if when.year == today.year)
    assert (found.today, found.yesterday) == (days.get(today, 0), days.get(today - timedelta(days=1), 0))
    assert found.total == base + sum(days.values())


@given(
    st.dictionaries(st.dates(date(2020, 1, 1), date(2021, 2, 28)), st.integers(1, 9), min_size=1, max_size=60),
    st.dates(date(2020, 1, 1), date(2021, 2, 28)),
    st.integers(1, 7),
    st.integers(0, 13),
    st.integers(0, 10**9),
)
def test_the_record_and_the_average_are_those_of_all_days_also_when_the_history_is_a_week_old(
    days: dict[date, int], today: date, week_start: int, age: int, base: int
) -> None:
    """What was read of the past does not know today and the days before; these are in the counts. The baseline has no
    part in an average, and of two days alike the first is the record."""
    days = {when: n for when, n in days.items() if when <= today}
    day = Calendar("UTC", week_start).day_named(today.isoformat())
    known = min(date.fromisoformat(day.last_week[0]) + timedelta(days=age), today)
    history = History().with_days((when.isoformat(), n) for when, n in sorted(days.items()) if when < known)
    dated: Counter[str] = Counter({"base": base, "all": sum(days.values())})
    dated.update({when.isoformat(): n for when, n in days.items()})
    found = sum_up(day, 0, [dated[name] for name in counters_of(day)], history)
    if not days:
        assert (found.average, found.record, found.record_date) == (None, None, None)
        return
    most = max(days.values())
    assert found.record == most
    assert found.record_date == min(when for when, n in days.items() if n == most).isoformat()
    assert found.average is not None
    exact = Fraction(sum(days.values()), (today - min(days)).days + 1)
    assert -Fraction(1, 2) < found.average - exact <= Fraction(1, 2)


def test_today_is_the_record_from_the_visit_on_with_which_it_is_more_than_the_best_day() -> None:
    best, today = date(2026, 3, 1), date(2026, 11, 24)
    for n, record_date in ((4, best), (5, best), (6, today)):
        found = shown({best: 5, today: n}, today)
        assert (found.record, found.record_date) == (max(5, n), record_date.isoformat())


def test_a_page_that_was_read_twice_makes_no_other_history() -> None:
    """A hash that is read in pieces may give a field again, and higher than before."""
    days = [("2026-03-01", 5), ("2026-03-02", 4), ("2026-03-01", 5), ("2026-03-02", 6)]
    assert History().with_days(days) == History("2026-03-01", 6, "2026-03-02")
    assert History().with_days(days[:2]).with_days(days[2:]) == History().with_days(reversed(days))


def test_a_first_day_that_is_still_to_come_makes_no_nonsense() -> None:
    """After a clock that was wrong, or a change of the time zone."""
    found = shown({date(2026, 11, 26): 8}, date(2026, 11, 24))
    assert found.average == 8


def test_rules_6_and_7_the_box_is_summed_from_dated_counts() -> None:
    dated = {
        "2026-11-16": 1, "2026-11-22": 2, "2026-11-23": 10, "2026-11-24": 5, "2026-11": 400, "2026-10": 300,
        "2026": 9000, "all": 20_000, "base": 1_000_000,
    }  # fmt: skip
    assert sum_up(DAY, 3, [dated.get(name, 0) for name in counters_of(DAY)]) == Numbers(
        online=3, today=5, yesterday=10, week=15, last_week=3, month=400, last_month=300, year=9000, total=1_020_000
    )


def test_rule_6_the_week_does_not_count_a_sunday_yesterday_on_a_monday() -> None:
    found = shown({date(2026, 11, 22): 7, date(2026, 11, 23): 1}, date(2026, 11, 23))
    assert (found.today, found.yesterday, found.week, found.last_week) == (1, 7, 1, 7)


def test_rule_10_what_is_not_known_is_none() -> None:
    """Not 0: neither before anything is known, nor of what needs the past when that was not read yet."""
    assert all(getattr(UNKNOWN, name) is None for name in TABLE)
    found = sum_up(DAY, 0, [0] * len(counters_of(DAY)))
    assert [name for name in TABLE if getattr(found, name) is None] == [
        "search_engines", "average", "record", "record_date",
    ]  # fmt: skip


@pytest.mark.parametrize("many", [0, 1, -1])
def test_rule_10_counts_that_are_missing_are_not_zeros(many: int) -> None:
    """A store that answers something else than was asked for has nothing shown for it."""
    with pytest.raises(ValueError, match="counts are not"):
        sum_up(DAY, 0, [1] * (len(counters_of(DAY)) + many if many else 0))


def test_a_commit_reads_no_more_than_it_must() -> None:
    """Its answer is on the way of every hit; each field is one more to look up."""
    assert len(counters_of(DAY)) == len(PERIODS) + 6 + 6 + 1  # two weeks of seven days, and a total of two parts


@pytest.mark.parametrize("schema", ["BoxNumbers", "HitNumbers"])
def test_the_description_of_the_api_has_all_numbers(schema: str) -> None:
    properties = openapi.document(ROUTES)["components"]["schemas"][schema]["properties"]
    assert [name for name in properties if name in TABLE] == list(TABLE)
    assert all({"type": "null"} in properties[name]["anyOf"] for name in TABLE)
    assert {name: properties[name]["description"] for name in TABLE} == {n: about.text for n, about in TABLE.items()}


def test_every_number_is_a_line_of_a_box_with_a_label_in_every_language() -> None:
    assert {*LINES, "record_date"} == set(TABLE)
    assert [(tag, line) for tag, words in WORDS.items() for line in LINES if not words.get(line)] == []
