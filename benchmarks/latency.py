"""What an acknowledgement takes while the store is well, slow, hung or away: `python -m benchmarks --only latency`.

A real service with one worker on a Redis of its own, fresh for each measurement, and readers who come by chance at a
fixed rate and do not wait for each other (`tests/paced.py`): a stall is not hidden. All cases in turn, round after
round; ratios are taken within a round. Afterwards the store is well again, and every acknowledged hit must be counted
once.
"""

import argparse
import asyncio
import contextlib
import itertools
import random
import statistics
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from benchmarks import contenders
from tests.client import Connection, Hit, StoreAway, crowd
from tests.driver import Service, noon_zone, under
from tests.faults.external import ExternalStore
from tests.faults.proxy import Proxy
from tests.paced import Paced, percentile

SITE = "bench"
NORMAL = "normal (durability fsync)"
HUNG = "store hung"
CASES = (
    NORMAL,
    "durability os",
    "store with appendfsync always",
    "store slow (50 ms an answer)",
    "store away (refused)",
    HUNG,
)
GOAL = 2.0
"""Of the p99 while the store is away, to the normal one (issue: exactly once)."""
SLOW_SECONDS = 0.05
FIRST_SECONDS = 1.0
"""Who waits when a store begins to hang is answered after `answer_timeout_ms`; what comes later is shown apart."""
WARM_SECONDS = 1.5
SETTLE_SECONDS = 30.0


class Timed(msgspec.Struct, frozen=True):
    """One case in one round, in milliseconds from the moment at which a hit was due."""

    case: str
    round: int
    answers: int
    p50: float
    p99: float
    p99_later: float
    """Without hits of the first FIRST_SECONDS."""
    most: float
    statuses: dict[int, int]


def measure(console: Console, folder: Path, options: argparse.Namespace) -> tuple[list[Timed], list[str]]:
    """All rounds; what was measured, and what was wrong with the numbers."""
    found: list[Timed] = []
    wrong: list[str] = []
    for number in range(1, options.rounds + 1):
        for case in CASES:
            place = folder / f"latency-{number}-{CASES.index(case)}"
            place.mkdir()
            timed, trouble = asyncio.run(_measure(case, number, place, options.rate, options.seconds))
            found.append(timed)
            wrong += [f"round {number}, {case}: {trouble}"] if trouble else []
            console.print(
                f"round {number}, {case}: p50 {timed.p50:.1f} ms, p99 {timed.p99:.1f} ms, {trouble or 'right'}",
                highlight=False,
            )
    return found, wrong


async def _measure(case: str, number: int, folder: Path, rate: float, seconds: float) -> tuple[Timed, str]:
    async with _service(case, folder) as (service, store, proxy):
        paced = Paced(service, SITE, rate, random.Random(number))
        stop = False
        async with under(paced.run(itertools.takewhile(lambda _: not stop, _hits()))):
            await asyncio.sleep(WARM_SECONDS)
            begun = time.monotonic()
            try:
                with _fault(case, store, proxy):
                    await asyncio.sleep(seconds)
                    ended = time.monotonic()
                    # Whoever is due now is answered while the fault lasts.
                    await asyncio.sleep(FIRST_SECONDS)
            finally:
                paced.over = True
        timed = [each for each in paced.answered if begun <= each.due < ended]
        later = [each for each in timed if each.due >= begun + FIRST_SECONDS]
        result = Timed(
            case=case,
            round=number,
            answers=len(timed),
            p50=1000 * percentile(timed, 0.5),
            p99=1000 * percentile(timed, 0.99),
            p99_later=1000 * percentile(later, 0.99),
            most=1000 * max((each.seconds for each in timed), default=0.0),
            statuses=dict(sorted(Counter(each.status for each in timed).items())),
        )
        return result, await _wrong(service, paced)


def _hits() -> Iterator[Hit]:
    """Every hit of an article of its own, so that it can be asked for."""
    readers = crowd(2000, "latency")
    for n in itertools.count():
        yield Hit(readers[n % len(readers)], f"/{n}", f"latency-{n:08d}")


