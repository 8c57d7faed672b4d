"""Hits, merges, undos and replays in any order: every list is what plain books say, and no total ever changes but by a
hit."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from tests.store.merging import Lists, Merging
from tests.store.writing import CALENDAR, SITE, batch_of, commit_one, numbering
from visitstats.core.batch import Batch
from visitstats.core.entries import Entry
from visitstats.core.errors import VisitstatsError
from visitstats.core.keys import article_id
from visitstats.embedded import EmbeddedStore
from visitstats.store import keys
from visitstats.store.client import open_client
from visitstats.store.commit import Committed, Committer

ARTICLES = ["/a", "/b", "/c", "/d", "/e"]
DAYS = ["2036-10-31", "2036-11-23", "2036-11-24"]
"""Two months, and two weeks that are not theirs."""
OTHER_WRITER = "f" * 32


@dataclass
class Merge:
    source: str
    target: str
    moved: dict[str, int]
    active: bool = True


@dataclass
class Books:
    """The slow way: every list as a counter of its own."""

    lists: dict[str, Counter[str]] = field(default_factory=dict)
    known: set[str] = field(default_factory=set)
    merges: dict[str, Merge] = field(default_factory=dict)

    def end(self, article: str) -> str:
        steps = {merge.source: merge.target for merge in self.merges.values() if merge.active}
        while article in steps:
            article = steps[article]
        return article

    def hit(self, date: str, article: str) -> None:
        article = self.end(article)
        self.known.add(article)
        for name in ("all", date, date[:7], "w" + CALENDAR.day_named(date).week[0]):
            self.lists.setdefault(name, Counter())[article] += 1

    def baseline(self, article: str, views: int) -> None:
        self.known.add(article)
        for name in ("all", "base"):
            self.lists.setdefault(name, Counter())[article] += views

    def may_merge(self, source: str, target: str, kind: str) -> bool:
        """Whether a merge is to be made."""
        end = self.end(target)
        counted = self.lists.get("all", Counter())[source] > 0
        known = source in self.known if kind == "merge" else not counted
        return source != target and source != end and self.end(source) == source and known and end in self.known

    def merge(self, change_id: str, source: str, target: str) -> None:
        end, moved = self.end(target), {}
        for name, row in self.lists.items():
            if row[source]:
                moved[name] = row.pop(source)
                row[end] += moved[name]
        self.merges[change_id] = Merge(source, end, moved)

    def may_undo(self, change_id: str) -> bool:
        merge = self.merges.get(change_id)
        return merge is not None and merge.active and self.end(merge.target) == merge.target

    def undo(self, change_id: str) -> None:
        merge = self.merges[change_id]
        merge.active = False
        for name, views in merge.moved.items():
            self.lists[name][merge.source] += views
            self.lists[name][merge.target] -= views

    def shown(self) -> Lists:
        return {name: {article: n for article, n in row.items() if n} for name, row in self.lists.items()}


class World:
    """A store and the books beside it; `check` is called after every step."""

    def __init__(self, url: str) -> None:
        self.client = open_client(url)
        self.merging = Merging(url, self.client)
        self.merging.names = {article_id(article): article for article in ARTICLES}
        self.other = Committer(url, OTHER_WRITER)
        self.books = Books()
        self.waiting: list[tuple[str, list[str], Batch]] = []
        self.written: list[Batch] = []
        self.changes: list[str] = []
        self.hits = 0

    async def hit(self, date: str, articles: list[str]) -> None:
        result = await self.merging.read(*articles, day=CALENDAR.day_named(date))
        self.count(date, articles)
        assert result.articles == tuple(
            self.books.lists["all"][self.books.end(article)] for article in dict.fromkeys(articles)
        )

    def journal(self, date: str, articles: list[str]) -> None:
        """Another worker has journalled these and waits for the store."""
        day = CALENDAR.day_named(date)
        hits = [(day.start_ms + n, f"person {n}", article) for n, article in enumerate(articles)]
        previous = len(self.written) + len(self.waiting)
        batch = batch_of(*hits, site=self.merging.site, previous=previous, day=day)
        self.waiting.append((date, articles, batch))

    async def apply(self) -> None:
        if self.waiting:
            date, articles, batch = self.waiting.pop(0)
            self.written.append(batch)
            await self.send(len(self.written), batch, fresh=True)
            self.count(date, articles)

    async def replay(self) -> None:
        """Everything that the other worker has applied comes again."""
        for sequence, batch in enumerate(self.written, 1):
            await self.send(sequence, batch, fresh=False)

    async def send(self, sequence: int, batch: Batch, *, fresh: bool) -> None:
        result = await commit_one(self.other, sequence, batch, numbering(batch.end_ms - 1))
        assert isinstance(result, Committed)
        assert result.fresh == fresh

    def count(self, date: str, articles: list[str]) -> None:
        self.hits += len(articles)
        for article in articles:
            self.books.hit(date, article)

    async def merge(self, source: str, target: str, kind: Any) -> None:
        allowed = self.books.may_merge(source, target, kind)
        event(f"{kind}: {allowed}")
        try:
            made = await self.merging.merges.merge(source, target, "an", kind=kind)
        except VisitstatsError:
            assert not allowed
        else:
            assert allowed
            self.changes.append(made.id)
            self.books.merge(made.id, source, target)

    async def undo(self, which: int) -> None:
        if not self.changes:
            return
        change_id = self.changes[which % len(self.changes)]
        allowed = self.books.may_undo(change_id)
        event(f"undo: {allowed}")
        try:
            made = await self.merging.merges.undo(change_id, "an")
        except VisitstatsError:
            assert not allowed
        else:
            assert allowed
            self.changes.append(made.id)
            self.books.undo(change_id)

    async def check(self) -> None:
        found = await self.merging.lists()
        assert {name: row for name, row in found.items() if row} == {
            name: row for name, row in self.books.shown().items() if row
        }
        views: Any = await self.client.hgetall(keys.views(SITE.id))
        counts = {name.decode(): int(n) for name, n in views.items()}
        assert counts.get("all", 0) == self.hits
        for name, n in counts.items():
            if name in found and name != "base":
                assert sum(found[name].values()) == n + (counts.get("base", 0) if name == "all" else 0), name

    async def close(self) -> None:
        await self.merging.close()
        await self.other.close()
        await self.client.aclose()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, server: Path) -> Iterator[EmbeddedStore]:
    """One server for all examples."""
    with EmbeddedStore.start(tmp_path_factory.mktemp("merges"), server=server) as running:
        yield running


article = st.sampled_from(ARTICLES)
reading = st.tuples(st.sampled_from(DAYS), st.lists(article, min_size=1, max_size=4))
step = st.one_of(
    st.tuples(st.just("hit"), reading),
    st.tuples(st.just("journal"), reading),
    st.tuples(st.just("apply"), st.none()),
    st.tuples(st.just("replay"), st.none()),
    st.tuples(st.just("merge"), st.tuples(article, article)),
    st.tuples(st.just("merge"), st.tuples(article, article)),
    st.tuples(st.just("alias"), st.tuples(article, article)),
    st.tuples(st.just("undo"), st.integers(0, 20)),
)


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(article, st.integers(1, 50), max_size=2), st.lists(step, min_size=3, max_size=25))
def test_counts_are_conserved_whatever_is_merged_and_undone(
    store: EmbeddedStore, baselines: dict[str, int], steps: list[tuple[str, Any]]
) -> None:
    asyncio.run(play(store.url, baselines, steps))


async def play(url: str, baselines: dict[str, int], steps: list[tuple[str, Any]]) -> None:
    world = World(url)
    try:
        await world.client.flushall()
        await world.merging.records.set_baseline(SITE.id, 0, {Entry(name): n for name, n in baselines.items()})
        for name, n in baselines.items():
            world.books.baseline(name, n)
        await world.hit(DAYS[0], ["/a", "/b", "/b", "/c", "/d"])
        for what, how in steps:
            if what == "hit":
                await world.hit(*how)
            elif what == "journal":
                world.journal(*how)
            elif what in ("merge", "alias"):
                await world.merge(how[0], how[1], what)
            elif what == "undo":
                await world.undo(how)
            else:
                await getattr(world, what)()
            await world.check()
    finally:
        await world.close()
