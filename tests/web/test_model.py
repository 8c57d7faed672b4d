"""Random readers, clocks, zones, merges and restarts against the slow and obvious arithmetic of `tests.judge`: equal
after every step.

Each example is the real application on an empty store: HTTP, journal, scripts. `VISITSTATS_MODEL_EXAMPLES=500` looks
deeper, at other examples each time.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from itertools import count
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import redis
import redis.asyncio
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from tests.client import Answer, Hit, Visitor, crowd
from tests.judge import Judge
from tests.web.inprocess import Clock, Running, running
from visitstats.store.inspect import Inspector
from visitstats.trust.verify.verifier import Verifier

EXAMPLES = int(os.environ.get("VISITSTATS_MODEL_EXAMPLES", "0"))
STEPS = 30
GOOGLEBOT = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"


@dataclass(frozen=True)
class Rules:
    """How a site counts."""

    zone: str
    week_start: int = 1
    box: str = "visits"
    views: str = "per-visit"


SITES = {
    "hanoi": Rules("Asia/Ho_Chi_Minh"),
    "kathmandu": Rules("Asia/Kathmandu", views="every-load"),  # UTC+5:45
    "york": Rules("America/New_York", week_start=7),
    "auckland": Rules("Pacific/Auckland", box="views"),  # summer time in January
    "beirut": Rules("Asia/Beirut"),  # clocks change at midnight: a day begins at 01:00, another has it twice
}
# Two visit ids at one address and browser, and none: few, so that they meet themselves again and again.
ONE = crowd(1, "model")[0]
READERS = tuple(replace(ONE, visit_id=visit_id) for visit_id in ("model-visit-1", "model-visit-2", ""))
ARTICLES = ("/tin/a.html", "/tin/b.html", "/tin/c.html")
SECONDS = (0.001, 1.0, 60.0, 240.0, 900.0, 1500.0, 7200.0, 40_000.0)
DAYS = (1, 2, 6, 7, 28, 31, 200)
LIMITS = (300_000, 1_800_000)
"""What rules 4 and 3 turn on, in ms since a reader's last sign."""
MIDNIGHTS = ("day", "day", "week", "month", "year", "change of clocks")

Pause = float | tuple[int, int] | tuple[str, int]
readers = st.sampled_from(READERS)
# How long nothing happens before the next thing does; a tuple is a moment that something turns on, or one beside it.
pauses = st.one_of(
    st.just(0.0),
    st.sampled_from(SECONDS),
    st.tuples(st.sampled_from(LIMITS), st.sampled_from((-1, 0, 1))),
    st.tuples(st.sampled_from(MIDNIGHTS), st.sampled_from((-240_000, -1, 0, 1, 60_000))),
)


