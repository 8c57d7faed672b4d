"""The command line. Exit status 0 is done, 1 refused or failed (one clear line on stderr), 2 wrong usage."""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from visitstats import __version__, articles
from visitstats.access import SCOPES, Access
from visitstats.core.errors import InvalidSite, NotFound, VisitstatsError
from visitstats.core.keys import fold_host
from visitstats.core.sites import Site
from visitstats.directory import LiveSite
from visitstats.embedded import EmbeddedStore, running_store
from visitstats.settings import Settings
from visitstats.store.client import open_client
from visitstats.store.reads import Reads
from visitstats.store.records import Records

app = typer.Typer(
    name="visitstats",
    help="A visit counter for web portals that cannot lose or invent a number.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
site_app = typer.Typer(help="Sites: one for each portal.", no_args_is_help=True)
token_app = typer.Typer(help="Access tokens for editors, administrators and monitoring.", no_args_is_help=True)
app.add_typer(site_app, name="site")
app.add_typer(token_app, name="token")

T = TypeVar("T")
TRAFFIC_PER_MINUTE = 20.0
SEED_VIEWS = 822
"""What the seed's article had on the portal that it comes from; the demo takes it over as a baseline."""

ConfigOption = Annotated[Path | None, typer.Option("--config", help="Settings file (else ./visitstats.toml).", show_default=False)]
DataDirOption = Annotated[Path | None, typer.Option("--data-dir", help="Folder of the journal and the embedded store.", show_default=False)]
RedisOption = Annotated[str | None, typer.Option("--redis-url", help="Redis or Valkey instead of the embedded one.", show_default=False)]


def main() -> None:
    """Run the command line; the entry point of the program `visitstats`."""
    try:
        app(standalone_mode=True)
    except VisitstatsError as error:
        print(f"visitstats: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(0)
    except BrokenPipeError:
        # The reader of our output went away (| head): not an error of ours.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"visitstats {__version__}")
        raise typer.Exit


@app.callback()
def _program(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    """A visit counter for web portals that cannot lose or invent a number."""


# Serving -------------------------------------------------------------------------------------------------------------


@app.command()
def serve(
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    redis_url: RedisOption = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.", show_default=False)] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.", show_default=False)] = None,
    workers: Annotated[int | None, typer.Option(help="Processes that answer on the port.", show_default=False)] = None,
    metrics_port: Annotated[int | None, typer.Option(help="A port of its own for /metrics.", show_default=False)] = None,
) -> None:
    """Run the service. Without --redis-url it runs its own Valkey in the data folder."""
    settings = _settings(
        config, data_dir=data_dir, redis_url=redis_url, host=host, port=port, workers=workers, metrics_port=metrics_port
    )
    _serve(settings, demo=False, ready=lambda address: print(f"visitstats {__version__} listens on {address}", flush=True))


@app.command()
def demo(
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8080,
    data_dir: Annotated[Path, typer.Option(help="Folder of the demo's numbers; a second run carries on with them.")] = Path(
        "visitstats-data/demo"
    ),
    traffic: Annotated[bool, typer.Option("--traffic", help="Play visitors who come, read and leave.")] = False,
    rate: Annotated[float, typer.Option(help="Visitors per minute with --traffic.", min=0.1, max=600)] = TRAFFIC_PER_MINUTE,
) -> None:
    """Show it: a small town's portal with the counter on it, on this machine, from stored numbers."""
    settings = _settings(None, data_dir=data_dir, host="127.0.0.1", port=port)
    _serve(settings, demo=True, ready=lambda address: _invite(address, traffic, rate))


def _serve(settings: Settings, *, demo: bool, ready: Callable[[str], None]) -> None:
    from visitstats.web.server import listen, run, set_up_logging

    set_up_logging("warning" if demo else settings.log_level)
    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    main_socket = listen(settings.host, settings.port)
    sockets = [main_socket]
    if settings.metrics_port:
        sockets.append(listen(settings.host, settings.metrics_port))
    store = None if settings.redis_url else EmbeddedStore.start(settings.data_dir)
    try:
        settings = msgspec.structs.replace(settings, redis_url=settings.redis_url or (store.url if store else ""))
        _on_store(settings.redis_url, _prepare_demo if demo else _look)
        bound = main_socket.getsockname()
        shown = f"[{bound[0]}]" if ":" in bound[0] else bound[0]
        run(settings, sockets, store, demo=demo, started=lambda: ready(f"http://{shown}:{bound[1]}"))
    finally:
        for opened in sockets:
            opened.close()
        if store is not None:
            store.stop()


async def _look(records: Records, reads: Reads) -> None:
    """Refuse a store that must not be counted in, before any worker starts."""
    from visitstats.core.errors import StoreUnavailable

    try:
        for warning in await reads.check_fit():
            _complain(warning)
    except StoreUnavailable as error:
        _complain(f"{error}; hits are journalled until it is back")


async def _prepare_demo(records: Records, reads: Reads) -> None:
    """Make the site `demo`, once, with the views that the seed's article had."""
    from visitstats.core.entries import Entry
    from visitstats.demo.articles import load_articles

    if "demo" in await records.sites():
        return
    await records.put_site(
        Site(id="demo", name="Cổng thông tin (minh họa)", hosts=("127.0.0.1", "localhost"), count_headless=True)
    )
    seed = next(article for article in load_articles() if article.path == "")
    await records.set_baseline("demo", 0, {Entry("/demo", seed.title): SEED_VIEWS})


def _invite(address: str, traffic: bool, rate: float) -> None:
    console = Console()
    console.print(f"\n  The portal with its counter:  [bold link]{address}/demo/[/]")
    console.print(f"  Its numbers:                  {address}/v1/sites/demo/stats")
    console.print("  Ctrl-C ends it; the next run carries on with the same numbers.\n")
    if traffic:
        from visitstats.demo.player import start_player

        start_player(address, rate, console)


# Sites ---------------------------------------------------------------------------------------------------------------

HostOption = Annotated[list[str] | None, typer.Option("--host", help="A host of the portal; repeat it for each.", show_default=False)]
TimezoneOption = Annotated[str | None, typer.Option("--timezone", help="Time zone of its days.", show_default="Asia/Ho_Chi_Minh")]
NameOption = Annotated[str | None, typer.Option("--name", help="Its name, for people.", show_default=False)]
WeekOption = Annotated[int | None, typer.Option("--week-start", help="First day of the week: 1 Monday … 7 Sunday.", show_default="1")]
BoxOption = Annotated[str | None, typer.Option("--box", help="What the box counts: visits or views.", show_default="visits")]
ViewsOption = Annotated[str | None, typer.Option("--views", help="A view counts: per-visit or every-load.", show_default="per-visit")]
IdParamOption = Annotated[list[str] | None, typer.Option("--id-param", help="Query parameter that names an article; repeat.", show_default=False)]
DropParamOption = Annotated[list[str] | None, typer.Option("--drop-param", help="Query parameter to leave out of keys; repeat.", show_default=False)]
CaseOption = Annotated[bool | None, typer.Option("--ignore-case/--keep-case", help="Whether case matters in addresses.", show_default=False)]
CanonicalOption = Annotated[bool | None, typer.Option("--use-canonical/--no-canonical", help="Whether a canonical link names the article.", show_default=False)]
OriginOption = Annotated[str | None, typer.Option("--missing-origin", help="Beacons without an Origin: allow or refuse.", show_default="allow")]
MostOption = Annotated[int | None, typer.Option("--max-articles", help="Articles beyond it count as (other).", show_default="300000")]
HeadlessOption = Annotated[bool | None, typer.Option("--count-headless/--no-headless", help="Whether headless browsers count as readers.", show_default=False)]


@site_app.command("add")
def site_add(
    site_id: Annotated[str, typer.Argument(metavar="ID", help="1 to 63 of a-z, 0-9 and '-'.")],
    host: HostOption = None, timezone: TimezoneOption = None, name: NameOption = None, week_start: WeekOption = None,
    box: BoxOption = None, views: ViewsOption = None, id_param: IdParamOption = None, drop_param: DropParamOption = None,
    ignore_case: CaseOption = None, use_canonical: CanonicalOption = None, missing_origin: OriginOption = None,
    max_articles: MostOption = None, count_headless: HeadlessOption = None,
    config: ConfigOption = None, data_dir: DataDirOption = None, redis_url: RedisOption = None,
) -> None:  # fmt: skip
    """Add a portal and print the snippet to paste into its pages."""
    site = _made({"id": site_id} | _changes(
        host, timezone, name, week_start, box, views, id_param, drop_param, ignore_case, use_canonical, missing_origin,
        max_articles, count_headless,
    ))  # fmt: skip

    async def add(records: Records, reads: Reads) -> None:
        if site.id in await records.sites():
            raise InvalidSite(f"there is a site {site.id!r} already; change it with: visitstats site set {site.id} …")
        await records.put_site(site)

    _with_store(config, data_dir, redis_url, add)
    print(f"Site {site.id} is added. Paste this line where the box shall stand:\n")
    print(f"  {_snippet(site)}\n")
    print("Behind the portal's own address /vs/ use src=\"/vs/widget.js\" (deploy/nginx shows how).")


@site_app.command("set")
def site_set(
    site_id: Annotated[str, typer.Argument(metavar="ID")],
    host: HostOption = None, timezone: TimezoneOption = None, name: NameOption = None, week_start: WeekOption = None,
    box: BoxOption = None, views: ViewsOption = None, id_param: IdParamOption = None, drop_param: DropParamOption = None,
    ignore_case: CaseOption = None, use_canonical: CanonicalOption = None, missing_origin: OriginOption = None,
    max_articles: MostOption = None, count_headless: HeadlessOption = None,
    config: ConfigOption = None, data_dir: DataDirOption = None, redis_url: RedisOption = None,
) -> None:  # fmt: skip
    """Change a portal's record; a running service follows within a second. Counts stay as they are."""
    changes = _changes(
        host, timezone, name, week_start, box, views, id_param, drop_param, ignore_case, use_canonical, missing_origin,
        max_articles, count_headless,
    )  # fmt: skip
    if not changes:
        raise typer.BadParameter("name at least one option to change")

    async def change(records: Records, reads: Reads) -> Site:
        site = _made(msgspec.to_builtins(await _find(records, site_id)) | changes)
        await records.put_site(site)
        return site

    _show(_with_store(config, data_dir, redis_url, change))


@site_app.command("list")
def site_list(config: ConfigOption = None, data_dir: DataDirOption = None, redis_url: RedisOption = None) -> None:
    """List all portals."""

    async def read(records: Records, reads: Reads) -> list[Site]:
        return sorted((await records.sites()).values(), key=lambda site: site.id)

    found = _with_store(config, data_dir, redis_url, read)
    table = Table("id", "name", "hosts", "time zone")
    for site in found:
        table.add_row(site.id, escape(site.name), " ".join(site.hosts), site.timezone)
    Console().print(table if found else "There is no site yet. Add one: visitstats site add ID --host HOST")


@site_app.command("show")
def site_show(
    site_id: Annotated[str, typer.Argument(metavar="ID")],
    config: ConfigOption = None, data_dir: DataDirOption = None, redis_url: RedisOption = None,
) -> None:  # fmt: skip
    """Show a portal's record."""
    _show(_with_store(config, data_dir, redis_url, lambda records, reads: _find(records, site_id)))


@site_app.command("embed")
def site_embed(
    site_id: Annotated[str, typer.Argument(metavar="ID")],
    config: ConfigOption = None, data_dir: DataDirOption = None, redis_url: RedisOption = None,
) -> None:  # fmt: skip
    """Print the snippet to paste into a portal's pages."""
    print(_snippet(_with_store(config, data_dir, redis_url, lambda records, reads: _find(records, site_id))))


@site_app.command("remove")
def site_remove(
    site_id: Annotated[str, typer.Argument(metavar="ID")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    config: ConfigOption = None, data_dir: DataDirOption = None, redis_url: RedisOption = None,
) -> None:  # fmt: skip
    """Stop counting for a portal. Its counts stay in the store: adding the same id again carries on with them."""
    if not yes:
        typer.confirm(f"Stop counting for site {site_id}?", abort=True)
    _with_store(config, data_dir, redis_url, lambda records, reads: records.remove_site(site_id))
    print(f"Site {site_id} is removed.")


def _changes(
    host: list[str] | None, timezone: str | None, name: str | None, week_start: int | None, box: str | None,
    views: str | None, id_param: list[str] | None, drop_param: list[str] | None, ignore_case: bool | None,
    use_canonical: bool | None, missing_origin: str | None, max_articles: int | None, count_headless: bool | None,
) -> dict[str, Any]:  # fmt: skip
    given = {
        "hosts": tuple(dict.fromkeys(fold_host(each) for each in host)) if host else None,
        "timezone": timezone, "name": name, "week_start": week_start, "box": box, "views": views,
        "id_params": tuple(id_param) if id_param else None,
        "extra_drop_params": tuple(drop_param) if drop_param else None,
        "ignore_case": ignore_case, "use_canonical": use_canonical, "missing_origin": missing_origin,
        "max_articles": max_articles, "count_headless": count_headless,
    }  # fmt: skip
    return {field: value for field, value in given.items() if value is not None}


def _made(fields: dict[str, Any]) -> Site:
    try:
        return msgspec.convert(fields, Site)
    except msgspec.ValidationError as error:
        raise InvalidSite(f"site {fields['id']}: {error}") from error


async def _find(records: Records, site_id: str) -> Site:
    site = (await records.sites()).get(site_id)
    if site is None:
        raise NotFound(f"there is no site {site_id!r}; visitstats site list shows them")
    return site


def _show(site: Site) -> None:
    table = Table(show_header=False)
    for field in msgspec.structs.fields(Site):
        value = getattr(site, field.name)
        table.add_row(field.name, escape(" ".join(value) if isinstance(value, tuple) else str(value)))
    Console().print(table)


def _snippet(site: Site) -> str:
    return f'<script async src="https://YOUR-COUNTER/widget.js" data-site="{site.id}"></script>'


# Tokens --------------------------------------------------------------------------------------------------------------


@token_app.command("add")
def token_add(
    name: Annotated[str, typer.Argument(help="Whose it is, or what for.")],
    scope: Annotated[str, typer.Option(help=f"What it may do: {', '.join(SCOPES)}.")],
    site: Annotated[str, typer.Option(help="The only site it is good for.", show_default="all sites")] = "",
    config: ConfigOption = None, data_dir: DataDirOption = None, redis_url: RedisOption = None,
) -> None:  # fmt: skip
    """Make an access token. It is shown once; only its hash is stored."""

    async def add(records: Records, reads: Reads) -> str:
        if site:
            await _find(records, site)
        return await Access(records).add(name, scope, site, datetime.now(UTC))

    text = _with_store(config, data_dir, redis_url, add)
    print(text)
    print("Keep it now: it is not shown again. Use it as: Authorization: Bearer …", file=sys.stderr)


@token_app.command("list")
def token_list(config: ConfigOption = None, data_dir: DataDirOption = None, redis_url: RedisOption = None) -> None:
    """List the access tokens, without their texts."""
    found = _with_store(config, data_dir, redis_url, lambda records, reads: Access(records).all())
    table = Table("name", "scope", "site", "made")
    for token in found:
        table.add_row(escape(token.name), token.scope, token.site or "all", token.created)
    Console().print(table if found else "There is no access token.")


@token_app.command("revoke")
def token_revoke(
    name: Annotated[str, typer.Argument()],
    config: ConfigOption = None, data_dir: DataDirOption = None, redis_url: RedisOption = None,
) -> None:  # fmt: skip
    """Make an access token useless from now on."""
    _with_store(config, data_dir, redis_url, lambda records, reads: Access(records).revoke(name))
    print(f"The token {name} is revoked.")


# Numbers -------------------------------------------------------------------------------------------------------------


@app.command()
def stats(
    site_id: Annotated[str, typer.Argument(metavar="SITE")],
    config: ConfigOption = None, data_dir: DataDirOption = None, redis_url: RedisOption = None,
) -> None:  # fmt: skip
    """Show the numbers of a site: visits, views, visitors online."""
    from visitstats.core import counting

    async def read(records: Records, reads: Reads) -> tuple[LiveSite, Any, int, dict[str, int]]:
        live = LiveSite(await _find(records, site_id))
        now = _now()
        day = live.calendar.day_at(now)
        counts = await reads.counts(site_id, day, now)
        return live, counts, await reads.uniques(site_id, day), await reads.ignored(site_id, day)

    live, counts, uniques, ignored = _with_store(config, data_dir, redis_url, read)
    visits, views = counting.numbers(counts.online, counts.visits), counting.numbers(counts.online, counts.views)
    table = Table("", "visits", "views", title=escape(live.site.name or live.site.id))
    for column in table.columns[1:]:
        column.justify = "right"
    for period in ("today", "yesterday", "week", "month", "year", "total"):
        table.add_row(period, _dots(getattr(visits, period)), _dots(getattr(views, period)))
    console = Console()
    console.print(table)
    console.print(f"Online now: {_dots(counts.online)}   Visitors today: about {_dots(uniques)} (estimate)")
    if ignored:
        console.print("Not counted today: " + ", ".join(f"{_dots(n)} {reason}" for reason, n in sorted(ignored.items())))


@app.command("articles")
def show_articles(
    site_id: Annotated[str, typer.Argument(metavar="SITE")],
    period: Annotated[str, typer.Option(help=f"One of {', '.join(articles.PERIODS)}.")] = "all",
    limit: Annotated[int, typer.Option(help="How many, the most read first.", min=1, max=articles.MOST_ROWS)] = 50,
    csv: Annotated[Path | None, typer.Option(help="Write a CSV file for Excel instead.", show_default=False)] = None,
    lang: Annotated[str, typer.Option(help="Headings of the file: vi or en.")] = "vi",
    config: ConfigOption = None, data_dir: DataDirOption = None, redis_url: RedisOption = None,
) -> None:  # fmt: skip
    """List the articles of a site with their views."""
    if lang not in articles.HEADINGS:
        raise typer.BadParameter("lang is vi or en")

    async def read(records: Records, reads: Reads) -> tuple[LiveSite, list[Any]]:
        live = LiveSite(await _find(records, site_id))
        return live, [row async for row in articles.rows(reads, live, period, limit, _now())]

    live, found = _with_store(config, data_dir, redis_url, read)
    if csv is not None:
        try:
            csv.write_text(articles.csv_text(live, found, lang), encoding="utf-8", newline="")
        except OSError as error:
            raise articles.InvalidQuery(f"{csv} cannot be written: {error.strerror}") from error
        print(f"{len(found)} articles are in {csv}")
        return
    table = Table("", "views", "title", "key")
    table.columns[1].justify = "right"
    for number, row in enumerate(found, 1):
        table.add_row(str(number), _dots(row.views), escape(row.entry.title), escape(row.entry.key))
    Console().print(table if found else "No article was read in this period.")


# Shared --------------------------------------------------------------------------------------------------------------


def _settings(config: Path | None, **options: object) -> Settings:
    return Settings.load(options, os.environ, config)


@contextmanager
def _store_url(settings: Settings) -> Iterator[str]:
    if settings.redis_url:
        yield settings.redis_url
    else:
        with running_store(settings.data_dir) as url:
            yield url


def _with_store(
    config: Path | None, data_dir: Path | None, redis_url: str | None, work: Callable[[Records, Reads], Awaitable[T]]
) -> T:
    """Do something on the store that the settings name: a running one, or the embedded one for as long as it takes."""
    with _store_url(_settings(config, data_dir=data_dir, redis_url=redis_url)) as url:
        return _on_store(url, work)


def _on_store(url: str, work: Callable[[Records, Reads], Awaitable[T]]) -> T:
    async def run() -> T:
        client = open_client(url)
        try:
            return await work(Records(client), Reads(client))
        finally:
            await client.aclose()
            await client.connection_pool.disconnect()

    return asyncio.run(run())


def _now() -> int:
    from visitstats.worker import wall_clock

    return wall_clock()


def _dots(number: int | None) -> str:
    """Write a number as a Vietnamese office does: 1.524."""
    return "—" if number is None else f"{number:,}".replace(",", ".")


def _complain(text: str) -> None:
    print(f"visitstats: {text}", file=sys.stderr)
