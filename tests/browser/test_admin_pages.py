"""The pages for editors in a real browser, over the table of pages: they fit, run nothing that their policy refuses,
have no barrier that axe finds, say everything in both languages, stand still, and are small."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any, get_args
from urllib.error import HTTPError

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.browser.admin_stand import (
    PREFIX,
    Stand,
    axe_or_skip,
    go,
    looking,
    opened,
    sign_in,
    until,
)
from tests.browser.admin_table import BY_NAME, PAGES, Listed
from tests.workbooks import Read
from visitstats.core.counting import IGNORED_REASONS
from visitstats.store.change_records import Kind
from visitstats.web.app import ERRORS

pytestmark = [pytest.mark.browser, pytest.mark.timeout(150)]
ADMIN = files("visitstats.web") / "admin"
MOST_BYTES = 40_000
MOST_WITH_ROWS = 60_000
MOST_REQUESTS = 12
MOST_SHIFT = 0.01
"""How far a page may move (cumulative layout shift)."""
MOST_NODES = 1500
ENGLISH = r"\b(the|and|of|with|not|this|your|please|error|loading|today|views|visits|article|articles)\b"


def barriers(page: Page, axe: str) -> list[str]:
    """What axe-core finds."""
    if not page.evaluate("'axe' in window"):
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
        if listed.name == "signin":
            page.wait_for_selector(listed.ready)
        else:
            if page.locator("#token").count():
                sign_in(page, stand.tokens["admin"])
            go(page, listed)
        yield listed


@pytest.mark.parametrize(
    ("lang", "scheme", "width"),
    [
        ("vi", "light", 1280),
        ("en", "dark", 360),
        pytest.param("en", "light", 1280, marks=pytest.mark.long),
        pytest.param("vi", "dark", 360, marks=pytest.mark.long),
    ],
)
def test_every_page_has_no_barrier_and_no_error(
    browser: Browser, stand: Stand, lang: str, scheme: str, width: int
) -> None:
    """With no dialog open and with one, with nothing found, and with what went wrong."""
    axe, troubles = axe_or_skip(), list[str]()
    with looking(browser, lang, scheme, width, bypass_csp=True) as context:
        page = opened(context, stand, troubles)
        for listed in each_page(page, stand):
            assert barriers(page, axe) == [], listed.name
            assert page.evaluate("document.documentElement.lang") == lang
            assert page.locator("h1").count() == 1, listed.name
            assert too_wide(page) <= 0, listed.name
        page.click(".site")
        page.wait_for_selector("dialog[open] .sites a")
        assert barriers(page, axe) == []
        page.keyboard.press("Escape")
        page.evaluate("location.hash = '#/bac-ha/articles?text=zzzzzz'")
        page.wait_for_selector(".rows .button")
        assert barriers(page, axe) == []
        assert troubles == []
        page.evaluate("location.hash = '#/bac-ha/articles?from=2026-13-45'")
        page.wait_for_selector("[aria-invalid]")
        page.evaluate("location.hash = '#/nowhere/at/all'")
        page.wait_for_selector("main > .sheet a")
        assert barriers(page, axe) == []
        page.route("**/v1/admin/**", lambda route: route.fulfill(status=503, body='{"error": "store-away"}'))
        page.evaluate("location.hash = '#/bac-ha'")
        page.wait_for_selector("[role=alert] .button")
        assert barriers(page, axe) == []


@pytest.mark.parametrize("prefix", ["", pytest.param(PREFIX, marks=pytest.mark.long)])
def test_every_page_fits_and_runs_under_its_policy(browser: Browser, stand: Stand, prefix: str) -> None:
    """At any width from 320 pixels on, and with text of twice the size; below any prefix. Titles, authors and keys that
    look like markup are text, and nothing comes from elsewhere."""
    troubles, elsewhere = list[str](), list[str]()
    with looking(browser) as context:
        page = context.new_page()
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("console", lambda said: troubles.append(said.text) if said.type in ("error", "warning") else None)
        page.on("dialog", lambda dialog: troubles.append(dialog.message))
        page.on("request", lambda request: elsewhere.append(request.url))
        page.goto(stand.at(prefix))
        for listed in each_page(page, stand):
            for width in (320, 360, 768, 1280):
                page.set_viewport_size({"width": width, "height": 800})
                assert too_wide(page) <= 0, (listed.name, width)
            page.evaluate("document.documentElement.style.fontSize = '200%'")
            assert too_wide(page) <= 0, (listed.name, "200 %")
            page.evaluate("document.documentElement.style.fontSize = ''")
        assert page.locator("main img, main b img").count() == 0
        origin = stand.at(prefix).removesuffix("/admin/")
        assert [url for url in elsewhere if not url.startswith((origin, "blob:"))] == []
        assert not any("vs_" in url for url in elsewhere)
    assert troubles == []


def test_a_report_shows_what_the_api_says_and_its_workbook_has_the_same(
    browser: Browser, stand: Stand, tmp_path: Path
) -> None:
    """By author, last month; the site's numbers and the whole selection, however few rows are shown."""
    troubles = list[str]()
    with looking(browser, "en", accept_downloads=True) as context:
        page = opened(context, stand, troubles)
        sign_in(page, stand.tokens["viewer"])
        page.evaluate("location.hash = '#/bac-ha/reports?period=last-month'")
        page.wait_for_selector(".report .rank")
        ticks = page.locator(".report .plot text", has_text=re.compile("[A-Za-z]")).all_text_contents()
        assert len(ticks) > 3
        assert [tick for tick in ticks if not re.fullmatch(r"\d{1,2} [A-Z][a-z]{2}", tick)] == []
        page.check("input[value=authors]")
        said = stand.api("admin/sites/bac-ha/report?kind=authors&period=last-month")
        # The month's own table, which was there before, begins with the same author.
        column = ".report tbody tr > :nth-child({})".format
        expect(page.locator(column(1))).to_have_text([group["name"] for group in said["groups"]])
        expect(page.locator(column(3))).to_have_text([f"{group['views']:,}" for group in said["groups"]])
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


