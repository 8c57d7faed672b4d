"""The sender of a beacon: rules 1, 2 and 8 of counting decide whether it counts, and for which visitor.

    archive → origin → agent → webdriver → prefetch → excluded network → token of the visitor → rate of the network

Hits, pixels and heartbeats all go this way. Nothing in here waits, and data about senders is kept only in caches and
tables of a fixed size. `Hits` counts by these decisions and `web/routes/explain.py` explains them. The rate of the
network and the cap of its visitors cost 0.9 µs of the 9 µs of `Hits.take` (20,000 senders in turn, CPython 3.11, one
core of a shared machine).
"""

import re
from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import NamedTuple

from visitstats.core import counting
from visitstats.core.agents import AgentRules, is_prefetch
from visitstats.core.batch import Said
from visitstats.core.bounded import Bounded
from visitstats.core.counting import Salted
from visitstats.core.entries import CLAIM_NETWORK_BYTES
from visitstats.core.errors import HitRejected, RateExceeded
from visitstats.core.keys import origin_allowed
from visitstats.core.periods import Day
from visitstats.sites.directory import LiveSite
from visitstats.system.networks import network_of, parse
from visitstats.web.beacons.address import ClientAddress, Headers
from visitstats.web.beacons.limits import NetworkLimits

LONGEST_AGENT = 512
LONGEST_ORIGIN = 600
"""Longer origins are judged every time, so that the cache is also bounded in bytes."""
SENDERS, SENDER_BYTES = 8192, 4 << 20


SENDER_RULES = ("archive", "origin", "agent", "webdriver", "prefetch")
"""The rules about the headers of a sender, in their order."""


class Verdict(NamedTuple):
    """What one rule says about a sender: why its beacons are not counted ("" when they are), and a note about that."""

    reason: str = ""
    note: str = ""


PASSED = Verdict()
_REFERER = re.compile(rb"https?://[^/?#\\\s@]{1,300}(?![^/?#])")
"""The origin at the beginning of a Referer."""
_REFERRED = b"referer "
"""Marks, among origins, one that was read from a Referer."""
_CROSS_SITE = b"cross-site to "
"""Marks the host to which a request went that came from a page of another site, which is not named."""
_NO_PAGE = b"none"
"""Stands for the origin of a request that no page has made. It is no origin, and never allowed."""


Visitor = tuple[bytes, bytes, bytes, bool]
"""The tokens of a hit's visitor: its own; the one without the visit id (rule 9); yesterday's (rule 2), empty when that
was too long ago to matter; and whether it is not told apart from others, because its network has had too many. It is a
plain tuple because a named one costs 0.2 µs more."""
Parts = tuple[str, bytes, str]
"""The parts of a token beside the salt and the site: address (or network), agent, visit id."""


