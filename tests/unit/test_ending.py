"""Tasks that must end when a worker is stopped."""

from __future__ import annotations

import asyncio
import logging

import pytest

from visitstats.system.ending import end


async def test_a_loop_that_loses_a_cancellation_ends_all_the_same() -> None:
    """A service that is stopped while redis-py just gets its answer ends: the loop around it is cancelled again."""
    answers = [asyncio.get_running_loop().create_future() for _ in range(3)]
    rounds = 0

    async def watch() -> None:
        nonlocal rounds
        while True:
            await asyncio.wait_for(answers[min(rounds, 2)], 60)
            rounds += 1

    task = asyncio.create_task(watch())
    await asyncio.sleep(0)
    # The answer comes, and in the same moment the cancellation: Python 3.11 loses it.
    answers[0].set_result(None)
    await asyncio.wait_for(end(task), 5)
    assert task.cancelled()


async def test_the_error_of_a_task_that_ends_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """What goes wrong in a task while it is ended is in the log, and does not keep the others from ending."""
    other = asyncio.create_task(asyncio.sleep(60))

    async def breaks() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            raise OSError("the disk is gone")

    task = asyncio.create_task(breaks())
    await asyncio.sleep(0)
    with caplog.at_level(logging.ERROR):
        await end(task, other)
    assert other.cancelled()
    assert "the disk is gone" in caplog.text


async def test_tasks_that_have_ended_are_ignored() -> None:
    """Ending what has ended already, or nothing at all, is done at once."""
    task = asyncio.create_task(asyncio.sleep(0))
    await task
    await end(task)
    await end()
    assert task.result() is None
