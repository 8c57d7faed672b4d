"""What the write side of a worker says of its journal: what is applied, and may be deleted, and what is not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple, cast

import pytest

from tests.unit.slots import HOUR, MIB, NOON, fill, opened
from tests.unit.test_replay import Store
from tests.waiting import eventually
from visitstats.core.batch import Batch, ChangeRecord
from visitstats.core.errors import StoreRefuses, StoreUnavailable
from visitstats.core.numbers import History, counters_of
from visitstats.core.sites import Site
from visitstats.ingest import apply as applying
from visitstats.ingest.answering import Answering
from visitstats.ingest.apply import Applier
from visitstats.ingest.gather import Ingest
from visitstats.ingest.known import Known
from visitstats.ingest.positions import Positions
from visitstats.ingest.replay import Replay, numbering
from visitstats.ingest.waiting import Waiting
from visitstats.journal.log import Limits, OpenJournal
from visitstats.metrics import Metrics
from visitstats.reading.snapshots import Stats
from visitstats.sites.directory import LiveSite
from visitstats.store.commit import Changed, Committed, Result, Work
from visitstats.store.reads import Marks

LIVE = LiveSite(Site(id="s", hosts=("portal.vn",)))
DAY = LIVE.calendar.day_at(NOON)
COUNTS = [0] * len(counters_of(DAY))


class Settings(NamedTuple):
    gather_ms: int = 0
    queue_max_hits: int = 1000
    shutdown_seconds: int = 4


class FailingStore(Store):
    """A store that may be away, or refuse all writes."""

    def __init__(self, error: StoreUnavailable | None = None) -> None:
        super().__init__()
        self.error = error
        self.generation = 1

    async def ready(self) -> int:
        self._fail()
        return self.generation

    async def probe(self) -> None:
        self._fail()

    async def marks(self, sites: list[str]) -> Marks:
        self._fail()
        return await super().marks(sites)

    async def commit(self, work: list[Work]) -> list[Result]:
        """As the script answers for a batch with one article, or for one without hits."""
        self._fail()
        results = await super().commit(work)
        return [_counted(item, result) for item, result in zip(work, results, strict=True)]

    def _fail(self) -> None:
        if self.error is not None:
            raise self.error


def _counted(item: Work, result: Result) -> Result:
    if not isinstance(item.record, Batch) or not isinstance(result, Changed):
        return result
    views = (1,) if item.record.size else ()
    return Committed(True, bytes(item.record.size), 1, views, views, (), 1, COUNTS)


class Writing(NamedTuple):
    ingest: Ingest
    applier: Applier
    journal: OpenJournal

    def hit(self, live: LiveSite = LIVE) -> Waiting:
        """Take a hit of a site, and return what it waits for."""
        waiting = self.ingest.gathering(live, DAY, NOON)
        waiting.add(NOON, b"visitor!", b"visitor!", b"", b"", b"article!", b"")
        return waiting

    async def change(self, site: str = "s") -> Changed | None:
        return await self.ingest.change(ChangeRecord(site, 0, 0, NOON, "note", b""))


class NoPast:
    """A store that tells nothing of past days."""

    async def history(self, site: str, box: str) -> History:
        raise StoreUnavailable("away")


@asynccontextmanager
async def writing(
    root: Path, store: FailingStore, settings: Settings | None = None, max_bytes: int = MIB
) -> AsyncIterator[Writing]:
    """The write side of a worker, started."""
    with opened(root, max_bytes=max_bytes) as journal:
        connection, positions = cast(Any, store), Positions(journal.writer)
        replay = Replay(root, connection, connection, lambda site: numbering(None, NOON), Limits(MIB, HOUR))
        announced: list[str] = []

        async def announce(site: str) -> None:
            announced.append(site)

        nothing, metrics = cast(Any, {}), Metrics(root / "metrics", None)
        stats = Stats(cast(Any, NoPast()), lambda: NOON, root / "last", 0, positions)
        answering = Answering(stats, Known(nothing, stats), metrics, nothing, lambda: NOON, announce)
        applier = Applier(positions, connection, replay, answering, metrics, lambda: NOON, nothing, 50, 255)
        ingest = Ingest(settings or Settings(), journal, positions, applier, metrics, lambda: NOON)
        await ingest.start()
        try:
            yield Writing(ingest, applier, journal)
        finally:
            await ingest.stop()
            await replay.close()


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(applying, "PAUSES", (0.001, 0.01))
    monkeypatch.setattr(applying, "REPLAYING_SECONDS", 0.001)


AWAY = StoreUnavailable("connection refused")


async def test_what_was_in_the_journal_before_a_start_without_the_store_is_not_taken_for_applied(root: Path) -> None:
    """Otherwise the first pruning, or the first hit when the budget is used up, would delete acknowledged hits."""
    with opened(root) as journal:
        fill(journal, 3)
    store = FailingStore(AWAY)
    async with writing(root, store) as worker:
        assert worker.applier.link.word == "away"
        assert worker.journal.applied == 0
        assert await worker.change("other") is None
        assert worker.applier.applied_up_to(worker.journal.last_sequence) == 0
        store.error = None
        await eventually(lambda: worker.applier.link.word == "ok", "the store is brought up")
        assert await worker.change("other") == Changed("ok")
        await eventually(lambda: worker.journal.applied == 5, "everything is applied")
    assert len(store.applied) == 5


async def test_what_a_store_has_lost_is_not_taken_for_applied_while_it_is_put_back(root: Path) -> None:
    """Not of a site of which nobody sends hits meanwhile, either."""
    store = FailingStore()
    async with writing(root, store) as worker:
        for site in ("idle", "busy"):
            assert await worker.change(site) == Changed("ok")
        assert worker.applier.applied_up_to(2) == 2
        del store.ledgers["idle"]
        store.generation = 2  # it came back older
        store.open.clear()
        asked = store.asked
        changing = asyncio.create_task(worker.change("busy"))
        await eventually(lambda: store.asked > asked, "what it has lost is being put back")
        assert worker.applier.applied_up_to(3) == 0
        store.open.set()
        await changing
        await eventually(lambda: worker.applier.link.word == "ok", "it is put back")
        assert worker.applier.applied_up_to(3) == 3
    assert [(record.site, sequence) for _, sequence, record in store.applied] == [
        ("idle", 1),
        ("busy", 2),
        ("idle", 1),
        ("busy", 3),
    ]


@pytest.mark.parametrize("kind", ["replica", "full", "refusing"])
async def test_a_store_that_refuses_all_writes_is_told_by_its_word_and_takes_them_again(root: Path, kind: str) -> None:
    store = FailingStore()
    async with writing(root, store) as worker:
        assert worker.applier.link.word == "ok"
        store.error = StoreRefuses("READONLY", kind, "readonly")
        assert await worker.change() is None
        assert (worker.applier.link.word, worker.applier.link.reason) == (kind, "READONLY")
        assert worker.applier.lagging == 1
        store.error = None
        await eventually(lambda: worker.applier.link.word == "ok", "it takes writes again")
        assert worker.applier.lagging == 0
    assert len(store.applied) == 1


async def test_a_store_that_does_not_answer_in_time_is_away_until_it_does(root: Path) -> None:
    store = FailingStore()
    async with writing(root, store) as worker:
        store.open.clear()
        assert await worker.change() is None
        assert worker.applier.link.word == "away"
        assert await worker.change() is None  # at once: nobody waits for it a second time
        store.open.set()
        await eventually(lambda: worker.applier.link.word == "ok", "it answers again")
        assert await worker.change() == Changed("ok")
    assert [sequence for _, sequence, _ in store.applied] == [1, 2, 3]


async def test_while_the_store_is_unfit_nothing_is_committed(root: Path) -> None:
    store = FailingStore()
    async with writing(root, store) as worker:
        worker.applier.suspend("it may evict")
        for _ in range(3):
            assert await worker.change() is None
        assert (store.applied, worker.applier.link.word, worker.applier.lagging) == ([], "unfit", 1)
        worker.applier.resume()
        await eventually(lambda: worker.applier.link.word == "ok", "it is brought up")
    assert [sequence for _, sequence, _ in store.applied] == [1, 2, 3]


async def test_every_request_is_answered_even_when_noting_a_commit_fails(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The waiting request is answered from the journal, and the next hit is taken."""

    class Odd(FailingStore):
        odd = True

        async def commit(self, work: list[Work]) -> list[Result]:
            await super().commit(work)
            return [Committed(True, b"", 1, (1,), (1,), (), 1, [] if self.odd else COUNTS) for _ in work]

    store = Odd()
    async with writing(root, store) as worker:
        outcome = await asyncio.wait_for(worker.hit().future, 5)
        assert outcome.committed is None
        assert "could not be applied" in caplog.text
        store.odd = False
        await eventually(lambda: worker.applier.link.word == "ok", "it goes on")
        assert (await asyncio.wait_for(worker.hit().future, 5)).committed is not None
        assert worker.applier.applied_up_to(2) == 2


