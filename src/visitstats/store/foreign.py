"""Somebody else's Redis, of which counters are read. Nothing is written there, and nothing is asked that would hold it
up: SCAN, TYPE, GETRANGE and ZSCAN, a thousand names at a time, never KEYS."""

from collections.abc import Iterator
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from visitstats.core.errors import VisitstatsError
from visitstats.core.storeaddress import parse_address

AT_ONCE = 1000
MOST_NUMBERS = 500_000
"""Pages and sites; more are too many for one list in memory (150 MB)."""
LONGEST_NUMBER = 40
CONNECT_SECONDS, ANSWER_SECONDS = 5.0, 15.0


class Unreadable(VisitstatsError):
    """A Redis that cannot be read; the text does not show its address."""


def counters(url: str, patterns: list[str]) -> dict[str, Any]:
    """Return the keys that match one of the patterns: strings as texts, of sorted sets the scores of their members.
    Raises Unreadable. Blocks."""
    try:
        client = redis.Redis.from_url(
            parse_address(url).url, socket_connect_timeout=CONNECT_SECONDS, socket_timeout=ANSWER_SECONDS,
            retry=Retry(NoBackoff(), 0), protocol=2,
        )  # fmt: skip
        with client:
            reading = _Reading(client)
            return dict(each for pattern in patterns for each in reading.matching(pattern))
    except redis.AuthenticationError as error:
        raise Unreadable(f"it lets nobody in with this name and password ({error})") from error
    except (redis.ConnectionError, redis.TimeoutError, OSError) as error:
        raise Unreadable(f"it cannot be reached, or does not answer ({error})") from error
    except redis.RedisError as error:
        raise Unreadable(f"it refuses to be read ({error})") from error
    except ValueError as error:
        raise Unreadable(f"no address of a Redis: {error}") from error


class _Reading:
    """One reading."""

    def __init__(self, client: "redis.Redis") -> None:
        self._client = client
        self._many = 0

    def matching(self, pattern: str) -> Iterator[tuple[str, Any]]:
        """Yield keys with their values; what ends meanwhile is left out."""
        cursor = 0
        while True:
            page: Any
            cursor, page = self._client.scan(cursor, match=pattern, count=AT_ONCE)
            yield from self._values(page)
            if not cursor:
                return

    def _values(self, names: list[bytes]) -> Iterator[tuple[str, Any]]:
        with self._client.pipeline(transaction=False) as pipe:
            for name in names:
                pipe.type(name)
            types = pipe.execute()
            texts = [name for name, of_type in zip(names, types, strict=True) if of_type == b"string"]
            for name in texts:
                pipe.getrange(name, 0, LONGEST_NUMBER)
            values = pipe.execute()
        for name, value in zip(texts, values, strict=True):
            if value:
                self._count(1)
                yield _text(name), _text(value)
        for name, of_type in zip(names, types, strict=True):
            if of_type == b"zset":
                yield _text(name), self._scores(name)

    def _scores(self, name: bytes) -> dict[str, int | float]:
        found: dict[str, int | float] = {}
        cursor = 0
        while True:
            page: Any
            cursor, page = self._client.zscan(name, cursor, count=AT_ONCE)
            self._count(len(page))
            for member, score in page:
                found[_text(member)] = int(score) if float(score).is_integer() else score
            if not cursor:
                return found

    def _count(self, more: int) -> None:
        self._many += more
        if self._many > MOST_NUMBERS:
            raise Unreadable(f"more than {MOST_NUMBERS} counters: bring them as a file, in parts")


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise Unreadable(f"a key or a page that is no UTF-8 text ({data[:40].hex()})") from error
