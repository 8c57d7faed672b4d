"""The packed history of articles in the store: reads article numbers, tiles and the hashes beside them, and writes a
packed month (`store.packing` says when).

Each reader asks `packed` first: a month without a record there has no tiles, and all of it is in the hashes of its
days. In a packed month, the hash of a day exists again when something was counted for that day later; then the site's
views of the day differ from those that were packed.
"""

from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from itertools import islice
from struct import iter_unpack
from typing import Any, Literal

import msgspec
from redis.asyncio import Redis

from visitstats.core.errors import StoreUnavailable, TileDamaged
from visitstats.core.tiles import Packed, Span, decode_packed, encode_packed
from visitstats.store import keys
from visitstats.store.client import translated
from visitstats.store.commit import FINISH, PUT_DOWN, load_scripts
from visitstats.store.line import Answered, ScriptLine

ID_BYTES = 8
IDS_PAGE = 65_536
"""How many ids one command reads: 0.1 ms on the server."""
TILES_PAGE = 32
"""How many tiles one command reads or writes: 0.5 MB, 0.1 ms on the server."""
PAGE = 4000
"""How many fields of a day's hash one command reads: 0.6 ms on the server. With 500, reading takes us twice as long."""
PERIODS_PAGE = 500
ARTICLES_PAGE = 1000

_pack = msgspec.msgpack.Encoder().encode
Sealed = Literal["ok", "packed", "lost", "moved"]
"""What became of the sealing of a month: see lua/seal.lua."""


def views_at(site: str, when: str) -> tuple[str, str]:
    """Return the key and the field that hold a site's views on a date or in a month (2026-10)."""
    return keys.count_at(site, "views", when)


