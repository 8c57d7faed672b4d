"""Append-only files that were cut at any byte, over and over, with changes in them: what is applied again comes to the
ledger that plain books make of the same records.

A server may execute the beginning of what was cut at a later start, together with what was written since
(lua/ledger.lua). An undo takes back what was there: a merge that is half there would be wrong for ever.
"""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis

from tests.faults.external import ExternalStore
from tests.store.books import Books, Event
from tests.store.merging import DAY, SITE, Writer, gathered, ledger
from visitstats.core.batch import OTHER_KEY
from visitstats.core.entries import Entry
from visitstats.core.entries import decode as decode_entry
from visitstats.core.entries import encode as encode_entry
from visitstats.core.keys import article_id
from visitstats.store import keys
from visitstats.store.change_records import (
    Amount,
    Change,
    ClosingState,
    FactSet,
    adding,
    closing,
    merging,
    naming,
    setting_baselines,
    undoing,
)
from visitstats.store.commit import Changed, Committed, Gap

ARTICLES = ["/a", "/b", "/c", OTHER_KEY]
NAMES = ["1" * 32, "2" * 32, "3" * 32]
TAIL = 2500
"""Bytes of the last few transactions."""


class Story:
    """A day of three writers with many changes; most of these can be made, some are refused. The third writer is on
    another host: it knows nothing of the others' journal, and goes on at once after a crash."""

    def __init__(self, store: ExternalStore, seed: int) -> None:
        self.store = store
        self.chance = random.Random(seed)
        self.writers = {name: Writer(store.url, name) for name in NAMES}
        self.order: list[Event] = []
        """What the ledger has, in the order in which it took it."""
        self.since = 0
        """How many of these it had after the last start."""
        self.moment = 0

    def journal(self, name: str, what: Any, kind: str, *words: Any) -> Event:
        self.moment += 1
        return Event(self.moment, name, self.writers[name].write(what), kind, words)

    def hit(self, name: str, *articles: str) -> Event:
        what = gathered(SITE, DAY, DAY.start_ms + 1000 * self.moment, *articles)
        return self.journal(name, what, "hit", DAY.date, articles)

    def something(self) -> Event:
        """Whatever somebody does on the first host."""
        name = self.chance.choice(NAMES[:2])
        books, n = Books.of(self.order), self.moment
        source, target = self.chance.sample(ARTICLES, 2)
        kind = self.chance.choice(
            ("hit", "merge", "merge", "undo", "undo", "baseline", "adjust", "undo_adjust", "name", "undo_name")
        )
        own_id = f"{n:08x}"
        if kind == "adjust" and source != OTHER_KEY:
            place = self.chance.choice(("", DAY.date))
            change = Change("adjust", n, "an", "", source, "", "", place=place, said=(Amount(source, "views", n),))
            record = adding(SITE.id, own_id, change, 10**9)
            return self.journal(name, record, kind, own_id, source, "views", n, place)
        if kind == "undo_adjust" and (made := [each for each in books.amounts.items() if not each[1].undone]):
            which, was = self.chance.choice(made)
            said = (Amount(was.article, "views", -was.by),)
            change = Change("undo", n, "an", "", was.article, "", which, place=was.date, said=said)
            return self.journal(name, adding(SITE.id, own_id, change, 10**9), kind, own_id, which)
        if kind == "name" and source != OTHER_KEY:
            change = Change("rename", n, "an", "", source, "", "", facts=(FactSet(1, "", f"Title {n}"),))
            return self.journal(name, naming(SITE.id, own_id, change), kind, own_id, source, f"Title {n}")
        if kind == "undo_name" and (named := [each for each in books.names.items() if each[1]]):
            article, titles = self.chance.choice(named)
            change = Change("undo", n, "an", "", article, "", titles[-1][0])
            return self.journal(name, naming(SITE.id, own_id, change), kind, own_id, titles[-1][0])
        if kind == "merge":
            change = Change("merge", n, "an", "", source, target, "")
            return self.journal(name, merging(SITE.id, f"{n:08x}", change), kind, f"{n:08x}", source, target)
        if kind == "undo" and books.merges:
            merged, merge = self.chance.choice(list(books.merges.items()))
            undo = Change("undo", n, "an", "", merge.source, merge.target, merged)
            return self.journal(name, undoing(SITE.id, f"{n:08x}", undo), kind, f"{n:08x}", merged)
        if kind == "baseline":
            noted = books.noted + (self.chance.random() < 0.2)
            item = (article_id("/d"), n, encode_entry(Entry("/d")))
            return self.journal(name, setting_baselines(SITE.id, noted, n, [item]), kind, noted, (("/d", n),))
        return self.hit(name, source, target, source)

    async def send(self, event: Event) -> None:
        result = await self.writers[event.writer].send(event.sequence)
        assert isinstance(result, Changed | Committed), result
        if result.fresh:
            self.order.append(event)
            if isinstance(result, Changed):
                assert (result.word == "ok") == (Books.of(self.order).said[event] == ""), (event, result)
        else:
            # It was put down before the crash: whoever came first after it has finished that first.
            self.order.insert(self.since, event)
            self.since += 1

    async def crash(self) -> None:
        """Kill the store, cut its file, and go on: the other host first, then what is above the watermarks, in
        order."""
        self.store.kill()
        cut(self.store.folder, self.chance)
        start(self.store)
        with self.store.client() as client:
            marks: Any = client.hgetall(keys.marks(SITE.id))
        reached = {name: int(marks.get(name.encode(), b"0").partition(b":")[0]) for name in NAMES}
        lacking = [event for event in self.order if event.sequence > reached[event.writer]]
        self.order = [event for event in self.order if event.sequence <= reached[event.writer]]
        self.since = len(self.order)
        for writer in self.writers.values():
            await writer.committer.close()
        for event in lacking:
            if event.writer == NAMES[2]:
                await self.send(event)
        await self.send(self.hit(NAMES[2], self.chance.choice(ARTICLES)))
        if self.chance.random() < 0.3:
            # Killed again before anything is repeated: what was cut first may be executed now.
            self.order += [event for event in lacking if event.writer != NAMES[2]]
            await self.crash()
            return
        for event in sorted(lacking, key=lambda each: each.moment):
            if event.writer != NAMES[2]:
                await self.send(event)

    async def agrees(self) -> None:
        """Compare what the ledger has with the books."""
        books = Books.of(self.order)
        async with Redis.from_url(self.store.url) as client:
            found = {name: content for name, (content, _) in (await ledger(client)).items()}
        of_day = Counter(books.days[DAY.date])
        for amount in books.in_force(date=DAY.date):
            of_day[amount.article] += amount.by
        for name, expected in (
            (keys.articles(SITE.id), {article: books.views(article) for article in books.all}),
            (keys.base(SITE.id), books.base),
            (keys.articles_of_day(SITE.id, DAY.date), of_day),
        ):
            counts = {article: int(n) for article, n in found.get(name, {}).items()}
            assert counts == {article_id(article): n for article, n in expected.items()}, name
        ends = {alias: value[8:].decode() for alias, value in found.get(keys.aliases(SITE.id), {}).items()}
        assert ends == {article_id(alias): target for alias, target in books.aliases.items()}
        assert int(found[keys.counts(SITE.id)][b"views:all"]) == books.hits + books.of_site("views")
        layer = found.get(keys.layer(SITE.id, keys.CORRECTIONS), {})
        assert int(layer.get(b"views:all", 0)) == int(layer.get(b"articles:all", 0)) == books.of_site("views")
        for article, titles in books.names.items():
            entry = decode_entry(found[keys.names(SITE.id)][article_id(article)])
            assert (entry.title if titles else "") == (titles[-1][1] if titles else ""), article
        order = found.get(keys.order_of_changes(SITE.id), b"").decode()
        made = [order[n : n + 8] for n in range(0, len(order), 8)]
        assert sorted(made) == sorted({*books.merges, *books.amounts, *books.named, *books.undos})
        undone = {name.partition(b":")[0].decode() for name in found[keys.changes(SITE.id)] if b":undone" in name}
        assert undone == {change_id for change_id, merge in books.merges.items() if merge.undone} | books.undone

    async def close(self) -> None:
        for writer in self.writers.values():
            await writer.close()
        self.store.kill()


