"""visitstats adjust, reset, close, reopen, closed: numbers that people correct, and months whose numbers are frozen."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.table import Table

from visitstats.changes.corrections import UNDATED, Adjustment
from visitstats.changes.recording import ChangeRefused
from visitstats.cli.change_session import (
    Bench,
    DryRunOption,
    Session,
    SiteArgument,
    WhoOption,
    WhyOption,
    how_to_undo,
    ordered,
    told,
)
from visitstats.cli.lists import opened_file
from visitstats.cli.session import ConfigOption, DataDirOption, RedisOption, dots
from visitstats.core.closing import MOST_ROYALTY_DAYS, ROYALTY_DAYS, Closing, Frozen
from visitstats.core.periods import Calendar
from visitstats.reading.closings import Since
from visitstats.reading.index import IndexBuilding
from visitstats.store.change_records import Change, Logged

MonthArgument = Annotated[str, typer.Argument(metavar="MONTH", help="As 2026-10.")]
ViewsOption = Annotated[bool, typer.Option("--views", help="The site's views, in place of its visits.")]


def adjust(
    site_id: SiteArgument,
    by: Annotated[
        int | None, typer.Argument(metavar="[AMOUNT]", help="How much is added; a negative one (after --) takes away.")
    ] = None,
    why: WhyOption = "",
    article: Annotated[str, typer.Option(help="Key or address of an article; else the whole site.")] = "",
    views: ViewsOption = False,
    to: Annotated[int | None, typer.Option(min=0, help="Instead of AMOUNT: the new value of the count.")] = None,
    day: Annotated[str, typer.Option(help=f"A date, or {UNDATED} for no day.", show_default="today")] = "",
    dry_run: DryRunOption = False,
    who: WhoOption = None,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    redis_url: RedisOption = None,
) -> None:
    """Correct a count: visits or views of the site, or views of an article. The value before is shown."""
    session = Session(config, data_dir, redis_url, site_id)
    of: Literal["visits", "views"] = "views" if views or article else "visits"
    asked = Adjustment(of, article, by, to, day)

    async def look(bench: Bench) -> Change:
        return await bench.desk.corrections.look(asked, ordered(who, why))

    async def make(bench: Bench) -> Logged:
        return await bench.desk.corrections.adjust(asked, ordered(who, why))

    _make(session, site_id, look, make, dry_run=dry_run)


def reset(
    site_id: SiteArgument,
    to: Annotated[int, typer.Option(min=0, help="The new total.")] = 0,
    why: WhyOption = "",
    views: ViewsOption = False,
    confirm: Annotated[str, typer.Option(help="The site's id, instead of typing it when asked.")] = "",
    dry_run: DryRunOption = False,
    who: WhoOption = None,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    redis_url: RedisOption = None,
) -> None:
    """Bring a site's total down to a number. Its history and the views of its articles stay; it can be undone."""
    session = Session(config, data_dir, redis_url, site_id)
    of: Literal["visits", "views"] = "views" if views else "visits"

    async def look(bench: Bench) -> Change:
        return await bench.desk.corrections.look_at_reset(of, to, ordered(who, why))

    async def make(bench: Bench) -> Logged:
        return await bench.desk.corrections.reset(of, to, ordered(who, why))

    if not dry_run:
        for line in told(session.run(look)):
            print(line)
        if (confirm or typer.prompt(f"Type {site_id} to reset it")).strip() != site_id:
            raise ChangeRefused("that is another site; nothing was changed")
    _make(session, site_id, look, make, dry_run=dry_run)


