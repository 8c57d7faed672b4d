"""Stores that are lost, workers that are killed, beacons that are sent again: the numbers are those that the same hits
make without any of it, in the order of their moments."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.store.dated import dated
from tests.store.machine import Copy, Machine, lived
from visitstats.core.periods import Calendar
from visitstats.core.sites import Site
from visitstats.embedded.process import EmbeddedStore

ZONE = "Asia/Ho_Chi_Minh"
MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = Calendar(ZONE).day_named("2036-11-24")
NOON = DAY.start_ms + 12 * HOUR
PEOPLE = ("An", "Bình", "Chi")
ARTICLES = ("/a", "/b", "/c", "/d")
WORKERS = 3

pauses = st.one_of(
    st.sampled_from([1, 1000, 5000, 4 * MINUTE, 29 * MINUTE, 30 * MINUTE, 30 * MINUTE + 1, 31 * MINUTE, 3 * HOUR]),
    st.integers(1, 40 * MINUTE),
)


@dataclass(frozen=True)
class Step:
    """What happens next, after a pause: a hit or a heartbeat, a beacon that is sent again, a worker that is killed
    with a hit in its journal, a store that is lost, a look after slots without a process."""

    what: Literal["hit", "again", "beat", "killed", "lost", "copy", "adopt"]
    pause: int = 1000
    who: int = 0
    person: str = "An"
    article: str = "/a"


steps = st.lists(
    st.builds(
        Step,
        st.sampled_from([*["hit"] * 8, *["again"] * 2, "beat", "beat", "killed", "lost", "copy"]),
        pauses,
        st.integers(0, WORKERS - 1),
        st.sampled_from(PEOPLE),
        st.sampled_from(ARTICLES),
    ),
    min_size=3,
    max_size=24,
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, server: Path) -> Iterator[EmbeddedStore]:
    """One server for all examples."""
    with EmbeddedStore.start(tmp_path_factory.mktemp("losses"), server=server) as running:
        yield running


async def live(machine: Machine, several: list[Step]) -> None:
    copies: list[Copy] = [{}]
    sent: list[tuple[int, str, str, str]] = []
    for number, step in enumerate(several):
        await machine.pass_time(step.pause)
        if step.what == "hit":
            await machine.hit(step.who, step.person, step.article, f"hit {number}")
            sent.append((machine.now, step.person, step.article, f"hit {number}"))
        elif step.what == "again":
            # A beacon is sent again soon, or not at all; hit ids are known for half an hour at least.
            recent = [each for each in sent if machine.now - each[0] < 29 * MINUTE]
            if recent:
                _, person, article, hit_id = recent[step.who % len(recent)]
                await machine.hit(step.who, person, article, hit_id)
        elif step.what == "beat":
            await machine.beat(step.who, step.person)
        elif step.what == "killed":
            machine.leave_behind((step.person, step.article, f"hit {number}"))
            # Its neighbours find that within seconds, or when they bring up the store.
            await machine.settle()
        elif step.what == "copy":
            await machine.settle()
            copies.append(await machine.copy())
        elif step.what == "lost":
            await machine.lose(copies[step.who % len(copies)])
    await lived(machine)


def run(store: EmbeddedStore, site: Site, start: int, several: list[Step]) -> None:
    async def on_a_machine() -> None:
        with TemporaryDirectory(dir=_memory()) as folder:
            async with Machine(store.url, Path(folder), site, start, WORKERS) as machine:
                await live(machine, several)

    asyncio.run(on_a_machine())


def _memory() -> str | None:
    """A file system in memory, where there is one: what fsync is worth is tested elsewhere."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


