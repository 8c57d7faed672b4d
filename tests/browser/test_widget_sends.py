"""What the widget sends, and what it must not send."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import BrowserContext, Page

from tests.browser.portal import NUMBERS, Answer, Portal, article

pytestmark = pytest.mark.browser

TOKEN = re.compile(r"[A-Za-z0-9_-]{16,22}")
HEAD = """<title>Hội nghị "sơ kết" \\ năm 2022</title><link rel="canonical" href="/tin/canonical">
<meta name="author" content="Lê Hiếu"><meta property="article:section" content="Tin tức">
<meta property="article:published_time" content="2022-07-22">"""


def settle(page: Page) -> None:
    """Everything that the page has sent by now is recorded: a request made after it has been answered."""
    page.evaluate("() => fetch('/barrier').then(answer => answer.text())")


def seconds_until_hit(page: Page, portal: Portal, count: int) -> int:
    """How many seconds of the page's clock go by until this many hits have come.

    A lower bound: the clock may run ahead while the browser has not yet handed the failure before to the page.
    """
    for seconds in range(1, 120):
        page.clock.run_for(1_000)
        settle(page)
        if len(portal.hits) >= count:
            return seconds
    raise AssertionError(f"no {count}. hit within two minutes")


def hide(page: Page, hidden: bool) -> None:
    page.evaluate(
        """hidden => {
            Object.defineProperty(document, 'hidden', {value: hidden, configurable: true});
            document.dispatchEvent(new Event('visibilitychange'));
        }""",
        hidden,
    )


def test_a_load_sends_one_hit_that_says_what_the_contract_says(page: Page, portal: Portal) -> None:
    start = portal.page("/", f'<a href="/tin?id=70">tin</a>{article()}')
    address = portal.page("/tin", article(head=HEAD))
    page.goto(start)
    portal.wait_for(1)
    page.click("a")
    hit = portal.wait_for(2)[1]
    assert hit.path == "/vs/v1/sites/demo/hit"
    assert hit.headers["content-type"].startswith("text/plain")
    assert "cookie" not in hit.headers
    assert TOKEN.fullmatch(hit.fields.pop("v"))
    assert TOKEN.fullmatch(hit.fields.pop("h"))
    assert hit.fields == {
        "u": f"{address}?id=70",
        "k": "",
        "c": f"{portal.origin}/tin/canonical",
        "t": 'Hội nghị "sơ kết" \\ năm 2022',
        "r": start,
        "w": True,  # the test drives this browser, and it says so
        "m": {"author": "Lê Hiếu", "category": "Tin tức", "published": "2022-07-22"},
    }
    settle(page)
    assert len(portal.sent) == 2


@pytest.mark.parametrize("order", ["name first", "property first"])
def test_the_author_is_the_one_by_name_not_the_address_of_a_profile(page: Page, portal: Portal, order: str) -> None:
    author = '<meta name="author" content="Lê Hiếu">'
    profile = '<meta property="article:author" content="https://facebook.com/a">'
    page.goto(portal.page("/tin", article(head=author + profile if order == "name first" else profile + author)))
    assert portal.wait_for(1)[0].fields["m"] == {"author": "Lê Hiếu"}


@pytest.mark.parametrize(
    "inserted",
    [
        '<input name="{0}"><textarea name="{0}" property="x{0}"></textarea><form name="{0}"></form>',
        '<template name="{0}"></template><template property="x{0}"></template>',
    ],
)
def test_what_readers_wrote_into_the_page_says_nothing_about_the_article(
    page: Page, portal: Portal, inserted: str
) -> None:
    """A comment's field may be called "author", and a comment may hold a link: only a link of the head is canonical."""
    names = ("author", "section", "published_time", "visitstats-key")
    body = "".join(inserted.format(name) for name in names) + '<a rel="canonical" href="/x"></a>'
    body += '<link rel="canonical" href="/y">'
    page.goto(portal.page("/tin", article(body)))
    hit = portal.wait_for(1)[0]
    assert hit.route == "hit"
    assert "c" not in hit.fields
    assert (hit.fields["k"], hit.fields["m"]) == ("", {})


def test_what_a_page_does_not_say_is_not_made_up(page: Page, portal: Portal) -> None:
    page.goto(portal.page("/tin", article(head="")))
    fields = portal.wait_for(1)[0].fields
    assert fields.keys() == {"u", "k", "r", "w", "v", "h", "m"}
    assert (fields["k"], fields["r"], fields["m"]) == ("", "", {})


