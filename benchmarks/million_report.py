"""The tables of the million-by-million run."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from benchmarks.million import Cost, Found, Held

MIB = 1 << 20
# The goals. Shown, never a reason to fail: a shared machine is noisy.
STORE_GOAL = 1.5
HOLD_GOAL_MS = 5.0
TOP_GOAL_MS = 10.0
ARTICLE_GOAL = 300.0
VISITOR_GOAL = 130.0
FAMILIES = 14


def show(console: Console, found: Found) -> None:
    """All tables, then the goals. What the tables say is explained in docs/performance.md."""
    _show_costs(console, found.costs)
    _show_holds(console, found.holds)
    _show_asked(console, found)
    _show_weights(console, found)
    _show_goals(console, found)


def _table(title: str, *headings: str) -> Table:
    table = Table(title=title, title_justify="left")
    for number, heading in enumerate(headings):
        table.add_column(heading, justify="right" if number else "left", no_wrap=True)
    return table


def _show_costs(console: Console, costs: Sequence[Cost]) -> None:
    rounds = len({cost.round for cost in costs})
    table = _table(
        f"CPU per hit, µs, medians of {rounds} round(s); service and store on one core",
        "hits", "store, small", "store, large", "large ÷ small", "app, small", "app, large", "p50 ms", "p99 ms",
    )  # fmt: skip
    for kind in dict.fromkeys(cost.kind for cost in costs):
        small, large = (_of(costs, site, kind) for site in ("small", "large"))
        table.add_row(
            kind,
            *(f"{_median([cost.store_ns for cost in ones]) / 1000:.1f}" for ones in (small, large)),
            _spread(ratios(costs, kind)),
            *(f"{_median([cost.app_ns for cost in ones]) / 1000:.1f}" for ones in (small, large)),
            f"{_median([cost.p50_ms for cost in large]):.1f}",
            f"{_median([cost.p99_ms for cost in large]):.1f}",
        )
    console.print(table)


def _of(costs: Sequence[Cost], site: str, kind: str) -> list[Cost]:
    return [cost for cost in costs if (cost.site, cost.kind) == (site, kind)]


def ratios(costs: Sequence[Cost], kind: str) -> list[float]:
    """Store's CPU per hit, large site to small, within each round."""
    base = {cost.round: cost.store_ns for cost in _of(costs, "small", kind)}
    return [cost.store_ns / base[cost.round] for cost in _of(costs, "large", kind)]


def _show_holds(console: Console, holds: Sequence[Held]) -> None:
    table = _table(
        "longest hold of the store under floods, ms: least (and most) of the rounds; the store alone on its core",
        "hits", "site", "CPU", "PING", "p99.9", "over 5 ms", "slow log", "its slowest",
    )  # fmt: skip
    for kind in dict.fromkeys(held.what for held in holds):
        for site in ("small", "large"):
            ones = [held.hold for held in holds if (held.what, held.site) == (kind, site)]
            worst = max(ones, key=lambda hold: hold.slowest_ms)
            table.add_row(
                kind,
                site,
                _least([hold.cpu_ms for hold in ones]),
                _least([hold.wall_ms for hold in ones]),
                f"{_median([hold.p999_ms for hold in ones]):.1f}",
                f"{sum(hold.over_5ms for hold in ones)} of {sum(hold.pings for hold in ones):,}",
                _least([hold.slowest_ms for hold in ones]),
                Text(worst.slowest),
            )
    console.print(table)


def _show_asked(console: Console, found: Found) -> None:
    table = _table(
        "reading the large site, ms",
        "", "first", "then", "store CPU", "hold, CPU", "PING", "slow log", "its slowest",
    )  # fmt: skip
    for asked in found.asked:
        table.add_row(
            asked.what,
            f"{asked.taken[0]:,.1f}",
            f"{_median(asked.taken[1:]):,.1f}" if len(asked.taken) > 1 else "",
            f"{asked.store_ms:,.2f}" if asked.store_ms is not None else "",
            f"{asked.hold.cpu_ms:.1f}",
            f"{asked.hold.wall_ms:.1f}",
            f"{asked.hold.slowest_ms:.1f}" if asked.hold.slowest_ms else "–",
            Text(asked.hold.slowest),
        )
    console.print(table)


