"""Dumps: rows of tables are read from SQL text, with one row in memory at a time.

The scanner knows the strings, comments and statements of MySQL and MariaDB (mysqldump, phpMyAdmin, Navicat, HeidiSQL,
NukeViet's own backup), SQL Server (Management Studio), PostgreSQL (with COPY) and SQLite. It runs no SQL. It reads only
CREATE TABLE, for the names of columns, and INSERT or COPY.
"""

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from visitstats.imports.encodings import Lines, encoding_of
from visitstats.imports.opening import Item
from visitstats.imports.places import ImportRefused
from visitstats.imports.sheets import Cell, Row, Sheet
from visitstats.imports.sql_moments import moment_of
from visitstats.imports.sql_patterns import (
    BEGIN,
    COLUMN,
    COPY,
    CREATE,
    ESCAPE,
    ESCAPED,
    GO_LINE,
    INNER,
    INSERT,
    MYSQL,
    NAME,
    NEXT_ROW,
    NO_COLUMN,
    NUMBER,
    ROUTINE,
    SPACE,
    SPECIAL,
    STATEMENTS_OF_A_LINE,
    WORD,
    Dialect,
    dialect_of,
)

READ = 1 << 20
MOST_OF_A_ROW = 64 * 1024 * 1024


class Table(NamedTuple):
    """A table of a dump, as the survey finds it."""

    name: str
    columns: tuple[str, ...]
    """Empty when the dump does not name them."""
    rows: int
    line: int


class Dump(NamedTuple):
    """A dump, as the survey finds it."""

    item: Item
    encoding: str
    tables: Mapping[str, Table]
    is_whole: bool
    """False when mysqldump's last line is missing."""


def survey(item: Item, wanted: str = "") -> Dump:
    """Read a dump once, to find its tables and whether it is complete. Raises ImportRefused."""
    encoding = encoding_of(item, wanted)
    scan = _Scan(item, encoding, None)
    for _ in scan.rows():
        pass
    return Dump(
        item,
        encoding,
        {
            name: Table(name, scan.columns.get(name, ()), scan.counts.get(name, 0), line)
            for name, line in scan.lines.items()
        },
        not scan.by_mysqldump or scan.is_completed,
    )


def sheets(dump: Dump) -> list[Sheet]:
    """Return the tables of a dump that have rows."""
    place = dump.item.place
    return [
        Sheet(
            place.at(table.line),
            table.name,
            table.columns or None,
            lambda name=table.name: _rows_of(dump, name),  # type: ignore[misc]
            "sql",
            (),
            dump.encoding,
        )
        for table in dump.tables.values()
        if table.rows
    ]


def _rows_of(dump: Dump, table: str) -> Iterator[Row]:
    for _, row in _Scan(dump.item, dump.encoding, frozenset({table})).rows():
        yield row


def rows_of(dump: Dump, tables: frozenset[str]) -> Iterator[tuple[str, Row]]:
    """Yield the rows of some tables in the order of the dump, each with the name of its table."""
    return _Scan(dump.item, dump.encoding, tables).rows()


def name_of(quoted: str) -> str:
    """Return the name of a table or column without quotes and schema, in lower case."""
    last: str = next(reversed(re.findall(NAME, quoted)), quoted)
    return last.strip('`[]"').lower()


