"""A replay of which the store refuses a script now and then (out of memory, too few replicas, a damaged key): nothing
is left out by that, and nothing is counted again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from redis.asyncio import Redis

from tests.client import until
from tests.store import machine as machine_module
from tests.store.machine import Machine, lived
from tests.store.writing import DAY, NOON, SITE, gather, names_in, numbering
from visitstats.core.batch import Batch, Gathering, encode
from visitstats.core.errors import JournalFull, StoreRefuses, StoreUnavailable
from visitstats.core.sites import Site
from visitstats.ingest.positions import Positions
from visitstats.ingest.replay import PIECE, Replay
from visitstats.journal.log import Limits, OpenJournal
from visitstats.store import keys
from visitstats.store.commit import Committer, Result, Work
from visitstats.store.line import Answered, Call, ScriptLine
from visitstats.store.reads import Reads

EVERY = msgspec.structs.replace(SITE, views="every-load")
LIMITS = Limits(1 << 30, 1e9)


class MoodyLine:
    """A connection whose store refuses some calls, each once, by their numbers; `whole` as a server that takes no
    writes just then, else for that record alone. It is gone for good after `gone_after` calls."""

    def __init__(self, line: ScriptLine) -> None:
        self._line = line
        self.refused: set[int] = set()
        self.whole = False
        self.gone_after = 1 << 30
        self.came = 0

    @property
    def two_steps(self) -> bool:
        return self._line.two_steps

    async def ready(self) -> int:
        return await self._line.ready()

    async def close(self) -> None:
        await self._line.close()

    async def run(self, calls: list[Call]) -> list[Any]:
        numbers = range(self.came, self.came + len(calls))
        self.came += len(calls)
        if self.came > self.gone_after:
            raise StoreUnavailable("it is away")
        taken = [call for call, n in zip(calls, numbers, strict=True) if n not in self.refused]
        replies = iter(await self._line.run(taken) if taken else [])
        if self.whole and len(taken) < len(calls):
            raise StoreRefuses("the store takes no writes: OOM", "full", "oom")
        refusal = Answered("WRONGTYPE Operation against a key holding the wrong kind of value")
        return [refusal if n in self.refused else next(replies) for n in numbers]


class Slots:
    """Journals of one machine: hits are written into them, and replayed to a moody store."""

    def __init__(self, url: str, root: Path, *, two_steps: bool) -> None:
        self.root = root
        self.journals = [
            OpenJournal.open(root, max_bytes=LIMITS.max_bytes, keep_seconds=LIMITS.keep_seconds, fsync=False)
            for _ in range(2)
        ]
        self.positions = Positions(self.journals[0].writer)
        self.committer = Committer(url)
        self.line = MoodyLine(self.committer._line)
        self.committer._line = self.line  # type: ignore[assignment]
        self._two_steps = two_steps
        self._client = Redis.from_url(url)
        self.replay = Replay(
            root, self.committer, Reads(self._client), lambda site: numbering(NOON + 3600_000), LIMITS
        )  # fmt: skip
        self._newest: dict[tuple[str, str], Batch] = {}
        self._sequence: dict[tuple[str, str], int] = {}
        self.replayed: list[tuple[str, int]] = []

    async def close(self) -> None:
        await self.replay.close()
        await self._client.aclose()
        for journal in self.journals:
            journal.close()

    def write(self, slot: int, moment: int, person: str, article: str, hit_id: str = "", site: Site = EVERY) -> None:
        journal = self.journals[slot]
        name = (journal.writer, site.id)
        waiting = Gathering(site, DAY)
        gather(waiting, moment, person, article, hit_id)
        newest = self._newest.get(name)
        batch = waiting.close(self._sequence.get(name, 0), newest.total if newest else 0, moment)
        journal.append([encode(batch)])
        self._newest[name], self._sequence[name] = batch, journal.last_sequence

    async def bring_up(self) -> set[str]:
        await self.committer.ready()
        self.line._line.two_steps = self._two_steps
        return await self.replay.bring_up(self.positions, self._applied)

    def _applied(self, item: Work, result: Result) -> None:
        assert (item.writer, item.sequence) not in self.replayed
        self.replayed.append((item.writer, item.sequence))
        if item.writer == self.positions.writer:
            self.positions.note_applied(item.record.site, item.sequence)


@pytest_asyncio.fixture(params=[False, True], ids=["at once", "in two steps"])
async def slots(redis_url: str, tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Slots]:
    found = Slots(redis_url, tmp_path, two_steps=request.param)
    yield found
    await found.close()


async def field(raw: Redis, site: str, kind: str) -> int:
    return int(await raw.hget(*keys.count_at(site, kind, "all")) or 0)


@pytest.mark.parametrize("whole", [False, True], ids=["a record", "all writes"])
@pytest.mark.parametrize(
    "refused", [(0,), (1,), (3, 7), (PIECE - 1, PIECE), (2 * PIECE, 2 * PIECE + 1, 2 * PIECE + 5)], ids=str
)
async def test_what_the_store_refuses_for_an_instant_is_applied_once_in_its_order(
    slots: Slots, raw: Redis, refused: tuple[int, ...], whole: bool
) -> None:
    """Two workers' hits by turns, each page load twice, from one after the other."""
    slots.line.refused, slots.line.whole = set(refused), whole
    for n in range(80):
        slots.write(n % 2, NOON + n, f"person {n // 2}", f"/{n // 2}", hit_id=f"{n // 2}")
    for _ in range(8):
        try:
            if not await slots.bring_up():
                break
        except StoreRefuses:
            assert whole
    else:
        pytest.fail("it was not brought up")
    assert slots.replay.gaps == 0
    assert await field(raw, SITE.id, "visits") == await field(raw, SITE.id, "views") == 40
    views: Any = await raw.hvals(keys.articles(SITE.id))
    assert views == [b"1"] * 40
    assert keys.redo(SITE.id) not in await names_in(raw)
    for journal in slots.journals:
        expected = b"%d:%d" % (journal.last_sequence, 40)
        assert await raw.hget(keys.marks(SITE.id), journal.writer) == expected
    # What was told is what was applied: a record that was refused is told later, and none is told twice.
    assert {writer for writer, _ in slots.replayed} == {journal.writer for journal in slots.journals}


