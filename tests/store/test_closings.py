"""A closed month stays what it was; what comes for it later is in the next one, and in no other."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from hashlib import sha256

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from tests.store.changing import closed_months
from tests.store.merging import BEFORE, CALENDAR, DAY, SITE, Merging
from visitstats.changes.corrections import UNDATED, Adjustment
from visitstats.changes.facts import Renaming
from visitstats.changes.recording import ChangeRefused, Order
from visitstats.core.closing import Closing, ClosingDamaged
from visitstats.core.query import Query
from visitstats.store import keys
from visitstats.store.change_records import Logged

AN = Order("an", "Chốt")
OCTOBER, NOVEMBER = "2036-10", "2036-11"
SEPTEMBER_DAY, DECEMBER = CALENDAR.day_named("2036-09-15"), CALENDAR.day_named("2036-12-02")


@pytest_asyncio.fixture
async def merging(redis_url: str, raw: Redis) -> AsyncIterator[Merging]:
    found = Merging(redis_url, raw)
    found.moment = DAY.start_ms
    await found.read("/old", "/old", "/new", day=BEFORE)
    await found.read("/old", "/new", "/new", "/third")
    yield found
    await found.close()


async def close(merging: Merging, month: str = OCTOBER) -> Logged:
    closed = closed_months(merging.raw)
    merging.moment = merging.now
    return await merging.desk.periods.close(month, AN, lambda when: closed.freeze(merging._articles, SITE, when))


async def closing_of(merging: Merging, month: str = OCTOBER) -> Closing:
    found = await closed_months(merging.raw).find(SITE.id, month)
    assert found is not None
    return found


async def frozen(merging: Merging, month: str = OCTOBER) -> dict[str, tuple[int, int]]:
    """Views and late views of the articles of a closed month."""
    book = await closed_months(merging.raw).book(SITE.id, await closing_of(merging, month))
    return {row.key: (row.views, row.late) for row in book.rows}


async def test_what_was_frozen_is_the_month_as_it_was_with_names_and_checksum(merging: Merging) -> None:
    await merging.desk.naming.rename("/old", Renaming("Lễ hội", "Lê Hiếu", "Văn hóa", "2036-10-02"), AN)
    await merging.desk.naming.hide("/new", AN)
    made = await close(merging)
    closing = await closing_of(merging)
    book = await closed_months(merging.raw).book(SITE.id, closing)
    lines = book.text.decode().splitlines()
    assert [json.loads(line) for line in lines] == [
        {"site": "portal", "period": OCTOBER, "visits": 3, "views": 3, "articles": 2, "late_of": "", "late_visits": 0,
         "late_views": 0, "days": 30, "due": 2},
        {"key": "/new", "title": "Title of /new", "author": "", "category": "", "published": "", "views": 1, "late": 0},
        {"key": "/old", "title": "Lễ hội", "author": "Lê Hiếu", "category": "Văn hóa", "published": "2036-10-02",
         "views": 2, "late": 0, "days": 30, "royal": 2, "due": 2},
    ]  # fmt: skip
    assert closing.sha256 == made.change.note == sha256(book.text).hexdigest()
    assert (closing.id, closing.who, closing.at_ms, made.change.place) == (made.id, "an", merging.now, OCTOBER)


async def test_what_changes_later_changes_nothing_that_is_frozen(merging: Merging) -> None:
    await close(merging)
    closing = await closing_of(merging)
    await merging.read("/old", "/fresh", day=BEFORE)
    await merging.merge("/old", "/new")
    await merging.desk.naming.rename("/new", Renaming("Khác"), AN)
    assert await closing_of(merging) == closing
    assert await frozen(merging) == {"/new": (1, 0), "/old": (2, 0)}
    assert tuple(await closed_months(merging.raw).since(SITE.id, closing)) == (0, 2)


async def test_what_comes_later_is_in_the_next_month_that_is_closed(merging: Merging) -> None:
    """Late hits, and what a merge moved: all closed months together are what the lists have."""
    await close(merging)
    await merging.read("/old", "/fresh", day=BEFORE)
    await merging.merge("/old", "/new")
    await merging.merge("/third", "/fresh")
    merging.now = DECEMBER.start_ms
    await close(merging, NOVEMBER)
    assert await frozen(merging, NOVEMBER) == {"/new": (3, 1), "/fresh": (1, 1)}
    head = (await closed_months(merging.raw).book(SITE.id, await closing_of(merging, NOVEMBER))).head
    assert (head.views, head.late_of, head.late_views, head.visits) == (4, OCTOBER, 2, 4)
    lists = await merging.lists()
    together = {key: n + late for key, (n, late) in (await frozen(merging, NOVEMBER)).items()}
    assert together["/new"] + 1 + 2 == lists["all"]["/new"]
    assert together["/fresh"] == lists["all"]["/fresh"]


async def test_a_correction_of_a_closed_day_is_booked_in_the_open_month_and_says_so(merging: Merging) -> None:
    await close(merging)
    asked = Adjustment("views", "/old", 5, None, BEFORE.date)
    preview = await merging.desk.corrections.look(asked, AN)
    made = await merging.desk.corrections.adjust(asked, AN)
    assert (preview.place, preview.note) == (made.change.place, made.change.note) == (DAY.date, BEFORE.date)
    found = await merging.lists()
    assert (found[OCTOBER], found[NOVEMBER]["/old"]) == ({"/old": 2, "/new": 1}, 6)
    with pytest.raises(ChangeRefused, match="2036-10 is closed: say by how much"):
        await merging.desk.corrections.adjust(Adjustment("views", "/old", None, 5, BEFORE.date), AN)
    await merging.undo(made.id)
    assert (await merging.lists())[NOVEMBER]["/old"] == 1


async def test_a_correction_in_a_closed_month_is_not_undone_before_that_is_open(merging: Merging) -> None:
    made = await merging.desk.corrections.adjust(Adjustment("views", "/old", 5, None, BEFORE.date), AN)
    await close(merging)
    with pytest.raises(ChangeRefused, match="2036-10 is closed: open it first"):
        await merging.undo(made.id)
    await merging.desk.periods.reopen(OCTOBER, AN)
    await merging.undo(made.id)
    assert (await merging.lists())[OCTOBER] == {"/old": 2, "/new": 1}


async def test_a_month_is_opened_and_closed_again_by_changes_that_can_be_undone(merging: Merging) -> None:
    first = await close(merging)
    closing = await closing_of(merging)
    opened = await merging.desk.periods.reopen(OCTOBER, AN)
    assert await closed_months(merging.raw).all(SITE.id) == {}
    await merging.read("/old", day=BEFORE)
    await merging.undo(opened.id)
    assert await closing_of(merging) == closing, "as it was, whatever came meanwhile"
    await merging.undo(first.id)
    second = await close(merging)
    assert (await closing_of(merging)).id == second.id
    assert await frozen(merging) == {"/new": (1, 0), "/old": (3, 0)}
    with pytest.raises(ChangeRefused, match="undone already"):
        await merging.undo(first.id)


@pytest.mark.parametrize(
    ("month", "words"),
    [
        (NOVEMBER, "is not over"),
        ("2036-12", "is not over"),
        ("2036", "is no month"),
        ("2036-13", "is no month"),
        ("10/2036", "is no month"),
        (OCTOBER, "is closed already"),
        ("2036-09", "2036-10 is closed: months are closed in their order"),
    ],
)
async def test_what_cannot_be_closed_is_refused(merging: Merging, month: str, words: str) -> None:
    await close(merging)
    before, written = await merging.everything(), len(merging.records)
    with pytest.raises(ChangeRefused, match=words):
        await close(merging, month)
    assert (await merging.everything(), len(merging.records)) == (before, written)


async def test_only_the_last_closed_month_is_opened_and_with_a_reason(merging: Merging) -> None:
    await merging.read("/old", day=SEPTEMBER_DAY)
    await close(merging, "2036-09")
    await close(merging)
    for month, order, words in (
        ("2036-09", AN, "2036-10 is closed, too: open it first"),
        (NOVEMBER, AN, "is not closed"),
        (OCTOBER, Order("an"), "give a reason"),
    ):
        with pytest.raises(ChangeRefused, match=words):
            await merging.desk.periods.reopen(month, order)


async def test_a_month_without_a_reader_is_closed_too(merging: Merging) -> None:
    await close(merging, "2036-08")
    assert await frozen(merging, "2036-08") == {}


async def test_what_the_site_alone_was_corrected_by_is_in_its_head_alone(merging: Merging) -> None:
    await merging.desk.corrections.adjust(Adjustment("views", "", 10, None, BEFORE.date), AN)
    await merging.desk.corrections.adjust(Adjustment("visits", "", 10, None, UNDATED), AN)
    await close(merging)
    closing = await closing_of(merging)
    assert (closing.views, closing.visits) == (13, 3)
    assert await frozen(merging) == {"/new": (1, 0), "/old": (2, 0)}


async def test_a_large_month_is_frozen_in_pieces_and_lost_ones_are_told(merging: Merging) -> None:
    many = [f"/article-{n}-{sha256(str(n).encode()).hexdigest()}" for n in range(2200)]
    for start in range(0, len(many), 400):
        await merging.read(*many[start : start + 400], day=BEFORE)
    await close(merging)
    closing = await closing_of(merging)
    assert closing.pieces > 2
    assert await frozen(merging) == {"/new": (1, 0), "/old": (2, 0), **dict.fromkeys(many, (1, 0))}
    piece = f"{closing.id}:1"
    whole = await merging.raw.hget(keys.frozen(SITE.id, OCTOBER), piece)
    assert isinstance(whole, bytes)
    for damage in (None, whole[:-1], b"junk"):
        if damage is None:
            await merging.raw.hdel(keys.frozen(SITE.id, OCTOBER), piece)
        else:
            await merging.raw.hset(keys.frozen(SITE.id, OCTOBER), piece, damage)
        with pytest.raises(ClosingDamaged):
            await frozen(merging)


# Royalties ------------------------------------------------------------------------------------------------------------


async def royalties(merging: Merging, month: str) -> dict[str, tuple[int, int]]:
    """Of the articles of a closed month's royalties: views within their days, and how many of these are due."""
    book = await closed_months(merging.raw).book(SITE.id, await closing_of(merging, month))
    found = {row.key: (row.royal, row.due) for row in book.rows if row.days}
    assert sum(due for _, due in found.values()) == book.head.due
    return found


