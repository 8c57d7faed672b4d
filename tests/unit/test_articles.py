"""Lists of articles open in a spreadsheet as they are meant: right letters, right columns, and nothing that runs."""

from __future__ import annotations

import asyncio
import csv
import io
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.waiting import eventually
from visitstats.core.entries import Entry
from visitstats.core.errors import InvalidQuery, StoreUnavailable
from visitstats.core.keys import article_id
from visitstats.core.sites import Site
from visitstats.reading import articles
from visitstats.reading.articles import HEADINGS, Lists, Row, address, csv_text, days_of, harmless
from visitstats.sites.directory import LiveSite

LIVE = LiveSite(Site(id="p", hosts=("portal.vn", "cu.portal.vn")))
NOW = 1_795_500_000_000


def cells(text: str, separator: str = ";") -> list[list[str]]:
    return list(csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""), delimiter=separator))


def test_a_file_is_as_excel_wants_it() -> None:
    """UTF-8 with a byte order mark, CRLF, semicolons: Excel in Vietnamese and most of Europe splits at these."""
    entry = Entry("/a?id=1", "Quy định mới", "", "Văn phòng", "Xã hội", "2026-11-24")
    assert csv_text(LIVE, [Row(entry, 822), Row(Entry("(other)"), 3)]) == (
        "\ufeffSTT;Lượt xem;Tiêu đề;Tác giả;Chuyên mục;Ngày đăng;Địa chỉ;Khóa\r\n"
        "1;822;Quy định mới;Văn phòng;Xã hội;2026-11-24;https://portal.vn/a?id=1;/a?id=1\r\n"
        "2;3;;;;;;(other)\r\n"
    )


def test_headings_are_in_the_language_asked_for() -> None:
    assert csv_text(LIVE, [], "en", ",") == "\ufeffNo.,Views,Title,Author,Category,Published,Address,Key\r\n"
    assert HEADINGS.keys() == {"vi", "en"}
    assert len(HEADINGS["vi"]) == len(HEADINGS["en"])


@pytest.mark.parametrize(
    "text",
    [
        "=1+1",
        "+1",
        "-1",
        "@SUM(A1)",
        "\t=1",
        "\r=1",
        "\n=1",
        '=HYPERLINK("http://x.vn")',
        "=cmd|' /C calc'!A0",
        "＝1+1",
    ],
)
def test_no_cell_is_run_as_a_formula(text: str) -> None:
    """hostile-inputs row 15; OWASP, "CSV Injection"."""
    entry = Entry(text, text, text, text, text, text)
    [_, row] = cells(csv_text(LIVE, [Row(entry, 1)]))
    assert row[2:] == ["'" + text] * 6


@pytest.mark.parametrize("text", ["", "a=b", "Giá vàng: +3%", "1-2", "mail@portal.vn", " ", "'"])
def test_other_texts_are_not_touched(text: str) -> None:
    assert harmless(text) == text


@given(st.lists(st.builds(Entry, *[st.text(max_size=20)] * 6), max_size=5), st.sampled_from([";", ","]))
def test_every_text_stays_in_its_cell(several: list[Entry], separator: str) -> None:
    text = csv_text(LIVE, [Row(entry, 7) for entry in several], "en", separator)
    rows = cells(text, separator)
    assert len(rows) == 1 + len(several)
    for number, (entry, row) in enumerate(zip(several, rows[1:], strict=True), 1):
        expected = [entry.title, entry.author, entry.category, entry.published, address(LIVE, Row(entry, 7)), entry.key]
        assert row == [str(number), "7", *map(harmless, expected)]
        assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n")) for cell in row)


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (Entry("/a"), "https://portal.vn/a"),
        (Entry("/a", url="https://cu.portal.vn/a?x=1"), "https://cu.portal.vn/a?x=1"),
        (Entry("tin-130235"), ""),
        (Entry("(other)"), ""),
        (Entry("?0011223344556677"), ""),
    ],
)
def test_an_article_is_where_it_says_or_at_the_sites_first_host(entry: Entry, expected: str) -> None:
    assert address(LIVE, Row(entry, 1)) == expected


# Lists, from a store that stands still -------------------------------------------------------------------------------


