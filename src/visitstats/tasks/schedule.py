"""Scheduled tasks: a table of periodic work, which APScheduler runs, or a person (`visitstats tasks`).

No task decides a count. Each recomputes something and sets it, so that it may run twice, late, on several hosts at
once, or be killed halfway. Each begins with the work that earlier runs have missed, however long the service was
stopped.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import NamedTuple

from apscheduler.executors.debug import DebugExecutor
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.interval import IntervalTrigger

from visitstats.core.errors import NotFound, StoreUnavailable, VisitstatsError
from visitstats.metrics import Metrics
from visitstats.store.runs import Run, Runs
from visitstats.store.upkeep import Upkeep
from visitstats.system.ending import end

log = logging.getLogger(__name__)

FOLLOW_SECONDS = 5.0
"""How often the scheduler checks whether the clock was set back."""
LONGEST = 500
"""How many characters are kept of a run's report."""


class Task(NamedTuple):
    """A row of the table."""

    name: str
    what: str
    seconds: int
    """How often it runs."""
    run: Callable[[str], Awaitable[str]]
    """Does the work, for a date ("" for what is due), and returns in a line what was done. Raises VisitstatsError and
    OSError."""
    everywhere: bool = False
    """Whether each process has to run it. Any other task is run by one process for all."""
    first_seconds: float = 2.0
    """How long after a start it runs for the first time: short, so that work which a stop has left is done soon."""


class Tasks:
    """Runs tasks, one run of each at a time, and keeps how the runs went. `clock` gives the moment in milliseconds."""

    def __init__(
        self,
        table: list[Task],
        upkeep: Upkeep,
        runs: Runs,
        host: str,
        clock: Callable[[], int],
        metrics: Metrics | None = None,
    ) -> None:
        self.table = table
        self._upkeep = upkeep
        self._runs = runs
        self._host = host
        self._clock = clock
        self._metrics = metrics
        self._running: dict[str, asyncio.Task[None]] = {}
        self._scheduler: AsyncIOScheduler | None = None
        self._following: asyncio.Task[None] | None = None
        if metrics is not None:
            for task in table:
                metrics.know_task(task.name)

    def start(self) -> None:
        """Run each task from now on. Needs a running event loop."""
        # Each job only starts a task on the event loop, and returns at once: when APScheduler stops, it cancels jobs
        # that it waits for, and logs the cancellation with a stack trace.
        self._scheduler = AsyncIOScheduler(timezone="UTC", executors={"default": DebugExecutor()})
        now = time.time()
        for task in self.table:
            first = datetime.fromtimestamp(now + task.first_seconds, UTC)
            # A late run must not be dropped: with APScheduler's default grace of a second, each stall of the loop would
            # drop one.
            self._scheduler.add_job(
                self._begin, IntervalTrigger(seconds=task.seconds, timezone="UTC"), [task], name=task.name,
                next_run_time=first, misfire_grace_time=None, coalesce=True,
            )  # fmt: skip
        self._scheduler.start()
        self._following = asyncio.create_task(self._follow_the_clock(self._scheduler))

    async def stop(self) -> None:
        """Stop the tasks that are running. The next run does what they have not finished."""
        if self._scheduler is not None:
            self._scheduler.shutdown(wait=False)
        await end(*filter(None, [self._following, *self._running.values()]))

    def find(self, name: str) -> Task:
        """Return a task by its name. Raises NotFound."""
        for task in self.table:
            if task.name == name:
                return task
        raise NotFound(f"there is no task {name[:40]!r}; there are {', '.join(task.name for task in self.table)}")

    async def run(self, name: str, date: str = "") -> str:
        """Run a task now, for a date or for what is due, and return what it says. Raises NotFound, and what the task
        raises."""
        return await self._run(self.find(name), date)

    def _begin(self, task: Task) -> None:
        if task.name not in self._running:
            running = self._running[task.name] = asyncio.create_task(self._scheduled(task))
            running.add_done_callback(lambda _: self._running.pop(task.name, None))

    async def _scheduled(self, task: Task) -> None:
        try:
            # The first process that comes runs the task; if it dies, another one runs it a little later.
            if task.everywhere or await self._upkeep.lease(task.name, max(1, task.seconds * 4 // 5)):
                await self._run(task, "")
        except StoreUnavailable as error:
            log.debug("the task %s waits for the store: %s", task.name, error)
        except (VisitstatsError, OSError) as error:
            log.warning("the task %s failed and is run again later: %s", task.name, error)
        except Exception:
            log.exception("the task %s failed by a bug", task.name)
            if self._metrics is not None:
                self._metrics.internal_errors.inc()

    async def _run(self, task: Task, date: str) -> str:
        at_ms, began = self._clock(), time.perf_counter()
        try:
            said = await task.run(date)
        except Exception as error:
            problems = getattr(error, "problems", None)
            await self._note(
                task,
                Run(
                    at_ms, time.perf_counter() - began, False, str(error)[:LONGEST], self._host,
                    problems=problems,
                ),
            )  # fmt: skip
            raise
        await self._note(task, Run(at_ms, time.perf_counter() - began, True, said[:LONGEST], self._host))
        return said

    async def _note(self, task: Task, run: Run) -> None:
        if self._metrics is not None:
            self._metrics.task_ran(task.name, run.right, run.seconds)
        if not task.everywhere:
            try:
                await self._runs.note(task.name, run)
            except StoreUnavailable as error:
                log.debug("how the task %s went cannot be kept: %s", task.name, error)

    async def _follow_the_clock(self, scheduler: AsyncIOScheduler) -> None:
        """Go on when the clock is set back: APScheduler would wait until it has caught up."""
        while True:
            await asyncio.sleep(FOLLOW_SECONDS)
            now = datetime.now(scheduler.timezone)  # the scheduler's own clock
            for job in scheduler.get_jobs():
                if job.next_run_time - now > job.trigger.interval:
                    job.modify(next_run_time=now)
