"""Corrections, names and closed months as readers, editors and administrators meet them."""

from __future__ import annotations

import json
import re
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from tests.client import Hit, crowd
from tests.shell import Shell
from tests.web.inprocess import Running
from tests.web.orders import ADMIN, Desk, read

ANN, BEN, CAM = crowd(3, "corrections")
WHY = "Bộ đếm cũ thiếu"


@pytest.fixture
def desk(app: Running) -> Desk:
    return Desk(app)


async def asked(app: Running, desk: Desk, path: str, scope: str = "editor") -> Any:
    answer = await app.connection.request("GET", f"{ADMIN}/{path}", headers=await desk.bearer(scope))
    assert answer.status == 200, answer
    return answer.json


async def test_a_correction_is_shown_at_once_and_is_in_no_record(app: Running, desk: Desk) -> None:
    """In the box, in history, in lists; the record and the average of the box stay what was counted."""
    await read(app, "/old", "/old", "/new")
    before = await app.numbers()
    made = await desk("adjust", {"by": 200, "why": WHY, "id": "0000abcd"})
    assert made.status == 200, made
    change = made.json["change"]
    assert (change["kind"], change["who"], change["why"], change["meant_for"]) == ("adjust", "editor", WHY, None)
    assert change["amounts"] == [
        {"of": "visits", "article": None, "by": 200, "day": {"before": 3, "after": 203},
         "total": {"before": 3, "after": 203}},
    ]  # fmt: skip
    assert (await desk("adjust", {"by": 200, "why": WHY, "id": "0000abcd"})).json == made.json, "made once"
    shown = await app.numbers()
    assert (shown["today"], shown["total"]) == (before["today"] + 200, before["total"] + 200)
    assert (await desk("adjust", {"article": "/old", "by": -1, "why": WHY})).status == 200
    assert await app.connection.views("t1", ["/old"]) == {"/old": 1}
    hit = await app.connection.hit("t1", Hit(ANN, "/old"))
    assert (hit.json["views"], hit.json["today"], hit.json["total"]) == (2, 204, 204)
    records = await asked(app, desk, "records", "viewer")
    assert records["best_day"] == {"date": change["day"], "visits": 4}
    [row] = (await asked(app, desk, "history", "viewer"))["rows"]
    assert (row["visits"], row["corrected"]) == (204, {"visits": 200, "views": -1})
    listed = (await asked(app, desk, "articles", "viewer"))["articles"]
    assert {each["key"]: each["views"] for each in listed} == {"/old": 2, "/new": 1}


async def test_a_reset_is_for_administrators_who_type_the_sites_name(app: Running, desk: Desk) -> None:
    """The box falls at once, though a total that falls usually means a loss; the undo brings it back."""
    await read(app, "/old", "/old", "/new")
    assert (await app.numbers())["total"] == 3
    order = {"why": WHY, "confirm": "t1"}
    assert (await desk("reset", order)).status == 403
    assert (await desk("reset/preview", {"why": WHY})).status == 403
    preview = await desk("reset/preview", {"why": WHY}, "admin")
    assert [each["total"] for each in preview.json["amounts"]] == [{"before": 3, "after": 0}]
    for confirm in ("", "T1", "t2"):
        refused = await desk("reset", order | {"confirm": confirm}, "admin")
        assert (refused.status, refused.json["error"]) == (409, "change-refused")
    assert (await app.numbers())["total"] == 3
    change = (await desk("reset", order, "admin")).json["change"]
    numbers = await app.numbers()
    assert (numbers["total"], numbers["today"]) == (0, 3), "history stays"
    assert (await desk("undo", {"change": change["id"]})).json["detail"] == "a reset is undone by an administrator"
    look = await asked(app, desk, f"undo/preview?change={change['id']}")
    assert [each["total"] for each in look["amounts"]] == [{"before": 0, "after": 3}]
    assert (await desk("undo", {"change": change["id"]}, "admin")).status == 200
    assert (await app.numbers())["total"] == 3


LOWERING: list[dict[str, Any]] = [{"by": -3}, {"to": 0}, {"to": 5}]


