"""The nightly backup: `visitstats backup` in a process of its own, so that no hit waits for it.

Each host makes its own, because each has its own journal. The first of its workers that gets a lock in the data folder
makes the backup, and notes it there. A backup that was missed, or that failed, is made as soon as the service runs
again.
"""

import asyncio
import fcntl
import os
import sys
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

from visitstats.backup.manifest import BackupFailed
from visitstats.backup.state import read_state
from visitstats.settings import Settings
from visitstats.system.files import CREATE

PROGRAM = ("-c", "from visitstats.cli import main; main()", "backup")


def last_due(now: datetime, hour: int) -> datetime:
    """Return the last moment at which this hour of the day began, in the zone of `now`."""
    at = now.replace(hour=hour, minute=0, second=0, microsecond=0)
    return at if at <= now else at - timedelta(days=1)


class Nightly:
    """Makes the backups of one host, if its settings say where. `clock` gives the moment in milliseconds."""

    def __init__(
        self, settings: Settings, clock: Callable[[], int], make: Callable[[Settings], Awaitable[str]] | None = None
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._make = make or make_apart

    async def run(self, date: str) -> str:
        """Make a backup if one is due, whatever the date. Raises BackupFailed and OSError."""
        if self._settings.backup_dir is None:
            return "backup_dir is not set: no backup is made"
        due = last_due(datetime.fromtimestamp(self._clock() / 1000).astimezone(), self._settings.backup_hour)
        if read_state(self._settings.data_dir).made_ms >= due.timestamp() * 1000:
            return "the last one is of this night"
        lock = os.open(self._settings.data_dir / "backup.lock", os.O_RDWR | CREATE, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return await self._make(self._settings)
        except BlockingIOError:
            return "another worker makes it"
        finally:
            os.close(lock)


async def make_apart(settings: Settings) -> str:
    """Run the command in a process of its own, and return what it says. Raises BackupFailed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, *PROGRAM, env={**os.environ, **settings.to_environ()}, stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        said, complaint = await process.communicate()
    finally:
        if process.returncode is None:  # the worker stops; the next backup removes what this one leaves
            process.terminate()
            await process.wait()
    if process.returncode:
        raise BackupFailed(complaint.decode("utf-8", "replace").strip().removeprefix("visitstats: "))
    return said.decode("utf-8", "replace").strip()
