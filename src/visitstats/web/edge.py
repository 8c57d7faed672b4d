"""The edge of the data path: a raw ASGI endpoint in front of the router. A hit's way begins here.

read at most 8 KiB → decode → find the site → check host, origin, prefetch, bot → key and visitor → batch → answer

Everything that a beacon can cause is decided in this order, and a beacon that is not counted still gets the numbers,
with the reason in a header. Whatever arrives, nothing of it becomes a key, a label or a log line as it is.
"""

import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from visitstats.core import counting
from visitstats.core.agents import AgentRules, is_prefetch
from visitstats.core.batch import OTHER_KEY, hit_id_digest
from visitstats.core.beacon import HitBeacon, decode_alive, decode_hit, hit_from_query
from visitstats.core.bounded import Bounded
from visitstats.core.entries import Entry
from visitstats.core.entries import encode as encode_entry
from visitstats.core.errors import HitRejected, JournalFull, Overloaded, StoreUnavailable
from visitstats.core.keys import article_id, article_key, origin_allowed
from visitstats.core.periods import Day
from visitstats.directory import LiveSite, SiteDirectory
from visitstats.ingest import Ingest
from visitstats.stats import Stats
from visitstats.web import answers
from visitstats.web.address import ClientAddress

log = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

ROOT = "/v1/sites/"
KINDS = frozenset({b"text/plain;charset=UTF-8", b"text/plain", b"application/json", b""})
"""What a beacon may be; the first is what fetch() and XMLHttpRequest say of a text."""
ALLOWED = {"hit": b"POST", "hit.gif": b"GET", "alive": b"POST", "stats": b"GET, HEAD"}
LONGEST_AGENT = 512
LONGEST_QUERY = 8192
CACHED_ADDRESS = 600
"""Longer addresses are worked out every time, so that the cache's size in bytes is bounded, too."""
CACHE_SIZE = 20_000
AGENTS = 4096

_json = msgspec.json.Encoder().encode


class Article(msgspec.Struct, frozen=True):
    """What the edge knows of an address: the article's key, its id, and the key as JSON."""

    key: str
    id: bytes
    json: bytes


