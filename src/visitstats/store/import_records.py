"""Imports in the store: the record of each, and how far it is made."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec
from redis.asyncio import Redis

from visitstats.core.entries import decode as decode_entry
from visitstats.core.errors import StoreUnavailable
from visitstats.core.keys import article_id
from visitstats.core.wire import column
from visitstats.store import keys
from visitstats.store.client import translated

PAGE = 200


class Imported(msgspec.Struct, frozen=True, array_like=True):
    """The record of an import, which is kept for ever. The layout is frozen."""

    hash: str
    """A digest of the content of its files and of the options with which they were read."""
    files: tuple[str, ...]
    reader: str
    strategy: str
    options: str
    """JSON."""
    places: tuple[str, ...]
    """The place of each part: a date, a month, a year, or "" for amounts without a date."""
    visits: int
    views: int
    """How much the site's counts of all time have grown."""
    articles: int
    """How many articles the import has numbers of."""
    first: str = ""
    last: str = ""
    """The first and the last of its days."""
    warnings: tuple[str, ...] = ()
    rows: tuple[tuple[str, int], ...] = ()
    """How many rows were read, were taken, and were left out for each reason."""


class PartAmounts(NamedTuple):
    """The amounts of a part, as they are kept."""

    visits: int
    views: int
    articles: list[tuple[bytes, int]]
    """The ids of articles, and the amount of each."""


class State(NamedTuple):
    """How far an import is made."""

    staged: int
    made: frozenset[int]
    back: frozenset[int]


_pack = msgspec.msgpack.Encoder().encode
_decode_imported = msgspec.msgpack.Decoder(Imported).decode
encode_imported = _pack


def decode_imported(data: bytes) -> Imported:
    """Read what is kept of an import. Raises msgspec.DecodeError."""
    try:
        return _decode_imported(data)
    except UnicodeDecodeError as error:
        raise msgspec.DecodeError(str(error)) from error


def encode_part(visits: int, views: int, articles: Iterable[tuple[str, int]]) -> bytes:
    """Write the amounts of a part: of the site alone, and of articles by their keys."""
    listed = list(articles)
    return _pack(((visits, views), column([article_id(key) for key, _ in listed]), [n for _, n in listed]))


def decode_part(data: bytes) -> PartAmounts:
    """Read the amounts of a part. Raises msgspec.DecodeError."""
    site, ids, amounts = msgspec.msgpack.decode(data, type=tuple[tuple[int, int], msgspec.Raw, list[int]])
    raw = bytes(ids)[3:]  # behind the head of the column, each id behind its mark
    if len(raw) != 9 * len(amounts):
        raise msgspec.DecodeError("ids and amounts are not as many")
    return PartAmounts(*site, [(raw[9 * n + 1 : 9 * n + 9], each) for n, each in enumerate(amounts)])


class Imports:
    """Reads the imports of sites. Every method may raise StoreUnavailable."""

    def __init__(self, client: Redis) -> None:
        self._client = client

    async def many(self, site: str) -> int:
        """Return how many imports of a site there ever were."""
        with translated():
            return int(await self._client.hlen(keys.imports(site)))

    async def all(self, site: str) -> dict[str, Imported]:
        """Return all imports of a site, by the ids of their changes, those that were undone, too."""
        with translated():
            found: dict[Any, Any] = await self._client.hgetall(keys.imports(site))
        try:
            return {name.decode(): decode_imported(value) for name, value in found.items()}
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise StoreUnavailable(f"what is kept of an import of site {site} is damaged: {error}") from error

    async def titles(self, site: str) -> dict[str, str]:
        """Return the titles of all articles of a site, by their keys."""
        found: dict[str, str] = {}
        cursor = 0
        while True:
            with translated():
                page: Any
                cursor, page = await self._client.hscan(keys.names(site), cursor, count=1000)
            for value in page.values():
                try:
                    entry = decode_entry(value)
                except msgspec.DecodeError:
                    continue
                found[entry.key] = entry.title
            if not cursor:
                return found

    async def undone(self, site: str, ids: list[str]) -> set[str]:
        """Return those of these changes that were undone."""
        if not ids:
            return set()
        with translated():
            found: Any = await self._client.hmget(keys.changes(site), [f"{each}:undone" for each in ids])
        return {name for name, mark in zip(ids, found, strict=True) if mark is not None}

    async def state(self, site: str, change: str) -> State:
        """Return how far an import is made."""
        with translated():
            fields: list[Any] = await self._client.hkeys(keys.import_parts(site, change))
        names = [field.decode("utf-8", "replace").partition(":") for field in fields]
        made, back = (
            frozenset(int(number) for number, _, word in names if word == mark and number.isdecimal())
            for mark in ("made", "back")
        )
        return State(sum(1 for number, _, word in names if not word and number.isdecimal()), made, back)

    async def parts(self, site: str, change: str, numbers: list[int]) -> list[PartAmounts | None]:
        """Return parts of an import by their numbers; None for one that is not there, or is damaged."""
        found: list[PartAmounts | None] = []
        for start in range(0, len(numbers), PAGE):
            with translated():
                values: Any = await self._client.hmget(
                    keys.import_parts(site, change), [str(number) for number in numbers[start : start + PAGE]]
                )
            for value in values:
                try:
                    found.append(None if value is None else decode_part(value))
                except (msgspec.DecodeError, UnicodeDecodeError):
                    found.append(None)
        return found
