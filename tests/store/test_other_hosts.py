"""A host that is dead is named: what the store had of the others' hits is noted, and what it lacks after a loss is
said until it is there again."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from tests.store.writing import DAY, NOON, WRITER, Writer
from visitstats.core.sites import Site
from visitstats.store import keys, writers
from visitstats.store.reads import Mark
from visitstats.store.writers import Writers
from visitstats.trust.hosts import FOLDER, LACKING, NOTED, Hosts, read_noted

SITES = [Site(id=name, hosts=(f"{name}.vn",)) for name in ("one", "two", "three")]
THERE = "f" * 32
"""A writer of another host."""


class Machine:
    """A host: its data folder, with a worker's slot in it, and its workers' eyes on the others."""

    def __init__(self, folder: Path, url: str, raw: Redis, name: str) -> None:
        self.folder = folder
        self._url = url
        self._raw = raw
        self._name = name
        self._open: list[Hosts] = []

    def eye(self, writer: str = WRITER) -> Hosts:
        """Of one more worker."""
        names = [site.id for site in SITES]
        slot = self.folder / "journal" / f"{len(self._open):02d}"
        slot.mkdir(parents=True, exist_ok=True)
        (slot / "writer").write_text(writer, "ascii")
        found = Hosts(self.folder, Writers(self._url, self._raw), writer, self._name, lambda: names)
        self._open.append(found)
        return found

    @property
    def noted(self) -> dict[str, dict[str, Mark]]:
        return {writer: noted.sites for writer, noted in read_noted(self.folder).items()}

    async def close(self) -> None:
        for each in self._open:
            await each.close()


@pytest_asyncio.fixture
async def machine(tmp_path: Path, redis_url: str, raw: Redis) -> AsyncIterator[Machine]:
    found = Machine(tmp_path / "here", redis_url, raw, "here")
    found.folder.mkdir()
    yield found
    await found.close()


@pytest_asyncio.fixture
async def there(redis_url: str, raw: Redis) -> AsyncIterator[Callable[[int], Any]]:
    """Hits that the other host takes for every site."""
    await raw.hset(keys.HOSTS, THERE, "there")
    found = [Writer(redis_url, site, THERE) for site in SITES]

    async def take(hits: int) -> None:
        for writer in found:
            await writer.read(DAY, *((NOON, f"person {n}", f"/{n}") for n in range(hits)))

    yield take
    for writer in found:
        await writer.close()


async def marks_of(raw: Redis) -> dict[str, dict[bytes, bytes]]:
    return {site.id: await raw.hgetall(keys.marks(site.id)) for site in SITES}  # type: ignore[misc]


async def older(raw: Redis, copy: dict[str, dict[bytes, bytes]]) -> None:
    """Have the store come back with older watermarks."""
    for site, marks in copy.items():
        await raw.delete(keys.marks(site))
        if marks:
            await raw.hset(keys.marks(site), mapping=marks)  # type: ignore[arg-type]


async def test_the_highest_watermarks_of_others_are_noted(machine: Machine, there: Any, raw: Redis) -> None:
    eye = machine.eye()
    await there(3)
    await eye.look()
    assert machine.noted == {THERE: dict.fromkeys(("one", "two", "three"), Mark(1, 3))}
    await there(2)
    await eye.look()
    assert machine.noted == {THERE: dict.fromkeys(("one", "two", "three"), Mark(2, 5))}
    await raw.hset(keys.marks("two"), THERE, "1:3")
    await eye.look()
    assert machine.noted[THERE]["two"] == Mark(2, 5), "a note is never lowered"
    assert {noted.host for noted in read_noted(machine.folder).values()} == {"there"}


async def test_every_writer_says_whose_host_it_is(machine: Machine, raw: Redis) -> None:
    first, second = machine.eye(), machine.eye("a" * 32)
    for eye in (first, second, first):
        await eye.look()
    assert await raw.hgetall(keys.HOSTS) == {WRITER.encode(): b"here", b"a" * 32: b"here"}


async def test_what_the_store_lacks_is_told_with_the_host_until_it_is_back(
    machine: Machine, there: Any, raw: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "visitstats")
    eye, beside = machine.eye(), machine.eye("a" * 32)
    await eye.look()
    await beside.look()
    await there(3)
    copy = await marks_of(raw)
    await there(4)
    whole = await marks_of(raw)
    await eye.look()
    assert eye.lacks == {}
    await older(raw, copy)
    for _ in range(3):
        await eye.look()
        await beside.look()
    assert eye.lacks == beside.lacks == {"there": 12}, "each process can say so, whichever looks"
    [line] = caplog.messages
    assert line.startswith("the store lacks hits that it had: 12 of writer ffffffff of host there; ")
    await older(raw, whole | {"two": copy["two"]})
    await eye.look()
    await beside.look()
    assert eye.lacks == beside.lacks == {"there": 4}
    await older(raw, whole)
    await eye.look()
    await beside.look()
    assert eye.lacks == beside.lacks == {}
    assert caplog.messages[1:] == ["the store has all hits of the other hosts again"]
    assert not (machine.folder / FOLDER / LACKING).exists()


async def test_a_store_that_lost_everything_lacks_everything(machine: Machine, there: Any, raw: Redis) -> None:
    """Also the names of the hosts: they are put back."""
    eye = machine.eye()
    await there(3)
    await eye.look()
    await raw.flushall()
    await eye.look()
    assert eye.lacks == {"there": 9}
    assert await raw.hgetall(keys.HOSTS) == {WRITER.encode(): b"here", THERE.encode(): b"there"}


@pytest.mark.parametrize("everything", [False, True])
async def test_what_was_lost_while_the_service_was_stopped_is_seen_by_the_next(
    machine: Machine, there: Any, raw: Redis, *, everything: bool
) -> None:
    eye = machine.eye()
    await there(3)
    copy = await marks_of(raw)
    await there(1)
    await eye.look()
    await eye.close()
    if everything:
        await raw.flushall()
    else:
        await older(raw, copy)
    after = machine.eye()
    await after.look()
    assert after.lacks == {"there": 12 if everything else 3}


async def test_our_own_slots_are_no_other_hosts(machine: Machine, there: Any, redis_url: str, raw: Redis) -> None:
    """What is missing of them is replayed, by whichever of our workers."""
    dead = "b" * 32
    machine.eye(dead)
    writer = Writer(redis_url, SITES[0], dead)
    await writer.read(DAY, (NOON, "An", "/a"))
    await writer.close()
    await raw.hset(keys.HOSTS, dead, "an old name of ours")
    await there(1)
    await machine.eye().look()
    assert set(machine.noted) == {THERE}
    assert await raw.hget(keys.HOSTS, dead) == b"here"


async def test_a_slot_that_was_brought_here_is_ours_from_then_on(machine: Machine, there: Any, raw: Redis) -> None:
    """Somebody has put the dead host's slot into our journal: its records are applied as our own are."""
    await there(3)
    eye = machine.eye()
    await eye.look()
    await older(raw, {site.id: {} for site in SITES})
    await eye.look()
    assert eye.lacks == {"there": 9}
    machine.eye(THERE)
    await raw.hset(keys.HOSTS, "a" * 32, "there")  # somebody comes
    await raw.hset(keys.marks("one"), "a" * 32, "1:0")
    await eye.look()
    assert eye.lacks == {}


