"""Corrections add to counts or take away from them, in every list and sum, and are taken back exactly, in any order."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from tests.store.dated import dated
from tests.store.merging import BEFORE, CALENDAR, DAY, SITE, Merging
from visitstats.changes.corrections import UNDATED, Adjustment
from visitstats.changes.desk import Wanted
from visitstats.changes.recording import ChangeRefused, Order
from visitstats.core.entries import Entry
from visitstats.core.errors import BaselineRefused, NoSuchArticle, NotFound
from visitstats.core.history import summary
from visitstats.store import keys
from visitstats.store.change_records import Amount, Change, Logged, adding
from visitstats.store.changes import Changes
from visitstats.store.commit import Changed
from visitstats.store.history import SiteHistory
from visitstats.store.packing import Packer
from visitstats.store.reads import Reads
from visitstats.store.tiles import TileWriter

AN = Order("an", "Máy chủ cũ đếm thiếu")


@pytest_asyncio.fixture
async def merging(redis_url: str, raw: Redis) -> AsyncIterator[Merging]:
    found = Merging(redis_url, raw)
    await found.read("/old", "/old", "/new", day=BEFORE)
    await found.read("/old", "/new", "/new", "/third")
    yield found
    await found.close()


async def adjust(merging: Merging, by: int, article: str = "", day: str = "", of: Any = "") -> Logged:
    asked = Adjustment(of or ("views" if article else "visits"), article, by, None, day)
    return await merging.desk.corrections.adjust(asked, AN)


async def totals(merging: Merging) -> dict[str, dict[str, int]]:
    """What the site has, by kind: of all time, and of each day, month and year."""
    return {kind: await dated(merging.raw, SITE.id, kind) for kind in ("visits", "views")}


async def test_a_correction_of_an_article_is_in_every_list_and_sum(merging: Merging) -> None:
    before = await totals(merging)
    await adjust(merging, 40, "/old", BEFORE.date)
    await adjust(merging, -1, "/new")
    await adjust(merging, 5, "/third", UNDATED)
    found = await merging.lists()
    assert found["all"] == {"/old": 43, "/new": 2, "/third": 6}
    assert found["2036-10-31"] == {"/old": 42, "/new": 1}
    assert found["2036-10"] == {"/old": 42, "/new": 1}
    assert found["2036-11-24"] == {"/old": 1, "/new": 1, "/third": 1}
    after = await totals(merging)
    assert after["visits"] == before["visits"]
    assert {when: n - before["views"].get(when, 0) for when, n in after["views"].items()} == {
        "2036-10-31": 40, "2036-10": 40, "2036-11-24": -1, "2036-11": -1, "2036": 39, "all": 44,
    }  # fmt: skip


async def test_a_correction_of_the_site_is_in_its_numbers_and_in_no_article(merging: Merging) -> None:
    before, lists = await totals(merging), await merging.lists()
    await adjust(merging, 200)
    await adjust(merging, 7, of="views", day=BEFORE.date)
    await adjust(merging, 1000, day=UNDATED)
    after = await totals(merging)
    assert {when: n - before["visits"].get(when, 0) for when, n in after["visits"].items()} == {
        "2036-10-31": 0, "2036-10": 0, "2036-11-24": 200, "2036-11": 200, "2036": 200, "all": 1200,
    }  # fmt: skip
    assert after["views"]["2036-10-31"] == before["views"]["2036-10-31"] + 7
    assert await merging.lists() == lists
    numbers = await Reads(merging.raw).counts(SITE.id, DAY, merging.now)
    assert numbers.visits[0] == after["visits"]["2036-11-24"], "the box shows it"


async def test_records_and_averages_are_of_our_own_counting(merging: Merging) -> None:
    """A day with ten thousand added visits is no record, and no year's average is better by them."""
    store = SiteHistory(merging.raw)
    site, first, last = SITE.id, BEFORE.date, DAY.date
    before = summary(await store.days(site, CALENDAR, first, last, merging.now), last), await merging_history(merging)
    await adjust(merging, 10_000, day=BEFORE.date)
    await adjust(merging, 10_000, day=UNDATED)
    rows = await store.days(site, CALENDAR, first, last, merging.now)
    assert (rows[0].visits, rows[0].corrected.visits) == (10_003, 10_000)
    history = await merging_history(merging)
    assert (summary(rows, last), history.record, history.first) == (before[0], before[1].record, before[1].first)
    assert history.by_hand == {BEFORE.date: 10_000, "all": 20_000}


