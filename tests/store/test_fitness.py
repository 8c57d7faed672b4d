"""A store that must not be counted in is refused at the start, in one line that says what to change."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
import redis
from redis.asyncio import Redis

from tests.conftest import StartStore
from tests.driver import PROGRAM
from tests.ports import free_port
from tests.store.writing import DAY, NOON, SITE, names_in
from tests.waiting import wait_until
from visitstats.core.counting import HALF_HOUR_MS
from visitstats.core.errors import FolderUnfit, StoreUnavailable, StoreUnfit
from visitstats.core.schema import SCHEMA_NUMBER
from visitstats.journal.folder import claim_folder
from visitstats.store import keys
from visitstats.store.commit import Committer
from visitstats.store.fitness import Fitness, opened
from visitstats.store.records import Records
from visitstats.store.schema import claim_store
from visitstats.trust.store_checks import check_keys, check_store


@pytest_asyncio.fixture
async def fitness(redis_url: str) -> AsyncIterator[Fitness]:
    async with opened(redis_url, lambda: NOON) as parts:
        await claim_store(parts.client)
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
    committer = Committer(redis_url)
    await raw.config_set("maxmemory-policy", "volatile-lru")
    try:
        for _ in range(2):
            with pytest.raises(StoreUnavailable, match="maxmemory-policy is volatile-lru"):
                await committer.ready()
    finally:
        await raw.config_set("maxmemory-policy", "noeviction")
    await committer.ready()
    await committer.close()


HALF_HOUR = NOON // HALF_HOUR_MS
OURS = [
    keys.SCHEMA, keys.SITES, keys.SITES_VERSION, keys.SITES_REMOVED, keys.SITES_ALIASES, keys.TOKENS, keys.TOKENS_USED,
    keys.HOSTS, keys.TASKS, keys.refusals(DAY.date),
    keys.ran(2036), keys.lease("close-days"), keys.redo(SITE.id),
    *keys.of_commit(SITE.id, DAY.date, DAY.yesterday, 12, HALF_HOUR),
    keys.base(SITE.id), keys.changes(SITE.id), keys.salt(SITE.id, DAY.date, 0).name, keys.uniques(SITE.id, DAY.year),
    keys.peaks(SITE.id, DAY.year), keys.packed(SITE.id), keys.tiles(SITE.id, DAY.month),
    *keys.of_amounts(SITE.id, keys.CORRECTIONS, DAY.date), *keys.of_facts(SITE.id),
    *keys.of_closing(SITE.id, DAY.last_month), keys.imports(SITE.id),
]  # fmt: skip


def test_every_kind_of_key_is_looked_at() -> None:
    looked_at = {found.kind.word for name in OURS if (found := keys.parse(name))}
    # Names of tiles that are being written, and of changes, are drawn at random.
    assert looked_at == {row.word for row in keys.KINDS} - {"packing", "pruned", "parts of an import"}


@pytest.mark.parametrize("name", sorted(set(OURS)))
async def test_a_key_of_ours_with_another_type_is_refused(fitness: Fitness, raw: Redis, name: str) -> None:
    """Otherwise every hit of that site would wait in the journal until it is full. `doctor` says it in the same
    words."""
    await raw.delete(name)
    await raw.rpush(name, "somebody else's")
    lines = []
    for check in (fitness.check_start, fitness.check_keys):
        with pytest.raises(StoreUnfit) as refused:
            await check()
        lines.append(str(refused.value))
    assert name in lines[0]
    assert "another program uses this database" in lines[0]
    assert "\n" not in lines[0]
    assert lines[0] == lines[1]
    row = check_keys(lines[1])
    assert (row.status, row.found) == ("fail", lines[0])


async def test_the_doctor_writes_nothing_into_a_new_store(redis_url: str, raw: Redis) -> None:
    async with opened(redis_url, lambda: NOON) as parts:
        await parts.fitness.check_keys()
    assert await names_in(raw) == []
    assert check_keys("").status == "ok"


async def test_the_line_says_which_key_and_what_to_do(fitness: Fitness, raw: Redis) -> None:
    await raw.rpush(keys.counts(SITE.id), "x")
    with pytest.raises(StoreUnfit, match=r"vs:\{portal\}:counts is a list, not a hash: another program uses this"):
        await fitness.check_start()


async def test_sites_that_cannot_be_read_are_refused(
    fitness: Fitness, raw: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    """Such a site is left out and reported; other sites are counted."""
    await raw.hset(keys.SITES, "portal", "{")
    await fitness.check_start()
    assert "the record of site 'portal' in the store is damaged" in caplog.text
    await raw.delete(keys.SITES)
    await raw.set(keys.SITES, "x")
    with pytest.raises(StoreUnfit, match="vs:sites is a string, not a hash"):
        await fitness.check_start()


async def test_a_store_of_another_schema_is_refused_in_one_line(fitness: Fitness, raw: Redis) -> None:
    await raw.set(keys.SCHEMA, SCHEMA_NUMBER + 1)
    for check in (fitness.check_start, fitness.check_keys):
        with pytest.raises(StoreUnfit, match=f"^the store has schema {SCHEMA_NUMBER + 1}, this program schema"):
            await check()
    await raw.delete(keys.SCHEMA)
    for check in (fitness.check_start, fitness.check_keys):
        with pytest.raises(StoreUnfit, match=r"^the store was written by a version before schema"):
            await check()


async def test_a_new_store_is_claimed_by_whoever_starts_first(redis_url: str, raw: Redis) -> None:
    async with opened(redis_url, lambda: NOON) as parts:
        assert await parts.fitness.check_start() == []
    assert await raw.get(keys.SCHEMA) == str(SCHEMA_NUMBER).encode()


def test_a_data_folder_of_another_schema_is_refused_in_one_line(tmp_path: Path) -> None:
    claim_folder(tmp_path / "new")
    claim_folder(tmp_path / "new")
    (tmp_path / "new" / "schema").write_text("4\n", "ascii")
    with pytest.raises(FolderUnfit, match=r"has schema 4, this program schema 3: use its own version$"):
        claim_folder(tmp_path / "new")
    slot = tmp_path / "old" / "journal" / "00"
    slot.mkdir(parents=True)
    (slot / "0000000000000001.log").write_bytes(b"vsjrnl1\n" + bytes(16))
    with pytest.raises(FolderUnfit, match=r"was written by a version before schema 2; use an empty folder$"):
        claim_folder(tmp_path / "old")


@pytest.fixture(params=["without slots", "with all slots", "with some slots"])
def node(request: pytest.FixtureRequest, tmp_path: Path, server: Path) -> Iterator[str]:
    """The plain address of a node of a cluster."""
    path = tmp_path / "node.sock"
    port = free_port()  # of the cluster's own talk, which this node has with nobody
    command = [str(server), "--port", "0", "--unixsocket", str(path), "--save", "", "--bind", "127.0.0.1"]
    process = subprocess.Popen(
        [*command, "--cluster-enabled", "yes", "--cluster-port", str(port)], cwd=tmp_path, stdout=subprocess.DEVNULL
    )
    try:
        with redis.Redis.from_url(f"unix://{path}") as client:
            wait_until(lambda: answers(client), "the node listens")
            if request.param != "without slots":
                client.execute_command("CLUSTER", "ADDSLOTSRANGE", "0", 16383 if "all" in request.param else 8000)
            if "all" in request.param:
                wait_until(lambda: client.execute_command("CLUSTER INFO")["cluster_state"] == "ok", "it is ready")
        yield f"unix://{path}"
    finally:
        process.terminate()
        process.wait(10)


def answers(client: redis.Redis) -> bool:
    with contextlib.suppress(redis.ConnectionError):
        return bool(client.ping())
    return False


async def test_a_plain_address_of_a_cluster_node_is_refused_in_one_line(node: str) -> None:
    """It has a part of the keys, and its scripts are refused: the sites would lag for ever."""
    async with opened(node, lambda: NOON) as parts:
        with pytest.raises(StoreUnfit) as refused:
            await parts.fitness.check_start()
        rows = {row.check: row for row in check_store(await parts.fitness.condition(), embedded=False)}
    assert "the store is a node of a cluster" in str(refused.value)
    assert "\n" not in str(refused.value)
    assert (rows["role"].status, rows["role"].found) == ("fail", "a node of a cluster")
    committer = Committer(node)
    with pytest.raises(StoreUnavailable, match="the store is a node of a cluster"):
        await committer.ready()
    await committer.close()


async def test_a_command_on_a_cluster_node_says_so_in_one_line(node: str, tmp_path: Path) -> None:
    for command in (["serve", "--port", "0"], ["site", "list"], ["verify"], ["stats", "portal"], ["doctor"]):
        done = await asyncio.to_thread(
            subprocess.run,
            [str(PROGRAM), *command, "--redis-url", node, "--data-dir", str(tmp_path / "data")],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        said = done.stdout if command == ["doctor"] else done.stderr
        assert done.returncode == 1, done
        assert "a node of a cluster" in said, (command, done)
        assert command == ["doctor"] or len(said.strip().splitlines()) == 1, said


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
    await Records(raw).remove_site(SITE.id, 0)
    await raw.rpush(keys.counts(SITE.id), "x")
    assert await fitness.check_start() == []


def _now(time: tuple[int, int]):  # type: ignore[no-untyped-def]
    seconds, micros = time
    return lambda: int(seconds) * 1000 + int(micros) // 1000


async def acl(raw: Redis, *words: str) -> None:
    await raw.execute_command("ACL", *words)  # type: ignore[no-untyped-call]
