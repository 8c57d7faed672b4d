"""Liferay: `ViewCountEntry` (7.2 and later) or `AssetEntry.viewCount`, joined with the articles' addresses."""

from visitstats.imports.draft import Draft, Facts
from visitstats.imports.numbers import whole
from visitstats.imports.places import ImportRefused
from visitstats.imports.readers.heads import Head, first_head
from visitstats.imports.source import Source

KIND = "liferay"


def _counts(source: Source) -> tuple[Head, str, str] | None:
    if head := first_head(source.sheets, "classpk", "viewcount", "classnameid", ending="viewcountentry"):
        return head, "classpk", "viewcount"
    if head := first_head(source.sheets, "classpk", "viewcount", ending="assetentry"):
        return head, "classpk", "viewcount"
    return None


def knows(source: Source) -> int:
    """Return how sure the reader is that the files are of its source, from 0 to 100."""
    return 90 if _counts(source) else 0


def read(source: Source, draft: Draft) -> None:
    """Add the numbers of the files to the draft."""
    counts = _counts(source)
    if counts is None:
        raise ImportRefused(source.items[0].place, "the columns classPK and viewCount are expected")
    head, key, value = counts
    mapped = dict(draft.options.addresses)
    articles: dict[str, tuple[float, str, str]] = {}
    journal = first_head(source.sheets, "resourceprimkey", "urltitle", ending="journalarticle")
    for row in journal.rows() if journal else ():
        if journal is None:
            break
        number, version = journal.text(row, "resourceprimkey"), journal.text(row, "version")
        newest = float(version) if version.replace(".", "", 1).isdecimal() else 0.0
        if number not in articles or newest >= articles[number][0]:
            articles[number] = (newest, journal.text(row, "urltitle"), journal.text(row, "title"))
    draft.facts = ("title",) if articles and any(title for _, _, title in articles.values()) else ()
    for row in head.rows():
        number = head.text(row, key)
        views = whole(head.cell(row, value), place := head.place(row, value)) or 0
        kind = head.text(row, "classnameid")
        if draft.is_repeated(place, f"{kind}\0{number}", views, f"entry {number}"):
            continue
        found = articles.get(number)
        address = mapped.get(number) or (f"/-/{found[1]}" if found and found[1] else "")
        title = found[2] if found and not found[2].startswith("<") else head.text(row, "title")
        if address:
            draft.article(address, views, place, Facts("" if title.startswith("<") else title))
        else:
            draft.leave_out("no-article", place, f"resource {number}", views)
