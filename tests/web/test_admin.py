"""The administrators' routes: bearer tokens only; nothing for pages of other origins, guessers and the wrong scope."""

from __future__ import annotations

import csv
import io
import zipfile
from pathlib import Path

import pytest

from tests.client import HOST, Connection, Hit, crowd
from tests.web.inprocess import NOON, Running, running

ANN, BEN, CAM = crowd(3, "admin")
ARTICLES = "/v1/admin/sites/t1/articles"


async def read_some(app: Running) -> None:
    for visitor, article in ((ANN, "/a"), (BEN, "/a"), (CAM, "/a"), (ANN, "/b"), (BEN, "/b"), (ANN, "/c")):
        await app.connection.hit("t1", Hit(visitor, article))


async def test_the_articles_of_a_period_the_most_read_first(app: Running) -> None:
    """Day, week, month and all time; each its own numbers."""
    app.clock.set("2040-05-15T12:00:00+07:00")
    await app.connection.hit("t1", Hit(ANN, "/yesterday"))
    app.clock.set(NOON)
    await read_some(app)
    headers = {"authorization": await app.token("viewer", "t1")}
    for period, expected in (
        ("day", {"/a": 3, "/b": 2, "/c": 1}),
        ("week", {"/a": 3, "/b": 2, "/c": 1, "/yesterday": 1}),
        ("month", {"/a": 3, "/b": 2, "/c": 1, "/yesterday": 1}),
        ("all", {"/a": 3, "/b": 2, "/c": 1, "/yesterday": 1}),
    ):
        answer = await app.connection.request("GET", f"{ARTICLES}?period={period}", headers=headers)
        assert answer.status == 200, answer
        found = answer.json
        assert (found["site"], found["range"]["to"], found["at"]) == (
            "t1",
            None if period == "all" else NOON[:10],
            NOON,
        )
        assert found["selection"] == {"articles": len(expected), "views": sum(expected.values())}
        assert {row["key"]: row["views"] for row in found["articles"]} == expected
        assert [row["rank"] for row in found["articles"]] == list(range(1, len(expected) + 1))
        assert [row["views"] for row in found["articles"]] == sorted(expected.values(), reverse=True)
    top = await app.connection.request("GET", f"{ARTICLES}?limit=1", headers=headers)
    assert [row["key"] for row in top.json["articles"]] == ["/a"]
    assert top.json["articles"][0]["url"] == f"https://{HOST}/a"
    assert top.headers["cache-control"] == "no-store"


async def test_a_list_says_of_when_its_order_is_and_shows_the_views_of_now(app: Running) -> None:
    await read_some(app)
    headers = {"authorization": await app.token("viewer", "t1")}

    async def listed() -> tuple[str, str, list[tuple[str, int]]]:
        found = (await app.connection.request("GET", f"{ARTICLES}?period=day", headers=headers)).json
        return found["at"][11:19], found["ordered_at"][11:19], [(row["key"], row["views"]) for row in found["articles"]]

    assert await listed() == ("12:00:00", "12:00:00", [("/a", 3), ("/b", 2), ("/c", 1)])
    for visitor in crowd(9, "later"):
        await app.connection.hit("t1", Hit(visitor, "/c"))
    assert await listed() == ("12:00:00", "12:00:00", [("/a", 3), ("/b", 2), ("/c", 10)])
    app.clock.advance(60)
    assert await listed() == ("12:01:00", "12:01:00", [("/c", 10), ("/a", 3), ("/b", 2)])


async def test_the_pages_of_a_list_follow_each_other(app: Running) -> None:
    await read_some(app)
    headers = {"authorization": await app.token("viewer", "t1")}
    found: list[tuple[int, str]] = []
    cursor: str | None = ""
    while cursor is not None:
        query = f"{ARTICLES}?sort=title&direction=desc&limit=2&cursor={cursor}"
        page = (await app.connection.request("GET", query, headers=headers)).json
        found += [(row["rank"], row["key"]) for row in page["articles"]]
        cursor = page["cursor"]
    assert [rank for rank, _ in found] == [1, 2, 3]
    assert sorted(key for _, key in found) == ["/a", "/b", "/c"]


