"""A page is never harmed: nothing thrown, nothing global but one name, nothing that a strict policy forbids."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.browser.portal import NUMBERS, WIDGET, Answer, Portal, article
from tests.waiting import wait_until

pytestmark = pytest.mark.browser

STRICT = (
    "default-src 'none'; script-src 'self'; connect-src 'self'; img-src 'self'; style-src 'self'; base-uri 'none'; "
    "form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
VIOLATIONS = """
    window.violations = [];
    addEventListener('securitypolicyviolation', event => violations.push(event.violatedDirective), true);
"""
MARKUP = '<img src=x onerror="window.harmed=1"><script>window.harmed=1</script>'
ESCAPED = MARKUP.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")


def shows_numbers(page: Page, today: str = "1.524") -> None:
    # Looked at from outside the page's own world, which some of these tests break.
    expect(page.locator("[data-vs=today]")).to_have_text(today)


def test_it_works_under_a_strict_policy_and_trusted_types(page: Page, portal: Portal) -> None:
    page.add_init_script(VIOLATIONS)
    page.clock.install()
    page.goto(portal.page("/tin", article(), {"content-security-policy": STRICT}))
    shows_numbers(page)
    portal.answer("alive", Answer({}, status=503))
    page.clock.run_for(61_000)
    expect(page.locator(".vs-note")).to_contain_text("cập nhật lúc")
    assert page.evaluate("violations") == []
    assert page.locator("[style]").count() == 0
    # The policy is in force, and this test would see it.
    page.evaluate(
        """() => new Promise(seen => {
            addEventListener('securitypolicyviolation', seen);
            document.body.setAttribute('style', 'color: red');
        })"""
    )
    assert page.evaluate("violations") == ["style-src-attr"]


def test_the_image_works_under_a_strict_policy_too(page: Page, portal: Portal) -> None:
    page.add_init_script(VIOLATIONS + "delete window.fetch; delete window.XMLHttpRequest;")
    page.goto(portal.page("/tin", article(), {"content-security-policy": STRICT}))
    assert portal.wait_for(1)[0].route == "hit.gif"
    assert page.evaluate("violations") == []


def test_a_page_that_forbids_every_connection_is_not_harmed(page: Page, portal: Portal) -> None:
    page.clock.install()
    policy = "default-src 'none'; script-src 'self'"
    page.goto(portal.page("/tin", article(), {"content-security-policy": policy}))
    page.wait_for_selector(".vs-box")
    page.clock.run_for(5 * 60_000)
    assert page.text_content("[data-vs=today]") == "—"
    assert portal.sent == []


def test_one_name_is_all_that_it_adds(page: Page, portal: Portal) -> None:
    page.add_init_script("window.before = Object.getOwnPropertyNames(window)")
    page.goto(portal.page("/tin", article()))
    shows_numbers(page)
    page.evaluate("visitstats.hit('x')")
    portal.wait_for(2)
    added = page.evaluate("Object.getOwnPropertyNames(window).filter(name => !before.includes(name))")
    assert set(added) - {"before"} == {"visitstats"}
    assert page.evaluate("Object.keys(visitstats)") == ["hit", "render", "use"]


@pytest.mark.parametrize(
    "hostile",
    [
        "window.fetch = () => { throw new Error('no') }",
        "window.fetch = () => 'not a promise'",
        "window.fetch = null",
        "delete window.AbortController",
        "Object.freeze(JSON)",
        "JSON.parse = () => { throw new Error('no') }",
        "for (const name of ['push', 'join', 'map', 'forEach', 'slice', 'indexOf', 'filter', 'concat'])"
        " Array.prototype[name] = () => { throw new Error('no') }",
        "Array.prototype.toJSON = Object.prototype.extend = function () { return 'hostile' }",
        "document.write = document.writeln = () => { throw new Error('no') }; delete Document.prototype.write",
        "Object.defineProperty(window, 'console', {value: undefined})",
        "delete window.crypto; Object.defineProperty(window, 'crypto', {value: undefined})",
        "Object.defineProperty(Document.prototype, 'currentScript', {get() { throw new Error('no') }})",
        "Element.prototype.insertAdjacentHTML = () => { throw new Error('no') }",
    ],
)
def test_a_page_that_changed_the_language_still_counts_and_shows(page: Page, portal: Portal, hostile: str) -> None:
    page.add_init_script(hostile)
    page.goto(portal.page("/tin", article()))
    (hit,) = portal.wait_for(1)
    assert hit.route == "hit"
    assert hit.fields["u"] == f"{portal.origin}/tin"
    shows_numbers(page)


@pytest.mark.parametrize(
    "hostile",
    [
        "delete window.JSON",
        "JSON.stringify = () => { throw new Error('no') }",
        "Object.defineProperty(EventTarget.prototype, 'addEventListener', {value: undefined})",
        "delete window.fetch; delete window.XMLHttpRequest; delete window.JSON; delete window.AbortController; "
        "delete window.crypto; delete window.Promise; delete window.Uint8Array",
    ],
)
def test_a_page_that_lost_most_of_the_language_is_still_counted(page: Page, portal: Portal, hostile: str) -> None:
    page.add_init_script(hostile)
    page.goto(portal.page("/tin", article()))
    assert portal.wait_for(1)[0].fields["u"] == f"{portal.origin}/tin"


@pytest.mark.parametrize(
    "hostile",
    [
        "Object.defineProperty(Document.prototype, 'querySelectorAll', {value: undefined})",
        "Object.defineProperty(Document.prototype, 'querySelector', {value: () => { throw new Error('no') }})",
        "Object.defineProperty(EventTarget.prototype, 'addEventListener', {value: undefined})",
        "Object.defineProperty(document, 'createElement', {value: () => null})",
        "window.setTimeout = () => { throw new Error('no') }",
        "window.Image = window.XMLHttpRequest = window.fetch = () => { throw new Error('no') }",
        "Object.defineProperty(window, 'visitstats', {value: Object.freeze({})})",
        "String.prototype.replace = () => { throw new Error('no') }",
        "Object.freeze(window.location); Object.defineProperty(document, 'title', {get() { throw new Error('no') }})",
    ],
)
def test_whatever_is_missing_nothing_is_thrown_into_the_page(page: Page, portal: Portal, hostile: str) -> None:
    page.add_init_script(
        "addEventListener('unhandledrejection', event => { throw event.reason });" + hostile,
    )
    with page.expect_response("**/widget.js"):
        page.goto(portal.page("/tin", article()))
    page.wait_for_load_state("networkidle")
    page.evaluate("window.visitstats && visitstats.hit && visitstats.hit()")
    page.wait_for_load_state("networkidle")
    assert page.text_content("h1") == "Hội nghị"


NAMES = ("title", "referrer", "hidden", "prerendering", "readyState", "body", "head", "location", "links", "forms")


@pytest.mark.parametrize("element", ["iframe src='{foreign}'", "form", "img", "object"])
def test_elements_that_have_a_name_of_the_document_change_nothing(page: Page, portal: Portal, element: str) -> None:
    """`<form name="title">` hides `document.title`: the page is counted, with what it says, and the box is there."""
    element = element.format(foreign=portal.origin.replace("127.0.0.1", "localhost"))
    tag = element.split()[0]
    body = "".join(f'<{element} name="{name}"></{tag}>' for name in NAMES)
    page.clock.install()
    page.goto(portal.page("/tin", article(body, attributes='data-site="demo" data-theme="vs-card" data-live')))
    hit = portal.wait_for(1)[0].fields
    assert (hit["u"], hit["t"], hit["r"]) == (f"{portal.origin}/tin", "Hội nghị sơ kết", "")
    shows_numbers(page)
    expect(page.locator("main > .vs-box")).to_have_count(1)
    wait_until(lambda: portal.of("live"), "it takes the page for one that is seen")
    page.clock.run_for(61_000)
    portal.wait_for(1, "alive")


def test_a_snippet_without_a_site_or_from_elsewhere_does_nothing(page: Page, portal: Portal) -> None:
    html = '<body><script src="/vs/widget.js"></script><script src="/copied.js" data-site="demo"></script></body>'
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    portal.script("/copied.js", WIDGET)
    page.goto(portal.page("/tin", html))
    page.wait_for_load_state("networkidle")
    assert portal.sent == []
    # It says so: once for each of the two.
    assert len([text for text in said if text.startswith("visitstats: ")]) == 2


def test_texts_are_never_markup(page: Page, portal: Portal) -> None:
    answer = {**NUMBERS, "online": MARKUP, "at": f"2022{MARKUP}", "key": MARKUP, "views": 1, "pending": True}
    portal.answer("hit", Answer(answer))
    head = f'<title>{ESCAPED}</title><meta name="author" content="{ESCAPED}">'
    attributes = f'data-site="demo" data-title="{ESCAPED}" data-key="{ESCAPED}"'
    page.goto(portal.page("/tin", article(attributes=attributes, head=head)))
    shows_numbers(page)
    assert portal.wait_for(1)[0].fields["t"] == MARKUP
    assert page.text_content(".vs-title") == MARKUP
    assert page.locator(".vs-box img, .vs-box script").count() == 0
    assert page.evaluate("window.harmed") is None


def test_what_others_wrote_into_the_storage_is_never_markup_and_never_a_wrong_number(
    page: Page, portal: Portal
) -> None:
    address = portal.page("/tin", article())
    portal.answer("hit", Answer({}, status=503))
    page.goto(address)
    page.evaluate(
        """markup => {
            const kept = '"today":-1,"week":"' + markup + '","at":"' + markup + '","total":7}';
            localStorage['visitstats:n' + location.origin + '/vs/v1/sites/demo/'] = kept;
            localStorage['visitstats:v'] = markup;
        }""",
        MARKUP,
    )
    page.goto(address)
    page.wait_for_function("document.querySelector('[data-vs=total]').textContent === '7'")
    assert page.locator(".vs-line").all_text_contents()[1:3] == ["Hôm nay: —", "Trong tuần: —"]
    assert page.evaluate("window.harmed") is None
    assert "<" not in portal.wait_for(2)[1].fields["v"]


def test_a_page_can_be_left_and_printed_while_everything_hangs(page: Page, portal: Portal) -> None:
    portal.answer("hit", Answer({}, hang=True))
    page.goto(portal.page("/tin", article()))
    portal.wait_for(1)
    page.emulate_media(media="print")
    page.goto("about:blank")
    assert page.url == "about:blank"
    portal.release()
