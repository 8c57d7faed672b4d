"""An arithmetic of its own on what the numbers must be, from nothing but the hits that were sent.

It shares no code with visitstats. The rules (docs/counting.md), for a run that is shorter than the pause that ends a
visit (30 min) and does not cross midnight: every visitor has one visit; every article has as many views as it has
different visitors.
"""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec

from benchmarks.beacons import key_of
from benchmarks.contenders import SITE, Client
from benchmarks.load import Hit

ONLINE_SECONDS = 300
# Leaves room for the second or so that the snapshot may be old.
ONLINE_CHECKED_SECONDS = 290
PERIODS = ("today", "week", "month", "year", "total")
KEYS_PER_CALL = 500
"""The most that the API takes."""
# A hit answered with 202 is applied later; an idle snapshot is up to 1 s old.
SETTLE_SECONDS = 10.0


@dataclass
class Ledger:
    """What one site must show after the hits that it was sent."""

    visitors: set[int] = field(default_factory=set)
    pairs: set[Hit] = field(default_factory=set)
    not_acknowledged: int = 0
    hits: int = 0
    began: float = field(default_factory=time.monotonic)
    day: str = field(default_factory=lambda: _today())

    def add(self, hits: Iterable[Hit], not_acknowledged: int) -> None:
        before = self.hits
        for visitor, article in hits:
            self.hits += 1
            self.visitors.add(visitor)
            self.pairs.add((visitor, article))
        assert self.hits - before >= not_acknowledged
        self.not_acknowledged += not_acknowledged

    def views(self) -> dict[str, int]:
        """Views by key."""
        views: dict[str, int] = {}
        for _, article in self.pairs:
            views[key_of(article)] = views.get(key_of(article), 0) + 1
        return views


def _today() -> str:
    return datetime.now(UTC).date().isoformat()


def read_numbers(port: int, site: str = SITE) -> dict[str, int]:
    """The box's numbers; what is not a number (site, moment) is left out."""
    with Client(port) as client:
        numbers = _json(client.get(f"/v1/sites/{site}/stats"))
    return {name: value for name, value in numbers.items() if isinstance(value, int)}


def read_views(port: int, keys: Iterable[str], site: str = SITE) -> dict[str, int]:
    wanted = sorted(keys)
    views: dict[str, int] = {}
    with Client(port) as client:
        for begin in range(0, len(wanted), KEYS_PER_CALL):
            body = msgspec.json.encode({"keys": wanted[begin : begin + KEYS_PER_CALL]})
            views |= _json(client.post(f"/v1/sites/{site}/views", body))["views"]
    return views


def _json(answer: tuple[int, bytes]) -> dict[str, Any]:
    status, body = answer
    if status != 200:
        raise ValueError(f"the service answered {status}: {body[:200]!r}")
    return msgspec.json.decode(body, type=dict[str, Any])


def differences(ledger: Ledger, numbers: Mapping[str, int], views: Mapping[str, int]) -> list[str]:
    """Every number that is not what it must be, in words; an empty list is the verdict "nothing lost or doubled".

    With hits that were not acknowledged (each may have been counted or not) the comparison is between bounds.
    """
    if _today() != ledger.day:
        return ["not checked: the day changed during the run; run it again"]
    wrong: list[str] = []
    slack = ledger.not_acknowledged
    names = [*PERIODS]
    if time.monotonic() - ledger.began < ONLINE_CHECKED_SECONDS:
        names.append("online")
    for name in names:
        _compare(wrong, name, numbers.get(name), len(ledger.visitors), slack)
    if numbers.get("yesterday") not in (0, None):
        wrong.append(f"yesterday: {numbers['yesterday']}, must be 0")
    expected = ledger.views()
    for key, want in expected.items():
        _compare(wrong, f"views of {key}", views.get(key), want, slack)
    _compare(wrong, "views of all articles together", sum(views.values()), len(ledger.pairs), slack)
    return wrong


def _compare(wrong: list[str], name: str, got: int | None, want: int, slack: int) -> None:
    if got is None or not want - slack <= got <= want:
        least = f"{want - slack} to " if slack else ""
        wrong.append(f"{name}: {got}, must be {least}{want}")


def settled_differences(ledger: Ledger, port: int, site: str = SITE) -> list[str]:
    """`differences` once the service had time to apply what it answered with 202; returns as soon as all is equal."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while True:
        wrong = differences(ledger, read_numbers(port, site), read_views(port, ledger.views(), site))
        if not wrong or time.monotonic() > deadline:
            return wrong
        time.sleep(0.25)
