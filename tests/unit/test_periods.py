"""Rule 6: a day, week, month and year are what the calendar on the portal's wall says, wherever the portal is."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from visitstats.core.periods import Calendar

HOUR = 3600 * 1000

# Zones that are hard: clocks that change at midnight (Beirut, Cairo, Havana, Asuncion), by half an hour (Lord Howe),
# zones at half and quarter hours, the ends of the date line, and those of our users.
ZONES = [
    "Asia/Ho_Chi_Minh",
    "UTC",
    "America/New_York",
    "Asia/Beirut",
    "Africa/Cairo",
    "America/Havana",
    "America/Asuncion",
    "Australia/Lord_Howe",
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "Pacific/Kiritimati",
    "Pacific/Pago_Pago",
    "Africa/Casablanca",
]

moments = st.integers(1_420_070_400_000, 2_145_916_800_000)  # the years 2015 to 2037
zones = st.sampled_from(ZONES)
week_starts = st.integers(1, 7)


def ms(zone: str, *parts: int) -> int:
    return int(datetime(*parts, tzinfo=ZoneInfo(zone)).timestamp() * 1000)  # type: ignore[misc,arg-type]  # a wall clock


def utc(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1000)


@given(zones, week_starts, moments)
def test_every_moment_belongs_to_exactly_one_day(zone: str, week_start: int, moment: int) -> None:
    calendar = Calendar(zone, week_start)
    day = calendar.day_at(moment)
    assert day.start_ms <= moment < day.end_ms
    assert day == calendar.day_named(day.date)
    assert Calendar(zone, week_start).date_at(moment) == day.date
    for other in (day.yesterday, day.tomorrow):
        other_day = calendar.day_named(other)
        assert not other_day.start_ms <= moment < other_day.end_ms


@given(zones, moments)
def test_days_follow_each_other_without_a_hole(zone: str, moment: int) -> None:
    calendar = Calendar(zone)
    day = calendar.day_at(moment)
    before, after = calendar.day_named(day.yesterday), calendar.day_named(day.tomorrow)
    assert (before.end_ms, day.end_ms) == (day.start_ms, after.start_ms)
    assert (before.tomorrow, after.yesterday) == (day.date, day.date)
    assert calendar.day_at(day.start_ms).date == day.date
    assert calendar.day_at(day.start_ms - 1).date == day.yesterday
    assert calendar.day_at(day.end_ms).date == day.tomorrow


@given(zones, moments)
def test_a_day_is_the_date_on_the_wall(zone: str, moment: int) -> None:
    wall = datetime.fromtimestamp(moment / 1000, ZoneInfo(zone)).date().isoformat()
    assert Calendar(zone).day_at(moment).date == wall


def test_a_day_that_has_begun_does_not_end_when_clocks_go_back_over_midnight() -> None:
    """Newfoundland changed its clocks at 00:01 until 2011: half of that hour is on the wall of both dates."""
    calendar = Calendar("America/St_Johns")
    change = utc("2010-11-07T02:31:00+00:00")
    assert (calendar.iso(change - 1), calendar.iso(change)) == (
        "2010-11-07T00:00:59-02:30",
        "2010-11-06T23:01:00-03:30",
    )
    assert calendar.day_at(change - 61_000).date == "2010-11-06"
    assert calendar.day_at(change - 1) == calendar.day_at(change) == calendar.day_named("2010-11-07")


@given(zones, week_starts, moments)
def test_a_week_is_seven_dates_from_its_first_weekday_and_holds_its_day(
    zone: str, week_start: int, moment: int
) -> None:
    day = Calendar(zone, week_start).day_at(moment)
    dates = [date.fromisoformat(name) for name in day.week]
    assert dates[0].isoweekday() == week_start
    assert dates == [dates[0] + timedelta(days=n) for n in range(7)]
    assert day.date in day.week


@given(zones, st.lists(moments, min_size=2, max_size=6))
def test_the_remembered_day_is_never_the_answer_for_another(zone: str, several: list[int]) -> None:
    calendar = Calendar(zone)
    assert [calendar.day_at(moment) for moment in several] == [Calendar(zone).day_at(moment) for moment in several]


@pytest.mark.parametrize(
    ("zone", "name", "hours"),
    [
        ("America/New_York", "2026-03-08", 23),
        ("America/New_York", "2026-11-01", 25),
        ("Asia/Beirut", "2026-03-29", 23),  # 00:00 does not exist
        ("Asia/Beirut", "2026-10-24", 25),  # 24:00 is 23:00 again
        ("Africa/Cairo", "2026-04-24", 23),  # 00:00 does not exist
        ("Africa/Cairo", "2026-10-29", 25),
        ("America/Havana", "2026-03-08", 23),
        ("America/Havana", "2026-11-01", 25),  # 00:00 comes twice
        ("Australia/Lord_Howe", "2026-10-04", 23.5),
        ("Asia/Ho_Chi_Minh", "2026-03-29", 24),
    ],
)
def test_a_day_on_which_clocks_change_is_shorter_or_longer(zone: str, name: str, hours: float) -> None:
    day = Calendar(zone).day_named(name)
    assert (day.end_ms - day.start_ms) / HOUR == hours


def test_a_day_whose_midnight_is_skipped_begins_when_the_clocks_are_changed() -> None:
    calendar = Calendar("Africa/Cairo")
    change = utc("2026-04-23T22:00:00+00:00")
    assert calendar.day_named("2026-04-24").start_ms == change
    assert calendar.iso(change) == "2026-04-24T01:00:00+03:00"
    assert (calendar.day_at(change - 1).date, calendar.day_at(change).date) == ("2026-04-23", "2026-04-24")


def test_a_day_with_two_midnights_begins_with_the_first() -> None:
    calendar = Calendar("America/Havana")
    first, second = utc("2026-11-01T04:00:00+00:00"), utc("2026-11-01T05:00:00+00:00")
    assert calendar.iso(first) == "2026-11-01T00:00:00-04:00"
    assert calendar.iso(second) == "2026-11-01T00:00:00-05:00"
    assert calendar.day_at(first) == calendar.day_at(second)
    assert calendar.day_at(first - 1).date == "2026-10-31"


def test_an_hour_that_comes_twice_before_midnight_belongs_to_its_day_both_times() -> None:
    calendar = Calendar("Asia/Beirut")
    once, again = utc("2026-10-24T20:30:00+00:00"), utc("2026-10-24T21:30:00+00:00")
    assert calendar.iso(once)[:16] == calendar.iso(again)[:16] == "2026-10-24T23:30"
    assert calendar.day_at(once) == calendar.day_at(again)


@pytest.mark.parametrize(
    ("zone", "start"),
    [
        ("Asia/Ho_Chi_Minh", "2026-11-23T17:00:00+00:00"),
        ("Asia/Kolkata", "2026-11-23T18:30:00+00:00"),
        ("Asia/Kathmandu", "2026-11-23T18:15:00+00:00"),
        ("America/New_York", "2026-11-24T05:00:00+00:00"),
        ("Pacific/Kiritimati", "2026-11-23T10:00:00+00:00"),
    ],
)
def test_a_day_begins_at_the_sites_own_midnight(zone: str, start: str) -> None:
    assert Calendar(zone).day_named("2026-11-24").start_ms == utc(start)


def test_week_53_goes_over_the_years_end() -> None:
    calendar = Calendar("Asia/Ho_Chi_Minh")
    week = tuple(f"2026-12-{n}" for n in (28, 29, 30, 31)) + tuple(f"2027-01-0{n}" for n in (1, 2, 3))
    assert date(2026, 12, 28).isocalendar().week == 53
    assert calendar.day_named("2026-12-31").week == calendar.day_named("2027-01-01").week == week


def test_the_years_end_changes_day_month_and_year_but_not_the_week() -> None:
    calendar = Calendar("Asia/Ho_Chi_Minh")
    midnight = ms("Asia/Ho_Chi_Minh", 2027, 1, 1)
    old, new = calendar.day_at(midnight - 1), calendar.day_at(midnight)
    assert old.counters == ("2026-12-31", "2026-12", "2026", "all")
    assert new.counters == ("2027-01-01", "2027-01", "2027", "all")
    assert old.week == new.week
    assert (old.tomorrow, new.yesterday) == (new.date, old.date)


def test_29_february_is_a_day_of_leap_years_only() -> None:
    calendar = Calendar("Asia/Ho_Chi_Minh")
    assert calendar.day_named("2028-02-28").tomorrow == "2028-02-29"
    assert calendar.day_named("2028-02-29").tomorrow == calendar.day_named("2028-03-02").yesterday == "2028-03-01"
    assert calendar.day_named("2027-02-28").tomorrow == "2027-03-01"
    with pytest.raises(ValueError, match="day"):
        calendar.day_named("2027-02-29")


def test_a_week_may_begin_on_sunday() -> None:
    assert Calendar("UTC", 7).day_named("2026-11-21").week[0] == "2026-11-15"  # a Saturday: the last day of its week
    assert Calendar("UTC", 7).day_named("2026-11-22").week[0] == "2026-11-22"
    assert Calendar("UTC", 1).day_named("2026-11-22").week[0] == "2026-11-16"


@pytest.mark.parametrize("name", ["", "today", "2026-13-01", "2026-11-31", "24/11/2026", "2026-11-24T00:00"])
def test_what_is_no_date_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        Calendar("UTC").day_named(name)


@pytest.mark.parametrize("name", ["20261124", "2026-W48-2"])
def test_a_day_has_one_name_however_it_is_spelled(name: str) -> None:
    assert Calendar("UTC").day_named(name) == Calendar("UTC").day_named("2026-11-24")


def test_a_moment_is_written_with_the_offset_of_that_moment() -> None:
    moment = utc("2026-11-24T03:04:05+00:00") + 999
    assert Calendar("Asia/Ho_Chi_Minh").iso(moment) == "2026-11-24T10:04:05+07:00"
    assert Calendar("America/New_York").iso(moment) == "2026-11-23T22:04:05-05:00"
    assert Calendar("America/New_York").iso(moment - 180 * 24 * HOUR)[-6:] == "-04:00"
    assert Calendar("Asia/Kathmandu").iso(moment) == "2026-11-24T08:49:05+05:45"


# Clocks that change by half an hour, at midnight, across a date, in Ramadan, or never.
ODD_ZONES = (
    "Africa/Cairo", "Africa/Casablanca", "America/Asuncion", "America/Havana", "America/New_York", "America/Sao_Paulo",
    "Antarctica/Troll", "Asia/Beirut", "Asia/Gaza", "Asia/Ho_Chi_Minh", "Asia/Kathmandu", "Asia/Tehran",
    "Australia/Lord_Howe", "Pacific/Apia", "Pacific/Chatham", "Europe/Lisbon",
)  # fmt: skip


@pytest.mark.parametrize("zone", ODD_ZONES)
def test_every_moment_of_a_year_belongs_to_one_day(zone: str) -> None:
    """Days follow each other without a gap; each is found by its first and its last millisecond, and is a local date.
    In 2011 Samoa had no 30 December."""
    calendar, places = Calendar(zone), ZoneInfo(zone)
    for year in (2011, 2024, 2026, 2040):
        before = calendar.day_named(f"{year - 1}-12-31")
        while before.year <= str(year):
            day = calendar.day_named(before.tomorrow)
            assert day.start_ms == before.end_ms
            odd = day.end_ms - day.start_ms != 24 * HOUR or before.end_ms - before.start_ms != 24 * HOUR
            if day.start_ms < day.end_ms and (odd or day.date.endswith("-01")):  # days alike need no look at each
                for moment in (day.start_ms, (day.start_ms + day.end_ms) // 2, day.end_ms - 1):
                    assert calendar.day_at(moment).date == calendar.date_at(moment) == day.date
                assert datetime.fromtimestamp(day.start_ms / 1000, places).date().isoformat() == day.date
                assert calendar.day_at(day.start_ms - 1).date != day.date
            before = day