class Edge:
    """The public data routes: hit, hit.gif, alive and stats. Everything else goes to `router`."""

    def __init__(
        self,
        router: App,
        sites: SiteDirectory,
        ingest: Ingest,
        stats: Stats,
        addresses: ClientAddress,
        agents: AgentRules,
        clock: Callable[[], int],
        body_max_bytes: int,
    ) -> None:
        self._router = router
        self._sites = sites
        self._ingest = ingest
        self._stats = stats
        self._addresses = addresses
        self._agents = agents
        self._clock = clock
        self._body_max_bytes = body_max_bytes
        self._articles: Bounded[tuple[LiveSite, str, str, str], Article] = Bounded(CACHE_SIZE)
        self._agent_classes: Bounded[bytes, str] = Bounded(AGENTS)
        self._origins: Bounded[tuple[LiveSite, bytes], bool] = Bounded(AGENTS)
        self._routes: dict[tuple[str, str], Callable[[Scope, Receive, Send, LiveSite], Awaitable[None]]] = {
            ("POST", "hit"): self._hit,
            ("GET", "hit.gif"): self._pixel,
            ("POST", "alive"): self._alive,
            ("GET", "stats"): self._show,
            ("HEAD", "stats"): self._show,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        path = scope.get("path", "")
        if scope["type"] != "http" or not path.startswith(ROOT):
            await self._router(scope, receive, send)
            return
        site_id, _, action = path[len(ROOT) :].partition("/")
        route = self._routes.get((scope["method"], action))
        if route is None:
            if scope["method"] != "OPTIONS" and action in ALLOWED:
                allow = (b"allow", ALLOWED[action])
                await answers.send_error(
                    send, 405, "method-not-allowed", "this route does not take that method", [allow]
                )
            else:
                await self._router(scope, receive, send)
            return
        try:
            live = self._sites.get(site_id) or await self._sites.find(site_id)
        except StoreUnavailable as error:
            await _busy(send, error)
            return
        if live is None:
            await answers.send_error(send, 404, "no-such-site", "there is no such site")
            return
        await route(scope, receive, send, live)

    # Hits ----------------------------------------------------------------------------------------------------------

    async def _hit(self, scope: Scope, receive: Receive, send: Send, live: LiveSite) -> None:
        headers = dict(scope["headers"])
        try:
            beacon = decode_hit(await self._body(headers, receive))
            status, body, reason = await self._count(scope, headers, live, beacon)
        except HitRejected as rejected:
            await self._refuse(send, live, rejected)
        except (JournalFull, Overloaded, StoreUnavailable) as error:
            await _busy(send, error)
        else:
            if reason:
                await answers.send_bytes(send, status, [*answers.NUMBERS, answers.ignored_header(reason)], body)
            else:
                await answers.send_counted(scope, send, status, body)

    async def _pixel(self, scope: Scope, receive: Receive, send: Send, live: LiveSite) -> None:
        status, reason = 200, ""
        try:
            beacon = hit_from_query(**_query(scope["query_string"]))
            status, _, reason = await self._count(scope, dict(scope["headers"]), live, beacon)
        except HitRejected as rejected:
            # A picture that is an error would show as a broken one on the portal's page.
            reason = rejected.reason
            self._ignore(live, reason)
        except (JournalFull, Overloaded, StoreUnavailable) as error:
            await _busy(send, error)
            return
        kept = [answers.ignored_header(reason)] if reason else []
        await answers.send_bytes(
            send,
            status,
            [(b"content-type", b"image/gif"), answers.NEVER_STORED, *answers.ANYBODY, *kept],
            answers.GIF,
        )

    async def _count(
        self, scope: Scope, headers: dict[bytes, bytes], live: LiveSite, beacon: HitBeacon
    ) -> tuple[int, bytes, str]:
        """Count a beacon, or don't; return the answer's status and body, and why the beacon was not counted ("" if it
        was). Raises HitRejected when it is malformed."""
        moment = self._clock()
        day = live.calendar.day_at(moment)
        agent = headers.get(b"user-agent", b"")[:LONGEST_AGENT]
        try:
            article = self._article(live, beacon)
            self._check(live, headers, agent)
        except HitRejected as rejected:
            if rejected.status != 200:
                raise
            self._ignore(live, rejected.reason)
            snapshot = await self._stats.current(live)
            return 200, answers.numbers_body(snapshot), rejected.reason

        salt = live.salts.get(day.date) or await self._sites.salt(live, day)
        address = self._address(scope, headers)
        visit_id = beacon.visit_id
        if visit_id and (headers.get(b"sec-gpc") == b"1" or headers.get(b"dnt") == b"1"):
            visit_id = ""
        site_id = live.site.id
        token, unique = counting.visitor_tokens(salt, site_id, address, agent, visit_id)
        old_token = b""
        if moment - day.start_ms < counting.VISIT_GAP_MS:
            old_token = await self._old_token(live, day, address, agent, visit_id)

        waiting = self._ingest.gathering(live, day)
        place = waiting.add(
            moment,
            token,
            unique,
            old_token,
            hit_id_digest(beacon.hit_id) if beacon.hit_id else b"",
            article.id,
            self._entry(live, article, beacon),
        )
        outcome = await waiting.future
        committed = outcome.committed
        if committed is None:
            views = self._stats.last_views(site_id, article.id)
            return 202, answers.hit_body(outcome.snapshot, views, article.json, pending=True), ""
        n = committed.articles[waiting.article_of(place)]
        if n < 0:
            return 200, answers.hit_body(outcome.snapshot, None, _json(OTHER_KEY), pending=False), ""
        body = answers.hit_body(outcome.snapshot, n, article.json, pending=False)
        if committed.slots[place] == counting.DUPLICATE:
            self._ingest.ignore(live, day, "duplicate")
            return 200, body, "duplicate"
        return 200, body, ""

    def _article(self, live: LiveSite, beacon: HitBeacon) -> Article:
        # By the live site, which is another object after a change of its rules.
        name = (live, beacon.url, beacon.explicit_key, beacon.canonical)
        article = self._articles.get(name)
        if article is None:
            key = article_key(live.site, beacon.url, explicit=beacon.explicit_key, canonical=beacon.canonical)
            article = Article(key, article_id(key), _json(key))
            if len(beacon.url) + len(beacon.explicit_key) + len(beacon.canonical) <= CACHED_ADDRESS:
                self._articles.put(name, article)
        return article

    def _check(self, live: LiveSite, headers: dict[bytes, bytes], agent: bytes) -> None:
        """Raise HitRejected for what rule 8 counts apart."""
        origin = headers.get(b"origin")
        if origin is None:
            if live.site.missing_origin == "refuse":
                raise HitRejected("origin")
        else:
            allowed = self._origins.get((live, origin))
            if allowed is None:
                allowed = origin_allowed(live.site, origin.decode("latin-1"))
                if len(origin) <= CACHED_ADDRESS:
                    self._origins.put((live, origin), allowed)
            if not allowed:
                raise HitRejected("origin")
        if is_prefetch(headers):
            raise HitRejected("prefetch")
        if live.site.count_headless:
            agent = agent.replace(b"Headless", b"")
        reason = self._agent_classes.get(agent)
        if reason is None:
            reason = self._agents.classify(agent.decode("latin-1"))
            self._agent_classes.put(agent, reason)
        if reason:
            raise HitRejected(reason)

    def _entry(self, live: LiveSite, article: Article, beacon: HitBeacon) -> bytes:
        """Return the article's dictionary entry if the store may not have it, else nothing."""
        known = self._sites.entries
        name = (live.site.id, article.id)
        seen = hash((beacon.title, beacon.author, beacon.category, beacon.published))
        if known.get(name) == seen:
            return b""
        known.put(name, seen)
        url = "" if f"{live.site.hosts[0]}{article.key}" in beacon.url else beacon.url[:1024]
        return encode_entry(Entry(article.key, beacon.title, url, beacon.author, beacon.category, beacon.published))

    async def _old_token(self, live: LiveSite, day: Day, address: str, agent: bytes, visit_id: str) -> bytes:
        """Return the token that the visitor had yesterday (rule 2)."""
        yesterday = live.calendar.day_named(day.yesterday)
        salt = live.salts.get(yesterday.date) or await self._sites.salt(live, yesterday)
        return counting.visitor_token(salt, live.site.id, address, agent, visit_id)

    # Heartbeats and numbers ----------------------------------------------------------------------------------------

    async def _alive(self, scope: Scope, receive: Receive, send: Send, live: LiveSite) -> None:
        headers = dict(scope["headers"])
        try:
            visit_id = decode_alive(await self._body(headers, receive)).visit_id
            if visit_id and (headers.get(b"sec-gpc") == b"1" or headers.get(b"dnt") == b"1"):
                visit_id = ""
            moment = self._clock()
            day = live.calendar.day_at(moment)
            salt = live.salts.get(day.date) or await self._sites.salt(live, day)
            address = self._address(scope, headers)
            agent = headers.get(b"user-agent", b"")[:LONGEST_AGENT]
            token = counting.visitor_token(salt, live.site.id, address, agent, visit_id)
            old_token = b""
            if moment - day.start_ms < counting.VISIT_GAP_MS:
                old_token = await self._old_token(live, day, address, agent, visit_id)
        except HitRejected as rejected:
            await self._refuse(send, live, rejected)
            return
        except StoreUnavailable:
            # A heartbeat that is lost is made good by the next; the reader gets the last numbers.
            pass
        else:
            self._ingest.beat(live, day, token, old_token, moment)
        snapshot = self._stats.fresh(live) or await self._stats.current(live)
        await answers.send_counted(scope, send, 200, answers.numbers_body(snapshot))

    async def _show(self, scope: Scope, receive: Receive, send: Send, live: LiveSite) -> None:
        snapshot = self._stats.fresh(live) or await self._stats.current(live)
        if snapshot.numbers == counting.UNKNOWN:
            await answers.send_error(
                send, 503, "not-known-yet", "the numbers are not known yet; try again", [answers.RETRY_AFTER]
            )
            return
        await answers.send_shown(scope, send, snapshot)

    # Shared --------------------------------------------------------------------------------------------------------

    async def _body(self, headers: dict[bytes, bytes], receive: Receive) -> bytes:
        """Read a beacon's body; raises HitRejected for what is too large or of another kind (bad-inputs rows 1, 10,
        11)."""
        kind = headers.get(b"content-type", b"text/plain")
        known = kind in KINDS or kind.partition(b";")[0].strip().lower() in KINDS
        if not known or b"content-encoding" in headers:
            raise HitRejected("content-type", "send text/plain or application/json, not compressed", status=415)
        length = headers.get(b"content-length", b"0")
        if len(length) > 3 and (not length.isdigit() or len(length) > 10 or int(length) > self._body_max_bytes):
            raise HitRejected("too-large", f"a beacon is at most {self._body_max_bytes} bytes", status=413)
        message = await receive()
        body: bytes = message.get("body", b"")
        while message.get("more_body", False):
            message = await receive()
            if message["type"] != "http.request":
                raise HitRejected("bad-json", "the beacon ends too early", status=400)
            body += message.get("body", b"")
            if len(body) > self._body_max_bytes:
                break
        if len(body) > self._body_max_bytes:
            raise HitRejected("too-large", f"a beacon is at most {self._body_max_bytes} bytes", status=413)
        return body

    def _address(self, scope: Scope, headers: dict[bytes, bytes]) -> str:
        client = scope.get("client")
        return self._addresses.of(client[0] if client else "", headers.get(b"x-forwarded-for", b""))

    async def _refuse(self, send: Send, live: LiveSite, rejected: HitRejected) -> None:
        self._ignore(live, rejected.reason)
        await answers.send_error(
            send, rejected.status, rejected.reason, rejected.detail, [answers.ignored_header(rejected.reason)]
        )

    def _ignore(self, live: LiveSite, reason: str) -> None:
        self._ingest.ignore(live, live.calendar.day_at(self._clock()), reason)


async def _busy(send: Send, error: Exception) -> None:
    # The error's own text may name paths or addresses of this machine; it is in the log.
    log.debug("answered 503: %s", error)
    await answers.send_error(send, 503, "try-again", "the hit could not be taken; try again", [answers.RETRY_AFTER])


def _query(text: bytes) -> dict[str, str]:
    """Read the parameters of a pixel; unknown and repeated ones are left out. Raises HitRejected."""
    if len(text) > LONGEST_QUERY:
        raise HitRejected("too-large", "the address is too long", status=413)
    try:
        pairs = parse_qsl(text.decode("ascii"), max_num_fields=50, errors="strict")
    except (UnicodeDecodeError, ValueError) as error:
        raise HitRejected("bad-text", "the address is not UTF-8", status=400) from error
    found: dict[str, str] = {"u": ""}
    for name, value in pairs:
        if name in ("u", "k", "t", "v", "h", "r") and not found.get(name):
            found[name] = value
    return found
