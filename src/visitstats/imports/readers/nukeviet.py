"""NukeViet 4 and 5: dumps of its database, its own backup, and CSV files of its tables.

Rules, taken from its code: only `c_count` is read; months belong to the year, and days to the month, of `c_time/last`;
`PREFIX_LANG_MODULE_CATID` are copies; the address is `/LANG/MODULE/CATEGORY/ALIAS-ID.html`.
"""

import html
import re
from datetime import UTC, datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

from visitstats.imports.draft import Draft, Facts
from visitstats.imports.numbers import whole
from visitstats.imports.places import ImportRefused, Place
from visitstats.imports.readers.heads import Head, head_of
from visitstats.imports.sheets import Cell, Row, Sheet, text_of
from visitstats.imports.source import Source

KIND = "nukeviet"
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
LIMIT = 16_777_215
"""The largest value of `hitstotal`, an unsigned mediumint: the counter stops there."""
MOST_TOLD = 100
_UNDATED = ("hour", "dayofweek", "bot", "browser", "os", "country")
_ROWS = re.compile(r"(?P<prefix>\w+?)_(?P<language>[a-z]{2})_(?P<module>\w+)_rows")
_MOJIBAKE = re.compile("[ÃÂÄ][\u0080-\u00bf\u0152-\u0178\u2018-\u2122]|á[»º¼½][\u0080-\u00ff\u0152-\u2122]|Æ°|Ä‘")


class _Module(NamedTuple):
    language: str
    name: str
    categories: dict[str, tuple[str, str]]
    """Number of a category → its alias and title."""
    has_categories: bool


def knows(source: Source) -> int:
    """Return how sure the reader is that the files are of its source, from 0 to 100."""
    if any(_is_counter(sheet) for sheet in source.sheets) or any(_is_rows(sheet) for sheet in source.sheets):
        return 95
    return 0


def read(source: Source, draft: Draft) -> None:
    """Add the numbers of the files to the draft."""
    counters = [head for sheet in source.sheets if (head := _counter(sheet))]
    if len(counters) > 1:
        names = ", ".join(head.sheet.name for head in counters)
        raise ImportRefused(counters[1].sheet.place, f"counters of several portals ({names}); say which with --table")
    zone = _zone(source, draft)
    for head in counters:
        _read_counter(head, draft, zone)
    table = draft.options.table.lower()
    if table and any(sheet.name == table for sheet in source.sheets):
        tables = [sheet for sheet in source.sheets if sheet.name == table]
    else:
        # A file without a heading is recognized only by the options.
        tables = [sheet for sheet in source.sheets if _is_rows(sheet) or (sheet.columns is None and not counters)]
    for sheet in source.sheets:
        if (copied := re.fullmatch(r"(\w+)_\d+", sheet.name)) and sheet.has("id", "hitstotal"):
            draft.ignore(sheet.name, f"a copy of rows in {copied[1]}_rows")
    known = _modules(source)
    for sheet in tables:
        _read_rows(sheet, source, draft, known, zone)


# The counter ---------------------------------------------------------------------------------------------------------


def _counter(sheet: Sheet) -> Head | None:
    if sheet.form in ("sql", "database") and not sheet.name.endswith("counter"):
        return None
    return head_of(sheet, "c type", "c val", "c count", "last update")


def _is_counter(sheet: Sheet) -> bool:
    return _counter(sheet) is not None


def _zone(source: Source, draft: Draft) -> ZoneInfo:
    for sheet in source.sheets:
        head = head_of(sheet, "config name", "config value") if sheet.name.endswith("_config") else None
        for row in head.rows() if head else ():
            if head and head.text(row, "config name") == "statistics_timezone" and not draft.options.timezone:
                name = head.text(row, "config value")
                try:
                    return ZoneInfo(name)
                except (KeyError, ValueError, OSError):
                    draft.warn("zone", f"{name!r} is no zone; {draft.site.timezone} is used")
    return ZoneInfo(draft.options.timezone or draft.site.timezone)


