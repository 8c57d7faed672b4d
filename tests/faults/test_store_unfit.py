"""The store is set to evict while the service runs: nothing ends, and nothing is counted until it is fit again."""

from __future__ import annotations

import os
import re
import signal

from tests.client import Connection, Hit, crowd, until
from tests.driver import Load, Service, under
from tests.faults.conftest import Serve
from tests.faults.conserved import HEAL_SECONDS, Stream, conserved, metrics
from tests.faults.external import ExternalStore
from tests.waiting import wait_until

ALARM = "the store is unfit: the store's maxmemory-policy is"


def setting(store: ExternalStore, name: str, value: str) -> None:
    with store.client() as client:
        client.config_set(name, value)


def evict(store: ExternalStore, policy: str) -> None:
    setting(store, "maxmemory-policy", policy)


async def all_say(service: Service, word: str) -> None:
    """Wait until every worker says how the store is, in /readyz; it takes hits either way. Then a scrape shows the
    same, whichever of them answers it."""
    connections = await service.connections()
    for connection in connections:

        async def said(connection: Connection = connection) -> bool:
            answer = await connection.request("GET", "/readyz")
            return (answer.status, answer.json["ready"], answer.json["store"]) == (200, True, word)

        await until(said, f"a worker says that the store is {word}")
    for connection in connections:
        text = (await connection.request("GET", "/metrics")).body.decode()
        assert re.findall(r"^visitstats_store_fit (\S+)$", text, re.M) == ["0.0" if word == "unfit" else "1.0"]
        connection.close()


async def replaced(service: Service, dead: int) -> None:
    """Wait until another worker has come for a dead one."""
    wait_until(lambda: dead not in service.workers and len(service.workers) == 2, "the worker is replaced")
    for connection in await service.connections():
        connection.close()


async def test_nothing_is_counted_in_a_store_that_may_evict(serve: Serve, store: ExternalStore) -> None:
    """An evicted watermark would have the journal counted a second time. Hits are taken all the while; a worker that is
    killed is replaced; and when the policy is right again every acknowledged hit is counted once, without a restart."""
    service = serve(store.url)
    load, stream = Load(service, "t1"), Stream("evicts")
    async with under(load.run(stream, readers=8)):
        await load.more(300)
        evict(store, "allkeys-lru")
        await all_say(service, "unfit")
        # Its own worker answers a scrape: what it shows is in the store.
        scraper = await Connection.open(service.port)
        await load.more(50)
        before, pending = await metrics(scraper), load.statuses.get(202, 0)
        shown = (await scraper.numbers("t1"))["total"]
        await load.more(200)
        scraper.close()
        assert load.statuses[202] >= pending + 200
        victim = service.workers[0]
        os.kill(victim, signal.SIGKILL)
        await replaced(service, victim)
        await all_say(service, "unfit")
        await load.more(200)
        for connection in await service.connections():
            after = await metrics(connection)
            assert (after["views"], after["visits"]) == (before["views"], before["visits"]), "it was counted"
            assert after["lagging"] > 0
            assert (await connection.numbers("t1"))["total"] == shown
            connection.close()
        assert service.log.count(ALARM) == 1, service.log
        evict(store, "noeviction")
        await all_say(service, "ok")
        await load.more(200)
        stream.over = True
    await conserved(load, stream)
    assert "failed to start" not in service.log


async def test_an_idle_service_sees_that_the_store_may_evict(serve: Serve, store: ExternalStore) -> None:
    """It is told before the first hit would find out; the hits after it are fresh again."""
    service = serve(store.url)
    evict(store, "volatile-ttl")
    await all_say(service, "unfit")
    connections, readers = await service.connections(), crowd(4, "idle")
    for connection, visitor in zip(connections, readers[:2], strict=True):
        assert (await connection.hit("t1", Hit(visitor, "/a"))).status == 202
    evict(store, "noeviction")
    await all_say(service, "ok")
    for connection, visitor in zip(connections, readers[2:], strict=True):

        async def caught_up(connection: Connection = connection) -> bool:
            return not (await connection.request("GET", "/readyz")).json["lagging_sites"]

        await until(caught_up, "the journal is applied", HEAL_SECONDS)
        assert (await connection.hit("t1", Hit(visitor, "/a"))).status == 200
    assert (await connections[0].hit("t1", Hit(readers[0], "/b"))).json["total"] == 4
    for connection in connections:
        connection.close()


async def test_a_store_that_comes_back_with_another_policy(serve: Serve, store: ExternalStore) -> None:
    """Restarted by somebody with a file that lets it evict: nothing is committed to it from the first moment."""
    service = serve(store.url)
    setting(store, "appendfsync", "always")
    connection = await Connection.open(service.port)
    readers = crowd(2, "restart")
    assert (await connection.hit("t1", Hit(readers[0], "/a"))).status == 200
    store.kill()
    assert (await connection.hit("t1", Hit(readers[1], "/a"))).status == 202
    store.more_options = ("--maxmemory-policy", "allkeys-lfu")
    store.start()
    await all_say(service, "unfit")
    assert (await metrics(connection))["views"] == 1
    evict(store, "noeviction")

    async def counted() -> bool:
        return (await metrics(connection))["views"] == 2

    await until(counted, "the hit is counted", HEAL_SECONDS)
    connection.close()
