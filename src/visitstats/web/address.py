"""The address of a client: the peer's, or what a trusted proxy in front of us says. Parsed strictly, cached, never stored."""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from visitstats.core.bounded import Bounded

MOST_HOPS = 20
"""More hops than this are an attack, not a way (bad-inputs row 18)."""
CACHE_SIZE = 8192
UNIX_PEER = ""
"""The peer of a unix socket: it is a proxy on this machine, or there would be no such socket."""


class ClientAddress:
    """Finds the client's address; `networks` are those of the proxies that are believed."""

    def __init__(self, networks: tuple[str, ...]) -> None:
        self._networks = tuple(ip_network(network) for network in networks)
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
        address = self._cache.get(name)
        if address is None:
            address = self._find(peer, forwarded_for)
            if len(forwarded_for) <= 256:
                self._cache.put(name, address)
        return address

    def _find(self, peer: str, forwarded_for: bytes) -> str:
        if peer != UNIX_PEER and not self._trusted(_parse(peer)):
            return peer
        client = peer
        hops = forwarded_for.split(b",")
        for hop in reversed(hops[-MOST_HOPS:]):
            address = _parse(hop.strip().decode("latin-1"))
            if address is None:
                break
            client = str(address)
            if not self._trusted(address):
                break
        return client

    def _trusted(self, address: IPv4Address | IPv6Address | None) -> bool:
        return address is not None and any(address in network for network in self._networks)


def _parse(text: str) -> IPv4Address | IPv6Address | None:
    if len(text) > 45 or "%" in text:
        return None
    try:
        address = ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
