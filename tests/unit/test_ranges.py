"""The names of periods mean the same days to everybody: whole ones, in the site's calendar, up to today."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from visitstats.core.errors import InvalidQuery
from visitstats.core.periods import Calendar
from visitstats.core.ranges import WORDS, Range, before, range_of

CALENDAR = Calendar("Asia/Ho_Chi_Minh")
TODAY = CALENDAR.day_named("2026-11-25")  # a Wednesday
DAYS = st.dates(date(1971, 1, 1), date(2999, 12, 31))


def days(period: str = "", first: str = "", last: str = "", weeks_from: str = "1") -> str:
    calendar = Calendar("Asia/Ho_Chi_Minh", int(weeks_from))
    found = range_of(calendar, calendar.day_named("2026-11-25"), period, first, last)
    return f"{found.first} {found.last}"


@pytest.mark.parametrize(
    ("period", "expected"),
    [
        ("day", "2026-11-25 2026-11-25"),
        ("yesterday", "2026-11-24 2026-11-24"),
        ("week", "2026-11-23 2026-11-25"),
        ("last-week", "2026-11-16 2026-11-22"),
        ("month", "2026-11-01 2026-11-25"),
        ("last-month", "2026-10-01 2026-10-31"),
        ("quarter", "2026-10-01 2026-11-25"),
        ("last-quarter", "2026-07-01 2026-09-30"),
        ("year", "2026-01-01 2026-11-25"),
        ("last-year", "2025-01-01 2025-12-31"),
        ("2026-11-24", "2026-11-24 2026-11-24"),
        ("2024-02", "2024-02-01 2024-02-29"),
        ("2026-11", "2026-11-01 2026-11-25"),
        ("2027-01", "2027-01-01 2027-01-31"),
        ("2017", "2017-01-01 2017-12-31"),
        ("all", " "),
    ],
)
def test_a_period_is_these_days(period: str, expected: str) -> None:
    assert days(period) == expected


def test_two_dates_are_a_range_with_both_ends() -> None:
    assert days(first="2026-10-05", last="2026-11-03") == "2026-10-05 2026-11-03"
    assert days(first="2026-11-20") == "2026-11-20 2026-11-25"
    assert days(last="2017-02-28") == "1970-01-01 2017-02-28"


def test_weeks_begin_on_the_sites_day() -> None:
    assert days("week", weeks_from="7") == "2026-11-22 2026-11-25"
    assert days("last-week", weeks_from="7") == "2026-11-15 2026-11-21"


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"period": "fortnight"}, "period 'fortnight'"),
        ({"period": "2026-13"}, "period '2026-13'"),
        ({"period": "2026-02-30"}, "period '2026-02-30'"),
        ({"period": "2026-11-2४"}, "period"),
        ({"period": "0000"}, "period '0000'"),
        ({"period": ""}, "period ''"),
        ({"period": "x" * 500}, "period 'xxxx"),
        ({"period": "week", "first": "2026-11-01"}, "use one of them"),
        ({"first": "2026-11-31"}, "from '2026-11-31'"),
        ({"first": "24/11/2026"}, "from '24/11/2026'"),
        ({"last": "20261124"}, "to '20261124'"),
        ({"first": "2026-11-25", "last": "2026-11-24"}, "is after to 2026-11-24"),
        ({"first": "2026-11-26"}, "is after today"),
    ],
)
def test_what_names_no_days_is_refused_in_one_line(asked: dict[str, str], said: str) -> None:
    with pytest.raises(InvalidQuery) as refused:
        days(**asked)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 300


@given(DAYS, st.sampled_from(WORDS), st.integers(1, 7))
def test_every_period_holds_whole_days_that_follow_each_other(today: date, word: str, start: int) -> None:
    calendar = Calendar("Asia/Kathmandu", start)
    found = range_of(calendar, calendar.day_named(today.isoformat()), word)
    dates = list(found.dates())
    if word == "all":
        assert found.is_all
        assert not dates
        return
    assert dates == [(date.fromisoformat(dates[0]) + timedelta(days=n)).isoformat() for n in range(len(dates))]
    assert (found.first, found.last) == (dates[0], dates[-1])
    is_past = word.startswith(("last-", "yester"))
    assert (today.isoformat() in dates) == (not is_past)
    assert dates[-1] <= today.isoformat()


@given(DAYS, st.sampled_from([word for word in WORDS if word != "all"]))
def test_the_period_before_ends_the_day_before(today: date, word: str) -> None:
    """What is over is compared with the whole period before it, what runs with as many days of it."""
    day = CALENDAR.day_named(today.isoformat())
    asked = range_of(CALENDAR, day, word)
    found = before(CALENDAR, asked)
    assert found is not None
    assert found.last < asked.first
    following = (date.fromisoformat(found.last) + timedelta(days=1)).isoformat()
    tomorrow = range_of(CALENDAR, CALENDAR.day_named(day.tomorrow), word.removeprefix("last-"))
    if word.startswith(("last-", "day", "yester")) or tomorrow.first == day.tomorrow:
        assert following == asked.first
    else:
        assert len(list(found.dates())) <= len(list(asked.dates()))
        assert found.first == range_of(CALENDAR, CALENDAR.day_named(found.first), found.unit).first


@pytest.mark.parametrize(
    ("period", "expected"),
    [
        ("week", Range("", "2026-11-16", "2026-11-18")),
        ("last-month", Range("", "2026-09-01", "2026-09-30")),
        ("month", Range("", "2026-10-01", "2026-10-25")),
        ("2026-03", Range("", "2026-02-01", "2026-02-28")),
        ("year", Range("", "2025-01-01", "2025-11-25")),
        ("all", None),
    ],
)
def test_periods_are_compared_with_these_days(period: str, expected: Range | None) -> None:
    found = before(CALENDAR, range_of(CALENDAR, TODAY, period))
    assert (found and (found.first, found.last)) == (expected and (expected.first, expected.last))


def test_a_range_is_compared_with_as_many_days() -> None:
    found = before(CALENDAR, range_of(CALENDAR, TODAY, first="2026-11-10", last="2026-11-12"))
    assert found is not None
    assert (found.first, found.last) == ("2026-11-07", "2026-11-09")
