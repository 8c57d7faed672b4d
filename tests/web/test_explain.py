"""Why a beacon is counted or not: the rules are told one by one, the answer is what a hit would get, nothing counts."""

from __future__ import annotations

import secrets
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.client import HOST, Answer, Connection, Hit, crowd
from tests.web.inprocess import Running, running
from visitstats.core import counting

ANN = crowd(1, "explain")[0]
GOOGLEBOT = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
RULES = [
    "beacon", "size", "page", "archive", "origin", "agent", "webdriver", "prefetch", "new article", "network",
    "visitor", "rate", "duplicate", "visit", "articles", "view",
]  # fmt: skip


async def explained(app: Running, hit: Hit, headers: dict[str, str] | None = None, body: Any = None) -> Any:
    token = await app.token("editor", "t1", secrets.token_hex(8))
    sent = {**hit.visitor.headers, "origin": f"https://{HOST}", "authorization": token} | (headers or {})
    path = "/v1/sites/t1/hit?explain=1"
    answer = await app.connection.request("POST", path, hit.body() if body is None else body, sent)
    assert answer.status == 200, answer
    assert answer.headers["cache-control"] == "no-store"
    assert "access-control-allow-origin" not in answer.headers
    return answer.json


def step(found: Any, rule: str) -> tuple[str, str, str]:
    [one] = [each for each in found["steps"] if each["rule"] == rule]
    return one["outcome"], one["reason"], one["note"]


async def test_a_hit_that_counts(app: Running) -> None:
    """Every rule says its part, in order; asked twice, the same, because nothing was counted."""
    hit = Hit(ANN, "/tin/a?fbclid=x", "hit-1")
    found = await explained(app, hit)
    assert [each["rule"] for each in found["steps"]] == RULES
    assert {each["outcome"] for each in found["steps"]} == {"passed"}
    assert (found["counted"], found["reason"], found["key"]) == (True, "", "/tin/a")
    assert (found["starts_visit"], found["new_view"]) == (True, True)
    assert [each["rule"] for each in found["key_steps"]][:2] == ["host", "explicit key"]
    assert (await app.numbers())["total"] == 0
    assert (await explained(app, hit))["counted"] is True
    assert (await app.connection.hit("t1", hit)).ignored == ""
    assert (await app.numbers())["total"] == 1


async def test_what_the_store_knows_is_told(app: Running) -> None:
    """A visit that goes on, an article that was read in it, a beacon that was delivered."""
    await app.connection.hit("t1", Hit(ANN, "/a", "hit-1"))
    app.clock.advance(60)
    found = await explained(app, Hit(ANN, "/a", "hit-1"))
    assert (found["counted"], found["reason"]) == (False, "duplicate")
    found = await explained(app, Hit(ANN, "/a", "hit-2"))
    assert (found["counted"], found["starts_visit"], found["new_view"]) == (True, False, False)
    assert step(found, "visit")[2] == "it goes on with one: the visitor was seen 60 s ago"
    found = await explained(app, Hit(ANN, "/b", "hit-2"))
    assert (found["starts_visit"], found["new_view"]) == (False, True)
    app.clock.advance(1801)
    found = await explained(app, Hit(ANN, "/a", "hit-2"))
    assert (found["starts_visit"], found["new_view"]) == (True, True)
    await app.put_site(views="every-load")
    assert (await explained(app, Hit(ANN, "/a", "hit-3")))["new_view"] is True
    assert (await app.numbers())["total"] == 1


@pytest.mark.parametrize(
    ("headers", "fields", "rule", "reason"),
    [
        ({"user-agent": GOOGLEBOT}, {}, "agent", "bot"),
        ({"user-agent": ""}, {}, "agent", "empty-agent"),
        ({"origin": "https://elsewhere.example"}, {}, "origin", "origin"),
        ({"origin": "null"}, {}, "origin", "origin"),
        ({"sec-purpose": "prefetch"}, {}, "prefetch", "prefetch"),
        ({}, {"w": True}, "webdriver", "bot"),
        ({}, {"u": "https://elsewhere.example/a"}, "page", "host"),
        ({}, {"u": "javascript:alert(1)"}, "page", "bad-url"),
    ],
)
async def test_a_refusal_is_the_one_that_a_hit_gets(
    app: Running, headers: dict[str, str], fields: dict[str, Any], rule: str, reason: str
) -> None:
    """The explanation and the counter never say two things."""
    body = Hit(ANN, "/a").body() | fields
    found = await explained(app, Hit(ANN, "/a"), headers, body)
    assert (found["counted"], found["reason"]) == (False, reason)
    assert step(found, rule)[:2] == ("refused", reason)
    assert [each["rule"] for each in found["steps"]] == RULES
    sent = {**ANN.headers, "origin": f"https://{HOST}"} | headers
    answer = await app.connection.request("POST", "/v1/sites/t1/hit", body, sent)
    assert answer.ignored == reason
    assert (await app.numbers())["total"] == 0


