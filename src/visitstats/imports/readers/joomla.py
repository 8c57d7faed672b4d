"""Joomla: the visitor counters of Vinaora, and the `hits` of Joomla's articles."""

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime

from visitstats.imports.draft import Draft, Facts
from visitstats.imports.numbers import whole
from visitstats.imports.places import ImportRefused, Place
from visitstats.imports.readers.heads import Head, first_head, head_of
from visitstats.imports.sheets import Row
from visitstats.imports.source import Source

KIND = "joomla"
MANY, LEAST = 20, 1000
"""The first rows of the table with more than MANY times the usual visits, and with more than LEAST, were summed up by
an upgrade: each has the visits of months or years at one moment."""


def _logs(source: Source) -> Head | None:
    return first_head(source.sheets, "time", "visits", "bots", ending="vvcounter_logs")


def _visits(source: Source) -> Head | None:
    return first_head(source.sheets, "id", "tm", "ip", ending="vvisitcounter")


def _content(source: Source) -> Head | None:
    return first_head(source.sheets, "id", "title", "alias", "hits", ending="content")


def knows(source: Source) -> int:
    """Return how sure the reader is that the files are of its source, from 0 to 100."""
    return 90 if _logs(source) or _visits(source) else 75 if _content(source) else 0


def read(source: Source, draft: Draft) -> None:
    """Add the numbers of the files to the draft."""
    if head := _logs(source):
        _read_logs(head, draft)
    elif head := _visits(source):
        _read_visits(head, draft)
    if head := _content(source):
        _read_content(head, source, draft)


def _day(moment: int, draft: Draft, place: Place) -> str:
    if not 631152000 <= moment < 4102444800:
        raise ImportRefused(place, "seconds since 1970 are expected", str(moment))
    return draft.calendar.iso(moment * 1000)[:10]


def _read_logs(head: Head, draft: Draft) -> None:
    usual = sorted(n for _, n, _ in _log_rows(head) if n)
    most = max(MANY * (usual[(len(usual) - 1) // 2] if usual else 0), LEAST)
    bots_in_all = undated = 0
    is_first = True
    gathered = Counter[str]()
    for row, visits, bots in _log_rows(head):
        moment = whole(head.cell(row, "time"), place := head.place(row, "time")) or 0
        day = _day(moment - 1, draft, place)  # the moment is the end of the row's interval
        if draft.is_repeated(place, f"log\0{moment}", visits, f"the row of {moment}"):
            continue
        bots_in_all += bots
        draft.read["visits"] += visits
        is_first = is_first and visits > most
        if is_first:
            undated += visits
        else:
            gathered[day] += visits
    for day, n in gathered.items():
        draft.add_period("visits", day, n)
    draft.add_period("visits", "", sum(gathered.values()) + undated)
    if bots_in_all:
        draft.ignore("bots", bots_in_all)
    if undated:
        draft.warn("undated", f"{undated} visits at one moment are what an upgrade has summed up: they have no days")


def _log_rows(head: Head) -> Iterator[tuple[Row, int, int]]:
    """Yield each row with its visits without bots, and with the visits of bots."""
    for row in head.rows():
        visits = whole(head.cell(row, "visits"), head.place(row, "visits")) or 0
        bots = whole(head.cell(row, "bots"), head.place(row, "bots")) or 0
        if bots > visits:
            raise ImportRefused(head.place(row, "bots"), f"more bots than visits ({visits})", str(bots))
        yield row, visits - bots, bots


def _read_visits(head: Head, draft: Draft) -> None:
    gathered = Counter[str]()
    for row in head.rows():
        moment = whole(head.cell(row, "tm"), place := head.place(row, "tm")) or 0
        gathered[_day(moment, draft, place)] += 1
    for day, n in gathered.items():
        draft.add_period("visits", day, n)
        draft.read["visits"] += n
    draft.sums.add("visits")
    draft.ignore("ip", "addresses of readers are not kept")


def _read_content(head: Head, source: Source, draft: Draft) -> None:
    draft.facts = ("title", "category", "published")
    addresses = dict(draft.options.addresses)
    categories = {}
    for sheet in source.sheets:
        table = head_of(sheet, "id", "title") if sheet.name.endswith("_categories") else None
        if table:
            categories = {table.text(row, "id"): table.text(row, "title") for row in table.rows()}
    for row in head.rows():
        number = head.text(row, "id")
        views = whole(head.cell(row, "hits"), place := head.place(row, "hits")) or 0
        if draft.is_repeated(place, f"content\0{number}", views, f"article {number}"):
            continue
        when = head.text(row, "publish up") or head.text(row, "created")
        published = ""
        if when[:4] not in ("", "0000"):
            try:
                moment = datetime.fromisoformat(when).replace(tzinfo=UTC)
                published = draft.calendar.iso(int(moment.timestamp()) * 1000)
            except ValueError:
                published = ""
        facts = Facts(head.text(row, "title"), "", categories.get(head.text(row, "catid"), ""), published)
        address = addresses.get(number) or f"/index.php?option=com_content&view=article&id={number}"
        draft.article(address, views, place, facts)
