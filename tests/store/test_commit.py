"""A batch is applied exactly once, whatever is lost on the way: the ledger's watermarks see to it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from tests.store.oracle import OTHER
from tests.store.script_keys import contents, counted, mark
from tests.store.writing import (
    CALENDAR,
    DAY,
    MINUTE,
    NOON,
    SITE,
    WRITER,
    Writer,
    batch_of,
    beats,
    commit,
    commit_one,
    gather,
    numbering,
)
from visitstats.core.batch import OTHER_ID, Batch, Gathering
from visitstats.core.entries import Entry, decode, encode
from visitstats.core.keys import article_id
from visitstats.core.numbers import counters_of
from visitstats.core.sites import Site
from visitstats.store import keys
from visitstats.store.commit import OTHER as CAPPED
from visitstats.store.commit import Committed, Committer, Gap, Refused, Work
from visitstats.store.reads import Reads

OTHER_SITE = Site(id="another", hosts=("another.vn",))
OTHER_WRITER = WRITER[::-1]


@pytest_asyncio.fixture
async def committer(redis_url: str) -> AsyncIterator[Committer]:
    committer = Committer(redis_url)
    yield committer
    await committer.close()


def morning(previous: int = 0) -> Batch:
    """An reads /a twice and /b, Bình reads /a: two visits, three views."""
    return batch_of((NOON, "An", "/a"), (NOON + 1, "Bình", "/a"), (NOON + 2, "An", "/b"), (NOON + 3, "An", "/a"),
                    previous=previous)  # fmt: skip


async def top(raw: Redis, day: str = "") -> dict[str, int]:
    """Views by article's key, on a day or of all time."""
    reads = Reads(raw)
    found = {article: n async for page in reads.scan_views(SITE.id, day) for article, n in page}
    entries = await reads.entries(SITE.id, list(found))
    return {entry.key: n for entry, n in zip(entries, found.values(), strict=True)}


# Exactly once ---------------------------------------------------------------------------------------------------------


async def test_a_fresh_batch_answers_what_it_changed(committer: Committer) -> None:
    result = await commit(committer, 5, morning())
    assert (result.fresh, result.started, result.online, result.articles) == (True, 2, 2, (2, 1))
    assert (result.added, result.nameless, result.duplicates) == ((2, 1), (), bytes(4))
    assert dict(zip(counters_of(DAY), result.counts, strict=True))[DAY.date] == 2


async def test_a_batch_that_is_sent_again_changes_nothing_and_answers_the_numbers_as_they_are(
    committer: Committer, raw: Redis
) -> None:
    first = await commit(committer, 5, morning())
    before = await contents(raw)
    for _ in range(3):
        again = await commit(committer, 5, morning())
        assert not again.fresh
        assert (again.articles, again.online, again.counts) == (first.articles, first.online, first.counts)
        assert (again.started, again.added, again.duplicates) == (0, (0, 0), b"")
    assert await contents(raw) == before
    await commit(committer, 6, batch_of((NOON + 4, "Chi", "/b"), previous=5))
    assert (await commit(committer, 5, morning())).articles == (2, 2)
    assert await counted(raw) == (3, 4)


async def test_a_missing_batch_before_this_one_is_told_and_nothing_is_written(committer: Committer, raw: Redis) -> None:
    await commit(committer, 5, morning())
    before = await contents(raw)
    assert await commit_one(committer, 9, morning(previous=7)) == Gap(5)
    assert await contents(raw) == before
    assert isinstance(await commit_one(committer, 7, morning(previous=5)), Committed)
    assert isinstance(await commit_one(committer, 9, morning(previous=7)), Committed)


async def test_of_several_batches_behind_a_missing_one_none_is_applied(committer: Committer, raw: Redis) -> None:
    """In one round trip: a batch must not pass for the predecessor of the next when it was not taken itself."""
    work = [Work(WRITER, n, n - 1, morning(n - 1), numbering()) for n in (1, 3, 4)]
    first, *rest = await committer.commit(work)
    assert isinstance(first, Committed)
    assert rest == [Gap(1), Gap(1)]
    assert (await counted(raw), await mark(raw)) == ((2, 3), b"1:4")


async def test_sequences_and_totals_beyond_32_bits_and_up_to_2_to_the_53_are_exact(
    committer: Committer, raw: Redis
) -> None:
    """Lua counts in doubles: a rounded watermark would swallow a batch or count it twice."""
    start = 2**53 - 3
    await commit(committer, start, batch_of((NOON, "An", "/a"), total=start))
    assert await mark(raw) == b"%d:%d" % (start, start + 1)
    assert (await commit(committer, start + 1, morning(previous=start))).fresh
    assert not (await commit(committer, start + 1, morning(previous=start))).fresh
    assert await commit_one(committer, start + 3, morning(previous=start + 2)) == Gap(start + 1)


