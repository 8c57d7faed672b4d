"""Bad inputs and attacks, and the right answer to each: one table, whose ids are the rows' own words.

"Nothing counted" means that no number changed. Elsewhere are deadlines, limits of heads and of connections, request
smuggling and a thousand pipelined requests (rows 2 to 6: test_connections.py, test_connection_counts.py); rate limits
and tables that cannot be exhausted (20 to 22: test_limits.py); the hostile page (31: tests/browser); row 25 and the
administration's part of 26 to 29 (test_admin.py). What belongs to later work is left out: streams (33) and imports
(34).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import pytest

from tests.client import HOST, Answer, Connection, Hit, Visitor, crowd
from tests.web.inprocess import Running

ANN, BEN = crowd(2, "bad")
PAGE = f"https://{HOST}"
ROUTE = "/v1/sites/t1/hit"


@dataclass(frozen=True)
class Row:
    """What is sent to the hit's route, and what comes back."""

    number: int
    text: str
    body: bytes | dict[str, Any]
    status: int
    counted: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    """Beside a browser's."""
    key: str = ""
    """The key that the answer must have, if it matters."""


def url(tail: str) -> dict[str, Any]:
    return {"u": PAGE + tail}


GOOD = json.dumps(url("/a")).encode()
ROWS = [
    Row(1, "body over 8 KiB, by Content-Length", json.dumps(url("/a") | {"x": "y" * 8200}).encode(), 413),
    Row(1, "a body of exactly 8 KiB", GOOD + b" " * (8192 - len(GOOD)), 200, 1),
    Row(1, "a body of one byte more", GOOD + b" " * (8193 - len(GOOD)), 413),
    Row(8, "invalid UTF-8", b'{"u": "' + PAGE.encode() + b'/\xff"}', 400),
    Row(8, "invalid UTF-8 in a field that is ignored", b'{"u": "' + PAGE.encode() + b'/a", "x": "\xff"}', 400),
    Row(8, "overlong forms", b'{"u": "' + PAGE.encode() + b'/\xc0\xaf"}', 400),
    Row(8, "lone surrogates in JSON", b'{"u": "' + PAGE.encode() + b'/a", "t": "\\ud800"}', 400),
    Row(8, "half a pair the wrong way round", b'{"u": "' + PAGE.encode() + b'/a", "x": "\\udc00\\ud800"}', 400),
    Row(9, "JSON nested as deep as a body goes", b'{"u": "' + PAGE.encode() + b'/a", "x": ' + b"[" * 4000, 400),
    Row(9, "JSON nested, and closed", b'{"u":"' + PAGE.encode() + b'/a","x":' + b"[" * 3900 + b"]" * 3900 + b"}", 400),
    Row(9, "1e400", b'{"u": "' + PAGE.encode() + b'/a", "x": 1e400}', 400),
    Row(9, "NaN", b'{"u": "' + PAGE.encode() + b'/a", "x": NaN}', 400),
    Row(9, "8,000-digit integer", b'{"u": "' + PAGE.encode() + b'/a", "x": ' + b"9" * 8000 + b"}", 400),
    Row(9, "duplicate keys", b'{"u": "' + PAGE.encode() + b'/a", "u": "' + PAGE.encode() + b'/b"}', 400),
    Row(9, "__proto__ is an unknown field", b'{"u": "' + PAGE.encode() + b'/a", "__proto__": {"u": "x"}}', 200, 1),
    Row(9, "no object", b'["u"]', 400),
    Row(9, "nothing at all", b"", 400),
    Row(9, "a field of another type", b'{"u": 5}', 400),
    Row(9, "no address", b'{"k": "x"}', 400),
    Row(10, "compressed body", GOOD, 415, headers={"content-encoding": "gzip"}),
    Row(10, "compressed body, in a way nobody knows", GOOD, 415, headers={"content-encoding": "br, x"}),
    Row(11, "multipart body", GOOD, 415, headers={"content-type": "multipart/form-data; boundary=x"}),
    Row(11, "urlencoded body", b"u=x", 415, headers={"content-type": "application/x-www-form-urlencoded"}),
    Row(14, "path of 4,000 characters: a key of at most 512 bytes", url("/" + "x" * 4000), 200, 1),
    Row(14, "an address longer than any", url("/" + "x" * 7000), 400),
    Row(14, "control characters", url("/a\x00b"), 200, 1),
    Row(14, "zero-width characters in a key", url("/a") | {"k": "tin\u200b-1\u2060"}, 200, 1, key="tin-1"),
    Row(14, "right-to-left characters in a key", url("/a") | {"k": "\u202etin-2"}, 200, 1, key="tin-2"),
    Row(14, "a key of more than 512 bytes", url("/a") | {"k": "k" * 513}, 400),
    Row(15, "title <img onerror=…>", url("/a") | {"t": '<img src=x onerror="alert(1)">'}, 200, 1),
    Row(15, 'title "></script>', url("/a") | {"t": '"></script><script>'}, 200, 1),
    Row(16, "javascript: referrer", url("/a") | {"r": "javascript:alert(1)"}, 200, 1),
    Row(16, "referrer with credentials", url("/a") | {"r": "https://u:p@spam.example/x"}, 200, 1),
    Row(16, "credentials in a URL", {"u": f"https://user:secret@{HOST}/a"}, 200, 1, key="/a"),
    Row(16, "a URL that is a script", {"u": "javascript:alert(1)"}, 400),
    Row(17, "user agent of 100 KB", url("/a"), 200, 1, {"user-agent": ANN.agent + " x" * 25_000}),
    Row(17, "user agent that is empty", url("/a"), 200, 0, {"user-agent": ""}),
    Row(17, "user agent built to slow a regex", url("/a"), 200, 1, {"user-agent": "Mozilla/5.0 " + "a" * 30_000 + "!"}),
    Row(19, "client-supplied ip, timestamp, count, uniques",
        url("/a") | {"ip": "9.9.9.9", "ts": 1, "count": 1000, "uniques": 77, "views": 5, "total": 9}, 200, 1),
    Row(24, "a page of another host", {"u": "https://elsewhere.example/a"}, 200, 0),
    Row(24, "a page of a host that only ends like ours", {"u": f"https://evil-{HOST}/a"}, 200, 0),
    Row(24, "Origin: null", url("/a"), 200, 0, {"origin": "null"}),
    Row(24, "an Origin of another host", url("/a"), 200, 0, {"origin": "https://elsewhere.example"}),
    Row(24, "no Origin, which this site allows", url("/a"), 200, 1),
]  # fmt: skip


