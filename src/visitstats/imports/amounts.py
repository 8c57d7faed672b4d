"""The amounts that an import adds: at each place, the new number minus the number that earlier imports brought.

A place is a date, a month, a year, or "" for no time. Its amount leaves out what finer places contain: the amount of a
month is the part that none of its days contain. The sum of all amounts is therefore the total of the imported numbers.
The visits and views that this service has counted itself are added to it.

A strategy concerns imported numbers alone. `replace`: the numbers of this file replace earlier ones of the same article
and period. `add`: they are added. `keep-larger`: an article, or a count of the site, is replaced only if it would grow.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from visitstats.imports.draft import Count, Draft
from visitstats.imports.options import Strategy
from visitstats.imports.sums import COUNTS, periods

PART = 400
"""The most articles in one part, which one Lua script call writes."""
SITE = {"visits": -1, "views": -2}
"""Article numbers that stand for the counts of the site itself."""
_SCHEMA = """
DROP TABLE IF EXISTS amounts; DROP TABLE IF EXISTS earlier;
CREATE TABLE amounts (place TEXT, number INTEGER, n INTEGER, PRIMARY KEY (place, number)) WITHOUT ROWID;
CREATE TABLE earlier (number INTEGER, place TEXT, n INTEGER, PRIMARY KEY (number, place)) WITHOUT ROWID;
"""


class Part(NamedTuple):
    """The amounts at one place that one record of the journal adds."""

    place: str
    visits: int
    views: int
    """Views of the site alone; the views of its articles are added to them."""
    articles: list[tuple[str, int]]
    """The key and the amount of each article."""


def begin(draft: Draft) -> None:
    """Create the tables for amounts and for those of earlier imports (`note_earlier`)."""
    draft.db.executescript(_SCHEMA)  # executescript commits the open transaction
    draft.db.execute("BEGIN")


def note_earlier(draft: Draft, amounts: Iterable[tuple[int, str, int]]) -> None:
    """Store the amounts of earlier imports in force: number of the article (or of SITE), place, amount."""
    draft.db.executemany("INSERT INTO earlier VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET n = n + excluded.n", amounts)


def work_out(draft: Draft, strategy: Strategy) -> None:
    """Compute the amounts of this import."""
    db = draft.db
    # Nearly all articles have no earlier imports; one statement computes all of these.
    new = "number NOT IN (SELECT number FROM earlier)"
    db.execute(f"INSERT INTO amounts SELECT day, number, views FROM days WHERE {new}")  # noqa: S608
    db.execute(
        "INSERT INTO amounts SELECT '', number, ifnull(views, 0) - ifnull("  # noqa: S608
        f"(SELECT sum(views) FROM days WHERE days.number = articles.number), 0) FROM articles WHERE {new}"
    )
    known = db.execute("SELECT DISTINCT number FROM earlier WHERE number > 0").fetchall()
    for (number,) in known:
        _article(draft, number, strategy)
    for kind in COUNTS:
        _site(draft, kind, strategy)
    # An amount of 0 at a date has no effect. Without a time, it registers the article with its title.
    db.execute("DELETE FROM amounts WHERE n = 0 AND (place <> '' OR number < 0)")
    # Without this index, each query for the amounts of an article would scan all amounts.
    db.execute("CREATE INDEX amounts_of_articles ON amounts (number, n)")


def _article(draft: Draft, number: int, strategy: Strategy) -> None:
    db = draft.db
    [(views,)] = db.execute("SELECT views FROM articles WHERE number = ?", (number,)).fetchall()
    days: dict[str, int] = dict(db.execute("SELECT day, views FROM days WHERE number = ?", (number,)).fetchall())
    earlier: dict[str, int] = dict(db.execute("SELECT place, n FROM earlier WHERE number = ?", (number,)).fetchall())
    if views is None:
        return
    if draft.exact:
        target = Counter({**days, "": views - sum(days.values())})
        if strategy == "add":
            _put(draft, number, dict(target))
        elif strategy == "replace" or views > sum(earlier.values()):
            _put(draft, number, {place: target[place] - earlier.get(place, 0) for place in {*target, *earlier}})
        return
    has_total = draft.article_totals or not days
    if strategy == "add":
        target = Counter(earlier) + Counter({**days, "": views - sum(days.values())})
    else:
        kept = {place: n for place, n in earlier.items() if place}
        target = Counter({**kept, **days})
        target[""] = views - sum(target.values()) if has_total else _rest(Counter(earlier), target)
        if target[""] < 0:  # the days of an earlier import exceed the total of this one
            target = Counter({**days, "": views - sum(days.values())})
        if strategy == "keep-larger" and sum(target.values()) <= sum(earlier.values()):
            target = Counter(earlier)
    _put(draft, number, {place: target[place] - earlier.get(place, 0) for place in {*target, *earlier}})


def _put(draft: Draft, number: int, deltas: dict[str, int]) -> None:
    draft.db.executemany(
        "INSERT INTO amounts VALUES (?, ?, ?)", [(place, number, n) for place, n in deltas.items() if n or not place]
    )


def _site(draft: Draft, kind: Count, strategy: Strategy) -> None:
    """Compute the site's own amounts. Views of articles are left out, because they are added to the site's views."""
    db = draft.db
    own = Counter[str](dict(db.execute("SELECT place, n FROM earlier WHERE number = ?", (SITE[kind],)).fetchall()))
    articles, of_articles = Counter[str](), Counter[str]()
    if kind == "views":
        # The imported views of all articles, before this import and after it.
        query = "SELECT place, sum(n) FROM earlier WHERE number >= 0 GROUP BY place"
        articles = Counter(dict(db.execute(query).fetchall()))
        of_articles = articles + Counter()
        for place, n in db.execute("SELECT place, sum(n) FROM amounts WHERE number > 0 GROUP BY place").fetchall():
            of_articles[place] += n
    said = periods(draft, kind)
    stated = {**said.years, **said.months, **said.days}
    if not stated and said.total is None:
        return
    if draft.exact:
        _exact_site(draft, kind, strategy, own, _exactly(stated, said.total or 0))
        return
    before = Counter({place: own[place] + articles[place] for place in {*own, *articles}})
    alone = _amounts_of(stated, said.total)
    if strategy == "add":
        target = Counter({place: before[place] + alone[place] for place in {*before, *alone}})
    else:
        whole = {**{place: n for place, n in _effective(before).items() if place}, **stated}
        if kind in draft.sums:
            # The source has no total of its own. Its dates may explain undated numbers of an earlier import.
            target = _amounts_of(whole, None)
            target[""] = alone[""] or _rest(before, target)
        else:
            target = _amounts_of(whole, said.total)
        if strategy == "keep-larger" and sum(target.values()) <= sum(before.values()):
            return
    deltas = {place: max(target[place] - of_articles[place], 0) - own[place] for place in {*target, *own, *of_articles}}
    _put(draft, SITE[kind], {place: n for place, n in deltas.items() if n})


def _exact_site(draft: Draft, kind: Count, strategy: Strategy, own: Counter[str], alone: dict[str, int]) -> None:
    """Compute the site's own amounts of an exact source: its numbers minus those of its articles, even if negative."""
    db = draft.db
    before, after = Counter[str](), Counter[str]()
    if kind == "views":
        # Only articles in the file are summed up; earlier imports of other articles stay in force.
        before.update(dict(db.execute("SELECT place, sum(n) FROM earlier WHERE number > 0 GROUP BY place").fetchall()))
        after.update(dict(db.execute("SELECT place, sum(n) FROM amounts WHERE number > 0 GROUP BY place").fetchall()))
    if strategy == "keep-larger" and sum(alone.values()) <= own.total() + before.total():
        return
    old = Counter[str]()
    if strategy != "add":
        old = Counter({place: own[place] + before[place] for place in {*own, *before}})
    places = {*alone, *old, *after}
    deltas = {place: alone.get(place, 0) - old[place] - after[place] for place in places}
    _put(draft, SITE[kind], {place: n for place, n in deltas.items() if n})


