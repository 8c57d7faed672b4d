"""Tables that people made: headings, encodings, numbers and dates as clerks write them; and what no table is."""

import datetime
import gzip
import io
import unicodedata
import zipfile
from pathlib import Path
from typing import Any

import pytest
import xlsxwriter

from tests.importing import Files, outcome_of
from visitstats.imports import opening

TABLE = "Đường dẫn;Lượt xem\n/a;1.524\n/b;7\n"


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def book(files: Files, rows: list[list[Any]], name: str = "so-lieu.xlsx", **more: Any) -> Path:
    """A workbook of one sheet; tuples are formulas with their stored values, `more` is done to the sheet."""
    path = files.folder / name
    made = xlsxwriter.Workbook(str(path))
    sheet = made.add_worksheet(more.get("sheet", "Sheet1"))
    for number, row in enumerate(rows):
        for column, value in enumerate(row):
            if isinstance(value, tuple):
                sheet.write_formula(number, column, value[0], None, value[1])
            elif isinstance(value, datetime.date):
                sheet.write_datetime(number, column, value, made.add_format({"num_format": "dd/mm/yyyy"}))
            elif isinstance(value, str):
                sheet.write_string(number, column, value)
            elif value is not None:
                sheet.write(number, column, value)
    for line in more.get("hidden", ()):
        sheet.set_row(line - 1, None, None, {"hidden": True})
    made.close()
    return path


# Texts ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("separator", [";", ",", "\t", "|"])
def test_encodings_and_separators_are_found(files: Files, encoding: str, separator: str) -> None:
    found = files.take(TABLE.replace(";", separator), encoding=encoding)
    assert {key: each["views"] for key, each in found["articles"].items()} == {"/a": 1524, "/b": 7}


def test_a_line_that_says_the_separator(files: Files) -> None:
    found = files.take("sep=|\nurl|views\n/a|5\n/b|x\n")
    assert found["refused"] == {
        "line": 4,
        "why": "x is not a whole number",
        "file": "old.csv",
        "found": "x",
        "cell": "views",
    }


def test_windows_1258_becomes_nfc(files: Files) -> None:
    """Its tones are marks of their own; an address with a word in it has to be the one that browsers send."""
    text = "Đường dẫn;Tiêu đề;Lượt xem\n/tin/hội-nghị;Hội nghị sơ kết;5\n"
    marks = _tones_apart(text)
    found = files.take(marks, encoding="cp1258")
    assert found["articles"] == {"/tin/h%E1%BB%99i-ngh%E1%BB%8B": {"views": 5, "title": "Hội nghị sơ kết"}}


def _tones_apart(text: str) -> str:
    """Vietnamese with its tones as marks, and its letters whole: what Windows-1258 can write."""
    found = []
    for letter in text:
        parts = unicodedata.normalize("NFD", letter)
        tones = [mark for mark in parts if mark in "\u0300\u0301\u0303\u0309\u0323"]
        rest = unicodedata.normalize("NFC", "".join(mark for mark in parts if mark not in tones))
        found.append(rest + "".join(tones))
    return "".join(found)


def test_other_old_encodings_are_refused_with_a_hint(files: Files) -> None:
    """TCVN3 ("L-ît xem") cannot be told from noise; nothing is guessed, and --encoding is the way out."""
    tcvn3 = "Tiªu ®Ò;§­êng dÉn;L­ît xem\nHéi nghÞ s¬ kÕt thi ®ua;/a;5\n".encode("latin-1")
    found = outcome_of([files.data(tcvn3, "old.csv")], files.folder)
    assert "--encoding" in found["refused"]["why"]
    said = outcome_of(
        [files.data("Tác;url;views\nLê;/a;5\n".encode("cp1252"), "o.csv")], files.folder, encoding="cp1252"
    )
    assert said["articles"]["/a"]["views"] == 5


NO_TABLES = {
    "empty": b"", "spaces": b"\n \n", "a PDF": b"%PDF-1.7 x", "a picture": b"\x89PNG\r\n\x1a\n\0\0", "noise": bytes(range(256)) * 20,
    "a login page": b"\n<html><body>Login</body></html>", "a web page with a heading": "\ufeff<!DOCTYPE HTML><title>Đăng nhập".encode(),
    "prose": "Kính gửi các đồng chí, sau đây là số liệu.\n".encode(), "an archive that is cut": b"PK\x03\x04abc",
    "gzip that is cut": b"\x1f\x8b\x08\0\0\0\0\0\0\3abc", "JSON that is cut": b'{"sites": {"a": ', "a number too many": b"5\n6\n",
    "sql without rows": b"CREATE TABLE `a` (`b` int);\n", "a heading alone": "Đường dẫn;Lượt xem\n".encode(), "RAR": b"Rar!\x1a\x07",
    "sqlite that is cut": b"SQLite format 3\0" + b"\0" * 30, "utf-16 that is cut": "url,views\n/a,5".encode("utf-16")[:-1],
    "an old workbook that is cut": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600,
}  # fmt: skip


