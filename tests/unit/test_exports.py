"""Lists open in a spreadsheet as they are meant: right letters, right columns, and nothing that runs."""

from __future__ import annotations

import csv
import io
import xml.etree.ElementTree as ElementTree
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from visitstats.core.entries import Entry
from visitstats.core.errors import InvalidQuery
from visitstats.core.query import Row
from visitstats.core.ranges import Range
from visitstats.core.sites import Site
from visitstats.reading import exports
from visitstats.reading.exports import CsvText, Language, Workbook, address, columns, delimiter, file_name, harmless

SITE = Site(id="p", hosts=("portal.vn", "cu.portal.vn"))
ALL, WEEK = Range("all"), Range("last-week", "2026-11-16", "2026-11-22", "week")
SHEET = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"


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


def sheets(path: Path) -> list[list[dict[str, str]]]:
    """Read a workbook: of each sheet its rows, of each row its cells ("type:style:value") by their columns."""
    found = []
    with zipfile.ZipFile(path) as archive:
        names = sorted(name for name in archive.namelist() if name.startswith("xl/worksheets/sheet"))
        for name in names:
            sheet = ElementTree.fromstring(archive.read(name))  # noqa: S314, we have written it
            rows = []
            for line in sheet.iter(f"{SHEET}row"):
                cells = {}
                for cell in line:
                    text = "".join(part.text or "" for part in cell.iter() if part.tag in (f"{SHEET}v", f"{SHEET}t"))
                    assert cell.find(f"{SHEET}f") is None, "no formula"
                    cells[cell.attrib["r"].rstrip("0123456789")] = f"{cell.get('t', 'n')}:{text}"
                rows.append(cells)
            found.append(rows)
    return found


def test_a_workbook_has_numbers_dates_and_texts(tmp_path: Path) -> None:
    entry = Entry("=1+1", "Quy định mới", "", "Văn phòng", "Xã hội", "2026-11-24T10:00:00", type="0123")
    book = Workbook(tmp_path / "a.xlsx", SITE, columns(WEEK))
    book.rows([Row(entry, 822, 1_524_318), Row(Entry("http://x.vn/a", published="hôm qua"), 0, 0)])
    book.close()
    [[head, one, other]] = sheets(tmp_path / "a.xlsx")
    assert list(head.values())[:3] == ["inlineStr:STT", "inlineStr:Lượt xem", "inlineStr:Tiêu đề"]
    assert (one["A"], one["B"], one["J"]) == ("n:1", "n:822", "n:1524318")
    assert one["F"] == "n:46350", "24 November 2026, as Excel counts days"
    assert (one["H"], one["I"]) == ("inlineStr:=1+1", "inlineStr:0123")
    assert (other["B"], other["F"], other["H"]) == ("n:0", "inlineStr:hôm qua", "inlineStr:http://x.vn/a")
    with zipfile.ZipFile(tmp_path / "a.xlsx") as archive:
        assert 'state="frozen"' in archive.read("xl/worksheets/sheet1.xml").decode()
    assert [path.name for path in tmp_path.iterdir()] == ["a.xlsx"]


def test_a_workbook_goes_on_in_the_next_sheet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exports, "SHEET_ROWS", 4)
    book = Workbook(tmp_path / "a.xlsx", SITE, columns(ALL), "en")
    for n in range(7):
        book.rows([Row(Entry(f"/{n}"), n)])
    book.close()
    found = sheets(tmp_path / "a.xlsx")
    assert [[row["A"] for row in rows] for rows in found] == [
        ["inlineStr:No.", "n:1", "n:2", "n:3"],
        ["inlineStr:No.", "n:4", "n:5", "n:6"],
        ["inlineStr:No.", "n:7"],
    ]


def test_an_empty_workbook_has_its_headings(tmp_path: Path) -> None:
    Workbook(tmp_path / "a.xlsx", SITE, columns(ALL)).close()
    assert len(sheets(tmp_path / "a.xlsx")[0]) == 1


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
