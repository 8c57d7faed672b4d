"""The pages for editors in use: by the keyboard alone, with the numbers of the API, with a token that stays where it
is, with files that hold what the sentence says, and with addresses that bring a selection back."""

from __future__ import annotations

import csv
import io
import re
import zipfile
from urllib.request import Request, urlopen

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.browser.admin_stand import SITE, Stand, dotted, go, looking, number, opened, sign_in, tab_to, until
from tests.browser.admin_table import BY_NAME, KEY

pytestmark = [pytest.mark.browser, pytest.mark.timeout(150)]
PORTALS, OVERVIEW, ARTICLES, ARTICLE = (BY_NAME[name] for name in ("portals", "overview", "articles", "article"))
BROWSER = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:127.0) Gecko/20100101 Firefox/127.0"
AUTHOR = "Ban Biên tập"
MOST_NODES, MOST_BARS = 1500, 400
SHIFTS = (
    "() => { window.moved = 0; new PerformanceObserver(list => list.getEntries().forEach(each => {"
    " window.moved += each.value; })).observe({ type: 'layout-shift' }); }"
)
"""Adds up how far a page moves from now on."""


def test_last_weeks_most_read_articles_of_an_author_are_exported_by_the_keyboard(
    browser: Browser, stand: Stand
) -> None:
    """From signing in to the file, by Tab, Enter, Space and arrows alone. The workbook and the CSV hold what the
    sentence says, in the order of the table."""
    troubles: list[str] = []
    with looking(browser, accept_downloads=True) as context:
        page = opened(context, stand, troubles)
        page.keyboard.insert_text(stand.tokens["one"])
        page.keyboard.press("Enter")
        page.wait_for_selector(".figures")
        tab_to(page, "#index a[href*='articles']")
        page.keyboard.press("Enter")
        page.wait_for_selector(".list tbody tr")
        assert page.evaluate("document.activeElement.tagName") == "H1"
        page.wait_for_selector(f"option[value='{AUTHOR}']", state="attached")
        tab_to(page, ".pick:nth-child(3) select")
        page.keyboard.press("ArrowDown")
        while page.evaluate("document.activeElement.value") != AUTHOR:
            page.keyboard.press("ArrowDown")
        page.wait_for_selector(".chips button")
        until(page, "document.querySelector('.answer').textContent.includes('của Ban')")
        listed = stand.api(
            f"admin/sites/{SITE.id}/articles?period=last-week&author=Ban%20Bi%C3%AAn%20t%E1%BA%ADp&limit=50"
        )
        selection = listed["selection"]
        said = page.inner_text(".answer")
        assert f"{dotted(selection['articles'])} bài của {AUTHOR} có {dotted(selection['views'])} lượt xem" in said
        shown = page.locator(".list tbody .title").all_inner_texts()
        assert shown == [row["title"] for row in listed["articles"]]
        tab_to(page, ".said .actions button:first-child")
        with page.expect_download() as coming:
            page.keyboard.press("Enter")
        name = coming.value.suggested_filename
        assert re.fullmatch(rf"{SITE.id}_bai-viet_{listed['range']['from']}_{listed['range']['to']}\.xlsx", name), name
        with zipfile.ZipFile(coming.value.path()) as book:
            sheet = book.read("xl/worksheets/sheet1.xml").decode()
        assert all(f"<v>{row['views']}</v>" in sheet for row in listed["articles"])
        until(page, "document.querySelector('.list').textContent.includes('Đã tải')")
        page.focus(".said .actions button:last-child")
        with page.expect_download() as coming:
            page.keyboard.press("Space")
        rows = list(csv.reader(io.StringIO(coming.value.path().read_text("utf-8-sig")), delimiter=";"))
        at = rows[0].index("Lượt xem")
        assert [int(row[at]) for row in rows[1:]] == [row["views"] for row in listed["articles"]]
        assert sum(int(row[at]) for row in rows[1:]) == selection["views"]
    assert troubles == []


