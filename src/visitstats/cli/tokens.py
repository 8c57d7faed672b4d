"""visitstats token …: who may read what."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from visitstats.access import SCOPES, Access, InvalidToken
from visitstats.cli.session import ConfigOption, DataDirOption, RedisOption, find_site, with_store
from visitstats.store.reads import Reads
from visitstats.store.records import Records

app = typer.Typer(help="Access tokens for editors, administrators and monitoring.", no_args_is_help=True)


@app.command("add")
def token_add(
    name: Annotated[str, typer.Argument(help="Whose it is, or what for.")],
    scope: Annotated[str, typer.Option(help=f"What it may do: {', '.join(SCOPES)}.")],
    site: Annotated[str, typer.Option(help="The only site it is good for.", show_default="all sites")] = "",
    from_file: Annotated[
        Path | None, typer.Option(help="A file with the token's text, made elsewhere.", show_default=False)
    ] = None,
    config: ConfigOption = None, data_dir: DataDirOption = None, redis_url: RedisOption = None,
) -> None:  # fmt: skip
    """Make an access token. It is shown once; only its hash is stored."""
    given = "" if from_file is None else secret_in(from_file)

    async def add(records: Records, reads: Reads) -> str:
        if site:
            await find_site(records, site)
        return await Access(records).add(name, scope, site, datetime.now(UTC), given)

    text = with_store(config, data_dir, redis_url, add)
    if given:
        print(f"The token in {from_file} is good for {scope} now.")
        return
    print(text)
    print("Keep it now: it is not shown again. Use it as: Authorization: Bearer …", file=sys.stderr)


def secret_in(path: Path) -> str:
    """Return the secret in a file, without the line break at its end. Raises InvalidToken."""
    try:
        text = path.read_text("utf-8-sig").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise InvalidToken(f"the token's file {path} cannot be read: {reason}") from error
    if not text:
        raise InvalidToken(f"the token's file {path} is empty")
    return text


@app.command("list")
def token_list(config: ConfigOption = None, data_dir: DataDirOption = None, redis_url: RedisOption = None) -> None:
    """List the access tokens, without their texts."""
    found = with_store(config, data_dir, redis_url, lambda records, reads: Access(records).all())
    table = Table("name", "scope", "site", "made")
    for token in found:
        table.add_row(escape(token.name), token.scope, token.site or "all", token.created)
    Console().print(table if found else "There is no access token.")


@app.command("revoke")
def token_revoke(
    name: Annotated[str, typer.Argument()],
    config: ConfigOption = None, data_dir: DataDirOption = None, redis_url: RedisOption = None,
) -> None:  # fmt: skip
    """Make an access token useless from now on."""
    with_store(config, data_dir, redis_url, lambda records, reads: Access(records).revoke(name))
    print(f"The token {name} is revoked.")
