"""The examples in deploy/ for a portal's own web server work as they are: real nginx, Caddy, Apache and HAProxy with
these files, before a real service. Only ports and folders are replaced (tests/shipped.py).
"""

from __future__ import annotations

import http.client
import itertools
import json
import re
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import urljoin
from urllib.request import urlopen

import pytest

from tests import shipped
from tests.driver import Service
from tests.shipped import SHIPPED, STATIC, Ports
from tests.waiting import wait_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a client use 127.0.0.2 and 127.0.0.3")

BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"

ENDS_AT_ONCE = ("nginx", "Caddy")
"""These look whether a reader of numbers as they change is still there; the others notice it when they send some."""


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


class Proxy(NamedTuple):
    """A web server with the example, and a site of its own. Each test has readers of its own."""

    name: str
    ports: Ports
    service: Service

    @property
    def site(self) -> str:
        return f"portal-{self.name.lower()}"

    @property
    def quiet(self) -> str:
        """A site that one test alone reads."""
        return f"quiet-{self.name.lower()}"

    def ask(
        self, method: str, path: str, *, reader: str = "127.0.0.2", body: str | None = None, chained: bool = False,
        headers: dict[str, str] | None = None,
    ) -> Answer:  # fmt: skip
        """One request of the reader with this address, as from a page of the portal."""
        port = self.ports.chained if chained else self.ports.portal
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10, source_address=(reader, 0))
        try:
            connection.request(
                method, path, body, {"User-Agent": BROWSER, "Origin": "http://portal.example.vn", **(headers or {})}
            )
            answer = connection.getresponse()
            return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def streams(self) -> int:
        """How many readers the service has for numbers as they change."""
        with urlopen(f"http://127.0.0.1:{self.service.metrics_port}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        return int(float(next(line for line in lines if line.startswith("visitstats_live_streams")).split()[1]))

    def visitors(self, reader: str, **options: Any) -> int:
        """How many visitors today has after a page load of a browser without a visit id: the address is all that tells
        readers apart."""
        body = json.dumps({"u": "http://portal.example.vn/tin-tuc/a.html", "t": "Bài viết"})
        answer = self.ask("POST", f"/vs/v1/sites/{self.site}/hit", reader=reader, body=body, **options)
        assert answer.status == 200, answer
        return int(json.loads(answer.body)["today"])


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A real service that believes the proxy's address alone, with the sites of this file."""
    service = Service(tmp_path_factory.mktemp("service") / "data", workers=1)
    # The readers of these tests are on loopback too: they must be strangers to the service.
    service.environ["VISITSTATS_TRUSTED_PROXIES"] = "127.0.0.1/32"
    service.start()
    try:
        for name in SHIPPED:
            service.add_site(f"portal-{name.lower()}", host="portal.example.vn")
            service.add_site(f"quiet-{name.lower()}", host="portal.example.vn")
        yield service
    finally:
        service.stop()


@pytest.fixture(scope="module", params=SHIPPED)
def proxy(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, service: Service
) -> Iterator[Proxy]:
    """The web server with the example's files."""
    name: str = request.param
    with shipped.portal(name, tmp_path_factory.mktemp(name) / "here", service.port) as ports:
        yield Proxy(name, ports, service)


def test_the_portal_itself_is_as_it_was(proxy: Proxy) -> None:
    answer = proxy.ask("GET", "/")
    assert (answer.status, answer.body.decode()) == (200, shipped.PAGE)


def test_the_widget_and_a_hit_come_from_the_portals_own_address(proxy: Proxy) -> None:
    page = json.dumps({"u": "http://www.portal.example.vn/tin-tuc/b.html", "h": "0123456789abcdef", "v": "v" * 22})
    widget = proxy.ask("GET", "/vs/widget.js")
    assert widget.status == 200
    assert widget.headers["content-type"].startswith("text/javascript")
    assert widget.body == (STATIC / "widget.js").read_bytes()
    more = proxy.ask("GET", "/vs/widget/more.js")
    assert (more.status, more.body) == (200, (STATIC / "more.js").read_bytes())

    hit = proxy.ask("POST", f"/vs/v1/sites/{proxy.quiet}/hit", body=page)
    assert hit.status == 200
    numbers = json.loads(hit.body)
    assert {name: numbers[name] for name in ("online", "today", "total", "views", "key")} == {
        "online": 1, "today": 1, "total": 1, "views": 1, "key": "/tin-tuc/b.html",
    }  # fmt: skip
    again = proxy.ask("POST", f"/vs/v1/sites/{proxy.quiet}/hit", body=page)
    assert again.headers["x-visitstats"] == "ignored; reason=duplicate"
    alive = proxy.ask("POST", f"/vs/v1/sites/{proxy.quiet}/alive", body='{"v":"' + "v" * 22 + '"}')
    assert json.loads(alive.body)["online"] == 1
    views = proxy.ask("GET", f"/vs/v1/sites/{proxy.quiet}/views?key=/tin-tuc/b.html")
    assert json.loads(views.body) == {"views": {"/tin-tuc/b.html": 1}}


def test_numbers_that_change_come_through_at_once_and_end_with_their_reader(proxy: Proxy) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", proxy.ports.portal, timeout=10)
    connection.request("GET", f"/vs/v1/sites/{proxy.site}/live")
    answer = connection.getresponse()
    assert answer.status == 200
    while not (line := answer.readline()).startswith(b"data: "):
        pass
    assert json.loads(line[6:])["site"] == proxy.site
    assert proxy.streams() == 1
    answer.close()
    connection.close()
    others = itertools.count(1)

    def gone() -> bool:
        if proxy.name not in ENDS_AT_ONCE:  # when the next numbers find no reader
            proxy.visitors(f"127.0.6.{next(others) % 250}")
        return proxy.streams() == 0

    wait_until(gone, "the service knows that the reader is gone")


def test_readers_at_two_addresses_are_two_visitors(proxy: Proxy) -> None:
    """And so no hit is answered from a cache: both bodies are the same."""
    first = proxy.visitors("127.0.2.1")
    assert proxy.visitors("127.0.2.2") == first + 1
    wait_until(
        lambda: json.loads(proxy.ask("GET", f"/vs/v1/sites/{proxy.site}/stats").body)["today"] == first + 1,
        "the numbers, which may be kept for a second, show both",
    )


def test_a_reader_cannot_make_up_addresses(proxy: Proxy) -> None:
    once = proxy.visitors("127.0.3.1")
    for claim in ("203.0.113.7", "203.0.113.8, 127.0.0.1", "127.0.0.1", "::1", "rubbish"):
        assert proxy.visitors("127.0.3.1", headers={"X-Forwarded-For": claim}) == once, claim


def test_nor_where_the_list_of_addresses_is_passed_on(proxy: Proxy) -> None:
    """The variant for a proxy before this one: what a stranger has written stands left of the stranger's address."""
    once = proxy.visitors("127.0.4.1", chained=True)
    for claim in ("203.0.113.17", "203.0.113.18, 127.0.0.1", "127.0.0.1", "rubbish"):
        assert proxy.visitors("127.0.4.1", chained=True, headers={"X-Forwarded-For": claim}) == once, claim
    # A proxy that is trusted does speak for its readers.
    assert proxy.visitors("127.0.0.1", chained=True, headers={"X-Forwarded-For": "203.0.113.17"}) == once + 1


def test_the_pixel_is_counted_every_time_and_never_kept(proxy: Proxy) -> None:
    path = f"/vs/v1/sites/{proxy.site}/hit.gif?u=http%3A%2F%2Fportal.example.vn%2Ftin-tuc%2Fc.html"
    for reader in ("127.0.5.1", "127.0.5.2", "127.0.5.3"):
        answer = proxy.ask("GET", path, reader=reader)
        assert (answer.status, answer.headers["content-type"], len(answer.body)) == (200, "image/gif", 43)
    views = proxy.ask("GET", f"/vs/v1/sites/{proxy.site}/views?key=/tin-tuc/c.html")
    assert json.loads(views.body) == {"views": {"/tin-tuc/c.html": 3}}


def test_a_box_without_a_script_and_its_style_sheet_come_through(proxy: Proxy) -> None:
    """The frame's links are relative: the service does not know its prefix."""
    frame = proxy.ask("GET", f"/vs/v1/sites/{proxy.site}/box?preset=classic")
    assert (frame.status, frame.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert "frame-ancestors *" in frame.headers["content-security-policy"]
    for link in re.findall(r'href="([^"]+)"', frame.body.decode()):
        sheet = proxy.ask("GET", urljoin(f"/vs/v1/sites/{proxy.site}/box", link))
        assert (sheet.status, sheet.headers["content-type"]) == (200, "text/css; charset=utf-8"), link
    picture = proxy.ask("GET", f"/vs/v1/sites/{proxy.site}/box.svg")
    assert (picture.status, picture.headers["content-type"]) == (200, "image/svg+xml")
    again = proxy.ask("GET", f"/vs/v1/sites/{proxy.site}/box.svg", headers={"If-None-Match": picture.headers["etag"]})
    assert again.status == 304


@pytest.mark.parametrize(
    "path",
    [
        "/vs/",
        "/vs/metrics",
        "/vs/healthz",
        "/vs/readyz",
        "/vs/openapi.json",
        "/vs/v1/admin/sites",
        "/vs/v1/sites/../admin/sites",
        "/vs/v1/sites/%2e%2e/admin/sites",
        "/vs/widget/../metrics",
    ],
)
def test_what_readers_do_not_need_stays_inside(proxy: Proxy, path: str) -> None:
    answer = proxy.ask("GET", path, headers={"Origin": "null"})
    assert answer.status == 404
    assert "x-content-type-options" not in answer.headers, "the service, which says this of all its answers, was asked"
    assert b"visitstats_" not in answer.body


def test_a_beacon_that_is_too_long_is_refused_by_the_service(proxy: Proxy) -> None:
    answer = proxy.ask("POST", f"/vs/v1/sites/{proxy.site}/hit", body='{"u":"' + "x" * 9000 + '"}')
    assert (answer.status, json.loads(answer.body)["error"]) == (413, "too-large")
