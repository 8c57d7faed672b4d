"""Changes that people make (merges of articles and their undoing, baselines): how they are written into the journal,
and the record of each: who, when, why, what, and every number before it.

A change travels as a record of the journal, among the hits (`core.batch.ChangeRecord`): it is applied once, and again
after a loss. `lua/change.lua` writes what it says about it together with what it speaks of, and never changes that.
"""

import secrets
from collections.abc import Mapping
from typing import Any, Literal

import msgspec
from redis.asyncio import Redis

from visitstats.core.batch import ChangeRecord
from visitstats.core.counting import NUMBERS_BASELINE
from visitstats.core.entries import Entry
from visitstats.core.entries import encode as encode_entry
from visitstats.core.errors import StoreUnavailable
from visitstats.core.keys import article_id
from visitstats.core.wire import column, text
from visitstats.store import keys
from visitstats.store.client import translated

MOST_ALIASES = 20_000
"""Of a site. Each takes some 250 bytes in every worker; what follows a pattern is a rewrite rule (rule 6 of keys)."""
PAGE = 1000
UNDONE, KEPT = ":undone", ":kept"
HEAD = 4
"""Where in the body of a merge's or undo's record the head of the change stands (`Change.head`)."""

Kind = Literal["merge", "alias", "undo"]


class Change(msgspec.Struct, frozen=True, array_like=True):
    """The record of a change. The layout is frozen: records are read back by later versions."""

    kind: Kind
    at_ms: int
    who: str
    why: str
    source: str
    """Key of the article that was merged; of an undo, that got its counts back."""
    target: str
    """Key of the article into which it was merged."""
    undoes: str
    """Of an undo: the id of the merge."""
    number: int = 0
    """Grows from change to change of a site."""
    views: tuple[int, int] = (-1, -1)
    """What the two had of all time before the change; -1 for none."""
    bases: tuple[int, int] = (-1, -1)
    """Their baselines before the change; -1 for none."""

    @property
    def moved(self) -> int:
        """The views of all time that a merge moved."""
        return max(self.views[0], 0)

    @property
    def head(self) -> tuple[str | int | msgspec.Raw, ...]:
        """What the script is given; it adds the rest."""
        texts = (self.who, self.why, self.source, self.target, self.undoes)
        return (self.kind, self.at_ms, *(text(each.encode()) for each in texts))


class Logged(msgspec.Struct, frozen=True):
    """A change as it is on the list."""

    id: str
    change: Change
    undone: str = ""
    """The id of the change that undid it."""


_decode = msgspec.msgpack.Decoder(Change).decode
_pack = msgspec.msgpack.Encoder().encode


def merging(site: str, change_id: str, change: Change) -> ChangeRecord:
    """Write a merge or an alias for the journal. Whoever journals it fills in its place and its moment."""
    source, target = article_id(change.source), article_id(change.target)
    body = (
        change_id, text(source), text(target), text(change.target.encode()), change.head,
        text(encode_entry(Entry(change.target))), MOST_ALIASES,
    )  # fmt: skip
    return ChangeRecord(site, 0, 0, 0, "merge", _pack(body))


def undoing(site: str, change_id: str, change: Change) -> ChangeRecord:
    """Write the undoing of a merge for the journal."""
    source, target = article_id(change.source), article_id(change.target)
    body = (change_id, change.undoes, text(source), text(target), change.head)
    return ChangeRecord(site, 0, 0, 0, "undo", _pack(body))


def setting_baselines(
    site: str, changes: int, total: int | None, articles: list[tuple[bytes, int, bytes]]
) -> ChangeRecord:
    """Write baselines for the journal: the site's (None to leave it) and of at most PAGE articles (id, baseline,
    dictionary entry or nothing). `changes` is what `Changes.many` said when aliases were looked up."""
    body = (
        changes,
        -1 if total is None else total,
        NUMBERS_BASELINE,
        column([article for article, _, _ in articles]),
        [n for _, n, _ in articles],
        [text(entry) for _, _, entry in articles],
    )
    return ChangeRecord(site, 0, 0, 0, "baseline", _pack(body))


def describe(record: ChangeRecord) -> str:
    """Say in a line what a change in the journal is, for the log."""
    if record.kind == "baseline":
        return "baselines"
    # Not as a whole: ids of articles are written as text, and are none.
    body = msgspec.msgpack.decode(record.body, type=list[msgspec.Raw])
    change = _decode(body[HEAD])
    what = f"undo {change.undoes}" if change.undoes else f"{change.kind} {change.source} into {change.target}"
    return f"{what} by {change.who} (change {msgspec.msgpack.decode(body[0])})"


def decode_change(record: bytes) -> Change:
    """Read the record of a change. Raises msgspec.DecodeError."""
    return _decode(record)


class Changes:
    """Reads the changes of sites. Every method may raise StoreUnavailable."""

    def __init__(self, client: Redis) -> None:
        self._client = client

    # Aliases -------------------------------------------------------------------------------------------------------

    async def alias_versions(self) -> dict[str, bytes]:
        """Return, per site that ever had aliases, a value that is another after each change of them."""
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

    async def keep_aliases(self, site: str, aliases: Mapping[bytes, str]) -> None:
        """Put aliases back that the store has lost with their records, which is noted beside the changes, as
        "ALIAS:kept". Of those that have a record it is known whether they are in force."""
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

    async def many(self, site: str) -> int:
        """Return a number that grows with every change of a site."""
        with translated():
            return int(await self._client.hlen(keys.changes(site)))

    async def find(self, site: str, change_id: str) -> Change | None:
        """Return the record of a change, None for one that was not made. Raises StoreUnavailable."""
        with translated():
            found: Any = await self._client.hget(keys.changes(site), change_id)
        return None if found is None else _decode(found)

    async def all(self, site: str) -> list[Logged]:
        """Return a site's changes, the newest first."""
        found: dict[str, Any] = {}
        cursor = 0
        while True:
            with translated():
                page: Any
                cursor, page = await self._client.hscan(keys.changes(site), cursor, count=PAGE)
            found |= {field.decode(): value for field, value in page.items()}
            if not cursor:
                break
        try:
            logged = [
                Logged(name, _decode(value), found.get(name + UNDONE, b"").decode())
                for name, value in found.items()
                if ":" not in name
            ]
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise StoreUnavailable(f"a record of a change of site {site} is damaged: {error}") from error
        return sorted(logged, key=lambda each: each.change.number, reverse=True)

    async def tell(self, site: str) -> None:
        """Have all workers read the site's aliases anew. Until they have, the script resolves them alone."""
        with translated():
            await self._client.hset(keys.SITES_ALIASES, site, secrets.token_hex(8))
            # Not in a store that has lost everything: by its missing version the workers see that.
            await self._client.set(keys.SITES_VERSION, secrets.token_hex(8), xx=True)


def new_id() -> str:
    """Make an id for a change: short, because people type it."""
    return secrets.token_hex(4)


def resolved(steps: dict[bytes, tuple[bytes, str]]) -> dict[bytes, str]:
    """Follow the steps (alias → article, its key) to the keys at their ends. Merges make no loops; of a damaged store's
    the last key before it closes is taken."""
    found: dict[bytes, str] = {}
    for alias, (article, key) in steps.items():
        seen = {alias}
        while article in steps and article not in seen:
            seen.add(article)
            article, key = steps[article]
        found[alias] = key
    return found
