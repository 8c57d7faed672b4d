"""GoatCounter: the CSV export (a row per page view, in UTC) and the JSON export (sums by hour and path, in UTC)."""

import re
from collections import Counter
from datetime import datetime
from hashlib import blake2b

from visitstats.imports import jsons
from visitstats.imports.draft import Draft, Facts
from visitstats.imports.places import ImportRefused, Place
from visitstats.imports.readers.heads import made
from visitstats.imports.sheets import Sheet, text_of
from visitstats.imports.source import Source

KIND = "goatcounter"
_VERSION = re.compile(r"(\d+)Path")
_TRUE = frozenset({"1", "true", "TRUE", "True"})


def _version(sheet: Sheet) -> str:
    for row in sheet.first[:1]:
        if row.cells and (match := _VERSION.fullmatch(text_of(row.cells[0]).lstrip("\ufeff"))):
            return match[1]
    return ""


def knows(source: Source) -> int:
    """Return how sure the reader is that the files are of its source, from 0 to 100."""
    if any(_version(sheet) for sheet in source.sheets):
        return 98
    return 96 if source.named("hit_stats.jsonl") and source.named("paths.jsonl") else 0


def read(source: Source, draft: Draft) -> None:
    """Add the numbers of the files to the draft."""
    draft.facts = ("title",)
    sheets = [sheet for sheet in source.sheets if _version(sheet)]
    for sheet in sheets:
        _read_csv(sheet, draft)
    if not sheets:
        _read_json(source, draft)


def _moment(text: str, draft: Draft, place: Place) -> str:
    """Return the site's date of a moment in UTC."""
    try:
        when = datetime.fromisoformat(text)
        if when.tzinfo is None:
            raise ValueError
    except ValueError as error:
        raise ImportRefused(place, "a moment such as 2021-12-31T16:59:30Z is expected", text) from error
    return draft.calendar.iso(int(when.timestamp()) * 1000)[:10]


def _read_csv(sheet: Sheet, draft: Draft) -> None:
    version = _version(sheet)
    if version not in ("1", "2"):
        raise ImportRefused(sheet.place.at(1), f"an export of version {version}, which is not known here")
    first = sheet.first[0]
    head = made(sheet, ("path", *(text_of(cell) for cell in first.cells[1:])), first.line)
    if head is None or not {"event", "session", "bot", "firstvisit", "date"} <= set(head.columns):
        raise ImportRefused(sheet.place.at(1), "the columns Event, Session, Bot, FirstVisit and Date are expected")
    every_load = (draft.options.views or draft.site.views) == "every-load"
    sessions: set[bytes] = set()
    for row in head.rows():
        address, place = head.text(row, "path"), head.place(row)
        if head.text(row, "event") in _TRUE:
            draft.ignore("event", 1)
            continue
        if head.text(row, "bot") not in ("", "0", "false"):
            draft.ignore("bot", 1)
            continue
        day = _moment(head.text(row, "date"), draft, head.place(row, "date"))
        session = blake2b(head.text(row, "session").encode(), digest_size=8).digest()
        if head.text(row, "session") and session not in sessions:
            sessions.add(session)
            draft.add_period("visits", day, 1)
            draft.read["visits"] += 1
        if not every_load and head.text(row, "firstvisit") not in _TRUE:
            draft.ignore("not first in its session", 1)
            continue
        if draft.article_day(address, day, 1, place, Facts(head.text(row, "title"))) is not None:
            draft.add_period("views", day, 1)
    draft.sums |= {"visits", "views"}
    draft.names.append(f"moments in UTC, days in {draft.options.timezone or draft.site.timezone}")


def _read_json(source: Source, draft: Draft) -> None:
    for item in source.named("info.json"):
        info = jsons.whole(item)
        version = str(info.get("export_version", "")) if isinstance(info, dict) else ""
        if not version.startswith("1"):
            raise ImportRefused(item.place, f"an export of version {version[:20]!r}, which is not known here")
    paths: dict[int, tuple[str, str, bool]] = {}
    for item in source.named("paths.jsonl"):
        for line, row in jsons.lines(item):
            if not isinstance(row.get("id"), int) or not isinstance(row.get("path"), str):
                raise ImportRefused(item.place.at(line), "a path with its number is expected")
            paths[row["id"]] = (row["path"], str(row.get("title") or ""), bool(row.get("event")))
    unknown = Counter[int]()
    for item in source.named("hit_stats.jsonl"):
        for line, row in jsons.lines(item):
            place = item.place.at(line)
            count, number = row.get("count"), row.get("path_id")
            if not isinstance(count, int) or isinstance(count, bool) or count < 0:
                raise ImportRefused(place, "a whole number is expected", str(count))
            if not isinstance(number, int) or number not in paths:
                unknown[number if isinstance(number, int) else -1] += count
                draft.leave_out("unknown-path", place, f"path_id {number}", count)
                continue
            address, title, is_event = paths[number]
            if is_event:
                draft.ignore("event", count)
                continue
            day = _moment(str(row.get("hour")), draft, place)
            if draft.article_day(address, day, count, place, Facts(title)) is not None:
                draft.add_period("views", day, count)
    for number, count in unknown.items():
        draft.warn("unknown-path", f"{count} views of path_id {number}")
    draft.sums.add("views")
