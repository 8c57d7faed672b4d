"""Where the pages for editors answer, with which headers; and what they ask first: whose a token is, which sites, and
the numbers beside those of the period before."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from tests.client import HOST, Answer, Hit, crowd
from tests.web.inprocess import NOON, Running, running
from visitstats.settings import InvalidSetting, Settings

ANN, BEN, CAM = crowd(3, "pages")


async def asked(app: Running, path: str, host: str = "", **headers: str) -> Answer:
    named = {"host": host or f"127.0.0.1:{app.ports[0]}", **{key.replace("_", "-"): v for key, v in headers.items()}}
    return await app.connection.request("GET", path, headers=named)


async def test_the_pages_are_there_on_this_machine_only(app: Running) -> None:
    """A portal's name leads nowhere, nor does a proxy that hides under which name it was asked."""
    for host in ("", "localhost", "localhost:8080", "[::1]:8080", "127.0.0.5", "admin.localhost"):
        assert (await asked(app, "/admin/", host)).status == 200, host
    for host in ("portal.example.vn", "t1.example", "127.0.0.1.evil.vn", "localhost.evil.vn", "xlocalhost"):
        for path in ("/admin/", "/admin"):
            found = await asked(app, path, host)
            assert (found.status, found.json["error"]) == (404, "not-found"), host
    for header in ("x_forwarded_for", "x_forwarded_host", "forwarded", "x_real_ip", "via"):
        assert (await asked(app, "/admin/", "127.0.0.1", **{header: "for=1.2.3.4"})).status == 404, header


async def test_the_pages_are_there_on_admin_hosts_and_nowhere_else(tmp_path: Path, redis_url: str) -> None:
    """Behind a proxy, too. Under a portal's own name the token is kept in memory only."""
    hosts = ["Thongke.example.vn", "portal.example.vn"]
    async with running(tmp_path / "data", redis_url, admin_hosts=hosts) as app:
        await app.put_site(hosts=("portal.example.vn",))
        own = await asked(app, "/admin/", "thongke.example.vn", x_forwarded_for="1.2.3.4")
        shared = await asked(app, "/admin/", "PORTAL.example.vn:443")
        assert (own.status, shared.status) == (200, 200)
        assert b'data-keep="session"' in own.body
        assert b'data-keep="memory"' in shared.body
        assert (await asked(app, "/admin/", "127.0.0.1")).status == 404


@pytest.mark.parametrize("text", ["https://a.vn", "a.vn:8080", "a.vn/admin", "*.a.vn", "a b", ":::", "a..vn/"])
def test_what_is_no_host_name_is_refused(text: str) -> None:
    with pytest.raises(InvalidSetting, match="admin-hosts"):
        Settings.load({"admin_hosts": [text]})


async def test_the_files_are_kept_for_ever_and_the_shell_is_asked_again(app: Running) -> None:
    """Nothing but these files may run, and no other page may frame, open or read them."""
    shell = await asked(app, "/admin/")
    version = re.findall(rb'src="([^"/]+)/main\.js"', shell.body)[0].decode()
    script = await asked(app, f"/admin/{version}/main.js")
    assert shell.headers["cache-control"] == "no-cache"
    assert script.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert script.headers["content-type"] == "text/javascript; charset=utf-8"
    for each in (shell, script):
        policy = each.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
        assert policy.endswith("frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'")
        assert (
            each.headers["cross-origin-opener-policy"] == each.headers["cross-origin-resource-policy"] == "same-origin"
        )
        assert (each.headers["referrer-policy"], each.headers["x-content-type-options"]) == ("no-referrer", "nosniff")
        assert "access-control-allow-origin" not in each.headers
    assert (await asked(app, "/admin/", if_none_match=shell.headers["etag"])).status == 304
    for path in (
        f"/admin/{version}/index.html",
        f"/admin/{version}/../app.py",
        "/admin/0.0.0/main.js",
        f"/admin/{version}/",
    ):
        assert (await asked(app, path)).status == 404, path
    entrance = await asked(app, "/admin")
    assert (entrance.status, entrance.headers["location"]) == (307, "admin/")


async def test_a_token_says_what_it_is_good_for(app: Running) -> None:
    """One for a site sees that site alone; one for the metrics sees none."""
    await app.put_site(id="other", name="Xã Bắc Hà")
    for scope, site in (("viewer", "t1"), ("editor", ""), ("admin", "")):
        headers = {"authorization": await app.token(scope, site)}
        me = (await app.connection.request("GET", "/v1/admin/me", headers=headers)).json
        assert me == {"name": f"{scope}-{site}", "scope": scope, "sites": [site] if site else None, "expires": None}
        sites = (await app.connection.request("GET", "/v1/admin/sites", headers=headers)).json["sites"]
        assert [each["id"] for each in sites] == ([site] if site else ["beats", "t1", "other"])
    refused = await app.connection.request("GET", "/v1/admin/me", headers={"authorization": await app.token("metrics")})
    assert refused.status == 403
    assert (await app.connection.request("GET", "/v1/admin/sites")).status == 401


