"""What the store shows: numbers of the right periods, lists in order, and never a number that is not known."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable
from datetime import date, timedelta
from typing import Any

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from tests.conftest import StartStore
from tests.store.dated import put
from tests.store.writing import CALENDAR, DAY, MINUTE, NOON, SITE, WRITER, Writer, beats
from visitstats.core.batch import Gathering
from visitstats.core.counting import NUMBERS_BASELINE, RING
from visitstats.core.errors import StoreUnavailable, StoreUnfit
from visitstats.core.keys import article_id
from visitstats.core.numbers import History, Numbers, counters_of, sum_up
from visitstats.store import keys, reads
from visitstats.store.client import open_client
from visitstats.store.reads import Counts, Mark, Reads


@pytest_asyncio.fixture
async def writer(redis_url: str) -> AsyncIterator[Writer]:
    found = Writer(redis_url)
    yield found
    await found.close()


async def test_an_empty_store_has_counted_nothing(raw: Redis) -> None:
    nothing = [0] * len(counters_of(DAY))
    assert await Reads(raw).counts("nobody", DAY, NOON) == Counts(0, nothing, nothing, Mark(0, 0))
    assert await Reads(raw).history("nobody", "visits") == History()
    assert await Reads(raw).views("nobody", ["/a"]) == {"/a": 0}
    assert await Reads(raw).views("nobody", []) == {}
    assert [page async for page in Reads(raw).scan_views("nobody", DAY.date) if page] == []
    assert await Reads(raw).ignored("nobody", DAY) == {}
    assert await Reads(raw).uniques("nobody", DAY) == 0
    assert await Reads(raw).article_count("nobody") == 0


async def test_the_numbers_are_those_of_the_periods_of_the_day(writer: Writer, raw: Redis) -> None:
    """One visit on each of: last year, last month, last week, Sunday's yesterday, Monday, Tuesday (today)."""
    dates = ["2035-12-31", "2036-10-31", "2036-11-15", "2036-11-23", "2036-11-24", "2036-11-25"]
    for day in map(CALENDAR.day_named, dates):
        await writer.read(day, (day.start_ms, "An", "/a"))
    tuesday = CALENDAR.day_named("2036-11-25")
    found = await Reads(raw).counts(SITE.id, tuesday, tuesday.start_ms + MINUTE, WRITER)
    expected = Numbers(
        online=1, today=1, yesterday=1, week=2, last_week=1, month=4, last_month=1, year=5, total=6
    )  # fmt: skip
    assert sum_up(tuesday, found.online, found.visits) == sum_up(tuesday, found.online, found.views) == expected
    assert found.mark == Mark(6, 6)
    sunday = CALENDAR.day_named("2036-11-23")
    then = await Reads(raw).counts(SITE.id, sunday, sunday.end_ms)
    assert sum_up(sunday, then.online, then.visits).week == 1
    assert then.mark == Mark(0, 0)


async def test_the_past_is_read_in_pieces(writer: Writer, raw: Redis) -> None:
    """Ten years of days are no command that holds the server up. Months, years and the baseline are no days."""
    days = [CALENDAR.day_named((date(2017, 1, 1) + timedelta(days=n)).isoformat()) for n in range(3650)]
    counts = {day.date: n * 7919 % 1000 + 1 for n, day in enumerate(days)}
    dated: Counter[Any] = Counter({NUMBERS_BASELINE: 10**9})
    for day in days:
        dated.update(dict.fromkeys(day.counters, counts[day.date]))
    await put(raw, SITE.id, "views", dict(dated))
    await put(raw, SITE.id, "visits", {"2026-02-30": 99, "2026-11-24": 3, "2026": 50})
    await raw.config_resetstat()
    found = await Reads(raw).history(SITE.id, "views")
    asked = (await raw.info("commandstats"))["cmdstat_hgetall"]["calls"]
    most = max(counts.values())
    assert found == History("2017-01-01", most, min(day for day, n in counts.items() if n == most))
    assert asked >= 120
    assert await Reads(raw).history(SITE.id, "visits") == History("2026-11-24", 3, "2026-11-24")


