"""Merges: two addresses that turned out to be one article (rule 7 of keys), and how to part them again.

From a merge on, the old key stands for the other one: hits on its address are counted for the other, questions for its
views are answered with the other's, and its own numbers are kept in the record of the change. An undo gives it back
exactly what it had at the merge; what was counted since stays with the other. A site's totals never change.
"""

from collections.abc import Callable

import msgspec

from visitstats.changes.scribe import Recorder
from visitstats.core.batch import OTHER_KEY, ChangeRecord
from visitstats.core.errors import ChangePending, HitRejected, NotFound, StoreUnavailable, VisitstatsError
from visitstats.core.keys import KeyRules, article_id
from visitstats.core.text import visible
from visitstats.store.changes import (
    MOST_ALIASES,
    Change,
    Changes,
    Kind,
    Logged,
    decode_change,
    merging,
    new_id,
    undoing,
)
from visitstats.store.commit import Changed

LONGEST_NAME = 80
LONGEST_REASON = 500


class MergeRefused(VisitstatsError):
    """A merge or an undo that cannot be made. Nothing was changed."""


class MergePending(ChangePending):
    """A merge or an undo that is journalled, and not in the store yet: `logged` without the numbers from before."""

    def __init__(self, logged: Logged) -> None:
        super().__init__(
            f"change {logged.id} is written down, and is made when the store takes it; look at visitstats audit then"
        )
        self.logged = logged


class NoSuchArticle(NotFound):
    """A key under which nothing was ever counted."""


class Sides(msgspec.Struct, frozen=True):
    """What a merge is about to do."""

    source: str
    target: str
    """The article to which the aliases of the given name lead."""
    source_views: int | None
    """None for an article that the site does not have."""
    target_views: int | None


