"""A site's settings by the API: its record, its box and snippet, and what rules make of addresses."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.client import HOST, Hit, crowd
from tests.web.inprocess import Running
from visitstats.core.box_markup import attributes_of
from visitstats.core.boxes import asked_box
from visitstats.core.sites import Site

ANN, BEN = crowd(2, "settings")
T1 = "/v1/admin/sites/t1"


class Asking:
    """Asks with a token of each scope."""

    def __init__(self, app: Running) -> None:
        self._app = app
        self._tokens: dict[str, str] = {}

    async def __call__(self, method: str, path: str, body: Any = None, scope: str = "admin") -> Any:
        if scope not in self._tokens:
            self._tokens[scope] = await self._app.token(scope, "t1")
        content = b"" if body is None else msgspec.json.encode(body)
        headers = {"authorization": self._tokens[scope]}
        return await self._app.connection.request(method, f"{T1}/{path}", content, headers=headers)


@pytest.fixture
def ask(app: Running) -> Asking:
    return Asking(app)


async def test_the_record_is_shown_whole_but_for_its_secrets(app: Running, ask: Asking) -> None:
    await app.put_site(signing_secrets=["s" * 32], signatures="prefer")
    found = (await ask("GET", "settings", scope="editor")).json
    fields = {field.name for field in msgspec.structs.fields(Site)}
    assert found.keys() == fields - {"id", "signing_secrets"} | {"site", "secrets"}
    assert (found["site"], found["secrets"], found["signatures"], found["hosts"]) == ("t1", 1, "prefer", [HOST])
    assert "ssss" not in str(found)


async def test_fields_are_changed_and_the_others_stay(app: Running, ask: Asking) -> None:
    """In the spelling of a record; the service counts by them at once; counts and secrets stay."""
    await app.put_site(signing_secrets=["s" * 32])
    await app.connection.hit("t1", Hit(ANN, "/a"))
    order = {
        "name": "Xã Bắc Hà", "hosts": [f"https://{HOST.upper()}/tin", "khac.example.vn"],
        "excluded_networks": ["198.51.100.0/24", "198.51.100.0/24"], "excluded_paths": ["/noi-bo/*"],
    }  # fmt: skip
    answer = await ask("POST", "settings", order)
    assert answer.status == 200, answer
    assert answer.json["hosts"] == [HOST, "khac.example.vn"]
    assert answer.json["excluded_networks"] == ["198.51.100.0/24"]
    assert (answer.json["name"], answer.json["secrets"], answer.json["timezone"]) == (
        "Xã Bắc Hà", 1, "Asia/Ho_Chi_Minh",
    )  # fmt: skip
    refused = await app.connection.hit("t1", Hit(BEN, "/noi-bo/a"))
    assert "excluded" in refused.headers["x-visitstats"]
    assert (await app.connection.hit("t1", Hit(BEN, "/a"))).json["total"] == 2


async def test_a_change_is_in_the_log_with_what_was_there_before(app: Running, ask: Asking) -> None:
    """Who, when and what; it cannot be undone there, and says so."""
    await app.put_site(name="Xã")
    assert (await ask("POST", "settings", {"name": "Xã mới", "archived": True})).status == 200
    assert (await ask("POST", "settings", {"week_start": 0})).status == 400
    [change] = (await ask("GET", "audit", scope="editor")).json["changes"]
    assert (change["kind"], change["meant_for"], change["facts"]) == ("settings", None, [])
    assert change["who"]
    assert change["settings"] == [
        {"setting": "name", "before": "Xã", "after": "Xã mới"}, {"setting": "archived", "before": "no", "after": "yes"},
    ]  # fmt: skip
    assert (await ask("GET", "audit?kind=settings")).json["changes"] == [change]
    refused = await ask("POST", "undo", {"change": change["id"]})
    assert (refused.status, refused.json["error"]) == (409, "change-refused")
    assert (await ask("GET", "settings")).json["name"] == "Xã mới"


async def test_what_a_record_cannot_hold_changes_nothing(app: Running, ask: Asking) -> None:
    await app.put_site(name="Xã")
    before = (await ask("GET", "settings")).json
    for order, said in (
        ({"hosts": []}, "at least one host"),
        ({"hosts": ["a b"]}, "host"),
        ({"timezone": "Asia/Hanoi"}, "Asia/Ho_Chi_Minh"),
        ({"excluded_networks": ["10.1.2.3/16"]}, "10.1.0.0/16"),
        ({"rules": [["(", "x"]]}, "rule"),
        ({"preset": ["nonsense"]}, "no preset"),
        ({"week_start": 0}, "week_start"),
        ({"signatures": "require"}, "secret"),
        ({"max_articles": 2**40}, "max_articles"),
    ):
        answer = await ask("POST", "settings", {"name": "Khác"} | order)
        assert (answer.status, answer.json["error"]) == (400, "invalid-site"), order
        assert said in answer.json["detail"], answer.json
    misspelt: tuple[Any, ...] = ({"id": "t2"}, {"signing_secrets": ["x" * 32]}, {"name": 7}, {"nonsense": 1}, [])
    for wrong in misspelt:
        answer = await ask("POST", "settings", wrong)
        assert (answer.status, answer.json["error"]) == (400, "bad-request"), wrong
    assert (await ask("GET", "settings")).json == before


async def test_only_admins_change_and_only_editors_look(app: Running, ask: Asking) -> None:
    for scope, expected in (("viewer", (403, 403)), ("editor", (200, 403)), ("admin", (200, 200))):
        looked = await ask("GET", "settings", scope=scope)
        changed = await ask("POST", "settings", {"name": "x"}, scope=scope)
        assert (looked.status, changed.status) == expected, scope


async def test_a_box_is_told_as_the_widget_is_told_by_the_snippet(app: Running, ask: Asking) -> None:
    """With the site's numbers, and what it could show besides."""
    await app.connection.hit("t1", Hit(ANN, "/a"))
    found = (await ask("GET", "embed?api=/vs&lines=today,%7Ctotal&labels=Nay%7C&theme=contrast")).json
    box = asked_box({"lines": "today,|total", "labels": "Nay|", "theme": "contrast"})
    for name, value in attributes_of(box).items():
        assert f'data-{name}="{value}"' in found["snippet"]
    assert 'data-api="/vs"' in found["snippet"]
    assert [(line["name"], line["label"], line["gap"], line["value"]) for line in found["lines"]] == [
        ("today", "Nay", False, "1"), ("total", "Tất cả", True, "1"),
    ]  # fmt: skip
    assert "week" in found["more"]
    assert "today" not in found["more"]
    for wrong in ("lines=nonsense", "api=javascript:alert(1)", "api=%22onload=", "preset=none", "short=2"):
        answer = await ask("GET", f"embed?{wrong}")
        assert (answer.status, answer.json["error"]) == (400, "bad-query"), wrong
    short = (await ask("GET", "embed?api=/vs&short=1")).json["snippet"]
    assert "function" not in short
    assert 'src="/vs/widget.js"' in short


