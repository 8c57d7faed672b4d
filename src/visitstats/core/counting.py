"""The counting rules, all of them, in one place (docs/counting.md says the same to readers).

 1. A visitor is blake2b-64(key = the day's salt, site | client address | user agent | visit id). The visit id is a
    random value of the widget's; without one the first three parts alone are used. At most the site's
    `visitors_per_network` of one network (IPv4 /24, IPv6 /48) are told apart within half an hour, and at most
    `limits.VISITORS_OF_A_BROWSER` visit ids of one address and agent: further visit ids are left aside, and further
    visitors are together one, the network's. Raw addresses and agents are never written.
 2. The salt is 32 random bytes per site-day, deleted 48 h after the day. At the change of day the new token takes over
    the old one's place, so that nobody is online twice.
 3. A visit starts with a hit when the visitor was not seen in the last 30 minutes (sliding), or not yet hit this day.
 4. Online are the visitors with a hit or heartbeat in the last 300 seconds. A heartbeat prolongs a visit that is still
    going on; it never starts one.
 5. A view counts once per visitor, article and visit (`per-visit`), or on every load (`every-load`); a beacon that is
    delivered twice (same hit id) counts once under either.
 6. Periods are calendar periods in the site's zone, decided by the moment at which the hit was received
    (`core.periods`).
 7. The box counts visits (or, by the site's choice, views). Total = baseline + counted.
 8. Bots, prefetches and refused beacons are counted apart, by reason, and never enter the box.
 9. Unique visitors are estimated (HyperLogLog, on the token without the visit id) and say so.
10. A number that is not known is never shown as 0 or 1: it is None, "—" in the box (`core.numbers` has them all).

Rules 2 to 5 are decided where the state is, by the commit script (`store/lua/commit`), which gets every constant
from here. `Presence` below says in plain Python what it does to one visitor, and a test holds the two together.
"""

from collections.abc import Callable
from hashlib import blake2b
from struct import unpack_from
from typing import Protocol, Self

import msgspec

from visitstats.core.periods import Day

VISIT_GAP_MS = 30 * 60 * 1000
"""Rule 3: a visitor who was not seen for longer than this starts a new visit."""
ONLINE_MS = 300 * 1000
"""Rule 4."""
HALF_HOUR_MS = VISIT_GAP_MS
HOUR_MS = 2 * HALF_HOUR_MS
QUARTER_MS = HALF_HOUR_MS // 2
"""The hours of every time zone in use consist of whole quarter hours (UTC+05:45 and the like): a batch holds the hits
of one quarter hour, so all of them belong to one hour."""
"""A day is cut into half hours. Two visits of one visitor begin more than 30 minutes apart, so that the half hour in
which a visit began names it within the visitor's day."""
CARRIED = 63
"""Stands for the half hour of a visitor from whom only heartbeats came since midnight: online, but without a visit this
day yet."""
Clock = Callable[[], int]
"""A clock: returns the moment, in milliseconds since the epoch."""
SALT_BYTES = 32
SALT_LIFE_MS = 48 * 3600 * 1000
"""Rule 2: how long after its day a salt is kept, and with it everything that could be tied to a visitor."""
TOKEN_BYTES = 8

NUMBERS_BASELINE = "base"
"""The name of the site's baseline beside its dated counts (rule 7)."""

IGNORED_REASONS = frozenset(
    {
        "bot",
        "empty-agent",
        "prefetch",
        "host",
        "origin",
        "bad-json",
        "bad-text",
        "bad-field",
        "bad-url",
        "no-url",
        "too-large",
        "content-type",
        "duplicate",
        "archived",
        "excluded",
        "rate",
    }
)
"""Rule 8: every reason for which a beacon is not counted. The set is closed, so that counters and labels are
bounded."""
SEARCH_ENGINE = "search-engine"
CAPPED, READINGS_CAPPED, IDS_CAPPED = "visitors-capped", "readings-capped", "ids-capped"
NOTES = frozenset({SEARCH_ENGINE, CAPPED, READINGS_CAPPED, IDS_CAPPED})
"""What is counted beside the reasons, for people who look closer: how many of the beacons of reason "bot" were search
engines'; how many hits were counted although their visitors were not told apart (rule 1); and how many readings and hit
ids were not kept, because the day has too many (rule 5)."""


class Salted(Protocol):
    """A day's salt, ready to make tokens with: what hashlib calls a hash object."""

    def copy(self) -> Self: ...

    def update(self, data: bytes, /) -> None: ...

    def digest(self) -> bytes: ...


def salted(salt: bytes) -> Salted:
    """Return what makes tokens with a day's salt: its key is mixed in already, which halves what they cost."""
    return blake2b(digest_size=TOKEN_BYTES, key=salt)


def visitor_token(salt: Salted, site: str, address: str, agent: bytes, visit_id: str) -> bytes:
    """Rule 1: the 8-byte token of a visitor. With an empty visit id it is also the token of rule 9.

    The parts are joined by NUL, which neither an address nor an HTTP header can hold.
    """
    text = salt.copy()
    text.update(b"\0".join((site.encode(), address.encode(), agent, visit_id.encode())))
    return text.digest()


