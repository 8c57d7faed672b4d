"""Pages that only one network ever read for a week give their places back: exactly, audited, and undoable."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from redis.asyncio import Redis
from typer.testing import CliRunner, Result

from tests.store.merging import ledger
from tests.store.writing import CALENDAR, MINUTE, Writer, gather, numbering
from visitstats.changes.baselines import Baselines
from visitstats.changes.desk import ChangeDesk, Wanted
from visitstats.changes.prunes import Places
from visitstats.changes.recording import ChangeRefused, Order
from visitstats.cli import application
from visitstats.core.batch import OTHER_ID, OTHER_KEY, Batch, ChangeRecord, Gathering, Record
from visitstats.core.entries import Entry
from visitstats.core.keys import KeyRules, article_id
from visitstats.core.query import Query
from visitstats.core.sites import Site
from visitstats.reading.article_history import ArticleHistory
from visitstats.reading.closings import ClosedMonths
from visitstats.reading.desk_process import made_of
from visitstats.reading.index import Index
from visitstats.store import keys
from visitstats.store.change_records import Logged
from visitstats.store.changes import Changes
from visitstats.store.closings import Closings
from visitstats.store.commit import Work
from visitstats.store.import_records import Imports
from visitstats.store.inspect import Inspector
from visitstats.store.packing import Packer
from visitstats.store.reads import Reads
from visitstats.store.records import Records
from visitstats.store.tiles import Tiles
from visitstats.system.clock import wall_clock
from visitstats.system.patterns import linear_pattern
from visitstats.trust.verify.verifier import Verifier

FIRST = CALENDAR.day_named("2036-11-03")
LATER = CALENDAR.day_named("2036-11-10")
SITE = Site(id="portal", hosts=("portal.vn",), views="every-load", max_articles=40)


class Portal(Writer):
    """A site, with networks that read its pages; it keeps its records, as a journal does."""

    def __init__(self, url: str, raw: Redis, folder: Path) -> None:
        super().__init__(url, SITE)
        self.raw = raw
        self.now = LATER.start_ms
        self.changes = Changes(raw)
        self.written: list[tuple[Record, int]] = []
        self.index = Index(folder)
        self.lists = made_of(raw, self.index, lambda: self.now)
        self._n = 0

    @property
    def places(self) -> Places:
        return Places(self.changes, self, self.site, lambda: self.now)

    @property
    def desk(self) -> ChangeDesk:
        closings = Closings(self.raw)
        closed = ClosedMonths(closings, self.changes, Tiles(self.raw))
        return ChangeDesk(
            self.changes, Imports(self.raw), closings, self, self.site, KeyRules(SITE, linear_pattern),
            CALENDAR, closed.day_views, lambda: self.now,
        )  # fmt: skip

    async def undo(self, change_id: str) -> Logged:
        return await self.desk.undo(change_id, Order("binh", "they were real"))

    async def audit(self) -> list[Logged]:
        return (await self.desk.log(Wanted())).changes

    async def open(self, moment: int, network: str, *articles: str) -> None:
        """One reader of a network opens these pages."""
        waiting = Gathering(self.site, CALENDAR.day_at(moment))
        for article in articles:
            self._n += 1
            gather(waiting, moment + self._n, f"{network} {self._n}", article, network=network)
        batch = waiting.close(self.sequence, self.total, moment)
        self.written.append((batch, moment))
        await self.count(waiting, numbering(moment))

    async def change(self, change: ChangeRecord) -> Any:
        record = msgspec.structs.replace(change, previous=self.sequence, total=self.total, at_ms=self.now)
        self.written.append((record, self.now))
        return await super().change(change)

    async def views(self) -> dict[str, int]:
        """All articles that have a place, as a list shows them, with "(other)"."""
        await self.lists.refresh(self.site)
        page = await self.lists.page(self.site, Query(limit=1000))
        return {row.entry.key: row.views for row in page.rows}

    async def of_day(self, date: str) -> dict[str, int]:
        await self.lists.refresh(self.site)
        page = await self.lists.page(self.site, Query(period=date, limit=1000))
        return {row.entry.key: row.views for row in page.rows}

    async def is_right(self, folder: Path) -> None:
        """Whether `visitstats verify` finds all numbers in agreement."""
        records = Records(self.raw)
        await records.put_site(self.site)
        verifier = Verifier(Inspector(self.raw), records, Reads(self.raw), folder / "no journal", lambda: self.now)
        assert (await verifier.run()).problems == []


@pytest_asyncio.fixture
async def portal(redis_url: str, raw: Redis, tmp_path: Path) -> AsyncIterator[Portal]:
    """Two articles that four networks have read, and three that one alone has: two of them on one day."""
    found = Portal(redis_url, raw, tmp_path)
    for n, network in enumerate(("a", "b", "c", "d")):
        await found.open(FIRST.start_ms + n * 15 * MINUTE, network, "/real", "/read")
    await found.open(FIRST.start_ms + 70 * MINUTE, "flood", "/made-up-1", "/made-up-2", "/made-up-2", "/made-up-3")
    await found.open(FIRST.end_ms + 70 * MINUTE, "flood", "/made-up-3", "/young")
    yield found
    found.index.close()
    await found.close()


async def test_lone_pages_go_to_other_with_the_views_of_each_of_their_days(portal: Portal, tmp_path: Path) -> None:
    """What several networks have read, and what is younger than a week, stays; the site's numbers stay."""
    assert await portal.views() == {
        "/real": 4, "/read": 4, "/made-up-1": 1, "/made-up-2": 2, "/made-up-3": 2, "/young": 1,
    }  # fmt: skip
    sums = await portal.raw.hgetall(keys.days(SITE.id, "2036-11"))
    looked = await portal.places.look()
    assert (looked.taken, looked.pages, looked.views, looked.told_apart) == (6, 3, 5, True)
    assert set(looked.some) == {"/made-up-1", "/made-up-2", "/made-up-3"}
    assert len(await portal.views()) == 6, "a look changes nothing"
    made = await portal.places.prune(Order("an", "a flood"))
    assert (made.pages, made.views) == (3, 5)
    assert await portal.views() == {"/real": 4, "/read": 4, "/young": 1, OTHER_KEY: 5}
    assert await portal.of_day(FIRST.date) == {"/real": 4, "/read": 4, OTHER_KEY: 4}
    assert await portal.of_day("2036-11-04") == {"/young": 1, OTHER_KEY: 1}
    assert await portal.raw.hgetall(keys.days(SITE.id, "2036-11")) == sums
    [logged] = await portal.audit()
    assert (logged.change.kind, logged.change.who, logged.change.pages, logged.change.moved) == ("prune", "an", 3, 5)
    await portal.is_right(tmp_path)


