"""Rewrite rules: a regular expression that is looked for in an address, and the template of what takes its place.

The core does not run regular expressions of strangers: whoever builds the rules hands in `Compile`, which promises time
that grows with the length of the text and no faster (hostile-inputs row 35).
"""

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

from visitstats.core.errors import HitRejected, InvalidSite
from visitstats.core.text import visible

MAX_PATTERN_CHARS = 200
MAX_TEMPLATE_CHARS = 200
MAX_RULES = 50
MAX_PROGRAM = 3500
"""All patterns of a site together, in instructions: 25 ordinary rules have some 1,000. With `keys.MAX_REWRITTEN` it
bounds the work that one address can cause."""

_PIECE = re.compile(r"\\([0-9])|\\([\\{}])|\{([A-Za-z_][A-Za-z0-9_]*)\}|([^\\{}]+)|(.)", re.DOTALL)


class Pattern(Protocol):
    """A regular expression that is matched in linear time."""

    @property
    def groups(self) -> int:
        """How many groups it has."""

    @property
    def names(self) -> Mapping[str, int]:
        """The groups that have a name."""

    @property
    def size(self) -> int:
        """How many instructions its program has."""

    def find(self, text: str) -> tuple[str, ...] | None:
        """The first match in an ASCII text and its groups ("" for one that took no part), or None."""


Compile = Callable[[str], Pattern]
"""Makes a pattern; raises InvalidSite saying what is wrong with it."""


class Rewrite(NamedTuple):
    """One rule, ready to be applied."""

    name: str
    """For people: "rule 2", "preset nukeviet, rule 1"."""
    pattern: Pattern
    template: tuple[str | int, ...]

    def apply(self, text: str) -> str | None:
        """What the template makes of the first match; None without one."""
        groups = self.pattern.find(text)
        if groups is None:
            return None
        return "".join([piece if isinstance(piece, str) else groups[piece] for piece in self.template])


def check_rules(rules: tuple[tuple[str, str], ...]) -> None:
    """Check what can be said without compiling. Raises InvalidSite that names the rule by its number."""
    if len(rules) > MAX_RULES:
        raise InvalidSite(f"{len(rules)} rules: at most {MAX_RULES}")
    for number, (pattern, template) in enumerate(rules, 1):
        name = f"rule {number}"
        if not 1 <= len(pattern) <= MAX_PATTERN_CHARS:
            raise InvalidSite(f"{name}: a pattern has 1 to {MAX_PATTERN_CHARS} characters, not {len(pattern)}")
        if not pattern.isascii():
            raise InvalidSite(f"{name}: addresses are percent-encoded when rules see them; write %C3%A3 for ã")
        if not 1 <= len(template) <= MAX_TEMPLATE_CHARS:
            raise InvalidSite(f"{name}: a template has 1 to {MAX_TEMPLATE_CHARS} characters, not {len(template)}")
        try:
            template.encode()
            if visible(template) != template:
                raise InvalidSite(f"{name}: the template has space at its ends or characters that cannot be seen")
        except (HitRejected, UnicodeEncodeError) as error:
            raise InvalidSite(f"{name}: the template is not a text") from error
        _pieces(name, template)


def compiled(name: str, pattern: str, template: str, compile_pattern: Compile) -> Rewrite:
    """Compile a rule. Raises InvalidSite that names it."""
    try:
        found = compile_pattern(pattern)
    except InvalidSite as error:
        raise InvalidSite(f"{name}: {error}") from error
    pieces: list[str | int] = []
    for text, group in _pieces(name, template):
        if not group:
            pieces.append(text)
            continue
        place = int(group) if group.isdigit() else found.names.get(group, -1)
        if not 0 <= place <= found.groups:
            raise InvalidSite(f"{name}: the template names a group {group!r} that the pattern does not have")
        pieces.append(place)
    return Rewrite(name, found, tuple(pieces))


def _pieces(name: str, template: str) -> list[tuple[str, str]]:
    """A template as (text, "") and ("", group). `\\1` and `{name}` are groups; `\\\\`, `\\{`, `\\}` are themselves."""
    pieces = []
    for match in _PIECE.finditer(template):
        number, escaped, named, text, stray = match.groups()
        if stray:
            raise InvalidSite(f"{name}: a stray {stray!r} in the template; write \\1, {{name}} or \\{stray}")
        pieces.append((escaped or text or "", number or named or ""))
    return pieces
