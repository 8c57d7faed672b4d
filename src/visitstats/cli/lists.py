"""visitstats articles: lists of articles, as a table or a file."""

import asyncio
import secrets
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Literal

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table
from typer.core import TyperGroup

from visitstats.cli.pruning import prune
from visitstats.cli.session import ConfigOption, DataDirOption, RedisOption, dots, find_site, settings_of, with_parts
from visitstats.core.errors import InvalidQuery
from visitstats.core.query import MOST_ROWS, SORTS, Query
from visitstats.core.ranges import WORDS
from visitstats.core.sites import Site
from visitstats.reading.desk_process import made_of
from visitstats.reading.exports import DELIMITERS, CsvText, Kind, Workbook, columns, delimiter
from visitstats.reading.index import IndexBuilding, open_index
from visitstats.reading.query import Articles, Page
from visitstats.store.fitness import Parts
from visitstats.system.clock import wall_clock

SHOWN = 50
"""Rows of a table."""
STDOUT = Path("-")
LOOK_SECONDS = 0.5
"""How often the progress of making an index is read, in seconds."""
Shown = Literal["vi", "en"]


class _Articles(TyperGroup):
    """`visitstats articles SITE` is `visitstats articles list SITE`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] != "--help":
            args = ["list", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(cls=_Articles, help="Lists of articles, and places for them.", no_args_is_help=True)
app.command("prune")(prune)


@app.command("list")
def show_articles(
    site_id: Annotated[str, typer.Argument(metavar="SITE")],
    period: Annotated[
        str, typer.Option(help=f"{', '.join(WORDS)}; 2026-11-24, 2026-10, 2026.", show_default="all")
    ] = "",
    first: Annotated[str, typer.Option("--from", metavar="DATE", help="From this day on, as 2026-11-24.")] = "",
    last: Annotated[str, typer.Option("--to", metavar="DATE", help="Up to this day.")] = "",
    text: Annotated[str, typer.Option(help="The title or the key contains it.")] = "",
    title: Annotated[str, typer.Option(help="The title contains it; case and tone marks do not matter.")] = "",
    key_contains: Annotated[str, typer.Option(help="The key contains it.")] = "",
    prefix: Annotated[str, typer.Option(help="The key begins with it.")] = "",
    author: Annotated[str, typer.Option()] = "",
    category: Annotated[str, typer.Option()] = "",
    kind: Annotated[str, typer.Option("--type")] = "",
    published_from: Annotated[str, typer.Option(metavar="DATE")] = "",
    published_to: Annotated[str, typer.Option(metavar="DATE")] = "",
    min_views: Annotated[int | None, typer.Option(help="The fewest views in the period.", show_default="1")] = None,
    key: Annotated[list[str] | None, typer.Option(help="Only this article; may be repeated.")] = None,
    hidden: Annotated[bool, typer.Option("--hidden", help="Also hidden articles.")] = False,
    within: Annotated[int, typer.Option(metavar="DAYS", help="Also the views within DAYS days of publication.")] = 0,
    compare: Annotated[bool, typer.Option("--compare", help="Also the views in the period before.")] = False,
    sort: Annotated[str, typer.Option(help=f"{', '.join(SORTS)}.")] = "views",
    direction: Annotated[str, typer.Option(help="asc or desc.", show_default="desc, of texts asc")] = "",
    limit: Annotated[
        int | None, typer.Option(min=1, max=MOST_ROWS, help="How many.", show_default="50, in a file all")
    ] = None,
    csv: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write a file instead: NAME.csv or NAME.xlsx; - is the standard output."),
    ] = None,
    separator: Annotated[str, typer.Option("--delimiter", help=f"Of a CSV: {' '.join(DELIMITERS)}.")] = ";",
    lang: Annotated[str, typer.Option(help="Headings of the file: vi or en.")] = "vi",
    config: ConfigOption = None, data_dir: DataDirOption = None, redis_url: RedisOption = None,
) -> None:  # fmt: skip
    """List the articles of a site with their views: articles SITE, for short."""
    if lang not in ("vi", "en"):
        raise typer.BadParameter("lang is vi or en")
    delimiter(separator)
    language: Shown = "en" if lang == "en" else "vi"
    what = None if csv is None else kind_of(csv)
    query = Query(
        period=period, first=first, last=last, text=text, title=title, key_contains=key_contains, prefix=prefix,
        author=author, category=category, type=kind, published_first=published_from, published_last=published_to,
        min_views=min_views, keys=tuple(key or ()), hidden=hidden, within=within, compare=compare,
        sort=sort, direction=direction, limit=limit or (SHOWN if csv is None else MOST_ROWS),  # type: ignore[arg-type]
    )  # fmt: skip
    settings = settings_of(config, data_dir=data_dir, redis_url=redis_url)

    async def run(parts: Parts) -> int:
        site = await find_site(parts.records, site_id)
        with open_index(settings.data_dir) as index:
            pieces = _pieces(made_of(parts.client, index, wall_clock), site, query, shows=csv is not None)
            if csv is None or what is None:
                await _print(site, query, pieces)
                return 0
            with opened_file(csv) as (file, beside):
                return await _write(file, beside, what, pieces, site, query, language, delimiter(separator))

    rows = with_parts(settings, run)
    if csv not in (None, STDOUT):
        print(f"{dots(rows)} articles are in {csv}")


def kind_of(path: Path) -> Kind:
    """Return the kind of a file, by its name. Raises InvalidQuery."""
    name = path.name.lower()
    if path == STDOUT or name.endswith((".csv", ".txt", ".tsv")):
        return "csv"
    if name.endswith(".xlsx"):
        return "xlsx"
    raise InvalidQuery(f"{path}: a file of what kind? Use a name that ends in .csv or .xlsx, or - for the output")


@asynccontextmanager
async def shown_progress(articles: Articles, site: Site) -> AsyncIterator[Callable[[int, int], None]]:
    """Wait until there is an index of a site; then yield a function to call with the number of written rows and of all
    rows. On a terminal both are shown."""
    console = Console(stderr=True)
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), console=console, transient=True,
        disable=not console.is_terminal,
    )  # fmt: skip
    with bar:
        made = bar.add_task("Making the index of articles", total=None, visible=False)
        while True:
            try:
                await articles.ready(site, LOOK_SECONDS)
                break
            except IndexBuilding as error:
                bar.update(made, completed=error.done, total=error.whole, visible=True)
        bar.update(made, visible=False)
        written = bar.add_task("Articles", visible=False)
        yield lambda done, whole: bar.update(written, completed=done, total=whole, visible=True)


async def _pieces(articles: Articles, site: Site, query: Query, *, shows: bool) -> AsyncIterator[Page]:
    """Yield a list, and show its progress on a terminal."""
    async with shown_progress(articles, site) as told:
        done = 0
        async for page in articles.pieces(site, query):
            done += len(page.rows)
            if shows:
                told(done, min(query.limit, page.selection.articles))
            yield page


async def _print(site: Site, query: Query, pieces: AsyncIterator[Page]) -> None:
    page: Page | None = None
    table = Table("", "views")
    number = 0
    async for page in pieces:
        if not table.rows:
            extra = [
                *([] if page.range.is_all else ["of all time"]),
                *(["period before"] if query.compare else []),
                *([f"{query.within} days"] if query.within else []),
            ]
            for heading in extra:
                table.add_column(heading)
            for column in table.columns[1:]:
                column.justify = "right"
            for heading in ("title", "key"):
                table.add_column(heading)
        for row in page.rows:
            number += 1
            numbers = [
                row.views,
                *([] if page.range.is_all else [row.total]),
                *([row.before] if query.compare else []),
                *([row.within] if query.within else []),
            ]
            table.add_row(str(number), *map(dots, numbers), escape(row.entry.title), escape(row.entry.key))
    console = Console()
    if page is None or not number:
        console.print("No article was read in this period." if query == Query(period=query.period) else "No article.")
        return
    console.print(table)
    days = "of all time" if page.range.is_all else f"from {page.range.first} to {page.range.last}"
    console.print(f"{dots(page.selection.articles)} articles with {dots(page.selection.views)} views {days}.")


@contextmanager
def opened_file(path: Path) -> Iterator[tuple[BinaryIO, Path]]:
    """Open the output, and a temporary place from which a file is moved there when it is complete. Raises
    InvalidQuery."""
    if path == STDOUT:
        # As bytes, because the encoding of the terminal may lack letters that the file has.
        yield sys.stdout.buffer, path
        sys.stdout.buffer.flush()
        return
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        try:
            with beside.open("xb") as file:
                yield file, beside
            beside.replace(path)
        finally:
            with suppress(OSError):
                beside.unlink()
    except OSError as error:
        raise InvalidQuery(f"{path} cannot be written: {error.strerror or error}") from error


async def _write(
    file: BinaryIO, beside: Path, what: Kind, pieces: AsyncIterator[Page], site: Site, query: Query, language: Shown,
    separator: str,
) -> int:  # fmt: skip
    rows = 0
    text: CsvText | None = None
    book: Workbook | None = None
    async for page in pieces:
        if text is None and book is None:
            shown = columns(page.range, within=query.within, compare=query.compare)
            if what == "csv":
                text = CsvText(site, shown, language, separator)
                file.write(text.head().encode())
            else:
                book = Workbook(beside, site, shown, language)
        rows += len(page.rows)
        if text is not None:
            file.write(text.rows(page.rows).encode())
        elif book is not None:
            book.rows(page.rows)
    if book is not None:
        await asyncio.to_thread(book.close)
    return rows
