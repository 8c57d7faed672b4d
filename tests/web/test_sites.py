"""What a site's record says of its hosts and addresses, seen by readers, editors and at the command line."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import pytest

from tests.client import HOST, Hit, crowd
from tests.shell import Shell
from tests.web.inprocess import Running

ANN, BEN = crowd(2, "sites")


# Keys --------------------------------------------------------------------------------------------------------------


async def test_addresses_of_one_article_are_counted_as_one(app: Running) -> None:
    await app.put_site(preset=("nukeviet",))
    for n, page in enumerate(("/vi/news/Tin/so-ket-2642.html?fbclid=x", "/vi/news/print/Khac/ten-moi-2642.html#c"), 1):
        answer = await app.connection.hit("t1", Hit(crowd(2, "sites")[n - 1], page))
        assert (answer.json["key"], answer.json["views"]) == ("news:2642", n)
    asked = [f"https://{HOST}/vi/news/Tin/a-2642.html", "news:2642", f"https://{HOST}/vi/news/Tin/a-2643.html"]
    assert list((await app.connection.views("t1", asked)).values()) == [2, 2, 0]


async def test_a_change_of_rules_holds_for_the_next_hit_also_of_an_address_that_was_seen(app: Running) -> None:
    before = await app.connection.hit("t1", Hit(ANN, "/tin/5"))
    await app.put_site(rules=((r"^/tin/(\d+)$", r"tin:\1"),))
    after = await app.connection.hit("t1", Hit(ANN, "/tin/5"))
    assert (before.json["key"], after.json["key"]) == ("/tin/5", "tin:5")


async def test_an_editor_sees_why_an_address_has_its_key(app: Running) -> None:
    await app.put_site(preset=("nukeviet",))
    url = f"https://{HOST}/vi/news/Tin/so-ket-2642.html?fbclid=x"
    headers = {"authorization": await app.token("viewer", "t1")}
    answer = await app.connection.request("GET", f"/v1/admin/sites/t1/key?url={quote(url, safe='')}", headers=headers)
    assert answer.status == 200
    assert (answer.json["url"], answer.json["key"], answer.json["refused"]) == (url, "news:2642", None)
    changes = [(step["rule"], step["after"]) for step in answer.json["steps"] if step["changed"]]
    assert changes == [
        ("host", "/vi/news/Tin/so-ket-2642.html?fbclid=x"),
        ("query", "/vi/news/Tin/so-ket-2642.html"),
        ("preset nukeviet, rule 1", "news:2642"),
    ]
    assert (await app.numbers())["total"] == 0, "nothing is counted by asking"


@pytest.mark.parametrize(
    ("query", "key", "reason"),
    [
        ("url=https%3A%2F%2Fevil.example%2Fa", None, "host"),
        ("url=%2Fa", None, "bad-url"),
        (f"url=https%3A%2F%2F{HOST}%2Fa&key=tin%3A5", "tin:5", None),
        (f"url=https%3A%2F%2F{HOST}%2Fa&canonical=https%3A%2F%2F{HOST}%2Fb", "/b", None),
        (f"url=https%3A%2F%2F{HOST}%2F%FF%00&key=", "/%EF%BF%BD", None),
    ],
)
async def test_an_explanation_is_of_what_the_page_would_send(
    app: Running, query: str, key: str | None, reason: str | None
) -> None:
    await app.put_site(use_canonical=True)
    headers = {"authorization": await app.token("editor")}
    answer = await app.connection.request("GET", f"/v1/admin/sites/t1/key?{query}", headers=headers)
    assert answer.status == 200
    assert (answer.json["key"], (answer.json["refused"] or {}).get("reason")) == (key, reason)


async def test_explanations_are_for_those_who_may_read_the_site(app: Running) -> None:
    path = "/v1/admin/sites/t1/key?url=https%3A%2F%2Fportal.vn%2F"
    assert (await app.connection.request("GET", path)).status == 401
    elsewhere = {"authorization": await app.token("admin", "other")}
    assert (await app.connection.request("GET", path, headers=elsewhere)).status == 403
    bearer = {"authorization": await app.token("viewer")}
    answer = await app.connection.request("GET", "/v1/admin/sites/t1/key", headers=bearer)
    assert (answer.status, answer.json["error"]) == (400, "bad-query")
    foreign = await app.connection.request("GET", path, headers={**bearer, "origin": "https://evil.example"})
    assert foreign.status == 403
    assert "access-control-allow-origin" not in foreign.headers


# Hosts -------------------------------------------------------------------------------------------------------------


async def test_a_portal_that_moves_takes_its_counts_along(app: Running) -> None:
    await app.connection.hit("t1", Hit(ANN, "/a"))
    old, new = {"u": f"https://{HOST}/a"}, {"u": "http://www.moi.example.vn:8080/a"}
    assert (await app.connection.request("POST", "/v1/sites/t1/hit", new, BEN.headers)).ignored == "host"
    await app.put_site(hosts=(HOST, "moi.example.vn"))
    answer = await app.connection.request("POST", "/v1/sites/t1/hit", new, BEN.headers)
    assert (answer.json["key"], answer.json["views"], answer.ignored) == ("/a", 2, "")
    await app.put_site(hosts=("moi.example.vn",))
    assert (await app.connection.request("POST", "/v1/sites/t1/hit", old, BEN.headers)).ignored == "host"
    assert (await app.numbers())["total"] == 2


async def test_a_portal_of_many_names_counts_on_each_of_them(app: Running) -> None:
    """A province with 150 sub-domains names them once; a reader who has a page translated is a reader."""
    await app.put_site(hosts=("*.tinh.example.vn",))
    for reader, host in zip(
        crowd(4, "many"),
        ("xa1.tinh.example.vn", "www.tinh.example.vn", "a.xa2.tinh.example.vn", "xa1-tinh-example-vn.translate.goog"),
        strict=True,
    ):
        body, headers = Hit(reader, "/tin/1").body(host), reader.headers | {"origin": f"https://{host}"}
        answer = await app.connection.request("POST", "/v1/sites/t1/hit", body, headers)
        assert (answer.ignored, answer.json["key"]) == ("", "/tin/1"), host
    for host in ("tinh2.example.vn", "eviltinh.example.vn", "evil-vn.translate.goog"):
        answer = await app.connection.request("POST", "/v1/sites/t1/hit", Hit(ANN, "/tin/1").body(host), ANN.headers)
        assert answer.ignored == "host"
    assert (await app.numbers())["total"] == 4
    headers = {"authorization": await app.token("viewer", "t1")}
    rows = (await app.connection.request("GET", "/v1/admin/sites/t1/articles?period=all", headers=headers)).json
    assert [row["url"] for row in rows["articles"]] == ["https://xa1.tinh.example.vn/tin/1"], "an address that exists"


async def test_an_archive_shows_its_numbers_and_counts_no_more(app: Running) -> None:
    await app.connection.hit("t1", Hit(ANN, "/a"))
    before = await app.numbers()
    await app.put_site(archived=True)
    for visitor in (ANN, BEN):
        answer = await app.connection.hit("t1", Hit(visitor, "/a"))
        assert (answer.status, answer.ignored, answer.json["total"]) == (200, "archived", 1)
    assert (await app.connection.alive("t1", BEN)).status == 200
    pixel = await app.connection.request("GET", f"/v1/sites/t1/hit.gif?u=https://{HOST}/a", headers=BEN.headers)
    assert (pixel.status, pixel.ignored) == (200, "archived")
    assert await app.numbers() == before
    assert await app.connection.views("t1", ["/a"]) == {"/a": 1}
    await app.put_site(archived=False)
    assert (await app.connection.hit("t1", Hit(BEN, "/a"))).json["total"] == 2


@pytest.mark.parametrize(
    ("origin", "policy", "reason"),
    [
        (None, {}, ""),
        (None, {"missing_origin": "refuse"}, "origin"),
        ("null", {}, "origin"),
        ("null", {"null_origin": "allow"}, ""),
        ("null", {"missing_origin": "allow", "null_origin": "refuse"}, "origin"),
        ("https://evil.example", {"null_origin": "allow", "missing_origin": "allow"}, "origin"),
        (f"https://m.{HOST}:8443", {"missing_origin": "refuse", "null_origin": "refuse"}, ""),
    ],
)
async def test_a_site_decides_about_hits_without_an_origin(
    app: Running, origin: str | None, policy: dict[str, str], reason: str
) -> None:
    await app.put_site(**policy)
    headers = ANN.headers | ({} if origin is None else {"origin": origin})
    answer = await app.connection.request("POST", "/v1/sites/t1/hit", {"u": f"https://{HOST}/a"}, headers)
    assert (answer.status, answer.ignored, answer.json["total"]) == (200, reason, 0 if reason else 1)


# The command line --------------------------------------------------------------------------------------------------


@pytest.fixture
def shell(tmp_path: Path, redis_url: str) -> Shell:
    found = Shell(tmp_path, redis_url)
    found("site", "add", "s", "--host", "WWW.Portal.VN:8080", "--host", "tỉnh.vn", "--host", "[2001:DB8::1]:80")
    return found


def test_hosts_are_added_and_removed_one_by_one(shell: Shell) -> None:
    assert "portal.vn xn--tnh-dlz.vn 2001:db8::1" in shell("site", "show", "s")
    shown = shell("site", "set", "s", "--add-host", "m.moi.vn", "--remove-host", "TỈNH.vn", "--add-host", "10.0.0.1:81")
    assert "portal.vn 2001:db8::1 moi.vn 10.0.0.1" in shown
    assert "tinh.vn is not one of its hosts" in shell("site", "set", "s", "--remove-host", "tinh.vn", fails=True)
    assert "at least one host" in shell("site", "set", "s", "--host", "a.vn", "--remove-host", "a.vn", fails=True)
    assert "moi.vn 10.0.0.1" in shell("site", "show", "s"), "what is refused changes nothing"


def test_a_host_is_for_one_site_alone_when_that_says_so(shell: Shell) -> None:
    shell("site", "set", "s", "--own-hosts")
    refused = shell("site", "add", "other", "--host", "a.vn", "--host", "m.portal.vn", fails=True)
    assert refused == "visitstats: site other: portal.vn is a host of site s already\n"
    shell("site", "add", "other", "--host", "a.vn")
    assert "of site other already" in shell("site", "set", "s", "--add-host", "a.vn", fails=True)
    shell("site", "set", "s", "--shared-hosts", "--name", "Cổng thông tin")
    log = shell("audit", "s", "--kind", "settings")
    assert "shared_hosts: yes → no" in log
    assert "Cổng thông tin" in log
    shell("site", "set", "other", "--add-host", "portal.vn")
    assert "of site s already" in shell("site", "set", "other", "--own-hosts", fails=True)


def test_a_rule_that_cannot_be_applied_is_refused_and_nothing_is_changed(shell: Shell) -> None:
    shell(
        "site", "set", "s", "--rule", r"-c(?P<id>\d+)\.html$ => bai:{id}", "--preset", "press", "--preset", "nukeviet"
    )
    refused = shell("site", "set", "s", "--rule", "^/a => b", "--rule", "(a+ => x", fails=True)
    assert refused == "visitstats: site s: rule 2: missing ): (a+\n"
    assert "rule 1: write it as 'PATTERN => TEMPLATE'" in shell("site", "set", "s", "--rule", "^/a->b", fails=True)
    assert "there is no preset 'typo3'" in shell("site", "set", "s", "--preset", "typo3", fails=True)
    shown = shell("site", "show", "s")
    assert r"-c(?P<id>\d+)\.html$ => bai:{id}" in shown
    assert "press nukeviet" in shown


def test_an_empty_text_empties_a_list(shell: Shell) -> None:
    shell("site", "set", "s", "--rule", "^/a => b", "--preset", "press", "--id-param", "id", "--drop-param", "x")
    shown = shell("site", "set", "s", "--rule", "", "--preset", "", "--id-param", "", "--drop-param", "")
    assert "^/a" not in shown
    assert "press" not in shown


def test_the_way_of_addresses_is_shown(shell: Shell) -> None:
    shell("site", "set", "s", "--preset", "nukeviet")
    said = shell(
        "key", "s", "https://www.portal.vn/vi/news/Tin/so-ket-2642.html?fbclid=[b]x[/b]#c", "https://evil.vn/a"
    )
    assert "?fbclid=[b]x[/b]#c" in said, "what an address holds is text, not markup"
    assert "preset nukeviet, rule 1" in said
    assert "Key: news:2642\n" in said
    assert "Not counted: host, evil.vn is not a host of this site\n" in said
    assert "Key: tin:5\n" in shell("key", "s", "https://portal.vn/a", "--key", "tin:5")
    assert "Not counted: bad-url" in shell("key", "s", "/a\udcff")
    assert "there is no site 'no'" in shell("key", "no", "https://portal.vn/a", fails=True)


def test_an_address_that_is_pasted_as_a_host_is_read_as_its_host_and_told(shell: Shell) -> None:
    """Administrators copy it from the browser."""
    told = shell("site", "set", "s", "--host", "https://portal2.example.vn/", "--host", "*.example.vn")
    assert "https://portal2.example.vn/ is read as the host portal2.example.vn.\n" in told
    assert "portal2.example.vn *.example.vn" in told
    assert "*.gov.vn' is too wide" in shell("site", "set", "s", "--add-host", "*.gov.vn", fails=True)


def test_what_a_site_excludes_is_set_shown_and_taken_back(shell: Shell) -> None:
    told = shell("site", "set", "s", "--exclude-network", "10.20.0.0/16", "--exclude-path", "/admin/*")
    assert "10.20.0.0/16" in told
    assert "/admin/*" in told
    assert "must begin with '/'" in shell("site", "set", "s", "--exclude-path", "admin", fails=True)
    assert "/admin/*" not in shell("site", "set", "s", "--exclude-path", "")


def test_the_snippet_of_a_box_is_printed_as_it_was_asked_for(shell: Shell) -> None:
    """One table of boxes: what the command prints is what the gallery shows."""
    printed = shell("site", "embed", "s", "--api", "/vs/", "--preset", "classic-long", "--theme", "government-red")
    link, script, loader, end, noscript = printed.strip().splitlines()
    assert "/vs/widget.js" in loader
    assert end == "</script>"
    assert link == '<link rel="stylesheet" href="/vs/widget/themes/box.css">'
    assert 'data-lines="online|today,yesterday,week,last_week,month,last_month|total"' in script
    assert 'data-theme="vs-portal vs-red"' in script
    assert "/vs/v1/sites/s/box?preset=classic-long&amp;theme=vs-portal+vs-red" in noscript
    short = shell("site", "embed", "s", "--api", "/vs", "--short")
    assert '<script async src="/vs/widget.js" data-site="s"' in short
    assert "preload" not in short
    assert "is no address" in shell("site", "embed", "s", "--api", "javascript:alert(1)", fails=True)
    own = shell("site", "embed", "s", "--theme", "", "--lines", "online,total", "--title", "", "--lang", "en")
    assert "<link" not in own
    assert 'data-lang="en" data-title="" data-lines="online,total" data-labels="Online now|Total"' in own
    assert "there is no preset 'x'; there are lao-cai" in shell("site", "embed", "s", "--preset", "x", fails=True)
