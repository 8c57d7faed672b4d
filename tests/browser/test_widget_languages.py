"""Labels and numbers in the language that a CMS says, however it spells it; boxes as the snippet spells them out."""

from __future__ import annotations

import json
import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.portal import NUMBERS, STATIC, Answer, Portal, article

pytestmark = pytest.mark.browser

LABELS: dict[str, dict[str, str]] = json.loads((STATIC / "words.json").read_text(encoding="utf-8"))
NBSP, NARROW = "\xa0", "\u202f"


def box(page: Page, portal: Portal, attributes: str, body: str = "") -> list[str]:
    page.goto(portal.page("/tin", article(body, attributes=f'data-site="demo" {attributes}')))
    # Looked at from outside the page's own world, which some of these tests break.
    expect(page.locator(".vs-box [data-vs=total]")).to_have_text(re.compile("234"))
    return page.locator(".vs-line").all_text_contents()


@pytest.mark.parametrize(
    ("given", "language", "today"),
    [
        ("vi_VN", "vi", "1.524"),
        ("vi-VN", "vi", "1.524"),
        ("VI", "vi", "1.524"),
        ("en-US", "en", "1,524"),
        ("en_GB", "en", "1,524"),
        ("en_US.UTF-8", "en", "1,524"),
        ("en-", "en", "1,524"),
        ("fr_FR", "fr", f"1{NARROW}524"),
        ("zh-Hans-CN", "zh", "1,524"),
        ("th_TH", "th", "1,524"),
        ("ru", "ru", f"1{NBSP}524"),
        ("km-KH", "km", "1.524"),
        ("lo_LA", "lo", "1.524"),
        ("{{lang}}", "vi", "1.524"),
        ("{{ to }}", "vi", "1.524"),
        ("${locale}", "vi", "1.524"),
        ("<%= lang %>", "vi", "1.524"),
        ("klingon", "vi", "1.524"),
        ("xx", "vi", "1.524"),
        ("1066", "vi", "1.524"),
        ("toString", "vi", "1.524"),
        ("de", "vi", "1.524"),
        ("", "vi", "1.524"),
    ],
)
def test_labels_are_those_of_the_language_and_numbers_those_of_the_locale(
    page: Page, portal: Portal, given: str, language: str, today: str
) -> None:
    check(page, portal, given, language, today)


@pytest.mark.parametrize(
    ("given", "language", "today"),
    [
        ("vi_VN", "vi", "1.524"),
        ("en_US.UTF-8", "en", "1,524"),
        ("fr", "fr", f"1{NBSP}524"),
        ("km", "km", "1.524"),
        ("{{lang}}", "vi", "1.524"),
    ],
)
def test_so_they_are_in_a_browser_that_knows_no_locales(
    page: Page, portal: Portal, given: str, language: str, today: str
) -> None:
    page.add_init_script("delete window.Intl; delete window.Promise; delete window.fetch; delete window.crypto")
    page.add_init_script("Object.defineProperty(window, 'localStorage', {value: undefined})")
    check(page, portal, given, language, today)


def check(page: Page, portal: Portal, given: str, language: str, today: str) -> None:
    escaped = given.replace("<", "&lt;")
    found = box(page, portal, f'data-lang="{escaped}" data-lines="online,today,last_month,total"')
    labels = LABELS[language]
    assert [line.partition(":")[0] for line in found] == [
        labels[name] for name in ("online", "today", "last_month", "total")
    ]
    assert found[1] == f"{labels['today']}: {today}"
    assert page.text_content(".vs-title") == labels["title"]
    assert str(page.get_attribute(".vs-box", "lang")).lower().startswith(language)


def test_every_language_has_every_label() -> None:
    assert set(LABELS) == {"vi", "en", "fr", "zh", "th", "ru", "km", "lo"}
    for labels in LABELS.values():
        assert labels.keys() == LABELS["vi"].keys()
        assert all(labels.values())


def test_vietnamese_needs_no_second_file(page: Page, portal: Portal) -> None:
    box(page, portal, 'data-lang="vi"')
    page.wait_for_load_state("networkidle")
    assert not [path for path in portal.asked if "more" in path]


