"""Views of some articles on some days, read from the store at the moment at which a row is shown.

For packed months the sums that the index has made of their tiles are used, because a tile never changes.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from visitstats.core.keys import article_id
from visitstats.core.periods import Day
from visitstats.core.ranges import Range
from visitstats.reading.closed import Closed
from visitstats.reading.index import SITE_BITS, Index, Known
from visitstats.store.register import Register

_NUMBER = (1 << SITE_BITS) - 1


class Article(NamedTuple):
    """An article together with those merged into it. Views by day stay with the article that got them."""

    id: bytes
    own: tuple[bytes, ...]
    """Its own id, and those of its aliases."""
    numbers: tuple[int, ...]
    """Their numbers. An article that was merged before numbers existed has none until a month of it is packed."""


class RowViews:
    """Reads views of days. Methods raise what `Closed` does."""

    def __init__(self, index: Index, register: Register, closed: Closed) -> None:
        self._index = index
        self._register = register
        self._closed = closed
        self._name: tuple[object, ...] = ()
        self._aliases: Mapping[bytes, tuple[bytes, int | None]] = {}
        self._dates: list[str] = []

    async def articles(self, site: str, known: Known, numbers: Sequence[int]) -> list[Article]:
        """Return the articles with these numbers, in this order, leaving out those that were merged into others."""
        found: dict[int, bytes] = {}
        with self._index.reading() as connection:
            places = ",".join(str(known.sid << SITE_BITS | number) for number in numbers)
            keys = connection.execute(f"SELECT at, key FROM article WHERE at IN ({places})").fetchall()  # noqa: S608
        self._look(known)
        for at, key in keys:
            number = at & _NUMBER
            # An article that is missing in the dictionary has no key here.
            found[number] = await self._register.ids(site, number, number + 1) if key is None else article_id(key)
        aliases: dict[bytes, list[tuple[bytes, int | None]]] = {}
        wanted = set(found.values())
        for alias, (target, place) in self._aliases.items():
            if target in wanted:
                aliases.setdefault(target, []).append((alias, place))
        articles = []
        for number in numbers:
            if number in found and found[number] not in self._aliases:
                article = found[number]
                own = [(article, number), *aliases.get(article, ())]
                more = tuple(each for _, each in own if each is not None)
                articles.append(Article(article, tuple(each for each, _ in own), more))
        return articles

    async def open_views(self, site: str, known: Known, today: Day, asked: Range) -> dict[bytes, int]:
        """Return the views by article id on the days of a range that are not packed; merged articles are not added up.
        If most articles of the range are shown, this costs less than asking for each of them."""
        found: dict[bytes, int] = {}
        for date in self._open(known, today):
            if asked.first <= date <= asked.last:
                for article, n in (await self._register.day(site, date)).items():
                    found[article] = found.get(article, 0) + n
        return found

    async def views(
        self, site: str, known: Known, today: Day, asked: Sequence[tuple[Article, Range]],
        ahead: Mapping[bytes, int] | None = None,
    ) -> list[int]:  # fmt: skip
        """Return the views of each of these articles in its range. `ahead` is the result of `open_views` for it."""
        if not asked:
            return []
        found = await self._in_closed_months(site, known, asked)
        if ahead is not None:
            for place, (article, _) in enumerate(asked):
                found[place] += sum(ahead.get(each, 0) for each in article.own)
            return found
        dates = self._open(known, today)
        wanted: dict[str, list[tuple[int, bytes]]] = {}
        for place, (article, days) in enumerate(asked):
            own = [(place, each) for each in article.own]
            for date in dates[bisect_left(dates, days.first) : bisect_right(dates, days.last)]:
                wanted.setdefault(date, []).extend(own)
        pairs = [(date, [article for _, article in places]) for date, places in wanted.items()]
        async for date, counts in self._register.views(site, pairs):
            for (place, _), n in zip(wanted[date], counts, strict=True):
                found[place] += n
        return found

    async def _in_closed_months(self, site: str, known: Known, asked: Sequence[tuple[Article, Range]]) -> list[int]:
        ranges = {(days.first, days.last) for _, days in asked}
        if len(ranges) == 1:
            sums = await self._closed.views(site, known, asked[0][1])
            return [sum(sums[number] for number in article.numbers) for article, _ in asked]
        places = [place for place, (article, _) in enumerate(asked) for _ in article.numbers]
        each = [(number, days) for article, days in asked for number in article.numbers]
        found = [0] * len(asked)
        for place, n in zip(places, await self._closed.each(site, known, each), strict=True):
            found[place] += n
        return found

    def _open(self, known: Known, today: Day) -> list[str]:
        """Return the dates for which the store has views beside the packed months. Today and yesterday are included,
        because counts may have come since the index was updated."""
        self._look(known)
        return sorted({*self._dates, today.date, today.yesterday})

    def _look(self, known: Known) -> None:
        name = (known.sid, known.version)
        if self._name != name:
            with self._index.reading() as connection:
                rows = connection.execute(
                    "SELECT alias.id, alias.target, place.number FROM alias"
                    " LEFT JOIN place ON place.id = alias.id AND place.sid = alias.sid WHERE alias.sid = ?",
                    (known.sid,),
                ).fetchall()
                dates = connection.execute("SELECT date FROM day WHERE sid = ?", (known.sid,)).fetchall()
            self._aliases = {_bytes(alias): (_bytes(target), number) for alias, target, number in rows}
            self._dates = [date for (date,) in dates]
            self._name = name


def _bytes(article: int) -> bytes:
    return article.to_bytes(8, "big", signed=True)