@pytest.mark.parametrize("what", NO_TABLES)
def test_what_no_table_is_gets_one_clear_error(files: Files, what: str) -> None:
    found = outcome_of([files.data(NO_TABLES[what], "old.csv")], files.folder)
    assert found["refused"]["why"], found
    assert not (files.folder / "draft.sqlite").exists()


def test_folders_and_files_that_are_not_there(files: Files) -> None:
    assert outcome_of([files.folder], files.folder)["refused"]["why"] == "a folder, not a file"
    assert "No such file" in outcome_of([files.folder / "x.csv"], files.folder)["refused"]["why"]


def test_bombs_are_noticed_while_they_grow(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    """A zip that says how large it is, and a gzip that does not."""
    monkeypatch.setattr(opening, "SURELY_NO_BOMB", 1 << 20)
    path = files.folder / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("a.csv", "w") as inner:
        for _ in range(3):
            inner.write(b"\0" * (1 << 20))
    assert "times its size" in outcome_of([path], files.folder)["refused"]["why"]
    whole = io.BytesIO()
    with gzip.GzipFile(fileobj=whole, mode="wb") as packed:
        for _ in range(3):
            packed.write(b" " * (1 << 20))
    assert "unpacks to" in outcome_of([files.data(whole.getvalue(), "bomb.gz")], files.folder)["refused"]["why"]


def test_archives_with_passwords_are_refused(files: Files) -> None:
    path = files.zip({"a.csv": "url,views\n/a,5\n"})
    data = bytearray(path.read_bytes())
    for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(mark) + place] |= 1
    assert "password" in outcome_of([files.data(bytes(data), "p.zip")], files.folder)["refused"]["why"]


# Rows ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "number"),
    [("1.524", 1524), ("1,524", 1524), ("1 524", 1524), ("1\u00a0524", 1524), ("1.524,0", 1524), ("1,524.00", 1524),
     ("１５", 15), ("0", 0), ("1.524.318", 1524318), ("9007199254740992", 2**53), ("-", None), ("—", None), ("", None),
     ("12'345", 12345), ("007", 7)],
)  # fmt: skip
def test_numbers_as_people_write_them(files: Files, written: str, number: int | None) -> None:
    found = files.take(f'url\tviews\n/a\t"{written}"\n/b\t1\n')
    assert found["articles"]["/a"]["views"] == number


@pytest.mark.parametrize(
    "written",
    [
        "1.5",
        "1,52",
        "12.34.5",
        "1,5K",
        "-4",
        "9007199254740993",
        "1e5",
        "1.52.4",
        "abc",
        "1.524,5",
        "0x10",
        "1/2",
        "#REF!",
    ],
)
def test_numbers_that_could_be_read_in_two_ways_are_refused(files: Files, written: str) -> None:
    found = files.take(f'url\tviews\n/b\t1\n/a\t"{written}"\n')
    assert (found["refused"]["line"], found["refused"]["cell"]) == (3, "views")


@pytest.mark.parametrize(
    ("written", "period"),
    [("05/06/2022", "2022-06-05"), ("5-6-2022", "2022-06-05"), ("5.6.2022", "2022-06-05"), ("2022-06-05", "2022-06-05"),
     ("2022/6/5", "2022-06-05"), ("2022-06-05 23:59:01", "2022-06-05"), ("2022-06-05T23:59:01.5", "2022-06-05"),
     ("05/06/2022 10:00", "2022-06-05"), ("ngày 5 tháng 6 năm 2022", "2022-06-05"), ("Chủ nhật, 05/06/2022", "2022-06-05"),
     ("20220605", "2022-06-05"), ("06/2022", "2022-06"), ("Tháng 6/2022", "2022-06"), ("tháng 6 năm 2022", "2022-06"),
     ("T6/2022", None), ("2022-06", "2022-06"), ("2022", "2022"), ("Năm 2022", "2022"), ("05/06/22", None), ("31/02/2022", None),
     ("13/2022", None), ("hôm qua", None), ("04/17/2022", None)],
)  # fmt: skip
def test_dates_as_people_write_them(files: Files, written: str, period: str | None) -> None:
    found = files.take(f"Thời gian;Lượt truy cập\n{written};10\n")
    if period is None:
        assert found["refused"]["line"] == 2
    else:
        assert {
            **found["years"],
            **found["months"],
            **{day: each["visits"] for day, each in found["days"].items()},
        } == {period: 10}


