"""A batch is applied exactly once, whatever is lost on the way: the watermarks of the two ledgers see to it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from tests.conftest import StartStore
from tests.store.oracle import OTHER
from tests.store.writing import (
    CALENDAR,
    DAY,
    MINUTE,
    NOON,
    SITE,
    WRITER,
    batch_of,
    beat,
    commit,
    commit_one,
    gather,
    numbering,
)
from visitstats.core.batch import COUNTED, OTHER_ID, STARTED, Batch, Decision, Gathering
from visitstats.core.counting import DUPLICATE
from visitstats.core.entries import Entry, decode, encode
from visitstats.core.errors import StoreUnavailable
from visitstats.core.keys import article_id
from visitstats.core.sites import Site
from visitstats.store import keys
from visitstats.store.commit import KEPT_DECISIONS, Committed, Committer, Conflict, Gap, Refused, Work
from visitstats.store.reads import Reads

OTHER_SITE = Site(id="another", hosts=("another.vn",))


@pytest_asyncio.fixture
async def committer(redis_url: str) -> AsyncIterator[Committer]:
    committer = Committer(redis_url, WRITER)
    yield committer
    await committer.close()


def morning(previous: int = 0) -> Batch:
    """An reads /a twice and /b, Bình reads /a: two visits, three views."""
    return batch_of((NOON, "An", "/a"), (NOON + 1, "Bình", "/a"), (NOON + 2, "An", "/b"), (NOON + 3, "An", "/a"),
                    previous=previous)  # fmt: skip


async def visits_and_views(raw: Redis, site: Site = SITE) -> tuple[int, int]:
    return (
        int(await raw.hget(keys.visits(site.id), "all") or 0),
        int(await raw.hget(keys.views(site.id), "all") or 0),
    )


# Exactly once ---------------------------------------------------------------------------------------------------------


async def test_a_fresh_batch_answers_what_it_changed(committer: Committer) -> None:
    result = await commit(committer, 5, morning())
    assert (result.fresh, result.started, result.online, result.articles) == (True, 2, 2, (2, 1))
    assert result.slots == bytes([24] * 4)  # the half hour at noon, in which both visits began
    assert result.nameless == ()


async def test_a_batch_that_is_sent_again_changes_nothing_and_answers_the_same(
    committer: Committer, raw: Redis
) -> None:
    first = await commit(committer, 5, morning())
    for _ in range(3):
        again = await commit(committer, 5, morning())
        assert not again.fresh
        assert again.outcome == first.outcome
        assert again.articles == first.articles
        assert (again.online, again.visits, again.views) == (first.online, first.visits, first.views)
    assert await visits_and_views(raw) == (2, 3)


@pytest.mark.parametrize("many", [2, KEPT_DECISIONS])
async def test_a_replay_that_was_cut_off_between_the_ledgers_goes_on_as_it_was_decided(
    committer: Committer, raw: Redis, many: int
) -> None:
    """The audience of several batches is in, their articles are not: An's visits are known, one every hour, although
    only the last is his present one. Each reads the article once more."""
    hours = [DAY.start_ms + hour * 60 * MINUTE for hour in range(many)]
    work = [
        Work(n, n - 1, batch_of((hour, "An", "/a"), previous=n - 1), numbering()) for n, hour in enumerate(hours, 1)
    ]
    for item in work:
        [reply] = await committer._run([committer._audience(item)])
        assert reply[0] == b"ok"
    results = [result async for _, result in committer.commit_in_order(work)]
    assert [result.slots for result in results if isinstance(result, Committed)] == [
        bytes([2 * n]) for n in range(many)
    ]
    assert await visits_and_views(raw) == (many, many)


async def counted_elsewhere(redis_url: str, *others: tuple[str, str]) -> Batch:
    """A batch of An's beacon and other page loads, of which another writer has counted the beacon meanwhile."""
    batches = []
    for hits in (
        [("An", "/a", "the beacon")],
        [("An", "/a", "the beacon"), *((*each, "".join(each)) for each in others)],
    ):
        waiting = Gathering(SITE, DAY)
        for hit in hits:
            gather(waiting, NOON, *hit)
        batches.append(waiting.close(0, NOON))
    other = Committer(redis_url, WRITER[::-1])
    await commit(other, 1, batches[0])
    await other.close()
    return batches[1]


