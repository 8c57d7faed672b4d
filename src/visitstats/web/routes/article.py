"""One article for editors: its facts and how far they can be trusted, its other addresses, and readers' claims."""

from collections.abc import Callable
from typing import Annotated

import msgspec
from msgspec import Meta

from visitstats.core.entries import FACTS
from visitstats.core.errors import HitRejected, NoSuchArticle
from visitstats.core.growth import CLAIM_DAYS
from visitstats.core.keys import article_id
from visitstats.sites.directory import LiveSite
from visitstats.store.changes import Changes
from visitstats.store.reads import Reads
from visitstats.web.beacons.answers import Moment
from visitstats.web.table import Asked, Route

MOST_ALIASES = 100
"""How many claims are shown of one article."""


class ArticleQuery(msgspec.Struct):
    """Which article."""

    key: Annotated[str, Meta(description="its key, one that was merged into it, or its address")]


class Fact(msgspec.Struct):
    """What an article is called, and by whom."""

    value: str
    standing: Annotated[str, Meta(description="none, provisional, agreed, imported, signed, editor")]


class ClaimOfReaders(msgspec.Struct):
    """What some readers say instead."""

    fact: str
    value: str
    networks: int
    day: str


class Article(msgspec.Struct):
    """An article."""

    site: str
    key: str
    at: Moment
    total: int
    """Views of all time, the baseline among them."""
    baseline: int
    hidden: bool
    type: str
    facts: dict[str, Fact]
    """Title, url, author, category, published."""
    aliases: list[str]
    """Keys that were merged into it; at most 100."""
    aliases_in_all: int
    claims: list[ClaimOfReaders]


class OneArticle:
    """The handler. `clock` gives the moment in milliseconds."""

    def __init__(self, reads: Reads, changes: Changes, clock: Callable[[], int]) -> None:
        self._reads = reads
        self._changes = changes
        self._clock = clock

    async def article(self, asked: Asked[ArticleQuery, None]) -> Article:
        """Answer what is known of an article. Raises NoSuchArticle."""
        live, site, now = asked.live, asked.live.site.id, self._clock()
        key = _key(live, asked.query.key)
        number = article_id(key)
        if not key or not await self._reads.has_article(site, number):
            raise NoSuchArticle(f"{asked.query.key[:200]!r} was never counted")
        [entry] = await self._reads.entries(site, [number])
        [total] = await self._reads.views_of(site, [number], [])
        aliases = await self._aliases(live, key)
        facts = {name: Fact(getattr(entry, name), entry.standing(name).name.lower()) for name in FACTS}
        if not facts["url"].value:
            facts["url"].value = f"https://{live.site.hosts[0]}{key}" if key.startswith("/") else ""
        return Article(
            site, key, live.calendar.iso(now), total, await self._reads.baseline_of(site, number), entry.hidden,
            entry.type, facts, aliases[:MOST_ALIASES], len(aliases), await self._claims(live, number, now),
        )  # fmt: skip

    async def _aliases(self, live: LiveSite, key: str) -> list[str]:
        numbers = [number for number, target in live.aliases.items() if target == key]
        entries = await self._reads.entries(live.site.id, numbers)
        found = {number: entry.key for number, entry in zip(numbers, entries, strict=True) if entry.key}
        if any(article_id(found.get(number, "")) != number for number in numbers):
            # An alias that was never counted has no entry: its key is in the change that made it.
            for logged in await self._changes.all(live.site.id):
                found[article_id(logged.change.source)] = logged.change.source
        return sorted(found[number] for number in numbers if number in found)

    async def _claims(self, live: LiveSite, number: bytes, now_ms: int) -> list[ClaimOfReaders]:
        day, found = live.calendar.day_at(now_ms), list[ClaimOfReaders]()
        for _ in range(CLAIM_DAYS):
            claims = await self._reads.claims_of(live.site.id, day.date, number)
            found += [ClaimOfReaders(each.fact, each.value, each.voices, day.date) for each in claims if each.value]
            day = live.calendar.day_named(day.yesterday)
        return found

    ROUTES = (
        Route("GET", "/v1/admin/sites/{site}/article", article, "What is known of one article", Article,
              scope="viewer", query=ArticleQuery),
    )  # fmt: skip


def _key(live: LiveSite, named: str) -> str:
    try:
        return live.key_rules.resolve(live.key_rules.named(named))
    except HitRejected:
        return ""
