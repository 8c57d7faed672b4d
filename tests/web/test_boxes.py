"""The box without a script, on the real service: a page for a frame, a picture, a badge, themes. None counts."""

from __future__ import annotations

import gzip
import re
from urllib.parse import quote

import pytest

from tests.client import Hit, crowd
from tests.web.inprocess import Running

ANN, BEN = crowd(2, "boxes")
PATHS = [
    "box",
    "box.svg",
    "badge.json",
    "box?preset=classic-long",
    "box.svg?preset=badge&lang=en",
    "badge.json?line=today",
]


def values(page: bytes) -> list[str]:
    return re.findall(r'class="vs-value">([^<]*)<', page.decode())


async def test_each_shows_the_numbers_of_the_moment(app: Running) -> None:
    for visitor in (ANN, BEN):
        await app.connection.hit("t1", Hit(visitor, "/a"))
    app.clock.advance(1.001)
    frame = await app.connection.request("GET", "/v1/sites/t1/box?preset=classic")
    assert values(frame.body) == ["2", "2", "0", "2", "2", "2"]
    picture = await app.connection.request("GET", "/v1/sites/t1/box.svg?title=&lines=today")
    assert "<title>Hôm nay: 2</title>" in picture.body.decode()
    badge = await app.connection.request("GET", "/v1/sites/t1/badge.json")
    assert badge.json == {
        "schemaVersion": 1, "label": "Lượt truy cập", "message": "2", "color": "0a4f9e", "cacheSeconds": 300
    }  # fmt: skip
    badge = await app.connection.request(
        "GET", "/v1/sites/t1/badge.json?line=online&labels=Online&theme=vs-badge%20vs-red"
    )
    assert (badge.json["label"], badge.json["message"], badge.json["color"]) == ("Online", "2", "a5121c")


@pytest.mark.parametrize("path", PATHS)
async def test_asking_counts_nothing_and_may_be_kept_by_a_cache(app: Running, path: str) -> None:
    """A frame on every page of a portal is one answer a minute from a shared cache; an unchanged one is 304."""
    await app.connection.hit("t1", Hit(ANN, "/a"))
    before = await app.numbers()
    answer = await app.connection.request("GET", f"/v1/sites/t1/{path}", headers=BEN.headers)
    assert answer.status == 200
    assert answer.headers["cache-control"] == "public, max-age=60"
    assert (answer.headers["x-content-type-options"], answer.headers["access-control-allow-origin"]) == ("nosniff", "*")
    assert "set-cookie" not in answer.headers
    asked = {**BEN.headers, "if-none-match": answer.headers["etag"]}
    again = await app.connection.request("GET", f"/v1/sites/t1/{path}", headers=asked)
    assert (again.status, again.body) == (304, b"")
    head = await app.connection.request("HEAD", f"/v1/sites/t1/{path}")
    assert (head.status, head.headers["etag"]) == (200, answer.headers["etag"])
    assert await app.numbers() == before
    await app.ignored({})
    await app.connection.hit("t1", Hit(BEN, "/a"))
    changed = await app.connection.request("GET", f"/v1/sites/t1/{path}", headers=asked)
    assert changed.status == 200


async def test_any_page_may_frame_the_box_and_nothing_else_is_let_in(app: Running) -> None:
    frame = await app.connection.request("GET", "/v1/sites/t1/box")
    assert frame.headers["content-security-policy"] == (
        "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors *"
    )
    assert "x-frame-options" not in frame.headers
    assert frame.headers["content-type"] == "text/html; charset=utf-8"
    text = frame.body.decode()
    assert '<html lang="vi">' in text
    assert "<script" not in text
    # Relative: the service is under whatever prefix a proxy gives it.
    assert re.findall(r'href="([^"]*)"', text) == ["../../../widget/themes/frame.css", "../../../widget/themes/box.css"]
    picture = await app.connection.request("GET", "/v1/sites/t1/box.svg")
    assert picture.headers["content-type"] == "image/svg+xml"
    assert picture.headers["content-security-policy"] == "default-src 'none'; frame-ancestors *"


