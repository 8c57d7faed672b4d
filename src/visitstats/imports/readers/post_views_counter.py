"""Post Views Counter (WordPress): `wp_post_views (id, type, period, count)`.

Each view is counted in five rows of its post: type 0 is a day, 1 a week, 2 a month, 3 a year, 4 the total. The total is
taken as the baseline, and days as days; the other rows are only compared.
"""

import re
from collections import Counter

from visitstats.imports.draft import Draft
from visitstats.imports.numbers import Dates, whole
from visitstats.imports.places import ImportRefused
from visitstats.imports.readers.heads import Head, first_head
from visitstats.imports.readers.wordpress import Posts
from visitstats.imports.source import Source

KIND = "post-views-counter"
_POST = re.compile(r"[0-9]{1,20}")
_FORMS = {"0": r"\d{8}", "1": r"\d{6}", "2": r"\d{6}", "3": r"\d{4}", "4": r"total"}


def _head(source: Source) -> Head | None:
    return first_head(source.sheets, "id", "type", "period", "count", ending="post_views")


def knows(source: Source) -> int:
    """Return how sure the reader is that the files are of its source, from 0 to 100."""
    return 90 if _head(source) else 0


def read(source: Source, draft: Draft) -> None:
    """Add the numbers of the files to the draft."""
    head = _head(source)
    if head is None:
        raise ImportRefused(source.sheets[0].place, "the columns id, type, period and count are expected")
    posts = Posts(source, draft)
    draft.article_totals = True
    dates = Dates()
    totals: set[str] = set()
    lists_of_posts = False
    days = Counter[str]()
    others: dict[tuple[str, str], int] = {}
    by_day: dict[tuple[str, str], int] = {}
    for row in head.rows():
        post, kind, period = head.text(row, "id"), head.text(row, "type"), head.text(row, "period")
        count = whole(head.cell(row, "count"), place := head.place(row, "count")) or 0
        if not _POST.fullmatch(post):
            raise ImportRefused(head.place(row, "id"), "the number of a post is expected", post)
        if kind not in _FORMS or not re.fullmatch(_FORMS[kind], period):
            raise ImportRefused(head.place(row, "period"), f"no period of type {kind}", period)
        if draft.is_repeated(place, f"{post}\0{kind}\0{period}", count, f"post {post}, {period}"):
            continue
        if post == "0":
            if kind == "4":
                draft.leave_out("no-article", place, "id 0", count)
                lists_of_posts = True
            continue
        found = posts.post(post)
        if kind == "4":
            totals.add(post)
            draft.article(found.address, count, place, found.facts)
        elif kind == "0":
            day = dates.day(period, place)
            days[post] += count
            by_day[post, day[:7]] = by_day.get((post, day[:7]), 0) + count
            draft.article_day(found.address, day, count, place, found.facts)
        elif kind == "2":
            others[post, f"{period[:4]}-{period[4:]}"] = count
    for post in sorted(set(days) - totals, key=int):
        draft.warn("no-total", f"post {post} has no row of type 4, its days are summed")
        draft.read["views"] += days[post]
    if lists_of_posts:
        draft.warn("no-article", "id 0")
    for (post, month), count in sorted(others.items()):
        if (post, month) in by_day and by_day[post, month] != count:
            draft.warn("period-differs", f"{month} of post {post} has {count}, its days {by_day[post, month]}")
