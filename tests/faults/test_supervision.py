"""Workers that are killed and hung, reloads, stops: each is seen, in one line and in the metrics, and loses nothing."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

from tests.client import Connection, Hit, crowd, until
from tests.driver import PROGRAM, Load, Service, under
from tests.faults.conftest import Serve
from tests.faults.conserved import Stream, conserved
from tests.faults.external import ExternalStore
from tests.web.test_scrape import samples
from visitstats.core.sites import Site
from visitstats.store.client import open_client
from visitstats.store.records import Records

BAD = re.compile(r"Traceback|CRITICAL|Task was destroyed|never (awaited|retrieved)")


async def scraped(service: Service) -> dict[str, float]:
    connection = await Connection.open(service.port)
    try:
        return samples((await connection.request("GET", "/metrics", seconds=10)).body.decode())
    finally:
        connection.close()


@pytest.mark.parametrize("how", ["died", "hung"])
async def test_a_worker_that_dies_or_hangs_is_one_line_and_a_metric(serve: Serve, how: str) -> None:
    """With its process, its slot, and the signal or that it gave no answer. Nothing that it had acknowledged is lost,
    and what it had committed is among the hits of the metrics."""
    service = serve()
    load, stream = Load(service, "t1"), Stream(how)
    async with under(load.run(stream, connections=await service.connections(each=4))):
        await load.more(300)
        victim = service.workers[0]
        os.kill(victim, signal.SIGKILL if how == "died" else signal.SIGSTOP)

        async def replaced() -> bool:
            found = await scraped(service)
            return found[f'visitstats_worker_restarts_total{{reason="{how}"}}'] == 1 and (
                found['visitstats_workers{state="ready"}'] == found['visitstats_workers{state="wanted"}'] == 2
            )

        await until(replaced, "it is replaced, and that is counted", 30)
        await load.more(300)
        stream.over = True
    await conserved(load, stream)
    told = re.compile(rf"worker {victim}, slot \d .*takes its place")
    lines = [line for line in service.log.splitlines() if told.search(line)]
    assert len(lines) == 1, service.log
    assert ("signal 9 (SIGKILL)" if how == "died" else "did not answer for 5 s") in lines[0]
    connection = await Connection.open(service.port)
    views = await connection.views("t1", [hit.article for hit in stream.sent])
    connection.close()
    counted, hits = sum(views.values()), (await scraped(service))['visitstats_hits_total{site="t1"}']
    # A hit that was sent again because its answer was lost is a duplicate: one for each reader, at most.
    assert counted <= hits <= counted + 8


async def test_a_life_is_told_in_four_lines(serve: Serve) -> None:
    """What runs on what, where the journal stands, since when hits are taken, and the end."""
    service = serve()
    await until(lambda: _is(" ready: " in service.log), "it is ready", 10)
    service.terminate()
    assert service.wait() == 0
    said = [line.partition("]: ")[2] for line in service.log.splitlines() if "]: " in line]
    assert len(said) == 4, service.log
    assert re.match(
        r"starting: visitstats \S+, Python \S+, 2 workers; (valkey|redis) \S+ at unix:\S+ \(master\), 1 sites; "
        r"\d+ slots of the journal, \S+ MiB, in /",
        said[0],
    ), said[0]
    assert re.match(r"ready: worker \d+, slot \d at record \d+; worker \d+, slot \d at record \d+", said[1]), said[1]
    assert said[2:] == ["stopping: SIGTERM", "stopped"]


async def _is(true: bool) -> bool:
    return true


@pytest.mark.parametrize("times", [int(os.environ.get("FAULTS_STOPS", "4"))])
async def test_a_stop_under_load_leaves_no_traceback(serve: Serve, store: ExternalStore, times: int) -> None:
    """An operator who reads one takes it for a fault. 50 times by hand: FAULTS_STOPS=50."""
    service = serve(store.url)
    await put_sites(store, 100)
    for n in range(times):
        load, stream = Load(service, "t1"), Stream(f"stop{n}")
        async with under(load.run(stream, connections=await service.connections(each=4))):
            await load.more(100)
            service.terminate()
            assert await asyncio.to_thread(service.wait) == 0
            stream.over = True
            await asyncio.to_thread(service.start)
    assert not BAD.search(service.log), service.log
    assert "ERROR" not in service.log, service.log


async def put_sites(store: ExternalStore, number: int) -> None:
    client = open_client(store.url)
    for n in range(number):
        await Records(client).put_site(Site(id=f"p{n}", hosts=(f"p{n}.example.vn",)))
    await client.aclose()


def configured(service: Service, text: str) -> None:
    path = service.data_dir.with_name("visitstats.toml")
    path.write_text(text, "utf-8")
    service.environ["VISITSTATS_CONFIG"] = str(path)


async def reload(service: Service) -> subprocess.CompletedProcess[str]:
    return await asyncio.to_thread(
        subprocess.run,
        [str(PROGRAM), "reload"], env=service.environ, cwd=service.data_dir, capture_output=True, text=True,
        timeout=120,
    )  # fmt: skip


async def test_a_reload_refuses_no_hit_and_has_the_new_settings(serve: Serve, tmp_path: Path) -> None:
    """Every worker is another one then; what cannot change without a restart is named, and stays."""
    service = serve(log_level="info")
    service.terminate()
    service.wait()
    configured(service, "shutdown_seconds = 10\n")
    service.start()
    before, load, stream = service.workers, Load(service, "t1"), Stream("reload")
    async with under(load.run(stream, connections=await service.connections(each=1))):
        await load.more(200)
        configured(service, 'log_format = "json"\nhost = "0.0.0.0"\n')
        done = await reload(service)
        assert (done.returncode, done.stderr) == (0, "")
        await load.more(200)
        stream.over = True
    await conserved(load, stream, losses=False)
    assert set(load.statuses) <= {200, 202}
    assert not set(before) & set(service.workers)
    assert "these settings are changed by a restart only: host" in service.log
    assert '"message": "reloaded: ' in service.log
    assert (await scraped(service))['visitstats_worker_restarts_total{reason="reload"}'] == 2


async def test_a_reload_of_settings_that_are_wrong_changes_nothing(serve: Serve) -> None:
    """The command says why, in one line."""
    service = serve()
    service.terminate()
    service.wait()
    configured(service, "")
    service.start()
    before = service.workers
    configured(service, "workerz = 3\n")
    done = await reload(service)
    assert (done.returncode, done.stdout) == (78, "")
    assert "workerz in " in done.stderr
    assert "did you mean workers" in done.stderr
    os.kill(service.pid, signal.SIGHUP)
    await until(lambda: _is("the settings are not reloaded" in service.log), "the log says it", 10)
    assert service.workers == before
    service.terminate()
    assert service.wait() == 0
    done = await reload(service)
    assert done.returncode == 78


async def test_a_store_that_refuses_is_a_line_or_two_whatever_comes_in(serve: Serve, store: ExternalStore) -> None:
    """Not one for each site, worker and second: the disk that the log is on is the operator's."""
    sites = 40
    service = serve(store.url)
    await put_sites(store, sites)
    await service.known(f"p{sites - 1}")
    connections = await service.connections(each=1)
    for connection in connections:
        for n in range(sites):  # each worker needs the day's salts, which it cannot have of a full store
            body = {"u": f"https://p{n}.example.vn/a"}
            sent = await connection.request("POST", f"/v1/sites/p{n}/hit", body, crowd(1, "first")[0].headers)
            assert sent.status == 200, sent
    with store.client() as raw:
        raw.config_set("maxmemory", 1)
        known = len(service.log)
        people = crowd(4, "full")
        for person in people:
            for n in range(sites):
                for connection in connections:
                    hit = Hit(person, f"/{n}")
                    body = {"u": f"https://p{n}.example.vn/a"}
                    answer = await connection.request("POST", f"/v1/sites/p{n}/hit", body, hit.visitor.headers)
                    assert answer.status == 202, answer

        async def lagging() -> bool:
            found = await scraped(service)
            return found["visitstats_lagging_sites"] == sites and found['visitstats_store_state{state="full"}'] == 2

        await until(lagging, "each site is said to lag once", 15)

        async def tried() -> bool:
            return (await scraped(service))['visitstats_store_refusals_total{reason="oom"}'] >= 10

        await until(tried, "it is tried again and again", 30)
        raw.config_set("maxmemory", 0)

        async def healed() -> bool:
            found = await scraped(service)
            return found["visitstats_lagging_sites"] == 0 and found['visitstats_store_state{state="ok"}'] == 2

        await until(healed, "all is counted", 20)
    for connection in connections:
        connection.close()
    said = service.log[known:].splitlines()
    assert len([line for line in said if "the store is full: " in line]) == 1, said
    assert len([line for line in said if "the store is ok: " in line]) == 1, said
    assert len(said) <= 4, said
    found = await scraped(service)
    assert all(found[f'visitstats_hits_total{{site="p{n}"}}'] == 10 for n in range(sites))
