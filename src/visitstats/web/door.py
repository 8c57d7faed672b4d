"""The door to all routes that need an access token: it lets requests in, makes networks wait, and notes refusals.

A network that tries too many wrong tokens is answered 429, by all workers of the machine, for the rest of the minute
(`core.limits.TokenTries`). A right token is let in at any time, also from a braked network, so that nobody can be
locked out by the requests of others.
"""

from collections.abc import Callable

from starlette.requests import Request

from visitstats.access import Access, Refusals
from visitstats.core.errors import Denied
from visitstats.core.limits import MINUTE_MS, TokenTries
from visitstats.sites.directory import SiteDirectory
from visitstats.store.records import AccessToken
from visitstats.store.refusals import Refusal
from visitstats.system.networks import network_of, parse, written
from visitstats.web.beacons.address import ClientAddress, headers_of
from visitstats.web.beacons.edge import peer_of
from visitstats.web.table import Route


class TooManyTries(Denied):
    """A network tried too many wrong tokens; it may try again in so many seconds."""

    def __init__(self, seconds: int) -> None:
        super().__init__(
            f"too many wrong access tokens from your network; wait {seconds} seconds", status=429, reason="tries"
        )
        self.seconds = seconds


class Door:
    """Lets requests in. `clock` gives the moment in milliseconds."""

    def __init__(
        self,
        access: Access,
        sites: SiteDirectory,
        addresses: ClientAddress,
        tries: TokenTries,
        refusals: Refusals,
        clock: Callable[[], int],
    ) -> None:
        self._access = access
        self._sites = sites
        self._addresses = addresses
        self._tries = tries
        self._refusals = refusals
        self._clock = clock

    async def let_in(self, route: Route, request: Request) -> AccessToken:
        """Return the token of a request to a route that needs one. Raises Denied, which is noted."""
        address, network = self._addresses.of(peer_of(request.scope), headers_of(request.scope["headers"]))
        site = request.path_params.get("site", "")
        try:
            if not route.any_origin:
                _check_origin(request)
            return await self._bearer(route, request, network, site)
        except Denied as denied:
            self._refusals.note(
                Refusal(
                    denied.status, denied.reason, denied.who, network_shown(address), f"{route.method} {route.path}",
                    # Names that strangers make up would fill the rows.
                    site if denied.who and self._sites.get(site) is not None else "",
                )
            )  # fmt: skip
            raise

    async def _bearer(self, route: Route, request: Request, network: int, site: str) -> AccessToken:
        now_ms = self._clock()
        braked = self._tries.spent(network, now_ms)
        try:
            authorization = request.headers.get("authorization", "")
            wanted = None if route.own_sites else site
            return await self._access.bearer(authorization, route.scope, wanted, braked=braked)
        except Denied as denied:
            if denied.reason != "unknown-token":
                raise
            if braked:
                raise TooManyTries(60 - now_ms % MINUTE_MS // 1000) from denied
            self._tries.note(network, now_ms)
            raise


def network_shown(address: str) -> str:
    """Write the network of an address: 203.0.113.0/24, 2001:db8:1::/48; "local" for a unix socket."""
    packed = parse(address)
    if packed is None:
        return "local"
    network = network_of(packed)
    return f"{written(network.ljust(len(packed), bytes(1)))}/{len(network) * 8}"


def _check_origin(request: Request) -> None:
    """Refuse requests from pages of other sites (hostile-inputs row 27)."""
    site = request.headers.get("sec-fetch-site", "none")
    origin = request.headers.get("origin")
    host = request.headers.get("host", "")
    if site in ("cross-site", "same-site") or (origin is not None and origin.partition("://")[2] != host):
        raise Denied("this is not for pages of other sites", status=403, reason="origin")
