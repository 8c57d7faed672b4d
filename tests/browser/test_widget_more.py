"""What pages ask for beyond the box: counts in lists, "Xem nhiều", numbers as they change, and not being counted."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.browser.portal import NUMBERS, Answer, Portal, Sent, article
from tests.driver import Service
from tests.waiting import wait_until

pytestmark = pytest.mark.browser

MARKUP = '<img src=x onerror="window.harmed=1">'
LIST = "".join(f'<li><a href="/tin/{n}">tin</a> <i data-vs-views="/tin/{n}">—</i></li>' for n in (1, 22, 333))
HOSTILE = "Array.prototype.toJSON = () => 'hostile'; JSON.parse = () => { throw new Error('no') }; Object.freeze(JSON);"


def texts(page: Page, where: str) -> list[str]:
    return page.locator(where).all_text_contents()


def asked(portal: Portal) -> list[Sent]:
    return portal.of("views")


# Counts in lists ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hostile", ["", HOSTILE])
def test_all_counts_of_a_page_are_one_request_that_counts_nothing(page: Page, portal: Portal, hostile: str) -> None:
    counts = {"/tin/1": 1, "/tin/22": 1524, "/tin/333": 0}
    portal.answer("views", lambda sent: Answer({"views": {key: counts.get(key, 7) for key in sent.fields["keys"]}}))
    page.add_init_script(hostile)
    page.goto(portal.page("/list", article(f"<ul>{LIST}</ul>")))
    expect(page.locator("li i")).to_have_text(["1", "1.524", "0"])
    page.evaluate(
        """() => {
            const more = '<li><i data-vs-views="/tin/4444">—</i></li><li><i data-vs-views="/tin/22">—</i></li>';
            document.querySelector('ul').insertAdjacentHTML('beforeend', more);
        }"""
    )
    expect(page.locator("li i")).to_have_text(["1", "1.524", "0", "7", "1.524"])
    page.wait_for_load_state("networkidle")
    assert [sent.fields["keys"] for sent in asked(portal)] == [["/tin/1", "/tin/22", "/tin/333"], ["/tin/4444"]]
    assert len(portal.hits) == 1
    assert page.evaluate("window.harmed") is None


def test_more_than_a_request_may_hold_are_two(page: Page, portal: Portal) -> None:
    body = "".join(f'<i data-vs-views="/{"x" * (n % 7)}/{n}">—</i>' for n in range(700))
    page.goto(portal.page("/list", article(body)))
    page.wait_for_function("![...document.querySelectorAll('i')].some(place => place.textContent === '—')")
    assert sorted(len(sent.fields["keys"]) for sent in asked(portal)) == [200, 500]


@pytest.mark.parametrize(
    "answer",
    [
        Answer({"error": "try-again", "detail": "/tin/1"}, status=503),
        Answer(b"<html>login</html>"),
        Answer({"views": {"/tin/1": 5}}),
        Answer({"views": {"/tin/1": None, "/tin/22": -4, "/tin/333": "7"}}),
    ],
)
def test_a_count_that_is_not_known_is_a_dash_and_is_asked_for_again(page: Page, portal: Portal, answer: Answer) -> None:
    portal.answer("views", answer, Answer({"views": {"/tin/1": 1, "/tin/22": 2, "/tin/333": 3}}))
    page.clock.install()
    page.goto(portal.page("/list", article(f"<ul>{LIST}</ul>")))
    wait_until(lambda: asked(portal), "the counts are asked for")
    page.wait_for_load_state("networkidle")
    assert texts(page, "li i") == ["—", "—", "—"]
    page.clock.run_for(61_000)
    expect(page.locator("li i")).to_have_text(["1", "2", "3"])


def test_keys_may_hold_anything(page: Page, portal: Portal) -> None:
    page.goto(portal.page("/list", article("<p></p>")))
    keys = ['a"b\\c', "xã/hội", "'><script>", "{}[]:,1", "\u2028"]
    page.evaluate(
        """keys => keys.forEach(key => {
            const place = document.querySelector('p').appendChild(document.createElement('i'));
            place.setAttribute('data-vs-views', key);
        })""",
        keys,
    )
    expect(page.locator("p i")).to_have_text([str(len(key)) for key in keys])
    assert asked(portal)[0].fields["keys"] == keys


# "Xem nhiều" --------------------------------------------------------------------------------------------------------

ARTICLES = [
    {"key": "/a", "title": f'Sơ kết "sáu tháng" {MARKUP}', "url": "https://portal.example.vn/a?x=1&y", "views": 1524},
    {"key": "/b", "title": "Hội\\nghị\t:", "url": "javascript:window.harmed=1", "views": 7},
]


@pytest.mark.parametrize("hostile", ["", HOSTILE])
def test_the_most_read_articles_are_a_list(page: Page, portal: Portal, hostile: str) -> None:
    portal.answer("top", Answer({"site": "demo", "period": "week", "at": "x", "articles": ARTICLES}))
    page.add_init_script(hostile)
    page.goto(portal.page("/list", article('<ol data-vs-top="month" data-vs-limit="2"></ol>')))
    expect(page.locator("ol > li")).to_have_count(2)
    assert texts(page, "ol > li") == [f"{ARTICLES[0]['title']} 1.524", f"{ARTICLES[1]['title']} 7"]
    assert page.get_attribute("ol > li:first-child > a", "href") == ARTICLES[0]["url"]
    assert page.get_attribute("ol > li:last-child > a", "href") is None
    assert portal.of("top")[0].fields == {"period": "month", "limit": "2"}
    page.wait_for_load_state("networkidle")
    assert len(portal.of("top")) == 1
    assert page.evaluate("window.harmed") is None


def test_an_article_of_the_list_looks_as_the_page_says(page: Page, portal: Portal) -> None:
    portal.answer("top", Answer({"site": "demo", "articles": ARTICLES}))
    row = '<p hidden><b data-vs-item="rank">0</b>. <a data-vs-item="link title">…</a>: <i data-vs-item="views"></i></p>'
    page.goto(portal.page("/list", article(f'<div data-vs-top="day">{row}</div>')))
    expect(page.locator("div > p")).to_have_count(2)
    assert texts(page, "div > p") == [f"1. {ARTICLES[0]['title']}: 1.524", f"2. {ARTICLES[1]['title']}: 7"]
    expect(page.locator("div > p").first).to_be_visible()


def test_a_list_that_is_not_published_leaves_the_page_as_it_is_and_says_so_once(page: Page, portal: Portal) -> None:
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text) if "visitstats:" in message.text else None)
    portal.answer("top", Answer({"error": "not-published", "detail": ""}, status=403))
    page.goto(portal.page("/list", article('<ol data-vs-top="week"><li>Chưa có</li></ol>')))
    portal.wait_for(1)
    wait_until(lambda: portal.of("top"), "the list is asked for")
    page.wait_for_load_state("networkidle")
    assert texts(page, "ol") == ["Chưa có"]
    assert len(said) == 1


# Not to be counted --------------------------------------------------------------------------------------------------


def test_a_link_switches_the_counting_off_in_this_browser_and_on_again(context: BrowserContext, portal: Portal) -> None:
    page = context.new_page()
    page.clock.install()
    portal.answer("views", Answer({"views": {"x": 822}}))
    address = portal.page("/tin", article('<b data-vs="views">—</b>'))
    for there in (f"{address}#visitstats=off", address):
        page.goto(there)
        expect(page.locator("[data-vs=today]")).to_have_text("1.524")
        expect(page.locator("[data-vs=views]")).to_have_text("822")
        expect(page.locator(".vs-note")).to_have_text("trình duyệt này không được đếm")
        page.clock.run_for(130_000)
        page.goto("about:blank")
    assert {sent.route for sent in portal.sent} == {"stats", "views"}
    page.goto(f"{address}#visitstats=on")
    portal.wait_for(1)
    page.goto("about:blank")
    page.goto(address)
    portal.wait_for(2)
    expect(page.locator(".vs-note")).to_have_text("\xa0")


# As they change -----------------------------------------------------------------------------------------------------

AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"
LIVE = 'data-site="demo" data-live'
HIDE = """hidden => {
    Object.defineProperty(document, 'hidden', {value: hidden, configurable: true});
    document.dispatchEvent(new Event('visibilitychange'));
}"""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    found = Service(tmp_path_factory.mktemp("live") / "data", workers=1)
    try:
        found.start()
        found.add_site("demo", "--count-headless", "--publish-top", host="127.0.0.1")
        yield found
    finally:
        found.stop()


@pytest.fixture
def live(context: BrowserContext, service: Service, portal: Portal) -> str:
    """The address of a portal's page that has the real service beside it, at /vs/."""
    base = f"http://127.0.0.1:{service.port}"
    portal.page("/live", article(attributes=LIVE, src=f"{base}/widget.js"))
    return portal.origin + "/live"


