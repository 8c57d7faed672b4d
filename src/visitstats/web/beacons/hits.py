"""What the edge does with a beacon: a hit is put into the batch that gathers, a heartbeat is passed on, and what does
not count is counted apart.

`Hits.take` is the way of the usual hit, without waiting; `Hits.decide` asks the rules (`web/beacons/rules.py`) about
any other; `Hits.answer` makes the answer. No text of a beacon becomes a key, a label or a log line unchanged.
"""

import logging
from collections.abc import Awaitable, Callable

import msgspec

from visitstats.core import counting
from visitstats.core.batch import hit_id_digest
from visitstats.core.beacon import HitBeacon
from visitstats.core.entries import AS_KEY, Entry, fitting
from visitstats.core.entries import encode as encode_entry
from visitstats.core.errors import HitRejected, Overloaded, StoreUnavailable
from visitstats.core.periods import Day
from visitstats.core.signing import Vouch
from visitstats.ingest.gather import Ingest
from visitstats.ingest.known import NOTHING_TOLD, Known
from visitstats.ingest.waiting import Outcome, Told, Waiting
from visitstats.reading.snapshots import Stats
from visitstats.sites.directory import LiveSite, SiteDirectory
from visitstats.web.beacons import answers
from visitstats.web.beacons.address import Client, Headers
from visitstats.web.beacons.rules import OTHER, USUAL_SIZE, Article, Articles, Case, Place, Rules, size_of
from visitstats.web.beacons.senders import Senders, Visitor, agent_of, visit_id_of
from visitstats.web.beacons.unnamed import UnnamedProxies