def test_the_month_first_only_when_it_is_said(files: Files) -> None:
    text = "Ngày;Lượt truy cập\n04/17/2022;10\n"
    assert files.take(text)["refused"]["line"] == 2
    assert files.take(text, date_order="mdy")["days"] == {"2022-04-17": {"visits": 10}}
    assert files.take("Ngày;Lượt truy cập\n17/04/2022;10\n", date_order="mdy")["refused"]["line"] == 2


def test_rows_that_say_the_same_are_taken_once(files: Files) -> None:
    found = files.take("url;views\n/a;5\n/b;1\n/a;5\n")
    assert found["articles"]["/a"]["views"] == 5
    assert found["warnings"] == ["repeated: /a, line 4 says the same as line 2"]
    assert found["rows"] == {"read": 3, "taken": 2, "repeated": 1}
    days = files.take("Ngày;Lượt truy cập\n01/02/2022;5\n01/02/2022;6\n")
    assert days["refused"]["line"] == 3


def test_several_addresses_of_one_article_are_added_and_listed(files: Files) -> None:
    found = files.take(
        "url;views\n/vi/news/a/x-7.html;5\n/vi/news/print/a/x-7.html;2\n/vi/news/a/x-7.html?fbclid=1;1\n", "nukeviet"
    )
    assert found["articles"] == {"news:7": {"views": 8}}
    assert found["warnings"] == ["added-up: 2 addresses are news:7"]


def test_foreign_hosts_and_rows_without_addresses_are_left_out_and_listed(files: Files) -> None:
    found = files.take(
        "url;title;views\nhttps://khac.vn/a;x;5\n;Không có;2\nbacha.example.vn/b;y;1\nhttps://www.bacha.example.vn/c;z;1\n"
    )
    assert found["rows"] == {"read": 4, "taken": 2, "host": 1, "no-article": 1}
    assert set(found["articles"]) == {"/b", "/c"}
    assert found["in_file"]["views"] == {"read": 9, "taken": 2, "left_out": 7}


def test_days_and_months_and_years_of_one_file(files: Files) -> None:
    """A file of days has the sum for its total; what stands in a row of sums is compared, and never imported."""
    found = files.take("Ngày;Lượt truy cập;Lượt xem\n01/02/2022;5;9\n02/02/2022;6;8\nTổng cộng;11;17\n")
    assert found["site"] == {"visits_total": 11, "views_total": 17}
    assert found["days"] == {"2022-02-01": {"visits": 5, "views": 9}, "2022-02-02": {"visits": 6, "views": 8}}
    assert found["warnings"] == []
    other = files.take("Ngày;Lượt truy cập\n01/02/2022;5\nCộng;50\n")
    assert other["site"]["visits_total"] == 5
    assert other["warnings"][0].startswith("total-row: line 3 says 50, the rows above it 5")


def test_sums_in_between_are_no_rows(files: Files) -> None:
    found = files.take(
        "Tháng;Lượt truy cập\n01/2022;5\n02/2022;6\nCộng quý I;11\n04/2022;7\nTổng cộng;18\n\nNgười lập;\n"
    )
    assert (found["months"], found["warnings"]) == ({"2022-01": 5, "2022-02": 6, "2022-04": 7}, [])


def test_months_and_years_in_columns_of_their_own(files: Files) -> None:
    found = files.take("Năm;Tháng;Lượt truy cập\n2021;12;5\n2022;1;6\n")
    assert found["months"] == {"2021-12": 5, "2022-01": 6}
    titled = files.take("THỐNG KÊ NĂM 2022;\nTháng;Lượt truy cập\n1;5\nTháng 2;6\n")
    assert titled["months"] == {"2022-01": 5, "2022-02": 6}
    assert files.take("Tháng;Lượt truy cập\n1;5\n")["refused"]["line"] == 2


def test_what_we_counted_ourselves_is_never_taken(files: Files) -> None:
    """History is taken up to the day before the first that was counted here; months, years and totals lose the rest."""
    text = "Ngày;Lượt truy cập\n30/10/2022;5\n31/10/2022;6\n01/11/2022;7\n"
    path = files.text(text)
    found = outcome_of([path], files.folder, first_counted="2022-10-31")
    assert found["days"] == {"2022-10-30": {"visits": 5}}
    assert found["site"]["visits_total"] == 5
    assert found["in_file"]["visits"] == {"read": 18, "taken": 5, "left_out": 13}
    through = outcome_of([path], files.folder, first_counted="2022-10-31", through="2022-10-31")
    assert set(through["days"]) == {"2022-10-30", "2022-10-31"}


