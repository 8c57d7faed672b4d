"""Takes a copy of a whole store at one moment, in the way of a new replica (SYNC), while the store goes on working.

The server forks, and the child writes what was there at that moment; the parent is held for the fork alone (some
milliseconds for each GiB). It needs the right to SYNC, which hosted servers refuse.
"""

import asyncio
import contextlib
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from redis.exceptions import RedisError, ResponseError

from visitstats.core.errors import StoreUnavailable, VisitstatsError
from visitstats.store.client import open_pool, translated
from visitstats.system.files import CREATE, write_all

SILENCE_SECONDS = 60.0
"""While a server prepares its copy, it sends an empty line every second. After this long without a byte, the connection
is given up."""
PIECE = 1 << 18
_MARK_BYTES = 40
_HEAD = re.compile(rb"\$(?:(\d{1,18})|EOF:([0-9a-f]{40}))")


class SnapshotRefused(VisitstatsError):
    """The server gives no copy of itself; the text says what it answered."""


async def receive_snapshot(url: str, path: Path, progress: Callable[[int], None] = lambda _: None) -> None:
    """Write a copy of the store at an address into a file (RDB, in the server's own version); `progress` is told how
    many bytes have come. Raises SnapshotRefused, StoreUnavailable and OSError."""
    pool = open_pool(url, SILENCE_SECONDS)
    connection: Any = pool.make_connection()  # type: ignore[no-untyped-call]
    try:
        with translated():
            await connection.connect()
            for words in (("REPLCONF", "capa", "eof"), ("REPLCONF", "rdb-only", "1")):
                await connection.send_command(*words)
                # Without the first option the server writes a file of its own before it sends anything; without the
                # second it buffers what is written after the copy.
                with contextlib.suppress(ResponseError):
                    await connection.read_response()
            await connection.send_command("SYNC")
        handle = os.open(path, os.O_WRONLY | os.O_TRUNC | CREATE, 0o600)
        try:
            await _receive(connection._reader, handle, progress)
        finally:
            os.close(handle)
    finally:
        with contextlib.suppress(RedisError, OSError):
            await connection.disconnect(nowait=True)
        await pool.disconnect()


async def _receive(reader: asyncio.StreamReader, handle: int, progress: Callable[[int], None]) -> None:
    """Read what follows SYNC: empty lines while the server prepares, a head that says how the copy ends, the copy."""
    with _cut():
        line = b""
        while not line:
            async with asyncio.timeout(SILENCE_SECONDS):
                line = (await reader.readuntil(b"\n")).strip()
    if line.startswith(b"-"):
        raise SnapshotRefused(line[1:].decode("utf-8", "replace"))
    found = _HEAD.fullmatch(line)
    if found is None:
        raise SnapshotRefused(f"it answers {line[:80]!r}")
    length, mark = int(found[1] or -1), found[2]
    received, tail = 0, b""
    while received != length:
        with _cut():
            async with asyncio.timeout(SILENCE_SECONDS):
                data = await reader.read(PIECE if mark else min(PIECE, length - received))
        if not data:
            raise StoreUnavailable("the store closed the connection before its copy was complete")
        received += len(data)
        if mark:
            # The mark is drawn at random for this copy: it can't be in it.
            data = tail + data
            if data.endswith(mark):
                await asyncio.to_thread(write_all, handle, data[:-_MARK_BYTES])
                progress(received)
                return
            data, tail = data[:-_MARK_BYTES], data[-_MARK_BYTES:]
        await asyncio.to_thread(write_all, handle, data)
        progress(received)


@contextlib.contextmanager
def _cut() -> Any:
    try:
        yield
    except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:  # a TimeoutError is an OSError
        reason = str(error) or "no answer"
        raise StoreUnavailable(f"the store's copy of itself broke off: {reason}") from error
