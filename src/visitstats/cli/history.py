"""visitstats history: a site by hour, day, month or year; or the views of one article."""

import csv as csv_files
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from visitstats.cli.lists import kind_of, opened_file
from visitstats.cli.session import ConfigOption, DataDirOption, RedisOption, dots, find_site, settings_of, with_parts
from visitstats.core.errors import InvalidQuery
from visitstats.core.history import Row
from visitstats.core.ranges import BEGINNING, range_of
from visitstats.core.sites import Site
from visitstats.reading.desk_process import made_of
from visitstats.reading.exports import DELIMITERS, delimiter
from visitstats.reading.index import open_index
from visitstats.reading.site_history import EACH, Histories
from visitstats.settings import Settings
from visitstats.sites.directory import LiveSite
from visitstats.store.fitness import Parts
from visitstats.store.history import SiteHistory
from visitstats.system.clock import wall_clock

NAMES = {"hour": ("Giờ", "Hour"), "day": ("Ngày", "Day"), "month": ("Tháng", "Month"), "year": ("Năm", "Year")}
COLUMNS = (
    ("Lượt truy cập", "Visits"), ("Lượt xem", "Views"), ("Lượt tải trang", "Hits"),
    ("Bạn đọc (ước tính)", "Unique visitors (estimates)"), ("Online cao nhất", "Peak online"),
    ("Không tính", "Not counted"), ("Máy đếm chạy", "Service ran"),
)  # fmt: skip
IMPORTED = (("Lượt truy cập đã nhập", "Visits imported"), ("Lượt xem đã nhập", "Views imported"))
"""Columns for the numbers of an older counter, which are a part of the visits and views."""
KNOWN = {"yes": ("có", "yes"), "partly": ("một phần", "partly"), "no": ("không", "no")}


class Shown(NamedTuple):
    """A table to show: headings in Vietnamese and English, and rows of numbers (None: not known) and words."""

    title: str
    headings: list[tuple[str, str]]
    rows: list[list[str | int | tuple[str, str] | None]]
    note: str = ""


def show_history(
    site_id: Annotated[str, typer.Argument(metavar="SITE")],
    article: Annotated[
        str, typer.Option(metavar="KEY", help="One article, by its key.", show_default="the whole site")
    ] = "",
    by: Annotated[str, typer.Option(help=f"{', '.join(EACH)}; of an article not by hour.")] = "day",
    first: Annotated[
        str, typer.Option("--from", metavar="DATE", help="From this day on.", show_default="the first, of hours today")
    ] = "",
    last: Annotated[str, typer.Option("--to", metavar="DATE", help="Up to this day.", show_default="today")] = "",
    csv: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a CSV file instead; - is the standard output.")
    ] = None,
    separator: Annotated[str, typer.Option("--delimiter", help=f"Of a CSV: {' '.join(DELIMITERS)}.")] = ";",
    lang: Annotated[str, typer.Option(help="Headings of the file: vi or en.")] = "vi",
    config: ConfigOption = None, data_dir: DataDirOption = None, redis_url: RedisOption = None,
) -> None:  # fmt: skip
    """Show a site, or one article, by hour, day, month or year."""
    if lang not in ("vi", "en"):
        raise typer.BadParameter("lang is vi or en")
    if csv is not None and kind_of(csv) != "csv":
        raise InvalidQuery(f"{csv}: a history is written as CSV; use a name that ends in .csv, or -")
    between = delimiter(separator)
    settings = settings_of(config, data_dir=data_dir, redis_url=redis_url)

    async def read(parts: Parts) -> Shown:
        site = await find_site(parts.records, site_id)
        if article:
            return await _article(parts, settings, site, article, by, first, last)
        return await _site(parts, site, by, first, last)

    found = with_parts(settings, read)
    if csv is None:
        _print(found)
        return
    language = ("vi", "en").index(lang)
    out = io.StringIO()
    writer = csv_files.writer(out, delimiter=between, lineterminator="\r\n")
    writer.writerow([heading[language] for heading in found.headings])
    writer.writerows([[_cell(cell, language) for cell in row] for row in found.rows])
    with opened_file(csv) as (file, _):
        file.write(b"\xef\xbb\xbf" + out.getvalue().encode())


async def _article(parts: Parts, settings: Settings, site: Site, key: str, by: str, first: str, last: str) -> Shown:
    with open_index(settings.data_dir) as index:
        found = await made_of(parts.client, index, wall_clock).history(site, key, by, first, last)
    rows: list[list[str | int | tuple[str, str] | None]] = [[name, n] for name, n in found.rows]
    note = f"{dots(found.total)} views of all time."
    return Shown(found.entry.title or found.entry.key, [NAMES[by], COLUMNS[1]], rows, note)


async def _site(parts: Parts, site: Site, by: str, first: str, last: str) -> Shown:
    live, now = LiveSite(site), wall_clock()
    today = live.calendar.day_at(now)
    start = first or (today.date if by == "hour" and not last else BEGINNING)
    asked = range_of(live.calendar, today, "", start, last)
    rows = await Histories(SiteHistory(parts.client), parts.reads).rows(live, by, asked, now)
    visits, views = sum(row.corrected.visits for row in rows), sum(row.corrected.views for row in rows)
    said = f"Of these, {visits:+} visits and {views:+} views were corrected by hand: visitstats audit {site.id}"
    note = said if visits or views else ""
    if not any(row.imported_any for row in rows):
        return Shown(site.name or site.id, [NAMES[by], *COLUMNS], [_of_site(row) for row in rows], note)
    headings = [NAMES[by], *COLUMNS, *IMPORTED]
    return Shown(site.name or site.id, headings, [[*_of_site(row), *_imported(row)] for row in rows], note)


def _of_site(row: Row) -> list[str | int | tuple[str, str] | None]:
    peak = row.peak.online if row.peak else None
    return [
        row.name.replace("T", " "), row.visits, row.views, row.hits, row.uniques, peak,
        sum(row.ignored.values()), KNOWN[row.known],
    ]  # fmt: skip


def _imported(row: Row) -> list[str | int | tuple[str, str] | None]:
    return [row.imported.visits or None, row.imported.views or None]


def _print(found: Shown) -> None:
    table = Table(*(heading[1] for heading in found.headings), title=escape(found.title))
    for column in table.columns[1:]:
        column.justify = "right"
    for name, *cells in found.rows:
        shown: Sequence[str] = [dots(cell) if isinstance(cell, int | None) else str(_cell(cell, 1)) for cell in cells]
        table.add_row(str(name), *shown)
    console = Console()
    console.print(table if found.rows else "Nothing was counted on these days.")
    if found.note:
        console.print(found.note)


def _cell(cell: str | int | tuple[str, str] | None, language: int) -> str | int:
    if isinstance(cell, tuple):
        return cell[language]
    return "" if cell is None else cell
