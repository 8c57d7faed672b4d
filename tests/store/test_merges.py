"""Merging two articles adds their counts and loses none; undoing gives back exactly what was there."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis
from redis.crc import key_slot

from tests.store.dated import dated
from tests.store.merging import BEFORE, DAY, SITE, Merging, gathered, ledger, some_reading
from visitstats.changes import recording
from visitstats.changes.desk import Wanted
from visitstats.changes.recording import ChangeRefused, Order
from visitstats.core.entries import Entry
from visitstats.core.errors import NoSuchArticle, NotFound, VisitstatsError
from visitstats.core.keys import article_id
from visitstats.store import change_records, keys
from visitstats.store.changes import resolved
from visitstats.store.commit import Changed, Refused
from visitstats.store.reads import Reads


async def test_a_merge_adds_up_every_list(merging: Merging) -> None:
    """All time, each month, each week, each day; baselines too. Other articles and the site's totals stay."""
    await some_reading(merging)
    views = await dated(merging.raw, SITE.id, "views")
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
    assert await dated(merging.raw, SITE.id, "views") == views


async def test_an_undo_leaves_no_trace_of_the_merge(merging: Merging) -> None:
    """Not a member, not a field, not another time to live; only the two records."""
    await some_reading(merging)
    before = await merging.everything()
    await merging.undo(await merging.merge("/old", "/new"))
    assert await merging.everything() == before
    assert len(await merging.audit()) == 2


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
    assert not await Reads(merging.raw).has_article(SITE.id, article_id("/old"))
    assert (await merging.lists())["all"] == {"/new": 509, "/third": 9}
    [entry] = await Reads(merging.raw).entries(SITE.id, [article_id("/new")])
    assert entry.title == "Title of /new", "the old page's title is not the article's"


@pytest.mark.parametrize("period", ["day", "week", "month", "all"])
async def test_lists_for_editors_do_not_show_what_was_merged(merging: Merging, period: str) -> None:
    await some_reading(merging)
    await merging.merge("/old", "/new")
    assert list(await merging.listed(period, merging.now)) == ["/new", "/third"]


async def test_chains_lead_to_their_end_and_are_undone_from_it(merging: Merging) -> None:
    await some_reading(merging)
    first = await merging.merge("/old", "/new")
    after_first = await merging.lists()
    second = await merging.merge("/new", "/third")
    assert await merging.changes.aliases(SITE.id) == {article_id(key): "/third" for key in ("/old", "/new")}
    assert (await merging.lists())["all"] == {"/third": 514}
    assert (await merging.read("/old")).articles == (515,)
    with pytest.raises(ChangeRefused, match=f"/new was merged itself since; undo change {second} first"):
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
        ("/old", "/old", ChangeRefused, "merged with itself"),
        ("/old", "https://www.portal.vn/old?utm_source=zalo", ChangeRefused, "merged with itself"),
        ("/old", "/new", ChangeRefused, "/old is an alias of /new already"),
        ("/new", "/old", ChangeRefused, "/old is an alias of /new already: the two would stand for each other"),
        ("/nix", "/new", NoSuchArticle, "nothing was ever counted for /nix"),
        ("/new", "/nix", NoSuchArticle, "nothing was ever counted for /nix"),
        ("(other)", "/new", ChangeRefused, "no article"),
        ("/new", "(other)", ChangeRefused, "no article"),
        ("\u200b", "/new", ChangeRefused, "is no key: nothing can be seen in it"),
        ("/" + "x" * 512, "/new", ChangeRefused, "longer than 512 bytes"),
        ("https://elsewhere.vn/old", "/new", NoSuchArticle, "nothing was ever counted for https://elsewhere.vn/old"),
        ("https://[", "/new", NoSuchArticle, "nothing was ever counted for https://["),
    ],
)
async def test_what_cannot_be_merged_is_refused_in_a_clear_line_and_changes_nothing(
    merging: Merging, source: str, target: str, error: type[VisitstatsError], words: str
) -> None:
    await some_reading(merging)
    await merging.merge("/old", "/new")
    before = await merging.everything(), await merging.audit()
    with pytest.raises(error, match=re.escape(words)) as refused:
        await merging.merge(source, target)
    assert "\n" not in str(refused.value)
    assert (await merging.everything(), await merging.audit()) == before