async def test_what_was_decided_is_not_repeated_where_a_hit_was_counted_meanwhile(
    redis_url: str, committer: Committer, raw: Redis
) -> None:
    """Two copies of a store have counted the same beacon. Nothing is written; decided anew, it is a duplicate."""
    batch = await counted_elsewhere(redis_url, ("An", "/b"))
    work = Work(1, 0, batch, numbering(), Decision(bytes([24, 24]), 1, (1, 1)))
    before = await raw.hgetall(keys.visits(SITE.id))
    assert [type(result) for result in await committer.commit([work])] == [Conflict]
    assert await raw.hgetall(keys.visits(SITE.id)) == before
    result = await commit(committer, 1, batch)
    assert (result.slots, result.started, result.added) == (bytes([DUPLICATE, 24]), 0, (0, 1))
    assert await visits_and_views(raw) == (1, 2)
    assert [type(each) for each in await committer.commit([work])] == [Committed], "it is in, and only answered"
    assert await visits_and_views(raw) == (1, 2)


@pytest.mark.parametrize("cut", [False, True], ids=["at once", "cut off between the ledgers"])
async def test_of_what_was_decided_only_that_is_repeated_which_was_not_counted_meanwhile(
    redis_url: str, committer: Committer, raw: Redis, cut: bool
) -> None:
    """The same with an outcome that says what each hit did: the beacon is left out, with its visit and its view."""
    batch = await counted_elsewhere(redis_url, ("An", "/b"), ("Bình", "/a"))
    both = STARTED | COUNTED
    work = Work(1, 0, batch, numbering(), Decision(bytes([24] * 3), 2, (2, 1), bytes([both, COUNTED, both])))
    if cut:
        await committer._run([committer._audience(work)])
    for _ in range(2):
        [result] = await committer.commit([work])
        assert isinstance(result, Committed)
        assert (result.slots, result.started, result.added) == (bytes([DUPLICATE, 24, 24]), 1, (1, 1))
        assert await visits_and_views(raw) == (2, 3)


async def test_a_batch_that_was_half_applied_is_completed_exactly_once(committer: Committer, raw: Redis) -> None:
    """The connection broke after the audience ledger; the batch is committed again as a whole."""
    waiting = Gathering(SITE, DAY)
    for n, (person, hit_id) in enumerate([("An", "x"), ("An", "x"), ("Bình", "y")]):
        gather(waiting, NOON + n, person, "/a", hit_id)
    batch = waiting.close(0, NOON)
    [reply] = await committer._line.run([committer._audience(Work(5, 0, batch, numbering()))])
    assert reply[0] == b"ok"
    assert await visits_and_views(raw) == (2, 0)
    await commit(committer, 5, batch)
    assert await visits_and_views(raw) == (2, 2)
    again = await commit(committer, 5, batch)
    assert again.slots == bytes([24, DUPLICATE, 24])
    assert await visits_and_views(raw) == (2, 2)


async def test_a_batch_whose_articles_alone_are_known_is_completed_too(committer: Committer, raw: Redis) -> None:
    """The shard of the audience ledger came back older than the other one's."""
    await commit(committer, 5, morning())
    await raw.delete(*await raw.keys("vs:{portal:who}:*"))
    assert await visits_and_views(raw) == (0, 3)
    await commit(committer, 5, morning())
    assert await visits_and_views(raw) == (2, 3)


async def test_a_missing_batch_before_this_one_is_told_and_nothing_is_written(committer: Committer, raw: Redis) -> None:
    await commit(committer, 5, morning())
    before = sorted(await raw.keys())
    assert await commit_one(committer, 9, morning(previous=7)) == Gap(5)
    assert await visits_and_views(raw) == (2, 3)
    assert sorted(await raw.keys()) == before
    assert isinstance(await commit_one(committer, 7, morning(previous=5)), Committed)
    assert isinstance(await commit_one(committer, 9, morning(previous=7)), Committed)


async def test_a_gap_in_the_articles_ledger_alone_is_told(committer: Committer, raw: Redis) -> None:
    await commit(committer, 5, morning())
    await raw.delete(keys.articles_watermark(SITE.id, WRITER))
    assert await commit_one(committer, 7, morning(previous=5)) == Gap(0)