def test_one_sees_how_far_a_workbook_is_and_may_stop_it(browser: Browser, stand: Stand) -> None:
    """The rows that are written, of all; then that it is packed. Stopped, there is no file, and it can be asked for
    again."""
    with looking(browser) as context:
        page = opened(context, stand, [])
        sign_in(page, stand.tokens["viewer"])
        names, held = list[str](), list[Route]()
        far = {"rows": 12_000, "whole": 48_210}

        def tell(route: Route) -> None:
            names.append(route.request.url[-16:])
            route.fulfill(json=far)

        page.route("**/progress?*", tell)
        page.route("**/*.xlsx*", lambda route: held.append(route))
        for listed in (ARTICLES, BY_NAME["reports"]):
            go(page, listed)
            button = page.get_by_role("button", name="Tải Excel")
            button.click()
            said = page.locator("main")
            expect(said).to_contain_text("Đang tạo tệp: 12.000 / 48.210 dòng.")
            assert f"told={names[-1]}" in held[-1].request.url
            expect(button).to_be_disabled()
            far["rows"] = 48_210
            expect(said).to_contain_text("Đang nén tệp: 48.210 dòng.")
            far["rows"] = 12_000
            page.get_by_role("button", name="Dừng", exact=True).click()
            expect(said).to_contain_text("Đã dừng, không có tệp nào.")
            expect(button).to_be_enabled()
        assert stand.api(f"admin/sites/{SITE.id}/progress?told={names[-1]}") == {"rows": None, "whole": None}


def test_the_figures_are_those_of_the_api(browser: Browser, stand: Stand) -> None:
    with looking(browser) as context:
        page = opened(context, stand, [])
        sign_in(page, stand.tokens["editor"])
        go(page, PORTALS)
        rows = {row["id"]: row for row in stand.api("admin/sites?details=1")["sites"]}
        shown = page.locator(".portals tbody tr").filter(has_text=SITE.name).locator("td.number").all_inner_texts()
        assert shown == [dotted(rows[SITE.id]["online"]), dotted(rows[SITE.id]["today"])]
        assert "⚠" not in page.locator(".portals tbody tr").filter(has_text="Xã mới").inner_text()
        go(page, OVERVIEW)
        now = stand.api(f"admin/sites/{SITE.id}/now")
        figures = page.locator(".figures .number").all_inner_texts()
        names = ("online", "today", "week", "month", "total")
        assert figures == [dotted(now["numbers"][name]) for name in names]
        week = now["before"]["week"]
        assert dotted(week["visits"]) in page.locator(".figures > div").nth(2).inner_text()
        listed = stand.api(f"admin/sites/{SITE.id}/articles?period=last-week&limit=7")["articles"]
        assert page.locator(".ranks .number:not(.place)").all_inner_texts() == [dotted(row["views"]) for row in listed]
        ignored = stand.api(f"admin/sites/{SITE.id}/ignored")
        told = [number(text) for text in page.locator("table td.number").all_inner_texts()]
        assert sum(told) == sum(ignored["ignored"].values())
        go(page, ARTICLE)
        article = stand.api(f"admin/sites/{SITE.id}/article?key={KEY}")
        assert page.locator(".figures .number").first.inner_text() == dotted(article["total"])
        until(page, "document.querySelectorAll('.figures .number')[1].textContent !== '—'")
        # It was published before the site was counted: what it was read then is not known, and no 0.
        until(page, "document.querySelector('.figures > div:last-child').textContent.includes('khi đó chưa đếm')")
        assert page.locator(".figures .number").nth(2).inner_text() == "—"


