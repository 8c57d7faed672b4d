"""Asks for confirmation of a change that is hard to take back: the person types the id of the site."""

import sys

from visitstats.core.errors import VisitstatsError


class NotConfirmed(VisitstatsError):
    """A change was not confirmed. Nothing was changed."""


def check_can_ask(what: str, *, yes: bool) -> None:
    """Raise NotConfirmed when a confirmation is needed and there is no terminal to ask on."""
    if not yes and not sys.stdin.isatty():
        raise NotConfirmed(f"nothing was changed: there is no terminal on which to confirm it; say --yes to {what}")


def confirm(site_id: str, what: str, *, yes: bool) -> None:
    """Ask on the terminal for the id of a site, unless `yes`. Raises NotConfirmed."""
    check_can_ask(what, yes=yes)
    if yes:
        return
    print(f"To {what}, type its id: ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip() != site_id:
        raise NotConfirmed(f"nothing was changed: that was not {site_id}")
