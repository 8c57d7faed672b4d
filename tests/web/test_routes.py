"""Every public route of the contract, as somebody sees it who reads only the contract."""

from __future__ import annotations

import gzip
import json
from base64 import b64encode
from datetime import datetime
from hashlib import sha384
from importlib.resources import files
from unicodedata import normalize
from urllib.parse import quote

import msgspec
import pytest

from tests.client import HOST, Connection, Hit, crowd
from tests.web.inprocess import NOON, Running
from visitstats.web.app import ROUTES

ANN, BEN = crowd(2, "routes")
NUMBERS = [
    "site", "online", "today", "yesterday", "week", "last_week", "month", "last_month", "year", "total", "average",
    "record", "record_date",
]  # fmt: skip
PAGE = f"https://{HOST}"
PUBLIC = ("hit", "hit.gif", "alive", "stats", "views")


async def test_a_hit_is_answered_with_the_numbers_and_its_article(app: Running) -> None:
    answer = await app.connection.hit("t1", Hit(ANN, "/tin/a.html?utm_source=zalo"))
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["access-control-allow-origin"] == "*"
    assert sorted(answer.json) == sorted([*NUMBERS, "views", "key", "at"])
    assert answer.json == {
        "site": "t1", "online": 1, "today": 1, "yesterday": 0, "week": 1, "last_week": 0, "month": 1, "last_month": 0,
        "year": 1, "total": 1, "average": None, "record": None, "record_date": None,
        "views": 1, "key": "/tin/a.html", "at": NOON,
    }  # fmt: skip
    assert datetime.fromisoformat(answer.json["at"]).utcoffset() is not None


@pytest.mark.parametrize(
    "kind", ["text/plain", "text/plain;charset=UTF-8", "Text/Plain; charset=utf-8", "application/json"]
)
async def test_a_hit_is_text_or_json(app: Running, kind: str) -> None:
    answer = await app.connection.hit("t1", Hit(ANN, "/a"), {"content-type": kind})
    assert (answer.status, answer.ignored, answer.json["today"]) == (200, "", 1)


async def test_a_hit_may_say_all_that_the_contract_has(app: Running) -> None:
    """Key, canonical link, title, referrer and meta; what is not known is ignored."""
    body = {
        "u": f"{PAGE}/a?x=1", "k": "tin-42", "c": f"{PAGE}/b", "t": "Một tựa đề", "r": "https://google.com/?q=x",
        "v": "visit-00000001", "h": "hit-000000001", "future": {"of": ["the", "contract"]},
        "m": {"author": "Văn A", "category": "Tin", "published": "2040-05-16T08:00:00+07:00"},
    }  # fmt: skip
    answer = await app.connection.request("POST", "/v1/sites/t1/hit", body, ANN.headers)
    assert (answer.status, answer.json["key"], answer.json["views"]) == (200, "tin-42", 1)
    assert await app.connection.views("t1", ["tin-42", "/a?x=1", "/b"]) == {"tin-42": 1, "/a?x=1": 0, "/b": 0}


async def test_the_picture_counts_for_pages_without_scripts(app: Running) -> None:
    """43 bytes of a GIF that no cache keeps; a bot gets it, too, and is not counted."""
    path = f"/v1/sites/t1/hit.gif?u={quote(PAGE + '/tin/b.html')}&t=x"
    answer = await app.connection.request("GET", path, headers=ANN.headers)
    assert (answer.status, len(answer.body), answer.body[:6]) == (200, 43, b"GIF89a")
    assert (answer.headers["content-type"], answer.headers["cache-control"]) == ("image/gif", "no-store")
    assert await app.connection.views("t1", ["/tin/b.html"]) == {"/tin/b.html": 1}
    bot = await app.connection.request("GET", path, headers=ANN.headers | {"user-agent": "Googlebot/2.1"})
    assert (bot.status, len(bot.body), bot.ignored) == (200, 43, "bot")
    broken = await app.connection.request("GET", "/v1/sites/t1/hit.gif?u=nonsense", headers=ANN.headers)
    assert (broken.status, len(broken.body), broken.ignored) == (200, 43, "bad-url")
    assert (await app.numbers())["today"] == 1


