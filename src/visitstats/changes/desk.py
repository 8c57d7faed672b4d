"""All changes of one site in one place: the undo of every kind of change, and the log of changes."""

from collections.abc import Callable
from typing import NamedTuple

import msgspec

from visitstats.changes.corrections import Corrections, DayViews
from visitstats.changes.facts import Naming
from visitstats.changes.imports import Importing
from visitstats.changes.merges import Merges
from visitstats.changes.periods import Periods
from visitstats.changes.prunes import give_again
from visitstats.changes.recording import ChangeRefused, Order, Recording
from visitstats.changes.scribe import Recorder
from visitstats.changes.settings import SettingsLog
from visitstats.core.errors import InvalidQuery, NotFound
from visitstats.core.keys import KeyRules
from visitstats.core.periods import Calendar
from visitstats.core.sites import Site
from visitstats.core.text import visible
from visitstats.store.change_records import Change, Logged
from visitstats.store.changes import Changes
from visitstats.store.closings import Closings
from visitstats.store.import_records import Imports

AT_ONCE = 200
"""How many changes are read at once."""
LOOKED_THROUGH = 5000
"""How many changes are searched for a page of the log; the cursor of the page goes on from there."""
PLACES = ("prune",)
AMOUNTS, FACTS, PERIODS, MERGES = (
    ("adjust", "reset"), ("rename", "hide", "unhide", "type", "accept"), ("close", "reopen"), ("merge", "alias"),
)  # fmt: skip
IMPORTS = ("import", "baseline")
SETTINGS = "settings"
KINDS = (*MERGES, *AMOUNTS, *FACTS, *PERIODS, *PLACES, *IMPORTS, SETTINGS, "undo")


class Wanted(msgspec.Struct, frozen=True):
    """Which changes are asked for; an empty field means any. `cursor` is that of the page before."""

    kind: str = ""
    who: str = ""
    article: str = ""
    limit: int = 100
    cursor: str = ""


class Page(NamedTuple):
    """A part of the log, the newest first."""

    changes: list[Logged]
    cursor: str
    """The cursor of the next page; empty at the end."""
    damaged: int
    """Records that cannot be read, and were left out."""


