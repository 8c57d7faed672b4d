"""Counts requests that were refused, by day, reason and network: at most MOST_ROWS rows a day, kept for 30 days."""

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple

import msgspec
from redis.asyncio import Redis

from visitstats.store import keys
from visitstats.store.client import translated

MOST_ROWS = 500
"""How many different refusals are kept of a day; further ones are counted together (OTHERS). With 200 bytes a row, this
is 3 MB in 30 days."""
DAYS = keys.REFUSALS_LIFE_MS // keys.DAY_MS
_VALUE = re.compile(rb"(\d{1,16}) (\d{1,16})")

_ADD = b"""#!lua
-- KEYS[1] what was refused on a day; ARGV: when it ends (s), the most rows, the row of the others; then of each
-- refusal its row, how often, and the moment of the last time (ms). More rows than the most become the row of others.
local rows = redis.call('HLEN', KEYS[1])
for i = 4, #ARGV, 3 do
  local row, times, last = ARGV[i], tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2])
  local known = redis.call('HGET', KEYS[1], row)
  if not known and rows >= tonumber(ARGV[2]) then
    row = ARGV[3]
    known = redis.call('HGET', KEYS[1], row)
  end
  if known then
    local before, at = string.match(known, '^(%d+) (%d+)$')
    times, last = times + (tonumber(before) or 0), math.max(last, tonumber(at) or 0)
  else
    rows = rows + 1
  end
  redis.call('HSET', KEYS[1], row, string.format('%.0f %.0f', times, last))
end
redis.call('EXPIREAT', KEYS[1], ARGV[1])
return rows
"""


class Refusal(NamedTuple):
    """One kind of refusal: the row of a day."""

    status: int
    """401, 403 or 429."""
    reason: str
    """Why: no-token, unknown-token, expired, scope, site, origin, tries."""
    who: str
    """The name of the token, if it was one of ours."""
    network: str
    """The network that asked, as 203.0.113.0/24; never an address."""
    route: str
    """Method and path, as in the table of routes."""
    site: str
    """The site that a token of ours asked for, if there is one."""


OTHERS = Refusal(0, "others", "", "", "", "")
"""Stands for all refusals for which the day has no row left."""


class Refused(NamedTuple):
    """A kind of refusal, and how often it came."""

    refusal: Refusal
    times: int
    last_ms: int


class RefusalRows:
    """The rows in the store. Every method may raise StoreUnavailable."""

    def __init__(self, client: Redis) -> None:
        self._client = client
        self._add = client.register_script(_ADD)

    async def add(self, day: str, found: Mapping[Refusal, tuple[int, int]]) -> None:
        """Add refusals of a day (UTC): how often, and the moment of the last time."""
        midnight = datetime.fromisoformat(day).replace(tzinfo=UTC) + timedelta(days=1)
        ends = int(midnight.timestamp()) + keys.REFUSALS_LIFE_MS // 1000
        values: list[Any] = [ends, MOST_ROWS, _field(OTHERS)]
        for refusal, (times, last_ms) in found.items():
            values += [_field(refusal), times, last_ms]
        with translated():
            await self._add(keys=[keys.refusals(day)], args=values)

    async def of(self, today: date, days: int) -> list[Refused]:
        """Return the refusals of the last days (UTC), the latest first."""
        wanted = [(today - timedelta(days=n)).isoformat() for n in range(days)]
        with translated():
            async with self._client.pipeline(transaction=False) as pipe:
                for day in wanted:
                    pipe.hgetall(keys.refusals(day))
                pages: list[dict[bytes, bytes]] = await pipe.execute()
        sums: dict[Refusal, tuple[int, int]] = {}
        for page in pages:
            for raw, value in page.items():
                if found := read_refusal(raw, value):
                    times, last_ms = sums.get(found.refusal, (0, 0))
                    sums[found.refusal] = times + found.times, max(last_ms, found.last_ms)
        rows = [Refused(refusal, *told) for refusal, told in sums.items()]
        return sorted(rows, key=lambda row: (-row.last_ms, row.refusal))


def read_refusal(raw: bytes, value: bytes) -> Refused | None:
    """Read a row; None when it is damaged."""
    told = _VALUE.fullmatch(value)
    try:
        refusal = msgspec.json.decode(raw, type=Refusal)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    return Refused(refusal, int(told[1]), int(told[2])) if told else None


def _field(refusal: Refusal) -> bytes:
    return msgspec.json.encode(refusal)