async def test_a_heartbeat_is_answered_with_the_numbers(app: Running) -> None:
    await app.connection.hit("t1", Hit(ANN, "/a"))
    answer = await app.connection.alive("t1", ANN)
    assert answer.status == 200
    assert sorted(answer.json) == sorted([*NUMBERS, "at"])
    assert answer.json["today"] == 1


async def test_stats_never_count_and_are_not_sent_twice(app: Running) -> None:
    """The ETag stays as long as the numbers do, whatever the moment; a cache may keep them for a second."""
    await app.connection.hit("t1", Hit(ANN, "/a"))
    app.clock.advance(5)  # until then the answer may be that to the hit, which does not wait for the record
    first = await app.connection.request("GET", "/v1/sites/t1/stats", headers=BEN.headers)
    assert sorted(first.json) == sorted([*NUMBERS, "at"])
    assert first.headers["cache-control"] == "public, max-age=1"
    app.clock.advance(5)
    asked = {"if-none-match": first.headers["etag"]}
    again = await app.connection.request("GET", "/v1/sites/t1/stats", headers=asked)
    assert (again.status, again.body) == (304, b"")
    head = await app.connection.request("HEAD", "/v1/sites/t1/stats")
    assert (head.status, head.headers["etag"]) == (200, first.headers["etag"])
    await app.connection.hit("t1", Hit(BEN, "/a"))
    changed = await app.connection.request("GET", "/v1/sites/t1/stats", headers=asked)
    assert (changed.status, changed.json["today"]) == (200, 2)


async def test_views_are_told_for_keys_and_for_addresses(app: Running) -> None:
    """A list may name addresses of the site instead of keys, and the same one twice; asking counts nothing."""
    for visitor, article in ((ANN, "/a"), (BEN, "/a"), (ANN, "/b?id=2")):
        await app.connection.hit("t1", Hit(visitor, article))
    address = f"http://www.{HOST}/b?id=2&fbclid=x#c"
    query = "&".join(f"key={quote(key, safe='')}" for key in ("/a", "/a", address, "/never"))
    for _ in range(2):
        answer = await app.connection.request("GET", f"/v1/sites/t1/views?{query}")
        assert (answer.status, answer.json) == (200, {"views": {"/a": 2, address: 1, "/never": 0}})
        posted = await app.connection.request("POST", "/v1/sites/t1/views", {"keys": ["/a", address, "/never", "/a"]})
        assert posted.json == answer.json


async def test_views_are_found_by_every_name_under_which_a_page_counts_them(app: Running) -> None:
    """The answer names each as it was asked for; a name under which nothing can be counted spoils no list."""
    address = f"https://www.{HOST}/b?utm_source=zalo"
    for visitor, explicit in ((ANN, "xã-1"), (BEN, address), (ANN, "https://elsewhere.example/c")):
        body = {"u": f"https://{HOST}/page", "k": explicit}
        assert (await app.connection.request("POST", "/v1/sites/t1/hit", body, visitor.headers)).status == 200
    expected = {
        "xã-1": 1, normalize("NFD", "xã-1"): 1, " xã-\u200b1\n": 1,
        address: 1, "/b": 1, f"http://{HOST}/b#top": 1,
        "https://elsewhere.example/c": 1, "https://elsewhere.example/d": 0, "https://[": 0,
        "": 0, "\u200b": 0, "ộ" * 171: 0, "a" + "\u0323" * 31: 0, f"https://{HOST}/a" + "\u0323" * 31: 0,
    }  # fmt: skip
    answer = await app.connection.request("POST", "/v1/sites/t1/views", {"keys": list(expected)})
    assert (answer.status, answer.json) == (200, {"views": expected})
    only = await app.connection.request("POST", "/v1/sites/t1/views", {"keys": ["\u200b"]})
    assert only.json == {"views": {"\u200b": 0}}


