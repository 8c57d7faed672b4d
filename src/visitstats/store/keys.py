"""The key space: every key that visitstats writes is spelled here, and nowhere else.

    vs:…                      of the whole installation, permanent
    vs:{SITE:who}:…           the audience ledger of a site: one hash slot of a cluster
    vs:{SITE:what}:…          the articles ledger of a site: one hash slot of a cluster

Each key is on the list `PERMANENT` or gets a time to live when it is written; `tests/store/test_keys.py` reads a used
store and fails for any other. The names are frozen: they are found again by later versions.
"""

import re
from typing import NamedTuple

from visitstats.core.counting import SALT_LIFE_MS, SLOT_MS

DAY_MS = 24 * 3600 * 1000

SITES = "vs:sites"
"""Hash: site id → record (JSON)."""
SITES_VERSION = "vs:sites:version"
"""A random text that is another after each change of a site, so that workers see changes within a second."""
SITES_ALIASES = "vs:sites:aliases"
"""Hash: site id → a random text that is another after each change of the site's aliases."""
TOKENS = "vs:tokens"
"""Hash: SHA-256 of an access token → what it may do (JSON)."""

REBUILD = "vs:rebuild"
"""String, for seconds: the id of a rebuild that somebody announced (`store.rebuilds`)."""


def rebuilt(rebuild: str) -> str:
    """Set, for a day: the writers that have put back what they had decided, in one rebuild."""
    return f"vs:rebuilt:{rebuild}"


PERMANENT = re.compile(
    r"vs:sites|vs:sites:version|vs:sites:aliases|vs:tokens"
    r"|vs:\{[a-z0-9-]+:who\}:(visits|uniques|peaks)"
    r"|vs:\{[a-z0-9-]+:what\}:(views|top:all|top:\d{4}-\d\d|names|base|aliases|changes)"
)
"""What is kept for ever: records and counts, never anything that belongs to one visitor."""

UNIQUES_LIFE_MS = 40 * DAY_MS
SKETCHES = 8
"""One has a standard error of 0.81 %: one estimate in five would be off by more than 1 %. Of eight together, each with
its share of the visitors, it is 0.29 %: one in a thousand. They take 12 KiB each when a site has many thousands of
visitors a day, and next to nothing else."""
IGNORED_LIFE_MS = 400 * DAY_MS
ARTICLE_DAYS_LIFE_MS = 62 * DAY_MS
"""Portals' wish 6: days of articles for 62 days, then months."""
WATERMARK_LIFE_S = 60 * 24 * 3600
"""Far beyond the journal's retention. A writer that was silent for longer may find none, and does not take that for a
loss (`forgotten_before`)."""


def forgotten_before(now_ms: int) -> int:
    """Return the moment for which holds: of a batch that was received before it, the store may have forgotten by now
    that it has it. A day before the watermark's end, for clocks that differ."""
    return now_ms - WATERMARK_LIFE_S * 1000 + DAY_MS


class Kind(NamedTuple):
    """One row of the key space, for reading a store back."""

    word: str
    ledger: str
    """who, what, or empty for the installation's own."""
    rest: re.Pattern[str]
    """What follows the ledger's prefix; its groups are what the name says."""
    type: str
    """As the command TYPE says it."""
    life_ms: int | None
    """None: for ever. Else how long after what the name says (a day, a week, a half hour; else: after now) the store
    may keep it at most."""


def _row(ledger: str, word: str, rest: str, kind: str, life_ms: int | None = None) -> Kind:
    return Kind(word, ledger, re.compile(rest), kind, life_ms)


