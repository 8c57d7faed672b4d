"""The routes by which editors merge articles and undo it, and read who changed what."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from visitstats.changes.merges import MergePending, Merges
from visitstats.core.periods import Calendar
from visitstats.reading.articles import InvalidQuery
from visitstats.sites.directory import LiveSite
from visitstats.store.changes import Kind, Logged
from visitstats.store.records import AccessToken
from visitstats.web.beacons import answers
from visitstats.web.routes.admin import Admin, same_origin
from visitstats.web.routes.public import BadRequest, Public, json
from visitstats.worker import Worker

MOST_BODY = 8192
MOST_CHANGES = 10_000

T = TypeVar("T")


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


class ChangeRoutes:
    """Handlers for editors and administrators."""

    def __init__(self, worker: Worker, public: Public, admin: Admin, clock: Callable[[], int]) -> None:
        self._worker = worker
        self._public = public
        self._admin = admin
        self._clock = clock

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/v1/admin/sites/{site}/merge", self.merge, methods=["POST"]),
            Route("/v1/admin/sites/{site}/undo", self.undo, methods=["POST"]),
            Route("/v1/admin/sites/{site}/audit", self.audit),
        ]

    async def merge(self, request: Request) -> Response:
        """Merge an article into another."""
        token, live = await self._editor(request)
        order = await _order(request, MergeOrder)
        kind: Kind = "alias" if order.alias else "merge"
        return await self._made(live, self._merges(live).merge(order.source, order.into, token.name, order.why, kind))

    async def undo(self, request: Request) -> Response:
        """Undo a merge."""
        token, live = await self._editor(request)
        order = await _order(request, UndoOrder)
        return await self._made(live, self._merges(live).undo(order.change, token.name, order.why))

    async def audit(self, request: Request) -> Response:
        """Answer the changes of a site, the newest first."""
        _, live = await self._editor(request)
        asked = request.query_params.get("limit", "100")
        limit = int(asked) if asked.isascii() and asked.isdigit() and len(asked) <= 9 else 0
        if not 1 <= limit <= MOST_CHANGES:
            raise InvalidQuery(f"limit is 1 to {MOST_CHANGES}")
        found = await self._merges(live).audit(limit)
        return json(
            {"site": live.site.id, "changes": [as_json(live.calendar, each) for each in found]},
            [*answers.JSON, answers.NEVER_STORED],
        )

    async def _editor(self, request: Request) -> tuple[AccessToken, LiveSite]:
        same_origin(request)
        token = await self._admin.allow(
            request, lambda authorization: self._worker.access.editor(authorization, request.path_params["site"])
        )
        return token, await self._public.site(request)

    def _merges(self, live: LiveSite) -> Merges:
        return Merges(self._worker.records.changes, self._worker.ingest, live.site.id, live.key_rules, self._clock)

    async def _made(self, live: LiveSite, making: Awaitable[Logged]) -> Response:
        headers = [*answers.JSON, answers.NEVER_STORED]
        try:
            made = await making
        except MergePending as pending:
            change = as_json(live.calendar, pending.logged) | {"views": None}
            return json({"site": live.site.id, "change": change, "pending": True, "detail": str(pending)}, headers, 202)
        # This worker knows at once; the others within a second.
        await self._worker.sites.refresh()
        return json({"site": live.site.id, "change": as_json(live.calendar, made)}, headers)


def as_json(calendar: Calendar, logged: Logged) -> dict[str, Any]:
    """Write a change for programs."""
    change = logged.change
    return {
        "id": logged.id,
        "kind": change.kind,
        "at": calendar.iso(change.at_ms),
        "who": change.who,
        "why": change.why,
        "from": change.source,
        "into": change.target,
        "views": change.moved if change.kind == "merge" else None,
        "undoes": change.undoes or None,
        "undone_by": logged.undone or None,
    }


async def _order(request: Request, kind: type[T]) -> T:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_BODY:
            raise BadRequest(f"an order is at most {MOST_BODY} bytes")
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f"the body is not what it should be: {error}") from error
