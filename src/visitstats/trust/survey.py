"""Lists what the slots of a journal hold, and which of it the store lacks, for commands beside a running service."""

import asyncio
from collections import Counter
from pathlib import Path

import msgspec

from visitstats.journal.reader import slots_of
from visitstats.store.reads import Mark, Reads


class Status(msgspec.Struct, frozen=True):
    """A slot, and which of its records are not in the store yet."""

    slot: int
    writer: str
    held: bool
    first: int
    last: int
    records: int
    bytes: int
    since_ms: int
    waiting: dict[str, int] | None
    """Site → records that the store does not have; None when it does not answer."""
    damage: list[str]
    torn: list[str]


async def survey(root: Path, reads: Reads | None) -> list[Status]:
    """Read all slots and, with `reads`, what the store has of them. Raises StoreUnavailable."""
    found = []
    for slot in slots_of(root):
        await asyncio.to_thread(slot.scan)
        waiting = None
        if reads is not None:
            marks = await reads.marks(sorted(slot.newest))
            reached = {site: marks[site].get(slot.writer, Mark(0, 0)).sequence for site in slot.newest}
            behind = {site: mark for site, mark in reached.items() if mark < slot.newest[site].sequence}
            counts = Counter(record.site for _, record in slot.above(behind)) if behind else Counter[str]()
            waiting = dict(sorted(counts.items()))
        found.append(
            Status(
                slot.number, slot.writer, slot.held, slot.first, slot.last, slot.records, slot.size, slot.since_ms,
                waiting, slot.damage, slot.torn,
            )
        )  # fmt: skip
    return found
