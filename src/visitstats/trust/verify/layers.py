"""Do the corrections, facts and closed months in the store agree with the records of changes?

the sums of the layer of corrections = the amounts of all changes that are in force, by day, month, year and of all time
the amounts of each article = those of the changes that are in force, with what was merged into it
every change is in the order of changes, once, and nothing else is
every closed month was closed by a change that is on record; what was frozen of it has the SHA-256 of that record
"""

from collections import Counter
from collections.abc import Mapping

import msgspec

from visitstats.core.closing import ClosingDamaged, decode_closing
from visitstats.core.periods import ALL_TIME
from visitstats.store import keys
from visitstats.store.changes import ID
from visitstats.store.inspect import KINDS_OF_AMOUNTS, Inspector, number
from visitstats.store.keys import Named
from visitstats.trust.verify.contents import shown
from visitstats.trust.verify.findings import Look
from visitstats.trust.verify.merged import Merged


class Layers:
    """The check of one site. `found` are its keys that passed their own check, `broken` the names of the others.
    `merged` has been read before."""

    def __init__(
        self, store: Inspector, site: str, found: Mapping[str, Named], broken: set[str], merged: Merged, look: Look
    ) -> None:
        self._store = store
        self._site = site
        self._months = sorted(named.words[1] for named in found.values() if named.kind.word == "layer of days")
        self._broken = broken
        self._merged = merged
        self._look = look

    async def check(self) -> None:
        """Check everything. Raises StoreUnavailable."""
        if keys.changes(self._site) in self._broken:
            return
        if self._merged.whole:
            if not any(":layer:" in name for name in self._broken):
                await self._sums()
            if keys.amounts(self._site) not in self._broken:
                await self._articles()
            if keys.order_of_changes(self._site) not in self._broken:
                await self._order()
        if keys.closed(self._site) not in self._broken:
            await self._closings()

    def _wrong(self, check: str, subject: str, detail: str, unmoved: object = "") -> None:
        self._look.wrong(self._site, check, subject, detail, unmoved)

    async def _sums(self) -> None:
        expected: dict[str, Counter[str]] = {kind: Counter() for kind in KINDS_OF_AMOUNTS}
        months = set(self._months)
        for change in self._merged.in_force().values():
            place = change.place
            for each in change.said:
                months |= {place[:7]} if len(place) >= len("2026-11") else set()
                for when in {place, place[:7], place[:4], ALL_TIME} - {""}:
                    expected[each.kind][when] += each.by
                    expected["articles"][when] += each.by if each.key else 0
        await self._compare(keys.CORRECTIONS, "corrected", sorted(months), expected)
        imported = self._merged.imported
        months = {*self._months, *(when for when in imported["visits"] | imported["views"] if len(when) == 7)}
        await self._compare(keys.IMPORTS, "imported", sorted(months), imported)

    async def _compare(self, layer: str, word: str, months: list[str], expected: Mapping[str, Counter[str]]) -> None:
        found = await self._store.layered(self._site, layer, months)
        for kind, sums in found.items():
            for when in sorted({*sums, *expected[kind]}):
                has, want = number(sums.get(when)), expected[kind][when]
                if has != want:
                    name, field = keys.count_at(self._site, kind, when, layer)
                    self._wrong(
                        "layer", name, f"{has} {kind} of {when} were {word}, by the changes on record {want}", field
                    )

    async def _articles(self) -> None:
        name, expected = keys.amounts(self._site), self._merged.within
        found: dict[bytes, int] = {}
        async for page in self._store.fields(name):
            found |= {article: number(value) for article, value in page.items()}
        for article in {*found, *expected}:
            if found.get(article, 0) != expected[article]:
                self._wrong(
                    "layer", name,
                    f"{found.get(article, 0)} views of article {article.hex()} were corrected, by the changes on "
                    f"record {expected[article]}",
                    article.hex(),
                )  # fmt: skip

    async def _order(self) -> None:
        name = keys.order_of_changes(self._site)
        length, data = await self._store.text(name, ID * (len(self._merged.changes) + 1000))
        ids = Counter(data[n : n + ID].decode("utf-8", "backslashreplace") for n in range(0, len(data) - ID + 1, ID))
        if not length:
            return  # all changes are older than the order, which the next change makes
        for change_id in sorted(self._merged.changes.keys() | ids.keys()):
            if ids[change_id] != 1 or change_id not in self._merged.changes:
                times = f"{ids[change_id]} times in the order of changes"
                there = "" if change_id in self._merged.changes else ", and has no record"
                self._wrong("change", name, f"change {change_id[:80]} is {times}{there}", change_id)

    async def _closings(self) -> None:
        name = keys.closed(self._site)
        async for page in self._store.fields(name):
            for raw, value in page.items():
                month = shown(raw)
                try:
                    closing = decode_closing(value)
                except msgspec.DecodeError:
                    continue  # `contents` has reported it
                made = self._merged.changes.get(closing.id)
                if self._merged.whole and (made is None or made.kind != "close" or made.note != closing.sha256):
                    self._wrong("closed", name, f"no change on record has closed {month} as it is closed", month)
                if keys.frozen(self._site, month) in self._broken:
                    continue
                try:
                    await self._store.closings.text(self._site, closing)
                except ClosingDamaged as error:
                    self._wrong("closed", keys.frozen(self._site, month), str(error), month)
