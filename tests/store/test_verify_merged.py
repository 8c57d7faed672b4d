"""`visitstats verify` looks at aliases and at the records of changes: what merges leave is right, what a hand breaks is
found."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from redis.asyncio import Redis

from tests.store.town import SITE, Town
from tests.store.writing import DAY, NOON
from visitstats.changes.desk import Wanted
from visitstats.changes.recording import Order
from visitstats.core.keys import article_id
from visitstats.store import keys
from visitstats.store.change_records import Change
from visitstats.store.changes import Changes
from visitstats.store.fitness import opened
from visitstats.trust.verify.merged import MOST_STEPS

A, B, C = (article_id(key) for key in ("/a", "/b", "/c"))
ALIASES, CHANGES, ARTICLES = keys.aliases(SITE.id), keys.changes(SITE.id), keys.articles(SITE.id)
UNDO = "0badbad0"


class Merged(Town):
    """A town in which /a was merged into /b, and /c and /gone are aliases, the last no more."""

    merge: str
    undo: str
    undoes: str

    async def edit(self, change: str, **fields: object) -> None:
        """Change a record."""
        decoded = await self.record(change)
        await self.raw.hset(CHANGES, change, msgspec.msgpack.encode(msgspec.structs.replace(decoded, **fields)))

    async def record(self, change: str) -> Change:
        value: Any = await self.raw.hget(CHANGES, change)
        return msgspec.msgpack.decode(value, type=Change)


@pytest_asyncio.fixture
async def town(tmp_path: Path, redis_url: str, raw: Redis) -> AsyncIterator[Merged]:
    async with opened(redis_url, lambda: NOON) as parts:
        found = Merged(tmp_path, raw, parts)
        await found.live()
        found.merge = (await found.merges.merge("/a", "/b", Order("an"))).id
        await found.merges.merge("/c", "/a", Order("an"), kind="alias")
        gone = await found.merges.merge("/gone", "/b", Order("an"), kind="alias")
        found.undo = (await found.desk.undo(gone.id, Order("an"))).id
        yield found
        await found.close()


async def test_merges_aliases_and_undos_are_right(town: Merged) -> None:
    report = await town.verify()
    assert report.problems == []
    assert report.keys == await town.raw.dbsize()


async def test_a_chain_is_right(town: Merged) -> None:
    """Hits on any of its addresses count for its end."""
    chained = await town.merges.merge("/b", "/old", Order("an"))
    await town.commit(town.journalled(SITE, DAY, (1, "An", "/a"), (1, "Bình", "/b"), (2, "An", "/old")))
    assert (await town.verify()).problems == []
    await town.desk.undo(chained.id, Order("an"))
    assert (await town.verify()).problems == []


async def test_aliases_that_were_put_back_after_a_loss_are_right(town: Merged, redis_url: str) -> None:
    """Their records are gone with everything else; where they lead is known."""
    known = await Changes(town.raw).aliases(SITE.id)
    await town.raw.delete(ALIASES, CHANGES, keys.order_of_changes(SITE.id), keys.changes_of_articles(SITE.id))
    await Changes(town.raw).keep_aliases(SITE.id, known)
    assert await Changes(town.raw).aliases(SITE.id) == known
    assert (await town.verify()).problems == []
    assert (await town.desk.log(Wanted())).changes == []
    await town.raw.hset(ALIASES, article_id("/other"), B + b"/b")
    assert not (await town.verify()).right


async def chain(town: Merged) -> None:
    names = [*(f"/{n}" for n in range(MOST_STEPS + 2)), "/b"]
    links = {article_id(one): article_id(two) + two.encode() for one, two in pairwise(names)}
    await town.raw.hset(ALIASES, mapping=links)  # type: ignore[arg-type]


async def loop(town: Merged) -> None:
    await town.raw.hset(ALIASES, B, A + b"/a")


BREAKS: dict[str, tuple[Callable[[Merged], Awaitable[object]], str, str]] = {
    "an alias was made by hand": (
        lambda town: town.raw.hset(ALIASES, article_id("/x"), B + b"/b"), "change", "no change is on record by which"),
    "an alias was bent": (
        lambda town: town.raw.hset(ALIASES, A, article_id("/old") + b"/old"), "change", "is an alias of /old"),
    "an alias was removed": (lambda town: town.raw.hdel(ALIASES, A), "change", "/a is an alias of /b; it is not"),
    "an alias leads to no article": (
        lambda town: town.raw.hdel(ARTICLES, B), "alias", "leads to /b, which is no article"),
    "two aliases stand for each other": (loop, "alias", f"{A.hex()} leads back to itself"),
    "a chain is too long": (chain, "alias", f"leads on for more than {MOST_STEPS} steps"),
    "a merged article has views": (lambda town: town.raw.hset(ARTICLES, A, 3), "alias", "has 3 views of its own"),
    "a merged article is on the list": (lambda town: town.raw.hset(ARTICLES, A, 0), "alias", "has 0 views of its own"),
    "a merged article has a baseline": (
        lambda town: town.raw.hset(keys.base(SITE.id), A, 3), "register", f"there is no article {A.hex()}"),
    "a record says of other views": (
        lambda town: town.edit(town.merge, views=(712, 9)), "change",
        "has moved 712 views of /a, whose days and baseline are 711"),
    "a merged article's day was changed": (
        lambda town: town.raw.hincrby(keys.articles_of_day(SITE.id, DAY.date), A, 4), "change",
        "has moved 711 views of /a, whose days and baseline are 715"),
    "what was merged is not counted for its end": (
        lambda town: town.raw.hincrby(ARTICLES, B, -711), "article", f"article {B.hex()} has 9 views"),
    "a record has gone": (
        lambda town: town.raw.hdel(CHANGES, town.undoes), "change", "has the mark undone and no record"),
    "a record is damaged": (lambda town: town.raw.hset(CHANGES, town.merge, b"\xc1"), "change", "cannot be read"),
    "a record is of another form": (
        lambda town: town.raw.hset(CHANGES, town.merge, b"\x91\x01"), "change", "cannot be read"),
    "a record has no such number": (
        lambda town: town.edit(town.merge, views=(711, -3)), "change", "has counts below zero"),
    "a record has another id": (lambda town: town.raw.hset(CHANGES, "x y", b"\x91"), "change", "change x y cannot be"),
    "a merge undoes something": (
        lambda town: town.edit(town.merge, undoes=UNDO), "change", "undoes what it makes"),
    "what is undone is not marked": (
        lambda town: town.raw.hdel(CHANGES, f"{town.undoes}:undone"), "change", "which is not marked as undone"),
    "something is marked as undone": (
        lambda town: town.raw.hset(CHANGES, town.merge + ":undone", UNDO), "change", f"by {UNDO}, which is no undo"),
    "an undone alias is in force": (
        lambda town: town.raw.hset(ALIASES, article_id("/gone"), B + b"/b"), "change", "no change is on record"),
    "a mark is none": (
        lambda town: town.raw.hset(CHANGES, town.merge + ":seen", "1"), "change", "visitstats writes no mark"),
}  # fmt: skip


@pytest.mark.parametrize("broken", BREAKS)
async def test_what_was_broken_is_found(town: Merged, broken: str) -> None:
    spoil, check, text = BREAKS[broken]
    town.undoes = (await town.record(town.undo)).undoes
    await spoil(town)
    report = await town.verify()
    told = [(problem.check, problem.detail) for problem in report.problems]
    assert any(check == found and text in detail for found, detail in told), told


async def test_a_merge_between_two_looks_is_work_and_nothing_wrong(
    town: Merged, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is seen half is whole at the second look."""
    record = await town.raw.hget(CHANGES, town.merge)
    await town.raw.hdel(CHANGES, town.merge)
    looks = 0
    fields = town.parts.inspector.fields

    def and_a_merge_that_ends(name: str) -> Any:
        nonlocal looks
        looks += name == CHANGES
        return fields(name) if name != CHANGES or looks < 2 else ended()

    async def ended() -> AsyncIterator[dict[bytes, bytes]]:
        await town.raw.hset(CHANGES, town.merge, record)
        async for page in fields(CHANGES):
            yield page

    monkeypatch.setattr(town.parts.inspector, "fields", and_a_merge_that_ends)
    assert (await town.verify()).problems == []
    assert looks == 2