def test_a_token_stays_in_its_tab_and_goes_when_it_should(browser: Browser, stand: Stand) -> None:
    """In no address, attribute, local storage or log; a second tab gets it, signing out is for both, thirty minutes
    away end it, and what was typed is kept."""
    token = stand.tokens["viewer"]
    with looking(browser) as context:
        page = opened(context, stand, [])
        sign_in(page, token)
        go(page, ARTICLES)
        assert token not in page.content() + page.url
        assert page.evaluate("JSON.stringify(localStorage)") == '{"visitstats.lang":"vi"}'
        assert page.evaluate("document.cookie") == ""
        other = context.new_page()
        other.goto(stand.url + "#/" + OVERVIEW.route)
        other.wait_for_selector(".figures")
        page.locator(".bar button", has_text="Đăng xuất").click()
        for each in (page, other):
            each.wait_for_selector("#token")
            assert each.evaluate("sessionStorage.length") == 0
            assert each.locator("#index a").count() == 0
    with looking(browser) as context:
        context.clock.install()
        page = opened(context, stand, [])
        sign_in(page, token)
        go(page, ARTICLES)
        page.fill("input[type=search]", "mận")
        page.clock.fast_forward(31 * 60_000)
        page.wait_for_selector("dialog[open] #token")
        assert "30 phút" in page.inner_text("dialog")
        assert page.evaluate("sessionStorage.length") == 0
        page.keyboard.press("Escape")
        page.fill("dialog #token", token)
        page.keyboard.press("Enter")
        page.wait_for_selector("dialog", state="detached")
        assert page.input_value("input[type=search]") == "mận"
    assert token not in stand.service.log


def test_a_token_that_ends_in_the_middle_loses_nothing(browser: Browser, stand: Stand) -> None:
    with looking(browser) as context:
        page = opened(context, stand, [])
        sign_in(page, stand.tokens["viewer"])
        go(page, ARTICLES)
        refused = '{"error": "denied", "detail": "this access token is not known"}'
        page.route("**/v1/admin/**", lambda route: route.fulfill(status=401, body=refused))
        page.fill("input[type=search]", "mận")
        page.wait_for_selector("dialog[open] #token")
        page.unroute("**/v1/admin/**")
        page.fill("dialog #token", stand.tokens["viewer"])
        page.keyboard.press("Enter")
        page.wait_for_selector("dialog", state="detached")
        until(page, "document.querySelectorAll('.list tbody tr').length === 1")
        assert page.input_value("input[type=search]") == "mận"


def test_wrong_tokens_are_told_in_words(browser: Browser, stand: Stand) -> None:
    with looking(browser, "en") as context:
        page = opened(context, stand, [])
        page.keyboard.press("Enter")
        assert "Paste the access token" in page.inner_text("#token-wrong")
        page.fill("#token", "vs_" + 40 * "x")
        page.keyboard.press("Enter")
        until(page, "document.getElementById('token-wrong').textContent.includes('revoked')")
        assert page.get_attribute("#token", "aria-invalid") == "true"
        page.check("input[type=checkbox]")
        assert page.get_attribute("#token", "type") == "text"


def test_back_reload_and_a_copied_address_bring_the_selection_back(browser: Browser, stand: Stand) -> None:
    """Also in another browser, and in the other language; a wrong one says so and leads out."""
    with looking(browser) as context:
        page = opened(context, stand, [])
        sign_in(page, stand.tokens["admin"])
        go(page, ARTICLES)
        page.select_option(".filters select >> nth=0", "last-month")
        until(page, "document.querySelector('.answer').textContent.includes('tháng trước')")
        page.click("[data-sort=title]")
        page.wait_for_selector("[aria-sort=ascending] [data-sort=title]")
        page.wait_for_selector(".list tbody .title")
        assert page.evaluate("document.activeElement.dataset.sort") == "title"
        address, titles = page.url, page.locator(".list tbody .title").all_inner_texts()
        page.go_back()
        page.wait_for_selector("[aria-sort=descending] [data-sort=views]")
        page.go_forward()
        page.wait_for_selector("[aria-sort=ascending] [data-sort=title]")
        page.reload()
        page.wait_for_selector("[aria-sort=ascending] [data-sort=title]")
        expect(page.locator(".list tbody .title")).to_have_text(titles)
    with looking(browser, "en") as context:
        page = context.new_page()
        page.goto(address)
        sign_in(page, stand.tokens["viewer"])
        page.wait_for_selector("[aria-sort=ascending] [data-sort=title]")
        expect(page.locator(".list tbody .title")).to_have_text(titles)
        page.click("a[lang=vi]")
        until(page, "document.documentElement.lang === 'vi'")
        page.wait_for_selector(".list tbody .title")
        expect(page.locator(".list tbody .title")).to_have_text(titles)
        for wrong in ("nowhere", "bac-ha/nowhere", "bac-ha/article?key=/no", "a/b/c/d", "%E0%A4%A"):
            page.evaluate("route => { location.hash = '#/' + route }", wrong)
            page.wait_for_selector("main .note, main > .sheet a")
        page.click("#index a >> nth=0")
        page.wait_for_selector(".portals, .figures")


