"""The comparison: beacons into the application on an injected clock, and each number that it answers beside the
count's.

Hits go the way of the usual hit (`Application.take_at_once`), each at its own moment, a batch of them for a commit;
everything else is a request to the ASGI application. The answers come through HTTP.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import statistics
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote
from zoneinfo import ZoneInfo

from tests.client import until
from tests.comparison.count import OTHER, Count
from tests.comparison.traffic import OFFICE, PORTALS, Beacon, Portal, burst_of, dates_of, days_of, midnights_of, traffic
from tests.web.inprocess import Clock, Running, running
from visitstats.web.beacons.address import headers_of

TOGETHER = 400
"""Hits in a commit at most."""
WITHIN_MS = 180_000
"""And they are of a few minutes: a hit id is known for the half hour of its batch and the next one."""
STANDARD_ERROR = 0.0029
"""Of the estimate of one day."""
FEW = 500
"""Days with fewer visitors are left out of the figures for estimates; they are compared as all others are."""


@dataclass
class Found:
    """What a comparison found."""

    sent: Counter[str] = field(default_factory=Counter)
    """Beacons by kind, and how many the service counted."""
    checked: Counter[str] = field(default_factory=Counter)
    """How many numbers of each kind were compared."""
    wrong: list[str] = field(default_factory=list)
    """Numbers that must be exact and are not."""
    estimates: list[tuple[str, str, int, int]] = field(default_factory=list)
    """Portal and day, period, visitors, the estimate."""

    def same(self, what: str, name: str, expected: object, answered: object) -> None:
        self.checked[what] += 1
        if expected != answered:
            self.wrong.append(f"{what}, {name}: {answered} is answered, {expected} were counted")

    def error(self, period: str) -> list[float]:
        """The relative errors of the estimates of a period."""
        return [
            estimate / people - 1 for _, each, people, estimate in self.estimates if each == period and people >= FEW
        ]

    def overall(self) -> float:
        """The relative error of all days' estimates together."""
        days = [(people, estimate) for _, period, people, estimate in self.estimates if period == "day"]
        return sum(estimate for _, estimate in days) / sum(people for people, _ in days) - 1

    def troubles(self) -> list[str]:
        """What must not be. Of single estimates: 4.5 standard errors, which one in 100,000 exceeds."""
        found = list(self.wrong)
        for name, period, people, estimate in self.estimates:
            if abs(estimate - people) > 4.5 * STANDARD_ERROR * people + 2:
                found.append(f"unique visitors, {name}, {period}: {estimate} is answered, {people} were there")
        for what, error in (
            ("all days together", abs(self.overall())),
            *((f"a {each} on average", statistics.fmean(map(abs, self.error(each)))) for each in _PERIODS),
        ):
            if error > 0.01:
                found.append(f"unique visitors, {what}: {100 * error:.2f} % away")
        return found

    def lines(self) -> Iterator[str]:
        """A report."""
        yield "sent: " + ", ".join(f"{n:,} {kind}" for kind, n in self.sent.items())
        yield "compared, exact: " + ", ".join(f"{n:,} {what}" for what, n in self.checked.items())
        for period in _PERIODS:
            errors = sorted(map(abs, self.error(period)))
            least = min(people for _, each, people, _ in self.estimates if each == period and people >= FEW)
            most = max(people for _, each, people, _ in self.estimates if each == period)
            yield (
                f"unique visitors of a {period}: {len(errors)} estimates of {least:,} to {most:,} visitors; error on "
                f"average {100 * statistics.fmean(errors):.2f} %, median {100 * statistics.median(errors):.2f} %, "
                f"largest {100 * errors[-1]:.2f} %, {sum(error <= 0.01 for error in errors)} within 1 %"
            )
        yield f"unique visitors of all days together: {100 * self.overall():+.2f} %"
        troubles = self.troubles()
        yield from (f"WRONG: {trouble}" for trouble in troubles[:50])
        yield f"{len(troubles)} differences"


_PERIODS = ("day", "week", "month")