_DATE = r"(\d{4}-\d\d-\d\d)"
KINDS = (
    _row("", "sites", "sites", "hash"),
    _row("", "sites:version", "sites:version", "string"),
    _row("", "sites:aliases", "sites:aliases", "hash"),
    _row("", "tokens", "tokens", "hash"),
    _row("", "rebuild", "rebuild", "string", 60 * 1000),
    _row("", "rebuilt", r"rebuilt:([0-9a-f]{16,40})", "set", DAY_MS),
    _row("who", "visits", "visits", "hash"),
    _row("who", "uniques", "uniques", "hash"),
    _row("who", "peaks", "peaks", "zset"),
    _row("who", "salt", f"salt:{_DATE}", "string", SALT_LIFE_MS),
    _row("who", "seen", f"seen:{_DATE}", "zset", SALT_LIFE_MS),
    _row("who", "orphans", f"orphans:{_DATE}", "hash", SALT_LIFE_MS),
    _row("who", "hits", r"hits:(\d+)", "set", 4 * SLOT_MS),
    _row("who", "unique", rf"unique:{_DATE}:([0-{SKETCHES - 1}])", "string", UNIQUES_LIFE_MS),
    _row("who", "ignored", f"ignored:{_DATE}", "hash", IGNORED_LIFE_MS),
    _row("who", "lease", r"lease:([a-z-]+)", "string", DAY_MS),
    _row("who", "writer", r"writer:([0-9a-f]{32})", "hash", WATERMARK_LIFE_S * 1000),
    _row("who", "redo", "redo", "string", SALT_LIFE_MS),
    _row("what", "redo", "redo", "string", SALT_LIFE_MS),
    _row("what", "writer", r"writer:([0-9a-f]{32})", "hash", WATERMARK_LIFE_S * 1000),
    _row("what", "views", "views", "hash"),
    _row("what", "names", "names", "hash"),
    _row("what", "base", "base", "hash"),
    _row("what", "aliases", "aliases", "hash"),
    _row("what", "changes", "changes", "hash"),
    _row("what", "top:all", "top:all", "zset"),
    _row("what", "top:month", r"top:(\d{4}-\d\d)", "zset"),
    _row("what", "top:week", f"top:w{_DATE}", "zset", 13 * DAY_MS + ARTICLE_DAYS_LIFE_MS),
    _row("what", "top:day", f"top:{_DATE}", "zset", ARTICLE_DAYS_LIFE_MS),
    _row("what", "orphans", f"orphans:{_DATE}", "hash", 7 * 3600 * 1000),
    _row("what", "read", rf"read:{_DATE}:(\d\d?)", "set", 7 * 3600 * 1000),
)
"""Every key that may be found under `vs:`."""
_NAME = re.compile(r"vs:(?:\{([a-z0-9][a-z0-9-]*):(who|what)\}:)?(.+)")


class Named(NamedTuple):
    """A key's name, taken apart."""

    kind: Kind
    site: str
    words: tuple[str, ...]
    """What the name says: a date, a month, a half hour, a writer."""


def parse(name: str) -> Named | None:
    """Take the name of a key apart; None for one that nobody here writes."""
    found = _NAME.fullmatch(name)
    if found is None:
        return None
    site, ledger, rest = found[1] or "", found[2] or "", found[3]
    for kind in KINDS:
        if kind.ledger == ledger and (match := kind.rest.fullmatch(rest)):
            return Named(kind, site, match.groups())
    return None


def of_site(site: str) -> str:
    """Return the pattern (as SCAN takes it) of all keys of a site; of all sites and the installation when empty."""
    return f"vs:{{{site}:wh*" if site else "vs:*"


class Expiring(NamedTuple):
    """A key with the moment (Unix seconds) at which the store forgets it."""

    name: str
    expires_at: int


def _who(site: str, name: str) -> str:
    return f"vs:{{{site}:who}}:{name}"


def _what(site: str, name: str) -> str:
    return f"vs:{{{site}:what}}:{name}"


