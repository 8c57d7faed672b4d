"""The store is away for longer than the journal has room."""

from __future__ import annotations

import asyncio
from collections import Counter
from itertools import takewhile
from pathlib import Path

import pytest

from tests.client import Connection, Hit, crowd, until
from tests.driver import Load, under
from tests.faults.absence import MIB, counted_exactly, journals, readings, resident
from tests.faults.conftest import Serve
from tests.faults.conserved import HEAL_SECONDS
from tests.faults.external import ExternalStore
from tests.faults.proxy import Proxy
from tests.waiting import eventually
from tests.web.inprocess import running
from visitstats.core.link import State
from visitstats.ingest.apply import Applier

BUDGET_MIB = 5
FLAT_MIB = 2
"""What the worker's memory may grow by, while 3.5 MiB are journalled."""
READERS = 32
RECORDS = 60
"""More than a replay over a slow wire does before another hit can be sent."""


@pytest.mark.long
@pytest.mark.timeout(240)
async def test_the_store_is_away_until_the_journal_is_full(serve: Serve, store: ExternalStore) -> None:
    """Memory stays flat and the journal within its budget. Then hits are refused with a time to come back, and numbers
    are still shown; when the store is back, what was acknowledged is counted once, and hits are taken again."""
    service = serve(store.url, workers=1, journal_max_mb=str(BUDGET_MIB))
    load, over = Load(service, "t1"), asyncio.Event()
    hits = takewhile(lambda _: not over.is_set(), readings("full", "ế" * 290))
    sizes: list[int] = []

    async def journalled(mib: float) -> bool:
        sizes.extend(journals(service))
        return sizes[-1] >= mib * MIB

    async def refused() -> bool:
        sizes.extend(journals(service))
        return load.statuses.get(503, 0) > 3 * READERS

    async with under(load.run(hits, readers=READERS)):
        await load.more(800)
        store.kill()
        await until(lambda: journalled(1.5), "the journal fills", 30)
        early = resident(service)
        await until(refused, "the journal is full and hits are refused", 60)
        late, reading = resident(service), await Connection.open(service.port)
        assert late - early < FLAT_MIB, f"memory grew from {early} to {late} MiB"
        assert (await reading.numbers("t1"))["total"] > 0
        reading.close()
        assert BUDGET_MIB * MIB - 100_000 < max(sizes) <= BUDGET_MIB * MIB
        store.start()
        await load.more(400)
        over.set()
    assert not load.unanswered
    acknowledged = Counter(hit.article for hit in load.acknowledged)

    async def exact() -> bool:
        return not await counted_exactly(service, "t1", acknowledged, Counter())

    await until(exact, "every acknowledged hit is counted, once", HEAL_SECONDS)
    assert load.statuses[202] * 900 > (BUDGET_MIB - 2) * MIB


async def test_a_worker_rests_while_the_store_is_away(
    tmp_path: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It looks for work when there is some, and for the store when it is time to: it does not take the processor from
    those who wait for the journal."""
    turns = Counter[str]()

    def count(name: str) -> None:
        done = getattr(Applier, name)

        async def counted(self: Applier) -> None:
            turns[name] += 1
            await done(self)

        monkeypatch.setattr(Applier, name, counted)

    count("_commit_queue")
    count("_bring_up")
    proxy = Proxy(Path(redis_url.removeprefix("unix://").partition("?")[0]))
    await proxy.start()
    try:
        async with running(tmp_path / "data", proxy.url) as app:
            readers = crowd(RECORDS, "rest")
            assert (await app.connection.hit("t1", Hit(readers[0], "/a"))).status == 200
            proxy.switch(tmp_path / "nowhere")
            before = turns["_commit_queue"], turns["_bring_up"]
            for reader in readers:
                assert (await app.connection.hit("t1", Hit(reader, "/a"))).status == 202
            done, tries = turns["_commit_queue"] - before[0], turns["_bring_up"] - before[1]
            assert tries > 0
            assert done <= RECORDS + tries + 5
    finally:
        await proxy.stop()


async def test_no_hit_waits_for_a_replay(tmp_path: Path, redis_url: str) -> None:
    """The store is back, and is being brought up to the journal for longer than anybody waits: hits are acknowledged
    from the journal all the while, as when it was away; afterwards everything is counted."""
    proxy = Proxy(Path(redis_url.removeprefix("unix://").partition("?")[0]))
    await proxy.start()
    try:
        async with running(tmp_path / "data", proxy.url, answer_timeout_ms=10_000) as app:
            worker = app.app.worker
            assert worker is not None
            await app.put_site(views="every-load")
            readers = crowd(RECORDS, "replay")
            assert (await app.connection.hit("t1", Hit(readers[0], "/first"))).status == 200
            there = proxy.upstream
            proxy.switch(tmp_path / "nowhere")
            for reader in readers:
                assert (await app.connection.hit("t1", Hit(reader, "/away"))).status == 202
            proxy.delay = 0.05
            proxy.switch(there)
            applier = worker.applier
            await eventually(lambda: applier.link.state is State.REPLAYING, "the replay has begun")
            answer = await app.connection.hit("t1", Hit(readers[0], "/replay"))
            assert (answer.status, applier.lagging) == (202, 1)
            proxy.delay = 0
            await eventually(lambda: not applier.lagging, "everything is applied")
            views = await app.connection.views("t1", ["/first", "/away", "/replay"])
            assert views == {"/first": 1, "/away": RECORDS, "/replay": 1}
    finally:
        await proxy.stop()
