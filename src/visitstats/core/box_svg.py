"""A box as a picture: an SVG of text, for pages that take neither a script nor a frame (a forum, a mail, a README).

Nothing in it is fetched, and its words are text: it can be searched, and a reader that opens it hears it. In an `<img>`
a picture has only its `alt`, which cannot carry the numbers: where a frame is possible, `/box` is better.
"""

from collections.abc import Mapping
from html import escape
from typing import NamedTuple

from visitstats.core.box_markup import RIGHT_TO_LEFT, Shown
from visitstats.core.boxes import UNKNOWN, Box

FONT = "Arial, 'Liberation Sans', 'Noto Sans', Helvetica, sans-serif"
MONO = "Consolas, 'DejaVu Sans Mono', 'Liberation Mono', Menlo, monospace"
NARROWEST, USUAL, WIDEST = 140, 240, 480
SIZE = 14
STEP = 26
PAD = 10
WHEELS = 8


class Palette(NamedTuple):
    """The colours of a picture; those of `widget/themes/box.css`."""

    accent: str
    value: str
    text: str
    muted: str
    back: str
    frame: str
    head: str
    on_head: str
    stripe: str


LIGHT: Mapping[str, Palette] = {
    "vs-blue": Palette(
        "#0a4f9e", "#a5121c", "#20262e", "#565f6b", "#ffffff", "#b9c7d8", "#0a4f9e", "#ffffff", "#ffd54a"
    ),
    "vs-red": Palette(
        "#a5121c", "#a5121c", "#20262e", "#565f6b", "#ffffff", "#dfc3c5", "#a5121c", "#ffffff", "#ffd54a"
    ),
    "vs-green": Palette(
        "#0b6339", "#0b6339", "#20262e", "#565f6b", "#ffffff", "#b7d1c3", "#0b6339", "#ffffff", "#f3c534"
    ),
    "vs-contrast": Palette(
        "#000000", "#000000", "#000000", "#000000", "#ffffff", "#000000", "#000000", "#ffffff", "#000000"
    ),
}
DARK: Mapping[str, Palette] = {
    "vs-blue": Palette(
        "#8cbcf5", "#ffd479", "#e9edf2", "#aab4c0", "#1a212b", "#3d4a5a", "#174372", "#ffffff", "#e6b93a"
    ),
    "vs-red": Palette(
        "#ff9d9d", "#ffb3a8", "#e9edf2", "#aab4c0", "#1a212b", "#3d4a5a", "#74191f", "#ffffff", "#e6b93a"
    ),
    "vs-green": Palette(
        "#7ddba6", "#a5ebc3", "#e9edf2", "#aab4c0", "#1a212b", "#3d4a5a", "#15492f", "#ffffff", "#e6b93a"
    ),
    "vs-contrast": Palette(
        "#ffff00", "#ffffff", "#ffffff", "#ffffff", "#000000", "#ffffff", "#000000", "#ffff00", "#ffff00"
    ),
}


def box_svg(box: Box, shown: Shown, width: int = USUAL) -> str:
    """Draw a box, `width` pixels wide. A badge and a line of text are as wide as their text needs."""
    palettes = DARK if "vs-dark" in box.looks else LIGHT
    palette = next((palettes[name] for name in palettes if name in box.looks), palettes["vs-blue"])
    if box.looks & {"vs-badge", "vs-inline"} or box.structure == "inline":
        return _row(box, shown, palette)
    return _list(box, shown, palette, max(NARROWEST, min(width, WIDEST)))


def spoken(box: Box, shown: Shown) -> str:
    """The whole box as one text, for the picture's title."""
    lines = [f"{box.label(line)}: {shown.value(box, line)}" for line in box.lines]
    note = shown.note(box).strip()
    return ". ".join(filter(None, (box.shown_title, ", ".join(lines), note)))


def text_width(text: str, size: float = SIZE) -> float:
    """Estimate how wide a text is in Arial, in pixels; rather too wide than too narrow."""
    return sum(_letter_width(letter) for letter in text) * size


def _letter_width(letter: str) -> float:
    if letter >= "\u2e80":
        return 1.05  # Chinese, Japanese, Korean
    if letter in " .,:;|ilj'’()tfrI":
        return 0.36
    return 0.72 if letter.isupper() else 0.57


def _list(box: Box, shown: Shown, palette: Palette, width: int) -> str:
    start, end = (width - PAD, PAD) if _is_rtl(box) else (PAD, width - PAD)
    parts: list[str] = []
    y = 0
    if box.shown_title:
        for row in _wrapped(box.shown_title, width - 2 * PAD - 6):
            y += STEP if not y else 18
            parts.append(_text(start, y - 7, row, fill=palette.on_head if "vs-portal" in box.looks else palette.accent,
                               weight=700, inset=5 if "vs-portal" in box.looks else 0, rtl=_is_rtl(box)))  # fmt: skip
        head = y + 4
        if "vs-portal" in box.looks:
            stripe = width - 5 if _is_rtl(box) else 0
            parts.insert(0, f'<rect width="{width}" height="{head}" fill="{palette.head}"/>'
                            f'<rect x="{stripe}" width="5" height="{head}" fill="{palette.stripe}"/>')  # fmt: skip
        y = head
    for number, line in enumerate(box.lines):
        value = shown.value(box, line)
        if number:
            edge = 2 if line.gap else 1
            y += 4 if line.gap else 0
            parts.append(f'<path d="M{PAD} {y + 0.5}H{width - PAD}" stroke="{palette.frame}" stroke-width="{edge}"/>')
        if "vs-digits" in box.looks and line.name == "total":
            parts.append(_wheels(box, shown, palette, width, y))
            y += 58
            continue
        rows = _wrapped(f"{box.label(line)}:", width - 2 * PAD)
        beside = text_width(rows[-1]) + text_width(value) + 8 <= width - 2 * PAD
        for place, row in enumerate(rows):
            y += STEP if not place else 18
            parts.append(_text(start, y - 8, row, fill=palette.text, rtl=_is_rtl(box)))
        y += 0 if beside else 18
        parts.append(_text(end, y - 8, value, fill=_ink(palette, value), weight=700, anchor="end", rtl=_is_rtl(box)))
    y += 6
    if shown.state(box) == "stale":
        y += 16
        parts.append(_text(end, y - 6, shown.note(box), fill=palette.muted, size=11.5, anchor="end", rtl=_is_rtl(box)))
    radius = 6 if "vs-card" in box.looks else 0
    frame = (
        f'<rect x=".5" y=".5" width="{width - 1}" height="{y - 1}" rx="{radius}" fill="{{}}" stroke="{palette.frame}"/>'
    )
    # The frame is drawn last, so that the filled heading does not cover it.
    return _svg(box, shown, width, y, frame.format(palette.back) + "".join(parts) + frame.format("none"))