async def merging_history(merging: Merging) -> Any:
    return await Reads(merging.raw).history(SITE.id, "visits")


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (1, 3, 0, 2)])
async def test_corrections_are_undone_in_any_order(merging: Merging, order: tuple[int, ...], redis_url: str) -> None:
    """Whatever was counted in between; nothing of them is left in any key of the ledger but the log."""
    made = [
        await adjust(merging, 40, "/old", BEFORE.date),
        await adjust(merging, 200),
        await adjust(merging, 9, "/old", UNDATED),
        await adjust(merging, -1, "/new"),
    ]
    await merging.read("/old", "/new", "/fresh")
    for which in order:
        await merging.undo(made[which].id)
    undone, counts = await merging.lists(), await totals(merging)
    plain = Merging(redis_url, merging.raw)
    await merging.raw.flushall()
    for day, articles in ((BEFORE, ("/old", "/old", "/new")), (DAY, ("/old", "/new", "/new", "/third"))):
        await plain.read(*articles, day=day)
    await plain.read("/old", "/new", "/fresh")
    assert (undone, counts) == (await plain.lists(), await totals(plain))
    await plain.close()


async def test_a_correction_of_an_article_that_was_merged_goes_with_it(merging: Merging) -> None:
    """Undone after the merge it is taken from the other; the merge undone later gives back what is right by then."""
    made = await adjust(merging, 40, "/old", BEFORE.date)
    kept = await adjust(merging, 5, "/old", UNDATED)
    merged = await merging.merge("/old", "/new")
    assert (await merging.lists())["all"] == {"/new": 51, "/third": 1}
    await merging.undo(made.id)
    assert (await merging.lists())["all"] == {"/new": 11, "/third": 1}
    await merging.undo(merged)
    assert (await merging.lists())["all"] == {"/old": 8, "/new": 3, "/third": 1}
    await merging.undo(kept.id)
    found = await merging.lists()
    assert found["all"] == {"/old": 3, "/new": 3, "/third": 1}
    assert found["2036-10-31"] == {"/old": 2, "/new": 1}


async def test_corrections_go_along_chains_of_merges(merging: Merging) -> None:
    """Each article on the way remembers what it would take along."""
    first = await adjust(merging, 10, "/old", UNDATED)
    one = await merging.merge("/old", "/new")
    two = await merging.merge("/new", "/third")
    late = await adjust(merging, 100, "/third", UNDATED)
    await merging.undo(first.id)
    assert (await merging.lists())["all"] == {"/third": 107}
    await merging.undo(two)
    await merging.undo(one)
    assert (await merging.lists())["all"] == {"/old": 3, "/new": 3, "/third": 101}
    await merging.undo(late.id)
    assert (await merging.lists())["all"] == {"/old": 3, "/new": 3, "/third": 1}


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (Adjustment("visits", "", -100), "visits on 2036-11-24 are 4: -100 would bring them below zero"),
        (Adjustment("visits", "", -100, None, UNDATED), "visits of all time are 7: -100 would bring them below zero"),
        (Adjustment("views", "/old", -2), "/old on 2036-11-24 are 1: -2 would"),
        (Adjustment("views", "/old", -3, None, "2036-10-31"), "/old on 2036-10-31 are 2: -3 would"),
        (Adjustment("views", "/old", -4, None, UNDATED), "/old of all time are 3: -4 would"),
        (Adjustment("visits", "", 0), "nothing would change"),
        (Adjustment("visits", "", None, 4), "nothing would change"),
        (Adjustment("visits", "", None, -1), "no count is below zero"),
        (Adjustment("visits", "", 1, 2), "say either by how much"),
        (Adjustment("visits", ""), "say either by how much"),
        (Adjustment("visits", "/old", 1), "an article has views"),
        (Adjustment("visits", "", 10**12 + 1), "at most 1000000000000 at once"),
        (Adjustment("visits", "", 1, None, "2036-11-25"), "is not a day from 1990-01-01 to today"),
        (Adjustment("visits", "", 1, None, "1989-12-31"), "is not a day from 1990-01-01 to today"),
        (Adjustment("visits", "", 1, None, "24/11/2036"), "is no day: write it as"),
        (Adjustment("visits", "", 1, None, "20361124"), "is no day: write it as"),
        (Adjustment("views", "(other)", 1), "no article"),
        (Adjustment("views", "\u200b", 1), "is no key"),
    ],
)
async def test_what_is_no_correction_is_refused_with_a_reason(merging: Merging, asked: Adjustment, words: str) -> None:
    """Nothing is even journalled."""
    before, written = await merging.everything(), len(merging.records)
    for work in (merging.desk.corrections.adjust, merging.desk.corrections.look):
        with pytest.raises(ChangeRefused) as refused:
            await work(asked, AN)
        assert words in str(refused.value)
    assert (await merging.everything(), len(merging.records)) == (before, written)


