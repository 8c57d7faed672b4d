"""The box where there is no script: a page for a frame, a picture, data for a badge; and the themes of all boxes.

None of it counts anything. A shared cache may keep an answer for a minute, and a browser asks again with the ETag.
"""

import gzip
import re
import zlib
from importlib.resources import files

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from visitstats.core.box_markup import Shown, box_html, direction
from visitstats.core.box_svg import USUAL, box_svg
from visitstats.core.boxes import LINES, UNKNOWN, BadBox, Box, asked_box, for_site
from visitstats.core.errors import NotFound
from visitstats.sites.directory import LiveSite
from visitstats.web.beacons import answers
from visitstats.web.routes.public import Public, raw
from visitstats.worker import Worker

CACHE_SECONDS = 60
THEME_SECONDS = 3600
STALE_MS = 60_000
"""Numbers that are older say of when they are."""
COLOURS = {"vs-blue": "0a4f9e", "vs-red": "a5121c", "vs-green": "0b6339"}

FRAME_POLICY = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors *"
PICTURE_POLICY = "default-src 'none'"
_COMMON: list[answers.Header] = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    *answers.ANYBODY,
]


class Boxes:
    """Handlers of the routes. Errors are answered by the table in `web/app.py`."""

    def __init__(self, worker: Worker, public: Public) -> None:
        self._worker = worker
        self._public = public
        folder = files("visitstats.web") / "static" / "themes"
        self._themes = {path.name: _Theme(path.read_text("utf-8")) for path in folder.iterdir()}

    def routes(self) -> list[Route]:
        """Return the routes, in the order of the contract."""
        return [
            Route("/v1/sites/{site}/box.svg", self.picture),
            Route("/v1/sites/{site}/box", self.frame),
            Route("/v1/sites/{site}/badge.json", self.badge),
            Route("/widget/themes/{name}", self.theme),
        ]

    async def frame(self, request: Request) -> Response:
        """Answer the box as a page of its own, which any page may put into a frame."""
        live = await self._public.site(request)
        box, shown = await self._asked(request, live)
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
        policy = (b"content-security-policy", FRAME_POLICY.encode())
        return _cached(request, "text/html; charset=utf-8", page, shown, [policy])

    async def picture(self, request: Request) -> Response:
        """Answer the box as a picture of text."""
        live = await self._public.site(request)
        width = request.query_params.get("width", str(USUAL))
        if not re.fullmatch(r"[0-9]{2,4}", width):
            raise BadBox(f"a picture is 140 to 480 pixels wide, not {width[:20]!r}")
        box, shown = await self._asked(request, live)
        policy = (b"content-security-policy", PICTURE_POLICY.encode())
        return _cached(request, "image/svg+xml", box_svg(box, shown, int(width)), shown, [policy])

    async def badge(self, request: Request) -> Response:
        """Answer what a badge says, in the form that shields.io reads from an endpoint. `line` is which number."""
        live = await self._public.site(request)
        name = request.query_params.get("line", "total")
        if name not in LINES:
            raise BadBox(f"there is no line {name[:40]!r}; there are {', '.join(LINES)}")
        asked = {**_options(request), "lines": name}
        asked.setdefault("preset", "badge")
        box, shown = asked_box(asked), await self._shown(live)
        [line] = box.lines
        colour = next((COLOURS[look] for look in COLOURS if look in box.looks), COLOURS["vs-blue"])
        value = shown.value(box, line)
        made = {
            "schemaVersion": 1,
            "label": box.label(line),
            "message": value,
            "color": "9f9f9f" if value == UNKNOWN else colour,
            "cacheSeconds": CACHE_SECONDS * 5,
        }
        return _cached(request, "application/json", msgspec.json.encode(made).decode(), shown, [])

    async def theme(self, request: Request) -> Response:
        """Answer a style sheet."""
        theme = self._themes.get(request.path_params["name"])
        if theme is None:
            raise NotFound("there is no such theme")
        headers: list[answers.Header] = [
            (b"content-type", b"text/css; charset=utf-8"),
            (b"cache-control", b"public, max-age=%d" % THEME_SECONDS),
            (b"etag", theme.etag),
            (b"vary", b"accept-encoding"),
            *_COMMON,
        ]
        if theme.etag.decode() in request.headers.get("if-none-match", ""):
            return raw(304, headers)
        if "gzip" in request.headers.get("accept-encoding", ""):
            return raw(200, [*headers, (b"content-encoding", b"gzip")], theme.packed)
        return raw(200, headers, theme.plain)

    async def _asked(self, request: Request, live: LiveSite) -> tuple[Box, Shown]:
        asked = _options(request)
        box = asked_box(asked)
        if "lines" not in asked:
            box = for_site(box, search_engines=live.site.show_search_engines)
        return box, await self._shown(live)

    async def _shown(self, live: LiveSite) -> Shown:
        stats = self._worker.stats
        snapshot = stats.fresh(live) or await stats.current(live)
        at = live.calendar.iso(snapshot.at_ms)
        now_ms = self._worker.clock()
        told = {name: getattr(snapshot.numbers, name) for name in LINES}
        stale = ""
        if now_ms - snapshot.at_ms > STALE_MS:
            same_day = at[:10] == live.calendar.iso(now_ms)[:10]
            stale = at[11:16] if same_day else f"{at[11:16]}, {at[8:10]}/{at[5:7]}"
        return Shown(told, snapshot.numbers.record_date or "", stale)


class _Theme:
    """A style sheet as it is sent: without comments and without space that means nothing."""

    def __init__(self, source: str) -> None:
        text = re.sub(r"/\*.*?\*/", "", source, flags=re.DOTALL)
        text = re.sub(r"\s+", " ", text)
        text = re.sub(r" ?([{};,]) ?", r"\1", text).replace(": ", ":").replace(";}", "}").strip()
        self.plain = text.encode()
        self.packed = gzip.compress(self.plain, mtime=0)
        self.etag = b'"%08x"' % zlib.crc32(self.plain)


def _options(request: Request) -> dict[str, str]:
    """The options of a box in a query. Raises BadBox for a text that is none."""
    found = {name: value for name, value in request.query_params.items() if name not in ("line", "width")}
    try:
        "".join(found.values()).encode()
    except UnicodeEncodeError as error:
        raise BadBox("the query is not UTF-8") from error
    return found


def _cached(request: Request, kind: str, text: str, shown: Shown, more: list[answers.Header]) -> Response:
    body = text.encode()
    etag = b'W/"%08x"' % zlib.crc32(body)
    known = any(number is not None for number in shown.numbers.values())
    # What is not known yet, or old, is asked for again soon.
    seconds = CACHE_SECONDS if known and not shown.stale_since else 5
    headers: list[answers.Header] = [
        (b"content-type", kind.encode()),
        (b"cache-control", b"public, max-age=%d" % seconds),
        (b"etag", etag),
        *_COMMON,
        *more,
    ]
    if etag.decode() in request.headers.get("if-none-match", ""):
        return raw(304, headers)
    return raw(200, headers, body)


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
