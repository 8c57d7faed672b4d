"""Reads the store's keys as they are, for `visitstats verify`: in pieces, so that no command holds the server for long,
however large a site is. Nothing is written."""

from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import msgspec
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from visitstats.core.counting import NUMBERS_BASELINE
from visitstats.core.periods import ALL_TIME
from visitstats.store import keys
from visitstats.store.client import translated
from visitstats.store.closings import Closings
from visitstats.store.import_records import Imports
from visitstats.store.tiles import Tiles

PAGE = 500
"""How many fields one command reads: half a millisecond on the server, 0.7 for names of a million articles."""
KEYS = 250
"""How many keys one command looks at."""
KINDS_OF_COUNTS = ("visits", "views", "hits")
KINDS_OF_SUMS = (*KINDS_OF_COUNTS, "corrected")
KINDS_OF_AMOUNTS = ("visits", "views", "articles")
AT_ONCE = 5000
"""The most fields that are asked for in one transaction."""


class Found(NamedTuple):
    """A key as it is."""

    name: str
    type: str
    expires_at: int
    """Unix seconds; -1 for never."""


class Share(msgspec.Struct):
    """What the ledger holds of an article and of the articles that were merged into it, at one moment."""

    views: int = 0
    """Views of all time, with the baseline."""
    base: int = 0
    days: int = 0
    """Views of all days together, and corrections that have no date."""

    @property
    def right(self) -> bool:
        """Whether the parts add up to the views of all time."""
        return self.views - self.base == self.days


