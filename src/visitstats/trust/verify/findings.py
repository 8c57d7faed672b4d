"""The problems that a look at a store has found."""

from collections import Counter

import msgspec

EXAMPLES = 20
"""How many problems of one kind are reported one by one."""


class Problem(msgspec.Struct, frozen=True):
    """One thing that is wrong."""

    site: str
    """The site; empty for a problem that belongs to none."""
    check: str
    """The rule that is broken, as a word."""
    subject: str
    """The key, the article or the journal's slot."""
    detail: str
    """What is wrong, with the numbers."""


class Look:
    """One look at everything.

    A problem is the same in the next look if its site, check and subject are, and its `unmoved`: a value that changes
    when work goes on. (A watermark that has moved means that a worker is at work.)
    """

    def __init__(self) -> None:
        self.problems: dict[tuple[str, str, str, str], Problem] = {}
        self.notes: list[str] = []
        """Notes: what is worth knowing and not wrong."""
        self.keys = 0
        self.records = 0
        """How many records of the journals were read."""
        self._told: Counter[tuple[str, str]] = Counter()

    def wrong(self, site: str, check: str, subject: str, detail: str, unmoved: object = "") -> None:
        """Note a problem. After EXAMPLES problems of a kind, only the number of further ones is kept."""
        self._told[site, check] += 1
        more = self._told[site, check] - EXAMPLES
        if more > 0:
            subject, detail, unmoved = "", f"and {more} more like these", "more"
        self.problems[site, check, subject, str(unmoved)] = Problem(site, check, subject, detail)

    def still(self, before: "Look") -> list[Problem]:
        """Return what was wrong before and still is."""
        return [problem for name, problem in self.problems.items() if name in before.problems]
