"""Closed periods: months whose numbers are frozen, so that a number that was reported and paid for never changes.

Months are closed in their order, and only the last one can be opened again. Counts that come for a closed month later
(a hit of another host, the undo of a merge) are in its live numbers and not in the frozen ones; the next month that is
closed takes them over (`ClosedRow.late`), so that nothing is lost and nothing is in two periods.
"""

from collections.abc import Awaitable, Callable

import msgspec

from visitstats.changes.recording import ChangeRefused, Order, PeriodClosed, Recording, refusal
from visitstats.core.closing import Closing, Frozen, encode_closing, month_named
from visitstats.core.errors import InvalidQuery
from visitstats.core.periods import Calendar
from visitstats.store.change_records import ClosingState, Logged, closing, freezing
from visitstats.store.closings import Closings
from visitstats.store.commit import Changed

Freeze = Callable[[str], Awaitable[Frozen]]
"""Reads the numbers of a month that are to be frozen (`reading.closings`)."""


class Periods:
    """Closes and opens the months of one site. Every method may raise StoreUnavailable, ChangeRefused, Pending,
    JournalFull and Overloaded."""

    def __init__(self, recording: Recording, closings: Closings, calendar: Calendar) -> None:
        self._recording = recording
        self._site = recording.site
        self._closings = closings
        self._calendar = calendar

    async def check(self, month: str) -> str:
        """Return the month if it can be closed now."""
        try:
            month = month_named(month, self._calendar.day_at(self._recording.clock()))
        except InvalidQuery as error:
            raise ChangeRefused(str(error)) from error
        closed = await self._closings.months(self._site)
        if month in closed:
            raise PeriodClosed(f"{month} is closed already")
        if closed and month < closed[-1]:
            raise PeriodClosed(f"{closed[-1]} is closed: months are closed in their order; open it first")
        return month

    async def close(self, month: str, order: Order, freeze: Freeze) -> Logged:
        """Close a month that is over."""
        if before := await self._recording.made_before(order, "close"):
            return before
        month = await self.check(month)
        own_id, change = self._recording.begin("close", order)
        frozen = await freeze(month)
        head = frozen.head
        state = encode_closing(
            Closing(
                own_id, month, change.at_ms, change.who, frozen.sha256, frozen.size, len(frozen.pieces), head.articles,
                head.visits, head.views, head.late_of, head.late_visits, head.late_views, head.days, head.due,
            )
        )  # fmt: skip
        change = msgspec.structs.replace(change, place=month, note=frozen.sha256)
        for number, piece in enumerate(frozen.pieces):
            made = await self._recording.apply(freezing(self._site, own_id, month, number, piece))
            if made is not None and made.word == "refused":
                raise refusal(made, f"{month} cannot be closed ({made.reason})")
        record = closing(self._site, own_id, change, ClosingState(state, own_id, len(frozen.pieces), ""))
        return self._made(month, await self._recording.make(Logged(own_id, change), record))

    async def reopen(self, month: str, order: Order) -> Logged:
        """Open a closed month again: what was frozen is kept, and the change can be undone."""
        if before := await self._recording.made_before(order, "reopen"):
            return before
        own_id, change = self._recording.begin("reopen", order, needs_reason=True)
        await self._check_open(month)
        found = await self._closings.find(self._site, month)
        change = msgspec.structs.replace(change, place=month, note=found.id if found else "")
        record = closing(self._site, own_id, change, ClosingState(b"", "", 0, found.id if found else ""))
        return self._made(month, await self._recording.make(Logged(own_id, change), record))

    async def check_undo(self, made: Logged) -> None:
        """Raise ChangeRefused when a closing or opening cannot be undone now."""
        month = made.change.place
        if made.change.kind == "close":
            await self._check_open(month)
            found = await self._closings.find(self._site, month)
            if found is None or found.id != made.id:
                raise ChangeRefused(f"{month} was closed otherwise since (change {found.id if found else '?'})")
        else:
            await self.check(month)

    async def undo(self, made: Logged, order: Order) -> Logged:
        """Take a closing or an opening back: the month is open, or closed as it was."""
        own_id, change = self._recording.begin("undo", order)
        await self.check_undo(made)
        month = made.change.place
        change = msgspec.structs.replace(change, place=month, undoes=made.id, note=made.change.note)
        if made.change.kind == "close":
            state = ClosingState(b"", "", 0, made.id)
        else:
            found = await self._closings.frozen_by(self._site, month, made.change.note)
            if found is None:
                raise ChangeRefused(f"what was frozen of {month} is not there any more")
            state = ClosingState(encode_closing(found), found.id, found.pieces, "")
        record = closing(self._site, own_id, change, state)
        return self._made(month, await self._recording.make(Logged(own_id, change), record))

    async def _check_open(self, month: str) -> None:
        closed = await self._closings.months(self._site)
        if month not in closed:
            raise ChangeRefused(f"{month[:20]} is not closed")
        if month != closed[-1]:
            raise PeriodClosed(f"{closed[-1]} is closed, too: open it first")

    def _made(self, month: str, made: Logged | Changed) -> Logged:
        if isinstance(made, Logged):
            return made
        if made.reason == "moved":
            raise ChangeRefused(f"somebody else has closed or opened {month} just now")
        if made.reason == "lacking":
            raise ChangeRefused(f"{month} was not closed: the store has lost a part of it; try again")
        if made.reason == "undone":
            raise ChangeRefused("the change is undone already")
        raise refusal(made, f"{month} cannot be closed or opened ({made.reason})")
