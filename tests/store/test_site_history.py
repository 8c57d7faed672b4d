"""A site's past: hours, days, months and years; what is known, what is not, and what is zero."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import date, timedelta

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from tests.store.dated import put
from tests.store.writing import CALENDAR, DAY, MINUTE, NOON, SITE, Writer, gather, numbering
from visitstats.core.batch import Gathering
from visitstats.core.errors import InvalidQuery
from visitstats.core.history import Best, Peak, Row, by_month, by_year, summary
from visitstats.core.periods import Calendar
from visitstats.core.ranges import range_of
from visitstats.reading.site_history import Histories
from visitstats.sites.directory import LiveSite
from visitstats.store import keys
from visitstats.store.history import SiteHistory
from visitstats.store.reads import Reads
from visitstats.store.upkeep import Upkeep
from visitstats.tasks.closing import LATE_DAYS, Closing

HOUR = 60 * MINUTE
DAY_MS = 24 * HOUR
LIVE = LiveSite(SITE)


class OneSite:
    def all(self) -> list[LiveSite]:
        return [LIVE]


@pytest_asyncio.fixture
async def writer(redis_url: str) -> AsyncIterator[Writer]:
    found = Writer(redis_url)
    yield found
    await found.close()


@pytest.fixture
def histories(raw: Redis) -> Histories:
    return Histories(SiteHistory(raw), Reads(raw))


async def ran(raw: Redis, first: int, last: int) -> None:
    """A service ran from one moment to another."""
    await Upkeep(raw).note_running([*range(first, last, 15 * MINUTE)])


async def test_each_hour_has_its_own_and_a_late_hit_goes_to_the_hour_in_which_it_came(
    writer: Writer, raw: Redis, histories: Histories
) -> None:
    """Visits, views, hits, what was not counted and the unique visitors of an hour; applied in any order."""
    await writer.read(DAY, (NOON + 5, "An", "/a"), (NOON + 6, "An", "/a"), (NOON + 7, "Bình", "/a"))
    await writer.read(DAY, (NOON - HOUR, "Chi", "/b"))
    ignored = Gathering(SITE, DAY)
    gather(ignored, NOON + HOUR, "An", "/c")
    ignored.ignored = {"bot": 2, "search-engine": 1}
    await writer.count(ignored)
    await Closing(Upkeep(raw), OneSite(), lambda: NOON).close_hours("")
    rows = await histories.rows(LIVE, "hour", range_of(CALENDAR, DAY, "day"), NOON + HOUR)
    found = {row.name[-2:]: row for row in rows if row.hits}
    assert [row.name[-2:] for row in rows] == [f"{hour:02}" for hour in range(14)], "none that is still to come"
    assert {name: (row.visits, row.views, row.hits, row.uniques, row.ignored) for name, row in found.items()} == {
        "11": (1, 1, 1, 1, {}),
        "12": (2, 2, 3, 2, {}),
        "13": (1, 1, 1, 1, {"bot": 2}),
    }
    [day] = await histories.rows(LIVE, "day", range_of(CALENDAR, DAY, "day"), NOON + HOUR)
    assert (day.visits, day.views, day.hits, day.uniques, day.ignored) == (4, 4, 5, 3, {"bot": 2})


async def test_zero_is_told_apart_from_what_is_not_known(writer: Writer, raw: Redis, histories: Histories) -> None:
    """A day on which nobody came is 0; one on which the service did not run is not known, and no 0."""
    days = [CALENDAR.day_named((date(2036, 11, 18) + timedelta(days=n)).isoformat()) for n in range(7)]
    await writer.read(days[0], (days[0].start_ms + HOUR, "An", "/a"))
    await ran(raw, days[0].start_ms, days[1].end_ms)
    await ran(raw, days[3].start_ms, days[3].start_ms + HOUR)
    await writer.read(days[4], (days[4].start_ms + HOUR, "An", "/a"))
    await ran(raw, days[5].start_ms, NOON)
    rows = await histories.rows(LIVE, "day", range_of(CALENDAR, DAY, "", "2036-11-01", "2036-12-31"), NOON - 1)
    assert [(row.name[-2:], row.known, row.visits) for row in rows] == [
        ("18", "yes", 1),
        ("19", "yes", 0),
        ("20", "no", None),
        ("21", "partly", 0),
        ("22", "partly", 1),
        ("23", "yes", 0),
        ("24", "yes", 0),
    ]
    [month] = by_month(rows)
    assert (month.name, month.known, month.visits) == ("2036-11", "partly", 2)


async def test_a_year_is_read_over_its_change_and_months_are_the_sums_of_their_days(
    raw: Redis, histories: Histories
) -> None:
    """Any range of any years, against a sum that is made here."""
    counts = {(date(2034, 12, 1) + timedelta(days=n)).isoformat(): n * 7919 % 1000 for n in range(800) if n * 31 % 7}
    await put(raw, SITE.id, "visits", dict(counts))
    await put(raw, SITE.id, "visits", {"2034": 1, "2035": 1, "2036": 1, "2037": 1})
    asked = range_of(CALENDAR, DAY, "", "2034-12-25", "2037-02-03")
    now = CALENDAR.day_named("2037-02-03").start_ms + HOUR
    expected = {name: n for name, n in counts.items() if asked.first <= name <= asked.last}
    for by, length in (("month", 7), ("year", 4)):
        found = {row.name: row.visits or 0 for row in await histories.rows(LIVE, by, asked, now)}
        names = sorted({name[:length] for name in expected})
        assert found == {name: sum(n for day, n in expected.items() if day.startswith(name)) for name in names}


@pytest.mark.parametrize("zone", ["Asia/Ho_Chi_Minh", "Asia/Kathmandu", "America/New_York", "Australia/Lord_Howe"])
async def test_the_hours_of_a_day_are_counted_from_its_midnight_in_the_sites_zone(zone: str, raw: Redis) -> None:
    """Also where clocks change, and where hours do not begin with those of UTC: every moment of a day has an hour."""
    calendar = Calendar(zone)
    for name in ("2036-03-09", "2036-04-06", "2036-10-05", "2036-11-02", "2036-11-24"):
        day = calendar.day_named(name)
        waiting = Gathering(SITE, day)
        gather(waiting, day.end_ms - 1, "An", "/a")
        last = waiting.close(0, 0, 0)
        assert last.hour == day.hours - 1 == -(-(day.end_ms - day.start_ms) // HOUR) - 1
        assert len(await SiteHistory(raw).hours(SITE.id, day, day.end_ms)) == 0
        await raw.hset(keys.hours(SITE.id, day.date), f"hits:{last.hour}", 1)
        rows = await SiteHistory(raw).hours(SITE.id, day, day.end_ms)
        assert len(rows) == day.hours
        assert rows[-1].hits == 1


async def test_the_hours_of_a_day_that_runs_are_known_before_anybody_has_come(raw: Redis) -> None:
    """They are 0, and not still to come; the hours of a past day of which nothing is kept are not known."""
    await ran(raw, DAY.start_ms, NOON + 1)
    rows = await SiteHistory(raw).hours(SITE.id, DAY, NOON + 5)
    assert [(row.name[-2:], row.visits, row.known) for row in rows] == [(f"{n:02}", 0, "yes") for n in range(13)]
    assert await SiteHistory(raw).hours(SITE.id, DAY, DAY.end_ms) == []


@pytest.mark.parametrize("stopped", [1, 3, 4, 30, 39])
async def test_the_unique_visitors_of_a_day_are_kept_after_a_stop_of_any_length(
    writer: Writer, raw: Redis, stopped: int
) -> None:
    """As long as the store has their sketches: forty days."""
    await writer.read(DAY, (NOON, "An", "/a"), (NOON, "Bình", "/a"))
    now = NOON + stopped * DAY_MS
    await Closing(Upkeep(raw), OneSite(), lambda: now).close_days("")
    assert await raw.hget(keys.uniques(SITE.id, DAY.year), DAY.date) == b"2"


@pytest.mark.parametrize("stopped", [1, 5, 30, 39])
async def test_the_unique_visitors_of_hours_are_kept_after_a_stop_of_any_length_too(
    writer: Writer, raw: Redis, stopped: int
) -> None:
    """And their sketches, of which no hit is waited for any more, are gone then."""
    await writer.read(DAY, (NOON, "An", "/a"), (NOON, "Bình", "/a"))
    await writer.read(DAY, (NOON + HOUR, "An", "/a"))
    now = NOON + stopped * DAY_MS
    assert await Closing(Upkeep(raw), OneSite(), lambda: now).close_hours("") == "2 hours closed"
    kept = await raw.hmget(keys.hours(SITE.id, DAY.date), ["uniques:12", "uniques:13"])
    assert kept == [b"2", b"1"]
    left = await raw.exists(*(keys.hour_sketch(SITE.id, DAY.date, hour) for hour in range(24)))
    assert left == (2 if stopped <= LATE_DAYS else 0)


@pytest.mark.parametrize("zone", ["Asia/Ho_Chi_Minh", "UTC", "America/New_York", "Asia/Kathmandu"])
@pytest.mark.parametrize("missing", [None, 0, 40, 95])
async def test_a_day_is_known_when_a_service_ran_in_all_of_its_quarter_hours(
    raw: Redis, zone: str, missing: int | None
) -> None:
    """In any zone, also where the day is in two years of the notes, which are of UTC."""
    calendar = Calendar(zone)
    days = [calendar.day_named(name) for name in ("2035-12-30", "2035-12-31", "2036-01-01", "2036-01-02")]
    await ran(raw, days[0].start_ms, days[-1].end_ms)
    for day in days:
        if missing is not None:
            year, place = keys.quarter_of(day.start_ms + missing * 15 * MINUTE)
            await raw.setbit(keys.ran(year), place, 0)
    rows = await SiteHistory(raw).days(SITE.id, calendar, days[0].date, days[-1].date, days[-1].end_ms)
    assert [row.known for row in rows] == ["yes" if missing is None else "partly"] * 4
    after = await SiteHistory(raw).days(SITE.id, calendar, "2036-01-03", "2036-01-03", days[-1].end_ms + HOUR)
    assert [row.known for row in after] == ["no"]
    half = await SiteHistory(raw).days(SITE.id, calendar, days[1].date, days[1].date, days[1].start_ms + 10 * HOUR - 1)
    assert [row.known for row in half] == ["yes" if missing in (None, 40, 95) else "partly"]


async def test_a_late_hit_that_begins_a_sketch_anew_lowers_no_estimate(writer: Writer, raw: Redis) -> None:
    await writer.read(DAY, (NOON, "An", "/a"), (NOON, "Bình", "/a"))
    closing = Closing(Upkeep(raw), OneSite(), lambda: NOON + DAY_MS)
    await closing.close_days("")
    await closing.close_hours("")
    await raw.delete(*keys.sketches(SITE.id, DAY.date), keys.hour_sketch(SITE.id, DAY.date, 12))
    waiting = Gathering(SITE, DAY)
    gather(waiting, NOON + MINUTE, "Chi", "/a")
    await writer.count(waiting, numbering(NOON + DAY_MS))
    await closing.close_days(DAY.date)
    await closing.close_hours(DAY.date)
    assert await raw.hget(keys.uniques(SITE.id, DAY.year), DAY.date) == b"2"
    assert await raw.hget(keys.hours(SITE.id, DAY.date), "uniques:12") == b"2"


async def test_hours_of_too_many_days_are_refused_and_so_is_another_unit(writer: Writer, histories: Histories) -> None:
    old = CALENDAR.day_named("2036-01-01")
    await writer.read(old, (old.start_ms, "An", "/a"))
    with pytest.raises(InvalidQuery, match="ask for at most 92"):
        await histories.rows(LIVE, "hour", range_of(CALENDAR, DAY, "year"), NOON)
    with pytest.raises(InvalidQuery, match="use one of hour, day, month, year"):
        await histories.rows(LIVE, "week", range_of(CALENDAR, DAY, "year"), NOON)


def test_records_and_averages_are_of_whole_days_that_are_known() -> None:
    """Today, days on which the service did not run all the time, and months with a gap are in no average; a record may
    be of any day."""
    first = date(2035, 11, 1)
    days = [
        Row((first + timedelta(days=n)).isoformat(), "yes", n % 10, n % 10, n % 10, peak=Peak(n % 50, n))
        for n in range(380)
    ]
    days[3] = Row(days[3].name, "partly", 500, 500, 500)
    days[40] = Row(days[40].name, "no")
    today = days[-1].name
    found = summary(days, today)
    whole = [(row.name, row.visits or 0) for row in days[:-1] if row.known == "yes"]
    assert found.best == Best(days[3].name, 500)
    assert found.peak == Peak(49, 49)
    assert found.per_day == sum(n for _, n in whole) / len(whole)
    mondays = [n for name, n in whole if date.fromisoformat(name).isoweekday() == 1]
    assert found.by_weekday[0] == sum(mondays) / len(mondays)
    months = [f"2036-{month:02}" for month in range(1, 11)]  # November 2035 has a part, December 2035 a gap
    sums = [sum(n for name, n in whole if name.startswith(month)) for month in months]
    assert found.per_month == sum(sums) / len(sums)
    assert found.per_year is None, "neither year is whole"
    assert [row.name for row in by_year(days)] == ["2035", "2036"]
