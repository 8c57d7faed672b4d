"""Made-up addresses: a site gets so many articles, and so many new ones in a minute; the rest is counted as "(other)",
and neither the worker nor the store grows with it (hostile-inputs row 13)."""

from __future__ import annotations

import asyncio
import gc
import os
import re
import secrets
from pathlib import Path
from typing import Any, cast

import pytest
from redis.asyncio import Redis

from tests.client import HOST, Hit, crowd
from tests.web.inprocess import Running, running
from visitstats.core.beacon import HitBeacon
from visitstats.core.counting import decode_presence
from visitstats.core.errors import StoreUnavailable
from visitstats.core.schema import SCHEMA_NUMBER
from visitstats.store import keys
from visitstats.store.client import open_client
from visitstats.web.beacons.hits import Taken

ANN, *OTHERS = crowd(200, "caps")


async def capped(app: Running) -> dict[str, int]:
    """What the metric says, by cap."""
    text = (await app.connection.request("GET", "/metrics")).body.decode()
    rows = re.findall(r'^visitstats_articles_capped_total\{cap="(\w+)",site="t1"\} ([\d.]+)', text, re.MULTILINE)
    return {cap: int(float(n)) for cap, n in rows if float(n)}


async def test_new_articles_beyond_the_minutes_are_counted_for_the_site_and_for_other(app: Running) -> None:
    await app.put_site(new_articles_per_minute=3)
    for n in range(8):
        answer = await app.connection.hit("t1", Hit(OTHERS[n], f"/new-{n}"))
        shown = (answer.json["key"], answer.json["views"])
        assert shown == ((f"/new-{n}", 1) if n < 3 else ("(other)", None)), n
        assert (answer.status, answer.ignored, answer.json["total"]) == (200, "", n + 1)
    views = await app.connection.views("t1", [f"/new-{n}" for n in range(8)] + ["(other)"])
    assert list(views.values()) == [1, 1, 1, 0, 0, 0, 0, 0, 5]
    assert await capped(app) == {"minute": 5}
    headers = {"authorization": await app.token("viewer")}
    listed = await app.connection.request("GET", "/v1/admin/sites/t1/articles?limit=1", headers=headers)
    assert listed.json["articles"][0]["key"] == "(other)"


async def test_articles_that_are_there_are_counted_whatever_the_minute_brings(app: Running) -> None:
    """Also after a start, when a worker does not know yet which they are."""
    await app.connection.hit("t1", Hit(ANN, "/real"))
    await app.connection.hit("t1", Hit(ANN, "/real-too"))
    await app.put_site(new_articles_per_minute=1)
    worker = app.app.worker
    assert worker is not None
    worker.known.entries.clear()
    app.clock.advance(60)
    for n in range(3):
        await app.connection.hit("t1", Hit(OTHERS[n], f"/new-{n}"))
    for n, page in enumerate(("/real", "/real-too", "/real"), 10):
        assert (await app.connection.hit("t1", Hit(OTHERS[n], page))).json["key"] == page
    assert await app.connection.views("t1", ["/real", "/real-too", "/new-0", "/new-1", "(other)"]) == {
        "/real": 3, "/real-too": 2, "/new-0": 1, "/new-1": 0, "(other)": 2,
    }  # fmt: skip


async def test_the_next_minute_has_places_again(app: Running) -> None:
    await app.put_site(new_articles_per_minute=2)
    for minute in range(3):
        for n in range(4):
            answer = await app.connection.hit("t1", Hit(OTHERS[4 * minute + n], f"/{minute}-{n}"))
            assert (answer.json["key"] == "(other)") == (n >= 2)
        app.clock.advance(60)


async def test_what_was_beyond_a_minutes_places_is_an_article_when_it_comes_again(app: Running) -> None:
    await app.put_site(new_articles_per_minute=1)
    for n in range(2):
        await app.connection.hit("t1", Hit(OTHERS[n], f"/{n}"))
    app.clock.advance(60)
    assert (await app.connection.hit("t1", Hit(OTHERS[5], "/1"))).json["key"] == "/1"


