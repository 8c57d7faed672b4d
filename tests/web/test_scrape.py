"""A scrape is always answered, costs a bounded number of store commands a site, and names what is wrong."""

from __future__ import annotations

import asyncio
import gzip
import os
import re
import signal
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.client import HOST, Connection, Hit, crowd, until
from tests.conftest import StartStore
from tests.web.inprocess import Clock, Running, running
from visitstats.backup.state import State, note_state
from visitstats.core import counting, link
from visitstats.embedded.process import EmbeddedStore
from visitstats.store.overview import COMMANDS

ANN, BEN, CAM = crowd(3, "scrape")
FAR = {"x-forwarded-for": "203.0.113.5"}
BREAKS: dict[str, tuple[tuple[str, ...], tuple[str, ...], str, str]] = {
    "full": (("CONFIG", "SET", "maxmemory", "1"), ("CONFIG", "SET", "maxmemory", "0"), "full", "oom"),
    "replica": (("REPLICAOF", "127.0.0.1", "1"), ("REPLICAOF", "NO", "ONE"), "replica", "readonly"),
    "too few replicas": (
        ("CONFIG", "SET", "min-replicas-to-write", "1"),
        ("CONFIG", "SET", "min-replicas-to-write", "0"),
        "refusing",
        "noreplicas",
    ),
    "a missing right": (
        ("ACL", "SETUSER", "default", "-evalsha"),
        ("ACL", "SETUSER", "default", "+evalsha"),
        "refusing",
        "noperm",
    ),
}
"""What breaks a store, what mends it, the word for it, and the reason under which refusals are counted."""


async def scrape(connection: Connection, headers: dict[str, str] | None = None) -> dict[str, float]:
    """The samples of a scrape."""
    answer = await connection.request("GET", "/metrics", headers=headers or {}, seconds=10)
    assert answer.status == 200, answer
    return samples(answer.body.decode())


def samples(text: str) -> dict[str, float]:
    return {name: float(n) for name, n in re.findall(r"^(visitstats_\w+(?:\{.*\})?) (\S+)$", text, re.M)}


def state(found: dict[str, float]) -> list[str]:
    return [word for word in link.WORDS if found[f'visitstats_store_state{{state="{word}"}}']]


@pytest.mark.parametrize("day", ["01", "02", "31"])
async def test_a_scrape_asks_for_each_site_a_bounded_number_of_commands(
    tmp_path: Path, redis_url: str, day: str
) -> None:
    """On any day of the month, also just after midnight, when the day before is not closed yet."""
    sites = 20
    clock = Clock(f"2040-05-{day}T00:00:10+07:00")
    clock.advance(-20)
    async with running(tmp_path / "data", redis_url, clock=clock, site=False) as app:
        for n in range(sites):
            await app.put_site(id=f"s{n}", hosts=(f"h{n}.example.vn",))
        for moment in (0, 20):
            clock.advance(moment)
            for n in range(sites):
                body = {"u": f"https://h{n}.example.vn/a"}
                assert (await app.connection.request("POST", f"/v1/sites/s{n}/hit", body, ANN.headers)).status == 200
        allowed, asked = (COMMANDS + 1) * sites + 10, list[int]()
        with redis.Redis.from_url(redis_url) as raw:
            # One a site is what a worker itself asks each second, and its tasks; on a busy machine more than once.
            while len(asked) < 10 and min(asked, default=allowed + 1) > allowed:
                before = _commands(raw)
                found = await scrape(app.connection)
                asked.append(_commands(raw) - before)
        assert min(asked) <= allowed
        assert found['visitstats_unique_visitors{period="today",site="s7"}'] == 1
        of_month = 1 if day == "01" else 2
        assert found['visitstats_unique_visitors{period="month",site="s7"}'] == of_month


def _commands(raw: redis.Redis) -> int:
    found: Any = raw.info("commandstats")
    return sum(each["calls"] for name, each in found.items() if name not in ("cmdstat_info", "cmdstat_ping"))


async def test_a_scrape_says_the_same_packed(app: Running) -> None:
    packed = await app.connection.request("GET", "/metrics", headers={"accept-encoding": "gzip"})
    assert packed.headers["content-encoding"] == "gzip"
    plain = await scrape(app.connection)
    assert samples(gzip.decompress(packed.body).decode()).keys() == plain.keys()


async def test_a_token_opens_the_metrics_while_the_store_is_away(tmp_path: Path, start_store: StartStore) -> None:
    """Also one that was never used before, and after a restart of the service. One that is not known is not refused:
    it cannot be looked up."""
    store = start_store()
    async with running(tmp_path / "data", store.url) as app:
        used, revoked = await app.token("metrics", name="used"), await app.token("admin", name="revoked")
        worker = app.app.worker
        assert worker is not None
        await worker.access.remember()
        await worker.access.revoke(await worker.access.id_of("revoked"))
        await worker.access.remember()
        assert (await app.connection.request("GET", "/metrics", headers=FAR | {"authorization": revoked})).status == 401
    os.kill(_pid(store), signal.SIGSTOP)
    try:
        async with running(tmp_path / "data", store.url, site=False) as app:
            found = await scrape(app.connection, FAR | {"authorization": used})
            assert found["visitstats_store_up"] == 0
            assert state(found) == ["away"]
            for unknown in (revoked, "Bearer vs_guessed"):
                headers = FAR | {"authorization": unknown}
                assert (await app.connection.request("GET", "/metrics", headers=headers, seconds=10)).status == 503
            assert (await app.connection.request("GET", "/metrics", headers=FAR)).status == 401
    finally:
        os.kill(_pid(store), signal.SIGCONT)


