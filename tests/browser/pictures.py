"""Takes the pictures of docs/editors.md and its twin, of a real service in a real browser: `make pictures`."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

from tests.browser.admin_stand import SITE, go, looking, opened, sign_in, standing
from tests.browser.admin_table import KEY, PAGES
from tests.browser.conftest import FLAGS
from tests.browser.install import browser_or_skip

IMAGES = Path(__file__).parents[2] / "docs" / "images"
SHOWN = ("signin", "settings", "overview", "articles", "article", "corrections", "audit", "reports", "why")
CHANGES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("adjust", {"by": 24, "why": "Máy chủ ngừng 10 phút, bổ sung theo nhật ký"}),
    ("settings", {"excluded_networks": ["10.20.0.0/16"]}),
    ("rename", {"article": KEY, "author": "Lê Hiếu", "why": "Ghi sai tác giả"}),
)
"""What the log shows."""
SETTLED = 1500
"""Milliseconds for plots and previews that come after a page's first data."""


def main() -> None:
    """Write one picture for each page and language."""
    wanted = [listed for listed in PAGES if listed.name in SHOWN]
    with (
        tempfile.TemporaryDirectory() as folder,
        standing(Path(folder)) as stand,
        sync_playwright() as playwright,
    ):
        for name, order in CHANGES:
            stand.api(f"admin/sites/{SITE.id}/{name}", order=order)
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
