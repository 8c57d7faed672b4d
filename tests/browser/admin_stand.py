"""A real service with a past, for the pages for editors: a site with a hundred days of readers, and two that are new;
and what a browser needs to look at them."""

from __future__ import annotations

import asyncio
import json
import os
import random
import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import msgspec
import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from tests.browser.admin_table import Listed
from tests.driver import Service
from tests.faults.sabotage import Sabotage
from tests.waiting import wait_until
from visitstats.access import Access
from visitstats.core.batch import Gathering, Said
from visitstats.core.entries import Entry, fitting
from visitstats.core.entries import encode as encode_entry
from visitstats.core.keys import KeyRules, article_id
from visitstats.core.periods import Calendar
from visitstats.core.sites import Site
from visitstats.demo.past import live_through
from visitstats.embedded.process import EmbeddedStore
from visitstats.store import keys
from visitstats.store.client import open_client
from visitstats.store.commit import Committed, Committer, Numbering, Work
from visitstats.store.records import Records
from visitstats.store.upkeep import Upkeep
from visitstats.system.clock import wall_clock
from visitstats.system.patterns import linear_pattern

SITE = Site(id="bac-ha", name="Cổng TTĐT xã Bắc Hà", hosts=("bacha.example.vn",))
AXE = Path(__file__).parents[1] / "integrations" / "node_modules" / "axe-core" / "axe.min.js"
SITES = (
    SITE,
    Site(id="si-ma-cai", name="Xã Si Ma Cai", hosts=("simacai.example.vn",)),
    Site(id="moi", name="Xã mới", hosts=("moi.example.vn",)),
)
PREFIX = "/x/y"
"""Under it a proxy has the service; it answers without it, too."""
STRANGE = (
    "<img src=x onerror=alert(1)>",
    "w" * 290,
    "\u202eمرحبا بالعالم\u202c שלום עולם",
    '🎉 Lễ hội ‘mùa thu’ "Bắc Hà" & <b>bạn bè</b> 🏔️',
    '=HYPERLINK("https://evil.example")',
)
"""Titles, authors and keys that are text, whatever they look like."""
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
    store_url: str = ""

    @property
    def url(self) -> str:
        return self.at("")

    def at(self, prefix: str) -> str:
        """The address of the pages behind a proxy that has the service below a prefix."""
        return f"http://127.0.0.1:{self.service.port}{prefix}/admin/"

    def grow(self, *, sites: int, authors: int, years: int) -> None:
        """Have many more sites, many more articles, each of an author of its own, and a past of many years."""

        async def grow() -> None:
            client = open_client(self.store_url)
            try:
                records: dict[Any, Any] = {
                    f"xa-{n}": msgspec.json.encode(Site(id=f"xa-{n}", name=f"Xã số {n}", hosts=(f"x{n}.example.vn",)))
                    for n in range(sites)
                }
                await client.hset(keys.SITES, mapping=records)
                await client.set(keys.SITES_VERSION, secrets.token_hex(8))
                for month, counts in _years(years).items():
                    await client.hset(keys.days(SITE.id, month) if month else keys.counts(SITE.id), mapping=counts)
            finally:
                await client.aclose()
            named = [(f"/many/{n}", f"Bài số {n}", f"Tác giả {n}") for n in range(authors)]
            await commit_articles(self.store_url, SITE, last_week(wall_clock()), named)

        with ThreadPoolExecutor(1) as apart:
            apart.submit(lambda: asyncio.run(grow())).result()
        wait_until(lambda: len(self.api("admin/sites")["sites"]) >= sites, "the service has all sites", 10)

    def api(self, path: str, scope: str = "admin", order: dict[str, Any] | None = None) -> Any:
        """What the API says, asked without a browser, or to an order."""
        data = None if order is None else json.dumps(order).encode()
        request = Request(f"http://127.0.0.1:{self.service.port}/v1/{path}", data)
        request.add_header("Content-Type", "application/json")
        request.add_header("Authorization", f"Bearer {self.tokens[scope]}")
        with urlopen(request, timeout=15) as answer:
            return json.load(answer)


@contextmanager
def standing(folder: Path, now_ms: int = 0) -> Iterator[Stand]:
    """Run a service with a past, on a store of its own; its clock shows `now_ms`, if that is given."""
    with EmbeddedStore.start(folder / "store") as store:
        yield from _standing(folder, store, now_ms)


