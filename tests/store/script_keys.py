"""For the tests of the script itself: a batch that needs every key, what a store holds, what a server was asked."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from redis.asyncio import Redis

from tests.store.writing import CALENDAR, DAY, SITE, WRITER, gather, names_in
from visitstats.core.batch import Batch, Gathering, Said
from visitstats.core.entries import Entry
from visitstats.core.sites import Site
from visitstats.store import keys
from visitstats.store.commit import PUT_DOWN, Committer, Work
from visitstats.store.keys import of_commit

BEFORE = CALENDAR.day_named(DAY.yesterday)
SMALL = Site(id=SITE.id, hosts=SITE.hosts, max_articles=2)


def full_batch(previous: int = 0) -> Batch:
    """It needs every key: hit ids, a reader of yesterday, an article beyond the cap, a new title, a bot."""
    waiting = Gathering(SMALL, DAY)
    for n, (person, article) in enumerate([("An", "/a"), ("An", "/b"), ("Bình", "/a"), ("Chi", "/new"), ("An", "/a")]):
        gather(
            waiting,
            DAY.start_ms + n,
            person,
            article,
            f"id {n % 4}",
            says=Entry(article, f"title {n}"),
            said=Said.SIGNED,
        )
    waiting.ignored["bot"] = 1
    return waiting.close(previous, 0, DAY.start_ms)


FULL_VISITS, FULL_VIEWS = 3, 4
"""What a full batch counts."""


def keys_of(batch: Batch) -> list[str]:
    """The keys that the script takes for a batch."""
    return of_commit(batch.site, batch.day, batch.yesterday, batch.hour, batch.half_hour)


async def put_down(committer: Committer, work: Work) -> Any:
    """Take the first of a record's two steps: what it writes is put down, and not executed."""
    name, names, values = committer._call(work)
    [reply] = await committer._line.run([(name, names, [*values, PUT_DOWN])])
    return reply


async def counted(client: Redis) -> tuple[int, int]:
    """Visits and views of all time."""
    return (
        int(await client.hget(*keys.count_at(SITE.id, "visits", "all")) or 0),
        int(await client.hget(*keys.count_at(SITE.id, "views", "all")) or 0),
    )


async def mark(client: Redis, writer: str = WRITER) -> bytes | None:
    """A writer's watermark."""
    found: Any = await client.hget(keys.marks(SITE.id), writer)
    return found  # type: ignore[no-any-return]


async def contents(client: Redis) -> dict[str, tuple[Any, ...]]:
    """Everything in the store: keys with their types, values and moments of expiry."""
    readers: dict[str, Callable[[str], Any]] = {
        "string": client.get,
        "hash": client.hgetall,
        "set": client.smembers,
        "zset": lambda name: client.zrange(name, 0, -1, withscores=True),
    }
    found = {}
    for name in await names_in(client):
        kind: Any = await client.type(name)
        found[name] = (kind, await readers[kind.decode()](name), await client.pexpiretime(name))
    return found


async def calls_of(client: Redis, action: Callable[[], Awaitable[Any]]) -> dict[str, int]:
    """How often the server executes each command during an action, those of scripts among them."""
    await client.config_resetstat()
    await action()
    stats: Any = await client.info("commandstats")
    ours = {name.removeprefix("cmdstat_"): found["calls"] for name, found in stats.items()}
    return {name: calls for name, calls in ours.items() if name not in {"info", "config|resetstat"}}


async def said_by_scripts(client: Redis, action: Callable[[], Awaitable[Any]]) -> list[list[str]]:
    """The commands that scripts execute during an action, in their order, each as its words."""
    async with client.monitor() as monitor:
        await action()
        await client.echo("that was all")
        found = []
        while "that was all" not in (said := await monitor.next_command())["command"]:
            if said["client_type"] == "lua":
                found.append(said["command"].split(" "))
    return found
