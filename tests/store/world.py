"""A small world: two workers on one site, people who read, and the oracle that counts with them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.store.oracle import Beat, Hit, Oracle
from tests.store.writing import MINUTE, beat, gather, numbering
from visitstats.core.batch import Batch, Gathering
from visitstats.core.counting import DUPLICATE, counters_of
from visitstats.core.keys import article_id
from visitstats.core.periods import Calendar
from visitstats.core.sites import Site
from visitstats.store import keys
from visitstats.store.client import open_client
from visitstats.store.commit import Committed, Committer, Gap, Work
from visitstats.store.reads import Reads

ZONE = "America/New_York"
START = Calendar(ZONE).day_named("2036-12-30").start_ms + 23 * 60 * MINUTE
WRITERS = ["a" * 32, "b" * 32]
TOGETHER_MS = 2000
"""A batch gathers while the one before is being committed: two seconds are far more than it takes."""


@dataclass
class Writer:
    """One worker: its connection, its open batch, and what it has committed."""

    committer: Committer
    waiting: Gathering | None = None
    hits: list[Hit] = field(default_factory=list)
    sequence: int = 0
    done: list[tuple[int, Batch, Committed]] = field(default_factory=list)
    named: set[str] = field(default_factory=set)


class World:
    """Two writers on one site, with the oracle beside them. `check` is called after every step."""

    def __init__(self, url: str, site: Site, *, long_batches: bool) -> None:
        self.site = site
        self.calendar = Calendar(site.timezone, site.week_start)
        self.oracle = Oracle(
            site.timezone, site.week_start, every_load=site.views == "every-load", cap=site.max_articles
        )
        self.writers = [Writer(Committer(url, name)) for name in WRITERS]
        self.client = open_client(url)
        self.reads = Reads(self.client)
        self.now = START
        self.long_batches = long_batches
        self.delivered: list[Hit] = []

    async def close(self) -> None:
        for writer in self.writers:
            await writer.committer.close()
        await self.client.aclose()

    async def wait(self, pause: int | str) -> None:
        if isinstance(pause, str):
            self.now = self.calendar.day_at(self.now).end_ms + {"m-1": -1, "m": 0, "m+1": 1}[pause]
        else:
            self.now += pause
        for writer in self.writers:
            waiting = writer.waiting
            if waiting is not None and (
                waiting.day.date != self.calendar.day_at(self.now).date
                or not (self.long_batches or self.now - writer.hits[0].moment < TOGETHER_MS)
            ):
                await self.commit(writer)

    async def hit(self, writer: Writer, event: Hit) -> None:
        for other in self.writers:
            if other is not writer and any(pending.person == event.person for pending in other.hits):
                # Which of two workers commits first is chance; the rules speak of the order in which hits were
                # received.
                await self.commit(other)
        if writer.waiting is None:
            writer.waiting = Gathering(self.site, self.calendar.day_at(self.now))
        gather(
            writer.waiting,
            event.moment,
            event.person,
            event.article,
            event.hit_id,
            named=event.article not in writer.named,
        )
        writer.named.add(event.article)
        writer.hits.append(event)

    async def commit(self, writer: Writer) -> None:
        if writer.waiting is None:
            return
        batch = writer.waiting.close(writer.sequence, self.now)
        ids = writer.waiting.article_ids
        before = len(self.oracle.count().duplicates)
        for event in writer.hits:
            self.oracle.take(event)
        writer.waiting, writer.hits = None, []
        writer.sequence += 3  # other sites' batches have the numbers between
        numbers = numbering(self.now, self.calendar)
        [result] = await writer.committer.commit([Work(writer.sequence, batch.previous, batch, numbers)])
        assert isinstance(result, Committed)
        assert result.fresh
        counted = self.oracle.count()
        assert [slot == DUPLICATE for slot in result.slots] == counted.duplicates[before:]
        assert result.started == sum(counted.started[before:])
        shown = {article_id(article): n for article, n in counted.top["all"].items()}
        assert result.articles == tuple(shown.get(article, -1) for article in ids)
        assert not result.nameless
        await self.check(result)
        writer.done.append((writer.sequence, batch, result))

    async def commit_again(self, writer: Writer, back: int) -> None:
        """What a writer does that does not know what became of its last batches."""
        numbers = numbering(self.now, self.calendar)
        for sequence, batch, first in writer.done[-1 - back :]:
            [result] = await writer.committer.commit([Work(sequence, batch.previous, batch, numbers)])
            assert isinstance(result, Committed)
            assert not result.fresh
            assert result.outcome == first.outcome
            await self.check(result)

    async def commit_too_early(self, writer: Writer) -> None:
        waiting = Gathering(self.site, self.calendar.day_at(self.now))
        gather(waiting, self.now, "An", "/gap")
        batch = waiting.close(writer.sequence + 1, self.now)
        numbers = numbering(self.now, self.calendar)
        [result] = await writer.committer.commit([Work(writer.sequence + 2, batch.previous, batch, numbers)])
        assert result == Gap(writer.sequence)
        await self.check()

    async def check(self, answer: Committed | None = None) -> None:
        """Compare everything that the store shows with the oracle."""
        site, counted = self.site.id, self.oracle.count()
        day = self.calendar.day_at(self.now)
        names = counters_of(day)
        expected = (
            counted.online(self.now),
            counted.box(list(names), counted.visits),
            counted.box(list(names), counted.views),
        )
        found = await self.reads.counts(site, day, self.now)
        assert (found.online, found.visits, found.views) == expected
        if answer is not None:
            assert (answer.online, answer.visits, answer.views) == expected
        assert _numbers(await self.client.hgetall(keys.visits(site))) == dict(counted.visits)
        assert _numbers(await self.client.hgetall(keys.views(site))) == dict(counted.views)
        for period in ("all", day.date, day.yesterday, day.month, f"w{day.week[0]}"):
            top: list[Any] = await self.client.zrange(
                keys.top_all(site).replace("top:all", f"top:{period}"), 0, -1, withscores=True
            )
            assert {member: int(n) for member, n in top} == {
                article_id(article): n for article, n in counted.top.get(period, {}).items()
            }
        people = counted.people.get(day.date, set())
        assert await self.reads.uniques(site, day) == len(people)


def _numbers(found: dict[Any, Any]) -> dict[str, int]:
    return {name.decode(): int(n) for name, n in found.items()}


async def play(url: str, site: Site, several: list[tuple[Any, ...]], *, long_batches: bool) -> None:
    world = World(url, site, long_batches=long_batches)
    try:
        await world.client.flushall()
        for number, step in enumerate(several):
            what, how = step[0], step[1:]
            if what == "hit":
                pause, writer, person, article, has_id = how
                await world.wait(pause)
                event = Hit(world.now, person, article, f"id {number}" if has_id and not long_batches else "")
                await world.hit(world.writers[writer], event)
                if event.hit_id:
                    world.delivered.append(event)
            elif what == "deliver again":
                pause, writer, which = how
                await world.wait(pause)
                recent = [old for old in world.delivered if world.now - old.moment < 29 * MINUTE]
                if recent:
                    old = recent[which % len(recent)]
                    await world.hit(world.writers[writer], Hit(world.now, old.person, old.article, old.hit_id))
            elif what == "beat":
                pause, people = how
                await world.wait(pause)
                for each in world.writers:
                    if any(pending.person in people for pending in each.hits):
                        await world.commit(each)
                for person in people:
                    world.oracle.take(Beat(world.now, person))
                await beat(world.writers[0].committer, site, world.calendar, world.now, people)
                await world.check()
            elif what == "commit":
                await world.commit(world.writers[how[0]])
            elif what == "commit again":
                await world.commit_again(world.writers[how[0]], how[1])
            else:
                await world.commit_too_early(world.writers[how[0]])
        for each in world.writers:
            await world.commit(each)
            await world.commit_again(each, 2)
    finally:
        await world.close()
