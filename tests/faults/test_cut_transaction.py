"""An append-only file that was cut inside a transaction, and the one order of things in which Redis 7.0 is not healed.

Redis 7.0 keeps the beginning of a cut transaction in its file, and executes it at the next restart, together with the
next transaction. That is harmless as long as the batch itself was repeated and stands behind it in the file: its writes
are absolute. But when that was lost again, and another writer's batch is the next transaction, the beginning is in the
store without its watermark, and the batch is decided on top of it.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.faults.external import ExternalStore
from tests.store.writing import NOON, SITE, batch_of, numbering
from visitstats.core.batch import Batch
from visitstats.server_program import find_server
from visitstats.store import keys
from visitstats.store.commit import Committed, Committer, Work

FIRST, SECOND = "1" * 32, "2" * 32
AN = batch_of((NOON, "An", "/a"))
BINH = batch_of((NOON + 1, "Bình", "/b"), previous=1)
CHI = batch_of((NOON + 2, "Chi", "/c"))
REDIS = shutil.which("redis-server")


async def commit(store: ExternalStore, writer: str, sequence: int, batch: Batch) -> None:
    committer = Committer(store.url, writer)
    try:
        [result] = await committer.commit([Work(sequence, batch.previous, batch, numbering())])
        assert isinstance(result, Committed)
    finally:
        await committer.close()


def start(store: ExternalStore) -> None:
    store.start()
    with store.client() as client:
        client.config_set("appendfsync", "always")  # a kill must lose nothing but what is cut


def cut(folder: Path) -> None:
    """Cut the file in the last transaction of the audience ledger, in the command that writes the watermark."""
    file = max(folder.glob("appendonlydir/*.incr.aof"))
    data = file.read_bytes()
    mark = data.find(b":who}:writer:", data.rfind(b"MULTI\r\n", 0, data.rfind(b"MULTI\r\n")))
    file.write_bytes(data[: data.rfind(b"HSET\r\n", 0, mark) + 8])


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
        with store.client() as client:
            visits, views = (client.hget(name, "all") for name in (keys.visits(SITE.id), keys.views(SITE.id)))
        return int(visits or 0), int(views or 0)
    finally:
        store.kill()


@pytest.mark.skipif(REDIS is None, reason="there is no redis-server on PATH")
async def test_redis_is_healed_when_the_batch_was_repeated_before_the_second_restart(tmp_path: Path) -> None:
    """The usual order: workers repeat their own batches at once, and what they wrote is still there afterwards."""
    assert await counts_after(tmp_path / "store", Path(str(REDIS)), repeated_first=True) == (3, 3)


@pytest.mark.parametrize("repeated_first", [True, False])
async def test_the_store_that_we_bring_along_is_healed_in_any_order(tmp_path: Path, repeated_first: bool) -> None:
    """Valkey 9 does not execute the beginning of a cut transaction."""
    program = find_server()
    if program.name != "valkey-server":
        pytest.skip("the embedded store is no Valkey here")
    assert await counts_after(tmp_path / "store", program, repeated_first=repeated_first) == (3, 3)


@pytest.mark.skipif(REDIS is None, reason="there is no redis-server on PATH")
@pytest.mark.xfail(reason="open: on Redis 7.0 the visit of the cut batch is taken for known", strict=True)
async def test_redis_is_healed_in_any_order(tmp_path: Path) -> None:
    """Another writer's batch came first, and the repetition was lost with the second restart."""
    assert await counts_after(tmp_path / "store", Path(str(REDIS)), repeated_first=False) == (3, 3)