class Model(RuleBasedStateMachine):
    """One application, and a judge for the site that this example looks at."""

    store: str
    folder: Path
    number = count()

    def __init__(self) -> None:
        super().__init__()
        self._loop = asyncio.Runner()
        self._stack = contextlib.AsyncExitStack()
        self._clock = Clock()
        self._sent: list[tuple[int, Hit]] = []
        self._last_sign: dict[Visitor, int] = {}
        self._merges: list[tuple[str, str, str]] = []
        """Those that are in force: id, one article, the other."""
        self._known: set[str] = set()
        """Articles under whose own key something was counted."""
        self._token = ""
        with redis.Redis.from_url(self.store) as client:
            client.flushall()
        self._data_dir = self.folder / f"example-{next(self.number)}"
        self._app: Running
        try:
            self._loop.run(self._start())
        except BaseException:
            self.teardown()  # of a model that was never made Hypothesis tears nothing down
            raise

    def teardown(self) -> None:
        with self._loop:
            self._loop.run(self._stack.aclose())

    async def _start(self) -> None:
        """Start the application, as it is after a restart, too."""
        # Nothing is answered from the journal alone here, however slow the machine is.
        self._app = await self._stack.enter_async_context(
            running(self._data_dir, self.store, clock=self._clock, answer_timeout_ms=10_000)
        )
        for name, rules in SITES.items():
            await self._app.put_site(
                id=name, timezone=rules.zone, week_start=rules.week_start, box=rules.box, views=rules.views
            )

    # What happens --------------------------------------------------------------------------------------------------

    @initialize(site=st.sampled_from(sorted(SITES)), days=st.integers(0, 400), minutes=st.integers(0, 1439))
    def begin(self, site: str, days: int, minutes: int) -> None:
        self._site, self._rules = site, SITES[site]
        rules = self._rules
        self._judge = Judge(rules.zone, rules.week_start, box=rules.box, views=rules.views)
        self._clock.advance(days * 86_400 + minutes * 60)

    @rule(pause=pauses, reader=readers, article=st.sampled_from(ARTICLES))
    def hit(self, pause: Pause, reader: Visitor, article: str) -> None:
        self._pause(pause, reader)
        hit = Hit(reader, article, f"hit-{len(self._sent):08d}")
        self._sent.append((self._clock.ms, hit))
        self._loop.run(self._deliver(hit))

    @precondition(lambda self: self._recent())
    @rule(choice=st.integers(0, 10))
    def deliver_again(self, choice: int) -> None:
        """A beacon that is repeated counts once (rule 5)."""
        recent = self._recent()
        self._loop.run(self._deliver(recent[choice % len(recent)]))

    @rule(pause=pauses, reader=readers)
    def heartbeat(self, pause: Pause, reader: Visitor) -> None:
        self._pause(pause, reader)

        async def beat() -> None:
            assert (await self._app.connection.alive(self._site, reader)).status == 200
            await self._app.settle_heartbeats()
            self._judge.alive(self._clock.ms, reader)
            await self._agrees()

        self._loop.run(beat())
        self._last_sign[reader] = self._clock.ms

    @rule(reader=readers, before=st.sampled_from((240_000, 60_000, 1)), after=st.sampled_from((0, 1, 59_000)),
          hits=st.booleans())  # fmt: skip
    def read_over_midnight(self, reader: Visitor, before: int, after: int, hits: bool) -> None:
        """Today's token takes the place of yesterday's (rule 2), by a page or by a heartbeat."""
        self.hit(("day", -before), reader, ARTICLES[0])
        self.hit(("day", after), reader, ARTICLES[0]) if hits else self.heartbeat(("day", after), reader)

    @rule(reader=readers, limit=st.sampled_from(LIMITS), offset=st.sampled_from((-1, 0, 1)))
    def come_again(self, reader: Visitor, limit: int, offset: int) -> None:
        """Whoever goes is online for 300 seconds, and on a visit for 30 minutes (rules 3 and 4)."""
        self.hit(0.0, reader, ARTICLES[0])
        self.hit((limit, offset), reader, ARTICLES[1])

    @rule()
    def bot(self) -> None:
        """What is no reader changes nothing (rule 8)."""

        async def visit() -> None:
            answer = await self._app.connection.hit(self._site, Hit(replace(ONE, agent=GOOGLEBOT), "/tin/a.html"))
            assert (answer.status, answer.ignored) == (200, "bot")
            await self._agrees()

        self._loop.run(visit())

    @rule(days=st.sampled_from(DAYS))
    def wait_for_days(self, days: int) -> None:
        self._clock.advance(days * 86_400)
        self._loop.run(self._agrees())

    @rule()
    def restart(self) -> None:
        """The process ends, and another goes on with its folder and the same store."""

        async def again() -> None:
            await self._stack.aclose()
            await self._start()
            await self._agrees()

        self._loop.run(again())

    @rule(source=st.sampled_from(ARTICLES), into=st.sampled_from(ARTICLES))
    def merge(self, source: str, into: str) -> None:
        """One article stands for another from now on; what cannot be merged changes nothing."""
        now = self._clock.ms
        end = self._judge.stands_for(into, now)
        possible = (
            source != end and {source, end} <= self._known and source not in [merged for _, merged, _ in self._merges]
        )

        async def order() -> None:
            answer = await self._order("merge", {"from": source, "into": into})
            assert (answer.status == 200) == possible, answer
            if possible:
                self._merges.append((answer.json["change"]["id"], source, end))
                self._judge.merge(now, source, end)
            await self._agrees()

        self._loop.run(order())

    @rule(pause=pauses, reader=readers, pair=st.permutations(ARTICLES))
    def merge_while_reading(self, pause: Pause, reader: Visitor, pair: list[str]) -> None:
        """Who has read both goes on with the one that stands for the other."""
        for article in pair[:2]:
            self.hit(0.0, reader, article)
        self.merge(pair[0], pair[1])
        self.hit(pause, reader, pair[0])

    @precondition(lambda self: self._merges)
    @rule(choice=st.integers(0, 10))
    def undo(self, choice: int) -> None:
        """Exactly what was merged is given back, unless the other article was merged itself since."""
        change, source, target = self._merges[choice % len(self._merges)]
        possible = target not in [merged for _, merged, _ in self._merges]

        async def order() -> None:
            answer = await self._order("undo", {"change": change})
            assert (answer.status == 200) == possible, answer
            if possible:
                self._merges.remove((change, source, target))
                self._judge.undo(self._clock.ms, source, target)
            await self._agrees()

        self._loop.run(order())

    @rule()
    def upkeep(self) -> None:
        """No task decides a number, and all numbers agree."""

        async def work() -> None:
            worker = self._app.app.worker
            assert worker is not None
            for task in worker.tasks.table:
                if task.name != "verify":  # a process of its own, on the clock of the world outside
                    await task.run("")
            async with redis.asyncio.Redis.from_url(self.store) as raw:
                root = worker.settings.data_dir / "journal"
                verifier = Verifier(Inspector(raw), worker.records, worker.reads, root, self._clock)
                report = await verifier.run(again_seconds=0)
            assert report.right, report.problems
            await self._agrees()

        self._loop.run(work())

    async def _order(self, action: str, body: dict[str, str]) -> Answer:
        self._token = self._token or await self._app.token("editor", self._site)
        path = f"/v1/admin/sites/{self._site}/{action}"
        return await self._app.connection.request("POST", path, body, {"authorization": self._token})

    # What must be shown --------------------------------------------------------------------------------------------

    def _pause(self, pause: Pause, reader: Visitor) -> None:
        """Let time pass, and look at the numbers then: before anything happens, and only by that."""
        if isinstance(pause, float):
            moment = self._clock.ms + round(pause * 1000)
        elif isinstance(pause[0], int):
            moment = self._last_sign.get(reader, self._clock.ms) + pause[0] + pause[1]
        else:
            moment = _midnight(self._clock.ms, self._rules, pause[0]) + pause[1]
        if moment > self._clock.ms:
            self._clock.ms = moment
            self._loop.run(self._agrees())

    def _recent(self) -> list[Hit]:
        """Hits whose ids are still known: for 30 to 60 minutes."""
        return [hit for moment, hit in self._sent if self._clock.ms - moment < 30 * 60_000]

    async def _deliver(self, hit: Hit) -> None:
        answer = await self._app.connection.hit(self._site, hit)
        assert answer.status == 200, answer
        judge, now = self._judge, self._clock.ms
        judge.hit(now, hit)
        self._last_sign[hit.visitor] = now
        expected = judge.numbers(now)
        assert {name: answer.json[name] for name in expected} == expected
        article = judge.stands_for(hit.article, now)
        self._known.add(article)
        assert (answer.json["key"], answer.json["views"]) == (article, judge.views(now)[article])
        await self._agrees()

    async def _agrees(self) -> None:
        worker, judge, now = self._app.app.worker, self._judge, self._clock.ms
        assert worker is not None
        worker.stats._snapshots.pop(self._site, None)  # or numbers might be shown that are up to a second old
        assert await self._app.connection.numbers(self._site) == judge.box(now)
        views = judge.views(now)
        expected = {article: views.get(judge.stands_for(article, now), 0) for article in ARTICLES}
        assert await self._app.connection.views(self._site, expected) == expected


