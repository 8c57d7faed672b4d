"""A dump: all our keys in a file that any supported server can take, whatever its version and its maker.

Servers have dumps of their own (RDB, DUMP), which older ones, and the other maker's, cannot read. This one says what
the keys hold: it is the same for Redis and Valkey, and moves an installation from one to the other.

    MAGIC, then frames: length (4 bytes, little-endian), zlib of msgpack [[name, type, end of life in ms or -1, items]…]
    items of a hash: field, value, …; of a set: members; of a sorted set: member, score, …; of a string: its value
    the last frame has length 0: a file that was cut has none
"""

import struct
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
from redis.asyncio import Redis

from visitstats.core.batch import OTHER_ID
from visitstats.core.counting import SALT_LIFE_MS
from visitstats.core.errors import VisitstatsError
from visitstats.store import keys
from visitstats.store.client import translated
from visitstats.store.reads import mark_of

MAGIC = b"vsdump1\n"
LENGTH = struct.Struct("<I")
PAGE = 1000
"""How many fields one command reads."""
KEYS = 250
FRAME_BYTES = 1 << 18
RECENT = frozenset({"salt", "seen", "hits", "taken", "redo", "packing"})
"""The keys that the store forgets within two days. With the day's salt, most of them tell who was here: they go into a
file of their own, which is deleted when the salt's life has ended."""
LEFT_OUT = frozenset({"lease"})


class DumpDamaged(VisitstatsError):
    """A dump that does not hold what it should."""


class Piece(msgspec.Struct, array_like=True, frozen=True):
    """A key, or a part of a large one."""

    name: bytes
    type: str
    expires_ms: int
    """-1 for never."""
    items: list[bytes]


class Totals(msgspec.Struct):
    """Sums over what a dump holds of a site, to be compared after it was loaded."""

    visits: int = 0
    views: int = 0
    articles: int = 0
    hits: int = 0
    """The hits of all writers, as the watermarks say."""


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Piece]).decode


class DumpWriter:
    """Writes the two files of a dump: what lasts, and what is forgotten within two days. `now_ms` says which salts are
    of past days: nothing new is hashed with them, so they are left out."""

    def __init__(self, lasting: BinaryIO, recent: BinaryIO, now_ms: int) -> None:
        self._now_ms = now_ms
        self._files = {False: lasting, True: recent}
        self._frames: dict[bool, list[Piece]] = {False: [], True: []}
        self._sizes = {False: 0, True: 0}
        self.totals: dict[str, Totals] = {}
        self.keys = 0
        self._last = b""
        self.strange: list[str] = []
        """Keys with names like ours that another program wrote: they are left out."""
        for file in self._files.values():
            file.write(MAGIC)

    def add(self, piece: Piece) -> None:
        """Add a key, or a further part of it: its parts follow each other."""
        named = keys.parse(piece.name.decode("utf-8", "backslashreplace"))
        if named is None or named.kind.type != piece.type:
            self.strange.append(piece.name.decode("utf-8", "backslashreplace"))
            return
        past = named.kind.word == "salt" and 0 <= piece.expires_ms <= self._now_ms + SALT_LIFE_MS
        if past or named.kind.word in LEFT_OUT:
            return
        self.keys += piece.name != self._last
        self._last = piece.name
        self._count(named, piece.items)
        recent = named.kind.word in RECENT
        self._frames[recent].append(piece)
        self._sizes[recent] += len(piece.name) + sum(map(len, piece.items))
        if self._sizes[recent] >= FRAME_BYTES:
            self._flush(recent)

    def close(self) -> None:
        """Write the ends."""
        for recent, file in self._files.items():
            self._flush(recent)
            file.write(LENGTH.pack(0))

    def _flush(self, recent: bool) -> None:
        if self._frames[recent]:
            data = zlib.compress(_encode(self._frames[recent]), 1)
            self._files[recent].write(LENGTH.pack(len(data)) + data)
            self._frames[recent], self._sizes[recent] = [], 0

    def _count(self, named: keys.Named, items: list[bytes]) -> None:
        if not named.site:
            return
        totals = self.totals.setdefault(named.site, Totals())
        pairs = list(zip(items[::2], items[1::2], strict=False))
        word = named.kind.word
        if word == "counts":
            for field, value in pairs:
                kind, _, when = field.partition(b":")
                if when in (b"all", b"base") and value.isdigit():
                    totals.visits += int(value) if kind == b"visits" else 0
                    totals.views += int(value) if kind == b"views" else 0
        elif word == "articles":
            totals.articles += sum(1 for field, _ in pairs if field != OTHER_ID)
        elif word == "marks":
            totals.hits += sum(mark_of(value).total for _, value in pairs)


