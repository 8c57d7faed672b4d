"""The counting rules, all of them, in one place (docs/counting.md says the same to readers).

 1. A visitor is blake2b-64(key = the day's salt, site | client address | user agent | visit id). The visit id is a
    random value of the widget's; without one the first three parts alone are used, and so they are for further visit
    ids when one address and agent has had more than the site's `visitors_per_network` within half an hour. Raw
    addresses and agents are never written.
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
10. A number that is not known is never shown as 0 or 1: it is None, "—" in the box.

Rules 3 to 5 are decided where the state is, by the commit scripts in `store/lua`; they take every constant from here,
with each batch. `Presence` below says in plain Python what `audience.lua` does to one visitor, and a test holds the two
together.
"""

from collections.abc import Callable
from hashlib import blake2b
from typing import Protocol, Self

import msgspec

from visitstats.core.periods import ALL_TIME, Day

VISIT_GAP_MS = 30 * 60 * 1000
"""Rule 3: a visitor who was not seen for longer than this starts a new visit."""
ONLINE_MS = 300 * 1000
"""Rule 4."""
SLOT_MS = VISIT_GAP_MS
"""A day is cut into half hours. Two visits of one visitor begin more than 30 minutes apart, so that the half hour in
which a visit began names it within the visitor's day."""
CARRIED_SLOT = 63
"""The slot of a visitor who is here only by heartbeats since midnight: present, but without a visit this day yet."""
DUPLICATE = 255
"""Stands for the slot of a hit whose beacon was delivered before."""
SLOTS = 64
"""A presence is kept as one number, last seen (ms) × 64 + slot: below 2^53 until the year 6000, exact in a sorted
set."""
Clock = Callable[[], int]
"""Gives the moment, in milliseconds since the epoch."""
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
CAPPED = "visitors-capped"
NOTES = frozenset({SEARCH_ENGINE, CAPPED})
"""What is counted beside the reasons, for people who look closer: how many of the beacons of reason "bot" were search
engines', and how many hits were counted although their visitors were not told apart (rule 1)."""


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


_READING = blake2b(digest_size=TOKEN_BYTES, person=b"vs-reading")
"""A copy of it takes half the time of a new one; so with the salts."""


def reading(token: bytes, article: bytes) -> bytes:
    """Name a visitor's reading of an article within one visit (rule 5): 8 bytes that give away neither part."""
    name = _READING.copy()
    name.update(token + article)
    return name.digest()


def slot_of(day: Day, moment_ms: int) -> int:
    """Return the half hour of the day, counted from its first moment: 0 to 49."""
    return (moment_ms - day.start_ms) // SLOT_MS


class Presence(msgspec.Struct, frozen=True):
    """What is known of one visitor of one day: when last seen, and in which half hour the visit began."""

    last_ms: int
    slot: int

    def hit(self, day: Day, moment_ms: int) -> tuple["Presence", bool]:
        """Rule 3: the presence after a hit, and whether that hit started a visit."""
        if self.slot == CARRIED_SLOT or moment_ms - self.last_ms > VISIT_GAP_MS:
            return Presence(moment_ms, slot_of(day, moment_ms)), True
        return Presence(max(self.last_ms, moment_ms), self.slot), False

    def heartbeat(self, moment_ms: int) -> "Presence":
        """Rule 4: a heartbeat prolongs a visit that is going on, and changes nothing of one that is over."""
        if moment_ms - self.last_ms > VISIT_GAP_MS:
            return self
        return Presence(max(self.last_ms, moment_ms), self.slot)

    def online(self, now_ms: int) -> bool:
        """Rule 4."""
        return self.last_ms > now_ms - ONLINE_MS

    @property
    def score(self) -> int:
        """The presence as the one number that is stored."""
        return self.last_ms * SLOTS + self.slot


class Numbers(msgspec.Struct, frozen=True):
    """The numbers of a site at one moment. A number that is not known is None (rule 10)."""

    online: int | None = None
    today: int | None = None
    yesterday: int | None = None
    week: int | None = None
    month: int | None = None
    year: int | None = None
    total: int | None = None


UNKNOWN = Numbers()


class Uniques(msgspec.Struct, frozen=True):
    """The estimated unique visitors of the present periods (rule 9)."""

    today: int
    week: int
    month: int


def counters_of(day: Day) -> tuple[str, ...]:
    """Return the names of the dated counts that `numbers` needs, in its order."""
    return (*day.week, day.date, day.yesterday, day.month, day.year, ALL_TIME, NUMBERS_BASELINE)


def numbers(online: int, counts: list[int]) -> Numbers:
    """Sum dated counts, read in the order of `counters_of`, into the numbers of the box (rules 6 and 7)."""
    today, yesterday, month, year, counted, baseline = counts[7:]
    return Numbers(
        online=online,
        today=today,
        yesterday=yesterday,
        week=sum(counts[:7]),
        month=month,
        year=year,
        total=baseline + counted,
    )