class _Scan:
    """One reading of a dump. `wanted` are the tables whose rows are yielded; None for the survey, which yields none."""

    def __init__(self, item: Item, encoding: str, wanted: frozenset[str] | None) -> None:
        self.columns: dict[str, tuple[str, ...]] = {}
        self.counts: dict[str, int] = {}
        self.lines: dict[str, int] = {}
        self.by_mysqldump = False
        self.is_completed = False
        self._item = item
        self._encoding = encoding
        self._wanted = wanted
        self._buffer = ""
        self._at = 0
        self._line = 1
        self._counted = 0
        self._is_end = False
        self._dialect = MYSQL
        self._tail = ""

    def rows(self) -> Iterator[tuple[str, Row]]:
        """Yield rows, each with the name of its table. Raises ImportRefused."""
        try:
            with Lines(self._item, self._encoding) as text:
                self._text = text
                self._more()
                self._buffer = self._buffer.lstrip("\ufeff")
                start = self._buffer[:BEGIN]
                self._dialect = dialect_of(start)
                self.by_mysqldump = start.startswith(("-- MySQL dump", "-- MariaDB dump", "/*M!999999"))
                yield from self._statements()
                self.is_completed = "-- Dump completed" in self._tail
        except UnicodeDecodeError as error:
            raise self._refused(f"not {self._encoding} text ({error.reason})") from error

    def _statements(self) -> Iterator[tuple[str, Row]]:
        while True:
            self._space()
            if self._at >= len(self._buffer):
                return
            word = WORD.match(self._buffer, self._at)
            kind = word[0].upper() if word else ""
            if kind in ("INSERT", "REPLACE"):
                yield from self._insert()
            elif kind == "COPY":
                yield from self._copy()
            elif kind == "GO" and self._dialect.lines:
                self._at += 2
            else:
                if kind == "CREATE":
                    self._create()
                self._skip()

    # Statements ------------------------------------------------------------------------------------------------------

    def _insert(self) -> Iterator[tuple[str, Row]]:
        head = self._match(INSERT, enough=4096)
        if head is None:
            self._skip()  # INSERT … SELECT, INSERT … SET
            return
        name = name_of(head[1])
        self._known(name, head[2])
        self._at = head.end()
        wanted = self._wanted is not None and name in self._wanted
        if not self._buffer.startswith("(", self._at):
            self._skip()
            return
        row, value, special = self._dialect.row, self._dialect.value, SPECIAL.search
        while True:
            found = row.match(self._buffer, self._at)
            while found is None:
                if not self._more():
                    raise self._cut()
                found = row.match(self._buffer, self._at)
            if wanted:
                inner = self._buffer[found.start() + 1 : found.end() - 1]
                cell = self._cell
                cells: list[Cell] = [
                    other if other.isdecimal() else text[1:-1] if text and not special(text, 1) else cell(text, other)
                    for text, other in value.findall(inner)
                ]
                yield name, Row(self._line_at(found.start()), cells)
            self.counts[name] = self.counts.get(name, 0) + 1
            self._at = found.end()
            # A row is followed by a comma, the end of the statement, or a clause of MySQL (AS new ON DUPLICATE KEY …).
            if following := NEXT_ROW.match(self._buffer, self._at):
                self._at = following.end()
                continue
            self._space()
            if self._at >= len(self._buffer):
                if self._dialect.lines:
                    return
                raise self._cut()
            letter = self._buffer[self._at]
            if letter == ",":
                self._at += 1
                self._space()
                if self._at >= len(self._buffer):
                    raise self._cut()
                continue
            if letter == ";":
                self._at += 1
            elif not self._dialect.lines:
                self._skip()
            return

    def _copy(self) -> Iterator[tuple[str, Row]]:
        head = self._match(COPY, enough=4096)
        if head is None:
            self._skip()
            return
        name = name_of(head[1])
        self._known(name, head[2])
        self._at = head.end()
        wanted = self._wanted is not None and name in self._wanted
        while True:
            end = self._buffer.find("\n", self._at)
            while end < 0:
                if not self._more():
                    raise self._refused("the file ends inside the rows of a table: it was cut off")
                end = self._buffer.find("\n", self._at)
            line = self._buffer[self._at : end].rstrip("\r")
            if line == "\\.":
                self._at = end + 1
                return
            if wanted:
                values: list[Cell] = [None if cell == "\\N" else _unescaped(cell) for cell in line.split("\t")]
                yield name, Row(self._line_at(self._at), values)
            self.counts[name] = self.counts.get(name, 0) + 1
            self._at = end + 1

    def _create(self) -> None:
        head = self._match(CREATE, enough=4096)
        if head is None:
            return
        name = name_of(head[1])
        begin = self._at
        self._at = head.end() - 1
        body = self._match(self._dialect.row, enough=MOST_OF_A_ROW)
        self._at = begin
        if body is None:
            return
        found = []
        for text, other in self._dialect.value.findall(body[0][1:-1]):
            piece = other or text
            column = COLUMN.match(piece)
            if column and not NO_COLUMN.match(piece):
                found.append(name_of(column[1]))
        self.columns[name] = tuple(found)
        self.lines.setdefault(name, self._line_at(self._at))

    def _known(self, name: str, columns: str | None) -> None:
        self.lines.setdefault(name, self._line_at(self._at))
        if columns:
            named = tuple(name_of(column) for column in columns.split(",") if column.strip())
            if self.counts.get(name) and self.columns.get(name) != named:
                raise self._refused(f"the rows of table {name} have different columns")
            self.columns[name] = named

    def _skip(self) -> None:
        """Skip to the end of a statement that is not read."""
        if self._dialect.lines:
            self._skip_line()
            return
        begin = self._at
        found = self._match(self._dialect.other, enough=MOST_OF_A_ROW)
        if found is None:
            if self._buffer[begin:].strip():
                raise self._cut()
            self._at = len(self._buffer)
            return
        self._at = found.end()

    def _skip_line(self) -> None:
        routine = ROUTINE.match(self._buffer, self._at) is not None
        end = GO_LINE if routine else STATEMENTS_OF_A_LINE
        while True:
            found = end.search(self._buffer, self._at + 1)
            if found:
                self._at = found.end() if routine else found.start() + 1
                return
            if not self._more():
                self._at = len(self._buffer)
                return

    # Text ------------------------------------------------------------------------------------------------------------

    def _cell(self, text: str, other: str) -> Cell:
        if text:
            inner = text[1:-1]
            if self._dialect.backslash:
                return _unescaped(inner) if "\\" in inner or "''" in inner or '""' in inner else inner
            return inner.replace("''", "'") if "''" in inner else inner
        bare = other.strip()
        if bare.upper() in ("NULL", "DEFAULT", ""):
            return None
        if inside := INNER.search(bare):  # CAST(N'2021-03-04T23:58:11.653' AS DateTime)
            return inside[1].replace("''", "'")
        if number := NUMBER.fullmatch(bare):
            return number[1]
        if bare[:5].upper() == "CAST(":
            if moment := moment_of(bare):
                return moment
            return bare[5:].split(" ", 1)[0]
        return bare

    def _match(self, pattern: re.Pattern[str], enough: int) -> re.Match[str] | None:
        """Match at the current position, and read more text if needed: a match that reaches the end of the buffer may
        continue after it."""
        while True:
            found = pattern.match(self._buffer, self._at)
            if found is not None and (found.end() < len(self._buffer) or self._is_end):
                return found
            if len(self._buffer) - self._at > enough or not self._more():
                return found

    def _space(self) -> None:
        while True:
            found = SPACE.match(self._buffer, self._at)
            if found and (found.end() < len(self._buffer) or self._is_end):
                # A comment begins here, and does not end in the buffer.
                if self._buffer.startswith("/*", found.end()):
                    if self._more():
                        continue
                    raise self._refused("the file ends inside a comment: it was cut off")
                self._at = found.end()
                return
            self._more()

    def _more(self) -> bool:
        """Read more text into the buffer, and drop the text before the current position."""
        if self._is_end:
            return False
        if len(self._buffer) - self._at > MOST_OF_A_ROW:
            raise self._refused(f"a row or a statement of more than {MOST_OF_A_ROW // 1024**2} MB")
        # The buffer doubles each time, so that a long row is not scanned many times.
        data = self._text.read(max(READ, len(self._buffer) - self._at))
        if not data:
            self._is_end = True
            return False
        self._line_at(self._at)
        self._buffer = self._buffer[self._at :] + data
        self._at = self._counted = 0
        self._tail = (self._tail + data)[-1024:]
        return True

    def _line_at(self, place: int) -> int:
        if place >= self._counted:
            self._line += self._buffer.count("\n", self._counted, place)
        else:
            self._line -= self._buffer.count("\n", place, self._counted)
        self._counted = place
        return self._line

    def _cut(self) -> ImportRefused:
        begin = self._line_at(self._at)
        rest = self._buffer[self._at :]
        last = begin + rest.rstrip().count("\n")
        stripped = _strings_removed(rest, self._dialect)
        inside = "a text" if "'" in stripped or '"' in stripped else "a statement"
        since = f" (the statement or row began in line {begin})" if last != begin else ""
        return ImportRefused(self._item.place.at(last), f"the file ends inside {inside}: it was cut off{since}")

    def _refused(self, why: str) -> ImportRefused:
        return ImportRefused(self._item.place.at(self._line_at(self._at)), why)


def _strings_removed(text: str, dialect: Dialect) -> str:
    single = r"'(?:[^'\\]++|\\.|'')*+'" if dialect.backslash else r"'(?:[^']++|'')*+'"
    return re.sub(single, "", text, flags=re.DOTALL)


def _unescaped(text: str) -> str:
    return ESCAPE.sub(lambda match: match[0][0] if match[1] is None else ESCAPED.get(match[1], match[1]), text)
