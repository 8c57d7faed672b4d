"""Made-up readers of several portals over several days, in the order of time: what they are and what they send.

It shares no code with visitstats: whoever makes an article's addresses knows which article they are of, and says so in
the spelling of `docs/keys.md`. People have sessions and pages of very uneven popularity (zipf); they sit behind home
connections, mobile providers and offices, with a visit id or without; they read over midnight, come back after exactly
30 minutes, and send some beacons twice. Beside them come bots, prefetches and beacons that are no good.
"""

from __future__ import annotations

import heapq
import random
import unicodedata
from bisect import bisect
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from itertools import accumulate, count
from urllib.parse import quote
from zoneinfo import ZoneInfo

MINUTE = 60_000
HALF_HOUR = 30 * MINUTE
ARTICLES = 6000
OFFICE = "203.0.113.0/24"
"""The one network that sites list as an office: thousands of readers, few addresses, three browsers."""
PAGES_PER_ARRIVAL = 2.83
"""Beacons of pages per arrival, measured: how many arrivals make so many hits."""
FLOODS_FROM = "198.18.{}.{}"


@dataclass(frozen=True)
class Portal:
    """A site, as its operator sets it up."""

    id: str
    zone: str
    weight: int
    options: dict[str, object] = field(default_factory=dict)

    @property
    def host(self) -> str:
        return f"{self.id}.example.vn"


PORTALS = (
    Portal("bac-ha", "Asia/Ho_Chi_Minh", 40, {"preset": ["nukeviet"]}),
    Portal("hue", "Asia/Ho_Chi_Minh", 20, {"views": "every-load"}),
    Portal("kathmandu", "Asia/Kathmandu", 15),  # UTC+5:45
    Portal("new-york", "America/New_York", 10, {"week_start": 7}),  # 4 November 2040 has 25 hours
    Portal("tokyo", "Asia/Tokyo", 10, {"max_articles": 200}),
    Portal("archive", "Asia/Ho_Chi_Minh", 3, {"archived": True}),
)

BROWSERS = tuple(
    template.format(version)
    for template in (
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{0}.0.0.0 "
        "Safari/537.36",
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:{0}.0) Gecko/20100101 Firefox/{0}.0",
        "Mozilla/5.0 (Linux; Android 14; SM-A546E) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/{0}.0.0.0 "
        "Mobile Safari/537.36 Zalo android/24060001 ZaloTheme/light",
        "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 "
        "[FBAN/FBIOS;FBAV/{0}.0.0.34;FBDV/iPhone14,5;FBLC/vi_VN]",
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) coc_coc_browser/{0}.0.0 "
        "Chrome/{0}.0.0.0 Safari/537.36",
    )
    for version in range(120, 128)
)
BOTS = (
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)",
    "Mozilla/5.0 (compatible; coccocbot-web/1.0; +http://help.coccoc.com/searchengine)",
    "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)",
    "ZaloBot/1.0",
    "curl/8.5.0",
    "python-requests/2.32.3",
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/126.0.0.0 Safari/537.36",
)


@dataclass(frozen=True, slots=True)
class Beacon:
    """What is sent, and who sends it."""

    ms: int
    portal: Portal
    kind: str
    """hit, pixel or alive."""
    address: str
    agent: str
    visit_id: str
    hit_id: str = ""
    url: str = ""
    explicit_key: str = ""
    article: str = ""
    """The key of what is read, by the rules of docs/keys.md."""
    asks_not_to_be_followed: bool = False
    headers: tuple[tuple[str, str], ...] = ()
    webdriver: bool = False
    no_reader: str = ""
    """Why this is nobody who reads: one of the reasons of docs/counting.md, rule 8."""
    flood: bool = False
    """One of very many from one network in the same moment."""
    raw: bytes = b""
    """Sent instead of a beacon, when it is to be none."""


@dataclass(slots=True)
class _Person:
    address: str
    agent: str
    storage: str
    """kept: a visit id that the widget forgets after 30 minutes; for-ever; none; not-followed; pixel."""
    visit_id: str = ""
    last_sign: int = 0


def days_of(hits: int) -> tuple[datetime, datetime]:
    """When it begins and ends. All of it crosses the end of a week and the change of clocks in New York, most of it the
    end of a month. In the future: a store forgets by its own clock."""
    first = datetime(2040, 11, 3, 12, tzinfo=UTC) if hits < 200_000 else datetime(2040, 10, 31, 12, tzinfo=UTC)
    return first, datetime(2040, 11, 5, 20, tzinfo=UTC)


