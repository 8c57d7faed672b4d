"""Reads the changes that people have made, and the aliases that merges have left."""

import logging
import secrets
from collections.abc import Mapping
from typing import Any

import msgspec
from redis.asyncio import Redis

from visitstats.core.counting import NUMBERS_BASELINE
from visitstats.core.entries import Entry
from visitstats.core.entries import decode as decode_entry
from visitstats.core.errors import StoreUnavailable
from visitstats.core.keys import article_id
from visitstats.core.periods import ALL_TIME
from visitstats.store import keys
from visitstats.store.change_records import Change, Logged, decode_change
from visitstats.store.client import translated
from visitstats.store.prunes import Prunes
from visitstats.store.reads import mark_of

log = logging.getLogger(__name__)

PAGE = 1000
ID = 8
"""Letters of a change's id; as many bytes has an article's."""
MOST_STEPS = 1000
"""How many steps of a chain of aliases the scripts follow (lua/places.lua)."""
UNDONE, KEPT = ":undone", ":kept"


class Changes:
    """Reads the changes of sites. Every method may raise StoreUnavailable."""

    def __init__(self, client: Redis) -> None:
        self._client = client
        self.prunes = Prunes(client)
        """Pages that give their places back."""

    # Aliases -------------------------------------------------------------------------------------------------------

    async def alias_versions(self) -> dict[str, bytes]:
        """Return, for each site that ever had aliases, a value that differs after each change of them."""
        with translated():
            found: dict[Any, Any] = await self._client.hgetall(keys.SITES_ALIASES)
        return {site.decode(): version for site, version in found.items()}

    async def aliases(self, site: str) -> dict[bytes, str]:
        """Return the keys for which a site's aliases stand, by the ids of the aliases; chains are followed to their
        ends."""
        steps: dict[bytes, tuple[bytes, str]] = {}
        cursor = 0
        while True:
            with translated():
                page: Any
                cursor, page = await self._client.hscan(keys.aliases(site), cursor, count=PAGE)
            steps |= {alias: (value[:8], value[8:].decode("utf-8", "replace")) for alias, value in page.items()}
            if not cursor:
                return resolved(steps)

    async def path(self, site: str, key: str) -> list[str]:
        """Return a key, and behind it the keys for which it stands, step by step: the last is that of the article. It
        costs as many reads as there are steps, however many aliases a site has."""
        found = [key]
        while len(found) <= MOST_STEPS:
            with translated():
                edge: Any = await self._client.hget(keys.aliases(site), article_id(found[-1]))
            if edge is None:
                break
            found.append(edge[ID:].decode("utf-8", "replace"))
        return found

    async def alias_count(self, site: str) -> int:
        """Return how many aliases a site has."""
        with translated():
            return int(await self._client.hlen(keys.aliases(site)))

    async def keep_aliases(self, site: str, aliases: Mapping[bytes, str]) -> None:
        """Put aliases back that the store has lost together with their records, and note that beside the changes, as
        "ALIAS:kept". An alias that still has a record is left alone: the record says whether it is in force."""
        known = {article_id(each.change.source) for each in await self.all(site)} | (await self.aliases(site)).keys()
        lost = {alias: article_id(key) + key.encode() for alias, key in aliases.items() if alias not in known}
        items: Any = list(lost.items())
        with translated():
            for start in range(0, len(items), PAGE):
                async with self._client.pipeline(transaction=False) as pipe:
                    for alias, value in items[start : start + PAGE]:
                        pipe.hset(keys.changes(site), alias.hex() + KEPT, "1")
                        pipe.hsetnx(keys.aliases(site), alias, value)
                    await pipe.execute()
        if items:
            await self.tell(site)

    # Changes -------------------------------------------------------------------------------------------------------

    async def views(self, site: str, article_keys: list[str]) -> list[int | None]:
        """Return the views of all time of each of these articles; None for one that the site does not have."""
        members: Any = [article_id(key) for key in article_keys]
        with translated():
            found = await self._client.hmget(keys.articles(site), members)
        return [None if views is None else int(views) for views in found]

    async def views_of(self, site: str, articles: list[bytes]) -> list[int | None]:
        """Return the views of all time of articles by their ids; None for one that the site does not have."""
        if not articles:
            return []
        found: list[int | None] = []
        for start in range(0, len(articles), PAGE):
            members: Any = articles[start : start + PAGE]
            with translated():
                page = await self._client.hmget(keys.articles(site), members)
            found += [None if views is None else int(views) for views in page]
        return found

    async def articles(self, site: str) -> int:
        """Return how many articles a site has."""
        with translated():
            return int(await self._client.hlen(keys.articles(site)))

    async def many(self, site: str) -> int:
        """Return a number that grows with every change of a site."""
        with translated():
            return int(await self._client.hlen(keys.changes(site)))

    async def find(self, site: str, change_id: str) -> Change | None:
        """Return the record of a change, None for one that was not made. Raises StoreUnavailable."""
        with translated():
            found: Any = await self._client.hget(keys.changes(site), change_id)
        return None if found is None else decode_change(found)

    async def logged(self, site: str, ids: list[str]) -> list[Logged | None]:
        """Return changes by their ids; None for one that was not made, or whose record is damaged (`verify` names
        it)."""
        found: list[Logged | None] = []
        for start in range(0, len(ids), PAGE):
            piece = ids[start : start + PAGE]
            with translated():
                async with self._client.pipeline(transaction=False) as pipe:
                    pipe.hmget(keys.changes(site), piece)
                    pipe.hmget(keys.changes(site), [each + UNDONE for each in piece])
                    records, marks = await pipe.execute()
            for name, record, mark in zip(piece, records, marks, strict=True):
                try:
                    found.append(
                        None if record is None else Logged(name, decode_change(record), (mark or b"").decode())
                    )
                except (msgspec.DecodeError, UnicodeDecodeError) as error:
                    log.error("the record of change %s of site %s is damaged: %s", name, site, error)
                    found.append(None)
        return found

    async def one(self, site: str, change_id: str) -> Logged | None:
        """Return a change by its id; None for one that was not made, or whose record is damaged."""
        return (await self.logged(site, [change_id]))[0]

    async def of_article(self, site: str, key: str) -> list[str]:
        """Return the ids of the last changes of an article, the newest first: MOST_OF_ARTICLE at most."""
        with translated():
            found: Any = await self._client.hget(keys.changes_of_articles(site), article_id(key))
        return _ids(found or b"")[::-1]

    async def places(self, site: str) -> int:
        """Return how many changes are in the site's order."""
        with translated():
            return int(await self._client.strlen(keys.order_of_changes(site))) // ID

    async def ordered(self, site: str, first: int, end: int) -> list[str]:
        """Return the ids of changes from the first to before the last of these places of the site's order."""
        with translated():
            found: Any = await self._client.getrange(keys.order_of_changes(site), first * ID, end * ID - 1)
        return _ids(found) if end > first else []

    async def all(self, site: str) -> list[Logged]:
        """Return a site's changes, the newest first, without those whose records are damaged. It reads all of them:
        lists are read by `ordered`."""
        found: dict[str, Any] = {}
        cursor = 0
        while True:
            with translated():
                page: Any
                cursor, page = await self._client.hscan(keys.changes(site), cursor, count=PAGE)
            found |= {field.decode("utf-8", "replace"): value for field, value in page.items()}
            if not cursor:
                break
        logged = []
        for name, value in found.items():
            if ":" in name:
                continue
            try:
                logged.append(Logged(name, decode_change(value), found.get(name + UNDONE, b"").decode()))
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                log.error("the record of change %s of site %s is damaged: %s", name, site, error)
        return sorted(logged, key=lambda each: each.change.number, reverse=True)

    async def setter(self, site: str, key: str, place: int) -> str:
        """Return the id of the change that has set a fact of an article; empty for none."""
        with translated():
            found: Any = await self._client.hget(keys.set_by(site), article_id(key) + bytes((place,)))
        return (found or b"").decode("utf-8", "replace")

    # Amounts -------------------------------------------------------------------------------------------------------

    async def totals(self, site: str, kind: str) -> tuple[int, int]:
        """Return the site's visits or views (`kind`) of all time, and their baseline."""
        fields = [f"{kind}:{ALL_TIME}", f"{kind}:{NUMBERS_BASELINE}"]
        with translated():
            found: Any = await self._client.hmget(keys.counts(site), fields)
        return _number(found[0]), _number(found[1])

    async def on(self, site: str, kind: str, place: str) -> int:
        """Return the site's visits or views of a date, a month or a year."""
        name, field = keys.count_at(site, kind, place)
        with translated():
            found: Any = await self._client.hget(name, field)
        return _number(found)

    async def entry(self, site: str, key: str) -> Entry | None:
        """Return what an article is called; None for one that has no entry, or a damaged one."""
        with translated():
            found: Any = await self._client.hget(keys.names(site), article_id(key))
        try:
            return None if found is None else decode_entry(found)
        except msgspec.DecodeError:
            return None

    async def watermark(self, site: str, writer: str) -> int:
        """Return the sequence of a writer's last record that the site's ledger has; 0 for none."""
        with translated():
            found: Any = await self._client.hget(keys.marks(site), writer)
        return mark_of(found).sequence if found else 0

    async def tell(self, site: str) -> None:
        """Make all workers read the site's aliases anew. Until they have, only the script resolves them."""
        with translated():
            await self._client.hset(keys.SITES_ALIASES, site, secrets.token_hex(8))
            # Do not make the version in a store that has lost everything: workers notice the loss because it is
            # missing.
            await self._client.set(keys.SITES_VERSION, secrets.token_hex(8), xx=True)


def resolved(steps: dict[bytes, tuple[bytes, str]]) -> dict[bytes, str]:
    """Follow the steps (alias → article, its key) to the keys at their ends. Merges make no loops; in a loop of a
    damaged store the last key before it closes is taken."""
    found: dict[bytes, str] = {}
    for alias, (article, key) in steps.items():
        seen = {alias}
        while article in steps and article not in seen:
            seen.add(article)
            article, key = steps[article]
        found[alias] = key
    return found


def _ids(data: bytes) -> list[str]:
    return [data[n : n + ID].decode("utf-8", "replace") for n in range(0, len(data) - ID + 1, ID)]


def _number(value: bytes | None) -> int:
    try:
        return int(value or 0)
    except ValueError as error:
        raise StoreUnavailable(f"a count in the store is no number: {value!r:.40}") from error
