"""Per-article counts for editors and administrators, as rows and as a file that Excel opens."""

import csv
import io
from collections.abc import AsyncIterator
from typing import Literal, get_args

from visitstats.core.errors import VisitstatsError
from visitstats.directory import LiveSite
from visitstats.store.reads import Reads, Row

Period = Literal["day", "week", "month", "all"]
PERIODS: tuple[str, ...] = get_args(Period)
MOST_ROWS = 1_000_000
PAGE = 1000
HEADINGS = {
    "vi": ("STT", "Lượt xem", "Tiêu đề", "Tác giả", "Chuyên mục", "Ngày đăng", "Địa chỉ", "Khóa"),
    "en": ("No.", "Views", "Title", "Author", "Category", "Published", "Address", "Key"),
}
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
"""How a formula may begin (OWASP, "CSV Injection"); some spreadsheets take the full-width forms, too."""


class InvalidQuery(VisitstatsError):
    """A list that cannot be made as asked."""


async def rows(reads: Reads, live: LiveSite, period: str, limit: int, now_ms: int) -> AsyncIterator[Row]:
    """Yield the articles of a period, the most read first. Raises InvalidQuery and StoreUnavailable."""
    if period not in PERIODS:
        raise InvalidQuery(f"period {period[:40]!r}: use one of {', '.join(PERIODS)}")
    if not 1 <= limit <= MOST_ROWS:
        raise InvalidQuery(f"limit {limit}: use 1 to {MOST_ROWS}")
    day = live.calendar.day_at(now_ms)
    given = 0
    while given < limit:
        page = await reads.top(live.site.id, day, period, min(PAGE, limit - given), given)
        for row in page:
            yield row
        given += len(page)
        if len(page) < PAGE:
            return


def address(live: LiveSite, row: Row) -> str:
    """Return where an article is to be found: its own address, or the site's host with the key."""
    host = live.site.main_host
    return row.entry.url or (f"https://{host}{row.entry.key}" if host and row.entry.key.startswith("/") else "")


def csv_text(live: LiveSite, found: list[Row], language: str = "vi", separator: str = ";") -> str:
    """Write rows as CSV for Excel: UTF-8 with BOM, CRLF, and no cell that a spreadsheet would run as a formula."""
    out = io.StringIO()
    out.write("\ufeff")
    writer = csv.writer(out, delimiter=separator, lineterminator="\r\n")
    writer.writerow(HEADINGS[language])
    for number, row in enumerate(found, 1):
        entry = row.entry
        texts = (entry.title, entry.author, entry.category, entry.published, address(live, row), entry.key)
        writer.writerow((number, row.views, *map(harmless, texts)))
    return out.getvalue()


def harmless(text: str) -> str:
    """Return a text that a spreadsheet shows and does not run (bad-inputs row 15): an apostrophe before = + - @."""
    return f"'{text}" if text.startswith(_FORMULA) else text
