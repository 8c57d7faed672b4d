"""Why a beacon is counted, or why not: each rule of counting with its outcome, and nothing is counted.

The rules are asked in the order in which a hit meets them, through the same functions (`article_of`, `Senders`,
`core.counting.Presence`); what the store decides about a hit is read from what it would be decided by. A hit stops at
the first rule that refuses it; here the others are asked as well, and the first refusal is the reason.
"""

import msgspec

from visitstats.core import counting
from visitstats.core.batch import OTHER_KEY, hit_id_digest
from visitstats.core.beacon import HitBeacon
from visitstats.core.counting import Presence
from visitstats.core.errors import HitRejected
from visitstats.core.keys import Step as KeyStep
from visitstats.ingest.known import Known
from visitstats.sites.directory import LiveSite
from visitstats.store.reads import Reads
from visitstats.web.beacons.address import Headers
from visitstats.web.beacons.hits import OTHER, Article, article_of
from visitstats.web.beacons.senders import SaltMissing, Senders, Visitor, agent_of, visit_id_of

PASSED, REFUSED, UNKNOWN = "passed", "refused", "unknown"


class Step(msgspec.Struct, frozen=True):
    """What one rule says of a beacon: "passed", "refused" with the reason, or "unknown"."""

    rule: str
    outcome: str
    reason: str = ""
    note: str = ""


class Explained(msgspec.Struct, frozen=True):
    """What would become of a beacon now. A number or a fact that cannot be known is None."""

    counted: bool
    reason: str
    """Why it would not be counted, as in `counting.IGNORED_REASONS`; "" when it would."""
    key: str | None
    starts_visit: bool | None
    new_view: bool | None
    steps: tuple[Step, ...]
    key_steps: tuple[KeyStep, ...]
    """How the page's address became the article's key (`core.keys`)."""


def malformed(refused: HitRejected) -> Explained:
    """Explain a body that is no beacon."""
    step = Step("beacon", REFUSED, refused.reason, refused.detail)
    return Explained(False, refused.reason, None, None, None, (step,), ())