@pytest.mark.parametrize(
    ("keys", "status"),
    [(500, 200), (501, 400), (0, 400)],
)
async def test_a_list_of_views_has_a_limit(app: Running, keys: int, status: int) -> None:
    asked = {"keys": [f"/{n}" for n in range(keys)]}
    answer = await app.connection.request("POST", "/v1/sites/t1/views", asked)
    assert answer.status == status, answer
    if status == 200:
        assert answer.json == {"views": {f"/{n}": 0 for n in range(keys)}}
    else:
        assert set(answer.json) == {"error", "detail"}


async def test_the_widget_is_small_and_cached(app: Running) -> None:
    """At most 3,000 bytes when compressed; the frozen one for a year, under exactly its own hash."""
    plain = await app.connection.request("GET", "/widget.js")
    assert plain.status == 200
    assert plain.headers["content-type"].startswith("text/javascript")
    assert "max-age" in plain.headers["cache-control"]
    small = await app.connection.request("GET", "/widget.js", headers={"accept-encoding": "gzip, br"})
    assert small.headers["content-encoding"] == "gzip"
    assert gzip.decompress(small.body) == plain.body
    assert len(small.body) <= 3000
    assert small.headers["vary"] == "accept-encoding"
    manifest = _manifest()
    frozen = f"/widget/{manifest['version']}/{manifest['sha']}.js"
    answer = await app.connection.request("GET", frozen)
    assert answer.body == plain.body
    assert "immutable" in answer.headers["cache-control"]
    again = await app.connection.request("GET", frozen, headers={"if-none-match": answer.headers["etag"]})
    assert (again.status, again.body) == (304, b"")
    for other in (f"/widget/{manifest['version']}/{'0' * 16}.js", f"/widget/9.9.9/{manifest['sha']}.js"):
        assert (await app.connection.request("GET", other)).status == 404


async def test_the_published_hash_is_that_of_the_widget(app: Running) -> None:
    """A page that pins the frozen widget by its integrity hash gets what it pinned."""
    plain = await app.connection.request("GET", "/widget.js")
    manifest = _manifest()
    assert manifest["integrity"] == "sha384-" + b64encode(sha384(plain.body).digest()).decode()


async def test_health_is_told_apart_from_readiness(app: Running) -> None:
    for path in ("/healthz", "/readyz"):
        answer = await app.connection.request("GET", path)
        assert (answer.status, answer.headers["cache-control"]) == (200, "no-store")
    assert app.app.worker is not None
    app.app.worker.ready = False
    assert (await app.connection.request("GET", "/healthz")).status == 200
    assert (await app.connection.request("GET", "/readyz")).status == 503
    app.app.worker.ready = True


