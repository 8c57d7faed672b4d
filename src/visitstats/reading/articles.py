"""Per-article counts for editors and administrators, as rows and as a file that Excel opens."""

import asyncio
import csv
import io
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import date, timedelta
from heapq import merge
from itertools import islice
from typing import Literal, NamedTuple, get_args

from visitstats.core.entries import Entry
from visitstats.core.errors import InvalidQuery
from visitstats.core.keys import article_id
from visitstats.core.periods import Calendar, Day
from visitstats.sites.directory import LiveSite
from visitstats.store.reads import Reads

Period = Literal["day", "week", "month", "all"]
PERIODS: tuple[str, ...] = get_args(Period)
MOST_ROWS = 1_000_000
PAGE = 500
LIST_MS = 60_000
"""How old the order of a list may be."""
RUN = 5000
"""Articles that are sorted at once: 3 ms, for which nothing else is done."""
HEADINGS = {
    "vi": ("STT", "Lượt xem", "Tiêu đề", "Tác giả", "Chuyên mục", "Ngày đăng", "Địa chỉ", "Khóa"),
    "en": ("No.", "Views", "Title", "Author", "Category", "Published", "Address", "Key"),
}
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
"""How a formula may begin (OWASP, "CSV Injection"); some spreadsheets take the full-width forms, too."""
_MOST = (1 << 63) - 1


class Row(NamedTuple):
    """One article in a list."""

    entry: Entry
    views: int
    """As they were read for this row."""


class Order(NamedTuple):
    """The articles (ids) of a period, the most read first, as they were at a moment."""

    at_ms: int
    runs: list[bytes]
    """Sorted runs of 16 bytes each: how far the views are below the most there can be, and the id."""

    def __iter__(self) -> Iterator[bytes]:  # type: ignore[override]
        """Yield the ids in order."""
        for each in merge(*map(_records, self.runs)):
            yield each[8:]


class Lists:
    """Lists of articles. Their order is read from the store in small pieces, is at most LIST_MS old and says of when it
    is; the numbers are read when they are asked for. `clock` gives the moment in milliseconds."""

    def __init__(self, reads: Reads, clock: Callable[[], int]) -> None:
        self._reads = reads
        self._clock = clock
        self._orders: dict[tuple[str, str, str], Order] = {}
        self._reading: dict[tuple[str, str, str], asyncio.Task[Order]] = {}

    async def order(self, live: LiveSite, period: str) -> Order:
        """Return the order of a period that holds the present moment. Raises InvalidQuery and StoreUnavailable."""
        now = self._clock()
        days = days_of(live.calendar, period, live.calendar.day_at(now))
        name = (live.site.id, period, days[0] if days else "")
        order = self._orders.get(name)
        if order is not None and 0 <= now - order.at_ms < LIST_MS:
            return order
        task = self._reading.get(name)
        if task is None:
            for other, each in list(self._orders.items()):
                if not 0 <= now - each.at_ms < LIST_MS:
                    del self._orders[other]
            task = self._reading[name] = asyncio.create_task(self._read(live, days, now))
            task.add_done_callback(lambda _: self._reading.pop(name, None))
        # A caller who goes away must not take the list from the others.
        order = self._orders[name] = await asyncio.shield(task)
        return order

    async def rows(self, live: LiveSite, period: str, limit: int) -> AsyncIterator[Row]:
        """Yield the articles of a period, the most read first; one without a view, as every article that was merged
        into another, is not among them. Raises InvalidQuery and StoreUnavailable."""
        if not 1 <= limit <= MOST_ROWS:
            raise InvalidQuery(f"limit {limit}: use 1 to {MOST_ROWS}")
        order = await self.order(live, period)
        days = days_of(live.calendar, period, live.calendar.day_at(self._clock()))
        ids, left = iter(order), limit
        while left and (page := list(islice(ids, min(PAGE, left)))):
            # What was merged since the order was read counts for the other article now.
            for row in await self._page(live, [each for each in page if each not in live.aliases], days):
                if row.views > 0:
                    yield row
                    left -= 1

    async def _page(self, live: LiveSite, articles: list[bytes], days: list[str]) -> list[Row]:
        if not articles:
            return []
        aliases: dict[bytes, list[bytes]] = {}
        if days and live.aliases:
            wanted = set(articles)
            for alias, key in live.aliases.items():
                if (target := article_id(key)) in wanted:
                    aliases.setdefault(target, []).append(alias)
        others = [alias for each in aliases.values() for alias in each]
        found = await self._reads.views_of(live.site.id, [*articles, *others], days)
        views = dict(zip([*articles, *others], found, strict=True))
        entries = await self._reads.entries(live.site.id, articles)
        return [
            Row(entry, views[article] + sum(views[alias] for alias in aliases.get(article, ())))
            for article, entry in zip(articles, entries, strict=True)
        ]

    async def _read(self, live: LiveSite, days: list[str], now_ms: int) -> Order:
        counts: dict[bytes, int] = {}
        if not days:
            return Order(now_ms, [run async for run in self._runs(live.site.id)])
        for day in days:
            # What is seen twice while the server rearranges its table counts once.
            of_day = {article: n async for page in self._reads.scan_views(live.site.id, day) for article, n in page}
            for article, n in of_day.items():
                key = live.aliases.get(article)
                target = article if key is None else article_id(key)
                counts[target] = counts.get(target, 0) + n
        items = list(counts.items())
        return Order(now_ms, [_sorted(items[start : start + RUN]) for start in range(0, len(items), RUN)])

    async def _runs(self, site_id: str) -> AsyncIterator[bytes]:
        waiting: dict[bytes, int] = {}
        seen: set[bytes] = set()
        async for page in self._reads.scan_views(site_id):
            for article, n in page:
                if n > 0 and article not in seen:
                    seen.add(article)
                    waiting[article] = n
            if len(waiting) >= RUN:
                yield _sorted(list(waiting.items()))
                waiting = {}
        yield _sorted(list(waiting.items()))


def _sorted(items: list[tuple[bytes, int]]) -> bytes:
    return b"".join(sorted((_MOST - n).to_bytes(8, "big") + article for article, n in items))


def _records(run: bytes) -> Iterator[bytes]:
    return (run[n : n + 16] for n in range(0, len(run), 16))


def days_of(calendar: Calendar, period: str, day: Day) -> list[str]:
    """Return the dates of the period that holds a day, up to it; none for all time. Raises InvalidQuery."""
    if period == "all":
        return []
    if period == "day":
        return [day.date]
    if period == "week":
        return [each for each in day.week if each <= day.date]
    if period == "month":
        first = date.fromisoformat(f"{day.month}-01")
        return [(first + timedelta(days=n)).isoformat() for n in range(int(day.date[8:]))]
    raise InvalidQuery(f"period {period[:40]!r}: use one of {', '.join(PERIODS)}")


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
    """Return a text that a spreadsheet shows and does not run (hostile-inputs row 15): an apostrophe before = + - @."""
    return f"'{text}" if text.startswith(_FORMULA) else text
