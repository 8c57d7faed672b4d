"""visitstats site …: the portals."""

from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from visitstats.cli.session import ConfigOption, DataDirOption, RedisOption, find_site, with_store
from visitstats.core.errors import InvalidSite
from visitstats.core.keys import fold_host
from visitstats.core.sites import Site
from visitstats.store.reads import Reads
from visitstats.store.records import Records

app = typer.Typer(help="Sites: one for each portal.", no_args_is_help=True)

HostOption = Annotated[
    list[str] | None, typer.Option("--host", help="A host of the portal; repeat it for each.", show_default=False)
]
TimezoneOption = Annotated[
    str | None, typer.Option("--timezone", help="Time zone of its days.", show_default="Asia/Ho_Chi_Minh")
]
NameOption = Annotated[str | None, typer.Option("--name", help="Its name, for people.", show_default=False)]
WeekOption = Annotated[
    int | None, typer.Option("--week-start", help="First day of the week: 1 Monday … 7 Sunday.", show_default="1")
]
BoxOption = Annotated[
    str | None, typer.Option("--box", help="What the box counts: visits or views.", show_default="visits")
]
ViewsOption = Annotated[
    str | None, typer.Option("--views", help="A view counts: per-visit or every-load.", show_default="per-visit")
]
IdParamOption = Annotated[
    list[str] | None,
    typer.Option("--id-param", help="Query parameter that names an article; repeat.", show_default=False),
]
DropParamOption = Annotated[
    list[str] | None,
    typer.Option("--drop-param", help="Query parameter to leave out of keys; repeat.", show_default=False),
]
CaseOption = Annotated[
    bool | None,
    typer.Option("--ignore-case/--keep-case", help="Whether case matters in addresses.", show_default=False),
]
CanonicalOption = Annotated[
    bool | None,
    typer.Option(
        "--use-canonical/--no-canonical", help="Whether a canonical link names the article.", show_default=False
    ),
]
OriginOption = Annotated[
    str | None,
    typer.Option("--missing-origin", help="Beacons without an Origin: allow or refuse.", show_default="allow"),
]
MostOption = Annotated[
    int | None, typer.Option("--max-articles", help="Articles beyond it count as (other).", show_default="300000")
]
HeadlessOption = Annotated[
    bool | None,
    typer.Option(
        "--count-headless/--no-headless", help="Whether headless browsers count as readers.", show_default=False
    ),
]


@app.command("add")
def site_add(
    site_id: Annotated[str, typer.Argument(metavar="ID", help="1 to 63 of a-z, 0-9 and '-'.")],
    host: HostOption = None, timezone: TimezoneOption = None, name: NameOption = None, week_start: WeekOption = None,
    box: BoxOption = None, views: ViewsOption = None, id_param: IdParamOption = None, drop_param: DropParamOption =
    None, ignore_case: CaseOption = None, use_canonical: CanonicalOption = None, missing_origin: OriginOption = None,
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

    with_store(config, data_dir, redis_url, add)
    print(f"Site {site.id} is added. Paste this line where the box shall stand:\n")
    print(f"  {_snippet(site)}\n")
    print('Behind the portal\'s own address /vs/ use src="/vs/widget.js" (deploy/nginx shows how).')


@app.command("set")
def site_set(
    site_id: Annotated[str, typer.Argument(metavar="ID")],
    host: HostOption = None, timezone: TimezoneOption = None, name: NameOption = None, week_start: WeekOption = None,
    box: BoxOption = None, views: ViewsOption = None, id_param: IdParamOption = None, drop_param: DropParamOption =
    None, ignore_case: CaseOption = None, use_canonical: CanonicalOption = None, missing_origin: OriginOption = None,
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
        site = _made(msgspec.to_builtins(await find_site(records, site_id)) | changes)
        await records.put_site(site)
        return site

    _show(with_store(config, data_dir, redis_url, change))


@app.command("list")
def site_list(config: ConfigOption = None, data_dir: DataDirOption = None, redis_url: RedisOption = None) -> None:
    """List all portals."""

    async def read(records: Records, reads: Reads) -> list[Site]:
        return sorted((await records.sites()).values(), key=lambda site: site.id)

    found = with_store(config, data_dir, redis_url, read)
    table = Table("id", "name", "hosts", "time zone")
    for site in found:
        table.add_row(site.id, escape(site.name), " ".join(site.hosts), site.timezone)
    Console().print(table if found else "There is no site yet. Add one: visitstats site add ID --host HOST")


@app.command("show")
def site_show(
    site_id: Annotated[str, typer.Argument(metavar="ID")],
    config: ConfigOption = None, data_dir: DataDirOption = None, redis_url: RedisOption = None,
) -> None:  # fmt: skip
    """Show a portal's record."""
    _show(with_store(config, data_dir, redis_url, lambda records, reads: find_site(records, site_id)))


@app.command("embed")
def site_embed(
    site_id: Annotated[str, typer.Argument(metavar="ID")],
    config: ConfigOption = None, data_dir: DataDirOption = None, redis_url: RedisOption = None,
) -> None:  # fmt: skip
    """Print the snippet to paste into a portal's pages."""
    print(_snippet(with_store(config, data_dir, redis_url, lambda records, reads: find_site(records, site_id))))


@app.command("remove")
def site_remove(
    site_id: Annotated[str, typer.Argument(metavar="ID")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    config: ConfigOption = None, data_dir: DataDirOption = None, redis_url: RedisOption = None,
) -> None:  # fmt: skip
    """Stop counting for a portal. Its counts stay in the store: adding the same id again carries on with them."""
    if not yes:
        typer.confirm(f"Stop counting for site {site_id}?", abort=True)
    with_store(config, data_dir, redis_url, lambda records, reads: records.remove_site(site_id))
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


def _show(site: Site) -> None:
    table = Table(show_header=False)
    for field in msgspec.structs.fields(Site):
        value = getattr(site, field.name)
        table.add_row(field.name, escape(" ".join(value) if isinstance(value, tuple) else str(value)))
    Console().print(table)


def _snippet(site: Site) -> str:
    return f'<script async src="https://YOUR-COUNTER/widget.js" data-site="{site.id}"></script>'