@pytest.mark.timeout(180)  # 20 s alone, 75 beside three others
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    views=st.sampled_from(["per-visit", "every-load"]),
    most=st.sampled_from([2, 1000]),
    start=st.sampled_from([NOON, NOON + 29 * MINUTE, DAY.end_ms - 20 * MINUTE]),
    several=steps,
)
@example(  # a visit that only heartbeats kept going
    "per-visit", 1000, NOON,
    [Step("hit"), Step("beat", 29 * MINUTE), Step("hit", 29 * MINUTE), Step("lost")],
)  # fmt: skip
@example(  # two workers' hits of one visit, lost together: they come back in the order of their moments
    "per-visit", 1000, NOON,
    [
        Step("hit", who=0), Step("hit", 20 * MINUTE, who=1), Step("hit", 20 * MINUTE, who=0),
        Step("hit", 31 * MINUTE, who=1), Step("lost"), Step("hit", 1000, who=2),
    ],
)  # fmt: skip
@example(  # a beacon that was counted, lost, and sent to another worker
    "every-load", 1000, NOON, [Step("hit", who=0), Step("lost"), Step("again", who=1), Step("again", who=2)],
)  # fmt: skip
def test_whatever_is_lost_the_numbers_are_those_of_the_hits(
    store: EmbeddedStore, views: Any, most: int, start: int, several: list[Step]
) -> None:
    """Three workers and what killed ones leave behind; pauses up to three hours, over midnight; both policies; a cap of
    two articles; the store comes back older, also more than once: every number equals the oracle's."""
    site = Site(id="portal", hosts=("portal.vn",), timezone=ZONE, views=views, max_articles=most)
    run(store, site, start, several)


WHAT = ("hit",) * 8 + ("beat",) * 2 + ("again", "killed", "copy") + ("lost",) * 2
NEAR = (1, 1000, 5000, 4 * MINUTE, 29 * MINUTE, 30 * MINUTE, 30 * MINUTE + 1, 31 * MINUTE)


@pytest.mark.parametrize("seed", range(12))
def test_whatever_is_lost_in_a_long_course_the_numbers_are_those_of_the_hits(store: EmbeddedStore, seed: int) -> None:
    """The same with thirty steps and several losses in each. (Hypothesis likes short lists: of its examples one in five
    loses anything.)"""
    chance = random.Random(seed)
    course = [
        Step(
            chance.choice(WHAT),  # type: ignore[arg-type]
            chance.choice(NEAR),
            chance.randrange(WORKERS),
            chance.choice(PEOPLE),
            chance.choice(ARTICLES),
        )
        for _ in range(30)
    ]
    site = Site(
        id="portal",
        hosts=("portal.vn",),
        timezone=ZONE,
        views=chance.choice(["per-visit", "every-load"]),
        max_articles=chance.choice([2, 1000]),
    )
    run(store, site, chance.choice([NOON, NOON + 29 * MINUTE, DAY.end_ms - 20 * MINUTE]), course)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    pause=st.integers(1, 13 * HOUR),
    several=st.lists(st.tuples(st.integers(0, WORKERS - 1), st.sampled_from(PEOPLE), pauses), min_size=4, max_size=20),
)
def test_a_store_that_is_half_a_day_old_is_brought_up_to_the_same_numbers(
    store: EmbeddedStore, pause: int, several: list[tuple[int, str, int]]
) -> None:
    """Everything since the copy is decided again; what decides (presences, readings, hit ids) is as old as the copy."""
    path = [Step("copy"), Step("hit", pause)]
    path += [Step("hit", gap, who, person, ARTICLES[n % 4]) for n, (who, person, gap) in enumerate(several)]
    run(store, Site(id="portal", hosts=("portal.vn",), timezone=ZONE), NOON - 6 * HOUR, [*path, Step("lost", who=1)])


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(jumps=st.lists(st.sampled_from([-24 * HOUR, -HOUR, -10 * MINUTE, HOUR, 24 * HOUR]), min_size=1, max_size=3))
def test_every_hit_counts_once_when_the_clock_jumps_and_the_store_is_lost(
    store: EmbeddedStore, jumps: list[int]
) -> None:
    """On the day that the clock said; every load of another article, so that no order matters."""

    async def on_a_machine() -> None:
        site = Site(id="portal", hosts=("portal.vn",), timezone=ZONE, views="every-load")
        with TemporaryDirectory(dir=_memory()) as folder:
            async with Machine(store.url, Path(folder), site, NOON, WORKERS) as machine:
                for number, jump in enumerate([0, *jumps]):
                    machine.now += jump
                    for each in range(4):
                        machine.now += 1000
                        await machine.hit(each % WORKERS, f"reader {number} {each}", f"/{number}/{each}")
                await machine.lose({})
                await machine.hit(0, "the last", "/last")
                await asyncio.wait_for(machine.settle(), 50)
                counted = machine.oracle.count()
                assert await dated(machine.client, "portal", "views") == dict(counted.views)

    asyncio.run(on_a_machine())
