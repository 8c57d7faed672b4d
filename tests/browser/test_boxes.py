"""Boxes as people meet them: in narrow columns, in the dark, on paper, in forced colours, read aloud, under a strict
policy. The markup is the service's (`core.box_markup`), the style sheet that of `/widget/themes/box.css`."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

import msgspec
import pytest
from playwright.sync_api import Page, expect

from tests.browser.portal import Answer, Portal, article
from visitstats import web
from visitstats.core.box_markup import Shown, box_html, snippet
from visitstats.core.boxes import LINES, PRESETS, STRUCTURES, THEMES, Box, Line, asked_box, written

pytestmark = pytest.mark.browser

STATIC = Path(web.__file__).parent / "static"
CSS = (STATIC / "themes" / "box.css").read_text(encoding="utf-8")
WIDTHS = (140, 160, 240, 320)
SHEET = (
    # All three are about as wide as each other; a machine has at least one of them.
    "body{margin:8px;font:14px/1.5 Arial,'Liberation Sans','DejaVu Sans Condensed',sans-serif}"
    + ".d{background:#10151c;color:#e9edf2}"
    + "".join(f".w{width}{{width:{width}px}}" for width in WIDTHS)
)
POLICY = "default-src 'none'; style-src 'self'; img-src 'self'"
SAMPLE = Shown(dict.fromkeys(LINES, 21904) | {"total": 1524318, "online": 23}, "2026-10-20")
STALE = Shown(SAMPLE.numbers, "2026-10-20", "08:15, 23/11")
BOXES = {
    **PRESETS,
    **{f"theme {name}": asked_box({"theme": name}) for name in THEMES},
    **{f"structure {name}": asked_box({"preset": "classic", "structure": name}) for name in STRUCTURES},
    **{f"language {name}": asked_box({"preset": "classic-long", "lang": name}) for name in ("en", "fr", "ru", "km")},
    "every line": Box(lines=tuple(Line(name) for name in LINES), theme="vs-portal vs-green vs-icons"),
    "badge of two": asked_box({"preset": "badge", "lines": "online,total", "labels": "Đang xem|Lượt"}),
    "arabic": Box(title="إحصاءات", lines=(Line("online", "متصل"), Line("total", "المجموع")), theme="vs-card vs-icons",
                  language="ar"),
}  # fmt: skip
LAYOUT = """
() => Array.from(document.querySelectorAll('.vs-box')).flatMap(box => {
  const wrong = [], inner = box.getBoundingClientRect(), name = box.parentElement.id;
  const column = box.parentElement.getBoundingClientRect();
  if (inner.right > column.right + .5 || inner.left < column.left - .5) wrong.push('wider than its column');
  for (const part of box.querySelectorAll('.vs-title,.vs-label,.vs-value,.vs-note')) {
    const text = document.createRange();
    text.selectNodeContents(part.querySelector('.vs-sep') ? part.firstChild : part);
    for (const rect of text.getClientRects()) {
      if (rect.width && (rect.right > inner.right + 1 || rect.left < inner.left - 1)) {
        wrong.push('outside: ' + part.textContent);
      }
    }
  }
  for (const line of box.querySelectorAll('.vs-line')) {
    const label = document.createRange();
    label.selectNodeContents(line.querySelector('.vs-label').firstChild);
    const value = line.querySelector('.vs-value').getBoundingClientRect();
    for (const rect of label.getClientRects()) {
      const across = Math.min(rect.right, value.right) - Math.max(rect.left, value.left);
      const down = Math.min(rect.bottom, value.bottom) - Math.max(rect.top, value.top);
      if (across > 1 && down > 4) wrong.push('label over number: ' + line.textContent);
    }
  }
  return wrong.map(each => name + ' ' + each);
})
"""


def sheet(portal: Portal, boxes: dict[str, tuple[Box, Shown]], *, widths: tuple[int, ...] = WIDTHS) -> str:
    """A page with each box at each width, on a light and on a dark ground; its address."""
    made = []
    for name, (box, shown) in boxes.items():
        for width in widths:
            made.append(f'<div class="w{width}" id="{escape(name)}-{width}">{box_html(box, shown)}</div>')
            dark = box if "vs-dark" in box.looks else msgspec.structs.replace(box, theme=f"{box.theme} vs-dark".strip())
            made.append(f'<div class="d w{width}" id="{escape(name)}-{width}-d">{box_html(dark, shown)}</div>')
    portal.page("/box.css", CSS, {"content-type": "text/css"})
    portal.page("/sheet.css", SHEET, {"content-type": "text/css"})
    head = '<!DOCTYPE html><meta charset="utf-8"><title>x</title><link rel="stylesheet" href="/sheet.css">'
    head += '<link rel="stylesheet" href="/box.css">'
    return portal.page("/boxes", head + "".join(made), {"content-security-policy": POLICY})


@pytest.fixture
def strict(page: Page) -> Page:
    page.add_init_script("addEventListener('securitypolicyviolation', e => console.error('policy: ' + e.blockedURI))")
    return page


@pytest.mark.parametrize("shown", [SAMPLE, STALE, Shown({})], ids=["fresh", "stale", "unknown"])
def test_every_box_fits_into_every_column(strict: Page, portal: Portal, shown: Shown) -> None:
    """At 140 to 320 px nothing is wider than its column, outside of its box, or over something else."""
    said: list[str] = []
    strict.on("console", lambda message: said.append(message.text))
    strict.goto(sheet(portal, {name: (box, shown) for name, box in BOXES.items()}))
    assert strict.locator(".vs-box").count() == len(BOXES) * len(WIDTHS) * 2
    assert strict.evaluate(LAYOUT) == []
    assert [text for text in said if text.startswith("policy")] == []


def test_digits_are_never_cut_off(page: Page, portal: Portal) -> None:
    """One digit or ten: cut digits are an invented number."""
    numbers = {
        f"{name} {n}": (PRESETS[name], Shown({"total": n, "online": 3, "today": 4}))
        for name in ("digits", "badge")
        for n in (7, 12345678, 1234567890)
    }
    page.goto(sheet(portal, numbers))
    assert page.evaluate(LAYOUT) == []
    wheels = page.locator(".vs-digits .vs-total .vs-value")
    assert max(wheels.evaluate_all("all => all.map(each => each.scrollWidth - each.clientWidth)")) <= 1


def test_nothing_moves_when_numbers_come_or_grow_old(page: Page, portal: Portal) -> None:
    boxes = {
        "list": "lao-cai",
        "icons": "nukeviet",
        "digits": "digits",
        "tiles": "compact",
        "underline": "classic-long",
    }
    states = {"fresh": SAMPLE, "stale": STALE, "unknown": Shown({})}
    page.goto(
        sheet(
            portal,
            {f"{n} {s}": (PRESETS[p], shown) for n, p in boxes.items() for s, shown in states.items()},
            widths=(240,),
        )
    )
    heights = page.evaluate(
        "() => Object.fromEntries(Array.from(document.querySelectorAll('.w240:not(.d)'), e => [e.id, e.offsetHeight]))"
    )
    for name in boxes:
        found = {heights[f"{name} {state}-240"] for state in states}
        assert len(found) == 1, (name, found)


def heard(page: Page, box: str) -> str:
    """What a screen reader is told of a box, in order: the texts of Chromium's accessibility tree."""
    session = page.context.new_cdp_session(page)
    document: Any = session.send("DOM.getDocument")
    found: Any = session.send("DOM.querySelector", {"nodeId": document["root"]["nodeId"], "selector": box})
    top: Any = session.send("DOM.describeNode", {"nodeId": found["nodeId"]})
    tree: Any = session.send("Accessibility.getFullAXTree")
    nodes = {node["nodeId"]: node for node in tree["nodes"]}
    [root] = [node for node in nodes.values() if node.get("backendDOMNodeId") == top["node"]["backendNodeId"]]
    told: list[str] = []

    def walk(node: Any) -> None:
        if node.get("role", {}).get("value") == "StaticText" and not node.get("ignored"):
            told.append(node["name"]["value"])
            return
        for child in node.get("childIds", []):
            walk(nodes[child])

    walk(root)
    return " ".join("|".join(told).replace("|: ", ": ").replace("|:", ":").replace("|", " ").split())


