"""Umami: the cloud's `website_event.csv`, or that table of its database. `pages.csv` is refused: it counts people."""

from datetime import UTC, datetime

from visitstats.imports.draft import Draft, Facts
from visitstats.imports.places import ImportRefused
from visitstats.imports.readers.heads import Head, first_head, head_of
from visitstats.imports.source import Source

KIND = "umami"


def _events(source: Source) -> Head | None:
    return first_head(source.sheets, "website id", "session id", "created at", "url path", ending="website_event")


def _has_counts(source: Source) -> bool:
    return any(
        (head := head_of(sheet, "x", "y")) is not None and len(head.names) == 2
        for sheet in source.sheets
        if sheet.form == "text" and sheet.name.rsplit("/", 1)[-1] in ("pages.csv", "urls.csv", "entry.csv")
    )


def knows(source: Source) -> int:
    """Return how sure the reader is that the files are of its source, from 0 to 100."""
    return 95 if _events(source) else 85 if _has_counts(source) else 0


def read(source: Source, draft: Draft) -> None:
    """Add the numbers of the files to the draft."""
    head = _events(source)
    if head is None:
        raise ImportRefused(
            source.items[0].place,
            "pages.csv of Umami counts people, not views, and has 500 pages at most: bring website_event "
            "(the cloud's export, or the table of its database)",
        )
    draft.facts = ("title",)
    visits: set[int] = set()
    for row in head.rows():
        kind = head.text(row, "event type")
        if kind not in ("", "1"):
            draft.ignore("event", 1)
            continue
        text, place = head.text(row, "created at"), head.place(row, "created at")
        try:
            when = datetime.fromisoformat(text.replace(" UTC", "+00:00"))
        except ValueError as error:
            raise ImportRefused(place, "a moment is expected", text) from error
        when = when if when.tzinfo else when.replace(tzinfo=UTC)
        day = draft.calendar.iso(int(when.timestamp()) * 1000)[:10]
        visit = hash(head.text(row, "visit id") or head.text(row, "session id"))
        if visit not in visits:
            visits.add(visit)
            draft.add_period("visits", day, 1)
            draft.read["visits"] += 1
        query = head.text(row, "url query")
        address = head.text(row, "url path") + (f"?{query}" if query else "")
        host = head.text(row, "hostname")
        address = f"https://{host}{address}" if host else address
        if draft.article_day(address, day, 1, place, Facts(head.text(row, "page title"))) is not None:
            draft.add_period("views", day, 1)
    draft.sums |= {"visits", "views"}
