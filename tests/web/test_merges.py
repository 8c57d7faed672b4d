"""Merges as readers, editors and operators meet them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.client import HOST, Connection, Hit, crowd
from tests.shell import Shell
from tests.store.changing import change_desk
from tests.store.merging import Writer
from tests.web.inprocess import NOON, Running
from tests.web.orders import ADMIN, Desk, read
from visitstats.changes.recording import Order
from visitstats.store.changes import Changes
from visitstats.store.client import open_client

ANN, BEN, CAM = crowd(3, "merges")


@pytest.fixture
def desk(app: Running) -> Desk:
    return Desk(app)


async def test_an_old_address_is_the_other_article_for_readers_from_then_on(app: Running, desk: Desk) -> None:
    """The answer to a hit, to a list of keys and to an editor's question; at once, and nothing is counted twice."""
    await read(app, "/old", "/old", "/new")
    before = await app.numbers()
    answer = await desk("merge", {"from": f"https://www.{HOST}/old?utm_source=zalo", "into": "/new", "why": "CMS"})
    assert answer.status == 200, answer
    change = answer.json["change"]
    assert {name: change[name] for name in ("kind", "at", "who", "why", "from", "into", "views", "undone_by")} == {
        "kind": "merge", "at": NOON, "who": "editor", "why": "CMS", "from": "/old", "into": "/new", "views": 2,
        "undone_by": None,
    }  # fmt: skip
    assert await app.numbers() == before
    hit = await app.connection.hit("t1", Hit(ANN, "/old"))
    assert (hit.json["key"], hit.json["views"]) == ("/new", 4)
    again = await app.connection.hit("t1", Hit(ANN, "/new"))
    assert again.json["views"] == 4, "one reader, one article, one visit: one view"
    asked = ["/old", "/new", f"https://{HOST}/old"]
    assert await app.connection.views("t1", asked) == dict.fromkeys(asked, 4)
    headers = {"authorization": await app.token("viewer")}
    listed = await app.connection.request("GET", f"{ADMIN}/articles", headers=headers)
    assert [(row["key"], row["views"]) for row in listed.json["articles"]] == [("/new", 4)]
    why = await app.connection.request("GET", f"{ADMIN}/key?url=https://{HOST}/old", headers=headers)
    assert why.json["key"] == "/new"
    assert why.json["steps"][-1] == {
        "rule": "alias", "before": "/old", "after": "/new", "changed": True, "note": "merged into this one",
    }  # fmt: skip
    undone = await desk("undo", {"change": change["id"]})
    assert undone.status == 200
    assert await app.connection.views("t1", ["/old", "/new"]) == {"/old": 2, "/new": 2}
    hit = await app.connection.hit("t1", Hit(BEN, "/old"))
    assert (hit.json["key"], hit.json["views"]) == ("/old", 3)


async def test_the_old_page_does_not_rename_the_article(app: Running, desk: Desk) -> None:
    async def load(page: str, title: str, visitor: Any) -> None:
        body = {"u": f"https://{HOST}{page}", "t": title, "m": {"author": title}}
        assert (await app.connection.request("POST", "/v1/sites/t1/hit", body, visitor.headers)).status == 200

    await load("/old", "Old", ANN)
    await load("/new", "New", ANN)
    await desk("merge", {"from": "/old", "into": "/new"})
    assert app.app.worker is not None
    app.app.worker.known.forget_all()  # as after a start
    for title in ("Old", "Older"):
        await load("/old", title, BEN)
    headers = {"authorization": await app.token("viewer")}
    [row] = (await app.connection.request("GET", f"{ADMIN}/articles", headers=headers)).json["articles"]
    assert (row["title"], row["author"], row["url"]) == ("New", "New", f"https://{HOST}/new")
    await load("/new", "Newer", CAM)
    [row] = (await app.connection.request("GET", f"{ADMIN}/articles", headers=headers)).json["articles"]
    assert row["title"] == "Newer"


async def test_an_alias_before_the_first_reader(app: Running, desk: Desk) -> None:
    await read(app, "/new")
    assert (await desk("merge", {"from": "/cu", "into": "/new", "alias": True})).status == 200
    assert (await app.connection.hit("t1", Hit(BEN, "/cu"))).json["key"] == "/new"


