"""visitstats report: reports of a period for the leadership of an office, and for the royalties of its authors."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from visitstats.cli.lists import STDOUT, opened_file, shown_progress
from visitstats.cli.session import ConfigOption, DataDirOption, RedisOption, dots, find_site, settings_of, with_parts
from visitstats.core.errors import InvalidQuery
from visitstats.core.query import MOST_ROWS, Query
from visitstats.core.ranges import WORDS
from visitstats.core.sites import Site
from visitstats.reading.desk_process import made_of, reports_of
from visitstats.reading.exports import DELIMITERS, Language, delimiter
from visitstats.reading.groups import Group
from visitstats.reading.index import open_index
from visitstats.reading.report_files import ReportFiles, state_line
from visitstats.reading.report_words import days, period, word
from visitstats.reading.reports import GROUPED, KINDS, WITHIN, Kind, Report, Reports, check
from visitstats.store.fitness import Parts
from visitstats.system.clock import wall_clock

SHOWN = 20
"""Rows of a table."""


def show_report(
    site_id: Annotated[str, typer.Argument(metavar="SITE")],
    kind: Annotated[str, typer.Option(help=f"{', '.join(KINDS)}.")] = "summary",
    asked: Annotated[
        str, typer.Option("--period", help=f"{', '.join(WORDS)}; 2026-11-24, 2026-10, 2026.", show_default="last-month")
    ] = "",
    first: Annotated[str, typer.Option("--from", metavar="DATE", help="From this day on, as 2026-11-24.")] = "",
    last: Annotated[str, typer.Option("--to", metavar="DATE", help="Up to this day.")] = "",
    author: Annotated[str, typer.Option()] = "",
    category: Annotated[str, typer.Option()] = "",
    within: Annotated[
        int, typer.Option(metavar="DAYS", help=f"Views within so many days of publication; of royalties {WITHIN}.")
    ] = 0,
    xlsx: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a workbook.")] = None,
    csv: Annotated[Path | None, typer.Option(metavar="FILE", help="Write CSV; - is the standard output.")] = None,
    separator: Annotated[
        str, typer.Option("--delimiter", help=f"Of a CSV: {' '.join(DELIMITERS)}.", show_default="; in English ,")
    ] = "",
    lang: Annotated[str, typer.Option(help="vi or en.")] = "vi",
    config: ConfigOption = None, data_dir: DataDirOption = None, redis_url: RedisOption = None,
) -> None:  # fmt: skip
    """Make a report of a period."""
    if lang not in ("vi", "en") or kind not in KINDS:
        raise typer.BadParameter(f"kind is one of {', '.join(KINDS)}; lang is vi or en")
    if xlsx and csv:
        raise typer.BadParameter("write one file at once: --xlsx or --csv")
    language: Language = "en" if lang == "en" else "vi"
    separated = delimiter(separator or (";" if language == "vi" else ","))
    of: Kind = next(each for each in ("summary", "articles", "authors", "categories", "royalties") if each == kind)
    query = Query(
        period=asked or ("" if first or last else "last-month"), first=first, last=last, author=author,
        category=category, within=within, limit=SHOWN if not (xlsx or csv) else MOST_ROWS,
    )  # fmt: skip
    check(of, query)
    settings = settings_of(config, data_dir=data_dir, redis_url=redis_url)

    async def run(parts: Parts) -> None:
        site = await find_site(parts.records, site_id)
        with open_index(settings.data_dir) as index:
            reports = reports_of(parts.client, made_of(parts.client, index, wall_clock), wall_clock)
            if path := xlsx or csv:
                await _write(reports, site, of, query, language, path, separated if csv else "")
                if path != STDOUT:
                    print(f"{path} is written")
            else:
                async with shown_progress(reports.articles, site) as _:
                    pass
                _print(site, await reports.preview(site, of, query), language)

    with_parts(settings, run, claim=False)


async def _write(
    reports: Reports, site: Site, kind: Kind, query: Query, language: Language, path: Path, separated: str
) -> None:
    if path == STDOUT and not separated:
        raise InvalidQuery("a workbook is written to a file: --xlsx NAME.xlsx")
    files = ReportFiles(reports, site, language, wall_clock())
    async with shown_progress(reports.articles, site) as told:
        with opened_file(path) as (file, beside):
            if separated:
                async for text in files.csv(kind, query, separated, told):
                    await asyncio.to_thread(file.write, text.encode())
            else:
                await files.workbook(beside, kind, query, told)


def _print(site: Site, report: Report, language: Language) -> None:
    console = Console()
    console.print(f"[bold]{word(report.kind, language)} {period(report.range, language)}[/]", highlight=False)
    console.print(escape(state_line(site, report.at_ms, report.closed, language, report.kind)), highlight=False)
    if report.figures:
        table = Table(word("figure", language), "", *([word("whole", language)] if report.running else []))
        for name in ("before", "year_ago"):
            if name == "before" or report.year_ago:
                table.add_column(word(name, language))
        for column in table.columns[1:]:
            column.justify = "right"
        for figure in report.figures:
            numbers = [figure.now, *([figure.whole] if report.running else []), figure.before]
            numbers += [figure.year_ago] if report.year_ago else []
            table.add_row(word(figure.name, language), *map(dots, numbers))
        console.print(table)
        shown = [days(each) for each in (report.whole, report.compared, report.year_ago)]
        compared = word("compared", language).format(whole=shown[0], before=shown[1], year_ago=shown[2])
        console.print(escape(compared), highlight=False)
    grouped = GROUPED.get(report.kind, "author")
    for by, groups in ((grouped, report.groups), ("author", report.authors), ("category", report.categories)):
        _print_groups(console, by, groups, language)
    if report.kind in ("summary", "articles", "royalties") and report.articles:
        royalties = report.kind == "royalties"
        views = word("within" if royalties else "views", language).format(n=report.within)
        table = Table(views, word("title", language), word("author", language), word("key", language))
        table.columns[0].justify = "right"
        for row in report.articles:
            n = row.within if royalties else row.views
            table.add_row(dots(n), *(escape(text) for text in (row.entry.title, row.entry.author, row.entry.key)))
        console.print(table)
    sums = f"{dots(report.selection.articles)} · {dots(report.selection.views)}"
    console.print(f"{word('articles.n', language)} · {word('views', language)}: {sums}", highlight=False)


def _print_groups(console: Console, by: str, groups: list[Group], language: Language) -> None:
    if not groups:
        return
    table = Table(word(by, language), word("articles.n", language), word("views", language))
    for column in table.columns[1:]:
        column.justify = "right"
    for group in groups:
        table.add_row(escape(group.name) or word(f"none.{by}", language), dots(group.articles), dots(group.views))
    console.print(table)