async def test_a_batch_is_smaller_when_its_script_took_too_long_and_grows_again(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No script is to hold the store for more than some milliseconds."""
    moment, taking, sizes = [0.0], [1e-9], list[int]()
    monkeypatch.setattr(applying, "perf_counter", lambda: moment[0])

    class Slow(FailingStore):
        async def commit(self, work: list[Work]) -> list[Result]:
            hits = [item.record.size for item in work if isinstance(item.record, Batch)]
            moment[0] += taking[0] * sum(hits)
            sizes.extend(hits)
            return await super().commit(work)

    async with writing(root, Slow()) as worker:

        async def portal(hits: int) -> list[int]:
            """The sizes of the batches that so many hits are committed in."""
            sizes.clear()
            await asyncio.gather(*{worker.hit().future for _ in range(hits)})
            return list(sizes)

        assert await portal(600) == [255, 255, 90]
        taking[0] = applying.HOLD_SECONDS / 50  # fifty hits are all that may be committed at once
        for _ in range(6):
            await portal(255)
        assert 45 <= max(await portal(600)) <= 55
        taking[0] = 0.001
        for _ in range(6):
            await portal(255)
        assert max(await portal(600)) == applying.LEAST_EVENTS
        taking[0] = applying.HOLD_SECONDS / 10_000
        for _ in range(6):
            await portal(255)
        assert await portal(600) == [255, 255, 90]


async def test_one_write_holds_what_one_batch_may_and_all_that_waits_goes_out_in_turn(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store runs all that it has of one client before it looks at another: to cut batches alone cuts nothing."""
    moment, writes = [0.0], list[list[int]]()
    monkeypatch.setattr(applying, "perf_counter", lambda: moment[0])

    class Slow(FailingStore):
        async def commit(self, work: list[Work]) -> list[Result]:
            writes.append([item.record.size for item in work if isinstance(item.record, Batch)])
            moment[0] += sum(writes[-1]) * applying.HOLD_SECONDS / 100
            return await super().commit(work)

    async with writing(root, Slow()) as worker:
        worker.applier.batch_events = 100
        await asyncio.gather(*{worker.hit().future for _ in range(250)})
        assert writes == [[100], [100], [50]]
        writes.clear()
        hits = [worker.hit(LiveSite(Site(id=f"s{n}", hosts=(f"s{n}.vn",)))) for n in range(130)]
        await asyncio.gather(*(hit.future for hit in hits))
        assert writes == [[1] * 100, [1] * 30], "one round trip for many sites"
