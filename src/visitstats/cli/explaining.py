"""visitstats explain: why a page load is counted, or why not."""

from typing import Annotated
from urllib.parse import urlsplit

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from visitstats.cli.session import ConfigOption, DataDirOption, RedisOption, find_site, with_store
from visitstats.core.beacon import HitQuery, hit_from_query
from visitstats.core.errors import HitRejected
from visitstats.sites.directory import LiveSite
from visitstats.store.reads import Reads
from visitstats.store.records import Records
from visitstats.system.clock import wall_clock
from visitstats.web.agents_data import agent_rules
from visitstats.web.beacons.address import ClientAddress
from visitstats.web.beacons.limits import NetworkLimits
from visitstats.web.beacons.senders import Senders
from visitstats.web.routes.explain import Explained, Explanation, malformed

BROWSER = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36"
)
ADDRESS = "192.0.2.1"
"""An address that is reserved for documentation (RFC 5737), so that it is no reader's."""


def explain(
    site_id: Annotated[str, typer.Argument(metavar="SITE")],
    url: Annotated[str, typer.Argument(metavar="URL", help="Address of the page, with https://.")],
    agent: Annotated[str, typer.Option(help="User agent.", show_default="an ordinary browser's")] = BROWSER,
    origin: Annotated[
        str | None, typer.Option(help="Origin header; empty for none.", show_default="that of the page")
    ] = None,
    address: Annotated[str, typer.Option(help="The reader's address.")] = ADDRESS,
    visit_id: Annotated[str, typer.Option(help="Visit id.", show_default=False)] = "",
    hit_id: Annotated[str, typer.Option(help="Hit id.", show_default=False)] = "",
    config: ConfigOption = None, data_dir: DataDirOption = None, redis_url: RedisOption = None,
) -> None:  # fmt: skip
    """Say whether a page load would be counted now, and what each rule says. Nothing is counted."""
    named = {b"user-agent": agent, b"origin": _origin(url) if origin is None else origin}
    headers = {name: text.encode("utf-8", "replace") for name, text in named.items() if text}

    async def read(records: Records, reads: Reads) -> Explained:
        live = LiveSite(await find_site(records, site_id), await records.changes.aliases(site_id))
        try:
            beacon = hit_from_query(HitQuery(url, v=visit_id, h=hit_id))
        except HitRejected as refused:
            return malformed(refused)
        senders = Senders(ClientAddress(()), agent_rules(), NetworkLimits(None, 0, 1))
        return await Explanation(senders, reads, live, wall_clock()).of(headers, address, beacon)

    _print(with_store(config, data_dir, redis_url, read))


def _origin(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return f"{parts.scheme}://{parts.netloc}" if parts.netloc else ""


def _print(found: Explained) -> None:
    table = Table("rule", "outcome", "why")
    for step in found.steps:
        outcome = f"[bold]{step.outcome}: {step.reason}[/]" if step.reason else step.outcome
        table.add_row(step.rule, outcome, escape(step.note))
    console = Console()
    console.print(table)
    if not found.counted:
        console.print(f"Not counted: [bold]{found.reason}[/]")
        return
    console.print(f"Counted for the article [bold]{escape(found.key or '')}[/]", soft_wrap=True)