@pytest.mark.parametrize(
    ("attributes", "head", "key"),
    [
        ('data-site="demo" data-key="news:1"', '<meta name="visitstats-key" content="news:2">', "news:1"),
        ('data-site="demo"', '<meta name="visitstats-key" content="news:2">', "news:2"),
    ],
)
def test_the_key_of_the_snippet_goes_before_the_key_of_the_page(
    page: Page, portal: Portal, attributes: str, head: str, key: str
) -> None:
    page.goto(portal.page("/tin", article(attributes=attributes, head=head)))
    assert portal.wait_for(1)[0].fields["k"] == key


@pytest.mark.parametrize(
    ("src", "prefix"),
    [
        ("/widget.js", ""),
        ("/vs/widget.js?v=3", "/vs"),
        ("../../a/widget/widget.js", "/a/widget"),
        ("/vs/widget/0.1.0/0123456789abcdef.js", "/vs"),
    ],
)
def test_the_service_is_where_the_script_came_from_under_any_prefix(
    page: Page, portal: Portal, src: str, prefix: str
) -> None:
    page.goto(portal.page("/tin/tuc/1", article(src=src)))
    assert portal.wait_for(1)[0].path == f"{prefix}/v1/sites/demo/hit"


def test_another_host_gets_the_hit_without_a_preflight_or_a_cookie(page: Page, portal: Portal) -> None:
    counter = Portal()
    try:
        page.context.add_cookies([{"name": "session", "value": "secret", "url": counter.origin}])
        page.goto(portal.page("/tin", article(src=f"{counter.origin}/widget.js")))
        hit = counter.wait_for(1)[0]
        page.wait_for_function("document.querySelector('[data-vs=today]').textContent === '1.524'")
        assert hit.headers["origin"] == portal.origin
        assert "cookie" not in hit.headers
        assert portal.sent == []
    finally:
        counter.close()


def test_a_page_that_sends_no_referrer_is_counted_all_the_same(page: Page, portal: Portal) -> None:
    address = portal.page("/tin", article(), {"referrer-policy": "no-referrer"})
    page.goto(address)
    assert portal.wait_for(1)[0].fields["u"] == address


def test_other_scripts_with_a_site_of_their_own_are_not_taken_for_the_widget(page: Page, portal: Portal) -> None:
    other = '<script data-site="other" src="/chat-widgets/app.js"></script><script data-site="third"></script>'
    page.goto(portal.page("/tin", article(f"{other}")))
    assert portal.wait_for(1)[0].path == "/vs/v1/sites/demo/hit"


def test_loaded_twice_runs_once(page: Page, portal: Portal) -> None:
    again = '<script async src="/vs/widget.js" data-site="demo"></script>'
    page.goto(portal.page("/tin", article(again)))
    page.wait_for_load_state("networkidle")
    settle(page)
    assert len(portal.sent) == 1
    assert page.locator(".vs-box").count() == 1


def test_an_element_named_like_the_widget_does_not_keep_it_away(page: Page, portal: Portal) -> None:
    page.goto(portal.page("/tin", article('<div id="visitstats"></div>')))
    portal.wait_for(1)


def test_a_new_article_in_the_page_is_a_hit_of_its_own(page: Page, portal: Portal) -> None:
    page.goto(portal.page("/tin", article('<b data-vs="views"></b>')))
    first = portal.wait_for(1)[0]
    page.wait_for_function("document.querySelector('[data-vs=views]').textContent === '822'")
    portal.views = 7
    page.evaluate("history.pushState({}, 'x', '/tin-2'); visitstats.hit('news:2')")
    second = portal.wait_for(2)[1]
    assert second.fields["u"] == f"{portal.origin}/tin-2"
    assert second.fields["k"] == "news:2"
    assert second.fields["h"] != first.fields["h"]
    assert second.fields["v"] == first.fields["v"]
    page.wait_for_function("document.querySelector('[data-vs=views]').textContent === '7'")


def test_a_number_is_a_key_too(page: Page, portal: Portal) -> None:
    page.goto(portal.page("/tin", article()))
    portal.wait_for(1)
    page.evaluate("visitstats.hit(70)")
    assert portal.wait_for(2)[1].fields["k"] == "70"


def test_a_late_answer_for_the_article_before_is_not_shown_as_this_ones_views(page: Page, portal: Portal) -> None:
    portal.answer("hit", Answer({**NUMBERS, "views": 822}, hang=True), Answer({**NUMBERS, "views": 7}))
    page.goto(portal.page("/tin", article('<b data-vs="views"></b>')))
    portal.wait_for(1)
    page.evaluate("visitstats.hit('news:2')")
    page.wait_for_function("document.querySelector('[data-vs=views]').textContent === '7'")
    with page.expect_response("**/hit"):
        portal.release()
    settle(page)
    assert page.text_content("[data-vs=views]") == "7"


