"""What a worker knows of the articles that the store has: which entries it was sent, and which articles are new."""

from visitstats.core.bounded import Bounded
from visitstats.ingest.newcomers import Newcomers, Registered
from visitstats.ingest.waiting import Waiting
from visitstats.reading.snapshots import Stats
from visitstats.store.commit import Committed

MOST_ENTRIES = 50_000
"""Articles whose dictionary entry is known to be stored; that of a forgotten one is sent once more."""


class Known:
    """Of all sites. `registered` says which articles a site has."""

    def __init__(self, registered: Registered, stats: Stats) -> None:
        self.entries: Bounded[tuple[str, bytes], int] = Bounded(MOST_ENTRIES)
        """(site, article id) → a hash of the entry that was sent last."""
        self.newcomers = Newcomers(registered)
        self._stats = stats

    def learn(self, waiting: Waiting, result: Committed) -> None:
        """Take note of what a commit said of its articles."""
        site, articles = waiting.site.id, waiting.article_ids
        self._stats.remember_views(site, zip(articles, result.articles, strict=True))
        self.newcomers.settle(site, articles, result.articles, result.added)
        for place in result.nameless:
            self.entries.forget((site, articles[place]))

    def forget_all(self) -> None:
        """Have all entries sent once more: the store lacks some, and which ones is not known."""
        self.entries.clear()