class Tiles:
    """Reads packed history. Every method may raise StoreUnavailable, and TileDamaged for what it cannot read."""

    def __init__(self, client: Redis) -> None:
        self._client = client

    # Numbers ---------------------------------------------------------------------------------------------------------

    async def many_ids(self, site: str) -> int:
        """Return how many places the site's list of ids has: every number is below it."""
        with translated():
            return int(await self._client.strlen(keys.ids(site))) // ID_BYTES

    async def ids(self, site: str, first: int = 0) -> AsyncIterator[list[bytes]]:
        """Yield the ids of articles in the order of their numbers, from a number on, in pieces. Of an id that comes
        twice the first place is the article's number."""
        start = first * ID_BYTES
        while True:
            with translated():
                piece: Any = await self._client.getrange(keys.ids(site), start, start + IDS_PAGE * ID_BYTES - 1)
            whole = len(piece) // ID_BYTES * ID_BYTES
            if whole:
                yield [each for (each,) in iter_unpack(f"{ID_BYTES}s", piece[:whole])]
            if len(piece) < IDS_PAGE * ID_BYTES:
                return
            start += len(piece)

    async def numbers(self, site: str, wanted: Collection[bytes]) -> dict[bytes, int]:
        """Return the numbers of these articles (ids); one that has none is left out. Reads up to the last of them:
        8 MB and 60 ms for a million."""
        found: dict[bytes, int] = {}
        asked, start = frozenset(wanted), 0
        if not asked:
            return found
        async for piece in self.ids(site):
            if not asked.isdisjoint(piece):
                for number, article in enumerate(piece, start):
                    if article in asked:
                        found.setdefault(article, number)
                if len(found) == len(asked):
                    break
            start += len(piece)
        return found

    # What there is ---------------------------------------------------------------------------------------------------

    async def packed(self, site: str) -> dict[str, Packed]:
        """Return the records of all packed months, by month."""
        with translated():
            found: dict[Any, Any] = await self._client.hgetall(keys.packed(site))
        return {month.decode(): decode_packed(record) for month, record in sorted(found.items())}

    async def site_views(self, site: str, periods: list[str]) -> list[int]:
        """Return the site's views on each of these dates or in each of these months: of all articles together, and
        what was corrected of the site alone."""
        return await self._site_counts(site, "views", periods)

    async def corrected(self, site: str, periods: list[str]) -> list[int]:
        """Return how often views of articles on each of these dates or in each of these months were corrected. A day's
        hash may have some that its sum does not show."""
        return await self._site_counts(site, "corrected", periods)

    async def site_alone(self, site: str, periods: list[str]) -> list[int]:
        """Return what was corrected or imported of the site's views, and of no article's, on each of these dates or in
        each of these months."""
        found = [0] * len(periods)
        for layer in keys.LAYERS:
            for kind, sign in (("views", 1), ("articles", -1)):
                counts = await self._site_counts(site, kind, periods, layer)
                found = [before + sign * n for before, n in zip(found, counts, strict=True)]
        return found

    async def _site_counts(self, site: str, kind: str, periods: list[str], layer: str = "") -> list[int]:
        found: list[int] = []
        for start in range(0, len(periods), PERIODS_PAGE):
            asked: dict[str, list[str]] = {}
            for period in periods[start : start + PERIODS_PAGE]:
                name, field = keys.count_at(site, kind, period, layer)
                asked.setdefault(name, []).append(field)
            with translated():
                async with self._client.pipeline(transaction=False) as pipe:
                    for name, fields in asked.items():
                        pipe.hmget(name, fields)
                    counts = [count for page in await pipe.execute() for count in page]
            try:
                found += [int(count or 0) for count in counts]
            except ValueError as error:
                raise StoreUnavailable(f"a count of site {site} is no number: {error}") from error
        return found

    async def months(self, site: str) -> list[str]:
        """Return the months in which a site had views, ascending."""
        with translated():
            fields: list[Any] = await self._client.hkeys(keys.counts(site))
            years = sorted(
                field[6:].decode() for field in fields if field.startswith(b"views:") and field[6:].isdigit()
            )
            months = [f"{year}-{month:02}" for year in years for month in range(1, 13)]
            async with self._client.pipeline(transaction=False) as pipe:
                for month in months:
                    pipe.hget(keys.days(site, month), "views")
                views = await pipe.execute()
        return [month for month, n in zip(months, views, strict=True) if n and n != b"0"]

    # Tiles -----------------------------------------------------------------------------------------------------------

    async def blocks(self, site: str, month: str) -> list[int]:
        """Return the numbers of the blocks that have a tile of a month, ascending."""
        with translated():
            found: Any = await self._client.hkeys(keys.tiles(site, month))
        try:
            return sorted(map(int, found))
        except ValueError as error:
            raise TileDamaged(f"{keys.tiles(site, month)} has a field that is no block: {error}") from error

    async def tiles(
        self, site: str, months: Iterable[str], blocks: Sequence[int]
    ) -> AsyncIterator[tuple[str, dict[int, bytes]]]:
        """Yield the tiles of these blocks in these months, in pieces; those that there are not are left out. The pieces
        come month by month, and block by block, in the order in which they are asked for."""
        fields = [list(map(str, blocks[n : n + TILES_PAGE])) for n in range(0, len(blocks), TILES_PAGE)]
        wanted = ((month, piece) for month in months for piece in fields)
        while asked := list(islice(wanted, max(1, TILES_PAGE // max(1, len(blocks))))):
            with translated():
                async with self._client.pipeline(transaction=False) as pipe:
                    for month, piece in asked:
                        pipe.hmget(keys.tiles(site, month), piece)
                    found = await pipe.execute()
            for (month, piece), tiles in zip(asked, found, strict=True):
                yield month, {int(block): tile for block, tile in zip(piece, tiles, strict=True) if tile is not None}

    # Hashes of days --------------------------------------------------------------------------------------------------

    async def day(self, site: str, date: str) -> dict[bytes, bytes]:
        """Return what the hash of a day has: the views (as digits) of articles (ids)."""
        found: dict[bytes, bytes] = {}
        cursor = 0
        while True:
            with translated():
                page: Any
                cursor, page = await self._client.hscan(keys.articles_of_day(site, date), cursor, count=PAGE)
            found.update(page)
            if not cursor:
                return found

    async def in_days(self, site: str, dates: list[str], articles: list[bytes]) -> AsyncIterator[tuple[str, list[int]]]:
        """Yield what the hashes of these days have of articles (ids), day by day: the views of each, in order."""
        at_once = max(1, ARTICLES_PAGE // max(1, len(articles)))
        for start in range(0, len(dates), at_once):
            piece = dates[start : start + at_once]
            found: list[list[int]] = [[] for _ in piece]
            for first in range(0, len(articles), ARTICLES_PAGE):
                with translated():
                    async with self._client.pipeline(transaction=False) as pipe:
                        for date in piece:
                            pipe.hmget(keys.articles_of_day(site, date), articles[first : first + ARTICLES_PAGE])
                        for row, counts in zip(found, await pipe.execute(), strict=True):
                            row += [int(count or 0) for count in counts]
            for date, row in zip(piece, found, strict=True):
                yield date, row


class TileWriter:
    """Writes a packed month. `client` is one connection, on which everything was read that is packed; `line` runs the
    scripts. Every method may raise StoreUnavailable."""

    def __init__(self, client: Redis, line: ScriptLine, site: str) -> None:
        self.tiles = Tiles(client)
        self._client = client
        self._line = line
        self._site = site

    async def connection(self) -> tuple[str, int]:
        """Return a value that differs after each new connection and each restart of the server, since the store may
        then have come back older."""
        with translated():
            info: Any = await self._client.info("server")
            return str(info.get("run_id", "")), int(await self._client.client_id())

    async def number(self, known: int, articles: Collection[bytes]) -> bool:
        """Give the next numbers to articles (ids) that have none, behind the `known` that there are; False when there
        are more or fewer by now, and nothing was done. At most IDS_PAGE at once."""
        values: list[bytes | str | int] = [ID_BYTES * known, b"".join(articles)]
        return bool(await self._run("number", [keys.ids(self._site), keys.redo(self._site)], values))

    async def settle(self) -> None:
        """Finish what was put down and not executed: a month that is sealed halfway, if there is one."""
        await self._run("seal", [keys.redo(self._site)], [], (FINISH,))

    async def stage(self, month: str, nonce: str, tiles: Mapping[int, bytes]) -> None:
        """Write tiles. They have no effect until they are sealed, and expire when they never are."""
        name = keys.packing(self._site, month, nonce)
        fields: Any = {str(block): tile for block, tile in tiles.items()}
        with translated():
            async with self._client.pipeline(transaction=False) as pipe:
                pipe.hset(name, mapping=fields)
                pipe.pexpire(name, keys.PACKING_LIFE_MS)
                await pipe.execute()

    async def drop(self, month: str, nonce: str) -> None:
        """Remove tiles that are not sealed."""
        with translated():
            await self._client.unlink(keys.packing(self._site, month, nonce))

    async def seal(
        self, span: Span, record: Packed, articles: list[int], views: list[int], corrected: list[int]
    ) -> Sealed:
        """Seal the month, so that its tiles are read from now on, and remove the hashes of its days. It is refused
        unless the site's views of each day, how often articles were corrected on it, and the number of `articles` in
        each hash are still what was read."""
        dates = span.dates
        asked = [views_at(self._site, date) for date in dates]
        [sums] = {name for name, _ in asked}
        days = [
            [field, str(n), many, f"corrected:{date[8:]}", str(marks)]
            for date, (_, field), n, many, marks in zip(dates, asked, views, articles, corrected, strict=True)
        ]
        names = keys.of_seal(self._site, span.month, record.nonce, sums, dates)
        reply = await self._run(
            "seal", names, [span.month, encode_packed(record), record.tiles, _pack(days)], (PUT_DOWN, FINISH)
        )
        word: Sealed = reply[0].decode()
        return word

    async def _run(
        self, name: str, names: list[str], values: list[bytes | str | int], steps: tuple[bytes, ...] = (b"",)
    ) -> Any:
        replies = await self._line.run([(name, names, [*values, step]) for step in steps])
        for reply in replies:
            if isinstance(reply, Answered):
                raise StoreUnavailable(f"the store refuses to pack a month of site {self._site}: {reply}")
        return replies[0]


def tile_line(url: str) -> ScriptLine:
    """Make the connection on which months are sealed."""
    scripts = load_scripts()
    return ScriptLine(url, {name: scripts[name] for name in ("seal", "number")})
