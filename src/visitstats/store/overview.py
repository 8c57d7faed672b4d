"""Reads what a scrape shows of all sites, in a few writes of plain commands, on a connection of its own.

Rule 1: at most COMMANDS commands a site, on any day of the month. Estimates of closed days come from the hash that
        keeps them; sketches are asked for today's alone.
Rule 2: nothing here writes, so that a store that is full, a replica or short of replicas is still read.
"""

import asyncio
import logging
from typing import Any, NamedTuple

import msgspec
from redis.exceptions import ResponseError

from visitstats.core import counting
from visitstats.core.batch import OTHER_ID
from visitstats.core.periods import Day
from visitstats.store import keys
from visitstats.store.client import ANSWER_SECONDS, CONNECT_SECONDS, open_pool, translated
from visitstats.store.counts import dated_of
from visitstats.store.line import Answered, Wire, packed
from visitstats.store.reads import mark_of

log = logging.getLogger(__name__)

COMMANDS = 17
"""Eight commands, a PFCOUNT for each sketch of today (the server caches the cardinality), and one PFCOUNT for all of
yesterday's sketches while that day is not closed."""
PIECE = 25
"""How many sites are asked for in one write: the server answers all of it before it looks at another client."""


class Asked(NamedTuple):
    """A site, its day, and the days whose estimates of unique visitors are wanted."""

    site: str
    day: Day
    dates: tuple[str, ...]


class Found(msgspec.Struct, frozen=True):
    """What the store has of a site."""

    site: str
    hits: int
    """Hits that were ever committed, with duplicates: the sum of the watermarks of all writers."""
    online: int
    visits: list[int]
    """In the order of `core.numbers.counters_of` for the day; so are the views."""
    views: list[int]
    articles: int
    uniques: dict[str, int]
    """Estimates by date."""
    peaks: dict[str, int]
    """The most visitors online at once on each day of this month, by date."""


class About(msgspec.Struct, frozen=True):
    """What the store says of itself."""

    version: str
    memory: int
    """Bytes that it uses, and may use; 0 for no limit."""
    memory_limit: int
    persistent: bool
    """Whether it keeps an append-only file and its last writes to the disk succeeded."""
    writers: int
    """How many slots of journals, on all hosts, it knows."""