@pytest.mark.parametrize(
    ("headers", "body", "reason"),
    [
        ({}, b"{", "bad-json"),
        ({}, b'{"u":"https://portal.example.vn/a","v":"\xff"}', "bad-text"),
        ({}, {"u": f"https://{HOST}/a", "h": "x" * 300}, "bad-field"),
        ({}, {"u": f"https://{HOST}/a", "k": "x" * 600}, "bad-field"),
        ({}, {"v": "a-visit-id"}, "no-url"),
        ({}, {"u": f"https://{HOST}/" + "a" * 9000}, "too-large"),
        ({"content-type": "application/x-www-form-urlencoded"}, {"u": f"https://{HOST}/a"}, "content-type"),
    ],
)
async def test_what_is_no_beacon_is_refused_for_the_same_reason(
    app: Running, headers: dict[str, str], body: Any, reason: str
) -> None:
    found = await explained(app, Hit(ANN, "/a"), headers, body)
    assert (found["counted"], found["reason"]) == (False, reason)
    assert found["steps"][-1 if found["steps"][0]["outcome"] == "refused" else 1]["reason"] == reason
    sent = ANN.headers | headers
    # A connection of its own: that of what is too large is closed.
    connection = await Connection.open(app.ports[0])
    answer = await connection.request("POST", "/v1/sites/t1/hit", body, sent)
    assert (answer.status >= 400, answer.ignored) == (True, reason)
    connection.close()


async def test_every_reason_is_explained_by_some_test() -> None:
    """What `counting.IGNORED_REASONS` lists is what these tests walk."""
    walked = {case[-1] for test in (test_a_refusal_is_the_one_that_a_hit_gets,
                                    test_what_is_no_beacon_is_refused_for_the_same_reason)
              for mark in test.pytestmark for case in mark.args[1]}  # fmt: skip
    # These have tests of their own: test_what_the_store_knows…, test_an_archive…, test_a_network…, test_what_a_site_…
    assert walked | {"duplicate", "archived", "rate", "excluded"} == counting.IGNORED_REASONS


async def test_when_several_rules_refuse_it_is_the_first_that_the_service_asks(app: Running) -> None:
    """All wrong at once, and then one thing less each time: explanation and header name the same reason."""
    await app.put_site(archived=True)
    wrong: list[tuple[str, dict[str, str], dict[str, Any], dict[str, Any]]] = [
        ("host", {}, {"u": "https://elsewhere.example/a"}, {}),
        ("archived", {}, {}, {"archived": True}),
        ("origin", {"origin": "https://elsewhere.example"}, {}, {}),
        ("empty-agent", {"user-agent": "-"}, {}, {}),
        ("bot", {}, {"w": True}, {}),
        ("prefetch", {"purpose": "prefetch"}, {}, {}),
    ]
    for first in range(len(wrong)):
        headers, body = {"origin": f"https://{HOST}"}, dict[str, Any](Hit(ANN, "/a").body())
        site: dict[str, Any] = {}
        for _, more, fields, changes in wrong[first:]:
            headers, body, site = headers | more, body | fields, site | changes
        await app.put_site(**site)
        found = await explained(app, Hit(ANN, "/a"), headers, body)
        answer = await app.connection.request("POST", "/v1/sites/t1/hit", body, ANN.headers | headers)
        assert (found["reason"], answer.ignored) == (wrong[first][0],) * 2


