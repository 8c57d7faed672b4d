"""The address of a client: the peer's, or what a trusted proxy in front of us says. Parsed strictly, cached, never
stored."""

import re
import secrets
from collections.abc import Iterable, Iterator
from hashlib import blake2b

from visitstats.core.bounded import Bounded
from visitstats.system.networks import Networks, network_of, parse, written

Headers = dict[bytes, bytes]
Client = tuple[str, int]
"""An address in its canonical form, and a number for its network (`networks.network_of`)."""

MOST_HOPS = 20
"""The most hops of a real path; more are an attack (hostile-inputs row 18)."""
CACHE_SIZE, CACHE_BYTES = 32_768, 12 << 20
"""How many clients are remembered: some 350 bytes each, up to 600 where several proxies are named."""
LONGEST_CACHED = 256
UNIX_PEER = ""
"""The peer of a unix socket, which is always a proxy on this machine."""
SECRET_BYTES = 32
LOOPBACK = ("127.0.0.0/8", "::1/128")

X_FORWARDED_FOR = b"x-forwarded-for"
FORWARDED = b"forwarded"
NAMES = {"any": (X_FORWARDED_FOR, FORWARDED), "x-forwarded-for": (X_FORWARDED_FOR,), "forwarded": (FORWARDED,)}
"""Value of the setting `proxy_header` → the headers that may name the client; the first one present counts."""

# An address as proxies write it: bare, with a port (IIS, Azure), IPv6 in brackets.
_PORT = r"(?::(?:[0-9]{1,5}|_[0-9A-Za-z._-]{1,64}))?"
_NODE = re.compile(rf"([0-9.]{{7,15}}){_PORT}|\[([0-9a-fA-F:.]{{2,45}})\]{_PORT}|([0-9a-fA-F:.]{{2,45}})")
# One pair of RFC 7239. Its quoted strings hold no comma or semicolon here, as no address has one: so a quotation mark
# that a client leaves open cannot swallow what the proxy has written behind it.
_PAIR = re.compile(r"[ \t]*([!#$%&'*+.^_`|~0-9A-Za-z-]+)=(?:\"([^\",;\\]*)\"|([!#$%&'*+.^_`|~0-9A-Za-z:\[\]-]+))[ \t]*")


def headers_of(lines: list[tuple[bytes, bytes]]) -> Headers:
    """Return a request's headers by name. Several lines of a forwarding header are one list (RFC 9110, 5.3); of any
    other header the last line counts."""
    headers = dict(lines)
    if len(headers) != len(lines):
        for name in (X_FORWARDED_FOR, FORWARDED):
            if name in headers:
                headers[name] = b",".join([value for other, value in lines if other == name])
    return headers


class ClientAddress:
    """Finds the client's address.

    With `hops` = 0 the proxies of `networks` are believed: the first address from the right that is none of theirs is
    the client. With n hops there are exactly n proxies in front, whatever their addresses: the client is the nth entry
    from the right. `header` is a name of NAMES. The numbers of networks are made with `secret`: processes with the same
    secret agree on them.
    """

    def __init__(
        self, networks: Iterable[str], hops: int = 0, header: str = "any", secret: bytes | None = None
    ) -> None:
        self._secret = secret or secrets.token_bytes(SECRET_BYTES)
        self._proxies = Networks(networks)
        self._unlimited = Networks((*LOOPBACK, *networks))
        self._hops = hops
        self._names = NAMES.get(header, (header.encode(),))
        self._cache: Bounded[tuple[str, bytes, bytes], Client] = Bounded(
            CACHE_SIZE, CACHE_BYTES, lambda asked, client: 400 + len(asked[2])
        )
        self._peers: Bounded[str, Client] = Bounded(CACHE_SIZE)

    def of(self, peer: str, headers: Headers) -> Client:
        """Return the address of a request's client, and its network's number.

        The header is read from its trusted end: the nearest proxy has written the last entry. Anything that is not an
        address ends the search (also "unknown" and hidden names of RFC 7239): entries before it can't be believed.
        """
        for name in self._names:
            value = headers.get(name)
            if value:
                asked = (peer, name, value)
                client = self._cache.young.get(asked) or self._cache.get(asked)
                if client is None:
                    address = self._find(_canonical(peer), name, value)
                    client = address, self._network(address)
                    if len(value) <= LONGEST_CACHED:
                        self._cache.put(asked, client)
                return client
        client = self._peers.young.get(peer) or self._peers.get(peer)
        if client is None:
            address = _canonical(peer)
            client = address, self._network(address)
            self._peers.put(peer, client)
        return client

    def is_proxy(self, peer: str) -> bool:
        """Whether a peer is one of the trusted proxies, which speak for many clients. With `hops` every peer is."""
        return self._hops > 0 or peer == UNIX_PEER or parse(peer) in self._proxies

    def near(self, address: str) -> bool:
        """Whether an address is this machine's or a proxy's, or the peer is a unix socket: then many people may be
        behind it, and it is not limited."""
        return address == UNIX_PEER or parse(address) in self._unlimited

    def _network(self, address: str) -> int:
        """Return the number of an address's network. It takes 1.5 µs, and is cached with the address."""
        name = network_of(parse(address)) or address.encode("utf-8", "replace")
        return int.from_bytes(blake2b(name, digest_size=8, key=self._secret).digest())

    def _find(self, peer: str, name: bytes, value: bytes) -> str:
        hops = _forwarded(value) if name == FORWARDED else _listed(value)
        if self._hops:
            return _nth(hops, self._hops) or peer
        if peer != UNIX_PEER and parse(peer) not in self._proxies:
            return peer
        client = peer
        for packed in hops:
            if packed is None:
                break
            client = written(packed)
            if packed not in self._proxies:
                break
        return client


def _canonical(peer: str) -> str:
    """Return an address in its canonical form: a socket for both families names an IPv4 client `::ffff:203.0.113.9`.
    Any other text (a unix socket's peer, an address with a zone) stays as it is."""
    packed = parse(peer)
    return peer if packed is None else written(packed)


def _nth(hops: Iterator[bytes | None], number: int) -> str:
    """The nth address from the right; "" when there are fewer, or one of them is not an address."""
    for packed in hops:
        number -= 1
        if packed is None:
            return ""
        if not number:
            return written(packed)
    return ""


def _listed(value: bytes) -> Iterator[bytes | None]:
    """The entries of X-Forwarded-For from the right: an address, or None for anything else."""
    for hop in _from_the_right(value):
        yield _node(hop.strip(" \t"))


def _forwarded(value: bytes) -> Iterator[bytes | None]:
    """The entries of Forwarded (RFC 7239) from the right: the address in `for`, or None for anything else."""
    for hop in _from_the_right(value):
        found: list[str] = []
        for text in hop.split(";"):
            pair = _PAIR.fullmatch(text)
            if pair is None:
                found = []
                break
            if pair[1].lower() == "for":
                found.append(pair[3] if pair[2] is None else pair[2])
        yield _node(found[0]) if len(found) == 1 else None


def _from_the_right(value: bytes) -> list[str]:
    return value.decode("latin-1").rsplit(",", MOST_HOPS)[: -MOST_HOPS - 1 : -1]


def _node(text: str) -> bytes | None:
    found = _NODE.fullmatch(text)
    return parse(found[1] or found[2] or found[3]) if found else None
