"""The key space: every key that visitstats writes is a row of one table, which both builds and parses its name.

    vs:…             of the whole installation
    vs:{SITE}:…      the ledger of a site: one hash slot of a cluster

Each key is kept for ever, or gets a time to live when it is made; `tests/store/test_keys.py` reads a used store and
fails for any other. The names are frozen: they are found again by later versions.
"""

import re
from datetime import UTC, datetime
from typing import NamedTuple

from visitstats.core.counting import HALF_HOUR_MS, HOUR_MS, QUARTER_MS, SALT_LIFE_MS

DAY_MS = 24 * HOUR_MS

SCHEMA = "vs:schema"
"""String: the schema number (`core.schema`) of whoever wrote here first."""
SITES = "vs:sites"
"""Hash: site id → record (JSON)."""
SITES_VERSION = "vs:sites:version"
"""A random text that is another after each change of a site, so that workers see changes within a second."""
SITES_ALIASES = "vs:sites:aliases"
"""Hash: site id → a random text that is another after each change of the site's aliases."""
TOKENS = "vs:tokens"
"""Hash: SHA-256 of an access token → what it may do (JSON)."""
HOSTS = "vs:hosts"
"""Hash: writer id → the name of the host whose data folder has its journal."""
TASKS = "vs:tasks"
"""Hash: scheduled task → how its last run went (JSON)."""

SKETCHES = 8
"""One has a standard error of 0.81 %: one estimate in five would be off by more than 1 %. Of eight together, each with
its share of the visitors, it is 0.29 %: one in a thousand. They take 12 KiB each when a site has many thousands of
visitors a day, and next to nothing else."""
UNIQUES_LIFE_MS = 40 * DAY_MS
PACKING_LIFE_MS = 26 * HOUR_MS
"""How long tiles are kept that were written and not sealed: longer than `redo`, which may still have to seal them."""
CLAIMS_LIFE_MS = 8 * DAY_MS
"""An editor sees on Monday what was said in the week before."""
HOURS_LIFE_MS = 90 * DAY_MS
"""How long after its end the hours of a day are kept; days, months and years are kept for ever."""
MOST_TOUCHED = 65_536
"""Places of the ring of touched entries (512 KiB): whoever reads it is never so many behind, or reads all entries."""
DECIDING_MS = 25 * HOUR_MS
"""How long what decides about a hit is kept (who was here, what was read, which beacons came): an hour longer than the
journal, so that all that a replay brings back is decided as it was the first time. `journal_keep_hours` is at most
24."""


class Kind(NamedTuple):
    """One row of the key space."""

    word: str
    """What the code calls it."""
    template: str
    """The name; of a site, what follows "vs:{SITE}:"."""
    type: str
    """As the command TYPE says it."""
    life_ms: int | None
    """None: for ever. Else how long after what the name says (a day, a half hour; else: after now) the store may keep
    it at most."""
    of_site: bool
    pattern: re.Pattern[str]


_PARTS = {
    "DATE": r"\d{4}-\d\d-\d\d", "MONTH": r"\d{4}-\d\d", "YEAR": r"\d{4}", "HOUR": r"\d\d?", "HALFHOUR": r"\d+",
    "PART": f"[0-{SKETCHES - 1}]", "TASK": r"[a-z-]+", "NONCE": r"[0-9a-f]{16}",
}  # fmt: skip


def _row(word: str, template: str, kind: str, life_ms: int | None = None, *, of_site: bool = True) -> Kind:
    pattern = re.sub(r"<(\w+)>", lambda part: f"({_PARTS[part[1]]})", re.escape(template).replace(r"\-", "-"))
    return Kind(word, template, kind, life_ms, of_site, re.compile(pattern))


KINDS = (
    _row("schema", "vs:schema", "string", of_site=False),
    _row("sites", "vs:sites", "hash", of_site=False),
    _row("sites:version", "vs:sites:version", "string", of_site=False),
    _row("sites:aliases", "vs:sites:aliases", "hash", of_site=False),
    _row("tokens", "vs:tokens", "hash", of_site=False),
    _row("hosts", "vs:hosts", "hash", of_site=False),
    _row("ran", "vs:ran:<YEAR>", "string", of_site=False),
    _row("tasks", "vs:tasks", "hash", of_site=False),
    _row("lease", "vs:lease:<TASK>", "string", DAY_MS, of_site=False),
    _row("marks", "marks", "hash"),
    _row("redo", "redo", "string", DAY_MS),
    _row("salt", "salt:<DATE>", "string", SALT_LIFE_MS),
    _row("seen", "seen:<DATE>", "hash", DECIDING_MS),
    _row("hits", "hits:<HALFHOUR>", "set", DECIDING_MS + HALF_HOUR_MS),
    _row("online", "online", "string"),
    _row("counts", "counts", "hash"),
    _row("days", "days:<MONTH>", "hash"),
    _row("hours", "hours:<DATE>", "hash", HOURS_LIFE_MS),
    _row("touched", "touched", "string"),
    _row("articles", "articles", "hash"),
    _row("articles of a day", "articles:<DATE>", "hash"),
    _row("ids", "ids", "string"),
    _row("tiles", "tiles:<MONTH>", "hash"),
    _row("packed", "packed", "hash"),
    _row("packing", "packing:<MONTH>:<NONCE>", "hash", PACKING_LIFE_MS),
    _row("names", "names", "hash"),
    _row("claims", "claims:<DATE>", "hash", CLAIMS_LIFE_MS),
    _row("taken", "taken:<DATE>", "hash", DECIDING_MS),
    _row("base", "base", "hash"),
    _row("aliases", "aliases", "hash"),
    _row("changes", "changes", "hash"),
    _row("unique", "unique:<DATE>:<PART>", "string", UNIQUES_LIFE_MS),
    _row("unique of an hour", "unique:<DATE>:h<HOUR>", "string", UNIQUES_LIFE_MS),
    _row("uniques", "uniques:<YEAR>", "hash"),
    _row("ignored", "ignored:<MONTH>", "hash"),
    _row("peaks", "peaks:<YEAR>", "hash"),
)
"""Every key that may be found under `vs:`."""
_NAME = re.compile(r"vs:\{([a-z0-9][a-z0-9-]*)\}:(.+)")


