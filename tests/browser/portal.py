"""A portal and a visit counter for the widget's tests: one small HTTP server that records and answers as it is told.

It stays beside the real service on purpose: it sees what must NOT be sent, and it can fail in ways that a good service
never does.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tests.waiting import wait_until
from visitstats import web

STATIC = Path(web.__file__).parent / "static"
WIDGET = (STATIC / "widget.js").read_bytes()
MORE = (STATIC / "more.js").read_bytes()
NUMBERS: Mapping[str, Any] = {
    "site": "demo",
    "online": 3,
    "today": 1524,
    "yesterday": 1600,
    "week": 18568,
    "month": 70123,
    "year": 812345,
    "total": 1234567,
    "at": "2022-07-22T10:32:05+07:00",
}
# The smallest picture that browsers take for one.
GIF = bytes.fromhex("47494638396101000100800000ffffff00000021f90401000000002c000000000100010000020244013b")


WIDGET_FILE = re.compile(r"/widget(/[^/]+/[^/]+)?\.js$")


def site_of(path: str) -> str:
    """The site in a route's address."""
    return path.rpartition("/v1/sites/")[2].partition("/")[0]


@dataclass(frozen=True)
class Sent:
    """One beacon: `route` is hit, hit.gif or alive; `fields` its body or its query."""

    route: str
    path: str
    fields: dict[str, Any]
    headers: dict[str, str]


@dataclass(frozen=True)
class Answer:
    """What the counter says; `body` is JSON unless it is bytes."""

    body: object
    status: int = 200
    hang: bool = False

    def encoded(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


@dataclass
class Page:
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    kind: str = "text/html; charset=utf-8"


class Portal:
    """Pages, the widget under any prefix, and the three routes that it sends to."""

    def __init__(self) -> None:
        self.sent: list[Sent] = []
        self.asked: list[str] = []
        """Every path that was asked for, in order."""
        self.held: set[str] = set()
        """Paths that accept and never answer, until `release`."""
        self.gate: Callable[[Mapping[str, str]], tuple[int, dict[str, str]] | None] | None = None
        """A gateway before everything: what it answers to these request headers, None to let them pass."""
        self.views = 822
        self._pages: dict[str, Page] = {}
        self._scripted: dict[str, Callable[[Sent], Answer]] = {}
        self._released = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def page(self, path: str, html: str, headers: Mapping[str, str] | None = None) -> str:
        """Put a page there and return its address."""
        self._pages[path] = Page(html.encode(), dict(headers or {}))
        return self.origin + path

    def script(self, path: str, code: str | bytes) -> str:
        """Put a script of somebody there, or a copy of ours, and return its address."""
        self._pages[path] = Page(code if isinstance(code, bytes) else code.encode(), kind="text/javascript")
        return self.origin + path

    def answer(self, route: str, *answers: Answer | Callable[[Sent], Answer]) -> None:
        """Answer a route so: each once, and the last one from then on."""
        queue = list(answers)

        def next_answer(sent: Sent) -> Answer:
            answer = queue.pop(0) if len(queue) > 1 else queue[0]
            return answer if isinstance(answer, Answer) else answer(sent)

        self._scripted[route] = next_answer

    def release(self) -> None:
        """Let go of the requests that hang."""
        self._released.set()

    def of(self, *routes: str) -> list[Sent]:
        return [sent for sent in list(self.sent) if sent.route in routes]

    @property
    def hits(self) -> list[Sent]:
        return self.of("hit", "hit.gif")

    @property
    def heartbeats(self) -> list[Sent]:
        return self.of("alive")

    def wait_for(self, count: int, *routes: str) -> list[Sent]:
        """The first `count` beacons of these routes (hits, unless said otherwise)."""
        routes = routes or ("hit", "hit.gif")
        wait_until(lambda: len(self.of(*routes)) >= count, f"{count} of {routes} came: {self.sent}")
        return self.of(*routes)

    def _respond(self, sent: Sent) -> Answer:
        self.sent.append(sent)
        if scripted := self._scripted.get(sent.route):
            return scripted(sent)
        if sent.route == "hit.gif":
            return Answer(GIF)
        if sent.route in ("alive", "stats"):
            return Answer({**NUMBERS, "site": site_of(sent.path)})
        if sent.route == "views":
            return Answer({"views": {key: len(key) for key in sent.fields["keys"]}})
        return Answer(
            {
                **NUMBERS,
                "site": site_of(sent.path),
                "views": self.views,
                "key": urlsplit(str(sent.fields.get("u"))).path,
            }
        )

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        portal = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                if self._stopped(parts.path):
                    return
                route = parts.path.rpartition("/")[2]
                if page := portal._pages.get(parts.path):
                    self._send(200, page.body, {"content-type": page.kind, **page.headers})
                elif route == "hit.gif":
                    self._beacon("hit.gif", dict(parse_qsl(parts.query)), "image/gif")
                elif "/v1/sites/" in parts.path:
                    self._beacon(route, dict(parse_qsl(parts.query)), "application/json")
                elif route == "more.js":
                    self._send(200, MORE, {"content-type": "text/javascript"})
                elif WIDGET_FILE.search(parts.path):
                    self._send(200, WIDGET, {"content-type": "text/javascript", "access-control-allow-origin": "*"})
                else:
                    self._send(404, b"", {})

            def _stopped(self, path: str) -> bool:
                portal.asked.append(path)
                if path in portal.held:
                    portal._released.wait(30)
                refused = (
                    portal.gate({name.lower(): value for name, value in self.headers.items()}) if portal.gate else None
                )
                if refused is not None:
                    self._send(refused[0], b"<html>login</html>", refused[1])
                return refused is not None

            def do_POST(self) -> None:
                text = self.rfile.read(int(self.headers["content-length"])).decode()
                if self._stopped(self.path):
                    return
                self._beacon(self.path.rpartition("/")[2], json.loads(text), "application/json")

            def _beacon(self, route: str, fields: dict[str, Any], kind: str) -> None:
                headers = {name.lower(): value for name, value in self.headers.items()}
                answer = portal._respond(Sent(route, self.path.partition("?")[0], fields, headers))
                if answer.hang:
                    portal._released.wait(30)
                self._send(answer.status, answer.encoded(), {"content-type": kind, "access-control-allow-origin": "*"})

            def _send(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
                try:
                    self.send_response(status)
                    for name, value in headers.items():
                        self.send_header(name, value)
                    self.send_header("content-length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)
                except ConnectionError:  # the browser gave up on it
                    self.close_connection = True

            def log_message(self, format: str, *args: object) -> None:
                pass

        return Handler


def short_form(site: str, service: str) -> str:
    """The snippet of one line, as docs/embedding.md has it."""
    return f'<script async src="{service}/widget.js" data-site="{site}"></script>'


def article(
    body: str = "",
    *,
    head: str = "<title>Hội nghị sơ kết</title>",
    attributes: str = 'data-site="demo"',
    src: str = "/vs/widget.js",
) -> str:
    """A portal's article with the snippet at the end of its only column; `body` stands before it."""
    return (
        f'<!DOCTYPE html><html lang="vi"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width">{head}</head>'
        f'<body><main><h1>Hội nghị</h1>{body}<script async src="{src}" {attributes}></script></main></body></html>'
    )
