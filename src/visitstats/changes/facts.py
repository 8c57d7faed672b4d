"""Facts that an editor sets for an article (title, author, category, publication, address, type), and whether lists
show it. No reader's beacon replaces them."""

from collections.abc import Callable
from typing import Literal

import msgspec

from visitstats.changes.recording import ChangeRefused, NothingChanges, Order, Recording, UndoFirst, refusal
from visitstats.core.addresses import split_url
from visitstats.core.beacon import line, moment
from visitstats.core.entries import (
    AS_KEY,
    FACTS,
    MAX_LABEL_BYTES,
    MAX_MOMENT_BYTES,
    MAX_TITLE_BYTES,
    MOST_TEXT_BYTES,
    Entry,
)
from visitstats.core.errors import HitRejected
from visitstats.core.hosts import fold_host
from visitstats.core.keys import article_id
from visitstats.core.sites import Site
from visitstats.store.change_records import HIDDEN, NAMES_OF_FACTS, TYPE, Change, FactSet, Logged, naming
from visitstats.store.commit import Changed
from visitstats.store.reads import Reads

MAX_TYPE_BYTES = 60
_MOST_BYTES = {"title": MAX_TITLE_BYTES, "published": MAX_MOMENT_BYTES, "type": MAX_TYPE_BYTES, "url": MOST_TEXT_BYTES}
LOOK_DAYS = 8
"""For how many days readers' claims are kept."""


class Renaming(msgspec.Struct, frozen=True):
    """The new facts of an article; None leaves a fact as it is."""

    title: str | None = None
    author: str | None = None
    category: str | None = None
    published: str | None = None
    url: str | None = None


