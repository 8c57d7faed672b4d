"""What the store shows: numbers of the right periods, lists in order, and never a number that is not known."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from tests.conftest import StartStore
from tests.store.writing import CALENDAR, DAY, MINUTE, NOON, SITE, WRITER, batch_of, commit, gather, numbering
from visitstats.core.batch import Gathering
from visitstats.core.counting import Numbers, numbers
from visitstats.core.errors import StoreUnavailable, StoreUnfit
from visitstats.core.keys import article_id
from visitstats.store import keys, reads
from visitstats.store.client import open_client
from visitstats.store.commit import Committer
from visitstats.store.reads import Counts, Reads


@pytest_asyncio.fixture
async def committer(redis_url: str) -> AsyncIterator[Committer]:
    committer = Committer(redis_url, WRITER)
    yield committer
    await committer.close()


async def test_an_empty_store_has_counted_nothing(raw: Redis) -> None:
    assert await Reads(raw).counts("nobody", DAY, NOON) == Counts(0, [0] * 13, [0] * 13, 0)
    assert await Reads(raw).views("nobody", ["/a"]) == {"/a": 0}
    assert await Reads(raw).views("nobody", []) == {}
    assert await Reads(raw).top("nobody", DAY, "day", 10) == []
    assert await Reads(raw).ignored("nobody", DAY) == {}
    assert await Reads(raw).uniques("nobody", DAY) == 0
    assert await Reads(raw).article_count("nobody") == 0


async def test_the_numbers_are_those_of_the_periods_of_the_day(committer: Committer, raw: Redis) -> None:
    """One visit on each of: last year, last month, last week, Sunday's yesterday, Monday, Tuesday (today)."""
    dates = ["2035-12-31", "2036-10-31", "2036-11-15", "2036-11-23", "2036-11-24", "2036-11-25"]
    for sequence, name in enumerate(dates, 1):
        day = CALENDAR.day_named(name)
        await commit(committer, sequence, batch_of((day.start_ms, "An", "/a"), day=day, previous=sequence - 1))
    tuesday = CALENDAR.day_named("2036-11-25")
    found = await Reads(raw).counts(SITE.id, tuesday, tuesday.start_ms + MINUTE, WRITER)
    assert numbers(found.online, found.visits) == Numbers(1, 1, 1, 2, 4, 5, 6)
    assert numbers(found.online, found.views) == Numbers(1, 1, 1, 2, 4, 5, 6)
    assert found.watermark == 6
    sunday = CALENDAR.day_named("2036-11-23")
    then = await Reads(raw).counts(SITE.id, sunday, sunday.end_ms)
    assert numbers(then.online, then.visits).week == 1
    assert then.watermark == 0


async def test_online_right_after_midnight_are_those_of_yesterday_too(committer: Committer, raw: Redis) -> None:
    tomorrow = CALENDAR.day_named(DAY.tomorrow)
    await commit(committer, 1, batch_of((DAY.end_ms - 1000, "An", "/a"), (DAY.end_ms - 1000, "Bình", "/a")))
    await commit(
        committer, 2, batch_of((tomorrow.start_ms, "An", "/a"), day=tomorrow, previous=1), numbering(tomorrow.start_ms)
    )
    for seconds, online in ((0, 2), (298, 2), (299, 1), (300, 0)):
        now = tomorrow.start_ms + seconds * 1000
        assert (await Reads(raw).counts(SITE.id, tomorrow, now)).online == online


async def test_the_watermark_is_that_of_the_ledger_which_is_behind(committer: Committer, raw: Redis) -> None:
    await commit(committer, 3, batch_of((NOON, "An", "/a")))
    await raw.hset(keys.articles_watermark(SITE.id, WRITER), "s", 2)
    assert await Reads(raw).watermarks([SITE.id, "nobody"], WRITER) == {SITE.id: 2, "nobody": 0}
    assert (await Reads(raw).counts(SITE.id, DAY, NOON, WRITER)).watermark == 2
    assert await Reads(raw).watermarks([], WRITER) == {}


