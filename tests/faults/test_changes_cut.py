"""Append-only files that were cut at any byte, over and over, with changes in them: what is applied again, in the order
of the journal, comes to the very same ledger as without any of that.

A server may execute the beginning of what was cut at a later start, together with what was written since
(lua/ledger.lua). An undo takes back what was there: a merge that is half there would be wrong for ever.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from tests.faults.external import ExternalStore
from tests.store.books import Books, Event
from tests.store.merging import DAY, SITE, Writer, gathered, ledger
from visitstats.core.batch import OTHER_KEY, ChangeRecord
from visitstats.core.entries import Entry
from visitstats.core.entries import encode as encode_entry
from visitstats.core.keys import article_id
from visitstats.store import keys
from visitstats.store.changes import Change, merging, setting_baselines, undoing
from visitstats.store.commit import Changed, Committed, Gap

ARTICLES = ["/a", "/b", "/c", OTHER_KEY]
NAMES = ["1" * 32, "2" * 32]
TAIL = 2500
"""Bytes of the last few transactions."""


@dataclass
class Plan:
    """What two writers have journalled, in the order of the moments: which writer's, and the record's sequence."""

    writers: list[Writer]
    order: list[tuple[int, int]]
    chance: random.Random
    expected: Books = field(default_factory=Books)

    @classmethod
    def of(cls, url: str, seed: int) -> Plan:
        """A long day with many changes; most can be made, some are refused."""
        plan = cls([Writer(url, name) for name in NAMES], [], random.Random(seed))
        events: list[Event] = []
        plan.journal(gathered(SITE, DAY, DAY.start_ms, *ARTICLES))
        events.append(Event(0, "", 0, "hit", (DAY.date, tuple(ARTICLES))))
        for n in range(1, 60):
            books = Books.of(events)
            source, target = plan.chance.sample(ARTICLES, 2)
            kind = plan.chance.choice(("hit", "merge", "merge", "undo", "undo", "baseline"))
            what: tuple[Any, ...] = (f"{n:08x}", source, target)
            if kind == "merge":
                change = Change("merge", n, "an", "", source, target, "")
                plan.journal(merging(SITE.id, f"{n:08x}", change))
            elif kind == "undo" and books.merges:
                merged, merge = plan.chance.choice(list(books.merges.items()))
                undo = Change("undo", n, "an", "", merge.source, merge.target, merged)
                plan.journal(undoing(SITE.id, f"{n:08x}", undo))
                what = (f"{n:08x}", merged)
            elif kind == "baseline":
                noted = books.noted + (plan.chance.random() < 0.2)
                plan.journal(setting_baselines(SITE.id, noted, n, [(article_id("/d"), n, encode_entry(Entry("/d")))]))
                what = (noted, (("/d", n),))
            else:
                kind, what = "hit", (DAY.date, (source, target, source))
                plan.journal(gathered(SITE, DAY, DAY.start_ms + 1000 * n, *what[1]))
            events.append(Event(n, "", 0, kind, what))
        plan.expected = Books.of(events)
        return plan

    def journal(self, what: Any) -> None:
        which = self.chance.randrange(2)
        self.order.append((which, self.writers[which].write(what)))

    async def send(self, place: int) -> Changed | Committed:
        which, sequence = self.order[place]
        result = await self.writers[which].send(sequence)
        assert isinstance(result, Changed | Committed), result
        return result

    async def first_lacking(self, client: Any) -> int:
        """The place in the order from which on the store may lack something."""
        marks: dict[bytes, bytes] = await client.hgetall(keys.marks(SITE.id))
        reached = [int(marks.get(name.encode(), b"0").partition(b":")[0]) for name in NAMES]
        lacking = [place for place, (which, sequence) in enumerate(self.order) if sequence > reached[which]]
        return min(lacking, default=len(self.order))

    async def close(self) -> None:
        for writer in self.writers:
            await writer.close()


def cut(folder: Path, chance: random.Random) -> None:
    """Cut the end of the append-only file off, at any byte."""
    path = max(folder.glob("appendonlydir/*.incr.aof"))
    data = path.read_bytes()
    path.write_bytes(data[: chance.randrange(max(len(data) - TAIL, 0), len(data) + 1)])


def start(store: ExternalStore) -> None:
    store.start()
    with store.client() as client:
        client.config_set("appendfsync", "always")  # a kill must lose nothing but what is cut


async def contents(store: ExternalStore) -> dict[str, Any]:
    async with Redis.from_url(store.url) as client:
        return {name: content for name, (content, _) in (await ledger(client)).items()}


async def undisturbed(folder: Path, program: Path, seed: int) -> tuple[dict[str, Any], list[bool]]:
    store = ExternalStore(folder, program)
    start(store)
    plan = Plan.of(store.url, seed)
    try:
        results = [await plan.send(place) for place in range(len(plan.order))]
        assert all(result.fresh for result in results)
        made = [result.word == "ok" for result in results if isinstance(result, Changed)]
        found = await contents(store)
        assert {article: int(n) for article, n in found[keys.articles(SITE.id)].items()} == {
            article_id(article): n for article, n in plan.expected.all.items()
        }
        return found, made
    finally:
        await plan.close()
        store.kill()


@pytest.mark.parametrize("seed", [1, 2])
async def test_changes_survive_cuts_anywhere(tmp_path: Path, every_server: Path, seed: int) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    expected, made = await undisturbed(tmp_path / "one" / "store", every_server, seed)
    assert made.count(True) > 10
    assert made.count(False) > 3
    store = ExternalStore(tmp_path / "two" / "store", every_server)
    start(store)
    plan, chance = Plan.of(store.url, seed), random.Random(seed)
    crashes, place = 0, 0
    try:
        while place < len(plan.order):
            await plan.send(place)
            place += 1
            if crashes < 12 and chance.random() < 0.25:
                crashes += 1
                store.kill()
                cut(tmp_path / "two" / "store", chance)
                start(store)
                # As a worker does behind a new connection: first what is above the watermarks, in order.
                async with Redis.from_url(store.url) as client:
                    place = min(place, await plan.first_lacking(client))
                for writer in plan.writers:
                    await writer.committer.close()
        assert crashes > 8
        assert await contents(store) == expected
        for place in range(len(plan.order)):
            assert not (await plan.send(place)).fresh
        assert await contents(store) == expected
    finally:
        await plan.close()
        store.kill()


async def test_a_change_that_was_cut_is_made_when_it_comes_again(tmp_path: Path, every_server: Path) -> None:
    """At each byte of its two transactions: it is there as a whole, or not at all, and then it is made once."""
    store = ExternalStore(tmp_path / "store", every_server)
    start(store)
    writer = Writer(store.url)
    path = tmp_path / "store" / "appendonlydir"

    def record() -> ChangeRecord:
        return merging(SITE.id, "00000001", Change("merge", 1, "an", "", "/old", "/new", ""))

    try:
        await writer.commit(gathered(SITE, DAY, DAY.start_ms, "/old", "/old", "/new"))
        begun = len(max(path.glob("*.incr.aof")).read_bytes())
        assert (await writer.change(record())).word == "ok"
        expected = await contents(store)
        whole = max(path.glob("*.incr.aof")).read_bytes()
        store.kill()
        for end in range(begun, len(whole), max(1, (len(whole) - begun) // 12)):
            max(path.glob("*.incr.aof")).write_bytes(whole[:end])
            start(store)
            await writer.committer.close()
            async with Redis.from_url(store.url) as client:
                views: Any = await client.hgetall(keys.articles(SITE.id))
            assert sum(map(int, views.values())) == 3, (end, views)
            result = await writer.send(2)
            assert not isinstance(result, Gap)
            assert await contents(store) == expected, end
            store.kill()
    finally:
        await writer.close()
        store.kill()
