"""What must hold after any fault: every acknowledged hit is counted once, and nothing is counted that was not sent."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.client import Connection, Hit, StoreAway, crowd, until
from tests.driver import Load

HEAL_SECONDS = 10.0


@dataclass
class Stream:
    """Hits without end until `over`: each reads an article of its own, so that each can be asked for by name. Every
    other one has a hit id."""

    name: str
    over: bool = False
    sent: list[Hit] = field(default_factory=list)

    def __iter__(self) -> Iterator[Hit]:
        readers = crowd(400, self.name)
        while not self.over:
            n = len(self.sent)
            hit = Hit(readers[n % 400], f"/{self.name}/{n}", f"{self.name}-{n:07d}" if n % 2 else "")
            self.sent.append(hit)
            yield hit


async def conserved(load: Load, stream: Stream, *, losses: bool = True) -> None:
    """Wait until everything is applied, at most `HEAL_SECONDS`, and check every single hit, totals and visits.

    Without `losses`, no answer may have gone missing either.
    """
    acknowledged = {hit.article for hit in load.acknowledged}
    unanswered = {hit.article for hit in load.unanswered}
    assert len(acknowledged) == len(load.acknowledged), "a hit was acknowledged twice"
    assert acknowledged | unanswered == {hit.article for hit in stream.sent}
    assert losses or not unanswered
    connection = await Connection.open(load.service.port)
    state: dict[str, float] = {}

    async def applied() -> bool:
        try:
            views = await connection.views(load.site, [hit.article for hit in stream.sent])
        except StoreAway:
            return False
        doubled = {article: n for article, n in views.items() if n > 1}
        assert not doubled, f"{len(doubled)} hits are counted more than once: {sorted(doubled)[:5]}"
        state["missing"] = sum(1 for article in acknowledged if not views[article])
        state["counted"] = sum(views.values())
        state.update(await metrics(connection))
        return not state["missing"] and state["views"] == state["counted"] and not state["lagging"]

    try:
        await until(applied, "everything acknowledged is counted", HEAL_SECONDS)
    except AssertionError as error:
        log = load.service.log[-3000:]
        raise AssertionError(f"{error}; of {len(acknowledged)} hits: {state}\n{log}") from error
    finally:
        connection.close()
    certain = {hit.visitor for hit in load.acknowledged}
    possible = {hit.visitor for hit in stream.sent}
    low, high = len(certain), len(possible)
    assert low <= state["visits"] <= high, f"{state['visits']} visits of {low} to {high} readers"


async def metrics(connection: Connection) -> dict[str, float]:
    """Total views and visits as the store has them now, and how many sites the workers are behind for."""
    text = (await connection.request("GET", "/metrics")).body.decode()
    found = {"lagging": sum(float(n) for n in re.findall(r"^visitstats_lagging_sites(?:\{.*\})? (\S+)$", text, re.M))}
    for name in ("views", "visits"):
        counted = re.search(rf'^visitstats_{name}{{period="total",site="t1"}} (\S+)$', text, re.M)
        found[name] = float(counted[1]) if counted else -1
    return found
