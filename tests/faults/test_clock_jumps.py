"""The wall clock of the machine jumps by a day, forwards and backwards, while readers are at work."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import redis.asyncio

from tests.client import Hit, crowd, until
from tests.driver import EACH_ITS_OWN, Load, Service, alive_pids, noon_zone, under
from tests.faults.conserved import HEAL_SECONDS, Stream
from tests.faults.sabotage import Sabotage
from tests.waiting import wait_until
from tests.web.inprocess import Clock, running
from visitstats.core.batch import Record
from visitstats.core.keys import article_id
from visitstats.embedded.process import connect_running
from visitstats.journal.reader import slots_of
from visitstats.store import keys

DAY = 24 * 3600
JUMPS = (0, DAY, 0, -DAY, 0)
"""How far ahead the clock is, one after the other."""


@pytest.fixture
def service(tmp_path: Path) -> Iterator[tuple[Service, Sabotage]]:
    made, sabotage = Service(tmp_path / "data", workers=2), Sabotage(tmp_path / "sabotage", clock=True)
    sabotage.into(made)
    made.add_site("t1", "--timezone", noon_zone(), *EACH_ITS_OWN)
    made.start()
    yield made, sabotage
    children = made.children()
    made.stop()
    wait_until(lambda: not alive_pids(children), "its processes are gone")


async def test_every_hit_counts_once_on_the_day_that_the_clock_said(service: tuple[Service, Sabotage]) -> None:
    """Nothing hangs: hits are answered after each jump, and so are the jobs that run every second. All sums agree."""
    running_one, sabotage = service
    load, stream = Load(running_one, "t1"), Stream("jumps")
    certain: list[tuple[int, set[str]]] = []
    async with under(load.run(stream, connections=await running_one.connections(each=4))):
        for ahead in JUMPS:
            sabotage.shift_clock(ahead)
            first, known = len(stream.sent), len(load.acknowledged)
            await load.more(150)
            await jobs_go_on(running_one)
            # Sent after this jump, and answered before the next.
            sent = {hit.article for hit in stream.sent[first:]}
            certain.append((ahead, sent & {hit.article for hit in load.acknowledged[known:]}))
        stream.over = True
    assert set(load.statuses) <= {200, 202}
    assert load.percentile(1.0) < 5
    acknowledged = {hit.article for hit in load.acknowledged}
    assert acknowledged == {hit.article for hit in stream.sent}
    assert all(len(articles) > 100 for _, articles in certain)

    url = connect_running(running_one.data_dir)
    assert url is not None
    client = redis.asyncio.Redis.from_url(url)
    all_of: Any = client.hgetall
    today = datetime.now(ZoneInfo(noon_zone())).date()
    days = {ahead: str(today + timedelta(seconds=ahead)) for ahead in JUMPS}

    async def counted() -> dict[int, dict[bytes, int]]:
        return {
            ahead: {article: int(n) for article, n in (await all_of(keys.articles_of_day("t1", date))).items()}
            for ahead, date in days.items()
        }

    async def all_applied() -> bool:
        return sum(map(len, (await counted()).values())) >= len(acknowledged)

    await until(all_applied, "every hit is counted", HEAL_SECONDS)
    found = await counted()
    await client.aclose()
    every = [article for day in found.values() for article in day]
    assert sorted(every) == sorted(article_id(article) for article in acknowledged), "not once on one day"
    assert {views for day in found.values() for views in day.values()} == {1}
    for ahead, articles in certain:
        missing = {article_id(article) for article in articles} - found[ahead].keys()
        assert not missing, f"{len(missing)} of {len(articles)} hits are not on {days[ahead]}"
    running_one.cli("verify")


async def jobs_go_on(service: Service) -> None:
    """Wait until each worker has written down once more what it shows, which it does every second."""

    def written() -> dict[str, int]:
        return {path.name: path.stat().st_mtime_ns for path in (service.data_dir / "last").glob("numbers-*.json")}

    async def both() -> bool:
        return len(written()) == 2

    await until(both, "both workers have written it")
    before = written()

    async def again() -> bool:
        return all(written()[name] > stamp for name, stamp in before.items())

    await until(again, "the jobs run", 15)


async def test_a_jump_of_a_day_and_back_throws_nothing_away_that_is_needed(tmp_path: Path, redis_url: str) -> None:
    """Neither the journal, which heals the store, nor the salts of the days, so that a visitor is the same."""
    # Segments bear the time of the world outside.
    async with running(tmp_path / "data", redis_url, clock=Clock(datetime.now(UTC).isoformat())) as app:
        worker = app.app.worker
        assert worker is not None
        readers = crowd(5, "jump")
        for reader in readers:
            await app.connection.hit("t1", Hit(reader, "/a"))
        [slot] = slots_of(tmp_path / "data" / "journal")

        def records() -> list[tuple[int, Record]]:
            slot.scan()
            return list(slot.above({"t1": 0}))

        kept = records()
        assert kept
        for jump in (DAY, -DAY):
            app.clock.advance(jump)
            for task in worker.tasks.table:
                await task.run("")
            for duty in (*worker.duties, *worker.chores):
                await duty.run()
            assert records() == kept
        for reader in readers:
            await app.connection.hit("t1", Hit(reader, "/b"))
        assert (await app.numbers())["total"] == 5
