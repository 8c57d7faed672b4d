"""Doctor from outside: checks what a reader's browser would get at the address of the counter, through all proxies.

Each check is a row, as in `trust.doctor`. Nothing is counted: only the widget, a preflight, numbers, and paths that
must not be there are asked for. No redirect is followed.
"""

import gzip
import http.client
import ssl
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from typing import NamedTuple
from urllib.parse import urlsplit

import msgspec

from visitstats.core.errors import VisitstatsError
from visitstats.trust.doctor import Row

SECONDS = 10.0
MOST_BYTES = 4_000_000
CLOCK_SECONDS = 60
SLOW_SECONDS = 1.0
FAR = "https://portal.example.vn"
"""An origin that is not the counter's: a page of a portal under another name."""
HIDDEN = ("/metrics", "/v1/admin/sites", "/readyz", "/openapi.json")
"""Paths that no reader needs."""
REDIRECTS = (301, 302, 303, 307, 308)


class BadAddress(VisitstatsError):
    """A text that is not the address of a counter."""


class Answer(NamedTuple):
    """An HTTP answer. Headers are in the order in which they came, in lower case; a name may come more than once."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes
    seconds: float

    def all(self, name: str) -> list[str]:
        """Return every value of a header."""
        return [value for each, value in self.headers if each == name]

    def first(self, name: str) -> str:
        """Return the first value of a header, empty for none."""
        return next(iter(self.all(name)), "")


class Counter:
    """A counter at an address such as https://portal.example.vn/vs. Raises BadAddress."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url.strip())
        try:
            port = parts.port
        except ValueError:
            port = -1
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment or port == -1:
            raise BadAddress(f"{url!r} is no address of a counter; expected one such as https://portal.example.vn/vs")
        self.secure, self.host, self.port = parts.scheme == "https", parts.hostname, port
        self.path = parts.path.rstrip("/")
        self.origin = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"

    def ask(self, method: str, path: str, **headers: str) -> Answer:
        """Ask for a path below the address. Raises OSError and http.client.HTTPException."""
        connection = (
            http.client.HTTPSConnection(self.host, self.port, timeout=SECONDS, context=ssl.create_default_context())
            if self.secure
            else http.client.HTTPConnection(self.host, self.port, timeout=SECONDS)
        )
        began = time.monotonic()
        try:
            sent = {"User-Agent": "Mozilla/5.0 (visitstats doctor)"} | {
                name.replace("_", "-"): value for name, value in headers.items()
            }
            connection.request(method, path or "/", headers=sent)
            found = connection.getresponse()
            body = found.read(MOST_BYTES)
            told = [(name.lower(), value) for name, value in found.getheaders()]
            return Answer(found.status, told, body, time.monotonic() - began)
        finally:
            connection.close()


def look(url: str, site: str, now: float, page: str = "") -> Iterator[Row]:
    """Check a counter at an address; `site` is one of its sites ("" for none), `page` the path of one of the portal's
    pages, `now` the moment in seconds since the epoch. Raises BadAddress."""
    counter = Counter(url)
    try:
        widget = counter.ask("GET", f"{counter.path}/widget.js", Accept_Encoding="gzip")
    except (OSError, http.client.HTTPException) as error:
        advice = "check whether the name, the port and the certificate are right, and whether the proxy runs"
        yield Row("reach", "fail", f"{counter.host}: {_reason(error)}", advice)
        return
    yield _reached(widget)
    yield _widget(widget)
    if widget.status == 200:
        yield _packed(widget)
        yield _clock(widget, now)
    for check in (_preflight, _numbers, _hidden):
        try:
            yield check(counter, site)
        except (OSError, http.client.HTTPException) as error:
            yield Row(
                check.__name__.strip("_"), "fail", _reason(error), "it answered the first request, and this one not"
            )
    try:
        yield _policy(counter, counter.ask("GET", page or "/"))
    except (OSError, http.client.HTTPException) as error:
        yield Row("policy", "warn", f"the page cannot be read: {_reason(error)}")


def _reached(widget: Answer) -> Row:
    found = f"{widget.seconds * 1000:.0f} ms for the widget"
    if widget.seconds > SLOW_SECONDS:
        return Row(
            "reach", "warn", found, "check the network, and whether the proxy keeps connections open (keepalive)"
        )
    return Row("reach", "ok", found)


def _widget(widget: Answer) -> Row:
    if widget.status in REDIRECTS:
        return Row(
            "widget", "fail", f"redirected to {widget.first('location')[:200]}",
            "give the address that it leads to: a hit that is redirected is lost",
        )  # fmt: skip
    kind = widget.first("content-type")
    if widget.status != 200:
        advice = (
            "the service is away, or the proxy does not reach it"
            if widget.status >= 500
            else "the proxy must cut off the prefix of the path, or the service must know it (base_path)"
        )
        return Row("widget", "fail", f"status {widget.status}", advice)
    if "javascript" not in kind:
        return Row("widget", "fail", f"content-type {kind or 'missing'}", "this is another page: is the path right?")
    return Row("widget", "ok", f"{len(_plain(widget))} bytes of JavaScript")


def _packed(widget: Answer) -> Row:
    encoding = widget.first("content-encoding")
    if encoding not in ("gzip", "br", "zstd"):
        return Row(
            "compression", "warn", f"{len(widget.body)} bytes, not packed",
            "let the proxy hand on Accept-Encoding: the service has the widget packed",
        )  # fmt: skip
    return Row("compression", "ok", f"{encoding}, {len(widget.body)} bytes")


