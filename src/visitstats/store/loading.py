"""Loads a dump into an empty store, so that no service counts in it before it is whole.

The first key that is written is `vs:sites:version` with a word that names the backup, the last is `vs:schema`. A store
with sites and without a schema number is refused by every service (`store.schema`). A load that was broken off can be
done again, from the same backup only: every command in it sets what it sets.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from visitstats.core.errors import StoreUnavailable, VisitstatsError
from visitstats.core.schema import SCHEMA_NUMBER
from visitstats.store import keys
from visitstats.store.client import translated
from visitstats.store.dump import Piece, read_dump
from visitstats.store.schema import RESTORING

_HELD = frozenset(name.encode() for name in (keys.SCHEMA, keys.SITES_VERSION))
"""Keys that are written last."""

IN_USE = "a service began to use the store meanwhile: stop all services that use it, and empty it before another try"


class StoreNotEmpty(VisitstatsError):
    """A store that holds something of ours already: a backup is restored into an empty one only."""


async def check_empty(client: Redis, backup: str) -> bool:
    """Refuse (StoreNotEmpty) a store that holds keys of ours; return whether a load of the same backup was broken off
    in it. Raises StoreUnavailable."""
    with translated():
        if await client.get(keys.SITES_VERSION) == _word(backup):
            return True
        cursor = 0
        while True:
            page: Any
            cursor, page = await client.scan(cursor, match=keys.of_site(""), count=1000)
            if page:
                shown = page[0].decode("utf-8", "backslashreplace")
                raise StoreNotEmpty(
                    f"the store is not empty (it has {shown}): a backup is restored into an empty one only. For the "
                    "embedded store move the folder valkey/ away; of another, name an empty database (redis://…/1)"
                )
            if not cursor:
                return False


async def load_dump(client: Redis, paths: list[Path], backup: str, progress: Callable[[int], None]) -> None:
    """Load the files of a dump into an empty store; `progress` is told how many keys were written. Raises
    StoreNotEmpty, StoreUnavailable, DumpDamaged and OSError."""
    if not await check_empty(client, backup):
        with translated():
            # A service that starts at this moment claims the store with the same key: only one of us gets it.
            if not await client.set(keys.SITES_VERSION, _word(backup), nx=True):
                raise StoreNotEmpty(IN_USE)
    await _check_unused(client)
    version: bytes | None = None
    written = 0
    for path in paths:
        for frame in read_dump(path):
            with translated():
                async with client.pipeline(transaction=False) as pipe:
                    for piece in frame:
                        if piece.name in _HELD:
                            version = piece.items[0] if piece.name == keys.SITES_VERSION.encode() else version
                        else:
                            _write(pipe, piece)
                    replies = await pipe.execute(raise_on_error=False)
                for reply in replies:
                    if isinstance(reply, Exception):
                        raise StoreUnavailable(f"the store does not take the backup: {reply}") from reply
            written += len(frame)
            progress(written)
    await _check_unused(client)
    with translated():
        async with client.pipeline(transaction=True) as pipe:
            if version is None:
                pipe.delete(keys.SITES_VERSION)
            else:
                pipe.set(keys.SITES_VERSION, version)
            pipe.set(keys.SCHEMA, SCHEMA_NUMBER)
            await pipe.execute()


async def _check_unused(client: Redis) -> None:
    """Refuse a store in which a service has begun to count since we looked."""
    with translated():
        if await client.exists(keys.SCHEMA):
            raise StoreNotEmpty(IN_USE)


def _write(pipe: Any, piece: Piece) -> None:
    name, items = piece.name, piece.items
    if piece.type == "hash":
        pipe.hset(name, items=items)
    elif piece.type == "set":
        pipe.sadd(name, *items)
    elif piece.type == "zset":
        pipe.zadd(name, {member: float(score) for member, score in zip(items[::2], items[1::2], strict=True)})
    else:
        pipe.set(name, items[0])
    if piece.expires_ms >= 0:
        pipe.pexpireat(name, piece.expires_ms)


def _word(backup: str) -> bytes:
    return RESTORING + backup.encode()
