"""The connection on which scripts are run: commands in order, each answer or error in its place, nothing sent twice."""

import asyncio
import re
from typing import Any

import hiredis
from redis.exceptions import ResponseError

from visitstats.core.errors import StoreRefuses, StoreUnavailable
from visitstats.store.client import ANSWER_SECONDS, CONNECT_SECONDS, open_pool, translated, why_unfit

Call = tuple[str, list[str], list[bytes | str | int]]
"""A script, its keys and its arguments."""


class Answered(Exception):
    """An error that the server answers in place of a reply: its own words, with the code first."""


REFUSES = {"READONLY": "replica", "OOM": "full"} | dict.fromkeys(
    ("NOPERM", "LOADING", "MISCONF", "NOREPLICAS", "MASTERDOWN", "CLUSTERDOWN", "MOVED"), "refusing"
)
"""The first word of a server's error → in which way it refuses all writes (`core.link`)."""


def _refusal(error: Answered) -> str:
    """Tell from a server's error in which way it refuses all writes; empty when it refuses only this one."""
    return REFUSES.get(str(error).partition(" ")[0], "")


def executes_cut_transactions(info: bytes) -> bool:
    """Whether a server executes the beginning of a transaction that its append-only file ends in (lua/ledger.lua), from
    what it says about itself (INFO server). Redis 7.0 and 8.2 do, Valkey 9.1 does not (docs/store-facts.md); any other
    server is assumed to be affected."""
    found = re.search(rb"valkey_version:(\d+)\.(\d+)", info)
    return found is None or (int(found[1]), int(found[2])) < (9, 1)


def packed(*command: bytes | str | int) -> bytes:
    """Write a command as the protocol wants it (RESP): an array of strings, each behind its length. redis-py's own way
    takes 30 µs for a commit script, this 7."""
    parts = [b"*%d\r\n" % len(command)]
    for part in command:
        data = part if isinstance(part, bytes) else str(part).encode()
        parts.append(b"$%d\r\n%b\r\n" % (len(data), data))
    return b"".join(parts)


class Wire(asyncio.Protocol):
    """Takes over a connection that redis-py has opened. In redis-py, what is written and read for a batch goes through
    five objects, which took a tenth of what a batch costs at a portal's rate."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._reader = hiredis.Reader(replyError=Answered)
        self._replies: list[Any] = []
        self._wanted = 0
        self._future: asyncio.Future[list[Any]] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.lost = False
        transport.set_protocol(self)

    async def ask(self, data: bytes, replies: int) -> list[Any]:
        """Send commands, and return so many replies. Raises OSError when the connection fails, or when no reply comes
        for ANSWER_SECONDS; it is closed then."""
        loop = asyncio.get_running_loop()
        if self.lost:
            raise ConnectionResetError("the connection was closed")
        self._replies, self._wanted = [], replies
        self._future = loop.create_future()
        self._timer = loop.call_later(ANSWER_SECONDS, self._give_up)
        self._transport.write(data)
        try:
            return await self._future
        finally:
            self._future = None
            self._timer.cancel()

    def close(self) -> None:
        """Close the connection at once."""
        self.lost = True
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Take replies."""
        self._reader.feed(data)
        before = len(self._replies)
        try:
            while (reply := self._reader.gets()) is not False:
                self._replies.append(reply)
        except hiredis.ProtocolError as error:
            self._fail(ConnectionResetError(f"the answer is not understood: {error}"))
            return
        future = self._future
        if future is None or future.done():
            return
        if len(self._replies) >= self._wanted:
            future.set_result(self._replies)
        elif len(self._replies) > before and self._timer is not None:
            self._timer.cancel()
            self._timer = asyncio.get_running_loop().call_later(ANSWER_SECONDS, self._give_up)

    def connection_lost(self, exc: Exception | None) -> None:
        """Give the error to the task that waits for replies."""
        self._fail(exc or ConnectionResetError("the connection was closed"))

    def _give_up(self) -> None:
        self._fail(TimeoutError(f"no answer for {ANSWER_SECONDS:g} s"))

    def _fail(self, error: Exception) -> None:
        self.lost = True
        self._transport.abort()
        if self._future is not None and not self._future.done():
            self._future.set_exception(error)


