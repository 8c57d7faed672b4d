"""Agreeing on a rebuild: when a store has come back older, every writer puts back what it had decided before anyone
decides anything new. Otherwise a reader whose last page is not back yet would start a second visit with another worker.

A rebuild has an id: the store's run id, which is another after each restart and failover; or, when the store lost data
without either, an id that the first who saw it announced. Writers note in a set that they are done.
"""

import secrets

from redis.asyncio import Redis

from visitstats.store import keys
from visitstats.store.client import translated

ANNOUNCED_SECONDS = 15
"""By then everybody has joined; afterwards the run id stands for the store again."""
KEPT_SECONDS = 24 * 3600


class Rebuilds:
    """Every method may raise StoreUnavailable."""

    def __init__(self, client: Redis) -> None:
        self._client = client

    async def current(self) -> str:
        """Return the id of the rebuild that the store as it is now asks for."""
        with translated():
            announced = await self._client.get(keys.REBUILD)
            if announced is not None:
                return announced.decode() if isinstance(announced, bytes) else str(announced)
            info = await self._client.info("server")
        return str(info["run_id"])

    async def announce(self) -> None:
        """Say that the store has lost data, unless somebody has said so already."""
        with translated():
            await self._client.set(keys.REBUILD, secrets.token_hex(8), nx=True, ex=ANNOUNCED_SECONDS)

    async def note(self, rebuild: str, writer: str) -> None:
        """Note that a writer has put back what it had decided."""
        name = keys.rebuilt(rebuild)
        with translated():
            async with self._client.pipeline(transaction=False) as pipe:
                pipe.sadd(name, writer)
                pipe.expire(name, KEPT_SECONDS)
                await pipe.execute()

    async def done(self, rebuild: str) -> set[str]:
        """Return the writers that have."""
        with translated():
            found = await self._client.smembers(keys.rebuilt(rebuild))
        return {writer.decode() if isinstance(writer, bytes) else str(writer) for writer in found}