async def test_the_list_of_sites_says_how_each_is(app: Running) -> None:
    """Counting, quiet for a day, never heard of, archived; and its last days, without inventing any."""
    headers = {"authorization": await app.token("viewer")}

    async def rows() -> dict[str, dict[str, object]]:
        found = await app.connection.request("GET", "/v1/admin/sites?details=1", headers=headers)
        return {row["id"]: row for row in found.json["sites"]}

    assert (await rows())["t1"]["state"] == "empty"
    await app.connection.hit("t1", Hit(ANN, "/a"))
    await app.connection.hit("t1", Hit(BEN, "/a"))
    app.clock.advance(1.001)
    row = (await rows())["t1"]
    assert (row["state"], row["online"], row["today"], row["total"]) == ("counting", 2, 2, 2)
    assert row["before"] == {"visits": None, "views": None, "known": "no", "estimate": False}
    noon = datetime.fromisoformat(NOON)
    for hours, state, today in ((23, "counting", 0), (25, "quiet", 0), (49, "quiet", 0)):
        app.clock.set((noon + timedelta(hours=hours)).isoformat())
        row = (await rows())["t1"]
        assert (row["state"], row["today"]) == (state, today), hours
    assert row["days"][-2:] == [2, None] or row["days"][-2:] == [2, 0]  # type: ignore[index]
    await app.put_site(archived=True)
    assert (await rows())["t1"]["state"] == "archived"


async def test_numbers_are_compared_with_the_same_moment_of_the_period_before(app: Running) -> None:
    """At noon yesterday's morning counts, and its evening does not."""
    noon = datetime.fromisoformat(NOON)
    for days, hours, visitor in ((1, -3, ANN), (1, -2, BEN), (1, 5, CAM), (7, -3, ANN), (0, -1, ANN)):
        app.clock.set((noon - timedelta(days=days) + timedelta(hours=hours)).isoformat())
        await app.connection.hit("t1", Hit(visitor, "/a"))
    app.clock.set(NOON)
    headers = {"authorization": await app.token("viewer", "t1")}
    found = (await app.connection.request("GET", "/v1/admin/sites/t1/now", headers=headers)).json
    assert (found["numbers"]["today"], found["numbers"]["yesterday"], found["baseline"]) == (1, 3, 0)
    assert {name: each["visits"] for name, each in found["before"].items()} == {
        "today": 2, "weekday": 1, "week": 1, "month": None, "year": None,
    }  # fmt: skip
    rows = await app.connection.request("GET", "/v1/admin/sites/t1/history?by=hour&period=day", headers=headers)
    kinds = {row["name"][11:]: row["kind"] for row in rows.json["rows"]}
    assert (kinds["11"], kinds["12"]) == ("counted", "running")


async def test_an_article_says_who_says_what_it_is_called(app: Running) -> None:
    """By its key, its address, or one that was merged into it; what was never counted is not found."""
    await app.connection.hit("t1", Hit(ANN, "/a"))
    await app.connection.hit("t1", Hit(BEN, "/b"))
    headers = {"authorization": await app.token("editor")}
    merged = await app.connection.request(
        "POST", "/v1/admin/sites/t1/merge", {"from": "/b", "into": "/a", "why": "one"}, headers
    )
    assert merged.status == 200, merged
    alias = await app.connection.request(
        "POST", "/v1/admin/sites/t1/merge", {"from": "/never", "into": "/a", "alias": True}, headers
    )
    assert alias.status == 200, alias
    for named in ("/a", "/b", f"https://{HOST}/a", "/never"):
        answer = await app.connection.request("GET", f"/v1/admin/sites/t1/article?key={named}", headers=headers)
        found = answer.json
        assert (found["key"], found["total"], found["baseline"], found["hidden"]) == ("/a", 2, 0, False), named
        assert (found["aliases"], found["aliases_in_all"]) == (["/b", "/never"], 2)
        assert found["facts"]["url"]["value"] == f"https://{HOST}/a"
        assert set(found["facts"]) == {"title", "url", "author", "category", "published"}
    missing = await app.connection.request("GET", "/v1/admin/sites/t1/article?key=/nothing", headers=headers)
    assert (missing.status, missing.json["error"]) == (404, "no-such-article")


async def test_names_to_choose_from_are_those_of_articles(app: Running) -> None:
    """From A to Z, those in which a text is, without case and tone marks; and whether there are more."""
    for number, author in enumerate(("Lê Hiếu", "Giàng Thị Mai", "Đỗ An", "")):
        beacon = Hit(ANN, f"/{number}").body() | {"m": {"author": author}}
        assert (await app.connection.request("POST", "/v1/sites/t1/hit", beacon, ANN.headers)).status == 200
    headers = {"authorization": await app.token("viewer", "t1")}

    async def labels(query: str) -> tuple[list[str], bool]:
        found = (await app.connection.request("GET", f"/v1/admin/sites/t1/labels?{query}", headers=headers)).json
        return found["labels"], found["more"]

    assert await labels("of=author") == (["Đỗ An", "Giàng Thị Mai", "Lê Hiếu"], False)
    assert await labels("of=author&limit=2") == (["Đỗ An", "Giàng Thị Mai"], True)
    assert await labels("of=author&text=HIEU") == (["Lê Hiếu"], False)
    assert await labels("of=category") == ([], False)
    for wrong in ("of=title", "", "of=author&limit=0", "of=author&limit=201"):
        answer = await app.connection.request("GET", f"/v1/admin/sites/t1/labels?{wrong}", headers=headers)
        assert (answer.status, answer.json["error"]) == (400, "bad-query"), wrong
