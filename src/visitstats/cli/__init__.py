"""The command line. Exit status 0 is done, 1 refused or failed (one clear line on stderr), 2 wrong usage."""

import io
import os
import sys
from typing import Annotated

import typer

from visitstats import __version__
from visitstats.cli import (
    backups,
    changes,
    correcting,
    explaining,
    history,
    keys,
    lists,
    numbers,
    serving,
    sites,
    tasks,
    tokens,
    trust,
)
from visitstats.core.errors import VisitstatsError

app = typer.Typer(
    name="visitstats",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(serving.serve)
app.command()(serving.demo)
app.command()(serving.reload)
app.command()(numbers.stats)
app.command("articles")(lists.show_articles)
app.command("history")(history.show_history)
app.command("claims")(numbers.show_claims)
app.command("key")(keys.explain_keys)
app.command()(explaining.explain)
app.command()(changes.merge)
app.command()(changes.alias)
app.command()(changes.rename)
app.command()(changes.hide)
app.command()(changes.accept)
app.command()(correcting.adjust)
app.command()(correcting.reset)
app.command()(correcting.close)
app.command()(correcting.reopen)
app.command()(correcting.closed)
app.command()(changes.undo)
app.command()(changes.audit)
app.command()(trust.verify)
app.command()(trust.doctor)
app.command("restore")(backups.restore_backup)
app.add_typer(trust.app, name="journal")
app.add_typer(backups.app, name="backup")
app.add_typer(tasks.app, name="tasks")
app.add_typer(sites.app, name="site")
app.add_typer(tokens.app, name="token")


def main() -> None:
    """Run the command line; the entry point of the program `visitstats`."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that knows no Vietnamese shows ? for its letters, and no traceback.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        app()
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
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """A visit counter for web portals that cannot lose or invent a number."""
