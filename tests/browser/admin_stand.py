"""A real service with a past, for the pages for editors: a site with a hundred days of readers, and two that are new;
and what a browser needs to look at them."""

from __future__ import annotations

import asyncio
import json
import os
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from tests.browser.admin_table import Listed
from tests.driver import Service
from visitstats.access import Access
from visitstats.clock import wall_clock
from visitstats.core.keys import KeyRules
from visitstats.core.sites import Site
from visitstats.demo.past import live_through
from visitstats.embedded.process import EmbeddedStore
from visitstats.patterns import linear_pattern
from visitstats.store.client import open_client
from visitstats.store.records import Records
from visitstats.store.upkeep import Upkeep

SITE = Site(id="bac-ha", name="Cổng TTĐT xã Bắc Hà", hosts=("bacha.example.vn",))
AXE = Path(__file__).parents[1] / "integrations" / "node_modules" / "axe-core" / "axe.min.js"
SITES = (
    SITE,
    Site(id="si-ma-cai", name="Xã Si Ma Cai", hosts=("simacai.example.vn",)),
    Site(id="moi", name="Xã mới", hosts=("moi.example.vn",)),
)
SEED = 20261124


def axe_or_skip() -> str:
    """The source of axe-core; without it a test is skipped, or fails under CI=true."""
    if not AXE.exists():
        missing = "no axe-core: npm ci --prefix tests/integrations"
        if os.environ.get("CI") == "true":
            pytest.fail(missing)
        pytest.skip(missing)
    return AXE.read_text("utf-8")


@dataclass
class Stand:
    """The service, and a token of each scope."""

    service: Service
    tokens: dict[str, str]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.service.port}/admin/"

    def api(self, path: str, scope: str = "admin") -> Any:
        """What the API says, asked without a browser."""
        request = Request(f"http://127.0.0.1:{self.service.port}/v1/{path}")
        request.add_header("Authorization", f"Bearer {self.tokens[scope]}")
        with urlopen(request, timeout=15) as answer:
            return json.load(answer)


@contextmanager
def standing(folder: Path, store: EmbeddedStore) -> Iterator[Stand]:
    """Run a service with a past on a store of its own."""
    service = Service(folder / "data", workers=1, redis_url=store.url)
    with ThreadPoolExecutor(1) as apart:  # Playwright has a loop in this thread
        tokens = apart.submit(lambda: asyncio.run(_past(store.url))).result()
    service.start()
    try:
        yield Stand(service, tokens)
    finally:
        service.stop()


async def _past(url: str) -> dict[str, str]:
    """Make the sites, the past of the first, and the tokens."""
    client = open_client(url)
    now = wall_clock()
    try:
        records = Records(client)
        access = Access(records, wall_clock)
        moments = await live_through(url, SITE, now, KeyRules(SITE, linear_pattern).key, random.Random(SEED))
        await Upkeep(client).note_running(moments)
        for site in SITES:
            await records.put_site(site)
        wanted: dict[str, tuple[str, tuple[str, ...]]] = {
            **{scope: (scope, ()) for scope in ("viewer", "editor", "admin")}, "one": ("viewer", (SITE.id,)),
        }  # fmt: skip
        return {name: (await access.add(f"Lan {name}", *each)).text for name, each in wanted.items()}
    finally:
        await client.aclose()


@contextmanager
def looking(
    browser: Browser, lang: str = "vi", scheme: str = "light", width: int = 1280, **more: Any
) -> Iterator[BrowserContext]:
    """Look with a browser that asks for a language and a colour scheme."""
    context = browser.new_context(
        locale={"vi": "vi-VN", "en": "en-GB"}[lang], color_scheme=scheme,  # type: ignore[arg-type]
        viewport={"width": width, "height": 800}, **more,
    )  # fmt: skip
    context.set_default_timeout(10_000)
    try:
        yield context
    finally:
        context.close()


def opened(context: BrowserContext, stand: Stand, troubles: list[str]) -> Page:
    """Open a page that tells what is wrong with it: errors, refusals of the policy."""
    page = context.new_page()
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("console", lambda said: troubles.append(said.text) if said.type in ("error", "warning") else None)
    page.goto(stand.url)
    page.wait_for_selector("#token")
    return page


def sign_in(page: Page, token: str) -> None:
    """Sign in by the keyboard."""
    page.fill("#token", f"  {token} ")
    page.keyboard.press("Enter")
    page.wait_for_selector("#index a", state="attached")  # folded on a phone


def go(page: Page, listed: Listed) -> None:
    """Go to a page and wait until it has its data."""
    page.evaluate("route => { location.hash = '#/' + route }", listed.route)
    page.wait_for_selector(listed.ready)
