"""An append-only file that was cut inside a transaction.

Redis 7.0 keeps the beginning of the transaction in its file, and executes it at the next restart, together with the
next transaction. Absolute writes make that harmless when the batch itself was repeated meanwhile and stands behind it
in the file. When another writer's batch is the next, they do not: therefore a batch takes two steps there
(lua/ledger.lua).
"""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from redis.asyncio import Redis

from tests.faults.external import ExternalStore
from tests.store.world import check_ring
from tests.store.writing import DAY, NOON, SITE, batch_of, beats, gather, numbering
from visitstats.core.batch import Batch, Gathering
from visitstats.core.counting import HALF_HOUR_MS
from visitstats.core.keys import article_id
from visitstats.store import keys
from visitstats.store import line as line_module
from visitstats.store.commit import Committed, Committer, Gap, Work
from visitstats.store.reads import Reads

FIRST, SECOND, THIRD = "1" * 32, "2" * 32, "3" * 32
AN = batch_of((NOON, "An", "/a"))
BINH = batch_of((NOON + 1, "Bình", "/b"), previous=1)
CHI = batch_of((NOON + 2, "Chi", "/c"))
REDIS = shutil.which("redis-server")
needs_redis = pytest.mark.skipif(REDIS is None, reason="there is no redis-server on PATH")


async def commit(store: ExternalStore, writer: str, sequence: int, batch: Batch) -> Committed | Gap:
    committer = Committer(store.url)
    try:
        [result] = await committer.commit([Work(writer, sequence, batch.previous, batch, numbering())])
        assert isinstance(result, Committed | Gap)
        return result
    finally:
        await committer.close()


def start(store: ExternalStore) -> None:
    store.start()
    with store.client() as client:
        client.config_set("appendfsync", "always")  # a kill must lose nothing but what is cut


def file_of(folder: Path) -> Path:
    return max(folder.glob("appendonlydir/*.incr.aof"))


def cut(folder: Path) -> None:
    """Cut the file in the last transaction, in the command that writes the watermark."""
    data = file_of(folder).read_bytes()
    mark = data.find(b"}:marks\r\n", data.rfind(b"MULTI\r\n"))
    file_of(folder).write_bytes(data[: data.rfind(b"HSET\r\n", 0, mark) + 8])


def counted(store: ExternalStore) -> tuple[int, int]:
    """Visits and views of all time."""
    with store.client() as client:
        visits, views = (client.hget(*keys.count_at(SITE.id, kind, "all")) for kind in ("visits", "views"))
    return int(visits or 0), int(views or 0)


async def counts_after(folder: Path, program: Path, *, repeated_first: bool) -> tuple[int, int]:
    """Visits and views of three people, one page each, after all has been repeated."""
    store = ExternalStore(folder, program)
    start(store)
    try:
        await commit(store, FIRST, 1, AN)
        await commit(store, FIRST, 2, BINH)
        store.kill()
        cut(folder)
        start(store)
        if repeated_first:
            await commit(store, FIRST, 2, BINH)
        else:
            await commit(store, SECOND, 1, CHI)
        store.kill()
        start(store)
        await commit(store, FIRST, 2, BINH)
        await commit(store, SECOND, 1, CHI)
        return counted(store)
    finally:
        store.kill()


@pytest.mark.parametrize("repeated_first", [True, False])
async def test_every_server_is_healed_in_any_order(tmp_path: Path, every_server: Path, repeated_first: bool) -> None:
    """Also when another writer's batch came first, and the repetition was lost with the second restart."""
    assert await counts_after(tmp_path / "store", every_server, repeated_first=repeated_first) == (3, 3)


@needs_redis
async def test_without_the_two_steps_redis_is_not(tmp_path: Path) -> None:
    """The reason for them: absolute writes alone are right in one order only."""
    with patch.object(line_module, "executes_cut_transactions", lambda info: False):
        assert await counts_after(tmp_path / "first", Path(str(REDIS)), repeated_first=True) == (3, 3)
        assert await counts_after(tmp_path / "second", Path(str(REDIS)), repeated_first=False) != (3, 3)


