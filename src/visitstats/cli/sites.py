"""visitstats site …: the portals."""

import secrets
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from visitstats.cli import whole_sites
from visitstats.cli.baselines import set_baselines
from visitstats.cli.change_session import Bench, Session, WhoOption, WhyOption, ordered
from visitstats.cli.embedding import site_embed, usual_snippet
from visitstats.cli.session import ConfigOption, DataDirOption, RedisOption, find_site, with_store
from visitstats.cli.site_options import fields, folded, shown, with_site_options
from visitstats.core.boxes import PRESETS
from visitstats.core.errors import InvalidSite
from visitstats.core.sites import MOST_SECRETS, Site
from visitstats.store.reads import Reads
from visitstats.store.records import Records

app = typer.Typer(help="Sites: one for each portal.", no_args_is_help=True)


@app.command("add")
@with_site_options
def site_add(
    site_id: Annotated[str, typer.Argument(metavar="ID", help="1 to 63 of a-z, 0-9 and '-'.")],
    *,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    redis_url: RedisOption = None,
    **given: Any,
) -> None:
    """Add a portal and print the snippet to paste into its pages."""
    site = _made({"id": site_id} | fields(given))

    async def add(records: Records, reads: Reads) -> None:
        if site.id in await records.sites():
            raise InvalidSite(f"there is a site {site.id!r} already; change it with: visitstats site set {site.id} …")
        await records.put_site(site)

    with_store(config, data_dir, redis_url, add)
    print(f"Site {site.id} is added. Paste this where the box shall stand:\n")
    print(f"{usual_snippet(site)}\n")
    print("Behind the portal's own address /vs/ (the examples in deploy/ show how), or with another look:")
    print(f"  visitstats site embed {site.id} --api /vs --preset {'|'.join(PRESETS)}")
    print("Where a Content-Security-Policy or Trusted Types forbid inline code (docs/embedding.md):")
    print(f"  visitstats site embed {site.id} --short")


@app.command("set")
@with_site_options
def site_set(
    site_id: Annotated[str, typer.Argument(metavar="ID")],
    *,
    add_host: Annotated[
        list[str] | None, typer.Option("--add-host", help="One more host; repeat it for each.", show_default=False)
    ] = None,
    remove_host: Annotated[
        list[str] | None,
        typer.Option("--remove-host", help="A host to remove; repeat it for each.", show_default=False),
    ] = None,
    baseline: Annotated[
        int | None, typer.Option(help="Visits that an older counter had, of all time.", min=0, show_default=False)
    ] = None,
    baseline_views: Annotated[
        int | None, typer.Option(help="Views that an older counter had, of all time.", min=0, show_default=False)
    ] = None,
    who: WhoOption = None,
    why: WhyOption = "",
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    redis_url: RedisOption = None,
    **given: Any,
) -> None:
    """Change a portal's record; a running service follows within a second. Only --baseline changes counts."""
    changes = fields(given)
    baselines = {name: n for name, n in (("visits", baseline), ("views", baseline_views)) if n is not None}
    if not (changes or add_host or remove_host or baselines):
        raise typer.BadParameter("name at least one option to change")
    if baselines:
        set_baselines(Session(config, data_dir, redis_url, site_id), baselines, ordered(who, why))
        if not (changes or add_host or remove_host):
            return

    async def change(bench: Bench) -> Site:
        known = bench.site
        hosts = _moved(site_id, changes.get("hosts", known.hosts), folded(add_host or ()), folded(remove_host or ()))
        site = _made(msgspec.to_builtins(known) | changes | {"hosts": hosts})
        await bench.desk.settings.change(bench.records, known, site, ordered(who, why))
        return site

    _show(Session(config, data_dir, redis_url, site_id).run(change, changes=True))


@app.command("list")
def site_list(config: ConfigOption = None, data_dir: DataDirOption = None, redis_url: RedisOption = None) -> None:
    """List all portals."""

    async def read(records: Records, reads: Reads) -> tuple[list[Site], list[str]]:
        removed = [name for name, each in (await records.removals.all()).items() if each.is_kept]
        return sorted((await records.sites()).values(), key=lambda site: site.id), removed

    found, removed = with_store(config, data_dir, redis_url, read)
    table = Table("id", "name", "hosts", "time zone")
    for site in found:
        table.add_row(site.id, escape(site.name), " ".join(site.hosts), site.timezone)
    Console().print(table if found else "There is no site yet. Add one: visitstats site add ID --host HOST")
    if removed:
        print(f"Removed, and kept for 30 days (visitstats site restore ID): {', '.join(removed)}")


@app.command("show")
def site_show(
    site_id: Annotated[str, typer.Argument(metavar="ID")],
    config: ConfigOption = None, data_dir: DataDirOption = None, redis_url: RedisOption = None,
) -> None:  # fmt: skip
    """Show a portal's record."""
    _show(with_store(config, data_dir, redis_url, lambda records, reads: find_site(records, site_id)))


app.command("embed")(site_embed)


@app.command("sign")
def site_sign(
    site_id: Annotated[str, typer.Argument(metavar="ID")],
    forget_old: Annotated[
        bool, typer.Option("--forget-old", help="Make none; forget all but the newest: those of others become void.")
    ] = False,
    who: WhoOption = None, why: WhyOption = "",
    config: ConfigOption = None, data_dir: DataDirOption = None, redis_url: RedisOption = None,
) -> None:  # fmt: skip
    """Make a secret with which the portal signs its articles. Earlier ones stay valid until they are forgotten."""
    secret = secrets.token_hex(32)

    async def change(bench: Bench) -> Site:
        known = bench.site
        kept = known.signing_secrets[:1] if forget_old else (secret, *known.signing_secrets)[:MOST_SECRETS]
        site = msgspec.structs.replace(known, signing_secrets=kept)
        await bench.desk.settings.change(bench.records, known, site, ordered(who, why))
        return site

    site = Session(config, data_dir, redis_url, site_id).run(change, changes=True)
    if forget_old:
        print(f"Only the newest secret of site {site_id} is valid now.")
        return
    print(f"The secret of site {site_id}, shown once: {secret}")
    print(f"It is valid, and {len(site.signing_secrets) - 1} before it; docs/embedding.md says how to sign.")
    if site.signatures == "off":
        print(f"When the portal signs: visitstats site set {site_id} --signatures prefer")


app.command("export")(whole_sites.site_export)
app.command("import")(whole_sites.site_import)
app.command("merge")(whole_sites.site_merge)
app.command("rename")(whole_sites.site_rename)
app.command("remove")(whole_sites.site_remove)
app.command("restore")(whole_sites.site_restore)


def _moved(site_id: str, hosts: tuple[str, ...], added: tuple[str, ...], removed: tuple[str, ...]) -> tuple[str, ...]:
    """The hosts of a site after a move."""
    for host in removed:
        if host not in hosts:
            raise InvalidSite(f"site {site_id}: {host} is not one of its hosts, which are {' '.join(hosts)}")
    return tuple(host for host in dict.fromkeys((*hosts, *added)) if host not in removed)


def _made(fields: dict[str, Any]) -> Site:
    try:
        return msgspec.convert(fields, Site)
    except msgspec.ValidationError as error:
        raise InvalidSite(f"site {fields['id']}: {error}") from error


def _show(site: Site) -> None:
    table = Table(show_header=False)
    for field in msgspec.structs.fields(Site):
        value = getattr(site, field.name)
        if field.name == "signing_secrets":
            value = tuple(f"{secret[:4]}…" for secret in value)
        table.add_row(field.name, escape(shown(value)))
    Console().print(table)