async def test_many_articles_are_asked_for_by_their_keys(app: Running) -> None:
    """Those without views, too; a key that nobody knows is left out."""
    await read_some(app)
    headers = {"authorization": await app.token("viewer", "t1")}
    query = f"{ARTICLES}?period=yesterday&key=/a&key=/c&key=/nowhere&compare=1&within=3"
    page = (await app.connection.request("GET", query, headers=headers)).json
    assert sorted((row["key"], row["views"], row["total"]) for row in page["articles"]) == [("/a", 0, 3), ("/c", 0, 1)]
    assert [(row["before"], row["within"]) for row in page["articles"]] == [(0, None)] * 2
    assert (page["compared"]["from"], page["range"]["from"]) == ("2040-05-14", "2040-05-15")


async def test_the_history_of_an_article(app: Running) -> None:
    app.clock.set("2040-04-30T12:00:00+07:00")
    await app.connection.hit("t1", Hit(ANN, "/a"))
    app.clock.set(NOON)
    await read_some(app)
    headers = {"authorization": await app.token("viewer", "t1")}
    found = (await app.connection.request("GET", f"{ARTICLES}/history?key=/a&by=month", headers=headers)).json
    assert (found["total"], found["rows"]) == (4, [{"name": "2040-04", "views": 1}, {"name": "2040-05", "views": 3}])
    found = (await app.connection.request("GET", f"{ARTICLES}/history?key=/a&from=2040-05-15", headers=headers)).json
    assert found["rows"] == [{"name": "2040-05-15", "views": 0}, {"name": "2040-05-16", "views": 3}]
    answer = await app.connection.request("GET", f"{ARTICLES}/history?key=/nowhere", headers=headers)
    assert (answer.status, answer.json["error"]) == (404, "no-such-article")
    answer = await app.connection.request("GET", f"{ARTICLES}/history?key=/a&by=week", headers=headers)
    assert (answer.status, answer.json["error"]) == (400, "bad-query")


async def test_a_file_that_excel_opens(app: Running) -> None:
    """UTF-8 with a BOM, CRLF, Vietnamese headings, and no cell that a spreadsheet would run."""
    body = {"u": f"https://{HOST}/a", "t": "=HYPERLINK(1)", "m": {"author": "@an", "category": "-2+3"}}
    await app.connection.request("POST", "/v1/sites/t1/hit", body, ANN.headers)
    headers = {"authorization": await app.token("editor")}
    answer = await app.connection.request("GET", f"{ARTICLES}.csv", headers=headers)
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"].startswith("attachment")
    text = answer.body.decode("utf-8")
    assert text.startswith("\ufeff")
    assert text.count("\r\n") == text.count("\n") == 2
    headings, row = csv.reader(io.StringIO(text[1:]), delimiter=";")
    assert headings[1] == "Lượt xem"
    assert row[:2] == ["1", "1"]
    assert not [cell for cell in row if cell[:1] in "=+-@" and cell]
    answer = await app.connection.request("GET", f"{ARTICLES}.xlsx", headers=headers)
    assert answer.headers["content-disposition"] == 'attachment; filename="t1_bai-viet_all.xlsx"'
    with zipfile.ZipFile(io.BytesIO(answer.body)) as archive:
        assert archive.read("xl/worksheets/sheet1.xml").count(b"<row ") == 3  # headings, the article, the sum
    for refused in ("lang=fr", "delimiter=x", "period=x", "sort=x"):
        answer = await app.connection.request("GET", f"{ARTICLES}.csv?{refused}", headers=headers)
        assert (answer.status, answer.json["error"]) == (400, "bad-query"), refused


async def test_the_history_of_a_site(app: Running) -> None:
    """Hours, days, months; and nothing from before the first day on which something was counted."""
    app.clock.set("2040-04-30T12:00:00+07:00")
    await app.connection.hit("t1", Hit(ANN, "/a"))
    app.clock.set(NOON)
    await read_some(app)
    headers = {"authorization": await app.token("viewer", "t1")}

    async def rows(query: str) -> list[tuple[str, int | None, int | None]]:
        answer = await app.connection.request("GET", f"/v1/admin/sites/t1/history?{query}", headers=headers)
        assert answer.status == 200, answer
        return [(row["name"], row["visits"], row["views"]) for row in answer.json["rows"]]

    assert await rows("by=month") == [("2040-04", 1, 1), ("2040-05", 3, 6)]
    found = await rows("from=2040-04-01")
    assert (found[0], found[-1], len(found)) == (("2040-04-30", 1, 1), ("2040-05-16", 3, 6), 17)
    assert (await rows("by=hour"))[-1] == ("2040-05-16T12", 3, 6)
    assert await rows("period=yesterday") == found[-2:-1]
    for query in ("by=week", "period=x", "period=week&from=2040-05-01"):
        answer = await app.connection.request("GET", f"/v1/admin/sites/t1/history?{query}", headers=headers)
        assert (answer.status, answer.json["error"]) == (400, "bad-query")
    answer = await app.connection.request("GET", "/v1/admin/sites/t1/records", headers=headers)
    assert answer.json["best_day"] == {"date": "2040-05-16", "visits": 3}
    assert len(answer.json["by_weekday"]) == 7