class ScriptLine:
    """One connection, for scripts alone."""

    def __init__(self, url: str, scripts: dict[str, bytes]) -> None:
        # With a time limit of its own, redis-py makes a task and a timer for each thing that it sends or reads.
        self._pool = open_pool(url, None)  # kept: with Sentinel the connection asks it where the primary is
        self._connection: Any = self._pool.make_connection()  # type: ignore[no-untyped-call]
        self._wire: Wire | None = None
        self._scripts = scripts
        self._sha: dict[str, bytes] = {}
        self.generation = 0
        """A number that changes with each new connection: the server behind it may be another one, or have lost
        data."""
        self.two_steps = True
        """Whether the server behind it executes cut transactions, so that writes must be put down first."""

    @property
    def connected(self) -> bool:
        """Whether there is a connection, as far as is known."""
        return self._wire is not None and not self._wire.lost

    async def ready(self) -> int:
        """Connect if necessary, and return the generation. Raises StoreUnavailable."""
        if not self.connected:
            with translated():
                await self._connect()
        return self.generation

    async def run(self, calls: list[Call]) -> list[Any]:
        """Run scripts (name, keys, arguments) in one round trip and return their replies.

        A reply may be an `Answered` error of that script alone. Raises StoreUnavailable when the connection failed;
        then nothing is known, and the next call begins on a new connection; StoreRefuses when the server takes no
        writes.
        """
        if not calls:
            return []  # no reply would come
        with translated():
            if not self.connected:
                await self._connect()
            replies = await self._send(calls)
            for reply in replies:
                if isinstance(reply, Answered) and (kind := _refusal(reply)):
                    if kind == "replica":
                        # After a failover we are still connected to the old primary; the same address may lead to the
                        # new one.
                        await self.close()
                    code = str(reply).partition(" ")[0].lower()
                    raise StoreRefuses(f"the store takes no writes: {reply}", kind, code)
            missing = [n for n, reply in enumerate(replies) if isinstance(reply, Answered) and _is_no_script(reply)]
            if missing:
                # The server lost its scripts (SCRIPT FLUSH): those that it did not find were not executed.
                await self._connect()
                again = await self._send([calls[n] for n in missing])
                for n, reply in zip(missing, again, strict=True):
                    replies[n] = reply
            return replies

    async def close(self) -> None:
        """Close the connection; an answer that is still on its way is lost."""
        if self._wire is not None:
            self._wire.close()
            self._wire = None
        await self._connection.disconnect(nowait=True)
        await self._pool.disconnect()

    async def _connect(self) -> None:
        async with asyncio.timeout(CONNECT_SECONDS + ANSWER_SECONDS):
            await self.close()
            self.generation += 1
            await self._connection.connect()
            await self._greet()
        self._wire = Wire(self._connection._writer.transport)

    async def _greet(self) -> None:
        await self._connection.send_command("INFO", "server", "memory", "replication")
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
        if b"\nrole:slave" in info:
            # Refuse before the first hit would be refused: after a failover the old primary is a replica with old
            # numbers.
            raise StoreRefuses("the store is a replica, which takes no writes", "replica", "readonly")
        loaded: dict[str, bytes] = {}
        for name, source in self._scripts.items():
            await self._connection.send_command("SCRIPT", "LOAD", source)
            loaded[name] = await self._connection.read_response()
        self._sha = loaded

    async def _send(self, calls: list[Call]) -> list[Any]:
        data = b"".join(
            [packed(b"EVALSHA", self._sha[name], len(keys), *keys, *arguments) for name, keys, arguments in calls]
        )
        if self._wire is None:
            raise ConnectionResetError("the connection was closed")
        return await self._wire.ask(data, len(calls))


def _is_no_script(error: Answered) -> bool:
    return str(error).startswith("NOSCRIPT")
