"""Reads for the index of articles: which articles there are, what has changed, and the views of days.

No command holds the server for more than some milliseconds, and none writes.
"""

from collections.abc import AsyncIterator
from typing import Any

import msgspec
from redis.asyncio import Redis

from visitstats.core.entries import Entry
from visitstats.core.entries import decode as decode_entry
from visitstats.core.errors import StoreUnavailable, TileDamaged
from visitstats.core.tiles import Tile, decode_packed
from visitstats.store import keys
from visitstats.store.client import translated

ID = 8
"""Bytes of an article's id."""
PIECE = 65_536
"""How many bytes of the list of ids, or of the ring of touched ones, one command reads."""
PAGE = 1000
"""How many articles one command reads: one to two ms on the server, for a site with a million."""
TILES = 16
"""How many tiles one command reads: some 250 KB."""
CORRECTED = "+"
"""The suffix of a date or year for the number of corrections of articles there, which the sum of views may not show."""
ROUND = 20_000
"""How many counts one round trip reads."""


class Month(msgspec.Struct, frozen=True, array_like=True):
    """A month whose views per article and day are packed into tiles."""

    nonce: str
    """Differs when the month was packed again."""
    days: tuple[int, ...]
    """The views of its days that are in the tiles."""


class State(msgspec.Struct, frozen=True):
    """Differs as soon as something about a site's articles has changed. Reading it takes two commands when nothing
    has."""

    ids: int = 0
    """How many places the list of numbers has."""
    touched: int = 0
    """How often an entry, a baseline or an alias was changed."""
    changes: int = 0
    """How many changes people have made, merges and undos among them."""
    years: dict[str, int] = {}
    """Views by year; under the year with CORRECTED, how often articles were corrected on its days."""
    packed: dict[str, Month] = {}
    """The packed months."""
    pruned: int = 0
    """How often a page gave its place back, or got it again: days then have the same views, of other articles."""


class Facts(msgspec.Struct, frozen=True):
    """What the store knows of an article."""

    entry: Entry | None
    """None when the dictionary has none, or a damaged one."""
    total: int | None
    """Views of all time; None for an article that is not in the register, for example one that was merged."""


class Repacked(Exception):
    """A month was packed again meanwhile."""