class Merges:
    """Merges, aliases and undos of one site. `clock` gives the moment in milliseconds. Every method may raise
    StoreUnavailable."""

    def __init__(
        self, changes: Changes, recorder: Recorder | None, site: str, rules: KeyRules, clock: Callable[[], int]
    ) -> None:
        """`rules` turn addresses into keys; the aliases are read from the store, not taken from there. Without a
        recorder nothing can be changed."""
        self._changes = changes
        self._recorder = recorder
        self._site = site
        self._rules = rules
        self._clock = clock

    async def sides(self, source: str, target: str) -> Sides:
        """Look at two articles, named by key or address, before they are merged. Raises MergeRefused, and NoSuchArticle
        for a target under which nothing was ever counted."""
        source, target = self._key(source), self._key(target)
        if source == target:
            raise MergeRefused(f"{source} cannot be merged with itself")
        aliases = await self._changes.aliases(self._site)
        end = aliases.get(article_id(target), target)
        if source == end:
            raise MergeRefused(f"{target} is an alias of {source} already: the two would stand for each other")
        if OTHER_KEY in (source, end):
            raise MergeRefused(f"{OTHER_KEY} is no article: it has what was counted beyond the site's limits")
        if article_id(source) in aliases:
            for each in await self._changes.all(self._site):
                if _stands(each, source):
                    raise MergeRefused(
                        f"{source} is an alias of {aliases[article_id(source)]} already "
                        f"(change {each.id}); visitstats undo {self._site} {each.id} takes it back"
                    )
        source_views, target_views = await self._changes.views(self._site, [source, end])
        if target_views is None:
            raise NoSuchArticle(f"{_NOTHING} {end}, and so there is nothing to merge into; open its page once")
        if len(aliases) >= MOST_ALIASES:
            raise _too_many()
        return Sides(source, end, source_views, target_views)

    async def merge(self, source: str, target: str, who: str, why: str = "", kind: Kind = "merge") -> Logged:
        """Merge the article `source` into `target`, each named by its key or an address; as `alias`, for a key under
        which nothing was counted yet. Raises NoSuchArticle, MergeRefused for what cannot be merged, MergePending,
        JournalFull and Overloaded."""
        change = self._change(kind, who, why)
        sides = await self.sides(source, target)
        if kind == "merge" and sides.source_views is None:
            raise NoSuchArticle(
                f"{_NOTHING} {sides.source}, and so there is nothing to merge; visitstats alias is for a new key"
            )
        if kind == "alias" and sides.source_views:
            raise MergeRefused(f"{sides.source} has {sides.source_views} views of its own: merge it")
        change = msgspec.structs.replace(change, source=sides.source, target=sides.target)
        change_id = new_id()
        made = await self._record(Logged(change_id, change), merging(self._site, change_id, change))
        if isinstance(made, Changed):
            raise _refusal(made, sides)
        return made

    async def undo(self, change_id: str, who: str, why: str = "") -> Logged:
        """Undo a merge or an alias by its id. Raises NotFound, MergeRefused when something else has to be undone first,
        MergePending, JournalFull and Overloaded."""
        change = self._change("undo", who, why)
        everything = await self._changes.all(self._site)
        merge = next((each for each in everything if each.id == change_id), None)
        if merge is None:
            raise NotFound(f"site {self._site} has no change {change_id[:40]!r}; visitstats audit lists them")
        if merge.change.kind == "undo":
            raise MergeRefused(f"change {merge.id} is an undo; to take it back, merge again")
        if merge.undone:
            raise self._no_undo("undone", merge, everything)
        if any(_stands(each, merge.change.target) for each in everything):
            raise self._no_undo("later", merge, everything)
        change = msgspec.structs.replace(
            change, source=merge.change.source, target=merge.change.target, undoes=merge.id
        )
        own_id = new_id()
        made = await self._record(Logged(own_id, change), undoing(self._site, own_id, change))
        if isinstance(made, Changed):
            raise self._no_undo(made.reason, merge, everything, made.detail)
        return made

    async def audit(self, limit: int) -> list[Logged]:
        """Return the site's changes, the newest first."""
        return (await self._changes.all(self._site))[:limit]

    async def _record(self, logged: Logged, record: ChangeRecord) -> Logged | Changed:
        """Have a change made; returns what the ledger refuses."""
        if self._recorder is None:
            raise MergeRefused("nothing can be changed without a journal")
        made = await self._recorder.change(record)
        if made is None:
            raise MergePending(logged)
        if made.word == "refused":
            return made
        if made.word:
            return Logged(logged.id, decode_change(made.record))
        # Another process has applied our record already (it replayed the journal after a loss).
        try:
            found = await self._changes.find(self._site, logged.id)
        except StoreUnavailable as error:
            raise MergePending(logged) from error
        return Changed("refused", "again") if found is None else Logged(logged.id, found)

    # Shared --------------------------------------------------------------------------------------------------------

    def _change(self, kind: Kind, who: str, why: str) -> Change:
        who, why = visible(who), visible(why)
        if not who or len(who) > LONGEST_NAME:
            raise MergeRefused(f"say who makes the change, in 1 to {LONGEST_NAME} characters")
        if len(why) > LONGEST_REASON:
            raise MergeRefused(f"the reason is longer than {LONGEST_REASON} characters")
        return Change(kind, self._clock(), who, why, "", "", "")

    def _key(self, named: str) -> str:
        """Return the key that is meant, before its aliases."""
        try:
            key = self._rules.named(named)
        except HitRejected as refused:
            raise MergeRefused(f"{named[:80]}: {refused.detail}") from refused
        if not key:
            raise MergeRefused(
                f"{named[:80]!r} is no key: nothing can be seen in it, or it is a template that was not filled"
            )
        return key

    def _no_undo(self, reason: str, merge: Logged, everything: list[Logged], detail: str = "") -> MergeRefused:
        later = next((each.id for each in everything if _stands(each, merge.change.target)), "")
        return MergeRefused(
            {
                "undone": f"change {merge.id} is undone already" + (f" (by {merge.undone})" if merge.undone else ""),
                "later": f"{merge.change.target} was merged itself since; undo change {later} first",
                "moved": f"{merge.change.source} is no alias of {merge.change.target} any more",
                "again": "it has changed just now; try again",
                "id": "the id that was drawn for this change is taken; try again",
                "short": f"{merge.change.target} has less in {detail} than is to be given back; "
                "visitstats verify says more",
            }.get(reason, f"change {merge.id} cannot be undone ({reason})")
        )


def _stands(logged: Logged, key: str) -> bool:
    """Whether a key stands for another by this change."""
    return logged.change.source == key and logged.change.kind != "undo" and not logged.undone


def _refusal(made: Changed, sides: Sides) -> MergeRefused:
    if made.reason == "too-many":
        return _too_many()
    return MergeRefused(
        {
            "id": "the id that was drawn for this change is taken; try again",
            "again": f"what {sides.source} and {sides.target} stand for has changed just now; try again",
            "alias": f"somebody else has just merged {sides.source} or {sides.target}; look at visitstats audit",
        }.get(made.reason, f"{sides.source} cannot be merged ({made.reason})")
    )


def _too_many() -> MergeRefused:
    return MergeRefused(f"a site has at most {MOST_ALIASES} aliases; a rewrite rule may do for many addresses")


_NOTHING = "nothing was ever counted for"
