"""The commands that say whether the numbers can be trusted, on real services; and what a start refuses or reports."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.client import HOST, Connection, Hit, crowd, until
from tests.conftest import StartStore
from tests.driver import PROGRAM, Load, Service, noon_zone, under
from tests.store.writing import batch_of
from tests.waiting import wait_until
from visitstats.core.batch import encode
from visitstats.core.periods import Calendar
from visitstats.core.sites import Site
from visitstats.journal.folder import claim_folder
from visitstats.journal.log import OpenJournal
from visitstats.store import keys


def run(service: Service, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command beside the service, and return what became of it."""
    return subprocess.run(
        [str(PROGRAM), *arguments],
        env=service.environ,
        cwd=service.data_dir,
        capture_output=True,
        text=True,
        timeout=30,
    )


def hits(name: str, many: int) -> list[Hit]:
    return [Hit(reader, f"/{name}/{n % 7}", f"{name}-{n:06d}") for n, reader in enumerate(crowd(many, name))]


@pytest.fixture
def apart(tmp_path: Path, start_store: StartStore) -> Iterator[Service]:
    """A service that is not started yet, beside a store of its own that outlives it, with a site t1."""
    service = Service(tmp_path / "data", workers=1, redis_url=start_store().url)
    service.add_site("t1", "--timezone", noon_zone())
    yield service
    service.stop()


async def add_site(service: Service, site: str) -> None:
    """Add a site, and wait until every worker knows it."""
    service.add_site(site, "--timezone", noon_zone())
    for connection in await service.connections():

        async def known(connection: Connection = connection) -> bool:
            return (await connection.request("GET", f"/v1/sites/{site}/stats")).status == 200

        await until(known, f"a worker knows site {site}", 5)
        connection.close()


def client(service: Service) -> redis.Redis:
    return redis.Redis.from_url(service.environ["VISITSTATS_REDIS_URL"])


async def numbers(service: Service) -> Any:
    connection = await Connection.open(service.port)
    try:
        return await connection.numbers("t1")
    finally:
        connection.close()


async def ready(service: Service) -> Any:
    connection = await Connection.open(service.port)
    try:
        return (await connection.request("GET", "/readyz")).json
    finally:
        connection.close()


# verify ---------------------------------------------------------------------------------------------------------------


async def test_verify_agrees_with_a_service_that_counts(service: Service) -> None:
    """Two workers count while it looks, and it finds nothing wrong."""
    await add_site(service, "busy")
    load = Load(service, "busy")
    async with under(load.run(hits("busy", 3000))) as task:
        while not task.done():
            done = await asyncio.to_thread(run, service, "verify", "busy")
            assert (done.returncode, done.stderr) == (0, ""), done.stdout
    done = run(service, "verify", "busy")
    assert "busy: 3.000 visits, 3.000 views, 7 articles: all agrees" in done.stdout
    assert "nothing is wrong" in done.stdout


async def test_verify_says_what_is_wrong_and_exits_1(service: Service) -> None:
    await add_site(service, "broken")
    await Load(service, "broken").run(hits("broken", 10))
    day = Calendar(noon_zone()).day_at(int(time.time() * 1000))
    path = (service.data_dir / "valkey" / "socket").read_text("utf-8")
    with redis.Redis(unix_socket_path=path) as raw:
        raw.hincrby(*keys.count_at("broken", "visits", day.date), 1)
        try:
            done = run(service, "verify", "broken")
            found = run(service, "verify", "broken", "--json")
        finally:
            raw.hincrby(*keys.count_at("broken", "visits", day.date), -1)
    assert (done.returncode, done.stderr) == (1, "")
    assert (
        f"WRONG: broken: days: vs:{{broken}}:days:{day.month}: {day.month} has 10 visits, its days together 11"
        in done.stdout
    )
    assert found.returncode == 1
    report = json.loads(found.stdout)
    assert report["ok"] is False
    assert {(each["site"], each["check"]) for each in report["problems"]} >= {("broken", "days")}
    assert run(service, "verify", "broken").returncode == 0


def test_verify_of_a_site_that_is_not_there_is_one_line(service: Service) -> None:
    done = run(service, "verify", "nowhere")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "visitstats: there is no site 'nowhere'; visitstats site list shows them\n"


