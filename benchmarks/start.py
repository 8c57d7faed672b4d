"""`python -m benchmarks.start [--rounds N]`: what a start of the service costs, with 1, 2 and 4 workers.

CPU of all of its processes from the command to an orderly end, the time until it takes hits, and the memory of its
Python processes as the kernel divides what they share (PSS).
"""

import argparse
import contextlib
import http.client
import os
import resource
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

PROGRAM = Path(sys.executable).with_name("visitstats")
WORKERS = (1, 2, 4)
SECONDS = 60.0


class Start(NamedTuple):
    """One start."""

    cpu: float
    """Seconds of all processes, with the stop."""
    ready: float
    """Seconds until it takes hits."""
    pss: float
    """MB of the supervisor and the workers."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.start", description="What a start costs.")
    parser.add_argument("--rounds", type=int, default=5, help="starts of each kind (default: 5)")
    options = parser.parse_args()
    console = Console()
    if sys.platform != "linux":
        Console(stderr=True).print("the benchmark reads memory from /proc: it runs on Linux only.")
        return 2
    table = Table("workers", "CPU, s", "ready after, s", "memory, MB", title=f"medians of {options.rounds}")
    for workers in WORKERS:
        starts = [measure(workers) for _ in range(options.rounds)]
        medians = (statistics.median(figures) for figures in zip(*starts, strict=True))
        table.add_row(str(workers), *(f"{figure:.2f}" for figure in medians))
    console.print(table)
    return 0


def measure(workers: int) -> Start:
    """Start a service in an empty folder, and stop it when it is ready."""
    with tempfile.TemporaryDirectory(prefix="visitstats-start-") as folder:
        port = _free_port()
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        command = [PROGRAM, "serve", "--port", str(port), "--workers", str(workers), "--data-dir", folder]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as service:
            while not _is_ready(port):
                if service.poll() is not None or time.monotonic() - began > SECONDS:
                    service.kill()
                    raise SystemExit(f"the service did not start: {' '.join(map(str, command))}")
                time.sleep(0.01)
            ready, pss = time.monotonic() - began, memory_of(service.pid)
            service.send_signal(signal.SIGTERM)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Start(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, ready, pss / 1e6)


def _is_ready(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    return False


def memory_of(pid: int, *, store: bool = False) -> int:
    """Bytes of a service and its workers, as the kernel divides what they share; with `store` of its Valkey too."""
    found = [pid]
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split():
        if store or b"server" not in Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")[0]:
            found.append(int(child))
    return sum(map(_pss, found))


def _pss(pid: int) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text("ascii").splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


if __name__ == "__main__":
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.exit(main())
