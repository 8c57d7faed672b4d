"""The public routes beside the data path: article counts and the widget's files."""

import asyncio
import gzip
from collections.abc import Callable
from importlib.resources import files
from time import perf_counter
from typing import Annotated

import msgspec
from starlette.requests import Request

from visitstats.core.errors import HitRejected, NotFound
from visitstats.sites.directory import LiveSite
from visitstats.store.reads import Reads
from visitstats.web.beacons.address import headers_of
from visitstats.web.beacons.edge import peer_of
from visitstats.web.beacons.senders import Senders
from visitstats.web.table import ANY_PAGE, PUBLIC, Asked, BadRequest, Reply, Route, kept

MOST_KEYS = 500
MOST_BODY = 65_536
BYTES_OF_A_HIT = 1000
"""A list of keys costs its network one hit for each thousand bytes, and a tenth more for each rewrite rule of the site:
64 KiB take 7 ms without rules, as long as some 60 hits."""
TURN_SECONDS = 0.005
"""How long finding keys may hold the event loop at a time."""
LONGEST_KEY = 4096
WIDGET_SECONDS = 3600
YEAR_SECONDS = 365 * 24 * 3600
STALE = ("stale-while-revalidate=86400", "stale-if-error=604800")
"""While the service is away, a cache may go on serving the old file, so that no page waits for a script."""
_SCRIPT = "text/javascript; charset=utf-8"


class ViewsQuery(msgspec.Struct):
    """Which articles."""

    key: Annotated[list[str], msgspec.Meta(description="key or address of an article, again for each")] = []


class KeyList(msgspec.Struct):
    """The body of POST views."""

    keys: list[str]


class Views(msgspec.Struct):
    """The views of articles, under the keys or addresses of the request."""

    views: dict[str, int]


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
        self.sha = sha
        self.reply = Reply(body, etag=b'"%s"' % sha.encode(), packed=gzip.compress(body, mtime=0))


class Public:
    """The handlers."""

    def __init__(self, reads: Reads, senders: Senders, clock: Callable[[], int]) -> None:
        self._reads = reads
        self._senders = senders
        self._clock = clock
        static = files("visitstats.web") / "static"
        self._manifest = msgspec.json.decode((static / "widget.json").read_bytes(), type=Manifest)
        self._widget = Script((static / "widget.js").read_bytes(), self._manifest.sha)
        self._more = Script((static / "more.js").read_bytes(), self._manifest.more.sha)

    async def views(self, asked: Asked[ViewsQuery, None]) -> Views:
        """Answer the views of articles by key or by address, without counting anything."""
        return await self._views(asked.request, asked.live, asked.query.key)

    async def views_of_many(self, asked: Asked[None, KeyList]) -> Views:
        """The same for a list that is too long for an address."""
        return await self._views(asked.request, asked.live, asked.body.keys)

    async def _views(self, request: Request, live: LiveSite, named: list[str]) -> Views:
        texts = list(dict.fromkeys(named))
        if not texts:
            raise BadRequest('name at least one key, as in ?key=/tin-tuc/a.html or {"keys": ["/tin-tuc/a.html"]}')
        if len(texts) > MOST_KEYS:
            raise BadRequest(f"at most {MOST_KEYS} keys at once, not {len(texts)}")
        if any(len(text) > LONGEST_KEY for text in texts):
            raise BadRequest(f"a key is at most {LONGEST_KEY} characters")
        hits = 1 + sum(map(len, texts)) * (10 + live.key_rules.rewrites) // (10 * BYTES_OF_A_HIT)
        headers = headers_of(request.scope["headers"])
        self._senders.charge(live, peer_of(request.scope), headers, self._clock(), hits)
        keys, turn = dict[str, str](), perf_counter()
        for text in texts:
            keys[text] = _key(live, text)
            if perf_counter() - turn > TURN_SECONDS:
                await asyncio.sleep(0)
                turn = perf_counter()
        found = await self._reads.views(live.site.id, list(dict.fromkeys(filter(None, keys.values()))))
        return Views({text: found.get(key, 0) for text, key in keys.items()})

    async def widget(self, asked: Asked[None, None]) -> Reply:
        """Answer the widget in its present version."""
        return self._widget.reply

    async def more(self, asked: Asked[None, None]) -> Reply:
        """Answer the widget's second file in its present version."""
        return self._more.reply

    async def frozen_widget(self, asked: Asked[None, None]) -> Reply:
        """Answer exactly the version that is asked for, which a page may pin with its integrity hash."""
        named = asked.request.path_params
        for script in (self._widget, self._more):
            if (named["version"], named["sha"]) == (self._manifest.version, script.sha):
                return script.reply
        raise NotFound("there is no such version of the widget here")

    ROUTES = (
        Route("GET", "/v1/sites/{site}/views", views, "The views of articles", Views, query=ViewsQuery, headers=PUBLIC,
              price=0),
        Route("POST", "/v1/sites/{site}/views", views_of_many, "The views of many articles", Views, body=KeyList,
              most_body=MOST_BODY, headers=PUBLIC, price=0),
        Route("GET", "/widget.js", widget, "The widget", _SCRIPT, headers=(*ANY_PAGE, kept(WIDGET_SECONDS, *STALE))),
        Route("GET", "/widget/more.js", more, "The widget's second file", _SCRIPT,
              headers=(*ANY_PAGE, kept(WIDGET_SECONDS, *STALE))),
        Route("GET", "/widget/{version}/{sha}.js", frozen_widget, "Exactly one build of a file of the widget", _SCRIPT,
              headers=(*ANY_PAGE, kept(YEAR_SECONDS, "immutable", *STALE))),
    )  # fmt: skip


def _key(live: LiveSite, text: str) -> str:
    """Return the key of a key or address, as a hit that gives it would get it; "" when no hit could be counted so."""
    try:
        return live.key_rules.resolve(live.key_rules.named(text))
    except HitRejected:
        return ""
