"""Writers with a journal and outcomes, and stores that come back older."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.store.writing import CALENDAR, NOON, SITE, gather, numbering, token
from visitstats.core import counting
from visitstats.core.batch import Batch, Gathering, encode, hit_id_digest, reduce
from visitstats.core.keys import article_id
from visitstats.core.sites import Site
from visitstats.journal import REDUCE_SECONDS, Journal
from visitstats.replay import Backlog
from visitstats.store import keys
from visitstats.store.commit import Committed, Committer, Work
from visitstats.store.reads import Reads

KEEP = 24 * 3600.0
DECIDING = ("seen", "read", "hits")
"""Kinds of keys by which the scripts decide: all of them are gone after some hours."""


@dataclass(frozen=True)
class Hit:
    person: str
    article: str
    hit_id: str = ""


@dataclass
class Writer:
    """A worker without HTTP: a journal, a connection, and everything that must not be found in reduced files."""

    journal: Journal
    committer: Committer
    backlog: Backlog
    named: set[str] = field(default_factory=set)
    secret: set[bytes] = field(default_factory=set)

    def write(self, site: Site, moment: int, hits: list[Hit], ignored: dict[str, int] | None = None) -> Batch:
        """Journal a batch of a site."""
        waiting = Gathering(site, CALENDAR.day_at(moment))
        for hit in hits:
            gather(waiting, moment, hit.person, hit.article, hit.hit_id, named=hit.article not in self.named)
            self.named.add(hit.article)
            mine = token(site, waiting.day.date, hit.person)
            self.secret.add(counting.reading(mine, article_id(hit.article)))
            if hit.hit_id:
                self.secret.add(hit_id_digest(hit.hit_id))
        waiting.ignored.update(ignored or {})
        batch = waiting.close(self.backlog.newest.get(site.id, 0), moment)
        self.journal.append([encode(batch)])
        self.backlog.note(site.id, self.journal.last_sequence)
        return batch

    async def commit(self, batch: Batch, moment: int, *, noted: bool = True) -> Committed:
        """Commit the batch that was journalled last, and note its outcome (or be killed before that is `noted`)."""
        sequence = self.journal.last_sequence
        [result] = await self.committer.commit([Work(sequence, batch.previous, batch, numbering(moment, CALENDAR))])
        assert isinstance(result, Committed), result
        assert result.outcome
        if noted:
            self.journal.note_outcomes([(sequence, result.outcome)])
        self.journal.applied = sequence
        return result

    async def hit(self, moment: int, *hits: Hit, site: Site = SITE) -> Committed:
        return await self.commit(self.write(site, moment, list(hits)), moment)

    async def put_back(self, reads: Reads, moment: int = NOON) -> None:
        """What all workers do before any of them decides anew."""
        await self.try_to_heal(reads, moment, decided_only=True)

    async def heal(self, reads: Reads, moment: int = NOON) -> list[Committed]:
        """What a worker does when it sees that the store came back older."""
        answers = await self.try_to_heal(reads, moment)
        assert self.backlog.lagging == {}
        return answers

    async def try_to_heal(self, reads: Reads, moment: int = NOON, *, decided_only: bool = False) -> list[Committed]:
        """The same with a store that may refuse something."""
        answers: list[Committed] = []

        async def on_disk(read: Callable[[], list[tuple[int, bytes, bytes]]]) -> list[tuple[int, bytes, bytes]]:
            return read()

        def applied(sequence: int, batch: Batch, result: Committed) -> None:
            answers.append(result)

        await self.backlog.compare(reads)
        await asyncio.wait_for(
            self.backlog.replay(
                self.committer, lambda _: numbering(moment, CALENDAR), applied, on_disk, decided_only=decided_only
            ),
            30,
        )
        return answers

    def reduce(self, root: Path) -> None:
        """All segments that are ended are two hours old."""
        now = 2e9
        for path in root.glob("*/*.log"):
            os.utime(path, (now - 2 * REDUCE_SECONDS, now - 2 * REDUCE_SECONDS))
        self.journal.reduce(now, reduce)


def files(root: Path, suffix: str = "") -> list[Path]:
    """The files of the first slot."""
    return sorted(path for path in root.glob("00/*") if path.name.endswith(suffix))


async def copy_of(client: Any) -> dict[bytes, tuple[bytes, int]]:
    """Everything in the store, with the moments at which it is forgotten."""
    found = {}
    for name in await client.keys():
        found[name] = (await client.dump(name), max(0, await client.pexpiretime(name)))
    return found


async def put_back(client: Any, copy: dict[bytes, tuple[bytes, int]], without: tuple[str, ...] = DECIDING) -> None:
    """Replace everything by a copy, of which some kinds of keys have expired since."""
    await client.flushall()
    for name, (data, until) in copy.items():
        known = keys.parse(name.decode())
        assert known is not None
        if known.kind.word not in without:
            await client.restore(name, until, data, absttl=True)


async def numbers_of(client: Any) -> dict[str, Any]:
    """Every number that anybody is ever shown: visits and views, each article in each period, ignored, uniques."""
    found: dict[str, Any] = {}
    for name in sorted(await client.keys()):
        known = keys.parse(name.decode())
        assert known is not None
        if known.kind.word in ("visits", "views", "ignored"):
            found[name.decode()] = await client.hgetall(name)
        elif known.kind.word.startswith("top:"):
            found[name.decode()] = dict(await client.zrange(name, 0, -1, withscores=True))
        elif known.kind.word == "unique":
            found[name.decode()] = await client.pfcount(name)
    return found
