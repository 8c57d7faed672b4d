"""The widget, the service and the demo's portal together, as a newcomer sees them after `make demo`."""

from __future__ import annotations

import re
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect

from tests.ports import free_port
from tests.waiting import wait_until
from visitstats.core.box_markup import snippet
from visitstats.core.boxes import PRESETS, THEMES

pytestmark = pytest.mark.browser

# A headless browser is a bot to the service, so the reader's browser says that it has a head.
AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"
WATCH = """
    window.violations = [];
    addEventListener('securitypolicyviolation', event => violations.push(event.violatedDirective), true);
    window.shifts = [];
    new PerformanceObserver(list => shifts.push(...list.getEntries().map(entry => entry.value)))
        .observe({type: 'layout-shift', buffered: true});
"""


class Demo:
    """`visitstats demo` on a free port, which stays the same when it is stopped and started again."""

    def __init__(self, data_dir: Path) -> None:
        self.port = free_port()
        self._data_dir = data_dir
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/demo/"

    def start(self) -> None:
        command = [str(Path(sys.executable).with_name("visitstats")), "demo"]
        options = [f"--port={self.port}", f"--data-dir={self._data_dir}"]
        log = (self._data_dir.parent / "demo.log").open("ab")
        with log:
            self._process = subprocess.Popen([*command, *options], stdout=log, stderr=log)
        wait_until(self._ready, "the demo answers", 30)

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(20)
            self._process = None

    def _ready(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self._data_dir.parent / "demo.log").read_text()
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=1) as answer:
                return int(answer.status) == 200
        except (urllib.error.URLError, OSError):
            return False


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    demo = Demo(tmp_path_factory.mktemp("demo") / "data")
    demo.start()
    yield demo
    demo.stop()


@pytest.fixture
def reader(browser: Browser) -> Iterator[Page]:
    """One who was never here before."""
    context = browser.new_context(user_agent=AGENT, locale="vi-VN", timezone_id="Asia/Ho_Chi_Minh")
    yield context.new_page()
    context.close()


def number(page: Page, name: str) -> int:
    """What stands there once it is known."""
    place = page.locator(f"[data-vs={name}]")
    expect(place).to_have_text(re.compile(r"^[\d.]+$"))
    return int((place.text_content() or "").replace(".", ""))


def numbers(page: Page) -> dict[str, int]:
    return {name: number(page, name) for name in ("online", "today", "week", "total", "views")}


def test_the_seeds_article_is_counted_on_from_its_822_views(browser: Browser, demo: Demo) -> None:
    seen = []
    for _ in range(2):  # two readers
        context = browser.new_context(user_agent=AGENT)
        page = context.new_page()
        page.goto(demo.url)
        seen.append(numbers(page))
        page.reload()  # the same visit
        assert numbers(page) == seen[-1]
        context.close()
    first, second = seen
    assert first["views"] >= 823
    assert second == {name: count + 1 for name, count in first.items()}


def test_another_article_has_a_count_of_its_own(reader: Page, demo: Demo) -> None:
    reader.goto(demo.url)
    before = numbers(reader)
    with reader.expect_navigation():
        reader.click("aside .headlines a:visible")
    assert reader.url != demo.url
    after = numbers(reader)
    assert after["views"] != before["views"]
    assert {**after, "views": 0} == {**before, "views": 0}


@pytest.mark.parametrize("width", [1280, 320])
def test_the_page_is_whole_quiet_and_does_not_move(browser: Browser, demo: Demo, width: int) -> None:
    context = browser.new_context(user_agent=AGENT, viewport={"width": width, "height": 900})
    page = context.new_page()
    said: list[str] = []

    def listen(message: ConsoleMessage) -> None:
        said.append(message.text)

    page.on("console", listen)
    page.on("pageerror", lambda error: said.append(str(error)))
    page.add_init_script(WATCH)
    answer = page.goto(demo.url)
    assert answer is not None
    assert "require-trusted-types-for 'script'" in answer.headers["content-security-policy"]
    numbers(page)
    expect(page.locator(".vs-box .vs-title")).to_have_text("Thống kê truy cập")
    labels = [text.partition(":")[0] for text in page.locator(".vs-line").all_text_contents()]
    assert labels == ["Đang online", "Hôm nay", "Trong tuần", "Tất cả"]
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("violations") == []
    assert page.evaluate("shifts") == []
    assert said == []
    context.close()


def test_an_open_page_outlives_the_service_and_no_number_is_lost(reader: Page, demo: Demo) -> None:
    reader.clock.install()
    reader.goto(demo.url)
    before = numbers(reader)
    demo.stop()
    reader.clock.run_for(61_000)
    expect(reader.locator(".vs-note")).to_contain_text("cập nhật lúc")
    assert numbers(reader) == before
    demo.start()
    for _ in range(130):
        # Step by step: ten seconds of the page's clock are all that a heartbeat has for its way.
        reader.clock.run_for(1_000)
        reader.evaluate("() => fetch('../healthz').then(answer => answer.text())")
        if "cập nhật lúc" not in (reader.text_content(".vs-note") or ""):
            break
    expect(reader.locator(".vs-note")).not_to_contain_text("cập nhật lúc")
    after = numbers(reader)
    assert {**after, "online": 0} == {**before, "online": 0}
    reader.reload()  # two minutes later: the same visit
    assert numbers(reader)["total"] == before["total"]


def test_a_reader_who_keeps_the_page_open_stays_online(reader: Page, demo: Demo) -> None:
    reader.clock.install()
    reader.goto(demo.url)
    number(reader, "online")
    with reader.expect_response("**/alive") as beat:
        reader.clock.run_for(61_000)
    assert beat.value.status == 200
    assert beat.value.json()["online"] >= 1


def test_the_gallery_shows_every_box_and_its_code(browser: Browser, demo: Demo) -> None:
    """Every preset and theme at three widths on both grounds, quiet under its policy; the code can be copied without
    `navigator.clipboard`, which plain http does not have."""
    context = browser.new_context(user_agent=AGENT, viewport={"width": 940, "height": 900})
    page = context.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.add_init_script(WATCH + "Object.defineProperty(navigator, 'clipboard', {value: undefined});")
    page.goto(f"{demo.url}boxes/")
    for name in PRESETS:
        sample = page.locator(f"#mau-{name}")
        assert [sample.locator(f".w{width} .vs-box").count() for width in (160, 240, 320)] == [2, 2, 2]
        assert sample.locator(".night .vs-dark").count() == 3
        expect(sample.locator("pre")).to_have_text(snippet("portal", "/vs", PRESETS[name], preset=name))
    assert page.locator("section[id^=kieu-]").count() == len(THEMES)
    expect(page.frame_locator("iframe").locator(".vs-today .vs-value")).to_have_text(re.compile(r"^[\d.]+$"))
    expect(page.locator("img[src*='box.svg']").first).to_have_js_property("naturalWidth", 240)
    expect(page.locator("#song-mau [data-vs=today]")).to_have_text(re.compile(r"^[\d.]+$"))
    page.click("#mau-digits button")
    expect(page.locator("#mau-digits button")).to_have_text("Đã chép")
    assert page.evaluate("getSelection().toString()").startswith('<link rel="stylesheet"')
    for width in (940, 320):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("violations") == []
    assert said == []
    context.close()