async def test_the_two_caps_are_told_apart(app: Running) -> None:
    await app.put_site(new_articles_per_minute=4, max_articles=2)
    for n in range(7):
        await app.connection.hit("t1", Hit(OTHERS[n], f"/{n}"))
    assert await capped(app) == {"site": 2, "minute": 3}


async def test_other_takes_none_of_the_sites_places(app: Running) -> None:
    """Whichever cap it was that `(other)` came up by."""
    await app.put_site(new_articles_per_minute=2, max_articles=5)
    keys_of = []
    for n in range(12):
        if n % 4 == 0:
            app.clock.advance(60)
        keys_of.append((await app.connection.hit("t1", Hit(OTHERS[n], f"/k{n}"))).json["key"])
    assert keys_of == ["/k0", "/k1", *["(other)"] * 2, "/k4", "/k5", *["(other)"] * 2, "/k8", *["(other)"] * 3]
    assert app.app.worker is not None
    assert await app.app.worker.reads.article_count("t1") == 5


async def test_an_article_that_was_merged_into_another_gives_its_place_back(app: Running) -> None:
    await app.put_site(max_articles=2)
    for n in range(2):
        await app.connection.hit("t1", Hit(OTHERS[n], f"/{n}"))
    headers = {"authorization": await app.token("admin")}
    merge = {"from": "/0", "into": "/1", "why": "test"}
    answer = await app.connection.request("POST", "/v1/admin/sites/t1/merge", merge, headers)
    assert answer.status == 200, answer
    assert (await app.connection.hit("t1", Hit(ANN, "/2"))).json["key"] == "/2"
    assert (await app.connection.hit("t1", Hit(ANN, "/3"))).json["key"] == "(other)"


@pytest.mark.parametrize("cap", ["max_articles", "new_articles_per_minute"])
async def test_a_page_load_that_comes_twice_is_a_duplicate_also_beyond_the_caps(app: Running, cap: str) -> None:
    """The answer says so, and it is told with the other reasons."""
    await app.put_site(**{cap: 1})
    await app.connection.hit("t1", Hit(ANN, "/1"))
    hit = Hit(ANN, "/2", "hit-2")
    first, again = [await app.connection.hit("t1", hit) for _ in range(2)]
    assert (first.ignored, again.ignored) == ("", "duplicate")
    assert {(each.json["key"], each.json["views"]) for each in (first, again)} == {("(other)", None)}
    await app.ignored({"duplicate": 1})
    assert await app.connection.views("t1", ["(other)"]) == {"(other)": 1}


async def test_refused_beacons_take_no_places(app: Running) -> None:
    """Or a robot that is not counted would keep the readers' articles out."""
    await app.put_site(new_articles_per_minute=1)
    for n in range(5):
        bot = {"user-agent": "Googlebot/2.1 (+http://www.google.com/bot.html)"}
        assert (await app.connection.hit("t1", Hit(OTHERS[n], f"/bot-{n}"), bot)).ignored == "bot"
    assert (await app.connection.hit("t1", Hit(ANN, "/real"))).json["key"] == "/real"


