"""The table of boxes, and what is made of it: markup, snippets, pictures. Whatever is asked for is a box or refused."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import parse_qsl
from xml.etree import ElementTree

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from visitstats.core.box_markup import Shown, attributes_of, box_html, frame_query, snippet
from visitstats.core.box_svg import DARK, LIGHT, NARROWEST, WIDEST, box_svg, spoken
from visitstats.core.box_words import WORDS, grouping_of, language_of
from visitstats.core.boxes import (
    DEFAULT_PRESET,
    FORMATS,
    LINES,
    LOOKS,
    PRESETS,
    STRUCTURES,
    THEMES,
    BadBox,
    Box,
    Line,
    asked_box,
    for_site,
    written,
)

ROOT = Path(__file__).parents[2]
CSS = (ROOT / "src/visitstats/web/static/themes/box.css").read_text(encoding="utf-8")
NUMBERS = Shown({name: 1524 * n for n, name in enumerate(LINES)}, "2026-10-20")
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=100)

ASKED = st.fixed_dictionaries(
    {"preset": st.sampled_from(sorted(PRESETS))},
    optional={
        "lang": st.sampled_from(["vi", "vi_VN", "en-GB", "fr", "zh", "ar", "xx"]),
        "lines": st.lists(st.sampled_from(LINES), min_size=1, max_size=8, unique=True).flatmap(
            lambda names: st.lists(st.sampled_from(",|"), min_size=len(names), max_size=len(names)).map(
                lambda marks: "".join(mark + name for mark, name in zip(marks, names, strict=True)).lstrip(",|")
            )
        ),
        "labels": TEXTS,
        "title": TEXTS,
        "format": st.sampled_from(["", *FORMATS, "0", "00000000"]),
        "theme": st.sampled_from(["", *THEMES, "vs-tiles vs-portal vs-green vs-auto vs-icons"]),
        "structure": st.sampled_from(STRUCTURES),
    },
)


class Elements(HTMLParser):
    """The elements of a piece of HTML and its text."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize(
    ("preset", "title", "lines", "way"),
    [
        ("lao-cai", "Thống kê truy cập", "Đang online, Hôm nay, Trong tuần, Tất cả", "1.524"),
        (
            "nukeviet",
            "Thống kê",
            "Đang truy cập, Máy chủ tìm kiếm | Hôm nay, Tháng hiện tại, Tổng lượt truy cập",
            "1,524",
        ),
        ("classic", "Thống kê truy cập", "Đang online, Hôm nay, Hôm qua, Tuần này, Tháng này, Tất cả", "1.524"),
        (
            "classic-long",
            "Thống kê truy cập",
            "Đang online | Hôm nay, Hôm qua, Tuần này, Tuần trước, Tháng này, Tháng trước | Tất cả",
            "1.524",
        ),
        ("footer-inline", "", "Đang truy cập, Tổng lượt truy cập", "1.524"),
        ("compact", "Thống kê truy cập", "Đang online, Tuần, Tháng, Tổng truy cập", "1.524"),
        ("digits", "Thống kê truy cập", "Tổng lượt truy cập, Đang online, Hôm nay", "1524"),
        ("badge", "", "Lượt truy cập", "1.524"),
    ],
)
def test_a_preset_is_the_box_that_is_seen_on_portals(preset: str, title: str, lines: str, way: str) -> None:
    box = PRESETS[preset]
    said = "".join(
        f"{'' if not n else ' | ' if line.gap else ', '}{box.label(line)}" for n, line in enumerate(box.lines)
    )
    assert (box.shown_title, said, box.written(1524)) == (title, lines, way)


def test_there_is_no_other_preset_and_each_one_is_a_box_that_can_be_asked_for() -> None:
    assert list(PRESETS) == "lao-cai nukeviet classic classic-long footer-inline compact digits badge".split()
    for name, box in PRESETS.items():
        assert asked_box({"preset": name}) == box
    assert asked_box({}) == PRESETS[DEFAULT_PRESET]


