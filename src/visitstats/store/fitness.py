"""Whether a store may be counted in: what is refused at the start, and what `visitstats doctor` looks at."""

import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec
from redis.asyncio import Redis
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    InvalidResponse,
    NoPermissionError,
    ResponseError,
)

from visitstats.core.counting import HALF_HOUR_MS, HOUR_MS
from visitstats.core.errors import StoreUnavailable, StoreUnfit
from visitstats.core.periods import Calendar
from visitstats.core.sites import Site
from visitstats.store import keys
from visitstats.store.client import ANSWER_SECONDS, foreign, open_client, translated
from visitstats.store.counts import dated_of
from visitstats.store.inspect import Inspector
from visitstats.store.reads import Reads
from visitstats.store.records import Records
from visitstats.store.rights import Rights, ask_rights
from visitstats.store.schema import check_schema

PIECE = 500
PINGS = 5


class Condition(msgspec.Struct, frozen=True):
    """The configuration and the state of a server. A text is empty, and a number -1, when the server does not tell."""

    server: str
    """redis or valkey."""
    version: str
    role: str
    mode: str
    """standalone, sentinel or cluster."""
    append_only: bool
    append_fsync: str
    append_error: str
    """What the last write or rewrite of its append-only file failed with; empty when it did not."""
    snapshot_error: str
    """What its last snapshot (RDB) failed with; empty when it did not."""
    snapshots: bool
    """Whether it makes snapshots by itself."""
    policy: str
    used_bytes: int
    most_bytes: int
    """Its memory limit, 0 for none."""
    machine_bytes: int
    clock_ahead: float
    """Seconds by which its clock is ahead of ours, measured in the middle of a round trip."""
    ping: float
    """The median time of a round trip, in seconds."""