def test_a_new_site_says_what_to_do_and_fills_with_its_first_visit(browser: Browser, stand: Stand) -> None:
    """No empty plots, and no comparison with what was not counted."""
    with looking(browser) as context:
        page = opened(context, stand, [])
        sign_in(page, stand.tokens["viewer"])
        page.evaluate("location.hash = '#/moi'")
        until(page, "document.querySelector('main').textContent.includes('visitstats site embed moi')")
        assert page.locator(".plot").count() == 0
        assert "chưa có kỳ trước để so" in page.locator(".figures > div").nth(1).inner_text()
        first = f"http://127.0.0.1:{stand.service.port}/v1/sites/moi/hit.gif?u=https%3A%2F%2Fmoi.example.vn%2Fa"
        urlopen(Request(first, headers={"User-Agent": BROWSER})).close()
        page.wait_for_selector(".plot rect.running")
        assert page.locator(".figures .number").nth(4).inner_text() == "1"


def test_scopes_see_what_they_may(browser: Browser, stand: Stand) -> None:
    """A token for one site goes there at once, and learns of no other."""
    with looking(browser) as context:
        page = opened(context, stand, [])
        sign_in(page, stand.tokens["one"])
        page.wait_for_selector(OVERVIEW.ready)
        assert page.locator("#index", has_text="Các cổng").count() == 0
        assert page.locator("h2", has_text="Ai đã thay đổi").count() == 0
        page.evaluate("location.hash = '#/moi'")
        page.wait_for_selector("main > .sheet a")
        assert "Không có cổng này" in page.inner_text("main")


def test_a_table_is_copied_without_the_clipboard_of_secure_pages(browser: Browser, stand: Stand) -> None:
    with looking(browser) as context:
        page = context.new_page()
        page.add_init_script(
            "Object.defineProperty(navigator, 'clipboard', { value: undefined });"
            "document.addEventListener('copy', () => { window.copied = document.getSelection().toString()"
            " || document.activeElement.value; });"
        )
        page.goto(stand.url)
        sign_in(page, stand.tokens["viewer"])
        go(page, ARTICLE)
        page.locator("button", has_text="Xem bảng số").click()
        page.locator("button", has_text="Chép bảng").click()
        until(page, "window.copied && window.copied.startsWith('Ngày\\tBài này')")
        assert page.locator("[role=status]", has_text="Đã chép").count() == 1


def test_live_numbers_come_by_themselves_and_stop_when_asked(browser: Browser, stand: Stand) -> None:
    """When the stream is lost the page says of when its numbers are. Nothing moves, however long they get."""
    few = '{"online":7,"today":4321,"week":5000,"month":6000,"total":7000,"at":"2026-11-24T10:42:07+07:00"}'
    many = (
        '{"online":1234,"today":1524318,"week":1524319,"month":21524318,"total":9007199254740991,'
        '"at":"2026-11-24T10:43:07+07:00"}'
    )
    told = [many, few]

    def live(route: Route) -> None:
        event = told.pop() if told else many
        route.fulfill(status=200, content_type="text/event-stream", body=f"data: {event}\n\n")

    with looking(browser) as context:
        page = opened(context, stand, [])
        page.route("**/live", live)
        sign_in(page, stand.tokens["viewer"])
        go(page, OVERVIEW)
        until(page, "document.querySelectorAll('.figures .number')[1].textContent === '4.321'")
        page.wait_for_selector(".plot rect.bar-of >> nth=0", state="attached")
        page.wait_for_selector(".live.hollow")
        assert "10:42:07" in page.inner_text(".live-line")
        page.evaluate(SHIFTS)
        until(page, "document.querySelectorAll('.figures .number')[1].textContent === '1.524.318'")
        page.wait_for_timeout(50)
        assert page.evaluate("window.moved") <= 0.01
        assert page.locator("main [aria-live=polite], main [aria-live=assertive]").count() == 0
        page.click(".live-line button")
        assert "đã dừng" in page.inner_text(".live-line")