async def test_counts_up_to_2_to_the_53_are_exact(committer: Committer, raw: Redis) -> None:
    for name, field in (keys.count_at(SITE.id, "visits", "all"), (keys.articles(SITE.id), article_id("/a"))):
        await raw.hset(name, field, 2**53 - 3)
    result = await commit(committer, 1, morning())
    assert (result.articles[0], result.counts[-2]) == (2**53 - 1, 2**53 - 1)


async def test_two_writers_have_watermarks_of_their_own(committer: Committer, raw: Redis) -> None:
    await commit(committer, 5, morning())
    result = await commit(committer, 5, morning(), writer=OTHER_WRITER)
    assert (result.fresh, result.started, result.added) == (True, 0, (0, 0))
    assert (await mark(raw), await mark(raw, OTHER_WRITER)) == (b"5:4", b"5:4")
    assert await counted(raw) == (2, 3)


async def test_sites_are_committed_together_and_one_that_fails_does_not_harm_the_others(
    committer: Committer, raw: Redis
) -> None:
    await raw.set(keys.counts(SITE.id), "not what it should be")
    theirs = batch_of((NOON, "An", "/a"), site=OTHER_SITE)
    third = Site(id="third", hosts=("t.vn",))
    bad, gap, good = await committer.commit(
        [
            Work(WRITER, 5, 0, morning(), numbering()),
            Work(WRITER, 7, 6, batch_of((NOON, "An", "/a"), site=third, previous=6), numbering()),
            Work(WRITER, 6, 0, theirs, numbering()),
        ]
    )
    assert isinstance(bad, Refused)
    assert "WRONGTYPE" in bad.error
    assert gap == Gap(0)
    assert isinstance(good, Committed)
    assert await raw.hget(*keys.count_at(OTHER_SITE.id, "views", "all")) == b"1"


async def test_a_damaged_count_of_another_day_stops_its_site_alone(committer: Committer, raw: Redis) -> None:
    """The batch does not touch it, but its answer has it: the box must not show a number that nobody knows."""
    await raw.hset(*keys.count_at(SITE.id, "visits", DAY.week[0]), "many")
    work = [
        Work(WRITER, 1, 0, morning(), numbering()),
        Work(WRITER, 2, 0, batch_of((NOON, "An", "/a"), site=OTHER_SITE), numbering()),
    ]
    for fresh in (True, False):
        bad, good = await committer.commit(work)
        assert isinstance(bad, Refused)
        assert "no number" in bad.error
        assert isinstance(good, Committed)
        assert good.fresh == fresh
    await raw.hdel(*keys.count_at(SITE.id, "visits", DAY.week[0]))
    assert (await commit(committer, 1, morning())).counts[-2] == 2
    assert await counted(raw) == (2, 3)


async def test_duplicates_are_told_in_their_places_among_heartbeats(committer: Committer, raw: Redis) -> None:
    waiting = Gathering(SITE, DAY)
    for n in range(3):
        gather(waiting, NOON + n, "An", "/a", "the same")
        beats(waiting, NOON + n, "An")
    result = await commit(committer, 1, waiting.close(0, 0, NOON))
    assert result.duplicates == bytes([0, 0, 1, 0, 1, 0])
    assert [result.is_duplicate(place) for place in range(6)] == [False, False, True, False, True, False]
    assert (result.articles, await counted(raw), await mark(raw)) == ((1,), (1, 1), b"1:3")


@pytest.mark.parametrize("minutes", [-29, 0, 29])
async def test_a_beacon_that_comes_twice_counts_once_in_whichever_half_hour(
    committer: Committer, raw: Redis, minutes: int
) -> None:
    """Also when the one that was received first is applied last, and on another page: it is the same beacon."""
    for sequence, (moment, writer) in enumerate([(NOON, WRITER), (NOON + minutes * MINUTE, OTHER_WRITER)], 1):
        waiting = Gathering(SITE, DAY)
        gather(waiting, moment, "An", f"/{sequence}", "the beacon")
        result = await commit(committer, sequence, waiting.close(0, 0, NOON), writer=writer)
        assert result.is_duplicate(0) == (sequence == 2)
    assert await counted(raw) == (1, 1)
    assert await top(raw) == {"/1": 1}


