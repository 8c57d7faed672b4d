"""A machine: several workers with their journals on one store, a clock that is set, and an oracle beside them.

The workers are the real write side (`ingest`), without HTTP. What a killed worker leaves behind is written into a slot
that nobody holds. A store that is lost is emptied and gets back what it held some steps before, and all connections
break, as they do when it is restarted or fails over.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import msgspec
from redis.asyncio import Redis

from tests.client import until
from tests.store.dated import dated, hours
from tests.store.oracle import Beat, Hit, Oracle
from visitstats.core import counting
from visitstats.core.batch import Gathering, encode, hit_id_digest
from visitstats.core.entries import Entry
from visitstats.core.entries import encode as encode_entry
from visitstats.core.errors import StoreUnavailable
from visitstats.core.keys import article_id
from visitstats.core.periods import Day
from visitstats.core.sites import Site
from visitstats.ingest.answering import Answering
from visitstats.ingest.apply import Applier
from visitstats.ingest.gather import Ingest
from visitstats.ingest.known import Known
from visitstats.ingest.positions import Positions
from visitstats.ingest.replay import Replay, numbering
from visitstats.journal.log import Limits, OpenJournal
from visitstats.journal.reader import Slot
from visitstats.metrics import Metrics
from visitstats.reading.snapshots import Stats
from visitstats.sites.directory import LiveSite, SiteDirectory
from visitstats.store import keys
from visitstats.store.client import open_client
from visitstats.store.commit import Committer
from visitstats.store.reads import Reads
from visitstats.store.records import Records

KEEP_SECONDS = 1e9
MAX_BYTES = 1 << 28
MINUTE_MS = 60_000
Copy = dict[bytes, tuple[bytes, int]]


class Patient(msgspec.Struct, frozen=True):
    """Settings: batches go at once."""

    gather_ms: int = 0
    queue_max_hits: int = 20_000
    shutdown_seconds: int = 10


class Sites:
    """The directory of two sites: the one that is looked at, and one whose hits carry waiting heartbeats along."""

    def __init__(self, *sites: Site) -> None:
        self._live = {site.id: LiveSite(site) for site in sites}

    def get(self, site_id: str) -> LiveSite | None:
        return self._live.get(site_id)


@dataclass
class Worker:
    """One worker's write side."""

    ingest: Ingest
    applier: Applier
    replay: Replay
    positions: Positions

    @property
    def settled(self) -> bool:
        return self.applier.link.answers_in_time and not self.applier.lagging


