"""A merge or an undo that was cut off in the middle: the same one, made again, finishes it. Nothing is lost or counted
twice."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable
from typing import Any

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from tests.store.merging import BEFORE, Merging, some_reading
from tests.store.writing import SITE
from visitstats.core.entries import Entry
from visitstats.core.errors import StoreUnavailable
from visitstats.core.keys import article_id
from visitstats.merges import MergeRefused
from visitstats.store import keys


@pytest_asyncio.fixture
async def merging(redis_url: str, raw: Redis) -> AsyncIterator[Merging]:
    found = Merging(redis_url, raw)
    yield found
    await found.close()


CUT = """#!lua
local writes, left, real = {HSET = 1, ZADD = 1, HDEL = 1, ZREM = 1}, %d, redis
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


@pytest.mark.parametrize("hits", [(), ("/new",), ("/old",), ("/old", "/new", "/third")], ids=str)
async def test_a_merge_that_was_cut_off_anywhere_is_finished_by_the_same_merge(
    merging: Merging, hits: tuple[str, ...]
) -> None:
    """Also when hits came in between: some servers run the first part of a cut transaction at a later start."""
    for after in range(20):
        await merging.raw.flushall()
        merging.sequence = 0
        await merging.read("/old", "/old", "/new", day=BEFORE)
        await merging.read(*["/old"] * 5, "/new", "/third")
        await merging.records.set_baseline(SITE.id, 0, {Entry("/old"): 500, Entry("/third"): 7})
        async with CutOff(merging, "merge", after):
            done = await is_whole(merging.merge("/old", "/new"))
        if done:
            break
        assert not [each for each in await merging.merges.audit(9) if each.done]
        await merging.read(*hits)
        made = await merging.merge("/old", "/new")
        extra = sum(hit != "/third" for hit in hits)
        found = await merging.lists()
        assert found["all"] == {"/new": 509 + extra, "/third": 8 + ("/third" in hits)}, after
        assert found["2036-10-31"] == {"/new": 3}, after
        assert found["2036-11-24"]["/new"] == 6 + extra, after
        assert found["base"] == {"/new": 500, "/third": 7}, after
        assert [each.done for each in await merging.merges.audit(9)] == [True]
        await merging.undo(made)
        assert sum((await merging.lists())["all"].values()) == 517 + len(hits)
    assert done
    assert after == 11, "a record, seven lists, baselines, an alias, a mark"


@pytest.mark.parametrize("hits", [("/new",), ("/old",), ("/old", "/new", "/new")], ids=str)
async def test_it_is_finished_also_where_hits_that_knew_nothing_of_it_came_on_top(
    merging: Merging, hits: tuple[str, ...]
) -> None:
    """What those servers do: first the cut part, then the later commands, which were computed without it."""
    for after in range(1, 10):
        await merging.raw.flushall()
        merging.sequence = 0
        await merging.read("/old", "/old", "/new", day=BEFORE)
        await merging.read(*["/old"] * 5, "/new")
        await merging.read(*hits)
        later = await merging.lists()
        await merging.raw.flushall()
        merging.sequence = 0
        await merging.read("/old", "/old", "/new", day=BEFORE)
        await merging.read(*["/old"] * 5, "/new")
        async with CutOff(merging, "merge", after):
            assert not await is_whole(merging.merge("/old", "/new"))
        for name in ("all", "2036-11", "w2036-11-24", "2036-11-24"):
            scores: Any = {article_id(article): later[name][article] for article in set(hits)}
            await merging.raw.zadd(keys.top(SITE.id, name), scores)
        await merging.merge("/old", "/new")
        found = await merging.lists()
        assert found["all"] == {"/new": 9 + len(hits)}, after
        assert found["2036-11-24"] == {"/new": 6 + len(hits)}, after
        assert found["2036-10"] == {"/new": 3}, after


async def test_an_undo_that_was_cut_off_anywhere_is_finished_by_the_same_undo(merging: Merging) -> None:
    for after in range(30):
        await merging.raw.flushall()
        merging.sequence = 0
        await some_reading(merging)
        before = await merging.everything()
        merged = await merging.merge("/old", "/new")
        async with CutOff(merging, "undo", after):
            done = await is_whole(merging.undo(merged))
        if done:
            break
        await merging.undo(merged)
        assert await merging.everything() == before, after
        assert [each.done for each in await merging.merges.audit(9)] == [True, True]
    assert done
    assert after > 9


async def test_what_is_written_first_is_the_record(merging: Merging) -> None:
    await some_reading(merging)
    before = await merging.everything()
    async with CutOff(merging, "merge", 1):
        with pytest.raises(StoreUnavailable, match="cut off"):
            await merging.merge("/old", "/new")
    [logged] = await merging.merges.audit(9)
    assert (logged.done, logged.change.moved) == (False, 503)
    assert await merging.everything() == before
    with pytest.raises(MergeRefused, match="was cut off; make the same merge again"):
        await merging.undo(logged.id)


@pytest.mark.parametrize("script", ["merge", "undo"])
def test_the_scripts_write_absolute_values_only(merging: Merging, script: str) -> None:
    text = merging.changes._scripts[script]
    assert text.startswith("#!lua\n")
    commands = set(re.findall(r"redis\.p?call\('([A-Z]+)'", text))
    assert commands <= {"HMGET", "HLEN", "ZMSCORE", "HSET", "ZADD", "HDEL", "ZREM"}
