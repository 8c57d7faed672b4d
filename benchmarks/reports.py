"""Files of half a million rows: `python -m benchmarks.reports [--articles N]`.

A store is filled as for `benchmarks/lists.py`, and the files of lists and reports are asked for as a worker asks for
them: of a desk, a process of its own, whose wall time, CPU time and largest memory (VmHWM) are measured. Each file is
made by a fresh process, of an index that is there already. Of every file the rows are counted.
"""

import argparse
import asyncio
import os
import sys
import tempfile
import time
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from benchmarks.lists import LAST, SITE, fill
from benchmarks.machine import process_tree
from visitstats.core.periods import Calendar
from visitstats.core.query import MOST_ROWS, Query
from visitstats.embedded.process import EmbeddedStore
from visitstats.reading.desk import Desk
from visitstats.reading.exports import Kind
from visitstats.reading.reports import Kind as ReportKind
from visitstats.settings import Settings
from visitstats.store import keys
from visitstats.store.client import open_client

NOW_MS = Calendar(SITE.timezone).day_named(LAST.isoformat()).start_ms + 12 * 3600 * 1000
EVERYTHING = f"{LAST.year - 10}-01-01"


class File(NamedTuple):
    """A file that is asked for."""

    name: str
    report: ReportKind | None
    query: Query


FILES = {
    "list": File("articles of all time", None, Query(limit=MOST_ROWS)),
    "year": File(
        "articles of a year", None, Query(limit=MOST_ROWS, first="2025-11-25", last="2026-11-24", min_views=0)
    ),
    "authors": File("report by author", "authors", Query(limit=MOST_ROWS, period="all")),
    "royalties": File(
        "royalties, 30 days",
        "royalties",
        Query(limit=MOST_ROWS, first=EVERYTHING, last=LAST.isoformat(), within=30),
    ),
}


async def measure(url: str, folder: Path, options: argparse.Namespace, table: Table) -> list[str]:
    """Make the files; return what was wrong."""
    client = open_client(url, 60)
    if not await client.exists(keys.counts(SITE.id)):
        await fill(client, options.articles)
    await client.aclose()
    settings = Settings(data_dir=folder)
    desk = Desk(settings, url, lambda: NOW_MS)
    await desk.refresh(SITE)
    await desk.close()
    wrong = []
    for which in options.only:
        name, report, query = FILES[which]
        kinds: tuple[Kind, ...] = options.kinds
        for kind in kinds:
            desk = Desk(settings, url, lambda: NOW_MS)
            await desk.labels(SITE, "type", "", 1)  # the process runs, and has opened the index
            pid = desk.pid
            assert pid is not None
            before, wall = process_tree(pid), time.perf_counter()
            path = folder / f"{which}.{kind}"
            size = await _written(path, desk.file(SITE, query, kind, "vi", ";", report))
            took, after = time.perf_counter() - wall, process_tree(pid)
            await desk.close()
            rows = _rows(path)
            if rows < options.articles * 0.999 and not (report and kind == "csv" and report != "royalties"):
                wrong.append(f"{name}, {kind}: {rows:,} rows")
            cpu = after.app_seconds - before.app_seconds
            table.add_row(
                f"{name}, {kind}", f"{rows:,}", f"{took:.1f}", f"{cpu:.1f}", f"{after.app_rss_mib:.0f}",
                f"{size / 1e6:.0f}",
            )  # fmt: skip
            path.unlink()
    return wrong


async def _written(path: Path, pieces: AsyncIterator[bytes]) -> int:
    size = 0
    with path.open("wb") as file:
        async for piece in pieces:
            size += file.write(piece)
    return size


def _rows(path: Path) -> int:
    """Count the lines of a CSV behind its head, or the rows of the largest sheet of a workbook."""
    if path.suffix == ".csv":
        with path.open("rb") as file:
            return sum(block.count(b"\r\n") for block in iter(lambda: file.read(1 << 20), b"")) - 1
    most = 0
    with zipfile.ZipFile(path) as book:
        for name in book.namelist():
            if name.startswith("xl/worksheets/sheet"):
                with book.open(name) as sheet:
                    most = max(most, sum(block.count(b"</row>") for block in iter(lambda: sheet.read(1 << 20), b"")))
    return most


def main() -> int:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reports", description="Files of half a million rows.")
    parser.add_argument("--articles", type=int, default=500_000)
    parser.add_argument("--only", choices=FILES, nargs="+", default=list(FILES))
    parser.add_argument("--kinds", choices=("xlsx", "csv"), nargs="+", default=("xlsx", "csv"))
    parser.add_argument("--dir", type=Path, help="where the data live during the run (default: the temp folder)")
    parser.add_argument("--keep", type=Path, help="a folder whose store is filled once and used again")
    options = parser.parse_args()
    if sys.platform != "linux":
        Console(stderr=True).print("the benchmark reads memory from /proc: it runs on Linux only.")
        return 2
    table = Table("", "rows", "s", "CPU, s", "memory, MiB", "file, MB")
    with tempfile.TemporaryDirectory(prefix="visitstats-bench-", dir=options.dir) as name:
        store, folder = options.keep or Path(name) / "store", Path(name) / "data"
        store.mkdir(exist_ok=True)
        folder.mkdir()
        with EmbeddedStore.start(store) as running:
            wrong = asyncio.run(measure(running.url, folder, options, table))
    load = " ".join(f"{value:.2f}" for value in os.getloadavg())
    Console(width=None if sys.stdout.isatty() else 100).print(f"{os.cpu_count()} cores, load {load}", table)
    for line in wrong:
        print(f"WRONG {line}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
