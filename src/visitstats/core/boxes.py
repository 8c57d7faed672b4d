"""The boxes that portals want, as one table: what a box says, in which order, how its numbers are written, how it
looks.

`site embed`, the gallery, `/box`, `box.svg` and `badge.json` take a preset from here, and what somebody asks for
besides (`asked_box`). The snippet spells the result out in attributes, so that the widget carries no table, and a
change of a preset changes no portal that has pasted its snippet already.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

import msgspec

from visitstats.core.box_words import grouping_of, language_of, words_of
from visitstats.core.errors import VisitstatsError
from visitstats.core.numbers import COUNTS

LINES = COUNTS
"""What a line may be: a number of the service's answers. `record` has its day in `record_date`."""
UNKNOWN = "—"
STRUCTURES = ("ul", "dl", "table", "inline")
FORMATS = ("dot", "comma", "space", "none", "short")
"""A format may also be zeros (`00000000`), to whose length a number is filled up; "" is the language's own format."""
LOOKS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "layout": ("vs-list", "vs-inline", "vs-tiles", "vs-digits", "vs-badge"),
        "skin": ("vs-card", "vs-portal", "vs-underline"),
        "colour": ("vs-blue", "vs-red", "vs-green", "vs-contrast"),
        "scheme": ("vs-dark", "vs-auto"),
        "more": ("vs-icons",),
    }
)
"""The classes of `widget/themes/box.css`: at most one of each row, "more" apart."""
THEMES: Mapping[str, str] = MappingProxyType(
    {
        "plain": "vs-list",
        "card": "vs-card vs-icons",
        "government-blue": "vs-portal vs-blue",
        "government-red": "vs-portal vs-red",
        "underline": "vs-underline vs-green",
        "digits": "vs-digits vs-card",
        "contrast": "vs-card vs-contrast",
        "dark": "vs-card vs-dark",
        "dark-contrast": "vs-card vs-contrast vs-dark",
    }
)
"""Names for looks that go well together; "" is no theme at all: the box looks as the portal's page does."""

MOST_TEXT = 80
_ZEROS = re.compile(r"0{1,15}")
_CLASS = frozenset(name for row in LOOKS.values() for name in row)
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(?:[_-][A-Za-z0-9]{1,8}){0,3}")

Structure = Literal["ul", "dl", "table", "inline"]


class BadBox(VisitstatsError):
    """A box with a line, a format or a look that does not exist; the text says which there are."""


class Line(msgspec.Struct, frozen=True):
    """One line. An empty label is that of the language."""

    name: str
    label: str = ""
    gap: bool = False
    """Whether a larger gap stands before it."""


class Box(msgspec.Struct, frozen=True, kw_only=True):
    """A whole box. A title of None is that of the language, "" is none."""

    lines: tuple[Line, ...]
    title: str | None = None
    format: str = ""
    theme: str = ""
    """Classes of LOOKS."""
    structure: Structure = "ul"
    language: str = "vi"

    @property
    def shown_title(self) -> str:
        """The title as it is read, "" for none."""
        return words_of(self.language)["title"] if self.title is None else self.title

    @property
    def looks(self) -> frozenset[str]:
        """The classes of its theme."""
        return frozenset(self.theme.split())

    def label(self, line: Line) -> str:
        """The label of a line as it is read."""
        return line.label or words_of(self.language)[line.name]

    def written(self, number: int | None) -> str:
        """A number as the box writes it; "—" for one that is not known."""
        return UNKNOWN if number is None else written(number, self.format, self.language)


def _lines(text: str) -> tuple[Line, ...]:
    """Lines of a preset, as `online=Đang online; |total=Tất cả`: `|` is a gap before the line."""
    parts = [part.strip().partition("=") for part in text.split(";")]
    return tuple(Line(name.removeprefix("|"), label, name.startswith("|")) for name, _, label in parts)