def salt(site: str, day: str, end_ms: int) -> Expiring:
    """String: the salt of a site-day (rule 2)."""
    return Expiring(_who(site, f"salt:{day}"), (end_ms + SALT_LIFE_MS) // 1000)


def seen(site: str, day: str, end_ms: int) -> Expiring:
    """Sorted set: visitor token → presence (`core.counting.Presence.score`)."""
    return Expiring(_who(site, f"seen:{day}"), (end_ms + SALT_LIFE_MS) // 1000)


def orphans(site: str, day: str, end_ms: int) -> Expiring:
    """Hash, seldom there: token of a visitor and slot (a byte) of a visit that was put back without the hit that
    started it → 1, empty when that hit has come (lua/audience.lua)."""
    return Expiring(_who(site, f"orphans:{day}"), (end_ms + SALT_LIFE_MS) // 1000)


def hit_ids(site: str, window: int) -> Expiring:
    """Set: digests of the hit ids received in one half hour since the epoch."""
    return Expiring(_who(site, f"hits:{window}"), (window + 4) * SLOT_MS // 1000)


def unique(site: str, day: str, end_ms: int, part: int) -> Expiring:
    """HyperLogLog: those tokens without the visit id (rule 9) whose first byte modulo SKETCHES is `part`."""
    return Expiring(_who(site, f"unique:{day}:{part}"), (end_ms + UNIQUES_LIFE_MS) // 1000)


def sketches(site: str, day: str, end_ms: int) -> list[Expiring]:
    """All of a day's."""
    return [unique(site, day, end_ms, part) for part in range(SKETCHES)]


def ignored(site: str, day: str, end_ms: int) -> Expiring:
    """Hash: reason → beacons that were not counted (rule 8)."""
    return Expiring(_who(site, f"ignored:{day}"), (end_ms + IGNORED_LIFE_MS) // 1000)


def visits(site: str) -> str:
    """Hash: date, month, year or "all" → visits; and "base", the baseline."""
    return _who(site, "visits")


def uniques(site: str) -> str:
    """Hash: date → estimated unique visitors of a closed day."""
    return _who(site, "uniques")


def peaks(site: str) -> str:
    """Sorted set: date → the most visitors that were online at once."""
    return _who(site, "peaks")


def lease(site: str, job: str) -> str:
    """String: who runs a scheduled job of this site just now."""
    return _who(site, f"lease:{job}")


def audience_watermark(site: str, writer: str) -> str:
    """Hash: s, the writer's last sequence in the audience ledger; d0 to d15, in turn, what was decided for the last
    batches ("sequence:", slots, starters, number of visits started); n, the number of the last turn."""
    return _who(site, f"writer:{writer}")


def articles_watermark(site: str, writer: str) -> str:
    """Hash: s, the writer's last sequence in the articles ledger; d0 to d15 and n as there ("sequence:", which hits
    were counted, the views added to each article)."""
    return _what(site, f"writer:{writer}")


def audience_redo(site: str) -> str:
    """String, seldom there: the writes of a batch that are put down and not executed yet (lua/ledger.lua)."""
    return _who(site, "redo")


def articles_redo(site: str) -> str:
    """The same of the articles ledger, also for merges and baselines."""
    return _what(site, "redo")


def views(site: str) -> str:
    """Hash: date, month, year or "all" → views of all articles together."""
    return _what(site, "views")


def top_all(site: str) -> str:
    """Sorted set: article id → its baseline + counted views. It is also the register of the site's articles."""
    return _what(site, "top:all")


def top_month(site: str, month: str) -> str:
    """Sorted set: article id → views in a month, kept for ever."""
    return _what(site, f"top:{month}")


def top_week(site: str, first_day: str, end_ms: int) -> Expiring:
    """Sorted set: article id → views in the week that begins on a date."""
    return Expiring(_what(site, f"top:w{first_day}"), (end_ms + 7 * DAY_MS + ARTICLE_DAYS_LIFE_MS) // 1000)


def top_day(site: str, day: str, end_ms: int) -> Expiring:
    """Sorted set: article id → views on a date."""
    return Expiring(_what(site, f"top:{day}"), (end_ms + ARTICLE_DAYS_LIFE_MS) // 1000)


def names(site: str) -> str:
    """Hash: article id → dictionary entry (`core.entries.Entry`)."""
    return _what(site, "names")


def base(site: str) -> str:
    """Hash: article id → baseline, the part of `top_all` that an older counter counted."""
    return _what(site, "base")


def aliases(site: str) -> str:
    """Hash: id of an article that was merged into another → the other's id (8 bytes), followed by its key."""
    return _what(site, "aliases")


def changes(site: str) -> str:
    """Hash, to which is only ever added: id of a change → its record (`store.changes.Change`),
    "ID:undone" → the id of the change that undid it, "ALIAS:kept" → "1" for an alias
    that was put back without its record, after the store had lost both."""
    return _what(site, "changes")


def top(site: str, list_name: str) -> str:
    """Sorted set: one of the lists of views by the name that changes know it by: "all", a month, a date, "w" and the
    first date of a week."""
    return _what(site, f"top:{list_name}")


def orphan_readings(site: str, day: str) -> str:
    """Hash, seldom there: slot of a visit and a reading that was put back without the one that was counted → 1, empty
    when that one has come (lua/articles.lua)."""
    return _what(site, f"orphans:{day}")


def read(site: str, day: str, slot: int) -> str:
    """Set: readings (`core.counting.reading`) of the visits that began in one half hour of a day (rule 5)."""
    return _what(site, f"read:{day}:{slot}")