def visitor_tokens(salt: Salted, site: str, address: str, agent: bytes, visit_id: str) -> tuple[bytes, bytes]:
    """Return a visitor's token and the token without the visit id (rules 1 and 9), in 1.3 µs."""
    text = salt.copy()
    text.update(f"{site}\0{address}\0".encode() + agent + b"\0")
    unique = text.digest()
    if not visit_id:
        return unique, unique
    text.update(visit_id.encode())
    return text.digest(), unique


READING_BYTES = 7
_READING = blake2b(digest_size=READING_BYTES, person=b"vs-reading")
"""Copying a hash object takes half the time of making one; the salts are copied for the same reason."""


def reading(token: bytes, article: bytes) -> bytes:
    """Name an article within one visitor's presence (rule 5), in 7 bytes from which the article cannot be told without
    the visitor's token. Two of a visitor's articles share a name once in 2^56."""
    name = _READING.copy()
    name.update(token + article)
    return name.digest()


def half_hour_of(day: Day, moment_ms: int) -> int:
    """Return the half hour of the day, counted from its first moment: 0 to 49."""
    return (moment_ms - day.start_ms) // HALF_HOUR_MS


class Presence(msgspec.Struct, frozen=True):
    """What is known of one visitor of one day: when last seen, in which half hour the visit began, and what was read
    in which visit (half hour, reading)."""

    last_ms: int
    half_hour: int
    read: tuple[tuple[int, bytes], ...] = ()

    def hit(self, day: Day, moment_ms: int) -> tuple["Presence", bool]:
        """Rule 3: the presence after a hit, and whether that hit started a visit."""
        if self.half_hour == CARRIED or moment_ms - self.last_ms > VISIT_GAP_MS:
            return Presence(moment_ms, half_hour_of(day, moment_ms), self.read), True
        return Presence(max(self.last_ms, moment_ms), self.half_hour, self.read), False

    def has_read(self, reading: bytes) -> bool:
        """Rule 5: whether an article was read in the present visit."""
        return (self.half_hour, reading) in self.read


PRESENCE_HEAD = 7
"""Bytes of a stored presence before its readings: the moment last seen, in milliseconds (6 bytes, the highest first),
and the half hour (1 byte). Each reading is a half hour and READING_BYTES."""


def decode_presence(stored: bytes) -> Presence:
    """Read what the commit script keeps of a visitor. Raises ValueError for anything else."""
    size = 1 + READING_BYTES
    if len(stored) < PRESENCE_HEAD or (len(stored) - PRESENCE_HEAD) % size:
        raise ValueError(f"{len(stored)} bytes are no presence")
    readings = (stored[n : n + size] for n in range(PRESENCE_HEAD, len(stored), size))
    return Presence(int.from_bytes(stored[:6], "big"), stored[6], tuple((each[0], each[1:]) for each in readings))


MOST_READINGS = 2048
"""Readings that are kept of a visitor's day: 16 KiB. Beyond that the oldest ones are dropped, and an article that is
opened again counts again: nobody reads so many pages in a day, and the hits of a program that pretends to must not
become dearer and dearer."""


# Rule 4: who is online ------------------------------------------------------------------------------------------------

RING = 512
"""For how many seconds the ring keeps the number of visitors last seen in each: ONLINE_MS, and room for late hits."""
_WINDOW = ONLINE_MS // 1000


def online_in(ring: bytes, now_ms: int) -> int:
    """Return how many visitors are online, from a site's ring of seconds, as the commit script keeps it.

    The ring has RING cells of 32 bits (little-endian) that say in which round of RING seconds they were written, and as
    many that say how many visitors were last seen in that second. A cell of another round is empty. Exact to the
    second; a moment that lies ahead (a clock that was set back) counts as now.
    """
    if not ring:
        return 0
    this_round, place = divmod(now_ms // 1000, RING)
    # The usual case: visitors were seen in every second, so the cells up to `place` are of this round and the others of
    # the last one.
    usual = this_round.to_bytes(4, "little") * (place + 1) + (this_round - 1).to_bytes(4, "little") * (RING - 1 - place)
    if len(ring) == 8 * RING and ring[: 4 * RING] == usual:
        first = place + 1 - _WINDOW
        if first >= 0:
            return sum(_cells(ring, RING + first, _WINDOW))
        return sum(_cells(ring, RING, place + 1)) + sum(_cells(ring, 2 * RING + first, -first))
    cells = _cells(ring.ljust(8 * RING, b"\0"), 0, 2 * RING)
    least = now_ms // 1000 - _WINDOW
    return sum(cells[RING + n] for n in range(RING) if cells[n] * RING + n > least)


def _cells(ring: bytes, first: int, many: int) -> tuple[int, ...]:
    return unpack_from(f"<{many}I", ring, 4 * first)


class Uniques(msgspec.Struct, frozen=True):
    """The estimated unique visitors of the present periods (rule 9)."""

    today: int
    week: int
    month: int
