"""Bringing a store up to the journals: one process of a machine at a time, everything once, in the order of moments."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.slots import HOUR, MIB, NOON, change, folder_in_memory, opened
from tests.waiting import eventually
from visitstats.core.batch import ChangeRecord, encode
from visitstats.core.errors import StoreUnavailable
from visitstats.ingest import replay as replays
from visitstats.ingest.positions import Positions
from visitstats.ingest.replay import Replay, numbering
from visitstats.journal.log import Limits, OpenJournal
from visitstats.journal.reader import Newest
from visitstats.store.commit import Changed, Gap, Refused, Result, Work
from visitstats.store.reads import Mark, Marks


class Store:
    """Ledgers that know watermarks and nothing else, as the script and the read side show them."""

    def __init__(self) -> None:
        self.ledgers: dict[str, dict[str, Mark]] = {}
        self.applied: list[tuple[str, int, ChangeRecord]] = []
        self.refused: set[str] = set()
        """Sites whose records it does not take."""
        self.open = asyncio.Event()
        self.open.set()
        """Closed: it takes commands, and does not answer."""
        self.asked = 0
        """Commands to commit that it was sent."""
        self.forgets_at = 0
        """It loses everything as soon as it has so many records."""

    async def commit(self, work: list[Work]) -> list[Result]:
        self.asked += 1
        await self.open.wait()
        return [self._commit(item) for item in work]

    def _commit(self, item: Work) -> Result:
        record = item.record
        if record.site in self.refused:
            return Refused("WRONGTYPE")
        ledger = self.ledgers.setdefault(record.site, {})
        mark = ledger.get(item.writer, Mark(0, 0)).sequence
        if item.previous > mark:
            return Gap(mark)
        if item.sequence <= mark:
            return Changed("")
        ledger[item.writer] = Mark(item.sequence, record.total)
        self.applied.append((item.writer, item.sequence, cast(ChangeRecord, record)))
        if len(self.applied) == self.forgets_at:
            self.ledgers.clear()
        return Changed("ok")

    async def marks(self, sites: list[str]) -> Marks:
        return {site: dict(self.ledgers.get(site, {})) for site in sites}

    async def close(self) -> None:
        """There is no connection."""

    @property
    def moments(self) -> list[int]:
        return [record.at_ms - NOON for _, _, record in self.applied]


@asynccontextmanager
async def replaying(root: Path, store: Store) -> AsyncIterator[Replay]:
    replay = Replay(root, cast(Any, store), cast(Any, store), lambda site: numbering(None, NOON), Limits(MIB, HOUR))
    try:
        yield replay
    finally:
        await replay.close()


def at_work(replay: Replay) -> bool:
    return replay.at_work


def ignore(item: Work, result: Result) -> None:
    """Nobody waits for a result."""


def append(journal: OpenJournal, at: int, site: str = "s", previous: int | None = None) -> int:
    """Write one record of a site, `at` ms after noon, and return its sequence."""
    n = journal.last_sequence + 1
    journal.append([encode(change(n, site, previous=previous, at_ms=NOON + at))])
    return n


# What is applied ------------------------------------------------------------------------------------------------------


async def test_the_records_of_all_slots_are_applied_in_the_order_of_their_moments(root: Path) -> None:
    """Whoever had them: what one worker's hit decides about another's is what it decided the first time."""
    store = Store()
    with opened(root) as first, opened(root) as second, opened(root) as third:
        for at in range(90):
            append((first, second, third)[at % 3], at)
        mine = Positions(first.writer)
        async with replaying(root, store) as replay:
            assert await replay.bring_up(mine, ignore) == set()
        assert store.moments == list(range(90))
        assert mine.newest == {"s": Newest(30, 30)}
        assert mine.applied == {"s": 30}
        assert not mine.is_behind("s")


async def test_what_the_store_has_is_not_applied_again_and_who_waits_is_told_of_the_rest(root: Path) -> None:
    store, told = Store(), []
    with opened(root) as journal:
        for at in range(5):
            append(journal, at)
        store.ledgers["s"] = {journal.writer: Mark(3, 3)}
        async with replaying(root, store) as replay:
            await replay.bring_up(Positions(journal.writer), lambda item, result: told.append(item.sequence))
            assert store.moments == [3, 4]
            assert told == [4, 5]
            await replay.bring_up(Positions(journal.writer), ignore)
    assert store.moments == [3, 4]


async def test_a_clock_that_was_set_back_does_not_bring_a_writers_records_out_of_their_order(root: Path) -> None:
    """The ledger would find gaps."""
    store = Store()
    with opened(root) as first, opened(root) as second:
        for journal, moments in ((first, (10, 20, 5, 30)), (second, (12, 19, 25))):
            for at in moments:
                append(journal, at)
        async with replaying(root, store) as replay:
            await replay.bring_up(Positions(first.writer), ignore)
            assert replay.gaps == 0
    assert store.moments == [10, 12, 19, 20, 5, 25, 30]


async def test_a_store_that_loses_everything_meanwhile_is_brought_up_from_the_beginning(root: Path) -> None:
    store = Store()
    with opened(root) as journal:
        for at in range(100):
            append(journal, at)
        store.forgets_at = 50
        async with replaying(root, store) as replay:
            await replay.bring_up(Positions(journal.writer), ignore)
            assert replay.gaps == 0
    assert store.moments == [*range(50), *range(100)]


async def test_a_site_that_the_store_refuses_keeps_no_other_from_being_counted(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is tried again each time, and told once."""
    store = Store()
    store.refused.add("bad")
    with opened(root) as journal:
        before = {"bad": 0, "good": 0}
        for at in range(60):
            site = ("bad", "good")[at % 2]
            before[site] = append(journal, at, site, before[site])
        mine = Positions(journal.writer)
        async with replaying(root, store) as replay:
            for _ in range(2):
                assert await replay.bring_up(mine, ignore) == {"bad"}
            assert [mine.is_behind(site) for site in ("bad", "good")] == [True, False]
            assert caplog.text.count("refuses record 1 of site bad") == 1
            store.refused.clear()
            assert await replay.bring_up(mine, ignore) == set()
    assert sorted(store.moments) == list(range(60))
    assert not mine.is_behind("bad")