async def test_a_site_that_is_refused_leaves_the_others_alone(slots: Slots, raw: Redis) -> None:
    """Its records wait; they are applied as soon as the key is what it should be."""
    other = Site(id="other", hosts=("other.vn",), views="every-load")
    for n in range(2 * PIECE):
        slots.write(n % 2, NOON + n, f"person {n}", "/a", site=(EVERY, other)[n // 2 % 2])
    await raw.set(keys.names(SITE.id), "not what it should be")
    for _ in range(2):
        assert await slots.bring_up() == {SITE.id}
        assert (await field(raw, other.id, "views"), await field(raw, SITE.id, "views")) == (PIECE, 0)
    assert slots.positions.is_behind(SITE.id)
    assert not slots.positions.is_behind(other.id)
    await raw.delete(keys.names(SITE.id))
    assert await slots.bring_up() == set()
    assert await field(raw, SITE.id, "views") == await field(raw, SITE.id, "visits") == PIECE
    assert not slots.positions.is_behind(SITE.id)


async def test_a_replay_that_is_cut_off_goes_on_where_it_was(slots: Slots, raw: Redis) -> None:
    """And what it had applied until then is known: it need not stay in the journal."""
    for n in range(4 * PIECE):
        slots.write(0, NOON + n, f"person {n}", "/a")
    steps = 2 if slots._two_steps else 1
    slots.line.gone_after = 2 * PIECE * steps + 1
    with pytest.raises(StoreUnavailable):
        await slots.bring_up()
    assert slots.positions.applied[SITE.id] == 2 * PIECE
    assert await field(raw, SITE.id, "views") == 2 * PIECE
    slots.line.gone_after = 1 << 30
    assert await slots.bring_up() == set()
    assert [sequence for _, sequence in slots.replayed] == list(range(1, 4 * PIECE + 1))
    assert await field(raw, SITE.id, "views") == await field(raw, SITE.id, "visits") == 4 * PIECE


async def test_a_look_at_the_store_is_not_disturbed_by_a_site_that_is_new(
    slots: Slots, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A replay finds its first record just while the watermarks are read, which did not ask for it."""
    slots.write(1, NOON, "An", "/a")
    await slots.bring_up()
    marks = slots.replay._reads.marks

    async def meanwhile(sites: list[str]) -> Any:
        slots.write(1, NOON + 1, "An", "/a", site=Site(id="new", hosts=("new.vn",)))
        slots.replay._scan("", None)
        return await marks(sites)

    monkeypatch.setattr(slots.replay._reads, "marks", meanwhile)
    await slots.replay.check(slots.positions)
    assert not slots.positions.older, "it is asked for the next time"
    monkeypatch.undo()
    await slots.replay.check(slots.positions)
    assert slots.positions.older


# Room in the journal --------------------------------------------------------------------------------------------------


class Gate(Committer):
    """A replay's committer that lets so many pieces pass, and holds the next until more may."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._open = asyncio.Semaphore(0)

    def let_pass(self, pieces: int) -> None:
        for _ in range(pieces):
            self._open.release()

    async def commit(self, work: list[Work]) -> list[Result]:
        await self._open.acquire()
        return await super().commit(work)


async def test_room_is_made_in_the_journal_while_a_long_replay_goes_on(
    redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full journal refuses hits: it must not have to wait until an hour's absence is replayed to the end."""
    monkeypatch.setattr(machine_module, "MAX_BYTES", 64 << 10)  # of which a segment takes a quarter
    async with Machine(redis_url, tmp_path, EVERY, NOON, workers=1) as machine:
        people = count()

        async def crowd(many: int) -> None:
            machine.now += 1000
            await asyncio.gather(*(machine.hit(0, f"person {next(people) % 50}", "/a") for _ in range(many)))

        for _ in range(5 * PIECE):
            await crowd(1)
        [worker] = machine.workers
        gate = Gate(redis_url)
        await worker.replay._committer.close()
        worker.replay._committer = gate
        await machine.lose({})

        async def fill() -> None:
            for _ in range(100):
                await crowd(20)

        with pytest.raises(JournalFull, match="used up by hits that are not applied yet"):
            await fill()

        async def taken() -> bool:
            try:
                await crowd(20)
            except JournalFull:
                return False
            return True

        assert not await taken(), "nothing is applied yet"
        gate.let_pass(4)
        await until(taken, "there is room again")
        assert not worker.positions.has_all, "and the replay is not at its end"
        gate.let_pass(1000)
        await lived(machine)
