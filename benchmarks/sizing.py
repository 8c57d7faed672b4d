"""`python -m benchmarks.sizing [--rates N,…] [--seconds N]`: what a load takes of a machine, for docs/operations.md.

A service with one worker and its embedded store on one core, an open loop of hits on the other. At each rate: the CPU
of the service and its store as a part of a core, their memory (PSS, as the kernel divides what they share), and what
the journal grew by for each hit.
"""

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from benchmarks import contenders, machine, pace
from benchmarks.beacons import Plan
from benchmarks.start import memory_of

RATES = (1.0, 12.0, 100.0, 500.0)
ARTICLES, VISITORS = 2000, 1_000_000
WARM_SECONDS = 1.5
DAY = 86_400


class Taken(NamedTuple):
    """What one rate took."""

    cpu: float
    """Seconds of CPU in a second, of all processes."""
    memory: int
    """Bytes of the service and its store."""
    journal: float
    """Bytes for each hit."""
    p99_ms: float
    refused: int


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sizing", description="What a load takes of a machine.")
    parser.add_argument(
        "--rates", default=",".join(f"{rate:g}" for rate in RATES), help="hits a second (default: %(default)s)"
    )
    parser.add_argument("--seconds", type=float, default=20.0, help="of each rate (default: %(default)s)")
    options = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    if sys.platform != "linux" or len(cores) < 2 or contenders.store_binary() is None:
        Console(stderr=True).print("the benchmark needs Linux, two cores, and Valkey or Redis.")
        return 2
    console = Console()
    headings = (
        "hits/s",
        "hits a day",
        "CPU, % of a core",
        "memory, MB",
        "journal, bytes a hit",
        "journal, MB a day",
        "p99, ms",
    )
    table = Table(*headings, title="one worker and its embedded store")
    refused = 0
    for text in options.rates.split(","):
        rate = float(text)
        taken = measure(rate, options.seconds, cores)
        refused += taken.refused
        table.add_row(
            f"{rate:g}", f"{rate * DAY:,.0f}", f"{taken.cpu:.1%}", f"{taken.memory / 1e6:.0f}", f"{taken.journal:.0f}",
            f"{taken.journal * rate * DAY / 1e6:,.0f}", f"{taken.p99_ms:.1f}",
        )  # fmt: skip
    console.print(table)
    if refused:
        console.print(f"[bold red]{refused} hits were not acknowledged[/]")
    return 1 if refused else 0


def measure(rate: float, seconds: float, cores: list[int]) -> Taken:
    """Run one rate on a service in an empty folder."""
    folder = Path(tempfile.mkdtemp(prefix="visitstats-sizing-"))
    plan = Plan(site=contenders.SITE, order="portal", visitors=(0, VISITORS), articles=(1, 1 + ARTICLES), seed=1)
    try:
        service = contenders.Visitstats(folder, cores[0])
        with service.serve() as running:
            machine.prefer(*running.roots)
            order = pace.Order(
                port=running.port,
                plan=plan,
                record=str(folder / "record"),
                rate=rate,
                seconds=seconds,
                warm=WARM_SECONDS,
            )
            seen, grown = list[machine.Cpu](), list[int]()

            def look() -> None:
                seen.append(machine.cpu(*running.roots))
                grown.append(sum(path.stat().st_size for path in (service.data / "journal").rglob("*.log")))

            answers, _ = pace.run(order, cores[-1], begin=look, end=look)
            used = machine.used(*seen)
            memory = sum(memory_of(root, store=True) for root in running.roots)
    finally:
        shutil.rmtree(folder)
    journal = (grown[1] - grown[0]) / max(1, answers.acknowledged)
    return Taken((used.app + used.store) / 1e9 / seconds, memory, journal, answers.p99_ms, answers.refused)


if __name__ == "__main__":
    sys.exit(main())
