"""An archive for the tests of packed history: a site's readers over months on a real store, and a plain list of what
was read, with which every answer is compared. It shares no arithmetic with the service."""

from __future__ import annotations

import random
from collections import Counter
from datetime import date, timedelta
from typing import Any

from redis.asyncio import Redis

from tests.store.merging import CALENDAR, SITE, Merging
from visitstats.core.keys import article_id
from visitstats.reading.article_history import Article, ArticleHistory, most
from visitstats.store import keys
from visitstats.store.packing import Outcome, Packer
from visitstats.store.tiles import Tiles

FIRST = date(2036, 8, 20)
MONTHS = ("2036-08", "2036-09", "2036-10")
"""The months that are due; of the last days is November, which is not."""
DAYS = [FIRST + timedelta(days=n) for n in range(80)]
ARTICLES = [f"/{n}" for n in range(12)]
IDS = {article: article_id(article) for article in ARTICLES}
NOW = CALENDAR.day_named("2036-11-20").start_ms
Copy = dict[bytes, tuple[bytes, int]]


class Archive:
    """The site, and what was read of which article (the one that it counted for) on which day."""

    def __init__(self, url: str, raw: Redis) -> None:
        self.url = url
        self.raw = raw
        self.merging = Merging(url, raw)
        self.read: Counter[tuple[str, date]] = Counter()
        self.stands_for: dict[str, str] = {}
        self.merges: list[tuple[str, str]] = []
        """Ids of the merges that are in force, each with what was merged: the last one can be undone."""
        self.history = ArticleHistory(Tiles(raw))

    def end(self, article: str) -> str:
        while article in self.stands_for:
            article = self.stands_for[article]
        return article

    # What happens ----------------------------------------------------------------------------------------------------

    async def hits(self, day: date, *articles: str) -> None:
        await self.merging.read(*articles, day=CALENDAR.day_named(day.isoformat()))
        self.read.update((self.end(article), day) for article in articles)

    async def merge(self, source: str, target: str) -> None:
        self.merges.append((await self.merging.merge(source, target), source))
        self.stands_for[source] = target

    async def undo(self) -> None:
        change, source = self.merges.pop()
        await self.merging.undo(change)
        del self.stands_for[source]

    async def some_readers(self, chance: random.Random, times: int = 30, days: list[date] = DAYS) -> None:
        for _ in range(times):
            day = chance.choice(days)
            await self.hits(day, *chance.choices(ARTICLES, k=chance.choice([1, 2, 5, 40])))

    async def pack(self, client: Redis | None = None) -> list[Outcome]:
        return await Packer(self.url, client or self.raw, lambda: NOW).pack_due(SITE.id, CALENDAR)

    async def copy(self) -> Copy:
        """Everything in the store, with the moments at which it is forgotten."""
        raw: Any = self.raw
        return {name: (await raw.dump(name), max(0, await raw.pexpiretime(name))) for name in await raw.keys()}

    async def lose(self, copy: Copy) -> None:
        """The store comes back as it was, and all connections break."""
        async with self.raw.pipeline(transaction=True) as pipe:  # nobody commits in between
            pipe.flushall()
            for name, (data, until_ms) in copy.items():
                pipe.restore(name, until_ms, data, absttl=True)
            await pipe.execute()
        await self.raw.client_kill_filter(_type="normal", skipme=True)

    # What must come of it --------------------------------------------------------------------------------------------

    def expected(self, article: str, first: date, last: date) -> dict[str, int]:
        found: Counter[str] = Counter()
        for (counted, day), n in self.read.items():
            if self.end(counted) == article and first <= day <= last:
                found[day.isoformat()] += n
        return dict(sorted(found.items()))

    async def check(self, first: date, last: date) -> None:
        """Every way to ask for a range of days gives what was read, for each article."""
        aliases = {IDS[alias]: IDS[self.end(alias)] for alias in self.stands_for}
        known = await self.history.numbers(SITE.id, list(IDS.values()))
        numbers = {each.id: each.number for each in known}
        # Before anything was packed an article may have no number: its days are hashes.
        articles = {article: Article(IDS[article], numbers.get(IDS[article], 99)) for article in ARTICLES}
        expected = {
            article: self.expected(article, first, last) for article in ARTICLES if article not in self.stands_for
        }
        for article, days in expected.items():
            group = [articles[each] for each in ARTICLES if self.end(each) == article]
            assert await self.history.by_day(SITE.id, group, first, last) == days, article
        months: Counter[str] = Counter()
        for day, n in days.items():
            months[day[:7]] += n
        assert await self.history.by_month(SITE.id, group, first, last) == months, article
        many = await self.history.many(SITE.id, list(articles.values()), first, last)
        of_many: Counter[str] = Counter()
        for article in ARTICLES:
            of_many[self.end(article)] += many[IDS[article]]
        totals = {article: sum(days.values()) for article, days in expected.items()}
        assert {article: of_many[article] for article in totals} == totals
        everything = await self.history.all_of(SITE.id, first, last, aliases)
        name_of = {
            number: article for article, each in articles.items() if (number := numbers.get(each.id)) is not None
        }
        shown = {name_of[number]: n for number, n in enumerate(everything.by_number) if n}
        shown |= {
            article: everything.without_number[each]
            for article, each in IDS.items()
            if each in everything.without_number
        }
        assert shown == {article: n for article, n in totals.items() if n}
        top = most(everything.by_number, 3)
        assert [n for _, n in top] == sorted((n for n in everything.by_number if n), reverse=True)[:3]
        assert all(everything.by_number[number] == n for number, n in top)

    async def check_ranges(self, chance: random.Random, times: int = 3) -> None:
        """All of time, and some ranges."""
        await self.check(DAYS[0], DAYS[-1])
        for _ in range(times):
            first, last = sorted(chance.choices(DAYS, k=2))
            await self.check(first, last)

    async def stored(self, name: str, field: str) -> bytes:
        found: Any = await self.raw.hget(name, field)
        assert isinstance(found, bytes)
        return found

    async def is_packed(self) -> list[str]:
        return sorted(await Tiles(self.raw).packed(SITE.id))

    async def staged(self) -> list[Any]:
        return [name async for name in self.raw.scan_iter(keys.packing(SITE.id, "*", "*"))]
