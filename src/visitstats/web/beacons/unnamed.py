"""Detects a proxy that is missing in `trusted_proxies`: through such a proxy, all readers are one network.

The forwarding header of such a peer is not believed, because anybody can send one. But a peer that names many different
readers is a proxy, or pretends to be one; that is logged once, and has no other effect.
"""

import logging
from collections.abc import Callable

from visitstats.core.bounded import Bounded
from visitstats.web.beacons.address import FORWARDED, X_FORWARDED_FOR, Headers

log = logging.getLogger(__name__)

PEERS = 64
READERS = 20
"""A peer that names this many different readers is taken for a proxy."""


class UnnamedProxies:
    """Looks at hits whose reader's address is that of the peer. `tell` is called with the peer, once."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._said: Bounded[str, set[int]] = Bounded(PEERS)
        self.told = False
        """Whether a proxy was found: then nothing more is looked at."""

    def look(self, peer: str, headers: Headers) -> None:
        """Look at one hit. 0.1 µs without a proxy."""
        named = headers.get(X_FORWARDED_FOR) or headers.get(FORWARDED)
        if not named:
            return
        said = self._said.get(peer)
        if said is None:
            said = set()
            self._said.put(peer, said)
        said.add(hash(named))
        if len(said) >= READERS:
            self.told = True
            log.warning(
                "the hits of many readers come from %s, which is not in trusted_proxies: all of them are one network, "
                "with its limits; name your proxy there (docs/settings.md)",
                peer,
            )
            self._tell(peer)
