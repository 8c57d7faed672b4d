"""The tables of SQLite files are opened read-only. Nothing in them is executed."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from visitstats.imports.opening import Item
from visitstats.imports.places import ImportRefused
from visitstats.imports.sheets import Row, Sheet


def sheets(item: Item) -> list[Sheet]:
    """Return the tables of a database. Raises ImportRefused."""
    path = item.path
    if path is None:
        raise ImportRefused(item.place, "a database inside an archive: unpack it first")
    try:
        with closing(_opened(path)) as db:
            names = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            return [
                Sheet(
                    item.place,
                    name.lower(),
                    tuple(row[1].lower() for row in db.execute(f"PRAGMA table_info({_quoted(name)})")),
                    lambda name=name: _rows(item, path, name),  # type: ignore[misc]
                    "database",
                )
                for name in names
                if not name.startswith("sqlite_")
            ]
    except sqlite3.Error as error:
        raise ImportRefused(item.place, f"a damaged database ({error})") from error


def _rows(item: Item, path: Path, name: str) -> Iterator[Row]:
    try:
        with closing(_opened(path)) as db:
            for number, cells in enumerate(db.execute(f"SELECT * FROM {_quoted(name)}"), 1):  # noqa: S608
                yield Row(
                    number, [each.decode("utf-8", "replace") if isinstance(each, bytes) else each for each in cells]
                )
    except sqlite3.Error as error:
        raise ImportRefused(item.place, f"a damaged database ({error})") from error


def _opened(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True)
    db.execute("PRAGMA trusted_schema = OFF")
    return db


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
