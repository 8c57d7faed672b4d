"""The disk fails under a running service, and under one that starts: hits are refused, reads are answered, and all is
well again when the disk is."""

from __future__ import annotations

import errno
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.client import Connection, Hit, crowd, until
from tests.driver import EACH_ITS_OWN, PROGRAM, Load, Service, alive_pids, noon_zone, under
from tests.faults.conserved import Stream, conserved
from tests.faults.sabotage import SYNCS, Sabotage
from tests.waiting import wait_until

Sabotaged = Callable[..., tuple[Service, Sabotage]]


@pytest.fixture
def sabotaged(tmp_path: Path) -> Iterator[Sabotaged]:
    """Make a service with a site `t1` that has the saboteur; nothing of it is left behind."""
    made: list[Service] = []

    def make() -> tuple[Service, Sabotage]:
        service, sabotage = Service(tmp_path / "data", workers=2), Sabotage(tmp_path / "sabotage")
        sabotage.into(service)
        made.append(service)
        service.add_site("t1", "--timezone", noon_zone(), *EACH_ITS_OWN)
        return service, sabotage

    yield make
    for service in made:
        children = service.children() if service.running else {}
        service.stop()
        wait_until(lambda: not alive_pids(children), "its processes are gone")  # noqa: B023


async def refusals(load: Load, many: int) -> None:
    """Wait until so many more hits are refused."""
    enough = load.statuses.get(503, 0) + many

    async def there() -> bool:
        assert load.broken is None, repr(load.broken)
        return load.statuses.get(503, 0) >= enough

    await until(there, f"{many} hits are refused")


async def says(connection: Connection, ready: bool) -> None:
    """Wait until a worker says of itself that it takes hits, or that it refuses them; it answers reads either way."""

    async def said() -> bool:
        answer = await connection.request("GET", "/readyz")
        expected = (200, True, "ok") if ready else (503, False, "refuses")
        return (answer.status, answer.json["ready"], answer.json["journal"]) == expected

    await until(said, f"a worker says that it {'takes' if ready else 'refuses'} hits")
    for path in ("/v1/sites/t1/stats", "/widget.js", "/healthz"):
        assert (await connection.request("GET", path)).status == 200


async def shown(service: Service, *, up: bool) -> None:
    """Wait until a scrape, which any worker answers for all, shows whether all of them take hits: each tells the others
    once a second."""
    connection = await Connection.open(service.port)

    async def there() -> bool:
        answer = await connection.request("GET", "/metrics")
        assert answer.status == 200, answer
        return re.findall(r"^visitstats_journal_up (\S+)$", answer.body.decode(), re.M) == [f"{up:.1f}"]

    await until(there, f"a scrape shows that {'all take' if up else 'one refuses'} hits")
    connection.close()


async def test_a_disk_that_fails_at_its_syncs(sabotaged: Sabotaged) -> None:
    """EIO from fdatasync: no hit is acknowledged any more, reads go on, and when the disk works again hits are taken,
    in a new segment."""
    service, sabotage = sabotaged()
    service.start()
    segments = len(list(service.data_dir.glob("journal/*/*.log")))
    load, stream = Load(service, "t1"), Stream("eio")
    async with under(load.run(stream, connections=await service.connections(each=4))):
        await load.more(100)
        sabotage.fail(SYNCS, errno.EIO)
        for connection in (readers := await service.connections()):
            await says(connection, ready=False)  # what was synced before is answered
        await shown(service, up=False)
        await refusals(load, 20)
        acknowledged = len(load.acknowledged)
        await refusals(load, 40)
        assert len(load.acknowledged) == acknowledged, "acknowledged without a sync"
        sabotage.relent()
        await load.more(100)
        for connection in readers:
            await says(connection, ready=True)
            connection.close()
        await shown(service, up=True)
        stream.over = True
    await conserved(load, stream, losses=False)
    assert {each["errno"] for each in sabotage.done()} == {errno.EIO}
    assert len(list(service.data_dir.glob("journal/*/*.log"))) >= segments + 4, "a segment was written again"


