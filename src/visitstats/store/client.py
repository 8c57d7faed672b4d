"""Connections to Redis or Valkey, and the translation of their errors into ours."""

import re
from asyncio import get_running_loop, timeout
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AskError,
    BusyLoadingError,
    ClusterDownError,
    MovedError,
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)

from visitstats.core.errors import StoreRefuses, StoreUnavailable, StoreUnfit

CONNECT_SECONDS = 2.0
ANSWER_SECONDS = 5.0
"""After so long without an answer a connection is given up; what became of the command is then read from the
watermark."""
START_SECONDS = 1.5
"""The same for the first look at a start: one that hangs is taken for one that is away, and readers do not wait."""
POOL_SIZE = 16
LEAST_VERSION = (7, 0)
"""`#!lua` scripts and EXPIRETIME came with Redis 7.0; Valkey forked from 7.2."""


IN_CLUSTER = "the store is a node of a cluster, which has only a part of the keys; use a server that is no cluster node"


@contextmanager
def translated() -> Iterator[None]:
    """Turn redis-py's errors into StoreUnavailable, so that nobody else has to know them."""
    try:
        yield
    except (MovedError, AskError, ClusterDownError) as error:
        raise StoreUnavailable(IN_CLUSTER) from error
    except (RedisError, OSError) as error:  # a TimeoutError is an OSError
        raise StoreUnavailable(f"the store does not answer: {error}") from error
    except RuntimeError as error:
        # uvloop's word for a connection that was lost just before something is sent.
        if "handler is closed" not in str(error):
            raise
        raise StoreUnavailable(f"the store does not answer: {error}") from error


def open_pool(url: str, answer_seconds: float | None = ANSWER_SECONDS) -> ConnectionPool:
    """Open a pool for a redis://, rediss:// or unix:// address. Retries are off: a write may have been done
    (docs/store-facts.md)."""
    try:
        return ConnectionPool.from_url(
            url,
            max_connections=POOL_SIZE,
            retry=Retry(NoBackoff(), 0),
            socket_connect_timeout=min(CONNECT_SECONDS, answer_seconds or CONNECT_SECONDS),
            socket_timeout=answer_seconds,
            protocol=2,
        )
    except ValueError as error:
        raise StoreUnfit(f"the store's address is not understood: {error}") from error


def open_client(url: str, answer_seconds: float = ANSWER_SECONDS) -> Redis:
    """Open a client for reads and for administration."""
    return Redis.from_pool(open_pool(url, answer_seconds))


def why_unfit(version: str, policy: str, mode: str) -> str:
    """Say why a server of a version, with a maxmemory-policy and in a mode (standalone, sentinel, cluster) must not be
    counted in; empty when it may be. What it does not tell (empty) is no reason."""
    found = re.match(r"(\d+)\.(\d+)", version)
    if found and (int(found[1]), int(found[2])) < LEAST_VERSION:
        return f"the store's version is {version}; Redis 7.0 or Valkey 7.2 and later are supported"
    if mode == "cluster":
        return IN_CLUSTER
    if policy and policy != "noeviction":
        return (
            f"the store's maxmemory-policy is {policy}: it may evict counts; "
            "set it to noeviction (CONFIG SET, and in its file)"
        )
    return ""


def foreign(name: str, types: str = "of another type") -> str:
    """Say that a key of ours is none of ours."""
    return (
        f"the store's key {name} is {types}: another program uses this database; rename that key, or use a database of "
        "our own (redis://…/1)"
    )


Call = tuple[str, list[str], list[bytes | str | int]]
"""A script, its keys and its arguments."""


def executes_cut_transactions(info: bytes) -> bool:
    """Whether a server executes the beginning of a transaction that its append-only file ends in (lua/ledger.lua), from
    what it says about itself (INFO server). Redis 7.0 and 8.2 do, Valkey 9.1 does not (docs/store-facts.md); others
    are taken for the worse."""
    found = re.search(rb"valkey_version:(\d+)\.(\d+)", info)
    return found is None or (int(found[1]), int(found[2])) < (9, 1)


_REFUSES = ("MISCONF", "NOREPLICAS", "MASTERDOWN", "CLUSTERDOWN")


def _refusal(error: ResponseError) -> str:
    """Say how a server refuses all writes, by its answer to one; empty when it refuses this one alone."""
    if isinstance(error, ReadOnlyError):
        return "replica"
    if isinstance(error, OutOfMemoryError):
        return "full"
    refuses = isinstance(error, NoPermissionError | BusyLoadingError) or str(error).startswith(_REFUSES)
    return "refusing" if refuses else ""


