"""Unfinished imports, whose process has stopped, are completed by the service."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from visitstats.changes.imports import Importing
from visitstats.changes.recording import Recording
from visitstats.changes.scribe import Recorder
from visitstats.sites.directory import LiveSite
from visitstats.store.changes import Changes
from visitstats.store.closings import Closings
from visitstats.store.import_records import Imports


class Finisher:
    """Completes the unfinished imports of any site. `recorder` writes changes."""

    def __init__(
        self,
        changes: Changes,
        imports: Imports,
        closings: Closings,
        recorder: Callable[[], AbstractAsyncContextManager[Recorder]],
        clock: Callable[[], int],
    ) -> None:
        self._changes = changes
        self._imports = imports
        self._closings = closings
        self._recorder = recorder
        self._clock = clock

    async def finish(self, live: LiveSite) -> list[str]:
        """Complete unfinished imports; return their ids. Raises StoreUnavailable, JournalFull and Overloaded."""
        site = live.site.id
        if not await self._imports.many(site):
            return []
        looking = Recording(self._changes, None, site, live.key_rules, self._clock)
        if not (names := await Importing(looking, self._imports, self._closings).unfinished()):
            return []
        async with self._recorder() as recorder:
            recording = Recording(self._changes, recorder, site, live.key_rules, self._clock)
            importing = Importing(recording, self._imports, self._closings)
            return [name for name in names if await importing.finish(name)]
