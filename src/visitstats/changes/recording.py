"""The common part of all changes that people make: who, when and why; how a change is made once; and its errors."""

from collections.abc import Callable

import msgspec

from visitstats.changes.scribe import Recorder
from visitstats.core.batch import OTHER_KEY, ChangeRecord
from visitstats.core.errors import (
    ChangePending,
    HitRejected,
    NoSuchArticle,
    StoreUnavailable,
    VisitstatsError,
)
from visitstats.core.keys import KeyRules
from visitstats.core.text import visible
from visitstats.store.change_records import MOST_CHANGES, Change, Kind, Logged, decode_change, new_id
from visitstats.store.changes import ID, Changes
from visitstats.store.commit import Changed

LONGEST_NAME = 80
LONGEST_REASON = 500
_LETTERS = frozenset("0123456789abcdef")


class ChangeRefused(VisitstatsError):
    """A change that cannot be made. Nothing was changed."""


class BelowZero(ChangeRefused):
    """A correction that would bring a count below zero."""


class UndoFirst(ChangeRefused):
    """An undo that has to wait for another one; the text names the change."""


class PeriodClosed(ChangeRefused):
    """A change that cannot be made while a month is closed."""


class NothingChanges(ChangeRefused):
    """A change that would have no effect."""


class Pending(ChangePending):
    """A change that is journalled, and not in the store yet: `logged` without the numbers from before."""

    def __init__(self, logged: Logged) -> None:
        super().__init__(
            f"change {logged.id} is written down, and is made when the store takes it; look at visitstats audit then"
        )
        self.logged = logged


class Order(msgspec.Struct, frozen=True):
    """Who orders a change, and why. `id` is the id of the change when the sender of the order has drawn one, so that an
    order that is sent twice is carried out once."""

    who: str
    why: str = ""
    id: str = ""


class Recording:
    """Makes the changes of one site. `clock` gives the moment in milliseconds. Every method may raise
    StoreUnavailable."""

    def __init__(
        self, changes: Changes, recorder: Recorder | None, site: str, rules: KeyRules, clock: Callable[[], int]
    ) -> None:
        """`rules` turn addresses into keys; the aliases are read from the store, not taken from there. Without a
        recorder nothing can be changed."""
        self.changes = changes
        self.site = site
        self.clock = clock
        self._recorder = recorder
        self._rules = rules

    def begin(self, kind: Kind, order: Order, *, needs_reason: bool = False) -> tuple[str, Change]:
        """Return the id and the head of a change that is ordered. Raises ChangeRefused."""
        who, why = visible(order.who), visible(order.why)
        if not who or len(who) > LONGEST_NAME:
            raise ChangeRefused(f"say who makes the change, in 1 to {LONGEST_NAME} characters")
        if len(why) > LONGEST_REASON:
            raise ChangeRefused(f"the reason is longer than {LONGEST_REASON} characters")
        if needs_reason and not why:
            raise ChangeRefused("give a reason: the log shows it to its later readers")
        if order.id and (len(order.id) != ID or not _LETTERS.issuperset(order.id)):
            raise ChangeRefused(f"the id of a change is {ID} hexadecimal digits, as 0a1b2c3d")
        return order.id or new_id(), Change(kind, self.clock(), who, why, "", "", "")

    async def made_before(self, order: Order, kind: Kind) -> Logged | None:
        """Return the change that the same order, sent before, has made. Raises ChangeRefused when its id is that of
        another change."""
        found = await self.changes.one(self.site, order.id) if order.id else None
        if found is not None and (found.change.kind != kind or found.change.who != visible(order.who)):
            raise ChangeRefused(f"change {order.id} is another change already; draw a new id")
        return found

    async def make(self, logged: Logged, record: ChangeRecord) -> Logged | Changed:
        """Make a change; returns a `Changed` when the ledger refuses it. Raises Pending, JournalFull and Overloaded."""
        made = await self.apply(record)
        if made is None:
            raise Pending(logged)
        if made.word == "refused":
            return made
        if made.word:
            return Logged(logged.id, decode_change(made.record))
        # `seen`: another process has applied our record already, in a replay after a loss.
        try:
            found = await self.changes.find(self.site, logged.id)
        except StoreUnavailable as error:
            raise Pending(logged) from error
        return Changed("refused", "again") if found is None else Logged(logged.id, found)

    async def apply(self, record: ChangeRecord) -> Changed | None:
        """Journal and apply a record that is not a whole change; None when it waits for the store."""
        if self._recorder is None:
            raise ChangeRefused("nothing can be changed without a journal")
        return await self._recorder.change(record)

    # Articles --------------------------------------------------------------------------------------------------------

    def key(self, named: str) -> str:
        """Return the key that a key or an address names, before aliases are followed. Raises ChangeRefused."""
        try:
            key = self._rules.named(named)
        except HitRejected as refused:
            raise ChangeRefused(f"{named[:80]}: {refused.detail}") from refused
        if not key:
            raise ChangeRefused(
                f"{named[:80]!r} is no key: nothing can be seen in it, or it is a template that was not filled"
            )
        return key

    async def article(self, named: str) -> str:
        """Return the key of the article that a key or an address names, with aliases followed. Raises ChangeRefused,
        and NoSuchArticle for a key under which nothing was ever counted."""
        key = self.key(named)
        end = (await self.changes.path(self.site, key))[-1]
        if end == OTHER_KEY:
            raise ChangeRefused(f"{OTHER_KEY} is no article: it has what was counted beyond the site's limits")
        [views] = await self.changes.views(self.site, [end])
        if views is None:
            raise NoSuchArticle(f"nothing was ever counted for {end}")
        return end


def refusal(made: Changed, otherwise: str) -> ChangeRefused:
    """Say why the ledger refuses a change; `otherwise` is for reasons that are not common to all kinds."""
    return ChangeRefused(
        {
            "id": "the id that was drawn for this change is taken; try again",
            "full": f"a site has at most {MOST_CHANGES} changes on record; bring many numbers as one import",
            "again": "it has changed just now; try again",
        }.get(made.reason, otherwise)
    )
