"""Baselines of articles that were merged: they go to the article that an old address stands for, nothing of them is
lost when the same list is set again, and no merge becomes impossible to undo."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from tests.store.dated import dated
from tests.store.merging import BEFORE, SITE, Merging, ledger
from visitstats.changes import baselines
from visitstats.core.batch import ChangeRecord
from visitstats.core.counting import NUMBERS_BASELINE
from visitstats.core.entries import Entry
from visitstats.core.errors import BaselineRefused, ChangePending
from visitstats.core.keys import article_id
from visitstats.store import keys
from visitstats.store.commit import Changed
from visitstats.store.reads import Reads

OLD_COUNTER = {Entry("/old", "Old title"): 500, Entry("/new", "New title"): 40}


@pytest_asyncio.fixture
async def merging(redis_url: str, raw: Redis) -> AsyncIterator[Merging]:
    found = Merging(redis_url, raw)
    await found.read("/old", "/old", "/new", day=BEFORE)
    await found.read("/third")
    yield found
    await found.close()


async def views(merging: Merging) -> dict[str, int]:
    return await Reads(merging.raw).views(SITE.id, ["/old", "/new", "/third"])


async def total(merging: Merging) -> int:
    return int(await merging.raw.hget(*keys.count_at(SITE.id, "views", NUMBERS_BASELINE)) or 0)


async def test_the_baseline_of_an_old_address_is_the_articles(merging: Merging) -> None:
    """With its own together, under its own title; the old row stays empty."""
    await merging.merge("/old", "/new")
    for _ in range(2):
        await merging.baselines.set(None, OLD_COUNTER)
        assert await views(merging) == {"/old": 0, "/new": 543, "/third": 1}
        assert (await merging.lists())["base"] == {"/new": 540}
        assert await total(merging) == 540
    assert (await merging.lists())["all"] == {"/new": 543, "/third": 1}
    entries = await Reads(merging.raw).entries(SITE.id, [article_id(key) for key in ("/new", "/third")])
    assert [(entry.key, entry.title) for entry in entries] == [("/new", "New title"), ("/third", "Title of /third")]


async def test_the_title_of_an_old_address_is_not_the_articles(merging: Merging) -> None:
    await merging.merge("/old", "/third")
    await merging.baselines.set(None, {Entry("/old", "Old title"): 500})
    [entry] = await Reads(merging.raw).entries(SITE.id, [article_id("/third")])
    assert (entry.key, entry.title) == ("/third", "Title of /third")
    assert (await merging.lists())["all"] == {"/new": 1, "/third": 503}


async def test_a_list_that_is_set_again_after_a_merge_changes_nothing_and_the_undo_is_exact(merging: Merging) -> None:
    await merging.baselines.set(None, OLD_COUNTER)
    before = await merging.everything()
    merged = await merging.merge("/old", "/new")
    merged_lists = await merging.lists()
    await merging.baselines.set(None, OLD_COUNTER)
    assert await merging.lists() == merged_lists
    await merging.undo(merged)
    assert await merging.everything() == before


async def test_what_is_corrected_after_a_merge_stays_with_the_article_at_an_undo(merging: Merging) -> None:
    """As everything that was counted since; the old address gets back what it had."""
    await merging.baselines.set(None, OLD_COUNTER)
    merged = await merging.merge("/old", "/new")
    await merging.baselines.set(None, {Entry("/new"): 550})
    await merging.undo(merged)
    assert await views(merging) == {"/old": 502, "/new": 51, "/third": 1}
    assert await total(merging) == 550


async def test_a_baseline_that_would_make_an_undo_impossible_is_refused(merging: Merging) -> None:
    """By the article's name or an old address; nothing is set, also nothing else of that list."""
    await merging.baselines.set(9, OLD_COUNTER)
    merged = await merging.merge("/old", "/new")
    before, visits = await merging.everything(), await dated(merging.raw, SITE.id, "visits")
    for wanted in ({Entry("/new"): 499}, {Entry("/old"): 3}, {Entry("/third"): 5, Entry("/old"): 0}):
        with pytest.raises(BaselineRefused, match=r"/new cannot have a baseline of \d+: .* gives back 500; "):
            await merging.baselines.set(10, wanted)
    assert await merging.everything() == before
    assert await dated(merging.raw, SITE.id, "visits") == visits
    await merging.baselines.set(10, {Entry("/new"): 500})
    await merging.undo(merged)
    assert (await merging.lists())["base"] == {"/old": 500}
    await merging.baselines.set(10, {Entry("/new"): 3, Entry("/old"): 4})


