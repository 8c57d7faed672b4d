"""visitstats import: reads the files of other counters, shows what would change, and imports them as one change."""

import asyncio
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from visitstats.cli.change_session import Bench, DryRunOption, Session, SiteArgument, WhoOption, WhyOption, ordered
from visitstats.cli.session import ConfigOption, DataDirOption, RedisOption, complain, dots
from visitstats.core.errors import VisitstatsError
from visitstats.core.keys import KeyRules
from visitstats.imports import outcome, redislive, report
from visitstats.imports.draft import Draft
from visitstats.imports.jobs import put
from visitstats.imports.options import STRATEGIES, Options
from visitstats.imports.places import ImportRefused
from visitstats.imports.plan import Plan, plan_of
from visitstats.imports.readers import KINDS
from visitstats.imports.reading import draft_of
from visitstats.store.change_records import Logged
from visitstats.store.import_records import Imported
from visitstats.system.patterns import linear_pattern

LARGEST = 15
MOST_WARNINGS = 20


class WrongOption(VisitstatsError):
    """An option that cannot be understood."""


def bring(
    site_id: SiteArgument,
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE…",
            help="One file, or several of one counter; or redis://… (rediss://…, unix://…), for busuanzi and Vercount.",
        ),
    ],
    kind: Annotated[str, typer.Option(help=f"The source, where it is not found out: {', '.join(KINDS)}.")] = "",
    dry_run: DryRunOption = False,
    as_json: Annotated[bool, typer.Option("--json", help="Answer with JSON.")] = False,
    csv_file: Annotated[
        str,
        typer.Option("--csv", metavar="FILE", help="Write every article and every row that is left out; - for stdout."),
    ] = "",
    strategy: Annotated[
        str, typer.Option(help="What becomes of numbers that were imported before: replace, add or keep-larger.")
    ] = "replace",
    through: Annotated[
        str,
        typer.Option(metavar="DATE", help="The last day that is taken; else the day before the first counted here."),
    ] = "",
    map_file: Annotated[
        Path | None, typer.Option("--map", metavar="FILE", help="Addresses of articles: a line each, id,url.")
    ] = None,
    pages: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Addresses of the site, for counters that keep hashes alone.")
    ] = None,
    url: Annotated[str, typer.Option(metavar="TEMPLATE", help="Address of an article, as /tin/{ID}.aspx.")] = "",
    column: Annotated[
        list[str] | None, typer.Option(metavar="WHAT=NAME", help="What a column means, as views=LuotXem.")
    ] = None,
    columns: Annotated[
        str, typer.Option(metavar="A,B,…", help="Names of the columns of a file without a heading.")
    ] = "",
    module: Annotated[
        list[str] | None, typer.Option(metavar="NAME=TABLE", help="NukeViet: a module's name in addresses.")
    ] = None,
    name: Annotated[
        list[str] | None, typer.Option(metavar="NAME=ADDRESS", help="Moe-Counter: what a name stands for, or site.")
    ] = None,
    table: Annotated[str, typer.Option(help="The table of a dump or database.")] = "",
    sheet: Annotated[str, typer.Option(help="The sheet of a workbook.")] = "",
    encoding: Annotated[str, typer.Option(help="The encoding of a text, where it is not found out.")] = "",
    date_order: Annotated[str, typer.Option(help="dmy, mdy or ymd.")] = "",
    match: Annotated[str, typer.Option(help="address, or title: find articles by their titles.")] = "address",
    views: Annotated[str, typer.Option(help="per-visit or every-load, where the source tells them apart.")] = "",
    counts: Annotated[str, typer.Option(help="What a file with one number has: visits or views.")] = "",
    first: Annotated[
        str, typer.Option("--from", metavar="DATE", help="First day of a file that does not say it.")
    ] = "",
    last: Annotated[str, typer.Option("--to", metavar="DATE", help="Last day of it.")] = "",
    timezone: Annotated[str, typer.Option(help="The old counter's zone, where it is not the site's.")] = "",
    prefix: Annotated[str, typer.Option(help="busuanzi: what its keys begin with.")] = "bsz",
    repair_latin1: Annotated[
        bool, typer.Option("--repair-latin1", help="Read UTF-8 that was stored as latin1.")
    ] = False,
    report_to: Annotated[
        Path | None, typer.Option("--report", metavar="FOLDER", help="Write progress and outcome there, for the pages.")
    ] = None,
    who: WhoOption = None,
    why: WhyOption = "",
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    redis_url: RedisOption = None,
) -> None:
    """Import the numbers of an old counter: total, history by day, views of articles. Try it first with --dry-run."""
    options = _options(
        kind=kind, encoding=encoding, sheet=sheet, table=table, url=url, prefix=prefix, date_order=date_order,
        match=match, views=views, counts=counts, first=first, last=last, through=through, timezone=timezone,
        strategy=strategy,
        repair_latin1=repair_latin1,
        columns=tuple(each.strip() for each in columns.split(",") if each.strip()),
        column=_pairs(column, "--column"), modules=_pairs(module, "--module"), names=_pairs(name, "--name"),
        addresses=_mapped(map_file), pages=_lines(pages),
    )  # fmt: skip

    async def run(bench: Bench) -> int:
        with tempfile.TemporaryDirectory(prefix="visitstats-import-") as folder:
            try:
                draft = await _draft(bench, files, Path(folder) / "draft.sqlite", options, as_json, report_to)
            except ImportRefused as error:
                if report_to:
                    put(report_to / _answer(dry_run), outcome.refused(error))
                if not as_json:
                    raise
                print(msgspec.json.encode(outcome.refused(error)).decode())
                return 1
            try:
                return await _look_and_make(bench, draft)
            finally:
                draft.close()

    async def _look_and_make(bench: Bench, draft: Draft) -> int:
        importing = bench.desk.imports
        if not dry_run:
            await importing.finish_all()
        if before := await importing.made_with(draft.hash):
            if report_to:
                put(report_to / _answer(dry_run), _already(bench, before.logged))
            return _told_before(bench, before.logged, before.what, as_json)
        plan = await plan_of(draft, bench.changes, importing, bench.imports)
        if csv_file:
            _write_csv(plan, csv_file)
        if report_to:
            _write_csv(plan, str(report_to / "plan.csv"))
            put(report_to / "look.json", report.for_pages(plan))
        if dry_run:
            _show(plan, as_json=as_json, also=csv_file != "-")
            if not as_json and csv_file != "-":
                print("Nothing was changed (--dry-run).")
            return 0
        what = plan.imported()
        with progress_bar("writing", quiet=as_json) as (progress, task):
            progress.update(task, total=2 * len(what.places))
            made = await importing.make(
                what, plan.parts(), ordered(who, why), progress=lambda n: progress.update(task, completed=n)
            )
        if report_to:
            put(report_to / "made.json", report.for_pages(plan) | {"change": made.id})
        _show(plan, as_json=as_json, also=csv_file != "-", made=made)
        if not as_json:
            print(f"Imported: change {made.id}; to take it back: visitstats undo {bench.site.id} {made.id}")
        return 0

    session = Session(config, data_dir, redis_url, site_id)
    if status := session.run(run, changes=not dry_run):
        raise typer.Exit(status)