class Writer:
    """A worker as far as its journal goes: batches in order, and the place up to which it believes them applied."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.batches: list[Batch] = []
        self.applied = 0

    def journal(self, person: str, article: str, moment: int) -> None:
        """Somebody reads an article; a heartbeat of somebody else's comes with it."""
        waiting = Gathering(SITE, DAY)
        gather(waiting, moment, person, article, f"{moment}")
        beats(waiting, moment, "person 0")
        many = len(self.batches)
        self.batches.append(waiting.close(many, many, moment))

    async def send(self, store: ExternalStore) -> None:
        """Commit the next batch, or go back to what the store has."""
        if self.applied == len(self.batches):
            return
        result = await commit(store, self.name, self.applied + 1, self.batches[self.applied])
        self.applied = result.watermark if isinstance(result, Gap) else self.applied + 1

    async def repeat(self, store: ExternalStore) -> None:
        """Commit the newest batch, which tells whether one before it is missing, until none is."""
        self.applied = max(len(self.batches) - 1, 0)
        while self.applied < len(self.batches):
            await self.send(store)


async def play(folder: Path, program: Path, chance: random.Random, crashes: int) -> None:
    """Three writers, crashes with cuts at any byte of the last transactions; then everything is what it should be."""
    store = ExternalStore(folder, program)
    start(store)
    writers = [Writer(name) for name in (FIRST, SECOND, THIRD)]
    now = NOON
    read: dict[str, set[str]] = {"/a": set(), "/b": set(), "/c": set()}
    try:
        for _ in range(crashes):
            for _ in range(chance.randrange(1, 6)):
                writer, now = chance.choice(writers), now + 1000
                # The same people come again by way of other workers: their visits and readings are one.
                article, person = chance.choice([*read]), f"person {chance.randrange(12)}"
                read[article].add(person)
                writer.journal(person, article, now)
                await writer.send(store)
            store.kill()
            if chance.random() < 0.7:
                data = file_of(folder).read_bytes()
                file_of(folder).write_bytes(data[: chance.randrange(max(len(data) - 4000, 0), len(data))])
            start(store)
        for writer in writers:
            await writer.repeat(store)
        await judge(store, writers, read, now)
    finally:
        store.kill()


async def judge(store: ExternalStore, writers: list[Writer], read: dict[str, set[str]], now: int) -> None:
    """Every reader has had one visit, and has read each of the articles once; all that is kept fits together."""
    people = set().union(*read.values())
    views = {article_id(article): len(readers) for article, readers in read.items() if readers}
    assert counted(store) == (len(people), sum(views.values()))
    async with Redis.from_url(store.url) as client:
        for name in (keys.articles(SITE.id), keys.articles_of_day(SITE.id, DAY.date)):
            found: Any = await client.hgetall(name)
            assert {article: int(n) for article, n in found.items()} == views, name
        marks: Any = await client.hgetall(keys.marks(SITE.id))
        assert marks == {
            each.name.encode(): b"%d:%d" % (len(each.batches), len(each.batches)) for each in writers if each.batches
        }
        assert await Reads(client).uniques(SITE.id, DAY) == len(people)
        assert await client.hlen(keys.seen(SITE.id, DAY.date)) == len(people)
        assert await client.scard(keys.hit_ids(SITE.id, now // HALF_HOUR_MS)) == sum(
            len(each.batches) for each in writers
        )
        assert not await client.exists(keys.redo(SITE.id))
        await check_ring(client, SITE.id, now)


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_cuts_anywhere_and_restarts_in_any_order(tmp_path: Path, every_server: Path, seed: int) -> None:
    """Nobody repeats anything at once, some writes are lost twice, and other writers come in between."""
    await play(tmp_path / "store", every_server, random.Random(seed), crashes=14)