MODULE = "const m = await import(document.querySelector('script').src.replace('main.js', 'format.js'));"


@pytest.mark.parametrize(
    ("lang", "expected"),
    [
        ("vi", ["0", "999", "1.000", "1.524.318", "9.007.199.254.740.991", "—", "0,29%", "6%"]),
        ("en", ["0", "999", "1,000", "1,524,318", "9,007,199,254,740,991", "—", "0.29%", "6%"]),
    ],
)
def test_numbers_are_written_as_the_language_does(
    browser: Browser, stand: Stand, lang: str, expected: list[str]
) -> None:
    with looking(browser, lang) as context:
        page = opened(context, stand, [])
        found = page.evaluate(
            f"async () => {{ {MODULE} return [...[0, 999, 1000, 1524318, 2 ** 53 - 1, null].map(m.number),"
            " m.percent(0.0029), m.percent(0.06)]; }"
        )
        assert found == expected


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "America/Los_Angeles", "Asia/Ho_Chi_Minh"])
def test_moments_are_the_sites_wherever_the_browser_is(browser: Browser, stand: Stand, zone: str) -> None:
    """A minute before midnight and at midnight."""
    context = browser.new_context(locale="vi-VN", timezone_id=zone)
    page = opened(context, stand, [])
    texts = page.evaluate(
        f"async () => {{ {MODULE} return ['2026-11-22T23:59:59+07:00', '2026-11-23T00:00:00+07:00'].map(text =>"
        " [m.moment(text), m.fullDate(text.slice(0, 10)), m.daysFrom(text, -1)].join(' | ')); }"
    )
    context.close()
    assert texts == [
        "22/11/2026 23:59 | Chủ nhật, 22/11/2026 | 2026-11-21",
        "23/11/2026 00:00 | thứ Hai, 23/11/2026 | 2026-11-22",
    ]


def test_comparisons_say_what_cannot_be_compared(browser: Browser, stand: Stand) -> None:
    """No period before; a gap in it; a base that is too small for percent; an estimate; the same."""
    before = '{ visits: %s, known: "%s", estimate: %s }'
    cases = [
        (5, before % ("null", "no", "false")), (5, before % (30, "partly", "false")),
        (5, before % (3, "yes", "false")), (120, before % (100, "yes", "true")), (80, before % (100, "yes", "false")),
        (7, before % (7, "yes", "false")), ("null", before % (7, "yes", "false")),
    ]  # fmt: skip
    with looking(browser) as context:
        page = opened(context, stand, [])
        asked = ", ".join(f"m.compared(t, {now}, {then}, 'visits')" for now, then in cases)
        found = page.evaluate(f"async () => {{ {MODULE} const t = await m.wordsOf('frame'); return [{asked}]; }}")
    assert [each["change"] for each in found] == [
        "chưa có kỳ trước để so", "không so được: có lúc không có số liệu", "▲ nhiều hơn 2", "▲ nhiều hơn 20 (20%)",
        "▼ ít hơn 20 (20%)", "bằng nhau", "không so được: có lúc không có số liệu",
    ]  # fmt: skip
    assert [each["then"] for each in found] == [None, "30", "3", "khoảng 100", "100", "7", "7"]


