"""One reader for each source turns sheets into the numbers of a draft. A new source is a file here and a line below.

`knows` returns from 0 to 100 how sure a reader is that the files are of its source. `read` adds their numbers to the
draft, and refuses a file that it cannot read with certainty.
"""

from collections.abc import Callable
from typing import NamedTuple

from visitstats.imports.draft import Draft
from visitstats.imports.places import ImportRefused
from visitstats.imports.readers import (
    counterdev,
    ga4,
    goatcounter,
    hashes,
    jetpack,
    joomla,
    liferay,
    matomo,
    nukeviet,
    plausible,
    post_views_counter,
    small,
    table,
    umami,
    visitstats,
    wp_postviews,
    wp_statistics,
)
from visitstats.imports.readers.words import known
from visitstats.imports.sheets import Row
from visitstats.imports.source import Source


class Reader(NamedTuple):
    """How one source is read."""

    kind: str
    knows: Callable[[Source], int]
    read: Callable[[Source, Draft], None]


READERS = {
    reader.kind: reader
    for reader in (
        Reader(visitstats.KIND, visitstats.knows, visitstats.read),
        Reader(nukeviet.KIND, nukeviet.knows, nukeviet.read),
        Reader(goatcounter.KIND, goatcounter.knows, goatcounter.read),
        Reader(plausible.KIND, plausible.knows, plausible.read),
        Reader(umami.KIND, umami.knows, umami.read),
        Reader(counterdev.KIND, counterdev.knows, counterdev.read),
        Reader(post_views_counter.KIND, post_views_counter.knows, post_views_counter.read),
        Reader(wp_statistics.KIND, wp_statistics.knows, wp_statistics.read),
        Reader(wp_postviews.KIND, wp_postviews.knows, wp_postviews.read),
        Reader(jetpack.KIND, jetpack.knows, jetpack.read),
        Reader(ga4.KIND, ga4.knows, ga4.read),
        Reader(matomo.KIND, matomo.knows, matomo.read),
        Reader(joomla.KIND, joomla.knows, joomla.read),
        Reader(liferay.KIND, liferay.knows, liferay.read),
        Reader(hashes.BUSUANZI, hashes.knows_busuanzi, hashes.read_busuanzi),
        Reader(hashes.VERCOUNT, hashes.knows_vercount, hashes.read_vercount),
        Reader(small.MOE, small.knows_moe, small.read_moe),
        Reader(small.HITCOUNT, small.knows_hitcount, small.read_hitcount),
        Reader(small.NUMBER, small.knows_number, small.read_number),
        Reader(table.KIND, table.knows, table.read),
    )
}
KINDS = tuple(READERS)
NICKNAMES = {"sharepoint": "table", "thongke": "table", "csv": "table", "xlsx": "table", "vinaora": "joomla"}
"""Other names under which people look for a kind."""


def heading_words(rows: tuple[Row, ...]) -> int:
    """Return the most known headings in any of these rows; the separator of a text is chosen by it."""
    return max((known(row.cells) for row in rows), default=0)


def choose(source: Source, kind: str) -> Reader:
    """Return the reader of these files. Raises ImportRefused."""
    place = source.items[0].place
    if kind:
        found = READERS.get(NICKNAMES.get(kind, kind))
        if found is None:
            raise ImportRefused(place, f"there is no kind {kind!r}; there are {', '.join(KINDS)}")
        return found
    sure = sorted(((reader.knows(source), reader.kind) for reader in READERS.values()), reverse=True)
    best, name = sure[0]
    if best == 0:
        raise ImportRefused(place, f"it is not known what this is; say --kind ({', '.join(KINDS)})")
    return READERS[name]
