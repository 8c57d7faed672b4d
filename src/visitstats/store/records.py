"""Records that people make: sites, access tokens, baselines; and the salts, which nobody makes twice."""

import secrets
from typing import Any

import msgspec
from redis.asyncio import Redis
from redis.exceptions import WatchError

from visitstats.core.counting import NUMBERS_BASELINE
from visitstats.core.entries import Entry
from visitstats.core.entries import encode as encode_entry
from visitstats.core.errors import BaselineRefused, InvalidSite, NotFound, StoreUnavailable
from visitstats.core.hosts import Hosts
from visitstats.core.keys import KeyRules, article_id
from visitstats.core.periods import Day
from visitstats.core.sites import Site
from visitstats.core.wire import column, text
from visitstats.patterns import linear_pattern
from visitstats.store import keys
from visitstats.store.changes import Changes, Logged
from visitstats.store.client import translated
from visitstats.store.commit import FINISH, PUT_DOWN, load_scripts

_encode = msgspec.json.Encoder().encode
_decode_site = msgspec.json.Decoder(Site).decode
_pack = msgspec.msgpack.Encoder().encode

PIECE = 1000
"""Articles in one script: a millisecond on the server; Lua hands over some 8,000 values at most."""


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
            scores = await self._client.zmscore(keys.top_all(site_id), members)
        return [score is not None for score in scores]

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

    # Baselines -----------------------------------------------------------------------------------------------------

    async def set_baseline(self, site_id: str, total: int, articles: dict[Entry, int]) -> None:
        """Set the counts that an older counter brought along: the site's total, and per article (rule 7). Repeatable.

        Of entries with the same key the last counts. That of an alias is added to that of the article for which it
        stands: the same list may be set again after a merge, and nothing of it is lost. Raises BaselineRefused, before
        anything is set, when an article would have less than undoing its merges gives back.
        """
        wanted = {entry.key: (entry, n) for entry, n in articles.items()}
        with translated():
            while not await self._set_baselines(site_id, wanted):
                pass  # somebody merged articles at the same moment: look again
            await self._client.hset(keys.visits(site_id), NUMBERS_BASELINE, total)

    async def _set_baselines(self, site_id: str, wanted: dict[str, tuple[Entry, int]]) -> bool:
        counts = (keys.top_all(site_id), keys.base(site_id), keys.names(site_id), keys.views(site_id))
        names = (*counts, keys.articles_redo(site_id))
        script = load_scripts()["baseline"].decode()
        changes = keys.changes(site_id)
        async with self._client.pipeline() as pipe:
            # Only ever added to: as many fields are the same changes.
            many = await self._client.hlen(changes)
            items = await self._resolved(site_id, wanted)
            for start in range(0, len(items), PIECE):
                piece = items[start : start + PIECE]
                columns = _pack(
                    (
                        column([article for article, _, _ in piece]),
                        [n for _, n, _ in piece],
                        [text(entry) for _, _, entry in piece],
                    )
                )
                await pipe.watch(changes)
                if await pipe.hlen(changes) != many:
                    return False
                pipe.multi()  # type: ignore[no-untyped-call]
                pipe.eval(script, len(names), *names, columns, NUMBERS_BASELINE, PUT_DOWN)
                try:
                    await pipe.execute()
                except WatchError:
                    return False
                await self._client.eval(script, len(names), *names, columns, NUMBERS_BASELINE, FINISH)
        return True

    async def _resolved(self, site_id: str, wanted: dict[str, tuple[Entry, int]]) -> list[tuple[bytes, int, bytes]]:
        """Return articles (ids) with their baselines and dictionary entries, aliases added to what they stand for."""
        aliases = await self.changes.aliases(site_id)
        found: dict[str, tuple[int, bytes]] = {}
        for key, (entry, n) in wanted.items():
            end = aliases.get(article_id(key), key)
            before, named = found.get(end, (0, b""))
            # The old address's title is not the article's.
            found[end] = (before + n, encode_entry(entry) if key == end else named)
        if aliases:
            for key, least in _kept_for_undo(await self.changes.all(site_id)).items():
                if key in found and found[key][0] < least:
                    raise BaselineRefused(
                        f"{key} cannot have a baseline of {found[key][0]}: undoing what was merged into it gives back "
                        f"{least}; undo that first (visitstats audit {site_id})"
                    )
        return [(article_id(key), n, entry) for key, (n, entry) in found.items()]


def _kept_for_undo(changes: list[Logged]) -> dict[str, int]:
    """The baselines that the merges into each article have moved there, and that an undo takes away again."""
    found: dict[str, int] = {}
    for each in changes:
        if each.change.kind != "undo" and not each.undone and each.change.bases[0] > 0:
            found[each.change.target] = found.get(each.change.target, 0) + each.change.bases[0]
    return found


def _version() -> str:
    # Not a counter: a store that came back older would give a second change the number of a lost one.
    return secrets.token_hex(8)