@pytest.mark.parametrize(
    "query",
    [
        "period=years",
        "period=2040-13",
        "from=2040-05-16&to=2040-05-15",
        "period=week&from=2040-05-16",
        "direction=up",
        "cursor=x",
        "min_views=-1",
        "published_from=16/05/2040",
        "hidden=2",
        "limit=0",
        "limit=-1",
        "limit=x",
        "limit=1e3",
        "limit=٣",
        "limit=+5",
        "limit=1001",
        "limit=" + "9" * 5000,
        "limit=1_0",
    ],
)
async def test_a_list_that_cannot_be_made(app: Running, query: str) -> None:
    """26: negative, foreign or huge numbers are refused, not guessed at."""
    headers = {"authorization": await app.token("admin")}
    answer = await app.connection.request("GET", f"{ARTICLES}?{query}".encode().decode("latin-1"), headers=headers)
    assert answer.status == 400, answer


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Bearer",
        "Bearer ",
        "Bearer wrong",
        "Basic dnM6dnM=",
        "Bearer tôken",
        "Bearer " + "x" * 60_000,
    ],
    ids=["none", "scheme only", "empty", "wrong", "basic", "non-ASCII", "very long"],
)
async def test_a_token_that_is_none(app: Running, authorization: str) -> None:
    """28: 401, with a word on how it is done, and nothing of the token in the answer."""
    headers = {"authorization": authorization} if authorization else {}
    answer = await app.connection.request("GET", ARTICLES, headers=headers)
    assert answer.status == 401, answer
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert set(answer.json) == {"error", "detail"}


async def test_a_truncated_or_revoked_token(app: Running) -> None:
    """28: only the whole token is good, and only until it is revoked."""
    token = await app.token("admin", name="anna")
    assert (await app.connection.request("GET", ARTICLES, headers={"authorization": token})).status == 200
    assert (await app.connection.request("GET", ARTICLES, headers={"authorization": token[:-1]})).status == 401
    assert app.app.worker is not None
    await app.app.worker.access.revoke(await app.app.worker.access.id_of("anna"))
    assert (await app.connection.request("GET", ARTICLES, headers={"authorization": token})).status == 401


async def test_a_token_in_the_query_string_is_none(app: Running) -> None:
    """28: it would stand in the logs of every proxy."""
    token = (await app.token("admin")).removeprefix("Bearer ")
    for name in ("token", "access_token", "authorization"):
        assert (await app.connection.request("GET", f"{ARTICLES}?{name}={token}")).status == 401


async def test_who_guesses_has_to_wait_and_who_has_a_token_never(app: Running) -> None:
    """28: five wrong tokens a minute from one network; then 429 with the seconds to wait, for that network alone. A
    request without a token is no guess."""
    worker = app.app.worker
    assert worker is not None
    worker.access._pause = 0.01
    right = {"authorization": await app.token("admin")}
    near, beside, far = ({"x-forwarded-for": address} for address in ("203.0.113.5", "203.0.113.250", "198.51.100.1"))
    wrong = {"authorization": "Bearer guess"}
    for _ in range(7):
        assert (await app.connection.request("GET", ARTICLES, headers=near)).status == 401
    for n in range(5):
        answer = await app.connection.request("GET", ARTICLES, headers=(near, beside)[n % 2] | wrong)
        assert answer.status == 401
    app.clock.advance(20)
    for address in (near, beside):
        answer = await app.connection.request("GET", ARTICLES, headers=address | wrong)
        assert (answer.status, answer.json["error"], answer.headers["retry-after"]) == (429, "too-many-tries", "40")
        assert (await app.connection.request("GET", ARTICLES, headers=address | right)).status == 200
    assert (await app.connection.request("GET", ARTICLES, headers=far | wrong)).status == 401
    app.clock.advance(40)
    assert (await app.connection.request("GET", ARTICLES, headers=near | wrong)).status == 401


