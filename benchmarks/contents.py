"""What a store's keys hold and weigh, without knowing what they mean: for the bytes of a visitor, an article, a hit.

The bytes of one more are those of the elements that came with it, each at the mean weight of its key's elements: what a
table costs that has just doubled its size is shared by all its elements, and not by the last ones.
"""

import re
from collections.abc import Iterator, Mapping, Sequence

import msgspec
from redis import Redis
from redis.exceptions import ResponseError

CHUNK = 500
_SIZE = {b"string": "STRLEN", b"hash": "HLEN", b"set": "SCARD", b"zset": "ZCARD", b"list": "LLEN", b"stream": "XLEN"}
_VARIES = re.compile(rb"[0-9a-f]{8,}|\d+")

Contents = Mapping[bytes, int]
"""The number of elements of each key; of a string its bytes."""


class Family(msgspec.Struct, frozen=True):
    """Keys whose names differ by numbers or digests alone."""

    name: str
    keys: int
    elements: int
    bytes: int


def contents(client: Redis, site: str) -> dict[bytes, int]:
    """All keys in whose name the site is."""
    names = list(client.scan_iter(match=f"*{site}*", count=1000))
    found: dict[bytes, int] = {}
    for some in _chunks(names):
        with client.pipeline(transaction=False) as pipe:
            for name in some:
                pipe.type(name)
            kinds = pipe.execute()
        known = [(name, _SIZE[kind]) for name, kind in zip(some, kinds, strict=True) if kind in _SIZE]
        with client.pipeline(transaction=False) as pipe:
            for name, command in known:
                pipe.execute_command(command, name)  # type: ignore[no-untyped-call]
            found |= {name: int(size) for (name, _), size in zip(known, pipe.execute(), strict=True)}
    return found


def weights(client: Redis, names: Sequence[bytes]) -> dict[bytes, int]:
    """The bytes of keys, from every element. One of a million elements holds the store for a tenth of a second."""
    found: dict[bytes, int] = {}
    for some in _chunks(names):
        with client.pipeline(transaction=False) as pipe:
            for name in some:
                pipe.execute_command("MEMORY USAGE", name, "SAMPLES", 0)  # type: ignore[no-untyped-call]
            found |= {name: int(size or 0) for name, size in zip(some, pipe.execute(), strict=True)}
    return found


def used_bytes(client: Redis) -> int:
    """The store's memory in use."""
    return int(client.info("memory")["used_memory"])


def grown(before: Contents, after: Contents, sizes: Contents, weight: Mapping[bytes, int]) -> float:
    """The bytes of the elements that came between two looks; `weight` is that of keys as large as in `sizes`."""
    total = 0.0
    for name, size in after.items():
        more = size - before.get(name, 0)
        if more > 0 and sizes.get(name):
            total += weight[name] * more / sizes[name]
    return total


def families(sizes: Contents, weight: Mapping[bytes, int]) -> list[Family]:
    """Keys of one kind together, the heaviest first."""
    found: dict[str, Family] = {}
    for name, size in sizes.items():
        kind = _VARIES.sub(b"#", name).decode(errors="replace")
        old = found.get(kind, Family(kind, 0, 0, 0))
        found[kind] = Family(kind, old.keys + 1, old.elements + size, old.bytes + weight.get(name, 0))
    return sorted(found.values(), key=lambda family: -family.bytes)


def rewriting(client: Redis) -> bool:
    """Whether the store rewrites its append-only file now, or is about to."""
    info = client.info("persistence")
    return bool(info["aof_rewrite_in_progress"] or info["aof_rewrite_scheduled"])


def rewrite(client: Redis) -> None:
    """Ask for a rewrite; one that is running already is as good."""
    try:
        client.bgrewriteaof()
    except ResponseError as error:
        if "in progress" not in str(error):
            raise


def _chunks(names: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    for begin in range(0, len(names), CHUNK):
        yield names[begin : begin + CHUNK]
