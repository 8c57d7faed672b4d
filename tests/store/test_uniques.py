"""Unique visitors are estimated, as near as it is said; of periods, and when only the days' estimates are left."""

from __future__ import annotations

from typing import Any

import pytest

from tests.store.writing import DAY, SITE
from visitstats.core.counting import salted, visitor_token
from visitstats.directory import LiveSite
from visitstats.store import keys
from visitstats.store.reads import Reads
from visitstats.store.upkeep import Upkeep
from visitstats.uniques import STANDARD_ERROR_PERCENT, estimated, present

TODAY = LiveSite(SITE).calendar.day_named(DAY.date)
PIECE = 5000


async def sketch(raw: Any, day: str, end_ms: int, tokens: list[bytes]) -> None:
    for start in range(0, len(tokens), PIECE):
        await raw.pfadd(keys.unique(SITE.id, day, end_ms).name, *tokens[start : start + PIECE])


@pytest.mark.parametrize("people", [10_000, 100_000])
async def test_an_estimate_is_as_near_as_it_says(raw: Any, people: int) -> None:
    """Standard error 0.81 %: three of it are not exceeded, with tokens as the service makes them (and a salt that is
    the same in every run)."""
    addresses = [f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}" for n in range(people)]
    tokens = [visitor_token(salted(b"s" * 32), SITE.id, address, b"a", "") for address in addresses]
    await sketch(raw, DAY.date, DAY.end_ms, tokens)
    found = await Reads(raw).uniques(SITE.id, DAY)
    assert abs(found - people) / people < 3 * STANDARD_ERROR_PERCENT / 100
    await sketch(raw, DAY.date, DAY.end_ms, tokens)
    assert await Reads(raw).uniques(SITE.id, DAY) == found, "the same visitors again change nothing"


async def test_a_week_is_its_days_added_up_even_when_their_sketches_are_gone(raw: Any) -> None:
    """A sketch lives 40 days, the estimate of its day for ever; the same person on two days is two."""
    live = LiveSite(SITE)
    days = [live.calendar.day_named(name) for name in TODAY.week if name <= TODAY.date]
    for day in days:
        await sketch(raw, day.date, day.end_ms, [bytes([n]) * 8 for n in range(100)])
        await Upkeep(raw).close_uniques(SITE.id, day)
    before = await estimated(Reads(raw), live, "week", TODAY, TODAY)
    assert list(before) == [day.date for day in days]
    assert sum(before.values()) == pytest.approx(100 * len(days), rel=0.03)
    for day in days:
        await raw.delete(keys.unique(SITE.id, day.date, day.end_ms).name)
    assert await estimated(Reads(raw), live, "week", TODAY, TODAY) == before
    now = await present(Reads(raw), live, TODAY)
    assert (now.today, now.week) == (before[TODAY.date], sum(before.values()))
    assert now.month >= now.today
