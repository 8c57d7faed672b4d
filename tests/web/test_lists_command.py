"""`visitstats articles`: lists as a table or as a file, on a store that a service may be serving."""

from __future__ import annotations

import csv
import io
import os
import subprocess
from pathlib import Path

import pytest
from redis.asyncio import Redis

from tests.driver import PROGRAM
from tests.shell import Shell
from tests.store.shelf import Shelf
from tests.workbooks import Read
from visitstats.core.query import Query

MANY = 125


@pytest.fixture
def shell(tmp_path: Path, redis_url: str) -> Shell:
    found = Shell(tmp_path, redis_url, tmp_path / "data")
    (tmp_path / "data").mkdir()
    found("site", "add", "t", "--host", "portal.vn")
    return found


async def filled(redis_url: str) -> Shelf:
    async with Redis.from_url(redis_url) as raw:
        shelf = Shelf(raw, 3)
        await shelf.add_many(MANY)
        await shelf.read_many([(each, "2026-10-05", 1 + n % 50) for n, each in enumerate(shelf.articles)])
        await shelf.edit(shelf.articles[0], title="=HYPERLINK(1) [bold]Đền[/]", author="Lê Hiếu")
    return shelf


def cells(text: str, separator: str = ";") -> list[list[str]]:
    return list(csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""), delimiter=separator))


async def test_a_file_has_all_rows_and_a_table_the_first(shell: Shell, redis_url: str, tmp_path: Path) -> None:
    """A file that ends silently after fifty rows would go to the leadership as it is."""
    shelf = await filled(redis_url)
    expected = [row[0] for row in shelf.expected(Query(period="2026-10"), "2026-10-01", "2026-10-31")]
    assert len(expected) == MANY
    said = shell("articles", "t", "--period", "2026-10", "--csv", "a.csv")
    assert said == "125 articles are in a.csv\n"
    data = (tmp_path / "a.csv").read_bytes()
    assert data.startswith("\ufeffSTT;Lượt xem;".encode())
    rows = cells(data.decode())
    assert [row[7] for row in rows[1:]] == expected
    assert [row[2] for row in rows if row[7] == shelf.path(0)] == ["'=HYPERLINK(1) [bold]Đền[/]"]
    said = shell("articles", "t", "--period", "2026-10", "--csv", "-", "--delimiter", "tab", "--limit", "7")
    assert [row[7] for row in cells(said, "\t")[1:]] == expected[:7]
    assert shell("articles", "t", "--csv", "b.XLSX") == "125 articles are in b.XLSX\n"
    assert len(Read(tmp_path / "b.XLSX").sheets["Bài viết"]) == MANY + 2, "the head, and the sums below"
    table = shell(
        "articles", "t", "--author", "le hieu", "--from", "2026-10-05", "--to", "2026-10-05", "--sort", "title"
    )
    assert "=HYPERLINK(1) [bold]Đền[/]" in table
    mine = shelf.expected(Query(author="le hieu", sort="title"), "2026-10-05", "2026-10-05")
    views = f"{sum(row[1] for row in mine):,}".replace(",", ".")
    assert f"{len(mine)} articles with {views} views from 2026-10-05 to 2026-10-05." in table
    assert sorted(os.listdir(tmp_path)) == ["a.csv", "b.XLSX", "data"]
    history = shell("history", "t", "--article", shelf.path(0), "--by", "month", "--csv", "-")
    assert cells(history)[:2] == [["Tháng", "Lượt xem"], ["2026-10", str(shelf.views(shelf.articles[0]))]]
    days = cells(shell("history", "t", "--from", "2026-10-04", "--to", "2026-10-06", "--csv", "-", "--lang", "en"))
    assert days[0][:3] == ["Day", "Visits", "Views"]
    sold = {row[0]: row[2] for row in days[1:]}
    assert sold["2026-10-05"] == str(sum(shelf.views(each) for each in shelf.articles))
    assert "2026-10-04" not in sold, "before the first day on which something was counted nothing is known"
    assert "by 'week'" in shell("history", "t", "--by", "week", fails=True)


async def test_what_cannot_be_written_is_refused_before_anything_is_read(shell: Shell, redis_url: str) -> None:
    for arguments, said in (
        (("--csv", "a.pdf"), "a name that ends in .csv or .xlsx"),
        (("--delimiter", "|"), "delimiter '|'"),
        (("--period", "fortnight"), "period 'fortnight'"),
        (("--csv", "nowhere/a.csv"), "cannot be written"),
    ):
        assert said in shell("articles", "t", *arguments, fails=True)


@pytest.mark.parametrize("arguments", [(), ("--csv", "-")])
async def test_a_terminal_that_knows_no_vietnamese_gets_no_traceback(
    shell: Shell, redis_url: str, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    await filled(redis_url)
    done = subprocess.run(  # noqa: ASYNC221, nobody else is here
        [str(PROGRAM), "articles", "t", "--title", "den", *arguments],
        cwd=tmp_path, capture_output=True, timeout=30,
        env={"VISITSTATS_REDIS_URL": redis_url, "PATH": "", "LC_ALL": "C", "PYTHONIOENCODING": "ascii",
             "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "COLUMNS": "200"},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, b"")
    assert ("Đền".encode() in done.stdout) == bool(arguments), "a file has all letters"
    assert arguments or b"?" in done.stdout


async def test_a_report_is_shown_and_written(shell: Shell, redis_url: str, tmp_path: Path) -> None:
    """On the terminal with its words, and as files that hold what is shown; what makes no sense is refused."""
    shelf = await filled(redis_url)
    expected: dict[str, int] = {}
    for _, views, entry in ((key, views, shelf.entry(key)) for key, views, _ in shelf.expected(
        Query(period="2026-10"), "2026-10-01", "2026-10-31"
    )):  # fmt: skip
        expected[entry.author] = expected.get(entry.author, 0) + views
    said = shell("report", "t", "--kind", "authors", "--period", "2026-10")
    assert "Lượt xem theo tác giả tháng 10/2026" in said
    best = max(expected.values())
    assert f"{best:,}".replace(",", ".") in said
    assert shell("report", "t", "--kind", "authors", "--period", "2026-10", "--xlsx", "a.xlsx") == "a.xlsx is written\n"
    _, rows = Read(tmp_path / "a.xlsx").table("Tác giả", "Số bài")
    named = {name or "(không ghi tác giả)": n for name, n in expected.items()}
    assert {str(row[0]): row[2] for row in rows[:-1]} == named
    table = cells(shell("report", "t", "--kind", "royalties", "--period", "2026", "--csv", "-", "--lang", "en"), ",")
    assert table[0][:3] == ["No.", "Author", "Title"]
    assert len(table) > 50
    said = shell("report", "t", "--period", "2026-10", "--lang", "en")
    assert "Visits October 2026" in said
    for wrong in (("--period", "last-week"), ("--author", "x"), ("--kind", "royalties", "--period", "all")):
        shell("report", "t", *wrong, fails=True)
    assert not (tmp_path / "b.xlsx").exists()
