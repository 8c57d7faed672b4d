"""What a batch costs does not grow with its site, nor with what one visitor does; and keys that end, end by
themselves."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from tests.store.script_keys import calls_of, contents
from tests.store.writing import CALENDAR, DAY, MINUTE, NOON, SITE, WRITER, Writer, beats, gather, numbering, token
from visitstats.core import counting
from visitstats.core.batch import Batch, Gathering
from visitstats.core.counting import HALF_HOUR_MS, MOST_READINGS
from visitstats.core.keys import article_id
from visitstats.core.sites import Site
from visitstats.store import keys
from visitstats.store.commit import Committed, Committer, Work

PIECE = 1000
BEFORE = CALENDAR.day_named(DAY.yesterday)


def person_of(part: int, day: str = DAY.date) -> str:
    """Somebody whose token goes to this sketch."""
    return next(
        name for n in count() if token(SITE, day, name := f"of part {part}, {n}")[0] % keys.SKETCHES == part
    )  # fmt: skip


EVERY_SKETCH = [person_of(part) for part in range(keys.SKETCHES)]


@pytest_asyncio.fixture
async def committer(redis_url: str) -> Any:
    found = Committer(redis_url)
    yield found
    await found.close()


def mixed_batch(site: Site, moment: int, previous: int, name: str) -> Batch:
    """Visitors who are new and who are known, also of the night before; articles that are new, known, and beyond the
    cap; hit ids, one twice; heartbeats; bots."""
    waiting = Gathering(site, DAY)
    for n, person in enumerate([*EVERY_SKETCH, f"new {name}", "known 0", "known 1"]):
        gather(waiting, moment + n, person, f"/{n % 3}", f"{name} {min(n, keys.SKETCHES)}")
        beats(waiting, moment + n, "known 2", f"stranger {name}")
    gather(waiting, moment + 100, "known 0", f"/new {name}")
    gather(waiting, moment + 100, "known 3", "/0")
    waiting.ignored = {"bot": 2, "prefetch": 1}
    return waiting.close(previous, 0, moment)


async def settle(committer: Committer, site: Site, many: int) -> int:
    """Many visitors have read an article each, yesterday and in the first minutes of today; returns the last
    sequence."""
    sequence = 0
    for day in (BEFORE, DAY):
        for start in range(0, many, PIECE):
            waiting = Gathering(site, day)
            moment = day.end_ms - MINUTE if day is BEFORE else day.start_ms + MINUTE
            for n in range(start, min(start + PIECE, many)):
                gather(waiting, moment, f"known {n}", f"/{n}", f"{day.date} {n}")
            for person in EVERY_SKETCH if start == 0 else []:
                gather(waiting, moment, person, "/0")
            waiting.ignored = {"bot": 1}
            await commit_at(committer, sequence + 1, waiting.close(sequence, 0, moment))
            sequence += 1
    return sequence


async def commit_at(committer: Committer, sequence: int, batch: Batch) -> Committed:
    work = Work(WRITER, sequence, batch.previous, batch, numbering(batch.at_ms))
    [result] = await committer.commit([work])
    assert isinstance(result, Committed), result
    return result


@pytest.mark.parametrize("two_steps", [False, True], ids=["at once", "in two steps"])
async def test_a_batch_costs_a_large_site_what_it_costs_a_small_one(
    redis_url: str, committer: Committer, raw: Redis, two_steps: bool
) -> None:
    """The same commands, equally often, with 10 visitors and articles and with 5,000. Which commands a script may use
    says another test (`test_scripts_write_absolute_values_only`): each takes no more than its own fields do."""
    found = []
    for many in (10, 5000):
        await raw.flushall()
        await committer.ready()
        committer._line.two_steps = two_steps
        # The cap is reached: what is new goes to "(other)".
        site = Site(id=SITE.id, hosts=SITE.hosts, max_articles=many)
        sequence = await settle(committer, site, many)
        first = mixed_batch(site, DAY.start_ms + 5 * MINUTE, sequence, "first")
        second = mixed_batch(site, DAY.start_ms + 6 * MINUTE, sequence + 1, "second")
        found.append(
            [
                await calls_of(raw, lambda batch=first, at=sequence + 1: commit_at(committer, at, batch)),  # type: ignore[misc]
                await calls_of(raw, lambda batch=second, at=sequence + 2: commit_at(committer, at, batch)),  # type: ignore[misc]
            ]
        )
    small, large = found
    assert small == large
    assert sum(large[1].values()) < 70


async def test_keys_get_their_end_when_they_are_made_and_only_then(committer: Committer, raw: Redis) -> None:
    """An EXPIREAT for each key that ends; none for a second batch, and none of them is moved."""
    first = mixed_batch(SITE, DAY.start_ms + MINUTE, 0, "first")
    made = await calls_of(raw, lambda: commit_at(committer, 1, first))
    ends = {name: end for name, (_, _, end) in (await contents(raw)).items() if end >= 0}
    assert made["expireat"] == len(ends) == 5 + keys.SKETCHES  # presences, hit ids, hours, their sketch, what is taken
    second = mixed_batch(SITE, DAY.start_ms + 2 * MINUTE, 1, "second")
    assert "expireat" not in await calls_of(raw, lambda: commit_at(committer, 2, second))
    third = mixed_batch(SITE, DAY.start_ms + HALF_HOUR_MS + MINUTE, 2, "third")
    assert (await calls_of(raw, lambda: commit_at(committer, 3, third)))["expireat"] == 1, (
        "the next half hour's hit ids"
    )
    after = {name: end for name, (_, _, end) in (await contents(raw)).items() if end >= 0}
    assert ends.items() <= after.items()


async def test_a_key_that_would_have_ended_already_lives_until_the_replay_is_over(
    committer: Committer, raw: Redis
) -> None:
    """A batch that is applied days late: its successors, a moment later, find what it has left."""
    now = DAY.end_ms + 100 * 3600 * 1000
    for sequence in (1, 2):
        waiting = Gathering(SITE, DAY)
        gather(waiting, NOON, "An", "/a", "the same")
        batch = waiting.close(sequence - 1, 0, NOON)
        work = Work(WRITER, sequence, sequence - 1, batch, numbering(now))
        [result] = await committer.commit([work])
        assert isinstance(result, Committed)
        assert (result.started, result.duplicates) == ((1, b"\0") if sequence == 1 else (0, b"\1"))
    assert await raw.expiretime(keys.seen(SITE.id, DAY.date)) == now // 1000 + 3600


# Readings -------------------------------------------------------------------------------------------------------------


async def presence(raw: Redis) -> bytes:
    found: Any = await raw.hget(keys.seen(SITE.id, DAY.date), token(SITE, DAY.date, "An"))
    return found  # type: ignore[no-any-return]


async def test_what_is_kept_of_a_visitor_is_bounded(redis_url: str, raw: Redis) -> None:
    """A program that opens ever more pages: the oldest are forgotten, and count again; the newest do not."""
    writer = Writer(redis_url)
    for start in range(0, 3 * PIECE, PIECE):
        await writer.read(DAY, *((NOON + start + n, "An", f"/{start + n}") for n in range(PIECE)))
    kept = counting.decode_presence(await presence(raw)).read
    newest = [article_id(f"/{n}") for n in range(3 * PIECE - MOST_READINGS, 3 * PIECE)]
    mine = token(SITE, DAY.date, "An")
    assert [reading for _, reading in kept] == [counting.reading(mine, article) for article in newest]
    least = 3 * PIECE - MOST_READINGS
    result = await writer.read(DAY, *((NOON + 3 * PIECE, "An", f"/{n}") for n in (3 * PIECE - 1, least, least - 1)))
    assert result.added == (0, 0, 1)
    assert len(await presence(raw)) == 7 + 8 * MOST_READINGS
    await writer.close()


@pytest.mark.parametrize("shift", range(1, 8))
async def test_a_reading_whose_bytes_lie_across_two_others_was_not_read(redis_url: str, raw: Redis, shift: int) -> None:
    """Only whole readings count, wherever the same bytes happen to stand."""
    writer = Writer(redis_url)
    await writer.read(DAY, (NOON, "An", "/first"))
    wanted = bytes([24]) + counting.reading(token(SITE, DAY.date, "An"), article_id("/a"))
    across = (b"\x18" * shift + wanted).ljust(16, b"\x18")
    await raw.hset(keys.seen(SITE.id, DAY.date), token(SITE, DAY.date, "An"), await presence(raw) + across + across)
    assert (await writer.read(DAY, (NOON + 1, "An", "/a"))).added == (1,)
    assert (await writer.read(DAY, (NOON + 2, "An", "/a"))).added == (0,), "now it stands there as a whole, behind them"
    await writer.close()
