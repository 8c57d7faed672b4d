"""The records that people make (sites and access tokens), and the salts, each of which is made only once."""

import logging
import secrets
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
from redis.asyncio import Redis
from redis.exceptions import WatchError

from visitstats.core.errors import InvalidSite, NotFound, StoreUnavailable
from visitstats.core.hosts import Hosts
from visitstats.core.keys import KeyRules
from visitstats.core.periods import Day
from visitstats.core.schema import SCHEMA_NUMBER
from visitstats.core.sites import Site
from visitstats.store import keys
from visitstats.store.changes import Changes
from visitstats.store.client import translated
from visitstats.store.removals import Removals, Removed, decode_removed, encode_removed
from visitstats.system.patterns import linear_pattern

log = logging.getLogger(__name__)

_encode = msgspec.json.Encoder().encode
_decode_site = msgspec.json.Decoder(Site).decode


class AccessToken(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the bearer of a token may do. Only the SHA-256 of the token itself is kept."""

    name: str
    scope: str
    site: str = ""
    """The first of the sites for which it is valid; empty for all."""
    more: tuple[str, ...] = ()
    """Its further sites. A version of this program that knows only `site` lets it read too little, and not too much."""
    created: str = ""
    by: str = ""
    """The name of the token with which it was made; empty when it was made on the command line."""
    expires: str = ""
    """The moment at which it stops being valid; empty for never."""

    def __post_init__(self) -> None:
        if self.expires and datetime.fromisoformat(self.expires).tzinfo is None:
            raise ValueError("the end of a token is no moment")

    @property
    def sites(self) -> tuple[str, ...]:
        """The sites for which it is valid; empty for all."""
        return (self.site, *self.more) if self.site else ()


class Tokens(NamedTuple):
    """The access tokens of an installation."""

    good: dict[str, AccessToken]
    """By their SHA-256 (hex)."""
    damaged: tuple[str, ...] = ()
    """The SHA-256 of the tokens whose records cannot be read. They let nobody in."""


_decode_token = msgspec.json.Decoder(AccessToken).decode


class Sites(NamedTuple):
    """The sites that there are, by their ids, and the names of records that cannot be read."""

    sites: dict[str, Site]
    damaged: frozenset[str]


class Records:
    """Reads and writes the records. Every method may raise StoreUnavailable."""

    def __init__(self, client: Redis) -> None:
        self._client = client
        self._damaged: frozenset[str] = frozenset()
        self.changes = Changes(client)
        """Merges of articles, and who made them."""
        self.removals = Removals(client)
        """Sites that were removed."""

    # Sites ---------------------------------------------------------------------------------------------------------

    async def sites_version(self) -> bytes:
        """Return a value that differs after every change of a site."""
        with translated():
            version: Any = await self._client.get(keys.SITES_VERSION)
        return version or b""

    async def sites(self) -> dict[str, Site]:
        """Return all sites by their id, without those whose records are damaged."""
        return (await self.listing()).sites

    async def listing(self) -> Sites:
        """Return all sites. A damaged record is logged once, and does not affect the others."""
        with translated():
            found: dict[Any, Any] = await self._client.hgetall(keys.SITES)
        sites: dict[str, Site] = {}
        damaged: dict[str, str] = {}
        for raw, record in found.items():
            name = raw.decode("utf-8", "backslashreplace")
            try:
                site = _decode_site(record)
                if site.id != name:
                    raise InvalidSite(f"it is of site {site.id}")
                sites[name] = site
            except (msgspec.DecodeError, InvalidSite, UnicodeDecodeError) as error:
                damaged[name] = str(error)
        for name in damaged.keys() - self._damaged:
            log.error("the record of site %r in the store is damaged, and left out: %s", name[:80], damaged[name])
        self._damaged = frozenset(damaged)
        return Sites(sites, self._damaged)

    async def put_site(self, site: Site) -> None:
        """Make or replace a site. Raises InvalidSite for rewrite rules that cannot be applied, and for a host that
        belongs to another site, unless both share their hosts or one of them is archived. A site that was removed gets
        its counts back; while they are being deleted it cannot be added."""
        KeyRules(site, linear_pattern)
        with translated():
            while not await self._put_site(site):
                pass  # somebody else changed a site at the same moment: look again
            await self._client.set(keys.SITES_VERSION, _version())

    async def check_site(self, site: Site) -> None:
        """Raise InvalidSite for a site that `put_site` would refuse now."""
        KeyRules(site, linear_pattern)
        with translated():
            await self._check(site, await self._client.hget(keys.SITES_REMOVED, site.id))

    async def _check(self, site: Site, raw: Any) -> None:
        removed = decode_removed(raw) if raw is not None else None
        if removed is not None and removed.deleting_ms and not removed.deleted_ms:
            raise InvalidSite(f"site {site.id} was removed, and its counts are being deleted; try again later")
        for other in (await self.sites()).values():
            if other.id == site.id or (site.shared_hosts and other.shared_hosts):
                continue
            if site.archived or other.archived:
                continue
            if shared := Hosts(site.hosts).common(Hosts(other.hosts)):
                raise InvalidSite(f"site {site.id}: {shared} is a host of site {other.id} already")

    async def _put_site(self, site: Site) -> bool:
        async with self._client.pipeline() as pipe:
            await pipe.watch(keys.SITES, keys.SITES_REMOVED)
            await self._check(site, await pipe.hget(keys.SITES_REMOVED, site.id))
            pipe.multi()  # type: ignore[no-untyped-call]
            pipe.set(keys.SCHEMA, SCHEMA_NUMBER, nx=True)  # the store was not refused (store.schema)
            pipe.hset(keys.SITES, site.id, _encode(site))
            pipe.hdel(keys.SITES_REMOVED, site.id)
            try:
                await pipe.execute()
            except WatchError:
                return False
            return True

    async def remove_site(self, site_id: str, now_ms: int) -> None:
        """Take a site off the list; its counts and its record stay for 30 days (`store.removals`). Raises NotFound."""
        with translated():
            while not await self._remove_site(site_id, now_ms):
                pass  # somebody else changed a site at the same moment: look again
            await self._client.set(keys.SITES_VERSION, _version())

    async def _remove_site(self, site_id: str, now_ms: int) -> bool:
        async with self._client.pipeline() as pipe:
            await pipe.watch(keys.SITES)
            record: Any = await pipe.hget(keys.SITES, site_id)
            if record is None:
                raise NotFound(f"there is no site {site_id!r}")
            pipe.multi()  # type: ignore[no-untyped-call]
            pipe.hdel(keys.SITES, site_id)
            pipe.hset(
                keys.SITES_REMOVED, site_id, encode_removed(Removed(now_ms, record.decode("utf-8", "backslashreplace")))
            )
            try:
                await pipe.execute()
            except WatchError:
                return False
            return True

    async def restore_site(self, site_id: str) -> Site:
        """Put a removed site back as it was, and return it. Raises NotFound, and InvalidSite as `put_site`."""
        removed = (await self.removals.all()).get(site_id)
        if removed is None or not removed.is_kept:
            raise NotFound(f"there is no removed site {site_id!r} whose counts are still kept")
        try:
            site = _decode_site(removed.record)
        except (msgspec.DecodeError, InvalidSite) as error:
            raise InvalidSite(f"the record of site {site_id} is damaged: add it again ({error})") from error
        await self.put_site(site)
        return site

    async def discard_site(self, site_id: str, now_ms: int) -> None:
        """Remove a site that has only just been made, with everything that is kept of it."""
        await self.removals.delete_now(site_id, now_ms)
        with translated():
            await self._client.set(keys.SITES_VERSION, _version())

    async def forget_removed(self, now_ms: int) -> list[str]:
        """Delete what is kept of sites that were removed 30 days ago, and the rights of access tokens on them. Return
        the ids of these sites."""
        gone = await self.removals.delete_due(now_ms)
        if dead := {site for site, removed in (await self.removals.all()).items() if removed.deleted_ms}:
            for digest, token in (await self.tokens()).good.items():
                left = tuple(site for site in token.sites if site not in dead)
                if len(left) == len(token.sites):
                    continue
                if left:
                    await self.put_token(digest, msgspec.structs.replace(token, site=left[0], more=left[1:]))
                else:
                    await self.remove_token(digest)
        return gone

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
        """Return what the token with this SHA-256 (hex) may do, or None. A damaged record is none."""
        with translated():
            record: Any = await self._client.hget(keys.TOKENS, digest)
        return None if record is None else _read_token(digest, record)

    async def tokens(self) -> Tokens:
        """Return all tokens; a damaged record does not affect the others."""
        with translated():
            found: dict[Any, Any] = await self._client.hgetall(keys.TOKENS)
        read = {raw.decode(errors="replace"): record for raw, record in found.items()}
        good = {digest: token for digest, record in read.items() if (token := _read_token(digest, record))}
        return Tokens(good, tuple(sorted(read.keys() - good.keys())))

    async def remove_token(self, digest: str) -> None:
        """Revoke a token at once."""
        with translated():
            async with self._client.pipeline() as pipe:
                pipe.hdel(keys.TOKENS, digest)
                pipe.hdel(keys.TOKENS_USED, digest)
                await pipe.execute()

    async def note_used(self, moments: Mapping[Any, Any]) -> None:
        """Keep when tokens (SHA-256) were used."""
        with translated():
            await self._client.hset(keys.TOKENS_USED, mapping=moments)

    async def used(self) -> dict[str, str]:
        """Return when which tokens (SHA-256) were last used, to the hour."""
        with translated():
            found: dict[Any, Any] = await self._client.hgetall(keys.TOKENS_USED)
        return {raw.decode(errors="replace"): moment.decode(errors="replace") for raw, moment in found.items()}


def _read_token(digest: str, record: bytes) -> AccessToken | None:
    try:
        return _decode_token(record)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        log.warning("the record of the access token %s in the store is damaged and skipped: %s", digest[:16], error)
        return None


def _version() -> str:
    # Not a counter: a store that came back older would give a second change the number of a lost one.
    return secrets.token_hex(8)
