"""Merging two articles adds their counts and loses none; undoing gives back exactly what was there."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from redis.asyncio import Redis
from redis.crc import key_slot

from tests.store.merging import EVERY_LOAD, Merging, some_reading
from tests.store.writing import CALENDAR, DAY, SITE
from visitstats.core.errors import NotFound, StoreUnavailable, VisitstatsError
from visitstats.core.keys import article_id
from visitstats.merges import MergeRefused, NoSuchArticle
from visitstats.store import changes, keys
from visitstats.store.reads import Reads


@pytest_asyncio.fixture
async def merging(redis_url: str, raw: Redis) -> AsyncIterator[Merging]:
    found = Merging(redis_url, raw)
    yield found
    await found.close()


async def test_a_merge_adds_up_every_list_that_is_kept(merging: Merging) -> None:
    """All time, each month, each week, each day; baselines too. Other articles and the site's totals stay."""
    await some_reading(merging)
    views: Any = await merging.raw.hgetall(keys.views(SITE.id))
    await merging.merge("/old", "/new")
    assert await merging.lists() == {
        "all": {"/new": 506, "/third": 8},
        "2036-10": {"/new": 3},
        "2036-11": {"/new": 3, "/third": 1},
        "w2036-10-27": {"/new": 3},
        "w2036-11-24": {"/new": 3, "/third": 1},
        "2036-10-31": {"/new": 3},
        "2036-11-24": {"/new": 3, "/third": 1},
        "base": {"/new": 500, "/third": 7},
    }
    assert await merging.raw.hgetall(keys.views(SITE.id)) == views


async def test_an_undo_leaves_no_trace_of_the_merge(merging: Merging) -> None:
    """Not a member, not a field, not another time to live; only the two records."""
    await some_reading(merging)
    before = await merging.everything()
    await merging.undo(await merging.merge("/old", "/new"))
    assert await merging.everything() == before
    assert len(await merging.merges.audit(10)) == 2


async def test_what_was_counted_since_stays_where_it_was_counted(merging: Merging) -> None:
    """Also what came by the old address: at the undo nobody knows by which it came."""
    await some_reading(merging)
    merged = await merging.merge("/old", "/new")
    await merging.read("/old", "/new", "/old")
    await merging.undo(merged)
    found = await merging.lists()
    assert found["all"] == {"/old": 503, "/new": 6, "/third": 8}
    assert found["2036-11-24"] == {"/old": 1, "/new": 5, "/third": 1}
    assert found["base"] == {"/old": 500, "/third": 7}
    assert (await merging.read("/old")).articles == (504,)


async def test_hits_of_the_old_address_count_for_the_other_and_say_its_views(merging: Merging) -> None:
    """Also in a batch that was journalled before the merge, and together with hits of the other."""
    await some_reading(merging)
    waiting = merging.gathered(DAY, "/old", "/new", "/third", "/old")
    await merging.merge("/old", "/new")
    result = await merging.commit(waiting)
    assert result.articles == (509, 509, 9)
    assert result.added == (2, 1, 1)
    assert await merging.raw.zscore(keys.top_all(SITE.id), article_id("/old")) == 0
    entries = await Reads(merging.raw).top(SITE.id, DAY, "all", 10)
    assert [(row.entry.key, row.views) for row in entries] == [("/new", 509), ("/third", 9)]
    assert entries[0].entry.title == "Title of /new", "the old page's title is not the article's"


async def test_lists_for_editors_do_not_show_what_was_merged(merging: Merging) -> None:
    await some_reading(merging)
    await merging.merge("/old", "/new")
    for period in ("day", "week", "month", "all"):
        rows = await Reads(merging.raw).top(SITE.id, DAY, period, 10)
        assert [row.entry.key for row in rows] == ["/new", "/third"], period


async def test_chains_lead_to_their_end_and_are_undone_from_it(merging: Merging) -> None:
    await some_reading(merging)
    first = await merging.merge("/old", "/new")
    after_first = await merging.lists()
    second = await merging.merge("/new", "/third")
    assert await merging.changes.aliases(SITE.id) == {article_id(key): "/third" for key in ("/old", "/new")}
    assert (await merging.lists())["all"] == {"/third": 514}
    assert (await merging.read("/old")).articles == (515,)
    with pytest.raises(MergeRefused, match=f"/new was merged itself since; undo change {second} first"):
        await merging.undo(first)
    await merging.undo(second)
    expected = after_first | {name: row | {"/third": row.get("/third", 0) + 1} for name, row in after_first.items()
                              if name in ("all", "2036-11", "w2036-11-24", "2036-11-24")}  # fmt: skip
    assert await merging.lists() == expected
    await merging.undo(first)
    assert (await merging.lists())["all"] == {"/old": 503, "/new": 3, "/third": 9}


async def test_an_alias_is_followed_when_something_is_merged_into_it(merging: Merging) -> None:
    await some_reading(merging)
    await merging.merge("/old", "/new")
    await merging.merge("/third", "/old")
    assert (await merging.lists())["all"] == {"/new": 514}


