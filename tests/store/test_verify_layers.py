"""`visitstats verify` knows what was corrected and closed: what changes leave is right, what a hand breaks is found."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from tests.store.town import SITE, Town
from tests.store.writing import CALENDAR, DAY, NOON
from visitstats.changes.corrections import UNDATED, Adjustment
from visitstats.changes.recording import Order
from visitstats.core.closing import ClosedHead, ClosedRow, Frozen, freeze
from visitstats.core.keys import article_id
from visitstats.store import keys
from visitstats.store.fitness import opened

MONTH = CALENDAR.day_named(DAY.date).last_month
LAYER, DAYS = keys.layer(SITE.id, keys.CORRECTIONS), keys.layer_days(SITE.id, keys.CORRECTIONS, DAY.month)
AN = Order("an", "Sai")


class Corrected(Town):
    """A town with corrections on days and on none, of the site and of articles that were merged, and a closed month."""

    closing: str

    async def adjust(self, by: int, article: str = "", day: str = UNDATED, of: Any = "visits") -> str:
        asked = Adjustment("views" if article else of, article, by, None, day)
        return (await self.desk.corrections.adjust(asked, AN)).id


@pytest_asyncio.fixture
async def town(tmp_path: Path, redis_url: str, raw: Redis) -> AsyncIterator[Corrected]:
    async with opened(redis_url, lambda: NOON) as parts:
        found = Corrected(tmp_path, raw, parts)
        await found.live()
        await found.adjust(5, "/a", DAY.date)
        await found.adjust(3, "/a")
        await found.adjust(-2, "/a", DAY.date)
        await found.adjust(100)
        await found.adjust(7, day=DAY.date, of="views")
        await found.desk.undo(await found.adjust(1000, "/a"), AN)
        await found.merges.merge("/a", "/b", AN)
        await found.desk.undo(await found.adjust(50, "/b", DAY.date), AN)
        await found.desk.corrections.reset("visits", 1, AN)

        async def frozen(month: str) -> Frozen:
            return freeze(ClosedHead(SITE.id, month, 1, 1, 1, "", 0, 0), [ClosedRow("/a", "", "", "", "", 1, 0)])

        found.closing = (await found.desk.periods.close(MONTH, AN, frozen)).id
        yield found
        await found.close()


async def test_what_people_have_corrected_and_closed_is_right(town: Corrected) -> None:
    report = await town.verify()
    assert (report.problems, report.right) == ([], True)


BREAKS: dict[str, tuple[str, list[tuple[str, str, bytes]]]] = {
    "a sum of the layer": ("layer", [(LAYER, "visits:all", b"5")]),
    "a day of the layer": ("layer", [(DAYS, f"views:{DAY.date[8:]}", b"5")]),
    "what is in articles": ("layer", [(LAYER, "articles:all", b"5")]),
    "the site's total": ("days", [(keys.counts(SITE.id), "visits:all", b"77")]),
    "a sum that is no number": ("value", [(LAYER, "visits:all", b"many")]),
    "a change that nobody made": ("change", [(keys.changes(SITE.id), "0badbad0", b"junk")]),
    "a closing": ("closed", [(keys.closed(SITE.id), MONTH, b"")]),
}


@pytest.mark.parametrize("name", BREAKS)
async def test_what_was_broken_is_found(town: Corrected, name: str) -> None:
    check, edits = BREAKS[name]
    for key, field, value in edits:
        if value:
            await town.raw.hset(key, field, value)
        else:
            piece = f"{town.closing}:0"
            await town.raw.hset(keys.frozen(SITE.id, MONTH), piece, b"xx")
    assert check in {problem.check for problem in (await town.verify()).problems}


async def test_amounts_of_an_article_that_are_not_on_record_are_found(town: Corrected) -> None:
    await town.raw.hset(keys.amounts(SITE.id), article_id("/b"), "99")
    assert {problem.check for problem in (await town.verify()).problems} >= {"layer"}


async def test_an_order_that_lacks_a_change_is_found(town: Corrected) -> None:
    name = keys.order_of_changes(SITE.id)
    whole: Any = await town.raw.get(name)
    await town.raw.set(name, whole[8:])
    found = (await town.verify()).problems
    assert [problem.check for problem in found] == ["change"]
    assert "0 times in the order of changes" in found[0].detail
