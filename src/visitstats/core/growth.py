"""What strangers can make a site's store grow to: each collection with its limit, and the bytes at that limit.

`docs/security.md` shows this table for the default site, `visitstats doctor` adds it up for the sites that there are.
Bytes are what Valkey and Redis take for one item, measured in `tests/store/test_keys.py` and rounded up.
"""

from typing import NamedTuple

from visitstats.core import entries, limits
from visitstats.core.sites import Site

PRESENCE_BYTES = 60
READING_BYTES = 8
HIT_ID_BYTES = 40
COUNT_BYTES = 48
"""An article's views, of all time or of a day."""
ENTRY_BYTES = 1024
CLAIM_BYTES = 1200
PLACE_BYTES = 64
PRUNED_BYTES = 64
"""A page that gave its place back; its entry comes on top."""
DAYS = 2
"""Days of which the sets that decide are in the store: they live until 25 hours after their day."""
CLAIM_DAYS = 9


class Collection(NamedTuple):
    """A collection of a site's store, at its limit."""

    name: str
    most: int
    """The most items at one moment."""
    bytes: int
    """What all of these items take."""


def collections(site: Site) -> list[Collection]:
    """Return what strangers can make a site's store grow to. Its history, and what editors add, are not in it."""
    visitors, articles = DAYS * site.max_visitors, site.max_articles + 1
    readings, ids = limits.READINGS_A_VISITOR * visitors, limits.IDS_A_VISITOR * visitors
    claimed, places = CLAIM_DAYS * entries.MOST_CLAIMED, DAYS * (limits.MOST_PLACES + limits.PLACES_AN_HOUR)
    return [
        Collection("visitors", visitors, visitors * PRESENCE_BYTES),
        Collection("readings", readings, readings * READING_BYTES),
        Collection("hit ids", ids, ids * HIT_ID_BYTES),
        Collection("articles", articles, articles * (COUNT_BYTES + ENTRY_BYTES)),
        Collection("views of a day", DAYS * articles, DAYS * articles * COUNT_BYTES),
        Collection("pages given back", articles, articles * (PRUNED_BYTES + ENTRY_BYTES)),
        Collection("claims", claimed, claimed * CLAIM_BYTES),
        Collection("places", places, places * PLACE_BYTES),
    ]


def most_bytes(site: Site) -> int:
    """Return the bytes of all collections of a site at their limits."""
    return sum(each.bytes for each in collections(site))
