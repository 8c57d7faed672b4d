"""A range of packed months is put together from sums of quarters, months and parts of them: each of its days once."""

from __future__ import annotations

from collections import Counter
from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st

from visitstats.core.ranges import Range
from visitstats.core.tiles import days_in
from visitstats.reading.closed import packed_spans, plan, quarters
from visitstats.store.register import Month, State

MONTHS = [f"{year}-{month:02}" for year in range(2017, 2021) for month in range(1, 13)]
FIRST = date(2016, 11, 1)


def days_of(months: list[str]) -> list[str]:
    return [f"{month}-{day:02}" for month in months for day in range(1, days_in(month) + 1)]


@given(st.sets(st.sampled_from(MONTHS), min_size=1), st.integers(0, 1600), st.integers(0, 1600), st.data())
def test_every_day_of_a_range_is_counted_once_and_no_other(
    packed: set[str], one: int, other: int, data: st.DataObject
) -> None:
    months = sorted(packed)
    state = State(packed={month: Month(month, ()) for month in months})
    first, last = ((FIRST + timedelta(days=n)).isoformat() for n in sorted((one, other)))
    asked = packed_spans(state, Range("custom", first, last))
    expected = Counter(day for day in days_of(months) if first <= day <= last)
    assert Counter(day for span in asked for day in span.dates) == expected
    if not asked:
        return
    made = sorted(data.draw(st.sets(st.sampled_from(quarters(state)))) if quarters(state) else [])
    plus, minus, parts = plan(made, asked, state)
    found: Counter[str] = Counter()
    for quarter, sign in ((plus, 1), (minus, -1)):
        for day in days_of([month for month in months if month <= quarter]):
            found[day] += sign
    for span, sign in parts:
        assert span.month in packed
        for day in span.dates:
            found[day] += sign
    assert +found == expected
    assert not -found
    assert len(parts) <= len(asked)


def test_ten_years_are_read_from_two_sums_and_four_tiles_at_most() -> None:
    """However long a range is, what is read for it stays small."""
    months = [f"{year}-{month:02}" for year in range(2017, 2027) for month in range(1, 13)]
    state = State(packed={month: Month(month, ()) for month in months})
    for n in range(0, 1200, 37):
        first = (date(2017, 1, 1) + timedelta(days=n)).isoformat()
        last = (date(2026, 12, 31) - timedelta(days=2 * n)).isoformat()
        _, _, parts = plan(quarters(state), packed_spans(state, Range("custom", first, last)), state)
        assert len(parts) <= 4