async def send(app: Running, row: Row) -> Answer:
    return await app.connection.request("POST", ROUTE, row.body, ANN.headers | row.headers)


@pytest.mark.parametrize("row", ROWS, ids=[f"{row.number}: {row.text}" for row in ROWS])
async def test_row(app: Running, row: Row) -> None:
    """The answer is as said, and counted is only what may be; the connection and the service go on."""
    before = await app.numbers()
    if row.status == 413:
        connection = await Connection.open(app.ports[0])
        answer = await connection.request("POST", ROUTE, row.body, ANN.headers | row.headers)
        assert await connection.ended()
        connection.close()
    else:
        answer = await send(app, row)
    assert answer.status == row.status, answer
    assert (answer.ignored == "") == (row.counted == 1), answer
    if row.status >= 400:
        assert set(answer.json) == {"error", "detail"}
        assert answer.json["error"] == answer.ignored
    if row.counted:
        assert len(answer.json["key"].encode()) <= 512
        assert answer.json["key"].isprintable()
    assert not row.key or answer.json["key"] == row.key
    after = await app.numbers()
    assert after["total"] - before["total"] == row.counted
    good = await app.connection.hit("t1", Hit(BEN, "/good"))
    assert (good.status, good.json["total"]) == (200, after["total"] + 1)


async def test_a_user_agent_with_ansi_escapes(app: Running) -> None:
    """17: control characters are no part of a header: refused by the parser, nothing is logged or counted of it."""
    connection = await Connection.open(app.ports[0])
    answer = await connection.request("POST", ROUTE, url("/a"), {"user-agent": ANN.agent + " \x1b[31m"})
    assert answer.status == 400
    assert b"\x1b" not in answer.body
    assert await connection.ended()
    connection.close()
    assert (await app.numbers())["total"] == 0