class Naming:
    """Sets facts of the articles of one site. Every method may raise StoreUnavailable, ChangeRefused,
    NoSuchArticle, Pending, JournalFull and Overloaded."""

    def __init__(self, recording: Recording, site: Site) -> None:
        self._recording = recording
        self._changes = recording.changes
        self._site = site

    async def rename(self, article: str, facts: Renaming, order: Order) -> Logged:
        """Set facts of an article."""
        if before := await self._recording.made_before(order, "rename"):
            return before
        key = await self._recording.article(article)
        found = {name: value for name in FACTS if (value := getattr(facts, name)) is not None}
        if not found:
            raise ChangeRefused("say what to change: title, author, category, published or url")
        return await self._set(
            "rename", key, {name: self._checked(name, key, value) for name, value in found.items()}, order
        )

    async def classify(self, article: str, kind: str, order: Order) -> Logged:
        """Say of which type an article is; empty for none."""
        if before := await self._recording.made_before(order, "type"):
            return before
        key = await self._recording.article(article)
        return await self._set("type", key, {"type": self._checked("type", key, kind)}, order)

    async def hide(self, article: str, order: Order, *, hidden: bool = True) -> Logged:
        """Take an article out of the lists, or put it back. It is counted as before."""
        kind: Literal["hide", "unhide"] = "hide" if hidden else "unhide"
        if before := await self._recording.made_before(order, kind):
            return before
        key = await self._recording.article(article)
        return await self._set(kind, key, {"hidden": "1" if hidden else ""}, order)

    async def accept(
        self, article: str, fact: str, value: str, order: Order, reads: Reads, days: Callable[[int], list[str]]
    ) -> Logged:
        """Set a fact to a value that readers claim, as the list of claims shows it. `days` are the days whose claims
        are searched."""
        if before := await self._recording.made_before(order, "accept"):
            return before
        key = await self._recording.article(article)
        if fact not in FACTS:
            raise ChangeRefused(f"{fact[:20]!r} is no fact that readers tell: {', '.join(FACTS)}")
        place = article_id(key)
        for day in days(LOOK_DAYS):
            claims = await reads.claims_of(self._site.id, day, place)
            if any(each.fact == fact and each.value == value for each in claims):
                break
        else:
            raise ChangeRefused(f"no reader says so of {key}: visitstats claims {self._site.id} shows what they say")
        return await self._set("accept", key, {fact: value}, order)

    async def look_at_undo(self, made: Logged) -> tuple[FactSet, ...]:
        """Return what the undo of such a change sets. Raises ChangeRefused when something has to be undone first."""
        for each in made.change.facts:
            setter = await self._changes.setter(self._site.id, made.change.source, each.place)
            if setter != made.id:
                raise self._later(made, setter)
        entry = await self._changes.entry(self._site.id, made.change.source)
        return tuple(
            FactSet(
                each.place, "" if entry is None else value_of(entry, each.place), each.before, each.standing, made.id
            )
            for each in made.change.facts
        )

    async def undo(self, made: Logged, order: Order) -> Logged:
        """Take such a change back."""
        own_id, change = self._recording.begin("undo", order)
        await self.look_at_undo(made)
        change = msgspec.structs.replace(change, source=made.change.source, undoes=made.id)
        return self._made(
            await self._recording.make(Logged(own_id, change), naming(self._site.id, own_id, change)), made
        )

    async def _set(
        self, kind: Literal["rename", "hide", "unhide", "type", "accept"], key: str, facts: dict[str, str], order: Order
    ) -> Logged:
        own_id, change = self._recording.begin(kind, order)
        entry = await self._changes.entry(self._site.id, key) or Entry(key)
        places = {name: NAMES_OF_FACTS.index(name) + 1 for name in facts}
        said = tuple(FactSet(places[name], value_of(entry, places[name]), value) for name, value in facts.items())
        pinned = all(place > len(FACTS) or entry.standings[place - 1 : place] == "e" for place in places.values())
        if pinned and all(each.before == each.after for each in said):
            raise NothingChanges("nothing would change")
        texts = {name: getattr(entry, name) for name in FACTS} | {n: v for n, v in facts.items() if n in FACTS}
        size = len(key.encode()) + sum(len(text.encode()) for text in texts.values())
        if size > MOST_TEXT_BYTES:
            raise ChangeRefused(f"all texts of an article together have at most {MOST_TEXT_BYTES} bytes, not {size}")
        change = msgspec.structs.replace(change, source=key, facts=said)
        return self._made(await self._recording.make(Logged(own_id, change), naming(self._site.id, own_id, change)))

    def _made(self, made: Logged | Changed, undone: Logged | None = None) -> Logged:
        if isinstance(made, Logged):
            return made
        if made.reason == "later" and undone is not None:
            raise self._later(undone, made.detail)
        if made.reason == "undone":
            raise ChangeRefused("the change is undone already")
        raise refusal(made, f"the article cannot be changed ({made.reason})")

    def _later(self, made: Logged, setter: str) -> ChangeRefused:
        first = f"; undo change {setter} first" if setter else ""
        why = f"what change {made.id} has set was set again since{first}"
        return UndoFirst(why) if setter else ChangeRefused(why)

    def _checked(self, name: str, key: str, value: str) -> str:
        """Return a fact as it is written down."""
        if name == "published":
            found = moment(value.strip())
            if not found:
                raise ChangeRefused(f"{value[:40]!r} is no date: write it as 2026-11-24 or 2026-11-24T08:30+07:00")
        elif name == "url":
            found = self._address(key, value.strip())
        else:
            found = line(value, 4 * MAX_TITLE_BYTES)
        if not found and name != "type":
            raise ChangeRefused(f"the {name} cannot be empty")
        most = _MOST_BYTES.get(name, MAX_LABEL_BYTES)
        if len(found.encode()) > most:
            raise ChangeRefused(f"the {name} is longer than {most} bytes")
        return found

    def _address(self, key: str, value: str) -> str:
        try:
            host, _ = split_url(value)
        except HitRejected as refused:
            raise ChangeRefused(f"{value[:80]}: {refused.detail}") from refused
        if host not in {fold_host(each) for each in self._site.hosts} or not value.isprintable() or " " in value:
            raise ChangeRefused(f"{value[:80]} is no address of this site ({', '.join(self._site.hosts)})")
        return AS_KEY if value == f"https://{self._site.main_host}{key}" else value


def value_of(entry: Entry, place: int) -> str:
    """Return the value of a fact in an entry, in the form of the records of changes."""
    if place == HIDDEN:
        return "1" if entry.hidden else ""
    if place == TYPE:
        return entry.type
    name = FACTS[place - 1]
    found: str = getattr(entry, name)
    said = entry.standings[place - 1 : place]
    return AS_KEY if name == "url" and not found and said not in ("", "-") else found


def shown_facts(change: Change) -> list[tuple[str, str, str]]:
    """Return the names of the facts of a change, what they were before, and what they are after it."""
    return [(each.name, each.before, each.after) for each in change.facts]
