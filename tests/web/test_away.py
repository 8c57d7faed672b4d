"""The store hangs or is away, or the journal cannot be written: what readers and portals get to see then."""

from __future__ import annotations

import asyncio
import os
import re
import resource
import signal
import socket
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.client import HOST, Connection, Hit, crowd, until
from tests.conftest import StartStore
from tests.driver import Service, noon_zone
from tests.web.inprocess import Running, running
from visitstats.settings import Settings
from visitstats.worker import Worker

ANN, BEN, CAM = crowd(3, "away")
NUMBERS = (
    "online", "today", "yesterday", "week", "last_week", "month", "last_month", "year", "total", "average", "record",
    "record_date",
)  # fmt: skip
linux = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and prlimit")


@linux
async def test_a_hit_is_acknowledged_while_the_store_hangs(service: Service) -> None:
    """202 with the last numbers, the moment at which they were right, and `pending`; counted when the store goes on."""
    service.add_site("pending", "--timezone", noon_zone())
    await service.known("pending")
    connection = await Connection.open(service.port)
    first = await connection.hit("pending", Hit(ANN, "/a"))
    assert (first.status, first.json["total"]) == (200, 1)
    os.kill(service.store, signal.SIGSTOP)
    try:
        answer = await connection.hit("pending", Hit(BEN, "/a"))
        assert answer.status == 202, answer
        assert answer.json["pending"] is True
        assert {name: answer.json[name] for name in NUMBERS} == {name: first.json[name] for name in NUMBERS}
        assert (answer.json["views"], answer.json["key"]) == (1, "/a")
        new = await connection.hit("pending", Hit(CAM, "/new"))
        assert (new.status, new.json["views"]) == (202, None)
        assert datetime.fromisoformat(new.json["at"]) >= datetime.fromisoformat(first.json["at"])
        shown = await connection.numbers("pending")
        assert shown["total"] == 1
        beat = await connection.alive("pending", ANN)
        assert (beat.status, beat.json["total"]) == (200, 1)
    finally:
        os.kill(service.store, signal.SIGCONT)

    async def counted() -> bool:
        return bool((await connection.numbers("pending"))["total"] == 3)

    await until(counted, "the pending hits are counted")
    last = await connection.hit("pending", Hit(ANN, "/b"))
    assert (last.status, last.json["total"]) == (200, 3)
    connection.close()


@linux
async def test_a_hit_that_the_journal_cannot_take_is_not_acknowledged(service: Service) -> None:
    """503 and Retry-After, while numbers are still shown; as soon as it can be written again, hits are taken again."""
    service.add_site("full", "--timezone", noon_zone())
    await service.known("full")
    connections = await service.connections()
    for connection in connections:
        assert (await connection.hit("full", Hit(ANN, "/a"))).status == 200
    limits = {pid: resource.prlimit(pid, resource.RLIMIT_FSIZE) for pid in service.workers}
    for pid, (_, hard) in limits.items():
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, hard))
    try:
        for connection in connections:
            for n in range(3):
                answer = await connection.hit("full", Hit(BEN, "/a", f"refused-{n:08d}"))
                assert answer.status == 503, answer
                assert int(answer.headers["retry-after"]) > 0
                assert answer.json["error"] == "try-again"
            assert (await connection.numbers("full"))["total"] == 1
            assert (await connection.request("GET", "/healthz")).status == 200
    finally:
        for pid, limit in limits.items():
            resource.prlimit(pid, resource.RLIMIT_FSIZE, limit)
    assert set(service.workers) == set(limits), "a worker died of it"
    for connection in connections:
        answer = await connection.hit("full", Hit(BEN, "/a", "refused-00000000"))
        assert (answer.status, answer.json["total"], answer.json["views"]) == (200, 2, 2), answer
        connection.close()


