"""CSV and similar formats: rows with their line numbers, for each of the known separators."""

import csv
import itertools
from collections.abc import Callable, Iterator

from visitstats.imports.encodings import Lines, encoding_of
from visitstats.imports.opening import Item
from visitstats.imports.places import ImportRefused
from visitstats.imports.sheets import Row, Sheet

SEPARATORS = (",", ";", "\t", "|")
FIRST = 60
"""The number of first rows in which the heading is searched."""
MOST_FIELD = 4 * 1024 * 1024
csv.field_size_limit(MOST_FIELD)


def sheets(item: Item, encoding: str = "", known: Callable[[tuple[Row, ...]], int] = lambda rows: 0) -> Sheet:
    """Return the sheet of a text. The separator is chosen for which `known`, the number of known headings in the
    first rows, is highest. Raises ImportRefused."""
    name = encoding_of(item, encoding)
    said, skipped = _said(item, name)
    best: tuple[int, int, str] | None = None
    for place, separator in enumerate((said,) if said else SEPARATORS):
        try:
            first = _first(item, name, separator, skipped)
        except ImportRefused:
            if said or (place == len(SEPARATORS) - 1 and best is None):
                raise
            continue
        # A file of one column has one column with every separator; the first separator is taken.
        score = (known(first), -place, separator)
        best = score if best is None or score > best else best
    separator = best[2] if best else ","
    shown = {"\t": "tab"}.get(separator, separator)
    return Sheet(
        item.place,
        item.name.lower(),
        None,
        lambda: rows(item, name, separator, skipped),
        "text",
        _first(item, name, separator, skipped),
        f"{name}, columns parted by {shown}",
    )


def rows(item: Item, encoding: str, separator: str, skipped: int = 0, list_schema: bool = True) -> Iterator[Row]:
    """Yield the rows of a text; an empty line is a row without cells. Raises ImportRefused."""
    place = item.place
    number = 0
    reader = None
    try:
        with Lines(item, encoding) as text:
            for _ in range(skipped):
                number += 1
                text.readline()
            lines = _without_schema(text) if list_schema else text
            reader = csv.reader(lines, delimiter=separator, strict=True)
            start = skipped + 1
            for cells in reader:
                yield Row(start, cells)  # type: ignore[arg-type]
                start = skipped + reader.line_num + 1
    except UnicodeDecodeError as error:
        at = skipped + (reader.line_num if reader else 0) + 1
        raise ImportRefused(place.at(at), f"not {encoding} text ({error.reason})") from error
    except csv.Error as error:
        at = skipped + (reader.line_num if reader else 0)
        why = {
            "unexpected end of data": "the file ends inside a quoted text: it was cut off, or a quotation mark lacks",
            "line contains NUL": "a binary file, not a table",
        }.get(str(error), str(error))
        if "field larger" in why:
            why = "a text without end: a quotation mark is missing"
        raise ImportRefused(place.at(at), why) from error


def _without_schema(text: Lines) -> Iterator[str]:
    """Return the lines without SharePoint's `ListSchema={…}` before the heading, on its line or the line above."""
    first = next(text, "")
    if (line := first.lstrip("\ufeff")).startswith("ListSchema="):
        rest = _after_json(line[len("ListSchema=") :])
        first = rest if rest.strip() else "\n"
    return itertools.chain([first] if first else [], text)


def _after_json(text: str) -> str:
    depth, inside, escaped = 0, False, False
    for place, letter in enumerate(text):
        if inside:
            if escaped:
                escaped = False
            elif letter == "\\":
                escaped = True
            elif letter == '"':
                inside = False
        elif letter == '"':
            inside = True
        elif letter in "{[":
            depth += 1
        elif letter in "}]":
            depth -= 1
            if depth == 0:
                return text[place + 1 :].lstrip(",; \t")
    return ""


def _first(item: Item, encoding: str, separator: str, skipped: int) -> tuple[Row, ...]:
    found = []
    for row in rows(item, encoding, separator, skipped):
        found.append(row)
        if len(found) == FIRST:
            break
    return tuple(found)


def _said(item: Item, encoding: str) -> tuple[str, int]:
    """Return the separator that a `sep=` line names, and the number of lines to skip for it."""
    try:
        with Lines(item, encoding) as text:
            line = text.readline(64).strip("\r\n\"'")
    except UnicodeDecodeError:
        return "", 0
    if line[:4].lower() == "sep=" and line[4:] in SEPARATORS:
        return line[4:], 1
    return "", 0