def _standing(folder: Path, store: EmbeddedStore, now_ms: int) -> Iterator[Stand]:
    service = Service(folder / "data", workers=1, redis_url=store.url)
    service.environ["VISITSTATS_BASE_PATH"] = PREFIX
    if now_ms:
        sabotage = Sabotage(folder / "sabotage", clock=True)
        sabotage.into(service)
        sabotage.shift_clock((now_ms - wall_clock()) // 1000)
    with ThreadPoolExecutor(1) as apart:  # Playwright has a loop in this thread
        tokens = apart.submit(lambda: asyncio.run(_past(store.url, now_ms or wall_clock()))).result()
    service.start()
    try:
        yield Stand(service, tokens, store.url)
    finally:
        service.stop()


def _years(years: int) -> dict[str, dict[Any, Any]]:
    """The counts of years before the last one, by month; under "" those of the years."""
    last = int(Calendar(SITE.timezone).day_at(wall_clock()).year) - 1
    found: dict[str, dict[Any, Any]] = {"": {}}
    for kind in ("visits", "views"):
        for year in range(last - years, last):
            found[""][keys.count_at(SITE.id, kind, str(year))[1]] = 12 * 28 * 7
            for month in (f"{year}-{n:02}" for n in range(1, 13)):
                counts = found.setdefault(month, {keys.count_at(SITE.id, kind, month)[1]: 28 * 7})
                counts |= {keys.count_at(SITE.id, kind, f"{month}-{day:02}")[1]: 7 for day in range(1, 29)}
                counts[keys.count_at(SITE.id, kind, month)[1]] = 28 * 7
    return found


async def _past(url: str, now: int) -> dict[str, str]:
    """Make the sites, the past of the first, and the tokens."""
    client = open_client(url)
    try:
        records = Records(client)
        access = Access(records, lambda: now)
        moments = await live_through(url, SITE, now, KeyRules(SITE, linear_pattern).key, random.Random(SEED))
        await Upkeep(client).note_running(moments)
        await commit_articles(
            url, SITE, last_week(now), [(f"/strange/{title[:40]}", title, title) for title in STRANGE]
        )
        for site in SITES:
            await records.put_site(site)
        wanted: dict[str, tuple[str, tuple[str, ...]]] = {
            **{scope: (scope, ()) for scope in ("viewer", "editor", "admin")}, "one": ("viewer", (SITE.id,)),
        }  # fmt: skip
        return {name: (await access.add(f"Lan {name}", *each)).text for name, each in wanted.items()}
    finally:
        await client.aclose()


def last_week(now_ms: int) -> int:
    """A moment of last week."""
    calendar = Calendar(SITE.timezone)
    return calendar.day_named(calendar.day_at(now_ms).last_week[2]).start_ms + 36_000_000


async def commit_articles(url: str, site: Site, moment: int, articles: list[tuple[str, str, str]]) -> None:
    """Have articles (key, title, author) read once each at a moment."""
    calendar, committer, writer = Calendar(site.timezone), Committer(url), secrets.token_hex(16)
    day = calendar.day_at(moment)
    sequence = total = 0
    try:
        for start in range(0, len(articles), 250):
            waiting = Gathering(site, day)
            for key, title, author in articles[start : start + 250]:
                token = secrets.token_bytes(8)
                entry = encode_entry(fitting(Entry(key, title, "", author, "Tin tức", "2026-11-01")))
                waiting.add(moment, token, token, b"", b"", article_id(key), entry, said=Said.TRUSTED)
            batch = waiting.close(sequence, total, day.start_ms)
            sequence, total = sequence + 1, batch.total
            work = Work(writer, sequence, batch.previous, batch, Numbering(day, moment))
            [result] = await committer.commit([work])
            assert isinstance(result, Committed), result
    finally:
        await committer.close()


@contextmanager
def looking(
    browser: Browser, lang: str = "vi", scheme: str = "light", width: int = 1280, **more: Any
) -> Iterator[BrowserContext]:
    """Look with a browser that asks for a language and a colour scheme."""
    context = browser.new_context(
        locale={"vi": "vi-VN", "en": "en-GB"}[lang], color_scheme=scheme,  # type: ignore[arg-type]
        viewport={"width": width, "height": 800}, **more,
    )  # fmt: skip
    context.set_default_timeout(20_000)
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
    """Go to a page, anew if it is there already, and wait until it has its data."""
    page.evaluate(
        "route => { document.querySelector('.contents')?.remove();"
        " if (location.hash === '#/' + route) dispatchEvent(new Event('hashchange'));"
        " else location.hash = '#/' + route; }",
        listed.route,
    )
    page.wait_for_selector(listed.ready)


def tab_to(page: Page, selector: str, most: int = 60) -> None:
    """Press Tab until an element has the focus; what has it on the way is in view, with a ring."""
    for _ in range(most):
        page.keyboard.press("Tab")
        seen = page.evaluate(
            """() => {
              const at = document.activeElement;
              if (at === document.body) return true;
              const ringed = at.matches('.choice input, .plot input') ? at.parentElement : at;
              const box = at.getBoundingClientRect();
              const style = getComputedStyle(ringed);
              return box.bottom > 0 && box.top < innerHeight && box.right > 0 && box.left < innerWidth
                && style.outlineStyle !== 'none' ? true : at.outerHTML.slice(0, 200) + style.outlineStyle;
            }"""
        )
        assert seen is True, seen
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            return
    raise AssertionError(f"{selector} is not reached by Tab")


def dotted(n: int) -> str:
    return f"{n:,}".replace(",", ".")


def number(text: str) -> int:
    return int(text.replace(".", ""))


def until(page: Page, expression: str) -> None:
    """Wait until an expression is true in a page. (Playwright's own way evaluates a text there, which the policy
    refuses.)"""

    def so() -> bool:
        page.wait_for_timeout(20)
        return bool(page.evaluate(expression))

    wait_until(so, expression, 20)
