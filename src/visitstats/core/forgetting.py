"""The clock for deletions that cannot be undone: a wall clock whose jumps are not trusted at once.

When a clock is set a day ahead by mistake, and back an hour later, neither the journal, from which the store is healed,
nor the presences may have been deleted meanwhile. So a jump ahead is followed only after it has lasted for
PATIENCE_SECONDS; until then time goes on as before. A clock that is set back is followed at once: things are then kept
for longer.
"""

from collections.abc import Callable

PATIENCE_SECONDS = 3600.0
"""Longer than a time service needs to correct a clock, or a person to notice a mistake."""
JUMP_MS = 60_000
"""A clock that gains less than this between two readings is only being adjusted."""


class ForgettingClock:
    """`clock` returns the moment in milliseconds, `elapsed` the seconds of a monotonic clock."""

    def __init__(self, clock: Callable[[], int], elapsed: Callable[[], float]) -> None:
        self._clock = clock
        self._elapsed = elapsed
        self._ahead = clock() - elapsed() * 1000
        """The difference between the two clocks that is believed, in milliseconds."""
        self._doubted_since: float | None = None

    def __call__(self) -> int:
        """Return the moment, in milliseconds since the epoch."""
        elapsed = self._elapsed()
        ahead = self._clock() - elapsed * 1000
        if ahead <= self._ahead + JUMP_MS:
            self._ahead, self._doubted_since = ahead, None
        elif self._doubted_since is None:
            self._doubted_since = elapsed
        elif elapsed - self._doubted_since >= PATIENCE_SECONDS:
            self._ahead, self._doubted_since = ahead, None
        return round(elapsed * 1000 + self._ahead)