async def test_nothing_is_asked_or_written_without_another_host(machine: Machine, raw: Redis, redis_url: str) -> None:
    """Nearly every installation has one host."""
    eye = machine.eye()
    await eye.look()
    writer = Writer(redis_url, SITES[0])
    await writer.read(DAY, (NOON, "An", "/a"))
    await writer.close()
    await raw.config_resetstat()
    for _ in range(5):
        await eye.look()
    stats: dict[str, dict[str, int]] = await raw.info("commandstats")
    assert {name: each["calls"] for name, each in stats.items() if "config" not in name} == {"cmdstat_hlen": 5}
    assert not (machine.folder / FOLDER / NOTED).exists()


async def test_nothing_is_written_and_little_asked_when_nothing_has_changed(
    machine: Machine, there: Any, raw: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writers, "PIECE", 2)
    eye = machine.eye()
    await there(1)
    await eye.look()
    written = (machine.folder / FOLDER / NOTED).stat()
    await raw.config_resetstat()
    for _ in range(5):
        await eye.look()
    stats: dict[str, dict[str, int]] = await raw.info("commandstats")
    calls = {name.removeprefix("cmdstat_"): each["calls"] for name, each in stats.items() if "config" not in name}
    assert calls == {"hlen": 5, "evalsha": 10, "hvals": 15}
    assert (machine.folder / FOLDER / NOTED).stat().st_ino == written.st_ino
    await there(1)
    await eye.look()
    assert (machine.folder / FOLDER / NOTED).stat().st_ino != written.st_ino


async def test_one_process_of_a_host_looks_and_the_next_goes_on_when_it_ends(
    machine: Machine, there: Any, raw: Redis
) -> None:
    first, second = machine.eye(), machine.eye("a" * 32)
    await first.look()
    await second.look()
    await there(1)
    await second.look()
    assert machine.noted == {}
    await first.close()
    await second.look()
    assert set(machine.noted) == {THERE}


async def test_a_store_that_is_away_changes_nothing(machine: Machine, there: Any, raw: Redis, tmp_path: Path) -> None:
    await there(2)
    eye = machine.eye()
    await eye.look()
    copy = await marks_of(raw)
    await older(raw, copy | {"one": {}})
    await eye.look()
    await eye.close()
    away = Machine(machine.folder, f"unix://{tmp_path}/nobody", Redis.from_url(f"unix://{tmp_path}/nobody"), "here")
    blind = away.eye()
    await blind.look()
    assert blind.lacks == {"there": 2}, "as far as is known"
    assert machine.noted == {THERE: dict.fromkeys(("one", "two", "three"), Mark(1, 2))}
    await away.close()


@pytest.mark.parametrize("content", [b"", b"{", b'{"x":1}', b'{"f":{"sites":{"one":[1]}}}', b"\xff"])
async def test_a_damaged_note_is_made_anew(
    machine: Machine, there: Any, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    (machine.folder / FOLDER).mkdir()
    for name in (NOTED, LACKING):
        (machine.folder / FOLDER / name).write_bytes(content)
    await there(1)
    eye = machine.eye()
    await eye.look()
    assert machine.noted == {THERE: dict.fromkeys(("one", "two", "three"), Mark(1, 1))}
    assert eye.lacks == {}
    assert "cannot be read" in caplog.text