class Fitness:
    """Looks at a server. `clock` gives the moment in milliseconds."""

    def __init__(self, client: Redis, clock: Callable[[], int]) -> None:
        self._client = client
        self._clock = clock

    async def condition(self) -> Condition:
        """Look at how the server is. Raises StoreUnavailable, and StoreUnfit when it refuses to be read."""
        with _readable():
            info: dict[str, Any] = {}
            for section in ("server", "memory", "persistence", "replication"):
                info |= await self._client.info(section)
            settings = await self._settings("appendfsync", "save", "maxmemory-policy")
            pings = []
            for _ in range(PINGS):
                began = time.perf_counter()
                await self._client.ping()
                pings.append(time.perf_counter() - began)
            before = self._clock()
            seconds, micros = await self._client.time()
            after = self._clock()
        return Condition(
            server="valkey" if "valkey_version" in info else "redis",
            version=str(info.get("valkey_version") or info.get("redis_version", "")),
            role=str(info.get("role", "")),
            mode=str(info.get("redis_mode") or info.get("server_mode", "")),
            append_only=bool(int(info.get("aof_enabled", 0))),
            append_fsync=settings.get("appendfsync", ""),
            append_error=_failed(info, "aof_last_write_status", "aof_last_bgrewrite_status"),
            snapshot_error=_failed(info, "rdb_last_bgsave_status"),
            snapshots=bool(settings.get("save")),
            policy=str(info.get("maxmemory_policy") or settings.get("maxmemory-policy", "")),
            used_bytes=int(info.get("used_memory", -1)),
            most_bytes=int(info.get("maxmemory", -1)),
            machine_bytes=int(info.get("total_system_memory", -1)),
            clock_ahead=int(seconds) + int(micros) / 1e6 - (before + after) / 2000,
            ping=sorted(pings)[PINGS // 2],
        )

    async def check_start(self) -> list[str]:
        """Refuse (StoreUnfit) a store that must not be counted in: one that evicts, that is too old, that does not let
        us read, or in which another program uses our keys. Return warnings about one that might lose something. Raises
        StoreUnavailable for one that is away."""
        with _readable():
            warnings = await Reads(self._client).check_fit()
        await self.check_keys()
        return warnings

    async def rights(self) -> Rights | None:
        """Ask for every right that we need; None when the server does not tell. Raises StoreUnavailable."""
        return await ask_rights(self._client)

    async def check_keys(self) -> None:
        """Refuse (StoreUnfit) a store in which another program uses our names, one of another schema, and site records
        that cannot be read. Nothing is written. Raises StoreUnavailable."""
        with _readable():
            await check_schema(self._client)
        await self._check_types(
            [
                keys.SITES,
                keys.SITES_VERSION,
                keys.SITES_REMOVED,
                keys.SITES_ALIASES,
                keys.TOKENS,
                keys.TOKENS_USED,
                keys.refusals(datetime.fromtimestamp(self._clock() / 1000, UTC).date().isoformat()),
                keys.HOSTS,
                keys.TASKS,
                keys.ran(keys.quarter_of(self._clock())[0]),
                keys.lease("close-days"),
            ]
        )
        with _readable():
            sites = await Records(self._client).sites()
        await self._check_types([name for site in sites.values() for name in _counted_in(site, self._clock())])

    async def _check_types(self, names: list[str]) -> None:
        for start in range(0, len(names), PIECE):
            piece = names[start : start + PIECE]
            with _readable():
                async with self._client.pipeline(transaction=False) as pipe:
                    for name in piece:
                        pipe.type(name)
                    types = await pipe.execute()
            for name, raw in zip(piece, types, strict=True):
                named, found = keys.parse(name), raw.decode()
                if named is not None and found not in ("none", named.kind.type):
                    raise StoreUnfit(foreign(name, f"a {found}, not a {named.kind.type}"))

    async def _settings(self, *names: str) -> dict[str, str]:
        try:
            found: dict[Any, Any] = await self._client.config_get(*names)
        except ResponseError:
            return {}  # hosted servers don't show them
        return {_text(name): _text(value) for name, value in found.items()}


class Parts(NamedTuple):
    """The parts of the store that commands use, over one connection."""

    url: str
    client: Redis
    records: Records
    reads: Reads
    inspector: Inspector
    fitness: Fitness


@asynccontextmanager
async def opened(url: str, clock: Callable[[], int], answer_seconds: float = ANSWER_SECONDS) -> AsyncIterator[Parts]:
    """Open a store for as long as the block takes."""
    client = open_client(url, answer_seconds)
    try:
        yield Parts(url, client, Records(client), Reads(client), Inspector(client), Fitness(client, clock))
    finally:
        await client.aclose()
        await client.connection_pool.disconnect()


def _counted_in(site: Site, now_ms: int) -> list[str]:
    """The keys in which the next hits of a site are counted."""
    day = Calendar(site.timezone, site.week_start).day_at(now_ms)
    half_hour = now_ms // HALF_HOUR_MS
    return [
        *keys.of_commit(site.id, day.date, day.yesterday, (now_ms - day.start_ms) // HOUR_MS, half_hour),
        *dated_of(site.id, day, "visits").keys,
        *keys.of_change(site.id),  # among them the one of writes that are put down
        *keys.of_amounts(site.id, keys.CORRECTIONS, day.date),
        *keys.of_facts(site.id),
        *keys.of_closing(site.id, day.last_month),
        keys.imports(site.id),
        keys.salt(site.id, day.date, day.end_ms).name,
        keys.uniques(site.id, day.year),
        keys.peaks(site.id, day.year),
        keys.packed(site.id),
        keys.tiles(site.id, day.month),
    ]


@contextmanager
def _readable() -> Iterator[None]:
    """Distinguish a store that does not let us read from one that is away."""
    try:
        with translated():
            yield
    except StoreUnavailable as error:
        cause: BaseException | None = error
        while cause is not None:  # redis-py wraps what happens while it connects
            if isinstance(cause, AuthenticationError | AuthorizationError | NoPermissionError):
                raise StoreUnfit(f"the store does not let us in: {cause}; see redis_url") from error
            if isinstance(cause, InvalidResponse):
                raise StoreUnfit(f"what answers at redis_url is no Redis or Valkey: {cause}") from error
            cause = cause.__cause__
        raise


def _failed(info: dict[str, Any], *names: str) -> str:
    return ", ".join(f"{name} is {info[name]}" for name in names if str(info.get(name, "ok")) != "ok")


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
