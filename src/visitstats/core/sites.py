"""The record of a site, valid by construction.

The field names are frozen: records are stored as JSON and read back by later versions.
"""

import difflib
import re
from ipaddress import ip_network
from typing import Literal
from zoneinfo import ZoneInfo, available_timezones

import msgspec

from visitstats.core.errors import HitRejected, InvalidSite
from visitstats.core.exclusions import check_pattern
from visitstats.core.hosts import WILDCARD, fold_pattern
from visitstats.core.presets import PRESETS
from visitstats.core.rewriting import check_rules

# An id becomes part of a Redis key, a metric label and a route, so its grammar is narrow (hostile-inputs row 12).
SITE_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")

DEFAULT_TIMEZONE = "Asia/Ho_Chi_Minh"
# Load class M of the portals' table; beyond it an article is counted as "(other)".
DEFAULT_MAX_ARTICLES = 300_000
# On the day on which a large portal begins to count, all of its articles are new within minutes, and none of them may
# be cut off; made-up addresses still need five minutes to reach the cap above, in which the metric says so.
DEFAULT_NEW_ARTICLES_PER_MINUTE = 60_000
# The largest networks that read a portal at once: a school of 2,000 with a phone each behind one address; and, in an
# event of 60,000 online on load class M, a /24 or /48 of a mobile provider, whose gateways have a hundred of them: 600
# at a time, 1,800 in half an hour. A script that makes up visit ids, agents or addresses (hostile-inputs rows 20 and
# 22) does not get further than such a school.
DEFAULT_VISITORS_PER_NETWORK = 2000
# Load class M of the portals' table reads two million pages a day. Beyond it visitors are not told apart.
DEFAULT_MAX_VISITORS = 1_000_000
MOST_OFFICE_NETWORKS = 1000
MOST_EXCLUDED_PATHS = 100
MOST_SECRETS = 3