def streams(service: Service, page: Page) -> int:
    text = page.request.get(f"http://127.0.0.1:{service.metrics_port}/metrics").text()
    return int(float(next(line for line in text.splitlines() if line.startswith("visitstats_live_streams")).split()[1]))


def count(page: Page, service: Service, path: str) -> None:
    body = json.dumps({"u": f"http://127.0.0.1{path}"})
    page.request.post(f"http://127.0.0.1:{service.port}/v1/sites/demo/hit", data=body, headers={
        "content-type": "text/plain", "user-agent": AGENT, "x-forwarded-for": f"203.0.113.{path[2:]}",
    })  # fmt: skip


def today(page: Page) -> int:
    expect(page.locator("[data-vs=today]")).not_to_have_text("—")
    return int(page.text_content("[data-vs=today]") or "")


def test_numbers_come_as_they_change_over_one_connection_of_the_browser(
    context: BrowserContext, service: Service, live: str
) -> None:
    pages = [context.new_page() for _ in range(3)]
    for page in pages:
        page.goto(live)
        today(page)
    wait_until(lambda: streams(service, pages[0]) == 1, "one connection serves three pages")
    before = today(pages[0])
    count(pages[0], service, "/a1")
    for page in pages:
        expect(page.locator("[data-vs=today]")).not_to_have_text(str(before))
    # Who had the connection goes; another page takes it over.
    pages[0].close()
    wait_until(lambda: streams(service, pages[1]) == 1, "another page has the connection")
    before = today(pages[1])
    count(pages[1], service, "/a2")
    for page in pages[1:]:
        expect(page.locator("[data-vs=today]")).not_to_have_text(str(before))


