"""Baselines of articles that were merged: they go to the article that an old address stands for, nothing of them is
lost when the same list is set again, and no merge becomes impossible to undo."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from tests.store.merging import BEFORE, Merging
from tests.store.writing import SITE
from visitstats.core.counting import NUMBERS_BASELINE
from visitstats.core.entries import Entry
from visitstats.core.errors import BaselineRefused
from visitstats.store import keys
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
    return int(await merging.raw.hget(keys.views(SITE.id), NUMBERS_BASELINE) or 0)


async def test_the_baseline_of_an_old_address_is_the_articles(merging: Merging) -> None:
    """With its own together, under its own title; the old row stays empty."""
    await merging.merge("/old", "/new")
    for _ in range(2):
        await merging.records.set_baseline(SITE.id, 0, OLD_COUNTER)
        assert await views(merging) == {"/old": 0, "/new": 543, "/third": 1}
        assert (await merging.lists())["base"] == {"/new": 540}
        assert await total(merging) == 540
    rows = await Reads(merging.raw).top(SITE.id, BEFORE, "all", 2)
    assert [(row.entry.key, row.entry.title) for row in rows] == [("/new", "New title"), ("/third", "Title of /third")]


async def test_the_title_of_an_old_address_is_not_the_articles(merging: Merging) -> None:
    await merging.merge("/old", "/third")
    await merging.records.set_baseline(SITE.id, 0, {Entry("/old", "Old title"): 500})
    [first, *_] = await Reads(merging.raw).top(SITE.id, BEFORE, "all", 2)
    assert (first.entry.key, first.entry.title, first.views) == ("/third", "Title of /third", 503)


async def test_a_list_that_is_set_again_after_a_merge_changes_nothing_and_the_undo_is_exact(merging: Merging) -> None:
    await merging.records.set_baseline(SITE.id, 0, OLD_COUNTER)
    before = await merging.everything()
    merged = await merging.merge("/old", "/new")
    merged_lists = await merging.lists()
    await merging.records.set_baseline(SITE.id, 0, OLD_COUNTER)
    assert await merging.lists() == merged_lists
    await merging.undo(merged)
    assert await merging.everything() == before


async def test_what_is_corrected_after_a_merge_stays_with_the_article_at_an_undo(merging: Merging) -> None:
    """As everything that was counted since; the old address gets back what it had."""
    await merging.records.set_baseline(SITE.id, 0, OLD_COUNTER)
    merged = await merging.merge("/old", "/new")
    await merging.records.set_baseline(SITE.id, 0, {Entry("/new"): 550})
    await merging.undo(merged)
    assert await views(merging) == {"/old": 502, "/new": 51, "/third": 1}
    assert await total(merging) == 550


async def test_a_baseline_that_would_make_an_undo_impossible_is_refused(merging: Merging) -> None:
    """By the article's name or an old address; nothing is set, also nothing else of that list."""
    await merging.records.set_baseline(SITE.id, 9, OLD_COUNTER)
    merged = await merging.merge("/old", "/new")
    before, visits = await merging.everything(), await merging.raw.hgetall(keys.visits(SITE.id))
    for wanted in ({Entry("/new"): 499}, {Entry("/old"): 3}, {Entry("/third"): 5, Entry("/old"): 0}):
        with pytest.raises(BaselineRefused, match=r"/new cannot have a baseline of \d+: .* gives back 500; "):
            await merging.records.set_baseline(SITE.id, 10, wanted)
    assert await merging.everything() == before
    assert await merging.raw.hgetall(keys.visits(SITE.id)) == visits
    await merging.records.set_baseline(SITE.id, 10, {Entry("/new"): 500})
    await merging.undo(merged)
    assert (await merging.lists())["base"] == {"/old": 500}
    await merging.records.set_baseline(SITE.id, 10, {Entry("/new"): 3, Entry("/old"): 4})


async def test_chains_of_aliases_lead_to_the_last_article(merging: Merging) -> None:
    await merging.records.set_baseline(SITE.id, 0, OLD_COUNTER)
    one = await merging.merge("/old", "/new")
    two = await merging.merge("/new", "/third")
    await merging.records.set_baseline(SITE.id, 0, OLD_COUNTER | {Entry("/third"): 7})
    assert await views(merging) == {"/old": 0, "/new": 0, "/third": 551}
    with pytest.raises(BaselineRefused):
        await merging.records.set_baseline(SITE.id, 0, {Entry("/old"): 539})
    await merging.undo(two)
    await merging.undo(one)
    assert await views(merging) == {"/old": 502, "/new": 41, "/third": 8}


async def test_a_merge_in_the_middle_of_a_list_is_noticed(merging: Merging, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody merges after the aliases were read: they are read again, and no baseline is left at an old address."""
    records, merges = merging.records, 0
    resolved = records._resolved

    async def and_then_a_merge(site: str, wanted: dict[str, tuple[Entry, int]]) -> list[tuple[bytes, int, bytes]]:
        nonlocal merges
        found = await resolved(site, wanted)
        merges += 1
        if merges == 1:
            await merging.merge("/old", "/new")
        return found

    monkeypatch.setattr(records, "_resolved", and_then_a_merge)
    await records.set_baseline(SITE.id, 0, OLD_COUNTER)
    assert merges == 2
    assert (await merging.lists())["base"] == {"/new": 540}
    assert await total(merging) == 540
