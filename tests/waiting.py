"""Waiting for something to become true: never a bare sleep, always an end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

POLL_SECONDS = 0.01


def wait_until(true: Callable[[], object], what: str, seconds: float = 10.0) -> None:
    """Return as soon as `true()` is; fail with `what` when it is not within `seconds`."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"waited {seconds} s in vain until {what}"
        time.sleep(POLL_SECONDS)


async def eventually(true: Callable[[], object], what: str, seconds: float = 10.0) -> None:
    """The same without blocking the event loop."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"waited {seconds} s in vain until {what}"
        await asyncio.sleep(POLL_SECONDS)
