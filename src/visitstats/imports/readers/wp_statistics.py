"""WP-Statistics (WordPress): pages per day, the site's views, and the sums of rows that were purged.

It calls a page view `visit`. A post may have several rows per day, one for each query string; they are added up.
"""

from visitstats.imports.draft import Draft
from visitstats.imports.numbers import Dates, whole
from visitstats.imports.readers.heads import first_head
from visitstats.imports.readers.wordpress import Posts
from visitstats.imports.source import Source

KIND = "wp-statistics"
CUT = 190
"""The number of characters to which the column `uri` is cut."""


def knows(source: Source) -> int:
    """Return how sure the reader is that the files are of its source, from 0 to 100."""
    if first_head(source.sheets, "uri", "type", "date", "count", "id", ending="statistics_pages"):
        return 92
    if first_head(source.sheets, "last visit", "last counter", "visit", ending="statistics_visit"):
        return 92
    return 90 if first_head(source.sheets, "category", "uri", "value", ending="statistics_historical") else 0


def read(source: Source, draft: Draft) -> None:
    """Add the numbers of the files to the draft."""
    posts = Posts(source, draft)
    dates = Dates()
    pages = first_head(source.sheets, "uri", "type", "date", "count", "id", ending="statistics_pages")
    visit = first_head(source.sheets, "last visit", "last counter", "visit", ending="statistics_visit")
    summary = first_head(source.sheets, "date", "visitors", "views", ending="statistics_summary_totals")
    historical = first_head(source.sheets, "category", "uri", "value", ending="statistics_historical")
    site = visit or summary
    if pages:
        for row in pages.rows():
            count = whole(pages.cell(row, "count"), place := pages.place(row, "count")) or 0
            day = dates.day(pages.cell(row, "date"), pages.place(row, "date"))
            address, post = pages.text(row, "uri"), pages.text(row, "id")
            identity = f"{address}\0{pages.text(row, 'type')}\0{day}\0{post}"
            if draft.is_repeated(place, identity, count, f"{address[:60]} on {day}"):
                continue
            if len(address) >= CUT and post.isdecimal() and post != "0":
                draft.warn(
                    "cut-address", f"line {row.line}, the column holds {CUT} characters; the post number {post} is used"
                )
                address = posts.post(post).address
            key = draft.article_day(address, day, count, place, posts.post(post).facts)
            if key is not None and site is None:
                draft.add_period("views", day, count)
    if site:
        date, value = ("last counter", "visit") if visit else ("date", "views")
        for row in site.rows():
            count = whole(site.cell(row, value), site.place(row, value)) or 0
            day = dates.day(site.cell(row, date), site.place(row, date))
            if not draft.is_repeated(site.place(row), f"site\0{day}", count, day):
                draft.add_period("views", day, count)
        draft.sums.add("views")
    if historical:
        for row in historical.rows():
            count = whole(historical.cell(row, "value"), place := historical.place(row, "value")) or 0
            category, address = historical.text(row, "category"), historical.text(row, "uri")
            if category == "uri" and address:
                draft.article(address, count, place)
            elif category == "visits":
                draft.add_period("views", "", count)
                draft.sums.add("views")
            elif category == "visitors":
                draft.ignore("historical visitors", "people, not visits")