@pytest.mark.parametrize("amount", LOWERING, ids=str)
async def test_an_editor_brings_no_total_down_by_another_name(app: Running, desk: Desk, amount: dict[str, Any]) -> None:
    """A correction of no day that lowers a site's total is a reset: for administrators, preview and all."""
    await read(app, "/old", "/old", "/new")
    order = {"why": WHY, "day": "none"} | amount
    for action in ("adjust/preview", "adjust"):
        refused = await desk(action, order)
        assert (refused.status, refused.json["error"]) == (409, "change-refused"), refused
        assert "administrator" in refused.json["detail"]
    assert (await app.numbers())["total"] == 3
    assert (await desk("adjust/preview", order, "admin")).status == 200
    assert (await desk("adjust", order, "admin")).status == 200
    assert (await app.numbers())["total"] == amount.get("to", 0)


async def test_an_editor_corrects_what_is_no_reset(app: Running, desk: Desk) -> None:
    """Up at no time, down on a day, and an article down at no time."""
    await read(app, "/old", "/old", "/new")
    for order in ({"by": 3, "day": "none"}, {"by": -1}, {"article": "/old", "by": -1, "day": "none"}):
        assert (await desk("adjust", {"why": WHY} | order)).status == 200, order
    assert (await app.numbers())["total"] == 5


ORDERS: list[tuple[str, dict[str, Any]]] = [
    ("adjust", {"by": 1, "why": WHY}),
    ("adjust/preview", {"by": 1, "why": WHY}),
    ("rename", {"article": "/old", "title": "x"}),
    ("hide", {"article": "/old"}),
    ("type", {"article": "/old", "type": "x"}),
    ("accept", {"article": "/old", "fact": "title", "value": "x"}),
    ("close", {"period": "2040-04"}),
    ("reopen", {"period": "2040-04", "why": WHY}),
]


@pytest.mark.parametrize(("action", "body"), ORDERS, ids=[action for action, _ in ORDERS])
async def test_changes_are_for_editors_of_the_site(app: Running, desk: Desk, action: str, body: Any) -> None:
    await read(app, "/old")
    assert (await app.connection.request("POST", f"{ADMIN}/{action}", body)).status == 401
    for scope in ("viewer", "metrics"):
        assert (await desk(action, body, scope)).status == 403
    elsewhere = {"authorization": await app.token("admin", "beats")}
    assert (await app.connection.request("POST", f"{ADMIN}/{action}", body, elsewhere)).status == 403
    assert (await desk(action, body, origin="https://evil.example")).status == 403
    for junk in (b"", b"[]", b"{", json.dumps(body | {"more": 1}).encode(), json.dumps(body | {"why": 5}).encode()):
        assert (await desk(action, junk)).json["error"] == "bad-request", junk
    assert (await desk.audit()).json["changes"] == []


async def test_an_editor_names_hides_and_accepts(app: Running, desk: Desk) -> None:
    """And the log says what was there before and after, who undid it and when, by kind, person and article."""
    await app.put_site(publish_top=True)
    await read(app, "/old", "/new")
    named = (await desk("rename", {"article": "/old", "title": "Lễ hội", "author": "Lê Hiếu"})).json["change"]
    assert [each["fact"] for each in named["facts"]] == ["title", "author"]
    assert [each["after"] for each in named["facts"]] == ["Lễ hội", "Lê Hiếu"]
    hidden = (await desk("hide", {"article": "/old"})).json["change"]
    listed = (await asked(app, desk, "articles", "viewer"))["articles"]
    assert [each["key"] for each in listed] == ["/new"]
    assert (await desk("hide", {"article": "/old", "hidden": False})).json["change"]["kind"] == "unhide"
    refused = await desk("undo", {"change": hidden["id"]})
    assert (refused.status, refused.json["error"]) == (409, "undo-first")
    assert "undo change" in refused.json["detail"]
    undone = await desk("undo", {"change": named["id"], "why": "Nhầm"}, "admin")
    assert undone.status == 200
    [row] = (await desk.audit("?kind=rename&article=/old&who=EDIT")).json["changes"]
    assert row["undone_by"] == undone.json["change"]["id"]
    assert (row["undone"]["who"], row["undone"]["why"]) == ("admin", "Nhầm")
    assert (await desk.audit("?kind=rename&who=nobody")).json["changes"] == []
    assert (await desk.audit("?kind=nothing")).json["error"] == "bad-query"
    assert (await desk.audit("?cursor=x")).json["error"] == "bad-query"
    first = (await desk.audit("?limit=2")).json
    second = (await desk.audit(f"?limit=2&cursor={first['cursor']}")).json
    kinds = [each["kind"] for page in (first, second) for each in page["changes"]]
    assert (kinds, second["cursor"]) == (["undo", "unhide", "hide", "rename"], None)
    nothing = await desk("accept", {"article": "/old", "fact": "title", "value": "x"})
    assert (nothing.status, nothing.json["error"]) == (409, "change-refused")
    assert (await desk("rename", {"article": "/nix", "title": "x"})).json["error"] == "no-such-article"


