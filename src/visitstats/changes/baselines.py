"""Baselines: the counts that an older counter brought along (rule 7)."""

from visitstats.changes.scribe import Recorder
from visitstats.core.counting import Clock
from visitstats.core.entries import Entry
from visitstats.core.entries import encode as encode_entry
from visitstats.core.errors import BaselineRefused, StoreUnavailable
from visitstats.core.keys import article_id
from visitstats.store.changes import PAGE, Changes, Logged, setting_baselines


class Baselines:
    """Sets the baselines of one site. `clock` gives the moment in milliseconds."""

    def __init__(self, changes: Changes, recorder: Recorder, site: str, clock: Clock) -> None:
        self._changes = changes
        self._recorder = recorder
        self._site = site
        self._clock = clock

    async def set(self, total: int | None, articles: dict[Entry, int]) -> None:
        """Set the site's total (None: leave it) and what articles have. Repeatable.

        Of entries with the same key the last counts. That of an alias is added to that of the article for which it
        stands: the same list may be set again after a merge, and nothing of it is lost. Raises BaselineRefused, before
        anything is set, when an article would have less than undoing its merges gives back; StoreUnavailable;
        JournalFull.
        """
        wanted = {entry.key: (entry, n) for entry, n in articles.items()}
        done = False
        while not done:
            done = await self._set(total, wanted)

    async def _set(self, total: int | None, wanted: dict[str, tuple[Entry, int]]) -> bool:
        # Only ever added to: as many are the same changes.
        many = await self._changes.many(self._site)
        items = await self._resolved(wanted)
        pieces = [items[start : start + PAGE] for start in range(0, len(items), PAGE)] or [[]]
        for number, piece in enumerate(pieces):
            last = number == len(pieces) - 1
            record = setting_baselines(self._site, self._clock(), many, total if last else None, piece)
            made = await self._recorder.change(record)
            if made is None:
                raise StoreUnavailable("the baselines are journalled; they are set when the store is back")
            if made.word == "refused":
                return False  # somebody merged articles at the same moment: look again
        return True

    async def _resolved(self, wanted: dict[str, tuple[Entry, int]]) -> list[tuple[bytes, int, bytes]]:
        """Return articles (ids) with their baselines and dictionary entries, aliases added to what they stand for."""
        aliases = await self._changes.aliases(self._site)
        found: dict[str, tuple[int, bytes]] = {}
        for key, (entry, n) in wanted.items():
            end = aliases.get(article_id(key), key)
            before, named = found.get(end, (0, b""))
            # The old address's title is not the article's.
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
    """The baselines that the merges into each article have moved there, and that an undo takes away again."""
    found: dict[str, int] = {}
    for each in changes:
        if each.change.kind != "undo" and not each.undone and each.change.bases[0] > 0:
            found[each.change.target] = found.get(each.change.target, 0) + each.change.bases[0]
    return found