@pytest.mark.parametrize(
    ("number", "way", "language", "expected"),
    [
        (1524318, "dot", "en", "1.524.318"),
        (1524318, "comma", "vi", "1,524,318"),
        (1524318, "space", "vi", "1\xa0524\xa0318"),
        (1524318, "none", "vi", "1524318"),
        (7, "00000000", "vi", "00000007"),
        (123456789, "00000000", "vi", "123456789"),
        (0, "dot", "vi", "0"),
        (999, "short", "vi", "999"),
        (1000, "short", "vi", "1k"),
        (1099, "short", "vi", "1k"),
        (1250, "short", "en", "1.2k"),
        (1299, "short", "en", "1.2k"),
        (999999, "short", "vi", "999,9k"),
        (1000000, "short", "vi", "1M"),
        (1099999, "short", "en", "1M"),
        (1524318, "short", "vi", "1,5M"),
        (1524318, "", "vi", "1.524.318"),
        (1524318, "", "vi_VN", "1.524.318"),
        (1524318, "", "en-GB", "1,524,318"),
        (1524318, "", "fr", "1\u202f524\u202f318"),
        (1524318, "", "ru", "1\xa0524\xa0318"),
        (2**53 - 1, "", "zh", "9,007,199,254,740,991"),
    ],
)
def test_a_number_is_one_run_of_text_in_the_way_that_was_asked_for(
    number: int, way: str, language: str, expected: str
) -> None:
    assert written(number, way, language) == expected


def test_a_number_that_is_not_known_is_a_dash_never_a_zero() -> None:
    for box in PRESETS.values():
        assert box.written(None) == "—"
        html = box_html(box, Shown({}))
        assert 'data-vs-state="unknown"' in html
        assert not re.search(r">[0-9]", html)
        assert not re.search(r">[^<]*[0-9][^<]*</t(?:ext|span|itle)>", box_svg(box, Shown({})))


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"preset": "x"}, "no preset 'x'; there are lao-cai, nukeviet"),
        ({"lines": "online,nix"}, "no line 'nix'; there are online,"),
        ({"lines": "online,online"}, "each once"),
        ({"lines": ""}, "1 or more lines"),
        ({"format": "1.5"}, "no format '1.5'"),
        ({"format": "0" * 16}, "no format"),
        ({"theme": "evil"}, "no theme 'evil'; there are plain,"),
        ({"theme": "vs-card vs-portal"}, "no theme"),
        ({"theme": "vs-red vs-green"}, "no theme"),
        ({"theme": 'vs-card" onload="x'}, "no theme"),
        ({"structure": "div"}, "no structure 'div'; there are ul,"),
        ({"lang": "<b>"}, "no language"),
    ],
)
def test_what_is_no_box_is_refused_with_what_there_is(asked: dict[str, str], words: str) -> None:
    with pytest.raises(BadBox, match=re.escape(words)):
        asked_box(asked)


@given(ASKED)
def test_the_query_of_a_frame_makes_the_box_that_it_was_made_of(asked: dict[str, str]) -> None:
    """So the frame in <noscript> shows what the script shows."""
    box = asked_box(asked)
    again = asked_box(dict(parse_qsl(frame_query(box, asked["preset"]).removeprefix("?"), keep_blank_values=True)))
    assert attributes_of(again) == attributes_of(box)
    assert box_html(again, NUMBERS) == box_html(box, NUMBERS)


@given(ASKED)
def test_whatever_is_asked_for_is_text_in_markup_and_pictures(asked: dict[str, str]) -> None:
    """Labels of `<img src=x onerror=…>` are labels, and a picture is well-formed."""
    box = asked_box(asked)
    found = Elements(box_html(box, NUMBERS))
    assert {tag for tag, _ in found.tags} <= set("div h3 ul li span dl dt dd table tr th td p small".split())
    for line in box.lines:
        assert f"{box.label(line)}: " in found.text
        assert len(box.label(line)) <= 80
    root = ElementTree.fromstring(box_svg(box, NUMBERS, 240))  # noqa: S314 - our own text
    assert root[0].text == spoken(box, NUMBERS)
    assert (
        NARROWEST <= int(root.attrib["width"]) <= WIDEST
        or box.looks & {"vs-inline", "vs-badge"}
        or (box.structure == "inline")
    )
    pasted = Elements(snippet("portal", "/vs", box, preset=asked["preset"]))
    assert [tag for tag, _ in pasted.tags if tag not in ("link",)] == ["script", "script", "noscript", "iframe"]


@pytest.mark.parametrize("structure", STRUCTURES)
def test_a_screen_reader_hears_label_and_number_as_one_line(structure: str) -> None:
    box = asked_box({"structure": structure, "theme": "digits", "format": "dot", "title": ""})
    text = Elements(box_html(box, Shown({"online": 3, "today": 1524, "week": 18568, "total": 1234567}))).text
    expected = ["Đang online: 3", "Hôm nay: 1.524", "Trong tuần: 18.568", "Tất cả: 1.234.567"]
    assert re.split(r" \| |\n", text.strip("\n\xa0"))[: len(expected)] == expected