@pytest.mark.parametrize("how", ["404", "hangs", "Trusted Types"])
def test_numbers_are_shown_although_the_second_file_cannot_be_had(page: Page, portal: Portal, how: str) -> None:
    headers = {}
    if how == "404":
        page.route("**/more.js", lambda route: route.fulfill(status=404, body=""))
    elif how == "hangs":
        portal.held.add("/vs/widget/more.js")
    else:
        headers = {"content-security-policy": "require-trusted-types-for 'script'; trusted-types 'none'"}
    page.clock.install()
    address = portal.page("/tin", article(attributes='data-site="demo" data-lang="en"'), headers)
    page.goto(address, wait_until="commit")
    portal.wait_for(1)
    page.clock.run_for(11_000)
    expect(page.locator("[data-vs=today]")).to_have_text("1.524")
    portal.release()


def test_a_second_file_that_never_comes_holds_up_no_event(page: Page, portal: Portal) -> None:
    portal.held.add("/vs/widget/more.js")
    page.goto(portal.page("/tin", article(attributes='data-site="demo" data-lang="en"')), wait_until="load")
    portal.wait_for(1)
    assert page.evaluate("document.readyState") == "complete"
    portal.release()
    expect(page.locator(".vs-line").nth(1)).to_have_text("Today: 1,524")


def test_under_trusted_types_the_page_may_have_the_second_file_by_itself(page: Page, portal: Portal) -> None:
    policy = {"content-security-policy": "require-trusted-types-for 'script'; trusted-types 'none'"}
    for order in (0, 1):
        more = '<script async src="/vs/widget/more.js"></script>'
        attributes = 'data-site="demo" data-lang="en"'
        html = article(more if order else "", attributes=attributes) + ("" if order else more)
        page.goto(portal.page("/tin", html, policy))
        expect(page.locator(".vs-box .vs-line").nth(1)).to_have_text("Today: 1,524")


# As the snippet spells it out ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("way", "today", "total"),
    [
        ("dot", "1.524", "1.234.567"),
        ("comma", "1,524", "1,234,567"),
        ("space", f"1{NBSP}524", f"1{NBSP}234{NBSP}567"),
        ("none", "1524", "1234567"),
        ("short", "1,5k", "1,2M"),
        ("00000000", "00001524", "01234567"),
        ("000", "1524", "1234567"),
        ("nonsense", "1.524", "1.234.567"),
    ],
)
def test_numbers_are_written_as_the_snippet_says(page: Page, portal: Portal, way: str, today: str, total: str) -> None:
    page.goto(portal.page("/tin", article(attributes=f'data-site="demo" data-format="{way}"')))
    expect(page.locator("[data-vs=total]")).to_have_text(total)
    assert page.text_content("[data-vs=today]") == today


def test_the_owners_labels_lines_gaps_and_title(page: Page, portal: Portal) -> None:
    portal.answer("hit", Answer({**NUMBERS, "last_week": 17, "record": 9999, "record_date": "2026-10-20"}))
    attributes = (
        'data-lines="online,search_engines|today,last_week|record,total" data-title="Thống kê"'
        ' data-labels="Đang truy cập||&lt;b>Nay|Tuần rồi" data-label-record="Đỉnh" data-label-total="Tổng"'
    )
    assert box(page, portal, attributes) == [
        "Đang truy cập: 3", "Máy chủ tìm kiếm: —", "<b>Nay: 1.524", "Tuần rồi: 17", "Đỉnh: 9.999 (20/10/2026)",
        "Tổng: 1.234.567",
    ]  # fmt: skip
    assert page.text_content(".vs-title") == "Thống kê"
    assert page.locator(".vs-gap-before").evaluate_all("lines => lines.map(line => line.className)") == [
        "vs-line vs-today vs-gap-before",
        "vs-line vs-record vs-gap-before",
    ]
    assert page.locator(".vs-today .vs-sep").text_content() == ": "


@pytest.mark.parametrize(
    ("given", "labels", "lines"),
    [
        ("{{ lines }}", "", ["online", "today", "week", "total"]),
        ("undefined", "", ["online", "today", "week", "total"]),
        ("title,at,off,lang,constructor,toString", "", ["online", "today", "week", "total"]),
        ("today,visitors|total", "", ["today", "total"]),
        ("visitors,today,total", "Khách|Nay", ["today", "total"]),
    ],
)
def test_a_line_that_does_not_exist_is_left_out_and_no_line_at_all_is_the_usual_ones(
    page: Page, portal: Portal, given: str, labels: str, lines: list[str]
) -> None:
    found = box(page, portal, f'data-lines="{given}" data-labels="{labels}"')
    places = page.locator(".vs-line [data-vs]")
    assert places.evaluate_all("places => places.map(place => place.dataset.vs)") == lines
    if labels:
        assert found == ["Nay: 1.524", "Tất cả: 1.234.567"]


