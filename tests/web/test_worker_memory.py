"""What a worker remembers of strangers is bounded in bytes, however long what they send is. All bounds are an eighth of
the program's here, for time: what is held is what the bound says, whatever it is."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

from tests.unit.test_signing import SECRET
from visitstats.core.agents import AgentRules
from visitstats.core.beacon import HitBeacon
from visitstats.core.errors import HitRejected
from visitstats.core.sites import Site
from visitstats.ingest import known as known_articles
from visitstats.ingest.known import Known
from visitstats.sites.directory import LiveSite
from visitstats.web.beacons import address, rules, senders, signatures
from visitstats.web.beacons.address import ClientAddress
from visitstats.web.beacons.limits import NetworkLimits
from visitstats.web.beacons.rules import Articles
from visitstats.web.beacons.senders import Senders
from visitstats.web.beacons.signatures import Signatures

MIB = 1 << 20
PART = 8
SLACK = 1.2
LIVE = LiveSite(Site(id="portal", hosts=("portal.vn",)))
NO_LIMITS = NetworkLimits(None, 0, 0)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name in (
        (rules, "ADDRESS_BYTES"),
        (senders, "SENDER_BYTES"),
        (address, "CACHE_BYTES"),
        (signatures, "CHECKED_BYTES"),
        (known_articles, "MOST_VOICES"),
    ):
        monkeypatch.setattr(module, name, getattr(module, name) // PART)


def held(work: Callable[[], Any]) -> int:
    """Bytes that are held by what a piece of work returns."""
    gc.collect()
    tracemalloc.start()
    kept = work()
    gc.collect()
    found, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept is not None
    return found


def test_all_caches_together_are_half_of_what_a_worker_may_take() -> None:
    voices = known_articles.MOST_VOICES * 3072
    caches = rules.ADDRESS_BYTES + senders.SENDER_BYTES * 3 // 2 + address.CACHE_BYTES + signatures.CHECKED_BYTES
    assert PART * (voices + caches) <= 60 * MIB


def test_addresses_of_pages() -> None:
    """As long as they are remembered at all, of letters that take four bytes each. Of short ones as many are remembered
    as a large portal has pages that are read."""

    def long() -> Articles:
        articles = Articles()
        for n in range(1500):
            articles.of(LIVE, HitBeacon(f"https://portal.vn/{n}", f"{n}{'𝔞' * 120}", f"/{'𝔟' * 400}"), 0)
        return articles

    def short() -> Articles:
        articles = Articles()
        for n in range(1250):
            articles.of(LIVE, HitBeacon(f"https://portal.vn/tin-tuc/bai-viet-so-{n}.html"), 0)
        assert len(articles) == 10_000 // PART
        return articles

    assert held(long) < SLACK * rules.ADDRESS_BYTES
    assert held(short) < SLACK * rules.ADDRESS_BYTES


def test_what_senders_say_of_themselves() -> None:
    def work() -> Senders:
        found = Senders(ClientAddress(()), AgentRules([]), NO_LIMITS)
        for n in range(2000):
            agent = b"Mozilla/5.0 %d" % n + b"y" * 480
            headers = {b"origin": b"https://%d.%b.vn" % (n, b"x" * 500), b"user-agent": agent}
            with pytest.raises(HitRejected, match="origin"):
                found.check(LIVE, headers, agent, False)
        return found

    assert held(work) < SLACK * 1.5 * senders.SENDER_BYTES + MIB / 4


def test_clients_behind_proxies() -> None:
    def work() -> ClientAddress:
        found = ClientAddress(("10.0.0.0/8",))
        for n in range(6000):
            chain = b"%b, 203.0.%d.%d" % (b", ".join([b"198.51.100.7"] * 15), n >> 8 & 255, n & 255)
            found.of("10.1.2.3", {b"x-forwarded-for": chain})
        return found

    assert held(work) < SLACK * address.CACHE_BYTES


def test_signatures() -> None:
    live = LiveSite(Site(id="portal", hosts=("portal.vn",), signatures="prefer", signing_secrets=(SECRET,)))

    def work() -> Signatures:
        found = Signatures()
        for n in range(1000):
            told = (f"{n}{'𝔱' * 900}", "", "", "")
            found.vouch(live, HitBeacon("https://portal.vn/", f"k{n}", told=told, signature=f"{n}." + "5" * 64), 0)
        return found

    assert held(work) < SLACK * signatures.CHECKED_BYTES


def test_who_has_said_what_of_articles() -> None:
    """Many networks, two words of each, of many articles."""

    class Stats:
        def remember_views(self, *_: object) -> None: ...

    async def registered(site: str, articles: list[bytes]) -> list[bool]:
        return [True] * len(articles)

    def work() -> Known:
        found = Known(registered, Stats())  # type: ignore[arg-type]
        for n in range(2 * known_articles.MOST_VOICES):
            for network in range(16):
                for word in ("a", "b"):
                    found.said("portal", n.to_bytes(8, "big"), (word * 100, str(n), "", ""), network << 40 | n, 0)
        return found

    # And 300 bytes for each article that is known.
    assert held(work) < known_articles.MOST_VOICES * (3072 + 2 * 300)
