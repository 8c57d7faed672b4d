"""The public routes beside the data path: article counts, the widget's files, health and preflights."""

import gzip
from importlib.resources import files
from typing import Any

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from visitstats.core.errors import HitRejected, NoSuchSite, NotFound, VisitstatsError
from visitstats.sites.directory import LiveSite
from visitstats.web.beacons import answers
from visitstats.worker import Worker

ACTIONS = ("hit", "hit.gif", "alive", "stats", "views", "top", "live", "box", "box.svg", "badge.json")
"""What pages of other origins may ask of a site, and may therefore ask about beforehand."""
MOST_KEYS = 500
LONGEST_KEY = 4096
WIDGET_SECONDS = 3600
YEAR_SECONDS = 365 * 24 * 3600

_encode = msgspec.json.Encoder().encode


class BadRequest(VisitstatsError):
    """A request that cannot be answered as it is."""


class KeyList(msgspec.Struct):
    """The body of POST views."""

    keys: list[str]


_decode_keys = msgspec.json.Decoder(KeyList).decode


class More(msgspec.Struct):
    """What the widget's build says of its second file."""

    sha: str
    integrity: str


class Manifest(msgspec.Struct):
    """What the widget's build says of its output (`widget.json`)."""

    version: str
    sha: str
    integrity: str
    more: More


class Script:
    """A file of the widget, as it is and packed."""

    def __init__(self, body: bytes, sha: str) -> None:
        self.body = body
        self.gzip = gzip.compress(body, mtime=0)
        self.sha = sha


class Public:
    """Handlers that need a worker. Errors are answered by the table in `web/app.py`."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        static = files("visitstats.web") / "static"
        self.manifest = msgspec.json.decode((static / "widget.json").read_bytes(), type=Manifest)
        self._widget = Script((static / "widget.js").read_bytes(), self.manifest.sha)
        self._more = Script((static / "more.js").read_bytes(), self.manifest.more.sha)

    def routes(self) -> list[Route]:
        """Return the routes, in the order of the contract."""
        return [
            Route("/v1/sites/{site}/views", self.views, methods=["GET", "POST"]),
            Route(
                "/v1/sites/{site}/{action}",
                self.preflight,
                methods=["OPTIONS", "GET", "POST", "PUT", "PATCH", "DELETE"],
            ),
            Route("/widget.js", self.widget),
            Route("/widget/more.js", self.more),
            Route("/widget/{version}/{sha}.js", self.frozen_widget),
            Route("/healthz", self.health),
            Route("/readyz", self.ready),
        ]

    async def views(self, request: Request) -> Response:
        """Answer the views of articles by key or by address, without counting anything."""
        live = await self.site(request)
        asked = await _asked(request)
        keys = {text: _key(live, text) for text in asked}
        found = await self._worker.reads.views(live.site.id, list(dict.fromkeys(filter(None, keys.values()))))
        return json({"views": {text: found.get(key, 0) for text, key in keys.items()}}, answers.NUMBERS)

    async def preflight(self, request: Request) -> Response:
        """Allow a page of any origin to send JSON. Whatever else comes here is no route, or takes no such method."""
        if request.path_params["action"] not in ACTIONS:
            raise HTTPException(404)
        if request.method != "OPTIONS":
            raise HTTPException(405, headers={"Allow": "GET, POST"})
        return raw(204, answers.PREFLIGHT)

    async def widget(self, request: Request) -> Response:
        """Answer the widget in its present version."""
        return _answered(request, self._widget, b"public, max-age=%d" % WIDGET_SECONDS)

    async def more(self, request: Request) -> Response:
        """Answer the widget's second file in its present version."""
        return _answered(request, self._more, b"public, max-age=%d" % WIDGET_SECONDS)

    async def frozen_widget(self, request: Request) -> Response:
        """Answer exactly the version that is asked for, which a page may pin with its integrity hash."""
        for script in (self._widget, self._more):
            if (request.path_params["version"], request.path_params["sha"]) == (self.manifest.version, script.sha):
                return _answered(request, script, b"public, max-age=%d, immutable" % YEAR_SECONDS)
        raise NotFound("there is no such version of the widget here")

    async def health(self, request: Request) -> Response:
        """Say that the process runs."""
        return json({"status": "ok"}, [*answers.JSON, answers.NEVER_STORED])

    async def ready(self, request: Request) -> Response:
        """Say whether hits are taken. They are while the store is away, because the journal has them; they are not
        while the journal cannot be opened or written."""
        worker = self._worker
        takes_hits = not worker.ingest.trouble
        ready = worker.ready and takes_hits
        return json(
            {
                "ready": ready,
                "journal": "ok" if takes_hits else "refuses",
                "store": worker.applier.link.word,
                "lagging_sites": worker.applier.lagging,
                "sites_with_losses": worker.losses.sites,
                "store_lacks_hits": sum(worker.hosts.lacks.values()),
            },
            [*answers.JSON, answers.NEVER_STORED],
            200 if ready else 503,
        )

    async def site(self, request: Request) -> LiveSite:
        """Return the site of a request; raises NotFound."""
        site_id = request.path_params["site"]
        live = self._worker.sites.get(site_id) or await self._worker.sites.find(site_id)
        if live is None:
            raise NoSuchSite("there is no such site")
        return live


def _answered(request: Request, script: Script, caching: bytes) -> Response:
    etag = b'"%s"' % script.sha.encode()
    headers = [
        (b"content-type", b"text/javascript; charset=utf-8"),
        (b"x-content-type-options", b"nosniff"),
        # While the service is away a cache may go on with what it has: no page waits for a script then.
        (b"cache-control", caching + b", stale-while-revalidate=86400, stale-if-error=604800"),
        (b"etag", etag),
        (b"vary", b"accept-encoding"),
        *answers.ANYBODY,
    ]
    if etag.decode() in request.headers.get("if-none-match", ""):
        return raw(304, headers)
    if "gzip" in request.headers.get("accept-encoding", ""):
        return raw(200, [*headers, (b"content-encoding", b"gzip")], script.gzip)
    return raw(200, headers, script.body)


def json(value: Any, headers: list[answers.Header], status: int = 200) -> Response:
    """Make an answer of a value."""
    return raw(status, headers, _encode(value))


def raw(status: int, headers: list[answers.Header], body: bytes = b"") -> Response:
    """Make an answer of bytes and exactly these headers."""
    response = Response(status_code=status)
    response.body = body
    response.raw_headers = (
        [*headers, (b"content-length", b"%d" % len(body))] if status not in (204, 304) else list(headers)
    )
    return response


async def _asked(request: Request) -> list[str]:
    if request.method == "POST":
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > MOST_KEYS * LONGEST_KEY:
                raise HitRejected("too-large", "the list is too long", status=413)
        try:
            asked = _decode_keys(body).keys
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise BadRequest('send {"keys": ["…", …]}') from error
    else:
        asked = request.query_params.getlist("key")
    asked = list(dict.fromkeys(asked))
    if not asked:
        raise BadRequest("name at least one key, as in ?key=/tin-tuc/a.html")
    if len(asked) > MOST_KEYS:
        raise BadRequest(f"at most {MOST_KEYS} keys at once, not {len(asked)}")
    if any(len(text) > LONGEST_KEY or not _encodable(text) for text in asked):
        raise BadRequest("a key is too long or not a text")
    return asked


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _key(live: LiveSite, text: str) -> str:
    """Return the key that is meant, as a hit that gives it would have it; "" when none could be counted under it."""
    try:
        return live.key_rules.resolve(live.key_rules.named(text))
    except HitRejected:
        return ""
