"""The routes with which editors and administrators change numbers, facts and periods, undo changes, and read the
log."""

from collections.abc import Awaitable, Callable
from datetime import date, timedelta
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from visitstats.access import Scope
from visitstats.changes.corrections import UNDATED, Adjustment, Of
from visitstats.changes.desk import KINDS, ChangeDesk, Wanted
from visitstats.changes.facts import Renaming
from visitstats.changes.recording import ChangeRefused, Order, Pending
from visitstats.changes.scribe import Recorder
from visitstats.core.closing import MOST_ROYALTY_DAYS, ROYALTY_DAYS
from visitstats.core.entries import FACTS
from visitstats.reading.closings import ClosedMonths, Lists
from visitstats.sites.directory import LiveSite, SiteDirectory
from visitstats.store.change_records import Kind, Logged
from visitstats.store.changes import Changes
from visitstats.store.closings import Closings
from visitstats.store.import_records import Imports
from visitstats.store.reads import Reads
from visitstats.web.routes.shown_changes import Audit, Changed, Preview, preview, shown
from visitstats.web.table import Asked, Reply, Route

MOST_CHANGES = 1000
"""The most changes on one page of the log."""

Id = Annotated[str, Meta(description="8 hexadecimal digits that you have drawn: sent twice, it is made once")]
Why = Annotated[str, Meta(description="the reason, for the log")]