@pytest.mark.parametrize(
    ("language", "direction"),
    [("ar", "rtl"), ("fa-IR", "rtl"), ("he_IL", "rtl"), ("ur", "rtl"), ("arn", "ltr"), ("en", "ltr"), ("vi", "ltr")],
)
def test_a_language_from_right_to_left_is_written_so(page: Page, portal: Portal, language: str, direction: str) -> None:
    page.goto(portal.page("/tin", article(attributes=f'data-site="demo" data-lang="{language}" data-labels="1|2|3|4"')))
    expect(page.locator(".vs-box [data-vs=total]")).to_have_text(re.compile("^[^—]+$"))
    assert page.locator(".vs-box").evaluate("box => getComputedStyle(box).direction") == direction


@pytest.mark.parametrize(
    ("structure", "tags"),
    [
        ("ul", ["UL", "LI", "SPAN", "SPAN"]),
        ("dl", ["DL", "DIV", "DT", "DD"]),
        ("table", ["TABLE", "TR", "TH", "TD"]),
        ("inline", ["P", "SPAN", "SPAN", "SPAN"]),
        ("nonsense", ["UL", "LI", "SPAN", "SPAN"]),
    ],
)
def test_the_structure_of_the_box(page: Page, portal: Portal, structure: str, tags: list[str]) -> None:
    found = box(page, portal, f'data-structure="{structure}" data-title=""')
    assert found == ["Đang online: 3", "Hôm nay: 1.524", "Trong tuần: 18.568", "Tất cả: 1.234.567"]
    names = (".vs-list", ".vs-line", ".vs-label", ".vs-value")
    assert [page.locator(name).first.evaluate("element => element.tagName") for name in names] == tags
    text = "Đang online: 3 | Hôm nay: 1.524 | Trong tuần: 18.568 | Tất cả: 1.234.567"
    if structure == "inline":
        assert page.text_content(".vs-list") == text


@pytest.mark.parametrize("given", [True, False], ids=["by the page", "by the widget"])
def test_a_theme_is_classes_and_one_style_sheet(page: Page, portal: Portal, given: bool) -> None:
    link = '<link rel="stylesheet" href="/vs/widget/themes/box.css">' if given else ""
    box(page, portal, 'data-theme="vs-portal vs-blue"', link)
    assert (page.get_attribute(".vs-box", "class") or "").split() == ["vs-box", "vs-portal", "vs-blue"]
    assert page.locator("link[href$='/vs/widget/themes/box.css']").count() == 1


@pytest.mark.parametrize("mode", ["open", "closed"])
def test_a_box_in_a_shadow_root_has_its_style_sheet_there(page: Page, portal: Portal, mode: str) -> None:
    """Styles of the page do not reach into a shadow root."""
    page.goto(portal.page("/tin", article("<div id=h></div>", attributes='data-site="demo" data-theme="vs-card"')))
    expect(page.locator("main > .vs-box [data-vs=total]")).to_have_text("1.234.567")
    page.evaluate(
        """mode => {
            const root = window.root = document.getElementById('h').attachShadow({mode});
            root.innerHTML = '<div data-vs-box></div>';
            visitstats.render(root.firstChild);
        }""",
        mode,
    )
    links = "root => root.querySelectorAll('link[href$=\"/vs/widget/themes/box.css\"]').length"
    assert page.evaluate(f"({links})(root)") == 1
    assert page.evaluate(f"({links})(document)") == 1
    assert page.evaluate("root.querySelector('[data-vs=total]').textContent") == "1.234.567"


def test_the_style_sheet_knows_whether_the_numbers_are_known(page: Page, portal: Portal) -> None:
    page.clock.install()
    portal.answer("hit", Answer({}, status=503), Answer(NUMBERS))
    portal.answer("alive", Answer({}, status=503))
    page.goto(portal.page("/tin", article(attributes='data-site="demo" data-theme="vs-digits"')))
    states = page.locator(".vs-box")
    expect(states).to_have_attribute("data-vs-state", "unknown")
    for _ in range(60):  # five seconds after its answer the hit is sent again, whenever that comes
        if portal.hits[1:]:
            break
        page.clock.run_for(1_000)
    expect(states).to_have_attribute("data-vs-state", "fresh")
    page.clock.run_for(61_000)
    expect(states).to_have_attribute("data-vs-state", "stale")