async def compare(data_dir: Path, redis_url: str, hits: int, seed: int) -> Found:
    """Send the traffic of a seed, count it, and compare."""
    found, clock = Found(), Clock()
    first, last = days_of(hits)
    clock.set(first.isoformat())
    counts = {portal.id: Count(portal, burst_of(hits)) for portal in PORTALS}
    async with running(
        data_dir,
        redis_url,
        clock=clock,
        answer_timeout_ms=10_000,
        network_burst=burst_of(hits),
        # So that a bucket is deep in time: heartbeats are sent when the clock was minutes ahead already.
        network_hits_per_second=1,
    ) as app:
        for portal in PORTALS:
            await app.put_site(**_record(portal))
        sender = _Sender(app)
        looks = [midnight + minutes * 60_000 for midnight in midnights_of(hits) for minutes in (-1, 1, 4)]
        for beacon in traffic(hits, seed):
            while looks and looks[0] < beacon.ms:
                await sender.flush()
                clock.ms = looks.pop(0)
                await _online(app, counts, found)
            await sender.send(beacon)
            counts[beacon.portal.id].add(beacon)
        await sender.flush()
        found.sent.update(sender.sent)
        clock.set(last.isoformat())
        await _online(app, counts, found)
        for portal in PORTALS:
            await _numbers(app, portal, counts[portal.id], hits, found)
            await _articles(app, portal, counts[portal.id], found)
            await _ignored(app, portal, counts[portal.id], hits, found)
            await _uniques(app, portal, counts[portal.id], hits, found)
    return found


def _record(portal: Portal, **changes: object) -> dict[str, Any]:
    record = {"id": portal.id, "hosts": [portal.host], "timezone": portal.zone, "office_networks": [OFFICE]}
    return record | portal.options | changes


class _Sender:
    """Sends beacons in the order of time."""

    def __init__(self, app: Running) -> None:
        self._app = app
        self._clock = app.clock
        self._take = app.app.take_at_once
        self._open = 0
        self._answered = asyncio.Event()
        self._since = 0
        self._beats: list[Beacon] = []
        self._beating: set[tuple[str, str, str, str]] = set()
        self.sent: Counter[str] = Counter()

    async def send(self, beacon: Beacon) -> None:
        """Send a beacon, at the latest with the next `flush`. Heartbeats wait for the service's next commit, which on
        this clock may be minutes: so a visitor's next page waits until the heartbeat before it has arrived."""
        who = (beacon.portal.id, beacon.address, beacon.agent, beacon.visit_id)
        too_soon = beacon.kind != "alive" and who in self._beating
        if self._open >= TOGETHER or beacon.ms - self._since > WITHIN_MS or too_soon:
            await self.flush()
            self._since = beacon.ms
        self.sent["heartbeats" if beacon.kind == "alive" else "pages"] += 1
        if beacon.kind == "alive":
            self._beats.append(beacon)
            self._beating.add(who)
            return
        self._clock.ms = beacon.ms
        if beacon.kind == "pixel":
            await self._request(beacon)
            return
        scope = _scope(beacon)
        path, headers, peer = scope["raw_path"], headers_of(scope["headers"]), scope["client"][0]
        assert self._take is not None
        self._open += 1
        if not self._take(path, headers, peer, _body(beacon), self._answer):
            self._open -= 1
            await self._request(beacon)

    async def flush(self) -> None:
        """Have everything that was sent so far counted."""
        self.sent["flushes"] += 1
        while self._open:
            self._answered.clear()
            await asyncio.wait_for(self._answered.wait(), 60)
        for moment in sorted({beat.ms for beat in self._beats}):
            self._clock.ms = moment
            await asyncio.gather(*(self._request(beat) for beat in self._beats if beat.ms == moment))
        if self._beats:
            await self._app.settle_heartbeats()
        self._beats.clear()
        self._beating.clear()

    def _answer(self, status: int, lines: bytes, body: bytes) -> None:
        self._note(status, b"ignored" not in lines)
        self._open -= 1
        if not self._open:
            self._answered.set()

    async def _request(self, beacon: Beacon) -> None:
        started: list[Any] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": _body(beacon), "more_body": False}

        async def send(message: Any) -> None:
            started.append(message)

        await self._app.app(_scope(beacon), receive, send)
        names = dict(started[0]["headers"])
        if beacon.kind != "alive":
            self._note(started[0]["status"], b"x-visitstats" not in names)

    def _note(self, status: int, counted: bool) -> None:
        assert status == 200 or (status in (400, 413) and not counted), status
        self.sent["counted"] += counted


def _scope(beacon: Beacon) -> dict[str, Any]:
    action = {"hit": "hit", "pixel": "hit.gif", "alive": "alive"}[beacon.kind]
    path = f"/v1/sites/{beacon.portal.id}/{action}"
    query = ""
    if beacon.kind == "pixel":
        named = {"u": beacon.url, "k": beacon.explicit_key, "h": beacon.hit_id}
        query = "&".join(f"{name}={quote(value, safe='')}" for name, value in named.items() if value)
    headers = {
        "x-forwarded-for": beacon.address,
        "user-agent": beacon.agent,
        "content-type": "text/plain;charset=UTF-8",
        "origin": f"https://{beacon.portal.host}",
    } | dict(beacon.headers)
    return {
        "type": "http",
        "method": "GET" if beacon.kind == "pixel" else "POST",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "client": ("127.0.0.1", 1),
    }