class ChangeDesk:
    """The changes of one site. Every method may raise StoreUnavailable."""

    def __init__(
        self, changes: Changes, imports: Imports, closings: Closings, recorder: Recorder | None, site: Site,
        rules: KeyRules, calendar: Calendar, day_views: DayViews, clock: Callable[[], int],
    ) -> None:  # fmt: skip
        recording = Recording(changes, recorder, site.id, rules, clock)
        self._changes = changes
        self._site = site
        self._rules = rules
        self._recording = recording
        self.merges = Merges(recording)
        self.corrections = Corrections(recording, closings, calendar, day_views)
        self.naming = Naming(recording, site)
        self.periods = Periods(recording, closings, calendar)
        self.imports = Importing(recording, imports, closings)
        self.settings = SettingsLog(recording)

    # Undo ------------------------------------------------------------------------------------------------------------

    async def look_at_undo(self, change_id: str) -> Change:
        """Return what the undo of a change would do, with the amounts and facts before and after it. Raises NotFound,
        and ChangeRefused when the change cannot be undone now."""
        made = await self._to_undo(change_id)
        undo = msgspec.structs.replace(made.change, kind="undo", undoes=made.id)
        if made.change.kind in AMOUNTS:
            return await self.corrections.look_at_undo(made)
        if made.change.kind in FACTS:
            return msgspec.structs.replace(undo, facts=await self.naming.look_at_undo(made))
        if made.change.kind in IMPORTS:
            if not made.undone:
                await self.imports.check_undo(made)
            return msgspec.structs.replace(
                undo, said=tuple(msgspec.structs.replace(each, by=-each.by) for each in made.change.said)
            )
        if made.change.kind in PERIODS:
            await self.periods.check_undo(made)
        elif made.change.kind not in PLACES:
            await self.merges.check_undo(made)
        return undo

    async def undo(self, change_id: str, order: Order) -> Logged:
        """Undo a change by its id. Raises NotFound, ChangeRefused when something else has to be undone first, Pending,
        JournalFull and Overloaded."""
        if (before := await self._recording.made_before(order, "undo")) and before.change.undoes == change_id:
            return before
        made = await self._to_undo(change_id)
        if made.undone and made.change.kind in IMPORTS:
            await self.imports.finish(made.id)
            return await self.find(made.undone)
        if made.change.kind in AMOUNTS:
            return await self.corrections.undo(made, order)
        if made.change.kind in FACTS:
            return await self.naming.undo(made, order)
        if made.change.kind in IMPORTS:
            return await self.imports.undo(made, order)
        if made.change.kind in PERIODS:
            return await self.periods.undo(made, order)
        if made.change.kind in PLACES:
            return await give_again(self._recording, made, order)
        return await self.merges.undo(made, order)

    async def _to_undo(self, change_id: str) -> Logged:
        made = await self._changes.one(self._site.id, change_id)
        if made is None:
            raise NotFound(f"site {self._site.id} has no change {change_id[:40]!r}; visitstats audit lists them")
        if made.change.kind == "undo":
            raise ChangeRefused(f"change {made.id} is an undo; to take it back, make the change again")
        if made.change.kind == SETTINGS:
            raise ChangeRefused(f"change {made.id} is of the site's settings; to take it back, set them again")
        # Of pages that got their places back, and of an import, the undo itself may have been cut off.
        if made.undone and made.change.kind not in PLACES and not await self._is_cut_off(made):
            raise ChangeRefused(f"change {made.id} is undone already (by {made.undone})")
        return made

    async def _is_cut_off(self, made: Logged) -> bool:
        return made.change.kind in IMPORTS and made.id in await self.imports.unfinished()

    # The log ---------------------------------------------------------------------------------------------------------

    async def find(self, change_id: str) -> Logged:
        """Return a change by its id. Raises NotFound."""
        made = await self._changes.one(self._site.id, change_id)
        if made is None:
            raise NotFound(f"site {self._site.id} has no change {change_id[:40]!r}; visitstats audit lists them")
        return made

    async def log(self, wanted: Wanted) -> Page:
        """Return a part of the log. It reads LOOKED_THROUGH changes at most, so that a page may have fewer than are
        asked for, and goes on by its cursor. Raises InvalidQuery and ChangeRefused."""
        if wanted.kind and wanted.kind not in KINDS:
            raise InvalidQuery(f"kind {wanted.kind[:20]!r}: use one of {', '.join(KINDS)}")
        if wanted.cursor and not (wanted.cursor.isascii() and wanted.cursor.isdigit() and len(wanted.cursor) < 10):
            raise InvalidQuery("cursor: it is not one of this list's; leave it out to begin")
        if wanted.article:
            key = self._recording.key(wanted.article)
            ids = (await self._changes.of_article(self._site.id, key))[::-1]
        else:
            ids = None
        places = await self._changes.places(self._site.id) if ids is None else len(ids)
        if ids is None and not places:
            # The changes are older than the order of changes, which the next change makes.
            ids = [each.id for each in await self._changes.all(self._site.id)][::-1]
            places = len(ids)
        end = min(int(wanted.cursor), places) if wanted.cursor else places
        least = max(end - LOOKED_THROUGH, 0)
        found: list[Logged] = []
        damaged, who = 0, visible(wanted.who).casefold()
        while end > least and len(found) < wanted.limit:
            first = max(end - AT_ONCE, least)
            piece = ids[first:end] if ids is not None else await self._changes.ordered(self._site.id, first, end)
            if len(piece) != end - first:
                raise InvalidQuery("the log is shorter by now; leave the cursor out to begin")
            for place, each in reversed([*enumerate(await self._changes.logged(self._site.id, piece), first)]):
                end = place
                if each is None:
                    damaged += 1
                elif _is_wanted(each, wanted.kind, who):
                    found.append(each)
                    if len(found) == wanted.limit:
                        break
        return Page(found, str(end) if end else "", damaged)


def _is_wanted(logged: Logged, kind: str, who: str) -> bool:
    return (not kind or logged.change.kind == kind) and (not who or who in logged.change.who.casefold())
