"""Files that are like no sample, and were read wrongly once: they come to what their authors meant."""

from pathlib import Path
from typing import Any

import pytest
import xlsxwriter

from tests.importing import Files, outcome_of


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def of_book(files: Files, rows: list[list[Any]], *merged: str) -> dict[str, Any]:
    """What the import of a workbook comes to."""
    path = files.folder / "so-lieu.xlsx"
    made = xlsxwriter.Workbook(str(path))
    sheet = made.add_worksheet("Số liệu")
    for place in merged:
        sheet.merge_range(place, None)
    for number, row in enumerate(rows):
        for column, value in enumerate(row):
            if value is not None:
                sheet.write(number, column, value)
    made.close()
    return outcome_of([path], files.folder)


def test_a_sum_may_have_its_word_behind_its_number(files: Files) -> None:
    """Columns stand in any order; what is signed below the sum is no article."""
    found = files.take(
        "\ufeffBÁO CÁO LƯỢT XEM NĂM 2022;;;;\n;;;;\nSố TT;Lượt xem (lượt);Tên bài;Đường dẫn;Ngày đăng\n"
        "1;1\u00a0524;Bài A;https://bacha.example.vn/a.html;05/06/2022\n2;2.000;Bài B;/b.html;2022-06-07\n"
        "3;-;Bài C;/c.html;\n;3 524;Tổng cộng;;\n;;;Người lập biểu;\n"
    )
    assert found["in_file"]["views"] == {"read": 3524, "taken": 3524, "left_out": 0}
    assert {key: each["views"] for key, each in found["articles"].items()} == {
        "/a.html": 1524, "/b.html": 2000, "/c.html": None,
    }  # fmt: skip
    assert [text.partition(":")[0] for text in found["warnings"]] == ["no-number"]


def test_years_and_months_of_merged_cells(files: Files) -> None:
    """A merged cell has its value in its first row; a new year ends the month that was above it."""
    found = of_book(
        files,
        [["Năm", "Tháng", "Ngày", "Lượt truy cập"], [2021, 12, 30, 10], [None, None, 31, 20], [2022, 1, 1, 30],
         [None, "Tháng 2", 3, 5], ["Cả năm", None, None, 65]],
        "A2:A3", "B2:B3", "A4:A5",
    )  # fmt: skip
    assert {day: each["visits"] for day, each in found["days"].items()} == {
        "2021-12-30": 10, "2021-12-31": 20, "2022-01-01": 30, "2022-02-03": 5,
    }  # fmt: skip
    assert found["site"]["visits_total"] == 65
    assert [text.partition(":")[0] for text in found["warnings"]] == ["gap"]
    found = of_book(files, [["Năm", "Tháng", "Ngày", "Lượt truy cập"], [2021, 12, 30, 10], [2022, None, 1, 30]])
    assert (found["refused"]["cell"], found["refused"]["why"]) == ("B3", "a month is expected for this day")


def test_a_number_without_any_date_is_refused(files: Files) -> None:
    found = files.take("Năm;Tháng;Lượt truy cập\n2021;1;5\n;;7\n")
    assert found["refused"]["line"] == 3
    assert "date is expected" in found["refused"]["why"]


def test_serial_dates_in_a_text(files: Files) -> None:
    """A spreadsheet writes dates as its own numbers when their column has no format."""
    found = files.take("Ngày,Truy cập\n44562,5\n44563,6\n")
    assert found["days"] == {"2022-01-01": {"visits": 5}, "2022-01-02": {"visits": 6}}


@pytest.mark.parametrize(
    ("written", "day"),
    [
        ("CAST(0x00009CEF00A25634 AS DateTime)", "2009-12-30"),
        ("CAST(0x0000AD0A018A2F4F AS [datetime])", "2021-04-14"),
        ("CAST(0xAD0A0000 AS SmallDateTime)", "2021-04-14"),
        ("CAST(0x7C340B00 AS Date)", "2011-07-15"),
        ("CAST(0x0700A8E76F4B62350B AS DateTime2)", "2012-03-01"),
        ("CAST(N'2021-03-04' AS Date)", "2021-03-04"),
    ],
)
def test_moments_of_older_management_studios(files: Files, written: str, day: str) -> None:
    """Up to 2012 it wrote the bytes of the server's storage."""
    found = files.take(
        f"INSERT [dbo].[tblThongKe] ([Id], [ThoiGian], [SoTruyCap]) VALUES (1, {written}, 120)\nGO\n", name="old.sql"
    )
    assert found["days"] == {day: {"visits": 120}}


def test_bytes_that_are_no_moment_are_refused(files: Files) -> None:
    found = files.take(
        "INSERT [dbo].[ThongKe] ([Id], [ThoiGian], [SoTruyCap]) VALUES (1, CAST(0xFFFFFFFFFFFFFF AS Date), 1)\nGO\n",
        name="old.sql",
    )
    assert "a date such as" in found["refused"]["why"]


def test_a_folder_of_matomo_is_no_page(files: Files) -> None:
    """Without flat=1 labels are folders, also where the file has no addresses."""
    found = files.take("label,nb_visits,nb_hits\n/index,1,2\ntin-tuc,3,5\n")
    assert found["refused"]["line"] == 3
    assert "flat=1" in found["refused"]["why"]


def test_categories_of_joomla_by_any_version(files: Files) -> None:
    found = files.take(
        "CREATE TABLE `abc_content` (`id` int, `title` text, `alias` text, `catid` int, `hits` int);\n"
        "INSERT INTO `abc_content` VALUES (5,'Bài','bai',8,77);\n"
        "CREATE TABLE `abc_categories` (`id` int, `title` text, `path` text);\nINSERT INTO `abc_categories` VALUES (8,'Tin','tin');",
        name="old.sql",
    )
    assert [(each["views"], each["category"]) for each in found["articles"].values()] == [(77, "Tin")]


def test_the_total_of_an_article_is_a_count(files: Files) -> None:
    """Beside a column for a month that no word names."""
    found = of_book(files, [["Link", "Lượt xem tháng", "Tổng lượt xem"], ["/a", 5, 50]])
    assert {key: each["views"] for key, each in found["articles"].items()} == {"/a": 50}