async def test_a_correction_needs_a_reason_and_an_article_that_was_counted(merging: Merging) -> None:
    with pytest.raises(ChangeRefused, match="give a reason"):
        await merging.desk.corrections.adjust(Adjustment("visits", "", 1), Order("an", " \u200b"))
    with pytest.raises(NoSuchArticle, match="nothing was ever counted for /nix"):
        await adjust(merging, 1, "/nix")


async def test_a_new_value_is_worked_out_from_what_is_there(merging: Merging) -> None:
    made = await merging.desk.corrections.adjust(Adjustment("visits", "", None, 500, UNDATED), AN)
    assert made.change.said == (Amount("", "visits", 493, -1, 7),)
    made = await merging.desk.corrections.adjust(Adjustment("views", "/old", None, 0, "2036-10-31"), AN)
    assert made.change.said == (Amount("/old", "views", -2, 2, 3),)


async def test_an_undo_that_would_leave_less_than_nothing_says_what_comes_first(merging: Merging) -> None:
    added = await adjust(merging, 100)
    taken = await adjust(merging, -103)
    with pytest.raises(ChangeRefused, match=f"below zero; undo change {taken.id} first"):
        await merging.undo(added.id)
    await merging.undo(taken.id)
    await merging.undo(added.id)
    assert (await totals(merging))["visits"]["all"] == 7


async def test_a_reset_takes_the_total_away_and_leaves_history_and_articles(merging: Merging) -> None:
    await merging.baselines.set(500, {Entry("/old"): 50})
    before, lists = await totals(merging), await merging.lists()
    made = await merging.desk.corrections.reset("visits", 0, AN)
    counts = await Reads(merging.raw).counts(SITE.id, DAY, merging.now)
    assert sum(counts.visits[-2:]) == 0
    after = await totals(merging)
    assert {**after["visits"], "all": 7} == before["visits"]
    assert (after["views"], await merging.lists()) == (before["views"], lists)
    await merging.read(*["/old"] * 5)
    assert sum((await Reads(merging.raw).counts(SITE.id, DAY, merging.now)).visits[-2:]) == 1, "it goes on from there"
    with pytest.raises(BaselineRefused, match="more than a baseline of 5; undo that first"):
        await merging.baselines.set(5, {})
    preview = await merging.desk.look_at_undo(made.id)
    assert [(each.total, each.by) for each in preview.said] == [(1, 507)]
    await merging.undo(made.id)
    assert (await totals(merging))["visits"]["all"] == before["visits"]["all"] + 1


@pytest.mark.parametrize("to", [-1, 7, 8])
async def test_a_reset_only_takes_away(merging: Merging, to: int) -> None:
    with pytest.raises(ChangeRefused, match="a reset takes away"):
        await merging.desk.corrections.reset("visits", to, AN)


async def test_two_who_take_away_at_once_do_not_go_below_zero(merging: Merging, redis_url: str) -> None:
    """Both previews saw a count that is high enough: one correction is made, the other one is refused."""
    other = Merging(redis_url, merging.raw)
    other.name = "f" * 32
    look = merging.changes.totals

    async def and_then_the_other(site: str, kind: str) -> tuple[int, int]:
        found = await look(site, kind)
        merging.changes.totals = look  # type: ignore[method-assign]
        await adjust(other, -6, day=UNDATED)
        return found

    merging.changes.totals = and_then_the_other  # type: ignore[method-assign]
    with pytest.raises(ChangeRefused, match="visits of all time are 1: -6 would bring them below zero"):
        await adjust(merging, -6, day=UNDATED)
    assert (await totals(merging))["visits"]["all"] == 1
    await other.close()


