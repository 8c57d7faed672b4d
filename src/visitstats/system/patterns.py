"""Regular expressions that cannot hang a worker: RE2's, which are matched in linear time (hostile-inputs row 35).

RE2 has no look-around and no back references; its syntax: https://github.com/google/re2/wiki/Syntax
"""

from collections.abc import Mapping
from typing import Any

from visitstats.core.errors import InvalidSite

try:
    import re2
except ImportError:  # there is no build for this machine: everything works but rewrite rules and presets
    re2 = None

MOST_MEMORY = 256 * 1024
"""Bytes for each pattern; RE2's own default, 8 MiB, would be 400 MiB for the fifty rules of one site."""


class LinearPattern:
    """A `core.rewriting.Pattern`."""

    __slots__ = ("_regexp", "groups", "names", "size")

    def __init__(self, regexp: Any) -> None:
        self._regexp = regexp
        self.groups: int = regexp.groups
        self.names: Mapping[str, int] = {name.decode(): place for name, place in regexp.groupindex.items()}
        self.size: int = regexp.programsize

    def find(self, text: str) -> tuple[str, ...] | None:
        """The first match in an ASCII text and its groups ("" for one that took no part), or None; some 2 µs."""
        # As bytes: as text it would take three times as long. A group that took no part is from -1 to -1.
        match = self._regexp.search(text.encode("ascii"))
        if match is None:
            return None
        return tuple([text[begin:end] for begin, end in map(match.span, range(self.groups + 1))])


def linear_pattern(pattern: str) -> LinearPattern:
    """Compile a pattern (`core.rewriting.Compile`). Raises InvalidSite for what RE2 does not take."""
    if re2 is None:
        raise InvalidSite("rewrite rules need the package google-re2, which is not installed here")
    options = re2.Options()
    options.max_mem = MOST_MEMORY
    options.log_errors = False
    try:
        return LinearPattern(re2.compile(pattern.encode("ascii"), options))
    except re2.error as error:
        said = error.args[0]
        raise InvalidSite(said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)) from error