def cut(folder: Path, chance: random.Random) -> None:
    """Cut the end of the append-only file off, at any byte."""
    path = max(folder.glob("appendonlydir/*.incr.aof"))
    data = path.read_bytes()
    path.write_bytes(data[: chance.randrange(max(len(data) - TAIL, 0), len(data) + 1)])


def start(store: ExternalStore) -> None:
    store.start()
    with store.client() as client:
        client.config_set("appendfsync", "always")  # a kill must lose nothing but what is cut


async def play(folder: Path, program: Path, seed: int) -> Books:
    day = Story(ExternalStore(folder, program), seed)
    start(day.store)
    try:
        await day.send(day.hit(NAMES[0], *ARTICLES))
        for _ in range(60):
            await day.send(day.something())
            if day.chance.random() < 0.2:
                await day.crash()
        await day.agrees()
        before = list(day.order)
        for event in before:
            day.since = 0
            await day.send(event)  # once more changes nothing
        day.order = before
        await day.agrees()
        return Books.of(day.order)
    finally:
        await day.close()


@pytest.mark.parametrize("seed", [1, 2])
async def test_changes_survive_cuts_anywhere(tmp_path: Path, every_server: Path, seed: int) -> None:
    books = await play(tmp_path / "store", every_server, seed)
    said = [reason for event, reason in books.said.items() if event.kind != "hit"]
    assert said.count("") > 10
    assert len(said) - said.count("") > 3


