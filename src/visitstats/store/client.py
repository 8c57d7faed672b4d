"""Connections to Redis or Valkey, and the translation of their errors into ours."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AskError,
    ClusterDownError,
    MovedError,
    RedisError,
)

from visitstats.core.errors import StoreUnavailable, StoreUnfit

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
