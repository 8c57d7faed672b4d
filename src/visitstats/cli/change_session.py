"""The common part of all commands that change something."""

import getpass
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from visitstats.changes.desk import ChangeDesk
from visitstats.changes.recording import Order
from visitstats.changes.scribe import Recorder
from visitstats.cli.session import dots, find_site, scribe, settings_of, with_parts
from visitstats.core.keys import KeyRules
from visitstats.core.periods import Calendar
from visitstats.core.sites import Site
from visitstats.reading.closings import ClosedMonths
from visitstats.reading.desk_process import made_of
from visitstats.reading.index import open_index
from visitstats.reading.query import Articles
from visitstats.store.change_records import Amount, Change, Logged
from visitstats.store.closings import Closings
from visitstats.store.fitness import Parts
from visitstats.store.import_records import Imports
from visitstats.store.tiles import Tiles
from visitstats.system.clock import wall_clock
from visitstats.system.patterns import linear_pattern

T = TypeVar("T")

SiteArgument = Annotated[str, typer.Argument(metavar="SITE")]
WhoOption = Annotated[
    str | None, typer.Option("--who", help="Who makes the change.", show_default="the user of this machine")
]
WhyOption = Annotated[str, typer.Option("--why", help="The reason, for the list of changes.", show_default=False)]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Say what would change, and change nothing.")]


class Bench:
    """The parts that a command uses: a site, its changes, its closed months, its lists."""

    def __init__(self, parts: Parts, site: Site, recorder: Recorder | None, articles: Articles | None) -> None:
        self.site = site
        self.calendar = Calendar(site.timezone, site.week_start)
        self.reads = parts.reads
        self.records = parts.records
        self.changes = parts.records.changes
        self.imports = Imports(parts.client)
        closings = Closings(parts.client)
        self.closed = ClosedMonths(closings, self.changes, Tiles(parts.client))
        self._articles = articles
        rules = KeyRules(site, linear_pattern)
        self.desk = ChangeDesk(
            self.changes, self.imports, closings, recorder, site, rules, self.calendar, self.closed.day_views,
            wall_clock,
        )  # fmt: skip

    @property
    def articles(self) -> Articles:
        """The lists of articles."""
        assert self._articles is not None  # noqa: S101 - a command that reads lists opens them
        return self._articles


class Session:
    """Runs commands on a site of the store that the options name."""

    def __init__(self, config: Path | None, data_dir: Path | None, redis_url: str | None, site: str) -> None:
        self._settings = settings_of(config, data_dir=data_dir, redis_url=redis_url)
        self._site = site

    def run(self, work: Callable[[Bench], Awaitable[T]], *, changes: bool = False, lists: bool = False) -> T:
        """Do some work on the site. `changes`: the work also writes. `lists`: it also reads lists of articles."""

        async def on(parts: Parts) -> T:
            site = await find_site(parts.records, self._site)
            if not lists:
                return await recording(parts, site, None)
            with open_index(self._settings.data_dir) as index:
                return await recording(parts, site, made_of(parts.client, index, wall_clock))

        async def recording(parts: Parts, site: Site, articles: Articles | None) -> T:
            if not changes:
                return await work(Bench(parts, site, None, articles))
            async with scribe(self._settings, parts) as recorder:
                return await work(Bench(parts, site, recorder, articles))

        return with_parts(self._settings, on)


def ordered(who: str | None, why: str) -> Order:
    """Return the order of a change: who makes it, and why."""
    return Order(who or _user(), why)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return f"uid {os.getuid()}"


def how_to_undo(site_id: str, made: Logged) -> None:
    """Print how a change is taken back."""
    print(f"Change {made.id}; to take it back: visitstats undo {site_id} {made.id}")


def told(change: Change) -> list[str]:
    """Return lines that say what a change adds, takes away or renames."""
    lines = [line for each in change.said for line in _amount(change, each)]
    if change.note and len(change.place) == len("2026-11-24"):
        lines.append(f"{change.note[:7]} is closed: what was meant for {change.note} is booked on {change.place}.")
    lines += [f"{each.name}: {each.before or '—'} → {each.after or '—'}" for each in change.facts]
    lines += settings_told(change)
    return lines


def settings_told(change: Change) -> list[str]:
    """Return lines that say which settings of the site were changed."""
    return [f"{each.name}: {each.before or '—'} → {each.after or '—'}" for each in change.settings]


def _amount(change: Change, amount: Amount) -> list[str]:
    what = amount.key or "the site"
    lines = []
    if amount.day >= 0:
        lines.append(f"{what}, {amount.kind} on {change.place}: {steps(amount.day, amount.by)}")
    lines.append(f"{what}, {amount.kind} of all time: {steps(amount.total, amount.by)}")
    return lines


def steps(before: int, by: int) -> str:
    """Write a number before and after a change: 1.524.318 → 206.114."""
    return f"{dots(before)} → {dots(before + by)}"
