"""`python -m benchmarks.candidates [NAME…]`: what the building blocks of a commit cost, side by side.

The reasons for some choices in store/, journal and ingest are these numbers. CPU is of this process with all its
threads, without the store's. Interleaved, median of the rounds; all pinned to one core, as the service is.
"""

import argparse
import asyncio
import concurrent.futures
import contextlib
import os
import queue
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import uvloop
from redis._parsers import _AsyncHiredisParser, _AsyncRESP2Parser
from redis.asyncio import Redis
from redis.asyncio.connection import UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from rich.console import Console
from rich.table import Table

from benchmarks.contenders import STORE_OPTIONS, store_binary
from benchmarks.load import on_core

ROUNDS = 5
# A batch of some 60 hits.
BLOB = os.urandom(5000)
SCRIPT = "#!lua\nreturn {'ok', ARGV[2], 17, 18000, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}"
CALLS = 1000
WAITERS = 256
ANSWER_SECONDS = 0.25

Trial = Callable[[], Awaitable[int]]
"""Does its work some times and says how many."""


@contextlib.contextmanager
def _store(folder: Path) -> Iterator[str]:
    binary, unix = store_binary(), str(folder / "store.sock")
    assert binary is not None, "no valkey-server or redis-server found"
    command = [binary, *STORE_OPTIONS, "--unixsocket", unix, "--dir", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        while not Path(unix).exists():
            time.sleep(0.01)
        try:
            yield unix
        finally:
            process.terminate()


@contextlib.asynccontextmanager
async def calls(folder: Path) -> AsyncIterator[dict[str, Trial]]:
    """EVALSHA with one key and one blob of 5 KB, one after the other, over a unix socket."""
    with _store(folder) as unix:
        retry = Retry(NoBackoff(), 0)
        client = Redis(unix_socket_path=unix, single_connection_client=True, retry=retry)
        pooled = Redis(unix_socket_path=unix, retry=retry)
        sha = await client.script_load(SCRIPT)
        lines = {
            name: UnixDomainSocketConnection(path=unix, retry=retry, protocol=2, parser_class=parser)
            for name, parser in (("hiredis", _AsyncHiredisParser), ("Python parser", _AsyncRESP2Parser))
        }
        for line in lines.values():
            await line.connect()  # type: ignore[no-untyped-call]
        arguments = ("EVALSHA", sha, 1, "{bench}:k", 1, BLOB)

        def with_client(redis: Redis) -> Trial:
            async def run() -> int:
                for _ in range(CALLS):
                    await redis.execute_command(*arguments)  # type: ignore[no-untyped-call]
                return CALLS

            return run

        def with_line(line: UnixDomainSocketConnection, *, at_once: int = 1) -> Trial:
            async def run() -> int:
                for _ in range(CALLS):
                    packed = line.pack_commands([arguments] * at_once)
                    await line.send_packed_command(packed, check_health=False)
                    for _ in range(at_once):
                        await line.read_response()
                return CALLS

            return run

        async def pipelined() -> int:
            for _ in range(CALLS):
                pipe = client.pipeline(transaction=False)
                pipe.execute_command(*arguments)
                pipe.execute_command(*arguments)
                await pipe.execute()
            return CALLS

        protocol_line = await _ProtocolLine.connect(unix)

        async def with_protocol() -> int:
            for _ in range(CALLS):
                await protocol_line.call(arguments)
            return CALLS

        yield {
            "Redis.execute_command, pool": with_client(pooled),
            "Redis.execute_command, one connection": with_client(client),
            "Connection, hiredis": with_line(lines["hiredis"]),
            "Connection, Python parser": with_line(lines["Python parser"]),
            "asyncio.Protocol + hiredis, no redis-py": with_protocol,
            "two at once: pipeline": pipelined,
            "two at once: Connection, hiredis": with_line(lines["hiredis"], at_once=2),
        }
        protocol_line.close()
        for line in lines.values():
            await line.disconnect()
        await client.aclose()
        await pooled.aclose()


class _ProtocolLine(asyncio.Protocol):
    """The least there can be: hiredis fed by the transport, one future per answer. A yardstick, not a proposal."""

    def __init__(self) -> None:
        import hiredis

        self._pack = hiredis.pack_command
        self._reader = hiredis.Reader()
        self._transport: asyncio.Transport
        self._answer: asyncio.Future[Any] | None = None

    @classmethod
    async def connect(cls, unix: str) -> "_ProtocolLine":
        _, protocol = await asyncio.get_running_loop().create_unix_connection(cls, unix)
        return protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "write")
        self._transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        reply = self._reader.gets()
        if reply is not False and self._answer is not None:
            self._answer.set_result(reply)

    def call(self, arguments: tuple[Any, ...]) -> "asyncio.Future[Any]":
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(self._pack(arguments))
        return self._answer

    def close(self) -> None:
        self._transport.close()


