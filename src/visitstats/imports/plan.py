"""The plan of an import: a draft compared with the site's numbers. It shows the changes, and becomes the import."""

from collections.abc import AsyncIterator, Iterator
from typing import NamedTuple

import msgspec

from visitstats.changes.imports import Importing, NewPart
from visitstats.core.entries import Entry, fitting
from visitstats.core.entries import encode as encode_entry
from visitstats.core.keys import article_id
from visitstats.imports import amounts
from visitstats.imports.draft import Article, Draft, Facts
from visitstats.store.changes import Changes
from visitstats.store.import_records import Imported, Imports

PAGE = 1000
PARTS = 50
MOST_WARNINGS = 50


class Grown(NamedTuple):
    """A count of the site: its present value and its change."""

    now: int
    delta: int


class Plan:
    """A draft compared with the site's numbers, by the `strategy` of the draft's options."""

    def __init__(self, draft: Draft, totals: dict[str, int], most_articles: int) -> None:
        self.draft = draft
        self._db = draft.db
        self.site = {name: Grown(totals[name], by) for name, by in amounts.changes_of_site(draft).items()}
        self.changed = self._count("SELECT count(*) FROM (SELECT number FROM amounts WHERE number > 0 "
                                   "GROUP BY number HAVING sum(n) <> 0)")  # fmt: skip
        """The number of articles whose views change."""
        self.unknown = self._count("SELECT count(*) FROM articles WHERE old IS NULL")
        """The number of articles that the site does not know yet."""
        self.articles = self._count("SELECT count(*) FROM articles")
        known = totals["articles"]
        if known + self.unknown > most_articles:
            draft.warn(
                "many-articles",
                f"the site would have {known + self.unknown} articles, more than max_articles ({most_articles}): "
                "raise it, or new articles are counted as (other)",
            )

    def largest(self, limit: int, offset: int = 0) -> Iterator[tuple[Article, int]]:
        """Yield articles with their future views, the largest changes first."""
        yield from self._articles(
            "ORDER BY abs(ifnull(delta, 0)) DESC, articles.number LIMIT ? OFFSET ?", limit, offset
        )

    def new_here(self, limit: int, offset: int = 0) -> Iterator[tuple[Article, int]]:
        """Yield articles that the site does not know yet."""
        yield from self._articles("WHERE old IS NULL ORDER BY articles.number LIMIT ? OFFSET ?", limit, offset)

    def all_articles(self) -> Iterator[tuple[Article, int]]:
        """Yield all articles in the order of the file."""
        yield from self._articles("ORDER BY articles.number")

    def _articles(self, end: str, *values: int) -> Iterator[tuple[Article, int]]:
        for (
            number,
            key,
            address,
            views,
            addresses,
            title,
            author,
            category,
            published,
            old,
            imported,
            delta,
        ) in self._db.execute(
            "SELECT articles.number, key, address, views, addresses, title, author, category, published, old, "  # noqa: S608
            "imported, (SELECT sum(n) FROM amounts WHERE amounts.number = articles.number) AS delta "
            f"FROM articles {end}",
            values,
        ):
            facts = Facts(title, author, category, published)
            found = Article(number, key, address, views, addresses, facts, old, imported or 0)
            yield found, (old or 0) + (delta or 0)

    def left_out(self, limit: int, offset: int = 0) -> Iterator[tuple[str, str, int, str, str, str, int]]:
        """Yield rows that were left out: reason, kind, number, detail, file, sheet, line."""
        yield from self._db.execute(
            "SELECT reason, kind, n, detail, file, sheet, line FROM left_out ORDER BY rowid LIMIT ? OFFSET ?",
            (limit, offset),
        )

    def _count(self, query: str) -> int:
        [(n,)] = self._db.execute(query).fetchall()
        return int(n)

    # The import ------------------------------------------------------------------------------------------------------

    def imported(self) -> Imported:
        """Return the record that is kept of the import."""
        draft = self.draft
        [(first, last)] = self._db.execute(
            "SELECT ifnull(min(place), ''), ifnull(max(place), '') FROM amounts WHERE length(place) = 10"
        ).fetchall()
        options = msgspec.json.encode(msgspec.structs.replace(draft.options, addresses=(), pages=())).decode()
        return Imported(
            draft.hash, tuple(draft.files), draft.reader, draft.options.strategy, options,
            tuple(part.place for part in amounts.parts(draft)), self.site["visits"].delta, self.site["views"].delta,
            self.articles, first, last, tuple(draft.warnings[:MOST_WARNINGS]), tuple(sorted(draft.rows.items())),
        )  # fmt: skip

    def parts(self) -> Iterator[NewPart]:
        """Yield the parts of the import."""
        for part in amounts.parts(self.draft):
            entries = self._entries([key for key, _ in part.articles]) if not part.place else {}
            yield NewPart(
                part.place, part.visits, part.views, [(key, n, entries.get(key, b"")) for key, n in part.articles]
            )

    def _entries(self, keys: list[str]) -> dict[str, bytes]:
        rows = self._db.execute(
            "SELECT key, address, type, hidden, title, author, category, published FROM articles WHERE key IN "  # noqa: S608
            f"({','.join('?' * len(keys))})",
            keys,
        )
        return {
            key: _entry(key, address, Facts(*facts), of_type, hidden=bool(hidden))
            for key, address, of_type, hidden, *facts in rows
        }


