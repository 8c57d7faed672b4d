"""The store is away for long, and hits come all the while: what the journal, memory and answers do meanwhile.

`python -m tests.faults.soak --absence 60 --rate 200` does it for an hour; `test_absence.py` until a small journal is
full.
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.client import Connection, Hit, StoreAway, Visitor, crowd
from tests.driver import Service, under
from tests.faults.arena import Arena
from tests.paced import Answered, Paced, percentile

VISITORS = 2_000
ARTICLES = 500
"""Read by all of them: what a worker remembers of articles and visitors is full before the store goes away."""
LINES = 20
HEAL_SECONDS = 3600.0
MIB = 1 << 20


@dataclass(frozen=True)
class Reading(Hit):
    """A hit that tells a title of its own for its article, so that little is needed to fill a journal."""

    title: str = ""

    def body(self, host: str = "portal.example.vn") -> dict[str, str]:
        return super().body(host) | ({"t": self.title} if self.title else {})


def readings(name: str, title: str = "") -> Iterator[Hit]:
    """Hits without end, each with a hit id; with `title` each changes the title of its article."""
    readers: list[Visitor] = crowd(VISITORS, name)
    n = 0
    while True:
        told = f"{n} {title}" if title else ""
        yield Reading(readers[n % VISITORS], f"/{name}/{n % ARTICLES}", f"{name}-{n:09d}", told)
        n += 1


def resident(service: Service) -> float:
    """The memory of all workers together, in MiB."""
    total = 0
    for pid in service.workers:
        status = Path(f"/proc/{pid}/status").read_text("ascii")
        total += next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:"))
    return total / 1024


def journals(service: Service) -> list[int]:
    """The bytes of each slot's segments."""
    slots = sorted((service.data_dir / "journal").glob("[0-9]*"))
    return [sum(path.stat().st_size for path in slot.glob("*.log")) for slot in slots]


async def counted_exactly(service: Service, site: str, acknowledged: Counter[str], unanswered: Counter[str]) -> str:
    """What is not as it must be: each article's views are its acknowledged hits, or up to its unanswered ones more.
    Empty when all is right."""
    connection = await Connection.open(service.port)
    try:
        views = await connection.views(site, acknowledged | unanswered)
    except StoreAway:
        return "the service cannot read"
    finally:
        connection.close()
    lost = sum(max(0, n - views[article]) for article, n in acknowledged.items())
    doubled = sum(max(0, n - acknowledged[article] - unanswered[article]) for article, n in views.items())
    return f"{lost} hits lost, {doubled} doubled" if lost or doubled else ""


def _tally(answered: list[Answered], *statuses: int) -> Counter[str]:
    return Counter(each.hit.article for each in answered if each.status in statuses)


async def absence(minutes: float, rate: float, seed: int) -> bool:
    """Take the store away for so long, print what is seen, bring it back; whether every acknowledged hit was counted
    once."""
    arena = Arena("redis-everysec")
    try:
        await arena.start()
        service = arena.service
        paced = Paced(service, "s00", rate, random.Random(seed))
        async with under(paced.run(readings("gone"))):
            try:
                # Every visitor and article once, before anything is measured.
                warm = max(10.0, VISITORS / rate)
                _say(f"{warm:.0f} s with the store")
                await asyncio.sleep(warm)
                known = len(paced.answered)
                _say(_line("with the store", paced.answered[known // 2 :], service))
                arena.store.kill()
                before, begun = journals(service), time.monotonic()
                await _away(service, paced, minutes, begun)
                gone = len([each for each in paced.answered if each.due > begun and each.status == 202])
                grown = sum(journals(service)) - sum(before)
                _say(f"journal: {grown / max(1, gone):.0f} bytes a hit, {gone:,} hits")
                await asyncio.to_thread(arena.store.start)
                back = time.monotonic()
                known = len(paced.answered)
                trouble = await _healed(service, back)
            finally:
                paced.over = True
        _say(_line("after", paced.answered[known:], service))
        acknowledged, unanswered = _tally(paced.answered, 200, 202), _tally(paced.answered, 0)
        deadline = time.monotonic() + 20
        while not trouble and (trouble := await counted_exactly(service, "s00", acknowledged, unanswered)):
            if time.monotonic() < deadline:
                trouble = ""
                await asyncio.sleep(0.2)
        statuses = dict(sorted(Counter(each.status for each in paced.answered).items()))
        _say(f"{acknowledged.total():,} acknowledged (answers by status: {statuses})")
        _say(trouble or "each is counted once")
        return not trouble
    finally:
        await arena.stop()


async def _away(service: Service, paced: Paced, minutes: float, begun: float) -> None:
    """Say from time to time what answers, memory and journal are like."""
    step, known = max(5.0, 60 * minutes / LINES), len(paced.answered)
    while (left := begun + 60 * minutes - time.monotonic()) > 0:
        await asyncio.sleep(min(step, left))
        _say(_line(f"{(time.monotonic() - begun) / 60:5.1f} min away", paced.answered[known:], service))
        known = len(paced.answered)


async def _healed(service: Service, back: float) -> str:
    """Wait until no site is behind, and say how long that took."""
    while time.monotonic() < back + HEAL_SECONDS:
        connection = await Connection.open(service.port)
        try:
            text = (await connection.request("GET", "/metrics", seconds=60)).body.decode()
        finally:
            connection.close()
        lagging = [float(line.split()[-1]) for line in text.splitlines() if line.startswith("visitstats_lagging_sites")]
        if lagging and not sum(lagging):
            _say(f"caught up {time.monotonic() - back:.1f} s after the store was back")
            return ""
        await asyncio.sleep(0.1)
    return f"the store was not caught up {HEAL_SECONDS:.0f} s after it was back"


def _line(when: str, answered: list[Answered], service: Service) -> str:
    p50, p99 = (1000 * percentile(answered, share) for share in (0.5, 0.99))
    refused = sum(1 for each in answered if each.status not in (200, 202))
    return (
        f"{when}: {len(answered):,} answers, {refused} refused, p50 {p50:.1f} ms, p99 {p99:.1f} ms, "
        f"memory {resident(service):.1f} MiB, journals {sum(journals(service)) / MIB:.1f} MiB"
    )


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