HERE = frozenset({"localhost", "127.0.0.1", "[::1]"})
log = logging.getLogger(__name__)


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
        unnamed: UnnamedProxies,
    ) -> None:
        self._sites = sites
        self._ingest = ingest
        self._known = known
        self._stats = stats
        self._senders = senders
        self._clock = clock
        self._unnamed = unnamed
        self._proxy_told = False
        """Whether the log has said that a proxy does not name its readers."""
        self._articles = Articles()
        self._rules = Rules(self._articles, senders, _Counting(known, self.fetch_salts, clock))

    def take(self, headers: Headers, peer: str, live: LiveSite, beacon: HitBeacon) -> Taken | None:
        """Put a hit into the batch that gathers: the short form of `decide`, which waits for nothing. Nothing has
        happened when it returns None or raises HitRejected or Overloaded: then `decide` knows what to do."""
        if size_of(beacon) > USUAL_SIZE:
            return None
        moment = self._clock()
        day = live.calendar.day_at(moment)
        agent = agent_of(headers)
        article = self._articles.of(live, beacon, moment)
        senders = self._senders
        senders.check(live, headers, agent, beacon.webdriver)
        address, network = senders.addresses.of(peer, headers)
        if address == peer and not self._proxy_told:
            if senders.addresses.is_proxy(peer):
                self._tell_of_proxy(live, peer)
            elif not self._unnamed.told:
                self._unnamed.look(peer, headers)
        says = self._says(live, article, beacon, network, moment)
        new = says and not _is_known(self._known, live, article)
        if new and not _has_room(self._known, live, article, moment):
            return None
        senders.check_network(live, address)
        visitor = senders.visitor(live, day, moment, address, agent, visit_id_of(headers, beacon.visit_id))
        if visitor is None:
            return None
        # The rate is asked last, so that a hit which has to wait for something takes from its bucket only once.
        if not senders.allows(network, moment):
            senders.refuse_rate(live, address)
        return self._put(live, day, moment, beacon, article, (address, network) if says else None, visitor, new)

    async def decide(self, headers: Headers, peer: str, live: LiveSite, beacon: HitBeacon) -> Taken:
        """Ask the rules about a hit (`web/beacons/rules.py`), and put it into the batch that gathers. Nothing has
        happened when it raises HitRejected (not counted, by reason), StoreUnavailable or Overloaded."""
        case = Case(headers, peer, live, beacon, self._clock())
        article, visitor = await self._rules.walk(case)
        client = self._senders.addresses.of(peer, headers)
        says = self._says(live, article, beacon, client[1], case.moment_ms)
        return self._put(
            live, case.day, case.moment_ms, beacon, article, client if says else None, visitor, case.is_new
        )

    def _put(
        self, live: LiveSite, day: Day, moment: int, beacon: HitBeacon, article: Article, says: Client | None,
        visitor: Visitor, new: bool,
    ) -> Taken:  # fmt: skip
        """Put a hit into the batch that gathers, with what its client says of the article, when that may matter."""
        token, unique, old_token, capped = visitor
        waiting = self._ingest.gathering(live, day, moment)
        if capped:
            self._ingest.note(live, day, moment, counting.CAPPED)
        hit_id = hit_id_digest(beacon.hit_id) if beacon.hit_id else b""
        if says is None:
            return Taken(waiting, waiting.add(moment, token, unique, old_token, hit_id, article.id, b""), article)
        address, network = says
        voice, said = self._senders.voice(live, day, address, article.id)
        vouch = self._articles.signatures.vouch(live, beacon, moment)
        entry, signed = _entry(article, beacon), _signed(article, beacon, vouch)
        place = waiting.add(moment, token, unique, old_token, hit_id, article.id, entry, voice, said, signed)
        if new:
            self._known.newcomers.enter(live.site.id, article.id, moment)
        told = self._told(live, article, beacon, moment)
        self._known.said(live.site.id, article.id, told, network, moment)
        waiting.told[article.id] = hash(told)
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
            self._ingest.ignore(waiting.live, waiting.day, waiting.opened_ms, "duplicate")
            return 200, body, "duplicate"
        return 200, body, ""

    def beat(self, headers: Headers, peer: str, live: LiveSite, visit_id: str) -> bool:
        """Take a heartbeat, by the same rules as a hit. Nothing has happened when it raises HitRejected (its sender
        does not count, or sends too many), or returns False: then await `fetch_salts` and try again."""
        moment = self._clock()
        day = live.calendar.day_at(moment)
        senders, agent = self._senders, agent_of(headers)
        senders.check(live, headers, agent, webdriver=False)
        address, network = senders.addresses.of(peer, headers)
        senders.check_network(live, address)
        tokens = senders.present(live, day, moment, address, agent, visit_id_of(headers, visit_id))
        if tokens is None:
            return False
        if not senders.allows(network, moment):
            senders.refuse_rate(live, address)
        self._ingest.beat(live, day, *tokens, moment)
        return True

    def charge(self, live: LiveSite, peer: str, headers: Headers, hits: int) -> None:
        """Charge a network for what it reads. Raises RateExceeded."""
        self._senders.charge(live, peer, headers, self._clock(), hits)

    def refused_beat(self, live: LiveSite, reason: str) -> None:
        """Count a refused heartbeat by its reason, for the metrics alone: its page load is among the ignored beacons
        already."""
        self._ingest.refused_beat(live, reason)

    def ignore(self, live: LiveSite, rejected: HitRejected) -> None:
        """Count a beacon that is not counted, by its reason (rule 8)."""
        moment = self._clock()
        day = live.calendar.day_at(moment)
        self._ingest.ignore(live, day, moment, rejected.reason)
        if rejected.note:
            self._ingest.note(live, day, moment, rejected.note)

    def refuse(self, error: Exception) -> None:
        """Count a hit that is answered 503. Those of a batch that the journal did not take are counted there."""
        if isinstance(error, Overloaded) and error.reason != "internal":
            self._ingest.refuse(error.reason)
        elif isinstance(error, StoreUnavailable):
            self._ingest.refuse("store-away")

    def _tell_of_proxy(self, live: LiveSite, peer: str) -> None:
        if HERE.isdisjoint(live.site.hosts):  # a site of this machine is only a trial
            self._proxy_told = True
            log.warning(
                "hits come from %s, a trusted proxy, without a reader's address: all readers pass for one; have it "
                "send X-Forwarded-For, or set proxy_header (docs/settings.md)",
                peer or "the unix socket",
            )

    def unknown_site(self, site_id: str) -> None:
        """Count a hit for a site that does not exist, and log one of them per minute."""
        self._ingest.unknown_site()
        log.warning("hits name a site that does not exist: %r; see data-site in the page", site_id[:80])

    async def fetch_salts(self, live: LiveSite) -> None:
        """Fetch the salts that a hit needs now. Raises StoreUnavailable."""
        moment = self._clock()
        day = live.calendar.day_at(moment)
        await self._sites.salt(live, day)
        if moment - day.start_ms < counting.VISIT_GAP_MS:
            await self._sites.salt(live, live.calendar.day_named(day.yesterday))

    def _says(self, live: LiveSite, article: Article, beacon: HitBeacon, network: int, moment_ms: int) -> bool:
        """Whether the store may have to know what a beacon says of its article."""
        if not beacon.signature and self._known.entries.young.get((live.site.id, article.id)) == hash(beacon.told):
            return False  # the usual hit
        told = self._told(live, article, beacon, moment_ms)
        return article is not OTHER and self._known.matters(live.site.id, article.id, told, network, moment_ms)

    def _told(self, live: LiveSite, article: Article, beacon: HitBeacon, moment_ms: int) -> Told:
        if article.alias:
            return NOTHING_TOLD
        if beacon.signature and (vouch := self._articles.signatures.vouch(live, beacon, moment_ms)):
            return (*beacon.told, vouch.name)
        return beacon.told


