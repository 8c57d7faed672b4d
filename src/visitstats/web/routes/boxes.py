"""The box where there is no script: a page for a frame, a picture, data for a badge; and the themes of all boxes.

None of it counts anything. A shared cache may keep an answer for a minute, and a browser asks again with the ETag.
"""

import gzip
import re
import zlib
from importlib.resources import files
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from visitstats.core.box_markup import Shown, box_html, direction
from visitstats.core.box_svg import USUAL, box_svg
from visitstats.core.boxes import LINES, UNKNOWN, BadBox, Box, asked_box, for_site
from visitstats.core.counting import Clock
from visitstats.core.errors import NotFound
from visitstats.reading.snapshots import Stats
from visitstats.sites.directory import LiveSite
from visitstats.web.beacons import answers
from visitstats.web.table import ANY_PAGE, Asked, Reply, Route, kept

CACHE_SECONDS = 60
THEME_SECONDS = 3600
STALE_MS = 60_000
"""Numbers that are older than this are shown with their moment."""
COLOURS = {"vs-blue": "0a4f9e", "vs-red": "a5121c", "vs-green": "0b6339"}

FRAME_POLICY = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors *"
PICTURE_POLICY = "default-src 'none'; frame-ancestors *"
_HEADERS: tuple[answers.Header, ...] = (*ANY_PAGE, (b"referrer-policy", b"no-referrer"))


def _policy(text: str) -> answers.Header:
    return (b"content-security-policy", text.encode())


class BoxQuery(msgspec.Struct, kw_only=True):
    """How a box looks: the names and values of docs/boxes.md."""

    preset: str | UnsetType = UNSET
    lines: str | UnsetType = UNSET
    labels: str | UnsetType = UNSET
    title: str | UnsetType = UNSET
    format: str | UnsetType = UNSET
    structure: str | UnsetType = UNSET
    theme: str | UnsetType = UNSET
    lang: str | UnsetType = UNSET

    def options(self) -> dict[str, str]:
        """The options that were given."""
        given = ((name, getattr(self, name)) for name in BoxQuery.__struct_fields__)
        return {name: value for name, value in given if value is not UNSET}


class PictureQuery(BoxQuery):
    """How a picture looks."""

    width: Annotated[str, Meta(description="in pixels, 140 to 480")] = str(USUAL)


class BadgeQuery(BoxQuery):
    """What a badge says."""

    line: Annotated[str, Meta(description="which number")] = "total"


class Badge(msgspec.Struct):
    """What a badge says, in the form that shields.io reads from an endpoint."""

    schemaVersion: int
    label: str
    message: str
    color: str
    cacheSeconds: int