class Site(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One portal. Times and periods of its numbers are in `timezone`; `hosts` are folded (`hosts.fold_pattern`)."""

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
    """When not empty, only these query parameters are part of the key."""
    extra_drop_params: tuple[str, ...] = ()
    hash_routes: bool = False
    """Whether `#/…` in an address is a page of its own (rule 5 of keys)."""
    preset: tuple[str, ...] = ()
    """Names of `core.presets`, in the order in which their rules are applied."""
    rules: tuple[tuple[str, str], ...] = ()
    """Rewrite rules of its own, (pattern, template), applied in order and before those of the presets."""
    missing_origin: Literal["allow", "refuse"] = "allow"
    null_origin: Literal["allow", "refuse"] = "refuse"
    """Beacons with `Origin: null`: pages in a sandboxed frame, and files."""
    signatures: Literal["off", "prefer", "require"] = "off"
    """Whether the portal signs its articles (`core.signing`): what is signed is believed; with "require" what is not
    signed counts for the site alone, as "(other)"."""
    signing_secrets: tuple[str, ...] = ()
    """The secrets with which signatures are made, the newest first. Each is shown once, when it is made."""
    archived: bool = False
    """Nothing is counted any more; the numbers are still answered."""
    shared_hosts: bool = True
    """Whether its hosts may belong to other sites as well: portals below paths of one host."""
    show_search_engines: bool = False
    """Whether the public numbers say how many pages search engines have read today: the line "Máy chủ tìm kiếm"."""
    publish_top: bool = False
    """Whether everybody may read which articles are read most ("Xem nhiều")."""
    count_headless: bool = False
    """Whether headless browsers count as readers: for demonstrations and for tests of the portal itself."""
    max_articles: int = DEFAULT_MAX_ARTICLES
    new_articles_per_minute: int = DEFAULT_NEW_ARTICLES_PER_MINUTE
    """In each worker (`visitstats.newcomers`); what is read beyond it counts as "(other)"."""
    office_networks: tuple[str, ...] = ()
    """Networks that are not limited, as 10.20.0.0/16: many readers behind few addresses."""
    excluded_networks: tuple[str, ...] = ()
    """Networks whose hits are not counted (reason "excluded"): those of the people who make the portal."""
    excluded_paths: tuple[str, ...] = ()
    """Pages that are not counted, as /admin/* (`core.exclusions`)."""
    visitors_per_network: int = DEFAULT_VISITORS_PER_NETWORK
    """Visitors of one network in half an hour that are told apart (rule 1); 0 for all."""
    max_visitors: int = DEFAULT_MAX_VISITORS
    """Visitors of a day that are told apart: what bounds the store's memory (`docs/security.md`)."""

    def __post_init__(self) -> None:
        if not SITE_ID.fullmatch(self.id):
            raise InvalidSite(f"site id {self.id[:70]!r}: use 1 to 63 of a-z, 0-9 and '-', not '-' first")
        if not self.hosts:
            raise InvalidSite(f"site {self.id}: at least one host is needed, as in --host portal.example.vn")
        for host in self.hosts:
            if host != (folded := _folded(self.id, host)):
                raise InvalidSite(f"site {self.id}: {host!r} is written {folded!r} in a record")
        for name in self.preset:
            if name not in PRESETS:
                raise InvalidSite(f"site {self.id}: there is no preset {name[:40]!r}; there are {', '.join(PRESETS)}")
        try:
            check_rules(self.rules)
        except InvalidSite as error:
            raise InvalidSite(f"site {self.id}: {error}") from error
        try:
            ZoneInfo(self.timezone)
        except (KeyError, ValueError, OSError) as error:
            meant = _zone_meant(self.timezone)
            raise InvalidSite(
                f"site {self.id}: unknown time zone {self.timezone[:60]!r}; "
                + (f"did you mean {meant}?" if meant else f"names are such as {DEFAULT_TIMEZONE}")
            ) from error
        if not 1 <= self.week_start <= 7:
            raise InvalidSite(f"site {self.id}: week_start is 1 (Monday) to 7 (Sunday), not {self.week_start}")
        if not 1 <= self.max_articles <= 10_000_000:
            raise InvalidSite(f"site {self.id}: max_articles is 1 to 10000000, not {self.max_articles}")
        if not 1 <= self.new_articles_per_minute <= 1_000_000:
            raise InvalidSite(
                f"site {self.id}: new_articles_per_minute is 1 to 1000000, not {self.new_articles_per_minute}"
            )
        if not 0 <= self.visitors_per_network <= 1_000_000:
            raise InvalidSite(f"site {self.id}: visitors_per_network is 0 to 1000000, not {self.visitors_per_network}")
        if self.signatures != "off" and not self.signing_secrets:
            raise InvalidSite(f"site {self.id}: it has no secret to sign with; make one first: site sign {self.id}")
        if len(self.signing_secrets) > MOST_SECRETS or any(len(text) < 32 for text in self.signing_secrets):
            raise InvalidSite(f"site {self.id}: at most {MOST_SECRETS} secrets, of 32 characters or more each")
        if not 1 <= self.max_visitors <= 100_000_000:
            raise InvalidSite(f"site {self.id}: max_visitors is 1 to 100000000, not {self.max_visitors}")
        for kind, networks in (("office", self.office_networks), ("excluded", self.excluded_networks)):
            if len(networks) > MOST_OFFICE_NETWORKS:
                raise InvalidSite(f"site {self.id}: at most {MOST_OFFICE_NETWORKS} {kind} networks")
            for network in networks:
                _check_network(self.id, network)
        if len(self.excluded_paths) > MOST_EXCLUDED_PATHS:
            raise InvalidSite(f"site {self.id}: at most {MOST_EXCLUDED_PATHS} excluded paths")
        try:
            for pattern in self.excluded_paths:
                check_pattern(pattern)
        except InvalidSite as error:
            raise InvalidSite(f"site {self.id}: {error}") from error

    @property
    def main_host(self) -> str:
        """The host under which its pages are found when an address has none; "" when it has patterns alone."""
        return next((host for host in self.hosts if not host.startswith(WILDCARD)), "")


def _check_network(site: str, network: str) -> None:
    try:
        meant = str(ip_network(network, strict=False))
    except ValueError as error:
        raise InvalidSite(f"site {site}: {network[:60]!r} is no network such as 10.20.0.0/16") from error
    if network != meant:
        raise InvalidSite(f"site {site}: {network[:60]!r} is written {meant!r} in a record")


def _folded(site: str, host: str) -> str:
    try:
        return fold_pattern(host)
    except HitRejected as error:
        raise InvalidSite(f"site {site}: {error}") from error


VIETNAMESE = re.compile(r"(asia/)?(ha ?noi|viet ?nam|vn|ho ?chi ?minh( city)?|sai ?gon|ict|(utc|gmt)? ?\+?0?7(:00)?)")
"""What people write for Vietnam's zone."""


def _zone_meant(written: str) -> str:
    """Return the name of the zone that is most like what was written; empty for none."""
    text = written[:60].strip().lower().replace("_", " ").replace("-", " ")
    if VIETNAMESE.fullmatch(text):
        return DEFAULT_TIMEZONE
    names = {name.lower().replace("_", " ").replace("-", " "): name for name in sorted(available_timezones())}
    cities = {name.rpartition("/")[2]: zone for name, zone in names.items()}
    near = difflib.get_close_matches(text, [*names, *cities], n=1, cutoff=0.75)
    return (names | cities)[near[0]] if near else ""
