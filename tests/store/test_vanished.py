"""Records that are gone from the journal before the store had them: they are told, and hold nothing up."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.store.dated import dated
from tests.store.machine import Machine
from visitstats.core.periods import Calendar
from visitstats.core.sites import Site

NOON = Calendar("Asia/Ho_Chi_Minh").day_named("2036-11-24").start_ms + 12 * 3600 * 1000


async def test_a_record_that_vanished_is_told_and_what_comes_after_it_is_counted(
    redis_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The store was emptied, and a segment that held what it had is deleted: a gap, and not an endless replay."""
    site = Site(id="portal", hosts=("portal.vn",), views="every-load")
    async with Machine(redis_url, tmp_path, site, NOON, 1) as machine:
        await machine.hit(0, "An", "/a")
        for path in (tmp_path / "00").glob("*.log"):
            path.write_bytes(path.read_bytes()[:24])
        await machine.lose({})
        machine.now += 1000
        await machine.hit(0, "Bình", "/b")
        await asyncio.wait_for(machine.settle(), 20)
        assert machine.workers[0].applier.gaps >= 1
        assert "vanished" in caplog.text or "neither in the store nor in the journal" in caplog.text
        assert (await dated(machine.client, site.id, "views"))["all"] == 1
