"""A replay of which the store refuses a script now and then (out of memory, MISCONF, too few replicas): nothing is left
out by that, and nothing is counted again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from tests.store.rollbacks import KEEP, Hit, Writer
from tests.store.writing import NOON, SITE
from visitstats.core.errors import StoreUnavailable
from visitstats.journal import Journal
from visitstats.replay import PIECE, Backlog
from visitstats.store.commit import BETWEEN, Committer
from visitstats.store.reads import Reads

EVERY = msgspec.structs.replace(SITE, views="every-load")


class Moody(Committer):
    """Its store refuses some calls, each once: (script, how many of that script came before)."""

    def __init__(self, url: str, writer: str) -> None:
        super().__init__(url, writer)
        self.refused: set[tuple[str, int]] = set()
        self.gone_after = 1 << 30
        self._came = {"audience": 0, "articles": 0}

    async def _run(self, calls: list[Any]) -> list[Any]:
        place = []
        for name, *_ in calls:
            place.append((name, self._came[name]))
            self._came[name] += 1
        if self._came["articles"] > self.gone_after:
            raise StoreUnavailable("it is away")
        taken = [call for call, each in zip(calls, place, strict=True) if each not in self.refused]
        replies = iter(await super()._run(taken))
        refusal = ResponseError("OOM command not allowed when used memory > 'maxmemory'.")
        return [refusal if each in self.refused else next(replies) for each in place]


@pytest_asyncio.fixture
async def writer(redis_url: str, raw: Redis, tmp_path: Path) -> AsyncIterator[Writer]:
    journal = Journal.open(tmp_path, max_bytes=1 << 30, keep_seconds=KEEP, fsync=False)
    committer = Moody(redis_url, journal.writer)
    yield Writer(journal, committer, Backlog(journal))
    await committer.close()
    journal.close()


@pytest.mark.parametrize(
    "refused",
    [
        (("audience", 3), ("articles", 0)),
        (("articles", 0),),
        (("articles", 2), ("audience", BETWEEN + 1)),
        (("audience", 0),),
        (("articles", 3), ("articles", 4), ("articles", 5)),
    ],
    ids=str,
)
async def test_what_the_store_refuses_for_an_instant_is_applied_once_in_its_order(
    writer: Writer, raw: Redis, refused: tuple[tuple[str, int], ...]
) -> None:
    """Each page load came twice, and more batches wait than a ledger remembers decisions of."""
    assert isinstance(writer.committer, Moody)
    writer.committer.refused.update(refused)
    for n in range(50):
        writer.write(EVERY, NOON + n, [Hit(f"person {n // 2}", f"/{n // 2}", hit_id=f"{n // 2}")])
    reads = Reads(raw)
    await writer.backlog.compare(reads)
    for _ in range(3):
        if writer.backlog.lagging:
            await writer.try_to_heal(reads)
    assert writer.backlog.lagging == {}
    assert writer.backlog.gaps == 0
    assert await raw.hget("vs:{portal:who}:visits", "all") == b"25"
    assert await raw.hget("vs:{portal:what}:views", "all") == b"25"
    assert await raw.zcount("vs:{portal:what}:top:all", 1, 1) == 25


async def test_a_replay_that_is_cut_off_has_made_room_in_the_journal(writer: Writer, raw: Redis) -> None:
    """A full journal refuses hits: it must not have to wait until an hour's absence is replayed to the end."""
    for n in range(3 * PIECE):
        writer.write(EVERY, NOON + n, [Hit(f"person {n}", "/a")])
    assert isinstance(writer.committer, Moody)
    writer.committer.gone_after = 2 * PIECE + BETWEEN
    reads = Reads(raw)
    await writer.backlog.compare(reads)
    with pytest.raises(StoreUnavailable):
        await writer.try_to_heal(reads)
    assert 2 * PIECE <= writer.journal.applied < 3 * PIECE
    writer.committer.gone_after = 1 << 30
    await writer.heal(reads)
    assert await raw.hget("vs:{portal:what}:views", "all") == b"%d" % (3 * PIECE)
