"""Google Analytics 4: reports (views of a whole range: a baseline) and explorations (views per page and day).

Active users are not visits, and cannot be summed over days. Headings are in the language of the user.
"""

import re
from collections.abc import Iterator

from visitstats.imports.draft import Draft, Facts
from visitstats.imports.numbers import Dates, whole
from visitstats.imports.places import ImportRefused
from visitstats.imports.readers.heads import Head, made
from visitstats.imports.sheets import Row, Sheet, fold, text_of
from visitstats.imports.source import Source

KIND = "ga4"
PAGES = tuple(
    fold(name)
    for name in (
        "Page path and screen class", "Page path", "Page path + query string", "Page location", "Landing page",
        "Page path + query string and screen class", "pagePath", "pageLocation", "fullPageUrl",
        "Đường dẫn trang và lớp màn hình", "Đường dẫn trang", "Đường dẫn trang + chuỗi truy vấn", "Vị trí trang",
        "Đường dẫn trang + chuỗi truy vấn và lớp màn hình",
    )
)  # fmt: skip
VIEWS = tuple(fold(name) for name in ("Views", "Screen page views", "screenPageViews", "Lượt xem", "Số lượt xem"))
DATES = tuple(fold(name) for name in ("Date", "Ngày", "Nth day"))
TITLES = tuple(fold(name) for name in ("Page title", "Page title and screen name", "Page title and screen class",
                                       "Tiêu đề trang", "Tiêu đề trang và tên màn hình"))  # fmt: skip
_TOTALS = frozenset(fold(name) for name in ("Grand total", "Tổng cộng", "Totals", "Total"))
_NO_PAGE = re.compile(r"\((?:not set|other|khac|khong duoc dat|chua dat|data not available)\)")
_RANGE = re.compile(r"(\d{8})\s*-\s*(\d{8})")
_FIRST = re.compile(r"(?:start date|ngay bat dau):\s*(\d{8})")
_LAST = re.compile(r"(?:end date|ngay ket thuc):\s*(\d{8})")


def _heading(sheet: Sheet, row: Row) -> tuple[Head, str, str, str] | None:
    """Return the head if the row is a heading, with the names of the columns of page, views and date ("" for none)."""
    head = made(sheet, tuple(text_of(cell) for cell in row.cells), row.line)
    if head is None:
        return None
    page = next((name for name in PAGES if name in head.columns), "")
    views = next((name for name in VIEWS if name in head.columns), "")
    date = next((name for name in DATES if name in head.columns), "")
    return (head, page, views, date) if page and views else None


def knows(source: Source) -> int:
    """Return how sure the reader is that the files are of its source, from 0 to 100."""
    for sheet in source.sheets:
        if sheet.form in ("text", "book") and any(_heading(sheet, row) for row in sheet.first):
            said = any(text_of(row.cells[0]).startswith("# ") for row in sheet.first if row.cells)
            folded = [fold(text_of(cell)) for row in sheet.first for cell in row.cells]
            return 90 if said or any(name in folded for name in PAGES[:6]) else 40
    return 0


def read(source: Source, draft: Draft) -> None:
    """Add the numbers of the files to the draft."""
    tables = 0
    for sheet in source.sheets:
        for table in _tables(sheet, draft):
            _read(*table, draft)
            tables += 1
    if not tables:
        raise ImportRefused(source.items[0].place, "a table with a page path and views is expected")
    draft.sums.add("views")


def _tables(sheet: Sheet, draft: Draft) -> Iterator[tuple[Head, str, str, str, Iterator[Row]]]:
    """Yield the tables of a file that have pages and views. Other tables (by day, by country) repeat the same views."""
    rows = sheet.rows()
    for row in rows:
        text = ",".join(text_of(cell) for cell in row.cells)
        if text.startswith("#"):
            _note_range(fold(text), draft)
            continue
        if not text.strip(","):
            continue
        found = _heading(sheet, row)
        body = _body(rows)
        if found is not None:
            yield (*found, body)
        else:
            draft.ignore(f"table in line {row.line}", "no pages with views")
        for _ in body:
            pass


def _body(rows: Iterator[Row]) -> Iterator[Row]:
    for row in rows:
        if not any(cell not in (None, "") for cell in row.cells):
            return
        yield row


def _note_range(text: str, draft: Draft) -> None:
    first, last = draft.range or ("", "")
    if match := _RANGE.search(text):
        first, last = match[1], match[2]
    if match := _FIRST.search(text):
        first = match[1]
    if match := _LAST.search(text):
        last = match[1]
    if first or last:
        draft.range = (_dashed(first), _dashed(last))


def _dashed(text: str) -> str:
    return f"{text[:4]}-{text[4:6]}-{text[6:]}" if len(text) == 8 else text


def _read(head: Head, page: str, views: str, date: str, rows: Iterator[Row], draft: Draft) -> None:
    place = head.sheet.place
    title = next((name for name in TITLES if name in head.columns), "")
    measures = head.columns[views]
    dimensions = [name for name, number in head.columns.items() if number < measures]
    dates = Dates()
    nowhere = total = 0
    grand: int | None = None
    others = [name for name in dimensions if name not in (page, date, title)]
    if title:
        draft.facts = ("title",)
    for row in rows:
        if text_of(row.cells[0]).startswith("#"):
            _note_range(fold(text_of(row.cells[0])), draft)
            continue
        cells = [fold(text_of(cell)) for cell in row.cells]
        if cells[-1] in _TOTALS and (len(cells) > len(head.names) or not any(cells[:measures])):
            grand = whole(head.cell(row, views), head.place(row, views))
            continue
        if not any(cells[:measures]) or cells[0] in _TOTALS:
            grand = whole(head.cell(row, views), head.place(row, views))  # the row of totals of a report
            continue
        if len(row.cells) < len(head.names):
            raise ImportRefused(place.at(row.line), f"{len(row.cells)} columns instead of {len(head.names)}")
        count = whole(head.cell(row, views), where := head.place(row, views)) or 0
        address = head.text(row, page)
        day = dates.day(head.cell(row, date), head.place(row, date)) if date else ""
        identity = "\0".join([address, day, *(head.text(row, name) for name in [*others, *([title] if title else [])])])
        if draft.is_repeated(where, identity, count, f"{address[:60]} {day}".strip()):
            continue
        total += count
        if _NO_PAGE.fullmatch(fold(address)) or not address:
            nowhere += count
            draft.belongs_to_none(count)
            if day:
                draft.add_period("views", day, count)
            continue
        facts = Facts(head.text(row, title)) if title else Facts()
        if not address.startswith(("/", "http")):
            address = f"/{address}" if "." not in address.split("/", 1)[0] else address
        taken = (
            draft.article_day(address, day, count, where, facts) if day else draft.article(address, count, where, facts)
        )
        if day and taken is not None:
            draft.add_period("views", day, count)
    if nowhere:
        draft.warn("no-article", f"{nowhere} views of (not set), kept in the site's views only")
    if grand is not None and grand != total:
        draft.warn(
            "total-differs", f"the grand total is {grand}, the rows have {total}: thresholds or a limit hide rows"
        )
    if not date:
        draft.warn("no-visits", "active users are people of the whole range, not visits")
