"""Changes for the tests: articles, merges and baselines of a site on a real store, and how all of its numbers look."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
from redis.asyncio import Redis

from tests.store.changing import change_desk
from visitstats.changes.baselines import Baselines
from visitstats.changes.desk import ChangeDesk, Wanted
from visitstats.changes.merges import Merges
from visitstats.changes.recording import Order
from visitstats.core import counting
from visitstats.core.batch import ChangeRecord, Gathering, Record
from visitstats.core.entries import Entry
from visitstats.core.entries import encode as encode_entry
from visitstats.core.keys import article_id
from visitstats.core.periods import Calendar, Day
from visitstats.core.query import Query
from visitstats.core.sites import Site
from visitstats.reading.desk_process import made_of
from visitstats.reading.index import Index
from visitstats.store import keys
from visitstats.store.change_records import Logged
from visitstats.store.changes import Changes
from visitstats.store.commit import Changed, Committed, Committer, Numbering, Result, Work
from visitstats.store.reads import Reads

# Far ahead of the server's clock, so that nothing expires during a test.
CALENDAR = Calendar("Asia/Ho_Chi_Minh")
DAY = CALENDAR.day_named("2036-11-24")
BEFORE = CALENDAR.day_named("2036-10-31")
WRITER = "0123456789abcdef0123456789abcdef"
SITE = Site(id="portal", hosts=("portal.vn",), views="every-load")
"""Each hit is a view: what is added up is easy to see."""
Lists = dict[str, dict[str, int]]
"""List ("all", a date, a month, "w" and a week's first date; "base" for the baselines) → article → views, without those
that have none."""


def gathered(site: Site, day: Day, moment: int, *articles: str) -> Gathering:
    """Hits on articles, a millisecond and a person each."""
    waiting = Gathering(site, day)
    for n, article in enumerate(articles):
        token = counting.visitor_token(
            counting.salted(day.date.encode().ljust(32, b"-")), site.id, f"person {n}", b"agent", ""
        )
        entry = encode_entry(Entry(article, f"Title of {article}"))
        waiting.add(moment + n, token, token, b"", b"", article_id(article), entry)
    return waiting


class Writer:
    """A writer of one site's records, in their order. It keeps them, as a journal does; so it is a recorder, too."""

    def __init__(self, url: str, name: str = WRITER) -> None:
        self.committer = Committer(url)
        self.name = name
        self.records: list[Record] = []
        self.now = DAY.start_ms + 12 * 3600 * 1000
        self.site = SITE

    def write(self, what: Gathering | ChangeRecord) -> int:
        """Journal a batch or a change, and return its sequence."""
        previous, total = len(self.records), self.records[-1].total if self.records else 0
        record: Record
        if isinstance(what, Gathering):
            record = what.close(previous, total, self.now)
        else:
            record = msgspec.structs.replace(what, previous=previous, total=total, at_ms=self.now)
        self.records.append(record)
        return previous + 1

    async def send(self, sequence: int, day: Day = DAY) -> Result:
        """Commit a record, once more or for the first time."""
        record = self.records[sequence - 1]
        numbering = Numbering(day, day.start_ms + 1000)
        [result] = await self.committer.commit([Work(self.name, sequence, record.previous, record, numbering)])
        return result

    async def commit(self, waiting: Gathering) -> Committed:
        result = await self.send(self.write(waiting), waiting.day)
        assert isinstance(result, Committed), result
        return result

    async def change(self, change: ChangeRecord) -> Changed:
        """Make a change, as whoever orders it wants it made (`changes.scribe.Recorder`)."""
        result = await self.send(self.write(change))
        assert isinstance(result, Changed), result
        return result

    async def close(self) -> None:
        await self.committer.close()


class Merging(Writer):
    """A site with its hits, its merges, its baselines and its numbers."""

    def __init__(self, url: str, raw: Redis, site: Site = SITE) -> None:
        super().__init__(url)
        self.raw = raw
        self.site = site
        self.changes = Changes(raw)
        self.days: set[str] = set()
        self.moment = 0
        self._folder = TemporaryDirectory()
        self._index = Index(Path(self._folder.name))
        self._articles = made_of(raw, self._index, lambda: self.moment)

    @property
    def desk(self) -> ChangeDesk:
        return change_desk(self.raw, self, self.site, lambda: self.now, changes=self.changes)

    @property
    def merges(self) -> Merges:
        return self.desk.merges

    @property
    def baselines(self) -> Baselines:
        return Baselines(self.changes, self, self.site.id)

    async def merge(self, source: str, target: str, why: str = "") -> str:
        """Merge, and return the change's id."""
        return (await self.merges.merge(source, target, Order("an", why))).id

    async def undo(self, change_id: str) -> str:
        return (await self.desk.undo(change_id, Order("binh"))).id

    async def audit(self) -> list[Logged]:
        """All changes, the newest first."""
        return (await self.desk.log(Wanted(limit=1000))).changes

    def gathered(self, day: Day, *articles: str) -> Gathering:
        """Hits by ids that nobody has resolved."""
        self.days.add(day.date)
        return gathered(self.site, day, day.start_ms, *articles)

    async def read(self, *articles: str, day: Day = DAY) -> Committed:
        """One hit on each of these."""
        return await self.commit(self.gathered(day, *articles))

    async def lists(self) -> Lists:
        """All lists as people are shown them, and the baselines."""
        reads = Reads(self.raw)
        found: Lists = {}
        for date in sorted(self.days):
            day = CALENDAR.day_named(date)
            names = {"day": date, "week": "w" + day.week[0], "month": day.month}
            if date == max(self.days):
                names["all"] = "all"
            for period, name in names.items():
                found[name] = await self.listed(period, day.start_ms)
        bases: Any = await self.raw.hgetall(keys.base(self.site.id))
        entries = await reads.entries(self.site.id, list(bases))
        found["base"] = {entry.key: int(n) for entry, n in zip(entries, bases.values(), strict=True) if int(n)}
        return found

    async def close(self) -> None:
        await super().close()
        self._index.close()
        self._folder.cleanup()

    async def listed(self, period: str, moment: int) -> dict[str, int]:
        """A list as people are shown it at a moment, the most read first. Its index is kept from call to call."""
        self.moment = moment
        await self._articles.refresh(self.site)
        page = await self._articles.page(self.site, Query(period=period, limit=1000))
        return {row.entry.key: row.views for row in page.rows}

    async def everything(self) -> dict[str, Any]:
        """Every key of the ledger as it is, but for what only grows: changes, watermarks, touched entries."""
        site = self.site.id
        found = await ledger(self.raw, site)
        grows = (keys.changes, keys.order_of_changes, keys.changes_of_articles, keys.marks, keys.touched)
        for key in grows:
            found.pop(key(site), None)
        if keys.counts(site) in found:
            found[keys.counts(site)][0].pop(b"touched", None)
        return found


async def ledger(raw: Redis, site: str = SITE.id) -> dict[str, Any]:
    """Every key of a ledger, with what is in it and when it is forgotten."""
    found: dict[str, Any] = {}
    raw_name: Any
    async for raw_name in raw.scan_iter(keys.of_site(site)):
        name: str = raw_name.decode()
        kind: Any = await raw.type(name)
        content: Any
        if kind == b"hash":
            content = await raw.hgetall(name)
        elif kind == b"set":
            content = await raw.smembers(name)
        elif kind == b"zset":
            content = await raw.zrange(name, 0, -1, withscores=True)
        else:
            assert kind == b"string", (name, kind)
            content = await raw.get(name)
        found[name] = (content, await raw.expiretime(name))
    return found


async def some_reading(merging: Merging) -> Lists:
    """Three articles on two days of two months, two of them with baselines."""
    await merging.read("/old", "/old", "/new", day=BEFORE)
    await merging.read("/old", "/new", "/new", "/third")
    await merging.baselines.set(None, {Entry("/old"): 500, Entry("/third"): 7})
    return await merging.lists()
