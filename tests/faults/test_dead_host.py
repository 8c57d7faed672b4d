"""Two hosts on one store, of which one dies, and the store comes back older: the other says what is missing and whose
it is, and a copy of the dead one's folder mends it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from tests.client import Connection, Hit, crowd, until
from tests.driver import EACH_ITS_OWN, PROGRAM, Service, alive_pids, noon_zone
from tests.faults.copies import copy_of, put_back
from tests.faults.external import ExternalStore
from tests.waiting import eventually
from visitstats.trust.hosts import read_noted

ARTICLE = "/a"


@pytest.fixture
def hosts(tmp_path: Path, store: ExternalStore) -> Iterator[tuple[Service, Service]]:
    """Two services with data folders of their own on one store."""
    found = tuple(Service(tmp_path / name, workers=2, redis_url=store.url) for name in ("here", "there"))
    here, there = found
    try:
        here.add_site("t1", "--timezone", noon_zone(), *EACH_ITS_OWN)
        for service in found:
            service.start()
        yield here, there
    finally:
        for service in found:
            service.stop()


async def take(service: Service, first: int, many: int) -> None:
    """Have a service acknowledge hits of as many readers."""
    connection = await Connection.open(service.port)
    for n, reader in enumerate(crowd(first + many)[first:], first):
        assert (await connection.hit("t1", Hit(reader, ARTICLE, f"hit-{n:07d}"))).status in (200, 202)
    connection.close()


async def views(service: Service) -> int:
    connection = await Connection.open(service.port)
    try:
        return (await connection.views("t1", [ARTICLE]))[ARTICLE]
    finally:
        connection.close()


async def lacking(service: Service) -> int:
    connection = await Connection.open(service.port)
    try:
        answer = await connection.request("GET", "/readyz")
        assert answer.status == 200, "hits are taken all the same"
        return int(answer.json["store_lacks_hits"])
    finally:
        connection.close()


async def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return await asyncio.to_thread(
        subprocess.run, [str(PROGRAM), *arguments], capture_output=True, text=True, timeout=60, check=False
    )


def kill(service: Service) -> list[int]:
    """Kill a whole host at once."""
    pids = [service.pid, *service.children()]
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    service.wait()
    return pids


async def test_a_dead_hosts_hits_are_named_and_a_copy_of_its_folder_brings_them_back(
    tmp_path: Path, store: ExternalStore, hosts: tuple[Service, Service]
) -> None:
    here, there = hosts
    ours = ("--data-dir", str(here.data_dir), "--redis-url", store.url)
    async with Redis.from_url(store.url) as client:
        await take(here, 0, 10)
        await take(there, 10, 10)
        copy = await copy_of(client)
        await take(there, 20, 23)
        await until(lambda: counted(here, 43), "all is counted")

        def noted() -> int:
            return sum(each.sites["t1"].total for each in read_noted(here.data_dir).values() if "t1" in each.sites)

        await eventually(lambda: noted() == 33, "what the other host has taken is noted")
        gone = kill(there)
        await eventually(lambda: not alive_pids(gone), "the host is dead")
        await put_back(client, copy, 0)

    await until(lambda: lacks(here, 23), "the loss is seen")
    await take(here, 43, 5)
    assert await views(here) == 25
    verdict = await run("verify", *ours)
    assert verdict.returncode == 1, verdict
    assert "t1: lacks: host" in verdict.stdout
    assert sum(int(line.split(" hits of writer")[0].split()[-1]) for line in named(verdict.stdout)) == 23
    assert here.log.count("the store lacks hits that it had: ") == 1
    connection = await Connection.open(here.port)
    scrape = (await connection.request("GET", "/metrics")).body.decode()
    connection.close()
    [metric] = [line for line in scrape.splitlines() if line.startswith("visitstats_store_lacks_hits{")]
    assert metric.startswith('visitstats_store_lacks_hits{host="')
    assert float(metric.split()[-1]) == 23

    # The dead host's disk is brought here: its records are applied from a copy, and from no other place.
    shutil.copytree(there.data_dir, tmp_path / "copy")
    applied = await run("journal", "replay", "--data-dir", str(tmp_path / "copy"), "--redis-url", store.url)
    assert applied.returncode == 0, applied
    assert "t1: " in applied.stdout
    await until(lambda: lacks(here, 0), "it is seen that the store has caught up")
    assert await views(here) == 48
    verdict = await run("verify", *ours)
    assert verdict.returncode == 0, verdict
    assert here.log.count("the store has all hits of the other hosts again") == 1
    again = await run("journal", "replay", "--data-dir", str(tmp_path / "copy"), "--redis-url", store.url)
    assert again.stdout == "Nothing was to be applied.\n"
    # And if the host comes back after all, nothing counts twice.
    there.start()
    await take(there, 48, 2)
    assert await views(there) == 50


async def test_a_living_hosts_hits_are_back_by_themselves(store: ExternalStore, hosts: tuple[Service, Service]) -> None:
    here, there = hosts
    async with Redis.from_url(store.url) as client:
        await take(here, 0, 5)
        copy = await copy_of(client)
        await take(there, 5, 9)
        await eventually(lambda: bool(read_noted(here.data_dir)), "the other host is noted")
        await put_back(client, copy, 0)
    await until(lambda: counted(here, 14), "the store is healed")
    await until(lambda: lacks(here, 0), "nothing is missing")


async def counted(service: Service, total: int) -> bool:
    return await views(service) == total


async def lacks(service: Service, hits: int) -> bool:
    return await lacking(service) == hits


def named(text: str) -> list[str]:
    return [line for line in text.splitlines() if "the store lacks" in line]
