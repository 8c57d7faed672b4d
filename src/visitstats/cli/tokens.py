"""visitstats token …: access tokens."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from visitstats.access import GOOD_FOR, SCOPES, YEAR_DAYS, Access, InvalidToken, Made, Refusals
from visitstats.cli.session import (
    ConfigOption,
    DataDirOption,
    RedisOption,
    complain,
    find_site,
    settings_of,
    with_parts,
    with_store,
)
from visitstats.settings import Settings
from visitstats.store.fitness import Parts
from visitstats.store.reads import Reads
from visitstats.store.records import Records
from visitstats.store.refusals import DAYS, RefusalRows, Refused
from visitstats.system.clock import wall_clock

app = typer.Typer(help="Access tokens for editors, administrators and monitoring.", no_args_is_help=True)


@app.command("add")
def token_add(
    name: Annotated[str, typer.Argument(help="Whose it is, or what for.")],
    scope: Annotated[str, typer.Option(help=f"What it may do: {', '.join(SCOPES)}.")],
    site: Annotated[
        list[str] | None, typer.Option(help="A site for which it is valid; may be repeated.", show_default="all sites")
    ] = None,
    days: Annotated[
        int | None,
        typer.Option(
            help="For how many days it is valid; 0 for ever.",
            show_default=f"{YEAR_DAYS}; of machines (metrics, a file): 0",
        ),
    ] = None,
    from_file: Annotated[
        Path | None, typer.Option(help="A file with the token's text, made elsewhere.", show_default=False)
    ] = None,
    config: ConfigOption = None, data_dir: DataDirOption = None, redis_url: RedisOption = None,
) -> None:  # fmt: skip
    """Make an access token. It is shown once; only its hash is stored."""
    given = "" if from_file is None else secret_in(from_file)

    if days is None:
        # If the token of a program expired, its monitoring would stop without any notice.
        days = 0 if given or scope == "metrics" else YEAR_DAYS

    async def add(records: Records, reads: Reads) -> Made:
        for each in site or ():
            await find_site(records, each)
        return await Access(records, wall_clock).add(name, scope, site or (), given, days=days)

    made = with_store(config, data_dir, redis_url, add)
    until = f"until {made.token.expires[:10]}" if made.token.expires else "until it is revoked"
    if given:
        print(f"The token in {from_file} has the scope {scope} now, {until}.")
        return
    print(made.text)
    if scope in GOOD_FOR["viewer"]:
        print(pages(settings_of(config, data_dir=data_dir, redis_url=redis_url)), file=sys.stderr)
    print(
        f"Keep it now: it is not shown again. It is valid {until}. Use it as: Authorization: Bearer …", file=sys.stderr
    )


def pages(settings: Settings) -> str:
    """Return where the pages are that a token opens."""
    if settings.admin_hosts:
        return f"It opens the pages at https://{settings.admin_hosts[0]}{settings.base_path}/admin/"
    return (
        f"It opens the pages at http://127.0.0.1:{settings.port}{settings.base_path}/admin/ on this machine; "
        "name a host for them in the setting admin_hosts to open them elsewhere."
    )


def secret_in(path: Path) -> str:
    """Return the secret in a file, without the line break at its end. Raises InvalidToken."""
    try:
        text = path.read_text("utf-8-sig").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not a text file"
        raise InvalidToken(f"the token's file {path} cannot be read: {reason}") from error
    if not text:
        raise InvalidToken(f"the token's file {path} is empty")
    return text


@app.command("list")
def token_list(config: ConfigOption = None, data_dir: DataDirOption = None, redis_url: RedisOption = None) -> None:
    """List the access tokens, without their texts."""
    found = with_store(config, data_dir, redis_url, lambda records, reads: Access(records, wall_clock).all())
    table = Table("id", "name", "scope", "sites", "made", "by", "last used", "expires")
    for token_id, token, used in found.tokens:
        table.add_row(
            token_id, escape(token.name), escape(token.scope), ", ".join(token.sites) or "all", _day(token.created),
            escape(token.by) or "command line", escape(used[:13].replace("T", " ") + "h") if used else "never",
            _day(token.expires) or "never",
        )  # fmt: skip
    Console().print(table if found.tokens else "There is no access token.")
    if found.damaged:
        complain(
            f"the records of these tokens are damaged; they let nobody in, revoke them: {', '.join(found.damaged)}"
        )


@app.command("revoke")
def token_revoke(
    name: Annotated[str, typer.Argument(help="The token's name, or its id.")],
    config: ConfigOption = None, data_dir: DataDirOption = None, redis_url: RedisOption = None,
) -> None:  # fmt: skip
    """Revoke an access token: it is refused from now on."""

    async def revoke(records: Records, reads: Reads) -> None:
        access = Access(records, wall_clock)
        await access.revoke(await access.id_of(name))

    with_store(config, data_dir, redis_url, revoke)
    print(f"The token {name} is revoked.")


@app.command("refusals")
def token_refusals(
    days: Annotated[int, typer.Option(min=1, max=DAYS, help="Of how many days, today among them (UTC).")] = 7,
    config: ConfigOption = None, data_dir: DataDirOption = None, redis_url: RedisOption = None,
) -> None:  # fmt: skip
    """Show the requests that were refused: for which reason, to which network or token, and how often."""
    settings = settings_of(config, data_dir=data_dir, redis_url=redis_url)

    async def read(parts: Parts) -> list[Refused]:
        return await Refusals(RefusalRows(parts.client), wall_clock).last(days)

    found = with_parts(settings, read, claim=False)
    table = Table("last (UTC)", "times", "status", "reason", "token", "network", "asked for", "site")
    for (status, reason, who, network, route, site), times, last_ms in found:
        table.add_row(
            f"{datetime.fromtimestamp(last_ms / 1000, UTC):%Y-%m-%d %H:%M}", str(times), str(status or "—"), reason,
            escape(who) or "—", network or "—", escape(route) or "—", site or "—",
        )  # fmt: skip
    Console().print(table if found else f"Nothing was refused in the last {days} days.")


def _day(moment: str) -> str:
    return escape(moment[:10])
