"""The proxy example in deploy/nginx works as it is: a real nginx with these files, before a real service.

Only two things in the files are replaced, the service's port and the folder of the cache.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urljoin
from urllib.request import urlopen

import pytest

from tests.client import Connection
from tests.ports import free_port
from tests.waiting import wait_until

NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
pytestmark = [
    pytest.mark.skipif(
        NGINX is None,
        reason="nginx is not installed (Debian, Ubuntu: apt install nginx-light): its example is NOT TESTED",
    ),
    pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a client use 127.0.0.2 and 127.0.0.3"),
]

DEPLOY = Path(__file__).parents[2] / "deploy" / "nginx"
PAGE = "<!DOCTYPE html><title>Cổng thông tin</title><script async src=/vs/widget.js data-site=address></script>"
BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
SITES = ("address", "spoof", "behind", "pixel", "portal")


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


class Proxy(NamedTuple):
    """Two portals of one nginx: with the example as it is, and with the line for a proxy behind another proxy."""

    port: int
    chained_port: int

    def ask(
        self, method: str, path: str, *, reader: str = "127.0.0.2", body: str | None = None, chained: bool = False,
        headers: dict[str, str] | None = None,
    ) -> Answer:  # fmt: skip
        """One request of the reader with this address, as from a page of the portal."""
        port = self.chained_port if chained else self.port
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10, source_address=(reader, 0))
        try:
            connection.request(
                method, path, body, {"User-Agent": BROWSER, "Origin": "http://portal.example.vn", **(headers or {})}
            )
            answer = connection.getresponse()
            return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def hit(self, site: str, **options: Any) -> dict[str, Any]:
        """A page load of a browser without a visit id, so that the address is all that tells readers apart."""
        body = json.dumps({"u": "http://portal.example.vn/tin-tuc/a.html", "t": "Bài viết"})
        answer = self.ask("POST", f"/vs/v1/sites/{site}/hit", body=body, **options)
        assert answer.status == 200, answer
        numbers: dict[str, Any] = json.loads(answer.body)
        return numbers


@pytest.fixture(scope="module")
def service_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A real service that believes nginx's address alone, with the sites of this file."""
    folder = tmp_path_factory.mktemp("service")
    program = str(Path(sys.executable).with_name("visitstats"))
    # The readers of these tests are on loopback too: they must be strangers to the service.
    environment = {**os.environ, "VISITSTATS_DATA_DIR": str(folder), "VISITSTATS_TRUSTED_PROXIES": "127.0.0.1/32"}
    private = free_port()
    environment["VISITSTATS_METRICS_PORT"] = str(private)
    with (folder / "log").open("wb") as log:
        service = subprocess.Popen(
            [program, "serve", "--port", "0"],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        try:
            assert service.stdout is not None
            said = service.stdout.readline()
            assert "http://127.0.0.1:" in said, (said, (folder / "log").read_text())
            port = int(said.rsplit(":", 1)[1])
            wait_until(lambda: _ready(port), "the service is ready", 30)
            for site in SITES:
                subprocess.run(
                    [program, "site", "add", site, "--host", "portal.example.vn"],
                    cwd=folder, env=environment, check=True, capture_output=True, timeout=30,
                )  # fmt: skip
            Connection.operators(port, private)
            yield port
        finally:
            _end(service)


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory, service_port: int) -> Iterator[Proxy]:
    """nginx with the example's files."""
    folder = tmp_path_factory.mktemp("nginx")
    (folder / "portal").mkdir()
    (folder / "portal" / "index.html").write_text(PAGE, encoding="utf-8")
    upstream = _example("visitstats-upstream.conf", "127.0.0.1:8080", f"127.0.0.1:{service_port}")
    upstream = _replaced(upstream, "/var/cache/nginx/visitstats", str(folder / "cache"))
    location = _example("visitstats-location.conf")
    chained = _replaced(location, "X-Forwarded-For $remote_addr;", "X-Forwarded-For $proxy_add_x_forwarded_for;")
    ports = free_port(), free_port()
    servers = "\n".join(
        f"server {{ listen 127.0.0.1:{port}; root {folder}/portal;\n{text}\n}}"
        for port, text in zip(ports, (location, chained), strict=True)
    )
    temporary = "\n".join(
        f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        # Started as root it would give its rights away, and could not read this folder any more.
        f"{'user root root;' if os.geteuid() == 0 else ''}\n"
        f"daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log;\n"
        f"events {{ worker_connections 64; }}\n"
        f"http {{ access_log off; {temporary}\n{upstream}\n{servers}\n}}\n",
        encoding="utf-8",
    )
    command = [str(NGINX), "-p", str(folder), "-e", str(folder / "error.log"), "-c", str(folder / "nginx.conf")]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        wait_until(lambda: server.poll() is not None or _listening(ports[0]), "nginx listens", 20)
        assert server.poll() is None, (folder / "error.log").read_text()
        yield Proxy(*ports)
    finally:
        _end(server)


