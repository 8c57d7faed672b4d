"""What is exact when a reader came to both sides of a split brain, and what is not. (Whole splits under load, with
workers that stay behind, are in the seeded rounds: `splits.py`.)"""

from __future__ import annotations

from pathlib import Path

from redis.asyncio import Redis

from tests.client import Hit, Visitor, crowd
from tests.conftest import StartStore
from tests.faults.copies import copy_of, put_back
from tests.waiting import eventually
from tests.web.inprocess import Running, running


async def test_a_reader_of_both_sides_is_on_one_visit_and_every_page_load_counts_once(
    tmp_path: Path, redis_url: str, start_store: StartStore
) -> None:
    """Two services, each with a primary of its own that came from the same copy: when both count in one again, every
    hit is there once. A reader who was known before the split is on one visit, and so is one who was new to both sides
    and has started a visit at each: two starts in one half hour are one visit."""
    old, new = redis_url, start_store().url
    known, fresh = crowd(2, "split")
    async with running(tmp_path / "behind", old) as behind, Redis.from_url(old) as first, Redis.from_url(new) as second:
        await behind.put_site(views="every-load")
        await hit(behind, known, "/before")
        await put_back(second, await copy_of(first), 0)
        async with running(tmp_path / "over", new, site=False, clock=behind.clock) as over:
            for reader in (known, fresh):
                await hit(behind, reader, "/old")
                await hit(over, reader, "/new")
                await hit(over, reader, "/both")
                await hit(behind, reader, "/both")
            # The old primary is demoted: it is a copy of the new one now, and its own writes are thrown away.
            await put_back(first, await copy_of(second), 0)
            behind.clock.advance(2)
            await behind.connection.numbers("t1")
            worker = behind.app.worker
            assert worker is not None
            await eventually(lambda: not worker.applier.lagging, "it is healed from the journal")
            views = await behind.connection.views("t1", ["/before", "/old", "/new", "/both"])
            assert views == {"/before": 1, "/old": 2, "/new": 2, "/both": 4}
            assert (await behind.numbers())["total"] == 2


async def test_a_beacon_that_came_to_both_sides_counts_once(
    tmp_path: Path, redis_url: str, start_store: StartStore
) -> None:
    """A widget that got no answer from one worker sends the same beacon to another, on the other side: both acknowledge
    it. What the one decided is not repeated where the other has counted it; nor is its reader's visit."""
    old, new = redis_url, start_store().url
    known, fresh, third = crowd(3, "beacon")
    async with running(tmp_path / "behind", old) as behind, Redis.from_url(old) as first, Redis.from_url(new) as second:
        await behind.put_site(views="every-load")
        await hit(behind, known, "/before")
        await put_back(second, await copy_of(first), 0)
        async with running(tmp_path / "over", new, site=False, clock=behind.clock) as over:
            await hit(behind, third, "/old")
            for reader in (known, fresh):
                await hit(over, reader, "/both", f"same {reader.address} {reader.agent}")
                await hit(behind, reader, "/both", f"same {reader.address} {reader.agent}")
            await hit(behind, third, "/old")
            await put_back(first, await copy_of(second), 0)
            behind.clock.advance(2)
            await behind.connection.numbers("t1")
            worker = behind.app.worker
            assert worker is not None
            await eventually(lambda: not worker.applier.lagging, "it is healed from the journal")
            assert await behind.connection.views("t1", ["/before", "/old", "/both"]) == {
                "/before": 1, "/old": 2, "/both": 2,
            }  # fmt: skip
            assert (await behind.numbers())["total"] == 3


async def hit(app: Running, reader: Visitor, article: str, hit_id: str = "") -> None:
    answer = await app.connection.hit("t1", Hit(reader, article, hit_id.replace(" ", "-")[:64]))
    assert answer.status == 200, answer
