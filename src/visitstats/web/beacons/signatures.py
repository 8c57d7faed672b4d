"""Checks the signatures of beacons, and remembers the results: an article that is read often is checked once."""

from sys import getsizeof

from visitstats.core.beacon import HitBeacon
from visitstats.core.bounded import Bounded
from visitstats.core.signing import Vouch, vouched
from visitstats.sites.directory import LiveSite

CHECKED, CHECKED_BYTES = 8192, 4 << 20


class Signatures:
    """The checked signatures of one worker."""

    def __init__(self) -> None:
        self._checked: Bounded[tuple[LiveSite, str, str, str, str], tuple[Vouch, int]] = Bounded(
            CHECKED, CHECKED_BYTES, lambda name, _: 300 + sum(map(getsizeof, name[1:]))
        )

    def vouch(self, live: LiveSite, beacon: HitBeacon, now_ms: int) -> Vouch:
        """Return what a beacon's signature says at a moment. Nothing for a site without secrets."""
        if not beacon.signature or live.site.signatures == "off":
            return Vouch.NOTHING
        title, author = beacon.told[0], beacon.told[1]
        name = (live, beacon.signature, beacon.explicit_key, title, author)
        found = self._checked.get(name)
        if found is None:
            site = live.site
            found = vouched(
                site.signing_secrets, site.id, beacon.explicit_key, beacon.title, beacon.author, beacon.signature,
                now_ms // 1000,
            )  # fmt: skip
            if len(title) + len(author) <= 1000:
                self._checked.put(name, found)
        vouch, expires = found
        return vouch if now_ms < expires * 1000 else Vouch.NOTHING
