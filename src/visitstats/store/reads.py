"""Reads numbers. Nothing in here writes a count, and no call holds the server for long."""

import logging
from collections.abc import AsyncIterator
from datetime import date
from typing import Any, NamedTuple

import msgspec
from redis.asyncio import Redis

from visitstats.core import counting
from visitstats.core.batch import OTHER_ID
from visitstats.core.entries import Claim, Entry, claims_in
from visitstats.core.entries import decode as decode_entry
from visitstats.core.errors import StoreUnavailable, StoreUnfit
from visitstats.core.keys import article_id
from visitstats.core.numbers import History
from visitstats.core.periods import ALL_TIME, Day
from visitstats.core.schema import SCHEMA_NUMBER
from visitstats.store import keys
from visitstats.store.client import translated, why_unfit
from visitstats.store.counts import dated_of
from visitstats.store.schema import claim_store

log = logging.getLogger(__name__)

PAGE = 1000
"""How many members one command reads: a few hundred µs on the server."""
MONTHS_PAGE = 12
"""How many months one round trip reads: each is a command of some 10 µs on the server."""


class Mark(NamedTuple):
    """A watermark: the sequence of the writer's last record that a ledger has, and how many of its hits."""

    sequence: int
    total: int


NO_MARK = Mark(0, 0)
Marks = dict[str, dict[str, Mark]]
"""Site → writer → watermark."""


class Counts(msgspec.Struct, frozen=True):
    """A site's counts, in the order of `core.numbers.counters_of` the day; and a writer's watermark."""

    online: int
    visits: list[int]
    views: list[int]
    mark: Mark