def _read_counter(head: Head, draft: Draft, zone: ZoneInfo) -> None:
    rows: list[tuple[str, str, int, int, Place]] = []
    last = 0
    for row in head.rows():
        kind, value = head.text(row, "c type"), head.text(row, "c val")
        place = head.place(row, "c count")
        count, moment = whole(head.cell(row, "c count"), place), whole(head.cell(row, "last update"), head.place(row))
        if draft.is_repeated(place, f"counter\0{kind}\0{value}", count, f"{kind} {value}"):
            continue
        if kind == "c_time":
            last = (count or 0) if value == "last" else last
            draft.ignore("c_time", "a clock, not a count")
        else:
            rows.append((kind, value, count or 0, moment or 0, place))
    last = last or max((moment for _, _, _, moment, _ in rows), default=0)
    now = datetime.fromtimestamp(min(last, 4102444800), UTC).astimezone(zone)
    undated = [kind for kind in _UNDATED if any(kind == each[0] for each in rows)]
    if undated:
        draft.ignore(f"{head.sheet.name} {', '.join(undated)}", "no dates")
    bots = sum(count for kind, _, count, _, _ in rows if kind == "bot")
    if bots:
        draft.warn("bots-in-total", str(bots))
    for kind, value, count, moment, place in rows:
        when = datetime.fromtimestamp(min(moment, 4102444800), UTC).astimezone(zone)
        if kind == "total" and value == "hits":
            draft.add_period("visits", "", count)
            draft.read["visits"] += count
        elif kind == "year" and count:
            if not re.fullmatch(r"(?:19|20|21)\d\d", value):
                raise ImportRefused(place, "a year is expected", value)
            draft.add_period("visits", value, count)
        elif kind == "month" and count and when.year == now.year:
            if value not in MONTHS:
                raise ImportRefused(place, "a month such as Jan is expected", value)
            draft.add_period("visits", f"{now.year}-{MONTHS.index(value) + 1:02d}", count)
        elif kind == "day" and count and (when.year, when.month) == (now.year, now.month):
            if not value.isdecimal() or not 1 <= int(value) <= 31:
                raise ImportRefused(place, "a day such as 07 is expected", value)
            draft.add_period("visits", f"{now.year}-{now.month:02d}-{int(value):02d}", count)
    if not any(kind == "total" for kind, *_ in rows):
        draft.sums.add("visits")
    draft.names.append(f"{head.sheet.name}: counted until {now.isoformat()}")


# Articles ------------------------------------------------------------------------------------------------------------


def _is_rows(sheet: Sheet) -> bool:
    if sheet.form in ("sql", "database"):
        return _ROWS.fullmatch(sheet.name) is not None and (sheet.columns is None or sheet.has("id", "hitstotal"))
    return head_of(sheet, "id", "hitstotal", "alias") is not None


def _modules(source: Source) -> dict[tuple[str, str], str]:
    """Return the name of each module in addresses, by language and by its part of the table name."""
    found = {}
    for sheet in source.sheets:
        if not (match := re.fullmatch(r"\w+?_([a-z]{2})_modules", sheet.name)):
            continue
        head = head_of(sheet, "title", "module data")
        for row in head.rows() if head else ():
            if head:
                found[match[1], head.text(row, "module data")] = head.text(row, "title")
    return found


