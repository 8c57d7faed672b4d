"""Claims: names that readers' pages send for an article and that differ from its current ones. A claim is either an
attempted defacement or a real renaming; an editor tells them apart by the number of networks (docs/security.md)."""

from heapq import nlargest
from typing import Annotated

import msgspec

from visitstats.core.entries import FACTS, MOST_VOICES, Claim
from visitstats.core.growth import CLAIM_DAYS
from visitstats.sites.directory import LiveSite
from visitstats.store.reads import Reads

MOST = 500


class Claimed(msgspec.Struct):
    """A claim, and what the article is called meanwhile."""

    key: str
    fact: Annotated[str, msgspec.Meta(description=", ".join(FACTS))]
    says: Annotated[str, msgspec.Meta(description="what the article is called now; of the address empty for its key's")]
    standing: Annotated[str, msgspec.Meta(description="of that: provisional, agreed, imported, signed, editor")]
    claimed: Annotated[str, msgspec.Meta(description="what readers say; of the address = for its key's")]
    networks: Annotated[int, msgspec.Meta(description=f"networks that say so; {MOST_VOICES} stands for more")]
    day: str


async def claims(reads: Reads, live: LiveSite, now_ms: int, limit: int = MOST) -> list[Claimed]:
    """Return the claims of the last days, those from the most networks first, the newest first among equals. Raises
    StoreUnavailable."""
    day, found = live.calendar.day_at(now_ms), list[tuple[int, str, bytes, Claim]]()
    for _ in range(CLAIM_DAYS):
        async for article, kept in reads.claims(live.site.id, day.date):
            found += [(each.voices, day.date, article, each) for each in kept if each.value]
            if len(found) > 4 * MOST:
                found = nlargest(MOST, found, key=lambda each: each[:3])
        day = live.calendar.day_named(day.yesterday)
    found = nlargest(min(limit, MOST), found, key=lambda each: each[:3])
    entries = await reads.entries(live.site.id, [article for _, _, article, _ in found])
    return [
        Claimed(
            entry.key, claim.fact, getattr(entry, claim.fact), entry.standing(claim.fact).name.lower(), claim.value,
            voices, date,
        )
        for (voices, date, _, claim), entry in zip(found, entries, strict=True)
    ]  # fmt: skip
