"""Results of the rounds, as a table with ratios to the floor of the same round, and as JSON."""

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec
from rich.console import Console
from rich.table import Table

from benchmarks.load import Answers

FLOOR = "bare POST"
# The goals, as (row, column, ratio to the floor). Shown, never a reason to fail: a shared machine is noisy.
GOALS = (
    ("visitstats hit", "app", 1.2),
    ("visitstats hit", "sum", 1.4),
    ("visitstats stats", "app", 1.15),
)


class Measurement(msgspec.Struct, frozen=True):
    """One contender in one round."""

    row: str
    round: int
    answers: Answers
    app_us: float
    """CPU of the service's own processes (fsync thread included), µs per answer with 200."""
    store_us: float
    """CPU of its Redis or Valkey, µs per answer with 200."""
    app_rss_mib: float

    @property
    def sum_us(self) -> float:
        return self.app_us + self.store_us

    @property
    def rate(self) -> float:
        """Answers with 200 per second."""
        return self.answers.ok / self.answers.seconds if self.answers.seconds else 0.0


def rows(measurements: Iterable[Measurement]) -> dict[str, list[Measurement]]:
    grouped: dict[str, list[Measurement]] = {}
    for one in measurements:
        grouped.setdefault(one.row, []).append(one)
    return grouped


def ratios(
    measurements: Sequence[Measurement], row: str, value: Callable[[Measurement], float], floor: str = FLOOR
) -> list[float]:
    """`value` of each round divided by the floor's app CPU of the same round."""
    base = {one.round: one.app_us for one in measurements if one.row == floor}
    return [value(one) / base[one.round] for one in measurements if one.row == row and base.get(one.round)]


def _middle(values: Sequence[float], digits: int) -> str:
    if not values:
        return "-"
    return f"{statistics.median(values):,.{digits}f}"


def _spread(values: Sequence[float]) -> str:
    if not values:
        return "-"
    if len(values) == 1:
        return f"{values[0]:.2f} ×"
    return f"{statistics.median(values):.2f} × ({min(values):.2f}–{max(values):.2f})"


def show(console: Console, measurements: Sequence[Measurement]) -> None:
    """The table: medians over the rounds; ratios are taken within each round first."""
    count = len({one.round for one in measurements})
    table = Table(title=f"medians of {count} interleaved round(s); CPU in µs per answered 200")
    for heading in (
        "",
        "requests/s",
        "app",
        "store",
        "sum",
        "app ÷ floor",
        "sum ÷ floor",
        "p50 ms",
        "p99 ms",
        "RSS MiB",
    ):
        table.add_column(heading, justify="left" if not heading else "right", no_wrap=True)
    for row, ones in rows(measurements).items():
        table.add_row(
            row,
            _middle([one.rate for one in ones], 0),
            _middle([one.app_us for one in ones], 1),
            _middle([one.store_us for one in ones], 1),
            _middle([one.sum_us for one in ones], 1),
            _spread(ratios(measurements, row, lambda one: one.app_us)),
            _spread(ratios(measurements, row, lambda one: one.sum_us)),
            _middle([one.answers.p50_ms for one in ones], 1),
            _middle([one.answers.p99_ms for one in ones], 1),
            _middle([one.app_rss_mib for one in ones], 0),
        )
    console.print(table)
    for row, ones in rows(measurements).items():
        _show_troubles(console, row, ones)
    _show_goals(console, measurements)


def _show_troubles(console: Console, row: str, ones: Sequence[Measurement]) -> None:
    """Whatever was not a 200: a rate of answers means nothing beside errors."""
    answers = [one.answers for one in ones]
    troubles = {
        "202 (counted later)": sum(one.pending for one in answers),
        "200 but not counted": sum(one.ignored for one in answers),
        "other statuses": sum(one.other for one in answers),
        "never answered": sum(one.sent - one.answered for one in answers),
        "socket errors": sum(one.socket_errors for one in answers),
    }
    said = ", ".join(f"{count} {what}" for what, count in troubles.items() if count)
    if said:
        first = next((one.first_other for one in answers if one.first_other), "")
        console.print(f"[bold red]{row}: {said}[/] {first}", highlight=False)


def _show_goals(console: Console, measurements: Sequence[Measurement]) -> None:
    values: Mapping[str, Callable[[Measurement], float]] = {
        "app": lambda one: one.app_us,
        "sum": lambda one: one.sum_us,
    }
    for row, column, goal in GOALS:
        found = ratios(measurements, row, values[column])
        if found:
            reached = statistics.median(found)
            verdict = "[green]reached[/]" if reached <= goal else "[yellow]not reached[/]"
            console.print(f"goal {row}, {column}: ≤ {goal} × floor; {reached:.2f} × {verdict}", highlight=False)
    hits = [one.app_us for one in measurements if one.row == "visitstats hit"]
    beats = [one.app_us for one in measurements if one.row == "visitstats alive"]
    if hits and beats:
        cheaper = statistics.median(beats) < statistics.median(hits)
        verdict = "[green]reached[/]" if cheaper else "[yellow]not reached[/]"
        console.print(f"goal heartbeats cheaper than hits: {verdict}", highlight=False)
