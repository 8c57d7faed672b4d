"""Who reads the demo portal: visitors as data, drawn from a random generator that the caller owns.

Nothing here waits or sends (that is `traffic`); a visitor is complete before the first hit, so the same generator state
gives the same visitor whatever the network does. Addresses are from the ranges kept for documentation (RFC 5737,
RFC 3849): no reader's real address can be among them.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Address, IPv6Network

from visitstats.demo.articles import Article

# Most readers come over IPv6, each in a /64 of its own, as on Vietnamese mobile networks; the IPv4 ranges are only
# three /24s, and a service that limits by network would take a crowd of theirs for one noisy office.
IPV4_RANGES = tuple(IPv4Network(text) for text in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24"))
IPV6_RANGE = IPv6Network("2001:db8::/32")
IPV6_SHARE = 0.75

BOT_SHARE = 0.08
MOST_ARTICLES = 5
# How many articles a visitor reads: weights of 1, 2, … MOST_ARTICLES.
_ARTICLES_READ = (45, 25, 15, 10, 5)

# Reading times in seconds, log-normal: the median reader stays 40 s, one in ten over two minutes (heartbeats).
_MEDIAN_SECONDS = 40.0
_SPREAD = 0.9
_SHORTEST, _LONGEST = 4.0, 400.0

_KHTML = "AppleWebKit/537.36 (KHTML, like Gecko)"
_WINDOWS = f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {_KHTML}"
_IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko)"
_ANDROID = f"Mozilla/5.0 (Linux; Android 13; SM-A536E Build/TP1A.220624.014; wv) {_KHTML}"

# Agent → how many of a hundred readers use it.
BROWSERS = {
    f"{_WINDOWS} Chrome/126.0.0.0 Safari/537.36": 24,
    f"Mozilla/5.0 (Linux; Android 10; K) {_KHTML} Chrome/126.0.0.0 Mobile Safari/537.36": 20,
    f"{_WINDOWS} coc_coc_browser/127.0.186 Chrome/121.0.6167.186 Safari/537.36": 14,
    f"{_IPHONE} Version/17.5 Mobile/15E148 Safari/604.1": 12,
    f"{_ANDROID} Version/4.0 Chrome/125.0.6422.165 Mobile Safari/537.36 Zalo android/12110710 ZaloTheme/light": 12,
    f"{_IPHONE} Mobile/15E148 Zalo iOS/601 ZaloTheme/light ZaloLanguage/vn": 6,
    f"{_IPHONE} Mobile/15E148 [FBAN/FBIOS;FBAV/468.0.0.36.102;FBDV/iPhone14,5;FBLC/vi_VN]": 5,
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:127.0) Gecko/20100101 Firefox/127.0": 4,
    f"{_WINDOWS} Chrome/126.0.0.0 Safari/537.36 Edg/126.0.0.0": 3,
}
BOTS = (
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)",
    "Mozilla/5.0 (compatible; coccocbot-web/1.0; +http://help.coccoc.com/searchengine)",
    "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)",
)
# Where a reader comes from; "" is a typed address, or a page that sends no referrer.
_REFERRERS = ("", "https://www.google.com/", "https://coccoc.com/", "https://l.facebook.com/", "https://zalo.me/")

# The alphabet of the widget's ids; 22 of these are 110 bits.
_ID_ALPHABET = "0123456789abcdefghijklmnopqrstuv"
_ID_LENGTH = 22


@dataclass(frozen=True, slots=True)
class Reading:
    """One article on a visitor's way: how long it stays open, in seconds, and the id of its hit."""

    article: Article
    seconds: float
    hit_id: str


@dataclass(frozen=True, slots=True)
class Visitor:
    """One reader, or one bot, from the first page to the last."""

    address: str
    agent: str
    visit_id: str
    referrer: str
    readings: tuple[Reading, ...]
    is_bot: bool


def next_gap(rng: random.Random, per_minute: float) -> float:
    """Seconds until the next visitor of a Poisson process."""
    return rng.expovariate(per_minute / 60)


def draw_visitor(rng: random.Random, articles: Sequence[Article]) -> Visitor:
    """A visitor who reads 1 to 5 different articles, the first of `articles` most often (Zipf)."""
    is_bot = rng.random() < BOT_SHARE
    count = rng.choices(range(1, MOST_ARTICLES + 1), _ARTICLES_READ)[0]
    readings = tuple(
        Reading(article, _bot_seconds(rng) if is_bot else _reading_seconds(rng), _draw_id(rng))
        for article in _zipf_sample(rng, articles, count)
    )
    return Visitor(
        address=_draw_address(rng),
        agent=rng.choice(BOTS) if is_bot else rng.choices(tuple(BROWSERS), tuple(BROWSERS.values()))[0],
        visit_id=_draw_id(rng),
        referrer="" if is_bot else rng.choice(_REFERRERS),
        readings=readings,
        is_bot=is_bot,
    )


def _zipf_sample(rng: random.Random, articles: Sequence[Article], count: int) -> list[Article]:
    left = dict(enumerate(articles, start=1))
    chosen: list[Article] = []
    while left and len(chosen) < count:
        rank = rng.choices(tuple(left), [1 / rank for rank in left])[0]
        chosen.append(left.pop(rank))
    return chosen


def _reading_seconds(rng: random.Random) -> float:
    return min(max(_MEDIAN_SECONDS * rng.lognormvariate(0, _SPREAD), _SHORTEST), _LONGEST)


def _bot_seconds(rng: random.Random) -> float:
    return rng.uniform(0.5, 3)


def _draw_address(rng: random.Random) -> str:
    if rng.random() < IPV6_SHARE:
        return str(IPv6Address(int(IPV6_RANGE.network_address) | rng.getrandbits(128 - IPV6_RANGE.prefixlen)))
    network = rng.choice(IPV4_RANGES)
    return str(network[rng.randrange(1, network.num_addresses - 1)])


def _draw_id(rng: random.Random) -> str:
    return "".join(rng.choices(_ID_ALPHABET, k=_ID_LENGTH))