async def test_records_that_are_nowhere_any_more_are_counted_as_a_gap_once_and_the_rest_is_applied(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store()
    with opened(root) as journal:
        append(journal, 1, previous=0)
        journal.append([b"damaged"])
        append(journal, 3, previous=2)
        append(journal, 4, previous=3)
        async with replaying(root, store) as replay:
            for _ in range(2):
                await replay.bring_up(Positions(journal.writer), ignore)
            assert replay.gaps == 1
    assert store.moments == [1, 3, 4]
    assert caplog.text.count("neither in the store nor in the journal") == 1


async def test_a_slot_that_became_another_writers_is_read_anew(root: Path) -> None:
    """A copy of a data folder whose slots are taken one after the other: a slot without records gets a new writer when
    it is taken, and a neighbour that has looked at it before must not leave its hits behind."""
    store = Store()
    with opened(root) as mine_journal:
        with opened(root):
            pass  # a slot 01 without records
        async with replaying(root, store) as replay:
            mine = Positions(mine_journal.writer)
            await replay.bring_up(mine, ignore)
            (root / "01" / "place").write_text("elsewhere")
            with opened(root) as other:
                assert other.number == 1
                append(other, 7)
            assert await replay.adopt(mine, ignore, NOON) == [1]
    assert store.moments == [7]


steps = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 100), st.sampled_from("ab")), max_size=40)


