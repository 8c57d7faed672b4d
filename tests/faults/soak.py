"""Faults at random for as long as you like: `python -m tests.faults.soak --minutes 30 --seed 1`; prints a table.

The same seed makes the same faults in the same order; what the processes do meanwhile is up to the machine.
`--absence 60 --rate 200` takes the store away for an hour of that many hits a second instead (`absence.py`).
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.absence import absence
from tests.faults.arena import KINDS, Arena
from tests.faults.kinds import FAULTS, Fault
from tests.faults.verdict import Verdict, judge

ROUNDS = 12
"""Faults in one arena; then everything is looked at once more, and the next arena is made."""


@dataclass
class Row:
    """What was measured for one fault."""

    times: int = 0
    acknowledged: int = 0
    lost: int = 0
    doubled: int = 0
    seconds: list[float] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)

    def add(self, verdict: Verdict, where: str) -> None:
        self.times += 1
        self.acknowledged += verdict.acknowledged
        self.lost += verdict.lost
        self.doubled += verdict.doubled
        self.seconds.append(verdict.seconds)
        if not verdict.good:
            self.troubles.append(f"{where}: {verdict}")


Table = dict[str, Row]


async def suffer(arena: Arena, faults: Iterable[Fault], chance: random.Random, table: Table) -> None:
    """Do faults to an arena, one after the other, and judge each; at the end, all rounds once more."""
    for fault in faults:
        async with arena.round() as this:
            # A number generator of its own: what one fault draws must not decide which comes next.
            await fault.act(arena, this, random.Random(chance.random()))
            since = time.monotonic()
            await this.more()
        table.setdefault(fault.name, Row()).add(await judge(arena, this, since), f"{arena.kind}, {this.site}")
    last = table.setdefault("all rounds of an arena at its end", Row())
    for this in arena.rounds:
        last.add(await judge(arena, this, time.monotonic()), f"{arena.kind}, {this.site}")


async def run(kind: str, faults: Iterable[Fault], chance: random.Random, table: Table, package: Path | None) -> None:
    """One arena from its beginning to its end."""
    arena = Arena(kind, package)
    try:
        await arena.start()
        await suffer(arena, faults, chance, table)
    except BaseException:
        for service in arena.services:
            sys.stderr.write(service.log[-4000:])
        raise
    finally:
        left = await arena.stop()
        table.setdefault("all rounds of an arena at its end", Row()).troubles += left


def drawn(kind: str, chance: random.Random, until: float) -> Iterator[Fault]:
    """Faults for an arena: all that it can have in random order, then again, until the time is over."""
    left: list[Fault] = []
    for _ in range(ROUNDS):
        if time.monotonic() > until:
            return
        if not left:
            left = [fault for fault in FAULTS if kind in fault.where]
            chance.shuffle(left)
        yield left.pop()


def lines(table: Table) -> Iterator[str]:
    """The table in Markdown."""
    yield "| fault | times | acknowledged | lost | doubled | seconds to heal, median (longest) |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: |"
    for name, row in table.items():
        ordered = sorted(row.seconds)
        heal = f"{ordered[len(ordered) // 2]:.1f} ({ordered[-1]:.1f})" if ordered else ""
        yield f"| {name} | {row.times} | {row.acknowledged:,} | {row.lost} | {row.doubled} | {heal} |"
    for name, row in table.items():
        for trouble in row.troubles:
            yield f"TROUBLE after {name}: {trouble}"


async def soak(minutes: float, seed: int) -> Table:
    """Run arenas of every kind in turn for so long."""
    chance, table = random.Random(seed), Table()
    until, number = time.monotonic() + 60 * minutes, 0
    kinds = list(KINDS)
    chance.shuffle(kinds)
    while time.monotonic() < until:
        kind = kinds[number % len(kinds)]
        number += 1
        sys.stderr.write(f"arena {number}: {kind}\n")
        await run(kind, drawn(kind, chance, until), chance, table, None)
    return table


def main() -> int:
    parser = argparse.ArgumentParser(description="Faults at random, and a judge.")
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--absence", type=float, nargs="?", const=60.0, metavar="MINUTES",
        help="instead: the store is away for so long (60) while hits come, once",
    )  # fmt: skip
    parser.add_argument("--rate", type=float, default=200.0, help="hits per second with --absence (200)")
    asked = parser.parse_args()
    if asked.absence is not None:
        return 0 if asyncio.run(absence(asked.absence, asked.rate, asked.seed)) else 1
    table = asyncio.run(soak(asked.minutes, asked.seed))
    sys.stdout.write("\n".join((f"seed {asked.seed}, {asked.minutes:g} minutes\n", *lines(table), "")))
    return 1 if any(row.troubles for row in table.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
