"""The commit script counts exactly as the rules say, on a real server: equal after every step, not nearly."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from tests.store.world import WRITERS, ZONE, check_ring, play
from tests.store.writing import CALENDAR, DAY, MINUTE, NOON, SITE, Writer, beats, commit, gather, numbering, token
from visitstats.core import counting
from visitstats.core.batch import Gathering
from visitstats.core.counting import Presence, half_hour_of
from visitstats.core.keys import article_id
from visitstats.core.sites import Site
from visitstats.embedded.process import EmbeddedStore
from visitstats.store import keys
from visitstats.store import line as line_module
from visitstats.store.client import open_client
from visitstats.store.commit import Committed, Committer

PEOPLE = ["An", "Bình", "Chi"]
ARTICLES = ["/một", "/hai", "/ba", "/bốn"]
two_ways = pytest.mark.parametrize("two_steps", [False, True], ids=["at once", "in two steps"])
"""Whether the server is one that needs a batch in two steps (lua/ledger.lua), or not."""

# Every pause that a rule could be wrong about, and "m-1", "m", "m+1": to the next midnight, just before, just after.
pauses = st.one_of(
    st.sampled_from([0, 0, 1, 700, 60_000]),
    st.sampled_from([299_999, 300_000, 300_001, 29 * MINUTE]),
    st.sampled_from([30 * MINUTE + n for n in (-1000, -1, 0, 1, 1000)]),
    st.sampled_from([0, 0, 50 * MINUTE, 5 * 60 * MINUTE, "m-1", "m", "m+1"]),
)
hit = st.tuples(
    st.just("hit"), pauses, st.integers(0, 1), st.sampled_from(PEOPLE), st.sampled_from(ARTICLES), st.booleans()
)
beat = st.tuples(
    st.just("beat"), pauses, st.integers(0, 1), st.lists(st.sampled_from(PEOPLE), min_size=1, max_size=4)
)  # fmt: skip
steps = st.one_of(
    hit,
    hit,
    hit,
    beat,
    st.tuples(st.just("deliver again"), pauses, st.integers(0, 1), st.integers(0, 9)),
    st.tuples(st.just("commit"), st.integers(0, 1)),
    st.tuples(st.just("commit again"), st.integers(0, 1), st.integers(0, 4)),
    st.tuples(st.just("commit too early"), st.integers(0, 1)),
)


NEAR = [0, 1, 700, 60_000, 299_999, 300_000, 300_001, *(30 * MINUTE + n for n in (-1000, -1, 0, 1, 1000)), "m", "m+1"]


def course(chance: random.Random) -> list[tuple[Any, ...]]:
    """People who come again and again, often around midnight: what the rules say of two signs of a person depends on
    the pause between them. Two workers, each of which commits now and then, or once more."""
    found: list[tuple[Any, ...]] = []
    for _ in range(16):
        person = chance.choice(PEOPLE)
        for pause in [chance.choice([1, "m-1"]), *chance.choices(NEAR, k=chance.randrange(1, 4))]:
            writer = chance.randrange(2)
            kind = chance.choice(["hit", "hit", "hit", "beat", "beat", "deliver again"])
            if kind == "hit":
                found.append((kind, pause, writer, person, chance.choice(ARTICLES), chance.random() < 0.5))
            elif kind == "beat":
                found.append((kind, pause, writer, [person, *chance.sample(PEOPLE, k=chance.randrange(2))]))
            else:
                found.append((kind, pause, writer, chance.randrange(9)))
            if chance.random() < 0.6:
                found.append(("commit", writer))
        if chance.random() < 0.2:
            found.append(chance.choice([("commit again", writer, chance.randrange(4)), ("commit too early", writer)]))
    return found


sites = st.builds(
    lambda week_start, box, views, cap: Site(
        id="portal", hosts=("p.vn",), timezone=ZONE, week_start=week_start, box=box, views=views, max_articles=cap
    ),
    st.sampled_from([1, 7]),
    st.sampled_from(["visits", "views"]),
    st.sampled_from(["per-visit", "every-load"]),
    st.sampled_from([1, 2, 100]),
)
PORTAL = Site(id="portal", hosts=("p.vn",), timezone=ZONE)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, server: Path) -> Iterator[EmbeddedStore]:
    """One server for all examples of this file."""
    with EmbeddedStore.start(tmp_path_factory.mktemp("scripts"), server=server) as running:
        yield running


@two_ways
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(sites, st.lists(steps, min_size=10, max_size=30), st.booleans())
@example(
    # A reader of last night whose beacon is delivered again today is online once, and not away.
    PORTAL,
    [("hit", "m-1", 0, "An", "/một", True), ("commit", 0), ("deliver again", 700, 0, 0), ("commit", 0)],
    False,
)
@example(
    # Over midnight by a hit: online once, and not under both days' tokens.
    PORTAL,
    [("hit", "m-1", 0, "An", "/một", True), ("hit", 700, 0, "An", "/một", True), ("commit", 0)],
    False,
)
@example(
    # Two workers at the end of a half hour: who gathered first commits last, with a beacon that the other took.
    PORTAL,
    [
        ("hit", 30 * MINUTE - 1, 0, "Bình", "/một", True),
        ("hit", 1, 1, "An", "/một", True),
        ("commit", 1),
        ("deliver again", 1, 0, 1),
        ("commit", 0),
    ],
    False,
)
@example(
    # Over midnight by heartbeats alone, then a hit: online all the time, and a visit of the new day with the hit only.
    PORTAL,
    [
        ("hit", "m-1", 0, "An", "/một", True),
        *[("beat", pause, 0, ["An"]) for pause in (4 * MINUTE, 20 * MINUTE, 30 * MINUTE, 30 * MINUTE)],
        ("hit", 30 * MINUTE, 1, "An", "/một", True),
    ],
    False,
)
@example(
    # One batch of a whole day, heartbeats between the hits: the order within the batch decides.
    PORTAL,
    [
        ("hit", 0, 0, "An", "/một", False),
        *[("beat", 30 * MINUTE, 0, ["An"])] * 3,
        ("hit", 30 * MINUTE, 0, "An", "/một", False),
        ("beat", 30 * MINUTE + 1, 0, ["An"]),
        ("hit", 1, 0, "An", "/một", False),
    ],
    True,
)
def test_every_count_equals_the_oracles_after_every_step(
    store: EmbeddedStore, two_steps: bool, site: Site, several: list[tuple[Any, ...]], long_batches: bool
) -> None:
    """Visits, views, articles, unique visitors, who is online to the second, what each batch is answered."""
    with patch.object(line_module, "executes_cut_transactions", lambda info: two_steps):
        asyncio.run(play(store.url, site, several, long_batches=long_batches))


@two_ways
@pytest.mark.parametrize("seed", range(16))
def test_every_count_equals_the_oracles_for_those_who_come_again(
    store: EmbeddedStore, two_steps: bool, seed: int
) -> None:
    """The same with long courses of the same few people. (Hypothesis repeats itself too much in these.)"""
    chance = random.Random(seed)
    site = Site(
        id="portal",
        hosts=("p.vn",),
        timezone=ZONE,
        week_start=chance.choice([1, 7]),
        box=chance.choice(["visits", "views"]),
        views=chance.choice(["per-visit", "every-load"]),
        max_articles=chance.choice([1, 2, 100]),
    )
    with patch.object(line_module, "executes_cut_transactions", lambda info: two_steps):
        asyncio.run(play(store.url, site, course(chance), long_batches=seed % 4 == 3))


# One visitor ----------------------------------------------------------------------------------------------------------

signs = st.lists(
    st.tuples(
        st.sampled_from([0, 1, 60_000, 30 * MINUTE - 1, 30 * MINUTE, 30 * MINUTE + 1, 3 * 60 * MINUTE]),
        st.sampled_from([*ARTICLES[:2], ""]),
    ),
    min_size=1,
    max_size=20,
)
"""Pauses of one visitor, and what ends each: a hit on an article, or a heartbeat."""


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(signs, st.booleans())
def test_one_visitor_is_what_presence_says(
    store: EmbeddedStore, several: list[tuple[int, str]], together: bool
) -> None:
    """`core.counting.Presence` is the rule in Python, lua/commit the same on the server; in a batch or in many."""
    asyncio.run(one_visitor(store.url, several, together=together))


async def one_visitor(url: str, several: list[tuple[int, str]], *, together: bool) -> None:
    writer, client = Writer(url), open_client(url)
    mine = token(SITE, DAY.date, "An")
    try:
        await client.flushall()
        now, presence, started, added = DAY.start_ms + 3 * MINUTE, None, 0, 0
        waiting = Gathering(SITE, DAY)
        for pause, article in several:
            now += pause
            if now >= DAY.end_ms:
                break
            if article:
                gather(waiting, now, "An", article)
                presence, begins, views = expected(presence, now, counting.reading(mine, article_id(article)))
                started, added = started + begins, added + views
            else:
                beats(waiting, now, "An")
                if presence is not None and now - presence.last_ms <= counting.VISIT_GAP_MS:
                    presence = Presence(now, presence.half_hour, presence.read)
            if not together:
                result = await writer.count(waiting, numbering(now))
                assert (result.started, sum(result.added)) == (started, added)
                waiting, started, added = Gathering(SITE, DAY), 0, 0
                assert await stored(client, mine) == presence
        if together:
            result = await writer.count(waiting, numbering(now))
            assert (result.started, sum(result.added)) == (started, added)
            assert await stored(client, mine) == presence
    finally:
        await writer.close()
        await client.aclose()


def expected(before: Presence | None, now: int, reading: bytes) -> tuple[Presence, bool, bool]:
    """The presence after a hit, whether a visit began, and whether the article was new in it."""
    presence, begins = (Presence(now, half_hour_of(DAY, now)), True) if before is None else before.hit(DAY, now)
    if presence.has_read(reading):
        return presence, begins, False
    return (
        Presence(presence.last_ms, presence.half_hour, (*presence.read, (presence.half_hour, reading))), begins, True,
    )  # fmt: skip


async def stored(client: Redis, mine: bytes) -> Presence | None:
    found: Any = await client.hget(keys.seen(SITE.id, DAY.date), mine)
    return None if found is None else counting.decode_presence(found)


# Who is online --------------------------------------------------------------------------------------------------------


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.lists(
            st.tuples(st.integers(0, 1200), st.sampled_from(["An", "Bình", "Chi", "Dũng", "Én"]), st.booleans()),
            min_size=1,
            max_size=8,
        ),
        min_size=1,
        max_size=12,
    ),
    st.sampled_from([NOON, DAY.start_ms + 1000, CALENDAR.day_named(DAY.tomorrow).start_ms - 600_000]),
)
@example([[(600, "An", True)], [(600 - counting.RING, "Bình", True)], [(600, "Bình", True)]], NOON)
@example([[(0, "An", True), (counting.RING, "Bình", True), (2 * counting.RING, "Chi", True)]], NOON)
def test_the_ring_of_seconds_is_a_recount_of_all_presences(
    store: EmbeddedStore, batches: list[list[tuple[int, str, bool]]], start: int
) -> None:
    """Batches of two workers in any order, also such as are minutes late; over midnight; hits and heartbeats."""
    asyncio.run(ring_after(store.url, batches, start))


async def ring_after(url: str, batches: list[list[tuple[int, str, bool]]], start: int) -> None:
    writers, client = [Writer(url, writer=name) for name in WRITERS], open_client(url)
    latest = start
    try:
        await client.flushall()
        for number, events in enumerate(batches):
            by_day: dict[str, Gathering] = {}
            for second, person, is_hit in sorted(events):
                moment = start + 1000 * second
                latest = max(latest, moment)
                day = CALENDAR.day_at(moment)
                waiting = by_day.setdefault(day.date, Gathering(SITE, day))
                if is_hit:
                    gather(waiting, moment, person)
                else:
                    beats(waiting, moment, person)
            for waiting in by_day.values():
                await writers[number % 2].count(waiting, numbering(latest))
                await check_ring(client, SITE.id, latest)
    finally:
        for writer in writers:
            await writer.close()
        await client.aclose()


@pytest.mark.parametrize("minutes", [20, 60, 7 * 60])
async def test_a_clock_that_was_ahead_is_forgotten_when_it_is_right(redis_url: str, raw: Redis, minutes: int) -> None:
    """A machine starts with its clock in another zone, until that is put right. Nobody is taken off the site by that;
    but who comes then is online at once, who stays is so once, and who has left is gone when others have come for as
    long as the ring of seconds is."""
    writer, people = Writer(redis_url), [f"person {n}" for n in range(8)]
    for second in range(counting.RING + 1):  # every second of the ring
        await come(writer, [(NOON + minutes * MINUTE + 1000 * second, people[second % 8])])
    visits = int(await raw.hget(*keys.count_at(SITE.id, "visits", "all")) or 0)
    now = NOON + 10 * MINUTE
    for person, online in (("new", 9), (people[0], 9), ("another", 10), (people[1], 10), ("new", 10)):
        now += 1000
        result = await come(writer, [(now, person)])
        assert result.online == online, person
    waiting = Gathering(SITE, DAY)
    beats(waiting, now := now + 1000, people[0])
    assert (await writer.count(waiting, numbering(now))).online == 10
    for _ in range(counting.RING):
        now += 1000
        result = await come(writer, [(now, "who stays")])
    assert result.online == 1
    await check_ring(raw, SITE.id, now)
    assert await raw.hget(*keys.count_at(SITE.id, "visits", "all")) == b"%d" % (visits + 3)
    await writer.close()


async def come(writer: Writer, signs: list[tuple[int, str]]) -> Committed:
    """People read the first page, and the clock says that it is the moment of the last of them."""
    waiting = Gathering(SITE, DAY)
    for moment, person in signs:
        gather(waiting, moment, person)
    return await writer.count(waiting, numbering(signs[-1][0]))


@two_ways
async def test_a_batch_as_large_as_they_come_is_taken(redis_url: str, two_steps: bool) -> None:
    """`batch_max_hits` is 1000 at most; every hit a visitor, an article, a hit id and a title of its own; as many
    heartbeats beside them."""
    waiting = Gathering(SITE, DAY)
    for n in range(1000):
        gather(waiting, DAY.start_ms + n, f"person {n}", f"/{n}", f"id {n}")
        beats(waiting, DAY.start_ms + n, f"person {n}")
    with patch.object(line_module, "executes_cut_transactions", lambda info: two_steps):
        committer = Committer(redis_url)
        result = await commit(committer, 1, waiting.close(0, 0, DAY.start_ms), numbering(DAY.start_ms + 1000))
        await committer.close()
    assert (result.started, result.online, set(result.articles), result.nameless) == (1000, 1000, {1}, ())
