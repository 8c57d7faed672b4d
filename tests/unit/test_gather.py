"""Which hits become one batch, and when it is journalled."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from tests.unit.slots import NOON, kept
from tests.unit.test_apply import AWAY, DAY, LIVE, FailingStore, Settings, writing
from tests.waiting import eventually
from visitstats.core.batch import Batch, Record
from visitstats.core.errors import JournalFull, Overloaded
from visitstats.ingest import gather
from visitstats.ingest.apply import Taken
from visitstats.ingest.waiting import Waiting
from visitstats.journal import log as journals
from visitstats.system import files

AN_HOUR_MS = 3600 * 1000
"""Whoever waits for the time to gather waits longer than a test may take."""


def sizes(root: Path) -> list[int]:
    return [record.size for _, record in kept(root) if isinstance(record, Batch)]


async def test_a_hit_that_comes_alone_is_committed_at_once_and_the_next_ones_gather(root: Path) -> None:
    """To wait for others would save nothing where there are none; readers of a busy portal share a batch."""
    # A pause of two seconds, as there was one before the first hit, is long.
    async with writing(root, FailingStore(), Settings(gather_ms=100)) as worker:
        await asyncio.wait_for(worker.hit().future, 5)
        assert sizes(root) == [1]
        first = worker.hit()
        await asyncio.sleep(0)
        assert worker.hit() is first, "they wait for one batch"
        await asyncio.wait_for(first.future, 5)
    assert sizes(root) == [1, 2]


async def test_a_crowd_is_committed_without_waiting(root: Path) -> None:
    """The fixed price of a batch is spread over enough hits."""
    async with writing(root, FailingStore(), Settings(gather_ms=AN_HOUR_MS)) as worker:
        waiting = {worker.hit() for _ in range(gather.CROWD - 1)}
        for _ in range(5):
            await asyncio.sleep(0)
        assert sizes(root) == []
        waiting.add(worker.hit())
        await asyncio.wait_for(asyncio.gather(*(each.future for each in waiting)), 5)
    assert sizes(root) == [gather.CROWD]


async def test_a_change_takes_along_the_hits_that_gather(root: Path) -> None:
    """A person waits for it; and it stands among the hits in the order in which they came."""
    async with writing(root, FailingStore(), Settings(gather_ms=AN_HOUR_MS)) as worker:
        hit = worker.hit()
        changing = asyncio.create_task(worker.change())
        await asyncio.wait_for(asyncio.gather(changing, hit.future), 5)
    assert len(kept(root)) == 2


async def test_each_record_names_the_one_before_it_of_its_site(root: Path) -> None:
    """That is how a ledger finds out that one is missing; and how many hits it lacks."""
    async with writing(root, FailingStore()) as worker:
        for site in ("s", "other", "s"):
            await worker.change(site)
            await asyncio.wait_for(worker.hit().future, 5)
    found = kept(root)
    assert [(sequence, record.site, record.previous, record.total) for sequence, record in found] == _by_hand(found)


def _by_hand(found: list[tuple[int, Record]]) -> list[tuple[int, str, int, int]]:
    previous: dict[str, tuple[int, int]] = {}
    rows = []
    for sequence, record in found:
        before, total = previous.get(record.site, (0, 0))
        total += record.size if isinstance(record, Batch) else 0
        rows.append((sequence, record.site, before, total))
        previous[record.site] = sequence, total
    return rows


async def test_heartbeats_alone_wait_for_no_disk(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They travel with the next hit, or within a second without the disk being waited for."""
    monkeypatch.setattr(gather, "ROUTINE_SECONDS", 0.01)
    synced: list[int] = []
    real = files.sync

    def counting(file: int) -> None:
        synced.append(os.fstat(file).st_size)
        real(file)

    monkeypatch.setattr(journals, "sync", counting)
    store = FailingStore()
    async with writing(root, store) as worker:
        worker.ingest.beat(LIVE, DAY, b"visitor!", b"", NOON)
        await eventually(lambda: store.applied, "the heartbeat is committed")
        assert (sizes(root), synced) == ([0], [])
        await asyncio.wait_for(worker.hit().future, 5)
        assert len(synced) == 1


async def test_every_heartbeat_of_a_busy_second_is_committed_and_as_many_wait_as_hits_may(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or a portal with many quiet readers would show too few as online: a hundred thousand send 1,700 in a second."""
    events: list[int] = []

    async with writing(root, FailingStore(), Settings(queue_max_hits=2_000)) as worker:
        take = worker.applier.take

        def watched(journalled: list[Taken]) -> None:
            events.extend(len(waiting) for _, waiting, _ in journalled if isinstance(waiting, Waiting))
            take(journalled)

        monkeypatch.setattr(worker.applier, "take", watched)
        for n in range(2_100):
            worker.ingest.beat(LIVE, DAY, b"%08d" % n, b"", NOON)
        await asyncio.wait_for(worker.hit().future, 5)
    assert (sum(events), max(events)) == (2_001, 255)


async def test_more_hits_than_may_wait_are_refused_and_the_others_are_answered(root: Path) -> None:
    async with writing(root, FailingStore(), Settings(gather_ms=0, queue_max_hits=10)) as worker:
        waiting = [worker.hit() for _ in range(10)]
        with pytest.raises(Overloaded):
            worker.hit()
        await asyncio.wait_for(asyncio.gather(*{each.future for each in waiting}), 5)
        await asyncio.wait_for(worker.hit().future, 5)
    assert sum(sizes(root)) == 11


async def test_a_full_journal_refuses_hits_until_the_store_has_what_is_in_it(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And finds out by itself: whoever asks about readiness first may send no hit before."""
    monkeypatch.setattr(gather, "ROUTINE_SECONDS", 0.01)
    store = FailingStore(AWAY)
    async with writing(root, store, max_bytes=2000) as worker:
        taken = 0
        while True:
            try:
                await asyncio.wait_for(worker.hit().future, 5)
            except JournalFull:
                break
            taken += 1
        assert "budget" in worker.ingest.trouble
        assert sum(sizes(root)) == taken > 0
        store.error = None
        await eventually(lambda: not worker.ingest.trouble, "the journal takes hits again")
        assert sum(record.size for _, _, record in store.applied if isinstance(record, Batch)) == taken
        assert (await asyncio.wait_for(worker.hit().future, 5)).committed is not None


async def test_a_stop_journals_and_commits_what_gathers(root: Path) -> None:
    store = FailingStore()
    async with writing(root, store, Settings(gather_ms=AN_HOUR_MS)) as worker:
        waiting = worker.hit()
        assert not waiting.future.done()
    assert waiting.future.done()
    assert sizes(root) == [1]
    assert len(store.applied) == 1
