"""With limits in force the script counts exactly as an independent judge does: visitors of a day, places of a network,
those that two networks open, and the site's cap, in courses made at random."""

from __future__ import annotations

import random

import pytest
from redis.asyncio import Redis

from tests.store.oracle import Caps, Hit, Oracle
from tests.store.writing import DAY, MINUTE, Writer, gather
from visitstats.core import limits
from visitstats.core.batch import OTHER_ID, Gathering
from visitstats.core.keys import article_id
from visitstats.core.sites import Site
from visitstats.store import keys


@pytest.mark.parametrize("seed", range(6))
async def test_random_courses_with_limits(
    redis_url: str, raw: Redis, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Each hit in a batch of its own, so that what another one has brought is known. All sums are equal: visits, views,
    hits, the views of each article and of "(other)", and how many were not told apart."""
    chance = random.Random(seed)
    cap, caps = 20, Caps(visitors=chance.choice((3, 8, 40)), places_an_hour=chance.choice((2, 5, 50)), reserve=4)
    monkeypatch.setattr(limits, "PLACES_AN_HOUR", caps.places_an_hour)
    # How much is remembered of readings and ids has tests of its own (test_limits.py).
    monkeypatch.setattr(limits, "READINGS_A_VISITOR", 1000)
    monkeypatch.setattr(limits, "IDS_A_VISITOR", 1000)
    monkeypatch.setattr(limits, "RESERVE_FROM", cap)
    monkeypatch.setattr(limits, "RESERVE_SHARE", cap // caps.reserve)
    every_load = seed % 2 == 0
    site = Site(
        id="portal", hosts=("portal.vn",), views="every-load" if every_load else "per-visit", max_articles=cap,
        max_visitors=caps.visitors,
    )  # fmt: skip
    writer = Writer(redis_url, site)
    oracle = Oracle("Asia/Ho_Chi_Minh", 1, every_load=every_load, cap=cap, caps=caps)
    moment, folded = DAY.start_ms + 60 * MINUTE, 0
    for number in range(160):
        moment += chance.choice((1, 1000, 5 * MINUTE, 25 * MINUTE if chance.random() < 0.3 else 1))
        hit = Hit(
            moment, f"person {chance.randrange(12)}", f"/{chance.randrange(40)}",
            f"id {number - chance.randrange(2)}", f"network {chance.randrange(4)}",
        )  # fmt: skip
        oracle.take(hit)
        waiting = Gathering(site, DAY)
        gather(waiting, hit.moment, hit.person, hit.article, hit.hit_id, network=hit.network)
        folded += (await writer.count(waiting)).capped[0]
    await writer.close()
    expected = oracle.count()
    month = await raw.hgetall(keys.days(site.id, DAY.month))
    found = {name: int(month.get(f"{name}:{DAY.date[8:]}".encode(), 0)) for name in ("visits", "views", "hits")}
    assert found == {name: getattr(expected, name)[DAY.date] for name in found}
    views = {article: int(n) for article, n in (await raw.hgetall(keys.articles(site.id))).items()}
    assert views == {OTHER_ID if key == "(other)" else article_id(key): n for key, n in expected.top["all"].items()}
    assert folded == expected.folded
    assert expected.top["all"]["(other)"], "the course has met a limit"
