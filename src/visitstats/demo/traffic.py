"""Visible, realistic visitors for `visitstats demo --traffic`: they arrive, read, send heartbeats and leave.

They send over HTTP what the widget sends, and the article's author, category and date with it, each with its own
address (`X-Forwarded-For`: the demo trusts loopback as its proxy), browser and visit id, so that the box moves as it
would on a portal. Now and then a bot comes by; it must not count, and the player says so when it did.
"""

import asyncio
import json
import random
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from visitstats.demo.articles import Article, load_articles
from visitstats.demo.crowd import Reading, Visitor, draw_visitor, next_gap
from visitstats.demo.loopback import Answer, LoopbackClient, NoAnswer

HEARTBEAT = 60.0  # seconds, as the widget
# When this many visitors are there, bots included, the next one waits, so that memory and sockets stay bounded.
MOST_AT_ONCE = 500

_IGNORED = re.compile(r"ignored; reason=([a-z-]{1,40})")

Sleep = Callable[[float], Awaitable[object]]


@dataclass(slots=True)
class TrafficStats:
    """What the player has done so far. `answered + failed` is every beacon whose outcome is known."""

    visitors: int = 0
    """People who have come."""
    reading: int = 0
    """People who are here now."""
    hits: int = 0
    """Pages opened by people; these are the views that the service should show."""
    heartbeats: int = 0
    bots: int = 0
    """Bots that have come."""
    bot_hits: int = 0
    answered: int = 0
    """Answers 200 or 202."""
    failed: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    """How often something went wrong, by name: refused, timeout, closed, bad-answer, status-N; and wrong answers:
    `bot-counted`, and `ignored-REASON` for a person."""


async def play(
    base_url: str,
    stop: asyncio.Event,
    *,
    rate: float,
    seed: int,
    report: Callable[[TrafficStats], None],
    site: str = "demo",
    sleep: Sleep = asyncio.sleep,
) -> None:
    """Plays visitors, `rate` of them a minute on average, until `stop` is set; then returns at once.

    `seed` decides who comes, with which visit and hit ids. A second run with the same seed against the same stored
    numbers sends the same ids again, and the service is right not to count those hits twice: give each run its own.
    `report` gets the same object after every change. ValueError when `base_url` is not plain http, or `rate` is not
    positive.
    """
    if not rate > 0:
        raise ValueError(f"{rate} visitors a minute: more than 0 are needed")
    player = _Player(base_url, site, load_articles(), report, sleep)
    try:
        async with asyncio.TaskGroup() as readers:
            readers.create_task(player.open_doors(random.Random(seed), rate, readers))  # noqa: S311 - a crowd, no secret
            await stop.wait()
            raise _Stopped
    except* _Stopped:
        pass
    finally:
        await player.close()


class _Stopped(Exception):
    """Leaves the task group, which cancels all visitors in it."""


class _Player:
    def __init__(
        self,
        base_url: str,
        site: str,
        articles: Sequence[Article],
        report: Callable[[TrafficStats], None],
        sleep: Sleep,
    ) -> None:
        self._base_url = base_url.rstrip("/")
        self._client = LoopbackClient(self._base_url)
        self._origin = "{0.scheme}://{0.netloc}".format(urlsplit(base_url))
        self._site = site
        self._articles = articles
        self._report = report
        self._sleep = sleep
        self._places = asyncio.Semaphore(MOST_AT_ONCE)
        self._stats = TrafficStats()

    async def close(self) -> None:
        await self._client.close()

    async def open_doors(self, rng: random.Random, rate: float, readers: asyncio.TaskGroup) -> None:
        """Lets visitors in, one after the other, for as long as it is not cancelled."""
        while True:
            await self._sleep(next_gap(rng, rate))
            await self._places.acquire()
            readers.create_task(self._visit(draw_visitor(rng, self._articles)))

    async def _visit(self, visitor: Visitor) -> None:
        stats = self._stats
        if visitor.is_bot:
            stats.bots += 1
        else:
            stats.visitors += 1
            stats.reading += 1
        try:
            referrer = visitor.referrer
            for reading in visitor.readings:
                referrer = await self._open(visitor, reading, referrer)
                await self._stay(visitor, reading.seconds)
        finally:
            self._places.release()
            if not visitor.is_bot:
                stats.reading -= 1
            self._report(stats)

    async def _open(self, visitor: Visitor, reading: Reading, referrer: str) -> str:
        """Opens the article as the widget reports it; returns its address, the next page's referrer."""
        if visitor.is_bot:
            self._stats.bot_hits += 1
        else:
            self._stats.hits += 1
        article = reading.article
        url = f"{self._base_url}/demo/{article.path}"
        beacon = {
            "u": url,
            "t": article.title,
            "r": referrer,
            "v": visitor.visit_id,
            "h": reading.hit_id,
            "m": {
                "author": article.author,
                "category": article.topic.name,
                "published": article.published.isoformat(),
            },
        }
        await self._send("hit", beacon, visitor)
        return url

    async def _stay(self, visitor: Visitor, seconds: float) -> None:
        """Keeps a page open, with a heartbeat a minute; bots send no heartbeats."""
        while not visitor.is_bot and seconds > HEARTBEAT:
            await self._sleep(HEARTBEAT)
            seconds -= HEARTBEAT
            self._stats.heartbeats += 1
            await self._send("alive", {"v": visitor.visit_id}, visitor)
        await self._sleep(seconds)

    async def _send(self, route: str, beacon: Mapping[str, object], visitor: Visitor) -> None:
        headers = {
            "Content-Type": "text/plain;charset=UTF-8",
            "User-Agent": visitor.agent,
            "X-Forwarded-For": visitor.address,
            "Origin": self._origin,
        }
        body = json.dumps(beacon, ensure_ascii=False).encode()
        try:
            answer = await self._client.post(f"/v1/sites/{self._site}/{route}", body, headers)
        except NoAnswer as error:
            self._fail(error.name)
        else:
            self._judge(answer, visitor)
        self._report(self._stats)

    def _judge(self, answer: Answer, visitor: Visitor) -> None:
        if answer.status not in (200, 202):
            self._fail(f"status-{answer.status}")
            return
        self._stats.answered += 1
        ignored = _IGNORED.match(answer.headers.get("x-visitstats", ""))
        if visitor.is_bot and not ignored:
            self._stats.errors["bot-counted"] += 1
        elif ignored and not visitor.is_bot:
            self._stats.errors[f"ignored-{ignored[1]}"] += 1

    def _fail(self, name: str) -> None:
        self._stats.failed += 1
        self._stats.errors[name] += 1
