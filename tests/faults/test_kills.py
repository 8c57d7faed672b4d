"""kill -9 of whatever there is, in the middle of load: what was acknowledged is counted, once."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path

import pytest

from tests.client import Connection, until
from tests.driver import Load, Service, alive_pids, under
from tests.faults.conftest import Serve
from tests.faults.conserved import Stream, conserved
from tests.faults.external import ExternalStore
from tests.faults.mutants import Change, mutated


async def test_a_worker_is_killed_again_and_again(serve: Serve) -> None:
    """Its acknowledged hits are applied from its journal, by whoever takes that over; the other worker goes on."""
    service = serve()
    load, stream = Load(service, "t1"), Stream("worker")
    async with under(load.run(stream, connections=await service.connections(each=8))):
        for n in range(4):
            await load.more(400)
            victim = service.workers[n % 2]
            os.kill(victim, signal.SIGKILL)

            async def replaced(victim: int = victim) -> bool:
                return len(service.workers) == 2 and victim not in service.workers

            await until(replaced, "a new worker runs")
        await load.more(400)
        stream.over = True
    await conserved(load, stream)


async def test_a_worker_that_cannot_start_again_ends_nothing(
    serve: Serve, store: ExternalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Something that a start needs is gone, while one worker dies: the other goes on serving, and the dead one is back
    when it is there again. What was acknowledged counts once."""
    package, gone = mutated(tmp_path / "package", ()), tmp_path / "gone"
    worker = package / "visitstats" / "worker.py"
    start = "    async def start(self) -> None:\n"
    broken = f"{start}        if os.path.exists({str(gone)!r}):\n            raise KeyError('gone')\n"
    worker.write_text(worker.read_text("utf-8").replace(start, broken), "utf-8")
    monkeypatch.setenv("PYTHONPATH", str(package))
    service = serve(store.url)
    load, stream = Load(service, "t1"), Stream("upgrade")

    async def both_serve() -> bool:
        try:
            found = await service.connections(seconds=3)
        except AssertionError:
            return False
        for connection in found:
            connection.close()
        return True

    async with under(load.run(stream, connections=await service.connections(each=4))):
        await load.more(400)
        gone.touch()
        os.kill(service.workers[0], signal.SIGKILL)
        await until(lambda: _tried_twice(service), "it was tried twice", 40)
        await load.more(400)
        gone.unlink()
        await until(both_serve, "both serve", 30)
        await load.more(400)
        stream.over = True
    await conserved(load, stream)


async def _tried_twice(service: Service) -> bool:
    connection = await Connection.open(service.port)
    text = (await connection.request("GET", "/metrics")).body.decode()
    connection.close()
    found = re.search(r'^visitstats_worker_restarts_total\{reason="not-started"\} (\S+)$', text, re.M)
    return found is not None and float(found[1]) > 1 and "a worker could not start" in service.log


def test_a_service_none_of_whose_workers_can_start_ends_and_says_so(
    store: ExternalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does not try for ever behind a port that nobody answers on: systemd, or a person, is to know."""
    start = "    async def start(self) -> None:\n"
    broken = Change("worker.py", start, f"{start}        raise KeyError('new')\n")
    monkeypatch.setenv("PYTHONPATH", str(mutated(tmp_path / "package", (broken,))))
    service = Service(tmp_path / "data", redis_url=store.url)
    try:
        with pytest.raises(AssertionError, match="it ended at the start"):
            service.start()
        assert service.wait(5) == 1
        assert "a worker could not start; the log above says why" in service.log
        assert "KeyError: 'new'" in service.log
    finally:
        service.stop()


async def test_everything_is_killed_and_started_again(serve: Serve) -> None:
    """kill -9 of the supervisor leaves no orphan; the next start goes on with the same numbers, none below those
    shown."""
    service = serve()
    load, stream = Load(service, "t1"), Stream("all")
    async with under(load.run(stream, connections=await service.connections(each=8))):
        for _ in range(2):
            await load.more(400)
            family = service.children()
            os.kill(service.pid, signal.SIGKILL)
            service.wait()

            async def gone(family: dict[int, str] = family) -> bool:
                return not alive_pids(family)

            await until(gone, "its workers and its store have ended", 15)
            shown = load.shown
            service.start()
            connection = await Connection.open(service.port)
            assert (await connection.numbers("t1"))["total"] >= shown
            connection.close()
        await load.more(400)
        stream.over = True
    await conserved(load, stream)


async def test_the_supervisor_is_killed_while_its_workers_start(serve: Serve) -> None:
    """Workers that have hardly begun end, too: an orphan would hold the port and the data folder."""
    service = serve()
    for n in range(3):
        service.stop()
        service.start(ready=False)
        began = time.monotonic()

        async def a_while(began: float = began, seconds: float = 0.15 * n) -> bool:
            return time.monotonic() - began >= seconds

        await until(a_while, "they are a little further")
        family = service.children()
        os.kill(service.pid, signal.SIGKILL)
        service.wait()

        async def gone(family: dict[int, str] = family) -> bool:
            return not alive_pids(family)

        await until(gone, "its workers and its store have ended", 15)
    service.start()


async def test_the_embedded_store_is_killed(serve: Serve) -> None:
    """The supervisor starts it again; hits are answered all the while, none is lost and none doubled."""
    service = serve()
    load, stream = Load(service, "t1"), Stream("embedded")
    async with under(load.run(stream, connections=await service.connections(each=8))):
        for _ in range(3):
            await load.more(400)
            victim = service.store
            os.kill(victim, signal.SIGKILL)

            async def revived(victim: int = victim) -> bool:
                try:
                    return service.store != victim
                except StopIteration:
                    return False

            await until(revived, "the store runs again")
            await load.more(400)
        stream.over = True
    await conserved(load, stream, losses=False)
    assert load.percentile(1.0) < 5


async def test_a_store_of_somebody_else_is_killed_and_comes_back(serve: Serve, store: ExternalStore) -> None:
    """With an append-only file of `everysec` it may come back without its last second: the journal knows it."""
    service = serve(store.url)
    load, stream = Load(service, "t1"), Stream("redis")
    async with under(load.run(stream, connections=await service.connections(each=8))):
        for _ in range(2):
            await load.more(400)
            store.kill()
            await load.more(400)
            store.start()
            await load.more(400)
        stream.over = True
    await conserved(load, stream, losses=False)
    assert load.statuses.get(202, 0) > 0
    assert load.percentile(1.0) < 5
