"""What `visitstats site embed` prints, and what an integration printed, read so that they can be compared."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from unittest.mock import patch
from urllib.parse import parse_qsl, urlsplit

from typer.testing import CliRunner

from visitstats.cli.sites import app
from visitstats.core.boxes import Box, asked_box
from visitstats.core.sites import Site

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "widget" / "integrations"
# What an author, a title or a label may be: it must come out as it is, never as markup, a variable or a place.
NASTY = """Lê "Hiếu" <script>alert(1)</script> & 'Ân' &amp; $1 \\1 [FOOTER] {TEMPLATE}"""
ASKED: dict[str, tuple[str, ...]] = {
    "usual": (),
    "another look": ("--preset", "classic-long", "--theme", "government-red"),
    "in the footer": ("--preset", "footer-inline"),
    "the page's own look": ("--theme", "", "--lines", "online,total", "--title", "", "--lang", "en"),
    "tiles": ("--preset", "compact", "--structure", "dl", "--format", "00000000"),
    "words that look like markup": ("--title", NASTY, "--labels", NASTY.replace("|", " ")),
}
"""Boxes: options of `site embed`."""


@dataclass
class Printed:
    """The parts of a snippet."""

    styles: list[str] = field(default_factory=list)
    attributes: dict[str, str] = field(default_factory=dict)
    """Of the script, without `data-`."""
    code: str = ""
    frame: Box | None = None
    frame_path: str = ""
    frame_title: str = ""
    frame_height: int = 0
    tags: list[str] = field(default_factory=list)
    metas: dict[str, str] = field(default_factory=dict)
    places: list[dict[str, str]] = field(default_factory=list)
    """Other elements with data-vs-… attributes."""


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.printed = Printed()
        self._in_script = False

    def handle_starttag(self, tag: str, found: list[tuple[str, str | None]]) -> None:
        attributes: dict[str, Any] = dict(found)
        printed = self.printed
        printed.tags.append(tag)
        if tag == "link":
            printed.styles.append(attributes["href"])
        elif tag == "script":
            self._in_script = True
            said = {name.removeprefix("data-"): value for name, value in attributes.items() if name.startswith("data-")}
            if "src" in attributes:
                said = {"api": attributes["src"].removesuffix("/widget.js"), **said}
            else:
                assert said.pop("visitstats") is None
            printed.attributes |= said
        elif tag == "iframe":
            address = urlsplit(attributes["src"])
            printed.frame_path = address.path
            printed.frame = asked_box(dict(parse_qsl(address.query, keep_blank_values=True, strict_parsing=True)))
            printed.frame_title = attributes["title"]
            printed.frame_height = int(attributes["height"])
        elif tag == "meta":
            printed.metas[attributes.get("name") or attributes["property"]] = attributes["content"]
        elif any(name.startswith("data-vs") for name in attributes):
            printed.places.append(attributes)

    def handle_endtag(self, tag: str) -> None:
        self._in_script = self._in_script and tag != "script"

    def handle_data(self, data: str) -> None:
        if self._in_script:
            self.printed.code += data


def read(html: str) -> Printed:
    """Read a snippet, or metas and places."""
    reader = _Reader()
    reader.feed(html)
    reader.close()
    return reader.printed


def site_embed(*options: str, api: str = "/vs") -> str:
    """What the command prints for the site "portal"."""
    site = Site(id="portal", hosts=("portal.vn",))
    with patch("visitstats.cli.embedding.with_store", lambda *_: site):
        done = CliRunner().invoke(app, ["embed", "portal", "--api", api, *options], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def loader() -> str:
    """The code of the long form, with %s for the service's address, as widget/integrations/README.md has it."""
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    found = re.search(r"^!function.*\(window,document,'/vs/widget\.js'\)$", text, re.MULTILINE)
    assert found
    return found[0].replace("/vs/", "%s/")


def assert_same(found: Printed, printed: Printed, *, more: dict[str, str] | None = None) -> None:
    """What an integration has printed is what the command prints, in the long form; `more` are further attributes."""
    assert found.styles == printed.styles
    assert found.attributes == printed.attributes | (more or {})
    assert found.code.strip() == loader() % printed.attributes["api"]
    if printed.code:  # the command prints the long form
        assert found.code == printed.code
    assert (found.frame, found.frame_path) == (printed.frame, printed.frame_path)
    assert found.frame_title == printed.frame_title
    assert found.frame_height >= printed.frame_height, "no line of the box is cut off"
    assert [tag for tag in found.tags if tag not in ("div", "meta")] == printed.tags
