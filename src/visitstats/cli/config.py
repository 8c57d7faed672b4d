"""visitstats config check, visitstats config show: the settings with which the service would start."""

import os
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from visitstats.cli.session import ConfigOption
from visitstats.settings import PREFIX, SETTINGS, Settings

app = typer.Typer(help="The settings of this start.", no_args_is_help=True)
DEFAULT = "default"


@app.command("check")
def check_config(config: ConfigOption = None) -> None:
    """Say whether the settings are valid; exit with 78 when they are not, as the service would. Nothing is started."""
    _, places = Settings.loaded(None, os.environ, config)
    variables = sum(place.startswith(PREFIX) for place in places.values())
    given = [
        f"{n} from {what}" for n, what in ((variables, "the environment"), (len(places) - variables, "the file")) if n
    ]
    print(f"The settings are good: {', '.join(given) or 'none is given'}; the others have their defaults.")


@app.command("show")
def show_config(
    everything: Annotated[bool, typer.Option("--all", help="Also show settings that have their default.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
    config: ConfigOption = None,
) -> None:
    """Show each setting with its value and where it comes from; passwords are hidden."""
    settings, places = Settings.loaded(None, os.environ, config)
    values = {name: _shown(settings, name) for name in SETTINGS if everything or name in places}
    if json:
        rows = {name: {"value": value, "from": places.get(name, DEFAULT)} for name, value in values.items()}
        print(msgspec.json.format(msgspec.json.encode(rows), indent=2).decode())
        return
    if not values:
        print("Every setting has its default; --all shows them.")
        return
    table = Table(box=None, pad_edge=False, header_style="")
    for title in ("setting", "value", "from"):
        table.add_column(title, overflow="fold")
    for name, value in values.items():
        table.add_row(name, escape(value), escape(places.get(name, DEFAULT)))
    Console().print(table)


def _shown(settings: Settings, name: str) -> str:
    if name == "redis_url":
        return settings.redis_url_shown
    return settings.to_environ()[SETTINGS[name].variable]
