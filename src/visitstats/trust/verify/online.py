"""Who is online: is every presence whole, and does the ring of seconds have the number of visitors that were last seen
in each second?

Seconds whose presences may have expired are left out. While hits come in, visitors move from a second to a later one,
so that the number of a past second only falls: the numbers before and after the presences were read are its bounds. The
last seconds are left out, because visitors still come to them.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from struct import unpack_from

from visitstats.core.counting import (
    CARRIED,
    HOUR_MS,
    MOST_READINGS,
    ONLINE_MS,
    PRESENCE_HEAD,
    READING_BYTES,
    RING,
    TOKEN_BYTES,
)
from visitstats.store import keys
from visitstats.store.inspect import Inspector
from visitstats.store.keys import DECIDING_MS
from visitstats.trust.verify.contents import moment
from visitstats.trust.verify.findings import Look

ZONES_MS = (14 * HOUR_MS, 36 * HOUR_MS)
"""How long before and after the midnight of UTC that begins a date some place on Earth has that date."""
LONGEST_DAY = 50
"""The half hours of the longest day, which has 25 hours."""
LATEST_S = 5
"""How many of the last seconds are left out, because visitors may still come to them."""
READING = 1 + READING_BYTES
CELL = 4
EARLIER = b"<"
"""The suffix of a visitor's token for an earlier visit, to which late hits belong (lua/commit/decide.lua)."""


class Online:
    """The check of one site. `names` are its keys of presences, by date; `broken` the names of keys that cannot be
    read."""

    def __init__(
        self, store: Inspector, site: str, names: dict[str, str], broken: set[str], look: Look, now: Callable[[], int]
    ) -> None:
        self._store = store
        self._site = site
        self._names = names
        self._broken = broken
        self._look = look
        self._now = now

    async def check(self) -> None:
        """Check everything. Raises StoreUnavailable."""
        ring_key = keys.online(self._site)
        if ring_key in self._broken:
            for date, name in self._names.items():
                async for page in self._store.fields(name):
                    self._presences(name, date, page.items())
            return
        now_s = self._now() // 1000
        few = await self._store.presences(self._site, list(self._names.values()))
        seconds: Counter[int] = Counter()
        if few is not None:
            before = after = self._ring(few[0])
            for (date, name), page in zip(self._names.items(), few[1], strict=True):
                seconds.update(self._presences(name, date, page.items()))
        else:
            before = self._ring(await self._store.ring(self._site))
            for date, name in self._names.items():
                async for page in self._store.fields(name):
                    seconds.update(self._presences(name, date, page.items()))
            after = self._ring(await self._store.ring(self._site))
        if any(keys.seen(self._site, date) in self._broken for date in self._dates()):
            return
        oldest = now_s - (DECIDING_MS - HOUR_MS) // 1000
        there = before.keys() & after.keys() | {each for each in seconds if each > now_s - ONLINE_MS // 1000}
        for second in sorted(there):
            least, most = sorted((before.get(second, 0), after.get(second, 0)))
            settled = few is not None or second <= now_s - LATEST_S
            if oldest < second and settled and not least <= seconds[second] <= most:
                self._look.wrong(
                    self._site, "online", ring_key,
                    f"{most} visitors were last seen at {moment(second)} (second {second}) by the ring of seconds, "
                    f"{seconds[second]} by their presences",
                    (second, most),
                )  # fmt: skip

    def _dates(self) -> set[str]:
        return {name.rpartition(":")[2] for name in self._broken if ":seen:" in name}

    def _ring(self, ring: bytes) -> dict[int, int]:
        """Return how many visitors were last seen in each second that the ring has."""
        if len(ring) > 2 * CELL * RING or len(ring) % CELL:
            self._look.wrong(
                self._site, "value", keys.online(self._site),
                f"it has {len(ring)} bytes: no ring of {RING} seconds", len(ring),
            )  # fmt: skip
            return {}
        cells = unpack_from(f"<{2 * RING}I", ring.ljust(2 * CELL * RING, b"\0"))
        return {cells[n] * RING + n: cells[RING + n] for n in range(RING) if cells[n]}

    def _presences(self, name: str, date: str, page: Iterable[tuple[bytes, bytes]]) -> Iterable[int]:
        """Yield the second of each presence of a day, and report values that are no presences."""
        midnight = int(datetime.fromisoformat(date).replace(tzinfo=UTC).timestamp() * 1000)
        # A visitor with a token of today was moved back by this much under yesterday's token (rule 2).
        first, end = midnight - ZONES_MS[0] - ONLINE_MS - 1000, midnight + ZONES_MS[1]
        for token, stored in page:
            if trouble := presence_trouble(token, stored, first, end):
                self._look.wrong(self._site, "value", name, trouble, token.hex())
            if len(stored) >= PRESENCE_HEAD:
                yield int.from_bytes(stored[:6], "big") // 1000


def presence_trouble(token: bytes, stored: bytes, first_ms: int, end_ms: int) -> str:
    """Return what is wrong with a presence (`core.counting.decode_presence`) of a day, or nothing."""
    if len(token) != TOKEN_BYTES and not (len(token) == TOKEN_BYTES + 1 and token.endswith(EARLIER)):
        return f"its field {token[:40].hex()} is no token"
    if len(stored) < PRESENCE_HEAD or (len(stored) - PRESENCE_HEAD) % READING:
        return f"visitor {token.hex()} has {len(stored)} bytes: no presence"
    if len(stored) > PRESENCE_HEAD + MOST_READINGS * READING:
        return f"visitor {token.hex()} has {(len(stored) - PRESENCE_HEAD) // READING} readings: too many"
    half_hour, visits = stored[PRESENCE_HEAD - 1], stored[PRESENCE_HEAD::READING]
    if not (half_hour < LONGEST_DAY or half_hour == CARRIED) or (visits and max(visits) >= LONGEST_DAY):
        return f"visitor {token.hex()} has a half hour {max((half_hour, *visits))}: no presence"
    last_ms = int.from_bytes(stored[:6], "big")
    if not first_ms <= last_ms < end_ms:
        return f"visitor {token.hex()} was last seen {moment(last_ms // 1000)}"
    return ""
