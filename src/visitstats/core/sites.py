"""The record of a site, valid by construction.

The field names are frozen: records are stored as JSON and read back by later versions.
"""

import re
from typing import Literal
from zoneinfo import ZoneInfo

import msgspec

from visitstats.core.errors import InvalidSite

# An id becomes part of a Redis key, a metric label and a route, so its grammar is narrow (bad-inputs row 12).
SITE_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
# A host as stored: lower case, IDNA (ASCII), no port, no leading www./m.; or a bare IPv4/IPv6 address.
HOST = re.compile(r"[a-z0-9]([a-z0-9_.-]{0,251}[a-z0-9])?|\[?[0-9a-f:]{2,45}\]?")

DEFAULT_TIMEZONE = "Asia/Ho_Chi_Minh"
# Load class M of the portals' table; beyond it an article is counted as "(other)".
DEFAULT_MAX_ARTICLES = 300_000


class Site(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One portal. Times and periods of its numbers are in `timezone`; `hosts` are folded (`core.keys.fold_host`)."""

    id: str
    name: str = ""
    hosts: tuple[str, ...] = ()
    timezone: str = DEFAULT_TIMEZONE
    week_start: int = 1
    """ISO weekday on which a week begins: 1 is Monday, 7 is Sunday."""
    box: Literal["visits", "views"] = "visits"
    """What the box counts (rule 7)."""
    views: Literal["per-visit", "every-load"] = "per-visit"
    """When a view counts (rule 5)."""
    use_canonical: bool = False
    """Whether a same-site canonical link names the article (section 6)."""
    ignore_case: bool = False
    id_params: tuple[str, ...] = ()
    """When given, only these query parameters are part of the key."""
    extra_drop_params: tuple[str, ...] = ()
    missing_origin: Literal["allow", "refuse"] = "allow"
    count_headless: bool = False
    """Whether headless browsers count as readers: for demonstrations and for tests of the portal itself."""
    max_articles: int = DEFAULT_MAX_ARTICLES

    def __post_init__(self) -> None:
        if not SITE_ID.fullmatch(self.id):
            raise InvalidSite(f"site id {self.id[:70]!r}: use 1 to 63 of a-z, 0-9 and '-', not '-' first")
        if not self.hosts:
            raise InvalidSite(f"site {self.id}: at least one host is needed, as in --host portal.example.vn")
        for host in self.hosts:
            if not HOST.fullmatch(host):
                raise InvalidSite(f"site {self.id}: {host[:260]!r} is not a host name or an address")
        try:
            ZoneInfo(self.timezone)
        except (KeyError, ValueError, OSError) as error:
            raise InvalidSite(f"site {self.id}: unknown time zone {self.timezone[:60]!r}") from error
        if not 1 <= self.week_start <= 7:
            raise InvalidSite(f"site {self.id}: week_start is 1 (Monday) to 7 (Sunday), not {self.week_start}")
        if not 1 <= self.max_articles <= 10_000_000:
            raise InvalidSite(f"site {self.id}: max_articles is 1 to 10000000, not {self.max_articles}")
