"""`python -m benchmarks.streams [--streams 5000] [--seconds 60]`: many readers of numbers as they change, one worker.

It starts a service, opens the streams, has pages counted all the time, so that every look finds other numbers, and
tells the worker's memory and CPU without streams, with all of them, and at the end: it must not grow. Exit status 1
when a stream ended, or got no numbers.
"""

import argparse
import asyncio
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console

LOOPBACK = "127.0.0.1"
AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"
TICKS = os.sysconf("SC_CLK_TCK")


class Reader(asyncio.Protocol):
    """A stream that counts its events."""

    def __init__(self) -> None:
        self.events = 0
        self.closed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        transport.write(b"GET /v1/sites/bench/live HTTP/1.1\r\nHost: x\r\n\r\n")

    def data_received(self, data: bytes) -> None:
        self.events += data.count(b"data: ")

    def connection_lost(self, error: Exception | None) -> None:
        self.closed = True


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--streams", type=int, default=5000)
    options.add_argument("--seconds", type=int, default=60)
    given = options.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with tempfile.TemporaryDirectory(prefix="visitstats-streams-") as folder:
        return _measure(Path(folder), given.streams, given.seconds)


def _measure(folder: Path, streams: int, seconds: int) -> int:
    program = str(Path(sys.executable).with_name("visitstats"))
    environ = {**os.environ, "VISITSTATS_DATA_DIR": str(folder / "data"), "VISITSTATS_LIVE_STREAMS": str(streams)}
    service = subprocess.Popen(
        [program, "serve", "--port", "0"], env=environ, cwd=folder, stdout=subprocess.PIPE, text=True
    )
    try:
        assert service.stdout is not None
        port = int(service.stdout.readline().rsplit(":", 1)[1])
        add = [program, "site", "add", "bench", "--host", "bench.example"]
        subprocess.run(add, env=environ, cwd=folder, check=True, capture_output=True)
        return asyncio.run(_run(port, service.pid, streams, seconds))
    finally:
        service.terminate()
        service.wait(30)


async def _run(port: int, supervisor: int, streams: int, seconds: int) -> int:
    console, loop = Console(), asyncio.get_running_loop()
    for _ in range(100):
        if await _hit(port, 0):
            break
        await asyncio.sleep(0.1)
    worker = max(_children(supervisor), key=_memory)
    before = _memory(worker)
    readers = []
    for _ in range(streams):
        _, reader = await loop.create_connection(Reader, LOOPBACK, port)
        readers.append(reader)
    await asyncio.sleep(5)
    opened, cpu, began = _memory(worker), _cpu(worker), time.monotonic()
    number = 0
    while time.monotonic() - began < seconds:
        number += 1
        await _hit(port, number)
        await asyncio.sleep(0.2)
    used, passed = _cpu(worker) - cpu, time.monotonic() - began
    end, events = _memory(worker), [reader.events for reader in readers]
    console.print(f"{streams} streams, {passed:.0f} s, {number / passed:.0f} hits/s")
    console.print(f"memory of the worker, MiB: {before:.1f} without, {opened:.1f} with all, {end:.1f} at the end")
    console.print(f"a stream: {(opened - before) * 1024 / streams:.1f} KiB; CPU: {used / passed * 100:.0f} % of a core")
    console.print(f"events of a stream: {min(events)} to {max(events)}")
    wrong = sum(reader.closed for reader in readers) + sum(count < 2 for count in events)
    console.print(f"ended or without numbers: {wrong}")
    return 1 if wrong else 0


async def _hit(port: int, number: int) -> bool:
    body = json.dumps({"u": f"https://bench.example/{number}", "v": f"visit-{number:012d}", "h": f"hit-{number:012d}"})
    reader, writer = await asyncio.open_connection(LOOPBACK, port)
    head = f"POST /v1/sites/bench/hit HTTP/1.1\r\nHost: x\r\nUser-Agent: {AGENT}\r\nConnection: close\r\n"
    writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
    answer = await reader.read()
    writer.close()
    return b" 200 " in answer[:20]


def _children(parent: int) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        fields = path.read_text().rpartition(")")[2].split()
        if int(fields[1]) == parent:
            found.append(int(path.parent.name))
    return found


def _memory(pid: int) -> float:
    """Return the memory of a process that is nobody else's, in MiB."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1024


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


if __name__ == "__main__":
    sys.exit(main())
