"""The rights (ACL) that visitstats needs in the store: the table, and the check of our own user.

`deploy/redis/visitstats.acl` is this table as a server reads it; tests hold both to the commands that the code uses.
Keys are those below `vs:`.
"""

from typing import Any, NamedTuple

from redis.asyncio import Redis
from redis.exceptions import AuthenticationError, NoPermissionError, ResponseError

from visitstats.store.client import translated

_KEY, _OTHER = "vs:{a}:rights", "vs:{a}:rights2"
RIGHTS: dict[str, tuple[str, ...]] = {
    "acl|dryrun": ("default", "GET", _KEY),
    "acl|whoami": (),
    "client|id": (),
    "config|get": ("maxmemory-policy",),
    "copy": (_KEY, _OTHER),
    "dbsize": (),
    "del": (_KEY,),
    "discard": (),
    "evalsha": ("0" * 40, "1", _KEY),
    "exec": (),
    "exists": (_KEY,),
    "expireat": (_KEY, "1"),
    "expiretime": (_KEY,),
    "get": (_KEY,),
    "getrange": (_KEY, "0", "1"),
    "hdel": (_KEY, "f"),
    "hexists": (_KEY, "f"),
    "hget": (_KEY, "f"),
    "hgetall": (_KEY,),
    "hkeys": (_KEY,),
    "hlen": (_KEY,),
    "hmget": (_KEY, "f"),
    "hscan": (_KEY, "0"),
    "hset": (_KEY, "f", "v"),
    "hsetnx": (_KEY, "f", "v"),
    "hvals": (_KEY,),
    "info": ("server",),
    "mget": (_KEY,),
    "multi": (),
    "persist": (_KEY,),
    "pexpire": (_KEY, "1"),
    "pexpireat": (_KEY, "1"),
    "pexpiretime": (_KEY,),
    "pfadd": (_KEY, "e"),
    "pfcount": (_KEY,),
    "ping": (),
    "sadd": (_KEY, "m"),
    "scan": ("0",),
    "scard": (_KEY,),
    "script|load": ("return 1",),
    "select": ("0",),
    "set": (_KEY, "v"),
    "setbit": (_KEY, "0", "1"),
    "setrange": (_KEY, "0", "v"),
    "sismember": (_KEY, "m"),
    "smembers": (_KEY,),
    "smismember": (_KEY, "m"),
    "sscan": (_KEY, "0"),
    "strlen": (_KEY,),
    "time": (),
    "ttl": (_KEY,),
    "type": (_KEY,),
    "unlink": (_KEY,),
    "unwatch": (),
    "watch": (_KEY,),
    "zadd": (_KEY, "1", "m"),
    "zcard": (_KEY,),
    "zrange": (_KEY, "0", "1"),
    "zscan": (_KEY, "0"),
}
"""Command → arguments with which the server can be asked for the right to it."""
SNAPSHOT: dict[str, tuple[str, ...]] = {"sync": (), "replconf": ("capa", "eof")}
"""Rights for more than our own keys, without which a backup reads the store site by site (`store.snapshot`)."""


class Rights(NamedTuple):
    """What a server says of our rights."""

    user: str
    missing: list[str]
    """The rights of RIGHTS that are missing, as `ACL SETUSER` takes them, without the +."""
    snapshot: bool
    """Whether a backup may take a snapshot."""


async def ask_rights(client: Redis) -> Rights | None:
    """Ask the server for each right (ACL DRYRUN), without using any; None when it does not tell. Raises
    StoreUnavailable."""
    with translated():
        try:
            user: Any = await client.execute_command("ACL", "WHOAMI")  # type: ignore[no-untyped-call]
        except (NoPermissionError, AuthenticationError, ResponseError):
            return None
        table = RIGHTS | SNAPSHOT
        async with client.pipeline(transaction=False) as pipe:
            for name, arguments in table.items():
                pipe.execute_command("ACL", "DRYRUN", user, *name.upper().split("|"), *arguments)
            answers = await pipe.execute(raise_on_error=False)
    if all(isinstance(answer, Exception) for answer in answers):
        return None
    missing = [name for name, answer in zip(table, answers, strict=True) if answer not in (b"OK", "OK")]
    return Rights(
        user.decode("utf-8", "replace") if isinstance(user, bytes) else str(user),
        [name for name in missing if name in RIGHTS],
        not SNAPSHOT.keys() & set(missing),
    )
