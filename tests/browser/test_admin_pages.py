"""The pages for editors in a real browser: they fit, run nothing that the policy refuses, and have no barrier that axe
finds, in both languages, light and dark, at a desk and on a phone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.admin_stand import Stand, axe_or_skip, go, looking, opened, sign_in, standing
from tests.browser.admin_table import PAGES, Listed
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