def burst_of(hits: int) -> int:
    """What one network may send at once (`network_burst`), so that a flood of a fitting size is refused in part."""
    return max(200, hits // 500)


def traffic(hits: int, seed: int) -> Iterator[Beacon]:
    """Yield some `hits` beacons of pages, and heartbeats between them, in the order of time."""
    return _Traffic(hits, seed).run()


class _Traffic:
    def __init__(self, hits: int, seed: int) -> None:
        self._chance = random.Random(seed)
        self._hits = hits
        first, last = days_of(hits)
        self._first, self._last = int(first.timestamp() * 1000), int(last.timestamp() * 1000)
        self._numbers = count(1)
        self._due: list[tuple[int, int, Beacon | tuple[Portal, _Person, str, int]]] = []
        self._people = {portal.id: self._crowd(max(50, hits // 12)) for portal in PORTALS}
        self._zipf = list(accumulate(1 / (n + 1) for n in range(ARTICLES)))
        self._weights = list(accumulate(portal.weight for portal in PORTALS))

    def run(self) -> Iterator[Beacon]:
        for moment in self._arrivals():
            yield from self._until(moment)
            if self._chance.random() < 0.12:
                self._nobody(moment)
            else:
                self._session(moment)
        yield from self._until(self._last)

    def _arrivals(self) -> Iterator[int]:
        """Nearly all around midnights, where counting is hardest; of a long run some at any time."""
        midnights = midnights_of(self._hits)
        many = round(self._hits / PAGES_PER_ARRIVAL)
        moments = [
            self._chance.choice(midnights) + self._chance.randrange(-30 * MINUTE, 20 * MINUTE)
            if self._hits < 200_000 or self._chance.random() < 0.6
            else self._chance.randrange(self._first, self._last - 2 * HALF_HOUR)
            for _ in range(many)
        ]
        floods = [(moment + 7 * MINUTE, n) for n, moment in enumerate(midnights)]
        for moment, n in floods:
            self._flood(moment, n)
        return iter(sorted(moments))

    def _until(self, moment: int) -> Iterator[Beacon]:
        while self._due and self._due[0][0] < moment:
            ms, _, what = heapq.heappop(self._due)
            if isinstance(what, Beacon):
                yield what
            else:
                beacon = self._sign(ms, *what)
                yield beacon
                if beacon.kind != "alive" and beacon.hit_id and self._chance.random() < 0.02:
                    self._again(beacon)

    def _push(self, ms: int, what: Beacon | tuple[Portal, _Person, str, int]) -> None:
        heapq.heappush(self._due, (ms, next(self._numbers), what))

    # People --------------------------------------------------------------------------------------------------------

    def _crowd(self, many: int) -> list[_Person]:
        chance, people = self._chance, []
        for n in range(many):
            place = chance.random()
            if place < 0.3:
                address, agent = f"203.0.113.{chance.randrange(1, 9)}", BROWSERS[chance.randrange(3)]
            elif place < 0.6:
                address, agent = f"27.{chance.randrange(8)}.{chance.randrange(250)}.1", chance.choice(BROWSERS)
            elif place < 0.9:
                address, agent = f"{100 + n // 62_500}.{n // 250 % 250}.{n % 250}.7", chance.choice(BROWSERS)
            else:
                address, agent = f"2001:db8:{n // 65_536 + 1:x}:{n % 65_536:x}::7", chance.choice(BROWSERS)
            storage = chance.choices(("kept", "for-ever", "none", "not-followed", "pixel"), weights=(70, 10, 13, 6, 1))[
                0
            ]
            people.append(_Person(address, agent, storage))
        return people

    def _session(self, moment: int) -> None:
        chance = self._chance
        portal = PORTALS[bisect(self._weights, chance.random() * self._weights[-1])]
        person = chance.choice(self._people[portal.id])
        article = self._drawn()
        while moment < self._last - HALF_HOUR:
            self._push(moment, (portal, person, "pixel" if person.storage == "pixel" else "hit", article))
            kind = chance.random()
            if kind < 0.6:
                stay = chance.randrange(1000, 2 * MINUTE)
            elif kind < 0.8:
                stay = chance.randrange(2 * MINUTE, 29 * MINUTE)
            elif kind < 0.9:
                stay = HALF_HOUR + chance.choice((-1, 0, 1))
            else:
                stay = chance.randrange(31 * MINUTE, 90 * MINUTE)
            if person.storage != "pixel" and chance.random() < 0.4:
                seen = min(stay, chance.choice((2, 4, 12)) * MINUTE)
                for beat in range(moment + MINUTE, moment + seen, MINUTE):
                    # Some at once: as if readers' clocks went by half minutes.
                    self._push(beat - beat % 30_000, (portal, person, "alive", 0))
            if chance.random() < 0.35:
                return
            moment += stay
            if chance.random() < 0.7:
                article = self._drawn()

    def _drawn(self) -> int:
        return bisect(self._zipf, self._chance.random() * self._zipf[-1])

    def _sign(self, ms: int, portal: Portal, person: _Person, kind: str, article: int) -> Beacon:
        """A page or a heartbeat of a person, with the visit id that the person's browser has at that moment."""
        chance = self._chance
        followed = person.storage not in ("none", "pixel")
        if followed and (not person.visit_id or (person.storage == "kept" and ms - person.last_sign >= HALF_HOUR)):
            person.visit_id = f"{chance.getrandbits(64):016x}visit"
        person.last_sign = ms
        asks = person.storage == "not-followed"
        headers: tuple[tuple[str, str], ...] = ((("sec-gpc", "1") if chance.random() < 0.5 else ("dnt", "1")),) * asks
        visit_id = person.visit_id if followed else ""
        if kind == "alive":
            return Beacon(ms, portal, kind, person.address, person.agent, visit_id, asks_not_to_be_followed=asks,
                          headers=headers)  # fmt: skip
        url, explicit, key = self._page(portal, article)
        hit_id = f"hit-{next(self._numbers):09d}" if chance.random() < 0.9 else ""
        return Beacon(ms, portal, kind, person.address, person.agent, visit_id, hit_id, url, explicit, key, asks,
                      headers, no_reader="archived" if portal.options.get("archived") else "")  # fmt: skip

    def _again(self, beacon: Beacon) -> None:
        """The same beacon once more, as the widget repeats one that was not answered."""
        later = beacon.ms + self._chance.choice((0, 5000, 30_000, self._chance.randrange(25 * MINUTE)))
        if later < self._last:
            self._push(later, _moved(beacon, later))

    def _flood(self, moment: int, number: int) -> None:
        portal = PORTALS[number % 3]
        for n in range(burst_of(self._hits) * 5 // 4):
            url, explicit, key = self._page(portal, n % 3)
            address = FLOODS_FROM.format(number, n % 250 + 1)
            visit_id = f"flood-{number:03d}-{n:09d}"
            self._push(moment, Beacon(moment, portal, "hit", address, BROWSERS[n % 5], visit_id, "", url, explicit, key,
                                      flood=True))  # fmt: skip

    # Nobody --------------------------------------------------------------------------------------------------------

    def _nobody(self, ms: int) -> None:
        chance = self._chance
        portal = PORTALS[bisect(self._weights[:-1], chance.random() * self._weights[-2])]
        url, explicit, key = self._page(portal, self._drawn())
        address, agent = f"66.249.{chance.randrange(250)}.{chance.randrange(250)}", chance.choice(BROWSERS)
        reason = chance.choices(
            ("bot", "driven", "empty-agent", "prefetch", "host", "origin", "null", "bad-json", "bad-url", "no-url",
             "too-large", "bad-field"),
            weights=(60, 6, 4, 10, 5, 5, 3, 2, 2, 1, 1, 1),
        )[0]  # fmt: skip
        headers: tuple[tuple[str, str], ...] = ()
        raw = b""
        if reason == "bot":
            agent = chance.choice(BOTS)
        elif reason == "empty-agent":
            agent = chance.choice(("", "-"))
        elif reason == "prefetch":
            headers = (
                chance.choice((("sec-purpose", "prefetch;prerender"), ("purpose", "prefetch"), ("x-moz", "prefetch"))),
            )
        elif reason == "host":
            url = url.replace(portal.host, "portal.example.net")
            url = url if "portal.example.net" in url else "https://portal.example.net/a"
        elif reason == "origin":
            headers = (("origin", "https://portal.example.net"),)
        elif reason == "null":
            headers = (("origin", "null"),)
        elif reason == "bad-url":
            url = chance.choice(("javascript:alert(1)", "/tin/a.html", "about:blank"))
        elif reason == "bad-json":
            raw = chance.choice((b"{", b"hello", b"[]"))
        elif reason == "no-url":
            raw = b'{"v":"x"}'
        elif reason == "too-large":
            raw = b'{"u":"' + b"a" * 9000 + b'"}'
        elif reason == "bad-field":
            raw = b'{"u":"https://%b/","k":"%b"}' % (portal.host.encode(), b"k" * 600)
        named = {"driven": "bot", "null": "origin"}.get(reason, reason)
        hit_id = f"hit-{next(self._numbers):09d}"
        self._push(ms, Beacon(ms, portal, "hit", address, agent, "", hit_id, url, explicit, key,
                              headers=headers, webdriver=reason == "driven", no_reader=named, raw=raw))  # fmt: skip

    # Addresses -----------------------------------------------------------------------------------------------------

    def _page(self, portal: Portal, article: int) -> tuple[str, str, str]:
        """One of the addresses of an article, the key that its page gives ("" for none), and its key."""
        chance, kind = self._chance, article % 5
        if kind == 4:
            return self._around(portal, f"/tin?x={chance.randrange(9)}"), f"bài:{article}", f"bài:{article}"
        if kind == 0 and portal.options.get("preset"):
            category = chance.choice(("Tin", "Su-kien", "print/Tin"))
            return self._around(portal, f"/vi/news/{category}/tieu-de-{article}.html"), "", f"news:{article}"
        if kind == 0:
            path = chance.choice(("/tin-tuc/bai-{0}.html", "//tin-tuc/./bai-{0}.html", "/x/../tin-tuc/bai-{0}.html/",
                                  "/tin-tuc;jsessionid=1F/bai-{0}.html"))  # fmt: skip
            return self._around(portal, path.format(article)), "", f"/tin-tuc/bai-{article}.html"
        if kind == 1:
            path = chance.choice(("/?p={0}", "/index.php?p={0}", "?p={0}", "/?p={0}&q="))
            return self._around(portal, path.format(article)), "", f"/?p={article}"
        if kind == 2:
            names = [f"NewsId={article}", "ListName=Tin%20T%e1%bb%a9c"]
            chance.shuffle(names)
            names = [name.replace("%20", "+") if chance.random() < 0.5 else name for name in names]
            key = f"/DetailNews.aspx?ListName=Tin%20T%E1%BB%A9c&NewsId={article}"
            return self._around(portal, f"/DetailNews.aspx?{'&'.join(names)}"), "", key
        words = f"/xã-hội/bài-{article}"
        spelled = unicodedata.normalize("NFD", words) if chance.random() < 0.5 else words
        if chance.random() < 0.7:
            spelled = (
                quote(spelled) if chance.random() < 0.5 else quote(spelled).replace("%C", "%c").replace("%E", "%e")
            )
        return self._around(portal, spelled), "", quote(words)

    def _around(self, portal: Portal, tail: str) -> str:
        """An address with whatever makes no difference."""
        chance = self._chance
        host = chance.choice((portal.host, portal.host, f"www.{portal.host}", f"m.{portal.host}:8443",
                              portal.host.upper()))  # fmt: skip
        if chance.random() < 0.3:
            extra = chance.choice(("fbclid=Iw{0}", "utm_source=zalo&utm_medium=x{0}", "zarsrc=30", "gclid={0}"))
            tail += ("&" if "?" in tail else "?") + extra.format(chance.randrange(10_000))
        if chance.random() < 0.2:
            tail += chance.choice(("#c", "#top", "#:~:text=a"))
        return f"{chance.choice(('https', 'https', 'http'))}://{host}{tail}"


def _moved(beacon: Beacon, ms: int) -> Beacon:
    return Beacon(
        ms, beacon.portal, beacon.kind, beacon.address, beacon.agent, beacon.visit_id, beacon.hit_id, beacon.url,
        beacon.explicit_key, beacon.article, beacon.asks_not_to_be_followed, beacon.headers, no_reader=beacon.no_reader,
    )  # fmt: skip


def midnights_of(hits: int) -> list[int]:
    """The moments at which a day of some portal begins."""
    first, last = days_of(hits)
    found: set[int] = set()
    for zone in {ZoneInfo(portal.zone) for portal in PORTALS}:
        day = first.astimezone(zone).date() + timedelta(days=1)
        while (moment := datetime(day.year, day.month, day.day, tzinfo=zone)) < last - timedelta(minutes=30):
            found.add(int(moment.timestamp() * 1000))
            day += timedelta(days=1)
    return sorted(found)


def dates_of(hits: int, zone: str) -> list[date]:
    """The dates of the run in a zone."""
    first, last = (moment.astimezone(ZoneInfo(zone)).date() for moment in days_of(hits))
    return [first + timedelta(days=n) for n in range((last - first).days + 1)]
