"""What the edge decides about a beacon: is it counted, for which article, for which visitor. Without waiting for
anything.

    key of the article → sender (`web/beacons/senders.py`) → token of the visitor → place in the batch that gathers

`Hits.take` does that and `Hits.answer` says what became of it. Whatever arrives, nothing of it becomes a key, a label
or a log line as it is.
"""

import logging
from typing import NamedTuple

import msgspec

from visitstats.core import counting
from visitstats.core.batch import OTHER_ID, OTHER_KEY, hit_id_digest
from visitstats.core.beacon import HitBeacon
from visitstats.core.bounded import Bounded
from visitstats.core.entries import Entry
from visitstats.core.entries import encode as encode_entry
from visitstats.core.errors import HitRejected, Overloaded, StoreUnavailable
from visitstats.core.keys import article_id
from visitstats.ingest.gather import Ingest
from visitstats.ingest.known import Known
from visitstats.ingest.waiting import Outcome, Waiting
from visitstats.reading.snapshots import Stats
from visitstats.sites.directory import LiveSite, SiteDirectory
from visitstats.web.beacons import answers
from visitstats.web.beacons.address import Headers
from visitstats.web.beacons.senders import Senders, agent_of, visit_id_of

CACHED_ADDRESS = 600
"""Longer addresses are worked out every time, so that the cache's size in bytes is bounded, too."""
ADDRESSES = 20_000

_json = msgspec.json.Encoder().encode
log = logging.getLogger(__name__)


class ArticleUnknown(Exception):
    """The store has to be asked first whether an article is new: await `Hits.may_enter` and try again."""


class Article(NamedTuple):
    """What the edge knows of an address: the article's key, its id, and the key as JSON."""

    key: str
    id: bytes
    json: bytes
    alias: bool = False
    """The page is not the article's own, so that its title and address say nothing of it."""


OTHER = Article(OTHER_KEY, OTHER_ID, _json(OTHER_KEY), alias=True)


