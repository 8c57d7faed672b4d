"""The command line. Exit status 0 is done, 1 refused or failed (one clear line on stderr), 2 wrong usage, 78
settings that are wrong (EX_CONFIG of sysexits.h: a supervisor knows that another start would not help)."""

import io
import os
import sys
from collections.abc import Mapping
from importlib import import_module
from typing import Annotated

import typer

from visitstats import __version__
from visitstats.core.errors import VisitstatsError
from visitstats.journal.folder import keep_private

COMMANDS: Mapping[str, str] = {
    "serve": "serving.serve",
    "demo": "serving.demo",
    "reload": "serving.reload",
    "stats": "numbers.stats",
    "articles": "lists.app",
    "report": "reports.show_report",
    "history": "history.show_history",
    "claims": "numbers.show_claims",
    "key": "keys.explain_keys",
    "explain": "explaining.explain",
    "import": "imports.bring",
    "merge": "changes.merge",
    "alias": "changes.alias",
    "rename": "changes.rename",
    "hide": "changes.hide",
    "accept": "changes.accept",
    "adjust": "correcting.adjust",
    "reset": "correcting.reset",
    "close": "correcting.close",
    "reopen": "correcting.reopen",
    "closed": "correcting.closed",
    "undo": "changes.undo",
    "audit": "changes.audit",
    "verify": "trust.verify",
    "doctor": "trust.doctor",
    "restore": "backups.restore_backup",
    "journal": "trust.app",
    "backup": "backups.app",
    "config": "config.app",
    "tasks": "tasks.app",
    "site": "sites.app",
    "token": "tokens.app",
}
"""Each command, in the order of the help: its module in this room, and the function or the group in it."""


def application(only: str = "") -> typer.Typer:
    """Make the program of all commands; of one alone when it is named, because loading all of them takes 0.4 s."""
    app = typer.Typer(name="visitstats", no_args_is_help=True, pretty_exceptions_enable=False)
    app.callback()(_program)
    for name in (only,) if only in COMMANDS else COMMANDS:
        module, _, attribute = COMMANDS[name].partition(".")
        found = getattr(import_module(f"visitstats.cli.{module}"), attribute)
        if isinstance(found, typer.Typer):
            app.add_typer(found, name=name)
        else:
            app.command(name)(found)
    return app


def main() -> None:
    """Run the command line; the entry point of the program `visitstats`."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show Vietnamese letters gets ? for them, and no traceback.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    keep_private()
    try:
        application(sys.argv[1] if len(sys.argv) > 1 else "")()
    except VisitstatsError as error:
        print(f"visitstats: {error}", file=sys.stderr)
        sys.exit(error.exit_status)
    except KeyboardInterrupt:
        sys.exit(0)
    except BrokenPipeError:
        # The program that reads our output has ended (| head): that is no error.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"visitstats {__version__}")
        raise typer.Exit


def _program(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """A visit counter for web portals that cannot lose or invent a number."""
