"""The tasks that one process does for all: the table of `visitstats tasks`, and a part of the table of each worker."""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from typing import Protocol

import msgspec

from visitstats.core.errors import VisitstatsError
from visitstats.core.sites import Site
from visitstats.settings import PREFIX, Settings
from visitstats.sites.directory import LiveSite
from visitstats.tasks.closing import Closing, Sites
from visitstats.tasks.schedule import Task

LATER_SECONDS = 300.0
"""How long after a start long work begins."""
VERIFY = "from visitstats.cli import main; main()"


class Contradictions(VisitstatsError):
    """Numbers do not agree; the text says how many, and so does `problems`, when that is known."""

    def __init__(self, text: str, problems: int | None = None) -> None:
        super().__init__(text)
        self.problems = problems


class Desk(Protocol):
    """Does long work for a site, outside the process that answers readers."""

    async def pack(self, site: Site) -> list[str]: ...

    async def refresh(self, site: Site) -> None: ...


class Finishing(Protocol):
    """Completes imports that were begun and not finished."""

    async def finish(self, live: LiveSite) -> list[str]:
        """Return the ids of those that were finished."""
        ...


def shared(
    closing: Closing,
    sites: Sites,
    desk: Desk,
    verify: Callable[[], Awaitable[str]],
    places: Callable[[Site], Awaitable[str]],
    imports: Finishing,
    removed: Callable[[], Awaitable[list[str]]],
) -> list[Task]:
    """Return the tasks that are also run by hand. `places` lets pages of a site give their places back, and returns how
    many did, or nothing; `removed` deletes what is kept of sites that were removed long ago, and returns their ids."""

    async def pack(date: str) -> str:
        told = [line for live in sites.all() for line in await desk.pack(live.site)]
        if wrong := [line for line in told if line.endswith("unequal")]:
            raise Contradictions(f"not packed: {', '.join(wrong)}; visitstats verify says more")
        return ", ".join(told) or "nothing is due"

    async def index(date: str) -> str:
        for live in sites.all():
            await desk.refresh(live.site)
        return ""

    async def give_back(date: str) -> str:
        told = [said for live in sites.all() if (said := await places(live.site))]
        return ", ".join(told) or "no site is short of places"

    async def finish(date: str) -> str:
        return ", ".join([name for live in sites.all() for name in await imports.finish(live)])

    async def forget(date: str) -> str:
        gone = await removed()
        return f"deleted {', '.join(gone)}" if gone else "nothing is due"

    async def check(date: str) -> str:
        return await verify()

    return [
        Task("close-hours", "keep the unique visitors of hours that are over", 900, closing.close_hours),
        Task("close-days", "keep the unique visitors of days that are over", 600, closing.close_days),
        # Before `pack`: what went to "(other)" cannot be taken out of a packed month.
        Task("places", "have pages that one network read give their places back, where places run short", 3600,
             give_back, first_seconds=LATER_SECONDS - 60),
        Task("pack", "pack the article views of months that are over", 3600, pack, first_seconds=LATER_SECONDS),
        Task("index", "bring the lists of articles up to date", 3600, index, first_seconds=LATER_SECONDS),
        Task("removed-sites", "delete what is kept of sites that were removed 30 days ago", 3600, forget,
             first_seconds=LATER_SECONDS),
        Task("imports", "go on with imports that were cut off", 60, finish),
        Task("verify", "look whether all numbers agree", 86_400, check, first_seconds=LATER_SECONDS),
    ]  # fmt: skip


async def verify_apart(settings: Settings, url: str) -> str:
    """Run `visitstats verify` in a process of its own, which leaves the processor to others. Raises Contradictions."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", f"import os; os.nice(10); {VERIFY}", "verify", "--json",
        env={**os.environ, **settings.to_environ(), f"{PREFIX}REDIS_URL": url},
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        out, err = await process.communicate()
    except BaseException:
        if process.returncode is None:
            process.kill()
            await process.wait()
        raise
    if process.returncode and not out:
        raise Contradictions(f"visitstats verify did not end well: {err.decode('utf-8', 'replace').strip()[-300:]}")
    problems = len(msgspec.json.decode(out)["problems"])
    if problems:
        raise Contradictions(f"{problems} numbers do not agree; visitstats verify lists them", problems)
    return "all numbers agree"
