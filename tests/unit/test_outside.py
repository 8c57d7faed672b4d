"""`visitstats doctor --url` finds what proxies do to a counter, by looking at it as a browser does."""

from __future__ import annotations

import http.server
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from visitstats.trust.outside import BadAddress, Counter, look

WIDGET = b"console.log('counter')" * 50
NUMBERS = b'{"site":"t1","total":5,"online":1}'
Said = tuple[int, list[tuple[str, str]], bytes]
PAGE = ("Content-Type", "text/html; charset=utf-8")
ORIGIN = ("Access-Control-Allow-Origin", "*")


def right(method: str, path: str) -> Said:
    """What a good proxy hands on."""
    if method == "OPTIONS":
        return 204, [ORIGIN], b""
    if path == "/vs/widget.js":
        return 200, [("Content-Type", "text/javascript"), ("Content-Encoding", "gzip")], WIDGET
    if path == "/vs/v1/sites/t1/stats":
        return 200, [("Content-Type", "application/json"), ORIGIN], NUMBERS
    if path == "/":
        return 200, [PAGE, ("Content-Security-Policy", "default-src 'self'; img-src *")], b"page"
    return 404, [], b'{"error":"not-found"}'


Change = Callable[[str, str, Said], Said]


class Proxy(http.server.HTTPServer):
    """Answers as `right` says, changed by a fault."""

    change: Change = staticmethod(lambda method, path, said: said)
    ahead = 0.0


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Proxy

    def answer(self) -> None:
        status, headers, body = self.server.change(self.command, self.path, right(self.command, self.path))
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_OPTIONS = answer

    def date_time_string(self, timestamp: float | None = None) -> str:
        return super().date_time_string(time.time() + self.server.ahead)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with Proxy(("127.0.0.1", 0), _Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def found(proxy: Proxy, change: Change | None = None, site: str = "t1") -> dict[str, str]:
    """The checks that are not ok, with what they say."""
    if change is not None:
        proxy.change = change
    rows = list(look(f"http://127.0.0.1:{proxy.server_port}/vs/", site, time.time()))
    assert {row.check for row in rows} >= {"reach", "widget"}
    assert all(row.advice or row.status == "ok" or row.check in ("numbers", "policy", "clock") for row in rows)
    return {row.check: f"{row.status}: {row.found}" for row in rows if row.status != "ok"}


def at(path: str, **changed: Said) -> Change:
    return lambda method, asked, said: changed["said"] if asked == path and method == "GET" else said


def test_nothing_is_found_where_all_is_well(proxy: Proxy) -> None:
    assert found(proxy) == {}
    assert found(proxy, site="") == {}


def test_a_second_cors_header_of_the_proxys_is_found(proxy: Proxy) -> None:
    """The commonest fault of all: browsers refuse two, and nothing is counted."""

    def doubled(method: str, path: str, said: Said) -> Said:
        return said[0], [*said[1], *([ORIGIN] if ORIGIN in said[1] else [])], said[2]

    assert found(proxy, doubled) == {"cors": "fail: 2 Access-Control-Allow-Origin headers: *, *"}


def test_options_that_the_proxy_refuses_are_found(proxy: Proxy) -> None:
    def refused(method: str, path: str, said: Said) -> Said:
        return (405, [], b"") if method == "OPTIONS" else said

    assert found(proxy, refused) == {"cors": "warn: status 405, no Access-Control-Allow-Origin"}


def test_a_redirect_is_found(proxy: Proxy) -> None:
    def moved(method: str, path: str, said: Said) -> Said:
        return 301, [("Location", f"https://portal.example.vn{path}")], b""

    told = found(proxy, moved)
    assert told["widget"] == "fail: redirected to https://portal.example.vn/vs/widget.js"
    assert told["cors"].startswith("fail: redirected")


def test_a_prefix_that_is_not_cut_off_and_a_service_that_is_away_are_told_apart(proxy: Proxy) -> None:
    assert found(proxy, at("/vs/widget.js", said=(404, [], b"")))["widget"] == "fail: status 404"
    assert found(proxy, at("/vs/widget.js", said=(502, [], b"")))["widget"] == "fail: status 502"
    page: Said = (200, [("Content-Type", "text/html; charset=utf-8")], b"<p>404")
    assert found(proxy, at("/vs/widget.js", said=page))["widget"] == "fail: content-type text/html; charset=utf-8"


def test_numbers_of_another_program_and_of_an_unknown_site_are_told_apart(proxy: Proxy) -> None:
    path = "/vs/v1/sites/t1/stats"
    assert found(proxy, at(path, said=(200, [], b"<html>"))) == {"numbers": "fail: status 200 and no JSON"}
    unknown: Said = (404, [], b'{"error":"no-such-site"}')
    assert found(proxy, at(path, said=unknown)) == {"numbers": "fail: status 404 no-such-site"}
    assert found(proxy, at(path, said=(200, [], b"[]"))) == {"numbers": "fail: status 200"}


def test_what_readers_must_not_reach_is_found(proxy: Proxy) -> None:
    assert found(proxy, at("/vs/metrics", said=(200, [], b"x 1"))) == {"hidden": "warn: readers reach /metrics"}


def test_a_widget_that_is_not_packed_and_a_clock_that_is_wrong_are_found(proxy: Proxy) -> None:
    plain: Said = (200, [("Content-Type", "text/javascript")], WIDGET)
    assert found(proxy, at("/vs/widget.js", said=plain)) == {"compression": f"warn: {len(WIDGET)} bytes, not packed"}
    proxy.ahead = 3600
    assert found(proxy)["clock"].endswith("s ahead of this machine")


@pytest.mark.parametrize(
    ("policy", "lacking"),
    [
        ("default-src 'none'", "script-src, connect-src"),
        ("default-src 'self'; connect-src https://api.example.vn", "connect-src"),
        ("script-src 'nonce-abc' https://cdn.example.vn; connect-src *", "script-src"),
        ("default-src http:", ""),
        ("default-src 127.0.0.1", ""),
        ("img-src 'none'", ""),
    ],
)
def test_a_policy_of_the_portals_that_forbids_the_counter_is_found(proxy: Proxy, policy: str, lacking: str) -> None:
    told = found(proxy, at("/", said=(200, [PAGE, ("Content-Security-Policy", policy)], b"")))
    assert told == ({"policy": f"fail: its Content-Security-Policy forbids the counter: {lacking}"} if lacking else {})


def test_a_counter_that_cannot_be_reached_is_one_row() -> None:
    [row] = look("http://127.0.0.1:1/vs", "t1", 0)
    assert (row.check, row.status) == ("reach", "fail")
    assert row.advice


@pytest.mark.parametrize(
    "url", ["portal.example.vn/vs", "ftp://a/vs", "https://", "https://a:b/vs", "https://a/?q=1", ""]
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(BadAddress):
        Counter(url)