def _exactly(periods_: dict[str, int], total: int) -> dict[str, int]:
    """Return the number of each place minus those of its finer places; it is negative where these have more."""
    found: dict[str, int] = {}
    within = Counter[str]()
    for length, up in ((10, 7), (7, 4), (4, 0)):
        for place in [place for place in {*periods_, *within} if len(place) == length]:
            whole = periods_.get(place, within[place])
            found[place] = whole - within[place]
            within[place[:up]] += whole
    return found | {"": total - within[""]}


def _rest(before: Counter[str], after: Counter[str]) -> int:
    """Return the undated number that remains: newly dated numbers are subtracted, because they were undated before."""
    dated = sum(n for place, n in after.items() if place) - sum(n for place, n in before.items() if place)
    return max(before[""] - max(dated, 0), 0)


def _effective(amounts: Counter[str]) -> dict[str, int]:
    """Return the numbers of years, months and days, each with the amounts of its finer places included."""
    found: Counter[str] = Counter()
    for place, n in amounts.items():
        for length in (10, 7, 4):
            if len(place) >= length:
                found[place[:length]] += n
    return dict(found)


def _amounts_of(periods_: dict[str, int], total: int | None) -> Counter[str]:
    """Return the number of each place minus the sum of its finer places; a larger sum replaces the number."""
    found: Counter[str] = Counter()
    within: Counter[str] = Counter()
    for length, up in ((10, 7), (7, 4), (4, 0)):
        for place in sorted({*periods_, *within}):
            if len(place) != length:
                continue
            whole = max(periods_.get(place, 0), within[place])
            found[place] = whole - within[place]
            within[place[:up]] += whole
    found[""] = max(total - within[""], 0) if total is not None else 0
    return found


