"""A box as HTML, exactly as the widget builds it, and the snippet that makes the widget build it.

One renderer for `/box` and for the gallery, so that what is shown there is what a portal gets; a test in a browser
holds it and the widget together. The parts are those of docs/boxes.md.
"""

from collections.abc import Mapping
from html import escape
from urllib.parse import urlencode

import msgspec

from visitstats.core.box_words import words_of
from visitstats.core.boxes import DEFAULT_PRESET, UNKNOWN, Box, Line, asked_box

TAGS: Mapping[str, tuple[str, str, str, str]] = {
    "ul": ("ul", "li", "span", "span"),
    "dl": ("dl", "div", "dt", "dd"),
    "table": ("table", "tr", "th", "td"),
    "inline": ("p", "span", "span", "span"),
}
"""By the structure of a box: the elements of list, line, label and value."""
NO_NOTE = "\xa0"
"""An empty line keeps the place of the note, so that nothing moves when it says something."""
RIGHT_TO_LEFT = frozenset({"ar", "dv", "fa", "he", "ku", "ps", "sd", "ug", "ur", "yi"})


class Shown(msgspec.Struct, frozen=True):
    """The numbers of a site at a moment, for people: each None when it is not known."""

    numbers: Mapping[str, int | None]
    record_date: str = ""
    """The day of the record, as 2026-10-20."""
    stale_since: str = ""
    """When the numbers were last fresh, as 08:15 or 08:15, 23/11; empty while they are."""

    def state(self, box: Box) -> str:
        """How the theme shows them: fresh, stale or unknown."""
        if all(self.numbers.get(line.name) is None for line in box.lines):
            return "unknown"
        return "stale" if self.stale_since else "fresh"

    def value(self, box: Box, line: Line) -> str:
        """What stands in a line: one run of text."""
        text = box.written(self.numbers.get(line.name))
        if line.name == "record" and text != UNKNOWN and self.record_date:
            year, month, day = self.record_date.split("-")
            text += f" ({day}/{month}/{year})"
        return text

    def note(self, box: Box) -> str:
        """What stands below the lines; a space while the numbers are fresh."""
        if self.state(box) != "stale":
            return NO_NOTE
        return f"{words_of(box.language)['at']}{self.stale_since}"


def box_html(box: Box, shown: Shown, *, places: bool = True) -> str:
    """Render a box. With `places` its numbers are marked for the widget, which then keeps them fresh."""
    outer, inner, label_tag, value_tag = TAGS[box.structure]
    classes = " ".join(filter(None, ("vs-box", box.theme)))
    made = [f'<div{_marks(places, "box")} class="{classes}" data-vs-state="{shown.state(box)}" {direction(box)}>']
    if box.shown_title:
        made.append(f'<h3 class="vs-title">{escape(box.shown_title)}</h3>')
    made.append(f'<{outer} class="vs-list">')
    for number, line in enumerate(box.lines):
        if number and box.structure == "inline":
            made.append('<span class="vs-bar"> | </span>')
        gap = " vs-gap-before" if line.gap else ""
        scope = ' scope="row"' if label_tag == "th" else ""
        made.append(
            f'<{inner} class="vs-line vs-{line.name}{gap}">'
            f'<{label_tag}{scope} class="vs-label">{escape(box.label(line))}<span class="vs-sep">: </span>'
            f"</{label_tag}>"
            f'<{value_tag} class="vs-value"{_marks(places, line.name)}>{escape(shown.value(box, line))}</{value_tag}>'
            f"</{inner}>"
        )
    made.append(f"</{outer}>")
    made.append(f'<small class="vs-note"{_marks(places, "at")}>{escape(shown.note(box))}</small>')
    made.append("</div>")
    joint = "" if box.structure == "inline" else "\n"
    return joint.join(made)


def snippet(site: str, api: str, box: Box, *, preset: str = DEFAULT_PRESET, script: str = "") -> str:
    """What is pasted into a portal's pages: the style sheet, the script with everything that the box is, and a frame
    for readers without JavaScript. `api` is the address of the service, as `/vs` or https://counter.example.vn;
    `script` another form of the script than the short one, made with `attributes_of`."""
    made = [script or _short_form(site, api, box)]
    if box.theme:
        made.insert(0, f'<link rel="stylesheet" href="{escape(api)}/widget/themes/box.css">')
    frame = f"{api}/v1/sites/{site}/box{frame_query(box, preset)}"
    title = box.shown_title or words_of(box.language)["title"]
    made.append(
        f'<noscript><iframe src="{escape(frame)}" title="{escape(title)}" width="100%" height="{frame_height(box)}" '
        'frameborder="0" loading="lazy"></iframe></noscript>'
    )
    return "\n".join(made)


def attributes_of(box: Box) -> dict[str, str]:
    """Spell a box out in the attributes of the widget's snippet, by their names without `data-`."""
    made = {
        "lang": box.language,
        "title": box.shown_title,
        "lines": lines_text(box),
        "labels": "|".join(box.label(line) for line in box.lines),
        "format": box.format,
        "structure": box.structure,
        "theme": box.theme,
    }
    silent = {"lang": "vi", "format": "", "structure": "ul", "theme": ""}
    return {name: value for name, value in made.items() if silent.get(name) != value}


def _short_form(site: str, api: str, box: Box) -> str:
    said = {"site": site, **attributes_of(box)}
    written = "".join(f' data-{name}="{escape(value)}"' for name, value in said.items())
    # Lines and labels are for the second file, which the widget may not insert itself where Trusted Types are required.
    files = f'src="{escape(api)}/widget.js"{written}', f'src="{escape(api)}/widget/more.js"'
    return "\n".join(f"<script async {file}></script>" for file in files)


def lines_text(box: Box) -> str:
    """The lines by name, as `online,today|total`."""
    return "".join(
        f"{'' if not number else '|' if line.gap else ','}{line.name}" for number, line in enumerate(box.lines)
    )


def frame_query(box: Box, preset: str) -> str:
    """The query of `/box` and `box.svg` for a box: the preset, and what differs from it."""
    query = {"preset": preset}
    if box.language != "vi":
        query["lang"] = box.language
    known = asked_box(query)
    if box.lines != known.lines:
        query["lines"] = lines_text(box)
        query["labels"] = "|".join(box.label(line) for line in box.lines)
    for name, value, usual in (
        ("title", box.shown_title, known.shown_title),
        ("format", box.format, known.format),
        ("theme", box.theme, known.theme),
        ("structure", box.structure, known.structure),
    ):
        if value != usual:
            query[name] = value
    return "?" + urlencode(query)


def frame_height(box: Box) -> int:
    """About how high a frame must be for a box at 160 px, where long lines wrap."""
    if box.looks & {"vs-inline", "vs-badge"}:
        return 48
    if "vs-tiles" in box.looks:
        return 60 + 62 * len(box.lines)
    return 70 + sum(34 if len(box.label(line)) < 14 else 54 for line in box.lines)


def direction(box: Box) -> str:
    """The attributes that say in which language a box is, and in which direction that is written."""
    rtl = ' dir="rtl"' if box.language.partition("-")[0].lower() in RIGHT_TO_LEFT else ""
    return f'lang="{escape(box.language)}"{rtl}'


def _marks(places: bool, name: str) -> str:
    if not places:
        return ""
    return " data-vs-box" if name == "box" else f' data-vs="{name}"'
