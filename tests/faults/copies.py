"""Copies of what a store holds, and older ones put back under a running service."""

from __future__ import annotations

from typing import Any

Copy = dict[bytes, tuple[bytes, int]]


ALL = """
local found = {}
for _, name in ipairs(redis.call('KEYS', '*')) do
  table.insert(found, {name, redis.call('DUMP', name), redis.call('PEXPIRETIME', name)})
end
return found
"""


async def copy_of(client: Any) -> Copy:
    """Everything in the store at one instant, and when it is forgotten (ms since the epoch, 0 for never)."""
    return {name: (data, max(0, until)) for name, data, until in await client.eval(ALL, 0)}


async def put_back(client: Any, copy: Copy, now_ms: int) -> None:
    """Replace everything by a copy, at once; what is past its time by now is gone, as in a server that was down."""
    async with client.pipeline(transaction=True) as pipe:
        pipe.flushall()
        for name, (data, until) in copy.items():
            if until == 0 or until > now_ms:
                pipe.restore(name, until, data, absttl=True)
        await pipe.execute()
