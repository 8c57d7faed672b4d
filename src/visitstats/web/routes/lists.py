"""Lists of articles for editors and administrators, as pages and as files; and what one article was read."""

from collections.abc import Callable
from typing import Annotated

import msgspec
from msgspec import Meta
from starlette.responses import StreamingResponse

from visitstats.core.errors import InvalidQuery
from visitstats.core.query import LONGEST, MOST_ROWS, Query, Row, cursor_of
from visitstats.core.ranges import WORDS, Range
from visitstats.reading.desk import Desk
from visitstats.reading.exports import CONTENT_TYPES, DELIMITERS, Kind, Language, address, delimiter, file_name
from visitstats.reading.file_progress import LETTERS
from visitstats.reading.query import KINDS
from visitstats.sites.directory import LiveSite
from visitstats.web.beacons.answers import Moment
from visitstats.web.routes.files import Files
from visitstats.web.table import Asked, Route

PAGE_ROWS = 1000
"""The most rows of a page of JSON: it is read and written in the worker."""
MOST_LABELS = 200
_DATE = "a date as 2026-11-24"
TOLD = f"^([0-9a-f]{{{LETTERS}}})?$"
ABOUT_TOLD = f"of a workbook: {LETTERS} hexadecimal digits that you have drawn, to ask how far it is"


class Selected(msgspec.Struct, kw_only=True):
    """Which articles, and in which order. Conditions are joined by "and"."""

    period: Annotated[str, Meta(description=f"{', '.join(WORDS)}; a date, a month as 2026-10, a year; all")] = ""
    from_: Annotated[str, Meta(description=_DATE)] = msgspec.field(default="", name="from")
    to: Annotated[str, Meta(description=_DATE)] = ""
    text: Annotated[str, Meta(description="is in the title or in the key")] = ""
    title: Annotated[str, Meta(description="is in the title; case and tone marks do not matter")] = ""
    key_contains: str = ""
    prefix: Annotated[str, Meta(description="with this the key begins")] = ""
    author: str = ""
    category: str = ""
    type: str = ""
    published_from: Annotated[str, Meta(description=_DATE)] = ""
    published_to: Annotated[str, Meta(description=_DATE)] = ""
    min_views: Annotated[
        int | None, Meta(description="at least so many in the period; 1, or 0 when keys are given")
    ] = None
    hidden: Annotated[int, Meta(ge=0, le=1, description="1: hidden articles, too")] = 0
    key: Annotated[list[str], Meta(description="only these articles; at most 500")] = []
    sort: Annotated[str, Meta(description="views (in the period), total, title, published, author, category")] = "views"
    direction: Annotated[str, Meta(description="asc or desc; desc, of texts asc")] = ""
    within: Annotated[int, Meta(ge=0, description="also the views within so many days of publication")] = 0
    compare: Annotated[int, Meta(ge=0, le=1, description="1: also the views in the period before")] = 0

    def query(self, limit: int, cursor: str = "") -> Query:
        """Return what is asked. Raises InvalidQuery."""
        return Query(
            period=self.period, first=self.from_, last=self.to, text=self.text, title=self.title,
            key_contains=self.key_contains, prefix=self.prefix, author=self.author, category=self.category,
            type=self.type, published_first=self.published_from, published_last=self.published_to,
            min_views=self.min_views, hidden=bool(self.hidden), keys=tuple(self.key),
            sort=self.sort, direction=self.direction, limit=limit, cursor=cursor,  # type: ignore[arg-type]
            within=self.within, compare=bool(self.compare),
        )  # fmt: skip


class ArticlesQuery(Selected, kw_only=True):
    """A page of a list."""

    limit: Annotated[int, Meta(ge=1, le=PAGE_ROWS)] = 100
    cursor: Annotated[str, Meta(description="reads on behind the page that gave it")] = ""


