"""A live Redis of busuanzi or Vercount: its counters are read once, into a file that is imported like any other.

Nothing is written there, and nothing is asked that would hold it up: SCAN, TYPE, GETRANGE and ZSCAN, a thousand names
at a time (never KEYS). What the file says is what was there: counters that grew while it was read are newer by as much.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from visitstats.core.storeaddress import parse_address, shown
from visitstats.imports.options import Options
from visitstats.imports.places import ImportRefused, Place

SCHEMES = ("redis://", "rediss://", "unix://")
AT_ONCE = 1000
MOST_NUMBERS = 500_000
"""Pages and sites; more are too many for one list in memory (150 MB)."""
LONGEST_NUMBER = 40
CONNECT_SECONDS, ANSWER_SECONDS = 5.0, 15.0
_UNSAFE = re.compile(r"[^A-Za-z0-9.-]+")
_GLOB = re.compile(r"([*?\[\]\\^-])")


def is_address(text: str) -> bool:
    """Whether this is the address of a Redis, and not the name of a file."""
    return text.startswith(SCHEMES)


def fetch(url: str, folder: Path, options: Options) -> Path:
    """Write what the counters at an address have into a file in `folder`, as an object of keys, which
    `redisdumps.from_json` reads; return its path. Raises ImportRefused."""
    try:
        address = parse_address(url)
    except ValueError as error:
        raise ImportRefused(Place("the address of a Redis"), str(error)) from error
    place = Place(shown(url))
    try:
        client = redis.Redis.from_url(
            address.url, socket_connect_timeout=CONNECT_SECONDS, socket_timeout=ANSWER_SECONDS,
            retry=Retry(NoBackoff(), 0), protocol=2,
        )  # fmt: skip
        with client:
            found = _Reading(client, place).read(options)
    except redis.AuthenticationError as error:
        raise ImportRefused(place, f"it lets nobody in with this name and password ({error})") from error
    except (redis.ConnectionError, redis.TimeoutError, OSError) as error:
        raise ImportRefused(place, f"it cannot be reached, or does not answer ({error})") from error
    except redis.RedisError as error:
        raise ImportRefused(place, f"it refuses to be read ({error})") from error
    except ValueError as error:
        raise ImportRefused(place, f"no address of a Redis ({error})") from error
    path = folder / f"{_UNSAFE.sub('-', place.file).strip('-')}.json"
    path.write_text(json.dumps(dict(sorted(found.items())), ensure_ascii=False, sort_keys=True), encoding="utf-8")
    return path


class _Reading:
    """One reading of the counters."""

    def __init__(self, client: "redis.Redis", place: Place) -> None:
        self._client = client
        self._place = place
        self._many = 0

    def read(self, options: Options) -> dict[str, Any]:
        """Return the numbers of keys, and of the members of sorted sets. Raises ImportRefused, and what redis-py
        raises."""
        prefix = options.prefix.rstrip(":")
        beginning = _GLOB.sub(r"\\\1", prefix)
        patterns = {
            "busuanzi": [f"{beginning}:site_pv:*", f"{beginning}:page_pv:*"],
            "vercount": ["pv:site:*", "pv:page:*"],
        }
        found = {
            kind: dict(each for pattern in each_of for each in self._matching(pattern))
            for kind, each_of in patterns.items()
            if options.kind in ("", kind)
        }
        there = [kind for kind, numbers in found.items() if numbers]
        if not found:
            raise ImportRefused(self._place, "only busuanzi and Vercount are read from a live Redis")
        if not there:
            raise ImportRefused(
                self._place, f"no key begins with {prefix}:site_pv:, {prefix}:page_pv:, pv:site: or pv:page:",
                hint="/1 behind the address names the second database; --prefix says how busuanzi's keys begin",
            )  # fmt: skip
        if len(there) > 1:
            raise ImportRefused(self._place, "it has counters of busuanzi and of Vercount: say --kind")
        return found[there[0]]

    def _matching(self, pattern: str) -> Iterator[tuple[str, Any]]:
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
            if value:  # else it has ended meanwhile
                self._count(1)
                yield self._text(name), self._text(value)
        for name, of_type in zip(names, types, strict=True):
            if of_type == b"zset":
                yield self._text(name), self._scores(name)

    def _scores(self, name: bytes) -> dict[str, int | float]:
        found: dict[str, int | float] = {}
        cursor = 0
        while True:
            page: Any
            cursor, page = self._client.zscan(name, cursor, count=AT_ONCE)
            self._count(len(page))
            for member, score in page:
                found[self._text(member)] = int(score) if float(score).is_integer() else score
            if not cursor:
                return found

    def _count(self, more: int) -> None:
        self._many += more
        if self._many > MOST_NUMBERS:
            raise ImportRefused(self._place, f"more than {MOST_NUMBERS} counters: bring them as a file, in parts")

    def _text(self, data: bytes) -> str:
        try:
            return data.decode()
        except UnicodeDecodeError as error:
            raise ImportRefused(self._place, "a key or a page that is no UTF-8 text", data[:40].hex()) from error