def _midnight(now_ms: int, rules: Rules, kind: str) -> int:
    """The first moment of the next day, week, month, year, or day whose clocks change, in a site's zone; by walking."""
    zone = ZoneInfo(rules.zone)
    when = datetime.fromtimestamp(now_ms / 1000, zone).date()
    for _ in range(400):
        when += timedelta(days=1)
        if (
            kind == "day"
            or (kind == "week" and when.isoweekday() == rules.week_start)
            or (kind == "month" and when.day == 1)
            or (kind == "year" and (when.month, when.day) == (1, 1))
            or (kind == "change of clocks" and _length(when, zone) != 24 * 3_600_000)
        ):
            break
    return _first_moment(when, zone)


def _length(when: date, zone: ZoneInfo) -> int:
    return _first_moment(when + timedelta(days=1), zone) - _first_moment(when, zone)


def _first_moment(when: date, zone: ZoneInfo) -> int:
    """The least moment whose local date is `when`, found by halving: no arithmetic with folds and gaps."""
    middle = int(datetime(when.year, when.month, when.day, 12, tzinfo=zone).timestamp()) * 1000
    low, high = middle - 16 * 3_600_000, middle
    while high - low > 1:
        half = (low + high) // 2
        if datetime.fromtimestamp(half / 1000, zone).date() < when:
            low = half
        else:
            high = half
    return high


@pytest.mark.timeout(180 if not EXAMPLES else 36_000)
def test_the_counter_and_plain_arithmetic_never_differ(redis_url: str, tmp_path: Path) -> None:
    class Here(Model):
        store, folder = redis_url, tmp_path

    run_state_machine_as_test(
        Here,
        settings=settings(
            max_examples=EXAMPLES or 20,
            stateful_step_count=STEPS,
            derandomize=not EXAMPLES,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.parametrize(
    ("zone", "day", "first", "hours"),
    [
        ("Asia/Ho_Chi_Minh", "2040-05-16", "2040-05-15T17:00:00+00:00", 24),
        ("Asia/Beirut", "2040-03-25", "2040-03-24T22:00:00+00:00", 23),
        ("Asia/Beirut", "2040-10-28", "2040-10-27T22:00:00+00:00", 24),
        ("America/New_York", "2040-11-04", "2040-11-04T04:00:00+00:00", 25),
    ],
)
def test_the_model_knows_when_days_begin(zone: str, day: str, first: str, hours: int) -> None:
    """Its own arithmetic, checked against an almanac."""
    when = date.fromisoformat(day)
    assert _first_moment(when, ZoneInfo(zone)) == int(datetime.fromisoformat(first).timestamp() * 1000)
    assert _length(when, ZoneInfo(zone)) == hours * 3_600_000
