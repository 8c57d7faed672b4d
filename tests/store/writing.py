"""Writers for the tests: people read articles, and their hits become batches as in a worker, without a journal."""

from __future__ import annotations

from hashlib import blake2b

import msgspec
from redis.asyncio import Redis

from visitstats.core import counting
from visitstats.core.batch import Batch, ChangeRecord, Gathering, Record, Said, hit_id_digest
from visitstats.core.entries import Entry
from visitstats.core.entries import encode as encode_entry
from visitstats.core.keys import article_id
from visitstats.core.periods import Calendar, Day
from visitstats.core.sites import Site
from visitstats.store.commit import Changed, Committed, Committer, Numbering, Result, Work

# Far ahead of the server's clock, so that nothing expires during a test.
CALENDAR = Calendar("Asia/Ho_Chi_Minh")
DAY = CALENDAR.day_named("2036-11-24")
NOON = DAY.start_ms + 12 * 3600 * 1000
MINUTE = 60 * 1000
SITE = Site(id="portal", hosts=("portal.vn",))
WRITER = "0123456789abcdef0123456789abcdef"


def token(site: Site, day_name: str, person: str) -> bytes:
    """The person's token of a day: its salt is the date, so that every day has tokens of its own."""
    return counting.visitor_token(counting.salted(day_name.encode().ljust(32, b"-")), site.id, person, b"agent", "")


def old_token(site: Site, day: Day, person: str, moment: int) -> bytes:
    near = moment - day.start_ms < counting.VISIT_GAP_MS
    return token(site, day.yesterday, person) if near else b""


def entry_of(article: str) -> bytes:
    return encode_entry(Entry(article, f"Title of {article}"))


def voice_of(network: str, article: str = "/a") -> bytes:
    """What a record says of a network: one byte for it at the article, four for it on the day."""
    digest = blake2b(network.encode(), digest_size=4).digest()
    return blake2b(article.encode() + network.encode(), digest_size=1).digest() + digest


def gather(
    waiting: Gathering,
    moment: int,
    person: str,
    article: str = "/a",
    hit_id: str = "",
    *,
    named: bool = True,
    says: Entry | None = None,
    network: str = "",
    said: Said = Said.STRANGER,
) -> int:
    """Add a person's hit to a batch, as the edge does. It says of the article what `says` says, for a network."""
    site, day = waiting.site, waiting.day
    mine = token(site, day.date, person)
    return waiting.add(
        moment,
        mine,
        mine,
        old_token(site, day, person, moment),
        hit_id_digest(hit_id) if hit_id else b"",
        article_id(article),
        encode_entry(says) if says else entry_of(article) if named else b"",
        voice_of(network, article) if network else b"",
        said,
    )


def beats(waiting: Gathering, moment: int, *people: str) -> None:
    """Add people's heartbeats to a batch, as the edge does."""
    site, day = waiting.site, waiting.day
    for person in people:
        waiting.beat(moment, token(site, day.date, person), old_token(site, day, person, moment))


def batch_of(
    *hits: tuple[int, str, str], site: Site = SITE, previous: int = 0, day: Day = DAY, total: int = 0
) -> Batch:
    """A batch of (moment, person, article) hits of one day, behind a record with which `total` were journalled."""
    waiting = Gathering(site, day)
    for moment, person, article in hits:
        gather(waiting, moment, person, article)
    return waiting.close(previous, total, day.start_ms)


def numbering(now: int = NOON, calendar: Calendar = CALENDAR, *, box_views: bool = False) -> Numbering:
    return Numbering(calendar.day_at(now), now, box_views)


async def commit_one(
    committer: Committer, sequence: int, record: Record, numbers: Numbering | None = None, writer: str = WRITER
) -> Result:
    [result] = await committer.commit([Work(writer, sequence, record.previous, record, numbers or numbering())])
    return result


async def commit(
    committer: Committer, sequence: int, batch: Batch, numbers: Numbering | None = None, writer: str = WRITER
) -> Committed:
    """Commit a batch that is expected to be taken."""
    result = await commit_one(committer, sequence, batch, numbers, writer)
    assert isinstance(result, Committed), result
    return result


class Writer:
    """A writer of a site without a journal: it numbers its records, and commits each at once."""

    def __init__(self, url: str, site: Site = SITE, writer: str = WRITER) -> None:
        self.committer = Committer(url)
        self.site = site
        self.writer = writer
        self.sequence = 0
        self.total = 0

    async def count(self, waiting: Gathering, numbers: Numbering | None = None) -> Committed:
        """Commit what was gathered."""
        batch = waiting.close(self.sequence, self.total, waiting.day.start_ms)
        self.sequence, self.total = self.sequence + 1, batch.total
        return await commit(self.committer, self.sequence, batch, numbers, self.writer)

    async def read(self, day: Day, *hits: tuple[int, str, str]) -> Committed:
        """Commit (moment, person, article) hits of a day."""
        waiting = Gathering(self.site, day)
        for moment, person, article in hits:
            gather(waiting, moment, person, article)
        return await self.count(waiting)

    async def change(self, change: ChangeRecord) -> Changed:
        """Commit a change of a person's: a recorder as `changes.merges` and `changes.baselines` want one."""
        record = msgspec.structs.replace(change, previous=self.sequence, total=self.total, at_ms=NOON)
        self.sequence += 1
        result = await commit_one(self.committer, self.sequence, record, writer=self.writer)
        assert isinstance(result, Changed), result
        return result

    async def close(self) -> None:
        await self.committer.close()


async def names_in(client: Redis) -> list[str]:
    """The name of every key in the store."""
    return [key.decode() if isinstance(key, bytes) else key for key in await client.keys()]