def test_the_portal_itself_is_as_it_was(proxy: Proxy) -> None:
    answer = proxy.ask("GET", "/")
    assert (answer.status, answer.body.decode()) == (200, PAGE)


def test_the_widget_and_a_hit_come_from_the_portals_own_address(proxy: Proxy) -> None:
    page = json.dumps({"u": "http://www.portal.example.vn/tin-tuc/b.html", "h": "0123456789abcdef", "v": "v" * 22})
    widget = proxy.ask("GET", "/vs/widget.js")
    assert widget.status == 200
    assert widget.headers["content-type"].startswith("text/javascript")
    source = Path(__file__).parents[2] / "src" / "visitstats" / "web" / "static" / "widget.js"
    assert widget.body == source.read_bytes()
    more = proxy.ask("GET", "/vs/widget/more.js")
    assert (more.status, more.body) == (200, source.with_name("more.js").read_bytes())

    hit = proxy.ask("POST", "/vs/v1/sites/portal/hit", body=page, headers={"Origin": "http://portal.example.vn"})
    assert hit.status == 200
    numbers = json.loads(hit.body)
    assert {name: numbers[name] for name in ("online", "today", "total", "views", "key")} == {
        "online": 1, "today": 1, "total": 1, "views": 1, "key": "/tin-tuc/b.html",
    }  # fmt: skip
    again = proxy.ask("POST", "/vs/v1/sites/portal/hit", body=page)
    assert again.headers["x-visitstats"] == "ignored; reason=duplicate"
    alive = proxy.ask("POST", "/vs/v1/sites/portal/alive", body='{"v":"' + "v" * 22 + '"}')
    assert json.loads(alive.body)["online"] == 1
    views = proxy.ask("GET", "/vs/v1/sites/portal/views?key=/tin-tuc/b.html")
    assert json.loads(views.body) == {"views": {"/tin-tuc/b.html": 1}}


def test_numbers_that_change_come_through_at_once_and_end_with_their_reader(proxy: Proxy, service_port: int) -> None:
    def streams() -> int:
        with urlopen(f"http://127.0.0.1:{Connection.private[service_port]}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        return int(float(next(line for line in lines if line.startswith("visitstats_live_streams")).split()[1]))

    connection = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=10)
    connection.request("GET", "/vs/v1/sites/portal/live")
    answer = connection.getresponse()
    assert answer.status == 200
    while not (line := answer.readline()).startswith(b"data: "):
        pass
    assert json.loads(line[6:])["site"] == "portal"
    assert streams() == 1
    answer.close()
    connection.close()
    wait_until(lambda: streams() == 0, "the service knows that the reader is gone")


def test_readers_at_two_addresses_are_two_visitors(proxy: Proxy) -> None:
    """And so no hit is answered from a cache: both bodies are the same."""
    assert proxy.hit("address", reader="127.0.0.2")["today"] == 1
    assert proxy.hit("address", reader="127.0.0.3")["today"] == 2
    wait_until(
        lambda: json.loads(proxy.ask("GET", "/vs/v1/sites/address/stats").body)["today"] == 2,
        "the numbers, which may be kept for a second, show both",
    )


