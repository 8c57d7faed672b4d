"""Merges of articles and their undoing, with the record of each: who, when, why, what, and every number before it.

A record is written together with what it speaks of (lua/ledger.lua), and never changed.
"""

import secrets
from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from typing import Any, Literal

import msgspec
from redis.asyncio import Redis

from visitstats.core.errors import StoreUnavailable
from visitstats.core.keys import article_id
from visitstats.core.wire import text
from visitstats.store import keys
from visitstats.store.client import translated
from visitstats.store.commit import FINISH, PUT_DOWN, load_scripts

MOST_ALIASES = 20_000
"""Of a site. Each takes some 250 bytes in every worker; what follows a pattern is a rewrite rule (rule 6 of keys)."""
PAGE = 1000
UNDONE, KEPT = ":undone", ":kept"

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
    before: tuple[tuple[str, int, int], ...] = ()
    """Per list of views (`keys.top`) what the two had before the change; -1 for what was not in it. Of a merge, only
    the lists in which the source had any."""
    bases: tuple[int, int] = (-1, -1)
    """Their baselines before the change; -1 for none."""

    @property
    def moved(self) -> int:
        """The views of all time that a merge moved."""
        return next((n for name, n, _ in self.before if name == "all"), 0)

    @property
    def head(self) -> tuple[str | int | msgspec.Raw, ...]:
        """What the scripts are given; they add the rest."""
        texts = (self.who, self.why, self.source, self.target, self.undoes)
        return (self.kind, self.at_ms, *(text(each.encode()) for each in texts))


class Logged(msgspec.Struct, frozen=True):
    """A change as it is on the list."""

    id: str
    change: Change
    undone: str = ""
    """The id of the change that undid it."""


class Refused(msgspec.Struct, frozen=True):
    """A change that was not made, and why, as the scripts say it."""

    reason: str
    detail: str = ""


_SCRIPTS = ("merge", "undo")
_decode = msgspec.msgpack.Decoder(Change).decode
_pack = msgspec.msgpack.Encoder().encode


class Changes:
    """Reads and makes changes. Every method may raise StoreUnavailable."""

    def __init__(self, client: Redis) -> None:
        self._client = client
        self._scripts = {name: source.decode() for name, source in load_scripts().items() if name in _SCRIPTS}

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
        """Put aliases back that the store has lost. Their records are lost, which is noted beside the changes, as
        "ALIAS:kept"."""
        items = [(alias, article_id(key) + key.encode()) for alias, key in aliases.items()]
        with translated():
            for start in range(0, len(items), PAGE):
                mapping: Any = dict(items[start : start + PAGE])
                await self._client.hset(keys.changes(site), mapping={alias.hex() + KEPT: 1 for alias in mapping})
                await self._client.hset(keys.aliases(site), mapping=mapping)
        if items:
            await self._tell(site)

    # Changes -------------------------------------------------------------------------------------------------------

    async def views(self, site: str, article_keys: list[str]) -> list[int | None]:
        """Return what each of these articles has in the list of all time; None for one that is not in it."""
        members: Any = [article_id(key) for key in article_keys]
        with translated():
            scores = await self._client.zmscore(keys.top_all(site), members)
        return [None if score is None else int(score) for score in scores]

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

    async def merge(self, site: str, change: Change) -> Logged | Refused:
        """Make a merge or an alias."""
        source, target = article_id(change.source), article_id(change.target)
        while True:
            change_id = new_id()
            names, fields = await self._lists(site)
            arguments = _pack(
                (
                    text(source), text(target), text(change.target.encode()), change.head, names, fields, MOST_ALIASES,
                )
            )  # fmt: skip
            reply = await self._run(
                "merge",
                site,
                [keys.aliases(site), keys.changes(site), keys.base(site), keys.views(site)],
                [keys.top(site, name) for name in names],
                [change_id, arguments, b"1" if change.kind == "merge" else b"0"],
            )
            if reply[0] != b"again":
                return await self._made(site, change_id, reply)
            taken = await self.aliases(site)
            if source in taken or target in taken:
                return Refused("alias")

    async def undo(self, site: str, merge: Logged, change: Change) -> Logged | Refused:
        """Undo a merge."""
        names = await self._there(site, [name for name, _, _ in merge.change.before])
        arguments = _pack((text(article_id(change.source)), text(article_id(change.target)), change.head, names))
        while True:
            change_id = new_id()
            reply = await self._run(
                "undo",
                site,
                [keys.aliases(site), keys.changes(site), keys.base(site)],
                [keys.top(site, name) for name in names],
                [change_id, merge.id, arguments],
            )
            if reply[0] != b"again":
                return await self._made(site, change_id, reply)

    async def _made(self, site: str, change_id: str, reply: list[Any]) -> Logged | Refused:
        if reply[0] == b"refused":
            return Refused(*(word.decode() for word in reply[1:]))
        await self._tell(site)
        return Logged(change_id, _decode(reply[1]))

    async def _run(
        self, script: str, site: str, names: list[str], lists: list[str], arguments: list[str | bytes]
    ) -> Any:
        every = [*names, *lists, keys.articles_redo(site)]
        with translated():
            source = self._scripts[script]
            reply: Any = await self._client.eval(source, len(every), *every, *arguments, PUT_DOWN)
            if reply[0] == b"ok":
                await self._client.eval(source, len(every), *every, *arguments, FINISH)
        return reply

    async def _tell(self, site: str) -> None:
        """Have all workers read the site's aliases anew. Until they have, the scripts resolve them alone."""
        with translated():
            await self._client.hset(keys.SITES_ALIASES, site, secrets.token_hex(8))
            await self._client.set(keys.SITES_VERSION, secrets.token_hex(8))

    async def _lists(self, site: str) -> tuple[list[str], int]:
        """Return the names of a site's lists of views, that of all time first; and how many dated counts it has, which
        grows with every new list."""
        with translated():
            dated: Any = await self._client.hkeys(keys.views(site))
        words = sorted(name.decode() for name in dated)
        days = [word for word in words if len(word) == 10]
        # Weeks may have begun on another weekday once.
        weeks = sorted({f"w{day}" for each in days for day in _week_before(each)})
        months = [word for word in words if len(word) == 7]
        return ["all", *await self._there(site, [*months, *weeks, *days])], len(words)

    async def _there(self, site: str, names: list[str]) -> list[str]:
        """Return those of these lists that the store keeps."""
        found: list[str] = []
        for start in range(0, len(names), PAGE):
            piece = names[start : start + PAGE]
            with translated():
                async with self._client.pipeline(transaction=False) as pipe:
                    for name in piece:
                        pipe.exists(keys.top(site, name))
                    found += [name for name, there in zip(piece, await pipe.execute(), strict=True) if there]
        return found


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


def _week_before(day: str) -> Iterator[str]:
    last = date.fromisoformat(day)
    yield from ((last - timedelta(days=n)).isoformat() for n in range(7))
