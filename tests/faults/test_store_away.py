"""The store hangs, comes back older, or is away when the service has to stop or start."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

from tests.client import Connection, Hit, crowd, until
from tests.driver import Load, under
from tests.faults.conftest import Serve
from tests.faults.conserved import HEAL_SECONDS, Stream, conserved, metrics
from tests.faults.external import ExternalStore
from visitstats.ingest.replay import PATIENCE_SECONDS
from visitstats.reading.snapshots import HEALING_MS
from visitstats.store.client import ANSWER_SECONDS, CONNECT_SECONDS
from visitstats.web.supervisor import MORE_SECONDS

LONGEST = max(CONNECT_SECONDS + ANSWER_SECONDS, 2 * ANSWER_SECONDS, PATIENCE_SECONDS, HEALING_MS / 1000)
"""Whatever in the service waits for the store, or for those who do: nothing waits for longer."""


async def test_the_store_hangs_for_longer_than_anybody_waits(serve: Serve, store: ExternalStore) -> None:
    """Longer than a connection is given, and the next one after it: hits are answered from the journal in the time that
    is set for it, nothing hangs, and a command that the store carries out in the end, although nobody waits for it,
    counts nothing twice."""
    service = serve(store.url)
    load, stream = Load(service, "t1"), Stream("hung")
    async with under(load.run(stream, connections=await service.connections(each=8))):
        await load.more(400)
        known = len(load.latencies)
        store.stop_answering()
        began = time.monotonic()

        async def long_enough() -> bool:
            return time.monotonic() - began > LONGEST

        await until(long_enough, "everybody has given up", LONGEST + 2)
        while_away = load.latencies[known:]
        store.go_on()
        await load.more(400)
        stream.over = True
    assert len(while_away) > 200
    assert max(while_away) < 3, "an answer waited for the store"
    await conserved(load, stream, losses=False)
    assert load.statuses.get(202, 0) > 0


async def test_the_service_stops_under_load(serve: Serve) -> None:
    """SIGTERM ends it within seconds; what was acknowledged until then is there after the next start."""
    service = serve()
    load, stream = Load(service, "t1"), Stream("term")
    async with under(load.run(stream, connections=await service.connections(each=8))):
        await load.more(600)
        began = time.monotonic()
        service.terminate()
        assert await asyncio.to_thread(service.wait, 20) == 0
        assert time.monotonic() - began < 10
        await asyncio.to_thread(service.start)
        await load.more(400)
        stream.over = True
    await conserved(load, stream)


async def test_the_service_stops_while_the_store_hangs(serve: Serve, store: ExternalStore) -> None:
    """SIGTERM does not wait for a store that does not answer: the hits are in the journal, and applied later."""
    service = serve(store.url)
    load, stream = Load(service, "t1"), Stream("termhung")
    async with under(load.run(stream, connections=await service.connections(each=8))):
        await load.more(400)
        store.stop_answering()
        await load.more(400)
        began = time.monotonic()
        service.terminate()
        assert await asyncio.to_thread(service.wait, 30) == 0
        took = time.monotonic() - began
        store.go_on()
        assert took < 15
        await asyncio.to_thread(service.start)
        await load.more(400)
        stream.over = True
    await conserved(load, stream)


async def test_a_service_whose_worker_hangs_ends_all_the_same(serve: Serve, store: ExternalStore) -> None:
    """A worker that cannot end (a disk that hangs, a bug) is killed after `shutdown_seconds` and a little; what it had
    acknowledged is counted at the next start, once."""
    service = serve(store.url, shutdown_seconds="1")
    load, stream = Load(service, "t1"), Stream("stuck")
    async with under(load.run(stream, connections=await service.connections(each=8))):
        await load.more(400)
        os.kill(service.workers[0], signal.SIGSTOP)
        service.terminate()
        assert await asyncio.to_thread(service.wait, 1 + MORE_SECONDS + 10) == 0
        assert "does not end and is killed" in service.log
        await asyncio.to_thread(service.start)
        await load.more(400)
        stream.over = True
    await conserved(load, stream)


async def test_the_store_comes_back_with_an_older_copy(serve: Serve, store: ExternalStore, tmp_path: Path) -> None:
    """A copy from before is put back under load: within ten seconds every number is as if nothing had happened."""
    service = serve(store.url)
    load, stream = Load(service, "t1"), Stream("older")
    async with under(load.run(stream, connections=await service.connections(each=8))):
        await load.more(400)
        store.copy(tmp_path / "copy")
        await load.more(600)
        store.kill()
        store.put_back(tmp_path / "copy")
        store.start()
        await load.more(400)
        stream.over = True
    await conserved(load, stream, losses=False)


async def test_an_idle_service_finds_out_that_the_store_lost_its_counts(serve: Serve, store: ExternalStore) -> None:
    """All counts vanish while nobody comes: they are back within ten seconds, in the box and in every article."""
    service = serve(store.url)
    load, stream = Load(service, "t1"), Stream("idle")
    async with under(load.run(stream, connections=await service.connections(each=8))):
        await load.more(400)
        stream.over = True
    await conserved(load, stream, losses=False)
    connection = await Connection.open(service.port)
    before = await connection.numbers("t1")
    with store.client() as client:
        client.delete(*(key for key in client.scan_iter("vs:{*") if key.startswith(b"vs:{")))
    await conserved(load, stream, losses=False)
    for each in await service.connections():

        async def same(each: Connection = each) -> bool:
            return await each.numbers("t1") == before

        await until(same, f"the box shows {before} again", HEAL_SECONDS)
        each.close()
    connection.close()


async def test_an_emptied_store_is_filled_again(serve: Serve, store: ExternalStore) -> None:
    """FLUSHALL under load: sites, counts and numbers are there again, and the portal's hits go on being taken."""
    service = serve(store.url)
    load, stream = Load(service, "t1"), Stream("flush")
    async with under(load.run(stream, connections=await service.connections(each=8))):
        await load.more(400)
        with store.client() as client:
            client.flushall()
        began = time.monotonic()

        async def directories_were_read() -> bool:
            return time.monotonic() - began > 2.5

        await until(directories_were_read, "every worker has looked for changed sites")
        await load.more(400)
        stream.over = True
    await conserved(load, stream, losses=False)