class Register:
    """Every method may raise StoreUnavailable."""

    def __init__(self, client: Redis) -> None:
        self._client = client

    async def state(self, site: str) -> State:
        """Return the present state of a site."""
        with translated():
            async with self._client.pipeline(transaction=False) as pipe:
                pipe.hgetall(keys.counts(site))
                pipe.strlen(keys.ids(site))
                pipe.hlen(keys.changes(site))
                pipe.hgetall(keys.packed(site))
                counts, length, changes, packed = await pipe.execute()
        named = {field.decode(): _number(value) for field, value in counts.items()}
        years = {name[6:]: n for name, n in named.items() if name.startswith("views:") and name[6:].isdigit()}
        corrected = {name[10:]: n for name, n in named.items() if name.startswith("corrected:")}
        years |= {name + CORRECTED: n for name, n in corrected.items() if name.isdigit()}
        try:
            months = {month.decode(): decode_packed(record) for month, record in packed.items()}
        except TileDamaged as error:
            raise StoreUnavailable(str(error)) from error
        return State(
            length // ID, named.get("touched", 0), changes, years,
            {month: Month(each.nonce, each.days) for month, each in sorted(months.items())},
            named.get("pruned", 0),
        )  # fmt: skip

    async def days(self, site: str, months: list[str]) -> dict[str, dict[str, int]]:
        """Return the views of each day (by date) of each of these months, of all articles together; under the date
        with CORRECTED, how often articles were corrected on it."""
        with translated():
            async with self._client.pipeline(transaction=False) as pipe:
                for month in months:
                    pipe.hgetall(keys.days(site, month))
                found = await pipe.execute() if months else []
        marks = {b"views": "", b"corrected": CORRECTED}
        return {
            month: {
                f"{month}-{day.decode()}{marks[kind]}": _number(n)
                for (kind, _, day), n in ((field.partition(b":"), n) for field, n in counts.items())
                if day and kind in marks
            }
            for month, counts in zip(months, found, strict=True)
        }

    async def ids(self, site: str, first: int, end: int) -> bytes:
        """Return the ids at these places of the list of numbers, 8 bytes each; fewer when it is shorter."""
        return await self._bytes(keys.ids(site), first * ID, end * ID)

    async def touched(self, site: str, first: int, end: int) -> set[bytes]:
        """Return the ids that were touched from the first to before the last of these times. The ring has the last
        MOST_TOUCHED alone."""
        found: set[bytes] = set()
        while first < end:
            place = first % keys.MOST_TOUCHED
            many = min(end - first, keys.MOST_TOUCHED - place)
            data = await self._bytes(keys.touched(site), place * ID, (place + many) * ID)
            found |= {data[n : n + ID] for n in range(0, len(data), ID)}
            first += many
        return found

    async def facts(self, site: str, articles: list[bytes]) -> list[Facts]:
        """Return what is known of these articles (ids), at most PAGE of them by one command."""
        found: list[Facts] = []
        for start in range(0, len(articles), PAGE):
            piece: Any = articles[start : start + PAGE]
            with translated():
                async with self._client.pipeline(transaction=False) as pipe:
                    pipe.hmget(keys.names(site), piece)
                    pipe.hmget(keys.articles(site), piece)
                    entries, totals = await pipe.execute()
            found += [
                Facts(_entry(entry), None if total is None else _number(total))
                for entry, total in zip(entries, totals, strict=True)
            ]
        return found

    async def totals(self, site: str, articles: list[bytes]) -> list[int | None]:
        """Return the views of all time of these articles (ids); None for one that is not in the register."""
        found: list[int | None] = []
        for start in range(0, len(articles), PAGE):
            piece: Any = articles[start : start + PAGE]
            with translated():
                totals: list[Any] = await self._client.hmget(keys.articles(site), piece)
            found += [None if total is None else _number(total) for total in totals]
        return found

    async def day(self, site: str, day: str) -> dict[bytes, int]:
        """Return the views of each article (id) on a date, as the store has them beside the packed months."""
        found: dict[bytes, int] = {}
        cursor = 0
        while True:
            with translated():
                page: Any
                cursor, page = await self._client.hscan(keys.articles_of_day(site, day), cursor, count=PAGE)
            found.update(zip(page, map(_number, page.values()), strict=True))
            if not cursor:
                return found

    async def views(self, site: str, asked: list[tuple[str, list[bytes]]]) -> AsyncIterator[tuple[str, list[int]]]:
        """Yield for each date the views of the articles (ids) that are asked for on it, at most ROUND together by one
        round trip."""
        waiting: list[tuple[str, list[bytes]]] = []
        many = 0
        for number, each in enumerate(asked, 1):
            waiting.append(each)
            many += len(each[1])
            if many >= ROUND or number == len(asked):
                with translated():
                    async with self._client.pipeline(transaction=False) as pipe:
                        for date, articles in waiting:
                            for start in range(0, len(articles), PAGE):
                                piece: Any = articles[start : start + PAGE]
                                pipe.hmget(keys.articles_of_day(site, date), piece)
                        answers = iter(await pipe.execute())
                for date, articles in waiting:
                    pieces = [next(answers) for _ in range(0, len(articles), PAGE)]
                    yield date, [0 if n is None else _number(n) for piece in pieces for n in piece]
                waiting, many = [], 0

    async def tiles(self, site: str, month: str, nonce: str, blocks: list[int]) -> dict[int, Tile]:
        """Return the tiles of these blocks in a packed month; a block in which nothing was read has none. Raises
        Repacked when the month is packed otherwise by now."""
        found: dict[int, Tile] = {}
        for start in range(0, len(blocks), TILES):
            piece = blocks[start : start + TILES]
            with translated():
                async with self._client.pipeline(transaction=False) as pipe:
                    pipe.hget(keys.packed(site), month)
                    pipe.hmget(keys.tiles(site, month), [str(block) for block in piece])
                    record, tiles = await pipe.execute()
            try:
                if record is None or decode_packed(record).nonce != nonce:
                    raise Repacked(month)
                found |= {block: Tile(data) for block, data in zip(piece, tiles, strict=True) if data is not None}
            except TileDamaged as error:
                raise StoreUnavailable(f"the views of {month} cannot be read: {error}") from error
        return found

    async def changes(self, site: str) -> int:
        """Return how many changes people have made, as `State` has it."""
        with translated():
            return int(await self._client.hlen(keys.changes(site)))

    async def _bytes(self, name: str, start: int, end: int) -> bytes:
        found = []
        for at in range(start, end, PIECE):
            with translated():
                piece: Any = await self._client.getrange(name, at, min(at + PIECE, end) - 1)
            found.append(piece)
            if len(piece) < min(PIECE, end - at):
                break
        data = b"".join(found)
        return data[: len(data) // ID * ID]


def _entry(data: bytes | None) -> Entry | None:
    if data is None:
        return None
    try:
        return decode_entry(data)
    except msgspec.DecodeError:
        return None


def _number(text: bytes) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise StoreUnavailable(f"a count in the store is no number: {text[:40]!r}") from error
