"""Hits, merges, corrections, names, closings, undos, baselines, repetitions and losses in any order: every list is what
plain books say, and no total ever changes but by a hit, a baseline or a correction."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from tests.faults.copies import Copy, copy_of, put_back
from tests.store.books import Books, Event
from tests.store.changing import closed_months
from tests.store.dated import dated
from tests.store.merging import CALENDAR, SITE, Merging, Writer, gathered
from visitstats.changes.corrections import UNDATED, Adjustment
from visitstats.changes.facts import Renaming
from visitstats.changes.recording import Order
from visitstats.core import closing
from visitstats.core.entries import Entry
from visitstats.core.errors import BaselineRefused, VisitstatsError
from visitstats.core.keys import article_id
from visitstats.embedded.process import EmbeddedStore
from visitstats.store import keys
from visitstats.store.change_records import Logged
from visitstats.store.client import open_client
from visitstats.store.commit import Changed, Committed

ARTICLES = ["/a", "/b", "/c", "/d", "/e"]
DAYS = ["2036-10-31", "2036-11-23", "2036-11-24"]
"""Two months, and two weeks that are not theirs."""
OCTOBER = "2036-10"
OTHER_WRITER = "f" * 32


class World:
    """A store and the books beside it; `check` is called after every step."""

    def __init__(self, url: str) -> None:
        self.client = open_client(url)
        self.merging = Merging(url, self.client)
        self.other = Writer(url, OTHER_WRITER)
        self.order: list[Event] = []
        """What the ledger has, in the order in which it took it."""
        self.waiting: list[Event] = []
        self.ids: list[str] = []
        self.copy: tuple[Copy, int] | None = None
        self.moment = 0

    @property
    def books(self) -> Books:
        return Books.of(self.order)

    def event(self, writer: Writer, kind: str, *what: Any) -> Event:
        self.moment += 1
        return Event(self.moment, writer.name, len(writer.records), kind, what)

    # Hits ------------------------------------------------------------------------------------------------------------

    async def hit(self, date: str, articles: list[str]) -> None:
        result = await self.merging.read(*articles, day=CALENDAR.day_named(date))
        self.order.append(self.event(self.merging, "hit", date, tuple(articles)))
        books = self.books
        assert result.articles == tuple(books.views(books.end(article)) for article in dict.fromkeys(articles))

    async def journal(self, date: str, articles: list[str]) -> None:
        """Another worker has journalled these and waits for the store."""
        day = CALENDAR.day_named(date)
        self.merging.days.add(date)
        self.other.write(gathered(SITE, day, day.start_ms, *articles))
        self.waiting.append(self.event(self.other, "hit", date, tuple(articles)))

    async def apply(self) -> None:
        if self.waiting:
            event = self.waiting.pop(0)
            assert isinstance(result := await self.send(event), Committed)
            assert result.fresh
            self.order.append(event)

    async def send(self, event: Event) -> Committed | Changed:
        writer = self.merging if event.writer == self.merging.name else self.other
        day = CALENDAR.day_named(event.what[0]) if event.kind == "hit" else CALENDAR.day_named(DAYS[-1])
        result = await writer.send(event.sequence, day)
        assert isinstance(result, Committed | Changed), result
        return result

    async def again(self) -> None:
        """Everything that was applied comes again."""
        for each in self.order:
            assert not (await self.send(each)).fresh

    # Losses ----------------------------------------------------------------------------------------------------------

    async def keep(self) -> None:
        """A copy of the store is made."""
        self.copy = (await copy_of(self.client), len(self.order))

    async def lose(self) -> None:
        """The copy is put back, and what it lacks is applied again, in the order of the moments."""
        if self.copy is None:
            return
        copy, length = self.copy
        await put_back(self.client, copy, 0)
        lacking = sorted(self.order[length:], key=lambda each: each.moment)
        event(f"{len(lacking)} records are lost, with {sum(each.kind != 'hit' for each in lacking)} changes")
        self.order[length:] = lacking
        expected = self.books.said
        for each in lacking:
            result = await self.send(each)
            assert result.fresh
            if isinstance(result, Changed):
                assert (result.word == "ok") == (expected[each] == ""), (each, result, expected[each])

    # Changes ---------------------------------------------------------------------------------------------------------

    async def merge(self, source: str, target: str, kind: Any = "merge") -> None:
        books = self.books
        end = books.end(target)
        pointless = source in (target, end) or source in books.aliases or end not in books.all
        pointless |= source not in books.all if kind == "merge" else bool(books.all.get(source))
        await self.order_change(
            self.merging.merges.merge(source, target, Order("an"), kind=kind), kind, (source, end), pointless
        )

    async def alias(self, source: str, target: str) -> None:
        await self.merge(source, target, "alias")

    async def undo(self, which: int) -> None:
        if not self.ids:
            return
        made = self.ids[which % len(self.ids)]
        books = self.books
        merge, amount, article = books.merges.get(made), books.amounts.get(made), books.named.get(made)
        kind = "undo"
        if merge:
            pointless = merge.undone or merge.target in books.aliases
        elif amount:
            kind = "undo_adjust"
            closed = bool(books.closed) and amount.date[:7] == OCTOBER
            pointless = amount.undone or closed or self.is_short(amount.article, amount.kind, -amount.by, amount.date)
        elif article:
            kind = "undo_name"
            pointless = made in books.undone or books.names[article][-1][0] != made
        elif made in books.closings:
            kind = "undo_close"
            pointless = books.closed != made
        elif made in books.openings:
            kind = "undo_reopen"
            pointless = made in books.undone or bool(books.closed)
        else:
            pointless = True
        await self.order_change(self.merging.desk.undo(made, Order("an")), kind, (made,), pointless)

    def is_short(self, article: str, kind: str, by: int, date: str) -> bool:
        """Whether an amount would bring something below zero, or is none."""
        books = self.books
        site = (books.hits + sum(books.base.values()) if kind == "views" else self.visits("all")) + books.of_site(kind)
        found = [site]
        if date:
            counted = sum(books.days.get(date, {}).values()) if kind == "views" else self.visits(date)
            found.append(counted + books.of_site(kind, date))
        if article:
            end = books.end(article)
            found += [books.views(end), *([books.views_on(end, date)] if date else [])]
        return min(found) + by < 0

    def visits(self, date: str) -> int:
        """People of a day: hits in one batch are of a person each, and the nth of each batch is the same one."""
        most: dict[str, int] = {}
        for each in self.order:
            if each.kind == "hit":
                most[each.what[0]] = max(most.get(each.what[0], 0), len(each.what[1]))
        return sum(most.values()) if date == "all" else most.get(date, 0)

    async def adjust(self, article: str, by: int, date: str) -> None:
        books, kind = self.books, "views" if article else "visits"
        end = books.end(article) if article else ""
        place = DAYS[-1] if date[:7] == OCTOBER and books.closed else date
        pointless = not by or (bool(article) and end not in books.all) or self.is_short(end, kind, by, place)
        self.merging.days.add(place or DAYS[-1])
        asked = Adjustment("views" if article else "visits", article, by, None, date or UNDATED)
        making = self.merging.desk.corrections.adjust(asked, Order("an", "Sai"))
        await self.order_change(making, "adjust", (end, kind, by, place), pointless)

    async def name(self, article: str, title: str) -> None:
        books = self.books
        end = books.end(article)
        had = books.names.get(end) or [("", "")]
        pointless = end not in books.all or had[-1][1] == title
        making = self.merging.desk.naming.rename(article, Renaming(title), Order("an"))
        await self.order_change(making, "name", (end, title), pointless)

    async def close_month(self) -> None:
        async def freeze(month: str) -> closing.Frozen:
            return closing.freeze(closing.ClosedHead(SITE.id, month, 0, 0, 0, "", 0, 0), [])

        making = self.merging.desk.periods.close(OCTOBER, Order("an"), freeze)
        written = len(self.merging.records)
        await self.order_change(making, "close", (), bool(self.books.closed), pieces=1)
        assert len(self.merging.records) in (written, written + 2)

    async def reopen(self) -> None:
        making = self.merging.desk.periods.reopen(OCTOBER, Order("an", "Sai"))
        await self.order_change(making, "reopen", (), not self.books.closed)

    async def order_change(
        self, change: Any, kind: str, what: tuple[Any, ...], pointless: bool, pieces: int = 0
    ) -> None:
        """Order a change. One that is seen to be impossible at once is not even journalled; else the ledger says. So
        many pieces are journalled before it."""
        written = len(self.merging.records)
        made: Logged | None = None
        try:
            made = await change
        except VisitstatsError as error:
            refusal = str(error)
        assert (len(self.merging.records) == written) == pointless
        if pointless:
            assert made is None
            return
        for n in range(pieces):
            self.moment += 1
            sequence = len(self.merging.records) - pieces + n
            self.order.append(Event(self.moment, self.merging.name, sequence, "piece", ()))
        mine = self.event(self.merging, kind, made.id if made else "", *what)
        self.order.append(mine)
        said = self.books.said[mine]
        event(f"{kind}: {said or 'made'}")
        assert (said == "") == (made is not None), (said, made or refusal)
        if made:
            self.ids.append(made.id)

    async def baseline(self, totals: dict[str, int]) -> None:
        books = self.books
        resolved: dict[str, int] = {}
        for article, n in totals.items():
            resolved[books.end(article)] = resolved.get(books.end(article), 0) + n
        refused = any(n < books.least(article) for article, n in resolved.items())
        event(f"baseline: {'refused' if refused else 'set'}")
        written = len(self.merging.records)
        try:
            await self.merging.baselines.set(None, {Entry(article): n for article, n in totals.items()})
        except BaselineRefused:
            assert refused == (len(self.merging.records) == written)
        else:
            assert not refused
        if not refused:
            self.order.append(self.event(self.merging, "baseline", books.noted, tuple(resolved.items())))

    # What must hold --------------------------------------------------------------------------------------------------

    async def check(self) -> None:
        books = self.books
        found = await self.merging.lists()
        shown = books.shown()
        assert {name: row for name, row in found.items() if row} == {name: row for name, row in shown.items() if row}
        counts = await dated(self.client, SITE.id, "views")
        base, corrected = sum(books.base.values()), books.of_site("views")
        assert (counts.get("all", 0), counts.get("base", 0)) == (books.hits + corrected, base)
        assert sum(found.get("all", {}).values()) == books.hits + corrected + base
        for date, row in books.days.items():
            assert counts[date] == sum(row.values()) + books.of_site("views", date) == sum(found[date].values())
        visits = await dated(self.client, SITE.id, "visits")
        assert visits.get("all", 0) == self.visits("all") + books.of_site("visits")
        for date in DAYS:
            assert visits.get(date, 0) == self.visits(date) + books.of_site("visits", date)
        for article, titles in books.names.items():
            entry = await self.merging.changes.entry(SITE.id, article)
            assert entry is not None
            assert (entry.standing("title") == "e", entry.title if titles else "") == (
                bool(titles), titles[-1][1] if titles else "",
            )  # fmt: skip
        closings = await closed_months(self.client).all(SITE.id)
        assert {month: each.id for month, each in closings.items()} == ({OCTOBER: books.closed} if books.closed else {})
        ends: Any = {article_id(article): books.end(article) for article in books.aliases}
        assert await self.merging.changes.aliases(SITE.id) == ends
        logged = {each.id: bool(each.undone) for each in await self.merging.audit()}
        made = {change_id: merge.undone for change_id, merge in books.merges.items()}
        made |= {change_id: amount.undone for change_id, amount in books.amounts.items()}
        made |= {each: each in books.undone for each in (*books.named, *books.closings, *books.openings)}
        assert logged == made | dict.fromkeys(books.undos, False)
        register: Any = await self.client.hgetall(keys.articles(SITE.id))
        assert {article: int(n) for article, n in register.items()} == {
            article_id(article): books.views(article) for article in books.all
        }

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
pair = st.tuples(article, article)
amount = st.tuples(st.sampled_from(["", *ARTICLES]), st.integers(-3, 6), st.sampled_from(["", *DAYS]))
step = st.one_of(
    st.tuples(st.just("hit"), reading),
    st.tuples(st.just("journal"), reading),
    st.tuples(st.just("apply"), st.just(())),
    st.tuples(st.just("again"), st.just(())),
    st.tuples(st.just("keep"), st.just(())),
    st.tuples(st.just("lose"), st.just(())),
    st.tuples(st.just("merge"), pair),
    st.tuples(st.just("merge"), pair),
    st.tuples(st.just("alias"), pair),
    st.tuples(st.just("undo"), st.tuples(st.integers(0, 20))),
    st.tuples(st.just("undo"), st.tuples(st.integers(0, 20))),
    st.tuples(st.just("adjust"), amount),
    st.tuples(st.just("adjust"), amount),
    st.tuples(st.just("name"), st.tuples(article, st.sampled_from(["Lễ hội", "Sơ kết"]))),
    st.tuples(st.just("close_month"), st.just(())),
    st.tuples(st.just("reopen"), st.just(())),
    st.tuples(st.just("baseline"), st.tuples(st.dictionaries(article, st.integers(0, 50), min_size=1, max_size=3))),
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(article, st.integers(1, 50), max_size=2), st.lists(step, min_size=3, max_size=20))
def test_counts_are_conserved_whatever_is_changed_undone_and_lost(
    store: EmbeddedStore, baselines: dict[str, int], steps: list[tuple[str, Any]]
) -> None:
    asyncio.run(play(store.url, baselines, steps))


async def play(url: str, baselines: dict[str, int], steps: list[tuple[str, Any]]) -> None:
    world = World(url)
    try:
        await world.client.flushall()
        if baselines:
            await world.baseline(baselines)
        await world.hit(DAYS[0], ["/a", "/b", "/b", "/c", "/d"])
        await world.keep()
        for what, how in steps:
            await getattr(world, what)(*how)
            await world.check()
        await world.lose()
        await world.check()
    finally:
        await world.close()