@contextlib.asynccontextmanager
async def _service(case: str, folder: Path) -> AsyncIterator[tuple[Service, ExternalStore, Proxy]]:
    store = ExternalStore(folder / "store")
    proxy = Proxy(folder / "store.sock")
    await asyncio.to_thread(store.start)
    try:
        if "always" in case:
            with store.client() as client:
                client.config_set("appendfsync", "always")
        await proxy.start()
        service = Service(folder / "data", workers=1, redis_url=proxy.url if "slow" in case else store.url)
        if case == "durability os":
            service.environ["VISITSTATS_DURABILITY"] = "os"
        options = ("--views", "every-load", "--new-articles", "1000000", "--timezone", noon_zone())
        await asyncio.to_thread(service.add_site, SITE, *options)
        await asyncio.to_thread(service.start)
        try:
            yield service, store, proxy
        except AssertionError as error:
            raise contenders.CannotStart(f"{error}\n{service.log[-2000:]}") from error
        finally:
            await asyncio.to_thread(service.stop)
    finally:
        await proxy.stop()
        store.go_on()
        store.kill()


@contextlib.contextmanager
def _fault(case: str, store: ExternalStore, proxy: Proxy) -> Iterator[None]:
    if case == HUNG:
        store.stop_answering()
        try:
            yield
        finally:
            store.go_on()
    elif "away" in case:
        store.kill()
        yield
        store.start()
    else:
        proxy.delay = SLOW_SECONDS if "slow" in case else 0.0
        yield
        proxy.delay = 0.0


async def _wrong(service: Service, paced: Paced) -> str:
    """What is lost or doubled when the service had time to catch up; empty for nothing."""
    acknowledged = {each.hit.article for each in paced.answered if each.status in (200, 202)}
    sent = [each.hit.article for each in paced.answered]
    deadline = time.monotonic() + SETTLE_SECONDS
    while True:
        connection = await Connection.open(service.port)
        trouble = "the service cannot read"
        with contextlib.suppress(StoreAway):
            views = await connection.views(SITE, sent)
            lost = sum(1 for article in acknowledged if not views[article])
            doubled = sum(1 for n in views.values() if n > 1)
            trouble = f"{lost} hits lost, {doubled} doubled" if lost or doubled else ""
        connection.close()
        if not trouble or time.monotonic() > deadline:
            return trouble
        await asyncio.sleep(0.1)


def show(console: Console, found: list[Timed], rate: float) -> None:
    """The table: medians over the rounds, ratios to the normal case of the same round."""
    normal = {each.round: each for each in found if each.case == NORMAL}
    title = f"ms until a hit is acknowledged, {rate:g} a second, medians of {len(normal)} round(s)"
    table = Table(title=title)
    later = f"p99 after {FIRST_SECONDS:g} s"
    for heading in ("", "p50", "÷ normal", "p99", "÷ normal", later, "÷ normal", "most"):
        table.add_column(heading, justify="left" if not heading else "right", no_wrap=True)
    statuses: dict[str, Counter[int]] = {}
    for case in CASES:
        ones = [each for each in found if each.case == case]
        for each in ones:
            statuses.setdefault(case, Counter()).update(each.statuses)
        table.add_row(
            case,
            f"{statistics.median(each.p50 for each in ones):.2f}",
            f"{statistics.median(each.p50 / normal[each.round].p50 for each in ones):.2f}",
            f"{statistics.median(each.p99 for each in ones):.2f}",
            _ratios([each.p99 / normal[each.round].p99 for each in ones]),
            f"{statistics.median(each.p99_later for each in ones):.2f}",
            _ratios([each.p99_later / normal[each.round].p99 for each in ones]),
            f"{max(each.most for each in ones):.1f}",
        )
    console.print(table)
    for case, numbers in statuses.items():
        said = ", ".join(f"{n} × {status or 'no answer'}" for status, n in sorted(numbers.items()))
        console.print(f"{case}: {said}", highlight=False)
    for case in CASES:
        if case == HUNG or "away" in case:
            ratio = statistics.median(each.p99_later / normal[each.round].p99 for each in found if each.case == case)
            verdict = "[green]reached[/]" if ratio <= GOAL else "[yellow]not reached[/]"
            what = f"goal p99, {case}, after the first second: ≤ {GOAL:g} × normal"
            console.print(f"{what}; {ratio:.2f} × {verdict}", highlight=False)


def _ratios(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f}–{max(values):.2f})"
