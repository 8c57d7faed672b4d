"""A town: a store and a journal with some days of two sites in them, as a worker leaves them."""

from __future__ import annotations

from pathlib import Path

from redis.asyncio import Redis

from tests.store.writing import CALENDAR, DAY, MINUTE, NOON, gather, numbering
from visitstats.core.batch import Gathering, encode
from visitstats.core.entries import Entry
from visitstats.core.periods import Day
from visitstats.core.sites import Site
from visitstats.journal import Journal
from visitstats.store import keys
from visitstats.store.commit import Committed, Committer, Work
from visitstats.store.fitness import Parts
from visitstats.verify import Report, Verifier

SITE = Site(id="portal", hosts=("portal.vn",), timezone="Asia/Ho_Chi_Minh")
DAY_MS = 24 * 60 * MINUTE


class Town:
    """Reads batches into the journal and commits them; `raw` is for breaking things."""

    def __init__(self, root: Path, raw: Redis, parts: Parts) -> None:
        self.root = root
        self.raw = raw
        self.parts = parts
        self.journal = Journal.open(root, max_bytes=1 << 30, keep_seconds=86_400, fsync=False)
        self.committer = Committer(parts.url, self.journal.writer)
        self.newest: dict[str, int] = {}

    @property
    def slot(self) -> Path:
        return self.root / "00"

    def journalled(self, site: Site, day: Day, *hits: tuple[int, str, str], hit_id: str = "") -> Work:
        """Take (minutes after noon, person, article), and return what is to be committed."""
        waiting = Gathering(site, day)
        for minutes, person, article in hits:
            gather(waiting, day.start_ms + 12 * 60 * MINUTE + minutes * MINUTE, person, article, hit_id)
        sequence = self.journal.last_sequence + 1
        batch = waiting.close(self.newest.get(site.id, 0), day.start_ms)
        self.journal.append([encode(batch)])
        self.newest[site.id] = sequence
        return Work(sequence, batch.previous, batch, numbering())

    async def commit(self, work: Work) -> None:
        [result] = await self.committer.commit([work])
        assert isinstance(result, Committed)

    async def live(self) -> None:
        """Days of two months and three weeks, baselines, estimates, peaks, a salt."""
        await self.parts.records.put_site(SITE)
        other = Site(id="other", hosts=("other.vn",), views="every-load", max_articles=1)
        await self.parts.records.put_site(other)
        for days in (40, 20, 7, 1, 0):
            day = CALENDAR.day_at(NOON - days * DAY_MS)
            hits = [(n, f"reader {n % 3}", f"/{'ab'[n % 2]}") for n in range(days % 9 + 2)]
            await self.commit(self.journalled(SITE, day, *hits, hit_id="" if days else "once"))
            await self.commit(self.journalled(other, day, *hits))
        await self.parts.records.set_baseline(SITE.id, 1000, {Entry("/a", "A"): 700, Entry("/old", "Old"): 5})
        await self.parts.records.salt(SITE.id, DAY, bytes(32))
        await self.raw.zadd(keys.peaks(SITE.id), {DAY.date: 3})
        await self.raw.hset(keys.uniques(SITE.id), DAY.yesterday, 2)

    async def verify(self, only: str = "", again_seconds: float = 0.0) -> Report:
        parts = self.parts
        return await Verifier(parts.inspector, parts.records, parts.reads, self.root, lambda: NOON).run(
            only, again_seconds
        )
