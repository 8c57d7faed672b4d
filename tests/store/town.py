"""A town: a store and a journal with some days of two sites in them, as a worker leaves them."""

from __future__ import annotations

from pathlib import Path

import msgspec
from redis.asyncio import Redis

from tests.store.changing import change_desk
from tests.store.writing import CALENDAR, DAY, MINUTE, NOON, beats, gather, numbering
from visitstats.changes.baselines import Baselines
from visitstats.changes.desk import ChangeDesk
from visitstats.changes.merges import Merges
from visitstats.core.batch import ChangeRecord, Gathering, Record, encode
from visitstats.core.entries import Entry
from visitstats.core.periods import Day
from visitstats.core.sites import Site
from visitstats.journal.log import OpenJournal
from visitstats.store import keys
from visitstats.store.commit import Changed, Committed, Committer, Work
from visitstats.store.fitness import Parts
from visitstats.trust.verify.verifier import Report, Verifier

SITE = Site(id="portal", hosts=("portal.vn",), timezone="Asia/Ho_Chi_Minh")
OTHER = Site(id="other", hosts=("other.vn",), views="every-load", max_articles=1)
DAY_MS = 24 * 60 * MINUTE


class Town:
    """Journals records and commits them, as the worker of a data folder does; `raw` is for breaking things."""

    def __init__(self, data_dir: Path, raw: Redis, parts: Parts) -> None:
        self.data_dir = data_dir
        self.root = data_dir / "journal"
        self.raw = raw
        self.parts = parts
        self.journal = OpenJournal.open(self.root, max_bytes=1 << 30, keep_seconds=86_400, fsync=False)
        self.committer = Committer(parts.url)
        self.newest: dict[str, tuple[int, int]] = {}

    @property
    def slot(self) -> Path:
        return self.root / "00"

    @property
    def desk(self) -> ChangeDesk:
        return change_desk(self.raw, self, SITE, lambda: NOON)

    @property
    def merges(self) -> Merges:
        return self.desk.merges

    @property
    def baselines(self) -> Baselines:
        return Baselines(self.parts.records.changes, self, SITE.id)

    def journalled(self, site: Site, day: Day, *hits: tuple[float, str, str], hit_id: str = "") -> Work:
        """Take (minutes after noon, person, article), and return what is to be committed."""
        waiting = Gathering(site, day)
        for minutes, person, article in hits:
            gather(waiting, day.start_ms + 12 * 60 * MINUTE + round(minutes * MINUTE), person, article, hit_id)
        return self.taken(waiting)

    def taken(self, waiting: Gathering) -> Work:
        """Journal what was gathered."""
        return self._append(waiting.close(*self.newest.get(waiting.site.id, (0, 0)), waiting.day.start_ms))

    async def commit(self, work: Work) -> None:
        [result] = await self.committer.commit([work])
        assert isinstance(result, Committed), result

    async def change(self, change: ChangeRecord) -> Changed:
        """Journal a change and make it: merges and baselines take a town for their recorder."""
        previous, total = self.newest.get(change.site, (0, 0))
        [result] = await self.committer.commit(
            [self._append(msgspec.structs.replace(change, previous=previous, total=total, at_ms=NOON))]
        )
        assert isinstance(result, Changed), result
        return result

    def _append(self, record: Record) -> Work:
        sequence = self.journal.last_sequence + 1
        self.journal.append([encode(record)])
        self.newest[record.site] = sequence, record.total
        return Work(self.journal.writer, sequence, record.previous, record, numbering())

    async def live(self) -> None:
        """Days of two months and three weeks, heartbeats, baselines, estimates, peaks, a salt, a host."""
        await self.parts.records.put_site(SITE)
        await self.parts.records.put_site(OTHER)
        for days in (40, 20, 7, 1, 0):
            day = CALENDAR.day_at(NOON - days * DAY_MS)
            hits = [(n, f"reader {n % 3}", f"/{'ab'[n % 2]}") for n in range(days % 9 + 2)]
            await self.commit(self.journalled(SITE, day, *hits, hit_id="" if days else "once"))
            await self.commit(self.journalled(OTHER, day, *hits))
        waiting = Gathering(OTHER, DAY)
        beats(waiting, NOON + 3 * MINUTE, "reader 0", "nobody")
        await self.commit(self.taken(waiting))
        await self.baselines.set(1000, {Entry("/a", "A"): 700, Entry("/old", "Old"): 5})
        await self.parts.records.salt(SITE.id, DAY, bytes(32))
        await self.raw.hset(keys.peaks(SITE.id, DAY.year), DAY.date, f"3 {NOON}")
        await self.raw.hset(keys.uniques(SITE.id, DAY.year), DAY.yesterday, 2)
        await self.raw.hset(keys.HOSTS, self.journal.writer, "here")

    async def close(self) -> None:
        await self.committer.close()
        self.journal.close()

    async def verify(self, only: str = "", again_seconds: float = 0.0, now: int = NOON) -> Report:
        parts = self.parts
        return await Verifier(parts.inspector, parts.records, parts.reads, self.root, lambda: now).run(
            only, again_seconds
        )
