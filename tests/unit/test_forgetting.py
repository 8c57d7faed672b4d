"""What cannot be had back is not deleted by a clock that has just jumped ahead."""

from __future__ import annotations

from visitstats.core.forgetting import JUMP_MS, PATIENCE_SECONDS, ForgettingClock

HOUR_MS = 3600 * 1000
DAY_MS = 24 * HOUR_MS


class World:
    """The time that passes, and a clock that somebody sets."""

    def __init__(self) -> None:
        self.elapsed = 100.0
        self.set_ahead_ms = 0
        self.forget_by = ForgettingClock(self.clock, lambda: self.elapsed)

    def clock(self) -> int:
        return 1_800_000_000_000 + round(self.elapsed * 1000) + self.set_ahead_ms

    def behind_ms(self) -> int:
        """How far what is forgotten by is behind the clock."""
        return self.clock() - self.forget_by()


def test_a_clock_that_only_goes_on_is_followed() -> None:
    world = World()
    for _ in range(100):
        world.elapsed += 5000
        assert world.behind_ms() == 0


def test_a_clock_that_is_adjusted_is_followed_at_once() -> None:
    world = World()
    for step in (JUMP_MS, -JUMP_MS, 500, JUMP_MS):
        world.set_ahead_ms += step
        assert world.behind_ms() == 0


def test_a_day_ahead_and_back_is_never_followed() -> None:
    """Meanwhile time goes on as it did before."""
    world = World()
    world.set_ahead_ms = DAY_MS
    for _ in range(10):
        assert world.behind_ms() == DAY_MS
        world.elapsed += PATIENCE_SECONDS / 11
    world.set_ahead_ms = 0
    assert world.behind_ms() == 0
    world.set_ahead_ms = DAY_MS  # once more: the patience begins anew
    world.elapsed += PATIENCE_SECONDS / 2
    assert world.behind_ms() == DAY_MS


def test_a_clock_that_stays_ahead_is_believed_in_the_end() -> None:
    """It was put right, or the machine had slept."""
    world = World()
    world.set_ahead_ms = DAY_MS
    assert world.behind_ms() == DAY_MS
    world.elapsed += PATIENCE_SECONDS - 1
    assert world.behind_ms() == DAY_MS
    world.elapsed += 1
    assert world.behind_ms() == 0
    world.elapsed += 10
    assert world.behind_ms() == 0


def test_a_clock_that_is_set_back_is_followed_at_once() -> None:
    """Things are kept for longer then."""
    world = World()
    world.set_ahead_ms = -DAY_MS
    assert world.behind_ms() == 0
    world.set_ahead_ms = 0  # and forward again: that is a jump like any other
    assert world.behind_ms() == DAY_MS