def _clock(widget: Answer, now: float) -> Row:
    try:
        ahead = parsedate_to_datetime(widget.first("date")).timestamp() - now
    except (TypeError, ValueError):
        return Row("clock", "warn", "there is no Date header")
    if abs(ahead) > CLOCK_SECONDS:
        found = f"{abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} this machine"
        return Row("clock", "warn", found, "days begin by the service's clock: let both follow the same time servers")
    return Row("clock", "ok", f"{ahead:+.0f} s beside this machine")


def _preflight(counter: Counter, site: str) -> Row:
    """A portal under another name sends this first, and needs exactly one origin in the answer."""
    path = f"{counter.path}/v1/sites/{site or 'doctor'}/hit"
    answer = counter.ask(
        "OPTIONS", path, Origin=FAR, Access_Control_Request_Method="POST", Access_Control_Request_Headers="content-type"
    )
    origins = answer.all("access-control-allow-origin")
    if len(origins) > 1 or any("," in origin for origin in origins):
        return Row(
            "cors", "fail", f"{len(origins)} Access-Control-Allow-Origin headers: {', '.join(origins)}",
            "remove it from the proxy: the service sends it itself, and browsers refuse two",
        )  # fmt: skip
    if answer.status in REDIRECTS:
        return Row("cors", "fail", f"redirected to {answer.first('location')[:200]}", "browsers follow none here")
    if not origins or answer.status >= 300:
        found = f"status {answer.status}, {origins[0] if origins else 'no Access-Control-Allow-Origin'}"
        return Row(
            "cors", "warn", found, "only pages of this same name can count; let the proxy hand on OPTIONS and headers"
        )
    return Row("cors", "ok", f"one header: {origins[0]}")


def _numbers(counter: Counter, site: str) -> Row:
    if not site:
        return Row("numbers", "ok", "not asked for: name a site (--site)")
    answer = counter.ask("GET", f"{counter.path}/v1/sites/{site}/stats")
    try:
        found = msgspec.json.decode(_plain(answer))
    except msgspec.DecodeError:
        return Row(
            "numbers", "fail", f"status {answer.status} and no JSON",
            "another program answers here: is the path right, and does the proxy hand on /v1/sites/?",
        )  # fmt: skip
    if answer.status != 200 or not isinstance(found, dict) or found.get("site") != site:
        said = found.get("error", "") if isinstance(found, dict) else ""
        advice = "visitstats site list names the sites" if said == "no-such-site" else ""
        return Row("numbers", "fail", f"status {answer.status} {said}".strip(), advice)
    return Row("numbers", "ok", f"{found.get('total')} in all, {found.get('online')} online")


def _hidden(counter: Counter, site: str) -> Row:
    shown = [path for path in HIDDEN if counter.ask("GET", counter.path + path).status == 200]
    if shown:
        return Row(
            "hidden", "warn", f"readers reach {', '.join(shown)}",
            "let the proxy hand on the widget and /v1/sites/ only (the examples in deploy/)",
        )  # fmt: skip
    return Row("hidden", "ok", "readers reach nothing but what they need")


def _policy(counter: Counter, page: Answer) -> Row:
    """The portal's own Content-Security-Policy, when its page is under the same name."""
    if page.status != 200 or "html" not in page.first("content-type"):
        return Row("policy", "ok", f"not looked at: no page there (status {page.status}); name one (--page)")
    texts = [text for header in page.all("content-security-policy") for text in header.split(",")]
    if not texts:
        return Row("policy", "ok", "the page has no Content-Security-Policy in its headers")
    lacking = [
        name
        for text in texts
        for name, default in (("script-src", "default-src"), ("connect-src", "default-src"))
        if not _allows(counter, text, name, default)
    ]
    if lacking:
        advice = f"add 'self' (or {counter.origin}) to {' and '.join(dict.fromkeys(lacking))}"
        return Row("policy", "fail", f"its Content-Security-Policy forbids the counter: {', '.join(lacking)}", advice)
    return Row("policy", "ok", "its Content-Security-Policy allows the counter")


def _allows(counter: Counter, text: str, name: str, default: str) -> bool:
    directives = {
        words[0].lower(): [word.lower() for word in words[1:]] for each in text.split(";") if (words := each.split())
    }
    sources = directives.get(name, directives.get(default))
    if sources is None:
        return True
    scheme = "https:" if counter.secure else "http:"
    host = counter.host.lower()
    for source in sources:
        if source in ("*", "'self'", scheme) or source.rstrip("/") == counter.origin.lower():
            return True
        bare = source.removeprefix("https://").removeprefix("http://").partition("/")[0].partition(":")[0]
        if bare == host or (bare.startswith("*.") and host.endswith(bare[1:])):
            return True
    return False


def _plain(answer: Answer) -> bytes:
    if answer.first("content-encoding") != "gzip":
        return answer.body
    try:
        return gzip.decompress(answer.body)
    except (OSError, EOFError):
        return b""


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not valid: {error.verify_message}"
    if isinstance(error, OSError):
        return error.strerror or str(error) or type(error).__name__
    return f"it does not speak HTTP ({type(error).__name__})"