class Overview:
    """Reads all sites. Two callers must not use it at the same time."""

    def __init__(self, url: str) -> None:
        self._pool = open_pool(url, None)  # kept: with Sentinel the connection asks it where the primary is
        self._connection: Any = self._pool.make_connection()  # type: ignore[no-untyped-call]
        self._wire: Wire | None = None
        self._estimates: dict[str, dict[str, int]] = {}
        """Site → today and yesterday → the estimates of unique visitors that were read last."""
        self._last_year: dict[str, dict[str, Any]] = {}
        """Site → date → the estimate of a day of the year before, as the store has it."""
        self._damaged: frozenset[str] = frozenset()

    async def read(self, asked: list[Asked], now_ms: int) -> list[Found]:
        """Read sites. A site with a count that is no number is left out. Raises StoreUnavailable."""
        with translated():
            try:
                found = await self._read(asked, now_ms)
            except ResponseError:
                raise  # the connection is as it was
            except BaseException:
                await self.close()
                raise
        return found

    async def about(self) -> About:
        """Read what the store says of itself, after `read`. Raises StoreUnavailable."""
        with translated():
            memory, persistence, server, writers = await self._ask(
                [packed("INFO", "memory"), packed("INFO", "persistence"), packed("INFO", "server"),
                 packed("HLEN", keys.HOSTS)]
            )  # fmt: skip
        used, written, of = _info(memory), _info(persistence), _info(server)
        right = ("aof_last_write_status", "aof_last_bgrewrite_status", "rdb_last_bgsave_status")
        return About(
            version=of.get("valkey_version") or of.get("redis_version", ""),
            memory=_number(used.get("used_memory")),
            memory_limit=_number(used.get("maxmemory")),
            persistent=written.get("aof_enabled") == "1" and all(written.get(name, "ok") == "ok" for name in right),
            writers=writers if isinstance(writers, int) else 0,
        )

    async def close(self) -> None:
        """Close the connection."""
        if self._wire is not None:
            self._wire.close()
            self._wire = None
        await self._connection.disconnect(nowait=True)

    async def _read(self, asked: list[Asked], now_ms: int) -> list[Found]:
        if self._wire is None or self._wire.lost:
            await self.close()
            async with asyncio.timeout(CONNECT_SECONDS + ANSWER_SECONDS):
                await self._connection.connect()
            self._wire = Wire(self._connection._writer.transport)
        found, damaged = list[Found](), set[str]()
        for start in range(0, len(asked), PIECE):
            piece = asked[start : start + PIECE]
            questions = [_questions(each) for each in piece]
            replies = await self._ask([command for each in questions for command in each])
            said, place = list[list[Any]](), 0
            for commands in questions:
                said.append(replies[place : place + len(commands)])
                place += len(commands)
            await self._add_last_year(piece, said)
            await self._add_yesterdays(piece, said)
            for each, answers in zip(piece, said, strict=True):
                try:
                    found.append(self._understood(each, answers, now_ms))
                except (ValueError, TypeError) as error:
                    damaged.add(each.site)
                    if each.site not in self._damaged:
                        log.error("site %s: what the store has of it cannot be read: %s", each.site, error)
        self._damaged = frozenset(damaged)
        return found

    async def _ask(self, commands: list[bytes]) -> list[Any]:
        if self._wire is None:
            raise ConnectionResetError("the connection was closed")
        return await self._wire.ask(b"".join(commands), len(commands))

    async def _add_last_year(self, piece: list[Asked], said: list[list[Any]]) -> None:
        """Put in the estimates of days of the year before, in the first week of January. They are closed: each is read
        once, and remembered until then."""
        lacking = list[tuple[Asked, list[Any], int]]()
        for each, answers in zip(piece, said, strict=True):
            known = self._last_year.get(each.site, {})
            for place, date in enumerate(each.dates):
                if not date.startswith(each.day.year) and isinstance(answers[4], list):
                    answers[4][place] = known.get(date)
                    if date not in known:
                        lacking.append((each, answers[4], place))
        if lacking:
            found = await self._ask(
                [packed("HGET", keys.uniques(each.site, each.dates[n][:4]), each.dates[n]) for each, _, n in lacking]
            )
            for (each, kept, place), n in zip(lacking, found, strict=True):
                kept[place] = n
                if n is not None and each.dates[place] != each.day.yesterday:
                    self._last_year.setdefault(each.site, {})[each.dates[place]] = n

    async def _add_yesterdays(self, piece: list[Asked], said: list[list[Any]]) -> None:
        """Put in yesterday's estimates where they are asked for, and not kept yet: days are closed some minutes after
        they are over."""
        lacking = list[tuple[Asked, list[Any], int]]()
        for each, answers in zip(piece, said, strict=True):
            kept, yesterday = answers[4], each.day.yesterday
            if yesterday in each.dates and isinstance(kept, list):
                place = each.dates.index(yesterday)
                if kept[place] is None:
                    kept[place] = self._estimates.get(each.site, {}).get(yesterday)
                    if kept[place] is None:
                        lacking.append((each, kept, place))
        if lacking:
            names = [keys.sketches(each.site, each.day.yesterday) for each, _, _ in lacking]
            counts = await self._ask([packed("PFCOUNT", *each) for each in names])
            for (_, kept, place), count in zip(lacking, counts, strict=True):
                kept[place] = count

    def _understood(self, asked: Asked, answers: list[Any], now_ms: int) -> Found:
        """Raises ValueError and TypeError."""
        for answer in answers:
            if isinstance(answer, Answered):
                raise ValueError(str(answer))
        ring, articles, other, marks, kept, highest, *more = answers
        sketches, found = more[: keys.SKETCHES], iter(more[keys.SKETCHES :])
        dated = dated_of(asked.site, asked.day, "visits", "views")
        counts = dated.counts(
            [
                [None] * len(fields) if _is_to_come(key, asked) else next(found)
                for key, fields in zip(dated.keys, dated.fields, strict=True)
            ]
        )
        uniques = {date: int(n or 0) for date, n in zip(asked.dates, kept, strict=True)}
        today, yesterday = asked.day.date, asked.day.yesterday
        uniques[today] = sum(sketches) or uniques.get(today, 0)
        self._estimates[asked.site] = {date: uniques[date] for date in (yesterday, today) if date in uniques}
        return Found(
            asked.site,
            hits=sum(mark_of(mark).total for mark in marks),
            online=counting.online_in(ring or b"", now_ms),
            visits=counts[: len(counts) // 2],
            views=counts[len(counts) // 2 :],
            articles=articles - other,
            uniques=uniques,
            peaks={date: _online(peak) for date, peak in zip(_month(asked.day), highest, strict=True) if peak},
        )


def _is_to_come(key: str, asked: Asked) -> bool:
    """Whether a key is of the next month: nothing is counted there yet, although this week reaches into it."""
    return key > keys.days(asked.site, asked.day.month)


def _month(day: Day) -> list[str]:
    """The dates of the month, up to a day."""
    return [f"{day.month}-{n:02d}" for n in range(1, int(day.date[-2:]) + 1)]


def _online(peak: bytes) -> int:
    """The number of a peak as it is kept, before its moment. Raises ValueError."""
    return int(peak.partition(b" ")[0])


def _info(answer: Any) -> dict[str, str]:
    """The lines of an answer to INFO; nothing when it is an error."""
    if not isinstance(answer, bytes):
        return {}
    pairs = (line.partition(":") for line in answer.decode("utf-8", "replace").splitlines())
    return {name: value for name, _, value in pairs}


def _number(text: str | None) -> int:
    return int(text) if text and text.isdecimal() else 0


def _questions(asked: Asked) -> list[bytes]:
    site, day = asked.site, asked.day
    dated = dated_of(site, day, "visits", "views")
    return [
        packed("GET", keys.online(site)),
        packed("HLEN", keys.articles(site)),
        packed("HEXISTS", keys.articles(site), OTHER_ID),
        packed("HVALS", keys.marks(site)),
        packed("HMGET", keys.uniques(site, day.year), *asked.dates),
        packed("HMGET", keys.peaks(site, day.year), *_month(day)),
        # One key each: then the server answers from the sketch's cached cardinality.
        *(packed("PFCOUNT", sketch) for sketch in keys.sketches(site, day.date)),
        *(
            packed("HMGET", key, *fields)
            for key, fields in zip(dated.keys, dated.fields, strict=True)
            if not _is_to_come(key, asked)
        ),
    ]