async def test_the_list_of_changes_is_newest_first_and_as_long_as_asked(app: Running, desk: Desk) -> None:
    await read(app, "/old", "/new")
    assert (await desk.audit()).json == {"site": "t1", "changes": [], "cursor": None, "damaged": 0}
    merged = (await desk("merge", {"from": "/old", "into": "/new"})).json["change"]["id"]
    undone = (await desk("undo", {"change": merged, "why": "Nhầm"}, "admin")).json["change"]["id"]
    changes = (await desk.audit()).json["changes"]
    assert [(each["id"], each["who"], each["undoes"], each["undone_by"]) for each in changes] == [
        (undone, "admin", merged, None),
        (merged, "editor", None, undone),
    ]
    assert [each["id"] for each in (await desk.audit("?limit=1")).json["changes"]] == [undone]
    for limit in ("0", "-1", "x", "1e3", "10001", "9" * 100):
        assert (await desk.audit(f"?limit={limit}")).json["error"] == "bad-query"


@pytest.mark.parametrize(
    ("action", "body", "status", "code"),
    [
        ("merge", {"from": "/old", "into": "/old"}, 409, "change-refused"),
        ("merge", {"from": "/nix", "into": "/old"}, 404, "no-such-article"),
        ("merge", {"from": "/old", "into": "/nix"}, 404, "no-such-article"),
        ("merge", {"from": "https://elsewhere.vn/a", "into": "/old"}, 404, "no-such-article"),
        ("merge", {"from": "\u200b", "into": "/old"}, 409, "change-refused"),
        ("undo", {"change": "nix"}, 404, "not-found"),
        ("merge", {"from": "/old"}, 400, "bad-request"),
        ("merge", {"from": "/old", "into": "/new", "count": 5}, 400, "bad-request"),
        ("merge", {"from": 1, "into": "/new"}, 400, "bad-request"),
        ("merge", "{", 400, "bad-request"),
        ("merge", b'{"from":"\xff","into":"/new"}', 400, "bad-request"),
        ("merge", '{"from":"\\ud800","into":"/new"}', 400, "bad-request"),
        ("merge", "[" * 5000, 400, "bad-request"),
        ("undo", {}, 400, "bad-request"),
        ("merge", {"from": "/old", "into": "/new", "why": "x" * 9000}, 400, "bad-request"),
    ],
)
async def test_an_order_that_cannot_be_carried_out_changes_nothing(
    app: Running, desk: Desk, action: str, body: Any, status: int, code: str
) -> None:
    await read(app, "/old", "/new")
    answer = await desk(action, body)
    assert (answer.status, answer.json["error"]) == (status, code), answer
    assert "access-control-allow-origin" not in answer.headers
    assert (await desk.audit()).json["changes"] == []
    assert await app.connection.views("t1", ["/old", "/new"]) == {"/old": 1, "/new": 1}


@pytest.mark.parametrize(("action", "body"), [("merge", {"from": "/old", "into": "/new"}), ("undo", {"change": "x"})])
async def test_orders_are_for_editors_and_administrators_of_the_site(
    app: Running, desk: Desk, action: str, body: Any
) -> None:
    """27, 29: not for viewers, scrapers, other sites' editors, strangers, or pages of other origins."""
    await read(app, "/old", "/new")
    assert (await app.connection.request("POST", f"{ADMIN}/{action}", body)).status == 401
    for scope in ("viewer", "metrics"):
        assert (await desk(action, body, scope)).status == 403
    elsewhere = {"authorization": await app.token("admin", "beats")}
    assert (await app.connection.request("POST", f"{ADMIN}/{action}", body, elsewhere)).status == 403
    assert (await desk(action, body, origin="https://evil.example")).status == 403
    assert (await desk(action, body, **{"sec-fetch-site": "cross-site"})).status == 403
    assert (await desk.audit("", "viewer")).status == 403
    editor = await desk.bearer("editor")
    assert (await app.connection.request("GET", f"{ADMIN}/{action}", headers=editor)).status == 405
    assert (await desk.audit()).json["changes"] == []


# The command line --------------------------------------------------------------------------------------------------


