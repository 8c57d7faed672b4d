"""With what a number of the box is compared: the same number at the same moment of the period before."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from visitstats.core.comparing import NOTHING, Stretch, compared, stretches
from visitstats.core.counting import HOUR_MS
from visitstats.core.history import Row
from visitstats.core.periods import Calendar

CALENDAR = Calendar("Asia/Ho_Chi_Minh")
HALF_PAST_TEN = 10 * HOUR_MS + HOUR_MS // 2


def at(name: str, passed: int = HALF_PAST_TEN) -> dict[str, Stretch]:
    day = CALENDAR.day_named(name)
    return stretches(day, day.start_ms + passed)


def day(name: str, visits: int | None, known: str = "yes") -> Row:
    return Row(name, known, visits, None if visits is None else 2 * visits)  # type: ignore[arg-type]


def hours(name: str, *visits: int) -> list[Row]:
    return [Row(f"{name}T{hour:02}", "yes", n, 2 * n) for hour, n in enumerate(visits)]


@pytest.mark.parametrize(
    ("today", "name", "first", "last", "whole"),
    [
        ("2026-11-24", "today", "2026-11-23", "2026-11-23", False),
        ("2026-11-24", "weekday", "2026-11-17", "2026-11-17", False),
        ("2026-11-24", "week", "2026-11-16", "2026-11-17", False),
        ("2026-11-22", "week", "2026-11-09", "2026-11-15", False),  # a Sunday
        ("2026-11-24", "month", "2026-10-01", "2026-10-24", False),
        ("2026-03-31", "month", "2026-02-01", "2026-02-28", True),
        ("2026-01-15", "month", "2025-12-01", "2025-12-15", False),
        ("2026-11-24", "year", "2025-01-01", "2025-11-24", False),
        ("2028-02-29", "year", "2027-01-01", "2027-02-28", True),
    ],
)
def test_a_period_is_compared_with_the_one_before_up_to_the_same_moment(
    today: str, name: str, first: str, last: str, whole: bool
) -> None:
    """A period that is shorter is taken whole."""
    assert at(today)[name] == Stretch(first, last, None if whole else HALF_PAST_TEN)


def test_whole_hours_are_exact_and_a_part_of_one_is_an_estimate() -> None:
    yesterday, began = "2026-11-23", "2026-01-01"
    rows, parts = [day(yesterday, 100)], hours(yesterday, *([4] * 25)[:24])
    sharp = compared(at("2026-11-24", 10 * HOUR_MS)["today"], began, rows, parts, 24 * HOUR_MS)
    assert (sharp.visits, sharp.views, sharp.known, sharp.estimate) == (40, 80, "yes", False)
    half = compared(at("2026-11-24")["today"], began, rows, parts, 24 * HOUR_MS)
    assert (half.visits, half.views, half.estimate) == (42, 84, True)
    midnight = compared(at("2026-11-24", 0)["today"], began, rows, parts, 24 * HOUR_MS)
    assert (midnight.visits, midnight.estimate) == (0, False)


def test_days_before_the_last_are_whole() -> None:
    stretch = at("2026-11-25", 10 * HOUR_MS)["week"]
    rows = [day("2026-11-16", 7), day("2026-11-17", 5), day("2026-11-18", 240)]
    found = compared(stretch, "2026-01-01", rows, hours("2026-11-18", *[10] * 24), 24 * HOUR_MS)
    assert (found.visits, found.estimate) == (7 + 5 + 100, False)


def test_a_day_whose_hours_are_not_kept_is_taken_by_its_part() -> None:
    first = date(2025, 1, 1)
    rows = [day((first + timedelta(days=n)).isoformat(), 24) for n in range(328)]
    found = compared(at("2026-11-24", 12 * HOUR_MS)["year"], "2024-01-01", rows, [], 24 * HOUR_MS)
    assert (found.visits, found.estimate) == (327 * 24 + 12, True)


def test_what_was_not_counted_is_no_zero() -> None:
    stretch = at("2026-11-24")["today"]
    rows = [day("2026-11-23", None, "no")]
    assert compared(stretch, "2026-01-01", rows, [], 24 * HOUR_MS) == NOTHING
    assert compared(stretch, "", [], [], 24 * HOUR_MS) == NOTHING
    assert compared(stretch, "2026-11-24", [day("2026-11-23", 0)], [], 24 * HOUR_MS) == NOTHING


def test_a_gap_or_a_beginning_in_the_middle_is_said() -> None:
    stretch = at("2026-11-25", 0)["week"]
    rows = [day("2026-11-16", 7), day("2026-11-17", 5, "partly"), day("2026-11-18", 3)]
    assert compared(stretch, "2026-01-01", rows, [], 24 * HOUR_MS).known == "partly"
    rows = [day("2026-11-16", 0), day("2026-11-17", 5), day("2026-11-18", 3)]
    assert compared(stretch, "2026-11-17", rows, [], 24 * HOUR_MS).known == "partly"
    assert compared(stretch, "2026-11-16", rows, [], 24 * HOUR_MS).known == "yes"


def test_large_counts_are_not_rounded_by_a_float() -> None:
    many = 2**53 - 1
    found = compared(at("2026-11-24")["today"], "2026-01-01", [day("2026-11-23", many)],
                     hours("2026-11-23", many), 24 * HOUR_MS)  # fmt: skip
    assert found.visits == many