async def test_addresses_are_tried_by_these_and_by_other_rules(app: Running, ask: Asking) -> None:
    """Nothing is changed by trying. What other rules would do is told of the articles that there are."""
    for visitor, article in ((ANN, "/a?x=1"), (ANN, "/a?x=2"), (BEN, "/b")):
        await app.connection.hit("t1", Hit(visitor, article))
    urls = [f"https://{HOST}/a?x=1&fbclid=z", f"https://{HOST}/b", "https://khac.vn/a", "nonsense"]
    found = (await ask("POST", "keys", {"urls": urls}, scope="editor")).json
    assert [row["key"] for row in found["addresses"]] == ["/a?x=1", "/b", None, None]
    assert [row["views"] for row in found["addresses"]] == [1, 1, None, None]
    assert found["addresses"][2]["refused"]["reason"] == "host"
    assert found["sample"] is None
    other = (await ask("POST", "keys", {"urls": urls[:1], "settings": {"extra_drop_params": ["x"]}})).json
    assert [row["key"] for row in other["addresses"]] == ["/a"]
    assert other["sample"] == {"tried": 3, "changed": 2, "joined": 1}
    again = (await ask("POST", "keys", {"urls": urls[:1]})).json
    assert again["addresses"][0]["key"] == "/a?x=1"
    for wrong in ({"urls": ["x"] * 51}, {"urls": ["x" * 2049]}, {"urls": "x"}, {}):
        answer = await ask("POST", "keys", wrong)
        assert (answer.status, answer.json["error"]) == (400, "bad-request"), wrong
    refused = await ask("POST", "keys", {"urls": [], "settings": {"rules": [["(", "x"]]}})
    assert (refused.status, refused.json["error"]) == (400, "invalid-site")