def test_dates_are_typed_as_people_write_them(browser: Browser, stand: Stand) -> None:
    """What is none says how it is written, and nothing is asked for meanwhile."""
    with looking(browser) as context:
        page = opened(context, stand, [])
        typed = ["03/11/2026", "3-11-2026", "3.11.2026", "2026-11-03", "31/02/2026", "11/03", "x"]
        found = page.evaluate(f"async () => {{ {MODULE} return {typed}.map(m.typedDate); }}")
        assert found == 4 * ["2026-11-03"] + 3 * [None]
        sign_in(page, stand.tokens["viewer"])
        go(page, ARTICLES)
        page.select_option(".filters select >> nth=0", "own")
        page.keyboard.insert_text("31/02/2026")
        page.keyboard.press("Tab")
        page.wait_for_selector(".own [aria-invalid=true]")
        assert "Ngày phải viết như 03/11/2026" in page.inner_text(".own")
        page.fill(".own input >> nth=0", "01/11/2026")
        page.keyboard.press("Tab")
        until(page, "document.querySelector('.answer').textContent.includes('01/11')")
        assert page.locator(".own [aria-invalid=true]").count() == 0


def click_twice(page: Page, button: str, opens: str) -> None:
    """As many do with everything: here the second click comes when the dialog is there already."""
    box = page.locator(button).bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.wait_for_selector(opens)
    page.mouse.down(click_count=2)
    page.mouse.up(click_count=2)
    assert page.locator("dialog").count() == 1
    assert page.evaluate("document.activeElement.type") == "search", "the focus is where one types"


def test_many_sites_many_authors_and_many_years_stay_light(browser: Browser, stand: Stand) -> None:
    """150 portals, 10,000 authors, ten years: few elements and few bars, names that are offered as one types, and a
    list to search in, which is gone when a portal is chosen."""
    stand.grow(sites=150, authors=10_000, years=10)

    def light(name: str) -> None:
        assert page.evaluate("document.querySelectorAll('*').length") <= MOST_NODES, name
        assert (
            page.locator(".plot").evaluate_all(
                "plots => Math.max(0, ...plots.map(each => each.querySelectorAll('rect').length))"
            )
            <= MOST_BARS
        ), name

    with looking(browser) as context:
        page = opened(context, stand, [])
        sign_in(page, stand.tokens["admin"])
        go(page, PORTALS)
        light("portals")
        assert "153 cổng" in page.inner_text("main [role=status]")
        page.fill("#find", "xa so 149")
        until(page, "document.querySelectorAll('.portals tbody tr').length === 1")
        click_twice(page, ".site", "dialog[open] .sites a")
        page.keyboard.insert_text("bac ha")
        page.keyboard.press("Enter")
        page.wait_for_selector(OVERVIEW.ready)
        assert page.locator("dialog").count() == 0
        for choice in page.locator(".choice label", has_text=re.compile("ngày|tháng|năm|Các")).all():
            choice.click()
            expect(page.locator(".plot").nth(1).locator("rect.bar-of").first).to_be_attached()
            light(choice.inner_text())
        years = stand.api(f"admin/sites/{SITE.id}/history?by=year")["rows"]
        assert len(years) >= 10
        page.evaluate("location.hash = '#/bac-ha/articles?period=all'")
        page.wait_for_selector("input[list]", state="attached")
        page.wait_for_selector(".list tbody tr:nth-child(50)")
        light("articles")
        author = page.locator("input[list]").first
        author.fill("tac gia 9321")
        page.wait_for_selector("option[value='Tác giả 9321']", state="attached")
        author.fill("Tác giả 9321")
        until(page, "document.querySelectorAll('.list tbody tr').length === 1")
        page.click(".chips button")
        page.wait_for_selector(".list tbody tr:nth-child(50)")
        page.locator(".end button").click()
        page.wait_for_selector(".list tbody tr:nth-child(100)")
        until(page, "document.activeElement.closest('tr')?.rowIndex === 51")
