"""When the nightly backup is due, and that a service makes it by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from visitstats.backup.manifest import BackupFailed
from visitstats.backup.nightly import Nightly, last_due, make_apart
from visitstats.backup.state import State, note_state
from visitstats.settings import Settings
from visitstats.tasks.table import verify_apart


@pytest.mark.parametrize(
    ("now", "due"),
    [("2026-11-29T01:59", "2026-11-28T02:00"), ("2026-11-29T02:00", "2026-11-29T02:00"),
     ("2026-11-29T23:59", "2026-11-29T02:00"), ("2026-01-01T00:00", "2025-12-31T02:00")],
)  # fmt: skip
def test_the_last_night_is_the_one_that_has_begun(now: str, due: str) -> None:
    assert last_due(datetime.fromisoformat(now), 2) == datetime.fromisoformat(due)


class Night:
    """A host with a clock that the test sets; what it made is counted."""

    def __init__(self, data_dir: Path, **settings: object) -> None:
        self.settings = Settings.load({"data_dir": data_dir, **settings})
        self.made = 0
        self.ms = 0
        self.nightly = Nightly(self.settings, lambda: self.ms, self._make)

    async def _make(self, settings: Settings) -> str:
        self.made += 1
        note_state(settings.data_dir, State(path="x", made_ms=self.ms, bytes=1))
        return "made"

    async def at(self, text: str) -> int:
        self.ms = round(datetime.fromisoformat(text).astimezone().timestamp() * 1000)
        await self.nightly.run("")
        return self.made


async def test_one_is_made_each_night_and_a_missed_one_at_once(tmp_path: Path) -> None:
    night = Night(tmp_path, backup_dir=tmp_path / "b", backup_hour=3)
    assert await night.at("2026-11-29T12:00") == 1  # the first at once
    assert await night.at("2026-11-29T23:00") == 1
    assert await night.at("2026-11-30T02:59") == 1
    assert await night.at("2026-11-30T03:00") == 2
    assert await night.at("2026-11-30T03:15") == 2
    assert await night.at("2026-12-04T18:00") == 3  # the service was stopped for days


async def test_of_several_workers_one_makes_it(tmp_path: Path) -> None:
    first, second = (Night(tmp_path, backup_dir=tmp_path / "b") for _ in range(2))
    began, go_on = asyncio.Event(), asyncio.Event()

    async def slow(settings: Settings) -> str:
        began.set()
        await go_on.wait()
        return await first._make(settings)

    first.nightly._make = slow
    making = asyncio.create_task(first.at("2026-11-29T12:00"))
    await began.wait()
    assert await second.at("2026-11-29T12:00") == 0
    go_on.set()
    assert await making == 1
    assert await second.at("2026-11-29T12:10") == 0


async def test_no_backup_is_made_without_backup_dir(tmp_path: Path) -> None:
    """A disk is not filled behind anybody's back."""
    night = Night(tmp_path)
    assert await night.at("2026-11-29T12:00") == 0


async def test_a_backup_that_fails_says_so_in_one_line(tmp_path: Path) -> None:
    settings = Settings.load(
        {"data_dir": tmp_path, "backup_dir": tmp_path / "b", "redis_url": f"unix://{tmp_path}/nobody"}
    )
    with pytest.raises(BackupFailed, match="the store does not answer") as failed:
        await make_apart(settings)
    assert "\n" not in str(failed.value)


@pytest.mark.parametrize("apart", [make_apart, lambda settings: verify_apart(settings, settings.redis_url)])
async def test_a_worker_that_stops_leaves_no_process_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, apart: Callable[[Settings], Coroutine[None, None, str]]
) -> None:
    """What it runs beside itself has ended before it goes on, and nothing of it is open any more."""
    started: asyncio.Queue[asyncio.subprocess.Process] = asyncio.Queue()
    start = asyncio.create_subprocess_exec

    async def watched(*command: str, **options: Any) -> asyncio.subprocess.Process:
        started.put_nowait(process := await start(*command, **options))
        return process

    monkeypatch.setattr(asyncio, "create_subprocess_exec", watched)
    task = asyncio.create_task(apart(Settings.load({"data_dir": tmp_path, "backup_dir": tmp_path / "b"})))
    process = await started.get()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert process.returncode is not None
