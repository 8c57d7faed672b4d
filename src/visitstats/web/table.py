"""Routes as data: one row says all about a route but how it is answered.

Each room of handlers has a tuple `ROUTES` of rows. `web/gate.py` serves them, `web/routes/openapi.py` describes them,
and a test compares both with docs/api.md. A further route is a row, a handler and a line there.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import msgspec
from starlette.requests import Request

from visitstats.access import Scope
from visitstats.core.errors import VisitstatsError
from visitstats.sites.directory import LiveSite
from visitstats.store.records import AccessToken
from visitstats.web.beacons import answers

PRIVATE: tuple[answers.Header, ...] = (answers.NEVER_STORED, (b"cross-origin-resource-policy", b"same-origin"))
"""Headers of what no cache keeps and no page of another origin reads."""
PUBLIC: tuple[answers.Header, ...] = (answers.NEVER_STORED, *answers.ANYBODY)
"""Headers of what every page may read, and no cache keeps."""
ANY_PAGE: tuple[answers.Header, ...] = tuple(answers.ANYBODY)
"""Headers of what every page may read; the answer says itself how long a cache may keep it."""

Query = TypeVar("Query")
Body = TypeVar("Body")


def kept(seconds: int, *more: str) -> answers.Header:
    """The header that lets every cache keep an answer for a time."""
    return (b"cache-control", ", ".join(("public", f"max-age={seconds}", *more)).encode())


@dataclass(frozen=True)
class Route:
    """A route. `handler` is a method of the room that holds the row.

    It takes an `Asked` and returns a msgspec struct, a Reply or a finished response; in `web/beacons/edge.py`, which
    reads and answers by itself, it takes what ASGI gives, and the site.
    """

    method: str
    path: str
    handler: Callable[..., Awaitable[Any]]
    summary: str
    answer: Any = None
    """A struct, or the content type of what is not JSON; None: the route is no part of the published API."""
    scope: Scope | None = None
    """The least scope that a bearer token needs; None: no token."""
    own_sites: bool = False
    """Whether a token that is good for one site is taken, though the path names none: the handler answers for its sites
    only."""
    query: Any = None
    """A struct: the parameters, all of them text, whole numbers or lists of text."""
    body: Any = None
    """A struct: the JSON of the body."""
    most_body: int = 8192
    """Bytes."""
    statuses: tuple[int, ...] = (200,)
    """The statuses with which `answer` may come."""
    headers: tuple[answers.Header, ...] = PRIVATE
    """Headers of every answer of the handler, which may give others of the same names."""
    unless: Callable[[Any, Request], bool] | None = None
    """A method of the room: when it is true of a request, that needs no token."""
    any_origin: bool = False
    """Whether a page of another site may send a request with a token."""
    head: bool = True
    """Whether a GET may be a HEAD."""
    price: int = 1
    """Of what everybody may read of a site: as how many hits a request is charged to its network. 0: by the handler."""

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods that it takes."""
        return ("GET", "HEAD") if self.method == "GET" and self.head else (self.method,)


@dataclass(frozen=True)
class Asked(Generic[Query, Body]):
    """A request that has passed the gate. What its row does not ask for is None: `live` without `{site}` in the path,
    `token` without a scope, `query` and `body` without their types."""

    request: Request
    live: LiveSite
    token: AccessToken
    query: Query
    body: Body


@dataclass(frozen=True)
class Reply:
    """An answer that is more than a struct with status 200."""

    content: msgspec.Struct | Mapping[str, Any] | bytes = b""
    status: int = 200
    kind: str = ""
    """The content type, if it is not that of the row."""
    headers: tuple[answers.Header, ...] = field(default=())
    etag: bytes = b""
    """With it, a client that has the same already gets 304."""
    packed: bytes = b""
    """The content for a client that takes gzip."""


class BadRequest(VisitstatsError):
    """A body that is not what its route takes."""
