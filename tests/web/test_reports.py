"""Reports over the API: what a page shows, and files with the same numbers."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest

from tests.client import HOST, crowd
from tests.web.inprocess import NOON, Running
from tests.workbooks import Read

REPORT = "/v1/admin/sites/t1/report"
PAGES = {"/a": ("An", "Tin"), "/b": ("An", "Văn hóa"), "/c": ("Bình", "Tin")}


async def read_some(app: Running) -> None:
    """Six readings of three articles, published the day before; four readers."""
    for n, page in enumerate(("/a", "/a", "/a", "/b", "/b", "/c")):
        author, category = PAGES[page]
        meta = {"author": author, "category": category, "published": "2040-05-15T08:00:00+07:00"}
        body = {"u": f"https://{HOST}{page}", "t": f"Bài {page}", "m": meta}
        visitor = crowd(4, "reports")[n % 4]
        assert (await app.connection.request("POST", "/v1/sites/t1/hit", body, visitor.headers)).status == 200


async def test_a_report_on_a_page_and_in_its_files(app: Running) -> None:
    await read_some(app)
    headers = {"authorization": await app.token("viewer", "t1")}
    found = (await app.connection.request("GET", f"{REPORT}?kind=authors&period=month", headers=headers)).json
    assert found["groups"] == [{"name": "An", "articles": 2, "views": 5}, {"name": "Bình", "articles": 1, "views": 1}]
    assert (found["groups_in_all"], found["selection"]) == (2, {"articles": 3, "views": 6})
    assert (found["range"], found["running"], found["at"]) == ({"from": "2040-05-01", "to": NOON[:10]}, True, NOON)
    answer = await app.connection.request("GET", f"{REPORT}.xlsx?kind=authors&period=month&lang=en", headers=headers)
    name = 'attachment; filename="t1_authors_2040-05-01_2040-05-16.xlsx"'
    assert answer.headers["content-disposition"] == name
    assert [row[:3] for row in Read(answer.body).table("Authors", "Articles")[1]] == [
        ["An", 2, 5], ["Bình", 1, 1], ["Sum", 3, 6],
    ]  # fmt: skip
    answer = await app.connection.request("GET", f"{REPORT}.csv?kind=royalties&period=month&within=2", headers=headers)
    rows = list(csv.reader(io.StringIO(answer.body.decode("utf-8-sig"), newline=""), delimiter=";"))
    assert [(row[1], int(row[5]), row[7]) for row in rows[1:]] == [
        ("An", 3, "chưa"),
        ("An", 2, "chưa"),
        ("Bình", 1, "chưa"),
    ]
    found = (
        await app.connection.request("GET", f"{REPORT}?kind=royalties&period=month&within=1", headers=headers)
    ).json
    assert [(row["key"], row["within"], row["until"], row["over"]) for row in found["articles"]] == [
        (key, 0, "2040-05-15", True) for key in ("/a", "/b", "/c")
    ]


async def test_a_summary_has_the_numbers_of_the_box(app: Running) -> None:
    await read_some(app)
    headers = {"authorization": await app.token("viewer", "t1")}
    found = (await app.connection.request("GET", f"{REPORT}?period=month", headers=headers)).json
    figures = {figure["name"]: figure for figure in found["figures"]}
    assert figures["visits"]["now"] == (await app.numbers())["month"] == 4
    assert (figures["views"]["now"], figures["visits"]["before"], found["best_day"]["visits"]) == (6, None, 4)
    assert [row["key"] for row in found["articles"]] == ["/a", "/b", "/c"]
    assert found["authors"][0] == {"name": "An", "articles": 2, "views": 5}


@pytest.mark.parametrize(
    "query",
    ["kind=owners", "kind=summary&period=week", "kind=royalties", "kind=authors&sort=title", "limit=0", "lang=fr",
     "kind=summary&period=month&author=An", "delimiter=|"],
)  # fmt: skip
async def test_what_makes_no_sense_is_refused(app: Running, query: str) -> None:
    headers = {"authorization": await app.token("viewer", "t1")}
    found = []
    for path in (REPORT, f"{REPORT}.csv", f"{REPORT}.xlsx"):
        answer = await app.connection.request("GET", f"{path}?{query}", headers=headers)
        found.append((answer.status, answer.json["error"] if answer.status == 400 else ""))
    assert (400, "bad-query") in found
    assert {status for status, _ in found} <= {200, 400}


async def test_a_closed_month_is_told_as_it_was_frozen(app: Running) -> None:
    """Whatever is changed later: on the page, in the workbook and in CSV; each says when it was closed, and by
    whom. What is asked for in another way is told as it is now, and not said to be closed."""
    app.clock.set("2040-04-16T12:00:00+07:00")
    await read_some(app)
    app.clock.set("2040-05-02T08:00:00+07:00")
    headers = {"authorization": await app.token("editor", "t1", name="Hùng")}
    made = await app.connection.request("POST", "/v1/admin/sites/t1/close", {"period": "2040-04"}, headers)
    assert made.status == 200, made
    order = {"from": "/b", "into": "/a", "why": "một bài"}
    assert (await app.connection.request("POST", "/v1/admin/sites/t1/merge", order, headers)).status == 200
    order = {"article": "/c", "author": "Người khác", "why": "sửa tên"}
    assert (await app.connection.request("POST", "/v1/admin/sites/t1/rename", order, headers)).status == 200
    app.clock.advance(61)
    [closing] = (await app.connection.request("GET", "/v1/admin/sites/t1/closed", headers=headers)).json["closed"]

    async def shown(query: str) -> dict[str, Any]:
        found: dict[str, Any] = (await app.connection.request("GET", f"{REPORT}?{query}", headers=headers)).json
        return found

    found = await shown("kind=authors&period=2040-04")
    assert found["groups"] == [{"name": "An", "articles": 2, "views": 5}, {"name": "Bình", "articles": 1, "views": 1}]
    assert [(row["key"], row["views"]) for row in found["articles"]] == [("/a", 3), ("/b", 2), ("/c", 1)]
    assert (found["closed"]["sha256"], found["closed"]["who"]) == (closing["sha256"], "Hùng")
    found = await shown("period=2040-04")
    assert {each["name"]: each["now"] for each in found["figures"]}["views"] == closing["views"] == 6
    assert found["closed"]["sha256"] == closing["sha256"]
    now = await shown("kind=authors&period=2040-04&min_views=1")
    assert "closed" in now, now
    assert (now["closed"], now["groups"][0]) == (None, {"name": "An", "articles": 1, "views": 5})
    path = f"{REPORT}.xlsx?kind=authors&period=2040-04"
    book = Read((await app.connection.request("GET", path, headers=headers)).body)
    line = f"Đã chốt 02/05/2040 08:00, Hùng, mã {closing['sha256'][:6]}."
    assert [row[0] for row in book.sheets["Tác giả"][:3]][2] == line
    _, rows = book.table("Bài viết", "Lượt xem")
    assert [(row[1], row[7]) for row in rows] == [(3, "/a"), (2, "/b"), (1, "/c"), (6, None)]
    path = f"{REPORT}.csv?kind=articles&period=2040-04"
    text = (await app.connection.request("GET", path, headers=headers)).body.decode("utf-8-sig")
    assert [line.split(";")[1] for line in text.splitlines()[1:]] == ["3", "2", "1"]


async def test_royalties_of_a_closed_month_are_the_frozen_ones(app: Running) -> None:
    """With checksum, name and moment, on the page and in files; what comes later is told, and due in the next month.
    Within other days they are told as they are now, and that they are not the closed ones."""
    app.clock.set("2040-05-16T12:00:00+07:00")
    await read_some(app)
    app.clock.set("2040-06-02T08:00:00+07:00")
    headers = {"authorization": await app.token("editor", "t1", name="Hùng")}

    async def close(month: str) -> None:
        body = {"period": month, "within": 60}
        made = await app.connection.request("POST", "/v1/admin/sites/t1/close", body, headers)
        assert made.status == 200, made

    async def shown(query: str) -> dict[str, Any]:
        found: dict[str, Any] = (await app.connection.request("GET", f"{REPORT}?{query}", headers=headers)).json
        return found

    await close("2040-05")
    found = await shown("kind=royalties&period=2040-05")
    assert found["groups"] == [{"name": "An", "articles": 2, "views": 5}, {"name": "Bình", "articles": 1, "views": 1}]
    assert (found["within"], found["closed_days"], found["since"], found["selection"]["views"]) == (60, 60, 0, 6)
    assert (found["closed"]["who"], found["closed"]["at"]) == ("Hùng", "2040-06-02T08:00:00+07:00")
    [closing] = (await app.connection.request("GET", "/v1/admin/sites/t1/closed", headers=headers)).json["closed"]
    assert (found["closed"]["sha256"], closing["within"], closing["due"]) == (closing["sha256"], 60, 6)
    assert [(row["key"], row["within"], row["until"], row["over"]) for row in found["articles"]] == [
        ("/a", 3, "2040-07-13", False), ("/b", 2, "2040-07-13", False), ("/c", 1, "2040-07-13", False),
    ]  # fmt: skip

    await read_some(app)
    app.clock.advance(61)
    later = await shown("kind=royalties&period=2040-05")
    assert (later["since"], later["groups"]) == (6, found["groups"])
    other = await shown("kind=royalties&period=2040-05&within=30")
    assert (other["closed"], other["closed_days"], other["within"], other["selection"]["views"]) == (None, 60, 30, 12)
    book = Read(
        (await app.connection.request("GET", f"{REPORT}.xlsx?kind=royalties&period=2040-05", headers=headers)).body
    )
    line = f"Đã chốt 02/06/2040 08:00, Hùng, mã {closing['sha256'][:6]}. Lượt đến sau khi chốt tính vào kỳ chốt sau."
    assert book.sheets["Tác giả"][2][0] == line
    head, rows = book.table("Bài viết", "Tiêu đề")
    due, had = head.index("Lượt xem trong 60 ngày từ khi đăng, tính kỳ này"), head.index("Đã tính ở kỳ trước")
    assert [(row[1], row[due], row[had]) for row in rows] == [("An", 3, 0), ("An", 2, 0), ("Bình", 1, 0), (None, 6, 0)]

    app.clock.set("2040-07-01T00:05:00+07:00")
    await close("2040-06")
    found = await shown("kind=royalties&period=2040-06&within=60")
    assert [(row["key"], row["within"], row["before"], row["total"]) for row in found["articles"]] == [
        ("/a", 3, 3, 6), ("/b", 2, 2, 4), ("/c", 1, 1, 2),
    ]  # fmt: skip
    assert (found["closed"]["late_of"], found["closed"]["late_views"]) == ("2040-05", 6)
    path = f"{REPORT}.csv?kind=royalties&period=2040-06&lang=en&delimiter=,"
    text = (await app.connection.request("GET", path, headers=headers)).body.decode("utf-8-sig")
    table = list(csv.reader(io.StringIO(text, newline="")))
    due = table[0].index("Views within 60 days of publication, due now")
    assert [(row[1], row[due], row[table[0].index("Due before")]) for row in table[1:]] == [
        ("An", "3", "3"), ("An", "2", "2"), ("Bình", "1", "1"),
    ]  # fmt: skip
    assert (await shown("kind=royalties&period=2040-05"))["since"] == 0, "it is in the month that was closed since"
