"""Changes that people make: how they are written into the journal, and the record of each: who, when, why, what, and
what was there before.

A change travels as a record of the journal, among the hits (`core.batch.ChangeRecord`): it is applied once, and again
after a loss. The scripts write the record of a change together with its effect, and never alter a record.
"""

import secrets
from typing import Literal, NamedTuple

import msgspec

from visitstats.core.batch import ChangeRecord
from visitstats.core.counting import NUMBERS_BASELINE
from visitstats.core.entries import FACTS, Entry
from visitstats.core.entries import encode as encode_entry
from visitstats.core.keys import article_id
from visitstats.core.wire import column, text
from visitstats.store import keys
from visitstats.store.prunes import PRUNING, pages_of

MOST_ALIASES = 20_000
"""The most aliases of a site. Each takes some 250 bytes in every worker. Addresses that follow a pattern are joined by
a rewrite rule instead (rule 6 of keys)."""
MOST_CHANGES = 100_000
"""The most changes of a site: 50 MB at worst."""
MOST_OF_ARTICLE = 256
"""How many of an article's last changes are found without reading all changes of the site."""
HEAD = 4
"""Where in the body of a change's record the head of the change stands (`Change.head`), but for those of HEADS."""
HEADS = {"amounts": 3, "facts": 2, "close": 2, "prune": 3, "restore": 3, "begin": 3, "settings": 2}

Kind = Literal[
    "merge",
    "alias",
    "undo",
    "adjust",
    "reset",
    "rename",
    "hide",
    "unhide",
    "type",
    "accept",
    "close",
    "reopen",
    "prune",
    "import",
    "baseline",
    "settings",
]
TYPE, HIDDEN = len(FACTS) + 1, len(FACTS) + 2
"""The places of what an editor may set beside FACTS, whose places begin with 1 (`lua/facts.lua`)."""
NAMES_OF_FACTS = (*FACTS, "type", "hidden")


class Amount(msgspec.Struct, frozen=True, array_like=True):
    """What was added to a count; below zero when something was taken away."""

    key: str
    """The key of the article; empty for the site."""
    kind: str
    """visits or views."""
    by: int
    day: int = -1
    """The count at the place (`Change.place`) before; -1 without a place, or when it is not known."""
    total: int = 0
    """The count of all time before, with the baseline."""


class FactSet(msgspec.Struct, frozen=True, array_like=True):
    """A fact of an article that was set: its title, author, category …"""

    place: int
    before: str
    after: str
    standing: str = ""
    """How far what was there before could be trusted (a letter of `core.entries.Standing`)."""
    set_by: str = ""
    """The id of the change that had set the fact before; in an undo, the id of the change that it takes back."""

    @property
    def name(self) -> str:
        """One of NAMES_OF_FACTS."""
        return NAMES_OF_FACTS[self.place - 1] if 0 < self.place <= len(NAMES_OF_FACTS) else f"fact {self.place}"


class SettingSaid(msgspec.Struct, frozen=True, array_like=True):
    """A setting of the site that was changed, as texts. A secret is named, and not shown."""

    name: str
    before: str
    after: str


class Change(msgspec.Struct, frozen=True, array_like=True):
    """The record of a change. The layout is frozen: records are read back by later versions."""

    kind: Kind
    at_ms: int
    who: str
    why: str
    source: str
    """The key of the article that the change is about: the one that was merged, or that got its counts back by the undo
    of a merge. Empty for a change of the whole site."""
    target: str
    """Key of the article into which it was merged."""
    undoes: str
    """For an undo, the id of the change that it takes back."""
    number: int = 0
    """Grows from change to change of a site."""
    views: tuple[int, int] = (-1, -1)
    """Views of all time of the two articles before the change; -1 for none. When pages gave their places back (or got
    them again by an undo), the first number is the views of these pages."""
    bases: tuple[int, int] = (-1, -1)
    """Their baselines before the change; -1 for none. When pages gave their places back, the first number is how many
    pages."""
    amounts: tuple[int, int] = (0, 0)
    """Their amounts before the change, which are a part of the views."""
    place: str = ""
    """The date to which amounts were added, empty for amounts without a date; or the period that was closed or
    opened."""
    said: tuple[Amount, ...] = ()
    note: str = ""
    """For an amount, the date for which it was meant, when the period of that date is closed. For a closing, its
    SHA-256. For settings, what they were and are (`Change.settings`)."""
    facts: tuple[FactSet, ...] = ()

    @property
    def moved(self) -> int:
        """The views of all time that it moved."""
        return max(self.views[0], 0)

    @property
    def settings(self) -> "list[SettingSaid]":
        """Which settings of the site were changed; none when that cannot be read."""
        if self.kind != "settings":
            return []
        try:
            return _decode_settings(self.note)
        except msgspec.MsgspecError:
            return []

    @property
    def pages(self) -> int:
        """How many pages gave their places back, or got them again."""
        return 0 if self.source else max(self.bases[0], 0)

    @property
    def head(self) -> tuple[str | int | msgspec.Raw, ...]:
        """The part of the record that the script is given; it adds the rest."""
        texts = (self.who, self.why, self.source, self.target, self.undoes)
        return (self.kind, self.at_ms, *(text(each.encode()) for each in texts))


