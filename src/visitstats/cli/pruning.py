"""visitstats articles prune: gets places back that made-up pages have taken."""

from typing import Annotated

import typer
from rich.markup import escape

from visitstats.changes.prunes import Looked, Places
from visitstats.changes.recording import ChangeRefused
from visitstats.cli.change_session import DryRunOption, SiteArgument, WhoOption, WhyOption, ordered
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
from visitstats.store.fitness import Parts
from visitstats.system.clock import wall_clock


def prune(
    site_id: SiteArgument,
    dry_run: DryRunOption = False,
    who: WhoOption = None,
    why: WhyOption = "",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    redis_url: RedisOption = None,
) -> None:
    """Free the places of pages that only one network has read, a week ago or earlier: their views go to (other)."""
    settings = settings_of(config, data_dir=data_dir, redis_url=redis_url)

    async def look(parts: Parts) -> Looked:
        site = await find_site(parts.records, site_id)
        return await Places(parts.records.changes, None, site, wall_clock).look()

    async def make(parts: Parts) -> Looked:
        site = await find_site(parts.records, site_id)
        async with scribe(settings, parts) as recorder:
            return await Places(parts.records.changes, recorder, site, wall_clock).prune(ordered(who, why))

    if dry_run or not yes:
        found = with_parts(settings, look)
        print(f"{dots(found.taken)} of {dots(found.places)} places are taken.")
        print(f"Pages that would give theirs back: {dots(found.pages)}, with {dots(found.views)} views.")
        if found.kept:
            print(f"Others that only one network read, and that keep theirs: {dots(found.kept)}.")
        for key in found.some:
            print(f"  {escape(key)}")
        if found.pages > len(found.some):
            print("  …")
        if found.pages and not found.told_apart:
            print("No article was read by several networks: is your proxy named in trusted_proxies?")
        if dry_run or not found.pages:
            return
        if typer.prompt("Type the name of the site to do it").strip() != site_id:
            raise ChangeRefused("that is another name; nothing was changed")
    made = with_parts(settings, make)
    print(f"Pages that gave their places back: {dots(made.pages)}, with {dots(made.views)} views.")
    if made.change:
        print(f"Change {made.change}; to take it back within a week: visitstats undo {site_id} {made.change}")
