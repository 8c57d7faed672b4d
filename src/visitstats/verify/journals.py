"""Do the ledgers' watermarks agree with each other and with the journals of this data folder?"""

from pathlib import Path

from visitstats.core.batch import Batch
from visitstats.core.counting import HALF_HOUR_MS as SLOT_MS
from visitstats.journal.reader import Slot, slots_of
from visitstats.store import keys
from visitstats.store.inspect import Inspector
from visitstats.verify.findings import Look

LISTED = 5
"""So many sequences of unapplied records are named."""


class _Trail:
    """What a journal says of one site: its sequences, in order, and whether each follows the one before."""

    def __init__(self) -> None:
        self.sequences: list[int] = []
        self._received = 0
        self.breaks: list[tuple[int, int, int]] = []
        """(sequence, the one that it says it follows, the one that is there before it)."""

    def add(self, sequence: int, batch: Batch, first: int) -> None:
        before, previous = self.sequences[-1] if self.sequences else 0, batch.previous
        # After a long silence a site begins anew (`Backlog.previous`); moments are those of half hours.
        anew = previous == 0 and self._received < keys.forgotten_before(batch.received_ms + SLOT_MS)
        # What came before the oldest record that is kept was applied and dropped.
        if previous != before and (before or previous >= first) and not anew:
            self.breaks.append((sequence, previous, before))
        self.sequences.append(sequence)
        self._received = batch.received_ms


async def check_journals(
    store: Inspector, root: Path, writers: dict[str, set[str]], look: Look, now_ms: int, only: str = ""
) -> set[str]:
    """Read all journals and compare; `writers` are those whose watermarks the store has, by site. Return the sites that
    were found in the journals. Raises StoreUnavailable."""
    sites: set[str] = set()
    ours: set[str] = set()
    for slot in slots_of(root):
        trails: dict[str, _Trail] = {}
        for sequence, batch in slot.batches(keys.forgotten_before(now_ms)):
            if not only or batch.site == only:
                trails.setdefault(batch.site, _Trail()).add(sequence, batch, slot.first)
        ours.add(slot.writer)
        sites |= trails.keys()
        look.records += slot.records
        place = f"journal slot {slot.number:02d}"
        for damage in slot.damage:
            look.wrong("", "journal", place, damage, damage)
        for wrong in slot.outcomes:
            look.doubt("outcomes", place, wrong)
        if not slot.held:
            look.notes += [f"{place}: {torn} (what a crash leaves; it was not acknowledged)" for torn in slot.torn]
        for site in sorted(trails.keys() | {site for site, known in writers.items() if slot.writer in known}):
            await _compare(store, slot, place, site, trails.get(site, _Trail()), look)
    for site, known in sorted(writers.items()):
        for writer in sorted(known - ours):
            audience, articles = await store.watermarks(site, writer)
            _agree(site, writer, audience, articles, look)
            look.notes.append(
                f"site {site}: writer {writer[:8]} (up to {audience}) has no journal in this data folder: another "
                "machine's, or removed"
            )
    return sites


async def _compare(store: Inspector, slot: Slot, place: str, site: str, trail: _Trail, look: Look) -> None:
    for sequence, previous, before in trail.breaks:
        look.wrong(
            site, "chain", place,
            f"record {sequence} follows record {previous}, but {before or 'nothing'} is before it",
            sequence,
        )  # fmt: skip
    audience, articles = await store.watermarks(site, slot.writer)
    newest = trail.sequences[-1] if trail.sequences else 0
    mark = slot.reached(site, min(audience, articles))
    waiting = [sequence for sequence in trail.sequences if sequence > mark]
    if waiting:
        named = ", ".join(map(str, waiting[:LISTED])) + (", …" if len(waiting) > LISTED else "")
        how = "its worker applies them" if slot.held else "start the service, or run: visitstats journal replay"
        look.wrong(
            site, "unapplied", place,
            f"{len(waiting)} records are not in the store ({named}): the journal goes up to {newest}, the audience "
            f"ledger to {audience}, the articles ledger to {articles}; {how}",
            mark,
        )  # fmt: skip
    else:
        _agree(site, slot.writer, audience, articles, look)
    if max(audience, articles) > newest and max(audience, articles) >= slot.first > 0:
        look.wrong(
            site, "ahead", place,
            f"the store has batches up to {max(audience, articles)}, the journal up to {newest}: it has lost its end, "
            "or is an old copy",
            (newest, audience, articles),
        )  # fmt: skip


def _agree(site: str, writer: str, audience: int, articles: int, look: Look) -> None:
    if audience != articles:
        look.wrong(
            site, "ledgers", f"writer {writer[:8]}",
            f"the audience ledger goes up to {audience}, the articles ledger to {articles}",
            (audience, articles),
        )  # fmt: skip