class Reads:
    """Stands in for the store's read side: views of articles, by day ("" for all time)."""

    def __init__(self, views: dict[str, dict[bytes, int]]) -> None:
        self.views = views
        self.scans: list[str] = []
        self.most_asked = 0
        self.open = asyncio.Event()
        self.open.set()
        self.away = False

    async def scan_views(self, site_id: str, day: str = "") -> AsyncIterator[list[tuple[bytes, int]]]:
        self.scans.append(day)
        await self.open.wait()
        if self.away:
            raise StoreUnavailable("away")
        items = list(self.views.get(day, {}).items())
        for start in range(0, len(items), 3):
            yield items[max(0, start - 1) : start + 3]  # one comes twice, as while the server rearranges its table

    async def views_of(self, site_id: str, ids: list[bytes], days: list[str]) -> list[int]:
        self.most_asked = max(self.most_asked, len(ids))
        return [sum(self.views.get(day, {}).get(each, 0) for day in days or [""]) for each in ids]

    async def entries(self, site_id: str, ids: list[bytes]) -> list[Entry]:
        return [Entry(each.hex()) for each in ids]


class Clock:
    def __init__(self) -> None:
        self.ms = NOW

    def __call__(self) -> int:
        return self.ms


TODAY = LIVE.calendar.day_at(NOW)


def ids(count: int) -> list[bytes]:
    return [n.to_bytes(8, "big") for n in range(1, count + 1)]


async def listed(lists: Lists, period: str = "all", limit: int = 100, live: LiveSite = LIVE) -> list[tuple[str, int]]:
    return [(row.entry.key, row.views) async for row in lists.rows(live, period, limit)]


def lists_of(reads: Reads, clock: Clock | None = None) -> Lists:
    return Lists(cast(Any, reads), clock or Clock())


views = st.dictionaries(st.integers(1, 30), st.integers(0, 5), max_size=30)


@given(st.dictionaries(st.sampled_from(TODAY.week), views, max_size=7), st.integers(1, 40))
async def test_a_week_is_listed_as_a_sum_by_hand_lists_it(by_day: dict[str, dict[int, int]], limit: int) -> None:
    """The most read first, up to today, without those that were not read."""
    reads = Reads({day: {n.to_bytes(8, "big"): count for n, count in of.items()} for day, of in by_day.items()})
    total = Counter[int]()
    for day, of in by_day.items():
        if day <= TODAY.date:
            total.update(of)
    expected = sorted(((-count, n) for n, count in total.items() if count > 0))[:limit]
    found = await listed(lists_of(reads), "week", limit)
    assert found == [(n.to_bytes(8, "big").hex(), -count) for count, n in expected]


@pytest.mark.parametrize("count", [0, 1, 4, 5, 6, 12])
@pytest.mark.parametrize("limit", [1, 5, 6, 12, 1_000_000])
@pytest.mark.parametrize("period", articles.PERIODS)
async def test_as_many_rows_as_asked_for_or_as_there_are(
    monkeypatch: pytest.MonkeyPatch, count: int, limit: int, period: str
) -> None:
    """Pages and sorted runs are made small here; neither is seen from outside."""
    monkeypatch.setattr(articles, "PAGE", 5)
    monkeypatch.setattr(articles, "RUN", 4)
    reads = Reads({"" if period == "all" else TODAY.date: {each: n for n, each in enumerate(ids(count), 1)}})
    found = await listed(lists_of(reads), period, limit)
    assert [n for _, n in found] == list(range(count, max(count - limit, 0), -1))
    assert reads.most_asked <= 5


@pytest.mark.parametrize(
    ("period", "days"),
    [
        ("day", ["2026-11-24"]),
        ("week", ["2026-11-23", "2026-11-24"]),
        ("month", [f"2026-11-{n:02d}" for n in range(1, 25)]),
        ("all", []),
    ],
)
def test_a_period_is_its_days_up_to_today(period: str, days: list[str]) -> None:
    assert days_of(LIVE.calendar, period, TODAY) == days


@pytest.mark.parametrize(
    ("period", "limit"), [("year", 5), ("", 5), ("x" * 500, 5), ("day", 0), ("day", -1), ("day", 1_000_001)]
)
async def test_what_cannot_be_listed_is_refused_in_one_line(period: str, limit: int) -> None:
    with pytest.raises(InvalidQuery, match="use ") as refused:
        await listed(lists_of(Reads({})), period, limit)
    assert len(str(refused.value)) < 120


async def test_the_order_is_at_most_a_minute_old_and_the_views_are_those_of_now() -> None:
    first, second = ids(2)
    reads, clock = Reads({"": {first: 5, second: 3}}), Clock()
    lists = lists_of(reads, clock)
    assert await listed(lists) == [(first.hex(), 5), (second.hex(), 3)]
    reads.views[""][second] = 9
    clock.ms = NOW + articles.LIST_MS - 1
    assert await listed(lists) == [(first.hex(), 5), (second.hex(), 9)]
    assert (await lists.order(LIVE, "all")).at_ms == NOW
    clock.ms = NOW + articles.LIST_MS
    assert await listed(lists) == [(second.hex(), 9), (first.hex(), 5)]
    assert (await lists.order(LIVE, "all")).at_ms == clock.ms
    assert len(reads.scans) == 2


