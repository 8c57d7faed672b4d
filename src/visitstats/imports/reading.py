"""Read files into a draft: open the source, choose the reader, read everything, and compare the sums."""

from collections.abc import Callable, Mapping
from pathlib import Path

from visitstats.core.keys import KeyRules
from visitstats.core.sites import Site
from visitstats.imports.draft import Draft
from visitstats.imports.options import Options
from visitstats.imports.places import ImportRefused, Place
from visitstats.imports.readers import choose, heading_words
from visitstats.imports.sheets import fold
from visitstats.imports.source import Source
from visitstats.imports.sums import finish


def draft_of(
    paths: list[Path],
    path: Path,
    site: Site,
    rules: KeyRules,
    options: Options,
    *,
    first_counted: str = "",
    titles: Mapping[str, str] | None = None,
    progress: Callable[[int], None] | None = None,
) -> Draft:
    """Read files into a draft at `path`. `first_counted` is the first date that this service counted itself; days
    from that date on are left out. `titles` are the titles of the site's articles, by key. `progress` is called with
    the number of rows read. Raises ImportRefused, and leaves no draft then."""
    draft = Draft(path, site, rules, options)
    try:
        draft.progress = progress
        if titles is not None:
            draft.titles = _addresses(titles, site)
        source = Source(paths, options, heading_words)
        reader = choose(source, options.kind)
        draft.reader, draft.hash, draft.files = reader.kind, source.hash, source.names
        for dump in source.dumps:
            if not dump.is_whole:
                draft.warn("perhaps-cut", f'{dump.item.name} does not end with "Dump completed": it may be cut off')
        reader.read(source, draft)
        finish(draft, first_counted)
        if not draft.has_anything:
            raise ImportRefused(Place(source.items[0].name), "nothing in it can be taken" + _why(draft))
    except BaseException:
        draft.close()
        raise
    return draft


def _why(draft: Draft) -> str:
    reasons = [f"{n} {reason}" for reason, n in draft.rows.items() if reason not in ("read", "taken")]
    return f" ({', '.join(reasons)})" if reasons else ""


def _addresses(titles: Mapping[str, str], site: Site) -> dict[str, str]:
    """Return title → address; "" for a title of two articles, which matches none of them."""
    found: dict[str, str] = {}
    for key, title in titles.items():
        folded = fold(title)
        if folded:
            found[folded] = "" if folded in found else (key if key.startswith("/") else f"key:{key}")
    return found