@settings(max_examples=25)
@given(steps, st.lists(st.integers(0, 40), min_size=3, max_size=3))
async def test_whatever_a_store_has_it_has_everything_once_afterwards(
    several: list[tuple[int, int, str]], had: list[int]
) -> None:
    """Any records of three writers and two sites, of which the store has a part of each writer's."""
    store = Store()
    with folder_in_memory() as root, opened(root) as first, opened(root) as second, opened(root) as third:
        journals, before = (first, second, third), Counter[tuple[int, str]]()
        expected: list[tuple[str, int]] = []
        for writer, at, site in several:
            sequence = append(journals[writer], at, site, before[writer, site])
            if sequence <= had[writer]:
                store.ledgers.setdefault(site, {})[journals[writer].writer] = Mark(sequence, sequence)
            else:
                expected.append((journals[writer].writer, sequence))
            before[writer, site] = sequence
        async with replaying(root, store) as replay:
            await replay.bring_up(Positions(first.writer), ignore)
            assert replay.gaps == 0
        assert sorted((writer, sequence) for writer, sequence, _ in store.applied) == sorted(expected)


# One process at a time ------------------------------------------------------------------------------------------------


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replays, "LOOK_SECONDS", 0.001)
    monkeypatch.setattr(replays, "PATIENCE_SECONDS", 0.05)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replays, "LOOK_SECONDS", 0.001)
    monkeypatch.setattr(replays, "PATIENCE_SECONDS", 60.0)


@pytest.mark.usefixtures("patient")
async def test_while_one_process_replays_another_waits_and_finds_nothing_to_do(root: Path) -> None:
    store, idle = Store(), Store()
    idle.ledgers = store.ledgers
    with opened(root) as first, opened(root) as second:
        for at in range(10):
            append((first, second)[at % 2], at)
        async with replaying(root, store) as holder, replaying(root, idle) as waiter:
            assert not at_work(waiter)
            store.open.clear()
            holding = asyncio.create_task(holder.bring_up(Positions(first.writer), ignore))
            await eventually(lambda: store.asked, "the first process replays")
            assert at_work(waiter)
            assert at_work(holder)
            mine = Positions(second.writer)
            waiting = asyncio.create_task(waiter.bring_up(mine, ignore))
            assert await waiter.adopt(mine, ignore, NOON) == []  # it does not even look
            await asyncio.sleep(0)
            assert not waiting.done()
            store.open.set()
            await asyncio.gather(holding, waiting)
            assert not at_work(waiter)
            assert not at_work(holder)
            assert not mine.is_behind("s")
    assert (len(store.applied), idle.asked) == (10, 0)


@pytest.mark.usefixtures("patient")
async def test_a_replay_that_fails_gives_the_turn_to_others(root: Path) -> None:
    class Away(Store):
        async def commit(self, work: list[Work]) -> list[Result]:
            raise StoreUnavailable("away")

    store = Store()
    with opened(root) as journal:
        append(journal, 1)
        async with replaying(root, Away()) as first, replaying(root, store) as second:
            with pytest.raises(StoreUnavailable):
                await first.bring_up(Positions(journal.writer), ignore)
            assert not at_work(second)
            await second.bring_up(Positions(journal.writer), ignore)
    assert store.moments == [1]


