"""The connection on which batches are committed: what is cut, lost or refused is told, and counts once in the end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import hiredis
import pytest
import pytest_asyncio
from redis.asyncio import Redis

from tests.client import until
from tests.conftest import StartStore
from tests.store.script_keys import contents, counted, full_batch, mark
from tests.store.writing import MINUTE, NOON, SITE, WRITER, batch_of, beats, commit, commit_one, numbering
from visitstats.core.batch import Gathering
from visitstats.core.errors import StoreRefuses, StoreUnavailable
from visitstats.store.commit import Committed, Committer, Work

FIRST = batch_of((NOON, "An", "/a"))
SECOND = batch_of((NOON + 1, "Bình", "/a"), previous=1)


@pytest_asyncio.fixture(params=[False, True], ids=["at once", "in two steps"])
async def committer(redis_url: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """With the first batch committed, on a server that takes one step or two."""
    monkeypatch.setattr("visitstats.store.line.executes_cut_transactions", lambda info: request.param)
    found = Committer(redis_url)
    await commit(found, 1, FIRST)
    yield found
    await found.close()


@pytest_asyncio.fixture
async def own(start_store: StartStore) -> AsyncIterator[tuple[Committer, Redis]]:
    """The same on a store of its own, that may be set up otherwise."""
    store = start_store()
    found = Committer(store.url)
    async with Redis.from_url(store.url) as raw:
        await commit(found, 1, FIRST)
        yield found, raw
    await found.close()


async def test_a_server_that_forgot_the_scripts_is_told_them_again(committer: Committer, raw: Redis) -> None:
    """The waiting request does not notice."""
    await raw.script_flush()
    work = [Work(WRITER, n, n - 1, batch_of((NOON + n, f"person {n}", "/a"), previous=n - 1), numbering())
            for n in (2, 3, 4)]  # fmt: skip
    results = await committer.commit(work)
    assert [isinstance(result, Committed) and result.fresh for result in results] == [True] * 3
    await raw.script_flush()
    waiting = Gathering(SITE, numbering().day)
    beats(waiting, NOON + MINUTE, "An")
    result = await commit(committer, 5, waiting.close(4, 4, NOON), numbering(NOON + MINUTE + 299_000))
    assert (result.fresh, result.online, await counted(raw)) == (True, 1, (4, 4))


async def test_a_server_that_is_away_is_said_and_found_again(start_store: StartStore, tmp_path: Path) -> None:
    store = start_store(tmp_path)
    committer = Committer(store.url)
    try:
        await commit(committer, 1, FIRST)
        generation = await committer.ready()
        store.stop()
        for _ in range(2):
            with pytest.raises(StoreUnavailable, match="does not answer"):
                await commit_one(committer, 2, SECOND)
        start_store(tmp_path)
        result = await commit(committer, 2, SECOND)
        assert (result.fresh, result.articles) == (True, (2,))
        assert await committer.ready() > generation, "the server behind it may have lost something"
    finally:
        await committer.close()


async def test_a_connection_that_is_cut_is_opened_again(committer: Committer, raw: Redis) -> None:
    """A batch fails where that is not known yet, and is sent again by whoever sent it; else nobody notices."""
    generation = await committer.ready()
    await raw.client_kill_filter(_type="normal", skipme=True)
    try:
        result = await commit(committer, 2, SECOND)
    except StoreUnavailable:
        result = await commit(committer, 2, SECOND)
    assert result.fresh
    assert await committer.ready() > generation, "the server behind it may have lost something"
    assert await counted(raw) == (2, 2)


class CutOff:
    """Reads so many answers; what comes behind them is no answer any more."""

    def __init__(self, reader: Any, answers: int) -> None:
        self._reader = reader
        self._left = answers

    def feed(self, data: bytes) -> None:
        self._reader.feed(data)

    def gets(self) -> Any:
        if self._left == 0:
            raise hiredis.ProtocolError("it is cut")
        reply = self._reader.gets()
        self._left -= reply is not False
        return reply


@pytest.mark.parametrize("answers", [0, 1, 2])
async def test_a_batch_whose_answer_is_lost_counts_once(committer: Committer, raw: Redis, answers: int) -> None:
    """The connection breaks behind so many answers; the server has executed all that it was sent."""
    wire = committer._line._wire
    assert wire is not None
    wire._reader = CutOff(wire._reader, answers)  # type: ignore[assignment]
    work = [Work(WRITER, n, n - 1, batch_of((NOON + n, f"person {n}", "/a"), previous=n - 1), numbering())
            for n in (2, 3, 4)]  # fmt: skip
    with pytest.raises(StoreUnavailable):
        await committer.commit(work)
    await committer.close()

    async def executed() -> bool:
        return await mark(raw) == b"4:1"

    await until(executed, "the server has executed what it was sent")
    results = await committer.commit(work)
    assert [isinstance(result, Committed) and result.fresh for result in results] == [False] * 3
    assert await counted(raw) == (4, 4)


async def test_a_replica_that_was_the_primary_is_left(committer: Committer, raw: Redis) -> None:
    """After a failover the old connection leads to a replica, which refuses writes for as long as one asks."""
    await raw.replicaof("127.0.0.1", 1)
    try:
        with pytest.raises(StoreRefuses, match="read only") as refused:
            await commit_one(committer, 2, SECOND)
        assert refused.value.kind == "replica"
        assert not committer._line._connection.is_connected
    finally:
        await raw.replicaof("NO", "ONE")
    assert (await commit(committer, 2, SECOND)).fresh


@pytest.mark.parametrize(
    ("option", "bad", "good", "kind"),
    [("maxmemory", 1, 0, "full"), ("min-replicas-to-write", 1, 0, "refusing")],
)
async def test_a_server_that_takes_no_writes_refuses_a_batch_whole(
    own: tuple[Committer, Redis], option: str, bad: int, good: int, kind: str
) -> None:
    """It is told from one that is away, and from a site whose keys are damaged."""
    committer, raw = own
    before = await contents(raw)
    await raw.config_set(option, bad)
    for _ in range(2):
        with pytest.raises(StoreRefuses) as refused:
            await commit_one(committer, 2, SECOND)
        assert refused.value.kind == kind
        assert await contents(raw) == before
    assert committer._line._connection.is_connected
    await raw.config_set(option, good)
    assert (await commit(committer, 2, SECOND)).fresh
    assert await counted(raw) == (2, 2)


async def test_what_was_put_down_before_memory_ended_is_finished_when_there_is_some(
    own: tuple[Committer, Redis],
) -> None:
    """The first step was taken, the second refused: the batch counts once, whoever comes next."""
    committer, raw = own
    await committer.ready()
    committer._line.two_steps = True
    name, names, values = committer._call(Work(WRITER, 2, 1, SECOND, numbering()))
    await committer._line.run([(name, names, [*values, b"put down"])])
    await raw.config_set("maxmemory", 1)
    for batch in (SECOND, full_batch()):
        with pytest.raises(StoreRefuses):
            await commit_one(committer, 2, batch)
    assert await counted(raw) == (1, 1)
    await raw.config_set("maxmemory", 0)
    assert (await commit(committer, 1, batch_of((NOON, "An", "/b")), writer=WRITER[::-1])).fresh
    assert await counted(raw) == (2, 3)
    assert not (await commit(committer, 2, SECOND)).fresh
