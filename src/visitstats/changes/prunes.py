"""Gives places back: pages that only one network has read, a week ago or earlier, go to "(other)" with their views.

Made-up addresses are such pages; so is a page of an archive that one reader has opened. Therefore the service does this
by itself only where places run short; it is on the list of changes, and can be undone.
"""

import logging
from collections.abc import AsyncIterator, Callable

import msgspec

from visitstats.changes.recording import ChangeRefused, Order, Pending, Recording, refusal
from visitstats.changes.scribe import Recorder
from visitstats.core import limits
from visitstats.core.batch import OTHER_KEY, ChangeRecord
from visitstats.core.keys import KeyRules, article_id
from visitstats.core.periods import Calendar
from visitstats.core.sites import Site
from visitstats.store.change_records import Change, Logged, decode_change
from visitstats.store.changes import Changes
from visitstats.store.commit import Changed
from visitstats.store.prunes import Lone, Register, newest_day, pruning, restoring
from visitstats.system.patterns import linear_pattern

log = logging.getLogger(__name__)

SHOWN = 20
"""How many of the pages that would go are named."""
BY_ITSELF = Order("visitstats", "places run short")
"""The order of a change that the service makes by itself."""


class Looked(msgspec.Struct, frozen=True):
    """What a prune would do, or has done."""

    taken: int
    """How many places are taken before it."""
    places: int
    pages: int
    """How many pages give their places back."""
    views: int
    kept: int
    """How many pages that only one network has read keep their places, for example because one of their days is
    packed."""
    some: tuple[str, ...] = ()
    """Keys of the first of them."""
    change: str = ""
    told_apart: bool = True
    """Whether there are articles of which several networks have said the same."""

    @property
    def is_short(self) -> bool:
        """Whether places run short, so that the service gives places back by itself."""
        return self.taken * limits.SHORT_SHARE >= self.places


class Places:
    """The places of one site. `clock` gives the moment in milliseconds. Every method may raise StoreUnavailable."""

    def __init__(self, changes: Changes, recorder: Recorder | None, site: Site, clock: Callable[[], int]) -> None:
        """Without a recorder nothing can be changed."""
        self._recording = Recording(changes, recorder, site.id, KeyRules(site, linear_pattern), clock)
        self._prunes = changes.prunes
        self._changes = changes
        self._site = site
        self._calendar = Calendar(site.timezone, site.week_start)

    async def look(self) -> Looked:
        """Say what `prune` would do."""
        found, pages, views, some = Register(), 0, 0, list[str]()
        async for piece in await self._lone(found):
            pages, views = pages + len(piece), views + sum(page.views for page in piece)
            some += [page.key for page in piece[: SHOWN - len(some)]]
        taken = await self._prunes.taken(self._site.id)
        return Looked(
            taken, self._site.max_articles, pages, views, found.kept, tuple(some), told_apart=found.agreed > 0
        )

    async def give_back(self) -> Looked | None:
        """Let pages give their places back if places run short. None where they do not, and where all readers may look
        like one network: then a page that only one network has read means nothing. Raises what `prune` does."""
        if await self._prunes.taken(self._site.id) * limits.SHORT_SHARE < self._site.max_articles:
            return None
        looked = await self.look()
        return await self._prune(looked, BY_ITSELF) if looked.told_apart else None

    async def give_back_and_tell(self) -> str:
        """Do `give_back`, and say what was done in a few words; nothing when nothing was."""
        made = await self.give_back()
        if made is None or not made.change:
            return ""
        text = (
            f"{self._site.id}: {made.pages} pages that one network read have given their places back "
            f"({made.taken} of {made.places} were taken; change {made.change})"
        )
        log.warning("places run short: %s", text)
        return text

    async def prune(self, order: Order) -> Looked:
        """Let all pages give their places back that only one network has read, a week ago or earlier. Raises
        ChangeRefused when another change is made meanwhile, Pending, JournalFull and Overloaded."""
        return await self._prune(await self.look(), order)

    # Shared --------------------------------------------------------------------------------------------------------

    async def _lone(self, found: Register) -> AsyncIterator[list[Lone]]:
        site = self._site.id
        targets = frozenset(article_id(key) for key in (await self._changes.aliases(site)).values())
        return self._prunes.lone(site, self._calendar, self._recording.clock(), targets, found)

    async def _prune(self, looked: Looked, order: Order) -> Looked:
        own, change = self._recording.begin("prune", order)
        change = msgspec.structs.replace(change, target=OTHER_KEY)
        many = await self._changes.many(self._site.id)
        newest = newest_day(self._calendar, change.at_ms)
        async for piece in await self._lone(Register()):
            record = pruning(self._site.id, own, change.head, piece, many, newest, change.at_ms)
            change = await _made(self._recording, Logged(own, change), record)
        return msgspec.structs.replace(
            looked, pages=change.pages, views=change.moved, change=own if change.pages else ""
        )


async def give_again(recording: Recording, prune: Logged, order: Order) -> Logged:
    """Give the pages of a change their places again, which they keep from then on. Raises ChangeRefused when it is too
    late, Pending, StoreUnavailable, JournalFull and Overloaded."""
    own, undo = recording.begin("undo", order)
    own, pieces = prune.undone or own, 0  # an undo that was cut off goes on
    undo = msgspec.structs.replace(undo, target=prune.change.target, undoes=prune.id)
    async for piece in recording.changes.prunes.saved(recording.site, prune.id):
        record = restoring(recording.site, own, prune.id, undo.head, piece)
        undo, pieces = await _made(recording, Logged(own, undo), record), pieces + 1
    if not pieces:
        raise ChangeRefused(
            f"change {prune.id} is undone already (by {prune.undone})"
            if prune.undone
            else f"change {prune.id} is too old to be undone: its pages are kept for a week, and until their month is "
            "packed or closed"
        )
    return Logged(own, undo)


async def _made(recording: Recording, logged: Logged, record: ChangeRecord) -> Change:
    """Make a record of a change; return the change after it."""
    made = await recording.apply(record)
    if made is None:
        raise Pending(logged)
    if made.word == "refused":
        raise _refusal(made)
    if made.word:
        return decode_change(made.record)
    return await recording.changes.find(recording.site, logged.id) or logged.change


def _refusal(made: Changed) -> ChangeRefused:
    known = {
        "moved": "somebody has changed something at the same moment; try again",
        "fixed": "a month was packed or closed at the same moment; try again",
        "undone": "the change was undone at the same moment",
        "short": f"{OTHER_KEY} has less than is to be given back; visitstats verify says more",
    }
    return refusal(made, known.get(made.reason, f"this cannot be done ({made.reason})"))
