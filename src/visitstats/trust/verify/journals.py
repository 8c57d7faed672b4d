"""Do the ledgers' watermarks agree with the journals of this data folder, and with what it has noted of other hosts?"""

import asyncio
from pathlib import Path
from typing import NamedTuple

from visitstats.core.batch import Batch, Record
from visitstats.journal.reader import Newest, Slot, slots_of
from visitstats.store.inspect import Inspector
from visitstats.store.reads import NO_MARK, Mark, Reads
from visitstats.trust.hosts import lacking, read_noted
from visitstats.trust.verify.findings import Look

LISTED = 5
"""How many sequences of unapplied records are named."""
NOTHING = Newest(0, 0)


class _Break(NamedTuple):
    """A record that does not follow the one before it."""

    sequence: int
    follows: int
    before: int
    hits: str
    """What is wrong with its number of hits; empty when nothing is."""


class _Trail:
    """The records of one site in a journal: checks whether each follows the one before."""

    def __init__(self) -> None:
        self.newest = NOTHING
        self.breaks: list[_Break] = []

    def add(self, sequence: int, record: Record, first: int) -> None:
        before, total = self.newest
        # What came before the oldest record that is kept was applied and dropped.
        if record.previous != before and (before or record.previous >= first):
            self.breaks.append(_Break(sequence, record.previous, before, ""))
        least = total + (record.size if isinstance(record, Batch) else 0)
        if before and record.total < least:
            self.breaks.append(_Break(sequence, before, before, f"{record.total} hits in all, {least} are the fewest"))
        self.newest = Newest(sequence, record.total)


class Journals:
    """The check of the journals under `root`, for one site alone if `only` is given."""

    def __init__(self, store: Inspector, reads: Reads, root: Path, look: Look, only: str = "") -> None:
        self._store = store
        self._reads = reads
        self._root = root
        self._look = look
        self._only = only
        self._slots: list[tuple[Slot, dict[str, _Trail]]] = []

    async def read(self) -> set[str]:
        """Read all journals. Return the sites that were found in them, and in the notes on other hosts."""
        for slot in await asyncio.to_thread(slots_of, self._root):
            trails: dict[str, _Trail] = {}
            await asyncio.to_thread(self._follow, slot, trails)
            self._slots.append((slot, trails))
        noted = read_noted(self._root.parent)
        sites = {site for writer in noted.values() for site in writer.sites}
        return {site for site in sites.union(*(trails for _, trails in self._slots)) if self._only in ("", site)}

    async def check(self, sites: list[str]) -> None:
        """Compare with the store's watermarks of these sites. Raises StoreUnavailable."""
        marks = await self._reads.marks(sites)
        hosts = await self._store.hosts()
        runs = any(slot.held for slot, _ in self._slots)
        for slot, trails in self._slots:
            # A worker may have journalled and committed more since we have read it.
            await asyncio.to_thread(self._follow, slot, trails)
            place = f"journal slot {slot.number:02d}"
            for damage in slot.damage:
                self._look.wrong("", "journal", place, damage, damage)
            if not slot.held:
                self._look.notes += [
                    f"{place}: {torn} (what a crash leaves; it was not acknowledged)" for torn in slot.torn
                ]
            for site in sites:
                trail = trails.get(site)
                mark = marks[site].get(slot.writer)
                if trail or mark:
                    await self._compare(slot, place, site, trail or _Trail(), mark or NO_MARK, runs=runs)
            self._look.records += slot.records
        ours = {slot.writer for slot, _ in self._slots}
        others: dict[str, int] = {}
        for site in sites:
            for writer in marks[site].keys() - ours:
                others[writer] = others.get(writer, 0) + 1
        for writer, many in sorted(others.items()):
            where = f" of host {hosts[writer]}" if writer in hosts else ""
            self._look.notes.append(
                f"writer {writer[:8]}{where} ({many} sites) has no journal in this data folder: another host's, or "
                "removed"
            )
        for each in lacking(read_noted(self._root.parent), marks):
            if each.hits:
                self._look.wrong(
                    each.site, "lacks", f"host {each.host or '?'}",
                    f"the store lacks {each.hits} hits of writer {each.writer[:8]} that it had: its journal goes to "
                    f"{each.noted.sequence}, the store to {each.has.sequence}; start the service of that host, or "
                    "apply a copy of its data folder: visitstats journal replay --data-dir COPY",
                    (each.writer, each.has.sequence),
                )  # fmt: skip

    def _follow(self, slot: Slot, trails: dict[str, _Trail]) -> None:
        for sequence, record in slot.fresh():
            if self._only in ("", record.site):
                trails.setdefault(record.site, _Trail()).add(sequence, record, slot.first)

    async def _compare(self, slot: Slot, place: str, site: str, trail: _Trail, mark: Mark, *, runs: bool) -> None:
        for each in trail.breaks:
            what = each.hits or f"follows record {each.follows}, but {each.before or 'nothing'} is before it"
            self._look.wrong(site, "chain", place, f"record {each.sequence} {what}", each)
        newest = trail.newest
        if mark.sequence < newest.sequence:
            await self._waiting(slot, place, site, newest, mark, runs=runs)
        elif mark.sequence > newest.sequence and mark.sequence >= slot.first > 0:
            self._look.wrong(
                site, "ahead", place,
                f"the store has records up to {mark.sequence}, the journal up to {newest.sequence}: it has lost its "
                "end, or is an old copy",
                (newest, mark),
            )  # fmt: skip
        elif mark.sequence == newest.sequence and mark.total != newest.total:
            self._look.wrong(
                site, "hits", place,
                f"at record {mark.sequence} the store has {mark.total} hits of this writer, the journal {newest.total}",
                mark,
            )  # fmt: skip

    async def _waiting(self, slot: Slot, place: str, site: str, newest: Newest, mark: Mark, *, runs: bool) -> None:
        def above() -> list[int]:
            return [sequence for sequence, _ in slot.above({site: mark.sequence})]

        waiting = await asyncio.to_thread(above)
        named = ", ".join(map(str, waiting[:LISTED])) + (", …" if len(waiting) > LISTED else "")
        found = (
            f"{len(waiting)} records are not in the store ({named}): the journal goes up to {newest.sequence}, the "
            f"store to {mark.sequence}"
        )
        if runs:
            self._look.notes.append(f"{place}: site {site}: {found}; the service runs, and applies them")
        else:
            self._look.wrong(
                site, "unapplied", place, f"{found}; start the service, or run: visitstats journal replay", mark
            )
