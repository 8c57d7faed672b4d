"""A small world: two workers on one site, people who read, and the oracle that counts with them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from redis.asyncio import Redis

from tests.store.dated import dated
from tests.store.oracle import OTHER, Beat, Counted, Hit, Oracle
from tests.store.writing import MINUTE, WRITER, beats, gather, names_in, numbering
from visitstats.core import counting
from visitstats.core.batch import Batch, Gathering
from visitstats.core.keys import article_id
from visitstats.core.numbers import counters_of
from visitstats.core.periods import Calendar
from visitstats.core.sites import Site
from visitstats.store import keys
from visitstats.store.client import open_client
from visitstats.store.commit import Committed, Committer, Gap, Work
from visitstats.store.reads import Reads

ZONE = "America/New_York"
START = Calendar(ZONE).day_named("2036-12-30").start_ms + 23 * 60 * MINUTE
WRITERS = [WRITER, WRITER[::-1]]
TOGETHER_MS = 2000
"""A batch gathers while the one before is being committed: two seconds are far more than it takes."""
LOOKS_MS = (0, 999, 1000, 60_000, 298_999, 299_000, 299_999, 300_000, 300_001)
"""How long after a step it is looked who is online, when nobody has come since."""


@dataclass
class Writer:
    """One worker: its open batch, and what it has committed."""

    name: str
    committer: Committer
    waiting: Gathering | None = None
    events: list[Hit | Beat] = field(default_factory=list)
    sequence: int = 0
    total: int = 0
    done: list[tuple[int, Batch, list[str]]] = field(default_factory=list)
    named: set[str] = field(default_factory=set)

    @property
    def articles(self) -> list[str]:
        """What the open batch reads, in the order in which the batch has it."""
        return list(dict.fromkeys(event.article for event in self.events if isinstance(event, Hit)))


class World:
    """Two writers on one site, with the oracle beside them. Everything is compared after every step."""

    def __init__(self, url: str, site: Site, *, long_batches: bool) -> None:
        self.site = site
        self.calendar = Calendar(site.timezone, site.week_start)
        self.oracle = Oracle(
            site.timezone, site.week_start, every_load=site.views == "every-load", cap=site.max_articles, as_told=True
        )
        self.writers = [Writer(name, Committer(url)) for name in WRITERS]
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
            if writer.waiting is not None and (
                writer.waiting.day.date != self.calendar.day_at(self.now).date
                or not (self.long_batches or self.now - writer.events[0].moment < TOGETHER_MS)
            ):
                await self.commit(writer)

    async def come(self, writer: Writer, event: Hit | Beat) -> None:
        """An event reaches a writer, and waits for the rest of its batch."""
        for other in self.writers:
            if other is not writer and any(pending.person == event.person for pending in other.events):
                # Which of two workers commits first is chance; the rules speak of the order in which a person's
                # signs were received.
                await self.commit(other)
        if writer.waiting is None:
            writer.waiting = Gathering(self.site, self.calendar.day_at(self.now))
        if isinstance(event, Beat):
            beats(writer.waiting, event.moment, event.person)
        else:
            named = event.article not in writer.named
            gather(writer.waiting, event.moment, event.person, event.article, event.hit_id, named=named)
            writer.named.add(event.article)
        writer.events.append(event)

    async def commit(self, writer: Writer) -> None:
        if writer.waiting is None:
            return
        articles, events = writer.articles, writer.events
        batch = writer.waiting.close(writer.sequence, writer.total, self.now)
        before = len(self.oracle.count().duplicates)
        for event in events:
            self.oracle.take(event)
        writer.waiting, writer.events, writer.total = None, [], batch.total
        writer.sequence += 3  # other sites' batches have the numbers between
        result = await self._send(writer, writer.sequence, batch)
        assert isinstance(result, Committed), result
        counted = self.oracle.count()
        repeated, viewed = iter(counted.duplicates[before:]), iter(counted.viewed[before:])
        added = dict.fromkeys(articles, 0)
        for event in events:
            if isinstance(event, Hit) and (got := next(viewed)):
                added[event.article] += 1 if got == event.article else -1
        assert result.fresh
        assert list(result.duplicates) == [isinstance(event, Hit) and next(repeated) for event in events]
        assert result.started == sum(counted.started[before:])
        assert result.added == tuple(added.values())
        self._same_answer(result, articles, counted)
        await self.check()
        writer.done.append((writer.sequence, batch, articles))

    async def commit_again(self, writer: Writer, back: int) -> None:
        """What a writer does that does not know what became of its last batches."""
        for sequence, batch, articles in writer.done[-1 - back :]:
            result = await self._send(writer, sequence, batch)
            assert isinstance(result, Committed), result
            assert (result.fresh, result.duplicates, result.started) == (False, b"", 0)
            assert result.added == (0,) * len(articles)
            self._same_answer(result, articles, self.oracle.count())
            await self.check()

    async def commit_too_early(self, writer: Writer) -> None:
        waiting = Gathering(self.site, self.calendar.day_at(self.now))
        gather(waiting, self.now, "An", "/gap")
        batch = waiting.close(writer.sequence + 1, writer.total, self.now)
        assert await self._send(writer, writer.sequence + 2, batch) == Gap(writer.sequence)
        await self.check()

    async def _send(self, writer: Writer, sequence: int, batch: Batch) -> Any:
        numbers = numbering(self.now, self.calendar, box_views=self.site.box == "views")
        [result] = await writer.committer.commit([Work(writer.name, sequence, batch.previous, batch, numbers)])
        return result

    def _same_answer(self, result: Committed, articles: list[str], counted: Counted) -> None:
        """What the answer says of the site as it is after the batch."""
        shown = counted.top.get("all", Counter())
        assert result.articles == tuple(shown.get(article, -1) for article in articles)
        assert result.nameless == ()
        assert result.online == counted.online(self.now)
        names = list(counters_of(self.calendar.day_at(self.now)))
        box = counted.views if self.site.box == "views" else counted.visits
        assert result.counts == counted.box(names, box)

    async def check(self) -> None:
        """Compare everything that the store shows with the oracle."""
        site, counted, day = self.site.id, self.oracle.count(), self.calendar.day_at(self.now)
        names = list(counters_of(day))
        found = await self.reads.counts(site, day, self.now)
        assert (found.visits, found.views) == (
            counted.box(names, counted.visits), counted.box(names, counted.views),
        )  # fmt: skip
        assert await dated(self.client, site, "visits") == dict(counted.visits)
        assert await dated(self.client, site, "views") == dict(counted.views)
        assert await dated(self.client, site, "hits") == dict(counted.hits)
        await self._check_online(counted)
        for date in ("all", *sorted(counted.people)):
            key = keys.articles(site) if date == "all" else keys.articles_of_day(site, date)
            top = counted.top.get(date, Counter())
            expected = {article_id(article).hex(): n for article, n in top.items()}
            assert _numbers(await self.client.hgetall(key), "hex") == expected, date
        for date, people in counted.people.items():
            assert await self.reads.uniques(site, self.calendar.day_named(date)) == len(people), date
        known = counted.top.get("all", Counter())
        assert await self.reads.article_count(site) == len(known) - (OTHER in known)
        entries = await self.reads.entries(site, [article_id(article) for article in known])
        assert [entry.key for entry in entries] == list(known)

    async def _check_online(self, counted: Counted) -> None:
        ring: Any = await self.client.get(keys.online(self.site.id)) or b""
        for later in LOOKS_MS:
            now = self.now + later
            assert counting.online_in(ring, now) == counted.online(now), later
        await check_ring(self.client, self.site.id, self.now)


async def check_ring(client: Redis, site: str, now: int) -> None:
    """The ring of seconds says the same as a recount from all presences, of every second that it can still tell."""
    kept: Any = await client.get(keys.online(site)) or b""
    ring: bytes = kept.ljust(8 * counting.RING, b"\0")
    assert len(ring) == 8 * counting.RING
    recount: Counter[int] = Counter()
    for name in await names_in(client):
        found = keys.parse(name)
        if found is not None and found.kind.word == "seen":
            presences: Any = await client.hvals(name)
            recount.update(counting.decode_presence(each).last_ms // 1000 for each in presences)
    for second in range(now // 1000 - counting.RING + 1, now // 1000 + 1):
        a_round, place = divmod(second, counting.RING)
        written, many = (
            int.from_bytes(ring[4 * at : 4 * at + 4], "little") for at in (place, counting.RING + place)
        )  # fmt: skip
        assert (many if written == a_round else 0) == recount[second], second


def _numbers(found: dict[Any, Any], how: str = "") -> dict[str, int]:
    return {name.hex() if how else name.decode(): int(n) for name, n in found.items()}


async def play(url: str, site: Site, several: list[tuple[Any, ...]], *, long_batches: bool) -> None:
    """Do the steps, and compare after each."""
    world = World(url, site, long_batches=long_batches)
    try:
        await world.client.flushall()
        for number, step in enumerate(several):
            what, how = step[0], step[1:]
            if what == "hit":
                pause, writer, person, article, has_id = how
                await world.wait(pause)
                event = Hit(world.now, person, article, f"id {number}" if has_id and not long_batches else "")
                await world.come(world.writers[writer], event)
                if event.hit_id:
                    world.delivered.append(event)
            elif what == "deliver again":
                pause, writer, which = how
                await world.wait(pause)
                # Hit ids are known for half an hour at least.
                recent = [old for old in world.delivered if world.now - old.moment < 29 * MINUTE]
                if recent:
                    old = recent[which % len(recent)]
                    await world.come(world.writers[writer], Hit(world.now, old.person, old.article, old.hit_id))
            elif what == "beat":
                pause, writer, people = how
                await world.wait(pause)
                for person in people:
                    await world.come(world.writers[writer], Beat(world.now, person))
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
