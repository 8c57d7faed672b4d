"""Moves the numbers of one site into another: exports them into a file, checks it, and imports it as one change."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from visitstats.changes.recording import ChangeRefused, Order
from visitstats.cli.change_session import Bench
from visitstats.cli.imports import progress_bar
from visitstats.cli.session import scribe
from visitstats.core.errors import ChangePending, InvalidSite
from visitstats.core.keys import KeyRules
from visitstats.core.sites import Site
from visitstats.imports import report
from visitstats.imports.export import Export
from visitstats.imports.options import Options, Strategy
from visitstats.imports.plan import Plan, plan_of
from visitstats.imports.readers.visitstats import KIND
from visitstats.imports.reading import draft_of
from visitstats.settings import Settings
from visitstats.store.change_records import Logged
from visitstats.store.fitness import Parts
from visitstats.store.import_records import Imported
from visitstats.store.site_counts import SiteCounts
from visitstats.system.clock import wall_clock
from visitstats.system.patterns import linear_pattern
from visitstats.trust.survey import survey

SETTLED_SECONDS = 1.5
"""How long to wait after a site is archived: workers see it within a second, and hits that they took before count."""
MOST_LOOKS = 40


class Exported(NamedTuple):
    """The numbers of a site in a file."""

    path: Path
    visits: int
    views: int


@contextmanager
def room() -> Iterator[Path]:
    """A folder for as long as the block takes."""
    with tempfile.TemporaryDirectory(prefix="visitstats-site-") as folder:
        yield Path(folder)


async def export_to(
    parts: Parts, site: Site, folder: Path, write: Callable[[bytes], object], *, quiet: bool = False
) -> Export:
    """Write a site's file, with a progress bar."""
    with progress_bar("exporting", quiet=quiet) as (progress, task):
        made = Export(
            parts, site, folder / "export.sqlite", write,
            lambda done, whole: progress.update(task, completed=done, total=whole),
        )  # fmt: skip
        await made.write(wall_clock())
    return made


async def exported(parts: Parts, site: Site, folder: Path) -> Exported:
    """Write a site's file into a folder, under the name by which an import of it is known."""
    path = folder / name_of(site.id)
    with path.open("wb") as file:
        made = await export_to(parts, site, folder, file.write)
    return Exported(path, made.sums.sums["visits"], made.sums.sums["views"])


def name_of(site_id: str) -> str:
    """The name of an import of a site's numbers in the list of changes."""
    return f"site {site_id}"