async def test_what_a_stranger_puts_into_the_address_is_text(app: Running) -> None:
    """The address of a frame is written by anybody: nothing of it becomes markup."""
    evil = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"
    for path in ("box", "box.svg", "badge.json?line=online&"):
        joint = "" if path.endswith("&") else "?"
        query = f"title={quote(evil)}&labels={quote(evil)}&lines=online"
        answer = await app.connection.request("GET", f"/v1/sites/t1/{path}{joint}{query}")
        assert answer.status == 200
        if "json" not in path:
            assert b"<script" not in answer.body
            assert b"<img" not in answer.body
            assert b"&lt;script&gt;" in answer.body


@pytest.mark.parametrize(
    "query",
    ["preset=x", "lines=nix", "theme=evil", "format=%22", "structure=div", "lang=%3Cb%3E", "theme=vs-card%20vs-portal"],
)
@pytest.mark.parametrize("path", ["box", "box.svg"])
async def test_a_box_that_does_not_exist_is_named(app: Running, path: str, query: str) -> None:
    answer = await app.connection.request("GET", f"/v1/sites/t1/{path}?{query}")
    assert (answer.status, answer.json["error"]) == (400, "bad-query")
    assert "there " in answer.json["detail"] or "language" in answer.json["detail"]
    assert answer.headers["cache-control"] == "no-store"


async def test_other_mistakes_have_an_answer(app: Running) -> None:
    for path, status, error in (
        ("/v1/sites/t1/box.svg?width=x", 400, "bad-query"),
        ("/v1/sites/t1/badge.json?line=x", 400, "bad-query"),
        ("/v1/sites/nosuch/box", 404, "no-such-site"),
        ("/widget/themes/nix.css", 404, "not-found"),
        ("/widget/themes/..%2fwidget.json", 404, "not-found"),
        ("/widget/themes/box.css.map", 404, "not-found"),
    ):
        answer = await app.connection.request("GET", path)
        assert (answer.status, answer.json["error"]) == (status, error), path
    wide = await app.connection.request("GET", "/v1/sites/t1/box.svg?width=9999")
    assert b'width="480"' in wide.body


async def test_a_line_of_search_engines_stands_where_the_site_shows_it(app: Running) -> None:
    hidden = await app.connection.request("GET", "/v1/sites/t1/box?preset=nukeviet")
    assert "Máy chủ tìm kiếm" not in hidden.body.decode()
    await app.put_site(show_search_engines=True)
    app.clock.advance(1.001)
    shown = await app.connection.request("GET", "/v1/sites/t1/box?preset=nukeviet")
    assert "Máy chủ tìm kiếm" in shown.body.decode()


async def test_old_numbers_say_of_when_they_are(app: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the store is away a box shows the last good numbers with their time; caches ask again soon."""
    await app.connection.hit("t1", Hit(ANN, "/a"))
    worker = app.app.worker
    assert worker is not None

    async def away(live: object) -> object:
        return worker.stats.last(live)  # type: ignore[arg-type]

    monkeypatch.setattr(worker.stats, "current", away)
    app.clock.advance(3600)
    frame = await app.connection.request("GET", "/v1/sites/t1/box")
    assert 'data-vs-state="stale"' in frame.body.decode()
    assert '<small class="vs-note">cập nhật lúc 12:00</small>' in frame.body.decode()
    assert values(frame.body) == ["1", "1", "1", "1"]
    assert frame.headers["cache-control"] == "public, max-age=5"
    app.clock.advance(24 * 3600)
    english = await app.connection.request("GET", "/v1/sites/t1/box?lang=en")
    assert "updated at 12:00, 16/05<" in english.body.decode()


async def test_the_themes_are_small_and_may_be_used_from_any_page(app: Running) -> None:
    """A strict `style-src` with our origin is enough, and every look together is 3 kB."""
    answer = await app.connection.request("GET", "/widget/themes/box.css", headers={"accept-encoding": "gzip"})
    assert (answer.status, answer.headers["content-type"]) == (200, "text/css; charset=utf-8")
    assert answer.headers["content-encoding"] == "gzip"
    assert len(answer.body) <= 3000
    assert answer.headers["cache-control"] == "public, max-age=3600"
    assert answer.headers["cross-origin-resource-policy"] == "cross-origin"
    plain = await app.connection.request("GET", "/widget/themes/box.css")
    assert gzip.decompress(answer.body) == plain.body
    assert b"/*" not in plain.body
    again = await app.connection.request(
        "GET", "/widget/themes/box.css", headers={"if-none-match": plain.headers["etag"]}
    )
    assert (again.status, again.body) == (304, b"")
