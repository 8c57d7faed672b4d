"""The rules that a hit meets before it is journalled, as named steps in their order.

    size → page → archive → origin → agent → webdriver → prefetch → new article → network → visitor → rate

`Rules.walk` asks them for a hit that does not go the short way, and stops at the first that refuses it. The explanation
of a beacon (`web/routes/explain.py`) asks all of these steps, shows what each says, and has further ones for the
decisions of the commit script. `Hits.take` is the short form for the usual hit: the same functions in the same order,
without waiting. A hit that it cannot take goes through these steps; it makes no decision that these steps would not
make.
"""

from collections.abc import Awaitable, Callable
from functools import partial
from sys import getsizeof
from typing import Literal, NamedTuple, Protocol

import msgspec

from visitstats.core.batch import OTHER_ID, OTHER_KEY
from visitstats.core.beacon import HitBeacon
from visitstats.core.bounded import Bounded
from visitstats.core.errors import HitRejected
from visitstats.core.keys import article_id
from visitstats.sites.directory import LiveSite
from visitstats.web.beacons.address import Headers
from visitstats.web.beacons.senders import SENDER_RULES, Senders, Visitor, agent_of, visit_id_of
from visitstats.web.beacons.signatures import Signatures

USUAL_SIZE, SIZE_OF_A_HIT = 600, 200
"""The most characters of a beacon's addresses and key that are remembered. Longer ones are worked out every time, and
cost their network one hit more for each 200 characters: 4,000 take as long as some 30 usual beacons."""
ADDRESSES, ADDRESS_BYTES = 20_000, 16 << 20
"""For how many addresses the article is remembered: usually some 700 bytes each."""

_json = msgspec.json.Encoder().encode


class Article(NamedTuple):
    """The article of an address, as the edge knows it: its key, its id, and the key as JSON."""

    key: str
    id: bytes
    json: bytes
    alias: bool = False
    """Whether the page is not the article's own, so that its title and address say nothing about it."""
    url: str = ""
    """The page's address without tracking parameters; empty when it is the site's main host followed by the key."""


OTHER = Article(OTHER_KEY, OTHER_ID, _json(OTHER_KEY), alias=True)


class Articles:
    """Finds the articles of pages, and remembers them."""

    def __init__(self) -> None:
        self._known: Bounded[tuple[LiveSite, str, str, str], Article] = Bounded(ADDRESSES, ADDRESS_BYTES, _weigh)
        self.signatures = Signatures()

    def of(self, live: LiveSite, beacon: HitBeacon, now_ms: int) -> Article:
        """Return the article that a beacon's page shows; OTHER for one without the signature that the site requires.
        Raises HitRejected, also for a page that the site excludes."""
        # The live site is part of the name, because it is another object after a change of its rules.
        name = (live, beacon.url, beacon.explicit_key, beacon.canonical)
        article = self._known.young.get(name) or self._known.get(name)
        if article is None:
            article = _article_of(live, beacon)
            if size_of(beacon) <= USUAL_SIZE:
                self._known.put(name, article)
        if live.site.signatures == "require" and not self.signatures.vouch(live, beacon, now_ms):
            return OTHER
        return article

    def __len__(self) -> int:
        return len(self._known)


def size_of(beacon: HitBeacon) -> int:
    """Return how many characters have to be read to find a beacon's article."""
    return len(beacon.url) + len(beacon.explicit_key) + len(beacon.canonical)


def _weigh(name: tuple[LiveSite, str, str, str], article: Article) -> int:
    _, *texts = name
    return 320 + sum(map(getsizeof, (*texts, article.key, article.json, article.url)))


def _article_of(live: LiveSite, beacon: HitBeacon) -> Article:
    own, url = live.key_rules.own(beacon.url, explicit=beacon.explicit_key, canonical=beacon.canonical)
    if pattern := live.excluded_paths.pattern_of(beacon.url):
        raise HitRejected("excluded", f"the site excludes {pattern}")
    key = live.key_rules.resolve(own)
    return Article(key, article_id(key), _json(key), key != own, url)


class Case:
    """One hit on its way through the rules: its request, and what the rules have found so far."""

    def __init__(self, headers: Headers, peer: str, live: LiveSite, beacon: HitBeacon, moment_ms: int) -> None:
        self.headers = headers
        self.peer = peer
        self.live = live
        self.beacon = beacon
        self.agent = agent_of(headers)
        self.visit_id = visit_id_of(headers, beacon.visit_id)
        self.article: Article | None = None
        self.is_new = False
        """Whether the article is a newcomer, which takes one of the minute's places."""
        self.visitor: Visitor | None = None
        self.moment_ms, self.day = moment_ms, live.calendar.day_at(moment_ms)

    def resume(self, moment_ms: int) -> None:
        """Go on at a later moment, after something had to be waited for."""
        self.moment_ms, self.day = moment_ms, self.live.calendar.day_at(moment_ms)


