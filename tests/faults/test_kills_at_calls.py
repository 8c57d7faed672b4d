"""kill -9 of a worker at each of its calls that make the journal durable: what was acknowledged is counted, once.

FAULTS_SEED and FAULTS_KILLS choose where else, and how often: `FAULTS_SEED=7 FAULTS_KILLS=200 pytest …`.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import signal
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path

import pytest

from tests.client import Connection, Hit, crowd, until
from tests.driver import Service
from tests.faults.arena import SITES, Arena, Round
from tests.faults.sabotage import Sabotage
from tests.faults.verdict import judge
from tests.waiting import wait_until
from visitstats.journal.segments import START

SEED = int(os.environ.get("FAULTS_SEED", "20361124"))
KILLS = int(os.environ.get("FAULTS_KILLS", "2"))
"""How many more there are, at any call."""
HOUR = 3600
WHEN = ("before", "half", "after")
FILLER = f"s{SITES - 1}"
"""A site that no round uses."""

AT_A_RECORD = ("write .log in OpenJournal.append", "fdatasync .log in OpenJournal.append")
AT_WORK = (
    *AT_A_RECORD,
    "open .log in OpenJournal._new_segment",
    "write .log in OpenJournal._new_segment",
    "fsync slot in OpenJournal._new_segment",
)
"""What a worker does while it takes hits."""
IN_A_NEW_SLOT = (
    "fsync journal in settle_in",
    "write place.new in settle_in",
    "fsync place.new in settle_in",
    "replace place in settle_in",
    "fsync slot in settle_in",
    "write writer.new in OpenJournal._read_writer",
    "fsync writer.new in OpenJournal._read_writer",
    "replace writer in OpenJournal._read_writer",
    "fsync slot in OpenJournal._read_writer",
)
"""What a worker does that starts in a slot which nobody had before, in this order."""
IN_AN_OLD_SLOT = ("unlink .log in OpenJournal.prune",)
"""What is done to a slot that was left: what is past the retention goes."""


class SabotagedArena(Arena):
    """An arena whose workers have the saboteur."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.sabotage = Sabotage(self.folder / "sabotage")

    def another(self, name: str, url: str) -> Service:
        service = super().another(name, url)
        self.sabotage.into(service)
        return service

    @property
    def journal(self) -> Path:
        return self.service.data_dir / "journal"

    async def killed(self, *deaths: tuple[str, str, int], left: Path | None = None) -> None:
        """Have workers killed at these calls (`Sabotage.kill`), and wait until that was done there and nowhere else. A
        slot that is `left` is to be looked into, and not to be used again."""
        for number, (site, when, nth) in zip(self.sabotage.kill(*deaths), deaths, strict=True):

            async def done(number: int = number) -> bool:
                await self.knock()
                if left is not None and (user := self.holder_of(left)):
                    os.kill(user, signal.SIGKILL)  # it came while somebody looked into the slot that it was to take
                return any(each["id"] == number for each in self.sabotage.done())

            await until(done, f"a worker is killed {when} {site or f'its call {nth}'}", 20)
            [found] = [each for each in self.sabotage.done() if each["id"] == number]
            assert (site in ("", found["at"]), found["when"], found["nth"]) == (True, when, nth)
            await until(lambda pid=found["pid"]: self._is_gone(pid), "it is dead")  # type: ignore[misc]

    async def both(self) -> None:
        """Wait until there are two workers again."""

        async def there() -> bool:
            return len(self.service.workers) == 2

        await until(there, "two workers run", 20)

    async def knock(self) -> None:
        """One hit on a new connection: readers stay with the worker that they have, and a new one has none."""
        with contextlib.suppress(OSError, TimeoutError):
            connection = await Connection.open(self.service.port)
            try:
                await connection.hit(FILLER, Hit(crowd(1, "knock")[0], "/filler"), seconds=0.3)
            finally:
                connection.close()

    async def _is_gone(self, pid: int) -> bool:
        return pid not in self.service.workers

    def holder_of(self, slot: Path) -> int:
        """The worker that has a slot for its own, 0 for none: it has no other, as who only looks into it has."""
        for pid in self.service.workers:
            with contextlib.suppress(OSError):
                opened = [os.readlink(fd) for fd in Path(f"/proc/{pid}/fd").iterdir()]
                if [path for path in opened if path.endswith("/lock")] == [str(slot / "lock")]:
                    return pid
        return 0

    async def fill(self, slot: Path) -> None:
        """Have two segments with records in a slot: hits for its worker, who dies in between."""
        for done in range(2):

            async def holder() -> int:
                if stray := self.holder_of(slot.with_name(f"{int(slot.name) + 1:02d}")):
                    os.kill(stray, signal.SIGKILL)  # it came while somebody looked into the slot
                return self.holder_of(slot)

            pid = await until(holder, f"a worker has slot {slot.name}", 20)
            connection = await Connection.open(self.service.port)
            while self.service.worker_of(connection) != pid:
                connection.close()
                connection = await Connection.open(self.service.port)
                await connection.request("GET", "/healthz")
            hit = Hit(crowd(1, f"fill{done}")[0], "/filler")

            async def noted(connection: Connection = connection, hit: Hit = hit, done: int = done) -> bool:
                await connection.hit(FILLER, hit)
                return segments_in(slot) > done

            await until(noted, f"{slot.name} has records")
            connection.close()
            if not done:
                os.kill(pid, signal.SIGKILL)

    def leave(self, slot: Path) -> None:
        """Kill the worker of a slot, which is then as it would be hours later: whoever comes takes another slot."""
        os.kill(self.holder_of(slot), signal.SIGKILL)
        for n, path in enumerate(sorted(slot.glob("*.log"))):
            then = time.time() - (2 if n else 25) * HOUR
            os.utime(path, (then, then))

    @contextlib.contextmanager
    def hung_store(self) -> Iterator[None]:
        """Have the store hang meanwhile."""
        store = self.store_pid
        os.kill(store, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(store, signal.SIGCONT)

    @contextlib.contextmanager
    def no_free_slot(self) -> Iterator[Path]:
        """Kill a worker and hold every slot but the other worker's, so that the next one has to make the one that is
        yielded."""
        os.kill(self.service.workers[0], signal.SIGKILL)
        slots = sorted(self.journal.glob("[0-9][0-9]"))
        with contextlib.ExitStack() as held:
            missing = [held.enter_context((slot / "lock").open()) for slot in slots]

            def all_but_one() -> bool:
                for file in [*missing]:
                    with contextlib.suppress(BlockingIOError):
                        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                        missing.remove(file)
                return len(missing) <= 1

            wait_until(all_but_one, "the slots are held")
            yield self.journal / f"{len(slots):02d}"


def segments_in(slot: Path) -> int:
    """How many segments have a record."""
    return sum(1 for path in slot.glob("*.log") if path.stat().st_size > START)


@pytest.fixture
async def arena() -> AsyncIterator[SabotagedArena]:
    made = SabotagedArena("embedded")
    try:
        await made.start()
        yield made
    finally:
        left = await made.stop()
    assert not left


@contextlib.asynccontextmanager
async def judged(arena: SabotagedArena) -> AsyncIterator[Round]:
    """A round whose hits are all accounted for at its end."""
    await arena.both()
    async with arena.round() as this:
        yield this
        since = time.monotonic()
        await this.more()
    verdict = await judge(arena, this, since)
    assert verdict.good, f"{verdict}\n{arena.service.log[-4000:]}"
    assert verdict.acknowledged > 100


def drawn(chance: random.Random, sites: Iterable[str]) -> list[tuple[str, str, int]]:
    """Deaths at sites: a write is torn as often as it is not begun, or not told of."""
    moments = {site: WHEN if site.startswith("write") else ("before", "after") for site in sites}
    return [(site, chance.choice(whens), 1) for site, whens in moments.items()]


def early(sites: Iterable[str]) -> list[tuple[str, str, int]]:
    """Deaths at sites, none of them after its call: who comes next has to make the same calls again."""
    return [(site, "half" if site.startswith("write") else "before", 1) for site in sites]


@pytest.mark.long
@pytest.mark.timeout(90 + 5 * KILLS)
async def test_a_worker_is_killed_at_each_write_and_sync(arena: SabotagedArena) -> None:
    """Before the call, after it, or with half of the bytes written, while readers are at work: nothing is lost and
    nothing counted twice."""
    chance = random.Random(SEED)
    async with judged(arena) as this:
        await arena.killed(*drawn(chance, AT_WORK))
        # What was acknowledged while the store hangs is in the journal alone.
        with arena.hung_store():
            await this.more(30)
            await arena.killed(chance.choice(drawn(chance, AT_A_RECORD)))
    async with judged(arena):
        with arena.no_free_slot() as old:
            await arena.killed(*early(IN_A_NEW_SLOT))
            await arena.fill(old)
    async with judged(arena):
        arena.leave(old)
        await arena.killed(*early(IN_AN_OLD_SLOT), left=old)
        await arena.killed(*((("", chance.choice(WHEN), chance.randrange(1, 40))) for _ in range(KILLS)))
    known = {*AT_WORK, *IN_A_NEW_SLOT, *IN_AN_OLD_SLOT}
    seen = {site for site in arena.sabotage.sites() if site.startswith(("write", "fsync", "fdatasync", "replace"))}
    assert not seen - known, "nobody was killed there"
