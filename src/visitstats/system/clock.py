"""The machine's clock. All other modules get a clock as an argument, so that tests can set the time."""

import time


def wall_clock() -> int:
    """The moment, in milliseconds since the epoch. The only place that asks the machine for it."""
    return time.time_ns() // 1_000_000