def close(
    site_id: SiteArgument,
    month: MonthArgument,
    within: Annotated[
        int,
        typer.Option(
            metavar="DAYS", min=1, max=MOST_ROYALTY_DAYS,
            help="Royalties are frozen of the views within so many days of publication.",
        ),
    ] = ROYALTY_DAYS,
    who: WhoOption = None,
    why: WhyOption = "",
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    redis_url: RedisOption = None,
) -> None:  # fmt: skip
    """Close a month that is over: its numbers are frozen. Later hits and corrections go to the open month."""
    session = Session(config, data_dir, redis_url, site_id)

    async def make(bench: Bench) -> tuple[Logged, Closing | None]:
        async def freeze(month: str) -> Frozen:
            await _ready(bench)
            return await bench.closed.freeze(bench.articles, bench.site, month, within)

        made = await bench.desk.periods.close(month, ordered(who, why), freeze)
        return made, await bench.closed.find(bench.site.id, month)

    made, closing = session.run(make, changes=True, lists=True)
    print(f"{month} is closed, SHA-256 {made.change.note}.")
    if closing is not None:
        print(f"{dots(closing.articles)} articles, {dots(closing.visits)} visits, {dots(closing.views)} views.")
        print(f"Royalties: {dots(closing.due)} views within {closing.days} days of publication are due.")
        if closing.late_visits or closing.late_views:
            print(
                f"Besides, {dots(closing.late_visits)} visits and {dots(closing.late_views)} views of "
                f"{closing.late_of} that came after that was closed."
            )
    how_to_undo(site_id, made)


def reopen(
    site_id: SiteArgument,
    month: MonthArgument,
    why: WhyOption = "",
    who: WhoOption = None,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    redis_url: RedisOption = None,
) -> None:
    """Open the last closed month again, with a reason. Its frozen numbers are kept."""

    async def make(bench: Bench) -> Logged:
        return await bench.desk.periods.reopen(month, ordered(who, why))

    made = Session(config, data_dir, redis_url, site_id).run(make, changes=True)
    print(f"{month} is open again.")
    how_to_undo(site_id, made)


def closed(
    site_id: SiteArgument,
    month: Annotated[str, typer.Argument(metavar="[MONTH]", help="Write the frozen numbers of this month.")] = "",
    out: Annotated[
        Path, typer.Option(metavar="FILE", help="Where; its SHA-256 is that of the closing.", show_default="-")
    ] = Path("-"),
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    redis_url: RedisOption = None,
) -> None:
    """List the closed months, or write the frozen numbers of one: JSON lines, a head and then each article."""
    session = Session(config, data_dir, redis_url, site_id)

    async def text(bench: Bench) -> bytes:
        closing = await bench.closed.find(site_id, month)
        if closing is None:
            raise ChangeRefused(f"{month[:20]} is not closed; visitstats close {site_id} {month[:20]} closes it")
        return (await bench.closed.book(site_id, closing)).text

    async def read(bench: Bench) -> tuple[Calendar, list[tuple[Closing, Since]]]:
        found = (await bench.closed.all(site_id)).values()
        return bench.calendar, [(each, await bench.closed.since(site_id, each)) for each in reversed(found)]

    if month:
        whole = session.run(text)
        with opened_file(out) as (file, _):
            file.write(whole)
        return
    calendar, months = session.run(read)
    table = Table("month", "closed", "by", "visits", "views", "articles", "since then", "SHA-256")
    for closing, since in months:
        table.add_row(
            closing.period, calendar.iso(closing.at_ms), closing.who, dots(closing.visits), dots(closing.views),
            dots(closing.articles), f"{since.visits:+} visits, {since.views:+} views" if any(since) else "",
            closing.sha256[:12],
        )  # fmt: skip
    Console().print(table if months else "No month is closed.")


def _make(
    session: Session, site_id: str, look: Callable[[Bench], Awaitable[Change]],
    make: Callable[[Bench], Awaitable[Logged]], *, dry_run: bool,
) -> None:  # fmt: skip
    if dry_run:
        for line in told(session.run(look)):
            print(line)
        print("Nothing was changed.")
        return
    made = session.run(make, changes=True)
    for line in told(made.change):
        print(line)
    how_to_undo(site_id, made)


async def _ready(bench: Bench) -> None:
    """Wait for the index of articles; say so when that takes long."""
    while True:
        try:
            await bench.articles.ready(bench.site, 1)
            return
        except IndexBuilding as error:
            print(f"{error.done} of {error.whole} articles are read", file=sys.stderr)
            await asyncio.sleep(0)