def _row(box: Box, shown: Shown, palette: Palette) -> str:
    """Labels and numbers side by side: pills for a badge, text for a line."""
    pills, parts, spans, x, size = "vs-badge" in box.looks, list[str](), "", 0.0, 12
    for number, line in enumerate(box.lines):
        label, value = box.label(line), shown.value(box, line)
        if pills:
            left, right = text_width(label, size) + 14, text_width(value, size) + 14
            back = palette.head if palette.head != "#000000" else palette.text
            parts.append(
                f'<rect x="{x:.0f}" width="{left:.0f}" height="20" fill="#434c57"/>'
                f'<rect x="{x + left:.0f}" width="{right:.0f}" height="20" fill="{back}"/>'
                + _text(x + left / 2, 14, label, fill="#fff", size=size, anchor="middle")
                + _text(x + left + right / 2, 14, value, fill=_on(back), size=size, weight=700, anchor="middle")
            )
            x += left + right + 2
        else:
            text = f"{' | ' if number else ''}{label}: "
            spans += f'{escape(text)}<tspan font-weight="700">{escape(value)}</tspan>'
            x += text_width(text) + 1.1 * text_width(value)
    if spans:
        parts.append(f'<text y="15" fill="{palette.text}" xml:space="preserve">{spans}</text>')
    return _svg(box, shown, round(x - (2 if pills else 0)) or 1, 20, "".join(parts))


def _wheels(box: Box, shown: Shown, palette: Palette, width: int, y: int) -> str:
    """The total as digits on wheels: one text, behind which the wheels are drawn; zeros in front are paler."""
    line = next(line for line in box.lines if line.name == "total")
    value = shown.value(box, line)
    known = value.isdigit()
    many = max(WHEELS, len(value))
    cell = min(18.0, (width - 2 * PAD) / many)
    left = (width - cell * many) / 2
    top = y + 22
    wheels = "".join(
        f'<rect x="{left + n * cell + 1:.1f}" y="{top}" width="{cell - 2:.1f}" height="28" fill="{palette.head}"/>'
        for n in range(many)
    )
    digits = value.rjust(many, "0") if known else value
    places = " ".join(
        f"{left + (n + 0.5 + (0 if known else many - len(value))) * cell:.1f}" for n in range(len(digits))
    )
    paler = len(digits) - len(value) if known else 0
    text = (f'<tspan fill-opacity=".6">{digits[:paler]}</tspan>' if paler else "") + escape(digits[paler:])
    return (
        _text(width / 2, y + 15, box.label(line), fill=palette.text, anchor="middle")
        + wheels
        + f'<text x="{places}" y="{top + 20}" font-family="{MONO}" font-size="{cell:.1f}" font-weight="700" '
        f'text-anchor="middle" fill="{palette.on_head}">{text}</text>'
    )


def _svg(box: Box, shown: Shown, width: int, height: int, inner: str) -> str:
    rtl = ' direction="rtl"' if _is_rtl(box) else ""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'role="img" lang="{escape(box.language)}" xml:lang="{escape(box.language)}"{rtl} font-family="{FONT}" '
        f'font-size="{SIZE}"><title>{escape(spoken(box, shown))}</title>{inner}</svg>'
    )


def _text(
    x: float, y: float, text: str, *, fill: str, size: float = 0, weight: int = 0, anchor: str = "", inset: int = 0,
    rtl: bool = False,
) -> str:  # fmt: skip
    more = (
        (f' font-size="{size}"' if size else "")
        + (f' font-weight="{weight}"' if weight else "")
        + (f' text-anchor="{anchor}"' if anchor else "")
    )
    x += -inset if rtl else inset
    return f'<text x="{x:.1f}" y="{y}" fill="{fill}"{more}>{escape(text)}</text>'


def _wrapped(text: str, width: float) -> list[str]:
    rows = [""]
    for word in text.split(" "):
        longer = f"{rows[-1]} {word}".strip()
        if rows[-1] and text_width(longer) > width:
            rows.append(word)
        else:
            rows[-1] = longer
    return rows


def _ink(palette: Palette, value: str) -> str:
    return palette.text if value == UNKNOWN else palette.value


def _on(back: str) -> str:
    """White on a dark ground, black on a light one."""
    red, green, blue = (int(back[n : n + 2], 16) for n in (1, 3, 5))
    return "#000" if red * 0.3 + green * 0.59 + blue * 0.11 > 150 else "#fff"


def _is_rtl(box: Box) -> bool:
    return box.language.partition("-")[0].lower() in RIGHT_TO_LEFT