async def test_sequences_beyond_32_bits_and_up_to_2_to_the_53_are_exact(committer: Committer) -> None:
    """Lua counts in doubles: a rounded watermark would swallow a batch or count it twice."""
    start = 2**53 - 3
    await commit(committer, start, morning())
    assert (await commit(committer, start + 1, morning(previous=start))).fresh
    assert not (await commit(committer, start + 1, morning(previous=start))).fresh
    assert await commit_one(committer, start + 3, morning(previous=start + 2)) == Gap(start + 1)


async def test_two_writers_have_watermarks_of_their_own(redis_url: str, committer: Committer, raw: Redis) -> None:
    other = Committer(redis_url, WRITER[::-1])
    try:
        await commit(committer, 5, morning())
        result = await commit(other, 5, morning())
        assert (result.fresh, result.started) == (True, 0)
    finally:
        await other.close()
    assert await visits_and_views(raw) == (2, 3)


async def test_sites_are_committed_together_and_one_that_fails_does_not_harm_the_others(
    committer: Committer, raw: Redis
) -> None:
    await raw.set(keys.visits(SITE.id), "not what it should be")
    theirs = batch_of((NOON, "An", "/a"), site=OTHER_SITE)
    bad, gap, good = await committer.commit(
        [
            Work(5, 0, morning(), numbering()),
            Work(7, 6, batch_of((NOON, "An", "/a"), site=Site(id="third", hosts=("t.vn",)), previous=6), numbering()),
            Work(6, 0, theirs, numbering()),
        ]
    )
    assert isinstance(bad, Refused)
    assert "WRONGTYPE" in bad.error
    assert gap == Gap(0)
    assert isinstance(good, Committed)
    assert await visits_and_views(raw, OTHER_SITE) == (1, 1)


async def test_slots_of_any_byte_reach_the_articles_ledger(committer: Committer) -> None:
    """A duplicate is the byte 255, which is no UTF-8 text."""
    waiting = Gathering(SITE, DAY)
    for n in range(3):
        gather(waiting, DAY.end_ms - 10 + n, "An", "/a", "the same")
    batch = waiting.close(0, NOON)
    for fresh in (True, False):
        result = await commit(committer, 1, batch, numbering(DAY.end_ms - 1))
        assert (result.fresh, result.slots) == (fresh, bytes([47, 255, 255]))
        assert result.articles == (1,)


async def test_a_batch_without_hits_carries_the_ignored(committer: Committer, raw: Redis) -> None:
    waiting = Gathering(SITE, DAY)
    waiting.ignored = {"bot": 2, "prefetch": 1}
    batch = waiting.close(0, NOON)
    for _ in range(2):
        result = await commit(committer, 1, batch)
        assert (result.slots, result.started, result.articles, result.online) == (b"", 0, (), 0)
    assert await Reads(raw).ignored(SITE.id, DAY) == {"bot": 2, "prefetch": 1}


# Late batches ---------------------------------------------------------------------------------------------------------


async def test_a_batch_of_yesterday_is_counted_there_and_answers_todays_numbers(
    committer: Committer, raw: Redis
) -> None:
    tomorrow = CALENDAR.day_named(DAY.tomorrow)
    now = tomorrow.start_ms + 60 * MINUTE
    await commit(committer, 1, batch_of((now, "Chi", "/a"), day=tomorrow), numbering(now))
    result = await commit(committer, 2, morning(previous=1), numbering(now))
    assert result.online == 1
    found = await Reads(raw).counts(SITE.id, tomorrow, now)
    assert (result.visits, result.views) == (found.visits, found.views)
    assert await raw.hget(keys.visits(SITE.id), DAY.date) == b"2"
    assert await raw.hget(keys.visits(SITE.id), tomorrow.date) == b"1"