async def contents(store: ExternalStore) -> dict[str, Any]:
    async with Redis.from_url(store.url) as client:
        return {name: content for name, (content, _) in (await ledger(client)).items()}


def _change(kind: Any, **more: Any) -> Change:
    return msgspec.structs.replace(Change(kind, 1, "an", "", "/old", "", ""), **more)


RECORDS = {
    "merge": (merging(SITE.id, "00000001", _change("merge", target="/new")), 3),
    "adjust": (
        adding(SITE.id, "00000001", _change("adjust", place=DAY.date, said=(Amount("/old", "views", 7),)), 0), 10,
    ),
    "rename": (naming(SITE.id, "00000001", _change("rename", facts=(FactSet(1, "", "Khác"),))), 3),
    "close": (
        closing(
            SITE.id, "00000001", _change("close", source="", place="2036-10"),
            ClosingState(msgspec.msgpack.encode(["00000001"]), "00000001", 0, ""),
        ), 3,
    ),
}  # fmt: skip
"""A record of each script, and the views of all articles after it."""


@pytest.mark.parametrize("kind", RECORDS)
async def test_a_change_that_was_cut_is_made_when_it_comes_again(tmp_path: Path, every_server: Path, kind: str) -> None:
    """At each byte of its two transactions: it is there as a whole, or not at all, and then it is made once."""
    record, total = RECORDS[kind]
    store = ExternalStore(tmp_path / "store", every_server)
    start(store)
    writer = Writer(store.url)
    path = tmp_path / "store" / "appendonlydir"

    try:
        await writer.commit(gathered(SITE, DAY, DAY.start_ms, "/old", "/old", "/new"))
        begun = len(max(path.glob("*.incr.aof")).read_bytes())
        assert (await writer.change(record)).word == "ok"
        expected = await contents(store)
        whole = max(path.glob("*.incr.aof")).read_bytes()
        store.kill()
        for end in range(begun, len(whole), max(1, (len(whole) - begun) // 8)):
            max(path.glob("*.incr.aof")).write_bytes(whole[:end])
            start(store)
            await writer.committer.close()
            async with Redis.from_url(store.url) as client:
                views: Any = await client.hgetall(keys.articles(SITE.id))
            assert sum(map(int, views.values())) in (3, total), (end, views)
            result = await writer.send(2)
            assert not isinstance(result, Gap)
            assert await contents(store) == expected, end
            store.kill()
    finally:
        await writer.close()
        store.kill()
