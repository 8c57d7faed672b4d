"""Imports: the numbers of an older counter are added as one change of many records, and can be undone as a whole.

The parts are put into the store first, where they have no effect. One record in the journal then commits the change:
from then on it is certain to be made as a whole. Then each part is made (`lua/import.lua`). The command, a task of the
service, or the next start makes the parts that are still missing. An undo works in the same way.
"""

from collections.abc import AsyncIterator, Callable, Iterable
from typing import NamedTuple

import msgspec

from visitstats.changes.recording import ChangeRefused, Order, Pending, Recording, refusal
from visitstats.core.batch import ChangeRecord
from visitstats.core.errors import ChangePending
from visitstats.core.keys import article_id
from visitstats.store.change_records import Amount, Kind, Logged, beginning, making, staging
from visitstats.store.closings import Closings
from visitstats.store.commit import Changed
from visitstats.store.import_records import Imported, Imports, PartAmounts, encode_imported, encode_part

PAGE = 1000


class NewPart(NamedTuple):
    """Amounts at one place (a date, a month, a year, "" for no time): those of the site alone, and those of up to a few
    hundred articles, each with its key, amount and dictionary entry (may be empty)."""

    place: str
    visits: int
    views: int
    articles: list[tuple[str, int, bytes]]


class Done(NamedTuple):
    """An import that was made."""

    logged: Logged
    what: Imported