async def test_a_visit_goes_on_over_a_loss_of_the_store(serve: Serve, store: ExternalStore) -> None:
    """A reader whose next page goes to another worker, just after the store has lost everything, is on one visit."""
    service = serve(store.url)
    first, second = await service.connections()
    readers = crowd(20, "goeson")
    try:
        await second.hit("t1", Hit(crowd(1, "else")[0], "/else"))
        for visitor in readers:
            await first.hit("t1", Hit(visitor, "/a"))
        with store.client() as client:
            client.flushall()
        for visitor in readers:
            await second.hit("t1", Hit(visitor, "/b"))

        async def healed() -> bool:
            shown = await metrics(first)
            return shown["views"] == 41 and not shown["lagging"]

        await until(healed, "every load is counted", HEAL_SECONDS)
        assert (await metrics(first))["visits"] == 21
    finally:
        first.close()
        second.close()


async def test_a_start_without_the_store_shows_the_last_numbers(serve: Serve, store: ExternalStore) -> None:
    """Started while the store is away, it takes hits and shows what was shown last, never 0."""
    service = serve(store.url)
    connection = await Connection.open(service.port)
    readers = crowd(6, "start")
    for visitor in readers[:5]:
        assert (await connection.hit("t1", Hit(visitor, "/a"))).status == 200
    for each in await service.connections():

        async def shows_five(each: Connection = each) -> bool:
            return bool((await each.numbers("t1"))["total"] == 5)

        await until(shows_five, "both workers show 5")
        each.close()
    connection.close()
    service.terminate()
    service.wait()
    store.kill()
    service.start()
    connection = await Connection.open(service.port)
    shown = await connection.numbers("t1")
    assert (shown["today"], shown["total"]) == (5, 5)
    answer = await connection.hit("t1", Hit(readers[5], "/a"))
    assert (answer.status, answer.json["pending"], answer.json["total"]) == (202, True, 5)
    assert answer.json["views"] in (None, 5)
    store.start()

    async def caught_up() -> bool:
        return bool((await connection.numbers("t1"))["total"] == 6)

    await until(caught_up, "the hit is counted", HEAL_SECONDS)
    connection.close()


async def test_a_start_while_the_store_hangs(serve: Serve, store: ExternalStore) -> None:
    """Each process asks it once, then takes it for away: hits are taken at once, and all is counted later."""
    service = serve(store.url)
    load, stream = Load(service, "t1"), Stream("starthung")
    async with under(load.run(stream, readers=8)):
        await load.more(200)
        stream.over = True
    await conserved(load, stream, losses=False)
    service.terminate()
    service.wait()
    known = len(service.log)
    store.stop_answering()
    service.start()
    # Nobody had the time for a second question until the first answer.
    said = service.log[known:]
    assert said.count("hits are journalled until it is back") == 1, said
    assert said.count("hits are journalled until the store is back") <= service.workers_wanted, said
    stream.over = False
    async with under(load.run(stream, connections=await service.connections(each=4))):
        await load.more(200)
        store.go_on()
        await load.more(200)
        stream.over = True
    await conserved(load, stream)
    assert load.statuses[202] >= 200


async def test_an_older_store_gets_back_what_a_worker_counted_who_is_gone(
    serve: Serve, store: ExternalStore, tmp_path: Path
) -> None:
    """The journal of a worker process that is not needed any more is healed from like any other's."""
    service = serve(store.url, workers=3)
    store.copy(tmp_path / "copy")
    load, stream = Load(service, "t1"), Stream("gone")
    async with under(load.run(stream, connections=await service.connections(each=6))):
        await load.more(600)
        stream.over = True
    await conserved(load, stream, losses=False)
    service.terminate()
    service.wait()
    service.workers_wanted = 2
    service.start()
    await conserved(load, stream, losses=False)
    store.kill()
    store.put_back(tmp_path / "copy")
    store.start()
    await conserved(load, stream, losses=False)


async def test_a_worker_is_killed_while_the_store_hangs(serve: Serve, store: ExternalStore) -> None:
    """What it acknowledged is in its journal alone at that moment: somebody finds it there and applies it."""
    service = serve(store.url)
    load, stream = Load(service, "t1"), Stream("killhung")
    async with under(load.run(stream, connections=await service.connections(each=8))):
        await load.more(300)
        store.stop_answering()
        await load.more(600)
        os.kill(service.workers[0], signal.SIGKILL)
        await load.more(300)
        store.go_on()
        await load.more(300)
        stream.over = True
    await conserved(load, stream)
    assert load.statuses[202] > 300
