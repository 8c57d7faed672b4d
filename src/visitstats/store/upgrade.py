"""Brings a store to this program's schema: forward only, in pieces, site by site.

It runs at a start, before anything is counted. Each site is converted in one transaction, which removes the old form: a
run that broke off is continued by the next one, two hosts that start at once convert each site once, and a host that
comes late finds nothing to do. `core.schema` says what each number stands for.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

import msgspec
from redis.asyncio import Redis
from redis.exceptions import ResponseError, WatchError

from visitstats.core.counting import QUARTER_MS
from visitstats.core.entries import FACTS, Entry, Standing, decode, encode, fitting
from visitstats.core.periods import Calendar
from visitstats.core.schema import OLDEST_SCHEMA, SCHEMA_NUMBER
from visitstats.store import keys
from visitstats.store.client import translated
from visitstats.store.history import UNKNOWN_HOUR
from visitstats.store.records import Records
from visitstats.store.schema import refuse_cluster

PAGE = 1000
MOST_QUARTERS = 366 * 24 * 4
_APPEND = b"""#!lua
-- Append ids (ARGV[2]) to the numbers of articles (KEYS[1]), if these are ARGV[1] bytes long and the site's counts
-- (KEYS[2], KEYS[3]) are still those of schema 2.
if redis.call('EXISTS', KEYS[2], KEYS[3]) == 0 or redis.call('STRLEN', KEYS[1]) ~= tonumber(ARGV[1]) then
  return 0
end
redis.call('SETRANGE', KEYS[1], ARGV[1], ARGV[2])
return 1
"""

_REPLACE = b"""#!lua
-- Of a hash KEYS[1], set each field ARGV[3i-2] that is ARGV[3i-1] to ARGV[3i].
for i = 1, #ARGV, 3 do
  if redis.call('HGET', KEYS[1], ARGV[i]) == ARGV[i + 1] then
    redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 2])
  end
