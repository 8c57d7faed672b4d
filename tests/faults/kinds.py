"""The faults: each is done to an arena while readers are at work, and is over when its function returns."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import random
import resource
import shutil
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple

from tests.client import until
from tests.driver import Load, under
from tests.faults import splits
from tests.faults.arena import KINDS, READERS, Arena, Round
from tests.faults.conserved import Stream
from tests.faults.copies import copy_of, put_back
from visitstats.store import keys

Act = Callable[[Arena, Round, random.Random], Awaitable[None]]
EXTERNAL = tuple(kind for kind in KINDS if kind != "embedded")


class Fault(NamedTuple):
    """One row of the measured table."""

    name: str
    act: Act
    where: tuple[str, ...] = KINDS
    """The kinds of arenas in which it can be done."""


# Processes ------------------------------------------------------------------------------------------------------------


async def kill_a_worker(arena: Arena, this: Round, chance: random.Random) -> None:
    victim = chance.choice(arena.service.workers)
    os.kill(victim, signal.SIGKILL)
    await arena.replaced(victim)


async def kill_the_service(arena: Arena, this: Round, chance: random.Random) -> None:
    await arena.kill_service()
    await asyncio.to_thread(arena.service.start)


async def roll(arena: Arena, this: Round, chance: random.Random) -> None:
    for victim in arena.service.workers:
        os.kill(victim, signal.SIGTERM)
        await arena.replaced(victim)
        await this.more(50)
    arena.service.terminate()
    await asyncio.to_thread(arena.service.wait)
    await asyncio.to_thread(arena.service.start)


# The store ------------------------------------------------------------------------------------------------------------


async def kill_the_store(arena: Arena, this: Round, chance: random.Random) -> None:
    await _store_down(arena)
    await this.more(chance.randrange(20, 200))
    await _store_up(arena)


async def hang_the_store(arena: Arena, this: Round, chance: random.Random) -> None:
    """Mostly for some seconds, at times for longer than everybody waits: as many hangs of 0.2 to 1 s as of 6 to 30."""
    victim = arena.store_pid
    os.kill(victim, signal.SIGSTOP)
    try:
        await asyncio.sleep(math.exp(chance.uniform(math.log(0.2), math.log(30))))
    finally:
        os.kill(victim, signal.SIGCONT)


async def hang_the_store_and_kill_a_worker(arena: Arena, this: Round, chance: random.Random) -> None:
    """What was acknowledged meanwhile is in the journal of the dead alone: but for the batch that was on its way to the
    store, which finds that in its socket later. So there are more batches than one."""
    store = arena.store_pid
    os.kill(store, signal.SIGSTOP)
    try:
        await this.more(60)
        await this.more(60)
        await kill_a_worker(arena, this, chance)
    finally:
        os.kill(store, signal.SIGCONT)


async def cut_the_file(arena: Arena, this: Round, chance: random.Random) -> None:
    """Killed, its append-only file cut at any byte of its end; and killed once more when all seems well again."""
    await _cut_and_restart(arena, this, lambda data: chance.randrange(max(0, len(data) - 20_000), len(data)))


async def cut_the_file_inside_a_multi(arena: Arena, this: Round, chance: random.Random) -> None:
    """Redis 7.0 then executes what is left of the transaction at the second restart: the writes must be absolute."""
    await _cut_and_restart(arena, this, lambda data: inside_a_multi(data, chance))


def inside_a_multi(data: bytes, chance: random.Random) -> int:
    """A place in one of the last transactions of an append-only file: in the command that writes its watermark."""
    marks: list[int] = []
    end = len(data)
    while len(marks) < 6:
        end = data.rfind(b"\r\nEXEC\r\n", 0, end)
        if end < 0:
            break
        mark = data.rfind(b"HSET\r\n", data.rfind(b"MULTI\r\n", 0, end), end)
        if mark > 0 and b"}:marks\r\n" in data[mark:end]:
            marks.append(mark + 8)
    return chance.choice(marks) if marks else len(data)


async def kill_a_worker_and_cut_the_file(arena: Arena, this: Round, chance: random.Random) -> None:
    """At once: what the worker decided last is in no file any more, neither in its own nor in the store's."""
    victim = chance.choice(arena.service.workers)
    arena.store.kill()
    os.kill(victim, signal.SIGKILL)
    _cut(arena.store.folder, lambda data: chance.randrange(max(0, len(data) - 20_000), len(data)))
    await asyncio.to_thread(arena.store.start)
    await arena.replaced(victim)


