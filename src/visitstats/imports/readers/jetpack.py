"""Jetpack (WordPress.com): title, views, address. Older files have no heading. The file does not state its period."""

from collections.abc import Iterator

from visitstats.imports.draft import Draft, Facts
from visitstats.imports.numbers import Dates, whole
from visitstats.imports.places import ImportRefused
from visitstats.imports.readers.heads import Head, head_of, made
from visitstats.imports.sheets import Sheet, text_of
from visitstats.imports.source import Source

KIND = "jetpack"
_NAMES = ("title", "views", "url")


def _heads(source: Source) -> Iterator[Head]:
    for sheet in source.sheets:
        if sheet.form in ("text", "book") and (found := _head(sheet)):
            yield found


def _head(sheet: Sheet) -> Head | None:
    if (found := head_of(sheet, "title", "views", "url")) and set(found.columns) <= {
        *_NAMES,
        "id",
        "published",
        "type",
    }:
        return found
    filled = [row for row in sheet.first if any(row.cells)]
    if len(filled) >= 1 and all(
        len(row.cells) == 3 and text_of(row.cells[1]).isdecimal() and text_of(row.cells[2]).startswith("http")
        for row in filled
    ):
        return made(sheet, _NAMES, 0)
    return None


def knows(source: Source) -> int:
    """Return how sure the reader is that the files are of its source, from 0 to 100."""
    heads = list(_heads(source))
    return 70 if heads and any(head.line == 0 for head in heads) else 0


def read(source: Source, draft: Draft) -> None:
    """Add the numbers of the files to the draft."""
    options = draft.options
    if not (options.first and options.last):
        raise ImportRefused(
            source.items[0].place, "the file does not say which days it is of: say --from DATE --to DATE"
        )
    dates = Dates()
    first, last = (dates.day(each, source.items[0].place) for each in (options.first, options.last))
    draft.range, draft.facts = (first, last), ("title",)
    for head in _heads(source):
        for row in head.rows():
            views = whole(head.cell(row, "views"), place := head.place(row, "views")) or 0
            address, facts = head.text(row, "url"), Facts(head.text(row, "title"))
            if draft.is_repeated(place, address, views, address):
                continue
            if first == last:
                draft.article_day(address, first, views, place, facts)
            else:
                draft.article(address, views, place, facts)
    draft.warn("no-visits", "views of posts and pages alone")
