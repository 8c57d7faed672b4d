"""Baselines: the counts that an older counter brought along (rule 7)."""

from visitstats.changes.scribe import Recorder
from visitstats.core.entries import Entry
from visitstats.core.entries import encode as encode_entry
from visitstats.core.errors import BaselineRefused, ChangePending
from visitstats.core.keys import article_id
from visitstats.store.change_records import Logged, setting_baselines
from visitstats.store.changes import PAGE, Changes


class Baselines:
    """Sets the baselines of one site."""

    def __init__(self, changes: Changes, recorder: Recorder, site: str) -> None:
        self._changes = changes
        self._recorder = recorder
        self._site = site

    async def set(self, total: int | None, articles: dict[Entry, int]) -> None:
        """Set the baselines of the site's total (None: leave it) and of articles. Repeatable.

        Of entries with the same key, the last one counts. The baseline of an alias is added to the one of its article,
        so that the same list may be set again after a merge without loss. Raises BaselineRefused, before anything is
        set, when an article would have less than its merges give back when they are undone; ChangePending when all of
        it is journalled, and not in the store yet; StoreUnavailable; JournalFull; Overloaded.
        """
        wanted = {entry.key: (entry, n) for entry, n in articles.items()}
        done = False
        while not done:
            done = await self._set(total, wanted)

    async def _set(self, total: int | None, wanted: dict[str, tuple[Entry, int]]) -> bool:
        # Changes are never removed: as long as their number is the same, they are the same.
        many = await self._changes.many(self._site)
        if total is not None:
            counted, _ = await self._changes.totals(self._site, "visits")
            if counted + total < 0:
                raise BaselineRefused(
                    f"{-counted} visits were taken from the total, more than a baseline of {total}; undo that first "
                    f"(visitstats audit {self._site} --kind reset)"
                )
        items = await self._resolved(wanted)
        pieces = [items[start : start + PAGE] for start in range(0, len(items), PAGE)] or [[]]
        pending = False
        for number, piece in enumerate(pieces):
            last = number == len(pieces) - 1
            made = await self._recorder.change(setting_baselines(self._site, many, total if last else None, piece))
            if made is None:
                pending = True  # journal the rest as well: this command will have ended before the store is back
            elif made.reason == "short":
                raise BaselineRefused(
                    f"the baseline would bring the {made.detail} below zero; undo what takes away first"
                )
            elif made.word == "refused":
                return False  # articles were merged at the same moment: look again
        if pending:
            raise ChangePending("the baselines are written down, and are set when the store takes them")
        return True

    async def _resolved(self, wanted: dict[str, tuple[Entry, int]]) -> list[tuple[bytes, int, bytes]]:
        """Return articles (ids) with their baselines and dictionary entries, aliases added to what they stand for."""
        aliases = await self._changes.aliases(self._site)
        found: dict[str, tuple[int, bytes]] = {}
        for key, (entry, n) in wanted.items():
            end = aliases.get(article_id(key), key)
            before, named = found.get(end, (0, b""))
            # The title of an alias is not the title of the article.
            found[end] = (before + n, encode_entry(entry) if key == end else named)
        if aliases:
            for key, least in _kept_for_undo(await self._changes.all(self._site)).items():
                if key in found and found[key][0] < least:
                    raise BaselineRefused(
                        f"{key} cannot have a baseline of {found[key][0]}: undoing what was merged into it gives back "
                        f"{least}; undo that first (visitstats audit {self._site})"
                    )
        return [(article_id(key), n, entry) for key, (n, entry) in found.items()]


def _kept_for_undo(changes: list[Logged]) -> dict[str, int]:
    """Return by article the baselines that merges have moved to it: an undo of a merge takes them away again."""
    found: dict[str, int] = {}
    for each in changes:
        if each.change.kind in ("merge", "alias") and not each.undone and each.change.bases[0] > 0:
            found[each.change.target] = found.get(each.change.target, 0) + each.change.bases[0]
    return found
