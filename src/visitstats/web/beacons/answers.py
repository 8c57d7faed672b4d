"""Answers as ASGI messages: headers made once, bodies as bytes."""

import base64
from collections.abc import Iterable
from typing import Annotated, Any

import msgspec

from visitstats.core.numbers import Numbers
from visitstats.reading.snapshots import Snapshot
from visitstats.web.beacons.protocol import EXTENSION, Answer
from visitstats.web.beacons.safety import SAFE
from visitstats.web.beacons.safety import Header as Header  # answers are made of them

Moment = Annotated[str, msgspec.Meta(extra_json_schema={"format": "date-time"})]
"""ISO 8601 with the site's offset."""


class BoxNumbers(Numbers, kw_only=True, frozen=True):
    """The numbers of a site. A number that is not known is null."""

    site: str
    at: Moment


class HitNumbers(BoxNumbers, kw_only=True, frozen=True):
    """The numbers of a site, with those of the article that was read."""

    views: int | None = None
    key: str = ""
    pending: bool = False


ANYBODY: list[Header] = [
    (b"access-control-allow-origin", b"*"),
    (b"access-control-expose-headers", b"x-visitstats"),
    (b"cross-origin-resource-policy", b"cross-origin"),
]
"""The public routes may be read from any page: they hold public numbers and there are no cookies."""
JSON: list[Header] = [(b"content-type", b"application/json"), *SAFE]
NEVER_STORED: Header = (b"cache-control", b"no-store")
NUMBERS: list[Header] = [*JSON, NEVER_STORED, *ANYBODY]
SHOWN: list[Header] = [*JSON, *ANYBODY, (b"cache-control", b"public, max-age=1")]
PREFLIGHT: list[Header] = [
    *ANYBODY,
    (b"access-control-allow-methods", b"GET, POST"),
    (b"access-control-allow-headers", b"content-type"),
    (b"access-control-max-age", b"86400"),
    (b"content-length", b"0"),
]
RETRY_AFTER: Header = (b"retry-after", b"2")

GIF = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAICRAEAOw==")
"""The 43 bytes of a transparent pixel, with a palette of two colours."""

_encode = msgspec.json.Encoder().encode


def lines(headers: Iterable[Header]) -> bytes:
    """Write headers as the lines of an answer."""
    return b"".join([b"%b: %b\r\n" % header for header in headers])


COUNTED_LINES = lines(NUMBERS)
_SHOWN_LINES = lines(SHOWN)
BUSY = _encode({"error": "try-again", "detail": "the hit could not be taken; try again"})
BUSY_LINES = lines([*NUMBERS, RETRY_AFTER])


def lines_ignored(reason: str) -> bytes:
    """Write the headers of the answer to a beacon that was not counted."""
    return lines([*NUMBERS, ignored_header(reason)])


async def send_bytes(send: Any, status: int, headers: Iterable[Header], body: bytes) -> None:
    """Send a whole answer."""
    await send(
        {"type": "http.response.start", "status": status, "headers": [*headers, (b"content-length", b"%d" % len(body))]}
    )
    await send({"type": "http.response.body", "body": body})


async def send_counted(scope: Any, send: Any, status: int, body: bytes, reason: str) -> None:
    """Send the answer to a heartbeat, by the short way if there is one. A `reason` says why it was not taken."""
    answer = short_way(scope)
    if answer is None:
        await send_bytes(send, status, [*NUMBERS, ignored_header(reason)] if reason else NUMBERS, body)
    else:
        answer(status, lines_ignored(reason) if reason else COUNTED_LINES, body)


async def send_shown(scope: Any, send: Any, snapshot: Snapshot) -> None:
    """Send the numbers, for a shared cache: they may be a second old, and a client that has the same gets 304."""
    etag = snapshot.etag
    asked = dict(scope["headers"]).get(b"if-none-match", b"")
    answer = short_way(scope)
    if asked and etag in asked:
        await send({"type": "http.response.start", "status": 304, "headers": [*SHOWN, (b"etag", etag)]})
        await send({"type": "http.response.body", "body": b""})
    elif answer is None or scope["method"] == "HEAD":
        await send_bytes(send, 200, [*SHOWN, (b"etag", etag)], numbers_body(snapshot))
    else:
        answer(200, b"%betag: %b\r\n" % (_SHOWN_LINES, etag), numbers_body(snapshot))


def short_way(scope: Any) -> Answer | None:
    extensions = scope.get("extensions")
    return extensions.get(EXTENSION) if extensions else None


async def send_error(send: Any, status: int, code: str, detail: str, headers: Iterable[Header] = ()) -> None:
    """Send an error of the contract: a kebab-case code and one line for a person."""
    await send_bytes(send, status, [*NUMBERS, *headers], _encode({"error": code, "detail": detail}))


def ignored_header(reason: str) -> Header:
    """Say why a beacon was not counted."""
    return (b"x-visitstats", b"ignored; reason=" + reason.encode())


def numbers_body(snapshot: Snapshot) -> bytes:
    """The numbers alone."""
    return snapshot.head + b"}"


def hit_body(snapshot: Snapshot, views: int | None, key: bytes, *, pending: bool) -> bytes:
    """The numbers with those of a hit's article; `key` is JSON already."""
    shown = b"null" if views is None else b"%d" % views
    tail = b',"pending":true}' if pending else b"}"
    return snapshot.head + b',"views":' + shown + b',"key":' + key + tail
