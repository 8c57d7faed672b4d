"""How much one network may send, and how many visitors it may have: in tables of a fixed size.

A table is an array that never grows (hostile-inputs row 21). A network or a visitor has its place by a number that no
stranger can choose: `hash` and the day's salt are secret. Nothing is ever put out of a table by others, so nobody is
forgotten because many new addresses come; two that share a place share what it allows, which among 65,536 places
matters only to those who are near the limit.
"""

from array import array
from math import inf

PLACES = 1 << 16
LAST_PLACE = PLACES - 1
CLOCK_STEP_MS = 1000
"""A clock that is set back by less is waited for."""
KNOWN_VISITORS = 1 << 17
"""Twice as many as are expected online (load class M, an event: 60,000)."""


class NetworkRate:
    """A token bucket per network (hostile-inputs row 20): `burst` hits at once, `per_second` on and on; 0 is no limit.

    A place holds the moment at which its bucket is full again (the "generic cell rate algorithm"): one number, and
    nothing to be filled up in the meantime. 0.5 MiB; 0.25 µs a hit.
    """

    def __init__(self, per_second: int, burst: int) -> None:
        self._step = 1000 / per_second if per_second else 0.0
        # Half a hit more, against rounding.
        self._room = (burst + 0.5) * self._step if per_second else inf
        self._full = array("d", [0.0]) * PLACES

    def allows(self, network: int, now_ms: int, take: bool = True) -> bool:
        """Whether a network may send a hit now; takes it from its bucket, unless it is only asked."""
        step, place = self._step, network & LAST_PLACE
        full = self._full[place]
        if full < now_ms:
            full = now_ms
        full += step
        ahead = full - now_ms
        if ahead > self._room:
            if ahead <= self._room + CLOCK_STEP_MS:
                return False
            full = now_ms + step  # further ahead than a bucket is deep: the clock was set back
        if take:
            self._full[place] = full
        return True


class VisitorCap:
    """At most so many different visit ids per network token (address and agent) and half hour (hostile-inputs row 22).

    It counts the visit ids that are new; one that is known stays a visitor of its own. A known visitor is a 64-bit hash
    of its token (of a secret key, per process). 1.5 MiB; 0.2 µs a hit.
    """

    def __init__(self) -> None:
        self._known = array("q", [0]) * KNOWN_VISITORS
        self._counted = array("q", [0]) * PLACES

    def knows(self, token: bytes) -> bool:
        """Whether a visitor was admitted before."""
        number = hash(token)
        return self._known[number & (KNOWN_VISITORS - 1)] == number

    def admits(self, token: bytes, network: bytes, half_hour: int, most: int, *, take: bool = True) -> bool:
        """Whether a visitor (the token with the visit id) of a network (the token without it) is told apart from the
        others there in this half hour; notes the visitor, unless it is only asked."""
        if self.knows(token):
            return True
        place = hash(network) & LAST_PLACE
        kept = self._counted[place]
        count = kept & 0xFFFFFFFF if kept >> 32 == half_hour else 0
        if count >= most:
            return False
        if take:
            self._counted[place] = half_hour << 32 | count + 1
            number = hash(token)
            self._known[number & (KNOWN_VISITORS - 1)] = number
        return True