@pytest.mark.parametrize("structure", STRUCTURES)
def test_a_reader_hears_each_label_and_its_number_once(page: Page, portal: Portal, structure: str) -> None:
    box = asked_box({"preset": "classic", "structure": structure})
    page.goto(sheet(portal, {"box": (box, SAMPLE)}, widths=(240,)))
    assert heard(page, "#box-240 .vs-box") == (
        "Thống kê truy cập Đang online: 23 Hôm nay: 21.904 Hôm qua: 21.904 Tuần này: 21.904 Tháng này: 21.904 "
        "Tất cả: 1.524.318"
    )
    assert page.locator("[aria-live],[role=status],[role=alert]").count() == 0, "no chatter when numbers change"


def test_wheels_are_read_as_the_number_that_they_show(page: Page, portal: Portal) -> None:
    """The zeros in front are seen and not read."""
    page.goto(sheet(portal, {"digits": (PRESETS["digits"], SAMPLE)}, widths=(240,)))
    said = heard(page, "#digits-240 .vs-box")
    assert said == "Thống kê truy cập Tổng lượt truy cập: 1524318 Đang online: 23 Hôm nay: 21904"
    seen = page.evaluate("getComputedStyle(document.querySelector('.vs-total .vs-value'), '::before').content")
    assert seen == '"00000000" / ""'


