"""visitstats merge, alias, undo, audit: what people change by hand, and how it is taken back."""

import getpass
import os
from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from visitstats.changes.merges import MergeRefused, Merges, Sides
from visitstats.cli.session import (
    ConfigOption,
    DataDirOption,
    RedisOption,
    dots,
    find_site,
    scribe,
    settings_of,
    with_parts,
)
from visitstats.core.keys import KeyRules
from visitstats.core.periods import Calendar
from visitstats.core.sites import Site
from visitstats.patterns import linear_pattern
from visitstats.store.changes import Kind, Logged
from visitstats.store.fitness import Parts
from visitstats.worker import wall_clock

T = TypeVar("T")

SiteArgument = Annotated[str, typer.Argument(metavar="SITE")]
FromArgument = Annotated[str, typer.Argument(metavar="FROM", help="Key or address that is to stand for another.")]
IntoArgument = Annotated[str, typer.Argument(metavar="INTO", help="Key or address of the article that stays.")]
WhoOption = Annotated[
    str | None, typer.Option("--who", help="Who makes the change.", show_default="the user of this machine")
]
WhyOption = Annotated[str, typer.Option("--why", help="The reason, for the list of changes.", show_default=False)]


def merge(
    site_id: SiteArgument,
    source: FromArgument,
    target: IntoArgument,
    who: WhoOption = None,
    why: WhyOption = "",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    redis_url: RedisOption = None,
) -> None:
    """Add an article's counts to another's, and count its address for that one from now on."""

    async def look(site: Site, merges: Merges) -> Sides:
        return await merges.sides(source, target)

    async def make(site: Site, merges: Merges) -> Logged:
        return await merges.merge(source, target, who or _user(), why)

    if not yes:
        sides = _on_site(site_id, look, config, data_dir, redis_url)
        print(f"{sides.source} has {dots(sides.source_views)} views, {sides.target} has {dots(sides.target_views)}.")
        if typer.prompt("Type the first key again to add them up").strip() != sides.source:
            raise MergeRefused("that is another key; nothing was changed")
    made = _on_site(site_id, make, config, data_dir, redis_url, changes=True)
    print(f"{made.change.source} is merged into {made.change.target}: {dots(made.change.moved)} views.")
    _how_to_undo(site_id, made)


def alias(
    site_id: SiteArgument,
    source: FromArgument,
    target: IntoArgument,
    who: WhoOption = None,
    why: WhyOption = "",
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    redis_url: RedisOption = None,
) -> None:
    """Have a key that was never counted stand for another article."""
    kind: Kind = "alias"

    async def make(site: Site, merges: Merges) -> Logged:
        return await merges.merge(source, target, who or _user(), why, kind)

    made = _on_site(site_id, make, config, data_dir, redis_url, changes=True)
    print(f"{made.change.source} stands for {made.change.target} from now on.")
    _how_to_undo(site_id, made)


def undo(
    site_id: SiteArgument,
    change_id: Annotated[str, typer.Argument(metavar="CHANGE", help="Its id, as visitstats audit shows it.")],
    who: WhoOption = None,
    why: WhyOption = "",
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    redis_url: RedisOption = None,
) -> None:
    """Take a merge or an alias back: the article has again what it had. What was counted since stays where it is."""

    async def make(site: Site, merges: Merges) -> Logged:
        return await merges.undo(change_id, who or _user(), why)

    made = _on_site(site_id, make, config, data_dir, redis_url, changes=True)
    print(f"Change {change_id} is undone: {made.change.source} is an article of its own again (change {made.id}).")


def audit(
    site_id: SiteArgument,
    limit: Annotated[int, typer.Option(help="How many, the newest first.", min=1, max=100_000)] = 50,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    redis_url: RedisOption = None,
) -> None:
    """List what was changed by hand: when, by whom, what and why."""

    async def read(site: Site, merges: Merges) -> tuple[Calendar, list[Logged]]:
        return Calendar(site.timezone, site.week_start), await merges.audit(limit)

    calendar, found = _on_site(site_id, read, config, data_dir, redis_url)
    table = Table("change", "when", "who", "what", "views", "why")
    table.columns[4].justify = "right"
    for each in found:
        change = each.change
        what = f"undo {change.undoes}: {change.source}" if change.undoes else f"{change.source} → {change.target}"
        table.add_row(
            each.id + (f"\nundone by {each.undone}" if each.undone else ""),
            calendar.iso(change.at_ms),
            escape(change.who),
            escape(what),
            dots(change.moved) if change.kind == "merge" else "",
            escape(change.why),
        )
    Console().print(table if found else "Nothing was changed by hand.")


def _on_site(
    site_id: str,
    work: Callable[[Site, Merges], Awaitable[T]],
    config: ConfigOption,
    data_dir: DataDirOption,
    redis_url: RedisOption,
    *,
    changes: bool = False,
) -> T:
    settings = settings_of(config, data_dir=data_dir, redis_url=redis_url)

    async def run(parts: Parts) -> T:
        site = await find_site(parts.records, site_id)
        rules = KeyRules(site, linear_pattern)
        if not changes:
            return await work(site, Merges(parts.records.changes, None, site.id, rules, wall_clock))
        async with scribe(settings, parts) as recorder:
            return await work(site, Merges(parts.records.changes, recorder, site.id, rules, wall_clock))

    return with_parts(settings, run)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return f"uid {os.getuid()}"


def _how_to_undo(site_id: str, made: Logged) -> None:
    print(f"Change {made.id}; to take it back: visitstats undo {site_id} {made.id}")
