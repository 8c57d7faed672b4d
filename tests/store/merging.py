"""Merges for the tests: articles and changes of a site on a real store, and how all of its numbers look."""

from __future__ import annotations

from typing import Any

from redis.asyncio import Redis

from tests.store.writing import CALENDAR, DAY, NOON, SITE, WRITER, commit, gather, numbering
from visitstats.core.batch import Gathering
from visitstats.core.entries import Entry
from visitstats.core.keys import KeyRules, article_id
from visitstats.core.periods import Day
from visitstats.core.sites import Site
from visitstats.merges import Merges
from visitstats.patterns import linear_pattern
from visitstats.store import keys
from visitstats.store.changes import Changes
from visitstats.store.commit import Committed, Committer
from visitstats.store.records import Records

EVERY_LOAD = Site(id=SITE.id, hosts=SITE.hosts, views="every-load")
"""Each hit is a view: what is added up is easy to see."""
BEFORE = CALENDAR.day_named("2036-10-31")
Lists = dict[str, dict[str, int]]
"""List (as `keys.top` names it; "base" for the baselines) → article → views, without those that have none."""


class Merging:
    """A site with its hits, its merges and its numbers."""

    def __init__(self, url: str, raw: Redis, site: Site = EVERY_LOAD) -> None:
        self.raw = raw
        self.site = site
        self.records = Records(raw)
        self.committer = Committer(url, WRITER)
        self.sequence = 0
        self.now = NOON
        self.names: dict[bytes, str] = {}

    @property
    def changes(self) -> Changes:
        return self.records.changes

    @property
    def merges(self) -> Merges:
        return Merges(self.changes, self.site.id, KeyRules(self.site, linear_pattern), lambda: self.now)

    async def merge(self, source: str, target: str, why: str = "") -> str:
        """Merge, and return the change's id."""
        return (await self.merges.merge(source, target, "an", why)).id

    async def undo(self, change_id: str) -> str:
        return (await self.merges.undo(change_id, "binh")).id

    def gathered(self, day: Day, *articles: str) -> Gathering:
        waiting = Gathering(self.site, day)
        for n, article in enumerate(articles):
            self.names[article_id(article)] = article
            gather(waiting, day.start_ms + n, f"person {n}", article)
        return waiting

    async def read(self, *articles: str, day: Day = DAY) -> Committed:
        """One hit on each of these, by ids that nobody has resolved."""
        return await self.commit(self.gathered(day, *articles))

    async def commit(self, waiting: Gathering) -> Committed:
        previous, self.sequence = self.sequence, self.sequence + 1
        batch = waiting.close(previous, waiting.day.start_ms)
        return await commit(self.committer, self.sequence, batch, numbering(waiting.day.start_ms + 1000))

    async def lists(self) -> Lists:
        """All lists, with the baselines."""
        found: Lists = {}
        async for raw_name in self.raw.scan_iter(keys.top(self.site.id, "*")):
            name: str = raw_name.decode()
            members: Any = await self.raw.zrange(name, 0, -1, withscores=True)
            scores = {self.names[member]: int(score) for member, score in members if score}
            assert all(score >= 0 for _, score in members), name
            found[name.split(":top:")[1]] = scores
        bases: Any = await self.raw.hgetall(keys.base(self.site.id))
        found["base"] = {self.names[member]: int(n) for member, n in bases.items() if int(n)}
        return found

    async def everything(self) -> dict[str, Any]:
        """Every key of the articles ledger but the changes and watermarks, as it is."""
        found: dict[str, Any] = {}
        raw_name: Any
        async for raw_name in self.raw.scan_iter(f"vs:{{{self.site.id}:what}}:*"):
            name: str = raw_name.decode()
            if name == keys.changes(self.site.id) or ":writer:" in name:
                continue
            kind: Any = await self.raw.type(name)
            content: Any
            if kind == b"zset":
                content = dict(await self.raw.zrange(name, 0, -1, withscores=True))  # type: ignore[arg-type]
            elif kind == b"hash":
                content = await self.raw.hgetall(name)
            else:
                content = await self.raw.smembers(name)
            found[name] = (content, await self.raw.expiretime(name))
        return found

    async def close(self) -> None:
        await self.committer.close()


async def some_reading(merging: Merging) -> Lists:
    """Three articles on two days of two months, two of them with baselines."""
    await merging.read("/old", "/old", "/new", day=BEFORE)
    await merging.read("/old", "/new", "/new", "/third")
    await merging.records.set_baseline(SITE.id, 0, {Entry("/old"): 500, Entry("/third"): 7})
    return await merging.lists()