async def test_a_worker_that_nobody_sends_hits_finds_out_that_the_disk_works_again(sabotaged: Sabotaged) -> None:
    """A balancer that asks /readyz first sends no hit until the answer is yes."""
    service, sabotage = sabotaged()
    service.start()
    [first, second] = await service.connections()
    sabotage.fail(SYNCS, errno.EIO)
    visitor = crowd(1, "quiet")[0]
    for n in range(3):
        answer = await first.hit("t1", Hit(visitor, "/a"))
        assert (answer.status, answer.headers["retry-after"].isdigit()) == (503, True), n
    await says(first, ready=False)
    await says(second, ready=True)  # it was not asked to write anything yet
    await shown(service, up=False)
    sabotage.relent()
    await says(first, ready=True)
    await shown(service, up=True)
    assert (await first.hit("t1", Hit(visitor, "/a"))).json["views"] == 1
    assert service.log.count("hits are refused: the journal cannot be written: Input/output error") == 1
    assert service.log.count("the journal takes hits again") == 1
    first.close()
    second.close()


async def test_a_disk_that_fills_up_takes_a_part_of_a_record(sabotaged: Sabotaged) -> None:
    """Writes that are cut short are gone on with; one that then fails takes back what was written of its records."""
    service, sabotage = sabotaged()
    service.start()
    load, stream = Load(service, "t1"), Stream("enospc")
    async with under(load.run(stream, connections=await service.connections(each=4))):
        await load.more(100)
        sabotage.fill(errno.ENOSPC, 25)
        await refusals(load, 30)
        await load.more(30)
        sabotage.relent()
        await load.more(100)
        stream.over = True
    await conserved(load, stream, losses=False)
    assert {each["act"] for each in sabotage.done()} == {"short"}


@pytest.mark.parametrize("error", [errno.EROFS, errno.ENOSPC])
async def test_a_service_whose_journal_cannot_be_opened_starts_and_waits_for_the_disk(
    sabotaged: Sabotaged, error: int
) -> None:
    """It answers reads and refuses hits; the same processes take hits as soon as the disk lets them."""
    service, sabotage = sabotaged()
    sabotage.fail(("open", "mkdir"), error)
    service.start(ready=False)
    workers = sorted(service.workers)
    load, stream = Load(service, "t1"), Stream("late")
    async with under(load.run(stream, readers=4)):
        await refusals(load, 20)
        for connection in (readers := await service.connections()):
            await says(connection, ready=False)
        await shown(service, up=False)
        assert not load.acknowledged
        sabotage.relent()
        for connection in readers:
            await says(connection, ready=True)
            connection.close()
        await shown(service, up=True)
        await load.more(100)
        stream.over = True
    await conserved(load, stream, losses=False)
    assert sorted(service.workers) == workers
    assert service.log.count(f"hits are refused until the journal can be opened: {service_line(service, error)}") == 1
    assert service.log.count("the journal is open, and hits are taken") == 1
    service.terminate()
    assert service.wait() == 0


def service_line(service: Service, error: int) -> str:
    return f"the journal in {service.data_dir}/journal cannot be opened: {os.strerror(error)}"


async def test_a_worker_that_comes_back_to_a_broken_disk_leaves_the_others_at_work(sabotaged: Sabotaged) -> None:
    """One of two is killed, and cannot open its journal again: the other goes on, what the dead one had acknowledged is
    counted, and the new one takes hits when the disk is well."""
    service, sabotage = sabotaged()
    service.start()
    load, stream = Load(service, "t1"), Stream("back")
    async with under(load.run(stream, connections=await service.connections(each=4))):
        await load.more(100)
        sabotage.fail(("open", "mkdir"), errno.EIO, "open lock in try_lock")
        victim = service.workers[0]
        os.kill(victim, 9)

        async def refused() -> bool:
            return "hits are refused until the journal can be opened" in service.log

        await until(refused, "the new worker says that it cannot open its journal", 20)
        await load.more(50)
        sabotage.relent()
        for connection in await service.connections():
            await says(connection, ready=True)
            connection.close()
        await shown(service, up=True)
        await load.more(50)
        stream.over = True
    await conserved(load, stream)


@pytest.mark.parametrize("where", ["file/data", "file"])
def test_a_data_folder_that_cannot_be_made_is_refused_in_one_line(tmp_path: Path, where: str) -> None:
    """Whoever types the command is there to put it right."""
    (tmp_path / "file").touch()
    command = [str(PROGRAM), "serve", "--port", "0", "--data-dir", str(tmp_path / where)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=30)
    assert done.returncode == 1
    assert re.fullmatch(r"visitstats: the data folder \S+ cannot be made: \S.*\n", done.stderr), done.stderr