async def test_chains_of_aliases_lead_to_the_last_article(merging: Merging) -> None:
    await merging.baselines.set(None, OLD_COUNTER)
    one = await merging.merge("/old", "/new")
    two = await merging.merge("/new", "/third")
    await merging.baselines.set(None, OLD_COUNTER | {Entry("/third"): 7})
    assert await views(merging) == {"/old": 0, "/new": 0, "/third": 551}
    with pytest.raises(BaselineRefused):
        await merging.baselines.set(None, {Entry("/old"): 539})
    await merging.undo(two)
    await merging.undo(one)
    assert await views(merging) == {"/old": 502, "/new": 41, "/third": 8}


class Between:
    """A recorder beside which somebody else does something, before its nth record."""

    def __init__(self, merging: Merging, nth: int, other: Any) -> None:
        self._merging, self._left, self._other = merging, nth, other
        self.refused = 0

    async def change(self, change: ChangeRecord) -> Changed | None:
        self._left -= 1
        if self._left == 0:
            await self._other()
        made = await self._merging.change(change)
        self.refused += made.word == "refused"
        return made


@pytest.mark.parametrize("nth", [1, 2])
async def test_a_merge_in_the_middle_of_a_list_is_noticed(
    merging: Merging, monkeypatch: pytest.MonkeyPatch, nth: int
) -> None:
    """Somebody merges after the aliases were read, or after half of the list: they are read again, and no baseline is
    left at an old address or lost."""
    monkeypatch.setattr(baselines, "PAGE", 1)
    between = Between(merging, nth, lambda: merging.merge("/old", "/new"))
    await baselines.Baselines(merging.changes, between, SITE.id).set(9, OLD_COUNTER)
    assert between.refused == 1
    assert (await merging.lists())["base"] == {"/new": 540}
    assert (await views(merging), await total(merging)) == ({"/old": 0, "/new": 543, "/third": 1}, 540)
    assert await merging.raw.hget(*keys.count_at(SITE.id, "visits", NUMBERS_BASELINE)) == b"9"


async def test_an_undo_in_the_middle_of_a_list_is_noticed(merging: Merging, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baselines, "PAGE", 1)
    merged = await merging.merge("/old", "/new")
    between = Between(merging, 1, lambda: merging.undo(merged))
    await baselines.Baselines(merging.changes, between, SITE.id).set(None, OLD_COUNTER)
    assert between.refused == 1
    assert (await merging.lists())["base"] == {"/old": 500, "/new": 40}


async def test_a_list_that_the_store_does_not_take_is_journalled_to_its_end(
    merging: Merging, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody is there to go on with it when the store is back; and whoever set it is told that it is not set yet."""
    monkeypatch.setattr(baselines, "PAGE", 1)

    class Away:
        async def change(self, change: ChangeRecord) -> Changed | None:
            merging.write(change)
            return None

    first = len(merging.records) + 1
    with pytest.raises(ChangePending, match="are written down, and are set when the store takes them"):
        await baselines.Baselines(merging.changes, Away(), SITE.id).set(9, OLD_COUNTER | {Entry("/x"): 3})
    assert (await merging.lists())["base"] == {}
    assert len(merging.records) == first + 2
    for sequence in range(first, first + 3):
        assert await merging.send(sequence) == Changed("ok")
    assert (await merging.lists())["base"] == {"/old": 500, "/new": 40, "/x": 3}
    before = await ledger(merging.raw)
    for sequence in range(first, first + 3):
        assert await merging.send(sequence) == Changed("")
    assert await ledger(merging.raw) == before


async def test_the_site_has_its_own_baseline(merging: Merging) -> None:
    """Of visits; that of its views is the sum of its articles'. Setting one leaves the other."""
    await merging.baselines.set(1000, {})
    await merging.baselines.set(None, OLD_COUNTER)
    assert await merging.raw.hget(*keys.count_at(SITE.id, "visits", NUMBERS_BASELINE)) == b"1000"
    assert await total(merging) == 540
    await merging.baselines.set(0, {Entry("/old"): 0})
    assert await merging.raw.hget(*keys.count_at(SITE.id, "visits", NUMBERS_BASELINE)) == b"0"
    assert await total(merging) == 40
