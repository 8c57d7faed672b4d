"""The files of one import, opened, sorted by form, and turned into sheets."""

import codecs
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec

from visitstats.imports import books, databases, delimited, jsons, redisdumps, sql
from visitstats.imports.encodings import Lines, encoding_of
from visitstats.imports.opening import Budget, Item, digest, items
from visitstats.imports.options import Options
from visitstats.imports.places import ImportRefused
from visitstats.imports.sheets import Row, Sheet
from visitstats.imports.sql_patterns import looks_like_sql

BEGIN = 64 * 1024


class Source:
    """The files of one import. Raises ImportRefused for a file that has no numbers."""

    def __init__(self, paths: list[Path], options: Options, known: Callable[[tuple[Row, ...]], int]) -> None:
        self.items: list[Item] = items(paths)
        self.sheets: list[Sheet] = []
        self.dumps: list[sql.Dump] = []
        self.keys: list[redisdumps.Keys] = []
        self.values: list[tuple[Item, Any]] = []
        """Files that are one JSON value."""
        self.exports: list[Item] = []
        """Sites that `visitstats.imports.export` has written."""
        self.names = [path.name for path in paths]
        budget = Budget()
        digests = sorted(digest(item, budget) for item in self.items)
        settings = msgspec.structs.replace(options, strategy="replace")
        self.hash = sha256(b"".join(digests) + msgspec.json.encode(settings)).hexdigest()
        """Hash of the content of the files and of the options; names and packing of the files make no difference."""
        for item in self.items:
            self._take(item, options, known)

    def _take(self, item: Item, options: Options, known: Callable[[tuple[Row, ...]], int]) -> None:
        if item.form == "book":
            self.sheets += books.sheets(item)
            return
        if item.form == "database":
            self.sheets += databases.sheets(item)
            return
        if _is_export(item):
            self.exports.append(item)
            return
        encoding = encoding_of(item, options.encoding)
        begin = _begin(item, encoding)
        start = begin.lstrip("\ufeff \r\n\t")
        if not start:
            raise ImportRefused(item.place, "an empty file")
        if start[0] in "{[" and not start.startswith("[dbo]"):
            self._take_json(item)
        elif redisdumps.looks_like_commands(begin):
            self.keys.append(redisdumps.commands(item))
        elif looks_like_sql(begin):
            dump = sql.survey(item, encoding)
            self.dumps.append(dump)
            self.sheets += sql.sheets(dump)
        else:
            self.sheets.append(delimited.sheets(item, options.encoding, known))

    def _take_json(self, item: Item) -> None:
        value = jsons.whole(item)
        if (sheet := jsons.sheet(item, value)) is not None:
            self.sheets.append(sheet)
        elif (keys := redisdumps.from_json(item, value)) is not None:
            self.keys.append(keys)
        else:
            self.values.append((item, value))

    def named(self, ending: str) -> list[Item]:
        """Return the files whose names end with `ending`, in any folder of an archive."""
        return [item for item in self.items if item.name.lower().endswith(ending)]


def _is_export(item: Item) -> bool:
    with item.open() as file:
        return file.read(64).removeprefix(codecs.BOM_UTF8).startswith(b'{"visitstats":')


def _begin(item: Item, encoding: str) -> str:
    try:
        with Lines(item, encoding) as text:
            return text.read(BEGIN)
    except (UnicodeDecodeError, UnicodeError) as error:
        raise ImportRefused(item.place, f"not {encoding} text") from error
