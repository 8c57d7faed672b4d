"""The hits of made-up readers, as a reverse proxy hands them to the service: who reads what, and the bytes of it.

`load.lua` plays the same readers for wrk. A site is reached under the host `SITE.example`.
"""

import itertools
import random
from collections import deque
from collections.abc import Iterator
from typing import Literal

import msgspec

Hit = tuple[int, int]
"""(visitor, article), by their numbers."""

AGENTS = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36"
    " Edg/141.0.0.0",
    "Mozilla/5.0 (Linux; Android 14; SM-A155F) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Mobile"
    " Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6"
    " Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (Linux; Android 13; CPH2473; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/140.0.0.0"
    " Mobile Safari/537.36 Zalo android/25090678 ZaloTheme/light ZaloLanguage/vi",
    "Mozilla/5.0 (X11; Linux x86_64; rv:144.0) Gecko/20100101 Firefox/144.0",
)

# What Chrome 142 sends with fetch(…, {keepalive: true}) and a text/plain body, seen through a reverse proxy.
HEADERS = "\r\n".join(
    (
        "Host: {host}",
        "X-Forwarded-Proto: https",
        'sec-ch-ua: "Chromium";v="142", "Google Chrome";v="142", "Not_A Brand";v="99"',
        'sec-ch-ua-platform: "Windows"',
        "sec-ch-ua-mobile: ?0",
        "Accept: */*",
        "Origin: https://{host}",
        "Sec-Fetch-Site: same-origin",
        "Sec-Fetch-Mode: cors",
        "Sec-Fetch-Dest: empty",
        "Referer: https://{host}/",
        "Accept-Encoding: gzip, deflate, br, zstd",
        "Accept-Language: vi-VN,vi;q=0.9,en;q=0.8",
        "Content-Type: text/plain;charset=UTF-8",
    )
)

REPEAT = 100
"""One hit in so many is delivered twice, as a browser or a proxy that retries does; it must count once."""
NEW_READER = 0.35
"""Share of a portal's hits that begin a visit: about three pages a visit."""
RECENT = 500
"""The other hits come from so many readers who came last."""

Order = Literal["portal", "known", "new-visitors", "new-articles", "new-both"]


class Plan(msgspec.Struct, frozen=True):
    """Who reads what on a site. Numbers are those from the first of a range up to, without, its second.

    portal        readers come one after the other and read some pages; articles by Zipf's law
    known         any visitor of the range reads any article of the range
    new-visitors  each visitor of the range once, in turn, and any article of the range
    new-articles  each article of the range once, in turn, read by any visitor of the range
    new-both      each visitor of its range and each article of its range once, in turn
    """

    site: str
    order: Order
    visitors: tuple[int, int]
    articles: tuple[int, int]
    seed: int


def host_of(site: str) -> str:
    return f"{site}.example"


def key_of(article: int) -> str:
    """The article's key: its path, as rule 1 of docs/keys.md makes it."""
    return f"/vi/news/tin-tuc-su-kien/tin-so-{article}.html"


def hits(plan: Plan) -> Iterator[Hit]:
    """The readers' hits without end (those of a range in turn end with the range)."""
    chance = random.Random(plan.seed)
    low, high = plan.visitors
    first, last = plan.articles
    if plan.order == "portal":
        yield from _portal(plan, chance)
    elif plan.order == "known":
        while True:
            yield chance.randrange(low, high), chance.randrange(first, last)
    elif plan.order == "new-visitors":
        for visitor in range(low, high):
            yield visitor, chance.randrange(first, last)
    elif plan.order == "new-articles":
        for article in range(first, last):
            yield chance.randrange(low, high), article
    else:
        yield from zip(range(low, high), range(first, last), strict=True)


def _portal(plan: Plan, chance: random.Random) -> Iterator[Hit]:
    articles = range(*plan.articles)
    weights = list(itertools.accumulate(1 / (n + 1) for n in range(len(articles))))
    recent: deque[int] = deque(maxlen=RECENT)
    fresh = itertools.cycle(range(*plan.visitors))
    while True:
        for article in chance.choices(articles, cum_weights=weights, k=1000):
            if not recent or chance.random() < NEW_READER:
                recent.append(next(fresh))
                visitor = recent[-1]
            else:
                visitor = chance.choice(recent)
            yield visitor, article


def requests(plan: Plan) -> Iterator[tuple[Hit, bytes]]:
    """Each hit of the plan with the request that delivers it; under `portal` and `known` some are delivered twice."""
    twice = plan.order in ("portal", "known")
    write = _writer(plan)
    for number, hit in enumerate(hits(plan), start=1):
        request = write(number, hit)
        yield hit, request
        if twice and number % REPEAT == 0:
            yield hit, request


class _writer:
    """Writes the requests of one plan; what does not change is written once."""

    def __init__(self, plan: Plan) -> None:
        host = host_of(plan.site)
        self._heads = [
            f"POST /v1/sites/{plan.site}/hit HTTP/1.1\r\n{HEADERS.format(host=host)}\r\nUser-Agent: {agent}"
            for agent in AGENTS
        ]
        self._page = f"https://{host}/vi/news/"
        # Hit ids of different plans must differ, too.
        self._prefix = f"{random.Random(repr(plan)).getrandbits(64):016x}"

    def __call__(self, number: int, hit: Hit) -> bytes:
        v, a = hit
        # 198.18.0.0/15 is set aside for benchmarks (RFC 2544): public to a parser, nobody's in truth.
        address = f"198.{18 + (v >> 16 & 1)}.{v >> 8 & 255}.{v & 255}"
        body = (
            f'{{"u":"{self._page}tin-tuc-su-kien/tin-so-{a}.html",'
            f'"t":"Tin số {a}: Sở Thông tin và Truyền thông sơ kết công tác sáu tháng đầu năm",'
            f'"r":"{self._page}","v":"{v:08x}{v * 2654435761 % (1 << 32):08x}caf00dcafe{v % 251:06x}",'
            f'"h":"{self._prefix}{number:016x}",'
            '"m":{"author":"Ban Biên tập","category":"Tin tức - Sự kiện","published":"2026-01-05T08:00:00+07:00"}}'
        ).encode()
        head = f"{self._heads[v % len(AGENTS)]}\r\nX-Forwarded-For: {address}\r\nContent-Length: {len(body)}\r\n\r\n"
        return head.encode() + body