def read_dump(path: Path) -> Iterator[list[Piece]]:
    """Yield what is in a file, frame by frame. Raises DumpDamaged and OSError."""
    with path.open("rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            raise DumpDamaged(f"{path} is no dump of this version")
        while True:
            head = file.read(LENGTH.size)
            length = LENGTH.unpack(head)[0] if len(head) == LENGTH.size else -1
            if length == 0:
                return
            data = file.read(length) if length > 0 else b""
            if not data or len(data) < length:
                raise DumpDamaged(f"{path} is cut off")
            try:
                yield _decode(zlib.decompress(data))
            except (zlib.error, msgspec.MsgspecError) as error:
                raise DumpDamaged(f"{path} is damaged: {error}") from error


# Reading a store ------------------------------------------------------------------------------------------------------


async def dump_all(client: Redis, writer: DumpWriter, progress: Callable[[int, int], None]) -> None:
    """Write all our keys of a store that no other process uses. Raises StoreUnavailable."""
    with translated():
        total = int(await client.dbsize())
    done = 0
    async for page in _names(client):
        async for piece in _contents(client, page):
            writer.add(piece)
        done += len(page)
        progress(done, max(total, done))


async def _names(client: Redis) -> AsyncIterator[list[bytes]]:
    """Yield the names of our keys, each once."""
    known: set[bytes] = set()
    cursor = 0
    while True:
        page: Any
        with translated():
            cursor, page = await client.scan(cursor, match=keys.of_site(""), count=KEYS)
        fresh = [name for name in dict.fromkeys(page) if name not in known]
        known.update(fresh)
        yield fresh
        if not cursor:
            return


async def _contents(client: Redis, names: list[Any]) -> AsyncIterator[Piece]:
    """Yield these keys, large ones in pieces."""
    with translated():
        async with client.pipeline(transaction=False) as pipe:
            for name in names:
                pipe.type(name)
                pipe.pexpiretime(name)
            about = await pipe.execute()
    for name, kind, expires in zip(names, about[::2], about[1::2], strict=True):
        if kind == b"none":
            continue
        async for items in _items(client, name, kind.decode()):
            yield Piece(name, kind.decode(), expires, items)


async def _items(client: Redis, name: bytes, kind: str) -> AsyncIterator[list[bytes]]:
    if kind == "string":
        with translated():
            value: Any = await client.get(name)
        yield [value or b""]
        return
    scan: Any = {"hash": client.hscan, "set": client.sscan, "zset": client.zscan}.get(kind)
    if scan is None:
        yield []
        return
    cursor = 0
    while True:
        with translated():
            cursor, page = await scan(name, cursor, count=PAGE)
        if page:
            yield _flat(kind, page)
        if not cursor:
            return


def _flat(kind: str, page: Any) -> list[bytes]:
    if kind == "hash":
        return [each for pair in page.items() for each in pair]
    if kind == "zset":
        return [each for member, score in page for each in (member, b"%.17g" % score)]
    return list(page)


# Reading a store in which others are at work -------------------------------------------------------------------------

AT_ONCE = 20_000
"""A site with no more fields is read in one transaction at once, which holds the server for some 10 ms."""
MOST_AT_ONCE = 500_000
"""A site with more fields is never read in one transaction: when each try to read it in pieces met a commit, it is not
read at one moment."""
TRIES = 5


async def dump_beside(client: Redis, writer: DumpWriter, progress: Callable[[int, int], None]) -> list[str]:
    """Write all our keys of a store in which services count: each site at one moment of its own, which is what a replay
    needs. Return the sites of which that could not be done. Raises StoreUnavailable.

    A small site is read in one transaction. A large one is read in pieces, and again when something has changed
    meanwhile; after some tries it is read in one transaction all the same: its hits wait in the journals that long.
    """
    done: set[bytes] = set()
    inexact: set[str] = set()
    read: dict[str, bytes] = {}
    while True:
        # A key that is made while the scan has passed its place is found by the next scan: then its site is read anew.
        by_site: dict[str, list[bytes]] = {}
        async for page in _names(client):
            for name in page:
                named = keys.parse(name.decode("utf-8", "backslashreplace"))
                by_site.setdefault(named.site if named else "", []).append(name)
        fresh = {site: names for site, names in by_site.items() if not done.issuperset(names)}
        if not fresh:
            break
        for n, (site, names) in enumerate(sorted(fresh.items()), 1):
            pieces, exact = await _site(client, site, names)
            read[site] = zlib.compress(_encode(pieces), 1)
            if not exact:
                inexact.add(site)
            done.update(names)
            progress(n, len(fresh))
    for packed in read.values():
        for piece in _decode(zlib.decompress(packed)):
            writer.add(piece)
    return sorted(inexact)


async def _site(client: Redis, site: str, names: list[bytes]) -> tuple[list[Piece], bool]:
    pieces: list[Piece] = []
    for _ in range(TRIES):
        if await _fields(client, names) <= AT_ONCE:
            return await _at_once(client, names), True
        before = await _state(client, site)
        pieces = [piece async for piece in _contents(client, names)]
        if await _state(client, site) == before:
            return pieces, True
    if await _fields(client, names) <= MOST_AT_ONCE:
        return await _at_once(client, names), True
    return pieces, False


async def _state(client: Redis, site: str) -> Any:
    """Return what differs after each change of a ledger: its watermarks, and the packed months, because packing removes
    keys."""
    with translated():
        async with client.pipeline(transaction=True) as pipe:
            pipe.hgetall(keys.marks(site))
            pipe.hgetall(keys.packed(site))
            return await pipe.execute()


async def _fields(client: Redis, names: list[bytes]) -> int:
    with translated():
        async with client.pipeline(transaction=False) as pipe:
            for name in names:
                pipe.hlen(name)
                pipe.scard(name)
                pipe.zcard(name)
            replies = await pipe.execute(raise_on_error=False)
    return sum(reply for reply in replies if isinstance(reply, int))


async def _at_once(client: Redis, names: list[Any]) -> list[Piece]:
    """Read these keys in one transaction."""
    reading: Any = {"hash": "hgetall", "set": "smembers", "string": "get"}
    with translated():
        async with client.pipeline(transaction=False) as pipe:
            for name in names:
                pipe.type(name)
            kinds = [kind.decode() for kind in await pipe.execute()]
        async with client.pipeline(transaction=True) as pipe:
            for name, kind in zip(names, kinds, strict=True):
                if kind == "zset":
                    pipe.zrange(name, 0, -1, withscores=True)
                else:
                    getattr(pipe, reading.get(kind, "type"))(name)
                pipe.pexpiretime(name)
            replies = await pipe.execute()
    found: list[Piece] = []
    for name, kind, value, expires in zip(names, kinds, replies[::2], replies[1::2], strict=True):
        if kind == "none" or value is None or (kind in ("hash", "set", "zset") and not value):
            continue
        items = [value] if kind == "string" else _flat(kind, value) if kind in ("hash", "set", "zset") else []
        found.append(Piece(name, kind, expires, items))
    return found