async def test_lists_are_in_order_and_paged_without_loss(
    committer: Committer, raw: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = Gathering(SITE, DAY)
    for n in range(25):
        for person in range(n + 1):
            gather(waiting, NOON, f"person {person}", f"/{n}")
    await commit(committer, 1, waiting.close(0, NOON))
    monkeypatch.setattr(reads, "PAGE", 4)
    expected = [(f"/{n}", n + 1) for n in reversed(range(25))]
    for period in ("day", "week", "month", "all"):
        whole = await Reads(raw).top(SITE.id, DAY, period, 100)
        assert [(row.entry.key, row.views) for row in whole] == expected
        assert whole[0].entry.title == "Title of /24"
    assert [row.views for row in await Reads(raw).top(SITE.id, DAY, "all", 3)] == [25, 24, 23]
    assert [row.views for row in await Reads(raw).top(SITE.id, DAY, "all", 6, 20)] == [5, 4, 3, 2, 1]
    other_day = CALENDAR.day_named("2036-11-30")
    assert await Reads(raw).top(SITE.id, other_day, "day", 10) == []
    assert len(await Reads(raw).top(SITE.id, other_day, "week", 100)) == 25


async def test_views_of_many_articles_are_told_by_their_keys(committer: Committer, raw: Redis) -> None:
    await commit(committer, 1, batch_of((NOON, "An", "/a"), (NOON, "Bình", "/a"), (NOON, "An", "/b")))
    assert await Reads(raw).views(SITE.id, ["/b", "/a", "/c", "/b"]) == {"/a": 2, "/b": 1, "/c": 0}


async def test_an_article_whose_name_is_not_known_is_listed_by_its_id(committer: Committer, raw: Redis) -> None:
    await commit(committer, 1, batch_of((NOON, "An", "/a")))
    await raw.delete(keys.names(SITE.id))
    [row] = await Reads(raw).top(SITE.id, DAY, "all", 10)
    assert (row.entry.key, row.views) == (f"?{article_id('/a').hex()}", 1)


async def test_a_damaged_name_does_not_hide_the_list(committer: Committer, raw: Redis) -> None:
    await commit(committer, 1, batch_of((NOON, "An", "/a"), (NOON, "An", "/b")))
    await raw.hset(keys.names(SITE.id), article_id("/a"), b"\xc1")
    assert {row.entry.key for row in await Reads(raw).top(SITE.id, DAY, "all", 10)} == {
        "/b",
        f"?{article_id('/a').hex()}",
    }


async def test_unique_visitors_are_estimated_within_one_percent(committer: Committer, raw: Redis) -> None:
    """Rule 9."""
    for sequence in range(1, 11):
        waiting = Gathering(SITE, DAY)
        for n in range(1000):
            gather(waiting, NOON, f"person {sequence * 500 + n}", "/a")
        await commit(committer, sequence, waiting.close(sequence - 1, NOON))
    assert await Reads(raw).uniques(SITE.id, DAY) == pytest.approx(5500, rel=0.01)


async def test_a_store_that_is_away_is_said_and_not_shown_as_zero(start_store: StartStore) -> None:
    store = start_store()
    client = open_client(store.url)
    store.stop()
    away = Reads(client)
    for read in (
        lambda: away.counts(SITE.id, DAY, NOON),
        lambda: away.watermarks([SITE.id], WRITER),
        lambda: away.views(SITE.id, ["/a"]),
        lambda: away.top(SITE.id, DAY, "all", 10),
        lambda: away.article_count(SITE.id),
        lambda: away.ignored(SITE.id, DAY),
        lambda: away.uniques(SITE.id, DAY),
        away.check_fit,
    ):
        with pytest.raises(StoreUnavailable, match="does not answer"):
            await read()
    await client.aclose()


async def test_a_key_of_another_type_is_said_and_not_shown_as_zero(raw: Redis) -> None:
    await raw.set(keys.visits(SITE.id), "x")
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
