"""The key space: every key that visitstats writes is a row of one table, which both builds and parses its name.

    vs:…             of the whole installation
    vs:{SITE}:…      the ledger of a site: one hash slot of a cluster

Each key is kept for ever, or gets a time to live when it is made; `tests/store/test_keys.py` reads a used store and
fails for any other. The names are frozen: they are found again by later versions.
"""

import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple

from visitstats.core.counting import HALF_HOUR_MS, HOUR_MS, QUARTER_MS, SALT_LIFE_MS

DAY_MS = 24 * HOUR_MS


SKETCHES = 8
"""One sketch has a standard error of 0.81 %: one estimate in five would be off by more than 1 %. Eight sketches, each
with its share of the visitors, together have 0.29 %: one in a thousand. Each takes 12 KiB when a site has many
thousands of visitors a day, and next to nothing when it has few."""
UNIQUES_LIFE_MS = 40 * DAY_MS
PACKING_LIFE_MS = 26 * HOUR_MS
"""How long tiles are kept that were written and not sealed: longer than `redo`, which may still have to seal them."""
CLAIMS_LIFE_MS = 8 * DAY_MS
"""Claims are kept for eight days, so that an editor sees on Monday what was said in the week before."""
REFUSALS_LIFE_MS = 30 * DAY_MS
PRUNED_LIFE_MS = 7 * DAY_MS
"""How long pages that gave their places back can get them again. No page gives its place back in its first week, so no
more pages are kept at a time than a site has places."""
HOURS_LIFE_MS = 90 * DAY_MS
"""How long after its end the hours of a day are kept; days, months and years are kept for ever."""
MOST_TOUCHED = 65_536
"""How many places the ring of touched entries has (512 KiB). An index that is further behind reads all entries."""
DECIDING_MS = 25 * HOUR_MS
"""How long what decides about a hit is kept (who was here, what was read, which beacons came): an hour longer than the
journal, so that all that a replay brings back is decided as it was the first time. `journal_keep_hours` is at most
24."""


class Kind(NamedTuple):
    """One row of the key space. Called with the parts of a name (for a key of a site, the site first), it builds the
    name."""

    word: str
    """What the code calls this kind of key."""
    template: str
    """The template of the name; for a key of a site, what follows "vs:{SITE}:"."""
    type: str
    """The type, as the command TYPE names it."""
    life_ms: int | None
    """How long the store may keep the key at most, after the end of the day or half hour in its name, or else from now
    on; None for ever."""
    of_site: bool
    pattern: re.Pattern[str]
    form: str

    def __call__(self, *words: str | int) -> str:
        """Return the name of a key: 0.1 µs."""
        return self.form % words

    @property
    def parts(self) -> tuple[str, ...]:
        """The variable parts of the name, in their order, as SITE, DATE."""
        return (*(("SITE",) if self.of_site else ()), *re.findall(r"<(\w+)>", self.template))


_PARTS = {
    "DATE": r"\d{4}-\d\d-\d\d", "MONTH": r"\d{4}-\d\d", "YEAR": r"\d{4}", "HOUR": r"\d\d?", "HALFHOUR": r"\d+",
    "PART": f"[0-{SKETCHES - 1}]", "TASK": r"[a-z-]+", "NONCE": r"[0-9a-f]{16}", "CHANGE": r"[0-9a-f]{8}",
    "LAYER": r"[a-z]+",
}  # fmt: skip


_rows: list[Kind] = []


def _shared(word: str, template: str, kind: str, life_ms: int | None = None, *, of_site: bool = False) -> Kind:
    """Add a row for a key of the whole installation."""
    pattern = re.sub(r"<(\w+)>", lambda part: f"({_PARTS[part[1]]})", re.escape(template).replace(r"\-", "-"))
    form = ("vs:{%s}:" if of_site else "") + re.sub(r"<\w+>", "%s", template)
    _rows.append(Kind(word, template, kind, life_ms, of_site, re.compile(pattern), form))
    return _rows[-1]


def _key(word: str, template: str, kind: str, life_ms: int | None = None) -> Kind:
    """Add a row for a key of a site."""
    return _shared(word, template, kind, life_ms, of_site=True)


