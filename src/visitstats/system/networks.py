"""Network addresses as bytes: strict parsing, and the networks to which they belong.

All functions work on the 4 or 16 bytes of an address. Parsing takes 0.15 µs here and 1.8 with `ipaddress`, which would
matter for a hit from an address that is not in the cache.
"""

import socket
from collections.abc import Iterable
from ipaddress import ip_network

_MAPPED = bytes(10) + b"\xff\xff"
LONGEST = 45
"""Characters of the longest address: IPv6 whose last 4 bytes are written as IPv4."""


class Networks:
    """A set of networks, as `10.1.0.0/16` or `2001:db8::/32`. Raises ValueError for anything else."""

    __slots__ = ("_rows",)

    def __init__(self, networks: Iterable[str]) -> None:
        # (bytes of an address, bits of the host part, what the rest must be)
        self._rows = tuple(
            (network.max_prefixlen // 8, host_bits, int(network.network_address) >> host_bits)
            for network in map(ip_network, networks)
            for host_bits in (network.max_prefixlen - network.prefixlen,)
        )

    def __contains__(self, packed: bytes | None) -> bool:
        """Whether an address, as its bytes, is in one of the networks; None (no address) never is."""
        if packed is None or not self._rows:
            return False
        number, size = int.from_bytes(packed), len(packed)
        return any(length == size and number >> host_bits == network for length, host_bits, network in self._rows)


def parse(text: str) -> bytes | None:
    """Return the 4 or 16 bytes of an address, None for anything else; an IPv4 address within IPv6 is an IPv4 address.
    0.15 µs."""
    if len(text) > LONGEST:
        return None
    try:
        if ":" not in text:
            return socket.inet_pton(socket.AF_INET, text)
        packed = socket.inet_pton(socket.AF_INET6, text)
    except (OSError, ValueError):
        return None
    return packed[12:] if packed.startswith(_MAPPED) else packed


def written(packed: bytes) -> str:
    """Return the one spelling of an address."""
    return socket.inet_ntop(socket.AF_INET if len(packed) == 4 else socket.AF_INET6, packed)


IPV6_NETWORK = 6
"""How many bytes of an IPv6 address name its network: a /48, the most that one customer of a provider has."""


def network_of(packed: bytes | None) -> bytes:
    """Return the network of an address: its /24 (IPv4) or its /48 (IPv6), the most that one customer of a provider has;
    b"" for None."""
    if packed is None:
        return b""
    return packed[:3] if len(packed) == 4 else packed[:IPV6_NETWORK]
