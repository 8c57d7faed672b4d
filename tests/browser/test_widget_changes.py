"""Pages that change without loading, places that come late, tabs that nobody looks at, and many tabs at once."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.portal import NUMBERS, Answer, Portal, Sent, article, short_form
from visitstats.web.snippet import long_form

pytestmark = pytest.mark.browser

VIEWS = '<p>Lượt xem: <b data-vs="views">—</b></p>'
AUTO = 'data-site="demo" data-navigation="auto"'
HIDE = "Object.defineProperty(document, 'hidden', {value: %s, configurable: true});"
SEEN = HIDE % "false" + "document.dispatchEvent(new Event('visibilitychange'))"
# What Turbo and pjax do: a body that came by itself takes the place of the old one, and its scripts run anew.
SWAP = """async ([address, order]) => {
    const text = await (await fetch(address)).text();
    const page = new DOMParser().parseFromString(text, 'text/html');
    const swap = () => {
        document.title = page.title;
        for (const old of page.querySelectorAll('script')) {
            const fresh = document.createElement('script');
            for (const each of old.attributes) fresh.setAttribute(each.name, each.value);
            fresh.textContent = old.textContent;
            old.replaceWith(fresh);
        }
        document.body.replaceWith(page.body);
    };
    if (order === 'address last') swap();
    history.pushState({}, '', address);
    if (order === 'address first') swap();
}"""


def views_of(sent: Sent) -> Answer:
    """A count of its own for each address."""
    found = re.search(r"(\d+)$", str(sent.fields["u"]))
    return Answer({**NUMBERS, "views": int(found[1]) if found else 822})


@pytest.fixture
def counted(portal: Portal) -> Portal:
    portal.answer("hit", views_of)
    return portal


def shows(page: Page, views: str) -> None:
    expect(page.locator("[data-vs=views]")).to_have_text(views)


def settle(page: Page) -> None:
    """More than the longest delay of the widget goes by, and what it sent is recorded."""
    page.evaluate("() => new Promise(done => setTimeout(done, 700)).then(() => fetch('/barrier'))")


# A body that is swapped ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["address first", "address last"])
@pytest.mark.parametrize("form", ["short", "long", "mark"])
def test_a_snippet_that_runs_again_counts_the_new_address_and_has_the_box_behind_it(
    page: Page, counted: Portal, form: str, order: str
) -> None:
    mark = '<div data-visitstats data-site="demo" data-api="/vs"></div>'
    snippet = {"short": short_form("demo", service="/vs"), "long": long_form("demo", service="/vs"), "mark": mark}[form]
    bundle = '<script src="/vs/widget.js"></script>' if form == "mark" else ""
    start = counted.page(
        "/tin/1", f"<html><head><meta charset=utf-8></head><body>{VIEWS}<i>{snippet}</i>{bundle}</body>"
    )
    counted.page("/tin/2", f"<html><head><title>Hai</title></head><body>{VIEWS}<i>{snippet}</i>{bundle}</body>")
    page.goto(start)
    shows(page, "1")
    page.evaluate(SWAP, ["/tin/2", order])
    second = counted.wait_for(2)[1]
    assert second.fields["u"] == f"{counted.origin}/tin/2"
    assert second.fields["t"] == "Hai"
    shows(page, "2")
    expect(page.locator("i > .vs-box [data-vs=today]")).to_have_text("1.524")
    page.evaluate(SWAP, ["/tin/1", order])
    counted.wait_for(3)
    shows(page, "1")
    settle(page)
    assert (len(counted.hits), page.locator(".vs-box").count()) == (3, 1)


def test_a_router_that_evaluates_scripts_inline_is_understood_with_the_short_form(page: Page, counted: Portal) -> None:
    """As jQuery does it: the script element only stands there, and its code runs in another one without attributes."""
    start = counted.page("/tin/1", article(VIEWS))
    counted.page("/tin/2", article(VIEWS))
    page.goto(start)
    shows(page, "1")
    page.evaluate(
        """async () => {
            const text = await (await fetch('/tin/2')).text();
            history.pushState({}, '', '/tin/2');
            const old = document.querySelector('main');
            const fresh = new DOMParser().parseFromString(text, 'text/html').querySelector('main');
            old.replaceWith(fresh);
            const run = document.createElement('script');
            run.text = await (await fetch(fresh.querySelector('script').src)).text();
            document.head.appendChild(run).remove();
        }"""
    )
    counted.wait_for(2)
    shows(page, "2")
    expect(page.locator("main > .vs-box [data-vs=today]")).to_have_text("1.524")
    settle(page)
    assert (len(counted.hits), page.locator(".vs-box").count()) == (2, 1)


def test_a_part_that_reloads_under_the_same_address_is_no_page(page: Page, counted: Portal) -> None:
    address = counted.page("/tin/1", article(VIEWS))
    page.goto(address)
    shows(page, "1")
    page.evaluate(SWAP, ["/tin/1", "address first"])
    shows(page, "1")
    expect(page.locator(".vs-box [data-vs=today]")).to_have_text("1.524")
    settle(page)
    assert len(counted.hits) == 1


# Without the option: never the count of another article -------------------------------------------------------------


def test_a_count_that_is_not_that_of_the_address_is_not_shown(page: Page, counted: Portal) -> None:
    page.goto(counted.page("/spa/7", article(VIEWS)))
    shows(page, "7")
    page.evaluate("history.pushState({}, '', '/spa/1')")
    shows(page, "—")
    expect(page.locator("[data-vs=today]")).to_have_text("1.524")
    page.evaluate("visitstats.hit()")
    shows(page, "1")
    page.evaluate("history.back()")
    shows(page, "—")
    page.evaluate("history.replaceState({}, '', '/spa/1')")
    shows(page, "1")
    settle(page)
    assert len(counted.hits) == 2


@pytest.mark.parametrize("address", ["#muc-2", "?utm_source=zalo&utm_medium=x", "?fbclid=1#a", "/"])
def test_a_place_within_the_page_and_what_trackers_append_are_the_same_page(
    page: Page, counted: Portal, address: str
) -> None:
    page.goto(counted.page("/spa/7", article(VIEWS, attributes=AUTO)))
    shows(page, "7")
    page.evaluate("address => history.pushState({}, '', '/spa/7' + address)", address)
    settle(page)
    shows(page, "7")
    assert len(counted.hits) == 1


def test_hit_for_a_load_that_was_counted_is_the_same_load(page: Page, counted: Portal) -> None:
    page.goto(counted.page("/spa/7", article(VIEWS)))
    page.evaluate("window.visitstats && visitstats.hit()")
    shows(page, "7")
    page.evaluate("visitstats.hit(); visitstats.hit()")
    settle(page)
    assert len(counted.hits) == 1
    page.evaluate("visitstats.hit('news:1'); visitstats.hit('news:1')")
    counted.wait_for(2)
    settle(page)
    assert [hit.fields["k"] for hit in counted.hits] == ["", "news:1"]


def test_hit_while_prerendering_waits_for_somebody_to_look(page: Page, counted: Portal) -> None:
    page.add_init_script("Object.defineProperty(document, 'prerendering', {value: true, configurable: true})")
    page.goto(counted.page("/spa/7", article(VIEWS)))
    page.wait_for_function("window.visitstats")
    page.evaluate("visitstats.hit('news:7')")
    settle(page)
    assert counted.sent == []
    page.evaluate("Object.defineProperty(document, 'prerendering', {value: false})")
    assert counted.wait_for(1)[0].fields["k"] == "news:7"
    settle(page)
    assert len(counted.hits) == 1


def test_without_the_navigation_api_the_count_of_another_article_is_not_shown_either(
    page: Page, counted: Portal
) -> None:
    """Back, forward and hash routes are events; a router that only toggles classes does so because of a click."""
    page.add_init_script("Object.defineProperty(window, 'navigation', {value: undefined})")
    change = "history.pushState({}, '', '/spa/1'); event.stopPropagation(); return false"
    link = f'<a href="/spa/1" onclick="{change}">1</a>'
    page.goto(counted.page("/spa/7", article(VIEWS + link)))
    shows(page, "7")
    page.click("a")
    shows(page, "—")
    page.evaluate("history.back()")
    shows(page, "7")
    page.evaluate("location.hash = '#/bai/3'")
    shows(page, "—")
    settle(page)
    assert len(counted.hits) == 1


# With the option ----------------------------------------------------------------------------------------------------


def test_pages_that_change_without_loading_count_by_themselves(page: Page, counted: Portal) -> None:
    page.goto(counted.page("/spa/1", article(VIEWS, attributes=AUTO)))
    shows(page, "1")
    page.evaluate("history.pushState({}, '', '/spa/2'); document.title = 'Hai'")
    shows(page, "2")
    page.evaluate("location.hash = '#/bai/3'")
    shows(page, "3")
    page.evaluate("history.back()")
    shows(page, "2")
    page.evaluate("history.replaceState({}, '', '/spa/4')")
    shows(page, "4")
    settle(page)
    assert [hit.fields["u"].removeprefix(counted.origin) for hit in counted.hits] == [
        "/spa/1", "/spa/2", "/spa/2#/bai/3", "/spa/2", "/spa/4",
    ]  # fmt: skip
    assert counted.hits[1].fields["t"] == "Hai"


def test_a_router_that_calls_hit_itself_and_a_redirect_of_a_router_count_once(page: Page, counted: Portal) -> None:
    page.goto(counted.page("/spa/1", article(VIEWS, attributes=AUTO)))
    shows(page, "1")
    page.evaluate("history.pushState({}, '', '/login'); history.replaceState({}, '', '/spa/2')")
    shows(page, "2")
    page.evaluate("history.pushState({}, '', '/spa/3'); visitstats.hit()")
    shows(page, "3")
    settle(page)
    assert len(counted.hits) == 3


# Places that come late ----------------------------------------------------------------------------------------------


def test_a_place_that_comes_late_is_filled_at_once_and_counts_nothing(page: Page, counted: Portal) -> None:
    page.goto(counted.page("/spa/7", article()))
    expect(page.locator("[data-vs=today]")).to_have_text("1.524")
    late = "<b data-vs=views>—</b><div data-vs-box></div>"
    page.evaluate("html => document.querySelector('main').insertAdjacentHTML('afterbegin', html)", late)
    shows(page, "7")
    expect(page.locator(".vs-box [data-vs=total]").first).to_have_text("1.234.567")
    settle(page)
    assert (len(counted.sent), page.locator(".vs-box").count()) == (1, 2)


def test_a_shadow_root_is_filled_and_kept_filled_when_the_page_says_so(page: Page, counted: Portal) -> None:
    page.clock.install()
    page.goto(counted.page("/spa/7", article("<div id=h></div>")))
    expect(page.locator(".vs-box [data-vs=today]")).to_have_text("1.524")
    page.evaluate(
        """() => {
            const root = document.getElementById('h').attachShadow({mode: 'closed'});
            root.innerHTML = '<u data-vs="views">—</u><s data-vs="today">—</s>';
            for (let i = 0; i < 3; i++) visitstats.render(root.querySelector('u'));
            window.root = root;
        }"""
    )
    assert page.evaluate("root.textContent") == "71.524"
    page.evaluate("root.innerHTML += '<i data-vs=online></i>'")
    page.clock.run_for(200)
    page.wait_for_function("root.textContent === '71.5243'")
    counted.answer("alive", Answer({**NUMBERS, "today": 9}))
    page.clock.run_for(61_000)
    page.wait_for_function("root.textContent === '793'")
    assert len(counted.hits) == 1


def test_without_an_observer_the_page_can_say_that_places_have_come(page: Page, counted: Portal) -> None:
    page.add_init_script("delete window.MutationObserver; delete window.navigation")
    page.goto(counted.page("/spa/7", article()))
    expect(page.locator("[data-vs=today]")).to_have_text("1.524")
    page.evaluate("document.body.insertAdjacentHTML('beforeend', '<b data-vs=views>—</b>'); visitstats.render()")
    assert page.text_content("[data-vs=views]") == "7"


def test_a_page_that_never_rests_is_not_kept_busy(page: Page, counted: Portal) -> None:
    page.add_init_script(
        "window.asked = 0; const all = Document.prototype.querySelectorAll;"
        "Document.prototype.querySelectorAll = function (selector) { asked++; return all.call(this, selector) }"
    )
    page.goto(counted.page("/spa/7", article("<p id=ticker></p>")))
    expect(page.locator(".vs-box [data-vs=today]")).to_have_text("1.524")
    settle(page)
    before = page.evaluate("asked")
    page.evaluate(
        """() => new Promise(done => {
            let n = 0;
            const tick = () => {
                for (let i = 0; i < 50; i++) document.getElementById('ticker').textContent = ++n;
                if (n < 3000) requestAnimationFrame(tick); else done();
            };
            tick();
        })"""
    )
    # 3,000 changes in about a second: some ten looks of a few selectors each.
    assert page.evaluate("asked") - before < 200
    settle(page)
    quiet = page.evaluate("asked")
    settle(page)
    assert page.evaluate("asked") == quiet


# Tabs ---------------------------------------------------------------------------------------------------------------


def test_a_tab_in_the_background_counts_when_it_is_looked_at_for_the_first_time(page: Page, portal: Portal) -> None:
    page.add_init_script(HIDE % "true")
    page.clock.install()
    page.goto(portal.page("/tin", article(VIEWS)))
    page.wait_for_selector(".vs-box")
    page.clock.run_for(40 * 60_000)
    assert portal.sent == []
    page.evaluate(SEEN)
    (hit,) = portal.wait_for(1)
    expect(page.locator("[data-vs=today]")).to_have_text("1.524")
    page.evaluate(SEEN)
    page.clock.run_for(61_000)
    portal.wait_for(1, "alive")
    assert hit.fields["u"] == f"{portal.origin}/tin"
    assert len(portal.hits) == 1


def test_a_tab_that_is_closed_unseen_was_never_read(page: Page, portal: Portal) -> None:
    page.add_init_script(HIDE % "true")
    page.goto(portal.page("/tin", article()))
    page.wait_for_selector(".vs-box")
    other = portal.page("/other", "<p>other</p>")
    page.goto(other)
    page.evaluate("fetch('/barrier')")
    assert portal.sent == []


def test_a_reader_who_leaves_at_once_is_counted(page: Page, portal: Portal) -> None:
    portal.page("/away", "<p>away</p>")
    page.goto(portal.page("/tin", article()))
    page.goto(portal.origin + "/away")
    portal.wait_for(1)


@pytest.mark.parametrize("round_", range(7))
def test_six_tabs_at_one_moment_are_one_visit(context: BrowserContext, portal: Portal, round_: int) -> None:
    links = "".join(f'<a href="/tin/{n}" target="_blank" rel="noopener">{n}</a>' for n in range(6))
    for n in range(6):
        portal.page(f"/tin/{n}", article())
    page = context.new_page()
    page.goto(portal.page("/list", links))
    page.evaluate("for (const link of document.links) window.open(link.href, '_blank', 'noopener')")
    hits = portal.wait_for(6)
    assert len({hit.fields["v"] for hit in hits}) == 1