async def within(merging: Merging, *articles: str, days: int = 30) -> dict[str, int]:
    """Views within so many days of publication, as lists have them now."""
    merging.moment = merging.now
    await merging._articles.refresh(SITE)
    page = await merging._articles.page(SITE, Query(keys=articles, within=days))
    return {row.entry.key: row.within or 0 for row in page.rows}


async def test_royalties_of_a_closed_month_are_what_had_come_and_the_rest_is_due_in_the_next(merging: Merging) -> None:
    """Of articles that were published in it; all closed months together have each view once."""
    for key, published in (("/old", "2036-10-25"), ("/new", "2036-11-05"), ("/third", "2036-09-03")):
        await merging.desk.naming.rename(key, Renaming(published=published), AN)
    await close(merging, "2036-09")
    assert await royalties(merging, "2036-09") == {"/third": (0, 0)}
    await close(merging)
    first = await royalties(merging, OCTOBER)
    live = await within(merging, "/old")
    assert first == {"/old": (live["/old"], live["/old"])}, "the days of /third were over, and nothing came"
    await merging.read("/old", "/old", day=CALENDAR.day_named("2036-11-08"))
    merging.now = DECEMBER.start_ms
    live = await within(merging, "/old", "/new")
    await close(merging, NOVEMBER)
    second = await royalties(merging, NOVEMBER)
    assert second == {"/new": (live["/new"], live["/new"]), "/old": (live["/old"], live["/old"] - first["/old"][1])}
    assert second["/old"][1] >= 2


async def test_a_merge_and_another_date_move_royalties_and_pay_nothing_twice(merging: Merging) -> None:
    for key in ("/old", "/new"):
        await merging.desk.naming.rename(key, Renaming(published="2036-10-20"), AN)
    await close(merging)
    first = await royalties(merging, OCTOBER)
    await merging.merge("/old", "/new")
    await merging.desk.naming.rename("/new", Renaming(published="2036-11-02"), AN)
    merging.now = DECEMBER.start_ms
    live = await within(merging, "/new")
    await close(merging, NOVEMBER)
    paid = sum(due for _, due in first.values())
    assert paid > 0
    assert (await royalties(merging, NOVEMBER))["/new"] == (live["/new"], live["/new"] - paid)