class Logged(msgspec.Struct, frozen=True):
    """A change as it is on the list."""

    id: str
    change: Change
    undone: str = ""
    """The id of the change that undid it."""


_decode = msgspec.msgpack.Decoder(Change).decode
_decode_settings = msgspec.json.Decoder(list[SettingSaid]).decode
_pack = msgspec.msgpack.Encoder().encode


def decode_change(record: bytes) -> Change:
    """Read the record of a change. Raises msgspec.DecodeError."""
    try:
        return _decode(record)
    except UnicodeDecodeError as error:
        raise msgspec.DecodeError(str(error)) from error


def new_id() -> str:
    """Make an id for a change: short, because people type it."""
    return secrets.token_hex(4)


# Merges and baselines ------------------------------------------------------------------------------------------------


def merging(site: str, change_id: str, change: Change) -> ChangeRecord:
    """Write a merge or an alias for the journal. Its sequence and its moment are filled in when it is journalled."""
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


# Amounts, facts, closed periods --------------------------------------------------------------------------------------


def adding(site: str, change_id: str, change: Change, seen: int, layer: str = keys.CORRECTIONS) -> ChangeRecord:
    """Write amounts (`change.said`) for the journal, at a date, month or year, or at no time (`change.place`): of the
    site at most one of visits and one of views, and of at most PAGE articles. `seen` is what `Changes.many` said when
    they were worked out."""
    of_site = [each for kind in ("visits", "views") for each in change.said if not each.key and each.kind == kind]
    of_articles = [each for each in change.said if each.key]
    found = {each.kind: each.by for each in of_site}
    body = (
        change_id, change.undoes, seen, change.head, change.place, (found.get("visits", 0), found.get("views", 0)),
        column([article_id(each.key) for each in of_articles]),
        [each.by for each in of_articles],
        [text(encode_entry(Entry(each.key))) for each in of_articles],
        [(text(each.key.encode()), each.kind, each.by, each.day) for each in (*of_site, *of_articles)],
        change.note,
        layer,
    )  # fmt: skip
    return ChangeRecord(site, 0, 0, 0, "amounts", _pack(body))


def naming(site: str, change_id: str, change: Change) -> ChangeRecord:
    """Write facts of an article (`change.source`; `change.facts` has the new values), or the undo of that, for the
    journal."""
    body = (
        change_id, change.undoes, change.head, text(article_id(change.source)), text(change.source.encode()),
        [(each.place, text(each.after.encode())) for each in change.facts],
    )  # fmt: skip
    return ChangeRecord(site, 0, 0, 0, "facts", _pack(body))


def freezing(site: str, change_id: str, month: str, number: int, piece: bytes) -> ChangeRecord:
    """Write a piece of what is frozen of a month for the journal."""
    return ChangeRecord(site, 0, 0, 0, "freeze", _pack((change_id, number, text(piece), month)))


class ClosingState(NamedTuple):
    """The closing that is in force after a change."""

    closing: bytes
    """Empty for none."""
    frozen: str
    """The id of the change that froze it."""
    pieces: int
    before: str
    """The id of the one that is in force until then; empty for none."""