async def test_an_undo_gives_back_what_each_page_had_and_what_was_read_since_stays(
    portal: Portal, tmp_path: Path
) -> None:
    """The pages then keep their places: what a person has decided is not decided again an hour later."""
    before = await portal.views(), await portal.of_day(FIRST.date)
    made = await portal.places.prune(Order("an"))
    await portal.open(portal.now, "b", "/made-up-2")
    assert (await portal.views())["/made-up-2"] == 1
    undone = await portal.undo(made.change)
    assert (undone.change.pages, undone.change.moved) == (3, 5)
    assert await portal.views() == before[0] | {"/made-up-2": 3}
    assert await portal.of_day(FIRST.date) == before[1]
    assert (await portal.places.look()).pages == 0
    with pytest.raises(ChangeRefused, match=f"is undone already \\(by {undone.id}\\)"):
        await portal.undo(made.change)
    with pytest.raises(ChangeRefused, match="is an undo"):
        await portal.undo(undone.id)
    await portal.is_right(tmp_path)


async def test_it_is_decided_alike_after_a_loss_and_applied_once(portal: Portal, raw: Redis, tmp_path: Path) -> None:
    """All records once more on an empty store, some of them twice: every key of the ledger is the same."""
    made = await portal.places.prune(Order("an"))
    await portal.open(portal.now, "b", "/made-up-1", "/new")
    await portal.undo(made.change)
    expected = await ledger(raw)
    await raw.flushall()
    for sequence, (record, moment) in enumerate(portal.written, 1):
        for _ in range(2):
            [_result] = await portal.committer.commit(
                [Work(portal.writer, sequence, sequence - 1, record, numbering(moment))]
            )
    assert await ledger(raw) == expected
    assert sum(isinstance(record, Batch) for record, _ in portal.written) == 7