def test_the_snippet_spells_out_all_that_a_box_is() -> None:
    """The widget carries no table of presets, and a change of a preset changes no portal."""
    made = snippet("portal", "/vs", PRESETS["nukeviet"], preset="nukeviet")
    link, script, more, noscript = made.splitlines()
    assert link == '<link rel="stylesheet" href="/vs/widget/themes/box.css">'
    assert script == (
        '<script async src="/vs/widget.js" data-site="portal" data-title="Thống kê" '
        'data-lines="online,search_engines|today,month,total" data-labels="Đang truy cập|Máy chủ tìm kiếm|Hôm nay|'
        'Tháng hiện tại|Tổng lượt truy cập" data-format="comma" data-theme="vs-card vs-icons"></script>'
    )
    assert more == '<script async src="/vs/widget/more.js"></script>', "where a script may not insert it"
    assert noscript.startswith('<noscript><iframe src="/vs/v1/sites/portal/box?preset=nukeviet" title="Thống kê" ')
    assert 'data-title=""' in snippet("portal", "/vs", PRESETS["badge"], preset="badge")
    plain = snippet("portal", "/vs", asked_box({"theme": "", "lang": "en"}))
    assert "<link" not in plain
    assert 'data-lang="en" data-title="Visitor statistics"' in plain
    assert 'data-labels="Online now|Today|This week|Total"' in plain
    assert "format" not in plain, "numbers in the way of the language"


def test_a_line_of_search_engines_stands_where_the_site_shows_it_and_nowhere_else() -> None:
    def names(box: Box) -> list[str]:
        return [line.name for line in box.lines]

    assert "search_engines" not in names(for_site(PRESETS["nukeviet"], search_engines=False))
    assert names(for_site(PRESETS["nukeviet"], search_engines=True)) == names(PRESETS["nukeviet"])
    assert names(for_site(PRESETS["lao-cai"], search_engines=True)) == names(PRESETS["lao-cai"])
    added = names(for_site(PRESETS["lao-cai"], search_engines=True, add=True))
    assert added == ["online", "search_engines", "today", "week", "total"]
    only = msgspec.structs.replace(PRESETS["badge"], lines=(Line("search_engines"),))
    assert names(for_site(only, search_engines=False)) == ["search_engines"]


def test_the_record_has_its_day() -> None:
    box = asked_box({"lines": "record"})
    assert "Cao nhất: 3.120 (20/10/2026)" in Elements(box_html(box, Shown({"record": 3120}, "2026-10-20"))).text
    assert "Cao nhất: —\n" in Elements(box_html(box, Shown({}, "2026-10-20"))).text


def test_a_language_has_every_word_and_a_tag_is_read_by_its_first_part() -> None:
    for language, words in WORDS.items():
        assert set(words) == {*LINES, "title", "at"}, language
    assert [language_of(tag) for tag in ("vi_VN", "en-GB", "FR", "", "{{lang}}", "x")] == [
        "vi",
        "en",
        "fr",
        "vi",
        "vi",
        "vi",
    ]
    assert grouping_of("nonsense!") == "."


def test_the_widget_says_the_same_words() -> None:
    folder = ROOT / "widget" / "src" / "words"
    for language, words in WORDS.items():
        there = json.loads((folder / f"{language}.json").read_text(encoding="utf-8"))
        assert {name: there[name] for name in words} == dict(words)


# The style sheet ---------------------------------------------------------------------------------------------------


def test_every_look_of_the_table_is_in_the_style_sheet() -> None:
    usual = {"vs-list", "vs-blue"}
    missing = [name for row in LOOKS.values() for name in row if f".{name}" not in CSS and name not in usual]
    assert missing == []
    for theme in (*THEMES.values(), *(box.theme for box in PRESETS.values())):
        assert asked_box({"theme": theme}).theme == theme


def test_the_style_sheet_fetches_nothing_and_forces_nothing() -> None:
    rules = re.sub(r"/\*.*?\*/", "", CSS, flags=re.DOTALL)
    assert not re.search(r"url\(|@import|@font-face|https?:|image-set", rules)
    assert "!important" not in rules.partition("@media print")[0]
    assert "overflow: hidden" not in re.sub(r"(?s)\.vs-sep[^}]*}|::before[^}]*}|\.vs-badge \.vs-line[^}]*}", "", rules)