class Move:
    """An import of a site's file into a site that need not be there yet."""

    def __init__(self, parts: Parts, settings: Settings, site: Site, folder: Path) -> None:
        self._parts = parts
        self._settings = settings
        self.site = site
        self._folder = folder

    @asynccontextmanager
    async def planned(self, path: Path, strategy: Strategy) -> AsyncIterator[Plan]:
        """Read a file and compare it with what the site has. Raises ImportRefused."""
        bench = Bench(self._parts, self.site, None, None)
        rules = KeyRules(self.site, linear_pattern, await bench.changes.aliases(self.site.id))
        with progress_bar("reading") as (progress, task):
            draft = draft_of(
                [path], self._folder / "draft.sqlite", self.site, rules, Options(kind=KIND, strategy=strategy),
                progress=lambda n: progress.update(task, completed=n),
            )  # fmt: skip
        try:
            yield await plan_of(draft, bench.changes, bench.desk.imports, bench.imports)
        finally:
            draft.close()

    async def made_before(self, plan: Plan) -> tuple[Logged, Imported] | None:
        """Return the import in force of the same numbers."""
        return await Bench(self._parts, self.site, None, None).desk.imports.made_with(plan.draft.hash)

    async def made_of(self, site_id: str) -> str:
        """Return the id of the import in force of a site's numbers, even if they have changed since; "" for none."""
        found = await Bench(self._parts, self.site, None, None).desk.imports.in_force()
        return next((name for name, what in found.items() if what.files == (name_of(site_id),)), "")

    async def make(self, plan: Plan, order: Order) -> Logged:
        """Import it. Raises ChangeRefused, ChangePending, JournalFull and Overloaded."""
        what = plan.imported()
        async with scribe(self._settings, self._parts) as recorder:
            bench = Bench(self._parts, self.site, recorder, None)
            with progress_bar("writing") as (progress, task):
                progress.update(task, total=2 * len(what.places))
                return await bench.desk.imports.make(
                    what, plan.parts(), order, progress=lambda n: progress.update(task, completed=n)
                )

    async def make_new(self, path: Path, order: Order) -> Logged:
        """Make the site, and import a file into it; if that fails, the site is removed again. What was killed on the
        way is taken up: a site with these settings of which nothing is counted, or an import of this file that was
        begun. Raises InvalidSite for an id that is in use, or that counts are kept of, and ImportRefused."""
        records, site = self._parts.records, self.site
        is_there = (await records.sites()).get(site.id) == site
        if is_there:
            await self.catch_up()
        else:
            await check_free(self._parts, site.id)
        async with self.planned(path, "replace") as plan:
            if is_there:
                if (before := await self.made_before(plan)) is not None:
                    await self.go_on(before[0].id)
                    return before[0]
                if await records.removals.has_counts(site.id):
                    await check_free(self._parts, site.id)
            await records.put_site(site)
            try:
                return await self.make(plan, order)
            except ChangePending:
                raise  # the import is written down, and will be made
            except BaseException:
                await records.discard_site(site.id, wall_clock())
                raise

    async def catch_up(self) -> None:
        """Have applied what a killed command has left in the journal: it may be an import that was begun."""
        async with scribe(self._settings, self._parts):
            pass

    async def go_on(self, change_id: str) -> None:
        """Finish an import that was cut off. Raises as `make` does."""
        async with scribe(self._settings, self._parts) as recorder:
            await Bench(self._parts, self.site, recorder, None).desk.imports.finish(change_id)


async def check_free(parts: Parts, site_id: str) -> None:
    """Refuse (InvalidSite) an id that a site has, or had."""
    if site_id in await parts.records.sites():
        raise InvalidSite(
            f"there is a site {site_id!r} already; choose another id, or bring numbers into it: visitstats import "
            f"{site_id} FILE"
        )
    removed = (await parts.records.removals.all()).get(site_id)
    if await parts.records.removals.has_counts(site_id) or (removed and not removed.deleted_ms):
        raise InvalidSite(
            f"there are counts of a site {site_id!r} that was removed: choose another id, or bring it back "
            f"(visitstats site restore {site_id})"
        )


async def archive(parts: Parts, site: Site, journal: Path) -> Site:
    """Stop counting for a site, and wait until all hits that were taken are counted: those in the journal of this
    machine, and those that other machines still add to its totals. Returns the archived site. Raises ChangeRefused when
    that takes longer than a minute."""
    archived = msgspec.structs.replace(site, archived=True)
    if not site.archived:
        await parts.records.put_site(archived)
    counts = SiteCounts(parts.client)
    before = (await counts.periods(site.id))[""]
    for _ in range(MOST_LOOKS):
        await asyncio.sleep(SETTLED_SECONDS)
        slots = await survey(journal, parts.reads)
        after = (await counts.periods(site.id))[""]
        if after == before and not any((slot.waiting or {}).get(site.id) for slot in slots):
            return archived
        before = after
    raise ChangeRefused(
        f"site {site.id} is archived, and not all that was taken for it is counted (visitstats journal status): is a "
        "clock wrong, or a service cut off?"
    )


def show(plan: Plan) -> None:
    """Say what an import would change."""
    grid = Table.grid(padding=(0, 2))
    for word, text in report.summary(plan):
        grid.add_row(word, escape(text))
    console = Console()
    console.print(grid)
    for text in plan.draft.warnings:
        console.print(f"• {escape(text)}", highlight=False)
