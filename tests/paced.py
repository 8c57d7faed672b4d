"""Load at a fixed rate that does not wait for answers, so that a service which stalls is not sent less meanwhile.

What an answer took is counted from the moment at which its hit was due, however late it could be sent.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.client import Connection, Hit
from tests.driver import Service

PATIENCE_SECONDS = 15.0


@dataclass
class Answered:
    """One hit: when it was due (monotonic), the seconds until its answer, and the answer's status (0: none came)."""

    hit: Hit
    due: float
    seconds: float
    status: int


@dataclass
class Paced:
    """Hits that come by chance, `rate` in a second on average (a Poisson process), each on a free connection."""

    service: Service
    site: str
    rate: float
    chance: random.Random
    answered: list[Answered] = field(default_factory=list)
    over: bool = False
    _free: deque[Connection] = field(default_factory=deque)
    """The one that was used last is used last again: none is idle until the service closes it."""

    async def run(self, hits: Iterator[Hit]) -> None:
        """Send hits until `over`, and wait for the last answers."""
        due = time.monotonic()
        async with asyncio.TaskGroup() as group:
            while not self.over:
                due += self.chance.expovariate(self.rate)
                if (ahead := due - time.monotonic()) > 0:
                    await asyncio.sleep(ahead)
                group.create_task(self._send(next(hits), due))
        for connection in self._free:
            connection.close()

    async def _send(self, hit: Hit, due: float) -> None:
        status = 0
        connection = None
        try:
            connection = self._free.popleft() if self._free else await Connection.open(self.service.port)
            status = (await connection.hit(self.site, hit, seconds=PATIENCE_SECONDS)).status
        except BaseException as error:
            if connection is not None:
                connection.close()
            if not isinstance(error, OSError | TimeoutError):
                raise
        else:
            self._free.append(connection)
        self.answered.append(Answered(hit, due, time.monotonic() - due, status))


def percentile(answered: list[Answered], share: float) -> float:
    """A percentile of the seconds that answers took; 0 for none."""
    ordered = sorted(each.seconds for each in answered)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0
