"""The pages for editors in a real browser: they fit, run nothing that the policy refuses, and have no barrier that axe
finds, in both languages, light and dark, at a desk and on a phone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.admin_stand import Stand, axe_or_skip, go, looking, opened, sign_in, standing
from tests.browser.admin_table import PAGES, Listed
from tests.workbooks import Read
from visitstats.embedded.process import EmbeddedStore

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    with (
        EmbeddedStore.start(tmp_path_factory.mktemp("store")) as store,
        standing(tmp_path_factory.mktemp("admin"), store) as found,
    ):
        yield found


def barriers(page: Page, axe: str) -> list[str]:
    """What axe-core finds."""
    page.evaluate(axe)
    found = page.evaluate(
        "async () => (await axe.run({ runOnly: ['wcag2a', 'wcag2aa', 'wcag21aa', 'best-practice'] })).violations"
        ".flatMap(v => v.nodes.map(n => `${v.id}: ${n.html.slice(0, 200)}`))"
    )
    return [str(each) for each in found]


def too_wide(page: Page) -> int:
    """By how many pixels the page has to be moved sideways."""
    return int(page.evaluate("document.documentElement.scrollWidth - innerWidth"))


def each_page(page: Page, stand: Stand) -> Iterator[Listed]:
    """Go through all pages, signing in on the way."""
    for listed in PAGES:
        if listed.name != "signin":
            if page.locator("#token").count():
                sign_in(page, stand.tokens["admin"])
            go(page, listed)
        yield listed


@pytest.mark.parametrize(
    ("lang", "scheme", "width"),
    [("vi", "light", 1280), ("en", "dark", 1280), ("vi", "dark", 360), ("en", "light", 360)],
)
def test_every_page_has_no_barrier_and_no_error(
    browser: Browser, stand: Stand, lang: str, scheme: str, width: int
) -> None:
    axe, troubles = axe_or_skip(), list[str]()
    with looking(browser, lang, scheme, width, bypass_csp=True) as context:
        page = opened(context, stand, troubles)
        for listed in each_page(page, stand):
            assert barriers(page, axe) == [], listed.name
            assert page.evaluate("document.documentElement.lang") == lang
            assert page.locator("h1").count() == 1, listed.name
    assert troubles == []


def test_every_page_fits_and_runs_under_its_policy(browser: Browser, stand: Stand) -> None:
    """At any width from 320 pixels on, and with text of twice the size."""
    troubles = list[str]()
    with looking(browser) as context:
        page = opened(context, stand, troubles)
        for listed in each_page(page, stand):
            for width in (320, 360, 768, 1280):
                page.set_viewport_size({"width": width, "height": 800})
                assert too_wide(page) <= 0, (listed.name, width)
            page.evaluate("document.documentElement.style.fontSize = '200%'")
            assert too_wide(page) <= 0, (listed.name, "200 %")
            page.evaluate("document.documentElement.style.fontSize = ''")
    assert troubles == []


def test_a_report_shows_what_the_api_says_and_its_workbook_has_the_same(
    browser: Browser, stand: Stand, tmp_path: Path
) -> None:
    """By author, this month; the site's numbers and the whole selection, however few rows are shown."""
    troubles = list[str]()
    with looking(browser, "en", accept_downloads=True) as context:
        page = opened(context, stand, troubles)
        sign_in(page, stand.tokens["viewer"])
        page.evaluate("location.hash = '#/bac-ha/reports?period=month'")
        page.wait_for_selector(".report .rank")
        page.check("input[value=authors]")
        page.wait_for_selector(".report table")
        said = stand.api("admin/sites/bac-ha/report?kind=authors&period=month")
        rows = page.locator(".report tbody tr").all_inner_texts()
        assert [row.split("\t")[0].strip() for row in rows] == [group["name"] for group in said["groups"]]
        assert [row.split("\t")[2].strip() for row in rows] == [f"{group['views']:,}" for group in said["groups"]]
        assert "kind=authors" in page.evaluate("location.hash")
        with page.expect_download() as waiting:
            page.get_by_role("button", name="Download Excel").click()
        waiting.value.save_as(tmp_path / "a.xlsx")
        _, table = Read(tmp_path / "a.xlsx").table("Authors", "Articles")
        assert [row[:3] for row in table[:-1]] == [[g["name"], g["articles"], g["views"]] for g in said["groups"]]
    assert troubles == []


def test_a_token_is_shown_once_lets_in_and_is_revoked(browser: Browser, stand: Stand) -> None:
    """For one portal; after that it lets nobody in, and who tried is in the list of refusals."""
    troubles = list[str]()
    with looking(browser, "en") as context:
        page = opened(context, stand, troubles)
        sign_in(page, stand.tokens["admin"])
        page.evaluate("location.hash = '#/tokens'")
        page.wait_for_selector(".tokens tbody tr")
        page.get_by_role("button", name="Make a token").click()
        page.get_by_role("button", name="Make it").click()
        assert "Write a name" in page.locator("dialog .wrong").inner_text()
        page.get_by_label("Name").fill("Ban biên tập <b>")
        page.get_by_label("Only these").check()
        page.locator("dialog .sites input[value=bac-ha]").check()
        page.get_by_role("button", name="Make it").click()
        token = page.locator("dialog .secret").input_value()
        page.keyboard.press("Escape")
        assert token not in page.content()
        row = page.locator(".tokens tbody tr", has_text="Ban biên tập <b>")
        row.wait_for()
        assert "Cổng TTĐT xã Bắc Hà" in row.inner_text()
        told = Stand(stand.service, {"admin": token})
        assert told.api("admin/me")["sites"] == ["bac-ha"]
        row.get_by_role("button").click()
        page.get_by_role("button", name="Revoke it").click()
        row.wait_for(state="detached")
        with pytest.raises(HTTPError, match="401"):
            told.api("admin/me")
    assert troubles == []
