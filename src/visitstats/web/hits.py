"""What the edge decides about a beacon: is it counted, for which article, for which visitor. Without waiting for
anything.

    check host, origin, prefetch, bot → key of the article → token of the visitor → place in the batch that gathers

`Hits.take` does that and `Hits.answer` says what became of it. Whatever arrives, nothing of it becomes a key, a label
or a log line as it is.
"""

from typing import NamedTuple

import msgspec

from visitstats.apply import Outcome, Waiting
from visitstats.core import counting
from visitstats.core.agents import AgentRules, is_prefetch
from visitstats.core.batch import OTHER_KEY, hit_id_digest
from visitstats.core.beacon import HitBeacon
from visitstats.core.bounded import Bounded
from visitstats.core.entries import Entry
from visitstats.core.entries import encode as encode_entry
from visitstats.core.errors import HitRejected
from visitstats.core.keys import article_id, origin_allowed
from visitstats.core.periods import Day
from visitstats.directory import LiveSite, SiteDirectory
from visitstats.ingest import Ingest
from visitstats.stats import Stats
from visitstats.web import answers
from visitstats.web.address import ClientAddress

Headers = dict[bytes, bytes]

LONGEST_AGENT = 512
CACHED_ADDRESS = 600
"""Longer addresses are worked out every time, so that the cache's size in bytes is bounded, too."""
ADDRESSES = 20_000
SENDERS = 8192

_json = msgspec.json.Encoder().encode
_OTHER = _json(OTHER_KEY)


class SaltMissing(Exception):
    """A salt has to be fetched first: await `Hits.fetch_salts` and try again."""


class Article(NamedTuple):
    """What the edge knows of an address: the article's key, its id, and the key as JSON."""

    key: str
    id: bytes
    json: bytes


class Taken(NamedTuple):
    """A hit that is in a batch: wait for the batch's future, then ask `Hits.answer`."""

    waiting: Waiting
    place: int
    article: Article