end
"""

Progress = Callable[[str, int, int], None]
"""Is called with what is being done, how much of it is done, and how much there is."""


async def upgrade_store(client: Redis, now_ms: int, progress: Progress = lambda what, done, of: None) -> bool:
    """Bring a store of an older schema to this program's; False when there is nothing to do. Raises StoreUnavailable,
    after which it may be called again, and StoreUnfit."""
    await refuse_cluster(client)
    found: Any = None
    with translated(), suppress(ResponseError):  # a key of another type: the check at the start refuses it
        found = await client.get(keys.SCHEMA)
    if found is None or not found.isdigit() or not OLDEST_SCHEMA <= int(found) < SCHEMA_NUMBER:
        return False
    sites = await _sites_of_schema_2(client)
    for done, site in enumerate(sites):
        progress("sites", done, len(sites))
        await _number_articles(client, site, progress)
        await _judge_entries(client, site)
        while not await _move_counts(client, site, now_ms):
            pass  # another host was quicker
    with translated():
        await client.set(keys.SCHEMA, SCHEMA_NUMBER)
    progress("sites", len(sites), len(sites))
    return True


async def _sites_of_schema_2(client: Redis) -> list[str]:
    found = set()
    with translated():
        async for name in client.scan_iter(match="vs:{*}:*", count=PAGE):
            site, _, rest = name.decode("utf-8", "replace")[4:].partition("}:")
            if rest in ("visits", "views", "uniques", "peaks") or rest.startswith("ignored:2"):
                found.add(site)
    return sorted(found)


async def _number_articles(client: Redis, site: str, progress: Progress) -> None:
    """Give numbers to all articles that were ever read, the oldest first."""
    script = client.register_script(_APPEND)
    name = keys.ids(site)
    with translated():
        dates = sorted([each.decode() async for each in client.scan_iter(match=keys.articles_of_day(site, "2*"))])
        known: set[bytes] = set()
        length = int(await client.strlen(name))
        for start in range(0, length, 8 * PAGE):
            piece: Any = await client.getrange(name, start, start + 8 * PAGE - 1)
            known |= {piece[n : n + 8] for n in range(0, len(piece), 8)}
        for done, source in enumerate([*dates, keys.articles(site)]):
            progress(f"articles of {site}", done, len(dates) + 1)
            async for ids in _fields(client, source):
                fresh = [each for each in dict.fromkeys(ids) if each not in known]
                known.update(fresh)
                if fresh and not await script(
                    keys=[name, f"vs:{{{site}}}:visits", f"vs:{{{site}}}:views"], args=[length, b"".join(fresh)]
                ):
                    return  # another host does it
                length += 8 * len(fresh)


async def _judge_entries(client: Redis, site: str) -> None:
    """Give each fact of an entry its standing, which schema 2 did not have. Facts that came with a baseline were
    imported. All others were said by readers for as long as the article is known: they count as agreed, and give way
    to what more readers say."""
    script = client.register_script(_REPLACE)
    cursor = 0
    with translated():
        while True:
            page: Any
            cursor, page = await client.hscan(keys.names(site), cursor, count=PAGE)
            ids: Any = list(page)
            bases = await client.hmget(keys.base(site), ids) if ids else []
            changed: list[Any] = []
            for article, base in zip(ids, bases, strict=True):
                with suppress(msgspec.DecodeError):  # damage: `verify` names it
                    entry = decode(page[article])
                    if base is None and not entry.standings:
                        changed += [article, page[article], encode(_agreed(entry))]
            if changed:
                await script(keys=[keys.names(site)], args=changed)
            if not cursor:
                return


def _agreed(entry: Entry) -> Entry:
    letters = (Standing.AGREED if getattr(entry, fact) else Standing.NONE for fact in FACTS)
    return fitting(msgspec.structs.replace(entry, standings="".join(letters)))


async def _fields(client: Redis, name: str) -> AsyncIterator[list[bytes]]:
    cursor = 0
    while True:
        page: Any
        cursor, page = await client.hscan(name, cursor, count=PAGE)
        yield list(page)
        if not cursor:
            return


async def _move_counts(client: Redis, site: str, now_ms: int) -> bool:
    """Write the dated counts of a site as schema 3 has them, and remove the old ones; False when somebody else did at
    the same moment."""
    mine = f"vs:{{{site}}}:"
    with translated():
        old = {kind: f"{mine}{kind}" for kind in ("visits", "views", "uniques", "peaks")}
        ignored = sorted([each.decode() async for each in client.scan_iter(match=f"{mine}ignored:2*-*-*")])
        record = (await Records(client).sites()).get(site)
        calendar = Calendar(record.timezone if record else "Asia/Ho_Chi_Minh")
        async with client.pipeline() as pipe:
            await pipe.watch(*old.values(), *ignored)
            writes: dict[str, Any] = {}
            days: set[str] = set()

            def put(place: tuple[str, str], value: Any) -> None:
                writes.setdefault(place[0], {})[place[1]] = value

            oldest = calendar.day_at(now_ms - keys.HOURS_LIFE_MS).date
            for kind in ("visits", "views"):
                for name, n in (await _hash(pipe, old[kind])).items():
                    put(keys.count_at(site, kind, name), n)
                    if len(name) == len("2026-11-24"):
                        days.add(name)
                        if name > oldest:
                            put((keys.hours(site, name), f"{kind}:{UNKNOWN_HOUR}"), n)
            for name, n in (await _hash(pipe, old["uniques"])).items():
                put((keys.uniques(site, name[:4]), name), n)
            peaks: Any = await pipe.zrange(old["peaks"], 0, -1, withscores=True)
            for name, score in peaks:
                day = calendar.day_named(name.decode())
                put((keys.peaks(site, day.year), day.date), f"{int(score)} {day.start_ms}")
            for source in ignored:
                day_name = source.rpartition(":")[2]
                days.add(day_name)
                for reason, n in (await _hash(pipe, source)).items():
                    put((keys.ignored(site, day_name[:7]), f"{day_name[8:]}:{reason}"), n)
                    if day_name > oldest:
                        put((keys.hours(site, day_name), f"ignored:{UNKNOWN_HOUR}:{reason}"), n)
            ran = _quarters(calendar, days)
            kept: Any = await pipe.mget([keys.ran(year) for year in ran]) if ran else []
            pipe.multi()  # type: ignore[no-untyped-call]
            for key, fields in writes.items():
                pipe.hset(key, mapping=fields)
                named = keys.parse(key)
                if named is not None and named.kind.word == "hours":
                    pipe.expireat(key, (calendar.day_named(named.words[0]).end_ms + keys.HOURS_LIFE_MS) // 1000)
            for (year, bits), before in zip(ran.items(), kept, strict=True):
                pipe.set(keys.ran(year), _either(bytes(bits), before or b""))
            pipe.unlink(*old.values(), *ignored, f"{mine}lease:close-days")
            try:
                await pipe.execute()
            except WatchError:
                return False
    return True


async def _hash(pipe: Any, name: str) -> dict[str, bytes]:
    found: dict[Any, Any] = await pipe.hgetall(name)
    return {field.decode(): value for field, value in found.items()}


def _quarters(calendar: Calendar, days: set[str]) -> dict[int, bytearray]:
    """The quarter hours of all days on which something was counted: schema 2 has no record of when the service ran, so
    it is taken to have run on these days."""
    found: dict[int, bytearray] = {}
    for name in sorted(days):
        day = calendar.day_named(name)
        for moment in range(day.start_ms, day.end_ms, QUARTER_MS):
            year, place = keys.quarter_of(moment)
            bits = found.setdefault(year, bytearray(MOST_QUARTERS // 8))
            bits[place // 8] |= 0x80 >> place % 8
    return found


def _either(one: bytes, other: bytes) -> bytes:
    length = max(len(one), len(other))
    bits = int.from_bytes(one.ljust(length, b"\0"), "big") | int.from_bytes(other.ljust(length, b"\0"), "big")
    return bits.to_bytes(length, "big")
