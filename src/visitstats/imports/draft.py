"""The draft of an import: everything that a reader takes from the files, checked, matched to keys, and kept on disk.

The draft is one SQLite file, so that half a million rows are not held in memory; the report and the import read it in
pages. Each number ends in one place: the site's total, a period of the site, an article, a day of an article, or the
list of rows that were left out, with the reason. The numbers read are tallied separately, and both sums must agree.
"""

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import Literal, NamedTuple

from visitstats.core.errors import HitRejected
from visitstats.core.hosts import Hosts, fold_host
from visitstats.core.keys import KeyRules
from visitstats.core.periods import Calendar
from visitstats.core.sites import Site
from visitstats.imports.numbers import MOST
from visitstats.imports.options import Options
from visitstats.imports.places import ImportRefused, Place, shown
from visitstats.imports.sheets import fold

Count = Literal["visits", "views"]
MOST_LISTED = 10_000
"""The most left-out, repeated and added-up rows that are listed one by one; further rows are only counted."""
REMEMBERED = 50_000
"""The most addresses whose keys are cached: files with a row per day repeat addresses."""
_SCHEMA = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
PRAGMA cache_size = -32768;
CREATE TABLE articles (
  number INTEGER PRIMARY KEY, key TEXT UNIQUE, address TEXT, views INTEGER, addresses INTEGER DEFAULT 1,
  title TEXT DEFAULT '', author TEXT DEFAULT '', category TEXT DEFAULT '', published TEXT DEFAULT '',
  type TEXT DEFAULT '', hidden INTEGER DEFAULT 0, old INTEGER, imported INTEGER
);
CREATE TABLE days (number INTEGER, day TEXT, views INTEGER, PRIMARY KEY (number, day)) WITHOUT ROWID;
CREATE TABLE seen (identity INTEGER PRIMARY KEY, n INTEGER, line INTEGER);
CREATE TABLE added (number INTEGER, address TEXT, views INTEGER);
CREATE TABLE periods (kind TEXT, period TEXT, n INTEGER, PRIMARY KEY (kind, period)) WITHOUT ROWID;
CREATE TABLE left_out (reason TEXT, kind TEXT, n INTEGER, detail TEXT, file TEXT, sheet TEXT, line INTEGER);
CREATE TABLE about (name TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID;
"""


class Facts(NamedTuple):
    """What a source says about an article besides its number. An empty text means that the source does not say it."""

    title: str = ""
    author: str = ""
    category: str = ""
    published: str = ""


NO_FACTS = Facts()


class Article(NamedTuple):
    """An article of a draft."""

    number: int
    key: str
    address: str
    views: int | None
    """None where the file has no number; the other facts about the article are still taken."""
    addresses: int
    facts: Facts
    old: int | None
    """The views that the site already has; None for an article that it does not know."""
    imported: int
    """How many of the `old` views earlier imports brought."""


class Draft:
    """The numbers taken from the files of one import. Raises ImportRefused for a number that cannot be taken."""

    def __init__(self, path: Path, site: Site, rules: KeyRules, options: Options) -> None:
        path.unlink(missing_ok=True)
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.executescript(_SCHEMA)
        self._db.execute("BEGIN")
        path.unlink()  # the unlinked file disappears even if the process is killed
        self.site = site
        self.options = options
        self.calendar = Calendar(options.timezone or site.timezone, site.week_start)
        self.reader = ""
        self.hash = ""
        """Hash of the content of the files and of the options."""
        self.files: list[str] = []
        self.progress: Callable[[int], None] | None = None
        self.facts: tuple[str, ...] = ()
        """The fields of Facts that the source has."""
        self.range: tuple[str, str] | None = None
        """First and last date of the range that a baseline sums up, where the file states it."""
        self.warnings: list[str] = []
        self.ignored: dict[str, str | int] = {}
        self.rows = Counter[str]()
        """The number of rows under "read", "taken", and each reason for which rows were left out."""
        self.read = Counter[str]()
        """Visits and views of articles in all rows. Days whose total is in the file, too, are not counted again. Under
        "site" are the views of the site in files without articles."""
        self.cut = Counter[str]()
        """Visits and views, and views of articles, that are left out because this service counted their days itself."""
        self.extra = Counter[str]()
        """Views that belong to the site and to no article."""
        self.article_totals = False
        """Whether the source has totals of articles as well as their days."""
        self.exact = False
        """Whether the source is complete and has its own number for every place; then no sum is adjusted. A total may
        be less than the sum of its days, where an editor has lowered it."""
        self.sums: set[Count] = set()
        """The counts for which the source has no total of its own; the site's total is the sum of its periods."""
        self.stated: set[str] = set()
        """The counts for which a row of sums agrees with the other rows."""
        self.last_reason = self.last_refusal = ""
        """Why the last address had no key."""
        self.titles: dict[str, str] = {}
        """Title of an article → its key, where articles are matched by title; "" for a title of several articles."""
        self.names: list[str] = []
        """How the files were read, for people."""
        self._rules = rules
        self._hosts = Hosts(site.hosts)
        self._main = f"https://{site.main_host}" if site.main_host else ""
        self._key = lru_cache(REMEMBERED)(self._find_key)
        self._listed = 0
        self._repeats = 0

    # What readers say ------------------------------------------------------------------------------------------------

    def warn(self, kind: str, text: str) -> None:
        """Add a warning for the person who imports. `kind` is a kebab-case word."""
        self.warnings.append(f"{kind}: {text}")

    def ignore(self, what: str, why: str | int) -> None:
        """Record a part of the file that is not imported, with the reason or its number of rows."""
        if isinstance(why, int):
            before = self.ignored.get(what, 0)
            self.ignored[what] = why + (before if isinstance(before, int) else 0)
        else:
            self.ignored[what] = why

    def leave_out(self, reason: str, place: Place, detail: str, n: int = 0, kind: Count = "views") -> None:
        """List a row that cannot be placed. Its number is included in what was read."""
        self.rows["read"] += 1
        self.rows[reason] += 1
        self.read[kind] += n
        self._db.execute("INSERT INTO left_out VALUES (?, ?, ?, ?, ?, ?, ?)",
                         (reason, kind, n, detail[:500], place.file, place.sheet, place.line))  # fmt: skip

    def add_period(self, kind: Count, period: str, n: int) -> None:
        """Add to a year, a month or a date of the site; "" is its total."""
        self._db.execute(
            "INSERT INTO periods VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET n = n + excluded.n", (kind, period, n)
        )

    def belongs_to_none(self, n: int) -> None:
        """Add views that belong to the site and to no article."""
        self.rows["read"] += 1
        self.rows["taken"] += 1
        self.read["views"] += n
        self.extra["views"] += n

    def is_repeated(self, place: Place, identity: str, n: int | None, said: str) -> bool:
        """Return whether an earlier row has this identity and number. Raises ImportRefused if the numbers differ."""
        digest = blake2b(identity.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        number = int.from_bytes(digest, "big", signed=True)
        made = self._db.execute("INSERT OR IGNORE INTO seen VALUES (?, ?, ?)", (number, n, place.line))
        if made.rowcount:
            return False
        before, line = self._db.execute("SELECT n, line FROM seen WHERE identity = ?", (number,)).fetchone()
        where = f"{'row' if place.sheet else 'line'} {line}"
        if before != n:
            had = "no number" if before is None else f"{before} views"
            raise ImportRefused(place, f"{said} had {had} in {where}", "" if n is None else str(n))
        self._repeats += 1
        if self._repeats <= MOST_LISTED:
            self.warn(
                "repeated", f"{said}, {where[:3] if place.sheet else 'line'} {place.line} says the same as {where}"
            )
        self.rows["read"] += 1
        self.rows["repeated"] += 1
        return True

    def article(self, address: str, views: int | None, place: Place, facts: Facts = NO_FACTS) -> str | None:
        """Add the all-time views of an address; return its key, or None when it cannot be placed."""
        number, key = self._take(address, views, place, facts)
        if number is None:
            return None
        self._took()
        return key

    def _took(self) -> None:
        self.rows["taken"] += 1
        if self.progress is not None and not self.rows["read"] % 10_000:
            self.progress(self.rows["read"])

    def article_day(self, address: str, day: str, views: int, place: Place, facts: Facts = NO_FACTS) -> str | None:
        """Add the views of an address on a date; return its key, or None when it cannot be placed."""
        number, key = self._take(address, views, place, facts, day)
        if number is None:
            return None
        self._took()
        self._db.execute(
            "INSERT INTO days VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET views = views + excluded.views",
            (number, day, views),
        )
        return key

    def _take(
        self, address: str, views: int | None, place: Place, facts: Facts, day: str = ""
    ) -> tuple[int | None, str]:
        if views is not None and views > MOST:
            raise ImportRefused(place, "larger than 2^53", str(views))
        key, address, reason, detail = self._key(address)
        if reason:
            self.last_reason, self.last_refusal = reason, detail
            self.leave_out(reason, place, detail, views or 0)
            return None, ""
        self.rows["read"] += 1
        # If the source also has totals, its days describe the same views.
        counts = not (day and self.article_totals)
        if counts:
            self.read["views"] += views or 0
        made = self._db.execute(
            "INSERT OR IGNORE INTO articles (key, address, views, title, author, category, published) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            (key, address, views if counts else None, *facts),
        )
        if made.rowcount:
            return made.lastrowid, key
        return self._join(key, address, views if counts else None, facts), key

    def _join(self, key: str, address: str, views: int | None, facts: Facts) -> int:
        """Add to an article that is already in the draft."""
        number, first, had, addresses = self._db.execute(
            "SELECT number, address, views, addresses FROM articles WHERE key = ?", (key,)
        ).fetchone()
        if address != first:
            known = self._db.execute(
                "SELECT 1 FROM added WHERE number = ? AND address = ?", (number, address)
            ).fetchone()
            if known is None and addresses < MOST_LISTED:
                if addresses == 1:
                    self._db.execute("INSERT INTO added VALUES (?, ?, ?)", (number, first, had))
                self._db.execute("INSERT INTO added VALUES (?, ?, ?)", (number, address, views))
                self._db.execute("UPDATE articles SET addresses = addresses + 1 WHERE number = ?", (number,))
        if views is not None:
            self._db.execute("UPDATE articles SET views = ifnull(views, 0) + ? WHERE number = ?", (views, number))
        if any(facts):
            # For the first address, later facts replace earlier ones; another address only fills in missing facts.
            sets = ", ".join(
                f"{name} = CASE WHEN ? = '' THEN {name} ELSE ? END"
                if address == first
                else f"{name} = CASE WHEN {name} = '' THEN ? ELSE {name} END"
                for name in Facts._fields
            )
            values = [value for value in facts for _ in range(2 if address == first else 1)]
            self._db.execute(f"UPDATE articles SET {sets} WHERE number = ?", (*values, number))  # noqa: S608
        return int(number)

    # A site of ours --------------------------------------------------------------------------------------------------

    def whole_article(self, key: str, url: str, views: int, facts: Facts, of_type: str, *, hidden: bool) -> None:
        """Add an article of an exact source under its own key, with its all-time views."""
        self._took()
        self.rows["read"] += 1
        self.read["views"] += views
        self._db.execute(
            "INSERT INTO articles (key, address, views, title, author, category, published, type, hidden) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (key) DO UPDATE SET address = excluded.address, "
            "views = ifnull(views, 0) + excluded.views, title = excluded.title, author = excluded.author, "
            "category = excluded.category, published = excluded.published, type = excluded.type, "
            "hidden = excluded.hidden",
            (key, url or key, views, *facts, of_type, hidden),
        )

    def whole_days(self, key: str, days: Iterable[tuple[str, int]]) -> None:
        """Add the views of an article of an exact source by date; the article itself may follow."""
        self._db.execute("INSERT OR IGNORE INTO articles (key, address) VALUES (?, ?)", (key, key))
        [number] = self._db.execute("SELECT number FROM articles WHERE key = ?", (key,)).fetchone()
        self._db.executemany(
            "INSERT INTO days VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET views = views + excluded.views",
            [(number, day, views) for day, views in days],
        )

    def key_of(self, key: str, *, anew: bool) -> str:
        """Return this site's key for a key of another site. With `anew`, a key that is an address is derived again by
        the rules of this site."""
        if anew and key.startswith("/") and self.site.main_host:
            with suppress(HitRejected):
                key = self._rules.own_key(f"https://{self.site.main_host}{key}")
        return self._rules.resolve(key)

    # Keys ------------------------------------------------------------------------------------------------------------

    def _find_key(self, address: str) -> tuple[str, str, str, str]:
        """Return the key of an address and the address without tracking parameters; or, if it has no key, a reason and
        the detail."""
        url = self.url_of(address)
        if not url:
            why = f"{shown(address)!r} is no address" if address.strip() else "no address"
            return "", address, "no-article", why
        try:
            key, read_at = self._rules.own(url)
            return self._rules.resolve(key), read_at or key, "", ""
        except HitRejected as refused:
            return "", address, "host" if refused.reason == "host" else "no-article", refused.detail

    def url_of(self, address: str) -> str:
        """Return the full URL of an address; "" for a text that is no address."""
        text = address.strip()
        if text[:8].lower().startswith(("http://", "https://")):
            return text
        if text.startswith("//"):
            return f"https:{text}"
        if text.startswith("/"):
            return f"{self._main}{text}" if self._main else ""
        host, _, rest = text.partition("/")
        if "." in host and " " not in host:
            try:
                if fold_host(host) in self._hosts:
                    return f"https://{host}/{rest}"
            except HitRejected:
                pass
        return ""

    def address_of_title(self, title: str) -> str:
        """Return the address of the only article with this title; "" if there is none or more than one."""
        return self.titles.get(fold(title), "")

    # For those who look ----------------------------------------------------------------------------------------------

    @property
    def has_anything(self) -> bool:
        """Whether the draft has anything to import."""
        return any(
            self._db.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchone()  # noqa: S608
            for table in ("articles", "periods")
        )

    @property
    def in_file(self) -> dict[str, dict[str, int | None]]:
        """The sums of the file, for views of articles and for counts of the site: read = taken + left out."""
        [(taken,)] = self._db.execute("SELECT ifnull(sum(views), 0) FROM articles").fetchall()
        if not taken and self.read["site"]:
            site = self.read["site"]
            views: dict[str, int | None] = {
                "read": site,
                "taken": site - self.cut["views"],
                "left_out": self.cut["views"],
            }
            return {"views": views, "visits": self._visits_in_file}
        [(left,)] = self._db.execute("SELECT ifnull(sum(n), 0) FROM left_out WHERE kind = 'views'").fetchall()
        left += self.cut["articles"]
        return {
            "views": {"read": self.read["views"], "taken": taken + self.extra["views"], "left_out": left},
            "visits": self._visits_in_file,
        }

    @property
    def _visits_in_file(self) -> dict[str, int | None]:
        read, cut = self.read["visits"], self.cut["visits"]
        return {"read": read, "taken": read - cut, "left_out": cut}

    @property
    def db(self) -> sqlite3.Connection:
        """The database, for the plan that is made of the draft."""
        return self._db

    def added_up(self) -> Iterator[tuple[str, list[tuple[str, int | None]]]]:
        """Yield the keys that have several addresses, with each address and its views."""
        for number, key in self._db.execute(
            "SELECT number, key FROM articles WHERE addresses > 1 ORDER BY number"
        ).fetchall():
            yield (
                key,
                self._db.execute(
                    "SELECT address, views FROM added WHERE number = ? ORDER BY rowid", (number,)
                ).fetchall(),
            )

    def close(self) -> None:
        """Close the file without deleting it."""
        if self._db.in_transaction:
            self._db.execute("COMMIT")
        self._db.close()
