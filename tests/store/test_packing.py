"""A month is packed once and exactly, or not at all: killed anywhere, by several hosts at once, beside hits, while the
store comes back older, and where a transaction is cut."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from datetime import date
from typing import Any, ClassVar

import pytest
import pytest_asyncio
from msgspec.structs import replace
from redis.asyncio import Redis

from tests.store.archive import ARTICLES, DAYS, IDS, MONTHS, NOW, Archive
from tests.store.merging import CALENDAR, SITE
from visitstats.core.errors import StoreUnavailable
from visitstats.core.tiles import decode_packed, whole_month
from visitstats.store import keys
from visitstats.store import line as line_module
from visitstats.store.client import open_pool
from visitstats.store.packing import PACK_AFTER_MS, Packer
from visitstats.store.tiles import Tiles, TileWriter, tile_line

SEPTEMBER = "2036-09"
SOME_COMMANDS = [*range(9), 20, *range(36, 100)]
"""Of the packing of a month: those between are the reading of one day after the other."""


@pytest_asyncio.fixture
async def archive(redis_url: str, raw: Redis) -> AsyncIterator[Archive]:
    found = Archive(redis_url, raw)
    yield found
    await found.merging.close()


class Stop(Exception):
    """The process is killed here."""


async def nothing() -> None:
    pass


class Watched(Redis):
    """The client of a packer. Before its command number `at` something happens."""

    at: ClassVar[int] = -1
    done: ClassVar[int] = 0
    happens: ClassVar[Callable[[], Awaitable[None]]] = nothing

    @classmethod
    async def next(cls) -> None:
        cls.done += 1
        if cls.done == cls.at + 1:
            await cls.happens()

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        await self.next()
        return await super().execute_command(*args, **options)  # type: ignore[no-untyped-call]

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> Any:
        pipe = super().pipeline(transaction, shard_hint)
        send = pipe.execute

        async def execute(*args: Any, **options: Any) -> Any:
            await self.next()
            return await send(*args, **options)

        pipe.execute = execute  # type: ignore[method-assign]
        return pipe


async def pack_watched(
    archive: Archive, monkeypatch: pytest.MonkeyPatch, at: int, happens: Callable[[], Awaitable[None]]
) -> bool:
    """Pack, and have something happen before a command, scripts among them. Whether there was that command."""
    run = line_module.ScriptLine.run

    async def watched_run(self: line_module.ScriptLine, calls: list[line_module.Call]) -> list[Any]:
        await Watched.next()
        return await run(self, calls)

    Watched.at, Watched.done, Watched.happens = at, 0, happens
    client = Watched.from_pool(open_pool(archive.url))
    with monkeypatch.context() as patched:
        patched.setattr("visitstats.store.line.ScriptLine.run", watched_run)
        with suppress(Stop, StoreUnavailable):
            await archive.pack(client)
    Watched.happens = nothing
    await client.aclose()
    return Watched.done > at


# When -----------------------------------------------------------------------------------------------------------------


async def test_a_month_is_packed_a_week_after_its_end_in_the_sites_zone(archive: Archive) -> None:
    """No week of which it has days is still going on."""
    await archive.hits(date(2036, 9, 30), "/1")
    end = CALENDAR.day_named("2036-10-01").start_ms
    for now, due in ((end + PACK_AFTER_MS - 1, []), (end + PACK_AFTER_MS, [SEPTEMBER])):
        packer = Packer(archive.url, archive.raw, lambda now=now: now)  # type: ignore[misc]
        assert await packer.due(SITE.id, CALENDAR) == due
        [word] = {(await packer.pack_month(SITE.id, CALENDAR, SEPTEMBER)).word}
        assert word == ("packed" if due else "early")
    assert (await packer.pack_month(SITE.id, CALENDAR, SEPTEMBER)).word == "already"
    assert (await packer.pack_month(SITE.id, CALENDAR, "2036-08")).word == "empty"
    assert await packer.due(SITE.id, CALENDAR) == []


async def test_all_due_months_are_packed_the_oldest_first_with_their_progress(archive: Archive) -> None:
    await archive.some_readers(random.Random(1))
    told: list[tuple[int, int]] = []
    outcomes = await Packer(archive.url, archive.raw, lambda: NOW).pack_due(
        SITE.id, CALENDAR, lambda done, many: told.append((done, many))
    )
    assert [(each.month, each.word) for each in outcomes] == [(month, "packed") for month in MONTHS]
    assert told == sorted(told)
    assert told[-1] == (3000, 3000)
    await archive.check_ranges(random.Random(1))
    days = [day.isoformat() for day in DAYS if day.isoformat()[:7] in MONTHS]
    assert not await archive.raw.exists(*(keys.articles_of_day(SITE.id, day) for day in days))
    assert await archive.staged() == []


async def test_the_record_says_what_was_packed(archive: Archive) -> None:
    await archive.hits(date(2036, 9, 3), "/1", "/1", "/2")
    await archive.hits(date(2036, 9, 30), "/2")
    await archive.pack()
    record = decode_packed(await archive.stored(keys.packed(SITE.id), SEPTEMBER))
    assert (record.made_ms, record.tiles, record.articles, record.cells, record.views) == (NOW, 1, 2, 3, 4)
    assert record.days == (0, 0, 3, *[0] * 26, 1)


# What must not be packed ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("article", "count", "detail"),
    [
        (IDS["/1"], b"2", "together have 3 views, the site has 2"),
        (IDS["/1"], b"many", "a count that is none"),
        (IDS["/1"], b"-1", "a count that is none"),
        (IDS["/3"], b"0", "no article, or none of one"),
        (b"short", b"1", "no article, or none of one"),
    ],
)
async def test_a_day_that_contradicts_itself_stays_as_it_is(
    archive: Archive, article: bytes, count: bytes, detail: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It is told, and the other months are packed."""
    await archive.hits(date(2036, 9, 3), "/1", "/2")
    await archive.hits(date(2036, 10, 3), "/1")
    name = keys.articles_of_day(SITE.id, "2036-09-03")
    await archive.raw.hset(name, article, count)
    before: object = await archive.raw.hgetall(name)
    outcomes = await archive.pack()
    assert [(each.month, each.word) for each in outcomes] == [(SEPTEMBER, "unequal"), ("2036-10", "packed")]
    assert detail in outcomes[0].detail
    assert detail in caplog.text
    assert await archive.raw.hgetall(name) == before
    assert await archive.is_packed() == ["2036-10"]


