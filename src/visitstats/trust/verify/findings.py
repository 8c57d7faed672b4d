"""What a look at a store brings up."""

from collections import Counter

import msgspec

EXAMPLES = 20
"""Of one kind of problem so many are told one by one."""


class Problem(msgspec.Struct, frozen=True):
    """One thing that is wrong."""

    site: str
    """Empty for what belongs to no site."""
    check: str
    """The rule that is broken, as a word."""
    subject: str
    """The key, the article or the journal's slot."""
    detail: str
    """What is wrong, with the numbers."""


class Look:
    """One look at everything.

    A problem is known again in the next look by its site, check, subject, and what must not have moved in between for
    it to be the same: a watermark that has moved is a worker that works.
    """

    def __init__(self) -> None:
        self.problems: dict[tuple[str, str, str, str], Problem] = {}
        self.notes: list[str] = []
        """What is worth knowing and not wrong."""
        self.keys = 0
        self.records = 0
        """Of the journals."""
        self._told: Counter[tuple[str, str]] = Counter()

    def wrong(self, site: str, check: str, subject: str, detail: str, unmoved: object = "") -> None:
        """Note a problem; from the one after EXAMPLES of its kind on, only how many there are."""
        self._told[site, check] += 1
        more = self._told[site, check] - EXAMPLES
        if more > 0:
            subject, detail, unmoved = "", f"and {more} more like these", "more"
        self.problems[site, check, subject, str(unmoved)] = Problem(site, check, subject, detail)

    def still(self, before: "Look") -> list[Problem]:
        """Return what was wrong before and still is."""
        return [problem for name, problem in self.problems.items() if name in before.problems]
