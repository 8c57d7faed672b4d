"""Exact views of articles on any days: one article by day or month, many articles or all of them over a range.

A packed month is read from its tiles. Counts that came to its days after packing, and every month that is not packed
yet, are read from the hashes of the days. Both are added up. A day's hash is read only if the site's views of that day
differ from what was packed, or if the day has corrections.

An article is named by its id and its number (`Article`). The index knows both, and `numbers` finds them without it. An
article that was merged into another keeps its days: a caller that asks for the other one names both; `all_of` adds
them up.
"""

from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import date
from typing import NamedTuple, TypeVar

from visitstats.core.errors import StoreUnavailable, TileDamaged
from visitstats.core.tiles import BLOCK, Packed, Span, Tile, spans, whole_month
from visitstats.store.tiles import Tiles

MOST_TRIES = 5
T = TypeVar("T")


class Article(NamedTuple):
    """An article as its history is kept."""

    id: bytes
    number: int


class All(NamedTuple):
    """The views of all articles over a range of days."""

    by_number: list[int]
    """Views, indexed by article number; 0 for an article that was merged into another."""
    without_number: dict[bytes, int]
    """Views by id of the articles that have no number: they were merged into others before numbers existed, and get a
    number when a month of theirs is packed."""


class _Sources(NamedTuple):
    """Where the views of a range of days are. All of it is added up."""

    packed: dict[str, Span]
    """The months that have tiles, with the part of each that is asked for."""
    dates: list[str]
    """The days whose hashes must be read."""
    records: dict[str, Packed]
    """The records of all packed months. As long as they are unchanged, nothing was moved from hashes into tiles."""


