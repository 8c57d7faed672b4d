"""Reads all counts of a site and of its articles, for an export: in pieces, and without writing."""

from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import msgspec
from redis.asyncio import Redis

from visitstats.core.counting import NUMBERS_BASELINE
from visitstats.core.entries import Entry
from visitstats.core.entries import decode as decode_entry
from visitstats.core.errors import StoreUnavailable
from visitstats.core.periods import ALL_TIME
from visitstats.store import keys
from visitstats.store.client import translated

KINDS = ("visits", "views")
TOGETHER = 13
"""How many months are read at one moment with the counts of years: hits still change these. 0.3 ms on the server."""
MONTHS_PAGE = 12
PAGE = 1000

Counts = dict[str, dict[str, int]]
"""Date, month, year, or "" for all of time with the baseline → kind → count."""


class Kept(NamedTuple):
    """An article with its views of all time."""

    id: bytes
    views: int
    entry: Entry


class SiteCounts:
    """Every method may raise StoreUnavailable."""

    def __init__(self, client: Redis) -> None:
        self._client = client

    async def periods(self, site: str) -> Counts:
        """Return every dated count of a site, and those of all time, in ascending order. What hits still change is
        read at one moment, so that days, months, years and all of time agree."""
        with translated():
            fields: list[Any] = await self._client.hkeys(keys.counts(site))
        years = {year for field in fields if (year := field.decode().partition(":")[2]).isdigit()}
        months = [f"{year}-{month:02}" for year in sorted(years) for month in range(1, 13)]
        pages: dict[str, Any] = {}
        closed, open_ = months[:-TOGETHER], months[-TOGETHER:]
        for start in range(0, len(closed), MONTHS_PAGE):
            pages |= await self._pages(site, closed[start : start + MONTHS_PAGE])
        with translated():
            async with self._client.pipeline(transaction=True) as pipe:
                pipe.hgetall(keys.counts(site))
                for month in open_:
                    pipe.hgetall(keys.days(site, month))
                whole, *latest = await pipe.execute()
        found: Counts = {}
        for month, page in (pages | dict(zip(open_, latest, strict=True))).items():
            for field, n in page.items():
                kind, _, day = field.decode().partition(":")
                _put(found, f"{month}-{day}" if day else month, kind, n)
        of_all: dict[str, int] = dict.fromkeys(KINDS, 0)
        for field, n in whole.items():
            kind, _, name = field.decode().partition(":")
            if kind in KINDS and name in (ALL_TIME, NUMBERS_BASELINE):
                of_all[kind] += _number(n)
            elif name.isdigit():
                _put(found, name, kind, n)
        return {"": of_all, **dict(sorted(found.items()))}

    async def _pages(self, site: str, months: list[str]) -> dict[str, Any]:
        with translated():
            async with self._client.pipeline(transaction=False) as pipe:
                for month in months:
                    pipe.hgetall(keys.days(site, month))
                return dict(zip(months, await pipe.execute(), strict=True))

    async def articles(self, site: str) -> AsyncIterator[list[Kept]]:
        """Yield all articles with their views of all time and what they are called, in pieces. One may come twice."""
        cursor = 0
        while True:
            page: Any
            with translated():
                cursor, page = await self._client.hscan(keys.articles(site), cursor, count=PAGE)
                ids: list[Any] = list(page)
                entries: list[Any] = await self._client.hmget(keys.names(site), ids) if ids else []
            yield [
                Kept(article, _number(page[article]), _entry(article, entry))
                for article, entry in zip(ids, entries, strict=True)
            ]
            if not cursor:
                return


def _put(found: Counts, period: str, kind: str, n: bytes) -> None:
    if kind in KINDS:
        found.setdefault(period, {})[kind] = _number(n)


def _entry(article: bytes, data: bytes | None) -> Entry:
    try:
        return Entry("") if data is None else decode_entry(data)
    except msgspec.DecodeError as error:
        raise StoreUnavailable(f"the name of article {article.hex()} is damaged: {error}") from error


def _number(text: bytes) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise StoreUnavailable(f"a count is no number: {text!r:.40}") from error
