"""Packs a closed month: the hashes of its days become tiles, in which an article's day takes little more than a byte.

It may be done at any time, twice, by several hosts at once, and be killed anywhere: until the month is sealed
(lua/seal.lua) nothing of it is read, and the hashes of the days are there. The steps, on one connection:

 1. Look up whether the month is due, and what the site's views of each of its days are.
 2. Read the articles of each day. Together they must have the site's views of the day (less what was corrected of the
    site alone), or the month is left as it is.
 3. Give a number to each article that has none.
 4. Write the tiles, block by block. Every tile is read again, and must hold what was read, for each article and day.
 5. Seal the month, if no day has other views or another number of articles by now.

A store that loses what it had (a crash, a failover) breaks the connection. If it is still the same one when the last
tile is written, then whatever was read was there before the first tile. A store that comes back older after that lacks
tiles, which the seal sees, or it has all that they were made of.
"""

import asyncio
import logging
import secrets
import zlib
from array import array
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import compress, count, repeat
from typing import Literal, NamedTuple

from redis.asyncio import Redis

from visitstats.core.periods import Calendar
from visitstats.core.sites import Site
from visitstats.core.tiles import BLOCK, DAY_BITS, Packed, Span, Tile, encode, whole_month
from visitstats.store.keys import DAY_MS
from visitstats.store.tiles import ID_BYTES, IDS_PAGE, TILES_PAGE, Tiles, TileWriter, tile_line

log = logging.getLogger(__name__)

PACK_AFTER_MS = 7 * DAY_MS
"""A month is packed this long after its end: no week of which it has days is still going on, and whatever a journal may
still bring is in the hashes."""
MOST_NUMBERINGS = 5
Progress = Callable[[int, int], None]
"""Is called with how many steps of a month are done, and how many there are."""


class Outcome(NamedTuple):
    """What became of a month."""

    month: str
    word: Literal["packed", "already", "early", "empty", "moved", "unequal"]
    """packed: it is packed now. already: it was packed before. early: it is not due. empty: it has no views. moved:
    something was counted or lost meanwhile; a later try may succeed. unequal: its numbers contradict each other, so it
    stays as it is."""
    detail: str = ""


Blocks = dict[int, "tuple[array[int], array[int]]"]
"""For each block the names of its cells (`core.tiles.cell`), and their views."""


def _silent(done: int, many: int) -> None:
    pass


class _Unequal(Exception):
    """A day that must not be packed."""


class _Moved(Exception):
    """A month that changes while it is packed."""