async def test_a_batch_without_hits_carries_the_ignored(committer: Committer, raw: Redis) -> None:
    for n in (1, 2):
        waiting = Gathering(SITE, DAY)
        waiting.ignored = {"bot": 2, "prefetch": 1}
        for _ in range(2):
            result = await commit(committer, n, waiting.close(n - 1, 0, NOON))
            assert (result.duplicates, result.started, result.articles, result.online) == (b"", 0, (), 0)
    assert await Reads(raw).ignored(SITE.id, DAY) == {"bot": 4, "prefetch": 2}


async def test_heartbeats_alone_prolong_and_start_nothing(committer: Committer, raw: Redis) -> None:
    await commit(committer, 1, batch_of((NOON, "An", "/a")))
    for sequence, (moment, person, online) in enumerate(
        [(NOON + 29 * MINUTE, "An", 1), (NOON + 58 * MINUTE, "An", 1), (NOON + 58 * MINUTE, "stranger", 1)], 2
    ):
        waiting = Gathering(SITE, DAY)
        beats(waiting, moment, person)
        result = await commit(committer, sequence, waiting.close(sequence - 1, 1, NOON), numbering(moment))
        assert (result.started, result.online, result.duplicates) == (0, online, b"\0")
    result = await commit(committer, 5, batch_of((NOON + 87 * MINUTE, "An", "/a"), previous=4))
    assert (result.started, result.added) == (0, (0,))
    assert await counted(raw) == (1, 1)


# Late batches ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("box_views", [False, True])
async def test_a_batch_of_yesterday_is_counted_there_and_answers_todays_numbers(
    committer: Committer, raw: Redis, box_views: bool
) -> None:
    tomorrow = CALENDAR.day_named(DAY.tomorrow)
    now = tomorrow.start_ms + 60 * MINUTE
    numbers = numbering(now, box_views=box_views)
    await commit(committer, 1, batch_of((now, "Chi", "/a"), day=tomorrow), numbers)
    result = await commit(committer, 2, morning(previous=1), numbers)
    assert result.online == 1
    found = await Reads(raw).counts(SITE.id, tomorrow, now)
    assert result.counts == (found.views if box_views else found.visits)
    assert await raw.hget(*keys.count_at(SITE.id, "visits", DAY.date)) == b"2"
    assert await raw.hget(*keys.count_at(SITE.id, "visits", tomorrow.date)) == b"1"
    assert (await top(raw, DAY.date), await top(raw, tomorrow.date)) == ({"/a": 2, "/b": 1}, {"/a": 1})


async def test_earlier_visits_that_come_late_are_visits_of_their_own(redis_url: str, raw: Redis) -> None:
    """A worker died with hits in its journal; meanwhile the reader came back: no visit is lost or doubled, and what was
    read in one is not taken for read in another."""
    present, late = Writer(redis_url), Writer(redis_url, writer=OTHER_WRITER)
    now = NOON + 240 * MINUTE

    async def read(writer: Writer, *hits: tuple[int, str]) -> Committed:
        waiting = Gathering(SITE, DAY)
        for moment, article in hits:
            gather(waiting, moment, "An", article)
        return await writer.count(waiting, numbering(now))

    await read(present, (now, "/a"))
    result = await read(late, (NOON, "/a"), (NOON + MINUTE, "/a"), (NOON + 2 * MINUTE, "/b"))
    assert (result.started, result.added, result.online) == (1, (1, 1), 1)
    result = await read(late, (NOON + 90 * MINUTE, "/b"), (NOON + 91 * MINUTE, "/b"))
    assert (result.started, result.added) == (1, (1,))
    assert await counted(raw) == (3, 4)
    result = await read(present, (now + MINUTE, "/a"), (now + MINUTE, "/b"))
    assert (result.started, result.added, await counted(raw)) == (0, (0, 1), (3, 5))
    assert (await Reads(raw).counts(SITE.id, DAY, now + MINUTE)).online == 1
    assert await Reads(raw).uniques(SITE.id, DAY) == 1
    await present.close()
    await late.close()


async def test_what_comes_late_within_its_visit_joins_it(committer: Committer, raw: Redis) -> None:
    """A hit, and a heartbeat: neither sets back when the visitor was last seen."""
    now = NOON + 5 * MINUTE
    await commit(committer, 1, batch_of((now, "An", "/a")), writer=OTHER_WRITER)
    waiting = Gathering(SITE, DAY)
    gather(waiting, NOON, "An", "/a")
    beats(waiting, NOON + MINUTE, "An")
    result = await commit(committer, 1, waiting.close(0, 0, NOON), numbering(now + 299_000))
    assert (result.started, result.online, await counted(raw)) == (0, 1, (1, 1))


