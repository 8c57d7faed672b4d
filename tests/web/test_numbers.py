"""Last week and last month, the average and the record: in answers, boxes, metrics and on the command line."""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from redis.asyncio import Redis

from tests.client import Hit, crowd, until
from tests.shell import Shell
from tests.web.inprocess import Running, running
from visitstats.core.errors import StoreUnavailable
from visitstats.core.numbers import PERIODS, TABLE
from visitstats.reading import snapshots as stats
from visitstats.store import keys
from visitstats.store.reads import Reads

ANN, BEN, CAM = crowd(3, "numbers")
RECORD = ("average", "record", "record_date")
TODAY = "2040-05-16"
"""A Wednesday."""
PAST = {"2040-04-02": 40, "2040-04-29": 3, "2040-05-06": 5, "2040-05-08": 10, "2040-05-14": 7}


@pytest.fixture
def past(redis_url: str) -> Callable[..., Any]:
    """Counts that a site had already, of these days: `await past({"2040-05-14": 7}, box="views")`."""

    async def put(days: dict[str, int], box: str = "visits", site: str = "t1") -> None:
        async with Redis.from_url(redis_url) as raw:
            for day, n in days.items():
                for name in (day, day[:7], day[:4], "all"):
                    await raw.hincrby(*keys.count_at(site, box, name), n)

    return put


async def record(app: Running) -> tuple[Any, ...]:
    found = await app.numbers()
    return tuple(found[name] for name in RECORD)


def reads_of(app: Running) -> Reads:
    assert app.app.worker is not None
    return app.app.worker.reads


