"""The gate in front of the handlers: who may ask, from where, for which site, and with what; then how it is answered.

    door (origin, token; `web/door.py`) → site → price (of what needs no token) → parameters → body → handler
    → headers of the row

The order is such that a stranger learns nothing about what the token would allow.
"""

from collections.abc import Callable, Iterable, Mapping
from types import UnionType
from typing import Any, NamedTuple

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route as RouterRoute

from visitstats.core.errors import HitRejected, InvalidQuery, NoSuchSite
from visitstats.sites.directory import LiveSite, SiteDirectory
from visitstats.web.beacons import answers
from visitstats.web.beacons.address import headers_of
from visitstats.web.beacons.edge import ROOT, Receive, Scope, Send, peer_of
from visitstats.web.beacons.noting import ROUTE
from visitstats.web.beacons.safety import SAFE
from visitstats.web.beacons.senders import Senders
from visitstats.web.door import Door
from visitstats.web.table import Asked, BadRequest, Reply, Route

MOST_DIGITS = 9
LONGEST_QUERY, MOST_PARAMETERS = 65_536, 1000
"""The longest query: it is parsed in a millisecond at most."""

_encode = msgspec.json.Encoder().encode


class Row(NamedTuple):
    """A route, and the room whose method handles it; None for a route that the edge serves."""

    route: Route
    room: Any


class Gate:
    """Lets requests through to handlers, and sends what these return."""

    def __init__(self, sites: SiteDirectory, door: Door, senders: Senders, clock: Callable[[], int]) -> None:
        self._sites = sites
        self._door = door
        self._senders = senders
        self._clock = clock

    def routes(self, rows: Iterable[Row]) -> list[RouterRoute]:
        """Make the routes of a Starlette router, one for each path, in the order of the rows."""
        paths: dict[str, _Path] = {}
        for row in rows:
            paths.setdefault(row.route.path, _Path(self, row.route.path)).add(row)
        return [RouterRoute(path, served) for path, served in paths.items()]

    async def answer(self, row: Row, request: Request) -> Response:
        """Answer a request to a route. Raises the errors in the table of `web/app.py`."""
        route = row.route
        token: Any = None
        live: Any = None
        if route.scope is not None and not (route.unless and route.unless(row.room, request)):
            token = await self._door.let_in(route, request)
        if "site" in request.path_params:
            live = await self._site(request.path_params["site"])
            if route.scope is None and route.price:
                headers, peer = headers_of(request.scope["headers"]), peer_of(request.scope)
                self._senders.charge(live, peer, headers, self._clock(), route.price)
        query = None if route.query is None else _query(route.query, request)
        body = None if route.body is None else await _body(route, request)
        made = await route.handler(row.room, Asked(request, live, token, query, body))
        return made if isinstance(made, Response) else _sent(route, request, made)

    async def _site(self, site_id: str) -> LiveSite:
        live = self._sites.get(site_id) or await self._sites.find(site_id)
        if live is None:
            raise NoSuchSite("there is no such site")
        return live


class _Path:
    """What is served under one path: an ASGI application."""

    def __init__(self, gate: Gate, path: str) -> None:
        self._gate = gate
        self._path = path
        # Pages of other origins use the routes below /v1/sites/, and browsers send a preflight first.
        self._preflight = path.startswith(ROOT)
        self._allowed: list[str] = []
        self._rows: dict[str, Row] = {}

    def add(self, row: Row) -> None:
        """Serve a row's methods."""
        for method in row.route.methods:
            if method not in self._allowed:
                self._allowed.append(method)
            if row.room is not None:
                self._rows[method] = row

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope[ROUTE] = self._path
        row = self._rows.get(scope["method"])
        if row is not None:
            response = await self._gate.answer(row, Request(scope, receive))
        elif self._preflight and scope["method"] == "OPTIONS":
            response = raw(204, answers.PREFLIGHT)
        else:
            raise HTTPException(405, headers={"Allow": ", ".join(self._allowed)})
        await response(scope, receive, send)


def raw(status: int, headers: Iterable[answers.Header], body: bytes = b"") -> Response:
    """Make an answer of bytes and exactly these headers."""
    response = Response(status_code=status)
    response.body = body
    response.raw_headers = [*headers]
    if status not in (204, 304):
        response.raw_headers.append((b"content-length", b"%d" % len(body)))
    return response


def problem(status: int, code: str, detail: str, headers: Iterable[answers.Header]) -> Response:
    """Make an error of the contract: a kebab-case code and one line for a person."""
    return raw(status, [*answers.JSON, *headers], _encode({"error": code, "detail": detail}))


def _query(kind: Any, request: Request) -> Any:
    """Read the parameters of a request; unknown ones are ignored, of one that is repeated the last counts. Raises
    InvalidQuery."""
    text = request.scope["query_string"]
    if len(text) > LONGEST_QUERY or text.count(b"&") >= MOST_PARAMETERS:
        raise InvalidQuery(f"at most {MOST_PARAMETERS} parameters of {LONGEST_QUERY} bytes together")
    given, found = request.query_params, dict[str, Any]()
    for about in msgspec.structs.fields(kind):
        if about.encode_name in given:
            value = given[about.encode_name]
            found[about.encode_name] = (
                given.getlist(about.encode_name) if _is(list, about.type) else _number(value, about.type)
            )
    try:
        return msgspec.convert(found, kind)
    except msgspec.ValidationError as error:
        what, _, where = str(error).rpartition(" - at `$.")
        raise InvalidQuery(f"{where.rstrip('`')}: {what[:1].lower()}{what[1:]}") from error


def _number(text: str, kind: Any) -> int | str:
    # Not int() alone: it takes signs, underscores, spaces and the digits of every script (hostile-inputs row 26).
    plain = text.isascii() and text.isdigit() and len(text) <= MOST_DIGITS
    return int(text) if plain and _is(int, kind) else text


def _is(kind: type, annotation: Any) -> bool:
    if isinstance(annotation, UnionType):
        return any(_is(kind, each) for each in annotation.__args__)
    inner = getattr(annotation, "__origin__", None)  # list[str] → list, Annotated[int | None, …] → int | None
    return annotation is kind if inner is None else inner is kind or _is(kind, inner)


async def _body(route: Route, request: Request) -> Any:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > route.most_body:
            detail = f"the body is at most {route.most_body} bytes"
            # A body that is too long is refused like a beacon on public routes, and like any bad order on those of
            # editors.
            raise BadRequest(detail) if route.scope else HitRejected("too-large", detail, status=413)
    try:
        return msgspec.json.decode(body, type=route.body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f"the body is not what it should be: {error}") from error


def _sent(route: Route, request: Request, made: msgspec.Struct | Reply) -> Response:
    reply = made if isinstance(made, Reply) else Reply(made)
    kind = reply.kind or (route.answer if isinstance(route.answer, str) else "application/json")
    headers: Mapping[bytes, bytes] = {
        b"content-type": kind.encode(),
        **dict(SAFE),
        **dict(route.headers),
        **dict(reply.headers),
    }
    if reply.packed:
        headers = {**headers, b"vary": b"accept-encoding"}
    if reply.etag:
        headers = {**headers, b"etag": reply.etag}
        if reply.etag.decode() in request.headers.get("if-none-match", ""):
            return raw(304, headers.items())
    body = reply.content if isinstance(reply.content, bytes) else _encode(reply.content)
    if reply.packed and "gzip" in request.headers.get("accept-encoding", ""):
        headers, body = {**headers, b"content-encoding": b"gzip"}, reply.packed
    return raw(reply.status, headers.items(), body)