def test_a_table_is_still_a_table_and_a_list_still_a_list(page: Page, portal: Portal) -> None:
    page.goto(
        sheet(
            portal, {"t": (asked_box({"structure": "table"}), SAMPLE), "u": (PRESETS["lao-cai"], SAMPLE)}, widths=(240,)
        )
    )
    tree: Any = page.context.new_cdp_session(page).send("Accessibility.getFullAXTree")
    roles = [node["role"]["value"] for node in tree["nodes"] if not node.get("ignored") and "role" in node]
    assert (roles.count("table"), roles.count("row"), roles.count("rowheader")) == (2, 8, 8)
    assert (roles.count("list"), roles.count("listitem")) == (2, 8)


def test_signs_are_painted_under_the_strictest_policy(page: Page, portal: Portal) -> None:
    """No picture is fetched for them: `img-src` may be anything."""
    page.goto(
        sheet(
            portal,
            {"icons": (PRESETS["nukeviet"], SAMPLE), "none": (asked_box({"theme": "card"}), SAMPLE)},
            widths=(240,),
        )
    )
    for number in range(5):
        line = page.locator("#icons-240 .vs-line").nth(number).bounding_box()
        assert line is not None
        clip = {"x": line["x"], "y": line["y"] + 4, "width": 15, "height": 18}
        empty = {"x": line["x"] + 150, "y": line["y"] + 4, "width": 15, "height": 18}
        assert page.screenshot(clip=clip) != page.screenshot(clip=empty), f"line {number}"  # type: ignore[arg-type]


def test_forced_colours_keep_signs_headings_and_digits(page: Page, portal: Portal) -> None:
    page.emulate_media(forced_colors="active")
    boxes = {
        "icons": PRESETS["nukeviet"],
        "portal": PRESETS["lao-cai"],
        "digits": PRESETS["digits"],
        "badge": PRESETS["badge"],
    }
    page.goto(sheet(portal, {name: (box, SAMPLE) for name, box in boxes.items()}, widths=(240,)))
    style = "(s) => { const e = document.querySelector(s[0]); const c = getComputedStyle(e, s[1]); "
    assert page.evaluate(style + "return c.backgroundColor }", ["#icons-240 .vs-line", "::before"]) == "rgb(0, 0, 0)"
    for part in ("#portal-240 .vs-title", "#digits-240 .vs-total .vs-value", "#badge-240 .vs-value"):
        assert page.evaluate(style + "return c.borderTopStyle }", [part, None]) == "solid", part
    assert page.evaluate(style + "return c.backgroundImage }", ["#digits-240 .vs-total .vs-value", None]) == "none"


