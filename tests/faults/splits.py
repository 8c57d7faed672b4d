"""Split brain: a replica is promoted while the old primary lives, and both take hits; then there is one again.

Each side decides about visits alone, so a reader who comes to both for the first time is on a visit at each
(`test_split_brain.py`). The readers here were known before: their visits are as exact as their hits.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
from collections.abc import AsyncIterator
from typing import Any

from tests.client import Connection, StoreAway, until
from tests.driver import Load, Service, under
from tests.faults.arena import READERS, Arena, Round, Server
from tests.faults.conserved import Stream
from visitstats.store import keys

ENOUGH = 50
"""Hits that a side must have counted before the other one wins."""
VISITORS = 400
"""Readers of a stream."""


async def leave_a_worker_behind(arena: Arena, this: Round, chance: random.Random) -> None:
    """It goes on with the old primary, its neighbour with the new one; then it is brought over."""
    async with _readers_at_every_worker(arena, this):
        old = arena.store
        new = await promoted(arena, this)
        arena.proxy.split(new.path, chance.choice(arena.service.workers))
        await both_count(arena, this, old, new)
        arena.proxy.switch(new.path)
    old.kill()


async def kill_the_worker_left_behind(arena: Arena, this: Round, chance: random.Random) -> None:
    """What it acknowledged is nowhere but in its journal and in a store that nobody will ask again. Its neighbour, who
    talks to the new primary, takes its slot over."""
    async with _readers_at_every_worker(arena, this):
        old = arena.store
        new = await promoted(arena, this)
        stuck = chance.choice(arena.service.workers)
        arena.proxy.split(new.path, stuck)
        await both_count(arena, this, old, new)
        os.kill(arena.service.pid, signal.SIGSTOP)  # or a new worker would take the slot
        try:
            os.kill(stuck, signal.SIGKILL)
            arena.proxy.switch(new.path)
            await all_counted(arena, this)
        finally:
            os.kill(arena.service.pid, signal.SIGCONT)
        await arena.replaced(stuck)
    old.kill()


async def leave_a_service_behind(arena: Arena, this: Round, chance: random.Random) -> None:
    """One with a data folder of its own goes over to the new primary, the other one later."""
    old = arena.store
    await this.more(VISITORS)
    new = await promoted(arena, this)
    other = arena.another(f"data-{len(arena.services)}", new.url)
    await asyncio.to_thread(other.start)
    async with _readers(other, this, READERS // 2):
        await both_count(arena, this, old, new)
        arena.proxy.switch(new.path)
    await asyncio.to_thread(other.stop)
    old.kill()


async def use_the_old_primary_again(arena: Arena, this: Round, chance: random.Random) -> None:
    """It becomes a replica of the new one, which throws its own writes away, and is promoted in its turn. A worker has
    talked to it all the while."""
    async with _readers_at_every_worker(arena, this):
        old = arena.store
        new = await promoted(arena, this)
        arena.proxy.split(new.path, chance.choice(arena.service.workers))
        await both_count(arena, this, old, new)
        async with arena.client(old.url) as client:
            await client.replicaof("127.0.0.1", new.port)
            await linked(client)
            await this.more(chance.randrange(20, 200))
            new.kill()
            await client.replicaof("NO", "ONE")
        arena.store = old
        arena.proxy.switch(old.path)


# What they share ------------------------------------------------------------------------------------------------------


async def promoted(arena: Arena, this: Round) -> Server:
    """Make a replica of the store that has all readers, and promote it: there are two primaries then."""
    old = arena.store
    new = await arena.server(f"replica-{len(arena.servers)}")
    async with arena.client(new.url) as client:
        await client.replicaof("127.0.0.1", old.port)
        await linked(client)
        await has_everything(arena, this, new)
        await client.replicaof("NO", "ONE")
    return new


async def linked(replica: Any) -> None:
    """Wait until a replica has a copy."""

    async def in_step() -> bool:
        return bool((await replica.info("replication"))["master_link_status"] == "up")

    await until(in_step, "the replica has a copy")


async def has_everything(arena: Arena, this: Round, store: Server) -> None:
    """Wait until a store has what was acknowledged so far."""
    wanted = sum(len(load.acknowledged) for load, _ in this.all)

    async def there() -> bool:
        return await counted(arena, this, store) >= wanted

    await until(there, "the acknowledged hits are counted", 15)


async def all_counted(arena: Arena, this: Round) -> None:
    """Wait until each hit is counted that was acknowledged so far."""
    wanted = [hit.article for load, _ in this.all for hit in load.acknowledged]

    async def there() -> bool:
        connection = await Connection.open(arena.service.port)
        try:
            return all((await connection.views(this.site, wanted)).values())
        except StoreAway:
            return False
        finally:
            connection.close()

    await until(there, "what the dead worker acknowledged is counted", 15)


async def both_count(arena: Arena, this: Round, old: Server, new: Server) -> None:
    """Wait until either primary has counted hits that the other will never have from it."""
    known = (await counted(arena, this, old), await counted(arena, this, new))

    async def both() -> bool:
        return min(await counted(arena, this, old) - known[0], await counted(arena, this, new) - known[1]) >= ENOUGH

    await until(both, "both primaries count", 20)


async def counted(arena: Arena, this: Round, store: Server) -> int:
    """The views of a round's site in one store."""
    async with arena.client(store.url) as client:
        return int(await client.hget(*keys.count_at(this.site, "views", "all")) or 0)


@contextlib.asynccontextmanager
async def _readers_at_every_worker(arena: Arena, this: Round) -> AsyncIterator[None]:
    """More readers, so that certainly each worker has some; all of the round's have been here before."""
    load, stream = Load(arena.service, this.site), Stream(f"{this.site}b")
    this.others.append((load, stream))
    connections = await arena.service.connections(each=2)
    async with under(load.run(stream, connections=connections)):
        await load.more(VISITORS, 30)
        await this.more(VISITORS)
        try:
            yield
        finally:
            stream.over = True


@contextlib.asynccontextmanager
async def _readers(service: Service, this: Round, many: int) -> AsyncIterator[None]:
    """Readers at another service."""
    load, stream = Load(service, this.site), Stream(f"{this.site}b")
    this.others.append((load, stream))
    async with under(load.run(stream, readers=many)):
        await load.more(ENOUGH, 30)
        try:
            yield
        finally:
            stream.over = True