def _answer(dry_run: bool) -> str:
    return "look.json" if dry_run else "made.json"


async def _draft(
    bench: Bench, files: list[str], path: Path, options: Options, quiet: bool, report_to: Path | None
) -> Draft:
    site = bench.site
    rules = KeyRules(site, linear_pattern, await bench.changes.aliases(site.id))
    first = [found for kind in ("visits", "views") if (found := (await bench.reads.history(site.id, kind)).first)]
    titles = await bench.imports.titles(site.id) if options.match == "title" else None
    paths = [
        await asyncio.to_thread(redislive.fetch, file, path.parent, options)
        if redislive.is_address(file)
        else Path(file)
        for file in files
    ]
    with progress_bar("reading", quiet=quiet) as (progress, task):

        def tell(n: int) -> None:
            progress.update(task, completed=n)
            if report_to:
                put(report_to / "progress.json", {"n": n})

        return draft_of(
            paths, path, site, rules, options, first_counted=min(first, default=""), titles=titles,
            progress=tell,
        )  # fmt: skip


# Showing -------------------------------------------------------------------------------------------------------------


class progress_bar:
    """A progress bar on stderr."""

    def __init__(self, word: str, *, quiet: bool = False) -> None:
        self._progress = Progress(
            TextColumn(word), BarColumn(), MofNCompleteColumn(), console=Console(stderr=True), transient=True,
            disable=quiet or not sys.stderr.isatty(),
        )  # fmt: skip
        self._word = word

    def __enter__(self) -> tuple[Progress, Any]:
        self._progress.start()
        return self._progress, self._progress.add_task(self._word, total=None)

    def __exit__(self, *exception: object) -> None:
        self._progress.stop()


