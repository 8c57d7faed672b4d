"""Do a site's aliases and the records of its changes agree with each other, and with its articles?

an alias leads to an article, without a loop, in no more steps than the scripts follow
an alias was made by a change that is on record and was not undone, or put back after a loss (`Changes.keep_aliases`)
a merged article has no views left
a change that is on record can be read, and is in force or marked as undone by an undo that is on record
"""

import re
from collections.abc import AsyncIterator, Iterator

import msgspec

from visitstats.core.keys import article_id
from visitstats.store import keys
from visitstats.store.changes import KEPT, UNDONE, Change
from visitstats.store.inspect import Inspector
from visitstats.verify.findings import Look

MOST_STEPS = 1000
"""So many steps of a chain the scripts follow (lua/articles.lua)."""
ID_BYTES = 8

_ID = re.compile(r"[0-9a-f]{8}")
_decode = msgspec.msgpack.Decoder(Change).decode
Steps = dict[bytes, tuple[bytes, str]]
"""Alias → the id and the key of the article for which it stands."""


class Merged:
    """The check of one site."""

    def __init__(self, store: Inspector, site: str, broken: set[str], look: Look) -> None:
        self._store = store
        self._site = site
        self._broken = broken
        self._look = look

    async def check(self) -> None:
        """Check everything. Raises StoreUnavailable."""
        names = {keys.aliases(self._site), keys.changes(self._site), keys.top_all(self._site)}
        if names & self._broken:
            return
        # The changes first: what is an alias by now was on record before.
        changes, marks = await self._changes()
        steps = await self._aliases()
        self._records(changes, marks, steps)
        self._origins(changes, marks, steps)
        await self._ends(steps, marks)

    def _wrong(self, check: str, subject: str, detail: str) -> None:
        name = keys.changes(self._site) if check == "change" else keys.aliases(self._site)
        self._look.wrong(self._site, check, name, detail, subject)

    async def _aliases(self) -> Steps:
        found: Steps = {}
        async for alias, value in _fields(self._store, keys.aliases(self._site)):
            found[alias] = (value[:ID_BYTES], value[ID_BYTES:].decode("utf-8", "backslashreplace"))
        return found

    async def _changes(self) -> tuple[dict[str, Change], dict[str, str]]:
        """The records by their ids, and the marks: "ID:undone", "ALIAS:kept"."""
        changes: dict[str, Change] = {}
        marks: dict[str, str] = {}
        async for raw, value in _fields(self._store, keys.changes(self._site)):
            name = raw.decode("utf-8", "backslashreplace")
            if ":" in name:
                marks[name] = value.decode("utf-8", "backslashreplace")
                continue
            try:
                changes[name] = _decode(value)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                self._wrong("change", name, f"the record of change {name[:80]} cannot be read: {error}")
                marks[name] = ""
                continue
            for detail in _trouble(name, changes[name]):
                self._wrong("change", name, detail)
        return changes, marks

    # Changes -------------------------------------------------------------------------------------------------------

    def _records(self, changes: dict[str, Change], marks: dict[str, str], steps: Steps) -> None:
        for mark in marks:
            name, _, word = mark.partition(":")
            if word and f":{word}" not in (UNDONE, KEPT):
                self._wrong("change", mark, f"visitstats writes no mark {mark[:80]}")
            elif f":{word}" == UNDONE and name not in changes and name not in marks:
                self._wrong("change", mark, f"change {name} has the mark {word} and no record")
        for name, change in changes.items():
            if change.kind == "undo":
                if marks.get(change.undoes + UNDONE) != name:
                    self._wrong(
                        "change", name, f"change {name} has undone {change.undoes}, which is not marked as undone"
                    )
            elif undo := marks.get(name + UNDONE):
                if undo not in marks and (undo not in changes or changes[undo].undoes != name):
                    self._wrong("change", name, f"change {name} is marked as undone by {undo}, which is no undo of it")
            elif steps.get(article_id(change.source), (b"",))[0] != article_id(change.target):
                self._wrong(
                    "change", name, f"by change {name} {change.source} is an alias of {change.target}; it is not"
                )

    # Aliases -------------------------------------------------------------------------------------------------------

    def _origins(self, changes: dict[str, Change], marks: dict[str, str], steps: Steps) -> None:
        made = {
            (article_id(change.source), article_id(change.target))
            for name, change in changes.items()
            if change.kind != "undo" and name + UNDONE not in marks
        }
        for alias, (article, key) in steps.items():
            if (alias, article) not in made and alias.hex() + KEPT not in marks:
                self._wrong(
                    "change", alias.hex(), f"no change is on record by which {alias.hex()} is an alias of {key}"
                )

    async def _ends(self, steps: Steps, marks: dict[str, str]) -> None:
        ends: dict[bytes, tuple[bytes, str]] = {}
        for alias in steps:
            here, key, many = alias, "", 0
            while here in steps and many <= MOST_STEPS:
                (here, key), many = steps[here], many + 1
                if here == alias:
                    break
            if here == alias:
                self._wrong("alias", alias.hex(), f"the alias {alias.hex()} leads back to itself")
            elif here in steps:
                self._wrong("alias", alias.hex(), f"the alias {alias.hex()} leads on for more than {MOST_STEPS} steps")
            else:
                ends[alias] = here, key
        views = await self._store.views_of(self._site, list({*steps, *(end for end, _ in ends.values())}))
        for alias, (end, key) in ends.items():
            if views[end] is None:
                self._wrong("alias", alias.hex(), f"the alias {alias.hex()} leads to {key}, which is no article")
            if views[alias] and alias.hex() + KEPT not in marks:
                self._wrong("alias", alias.hex(), f"the alias {alias.hex()} has {views[alias]:.0f} views of its own")


def _trouble(name: str, change: Change) -> Iterator[str]:
    """What is wrong in a record by itself."""
    if not _ID.fullmatch(name):
        yield f"a change has the id {name[:80]}"
    counts = [n for _, *both in change.before for n in both] + list(change.bases)
    if change.number < 0 or change.at_ms < 0 or any(n < -1 for n in counts):
        yield f"the record of change {name[:80]} has counts below zero"
    if (change.kind == "undo") != bool(change.undoes):
        yield f"the record of change {name[:80]} does not say what it undoes, or undoes what it makes"


async def _fields(store: Inspector, name: str) -> AsyncIterator[tuple[bytes, bytes]]:
    async for page in store.fields(name):
        for field in page:
            yield field