async def test_what_another_network_reads_between_look_and_record_keeps_its_place(portal: Portal) -> None:
    """The script decides by what the ledger has, not by what was worked out before."""
    found = portal.places
    real_change = portal.change

    async def late(change: ChangeRecord) -> Any:
        await portal.open(portal.now, "c", "/made-up-1")
        await portal.open(portal.now, "flood", "/made-up-2")
        return await real_change(change)

    portal.change = late  # type: ignore[method-assign]
    made = await found.prune(Order("an"))
    assert (made.pages, made.views) == (1, 2)
    assert await portal.views() == {
        "/real": 4, "/read": 4, "/young": 1, "/made-up-1": 2, "/made-up-2": 3, OTHER_KEY: 2,
    }  # fmt: skip


async def test_nothing_is_given_back_by_itself_where_there_is_room(portal: Portal) -> None:
    """A page of an archive that one reader has opened keeps its count; where half the places are taken, it goes."""
    assert await portal.places.give_back_and_tell() == ""
    portal.site = msgspec.structs.replace(SITE, max_articles=12)
    assert "3 pages" in await portal.places.give_back_and_tell()
    assert [each.change.who for each in await portal.audit()] == ["visitstats"]
    assert await portal.places.give_back_and_tell() == "", "there is room again"


async def test_nothing_is_given_back_by_itself_where_all_readers_may_look_like_one(
    redis_url: str, raw: Redis, tmp_path: Path
) -> None:
    """Behind a proxy that is not named, every page of the portal looks like one that a single network has read."""
    found = Portal(redis_url, raw, tmp_path)
    found.site = msgspec.structs.replace(SITE, max_articles=4)
    await found.open(FIRST.start_ms, "proxy", "/a", "/b", "/c")
    looked = await found.places.look()
    assert (looked.pages, looked.told_apart, looked.is_short) == (3, False, True)
    assert await found.places.give_back() is None
    assert len(await found.views()) == 3
    found.index.close()
    await found.close()


async def test_pages_with_a_baseline_an_alias_or_a_packed_day_keep_their_places(
    portal: Portal, redis_url: str, raw: Redis
) -> None:
    """What an older counter counted, what another address stands for, and what is history already."""
    await Baselines(portal.changes, portal, SITE.id).set(None, {Entry("/made-up-1"): 5})
    await portal.desk.merges.merge("/old-address", "/made-up-2", Order("an"), kind="alias")
    looked = await portal.places.look()
    assert (looked.pages, looked.kept, looked.some) == (1, 1, ("/made-up-3",))
    portal.now = CALENDAR.day_named("2036-12-20").start_ms
    packer = Packer(redis_url, raw, lambda: portal.now)
    assert [each.word for each in await packer.pack_due(SITE.id, CALENDAR)] == ["packed"]
    assert (await portal.places.look()).pages == 0


async def test_a_month_that_was_packed_since_stays_with_other(
    portal: Portal, redis_url: str, raw: Redis, tmp_path: Path
) -> None:
    """A tile never changes: the views are history of "(other)" by then."""
    made = await portal.places.prune(Order("an"))
    portal.now = CALENDAR.day_named("2036-12-20").start_ms
    packer = Packer(redis_url, raw, lambda: portal.now)
    assert [each.word for each in await packer.pack_due(SITE.id, CALENDAR)] == ["packed"]
    with pytest.raises(ChangeRefused, match="too old to be undone"):
        await portal.undo(made.change)
    history = ArticleHistory(Tiles(raw))
    [other] = await history.numbers(SITE.id, [OTHER_ID])
    found = await history.by_day(SITE.id, [other], date(2036, 11, 1), date(2036, 11, 30))
    assert found == {"2036-11-03": 4, "2036-11-04": 1}
    await portal.is_right(tmp_path)


