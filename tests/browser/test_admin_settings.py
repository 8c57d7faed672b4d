"""The pages for settings and for what numbers mean, used in a real browser."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.admin_stand import SITE, Stand, go, looking, opened, sign_in
from tests.browser.admin_table import PAGES, Listed

pytestmark = pytest.mark.browser

HERE = {listed.name: listed for listed in PAGES}
NEW = Listed("settings", "moi/settings", ".lines li")
HOST = SITE.hosts[0]
AGENT = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Safari/537.36"
"""Of a person: a headless browser is none (rule 8)."""
SHADOW = "document.querySelector('.stage').shadowRoot"


@pytest.fixture
def page(browser: Browser, stand: Stand) -> Iterator[Page]:
    troubles: list[str] = []
    # The policy forbids what `until` does; another test has all pages run under it.
    with looking(browser, bypass_csp=True, user_agent=AGENT) as context:
        found = opened(context, stand, troubles)
        sign_in(found, stand.tokens["admin"])
        yield found
    # What the server refuses is told on the console by the browser itself.
    assert [each for each in troubles if "400" not in each] == []


def part(page: Page, heading: str) -> str:
    """The selector of a part of the page, by its heading."""
    return f"section:has(h2:text-is('{heading}'))"


def until(page: Page, what: str) -> None:
    page.wait_for_function(what)


@pytest.mark.parametrize("preset", ["lao-cai", "footer-inline", "digits", "classic-long"])
def test_the_preview_is_the_box_that_portals_get(page: Page, stand: Stand, preset: str) -> None:
    """Element by element what the page for frames has, with its style sheet."""
    go(page, HERE["settings"])
    page.select_option("select:has(option[value='badge'])", preset)
    until(page, f"{SHADOW}.querySelectorAll('.vs-line').length && document.querySelector('.code').value.length")
    expected = page.evaluate(
        "async address => (await (await fetch(address)).text())"
        ".split('<main>')[1].split('</main>')[0].trim().replace(/>\\n</g, '><').replaceAll('\u00a0', '&nbsp;')",
        f"../v1/sites/{SITE.id}/box?preset={preset}",
    )
    until(page, f"{SHADOW}.querySelectorAll('.vs-line').length === {expected.count('vs-line ')}")
    shown = page.evaluate(f"{SHADOW}.querySelector('.vs-box').outerHTML")
    assert _without_quirks(shown) == _without_quirks(expected)
    assert page.evaluate(f"{SHADOW}.querySelector('link').sheet.cssRules.length") > 50


def _without_quirks(html: str) -> str:
    """Attributes in one order; the rest as it is."""
    head, _, rest = html.partition(">")
    return " ".join(sorted(head.replace('" ', '"\n').split("\n"))) + rest


def test_lines_are_moved_and_named_by_buttons_and_the_code_follows(page: Page, stand: Stand) -> None:
    """Each move is said; the focus stays on the line; what is copied is what the service makes of it."""
    go(page, HERE["settings"])
    until(page, "document.querySelector('textarea.code').value.includes('data-lines')")
    page.click(".lines li:nth-child(2) button:first-of-type")
    assert "vị trí 1 trong 4" in page.locator("p.unseen[role=status]").inner_text()
    assert page.evaluate("document.activeElement.closest('li').textContent").startswith("Hôm nay")
    page.fill(".lines li:nth-child(1) input", 'Nay "<b>"')
    page.click(".lines li:nth-child(4) button:last-of-type")
    until(page, "document.querySelector('textarea.code').value.includes('Nay')")
    until(page, "!document.querySelector('textarea.code').value.includes('total')")
    page.fill("input[value^='http://127']", "https://dem.example.vn")
    until(page, "document.querySelector('textarea.code').value.includes('https://dem.example.vn/widget.js')")
    code = page.input_value("textarea.code")
    assert 'data-lines="today,online,week"' in code
    assert "Nay &quot;&lt;b&gt;&quot;" in code
    assert page.evaluate(f"{SHADOW}.querySelector('.vs-label').textContent") == 'Nay "<b>": '
    assert "connect-src https://dem.example.vn" in page.inner_text(part(page, "Dán mã ở đâu?"))
    page.check("input[value=unknown]")
    assert page.evaluate(f"{SHADOW}.querySelector('.vs-value').textContent") == "—"
    page.check("input[value=stale]")
    assert "cập nhật lúc" in page.evaluate(f"{SHADOW}.querySelector('.vs-note').textContent")


def test_a_part_is_saved_by_itself_and_what_is_refused_changes_nothing(page: Page, stand: Stand) -> None:
    go(page, NEW)
    names = part(page, "Tên và tên miền")
    page.fill(f"{names} input", "Xã mới tinh")
    assert page.inner_text(f"{names} [role=status]") == "Chưa lưu"
    page.click(f"{names} button[type=submit]")
    page.wait_for_selector(f"{names} [role=status]:has-text('Đã lưu lúc')")
    assert stand.api("admin/sites/moi/settings")["name"] == "Xã mới tinh"
    for hosts, said in (("", "ít nhất một tên miền"), ("a b c", "Máy chủ không nhận cài đặt này")):
        page.fill(f"{names} textarea", hosts)
        page.click(f"{names} button[type=submit]")
        page.wait_for_selector(f"{names} .wrong:has-text('{said}')")
    assert stand.api("admin/sites/moi/settings")["hosts"] == ["moi.example.vn"]


def test_who_may_not_change_settings_reads_them(browser: Browser, stand: Stand) -> None:
    with looking(browser) as context:
        page = opened(context, stand, [])
        sign_in(page, stand.tokens["editor"])
        go(page, NEW)
        names = part(page, "Tên và tên miền")
        assert page.locator(f"{names} button[type=submit]").count() == 0
        assert page.locator(f"{names} input").is_disabled()
        assert "Chỉ quản trị viên" in page.inner_text(names)


def test_addresses_of_one_article_stand_together_and_changed_rules_are_tried_first(page: Page, stand: Stand) -> None:
    go(page, HERE["settings"])
    tester, rules = part(page, "Hai địa chỉ này có phải một bài?"), part(page, "Quy tắc của địa chỉ")
    tried = [
        f"https://{HOST}/bai?a=1&fbclid=x",
        f"https://{HOST}/bai?a=1",
        f"https://{HOST}/bai?a=2",
        "https://khac.vn/",
    ]
    page.fill(f"{tester} textarea", "\n".join(tried))
    page.click(f"{tester} button[type=submit]")
    page.wait_for_selector(f"{tester} .tried")
    assert "4 địa chỉ là 2 bài" in page.inner_text(tester)
    groups = page.locator(f"{tester} .tried")
    assert groups.count() == 3
    assert groups.nth(0).locator("summary").count() == 2
    assert "tên miền này không phải của cổng" in groups.nth(2).inner_text()
    page.fill(f"{rules} .row .pick:nth-child(3) textarea", "a")
    page.click(f"{rules} button[type=button]")
    page.wait_for_selector(f"{tester} .note")
    assert "4 địa chỉ là 1 bài" in page.inner_text(tester)
    page.fill(f"{rules} textarea >> nth=3", "khong co mui ten")
    page.click(f"{rules} button[type=submit]")
    page.wait_for_selector(f"{rules} .wrong:has-text('Quy tắc 1')")
    assert stand.api(f"admin/sites/{SITE.id}/settings")["extra_drop_params"] == []


def test_another_systems_figure_stands_beside_ours(page: Page, stand: Stand) -> None:
    """Typed as people write numbers; with reasons for that system."""
    go(page, HERE["why"])
    rows = [row for row in stand.api(f"admin/sites/{SITE.id}/history?by=month")["rows"] if row["kind"] != "running"]
    mine = rows[-1]["views"]
    section = part(page, "Vì sao số khác hệ thống kia?")
    page.fill(f"{section} input", f"{mine + 1000:,}".replace(",", "."))
    said = page.inner_text(f"{section} [role=status]")
    assert f"{mine:,}".replace(",", ".") in said
    assert "nhiều hơn 1.000" in said
    page.fill(f"{section} input", "1.5x4")
    assert "Hãy gõ một số nguyên" in page.inner_text(f"{section} [role=status]")
    before = page.inner_text(f"{section} .causes")
    page.select_option(f"{section} select >> nth=0", "logs")
    assert page.inner_text(f"{section} .causes") != before


def test_a_page_load_is_tried_and_nothing_is_counted(page: Page, stand: Stand) -> None:
    before = stand.api(f"admin/sites/{SITE.id}/now")["numbers"]["total"]
    go(page, HERE["why"])
    section = part(page, "Vì sao lượt này không được tính?")
    for url, said in (
        (f"https://{HOST}/bai-moi", "Sẽ được tính, cho bài /bai-moi"),
        ("https://khac.vn/bai", "Sẽ không được tính"),
        ("bai-moi", "Địa chỉ phải viết như"),
    ):
        page.fill(f"{section} input", url)
        page.keyboard.press("Enter")
        until(page, f"document.querySelector('[type=url]').closest('section').innerText.includes({said!r})")
    assert stand.api(f"admin/sites/{SITE.id}/now")["numbers"]["total"] == before