class Explanation:
    """Explains beacons of a site at a moment. Without the memory of a worker that counts it is not known what
    networks have sent, and which articles were new."""

    def __init__(
        self, senders: Senders, reads: Reads, live: LiveSite, now_ms: int, memory: Known | None = None
    ) -> None:
        self._senders = senders
        self._reads = reads
        self._live = live
        self._now = now_ms
        self._day = live.calendar.day_at(now_ms)
        self._memory = memory
        self._steps: list[Step] = []

    async def of(self, headers: Headers, peer: str, beacon: HitBeacon) -> Explained:
        """Explain a beacon that came with these headers from this peer. Raises StoreUnavailable."""
        live = self._live
        self._steps = [Step("beacon", PASSED)]
        explained = live.key_rules.explain(beacon.url, explicit=beacon.explicit_key, canonical=beacon.canonical)
        article = self._article(beacon)
        for rule, verdict in self._senders.verdicts(live, headers, beacon.webdriver):
            self._add(rule, verdict.reason, verdict.note)
        known = article is not None and await self._reads.has_article(live.site.id, article.id)
        article = self._newcomer(article, known)
        address, network = self._senders.addresses.of(peer, headers)
        self._excluded(address)
        visitor = await self._visitor(address, headers, beacon)
        self._rate(address, network)
        await self._duplicate(beacon)
        presence, starts = await self._visit(visitor)
        capped = await self._is_capped(article, known)
        new_view = self._view(visitor, presence, article)
        reason = next((step.reason for step in self._steps if step.outcome == REFUSED), "")
        key = OTHER_KEY if capped else article.key if article else None
        return Explained(not reason, reason, key, starts, new_view, tuple(self._steps), explained.steps)

    # Each rule, in the order of `Hits.take` and of the scripts -------------------------------------------------------

    def _article(self, beacon: HitBeacon) -> Article | None:
        try:
            article = article_of(self._live, beacon)
        except HitRejected as refused:
            self._add("page", refused.reason, refused.detail)
            return None
        self._add("page", "", f"its article is {article.key}")
        return article

    def _newcomer(self, article: Article | None, known: bool) -> Article | None:
        """The article for which it would be counted: "(other)" when the minute has no place left for a new one."""
        site, memory = self._live.site, self._memory
        if article is None:
            self._add("new article", None)
        elif known:
            self._add("new article", "", "the site has this article")
        elif memory is None:
            note = f"it is new; each worker lets in {site.new_articles_per_minute} in a minute: ask the service"
            self._add("new article", None, note)
        elif memory.entries.get((site.id, article.id)) is not None or memory.newcomers.room(
            site.id, article.id, self._now, site.new_articles_per_minute
        ):
            self._add("new article", "", "it is new, and there is a place for it in this minute")
        else:
            note = f"counted for {OTHER_KEY}: this minute has had {site.new_articles_per_minute} new articles"
            self._add("new article", "", note)
            return OTHER
        return article

    async def _is_capped(self, article: Article | None, known: bool) -> bool:
        """Whether the site has so many articles that this one is counted as "(other)"."""
        site = self._live.site
        if article is None:
            self._add("articles", None)
        elif known or article is OTHER:
            self._add("articles", "")
        elif (many := await self._reads.article_count(site.id)) >= site.max_articles:
            self._add("articles", "", f"counted for {OTHER_KEY}: the site has {many} articles, of {site.max_articles}")
            return True
        else:
            self._add("articles", "", f"the site has {many} articles, of {site.max_articles} at most")
        return article is OTHER

    def _excluded(self, address: str) -> None:
        try:
            self._senders.check_network(self._live, address)
        except HitRejected as refused:
            self._add("network", refused.reason, refused.detail)
        else:
            self._add("network", "")

    def _rate(self, address: str, network: int) -> None:
        if self._memory is None:
            self._add("rate", None, "each worker has its own memory of it; ask the service")
            return
        try:
            if not self._senders.allows(network, self._now, False):
                self._senders.refuse_rate(self._live, address)
        except HitRejected as refused:
            self._add("rate", refused.reason, "its network has sent more than network_hits_per_second allows")
        else:
            self._add("rate", "")

    async def _visitor(self, address: str, headers: Headers, beacon: HitBeacon) -> Visitor | None:
        live, day, now, visit_id = self._live, self._day, self._now, visit_id_of(headers, beacon.visit_id)
        for each in (day, live.calendar.day_named(day.yesterday)):
            if each.date not in live.salts and (salt := await self._reads.salt(live.site.id, each)):
                live.salts[each.date] = counting.salted(salt)
        if day.date not in live.salts:
            self._add("visitor", "", f"{_told_apart(beacon, visit_id)}; the first of the day")
            return None
        try:
            visitor = self._senders.visitor(live, day, now, address, agent_of(headers), visit_id, take=False)
        except SaltMissing:
            self._add("visitor", None, "the salt of the day before is not known here")
            return None
        *_, capped = visitor
        most = live.site.visitors_per_network
        many = f"not told apart: its network has had {most} in this half hour, or its browser too many visit ids"
        self._add("visitor", "", many if capped else _told_apart(beacon, visit_id))
        return visitor

    async def _duplicate(self, beacon: HitBeacon) -> None:
        if not beacon.hit_id:
            self._add("duplicate", "", "the beacon has no hit id by which it would be known again")
        elif await self._reads.was_delivered(self._live.site.id, self._now, hit_id_digest(beacon.hit_id)):
            self._add("duplicate", "duplicate", "this hit id was delivered before")
        else:
            self._add("duplicate", "", "this hit id is new")

    async def _visit(self, visitor: Visitor | None) -> tuple[Presence | None, bool | None]:
        day, now = self._day, self._now
        first = day.date not in self._live.salts
        if visitor is None and not first:
            self._add("visit", None)
            return None, None
        before = await self._reads.presence(self._live.site.id, day, visitor[0]) if visitor else None
        if before is None:
            self._add("visit", "", "it starts one: the visitor was not here yet today")
            return Presence(now, counting.half_hour_of(day, now)), True
        after, starts = before.hit(day, now)
        seen = f"the visitor was seen {max(0, now - before.last_ms) // 1000} s ago"
        self._add("visit", "", f"it starts one: {seen}" if starts else f"it goes on with one: {seen}")
        return after, starts

    def _view(self, visitor: Visitor | None, presence: Presence | None, article: Article | None) -> bool | None:
        if self._live.site.views == "every-load":
            self._add("view", "", "every load counts")
            return True
        if presence is None or article is None:
            self._add("view", None)
            return None
        read = visitor is not None and presence.has_read(counting.reading(visitor[0], article.id))
        self._add("view", "", "the article was read in this visit before" if read else "the first in this visit")
        return not read

    def _add(self, rule: str, reason: str | None, note: str = "") -> None:
        """Add a step: refused for a reason, passed ("") or unknown (None)."""
        outcome = UNKNOWN if reason is None else REFUSED if reason else PASSED
        self._steps.append(Step(rule, outcome, reason or "", note))


def _told_apart(beacon: HitBeacon, visit_id: str) -> str:
    if visit_id:
        return "with the visit id"
    if beacon.visit_id:
        return "without the visit id: the reader asks not to be followed (GPC or DNT)"
    return "by address and agent alone: the beacon has no visit id"