async def test_what_was_acknowledged_is_made_though_the_hits_come_later(merging: Merging, redis_url: str) -> None:
    """After a loss the correction may be there before another host's hits; it is not lost for that."""
    made = await adjust(merging, -3, "/old", UNDATED)
    record = merging.records[-1]
    await merging.raw.flushall()
    again = Merging(redis_url, merging.raw)
    again.records = []
    assert (await again.change(record)).word == "ok"  # type: ignore[arg-type]
    await again.read("/old", "/old", "/new", day=BEFORE)
    await again.read("/old", "/new", "/new", "/third")
    assert (await again.lists())["all"] == {"/new": 3, "/third": 1}
    await again.undo(made.id)
    assert (await again.lists())["all"] == {"/old": 3, "/new": 3, "/third": 1}
    await again.close()


async def test_an_undo_that_comes_before_its_correction_leaves_nothing(merging: Merging) -> None:
    """As after a loss, when another host's journal comes later."""
    before = await merging.everything()
    change = Change("adjust", merging.now, "an", "", "/old", "", "", place=DAY.date, said=(Amount("/old", "views", 9),))
    undo = Change(
        "undo", merging.now, "an", "", "/old", "", "0000000a", place=DAY.date, said=(Amount("/old", "views", -9),)
    )
    assert (await merging.change(adding(SITE.id, "0000000b", undo, 0))).word == "ok"
    assert (await merging.change(adding(SITE.id, "0000000a", change, 0))).word == "ok"
    assert await merging.everything() == before
    assert [(each.id, each.undone) for each in await merging.audit()] == [("0000000a", "0000000b"), ("0000000b", "")]
    assert await merging.change(adding(SITE.id, "0000000c", undo, 0)) == Changed("refused", "undone")


async def test_the_same_order_twice_is_made_once(merging: Merging) -> None:
    """A click that was repeated because the answer was lost."""
    order = Order("an", "Nhầm", "0000abcd")
    asked = Adjustment("visits", "", 5)
    made = await merging.desk.corrections.adjust(asked, order)
    assert await merging.desk.corrections.adjust(asked, order) == made
    assert (await totals(merging))["visits"]["2036-11-24"] == 9
    for other in (Order("binh", "Nhầm", "0000abcd"), Order("an", "x", "0000ABCD"), Order("an", "x", "abcd")):
        with pytest.raises(ChangeRefused):
            await merging.desk.corrections.adjust(asked, other)
    undo = Order("an", "", "0000abce")
    assert await merging.desk.undo(made.id, undo) == await merging.desk.undo(made.id, undo)
    assert (await totals(merging))["visits"]["2036-11-24"] == 4


async def test_the_log_is_read_by_kind_person_and_article_and_page_by_page(merging: Merging) -> None:
    made = [(await adjust(merging, n + 1, "/old" if n % 2 else "", UNDATED)).id for n in range(6)]
    await merging.merge("/third", "/new")
    desk = merging.desk
    assert [each.id for each in (await desk.log(Wanted(kind="adjust"))).changes] == made[::-1]
    assert [each.id for each in (await desk.log(Wanted(article="/old"))).changes] == made[1::2][::-1]
    assert (await desk.log(Wanted(who="AN", kind="merge"))).changes[0].change.target == "/new"
    assert (await desk.log(Wanted(who="binh"))).changes == []
    pages, cursor = list[str](), ""
    for _ in range(3):
        page = await desk.log(Wanted(limit=3, cursor=cursor))
        pages += [each.id for each in page.changes]
        cursor = page.cursor
    assert (pages[1:], cursor) == (made[::-1], "")
    with pytest.raises(NotFound):
        await desk.undo("ffffffff", AN)


