"""Readers' claims that differ from the entries of articles, for editors."""

from collections.abc import Callable
from typing import Annotated

import msgspec

from visitstats.reading.claims import MOST, Claimed, claims
from visitstats.store.reads import Reads
from visitstats.web.beacons.answers import Moment
from visitstats.web.table import Asked, Route


class ClaimsQuery(msgspec.Struct):
    """How many."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=MOST)] = 100


class ClaimsOfReaders(msgspec.Struct):
    """Readers' claims about articles, those of the most networks first."""

    site: str
    at: Moment
    claims: list[Claimed]


class ClaimRoutes:
    """The handler. `clock` gives the moment in milliseconds."""

    def __init__(self, reads: Reads, clock: Callable[[], int]) -> None:
        self._reads = reads
        self._clock = clock

    async def claims(self, asked: Asked[ClaimsQuery, None]) -> ClaimsOfReaders:
        """Answer readers' claims that differ from the entries of articles."""
        live, now = asked.live, self._clock()
        found = await claims(self._reads, live, now, asked.query.limit)
        return ClaimsOfReaders(live.site.id, live.calendar.iso(now), found)

    ROUTES = (
        Route("GET", "/v1/admin/sites/{site}/claims", claims, "What readers say of articles that they are not called",
              ClaimsOfReaders, scope="viewer", query=ClaimsQuery),
    )  # fmt: skip
