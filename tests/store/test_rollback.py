"""Any traffic, any moment of the copy, anything expired: after a rollback every number is what it was."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
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