async def test_the_brake_is_that_of_all_workers(app: Running, tmp_path: Path, redis_url: str) -> None:
    """Another process of the same machine answers 429 after guesses at this one."""
    wrong = {"authorization": "Bearer guess", "x-forwarded-for": "203.0.113.5"}
    for _ in range(5):
        await app.connection.request("GET", ARTICLES, headers=wrong)
    async with running(tmp_path / "data", redis_url, site=False, clock=app.clock) as other:
        assert other.app.worker is not None
        other.app.worker.access._pause = 0.01
        assert (await other.connection.request("GET", ARTICLES, headers=wrong)).status == 429


async def test_a_token_of_another_site_or_scope(app: Running) -> None:
    """25, 29: refused in the same words whether the other site exists or not; metrics tokens read no articles."""
    await app.put_site(id="t2")
    mine = {"authorization": await app.token("viewer", "t1")}
    assert (await app.connection.request("GET", ARTICLES, headers=mine)).status == 200
    answers = []
    for site in ("t2", "nosuch"):
        answers.append(await app.connection.request("GET", f"/v1/admin/sites/{site}/articles", headers=mine))
    assert [answer.status for answer in answers] == [403, 403]
    assert answers[0].body == answers[1].body
    scraper = {"authorization": await app.token("metrics")}
    assert (await app.connection.request("GET", ARTICLES, headers=scraper)).status == 403
    admin = {"authorization": await app.token("admin")}
    assert (await app.connection.request("GET", "/v1/admin/sites/nosuch/articles", headers=admin)).status == 404


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://elsewhere.example"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"origin": f"https://{HOST}.elsewhere.example", "host": HOST},
    ],
)
async def test_a_page_of_another_origin_gets_nothing(app: Running, headers: dict[str, str]) -> None:
    """27: 403 and no CORS headers, even with a good token."""
    token = {"authorization": await app.token("admin")}
    answer = await app.connection.request("GET", ARTICLES, headers=token | headers)
    assert answer.status == 403, answer
    assert not [name for name in answer.headers if name.startswith("access-control-")]
    own = await app.connection.request("GET", ARTICLES, headers=token | {"origin": f"https://{HOST}", "host": HOST})
    assert own.status == 200


async def test_metrics_on_the_readers_port_need_a_token(app: Running) -> None:
    """Whoever asks: a proxy on this machine passes strangers on, and need not say so."""
    for headers in ({"host": HOST}, {"x-forwarded-for": "203.0.113.5"}, {"via": "1.1 proxy"}):
        assert (await app.connection.request("GET", "/metrics", headers=headers)).status == 401
    for scope, status in (("metrics", 200), ("admin", 200), ("viewer", 403)):
        token = {"authorization": await app.token(scope)}
        answer = await app.connection.request("GET", "/metrics", headers=token)
        assert answer.status == status
    limited = {"authorization": await app.token("metrics", "t1")}
    assert (await app.connection.request("GET", "/metrics", headers=limited)).status == 403


async def test_the_operators_port_serves_metrics_and_health_and_nothing_else(app: Running) -> None:
    """Without a token, which is why no beacon is taken and no number of a portal shown there."""
    other = await Connection.open(app.ports[1])
    found = await other.request("GET", "/metrics")
    assert (found.status, found.headers["content-type"][:10]) == (200, "text/plain")
    assert b"visitstats_online" in found.body
    for path in ("/healthz", "/readyz"):
        assert (await other.request("GET", path)).status == 200
    for path in ("/v1/sites/t1/stats", "/widget.js", "/openapi.json", "/v1/admin/sites/t1/articles", "/demo/", "/"):
        assert (await other.request("GET", path)).status == 404, path
    hit = Hit(crowd(1, "private")[0], "/a")
    assert (await other.hit("t1", hit)).status == 404
    assert (await other.alive("t1", hit.visitor)).status == 404
    other.close()
    assert (await app.numbers())["total"] == 0
