"""The address of a client: the peer's, or what a trusted proxy in front of us says. Parsed strictly, cached, never
stored."""

import socket
from ipaddress import ip_network

from visitstats.core.bounded import Bounded

MOST_HOPS = 20
"""More hops than this are an attack, not a way (bad-inputs row 18)."""
CACHE_SIZE = 32_768
MAPPED = bytes(10) + b"\xff\xff"
UNIX_PEER = ""
"""The peer of a unix socket: it is a proxy on this machine, or there would be no such socket."""


class ClientAddress:
    """Finds the client's address; `networks` are those of the proxies that are believed."""

    def __init__(self, networks: tuple[str, ...]) -> None:
        parsed = [ip_network(network) for network in networks]
        # (bytes of an address, bits of the host part, what the rest must be)
        self._networks = tuple(
            (network.max_prefixlen // 8, host_bits, int(network.network_address) >> host_bits)
            for network in parsed
            for host_bits in (network.max_prefixlen - network.prefixlen,)
        )
        self._cache: Bounded[tuple[str, bytes], str] = Bounded(CACHE_SIZE)

    def of(self, peer: str, forwarded_for: bytes) -> str:
        """Return the address of who sent a request, in its canonical form.

        `forwarded_for` is the value of X-Forwarded-For (empty for none); it is read from its trusted end: the nearest
        proxy has written the last entry. The first entry that is not a trusted proxy's is the client. Anything that is
        not an address ends the search: what stands before it can't be believed.
        """
        if not forwarded_for:
            return peer
        name = (peer, forwarded_for)
        address = self._cache.young.get(name) or self._cache.get(name)
        if address is None:
            address = self._find(peer, forwarded_for)
            if len(forwarded_for) <= 256:
                self._cache.put(name, address)
        return address

    def _find(self, peer: str, forwarded_for: bytes) -> str:
        if peer != UNIX_PEER:
            packed = parse(peer)
            if packed is None or not self._trusted(packed):
                return peer
        client = peer
        for hop in reversed(forwarded_for.rsplit(b",", MOST_HOPS)[-MOST_HOPS:]):
            packed = parse(hop.strip().decode("latin-1"))
            if packed is None:
                break
            client = socket.inet_ntop(socket.AF_INET if len(packed) == 4 else socket.AF_INET6, packed)
            if not self._trusted(packed):
                break
        return client

    def _trusted(self, address: bytes) -> bool:
        number, size = int.from_bytes(address), len(address)
        return any(length == size and number >> host_bits == network for length, host_bits, network in self._networks)


def parse(text: str) -> bytes | None:
    """Return the 4 or 16 bytes of an address, None for anything else; an IPv4 address within IPv6 is an IPv4 address.

    1 µs; `ipaddress` takes 8, which was a tenth of a hit when addresses outnumber the cache.
    """
    if len(text) > 45:
        return None
    try:
        if ":" not in text:
            return socket.inet_pton(socket.AF_INET, text)
        packed = socket.inet_pton(socket.AF_INET6, text)
    except (OSError, ValueError):
        return None
    return packed[12:] if packed.startswith(MAPPED) else packed