async def test_a_token_opens_the_metrics_of_a_store_that_has_lost_everything(app: Running, redis_url: str) -> None:
    """Nobody may be blind just then."""
    headers = FAR | {"authorization": await app.token("metrics")}
    worker = app.app.worker
    assert worker is not None
    assert (await app.connection.hit("t1", Hit(ANN, "/a"))).status == 200
    await worker.access.remember()
    with redis.Redis.from_url(redis_url) as raw:
        raw.flushall()
    await worker.access.remember()
    await worker.sites.refresh()  # as a worker does each second
    assert (await app.connection.request("GET", "/metrics", headers=headers)).status == 200
    await worker.access.remember()
    assert [each.token.scope for each in (await worker.access.all()).tokens] == ["metrics"]
    assert (await app.connection.request("GET", "/metrics", headers=headers)).status == 200


@pytest.mark.parametrize("broken", BREAKS)
@pytest.mark.parametrize("hits", [False, True])
async def test_a_store_that_refuses_is_named_and_its_refusals_are_counted(
    tmp_path: Path, start_store: StartStore, broken: str, hits: bool
) -> None:
    """With and without hits, in readiness and in the metrics, until it takes writes again."""
    breaks, mends, word, reason = BREAKS[broken]
    store = start_store()
    with redis.Redis.from_url(store.url) as raw:
        async with running(tmp_path / "data", store.url) as app:
            assert (await app.connection.hit("t1", Hit(ANN, "/a"))).status == 200
            assert state(await scrape(app.connection)) == ["ok"]
            raw.execute_command(*breaks)

            async def named() -> bool:
                if hits:
                    assert (await app.connection.hit("t1", Hit(BEN, "/a"))).status in (200, 202)
                found = await scrape(app.connection)
                refused = found[f'visitstats_store_refusals_total{{reason="{reason}"}}']
                ready = (await app.connection.request("GET", "/readyz")).json
                return state(found) == [word] and refused > 0 and ready["store"] == word

            await until(named, f"it is said to be {word}", 15)
            raw.execute_command(*mends)

            async def over() -> bool:
                return state(await scrape(app.connection)) == ["ok"]

            await until(over, "it takes writes again", 15)


async def test_an_idle_service_finds_out_that_its_store_hangs(tmp_path: Path, start_store: StartStore) -> None:
    """And the scrape shows the service's own work meanwhile; the numbers of the sites are missing, not 0."""
    store = start_store()
    async with running(tmp_path / "data", store.url) as app:
        assert (await app.connection.hit("t1", Hit(ANN, "/a"))).status == 200
        before = await scrape(app.connection)
        assert before['visitstats_hits_total{site="t1"}'] == 1
        os.kill(_pid(store), signal.SIGSTOP)
        try:
            found: dict[str, float] = {}

            async def away() -> bool:
                found.update(await scrape(app.connection))
                return state(found) == ["away"]

            await until(away, "it is said to be away", 20)
            last = await scrape(app.connection)
            assert last["visitstats_store_up"] == 0
            assert last["visitstats_journal_up"] == 1
            assert last['visitstats_hits_total{site="t1"}'] == 1, "a counter that vanishes hides the next hits"
            assert 'visitstats_visits{period="today",site="t1"}' not in last
        finally:
            os.kill(_pid(store), signal.SIGCONT)


async def test_every_series_is_there_before_its_first_event(app: Running) -> None:
    """Prometheus does not see the step from nothing to one: a portal whose snippet never worked would raise nothing."""
    found = await scrape(app.connection)
    expected = {
        'visitstats_hits_total{site="t1"}',
        'visitstats_visits_started_total{site="t1"}',
        "visitstats_unknown_site_total",
        "visitstats_internal_errors_total",
        *(f'visitstats_beacons_ignored_total{{reason="{each}",site="t1"}}' for each in counting.IGNORED_REASONS),
        *(f'visitstats_beacons_noted_total{{note="{each}",site="t1"}}' for each in counting.NOTES),
        *(f'visitstats_articles_capped_total{{cap="{each}",site="t1"}}' for each in ("site", "minute")),
        *(f'visitstats_hits_refused_total{{reason="{each}"}}' for each in ("journal", "queue", "stopping")),
        *(f'visitstats_store_refusals_total{{reason="{each}"}}' for _, _, _, each in BREAKS.values()),
    }
    assert {name for name in expected if found.get(name) != 0} == set()