async def _cut_and_restart(arena: Arena, this: Round, place: Callable[[bytes], int]) -> None:
    if arena.kind == "embedded":
        await arena.kill_service()
        _cut(arena.service.data_dir / "valkey", place)
        await asyncio.to_thread(arena.service.start)
    else:
        arena.store.kill()
        _cut(arena.store.folder, place)
        await asyncio.to_thread(arena.store.start)
    await this.more()
    await applied(arena, this)
    await _store_down(arena)
    await _store_up(arena)


def _cut(folder: Path, place: Callable[[bytes], int]) -> None:
    path = max(folder.glob("appendonlydir/*.incr.aof"), key=lambda path: int(path.name.split(".")[-3]))
    os.truncate(path, place(path.read_bytes()))


async def applied(arena: Arena, this: Round) -> None:
    """Wait until the store has what was acknowledged so far."""
    wanted = len(this.load.acknowledged)
    async with arena.client() as client:

        async def there() -> bool:
            with contextlib.suppress(OSError):
                return int(await client.hget(*keys.count_at(this.site, "views", "all")) or 0) >= wanted
            return False

        await until(there, "the acknowledged hits are applied", 60)


async def _store_down(arena: Arena) -> None:
    if arena.kind != "embedded":
        arena.store.kill()
        return
    victim = arena.service.store
    os.kill(victim, signal.SIGKILL)

    async def revived() -> bool:
        with contextlib.suppress(StopIteration, RuntimeError):
            return arena.service.store != victim
        return False

    await until(revived, "the service starts its store again", 15)


async def _store_up(arena: Arena) -> None:
    if arena.kind != "embedded":
        await asyncio.to_thread(arena.store.start)


async def put_an_older_copy_back(arena: Arena, this: Round, chance: random.Random) -> None:
    """Its files, while it is down."""
    shutil.rmtree(arena.folder / "copy", ignore_errors=True)
    arena.store.copy(arena.folder / "copy")
    await this.more(chance.randrange(50, 400))
    arena.store.kill()
    arena.store.put_back(arena.folder / "copy")
    await asyncio.to_thread(arena.store.start)


async def put_an_older_copy_back_unseen(arena: Arena, this: Round, chance: random.Random) -> None:
    """In one instant and without breaking a connection: the next batch comes after a gap."""
    async with arena.client() as client:
        copy = await copy_of(client)
        await this.more(chance.randrange(50, 400))
        await put_back(client, copy, 0)


async def put_an_older_copy_back_and_send_beacons_again(arena: Arena, this: Round, chance: random.Random) -> None:
    """Beacons that the copy has, and beacons that it has not, came again before it came back."""
    async with arena.client() as client:
        again = Load(arena.service, this.site)
        await applied(arena, this)
        copy = await copy_of(client)
        await this.more(100)
        await again.run([hit for hit in this.load.acknowledged if hit.hit_id], readers=2)
        await put_back(client, copy, 0)


async def fill_its_memory(arena: Arena, this: Round, chance: random.Random) -> None:
    async with arena.client() as client:
        await client.config_set("maxmemory", "1")
        try:
            await asyncio.sleep(chance.uniform(0.3, 2))
        finally:
            await client.config_set("maxmemory", "0")


