"""Merges: two addresses that turned out to be one article (rule 7 of keys), and how to separate them again.

From a merge on, the old key is an alias of the other one: hits on its address are counted for the other article, its
views are answered with the other's, and its own numbers are kept in the record of the change. An undo gives it back
exactly the numbers that it had at the merge; what was counted since stays with the other article. A site's totals never
change.
"""

import msgspec

from visitstats.changes.recording import ChangeRefused, Order, Recording, UndoFirst, refusal
from visitstats.core.batch import OTHER_KEY
from visitstats.core.errors import NoSuchArticle
from visitstats.store.change_records import MOST_ALIASES, Kind, Logged, merging, undoing
from visitstats.store.commit import Changed


class Sides(msgspec.Struct, frozen=True):
    """The two articles of a merge, before it is made."""

    source: str
    target: str
    """The article to which the aliases of the given name lead."""
    source_views: int | None
    """None for an article that the site does not have."""
    target_views: int | None


class Merges:
    """Merges, aliases and their undos on one site. Every method may raise StoreUnavailable."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._changes = recording.changes
        self._site = recording.site

    async def sides(self, source: str, target: str) -> Sides:
        """Look at two articles, named by key or address, before they are merged. Raises ChangeRefused, and
        NoSuchArticle for a target under which nothing was ever counted."""
        source, target = self._recording.key(source), self._recording.key(target)
        if source == target:
            raise ChangeRefused(f"{source} cannot be merged with itself")
        end = (await self._changes.path(self._site, target))[-1]
        if source == end:
            raise ChangeRefused(f"{target} is an alias of {source} already: the two would stand for each other")
        if OTHER_KEY in (source, end):
            raise ChangeRefused(f"{OTHER_KEY} is no article: it has what was counted beyond the site's limits")
        _, *stands_for = await self._changes.path(self._site, source)
        if stands_for:
            made = await self._by(source)
            known = f" (change {made.id}); visitstats undo {self._site} {made.id} takes it back" if made else ""
            raise ChangeRefused(f"{source} is an alias of {stands_for[-1]} already{known}")
        source_views, target_views = await self._changes.views(self._site, [source, end])
        if target_views is None:
            raise NoSuchArticle(f"{_NOTHING} {end}, and so there is nothing to merge into; open its page once")
        if await self._changes.alias_count(self._site) >= MOST_ALIASES:
            raise _too_many()
        return Sides(source, end, source_views, target_views)

    async def merge(self, source: str, target: str, order: Order, kind: Kind = "merge") -> Logged:
        """Merge the article `source` into `target`, each named by its key or an address; as `alias`, for a key under
        which nothing was counted yet. Raises NoSuchArticle, ChangeRefused for what cannot be merged, Pending,
        JournalFull and Overloaded."""
        change_id, change = self._recording.begin(kind, order)
        if before := await self._recording.made_before(order, kind):
            return before
        sides = await self.sides(source, target)
        if kind == "merge" and sides.source_views is None:
            raise NoSuchArticle(
                f"{_NOTHING} {sides.source}, and so there is nothing to merge; visitstats alias is for a new key"
            )
        if kind == "alias" and sides.source_views:
            raise ChangeRefused(f"{sides.source} has {sides.source_views} views of its own: merge it")
        change = msgspec.structs.replace(change, source=sides.source, target=sides.target)
        made = await self._recording.make(Logged(change_id, change), merging(self._site, change_id, change))
        if isinstance(made, Changed):
            raise _refusal(made, sides)
        return made

    async def check_undo(self, merge: Logged) -> None:
        """Raise ChangeRefused when something else has to be undone before a merge."""
        if len(await self._changes.path(self._site, merge.change.target)) > 1:
            raise await self._no_undo("later", merge)

    async def undo(self, merge: Logged, order: Order) -> Logged:
        """Undo a merge or an alias. Raises ChangeRefused when something else has to be undone first, Pending,
        JournalFull and Overloaded."""
        own_id, change = self._recording.begin("undo", order)
        await self.check_undo(merge)
        change = msgspec.structs.replace(
            change, source=merge.change.source, target=merge.change.target, undoes=merge.id
        )
        made = await self._recording.make(Logged(own_id, change), undoing(self._site, own_id, change))
        if isinstance(made, Changed):
            raise await self._no_undo(made.reason, merge, made.detail)
        return made

    async def _by(self, key: str) -> Logged | None:
        """Return the change that made a key an alias; None when it is not on record."""
        ids = await self._changes.of_article(self._site, key)
        for each in await self._changes.logged(self._site, ids):
            if each is not None and _stands(each, key):
                return each
        # The change is older than the lists of an article's changes, or is not among its last ones.
        return next((each for each in await self._changes.all(self._site) if _stands(each, key)), None)

    async def _no_undo(self, reason: str, merge: Logged, detail: str = "") -> ChangeRefused:
        later = await self._by(merge.change.target) if reason == "later" else None
        if reason == "undone":
            merge = await self._changes.one(self._site, merge.id) or merge
        known = {
            "undone": f"change {merge.id} is undone already" + (f" (by {merge.undone})" if merge.undone else ""),
            "later": f"{merge.change.target} was merged itself since; undo change {later.id if later else '?'} first",
            "moved": f"{merge.change.source} is no alias of {merge.change.target} any more",
            "short": f"{merge.change.target} has less in {detail} than is to be given back: undo what was taken from "
            f"it since (visitstats audit {self._site} --article {merge.change.target})",
        }
        if later is not None:
            return UndoFirst(known[reason])
        made = Changed("refused", reason)
        return refusal(made, known.get(reason, f"change {merge.id} cannot be undone ({reason})"))


def _stands(logged: Logged, key: str) -> bool:
    """Whether a key stands for another by this change."""
    return logged.change.source == key and logged.change.kind in ("merge", "alias") and not logged.undone


def _refusal(made: Changed, sides: Sides) -> ChangeRefused:
    if made.reason == "too-many":
        return _too_many()
    if made.reason == "again":
        return ChangeRefused(f"what {sides.source} and {sides.target} stand for has changed just now; try again")
    if made.reason == "alias":
        return ChangeRefused(
            f"somebody else has just merged {sides.source} or {sides.target}; look at visitstats audit"
        )
    return refusal(made, f"{sides.source} cannot be merged ({made.reason})")


def _too_many() -> ChangeRefused:
    return ChangeRefused(f"a site has at most {MOST_ALIASES} aliases; a rewrite rule may do for many addresses")


_NOTHING = "nothing was ever counted for"
