"""visitstats: a site that `visitstats site export` has written (`visitstats.imports.site_file`)."""

from hashlib import sha256

import msgspec

from visitstats.core.sites import DEFAULT_TIMEZONE
from visitstats.imports.draft import Draft, Facts
from visitstats.imports.places import ImportRefused
from visitstats.imports.site_file import Reading, dates_of, period_of
from visitstats.imports.source import Source

KIND = "visitstats"
KEY_FIELDS = ("ignore_case", "id_params", "extra_drop_params", "hash_routes", "preset", "rules")
"""The settings that, together with an address, decide its key."""


def knows(source: Source) -> int:
    """Return how sure the reader is that the files are of its source, from 0 to 100."""
    return 100 if source.exports else 0


def read(source: Source, draft: Draft) -> None:
    """Add the numbers of the file to the draft."""
    if len(source.exports) != 1 or len(source.items) != 1:
        raise ImportRefused(source.items[0].place, "one export of one site is expected, and nothing else beside it")
    reading = Reading(source.exports[0])
    draft.facts = Facts._fields
    draft.exact = draft.article_totals = True
    settings, here = reading.head.settings, draft.site
    anew = any(_plain(settings.get(name)) != _plain(getattr(here, name)) for name in KEY_FIELDS)
    for place, line in reading.lines():
        if line.days is not None:
            draft.whole_days(draft.key_of(line.days, anew=anew), dates_of(line, place))
        elif line.article is not None and isinstance(line.views, int):
            draft.whole_article(
                draft.key_of(line.article, anew=anew), line.url, line.views,
                Facts(line.title, line.author, line.category, line.published), line.type, hidden=line.hidden,
            )  # fmt: skip
        elif line.period is not None and isinstance(line.views, int):
            period = period_of(line, place)
            draft.add_period("visits", period, line.visits)
            draft.add_period("views", period, line.views)
            if not period:
                draft.read["visits"] += line.visits
        else:
            draft.ignore("changes", 1)
    # Two exports of the same numbers are the same import, even if they were made at different times.
    plain = msgspec.structs.replace(draft.options, strategy="replace", kind="")
    draft.hash = sha256(reading.digest + msgspec.json.encode(plain)).hexdigest()
    draft.names.append(f"site {reading.head.site}, exported {reading.head.exported}")
    zone = settings.get("timezone", DEFAULT_TIMEZONE)
    if zone != here.timezone:
        draft.warn("timezone", f"its days are those of {zone}, of this site {here.timezone}")
    if anew:
        draft.warn("keys", "its rules for keys are others: the keys of addresses are made by the rules of this site")


def _plain(value: object) -> object:
    """Return a setting as a JSON value; None for one that is empty or off."""
    return msgspec.json.decode(msgspec.json.encode(value)) or None
