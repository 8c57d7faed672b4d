"""Pages of a site that are not counted: its administration, previews, trial pages.

A pattern is a path, as `/admin/*` or `*/preview/*`, and may name parameters, as `/*?preview=true`. `*` stands for any
text, `/x/*` also for `/x` itself. Case makes no difference, nor does anything that rule 3 of keys leaves out of a path,
nor do parameters of the page that the pattern does not name.
"""

from collections.abc import Iterable

from visitstats.core.addresses import Spelling, split_tail, split_url
from visitstats.core.errors import HitRejected, InvalidSite

MAX_PATTERN_CHARS = 200
EVERYTHING = ("*", "/*")

_spelling = Spelling(ignore_case=True, hash_routes=False, only={}, dropped=frozenset(), dropped_beginnings=())


class ExcludedPaths:
    """The excluded pages of one site. Raises InvalidSite."""

    def __init__(self, patterns: Iterable[str]) -> None:
        self._patterns = [check_pattern(pattern) for pattern in patterns]

    def pattern_of(self, url: str) -> str:
        """Return the pattern that excludes the page at an absolute address; "" when it is counted. Raises HitRejected
        for what is no address."""
        if not self._patterns:
            return ""
        _, address = split_url(url)
        path = _spelling.path(address.path).lower()
        parameters = _spelling.query(address.query).lower().split("&")
        for wanted, query in self._patterns:
            if (_matches(wanted, path) or _matches(wanted, f"{path}/")) and all(
                any(_matches(each, have) for have in parameters) for each in query
            ):
                return "?".join(filter(None, (wanted, "&".join(query))))
        return ""


def check_pattern(pattern: str) -> tuple[str, list[str]]:
    """Return the spelled path and parameters of a pattern. Raises InvalidSite."""
    if not 1 <= len(pattern) <= MAX_PATTERN_CHARS:
        raise InvalidSite(f"an excluded path has 1 to {MAX_PATTERN_CHARS} characters, not {len(pattern)}")
    if pattern[0] not in "/*?":
        raise InvalidSite(f"the excluded path {pattern[:60]!r} must begin with '/' or '*', as /admin/*")
    try:
        raw = split_tail(pattern)
        path, query = _spelling.path(raw.path).lower(), _spelling.query(raw.query).lower()
    except HitRejected as error:
        raise InvalidSite(f"the excluded path {pattern[:60]!r} is not a text") from error
    # The spelling begins every path with "/".
    path = path[1:] if raw.path.startswith("*") else path if raw.path else "*"
    if not query and path in EVERYTHING:
        raise InvalidSite(f"the excluded path {pattern[:60]!r} is every page; use --archive to count nothing")
    return path, query.split("&") if query else []


def _matches(pattern: str, text: str) -> bool:
    """Whether `*` and letters match a whole text, in linear time for each piece of the pattern."""
    first, *pieces = pattern.split("*")
    if not pieces:
        return text == pattern
    last = pieces.pop()
    if not text.startswith(first):
        return False
    place = len(first)
    for piece in pieces:
        found = text.find(piece, place)
        if found < 0:
            return False
        place = found + len(piece)
    return len(text) - place >= len(last) and text.endswith(last)