class MergeOrder(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a merge: two articles by key or address. `alias` is for a key that was never counted."""

    source: str = msgspec.field(name="from")
    into: str
    why: str = ""
    alias: bool = False
    id: Id = ""


class UndoOrder(msgspec.Struct, forbid_unknown_fields=True):
    """The body of an undo."""

    change: str
    why: str = ""
    id: Id = ""


class AdjustOrder(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a correction: `by` how much, or `to` which value."""

    why: Why
    of: Annotated[Of, Meta(description="of an article views")] = "visits"
    article: Annotated[str, Meta(description="key or address; without it the whole site")] = ""
    by: int | None = None
    to: int | None = None
    day: Annotated[str, Meta(description=f"a date; today without it; {UNDATED} for no day")] = ""
    id: Id = ""


class ResetOrder(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a reset: the value to which the site's total is brought down."""

    why: Why
    confirm: Annotated[str, Meta(description="the site's id, typed by who means it; not needed for a preview")] = ""
    of: Of = "visits"
    to: int = 0
    id: Id = ""


class RenameOrder(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a renaming: the facts to change."""

    article: Annotated[str, Meta(description="key or address")]
    title: str | None = None
    author: str | None = None
    category: str | None = None
    published: Annotated[str | None, Meta(description="a date or a moment, ISO 8601")] = None
    url: Annotated[str | None, Meta(description="an address of the site's")] = None
    why: str = ""
    id: Id = ""


class HideOrder(msgspec.Struct, forbid_unknown_fields=True):
    """The body of hiding an article from lists, or showing it again."""

    article: str
    hidden: bool = True
    why: str = ""
    id: Id = ""


class TypeOrder(msgspec.Struct, forbid_unknown_fields=True):
    """The body of an article's type; empty for none."""

    article: str
    type: str
    why: str = ""
    id: Id = ""


class AcceptOrder(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a claim that is accepted, as the list of claims has it."""

    article: str
    fact: Annotated[str, Meta(description=", ".join(FACTS))]
    value: str
    why: str = ""
    id: Id = ""


class PeriodOrder(msgspec.Struct, forbid_unknown_fields=True):
    """The body of opening a month again, with a reason."""

    period: Annotated[str, Meta(description="a month, as 2026-10")]
    why: str = ""
    id: Id = ""


class CloseOrder(PeriodOrder, forbid_unknown_fields=True):
    """The body of closing a month: its royalties are frozen `within` so many days of publication."""

    within: Annotated[int, Meta(ge=1, le=MOST_ROYALTY_DAYS)] = ROYALTY_DAYS


class UndoQuery(msgspec.Struct):
    """Which change's undo is looked at."""

    change: str


class PeriodQuery(msgspec.Struct):
    """Which month."""

    period: Annotated[str, Meta(description="a month, as 2026-10")]


class AuditQuery(msgspec.Struct):
    """Which changes, and how many."""

    kind: Annotated[str, Meta(description=", ".join(KINDS))] = ""
    who: Annotated[str, Meta(description="is in the name")] = ""
    article: Annotated[str, Meta(description="key or address: the last 256 changes of it")] = ""
    limit: Annotated[int, Meta(ge=1, le=MOST_CHANGES)] = 100
    cursor: str = ""


class ClosedMonth(msgspec.Struct):
    """A closed month: what was frozen, and what has come since, which the next month takes over."""

    period: str
    change: str
    at: str
    who: str
    sha256: str
    articles: int
    visits: int
    views: int
    late_of: str | None
    late_visits: int
    late_views: int
    visits_since: int
    views_since: int
    within: int
    """Within how many days of publication its royalties are frozen; 0 for none."""
    due: int
    """Views for which royalties are due."""


class ClosedList(msgspec.Struct):
    """The closed months of a site, the newest first."""

    site: str
    closed: list[ClosedMonth]


def _change(
    name: str, handler: Callable[..., Awaitable[Any]], summary: str, body: type[msgspec.Struct], scope: Scope = "editor"
) -> Route:
    return Route(
        "POST", f"/v1/admin/sites/{{site}}/{name}", handler, summary, Changed, scope=scope, body=body,
        statuses=(200, 202),
    )  # fmt: skip


class ChangeRoutes:
    """The handlers. `clock` gives the moment in milliseconds; `lists` reads what a closed month freezes."""

    def __init__(
        self, changes: Changes, imports: Imports, closings: Closings, closed: ClosedMonths, lists: Lists, reads: Reads,
        recorder: Recorder, sites: SiteDirectory, clock: Callable[[], int],
    ) -> None:  # fmt: skip
        self._changes = changes
        self._imports = imports
        self._closings = closings
        self._closed = closed
        self._lists = lists
        self._reads = reads
        self._recorder = recorder
        self._sites = sites
        self._clock = clock

    # Articles --------------------------------------------------------------------------------------------------------

    async def merge(self, asked: Asked[None, MergeOrder]) -> Changed | Reply:
        """Merge an article into another."""
        order = asked.body
        kind: Kind = "alias" if order.alias else "merge"
        return await self._made(
            asked.live, self._desk(asked).merges.merge(order.source, order.into, _order(asked), kind)
        )

    async def rename(self, asked: Asked[None, RenameOrder]) -> Changed | Reply:
        """Set facts of an article, which readers' beacons no longer change."""
        order = asked.body
        facts = Renaming(order.title, order.author, order.category, order.published, order.url)
        return await self._made(asked.live, self._desk(asked).naming.rename(order.article, facts, _order(asked)))

    async def hide(self, asked: Asked[None, HideOrder]) -> Changed | Reply:
        """Take an article out of the lists, or put it back."""
        order = asked.body
        making = self._desk(asked).naming.hide(order.article, _order(asked), hidden=order.hidden)
        return await self._made(asked.live, making)

    async def classify(self, asked: Asked[None, TypeOrder]) -> Changed | Reply:
        """Say of which type an article is."""
        order = asked.body
        return await self._made(asked.live, self._desk(asked).naming.classify(order.article, order.type, _order(asked)))

    async def accept(self, asked: Asked[None, AcceptOrder]) -> Changed | Reply:
        """Set a fact to a value that readers claim."""
        order, live = asked.body, asked.live
        today = date.fromisoformat(live.calendar.day_at(self._clock()).date)

        def days(many: int) -> list[str]:
            return [(today - timedelta(days=n)).isoformat() for n in range(many)]

        making = self._desk(asked).naming.accept(
            order.article, order.fact, order.value, _order(asked), self._reads, days
        )
        return await self._made(live, making)

    # Numbers ---------------------------------------------------------------------------------------------------------

    async def adjust(self, asked: Asked[None, AdjustOrder]) -> Changed | Reply:
        """Add to a count, or take away from it."""
        _check_total(asked)
        return await self._made(
            asked.live, self._desk(asked).corrections.adjust(_adjustment(asked.body), _order(asked))
        )

    async def look_at_adjust(self, asked: Asked[None, AdjustOrder]) -> Preview:
        """Answer what a correction would change."""
        _check_total(asked)
        found = await self._desk(asked).corrections.look(_adjustment(asked.body), _order(asked))
        return preview(asked.live.site.id, found)

    async def reset(self, asked: Asked[None, ResetOrder]) -> Changed | Reply:
        """Bring a site's total down to a number."""
        order = asked.body
        if order.confirm != asked.live.site.id:
            raise ChangeRefused("to confirm, send the site's id as `confirm`; nothing was changed")
        return await self._made(asked.live, self._desk(asked).corrections.reset(order.of, order.to, _order(asked)))

    async def look_at_reset(self, asked: Asked[None, ResetOrder]) -> Preview:
        """Answer what a reset would change."""
        order = asked.body
        found = await self._desk(asked).corrections.look_at_reset(order.of, order.to, _order(asked))
        return preview(asked.live.site.id, found)

    # Periods ---------------------------------------------------------------------------------------------------------

    async def close(self, asked: Asked[None, CloseOrder]) -> Changed | Reply:
        """Close a month that is over: its numbers are frozen."""
        live = asked.live
        days = asked.body.within
        making = self._desk(asked).periods.close(
            asked.body.period, _order(asked), lambda month: self._closed.freeze(self._lists, live.site, month, days)
        )
        return await self._made(live, making)

    async def reopen(self, asked: Asked[None, PeriodOrder]) -> Changed | Reply:
        """Open the last closed month again."""
        return await self._made(asked.live, self._desk(asked).periods.reopen(asked.body.period, _order(asked)))

    async def closed(self, asked: Asked[None, None]) -> ClosedList:
        """Answer the closed months, and what has come to each since."""
        live, found = asked.live, list[ClosedMonth]()
        for each in reversed((await self._closed.all(live.site.id)).values()):
            since = await self._closed.since(live.site.id, each)
            found.append(
                ClosedMonth(
                    each.period, each.id, live.calendar.iso(each.at_ms), each.who, each.sha256, each.articles,
                    each.visits, each.views, each.late_of or None, each.late_visits, each.late_views, *since,
                    each.days, each.due,
                )
            )  # fmt: skip
        return ClosedList(live.site.id, found)

    async def frozen(self, asked: Asked[PeriodQuery, None]) -> Reply:
        """Answer what was frozen of a month, as JSON lines: its SHA-256 is that of the closing."""
        closing = await self._closed.find(asked.live.site.id, asked.query.period)
        if closing is None:
            raise ChangeRefused(f"{asked.query.period[:20]} is not closed")
        book = await self._closed.book(asked.live.site.id, closing)
        name = f'attachment; filename="{asked.live.site.id}_{closing.period}.jsonl"'.encode()
        return Reply(book.text, headers=((b"content-disposition", name),))

    # Undo and log ----------------------------------------------------------------------------------------------------

    async def undo(self, asked: Asked[None, UndoOrder]) -> Changed | Reply:
        """Undo a change. What only an administrator may do, only an administrator undoes."""
        desk = self._desk(asked)
        await self._check_scope(asked, desk, asked.body.change)
        return await self._made(asked.live, desk.undo(asked.body.change, _order(asked)))

    async def look_at_undo(self, asked: Asked[UndoQuery, None]) -> Preview:
        """Answer what an undo would change."""
        return preview(asked.live.site.id, await self._desk(asked).look_at_undo(asked.query.change))

    async def audit(self, asked: Asked[AuditQuery, None]) -> Audit:
        """Answer the changes of a site, the newest first."""
        live, query = asked.live, asked.query
        wanted = Wanted(query.kind, query.who, query.article, query.limit, query.cursor)
        page = await self._desk(asked).log(wanted)
        undone = await self._undone(live.site.id, page.changes)
        changes = [shown(live.calendar, each, undone.get(each.undone)) for each in page.changes]
        return Audit(live.site.id, changes, page.cursor or None, page.damaged)

    # Shared ----------------------------------------------------------------------------------------------------------

    def _desk(self, asked: Asked[Any, Any]) -> ChangeDesk:
        live = asked.live
        return ChangeDesk(
            self._changes, self._imports, self._closings, self._recorder, live.site, live.key_rules, live.calendar,
            self._closed.day_views, self._clock,
        )  # fmt: skip

    async def _check_scope(self, asked: Asked[Any, Any], desk: ChangeDesk, change_id: str) -> None:
        if asked.token.scope != "admin" and (await desk.find(change_id)).change.kind == "reset":
            raise ChangeRefused("a reset is undone by an administrator")

    async def _undone(self, site: str, changes: list[Logged]) -> dict[str, Logged]:
        """Return the changes by which some were undone, by id."""
        ids = [each.undone for each in changes if each.undone]
        return {each.id: each for each in await self._changes.logged(site, ids) if each is not None}

    async def _made(self, live: LiveSite, making: Awaitable[Logged]) -> Changed | Reply:
        try:
            made = await making
        except Pending as pending:
            change = msgspec.structs.replace(shown(live.calendar, pending.logged), views=None)
            return Reply(Changed(live.site.id, change, pending=True, detail=str(pending)), 202)
        # This worker knows at once; the others within a second.
        await self._sites.refresh()
        undone = await self._undone(live.site.id, [made])
        return Changed(live.site.id, shown(live.calendar, made, undone.get(made.undone)))

    ROUTES = (
        _change("merge", merge, "Merge an article into another", MergeOrder),
        _change("adjust", adjust, "Correct a count", AdjustOrder),
        _change("reset", reset, "Bring a site's total down", ResetOrder, "admin"),
        _change("rename", rename, "Say what an article is called", RenameOrder),
        _change("hide", hide, "Hide an article from lists, or show it again", HideOrder),
        _change("type", classify, "Say of which type an article is", TypeOrder),
        _change("accept", accept, "Accept what readers say of an article", AcceptOrder),
        _change("close", close, "Close a month", CloseOrder),
        _change("reopen", reopen, "Open a closed month again", PeriodOrder),
        _change("undo", undo, "Undo a change", UndoOrder),
        Route("POST", "/v1/admin/sites/{site}/adjust/preview", look_at_adjust, "What a correction would change",
              Preview, scope="editor", body=AdjustOrder),
        Route("POST", "/v1/admin/sites/{site}/reset/preview", look_at_reset, "What a reset would change", Preview,
              scope="admin", body=ResetOrder),
        Route("GET", "/v1/admin/sites/{site}/undo/preview", look_at_undo, "What an undo would change", Preview,
              scope="editor", query=UndoQuery),
        Route("GET", "/v1/admin/sites/{site}/audit", audit, "What was changed by hand", Audit, scope="editor",
              query=AuditQuery),
        Route("GET", "/v1/admin/sites/{site}/closed", closed, "The closed months", ClosedList, scope="viewer"),
        Route("GET", "/v1/admin/sites/{site}/closed.jsonl", frozen, "What was frozen of a closed month",
              "application/jsonl", scope="viewer", query=PeriodQuery),
    )  # fmt: skip


def _order(asked: Asked[Any, Any]) -> Order:
    return Order(asked.token.name, asked.body.why, asked.body.id)


def _check_total(asked: Asked[None, AdjustOrder]) -> None:
    """Raise if an editor would bring a site's total down at no time: a reset by another name."""
    order = asked.body
    lowers = order.to is not None or (order.by or 0) < 0
    if asked.token.scope != "admin" and lowers and order.day == UNDATED and not order.article:
        raise ChangeRefused("this would bring the total down, as a reset does: that is for an administrator")


def _adjustment(order: AdjustOrder) -> Adjustment:
    of: Of = "views" if order.article else order.of
    return Adjustment(of, order.article, order.by, order.to, order.day)
