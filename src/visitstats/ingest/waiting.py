"""What a hit or a change waits for: its batch and the outcome."""

import asyncio
from typing import Any

import msgspec

from visitstats.core.batch import ChangeRecord, Gathering
from visitstats.core.periods import Day
from visitstats.reading.snapshots import Snapshot
from visitstats.sites.directory import LiveSite
from visitstats.store.commit import Changed, Committed

Told = tuple[str, ...]
"""What a beacon says about its article, as it was sent (`core.beacon.HitBeacon.told`), and which of it is signed."""


class Outcome(msgspec.Struct, frozen=True):
    """The outcome of a batch: committed, with a fresh snapshot; or journalled only (None), with the last one."""

    committed: Committed | None
    snapshot: Snapshot


class Waiting(Gathering):
    """A gathering batch with the future that all of its hits wait for."""

    __slots__ = ("at_once", "future", "live", "opened_ms", "since", "told")

    def __init__(self, live: LiveSite, day: Day, opened_ms: int, future: "asyncio.Future[Outcome]") -> None:
        super().__init__(live.site, day)
        self.live = live
        self.opened_ms = opened_ms
        """The moment of the beacon for which it was made."""
        self.future = future
        self.since = 0.0
        """When its first hit came (`perf_counter`); 0 while there is none."""
        self.at_once: list[Any] = []
        """The requests that the edge answers when the future is done."""
        self.told: dict[bytes, int] = {}
        """Article id → a hash of what was said about it last. It holds hashes because the texts may be as long as a
        beacon, and many hits wait while the store is away."""


class WaitingChange:
    """A change with the future that its request waits for: what the ledger said, or None when the store did not answer
    in time and the change is in the journal alone."""

    __slots__ = ("change", "future")

    def __init__(self, change: ChangeRecord, future: "asyncio.Future[Changed | None]") -> None:
        self.change = change
        self.future = future