class FileQuery(Selected, kw_only=True):
    """A list as a file."""

    limit: Annotated[int, Meta(ge=1, description="all, unless given")] = MOST_ROWS
    lang: Annotated[str, Meta(description="of the headings: vi or en")] = "vi"
    delimiter: Annotated[str, Meta(description=f"of a CSV: {' '.join(DELIMITERS)}")] = ";"
    told: Annotated[str, Meta(pattern=TOLD, description=ABOUT_TOLD)] = ""


class Days(msgspec.Struct):
    """Whole days, both ends among them; null for all time."""

    first: str | None = msgspec.field(name="from")
    last: str | None = msgspec.field(name="to")


class Selection(msgspec.Struct):
    """All that is selected, at the moment of the order."""

    articles: int
    views: int


class ToldQuery(msgspec.Struct):
    """Which file."""

    told: Annotated[str, Meta(pattern=TOLD, description="what was sent with the request for the file")]


class FileProgress(msgspec.Struct):
    """How many rows of how many a workbook has; null when that is not known: it has not begun, or is complete."""

    rows: int | None
    whole: int | None


class ArticleRow(msgspec.Struct):
    """An article in a list. The numbers are of this moment; what was not asked for or is not known is null."""

    rank: int
    views: int
    total: int
    before: int | None
    within: int | None
    key: str
    title: str
    url: str
    author: str
    category: str
    type: str
    published: str


class Articles(msgspec.Struct):
    """A page of a list."""

    site: str
    range: Days
    compared: Days | None
    at: Moment
    ordered_at: Moment
    selection: Selection
    articles: list[ArticleRow]
    cursor: str | None
    """Null on the last page."""


class LabelsQuery(msgspec.Struct, kw_only=True):
    """Which names."""

    of: Annotated[str, Meta(description=", ".join(KINDS))]
    text: Annotated[str, Meta(description="is in the name; case and tone marks do not matter")] = ""
    limit: Annotated[int, Meta(ge=1, le=MOST_LABELS)] = 50


class Labels(msgspec.Struct):
    """Names of authors, categories or types, from A to Z."""

    labels: list[str]
    more: bool
    """There are further ones."""


class HistoryQuery(msgspec.Struct, kw_only=True):
    """Which article, and which days."""

    key: str
    by: Annotated[str, Meta(description="day, month or year")] = "day"
    from_: Annotated[str, Meta(description=f"{_DATE}; its first day")] = msgspec.field(default="", name="from")
    to: Annotated[str, Meta(description=f"{_DATE}; today")] = ""


class HistoryRow(msgspec.Struct):
    """A day, a month or a year."""

    name: str
    views: int


class ArticleHistory(msgspec.Struct):
    """What an article was read."""

    site: str
    key: str
    title: str
    total: int
    at: Moment
    by: str
    rows: list[HistoryRow]