def test_on_paper_everything_is_black_on_white(page: Page, portal: Portal) -> None:
    """Browsers leave backgrounds out: white on a filled heading would be white on white."""
    page.goto(sheet(portal, {name: (box, SAMPLE) for name, box in BOXES.items()}, widths=(240,)))
    page.emulate_media(media="print")
    found = page.evaluate(
        """() => Array.from(document.querySelectorAll('.vs-title,.vs-value,.vs-label,.vs-note'), e => {
             const c = getComputedStyle(e); return [c.color, c.backgroundColor, c.backgroundImage].join(' ') })"""
    )
    assert set(found) == {"rgb(0, 0, 0) rgba(0, 0, 0, 0) none"}
    zeros = page.evaluate(
        "getComputedStyle(document.querySelector('.vs-digits .vs-total .vs-value'), '::before').content"
    )
    assert zeros == "none"


def test_a_box_follows_the_reader_only_when_the_portal_says_so(page: Page, portal: Portal) -> None:
    page.emulate_media(color_scheme="dark")
    boxes = {"usual": asked_box({"theme": "vs-card"}), "auto": asked_box({"theme": "vs-card vs-auto"})}
    page.goto(sheet(portal, {name: (box, SAMPLE) for name, box in boxes.items()}, widths=(240,)))
    back = "(id) => getComputedStyle(document.querySelector('#' + id + '-240 .vs-box')).backgroundColor"
    assert page.evaluate(back, "usual") == "rgb(255, 255, 255)"
    assert page.evaluate(back, "auto") == "rgb(26, 33, 43)"
    page.emulate_media(color_scheme="light")
    assert page.evaluate(back, "auto") == "rgb(255, 255, 255)"


TREE = """
(box) => Array.from(box.querySelectorAll('*'))
  .filter(each => each.tagName != 'TBODY')
  .map(each => [each.tagName, each.className, each.getAttribute('data-vs'),
                each.children.length ? '' : each.textContent].join(' '))
"""


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_the_widget_builds_the_box_that_the_service_renders(page: Page, portal: Portal, preset: str) -> None:
    """One structure, so that one style sheet fits both, and the gallery shows what a portal gets."""
    box = PRESETS[preset]
    numbers = dict.fromkeys(LINES, 21904) | {"total": 1524318}
    portal.page("/vs/widget/themes/box.css", CSS, {"content-type": "text/css"})
    code = "".join(
        line for line in snippet("demo", "/vs", box, preset=preset).splitlines() if line.startswith("<script")
    )
    answer = {"site": "demo", **numbers, "at": "2022-07-22T10:32:05+07:00"}
    portal.answer("hit", Answer(answer))
    page.goto(portal.page("/a", f'<!DOCTYPE html><meta charset="utf-8"><title>a</title><div id="w">{code}</div>'))
    page.wait_for_selector("#w .vs-box[data-vs-state=fresh] .vs-value")
    theirs = page.locator("#w .vs-box").evaluate(TREE)
    mine = page.evaluate(
        f"html => {{ const inert = document.createElement('template'); inert.innerHTML = html;"
        f" return ({TREE})(inert.content.firstElementChild) }}",
        box_html(box, Shown(numbers)),
    )
    assert theirs == mine
    assert set((page.locator("#w .vs-box").get_attribute("class") or "").split()) == {"vs-box", *box.looks}


SHORT = (999, 1000, 1099, 1250, 1299, 9999, 10_000, 99_949, 99_999, 100_000, 999_949, 999_999, 1_000_000, 1_099_999,
         1_524_318, 9_999_999, 12_345_678, 999_999_999)  # fmt: skip


@pytest.mark.parametrize("language", ["vi", "en", "fr"])
def test_the_widget_and_the_service_shorten_every_number_alike(page: Page, portal: Portal, language: str) -> None:
    """A box of the script, a frame and a picture stand on one page, and show one number."""
    portal.answer("views", lambda sent: Answer({"views": {key: int(key) for key in sent.fields["keys"]}}))
    places = "".join(f'<i data-vs-views="{number}">—</i>' for number in SHORT)
    attributes = f'data-site="demo" data-lang="{language}" data-format="short"'
    page.goto(portal.page("/a", article(places, attributes=attributes)))
    expect(page.locator("i").last).not_to_have_text("—")
    assert page.locator("i").all_text_contents() == [written(number, "short", language) for number in SHORT]
