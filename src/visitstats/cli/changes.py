"""visitstats merge, alias, rename, hide, accept, undo, audit: changes of articles, and how they are taken back."""

from datetime import date, timedelta
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from visitstats.changes.desk import KINDS, Page, Wanted
from visitstats.changes.facts import Renaming
from visitstats.changes.merges import Sides
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
    settings_told,
    steps,
    told,
)
from visitstats.cli.session import ConfigOption, DataDirOption, RedisOption, dots
from visitstats.core.entries import FACTS
from visitstats.core.periods import Calendar
from visitstats.store.change_records import Change, Kind, Logged
from visitstats.system.clock import wall_clock

FromArgument = Annotated[str, typer.Argument(metavar="FROM", help="Key or address that becomes an alias of the other.")]
IntoArgument = Annotated[str, typer.Argument(metavar="INTO", help="Key or address of the article that stays.")]
ArticleArgument = Annotated[str, typer.Argument(metavar="ARTICLE", help="Its key or address.")]


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
    session = Session(config, data_dir, redis_url, site_id)

    async def look(bench: Bench) -> Sides:
        return await bench.desk.merges.sides(source, target)

    async def make(bench: Bench) -> Logged:
        return await bench.desk.merges.merge(source, target, ordered(who, why))

    if not yes:
        sides = session.run(look)
        print(f"{sides.source} has {dots(sides.source_views)} views, {sides.target} has {dots(sides.target_views)}.")
        if typer.prompt("Type the first key again to add them up").strip() != sides.source:
            raise ChangeRefused("that is another key; nothing was changed")
    made = session.run(make, changes=True)
    print(f"{made.change.source} is merged into {made.change.target}: {dots(made.change.moved)} views.")
    how_to_undo(site_id, made)


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
    """Make a key that was never counted an alias of an article."""
    kind: Kind = "alias"

    async def make(bench: Bench) -> Logged:
        return await bench.desk.merges.merge(source, target, ordered(who, why), kind)

    made = Session(config, data_dir, redis_url, site_id).run(make, changes=True)
    print(f"{made.change.source} stands for {made.change.target} from now on.")
    how_to_undo(site_id, made)


def rename(
    site_id: SiteArgument,
    article: ArticleArgument,
    title: Annotated[str | None, typer.Option(help="Its title.")] = None,
    author: Annotated[str | None, typer.Option(help="Its author, who is paid for it.")] = None,
    category: Annotated[str | None, typer.Option(help="Its category.")] = None,
    published: Annotated[str | None, typer.Option(help="A date, or a moment: 2026-11-24T08:30+07:00.")] = None,
    url: Annotated[str | None, typer.Option(help="The address that lists show, on a host of this site.")] = None,
    type_: Annotated[str | None, typer.Option("--type", help="Its type; an empty text removes it.")] = None,
    who: WhoOption = None,
    why: WhyOption = "",
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    redis_url: RedisOption = None,
) -> None:
    """Set the title, author or other facts of an article. Beacons of readers no longer change them."""
    facts = Renaming(title, author, category, published, url)

    async def make(bench: Bench) -> list[Logged]:
        made = []
        if facts != Renaming() or type_ is None:
            made.append(await bench.desk.naming.rename(article, facts, ordered(who, why)))
        if type_ is not None:
            made.append(await bench.desk.naming.classify(article, type_, ordered(who, why)))
        return made

    for made in Session(config, data_dir, redis_url, site_id).run(make, changes=True):
        _tell(site_id, made)


def hide(
    site_id: SiteArgument,
    article: ArticleArgument,
    show: Annotated[bool, typer.Option("--show", help="Put it back into the lists.")] = False,
    who: WhoOption = None,
    why: WhyOption = "",
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    redis_url: RedisOption = None,
) -> None:
    """Take an article out of all lists, those for readers too. It is counted as before."""

    async def make(bench: Bench) -> Logged:
        return await bench.desk.naming.hide(article, ordered(who, why), hidden=not show)

    made = Session(config, data_dir, redis_url, site_id).run(make, changes=True)
    print(f"{made.change.source} is {'in the lists again' if show else 'in no list any more'}.")
    how_to_undo(site_id, made)


def accept(
    site_id: SiteArgument,
    article: ArticleArgument,
    fact: Annotated[str, typer.Argument(metavar="FACT", help=f"One of {', '.join(FACTS)}.")],
    value: Annotated[str, typer.Argument(metavar="VALUE", help="The value, as visitstats claims shows it.")],
    who: WhoOption = None,
    why: WhyOption = "",
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    redis_url: RedisOption = None,
) -> None:
    """Set a fact of an article to the value that readers claim."""

    async def make(bench: Bench) -> Logged:
        today = date.fromisoformat(bench.calendar.day_at(wall_clock()).date)

        def days(many: int) -> list[str]:
            return [(today - timedelta(days=n)).isoformat() for n in range(many)]

        return await bench.desk.naming.accept(article, fact, value, ordered(who, why), bench.reads, days)

    _tell(site_id, Session(config, data_dir, redis_url, site_id).run(make, changes=True))