def _read_rows(sheet: Sheet, source: Source, draft: Draft, known: dict[tuple[str, str], str], zone: ZoneInfo) -> None:
    name = draft.options.table.lower() if draft.options.table and sheet.form not in ("sql", "database") else sheet.name
    match = _ROWS.fullmatch(name) or _ROWS.fullmatch(name.removesuffix(".csv"))
    if match is None:
        raise ImportRefused(
            sheet.place, "the table of this file is not known: say --table nv4_vi_news_rows (language and module)"
        )
    language, part = match["language"], match["module"]
    said = next((address for address, table in draft.options.modules if table.lower() in (name, name[:-5])), "")
    head = head_of(sheet, "id", "hitstotal")
    if head is None and draft.options.columns and sheet.columns is None:
        head = Head(sheet, {each.lower().replace("_", " "): n for n, each in enumerate(draft.options.columns)},
                    draft.options.columns, 0)  # fmt: skip
    if head is None:
        raise ImportRefused(sheet.place, "the columns of this table are not named: say --columns id,catid,…")
    categories, has_categories = _categories(source, name.removesuffix("_rows") + "_cat")
    module = _Module(
        language, said or known.get((language, part)) or part.replace("_", "-"), categories, has_categories
    )
    if not said and (language, part) not in known and "_" in part:
        draft.warn("module", f"{name} is taken for {module.name} in addresses; else say --module NAME={name[:-5]}")
    draft.facts = Facts._fields
    unpublished: list[str] = []
    limited: list[str] = []
    for row in head.rows():
        number = head.text(row, "id")
        views = whole(head.cell(row, "hitstotal"), place := head.place(row, "hitstotal"))
        if not number.isdecimal():
            raise ImportRefused(head.place(row, "id"), "the number of an article is expected", number)
        if draft.is_repeated(place, f"{name}\0{number}", views, f"id {number}"):
            continue
        key = _take(head, row, number, views or 0, module, draft, zone, place)
        if key and views == LIMIT:
            limited.append(key)
        if key and "status" in head.columns and head.text(row, "status") not in ("1", ""):
            unpublished.append(key)
    for word, keys in (("at-limit", limited), ("not-published", unpublished)):
        for key in keys[:MOST_TOLD]:
            draft.warn(word, key)
        if len(keys) > MOST_TOLD:
            draft.warn(word, f"and {len(keys) - MOST_TOLD} more")
    if not has_categories:
        draft.warn("categories-unknown", "the table of categories is not here")


def _take(
    head: Head, row: Row, number: str, views: int, module: _Module, draft: Draft, zone: ZoneInfo, place: Place
) -> str | None:
    category = head.text(row, "catid")
    slug, title = module.categories.get(category, ("", ""))
    alias = head.text(row, "alias") or "bai"
    address = f"/{module.language}/{module.name}/{slug or 'tin'}/{alias}-{number}.html"
    moment = head.text(row, "publtime")
    published = ""
    if moment.isdecimal() and len(moment) <= 10 and 0 < int(moment) < 4102444800:
        published = datetime.fromtimestamp(int(moment), zone).isoformat()
    facts = Facts(
        _text(head.cell(row, "title"), draft, place), _text(head.cell(row, "author"), draft, place),
        _text(title, draft, place), published,
    )  # fmt: skip
    return draft.article(address, views, place, facts)


def _categories(source: Source, name: str) -> tuple[dict[str, tuple[str, str]], bool]:
    for sheet in source.sheets:
        head = head_of(sheet, "catid", "title", "alias") if sheet.name.removesuffix(".csv") == name else None
        if head is not None:
            return {
                head.text(row, "catid"): (head.text(row, "alias"), str(head.cell(row, "title") or ""))
                for row in head.rows()
            }, True
    return {}, False


def _text(cell: Cell, draft: Draft, place: Place) -> str:
    """Return a text with its entities decoded once. Raises ImportRefused for UTF-8 that was stored as latin1."""
    text = cell if isinstance(cell, str) and cell != "NULL" else ""
    if not text.isascii() and _MOJIBAKE.search(text):
        if not draft.options.repair_latin1:
            hint = "say --repair-latin1 to read it as it was meant"
            raise ImportRefused(place, "UTF-8 that was stored as latin1", text, hint)
        try:
            text = b"".join(_byte(letter) for letter in text).decode()
        except UnicodeError as error:
            raise ImportRefused(place, "a text that cannot be repaired", text) from error
    return text_of(html.unescape(text) if "&" in text else text)


def _byte(letter: str) -> bytes:
    """Return the byte of a letter in MySQL's latin1: Windows-1252, with its unassigned bytes kept as they are."""
    try:
        return letter.encode("cp1252")
    except UnicodeEncodeError:
        return letter.encode("latin-1")
