"""Connections to Redis or Valkey, and the translation of their errors into ours."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from redis.asyncio import ConnectionPool, Redis, SSLConnection
from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import (
    MasterNotFoundError,
    Sentinel,
    SentinelConnectionPool,
    SentinelManagedConnection,
    SentinelManagedSSLConnection,
)
from redis.backoff import NoBackoff
from redis.exceptions import (
    AskError,
    ClusterDownError,
    MovedError,
    RedisError,
    ResponseError,
)

from visitstats.core.errors import StoreDamaged, StoreUnavailable, StoreUnfit
from visitstats.core.storeaddress import StoreAddress, parse_address

CONNECT_SECONDS = 2.0
ANSWER_SECONDS = 5.0
"""After so long without an answer a connection is given up; what became of the command is then read from the
watermark."""
START_SECONDS = 1.5
"""The same for the first look at a start: one that hangs is taken for one that is away, and readers do not wait."""
SENTINEL_SECONDS = 0.5
"""After so long without an answer the next Sentinel is asked."""
POOL_SIZE = 16
LEAST_VERSION = (7, 0)
"""`#!lua` scripts and EXPIRETIME came with Redis 7.0; Valkey forked from 7.2."""


IN_CLUSTER = "the store is a node of a cluster, which has only a part of the keys; use a server that is no cluster node"


@contextmanager
def translated() -> Iterator[None]:
    """Turn redis-py's errors into StoreUnavailable, so that no other module has to know them."""
    try:
        yield
    except (MovedError, AskError, ClusterDownError) as error:
        raise StoreUnavailable(IN_CLUSTER) from error
    except MasterNotFoundError as error:
        raise StoreUnavailable(f"no Sentinel names a primary that is up: {error}") from error
    except ResponseError as error:
        if not str(error).startswith("WRONGTYPE"):
            raise StoreUnavailable(f"the store does not answer: {error}") from error
        raise StoreDamaged(f"a key in the store is not ours: {error}") from error
    except (RedisError, OSError) as error:  # a TimeoutError is an OSError
        raise StoreUnavailable(f"the store does not answer: {str(error) or 'it takes too long'}") from error
    except RuntimeError as error:
        # This is how uvloop reports a connection that was lost just before something is sent.
        if "handler is closed" not in str(error):
            raise
        raise StoreUnavailable(f"the store does not answer: {error}") from error


def open_pool(url: str, answer_seconds: float | None = ANSWER_SECONDS) -> ConnectionPool:
    """Open a pool for an address (`core.storeaddress`). Retries are off: a write may have been done
    (docs/store-facts.md). Raises StoreUnfit for an address with options that are not understood."""
    options: dict[str, Any] = {
        "max_connections": POOL_SIZE,
        "retry": Retry(NoBackoff(), 0),
        "socket_connect_timeout": min(CONNECT_SECONDS, answer_seconds or CONNECT_SECONDS),
        "socket_timeout": answer_seconds,
        "protocol": 2,
        # Else each connection begins with CLIENT SETINFO: a user with the least rights is refused that, and the server
        # logs it.
        "driver_info": None,
    }
    try:
        address = parse_address(url)
        if address.sentinels:
            pool: ConnectionPool = _SentinelPool(address, options)
        else:
            pool = ConnectionPool.from_url(address.url, **options)
        pool.make_connection()  # type: ignore[no-untyped-call]
        return pool
    except (ValueError, TypeError) as error:  # redis-py raises TypeError for an option that it does not know
        detail = re.sub(r"\S*__init__\(\) got an unexpected keyword argument", "unknown option", str(error))
        raise StoreUnfit(f"the store's address is not understood: {detail}") from error


class _Sentinels(Sentinel):
    """Asks one Sentinel after the other, beginning with the last one that knew the primary. redis-py's own class
    reports a failure with the representations of objects; this one says what each Sentinel answered."""

    async def discover_master(self, service_name: str) -> tuple[str, int]:
        """Return the address of the primary. Raises MasterNotFoundError with what each Sentinel says."""
        said = []
        for sentinel in list(self.sentinels):
            options = sentinel.connection_pool.connection_kwargs
            name = f"{options['host']}:{options['port']}"
            try:
                masters: Any = await sentinel.sentinel_masters()
            except (RedisError, OSError) as error:
                said.append(f"{name}: {error}")
                continue
            state = masters.get(service_name)
            if state is None:
                said.append(f"{name} knows no service {service_name!r}")
            elif self.check_master_state(state, service_name):
                self.sentinels.remove(sentinel)
                self.sentinels.insert(0, sentinel)
                return str(state["ip"]), int(state["port"])
            else:
                said.append(f"{name} says that {state['ip']}:{state['port']} is down")
        raise MasterNotFoundError("; ".join(said))


class _SentinelPool(SentinelConnectionPool):
    """Connections to whatever Sentinel says is the primary, asked anew for each connection. A Sentinel that does not
    answer for SENTINEL_SECONDS is passed over."""

    def __init__(self, address: StoreAddress, options: dict[str, Any]) -> None:
        wanted: dict[str, Any] = {**parse_url(address.url), **options}
        for name in ("host", "port"):
            wanted.pop(name, None)
        tls = wanted.get("connection_class") is SSLConnection
        wanted["connection_class"] = SentinelManagedSSLConnection if tls else SentinelManagedConnection
        of_sentinel = {
            "username": address.sentinel_username or None,
            "password": address.sentinel_password or None,
            "retry": options["retry"],
            "socket_connect_timeout": SENTINEL_SECONDS,
            "socket_timeout": SENTINEL_SECONDS,
            "protocol": options["protocol"],
            "ssl": tls,
            **{name: value for name, value in wanted.items() if name.startswith("ssl_")},
        }
        self._asks = _Sentinels(address.sentinels, sentinel_kwargs=of_sentinel)  # type: ignore[no-untyped-call]
        super().__init__(address.service, self._asks, **wanted)  # type: ignore[no-untyped-call]

    async def disconnect(self, inuse_connections: bool = True) -> None:
        """Close the connections, and unless only idle ones are meant, those to the Sentinels."""
        await super().disconnect(inuse_connections)
        if inuse_connections:
            await self._asks.aclose()


def open_client(url: str, answer_seconds: float = ANSWER_SECONDS) -> Redis:
    """Open a client for reads and for administration."""
    return Redis.from_pool(open_pool(url, answer_seconds))


def why_unfit(version: str, policy: str, mode: str) -> str:
    """Say why a server of a version, with a maxmemory-policy and in a mode (standalone, sentinel, cluster) must not be
    counted in; empty when it may be. A text that the server does not tell (empty) is no reason."""
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
    """Say that a key with one of our names was written by another program."""
    return (
        f"the store's key {name} is {types}: another program uses this database; rename that key, or use a database of "
        "our own (redis://…/1)"
    )
