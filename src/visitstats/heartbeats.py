"""Heartbeats that wait for the next commit: the last one of each visitor of a site-day (rule 4)."""

from collections.abc import Iterator

from visitstats.core.periods import Day
from visitstats.directory import LiveSite
from visitstats.store.commit import Heartbeats

MOST = 1000
"""Heartbeats in one command: below a millisecond on the server."""


class WaitingBeats:
    """Gathers heartbeats. Nothing of them is on the disk: a lost one is made good by the next."""

    def __init__(self) -> None:
        self._days: dict[tuple[str, str], tuple[LiveSite, Day, dict[bytes, tuple[bytes, int]]]] = {}

    def __bool__(self) -> bool:
        return bool(self._days)

    def add(self, live: LiveSite, day: Day, token: bytes, old_token: bytes, moment_ms: int, most: int) -> None:
        """Note a visitor's heartbeat; at most `most` visitors of a site-day wait."""
        name = (live.site.id, day.date)
        entry = self._days.get(name)
        if entry is None:
            entry = self._days[name] = (live, day, {})
        if token in entry[2] or len(entry[2]) < most:
            entry[2][token] = (old_token, moment_ms)

    def take(self) -> Iterator[Heartbeats]:
        """Yield what waits, in pieces for one command each; nothing waits any more then."""
        days, self._days = self._days, {}
        for live, day, tokens in days.values():
            items = list(tokens.items())
            for start in range(0, len(items), MOST):
                piece = items[start : start + MOST]
                yield Heartbeats(
                    live.site.id,
                    day,
                    [token for token, _ in piece],
                    [old for _, (old, _) in piece],
                    [moment for _, (_, moment) in piece],
                )
