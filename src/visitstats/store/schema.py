"""Checks the schema number of the store (`core.schema`): any other is refused in one line."""

from contextlib import suppress
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from visitstats.core.errors import StoreUnfit
from visitstats.core.schema import OLDEST_SCHEMA, SCHEMA_NUMBER
from visitstats.store import keys
from visitstats.store.client import IN_CLUSTER, foreign, translated

RESTORING = b"restoring "
"""How `vs:sites:version` begins while a backup is loaded (`store.loading`)."""


async def claim_store(client: Redis) -> None:
    """Refuse (StoreUnfit) a store of another schema; write the number into one that is new. Raises StoreUnavailable."""
    if not await check_schema(client):
        with translated():
            await client.set(keys.SCHEMA, SCHEMA_NUMBER, nx=True)
        await check_schema(client)


async def refuse_cluster(client: Redis) -> None:
    """Refuse (StoreUnfit) a node of a cluster. Raises StoreUnavailable."""
    with translated(), suppress(ResponseError):  # a server that does not tell is let pass
        server: Any = await client.info("server")
        if "cluster" in (server.get("redis_mode"), server.get("server_mode")):
            raise StoreUnfit(IN_CLUSTER)


async def check_schema(client: Redis) -> bool:
    """Refuse (StoreUnfit) a store of another schema and a node of a cluster. Return whether the store has our number; a
    new one has none. Nothing is written. Raises StoreUnavailable."""
    await refuse_cluster(client)
    with translated():
        try:
            number: Any = await client.get(keys.SCHEMA)
        except ResponseError as error:
            if not str(error).startswith("WRONGTYPE"):
                raise
            raise StoreUnfit(foreign(keys.SCHEMA)) from error
        if number is None and await client.exists(keys.SITES, keys.SITES_VERSION, keys.TOKENS):
            with suppress(ResponseError):
                version: Any = await client.get(keys.SITES_VERSION)
                if (version or b"").startswith(RESTORING):
                    raise StoreUnfit(
                        "a backup is being restored into the store, or a restore broke off: run visitstats restore"
                    )
            raise StoreUnfit(f"the store was written by a version before schema {OLDEST_SCHEMA}; use an empty database")
    if number is not None and number != str(SCHEMA_NUMBER).encode():
        shown = number.decode("utf-8", "replace")[:20] if isinstance(number, bytes) else number
        if shown.isdigit() and OLDEST_SCHEMA <= int(shown) < SCHEMA_NUMBER:
            raise StoreUnfit(
                f"the store has schema {shown}, this program schema {SCHEMA_NUMBER}: stop all services on it, "
                "and start this one, which upgrades it"
            )
        raise StoreUnfit(f"the store has schema {shown}, this program schema {SCHEMA_NUMBER}: use its own version")
    return number is not None