async def test_a_hit_of_an_earlier_visit_that_comes_late_is_a_visit_of_its_own(
    redis_url: str, committer: Committer, raw: Redis
) -> None:
    """A worker died with hits in its journal; meanwhile the reader came back: neither visit is lost or doubled."""
    other = Committer(redis_url, WRITER[::-1])
    try:
        await commit(other, 1, batch_of((NOON + 120 * MINUTE, "An", "/a")), numbering(NOON + 120 * MINUTE))
        late = batch_of((NOON, "An", "/a"), (NOON + MINUTE, "An", "/a"), (NOON + 2 * MINUTE, "An", "/b"))
        result = await commit(committer, 1, late, numbering(NOON + 120 * MINUTE))
        assert (result.started, result.slots, result.online) == (1, bytes([24, 24, 24]), 1)
        assert await visits_and_views(raw) == (2, 3)
    finally:
        await other.close()


async def test_a_hit_that_comes_late_within_its_visit_joins_it(
    redis_url: str, committer: Committer, raw: Redis
) -> None:
    other = Committer(redis_url, WRITER[::-1])
    try:
        await commit(other, 1, batch_of((NOON + 5 * MINUTE, "An", "/a")))
        result = await commit(committer, 1, batch_of((NOON, "An", "/a")))
        assert (result.started, await visits_and_views(raw)) == (0, (1, 1))
    finally:
        await other.close()


# Articles -------------------------------------------------------------------------------------------------------------


async def test_beyond_the_cap_articles_are_counted_together(committer: Committer, raw: Redis) -> None:
    small = Site(id=SITE.id, hosts=SITE.hosts, max_articles=2)
    result = await commit(
        committer, 1, batch_of(*[(NOON + n, "An", f"/{n}") for n in range(5)], (NOON + 9, "An", "/0"), site=small)
    )
    assert result.articles == (1, 1, -1, -1, -1)
    again = await commit(
        committer, 1, batch_of(*[(NOON + n, "An", f"/{n}") for n in range(5)], (NOON + 9, "An", "/0"), site=small)
    )
    assert (again.fresh, again.articles) == (False, result.articles)
    rows = await Reads(raw).top(SITE.id, DAY, "all", 10)
    assert {row.entry.key: row.views for row in rows} == {OTHER: 3, "/0": 1, "/1": 1}
    assert await raw.hkeys(keys.names(SITE.id)) == [article_id("/0"), article_id("/1"), OTHER_ID]
    for period in ("day", "week", "month"):
        assert {row.entry.key: row.views for row in await Reads(raw).top(SITE.id, DAY, period, 10)}[OTHER] == 3


@pytest.mark.parametrize("first", [0, 1])
async def test_other_takes_no_place_within_a_batch_either(committer: Committer, raw: Redis, first: int) -> None:
    """A minute that is full sends it as an article, before or after it is known."""
    small = Site(id=SITE.id, hosts=SITE.hosts, max_articles=2)
    if first:
        await commit(committer, 1, batch_of((NOON, "An", OTHER), site=small))
    read = [(NOON, "Bình", article) for article in (OTHER, "/a", "/b", "/c")]
    result = await commit(committer, 2, batch_of(*read, site=small, previous=first))
    assert (result.articles, result.nameless) == ((2 + first, 1, 1, -1), ())
    assert await Reads(raw).article_count(SITE.id) == 2
    assert [entry for entry in await raw.hkeys(keys.names(SITE.id)) if entry == OTHER_ID] == [OTHER_ID]


async def test_an_article_that_has_its_place_keeps_it_when_the_cap_is_reached(committer: Committer) -> None:
    small = Site(id=SITE.id, hosts=SITE.hosts, max_articles=1)
    await commit(committer, 1, batch_of((NOON, "An", "/a"), site=small))
    result = await commit(committer, 2, batch_of((NOON, "Bình", "/b"), (NOON, "Bình", "/a"), site=small, previous=1))
    assert result.articles == (-1, 2)


async def test_an_article_without_a_name_is_counted_and_asked_for(committer: Committer, raw: Redis) -> None:
    waiting = Gathering(SITE, DAY)
    gather(waiting, NOON, "An", "/a", named=True)
    gather(waiting, NOON, "An", "/b", named=False)
    result = await commit(committer, 1, waiting.close(0, NOON))
    assert (result.articles, result.nameless) == ((1, 1), (1,))
    waiting = Gathering(SITE, DAY)
    gather(waiting, NOON, "Bình", "/b", named=True)
    result = await commit(committer, 2, waiting.close(1, NOON))
    assert (result.articles, result.nameless) == ((2,), ())
    assert {row.entry.key: row.views for row in await Reads(raw).top(SITE.id, DAY, "all", 9)} == {"/a": 1, "/b": 2}


