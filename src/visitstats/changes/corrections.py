"""Corrections: amounts that are added to counts or taken away: visits or views of a site, or views of an article, on a
day or without a date. A reset is a correction that brings a site's total to a given number.

Each amount belongs to its change, and the layer of corrections has sums of its own (`lua/amounts.lua`); so a correction
can be undone whatever came after it, unless a count would then be below zero. A closed period keeps its numbers: a
correction for one of its days is booked today, and its record names the day.
"""

from collections.abc import Awaitable, Callable
from datetime import date
from typing import Literal

import msgspec

from visitstats.changes.recording import (
    BelowZero,
    ChangeRefused,
    NothingChanges,
    Order,
    PeriodClosed,
    Recording,
    UndoFirst,
    refusal,
)
from visitstats.core.keys import article_id
from visitstats.core.periods import Calendar
from visitstats.store.change_records import Amount, Change, Logged, adding
from visitstats.store.closings import Closings
from visitstats.store.commit import Changed

UNDATED = "none"
"""The word in place of the date for an amount that belongs to no day."""
FIRST_DAY = "1990-01-01"
MOST = 10**12
"""The largest amount."""
LOOKED_THROUGH = 1000
"""How many of the last changes are searched for the one that has to be undone first."""
TRIES = 3

Of = Literal["visits", "views"]
DayViews = Callable[[str, list[bytes], str], Awaitable[int]]
"""Returns the views of some articles (ids) of a site together on a date."""


class Adjustment(msgspec.Struct, frozen=True):
    """An adjustment that somebody asks for. Either `by` or `to` is given."""

    of: Of = "visits"
    article: str = ""
    """Key or address; empty for the site."""
    by: int | None = None
    to: int | None = None
    """The count that the day, or all of time for UNDATED, is to have."""
    day: str = ""
    """Empty for today."""