async def test_another_merge_into_the_same_article_is_no_hindrance_to_an_undo(merging: Merging) -> None:
    await some_reading(merging)
    first = await merging.merge("/old", "/new")
    await merging.merge("/third", "/new")
    await merging.undo(first)
    assert (await merging.lists())["all"] == {"/old": 503, "/new": 11}


@pytest.mark.parametrize(
    ("source", "target", "error", "words"),
    [
        ("/old", "/old", MergeRefused, "merged with itself"),
        ("/old", "https://www.portal.vn/old?utm_source=zalo", MergeRefused, "merged with itself"),
        ("/old", "/new", MergeRefused, "/old is an alias of /new already"),
        ("/new", "/old", MergeRefused, "/old is an alias of /new already: the two would stand for each other"),
        ("/nix", "/new", NoSuchArticle, "nothing was ever counted for /nix"),
        ("/new", "/nix", NoSuchArticle, "nothing was ever counted for /nix"),
        ("(other)", "/new", MergeRefused, "no article"),
        ("/new", "(other)", MergeRefused, "no article"),
        ("\u200b", "/new", MergeRefused, "a key has something in it that can be seen"),
        ("/" + "x" * 512, "/new", MergeRefused, "longer than 512 bytes"),
        ("https://elsewhere.vn/old", "/new", NoSuchArticle, "nothing was ever counted for https://elsewhere.vn/old"),
        ("https://[", "/new", NoSuchArticle, "nothing was ever counted for https://["),
    ],
)
async def test_what_cannot_be_merged_is_refused_in_a_clear_line_and_changes_nothing(
    merging: Merging, source: str, target: str, error: type[VisitstatsError], words: str
) -> None:
    await some_reading(merging)
    await merging.merge("/old", "/new")
    before = await merging.everything(), await merging.merges.audit(10)
    with pytest.raises(error, match=re.escape(words)) as refused:
        await merging.merge(source, target)
    assert "\n" not in str(refused.value)
    assert (await merging.everything(), await merging.merges.audit(10)) == before


async def test_what_cannot_be_undone_is_refused_and_changes_nothing(merging: Merging) -> None:
    await some_reading(merging)
    merged = await merging.merge("/old", "/new")
    undone = await merging.undo(merged)
    before = await merging.everything(), await merging.merges.audit(10)
    for change_id, error, words in (
        (merged, MergeRefused, f"undone already (by {undone})"),
        (undone, MergeRefused, "is an undo"),
        ("nix", NotFound, "no change 'nix'"),
        (f"{merged}:undone", NotFound, "no change"),
    ):
        with pytest.raises(error, match=re.escape(words)):
            await merging.undo(change_id)
    assert (await merging.everything(), await merging.merges.audit(10)) == before


async def test_an_alias_is_for_a_key_that_has_no_counts(merging: Merging) -> None:
    await some_reading(merging)
    with pytest.raises(MergeRefused, match="/old has 503 views of its own: merge it"):
        await merging.merges.merge("/old", "/new", "an", kind="alias")
    made = await merging.merges.merge("/cu", "/new", "an", kind="alias")
    assert (await merging.read("/cu")).articles == (4,)
    await merging.undo(made.id)
    assert (await merging.read("/cu")).articles == (1,)


async def test_the_list_of_changes_says_who_when_why_and_what(merging: Merging) -> None:
    await some_reading(merging)
    first = await merging.merge("/old", "/new", "Cổng mới, địa chỉ mới")
    second = await merging.undo(first)
    newest, oldest = await merging.merges.audit(10)
    assert [each.id for each in await merging.merges.audit(1)] == [second]
    assert (oldest.id, oldest.undone, newest.change.undoes) == (first, second, first)
    change = oldest.change
    assert (change.kind, change.who, change.why, change.at_ms) == ("merge", "an", "Cổng mới, địa chỉ mới", merging.now)
    assert (change.source, change.target, change.moved) == ("/old", "/new", 503)
    assert {name: (n, other) for name, n, other in change.before} == {
        "all": (503, 3), "2036-10": (2, 1), "2036-11": (1, 2), "w2036-10-27": (2, 1), "w2036-11-24": (1, 2),
        "2036-10-31": (2, 1), "2036-11-24": (1, 2),
    }  # fmt: skip


@pytest.mark.parametrize(("who", "why"), [("", ""), ("\u200b", ""), ("x" * 81, ""), ("an", "x" * 501)])
async def test_a_change_needs_a_name_and_a_reason_of_reasonable_length(merging: Merging, who: str, why: str) -> None:
    await some_reading(merging)
    with pytest.raises(MergeRefused):
        await merging.merges.merge("/old", "/new", who, why)
    assert await merging.merges.audit(10) == []


async def test_a_list_that_is_past_its_life_is_neither_needed_nor_made_again(merging: Merging) -> None:
    await some_reading(merging)
    merged = await merging.merge("/old", "/new")
    gone = keys.top(SITE.id, "2036-10-31")
    await merging.raw.delete(gone)
    await merging.undo(merged)
    found = await merging.lists()
    assert "2036-10-31" not in found
    assert found["2036-10"] == {"/old": 2, "/new": 1}


