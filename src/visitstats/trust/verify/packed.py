"""Is the packed history of a site's articles what was sealed, and does it agree with itself?

the tiles of a month agree with its record: their number, their checksum, their sums
the days of a record together are its views; there are as many as the month has
every tile can be read, and is of articles that the site has; no tiles are there without a record

The views in the tiles are then compared with the rest (`verify.articles`). The packing itself has compared every tile
with the hashes from which it was made; the checksum shows that it is still the same.
"""

import zlib
from collections.abc import Iterator, Mapping

from visitstats.core.errors import TileDamaged
from visitstats.core.tiles import BLOCK, Packed, Tile, days_in, decode_packed, whole_month
from visitstats.store import keys
from visitstats.store.inspect import Inspector
from visitstats.store.keys import Named
from visitstats.trust.verify.contents import shown, valid_date
from visitstats.trust.verify.findings import Look


class PackedHistory:
    """The check of one site. `found` are its keys that are what they should be, `broken` the names of the others."""

    def __init__(self, store: Inspector, site: str, found: Mapping[str, Named], broken: set[str], look: Look) -> None:
        self._store = store
        self._site = site
        self._months = {named.words[0] for named in found.values() if named.kind.word == "tiles"}
        self._look = look
        self._ids: list[bytes] = []
        self._totals: list[int] = []
        self.days: dict[str, int] = {}
        """Date → the packed views of all articles together."""
        names = {keys.packed(site), keys.ids(site)}
        self.legible = not any(name in names or ":tiles:" in name for name in broken)
        """Whether all packed history can be read."""

    async def check(self) -> None:
        """Check everything. Raises StoreUnavailable."""
        if not self.legible:
            return
        records = await self._records()
        if not records and not self._months:
            return
        async for piece in self._store.tiles.ids(self._site):
            self._ids += piece
        self._totals = [0] * (-(-len(self._ids) // BLOCK) * BLOCK)
        for month, record in sorted(records.items()):
            await self._month(month, record)
        for month in sorted(self._months - records.keys()):
            self._wrong(
                "tiles", keys.tiles(self._site, month), f"there are tiles of {month}, and no record of its packing"
            )
        self._numbers()

    def articles(self) -> Iterator[tuple[bytes, int]]:
        """Yield the articles (ids) with their packed views of all months."""
        return ((article, n) for article, n in zip(self._ids, self._totals, strict=False) if n)

    def _wrong(self, check: str, subject: str, detail: str, unmoved: object = "") -> None:
        self._look.wrong(self._site, check, subject, detail, unmoved)

    async def _records(self) -> dict[str, Packed]:
        name = keys.packed(self._site)
        found: dict[str, Packed] = {}
        async for page in self._store.fields(name):
            for raw, value in page.items():
                month = shown(raw)
                try:
                    if not valid_date(f"{month}-01"):
                        raise TileDamaged("its name is no month")
                    record = found[month] = decode_packed(value)
                except TileDamaged as error:
                    self.legible = False
                    self._wrong("packed", name, f"the record of {month} cannot be read: {error}", month)
                    continue
                if len(record.days) != days_in(month) or sum(record.days) != record.views:
                    detail = f"{len(record.days)} days of {month} have {sum(record.days)} views"
                    self._wrong("packed", name, f"{detail}, the month has {record.views}", month)
                self.days |= dict(zip(whole_month(month).dates, record.days, strict=False))
        return found

    async def _month(self, month: str, record: Packed) -> None:
        name = keys.tiles(self._site, month)
        tiles = articles = cells = views = crc = 0
        try:
            blocks = await self._store.tiles.blocks(self._site, month)
        except TileDamaged as error:
            self.legible = False
            self._wrong("tiles", name, str(error))
            return
        async for _, data in self._store.tiles.tiles(self._site, [month], blocks):
            for block, each in data.items():
                tiles, crc = tiles + 1, zlib.crc32(each, crc)
                try:
                    tile = Tile(each)
                    self._add(block, tile)
                except TileDamaged as error:
                    self.legible = False
                    self._wrong("tiles", name, f"block {block} of {month}: {error}", block)
                    continue
                articles, cells, views = articles + tile.head.articles, cells + tile.head.cells, views + sum(tile.sums)
        said = (record.tiles, record.articles, record.cells, record.views)
        if (tiles, articles, cells, views) != said:
            self._wrong(
                "tiles", name,
                f"{tiles} tiles of {month} have {views} views of {articles} articles on {cells} days; "
                f"{said[3]} of {said[1]} on {said[2]} in {said[0]} were packed",
            )  # fmt: skip
        elif crc != record.crc:
            self._wrong(
                "tiles", name, f"the tiles of {month} are not those that were packed: their checksum is another"
            )

    def _add(self, block: int, tile: Tile) -> None:
        start, places, totals = block * BLOCK, tile.places, self._totals
        if places and start + places[-1] >= len(self._ids):
            raise TileDamaged(f"it has views of article number {start + places[-1]}, which there is not")
        for place, n in zip(places, tile.sums, strict=True):
            totals[start + place] += n

    def _numbers(self) -> None:
        """Check that nothing is packed under a second place of an id: the first place is the article's number."""
        if len(frozenset(self._ids)) == len(self._ids):
            return
        first: dict[bytes, int] = {}
        for number, article in enumerate(self._ids):
            if first.setdefault(article, number) != number and self._totals[number]:
                self._wrong(
                    "tiles", keys.ids(self._site),
                    f"article {article.hex()} has views under number {number}; its number is {first[article]}", number,
                )  # fmt: skip