async def test_the_caps_of_articles(app: Running) -> None:
    """The minute's places for new articles, and how many articles a site may have: for what the hit would count, and
    that it does."""
    await app.put_site(new_articles_per_minute=2, max_articles=2)
    await app.connection.hit("t1", Hit(ANN, "/1"))
    found = await explained(app, Hit(ANN, "/1"))
    assert step(found, "new article") == ("passed", "", "the site has this article")
    assert step(found, "articles")[0] == "passed"
    found = await explained(app, Hit(ANN, "/2"))
    assert step(found, "new article")[2] == "it is new, and there is a place for it in this minute"
    assert step(found, "articles")[2] == "the site has 1 articles, of 2 at most"
    await app.connection.hit("t1", Hit(ANN, "/2"))
    found = await explained(app, Hit(ANN, "/3"))
    assert step(found, "new article")[2] == "counted for (other): this minute has had 2 new articles"
    assert (found["counted"], found["key"], found["new_view"]) == (True, "(other)", True)
    assert (await app.connection.hit("t1", Hit(ANN, "/3"))).json["key"] == "(other)"
    assert (await explained(app, Hit(ANN, "/4")))["new_view"] is False, "(other) was read in this visit"
    app.clock.advance(60)
    found = await explained(app, Hit(ANN, "/4"))
    assert step(found, "articles")[2] == "counted for (other): the site has 2 articles, of 2"
    assert (found["counted"], found["key"], found["new_view"]) == (True, "(other)", True)
    assert (await app.connection.hit("t1", Hit(ANN, "/4"))).json["key"] == "(other)"
    found = await explained(app, Hit(ANN, "/1"))
    assert (found["key"], step(found, "new article")[2]) == ("/1", "the site has this article")


async def test_a_network_that_has_sent_too_much(tmp_path: Path, redis_url: str) -> None:
    async with running(
        tmp_path / "data", redis_url, network_burst=2, network_hits_per_second=1, answer_timeout_ms=5000
    ) as app:
        for _ in range(2):
            assert (await explained(app, Hit(ANN, "/a")))["counted"] is True
            assert (await app.connection.hit("t1", Hit(ANN, "/a"))).ignored == ""
        found = await explained(app, Hit(ANN, "/a"))
        assert step(found, "rate")[:2] == ("refused", "rate")
        assert (await app.connection.hit("t1", Hit(ANN, "/a"))).ignored == found["reason"] == "rate"


@pytest.mark.parametrize(
    ("site", "page", "rule", "note"),
    [
        ({"excluded_networks": (f"{ANN.address}/32",)}, "/a", "network", "its network is one that the site excludes"),
        ({"excluded_paths": ("/admin/*",)}, "/Admin/tin/sua?id=5", "page", "the site excludes /admin/*"),
        ({"excluded_paths": ("/*?preview=true",)}, "/?p=9&preview=true", "page", "the site excludes /*?preview=true"),
    ],
)
async def test_what_a_site_excludes_is_counted_apart_and_told(
    app: Running, site: dict[str, Any], page: str, rule: str, note: str
) -> None:
    """Editors at work are no readers. They still see the numbers, and everybody else counts."""
    await app.put_site(**site)
    ben = replace(crowd(9, "explain")[8], address="198.51.100.7")
    others = "/a" if site.get("excluded_paths") else page
    assert (await app.connection.hit("t1", Hit(ben, others))).ignored == ""
    found = await explained(app, Hit(ANN, page))
    assert (found["counted"], found["reason"], step(found, rule)) == (False, "excluded", ("refused", "excluded", note))
    answer = await app.connection.hit("t1", Hit(ANN, page))
    assert (answer.status, answer.ignored, answer.json["total"]) == (200, "excluded", 1)
    pixel = await app.connection.request(
        "GET", f"/v1/sites/t1/hit.gif?u=https://{HOST}{quote(page)}", headers=ANN.headers
    )
    assert (pixel.status, pixel.ignored) == (200, "excluded")
    await app.ignored({"excluded": 2})
    await app.put_site()
    assert (await app.connection.hit("t1", Hit(ANN, page))).ignored == "", "a change holds for the next hit"


async def test_an_archive_and_a_reader_who_asks_not_to_be_followed(app: Running) -> None:
    found = await explained(app, Hit(ANN, "/a"), {"dnt": "1"})
    assert "asks not to be followed" in step(found, "visitor")[2]
    found = await explained(app, Hit(replace(ANN, visit_id=""), "/a"))
    assert "the beacon has no visit id" in step(found, "visitor")[2]
    await app.put_site(visitors_per_network=1)
    await app.connection.hit("t1", Hit(replace(ANN, visit_id="another-visit"), "/a"))
    found = await explained(app, Hit(ANN, "/a"))
    assert step(found, "visitor")[2].startswith("not told apart: its network has had 1 in this half hour")
    await app.put_site(archived=True)
    found = await explained(app, Hit(ANN, "/a"))
    assert (found["counted"], found["reason"]) == (False, "archived")


async def test_a_body_that_is_no_beacon(app: Running) -> None:
    found = await explained(app, Hit(ANN, "/a"), body=b"nonsense")
    assert (found["counted"], found["reason"], found["key"]) == (False, "bad-json", None)
    assert [each["rule"] for each in found["steps"]] == ["beacon"]
    await app.ignored({})