async def test_an_undo_that_would_make_a_count_negative_is_refused(merging: Merging) -> None:
    """Somebody has changed the store by hand."""
    await some_reading(merging)
    merged = await merging.merge("/old", "/new")
    name: Any = article_id("/new")
    await merging.raw.zadd(keys.top(SITE.id, "2036-10"), {name: 1})
    before = await merging.everything()
    with pytest.raises(MergeRefused, match="/new has less in 2036-10 than is to be given back"):
        await merging.undo(merged)
    assert await merging.everything() == before


async def test_an_id_that_is_taken_is_not_used_again(merging: Merging, monkeypatch: pytest.MonkeyPatch) -> None:
    """A record is never written over."""
    drawn = iter(["00000001", "00000001", "00000002", "00000002", "00000003"])
    monkeypatch.setattr(changes, "new_id", lambda: next(drawn))
    await some_reading(merging)
    assert await merging.merge("/old", "/new") == "00000001"
    assert await merging.merge("/third", "/new") == "00000002"
    assert await merging.undo("00000001") == "00000003"
    assert [each.id for each in await merging.merges.audit(9)] == ["00000003", "00000002", "00000001"]


async def test_a_day_that_begins_while_a_merge_is_prepared_is_not_forgotten(merging: Merging) -> None:
    """The lists are named before the script runs; a hit in between may have made new ones."""
    await some_reading(merging)
    listed, later = merging.changes._lists, CALENDAR.day_named("2036-12-01")

    async def late(site: str) -> tuple[list[str], int]:
        found = await listed(site)
        if "2036-12" not in found[0]:
            await merging.read("/old", day=later)
        return found

    merging.changes._lists = late  # type: ignore[method-assign]
    await merging.merge("/old", "/new")
    assert (await merging.lists())["2036-12-01"] == {"/new": 1}


async def test_lists_of_weeks_that_began_on_another_weekday_are_merged_too(redis_url: str, raw: Redis) -> None:
    sunday = Merging(redis_url, raw, msgspec.structs.replace(EVERY_LOAD, week_start=7))
    await sunday.read("/old", "/new", day=CALENDAR.day_named("2036-11-24"))
    week = keys.top_week(SITE.id, "2036-11-23", DAY.end_ms)
    # As a worker wrote it while the site's weeks began on Sunday.
    await raw.rename(keys.top_week(SITE.id, "2036-11-24", DAY.end_ms).name, week.name)
    await sunday.merge("/old", "/new")
    assert (await sunday.lists())["w2036-11-23"] == {"/new": 2}
    await sunday.close()


async def test_a_site_has_so_many_aliases_and_no_more(merging: Merging, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "MOST_ALIASES", 1)
    await some_reading(merging)
    await merging.merge("/old", "/new")
    with pytest.raises(MergeRefused, match="at most"):
        await merging.merge("/third", "/new")


async def test_aliases_are_put_back_when_the_store_has_lost_them(merging: Merging) -> None:
    await some_reading(merging)
    await merging.merge("/old", "/new")
    known = await merging.changes.aliases(SITE.id)
    await merging.raw.flushall()
    merging.sequence = 0
    await merging.changes.keep_aliases(SITE.id, known)
    assert await merging.changes.aliases(SITE.id) == known
    assert (await merging.read("/old")).articles == (1,)


@pytest.mark.parametrize("damaged", ["aliases", "changes", "base", "views", "top_all"])
async def test_a_key_of_another_type_is_found_before_anything_is_written(merging: Merging, damaged: str) -> None:
    await some_reading(merging)
    name = getattr(keys, damaged)(SITE.id)
    await merging.raw.delete(name)
    await merging.raw.set(name, "not what it should be")
    before = await merging.raw.dbsize(), await merging.raw.exists(keys.changes(SITE.id))
    change = changes.Change("merge", merging.now, "an", "", "/old", "/new", "")
    with pytest.raises(StoreUnavailable, match="WRONGTYPE"):
        await merging.changes.merge(SITE.id, change)
    assert (await merging.raw.dbsize(), await merging.raw.exists(keys.changes(SITE.id))) == before


def test_aliases_in_a_circle_lead_somewhere_all_the_same() -> None:
    """No merge makes them; a damaged store may."""
    steps = {b"a": (b"b", "/b"), b"b": (b"c", "/c"), b"c": (b"a", "/a"), b"x": (b"a", "/a")}
    assert changes.resolved(steps) == {b"a": "/a", b"b": "/b", b"c": "/c", b"x": "/a"}


async def test_hits_on_aliases_in_a_circle_do_not_hold_up_the_store(merging: Merging) -> None:
    pairs = (("/a", "/b"), ("/b", "/a"))
    mapping: Any = {article_id(alias): article_id(key) + key.encode() for alias, key in pairs}
    await merging.raw.hset(keys.aliases(SITE.id), mapping=mapping)
    assert (await merging.read("/a")).started == 1


def test_all_keys_of_a_change_are_in_one_slot() -> None:
    names = [each(SITE.id) for each in (keys.aliases, keys.changes, keys.base, keys.views, keys.top_all)]
    assert len({key_slot(name.encode()) for name in (*names, keys.top(SITE.id, "w2036-11-24"))}) == 1
