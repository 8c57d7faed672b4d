"""Lists open in a spreadsheet as they are meant: right letters, right columns, and nothing that runs."""

from __future__ import annotations

import csv
import io
import re
from datetime import date
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from python_calamine import CalamineWorkbook

from tests.workbooks import Read
from visitstats.core.entries import Entry
from visitstats.core.errors import InvalidQuery
from visitstats.core.query import Row
from visitstats.core.ranges import Range
from visitstats.core.sites import Site
from visitstats.reading import workbook
from visitstats.reading.exports import CsvText, Language, Workbook, address, columns, delimiter, file_name, harmless

SITE = Site(id="p", hosts=("portal.vn", "cu.portal.vn"))
ALL, WEEK = Range("all"), Range("last-week", "2026-11-16", "2026-11-22", "week")


def csv_text(rows: list[Row], language: Language = "vi", separator: str = ";", days: Range = ALL) -> str:
    writer = CsvText(SITE, columns(days), language, separator)
    return writer.head() + "".join(writer.rows([row]) for row in rows)


def cells(text: str, separator: str = ";") -> list[list[str]]:
    return list(csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""), delimiter=separator))


def test_a_file_is_as_excel_wants_it() -> None:
    """UTF-8 with a byte order mark, CRLF, semicolons: Excel in Vietnamese and most of Europe splits at these."""
    entry = Entry("/a?id=1", "Quy định mới", "", "Văn phòng", "Xã hội", "2026-11-24", type="Bài")
    assert csv_text([Row(entry, 822), Row(Entry("(other)"), 3)]) == (
        "\ufeffSTT;Lượt xem;Tiêu đề;Tác giả;Chuyên mục;Ngày đăng;Địa chỉ;Khóa;Loại tin\r\n"
        "1;822;Quy định mới;Văn phòng;Xã hội;2026-11-24;https://portal.vn/a?id=1;/a?id=1;Bài\r\n"
        "2;3;;;;;;(other);\r\n"
    )


def test_headings_are_in_the_language_asked_for() -> None:
    assert csv_text([], "en", ",") == "\ufeffNo.,Views,Title,Author,Category,Published,Address,Key,Type\r\n"


def test_a_list_of_a_period_says_the_views_of_all_time_too() -> None:
    entry = Entry("/a", published="2026-11-20")
    shown = columns(WEEK, within=30, compare=True)
    writer = CsvText(SITE, shown)
    found = cells(writer.head() + writer.rows([Row(entry, 5, 1234, 7, None), Row(entry, 1, 2, 0, 3)]))
    assert found[0][-3:] == ["Từ trước đến nay", "Kỳ trước", "Trong 30 ngày từ khi đăng"]
    assert [row[-3:] for row in found[1:]] == [["1234", "7", ""], ["2", "0", "3"]]


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
    entry = Entry(text, text, text, text, text, text, type=text)
    [_, row] = cells(csv_text([Row(entry, 1)]))
    assert row[2:] == ["'" + text] * 7


@pytest.mark.parametrize("text", ["", "a=b", "Giá vàng: +3%", "1-2", "mail@portal.vn", " ", "'"])
def test_other_texts_are_not_touched(text: str) -> None:
    assert harmless(text) == text


@given(
    st.lists(st.builds(Entry, *[st.text(max_size=20)] * 6, type=st.text(max_size=20)), max_size=5),
    st.sampled_from([";", ","]),
)
def test_every_text_stays_in_its_cell(several: list[Entry], separator: str) -> None:
    text = csv_text([Row(entry, 7) for entry in several], "en", separator)
    rows = cells(text, separator)
    assert len(rows) == 1 + len(several)
    for number, (entry, row) in enumerate(zip(several, rows[1:], strict=True), 1):
        where = address(SITE, Row(entry, 7))
        expected = [entry.title, entry.author, entry.category, entry.published, where, entry.key, entry.type]
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
    assert address(SITE, Row(entry, 1)) == expected


# Workbooks -----------------------------------------------------------------------------------------------------------


def test_a_workbook_has_numbers_dates_texts_and_sums(tmp_path: Path) -> None:
    """A date on the site's clocks; below the rows the sums of their numbers, beside them a plot."""
    entry = Entry("=1+1", "Quy định mới", "", "Văn phòng", "Xã hội", "2026-11-23T20:00:00Z", type="0123")
    book = Workbook(tmp_path / "a.xlsx", SITE, columns(WEEK))
    book.rows([Row(entry, 822, 1_524_318), Row(Entry("http://x.vn/a", published="hôm qua"), 3, 4)])
    book.close()
    read = Read(tmp_path / "a.xlsx")
    assert list(read.sheets) == ["Bài viết", "Biểu đồ"]
    head, one, other, sums = read.sheets["Bài viết"]
    assert head[:3] == ["STT", "Lượt xem", "Tiêu đề"]
    assert (one[0], one[1], one[9]) == (1, 822, 1_524_318)
    assert one[5:9] == [date(2026, 11, 24), None, "=1+1", "0123"]
    assert (other[1], other[5], other[7]) == (3, "hôm qua", "http://x.vn/a")
    assert (sums[:2], sums[9]) == (["Tổng", 825], 1_524_322)
    assert 'state="frozen"' in read.text("Bài viết")
    assert len(read.plots) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["a.xlsx"]