class Corrections:
    """The corrections of one site. Every method may raise StoreUnavailable and ChangeRefused."""

    def __init__(self, recording: Recording, closings: Closings, calendar: Calendar, day_views: DayViews) -> None:
        self._recording = recording
        self._changes = recording.changes
        self._site = recording.site
        self._closings = closings
        self._calendar = calendar
        self._day_views = day_views

    # Orders ----------------------------------------------------------------------------------------------------------

    async def look(self, asked: Adjustment, order: Order) -> Change:
        """Work out an adjustment without making it: its amounts say what was there before. Raises NoSuchArticle."""
        return (await self._worked_out(asked, order))[1]

    async def adjust(self, asked: Adjustment, order: Order) -> Logged:
        """Make an adjustment. Raises NoSuchArticle, Pending, JournalFull and Overloaded."""
        return await self._make(order, "adjust", lambda: self._worked_out(asked, order))

    async def look_at_reset(self, of: Of, to: int, order: Order) -> Change:
        """Work out a reset without making it."""
        return (await self._reset(of, to, order))[1]

    async def reset(self, of: Of, to: int, order: Order) -> Logged:
        """Bring a site's total down to a number: history and articles stay. Raises Pending, JournalFull and
        Overloaded."""
        return await self._make(order, "reset", lambda: self._reset(of, to, order))

    # Undo ------------------------------------------------------------------------------------------------------------

    async def look_at_undo(self, made: Logged) -> Change:
        """Work out what the undo of a correction changes. Raises ChangeRefused when something else has to be undone
        first."""
        return (await self._undoing(made, Order("undo")))[1]

    async def undo(self, made: Logged, order: Order) -> Logged:
        """Take a correction back. Raises Pending, JournalFull and Overloaded."""
        return await self._make(order, "undo", lambda: self._undoing(made, order))

    # How -------------------------------------------------------------------------------------------------------------

    async def _make(
        self,
        order: Order,
        kind: Literal["adjust", "reset", "undo"],
        work: Callable[[], Awaitable[tuple[str, Change, int]]],
    ) -> Logged:
        if kind != "undo" and (before := await self._recording.made_before(order, kind)):
            return before
        made: Changed | None = None
        for _ in range(TRIES):
            change_id, change, seen = await work()
            found = await self._recording.make(Logged(change_id, change), adding(self._site, change_id, change, seen))
            if isinstance(found, Logged):
                return found
            made = found
            if made.reason not in ("short", "closed"):
                break
            # Another change was made meanwhile: look again, so that the error says what is wrong now.
        reason = made.reason if made else ""
        raise refusal(made or Changed("refused"), {"undone": "the change is undone already"}.get(
            reason, f"the numbers have changed just now ({reason}); try again"
        ))  # fmt: skip

    async def _worked_out(self, asked: Adjustment, order: Order) -> tuple[str, Change, int]:
        change_id, change = self._recording.begin("adjust", order, needs_reason=True)
        if (asked.by is None) == (asked.to is None):
            raise ChangeRefused("say either by how much it is to change, or what it is to be")
        if asked.article and asked.of != "views":
            raise ChangeRefused("an article has views; visits are of the whole site")
        seen = await self._changes.many(self._site)
        place, note = await self._place(asked.day)
        key = await self._recording.article(asked.article) if asked.article else ""
        on_day, total, _ = await self._counts(key, asked.of, place)
        by = asked.by if asked.by is not None else (asked.to or 0) - (total if on_day is None else on_day)
        if asked.to is not None and asked.to < 0:
            raise ChangeRefused("no count is below zero")
        if note and asked.to is not None:
            raise PeriodClosed(f"{note[:7]} is closed: say by how much it is to change; that is booked today")
        if not by:
            raise NothingChanges("nothing would change")
        amount = Amount(key, asked.of, by, -1 if on_day is None else on_day, total)
        change = msgspec.structs.replace(change, source=key, place=place, note=note, said=(amount,))
        await self._check(change)
        return change_id, change, seen

    async def _reset(self, of: Of, to: int, order: Order) -> tuple[str, Change, int]:
        change_id, change = self._recording.begin("reset", order, needs_reason=True)
        seen = await self._changes.many(self._site)
        total = sum(await self._changes.totals(self._site, of))
        if not 0 <= to < total:
            raise ChangeRefused(
                f"a reset takes away: say a number from 0 to less than {total}, which there are; adjust adds"
            )
        return change_id, msgspec.structs.replace(change, said=(Amount("", of, to - total, -1, total),)), seen

    async def _undoing(self, made: Logged, order: Order) -> tuple[str, Change, int]:
        own_id, change = self._recording.begin("undo", order)
        seen = await self._changes.many(self._site)
        was = made.change
        month = was.place[:7]
        if month and month in await self._closings.months(self._site):
            raise PeriodClosed(
                f"{month} is closed: open it first (visitstats reopen {self._site} {month}), or adjust what is open"
            )
        said = []
        for each in was.said:
            on_day, total, _ = await self._counts(each.key, each.kind, was.place)
            said.append(Amount(each.key, each.kind, -each.by, -1 if on_day is None else on_day, total))
        change = msgspec.structs.replace(change, source=was.source, place=was.place, undoes=made.id, said=tuple(said))
        await self._check(change, made)
        return own_id, change, seen

    async def _place(self, day: str) -> tuple[str, str]:
        """Return the date on which an amount is booked; and, when its own date is closed, that one."""
        today = self._calendar.day_at(self._recording.clock()).date
        if day == UNDATED:
            return "", ""
        day = day or today
        try:
            whole = date.fromisoformat(day).isoformat() == day
        except ValueError:
            whole = False
        if not whole:
            raise ChangeRefused(f"{day[:20]!r} is no day: write it as 2026-11-24, or {UNDATED} for no day")
        if not FIRST_DAY <= day <= today:
            raise ChangeRefused(f"{day} is not a day from {FIRST_DAY} to today ({today})")
        closed = await self._closings.months(self._site)
        if day[:7] not in closed:
            return day, ""
        if today[:7] in closed:
            raise ChangeRefused(f"{day[:7]} is closed, and so is the present month: the clock of this machine is wrong")
        return today, day

    async def _counts(self, key: str, kind: str, place: str) -> tuple[int | None, int, str]:
        """Return a count on a date (None without a date) and of all time, and the key of the article that has it
        now."""
        if not key:
            on_day = await self._changes.on(self._site, kind, place) if place else None
            return on_day, sum(await self._changes.totals(self._site, kind)), ""
        end = (await self._changes.path(self._site, key))[-1]
        [total] = await self._changes.views(self._site, [end])
        if not place:
            return None, total or 0, end
        aliases = await self._changes.aliases(self._site)
        own = [article_id(end), *(alias for alias, target in aliases.items() if target == end)]
        return await self._day_views(self._site, own, place), total or 0, end

    async def _check(self, change: Change, undone: Logged | None = None) -> None:
        """Raise ChangeRefused for amounts that are too large, or that would bring a count below zero."""
        for each in change.said:
            if abs(each.by) > MOST:
                raise ChangeRefused(f"at most {MOST} at once")
            what = each.key or f"the site's {each.kind}"
            found = [(each.day, f"{what} on {change.place}")] if change.place else []
            found.append((each.total, f"{what} of all time"))
            if each.key:
                # A correction of an article changes the site's views as well.
                on_day, total, _ = await self._counts("", each.kind, change.place)
                found += [(on_day or 0, f"the site's views on {change.place}")] if change.place else []
                found.append((total, "the site's views of all time"))
            for has, name in found:
                if has + each.by < 0:
                    first = await self._in_the_way(each, undone) if undone else ""
                    why = f"{name} are {has}: {each.by:+} would bring them below zero{first}"
                    raise UndoFirst(why) if first else BelowZero(why)

    async def _in_the_way(self, amount: Amount, undone: Logged) -> str:
        """Say which change has to be undone before another one's amount."""
        end = await self._changes.places(self._site)
        ids = await self._changes.ordered(self._site, max(end - LOOKED_THROUGH, 0), end)
        for each in await self._changes.logged(self._site, ids[::-1]):
            if each is None or each.id == undone.id:
                break
            takes = any(found.by < 0 and found.kind == amount.kind for found in each.change.said)
            if takes and not each.undone and not each.change.undoes:
                return f"; undo change {each.id} first"
        return ""
