"""Scheduled tasks: one run of each at a time, by one process for all; how each went is known."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

import pytest
from redis.asyncio import Redis

from tests.waiting import eventually
from visitstats.core.errors import NotFound, StoreUnavailable, VisitstatsError
from visitstats.store.runs import Runs
from visitstats.store.upkeep import Upkeep
from visitstats.tasks.schedule import Task, Tasks

NOW = 2_111_115_600_000


def tasks(raw: Redis, run: Callable[[str], Awaitable[str]], host: str = "here", *, everywhere: bool = False) -> Tasks:
    task = Task("pack", "pack what is over", 60, run, everywhere, first_seconds=0)
    return Tasks([task], Upkeep(raw), Runs(raw), host, lambda: NOW)


async def test_a_run_by_hand_is_told_and_kept(raw: Redis) -> None:
    """For a date or for what is due; with when, how long, what it did, and where."""
    dates = []

    async def run(date: str) -> str:
        dates.append(date)
        return "2 months packed"

    made = tasks(raw, run)
    assert await made.run("pack") == await made.run("pack", "2026-10-01") == "2 months packed"
    assert dates == ["", "2026-10-01"]
    kept = (await Runs(raw).all())["pack"]
    assert (kept.at_ms, kept.right, kept.said, kept.host, kept.succeeded_ms) == (
        NOW,
        True,
        "2 months packed",
        "here",
        NOW,
    )
    with pytest.raises(NotFound, match="there is no task 'unpack'; there are pack"):
        await made.run("unpack")


async def test_a_run_that_failed_is_kept_with_the_last_one_that_went_right(raw: Redis) -> None:
    async def right(date: str) -> str:
        return "fine"

    async def wrong(date: str) -> str:
        raise VisitstatsError("2026-10 does not add up")

    await tasks(raw, right).run("pack")
    with pytest.raises(VisitstatsError):
        await tasks(raw, wrong, "there").run("pack")
    kept = (await Runs(raw).all())["pack"]
    assert (kept.right, kept.said, kept.host, kept.succeeded_ms) == (False, "2026-10 does not add up", "there", NOW)


async def test_several_processes_run_a_task_once_and_their_own_each(raw: Redis) -> None:
    """All begin at the same moment; one of them takes the lease of what is done for all."""
    ran: list[str] = []

    def by(name: str) -> Callable[[str], Awaitable[str]]:
        async def run(date: str) -> str:
            ran.append(name)
            return ""

        return run

    shared = [tasks(raw, by(f"shared {n}"), str(n)) for n in range(3)]
    own = [tasks(raw, by(f"own {n}"), str(n), everywhere=True) for n in range(3)]
    for each in (*shared, *own):
        each.start()
    await eventually(lambda: len(ran) == 4, "all have run")
    for each in (*shared, *own):
        await each.stop()
    assert sum(name.startswith("shared") for name in ran) == 1
    assert sorted(name for name in ran if name.startswith("own")) == ["own 0", "own 1", "own 2"]


@pytest.mark.parametrize("error", [StoreUnavailable("away"), VisitstatsError("no"), OSError("disk"), KeyError("a bug")])
async def test_a_task_that_fails_harms_nothing_and_one_that_is_stopped_says_nothing(
    raw: Redis, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    """No traceback at a clean stop, in the middle of whatever; a bug has one, once."""
    begun = asyncio.Event()

    async def run(date: str) -> str:
        if begun.is_set():
            raise error
        begun.set()
        await asyncio.Event().wait()
        return ""

    made = tasks(raw, run, everywhere=True)
    with caplog.at_level(logging.WARNING):
        made.start()
        await begun.wait()
        await made.stop()
        assert caplog.records == []
    again = tasks(raw, run, everywhere=True)
    again.start()
    await eventually(lambda: isinstance(error, StoreUnavailable) or bool(caplog.records), "it is told")
    await again.stop()
    assert len(caplog.records) == (0 if isinstance(error, StoreUnavailable) else 1)
