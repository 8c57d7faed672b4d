"""What strangers can make grow has a limit inside the script: sums stay right, and it is told what was capped."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from tests.store.writing import DAY, MINUTE, NOON, SITE, Writer, beats, gather, numbering
from visitstats.core import limits
from visitstats.core.batch import OTHER_ID, Gathering, Said, State
from visitstats.core.keys import article_id
from visitstats.core.sites import Site
from visitstats.store import keys
from visitstats.store.commit import OTHER, Committed
from visitstats.store.reads import Reads

HOUR = 60 * MINUTE


@pytest_asyncio.fixture
async def writer(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Writer]:
    """A network may bring three articles in an hour, and the places of four networks are counted."""
    monkeypatch.setattr(limits, "PLACES_AN_HOUR", 3)
    monkeypatch.setattr(limits, "MOST_PLACES", 4)
    monkeypatch.setattr(limits, "RESERVE_FROM", 10)
    monkeypatch.setattr(limits, "READINGS_A_VISITOR", 2)
    monkeypatch.setattr(limits, "IDS_A_VISITOR", 2)
    found = Writer(redis_url)
    yield found
    await found.close()


async def read(
    writer: Writer, *articles: str, network: str = "", at: int = NOON, said: Said = Said.STRANGER, hit_id: str = ""
) -> Committed:
    waiting = Gathering(writer.site, DAY)
    for n, article in enumerate(articles):
        gather(waiting, at, f"{network} {n} {writer.sequence}", article, hit_id, network=network, said=said)
    return await writer.count(waiting)


async def sums(raw: Redis) -> tuple[int, int]:
    """Views of the site, and of all its articles together."""
    found: Any = await raw.hgetall(keys.articles(SITE.id))
    return int(await raw.hget(*keys.count_at(SITE.id, "views", "all")) or 0), sum(map(int, found.values()))


# Places for articles --------------------------------------------------------------------------------------------------


async def test_a_network_brings_so_many_articles_in_an_hour(writer: Writer, raw: Redis) -> None:
    """What it reads beyond that counts as "(other)", also in one batch and without saying anything of it; others bring
    theirs, and it may go on in the next hour."""
    result = await read(writer, *(f"/{n}" for n in range(5)), network="one")
    assert result.articles == (1, 1, 1, OTHER, OTHER)
    assert result.states[3:] == (State.NO_PLACE,) * 2
    assert (await read(writer, "/5", network="one")).articles == (OTHER,)
    assert (await read(writer, "/5", network="two")).articles == (1,)
    assert (await read(writer, "/5", "/0", network="one")).articles == (2, 2), "what is there is counted"
    assert (await read(writer, "/6", network="one", at=NOON + HOUR)).articles == (1,)
    assert await sums(raw) == (10, 10)


async def test_trusted_networks_and_the_portals_signature_bring_any_number(writer: Writer) -> None:
    for said in (Said.TRUSTED, Said.SIGNED):
        result = await read(writer, *(f"/{said.name}/{n}" for n in range(8)), network="one", said=said)
        assert result.articles == (1,) * 8


async def test_a_page_load_that_is_not_counted_takes_no_place(writer: Writer, raw: Redis) -> None:
    await read(writer, "/0", network="one", hit_id="the same")
    for n in range(1, 6):
        await read(writer, f"/{n}", network="one", hit_id="the same")
    assert (await read(writer, "/8", "/9", network="one")).articles == (1, 1)
    assert await raw.hlen(keys.articles(SITE.id)) == 3


async def test_of_many_networks_those_beyond_the_table_share_one_row(writer: Writer, raw: Redis) -> None:
    """The table of places does not grow with those who come."""
    for n in range(12):
        await read(writer, f"/{n}", network=f"net {n}")
    assert await raw.hlen(keys.articles(SITE.id)) - 1 == 3 + 3, "the fourth row is of the day's readings"
    assert await raw.hlen(keys.taken(SITE.id, DAY.date)) <= 4 + 1 + 1
    assert await sums(raw) == (12, 12)


async def test_the_last_places_are_for_what_two_networks_read(redis_url: str, writer: Writer, raw: Redis) -> None:
    """Of a site with room for 20 articles two places are kept; the portal's signature takes one as well."""
    site = Site(id=SITE.id, hosts=SITE.hosts, max_articles=20)
    full = Writer(redis_url, site)
    for n in range(18):
        await read(full, f"/{n}", network=f"net {n}", at=NOON + n * HOUR // 3, said=Said.TRUSTED)
    first = await read(full, "/new", network="one", at=NOON)
    assert (first.articles, first.states) == ((OTHER,), (State.RESERVED,))
    assert (await read(full, "/new", network="one", at=NOON)).articles == (OTHER,), "the same network again"
    assert (await read(full, "/new", network="two", at=NOON)).articles == (1,)
    assert (await read(full, "/signed", network="one", said=Said.SIGNED)).articles == (1,)
    assert (await read(full, "/signed-2", network="one", said=Said.SIGNED)).articles == (OTHER,), "now it is full"
    assert await sums(raw) == (23, 23)
    await full.close()


# Visitors, readings, hit ids ------------------------------------------------------------------------------------------


async def small(redis_url: str, visitors: int, **more: Any) -> Writer:
    return Writer(redis_url, Site(id=SITE.id, hosts=SITE.hosts, max_visitors=visitors, **more))


async def noted(raw: Redis) -> dict[str, int]:
    return await Reads(raw).noted(SITE.id, DAY)


async def test_visitors_beyond_those_of_a_day_are_one(redis_url: str, writer: Writer, raw: Redis) -> None:
    """Their pages count; who was here before still is; and heartbeats bring nobody in."""
    few = await small(redis_url, 10)
    for start in range(0, 40, 8):
        waiting = Gathering(few.site, DAY)
        for n in range(start, start + 8):
            gather(waiting, NOON + n, f"person {n}", "/a")
        beats(waiting, NOON + start, "person 0", *(f"stranger {n}" for n in range(5)))
        result = await few.count(waiting, numbering(NOON + 60_000))
    assert result.articles == (40,)
    assert int(await raw.hget(*keys.count_at(SITE.id, "visits", "all")) or 0) == 11
    assert await raw.hlen(keys.seen(SITE.id, DAY.date)) == 11
    assert result.online == 11
    assert (await noted(raw))["visitors-capped"] == 30
    assert (await Reads(raw).ignored(SITE.id, DAY)) == {}
    assert await sums(raw) == (40, 40)
    waiting = Gathering(few.site, DAY)
    gather(waiting, NOON + 70_000, "person 3", "/a")
    again = await few.count(waiting)
    assert (again.started, again.added, again.capped) == (0, (0,), (0, 0, 0))
    await few.close()


async def test_readings_beyond_those_of_a_day_are_not_kept(redis_url: str, writer: Writer, raw: Redis) -> None:
    """Each view counts all the same, once more when it is opened again; the store does not grow."""
    few = await small(redis_url, 10)
    pages = [f"/{n}" for n in range(50)]
    waiting = Gathering(few.site, DAY)
    for page in pages:
        gather(waiting, NOON, "An", page)
    result = await few.count(waiting)
    assert (sum(result.added), result.capped) == (50, (0, 30, 0))
    stored: Any = await raw.hvals(keys.seen(SITE.id, DAY.date))
    assert sum((len(each) - 7) // 8 for each in stored) == 20
    waiting = Gathering(few.site, DAY)
    gather(waiting, NOON, "Bình", "/0")
    gather(waiting, NOON, "An", pages[-1])
    assert (await few.count(waiting)).added == (1, 0)
    assert (await noted(raw))["readings-capped"] == 31
    assert await sums(raw) == (51, 51)
    await few.close()


async def test_hit_ids_beyond_those_of_a_day_are_not_kept(redis_url: str, writer: Writer, raw: Redis) -> None:
    few = await small(redis_url, 10, views="every-load")
    for half in (0, 1):
        waiting = Gathering(few.site, DAY)
        for n in range(15):
            gather(waiting, NOON + half * 30 * MINUTE, "An", "/a", f"id {half} {n}")
        result = await few.count(waiting)
    assert result.capped == (0, 0, 10)
    names = [keys.hit_ids(SITE.id, NOON // (30 * MINUTE) + half) for half in (0, 1)]
    assert sum([await raw.scard(name) for name in names]) == 20
    assert (await noted(raw))["ids-capped"] == 10
    assert await sums(raw) == (30, 30)
    await few.close()


async def test_two_million_hits_of_everything_leave_what_the_limits_allow(redis_url: str, raw: Redis) -> None:
    """A thousandth of it: made-up visitors, articles, hit ids and names of many networks, in every half hour of a day.
    What grows is what the site's settings say, and the sums are right."""
    few = await small(redis_url, 50, max_articles=30, views="per-visit")
    hits = 0
    for half in range(20):
        waiting = Gathering(few.site, DAY)
        for n in range(100):
            name = f"{half}-{n}"
            gather(waiting, NOON + half * 30 * MINUTE + n, name, f"/{name}", name, network=f"net {n % 40}")
            hits += 1
        await few.count(waiting)
    assert await raw.hlen(keys.seen(SITE.id, DAY.date)) <= 51
    assert await raw.hlen(keys.articles(SITE.id)) == await raw.hlen(keys.names(SITE.id)) == 31
    assert sum([await raw.scard(keys.hit_ids(SITE.id, NOON // (30 * MINUTE) + half)) for half in range(20)]) <= 400
    assert await raw.hget(keys.articles(SITE.id), OTHER_ID) == b"%d" % (hits - 30)
    assert await raw.hexists(keys.articles(SITE.id), article_id("/0-0"))
    assert await sums(raw) == (hits, hits)
    await few.close()
