"""What a hit costs at the rates of real portals: `python -m benchmarks --only rates`.

An open loop of 20, 200 and 1,000 hits a second against the bare endpoint, the obvious service and visitstats, in turn
and round after round. CPU time is the scheduler's, in nanoseconds, of all threads of the service and its store; ratios
are taken within a round. After each round the numbers of visitstats are compared with the judge's.
"""

import argparse
import contextlib
import statistics
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from benchmarks import contenders, judge, machine, pace
from benchmarks.beacons import Hit, Plan

RATES = (20.0, 200.0, 1000.0)
NAMES = ("bare", "obvious", "visitstats")
ARTICLES = 2000
NEW_VISITORS = 1_000_000
"""Numbers set aside for the visitors of one run, far more than come."""
WARM_SECONDS = 1.5
LEAST_HITS = 200
"""A low rate is measured until so many are due, however few seconds were asked for."""
# CPU per hit to the bare endpoint's at the same rate; latency in milliseconds. Shown, never a reason to fail.
CPU_GOALS = {20.0: 2.5, 200.0: 2.5, 1000.0: 2.0}
P50_GOAL, P99_GOAL = 12.0, 20.0


class Cost(msgspec.Struct, frozen=True):
    """One service at one rate in one round."""

    name: str
    rate: float
    round: int
    app_ns: float
    """CPU of its own processes for each acknowledged hit."""
    store_ns: float
    """CPU of its Redis or Valkey for each acknowledged hit."""
    waited_ns: float
    """Time that its threads were ready to run and had no core, for each acknowledged hit."""
    answers: pace.Answers

    @property
    def sum_ns(self) -> float:
        return self.app_ns + self.store_ns


def measure(
    console: Console, folder: Path, options: argparse.Namespace, *, service_core: int, load_core: int
) -> tuple[list[Cost], list[str]]:
    """All rounds; what was measured, and what was wrong with the numbers of visitstats."""
    found: list[Cost] = []
    wrong: list[str] = []
    for number in range(1, options.rounds + 1):
        place = folder / f"rates-{number}"
        place.mkdir()
        with _services(place, service_core) as services:
            ledger = judge.Ledger()
            for step, rate in enumerate(options.rates):
                plan = Plan(
                    site=contenders.SITE,
                    order="portal",
                    visitors=(step * NEW_VISITORS, (step + 1) * NEW_VISITORS),
                    articles=(1, 1 + ARTICLES),
                    seed=1000 * number + step,
                )
                # Each of them is first at some time.
                for name in (*NAMES[number % 3 :], *NAMES[: number % 3]):
                    order = pace.Order(
                        port=services[name].port, plan=plan, record=str(place / "record"), rate=rate,
                        seconds=max(options.seconds, LEAST_HITS / rate), warm=WARM_SECONDS,
                    )  # fmt: skip
                    cost, hits = _cost(console, name, number, services[name], order, load_core)
                    found.append(cost)
                    if name == "visitstats":
                        ledger.add(hits, cost.answers.refused + cost.answers.warm_refused)
            troubles = judge.settled_differences(ledger, services["visitstats"].port)
        wrong += [f"round {number}: {trouble}" for trouble in troubles]
        _say(console, number, ledger, troubles)
    return found, wrong


@contextlib.contextmanager
def _services(folder: Path, core: int) -> Iterator[dict[str, contenders.Running]]:
    """All three at once, so that they can be measured in turn; one that has nothing to do costs the others nothing."""
    with (
        contenders.bare(folder, core) as bare,
        contenders.obvious(folder, core) as obvious,
        contenders.Visitstats(folder, core).serve() as visitstats,
    ):
        # Who has to wait for a core gathers more hits in a batch, and looks cheaper than it is.
        machine.prefer(*bare.roots, *obvious.roots, *visitstats.roots)
        yield {"bare": bare, "obvious": obvious, "visitstats": visitstats}


def _cost(
    console: Console, name: str, number: int, running: contenders.Running, order: pace.Order, core: int
) -> tuple[Cost, list[Hit]]:
    seen: list[machine.Cpu] = []

    def look() -> None:
        seen.append(machine.cpu(*running.roots))

    answers, hits = pace.run(order, core, begin=look, end=look)
    used = machine.used(*seen)
    if used.ended:
        console.print(f"[bold red]{name} at {order.rate:g}/s: {used.ended} threads ended, their time is missing[/]")
    if answers.refused:
        console.print(
            f"[bold red]{name} at {order.rate:g}/s: {answers.refused} hits not acknowledged[/] {answers.first_refused}",
            highlight=False,
        )
    each = 1 / max(1, answers.acknowledged)
    return Cost(name, order.rate, number, used.app * each, used.store * each, used.waited * each, answers), hits


