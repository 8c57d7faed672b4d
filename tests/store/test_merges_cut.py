"""A merge or an undo that was cut off in the middle is finished by whoever comes next; nothing is lost or doubled."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from tests.store.merging import BEFORE, Merging, some_reading
from tests.store.writing import SITE
from visitstats.core.entries import Entry
from visitstats.core.errors import StoreUnavailable
from visitstats.merges import MergeRefused
from visitstats.store import keys


@pytest_asyncio.fixture
async def merging(redis_url: str, raw: Redis) -> AsyncIterator[Merging]:
    found = Merging(redis_url, raw)
    yield found
    await found.close()


CUT = """#!lua
local writes, left, real = {HSET = 1, ZADD = 1, HDEL = 1, ZREM = 1, DEL = 1}, %d, redis
local redis = {call = function(command, ...)
  if writes[command] then
    left = left - 1
    if left < 0 then error('cut off') end
  end
  return real.call(command, ...)
end}
"""


class CutOff:
    """Makes a script stop before its nth write, as a log that is cut there does when it is read."""

    def __init__(self, merging: Merging, script: str, after: int) -> None:
        self.scripts, self.script, self.whole = merging.changes._scripts, script, merging.changes._scripts[script]
        self.cut = self.whole.replace("#!lua\n", CUT % after, 1)

    async def __aenter__(self) -> None:
        self.scripts[self.script] = self.cut

    async def __aexit__(self, *error: object) -> None:
        self.scripts[self.script] = self.whole


async def is_whole(step: Awaitable[object]) -> bool:
    """Whether a step came to its end, and was not cut off."""
    try:
        await step
    except StoreUnavailable as error:
        if "cut off" not in str(error):
            raise
        return False
    return True


async def begin(merging: Merging) -> None:
    await merging.raw.flushall()
    merging.sequence = 0
    await merging.read("/old", "/old", "/new", day=BEFORE)
    await merging.read(*["/old"] * 5, "/new", "/third")
    await merging.records.set_baseline(SITE.id, 0, {Entry("/old"): 500, Entry("/third"): 7})


@pytest.mark.parametrize("hits", [("/third",), ("/new",), ("/old",), ("/old", "/new", "/third")], ids=str)
async def test_a_merge_that_was_cut_off_anywhere_is_finished_by_the_next_hit(
    merging: Merging, hits: tuple[str, ...]
) -> None:
    """Of whatever article, and before that hit is counted."""
    for after in range(20):
        await begin(merging)
        async with CutOff(merging, "merge", after):
            done = await is_whole(merging.merge("/old", "/new"))
        if done:
            break
        assert await merging.raw.exists(keys.articles_redo(SITE.id))
        await merging.read(*hits)
        assert not await merging.raw.exists(keys.articles_redo(SITE.id))
        extra = sum(hit != "/third" for hit in hits)
        found = await merging.lists()
        assert found["all"] == {"/new": 509 + extra, "/third": 8 + ("/third" in hits)}, after
        assert found["2036-10-31"] == {"/new": 3}, after
        assert found["2036-11-24"].get("/new") == 6 + extra, after
        assert found["base"] == {"/new": 500, "/third": 7}, after
        [logged] = await merging.merges.audit(9)
        await merging.undo(logged.id)
        assert sum((await merging.lists())["all"].values()) == 517 + len(hits)
    assert done
    assert after == 11, "seven lists, baselines, an alias, the record, and the end of what was put down"


async def test_an_undo_that_was_cut_off_anywhere_is_finished_by_the_next_hit(merging: Merging) -> None:
    for after in range(30):
        await merging.raw.flushall()
        merging.sequence = 0
        await some_reading(merging)
        await merging.read("/third")
        before = await merging.everything()
        merged = await merging.merge("/old", "/new")
        merging.sequence -= 1
        async with CutOff(merging, "undo", after):
            done = await is_whole(merging.undo(merged))
        await merging.read("/third")  # the same batch again: it is known, and changes nothing itself
        assert await merging.everything() == before, after
        assert [bool(each.undone) for each in await merging.merges.audit(9)] == [False, True]
        if done:
            break
    assert done
    assert after > 9


async def test_another_merge_finishes_it_too(merging: Merging) -> None:
    """And is then refused for what it finds, as if the first had come to its end at once."""
    await begin(merging)
    async with CutOff(merging, "merge", 3):
        assert not await is_whole(merging.merge("/old", "/new"))
    with pytest.raises(MergeRefused, match="somebody else has just merged"):
        await merging.merge("/old", "/third")
    assert (await merging.lists())["all"] == {"/new": 509, "/third": 8}


async def test_a_baseline_finishes_it_too(merging: Merging) -> None:
    await begin(merging)
    async with CutOff(merging, "merge", 3):
        assert not await is_whole(merging.merge("/old", "/new"))
    await merging.records.set_baseline(SITE.id, 0, {Entry("/third"): 8})
    found = await merging.lists()
    assert found["all"] == {"/new": 509, "/third": 9}
    assert found["base"] == {"/new": 500, "/third": 8}