async def test_a_day_that_is_no_number_makes_no_record(raw: Redis) -> None:
    await put(raw, SITE.id, "visits", {"2026-11-23": 7, "2026-11-24": "many", "2026": 7})
    with pytest.raises(StoreUnavailable, match="no number"):
        await Reads(raw).history(SITE.id, "visits")


async def test_online_right_after_midnight_are_those_of_yesterday_too(writer: Writer, raw: Redis) -> None:
    tomorrow = CALENDAR.day_named(DAY.tomorrow)
    await writer.read(DAY, (DAY.end_ms - 1000, "An", "/a"), (DAY.end_ms - 1000, "Bình", "/a"))
    await writer.read(tomorrow, (tomorrow.start_ms, "An", "/a"))
    for seconds, online in ((0, 2), (298, 2), (299, 1), (300, 0)):
        now = tomorrow.start_ms + seconds * 1000
        assert (await Reads(raw).counts(SITE.id, tomorrow, now)).online == online


@pytest.mark.parametrize("others", range(1, 9))
async def test_who_comes_back_into_the_same_place_of_the_ring_is_online(
    writer: Writer, raw: Redis, others: int
) -> None:
    """The second in which a visitor was last seen may have the place in the ring that the present one takes."""
    for rounds in range(1, 9):
        day = CALENDAR.day_at(NOON + rounds * 24 * 60 * MINUTE)
        noon = NOON + rounds * 24 * 60 * MINUTE
        moment = noon + rounds * RING * 1000
        for start in (noon, moment):
            await writer.read(day, *((start + 1000 * n, f"person {n}", "/a") for n in range(others)))
        assert (await Reads(raw).counts(SITE.id, day, moment + others * 1000)).online == others


async def test_the_watermark_says_how_many_hits_the_ledger_has(writer: Writer, raw: Redis) -> None:
    await writer.read(DAY, (NOON, "An", "/a"), (NOON, "Bình", "/a"))
    waiting = Gathering(SITE, DAY)
    beats(waiting, NOON + 1, "An")
    await writer.count(waiting)
    assert await Reads(raw).marks([SITE.id, "nobody"]) == {SITE.id: {WRITER: Mark(2, 2)}, "nobody": {}}
    assert (await Reads(raw).counts(SITE.id, DAY, NOON, WRITER)).mark == Mark(2, 2)
    assert (await Reads(raw).counts(SITE.id, DAY, NOON, "f" * 32)).mark == Mark(0, 0)
    assert await Reads(raw).marks([]) == {}


async def test_all_articles_are_read_in_pieces_without_loss(
    writer: Writer, raw: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reads, "PAGE", 4)
    tuesday = CALENDAR.day_named(DAY.tomorrow)
    expected = {article_id(f"/{n}"): n + 1 for n in range(600)}
    for n in range(600):
        await writer.read(DAY, *((NOON, f"person {person}", f"/{n}") for person in range(min(n + 1, 3))))
    await writer.read(tuesday, (tuesday.start_ms, "An", "/7"))
    of_day = {article: min(n, 3) for article, n in expected.items()}
    assert {article: n async for page in Reads(raw).scan_views(SITE.id, DAY.date) for article, n in page} == of_day
    everything = of_day | {article_id("/7"): 4}
    assert {article: n async for page in Reads(raw).scan_views(SITE.id) for article, n in page} == everything
    assert await Reads(raw).views_of(SITE.id, [*expected], []) == list(everything.values())
    assert await Reads(raw).views_of(SITE.id, [*expected], [DAY.date, tuesday.date]) == list(everything.values())
    [title] = {entry.title for entry in await Reads(raw).entries(SITE.id, [article_id("/24")])}
    assert title == "Title of /24"