def parts(draft: Draft) -> Iterator[Part]:
    """Yield the parts of an import in the order in which they are made."""
    db = draft.db
    places = [place for (place,) in db.execute("SELECT DISTINCT place FROM amounts ORDER BY place")]
    for place in places:
        of_site = dict(db.execute("SELECT number, n FROM amounts WHERE place = ? AND number < 0", (place,)).fetchall())
        visits, views = of_site.get(SITE["visits"], 0), of_site.get(SITE["views"], 0)
        piece: list[tuple[str, int]] = []
        is_first = True
        if draft.exact and not place:
            visits, views = max(visits, 0), max(views, 0)
        for key, n in db.execute(
            "SELECT key, n FROM amounts JOIN articles USING (number) WHERE place = ? ORDER BY number", (place,)
        ):
            piece.append((key, max(n, 0) if draft.exact and not place else n))
            if len(piece) == PART:
                yield Part(place, visits if is_first else 0, views if is_first else 0, piece)
                piece, is_first = [], False
        if piece or (is_first and (visits or views)):
            yield Part(place, visits if is_first else 0, views if is_first else 0, piece)
    if draft.exact:
        yield from _taken_away(draft)


def _taken_away(draft: Draft) -> Iterator[Part]:
    """Yield an exact source's negative amounts without a time. They come last, because no count may fall below zero."""
    query = "SELECT ifnull(sum(n), 0) FROM amounts WHERE place = '' AND number = ? AND n < 0"
    visits, views = (draft.db.execute(query, (SITE[kind],)).fetchone()[0] for kind in COUNTS)
    rows = draft.db.execute(
        "SELECT key, n FROM amounts JOIN articles USING (number) WHERE place = '' AND n < 0 ORDER BY number"
    )
    while (piece := rows.fetchmany(PART)) or visits or views:
        yield Part("", visits, views, piece)
        visits = views = 0


def changes_of_site(draft: Draft) -> dict[str, int]:
    """Return by how much the all-time visits and views change, with articles included."""
    own = dict(draft.db.execute("SELECT number, sum(n) FROM amounts WHERE number < 0 GROUP BY number").fetchall())
    [(articles,)] = draft.db.execute("SELECT ifnull(sum(n), 0) FROM amounts WHERE number > 0").fetchall()
    return {"visits": own.get(SITE["visits"], 0), "views": own.get(SITE["views"], 0) + articles}
