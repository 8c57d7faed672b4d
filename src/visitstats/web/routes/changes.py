"""The routes by which editors merge articles and undo it, and read who changed what."""

from collections.abc import Awaitable, Callable
from typing import Annotated

import msgspec

from visitstats.changes.merges import MergePending, Merges
from visitstats.changes.scribe import Recorder
from visitstats.core.periods import Calendar
from visitstats.sites.directory import LiveSite, SiteDirectory
from visitstats.store.changes import Changes, Kind, Logged
from visitstats.web.beacons.answers import Moment
from visitstats.web.table import Asked, Reply, Route

MOST_CHANGES = 10_000


class MergeOrder(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a merge: two articles by key or address. `alias` is for a key that was never counted."""

    source: str = msgspec.field(name="from")
    into: str
    why: str = ""
    alias: bool = False


class UndoOrder(msgspec.Struct, forbid_unknown_fields=True):
    """The body of an undo."""

    change: str
    why: str = ""


class AuditQuery(msgspec.Struct):
    """How many changes."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=MOST_CHANGES)] = 100


class ShownChange(msgspec.Struct):
    """A change that a person made."""

    id: str
    kind: str
    at: Moment
    who: str
    why: str
    source: str = msgspec.field(name="from")
    into: str
    views: int | None
    undoes: str | None
    undone_by: str | None


class Changed(msgspec.Struct, omit_defaults=True):
    """The change that was made, or is pending: then it is in the journal, and `detail` says when it is made."""

    site: str
    change: ShownChange
    pending: bool = False
    detail: str = ""


class Audit(msgspec.Struct):
    """The changes of a site, the newest first."""

    site: str
    changes: list[ShownChange]


class ChangeRoutes:
    """The handlers. `clock` gives the moment in milliseconds."""

    def __init__(self, changes: Changes, recorder: Recorder, sites: SiteDirectory, clock: Callable[[], int]) -> None:
        self._changes = changes
        self._recorder = recorder
        self._sites = sites
        self._clock = clock

    async def merge(self, asked: Asked[None, MergeOrder]) -> Changed | Reply:
        """Merge an article into another."""
        live, order = asked.live, asked.body
        kind: Kind = "alias" if order.alias else "merge"
        merges = self._merges(live)
        return await self._made(live, merges.merge(order.source, order.into, asked.token.name, order.why, kind))

    async def undo(self, asked: Asked[None, UndoOrder]) -> Changed | Reply:
        """Undo a merge."""
        live, order = asked.live, asked.body
        return await self._made(live, self._merges(live).undo(order.change, asked.token.name, order.why))

    async def audit(self, asked: Asked[AuditQuery, None]) -> Audit:
        """Answer the changes of a site, the newest first."""
        live = asked.live
        found = await self._merges(live).audit(asked.query.limit)
        return Audit(live.site.id, [_shown(live.calendar, each) for each in found])

    def _merges(self, live: LiveSite) -> Merges:
        return Merges(self._changes, self._recorder, live.site.id, live.key_rules, self._clock)

    async def _made(self, live: LiveSite, making: Awaitable[Logged]) -> Changed | Reply:
        try:
            made = await making
        except MergePending as pending:
            change = msgspec.structs.replace(_shown(live.calendar, pending.logged), views=None)
            return Reply(Changed(live.site.id, change, pending=True, detail=str(pending)), 202)
        # This worker knows at once; the others within a second.
        await self._sites.refresh()
        return Changed(live.site.id, _shown(live.calendar, made))

    ROUTES = (
        Route("POST", "/v1/admin/sites/{site}/merge", merge, "Merge an article into another", Changed, scope="editor",
              body=MergeOrder, statuses=(200, 202)),
        Route("POST", "/v1/admin/sites/{site}/undo", undo, "Undo a merge", Changed, scope="editor", body=UndoOrder,
              statuses=(200, 202)),
        Route("GET", "/v1/admin/sites/{site}/audit", audit, "What was changed by hand", Audit, scope="editor",
              query=AuditQuery),
    )  # fmt: skip


def _shown(calendar: Calendar, logged: Logged) -> ShownChange:
    change = logged.change
    return ShownChange(
        id=logged.id,
        kind=change.kind,
        at=calendar.iso(change.at_ms),
        who=change.who,
        why=change.why,
        source=change.source,
        into=change.target,
        views=change.moved if change.kind == "merge" else None,
        undoes=change.undoes or None,
        undone_by=logged.undone or None,
    )