async def test_only_an_editor_or_administrator_of_the_site_may_ask(app: Running) -> None:
    """And whoever asks without the right does not count a hit by that either."""
    body, sent = Hit(ANN, "/a").body(), ANN.headers

    async def asked(token: str, query: str = "explain=1") -> Answer:
        headers = sent | ({"authorization": token} if token else {})
        return await app.connection.request("POST", f"/v1/sites/t1/hit?{query}", body, headers)

    assert (await asked("")).status == 401
    assert (await asked("", "explain")).status == 401
    assert (await asked(await app.token("viewer", "t1"))).status == 403
    assert (await asked(await app.token("editor", "t2"))).status == 403
    assert (await asked(await app.token("metrics"))).status == 403
    assert (await asked(await app.token("editor", "t1"))).status == 200
    assert (await asked(await app.token("admin"))).status == 200
    assert (await app.numbers())["total"] == 0
    # Another query is no question: the hit counts.
    assert (await asked("", "x=1")).json["total"] == 1


async def test_what_was_not_counted_is_shown_by_day(app: Running) -> None:
    """Reasons of a day, and how many of its bots were search engines."""
    for agent in (GOOGLEBOT, GOOGLEBOT, "curl/8.5.0", ""):
        await app.connection.hit("t1", Hit(replace(ANN, agent=agent), "/a"))
    await app.ignored({"bot": 3, "empty-agent": 1})
    headers = {"authorization": await app.token("viewer", "t1")}
    path = "/v1/admin/sites/t1/ignored"
    found = (await app.connection.request("GET", path, headers=headers)).json
    assert found == {
        "site": "t1",
        "day": "2040-05-16",
        "at": "2040-05-16T12:00:00+07:00",
        "ignored": {"bot": 3, "empty-agent": 1},
        "search_engines": 2,
        "visitors_capped": 0,
    }
    app.clock.advance(86_400)
    assert (await app.connection.request("GET", path, headers=headers)).json["ignored"] == {}
    found = (await app.connection.request("GET", f"{path}?day=2040-05-16", headers=headers)).json
    assert found["ignored"] == {"bot": 3, "empty-agent": 1}
    for wrong in ("16.05.2040", "2040-02-30", "2040-W20-3", "0000-00-00", "9999-12-31"):
        assert (await app.connection.request("GET", f"{path}?day={wrong}", headers=headers)).status == 400, wrong
    assert (await app.connection.request("GET", path)).status == 401


async def test_unique_visitors_of_a_week_and_a_month(app: Running) -> None:
    """Estimates, said to be; who comes on two days is two."""
    for day in ("2040-04-30", "2040-05-14", "2040-05-15", "2040-05-16"):
        app.clock.set(f"{day}T10:00:00+07:00")
        for visitor in crowd(8, "uniques"):
            await app.connection.hit("t1", Hit(visitor, "/a"))
    headers = {"authorization": await app.token("viewer", "t1")}

    async def asked(query: str) -> Any:
        answer = await app.connection.request("GET", f"/v1/admin/sites/t1/uniques{query}", headers=headers)
        assert answer.status == 200, answer
        return answer.json

    found = await asked("")
    # A crowd of eight: four browsers at two addresses. Even of so few an estimate may miss one.
    assert (found["period"], found["estimate"], found["standard_error_percent"]) == ("day", True, 0.29)
    today = found["uniques"]
    assert today == pytest.approx(8, abs=1)
    week, month = await asked("?period=week"), await asked("?period=month")
    assert week["uniques"] == month["uniques"] == sum(month["days"].values()) == pytest.approx(24, abs=3)
    assert list(month["days"]) == [f"2040-05-{n:02d}" for n in range(1, 17)]
    assert (await asked("?period=month&day=2040-04-01"))["uniques"] == pytest.approx(8, abs=1)
    assert (await asked("?period=day&day=2041-01-01"))["uniques"] == 0
    answer = await app.connection.request("GET", "/v1/admin/sites/t1/uniques?period=year", headers=headers)
    assert (answer.status, answer.json["error"]) == (400, "bad-query")
    assert app.app.worker is not None
    await app.app.worker.tasks.run("close-days")  # a scrape reads days that are closed
    metrics = (await app.connection.request("GET", "/metrics")).body.decode()
    for line in (
        f'visitstats_unique_visitors{{period="today",site="t1"}} {today}.0',
        f'visitstats_unique_visitors{{period="month",site="t1"}} {month["uniques"]}.0',
    ):
        assert line in metrics