class Machine:
    """Workers on a site whose hits the oracle counts, too. `now` is the moment in milliseconds."""

    def __init__(self, url: str, root: Path, site: Site, start_ms: int, workers: int) -> None:
        self.url = url
        self.root = root
        self.site = site
        self.now = start_ms
        self.oracle = Oracle(
            site.timezone, site.week_start, every_load=site.views == "every-load", cap=site.max_articles
        )
        self.client: Redis = open_client(url)
        self.reads = Reads(self.client)
        self._records = Records(self.client)
        self._sites = Sites(site, Site(id="other", hosts=("other.vn",)))
        live = self._sites.get(site.id)
        assert live is not None
        self.live = live
        self._metrics = Metrics(root / "metrics", None)
        self.workers: list[Worker] = []
        self._many = workers
        self._stack = AsyncExitStack()
        self._named: set[str] = set()

    async def __aenter__(self) -> Machine:
        await self.client.flushall()
        for _ in range(self._many):
            worker = self._worker()
            await worker.ingest.start()
            self._stack.push_async_callback(self._end, worker)
            self.workers.append(worker)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()
        await self.client.aclose()

    def _worker(self) -> Worker:
        journal = OpenJournal.open(
            self.root, max_bytes=MAX_BYTES, keep_seconds=KEEP_SECONDS, fsync=False, above=self.now
        )
        sites = cast(SiteDirectory, self._sites)

        def clock() -> int:
            return self.now

        positions = Positions(journal.writer)
        stats = Stats(self.reads, clock, self.root / "last", journal.number, positions)
        replay = Replay(
            self.root, Committer(self.url), self.reads, lambda site: numbering(sites.get(site), clock()),
            Limits(MAX_BYTES, KEEP_SECONDS),
        )  # fmt: skip
        applier = Applier(
            positions, Committer(self.url), replay,
            Answering(stats, Known(self._records.registered, stats), self._metrics, sites, clock,
            self._records.changes.tell),
            self._metrics, clock, sites, 250, 255,
        )  # fmt: skip
        return Worker(Ingest(Patient(), journal, positions, applier, self._metrics, clock), applier, replay, positions)

    @staticmethod
    async def _end(worker: Worker) -> None:
        await worker.ingest.stop()
        await worker.replay.close()

    # What happens ----------------------------------------------------------------------------------------------------

    @property
    def day(self) -> Day:
        return self.live.calendar.day_at(self.now)

    async def hit(self, worker: int, person: str, article: str = "/a", hit_id: str = "") -> bool:
        """A hit reaches a worker and is acknowledged; returns whether it was counted at once (200)."""
        waiting = self.workers[worker].ingest.gathering(self.live, self.day, self.now)
        self._add(waiting, person, article, hit_id)
        outcome = await waiting.future
        self.oracle.take(Hit(self.now, person, article, hit_id))
        return outcome.committed is not None

    async def beat(self, worker: int, person: str) -> None:
        """A heartbeat reaches a worker, and travels with the next turn."""
        token, old = self._tokens(person)
        ingest = self.workers[worker].ingest
        ingest.beat(self.live, self.day, token, old, self.now)
        self.oracle.take(Beat(self.now, person))
        other = self._sites.get("other")
        assert other is not None
        carrying = ingest.gathering(other, other.calendar.day_at(self.now), self.now)
        carrying.add(self.now, bytes(8), bytes(8), b"", b"", article_id("/"), b"")
        await carrying.future

    def leave_behind(self, *hits: tuple[str, str, str]) -> None:
        """A worker has journalled and acknowledged hits (person, article, hit id), and is killed."""
        journal = OpenJournal.open(
            self.root, max_bytes=MAX_BYTES, keep_seconds=KEEP_SECONDS, fsync=False, above=self.now
        )
        slot = Slot(journal.directory)
        slot.scan()
        newest = slot.newest.get(self.site.id)
        waiting = Gathering(self.site, self.day)
        for person, article, hit_id in hits:
            self._add(waiting, person, article, hit_id)
            self.oracle.take(Hit(self.now, person, article, hit_id))
        journal.append([encode(waiting.close(*(newest or (0, 0)), self.now))])
        journal.close()

    async def adopt(self, worker: int) -> None:
        """Do a worker's job of looking after slots without a process."""
        each = self.workers[worker]
        if each.applier.link.commits:
            try:
                await each.replay.adopt(each.positions, each.applier.note_replayed, self.now)
            except StoreUnavailable:  # its connection broke when the store was lost: a second later it opens another
                await each.replay.adopt(each.positions, each.applier.note_replayed, self.now)

    async def copy(self) -> Copy:
        """Everything in the store, with the moments at which it is forgotten."""
        client: Any = self.client
        return {name: (await client.dump(name), max(0, await client.pexpiretime(name))) for name in await client.keys()}

    async def lose(self, copy: Copy) -> None:
        """The store comes back as it was, and all connections break."""
        async with self.client.pipeline(transaction=True) as pipe:  # nobody commits in between
            pipe.flushall()
            for name, (data, until_ms) in copy.items():
                pipe.restore(name, until_ms, data, absttl=True)
            await pipe.execute()
        await self.client.client_kill_filter(_type="normal", skipme=True)

    async def pass_time(self, pause_ms: int) -> None:
        """Set the clock ahead. Within a minute whoever knows that the store lacks something has tried again: what he
        has journalled is not applied half an hour late, as it would be here."""

        async def tried() -> bool:
            return all(worker.applier.link.answers_in_time and not worker.positions.behind for worker in self.workers)

        if pause_ms >= MINUTE_MS:
            await until(tried, "everybody has tried again")
        self.now += pause_ms

    async def settle(self) -> None:
        """Wait until every worker says that the store has everything."""

        async def settled() -> bool:
            for worker in self.workers:
                await worker.replay.check(worker.positions)
            return all(worker.settled for worker in self.workers)

        await until(settled, "the store has everything")
        for number in range(len(self.workers)):
            await self.adopt(number)

    # What is left ----------------------------------------------------------------------------------------------------

    async def check(self) -> None:
        """Compare everything that the store shows with the oracle."""
        counted, site, day = self.oracle.count(), self.site.id, self.day
        assert await dated(self.client, site, "visits") == dict(counted.visits)
        assert await dated(self.client, site, "views") == dict(counted.views)
        assert await dated(self.client, site, "hits") == dict(counted.hits)
        assert await hours(self.client, site) == dict(counted.hours)
        for name, top in counted.top.items():
            if name == "all" or len(name) == len(day.date):
                key = keys.articles(site) if name == "all" else keys.articles_of_day(site, name)
                found: Any = await self.client.hgetall(key)
                assert {article: int(n) for article, n in found.items()} == {
                    article_id(article): n for article, n in top.items()
                }, name
        found_counts = await self.reads.counts(site, day, self.now)
        assert found_counts.online == counted.online(self.now)
        assert await self.reads.uniques(site, day) == len(counted.people.get(day.date, ()))
        for worker in self.workers:
            assert worker.applier.gaps == 0

    async def _numbers(self, key: str) -> dict[str, int]:
        found: Any = await self.client.hgetall(key)
        return {name.decode(): int(n) for name, n in found.items()}

    def _add(self, waiting: Gathering, person: str, article: str, hit_id: str) -> None:
        token, old = self._tokens(person)
        entry = b"" if article in self._named else encode_entry(Entry(article, f"Title of {article}"))
        digest = hit_id_digest(hit_id) if hit_id else b""
        waiting.add(self.now, token, token, old, digest, article_id(article), entry)

    def _tokens(self, person: str) -> tuple[bytes, bytes]:
        day = self.day
        near = self.now - day.start_ms < counting.VISIT_GAP_MS
        return self._token(day.date, person), self._token(day.yesterday, person) if near else b""

    def _token(self, date: str, person: str) -> bytes:
        """The person's token of a day: its salt is the date, so that every day has tokens of its own."""
        salt = counting.salted(date.encode().ljust(32, b"-"))
        return counting.visitor_token(salt, self.site.id, person, b"agent", "")


async def lived(machine: Machine, seconds: float = 50) -> None:
    """Bring everything to its end and compare, within a time."""
    await asyncio.wait_for(machine.settle(), seconds)
    await machine.check()