async def test_the_description_for_machines_lists_the_routes_that_exist(app: Running) -> None:
    """Every path of openapi.json answers to its methods, and to no other, and in the form that it describes."""
    document = (await app.connection.request("GET", "/openapi.json")).json
    assert document["openapi"].startswith("3.")
    token = await app.token("admin")
    described = {f"/v1/sites/{{site}}/{action}" for action in PUBLIC} | {"/v1/admin/sites/{site}/articles"}
    assert described <= set(document["paths"])
    await app.put_site(publish_top=True)
    manifest = _manifest()
    named = {
        "site": "t1", "version": manifest["version"], "sha": manifest["sha"], "name": "box.css", "token": "none",
    }  # fmt: skip
    asked = {"/v1/sites/{site}/views": "?key=/a", "/v1/admin/sites/{site}/key": f"?url={PAGE}/a"}
    forms = {(route.method, route.path): route.answer for route in reversed(ROUTES)}
    for path, operations in document["paths"].items():
        methods = {name.upper() for name in operations if name in ("get", "post", "put", "delete")}
        if path.endswith("/live"):
            methods.discard("GET")  # an answer without end has tests of its own
        for method in ("GET", "POST", "PUT", "DELETE")[path.endswith("/live") :]:
            target, body = f"{path.format(**named)}{asked.get(path, '')}", b"{}" if method == "POST" else None
            answer = await app.connection.request(method, target, body, {"authorization": token})
            exists = answer.status not in (404, 405) or "there is no token" in answer.json.get("detail", "")
            assert exists == (method in methods), (method, path, answer)
            if answer.status == 200:
                form = forms[method, path]
                assert answer.headers["content-type"] == (form if isinstance(form, str) else "application/json")
                if not isinstance(form, str):
                    known = msgspec.json.decode(answer.body, type=form, strict=True)
                    assert set(answer.json) <= set(json.loads(msgspec.json.encode(known))), path


@pytest.mark.parametrize("action", PUBLIC)
async def test_pages_of_any_origin_may_ask_beforehand(app: Running, action: str) -> None:
    answer = await app.connection.request(
        "OPTIONS",
        f"/v1/sites/t1/{action}",
        headers={
            "origin": PAGE,
            "access-control-request-method": "POST",
            "access-control-request-headers": "content-type",
        },
    )
    assert answer.status == 204
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "POST" in answer.headers["access-control-allow-methods"]
    assert "content-type" in answer.headers["access-control-allow-headers"].lower()
    assert "access-control-allow-credentials" not in answer.headers


async def test_only_public_routes_can_be_read_by_other_pages(app: Running) -> None:
    """Not the administration, the metrics or their errors."""
    token = {"authorization": await app.token("admin")}
    for path, headers in (
        ("/v1/admin/sites/t1/articles", {}),
        ("/v1/admin/sites/t1/articles", token),
        ("/v1/admin/sites/t1/articles?limit=x", token),
        ("/v1/admin/sites/nosuch/articles", token),
        ("/v1/admin/nothing", token),
        ("/metrics", {}),
        ("/metrics/nothing", {}),
        ("/readyz", {}),
    ):
        answer = await app.connection.request("GET", path, headers=headers)
        assert "access-control-allow-origin" not in answer.headers, (path, answer)
    preflight = await app.connection.request("OPTIONS", "/v1/admin/sites/t1/articles", headers={"origin": PAGE})
    assert "access-control-allow-origin" not in preflight.headers
    assert preflight.status == 405
    for method, path in (("GET", "stats"), ("GET", "views?key=/a"), ("GET", "hit.gif?u=x"), ("POST", "hit")):
        answer = await app.connection.request(method, f"/v1/sites/t1/{path}", b"{}" if method == "POST" else None)
        assert answer.headers["access-control-allow-origin"] == "*", (path, answer)


@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [
        ("GET", "/v1/sites/t1/hit", 405, "POST"),
        ("PUT", "/v1/sites/t1/hit", 405, "POST"),
        ("POST", "/v1/sites/t1/stats", 405, "GET"),
        ("POST", "/v1/sites/t1/hit.gif", 405, "GET"),
        ("GET", "/v1/sites/t1/alive", 405, "POST"),
        ("DELETE", "/v1/sites/t1/views", 405, "POST"),
        ("POST", "/widget.js", 405, "GET"),
        ("GET", "/v1/sites/t1/nothing", 404, ""),
        ("GET", "/v1/sites/t1", 404, ""),
        ("GET", "/v1/sites/t1/stats/", 404, ""),
        ("GET", "/v1/sites/nosuch/stats", 404, ""),
        ("POST", "/v1/sites/nosuch/hit", 404, ""),
        ("GET", "/v1/sites/nosuch/views?key=/a", 404, ""),
        ("GET", "/nothing", 404, ""),
        ("GET", "/healthz/", 404, ""),
    ],
)
async def test_what_does_not_exist_is_told_as_json(
    app: Running, method: str, path: str, status: int, allow: str
) -> None:
    """An error is a kebab-case code and one line for a person; 405 says what is allowed."""
    answer = await app.connection.request(method, path, b"{}" if method in ("POST", "PUT") else None)
    assert answer.status == status, answer
    assert answer.headers["content-type"] == "application/json"
    assert set(answer.json) == {"error", "detail"}
    assert answer.json["error"] == answer.json["error"].lower().replace("_", "-").replace(" ", "-")
    assert allow in answer.headers.get("allow", "")
    assert "location" not in answer.headers


