"""WP-PostViews (WordPress): a running total for each post, in `wp_postmeta` under the name `views`."""

from visitstats.imports.draft import Draft
from visitstats.imports.numbers import whole
from visitstats.imports.readers.heads import Head, first_head
from visitstats.imports.readers.wordpress import Posts
from visitstats.imports.source import Source

KIND = "wp-postviews"
NAMES = frozenset({"views", "post_views_count", "_post_views_count", "post_views", "penci_post_views_count"})
"""The names under which themes and plugins store the total."""


def _head(source: Source) -> Head | None:
    return first_head(source.sheets, "post id", "meta key", "meta value", ending="postmeta")


def knows(source: Source) -> int:
    """Return how sure the reader is that the files are of its source, from 0 to 100."""
    return 60 if _head(source) else 0


def read(source: Source, draft: Draft) -> None:
    """Add the numbers of the files to the draft."""
    head = _head(source)
    posts = Posts(source, draft)
    name = ""
    for row in head.rows() if head else ():
        if head is None or (said := head.text(row, "meta key")) not in NAMES:
            continue
        if name and said != name:
            draft.ignore(said, f"another counter's; {name} is taken")
            continue
        name = said
        post = head.text(row, "post id")
        views = whole(head.cell(row, "meta value"), place := head.place(row, "meta value"))
        if not draft.is_repeated(place, post, views, f"post {post}"):
            found = posts.post(post)
            draft.article(found.address, views, place, found.facts)