def _entry(key: str, address: str, facts: Facts, of_type: str, *, hidden: bool) -> bytes:
    url = address if address.startswith("http") else ""
    entry = Entry(
        key, facts.title, url, facts.author, facts.category, facts.published, type=of_type, hidden=hidden
    )  # fmt: skip
    return encode_entry(fitting(entry))


async def plan_of(draft: Draft, changes: Changes, importing: Importing, imports: Imports) -> Plan:
    """Compare a draft with what the site has. Raises StoreUnavailable."""
    site = draft.site.id
    amounts.begin(draft)
    await _note_earlier(draft, importing, imports)
    last = 0
    while page := draft.db.execute(
        "SELECT number, key FROM articles WHERE number > ? ORDER BY number LIMIT ?", (last, PAGE)
    ).fetchall():
        last = page[-1][0]
        found = await changes.views(site, [key for _, key in page])
        known = [(views, number) for (number, _), views in zip(page, found, strict=True) if views is not None]
        draft.db.executemany("UPDATE articles SET old = ? WHERE number = ?", known)
    amounts.work_out(draft, draft.options.strategy)
    totals = {kind: sum(await changes.totals(site, kind)) for kind in ("visits", "views")}
    totals["articles"] = await changes.articles(site)
    return Plan(draft, totals, draft.site.max_articles)


async def _note_earlier(draft: Draft, importing: Importing, imports: Imports) -> None:
    earlier = await importing.in_force()
    if not earlier:
        return
    numbers = {article_id(key): number for number, key in draft.db.execute("SELECT number, key FROM articles")}
    for name, what in earlier.items():
        async for place, found in _parts(imports, draft.site.id, name, what):
            amounts.note_earlier(draft, [(number, place, n) for number, n in found(numbers)])
    draft.db.execute(
        "UPDATE articles SET imported = (SELECT sum(n) FROM earlier WHERE earlier.number = articles.number)"
    )


class _Found(NamedTuple):
    visits: int
    views: int
    articles: list[tuple[bytes, int]]

    def __call__(self, numbers: dict[bytes, int]) -> Iterator[tuple[int, int]]:
        yield amounts.SITE["visits"], self.visits
        yield amounts.SITE["views"], self.views
        for article, n in self.articles:
            yield numbers.get(article, 0), n


async def _parts(imports: Imports, site: str, name: str, what: Imported) -> AsyncIterator[tuple[str, _Found]]:
    state = await imports.state(site, name)
    in_force = [n for n in range(1, len(what.places) + 1) if n in state.made and n not in state.back]
    for start in range(0, len(in_force), PARTS):
        piece = in_force[start : start + PARTS]
        for number, part in zip(piece, await imports.parts(site, name, piece), strict=True):
            if part is not None:
                yield what.places[number - 1], _Found(*part)