def test_it_is_closed_in_the_background_and_opened_when_the_page_is_seen_again(
    context: BrowserContext, service: Service, live: str
) -> None:
    page = context.new_page()
    page.goto(live)
    wait_until(lambda: streams(service, page) == 1, "it is open")
    page.evaluate(HIDE, True)
    wait_until(lambda: streams(service, page) == 0, "it is closed in the background")
    page.evaluate(HIDE, False)
    wait_until(lambda: streams(service, page) == 1, "it is open again")
    page.goto("about:blank")
    wait_until(lambda: streams(service, page) == 0, "it is closed with the page")


def test_without_locks_and_channels_a_page_has_a_connection_of_its_own(
    context: BrowserContext, service: Service, live: str
) -> None:
    page = context.new_page()
    page.add_init_script(
        "Object.defineProperty(navigator, 'locks', {value: undefined}); delete window.BroadcastChannel"
    )
    page.goto(live)
    before = today(page)
    wait_until(lambda: streams(service, page) == 1, "it is open")
    count(page, service, "/a3")
    expect(page.locator("[data-vs=today]")).not_to_have_text(str(before))


def test_a_service_that_refuses_streams_is_asked_once_a_minute_as_ever(page: Page, portal: Portal) -> None:
    portal.answer("live", Answer({"error": "too-many-streams", "detail": ""}, status=503))
    page.clock.install()
    page.goto(portal.page("/tin", article(attributes=LIVE)))
    wait_until(lambda: portal.of("live"), "the stream is asked for")
    portal.answer("alive", Answer({**NUMBERS, "today": 1600}))
    page.clock.run_for(58_000)
    assert len(portal.of("live")) == 1
    page.clock.run_for(3_100)
    expect(page.locator("[data-vs=today]")).to_have_text("1.600")


def test_a_browser_without_streams_is_as_ever(page: Page, portal: Portal) -> None:
    page.add_init_script("delete window.EventSource")
    page.goto(portal.page("/tin", article(attributes=LIVE)))
    expect(page.locator("[data-vs=today]")).to_have_text("1.524")
    page.wait_for_load_state("networkidle")
    assert portal.of("live") == []


def test_the_real_service_answers_lists_and_the_most_read(browser: Browser, service: Service, portal: Portal) -> None:
    context = browser.new_context()
    page = context.new_page()
    count(page, service, "/b7")
    body = '<ol data-vs-top="day"></ol><i data-vs-views="/b7">—</i>'
    src = f"http://127.0.0.1:{service.port}/widget.js"
    page.goto(portal.page("/tin", article(body, src=src)))
    expect(page.locator("i")).to_have_text("1")
    expect(page.locator("ol > li", has_text="/b7")).to_have_count(1)
    context.close()
