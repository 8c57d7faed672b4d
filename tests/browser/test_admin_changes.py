"""The pages of changes as an editor and an administrator use them: a number is looked at before it is corrected, each
change can be undone where it was made and in the log, and the counter is reset only by who types the portal's name."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.admin_stand import SITE, Stand, axe_or_skip, looking, opened, sign_in, standing
from tests.browser.test_admin_pages import barriers

pytestmark = pytest.mark.browser
PICTURES = os.environ.get("VISITSTATS_PICTURES", "")
"""A folder for pictures, for whoever wants to look at them."""


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    with standing(tmp_path_factory.mktemp("admin")) as found:
        yield found


def seen(page: Page, name: str) -> None:
    if PICTURES:
        page.screenshot(path=Path(PICTURES) / f"{name}.png", full_page=True)


def to(page: Page, name: str) -> None:
    page.evaluate(f"location.hash = '#/{SITE.id}/{name}'")
    expect(page.locator("h1")).to_have_text({"corrections": "Điều chỉnh", "audit": "Nhật ký thay đổi"}[name])


def test_an_editor_corrects_looks_and_undoes(browser: Browser, stand: Stand) -> None:
    """What the dialog announces is what the numbers are then; the undo says so before, too. No dialog has a barrier."""
    axe, troubles = axe_or_skip(), list[str]()
    before = stand.api(f"admin/sites/{SITE.id}/now")["numbers"]["total"]
    with looking(browser, bypass_csp=True) as context:
        page = opened(context, stand, troubles)
        sign_in(page, stand.tokens["editor"])
        to(page, "corrections")
        sheet = page.locator("section", has_text="Số nào sai?").first
        seen(page, "corrections")
        sheet.get_by_role("button", name="Xem trước").click()
        expect(sheet.get_by_text("Đây không phải là số nguyên")).to_be_visible()
        expect(sheet.get_by_text("Hãy ghi lý do")).to_be_visible()
        assert barriers(page, axe) == [], "with errors at the fields"
        sheet.get_by_label("Số lượt", exact=True).fill("1.200")
        sheet.get_by_label("Lý do").fill("Máy chủ cũ đếm thiếu")
        sheet.get_by_role("button", name="Xem trước").click()
        dialog = page.get_by_role("dialog")
        expect(dialog).to_contain_text(f"{before + 1200:,}".replace(",", "."))
        assert barriers(page, axe) == []
        seen(page, "adjust-dialog")
        dialog.get_by_role("button", name="Điều chỉnh", exact=True).click()
        expect(sheet.get_by_role("status")).to_contain_text("Đã lưu lúc")
        assert stand.api(f"admin/sites/{SITE.id}/now")["numbers"]["total"] == before + 1200
        seen(page, "adjusted")
        to(page, "audit")
        row = page.locator("tbody tr").first
        expect(row).to_contain_text("Máy chủ cũ đếm thiếu")
        seen(page, "audit")
        row.get_by_role("button").click()
        expect(page.get_by_role("dialog")).to_contain_text("Hoàn tác thay đổi này?")
        assert barriers(page, axe) == []
        seen(page, "undo-dialog")
        page.get_by_role("dialog").get_by_role("button", name="Hoàn tác", exact=True).click()
        expect(page.locator("tbody tr")).to_have_count(2)
        expect(page.locator("tbody tr").nth(1)).to_contain_text("Đã hoàn tác: Lan editor")
        assert stand.api(f"admin/sites/{SITE.id}/now")["numbers"]["total"] == before
        page.get_by_label("Việc", exact=True).select_option("adjust")
        expect(page.locator("tbody tr")).to_have_count(1)
        assert "kind=adjust" in page.url
        assert page.get_by_text("Đặt lại bộ đếm?").count() == 0, "an editor does not see what is for administrators"
    assert troubles == []


def test_who_changed_which_setting_is_in_the_log(browser: Browser, stand: Stand) -> None:
    """In words, with what was there before; it leads to the settings, where it is set again."""
    troubles = list[str]()
    with looking(browser) as context:
        page = opened(context, stand, troubles)
        sign_in(page, stand.tokens["admin"])
        page.evaluate(f"location.hash = '#/{SITE.id}/settings'")
        names = page.locator("form", has_text="Tên cổng").last
        names.get_by_label("Tên cổng").fill("Cổng xã Bắc Hà")
        names.get_by_role("button", name="Lưu").click()
        expect(names.get_by_role("status")).to_contain_text("Đã lưu lúc")
        to(page, "audit")
        row = page.locator("tbody tr").first
        expect(row).to_contain_text("Đổi cài đặt của cổng")
        expect(row).to_contain_text(f"Tên cổng: {SITE.name} → Cổng xã Bắc Hà")
        expect(row).to_contain_text("Lan admin")
        expect(row).to_contain_text("Không hoàn tác ở đây")
        assert row.get_by_role("button").count() == 0
        seen(page, "audit-settings")
        row.get_by_role("link", name="Cài đặt").click()
        expect(page.locator("h1")).to_have_text("Cài đặt")
    assert troubles == []


def test_an_administrator_resets_what_is_typed(browser: Browser, stand: Stand) -> None:
    axe, troubles = axe_or_skip(), list[str]()
    before = stand.api(f"admin/sites/{SITE.id}/now")["numbers"]["total"]
    with looking(browser, width=360, bypass_csp=True) as context:
        page = opened(context, stand, troubles)
        sign_in(page, stand.tokens["admin"])
        to(page, "corrections")
        sheet = page.locator("section", has_text="Đặt lại bộ đếm?").last
        sheet.get_by_label("Lý do").fill("Chuyển máy chủ")
        sheet.get_by_role("button", name="Đặt lại…").click()
        dialog = page.get_by_role("dialog")
        act = dialog.get_by_role("button", name="Đặt lại bộ đếm", exact=True)
        expect(act).to_be_disabled()
        assert barriers(page, axe) == []
        seen(page, "reset-dialog-360")
        dialog.get_by_label("để xác nhận").fill("bac-h")
        expect(act).to_be_disabled()
        dialog.get_by_label("để xác nhận").fill(SITE.id)
        act.click()
        expect(sheet.get_by_role("status")).to_contain_text("Đặt lại bộ đếm")
        assert stand.api(f"admin/sites/{SITE.id}/now")["numbers"]["total"] == 0
        seen(page, "corrections-360")
        sheet.get_by_role("button", name="Hoàn tác").click()
        page.get_by_role("dialog").get_by_role("button", name="Hoàn tác", exact=True).click()
        expect(sheet.get_by_role("status")).to_contain_text("Đã hoàn tác")
        assert stand.api(f"admin/sites/{SITE.id}/now")["numbers"]["total"] == before
    assert troubles == []