@pytest.mark.usefixtures("impatient")
async def test_a_process_that_hangs_while_it_replays_is_passed_by_after_a_while(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The others then apply what is their own, and nothing of the other's, which may be on its way to the store."""
    hung, store = Store(), Store()
    hung.open.clear()
    with opened(root) as first, opened(root) as second:
        for at in range(10):
            append((first, second)[at % 2], at)
        async with replaying(root, hung) as holder, replaying(root, store) as other:
            holding = asyncio.create_task(holder.bring_up(Positions(first.writer), ignore))
            await eventually(lambda: hung.asked, "the first process replays")
            assert at_work(other)
            mine = Positions(second.writer)
            await other.bring_up(mine, ignore)
            assert {writer for writer, _, _ in store.applied} == {second.writer}
            assert not mine.is_behind("s")
            assert "hangs" in caplog.text
            assert not at_work(other)  # it commits again
            append(second, 11)
            await other.bring_up(mine, ignore)  # and does not wait a second time
            assert store.moments == [1, 3, 5, 7, 9, 11]
            hung.open.set()
            await holding


@pytest.mark.usefixtures("impatient")
async def test_a_process_that_makes_progress_is_waited_for_however_long_it_takes(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replays, "PIECE", 1)

    class Slow(Store):
        async def commit(self, work: list[Work]) -> list[Result]:
            await asyncio.sleep(replays.PATIENCE_SECONDS / 5)
            return await super().commit(work)

    slow, idle = Slow(), Store()
    idle.ledgers = slow.ledgers
    with opened(root) as first, opened(root) as second:
        for at in range(15):  # three times the patience
            append((first, second)[at % 2], at)
        async with replaying(root, slow) as holder, replaying(root, idle) as waiter:
            holding = asyncio.create_task(holder.bring_up(Positions(first.writer), ignore))
            await eventually(lambda: slow.asked, "the first process replays")
            await waiter.bring_up(Positions(second.writer), ignore)
            await holding
    assert (len(slow.applied), idle.asked) == (15, 0)


HOLDER = """
import asyncio, sys
from pathlib import Path
from tests.unit.test_replay import Store, ignore, replaying
from visitstats.ingest.positions import Positions

async def hang():
    store = Store()
    store.open.clear()
    async with replaying(Path(sys.argv[1]), store) as replay:
        task = asyncio.create_task(replay.bring_up(Positions("0" * 32), ignore))
        while not store.asked:
            await asyncio.sleep(0.001)
        print("replaying", flush=True)
        await task

asyncio.run(hang())
"""


@contextmanager
def hanging(root: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(root)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "replaying\n"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.usefixtures("patient")
async def test_a_process_that_is_killed_while_it_replays_does_not_block_the_others(root: Path) -> None:
    """The kernel takes the turn away from it."""
    store = Store()
    with opened(root) as journal:
        append(journal, 1)
        async with replaying(root, store) as replay:
            with hanging(root) as process:
                assert at_work(replay)
                process.kill()
                process.wait()
                assert not at_work(replay)
                assert not at_work(replay)
            await replay.bring_up(Positions(journal.writer), ignore)
    assert store.moments == [1]


# Slots without a process ----------------------------------------------------------------------------------------------


async def test_what_a_dead_worker_left_is_applied_by_its_neighbours_and_its_slot_is_named(root: Path) -> None:
    store = Store()
    with opened(root) as mine_journal:
        mine = Positions(mine_journal.writer)
        with opened(root) as other:
            append(other, 1)
            async with replaying(root, store) as replay:
                assert await replay.adopt(mine, ignore, NOON) == []
                assert store.applied == []  # it is alive, and was seen for the first time
        async with replaying(root, store) as replay:
            for _ in range(2):
                assert await replay.adopt(mine, ignore, NOON) == [1]
    assert store.moments == [1]


async def test_what_a_living_worker_leaves_lying_is_applied_when_its_slot_has_not_grown(root: Path) -> None:
    """One that hangs, with hits that it has acknowledged."""
    store = Store()
    with opened(root) as mine_journal, opened(root) as other:
        mine = Positions(mine_journal.writer)
        async with replaying(root, store) as replay:
            append(other, 1)
            await replay.adopt(mine, ignore, NOON)
            append(other, 2)
            await replay.adopt(mine, ignore, NOON)
            assert store.applied == []
            assert await replay.adopt(mine, ignore, NOON) == []  # it is not free, so it is not named
    assert store.moments == [1, 2]


async def test_a_store_that_came_back_without_a_neighbours_hits_is_noticed(root: Path) -> None:
    """Also when the neighbour is gone, and nobody sends hits."""
    store = Store()
    with opened(root) as mine_journal:
        mine = Positions(mine_journal.writer)
        with opened(root) as other:
            append(other, 1)
        async with replaying(root, store) as replay:
            await replay.bring_up(mine, ignore)
            mine.wake.clear()
            await replay.check(mine)
            assert (mine.older, mine.wake.is_set()) == (False, False)
            store.ledgers.clear()
            await replay.check(mine)
            assert (mine.older, mine.wake.is_set()) == (True, True)
            await replay.bring_up(mine, ignore)
            assert not mine.older
    assert store.moments == [1, 1]