class Named(NamedTuple):
    """A key's name, taken apart."""

    kind: Kind
    site: str
    words: tuple[str, ...]
    """What the name says: a date, a half hour."""


def parse(name: str) -> Named | None:
    """Take the name of a key apart; None for one that nobody here writes."""
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
    return Expiring(f"vs:{{{site}}}:salt:{day}", (end_ms + SALT_LIFE_MS) // 1000)


def marks(site: str) -> str:
    """Hash: writer id → "sequence:hits" of the writer's last record that the ledger has (lua/ledger.lua)."""
    return f"vs:{{{site}}}:marks"


def redo(site: str) -> str:
    """String, seldom there: the writes of a record that are put down and not executed yet (lua/ledger.lua)."""
    return f"vs:{{{site}}}:redo"


def seen(site: str, day: str) -> str:
    """Hash: visitor token → presence (`core.counting.decode_presence`)."""
    return f"vs:{{{site}}}:seen:{day}"


def hit_ids(site: str, half_hour: int) -> str:
    """Set: digests of the hit ids received in one half hour since the epoch."""
    return f"vs:{{{site}}}:hits:{half_hour}"


def online(site: str) -> str:
    """String: how many visitors were last seen in which second (`core.counting.online_in`)."""
    return f"vs:{{{site}}}:online"


def counts(site: str) -> str:
    """Hash: "visits:2026", "visits:all" and "visits:base" (the baseline), the same of views and hits; and "touched",
    how often an entry of the dictionary was changed."""
    return f"vs:{{{site}}}:counts"


def days(site: str, month: str) -> str:
    """Hash: "visits" of a month and "visits:24" of a day of it, the same of views and hits."""
    return f"vs:{{{site}}}:days:{month}"


def hours(site: str, day: str) -> str:
    """Hash: "visits:14", "views:14" and "hits:14" of an hour, "ignored:14:bot", "uniques:14" (estimated), and
    "peak:14" ("online moment"): hours are counted from the day's midnight."""
    return f"vs:{{{site}}}:hours:{day}"


def count_at(site: str, kind: str, name: str) -> tuple[str, str]:
    """Return the key and the field that hold the visits, views or hits (`kind`) of a date, a month, a year, "all" or
    "base" (`name`, as `core.periods` names them)."""
    if len(name) == 10:
        return days(site, name[:7]), f"{kind}:{name[8:]}"
    if len(name) == 7:
        return days(site, name), kind
    return counts(site), f"{kind}:{name}"


def ids(site: str) -> str:
    """String: the 8-byte ids of articles in the order in which they became known. An article's number is its first
    place here, counted from 0; further places of the same id mean nothing."""
    return f"vs:{{{site}}}:ids"


def touched(site: str) -> str:
    """String, a ring of MOST_TOUCHED ids: those of articles whose entry, baseline or alias was changed; the next one is
    written at the place `touched` of `counts`, modulo MOST_TOUCHED."""
    return f"vs:{{{site}}}:touched"


def articles(site: str) -> str:
    """Hash: article id → its baseline + counted views of all time. It is also the register of the site's articles; one
    that was merged into another is not in it."""
    return f"vs:{{{site}}}:articles"


def articles_of_day(site: str, day: str) -> str:
    """Hash: article id → views on a date. One that was merged into another keeps its days. Gone when the month was
    packed; what is counted for the day later makes it anew, and is added to the tiles."""
    return f"vs:{{{site}}}:articles:{day}"


def tiles(site: str, month: str) -> str:
    """Hash: number of a block (decimal) → its tile of a month (`core.tiles`). Without a record in `packed` it means
    nothing."""
    return f"vs:{{{site}}}:tiles:{month}"


def packed(site: str) -> str:
    """Hash: month → the record of its packing (`core.tiles.Packed`): a month is packed if and only if it is here."""
    return f"vs:{{{site}}}:packed"


def packing(site: str, month: str, nonce: str) -> str:
    """Hash: as `tiles`, while they are being written."""
    return f"vs:{{{site}}}:packing:{month}:{nonce}"


def names(site: str) -> str:
    """Hash: article id → dictionary entry (`core.entries.Entry`)."""
    return f"vs:{{{site}}}:names"


def claims(site: str, day: str) -> str:
    """Hash: article id → what readers say of it on a date (`core.entries.Claim`)."""
    return f"vs:{{{site}}}:claims:{day}"


def taken(site: str, day: str) -> str:
    """Hash, of what has a limit on a day. Four bytes for a network and one for an hour → articles that it has brought;
    id of an article that found no place → four bytes for the network that read it; "#" → readings and hit ids that are
    kept (twice four bytes, the highest first)."""
    return f"vs:{{{site}}}:taken:{day}"


def base(site: str) -> str:
    """Hash: article id → baseline, the part of `articles` that an older counter counted."""
    return f"vs:{{{site}}}:base"


def aliases(site: str) -> str:
    """Hash: id of an article that was merged into another → the other's id (8 bytes), followed by its key."""
    return f"vs:{{{site}}}:aliases"


def changes(site: str) -> str:
    """Hash, to which is only ever added: id of a change → its record (`store.changes.Change`),
    "ID:undone" → the id of the change that undid it, "ALIAS:kept" → "1" for an alias
    that was put back without its record, after the store had lost both."""
    return f"vs:{{{site}}}:changes"


def sketches(site: str, day: str) -> list[str]:
    """HyperLogLogs, SKETCHES of them: of the tokens without the visit id (rule 9) each has those whose first byte
    modulo SKETCHES is its place."""
    return [f"vs:{{{site}}}:unique:{day}:{part}" for part in range(SKETCHES)]


def hour_sketch(site: str, day: str, hour: int) -> str:
    """HyperLogLog: the tokens without the visit id of the readers of one hour."""
    return f"vs:{{{site}}}:unique:{day}:h{hour}"


def uniques(site: str, year: str) -> str:
    """Hash: date → estimated unique visitors of a closed day."""
    return f"vs:{{{site}}}:uniques:{year}"


def ignored(site: str, month: str) -> str:
    """Hash: "24:bot" → beacons of a day of the month that were not counted, by reason (rule 8)."""
    return f"vs:{{{site}}}:ignored:{month}"


def peaks(site: str, year: str) -> str:
    """Hash: date → "online moment": the most visitors that were online at once, and the first such moment (ms)."""
    return f"vs:{{{site}}}:peaks:{year}"


def ran(year: int) -> str:
    """Bitmap: the quarter hours since the beginning of a year (UTC) in which a service ran here."""
    return f"vs:ran:{year}"


def quarter_of(moment_ms: int) -> tuple[int, int]:
    """Return the year (UTC) of a moment, and its quarter hour in it: the place in `ran`."""
    moment = datetime.fromtimestamp(moment_ms // 1000, UTC)
    return moment.year, int((moment - datetime(moment.year, 1, 1, tzinfo=UTC)).total_seconds()) * 1000 // QUARTER_MS


def lease(task: str) -> str:
    """String: some worker runs a scheduled task just now."""
    return f"vs:lease:{task}"


def of_commit(site: str, day: str, yesterday: str, hour: int, half_hour: int) -> list[str]:
    """Return the keys of a batch in the order in which `commit.lua` takes them; after these it takes those of the
    counts that are to be answered, and `redo`."""
    mine = f"vs:{{{site}}}:"
    return [
        mine + "marks",
        f"{mine}seen:{day}",
        f"{mine}seen:{yesterday}",
        f"{mine}hits:{half_hour}",
        f"{mine}hits:{half_hour - 1}",
        f"{mine}hits:{half_hour + 1}",
        mine + "online",
        mine + "counts",
        f"{mine}days:{day[:7]}",
        mine + "articles",
        f"{mine}articles:{day}",
        mine + "names",
        mine + "aliases",
        f"{mine}hours:{day}",
        f"{mine}ignored:{day[:7]}",
        f"{mine}claims:{day}",
        f"{mine}taken:{day}",
        mine + "ids",
        mine + "touched",
        hour_sketch(site, day, hour),
        *sketches(site, day),
    ]


def of_change(site: str) -> list[str]:
    """Return the keys of a change, in the order in which `change.lua` takes them."""
    return [
        marks(site), aliases(site), changes(site), articles(site), base(site), names(site), counts(site), ids(site),
        touched(site), redo(site),
    ]  # fmt: skip


def of_seal(site: str, month: str, nonce: str, sums: str, days: list[str]) -> list[str]:
    """Return the keys of the sealing of a month, in the order in which `seal.lua` takes them. `sums` is the key of the
    site's views per day, `days` are the dates of the month."""
    mine = [packing(site, month, nonce), tiles(site, month), packed(site), sums]
    return [*mine, *(articles_of_day(site, day) for day in days), redo(site)]