# doctor ---------------------------------------------------------------------------------------------------------------


def test_the_doctor_has_no_objections_to_a_running_service(service: Service) -> None:
    done = run(service, "doctor", "--json")
    report = json.loads(done.stdout)
    failed = [
        row for row in report["checks"] if row["status"] == "fail" and row["check"] not in ("port", "file system")
    ]
    assert failed == []  # another program may have port 8080 here, and the test's folder may be in memory
    assert {"store version", "eviction", "persistence", "clock", "data folder", "open files", "port", "versions"} <= {
        row["check"] for row in report["checks"]
    }


def test_the_doctor_says_what_to_change_and_exits_1(apart: Service) -> None:
    with client(apart) as raw:
        raw.config_set("maxmemory-policy", "allkeys-lru")
    done = run(apart, "doctor")
    assert done.returncode == 1
    assert "fail eviction: allkeys-lru -> set maxmemory-policy to noeviction" in done.stdout


def test_the_doctor_looks_at_the_machine_when_the_store_is_away(tmp_path: Path) -> None:
    service = Service(tmp_path / "data", redis_url=f"unix://{tmp_path}/nobody")
    service.data_dir.mkdir()
    done = run(service, "doctor")
    assert done.returncode == 1
    assert "fail store: " in done.stdout
    assert "data folder" in done.stdout
    assert list(service.data_dir.iterdir()) == []


# journal --------------------------------------------------------------------------------------------------------------


def leave_behind(service: Service, many: int) -> None:
    """A worker died before the store took its last batches."""
    now = int(time.time() * 1000)
    site = Site(id="t1", hosts=(HOST,), timezone=noon_zone())
    day = Calendar(site.timezone).day_at(now)
    claim_folder(service.data_dir)
    journal = OpenJournal.open(service.data_dir / "journal", max_bytes=1 << 30, keep_seconds=3600)
    for n in range(many):
        previous = n and journal.last_sequence
        batch = batch_of((now, f"reader {n}", f"/{n}"), site=site, previous=previous, day=day, total=n)
        journal.append([encode(batch)])
    journal.close()


def test_what_a_dead_worker_left_is_shown_applied_and_then_right(apart: Service) -> None:
    leave_behind(apart, 3)
    status = run(apart, "journal", "status")
    assert status.returncode == 0
    assert "state free  first 1  last 3  records 3" in status.stdout
    assert "not applied t1 3" in status.stdout
    assert run(apart, "verify").returncode == 1
    replay = run(apart, "journal", "replay")
    assert (replay.returncode, replay.stdout) == (0, "t1: 3 records applied\n")
    assert "not applied nothing" in run(apart, "journal", "status").stdout
    again = run(apart, "journal", "replay")
    assert (again.returncode, again.stdout) == (0, "Nothing was to be applied.\n")
    verified = run(apart, "verify")
    assert "t1: 3 visits, 3 views, 3 articles: all agrees" in verified.stdout


def test_a_replay_without_the_store_changes_nothing_and_says_so(tmp_path: Path) -> None:
    service = Service(tmp_path / "data", redis_url=f"unix://{tmp_path}/nobody")
    leave_behind(service, 2)
    done = run(service, "journal", "replay")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("visitstats: the journal stays as it is: the store does not answer")
    assert done.stderr.count("\n") == 1
    status = run(service, "journal", "status")
    assert status.returncode == 0
    assert "records 2" in status.stdout
    assert "not applied ?" in status.stdout


async def test_the_slots_of_running_workers_are_left_alone(service: Service) -> None:
    await service.known("t1")
    await Load(service, "t1").run(hits("slots", 20))

    def slots() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(run(service, "journal", "status", "--json").stdout)["slots"]
        return found

    assert [slot["held"] for slot in slots()].count(True) == 2
    # On a busy machine an answer may have been 202: then the worker applies the record a moment later.
    wait_until(lambda: not any(slot["waiting"] for slot in slots()), "the workers have applied everything", 20)
    before = service.workers

    # What was ignored is written some seconds later: then that record is what there is to apply, once.
    def nothing_left() -> bool:
        return run(service, "journal", "replay").stdout == "Nothing was to be applied.\n"

    wait_until(nothing_left, "there is nothing to apply", 20)
    load = Load(service, "t1")
    await load.run(hits("after", 20))
    assert service.workers == before
    assert set(load.statuses) == {200}


