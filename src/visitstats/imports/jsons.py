"""JSON as tables: lists of objects, and files with one object per line."""

import json
from collections.abc import Iterator
from typing import Any

from visitstats.imports.encodings import Lines, encoding_of
from visitstats.imports.opening import Item
from visitstats.imports.places import ImportRefused
from visitstats.imports.sheets import Cell, Row, Sheet

MOST = 256 * 1024 * 1024
"""The most characters of a file that is one JSON value."""


def whole(item: Item) -> Any:
    """Return the JSON value of a file; None where each line is a separate value. Raises ImportRefused."""
    try:
        with Lines(item, encoding_of(item)) as text:
            data = text.read(MOST + 1)
    except UnicodeDecodeError as error:
        raise ImportRefused(item.place, f"not UTF-8 text ({error.reason})") from error
    if len(data) > MOST:
        raise ImportRefused(item.place, f"JSON of more than {MOST // 1024**2} MB")
    try:
        return json.loads(data)
    except json.JSONDecodeError as error:
        if error.msg == "Extra data":
            return None
        raise ImportRefused(item.place.at(error.lineno), f"no JSON, or cut off ({error.msg})") from error
    except RecursionError as error:
        raise ImportRefused(item.place, "JSON that is nested too deeply") from error
    except ValueError as error:
        raise ImportRefused(item.place, "JSON with a number of thousands of digits") from error


def lines(item: Item) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the objects of a file with one object per line, with their line numbers. Raises ImportRefused."""
    try:
        with Lines(item, encoding_of(item)) as text:
            for number, line in enumerate(text, 1):
                if not line.strip():
                    continue
                try:
                    value = json.loads(line)
                except (ValueError, RecursionError) as error:
                    raise ImportRefused(item.place.at(number), f"no JSON, or cut off ({error})") from error
                if not isinstance(value, dict):
                    raise ImportRefused(item.place.at(number), "an object is expected", line)
                yield number, value
    except UnicodeDecodeError as error:
        raise ImportRefused(item.place, f"not UTF-8 text ({error.reason})") from error


def sheet(item: Item, value: Any) -> Sheet | None:
    """Return the table of a list of objects or (`value` None) of a file with one object per line; None for others."""
    if value is None:
        columns: dict[str, None] = {}
        for number, row in lines(item):
            columns |= dict.fromkeys(_flat(row))
            if number > 1000:
                break
        return Sheet(item.place, item.name.lower(), tuple(columns), lambda: _lines(item, tuple(columns)), "json")
    if isinstance(value, list) and value and all(isinstance(each, dict) for each in value):
        flat = [_flat(each) for each in value]
        columns = {name: None for each in flat for name in each}
        names = tuple(columns)
        rows = [Row(number, [each.get(name) for name in names]) for number, each in enumerate(flat, 1)]
        return Sheet(item.place, item.name.lower(), names, lambda: iter(rows), "json")
    return None


def _lines(item: Item, names: tuple[str, ...]) -> Iterator[Row]:
    for number, row in lines(item):
        flat = _flat(row)
        yield Row(number, [flat.get(name) for name in names])


def _flat(value: dict[str, Any]) -> dict[str, Cell]:
    """Return the fields of an object. Django's `fields` and Mongo's wrapped numbers are unwrapped."""
    found: dict[str, Cell] = {}
    for name, each in value.items():
        if name == "fields" and isinstance(each, dict):
            found |= _flat(each)
        elif isinstance(each, dict) and len(each) == 1 and next(iter(each)).startswith("$"):
            inner = next(iter(each.values()))
            found[name.lower()] = inner if isinstance(inner, str | int | float) else None
        elif each is None or isinstance(each, str | int | float | bool):
            found[name.lower()] = each
    return found
