"""React and Vue: rendered on a server, and at work in a real browser with the real widget."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import ConsoleMessage, Page, expect

from tests.browser.conftest import browser, context  # noqa: F401 # fixtures
from tests.browser.portal import Portal
from tests.integrations.node import bundle, needs_node, node
from tests.integrations.snippets import ASKED, NASTY, assert_same, read, site_embed

FRAMEWORKS = ("react", "vue")
COUNTER = {"api": "/vs", "site": "demo"}
pytestmark = needs_node


def rendered(*cases: tuple[str, str, dict[str, Any]]) -> list[dict[str, str]]:
    names = ("framework", "component", "props")
    found: list[dict[str, str]] = node("server.mjs", [dict(zip(names, case, strict=True)) for case in cases])
    return found


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_server_prints_what_the_command_prints(framework: str) -> None:
    """A page that has no key of its own is counted by its address, also when that changes without loading."""
    printed = [read(site_embed(*asked)) for asked in ASKED.values()]
    cases = []
    for each in printed:
        options = {name: value for name, value in each.attributes.items() if name not in ("api", "site")}
        cases.append((framework, "Visitstats", {"api": "/vs/", "site": "portal", "options": options}))
    for made, each in zip(rendered(*cases), printed, strict=True):
        assert_same(read(made["html"]), each, more={"navigation": "auto"})


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_server_says_key_author_category_and_date(framework: str) -> None:
    article = {"articleKey": NASTY, "author": NASTY, "category": NASTY, "published": "2022-07-22"}
    made, item, own = rendered(
        (framework, "Visitstats", {**COUNTER, **article}),
        (framework, "Views", {"of": f"/a?b=1&c={NASTY}"}),
        (framework, "Views", {}),
    )
    found = read(made["head"] + made["html"])
    assert found.attributes == {"api": "/vs", "site": "demo", "key": NASTY}
    assert found.metas == {"author": NASTY, "article:section": NASTY, "article:published_time": "2022-07-22"}
    assert read(item["html"]).places == [{"data-vs-views": f"/a?b=1&c={NASTY}"}]
    assert read(own["html"]).places == [{"data-vs": "views"}]


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_what_would_be_code_is_refused(framework: str) -> None:
    code = (
        {"api": "/vs');alert(1)//"},
        {"api": "javascript:alert(1)"},
        {"site": '"><b>'},
        {"options": {'x" onload="y': ""}},
    )
    for made in rendered(*((framework, "Visitstats", {**COUNTER, **each}) for each in code)):
        assert "visitstats: " in made["error"]


# ---- In the browser --------------------------------------------------------------------------------------------


@pytest.fixture
def portal() -> Iterator[Portal]:
    portal = Portal()
    code = bundle("browser.mjs", "browser").read_text(encoding="utf-8")
    portal.page("/app.js", code, {"content-type": "text/javascript; charset=utf-8"})
    yield portal
    portal.close()


@pytest.fixture
def page(context: Any) -> Iterator[Page]:  # noqa: F811 # a fixture
    """A page in which nothing is thrown, and of which no framework complains."""
    page = context.new_page()
    complaints: list[str] = []

    def heard(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            complaints.append(f"{message.text} {message.location}")

    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", heard)
    yield page
    assert complaints == []


def put(portal: Portal, *, html: str = "", head: str = "") -> None:
    for path in ("/a", "/b", "/about"):
        portal.page(
            path,
            '<!DOCTYPE html><html lang="vi"><head><meta charset="utf-8"><link rel="icon" href="data:,">'
            f'<title>Tin</title>{head}</head><body><div id="app">{html}</div>'
            f"<script>var counter={json.dumps(COUNTER)}</script>"
            '<script src="/app.js"></script></body></html>',
        )


@pytest.mark.browser
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_each_article_of_an_application_counts_once(framework: str, portal: Portal, page: Page) -> None:
    """With its own key and author, from one article to the next, to a page without a key, and back."""
    put(portal)
    page.goto(f"{portal.origin}/a?{framework}")
    ways = [("news:1", "/a", "An"), ("news:2", "/b", "Bình"), ("", "/about", None), ("news:1", "/a", "An")]
    for number, (key, path, author) in enumerate(ways, start=1):
        if number > 1:
            page.evaluate(f"go('{path}')")
        hit = portal.wait_for(number)[number - 1].fields
        assert (hit["k"], hit["u"], hit["m"].get("author")) == (key, f"{portal.origin}{path}?{framework}", author)
        expect(page.locator("[data-vs-box]")).to_have_count(1)
        expect(page.locator("[data-vs-box] [data-vs=total]")).to_have_text("1.234.567")
        expect(page.locator("[data-vs=views]")).to_have_text("822")
        expect(page.locator("[data-vs-views]")).to_have_text(str(len(path + "?list")))
    assert len(portal.hits) == len(ways)


@pytest.mark.browser
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_page_that_a_server_rendered_counts_once(framework: str, portal: Portal, page: Page) -> None:
    """The application takes the page over: it neither counts again nor takes the box away, and does not complain."""
    (made,) = rendered((framework, "portal", COUNTER))
    put(portal, **made)
    loaded: list[str] = []
    page.on("request", lambda request: loaded.append(request.url))
    page.goto(f"{portal.origin}/a?{framework}")
    assert portal.wait_for(1)[0].fields["k"] == "news:1"
    expect(page.locator("[data-vs-box] [data-vs=total]")).to_have_text("1.234.567")
    page.evaluate("go('/b')")
    assert portal.wait_for(2)[1].fields["k"] == "news:2"
    expect(page.locator("[data-vs-box] [data-vs=total]")).to_have_text("1.234.567")
    assert len(portal.hits) == 2
    assert loaded.count(f"{portal.origin}/vs/widget.js") == 1, "started by the server's page, and not again"