class Inspector:
    """Every method may raise StoreUnavailable."""

    def __init__(self, client: Redis) -> None:
        self._client = client
        self.tiles = Tiles(client)
        """Reads packed history."""
        self.closings = Closings(client)
        self.imports = Imports(client)
        """Reads closed months."""

    async def keys(self, site: str = "") -> AsyncIterator[list[Found]]:
        """Yield the keys of a site, or all of them, with types and ends of life. One may come twice."""
        cursor = 0
        while True:
            with translated():
                reply: Any = await self._client.scan(cursor, match=keys.of_site(site), count=KEYS)
                cursor, names = reply
                async with self._client.pipeline(transaction=False) as pipe:
                    for name in names:
                        pipe.type(name)
                        pipe.expiretime(name)
                    replies = await pipe.execute()
            found = [
                Found(name.decode("utf-8", "backslashreplace"), kind.decode(), expires)
                for name, kind, expires in zip(names, replies[::2], replies[1::2], strict=True)
            ]
            yield [each for each in found if each.type != "none"]
            if not cursor:
                return

    async def fields(self, name: str) -> AsyncIterator[dict[bytes, bytes]]:
        """Yield the fields of a hash. One may come twice when others are removed meanwhile."""
        cursor = 0
        while True:
            page: Any
            with translated():
                cursor, page = await self._client.hscan(name, cursor, count=PAGE)
            yield page
            if not cursor:
                return

    async def scores(self, name: str) -> AsyncIterator[list[tuple[bytes, float]]]:
        """Yield the members of a sorted set with their scores. One may come twice."""
        cursor = 0
        while True:
            page: Any
            with translated():
                cursor, page = await self._client.zscan(name, cursor, count=PAGE)
            yield page
            if not cursor:
                return

    async def members(self, name: str) -> AsyncIterator[list[bytes]]:
        """Yield the members of a set. One may come twice."""
        cursor = 0
        while True:
            page: Any
            with translated():
                cursor, page = await self._client.sscan(name, cursor, count=PAGE)
            yield page
            if not cursor:
                return

    async def text(self, name: str, most: int) -> tuple[int, bytes]:
        """Return the length of a string, and its first `most` bytes."""
        with translated():
            async with self._client.pipeline(transaction=False) as pipe:
                pipe.strlen(name)
                pipe.getrange(name, 0, most - 1)
                length, start = await pipe.execute()
        return length, start

    async def dated(self, site: str, months: list[str]) -> dict[str, dict[str, bytes]]:
        """Return the visits, views, hits and corrections of a site (by these names): of all years, of these months and
        their days, by date, month, year, "all" and "base". All at once, so that the numbers belong together."""
        names = [keys.counts(site), *(keys.days(site, month) for month in months)]
        return await self._dated(names, months, KINDS_OF_SUMS)

    async def layered(self, site: str, layer: str, months: list[str]) -> dict[str, dict[str, bytes]]:
        """Return the sums of a layer in the same way: visits, views, and views of articles."""
        names = [keys.layer(site, layer), *(keys.layer_days(site, layer, month) for month in months)]
        return await self._dated(names, months, KINDS_OF_AMOUNTS)

    async def beside(self, site: str, months: list[str]) -> dict[str, dict[str, int]]:
        """Return the sums of all layers together: the part that we have not counted ourselves."""
        found: dict[str, dict[str, int]] = {kind: {} for kind in KINDS_OF_AMOUNTS}
        for layer in keys.LAYERS:
            for kind, sums in (await self.layered(site, layer, months)).items():
                for when, value in sums.items():
                    found[kind][when] = found[kind].get(when, 0) + number(value)
        return found

    async def _dated(self, names: list[str], months: list[str], kinds: tuple[str, ...]) -> dict[str, dict[str, bytes]]:
        with translated():
            async with self._client.pipeline(transaction=True) as pipe:
                for name in names:
                    pipe.hgetall(name)
                years, *pages = await pipe.execute()
        found: dict[str, dict[str, bytes]] = {kind: {} for kind in kinds}
        for month, page in [("", years), *zip(months, pages, strict=True)]:
            for raw, value in page.items():
                kind, _, name = raw.decode("utf-8", "backslashreplace").partition(":")
                if kind in found:
                    found[kind]["-".join(filter(None, (month, name)))] = value
        return found

    async def hours(self, site: str, day: str) -> tuple[dict[str, bytes], dict[str, bytes], dict[str, bytes]]:
        """Return the hours of a day, the counts of its month and the ignored beacons of its month, all at once."""
        with translated():
            async with self._client.pipeline(transaction=True) as pipe:
                for name in (keys.hours(site, day), keys.days(site, day[:7]), keys.ignored(site, day[:7])):
                    pipe.hgetall(name)
                found = await pipe.execute()
        hours, days, ignored = (
            {field.decode("utf-8", "backslashreplace"): value for field, value in each.items()} for each in found
        )
        return hours, days, ignored

    async def count(self, site: str, kind: str, when: str) -> int:
        """Return one dated count of a site (`keys.count_at`)."""
        name, field = keys.count_at(site, kind, when)
        with translated():
            return sum(map(number, await self._hmget(name, [field])))

    async def size(self, name: str) -> int:
        """Return how many fields a hash has."""
        with translated():
            return int(await self._client.hlen(name))

    async def values(self, names: list[str], fields: list[bytes]) -> list[list[bytes | None]]:
        """Return what these hashes have in these fields, at most PAGE."""
        asked: Any = fields
        with translated():
            async with self._client.pipeline(transaction=False) as pipe:
                for name in names:
                    pipe.hmget(name, asked)
                return list(await pipe.execute()) if fields else [[] for _ in names]

    async def shares(self, site: str, groups: dict[bytes, list[bytes]], days: list[str]) -> dict[bytes, Share]:
        """Return what each article has, with what was merged into it (`groups`: an article's id → all of their ids),
        each at one moment. `days` are the names of the keys of the days."""
        names = [keys.articles(site), keys.base(site), *days]
        found: dict[bytes, Share] = {}
        piece: list[bytes] = []
        many = 0
        for article, ids in groups.items():
            piece.append(article)
            many += len(ids) * len(names)
            if many >= AT_ONCE:
                found |= await self._shares(piece, groups, names)
                piece, many = [], 0
        return found | await self._shares(piece, groups, names)

    async def _shares(
        self, piece: list[bytes], groups: dict[bytes, list[bytes]], names: list[str]
    ) -> dict[bytes, Share]:
        owner = [article for article in piece for _ in groups[article]]
        asked: Any = [each for article in piece for each in groups[article]]
        if not asked:
            return {}
        with translated():
            async with self._client.pipeline(transaction=True) as pipe:
                for name in names:
                    pipe.hmget(name, asked)
                views, bases, *days = await pipe.execute()
        found = {article: Share() for article in piece}
        for n, article in enumerate(owner):
            share = found[article]
            share.views += number(views[n])
            share.base += number(bases[n])
            share.days += sum(number(day[n]) for day in days)
        return found

    async def ring(self, site: str) -> bytes:
        """Return a site's ring of seconds."""
        with translated():
            found: Any = await self._client.get(keys.online(site))
        return found or b""

    async def presences(self, site: str, names: list[str]) -> tuple[bytes, list[dict[bytes, bytes]]] | None:
        """Return a site's ring with the presences of these days, all at one moment; None when they are too many for one
        command."""
        with translated():
            async with self._client.pipeline(transaction=False) as pipe:
                for name in names:
                    pipe.hlen(name)
                if sum(await pipe.execute() if names else []) > PAGE:
                    return None
            async with self._client.pipeline(transaction=True) as pipe:
                pipe.get(keys.online(site))
                for name in names:
                    pipe.hgetall(name)
                ring, *found = await pipe.execute()
        return ring or b"", found

    async def hosts(self) -> dict[str, str]:
        """Return the host of each writer that ever had one."""
        with translated():
            found: dict[Any, Any] = await self._client.hgetall(keys.HOSTS)
        return {
            writer.decode("utf-8", "backslashreplace"): host.decode("utf-8", "replace")
            for writer, host in found.items()
        }

    async def totals(self, site: str) -> tuple[int, int]:
        """Return the visits and the views of all time, each with its baseline."""
        names = [ALL_TIME, NUMBERS_BASELINE]
        with translated():
            found = await self._hmget(
                keys.counts(site), [f"{kind}:{name}" for kind in ("visits", "views") for name in names]
            )
        numbers = list(map(number, found)) or [0] * 4
        return sum(numbers[:2]), sum(numbers[2:])

    async def _hmget(self, name: str, fields: list[str]) -> list[Any]:
        try:
            return list(await self._client.hmget(name, fields))
        except ResponseError:
            return []  # of another type, which is reported


def number(value: Any) -> int:
    """Read a stored count; 0 for a missing one, and for a value that is no number (another check reports it)."""
    return int(value) if value and value.removeprefix(b"-").isdigit() else 0
