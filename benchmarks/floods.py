"""`python -m benchmarks.floods [--only NAME…]`: what honest readers wait while one machine floods a route.

A service with one worker on one core. Honest readers of many networks come by chance at a fixed rate and do not wait
for each other (`tests/paced.py`). Beside them one machine, one network, does its worst with a few connections in a
process of its own; half of the seconds without it, half with it, so that the ratio is of one run. Afterwards every
acknowledged hit of the honest must be counted once.
"""

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from benchmarks.load import on_core
from benchmarks.machine import prefer
from tests.client import BROWSERS, HOST, Connection, Hit, crowd
from tests.driver import Service, noon_zone, under
from tests.paced import Paced, percentile

SITE = "bench"
GOAL = 2.0
"""The p99 of the honest, to that without the flood."""
CONNECTIONS, SILENT, STREAMS = 4, 600, 200
STRANGER = "198.51.100.7"
WARM_SECONDS = 2.0
MIB = 1 << 20


class Found(NamedTuple):
    """One flood: seconds that answers of the honest took, and what became of the stranger's requests."""

    name: str
    calm: float
    flooded: float
    refused: int
    """Honest hits that were not acknowledged."""
    sent: int
    statuses: str
    memory: float
    """MB of the worker at the end."""


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.floods", description="What honest readers wait in a flood."
    )
    parser.add_argument("--rate", type=float, default=50.0, help="honest hits a second (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each half (default: %(default)s)")
    parser.add_argument("--only", nargs="+", choices=FLOODS, default=list(FLOODS), help="which floods")
    parser.add_argument("--flood", choices=FLOODS, help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.flood:
        return asyncio.run(flood(options.flood, options.port))
    console, found = Console(width=None if sys.stdout.isatty() else 150), list[Found]()
    for name in options.only:
        with tempfile.TemporaryDirectory(prefix="visitstats-floods-") as folder:
            found.append(asyncio.run(measure(name, Path(folder), options.rate, options.seconds)))
        last = found[-1]
        console.print(
            f"{name}: {1000 * last.calm:.1f} → {1000 * last.flooded:.1f} ms; {last.sent} sent: {last.statuses}"
        )
    headings = ("flood", "p99 without, ms", "with, ms", "ratio", "honest refused", "a second", "answers", "worker, MB")
    table = Table(*headings, title=f"honest readers, {options.rate:g} hits a second")
    for one in found:
        table.add_row(
            one.name, f"{1000 * one.calm:.1f}", f"{1000 * one.flooded:.1f}", f"{one.flooded / one.calm:.2f}",
            str(one.refused), f"{one.sent / options.seconds:.0f}", one.statuses, f"{one.memory:.0f}",
        )  # fmt: skip
    console.print(table)
    return 1 if any(one.refused for one in found) else 0


async def measure(name: str, folder: Path, rate: float, seconds: float) -> Found:
    """Run one flood. Raises AssertionError when a hit of the honest is lost or doubled."""
    cores = sorted(os.sched_getaffinity(0))
    service = Service(folder / "data", workers=1)
    await asyncio.to_thread(service.add_site, SITE, "--views", "every-load", "--timezone", noon_zone())
    await asyncio.to_thread(service.start)
    try:
        for pid in (service.pid, *service.children()):
            os.sched_setaffinity(pid, {cores[0]})
        prefer(service.pid)
        paced = Paced(service, SITE, rate, random.Random(1))
        async with under(paced.run(_honest())):
            await asyncio.sleep(WARM_SECONDS)
            begun = time.monotonic()
            await asyncio.sleep(seconds)
            stranger = await asyncio.to_thread(_stranger, name, service.port, cores[-1])
            await asyncio.sleep(WARM_SECONDS)
            flooded = time.monotonic()
            await asyncio.sleep(seconds)
            ended = time.monotonic()
            stranger.send_signal(signal.SIGINT)
            said, _ = await asyncio.to_thread(stranger.communicate)
            paced.over = True
        memory = int((Path("/proc") / str(service.workers[0]) / "statm").read_text().split()[1]) * os.sysconf(
            "SC_PAGE_SIZE"
        )
        statuses = Counter({int(status): n for status, n in json.loads(said).items()})
        calm = [each for each in paced.answered if begun <= each.due < begun + seconds]
        during = [each for each in paced.answered if flooded <= each.due < ended]
        await _counted(service, paced)
        shown = ", ".join(f"{status or 'none'}: {n}" for status, n in statuses.most_common(3))
        refused = sum(1 for each in calm + during if each.status not in (200, 202))
        return Found(
            name, percentile(calm, 0.99), percentile(during, 0.99), refused, sum(statuses.values()), shown, memory / 1e6
        )
    finally:
        await asyncio.to_thread(service.stop)


def _stranger(name: str, port: int, core: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "benchmarks.floods", "--flood", name, "--port", str(port)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, preexec_fn=on_core(core), start_new_session=True)


def _honest() -> Iterator[Hit]:
    """Hits of 4,000 readers in 20 networks, who read what a portal has."""
    readers = crowd(4000, "honest")
    for n in itertools.count():
        yield Hit(readers[37 * n % len(readers)], f"/tin-tuc/{n % 50}", f"honest-{n:09d}")


async def _counted(service: Service, paced: Paced) -> None:
    acknowledged = Counter(each.hit.article for each in paced.answered if each.status in (200, 202))
    deadline = time.monotonic() + 30
    while True:
        connection = await Connection.open(service.port)
        views = Counter(await connection.views(SITE, acknowledged))
        connection.close()
        if views == acknowledged:
            return
        assert time.monotonic() < deadline, f"{acknowledged - views} lost, {views - acknowledged} doubled"
        await asyncio.sleep(0.2)


# The stranger --------------------------------------------------------------------------------------------------------

Statuses = Counter[int]
HEADERS = {"x-forwarded-for": STRANGER, "user-agent": BROWSERS[0], "content-type": "text/plain"}


async def flood(name: str, port: int) -> int:
    """Flood until SIGINT; print how many answers of each status there were."""
    statuses: Statuses = Counter()
    task = asyncio.create_task(FLOODS[name](port, statuses))
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await task
    print(json.dumps(statuses))
    return 0


def asking(ask: Callable[[Connection, int], Awaitable[int]]) -> Callable[[int, Statuses], Awaitable[None]]:
    """Some connections, each with one request after the other."""

    async def one(port: int, statuses: Statuses, numbers: Iterator[int]) -> None:
        connection: Connection | None = None
        while True:
            try:
                connection = connection or await Connection.open(port)
                statuses[await ask(connection, next(numbers))] += 1
            except (OSError, TimeoutError, asyncio.IncompleteReadError):
                statuses[0] += 1
                connection = None
                await asyncio.sleep(0.001)

    async def run(port: int, statuses: Statuses) -> None:
        numbers = itertools.count()
        async with asyncio.TaskGroup() as group:
            for _ in range(CONNECTIONS):
                group.create_task(one(port, statuses, numbers))

    return run


async def _hits(connection: Connection, n: int) -> int:
    body = {"u": f"https://{HOST}/van-ban/{n % 50}", "v": f"{n:022d}", "h": f"flood-{n:09d}"}
    return (await connection.request("POST", f"/v1/sites/{SITE}/hit", body, HEADERS)).status


async def _new_articles(connection: Connection, n: int) -> int:
    body = {"u": f"https://{HOST}/made-up/{n}", "v": f"{n:022d}", "t": f"Bài {n}"}
    return (await connection.request("POST", f"/v1/sites/{SITE}/hit", body, HEADERS)).status


async def _pictures(connection: Connection, n: int) -> int:
    path = f"/v1/sites/{SITE}/hit.gif?u=https%3A%2F%2F{HOST}%2Fanh%2F{n % 50}"
    return (await connection.request("GET", path, headers=HEADERS)).status


async def _heartbeats(connection: Connection, n: int) -> int:
    return (await connection.request("POST", f"/v1/sites/{SITE}/alive", {"v": f"{n:022d}"}, HEADERS)).status


async def _dear_reads(connection: Connection, n: int) -> int:
    keys = [f"https://{HOST}/x/{n}/{each}?a=%C3%A1&" + "b" * 80 for each in range(500)]
    return (await connection.request("POST", f"/v1/sites/{SITE}/views", {"keys": keys}, HEADERS)).status


def _reads(path: str) -> Callable[[Connection, int], Awaitable[int]]:
    async def read(connection: Connection, n: int) -> int:
        return (await connection.request("GET", f"/v1/sites/{SITE}/{path}{n}", headers=HEADERS)).status

    return read


async def _tokens(connection: Connection, n: int) -> int:
    headers = {"x-forwarded-for": STRANGER, "authorization": f"Bearer vs_{n:040d}"}
    return (await connection.request("GET", "/v1/admin/sites", headers=headers)).status


async def _unknown(connection: Connection, n: int) -> int:
    body = {"u": f"https://{HOST}/"}
    return (await connection.request("POST", f"/v1/sites/no-{n}/hit", body, HEADERS)).status


async def _junk(connection: Connection, n: int) -> int:
    return (await connection.send(b"GET /%s HTTP/1.1\r\nHost: a b\r\nX\x00: 1\r\n\r\n" % os.urandom(8), "GET")).status


async def _silent(port: int, statuses: Statuses) -> None:
    """Connections that send a byte of a head now and then."""

    async def one() -> None:
        while True:
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                statuses[0] += 1
                writer.write(b"POST /v1/sites/bench/hit HTTP/1.1\r\nHost: a\r\n")
                while not writer.is_closing():
                    writer.write(b"X")
                    await writer.drain()
                    await asyncio.sleep(1)

    async with asyncio.TaskGroup() as group:
        for _ in range(SILENT):
            group.create_task(one())


async def _streams(port: int, statuses: Statuses) -> None:
    """Streams of numbers as they change, which nobody reads."""

    async def one() -> None:
        while True:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                head = "".join(f"{name}: {value}\r\n" for name, value in HEADERS.items())
                writer.write(f"GET /v1/sites/{SITE}/live HTTP/1.1\r\nHost: {HOST}\r\n{head}\r\n".encode())
                statuses[int((await reader.readline()).split()[1])] += 1
                while await reader.read(4096):
                    pass

    async with asyncio.TaskGroup() as group:
        for _ in range(STREAMS):
            group.create_task(one())


FLOODS: dict[str, Callable[[int, Statuses], Awaitable[None]]] = {
    "hits": asking(_hits),
    "made-up articles": asking(_new_articles),
    "hits by picture": asking(_pictures),
    "heartbeats": asking(_heartbeats),
    "views of 500 addresses": asking(_dear_reads),
    "numbers": asking(_reads("stats?n=")),
    "boxes": asking(_reads("box?preset=classic&n=")),
    "pictures of a box": asking(_reads("box.svg?n=")),
    "most read": asking(_reads("top?n=")),
    "wrong tokens": asking(_tokens),
    "unknown sites": asking(_unknown),
    "broken requests": asking(_junk),
    f"{SILENT} slow sockets": _silent,
    f"{STREAMS} streams": _streams,
}


if __name__ == "__main__":
    sys.exit(main())