def _show_weights(console: Console, found: Found) -> None:
    table = _table("the heaviest keys of the large site", "", "keys", "elements", "MiB", "bytes each")
    for family in found.families[:FAMILIES]:
        table.add_row(
            Text(family.name),
            f"{family.keys:,}",
            f"{family.elements:,}",
            f"{family.bytes / MIB:,.1f}",
            f"{family.bytes / max(1, family.elements):.0f}",
        )
    console.print(table)
    rate = found.members / max(found.fill_seconds, 0.001)
    for line in (
        f"filled in {found.fill_seconds:.0f} s, {rate:,.0f} hits/s; the store grew by"
        f" {found.filled_bytes / MIB:,.0f} MiB: {found.filled_bytes / found.members:.0f} bytes for a visitor,"
        " an article and a hit together",
        f"bytes of a hit {_hit(found):.0f}, of a new visitor without it {_visitor(found):.0f}, of a new article"
        f" without it {_article(found):.0f}",
        f"store {found.used_bytes / MIB:,.0f} MiB, the service's largest process {found.app_rss_mib:.0f} MiB",
        f"verify {found.verify_seconds:.1f} s; start {found.start_seconds:.1f} s to the first numbers,"
        f" {found.ready_seconds:.1f} s until ready",
    ):
        console.print(line, highlight=False, soft_wrap=True)


def _hit(found: Found) -> float:
    return found.bytes_each.get("known", 0.0)


def _visitor(found: Found) -> float:
    return found.bytes_each.get("new-visitors", 0.0) - _hit(found)


def _article(found: Found) -> float:
    return found.bytes_each.get("new-articles", 0.0) - _hit(found)


def _show_goals(console: Console, found: Found) -> None:
    goals = [
        (f"store per hit, large ÷ small, {kind}", _median(ratios(found.costs, kind)), STORE_GOAL)
        for kind in dict.fromkeys(cost.kind for cost in found.costs)
    ]
    floods = [
        min(held.hold.cpu_ms for held in found.holds if (held.what, held.site) == (kind, site))
        for kind, site in {(held.what, held.site) for held in found.holds}
    ]
    # A rewrite's fork is the operating system's, and no script, query or task of ours.
    reads = [asked.hold.cpu_ms for asked in found.asked if not asked.what.startswith("rewrite")]
    goals += [
        ("longest hold by a hit's script, ms", max(floods), HOLD_GOAL_MS),
        ("longest hold by a query or task, ms", max(reads), HOLD_GOAL_MS),
        ("top 50, ms", max(_median(each.taken) for each in found.asked if each.what.startswith("top 50")), TOP_GOAL_MS),
        ("bytes per article", _article(found), ARTICLE_GOAL),
        ("bytes per visitor, with a hit of theirs", _visitor(found) + _hit(found), VISITOR_GOAL),
    ]
    for what, value, goal in goals:
        verdict = "[green]reached[/]" if value <= goal else "[yellow]not reached[/]"
        console.print(f"goal {what} ≤ {goal:g}; {value:.2f} {verdict}", highlight=False)


def _median(values: Sequence[float]) -> float:
    return statistics.median(values)


def _least(values: Sequence[float]) -> str:
    return f"{min(values):.1f} ({max(values):.1f})" if len(values) > 1 else f"{values[0]:.1f}"


def _spread(values: Sequence[float]) -> str:
    if len(values) == 1:
        return f"{values[0]:.2f}"
    return f"{_median(values):.2f} ({min(values):.2f}–{max(values):.2f})"