async def flicker_its_memory(arena: Arena, this: Round, chance: random.Random) -> None:
    """It is full for moments while the journal is replayed: some scripts of a replay are refused, others are not."""
    os.kill(arena.store_pid, signal.SIGSTOP)
    try:
        await this.more(300)
    finally:
        os.kill(arena.store_pid, signal.SIGCONT)
    async with arena.client() as client:
        try:
            for _ in range(60):
                await client.config_set("maxmemory", 1)
                await client.config_set("maxmemory", 0)
                await asyncio.sleep(chance.uniform(0, 0.01))
        finally:
            await client.config_set("maxmemory", 0)


async def fail_its_snapshot(arena: Arena, this: Round, chance: random.Random) -> None:
    """MISCONF: it takes no writes because it could not save."""
    blocked = arena.store.folder / "dump.rdb"
    async with arena.client() as client:
        await client.config_set("save", "3600 1")
        blocked.unlink(missing_ok=True)
        blocked.mkdir()

        async def refuses(status: str = "err") -> bool:
            with contextlib.suppress(Exception):
                await client.bgsave()
            return bool((await client.info("persistence"))["rdb_last_bgsave_status"] == status)

        await until(refuses, "its snapshot fails")
        await asyncio.sleep(chance.uniform(0.3, 2))
        blocked.rmdir()
        await until(lambda: refuses("ok"), "its snapshot works again")
        await client.config_set("save", "")


async def promote_a_lagging_replica(arena: Arena, this: Round, chance: random.Random) -> None:
    """The primary dies while its replica is behind; for a while the replica still refuses writes."""
    first = arena.store
    second = await arena.server(f"replica-{len(arena.servers)}")
    async with arena.client(second.url) as client:
        await client.replicaof("127.0.0.1", first.port)

        async def in_step() -> bool:
            return bool((await client.info("replication"))["master_link_status"] == "up")

        await until(in_step, "the replica has a copy")
        os.kill(second.pid, signal.SIGSTOP)
        await this.more(chance.randrange(50, 300))
        first.kill()
        os.kill(second.pid, signal.SIGCONT)
        arena.proxy.switch(second.path)
        await asyncio.sleep(chance.uniform(0.1, 1))
        await client.replicaof("NO", "ONE")


# The wire -------------------------------------------------------------------------------------------------------------


async def slow_the_wire(arena: Arena, this: Round, chance: random.Random) -> None:
    arena.proxy.delay = chance.uniform(0.02, 0.6)
    await asyncio.sleep(chance.uniform(1, 3))
    arena.proxy.delay = 0


async def leave_it_half_open(arena: Arena, this: Round, chance: random.Random) -> None:
    arena.proxy.deafen()
    await asyncio.sleep(chance.uniform(0.3, 6))
    arena.proxy.cut()
    arena.proxy.hear()


async def swallow_answers(arena: Arena, this: Round, chance: random.Random) -> None:
    """The store does what it is told, and nobody hears of it."""
    arena.proxy.mute = True
    await asyncio.sleep(chance.uniform(0.1, 1))
    arena.proxy.cut()
    arena.proxy.mute = False


async def deliver_late(arena: Arena, this: Round, chance: random.Random) -> None:
    """A commit that was given up, and made good on another connection, arrives after all."""
    held = arena.proxy.hold()

    async def given_up() -> bool:
        return any(link.hung_up and link.held for link in held)

    try:
        await until(given_up, "a worker gives its connection up", 15)
        await this.more(50)
        await applied(arena, this)
    finally:
        await arena.proxy.release(held)


# The journal ----------------------------------------------------------------------------------------------------------


async def fill_the_disk(arena: Arena, this: Round, chance: random.Random) -> None:
    """The kernel takes a part of a record, then nothing more: hits are refused until there is room."""
    workers = arena.service.workers
    for pid in workers:
        sizes = [path.stat().st_size for path in (arena.service.data_dir / "journal").glob("*/*.log")]
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (max(sizes, default=0) + chance.randrange(1000), -1))
    try:
        await asyncio.sleep(chance.uniform(0.3, 1.5))
    finally:
        for pid in workers:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (-1, -1))


