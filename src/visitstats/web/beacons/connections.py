"""The limits of connections: the size of a request, the time for it and for its answer, how many requests may wait, and
how many connections an address may have (hostile-inputs rows 2 to 6). `web/beacons/requests.py` and
`web/beacons/protocol.py` enforce them.

A browser and a proxy send a request as soon as they have connected, and all of it at once. A client that does not is
slow, or an attacker: it must not use up what others need.
"""

import asyncio
import socket
import struct
from collections.abc import Callable

from visitstats.system.networks import parse

LONGEST_BODY = 1024 * 1024
"""The most bytes after the head, chunk sizes and trailers included. Routes take less."""
MOST_WAITING = 16
"""How many requests may wait on a connection for the one before them; beyond that nothing is read. Browsers and proxies
send the next request only when they have the answer."""
REQUEST_SECONDS = 15.0
"""The time for a whole request: for the first of a connection since it was opened, for a later one since its first
byte. It is checked at this interval, so that a request may take up to twice as long."""
ANSWER_SECONDS = 30.0
"""A connection is cut after the client has taken nothing of an answer for this long."""
SILENT_SECONDS = 2.0
"""A connection that has sent no whole request for this long is silent. It is not zero because browsers open connections
ahead, and a crowd that comes in one moment is accepted before it is read."""
LOOK_AGAIN_SECONDS = 0.1
BEYOND = 64
"""How many connections may be opened in place of others whose files are not free yet."""
SHARE_CLOSED = 16
"""When there is no file for another connection, one in this many is closed: finding them takes a millisecond."""
CLOSED = ("address", "files", "idle", "incomplete", "not-read")
"""The reasons for which we close a connection: its address has enough of them; there are no files, so a new one takes
its place or is refused; it was silent for long; its request was not complete in time; its answer is not taken."""
MOST_SILENT = 100
"""The most silent connections of one address in a worker."""

# Of Linux's struct tcp_info: packets under way, bytes that the other end has acknowledged, bytes not sent yet.
_TCP_INFO = struct.Struct("=24xI92xQ16xI")


class Peers:
    """How many connections each address has, and how many of them are silent; as many entries as there are connections,
    at most. An IPv6 address stands for its /64, which is what one customer of a provider has at least.

    Each address may have `most_of_one` connections in this worker, unless it is `exempt` (a trusted proxy speaks for
    many); 0 is no limit.
    """

    def __init__(self, most_of_one: int = 0, exempt: Callable[[str], bool] = lambda address: False) -> None:
        self.most: int | None = None
        """The most connections of all addresses together, for which the process has files."""
        self.count = 0
        self.closed: Callable[[str], None] = lambda reason: None
        """Is called with the reason when we close a connection (`CLOSED`)."""
        self._most_of_one = most_of_one
        self._exempt = exempt
        self._open: dict[str | bytes, int] = {}
        self._silent: dict[str | bytes, int] = {}

    def limit(self, most: int) -> None:
        """Allow so many connections in all, and one address a quarter of them."""
        self.most = most
        if self._most_of_one:
            self._most_of_one = min(self._most_of_one, max(most // 4, 1))

    @property
    def full(self) -> bool:
        """Whether there are as many connections as there are files for."""
        return self.most is not None and self.count >= self.most

    def open(self, address: str) -> bool:
        """Note one more connection of an address, if that may have another. Some more than `most` are taken while as
        many are being closed for them."""
        if self.most is not None and self.count >= self.most + BEYOND:
            return False
        group = group_of(address)
        if self._open.get(group, 0) >= self._most_of_one > 0 and not self._exempt(address):
            return False
        self.count += 1
        self._open[group] = self._open.get(group, 0) + 1
        return True

    def close(self, address: str) -> None:
        """Count a connection as closed."""
        self.count -= 1
        _take_one(self._open, group_of(address))

    def admit_silent(self, address: str) -> bool:
        """Count a silent connection of an address; False when the address may not have another."""
        group = group_of(address)
        if self._silent.get(group, 0) >= MOST_SILENT:
            return False
        self._silent[group] = self._silent.get(group, 0) + 1
        return True

    def leave_silent(self, address: str) -> None:
        """Count a silent connection no more: it has sent a request, or is closed."""
        _take_one(self._silent, group_of(address))


def _take_one(counts: dict[str | bytes, int], group: str | bytes) -> None:
    left = counts[group] - 1
    if left:
        counts[group] = left
    else:
        del counts[group]


def group_of(address: str) -> str | bytes:
    packed = parse(address.partition("%")[0])
    return address if packed is None else packed[:8]


class Unread:
    """The part of the answers that the client has not taken yet, in our memory or in the kernel's."""

    def __init__(self, transport: asyncio.Transport, now: float) -> None:
        self._transport = transport
        self._waiting, self._taken = _state_of(transport)
        self._since = now

    @property
    def is_any(self) -> bool:
        """Whether there was any unread data at the last look."""
        return self._waiting > 0

    def seconds_left(self, now: float) -> float:
        """Look again; return how many seconds the client still has."""
        waiting, taken = _state_of(self._transport)
        if taken > self._taken or waiting < self._waiting:
            self._since = now
        self._waiting, self._taken = waiting, taken
        return self._since + ANSWER_SECONDS - now


def _state_of(transport: asyncio.Transport) -> tuple[int, int]:
    """Return how many bytes wait for the client to take them, and how many it has taken so far."""
    ours = transport.get_write_buffer_size()
    try:
        found = transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size)
        packets, taken, unsent = _TCP_INFO.unpack(found)
    except (AttributeError, OSError, struct.error):
        # Without Linux or TCP, only our own memory is known.
        return ours, 0
    return ours + unsent + packets, taken
