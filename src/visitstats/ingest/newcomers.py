"""New articles: how many a site may get in a minute (rule 8 of keys, hostile-inputs row 13).

Whether an article is new is known by the store alone, and a hit does not wait for it. So an article that this worker
has not sent to the store yet is a newcomer until the store has said: it takes one of the minute's places at once, and
gives it back when the commit answers that the article was there before. Only when no place is left is the store asked
first, for many hits in one command; what it has is no newcomer, and what it has not is counted as "(other)". The
decision is made before the hit is journalled, which then carries the id of "(other)": a replay has nothing to decide.

Each worker has places of its own, so that a service of N workers takes up to N times as many. While the store is away,
`UNSEEN` times as many are let in: an article that is real must not lose its counts just because nobody can say so.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable

from visitstats.core.errors import StoreUnavailable

log = logging.getLogger(__name__)

MINUTE_MS = 60_000
MOST_ASKED = 1000
"""Articles in one question to the store: some 100 µs there."""
MOST_WAITING = 10_000
PATIENCE_SECONDS = 1.0
"""Who has no answer by then is not let in: a store that is away says so sooner, and one that is slow because of an
attack must not open the door to it."""
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
        """Let in because the store could not be asked."""
        self.newcomers: set[bytes] = set()
        """Those of which the store has not said yet whether they are new: as many as places are taken, at most."""


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
        what the batch added. Who was there before gives the place back."""
        minute = self._minutes.get(site)
        if minute is None or not minute.newcomers:
            return
        for article, n, gained in zip(articles, views, added, strict=True):
            if article in minute.newcomers:
                minute.newcomers.discard(article)
                if n >= 0 and not 0 < gained == n:
                    minute.taken -= 1

    async def may_enter(self, site: str, article: bytes, moment_ms: int, places: int) -> bool:
        """Ask the store about an article for which there is no place: whether it is known there, or nobody can say. All
        who ask while a question is on its way are in the next one."""
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
            log.debug("nobody can say which articles site %s has: %s", site, error)
        finally:
            del self._asking[site]
            for future in (*waiting.values(), *self._waiting.pop(site, {}).values()):
                if not future.done():
                    future.set_result(None)
