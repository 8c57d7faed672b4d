"""Healing: whatever the store has lost, the journal brings back exactly once; what is lost in both is said and
counted."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from tests.store.writing import DAY, NOON, batch_of, numbering
from visitstats import journal as journals
from visitstats.core import batch as batches
from visitstats.core.batch import Batch
from visitstats.core.errors import StoreUnavailable
from visitstats.core.sites import Site
from visitstats.embedded import EmbeddedStore
from visitstats.journal import Journal
from visitstats.replay import PIECE, Backlog, Record
from visitstats.store import keys
from visitstats.store.client import open_client
from visitstats.store.commit import Committed, Committer, Gap, Numbering, Refused, Work
from visitstats.store.reads import Reads

SITES = {name: Site(id=name, hosts=(f"{name}.vn",)) for name in ("a", "b", "c")}


@contextmanager
def opened(folder: Path) -> Iterator[Journal]:
    journal = Journal.open(folder, max_bytes=1 << 30, keep_seconds=3600, fsync=False)
    try:
        yield journal
    finally:
        journal.close()


class Worker:
    """A journal and the store; every batch is one new person who reads one article."""

    def __init__(self, journal: Journal, committer: Committer, client: Redis) -> None:
        self.journal = journal
        self.committer = committer
        self.client = client
        self.backlog = Backlog(journal)
        self.written: dict[int, Batch] = {}
        self.applied: list[int] = []

    def write(self, *sites: str) -> None:
        """Journal a batch for each of these sites, without committing them."""
        for name in sites:
            sequence = self.journal.last_sequence + 1
            batch = batch_of(
                (NOON, f"person {sequence}", f"/{sequence % 3}"),
                site=SITES[name],
                previous=self.backlog.newest.get(name, 0),
            )
            self.journal.append([batches.encode(batch)])
            self.backlog.note(name, sequence)
            self.written[sequence] = batch

    async def commit(self, *sequences: int) -> None:
        """Commit journalled batches, one after the other."""
        for sequence in sequences:
            batch = self.written[sequence]
            [result] = await self.committer.commit([Work(sequence, batch.previous, batch, numbering())])
            assert isinstance(result, Committed), (sequence, result)

    async def heal(self) -> None:
        """What a worker does at its start, and when it sees that the store is behind."""
        await self.backlog.compare(Reads(self.client))
        await self.replay()

    async def replay(self) -> None:
        await asyncio.wait_for(
            self.backlog.replay(self.committer, self._number, self._applied, self._on_disk), timeout=30
        )

    async def counts(self) -> dict[str, tuple[int, int]]:
        """Visits and views per site; that they are equal is part of the rules here."""
        found = {}
        for name in SITES:
            counts = await Reads(self.client).counts(name, DAY, NOON)
            found[name] = (counts.visits[-2], counts.views[-2])
        return found

    def _number(self, batch: Batch) -> Numbering:
        return numbering()

    def _applied(self, sequence: int, batch: Batch, result: Committed) -> None:
        self.applied.append(sequence)

    @staticmethod
    async def _on_disk(read: Callable[[], list[Record]]) -> list[Record]:
        return read()


@pytest_asyncio.fixture
async def worker(redis_url: str, raw: Redis, tmp_path: Path) -> AsyncIterator[Worker]:
    with opened(tmp_path) as journal:
        committer = Committer(redis_url, journal.writer)
        yield Worker(journal, committer, raw)
        await committer.close()


def each(a: int = 0, b: int = 0, c: int = 0) -> dict[str, tuple[int, int]]:
    return {"a": (a, a), "b": (b, b), "c": (c, c)}


async def test_a_start_applies_what_the_journal_has_and_the_store_has_not(worker: Worker) -> None:
    worker.write("a", "b", "a", "c", "a")
    await worker.commit(1, 2)
    await worker.heal()
    assert await worker.counts() == each(3, 1, 1)
    assert worker.applied == [3, 4, 5]
    assert worker.backlog.lagging == {}
    assert worker.journal.applied == 5
    assert worker.backlog.gaps == 0


async def test_nothing_is_applied_when_nothing_is_missing(worker: Worker) -> None:
    worker.write("a", "b")
    await worker.commit(1, 2)
    await worker.heal()
    assert worker.applied == []
    assert worker.journal.applied == 2


async def test_a_store_that_lost_everything_is_counted_anew_from_the_journal(worker: Worker) -> None:
    worker.write("a", "b", "a", "b", "a")
    await worker.commit(1, 2, 3, 4, 5)
    await worker.client.flushall()
    await worker.heal()
    assert await worker.counts() == each(3, 2)


async def test_a_store_that_came_back_older_is_healed_while_hits_go_on(worker: Worker) -> None:
    worker.write("a", "a", "b", "a", "b")
    await worker.commit(1, 2, 3, 4, 5)
    await worker.client.flushall()
    await worker.commit(1, 3)  # the older copy: one batch of each site
    worker.write("a")
    [result] = await worker.committer.commit([Work(6, worker.written[6].previous, worker.written[6], numbering())])
    assert result == Gap(1)
    worker.backlog.fall_behind("a", 4)  # as far as the worker knows
    await worker.heal()
    assert await worker.counts() == each(4, 2)


async def test_the_scripts_tell_of_a_rollback_that_nobody_has_noticed(worker: Worker) -> None:
    """The worker believes that the store is at 3 and asks no more; the store went back to 1."""
    worker.write("a", "a", "a", "a")
    await worker.commit(1)
    worker.backlog.fall_behind("a", 3)
    await worker.replay()
    assert await worker.counts() == each(4)
    assert worker.backlog.gaps == 0
    assert worker.applied == [2, 3, 4]


async def test_a_store_that_goes_back_in_the_middle_of_healing_is_healed_all_the_same(worker: Worker) -> None:
    worker.write(*"abcab" * 3)
    run = worker.committer._line.run
    trips = 0

    async def rolled_back_at_the_ninth(calls: list[Any]) -> list[Any]:
        nonlocal trips
        trips += 1
        if trips == 9:
            await worker.client.flushall()
        return await run(calls)

    worker.committer._line.run = rolled_back_at_the_ninth  # type: ignore[method-assign]
    await worker.heal()
    # A site that was done before the rollback is seen to be behind by its next batch or look at the watermark.
    await worker.heal()
    assert await worker.counts() == each(6, 6, 3)
    assert worker.backlog.gaps == 0


async def test_one_ledger_alone_may_be_older(worker: Worker) -> None:
    worker.write("a", "a", "b", "a")
    await worker.commit(1, 2, 3, 4)
    await worker.client.delete(*await worker.client.keys("vs:{a:what}:*"))
    await worker.heal()
    assert await worker.counts() == each(3, 1)
    await worker.client.delete(*await worker.client.keys("vs:{a:who}:*"))
    await worker.heal()
    assert await worker.counts() == each(3, 1)


async def test_a_gap_that_cannot_be_healed_is_counted_and_the_rest_goes_on(
    worker: Worker, caplog: pytest.LogCaptureFixture
) -> None:
    """Batches 1 and 2 were dropped from the journal when they were applied; then the store lost them."""
    worker.write("a", "b", "a", "b")
    journal = worker.journal
    worker.journal.read = lambda after: iter(  # type: ignore[method-assign]
        [(n, data) for n, data in Journal.read(journal, after) if n > 2]
    )
    await worker.heal()
    assert await worker.counts() == each(1, 1)
    assert worker.backlog.gaps == 2
    assert worker.backlog.lagging == {}
    assert "site a: batches between 0 and 3 of writer" in caplog.text
    await worker.heal()
    assert (await worker.counts(), worker.backlog.gaps) == (each(1, 1), 2)


async def test_a_gap_in_one_ledger_only_is_counted_once_and_ends(worker: Worker) -> None:
    worker.write("a", "a", "a")
    await worker.commit(1)
    await worker.client.delete(*await worker.client.keys("vs:{a:what}:*"))
    journal = worker.journal
    worker.journal.read = lambda after: iter(  # type: ignore[method-assign]
        [(n, data) for n, data in Journal.read(journal, after) if n > 2]
    )
    await worker.heal()
    assert (await worker.counts())["a"] == (2, 1)
    assert worker.backlog.gaps == 1


async def test_the_newest_batch_that_vanished_is_counted_as_a_gap_and_waits_for_nobody(
    worker: Worker, caplog: pytest.LogCaptureFixture
) -> None:
    worker.write("a", "b")
    journal = worker.journal
    worker.journal.read = lambda after: iter(  # type: ignore[method-assign]
        [(n, data) for n, data in Journal.read(journal, after) if n != 1]
    )
    await worker.heal()
    assert await worker.counts() == each(0, 1)
    assert (worker.backlog.gaps, worker.backlog.lagging) == (1, {})
    assert "have vanished" in caplog.text


async def test_a_site_that_the_store_refuses_does_not_block_the_others(worker: Worker) -> None:
    worker.write("a", "b", "a", "b", "c")
    await worker.client.set(keys.views("a"), "not what it should be")
    await worker.heal()
    assert worker.backlog.lagging == {"a": 0}
    assert worker.journal.applied == 0  # and the journal keeps what it needs
    await worker.client.delete(keys.views("a"))
    await worker.heal()
    assert await worker.counts() == each(2, 2, 1)
    assert worker.journal.applied == 5


async def test_a_record_that_is_no_batch_is_left_alone(worker: Worker, caplog: pytest.LogCaptureFixture) -> None:
    worker.write("a")
    worker.journal.append([b"no batch", b"\x9b\xa1\xff"])
    worker.write("a", "b")
    worker.backlog = Backlog(worker.journal)
    await worker.heal()
    assert await worker.counts() == each(2, 1)
    assert "record 2 is not a batch" in caplog.text
    assert worker.journal.applied == 5


async def test_a_store_that_is_away_stops_the_replay_where_it_is(worker: Worker) -> None:
    worker.write("a", "a", "a")
    commit = worker.committer.commit_in_order

    async def away_at_the_third(work: list[Work]) -> AsyncIterator[tuple[Work, Committed | Gap | Refused]]:
        async for found in commit([item for item in work if item.sequence < 3]):
            yield found
        raise StoreUnavailable("away")

    worker.committer.commit_in_order = away_at_the_third  # type: ignore[method-assign]
    with pytest.raises(StoreUnavailable):
        await worker.heal()
    assert worker.backlog.lagging == {"a": 2}
    worker.committer.commit_in_order = commit  # type: ignore[method-assign]
    await worker.heal()
    assert await worker.counts() == each(3)


async def test_a_journal_of_many_pieces_is_applied_to_its_end(worker: Worker) -> None:
    worker.write(*"ab" * (PIECE + 5))
    await worker.heal()
    assert await worker.counts() == each(PIECE + 5, PIECE + 5)


async def test_batches_that_are_written_during_the_replay_are_applied_too(worker: Worker) -> None:
    worker.write("a", "b")
    applied = worker._applied

    def write_more(sequence: int, batch: Batch, result: Committed) -> None:
        applied(sequence, batch, result)
        if sequence < 6:
            worker.write("a")

    worker._applied = write_more  # type: ignore[method-assign]
    await worker.heal()
    assert worker.backlog.lagging == {}
    assert worker.applied == list(range(1, 8))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, server: Path) -> Iterator[EmbeddedStore]:
    """One server for all examples."""
    with EmbeddedStore.start(tmp_path_factory.mktemp("replay"), server=server) as running:
        yield running


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=12), st.integers(0, 12), st.integers(0, 12))
def test_every_batch_that_is_in_the_store_or_in_the_journal_is_counted_once(
    store: EmbeddedStore, sites: list[str], in_store: int, dropped: int
) -> None:
    """The store has the first `in_store` batches (it may have come back older), the journal all but `dropped`."""
    asyncio.run(rolled_back(store.url, sites, in_store, dropped))


async def rolled_back(url: str, sites: list[str], in_store: int, dropped: int) -> None:
    client = open_client(url)
    await client.flushall()
    logging.getLogger("visitstats").setLevel(logging.CRITICAL)
    try:
        with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
            patch.setattr(journals, "SEGMENT_BYTES", 1)  # a segment for each record
            with opened(Path(folder)) as journal:
                committer = Committer(url, journal.writer)
                worker = Worker(journal, committer, client)
                worker.write(*sites)
                await worker.commit(*range(1, min(in_store, len(sites)) + 1))
            dropped = min(dropped, len(sites) - 1)
            drop_segments(Path(folder), dropped, len(sites))
            kept = range(dropped + 1, len(sites) + 1)
            with opened(Path(folder)) as journal:
                worker = Worker(journal, committer, client)
                await worker.heal()
                assert worker.backlog.lagging == {}
                counted = {*range(1, min(in_store, len(sites)) + 1), *kept}
                expected = [sum(1 for n in counted if sites[n - 1] == name) for name in "abc"]
                assert await worker.counts() == each(*expected)
                await worker.heal()
                assert await worker.counts() == each(*expected)
            await committer.close()
    finally:
        logging.getLogger("visitstats").setLevel(logging.NOTSET)
        await client.aclose()


def drop_segments(folder: Path, count: int, of: int) -> None:
    segments = sorted(folder.glob("*/*.log"))
    assert len(segments) == of
    for segment in segments[:count]:
        segment.unlink()
