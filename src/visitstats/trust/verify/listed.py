"""Does the index of articles (`reading/index.py`) agree with the store?

each article of the register is in the index, with its views of all time; no other article of the index has views

The index follows the store, so it is brought up to date first. An index that does not exist yet is not checked.
"""

from collections.abc import Iterator
from itertools import islice

from visitstats.core.periods import Calendar
from visitstats.core.sites import Site
from visitstats.reading.index import MERGED, Index
from visitstats.reading.index_build import Updater
from visitstats.store import keys
from visitstats.store.inspect import PAGE, Inspector, number
from visitstats.trust.verify.findings import Look


class Listed:
    """The check of the index that an updater brings up to date."""

    def __init__(self, index: Index, updater: Updater, store: Inspector) -> None:
        self._index = index
        self._updater = updater
        self._store = store

    async def check(self, site: Site, look: Look) -> None:
        """Compare a site's articles. Raises StoreUnavailable and IndexUnavailable."""
        before = self._index.known(site.id)
        if before is None or not before.ready:
            return
        known = await self._updater.update(site.id, Calendar(site.timezone, site.week_start))
        rows, registered = self._rows(known.sid), 0
        while page := list(islice(rows, PAGE)):
            [views] = await self._store.values([keys.articles(site.id)], [article for article, _, _ in page])
            registered += sum(n is not None for n in views)
            for (article, total, state), stored in zip(page, views, strict=True):
                if total != number(stored) and not (stored is None and state == MERGED):
                    look.wrong(
                        site.id, "index", article.hex(),
                        f"the index of articles has {total} views for it, the store {number(stored)}", number(stored),
                    )  # fmt: skip
        if (many := await self._store.size(keys.articles(site.id))) > registered:
            look.wrong(site.id, "index", "", f"the index has {registered} of the site's {many} articles", many)

    def _rows(self, sid: int) -> Iterator[tuple[bytes, int, int]]:
        with self._index.reading() as connection:
            rows = connection.execute(
                "SELECT place.id, article.total, article.state FROM place"
                " JOIN article ON article.at = (place.sid << 32 | place.number) WHERE place.sid = ?",
                (sid,),
            )
            for article, total, state in rows:
                yield article.to_bytes(8, "big", signed=True), total, state