class Boxes:
    """The handlers. `clock` gives the moment in milliseconds."""

    def __init__(self, stats: Stats, clock: Clock) -> None:
        self._stats = stats
        self._clock = clock
        folder = files("visitstats.web") / "static" / "themes"
        self._themes = {path.name: _theme(path.read_text("utf-8")) for path in folder.iterdir()}

    async def frame(self, asked: Asked[BoxQuery, None]) -> Reply:
        """Answer the box as a page of its own, which any page may put into a frame."""
        live = asked.live
        box, shown = await self._asked(asked.query, live)
        # Two steps up from /v1/sites/SITE/box, under whatever prefix a proxy has put the service.
        head = (
            f'<!DOCTYPE html>\n<html {direction(box)}>\n<head>\n<meta charset="utf-8">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f"<title>{_escaped(box.shown_title or live.site.name or live.site.id)}</title>\n"
            '<link rel="stylesheet" href="../../../widget/themes/frame.css">\n'
            '<link rel="stylesheet" href="../../../widget/themes/box.css">\n</head>\n'
        )
        scheme = ' class="vs-frame-dark"' if "vs-dark" in box.looks else ""
        page = f"{head}<body{scheme}>\n<main>\n{box_html(box, shown, places=False)}\n</main>\n</body>\n</html>\n"
        return _cached(page.encode(), shown)

    async def picture(self, asked: Asked[PictureQuery, None]) -> Reply:
        """Answer the box as a picture of text."""
        width = asked.query.width
        if not re.fullmatch(r"[0-9]{2,4}", width):
            raise BadBox(f"a picture is 140 to 480 pixels wide, not {width[:20]!r}")
        box, shown = await self._asked(asked.query, asked.live)
        return _cached(box_svg(box, shown, int(width)).encode(), shown)

    async def badge(self, asked: Asked[BadgeQuery, None]) -> Reply:
        """Answer what a badge says."""
        name = asked.query.line
        if name not in LINES:
            raise BadBox(f"there is no line {name[:40]!r}; there are {', '.join(LINES)}")
        box = asked_box({"preset": "badge", **asked.query.options(), "lines": name})
        shown = await self._shown(asked.live)
        [line] = box.lines
        colour = next((COLOURS[look] for look in COLOURS if look in box.looks), COLOURS["vs-blue"])
        value = shown.value(box, line)
        badge = Badge(1, box.label(line), value, "9f9f9f" if value == UNKNOWN else colour, CACHE_SECONDS * 5)
        return _cached(msgspec.json.encode(badge), shown)

    async def theme(self, asked: Asked[None, None]) -> Reply:
        """Answer a style sheet."""
        theme = self._themes.get(asked.request.path_params["name"])
        if theme is None:
            raise NotFound("there is no such theme")
        return theme

    async def _asked(self, query: BoxQuery, live: LiveSite) -> tuple[Box, Shown]:
        asked = query.options()
        box = asked_box(asked)
        if "lines" not in asked:
            box = for_site(box, search_engines=live.site.show_search_engines)
        return box, await self._shown(live)

    async def _shown(self, live: LiveSite) -> Shown:
        snapshot = self._stats.fresh(live) or await self._stats.current(live)
        at = live.calendar.iso(snapshot.at_ms)
        now_ms = self._clock()
        told = {name: getattr(snapshot.numbers, name) for name in LINES}
        stale = ""
        if now_ms - snapshot.at_ms > STALE_MS:
            same_day = at[:10] == live.calendar.iso(now_ms)[:10]
            stale = at[11:16] if same_day else f"{at[11:16]}, {at[8:10]}/{at[5:7]}"
        return Shown(told, snapshot.numbers.record_date or "", stale)

    ROUTES = (
        Route("GET", "/v1/sites/{site}/box", frame, "The box as a page for a frame", "text/html; charset=utf-8",
              query=BoxQuery, headers=(*_HEADERS, _policy(FRAME_POLICY))),
        Route("GET", "/v1/sites/{site}/box.svg", picture, "The box as a picture", "image/svg+xml", query=PictureQuery,
              headers=(*_HEADERS, _policy(PICTURE_POLICY)), price=3),
        Route("GET", "/v1/sites/{site}/badge.json", badge, "What a badge says", Badge, query=BadgeQuery,
              headers=_HEADERS),
        Route("GET", "/widget/themes/{name}", theme, "A style sheet of the boxes", "text/css; charset=utf-8",
              headers=(*_HEADERS, kept(THEME_SECONDS))),
    )  # fmt: skip


def _theme(source: str) -> Reply:
    """A style sheet as it is sent: without comments and without needless space."""
    text = re.sub(r"/\*.*?\*/", "", source, flags=re.DOTALL)
    text = re.sub(r"\s+", " ", text)
    text = re.sub(r" ?([{};,]) ?", r"\1", text).replace(": ", ":").replace(";}", "}").strip()
    plain = text.encode()
    return Reply(plain, etag=b'"%08x"' % zlib.crc32(plain), packed=gzip.compress(plain, mtime=0))


def _cached(body: bytes, shown: Shown) -> Reply:
    known = any(number is not None for number in shown.numbers.values())
    # Numbers that are old or not known yet may be cached only shortly.
    seconds = CACHE_SECONDS if known and not shown.stale_since else 5
    return Reply(body, headers=(kept(seconds),), etag=b'W/"%08x"' % zlib.crc32(body))


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
