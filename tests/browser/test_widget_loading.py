"""The widget knows itself, whatever stands beside it and however it was loaded; and it holds up nothing."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping
from html import escape

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.portal import NUMBERS, WIDGET, Answer, Portal, article, short_form
from tests.waiting import wait_until
from visitstats.web.snippet import long_form

pytestmark = pytest.mark.browser

SNIPPET = short_form("demo", service="/vs")
VENDOR = "window.vendor = (window.vendor || 0) + 1;"
VIEWS = '<p>Lượt xem: <b data-vs="views">—</b></p>'
NO_CURRENT_SCRIPT = "delete Document.prototype.currentScript;"


@pytest.fixture
def stranger() -> Iterator[Portal]:
    """A host of another company: nothing may ever be sent there."""
    stranger = Portal()
    yield stranger
    stranger.close()


def page_of(body: str, head: str = "") -> str:
    return f'<!DOCTYPE html><html><head><meta charset="utf-8">{head}</head><body>{body}</body></html>'


def today(page: Page, text: str = "1.524") -> None:
    expect(page.locator("[data-vs=today]").first).to_have_text(text)


def said(page: Page) -> list[str]:
    """What the widget says in the console."""
    lines: list[str] = []
    page.on("console", lambda message: lines.append(message.text) if message.text.startswith("visitstats") else None)
    return lines


# It knows itself ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["current script", "no current script"])
@pytest.mark.parametrize(
    "foreign",
    [
        '<script {} src="{}/vendor/widget.js" data-site="khach-hang-77"></script>',
        '<script {} src="{}/v2/widget.js?site=khach-hang-77"></script>',
        '<script {} src="{}/widget/1.0/abc.js" data-site="portal" data-key="x"></script>',
        '<script {} src="{}/chat.js" data-site="demo" data-api="https://chat.invalid" data-lang="en"></script>',
    ],
)
@pytest.mark.parametrize("order", ["before", "after"])
@pytest.mark.parametrize("loading", ["", "async"])
def test_a_script_of_another_vendor_is_never_taken_for_it(
    page: Page, portal: Portal, stranger: Portal, way: str, foreign: str, order: str, loading: str
) -> None:
    for path in ("/vendor/widget.js", "/v2/widget.js", "/widget/1.0/abc.js", "/chat.js"):
        stranger.script(path, VENDOR)
    if way == "no current script":
        page.add_init_script(NO_CURRENT_SCRIPT)
    other = foreign.format(loading, stranger.origin)
    page.goto(portal.page("/tin", page_of(VIEWS + (other + SNIPPET if order == "before" else SNIPPET + other))))
    (hit,) = portal.wait_for(1)
    today(page)
    page.wait_for_load_state("networkidle")
    assert hit.path == "/vs/v1/sites/demo/hit"
    assert hit.fields["k"] == ""
    assert page.evaluate("vendor") == 1
    assert (stranger.sent, len(portal.sent)) == ([], 1)
    assert page.locator(".vs-box").count() == 1


@pytest.mark.parametrize("form", [short_form, long_form])
def test_two_sites_of_one_page_both_count_and_each_box_shows_its_own(page: Page, portal: Portal, form: object) -> None:
    assert callable(form)
    portal.answer(
        "hit", lambda sent: Answer({**NUMBERS, "site": "x", "today": 7 if "/tinh/" in sent.path else 1524, "views": 5})
    )
    body = f"{VIEWS}<div>{form('portal', service='/vs')}</div><aside>{form('tinh', service='/vs')}</aside>"
    page.goto(portal.page("/tin", page_of(body)))
    hits = portal.wait_for(2)
    assert {hit.path for hit in hits} == {"/vs/v1/sites/portal/hit", "/vs/v1/sites/tinh/hit"}
    expect(page.locator("div > .vs-box [data-vs=today]")).to_have_text("1.524")
    expect(page.locator("aside > .vs-box [data-vs=today]")).to_have_text("7")
    assert page.locator(".vs-box").count() == 2


def test_a_place_may_say_whose_numbers_it_shows(page: Page, portal: Portal) -> None:
    portal.answer("hit", lambda sent: Answer({**NUMBERS, "site": "x", "today": 7 if "/tinh/" in sent.path else 1524}))
    body = '<i data-vs="today" data-vs-site="tinh"></i><b data-vs="today"></b>'
    page.goto(
        portal.page("/tin", page_of(body + short_form("portal", service="/vs") + short_form("tinh", service="/vs")))
    )
    expect(page.locator("i")).to_have_text("7")
    expect(page.locator("b")).to_have_text("1.524")


def test_two_services_on_one_page_get_a_hit_each(page: Page, portal: Portal, stranger: Portal) -> None:
    other = short_form("demo", service=stranger.origin)
    page.goto(portal.page("/tin", page_of(SNIPPET + other)))
    portal.wait_for(1)
    stranger.wait_for(1)
    page.wait_for_load_state("networkidle")
    assert (len(portal.hits), len(stranger.hits)) == (1, 1)


@pytest.mark.parametrize("own", [False, True], ids=["no box of its own", "a box of its own"])
@pytest.mark.parametrize("further", ["", ' data-lang="en"'], ids=["usual", "second file"])
def test_two_services_that_know_a_site_of_one_name_have_a_box_and_a_memory_each(
    page: Page, portal: Portal, stranger: Portal, further: str, own: bool
) -> None:
    stranger.answer("hit", Answer({**NUMBERS, "today": 7, "views": 5}))
    name = 'data-site="demo"'
    # Not async: the first snippet of the page is the first to run.
    first, second = (
        short_form("demo", service=service).replace(name, name + further).replace("async ", "")
        for service in ("/vs", stranger.origin)
    )
    place = '<div id="own" data-vs-box data-vs-site="demo"></div>' if own else ""
    page.goto(portal.page("/tin", page_of(f"{VIEWS}{place}<div>{first}</div><aside>{second}</aside>")))
    grouped = "1,524" if further else "1.524"
    expect(page.locator("#own [data-vs=today]" if own else "div > .vs-box [data-vs=today]")).to_have_text(grouped)
    expect(page.locator("aside > .vs-box [data-vs=today]")).to_have_text("7")
    assert page.locator(".vs-box").count() == 2
    changes = page.evaluate(
        """() => new Promise(done => {
            let seen = 0;
            new MutationObserver(found => seen += found.length).observe(document, {childList: true, subtree: true,
                characterData: true, attributes: true});
            document.body.appendChild(document.createElement('p'));
            setTimeout(() => done(seen), 500);
        })"""
    )
    assert changes == 1  # the paragraph; both looked at the page, and had nothing to write
    kept = page.evaluate("Object.values({...localStorage}).filter(text => text.includes('today'))")
    assert sorted(re.findall(r'"today": (\d+)', "".join(kept))) == ["1524", "7"]


def test_a_service_that_is_named_in_two_ways_is_one(page: Page, portal: Portal) -> None:
    """A theme has the long form with `/vs`, a footer the short one with the whole address."""
    snippets = long_form("demo", service="/vs") + short_form("demo", service=f"{portal.origin}/vs")
    page.goto(portal.page("/tin", page_of(f"<main>{snippets}</main>")))
    portal.wait_for(1)
    today(page)
    page.wait_for_load_state("networkidle")
    assert (len(portal.hits), page.locator(".vs-box").count()) == (1, 1)


# However it is loaded -----------------------------------------------------------------------------------------------

MARK = '<div data-visitstats data-site="demo" data-api="/vs"></div>'
BUNDLE = b"window.before = 1;\n" + WIDGET + b";window.after = 1;"
INSERT = "var s = document.createElement('script'); s.src = '%s'; %s document.body.appendChild(s);"


@pytest.mark.parametrize("current", [True, False], ids=["current script", "no current script"])
@pytest.mark.parametrize(
    "body",
    [
        '<script async src="/vs/widget.js?site=demo"></script>',
        '<script async src="/vs/widget.js?v=3&amp;site=demo#x"></script>',
        '<script src="/vs/widget.js" data-site="demo"></script>',
        '<script defer src="/vs/widget/0.1.0/0123456789abcdef.js" data-site="demo"></script>',
        '<script type="module" src="/vs/widget.js" data-site="demo"></script>',
        '<script type="module">import "/vs/widget.js?site=demo"</script>',
        '<script type="module">import("/vs/widget.js?site=demo")</script>',
        f"<script>{INSERT % ('/vs/widget.js?site=demo', '')}</script>",
        f"<script>{INSERT % ('/vs/widget.js', 's.setAttribute(`data-site`, `demo`);')}</script>",
        f"<script>{INSERT % ('/vs/widget.js?site=demo', '')} s.remove()</script>",
        '<script data-minify="1" src="/cache/min/1/widget.js?ver=1" data-site="demo" data-api="/vs"></script>',
        '<script src="/cache/7f3a.js" data-site="demo" data-api="/vs/"></script>',
        '<script src="/cache/7f3a.js?site=demo&api=%2Fvs"></script>',
        f'{MARK}<script src="/cache/7f3a.js"></script>',
        f'<script src="/cache/7f3a.js"></script>{MARK}',
        f'{MARK}<script type="module" src="/cache/7f3a.js"></script>',
        "<div id=h></div><script>var r = h.attachShadow({mode: 'open'}), s = document.createElement('script');"
        "s.src = '/vs/widget.js'; s.dataset.site = 'demo'; r.appendChild(s)</script>",
        "<div id=h></div><script>var r = h.attachShadow({mode: 'closed'}), s = document.createElement('script');"
        "s.src = '/vs/widget.js?site=demo'; r.appendChild(s)</script>",
        long_form("demo", service="/vs"),
    ],
)
def test_it_counts_however_it_is_loaded(page: Page, portal: Portal, body: str, current: bool) -> None:
    if not current:
        page.add_init_script(NO_CURRENT_SCRIPT)
    portal.script("/cache/min/1/widget.js", WIDGET)
    portal.script("/cache/7f3a.js", BUNDLE)
    page.goto(portal.page("/tin", page_of('<b data-vs="today"></b>' + body)))
    (hit,) = portal.wait_for(1)
    assert hit.path == "/vs/v1/sites/demo/hit"
    assert hit.fields["u"] == f"{portal.origin}/tin"
    today(page)
    page.wait_for_load_state("networkidle")
    assert len(portal.sent) == 1


def test_in_a_shadow_root_the_box_stands_beside_the_script(page: Page, portal: Portal) -> None:
    script = "s.src = '/vs/widget.js'; s.dataset.site = 'demo'; r.appendChild(s)"
    body = "<div id=h></div><script>var r = h.attachShadow({mode: 'open'}), s = document.createElement('script');"
    page.goto(portal.page("/tin", page_of(f"{body}{script}</script>")))
    portal.wait_for(1)
    expect(page.locator("#h .vs-box [data-vs=today]")).to_have_text("1.524")


def test_every_option_may_stand_in_the_address(page: Page, portal: Portal) -> None:
    query = "site=demo&lang=en&lines=total%2Conline&title=Visits%20%26%20more&key=news%3A1"
    page.goto(portal.page("/tin", page_of(f'<script async src="/vs/widget.js?{query}"></script>')))
    assert portal.wait_for(1)[0].fields["k"] == "news:1"
    expect(page.locator(".vs-title")).to_have_text("Visits & more")
    expect(page.locator(".vs-line")).to_have_text(["Total: 1,234,567", "Online now: 3"])


@pytest.mark.parametrize(("given", "title"), [("5%25", "5%"), ("5%", "5%"), ("5%20%", "5%20%"), ("%FF", "%FF")])
def test_what_is_not_percent_encoded_in_the_address_is_taken_as_it_stands(
    page: Page, portal: Portal, given: str, title: str
) -> None:
    page.goto(portal.page("/tin", page_of(f'<script async src="/vs/widget.js?site=demo&title={given}"></script>')))
    portal.wait_for(1)
    expect(page.locator(".vs-title")).to_have_text(title)
    today(page)


def test_a_frame_without_an_address_is_a_part_of_the_page_around_it(page: Page, portal: Portal) -> None:
    inner = SNIPPET.replace('"', "&quot;")
    address = portal.page("/tin", page_of(f'<iframe srcdoc="{inner}"></iframe>'))
    page.goto(f"{address}?id=70")
    assert portal.wait_for(1)[0].fields["u"] == f"{address}?id=70"


def test_a_frame_in_such_a_frame_is_a_part_of_the_page_around_both(page: Page, portal: Portal) -> None:
    inner = escape(f'<iframe srcdoc="{escape(SNIPPET)}"></iframe>')
    address = portal.page("/tin", page_of(f'<iframe srcdoc="{inner}"></iframe>'))
    page.goto(f"{address}?id=70")
    assert portal.wait_for(1)[0].fields["u"] == f"{address}?id=70"


def test_a_frame_that_may_not_know_the_page_around_it_says_so_once(page: Page, portal: Portal) -> None:
    lines = said(page)
    inner = escape(short_form("demo", service=portal.origin + "/vs"))
    with page.expect_console_message(lambda message: message.text.startswith("visitstats")):
        page.goto(portal.page("/tin", page_of(f'<iframe sandbox="allow-scripts" srcdoc="{inner}"></iframe>')))
    page.frames[1].evaluate("document.body.appendChild(document.createElement('p'))")
    page.frames[1].evaluate("() => new Promise(done => setTimeout(done, 300))")
    assert len(lines) == 1
    assert portal.hits == []


# The second file ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body", ["<!DOCTYPE html><title>Login</title><script>x()</script>", '{"error": "login"}', "", "function f() {"]
)
def test_what_comes_in_place_of_the_second_file_is_not_run(
    page: Page, portal: Portal, errors: list[str], body: str
) -> None:
    """A gateway answers 200 and its login page: nothing is thrown, and the usual box comes after ten seconds."""
    page.clock.install()
    page.route("**/widget/more.js", lambda route: route.fulfill(status=200, body=body, content_type="text/html"))
    with page.expect_response("**/widget/more.js"):
        page.goto(portal.page("/tin", article(attributes='data-site="demo" data-theme="vs-card"')))
    portal.wait_for(1)
    page.clock.run_for(11_000)
    today(page)
    assert errors == []


@pytest.mark.parametrize(
    "body",
    [
        '<script src="/vs/widget.js"></script>',
        '<script src="/cache/7f3a.js" data-site="demo"></script>',
        '<script src="/cache/7f3a.js"></script><script src="/chat.js" data-site="x" data-api="/chat"></script>',
    ],
)
def test_what_cannot_work_says_so_in_one_line_and_sends_nothing(page: Page, portal: Portal, body: str) -> None:
    lines = said(page)
    portal.script("/cache/7f3a.js", WIDGET)
    portal.script("/chat.js", VENDOR)
    page.goto(portal.page("/tin", page_of(body)))
    page.wait_for_load_state("networkidle")
    assert portal.sent == []
    assert len(lines) == 1


# Behind a login -----------------------------------------------------------------------------------------------------


def test_behind_a_gateway_with_a_cookie_hits_and_heartbeats_get_through_at_once(page: Page, portal: Portal) -> None:
    portal.gate = lambda headers: None if "SSO=ok" in headers.get("cookie", "") else (302, {"location": "/login"})
    page.context.add_cookies([{"name": "SSO", "value": "ok", "url": portal.origin}])
    page.clock.install()
    page.goto(portal.page("/tin", article()))
    portal.wait_for(1)
    today(page)
    page.clock.run_for(61_000)
    portal.wait_for(1, "alive")
    expect(page.locator(".vs-note")).to_have_text("\xa0")
    assert "/login" not in portal.asked


def test_behind_basic_authentication_hits_and_heartbeats_get_through_at_once(browser: Browser, portal: Portal) -> None:
    wanted = "Basic " + base64.b64encode(b"van-thu:mat-khau").decode()

    def gate(headers: Mapping[str, str]) -> tuple[int, dict[str, str]] | None:
        return None if headers.get("authorization") == wanted else (401, {"www-authenticate": "Basic realm=portal"})

    portal.gate = gate
    context = browser.new_context(http_credentials={"username": "van-thu", "password": "mat-khau"})
    page = context.new_page()
    page.clock.install()
    page.goto(portal.page("/tin", article()))
    portal.wait_for(1)
    page.clock.run_for(61_000)
    portal.wait_for(1, "alive")
    context.close()


def test_a_heartbeat_takes_the_way_that_worked_last(page: Page, portal: Portal) -> None:
    page.add_init_script("window.fetch = () => Promise.reject(new TypeError('a gateway')); window.tries = 0")
    page.clock.install()
    page.goto(portal.page("/tin", article()))
    for _ in range(8):
        page.clock.run_for(1_000)
    portal.wait_for(1)  # by XHR, five seconds later
    today(page)
    page.evaluate("void (window.fetch = () => { tries++; return Promise.reject(new TypeError('a gateway')) })")
    page.clock.run_for(61_000)
    portal.wait_for(1, "alive")
    expect(page.locator(".vs-note")).to_have_text("\xa0")
    assert page.evaluate("tries") == 0


def test_a_heartbeat_that_fails_goes_another_way_the_next_time(page: Page, portal: Portal) -> None:
    page.clock.install()
    page.goto(portal.page("/tin", article()))
    portal.wait_for(1)
    today(page)
    page.evaluate("void (window.fetch = () => Promise.reject(new TypeError('a gateway')))")
    page.clock.run_for(61_000)
    page.clock.run_for(61_000)
    portal.wait_for(1, "alive")


# What it holds up ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["head", "body"])
def test_a_service_that_never_answers_holds_up_neither_event(page: Page, portal: Portal, place: str) -> None:
    portal.held.add("/vs/widget.js")
    snippet = long_form("demo", service="/vs")
    events = (
        "<script>onload = () => loaded = 1; document.addEventListener('DOMContentLoaded', () => ready = 1)</script>"
    )
    body, head = ("", events + snippet) if place == "head" else (events + snippet, "")
    page.goto(portal.page("/tin", page_of(body, head)), wait_until="load")
    assert page.evaluate("[ready, loaded]") == [1, 1]
    wait_until(lambda: "/vs/widget.js" in portal.asked, "the download has begun")
    portal.release()
    portal.wait_for(1)


def test_a_service_that_answers_an_error_holds_up_nothing(page: Page, portal: Portal) -> None:
    page.route("**/widget.js", lambda route: route.fulfill(status=504, body="gateway time-out"))
    page.goto(portal.page("/tin", page_of(f"<p>tin</p>{long_form('demo', service='/vs')}")), wait_until="load")
    assert page.text_content("p") == "tin"
    assert portal.sent == []


def test_a_reader_is_counted_although_the_rest_of_the_page_is_still_on_its_way(page: Page, portal: Portal) -> None:
    portal.held.add("/slow.png")
    html = page_of('<img src="/slow.png" alt="">' + long_form("demo", service="/vs"))
    page.goto(portal.page("/tin", html), wait_until="commit")
    portal.wait_for(1)
    assert page.evaluate("document.readyState") != "complete"
    portal.release()


def test_the_long_form_downloads_the_widget_once_and_shows_what_the_snippet_says(page: Page, portal: Portal) -> None:
    lines = said(page)
    snippet = long_form("demo", {"title": 'Truy cập "x"', "lines": "today,total"}, "/vs")
    page.goto(portal.page("/tin", page_of(f"<main>{snippet}</main>")))
    portal.wait_for(1)
    expect(page.locator("main > .vs-box > .vs-title")).to_have_text('Truy cập "x"')
    expect(page.locator(".vs-line")).to_have_text(["Hôm nay: 1.524", "Tất cả: 1.234.567"])
    page.wait_for_load_state("networkidle")
    assert portal.asked.count("/vs/widget.js") == 1
    assert lines == []


@pytest.mark.parametrize(
    "policy", ["require-trusted-types-for 'script'", "require-trusted-types-for 'script'; trusted-types 'none'"]
)
def test_where_a_script_may_insert_none_the_long_form_throws_nothing(page: Page, portal: Portal, policy: str) -> None:
    snippet = long_form("demo", service="/vs")
    with page.expect_response("**/vs/widget.js"):  # the preload, which is allowed
        page.goto(portal.page("/tin", page_of(f"<p>tin</p>{snippet}"), {"content-security-policy": policy}))
    page.wait_for_load_state("networkidle")
    assert page.text_content("p") == "tin"
    assert portal.sent == []


@pytest.mark.parametrize("name", ["head", "body", "readyState"])
def test_an_element_of_the_page_with_a_name_of_the_document_does_not_stop_the_long_form(
    page: Page, portal: Portal, name: str
) -> None:
    body = f'<iframe name="{name}"></iframe><form name="{name}"></form>{long_form("demo", service="/vs")}'
    page.goto(portal.page("/tin", page_of(body)))
    portal.wait_for(1)
    today(page)


def test_an_address_that_could_end_the_script_is_refused() -> None:
    for address in ("https://x/'</script>", "javascript:x", "counter.example.vn", "/vs?x='"):
        with pytest.raises(ValueError, match="no address"):
            long_form("demo", service=address)
    assert re.search(r'data-title="a&quot;b"', long_form("demo", {"title": 'a"b'}))
