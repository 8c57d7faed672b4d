"""A store that must not be counted in is refused at the start, in one line that says what to change."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from tests.conftest import StartStore
from tests.store.writing import DAY, NOON, SITE, WRITER
from visitstats.core.errors import StoreUnavailable, StoreUnfit
from visitstats.doctor import check_store
from visitstats.store import keys
from visitstats.store.commit import Committer
from visitstats.store.fitness import Fitness, opened
from visitstats.store.records import Records


@pytest_asyncio.fixture
async def fitness(redis_url: str) -> AsyncIterator[Fitness]:
    async with opened(redis_url, lambda: NOON) as parts:
        await parts.records.put_site(SITE)
        yield parts.fitness


async def test_our_own_store_is_fit(fitness: Fitness) -> None:
    assert await fitness.check_start() == []


async def test_a_store_that_evicts_is_refused(fitness: Fitness, raw: Redis) -> None:
    await raw.config_set("maxmemory-policy", "allkeys-lru")
    try:
        with pytest.raises(StoreUnfit, match="maxmemory-policy is allkeys-lru"):
            await fitness.check_start()
    finally:
        await raw.config_set("maxmemory-policy", "noeviction")


async def test_nothing_is_committed_by_a_new_connection_to_a_store_that_evicts(redis_url: str, raw: Redis) -> None:
    """Also when nobody has looked at the store yet, as after its restart."""
    committer = Committer(redis_url, WRITER)
    await raw.config_set("maxmemory-policy", "volatile-lru")
    try:
        for _ in range(2):
            with pytest.raises(StoreUnavailable, match="maxmemory-policy is volatile-lru"):
                await committer.ready()
    finally:
        await raw.config_set("maxmemory-policy", "noeviction")
    await committer.ready()
    await committer.close()


@pytest.mark.parametrize(
    "name",
    [
        keys.SITES_VERSION,
        keys.TOKENS,
        keys.visits(SITE.id),
        keys.top_all(SITE.id),
        keys.names(SITE.id),
        keys.seen(SITE.id, DAY.date, 0).name,
        keys.top_week(SITE.id, DAY.week[0], 0).name,
        keys.top_month(SITE.id, DAY.month),
    ],
)
async def test_a_key_of_ours_with_another_type_is_refused(fitness: Fitness, raw: Redis, name: str) -> None:
    """Otherwise every hit of that site would wait in the journal until it is full."""
    await raw.delete(name)
    await raw.rpush(name, "somebody else's")
    with pytest.raises(StoreUnfit):
        await fitness.check_start()


async def test_the_line_says_which_key_and_what_to_do(fitness: Fitness, raw: Redis) -> None:
    await raw.rpush(keys.views(SITE.id), "x")
    with pytest.raises(StoreUnfit, match=r"vs:\{portal:what\}:views is a list, not a hash: another program uses this"):
        await fitness.check_start()


async def test_sites_that_cannot_be_read_are_refused(fitness: Fitness, raw: Redis) -> None:
    await raw.hset(keys.SITES, "portal", "{")
    with pytest.raises(StoreUnfit, match="a site record in the store is damaged"):
        await fitness.check_start()
    await raw.delete(keys.SITES)
    await raw.set(keys.SITES, "x")
    with pytest.raises(StoreUnfit, match="vs:sites is a string, not a hash"):
        await fitness.check_start()


async def test_other_peoples_keys_do_not_matter(fitness: Fitness, raw: Redis) -> None:
    await raw.rpush("visits", "x")
    await raw.rpush("vs2", "x")
    assert await fitness.check_start() == []


async def test_a_store_that_does_not_let_us_in_is_refused_and_not_waited_for(fitness: Fitness, raw: Redis) -> None:
    path = str(raw.connection_pool.connection_kwargs["path"])
    await acl(raw, "SETUSER", "reader", "on", ">secret", "~*", "+ping")
    try:
        for who in ("reader:wrong", "reader:secret"):
            async with opened(f"unix://{who}@{path}", lambda: NOON) as parts:
                with pytest.raises(StoreUnfit, match="the store does not let us in"):
                    await parts.fitness.check_start()
                with pytest.raises(StoreUnfit, match="the store does not let us in"):
                    await parts.fitness.condition()
    finally:
        await acl(raw, "DELUSER", "reader")


async def test_a_store_that_is_away_is_away_and_not_unfit(tmp_path: Path) -> None:
    async with opened(f"unix://{tmp_path}/nobody", lambda: NOON) as parts:
        with pytest.raises(StoreUnavailable):
            await parts.fitness.check_start()


async def test_the_doctor_finds_our_own_store_well(every_server: Path, start_store: StartStore) -> None:
    store = start_store(server=every_server)
    async with opened(store.url, lambda: 0) as parts:
        clock = Fitness(parts.reads._client, _now(await parts.reads._client.time()))
        rows = list(check_store(await clock.condition(), embedded=True))
    assert [row for row in rows if row.status != "ok"] == []


async def test_the_doctor_sees_what_was_changed(raw: Redis, redis_url: str) -> None:
    """Settings that somebody made on the server, and a clock that is days ahead of the server's."""
    async with opened(redis_url, lambda: NOON) as parts:
        await raw.config_set("maxmemory-policy", "volatile-ttl")
        await raw.config_set("appendfsync", "no")
        await raw.config_set("maxmemory", 1)
        try:
            rows = {row.check: row for row in check_store(await parts.fitness.condition(), embedded=False)}
        finally:
            await raw.config_set("maxmemory", 0)
            await raw.config_set("maxmemory-policy", "noeviction")
            await raw.config_set("appendfsync", "everysec")
    assert {check: row.status for check, row in rows.items() if row.status != "ok" and check != "latency"} == {
        "eviction": "fail",
        "store memory": "warn",
        "persistence": "warn",
        "clock": "warn",
    }
    assert "behind ours" in rows["clock"].found


async def test_a_replica_is_no_place_to_count(start_store: StartStore) -> None:
    store = start_store()
    async with opened(store.url, lambda: 0) as parts:
        await parts.reads._client.replicaof("127.0.0.1", "1")
        rows = {row.check: row for row in check_store(await parts.fitness.condition(), embedded=False)}
    assert rows["role"].status == "fail"


async def test_a_server_that_keeps_its_settings_to_itself_is_looked_at_all_the_same(raw: Redis, redis_url: str) -> None:
    """Hosted servers refuse CONFIG."""
    path = str(raw.connection_pool.connection_kwargs["path"])
    await acl(raw, "SETUSER", "hosted", "on", ">secret", "~*", "+@all", "-config")
    try:
        async with opened(f"unix://hosted:secret@{path}", lambda: NOON) as parts:
            condition = await parts.fitness.condition()
            assert await parts.fitness.check_start() == []
    finally:
        await acl(raw, "DELUSER", "hosted")
    assert (condition.append_fsync, condition.policy, condition.append_only) == ("", "noeviction", True)


async def test_records_of_a_removed_site_are_not_looked_at(fitness: Fitness, raw: Redis) -> None:
    await Records(raw).remove_site(SITE.id)
    await raw.rpush(keys.views(SITE.id), "x")
    assert await fitness.check_start() == []


def _now(time: tuple[int, int]):  # type: ignore[no-untyped-def]
    seconds, micros = time
    return lambda: int(seconds) * 1000 + int(micros) // 1000


async def acl(raw: Redis, *words: str) -> None:
    await raw.execute_command("ACL", *words)  # type: ignore[no-untyped-call]