# Articles -------------------------------------------------------------------------------------------------------------


async def test_beyond_the_cap_articles_are_counted_together(committer: Committer, raw: Redis) -> None:
    small = Site(id=SITE.id, hosts=SITE.hosts, max_articles=2)
    hits = [*((NOON + n, "An", f"/{n}") for n in range(5)), (NOON + 9, "An", "/0")]
    result = await commit(committer, 1, batch_of(*hits, site=small))
    assert (result.articles, result.added) == ((1, 1, CAPPED, CAPPED, CAPPED), (1, 1, -1, -1, -1))
    again = await commit(committer, 1, batch_of(*hits, site=small))
    assert (again.fresh, again.articles, again.added) == (False, result.articles, (0,) * 5)
    assert await top(raw) == await top(raw, DAY.date) == {OTHER: 3, "/0": 1, "/1": 1}
    assert {*await raw.hkeys(keys.names(SITE.id))} == {article_id("/0"), article_id("/1"), OTHER_ID}
    result = await commit(committer, 2, batch_of((NOON + 10, "Bình", "/4"), site=small, previous=1))
    assert (result.articles, await top(raw)) == ((CAPPED,), {OTHER: 4, "/0": 1, "/1": 1})


@pytest.mark.parametrize("first", [0, 1])
async def test_other_takes_no_place_within_a_batch_either(committer: Committer, raw: Redis, first: int) -> None:
    """A minute that is full sends it as an article, before or after it is known."""
    small = Site(id=SITE.id, hosts=SITE.hosts, max_articles=2)
    if first:
        await commit(committer, 1, batch_of((NOON, "An", OTHER), site=small))
    read = [(NOON, "Bình", article) for article in (OTHER, "/a", "/b", "/c")]
    result = await commit(committer, 2, batch_of(*read, site=small, previous=first))
    assert (result.articles, result.nameless) == ((2 + first, 1, 1, CAPPED), ())
    assert await Reads(raw).article_count(SITE.id) == 2
    assert (await top(raw))[OTHER] == 2 + first


async def test_an_article_that_has_its_place_keeps_it_when_the_cap_is_reached(committer: Committer) -> None:
    small = Site(id=SITE.id, hosts=SITE.hosts, max_articles=1)
    await commit(committer, 1, batch_of((NOON, "An", "/a"), site=small))
    result = await commit(committer, 2, batch_of((NOON, "Bình", "/b"), (NOON, "Bình", "/a"), site=small, previous=1))
    assert result.articles == (CAPPED, 2)


async def test_an_article_that_nobody_read_takes_no_place(committer: Committer, raw: Redis) -> None:
    """A beacon that was delivered before, with another address: it leaves neither a name nor an article."""
    for sequence, article in enumerate(["/a", "/b"], 1):
        waiting = Gathering(SITE, DAY)
        gather(waiting, NOON, "An", article, "the beacon")
        await commit(committer, sequence, waiting.close(sequence - 1, 0, NOON))
    assert await top(raw) == {"/a": 1}
    assert await raw.hkeys(keys.names(SITE.id)) == [article_id("/a")]


async def test_an_article_without_a_name_is_counted_and_asked_for(committer: Committer, raw: Redis) -> None:
    waiting = Gathering(SITE, DAY)
    gather(waiting, NOON, "An", "/a", named=True)
    gather(waiting, NOON, "An", "/b", named=False)
    result = await commit(committer, 1, waiting.close(0, 0, NOON))
    assert (result.articles, result.nameless) == ((1, 1), (1,))
    waiting = Gathering(SITE, DAY)
    gather(waiting, NOON, "Bình", "/b", named=True)
    result = await commit(committer, 2, waiting.close(1, 2, NOON))
    assert (result.articles, result.nameless) == ((2,), ())
    assert await top(raw) == {"/a": 1, "/b": 2}


@pytest.mark.parametrize("damaged", [b"\xc1damaged", b"", b"\x01", b"\x90", b"\xa3abc", encode(Entry("/a")) + b"!"])
async def test_a_damaged_name_is_replaced_and_does_not_block_its_site(
    committer: Committer, raw: Redis, damaged: bytes
) -> None:
    await raw.hset(keys.names(SITE.id), article_id("/a"), damaged)
    assert (await commit(committer, 1, morning())).fresh
    kept: Any = await raw.hget(keys.names(SITE.id), article_id("/a"))
    assert decode(kept) == Entry("/a", "Title of /a", standings="p----")