def test_articles_are_matched_by_titles_only_when_it_is_said(files: Files) -> None:
    text = "Tiêu đề;Lượt xem\nHội nghị;5\nTrùng;6\nLạ;7\n"
    assert "--match title" in files.take(text)["refused"]["why"]
    titles = {"/a": "Hội  nghị", "/b": "Trùng", "/c": "trùng"}
    found = files.take(text, match="title", titles=titles)
    assert {key: each["views"] for key, each in found["articles"].items()} == {"/a": 5}
    assert found["rows"]["no-article"] == 2


# Workbooks -----------------------------------------------------------------------------------------------------------


def test_a_clerks_workbook(files: Files) -> None:
    """Titles above, text numbers, dates in two forms, an empty row, a hidden row, signatures below."""
    path = book(files, [
        ["UBND XÃ BẮC HÀ"], ["Số liệu đến 31/12/2022"], [],
        ["TT", "Tên bài", "Ngày đăng", "Lượt đọc (lượt)", "Link", "Ghi chú"],
        [1, "Một", datetime.datetime(2022, 7, 22), 822, "/a", None], [2, "Hai", "05/06/2022", "1.524", "/b", "x"], [],
        [3, "Ba", None, 7.0, "/c", None], ["", "Tổng cộng", None, ("=SUM(D5:D8)", 829)], [], ["", "Người lập", None, "Lê Hiếu"],
    ], hidden=(6,))  # fmt: skip
    found = outcome_of([path], files.folder)
    assert {key: (each["views"], each["title"], each["published"]) for key, each in found["articles"].items()} == {
        "/a": (822, "Một", "2022-07-22"), "/b": (1524, "Hai", "2022-06-05"), "/c": (7, "Ba", "")
    }  # fmt: skip
    assert [text.partition(":")[0] for text in found["warnings"]] == ["total-row", "hidden-rows"]


def test_a_heading_of_two_rows(files: Files) -> None:
    path = book(files, [["Thời gian", "Số liệu", None], [None, "Lượt truy cập", "Lượt xem"], ["01/2022", 5, 9]])
    found = outcome_of([path], files.folder)
    assert found["months"] == {"2022-01": {"visits": 5, "views": 9}}


@pytest.mark.parametrize("stored", ["", "#REF!"])
def test_formulas_without_a_value_are_refused_with_their_cell(files: Files, stored: str) -> None:
    path = book(files, [["url", "views"], ["/a", 5], ["/b", ("=C3*2", stored)]])
    if not stored:
        # As programs write it that do not calculate: no value at all.
        data = io.BytesIO()
        with zipfile.ZipFile(path) as old, zipfile.ZipFile(data, "w") as new:
            for member in old.namelist():
                new.writestr(member, old.read(member).replace(b"<v></v>", b""))
        path.write_bytes(data.getvalue())
    refused = outcome_of([path], files.folder)["refused"]
    assert (refused["line"], refused["cell"], refused["sheet"]) == (3, "B3", "Sheet1")


def test_numbers_that_lost_their_thousands_are_refused(files: Files) -> None:
    refused = outcome_of([book(files, [["url", "views"], ["/a", 5], ["/b", 1.524]])], files.folder)["refused"]
    assert (refused["line"], refused["cell"]) == (3, "B3")
    assert refused["why"].startswith("1.524 is not a whole number")


def test_the_sheet_is_said_where_several_have_tables(files: Files) -> None:
    path = files.folder / "two.xlsx"
    made = xlsxwriter.Workbook(str(path))
    for name, head in (("Bài viết", ["url", "views"]), ("Ngày", ["Ngày", "Lượt truy cập"])):
        sheet = made.add_worksheet(name)
        sheet.write_row(0, 0, head)
        sheet.write_row(1, 0, ["/a" if name != "Ngày" else "01/02/2022", 5])
    made.close()
    assert "--sheet" in outcome_of([path], files.folder)["refused"]["why"]
    assert outcome_of([path], files.folder, sheet="ngày")["days"] == {"2022-02-01": {"visits": 5}}
    assert "there is no 'x'" in outcome_of([path], files.folder, sheet="x")["refused"]["why"]


def test_the_same_content_has_the_same_id(files: Files) -> None:
    """Whatever it is called and however it is packed; other options that matter make it another import."""
    plain = outcome_of([files.text(TABLE)], files.folder)["id"]
    assert outcome_of([files.gz(TABLE, "x.csv.gz")], files.folder)["id"] == plain
    assert outcome_of([files.zip({"z/y.csv": TABLE})], files.folder)["id"] == plain
    assert outcome_of([files.text(TABLE)], files.folder, strategy="add")["id"] == plain
    assert outcome_of([files.text(TABLE)], files.folder, through="2022-01-01")["id"] != plain
    assert outcome_of([files.text(TABLE + "/c;1\n")], files.folder)["id"] != plain