def luminance(colour: str) -> float:
    colour = colour.lstrip("#")
    parts = [int(c * 2 if len(colour) == 3 else colour[2 * n : 2 * n + 2], 16) / 255 for n, c in enumerate(colour[:3])]
    if len(colour) == 6:
        parts = [int(colour[n : n + 2], 16) / 255 for n in (0, 2, 4)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def colours(*classes: str) -> dict[str, str]:
    """The custom properties of a box with these classes, outside of media queries."""
    rules = re.sub(r"/\*.*?\*/", "", CSS, flags=re.DOTALL)
    found: dict[str, str] = {}
    for selectors, body in re.findall(r"([^{}]+){([^{}]*)}", re.sub(r"@media[^{]*{(?:[^{}]*{[^{}]*})*\s*}", "", rules)):
        for selector in selectors.split(","):
            names = selector.strip().lstrip(".").split(".")
            if set(names) <= {"vs-box", *classes} and " " not in selector.strip():
                found |= dict(re.findall(r"--vs-([a-z0-9-]+): (#[0-9a-f]{3,6}|var\(--vs-accent\))", body))
    return {name: found["accent"] if value.startswith("var") else value for name, value in found.items()}


@pytest.mark.parametrize("colour", LOOKS["colour"])
@pytest.mark.parametrize("dark", [False, True])
def test_every_colour_can_be_read(colour: str, dark: bool) -> None:
    """WCAG 2.1 AA: 4.5:1 for text, 3:1 for signs; high contrast is 7:1 at least."""
    found = colours(colour, *(["vs-dark"] if dark else []))
    least = 7 if colour == "vs-contrast" else 4.5
    for text in ("text", "value", "muted", "accent"):
        assert contrast(found[text], found["back"]) >= least, text
    assert contrast(found["on-head"], found["head"]) >= least
    assert contrast(found["live"], found["back"]) >= 3


# Its colours ----------------------------------------------------------------------------------------------------------

# Fields of a palette -> custom properties.
PROPERTIES = {
    **{name: name for name in ("accent", "value", "text", "muted", "back", "frame", "head")},
    "on_head": "on-head",
    "stripe": "accent-2",
}


def custom_properties(*classes: str) -> dict[str, str]:
    """What the style sheet says for an element of these classes: more classes in a selector win, then the later rule.
    Of the media queries only the dark scheme is looked at, as if the reader had it."""
    sheet = re.sub(r"/\*.*?\*/", "", CSS, flags=re.DOTALL)
    sheet = re.sub(r"@media (?!\(prefers-color-scheme)[^{]*\{(?:[^{}]*\{[^{}]*\})*[^{}]*\}", "", sheet)
    rules = re.findall(r"([^{}]+)\{([^{}]*)\}", sheet)
    found: dict[str, str] = {}
    matching: list[tuple[int, str]] = []
    for selectors, body in rules:
        for selector in selectors.split(","):
            wanted = selector.strip().split(".")
            if not wanted[0] and set(wanted[1:]) <= set(classes):
                matching.append((len(wanted), body))
    for _, body in sorted(matching, key=lambda rule: rule[0]):  # stable: the order of the sheet among equals
        found |= dict(re.findall(r"--vs-([\w-]+):\s*([^;]+);", body))
    return {name: found.get(value[9:-1], value) if value.startswith("var(") else value for name, value in found.items()}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("colour", LOOKS["colour"])
def test_a_picture_has_the_colours_of_the_style_sheet(scheme: str, colour: str) -> None:
    palettes, classes = (DARK, ("vs-dark",)) if scheme == "dark" else (LIGHT, ())
    said = custom_properties("vs-box", colour, *classes)
    expected = {field: re.sub(r"^#(.)(.)(.)$", r"#\1\1\2\2\3\3", said[name]) for field, name in PROPERTIES.items()}
    assert palettes[colour]._asdict() == expected


@pytest.mark.parametrize("colour", ["vs-blue", "vs-red", "vs-green"])
def test_a_box_that_follows_the_readers_scheme_is_dark_as_a_dark_box_is(colour: str) -> None:
    assert custom_properties("vs-box", colour, "vs-auto") == custom_properties("vs-box", colour, "vs-dark")
