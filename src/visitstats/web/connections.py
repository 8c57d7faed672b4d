"""What a connection may take: the size of its headers, the time for a request, and how many of one address may be
silent (hostile-inputs rows 2 to 4). `web/protocol.py` asks.

A browser and a proxy send a request as soon as they have connected, and all of it at once. Who does not is slow, or
wants to keep others out; nothing of it is counted, and it must not take what others need.
"""

LONGEST_HEAD = 131_072
"""Bytes of a request's headers. Chrome's are 1 KB; where we share a portal's host, its cookies may add 8. A single one
that is absurdly long is cut where it is read (hostile-inputs row 17) and does not cost its sender the hit."""
MOST_HEADERS = 100
LONGEST_BODY = 1024 * 1024
"""Bytes behind the headers, with whatever is between the chunks of a body and behind it. Routes take less."""
REQUEST_SECONDS = 15.0
"""For a whole request: the first of a connection from when that was opened, a later one from its first byte. It is
looked at as often, so that one may have up to twice as long."""
SILENT_SECONDS = 2.0
"""After so long without a whole request a connection is silent. Browsers open some ahead, and a crowd that comes in one
moment is accepted before it is read."""
LOOK_AGAIN_SECONDS = 0.1
MOST_SILENT = 100
"""Silent connections of one address, in a worker."""


class HeadTooLarge(Exception):
    """A request's headers are more, or longer, than any browser's."""


class SilentPeers:
    """How many silent connections each address has; as many entries as there are such connections, at most."""

    def __init__(self) -> None:
        self._open: dict[str, int] = {}

    def admit(self, address: str) -> bool:
        """Note one more silent connection of an address, if that may have another."""
        count = self._open.get(address, 0)
        if count >= MOST_SILENT:
            return False
        self._open[address] = count + 1
        return True

    def leave(self, address: str) -> None:
        """Forget one that was admitted: it has sent a request, or is closed."""
        count = self._open[address] - 1
        if count:
            self._open[address] = count
        else:
            del self._open[address]


def check_head(headers: list[tuple[bytes, bytes]]) -> None:
    """Raise HeadTooLarge for headers that are too many or too long."""
    if len(headers) > MOST_HEADERS or sum(len(name) + len(value) + 4 for name, value in headers) > LONGEST_HEAD:
        raise HeadTooLarge