async def test_a_month_is_closed_read_and_opened(app: Running, desk: Desk) -> None:
    """What was frozen is read as it is, and its SHA-256 is what the list says."""
    await app.put_site()
    await read(app, "/old", "/old", "/new")
    app.clock.ms += 31 * 24 * 3600 * 1000
    month = "2040-05"
    assert (await desk("close", {"period": "2040-06"})).json["error"] == "change-refused"
    made = await desk("close", {"period": month, "why": "Báo cáo tháng 5"})
    assert made.status == 200, made
    change = made.json["change"]
    assert (change["period"], change["day"], change["kind"]) == (month, None, "close")
    [closed] = (await asked(app, desk, "closed", "viewer"))["closed"]
    assert (closed["period"], closed["views"], closed["articles"], closed["views_since"]) == (month, 3, 2, 0)
    headers = await desk.bearer("viewer")
    text = await app.connection.request("GET", f"{ADMIN}/closed.jsonl?period={month}", headers=headers)
    assert sha256(text.body).hexdigest() == closed["sha256"] == change["sha256"]
    booked = await desk("adjust", {"article": "/old", "by": 5, "day": f"{month}-16", "why": WHY})
    assert booked.json["change"]["meant_for"] == f"{month}-16"
    assert booked.json["change"]["day"][:7] == "2040-06"
    assert (await desk("reopen", {"period": month})).json["detail"].startswith("give a reason")
    assert (await desk("reopen", {"period": month, "why": WHY})).status == 200
    assert (await asked(app, desk, "closed", "viewer"))["closed"] == []
    gone = await app.connection.request("GET", f"{ADMIN}/closed.jsonl?period={month}", headers=headers)
    assert (gone.status, gone.json["error"]) == (409, "change-refused")


async def test_the_commands_do_the_same(app: Running, desk: Desk, redis_url: str, tmp_path: Path) -> None:
    """Each says what was there before and what is there now, and how to take it back."""
    await read(app, "/old", "/old", "/new")
    shell = Shell(tmp_path, redis_url)
    assert shell("adjust", "t1", "200", "--day", "none", "--why", WHY, "--dry-run") == (
        "the site, visits of all time: 3 → 203\nNothing was changed.\n"
    )
    said = shell("adjust", "t1", "--why", WHY, "--article", "/old", "--day", "none", "--", "-1")
    assert said.startswith("/old, views of all time: 2 → 1\n")
    assert "below zero" in shell("adjust", "t1", "--day", "none", "--why", WHY, "--", "-9", fails=True)
    assert "another site; nothing was changed" in shell("reset", "t1", "--why", WHY, fails=True, typed="no\n")
    said = shell("reset", "t1", "--why", WHY, "--confirm", "t1")
    reset = re.search(r"undo t1 ([0-9a-f]{8})", said)
    assert reset is not None
    assert "3 → 0" in said
    said = shell("undo", "t1", reset[1])
    assert "is undone" in said
    assert "the site, visits of all time: 0 → 3" in said
    assert "title: " in shell("rename", "t1", "/old", "--title", "Lễ hội", "--type", "Tin")
    listed = shell("audit", "t1", "--kind", "rename")
    assert "Lễ hội" in listed
    assert "reset" not in listed