# The table. What is in angle brackets is part of the name, and an argument of the row.

SCHEMA = _shared("schema", "vs:schema", "string")()
"""String: the schema number (`core.schema`) with which the store is written."""
SITES = _shared("sites", "vs:sites", "hash")()
"""Hash: site id → record (JSON)."""
SITES_VERSION = _shared("sites:version", "vs:sites:version", "string")()
"""String: a random text that differs after each change of a site, so that workers see changes within a second."""
SITES_REMOVED = _shared("sites:removed", "vs:sites:removed", "hash")()
"""Hash: id of a site that was removed → when, and its record (`store.removals.Removed`)."""
SITES_ALIASES = _shared("sites:aliases", "vs:sites:aliases", "hash")()
"""Hash: site id → a random text that differs after each change of the site's aliases."""
TOKENS = _shared("tokens", "vs:tokens", "hash")()
"""Hash: SHA-256 of an access token → what it may do (JSON)."""
TOKENS_USED = _shared("tokens:used", "vs:tokens:used", "hash")()
"""Hash: SHA-256 of an access token → when it was last used, to the hour (ISO 8601)."""
refusals = _shared("refusals", "vs:refusals:<DATE>", "hash", REFUSALS_LIFE_MS)
"""Hash: what was refused on a day (UTC) to whom (JSON) → how often, and the moment (ms) of the last time."""
HOSTS = _shared("hosts", "vs:hosts", "hash")()
"""Hash: writer id → the name of the host whose data folder has its journal."""
ran = _shared("ran", "vs:ran:<YEAR>", "string")
"""Bitmap: the quarter hours since the beginning of a year (UTC) in which a service ran here."""
TASKS = _shared("tasks", "vs:tasks", "hash")()
"""Hash: scheduled task → how its last run went (JSON)."""
lease = _shared("lease", "vs:lease:<TASK>", "string", DAY_MS)
"""String, there while a worker runs the scheduled task."""
marks = _key("marks", "marks", "hash")
"""Hash: writer id → "sequence:hits" of the writer's last record that the ledger has (lua/ledger.lua)."""
redo = _key("redo", "redo", "string", DAY_MS)
"""String, seldom there: the writes of a record that are put down and not yet executed (lua/ledger.lua)."""
_salt = _key("salt", "salt:<DATE>", "string", SALT_LIFE_MS)
"""String: the salt of a site-day (rule 2)."""
seen = _key("seen", "seen:<DATE>", "hash", DECIDING_MS)
"""Hash: visitor token → presence (`core.counting.decode_presence`)."""
hit_ids = _key("hits", "hits:<HALFHOUR>", "set", DECIDING_MS + HALF_HOUR_MS)
"""Set: digests of the hit ids received in one half hour since the epoch."""
online = _key("online", "online", "string")
"""String: how many visitors were last seen in which second (`core.counting.online_in`)."""
counts = _key("counts", "counts", "hash")
"""Hash: "visits:2026", "visits:all" and "visits:base" (the baseline), the same of views and hits; "corrected:2026" and
"corrected:all", how often amounts of articles on days were changed; "touched", how often an entry of the dictionary was
changed; and "pruned", how often a page gave its place back or got it again."""
days = _key("days", "days:<MONTH>", "hash")
"""Hash: "visits" of a month and "visits:24" of a day of it, the same of views, hits and "corrected"."""
hours = _key("hours", "hours:<DATE>", "hash", HOURS_LIFE_MS)
"""Hash: "visits:14", "views:14" and "hits:14" of an hour, "ignored:14:bot", "uniques:14" (estimated), and
"peak:14" ("online moment"): hours are counted from the day's midnight."""
touched = _key("touched", "touched", "string")
"""String, a ring of MOST_TOUCHED ids: those of articles whose entry, baseline or alias was changed; the next one is
written at the place `touched` of `counts`, modulo MOST_TOUCHED."""
articles = _key("articles", "articles", "hash")
"""Hash: article id → its baseline + counted views of all time. It is also the register of the site's articles; one
that was merged into another is not in it."""
articles_of_day = _key("articles of a day", "articles:<DATE>", "hash")
"""Hash: article id → views on a date. One that was merged into another keeps its days. Gone when the month was
packed; what is counted for the day later, or corrected, makes it anew, and is added to the tiles."""
ids = _key("ids", "ids", "string")
"""String: the 8-byte ids of articles in the order in which they became known. An article's number is its first
place here, counted from 0; further places of the same id mean nothing."""
tiles = _key("tiles", "tiles:<MONTH>", "hash")
"""Hash: number of a block (decimal) → its tile of a month (`core.tiles`). Without a record in `packed` it means
nothing."""
packed = _key("packed", "packed", "hash")
"""Hash: month → the record of its packing (`core.tiles.Packed`): a month is packed if and only if it is here."""
packing = _key("packing", "packing:<MONTH>:<NONCE>", "hash", PACKING_LIFE_MS)
"""Hash: as `tiles`, while they are being written."""
names = _key("names", "names", "hash")
"""Hash: article id → dictionary entry (`core.entries.Entry`)."""
claims = _key("claims", "claims:<DATE>", "hash", CLAIMS_LIFE_MS)
"""Hash: article id → what readers say of it on a date (`core.entries.Claim`)."""
taken = _key("taken", "taken:<DATE>", "hash", DECIDING_MS)
"""Hash: what has been used of the limits of a day. Four bytes for a network and one for an hour → how many articles it
has brought; id of an article that found no place → four bytes for the network that read it; "#" → how many readings and
hit ids are kept (twice four bytes, the highest first)."""
base = _key("base", "base", "hash")
"""Hash: article id → baseline, the part of `articles` that an older counter counted."""
aliases = _key("aliases", "aliases", "hash")
"""Hash: id of an article that was merged into another → the other's id (8 bytes), followed by its key."""
changes = _key("changes", "changes", "hash")
"""Hash in which nothing is ever replaced: id of a change → its record (`store.change_records.Change`),
"ID:undone" → the id of the change that undid it, "ALIAS:kept" → "1" for an alias
that was put back without its record, after the store had lost both."""
order_of_changes = _key("order of changes", "changes:order", "string")
"""String: the ids of all changes, 8 letters each, in the order in which they were made. A site whose changes are older
than this gets it with its next change."""
changes_of_articles = _key("changes of articles", "changes:articles", "hash")
"""Hash: article id → ids of the last changes of it, 8 letters each, the newest last."""
set_by = _key("set by", "changes:set", "hash")
"""Hash: article id and a byte for a fact (its place, from 1) → the id of the change that has set it."""
amounts = _key("amounts", "amounts", "hash")
"""Hash: article id → the amounts (`lua/amounts.lua`) that are in force of the article, and of those that were merged
into it: a part of what it has in `articles`; below zero when they take away."""
layer = _key("layer", "layer:<LAYER>", "hash")
"""Hash, of the amounts that are in force of one layer (`CORRECTIONS`): "visits:2026", "visits:all"; views the same, and
under "articles" the part of the views that is in articles, too. They are a part of what `counts` has."""
layer_days = _key("layer of days", "layer:<LAYER>:<MONTH>", "hash")
"""Hash: "visits" of a month and "visits:24" of a day of it, as in `layer`: a part of what `days` has."""
imports = _key("imports", "imports", "hash")
"""Hash in which nothing is ever replaced: id of the change that made an import → the record of the import
(`store.import_records.Imported`)."""
import_parts = _key("parts of an import", "import:<CHANGE>", "hash")
"""Hash: number of a part → its amounts, "N:names" → dictionary entries of its articles until it is made, "N:made" and
"N:back" → "1" when it was made or taken back (`lua/import.lua`). Parts whose change never came are forgotten."""
closed = _key("closed", "closed", "hash")
"""Hash: month → the closing that is in force (`core.closing.Closing`)."""
frozen = _key("frozen", "closed:<MONTH>", "hash")
"""Hash in which nothing is ever replaced: id of the change that closed a month → its closing; "ID:0", "ID:1" … → what
was frozen, in pieces."""
pruned = _key("pruned", "pruned:<CHANGE>", "hash", PRUNED_LIFE_MS)
"""Hash: id of a page that gave its place back by a change → what it had: (entry, (date, views, …))."""
sketch = _key("unique", "unique:<DATE>:<PART>", "string", UNIQUES_LIFE_MS)
"""HyperLogLog: those tokens without the visit id (rule 9) whose first byte modulo SKETCHES is PART."""
hour_sketch = _key("unique of an hour", "unique:<DATE>:h<HOUR>", "string", UNIQUES_LIFE_MS)
"""HyperLogLog: the tokens without the visit id of the readers of one hour."""
uniques = _key("uniques", "uniques:<YEAR>", "hash")
"""Hash: date → estimated unique visitors of a closed day."""
ignored = _key("ignored", "ignored:<MONTH>", "hash")
"""Hash: "24:bot" → beacons of a day of the month that were not counted, by reason (rule 8)."""
peaks = _key("peaks", "peaks:<YEAR>", "hash")
"""Hash: date → "online moment": the most visitors that were online at once, and the first such moment (ms)."""

