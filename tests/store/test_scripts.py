"""The commit scripts count exactly as the rules say, on a real server: equal after every step, not nearly."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from tests.store.world import WRITERS, ZONE, play
from tests.store.writing import (
    CALENDAR,
    DAY,
    MINUTE,
    SITE,
    batch_of,
    beat,
    commit,
    commit_one,
    gather,
    names_in,
    numbering,
    token,
)
from visitstats.core.batch import Batch, Gathering
from visitstats.core.counting import Presence, slot_of
from visitstats.core.errors import StoreUnavailable
from visitstats.core.sites import Site
from visitstats.embedded.process import EmbeddedStore
from visitstats.store import client as client_module
from visitstats.store import keys
from visitstats.store.client import open_client
from visitstats.store.commit import Committer, Refused, Work, load_scripts

PEOPLE = ["An", "Bình"]
ARTICLES = ["/một", "/hai", "/ba", "/bốn"]
BEFORE = CALENDAR.day_named(DAY.yesterday)
READS = {
    "HGET",
    "HMGET",
    "HLEN",
    "ZMSCORE",
    "ZSCORE",
    "ZCARD",
    "ZCOUNT",
    "SMISMEMBER",
    "EXISTS",
    "EXPIRETIME",
    "GETRANGE",
    "HEXISTS",
}

# Every pause that a rule could be wrong about, and "m-1", "m", "m+1": to the next midnight, just before, just after.
pauses = st.one_of(
    st.sampled_from([0, 0, 1, 700, 60_000]),
    st.sampled_from([299_999, 300_000, 300_001, 29 * MINUTE, 30 * MINUTE - 1, 30 * MINUTE, 30 * MINUTE + 1]),
    st.sampled_from([0, 0, 50 * MINUTE, 5 * 60 * MINUTE, "m-1", "m", "m+1"]),
)
hit = st.tuples(
    st.just("hit"), pauses, st.integers(0, 1), st.sampled_from(PEOPLE), st.sampled_from(ARTICLES), st.booleans()
)
steps = st.one_of(
    hit,
    hit,
    hit,
    st.tuples(st.just("deliver again"), pauses, st.integers(0, 1), st.integers(0, 9)),
    st.tuples(st.just("beat"), pauses, st.lists(st.sampled_from(PEOPLE), min_size=1, unique=True)),
    st.tuples(st.just("commit"), st.integers(0, 1)),
    st.tuples(st.just("commit again"), st.integers(0, 1), st.integers(0, 4)),
    st.tuples(st.just("commit too early"), st.integers(0, 1)),
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, server: Path) -> Iterator[EmbeddedStore]:
    """One server for all examples of this file."""
    with EmbeddedStore.start(tmp_path_factory.mktemp("scripts"), server=server) as running:
        yield running


class Servers(dict[Path, EmbeddedStore]):
    """A server of each program, started when it is first asked for."""

    def __init__(self, folders: pytest.TempPathFactory) -> None:
        super().__init__()
        self._folders = folders

    def __missing__(self, program: Path) -> EmbeddedStore:
        self[program] = EmbeddedStore.start(self._folders.mktemp("server"), server=program)
        return self[program]


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    running = Servers(tmp_path_factory)
    yield running
    for each in running.values():
        each.stop()


sites = st.builds(
    lambda week_start, views, cap: Site(
        id="portal", hosts=("p.vn",), timezone=ZONE, week_start=week_start, views=views, max_articles=cap
    ),
    st.sampled_from([1, 7]),
    st.sampled_from(["per-visit", "every-load"]),
    st.sampled_from([1, 2, 100]),
)


@pytest.mark.parametrize("two_steps", [False, True], ids=["at once", "in two steps"])
@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(sites, st.lists(steps, min_size=25, max_size=50), st.booleans())
@example(
    # A reader of last night whose beacon is delivered again today is online once, and not away.
    Site(id="portal", hosts=("p.vn",), timezone=ZONE),
    [("hit", "m-1", 0, "An", "/một", True), ("commit", 0), ("deliver again", 700, 0, 0), ("commit", 0)],
    False,
)
@example(
    # Two workers at the end of a half hour: who gathered first commits last, with a beacon that the other took.
    Site(id="portal", hosts=("p.vn",), timezone=ZONE),
    [
        ("hit", 30 * MINUTE - 1, 0, "Bình", "/một", True),
        ("hit", 1, 1, "An", "/một", True),
        ("commit", 1),
        ("deliver again", 1, 0, 1),
        ("commit", 0),
    ],
    False,
)
def test_every_count_equals_the_oracles_after_every_step(
    store: EmbeddedStore, two_steps: bool, site: Site, several: list[tuple[Any, ...]], long_batches: bool
) -> None:
    """Whether the server is one that needs a batch in two steps (lua/ledger.lua), or not."""
    with patch.object(client_module, "executes_cut_transactions", lambda info: two_steps):
        asyncio.run(play(store.url, site, several, long_batches=long_batches))


def presence_steps() -> st.SearchStrategy[list[tuple[int, bool]]]:
    """Pauses of one visitor, and whether a hit or a heartbeat ends each."""
    near = st.sampled_from([0, 1, 60_000, 30 * MINUTE - 1, 30 * MINUTE, 30 * MINUTE + 1, 3 * 60 * MINUTE])
    return st.lists(st.tuples(near, st.booleans()), min_size=1, max_size=20)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(presence_steps())
def test_one_visitor_is_what_presence_says(store: EmbeddedStore, several: list[tuple[int, bool]]) -> None:
    """`core.counting.Presence` is the rule in Python, audience.lua and alive.lua the same on the server."""
    asyncio.run(one_visitor(store.url, several))


async def one_visitor(url: str, several: list[tuple[int, bool]]) -> None:
    committer, client = Committer(url, WRITERS[0]), open_client(url)
    try:
        await client.flushall()
        day = DAY
        now = day.start_ms + 3 * MINUTE
        presence: Presence | None = None
        for sequence, (pause, is_hit) in enumerate(several, 1):
            now += pause
            if now >= day.end_ms:
                break
            if is_hit:
                result = await commit(committer, sequence, batch_of((now, "An", "/a")), numbering(now))
                if presence is None:
                    presence, started = Presence(now, slot_of(day, now)), True
                else:
                    presence, started = presence.hit(day, now)
                assert (result.started, result.slots) == (started, bytes([presence.slot]))
                assert result.online == presence.online(now) == 1
            else:
                await beat(committer, SITE, CALENDAR, now, ["An"])
                presence = presence and presence.heartbeat(now)
            score = await client.zscore(keys.seen(SITE.id, day.date, day.end_ms).name, token(SITE, day.date, "An"))
            assert score == (presence and presence.score)
    finally:
        await committer.close()
        await client.aclose()


# What a script refuses ------------------------------------------------------------------------------------------------


def full_batch(*, named: bool = True) -> Batch:
    """It needs every key of both scripts: hit ids, a reader of yesterday, an article beyond the cap, a bot."""
    waiting = Gathering(Site(id=SITE.id, hosts=SITE.hosts, max_articles=2), DAY)
    for n, (person, article) in enumerate([("An", "/a"), ("An", "/b"), ("Bình", "/a"), ("Chi", "/new"), ("An", "/a")]):
        gather(waiting, DAY.start_ms + n, person, article, f"id {n % 4}", named=named)
    waiting.ignored["bot"] = 1
    return waiting.close(0, DAY.start_ms)


async def contents(client: Redis) -> dict[str, tuple[Any, ...]]:
    """Everything in the store: keys with their types, values and moments of expiry."""
    readers: dict[str, Callable[[str], Any]] = {
        "string": client.get,
        "hash": client.hgetall,
        "set": client.smembers,
        "zset": lambda name: client.zrange(name, 0, -1, withscores=True),
    }
    found = {}
    for name in await names_in(client):
        kind: Any = await client.type(name)
        found[name] = (kind, await readers[kind.decode()](name), await client.pexpiretime(name))
    return found


class Recorder:
    """Stands in for the connection and notes the keys of each script."""

    def __init__(self, committer: Committer) -> None:
        self.calls: dict[str, list[str]] = {}
        self._line = committer._line
        committer._line = self  # type: ignore[assignment]

    async def ready(self) -> int:
        return await self._line.ready()

    @property
    def two_steps(self) -> bool:
        return self._line.two_steps

    async def run(self, calls: list[Any]) -> list[Any]:
        for name, script_keys, _ in calls:
            self.calls[name] = script_keys
        return await self._line.run(calls)

    async def close(self) -> None:
        await self._line.close()


@pytest.fixture
async def real(every_server: Path, servers: dict[Path, EmbeddedStore]) -> AsyncIterator[tuple[Committer, Redis]]:
    """A committer and a plain client on an empty store, on each server program that this machine has."""
    url = servers[every_server].url
    committer, client = Committer(url, WRITERS[0]), open_client(url)
    await client.flushall()
    yield committer, client
    await committer.close()
    await client.aclose()


@pytest.mark.parametrize("named", [True, False])
async def test_a_key_of_another_type_is_refused_before_anything_is_written(
    real: tuple[Committer, Redis], named: bool
) -> None:
    """What was half executed could not be told from the whole: each key of both scripts in turn has a wrong type."""
    committer, client = real
    recorder = Recorder(committer)
    batch = full_batch(named=named)
    late = numbering(DAY.end_ms + 25 * 60 * MINUTE)  # so that today's keys are others than those of the batch's day
    await commit(committer, 1, batch, late)
    assert {name: len(set(recorder.calls[name])) for name in recorder.calls} == {"audience": 20, "articles": 11}
    for name, script_keys in list(recorder.calls.items()):
        for wrong in script_keys:
            await client.flushall()
            await commit(committer, 1, batch_of((DAY.start_ms - 1000, "An", "/a"), day=BEFORE), late)
            if name == "articles":  # the audience ledger is in order, and may have the batch
                [reply] = await committer._run([committer._audience(Work(2, 1, batch, late))])
                assert reply[0] == b"ok"
            await client.delete(wrong)
            if wrong.endswith(":redo"):
                await client.hset(wrong, "not", "what it should be")
            else:
                await client.set(wrong, "not what it should be")
            before = await contents(client)
            for _ in range(2):
                result = await commit_one(committer, 2, batch, late)
                assert isinstance(result, Refused), (name, wrong)
                assert "WRONGTYPE" in result.error
                assert await contents(client) == before, (name, wrong)
            await client.delete(wrong)
            assert (await commit(committer, 2, batch, late)).fresh, (name, wrong)


async def test_heartbeats_are_refused_before_anything_is_written(real: tuple[Committer, Redis]) -> None:
    committer, client = real
    seen = keys.seen(SITE.id, DAY.date, DAY.end_ms).name
    await commit(committer, 1, batch_of((DAY.start_ms - 1000, "An", "/a"), day=BEFORE), numbering(DAY.start_ms - 1000))
    await client.set(seen, "not what it should be")
    before = await contents(client)
    with pytest.raises(StoreUnavailable, match="WRONGTYPE"):
        await beat(committer, SITE, CALENDAR, DAY.start_ms + 1, ["An"])
    assert await contents(client) == before


def test_scripts_write_absolute_values_only() -> None:
    """A log cut inside a transaction is executed twice by some servers: an increment would then count twice."""
    for name, source in load_scripts().items():
        text = source.decode()
        assert text.startswith("#!lua\n"), name  # so that out-of-memory refuses the whole script
        ledger, own = text.split("-- Input\n")
        assert re.findall(r"redis\.p?call\(('[A-Z]+')?", ledger) == ["'GET'", "", "'DEL'", "", "'SET'"]
        writes = set(re.findall(r"write\('([A-Z]+)'", own))
        if name == "alive":
            assert set(re.findall(r"redis\.call\('([A-Z]+)'", own)) == {"ZMSCORE", "ZADD", "EXPIREAT"}
            assert not writes
        else:
            assert set(re.findall(r"redis\.call\('([A-Z]+)'", own)) <= READS, name
            assert writes <= {"HSET", "ZADD", "SADD", "PFADD", "EXPIREAT", "EXPIRE", "HDEL", "ZREM"}, name
            assert ("HDEL" in writes) == (name == "undo"), "only an undo takes anything away"
            assert own.count("written()") == 1
            assert own.rindex("write(") < own.index("written()")
        assert len(re.findall(r"redis\.p?call\(", own)) == len(re.findall(r"redis\.call\('[A-Z]+'", own)), name


@pytest.mark.parametrize("name", ["audience", "articles"])
def test_the_watermark_is_the_last_write(name: str) -> None:
    text = load_scripts()[name].decode()
    writes = [found.group(0) for found in re.finditer(r"write\('(HSET|ZADD|SADD|PFADD)', [^,]+", text)]
    assert writes[-1].endswith("KEYS[1]")
    assert sum("KEYS[1]" in write for write in writes) == 1
    assert text.rindex("write('EXPIRE', KEYS[1]") > text.rindex("write('HSET', KEYS[1]")


async def test_a_batch_as_large_as_they_come_is_taken(real: tuple[Committer, Redis]) -> None:
    """`batch_max_hits` is 1000 at most; every hit a visitor, an article, a hit id and a title of its own."""
    committer, _ = real
    waiting = Gathering(SITE, DAY)
    for n in range(1000):
        gather(waiting, DAY.start_ms + n, f"person {n}", f"/{n}", f"id {n}")
    result = await commit(committer, 1, waiting.close(0, DAY.start_ms), numbering(DAY.start_ms + 1000))
    assert (result.started, result.online, set(result.articles), result.nameless) == (1000, 1000, {1}, ())
