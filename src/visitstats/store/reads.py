"""Reading numbers. Nothing in here writes a count, and no call holds the server for long."""

import logging
from typing import Any

import msgspec
from redis.asyncio import Redis

from visitstats.core import counting
from visitstats.core.batch import OTHER_ID
from visitstats.core.entries import Entry
from visitstats.core.entries import decode as decode_entry
from visitstats.core.errors import StoreUnavailable, StoreUnfit
from visitstats.core.keys import article_id
from visitstats.core.periods import Day
from visitstats.store import keys
from visitstats.store.client import translated, why_unfit
from visitstats.store.commit import online_score

log = logging.getLogger(__name__)

PAGE = 1000
"""How many members one command reads: a few hundred µs on the server."""


class Counts(msgspec.Struct, frozen=True):
    """A site's counts, in the order of `counting.counters_of` the day; and the writer's watermark in that ledger which
    is behind."""

    online: int
    visits: list[int]
    views: list[int]
    watermark: int


class Row(msgspec.Struct, frozen=True):
    """One article in a list."""

    entry: Entry
    views: int


class Reads:
    """The read side of the store. Every method may raise StoreUnavailable."""

    def __init__(self, client: Redis) -> None:
        self._client = client

    async def counts(self, site_id: str, day: Day, now_ms: int, writer: str = "") -> Counts:
        """Read the counts of a site on a day (the day of `now_ms`), and a writer's watermark with them."""
        names = counting.counters_of(day)
        with translated():
            async with self._client.pipeline(transaction=False) as pipe:
                for when in (day.date, day.yesterday):
                    pipe.zcount(keys.seen(site_id, when, day.end_ms).name, online_score(now_ms), "+inf")
                pipe.hmget(keys.visits(site_id), names)
                pipe.hmget(keys.views(site_id), names)
                pipe.hget(keys.audience_watermark(site_id, writer), "s")
                pipe.hget(keys.articles_watermark(site_id, writer), "s")
                today, yesterday, visits, views, *marks = await pipe.execute()
        try:
            return Counts(
                today + yesterday,
                [int(n or 0) for n in visits],
                [int(n or 0) for n in views],
                min(int(mark or 0) for mark in marks),
            )
        except ValueError as error:
            raise StoreUnavailable(f"a count of site {site_id} is no number: {error}") from error

    async def watermarks(self, sites: list[str], writer: str) -> dict[str, int]:
        """Return, per site, the sequence up to which both ledgers hold a writer's batches."""
        with translated():
            async with self._client.pipeline(transaction=False) as pipe:
                for site_id in sites:
                    pipe.hget(keys.audience_watermark(site_id, writer), "s")
                    pipe.hget(keys.articles_watermark(site_id, writer), "s")
                found = await pipe.execute()
        return {site_id: min(int(found[2 * n] or 0), int(found[2 * n + 1] or 0)) for n, site_id in enumerate(sites)}

    async def views(self, site_id: str, article_keys: list[str]) -> dict[str, int]:
        """Return the views of all time of articles; 0 for one that was never read."""
        if not article_keys:
            return {}
        members: Any = [article_id(key) for key in article_keys]
        with translated():
            scores = await self._client.zmscore(keys.top_all(site_id), members)
        return {key: int(score or 0) for key, score in zip(article_keys, scores, strict=True)}

    async def top(self, site_id: str, day: Day, period: str, limit: int, offset: int = 0) -> list[Row]:
        """Return the most read articles of a period (day, week, month, all) of the day, the most read first. One
        without a view, as every article that was merged into another, is not among them."""
        name = {
            "day": keys.top_day(site_id, day.date, day.end_ms).name,
            "week": keys.top_week(site_id, day.week[0], day.end_ms).name,
            "month": keys.top_month(site_id, day.month),
            "all": keys.top_all(site_id),
        }[period]
        rows: list[Row] = []
        while len(rows) < limit:
            start = offset + len(rows)
            step = min(PAGE, limit - len(rows))
            with translated():
                listed: list[Any] = await self._client.zrange(name, start, start + step - 1, desc=True, withscores=True)
                found = [(member, score) for member, score in listed if score > 0]
                if not found:
                    break
                entries: list[Any] = await self._client.hmget(keys.names(site_id), [member for member, _ in found])
            rows += [
                Row(_entry(member, entry), int(score)) for (member, score), entry in zip(found, entries, strict=True)
            ]
            if len(found) < len(listed):
                break
        return rows

    async def article_count(self, site_id: str) -> int:
        """Return how many articles a site has, as `max_articles` means it: with a view, and without "(other)"."""
        with translated():
            async with self._client.pipeline(transaction=False) as pipe:
                pipe.zcount(keys.top_all(site_id), "(0", "+inf")
                pipe.zscore(keys.top_all(site_id), OTHER_ID)
                read, other = await pipe.execute()
        return int(read) - bool(other)

    async def has_article(self, site_id: str, article: bytes) -> bool:
        """Say whether a site has an article (its id)."""
        with translated():
            return await self._client.zscore(keys.top_all(site_id), article) is not None

    async def ignored(self, site_id: str, day: Day) -> dict[str, int]:
        """Return the beacons of a day that were not counted, by reason (rule 8)."""
        found = await self._reasons(site_id, day)
        return {reason: n for reason, n in found.items() if reason not in counting.NOTES}

    async def noted(self, site_id: str, day: Day) -> dict[str, int]:
        """Return what is told of a day's beacons beside the reasons (`counting.NOTES`)."""
        found = await self._reasons(site_id, day)
        return {note: found.get(note, 0) for note in sorted(counting.NOTES)}

    async def search_engines(self, site_id: str, day: Day) -> int:
        """Return how many beacons of a day were those of search engines' bots; they are a part of the bots."""
        with translated():
            found: Any = await self._client.hget(
                keys.ignored(site_id, day.date, day.end_ms).name, counting.SEARCH_ENGINE
            )
        return int(found or 0)

    async def _reasons(self, site_id: str, day: Day) -> dict[str, int]:
        with translated():
            found: dict[Any, Any] = await self._client.hgetall(keys.ignored(site_id, day.date, day.end_ms).name)
        return {reason.decode(): int(n) for reason, n in found.items()}

    async def uniques(self, site_id: str, day: Day) -> int:
        """Return the estimated unique visitors of a day (rule 9)."""
        return (await self.uniques_of(site_id, [day]))[day.date]

    async def uniques_of(self, site_id: str, days: list[Day]) -> dict[str, int]:
        """Return the estimates of several days, by date: of a day its sketches', or the one that was kept of them."""
        with translated():
            async with self._client.pipeline(transaction=False) as pipe:
                pipe.hmget(keys.uniques(site_id), [day.date for day in days])
                for day in days:
                    # One key each: then the server answers from the sketch's cached cardinality.
                    for sketch in keys.sketches(site_id, day.date, day.end_ms):
                        pipe.pfcount(sketch.name)
                kept, *counts = await pipe.execute()
        sketched = [sum(counts[n : n + keys.SKETCHES]) for n in range(0, len(counts), keys.SKETCHES)]
        return {day.date: n or int(old or 0) for day, n, old in zip(days, sketched, kept, strict=True)}

    # What a hit would meet: for the explanation of one ----------------------------------------------------------------

    async def salt(self, site_id: str, day: Day) -> bytes | None:
        """Return the salt of a site-day if there is one."""
        with translated():
            salt: Any = await self._client.get(keys.salt(site_id, day.date, day.end_ms).name)
        return salt if isinstance(salt, bytes) else None

    async def presence(self, site_id: str, day: Day, token: bytes) -> counting.Presence | None:
        """Return what is known of a visitor of a day."""
        with translated():
            score: Any = await self._client.zscore(keys.seen(site_id, day.date, day.end_ms).name, token)
        return None if score is None else counting.Presence(*divmod(int(score), counting.SLOTS))

    async def was_delivered(self, site_id: str, moment_ms: int, digest: bytes) -> bool:
        """Whether a hit id is known, around a moment."""
        window = moment_ms // counting.SLOT_MS
        with translated():
            async with self._client.pipeline(transaction=False) as pipe:
                for each in (window - 1, window, window + 1):
                    pipe.sismember(keys.hit_ids(site_id, each).name, digest)  # type: ignore[arg-type]
                return any(await pipe.execute())

    async def was_read(self, site_id: str, day: Day, slot: int, reading: bytes) -> bool:
        """Whether a visitor has read an article in the visit that began in a half hour of a day (rule 5)."""
        with translated():
            name: str = keys.read(site_id, day.date, slot)
            return bool(await self._client.sismember(name, reading))  # type: ignore[arg-type]

    async def check_fit(self) -> list[str]:
        """Refuse a store that would lose or invent counts (StoreUnfit); return warnings about one that might. Takes one
        round trip."""
        with translated():
            async with self._client.pipeline(transaction=False) as pipe:
                for section in ("server", "memory", "persistence"):
                    pipe.info(section)
                server, memory, persistence = await pipe.execute()
        version = str(server.get("valkey_version") or server.get("redis_version", ""))
        if reason := why_unfit(version, str(memory.get("maxmemory_policy", ""))):
            raise StoreUnfit(reason)
        # While it reads its append-only file it says that it has none.
        loading = any(int(persistence.get(name, 0)) for name in ("loading", "async_loading"))
        if loading or int(persistence.get("aof_enabled", 0)):
            return []
        return ["the store has no append-only file (appendonly no): what it loses is healed from the journal alone"]


def _entry(member: bytes, data: bytes | None) -> Entry:
    if data is not None:
        try:
            return decode_entry(data)
        except msgspec.DecodeError as error:
            log.error("the dictionary entry of article %s is damaged: %s", member.hex(), error)
    return Entry(key=f"?{member.hex()}")