def _entry(article: Article, beacon: HitBeacon) -> bytes:
    """Return the entry that a beacon makes of its article. The page of an alias makes none."""
    if article.alias:
        return encode_entry(Entry(article.key))
    said = Entry(article.key, beacon.title, article.url or AS_KEY, beacon.author, beacon.category, beacon.published)
    return encode_entry(fitting(said))


def _signed(article: Article, beacon: HitBeacon, vouch: Vouch) -> bytes:
    """Return the part of a beacon's entry that the portal has signed: the key, the title and the author."""
    if not vouch or article.alias:
        return b""
    facts = (beacon.title, "", beacon.author) if vouch is Vouch.FACTS else ()
    return encode_entry(fitting(Entry(article.key, *facts)))


class _Counting:
    """Gets what the rules have to wait for, for hits that count (`rules.Ways`)."""

    takes = True

    def __init__(self, known: Known, fetch_salts: Callable[[LiveSite], Awaitable[None]], clock: counting.Clock) -> None:
        self._known = known
        self._fetch_salts = fetch_salts
        self._clock = clock

    async def place(self, case: Case, article: Article) -> Place:
        """Look for a place for an article. When none is left, the store is asked: an article that it has needs none."""
        live = case.live
        if _is_known(self._known, live, article):
            return "known"
        if _has_room(self._known, live, article, case.moment_ms):
            return "room"
        places = live.site.new_articles_per_minute
        known = await self._known.newcomers.may_enter(live.site.id, article.id, case.moment_ms, places)
        case.resume(self._clock())
        return "known" if known else "none"

    async def fetch_salts(self, case: Case) -> None:
        """Fetch the salts that a hit needs now. Raises StoreUnavailable."""
        await self._fetch_salts(case.live)
        case.resume(self._clock())


def _is_known(known: Known, live: LiveSite, article: Article) -> bool:
    """Whether the store has an article, as far as is known here."""
    return article is OTHER or known.has(live.site.id, article.id)


def _has_room(known: Known, live: LiveSite, article: Article, moment_ms: int) -> bool:
    return known.newcomers.room(live.site.id, article.id, moment_ms, live.site.new_articles_per_minute)
