"""Records that people make: sites and access tokens; and the salts, which nobody makes twice."""

import secrets
from typing import Any

import msgspec
from redis.asyncio import Redis
from redis.exceptions import WatchError

from visitstats.core.errors import InvalidSite, NotFound, StoreUnavailable
from visitstats.core.hosts import Hosts
from visitstats.core.keys import KeyRules
from visitstats.core.periods import Day
from visitstats.core.schema import SCHEMA_NUMBER
from visitstats.core.sites import Site
from visitstats.patterns import linear_pattern
from visitstats.store import keys
from visitstats.store.changes import Changes
from visitstats.store.client import translated

_encode = msgspec.json.Encoder().encode
_decode_site = msgspec.json.Decoder(Site).decode


class AccessToken(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the bearer of a token may do. The token itself is not kept, only its SHA-256."""

    name: str
    scope: str
    site: str = ""
    """The only site it is good for; empty for all."""
    created: str = ""


_decode_token = msgspec.json.Decoder(AccessToken).decode


class Records:
    """Reads and writes the records. Every method may raise StoreUnavailable."""

    def __init__(self, client: Redis) -> None:
        self._client = client
        self.changes = Changes(client)
        """Merges of articles, and who made them."""

    # Sites ---------------------------------------------------------------------------------------------------------

    async def sites_version(self) -> bytes:
        """Return a value that is another after every change of a site."""
        with translated():
            version: Any = await self._client.get(keys.SITES_VERSION)
        return version or b""

    async def sites(self) -> dict[str, Site]:
        """Return all sites by their id."""
        with translated():
            found: dict[Any, Any] = await self._client.hgetall(keys.SITES)
        try:
            return {name.decode(): _decode_site(record) for name, record in found.items()}
        except (msgspec.DecodeError, InvalidSite, UnicodeDecodeError) as error:
            raise StoreUnavailable(f"a site record in the store is damaged: {error}") from error

    async def put_site(self, site: Site) -> None:
        """Make or replace a site. Raises InvalidSite for rewrite rules that cannot be applied, and for a host that
        belongs to another site, when one of the two wants its hosts for itself."""
        KeyRules(site, linear_pattern)
        with translated():
            while not await self._put_site(site):
                pass  # somebody else changed a site at the same moment: look again
            await self._client.set(keys.SITES_VERSION, _version())

    async def _put_site(self, site: Site) -> bool:
        async with self._client.pipeline() as pipe:
            await pipe.watch(keys.SITES)
            for other in (await self.sites()).values():
                if other.id == site.id or (site.shared_hosts and other.shared_hosts):
                    continue
                if shared := Hosts(site.hosts).common(Hosts(other.hosts)):
                    raise InvalidSite(f"site {site.id}: {shared} is a host of site {other.id} already")
            pipe.multi()  # type: ignore[no-untyped-call]
            pipe.set(keys.SCHEMA, SCHEMA_NUMBER, nx=True)  # whoever comes here was not refused (store.schema)
            pipe.hset(keys.SITES, site.id, _encode(site))
            try:
                await pipe.execute()
            except WatchError:
                return False
            return True

    async def remove_site(self, site_id: str) -> None:
        """Take a site off the list; its counts stay. Raises NotFound."""
        with translated():
            removed = await self._client.hdel(keys.SITES, site_id)
            await self._client.set(keys.SITES_VERSION, _version())
        if not removed:
            raise NotFound(f"there is no site {site_id!r}")

    # Articles ------------------------------------------------------------------------------------------------------

    async def registered(self, site_id: str, articles: list[bytes]) -> list[bool]:
        """Say which of these articles (ids) a site has."""
        members: Any = articles
        with translated():
            found = await self._client.hmget(keys.articles(site_id), members)
        return [views is not None for views in found]

    # Salts ---------------------------------------------------------------------------------------------------------

    async def salt(self, site_id: str, day: Day, proposal: bytes) -> bytes:
        """Return the salt of a site-day, which is `proposal` when there was none yet (rule 2)."""
        key = keys.salt(site_id, day.date, day.end_ms)
        with translated():
            await self._client.set(key.name, proposal, nx=True, exat=key.expires_at)
            salt: Any = await self._client.get(key.name)
        if not isinstance(salt, bytes):
            raise StoreUnavailable(f"the salt of {day.date} is past its life of 48 hours")
        return salt

    # Access tokens -------------------------------------------------------------------------------------------------

    async def put_token(self, digest: str, token: AccessToken) -> None:
        """Keep a token by the SHA-256 (hex) of its text."""
        with translated():
            await self._client.hset(keys.TOKENS, digest, _encode(token))

    async def token(self, digest: str) -> AccessToken | None:
        """Return what the token with this SHA-256 (hex) may do, or None."""
        with translated():
            record = await self._client.hget(keys.TOKENS, digest)
        return None if record is None else _decode_token(record)

    async def tokens(self) -> dict[str, AccessToken]:
        """Return all tokens by their SHA-256 (hex)."""
        with translated():
            found: dict[Any, Any] = await self._client.hgetall(keys.TOKENS)
        return {digest.decode(): _decode_token(record) for digest, record in found.items()}

    async def remove_token(self, digest: str) -> None:
        """Revoke a token at once."""
        with translated():
            await self._client.hdel(keys.TOKENS, digest)


def _version() -> str:
    # Not a counter: a store that came back older would give a second change the number of a lost one.
    return secrets.token_hex(8)
