"""The rules for the head of a request: RFC 9112, without anything that two programs could read differently.

The parser (llhttp) is strict about lines; this module checks what the parser lets pass. `docs/requests.md` goes through
the RFC's rules one by one.
"""

import re
from typing import NoReturn

from visitstats.web.beacons.address import Headers, headers_of

Lines = list[tuple[bytes, bytes]]

MOST_HEADERS = 100
LONGEST_HEAD = 131_072
"""The most bytes of a request's head. Chrome's has 1 KB; where we share a portal's host, its cookies may add 8. A
single header that is absurdly long is cut where it is read (hostile-inputs row 17), and the hit still counts."""

SINGLE = (b"host", b"content-length", b"content-type", b"origin", b"user-agent", b"authorization", b"expect")
"""Headers that matter here and must have one value: of two lines, two programs could take different ones."""

_METHOD = re.compile(rb"[A-Z]")
_AUTHORITY = rb"(?:[0-9A-Za-z._~!$&'()*+;=%-]*|\[[0-9A-Fa-f:.]+\])(?::[0-9]{0,5})?"
_HOST = re.compile(_AUTHORITY)
_ABSOLUTE = re.compile(rb"https?://(" + _AUTHORITY + rb")([/?].*)?", re.IGNORECASE)
_LOOSE_LINE_END = re.compile(rb"(?<!\r)\n|\r(?!\n|\Z)|\0")
_UPGRADE = re.compile(rb"\r\nupgrade:[^\r\n]*", re.IGNORECASE)


class Refused(Exception):
    """A request that is refused, and whose connection is closed."""

    def __init__(self, detail: str, status: int = 400, code: str = "bad-request") -> None:
        super().__init__(detail)
        self.detail = detail
        self.status = status
        self.code = code


TARGET_TOO_LONG = (414, "target-too-long")
HEAD_TOO_LARGE = (431, "head-too-large")


class Head:
    """The facts that a head tells about its request. A connection has one object for all of its requests."""

    __slots__ = ("chunked", "continues", "headers", "is_last", "length", "target")

    def __init__(self) -> None:
        self.target = b""
        """Path and query, in whichever form the target came."""
        self.headers: Headers = {}
        self.length = 0
        """Bytes of the body; 0 for a body in chunks."""
        self.chunked = False
        self.is_last = False
        """Whether the connection ends with this request."""
        self.continues = False
        """Whether the client waits for 100 (Continue) before it sends the body."""


def check_beginning(piece: bytes | bytearray, start: int = 0) -> None:
    """Raise Refused for bytes that cannot be the beginning of a head; those before `start` were checked before."""
    if not _METHOD.match(piece) and bytes(piece[:2]) not in (b"", b"\r", b"\r\n"):
        raise Refused("a request begins with its method")
    if len(piece) > LONGEST_HEAD:
        _refuse_length(piece)
    if _LOOSE_LINE_END.search(piece, max(start - 1, 0)):
        raise Refused("a line ends with CR LF")


def _refuse_length(piece: bytes | bytearray) -> NoReturn:
    if piece.find(b"\r\n", 0, LONGEST_HEAD) < 0:
        raise Refused("the target is too long", *TARGET_TOO_LONG)
    raise Refused("the head is too long", *HEAD_TOO_LARGE)


def without_blank_line(head: bytes) -> bytes:
    """Return a head without the blank line that may stand before it (RFC 9112, 2.2). Raises Refused for another
    beginning that is none."""
    head = head.removeprefix(b"\r\n")
    if not _METHOD.match(head):
        raise Refused("a request begins with its method")
    return head


def without_upgrade(head: bytes) -> bytes:
    """Return a head without its wish for another protocol, which may be ignored (RFC 9110, 7.8)."""
    return _UPGRADE.sub(b"", head)


def check(found: Head, raw: bytes, method: bytes, url: bytes, lines: Lines, host: bytes | None) -> None:
    """Write into `found` what a whole head says. `host` is a Host field that was found good before. Raises Refused.

    2 µs for the headers that a browser sends through a proxy.
    """
    count = len(lines)
    if count > MOST_HEADERS or len(raw) > LONGEST_HEAD:
        _refuse_length(raw)
    old = not raw.startswith(b"%b %b HTTP/1.1\r\n" % (method, url))
    if old and not raw.startswith(b"%b %b HTTP/1.0\r\n" % (method, url)):
        raise Refused("the request line is METHOD TARGET HTTP/1.1")
    headers = found.headers = headers_of(lines)
    if len(headers) != count:
        _check_repeated(lines, headers)
    named = headers.get(b"host")
    if named != host or named is None:
        if named is not None and not _HOST.fullmatch(named):
            raise Refused("Host is not a host")
        if named is None and not old:
            raise Refused("HTTP/1.1 needs a Host")
    found.target = url if url.startswith(b"/") and b"#" not in url else _path_of(url, headers)
    length = headers.get(b"content-length")
    if length is None:
        found.length = 0
    elif length.isdigit() and len(length) <= 18 and (not length.startswith(b"0") or length == b"0"):
        found.length = int(length)
    else:
        raise Refused("Content-Length is one whole number")
    found.chunked = found.is_last = found.continues = False
    if old or b"transfer-encoding" in headers or b"connection" in headers or b"expect" in headers:
        _look_closely(found, old=old)


def _look_closely(found: Head, *, old: bool) -> None:
    headers = found.headers
    coding = headers.get(b"transfer-encoding")
    if coding is not None:
        if old or b"content-length" in headers or coding.lower() != b"chunked":
            raise Refused("a body has a Content-Length, or in HTTP/1.1 Transfer-Encoding: chunked, and nothing else")
        found.chunked = True
    # A later request on a connection of HTTP/1.0 would need a keep-alive that proxies are known to pass on by mistake.
    found.is_last = old or b"close" in [each.strip() for each in headers.get(b"connection", b"").lower().split(b",")]
    expected = headers.get(b"expect")
    if expected is not None and not old:
        if expected.lower() != b"100-continue":
            raise Refused("the only expectation is 100-continue", 417, "expectation-failed")
        found.continues = found.chunked or found.length > 0
        # A client that gets the answer before a 100 may leave the body out: then the next bytes could be a body or a
        # request.
        found.is_last = True


def _path_of(url: bytes, headers: Headers) -> bytes:
    """Return the path of a target that is none itself: its authority must be the one in Host (RFC 9112, 3.2.2)."""
    absolute = _ABSOLUTE.fullmatch(url)
    if absolute is None or b"#" in url:
        raise Refused("the target is a path")
    host, path = absolute[1].lower(), absolute[2] or b"/"
    if not host or host != headers.get(b"host", host).lower():
        raise Refused("the target and Host name different hosts")
    return path if path.startswith(b"/") else b"/" + path


def _check_repeated(lines: Lines, headers: Headers) -> None:
    """Check headers that have several lines, and make one list of a list's lines (RFC 9110, 5.3)."""
    names = [name for name, _ in lines]
    for name in SINGLE:
        if names.count(name) > 1:
            raise Refused("a header that has one value is there twice")
    for name in (b"connection", b"transfer-encoding", b"content-encoding"):
        if names.count(name) > 1:
            headers[name] = b",".join([value for other, value in lines if other == name])
