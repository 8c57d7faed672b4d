"""Lists of articles open in a spreadsheet as they are meant: right letters, right columns, and nothing that runs."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from visitstats import articles
from visitstats.articles import HEADINGS, InvalidQuery, address, csv_text, harmless
from visitstats.core.entries import Entry
from visitstats.core.periods import Day
from visitstats.core.sites import Site
from visitstats.directory import LiveSite
from visitstats.store.reads import Row

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
    """bad-inputs row 15; OWASP, "CSV Injection"."""
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


class Lists:
    """Stands in for the store's read side: `count` articles, the first with the most views."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.asked: list[tuple[str, int, int]] = []

    async def top(self, site_id: str, day: Day, period: str, limit: int, offset: int = 0) -> list[Row]:
        assert day.start_ms <= NOW < day.end_ms
        self.asked.append((period, limit, offset))
        return [Row(Entry(f"/{n}"), self.count - n) for n in range(offset, min(offset + limit, self.count))]


async def listed(count: int, period: str, limit: int) -> tuple[list[Row], Lists]:
    lists = Lists(count)
    return [row async for row in articles.rows(lists, LIVE, period, limit, NOW)], lists  # type: ignore[arg-type]


@pytest.mark.parametrize("count", [0, 1, 999, 1000, 1001, 2000, 2500])
@pytest.mark.parametrize("limit", [1, 1000, 1001, 2500, 1_000_000])
async def test_as_many_rows_as_asked_for_or_as_there_are(count: int, limit: int) -> None:
    found, lists = await listed(count, "month", limit)
    assert [row.views for row in found] == list(range(count, max(count - limit, 0), -1))
    assert all(asked <= articles.PAGE for _, asked, _ in lists.asked)


@pytest.mark.parametrize("period", articles.PERIODS)
async def test_every_period_can_be_asked_for(period: str) -> None:
    _, lists = await listed(1, period, 5)
    assert lists.asked == [(period, 5, 0)]


@pytest.mark.parametrize(
    ("period", "limit"), [("year", 5), ("", 5), ("x" * 500, 5), ("day", 0), ("day", -1), ("day", 1_000_001)]
)
async def test_what_cannot_be_listed_is_refused_in_one_line(period: str, limit: int) -> None:
    with pytest.raises(InvalidQuery, match="use ") as refused:
        await listed(1, period, limit)
    assert len(str(refused.value)) < 120