async def test_a_hit_that_comes_while_a_month_is_packed_is_neither_lost_nor_doubled(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before each command of the packing: of an article that is read, and of a new one, on a day that was read already
    and on one that was not."""
    for at in SOME_COMMANDS:
        await archive.raw.flushall()
        await archive.merging.close()
        archive = Archive(archive.url, archive.raw)
        await archive.hits(date(2036, 9, 3), "/1", "/2")

        async def hit(archive: Archive = archive, at: int = at) -> None:
            await archive.hits(date(2036, 9, 2 + at % 3), *([["/1"], ["/3"]][at // 3 % 2]))

        there_was = await pack_watched(archive, monkeypatch, at, hit)
        await archive.check(DAYS[0], DAYS[-1])
        await archive.pack()
        assert await archive.is_packed() == [SEPTEMBER]
        await archive.check(DAYS[0], DAYS[-1])
        if not there_was:
            break
    assert not there_was
    assert at > 40, "a month has 30 days to read"
    await archive.merging.close()


# Killed, twice, older -------------------------------------------------------------------------------------------------


async def test_a_packing_that_is_killed_anywhere_changes_nothing_that_is_read(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the next one completes it. What was left behind is forgotten by itself."""
    await archive.some_readers(random.Random(2), 12)
    copy = await archive.copy()
    for at in range(0, 300, 9):
        await archive.lose(copy)

        async def kill() -> None:
            raise Stop

        there_was = await pack_watched(archive, monkeypatch, at, kill)
        await archive.check(DAYS[0], DAYS[-1])
        for name in await archive.staged():
            assert 0 < await archive.raw.pttl(name) <= keys.PACKING_LIFE_MS
        await archive.pack()
        assert await archive.is_packed() == list(MONTHS)
        await archive.check(DAYS[0], DAYS[-1])
        if not there_was:
            break
    assert not there_was


async def test_several_hosts_that_pack_at_once_pack_once(archive: Archive) -> None:
    await archive.some_readers(random.Random(3))
    outcomes = [each for many in await asyncio.gather(*(archive.pack() for _ in range(4))) for each in many]
    packed = [each.month for each in outcomes if each.word == "packed"]
    assert sorted(packed) == list(MONTHS)
    assert {each.word for each in outcomes} <= {"packed", "already", "moved"}
    assert await archive.staged() == []
    await archive.check_ranges(random.Random(3))


async def test_a_store_that_comes_back_older_in_the_middle_is_packed_as_it_is_then(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before each command of the packing the store loses its last hits, and gets them back in another order: articles
    that became known by them may have other numbers now, and the sums of each day are the same."""
    day = date(2036, 9, 3)
    await archive.hits(day, *ARTICLES[:4])
    await archive.hits(date(2036, 9, 20), *ARTICLES[:2])
    older, many = await archive.copy(), len(archive.merging.records)
    lost = [["/10", "/1"], ["/11", "/2", "/2"]]
    for each in lost:
        await archive.hits(day, *each)
    newer, records = await archive.copy(), list(archive.merging.records)

    async def comes_back_older() -> None:
        await archive.lose(older)
        del archive.merging.records[many:]
        for each in reversed(lost):
            await archive.merging.commit(archive.merging.gathered(CALENDAR.day_named(day.isoformat()), *each))

    for at in SOME_COMMANDS:
        await archive.lose(newer)
        archive.merging.records[:] = records
        await archive.merging.committer.close()
        there_was = await pack_watched(archive, monkeypatch, at, comes_back_older)
        await archive.check(DAYS[0], DAYS[-1])
        await archive.merging.committer.close()
        await archive.pack()
        assert await archive.is_packed() == [SEPTEMBER], at
        await archive.check(DAYS[0], DAYS[-1])
        if not there_was:
            break
    assert not there_was
    assert at > 40


async def test_tiles_that_are_not_all_there_are_not_sealed(archive: Archive) -> None:
    """Nor such as would be forgotten before what seals them."""
    await archive.hits(date(2036, 9, 3), "/1")
    name = keys.packing(SITE.id, SEPTEMBER, "0" * 16)
    line = tile_line(archive.url)
    writer = TileWriter(archive.raw, line, SITE.id)
    await archive.pack()
    record = decode_packed(await archive.stored(keys.packed(SITE.id), SEPTEMBER))
    tile = await archive.stored(keys.tiles(SITE.id, SEPTEMBER), "0")
    span = whole_month(SEPTEMBER)

    staged = replace(record, nonce="0" * 16)
    assert await writer.seal(span, staged, [0] * 30, [*staged.days], [0] * 30) == "packed"
    await archive.raw.delete(keys.packed(SITE.id), keys.tiles(SITE.id, SEPTEMBER))
    await archive.raw.hset(keys.articles_of_day(SITE.id, "2036-09-03"), IDS["/1"], b"1")
    articles = [0, 0, 1, *[0] * 27]
    assert await writer.seal(span, staged, articles, [*staged.days], [0] * 30) == "lost"
    await writer.stage(SEPTEMBER, "0" * 16, {0: tile})
    await archive.raw.expire(name, 24 * 3600)
    assert await writer.seal(span, staged, articles, [*staged.days], [0] * 30) == "lost"
    await writer.stage(SEPTEMBER, "0" * 16, {0: tile})
    assert await writer.seal(span, replace(staged, tiles=2), articles, [*staged.days], [0] * 30) == "lost"
    assert await writer.seal(span, staged, [0] * 30, [*staged.days], [0] * 30) == "moved"
    assert await writer.seal(span, staged, articles, [1, *staged.days[1:]], [0] * 30) == "moved"
    assert await writer.seal(span, staged, articles, [*staged.days], [1, *[0] * 29]) == "moved"
    assert not await archive.raw.exists(keys.packed(SITE.id), keys.redo(SITE.id))
    assert await writer.seal(span, staged, articles, [*staged.days], [0] * 30) == "ok"
    await archive.check(DAYS[0], DAYS[-1])
    await line.close()


async def test_numbers_are_given_once(archive: Archive) -> None:
    """Behind those that there are, by one of several who give them at the same time; what comes twice keeps its first
    number."""
    line = tile_line(archive.url)
    writer = TileWriter(archive.raw, line, SITE.id)
    one, two, three = IDS["/1"], IDS["/2"], IDS["/3"]
    assert await writer.number(0, [one, two])
    assert not await writer.number(0, [three])
    assert not await writer.number(1, [three])
    assert not await writer.number(3, [three])
    assert await writer.number(2, [one, three])
    tiles = Tiles(archive.raw)
    assert await tiles.numbers(SITE.id, [three, one, two, IDS["/4"]]) == {one: 0, two: 1, three: 3}
    assert [page async for page in tiles.ids(SITE.id, 1)] == [[two, one, three]]
    await line.close()


# Where a transaction is cut -------------------------------------------------------------------------------------------

CUT = b"""#!lua
local writes, left, real = {COPY = 1, PERSIST = 1, HSET = 1, UNLINK = 1, DEL = 1}, %d, redis
local redis = {call = function(command, ...)
  if writes[command] then
    left = left - 1
    if left < 0 then error('cut off') end
  end
  return real.call(command, ...)
end}
"""


@pytest.mark.parametrize("finisher", ["hit", "packing", "late hit"])
async def test_a_seal_that_is_cut_off_anywhere_is_finished_by_whoever_comes_next(
    archive: Archive, monkeypatch: pytest.MonkeyPatch, finisher: str
) -> None:
    """Some servers execute the beginning of a cut transaction. What is read is right before, and right after."""
    await archive.hits(date(2036, 9, 3), "/1", "/2", "/2")
    await archive.hits(date(2036, 9, 4), "/1")
    copy, read = await archive.copy(), dict(archive.read)
    records = list(archive.merging.records)
    for after in [*range(6), 20, *range(33, 60)]:
        await archive.lose(copy)
        await archive.merging.committer.close()
        archive.merging.records[:] = records
        archive.read.clear()
        archive.read.update(read)
        cut, outcome = cutting(after), ""
        with monkeypatch.context() as patched:
            patched.setattr("visitstats.store.packing.tile_line", cut)
            with suppress(StoreUnavailable):
                outcome = (await archive.pack())[0].word
        await archive.check(DAYS[0], DAYS[-1])
        if finisher == "packing":
            await archive.pack()
        else:
            await archive.hits(date(2036, 9, 3) if finisher == "late hit" else date(2036, 11, 19), "/1")
        assert not await archive.raw.exists(keys.redo(SITE.id)), after
        assert await archive.is_packed() == [SEPTEMBER]
        assert await archive.raw.pttl(keys.tiles(SITE.id, SEPTEMBER)) == -1
        await archive.check(DAYS[0], DAYS[-1])
        if outcome:
            break
    assert outcome == "packed"
    assert after == 3 + 1 + 30 + 1, "copy, keep, record; the staged tiles, the days; the end of what was put down"


def cutting(after: int) -> Callable[[str], line_module.ScriptLine]:
    """Make a line on which the seal is cut off before one of its writes."""

    def made(url: str) -> line_module.ScriptLine:
        line = tile_line(url)
        line._scripts["seal"] = line._scripts["seal"].replace(b"#!lua\n", CUT % after, 1)
        return line

    return made