def _packed(sha: bytes, keys: list[str], arguments: list[bytes | str | int]) -> bytes:
    """Write EVALSHA as the protocol wants it (RESP): an array of strings, each behind its length. redis-py's own way
    takes 30 µs for a commit script, this 7."""
    count = b"%d" % len(keys)
    parts = [b"*%d\r\n$7\r\nEVALSHA\r\n$%d\r\n%b\r\n" % (3 + len(keys) + len(arguments), len(sha), sha)]
    for part in (count, *keys, *arguments):
        data = part if isinstance(part, bytes) else str(part).encode()
        parts.append(b"$%d\r\n%b\r\n" % (len(data), data))
    return b"".join(parts)


class ScriptLine:
    """One connection of its own for the commit scripts: commands in order, each answer or error in its place.

    Two scripts in one round trip cost 48 µs of CPU here and 86 in a redis-py pipeline, which may also retry.
    """

    def __init__(self, url: str, scripts: dict[str, bytes]) -> None:
        # With a time limit of its own, redis-py makes a task and a timer for each thing that it sends or reads.
        self._connection: Any = open_pool(url, None).make_connection()  # type: ignore[no-untyped-call]
        self._scripts = scripts
        self._sha: dict[str, bytes] = {}
        self.generation = 0
        """Another after each new connection: the server behind it may be another one, or have lost data."""
        self.two_steps = True
        """Whether the server behind it executes cut transactions, so that writes must be put down first."""

    async def ready(self) -> int:
        """Connect, if need be, and return the generation. Raises StoreUnavailable."""
        if not self._connection.is_connected or not self._sha:
            with translated():
                await self._connect()
        return self.generation

    async def run(self, calls: list[Call]) -> list[Any]:
        """Run scripts (name, keys, arguments) in one round trip and return their replies.

        A reply may be a ResponseError of that script alone. Raises StoreUnavailable when the connection failed; then
        nothing is known, and the next call begins on a new connection.
        """
        with translated():
            if not self._connection.is_connected or not self._sha:
                await self._connect()
            replies = await self._send(calls)
            for reply in replies:
                if isinstance(reply, ResponseError) and (kind := _refusal(reply)):
                    if kind == "replica":
                        # A failover left us with it: the same address may lead to the new primary.
                        await self.close()
                    raise StoreRefuses(f"the store takes no writes: {reply}", kind)
            if any(isinstance(reply, NoScriptError) for reply in replies):
                # The server lost its scripts (SCRIPT FLUSH): those that it did not find were not executed.
                await self._connect()
                missing = [n for n, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
                again = await self._send([calls[n] for n in missing])
                for n, reply in zip(missing, again, strict=True):
                    replies[n] = reply
            return replies

    async def close(self) -> None:
        """Close the connection; an answer that is still on its way is lost."""
        await self._connection.disconnect(nowait=True)

    async def _connect(self) -> None:
        async with timeout(CONNECT_SECONDS + ANSWER_SECONDS):
            await self._connection.disconnect(nowait=True)
            self._sha = {}
            self.generation += 1
            await self._connection.connect()
            await self._greet()

    async def _greet(self) -> None:
        await self._connection.send_command("INFO", "server", "memory")
        try:
            info: bytes = await self._connection.read_response()
        except ResponseError:
            info = b""  # it does not tell
        self.two_steps = executes_cut_transactions(info)
        version = re.search(rb"valkey_version:(\d+\.\d+)", info) or re.search(rb"redis_version:(\d+\.\d+)", info)
        policy = re.search(rb"maxmemory_policy:(\S+)", info)
        mode = re.search(rb"(?:redis|server)_mode:(\w+)", info)
        if reason := why_unfit(*(found[1].decode() if found else "" for found in (version, policy, mode))):
            # Were a watermark evicted, the journal would be applied a second time.
            raise StoreUnavailable(reason)
        loaded: dict[str, bytes] = {}
        for name, source in self._scripts.items():
            await self._connection.send_command("SCRIPT", "LOAD", source)
            loaded[name] = await self._connection.read_response()
        self._sha = loaded

    async def _send(self, calls: list[Call]) -> list[Any]:
        data = b"".join([_packed(self._sha[name], keys, arguments) for name, keys, arguments in calls])
        replies: list[Any] = []
        now = get_running_loop().time
        async with timeout(ANSWER_SECONDS) as limit:
            await self._connection.send_packed_command(data, check_health=False)
            for _ in calls:
                try:
                    replies.append(await self._connection.read_response())
                except ResponseError as error:
                    replies.append(error)
                limit.reschedule(now() + ANSWER_SECONDS)
        return replies