class ArticleHistory:
    """Every method may raise StoreUnavailable, and TileDamaged for packed history that cannot be read. A range goes
    from one date to another, both of them included."""

    def __init__(self, tiles: Tiles) -> None:
        self._tiles = tiles

    async def numbers(self, site: str, articles: Collection[bytes]) -> list[Article]:
        """Return these articles (ids) with their numbers, for callers without an index; articles without a number are
        left out. Reads up to a megabyte for each 130,000 articles of the site."""
        return [Article(*each) for each in (await self._tiles.numbers(site, articles)).items()]

    async def by_day(self, site: str, articles: Collection[Article], first: date, last: date) -> dict[str, int]:
        """Return the views of these articles together by date; days without views are left out."""
        blocks = _by_block(articles)

        async def read(sources: _Sources) -> dict[str, int]:
            found: Counter[str] = Counter()
            async for month, tiles in self._tiles.tiles(site, sources.packed, list(blocks)):
                span = sources.packed[month]
                for block, data in tiles.items():
                    tile = Tile(data)
                    for place in blocks[block]:
                        for day, n in tile.article(place).items():
                            if span.first <= day <= span.last:
                                found[f"{month}-{day:02d}"] += n
            async for day_of, counts in self._tiles.in_days(site, sources.dates, [each.id for each in articles]):
                found[day_of] += sum(counts)
            return {day: n for day, n in sorted(found.items()) if n}

        return await self._steadily(site, first, last, read)

    async def by_month(self, site: str, articles: Collection[Article], first: date, last: date) -> dict[str, int]:
        """Return the views of these articles together by month (2026-10), counting only days in the range."""
        found: Counter[str] = Counter()
        for day, n in (await self.by_day(site, articles, first, last)).items():
            found[day[:7]] += n
        return dict(found)

    async def many(self, site: str, articles: Collection[Article], first: date, last: date) -> dict[bytes, int]:
        """Return the views of each of these articles by id, 0 for one that was not read."""
        blocks = _by_block(articles)
        number_of = {each.id: each.number for each in articles}

        async def read(sources: _Sources) -> dict[bytes, int]:
            packed: Counter[int] = Counter()
            async for month, tiles in self._tiles.tiles(site, sources.packed, list(blocks)):
                for block, data in tiles.items():
                    views = _views(data, sources.packed[month])
                    for place in blocks[block] & views.keys():
                        packed[block * BLOCK + place] += views[place]
            found = {article: packed[number] for article, number in number_of.items()}
            async for _, counts in self._tiles.in_days(site, sources.dates, list(found)):
                for article, n in zip(found, counts, strict=True):
                    found[article] += n
            return found

        return await self._steadily(site, first, last, read)

    async def all_of(self, site: str, first: date, last: date, aliases: Mapping[bytes, bytes]) -> All:
        """Return the views of all articles. `aliases` maps each merged article (id) to the article that it was finally
        merged into."""

        async def read(sources: _Sources) -> All:
            many = await self._tiles.many_ids(site)
            found = [0] * many
            left = {month: sources.records[month].tiles for month in sources.packed}
            async for month, tiles in self._tiles.tiles(site, sources.packed, range(-(-many // BLOCK))):
                left[month] -= len(tiles)
                for block, data in tiles.items():
                    _add(found, block * BLOCK, Tile(data), sources.packed[month])
            if lacking := [month for month, tiles_left in left.items() if tiles_left]:
                raise TileDamaged(f"tiles of {lacking[0]} are missing, or the articles that they are of")
            hashed: Counter[bytes] = Counter()
            for day in sources.dates:
                for article, n in (await self._tiles.day(site, day)).items():
                    hashed[article] += int(n)
            numbers = await self._tiles.numbers(site, {*hashed, *aliases, *aliases.values()})
            # New articles may have got numbers during the read.
            found += [0] * (max(numbers.values(), default=0) + 1 - many)
            without: dict[bytes, int] = {}
            for each, views in hashed.items():
                if each in numbers:
                    found[numbers[each]] += views
                else:
                    without[each] = views
            return _resolved(All(found, without), numbers, aliases)

        return await self._steadily(site, first, last, read)

    async def cells(
        self,
        site: str,
        month: str,
        begin: Callable[[], None],
        in_tile: Callable[[int, Mapping[int, int]], None],
        on_day: Callable[[str, Mapping[bytes, int]], None],
    ) -> None:
        """Hand out the views of all articles on each day of a month (2026-10), in pieces that are to be added up:
        `in_tile` takes the number of a block and its cells (`core.tiles.cell`), `on_day` a date and views by id.
        `begin` is called at the start, and again if the read is repeated because the month was packed meanwhile."""
        span = whole_month(month)

        async def read(sources: _Sources) -> None:
            begin()
            blocks = await self._tiles.blocks(site, month) if sources.packed else []
            async for _, tiles in self._tiles.tiles(site, sources.packed, blocks):
                for block, data in tiles.items():
                    in_tile(block, Tile(data).cells())
            for day in sources.dates:
                counts = await self._tiles.day(site, day)
                on_day(day, {article: int(n) for article, n in counts.items()})

        first = date.fromisoformat(f"{month}-01")
        await self._steadily(site, first, first.replace(day=len(span.dates)), read)

    async def _steadily(self, site: str, first: date, last: date, read: Callable[[_Sources], Awaitable[T]]) -> T:
        """Read, and read again if a month was packed meanwhile, because packing moves days from hashes into tiles."""
        for _ in range(MOST_TRIES):
            sources = await self._sources(site, first, last)
            found = await read(sources)
            if await self._tiles.packed(site) == sources.records:
                return found
        raise StoreUnavailable(f"the packed months of site {site} change while they are read")

    async def _sources(self, site: str, first: date, last: date) -> _Sources:
        records = await self._tiles.packed(site)
        wanted = spans(first, last)
        months = [span.month for span in wanted]
        of_months = await self._tiles.site_views(site, months)
        corrected = await self._tiles.corrected(site, months)
        before: dict[str, int] = {}
        """The packed views of each day that may have more views than were packed."""
        for span, views, marks in zip(wanted, of_months, corrected, strict=True):
            record = records.get(span.month)
            if record is None and (views or marks):
                before |= dict.fromkeys(span.dates, 0)
            elif record is not None and (views != record.views or marks):
                before |= dict(zip(span.dates, record.days[span.first - 1 : span.last], strict=True))
        now = await self._tiles.site_views(site, list(before))
        marked = await self._tiles.corrected(site, list(before)) if any(corrected) else [0] * len(before)
        dates = [
            day
            for (day, packed), views, marks in zip(before.items(), now, marked, strict=True)
            if packed != views or marks
        ]
        return _Sources({span.month: span for span in wanted if span.month in records}, dates, records)


def most(views: Sequence[int], many: int) -> list[tuple[int, int]]:
    """Return the `many` article numbers with the most views, with their views: the most first, the lower number first
    among equals, and none without views. Takes 15 ms for a million."""
    pieces = range(0, len(views), BLOCK)
    # The `many` pieces with the highest maxima hold at least `many` articles that reach the lowest of these maxima, so
    # no article below it can be in the result.
    highest = sorted((max(views[start : start + BLOCK]) for start in pieces), reverse=True)
    least = max(1, highest[many - 1] if len(highest) >= many else 1)
    found = [
        (number, n)
        for start in pieces
        if max(piece := views[start : start + BLOCK]) >= least
        for number, n in enumerate(piece, start)
        if n >= least
    ]
    return sorted(found, key=lambda each: (-each[1], each[0]))[:many]


def _by_block(articles: Collection[Article]) -> dict[int, set[int]]:
    """The places of articles in their blocks, by block, ascending."""
    found: defaultdict[int, set[int]] = defaultdict(set)
    for each in sorted(articles, key=lambda each: each.number):
        found[each.number // BLOCK].add(each.number % BLOCK)
    return dict(found)


def _views(data: bytes, span: Span) -> dict[int, int]:
    """The views of a block's articles on some days of a month, by their places."""
    tile = Tile(data)
    return dict(zip(tile.places, tile.sums if span.whole else tile.views(span.first, span.last), strict=True))


def _add(found: list[int], start: int, tile: Tile, span: Span) -> None:
    """Add the views of a block's articles on some days of a month; the block begins at the number `start`."""
    places = tile.places
    if places and start + places[-1] >= len(found):
        raise TileDamaged(
            f"a tile of {span.month} has views of article number {start + places[-1]}, which there is not"
        )
    for place, n in zip(places, tile.sums if span.whole else tile.views(span.first, span.last), strict=True):
        found[start + place] += n


def _resolved(views: All, numbers: Mapping[bytes, int], aliases: Mapping[bytes, bytes]) -> All:
    """Move the views of merged articles to the articles that they were merged into."""
    by_number, without = views
    for alias, end in aliases.items():
        n = without.pop(alias, 0)
        if alias in numbers:
            n += by_number[numbers[alias]]
            by_number[numbers[alias]] = 0
        if not n:
            continue
        if end in numbers:
            by_number[numbers[end]] += n
        else:
            without[end] = without.get(end, 0) + n
    return views
