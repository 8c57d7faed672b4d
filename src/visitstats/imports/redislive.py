"""A live Redis of busuanzi or Vercount. Its counters are read once, into a file that is imported like any other.

The file is not a snapshot: counters may grow during the reading, and those read last are the newest.
"""

import json
import re
from pathlib import Path

from visitstats.core.storeaddress import shown
from visitstats.imports.options import Options
from visitstats.imports.places import ImportRefused, Place
from visitstats.store.foreign import Unreadable, counters

SCHEMES = ("redis://", "rediss://", "unix://")
_UNSAFE = re.compile(r"[^A-Za-z0-9.-]+")
_GLOB = re.compile(r"([*?\[\]\\^-])")


def is_address(text: str) -> bool:
    """Return whether a text is the address of a Redis, and not the name of a file."""
    return text.startswith(SCHEMES)


def fetch(url: str, folder: Path, options: Options) -> Path:
    """Write the counters of the Redis at `url` into a file in `folder`, and return its path. The file is a JSON object
    of keys that `redisdumps.from_json` reads. Raises ImportRefused."""
    prefix = options.prefix.rstrip(":")
    beginning = _GLOB.sub(r"\\\1", prefix)
    patterns = {
        "busuanzi": [f"{beginning}:site_pv:*", f"{beginning}:page_pv:*"],
        "vercount": ["pv:site:*", "pv:page:*"],
    }
    place = Place(shown(url))
    if options.kind not in ("", *patterns):
        raise ImportRefused(place, "only busuanzi and Vercount are read from a live Redis")
    try:
        found = {kind: counters(url, each) for kind, each in patterns.items() if options.kind in ("", kind)}
    except Unreadable as error:
        raise ImportRefused(place, str(error)) from error
    there = [kind for kind, numbers in found.items() if numbers]
    if not there:
        raise ImportRefused(
            place, f"no key begins with {prefix}:site_pv:, {prefix}:page_pv:, pv:site: or pv:page:",
            hint="/1 behind the address names the second database; --prefix says how busuanzi's keys begin",
        )  # fmt: skip
    if len(there) > 1:
        raise ImportRefused(place, "it has counters of busuanzi and of Vercount: say --kind")
    path = folder / f"{_UNSAFE.sub('-', place.file).strip('-')}.json"
    path.write_text(json.dumps(found[there[0]], ensure_ascii=False, sort_keys=True), encoding="utf-8")
    return path