def _show(plan: Plan, *, as_json: bool, also: bool, made: Logged | None = None) -> None:
    if as_json:
        more: dict[str, Any] = {
            "plan": {name: {"now": grown.now, "will_be": grown.now + grown.delta} for name, grown in plan.site.items()}
            | {"articles": plan.articles, "changed": plan.changed, "new": plan.unknown},
            "change": made.id if made else None,
        }
        for piece in outcome.text(plan.draft, more):
            sys.stdout.write(piece.decode())
        return
    if not also:
        return
    console = Console()
    grid = Table.grid(padding=(0, 2))
    for word, text in report.summary(plan):
        grid.add_row(word, escape(text))
    console.print(grid)
    if plan.articles:
        table = Table(
            "article", "title", "now", "in the file", "will be", title="The largest changes", title_justify="left"
        )
        for column in table.columns[2:]:
            column.justify = "right"
        for article, will_be in plan.largest(LARGEST):
            table.add_row(
                escape(article.key), escape(article.facts.title), dots(article.old), dots(article.views), dots(will_be)
            )
        console.print(table)
    for text in plan.draft.warnings[:MOST_WARNINGS]:
        console.print(f"• {escape(text)}", highlight=False)
    if len(plan.draft.warnings) > MOST_WARNINGS:
        console.print(f"• and {len(plan.draft.warnings) - MOST_WARNINGS} more (--json has all)")


def _told_before(bench: Bench, logged: Logged, what: Imported, as_json: bool) -> int:
    when = bench.calendar.iso(logged.change.at_ms)
    if as_json:
        print(msgspec.json.encode(_already(bench, logged)).decode())
    else:
        print(
            f"This was imported at {when} by {logged.change.who} (change {logged.id}, {', '.join(what.files)}). "
            "Importing it again changes nothing."
        )
    return 0


def _already(bench: Bench, logged: Logged) -> dict[str, Any]:
    when = bench.calendar.iso(logged.change.at_ms)
    return {"already": {"change": logged.id, "at": when, "who": logged.change.who}}


def _write_csv(plan: Plan, name: str) -> None:
    if name == "-":
        for piece in report.as_csv(plan):
            sys.stdout.write(piece)
        return
    with Path(name).open("w", encoding="utf-8", newline="") as file:
        file.writelines(report.as_csv(plan))
    complain(f"wrote {name}")


# Options -------------------------------------------------------------------------------------------------------------


def _options(**values: Any) -> Options:
    for name, allowed in (
        ("strategy", STRATEGIES), ("date_order", ("", "dmy", "mdy", "ymd")), ("match", ("address", "title")),
        ("views", ("", "per-visit", "every-load")), ("counts", ("", "visits", "views")),
    ):  # fmt: skip
        if values[name] not in allowed:
            said = ", ".join(each for each in allowed if each)
            raise WrongOption(f"--{name.replace('_', '-')} {values[name][:20]!r}: use one of {said}")
    return Options(**values)


def _pairs(said: list[str] | None, option: str) -> tuple[tuple[str, str], ...]:
    found = []
    for each in said or ():
        name, sign, value = each.partition("=")
        if not sign or not name or not value:
            raise WrongOption(f"{option} {each[:40]!r}: write NAME=VALUE")
        found.append((name.strip(), value.strip()))
    return tuple(found)


def _mapped(path: Path | None) -> tuple[tuple[str, str], ...]:
    found = []
    for number, line in enumerate(_lines(path), 1):
        for separator in ("\t", ";", ","):
            name, sign, address = line.partition(separator)
            if sign:
                break
        name, address = name.strip(' "'), address.strip(' "')
        if not address:
            raise WrongOption(f"{path}, line {number}: an id and an address are expected, parted by a comma")
        found.append((name, address))
    return tuple(found)


def _lines(path: Path | None) -> tuple[str, ...]:
    if path is None:
        return ()
    try:
        return tuple(line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip())
    except (OSError, UnicodeDecodeError) as error:
        raise WrongOption(f"{path} cannot be read: {error}") from error