class Reads:
    """The read side of the store. Every method may raise StoreUnavailable."""

    def __init__(self, client: Redis) -> None:
        self._client = client

    async def counts(self, site_id: str, day: Day, now_ms: int, writer: str = "") -> Counts:
        """Read the counts of a site on a day (the day of `now_ms`), and a writer's watermark with them."""
        asked = dated_of(site_id, day, "visits", "views")
        with translated():
            async with self._client.pipeline(transaction=False) as pipe:
                pipe.get(keys.online(site_id))
                pipe.hget(keys.marks(site_id), writer)
                for key, fields in zip(asked.keys, asked.fields, strict=True):
                    pipe.hmget(key, fields)
                ring, mark, *found = await pipe.execute()
        try:
            counts = asked.counts(found)
            many = len(counts) // 2
            return Counts(counting.online_in(ring or b"", now_ms), counts[:many], counts[many:], mark_of(mark))
        except ValueError as error:
            raise StoreUnavailable(f"a count of site {site_id} is no number: {error}") from error

    async def history(self, site_id: str, kind: str) -> History:
        """Read what the past days of a site say, of its visits or its views (`kind`), month by month."""
        with translated():
            years: list[Any] = await self._client.hkeys(keys.counts(site_id))
            async with self._client.pipeline(transaction=False) as pipe:
                for layer in keys.LAYERS:
                    pipe.hget(*keys.count_at(site_id, kind, ALL_TIME, layer))
                all_by_hand = sum(int(n or 0) for n in await pipe.execute())
        by_hand: dict[str, int] = {}
        months = sorted(
            f"{year}-{month:02}"
            for year in {field.rpartition(b":")[2].decode() for field in years if field.startswith(kind.encode())}
            if year.isdigit()
            for month in range(1, 13)
        )
        found = History()
        for start in range(0, len(months), MONTHS_PAGE):
            piece = months[start : start + MONTHS_PAGE]
            with translated():
                async with self._client.pipeline(transaction=False) as pipe:
                    for month in piece:
                        pipe.hgetall(keys.days(site_id, month))
                        for layer in keys.LAYERS:
                            pipe.hgetall(keys.layer_days(site_id, layer, month))
                    pages = await pipe.execute()
            try:
                of_days, *of_layers = (
                    {
                        day: int(n)
                        for month, page in zip(piece, pages[which :: 1 + len(keys.LAYERS)], strict=True)
                        for field, n in page.items()
                        if field.startswith(f"{kind}:".encode())
                        and _is_date(day := f"{month}-{field.rpartition(b':')[2].decode()}")
                    }
                    for which in range(1 + len(keys.LAYERS))
                )
                of_layer: dict[str, int] = {}
                for each in of_layers:
                    for day, n in each.items():
                        of_layer[day] = of_layer.get(day, 0) + n
                by_hand |= of_layer
                found = found.with_days((day, n - of_layer.get(day, 0)) for day, n in of_days.items())
            except ValueError as error:
                raise StoreUnavailable(f"a count of site {site_id} is no number: {error}") from error
        if all_by_hand:
            by_hand[ALL_TIME] = all_by_hand
        return msgspec.structs.replace(found, by_hand={day: n for day, n in by_hand.items() if n})

    async def marks(self, sites: list[str]) -> Marks:
        """Return the watermarks of all writers in the ledgers of these sites. A site whose key was written by another
        program is left out, so that only this site waits."""
        with translated():
            async with self._client.pipeline(transaction=False) as pipe:
                for site_id in sites:
                    pipe.hgetall(keys.marks(site_id))
                found = await pipe.execute(raise_on_error=False) if sites else []
            if error := next((each for each in found if isinstance(each, Exception) and not _is_of_a_key(each)), None):
                raise error
        return {
            site_id: {writer.decode(): mark_of(mark) for writer, mark in marks.items()}
            for site_id, marks in zip(sites, found, strict=True)
            if not isinstance(marks, Exception)
        }

    # Articles --------------------------------------------------------------------------------------------------------

    async def views(self, site_id: str, article_keys: list[str]) -> dict[str, int]:
        """Return the views of all time of articles; 0 for one that was never read."""
        found = await self.views_of(site_id, [article_id(key) for key in article_keys], [])
        return dict(zip(article_keys, found, strict=True))

    async def views_of(self, site_id: str, articles: list[bytes], days: list[str]) -> list[int]:
        """Return the views of articles (ids) on these days together, or of all time when there are none. At most PAGE
        articles are read by one command."""
        total = [0] * len(articles)
        names = [keys.articles_of_day(site_id, day) for day in days] or [keys.articles(site_id)]
        for start in range(0, len(articles), PAGE):
            piece: Any = articles[start : start + PAGE]
            with translated():
                async with self._client.pipeline(transaction=False) as pipe:
                    for name in names:
                        pipe.hmget(name, piece)
                    for counts in await pipe.execute():
                        for n, count in enumerate(counts, start):
                            total[n] += int(count or 0)
        return total

    async def scan_views(self, site_id: str, day: str = "") -> AsyncIterator[list[tuple[bytes, int]]]:
        """Yield the views of all articles (ids) on a day, or of all time, in pieces. An article may come twice."""
        name = keys.articles_of_day(site_id, day) if day else keys.articles(site_id)
        cursor = 0
        while True:
            page: Any
            with translated():
                cursor, page = await self._client.hscan(name, cursor, count=PAGE)
            yield [(article, int(count)) for article, count in page.items()]
            if not cursor:
                return

    async def entries(self, site_id: str, articles: list[bytes]) -> list[Entry]:
        """Return the dictionary entries of articles (ids)."""
        found: list[Entry] = []
        for start in range(0, len(articles), PAGE):
            piece: Any = articles[start : start + PAGE]
            with translated():
                entries: list[Any] = await self._client.hmget(keys.names(site_id), piece)
            found += [_entry(article, entry) for article, entry in zip(piece, entries, strict=True)]
        return found

    async def newest(self, site_id: str, most: int) -> list[bytes]:
        """Return the ids of the articles that became known last, at most so many, the newest last."""
        with translated():
            found: Any = await self._client.getrange(keys.ids(site_id), -8 * most, -1)
        return list(dict.fromkeys(found[n : n + 8] for n in range(0, len(found), 8)))

    async def claims(self, site_id: str, date: str) -> AsyncIterator[tuple[bytes, list[Claim]]]:
        """Yield what readers say of articles (ids) on a date; a damaged record is left out, and `verify` names it."""
        cursor = 0
        while True:
            with translated():
                page: Any
                cursor, page = await self._client.hscan(keys.claims(site_id, date), cursor, count=PAGE)
            for article, data in page.items():
                try:
                    found = claims_in(data)
                except msgspec.DecodeError:
                    continue
                yield article, found
            if not cursor:
                return

    async def claims_of(self, site_id: str, date: str, article: bytes) -> list[Claim]:
        """Return what readers say of one article (its id) on a date; nothing when that is damaged."""
        with translated():
            found: Any = await self._client.hget(keys.claims(site_id, date), article)
        try:
            return [] if found is None else claims_in(found)
        except msgspec.DecodeError:
            return []

    async def baseline_of(self, site_id: str, article: bytes) -> int:
        """Return an article's baseline, which is a part of its views."""
        with translated():
            found: Any = await self._client.hget(keys.base(site_id), article)
        return int(found or 0)

    async def article_count(self, site_id: str) -> int:
        """Return how many articles a site has, as `max_articles` means it: without "(other)"."""
        with translated():
            async with self._client.pipeline(transaction=False) as pipe:
                pipe.hlen(keys.articles(site_id))
                pipe.hexists(keys.articles(site_id), OTHER_ID)
                known, other = await pipe.execute()
        return int(known) - bool(other)

    async def has_article(self, site_id: str, article: bytes) -> bool:
        """Say whether a site has an article (its id)."""
        with translated():
            return bool(await self._client.hexists(keys.articles(site_id), article))

    # Beside the counts -----------------------------------------------------------------------------------------------

    async def ignored(self, site_id: str, day: Day) -> dict[str, int]:
        """Return the beacons of a day that were not counted, by reason (rule 8)."""
        found = await self._reasons(site_id, day)
        return {reason: n for reason, n in found.items() if reason not in counting.NOTES}

    async def noted(self, site_id: str, day: Day) -> dict[str, int]:
        """Return the day's counts that are no reasons (`counting.NOTES`)."""
        found = await self._reasons(site_id, day)
        return {note: found.get(note, 0) for note in sorted(counting.NOTES)}

    async def search_engines(self, site_id: str, day: Day) -> int:
        """Return how many beacons of a day were those of search engines' bots; they are a part of the bots."""
        with translated():
            name, field = keys.ignored(site_id, day.month), f"{day.date[8:]}:{counting.SEARCH_ENGINE}"
            found: Any = await self._client.hget(name, field)
        return int(found or 0)

    async def _reasons(self, site_id: str, day: Day) -> dict[str, int]:
        with translated():
            found: dict[Any, Any] = await self._client.hgetall(keys.ignored(site_id, day.month))
        mine = f"{day.date[8:]}:".encode()
        return {name.removeprefix(mine).decode(): int(n) for name, n in found.items() if name.startswith(mine)}

    async def uniques(self, site_id: str, day: Day) -> int:
        """Return the estimated unique visitors of a day (rule 9)."""
        return (await self.uniques_of(site_id, [day]))[day.date]

    async def uniques_of(self, site_id: str, days: list[Day]) -> dict[str, int]:
        """Return the estimates of several days, by date: from the day's sketches, or the estimate that was kept."""
        with translated():
            async with self._client.pipeline(transaction=False) as pipe:
                for day in days:
                    pipe.hget(keys.uniques(site_id, day.year), day.date)
                    # One key each: then the server answers from the sketch's cached cardinality.
                    for sketch in keys.sketches(site_id, day.date):
                        pipe.pfcount(sketch)
                replies = await pipe.execute()
        each = 1 + keys.SKETCHES
        # A late hit may have begun a sketch anew after its day's was gone: then the kept estimate is higher.
        return {
            day.date: max(int(replies[n] or 0), sum(replies[n + 1 : n + each]))
            for day, n in zip(days, range(0, len(replies), each), strict=True)
        }

    # What a hit would find in the store: for `explain` ----------------------------------------------------------------

    async def salt(self, site_id: str, day: Day) -> bytes | None:
        """Return the salt of a site-day if there is one."""
        with translated():
            salt: Any = await self._client.get(keys.salt(site_id, day.date, day.end_ms).name)
        return salt if isinstance(salt, bytes) else None

    async def presence(self, site_id: str, day: Day, token: bytes) -> counting.Presence | None:
        """Return what is known of a visitor of a day."""
        with translated():
            stored: Any = await self._client.hget(keys.seen(site_id, day.date), token)
        return None if stored is None else counting.decode_presence(stored)

    async def was_delivered(self, site_id: str, moment_ms: int, digest: bytes) -> bool:
        """Whether a hit id is known, around a moment."""
        half_hour = moment_ms // counting.HALF_HOUR_MS
        with translated():
            async with self._client.pipeline(transaction=False) as pipe:
                for each in (half_hour - 1, half_hour, half_hour + 1):
                    pipe.sismember(keys.hit_ids(site_id, each), digest)  # type: ignore[arg-type]
                return any(await pipe.execute())

    async def check_fit(self) -> list[str]:
        """Refuse a store that would lose or invent counts (StoreUnfit); return warnings about one that might. Takes one
        round trip."""
        with translated():
            async with self._client.pipeline(transaction=False) as pipe:
                for section in ("server", "memory", "persistence"):
                    pipe.info(section)
                pipe.get(keys.SCHEMA)
                # A node of a cluster refuses the key; its other answers say that it is such a node.
                *about, schema = await pipe.execute(raise_on_error=False)
            for each in about:
                if isinstance(each, Exception):
                    raise each
            server, memory, persistence = about
            version = str(server.get("valkey_version") or server.get("redis_version", ""))
            mode = str(server.get("redis_mode") or server.get("server_mode", ""))
            if reason := why_unfit(version, str(memory.get("maxmemory_policy", "")), mode):
                raise StoreUnfit(reason)
        if schema != b"%d" % SCHEMA_NUMBER:
            await claim_store(self._client)
        # While a server reads its append-only file, it answers that it has none.
        loading = any(int(persistence.get(name, 0)) for name in ("loading", "async_loading"))
        if loading or int(persistence.get("aof_enabled", 0)):
            return []
        return ["the store has no append-only file (appendonly no): what it loses is healed from the journal alone"]

    async def glance(self) -> bytes:
        """Look at what may change while a store runs, in one round trip: refuse it (StoreUnfit) when it may evict now,
        and return a value that differs after each change of a site. The rest is looked at on each new connection
        (`store.line`)."""
        with translated():
            async with self._client.pipeline(transaction=False) as pipe:
                pipe.info("memory")
                pipe.get(keys.SITES_VERSION)
                memory, version = await pipe.execute()
        if reason := why_unfit("", str(memory.get("maxmemory_policy", "")), ""):
            raise StoreUnfit(reason)
        return version or b""


def mark_of(text: bytes | None) -> Mark:
    """Read a watermark as the ledger has it; zeros for none."""
    sequence, _, total = (text or b"0:0").partition(b":")
    try:
        return Mark(int(sequence), int(total))
    except ValueError:
        return Mark(0, 0)  # another program wrote it: the script reports that


def _is_date(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def _entry(member: bytes, data: bytes | None) -> Entry:
    if data is not None:
        try:
            return decode_entry(data)
        except msgspec.DecodeError as error:
            log.error("the dictionary entry of article %s is damaged: %s", member.hex(), error)
    return Entry(key=f"?{member.hex()}")


def _is_of_a_key(error: Exception) -> bool:
    """Whether the store says that one key is of another type than we write."""
    return str(error).startswith("WRONGTYPE")