async def damage_the_journal(arena: Arena, this: Round, chance: random.Random) -> None:
    """While the service is down: an end that is torn, and a flipped bit in a record that the store has."""
    await applied(arena, this)
    await arena.kill_service()
    for slot in (arena.service.data_dir / "journal").glob("[0-9]*"):
        logs = sorted(slot.glob("*.log"), key=lambda path: path.stat().st_mtime)
        if len(logs) > 1:
            _flip(logs[0], chance)
        if logs:
            with logs[-1].open("ab") as file:
                file.write(chance.randbytes(chance.randrange(1, 300)))
    await asyncio.to_thread(arena.service.start)


def _flip(path: Path, chance: random.Random) -> None:
    data = bytearray(path.read_bytes())
    if len(data) > 40:
        data[chance.randrange(24, len(data))] ^= 1 << chance.randrange(8)
        path.write_bytes(bytes(data))


async def copy_the_journal(arena: Arena, this: Round, chance: random.Random) -> None:
    """To another machine, as it were, where a service starts on it and counts in the same store."""
    other = arena.another(f"data-{len(arena.services)}", arena.proxy.url)
    other.data_dir.mkdir(parents=True)
    shutil.copytree(arena.service.data_dir / "journal", other.data_dir / "journal")
    await asyncio.to_thread(other.start)
    load, stream = Load(other, this.site), Stream(f"{this.site}b")
    this.others.append((load, stream))
    async with under(load.run(stream, readers=READERS // 2)):
        await load.more(150, 30)
        await this.more(150)
        stream.over = True
    await asyncio.to_thread(other.stop)


PROCESSES = (
    Fault("SIGKILL of a worker", kill_a_worker),
    Fault("SIGKILL of the service", kill_the_service),
    Fault("SIGTERM, one after the other", roll),
)
STORE = (
    Fault("SIGKILL of the store", kill_the_store),
    Fault("store hangs 0.2–30 s", hang_the_store),
    Fault("store hangs, SIGKILL of a worker", hang_the_store_and_kill_a_worker),
    Fault("append-only file cut anywhere, two restarts", cut_the_file),
    Fault("append-only file cut inside a MULTI, two restarts", cut_the_file_inside_a_multi),
    Fault("append-only file cut, SIGKILL of a worker at once", kill_a_worker_and_cut_the_file, EXTERNAL),
    Fault("older copy of the store's files", put_an_older_copy_back, EXTERNAL),
    Fault("older copy, unseen", put_an_older_copy_back_unseen),
    Fault("older copy, beacons sent again", put_an_older_copy_back_and_send_beacons_again),
    Fault("out of memory", fill_its_memory),
    Fault("out of memory for moments, while it is replayed", flicker_its_memory),
    Fault("MISCONF", fail_its_snapshot, EXTERNAL),
    Fault("lagging replica promoted", promote_a_lagging_replica, EXTERNAL),
)
SPLITS = (
    Fault("split brain: a worker stays behind", splits.leave_a_worker_behind, EXTERNAL),
    Fault("split brain: SIGKILL of the worker that stays behind", splits.kill_the_worker_left_behind, EXTERNAL),
    Fault("split brain: two services", splits.leave_a_service_behind, EXTERNAL),
    Fault("split brain: the old primary is thrown away and used again", splits.use_the_old_primary_again, EXTERNAL),
)
WIRE = (
    Fault("slow answers", slow_the_wire, EXTERNAL),
    Fault("half-open connections", leave_it_half_open, EXTERNAL),
    Fault("answers swallowed", swallow_answers, EXTERNAL),
    Fault("commit delivered late", deliver_late, EXTERNAL),
)
JOURNAL = (
    Fault("journal's disk full", fill_the_disk),
    Fault("journal torn and flipped", damage_the_journal),
    Fault("journal copied to a second service", copy_the_journal, EXTERNAL),
)
FAULTS = (*PROCESSES, *STORE, *SPLITS, *WIRE, *JOURNAL)