async def test_a_chunked_body_over_8_kib(app: Running) -> None:
    """1: 413, and reading stops at the limit: the connection is closed, however much there is still to come."""
    connection = await Connection.open(app.ports[0])
    head = f"POST {ROUTE} HTTP/1.1\r\nhost: x\r\nuser-agent: {ANN.agent}\r\ntransfer-encoding: chunked\r\n\r\n"
    chunk = b"400\r\n" + b" " * 1024 + b"\r\n"
    answer = await connection.send(head.encode() + chunk * 80)
    assert answer.status == 413
    assert await connection.ended()
    connection.close()
    assert (await app.numbers())["total"] == 0


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("http://evil.example/v1/sites/t1/stats", 200),  # absolute form: its path is ours
        ("http://elsewhere.example/v1/sites/t1/stats", 400),  # and another host than the one in Host
        ("http://evil.example@elsewhere.example/v1/sites/t1/stats", 400),
        ("/v1/sites/t1/stats#x", 400),
        ("/@evil.example", 404),
        ("//v1/sites/t1/stats", 404),
        ("//evil.example/", 404),
        ("/v1/sites/%2e%2e/stats", 404),
        ("/v1/sites/../stats", 404),
        ("/v1/sites/t1%2fstats", 404),
        ("/v1/sites/t1/%73tats", 404),
        ("/v1/sites/t1;x=1/stats", 404),
        ("/v1/sites/t1/stats;x=1", 404),
        ("/v1/sites/t1%00/stats", 404),
        ("/healthz/", 404),
        ("/widget.js/", 404),
    ],
)
async def test_a_path_that_wants_to_be_another(app: Running, path: str, status: int) -> None:
    """7: routed as it came; no redirect, and nothing is built from Host."""
    connection = await Connection.open(app.ports[0])
    answer = await connection.request("GET", path, headers={"host": "evil.example"})
    assert answer.status == status, answer
    assert "location" not in answer.headers
    assert b"evil" not in answer.body
    connection.close()


@pytest.mark.parametrize("host", ["evil/admin?x=", "a b", "a, b", "user@evil", "[::1", "a:b", "a\\b"])
async def test_a_host_that_is_none(app: Running, host: str) -> None:
    """7: refused, because another program could read something else in it (RFC 9112, 3.2)."""
    connection = await Connection.open(app.ports[0])
    assert (await connection.request("GET", "/v1/sites/t1/stats", headers={"host": host})).status == 400
    assert await connection.ended()
    connection.close()


@pytest.mark.parametrize(
    "site",
    ["nosuch", "T1", "t1 ", "{t1}", "*", "t1:who", "a" * 10_000, "-", "%0d%0aset-cookie:x", "t1%0a", "🐈", "vs:sites"],
)
async def test_a_site_id_that_is_unknown_or_malformed(app: Running, site: str) -> None:
    """12: 404, and nothing is made of it: no key, no label, no line of the log."""
    assert app.app.worker is not None
    client = app.app.worker.records._client
    known = set(await client.keys())
    text = quote(site, safe="{}*:%-")
    for method, action in (
        ("POST", "hit"),
        ("POST", "alive"),
        ("GET", "stats"),
        ("GET", "hit.gif?u=x"),
        ("GET", "views?key=a"),
    ):
        body = GOOD if method == "POST" else None
        answer = await app.connection.request(method, f"/v1/sites/{text}/{action}", body, ANN.headers)
        assert answer.status == 404, (action, answer)
        assert "set-cookie" not in answer.headers
    assert set(await client.keys()) <= known
    metrics = (await app.connection.request("GET", "/metrics")).body.decode()
    assert site not in metrics.replace('site="t1"', "") or site in ("-", "*", "t1 ")


async def test_millions_of_random_paths(app: Running) -> None:
    """13: beyond the site's cap an article is counted as "(other)"; those that are known go on, the site is exact."""
    await app.put_site(max_articles=5, views="every-load")
    for n in range(12):
        answer = await app.connection.hit("t1", Hit(ANN, f"/random/{n}"))
        assert answer.json["key"] == (f"/random/{n}" if n < 5 else "(other)")
    again = await app.connection.hit("t1", Hit(ANN, "/random/2"))
    assert (again.json["key"], again.json["views"]) == ("/random/2", 2)
    assert await app.connection.views("t1", ["/random/4", "/random/5", "(other)"]) == {
        "/random/4": 1, "/random/5": 0, "(other)": 7,
    }  # fmt: skip
    assert (await app.numbers())["total"] == 1


@pytest.mark.parametrize(
    "text", ['<img src=x onerror="alert(1)">', '"></script><script>', "javascript:alert(1)", "{constructor}", "=1+1"]
)
async def test_markup_from_strangers_is_text(app: Running, text: str) -> None:
    """15: stored as text and answered as text, in JSON that no browser takes for a page."""
    body = url("/a") | {"t": text, "m": {"author": text, "category": text}, "k": text}
    answer = await app.connection.request("POST", ROUTE, body, ANN.headers)
    assert answer.json["key"] == text
    headers = {"authorization": await app.token("admin")}
    listed = await app.connection.request("GET", "/v1/admin/sites/t1/articles", headers=headers)
    [row] = listed.json["articles"]
    assert (row["key"], row["title"], row["author"], row["category"]) == (text, text, text, text)
    assert listed.headers["content-type"] == "application/json"
    assert listed.headers["x-content-type-options"] == "nosniff"


