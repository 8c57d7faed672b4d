"""The export of a whole site, piece by piece. Intermediate state is kept in a SQLite file next to the export.

The days of articles are read first, then the all-time views of articles, then the counts of the site. Hits that are
counted meanwhile are therefore in the later numbers and on no day.
"""

import sqlite3
from collections.abc import Callable, Mapping
from hashlib import sha256
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import msgspec

from visitstats.core.entries import Entry
from visitstats.core.keys import article_id
from visitstats.core.periods import Calendar
from visitstats.core.schema import SCHEMA_NUMBER
from visitstats.core.sites import Site
from visitstats.core.tiles import BLOCK, DAY_BITS
from visitstats.imports.site_file import VERSION, Line, Sums
from visitstats.reading.article_history import ArticleHistory
from visitstats.store.change_records import Logged
from visitstats.store.changes import Changes
from visitstats.store.fitness import Parts
from visitstats.store.site_counts import Kept, SiteCounts
from visitstats.store.tiles import Tiles

PAGE = 500
SECRETS = ("id", "signing_secrets", "signatures")
"""Fields of a site's record that are not exported."""
_SCHEMA = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
PRAGMA cache_size = -16384;
CREATE TABLE keys (id BLOB PRIMARY KEY, key TEXT) WITHOUT ROWID;
CREATE TABLE numbers (number INTEGER PRIMARY KEY, id BLOB);
CREATE TABLE done (id BLOB PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE cells (id BLOB, day INTEGER, n INTEGER, PRIMARY KEY (id, day)) WITHOUT ROWID;
"""
_DAYS = "INSERT INTO cells VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET n = n + excluded.n"
_CELLS = "SELECT key, day, n FROM cells JOIN keys USING (id) WHERE n <> 0 ORDER BY id, day"


class Export:
    """Writes one site to `write`, in lines. `progress` is called with the steps done and the number of steps. `room` is
    the path of a temporary file that does not exist yet. Every method may raise StoreUnavailable and TileDamaged."""

    def __init__(
        self, parts: Parts, site: Site, room: Path, write: Callable[[bytes], object],
        progress: Callable[[int, int], None] = lambda done, whole: None,
    ) -> None:  # fmt: skip
        self._site = site
        self._changes: Changes = parts.records.changes
        self._counts = SiteCounts(parts.client)
        self._tiles = Tiles(parts.client)
        self._history = ArticleHistory(self._tiles)
        self._write = write
        self._progress = progress
        self._room = room
        self._sha = sha256()
        self.sums = Sums()
        """The sums of what was written."""

    async def write(self, now_ms: int) -> None:
        """Write the file, as of the moment `now_ms`."""
        settings = {name: value for name, value in _told(self._site).items() if name not in SECRETS}
        calendar = Calendar(self._site.timezone, self._site.week_start)
        self._put(
            {"visitstats": VERSION, "site": self._site.id, "settings": settings, "exported": calendar.iso(now_ms),
             "schema": SCHEMA_NUMBER}
        )  # fmt: skip
        db = sqlite3.connect(self._room, isolation_level=None)
        try:
            db.executescript(_SCHEMA)
            db.execute("BEGIN")
            self._room.unlink()  # the unlinked file disappears even if the process is killed
            await self._days(db)
            await self._articles(db)
        finally:
            db.close()
        for period, counts in (await self._counts.periods(self._site.id)).items():
            self._line({"period": period, **counts})
        await self._log(calendar)
        self._put({"end": self.sums.lines, "sums": self.sums.sums, "sha256": self._sha.hexdigest()})

    # Lines -----------------------------------------------------------------------------------------------------------

    def _put(self, value: dict[str, Any]) -> None:
        data = msgspec.json.encode(value) + b"\n"
        self._sha.update(data)
        self._write(data)

    def _line(self, value: dict[str, Any]) -> None:
        self.sums.add(msgspec.convert(value, Line))
        self._put(value)

    # Days of articles ------------------------------------------------------------------------------------------------

    async def _days(self, db: sqlite3.Connection) -> None:
        site = self._site.id
        months = await self._tiles.months(site)
        steps = len(months) + 2
        aliases = {alias: article_id(key) for alias, key in (await self._changes.aliases(site)).items()}
        async for piece in self._counts.articles(site):
            db.executemany(
                "INSERT OR IGNORE INTO keys VALUES (?, ?)",
                [(each.id, each.entry.key or f"?{each.id.hex()}") for each in piece],
            )
        first = 0
        async for ids in self._tiles.ids(site):
            db.executemany(
                "INSERT INTO numbers VALUES (?, ?)",
                [(number, aliases.get(each, each)) for number, each in enumerate(ids, first)],
            )
            first += len(ids)
        for done, month in enumerate(months, 1):
            self._progress(done, steps)
            await self._history.cells(
                site, month,
                lambda: _clear(db),
                lambda block, cells: _in_tile(db, block, cells),
                lambda day, views: _on_day(db, day, views, aliases),
            )  # fmt: skip
            for key, rows in groupby(db.execute(_CELLS), key=itemgetter(0)):
                self._line({"days": key, "month": month, "views": {str(day): n for _, day, n in rows}})

    # Articles --------------------------------------------------------------------------------------------------------

    async def _articles(self, db: sqlite3.Connection) -> None:
        async for piece in self._counts.articles(self._site.id):
            for each in piece:
                # A scan may return an article twice.
                if db.execute("INSERT OR IGNORE INTO done VALUES (?)", (each.id,)).rowcount:
                    self._line(_article(each))

    # Changes ---------------------------------------------------------------------------------------------------------

    async def _log(self, calendar: Calendar) -> None:
        site = self._site.id
        many = await self._changes.places(site)
        for first in range(0, many, PAGE):
            ids = await self._changes.ordered(site, first, min(first + PAGE, many))
            for each in await self._changes.logged(site, ids):
                if each is not None:
                    self._line(_change(each, calendar))


def _told(site: Site) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.to_builtins(site)
    return found


def _clear(db: sqlite3.Connection) -> None:
    db.execute("DELETE FROM cells")


def _in_tile(db: sqlite3.Connection, block: int, cells: Mapping[int, int]) -> None:
    rows = ((block * BLOCK + (name >> DAY_BITS), name & (1 << DAY_BITS) - 1, n) for name, n in cells.items())
    db.executemany(
        "INSERT INTO cells SELECT id, ?2, ?3 FROM numbers WHERE number = ?1 "
        "ON CONFLICT DO UPDATE SET n = n + excluded.n",
        rows,
    )


def _on_day(db: sqlite3.Connection, day: str, views: Mapping[bytes, int], aliases: Mapping[bytes, bytes]) -> None:
    db.executemany(_DAYS, [(aliases.get(article, article), int(day[8:]), n) for article, n in views.items()])


def _article(each: Kept) -> dict[str, Any]:
    entry: Entry = each.entry
    texts = {name: getattr(entry, name) for name in ("title", "author", "category", "published", "url", "type")}
    line = {"article": entry.key or f"?{each.id.hex()}", "views": each.views}
    return line | {name: text for name, text in texts.items() if text} | ({"hidden": True} if entry.hidden else {})


def _change(logged: Logged, calendar: Calendar) -> dict[str, Any]:
    said = msgspec.structs.asdict(logged.change)
    line = {"change": logged.id, "kind": said.pop("kind"), "at": calendar.iso(said.pop("at_ms"))}
    more = {name: msgspec.to_builtins(value) for name, value in said.items() if value}
    return line | {"undone": logged.undone, "said": more}