class Senders:
    """The decisions about senders."""

    def __init__(self, addresses: ClientAddress, agents: AgentRules, limits: NetworkLimits) -> None:
        self.addresses = addresses
        self._agents = agents
        self.allows = limits.rate.allows
        self._cap = limits.visitors
        self._known: Bounded[tuple[LiveSite, bytes | None, bytes], Verdict] = Bounded(
            SENDERS, SENDER_BYTES, lambda name, _: 260 + len(name[1] or b"") + len(name[2])
        )
        self._judged: Bounded[bytes, Verdict] = Bounded(SENDERS, SENDER_BYTES // 2, lambda agent, _: 140 + len(agent))
        self._unlimited: Bounded[tuple[LiveSite, str], bool] = Bounded(SENDERS)
        self.rules: Mapping[str, Callable[[LiveSite, Headers, bool], Verdict]] = dict(
            zip(SENDER_RULES, (_archive, _origin, self._agent, _webdriver, _prefetch), strict=True)
        )
        """Each rule about the headers of a sender, by its name, in their order."""

    # Rule 8 --------------------------------------------------------------------------------------------------------

    def check(self, live: LiveSite, headers: Headers, agent: bytes, webdriver: bool) -> None:
        """Raise HitRejected for a sender that rule 8 counts apart."""
        name = (live, _origin_of(headers), agent)
        verdict = self._known.young.get(name) or self._known.get(name)
        if verdict is None:
            asked = (self.rules[rule](live, headers, False) for rule in ("archive", "origin", "agent"))
            verdict = next((found for found in asked if found.reason), PASSED)
            if name[1] is None or len(name[1]) <= LONGEST_ORIGIN:
                self._known.put(name, verdict)
        if verdict is not PASSED:
            raise HitRejected(verdict.reason, note=verdict.note)
        if webdriver and _webdriver(live, headers, webdriver).reason:
            raise HitRejected("bot")
        if is_prefetch(headers):
            raise HitRejected("prefetch")

    def _agent(self, live: LiveSite, headers: Headers, webdriver: bool) -> Verdict:
        agent = agent_of(headers)
        if live.site.count_headless:
            agent = agent.replace(b"Headless", b"")
        verdict = self._judged.get(agent)
        if verdict is None:
            text = agent.decode("latin-1")
            reason = self._agents.classify(text)
            engine = reason and self._agents.is_search_engine(text)
            verdict = Verdict(reason, counting.SEARCH_ENGINE if engine else "") if reason else PASSED
            self._judged.put(agent, verdict)
        return verdict

    # Addresses -----------------------------------------------------------------------------------------------------

    def check_network(self, live: LiveSite, address: str) -> None:
        """Raise HitRejected for an address of a network that the site excludes."""
        if live.site.excluded_networks and parse(address) in live.excluded_networks:
            raise HitRejected("excluded", "its network is one that the site excludes")

    def refuse_rate(self, live: LiveSite, address: str) -> None:
        """Raise HitRejected for an address whose network is not allowed another hit (`allows`), unless it has no
        limit."""
        if not self._is_unlimited(live, address):
            raise HitRejected("rate", "its network has sent more than network_hits_per_second allows")

    def charge(self, live: LiveSite, peer: str, headers: Headers, now_ms: int, hits: int) -> None:
        """Take the cost of an expensive read, as a number of hits, from the bucket of the client's network. Raises
        RateExceeded."""
        address, network = self.addresses.of(peer, headers)
        if not self.allows(network, now_ms, True, hits) and not self._is_unlimited(live, address):
            raise RateExceeded("your network asks for too much at once; try again in some seconds")

    def _is_unlimited(self, live: LiveSite, address: str) -> bool:
        """Whether the network of an address has no limit. It is only asked when a limit is exceeded."""
        name = (live, address)
        unlimited = self._unlimited.get(name)
        if unlimited is None:
            unlimited = self.addresses.near(address) or parse(address) in live.offices
            self._unlimited.put(name, unlimited)
        return unlimited

    def voice(self, live: LiveSite, day: Day, address: str, article: bytes) -> tuple[bytes, Said]:
        """Return the voice of a reader about an article: the bytes that stand for the network of an address
        (`entries.CLAIM_NETWORK_BYTES`), and whether the site trusts it. The day's salt must be known. 3 µs."""
        name = network_name(address)
        of_day = counting.visitor_token(live.salts[day.date], live.site.id, name, b"voice", "")
        of_article = blake2b(article + name.encode(), digest_size=1).digest()
        said = Said.TRUSTED if self._is_unlimited(live, address) else Said.STRANGER
        return of_article + of_day[: CLAIM_NETWORK_BYTES - 1], said

    # Rules 1 and 2 -------------------------------------------------------------------------------------------------

    def visitor(
        self, live: LiveSite, day: Day, moment_ms: int, address: str, agent: bytes, visit_id: str, *, take: bool = True
    ) -> Visitor | None:
        """Return the visitor of a hit; None when a salt has to be fetched first. With `take` a new visit id counts for
        its network."""
        salt = live.salts.get(day.date)
        if salt is None:
            return None
        token, unique = counting.visitor_tokens(salt, live.site.id, address, agent, visit_id)
        parts, capped = (address, agent, visit_id), False
        if not self._cap.knows(token):
            parts = self._admitted(live, salt, moment_ms, parts, token, unique, take=take)
            if parts[2] != visit_id or parts[0] != address:
                token, unique = counting.visitor_tokens(salt, live.site.id, *parts)
                capped = True
        old_token = b""
        if moment_ms - day.start_ms < counting.VISIT_GAP_MS:
            old_salt = live.salts.get(day.yesterday)
            if old_salt is None:
                return None
            # The token that the visitor had yesterday (rule 2).
            old_token = counting.visitor_token(old_salt, live.site.id, *parts)
        return token, unique, old_token, capped

    def present(
        self, live: LiveSite, day: Day, moment_ms: int, address: str, agent: bytes, visit_id: str
    ) -> tuple[bytes, bytes] | None:
        """Return today's and yesterday's token of the visitor of a heartbeat; None when a salt has to be fetched
        first."""
        # A heartbeat never introduces a visitor, but this visitor may be one folded together by the network's cap.
        found = self.visitor(live, day, moment_ms, address, agent, visit_id, take=False)
        return None if found is None else (found[0], found[2])

    def _admitted(
        self, live: LiveSite, salt: Salted, moment_ms: int, parts: Parts, token: bytes, unique: bytes, *, take: bool
    ) -> Parts:
        """Return the parts of the token of a new visitor: as they are; without the visit id, when its address and agent
        have had too many of them; or only its network, when that has had too many visitors."""
        most = live.site.visitors_per_network
        address, agent, visit_id = parts
        if most == 0 or self._is_unlimited(live, address):
            return parts
        half_hour = moment_ms // counting.HALF_HOUR_MS
        if visit_id and not self._cap.has_room(unique, half_hour, most):
            token, parts = unique, (address, agent, "")
        name = network_name(address)
        network = counting.visitor_token(salt, live.site.id, name, b"", "")
        if self._cap.admits(token, unique, network, half_hour, most, take=take):
            return parts
        return name, b"", ""


def network_name(address: str) -> str:
    """Return the text that stands for the network of an address in tokens. No address is written like it."""
    return f"network {network_of(parse(address)).hex() or address}"


def agent_of(headers: Headers) -> bytes:
    """Return the part of the user agent that the rules look at."""
    return headers.get(b"user-agent", b"")[:LONGEST_AGENT]


def visit_id_of(headers: Headers, visit_id: str) -> str:
    """Return the visit id that counts: none for a reader who asks not to be followed (rule 1)."""
    return "" if headers.get(b"sec-gpc") == b"1" or headers.get(b"dnt") == b"1" else visit_id


def _archive(live: LiveSite, headers: Headers, webdriver: bool) -> Verdict:
    return Verdict("archived") if live.site.archived else PASSED


def _origin(live: LiveSite, headers: Headers, webdriver: bool) -> Verdict:
    origin = _origin_of(headers)
    if origin is None or origin.startswith((_REFERRED, _CROSS_SITE)):
        # A picture or an old browser sends no Origin: the page is known by its Referer, or not at all.
        if live.site.missing_origin == "refuse":
            return Verdict("origin")
        if origin is None:
            return PASSED
        if origin.startswith(_CROSS_SITE):
            host = b"http://" + origin.removeprefix(_CROSS_SITE)
            return Verdict("origin") if origin_allowed(live.site, host.decode("latin-1")) else PASSED
        origin = origin.removeprefix(_REFERRED)
    return PASSED if origin_allowed(live.site, origin.decode("latin-1")) else Verdict("origin")


def _webdriver(live: LiveSite, headers: Headers, webdriver: bool) -> Verdict:
    return Verdict("bot") if webdriver and not live.site.count_headless else PASSED


def _prefetch(live: LiveSite, headers: Headers, webdriver: bool) -> Verdict:
    return Verdict("prefetch") if is_prefetch(headers) else PASSED


def _origin_of(headers: Headers) -> bytes | None:
    return headers.get(b"origin") or _page_origin(headers)


def _page_origin(headers: Headers) -> bytes | None:
    """Return what is known of the page of a request without an Origin, marked as such: the origin of its Referer; the
    host of the request, when the browser says that the page is of another site; _NO_PAGE when it says that there is no
    page. None when nothing is known.

    No page can set fetch metadata (W3C). A reader who opens the address itself sees no page; and a cross-site request
    does not come from a page of the host to which it goes.
    """
    if headers.get(b"sec-fetch-mode") == b"navigate":
        return _NO_PAGE
    found = _REFERER.match(headers.get(b"referer", b""))
    if found:
        return _REFERRED + found[0]
    if headers.get(b"sec-fetch-site") == b"cross-site":
        return _CROSS_SITE + headers.get(b"host", b"")
    return None