def test_a_long_table_scrolls_in_a_frame_that_can_be_focused(browser: Browser, stand: Stand) -> None:
    with looking(browser, width=320) as context:
        page = opened(context, stand, [])
        sign_in(page, stand.tokens["viewer"])
        go(page, BY_NAME["overview"])
        page.locator("button", has_text="Xem bảng số").last.click()
        frame = page.locator(".numbers .scroll").first
        frame.wait_for()
        # Made wide again each time: new numbers make a new table.
        until(
            page,
            "document.querySelector('.numbers table').style.minWidth = '50rem',"
            """document.querySelector(".numbers .scroll[tabindex='0'][role=region][aria-label]") !== null""",
        )
        assert too_wide(page) <= 0


def test_every_word_is_there_in_both_languages(browser: Browser, stand: Stand) -> None:
    """The same keys, the same places for values, no English in the Vietnamese; a sentence for every error of the API,
    and a word for every reason for which something is not counted."""
    words: dict[str, dict[str, dict[str, Any]]] = {"vi": {}, "en": {}}
    with looking(browser) as context:
        page = opened(context, stand, [])
        base = page.evaluate("document.querySelector('script').src.replace('main.js', '')")
        for lang, found in words.items():
            for file in (ADMIN / "words" / lang).iterdir():
                found[file.name] = page.evaluate(
                    "async url => (await import(url)).default", f"{base}words/{lang}/{file.name}"
                )
    assert words["vi"].keys() == words["en"].keys()
    for name, english in words["en"].items():
        vietnamese = words["vi"][name]
        assert vietnamese.keys() == english.keys(), name
        for key, text in vietnamese.items():
            places = set(re.findall(r"\{\w+\}", text))
            for form in english[key].values() if isinstance(english[key], dict) else (english[key],):
                assert set(re.findall(r"\{\w+\}", form)) | {"{n}"} == places | {"{n}"}, (name, key)
            assert not re.search(ENGLISH, re.sub(r"\{\w+\}", "", text), re.IGNORECASE), (name, key, text)
    codes = {code for _, code in ERRORS.values()} | {
        "denied", "too-many-tries", "internal-error", "method-not-allowed", "not-found", "refused", "bad-request",
        "too-many-streams", "network",
    }  # fmt: skip
    assert sorted(code for code in codes if f"error.{code}" not in words["vi"]["frame.js"]) == []
    shared = words["vi"]["frame.js"] | words["vi"]["overview.js"]
    assert [each for each in get_args(Kind) if f"change.{each}" not in shared] == []
    assert sorted(each for each in IGNORED_REASONS if f"reason.{each}" not in shared) == []


def test_no_word_of_a_page_stands_outside_of_the_words() -> None:
    """A sentence, a capital or a Vietnamese letter in a text of the code would be one."""
    stray = []
    for file in [*ADMIN.iterdir(), *(ADMIN / "pages").iterdir()]:
        if not file.name.endswith(".js"):
            continue
        code = re.sub(r"/\*.*?\*/|(?<![:'\"])//[^\n]*", "", file.read_text("utf-8"), flags=re.DOTALL)
        for literal in re.findall(r"'([^'\n]*)'", code):
            if re.search(r"[A-Z][a-z]+ [a-z]+|[À-ỹ]", literal) and literal not in ("Tiếng Việt", "đ"):
                stray.append((file.name, literal))
    assert stray == []