def undo(
    site_id: SiteArgument,
    change_id: Annotated[str, typer.Argument(metavar="CHANGE", help="Its id, as visitstats audit shows it.")],
    dry_run: DryRunOption = False,
    who: WhoOption = None,
    why: WhyOption = "",
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    redis_url: RedisOption = None,
) -> None:
    """Take a change back. Counts that came since stay where they are."""
    session = Session(config, data_dir, redis_url, site_id)

    async def look(bench: Bench) -> Change:
        return await bench.desk.look_at_undo(change_id)

    async def make(bench: Bench) -> Logged:
        return await bench.desk.undo(change_id, ordered(who, why))

    change = session.run(look)
    if not dry_run:
        made = session.run(make, changes=True)
        print(f"Change {change_id} is undone{_of_undo(made.change)} (change {made.id}).")
        change = made.change
    for line in told(change):
        print(line)
    if dry_run:
        print(f"Change {change_id} can be undone{_of_undo(change)}. Nothing was changed.")


def audit(
    site_id: SiteArgument,
    kind: Annotated[str, typer.Option(help=f"One of {', '.join(KINDS)}.")] = "",
    person: Annotated[str, typer.Option(help="Who made it; a part of the name will do.")] = "",
    article: Annotated[str, typer.Option(help="Key or address: its last 256 changes.")] = "",
    limit: Annotated[int, typer.Option(help="How many, the newest first.", min=1, max=100_000)] = 50,
    cursor: Annotated[str, typer.Option(help="Go on behind a list, as its end says.")] = "",
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    redis_url: RedisOption = None,
) -> None:
    """List the changes that people made: when, who, what, the values before and after, and why."""

    async def read(bench: Bench) -> tuple[Calendar, Page]:
        return bench.calendar, await bench.desk.log(Wanted(kind, person, article, limit, cursor))

    calendar, page = Session(config, data_dir, redis_url, site_id).run(read)
    table = Table("change", "when", "who", "what", "before → after", "why")
    table.columns[4].justify = "right"
    for each in page.changes:
        change = each.change
        table.add_row(
            each.id + (f"\nundone by {each.undone}" if each.undone else ""),
            calendar.iso(change.at_ms),
            escape(change.who),
            escape(_what(change)),
            escape(_before_after(change)),
            escape(change.why),
        )
    Console().print(table if page.changes else "Nothing was changed by hand." if not cursor else "Nothing more.")
    if page.cursor:
        Console().print(f"There is more: --cursor {page.cursor}")
    if page.damaged:
        Console().print(f"{page.damaged} records cannot be read; visitstats verify names them.")


def _tell(site_id: str, made: Logged) -> None:
    print(f"{made.change.source}:")
    for line in told(made.change):
        print(f"  {line}")
    how_to_undo(site_id, made)


def _of_undo(change: Change) -> str:
    if change.pages:
        return f": pages that have their places again: {dots(change.pages)}"
    if change.target:
        return f": {change.source} is an article of its own again"
    if len(change.place) == len("2026-11"):
        return f": {change.place}"
    return f": {change.source}" if change.source else ""


def _what(change: Change) -> str:
    what = {
        "merge": f"{change.source} → {change.target}",
        "alias": f"{change.source} → {change.target}",
        "prune": f"{dots(change.pages)} pages → {change.target}",
        "close": f"close {change.place}",
        "reopen": f"reopen {change.place}",
        "settings": "settings of the site",
        "undo": f"undo {change.undoes}: {change.source or change.place or f'{dots(change.pages)} pages'}",
    }.get(change.kind, f"{change.kind} {change.source or 'the site'}")
    if change.note and len(change.place) == len("2026-11-24"):
        return f"{what}, meant for {change.note}"
    return what


def _before_after(change: Change) -> str:
    if change.kind in ("merge", "prune"):
        return dots(change.moved)
    lines = []
    for each in change.said:
        if each.day >= 0:
            lines.append(f"{each.kind} on {change.place}: {steps(each.day, each.by)}")
        lines.append(f"all {each.kind}: {steps(each.total, each.by)}")
    facts = [f"{each.name}: {each.before or '—'} → {each.after or '—'}" for each in change.facts]
    return "\n".join([*lines, *facts, *settings_told(change)])