KINDS = tuple(_rows)
"""Every key that may be found under `vs:`."""
_NAME = re.compile(r"vs:\{([a-z0-9][a-z0-9-]*)\}:(.+)")


class Named(NamedTuple):
    """A key's name, taken apart."""

    kind: Kind
    site: str
    words: tuple[str, ...]
    """The variable part of the name: a date, a half hour …"""


def parse(name: str) -> Named | None:
    """Take the name of a key apart; None for a key that no part of this project writes."""
    found = _NAME.fullmatch(name)
    site, rest = (found[1], found[2]) if found else ("", name)
    for kind in KINDS:
        if kind.of_site == bool(found) and (match := kind.pattern.fullmatch(rest)):
            return Named(kind, site, match.groups())
    return None


def of_site(site: str) -> str:
    """Return the pattern (as SCAN takes it) of all keys of a site; of all sites and the installation when empty."""
    return f"vs:{{{site}}}:*" if site else "vs:*"


class Expiring(NamedTuple):
    """A key with the moment (Unix seconds) at which the store forgets it."""

    name: str
    expires_at: int


def salt(site: str, day: str, end_ms: int) -> Expiring:
    """String: the salt of a site-day (rule 2)."""
    return Expiring(_salt(site, day), (end_ms + SALT_LIFE_MS) // 1000)


def count_at(site: str, kind: str, name: str, of_layer: str = "") -> tuple[str, str]:
    """Return the key and the field that hold the visits, views or hits (`kind`) of a date, a month, a year, "all" or
    "base" (`name`, as `core.periods` names them): of all together, or of one layer alone."""
    if len(name) >= len("2026-11"):
        month = layer_days(site, of_layer, name[:7]) if of_layer else days(site, name[:7])
        return month, f"{kind}:{name[8:]}" if len(name) > len("2026-11") else kind
    return layer(site, of_layer) if of_layer else counts(site), f"{kind}:{name}"


def sketches(site: str, day: str) -> list[str]:
    """HyperLogLogs, SKETCHES of them: of the tokens without the visit id (rule 9) each has those whose first byte
    modulo SKETCHES is its place."""
    return [sketch(site, day, part) for part in range(SKETCHES)]


def quarter_of(moment_ms: int) -> tuple[int, int]:
    """Return the year (UTC) of a moment, and its quarter hour in it: the place in `ran`."""
    moment = datetime.fromtimestamp(moment_ms // 1000, UTC)
    return moment.year, int((moment - datetime(moment.year, 1, 1, tzinfo=UTC)).total_seconds()) * 1000 // QUARTER_MS


@lru_cache(maxsize=1024)
def _of_commit(site: str, day: str, yesterday: str, hour: int, half_hour: int) -> tuple[str, ...]:
    # The same for all batches of half an hour: 0.2 µs instead of 6.
    return (
        marks(site),
        seen(site, day),
        seen(site, yesterday),
        hit_ids(site, half_hour),
        hit_ids(site, half_hour - 1),
        hit_ids(site, half_hour + 1),
        online(site),
        counts(site),
        days(site, day[:7]),
        articles(site),
        articles_of_day(site, day),
        names(site),
        aliases(site),
        hours(site, day),
        ignored(site, day[:7]),
        claims(site, day),
        taken(site, day),
        ids(site),
        touched(site),
        hour_sketch(site, day, hour),
        *sketches(site, day),
    )


def of_commit(site: str, day: str, yesterday: str, hour: int, half_hour: int) -> list[str]:
    """Return the keys of a batch in the order in which `lua/commit` takes them; after these it takes those of the
    counts that are to be answered, and `redo`."""
    return [*_of_commit(site, day, yesterday, hour, half_hour)]


CORRECTIONS = "corrections"
"""The layer of what editors and administrators add and take away."""
IMPORTS = "imports"
"""The layer of what older counters have brought along."""
LAYERS = (CORRECTIONS, IMPORTS)
"""The layers: the parts of counts that we have not counted ourselves."""


def _of_record(site: str) -> list[str]:
    """The keys that `record.lua` takes, before those of each change."""
    return [marks(site), changes(site), order_of_changes(site), changes_of_articles(site)]


def of_change(site: str) -> list[str]:
    """Return the keys of a merge, an undo of one or baselines, in the order in which `change.lua` takes them."""
    return [
        *_of_record(site), aliases(site), articles(site), base(site), names(site), counts(site), ids(site),
        touched(site), amounts(site), redo(site),
    ]  # fmt: skip


def of_amounts(site: str, name: str, place: str) -> list[str]:
    """Return the keys of amounts of a layer (`name`) in the order in which `amounts.lua` takes them. `place` is the
    date, month or year to which they belong, or empty; without a month the last ones are not used."""
    month = place[:7] if len(place) >= len("2026-11") else ""
    of_month = [counts(site), layer(site, name), articles(site)]
    if month:
        day = articles_of_day(site, place) if len(place) > len(month) else articles(site)
        of_month = [days(site, month), layer_days(site, name, month), day]
    return [
        *_of_record(site), aliases(site), articles(site), names(site), counts(site), ids(site), touched(site),
        amounts(site), layer(site, name), closed(site), *of_month, redo(site),
    ]  # fmt: skip


def of_import(site: str, change: str, place: str) -> list[str]:
    """Return the keys of an import (`change`), in the order in which `import.lua` takes them. `place` is that of the
    part that is made or taken back; empty for none, too."""
    *before, _redo = of_amounts(site, IMPORTS, place)
    before[12] = import_parts(site, change)
    return [*before, imports(site), redo(site)]


def of_facts(site: str) -> list[str]:
    """Return the keys for setting facts of an article, in the order in which `facts.lua` takes them."""
    return [*_of_record(site), names(site), counts(site), touched(site), set_by(site), redo(site)]


def of_note(site: str) -> list[str]:
    """Return the keys of a change that is only written down, in the order in which `note.lua` takes them."""
    return [*_of_record(site), redo(site)]


def of_closing(site: str, month: str) -> list[str]:
    """Return the keys of a period that is closed or opened, in the order in which `closing.lua` takes them."""
    return [*_of_record(site), closed(site), frozen(site, month), redo(site)]


def of_prune(site: str, change: str, dates: list[str]) -> list[str]:
    """Return the keys of pages that give their places back, in the order in which `prune.lua` takes them. `dates` are
    the days on which they were read."""
    mine = [
        *_of_record(site), articles(site), base(site), names(site), counts(site), ids(site), touched(site),
        amounts(site), packed(site), closed(site), pruned(site, change),
    ]  # fmt: skip
    return [*mine, *(articles_of_day(site, day) for day in dates), redo(site)]


def of_seal(site: str, month: str, nonce: str, sums: str, days: list[str]) -> list[str]:
    """Return the keys of the sealing of a month, in the order in which `seal.lua` takes them. `sums` is the key of the
    site's views per day, `days` are the dates of the month."""
    mine = [packing(site, month, nonce), tiles(site, month), packed(site), sums]
    return [*mine, *(articles_of_day(site, day) for day in days), redo(site)]