@pytest.mark.parametrize("width", [1280, pytest.param(360, marks=pytest.mark.long)])
def test_no_page_moves_while_it_loads(browser: Browser, stand: Stand, width: int) -> None:
    """With data that come a second late (by the order of answers, not by a clock): from the first paint to the last."""
    with looking(browser, width=width) as context:
        page = opened(context, stand, [])
        sign_in(page, stand.tokens["admin"])
        page.evaluate(
            "() => { window.moved = 0; new PerformanceObserver(list => { for (const each of list.getEntries()) {"
            " window.moved += each.value; window.movers = each.sources.map(s => s.node?.outerHTML?.slice(0, 99)); } })"
            ".observe({ type: 'layout-shift', buffered: true }); }"
        )
        waiting: list[Route] = []
        found: dict[str, Any] = {}
        page.route("**/v1/admin/sites/*/**", lambda route: waiting.append(route))
        for listed in PAGES[2:]:
            page.evaluate("window.moved = 0")
            page.evaluate("route => { location.hash = '#/' + route }", listed.route)
            page.wait_for_timeout(350)  # "loading" is said after 300 ms
            deadline = 40
            while page.locator(listed.ready).count() == 0 and deadline:
                held, waiting[:] = waiting[:], []
                for route in held:
                    route.continue_()
                page.wait_for_timeout(50)
                deadline -= 1
            for route in waiting:
                route.continue_()
            waiting.clear()
            page.wait_for_selector(listed.ready)
            if (moved := page.evaluate("window.moved")) > MOST_SHIFT:
                found[listed.name] = (moved, page.evaluate("window.movers"))
        assert found == {}


def test_a_first_view_is_small(browser: Browser, stand: Stand) -> None:
    """At most 12 requests and 40 kB packed without data, and few elements; nothing is asked for by a page that is not
    seen."""
    with looking(browser) as context:
        page = opened(context, stand, [])
        sign_in(page, stand.tokens["admin"])
        found: dict[str, Any] = {}
        for listed in PAGES[1:]:
            page.goto(stand.url + "#/" + listed.route)
            with _counted(page) as asked:
                page.reload()
                page.wait_for_selector(listed.ready)
            paths = {url.partition("/admin/")[2].partition("#")[0] for url in asked if "/v1/" not in url}
            size = sum(len(gzip.compress(_file(path), mtime=0)) for path in paths)
            nodes = page.evaluate("document.querySelectorAll('*').length")
            if listed.name == "articles":
                # The numbers of 50 articles come on top of that.
                rows = json.dumps(stand.api("admin/sites/bac-ha/articles?period=all&limit=50")).encode()
                assert size + len(gzip.compress(rows, mtime=0)) <= MOST_WITH_ROWS
            if len(paths) > MOST_REQUESTS or size > MOST_BYTES or nodes > MOST_NODES:
                found[listed.name] = (len(paths), size, nodes)
        assert found == {}


class _counted:
    """The addresses that a page asks for."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self._urls: list[str] = []

    def __enter__(self) -> list[str]:
        self._page.on("request", self._note)
        return self._urls

    def __exit__(self, *_: object) -> None:
        self._page.remove_listener("request", self._note)

    def _note(self, request: Any) -> None:
        self._urls.append(request.url)


def _file(path: str) -> bytes:
    name = path.partition("/")[2] or "index.html"
    found = ADMIN
    for step in name.split("/"):
        found = found / step
    return found.read_bytes()


def test_without_motion_nothing_moves_and_on_paper_there_is_no_frame(browser: Browser, stand: Stand) -> None:
    with looking(browser, reduced_motion="reduce") as context:
        page = opened(context, stand, [])
        sign_in(page, stand.tokens["viewer"])
        go(page, BY_NAME["overview"])
        moving = page.evaluate(
            "[...document.querySelectorAll('*')].filter(e => parseFloat(getComputedStyle(e).transitionDuration) > 0"
            " || getComputedStyle(e).animationName !== 'none').length"
        )
        assert moving == 0
        page.emulate_media(media="print", color_scheme="dark")
        for hidden in (".bar", ".index", ".choice", ".button"):
            assert not page.locator(hidden).first.is_visible(), hidden
        assert page.evaluate("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
        assert (
            page.evaluate("getComputedStyle(document.querySelector('.sheet')).backgroundColor") == "rgb(255, 255, 255)"
        )
        assert page.pdf(format="A4").count(b"/Type /Page\n") <= 3
        page.emulate_media(media="screen")
        go(page, BY_NAME["reports"])
        page.emulate_media(media="print", color_scheme="dark")
        for hidden in (".bar", ".index", ".report .button", "#report-form"):
            assert not page.locator(hidden).first.is_visible(), hidden
        assert page.evaluate("getComputedStyle(document.querySelector('thead')).display") == "table-header-group"
        assert page.pdf(format="A4").count(b"/Type /Page\n") <= 3


def test_a_page_that_is_not_seen_asks_for_nothing(browser: Browser, stand: Stand) -> None:
    with looking(browser) as context:
        page = opened(context, stand, [])
        page.clock.install()
        sign_in(page, stand.tokens["viewer"])
        for listed in (BY_NAME["portals"], BY_NAME["overview"]):
            go(page, listed)
            _hide(page, hidden=True)
            with _counted(page) as asked:
                page.clock.fast_forward(10 * 60_000)
                page.wait_for_timeout(100)
            assert asked == [], listed.name
            with _counted(page) as asked:
                _hide(page, hidden=False)
                page.wait_for_timeout(200)
            assert asked, listed.name


def _hide(page: Page, *, hidden: bool) -> None:
    page.evaluate(
        "hidden => { Object.defineProperty(document, 'hidden', { configurable: true, get: () => hidden });"
        " document.dispatchEvent(new Event('visibilitychange')); }", hidden,
    )  # fmt: skip
