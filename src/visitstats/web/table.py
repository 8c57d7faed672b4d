"""Routes as data: one row has everything about a route except its handler's code.

Each class of handlers has a tuple `ROUTES` of rows. `web/gate.py` serves them, `web/routes/openapi.py` describes them,
and a test compares both with docs/api.md. A new route is a row, a handler and a line there.
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
"""Headers of answers that no cache keeps and no page of another origin may read."""
PUBLIC: tuple[answers.Header, ...] = (answers.NEVER_STORED, *answers.ANYBODY)
"""Headers of answers that every page may read, and no cache keeps."""
ANY_PAGE: tuple[answers.Header, ...] = tuple(answers.ANYBODY)
"""Headers of answers that every page may read; each says itself how long a cache may keep it."""

Query = TypeVar("Query")
Body = TypeVar("Body")


def kept(seconds: int, *more: str) -> answers.Header:
    """The header that lets every cache keep an answer for a time."""
    return (b"cache-control", ", ".join(("public", f"max-age={seconds}", *more)).encode())


@dataclass(frozen=True)
class Route:
    """A route. `handler` is a method of the class that holds the row.

    It takes an `Asked` and returns a msgspec struct, a Reply or a finished response; in `web/beacons/edge.py`, which
    reads and answers by itself, it takes what ASGI gives, and the site.
    """

    method: str
    path: str
    handler: Callable[..., Awaitable[Any]]
    summary: str
    answer: Any = None
    """The struct of the answer, or the content type of an answer that is not JSON. None: the route is not part of the
    published API."""
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
    """A method of the class: a request for which it returns true needs no token."""
    any_origin: bool = False
    """Whether a page of another site may send a request with a token."""
    head: bool = True
    """Whether a GET route also takes HEAD."""
    price: int = 1
    """The price of a public route of a site: as how many hits a request is charged to its network. 0: the handler does
    it."""

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods that it takes."""
        return ("GET", "HEAD") if self.method == "GET" and self.head else (self.method,)


@dataclass(frozen=True)
class Asked(Generic[Query, Body]):
    """A request that has passed the gate. Fields for which its row does not ask are None: `live` without `{site}` in
    the path, `token` without a scope, `query` and `body` without their types."""

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
    """The ETag: a client that already has the same gets 304."""
    packed: bytes = b""
    """The packed body, for a client that takes gzip."""


class BadRequest(VisitstatsError):
    """A body that is not what its route takes."""