class Packer:
    """Packs months. `url` and `client` lead to the store, `now` gives the moment in milliseconds. Every method may
    raise StoreUnavailable, and TileDamaged when the records of packed months cannot be read."""

    def __init__(
        self, url: str, client: Redis, now: Callable[[], int], nonce: Callable[[], str] = lambda: secrets.token_hex(8)
    ) -> None:
        self._url = url
        self._client = client
        self._now = now
        self._nonce = nonce

    async def due(self, site: str, calendar: Calendar) -> list[str]:
        """Return the months that may be packed and are not, the oldest first."""
        tiles = Tiles(self._client)
        packed = await tiles.packed(site)
        return [month for month in await tiles.months(site) if month not in packed and self._is_due(calendar, month)]

    async def pack_due(self, site: str, calendar: Calendar, progress: Progress = _silent) -> list[Outcome]:
        """Pack all months that are due, the oldest first. `progress` is told of all of them together."""
        async with self._writing(site) as writer:
            await writer.settle()
        months = await self.due(site, calendar)
        found: list[Outcome] = []
        for n, month in enumerate(months):

            def told(done: int, many: int, before: int = n) -> None:
                progress(1000 * before + 1000 * done // many, 1000 * len(months))

            found.append(await self.pack_month(site, calendar, month, told))
        return found

    async def packed_of(self, site: Site) -> list[str]:
        """Pack all months of a site that are due; return a line for each that was tried."""
        outcomes = await self.pack_due(site.id, Calendar(site.timezone, site.week_start))
        return [f"{site.id} {each.month}: {each.word}" for each in outcomes]

    async def pack_month(self, site: str, calendar: Calendar, month: str, progress: Progress = _silent) -> Outcome:
        """Pack one month (2026-10), if it is due."""
        if not self._is_due(calendar, month):
            return Outcome(month, "early", f"it is packed {PACK_AFTER_MS // DAY_MS} days after its end")
        async with self._writing(site) as writer:
            outcome = await _Work(writer, site, whole_month(month), progress).pack(self._now(), self._nonce())
        if outcome.word == "unequal":
            log.error("month %s of site %s is not packed: %s; visitstats verify says more", month, site, outcome.detail)
        elif outcome.word == "packed":
            log.info("month %s of site %s is packed: %s", month, site, outcome.detail)
        return outcome

    @asynccontextmanager
    async def _writing(self, site: str) -> AsyncIterator[TileWriter]:
        alone, line = self._client.client(), tile_line(self._url)
        try:
            yield TileWriter(alone, line, site)
        finally:
            await alone.aclose()
            await line.close()

    def _is_due(self, calendar: Calendar, month: str) -> bool:
        last = whole_month(month).dates[-1]
        return calendar.day_named(last).end_ms + PACK_AFTER_MS <= self._now()


class _Work:
    """One try to pack one month."""

    def __init__(self, writer: TileWriter, site: str, span: Span, progress: Progress) -> None:
        self._tiles = writer.tiles
        self._writer = writer
        self._site = site
        self._span = span
        self._progress = progress
        self._articles: defaultdict[bytes, int] = defaultdict(count(1).__next__)
        """The articles (ids) of the month in the order in which they are met, with their places in it, from 1 on."""
        self._days: list[tuple[array[int], array[int]]] = []
        """For each day the places of its articles, and their views: 12 bytes a cell."""

    async def pack(self, now_ms: int, nonce: str) -> Outcome:
        month = self._span.month
        connection = await self._writer.connection()
        if month in await self._tiles.packed(self._site):
            return Outcome(month, "already")
        corrected = await self._tiles.corrected(self._site, self._span.dates)
        views = await self._tiles.site_views(self._site, self._span.dates)
        alone = await self._tiles.site_alone(self._site, self._span.dates)
        sums = [n - of_site for n, of_site in zip(views, alone, strict=True)]
        if not any(sums) and not any(corrected):
            return Outcome(month, "empty")
        try:
            await self._read(sums)
            cells = await self._by_block(await self._numbers())
            record = await self._write(cells, Packed(now_ms, nonce, len(cells), len(self._articles), 0, 0, (*sums,), 0))
            if await self._writer.connection() != connection:
                raise _Moved("the store went away while it was read")
            word = await self._writer.seal(
                self._span, record, [len(places) for places, _ in self._days], views, corrected
            )
        except _Unequal as error:
            return Outcome(month, "unequal", str(error))
        except _Moved as error:
            await self._writer.drop(month, nonce)
            return Outcome(month, "moved", str(error))
        if word == "ok":
            return Outcome(month, "packed", f"{record.views} views of {record.articles} articles, {record.tiles} tiles")
        await self._writer.drop(month, nonce)
        return (
            Outcome(month, "already") if word == "packed" else Outcome(month, "moved", f"the seal was refused: {word}")
        )

    async def _read(self, sums: list[int]) -> None:
        for n, (date, expected) in enumerate(zip(self._span.dates, sums, strict=True)):
            counts = await self._tiles.day(self._site, date)
            try:
                places = array("I", map(self._articles.__getitem__, counts))
                views = array("Q", map(int, counts.values()))
            except (ValueError, OverflowError) as error:
                raise _Unequal(f"{date} has a count that is none: {error}") from error
            if not {ID_BYTES}.issuperset(map(len, counts)) or 0 in views:
                raise _Unequal(f"{date} has views of what is no article, or none of one")
            if (found := sum(views)) != expected:
                if self._span.month in await self._tiles.packed(self._site):
                    raise _Moved("another host has packed it")
                [all_now] = await self._tiles.site_views(self._site, [date])
                [alone] = await self._tiles.site_alone(self._site, [date])
                if (now := all_now - alone) != expected:
                    raise _Moved(f"{date} had {expected} views and has {now}")
                raise _Unequal(f"the articles of {date} together have {found} views, the site has {expected}")
            self._days.append((places, views))
            self._progress(n + 1, 2 * len(sums))

    async def _numbers(self) -> "array[int]":
        """Return the number of each article at its place in `_articles`, plus 1; one that has none gets one."""
        for _ in range(MOST_NUMBERINGS):
            found, many = array("I", [0]) * (len(self._articles) + 1), 0
            async for ids in self._tiles.ids(self._site):
                places = list(map(self._articles.get, ids, repeat(0)))
                # Of an id that comes twice the first place is the number.
                for number, place in zip(compress(count(many + 1), places), filter(None, places), strict=True):
                    if not found[place]:
                        found[place] = number
                many += len(ids)
            missing = [article for article, number in zip(self._articles, found[1:], strict=True) if not number]
            if not missing:
                return found
            for start in range(0, len(missing), IDS_PAGE):
                piece = missing[start : start + IDS_PAGE]
                if not await self._writer.number(many + start, piece):
                    break
        raise _Moved("others give numbers to articles at the same time")

    async def _by_block(self, numbers: "array[int]") -> Blocks:
        """Sort the cells into their blocks."""
        blocks: defaultdict[int, tuple[array[int], array[int]]] = defaultdict(lambda: (array("I"), array("Q")))
        for day, (places, views) in enumerate(self._days, 1):
            for number, n in zip(map(numbers.__getitem__, places), views, strict=True):
                names, counts = blocks[(number - 1) // BLOCK]
                names.append((number - 1) % BLOCK << DAY_BITS | day)  # `cell`, but for a million calls
                counts.append(n)
            await asyncio.sleep(0)  # let other tasks run
        return dict(sorted(blocks.items()))

    async def _write(self, blocks: Blocks, record: Packed) -> Packed:
        """Write all tiles; return the record of what was written."""
        month, nonce = self._span.month, record.nonce
        many_cells = views = crc = 0
        waiting: dict[int, bytes] = {}
        for done, (block, (names, counts)) in enumerate(blocks.items(), 1):
            cells = dict(zip(names, counts, strict=True))
            data = encode(cells)
            tile = Tile(data)
            if tile.cells() != cells or tile.trouble():
                raise RuntimeError(f"the tile of block {block} of {month} is not what it was made of")
            many_cells += len(cells)
            views += tile.head.views
            crc = zlib.crc32(data, crc)
            waiting[block] = data
            if len(waiting) == TILES_PAGE or done == len(blocks):
                await self._writer.stage(month, nonce, waiting)
                waiting = {}
            self._progress(len(blocks) + done, 2 * len(blocks))
            await asyncio.sleep(0)
        return Packed(record.made_ms, nonce, len(blocks), record.articles, many_cells, views, record.days, crc)
