"""Do a site's aliases and the records of its changes agree with each other, and with its articles?

an alias leads to an article, without a loop, in no more steps than the scripts follow
an alias was made by a change that is on record and was not undone, or put back after a loss (`Changes.keep_aliases`)
a merged article is not on the list of articles any more
a change that is on record can be read, and is in force or marked as undone by an undo that is on record
a merge that is in force has moved as many views as the article's days and its baseline have together
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping

import msgspec

from visitstats.core.errors import StoreUnavailable
from visitstats.core.keys import article_id
from visitstats.core.periods import ALL_TIME
from visitstats.store import keys
from visitstats.store.change_records import Change
from visitstats.store.changes import KEPT, UNDONE
from visitstats.store.import_records import Imported
from visitstats.store.inspect import KINDS_OF_AMOUNTS, PAGE, Inspector, number
from visitstats.trust.verify.findings import Look

MOST_STEPS = 1000
"""How many steps of a chain of aliases the scripts follow (lua/commit/read.lua)."""
ID_BYTES = 8

_ID = re.compile(r"[0-9a-f]{8}")
_ALIASES = ("merge", "alias")
IMPORTS = ("import", "baseline")
PARTS = 50
"""How many parts of an import are read at once."""
_decode = msgspec.msgpack.Decoder(Change).decode
Steps = dict[bytes, tuple[bytes, str]]
"""Alias → the id and the key of the article for which it stands."""


class Merged:
    """The check of one site: `read`, then `check`."""

    def __init__(self, store: Inspector, site: str, broken: set[str], look: Look) -> None:
        self._store = store
        self._site = site
        self._look = look
        self._legible = not {keys.aliases(site), keys.changes(site)} & broken
        self._listed = keys.articles(site) not in broken
        self._changes: dict[str, Change] = {}
        self._marks: dict[str, str] = {}
        self._steps: Steps = {}
        self.changes = self._changes
        """The records by id, as far as they can be read."""
        self.whole = self._legible
        """Whether all records can be read."""
        self.ends: dict[bytes, bytes] = {}
        """Alias → the article (both by id) for which it stands in the end."""
        self.undated: Counter[bytes] = Counter()
        """Article id → the amounts in force that have no date."""
        self.within: Counter[bytes] = Counter()
        """The amounts in force of articles, and of those that were merged into them."""
        self._undated_within: Counter[bytes] = Counter()
        self.imported: dict[str, Counter[str]] = {kind: Counter() for kind in KINDS_OF_AMOUNTS}
        """What imports have added to visits, views and views of articles, by date, month, year and of all time."""
        self._broken = broken

    async def read(self) -> None:
        """Read aliases and changes. Raises StoreUnavailable."""
        if not self._legible:
            return
        # The changes are read first: an alias that exists by then was on record before.
        await self._read_changes()
        async for page in self._store.fields(keys.aliases(self._site)):
            for alias, value in page.items():
                self._steps[alias] = (value[:ID_BYTES], value[ID_BYTES:].decode("utf-8", "backslashreplace"))
        for alias in self._steps:
            here, many = alias, 0
            while here in self._steps and many <= MOST_STEPS:
                here, many = self._steps[here][0], many + 1
                if here == alias:
                    break
            if here == alias:
                self._wrong("alias", alias.hex(), f"the alias {alias.hex()} leads back to itself")
            elif here in self._steps:
                self._wrong("alias", alias.hex(), f"the alias {alias.hex()} leads on for more than {MOST_STEPS} steps")
            else:
                self.ends[alias] = here
        self._add_amounts()
        await self._add_imports()

    def in_force(self) -> dict[str, Change]:
        """Return the changes that were not undone, without imports, which have parts of their own."""
        return {
            name: change
            for name, change in self._changes.items()
            if change.kind not in ("undo", *IMPORTS) and name + UNDONE not in self._marks
        }

    def _add_amounts(self) -> None:
        for change in self.in_force().values():
            for each in change.said:
                if not each.key:
                    continue
                self._add_amount(article_id(each.key), each.by, each.by if not change.place else 0)

    def _add_amount(self, article: bytes, n: int, at_no_time: int) -> None:
        self.undated[article] += at_no_time
        steps = 0
        while True:
            self.within[article] += n
            self._undated_within[article] += at_no_time
            steps += 1
            if article not in self._steps or steps > MOST_STEPS:
                break
            article = self._steps[article][0]

    async def _add_imports(self) -> None:
        """Add the parts of imports that are made, and not taken back."""
        if keys.imports(self._site) in self._broken:
            self.whole = False
            return
        try:
            found = await self._store.imports.all(self._site)
        except StoreUnavailable as error:
            self.whole = False
            self._look.wrong(self._site, "import", keys.imports(self._site), str(error))
            return
        for name, what in found.items():
            await self._add_import(name, what)

    async def _add_import(self, name: str, what: Imported) -> None:
        state = await self._store.imports.state(self._site, name)
        numbers = range(1, len(what.places) + 1)
        undone = name + UNDONE in self._marks
        lacking = sum(1 for n in numbers if n not in (state.back if undone else state.made))
        if lacking:
            self._look.wrong(
                self._site, "import", keys.import_parts(self._site, name),
                f"{lacking} of the {len(what.places)} parts of import {name} are not "
                + ("taken back" if undone else "made"), "parts",
            )  # fmt: skip
        in_force = [n for n in numbers if n in state.made and n not in state.back]
        for start in range(0, len(in_force), PARTS):
            piece = in_force[start : start + PARTS]
            for place_in, part in zip(piece, await self._store.imports.parts(self._site, name, piece), strict=True):
                if part is None:
                    self.whole = False
                    self._look.wrong(
                        self._site, "import", keys.import_parts(self._site, name),
                        f"part {place_in} of import {name} is lost or damaged", str(place_in),
                    )  # fmt: skip
                    continue
                place = what.places[place_in - 1]
                of_articles = sum(n for _, n in part.articles)
                for when in {place, place[:7], place[:4], ALL_TIME} - {""}:
                    self.imported["visits"][when] += part.visits
                    self.imported["views"][when] += part.views + of_articles
                    self.imported["articles"][when] += of_articles
                for article, n in part.articles:
                    self._add_amount(article, n, 0 if len(place) == len("2026-11-24") else n)

    async def check(self, days: Mapping[bytes, int] | None) -> None:
        """Check everything; `days` are the views that each merged article had on its own days, when they are known.
        Raises StoreUnavailable."""
        if not self._legible:
            return
        self._records()
        self._origins()
        if self._listed:
            await self._views()
        if days is not None:
            self._moved(days)

    def _wrong(self, check: str, subject: str, detail: str) -> None:
        name = keys.changes(self._site) if check == "change" else keys.aliases(self._site)
        self._look.wrong(self._site, check, name, detail, subject)

    async def _read_changes(self) -> None:
        """The records by their ids, and the marks: "ID:undone", "ALIAS:kept"."""
        async for page in self._store.fields(keys.changes(self._site)):
            for raw, value in page.items():
                name = raw.decode("utf-8", "backslashreplace")
                if ":" in name:
                    self._marks[name] = value.decode("utf-8", "backslashreplace")
                    continue
                try:
                    self._changes[name] = _decode(value)
                except (msgspec.DecodeError, UnicodeDecodeError) as error:
                    self.whole = False
                    self._wrong("change", name, f"the record of change {name[:80]} cannot be read: {error}")
                    self._marks[name] = ""
                    continue
                for detail in _trouble(name, self._changes[name]):
                    self._wrong("change", name, detail)

    # Changes -------------------------------------------------------------------------------------------------------

    def _records(self) -> None:
        changes, marks = self._changes, self._marks
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
            elif change.kind in _ALIASES and self._step(change.source) != article_id(change.target):
                self._wrong(
                    "change", name, f"by change {name} {change.source} is an alias of {change.target}; it is not"
                )

    def _step(self, key: str) -> bytes:
        """The id of the article for which a key stands by its own alias; empty for none."""
        return self._steps.get(article_id(key), (b"",))[0]

    # Aliases -------------------------------------------------------------------------------------------------------

    def _in_force(self) -> dict[str, Change]:
        return {name: change for name, change in self.in_force().items() if change.kind in _ALIASES}

    def _origins(self) -> None:
        made = {(article_id(change.source), article_id(change.target)) for change in self._in_force().values()}
        for alias, (article, key) in self._steps.items():
            if (alias, article) not in made and alias.hex() + KEPT not in self._marks:
                self._wrong(
                    "change", alias.hex(), f"no change is on record by which {alias.hex()} is an alias of {key}"
                )

    async def _views(self) -> None:
        ids = list({*self._steps, *self.ends.values()})
        views: dict[bytes, bytes | None] = {}
        for start in range(0, len(ids), PAGE):
            piece = ids[start : start + PAGE]
            [found] = await self._store.values([keys.articles(self._site)], piece)
            views |= dict(zip(piece, found, strict=True))
        keys_of = dict(self._steps.values())
        for alias, end in self.ends.items():
            if views[end] is None:
                self._wrong(
                    "alias", alias.hex(), f"the alias {alias.hex()} leads to {keys_of[end]}, which is no article"
                )
            if views[alias] is not None and alias.hex() + KEPT not in self._marks:
                self._wrong(
                    "alias", alias.hex(), f"the alias {alias.hex()} has {number(views[alias])} views of its own"
                )

    def _moved(self, days: Mapping[bytes, int]) -> None:
        """Check that each merge has moved what the article and those merged into it had on their days, plus its
        baseline: since the merge, nothing was counted for any of them."""
        own = Counter(days)
        for alias in self.ends:
            # The views of an alias also belong to each article on its way, except to the one at the end.
            here, n = self._steps[alias][0], days.get(alias, 0)
            while here in self.ends:
                own[here] += n
                here = self._steps[here][0]
        for name, change in self._in_force().items():
            source = article_id(change.source)
            # Amounts may have been added or taken back since.
            expected = own[source] + max(change.bases[0], 0) + self._undated_within[source]
            moved = change.moved - change.amounts[0] + self.within[source]
            if source in self.ends and moved != expected and source.hex() + KEPT not in self._marks:
                self._wrong(
                    "change", name,
                    f"change {name} has moved {moved} views of {change.source}, whose days and baseline are "
                    f"{expected}",
                )  # fmt: skip


def _trouble(name: str, change: Change) -> Iterator[str]:
    """What is wrong in a record by itself."""
    if not _ID.fullmatch(name):
        yield f"a change has the id {name[:80]}"
    counts = (*change.views, *change.bases)
    if change.number < 0 or change.at_ms < 0 or any(n < -1 for n in counts):
        yield f"the record of change {name[:80]} has counts below zero"
    if (change.kind == "undo") != bool(change.undoes):
        yield f"the record of change {name[:80]} does not say what it undoes, or undoes what it makes"
