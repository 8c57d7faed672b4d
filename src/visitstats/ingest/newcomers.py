"""New articles: how many a site may get in a minute (rule 8 of keys, hostile-inputs row 13).

Whether an article is new is known by the store alone, and a hit does not wait for it. So an article that this worker
has not sent to the store yet is a newcomer until a commit answers: it takes one of the minute's places at once, and
gives it back when the answer shows that the article was there before. Only when no place is left is the store asked
first, for many hits in one command: an article that it has is no newcomer, and any other is counted as "(other)". The
decision is made before the hit is journalled, which then carries the id of "(other)": a replay does not decide it
again.

Each worker has places of its own, so that a service of N workers takes up to N times as many. While the store is away,
`UNSEEN` times as many are let in: a real article must not lose its counts because the store cannot confirm it.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable

from visitstats.core.errors import StoreUnavailable

log = logging.getLogger(__name__)

MINUTE_MS = 60_000
MOST_ASKED = 1000
"""The most articles in one question to the store, which takes it about 100 µs."""
MOST_WAITING = 10_000
PATIENCE_SECONDS = 1.0
"""An article without an answer by then is not let in. A store that is away fails sooner, and a store that an attack
slows down must not let the attack in."""
UNSEEN = 10

Registered = Callable[[str, list[bytes]], Awaitable[list[bool]]]
"""Says which of these articles a site has. May raise StoreUnavailable."""


class _Minute:
    """The places of one site in one minute."""

    __slots__ = ("newcomers", "number", "taken", "unseen")

    def __init__(self, number: int) -> None:
        self.number = number
        self.taken = 0
        self.unseen = 0
        """How many were let in because the store could not be asked."""
        self.newcomers: set[bytes] = set()
        """Articles for which no commit has answered yet; at most as many as places are taken."""


class Newcomers:
    """The newcomers of all sites, as one worker sees them."""

    def __init__(self, registered: Registered) -> None:
        self._registered = registered
        self._minutes: dict[str, _Minute] = {}
        self._waiting: dict[str, dict[bytes, asyncio.Future[bool | None]]] = {}
        self._asking: dict[str, asyncio.Task[None]] = {}

    def room(self, site: str, article: bytes, moment_ms: int, places: int) -> bool:
        """Whether there is a place for an article that may be new; if not, the store has to be asked."""
        minute = self._minute(site, moment_ms)
        return minute.taken < places or article in minute.newcomers

    def enter(self, site: str, article: bytes, moment_ms: int) -> None:
        """Take the place."""
        minute = self._minute(site, moment_ms)
        if article not in minute.newcomers:
            minute.taken += 1
            minute.newcomers.add(article)

    def _minute(self, site: str, moment_ms: int) -> _Minute:
        number = moment_ms // MINUTE_MS
        minute = self._minutes.get(site)
        if minute is None or minute.number != number:
            minute = self._minutes[site] = _Minute(number)
        return minute

    def settle(self, site: str, articles: Iterable[bytes], views: Iterable[int], added: Iterable[int]) -> None:
        """Take note of a commit's answer: articles with their views of all time (negative: counted as "(other)") and
        what the batch added. An article that was there before gives its place back."""
        minute = self._minutes.get(site)
        if minute is None or not minute.newcomers:
            return
        for article, n, gained in zip(articles, views, added, strict=True):
            if article in minute.newcomers:
                minute.newcomers.discard(article)
                if n >= 0 and not 0 < gained == n:
                    minute.taken -= 1

    async def may_enter(self, site: str, article: bytes, moment_ms: int, places: int) -> bool:
        """Ask the store about an article for which there is no place; True when it is known there, or the store cannot
        be asked. Callers that come while a question is on its way share the next one."""
        waiting = self._waiting.setdefault(site, {})
        future = waiting.get(article)
        if future is None:
            if len(waiting) >= MOST_WAITING:
                return False
            future = waiting[article] = asyncio.get_running_loop().create_future()
            if site not in self._asking:
                self._asking[site] = asyncio.create_task(self._ask(site))
        await asyncio.wait({future}, timeout=PATIENCE_SECONDS)
        known = future.result() if future.done() else False
        if known is not None:
            return known
        minute = self._minute(site, moment_ms)
        minute.unseen += 1
        return minute.unseen <= UNSEEN * places

    async def _ask(self, site: str) -> None:
        waiting: dict[bytes, asyncio.Future[bool | None]] = {}
        try:
            while waiting := self._waiting.pop(site, {}):
                articles = list(waiting)
                known: list[bool] = []
                for start in range(0, len(articles), MOST_ASKED):
                    known += await self._registered(site, articles[start : start + MOST_ASKED])
                for article, answer in zip(articles, known, strict=True):
                    waiting[article].set_result(answer)
        except StoreUnavailable as error:
            log.debug("the store cannot say which articles site %s has: %s", site, error)
        finally:
            del self._asking[site]
            for future in (*waiting.values(), *self._waiting.pop(site, {}).values()):
                if not future.done():
                    future.set_result(None)
