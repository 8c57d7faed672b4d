"""Explains why a beacon is counted or not: each rule of counting with its outcome, without counting anything.

The rules before the journal are the steps that a hit itself meets (`web/beacons/rules.py`), asked without taking
anything. The decisions of the commit script are predicted from the state on which it would base them. A hit stops at
the first rule that refuses it; here the others are asked as well, and the first refusal is the reason.
"""

from collections.abc import Awaitable, Callable

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
from visitstats.web.beacons.rules import OTHER, STEPS, Article, Articles, Case, Place, Rules, told_apart
from visitstats.web.beacons.senders import Senders

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


class Instead(Exception):
    """Raised in place of a rule's own answer, where the rule cannot be asked here."""

    def __init__(self, outcome: str, note: str = "") -> None:
        super().__init__(note)
        self.outcome = outcome
        self.note = note


class Explanation:
    """Explains beacons of a site at a moment. Without the memory of a counting worker, the rates of networks and the
    new articles of the minute are not known."""

    takes = False

    def __init__(
        self, senders: Senders, reads: Reads, live: LiveSite, now_ms: int, memory: Known | None = None
    ) -> None:
        self._reads = reads
        self._live = live
        self._now = now_ms
        self._memory = memory
        self._rules = Rules(Articles(), senders, self)
        self._presence: Presence | None = None
        self._starts: bool | None = None
        self._capped = False
        self._new_view: bool | None = None

    async def of(self, headers: Headers, peer: str, beacon: HitBeacon) -> Explained:
        """Explain a beacon that came with these headers from this peer. Raises StoreUnavailable."""
        case = Case(headers, peer, self._live, beacon, self._now)
        keys = self._live.key_rules.explain(beacon.url, explicit=beacon.explicit_key, canonical=beacon.canonical)
        steps = [Step("beacon", PASSED)]
        steps += [await self._step(name, ask(self._rules, case)) for name, ask in STEPS]
        steps += [await self._step(name, ask(self, case)) for name, ask in SCRIPT_STEPS]
        reason = next((step.reason for step in steps if step.outcome == REFUSED), "")
        key = OTHER_KEY if self._capped else case.article.key if case.article else None
        return Explained(not reason, reason, key, self._starts, self._new_view, tuple(steps), keys.steps)

    async def _step(self, name: str, asking: Awaitable[str]) -> Step:
        try:
            note = await asking
            if self._memory is None and name == "rate":
                return Step(name, UNKNOWN, "", "the workers have the memory of it; ask the service")
            return Step(name, PASSED, "", note)
        except HitRejected as refused:
            return Step(name, REFUSED, refused.reason, refused.note or refused.detail)
        except Instead as instead:
            return Step(name, instead.outcome, "", instead.note)

    # How the rules learn what a hit would have to wait for (`rules.Ways`) ---------------------------------------------

    async def place(self, case: Case, article: Article) -> Place:
        """Look whether the site has an article, and else whether a place is left."""
        site = self._live.site
        if case.article is None:
            raise Instead(UNKNOWN)
        if await self._reads.has_article(site.id, article.id):
            return "known"
        if self._memory is None:
            note = f"it is new; each worker lets in {site.new_articles_per_minute} in a minute: ask the service"
            raise Instead(UNKNOWN, note)
        sent = self._memory.has(site.id, article.id)
        places = site.new_articles_per_minute
        return "room" if sent or self._memory.newcomers.room(site.id, article.id, self._now, places) else "none"

    async def fetch_salts(self, case: Case) -> None:
        """Read the salts, and make none."""
        live, day = self._live, case.day
        missing = [each for each in (day, live.calendar.day_named(day.yesterday)) if each.date not in live.salts]
        for each in missing:
            if salt := await self._reads.salt(live.site.id, each):
                live.salts[each.date] = counting.salted(salt)
        if day.date not in live.salts:
            raise Instead(PASSED, f"{told_apart(case)}; the first of the day")
        if missing and missing[-1].date not in live.salts:
            raise Instead(UNKNOWN, "the salt of the day before is not known here")

    # Decisions of the commit script -----------------------------------------------------------------------------------

    async def duplicate(self, case: Case) -> str:
        """Rule 5: the same hit id counts once."""
        if not case.beacon.hit_id:
            return "the beacon has no hit id by which it would be known again"
        if await self._reads.was_delivered(self._live.site.id, self._now, hit_id_digest(case.beacon.hit_id)):
            raise HitRejected("duplicate", "this hit id was delivered before")
        return "this hit id is new"

    async def visit(self, case: Case) -> str:
        """Rule 3."""
        day, now, visitor = case.day, self._now, case.visitor
        if visitor is None and day.date in self._live.salts:
            raise Instead(UNKNOWN)
        before = await self._reads.presence(self._live.site.id, day, visitor[0]) if visitor else None
        if before is None:
            self._presence, self._starts = Presence(now, counting.half_hour_of(day, now)), True
            return "it starts one: the visitor was not here yet today"
        self._presence, self._starts = before.hit(day, now)
        seen = f"the visitor was seen {max(0, now - before.last_ms) // 1000} s ago"
        return f"it starts one: {seen}" if self._starts else f"it goes on with one: {seen}"

    async def articles(self, case: Case) -> str:
        """The site has so many articles at most; others are counted as "(other)"."""
        site, article = self._live.site, case.article
        if article is None:
            raise Instead(UNKNOWN)
        if article is OTHER or await self._reads.has_article(site.id, article.id):
            return ""
        many = await self._reads.article_count(site.id)
        if many < site.max_articles:
            return f"the site has {many} articles, of {site.max_articles} at most"
        self._capped = True
        return f"counted for {OTHER_KEY}: the site has {many} articles, of {site.max_articles}"

    async def view(self, case: Case) -> str:
        """Rule 5."""
        if self._live.site.views == "every-load":
            self._new_view = True
            return "every load counts"
        article, visitor, presence = case.article, case.visitor, self._presence
        if presence is None or article is None:
            raise Instead(UNKNOWN)
        read = visitor is not None and presence.has_read(counting.reading(visitor[0], article.id))
        self._new_view = not read
        return "the article was read in this visit before" if read else "the first in this visit"


SCRIPT_STEPS: tuple[tuple[str, Callable[[Explanation, Case], Awaitable[str]]], ...] = (
    ("duplicate", Explanation.duplicate),
    ("visit", Explanation.visit),
    ("articles", Explanation.articles),
    ("view", Explanation.view),
)
"""What the commit script decides, in its order."""
RULES = ("beacon", *(name for name, _ in (*STEPS, *SCRIPT_STEPS)))
"""The names of all steps of an explanation."""