async def test_what_cannot_be_undone_is_refused_and_changes_nothing(merging: Merging) -> None:
    await some_reading(merging)
    merged = await merging.merge("/old", "/new")
    undone = await merging.undo(merged)
    before = await merging.everything(), await merging.audit()
    for change_id, error, words in (
        (merged, ChangeRefused, f"undone already (by {undone})"),
        (undone, ChangeRefused, "is an undo"),
        ("nix", NotFound, "no change 'nix'"),
        (f"{merged}:undone", NotFound, "no change"),
    ):
        with pytest.raises(error, match=re.escape(words)):
            await merging.undo(change_id)
    assert (await merging.everything(), await merging.audit()) == before


async def test_an_alias_is_for_a_key_that_has_no_counts(merging: Merging) -> None:
    await some_reading(merging)
    with pytest.raises(ChangeRefused, match="/old has 503 views of its own: merge it"):
        await merging.merges.merge("/old", "/new", Order("an"), kind="alias")
    made = await merging.merges.merge("/cu", "/new", Order("an"), kind="alias")
    assert (await merging.read("/cu")).articles == (4,)
    await merging.undo(made.id)
    assert (await merging.read("/cu")).articles == (1,)


async def test_the_list_of_changes_says_who_when_why_and_what(merging: Merging) -> None:
    await some_reading(merging)
    first = await merging.merge("/old", "/new", "Cổng mới, địa chỉ mới")
    second = await merging.undo(first)
    newest, oldest = await merging.audit()
    assert [each.id for each in (await merging.desk.log(Wanted(limit=1))).changes] == [second]
    assert (oldest.id, oldest.undone, newest.change.undoes) == (first, second, first)
    change = oldest.change
    assert (change.kind, change.who, change.why, change.at_ms) == ("merge", "an", "Cổng mới, địa chỉ mới", merging.now)
    assert (change.source, change.target, change.moved) == ("/old", "/new", 503)
    assert (change.views, change.bases) == ((503, 3), (500, -1))
    assert (newest.change.views, newest.change.bases) == ((-1, 506), (-1, 500))
    assert (newest.change.source, newest.change.target, newest.change.who) == ("/old", "/new", "binh")


@pytest.mark.parametrize(("who", "why"), [("", ""), ("\u200b", ""), ("x" * 81, ""), ("an", "x" * 501)])
async def test_a_change_needs_a_name_and_a_reason_of_reasonable_length(merging: Merging, who: str, why: str) -> None:
    await some_reading(merging)
    with pytest.raises(ChangeRefused):
        await merging.merges.merge("/old", "/new", Order(who, why))
    assert await merging.audit() == []


async def test_an_undo_does_not_need_the_days(merging: Merging) -> None:
    """They are kept for a time, a merge for ever."""
    await some_reading(merging)
    merged = await merging.merge("/old", "/new")
    await merging.raw.delete(keys.articles_of_day(SITE.id, BEFORE.date))
    await merging.undo(merged)
    found = await merging.lists()
    assert (found["all"], found["2036-10"]) == ({"/old": 503, "/new": 3, "/third": 8}, {})


@pytest.mark.parametrize(("name", "words"), [("articles", "views"), ("base", "baselines")])
async def test_an_undo_that_would_make_a_count_negative_is_refused(merging: Merging, name: str, words: str) -> None:
    """Somebody has changed the store by hand."""
    await some_reading(merging)
    merged = await merging.merge("/old", "/new")
    await merging.raw.hset(getattr(keys, name)(SITE.id), article_id("/new"), "1")
    before = await merging.everything()
    with pytest.raises(ChangeRefused, match=f"/new has less in {words} than is to be given back"):
        await merging.undo(merged)
    assert await merging.everything() == before