def test_a_reader_cannot_make_up_addresses(proxy: Proxy) -> None:
    assert proxy.hit("spoof")["today"] == 1
    for claim in ("203.0.113.7", "203.0.113.8, 127.0.0.1", "127.0.0.1", "::1", "rubbish"):
        assert proxy.hit("spoof", headers={"X-Forwarded-For": claim})["today"] == 1, claim


def test_nor_where_the_list_of_addresses_is_passed_on(proxy: Proxy) -> None:
    """The variant for a proxy before this nginx: what a stranger has written stands left of the stranger's address."""
    assert proxy.hit("behind", chained=True)["today"] == 1
    for claim in ("203.0.113.7", "203.0.113.8, 127.0.0.1", "127.0.0.1", "rubbish"):
        assert proxy.hit("behind", chained=True, headers={"X-Forwarded-For": claim})["today"] == 1, claim
    # A proxy that is trusted does speak for its readers.
    assert (
        proxy.hit("behind", chained=True, reader="127.0.0.1", headers={"X-Forwarded-For": "203.0.113.7"})["today"] == 2
    )


def test_the_pixel_is_counted_every_time_and_never_kept(proxy: Proxy) -> None:
    path = "/vs/v1/sites/pixel/hit.gif?u=http%3A%2F%2Fportal.example.vn%2Ftin-tuc%2Fc.html"
    for reader in ("127.0.0.2", "127.0.0.3", "127.0.0.4"):
        answer = proxy.ask("GET", path, reader=reader)
        assert (answer.status, answer.headers["content-type"], len(answer.body)) == (200, "image/gif", 43)
    views = proxy.ask("GET", "/vs/v1/sites/pixel/views?key=/tin-tuc/c.html")
    assert json.loads(views.body) == {"views": {"/tin-tuc/c.html": 3}}


def test_a_box_without_a_script_and_its_style_sheet_come_through(proxy: Proxy) -> None:
    """The frame's links are relative: the service does not know its prefix."""
    frame = proxy.ask("GET", "/vs/v1/sites/portal/box?preset=classic")
    assert (frame.status, frame.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert "frame-ancestors *" in frame.headers["content-security-policy"]
    for link in re.findall(r'href="([^"]+)"', frame.body.decode()):
        sheet = proxy.ask("GET", urljoin("/vs/v1/sites/portal/box", link))
        assert (sheet.status, sheet.headers["content-type"]) == (200, "text/css; charset=utf-8"), link
    picture = proxy.ask("GET", "/vs/v1/sites/portal/box.svg")
    assert (picture.status, picture.headers["content-type"]) == (200, "image/svg+xml")
    again = proxy.ask("GET", "/vs/v1/sites/portal/box.svg", headers={"If-None-Match": picture.headers["etag"]})
    assert again.status == 304


@pytest.mark.parametrize(
    "path",
    [
        "/vs/",
        "/vs/metrics",
        "/vs/healthz",
        "/vs/readyz",
        "/vs/openapi.json",
        "/vs/v1/admin/sites/portal/articles",
        "/vs/v1/sites/../admin/sites/portal/articles",
        "/vs/v1/sites/%2e%2e/admin/sites/portal/articles",
        "/vs/widget/../metrics",
    ],
)
def test_what_readers_do_not_need_stays_inside(proxy: Proxy, path: str) -> None:
    answer = proxy.ask("GET", path, headers={"Origin": "null"})
    assert answer.status == 404
    assert answer.headers["server"].startswith("nginx")
    assert b"visitstats_" not in answer.body


def test_a_beacon_that_is_too_long_is_refused_by_the_service(proxy: Proxy) -> None:
    answer = proxy.ask("POST", "/vs/v1/sites/portal/hit", body='{"u":"' + "x" * 9000 + '"}')
    assert (answer.status, json.loads(answer.body)["error"]) == (413, "too-large")


def _example(name: str, old: str = "", new: str = "") -> str:
    text = (DEPLOY / name).read_text(encoding="utf-8")
    return _replaced(text, old, new) if old else text


def _replaced(text: str, old: str, new: str) -> str:
    assert text.count(old) == 1, f"{old} is not in the example exactly once"
    return text.replace(old, new)


def _listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _ready(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def _end(process: subprocess.Popen[Any]) -> None:
    process.terminate()
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()
