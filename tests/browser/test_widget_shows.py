"""What the reader sees: the box, the page's own places, and what stands there while nothing is known."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route

from tests.browser.portal import NUMBERS, Answer, Portal, article

pytestmark = pytest.mark.browser

HIT = {**NUMBERS, "views": 822, "key": "/tin"}
UNKNOWN = dict.fromkeys(("online", "today", "yesterday", "week", "month", "year", "total", "views"))
DEFAULT = ["Đang online: 3", "Hôm nay: 1.524", "Trong tuần: 18.568", "Tất cả: 1.234.567"]
NOTHING = ["Đang online: —", "Hôm nay: —", "Trong tuần: —", "Tất cả: —"]
SHIFTS = """
    window.shifts = [];
    new PerformanceObserver(list => shifts.push(...list.getEntries().map(entry => entry.value)))
        .observe({type: 'layout-shift', buffered: true});
"""
# As `site embed` prints it for portals that want the place of the box kept before the widget is there.
SKELETON = (
    '<div data-vs-box class="vs-box"><h3 class="vs-title">Thống kê truy cập</h3><ul class="vs-list">'
    + "".join(
        f'<li class="vs-line"><span class="vs-label">{label}: </span><span class="vs-value">—</span></li>'
        for label in ("Đang online", "Hôm nay", "Trong tuần", "Tất cả")
    )
    + '</ul><small class="vs-note">&nbsp;</small></div>'
)


def lines(page: Page) -> list[str]:
    return page.locator(".vs-line").all_text_contents()


def later(route: Route) -> None:
    """Let the page be painted before its script comes."""
    route.request.frame.page.wait_for_timeout(300)
    route.continue_()


def shown(page: Page, text: str, where: str = ".vs-box") -> None:
    """Wait until this is in the box."""
    page.wait_for_function(
        "([where, text]) => document.querySelector(where)?.textContent.includes(text)", arg=[where, text]
    )


# The box ------------------------------------------------------------------------------------------------------------


def test_one_line_of_snippet_shows_the_box_of_the_seed(page: Page, portal: Portal) -> None:
    page.goto(portal.page("/tin", article()))
    shown(page, "1.524")
    assert page.text_content(".vs-box > h3.vs-title") == "Thống kê truy cập"
    assert lines(page) == DEFAULT
    assert page.get_attribute(".vs-box", "lang") == "vi"
    assert page.evaluate("document.querySelector('script[data-site]').nextElementSibling.className").strip() == "vs-box"
    assert (page.text_content(".vs-note") or "").strip() == ""
    # Nothing that a screen reader would read out by itself.
    assert page.locator("[aria-live], [role]").count() == 0


def test_the_lines_their_order_and_the_title_are_the_owners(page: Page, portal: Portal) -> None:
    attributes = 'data-site="demo" data-lines="total, year,month yesterday nonsense,online" data-title="Truy cập"'
    page.goto(portal.page("/tin", article(attributes=attributes)))
    shown(page, "1.234.567")
    assert page.text_content(".vs-title") == "Truy cập"
    assert lines(page) == [
        "Tất cả: 1.234.567",
        "Trong năm: 812.345",
        "Trong tháng: 70.123",
        "Hôm qua: 1.600",
        "Đang online: 3",
    ]


def test_in_english_with_commas(page: Page, portal: Portal) -> None:
    names = "online,today,yesterday,week,month,year,total"
    page.goto(portal.page("/tin", article(attributes=f'data-site="demo" data-lang="en" data-lines="{names}"')))
    shown(page, "1,234,567")
    assert page.get_attribute(".vs-box", "lang") == "en"
    assert page.text_content(".vs-title") == "Visitor statistics"
    assert lines(page) == [
        "Online now: 3",
        "Today: 1,524",
        "Yesterday: 1,600",
        "This week: 18,568",
        "This month: 70,123",
        "This year: 812,345",
        "Total: 1,234,567",
    ]


def test_an_empty_title_is_no_title_and_no_lines_are_no_box(page: Page, portal: Portal) -> None:
    page.goto(portal.page("/a", article(attributes='data-site="demo" data-title=""')))
    shown(page, "1.524")
    assert page.locator(".vs-title").count() == 0
    page.goto(portal.page("/b", article('<b data-vs="views"></b>', attributes='data-site="demo" data-lines=""')))
    shown(page, "822", "[data-vs=views]")
    assert page.locator(".vs-box").count() == 0


@pytest.mark.parametrize(("language", "label"), [("vi", "Máy chủ tìm kiếm: 17"), ("en", "Search engines: 17")])
def test_the_line_of_search_engines(page: Page, portal: Portal, language: str, label: str) -> None:
    """Where the page asks for it and the site shows it; "—" when the site does not."""
    attributes = f'data-site="demo" data-lang="{language}" data-lines="online,search_engines"'
    portal.answer("hit", Answer(HIT | {"search_engines": 17}))
    page.goto(portal.page("/a", article(attributes=attributes)))
    shown(page, label)
    assert len(lines(page)) == 2
    page.evaluate("localStorage.clear()")
    portal.answer("hit", Answer(HIT))
    page.goto(portal.page("/b", article(attributes=attributes)))
    shown(page, ": 3")
    assert lines(page)[1].endswith(": —")


def test_the_box_comes_where_the_page_wants_it(page: Page, portal: Portal) -> None:
    here = '<aside><div data-vs-box class="mine">loading…</div></aside>'
    page.goto(portal.page("/tin", article(here)))
    shown(page, "1.524", "aside > .mine")
    assert page.locator(".vs-box").count() == 1
    assert page.text_content("aside") == "Thống kê truy cập" + "".join(DEFAULT) + "\xa0"


def test_a_script_in_the_head_fills_a_box_further_down_and_puts_none_into_the_head(page: Page, portal: Portal) -> None:
    script = '<script async src="/vs/widget.js" data-site="demo"></script>'
    page.goto(portal.page("/a", f"<html><head>{script}<title>x</title></head><body><p data-vs-box></p></body></html>"))
    shown(page, "1.524", "body > p")
    page.goto(portal.page("/b", f"<html><head>{script}<title>x</title></head><body>nothing</body></html>"))
    portal.wait_for(2)
    page.wait_for_load_state("networkidle")
    assert page.locator("[data-vs-box]").count() == 0


# The page's own places ----------------------------------------------------------------------------------------------


def test_a_page_with_lines_of_its_own_gets_them_filled_and_no_box(page: Page, portal: Portal) -> None:
    own = "".join(f'<i data-vs="{name}">1</i> ' for name in ("online", "today", "views", "total"))
    portal.answer("hit", Answer(HIT, hang=True))
    page.goto(portal.page("/tin", article(f"<p>{own}</p>")))
    # What the page was delivered with, say the 1 of an older counter, is not a number that we know.
    shown(page, "— — — —", "p")
    portal.release()
    shown(page, "3 1.524 822 1.234.567", "p")
    assert page.locator(".vs-box").count() == 0


def test_the_count_of_the_article_stands_beside_the_box(page: Page, portal: Portal) -> None:
    page.goto(portal.page("/tin", article('<p>Lượt xem: <b data-vs="views"></b></p>')))
    shown(page, "Lượt xem: 822", "p")
    assert lines(page) == DEFAULT


def test_a_place_that_the_page_draws_anew_is_filled_again(page: Page, portal: Portal) -> None:
    page.clock.install()
    page.goto(portal.page("/tin", article("<div data-vs-box></div>")))
    shown(page, "1.524")
    page.evaluate("document.querySelector('.vs-box').textContent = ''")
    page.clock.run_for(61_000)
    shown(page, "1.524")


# What is not known --------------------------------------------------------------------------------------------------


def test_before_the_first_answer_the_lines_are_there_with_dashes(page: Page, portal: Portal) -> None:
    portal.answer("hit", Answer(HIT, hang=True))
    page.goto(portal.page("/tin", article()))
    portal.wait_for(1)
    assert lines(page) == NOTHING
    portal.release()
    shown(page, "1.524")
    assert lines(page) == DEFAULT


@pytest.mark.parametrize(
    ("at", "note"),
    [
        ("2022-07-22T03:32:05Z", "cập nhật lúc 10:32"),
        ("2022-07-22T00:05:00+07:00", "cập nhật lúc 00:05"),
        ("2022-07-21T23:59:59.5+07:00", "cập nhật lúc 23:59, 21/07"),
        ("2021-07-22T10:32:05+07:00", "cập nhật lúc 10:32, 22/07"),
    ],
)
def test_while_the_service_is_away_the_last_numbers_are_shown_with_their_moment(
    page: Page, portal: Portal, at: str, note: str
) -> None:
    page.clock.install(time="2022-07-22T12:00:00+07:00")
    address = portal.page("/tin", article('<b data-vs="views"></b>'))
    portal.answer("hit", Answer({**HIT, "at": at}), Answer({"error": "try-again", "detail": ""}, status=503))
    page.goto(address)
    shown(page, "1.524")
    page.goto(address)
    shown(page, note, ".vs-note")
    assert lines(page) == DEFAULT
    # An article's count is not that of the page that was looked at before.
    assert page.text_content("[data-vs=views]") == "—"


def test_a_heartbeat_that_fails_leaves_the_numbers_and_says_how_old_they_are(page: Page, portal: Portal) -> None:
    page.clock.install(time="2022-07-22T10:32:30+07:00")
    portal.answer("alive", Answer({}, status=503), Answer({**NUMBERS, "online": 4, "at": "2022-07-22T10:34:30+07:00"}))
    page.goto(portal.page("/tin", article(attributes='data-site="demo" data-lang="en"')))
    shown(page, "1,524")
    page.clock.run_for(61_000)
    shown(page, "updated at 10:32", ".vs-note")
    assert lines(page)[0] == "Online now: 3"
    page.clock.run_for(60_000)
    shown(page, "Online now: 4")
    assert (page.text_content(".vs-note") or "").strip() == ""


def test_while_the_service_is_away_and_nothing_was_ever_known_there_are_dashes(page: Page, portal: Portal) -> None:
    portal.answer("hit", Answer({}, status=503))
    with page.expect_response("**/hit"):
        page.goto(portal.page("/tin", article()))
    page.wait_for_load_state("networkidle")
    assert lines(page) == NOTHING
    assert (page.text_content(".vs-note") or "").strip() == ""


def test_a_pending_answer_shows_its_numbers_with_their_moment(page: Page, portal: Portal) -> None:
    page.clock.install(time="2022-07-22T12:00:00+07:00")
    portal.answer("hit", Answer({**HIT, "views": None, "pending": True}, status=202))
    page.goto(portal.page("/tin", article('<b data-vs="views"></b>')))
    shown(page, "cập nhật lúc 10:32", ".vs-note")
    assert lines(page) == DEFAULT
    assert page.text_content("[data-vs=views]") == "—"
    assert len(portal.hits) == 1  # it is acknowledged: no second try


def test_a_pending_answer_that_knows_nothing_is_never_a_zero(page: Page, portal: Portal) -> None:
    page.clock.install(time="2022-07-22T12:00:00+07:00")
    nothing = Answer({**HIT, **UNKNOWN, "at": None, "pending": True}, status=202)
    portal.answer("hit", nothing, Answer(HIT), nothing)
    address = portal.page("/tin", article())
    page.goto(address)
    portal.wait_for(1)
    page.wait_for_load_state("networkidle")
    assert lines(page) == NOTHING
    page.goto(address)
    shown(page, "1.524")
    for _ in range(2):  # what it does not say, it does not wipe out
        page.goto(address)
        shown(page, "cập nhật lúc 10:32", ".vs-note")
        assert lines(page) == DEFAULT


def test_a_nought_that_the_service_knows_is_shown(page: Page, portal: Portal) -> None:
    portal.answer("hit", Answer({**HIT, "online": 0}))
    page.goto(portal.page("/tin", article()))
    shown(page, "Đang online: 0")


@pytest.mark.parametrize(
    "today",
    ["-5", "12.5", "1e3", "1e400", "NaN", "Infinity", "true", "[7]", '{"n":7}', '"7 lượt"', '"<b>7</b>"', "7" * 16],
)
def test_what_is_not_a_number_of_visits_is_not_shown(page: Page, portal: Portal, today: str) -> None:
    body = f'{{"site":"demo","online":3,"today":{today},"week":5,"total":6,"at":"2022-07-22T10:32:05+07:00"}}'
    portal.answer("hit", Answer(body.encode()))
    page.goto(portal.page("/tin", article()))
    shown(page, "Đang online: 3")
    assert lines(page)[1] == "Hôm nay: —"


# Layout -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "html",
    [
        article(f"<aside>{SKELETON}</aside><p>What stands below must not move.</p>"),
        article('<p>Lượt xem: <b data-vs="views">—</b></p>'),
    ],
    ids=["kept place", "end of the column"],
)
@pytest.mark.parametrize("outcome", ["answered", "failed"])
def test_nothing_moves_when_the_widget_the_numbers_or_a_failure_arrive(
    page: Page, portal: Portal, html: str, outcome: str
) -> None:
    page.add_init_script(SHIFTS)
    page.route("**/widget.js", later)
    address = portal.page("/tin", html)
    page.goto(address)
    shown(page, "1.524")
    answer: dict[str, Any] = HIT if outcome == "answered" else {}
    portal.answer("hit", Answer(answer, status=200 if answer else 503, hang=True))
    page.goto(address)
    page.wait_for_selector("[data-vs=today]")
    page.wait_for_timeout(300)
    portal.release()
    shown(page, "1.524")
    page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    assert page.evaluate("shifts") == []


@pytest.mark.parametrize("width", [160, 320])
@pytest.mark.parametrize("language", ["vi", "en"])
def test_a_narrow_column_is_not_made_wider(browser: Browser, portal: Portal, width: int, language: str) -> None:
    context = browser.new_context(viewport={"width": width, "height": 600}, timezone_id="Asia/Ho_Chi_Minh")
    page = context.new_page()
    portal.answer("hit", Answer({**HIT, "total": 999_999_999, "pending": True}, status=202))
    names = "online,today,yesterday,week,month,year,total"
    attributes = f'data-site="demo" data-lang="{language}" data-lines="{names}"'
    page.goto(portal.page("/tin", article(attributes=attributes, head="<style>main{overflow-wrap:normal}</style>")))
    page.wait_for_function("/99/.test(document.querySelector('[data-vs=total]')?.textContent)")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    context.close()
