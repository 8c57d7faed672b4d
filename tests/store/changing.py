"""The desk of changes as tests sit at it: with a recorder of theirs."""

from __future__ import annotations

from collections.abc import Callable

from redis.asyncio import Redis

from visitstats.changes.desk import ChangeDesk
from visitstats.changes.scribe import Recorder
from visitstats.core.keys import KeyRules
from visitstats.core.periods import Calendar
from visitstats.core.sites import Site
from visitstats.reading.closings import ClosedMonths
from visitstats.store.changes import Changes
from visitstats.store.closings import Closings
from visitstats.store.import_records import Imports
from visitstats.store.tiles import Tiles
from visitstats.system.patterns import linear_pattern


def closed_months(client: Redis) -> ClosedMonths:
    """The closed months of a store."""
    return ClosedMonths(Closings(client), Changes(client), Tiles(client))


def change_desk(
    client: Redis,
    recorder: Recorder | None,
    site: Site,
    clock: Callable[[], int],
    rules: KeyRules | None = None,
    changes: Changes | None = None,
) -> ChangeDesk:
    """The changes of a site in a store."""
    rules = rules or KeyRules(site, linear_pattern)
    calendar = Calendar(site.timezone, site.week_start)
    return ChangeDesk(
        changes or Changes(client), Imports(client), Closings(client), recorder, site, rules, calendar,
        closed_months(client).day_views, clock,
    )  # fmt: skip
