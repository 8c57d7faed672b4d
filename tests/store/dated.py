"""The dated counts of a site as a test looks at them: by date, month, year, "all" and "base"."""

from __future__ import annotations

from typing import Any

from redis.asyncio import Redis

from visitstats.store import keys


async def dated(client: Redis, site: str, kind: str) -> dict[str, int]:
    """All visits, views or hits (`kind`) of a site."""
    found: dict[str, int] = {}
    years: Any = await client.hgetall(keys.counts(site))
    pages = {"": years}
    async for raw in client.scan_iter(keys.days(site, "*")):
        page: Any = await client.hgetall(raw)
        pages[raw.decode().rpartition(":")[2]] = page
    for month, page in pages.items():
        for field, n in page.items():
            what, _, name = field.decode().partition(":")
            if what == kind:
                found["-".join(filter(None, (month, name)))] = int(n)
    return found


async def hours(client: Redis, site: str) -> dict[str, int]:
    """The visits, views and hits of all hours that are kept: "2036-11-24 visits:14"."""
    found: dict[str, int] = {}
    async for raw in client.scan_iter(keys.hours(site, "*")):
        page: Any = await client.hgetall(raw)
        date = raw.decode().rpartition(":")[2]
        for field, n in page.items():
            if field.partition(b":")[0] in (b"visits", b"views", b"hits"):
                found[f"{date} {field.decode()}"] = int(n)
    return found


async def put(client: Redis, site: str, kind: str, counts: dict[str, int | str]) -> None:
    """Set dated counts of a site."""
    for name, n in counts.items():
        await client.hset(*keys.count_at(site, kind, name), n)