@pytest.mark.parametrize(
    ("reason", "headers", "body"),
    [
        ("bot", {"user-agent": "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"}, {}),
        ("empty-agent", {"user-agent": ""}, {}),
        ("host", {}, {"u": "https://elsewhere.example/a"}),
        ("origin", {"origin": "https://elsewhere.example"}, {}),
        ("origin", {"origin": "null"}, {}),
        ("prefetch", {"sec-purpose": "prefetch;prerender"}, {}),
        ("prefetch", {"purpose": "prefetch"}, {}),
        ("duplicate", {}, {"h": "hit-seen-before"}),
    ],
)
async def test_what_is_not_counted_gets_the_numbers_and_a_reason(
    app: Running, reason: str, headers: dict[str, str], body: dict[str, str]
) -> None:
    """Rule 8: counted apart, by reason; the box of that reader is filled all the same."""
    await app.connection.hit("t1", Hit(BEN, "/a", "hit-seen-before"))
    before = await app.numbers()
    sent = {"u": f"{PAGE}/a", "v": ANN.visit_id} | body
    answer = await app.connection.request("POST", "/v1/sites/t1/hit", sent, ANN.headers | headers)
    assert (answer.status, answer.headers["x-visitstats"]) == (200, f"ignored; reason={reason}")
    assert "x-visitstats" in answer.headers["access-control-expose-headers"]
    assert {name: answer.json[name] for name in before} == before
    assert await app.numbers() == before
    await app.connection.hit("t1", Hit(ANN, "/next"))  # it takes the count along
    await app.ignored({reason: 1})


async def test_a_beacon_without_origin_is_the_sites_choice(app: Running) -> None:
    """Old browsers and server-side beacons send none; a site may refuse them."""
    body = {"u": f"{PAGE}/a"}
    allowed = await app.connection.request("POST", "/v1/sites/t1/hit", body, ANN.headers)
    assert (allowed.status, allowed.ignored) == (200, "")
    await app.put_site(missing_origin="refuse")
    refused = await app.connection.request("POST", "/v1/sites/t1/hit", body, BEN.headers)
    assert (refused.status, refused.ignored) == (200, "origin")
    assert (await app.numbers())["today"] == 1


async def test_requests_in_one_go_are_answered_in_order(app: Running) -> None:
    """HTTP pipelining: twenty hits sent at once get twenty answers, each with its own article."""
    connection = await Connection.open(app.ports[0])
    raw = b""
    for n in range(20):
        body = json.dumps({"u": f"{PAGE}/p{n}"}).encode()
        head = f"POST /v1/sites/t1/hit HTTP/1.1\r\nhost: x\r\nuser-agent: {ANN.agent}\r\n"
        head += f"content-length: {len(body)}\r\n\r\n"
        raw += head.encode() + body
    answers = [await connection.send(raw)] + [await connection.send(b"") for _ in range(19)]
    assert [answer.json["key"] for answer in answers] == [f"/p{n}" for n in range(20)]
    connection.close()


def _manifest() -> dict[str, str]:
    found: dict[str, str] = json.loads((files("visitstats.web") / "static" / "widget.json").read_text("utf-8"))
    return found
