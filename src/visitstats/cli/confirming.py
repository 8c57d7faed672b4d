"""Asking before what cannot be taken back with one word: the id of the site is typed."""

import sys

from visitstats.core.errors import VisitstatsError


class NotConfirmed(VisitstatsError):
    """What was not confirmed. Nothing was changed."""


def check_can_ask(what: str, *, yes: bool) -> None:
    """Raise NotConfirmed when somebody is to be asked, and there is no terminal."""
    if not yes and not sys.stdin.isatty():
        raise NotConfirmed(f"nothing was changed: there is no terminal on which to confirm it; say --yes to {what}")


def confirm(site_id: str, what: str, *, yes: bool) -> None:
    """Have the id of a site typed on the terminal, unless it was said that nobody is to be asked. Raises
    NotConfirmed."""
    check_can_ask(what, yes=yes)
    if yes:
        return
    print(f"To {what}, type its id: ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip() != site_id:
        raise NotConfirmed(f"nothing was changed: that was not {site_id}")