def _body(beacon: Beacon) -> bytes:
    if beacon.raw:
        return beacon.raw
    named = {"u": beacon.url, "k": beacon.explicit_key, "v": beacon.visit_id, "h": beacon.hit_id}
    return json.dumps(
        {name: value for name, value in named.items() if value} | ({"w": True} if beacon.webdriver else {})
    ).encode()


# What is answered ---------------------------------------------------------------------------------------------------


async def _online(app: Running, counts: dict[str, Count], found: Found) -> None:
    """Who is online now: above all, that nobody is twice when a day has just begun."""
    for portal in PORTALS:
        app.clock.ms += 1001  # what is shown may be a second old
        shown = (await app.connection.numbers(portal.id))["online"]
        name = f"{portal.id} at {datetime.fromtimestamp(app.clock.ms / 1000, ZoneInfo(portal.zone)).isoformat()}"
        found.same("online", name, counts[portal.id].online(app.clock.ms), shown)


async def _numbers(app: Running, portal: Portal, count: Count, hits: int, found: Found) -> None:
    """What the box shows on each of the days, of visits and of views."""
    for box, counted in (("visits", count.visits), ("views", count.views)):
        await app.put_site(**_record(portal, box=box, archived=False))
        for day in dates_of(hits, portal.zone):
            app.clock.ms = _noon(day, portal)
            answered = await app.numbers(portal.id)
            for name, expected in count.box(day, counted).items():
                found.same(f"numbers of {box}", f"{portal.id} on {day}, {name}", expected, answered[name])


async def _articles(app: Running, portal: Portal, count: Count, found: Found) -> None:
    keys = [*count.articles, OTHER, "/nobody-has-read-it"]
    answered = await app.connection.views(portal.id, keys)
    for key in dict.fromkeys(keys):
        found.same("views of articles", f"{portal.id} {key}", count.articles[key], answered[key])
    viewer = await app.token("viewer", portal.id)
    rows: dict[str, int] = {}
    cursor: str | None = ""
    while cursor is not None:
        listed = await app.connection.request(
            "GET",
            f"/v1/admin/sites/{portal.id}/articles?limit=1000&cursor={cursor}",
            headers={"authorization": viewer},
        )
        rows |= {row["key"]: row["views"] for row in listed.json["articles"]}
        cursor = listed.json["cursor"]
    found.same("lists of articles", portal.id, {key: n for key, n in count.articles.items() if n}, rows)


async def _ignored(app: Running, portal: Portal, count: Count, hits: int, found: Found) -> None:
    for day in dates_of(hits, portal.zone):
        expected = {reason: n for reason, n in count.ignored[day].items() if n}
        answered: list[dict[str, int]] = [{}]

        async def there(
            day: date = day, answered: list[dict[str, int]] = answered, expected: dict[str, int] = expected
        ) -> bool:
            answered[0] = (await _admin(app, portal, f"ignored?day={day}"))["ignored"]
            return answered[0] == expected

        with contextlib.suppress(AssertionError):
            await until(there, "", 2.5)  # what was not counted is told within a second
        for reason in {*expected, *answered[0]}:
            name = f"{portal.id} on {day}, {reason}"
            found.same("reasons", name, expected.get(reason, 0), answered[0].get(reason, 0))


async def _uniques(app: Running, portal: Portal, count: Count, hits: int, found: Found) -> None:
    days = dates_of(hits, portal.zone)
    app.clock.ms = _noon(days[-1], portal)
    for period, asked in (("day", days), ("week", [days[-1], days[0]]), ("month", [days[-1]])):
        for day in asked:
            people = count.unique(max(each for each in days if _same(each, day, period, count)), period)
            if people:
                answered = await _admin(app, portal, f"uniques?period={period}&day={day}")
                found.estimates.append((f"{portal.id} {day}", period, people, answered["uniques"]))


def _same(one: date, other: date, period: str, count: Count) -> bool:
    """Whether two days are in one period."""
    if period == "month":
        return (one.year, one.month) == (other.year, other.month)
    return one == other if period == "day" else count.week_of(one) == count.week_of(other)


async def _admin(app: Running, portal: Portal, question: str) -> Any:
    assert app.app.worker is not None
    name = f"compare-{portal.id}"
    bearer = _BEARERS.get((app, name)) or _BEARERS.setdefault((app, name), await app.token("viewer", portal.id, name))
    headers = {"authorization": bearer}
    answer = await app.connection.request("GET", f"/v1/admin/sites/{portal.id}/{question}", headers=headers)
    assert answer.status == 200, answer
    return answer.json


_BEARERS: dict[tuple[Running, str], str] = {}


def _noon(day: date, portal: Portal) -> int:
    return int(datetime(day.year, day.month, day.day, 12, tzinfo=ZoneInfo(portal.zone)).timestamp() * 1000)
