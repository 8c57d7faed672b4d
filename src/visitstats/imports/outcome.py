"""The result of a draft for programs, with the keys of the project's samples (`tests/samples/outcomes.json`)."""

from collections.abc import Iterator
from typing import Any

import msgspec

from visitstats.imports.draft import Draft, Facts
from visitstats.imports.places import ImportRefused
from visitstats.imports.sums import periods

_json = msgspec.json.Encoder().encode


def outcome(draft: Draft) -> dict[str, Any]:
    """Return everything but articles and their days; these may be many (see `articles`, `article_days`)."""
    visits, views = periods(draft, "visits"), periods(draft, "views")
    days: dict[str, dict[str, int]] = {}
    for kind, each in (("visits", visits), ("views", views)):
        for day, n in each.days.items():
            days.setdefault(day, {})[kind] = n
    undated: dict[str, int | dict[str, int]] = dict(visits.undated or views.undated)
    if visits.undated and views.undated:
        undated = {
            period: {"visits": visits.undated.get(period, 0), "views": views.undated.get(period, 0)}
            for period in visits.undated | views.undated
        }
    found: dict[str, Any] = {
        "reader": draft.reader,
        "files": draft.files,
        "id": draft.hash,
        "site": {"visits_total": visits.total, "views_total": views.total},
        "years": _both(visits.years, views.years),
        "months": _both(visits.months, views.months),
        "days": dict(sorted(days.items())),
        "undated": undated | dict(undated_articles(draft)),
        "warnings": draft.warnings,
        "ignored": draft.ignored,
        "rows": dict(draft.rows),
        "in_file": draft.in_file,
        "read_as": draft.names,
    }
    if draft.range is not None:
        found["range"] = list(draft.range)
    return found


def _both(visits: dict[str, int], views: dict[str, int]) -> dict[str, Any]:
    """Visits alone are plain numbers, because most old counters have nothing else; views, or both, are named."""
    if not views:
        return dict(visits)
    return {
        period: {name: each[period] for name, each in (("visits", visits), ("views", views)) if period in each}
        for period in sorted(visits | views)
    }


def undated_articles(draft: Draft) -> Iterator[tuple[str, int]]:
    """Yield the views of articles that are in their total and on no day, if the source has both."""
    if draft.article_totals:
        yield from draft.db.execute(
            "SELECT key, views - (SELECT sum(views) FROM days WHERE days.number = articles.number) AS n FROM articles "
            "WHERE n IS NOT NULL ORDER BY key"
        )


def articles(draft: Draft) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each article with its views and the facts that the source has."""
    for key, views, *facts in draft.db.execute(
        "SELECT key, views, title, author, category, published FROM articles ORDER BY number"
    ):
        yield key, {"views": views} | {name: value for name, value in zip(Facts._fields, facts, strict=True)
                                       if name in draft.facts}  # fmt: skip


def article_days(draft: Draft) -> Iterator[tuple[str, dict[str, int]]]:
    """Yield the days of each article that has days."""
    last, found = "", dict[str, int]()
    for key, day, views in draft.db.execute(
        "SELECT key, day, days.views FROM days JOIN articles USING (number) ORDER BY number, day"
    ):
        if key != last and last:
            yield last, found
            found = {}
        last = key
        found[day] = views
    if last:
        yield last, found


def text(draft: Draft, more: dict[str, Any] | None = None) -> Iterator[bytes]:
    """Yield the whole outcome as JSON in pieces, so that half a million articles are not held in memory."""
    yield _json(outcome(draft) | (more or {}))[:-1] + b',"articles":{'
    yield from _pairs(articles(draft))
    yield b'},"article_days":{'
    yield from _pairs(article_days(draft))
    yield b"}}\n"


def _pairs(pairs: Iterator[tuple[str, Any]]) -> Iterator[bytes]:
    pieces: list[bytes] = []
    for number, (key, value) in enumerate(pairs):
        pieces.append((b"," if number else b"") + _json(key) + b":" + _json(value))
        if len(pieces) == 1000:
            yield b"".join(pieces)
            pieces.clear()
    yield b"".join(pieces)


def refused(error: ImportRefused) -> dict[str, Any]:
    """Return a refusal with its place and its reason."""
    place = error.place
    found: dict[str, Any] = {"line": place.line or None, "why": error.why, "file": place.file, "found": error.found}
    if place.sheet:
        found["sheet"] = place.sheet
    if place.cell:
        found["cell"] = place.cell
    return {"refused": found}
