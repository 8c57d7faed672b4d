"""Plausible: `imported_visitors` and `imported_pages` have the exact days of the site and of its pages."""

from visitstats.imports.draft import Draft
from visitstats.imports.numbers import Dates, whole
from visitstats.imports.places import ImportRefused
from visitstats.imports.readers.heads import Head, head_of
from visitstats.imports.source import Source

KIND = "plausible"
_OTHERS = (
    "sources",
    "entry_pages",
    "exit_pages",
    "locations",
    "devices",
    "browsers",
    "operating_systems",
    "custom_events",
)


def _heads(source: Source, table: str, *needed: str) -> list[Head]:
    sheets = [sheet for sheet in source.sheets if f"imported_{table}" in sheet.name.rsplit("/", 1)[-1]]
    return [head for sheet in sheets if (head := head_of(sheet, *needed))]


def _is_dashboard(source: Source) -> bool:
    names = {item.name.rsplit("/", 1)[-1] for item in source.items}
    return {"visitors.csv", "pages.csv"} <= names


def knows(source: Source) -> int:
    """Return how sure the reader is that the files are of its source, from 0 to 100."""
    if _heads(source, "visitors", "date", "pageviews") or _heads(source, "pages", "date", "page", "pageviews"):
        return 95
    return 50 if _is_dashboard(source) else 0


def read(source: Source, draft: Draft) -> None:
    """Add the numbers of the files to the draft."""
    visitors = _heads(source, "visitors", "date", "pageviews", "visits")
    pages = _heads(source, "pages", "date", "page", "pageviews")
    if not visitors and not pages:
        raise ImportRefused(
            source.items[0].place,
            "an export of the dashboard, which is cut after 100 to 300 rows and has no dates: "
            "use Settings, Imports & Exports, Export data",
        )
    dates = Dates()
    for head in visitors:
        for row in head.rows():
            day = dates.day(head.cell(row, "date"), head.place(row, "date"))
            visits = whole(head.cell(row, "visits"), head.place(row, "visits")) or 0
            views = whole(head.cell(row, "pageviews"), head.place(row, "pageviews")) or 0
            if draft.is_repeated(head.place(row), f"site\0{day}", views, day):
                continue
            draft.add_period("visits", day, visits)
            draft.add_period("views", day, views)
            draft.read["visits"] += visits
        draft.sums |= {"visits", "views"}
    foreign: dict[str, int] = {}
    for head in pages:
        for row in head.rows():
            day = dates.day(head.cell(row, "date"), head.place(row, "date"))
            views = whole(head.cell(row, "pageviews"), place := head.place(row, "pageviews")) or 0
            host, page = head.text(row, "hostname"), head.text(row, "page")
            if draft.is_repeated(place, f"{host}\0{page}\0{day}", views, f"{page} on {day}"):
                continue
            address = f"https://{host}{page}" if host else page
            if draft.article_day(address, day, views, place) is None:
                foreign[host] = foreign.get(host, 0) + views
            elif not visitors:
                draft.add_period("views", day, views)
                draft.sums.add("views")
    for host, views in foreign.items():
        draft.warn("host", f"{views} {'view' if views == 1 else 'views'} of {host}")
    for item in source.items:
        name = item.name.rsplit("/", 1)[-1]
        if table := next((each for each in _OTHERS if f"imported_{each}" in name), ""):
            draft.ignore(table, "repeats the same views")