async def test_an_id_that_is_taken_is_not_used_again(merging: Merging, monkeypatch: pytest.MonkeyPatch) -> None:
    """A record is never written over; whoever drew the id tries again."""
    drawn = iter(["00000001", "00000001", "00000001", "00000002"])
    monkeypatch.setattr(recording, "new_id", lambda: next(drawn))
    await some_reading(merging)
    assert await merging.merge("/old", "/new") == "00000001"
    for change in (merging.merge("/third", "/new"), merging.undo("00000001")):
        before = await merging.everything()
        with pytest.raises(ChangeRefused, match="is taken; try again"):
            await change
        assert await merging.everything() == before
    assert await merging.undo("00000001") == "00000002"
    assert [each.id for each in await merging.audit()] == ["00000002", "00000001"]


async def test_a_site_has_so_many_aliases_and_no_more(merging: Merging) -> None:
    """Whether that is seen before the change is journalled, or by the script: another one may have come in between."""
    await some_reading(merging)
    one = await merging.merge("/old", "/new")
    target = article_id("/new")
    mapping: Any = {n.to_bytes(8, "big"): target + b"/new" for n in range(1, change_records.MOST_ALIASES)}
    await merging.raw.hset(keys.aliases(SITE.id), mapping=mapping)
    written = len(merging.records)
    with pytest.raises(ChangeRefused, match="a site has at most 20000 aliases"):
        await merging.merge("/third", "/new")
    assert len(merging.records) == written
    change = change_records.Change("merge", merging.now, "an", "", "/third", "/new", "")
    before = await merging.everything()
    assert await merging.change(change_records.merging(SITE.id, "00000001", change)) == Changed("refused", "too-many")
    assert await merging.everything() == before
    await merging.undo(one)
    await merging.merge("/third", "/new")


async def test_aliases_are_put_back_when_the_store_has_lost_them(merging: Merging) -> None:
    """But for those that it has by now, which may lead elsewhere."""
    await some_reading(merging)
    await merging.merge("/old", "/new")
    await merging.merge("/third", "/new")
    known = await merging.changes.aliases(SITE.id)
    await merging.raw.flushall()
    merging.records.clear()
    await merging.read("/third", "/other")
    await merging.merge("/third", "/other")
    await merging.changes.keep_aliases(SITE.id, known)
    now = await merging.changes.aliases(SITE.id)
    assert now == {article_id("/old"): "/new", article_id("/third"): "/other"}
    noted: Any = await merging.raw.hkeys(keys.changes(SITE.id))
    marks = {name for name in noted if name.endswith(b":kept")}
    assert marks == {article_id("/old").hex().encode() + b":kept"}
    assert (await merging.read("/old")).articles == (1,)


@pytest.mark.parametrize("damaged", ["aliases", "changes", "base", "articles"])
async def test_a_key_of_another_type_is_found_before_anything_is_written(merging: Merging, damaged: str) -> None:
    """Not even the watermark: the change is made when somebody has mended that."""
    await some_reading(merging)
    name = getattr(keys, damaged)(SITE.id)
    kept = await merging.raw.dump(name)
    await merging.raw.delete(name)
    await merging.raw.set(name, "not what it should be")
    before = await ledger(merging.raw)
    change = change_records.Change("merge", merging.now, "an", "", "/old", "/new", "")
    sequence = merging.write(change_records.merging(SITE.id, "00000001", change))
    result = await merging.send(sequence)
    assert isinstance(result, Refused)
    assert "WRONGTYPE" in result.error
    assert await ledger(merging.raw) == before
    await merging.raw.delete(name)
    if kept is not None:
        await merging.raw.restore(name, 0, kept)
    assert isinstance(again := await merging.send(sequence), Changed)
    assert again.word == "ok"
    assert (await merging.lists())["all"] == {"/new": 506, "/third": 8}


def test_aliases_in_a_circle_lead_somewhere_all_the_same() -> None:
    """No merge makes them; a damaged store may."""
    steps = {b"a": (b"b", "/b"), b"b": (b"c", "/c"), b"c": (b"a", "/a"), b"x": (b"a", "/a")}
    assert resolved(steps) == {b"a": "/a", b"b": "/b", b"c": "/c", b"x": "/a"}


