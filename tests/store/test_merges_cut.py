"""A merge, an undo or a baseline that was cut off in the middle is finished by whoever comes next; nothing is lost or
doubled."""

from __future__ import annotations

from collections.abc import Awaitable

import pytest

from tests.store.merging import BEFORE, SITE, Merging, ledger
from visitstats.core.entries import Entry
from visitstats.store import keys
from visitstats.store.change_records import Change, undoing
from visitstats.store.change_records import merging as merging_record
from visitstats.store.commit import Changed

CUT = b"""#!lua
local writes, left, real = {HSET = 1, HDEL = 1, DEL = 1}, %d, redis
local redis = {call = function(command, ...)
  if writes[command] then
    left = left - 1
    if left < 0 then error('cut off') end
  end
  return real.call(command, ...)
end}
"""


class CutOff:
    """Makes the script of changes stop before its nth write, as a log that is cut there does when it is read. What was
    written before stays."""

    def __init__(self, merging: Merging, after: int) -> None:
        self._line = merging.committer._line
        self._whole = self._line._scripts["change"]
        self._cut = self._whole.replace(b"#!lua\n", CUT % after, 1)

    async def __aenter__(self) -> None:
        await self._load(self._cut)

    async def __aexit__(self, *error: object) -> None:
        await self._load(self._whole)

    async def _load(self, script: bytes) -> None:
        self._line._scripts["change"] = script
        await self._line.close()
        await self._line.ready()


async def is_whole(step: Awaitable[object]) -> bool:
    """Whether a step came to its end, and was not cut off."""
    try:
        await step
    except AssertionError as error:  # of the recorder: the answer was an error of the script
        if "cut off" not in str(error):
            raise
        return False
    return True


async def begin(merging: Merging) -> None:
    await merging.raw.flushall()
    merging.records.clear()
    await merging.read("/old", "/old", "/new", day=BEFORE)
    await merging.read(*["/old"] * 5, "/new", "/third")
    await merging.baselines.set(None, {Entry("/old"): 500, Entry("/third"): 7})


@pytest.mark.parametrize("hits", [("/third",), ("/new",), ("/old",), ("/old", "/new", "/third")], ids=str)
async def test_a_merge_that_was_cut_off_anywhere_is_finished_by_the_next_hit(
    merging: Merging, hits: tuple[str, ...]
) -> None:
    """Of whatever article, and before that hit is counted. The merge itself is taken once, when it comes again."""
    for after in range(20):
        await begin(merging)
        async with CutOff(merging, after):
            done = await is_whole(merging.merge("/old", "/new"))
        if done:
            break
        assert await merging.raw.exists(keys.redo(SITE.id))
        await merging.read(*hits)
        assert not await merging.raw.exists(keys.redo(SITE.id))
        extra = sum(hit != "/third" for hit in hits)
        found = await merging.lists()
        assert found["all"] == {"/new": 509 + extra, "/third": 8 + ("/third" in hits)}, after
        assert found["2036-10-31"] == {"/new": 3}, after
        assert found["2036-11-24"].get("/new") == 6 + extra, after
        assert found["base"] == {"/new": 500, "/third": 7}, after
        before = await ledger(merging.raw)
        assert await merging.send(len(merging.records) - 1) == Changed("")
        assert await ledger(merging.raw) == before
        [logged] = await merging.audit()
        await merging.undo(logged.id)
        assert sum((await merging.lists())["all"].values()) == 517 + len(hits)
    assert done
    assert after >= 8, (
        "all time and baselines of both, an alias, the record, the watermark, the end of what was put down"
    )


async def test_an_undo_that_was_cut_off_anywhere_is_finished_when_it_comes_again(merging: Merging) -> None:
    for after in range(30):
        await begin(merging)
        before = await merging.everything()
        merged = await merging.merge("/old", "/new")
        async with CutOff(merging, after):
            done = await is_whole(merging.undo(merged))
        assert await merging.send(len(merging.records)) == Changed("")
        assert await merging.everything() == before, after
        assert [bool(each.undone) for each in await merging.audit()] == [False, True]
        if done:
            break
    assert done
    assert after > 5


async def test_another_merge_finishes_it_too(merging: Merging) -> None:
    """And is then refused for what it finds, as if the first had come to its end at once."""
    await begin(merging)
    async with CutOff(merging, 3):
        assert not await is_whole(merging.merge("/old", "/new"))
    change = Change("merge", merging.now, "an", "", "/old", "/third", "")
    assert await merging.change(merging_record(SITE.id, "00000001", change)) == Changed("refused", "alias")
    assert (await merging.lists())["all"] == {"/new": 509, "/third": 8}


async def test_a_baseline_finishes_it_too(merging: Merging) -> None:
    await begin(merging)
    async with CutOff(merging, 3):
        assert not await is_whole(merging.merge("/old", "/new"))
    await merging.baselines.set(None, {Entry("/third"): 8})
    found = await merging.lists()
    assert found["all"] == {"/new": 509, "/third": 9}
    assert found["base"] == {"/new": 500, "/third": 8}


async def test_baselines_that_were_cut_off_anywhere_are_finished_by_the_next_hit(merging: Merging) -> None:
    for after in range(20):
        await begin(merging)
        async with CutOff(merging, after):
            done = await is_whole(merging.baselines.set(9, {Entry("/old"): 100, Entry("/fresh", "Fresh"): 5}))
        await merging.read("/third")
        found = await merging.lists()
        assert found["all"] == {"/old": 107, "/new": 2, "/third": 9, "/fresh": 5}, after
        assert found["base"] == {"/old": 100, "/third": 7, "/fresh": 5}, after
        assert await merging.raw.hget(*keys.count_at(SITE.id, "views", "base")) == b"112"
        assert await merging.raw.hget(*keys.count_at(SITE.id, "visits", "base")) == b"9"
        if done:
            break
    assert done
    assert after > 5


async def test_what_is_refused_is_cut_off_as_well(merging: Merging) -> None:
    """A refusal is a record like any other: it is in the ledger, or it comes again."""
    for after in range(5):
        await begin(merging)
        before = await merging.everything()
        async with CutOff(merging, after):
            done = await is_refused(merging)
        assert await merging.send(len(merging.records)) == Changed("")
        assert await merging.everything() == before
        if done:
            break
    assert done


async def is_refused(merging: Merging) -> bool:
    """Order what the script refuses; whether its refusal was written down whole."""
    change = Change("undo", merging.now, "an", "", "/old", "/new", "00000009")
    assert await merging.change(undoing(SITE.id, "00000001", change)) == Changed("refused", "unknown")
    return not await merging.raw.exists(keys.redo(SITE.id))