def closing(site: str, change_id: str, change: Change, state: ClosingState) -> ChangeRecord:
    """Write the closing or opening of a month (`change.place`) for the journal."""
    body = (
        change_id, change.undoes, change.head, change.place, text(state.closing), state.frozen, state.pieces,
        state.before, change.note,
    )  # fmt: skip
    return ChangeRecord(site, 0, 0, 0, "close", _pack(body))


# Settings ------------------------------------------------------------------------------------------------------------


def encode_settings(said: list[SettingSaid]) -> str:
    """Write what settings were and are, for a change's note."""
    return msgspec.json.encode(said).decode()


def noting(site: str, change_id: str, change: Change) -> ChangeRecord:
    """Write a change of settings (`change.note`) for the journal."""
    return ChangeRecord(site, 0, 0, 0, "settings", _pack((change_id, "", change.head, change.note)))


# Imports -------------------------------------------------------------------------------------------------------------


def staging(site: str, change_id: str, number: int, part: bytes, entries: list[bytes]) -> ChangeRecord:
    """Write a part of an import (`import_records.encode_part`) and the entries of its articles (packed, or empty) for
    the journal. The part has no effect until the import is begun."""
    body = (change_id, number, text(part), [text(each) for each in entries])
    return ChangeRecord(site, 0, 0, 0, "stage", _pack(body))


def beginning(site: str, change_id: str, change: Change, seen: int, parts: int, own: bytes) -> ChangeRecord:
    """Write down that an import is made from now on, or taken back (`change.undoes`), for the journal. `seen` is how
    many imports there were when it was worked out."""
    said = [(text(each.key.encode()), each.kind, each.by, each.day, each.total) for each in change.said]
    body = (change_id, change.undoes, seen, change.head, said, change.note, parts, text(own))
    return ChangeRecord(site, 0, 0, 0, "begin", _pack(body))


def making(site: str, import_id: str, number: int, place: str, *, back: bool) -> ChangeRecord:
    """Write the making of a part, or that it is taken `back`, for the journal."""
    return ChangeRecord(site, 0, 0, 0, "part", _pack((import_id, number, place, -1 if back else 1)))


# What a record in the journal is -------------------------------------------------------------------------------------


def of_record(record: ChangeRecord) -> tuple[str, list[str]]:
    """Return the script that takes a change, and its keys."""
    if record.kind == "amounts":
        body = _parts(record)
        place, layer = (msgspec.msgpack.decode(body[n], type=str) for n in (4, -1))
        return "amounts", keys.of_amounts(record.site, layer, place)
    if record.kind == "facts":
        return "facts", keys.of_facts(record.site)
    if record.kind in PRUNING:
        return "prune", keys.of_prune(record.site, *pages_of(record))
    if record.kind in ("stage", "begin", "part"):
        body = _parts(record)
        undoes = msgspec.msgpack.decode(body[1], type=str) if record.kind == "begin" else ""
        place = msgspec.msgpack.decode(body[2], type=str) if record.kind == "part" else ""
        return "import", keys.of_import(record.site, undoes or msgspec.msgpack.decode(body[0], type=str), place)
    if record.kind == "settings":
        return "note", keys.of_note(record.site)
    if record.kind in ("freeze", "close"):
        return "closing", keys.of_closing(record.site, msgspec.msgpack.decode(_parts(record)[3], type=str))
    return "change", keys.of_change(record.site)


def describe(record: ChangeRecord) -> str:
    """Say in a line what a change in the journal is, for the log."""
    if record.kind == "baseline":
        return "baselines"
    body = _parts(record)
    own_id = msgspec.msgpack.decode(body[0])
    if record.kind == "freeze":
        return f"a frozen piece of change {own_id}"
    if record.kind in ("stage", "part"):
        return f"a part of import {own_id}"
    change = _decode(body[HEADS.get(record.kind, HEAD)])
    named = f"{change.kind} {change.source} into {change.target}" if change.target else f"{change.kind} {change.source}"
    what = f"undo {change.undoes}" if change.undoes else named.strip()
    return f"{what} by {change.who} (change {own_id})"


def _parts(record: ChangeRecord) -> list[msgspec.Raw]:
    # Part by part: ids of articles are packed as text, but are no valid UTF-8.
    return msgspec.msgpack.decode(record.body, type=list[msgspec.Raw])