class Importing:
    """Makes the imports of one site. Every method may raise StoreUnavailable."""

    def __init__(self, recording: Recording, imports: Imports, closings: Closings) -> None:
        self._recording = recording
        self._changes = recording.changes
        self._site = recording.site
        self._imports = imports
        self._closings = closings

    # Queries ---------------------------------------------------------------------------------------------------------

    async def in_force(self) -> dict[str, Imported]:
        """Return the imports that were not undone, by id, in the order in which they were made."""
        found = await self._imports.all(self._site)
        undone = await self._imports.undone(self._site, list(found))
        logged = await self._changes.logged(self._site, [name for name in found if name not in undone])
        order = {each.id: each.change.number for each in logged if each is not None}
        return {name: found[name] for name in sorted(order, key=order.__getitem__)}

    async def made_with(self, digest: str) -> Done | None:
        """Return the import in force that had the same content and options."""
        for name, what in (await self.in_force()).items():
            if what.hash == digest and (logged := await self._changes.one(self._site, name)) is not None:
                return Done(logged, what)
        return None

    async def unfinished(self) -> list[str]:
        """Return the ids of imports with parts that still have to be made or undone."""
        everything = await self._imports.all(self._site)
        undone = await self._imports.undone(self._site, list(everything))
        found = []
        for name, what in everything.items():
            state = await self._imports.state(self._site, name)
            done = state.back if name in undone else state.made
            if not done >= set(range(1, len(what.places) + 1)):
                found.append(name)
        return found

    # Making ----------------------------------------------------------------------------------------------------------

    async def check(self, places: Iterable[str]) -> None:
        """Raise ChangeRefused when a month that an import changes is closed."""
        closed = await self._closings.months(self._site)
        if wrong := sorted({place[:7] for place in places if len(place) >= 7 and place[:7] in closed}):
            raise ChangeRefused(
                f"{', '.join(wrong[:5])} is closed: open it first (visitstats reopen {self._site} {wrong[0]})"
            )

    async def make(
        self,
        what: Imported,
        parts: Iterable[NewPart],
        order: Order,
        kind: Kind = "import",
        progress: Callable[[int], None] = lambda n: None,
    ) -> Logged:
        """Make an import; `what.places` are the places of its parts. `progress` is called with the number of records
        written so far; there are two for each part. Raises ChangeRefused before anything has changed, Pending,
        JournalFull and Overloaded."""
        change_id, change = self._recording.begin(kind, order)
        if pending := await self.unfinished():
            raise ChangeRefused(f"import {pending[0]} is not finished yet; the service goes on with it within a minute")
        await self.check(what.places)
        seen = await self._imports.many(self._site)
        said = []
        for name, by in (("visits", what.visits), ("views", what.views)):
            total = sum(await self._changes.totals(self._site, name))
            said.append(Amount("", name, by, -1, total))
            if total + by < 0:
                raise ChangeRefused(f"the site's {name} of all time are {total}: {by:+} would bring them below zero")
        number = 0
        for number, part in enumerate(parts, 1):
            data = encode_part(part.visits, part.views, ((key, n) for key, n, _ in part.articles))
            entries = [entry for _, _, entry in part.articles] if not part.place else []
            await self._recording.apply(staging(self._site, change_id, number, data, entries))
            progress(number)
        change = msgspec.structs.replace(change, said=tuple(said), note=what.hash[:16])
        logged = Logged(change_id, change)
        made = await self._begin(logged, beginning(self._site, change_id, change, seen, number, encode_imported(what)))
        await self._finish(made, what.places, back=False, progress=lambda n: progress(number + n))
        return made

    async def undo(self, made: Logged, order: Order) -> Logged:
        """Undo an import. Raises ChangeRefused when a count would be below zero, or a month is closed."""
        own_id, change = self._recording.begin("undo", order)
        what = (await self._imports.all(self._site))[made.id]
        await self.check_undo(made)
        said = []
        for each in made.change.said:
            total = sum(await self._changes.totals(self._site, each.kind))
            said.append(Amount("", each.kind, -each.by, -1, total))
        change = msgspec.structs.replace(change, undoes=made.id, said=tuple(said), note=made.change.note)
        record = beginning(self._site, own_id, change, 0, len(what.places), b"")
        logged = await self._begin(Logged(own_id, change), record)
        await self._finish(made, what.places, back=True)
        return logged

    async def check_undo(self, made: Logged) -> None:
        """Raise ChangeRefused when an import cannot be undone now."""
        what = (await self._imports.all(self._site)).get(made.id)
        if what is None:
            raise ChangeRefused(f"the record of import {made.id} is lost; visitstats verify says more")
        if made.id in await self.unfinished():
            await self.finish(made.id)
        await self.check(what.places)
        for each in made.change.said:
            total = sum(await self._changes.totals(self._site, each.kind))
            if total - each.by < 0:
                raise ChangeRefused(
                    f"the site's {each.kind} of all time are {total}: {-each.by:+} would bring them below zero; "
                    + await self._in_the_way(made)
                )
        first_hint = await self._in_the_way(made)
        await self._check_articles(made, what, first_hint)

    async def _check_articles(self, made: Logged, what: Imported, first_hint: str) -> None:
        """Raise ChangeRefused when the undo would leave an article below zero."""
        aliases = await self._changes.aliases(self._site)
        short: dict[bytes, int] = {}
        """Id → views of articles that have fewer views than one part has added."""
        async for part in self._parts_of(made, what):
            ends = [article_id(aliases[article]) if article in aliases else article for article, _ in part.articles]
            views = await self._changes.views_of(self._site, ends)
            for (article, n), has in zip(part.articles, views, strict=True):
                if n > 0 and (has or 0) - n < 0:
                    short[article] = has or 0
        if not short:
            return
        brought = dict.fromkeys(short, 0)
        async for part in self._parts_of(made, what):
            for article, n in part.articles:
                if article in brought:
                    brought[article] += n  # another part may have subtracted views
        for article, has in short.items():
            if has < brought[article]:
                raise ChangeRefused(
                    f"article {article.hex()} has {has} views, fewer than the {brought[article]} that were imported; "
                    + first_hint
                )

    async def _parts_of(self, made: Logged, what: Imported) -> AsyncIterator[PartAmounts]:
        for first in range(1, len(what.places) + 1, 50):
            numbers = list(range(first, min(first + 50, len(what.places) + 1)))
            for part in await self._imports.parts(self._site, made.id, numbers):
                if part is None:
                    raise ChangeRefused(f"a part of import {made.id} is lost; visitstats verify says more")
                yield part

    async def _in_the_way(self, made: Logged) -> str:
        """Name the change that has to be undone before an import: a later import that has replaced a number by a
        smaller one, or any other change that has lowered a number."""
        names = list(await self.in_force())
        later = names[names.index(made.id) + 1 :] if made.id in names else []
        return f"undo import {later[-1]} first" if later else "undo first what took them away"

    async def finish(self, import_id: str) -> bool:
        """Complete an interrupted import or undo. Return whether there was anything to do. Raises Pending,
        JournalFull and Overloaded."""
        what = (await self._imports.all(self._site)).get(import_id)
        logged = await self._changes.one(self._site, import_id)
        if what is None or logged is None or import_id not in await self.unfinished():
            return False
        await self._finish(logged, what.places, back=bool(logged.undone))
        return True

    async def finish_all(self) -> None:
        """Complete all interrupted imports and undos. Raises the same errors as `finish`."""
        for name in await self.unfinished():
            await self.finish(name)

    # Implementation --------------------------------------------------------------------------------------------------

    async def _begin(self, logged: Logged, record: ChangeRecord) -> Logged:
        try:
            made = await self._recording.make(logged, record)
        except Pending:
            return logged  # the record is in the journal, so the parts will be made after it
        if isinstance(made, Changed):
            raise refusal(
                made,
                {
                    "moved": "somebody else has imported something just now; look again",
                    "lacking": "a part of it did not come into the store; try again",
                    "undone": "it is undone already",
                }.get(made.reason, f"it cannot be made ({made.reason})"),
            )
        return made

    async def _finish(
        self, logged: Logged, places: tuple[str, ...], *, back: bool, progress: Callable[[int], None] = lambda n: None
    ) -> None:
        state = await self._imports.state(self._site, logged.id)
        done = state.back if back else state.made
        waits = False
        for number, place in enumerate(places, 1):
            if number not in done:
                made = await self._recording.apply(making(self._site, logged.id, number, place, back=back))
                waits = waits or made is None
                if made is not None and made.word == "refused":
                    raise ChangeRefused(f"part {number} of import {logged.id} is lost; visitstats verify says more")
            progress(number)
        if waits:
            raise ChangePending(
                f"change {logged.id} is written down, and is made when the store takes it; "
                "look at visitstats audit then"
            )
