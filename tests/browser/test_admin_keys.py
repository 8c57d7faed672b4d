"""Old numbers by the keyboard alone: a file with a mistake, the corrected one, the import, and its undo."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, FileChooser, Page, expect

from tests.browser.admin_stand import SITE, Stand, dotted, looking, opened, standing, tab_to
from tests.waiting import wait_until

pytestmark = [pytest.mark.browser, pytest.mark.timeout(150)]


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    with standing(tmp_path_factory.mktemp("admin")) as found:
        yield found


def choose(page: Page, choosers: list[FileChooser], path: Path) -> None:
    """Choose a file and have it looked at."""
    tab_to(page, "#file")
    page.keyboard.press("Enter")

    def comes() -> bool:
        page.wait_for_timeout(20)
        return bool(choosers)

    wait_until(comes, "the browser asks for a file", 20)
    choosers.pop().set_files(path)
    tab_to(page, ".rows button.main")
    page.keyboard.press("Enter")


def test_a_file_with_a_mistake_is_corrected_imported_and_taken_back(
    browser: Browser, stand: Stand, tmp_path: Path
) -> None:
    """By Tab, Enter and Space; what comes next has the focus, so that nobody begins at the top of the page again."""
    host, troubles = SITE.hosts[0], list[str]()
    before = stand.api(f"admin/sites/{SITE.id}/now")["numbers"]["total"]
    wrong, right = tmp_path / "so-cu.csv", tmp_path / "so-cu-sua.csv"
    line = f"https://{host}/tin-tuc/bai-cu.html;{{}}\n"
    wrong.write_text("Địa chỉ;Lượt xem\n" + line.format("12x4"), "utf-8")
    right.write_text("Địa chỉ;Lượt xem\n" + line.format("1204"), "utf-8")
    with looking(browser) as context:
        page = opened(context, stand, troubles)
        choosers = list[FileChooser]()
        page.on("filechooser", lambda chooser: choosers.append(chooser))
        page.keyboard.insert_text(stand.tokens["editor"])
        page.keyboard.press("Enter")
        page.wait_for_selector("#index a")
        page.evaluate(f"location.hash = '#/{SITE.id}/import'")
        page.wait_for_selector("#file")
        choose(page, choosers, wrong)
        refusal = page.locator(".note[role=alert]")
        expect(refusal).to_contain_text("12x4")
        expect(refusal).to_contain_text("Dòng 2, ô Lượt xem")
        expect(refusal).to_be_focused()
        choose(page, choosers, right)
        expect(page.locator("h2", has_text="so-cu-sua.csv")).to_be_focused()
        expect(page.locator("main")).to_contain_text("1.204")
        tab_to(page, ".end button.main")
        page.keyboard.press("Enter")
        done = page.locator("main p[tabindex]")
        expect(done).to_be_focused()
        listed = f"admin/sites/{SITE.id}/articles?key=/tin-tuc/bai-cu.html&period=all"
        assert [row["total"] for row in stand.api(listed)["articles"]] == [1204]
        tab_to(page, ".end button")
        page.keyboard.press("Space")
        dialog = page.get_by_role("dialog")
        expect(dialog).to_contain_text("Hoàn tác")
        tab_to(page, "dialog button.main")
        page.keyboard.press("Enter")
        expect(page.locator(".note.good")).to_contain_text("Đã hoàn tác")
        after = stand.api(f"admin/sites/{SITE.id}/now")["numbers"]["total"]
        assert (after, dotted(after)) == (before, dotted(before))
    assert troubles == []
