"""A real Chromium, and the portal of the widget's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.browser.admin_stand import Stand, standing
from tests.browser.install import browser_or_skip
from tests.browser.portal import Portal

expect.set_options(timeout=20_000)  # five seconds unless said: a busy machine needs more for a file
# A browser that looks up nothing by itself: machines without a way out would otherwise wait for it.
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


# Per module, not per session: Playwright's event loop must be gone before the asyncio tests of other folders.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    program = browser_or_skip()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield browser
        browser.close()


# Its service has a loop of its own, in another process. What reads it shares it; what corrects numbers has another.
@pytest.fixture(scope="session")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    """The service with a past behind the pages for editors."""
    with standing(tmp_path_factory.mktemp("admin")) as found:
        yield found


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A reader who was never here before, in Vietnam."""
    context = browser.new_context(
        locale="vi-VN", timezone_id="Asia/Ho_Chi_Minh", viewport={"width": 1280, "height": 800}
    )
    context.set_default_timeout(20_000)
    yield context
    context.close()


@pytest.fixture
def errors() -> list[str]:
    """What was thrown into the page; empty at the end of every test."""
    return []


@pytest.fixture
def page(context: BrowserContext, errors: list[str]) -> Iterator[Page]:
    page = context.new_page()
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page
    assert errors == []


@pytest.fixture
def portal() -> Iterator[Portal]:
    portal = Portal()
    yield portal
    portal.close()