async def test_hits_on_aliases_in_a_circle_do_not_hold_up_the_store(merging: Merging) -> None:
    pairs = (("/a", "/b"), ("/b", "/a"))
    mapping: Any = {article_id(alias): article_id(key) + key.encode() for alias, key in pairs}
    await merging.raw.hset(keys.aliases(SITE.id), mapping=mapping)
    assert (await merging.read("/a")).started == 1
    assert await merging.lists()


def test_all_keys_of_a_change_are_in_one_slot() -> None:
    assert len({key_slot(name.encode()) for name in keys.of_change(SITE.id)}) == 1


async def test_a_merged_article_gives_its_place_back_and_takes_it_again(redis_url: str, raw: Redis) -> None:
    """A site's cap is of articles, not of addresses; an undo may go above it."""
    small = Merging(redis_url, raw, msgspec.structs.replace(SITE, max_articles=2))
    await small.read("/old", "/new", "/late")
    merged = await small.merge("/old", "/new")
    await small.read("/fresh")
    await small.undo(merged)
    assert (await small.read("/late", "/old", "/fresh")).articles == (-1, 2, 2)
    assert (await small.lists())["all"] == {"(other)": 2, "/old": 2, "/new": 1, "/fresh": 2}
    await small.close()


async def test_an_article_of_a_baseline_alone_can_be_merged_and_parted(merging: Merging) -> None:
    """It was never read here; its old counter's number goes along, also when that is 0."""
    await merging.read("/new")
    await merging.baselines.set(None, {Entry("/old"): 40, Entry("/zero"): 0})
    before = await merging.everything()
    one, two = await merging.merge("/old", "/new"), await merging.merge("/zero", "/new")
    assert (await merging.lists())["all"] == {"/new": 41}
    await merging.undo(two)
    await merging.undo(one)
    assert await merging.everything() == before


async def test_a_merge_of_articles_that_the_store_does_not_know_yet(merging: Merging) -> None:
    """After a loss the hits that made them known may come later, from another host; the merge is not lost for that."""
    merged = change_records.Change("merge", merging.now, "an", "", "/old", "/new", "")
    alias = change_records.Change("alias", merging.now, "an", "", "/late", "/new", "")
    await merging.read("/old", "/late")
    assert (await merging.change(change_records.merging(SITE.id, "00000001", merged))).word == "ok"
    assert (await merging.change(change_records.merging(SITE.id, "00000002", alias))).word == "ok"
    assert (await merging.lists())["all"] == {"/new": 2}, "by its name"
    await merging.read("/new", "/late")
    assert (await merging.lists())["all"] == {"/new": 4}
    await merging.undo("00000002")
    await merging.undo("00000001")
    assert (await merging.lists())["all"] == {"/old": 1, "/late": 1, "/new": 2}


def test_a_change_can_be_named_from_its_record_alone() -> None:
    """For the log: nobody may be there who ordered it."""
    change = change_records.Change("alias", 1, "Chị Lan", "why", "/cũ", "/mới", "")
    record = change_records.merging(SITE.id, "00000001", change)
    assert change_records.describe(record) == "alias /cũ into /mới by Chị Lan (change 00000001)"
    undo = msgspec.structs.replace(change, kind="undo", undoes="00000001")
    assert change_records.describe(change_records.undoing(SITE.id, "00000002", undo)) == (
        "undo 00000001 by Chị Lan (change 00000002)"
    )
    assert change_records.describe(change_records.setting_baselines(SITE.id, 0, 1, [])) == "baselines"


async def test_late_hits_of_a_journal_count_for_the_other_article_on_their_own_day(merging: Merging) -> None:
    await some_reading(merging)
    late = gathered(SITE, BEFORE, BEFORE.start_ms + 1000, "/old")
    await merging.merge("/old", "/new")
    await merging.commit(late)
    found = await merging.lists()
    assert (found["all"]["/new"], found["2036-10-31"]["/new"]) == (507, 4)
