"""Finds out that a proxy stands in front which is not in `trusted_proxies`: then all readers are one network.

What such a peer says in a forwarding header is not believed, for anybody may say it. But many different readers, said
by one peer, are a proxy's, or somebody's who plays one; it is told once, and nothing else comes of it.
"""

import logging
from collections.abc import Callable

from visitstats.core.bounded import Bounded
from visitstats.web.beacons.address import FORWARDED, X_FORWARDED_FOR, Headers

log = logging.getLogger(__name__)

PEERS = 64
READERS = 20
"""So many different readers of one peer are a proxy's."""


class UnnamedProxies:
    """Looks at hits whose reader's address is the peer's own. `tell` is told the peer, once."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._said: Bounded[str, set[int]] = Bounded(PEERS)
        self.told = False
        """Nothing more is looked at."""

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
