"""What the metrics say of the service's own work is what was done."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import redis

from tests.client import HOST, Connection, Hit, crowd, until
from tests.conftest import StartStore
from tests.web.inprocess import Running, running
from tests.web.test_scrape import _pid, scrape
from visitstats.reading import families
from visitstats.store.runs import Run
from visitstats.tasks.table import Contradictions
from visitstats.web.beacons.connections import CLOSED

ANN, BEN = crowd(2, "service")
HIT, ALIVE, STATS = (f"/v1/sites/{{site}}/{end}" for end in ("hit", "alive", "stats"))


def requests(found: dict[str, float], route: str) -> dict[str, float]:
    """Answers of a route by class of the status, without zeros."""
    start = "visitstats_http_requests_total{"
    return {
        name.split('class="')[1][:3]: n
        for name, n in found.items()
        if name.startswith(start) and f'route="{route}"' in name and n
    }


async def test_answers_are_counted_by_route_and_class_whichever_way_they_go(app: Running) -> None:
    """Hits and heartbeats go a short way, reads another, errors and operators' requests the router's."""
    ask = app.connection
    for n in range(5):
        assert (await ask.hit("t1", Hit(ANN, f"/{n}"))).status == 200
    assert (await ask.request("POST", "/v1/sites/t1/hit", b"{", ANN.headers)).status == 400
    assert (await ask.hit("t2", Hit(ANN, "/a"))).status == 404
    assert (await ask.alive("t1", ANN)).status == 200
    etag = (await ask.request("GET", "/v1/sites/t1/stats")).headers["etag"]
    assert (await ask.request("GET", "/v1/sites/t1/stats", headers={"if-none-match": etag})).status == 304
    assert (await ask.request("GET", f"/v1/sites/t1/hit.gif?u=https://{HOST}/a", headers=ANN.headers)).status == 200
    assert (await ask.request("GET", "/v1/admin/sites/t1/claims")).status == 401
    for path in ("/nothing", "/v1/sites/t1/%68it"):
        assert (await ask.request("GET", path)).status == 404
    assert (await ask.request("OPTIONS", "/v1/sites/t1/hit")).status == 204
    found = await scrape(ask)
    assert requests(found, HIT) == {"2xx": 6, "4xx": 2}, "five hits, a preflight; a broken one, no such site"
    assert requests(found, ALIVE) == {"2xx": 1}
    assert requests(found, STATS) == {"2xx": 1, "3xx": 1}
    assert requests(found, "/v1/sites/{site}/hit.gif") == {"2xx": 1}
    assert requests(found, "/v1/admin/sites/{site}/claims") == {"4xx": 1}
    assert requests(found, "other") == {"4xx": 2}, "no route, an escaped path"
    assert found["visitstats_acknowledge_seconds_count"] == 6, "one for each batch, and each hit was one"
    assert 0 < found["visitstats_acknowledge_seconds_sum"] < 60


async def test_what_the_journal_holds_beyond_the_store_is_shown_until_it_is_applied(
    tmp_path: Path, start_store: StartStore
) -> None:
    store = start_store()
    async with running(tmp_path / "data", store.url) as app:
        assert (await app.connection.hit("t1", Hit(ANN, "/a"))).status == 200

        async def nothing() -> bool:
            found = await scrape(app.connection)
            return found["visitstats_journal_unapplied_records"] == 0

        await until(nothing, "all is applied")
        found = await scrape(app.connection)
        assert found["visitstats_journal_unapplied_bytes"] == 0
        now = app.clock.ms / 1000
        assert found["visitstats_journal_oldest_unapplied_timestamp_seconds"] == now
        assert found["visitstats_snapshot_oldest_timestamp_seconds"] == now
        os.kill(_pid(store), signal.SIGSTOP)
        try:
            app.clock.advance(10)
            since = app.clock.ms / 1000
            for n in range(3):
                assert (await app.connection.hit("t1", Hit(BEN, f"/{n}"), seconds=20)).status == 202
            app.clock.advance(50)
            assert (await app.connection.hit("t1", Hit(BEN, "/4"), seconds=20)).status == 202

            async def behind() -> bool:
                found = await scrape(app.connection)
                return found["visitstats_snapshot_oldest_timestamp_seconds"] == now

            await until(behind, "the numbers that were shown are old")
            found = await scrape(app.connection)
            assert found["visitstats_journal_unapplied_records"] == 4
            assert 0 < found["visitstats_journal_unapplied_bytes"] <= found["visitstats_journal_bytes"]
            assert found["visitstats_journal_oldest_unapplied_timestamp_seconds"] == since
        finally:
            os.kill(_pid(store), signal.SIGCONT)
        await until(nothing, "it is applied when the store is back", 20)


async def test_a_store_that_came_back_older_is_a_rewind(app: Running, redis_url: str) -> None:
    assert (await app.connection.hit("t1", Hit(ANN, "/a"))).status == 200
    assert (await scrape(app.connection))["visitstats_journal_rewinds_total"] == 0
    with redis.Redis.from_url(redis_url) as raw:
        raw.delete("vs:{t1}:marks", "vs:{t1}:counts")
    assert (await app.connection.hit("t1", Hit(BEN, "/b"))).status in (200, 202)

    async def noticed() -> bool:
        return (await scrape(app.connection))["visitstats_journal_rewinds_total"] >= 1

    await until(noticed, "the rewind is counted")


async def test_the_store_the_machine_and_the_programs_are_shown(app: Running, redis_url: str) -> None:
    worker = app.app.worker
    assert worker is not None
    for visitor in (ANN, BEN):
        assert (await app.connection.hit("t1", Hit(visitor, "/a"))).status == 200
    await worker._presence.note_peaks()
    with redis.Redis.from_url(redis_url) as raw:
        raw.config_set("maxmemory", "64mb")
        try:
            found = await scrape(app.connection)
        finally:
            raw.config_set("maxmemory", "0")
    for period in ("today", "month"):
        assert found[f'visitstats_peak_online{{period="{period}",site="t1"}}'] == 2
        assert found[f'visitstats_peak_online{{period="{period}",site="beats"}}'] == 0
    assert found["visitstats_sites"] == 2
    assert found["visitstats_store_memory_limit_bytes"] == 64 * 1024 * 1024
    assert 500_000 < found["visitstats_store_memory_bytes"] < found["visitstats_store_memory_limit_bytes"]
    assert found["visitstats_store_persistence_ok"] == 1
    assert found["visitstats_store_writers"] >= 0
    assert 0 < found["visitstats_data_disk_free_bytes"] <= found["visitstats_data_disk_size_bytes"]
    slot = f'{{worker="{worker._slot}"}}'
    assert found["visitstats_worker_cpu_seconds_total" + slot] > 0
    assert found["visitstats_worker_memory_bytes" + slot] > 10_000_000
    assert 5 < found["visitstats_open_files" + slot] <= found["visitstats_most_files" + slot]
    assert found["visitstats_queue_hits"] == 0
    assert found["visitstats_queue_limit_hits"] == worker.settings.queue_max_hits
    [build] = [name for name in found if name.startswith("visitstats_build_info{")]
    assert 'version="' in build
    assert 'store=""' not in build


async def test_the_problems_that_verify_found_are_shown(app: Running) -> None:
    """Not when its last run could not look; 0 after one that found none."""
    worker = app.app.worker
    assert worker is not None
    name = "visitstats_verify_problems"
    assert name not in await scrape(app.connection)
    runs = worker.tasks._runs
    for run, shown in (
        (Run(1, 1.0, False, "7 numbers do not agree", "h", problems=Contradictions("7", 7).problems), 7),
        (Run(2, 1.0, False, "did not end well", "h", problems=Contradictions("bad").problems), None),
        (Run(3, 1.0, True, "all numbers agree", "h"), 0),
    ):
        await runs.note("verify", run)
        assert (await scrape(app.connection)).get(name) == shown


async def test_connections_that_are_closed_are_counted_by_reason(tmp_path: Path, redis_url: str) -> None:
    assert families.CLOSED_REASONS == CLOSED
    async with running(tmp_path / "data", redis_url, connections_per_address=3, trusted_proxies=[]) as app:
        opened = [await Connection.open(app.ports[0]) for _ in range(4)]
        assert await opened[-1].ended()
        assert all([await each.ended(0.01) is False for each in opened[:2]])
        opened[0].close()  # which leaves room for the scrape's own

        async def told() -> dict[str, float] | None:
            try:
                return await scrape(app.connection)
            except ConnectionError:
                return None

        found = await until(told, "a scrape")
        closed = {reason: found[f'visitstats_connections_closed_total{{reason="{reason}"}}'] for reason in CLOSED}
        assert closed.pop("address") >= 2
        assert set(closed.values()) == {0}
        for each in opened:
            each.close()