PRESETS: Mapping[str, Box] = MappingProxyType(
    {
        "lao-cai": Box(
            title="Thống kê truy cập",
            lines=_lines("online=Đang online; today=Hôm nay; week=Trong tuần; total=Tất cả"),
            format="dot",
            theme="vs-portal vs-blue",
        ),
        "nukeviet": Box(
            title="Thống kê",
            lines=_lines(
                "online=Đang truy cập; search_engines=Máy chủ tìm kiếm; |today=Hôm nay; month=Tháng hiện tại;"
                "total=Tổng lượt truy cập"
            ),
            format="comma",
            theme="vs-card vs-icons",
        ),
        "classic": Box(
            title="Thống kê truy cập",
            lines=_lines(
                "online=Đang online; today=Hôm nay; yesterday=Hôm qua; week=Tuần này; month=Tháng này; total=Tất cả"
            ),
            format="dot",
            theme="vs-portal vs-red vs-icons",
        ),
        "classic-long": Box(
            title="Thống kê truy cập",
            lines=_lines(
                "online=Đang online; |today=Hôm nay; yesterday=Hôm qua; week=Tuần này; last_week=Tuần trước;"
                "month=Tháng này; last_month=Tháng trước; |total=Tất cả"
            ),
            format="dot",
            theme="vs-underline vs-green",
        ),
        "footer-inline": Box(
            title="",
            lines=_lines("online=Đang truy cập; total=Tổng lượt truy cập"),
            format="dot",
            theme="vs-inline",
            structure="inline",
        ),
        "compact": Box(
            title="Thống kê truy cập",
            lines=_lines("online=Đang online; week=Tuần; month=Tháng; total=Tổng truy cập"),
            format="dot",
            theme="vs-tiles vs-card",
        ),
        "digits": Box(
            title="Thống kê truy cập",
            lines=_lines("total=Tổng lượt truy cập; online=Đang online; today=Hôm nay"),
            format="none",
            theme="vs-digits vs-card",
        ),
        "badge": Box(title="", lines=_lines("total=Lượt truy cập"), format="dot", theme="vs-badge vs-blue"),
    }
)
DEFAULT_PRESET = "lao-cai"


def asked_box(asked: Mapping[str, str]) -> Box:
    """Return the box that these options make: `preset`, then what is said besides, by the names of the widget's
    attributes (`lines`, `labels`, `title`, `format`, `structure`, `lang`) and `theme`, a name of THEMES or classes.
    Raises BadBox."""
    name = asked.get("preset", DEFAULT_PRESET)
    box = PRESETS.get(name)
    if box is None:
        raise BadBox(f"there is no preset {name[:40]!r}; there are {', '.join(PRESETS)}")
    language = asked.get("lang", "")
    if language:
        if not _LANGUAGE.fullmatch(language):
            raise BadBox(f"{language[:40]!r} is no language such as vi or en-GB")
        box = localized(box, language)
    if "lines" in asked:
        box = msgspec.structs.replace(box, lines=parsed_lines(asked["lines"], box))
    if "labels" in asked:
        labels = [*asked["labels"].split("|"), *[""] * len(box.lines)]
        lines = tuple(Line(line.name, _text(label), line.gap) for line, label in zip(box.lines, labels, strict=False))
        box = msgspec.structs.replace(box, lines=lines)
    if "title" in asked:
        box = msgspec.structs.replace(box, title=_text(asked["title"]))
    if "format" in asked:
        box = msgspec.structs.replace(box, format=_format(asked["format"]))
    if "theme" in asked:
        box = msgspec.structs.replace(box, theme=theme_of(asked["theme"]))
    if asked.get("structure"):
        if asked["structure"] not in STRUCTURES:
            raise BadBox(f"there is no structure {asked['structure'][:40]!r}; there are {', '.join(STRUCTURES)}")
        box = msgspec.structs.replace(box, structure=msgspec.convert(asked["structure"], Structure))
    return box