Place = Literal["known", "room", "none"]
"""The answer to a search for a place in this minute: none is needed, one is left, none is left."""


class Ways(Protocol):
    """Gets what the rules have to wait for; one implementation is for hits that count, the other for explanations."""

    takes: bool
    """Whether a hit takes what it needs: a place among its network's visitors, a part of its rate."""

    async def place(self, case: Case, article: Article) -> Place:
        """Look for a place for an article."""
        ...

    async def fetch_salts(self, case: Case) -> None:
        """Fetch the salts that a hit of the case's moment needs. May raise StoreUnavailable."""
        ...


class Rules:
    """The rules. Each returns a note about a hit that passes it, and raises HitRejected for one that does not. Asking a
    rule counts nothing."""

    def __init__(self, articles: Articles, senders: Senders, ways: Ways) -> None:
        self._articles = articles
        self._senders = senders
        self._ways = ways

    async def walk(self, case: Case) -> tuple[Article, Visitor]:
        """Ask one rule after the other, and return the article and the visitor of the hit. Raises the HitRejected of
        the first rule that refuses it, and StoreUnavailable."""
        for _, ask in STEPS:
            await ask(self, case)
        return case.article, case.visitor  # type: ignore[return-value]  # the steps have found both

    async def size(self, case: Case) -> str:
        """Refuse a hit whose addresses take long to work out, before they are, when its network has used up its
        rate."""
        size = size_of(case.beacon)
        if size <= USUAL_SIZE:
            return ""
        hits = size // SIZE_OF_A_HIT
        address, network = self._senders.addresses.of(case.peer, case.headers)
        if not self._senders.allows(network, case.moment_ms, self._ways.takes, hits):
            self._senders.refuse_rate(case.live, address)
        return f"its addresses have {size} characters, which its network pays for as {hits} hits more"

    async def page(self, case: Case) -> str:
        """Find the article (rules of keys); refuse other hosts, and pages that the site excludes."""
        case.article = self._articles.of(case.live, case.beacon, case.moment_ms)
        if case.article is OTHER:
            return f"counted for {OTHER_KEY}: it bears no signature of the portal that is good now"
        return f"its article is {case.article.key}"

    async def sender(self, case: Case, rule: str) -> str:
        """Ask one of the rules about the headers of a sender (rule 8)."""
        verdict = self._senders.rules[rule](case.live, case.headers, case.beacon.webdriver)
        if verdict.reason:
            raise HitRejected(verdict.reason, note=verdict.note)
        return ""

    async def new_article(self, case: Case) -> str:
        """Count a new article as "(other)" when the minute has no place left for it (rule 8 of keys)."""
        place = await self._ways.place(case, case.article or OTHER)
        if place == "known":
            return "the site has this article"
        if place == "room":
            case.is_new = True
            return "it is new, and there is a place for it in this minute"
        case.article = OTHER
        return f"counted for {OTHER_KEY}: this minute has had {case.live.site.new_articles_per_minute} new articles"

    async def network(self, case: Case) -> str:
        """Refuse networks that the site excludes."""
        address, _ = self._senders.addresses.of(case.peer, case.headers)
        self._senders.check_network(case.live, address)
        return ""

    async def visitor(self, case: Case) -> str:
        """Find the visitor's tokens (rules 1, 2 and 9)."""
        address, _ = self._senders.addresses.of(case.peer, case.headers)
        senders, visit_id = self._senders, case.visit_id
        while True:
            found = senders.visitor(
                case.live, case.day, case.moment_ms, address, case.agent, visit_id, take=self._ways.takes
            )
            if found is not None:
                break
            await self._ways.fetch_salts(case)
        case.visitor = found
        if not found[3]:
            return told_apart(case)
        most = case.live.site.visitors_per_network
        return f"not told apart: its network has had {most} in this half hour, or its browser too many visit ids"

    async def rate(self, case: Case) -> str:
        """Refuse hits of a network beyond its rate. This rule is the last that can refuse a hit, so that one which has
        to wait for something takes from its bucket only once."""
        address, network = self._senders.addresses.of(case.peer, case.headers)
        if not self._senders.allows(network, case.moment_ms, self._ways.takes):
            self._senders.refuse_rate(case.live, address)
        return ""


def told_apart(case: Case) -> str:
    """Return a note about how a visitor is told apart from others."""
    if case.visit_id:
        return "with the visit id"
    if case.beacon.visit_id:
        return "without the visit id: the reader asks not to be followed (GPC or DNT)"
    return "by address and agent alone: the beacon has no visit id"


Ask = Callable[[Rules, Case], Awaitable[str]]
STEPS: tuple[tuple[str, Ask], ...] = (
    ("size", Rules.size),
    ("page", Rules.page),
    *((rule, partial(Rules.sender, rule=rule)) for rule in SENDER_RULES),
    ("new article", Rules.new_article),
    ("network", Rules.network),
    ("visitor", Rules.visitor),
    ("rate", Rules.rate),
)
"""The rules by name, in the order in which a hit meets them."""
