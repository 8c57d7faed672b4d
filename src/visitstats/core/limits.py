"""How much one network may send, and how many visitors it may have: in tables of a fixed size.

A table is an array that never grows (hostile-inputs row 21), and may lie in memory that all processes of a machine
share. A network or a visitor has its place by a number that no stranger can choose: it is made with a secret. Nothing
is ever put out of a table by others, so nobody is forgotten because many new addresses come; two that share a place
share what it allows, which among 65,536 places matters only to those who are near the limit. Two processes that write
one place at the same instant lose one of two steps: a limit is that much higher then, and never lower.
"""

from __future__ import annotations

from array import array
from math import inf
from typing import TypeAlias

PLACES = 1 << 16
LAST_PLACE = PLACES - 1
CLOCK_STEP_MS = 1000
"""A clock that is set back by less than this is waited for."""
KNOWN_VISITORS = 1 << 17
"""Twice as many as are expected online (load class M, an event: 60,000)."""
VISITORS_OF_A_BROWSER = 500
"""Visit ids of one address and agent in half an hour that are told apart at most: identical computers of an office, or
the subscribers behind one address of a mobile provider, stay below it."""


# What the commit script lets a site-day hold (docs/security.md has the bytes). Each is decided again in a replay, from
# state that outlives the journal.
PLACES_AN_HOUR = 1000
"""New articles that one network may bring to a site in an hour: a class that reads through an archive, or a provider's
network on the day on which a portal begins to count. One network needs eleven days to fill a site of the default size
up to its reserve; the metric of capped articles says so from the first hour on."""
MOST_PLACES = 20_000
"""Networks and hours of which the places are counted, a day; those beyond share one row."""
RESERVE_FROM, RESERVE_SHARE = 1000, 10
"""A site with this many places or more keeps one in ten for articles that more than one network reads, or that the
portal has signed."""
LONE_DAYS = 7
"""So many days after a page was first read, and by no other network since, it may give its place back."""
SHORT_SHARE = 2
"""It does so by itself when half of the site's places are taken: a page of an archive that one reader opened keeps its
count where there is room."""
READINGS_A_VISITOR, IDS_A_VISITOR = 8, 4
"""Readings and hit ids that are kept of a day, as multiples of the site's `max_visitors`."""

TRIES_A_MINUTE = 5
"""Wrong access tokens of a network in a minute, before it is told to wait."""
MINUTE_MS = 60_000

Table: TypeAlias = "array[int] | memoryview[int]"


class NetworkRate:
    """A token bucket per network (hostile-inputs row 20): `burst` hits at once, `per_second` on and on; 0 is no limit.

    A place holds the moment at which its bucket is full again (the "generic cell rate algorithm"): one number, and
    nothing to be filled up in the meantime. 0.5 MiB; 0.25 µs a hit.
    """

    def __init__(self, per_second: int, burst: int, table: array[float] | memoryview[float] | None = None) -> None:
        """`table` has PLACES zeros to begin with."""
        self._step = 1000 / per_second if per_second else 0.0
        # Half a hit more, against rounding.
        self._room = (burst + 0.5) * self._step if per_second else inf
        self._full = array("d", [0.0]) * PLACES if table is None else table

    def allows(self, network: int, now_ms: int, take: bool = True, hits: int = 1) -> bool:
        """Whether a network may send a hit now, or something as dear as so many; takes it from its bucket, unless it is
        only asked."""
        step, place = self._step * hits, network & LAST_PLACE
        full = self._full[place]
        # Further ahead than a bucket is deep: the clock was set back.
        if full < now_ms or full - now_ms > self._room + CLOCK_STEP_MS:
            full = now_ms
        full += step
        if full - now_ms > self._room:
            return False
        if take:
            self._full[place] = full
        return True


class TokenTries:
    """How many wrong access tokens a network has tried in this minute (hostile-inputs row 28). 0.5 MiB.

    Networks that share a place are braked together; that hurts nobody, because a right token is let in at any time.
    """

    def __init__(self, table: Table | None = None) -> None:
        """`table` has PLACES zeros to begin with."""
        self._tried = array("q", [0]) * PLACES if table is None else table

    def spent(self, network: int, now_ms: int) -> bool:
        """Whether a network has tried too many."""
        return self._count(network, now_ms // MINUTE_MS) >= TRIES_A_MINUTE

    def note(self, network: int, now_ms: int) -> None:
        """Note that a network has tried one."""
        minute = now_ms // MINUTE_MS
        count = min(self._count(network, minute) + 1, TRIES_A_MINUTE)
        self._tried[network & LAST_PLACE] = minute << 8 | count

    def _count(self, network: int, minute: int) -> int:
        kept = self._tried[network & LAST_PLACE]
        return kept & 0xFF if kept >> 8 == minute else 0


class VisitorCap:
    """At most so many visitors of a network in each half hour, whatever is rotated: visit id, agent, or the address
    within the network; and of them VISITORS_OF_A_BROWSER of one address and agent (hostile-inputs rows 20 and 22).

    It counts the visitors that are new; one that is known stays a visitor of its own. A known visitor is its token, of
    which no stranger can know what it will be. 3 MiB; 0.2 µs a hit.
    """

    def __init__(
        self,
        known: Table | None = None,
        browsers: Table | None = None,
        networks: Table | None = None,
    ) -> None:
        """The tables have KNOWN_VISITORS, PLACES and PLACES zeros to begin with."""
        self._met = array("q", [0]) * KNOWN_VISITORS
        """Whom this process knows, by Python's own hash: a fifth of the price of a look into the shared table."""
        self._known = array("q", [0]) * KNOWN_VISITORS if known is None else known
        self._browsers = array("q", [0]) * PLACES if browsers is None else browsers
        self._networks = array("q", [0]) * PLACES if networks is None else networks

    def knows(self, token: bytes) -> bool:
        """Whether a visitor was admitted before."""
        short = hash(token)
        if self._met[short & (KNOWN_VISITORS - 1)] == short:
            return True
        number = _number(token)
        if self._known[number & (KNOWN_VISITORS - 1)] != number:
            return False
        self._met[short & (KNOWN_VISITORS - 1)] = short
        return True

    def has_room(self, browser: bytes, half_hour: int, most: int) -> bool:
        """Whether one more visit id of an address and agent (its token without the visit id) is told apart."""
        return _counted(self._browsers, browser, half_hour) < min(most, VISITORS_OF_A_BROWSER)

    def admits(
        self, token: bytes, browser: bytes, network: bytes, half_hour: int, most: int, *, take: bool = True
    ) -> bool:
        """Whether a visitor is told apart from the others of its network (a token of the network) in this half hour;
        notes the visitor, unless it is only asked."""
        if self.knows(token):
            return True
        count = _counted(self._networks, network, half_hour)
        if count >= most:
            return False
        if take:
            self._networks[_number(network) & LAST_PLACE] = half_hour << 32 | count + 1
            if token != browser:
                ids = _counted(self._browsers, browser, half_hour)
                self._browsers[_number(browser) & LAST_PLACE] = half_hour << 32 | ids + 1
            number, short = _number(token), hash(token)
            self._known[number & (KNOWN_VISITORS - 1)] = number
            self._met[short & (KNOWN_VISITORS - 1)] = short
        return True


def _number(token: bytes) -> int:
    return int.from_bytes(token, "big", signed=True)


def _counted(table: Table, token: bytes, half_hour: int) -> int:
    kept = table[_number(token) & LAST_PLACE]
    return kept & 0xFFFFFFFF if kept >> 32 == half_hour else 0