async def test_a_place_that_is_free_again_takes_a_new_article(portal: Portal) -> None:
    """The place is really free; and what had given it back can come again, with what is read from then on."""
    portal.site = msgspec.structs.replace(SITE, max_articles=6)
    await portal.open(portal.now, "a", "/published")
    assert "/published" not in await portal.views()
    await portal.places.prune(Order("an"))
    await portal.open(portal.now, "a", "/published", "/made-up-1")
    found = await portal.views()
    assert (found["/published"], found["/made-up-1"], found[OTHER_KEY]) == (1, 1, 6)
    assert article_id("/made-up-1") in await portal.raw.hkeys(keys.names(SITE.id))


async def test_a_thousand_pages_go_by_one_change_of_many_records(portal: Portal, tmp_path: Path) -> None:
    """And come back by one."""
    portal.site = msgspec.structs.replace(SITE, max_articles=2000)
    pages = [f"/flood-{n}" for n in range(450)]
    await portal.open(FIRST.start_ms + 100 * MINUTE, "flood", *pages)
    made = await portal.places.prune(Order("an"))
    assert (made.pages, made.views) == (453, 455)
    assert await portal.views() == {"/real": 4, "/read": 4, "/young": 1, OTHER_KEY: 455}
    [logged] = await portal.audit()
    assert logged.change.pages == 453
    await portal.undo(made.change)
    assert len(await portal.views()) == 456
    await portal.is_right(tmp_path)


async def test_a_page_that_comes_back_through_a_worker_that_knew_it_may_go_again(portal: Portal) -> None:
    """A worker does not say again what an article is called that it has seen: its place is not one for good by that."""
    await portal.places.prune(Order("an"))
    waiting = Gathering(SITE, LATER)
    gather(waiting, LATER.start_ms, "person", "/made-up-1", named=False)
    result = await portal.count(waiting, numbering(LATER.start_ms))
    assert result.nameless == (0,)
    await portal.open(LATER.start_ms + MINUTE, "flood", "/made-up-1")
    portal.now = CALENDAR.day_named("2036-11-17").start_ms
    assert set((await portal.places.look()).some) == {"/made-up-1", "/young"}


async def test_the_command_shows_asks_does_and_undoes(portal: Portal, redis_url: str, tmp_path: Path) -> None:
    """A dry run changes nothing; another name than the site's does nothing; `articles SITE` is still the list."""
    old = CALENDAR.day_at(wall_clock() - 20 * keys.DAY_MS)
    await Records(portal.raw).put_site(SITE)
    for n, network in enumerate("abcd"):
        await portal.open(old.start_ms + n * 20 * MINUTE, network, "/real-now")
    await portal.open(old.start_ms + 100 * MINUTE, "flood", "/made-up-now")
    place = ["--data-dir", str(tmp_path / "data"), "--redis-url", redis_url]

    def run(*arguments: str, says: str = "") -> Result:
        return CliRunner().invoke(application(), ["articles", *arguments, *place] if arguments[0] != "undo" else
                                  [*arguments, *place], input=says)  # fmt: skip

    async def cli(*arguments: str, says: str = "") -> Result:
        return await asyncio.to_thread(run, *arguments, says=says)

    shown = (await cli("prune", "portal", "--dry-run")).output
    assert "8 of 40 places are taken." in shown
    assert "Pages that would give theirs back: 1, with 1 views." in shown
    assert "/made-up-now" in shown
    assert isinstance((await cli("prune", "portal", says="other\n")).exception, ChangeRefused)
    assert "/made-up-now" in (await cli("portal")).output
    done = (await cli("prune", "portal", says="portal\n")).output
    assert "Pages that gave their places back: 1, with 1 views." in done
    assert "/made-up-now" not in (await cli("list", "portal")).output
    assert "pages that have their places again: 1" in (await cli("undo", "portal", done.split()[-1])).output
    assert (await portal.views())["/made-up-now"] == 1