@linux
async def test_metrics_add_up_over_workers(service: Service) -> None:
    """Any worker answers a scrape for all of them; what the site has comes from the store."""
    service.add_site("scraped", "--timezone", noon_zone())
    await service.known("scraped")
    readers = crowd(30, "scraped")
    connections = await service.connections(each=2)
    for n, visitor in enumerate(readers * 2):
        connection = connections[n % 4]
        assert (await connection.hit("scraped", Hit(visitor, f"/{n % 3}"))).status == 200
        await connection.hit("scraped", Hit(visitor, "/a"), {"user-agent": "Googlebot/2.1"})
        await connection.alive("scraped", visitor)
    expected = {
        'visitstats_hits_total{site="scraped"}': 60,
        'visitstats_visits_started_total{site="scraped"}': 30,
        'visitstats_beacons_ignored_total{reason="bot",site="scraped"}': 60,
        'visitstats_online{site="scraped"}': 30,
        'visitstats_visits{period="today",site="scraped"}': 30,
        'visitstats_visits{period="total",site="scraped"}': 30,
        'visitstats_views{period="today",site="scraped"}': len({(n % 30, n % 3) for n in range(60)}),
        'visitstats_articles{site="scraped"}': 3,
        "visitstats_store_up": 1,
    }
    for connection in connections:

        async def right(connection: Connection = connection) -> bool:
            text = (await connection.request("GET", "/metrics")).body.decode()
            found = dict(re.findall(r"^(visitstats_\w+(?:\{[^}]*\})?) (\S+)$", text, re.M))
            return {name: float(found.get(name, "nan")) for name in expected} == expected

        await until(right, f"a scrape shows {expected}", 4)
        connection.close()


async def test_a_number_that_is_not_known_is_never_zero(tmp_path: Path, start_store: StartStore) -> None:
    """Rule 10: with no store and nothing kept, there is null or 503, in every answer that has numbers."""
    store = start_store()
    async with running(tmp_path / "data", store.url) as app:
        await app.connection.hit("t1", Hit(ANN, "/a"))
    store.stop()
    for kept in (tmp_path / "data").rglob("numbers-*"):
        kept.unlink()
    async with running(tmp_path / "data", store.url, site=False) as app:
        stats = await app.connection.request("GET", "/v1/sites/t1/stats")
        assert (stats.status, "retry-after" in stats.headers) == (503, True)
        hit = await app.connection.hit("t1", Hit(BEN, "/a"))
        assert (hit.status, hit.json["pending"], hit.json["key"], hit.json["views"]) == (202, True, "/a", None)
        bot = await app.connection.hit("t1", Hit(BEN, "/a"), {"user-agent": "Googlebot/2.1"})
        beat = await app.connection.alive("t1", BEN)
        for answer in (hit, bot, beat):
            assert {answer.json[name] for name in NUMBERS} == {None}, answer
        views = await app.connection.request("GET", "/v1/sites/t1/views?key=/a")
        assert (views.status, "retry-after" in views.headers) == (503, True)
        metrics = (await app.connection.request("GET", "/metrics")).body.decode()
        assert "visitstats_store_up 0.0" in metrics
        assert 'visitstats_visits{period="today"' not in metrics
        unknown = await app.connection.request("GET", "/v1/sites/t2/stats")
        assert unknown.status == 503, "it cannot be known whether there is such a site"
        assert (await app.connection.request("GET", "/readyz")).status == 200


