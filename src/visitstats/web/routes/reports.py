"""Reports for editors: what is shown on a page, and the same as files."""

from collections.abc import Callable
from typing import Annotated, cast

import msgspec
from msgspec import Meta
from starlette.responses import StreamingResponse

from visitstats.core.errors import InvalidQuery
from visitstats.core.query import MOST_ROWS
from visitstats.core.ranges import Range
from visitstats.reading.desk import Desk
from visitstats.reading.exports import CONTENT_TYPES, DELIMITERS, Language, delimiter, report_name
from visitstats.reading.exports import Kind as FileKind
from visitstats.reading.groups import Group
from visitstats.reading.reports import KINDS, WITHIN, DayRow, Figure, Gaps, Kind, check, last_day
from visitstats.web.beacons.answers import Moment
from visitstats.web.routes.files import Files
from visitstats.web.routes.lists import ABOUT_TOLD, TOLD, ArticleRow, Days, Selected, Selection, days_of, row_of
from visitstats.web.table import Asked, Route

MOST_SHOWN = 1000
_KIND = Meta(description=", ".join(KINDS))


class ReportQuery(Selected, kw_only=True):
    """Which report, of which days."""

    kind: Annotated[str, _KIND] = "summary"
    limit: Annotated[int, Meta(ge=1, le=MOST_SHOWN, description="rows that are shown; a file has all")] = 20


class ReportFileQuery(Selected, kw_only=True):
    """A report as a file."""

    kind: Annotated[str, _KIND] = "summary"
    lang: Annotated[str, Meta(description="vi or en")] = "vi"
    delimiter: Annotated[str, Meta(description=f"of a CSV: {' '.join(DELIMITERS)}")] = ";"
    told: Annotated[str, Meta(pattern=TOLD, description=ABOUT_TOLD)] = ""


class RoyaltyRow(ArticleRow):
    """An article of a report. Of royalties `until` is the last of its days, and `over` whether that is past; of frozen
    ones `within` is what is due, `before` what closed months had before, `total` both, and `over` is as of the
    closing."""

    until: str | None = None
    over: bool | None = None


class ClosedAt(msgspec.Struct):
    """The closing of the month. Counts that came for the month `late_of` after it was closed are in this one."""

    at: Moment
    who: str
    sha256: str
    late_of: str
    late_visits: int
    late_views: int


class ReportAnswer(msgspec.Struct):
    """A report. `at` is the moment of its numbers; while it is `running` they may still change, and its whole days are
    compared. What is not known is null, and what a kind has not is empty."""

    site: str
    kind: str
    range: Days
    at: Moment
    running: bool
    closed: ClosedAt | None
    selection: Selection
    articles: list[RoyaltyRow]
    groups: list[Group]
    groups_in_all: int
    within: int
    closed_days: int
    """For royalties of a closed month, within how many days of publication they are frozen; 0 for none."""
    since: int
    """Views that have come to frozen royalties since, which are due in the month that is closed next."""
    figures: list[Figure]
    whole: Days | None
    compared: Days | None
    year_ago: Days | None
    gaps: Gaps
    best_day: DayRow | None
    days: list[DayRow]
    unknown_days: list[str]
    authors: list[Group]
    categories: list[Group]


class ReportRoutes:
    """The handlers. `clock` gives the moment in milliseconds."""

    def __init__(self, desk: Desk, files: Files, clock: Callable[[], int]) -> None:
        self._desk = desk
        self._files = files
        self._clock = clock

    async def report(self, asked: Asked[ReportQuery, None]) -> ReportAnswer:
        """Answer a report as a page shows it."""
        live, given = asked.live, asked.query
        kind, query = kind_named(given.kind), given.query(given.limit)
        check(kind, query)
        found = await self._desk.report(live.site, kind, query)
        note = found.closed
        closed = None if note is None else ClosedAt(
            live.calendar.iso(note.at_ms), note.who, note.sha256, note.late_of, note.late_visits, note.late_views
        )  # fmt: skip
        today = live.calendar.day_at(note.at_ms if note else self._clock()).date
        rows = []
        for rank, row in enumerate(found.articles, 1):
            days = row.days or found.within or WITHIN
            until = last_day(live.calendar, row.entry.published, days) if kind == "royalties" else ""
            named = msgspec.structs.asdict(row_of(live, rank, row))
            rows.append(RoyaltyRow(**named, until=until or None, over=until < today if until else None))
        return ReportAnswer(
            live.site.id, found.kind, days_of(found.range), live.calendar.iso(found.at_ms), found.running, closed,
            Selection(found.selection.articles, found.selection.views), rows, found.groups, found.groups_in_all,
            found.within, found.closed_days, found.since,
            found.figures, _days(found.whole), _days(found.compared), _days(found.year_ago),
            found.gaps, found.best_day, found.days, found.unknown_days, found.authors, found.categories,
        )  # fmt: skip

    async def csv(self, asked: Asked[ReportFileQuery, None]) -> StreamingResponse:
        """Answer a report as CSV."""
        return await self._file(asked, "csv")

    async def workbook(self, asked: Asked[ReportFileQuery, None]) -> StreamingResponse:
        """Answer a report as a workbook."""
        return await self._file(asked, "xlsx")

    async def _file(self, asked: Asked[ReportFileQuery, None], what: FileKind) -> StreamingResponse:
        live, given = asked.live, asked.query
        if given.lang not in ("vi", "en"):
            raise InvalidQuery(f"lang {given.lang[:40]!r}: use vi or en")
        delimiter(given.delimiter)
        kind, query = kind_named(given.kind), given.query(MOST_ROWS)
        check(kind, query)
        days = query.range(live.calendar, live.calendar.day_at(self._clock()))
        language: Language = "en" if given.lang == "en" else "vi"
        pieces = self._desk.file(live.site, query, what, language, given.delimiter, kind, given.told)
        name = report_name(live.site.id, kind, days, what, language)
        return await self._files.answer(asked.token, pieces, CONTENT_TYPES[what], name)

    ROUTES = (
        Route("GET", "/v1/admin/sites/{site}/report", report, "A report of a period: summary, groups, royalties",
              ReportAnswer, scope="viewer", query=ReportQuery),
        Route("GET", "/v1/admin/sites/{site}/report.csv", csv, "The same for Excel, all rows",
              CONTENT_TYPES["csv"], scope="viewer", query=ReportFileQuery, head=False),
        Route("GET", "/v1/admin/sites/{site}/report.xlsx", workbook, "The same as a workbook",
              CONTENT_TYPES["xlsx"], scope="viewer", query=ReportFileQuery, head=False),
    )  # fmt: skip


def kind_named(text: str) -> Kind:
    """Return a kind of report. Raises InvalidQuery."""
    if text not in KINDS:
        raise InvalidQuery(f"kind {text[:40]!r}: use one of {', '.join(KINDS)}")
    return cast("Kind", text)


def _days(asked: Range | None) -> Days | None:
    return None if asked is None else days_of(asked)
