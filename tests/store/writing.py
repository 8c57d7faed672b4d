"""Writers for the tests: people read articles, and their hits become batches as in a worker, without a journal."""

from __future__ import annotations

from redis.asyncio import Redis

from visitstats.core import counting
from visitstats.core.batch import Batch, Gathering, hit_id_digest
from visitstats.core.entries import Entry
from visitstats.core.entries import encode as encode_entry
from visitstats.core.keys import article_id
from visitstats.core.periods import Calendar, Day
from visitstats.core.sites import Site
from visitstats.store.commit import Committed, Committer, Gap, Heartbeats, Numbering, Refused, Work

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


def gather(
    waiting: Gathering, moment: int, person: str, article: str = "/a", hit_id: str = "", *, named: bool = True
) -> int:
    """Add a person's hit to a batch, as the edge does."""
    site, day = waiting.site, waiting.day
    mine = token(site, day.date, person)
    return waiting.add(
        moment,
        mine,
        mine,
        old_token(site, day, person, moment),
        hit_id_digest(hit_id) if hit_id else b"",
        article_id(article),
        entry_of(article) if named else b"",
    )


def batch_of(*hits: tuple[int, str, str], site: Site = SITE, previous: int = 0, day: Day = DAY) -> Batch:
    """A batch of (moment, person, article) hits of one day."""
    waiting = Gathering(site, day)
    for moment, person, article in hits:
        gather(waiting, moment, person, article)
    return waiting.close(previous, day.start_ms)


def numbering(now: int = NOON, calendar: Calendar = CALENDAR) -> Numbering:
    return Numbering(calendar.day_at(now), now)


async def commit_one(
    committer: Committer, sequence: int, batch: Batch, numbers: Numbering | None = None
) -> Committed | Gap | Refused:
    [result] = await committer.commit([Work(sequence, batch.previous, batch, numbers or numbering())])
    return result


async def commit(committer: Committer, sequence: int, batch: Batch, numbers: Numbering | None = None) -> Committed:
    """Commit a batch that is expected to be taken."""
    result = await commit_one(committer, sequence, batch, numbers)
    assert isinstance(result, Committed), result
    return result


async def beat(committer: Committer, site: Site, calendar: Calendar, moment: int, people: list[str]) -> None:
    day = calendar.day_at(moment)
    await committer.beat(
        [
            Heartbeats(
                site.id,
                day,
                [token(site, day.date, person) for person in people],
                [old_token(site, day, person, moment) for person in people],
                [moment] * len(people),
            )
        ]
    )


async def names_in(client: Redis) -> list[str]:
    """The name of every key in the store."""
    return [key.decode() if isinstance(key, bytes) else key for key in await client.keys()]