def asked_of(app: Running, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The sites whose past is read from now on, in that order."""
    asked: list[str] = []
    read = reads_of(app).history

    async def noted(site: str, box: str) -> Any:
        asked.append(site)
        return await read(site, box)

    monkeypatch.setattr(reads_of(app), "history", noted)
    return asked


async def test_the_weeks_and_months_and_the_best_day_of_a_site_with_a_past(
    app: Running, past: Any, redis_url: str
) -> None:
    """A baseline is in the total, and in no average: nobody knows of how many days it is."""
    await past(PAST)
    async with Redis.from_url(redis_url) as raw:
        await raw.hset(*keys.count_at("t1", "visits", "base"), 1_000_000)
    app.clock.set(f"{TODAY}T10:00:00+07:00")
    await app.connection.hit("t1", Hit(ANN, "/a"))
    assert await app.numbers() == {
        "online": 1, "today": 1, "yesterday": 0, "week": 8, "last_week": 10, "month": 23, "last_month": 43, "year": 66,
        "total": 1_000_066, "average": 1, "record": 40, "record_date": "2040-04-02",
    }  # fmt: skip


async def test_a_site_without_a_visit_has_no_record(app: Running) -> None:
    """It is not 0: there is no day to show."""
    assert await record(app) == (None, None, None)


async def test_the_answer_to_a_hit_does_not_wait_for_the_past(app: Running, past: Any) -> None:
    """It says null until that is read, then so does it know the record; and today may be the new one."""
    await past({"2040-05-14": 1})
    app.clock.set(f"{TODAY}T10:00:00+07:00")

    async def shown(reader: Any) -> tuple[Any, ...]:
        answer = (await app.connection.hit("t1", Hit(reader, "/a"))).json
        return tuple(answer[name] for name in RECORD)

    assert await shown(ANN) in ((None, None, None), (1, 1, "2040-05-14"))

    async def known() -> bool:
        return await shown(ANN) == (1, 1, "2040-05-14")

    await until(known, "the record is known")
    assert await shown(BEN) == (1, 2, TODAY)
    alive = (await app.connection.alive("t1", BEN)).json
    assert tuple(alive[name] for name in RECORD) == (1, 2, TODAY)


async def test_the_past_is_read_every_ten_minutes_and_only_while_somebody_asks(
    app: Running, past: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A day of long ago that is brought up late may be the record: ten minutes later it is."""
    app.clock.set(f"{TODAY}T10:00:00+07:00")
    asked = asked_of(app, monkeypatch)
    await past(PAST)
    for n in range(50):
        await app.connection.hit("t1", Hit(ANN, f"/{n}"))
    assert (await record(app))[1:] == (40, "2040-04-02")
    await past({"2040-03-01": 41})
    app.clock.advance(590)
    assert (await record(app))[1:] == (40, "2040-04-02")
    assert asked == ["t1"]
    app.clock.advance(10)
    assert (await record(app))[1:] == (41, "2040-03-01")
    assert asked == ["t1", "t1"]
    app.clock.advance(36_000)
    await asyncio.sleep(0)
    assert asked == ["t1", "t1"], "nobody has asked"


async def test_at_midnight_the_day_that_has_ended_keeps_its_record(
    app: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Although the past was read when it was still going on."""
    app.clock.set(f"{TODAY}T23:55:00+07:00")
    assert await record(app) == (None, None, None)
    app.clock.set(f"{TODAY}T23:58:00+07:00")
    asked = asked_of(app, monkeypatch)
    for reader in (ANN, BEN, CAM):
        await app.connection.hit("t1", Hit(reader, "/a"))
    app.clock.set("2040-05-17T00:00:30+07:00")
    await app.connection.hit("t1", Hit(ANN, "/a"))
    assert await record(app) == (2, 3, TODAY)
    assert asked == []


async def test_the_record_is_of_what_the_box_counts(app: Running, past: Any) -> None:
    """A box that counts views from now on shows another one at once."""
    await past(PAST)
    await past({"2040-05-01": 900}, "views")
    app.clock.set(f"{TODAY}T10:00:00+07:00")
    assert (await record(app))[1:] == (40, "2040-04-02")
    await app.put_site(box="views")
    app.clock.advance(2)
    assert await record(app) == (56, 900, "2040-05-01")


async def test_what_cannot_be_read_is_not_known_and_what_was_known_stays(
    app: Running, past: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    await past(PAST)
    app.clock.set(f"{TODAY}T10:00:00+07:00")
    read = reads_of(app).history

    async def fails(*_: Any) -> Any:
        raise StoreUnavailable("away")

    monkeypatch.setattr(reads_of(app), "history", fails)
    assert await record(app) == (None, None, None)
    assert (await app.numbers())["total"] == 65
    monkeypatch.setattr(reads_of(app), "history", read)
    app.clock.advance(2)
    assert (await record(app))[1:] == (40, "2040-04-02"), "it is tried again a second later"
    monkeypatch.setattr(reads_of(app), "history", fails)
    app.clock.advance(3600)
    assert (await record(app))[1:] == (40, "2040-04-02")


async def test_a_store_that_reads_the_past_slowly_does_not_delay_the_other_numbers(
    app: Running, past: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Readers get the other numbers after a second at most, and the record when it is there."""
    await past(PAST)
    app.clock.set(f"{TODAY}T10:00:00+07:00")
    read, told = reads_of(app).history, asyncio.Event()

    async def slow(*arguments: Any) -> Any:
        await told.wait()
        return await read(*arguments)

    monkeypatch.setattr(reads_of(app), "history", slow)
    monkeypatch.setattr(stats, "FRESH_MS", 20)
    assert (await app.numbers())["total"] == 65
    assert await record(app) == (None, None, None)
    told.set()
    app.clock.advance(2)
    assert (await record(app))[1:] == (40, "2040-04-02")


async def test_the_last_numbers_outlive_the_process(tmp_path: Path, redis_url: str, past: Any) -> None:
    async with running(tmp_path / "data", redis_url) as app:
        await past(PAST)
        app.clock.set(f"{TODAY}T10:00:00+07:00")
        expected = await app.numbers()
        assert app.app.worker is not None
        mine = app.app.worker.stats
        await asyncio.to_thread(mine.keep)
        live = app.app.worker.sites.get("t1")
        assert live is not None
        mine._snapshots.clear()
        mine.load()
        found = mine.last(live).numbers
        assert {name: getattr(found, name) for name in expected} == expected


async def test_boxes_without_a_script_show_all_lines(app: Running, past: Any) -> None:
    await past(PAST)
    await past({"2040-05-13": 1234})
    app.clock.set(f"{TODAY}T10:00:00+07:00")
    lines = "lines=last_week,last_month,average,record&lang=vi"
    page = (await app.connection.request("GET", f"/v1/sites/t1/box?{lines}")).body.decode()
    values = re.findall(r'class="vs-value">([^<]*)<', page)
    assert values == ["1.244", "43", "29", "1.234 (13/05/2040)"]
    labels = re.findall(r'class="vs-label">([^<]*)<', page)
    assert labels == ["Tuần trước", "Tháng trước", "Trung bình mỗi ngày", "Cao nhất"]
    picture = (await app.connection.request("GET", f"/v1/sites/t1/box.svg?{lines}")).body.decode()
    assert all(value in picture for value in values)
    badge = await app.connection.request("GET", "/v1/sites/t1/badge.json?line=record")
    assert badge.json["message"] == "1.234 (13/05/2040)"


async def test_metrics_have_every_period(app: Running, past: Any) -> None:
    await past(PAST)
    app.clock.set(f"{TODAY}T10:00:00+07:00")
    text = (await app.connection.request("GET", "/metrics")).body.decode()
    found = dict(re.findall(r'^visitstats_visits\{period="(\w+)",site="t1"\} ([\d.]+)$', text, re.MULTILINE))
    assert list(found) == list(PERIODS)
    assert (found["last_week"], found["last_month"]) == ("10.0", "43.0")


async def test_the_command_line_shows_every_number(tmp_path: Path, redis_url: str, past: Any) -> None:
    """In visits and in views, whatever the box counts."""
    shell = Shell(tmp_path, redis_url)
    await asyncio.to_thread(shell, "site", "add", "s", "--host", "portal.vn")
    await past({"2020-03-01": 1234, "2020-03-02": 5}, site="s")
    shown = await asyncio.to_thread(shell, "stats", "s")
    rows = {
        cells[0]: cells[1:]
        for line in shown.splitlines()
        if len(cells := [cell.strip() for cell in line.strip("│┃").split("│")]) == 3
    }
    assert {"online", "search_engines", "record_date"} == {name for name in TABLE if name.replace("_", " ") not in rows}
    assert rows["record"] == ["1.234 (2020-03-01)", "—"]
    assert rows["total"] == ["1.239", "0"]
    # The command's clock is the machine's: 1,239 visits on so many days, as a whole number.
    days = (datetime.now(ZoneInfo("Asia/Ho_Chi_Minh")).date() - date(2020, 3, 1)).days + 1
    assert rows["average"] == [str(math.floor(1239 / days + 0.5)), "—"]
    assert rows["last month"] == ["0", "0"]