async def test_a_slow_read_does_not_hide_what_was_counted_meanwhile(
    app: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever was shown their own visit is not shown a number without it afterwards."""
    assert app.app.worker is not None
    reads = app.app.worker.reads
    counts, arrived, go_on = reads.counts, asyncio.Event(), asyncio.Event()

    async def slow_counts(*arguments: Any) -> Any:
        found = await counts(*arguments)
        arrived.set()
        await go_on.wait()
        return found

    monkeypatch.setattr(reads, "counts", slow_counts)
    app.clock.advance(2)
    other = await Connection.open(app.ports[0])
    reading = asyncio.create_task(other.numbers("t1"))
    await arrived.wait()
    assert (await app.connection.hit("t1", Hit(ANN, "/a"))).json["total"] == 1
    go_on.set()
    assert (await reading)["total"] == 1
    assert (await app.connection.numbers("t1"))["total"] == 1
    other.close()


async def test_the_last_numbers_are_kept_for_a_start_without_the_store(tmp_path: Path, start_store: StartStore) -> None:
    """They are shown with the moment at which they were right, however long ago that is."""
    store = start_store()
    async with running(tmp_path / "data", store.url) as app:
        await app.connection.hit("t1", Hit(ANN, "/a"))
        before = (await app.connection.request("GET", "/v1/sites/t1/stats")).json
    store.stop()
    async with running(tmp_path / "data", store.url, site=False) as app:
        app.clock.advance(3600)
        assert (await app.connection.request("GET", "/v1/sites/t1/stats")).json == before
        hit = await app.connection.hit("t1", Hit(BEN, "/a"))
        assert (hit.status, hit.json["total"], hit.json["at"]) == (202, 1, before["at"])


async def test_a_page_of_the_same_site_is_counted_under_every_of_its_hosts(app: Running) -> None:
    """www., m., ports and case are folded; each of the site's hosts is the site."""
    await app.put_site(hosts=(HOST, "other.example.vn"))
    hosts = (HOST, f"www.{HOST}", f"m.{HOST}", f"{HOST}:8080", HOST.upper(), "other.example.vn")
    for host in hosts:
        body = {"u": f"https://{host}/a"}
        answer = await app.connection.request(
            "POST", "/v1/sites/t1/hit", body, ANN.headers | {"origin": f"http://{host}"}
        )
        assert (answer.status, answer.ignored, answer.json["key"]) == (200, "", "/a")
    assert (await app.numbers())["total"] == 1


async def test_a_start_asks_a_store_that_hangs_one_question(tmp_path: Path, start_store: StartStore) -> None:
    """Each further one would take its time, too, while readers wait for the worker: it begins as without the store."""
    store = start_store()
    async with running(tmp_path / "data", store.url) as app:
        await app.connection.hit("t1", Hit(ANN, "/a"))
        clock = app.clock
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.setblocking(False)
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        worker = Worker(Settings.load({"data_dir": tmp_path / "data", "redis_url": url}), url, clock)
        await worker.start()
        asked, _ = silent.accept()
        with asked, pytest.raises(BlockingIOError):
            silent.accept()
    assert (worker.ready, worker.applier.link.word) == (True, "away")
    assert worker.sites.get("t1") is not None
    await worker.stop()


@pytest.mark.parametrize(
    ("word", "broken", "mended"),
    [
        ("full", ("CONFIG", "SET", "maxmemory", "1"), ("CONFIG", "SET", "maxmemory", "0")),
        ("replica", ("REPLICAOF", "127.0.0.1", "1"), ("REPLICAOF", "NO", "ONE")),
        ("refusing", ("CONFIG", "SET", "min-replicas-to-write", "1"), ("CONFIG", "SET", "min-replicas-to-write", "0")),
        (
            "unfit",
            ("CONFIG", "SET", "maxmemory-policy", "allkeys-lru"),
            ("CONFIG", "SET", "maxmemory-policy", "noeviction"),
        ),
    ],
)
async def test_a_store_that_takes_no_writes_is_told_by_its_word_and_loses_no_hit(
    tmp_path: Path, start_store: StartStore, word: str, broken: tuple[str, ...], mended: tuple[str, ...]
) -> None:
    """Hits are acknowledged all the same (202), the service stays ready, and everything is counted when it is over."""
    store = start_store()
    with redis.Redis.from_url(store.url) as raw:
        async with running(tmp_path / "data", store.url) as app:

            async def said(expected: str) -> bool:
                ready = await app.connection.request("GET", "/readyz")
                assert (ready.status, ready.json["ready"]) == (200, True)
                return bool(ready.json["store"] == expected)

            assert (await app.connection.hit("t1", Hit(ANN, "/a"))).status == 200
            assert await said("ok")
            raw.execute_command(*broken)
            if word == "unfit":
                await until(lambda: said(word), "the next look, a second later", 5)
            answer = await app.connection.hit("t1", Hit(BEN, "/a"))
            assert (answer.status, answer.json["pending"], answer.json["total"]) == (202, True, 1)
            await until(lambda: said(word), f"it is said to be {word}", 5)
            raw.execute_command(*mended)
            await until(lambda: said("ok"), "everything is counted", 10)
            last = await app.connection.hit("t1", Hit(CAM, "/a"))
            assert (last.status, last.json["total"], last.json["views"]) == (200, 3, 3)