async def test_a_clock_that_was_set_back_does_not_keep_an_old_order_for_ever() -> None:
    reads, clock = Reads({"": {ids(1)[0]: 5}}), Clock()
    lists = lists_of(reads, clock)
    await listed(lists)
    clock.ms = NOW - 24 * 3600 * 1000
    assert (await lists.order(LIVE, "all")).at_ms == clock.ms


async def test_the_order_of_yesterday_is_not_shown_today() -> None:
    """Not even in the first minute."""
    article, clock = ids(1)[0], Clock()
    clock.ms = TODAY.end_ms - 1000
    lists = lists_of(Reads({TODAY.date: {article: 5}, TODAY.tomorrow: {article: 1}}), clock)
    assert await listed(lists, "day") == [(article.hex(), 5)]
    clock.ms = TODAY.end_ms
    assert await listed(lists, "day") == [(article.hex(), 1)]


async def test_many_who_ask_at_once_are_one_reading_and_one_who_leaves_takes_it_from_nobody() -> None:
    reads = Reads({"": {ids(1)[0]: 5}})
    lists = lists_of(reads)
    reads.open.clear()
    asking = [asyncio.create_task(listed(lists)) for _ in range(5)]
    await eventually(lambda: reads.scans, "the store is read")
    asking[0].cancel()
    await asyncio.sleep(0)
    reads.open.set()
    assert await asyncio.gather(*asking[1:]) == [[(ids(1)[0].hex(), 5)]] * 4
    assert len(reads.scans) == 1


async def test_a_store_that_is_away_is_said_to_be_and_asked_again_the_next_time() -> None:
    reads = Reads({"": {ids(1)[0]: 5}})
    lists = lists_of(reads)
    reads.away = True
    with pytest.raises(StoreUnavailable):
        await listed(lists)
    reads.away = False
    assert len(await listed(lists)) == 1


async def test_orders_that_nobody_asks_for_any_more_are_not_kept() -> None:
    """A site has an order of a few MiB for each period: those of the last minute are enough."""
    clock = Clock()
    lists = lists_of(Reads({}), clock)
    for period in articles.PERIODS:
        await listed(lists, period)
    assert len(lists._orders) == len(articles.PERIODS)
    clock.ms += articles.LIST_MS
    await listed(lists, "day")
    assert len(lists._orders) == 1


# Articles that were merged into others --------------------------------------------------------------------------------


def with_alias(source: str, target: str) -> LiveSite:
    return LiveSite(LIVE.site, {article_id(source): target})


@pytest.mark.parametrize("period", ["day", "week", "month"])
async def test_what_a_merged_article_was_read_on_a_day_counts_for_the_one_that_it_was_merged_into(period: str) -> None:
    """In the order and in the numbers; it has no row of its own."""
    source, target, other = article_id("/a?old=1"), article_id("/a"), article_id("/b")
    reads = Reads({TODAY.date: {source: 4, target: 2, other: 5}})
    found = await listed(lists_of(reads), period, live=with_alias("/a?old=1", "/a"))
    assert found == [(target.hex(), 6), (other.hex(), 5)]


@pytest.mark.parametrize("period", articles.PERIODS)
async def test_an_article_that_was_merged_since_the_order_was_read_is_in_no_row_of_its_own(period: str) -> None:
    """Its views would be shown twice, or a row without a view; and the list is as long as it can be all the same."""
    source, target, other = article_id("/a?old=1"), article_id("/a"), article_id("/b")
    of_period = {source: 6, target: 2, other: 1}
    reads = Reads({"" if period == "all" else TODAY.date: of_period})
    lists = lists_of(reads)
    assert [n for _, n in await listed(lists, period)] == [6, 2, 1]
    if period == "all":  # a merge moves the views of all time; those of the days stay where they are
        of_period.update({target: 8})
        del of_period[source]
    assert await listed(lists, period, 2, with_alias("/a?old=1", "/a")) == [(target.hex(), 8), (other.hex(), 1)]


async def test_an_article_that_lost_its_views_since_the_order_was_read_has_no_row() -> None:
    """Another worker may have seen the merge a second before this one."""
    first, second = ids(2)
    reads = Reads({"": {first: 5, second: 3}})
    lists = lists_of(reads)
    await listed(lists)
    del reads.views[""][first]
    assert await listed(lists, limit=1) == [(second.hex(), 3)]