def _say(console: Console, number: int, ledger: judge.Ledger, troubles: Sequence[str]) -> None:
    exact = "exactly" if not ledger.not_acknowledged else f"within {ledger.not_acknowledged} not acknowledged"
    verdict = "[green]right[/]" if not troubles else "[bold red]WRONG[/]"
    console.print(
        f"round {number}: {ledger.hits:,} hits of {len(ledger.visitors):,} visitors, {len(ledger.pairs):,} views,"
        f" compared {exact}: {verdict}",
        highlight=False,
    )


def show(console: Console, found: Sequence[Cost]) -> None:
    """One table for all rates: medians over the rounds, ratios within each round."""
    rounds = len({one.round for one in found})
    rates = list(dict.fromkeys(one.rate for one in found))
    table = Table(title=f"CPU per hit at a steady rate, medians of {rounds} interleaved round(s), µs")
    costs = ("app", "store", "sum", "÷ bare", "÷ obvious", "waited")
    for heading in ("hits/s", "", *costs, "p50 ms", "p99 ms", "most ms", "202"):
        table.add_column(heading, justify="right" if heading else "left", no_wrap=True)
    for rate in rates:
        for name in NAMES:
            ones = [one for one in found if (one.rate, one.name) == (rate, name)]
            pending = sum(one.answers.pending for one in ones) / max(1, sum(one.answers.sent for one in ones))
            table.add_row(
                f"{rate:g}" if name == NAMES[0] else "",
                name,
                *(f"{_median(ones, part) / 1000:,.0f}" for part in (_app, _store, _sum)),
                _spread(ratios(found, rate, name, "bare")),
                _spread(ratios(found, rate, name, "obvious")),
                f"{_median(ones, lambda one: one.waited_ns) / 1000:,.0f}",
                f"{_median(ones, lambda one: one.answers.p50_ms):.2f}",
                f"{_median(ones, lambda one: one.answers.p99_ms):.2f}",
                f"{max(one.answers.max_ms for one in ones):.1f}",
                f"{pending:.2%}",
                end_section=name == NAMES[-1],
            )
    console.print(table)
    late = _median(found, lambda one: one.answers.late_p99_ms)
    console.print(f"the generator itself was late by {late:.2f} ms (median of the p99)", highlight=False)
    for rate in rates:
        _show_goals(console, found, rate)


def _show_goals(console: Console, found: Sequence[Cost], rate: float) -> None:
    ours = [one for one in found if (one.rate, one.name) == (rate, "visitstats")]
    p50, p99 = (_median(ours, of) for of in (lambda one: one.answers.p50_ms, lambda one: one.answers.p99_ms))
    goals = [
        ("CPU ÷ obvious", statistics.median(ratios(found, rate, "visitstats", "obvious")), 1.0),
        ("p50, ms", p50, P50_GOAL),
        ("p99, ms", p99, P99_GOAL),
    ]
    if rate in CPU_GOALS:
        goals.insert(0, ("CPU ÷ bare", statistics.median(ratios(found, rate, "visitstats", "bare")), CPU_GOALS[rate]))
    for what, value, goal in goals:
        verdict = "[green]reached[/]" if value <= goal else "[yellow]not reached[/]"
        console.print(f"goal at {rate:g}/s: {what} ≤ {goal:g}; {value:.2f} {verdict}", highlight=False)


def ratios(found: Sequence[Cost], rate: float, name: str, base: str) -> list[float]:
    """CPU per hit of one service divided by another's at the same rate in the same round."""
    bases = {one.round: one.sum_ns for one in found if (one.rate, one.name) == (rate, base)}
    return [one.sum_ns / bases[one.round] for one in found if (one.rate, one.name) == (rate, name)]


def _app(one: Cost) -> float:
    return one.app_ns


def _store(one: Cost) -> float:
    return one.store_ns


def _sum(one: Cost) -> float:
    return one.sum_ns


def _median(ones: Sequence[Cost], value: Callable[[Cost], float]) -> float:
    return statistics.median(value(one) for one in ones)


def _spread(values: Sequence[float]) -> str:
    if len(values) == 1:
        return f"{values[0]:.2f}"
    return f"{statistics.median(values):.2f} ({min(values):.2f}–{max(values):.2f})"