def test_other_programs_read_in_a_workbook_what_was_written(tmp_path: Path) -> None:
    """Calamine reads numbers, dates and texts, formulas among them as texts; rows of every mixture of full and empty
    cells, and of texts that are escaped."""
    entries = [
        Entry(f"/{n}", ("Lễ hội", "<b>&amp;</b>", "", " hai  đầu ", "=1+1")[n % 5], "", ("", "Lê Hiếu")[n % 2],
              ("Tin", "")[n % 3 == 0], ("2026-11-23", "", "1850-01-01")[n % 3])
        for n in range(40)
    ]  # fmt: skip
    book = Workbook(tmp_path / "a.xlsx", SITE, columns(WEEK))
    book.rows([Row(entry, n * 7 % 5, 1_524_318 + n) for n, entry in enumerate(entries)])
    book.close()
    sheet = CalamineWorkbook.from_path(str(tmp_path / "a.xlsx")).get_sheet_by_index(0).to_python()
    assert len(sheet) == 1 + 40 + 1
    for n, (entry, row) in enumerate(zip(entries, sheet[1:], strict=False)):
        day = {"2026-11-23": date(2026, 11, 23)}.get(entry.published, entry.published)
        assert row == [
            n + 1, n * 7 % 5, entry.title, entry.author, entry.category, day, f"https://portal.vn{entry.key}",
            entry.key, "", 1_524_318 + n,
        ]  # fmt: skip
    assert sheet[-1][1] == sum(n * 7 % 5 for n in range(40))


def test_a_workbook_goes_on_in_the_next_sheet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workbook, "SHEET_ROWS", 4)
    book = Workbook(tmp_path / "a.xlsx", SITE, columns(ALL), "en")
    for n in range(7):
        book.rows([Row(Entry(f"/{n}"), n)])
    book.close()
    read = Read(tmp_path / "a.xlsx")
    assert [[row[0] for row in rows] for name, rows in read.sheets.items() if name != "Plot"] == [
        ["No.", 1, 2, 3],
        ["No.", 4, 5, 6],
        ["No.", 7, "Sum"],
    ]


def test_an_empty_workbook_has_its_headings(tmp_path: Path) -> None:
    Workbook(tmp_path / "a.xlsx", SITE, columns(ALL)).close()
    assert [len(rows) for rows in Read(tmp_path / "a.xlsx").sheets.values()] == [1]


@given(st.lists(st.text(max_size=40), min_size=1, max_size=20))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
def test_every_text_of_a_workbook_is_read_as_it_was_written(tmp_path: Path, texts: list[str]) -> None:
    """XML cannot say control characters: OOXML has escapes for them, and one for what looks like such an escape."""
    book = workbook.Workbook(tmp_path / "a.xlsx")
    book.sheet("t", [workbook.Heading("text", 10)]).rows([[text] for text in texts])
    book.close()
    [sheet] = Read(tmp_path / "a.xlsx").sheets.values()
    read = [row[0] for row in sheet[1:]]
    for text, cell in zip(texts, [*read, *[None] * (len(texts) - len(read))], strict=True):
        found = re.sub(r"_x([0-9A-F]{4})_", lambda each: chr(int(each[1], 16)), str(cell or ""))
        expected = re.sub("[\ufffe\uffff]", "\ufffd", text)
        # A line break of XML is \n, whatever was written.
        assert found.replace("\r\n", "\n") == expected.replace("\r\n", "\n"), (text, cell)


def test_a_workbook_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "a.xlsx").mkdir()
    book = Workbook(tmp_path / "a.xlsx", SITE, columns(ALL))
    book.rows([Row(Entry("/a"), 1)])
    with pytest.raises(OSError, match=r"a\.xlsx"):
        book.close()
    assert [path.name for path in tmp_path.iterdir()] == ["a.xlsx"]


def test_a_workbook_that_nobody_wants_leaves_nothing_behind(tmp_path: Path) -> None:
    book = Workbook(tmp_path / "a.xlsx", SITE, columns(ALL))
    book.rows([Row(Entry("/a"), 1)] * 1000)
    book.discard()
    assert not list(tmp_path.iterdir())


def test_files_say_what_they_are_of() -> None:
    assert file_name(SITE, WEEK, "xlsx") == "p_bai-viet_2026-11-16_2026-11-22.xlsx"
    assert file_name(SITE, Range("day", "2026-11-24", "2026-11-24"), "csv", "en") == "p_articles_2026-11-24.csv"
    assert file_name(SITE, ALL, "csv") == "p_bai-viet_all.csv"


def test_other_delimiters_are_refused() -> None:
    assert [delimiter(each) for each in (";", ",", "tab")] == [";", ",", "\t"]
    with pytest.raises(InvalidQuery, match="delimiter"):
        delimiter("|")