class ArticleLists:
    """The handlers. `clock` gives the moment in milliseconds."""

    def __init__(self, desk: Desk, files: Files, clock: Callable[[], int]) -> None:
        self._desk = desk
        self._files = files
        self._clock = clock

    async def articles(self, asked: Asked[ArticlesQuery, None]) -> Articles:
        """Answer a page of a list."""
        live, query = asked.live, asked.query
        wanted = self._checked(live, query.query(query.limit, query.cursor))
        page = await self._desk.page(live.site, wanted)
        return Articles(
            live.site.id,
            days_of(page.range),
            None if page.compared is None else days_of(page.compared),
            live.calendar.iso(self._clock()),
            live.calendar.iso(page.selection.at_ms),
            Selection(page.selection.articles, page.selection.views),
            [row_of(live, rank, row) for rank, row in enumerate(page.rows, page.first + 1)],
            page.cursor or None,
        )

    async def labels(self, asked: Asked[LabelsQuery, None]) -> Labels:
        """Answer what authors, categories or types are called, for whoever chooses one."""
        query = asked.query
        if len(query.text) > LONGEST:
            raise InvalidQuery(f"text: at most {LONGEST} characters")
        found = await self._desk.labels(asked.live.site, query.of, query.text, query.limit + 1)
        return Labels(found[: query.limit], len(found) > query.limit)

    async def csv(self, asked: Asked[FileQuery, None]) -> StreamingResponse:
        """Answer a list as CSV, as fast as it is taken."""
        return await self._file(asked, "csv")

    async def workbook(self, asked: Asked[FileQuery, None]) -> StreamingResponse:
        """Answer a list as a workbook."""
        return await self._file(asked, "xlsx")

    async def progress(self, asked: Asked[ToldQuery, None]) -> FileProgress:
        """Answer how far a workbook is, of a list or of a report."""
        found = self._desk.progress(asked.live.site, asked.query.told)
        return FileProgress(*found) if found else FileProgress(None, None)

    async def history(self, asked: Asked[HistoryQuery, None]) -> ArticleHistory:
        """Answer what an article was read, by day, month or year."""
        live, query = asked.live, asked.query
        found = await self._desk.history(live.site, query.key, query.by, query.from_, query.to)
        return ArticleHistory(
            live.site.id, found.entry.key, found.entry.title, found.total, live.calendar.iso(self._clock()), query.by,
            [HistoryRow(name, views) for name, views in found.rows],
        )  # fmt: skip

    def _checked(self, live: LiveSite, query: Query) -> Query:
        """Refuse what is no question without asking it. Raises InvalidQuery."""
        query.range(live.calendar, live.calendar.day_at(self._clock()))
        if query.cursor:
            cursor_of(query.cursor)
        return query

    async def _file(self, asked: Asked[FileQuery, None], kind: Kind) -> StreamingResponse:
        live, given = asked.live, asked.query
        if given.lang not in ("vi", "en"):
            raise InvalidQuery(f"lang {given.lang[:40]!r}: use vi or en")
        delimiter(given.delimiter)
        query = self._checked(live, given.query(given.limit))
        language: Language = "en" if given.lang == "en" else "vi"
        days = query.range(live.calendar, live.calendar.day_at(self._clock()))
        name = file_name(live.site, days, kind, language)
        pieces = self._desk.file(live.site, query, kind, language, given.delimiter, told=given.told)
        return await self._files.answer(asked.token, pieces, CONTENT_TYPES[kind], name)

    ROUTES = (
        Route("GET", "/v1/admin/sites/{site}/articles", articles, "Articles: by period, author, category, text …",
              Articles, scope="viewer", query=ArticlesQuery),
        Route("GET", "/v1/admin/sites/{site}/articles.csv", csv, "The same, all rows, for Excel",
              CONTENT_TYPES["csv"], scope="viewer", query=FileQuery, head=False),
        Route("GET", "/v1/admin/sites/{site}/articles.xlsx", workbook, "The same as a workbook",
              CONTENT_TYPES["xlsx"], scope="viewer", query=FileQuery, head=False),
        Route("GET", "/v1/admin/sites/{site}/progress", progress, "How far a workbook is that was asked for",
              FileProgress, scope="viewer", query=ToldQuery),
        Route("GET", "/v1/admin/sites/{site}/labels", labels, "Authors, categories or types, to choose from", Labels,
              scope="viewer", query=LabelsQuery),
        Route("GET", "/v1/admin/sites/{site}/articles/history", history, "What one article was read",
              ArticleHistory, scope="viewer", query=HistoryQuery),
    )  # fmt: skip


def days_of(asked: Range) -> Days:
    """Show a range."""
    return Days(asked.first or None, asked.last or None)


def row_of(live: LiveSite, rank: int, row: Row) -> ArticleRow:
    """Show an article."""
    entry = row.entry
    return ArticleRow(
        rank, row.views, row.total, row.before, row.within, entry.key, entry.title, address(live.site, row),
        entry.author, entry.category, entry.type, entry.published,
    )  # fmt: skip
