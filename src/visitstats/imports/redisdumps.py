"""The Redis keys of a counter, from a file of redis-cli commands or JSON. `redislive.py` reads a live Redis."""

import re
import shlex
from collections.abc import Iterator
from typing import Any

from visitstats.imports.encodings import Lines, encoding_of
from visitstats.imports.numbers import whole
from visitstats.imports.opening import Item
from visitstats.imports.places import ImportRefused, Place

_COMMAND = re.compile(
    r"(?:SELECT \d+\s+)?(?:SET|SETEX|ZADD|PFADD|P?EXPIRE|P?EXPIREAT|INCRBY|HSET|MSET)\s+[^\s:=(]*:\S", re.I
)
_SKIPPED = frozenset(
    {"PFADD", "EXPIRE", "PEXPIRE", "EXPIREAT", "PEXPIREAT", "SELECT", "PERSIST", "RESTORE", "FLUSHALL"}
)


class Keys:
    """The keys of a Redis with their places: numbers (strings) and scores of members (sorted sets)."""

    def __init__(self) -> None:
        self.numbers: dict[str, tuple[int, Place]] = {}
        self.scores: dict[str, dict[str, tuple[int, Place]]] = {}
        self.others: set[str] = set()

    def number(self, key: str, value: Any, place: Place) -> None:
        """Store a string. A key whose value is no number belongs to another program."""
        try:
            found = whole(value if isinstance(value, int | float) else str(value), place)
        except ImportRefused:
            if key.startswith(("bsz:", "pv:")) or ":site_pv:" in key or ":page_pv:" in key:
                raise
            found = None
        if found is None:
            self.others.add(key)
            return
        before = self.numbers.get(key)
        if before and before[0] != found:
            raise ImportRefused(place, f"{key} had {before[0]} in line {before[1].line}", str(value))
        self.numbers[key] = (found, place)

    def score(self, key: str, member: str, value: Any, place: Place) -> None:
        """Store a member of a sorted set."""
        number = float(value) if isinstance(value, str) and re.fullmatch(r"[0-9.]+(?:e\+?\d+)?", value) else value
        found = whole(number, place)
        if found is not None:
            self.scores.setdefault(key, {})[member] = (found, place)


def looks_like_commands(text: str) -> bool:
    """Return whether a text begins like a file of commands."""
    return _COMMAND.match(text.lstrip("\ufeff \r\n")) is not None


def commands(item: Item) -> Keys:
    """Read a file of redis-cli commands. Raises ImportRefused."""
    found = Keys()
    for place, words in _words(item):
        name, arguments = words[0].upper(), words[1:]
        if name in ("SET", "INCRBY") and len(arguments) >= 2:
            found.number(arguments[0], arguments[1], place)
        elif name == "SETEX" and len(arguments) == 3:
            found.number(arguments[0], arguments[2], place)
        elif name == "MSET" and len(arguments) % 2 == 0:
            for key, value in zip(arguments[::2], arguments[1::2], strict=True):
                found.number(key, value, place)
        elif name == "ZADD" and len(arguments) >= 3:
            pairs = [each for each in arguments[1:] if each.upper() not in ("NX", "XX", "GT", "LT", "CH")]
            if len(pairs) % 2:
                raise ImportRefused(place, "a score and a member are expected for each page", " ".join(words))
            for value, member in zip(pairs[::2], pairs[1::2], strict=True):
                found.score(arguments[0], member, value, place)
        elif name in _SKIPPED or name == "HSET":
            found.others.add(arguments[0] if arguments else "")
        else:
            raise ImportRefused(place, "a command such as SET or ZADD is expected", " ".join(words))
    return found


def _words(item: Item) -> Iterator[tuple[Place, list[str]]]:
    try:
        with Lines(item, encoding_of(item)) as text:
            for number, line in enumerate(text, 1):
                if not line.strip() or line.lstrip().startswith("#"):
                    continue
                place = item.place.at(number)
                try:
                    yield place, shlex.split(line)
                except ValueError as error:
                    raise ImportRefused(place, f"a quotation mark is missing ({error})", line) from error
    except UnicodeDecodeError as error:
        raise ImportRefused(item.place, f"not UTF-8 text ({error.reason})") from error


def from_json(item: Item, value: Any) -> Keys | None:
    """Read an object of keys, in which sorted sets are objects or lists of pairs. None for another object."""
    if not isinstance(value, dict) or not any(":" in str(key) for key in value):
        return None
    found = Keys()
    for key, each in value.items():
        inner = each.get("value", each) if isinstance(each, dict) and "value" in each else each
        if isinstance(inner, str | int | float) and not isinstance(inner, bool):
            found.number(key, inner, item.place)
        elif isinstance(inner, dict):
            for member, score in inner.items():
                found.score(key, member, score, item.place)
        elif isinstance(inner, list):
            for pair in inner:
                if isinstance(pair, list) and len(pair) == 2:
                    member, score = pair if isinstance(pair[0], str) else pair[::-1]
                    found.score(key, str(member), score, item.place)
        else:
            found.others.add(key)
    return found