class Taken(msgspec.Struct, frozen=True, gc=False):
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
        known: Known,
        stats: Stats,
        senders: Senders,
        clock: counting.Clock,
    ) -> None:
        self._sites = sites
        self._ingest = ingest
        self._known = known
        self._stats = stats
        self._senders = senders
        self._clock = clock
        self._articles: Bounded[tuple[LiveSite, str, str, str], Article] = Bounded(ADDRESSES)

    def take(self, headers: Headers, peer: str, live: LiveSite, beacon: HitBeacon, known: bool | None = None) -> Taken:
        """Put a hit into the batch that gathers. Nothing has happened when it raises HitRejected (not counted, by
        reason), SaltMissing, ArticleUnknown or Overloaded. `known` is the answer of `may_enter`, if that was asked."""
        moment = self._clock()
        day = live.calendar.day_at(moment)
        agent = agent_of(headers)
        article = self._article(live, beacon)
        senders = self._senders
        senders.check(live, headers, agent, beacon.webdriver)
        entry = self._entry(live, article, beacon)
        new = False
        if entry and known is not True:
            new = self._is_new(live, article, moment, asked=known is not None)
            if new and known is False:
                article, new = OTHER, False
                entry = self._entry(live, article, beacon)
        address, network = senders.addresses.of(peer, headers)
        senders.check_network(live, address)
        visit_id = visit_id_of(headers, beacon.visit_id)
        token, unique, old_token, capped = senders.visitor(live, day, moment, address, agent, visit_id)
        # The last that can refuse it, so that a hit which has to wait for something takes from its bucket once.
        if not senders.allows(network, moment):
            senders.refuse_rate(live, address)
        waiting = self._ingest.gathering(live, day)
        if capped:
            self._ingest.note(live, day, counting.CAPPED)
        place = waiting.add(
            moment,
            token,
            unique,
            old_token,
            hit_id_digest(beacon.hit_id) if beacon.hit_id else b"",
            article.id,
            entry,
        )
        if entry:
            if new:
                self._known.newcomers.enter(live.site.id, article.id, moment)
            told = 0 if article.alias else hash(beacon.told)
            self._known.entries.put((live.site.id, article.id), told)
        return Taken(waiting, place, article)

    def answer(self, taken: Taken, outcome: Outcome) -> tuple[int, bytes, str]:
        """Return the answer's status and body, and why the beacon was not counted ("" when it was)."""
        waiting, place, article = taken.waiting, taken.place, taken.article
        committed = outcome.committed
        if committed is None:
            views = self._stats.last_views(waiting.site.id, article.id)
            return 202, answers.hit_body(outcome.snapshot, views, article.json, pending=True), ""
        n = committed.articles[waiting.article_of(place)]
        if n < 0 or article is OTHER:
            body = answers.hit_body(outcome.snapshot, None, OTHER.json, pending=False)
        else:
            body = answers.hit_body(outcome.snapshot, n, article.json, pending=False)
        if committed.is_duplicate(place):
            self._ingest.ignore(waiting.live, waiting.day, "duplicate")
            return 200, body, "duplicate"
        return 200, body, ""

    def beat(self, headers: Headers, peer: str, live: LiveSite, visit_id: str) -> None:
        """Take a heartbeat, by the same rules as a hit. Nothing has happened when it raises HitRejected (who sends it
        does not count, or not so many) or SaltMissing."""
        moment = self._clock()
        day = live.calendar.day_at(moment)
        senders, agent = self._senders, agent_of(headers)
        senders.check(live, headers, agent, webdriver=False)
        address, network = senders.addresses.of(peer, headers)
        senders.check_network(live, address)
        token, old_token = senders.present(live, day, moment, address, agent, visit_id_of(headers, visit_id))
        if not senders.allows(network, moment):
            senders.refuse_rate(live, address)
        self._ingest.beat(live, day, token, old_token, moment)

    def refused_beat(self, live: LiveSite, reason: str) -> None:
        """Note a heartbeat that was not taken, by its reason. Its page load was told among the beacons that are not
        counted; this is not another one."""
        self._ingest.refused_beat(live, reason)

    def ignore(self, live: LiveSite, rejected: HitRejected) -> None:
        """Count a beacon that is not counted, by its reason (rule 8)."""
        day = live.calendar.day_at(self._clock())
        self._ingest.ignore(live, day, rejected.reason)
        if rejected.note:
            self._ingest.note(live, day, rejected.note)

    def refuse(self, error: Exception) -> None:
        """Count a hit that is answered 503. Those of a batch that the journal did not take are counted there."""
        if isinstance(error, Overloaded) and error.reason != "internal":
            self._ingest.refuse(error.reason)
        elif isinstance(error, StoreUnavailable):
            self._ingest.refuse("store-away")

    def unknown_site(self, site_id: str) -> None:
        """Count a hit of a site that there is not, and name one of them in the log once a minute."""
        self._ingest.unknown_site()
        log.warning("hits name a site that there is not: %r; see data-site in the page", site_id[:80])

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
            article = article_of(live, beacon)
            if len(beacon.url) + len(beacon.explicit_key) + len(beacon.canonical) <= CACHED_ADDRESS:
                self._articles.put(name, article)
        return article

    def _entry(self, live: LiveSite, article: Article, beacon: HitBeacon) -> bytes:
        """Return the article's dictionary entry if the store may not have it, else nothing."""
        known = self._known.entries
        name = (live.site.id, article.id)
        told = 0 if article.alias else hash(beacon.told)
        if known.young.get(name) == told or known.get(name) == told:
            return b""
        if article.alias:
            return encode_entry(Entry(article.key)) if known.get(name) is None else b""
        host = live.site.main_host
        url = "" if host and f"{host}{article.key}" in beacon.url else beacon.url[:1024]
        return encode_entry(Entry(article.key, beacon.title, url, beacon.author, beacon.category, beacon.published))

    def _is_new(self, live: LiveSite, article: Article, moment_ms: int, *, asked: bool) -> bool:
        """Whether the store may not have the article yet. Raises ArticleUnknown when that has to be asked first,
        because the site has no room for one more in this minute."""
        if article is OTHER or self._known.entries.get((live.site.id, article.id)) is not None:
            return False
        places = live.site.new_articles_per_minute
        if not asked and not self._known.newcomers.room(live.site.id, article.id, moment_ms, places):
            raise ArticleUnknown
        return True

    async def may_enter(self, live: LiveSite, beacon: HitBeacon) -> bool:
        """Ask the store about the article that a beacon's page shows, after ArticleUnknown."""
        article, places = self._article(live, beacon), live.site.new_articles_per_minute
        return await self._known.newcomers.may_enter(live.site.id, article.id, self._clock(), places)


def article_of(live: LiveSite, beacon: HitBeacon) -> Article:
    """Return the article that a beacon's page shows. Raises HitRejected, also for a page that the site excludes."""
    own = live.key_rules.own_key(beacon.url, explicit=beacon.explicit_key, canonical=beacon.canonical)
    if pattern := live.excluded_paths.pattern_of(beacon.url):
        raise HitRejected("excluded", f"the site excludes {pattern}")
    key = live.key_rules.resolve(own)
    return Article(key, article_id(key), _json(key), key != own)
