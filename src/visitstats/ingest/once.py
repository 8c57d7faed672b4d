"""Replays a data folder's journal once, for a command: beside a service, on a copy, after a backup was restored."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from visitstats.core.batch import Batch
from visitstats.core.periods import Calendar
from visitstats.core.sites import Site
from visitstats.ingest.positions import Positions
from visitstats.ingest.replay import Replay
from visitstats.journal.log import Limits
from visitstats.journal.reader import slots_of
from visitstats.store.commit import Committed, Committer, Numbering, Result, Work
from visitstats.store.reads import NO_MARK, Marks, Reads


class Replayed(NamedTuple):
    """What a replay has brought into the store."""

    records: Counter[str]
    """Hits by site."""
    hits: Counter[str]
    """By site, duplicates included."""


async def replay_once(
    root: Path, url: str, reads: Reads, sites: dict[str, Site], limits: Limits, clock: Callable[[], int],
    applied: Callable[[], None] = lambda: None,
) -> Replayed:  # fmt: skip
    """Bring the store at an address up to the journal under `root`; `applied` is called after each record. Raises
    StoreUnavailable; what the store refuses stays lacking (`trust.survey` says of which sites)."""
    calendars = {name: Calendar(site.timezone, site.week_start) for name, site in sites.items()}
    done = Replayed(Counter(), Counter())

    def note(item: Work, result: Result) -> None:
        done.records[item.record.site] += 1
        if isinstance(item.record, Batch) and isinstance(result, Committed) and result.fresh:
            done.hits[item.record.site] += item.record.size
        applied()

    def number(site: str) -> Numbering:
        now = clock()
        return Numbering(calendars.get(site, Calendar("UTC")).day_at(now), now)

    machine = Replay(root, Committer(url), reads, number, limits)
    try:
        await machine.bring_up(Positions(""), note)
    finally:
        await machine.close()
    return done


class Reach(NamedTuple):
    """How far a journal goes beyond a store."""

    newest_ms: int
    """The moment of its newest record; 0 for none."""
    records: int
    """How many of its hits the store does not have."""
    lost: Counter[str]
    """By site, the hits that neither has: before its first record that the store lacks, or in a gap."""


def reach(root: Path, marks: Marks) -> Reach:
    """Compare the journal under `root` with a store's watermarks. Each record tells the number of its writer's hits up
    to it, so that what is missing is known to the hit. Blocks."""
    newest = above = 0
    lost: Counter[str] = Counter()
    for slot in slots_of(root):
        known: dict[str, int] = {}
        for sequence, record in slot.fresh():
            newest = max(newest, record.at_ms)
            mark = marks.get(record.site, {}).get(slot.writer, NO_MARK)
            if sequence > mark.sequence:
                above += 1
                of_it = record.size if isinstance(record, Batch) else 0
                lost[record.site] += max(record.total - of_it - known.get(record.site, mark.total), 0)
                known[record.site] = record.total
    return Reach(newest, above, +lost)
