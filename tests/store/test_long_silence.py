"""Without a watermark, what was decided long ago is in the store; everything else is brought up as ever."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from tests.journals import opened
from tests.store.rollbacks import KEEP, Hit, Writer, copy_of, files, numbers_of, put_back
from tests.store.writing import MINUTE, NOON, SITE, numbering
from visitstats import journal as journals
from visitstats.core.sites import Site
from visitstats.replay import Adoption, Backlog, Limits
from visitstats.slots import survey
from visitstats.store import keys
from visitstats.store.commit import Committer
from visitstats.store.reads import Reads

DAY_MS = 24 * 60 * MINUTE
LATER = NOON + 61 * DAY_MS
OTHER = Site(id="other", hosts=("other.vn",))


class Stopped(NamedTuple):
    """A writer that nobody runs, and the client of its store."""

    writer: Writer
    raw: Redis
    root: Path

    async def forget(self, *sites: Site) -> None:
        """The watermarks of these sites end."""
        for site in sites:
            who, what = keys.audience_watermark(site.id, self.name), keys.articles_watermark(site.id, self.name)
            await self.raw.delete(who, what)

    @property
    def name(self) -> str:
        return self.writer.journal.writer

    async def start(self, now: int = LATER) -> list[int]:
        """Start again, and return of each batch that was applied how many visits it started."""
        self.writer.backlog = Backlog(self.writer.journal, lambda: now)
        before = [slot.waiting for slot in await survey(self.root, Reads(self.raw), now)]
        answers = [answer for answer in await self.writer.heal(Reads(self.raw), now) if answer.fresh]
        assert self.writer.backlog.gaps == 0
        assert [slot.waiting for slot in await survey(self.root, Reads(self.raw), now)] == [{}]
        assert sum((before[0] or {}).values()) == len(answers)  # `journal status` says how many those will be
        return [answer.started for answer in answers]


@pytest_asyncio.fixture
async def stopped(
    redis_url: str, raw: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Stopped]:
    """With a segment for each record."""
    monkeypatch.setattr(journals, "SEGMENT_BYTES", 1)
    with opened(tmp_path, keep_seconds=KEEP, fsync=False) as journal:
        committer = Committer(redis_url, journal.writer)
        yield Stopped(Writer(journal, committer, Backlog(journal, lambda: NOON)), raw, tmp_path)
        await committer.close()


@pytest.mark.parametrize("reduced", [False, True])
async def test_what_was_decided_long_ago_is_not_replayed(stopped: Stopped, reduced: bool) -> None:
    """Whether it still says who read what or not; the site's next batch follows nothing, and is no gap."""
    for person in ("An", "Bình"):
        await stopped.writer.hit(NOON, Hit(person, "/a"))
    if reduced:
        stopped.writer.reduce(stopped.root)
    before = await numbers_of(stopped.raw)
    await stopped.forget(SITE)
    assert await stopped.start() == []
    assert await numbers_of(stopped.raw) == before
    assert stopped.writer.backlog.previous(SITE.id) == 0
    assert stopped.writer.journal.applied == stopped.writer.journal.last_sequence


async def test_what_was_not_decided_is_replayed_once_and_only_it(stopped: Stopped) -> None:
    """The store was away when the service was stopped."""
    await stopped.writer.hit(NOON, Hit("An", "/a"))
    stopped.writer.write(SITE, NOON, [Hit("Bình", "/a")])
    stopped.writer.write(OTHER, NOON, [Hit("Chi", "/a")])
    await stopped.forget(SITE, OTHER)
    assert await stopped.start() == [1, 1]
    assert (await Reads(stopped.raw).counts(SITE.id, numbering().day, NOON)).visits[-2] == 2
    assert await stopped.start() == []


async def test_what_came_before_it_and_was_pruned_is_no_gap(stopped: Stopped) -> None:
    await stopped.writer.hit(NOON, Hit("An", "/a"))
    stopped.writer.write(SITE, NOON, [Hit("Bình", "/a")])
    first = files(stopped.root, ".log")[0]
    for path in (first, first.with_suffix(".out")):
        path.unlink()
    stopped.writer.journal._segments.pop(0)
    await stopped.forget(SITE)
    assert await stopped.start() == [1]


async def test_within_59_days_a_missing_watermark_is_a_loss(stopped: Stopped) -> None:
    await stopped.writer.hit(NOON, Hit("An", "/a"))
    before = await numbers_of(stopped.raw)
    await stopped.raw.flushall()
    assert await stopped.start(NOON + 58 * DAY_MS) == [1]
    assert await numbers_of(stopped.raw) == before


async def test_a_watermark_that_is_there_is_believed_however_old_the_batches_are(stopped: Stopped) -> None:
    """An older copy of the store is healed as ever."""
    await stopped.writer.hit(NOON, Hit("An", "/a"))
    copy = await copy_of(stopped.raw)
    await stopped.writer.hit(NOON, Hit("Bình", "/b"))
    before = await numbers_of(stopped.raw)
    await put_back(stopped.raw, copy)
    assert await stopped.start() == [1]
    assert await numbers_of(stopped.raw) == before


async def test_a_store_that_was_away_at_the_start_makes_no_difference(stopped: Stopped) -> None:
    """A hit is taken before anybody knows whether the watermark is there: it alone is applied."""
    await stopped.writer.hit(NOON, Hit("An", "/a"))
    await stopped.forget(SITE)
    stopped.writer.backlog = Backlog(stopped.writer.journal, lambda: LATER)
    stopped.writer.backlog.fall_behind(SITE.id, 0)
    stopped.writer.write(SITE, LATER, [Hit("Bình", "/a")])
    assert [answer.started for answer in await stopped.writer.heal(Reads(stopped.raw), LATER)] == [1]
    assert stopped.writer.backlog.gaps == 0


async def test_a_dead_workers_slot_is_not_counted_again_either(stopped: Stopped, redis_url: str) -> None:
    """Nor looked through again every two seconds, because its watermarks are gone."""
    await stopped.writer.hit(NOON, Hit("An", "/a"))
    before = await numbers_of(stopped.raw)
    stopped.writer.journal.close()
    await stopped.forget(SITE)
    applied: list[int] = []
    limits = Limits(1 << 20, 1e12)
    adoption = Adoption(stopped.root, redis_url, Reads(stopped.raw), lambda _: numbering(), limits)
    for _ in range(2):  # its newest segment is ended after the first time
        assert await adoption.run(lambda sequence, *_: applied.append(sequence), LATER) == [0]
    assert await adoption.run(lambda sequence, *_: applied.append(sequence), LATER) == []
    assert applied == []
    assert await numbers_of(stopped.raw) == before