async def test_of_a_referrer_only_the_host_may_be_kept(app: Running) -> None:
    """16: no path, query or credentials of a referrer are written anywhere."""
    body = url("/a") | {"r": "https://user:geheim@spam.example/private/path?token=secret"}
    await app.connection.request("POST", ROUTE, body, ANN.headers)
    assert app.app.worker is not None
    journal = b"".join(path.read_bytes() for path in app.app.worker.settings.data_dir.rglob("*") if path.is_file())
    for word in (b"geheim", b"private", b"secret", ANN.address.encode(), ANN.agent.encode(), ANN.visit_id.encode()):
        assert word not in journal, word


@pytest.mark.parametrize(
    ("forwarded", "same_as"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("198.51.100.7, 203.0.113.9", "203.0.113.9"),  # the nearest proxy wrote the last one
        ("<script>, 203.0.113.9", "203.0.113.9"),
        ("203.0.113.9, 127.0.0.1", "203.0.113.9"),  # a trusted proxy before the trusted proxy
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("2001:DB8:0:0::9", "2001:db8::9"),
        (", ".join(["9.9.9.9"] * 99 + ["203.0.113.9"]), "203.0.113.9"),
        ("<script>", ""),
        ("fe80::9%eth0", ""),
        ("203.0.113.9:4711", "203.0.113.9"),  # as IIS and Azure write it
        ("203.0.113.9:port", ""),
        ("1" * 5000, ""),
        ("0x7f.1", ""),
    ],
)
async def test_forwarded_addresses_are_parsed_strictly(app: Running, forwarded: str, same_as: str) -> None:
    """18: what the trusted proxy says, or else the peer itself; never what a client wrote in front of it."""
    plain = {"x-forwarded-for": same_as} if same_as else {}
    agent = {"user-agent": ANN.agent}
    for headers in (plain, {"x-forwarded-for": forwarded}):
        await app.connection.request("POST", ROUTE, url("/a"), agent | headers)
    assert (await app.numbers())["total"] == 1


async def test_the_same_beacon_again(app: Running) -> None:
    """23: it gets the numbers, and is not counted; not even from another address or for another article."""
    first = Hit(ANN, "/a", "the-same-hit-id")
    assert (await app.connection.hit("t1", first)).json["views"] == 1
    for visitor, article in ((ANN, "/a"), (Visitor("198.51.100.9", BEN.agent, "other-visit-1"), "/b")):
        answer = await app.connection.hit("t1", Hit(visitor, article, "the-same-hit-id"))
        assert (answer.status, answer.ignored, answer.json["total"]) == (200, "duplicate", 1)
    assert await app.connection.views("t1", ["/a", "/b"]) == {"/a": 1, "/b": 0}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"keys": "x"}',
        b'{"keys": [1]}',
        b'{"keys": ["\\ud800"]}',
        b'{"keys": ["\xff"]}',
        b"NaN",
        b"[" * 50_000,
    ],
)
async def test_a_list_of_keys_that_is_none(app: Running, body: bytes) -> None:
    """26: 400, whatever it is."""
    answer = await app.connection.request("POST", "/v1/sites/t1/views", body)
    assert answer.status == 400, answer
    assert set(answer.json) == {"error", "detail"}


async def test_a_callback_is_ignored(app: Running) -> None:
    """30: no JSONP; the root is an object, and no page may include it as a script by guessing its type."""
    plain = await app.connection.request("GET", "/v1/sites/t1/stats")
    answer = await app.connection.request("GET", "/v1/sites/t1/stats?callback=steal&jsonp=x")
    assert answer.body == plain.body
    for path in ("/v1/sites/t1/stats", "/v1/sites/t1/views?key=a", "/v1/sites/nosuch/stats", "/openapi.json"):
        answer = await app.connection.request("GET", path)
        assert isinstance(answer.json, dict)
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cross-origin-resource-policy"] == "cross-origin"


async def test_range_bombs_and_poison_for_caches(app: Running) -> None:
    """32: Range, Host, X-Forwarded-Host and unknown parameters change nothing about the widget."""
    plain = await app.connection.request("GET", "/widget.js")
    for path, headers in (
        ("/widget.js", {"range": "bytes=" + ",".join(f"{n}-{n}" for n in range(1000))}),
        ("/widget.js?v=<script>", {"host": "evil.example"}),
        ("/widget.js?" + "x" * 4000, {"x-forwarded-host": "evil.example", "x-original-url": "/admin"}),
    ):
        answer = await app.connection.request("GET", path, headers=headers)
        assert (answer.status, answer.body) == (200, plain.body)
        assert "content-range" not in answer.headers
