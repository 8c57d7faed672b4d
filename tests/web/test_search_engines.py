"""The optional line "Máy chủ tìm kiếm": how many pages search engines have read today, for sites that show it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.client import Hit, crowd, until
from tests.shell import Shell
from tests.web.inprocess import Running, running
from visitstats.core.errors import StoreUnavailable

ANN, BEN = crowd(2, "engines")
GOOGLEBOT = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
COCCOC = "Mozilla/5.0 (compatible; coccocbot-web/1.0; +http://help.coccoc.com/searchengine)"


async def shown(app: Running) -> Any:
    """What the numbers say two seconds later: what was shown before is too old then."""
    app.clock.advance(2)
    return (await app.numbers()).get("search_engines", "nothing")


async def becomes(app: Running, expected: int) -> None:
    """A commit that was under way when the bots were told may still bring the number of before."""

    async def there() -> bool:
        found = await shown(app)
        assert found in (0, expected)
        return bool(found == expected)

    await until(there, f"{expected} is shown", 5)


async def visits(app: Running, *agents: str, **headers: str) -> None:
    for agent in agents:
        answer = await app.connection.hit("t1", Hit(replace(ANN, agent=agent), "/a"), headers)
        assert answer.ignored


async def test_a_site_that_does_not_ask_for_it_says_nothing(app: Running) -> None:
    await visits(app, GOOGLEBOT)
    await app.ignored({"bot": 1})
    assert await shown(app) == "nothing"
    assert "search_engines" not in (await app.connection.hit("t1", Hit(ANN, "/a"))).json


async def test_the_pages_that_search_engines_have_read_today(app: Running) -> None:
    """Not other bots, and nothing that was refused for another reason; a new day begins at 0."""
    await app.put_site(show_search_engines=True)
    assert await shown(app) == 0
    await visits(app, GOOGLEBOT, COCCOC, GOOGLEBOT, "curl/8.5.0", "")
    await visits(app, GOOGLEBOT, origin="https://elsewhere.example")
    await visits(app, ANN.agent, **{"sec-purpose": "prefetch"})
    await app.ignored({"bot": 4, "empty-agent": 1, "origin": 1, "prefetch": 1})
    await becomes(app, 3)
    assert (await app.numbers())["today"] == 0
    app.clock.advance(86_400)
    assert await shown(app) == 0


async def test_the_answers_to_hits_and_heartbeats_say_it_too(app: Running) -> None:
    await app.put_site(show_search_engines=True)
    await visits(app, GOOGLEBOT)
    await app.ignored({"bot": 1})

    async def told() -> bool:
        app.clock.advance(1.001)
        found: Any = (await app.connection.hit("t1", Hit(ANN, "/a"))).json["search_engines"]
        assert found in (None, 0, 1)
        return bool(found)

    await until(told, "a hit's answer has the number")
    alive = await app.connection.alive("t1", ANN)
    assert alive.json["search_engines"] == 1
    assert (await app.connection.hit("t1", Hit(replace(ANN, agent=COCCOC), "/a"))).json["search_engines"] == 1


async def test_a_flood_of_hits_asks_the_store_once_a_second(app: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """The way of a hit does not wait for it."""
    await app.put_site(show_search_engines=True)
    assert app.app.worker is not None
    reads, asked = app.app.worker.reads, 0
    ask = reads.search_engines

    async def counted(*arguments: Any) -> int:
        nonlocal asked
        asked += 1
        return await ask(*arguments)

    monkeypatch.setattr(reads, "search_engines", counted)
    for n in range(100):
        await app.connection.hit("t1", Hit(ANN, f"/{n}"))
    assert asked == 1


async def test_the_same_numbers_with_another_one_here_are_sent_again(app: Running) -> None:
    await app.put_site(show_search_engines=True)
    app.clock.advance(2)
    first = await app.connection.request("GET", "/v1/sites/t1/stats")
    await visits(app, GOOGLEBOT)
    await app.ignored({"bot": 1})
    await becomes(app, 1)
    again = await app.connection.request("GET", "/v1/sites/t1/stats", headers={"if-none-match": first.headers["etag"]})
    assert (again.status, again.json["search_engines"]) == (200, 1)


async def test_while_the_store_is_away_the_last_number_stays(app: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """And a number that is not known is null, never 0."""
    await app.put_site(show_search_engines=True)
    await visits(app, GOOGLEBOT)
    await app.ignored({"bot": 1})
    await becomes(app, 1)
    assert app.app.worker is not None

    async def away(*_: Any) -> int:
        raise StoreUnavailable("away")

    monkeypatch.setattr(app.app.worker.reads, "search_engines", away)
    app.clock.advance(5)
    assert await shown(app) == 1
    app.clock.advance(86_400)
    assert await shown(app) is None


async def test_it_outlives_the_process(tmp_path: Path, redis_url: str) -> None:
    """With the other numbers that were shown last, for a start without the store."""
    async with running(tmp_path / "data", redis_url) as app:
        await app.put_site(show_search_engines=True)
        await visits(app, GOOGLEBOT)
        await app.ignored({"bot": 1})
        await becomes(app, 1)
        assert app.app.worker is not None
        stats = app.app.worker.stats
        await asyncio.to_thread(stats.keep)
        live = app.app.worker.sites.get("t1")
        assert live is not None
        stats._snapshots.clear()
        stats.load()
        assert b'"search_engines":1,' in stats.last(live).head


def test_the_snippet_of_such_a_site_has_the_line(tmp_path: Path, redis_url: str) -> None:
    shell = Shell(tmp_path, redis_url)
    shell("site", "add", "s", "--host", "portal.vn")
    assert 'data-lines="online,today,week,total"' in shell("site", "embed", "s")
    shell("site", "set", "s", "--show-search-engines")
    usual = shell("site", "embed", "s")
    assert 'data-lines="online,search_engines,today,week,total"' in usual
    assert 'data-labels="Đang online|Máy chủ tìm kiếm|Hôm nay|Trong tuần|Tất cả"' in usual