async def test_views_of_many_articles_are_told_by_their_keys(writer: Writer, raw: Redis) -> None:
    await writer.read(DAY, (NOON, "An", "/a"), (NOON, "Bình", "/a"), (NOON, "An", "/b"))
    assert await Reads(raw).views(SITE.id, ["/b", "/a", "/c", "/b"]) == {"/a": 2, "/b": 1, "/c": 0}


async def test_an_article_whose_name_is_not_known_or_damaged_is_told_by_its_id(writer: Writer, raw: Redis) -> None:
    await writer.read(DAY, (NOON, "An", "/a"), (NOON, "An", "/b"), (NOON, "An", "/c"))
    await raw.hset(keys.names(SITE.id), article_id("/a"), b"\xc1")
    await raw.hdel(keys.names(SITE.id), article_id("/b"))
    found = await Reads(raw).entries(SITE.id, [article_id(key) for key in ("/a", "/b", "/c")])
    assert [entry.key for entry in found] == [f"?{article_id('/a').hex()}", f"?{article_id('/b').hex()}", "/c"]


async def test_unique_visitors_are_estimated_within_one_percent(writer: Writer, raw: Redis) -> None:
    """Rule 9."""
    for n in range(1, 11):
        await writer.read(DAY, *((NOON, f"person {n * 500 + person}", "/a") for person in range(1000)))
    assert await Reads(raw).uniques(SITE.id, DAY) == pytest.approx(5500, rel=0.01)


async def test_a_store_that_is_away_is_said_and_not_shown_as_zero(start_store: StartStore) -> None:
    store = start_store()
    client = open_client(store.url)
    store.stop()
    away = Reads(client)
    for read in (
        lambda: away.counts(SITE.id, DAY, NOON),
        lambda: away.marks([SITE.id]),
        lambda: away.views(SITE.id, ["/a"]),
        lambda: away.views_of(SITE.id, [article_id("/a")], [DAY.date]),
        lambda: anext(away.scan_views(SITE.id)),
        lambda: away.has_article(SITE.id, article_id("/a")),
        lambda: away.entries(SITE.id, [article_id("/a")]),
        lambda: away.article_count(SITE.id),
        lambda: away.ignored(SITE.id, DAY),
        lambda: away.uniques(SITE.id, DAY),
        away.check_fit,
    ):
        with pytest.raises(StoreUnavailable, match="does not answer"):
            await read()
    await client.aclose()


async def test_a_key_of_another_type_is_said_and_not_shown_as_zero(raw: Redis) -> None:
    await raw.set(keys.counts(SITE.id), "x")
    with pytest.raises(StoreUnavailable, match="WRONGTYPE"):
        await Reads(raw).counts(SITE.id, DAY, NOON)


async def test_a_store_that_would_lose_counts_is_refused_or_warned_about(start_store: StartStore) -> None:
    async with Redis.from_url(start_store().url) as client:
        assert await Reads(client).check_fit() == []
        await client.config_set("appendonly", "no")
        [warning] = await Reads(client).check_fit()
        assert "appendonly" in warning
        await client.config_set("maxmemory-policy", "allkeys-lru")
        with pytest.raises(StoreUnfit, match="allkeys-lru"):
            await Reads(client).check_fit()


async def test_a_store_that_reads_its_file_is_not_said_to_have_none(raw: Redis) -> None:
    """It switches the file off meanwhile, and says so."""
    parse: Callable[..., dict[str, int]] = raw.response_callbacks["INFO"]  # type: ignore[assignment]
    said = {"aof_enabled": 0, "loading": 1}
    raw.set_response_callback("INFO", lambda response, **options: parse(response, **options) | said)
    assert await Reads(raw).check_fit() == []
    said["loading"] = 0
    assert len(await Reads(raw).check_fit()) == 1


@pytest.mark.parametrize("url", ["portal.vn", "http://127.0.0.1:6379", "redis://127.0.0.1:port", ""])
def test_an_address_that_is_none_is_refused_in_one_line(url: str) -> None:
    with pytest.raises(StoreUnfit) as refused:
        open_client(url)
    assert "\n" not in str(refused.value)
