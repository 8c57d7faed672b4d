"""The routes with which administrators of all sites make, list and revoke access tokens, and read the refusals."""

from datetime import UTC, datetime
from typing import Annotated

import msgspec

from visitstats.access import MOST_DAYS, YEAR_DAYS, Access, Refusals
from visitstats.core.errors import NoSuchSite
from visitstats.sites.directory import SiteDirectory
from visitstats.store.records import AccessToken
from visitstats.store.refusals import DAYS
from visitstats.web.beacons.answers import Moment
from visitstats.web.table import Asked, Reply, Route


class TokenOrder(msgspec.Struct, forbid_unknown_fields=True):
    """The body that makes a token: no `sites` are all of them; 0 `days` are for ever."""

    name: str
    scope: str
    sites: list[str] = []
    days: Annotated[int, msgspec.Meta(ge=0, le=MOST_DAYS)] = YEAR_DAYS


class ShownToken(msgspec.Struct):
    """A token, without its text. An empty list of sites is all of them; `used` is exact to the hour."""

    id: str
    name: str
    scope: str
    sites: list[str]
    created: str
    by: str
    used: Moment | None
    expires: Moment | None


class NewToken(ShownToken):
    """A token with its text, which is shown this once."""

    token: str = ""


class TokenList(msgspec.Struct):
    """All tokens by name, and the ids of records that are damaged."""

    tokens: list[ShownToken]
    damaged: list[str]


class Revoked(msgspec.Struct):
    """The token that was revoked."""

    id: str


class RefusalsQuery(msgspec.Struct):
    """How many days are shown, with today (UTC)."""

    days: Annotated[int, msgspec.Meta(ge=1, le=DAYS)] = 7


class ShownRefusal(msgspec.Struct):
    """What was refused to whom, how often, and when it was for the last time."""

    status: int
    reason: str
    who: str
    network: str
    route: str
    site: str
    times: int
    last: Moment


class RefusalList(msgspec.Struct):
    """What was refused, the latest first."""

    days: int
    refusals: list[ShownRefusal]


class TokenRoutes:
    """The handlers."""

    def __init__(self, access: Access, refusals: Refusals, sites: SiteDirectory) -> None:
        self._access = access
        self._refusals = refusals
        self._sites = sites

    async def list(self, asked: Asked[None, None]) -> TokenList:
        """Answer all tokens."""
        await self._access.remember()
        found = await self._access.all()
        shown = [ShownToken(*_fields(each.id, each.token, each.used)) for each in found.tokens]
        return TokenList(shown, found.damaged)

    async def make(self, asked: Asked[None, TokenOrder]) -> Reply:
        """Make a token, and answer its text once."""
        order = asked.body
        for site in order.sites:
            if self._sites.get(site) is None and await self._sites.find(site) is None:
                raise NoSuchSite(f"there is no site {site!r}")
        made = await self._access.add(order.name, order.scope, order.sites, days=order.days, by=asked.token.name)
        return Reply(NewToken(*_fields(made.id, made.token, ""), made.text), 201)

    async def revoke(self, asked: Asked[None, None]) -> Revoked:
        """Revoke a token."""
        named = asked.request.path_params["token"]
        await self._access.revoke(named)
        return Revoked(named)

    async def refusals(self, asked: Asked[RefusalsQuery, None]) -> RefusalList:
        """Answer what was refused."""
        days = asked.query.days
        rows = [ShownRefusal(*row.refusal, row.times, _moment(row.last_ms)) for row in await self._refusals.last(days)]
        return RefusalList(days, rows)

    ROUTES = (
        Route("GET", "/v1/admin/tokens", list, "All access tokens, without their texts", TokenList, scope="admin"),
        Route("POST", "/v1/admin/tokens", make, "Make an access token", NewToken, scope="admin", body=TokenOrder,
              statuses=(201,)),
        Route("DELETE", "/v1/admin/tokens/{token}", revoke, "Make an access token useless", Revoked, scope="admin"),
        Route("GET", "/v1/admin/refusals", refusals, "What was refused to whom, and how often", RefusalList,
              scope="admin", query=RefusalsQuery),
    )  # fmt: skip


def _fields(
    token_id: str, token: AccessToken, used: str
) -> tuple[str, str, str, list[str], str, str, str | None, str | None]:
    sites = [*token.sites]
    return token_id, token.name, token.scope, sites, token.created, token.by, used or None, token.expires or None


def _moment(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms // 1000, UTC).isoformat()