class Hits:
    """The decisions about hits and heartbeats. `clock` gives the moment in milliseconds."""

    def __init__(
        self,
        sites: SiteDirectory,
        ingest: Ingest,
        stats: Stats,
        addresses: ClientAddress,
        agents: AgentRules,
        clock: counting.Clock,
    ) -> None:
        self._sites = sites
        self._ingest = ingest
        self._stats = stats
        self._addresses = addresses
        self._agents = agents
        self._clock = clock
        self._articles: Bounded[tuple[LiveSite, str, str, str], Article] = Bounded(ADDRESSES)
        self._senders: Bounded[tuple[LiveSite, bytes | None, bytes], str] = Bounded(SENDERS)

    def take(self, headers: Headers, peer: str, live: LiveSite, beacon: HitBeacon) -> Taken:
        """Put a hit into the batch that gathers. Nothing has happened when it raises HitRejected (not counted, by
        reason), SaltMissing or Overloaded."""
        moment = self._clock()
        day = live.calendar.day_at(moment)
        agent = headers.get(b"user-agent", b"")[:LONGEST_AGENT]
        article = self._article(live, beacon)
        self._check(live, headers, agent)
        salt = live.salts.get(day.date)
        if salt is None:
            raise SaltMissing
        visit_id = _visit_id(headers, beacon.visit_id)
        address = self._addresses.of(peer, headers.get(b"x-forwarded-for", b""))
        token, unique = counting.visitor_tokens(salt, live.site.id, address, agent, visit_id)
        old_token = b""
        if moment - day.start_ms < counting.VISIT_GAP_MS:
            old_token = _old_token(live, day, address, agent, visit_id)
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
        return Taken(waiting, place, article)

    def answer(self, taken: Taken, outcome: Outcome) -> tuple[int, bytes, str]:
        """Return the answer's status and body, and why the beacon was not counted ("" when it was)."""
        waiting, place, article = taken
        committed = outcome.committed
        if committed is None:
            views = self._stats.last_views(waiting.site.id, article.id)
            return 202, answers.hit_body(outcome.snapshot, views, article.json, pending=True), ""
        n = committed.articles[waiting.article_of(place)]
        if n < 0:
            return 200, answers.hit_body(outcome.snapshot, None, _OTHER, pending=False), ""
        body = answers.hit_body(outcome.snapshot, n, article.json, pending=False)
        if committed.slots[place] == counting.DUPLICATE:
            self._ingest.ignore(waiting.live, waiting.day, "duplicate")
            return 200, body, "duplicate"
        return 200, body, ""

    def beat(self, headers: Headers, peer: str, live: LiveSite, visit_id: str) -> None:
        """Take a heartbeat. Raises SaltMissing."""
        if live.site.archived:
            return
        moment = self._clock()
        day = live.calendar.day_at(moment)
        salt = live.salts.get(day.date)
        if salt is None:
            raise SaltMissing
        agent = headers.get(b"user-agent", b"")[:LONGEST_AGENT]
        address = self._addresses.of(peer, headers.get(b"x-forwarded-for", b""))
        visit_id = _visit_id(headers, visit_id)
        token = counting.visitor_token(salt, live.site.id, address, agent, visit_id)
        old_token = b""
        if moment - day.start_ms < counting.VISIT_GAP_MS:
            old_token = _old_token(live, day, address, agent, visit_id)
        self._ingest.beat(live, day, token, old_token, moment)

    def ignore(self, live: LiveSite, reason: str) -> None:
        """Count a beacon that is not counted, by its reason (rule 8)."""
        self._ingest.ignore(live, live.calendar.day_at(self._clock()), reason)

    async def fetch_salts(self, live: LiveSite) -> None:
        """Have the salts here that a hit needs now. Raises StoreUnavailable."""
        moment = self._clock()
        day = live.calendar.day_at(moment)
        await self._sites.salt(live, day)
        if moment - day.start_ms < counting.VISIT_GAP_MS:
            await self._sites.salt(live, live.calendar.day_named(day.yesterday))

    def _article(self, live: LiveSite, beacon: HitBeacon) -> Article:
        # By the live site, which is another object after a change of its rules.
        name = (live, beacon.url, beacon.explicit_key, beacon.canonical)
        article = self._articles.young.get(name) or self._articles.get(name)
        if article is None:
            key = live.key_rules.key(beacon.url, explicit=beacon.explicit_key, canonical=beacon.canonical)
            article = Article(key, article_id(key), _json(key))
            if len(beacon.url) + len(beacon.explicit_key) + len(beacon.canonical) <= CACHED_ADDRESS:
                self._articles.put(name, article)
        return article

    def _check(self, live: LiveSite, headers: Headers, agent: bytes) -> None:
        """Raise HitRejected for what rule 8 counts apart."""
        sender = (live, headers.get(b"origin"), agent)
        reason = self._senders.young.get(sender)
        if reason is None:
            reason = self._senders.get(sender)
            if reason is None:
                reason = self._judge(live, sender[1], agent)
                if sender[1] is None or len(sender[1]) <= CACHED_ADDRESS:
                    self._senders.put(sender, reason)
        if reason:
            raise HitRejected(reason)
        if is_prefetch(headers):
            raise HitRejected("prefetch")

    def _judge(self, live: LiveSite, origin: bytes | None, agent: bytes) -> str:
        """Return why a page's or an agent's beacons are not counted, "" when they are."""
        if live.site.archived:
            return "archived"
        if origin is None:
            if live.site.missing_origin == "refuse":
                return "origin"
        elif not origin_allowed(live.site, origin.decode("latin-1")):
            return "origin"
        if live.site.count_headless:
            agent = agent.replace(b"Headless", b"")
        return self._agents.classify(agent.decode("latin-1"))

    def _entry(self, live: LiveSite, article: Article, beacon: HitBeacon) -> bytes:
        """Return the article's dictionary entry if the store may not have it, else nothing."""
        known = self._sites.entries
        name = (live.site.id, article.id)
        told = hash(beacon.told)
        if known.young.get(name) == told or known.get(name) == told:
            return b""
        known.put(name, told)
        url = "" if f"{live.site.hosts[0]}{article.key}" in beacon.url else beacon.url[:1024]
        return encode_entry(Entry(article.key, beacon.title, url, beacon.author, beacon.category, beacon.published))


def _visit_id(headers: Headers, visit_id: str) -> str:
    """Return the visit id that counts: none for a reader who asks not to be followed (rule 1)."""
    return "" if headers.get(b"sec-gpc") == b"1" or headers.get(b"dnt") == b"1" else visit_id


def _old_token(live: LiveSite, day: Day, address: str, agent: bytes, visit_id: str) -> bytes:
    """Return the token that the visitor had yesterday (rule 2)."""
    salt = live.salts.get(day.yesterday)
    if salt is None:
        raise SaltMissing
    return counting.visitor_token(salt, live.site.id, address, agent, visit_id)