async def test_a_name_is_renewed_by_what_a_later_beacon_says(committer: Committer, raw: Redis) -> None:
    for sequence, entry in enumerate(
        [Entry("/a", "First", author="An"), Entry("/a", "Second"), Entry("/a", "", category="Xã hội")], 1
    ):
        waiting = Gathering(SITE, DAY)
        waiting.add(NOON, b"token--1", b"token--1", b"", b"", article_id("/a"), encode(entry))
        await commit(committer, sequence, waiting.close(sequence - 1, NOON))
    kept = await raw.hget(keys.names(SITE.id), article_id("/a"))
    assert decode(kept) == Entry("/a", "Second", author="An", category="Xã hội")  # type: ignore[arg-type]


async def test_a_damaged_name_is_replaced_and_does_not_block_its_site(committer: Committer, raw: Redis) -> None:
    await raw.hset(keys.names(SITE.id), article_id("/a"), b"\xc1damaged")
    assert (await commit(committer, 1, morning())).fresh
    assert decode(await raw.hget(keys.names(SITE.id), article_id("/a"))).key == "/a"  # type: ignore[arg-type]


# The connection -------------------------------------------------------------------------------------------------------


async def test_a_server_that_forgot_the_scripts_is_told_them_again(committer: Committer, raw: Redis) -> None:
    await commit(committer, 1, morning())
    await raw.script_flush()
    assert (await commit(committer, 2, morning(previous=1))).fresh
    await raw.script_flush()
    await beat(committer, SITE, CALENDAR, NOON + MINUTE, ["An"])
    assert (await Reads(raw).counts(SITE.id, DAY, NOON + MINUTE + 299_999)).online == 1


async def test_a_server_that_is_away_is_said_and_found_again(start_store: StartStore, tmp_path: Path) -> None:
    store = start_store(tmp_path)
    committer = Committer(store.url, WRITER)
    try:
        await commit(committer, 1, morning())
        store.stop()
        for _ in range(2):
            with pytest.raises(StoreUnavailable, match="does not answer"):
                await commit_one(committer, 2, morning(previous=1))
        start_store(tmp_path)
        result = await commit(committer, 2, morning(previous=1))
        assert (result.fresh, result.started) == (True, 0)
    finally:
        await committer.close()


async def test_a_connection_that_is_cut_is_opened_again(committer: Committer, raw: Redis) -> None:
    await commit(committer, 1, morning())
    await raw.client_kill_filter(_type="normal", skipme=True)
    with pytest.raises(StoreUnavailable):
        await commit_one(committer, 2, morning(previous=1))
    assert (await commit(committer, 2, morning(previous=1))).fresh


async def test_a_replica_that_was_the_primary_is_left(committer: Committer, raw: Redis) -> None:
    """After a failover the old connection leads to a replica, which refuses writes for as long as one asks."""
    await commit(committer, 1, morning())
    await raw.replicaof("127.0.0.1", 1)
    try:
        with pytest.raises(StoreUnavailable, match="read-only"):
            await commit_one(committer, 2, morning(previous=1))
        assert not committer._line._connection.is_connected
    finally:
        await raw.replicaof("NO", "ONE")
    assert (await commit(committer, 2, morning(previous=1))).fresh


async def test_a_server_without_memory_refuses_a_batch_whole(start_store: StartStore) -> None:
    store = start_store()
    committer = Committer(store.url, WRITER)
    async with Redis.from_url(store.url) as raw:
        try:
            await commit(committer, 1, morning())
            await raw.config_set("maxmemory", 1)
            before = sorted(await raw.keys())
            result = await commit_one(committer, 2, morning(previous=1))
            assert isinstance(result, Refused)
            assert "maxmemory" in result.error
            assert (sorted(await raw.keys()), await visits_and_views(raw)) == (before, (2, 3))
            await raw.config_set("maxmemory", 0)
            assert (await commit(committer, 2, morning(previous=1))).fresh
        finally:
            await committer.close()