def test_coming_back_out_of_the_browsers_cache_is_a_new_load(page: Page, portal: Portal) -> None:
    page.goto(portal.page("/tin", article(attributes='data-site="demo" data-key="news:1"')))
    first = portal.wait_for(1)[0]
    page.evaluate("dispatchEvent(new PageTransitionEvent('pageshow', {persisted: false}))")
    settle(page)
    assert len(portal.sent) == 1
    page.evaluate("dispatchEvent(new PageTransitionEvent('pageshow', {persisted: true}))")
    second = portal.wait_for(2)[1]
    assert second.fields["h"] != first.fields["h"]
    assert second.fields["k"] == "news:1"


def test_a_prerendered_page_counts_when_it_is_looked_at(page: Page, portal: Portal) -> None:
    page.add_init_script("Object.defineProperty(document, 'prerendering', {value: true, configurable: true})")
    page.clock.install()
    page.goto(portal.page("/tin", article()))
    page.wait_for_selector(".vs-box, main")
    page.clock.run_for(10 * 60_000)
    settle(page)
    assert portal.sent == []
    page.evaluate("Object.defineProperty(document, 'prerendering', {value: false})")
    page.clock.run_for(100)
    portal.wait_for(1)


def test_a_page_that_hangs_on_a_script_of_others_still_counts(page: Page, portal: Portal) -> None:
    portal.answer("hit.gif", Answer(b"", hang=True))
    hanging = '<script src="/vs/v1/sites/demo/hit.gif"></script>'
    page.goto(portal.page("/tin", article() + hanging), wait_until="commit")
    assert portal.wait_for(1, "hit")
    portal.release()


# Heartbeats ---------------------------------------------------------------------------------------------------------


def test_a_visible_page_sends_a_heartbeat_every_minute_and_shows_its_answer(page: Page, portal: Portal) -> None:
    page.clock.install()
    page.goto(portal.page("/tin", article()))
    hit = portal.wait_for(1)[0]
    page.clock.run_for(59_000)
    settle(page)
    assert portal.heartbeats == []
    portal.answer("alive", Answer({**NUMBERS, "today": 1600}))
    page.clock.run_for(1_100)
    (heartbeat,) = portal.wait_for(1, "alive")
    assert heartbeat.path == "/vs/v1/sites/demo/alive"
    assert heartbeat.fields == {"v": hit.fields["v"]}
    page.wait_for_function("document.querySelector('[data-vs=today]').textContent === '1.600'")
    for count in (2, 3, 4):
        # Step by step: ten seconds of the page's clock are all that a beacon has for its way.
        page.clock.run_for(60_000)
        portal.wait_for(count, "alive")
        settle(page)
    assert (len(portal.heartbeats), len(portal.hits)) == (4, 1)


def test_a_page_in_the_background_sends_none_and_catches_up_at_once(page: Page, portal: Portal) -> None:
    page.clock.install()
    page.goto(portal.page("/tin", article()))
    portal.wait_for(1)
    hide(page, True)
    page.clock.run_for(10 * 60_000)
    settle(page)
    assert portal.heartbeats == []
    hide(page, False)
    portal.wait_for(1, "alive")
    # Switching to and fro is not a reason for more.
    for _ in range(5):
        hide(page, True)
        hide(page, False)
    # The clock goes on by itself as well: a busy machine has half a minute for these lines.
    page.clock.run_for(30_000)
    settle(page)
    assert len(portal.heartbeats) == 1
    page.clock.run_for(30_100)
    portal.wait_for(2, "alive")


# The visit id -------------------------------------------------------------------------------------------------------


def test_a_visit_goes_on_from_page_to_page_and_is_forgotten_after_half_an_hour(page: Page, portal: Portal) -> None:
    page.clock.install()
    address = portal.page("/tin", article())
    page.goto(address)
    page.clock.fast_forward(29 * 60_000)
    page.goto(address)
    first, second = portal.wait_for(2)
    hide(page, True)  # or a heartbeat would keep it
    page.clock.fast_forward(31 * 60_000)
    page.goto(address)
    third = portal.wait_for(3)[2]
    assert first.fields["v"] == second.fields["v"] != third.fields["v"]
    assert len({hit.fields["h"] for hit in portal.hits}) == 3


