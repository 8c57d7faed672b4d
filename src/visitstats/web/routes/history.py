"""The history of a site for editors and administrators: hours, days, months, years; records and averages."""

from collections.abc import Callable
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from visitstats.core.counting import HOUR_MS
from visitstats.core.history import Peak, Row
from visitstats.core.ranges import BEGINNING, WORDS, range_of
from visitstats.reading.site_history import EACH, Histories
from visitstats.sites.directory import LiveSite
from visitstats.web.beacons.answers import Moment
from visitstats.web.table import Asked, Route


class SiteHistoryQuery(msgspec.Struct, kw_only=True):
    """Which days, and in what steps."""

    by: Annotated[str, Meta(description=f"{', '.join(EACH)}; hours are kept for 90 days")] = "day"
    period: Annotated[str, Meta(description=f"{', '.join(WORDS)}; a date, a month as 2026-10, a year")] = ""
    from_: Annotated[str, Meta(description="a date as 2026-11-24; of hours today, else the first day")] = msgspec.field(
        default="", name="from"
    )
    to: Annotated[str, Meta(description="a date; today")] = ""


class PeakAt(msgspec.Struct):
    """The most visitors that were online at once, and when they first were."""

    online: int
    at: Moment


class CorrectedPart(msgspec.Struct):
    """What was corrected by hand (`/audit`)."""

    visits: int
    views: int


class ImportedPart(msgspec.Struct):
    """What an older counter counted."""

    visits: int
    views: int


class HistoryOfSite(msgspec.Struct):
    """A row: an hour, day, month or year. What is not known is null."""

    name: str
    known: str
    """Whether the service ran all that time: yes, partly, no."""
    visits: int | None
    views: int | None
    hits: int | None
    uniques: int | None
    peak: PeakAt | None
    ignored: dict[str, int]
    kind: Literal["counted", "running", "imported", "unknown"]
    """Running: it is not over yet. Imported: all of it is from an older counter. Unknown: neither visits nor views are
    known."""
    corrected: CorrectedPart
    """The part of visits and views that people have added, or taken away when it is below zero; of hours not known."""
    imported: ImportedPart
    """The part of visits and views that an older counter had."""


class SiteHistoryRows(msgspec.Struct):
    """The history of a site."""

    site: str
    by: str
    at: Moment
    changed: str | None
    """The first day that was counted here, where a part of the rows is from an older counter."""
    rows: list[HistoryOfSite]


class BestDay(msgspec.Struct):
    """The day on which most was counted."""

    date: str
    visits: int


class Records(msgspec.Struct):
    """Records and averages of a site's visits. Averages are of days, months and years that are over and in which the
    service ran all the time; null when there are none."""

    site: str
    at: Moment
    best_day: BestDay | None
    peak: PeakAt | None
    per_day: float | None
    by_weekday: list[float | None]
    """Monday first."""
    per_month: float | None
    per_year: float | None


class SiteHistories:
    """The handlers. `clock` gives the moment in milliseconds."""

    def __init__(self, histories: Histories, clock: Callable[[], int]) -> None:
        self._histories = histories
        self._clock = clock

    async def rows(self, asked: Asked[SiteHistoryQuery, None]) -> SiteHistoryRows:
        """Answer the rows of a range of days; nothing from before the first day on which something was counted."""
        live, query, now = asked.live, asked.query, self._clock()
        today = live.calendar.day_at(now)
        first = query.from_
        if not query.period and not first:
            first = today.date if query.by == "hour" and not query.to else BEGINNING
        days = range_of(live.calendar, today, query.period, first, query.to)
        rows = await self._histories.rows(live, query.by, days, now)
        changed = await self._histories.began(live.site.id) if any(row.imported_any for row in rows) else ""
        return SiteHistoryRows(
            live.site.id, query.by, live.calendar.iso(now), changed or None, [_row(live, row, now) for row in rows]
        )

    async def records(self, asked: Asked[None, None]) -> Records:
        """Answer records and averages."""
        live, now = asked.live, self._clock()
        found = await self._histories.summary(live, now)
        best = None if found.best is None else BestDay(found.best.date, found.best.n)
        return Records(
            live.site.id, live.calendar.iso(now), best, _peak(live, found.peak), found.per_day,
            list(found.by_weekday), found.per_month, found.per_year,
        )  # fmt: skip

    ROUTES = (
        Route("GET", "/v1/admin/sites/{site}/history", rows, "A site by hour, day, month or year",
              SiteHistoryRows, scope="viewer", query=SiteHistoryQuery),
        Route("GET", "/v1/admin/sites/{site}/records", records, "Best day, peak, averages", Records, scope="viewer"),
    )  # fmt: skip


def _row(live: LiveSite, row: Row, now_ms: int) -> HistoryOfSite:
    today = live.calendar.day_at(now_ms)
    running = (today.year, today.month, today.date, f"{today.date}T{(now_ms - today.start_ms) // HOUR_MS:02}")
    kind: Literal["counted", "running", "imported", "unknown"] = "counted"
    if row.name in running:
        kind = "running"
    elif row.visits is None and row.views is None:
        kind = "unknown"
    elif (row.visits or 0) == row.imported.visits and (row.views or 0) == row.imported.views and row.imported_any:
        kind = "imported"
    return HistoryOfSite(
        row.name, row.known, row.visits, row.views, row.hits, row.uniques, _peak(live, row.peak), row.ignored, kind,
        CorrectedPart(row.corrected.visits, row.corrected.views),
        ImportedPart(row.imported.visits, row.imported.views),
    )  # fmt: skip


def _peak(live: LiveSite, peak: Peak | None) -> PeakAt | None:
    return None if peak is None else PeakAt(peak.online, live.calendar.iso(peak.at_ms))
