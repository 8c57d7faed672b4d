"""Commands write changes into a slot of the journal: it takes imports of any length, and what a killed command has left
there comes first."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from visitstats.changes import scribe
from visitstats.changes.scribe import Scribe
from visitstats.core.batch import ChangeRecord
from visitstats.core.errors import JournalFull
from visitstats.store import keys
from visitstats.store.change_records import staging
from visitstats.store.changes import Changes
from visitstats.store.import_records import encode_part

SITE, IMPORT = "s", "0a1b2c3d"
NOW = 1_795_539_600_000


def part(number: int) -> ChangeRecord:
    articles = [(f"/{number}/{n}", n) for n in range(400)]
    return staging(SITE, IMPORT, number, encode_part(0, 0, articles), [])


async def written(command: Scribe, numbers: Iterable[int]) -> None:
    """Write parts of which none is applied."""
    for number in numbers:
        assert await command.change(part(number)) is None


class Commands:
    """One command after the other, each with the slot to itself."""

    def __init__(self, folder: Path, url: str, raw: Redis) -> None:
        self.folder, self.url, self.raw = folder, url, raw
        self.replaying = False

    async def open(self) -> Scribe:
        return Scribe.open(self.folder, self.url, Changes(self.raw), lambda: NOW, lambda: self.replaying)

    async def staged(self) -> int:
        return int(await self.raw.hlen(keys.import_parts(SITE, IMPORT))) // 2


@pytest_asyncio.fixture
async def commands(tmp_path: Path, redis_url: str, raw: Redis) -> AsyncIterator[Commands]:
    yield Commands(tmp_path / "journal", redis_url, raw)


async def test_an_import_may_be_longer_than_the_slot(commands: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is in the store makes room, in this command and in later ones; what is not stays, and more is refused."""
    monkeypatch.setattr(scribe, "MAX_BYTES", 40_000)
    for first in (1, 31):
        command = await commands.open()
        for number in range(first, first + 30):
            made = await command.change(part(number))
            assert made is not None
            assert made.word == "ok"
        await command.close()
    assert await commands.staged() == 60
    assert sum(path.stat().st_size for path in commands.folder.rglob("*.log")) <= 40_000
    commands.replaying = True  # nothing is applied
    command = await commands.open()
    with pytest.raises(JournalFull):
        await written(command, range(61, 91))
    await command.close()
    commands.replaying = False
    command = await commands.open()
    await command.catch_up()
    assert await commands.staged() > 60
    made = await command.change(part(91))
    assert made is not None
    assert made.word == "ok"
    await command.close()


async def test_what_was_left_in_the_slot_comes_first(commands: Commands) -> None:
    """It is applied when the next command begins, or at the latest before that writes."""
    commands.replaying = True
    killed = await commands.open()
    for number in (1, 2):
        assert await killed.change(part(number)) is None
    await killed.close()
    commands.replaying = False
    command = await commands.open()
    assert await commands.staged() == 0
    made = await command.change(part(3))
    assert made is not None
    assert made.word == "ok"
    assert await commands.staged() == 3
    await command.close()