async def test_the_thousandth_change_costs_as_the_first(merging: Merging) -> None:
    """It reads and writes as many keys and fields; a page of the log reads itself alone."""

    async def asked() -> int:
        found: Any = await merging.raw.info("commandstats")
        return sum(each["calls"] for name, each in found.items() if name.startswith("cmdstat_h"))

    async def cost() -> int:
        before = await asked()
        await adjust(merging, 1, "/old")
        await merging.desk.log(Wanted(limit=5))
        return await asked() - before

    await cost()
    first = await cost()
    for n in range(300):
        change = Change("adjust", merging.now, "an", "", "", "", "", said=(Amount("", "visits", 1),))
        assert (await merging.change(adding(SITE.id, f"{n:08x}", change, 10**9))).word == "ok"
    assert await cost() == first


async def test_one_damaged_record_is_left_out_and_told(merging: Merging) -> None:
    made = [(await adjust(merging, 1)).id for _ in range(3)]
    await merging.raw.hset(keys.changes(SITE.id), made[1], b"junk")
    page = await merging.desk.log(Wanted())
    assert ([each.id for each in page.changes], page.damaged) == ([made[2], made[0]], 1)
    assert [each.id for each in await Changes(merging.raw).all(SITE.id)] == [made[2], made[0]]
    await merging.undo(made[2])
    with pytest.raises(NotFound):
        await merging.undo(made[1])


async def test_changes_from_before_there_was_an_order_get_one(merging: Merging) -> None:
    """A store of an earlier version has none: its changes come first in the log, in the order of their numbers."""
    made = [(await adjust(merging, 1)).id for _ in range(5)]
    await merging.raw.delete(keys.order_of_changes(SITE.id), keys.changes_of_articles(SITE.id))
    assert [each.id for each in await merging.audit()] == made[::-1]
    made.append((await adjust(merging, 1)).id)
    assert [each.id for each in await merging.audit()] == made[::-1]


async def test_a_packed_month_is_corrected_beside_its_tiles(merging: Merging, redis_url: str) -> None:
    """Also when the day's sum is what it was: one article has five more, another five less. The index sees it, and a
    later packing of another month does no harm."""
    later = CALENDAR.day_named("2036-12-20").start_ms
    await merging.read(*["/new"] * 6, day=BEFORE)
    await adjust(merging, 3, "/old", BEFORE.date)
    await adjust(merging, 2, of="views", day=BEFORE.date)
    before = await merging.listed("all", later)
    packed = await Packer(redis_url, merging.raw, lambda: later).pack_due(SITE.id, CALENDAR)
    assert [(each.month, each.word) for each in packed] == [("2036-10", "packed"), ("2036-11", "packed")], packed
    assert await merging.listed("all", later) == before
    assert (await merging.lists())["2036-10"] == {"/old": 5, "/new": 7}
    made = [await adjust(merging, 5, "/old", BEFORE.date), await adjust(merging, -5, "/new", BEFORE.date)]
    assert (await merging.lists())["2036-10"] == {"/old": 10, "/new": 2}
    history = await merging._articles.history(SITE, "/new", "day", BEFORE.date, BEFORE.date)
    assert history.rows == [(BEFORE.date, 2)]
    with pytest.raises(ChangeRefused, match="/new on 2036-10-31 are 2: -3 would"):
        await adjust(merging, -3, "/new", BEFORE.date)
    for each in made:
        await merging.undo(each.id)
    assert (await merging.lists())["2036-10"] == {"/old": 5, "/new": 7}


async def test_a_month_that_is_corrected_while_it_is_packed_stays_as_it_is(
    merging: Merging, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The site's sums do not show it: one article has one more, another one less."""
    later = CALENDAR.day_named("2036-12-20").start_ms
    stage = TileWriter.stage

    async def and_a_correction(*arguments: Any) -> None:
        monkeypatch.setattr(TileWriter, "stage", stage)
        await adjust(merging, 1, "/old", BEFORE.date)
        await adjust(merging, -1, "/new", BEFORE.date)
        await stage(*arguments)

    monkeypatch.setattr(TileWriter, "stage", and_a_correction)
    packer = Packer(redis_url, merging.raw, lambda: later)
    assert (await packer.pack_month(SITE.id, CALENDAR, "2036-10")).word == "moved"
    assert (await merging.lists())["2036-10"] == {"/old": 3}
    assert (await packer.pack_month(SITE.id, CALENDAR, "2036-10")).word == "packed"
    assert (await merging.lists())["2036-10"] == {"/old": 3}
