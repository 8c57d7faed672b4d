"""Any traffic, any moment of the copy, anything expired: after a rollback every number is what it was."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.journals import opened
from tests.store.rollbacks import DECIDING, KEEP, Hit, Writer, copy_of, numbers_of, put_back
from tests.store.writing import MINUTE, NOON
from visitstats import journal as journals
from visitstats.core.sites import Site
from visitstats.embedded import EmbeddedStore
from visitstats.replay import Backlog
from visitstats.store.client import open_client
from visitstats.store.commit import Committer
from visitstats.store.reads import Reads

PEOPLE, ARTICLES = ("An", "Bình", "Chi"), ("/a", "/b", "/c", "/d")
hits = st.builds(Hit, st.sampled_from(PEOPLE), st.sampled_from(ARTICLES), st.sampled_from(["", "", "one", "two"]))
pauses = st.sampled_from([1000, MINUTE, 20 * MINUTE, 31 * MINUTE, 13 * 60 * MINUTE])
steps = st.lists(
    st.tuples(
        st.integers(0, 1), pauses, st.lists(hits, max_size=4), st.dictionaries(st.just("bot"), st.integers(1, 9))
    ),
    min_size=1,
    max_size=10,
)
sites = st.builds(
    lambda views, cap: Site(id="portal", hosts=("portal.vn",), views=views, max_articles=cap),
    st.sampled_from(["per-visit", "every-load"]),
    st.sampled_from([2, 1000]),
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, server: Path) -> Iterator[EmbeddedStore]:
    """One server for all examples."""
    with EmbeddedStore.start(tmp_path_factory.mktemp("outcomes"), server=server) as running:
        yield running


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    site=sites,
    steps=steps,
    copied=st.integers(0, 9),
    expired=st.sets(st.sampled_from(DECIDING)),
    reduced=st.sampled_from([None, "before the copy comes back", "in between"]),
    second_first=st.booleans(),
)
def test_every_number_is_the_same_after_any_rollback(store: EmbeddedStore, **example: Any) -> None:
    """Whatever was read by whom, whenever the copy was made, whatever has expired, reduced or not, and whoever heals
    first."""
    asyncio.run(rolled_back(store.url, **example))


async def rolled_back(
    url: str,
    site: Site,
    steps: list[tuple[int, int, list[Hit], dict[str, int]]],
    copied: int,
    expired: set[str],
    reduced: str | None,
    second_first: bool,
) -> None:
    client = open_client(url)
    with TemporaryDirectory() as folder, ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        patch.setattr(journals, "SEGMENT_BYTES", 1)
        root = Path(folder)
        writers: list[Writer] = []
        for _ in range(2):
            journal = stack.enter_context(opened(root, keep_seconds=KEEP, fsync=False))
            writers.append(Writer(journal, Committer(url, journal.writer), Backlog(journal)))
        try:
            await client.flushall()
            copy = await copy_of(client)
            now = NOON
            for number, (who, pause, batch, ignored) in enumerate(steps):
                now += pause
                await writers[who].commit(writers[who].write(site, now, batch, ignored), now)
                if number == copied:
                    copy = await copy_of(client)
            before = await numbers_of(client)
            if reduced == "before the copy comes back":
                for writer in writers:
                    writer.reduce(root)
            await put_back(client, copy, tuple(expired))
            for writer in reversed(writers) if second_first else writers:
                await writer.heal(Reads(client), now)
                if reduced == "in between":
                    writer.reduce(root)
            assert await numbers_of(client) == before
            await put_back(client, {})
            for writer in writers:
                await writer.heal(Reads(client), now)
            assert await numbers_of(client) == before
        finally:
            for writer in writers:
                await writer.committer.close()
            await client.aclose()


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    views=st.sampled_from(["per-visit", "every-load"]),
    steps=st.lists(
        st.tuples(st.integers(0, 1), st.sampled_from([1000, MINUTE]), st.lists(hits, min_size=1, max_size=4)),
        min_size=1,
        max_size=10,
    ),
    copied=st.integers(-1, 4),
    lost=st.sets(st.integers(0, 9), min_size=1, max_size=3),
    killed=st.integers(0, 1),
)
@example(  # who started the visit and read the article first is decided behind those who went on
    "per-visit", [(0, 1000, [Hit("An", "/a")]), (1, 1000, [Hit("An", "/a"), Hit("An", "/b")])], -1, {0}, 0
)
@example(  # the visitor was here in the copy: nothing is missing but what came between
    "per-visit", [(1, 1000, [Hit("An", "/a")]), (0, 1000, [Hit("An", "/b")]), (1, 1000, [Hit("An", "/b")])], 0, {1}, 0
)
def test_outcomes_that_are_lost_with_the_store_change_no_number(
    store: EmbeddedStore, views: str, steps: list[Any], copied: int, lost: set[int], killed: int
) -> None:
    """A worker was killed, or its disk full, before it kept what was decided of some batches, and the store has lost
    them, too: they are decided anew, behind what the other worker puts back, to the same visits and views."""
    asyncio.run(killed_and_rolled_back(store.url, views, steps, copied, lost, killed))


async def killed_and_rolled_back(
    url: str, views: Any, steps: list[tuple[int, int, list[Hit]]], copied: int, lost: set[int], killed: int
) -> None:
    site = Site(id="portal", hosts=("portal.vn",), views=views)
    client = open_client(url)
    with TemporaryDirectory() as folder, ExitStack() as stack:
        journals = [stack.enter_context(opened(Path(folder), keep_seconds=KEEP, fsync=False)) for _ in range(2)]
        writers = [Writer(journal, Committer(url, journal.writer), Backlog(journal)) for journal in journals]
        try:
            await client.flushall()
            copy = await copy_of(client)
            now = NOON
            for number, (who, pause, batch) in enumerate(steps):
                now += pause
                written = writers[who].write(site, now, batch)
                await writers[who].commit(written, now, noted=who != killed or number not in lost)
                if number == copied:
                    copy = await copy_of(client)
            before = await numbers_of(client)
            await put_back(client, copy, ())
            for writer in writers:
                await writer.put_back(Reads(client), now)
            for writer in writers:
                await writer.heal(Reads(client), now)
            assert await numbers_of(client) == before
        finally:
            for writer in writers:
                await writer.committer.close()
            await client.aclose()
