"""visitstats stats: the numbers of a site."""

from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from visitstats.cli.session import ConfigOption, DataDirOption, RedisOption, dots, find_site, with_store
from visitstats.core.boxes import UNKNOWN
from visitstats.core.counting import CAPPED, SEARCH_ENGINE, Uniques
from visitstats.core.numbers import COUNTS, Numbers, sum_up
from visitstats.reading.claims import MOST, Claimed, claims
from visitstats.reading.uniques import named_day, present
from visitstats.sites.directory import LiveSite
from visitstats.store.reads import Reads
from visitstats.store.records import Records
from visitstats.system.clock import wall_clock

Ignored = dict[str, int]
"""Beacons that were not counted, by reason."""


def stats(
    site_id: Annotated[str, typer.Argument(metavar="SITE")],
    day: Annotated[
        str, typer.Option(metavar="DATE", help="What was not counted on this day, as 2026-11-24.", show_default="today")
    ] = "",
    config: ConfigOption = None, data_dir: DataDirOption = None, redis_url: RedisOption = None,
) -> None:  # fmt: skip
    """Show the numbers of a site: visits, views, visitors online."""

    async def read(records: Records, reads: Reads) -> tuple[LiveSite, list[Numbers], Uniques, Ignored, Ignored]:
        live = LiveSite(await find_site(records, site_id))
        now = wall_clock()
        today = live.calendar.day_at(now)
        asked = named_day(live, day) if day else today
        counts = await reads.counts(site_id, today, now)
        return (
            live,
            [
                sum_up(today, counts.online, each, await reads.history(site_id, box))
                for box, each in (("visits", counts.visits), ("views", counts.views))
            ],
            await present(reads, live, today),
            await reads.ignored(site_id, asked),
            await reads.noted(site_id, asked),
        )

    live, both, uniques, ignored, noted = with_store(config, data_dir, redis_url, read)
    table = Table("", "visits", "views", title=escape(live.site.name or live.site.id))
    for column in table.columns[1:]:
        column.justify = "right"
    for name in COUNTS:
        if name not in ("online", "search_engines"):  # these two are neither visits nor views, and are printed below
            table.add_row(name.replace("_", " "), *(_written(numbers, name) for numbers in both))
    console = Console()
    console.print(table)
    console.print(f"Online now: {dots(both[0].online or 0)}")
    console.print(
        f"Unique visitors (estimates): about {dots(uniques.today)} today, {dots(uniques.week)} this week, "
        f"{dots(uniques.month)} this month"
    )
    when = day or "today"
    if ignored:
        reasons = ", ".join(f"{dots(n)} {reason}" for reason, n in sorted(ignored.items()))
        console.print(f"Not counted {when}: {reasons}")
    elif day:
        console.print(f"Not counted {when}: nothing, or it is too long ago")
    if noted[SEARCH_ENGINE]:
        console.print(f"Of these bots {dots(noted[SEARCH_ENGINE])} came from search engines")
    if noted[CAPPED]:
        console.print(f"Counted {when}, but as one visitor for each network: {dots(noted[CAPPED])} hits")


def show_claims(
    site_id: Annotated[str, typer.Argument(metavar="SITE")],
    limit: Annotated[int, typer.Option(help="How many, those of most networks first.", min=1, max=MOST)] = 50,
    config: ConfigOption = None, data_dir: DataDirOption = None, redis_url: RedisOption = None,
) -> None:  # fmt: skip
    """List the facts of articles that readers claim and that differ from their entries."""

    async def read(records: Records, reads: Reads) -> list[Claimed]:
        return await claims(reads, LiveSite(await find_site(records, site_id)), wall_clock(), limit)

    table = Table("networks", "day", "article", "fact", "is called", "readers say")
    found = with_store(config, data_dir, redis_url, read)
    for each in found:
        called = f"{each.says} ({each.standing})"
        row = (str(each.networks), each.day, each.key, each.fact, called, each.claimed)
        table.add_row(*map(escape, row))
    Console().print(table if found else "No reader claims anything else in the last days.")


def _written(numbers: Numbers, name: str) -> str:
    number: int | None = getattr(numbers, name)
    if number is None:
        return UNKNOWN
    return f"{dots(number)} ({numbers.record_date})" if name == "record" else dots(number)
