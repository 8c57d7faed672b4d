"""visitstats key: explains how an address becomes its key."""

from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from visitstats.cli.session import ConfigOption, DataDirOption, RedisOption, find_site, with_store
from visitstats.core.keys import Explanation, KeyRules
from visitstats.store.reads import Reads
from visitstats.store.records import Records
from visitstats.system.patterns import linear_pattern


def explain_keys(
    site_id: Annotated[str, typer.Argument(metavar="SITE")],
    urls: Annotated[list[str], typer.Argument(metavar="URL…", help="Addresses of pages, with https://.")],
    key: Annotated[str, typer.Option("--key", help="The explicit key that the page gives.", show_default=False)] = "",
    canonical: Annotated[
        str, typer.Option("--canonical", help="The canonical link that the page has.", show_default=False)
    ] = "",
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    redis_url: RedisOption = None,
) -> None:
    """Show the key of an address, and step by step how it is found."""

    async def read(records: Records, reads: Reads) -> KeyRules:
        site = await find_site(records, site_id)
        return KeyRules(site, linear_pattern, await records.changes.aliases(site_id))

    rules = with_store(config, data_dir, redis_url, read)
    console = Console()
    for url in urls:
        # Bytes that are not UTF-8 cannot be printed; an address that has them is refused anyway.
        text = url.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        _print(console, rules.explain(text, explicit=key, canonical=canonical))


def _print(console: Console, explained: Explanation) -> None:
    table = Table("rule", "what it made of the address", title=escape(explained.url), title_justify="left")
    table.columns[0].no_wrap = True
    for step in explained.steps:
        made = [escape(step.after)] if step.changed and step.after else []
        if step.note:
            made.append(f"[dim]({escape(step.note)})[/]")
        table.add_row(step.rule, "\n".join(made) or "[dim](unchanged)[/]")
    console.print(table)
    if explained.key is None:
        console.print(f"Not counted: [bold]{explained.reason}[/], {escape(explained.detail)}\n", soft_wrap=True)
    else:
        console.print(f"Key: [bold]{escape(explained.key)}[/]\n", soft_wrap=True)