def parsed_lines(text: str, box: Box) -> tuple[Line, ...]:
    """Read `online,today|total`, with the labels that a box has for these lines. Raises BadBox."""
    known = {line.name: line.label for line in box.lines}
    found: list[Line] = []
    for mark, name in re.findall(r"([|]?)[ ,]*([^|,]+)", text[:400]):
        name = name.strip()
        if name not in LINES:
            raise BadBox(f"there is no line {name[:40]!r}; there are {', '.join(LINES)}")
        found.append(Line(name, known.get(name, ""), bool(mark) and bool(found)))
    if not 1 <= len(found) <= len(LINES) or len({line.name for line in found}) < len(found):
        raise BadBox("name 1 or more lines, each once, as in online,today,total")
    return tuple(found)


def theme_of(text: str) -> str:
    """Return the classes of a theme by its name, or of classes that go together. Raises BadBox."""
    if text in THEMES:
        return THEMES[text]
    classes = text.split()
    rows = [sum(name in row for name in classes) for title, row in LOOKS.items() if title != "more"]
    if len(classes) != len(set(classes)) or not _CLASS.issuperset(classes) or max(rows) > 1:
        names = f"{', '.join(THEMES)}, and the classes {' '.join(sorted(_CLASS))}"
        raise BadBox(f"there is no theme {text[:60]!r}; there are {names}")
    return " ".join(classes)


def localized(box: Box, language: str) -> Box:
    """Return a preset in a language: its own words are Vietnamese, others are those of the language."""
    tag = language.replace("_", "-")
    if language_of(language) == language_of(box.language):
        return msgspec.structs.replace(box, language=tag)
    lines = tuple(Line(line.name, "", line.gap) for line in box.lines)
    title = "" if box.title == "" else None
    # The way of writing numbers goes with the language, unless it is a part of the look.
    way = box.format if box.format in ("none", "short") or _ZEROS.fullmatch(box.format) else ""
    return msgspec.structs.replace(box, language=tag, lines=lines, title=title, format=way)


def for_site(box: Box, *, search_engines: bool, add: bool = False) -> Box:
    """Return the box for a site that shows how much search engines read, or does not: a line that stays "—" for ever is
    left out. With `add`, a site that shows it has the line also where the box has none."""
    has = any(line.name == "search_engines" for line in box.lines)
    lines = list(box.lines)
    if has and not search_engines:
        lines = [line for line in lines if line.name != "search_engines"]
    elif search_engines and not has and add:
        lines.insert(1, Line("search_engines"))
    return msgspec.structs.replace(box, lines=tuple(lines)) if lines else box


def written(number: int, way: str, language: str) -> str:
    """Write a number: one run of text, in the ways of FORMATS."""
    digits = str(number)
    if _ZEROS.fullmatch(way):
        return digits.rjust(len(way), "0")
    if way == "short" and number > 999:
        # Rounded down, as the widget does: a counter has not yet reached what it shows.
        unit, sign = (1_000_000, "M") if number > 999_999 else (1000, "k")
        whole, tenth = divmod(number * 10 // unit, 10)
        point = "." if grouping_of(language) == "," else ","
        return f"{whole}{point}{tenth}{sign}" if tenth else f"{whole}{sign}"
    mark = {"dot": ".", "comma": ",", "space": "\xa0", "none": "", "short": ""}.get(way)
    return f"{number:,}".replace(",", grouping_of(language) if mark is None else mark)


def _format(text: str) -> str:
    if text in ("", *FORMATS) or _ZEROS.fullmatch(text):
        return text
    raise BadBox(f"there is no format {text[:40]!r}; there are {', '.join(FORMATS)}, and zeros as 00000000")


def _text(text: str) -> str:
    """A title or a label: one line for people, of a bounded length."""
    made = " ".join("".join(c if c.isprintable() else " " for c in text[: 4 * MOST_TEXT]).split())
    return made[:MOST_TEXT]
