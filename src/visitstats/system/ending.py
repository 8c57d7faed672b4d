"""Ends tasks that would run for ever."""

import asyncio
import logging
from typing import Any

log = logging.getLogger(__name__)

AGAIN_SECONDS = 0.1
"""How long a task has to end before it is cancelled again."""


async def end(*tasks: "asyncio.Task[Any]") -> None:
    """Cancel tasks and wait until they have ended, however they end.

    Once is not enough: `asyncio.wait_for` of Python 3.11, through which redis-py sends every command, loses a
    cancellation that comes in the moment in which it has its result (gh-86296, ended by Python 3.12), and a loop around
    it goes on. It happened to 4 of 117 services that were stopped beside a store that hung.
    """
    pending = {task for task in tasks if not task.done()}
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=AGAIN_SECONDS)
    for task in tasks:
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a task ended with an error: %s", error, exc_info=error)
