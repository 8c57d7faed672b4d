"""A data folder of every earlier schema is brought forward, whole: `tests/upgrade/make.py` has made it."""

from __future__ import annotations

import asyncio
import json
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from tests.client import until
from tests.store.dated import dated
from visitstats.core.entries import FACTS, Entry, Standing, decode, encode
from visitstats.core.errors import StoreUnfit
from visitstats.core.periods import Calendar
from visitstats.core.schema import OLDEST_SCHEMA, SCHEMA_NUMBER
from visitstats.embedded.process import EmbeddedStore
from visitstats.settings import Settings
from visitstats.store import keys
from visitstats.store.fitness import opened
from visitstats.store.history import SiteHistory
from visitstats.store.schema import claim_store
from visitstats.store.upgrade import upgrade_store
from visitstats.trust.verify.verifier import Verifier
from visitstats.worker import Worker

HERE = Path(__file__).parent
OLDER = [str(number) for number in range(OLDEST_SCHEMA, SCHEMA_NUMBER)]


class Old:
    """A folder of an older schema with its store running, and what must be counted in the end."""

    def __init__(self, data_dir: Path, url: str, told: dict[str, Any]) -> None:
        self.data_dir = data_dir
        self.url = url
        self.sites: dict[str, dict[str, dict[str, int]]] = told["sites"]
        self.now: int = told["now_ms"]
        self.raw = Redis.from_url(url)

    async def check(self) -> None:
        """Start a worker, which applies what only the journal has; then compare everything."""
        worker = Worker(Settings.load({"data_dir": self.data_dir}), self.url, lambda: self.now)
        await worker.start()

        async def applied() -> bool:
            return await dated(self.raw, "portal", "views") == self.sites["portal"]["views"]

        await until(applied, "the journal is applied")
        await worker.stop()
        for site, counts in self.sites.items():
            for kind, expected in counts.items():
                assert await dated(self.raw, site, kind) == expected
        async with opened(self.url, lambda: self.now) as parts:
            root = self.data_dir / "journal"
            report = await Verifier(parts.inspector, parts.records, parts.reads, root, lambda: self.now).run("", 0)
        assert [problem.detail for problem in report.problems] == []


@pytest_asyncio.fixture(params=OLDER)
async def old(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Old]:
    name = f"schema-{request.param}"
    with tarfile.open(HERE / f"{name}.tar.gz") as tar:
        tar.extractall(tmp_path, filter="data")
    told = json.loads((HERE / f"{name}.json").read_text())
    with EmbeddedStore.start(tmp_path / name) as store:
        found = Old(tmp_path / name, store.url, told)
        yield found
        await found.raw.aclose()


async def test_nothing_is_lost_and_verify_is_clean(old: Old) -> None:
    """All counts are there, with those that only the journal has; what was counted has an hour of its own."""
    with pytest.raises(StoreUnfit, match=r"stop all services on it, and start this one, which upgrades it$"):
        await claim_store(old.raw)
    assert await upgrade_store(old.raw, old.now)
    assert await old.raw.get(keys.SCHEMA) == b"%d" % SCHEMA_NUMBER
    assert not await upgrade_store(old.raw, old.now)
    await old.check()
    calendar = Calendar("Asia/Ho_Chi_Minh")
    day = calendar.day_at(old.now)
    rows = await SiteHistory(old.raw).days("portal", calendar, "2036-11-16", "2036-11-17", old.now)
    assert [(row.known, row.visits, row.views, row.hits) for row in rows] == [
        ("no", None, None, None),
        ("yes", 3, 6, None),
    ]
    hours = await SiteHistory(old.raw).hours("portal", day, old.now)
    assert sum(row.visits or 0 for row in hours) == old.sites["portal"]["visits"][day.date]


async def test_every_article_that_was_ever_read_has_a_number(old: Old) -> None:
    """Those that were merged into others, too: their days are still theirs."""
    await upgrade_store(old.raw, old.now)
    for site in old.sites:
        numbers: Any = await old.raw.get(keys.ids(site))
        found = [numbers[n : n + 8] for n in range(0, len(numbers), 8)]
        ever = set(await old.raw.hkeys(keys.articles(site)))
        async for name in old.raw.scan_iter(keys.articles_of_day(site, "*")):
            ever |= set(await old.raw.hkeys(name))
        assert len(found) == len(set(found))
        assert set(found) == ever


async def test_an_upgrade_that_is_cut_off_is_taken_up_again(old: Old) -> None:
    """At whichever step; the store is the same in the end."""

    class CutOff(Exception):
        pass

    for steps in range(100):
        left = steps

        def progress(what: str, done: int, of: int) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise CutOff

        try:
            await upgrade_store(old.raw, old.now, progress)
            break
        except CutOff:
            continue
    assert steps > 4
    await old.check()


async def test_two_hosts_that_start_at_once_upgrade_once(old: Old) -> None:
    other = Redis.from_url(old.url)
    await asyncio.gather(upgrade_store(old.raw, old.now), upgrade_store(other, old.now))
    await other.aclose()
    await old.check()


async def test_what_readers_said_of_articles_is_not_taken_for_imported(old: Old) -> None:
    """It may still change when several readers say so; what came with a baseline stays as it is, and so does a name
    that this program's readers have given meanwhile."""
    before: Any = await old.raw.hgetall(keys.names("portal"))
    bases: Any = await old.raw.hgetall(keys.base("portal"))
    assert len(before) > len(bases)
    await upgrade_store(old.raw, old.now)
    after: Any = await old.raw.hgetall(keys.names("portal"))
    assert after.keys() == before.keys()
    for article, stored in after.items():
        said, entry = decode(before[article]), decode(stored)
        for fact in FACTS:
            assert getattr(entry, fact) == getattr(said, fact)
            if getattr(entry, fact):
                expected = Standing.IMPORTED if article in bases else Standing.AGREED
                assert entry.standing(fact) is (expected if not said.standings else said.standing(fact))
    newer = encode(Entry(next(iter(decode(each).key for each in after.values())), "Mới", standings="-p---"))
    article = next(iter(after))
    await old.raw.hset("vs:{portal}:names", article, newer)
    await old.raw.set(keys.SCHEMA, SCHEMA_NUMBER - 1)
    await upgrade_store(old.raw, old.now)
    assert await old.raw.hget("vs:{portal}:names", article) == newer
