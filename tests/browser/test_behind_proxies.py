"""A portal with an example of deploy/ in its web server: the box in a real browser, also while the service is away."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Response, expect

from tests import shipped
from tests.driver import Service
from tests.shipped import SHIPPED, STATIC

SITE = "portal"
WIDGET = (STATIC / "widget.js").read_bytes()
USER_AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36"
READER = "Object.defineProperty(navigator, 'webdriver', { value: false })"
"""A browser that a program drives is counted as none."""
AWAY = 502, 503, 504


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    service = Service(tmp_path_factory.mktemp("service") / "data", workers=1)
    service.start()
    try:
        service.add_site(SITE, host="127.0.0.1")
        yield service
    finally:
        service.stop()


def loaded(page: Page, port: int) -> dict[str, Response]:
    """Open the portal; the answers to what it asked for below `/vs/`."""
    found: dict[str, Response] = {}
    page.on("response", lambda answer: found.update({answer.url.partition("/vs/")[2]: answer}))
    page.goto(f"http://127.0.0.1:{port}/", wait_until="load")
    return found


def test_the_box_has_its_numbers_and_outlives_the_service(browser: Browser, service: Service, tmp_path: Path) -> None:
    """While the service is away the page has its widget, whole and at once, and keeps the numbers that it knew."""
    with ExitStack() as running:
        pages = dict[str, tuple[Page, int, str]]()
        for name in filter(shipped.is_installed, SHIPPED):
            port = running.enter_context(shipped.portal(name, tmp_path / name, service.port)).portal
            context = browser.new_context(user_agent=USER_AGENT)
            running.callback(context.close)
            context.add_init_script(READER)
            page = context.new_page()
            with page.expect_response("**/hit") as hit:
                answers = loaded(page, port)
            numbers = hit.value.json()
            assert numbers["views"] == len(pages) + 1, name
            expect(page.locator("[data-vs=total]")).to_have_text(str(numbers["total"]))
            assert answers["widget.js"].body() == WIDGET, name
            pages[name] = page, port, str(numbers["total"])
        if not pages:
            pytest.skip("none of the web servers is installed: their examples are NOT TESTED")
        service.stop()
        for name, (page, port, total) in pages.items():
            with page.expect_response(lambda answer: answer.status in AWAY):
                answers = loaded(page, port)
            assert (answers["widget.js"].status, answers["widget.js"].body()) == (200, WIDGET), name
            assert "javascript" in answers["widget.js"].headers["content-type"], name
            expect(page.locator("[data-vs=total]")).to_have_text(total)
