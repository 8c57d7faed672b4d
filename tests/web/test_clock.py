"""The counting rules at their edges, through HTTP, on a clock that the test sets."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.client import HOST, Hit, Visitor, crowd, until
from tests.judge import Judge
from tests.web.inprocess import Running, running
from visitstats.core.sites import Site

ANN, BEN, CAM = crowd(3, "clock")


class Desk:
    """Sends to the application and tells the judge the same."""

    def __init__(self, app: Running, **rules: Any) -> None:
        self.app = app
        self.judge = Judge(**rules)
        self._sent = 0

    async def hit(self, visitor: Visitor, article: str = "/a") -> int:
        """One page load; returns the views that its answer shows."""
        self._sent += 1
        hit = Hit(visitor, article, f"hit-{self._sent:08d}")
        answer = await self.app.connection.hit("t1", hit)
        assert answer.status == 200, answer
        self.judge.hit(self.app.clock.ms, hit)
        shown = answer.json
        assert {name: shown[name] for name in self.judge.numbers(0)} == self.judge.numbers(self.app.clock.ms)
        views: int = shown["views"]
        return views

    async def alive(self, visitor: Visitor) -> None:
        answer = await self.app.connection.alive("t1", visitor)
        assert answer.status == 200, answer
        self.judge.alive(self.app.clock.ms, visitor)
        await self.app.settle_heartbeats()

    async def agrees(self) -> None:
        await self.app.agrees(self.judge)


async def test_a_new_year_begins_in_the_sites_zone(app: Running) -> None:
    """A hit counts for the day on which it was received where the site is; nothing is lost or zeroed at midnight."""
    desk = Desk(app)
    app.clock.set("2040-12-31T23:59:59.999+07:00")
    await desk.hit(ANN)
    await desk.hit(BEN, "/b")
    app.clock.set("2041-01-01T00:00:00+07:00")
    assert await app.numbers() == {
        "online": 2, "today": 0, "yesterday": 2, "week": 2, "last_week": 0, "month": 0, "last_month": 2, "year": 0,
        "total": 2, "average": 1, "record": 2, "record_date": "2040-12-31",
    }  # fmt: skip
    await desk.hit(ANN)
    await desk.hit(CAM)
    await desk.agrees()
    assert (await app.numbers()) == {
        "online": 3, "today": 2, "yesterday": 2, "week": 4, "last_week": 0, "month": 2, "last_month": 2, "year": 2,
        "total": 4, "average": 2, "record": 2, "record_date": "2040-12-31",
    }  # fmt: skip


async def test_nobody_is_online_twice_after_midnight(app: Running) -> None:
    """Who reads on over midnight has a new visitor token, and is one reader."""
    desk = Desk(app)
    app.clock.set("2040-05-16T23:58:00+07:00")
    await desk.hit(ANN)
    await desk.hit(BEN)
    app.clock.set("2040-05-17T00:00:30+07:00")
    await desk.hit(ANN)
    await desk.alive(BEN)
    assert (await app.numbers())["online"] == 2
    app.clock.set("2040-05-17T00:04:59+07:00")
    assert (await app.numbers())["online"] == 2
    await desk.agrees()
    app.clock.set("2040-05-17T00:05:30+07:00")
    assert (await app.numbers())["online"] == 0


async def test_a_week_begins_on_monday_or_as_the_site_says(app: Running) -> None:
    """Sunday's visits leave the week on Monday, those of a site that begins on Sunday leave it on Sunday."""
    await app.put_site(id="sunday", week_start=7)
    monday, sunday = Judge(), Judge(week_start=7)
    for day in ("2040-05-19", "2040-05-20", "2040-05-21"):  # Saturday, Sunday, Monday
        app.clock.set(f"{day}T10:00:00+07:00")
        for visitor, site, judge in ((ANN, "t1", monday), (ANN, "sunday", sunday)):
            hit = Hit(visitor, "/a")
            await app.connection.hit(site, hit)
            judge.hit(app.clock.ms, hit)
            await app.agrees(judge, site)
    assert (await app.numbers())["week"] == 1
    assert (await app.numbers("sunday"))["week"] == 2


async def test_a_visit_ends_after_thirty_minutes_without_a_sign(app: Running) -> None:
    """At 30:00 sharp it still goes on, a millisecond later the next hit starts another; views count again then."""
    desk = Desk(app)
    assert await desk.hit(ANN) == 1
    app.clock.advance(30 * 60)
    assert await desk.hit(ANN) == 1
    app.clock.advance(30 * 60 + 0.001)
    assert await desk.hit(ANN) == 2
    await desk.agrees()
    assert (await app.numbers())["today"] == 2


async def test_heartbeats_keep_a_visit_going(app: Running) -> None:
    """Who reads for an hour, with heartbeats, and then goes on to the next page is on one visit."""
    desk = Desk(app)
    await desk.hit(ANN)
    for _ in range(4):
        app.clock.advance(20 * 60)
        await desk.alive(ANN)
    app.clock.advance(20 * 60)
    await desk.hit(ANN, "/b")
    await desk.agrees()
    assert (await app.numbers())["today"] == 1