async def test_no_series_of_a_removed_site_is_left(app: Running) -> None:
    await app.connection.hit("t1", Hit(ANN, "/a"))
    await app.connection.hit("t1", Hit(ANN, "/a"), {"user-agent": "Googlebot/2.1"})
    worker = app.app.worker
    assert worker is not None
    assert any('site="t1"' in name for name in await scrape(app.connection))
    await worker.records.remove_site("t1", 0)
    await worker.sites.refresh()
    assert [name for name in await scrape(app.connection) if 'site="t1"' in name] == []


@pytest.mark.parametrize(
    ("sent", "status", "reason"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400, "bad-request"),
        (b"BREW / HTTP/1.1\r\nHost: x\r\n\r\n", 501, "not-implemented"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nExpect: coffee\r\n\r\n", 417, "expectation-failed"),
        (b"GET /%b HTTP/1.1\r\n" % (b"a" * 200_000), 414, "target-too-long"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX-A: %b\r\n\r\n" % (b"a" * 200_000), 431, "head-too-large"),
    ],
)
async def test_requests_that_are_refused_are_counted_by_reason(
    app: Running, sent: bytes, status: int, reason: str
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", app.ports[0])
    writer.write(sent)
    assert (await reader.readline()).split()[1] == str(status).encode()
    writer.close()
    assert (await scrape(app.connection))[f'visitstats_requests_refused_total{{reason="{reason}"}}'] == 1


async def test_hits_of_an_unknown_site_are_counted(app: Running) -> None:
    """The commonest mistake of a roll-out is a misspelt `data-site`."""
    for n in range(3):
        assert (await app.connection.hit(f"tt{n}", Hit(ANN, "/a"))).status == 404
        assert (await app.connection.request("GET", f"/v1/sites/tt{n}/hit.gif?u=https://{HOST}/a")).status == 404
        assert (await app.connection.request("GET", f"/v1/sites/tt{n}/stats")).status == 404
    assert (await scrape(app.connection))["visitstats_unknown_site_total"] == 6


async def test_hits_are_what_was_counted_and_duplicates(app: Running) -> None:
    """Whichever worker's journal they come from; a heartbeat is none."""
    hit = Hit(ANN, "/a", "the-same-00000001")
    for each in (hit, hit, Hit(BEN, "/b")):
        assert (await app.connection.hit("t1", each)).status == 200
    await app.connection.alive("t1", CAM)
    await app.settle_heartbeats()
    found = await scrape(app.connection)
    assert found['visitstats_hits_total{site="t1"}'] == 3
    assert found['visitstats_beacons_ignored_total{reason="duplicate",site="t1"}'] == 1


async def test_hits_do_not_become_fewer_while_a_store_that_came_back_older_is_healed(
    app: Running, redis_url: str
) -> None:
    """Prometheus would take that for a restart, and read thousands of new hits."""
    for n in range(3):
        await app.connection.hit("t1", Hit(ANN, f"/{n}"))
    assert (await scrape(app.connection))['visitstats_hits_total{site="t1"}'] == 3
    with redis.Redis.from_url(redis_url) as raw:
        raw.delete("vs:{t1}:marks")
        assert (await scrape(app.connection))['visitstats_hits_total{site="t1"}'] == 3


async def test_a_site_whose_counts_are_damaged_takes_no_other_sites_numbers(app: Running, redis_url: str) -> None:
    await app.put_site(id="t2", hosts=("t2.example.vn",))
    for damage in ({"visits:all": "many"}, None):
        with redis.Redis.from_url(redis_url) as raw:
            raw.delete("vs:{t2}:counts")
            raw.hset("vs:{t2}:counts", mapping=damage) if damage else raw.set("vs:{t2}:counts", "no hash")
        found = await scrape(app.connection)
        assert found['visitstats_visits{period="total",site="t1"}'] == 0
        assert 'visitstats_visits{period="total",site="t2"}' not in found
        assert found["visitstats_store_up"] == 1


def _pid(store: EmbeddedStore) -> int:
    process: Any = store._process
    return int(process.pid)


async def test_the_last_backup_and_the_last_check_are_shown_at_once(app: Running) -> None:
    """Also when a command made it, beside the service; before the first there is a 0, for alerts."""
    assert app.app.worker is not None
    data_dir = app.app.worker.settings.data_dir
    made, verified = "visitstats_backup_last_success_timestamp_seconds", "visitstats_backup_verified_timestamp_seconds"
    assert [(await scrape(app.connection))[name] for name in (made, "visitstats_backup_bytes", verified)] == [0, 0, 0]
    note_state(data_dir, State(path="/b", made_ms=app.clock.ms, bytes=1234))
    note_state(data_dir, State(verified_ms=app.clock.ms + 1000))
    found = await scrape(app.connection)
    assert (found[made], found["visitstats_backup_bytes"]) == (app.clock.ms / 1000, 1234)
    assert found[verified] == app.clock.ms / 1000 + 1
