"""Takes the pictures of docs/editors.md and its twin, of a real service in a real browser: `make pictures`."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from tests.browser.admin_stand import go, looking, opened, sign_in, standing
from tests.browser.admin_table import PAGES
from tests.browser.conftest import FLAGS
from tests.browser.install import browser_or_skip
from visitstats.embedded.process import EmbeddedStore

IMAGES = Path(__file__).parents[2] / "docs" / "images"
SHOWN = ("signin", "settings", "overview", "articles", "article", "corrections", "audit", "reports", "why")
SETTLED = 1500
"""Milliseconds for plots and previews that come after a page's first data."""


def main() -> None:
    """Write one picture for each page and language."""
    wanted = [listed for listed in PAGES if listed.name in SHOWN]
    with (
        tempfile.TemporaryDirectory() as folder,
        EmbeddedStore.start(Path(folder) / "store") as store,
        standing(Path(folder), store) as stand,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=browser_or_skip(), args=FLAGS)
        for lang in ("vi", "en"):
            with looking(browser, lang, width=1000) as context:
                page = opened(context, stand, [])
                page.set_viewport_size({"width": 1000, "height": 720})
                for listed in wanted:
                    if listed.name != "signin":
                        if page.locator("#token").count():
                            sign_in(page, stand.tokens["admin"])
                        go(page, listed)
                        page.wait_for_timeout(SETTLED)
                    path = IMAGES / f"editors-{listed.name}-{lang}.png"
                    page.screenshot(path=path)
                    sys.stdout.write(f"{path.name}\n")
        browser.close()


if __name__ == "__main__":
    main()