async def test_while_the_store_is_away_no_article_loses_its_hits(app: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be known is counted for the article; the site's cap holds still."""
    await app.put_site(new_articles_per_minute=1)
    assert app.app.worker is not None

    async def away(site: str, articles: list[bytes]) -> list[bool]:
        raise StoreUnavailable("away")

    monkeypatch.setattr(app.app.worker.known.newcomers, "_registered", away)
    for n in range(4):
        assert (await app.connection.hit("t1", Hit(OTHERS[n], f"/{n}"))).json["key"] == f"/{n}"


async def test_a_replay_of_capped_hits_counts_the_same(tmp_path: Path, redis_url: str, raw_client: Redis) -> None:
    """The journal says "(other)", whatever the minute or the settings are by then."""
    async with running(tmp_path / "data", redis_url) as app:
        await app.put_site(new_articles_per_minute=2)
        for n in range(6):
            await app.connection.hit("t1", Hit(OTHERS[n], f"/{n}"))
        pages = [*(f"/{n}" for n in range(6)), "(other)"]
        before = await app.connection.views("t1", pages)
        numbers = await app.numbers()
    sites: Any = await raw_client.hgetall(keys.SITES)
    await raw_client.flushall()
    await raw_client.hset(keys.SITES, mapping=sites)
    await raw_client.set(keys.SITES_VERSION, "again")
    await raw_client.set(keys.SCHEMA, SCHEMA_NUMBER)
    async with running(tmp_path / "data", redis_url, site=False) as app:
        assert await app.connection.views("t1", pages) == before
        found = await app.numbers()
        assert {name: found[name] for name in ("today", "total")} == {
            name: numbers[name] for name in ("today", "total")
        }


@pytest.fixture
async def raw_client(redis_url: str) -> Any:
    client = open_client(redis_url)
    yield client
    await client.aclose()


PAGE = os.sysconf("SC_PAGE_SIZE")
HITS, ARTICLES, A_MINUTE = 60_000, 2_000, 500


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


@pytest.mark.timeout(300)
async def test_tens_of_thousands_of_made_up_addresses_leave_everything_as_small_as_it_was(
    app: Running, raw_client: Redis
) -> None:
    """Ten readers load 60,000 addresses that were never seen, 10,000 a minute.

    What grows with such an attack is bounded by settings: at most `max_articles` + 1 articles in the store, at most
    `new_articles_per_minute` readings a minute and worker beyond them (in presences that are gone a day later),
    and the worker's caches of a fixed number of items. So ten million addresses leave what these leave: in the second
    half of this test neither the worker nor the store grows.
    """
    await app.put_site(new_articles_per_minute=A_MINUTE, max_articles=ARTICLES, office_networks=["203.0.0.0/16"])
    await app.connection.hit("t1", Hit(ANN, "/real"))
    worker, edge = app.app.worker, cast(Any, app.app._answering)
    assert worker is not None
    live = worker.sites.get("t1")
    assert live is not None
    hits: Any = edge._hits

    async def load(n: int) -> Taken:
        visitor = OTHERS[n % 10]
        headers = {name.encode(): text.encode() for name, text in visitor.headers.items()}
        beacon = HitBeacon(f"https://{HOST}/{secrets.token_hex(8)}", visit_id=visitor.visit_id)
        taken: Taken = await hits.decide(headers, "127.0.0.1", live, beacon)
        await taken.waiting.future
        return taken

    async def sizes() -> tuple[int, int]:
        """Bytes of this process and of the store's data."""
        gc.collect()
        used: Any = await raw_client.info("memory")
        return resident(), int(used["used_memory_dataset"])

    halves: list[tuple[int, int]] = []
    for start in range(0, HITS, 1000):
        await asyncio.gather(*(load(n) for n in range(start, start + 1000)))
        if start % 10_000 == 9_000:
            app.clock.advance(60)
        if start + 1000 in (HITS // 2, HITS):
            halves.append(await sizes())
    assert await worker.reads.article_count("t1") <= ARTICLES + 1
    assert await raw_client.hlen(keys.names("t1")) <= ARTICLES + 1
    counts = await worker.reads.counts("t1", live.calendar.day_at(app.clock.ms), app.clock.ms)
    assert counts.visits[-2] == 11
    assert counts.views[-2] >= ARTICLES
    stored: Any = await raw_client.hvals(keys.seen("t1", live.calendar.day_at(app.clock.ms).date))
    readings = [len(decode_presence(presence).read) for presence in stored]
    assert len(readings) == 11
    assert sum(readings) <= 10 * A_MINUTE + 11 * 2
    assert len(worker.known.entries) <= 10 * A_MINUTE + 3
    assert len(hits._articles) <= 20_000
    assert all(len(minute.newcomers) <= A_MINUTE for minute in worker.known.newcomers._minutes.values())
    assert not worker.known.newcomers._waiting
    (worker_half, store_half), (worker_end, store_end) = halves
    assert worker_end < worker_half + 8_000_000, halves
    assert store_end < store_half + 1_000_000, halves