@pytest.mark.parametrize(
    "signal",
    [
        "Object.defineProperty(navigator, 'globalPrivacyControl', {value: true})",
        "Object.defineProperty(navigator, 'doNotTrack', {value: '1'})",
        "Object.defineProperty(window, 'localStorage', {get() { throw new DOMException('no', 'SecurityError') }})",
        "Object.defineProperty(window, 'localStorage', {value: null})",
        "Object.defineProperty(window, 'localStorage', {value: Object.freeze({})})",
        # Full to the last character.
        "for (let size = 1 << 22; size >= 1; size >>= 1)"
        " try { for (let i = 0; ; i++) localStorage[size + '.' + i] = 'x'.repeat(size) } catch (full) {}",
    ],
)
def test_a_reader_who_is_not_to_be_followed_is_counted_without_a_visit_id(
    page: Page, portal: Portal, signal: str
) -> None:
    page.clock.install()
    page.add_init_script(signal)
    page.goto(portal.page("/tin", article()))
    hit = portal.wait_for(1)[0]
    page.wait_for_function("document.querySelector('[data-vs=today]').textContent === '1.524'")
    page.clock.run_for(61_000)
    (heartbeat,) = portal.wait_for(1, "alive")
    assert "v" not in hit.fields
    assert heartbeat.fields == {}
    if "localStorage" not in signal:
        assert page.evaluate("localStorage['visitstats:v']") is None
    assert page.context.cookies() == []


def test_what_is_kept_in_the_browser_is_the_visit_and_numbers(context: BrowserContext, portal: Portal) -> None:
    page = context.new_page()
    page.goto(portal.page("/tin", article()))
    portal.wait_for(1)
    page.wait_for_function("document.querySelector('[data-vs=today]').textContent === '1.524'")
    kept = page.evaluate("({...localStorage})")
    numbers = f"visitstats:n{portal.origin}/vs/v1/sites/demo/"
    assert kept.keys() == {"visitstats:v", numbers}
    assert "tin" not in kept[numbers]
    assert context.cookies() == []


# When it fails ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [Answer({"error": "try-again", "detail": "later"}, status=503), Answer(b"<html>Login</html>"), Answer(b"")],
    ids=["503", "a proxy's page", "nothing"],
)
def test_a_hit_that_fails_is_tried_three_times_with_one_id_and_then_given_up(
    page: Page, portal: Portal, answer: Answer
) -> None:
    portal.answer("hit", answer)
    portal.answer("hit.gif", answer)
    page.clock.install()
    page.goto(portal.page("/tin", article(attributes='data-site="demo" data-key="news:1"')))
    portal.wait_for(1)
    assert seconds_until_hit(page, portal, 2) >= 4
    assert seconds_until_hit(page, portal, 3) >= 29
    for _ in range(5):
        page.clock.fast_forward(60_000)
        settle(page)
    assert [hit.route for hit in portal.hits] == ["hit", "hit", "hit.gif"]
    first, _, third = portal.hits
    assert {hit.fields["h"] for hit in portal.hits} == {first.fields["h"]}
    assert {name: third.fields[name] for name in "utv"} == {name: first.fields[name] for name in "utv"}
    assert third.fields["k"] == "news:1"
    portal.wait_for(1, "alive")


def test_a_service_that_comes_back_gets_the_hit_and_the_box_its_numbers(page: Page, portal: Portal) -> None:
    portal.answer("hit", Answer({}, status=503), Answer({**NUMBERS, "views": 822}))
    page.clock.install()
    page.goto(portal.page("/tin", article()))
    portal.wait_for(1)
    assert seconds_until_hit(page, portal, 2) >= 4
    page.wait_for_function("document.querySelector('[data-vs=today]').textContent === '1.524'")
    page.clock.run_for(50_000)
    settle(page)
    assert len(portal.hits) == 2


def test_a_hung_service_is_let_go_after_ten_seconds(page: Page, portal: Portal) -> None:
    portal.answer("hit", Answer({}, hang=True))
    given_up: list[str] = []
    page.on("requestfailed", lambda request: given_up.append(request.url))
    page.clock.install()
    page.goto(portal.page("/tin", article()))
    portal.wait_for(1)
    page.clock.run_for(10_100)
    settle(page)
    assert len(given_up) == 1
    page.clock.run_for(5_100)
    first, second = portal.wait_for(2)
    assert first.fields == second.fields
    assert page.text_content("[data-vs=today]") == "—"


def test_without_fetch_and_xhr_an_image_counts_at_once(page: Page, portal: Portal) -> None:
    page.add_init_script("delete window.fetch; delete window.XMLHttpRequest")
    page.goto(portal.page("/tin", article(attributes='data-site="demo" data-key="a&b=c"')))
    (hit,) = portal.wait_for(1)
    assert hit.route == "hit.gif"
    assert hit.fields["k"] == "a&b=c"
    assert hit.fields["t"] == "Hội nghị sơ kết"
    assert TOKEN.fullmatch(hit.fields["v"])
    assert TOKEN.fullmatch(hit.fields["h"])
