"""Stores that are lost again and again while beacons are sent to one worker after the other, and what must be left."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from tests.journals import opened
from tests.store.rollbacks import KEEP, Hit, Writer, copy_of, put_back
from tests.store.writing import CALENDAR, NOON, beat, numbering
from visitstats.core.batch import Batch
from visitstats.core.sites import Site
from visitstats.embedded import EmbeddedStore
from visitstats.replay import Backlog
from visitstats.store import keys
from visitstats.store.client import open_client
from visitstats.store.commit import Committed, Committer, Work
from visitstats.store.reads import Reads

Record = tuple[int, bytes, bytes]


@dataclass(frozen=True)
class Step:
    """What a worker does next."""

    who: int
    hits: tuple[Hit, ...] = ()
    how: Literal["commit", "journal", "audience", "beat", "heal"] = "commit"
    """Of a batch: it is committed, it is in the journal alone, or the worker is cut off between the ledgers. Or
    heartbeats; or bring the store up to the journal."""
    keeps: bool = True
    """Whether what was decided so far is on the worker's disk now."""
    pause: int = 1000
    """Milliseconds since the step before."""


@dataclass(frozen=True)
class Era:
    """What happens until the store is lost."""

    steps: tuple[Step, ...]
    copied: int = 0
    """The number of steps that are in the copy that comes back; less than 0: the copy of the era before comes back."""
    killed: frozenset[int] = frozenset()
    """Workers that are killed with the store: what they had not kept on their disks is lost."""


@dataclass
class Worker(Writer):
    """A writer that keeps what was decided in its memory for a while."""

    pending: list[tuple[int, bytes]] = field(default_factory=list)
    healed: bool = True

    def keep(self) -> None:
        self.journal.note_outcomes(self.pending)
        self.pending.clear()

    async def replay(self, reads: Reads, moment: int, *, decided_only: bool = False) -> None:
        async def on_disk(read: Callable[[], list[Record]]) -> list[Record]:
            self.keep()
            return read()

        def applied(sequence: int, batch: Batch, result: Committed) -> None:
            if result.outcome:
                self.pending.append((sequence, result.outcome))

        await self.backlog.compare(reads)
        await self.backlog.replay(
            self.committer, lambda _: numbering(moment, CALENDAR), applied, on_disk, decided_only=decided_only
        )
        if not decided_only:
            assert self.backlog.lagging == {}
            assert self.backlog.gaps == 0
            self.healed = True

    async def do(self, site: Site, step: Step, moment: int, reads: Reads) -> None:
        if step.how == "beat":
            await beat(self.committer, site, CALENDAR, moment, [hit.person for hit in step.hits])
        elif step.how == "heal":
            await self.replay(reads, moment)
        else:
            batch = self.write(site, moment, list(step.hits))
            work = Work(self.journal.last_sequence, batch.previous, batch, numbering(moment, CALENDAR))
            if step.how == "journal" or not self.healed:
                self.healed = False
            elif step.how == "audience":
                self.healed = False
                await self.committer._run([self.committer._audience(work)])
            else:
                [result] = await self.committer.commit([work])
                assert isinstance(result, Committed), result
                self.pending.append((work.sequence, result.outcome))
        if step.keeps:
            self.keep()


async def counted(
    store: EmbeddedStore,
    site: Site,
    eras: list[Era],
    start: int = NOON,
    workers: int = 3,
    late: frozenset[int] = frozenset(),
) -> tuple[int, int]:
    """Live through eras, and return the visits and views that are left. Workers that come `late` do not put back what
    they had decided before the others go on."""
    client = open_client(store.url)
    with TemporaryDirectory() as folder, ExitStack() as stack:
        found: list[Worker] = []
        for _ in range(workers):
            journal = stack.enter_context(opened(Path(folder), keep_seconds=KEEP, fsync=False))
            found.append(Worker(journal, Committer(store.url, journal.writer), Backlog(journal)))
        try:
            await client.flushall()
            reads, now = Reads(client), start
            copy: dict[bytes, tuple[bytes, int]] = {}
            for n, era in enumerate(eras):
                if n:
                    await put_back(client, copy, ())
                    for number, worker in enumerate(found):
                        worker.healed = False
                        if number in eras[n - 1].killed:
                            worker.pending.clear()
                            worker.backlog = Backlog(worker.journal)
                        worker.keep()
                        if number not in late:
                            await worker.replay(reads, now, decided_only=True)
                if era.copied >= 0:
                    copy = await copy_of(client)
                for done, step in enumerate(era.steps, 1):
                    now += step.pause
                    await found[step.who].do(site, step, now, reads)
                    if done <= era.copied:
                        copy = await copy_of(client)
            for worker in found:
                await worker.replay(reads, now)
            visits: Any = await client.hget(keys.visits(site.id), "all")
            views: Any = await client.hget(keys.views(site.id), "all")
            return int(visits or 0), int(views or 0)
        finally:
            for worker in found:
                await worker.committer.close()
            await client.aclose()


def expected(site: Site, eras: list[Era]) -> tuple[int, int]:
    """Everybody reads on without a pause of half an hour: one visit each."""
    hits = [
        (hit.hit_id or str((n, m, k)), hit.person, hit.article)
        for n, era in enumerate(eras)
        for m, step in enumerate(era.steps)
        if step.how not in ("beat", "heal")
        for k, hit in enumerate(step.hits)
    ]
    people = {person for _, person, _ in hits}
    if site.views == "every-load":
        return len(people), len({name for name, *_ in hits})
    return len(people), len({(person, article) for _, person, article in hits})