# What a start refuses -------------------------------------------------------------------------------------------------


def refused(service: Service) -> str:
    """Start it, and return the one line with which it refuses."""
    done = run(service, "serve", "--port", "0")
    assert done.returncode == 1, done
    assert done.stdout == ""
    assert done.stderr.startswith("visitstats: ")
    assert done.stderr.count("\n") == 1
    return done.stderr


def test_a_store_that_evicts_stops_the_start(apart: Service) -> None:
    with client(apart) as raw:
        raw.config_set("maxmemory-policy", "volatile-lru")
    assert "maxmemory-policy is volatile-lru" in refused(apart)


def test_a_foreign_key_stops_the_start(apart: Service) -> None:
    with client(apart) as raw:
        raw.rpush("vs:{t1}:articles", "x")
    assert "the store's key vs:{t1}:articles is a list, not a hash" in refused(apart)


def test_a_store_that_does_not_let_us_in_stops_the_start(apart: Service) -> None:
    with client(apart) as raw:
        raw.config_set("requirepass", "secret")
    assert "the store does not let us in" in refused(apart)


# An empty store -------------------------------------------------------------------------------------------------------


async def counted(service: Service, name: str, many: int = 30) -> int:
    """Have a service count, stop it in an orderly way, and return the total that it showed last."""
    service.start()
    load = Load(service, "t1")
    await load.run(hits(name, many))
    service.stop()
    assert load.shown
    return load.shown


async def test_an_emptied_store_is_reported_and_healed_from_the_journal(apart: Service) -> None:
    total = await counted(apart, "heal")
    with client(apart) as raw:
        raw.flushall()
    apart.start()
    assert "the store is EMPTY, but this data folder knows better: shown last were t1 30" in apart.log

    async def healed() -> bool:
        state = await ready(apart)
        return bool((await numbers(apart))["total"] == total and state["sites_with_losses"] == 0)

    await until(healed, "the journal has brought everything back", 10)
    assert "the counts of t1 are back" in apart.log
    assert run(apart, "verify").returncode == 0


async def test_what_is_lost_for_good_is_never_shown_as_zero(apart: Service) -> None:
    """The last good number stands until somebody restores a backup, or says that counting is to go on from nothing."""
    total = await counted(apart, "lost")
    with client(apart) as raw:
        raw.flushall()
    shutil.rmtree(apart.data_dir / "journal")
    apart.start()
    assert (await numbers(apart))["total"] == total
    load = Load(apart, "t1")
    await load.run(hits("after-loss", 5))
    assert (load.shown, len(load.acknowledged)) == (total, 5)
    connection = await Connection.open(apart.port)

    async def told() -> bool:
        metrics = (await connection.request("GET", "/metrics")).body.decode()
        return "visitstats_store_lost 1.0" in metrics

    await until(told, "the metric says so", 10)
    assert (await ready(apart))["sites_with_losses"] == 1
    assert "fail losses: the store was found empty" in run(apart, "doctor").stdout
    (apart.data_dir / "last" / "store-lost.json").unlink()

    async def from_nothing() -> bool:
        return bool((await connection.numbers("t1"))["total"] == 5)

    await until(from_nothing, "counting goes on from what is there", 10)
    connection.close()


async def test_a_store_that_is_emptied_under_a_running_service_is_reported_and_healed(apart: Service) -> None:
    apart.start()
    load = Load(apart, "t1")
    await load.run(hits("live", 30))
    with client(apart) as raw:
        raw.flushall()

    async def healed() -> bool:
        assert (await numbers(apart))["total"] > 0
        return "the counts of t1 are back" in apart.log

    await until(healed, "the journal has brought everything back", 10)
    assert "the store is EMPTY; shown last were t1 30" in apart.log
    assert run(apart, "verify").returncode == 0


def test_a_new_installation_has_lost_nothing(apart: Service) -> None:
    apart.start()
    apart.stop()
    assert "EMPTY" not in apart.log
    assert not (apart.data_dir / "last" / "store-lost.json").exists()
