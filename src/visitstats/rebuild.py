"""A rebuild, as one worker sees it: put back what was decided, wait until the others have, go on (`store.rebuilds`)."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

from visitstats.store.rebuilds import Rebuilds

log = logging.getLogger(__name__)

WAIT_SECONDS = 5.0
"""Longer than any writer of this machine needs to notice and to put back a few seconds; who has not come by then is
hung, and readers must not wait for it."""
LOOK_SECONDS = 0.05
REMEMBERED = 8


class Rebuild:
    """Joins the rebuilds that the store asks for. `others` puts back what the slots without a process had decided, and
    notes them; `root` is the folder of the journals."""

    def __init__(self, rebuilds: Rebuilds, root: Path, writer: str, others: Callable[[str], Awaitable[None]]) -> None:
        self._rebuilds = rebuilds
        self._root = root
        self._writer = writer
        self._others = others
        self._joined: list[str] = []

    async def asked(self) -> str:
        """Return the id of a rebuild that has not been joined yet, empty for none. Raises StoreUnavailable."""
        current = await self._rebuilds.current()
        return "" if current in self._joined else current

    async def announce(self) -> None:
        """Say that the store was found to have lost data. Raises StoreUnavailable."""
        await self._rebuilds.announce()

    async def join(self, rebuild: str) -> None:
        """Note that this worker is done and wait for the others, for WAIT_SECONDS at most. Raises StoreUnavailable."""
        await self._rebuilds.note(rebuild, self._writer)
        clock = asyncio.get_running_loop().time
        deadline, others_at = clock() + WAIT_SECONDS, 0.0
        while missing := self._writers() - await self._rebuilds.done(rebuild):
            if clock() > deadline:
                log.warning("going on without %d writers that have not put back what they had decided", len(missing))
                break
            if clock() >= others_at:
                # A slot may lose its process while we wait, but reading a full journal takes a second.
                await self._others(rebuild)
                others_at = clock() + 1
            await asyncio.sleep(LOOK_SECONDS)
        self._joined = [*self._joined[-REMEMBERED:], rebuild]

    def _writers(self) -> set[str]:
        """The writers of this machine that have decided anything yet."""
        found = set()
        for path in self._root.glob("[0-9][0-9]*/writer"):
            if any(path.parent.glob("*.out")):
                try:
                    found.add(path.read_text("ascii").strip())
                except (OSError, UnicodeDecodeError):
                    continue
        return found
