"""counter.dev: its JSON dump. Only years, months and the total are taken: lists are cut, and days last two days."""

import re
from typing import Any

from visitstats.imports.draft import Draft
from visitstats.imports.numbers import whole
from visitstats.imports.places import ImportRefused, Place
from visitstats.imports.source import Source

KIND = "counter-dev"


def _sites(source: Source) -> dict[str, tuple[Place, dict[str, Any]]]:
    found = {}
    for item, value in source.values:
        sites = value.get("sites") if isinstance(value, dict) else None
        for name, site in sites.items() if isinstance(sites, dict) else ():
            if isinstance(site, dict) and isinstance(site.get("visits"), dict):
                found[name] = (item.place, site["visits"])
    return found


def knows(source: Source) -> int:
    """Return how sure the reader is that the files are of its source, from 0 to 100."""
    return 90 if _sites(source) else 0


def read(source: Source, draft: Draft) -> None:
    """Add the numbers of the files to the draft."""
    sites = _sites(source)
    mine = [name for name in sites if draft.url_of(f"{name}/")] if len(sites) > 1 else list(sites)
    if len(mine) != 1:
        raise ImportRefused(
            source.items[0].place, f"visits of several sites, and none of this one ({', '.join(sites)})"
        )
    place, visits = sites[mine[0]]
    for period, value in visits.items():
        if not (period == "all" or re.fullmatch(r"[12]\d{3}(?:-\d\d)?", period)):
            if re.fullmatch(r"[12]\d{3}-\d\d-\d\d", period):
                draft.ignore("days", "they live for two days")
            continue
        counted = value.get("date", value) if isinstance(value, dict) else value
        sums = (
            [whole(each, place) or 0 for each in counted.values()]
            if isinstance(counted, dict)
            else [whole(counted, place)]
        )
        n = sum(each or 0 for each in sums)
        draft.add_period("visits", "" if period == "all" else period, n)
        if period == "all":
            draft.read["visits"] += n
    if "all" not in visits:
        draft.sums.add("visits")
