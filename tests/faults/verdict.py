"""The judge of a round: conservation, agreement, sums, liveness. It says what it found, and can be wrong about nothing:
`test_mutations.py` breaks the service in ways that it has to find out."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from tests.client import Connection, StoreAway
from tests.faults.arena import Arena, Round
from tests.store.dated import dated

HEAL_SECONDS = 10.0


@dataclass
class Verdict:
    """What became of a round's hits."""

    acknowledged: int = 0
    lost: int = 0
    """Acknowledged, and not counted."""
    doubled: int = 0
    """Counted more than once."""
    seconds: float = 0.0
    """Until everything was counted and agreed."""
    troubles: list[str] = field(default_factory=list)
    """What does not add up after `HEAL_SECONDS`."""

    @property
    def good(self) -> bool:
        return not (self.lost or self.doubled or self.troubles)


async def judge(arena: Arena, this: Round, since: float, seconds: float = HEAL_SECONDS) -> Verdict:
    """Look again and again until all is well, or `seconds` have passed; time counts from `since` (monotonic)."""
    acknowledged = {hit.article for load, _ in this.all for hit in load.acknowledged}
    sent = [hit.article for _, stream in this.all for hit in stream.sent]
    known = {hit.visitor for load, _ in this.all for hit in load.acknowledged}
    possible = {hit.visitor for _, stream in this.all for hit in stream.sent}
    found = Verdict(acknowledged=len(acknowledged))
    deadline = time.monotonic() + seconds
    while True:
        try:
            connection = await Connection.open(arena.service.port)
            try:
                views = await connection.views(this.site, sent)
                shown = await connection.numbers(this.site)
            finally:
                connection.close()
            found.lost = sum(1 for article in acknowledged if not views[article])
            found.doubled = sum(1 for n in views.values() if n > 1)
            found.troubles = await _sums(arena, this.site, sum(views.values()), (len(known), len(possible)), shown)
        except (StoreAway, OSError) as error:
            found.troubles = [f"the service does not answer: {error!r}"]
        found.seconds = time.monotonic() - since
        # What is counted twice never becomes right again.
        if found.good or found.doubled or time.monotonic() > deadline:
            return found


async def _sums(
    arena: Arena, site: str, counted: int, visits_between: tuple[int, int], shown: dict[str, Any]
) -> list[str]:
    ledger = f"vs:{{{site}}}:"
    troubles = []
    async with arena.client() as client:
        visits, views = await dated(client, site, "visits"), await dated(client, site, "views")
        articles = sum(int(n) for n in await client.hvals(f"{ledger}articles"))
        days = 0
        for name in await client.keys(f"{ledger}articles:*"):
            days += sum(int(n) for n in await client.hvals(name))
    lists = {"articles": articles, "articles of all days": days}
    for name, counts in (("visits", visits), ("views", views)):
        total = counts.get("all", 0)
        for length, period in ((10, "days"), (7, "months"), (4, "years")):
            parts = sum(n for key, n in counts.items() if len(key) == length)
            if parts != total:
                troubles.append(f"the {name} of all {period} are {parts}, their total is {total}")
    troubles += [f"{each} hold {n} views, not {counted}" for each, n in lists.items() if n != counted]
    if views.get("all", 0) != counted:
        troubles.append(f"{views.get('all', 0)} views in all, but {counted} of the articles")
    if not visits_between[0] <= visits.get("all", 0) <= visits_between[1]:
        troubles.append(f"{visits.get('all', 0)} visits of {visits_between} visitors")
    if shown["total"] != visits.get("all", 0):
        troubles.append(f"the box shows {shown['total']}, not {visits.get('all', 0)}")
    return troubles