@pytest.fixture
async def shell(app: Running, tmp_path: Path, redis_url: str) -> Shell:
    """A command line beside the running service, with three articles to merge."""
    await read(app, "/old", "/old", "/new")
    return Shell(tmp_path, redis_url, tmp_path / "data")


async def views(app: Running, *asked: str) -> dict[str, int]:
    """The views, after the service has looked at the changes; on a fresh connection, since commands take long."""
    assert app.app.worker is not None
    await app.app.worker.sites.refresh()
    connection = await Connection.open(app.ports[0])
    found = await connection.views("t1", asked)
    connection.close()
    return found


async def test_a_merge_asks_before_it_is_made(app: Running, shell: Shell) -> None:
    refused = shell("merge", "t1", "/old", "/new", typed="/new\n", fails=True)
    assert refused == "visitstats: that is another key; nothing was changed\n"
    assert "Nothing was changed" in shell("audit", "t1")
    said = shell("merge", "t1", f"https://{HOST}/old", "/new", "--why", "Địa chỉ mới", typed="/old\n")
    assert "/old has 2 views, /new has 1." in said
    assert "/old is merged into /new: 2 views." in said
    assert await views(app, "/old", "/new") == {"/old": 3, "/new": 3}


async def test_merge_key_audit_undo(app: Running, shell: Shell) -> None:
    said = shell("merge", "t1", "/old", "/new", "--yes", "--who", "Chị Lan", "--why", "[b]CMS[/b]")
    found = re.search(r"visitstats undo t1 ([0-9a-f]{8})\n", said)
    assert found is not None
    assert "Key: /new\n" in shell("key", "t1", f"https://{HOST}/old")
    assert "merged into this one" in shell("key", "t1", f"https://{HOST}/old")
    audit = shell("audit", "t1")
    for text in (found[1], "Chị Lan", "/old → /new", "[b]CMS[/b]"):
        assert text in audit
    assert f"/old is an alias of /new already (change {found[1]})" in shell(
        "merge", "t1", "/old", "/new", "--yes", fails=True
    )
    assert "/old is an article of its own again" in shell("undo", "t1", found[1], "--who", "Chị Lan")
    assert "is undone already" in shell("undo", "t1", found[1], fails=True)
    assert "Key: /old\n" in shell("key", "t1", f"https://{HOST}/old")
    assert shell("audit", "t1", "--limit", "1").count("Chị Lan") == 1
    assert await views(app, "/old", "/new") == {"/old": 2, "/new": 1}


async def test_an_alias_is_made_of_a_key_that_was_never_counted(app: Running, shell: Shell) -> None:
    assert "there is no site 'no'" in shell("alias", "no", "/cu", "/new", fails=True)
    assert "has 2 views of its own" in shell("alias", "t1", "/old", "/new", fails=True)
    assert "/cu stands for /new" in shell("alias", "t1", "/cu", "/new")
    assert await views(app, "/cu") == {"/cu": 1}


# Without the store -------------------------------------------------------------------------------------------------


async def test_a_worker_that_knows_nothing_of_a_merge_yet_counts_right_all_the_same(
    app: Running, redis_url: str
) -> None:
    """Its hits carry the old article; the store knows better. The site's own numbers are one hit more, not two."""
    await read(app, "/old", "/new")
    assert app.app.worker is not None
    worker = app.app.worker
    live = worker.sites.get("t1")
    assert live is not None
    # As another worker made it, whose word has not come here yet.
    client = open_client(redis_url)
    writer = Writer(redis_url)
    desk_of = change_desk(client, writer, live.site, app.clock, live.key_rules)
    await desk_of.merges.merge("/old", "/new", Order("an"))
    hit = await app.connection.hit("t1", Hit(ANN, "/old"))
    assert hit.json["views"] == 3
    assert hit.json["total"] == 3
    await Changes(client).tell("t1")
    await client.aclose()
    await writer.close()
    await worker.sites.refresh()
    assert (await app.connection.hit("t1", Hit(BEN, "/old"))).json == {
        **hit.json, "key": "/new", "views": 4, **dict.fromkeys(
            ("online", "today", "week", "month", "year", "total", "average", "record"), 4
        )
    }  # fmt: skip
    kept = json.loads((worker.settings.data_dir / "last" / "aliases.json").read_bytes())
    assert list(kept) == ["t1"]
