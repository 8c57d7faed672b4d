"""Verify: do the numbers agree with each other, with the journal, and with what every key must hold?

Nothing is written, nothing is locked, and no command holds the server for long, so that it may be run beside a working
service, whose numbers move while they are read. Therefore values that belong together are read in one transaction if
they are few; a long list is read between two reads of the count that it must equal, which are then its bounds; and each
problem is looked at a second time after a pause. Only problems that are still there are reported: ongoing work has
moved on by then.

A count that was changed consistently in all lists and sums cannot be told from a true one.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import msgspec

from visitstats.core.errors import NotFound, StoreUnavailable
from visitstats.core.sites import Site
from visitstats.store import keys
from visitstats.store.inspect import Inspector
from visitstats.store.keys import Named
from visitstats.store.reads import Reads
from visitstats.store.records import Records
from visitstats.trust.verify.articles import Articles
from visitstats.trust.verify.contents import contents, shape
from visitstats.trust.verify.findings import Look, Problem
from visitstats.trust.verify.journals import Journals
from visitstats.trust.verify.layers import Layers
from visitstats.trust.verify.listed import Listed
from visitstats.trust.verify.merged import Merged
from visitstats.trust.verify.online import Online
from visitstats.trust.verify.packed import PackedHistory
from visitstats.trust.verify.sums import Sums

AGAIN_SECONDS = 2.5
"""The pause before the second look. A dead worker's slot is adopted within two seconds."""


class Summary(msgspec.Struct, frozen=True):
    """What a site holds, in numbers; visits and views are those of all time with the baseline."""

    site: str
    visits: int
    views: int
    articles: int
    problems: int


class Report(msgspec.Struct, frozen=True):
    """The result of a verification."""

    sites: list[Summary]
    problems: list[Problem]
    notes: list[str]
    """Notes: what is worth knowing and not wrong."""
    keys: int
    records: int
    """How many records of the journals were read."""

    @property
    def right(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


class Verifier:
    """Looks at a store and at the journals under `root`. `now` returns the moment in milliseconds, `progress` is called
    with what is being read, `listed` checks the index of articles of this host."""

    def __init__(
        self,
        store: Inspector,
        records: Records,
        reads: Reads,
        root: Path,
        now: Callable[[], int],
        progress: Callable[[str], None] = lambda _: None,
        listed: Listed | None = None,
    ) -> None:
        self._store = store
        self._records = records
        self._reads = reads
        self._root = root
        self._now = now
        self._progress = progress
        self._listed = listed
        self._articles: dict[str, int] = {}

    async def run(self, only: str = "", again_seconds: float = AGAIN_SECONDS) -> Report:
        """Check everything, or one site. Raises StoreUnavailable, and NotFound for a site that is not there."""
        look = await self._look(only)
        problems = list(look.problems.values())
        if problems:
            await asyncio.sleep(again_seconds)
            before, look = look, await self._look(only)
            problems = look.still(before)
        count = Counter(problem.site for problem in problems)
        sites = [
            Summary(site, *await self._store.totals(site), articles, count[site])
            for site, articles in sorted(self._articles.items())
        ]
        return Report(sites, problems, look.notes, look.keys, look.records)

    async def _look(self, only: str) -> Look:
        look = Look()
        journals = Journals(self._store, self._reads, self._root, look, only)
        self._progress("journal")
        journalled = await journals.read()
        found, broken = await self._keys(only, look)
        records = await self._sites(only)
        names = {site for site in {*found, *broken, *records, *journalled} if site}
        if only and only not in names:
            raise NotFound(f"there is no site {only!r}; visitstats site list shows them")
        await journals.check(sorted(site for site in names if keys.marks(site) not in broken.get(site, ())))
        self._articles = {}
        for site in sorted(names):
            self._progress(f"site {site}")
            await self._site(site, records.get(site), found.get(site, {}), broken.get(site, set()), look)
        return look

    async def _site(
        self, site: str, record: Site | None, found: dict[str, Named], broken: set[str], look: Look
    ) -> None:
        await Sums(self._store, self._reads, site, record, found, broken, look, self._now).check()
        merged = Merged(self._store, site, broken, look)
        await merged.read()
        packed = PackedHistory(self._store, site, found, broken, look)
        await packed.check()
        articles = Articles(self._store, site, found, broken, merged, packed, look)
        await articles.check()
        await merged.check(articles.of_aliases)
        await Layers(self._store, site, found, broken, merged, look).check()
        seen = {named.words[0]: name for name, named in found.items() if named.kind.word == "seen"}
        await Online(self._store, site, seen, broken, look, self._now).check()
        if record is not None and self._listed is not None and not broken:
            await self._listed.check(record, look)
        self._articles[site] = articles.known

    async def _keys(self, only: str, look: Look) -> tuple[dict[str, dict[str, Named]], dict[str, set[str]]]:
        """Check every key by itself. Return, by site, the keys that passed, and the names of the others."""
        self._progress("keys")
        found: dict[str, dict[str, Named]] = {}
        broken: dict[str, set[str]] = {}
        async for page in self._store.keys(only):
            for key in page:
                named = keys.parse(key.name)
                if named is None:
                    look.keys += 1
                    look.wrong("", "unknown-key", key.name, "visitstats writes no such key", key.name)
                    continue
                site = found.setdefault(named.site, {})
                if key.name in site or key.name in broken.get(named.site, ()):
                    continue  # a scan may show one twice
                look.keys += 1
                complaints = list(shape(key, named, self._now()))
                for complaint in complaints:
                    look.wrong(named.site, complaint.what, key.name, complaint.detail)
                if any(complaint.what in ("type", "name") for complaint in complaints):
                    broken.setdefault(named.site, set()).add(key.name)
                    continue
                site[key.name] = named
                async for complaint in contents(self._store, key.name, named):
                    look.wrong(named.site, "value", key.name, complaint.detail, complaint.what)
        return found, broken

    async def _sites(self, only: str) -> dict[str, Site]:
        """The records; without those that are damaged, which have been reported as values."""
        try:
            records = await self._records.sites()
        except StoreUnavailable:
            await self._store.totals("")  # if the store answers, the records themselves are damaged
            return {}
        return {name: site for name, site in records.items() if not only or name == only}
