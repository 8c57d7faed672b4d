"""New articles of a minute: exactly as many as the site allows, and none that only looks new."""

from __future__ import annotations

import asyncio

import pytest

from visitstats.core.errors import StoreUnavailable
from visitstats.ingest import newcomers as waiting_room
from visitstats.ingest.newcomers import MINUTE_MS, Newcomers

NOW = 1_000 * MINUTE_MS


def name(n: int) -> bytes:
    return n.to_bytes(8)


class Store:
    """Has some articles, and remembers what it was asked."""

    def __init__(self, *known: bytes) -> None:
        self.known = set(known)
        self.asked: list[list[bytes]] = []
        self.away = False
        self.silent = asyncio.Event()
        self.silent.set()

    async def registered(self, site: str, articles: list[bytes]) -> list[bool]:
        self.asked.append(articles)
        await self.silent.wait()
        if self.away:
            raise StoreUnavailable("away")
        return [article in self.known for article in articles]


def enter(newcomers: Newcomers, article: bytes, moment: int = NOW, places: int = 3) -> bool:
    if not newcomers.room("s", article, moment, places):
        return False
    newcomers.enter("s", article, moment)
    return True


async def test_a_minute_has_so_many_places_and_the_next_has_them_again() -> None:
    newcomers = Newcomers(Store().registered)
    assert [enter(newcomers, name(n)) for n in range(5)] == [True] * 3 + [False] * 2
    assert enter(newcomers, name(1)), "who is in is in"
    newcomers.settle("s", [name(0), name(1), name(2)], [1, 2, 1], [1, 2, 1])
    assert not enter(newcomers, name(9))
    assert enter(newcomers, name(9), NOW + MINUTE_MS)


async def test_who_turns_out_to_be_known_gives_the_place_back() -> None:
    """After a start every article looks new."""
    newcomers = Newcomers(Store().registered)
    for n in range(3):
        enter(newcomers, name(n))
    # Read before; read again within the visit; the only new one.
    newcomers.settle("s", [name(0), name(1), name(2)], [500, 7, 1], [1, 0, 1])
    assert [enter(newcomers, name(n)) for n in range(10, 14)] == [True, True, False, False]


async def test_an_article_beyond_the_cap_of_the_site_keeps_its_place() -> None:
    """Otherwise a full site would take any number of made-up addresses to the store."""
    newcomers = Newcomers(Store().registered)
    for n in range(3):
        enter(newcomers, name(n))
    newcomers.settle("s", [name(n) for n in range(3)], [-1, -1, -1], [-1, -1, -1])
    assert not enter(newcomers, name(9))


async def test_an_answer_of_a_minute_that_is_over_gives_nothing_back() -> None:
    newcomers = Newcomers(Store().registered)
    enter(newcomers, name(0))
    assert [enter(newcomers, name(n), NOW + MINUTE_MS) for n in range(1, 5)] == [True, True, True, False]
    newcomers.settle("s", [name(0)], [500], [1])
    assert not enter(newcomers, name(9), NOW + MINUTE_MS)


async def test_sites_have_places_of_their_own() -> None:
    newcomers = Newcomers(Store().registered)
    for n in range(3):
        newcomers.enter("s", name(n), NOW)
    assert not newcomers.room("s", name(9), NOW, 3)
    assert newcomers.room("other", name(9), NOW, 3)


async def test_many_who_ask_at_once_are_one_question_after_the_first() -> None:
    store = Store(name(2), name(400))
    newcomers = Newcomers(store.registered)
    asking = [asyncio.create_task(newcomers.may_enter("s", name(n), NOW, 3)) for n in range(500)]
    found = await asyncio.gather(*asking)
    assert [n for n, known in enumerate(found) if known] == [2, 400]
    assert len(store.asked) <= 2
    assert await newcomers.may_enter("s", name(2), NOW, 3)


async def test_while_the_store_is_away_ten_times_as_many_are_let_in() -> None:
    """Real articles must not lose their counts by it; an attack must not come in by it without end."""
    store = Store()
    newcomers = Newcomers(store.registered)
    store.away = True
    found = [await newcomers.may_enter("s", name(n), NOW, 3) for n in range(40)]
    assert found == [True] * 30 + [False] * 10
    assert await newcomers.may_enter("s", name(99), NOW + MINUTE_MS, 3)
    store.away = False
    assert not await newcomers.may_enter("s", name(1), NOW + MINUTE_MS, 3)


async def test_a_silent_store_lets_no_article_in_and_delays_no_hit(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is slow because of an attack must not open the door to it. Who waits is bounded, too."""
    monkeypatch.setattr(waiting_room, "PATIENCE_SECONDS", 0.02)
    monkeypatch.setattr(waiting_room, "MOST_WAITING", 500)
    store = Store()
    newcomers = Newcomers(store.registered)
    store.silent.clear()
    asking = [asyncio.create_task(newcomers.may_enter("s", name(n), NOW, 3)) for n in range(600)]
    await asyncio.wait(asking, timeout=20)
    assert all(task.done() and not task.result() for task in asking)
    assert sum(map(len, newcomers._waiting.values())) <= 500
    store.silent.set()
    assert not await newcomers.may_enter("s", name(1), NOW, 3)


async def test_what_is_remembered_is_no_more_than_the_places() -> None:
    newcomers = Newcomers(Store().registered)
    for n in range(10_000):
        enter(newcomers, name(n), NOW + n)
    minutes = newcomers._minutes
    assert len(minutes) == 1
    assert all(len(minute.newcomers) <= 3 for minute in minutes.values())
