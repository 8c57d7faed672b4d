"""The patterns that split the SQL of a dump into statements, rows and values.

All of them are possessive, so that none backtracks: an untrusted dump cannot make them slow.
"""

import re
from typing import NamedTuple

BEGIN = 64 * 1024
"""The number of first characters by which the dialect of SQL is detected."""

NAME = r"(?:`[^`]+`|\[[^\]]+\]|\"[^\"]+\"|[\w$#@]+)"
INSERT = re.compile(
    rf"(?:INSERT|REPLACE)\s+(?:(?:LOW_PRIORITY|DELAYED|HIGH_PRIORITY|IGNORE)\s+)*(?:INTO\s+)?"
    rf"({NAME}(?:\s*\.\s*{NAME})*)\s*(?:\(([^()]*)\)\s*)?(?:OVERRIDING\s+\w+\s+VALUE\s+)?VALUES?\s*",
    re.IGNORECASE,
)
CREATE = re.compile(
    rf"CREATE\s+(?:TEMPORARY\s+|UNLOGGED\s+)?TABLE\s+(?:IF\s+NOT\s+EXISTS\s+)?({NAME}(?:\s*\.\s*{NAME})*)\s*\(",
    re.IGNORECASE,
)
COPY = re.compile(rf"COPY\s+({NAME}(?:\.{NAME})*)\s*\(([^()]*)\)\s*FROM\s+stdin[^;]*;[ \t]*\r?\n", re.IGNORECASE)
ROUTINE = re.compile(r"(?:CREATE|ALTER)\s+(?:OR\s+\w+\s+)?(?:PROC|PROCEDURE|FUNCTION|TRIGGER|VIEW)\b", re.IGNORECASE)
COLUMN = re.compile(rf"\s*({NAME})\s+[\w\[`\"]")
NO_COLUMN = re.compile(
    r"\s*(?:PRIMARY|UNIQUE|KEY|INDEX|CONSTRAINT|FULLTEXT|SPATIAL|FOREIGN|CHECK|PERIOD)\b", re.IGNORECASE
)
SPACE = re.compile(r"(?:\s++|--(?=[\s\-]|$)[^\n]*+\n?|#[^\n]*+\n?|/\*(?:[^*]++|\*(?!/))*+\*/)*+")
NEXT_ROW = re.compile(r"\s*+,\s*+(?=\()")
GO = re.compile(r"GO[ \t]*(?:\d+[ \t]*)?(?=\r?\n|$)", re.IGNORECASE)
GO_LINE = re.compile(r"(?:^|\n)[ \t]*GO[ \t]*\r?(?:\n|$)", re.IGNORECASE)
WORD = re.compile(r"[A-Za-z]+")
CUT_COMMENT = re.compile(r"/\*")
STATEMENTS_OF_A_LINE = re.compile(
    r"\n[ \t]*(?=(?:GO[ \t]*\r?\n|INSERT\b|CREATE\b|ALTER\b|SET\b|USE\b|EXEC\b|DROP\b|IF\b))", re.IGNORECASE
)


class Dialect(NamedTuple):
    """How a dialect of SQL writes strings and statements."""

    backslash: bool
    lines: bool
    """Whether statements end at the end of a line (T-SQL), not with semicolons."""
    row: re.Pattern[str]
    value: re.Pattern[str]
    other: re.Pattern[str]
    """The rest of a statement that is not read, up to its end."""


def dialect(backslash: bool, lines: bool) -> Dialect:
    single = r"'(?:[^'\\]++|\\.|'')*+'" if backslash else r"'(?:[^']++|'')*+'"
    double = r'"(?:[^"\\]++|\\.|"")*+"' if backslash else r'"(?:[^"]++|"")*+"'
    texts = rf"{single}|{double}"
    deep = rf"\((?:[^'\"()]++|{texts}|\((?:[^'\"()]++|{texts})*+\))*+\)"
    row = rf"\((?:[^'\"()]++|{texts}|{deep})*+\)"
    value = rf"\s*+(?:(?:N|_\w+\s*|[xXbBeE])?({texts})\s*+|((?:[^'\"(),]++|{texts}|{deep})++))(?:,|\Z)"
    comment = r"/\*(?:[^*]++|\*(?!/))*+\*/|--[^\n]*+|#[^\n]*+"
    other = rf"(?:[^'\"`;/\-#\[]++|{texts}|`[^`]*+`|\[[^\]]*+\]|{comment}|/(?!\*)|-(?!-)|\[)*+;"
    return Dialect(backslash, lines, *(re.compile(each, re.DOTALL) for each in (row, value, other)))


MYSQL, STANDARD, TSQL = dialect(True, False), dialect(False, False), dialect(False, True)
ESCAPE = re.compile(r"\\(.)|''|\"\"", re.DOTALL)
SPECIAL = re.compile(r"""\\|''|""|\A'\Z""")
ESCAPED = {"n": "\n", "r": "\r", "t": "\t", "0": "\0", "Z": "\x1a", "b": "\b", "%": "\\%", "_": "\\_"}
INNER = re.compile(r"N?'((?:[^']|'')*)'")
NUMBER = re.compile(r"\(*\s*([-+]?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?)\s*\)*")


def looks_like_sql(text: str) -> bool:
    """Return whether a text begins like a dump."""
    start = SPACE.match(text)
    rest = text[start.end() if start else 0 :].lstrip("\ufeff")
    if text.lstrip("\ufeff").startswith(("-- ", "--\n", "/*")) and ("INSERT" in text or "CREATE" in text or not rest):
        return True
    words = (
        r"(?:INSERT\s+(?:INTO\s+)?[`\[\"\w]|CREATE\s+(?:TABLE|DATABASE)|DROP\s+TABLE|SET\s+\w+|USE\s+[`\[]|LOCK\s+TABLES|"
        r"BEGIN\b|PRAGMA\b|REPLACE\s+INTO|ALTER\s+)"
    )
    return re.match(words, rest, re.IGNORECASE) is not None


def dialect_of(start: str) -> Dialect:
    if "`" in start or "/*!" in start or "ENGINE=" in start:
        return MYSQL
    if re.search(r"\[dbo\]|^\s*GO\s*$|\bN'", start, re.MULTILINE) or re.search(r"INSERT\s+(?:INTO\s+)?\[", start):
        return TSQL
    if re.search(r"standard_conforming_strings|^COPY |PRAGMA |BEGIN TRANSACTION|PostgreSQL", start, re.MULTILINE):
        return STANDARD
    return MYSQL if "\\'" in start else STANDARD