@contextlib.asynccontextmanager
async def fsyncs(folder: Path) -> AsyncIterator[dict[str, Trial]]:
    """Append 8 KiB and fdatasync, one after the other, awaited."""
    loop = asyncio.get_running_loop()
    handle = os.open(folder / "journal", os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    block = os.urandom(8192)
    times = 300

    def sync() -> None:
        os.write(handle, block)
        os.fdatasync(handle)

    def only_sync() -> None:
        os.fdatasync(handle)

    pool = concurrent.futures.ThreadPoolExecutor(1)
    jobs: queue.SimpleQueue[asyncio.Future[None] | None] = queue.SimpleQueue()

    def work() -> None:
        while (future := jobs.get()) is not None:
            sync()
            loop.call_soon_threadsafe(future.set_result, None)

    thread = threading.Thread(target=work)
    thread.start()

    async def in_loop() -> int:
        for _ in range(times):
            sync()
        return times

    async def executor() -> int:
        for _ in range(times):
            await loop.run_in_executor(pool, sync)
        return times

    async def write_here_sync_there() -> int:
        for _ in range(times):
            os.write(handle, block)
            await loop.run_in_executor(pool, only_sync)
        return times

    async def to_thread() -> int:
        for _ in range(times):
            await asyncio.to_thread(sync)
        return times

    async def dedicated() -> int:
        for _ in range(times):
            future: asyncio.Future[None] = loop.create_future()
            jobs.put(future)
            await future
        return times

    yield {
        "in the loop (blocks it)": in_loop,
        "run_in_executor, one thread": executor,
        "write in the loop, fdatasync in the executor": write_here_sync_there,
        "asyncio.to_thread": to_thread,
        "thread of our own + call_soon_threadsafe": dedicated,
    }
    jobs.put(None)
    thread.join()
    pool.shutdown()
    os.close(handle)


@contextlib.asynccontextmanager
async def waiters(folder: Path) -> AsyncIterator[dict[str, Trial]]:
    """256 tasks that wait for one batch; cost per waiter, with the task itself (as uvicorn makes one per request)."""
    loop = asyncio.get_running_loop()
    batches = 40

    def batch(wait: Callable[["asyncio.Future[int]"], Awaitable[object]], *, timer: bool = False) -> Trial:
        async def run() -> int:
            for _ in range(batches):
                shared: asyncio.Future[int] = loop.create_future()

                async def hit(future: "asyncio.Future[int]" = shared) -> None:
                    await wait(future)

                handle = loop.call_later(ANSWER_SECONDS, lambda: None) if timer else None
                tasks = [loop.create_task(hit()) for _ in range(WAITERS)]
                await asyncio.sleep(0)
                if handle is not None:
                    handle.cancel()
                shared.set_result(1)
                await asyncio.gather(*tasks)
            return batches * WAITERS

        return run

    async def nothing(future: "asyncio.Future[int]") -> object:
        return None

    async def plain(future: "asyncio.Future[int]") -> object:
        return await future

    async def shielded(future: "asyncio.Future[int]") -> object:
        return await asyncio.shield(future)

    async def with_wait(future: "asyncio.Future[int]") -> object:
        return await asyncio.wait((future,), timeout=ANSWER_SECONDS)

    async def with_timeout(future: "asyncio.Future[int]") -> object:
        async with asyncio.timeout(ANSWER_SECONDS):
            return await asyncio.shield(future)

    async def with_wait_for(future: "asyncio.Future[int]") -> object:
        return await asyncio.wait_for(asyncio.shield(future), ANSWER_SECONDS)

    async def own_futures() -> int:
        for _ in range(batches):
            futures: list[asyncio.Future[int]] = [loop.create_future() for _ in range(WAITERS)]

            async def hit(future: "asyncio.Future[int]") -> int:
                return await future

            tasks = [loop.create_task(hit(future)) for future in futures]
            await asyncio.sleep(0)
            for future in futures:
                future.set_result(1)
            await asyncio.gather(*tasks)
        return batches * WAITERS

    yield {
        "the task alone": batch(nothing),
        "await one shared future": batch(plain),
        "… with one timer per batch": batch(plain, timer=True),
        "a future of its own each": own_futures,
        "asyncio.shield(shared)": batch(shielded),
        "asyncio.wait(shared, timeout)": batch(with_wait),
        "asyncio.timeout + shield": batch(with_timeout),
        "asyncio.wait_for(shield(shared))": batch(with_wait_for),
    }


GROUPS = {"calls": calls, "fsyncs": fsyncs, "waiters": waiters}


async def measure(name: str, folder: Path) -> Table:
    """Interleaved rounds of one group's trials, as a table of CPU and wall µs."""
    group = GROUPS[name]
    cpu: dict[str, list[float]] = {}
    wall: dict[str, list[float]] = {}
    async with group(folder) as trials:
        for _ in range(ROUNDS):
            for label, trial in trials.items():
                cpu_begin, wall_begin = time.process_time(), time.perf_counter()
                count = await trial()
                cpu.setdefault(label, []).append((time.process_time() - cpu_begin) / count * 1e6)
                wall.setdefault(label, []).append((time.perf_counter() - wall_begin) / count * 1e6)
    table = Table(title=group.__doc__, title_justify="left")
    table.add_column("")
    table.add_column("CPU µs, median (min–max)", justify="right")
    table.add_column("wall µs, median", justify="right")
    for label, values in cpu.items():
        spread = f"{statistics.median(values):.1f} ({min(values):.1f}–{max(values):.1f})"
        table.add_row(label, spread, f"{statistics.median(wall[label]):.1f}")
    return table


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.candidates", description=__doc__)
    parser.add_argument("names", nargs="*", default=list(GROUPS), metavar="NAME", help=f"of {', '.join(GROUPS)}")
    names = parser.parse_args().names
    if unknown := set(names) - set(GROUPS):
        parser.error(f"no such group: {', '.join(unknown)}")
    on_core(min(os.sched_getaffinity(0)))()
    console = Console(width=None if sys.stdout.isatty() else 120)
    for name in names:
        with tempfile.TemporaryDirectory(prefix="visitstats-bench-") as folder:
            console.print(uvloop.run(measure(name, Path(folder))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