async def test_a_heartbeat_never_starts_a_visit(app: Running) -> None:
    """Not of a stranger, and not of a visitor whose visit is over: neither is counted, or online."""
    desk = Desk(app)
    await desk.hit(ANN)
    app.clock.advance(30 * 60 + 1)
    await desk.alive(ANN)
    await desk.alive(BEN)
    await desk.agrees()
    found = await app.numbers()
    assert (found["online"], found["today"], found["total"]) == (0, 1, 1)


async def test_online_are_the_last_five_minutes(app: Running) -> None:
    """A reader leaves the box 300 seconds after the last sign; a heartbeat is one."""
    desk = Desk(app)
    await desk.hit(ANN)
    await desk.hit(BEN)
    app.clock.advance(120)
    await desk.alive(BEN)
    app.clock.advance(178.5)
    assert (await app.numbers())["online"] == 2
    app.clock.advance(1.5)
    assert (await app.numbers())["online"] == 1
    await desk.agrees()
    app.clock.advance(120)
    assert (await app.numbers())["online"] == 0


async def test_reading_over_midnight_by_heartbeats(app: Running) -> None:
    """A page that stays open over midnight is online, and a visit of the new day begins with the next page only."""
    desk = Desk(app)
    app.clock.set("2040-05-16T23:50:00+07:00")
    await desk.hit(ANN)
    for _ in range(4):
        app.clock.advance(240)
        await desk.alive(ANN)
    await desk.agrees()
    found = await app.numbers()
    assert (found["online"], found["today"], found["yesterday"], found["total"]) == (1, 0, 1, 1)
    await desk.hit(ANN)
    await desk.agrees()
    assert (await app.numbers())["today"] == 1
    assert (await app.numbers())["online"] == 1


@pytest.mark.parametrize("header", ["dnt", "sec-gpc"])
async def test_who_asks_not_to_be_tracked_is_told_apart_by_address_and_browser_alone(app: Running, header: str) -> None:
    """DNT and Global Privacy Control: the visit id is not used."""
    first, second = replace(ANN, visit_id="visit-id-one-1"), replace(ANN, visit_id="visit-id-two-2")
    for visitor in (first, second):
        await app.connection.hit("t1", Hit(visitor, "/a"), {header: "1"})
    await app.connection.alive("t1", second, {header: "1"})
    await app.settle_heartbeats()
    assert (await app.numbers())["today"] == 1
    assert (await app.numbers())["online"] == 1
    for visitor in (first, second):
        await app.connection.hit("t1", Hit(visitor, "/a"), {header: "0"})
    assert (await app.numbers())["today"] == 3


async def test_address_browser_and_visit_id_tell_visitors_apart(app: Running) -> None:
    """Each part makes another visitor; the same three parts are one."""
    others = [
        ANN,
        replace(ANN, address="203.0.113.77"),
        replace(ANN, address="2001:db8::7"),
        replace(ANN, agent=BEN.agent),
        replace(ANN, visit_id=CAM.visit_id),
        replace(ANN, visit_id=""),
    ]
    for visitor in [*others, *others]:
        await app.connection.hit("t1", Hit(visitor, "/a"))
    assert (await app.numbers())["today"] == len(others)


async def test_a_box_of_views(app: Running) -> None:
    """A site may have its box count views; each visit counts a view of an article once, as long as it lasts."""
    await app.put_site(box="views")
    desk = Desk(app, box="views")
    for visitor, article in ((ANN, "/a"), (ANN, "/a"), (ANN, "/b"), (BEN, "/a")):
        await desk.hit(visitor, article)
    await desk.agrees()
    assert (await app.numbers())["today"] == 3


async def test_every_load_is_a_view_if_the_site_says_so(app: Running) -> None:
    """`every-load` counts a page that is loaded again, but never a beacon that arrives twice."""
    await app.put_site(views="every-load")
    desk = Desk(app, views="every-load")
    assert await desk.hit(ANN) == 1
    assert await desk.hit(ANN) == 2
    again = Hit(ANN, "/a", "hit-00000002")
    answer = await app.connection.hit("t1", again)
    assert (answer.status, answer.ignored, answer.json["views"]) == (200, "duplicate", 2)
    await desk.agrees()


async def test_a_change_of_a_site_is_seen_within_a_second(tmp_path: Path, redis_url: str) -> None:
    """`site set` needs no restart."""
    async with running(tmp_path / "data", redis_url) as app:
        worker = app.app.worker
        assert worker is not None
        await app.connection.hit("t1", Hit(ANN, "/a"))
        await app.connection.hit("t1", Hit(ANN, "/b"))
        assert (await app.numbers())["total"] == 1
        await worker.records.put_site(Site(id="t1", hosts=(HOST,), box="views"))

        async def shows_views() -> bool:
            app.clock.advance(1.001)
            return bool((await app.connection.numbers("t1"))["total"] == 2)

        await until(shows_views, "the box shows views", 2.5)
